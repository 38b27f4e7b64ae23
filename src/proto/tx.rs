//! What is waiting to be sent on one link: small messages gathered in order with batches of blocks that are sent from where they lie.
//!
//! Knows neither socket nor disk. What is in memory can be given up and asked for again, so a peer that does not read costs nothing.

use std::{collections::VecDeque, io::IoSlice};

use bytes::BytesMut;

use crate::{
    base::{
        buf::Buf,
        geometry::Block,
        job::{READ_GAP, batch_len},
    },
    wire::message::{Message, PIECE_HEADER_LEN, piece_header},
};

/// Small messages gathered in one buffer. What is sent of one is given back only with the rest of it.
const GATHERED: usize = 16 * 1024;

/// The gap that is left before each block has room for just what goes before it on the wire.
const _: () = assert!(READ_GAP == PIECE_HEADER_LEN);

/// An ordered queue of bytes. Blocks keep their buffers, so nothing is copied before the socket.
#[derive(Debug, Default)]
pub(crate) struct Tx {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are gone already.
    sent: usize,
    /// Bytes not gone yet.
    len: usize,
}

#[derive(Debug)]
enum Chunk {
    Small(BytesMut),
    /// Blocks with their headers, one after the other.
    Batch(Vec<Block>, Buf),
    /// The rest of a block whose beginning is gone, and which is not in memory any more.
    Owed(Block),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Batch(_, buf) => &buf.0,
            Self::Owed(_) => &[],
        }
    }
}

/// A buffer for `blocks`, with what goes before each on the wire already in place. `buf` is made to fit.
pub(crate) fn prepare(blocks: &[Block], buf: &mut Buf) {
    buf.0.resize(batch_len(blocks), 0);
    let mut rest = buf.0.as_mut_slice();
    for block in blocks {
        let Some((header, after)) = rest.split_at_mut_checked(READ_GAP) else { return };
        header.copy_from_slice(&piece_header(block.piece.get(), block.begin, block.len));
        rest = after.get_mut(block.len as usize..).unwrap_or_default();
    }
}

/// Takes what is not wanted out of a batch that has been read.
pub(crate) fn keep_wanted(blocks: &[(Block, bool)], buf: &mut Buf) -> Vec<Block> {
    let (mut from, mut to) = (0, 0);
    for &(block, wanted) in blocks {
        let len = READ_GAP + block.len as usize;
        if wanted {
            if from != to && from + len <= buf.0.len() {
                buf.0.copy_within(from..from + len, to);
            }
            to += len;
        }
        from += len;
    }
    buf.0.truncate(to);
    blocks.iter().filter(|(_, wanted)| *wanted).map(|(block, _)| *block).collect()
}

impl Tx {
    /// Bytes waiting.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn push(&mut self, message: &Message<'_>) {
        self.small(|out| message.encode_into(out));
    }

    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) {
        self.small(|out| out.extend_from_slice(bytes));
    }

    /// Piece messages, as [`prepare`] laid them out.
    pub(crate) fn push_batch(&mut self, blocks: Vec<Block>, buf: Buf) {
        self.len += buf.0.len();
        self.chunks.push_back(Chunk::Batch(blocks, buf));
    }

    /// The rest of a block that must come before anything else can be sent, if there is one.
    pub(crate) fn owed(&self) -> Option<Block> {
        match self.chunks.front() {
            Some(&Chunk::Owed(block)) => Some(block),
            _ => None,
        }
    }

    /// The rest of the owed block, laid out as a batch of one. Gives the buffer back if nothing is owed.
    pub(crate) fn fill_owed(&mut self, buf: Buf) -> Option<Buf> {
        match self.chunks.front_mut() {
            Some(first) if matches!(first, Chunk::Owed(_)) => {
                if let &mut Chunk::Owed(block) = first {
                    *first = Chunk::Batch(vec![block], buf);
                }
                // Its header is gone long since.
                self.sent = READ_GAP;
                None
            }
            _ => Some(buf),
        }
    }

    fn small(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if !matches!(self.chunks.back(), Some(Chunk::Small(bytes)) if bytes.len() < GATHERED) {
            self.chunks.push_back(Chunk::Small(BytesMut::new()));
        }
        if let Some(Chunk::Small(out)) = self.chunks.back_mut() {
            let before = out.len();
            write(out);
            self.len += out.len() - before;
        }
    }

    /// Fills `out` with what comes next, at most `limit` bytes; returns how many slices it used.
    pub(crate) fn poll_transmit<'a>(&'a self, out: &mut [IoSlice<'a>], mut limit: usize) -> usize {
        let mut used = 0;
        let mut skip = self.sent;
        for (slot, chunk) in out.iter_mut().zip(&self.chunks) {
            if limit == 0 || matches!(chunk, Chunk::Owed(_)) {
                break;
            }
            let bytes = chunk.bytes().get(skip..).unwrap_or_default();
            let bytes = bytes.get(..limit).unwrap_or(bytes);
            *slot = IoSlice::new(bytes);
            limit -= bytes.len();
            skip = 0;
            used += 1;
        }
        if self.len == 0 { 0 } else { used }
    }

    /// `bytes` are gone. Buffers that are done with go to `give`. Returns how many of the bytes were of blocks.
    pub(crate) fn handle_sent(&mut self, bytes: usize, mut give: impl FnMut(Buf)) -> u64 {
        let mut left = bytes.min(self.len);
        self.len -= left;
        let mut payload = 0;
        while let Some(first) = self.chunks.front() {
            let now = left.min(first.bytes().len().saturating_sub(self.sent));
            if let Chunk::Batch(blocks, _) = first {
                payload += payload_before(blocks, self.sent + now) - payload_before(blocks, self.sent);
            }
            self.sent += now;
            left -= now;
            if self.sent < first.bytes().len() || matches!(first, Chunk::Owed(_)) {
                break;
            }
            self.sent = 0;
            if let Some(Chunk::Batch(_, buf)) = self.chunks.pop_front() {
                give(buf);
            }
        }
        if self.chunks.is_empty() && self.chunks.capacity() > 4 {
            self.chunks = VecDeque::new();
        }
        payload
    }

    /// Gives up the memory of blocks that wait. Returns those that were not begun; what was begun stays owed.
    pub(crate) fn rewind(&mut self, mut give: impl FnMut(Buf)) -> Vec<Block> {
        let mut not_begun = Vec::new();
        let mut sent = std::mem::take(&mut self.sent);
        let mut kept = VecDeque::with_capacity(self.chunks.len());
        for chunk in self.chunks.drain(..) {
            let gone = std::mem::take(&mut sent);
            match chunk {
                Chunk::Batch(blocks, buf) => {
                    let mut at = 0;
                    for block in blocks {
                        let end = at + READ_GAP + block.len as usize;
                        if gone <= at {
                            not_begun.push(block);
                            self.len -= end - at;
                        } else if gone < end {
                            if let Some(header) = buf.0.get(gone..at + READ_GAP).filter(|h| !h.is_empty()) {
                                kept.push_back(Chunk::Small(header.into()));
                            }
                            let skip = gone.saturating_sub(at + READ_GAP) as u32;
                            kept.extend(block.tail(skip).map(Chunk::Owed));
                        }
                        at = end;
                    }
                    give(buf);
                }
                Chunk::Small(bytes) => {
                    self.sent += gone;
                    kept.push_back(Chunk::Small(bytes));
                }
                owed @ Chunk::Owed(_) => kept.push_back(owed),
            }
        }
        self.chunks = kept;
        not_begun
    }

    /// Whether blocks wait in memory.
    pub(crate) fn holds_blocks(&self) -> bool {
        self.chunks.iter().any(|chunk| matches!(chunk, Chunk::Batch(..)))
    }

    /// Gives all buffers back; what was waiting is lost.
    pub(crate) fn clear(&mut self, mut give: impl FnMut(Buf)) {
        for chunk in self.chunks.drain(..) {
            if let Chunk::Batch(_, buf) = chunk {
                give(buf);
            }
        }
        (self.sent, self.len) = (0, 0);
    }
}

/// How many of the first `len` bytes of a batch are of blocks, not of headers.
fn payload_before(blocks: &[Block], len: usize) -> u64 {
    let mut left = len;
    let mut payload = 0;
    for block in blocks {
        left = left.saturating_sub(READ_GAP);
        let of_block = left.min(block.len as usize);
        payload += of_block as u64;
        left -= of_block;
    }
    payload
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::Geometry;

    fn geometry() -> Geometry {
        Geometry::new(100, 100).unwrap()
    }

    fn batch(blocks: &[Block]) -> Buf {
        let mut buf = Buf::default();
        prepare(blocks, &mut buf);
        fill(blocks, &mut buf);
        buf
    }

    /// Byte n of the torrent is n.
    fn fill(blocks: &[Block], buf: &mut Buf) {
        let mut at = 0;
        for block in blocks {
            at += READ_GAP;
            (0..block.len).for_each(|n| buf.0[at + n as usize] = (block.begin + n) as u8);
            at += block.len as usize;
        }
    }

    fn next(tx: &mut Tx, at_once: usize, payload: &mut u64) -> Vec<u8> {
        let mut slices = [IoSlice::new(&[]); 2];
        let n = tx.poll_transmit(&mut slices, at_once);
        let next: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
        assert!(next.len() <= at_once);
        *payload += tx.handle_sent(next.len(), drop);
        next
    }

    fn queue() -> Tx {
        let g = geometry();
        let blocks = [g.range(0, 5, 3).unwrap(), g.range(0, 50, 4).unwrap()];
        let mut tx = Tx::default();
        tx.push(&Message::Choke);
        tx.push(&Message::Have(7));
        tx.push_batch(blocks.into(), batch(&blocks));
        tx.push(&Message::Unchoke);
        assert_eq!(tx.len(), 5 + 9 + 13 + 3 + 13 + 4 + 5);
        tx
    }

    fn bytes() -> Vec<u8> {
        let mut want = vec![0, 0, 0, 1, 0, 0, 0, 0, 5, 4, 0, 0, 0, 7];
        want.extend([0, 0, 0, 12, 7, 0, 0, 0, 0, 0, 0, 0, 5, 5, 6, 7]);
        want.extend([0, 0, 0, 13, 7, 0, 0, 0, 0, 0, 0, 0, 50, 50, 51, 52, 53, 0, 0, 0, 1, 1]);
        want
    }

    #[test]
    fn order_is_kept_however_it_is_cut() {
        for at_once in [1, 2, 3, 7, 1000] {
            let mut tx = queue();
            let (mut got, mut payload) = (Vec::new(), 0);
            while tx.len() > 0 {
                got.extend(next(&mut tx, at_once, &mut payload));
            }
            assert_eq!((got, payload), (bytes(), 7));
            assert!(next(&mut tx, 1, &mut payload).is_empty());
        }
    }

    #[test]
    fn a_queue_that_is_never_empty_does_not_keep_what_is_gone() {
        let mut tx = Tx::default();
        let mut payload = 0;
        let held = |tx: &Tx| tx.chunks.iter().map(|chunk| chunk.bytes().len()).sum::<usize>();
        (0..1000).for_each(|n| tx.push(&Message::Have(n)));
        for n in 0..100_000 {
            tx.push(&Message::Have(n));
            next(&mut tx, 9, &mut payload);
        }
        assert_eq!(tx.len(), 9000);
        assert!(held(&tx) <= tx.len() + GATHERED, "{}", held(&tx));
    }

    #[test]
    fn memory_given_up_at_any_byte_loses_none() {
        for cut in 0..bytes().len() {
            let mut tx = queue();
            let (mut got, mut payload) = (Vec::new(), 0);
            while got.len() < cut {
                got.extend(next(&mut tx, cut - got.len(), &mut payload));
            }
            let not_begun = tx.rewind(drop);
            assert!(!tx.holds_blocks());
            assert_eq!(tx.len() + not_begun.iter().map(|b| READ_GAP + b.len as usize).sum::<usize>(), bytes().len() - cut);
            loop {
                while let Some(owed) = tx.owed() {
                    assert!(next(&mut tx, 1, &mut payload).is_empty(), "nothing overtakes what is owed");
                    assert!(tx.fill_owed(batch(&[owed])).is_none());
                    // Again, after one byte.
                    got.extend(next(&mut tx, 1, &mut payload));
                    assert!(tx.rewind(drop).is_empty());
                }
                let more = next(&mut tx, 3, &mut payload);
                if more.is_empty() {
                    break;
                }
                got.extend(more);
            }
            assert_eq!(tx.len(), 0);
            // What was not begun is asked for again, and comes after what had been queued behind it.
            let unchoke = got.len();
            if !not_begun.is_empty() {
                tx.push_batch(not_begun.clone(), batch(&not_begun));
            }
            while tx.len() > 0 {
                got.extend(next(&mut tx, 9, &mut payload));
            }
            let mut want = bytes();
            if !not_begun.is_empty() {
                let last = want.split_off(want.len() - 5);
                want.splice(unchoke - 5..unchoke - 5, last);
            }
            assert_eq!((got, payload), (want, 7), "cut after {cut}");
        }
    }

    #[test]
    fn blocks_that_nobody_wants_are_taken_out() {
        let g = geometry();
        let blocks = [0, 10, 20].map(|begin| g.range(0, begin, 10).unwrap());
        for wanted in 0..8 {
            let mut buf = batch(&blocks);
            let marked: Vec<_> = blocks.iter().enumerate().map(|(n, &b)| (b, wanted >> n & 1 == 1)).collect();
            let kept = keep_wanted(&marked, &mut buf);
            assert_eq!(buf, batch(&kept));
            assert_eq!(kept.len(), (wanted as u32).count_ones() as usize);
        }
    }
}
