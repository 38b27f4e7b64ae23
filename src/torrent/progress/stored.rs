//! Blocks on disk of a piece that is not whole: written when its torrent stops, remembered with its
//! state, and taken up again at the next start. None of them is verified: the piece is hashed from
//! disk when it is whole. It does not know who sent them.

use super::{BlockState, Progress, RunState, Spare};
use crate::{
    base::{
        geometry::{BLOCK_LEN, Geometry},
        job::{Run, RunData},
        partial::{BlockSet, PartialPiece},
    },
    torrent::piece_memory::Memory,
};

/// How often in a row a written run may fail to be read before it is fetched again.
const MAX_UNREAD: u8 = 3;

impl Progress {
    /// A piece of which an earlier run of the process left these blocks on disk.
    pub(crate) fn restored(saved: &PartialPiece, geometry: Geometry, run_len: u32) -> Self {
        let mut progress = Self::new(saved.piece, geometry, run_len, Spare::default());
        progress.restored = true;
        // No peer of this run has sent any of it.
        progress.by.fill(u8::MAX);
        for nth in (0..progress.blocks.len()).filter(|&nth| saved.blocks.has(nth as u32)) {
            if let (Some(block), Some(run)) = (
                progress.blocks.get_mut(nth),
                progress.runs.get_mut(nth / (run_len / BLOCK_LEN) as usize),
            ) {
                *block = BlockState::Stored;
                (run.missing, run.engaged, run.stored) =
                    (run.missing - 1, run.engaged + 1, run.stored + 1);
                progress.free -= 1;
            }
        }
        for r in 0..progress.runs.len() {
            progress.end_if_stored(r);
        }
        progress
    }

    /// Whether blocks of it came before this run of the process, so that a failure is not surely
    /// that of its contributors.
    pub(crate) fn is_restored(&self) -> bool {
        self.restored
    }

    /// Its blocks that are on disk, if any are. What is with a worker does not count.
    pub(crate) fn on_disk(&self) -> Option<PartialPiece> {
        let mut blocks = BlockSet::none(self.blocks.len() as u32);
        for (r, run) in self.runs.iter().enumerate() {
            let all = matches!(run.state, RunState::Written | RunState::Rehashing | RunState::Done);
            let within = self.blocks_of(r);
            let there =
                within.filter(|&nth| all || self.blocks.get(nth) == Some(&BlockState::Stored));
            there.for_each(|nth| blocks.set(nth as u32));
        }
        (blocks.ones() > 0).then_some(PartialPiece { piece: self.piece, blocks })
    }

    /// Jobs that write what is in memory of runs that are not whole and of which nothing is on
    /// order.
    #[must_use]
    pub(crate) fn poll_flush(&mut self) -> Vec<Run> {
        (0..self.runs.len()).filter_map(|r| self.write_stretches(r, true)).collect()
    }

    /// A job that writes the blocks in the buffer of run `r`, unless it has none or some are on
    /// order.
    pub(super) fn write_stretches(&mut self, r: usize, hurry: bool) -> Option<Run> {
        let within = self.blocks_of(r);
        let mut stretches: Vec<std::ops::Range<u32>> = Vec::new();
        for nth in within.clone() {
            match self.blocks.get(nth)? {
                BlockState::Asked(_) => return None,
                BlockState::Free | BlockState::Stored => continue,
                BlockState::Received => {}
            }
            let start = (nth - within.start) as u32 * BLOCK_LEN;
            let end = start + self.geometry.nth_block(self.piece, nth as u32)?.len;
            match stretches.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => stretches.push(start..end),
            }
        }
        let (piece, begin) = (self.piece, r as u32 * self.run_len);
        let run = self.runs.get_mut(r)?;
        let (buf, state) = match std::mem::replace(&mut run.state, RunState::Empty) {
            RunState::Filling(buf) if !stretches.is_empty() => (Some(buf), RunState::Flushing),
            RunState::Ready(buf) if run.stored > 0 => (Some(buf), RunState::Out),
            other => (None, other),
        };
        run.state = state;
        let data = RunData::Stretches(buf?, stretches);
        Some(Run { piece, begin, data, chain: None, digests: false, hurry })
    }

    /// What had come of run `r` is on disk.
    pub(super) fn flushed(&mut self, r: usize) {
        let within = self.blocks_of(r);
        let Some(run) = self.runs.get_mut(r) else { return };
        for block in self.blocks.get_mut(within).unwrap_or_default() {
            if *block == BlockState::Received {
                *block = BlockState::Stored;
                run.stored += 1;
            }
        }
        run.state = RunState::Empty;
    }

    fn end_if_stored(&mut self, r: usize) {
        let within = self.blocks_of(r);
        let Some(run) = self.runs.get_mut(r).filter(|run| run.missing == 0) else { return };
        (run.state, run.stored) = (RunState::Written, 0);
        self.blocks.get_mut(within).unwrap_or_default().fill(BlockState::Received);
    }

    /// Run `r` could not be read again: after a few times it is to be fetched again, or the piece
    /// would never be whole.
    pub(super) fn give_up_unread(&mut self, r: usize) {
        self.unread += 1;
        if self.unread < MAX_UNREAD {
            return;
        }
        self.unread = 0;
        let within = self.blocks_of(r);
        let Some(run) = self.runs.get_mut(r) else { return };
        (run.state, run.engaged, run.stored, run.missing) = (RunState::Empty, 0, 0, run.blocks());
        self.free += within.len() as u32;
        self.cursor = self.cursor.min(within.start as u32);
        self.blocks.get_mut(within).unwrap_or_default().fill(BlockState::Free);
    }

    /// Gives memory back that runs hold which are not whole; what has come of them is lost, but for
    /// what is on disk. No worker may have a part of it, and nothing of it may be on order.
    /// Returns the bytes that are lost.
    pub(crate) fn shed(&mut self, memory: &mut Memory) -> u64 {
        let before = self.received_len();
        for r in 0..self.runs.len() {
            let within = self.blocks_of(r);
            let Some(run) = self.runs.get_mut(r) else { continue };
            match std::mem::replace(&mut run.state, RunState::Empty) {
                RunState::Promised => memory.release(run.len as usize),
                RunState::Filling(buf) | RunState::Ready(buf) => {
                    memory.give(run.len as usize, buf);
                }
                other => {
                    run.state = other;
                    continue;
                }
            }
            self.cursor = self.cursor.min(within.start as u32);
            for block in self.blocks.get_mut(within).unwrap_or_default() {
                if *block == BlockState::Received {
                    *block = BlockState::Free;
                    self.free += 1;
                    (run.engaged, run.missing) = (run.engaged - 1, run.missing + 1);
                }
            }
        }
        before - self.received_len()
    }

    /// Whether runs that are not written hold memory.
    pub(crate) fn holds_memory(&self) -> bool {
        let held = |state: &RunState| {
            matches!(state, RunState::Promised | RunState::Filling(_) | RunState::Ready(_))
        };
        self.runs.iter().any(|run| held(&run.state))
    }
}
