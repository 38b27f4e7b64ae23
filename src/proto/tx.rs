//! What is waiting to be sent on one link: small messages gathered in order with batches of blocks
//! that are sent from where they lie.
//!
//! Knows neither socket nor disk. What is in memory can be given up and asked for again, so a peer
//! that does not read costs nothing.
//!
//! Everything leaves in the order in which it came, but for what is [urgent](Tx::push_urgent): that
//! overtakes blocks, between two of them, and no small message.
//!
//! On an enciphered connection bytes are [sealed](Sealed) when they are first offered: enciphered,
//! once, and taken out of the queue. From then on they count as gone for everything that is given
//! up, overtaken or taken back here, since a cipher cannot go back.

#[cfg(test)]
mod tests;

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf as _, BytesMut};

use crate::{
    base::{
        buf::Buf,
        geometry::{BLOCK_LEN, Block},
        job::{READ_GAP, batch_len},
    },
    proto::cipher::Cipher,
    wire::message::{Message, PIECE_HEADER_LEN, piece_header},
};

/// Small messages gathered in one buffer. What is sent of one is given back only with the rest of
/// it.
const GATHERED: usize = 16 * 1024;
/// The largest buffer of small messages that is kept when they are gone: requests for many blocks
/// fit, and an idle peer holds little.
const KEPT: usize = 1024;

/// The gap that is left before each block has room for just what goes before it on the wire.
const _: () = assert!(READ_GAP == PIECE_HEADER_LEN);

/// An ordered queue of bytes. Blocks keep their buffers, so nothing is copied before the socket.
#[derive(Debug, Default)]
pub(crate) struct Tx {
    chunks: VecDeque<Chunk>,
    /// Bytes of the first chunk that are gone already, or sealed.
    sent: usize,
    /// Bytes not gone yet, sealed ones included.
    len: usize,
    /// Of an enciphered connection.
    sealed: Option<Box<Sealed>>,
    /// The buffer of small messages that are gone, for those that come next.
    spare: BytesMut,
    /// What is said first of all is gone; see [`expect_introduction`](Self::expect_introduction).
    introduced: bool,
}

/// What is enciphered ahead of the socket: little, since it is a copy that cannot be given up.
const SEALED_AHEAD: usize = 64 * 1024;

/// Bytes that are enciphered and not gone.
#[derive(Debug)]
struct Sealed {
    cipher: Box<dyn Cipher>,
    bytes: BytesMut,
    /// Buffers that are done with, and bytes of blocks that were sealed, since
    /// [`Tx::handle_sent`] last told.
    freed: Vec<Buf>,
    payload: u64,
}

#[derive(Debug)]
enum Chunk {
    Small(BytesMut),
    /// Blocks with their headers, one after the other.
    Batch(Batch),
    /// What was left of a block that had begun when something urgent came: it leaves before that.
    Begun(Begun),
    /// The rest of a block whose beginning is gone, and which is not in memory any more.
    Owed(Block),
}

/// Blocks that lie in one buffer, as [`prepare`] laid them out.
#[derive(Debug)]
struct Batch {
    blocks: Vec<Block>,
    buf: Buf,
    /// What lies before this was cut off.
    start: usize,
}

/// The rest of one block, on its own.
#[derive(Debug)]
struct Begun {
    block: Block,
    bytes: BytesMut,
    /// Bytes of it that go before the block on the wire.
    header: usize,
}

impl Batch {
    fn bytes(&self) -> &[u8] {
        self.buf.0.get(self.start..).unwrap_or_default()
    }

    /// Of a batch of which `sent` bytes are gone: cuts off the block that has begun, with what
    /// comes before it. `None` if the last one has, so that there is nothing behind it, or if none
    /// has; then what is gone is cut off.
    fn cut(&mut self, sent: usize) -> Option<Begun> {
        let mut at = 0;
        for (nth, &block) in self.blocks.iter().enumerate() {
            let end = at + READ_GAP + block.len as usize;
            if sent < end {
                if sent == at {
                    self.blocks.drain(..nth);
                    self.start += at;
                    return None;
                }
                let bytes: BytesMut = self.bytes().get(sent..end)?.into();
                self.blocks.drain(..=nth);
                self.start += end;
                return Some(Begun { block, bytes, header: (at + READ_GAP).saturating_sub(sent) });
            }
            at = end;
        }
        None
    }

    /// Whether the block that has begun, if `sent` bytes are gone, is longer than any that a client
    /// has a reason to ask for. Its rest is not copied, since it may be as long as a peer likes.
    fn is_at_long(&self, sent: usize) -> bool {
        let mut end = 0;
        let begun = self.blocks.iter().find(|block| {
            end += READ_GAP + block.len as usize;
            sent < end
        });
        begun.is_some_and(|block| block.len > BLOCK_LEN)
    }

    /// Whether the last of its blocks has begun, if `sent` bytes are gone.
    fn is_at_last(&self, sent: usize) -> bool {
        let last = self.blocks.last().map_or(0, |block| READ_GAP + block.len as usize);
        sent + last > self.bytes().len()
    }
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Batch(batch) => batch.bytes(),
            Self::Begun(begun) => &begun.bytes,
            Self::Owed(_) => &[],
        }
    }
}

/// A buffer for `blocks`, with what goes before each on the wire already in place. `buf` is made to
/// fit.
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
        self.chunks.push_back(Chunk::Batch(Batch { blocks, buf, start: 0 }));
    }

    /// A message that overtakes the blocks that have not begun: what is held back for them does not
    /// hold it back. It stays behind the other small messages.
    pub(crate) fn push_urgent(&mut self, message: &Message<'_>) {
        self.cut_begun();
        let begun = |at: usize| at == 0 && self.sent > 0;
        let whole = |&(at, chunk): &(usize, &Chunk)| matches!(chunk, Chunk::Batch(_)) && !begun(at);
        let behind = self.chunks.iter().enumerate().rev().take_while(whole).count();
        let at = self.chunks.len() - behind;
        if behind == 0 {
            return self.push(message);
        }
        let gathers =
            |chunk: &Chunk| matches!(chunk, Chunk::Small(bytes) if bytes.len() < GATHERED);
        let at = match at
            .checked_sub(1)
            .filter(|&before| self.chunks.get(before).is_some_and(gathers))
        {
            Some(before) => before,
            None => {
                self.chunks.insert(at, Chunk::Small(std::mem::take(&mut self.spare)));
                at
            }
        };
        if let Some(Chunk::Small(out)) = self.chunks.get_mut(at) {
            let before = out.len();
            message.encode_into(out);
            self.len += out.len() - before;
        }
    }

    /// Splits the batch that is being sent where its first block ends that has begun.
    fn cut_begun(&mut self) {
        let Some(Chunk::Batch(batch)) = self.chunks.front_mut() else { return };
        if self.sent == 0 || batch.is_at_last(self.sent) || batch.is_at_long(self.sent) {
            return;
        }
        let begun = batch.cut(self.sent);
        self.sent = 0;
        if let Some(begun) = begun {
            self.chunks.push_front(Chunk::Begun(begun));
        }
    }

    /// Takes back the blocks that have not begun.
    pub(crate) fn withdraw(&mut self, mut give: impl FnMut(Buf)) -> Vec<Block> {
        self.cut_begun();
        let begun = self.sent > 0;
        let mut withdrawn = Vec::new();
        let mut kept = VecDeque::with_capacity(self.chunks.len());
        for (at, chunk) in self.chunks.drain(..).enumerate() {
            match chunk {
                Chunk::Batch(batch) if at > 0 || !begun => {
                    self.len -= batch.bytes().len();
                    withdrawn.extend(batch.blocks);
                    give(batch.buf);
                }
                other => kept.push_back(other),
            }
        }
        self.chunks = kept;
        withdrawn
    }

    /// Bytes that come before any block's: small messages.
    pub(crate) fn urgent(&self) -> usize {
        let small = self.chunks.iter().map_while(|chunk| match chunk {
            Chunk::Small(bytes) => Some(bytes.len()),
            _ => None,
        });
        // What is sealed was offered already, within the limits of its time.
        let sealed = self.sealed.as_ref().map_or(0, |sealed| sealed.bytes.len());
        sealed + small.sum::<usize>().saturating_sub(self.sent)
    }

    /// The rest of a block that must come before anything else can be sent, if there is one.
    pub(crate) fn owed(&self) -> Option<Block> {
        match self.chunks.front() {
            Some(&Chunk::Owed(block)) => Some(block),
            _ => None,
        }
    }

    /// The rest of the owed block, laid out as a batch of one. Gives the buffer back if nothing is
    /// owed.
    pub(crate) fn fill_owed(&mut self, buf: Buf) -> Option<Buf> {
        match self.chunks.front_mut() {
            Some(first) if matches!(first, Chunk::Owed(_)) => {
                if let &mut Chunk::Owed(block) = first {
                    *first = Chunk::Batch(Batch { blocks: vec![block], buf, start: 0 });
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
            self.chunks.push_back(Chunk::Small(std::mem::take(&mut self.spare)));
        }
        if let Some(Chunk::Small(out)) = self.chunks.back_mut() {
            let before = out.len();
            write(out);
            self.len += out.len() - before;
        }
    }

    /// What waits leaves as it is; what comes after it is enciphered. Only small messages may wait.
    pub(crate) fn seal_with(&mut self, cipher: Box<dyn Cipher>) {
        let mut bytes = BytesMut::new();
        let mut sent = std::mem::take(&mut self.sent);
        for chunk in self.chunks.drain(..) {
            bytes.extend_from_slice(chunk.bytes().get(sent..).unwrap_or_default());
            sent = 0;
        }
        self.sealed = Some(Box::new(Sealed { cipher, bytes, freed: Vec::new(), payload: 0 }));
    }

    /// Enciphers what comes next until so many bytes are ready, or there is nothing in memory.
    fn seal(&mut self, sealed: &mut Sealed, limit: usize) {
        let limit = limit.min(SEALED_AHEAD);
        while sealed.bytes.len() < limit
            && let Some(first) = self.chunks.front()
        {
            let rest = first.bytes().get(self.sent..).unwrap_or_default();
            let part = rest.get(..limit - sealed.bytes.len()).unwrap_or(rest);
            if part.is_empty() {
                break;
            }
            let (at, len) = (sealed.bytes.len(), part.len());
            sealed.bytes.extend_from_slice(part);
            sealed.cipher.apply(sealed.bytes.get_mut(at..).unwrap_or_default());
            let freed = &mut sealed.freed;
            sealed.payload += self.advance(len, |buf| freed.push(buf));
        }
    }

    /// Fills `out` with what comes next, at most `limit` bytes; returns how many slices it used.
    pub(crate) fn poll_transmit<'a>(
        &'a mut self,
        out: &mut [IoSlice<'a>],
        mut limit: usize,
    ) -> usize {
        if let Some(mut sealed) = self.sealed.take() {
            self.seal(&mut sealed, limit);
            let bytes = &self.sealed.insert(sealed).bytes[..];
            return match (bytes.get(..limit).unwrap_or(bytes), out.first_mut()) {
                (bytes, Some(slot)) if !bytes.is_empty() => {
                    *slot = IoSlice::new(bytes);
                    1
                }
                _ => 0,
            };
        }
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

    /// What comes next is said once: what we have, and how we speak. It is longer than what
    /// follows, and many peers hear nothing more, so its buffers are not kept.
    pub(crate) fn expect_introduction(&mut self) {
        self.introduced = false;
    }

    /// `bytes` are gone. Buffers that are done with go to `give`. Returns how many of the bytes
    /// were of blocks.
    pub(crate) fn handle_sent(&mut self, bytes: usize, give: impl FnMut(Buf)) -> u64 {
        let bytes = bytes.min(self.len);
        self.len -= bytes;
        if let Some(sealed) = &mut self.sealed {
            sealed.bytes.advance(bytes.min(sealed.bytes.len()));
            sealed.freed.drain(..).for_each(give);
            return std::mem::take(&mut sealed.payload);
        }
        self.advance(bytes, give)
    }

    /// The next `left` bytes of the queue are done with.
    fn advance(&mut self, mut left: usize, mut give: impl FnMut(Buf)) -> u64 {
        let mut payload = 0;
        while let Some(first) = self.chunks.front() {
            let now = left.min(first.bytes().len().saturating_sub(self.sent));
            let before = |sent: usize| match first {
                Chunk::Batch(batch) => payload_before(&batch.blocks, sent),
                Chunk::Begun(begun) => sent.saturating_sub(begun.header) as u64,
                Chunk::Small(_) | Chunk::Owed(_) => 0,
            };
            payload += before(self.sent + now) - before(self.sent);
            self.sent += now;
            left -= now;
            if self.sent < first.bytes().len() || matches!(first, Chunk::Owed(_)) {
                break;
            }
            self.sent = 0;
            match self.chunks.pop_front() {
                Some(Chunk::Batch(batch)) => give(batch.buf),
                Some(Chunk::Small(mut bytes)) if self.introduced && bytes.capacity() <= KEPT => {
                    bytes.clear();
                    self.spare = bytes;
                }
                _ => {}
            }
        }
        if self.chunks.is_empty() && (self.chunks.capacity() > 4 || !self.introduced) {
            self.chunks = VecDeque::new();
            self.introduced = true;
        }
        payload
    }

    /// Gives up the memory of blocks that wait. Returns those that were not begun; what was begun
    /// stays owed.
    pub(crate) fn rewind(&mut self, mut give: impl FnMut(Buf)) -> Vec<Block> {
        let mut not_begun = Vec::new();
        let mut sent = std::mem::take(&mut self.sent);
        let mut kept = VecDeque::with_capacity(self.chunks.len());
        for chunk in self.chunks.drain(..) {
            let gone = std::mem::take(&mut sent);
            match chunk {
                Chunk::Batch(batch) => {
                    let mut at = 0;
                    for &block in &batch.blocks {
                        let end = at + READ_GAP + block.len as usize;
                        if gone <= at {
                            not_begun.push(block);
                            self.len -= end - at;
                        } else if gone < end {
                            if let Some(header) =
                                batch.bytes().get(gone..at + READ_GAP).filter(|h| !h.is_empty())
                            {
                                kept.push_back(Chunk::Small(header.into()));
                            }
                            let skip = gone.saturating_sub(at + READ_GAP) as u32;
                            kept.extend(block.tail(skip).map(Chunk::Owed));
                        }
                        at = end;
                    }
                    give(batch.buf);
                }
                Chunk::Begun(Begun { block, bytes, header }) => {
                    if let Some(header) = bytes.get(gone..header).filter(|h| !h.is_empty()) {
                        kept.push_back(Chunk::Small(header.into()));
                    }
                    let left = bytes.len().saturating_sub(gone.max(header)) as u32;
                    kept.extend(block.tail(block.len.saturating_sub(left)).map(Chunk::Owed));
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
        self.chunks.iter().any(|chunk| matches!(chunk, Chunk::Batch(_) | Chunk::Begun(_)))
    }

    /// Whether blocks wait, in memory or not.
    pub(crate) fn has_blocks(&self) -> bool {
        self.chunks.iter().any(|chunk| !matches!(chunk, Chunk::Small(_)))
    }

    /// Gives all buffers back; what was waiting is lost.
    pub(crate) fn clear(&mut self, mut give: impl FnMut(Buf)) {
        for chunk in self.chunks.drain(..) {
            if let Chunk::Batch(batch) = chunk {
                give(batch.buf);
            }
        }
        if let Some(sealed) = self.sealed.take() {
            sealed.freed.into_iter().for_each(give);
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
