//! One piece that is being fetched: the state of its blocks, the buffers of its runs, and how far
//! it is hashed.
//!
//! A piece is cut into runs (one, unless it is large). A run has a buffer from its first block
//! until a worker has written it, so memory is bounded by runs in flight and not by the size of a
//! piece. It does not know peers but by their keys.

#[cfg(any(test, feature = "sim"))]
mod audit;
mod blocks;
mod hashing;
mod places;
mod rows;
mod runs;
mod senders;
mod shape;
mod spare;
mod stored;
#[cfg(test)]
mod tests;

use std::{net::SocketAddr, time::Duration};

use crate::{
    base::{
        arena::Key,
        geometry::{Block, Geometry, PieceIndex},
        time::Instant,
    },
    torrent::piece_memory::Memory,
};
use blocks::{BlockState, Blocks};
use hashing::Hashing;
pub(crate) use places::BlockPlace;
use runs::{RunSlot, RunState, Spare};
use senders::Senders;
use shape::Shape;
pub(crate) use spare::Spares;

/// How long after its last order was due a piece counts as left alone.
const IDLE: Duration = Duration::from_secs(2);

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
    shape: Shape,
    blocks: Blocks,
    runs: Vec<RunSlot>,
    hashing: Hashing,
    senders: Senders,
    /// When the last of what is on order should be here.
    due: Instant,
    /// What it was begun with and should be finished with.
    pub(crate) owner: Option<OrderKey>,
    /// It failed before: only its owner may fetch it, so that there is one to blame.
    pub(crate) parole: bool,
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
        let shape = Shape::new(piece, geometry, run_len);
        let Spare { blocks, mut runs, senders } = spare;
        runs.extend(shape.run_lens().map(RunSlot::new));
        Self {
            blocks: Blocks::new(shape.block_count(), blocks),
            runs,
            hashing: Hashing::new(),
            senders: Senders::new(shape.block_count(), senders),
            due: Instant::ZERO,
            owner: None,
            parole: false,
            shape,
        }
    }

    /// Blocks that no peer has been asked for.
    pub(crate) fn free(&self) -> u32 {
        self.blocks.free()
    }

    /// Whether nothing has been asked or received.
    pub(crate) fn is_untouched(&self) -> bool {
        self.blocks.free() as usize == self.blocks.len()
    }

    pub(crate) fn contributors(&self) -> &[Supplier] {
        self.senders.all()
    }

    /// Who sent each block.
    pub(crate) fn block_senders(&self) -> Vec<Option<Supplier>> {
        self.senders.by_block()
    }

    /// Whether blocks are still to come.
    pub(crate) fn is_awaited(&self) -> bool {
        self.runs.iter().any(|run| run.missing > 0)
    }

    /// Bytes received.
    pub(crate) fn received_len(&self) -> u64 {
        let come = self.blocks.iter().enumerate().filter(|(_, state)| state.has_come());
        come.filter_map(|(nth, _)| self.shape.block(nth)).map(|block| u64::from(block.len)).sum()
    }

    /// Whether a peer that delivers within `expected` would be of help: what is on order is
    /// overdue, or takes much longer, and in either case by more than `patience`.
    pub(crate) fn needs_help(&self, now: Instant, expected: Duration, patience: Duration) -> bool {
        self.due + patience <= now || self.due.since(now) > expected * 2 + patience
    }

    /// Orders the next free block, if there is one and memory for its run. It should be here at
    /// `due`.
    pub(crate) fn ask_free(&mut self, due: Instant, memory: &mut Memory) -> Option<Block> {
        let nth = self.blocks.first_free()?;
        let nth = if self.promise(nth, memory) { nth } else { self.next_with_memory(nth)? };
        self.order(nth, due)
    }

    /// A free block whose run has memory is on order from now on.
    fn order(&mut self, nth: u32, due: Instant) -> Option<Block> {
        let run = self.runs.get_mut(self.shape.run_of(nth))?;
        run.engaged += u32::from(self.blocks.ask(nth));
        self.due = self.due.max(due);
        self.shape.block(nth as usize)
    }

    /// Whether no peer has worked on it for a while and nothing of it is with a worker: its memory
    /// may be better used.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.owner.is_none() && self.due + IDLE <= now && !self.is_ordered() && !self.is_out()
    }

    /// Whether blocks of it are on order with any peer.
    pub(crate) fn is_ordered(&self) -> bool {
        self.blocks.iter().any(|state| matches!(state, BlockState::Asked(_)))
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
            let asked =
                |run| self.blocks.in_state(self.shape.blocks_of(run), BlockState::Asked(copies));
            let block = |nth| self.shape.block(nth).filter(|&block| wanted(block));
            let found = runs.flat_map(|run| asked(run).rev()).find_map(block);
            if let Some(block) = found {
                self.blocks.ask_again(block.nth() as usize..block.nth() as usize + 1);
                return Some(block);
            }
        }
        None
    }

    /// An order for `block` is off.
    pub(crate) fn release(&mut self, block: Block, memory: &mut Memory) {
        if !self.blocks.release(block.nth()) {
            return;
        }
        if let Some(run) = self.runs.get_mut(self.shape.run_of(block.nth())) {
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
        let run = self.runs.get_mut(self.shape.run_of(nth))?;
        let (others, newly) = match self.blocks.state(nth as usize)? {
            BlockState::Received | BlockState::Stored => return Some(Receipt::Duplicate),
            BlockState::Asked(copies) => (copies.saturating_sub(u8::from(ordered)), 0),
            BlockState::Free => (0, 1),
        };
        if newly > 0 && !run.promise(memory) {
            return None;
        }
        if matches!(run.state, RunState::Promised) {
            run.state = RunState::Filling(memory.take(run.len as usize));
        }
        let RunState::Filling(buf) = &mut run.state else { return Some(Receipt::Duplicate) };
        let at = self.shape.within_run(block);
        buf.0.get_mut(at..at + data.len())?.copy_from_slice(data);
        run.engaged += newly;
        run.missing -= 1;
        let run_whole = run.missing == 0;
        if run_whole
            && let RunState::Filling(buf) = std::mem::replace(&mut run.state, RunState::Empty)
        {
            run.state = RunState::Ready(buf);
        }
        self.blocks.receive(nth);
        self.senders.note(nth, from);
        Some(Receipt::New { others, run_whole })
    }
}
