//! What is waiting to be sent on one link: small messages gathered in order with blocks that are sent from where they lie.

use std::{collections::VecDeque, io::IoSlice};

use bytes::BytesMut;

use crate::{
    base::{
        buf::{Buf, BufPool},
        geometry::Block,
    },
    wire::message::{Message, piece_header},
};

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
    Block(Buf),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Small(bytes) => bytes,
            Self::Block(buf) => &buf.0,
        }
    }
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

    /// A piece message whose data is `data`.
    pub(crate) fn push_block(&mut self, block: Block, data: Buf) {
        self.push_bytes(&piece_header(block.piece.get(), block.begin, block.len));
        self.len += data.0.len();
        self.chunks.push_back(Chunk::Block(data));
    }

    fn small(&mut self, write: impl FnOnce(&mut BytesMut)) {
        if !matches!(self.chunks.back(), Some(Chunk::Small(_))) {
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
            if limit == 0 {
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

    /// `bytes` are gone. Buffers that are done with return to the pool.
    pub(crate) fn handle_sent(&mut self, bytes: usize, bufs: &mut BufPool) {
        let bytes = bytes.min(self.len);
        self.len -= bytes;
        self.sent += bytes;
        while let Some(first) = self.chunks.front() {
            let whole = first.bytes().len();
            if self.sent < whole {
                break;
            }
            self.sent -= whole;
            if let Some(Chunk::Block(buf)) = self.chunks.pop_front() {
                bufs.give(buf);
            }
        }
        if self.chunks.is_empty() && self.chunks.capacity() > 8 {
            self.chunks = VecDeque::new();
        }
    }

    /// Gives all buffers back; what was waiting is lost.
    pub(crate) fn clear(&mut self, bufs: &mut BufPool) {
        for chunk in self.chunks.drain(..) {
            if let Chunk::Block(buf) = chunk {
                bufs.give(buf);
            }
        }
        (self.sent, self.len) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::Geometry;

    fn drain(tx: &mut Tx, at_once: usize, bufs: &mut BufPool) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let mut slices = [IoSlice::new(&[]); 2];
            let n = tx.poll_transmit(&mut slices, at_once);
            let next: Vec<u8> = slices[..n].iter().flat_map(|s| s.iter().copied()).collect();
            assert!(next.len() <= at_once);
            if next.is_empty() {
                return all;
            }
            tx.handle_sent(next.len(), bufs);
            all.extend(next);
        }
    }

    #[test]
    fn order_is_kept_however_it_is_cut() {
        let g = Geometry::new(100, 100).unwrap();
        for at_once in [1, 2, 3, 7, 1000] {
            let mut bufs = BufPool::new(1000);
            let mut tx = Tx::default();
            tx.push(&Message::Choke);
            tx.push(&Message::Have(7));
            tx.push_block(g.range(0, 5, 3).unwrap(), Buf(vec![1, 2, 3]));
            tx.push(&Message::Unchoke);
            assert_eq!(tx.len(), 5 + 9 + 13 + 3 + 5);
            let got = drain(&mut tx, at_once, &mut bufs);
            let mut want = vec![0, 0, 0, 1, 0, 0, 0, 0, 5, 4, 0, 0, 0, 7];
            want.extend([0, 0, 0, 12, 7, 0, 0, 0, 0, 0, 0, 0, 5, 1, 2, 3, 0, 0, 0, 1, 1]);
            assert_eq!(got, want);
            assert_eq!(tx.len(), 0);
        }
    }
}
