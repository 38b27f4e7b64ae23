//! One piece that is being fetched: the state of its blocks, the buffers of its runs, and how far
//! it is hashed.
//!
//! A piece is cut into runs (one, unless it is large). A run has a buffer from its first block
//! until a worker has written it, so memory is bounded by runs in flight and not by the size of a
//! piece. It does not know peers but by their keys.

#[cfg(any(test, feature = "sim"))]
mod audit;
mod rows;
mod runs;
mod spare;
mod stored;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Duration};

use crate::{
    base::{
        arena::Key,
        geometry::{BLOCK_LEN, Block, Geometry, PieceIndex},
        hash::Hasher,
        time::Instant,
    },
    torrent::piece_memory::Memory,
};
use runs::{RunSlot, RunState, Spare};
pub(crate) use spare::Spares;

/// How long after its last order was due a piece counts as left alone.
const IDLE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockState {
    Free,
    /// On order, so many times.
    Asked(u8),
    /// It came and is in the buffer of its run, or was there until the run was written.
    Received,
    /// It is on disk while its run is not whole.
    Stored,
}

impl BlockState {
    fn has_come(self) -> bool {
        matches!(self, Self::Received | Self::Stored)
    }
}

/// Who sent a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Supplier {
    Peer(Contributor),
    /// A web seed (BEP 19), by its number in the torrent.
    WebSeed(u32),
}

/// What a block is on order with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OrderKey {
    /// The connection of a peer.
    Peer(Key),
    /// A connection with a web seed, by its key in the torrent.
    WebSeed(Key),
}

/// A peer, as blame and bans know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contributor {
    pub(crate) addr: SocketAddr,
    /// It dialled us, so its port means nothing.
    pub(crate) incoming: bool,
}

/// A piece in progress.
#[derive(Debug)]
pub(crate) struct Progress {
    piece: PieceIndex,
    geometry: Geometry,
    run_len: u32,
    blocks: Vec<BlockState>,
    /// Which contributor each block came from.
    by: Vec<u8>,
    free: u32,
    /// No free block lies before this one.
    cursor: u32,
    runs: Vec<RunSlot>,
    chain: Hasher,
    /// The first run that is not hashed.
    next_hash: usize,
    hashing: bool,
    contributors: Vec<Supplier>,
    /// When the last of what is on order should be here.
    due: Instant,
    /// What it was begun with and should be finished with.
    pub(crate) owner: Option<OrderKey>,
    /// It failed before: only its owner may fetch it, so that there is one to blame.
    pub(crate) parole: bool,
    /// Some of it came in an earlier run of the process, and no one knows from which peer.
    restored: bool,
    /// How often in a row what was written could not be read again to be hashed.
    unread: u8,
}

/// What became of a block that arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// Taken; `copies` more are on order with others.
    New {
        /// Orders for this block that are now pointless, the one that delivered it not counted.
        others: u8,
        /// Its run is whole: call [`Progress::poll_jobs`].
        run_whole: bool,
    },
    /// We had it.
    Duplicate,
}

impl Progress {
    /// A piece of which nothing is asked or has come, in the lists that another has left.
    pub(crate) fn new(piece: PieceIndex, geometry: Geometry, run_len: u32, spare: Spare) -> Self {
        let count = geometry.block_count(piece);
        let len = geometry.piece_len(piece);
        let Spare { mut blocks, mut by, mut runs, contributors } = spare;
        blocks.resize(count as usize, BlockState::Free);
        by.resize(count as usize, 0);
        runs.extend((0..len.div_ceil(run_len)).map(|r| {
            let len = run_len.min(len - r * run_len);
            RunSlot {
                state: RunState::Empty,
                missing: len.div_ceil(BLOCK_LEN),
                engaged: 0,
                stored: 0,
                len,
            }
        }));
        Self {
            piece,
            geometry,
            run_len,
            blocks,
            by,
            free: count,
            cursor: 0,
            runs,
            chain: Hasher::SHA1,
            next_hash: 0,
            hashing: false,
            contributors,
            due: Instant::ZERO,
            owner: None,
            parole: false,
            restored: false,
            unread: 0,
        }
    }

    /// Blocks that no peer has been asked for.
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    /// Whether nothing has been asked or received.
    pub(crate) fn is_untouched(&self) -> bool {
        self.free as usize == self.blocks.len()
    }

    pub(crate) fn contributors(&self) -> &[Supplier] {
        &self.contributors
    }

    /// Who sent each block.
    pub(crate) fn block_senders(&self) -> Vec<Option<Supplier>> {
        self.by.iter().map(|&by| self.contributors.get(by as usize).copied()).collect()
    }

    /// Whether blocks are still to come.
    pub(crate) fn is_awaited(&self) -> bool {
        self.runs.iter().any(|run| run.missing > 0)
    }

    /// Bytes received.
    pub(crate) fn received_len(&self) -> u64 {
        let received = |&(_, state): &(usize, &BlockState)| state.has_come();
        let blocks = self.blocks.iter().enumerate().filter(received);
        blocks
            .filter_map(|(n, _)| self.geometry.nth_block(self.piece, n as u32))
            .map(|b| u64::from(b.len))
            .sum()
    }

    /// Whether a peer that delivers within `expected` would be of help: what is on order is
    /// overdue, or takes much longer, and in either case by more than `patience`.
    pub(crate) fn needs_help(&self, now: Instant, expected: Duration, patience: Duration) -> bool {
        self.due + patience <= now || self.due.since(now) > expected * 2 + patience
    }

    /// Orders the next free block, if there is one and memory for its run. It should be here at
    /// `due`.
    pub(crate) fn ask_free(&mut self, due: Instant, memory: &mut Memory) -> Option<Block> {
        let ahead = self.blocks.get(self.cursor as usize..)?;
        let nth = self.cursor + ahead.iter().position(|&b| b == BlockState::Free)? as u32;
        self.cursor = nth;
        let nth = if self.promise(nth, memory) { nth } else { self.next_with_memory(nth)? };
        self.order(nth, due)
    }

    /// A free block whose run has memory is on order from now on.
    fn order(&mut self, nth: u32, due: Instant) -> Option<Block> {
        self.run_of(nth)?.engaged += 1;
        *self.blocks.get_mut(nth as usize)? = BlockState::Asked(1);
        self.free -= 1;
        self.due = self.due.max(due);
        self.geometry.nth_block(self.piece, nth)
    }

    /// Whether no peer has worked on it for a while and nothing of it is with a worker: its memory
    /// may be better used.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.owner.is_none() && self.due + IDLE <= now && !self.is_ordered() && !self.is_out()
    }

    /// Whether blocks of it are on order with any peer.
    pub(crate) fn is_ordered(&self) -> bool {
        self.blocks.iter().any(|b| matches!(b, BlockState::Asked(_)))
    }

    /// Orders a block once more that is on order already, fewest copies first and below `limit`, if
    /// `wanted` agrees. Those ordered last come first: there is the best chance that the other
    /// order can still be cancelled.
    pub(crate) fn ask_again(
        &mut self,
        limit: u8,
        mut wanted: impl FnMut(Block) -> bool,
    ) -> Option<Block> {
        let awaited = |run: &RunSlot| run.engaged > run.blocks() - run.missing;
        for copies in 1..limit {
            let runs = (0..self.runs.len()).rev().filter(|&run| awaited(&self.runs[run]));
            let mut blocks = runs.flat_map(|run| self.blocks_of(run).rev());
            let block = |nth: usize| self.geometry.nth_block(self.piece, nth as u32);
            let found = blocks.find(|&nth| {
                self.blocks[nth] == BlockState::Asked(copies) && block(nth).is_some_and(&mut wanted)
            });
            if let Some(nth) = found {
                self.blocks[nth] = BlockState::Asked(copies + 1);
                return self.geometry.nth_block(self.piece, nth as u32);
            }
        }
        None
    }

    /// An order for `block` is off.
    pub(crate) fn release(&mut self, block: Block, memory: &mut Memory) {
        let nth = block.nth();
        match self.blocks.get_mut(nth as usize) {
            Some(state @ BlockState::Asked(1)) => *state = BlockState::Free,
            Some(BlockState::Asked(copies)) => {
                *copies -= 1;
                return;
            }
            _ => return,
        }
        self.free += 1;
        self.cursor = self.cursor.min(nth);
        if let Some(run) = self.run_of(nth) {
            run.engaged = run.engaged.saturating_sub(1);
            if run.engaged == run.stored && matches!(run.state, RunState::Promised) {
                run.state = RunState::Empty;
                let len = run.len as usize;
                memory.release(len);
            }
        }
    }

    /// A block came, whose order is counted off, if there was one (`ordered`). Its run may not have
    /// memory if no order was left for it; then it is not taken.
    pub(crate) fn receive(
        &mut self,
        block: Block,
        data: &[u8],
        from: Supplier,
        ordered: bool,
        memory: &mut Memory,
    ) -> Option<Receipt> {
        let nth = block.nth();
        let others = match *self.blocks.get(nth as usize)? {
            BlockState::Received | BlockState::Stored => return Some(Receipt::Duplicate),
            BlockState::Asked(copies) => copies.saturating_sub(u8::from(ordered)),
            BlockState::Free => {
                let run = self.run_of(nth)?;
                if matches!(run.state, RunState::Flushing) {
                    return None;
                }
                if matches!(run.state, RunState::Empty) {
                    if !memory.reserve(run.len as usize) {
                        return None;
                    }
                    run.state = RunState::Promised;
                }
                run.engaged += 1;
                self.free -= 1;
                0
            }
        };
        let at = (block.begin % self.run_len) as usize;
        let run = self.run_of(nth)?;
        if matches!(run.state, RunState::Promised) {
            run.state = RunState::Filling(memory.take(run.len as usize));
        }
        let RunState::Filling(buf) = &mut run.state else { return Some(Receipt::Duplicate) };
        buf.0.get_mut(at..at + data.len())?.copy_from_slice(data);
        run.missing -= 1;
        let run_whole = run.missing == 0;
        if run_whole
            && let RunState::Filling(buf) = std::mem::replace(&mut run.state, RunState::Empty)
        {
            run.state = RunState::Ready(buf);
        }
        self.blocks[nth as usize] = BlockState::Received;
        self.by[nth as usize] = self.contributor(from);
        Some(Receipt::New { others, run_whole })
    }

    fn contributor(&mut self, from: Supplier) -> u8 {
        let at = self.contributors.iter().position(|c| *c == from).unwrap_or_else(|| {
            // The 256th and later are not remembered: they cannot be blamed, and no other peer is
            // in their place.
            if self.contributors.len() < usize::from(u8::MAX) {
                self.contributors.push(from);
                self.contributors.len() - 1
            } else {
                usize::from(u8::MAX)
            }
        });
        at as u8
    }
}
