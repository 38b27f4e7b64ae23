//! Blocks on disk of a piece that is not whole: written when its torrent stops, remembered with its
//! state, and taken up again at the next start. None of them is verified: the piece is hashed from
//! disk when it is whole. It does not know who sent them.

use super::{BlockState, Progress, RunSlot, RunState, Spare, hashing::Hashing};
use crate::{
    base::{
        geometry::{BLOCK_LEN, Geometry},
        job::{Run, RunData},
        partial::{BlockSet, PartialPiece},
    },
    torrent::piece_memory::Memory,
};

impl Progress {
    /// A piece of which an earlier run of the process left these blocks on disk.
    pub(crate) fn restored(saved: &PartialPiece, geometry: Geometry, run_len: u32) -> Self {
        let mut progress = Self::new(saved.piece, geometry, run_len, Spare::default());
        progress.senders.forget();
        for nth in 0..progress.shape.block_count() {
            let run = progress.runs.get_mut(progress.shape.run_of(nth));
            if saved.blocks.has(nth)
                && let Some(run) = run
                && progress.blocks.find_stored(nth as usize)
            {
                (run.missing, run.engaged, run.stored) =
                    (run.missing - 1, run.engaged + 1, run.stored + 1);
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
        self.senders.is_restored()
    }

    /// Its blocks that are on disk, if any are. What is with a worker does not count.
    pub(crate) fn on_disk(&self) -> Option<PartialPiece> {
        let mut blocks = BlockSet::none(self.blocks.len() as u32);
        for (r, run) in self.runs.iter().enumerate() {
            let all = matches!(run.state, RunState::Written | RunState::Rehashing | RunState::Done);
            let is_there = |nth| all || self.blocks.state(nth) == Some(BlockState::Stored);
            let there = self.shape.blocks_of(r).filter(|&nth| is_there(nth));
            there.for_each(|nth| blocks.set(nth as u32));
        }
        (blocks.ones() > 0).then_some(PartialPiece { piece: self.shape.piece(), blocks })
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
        let within = self.shape.blocks_of(r);
        let mut stretches: Vec<std::ops::Range<u32>> = Vec::new();
        for nth in within.clone() {
            match self.blocks.state(nth)? {
                BlockState::Asked(_) => return None,
                BlockState::Free | BlockState::Stored => continue,
                BlockState::Received => {}
            }
            let start = (nth - within.start) as u32 * BLOCK_LEN;
            let end = start + self.shape.block(nth)?.len;
            match stretches.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => stretches.push(start..end),
            }
        }
        let (piece, begin) = (self.shape.piece(), self.shape.begin(r));
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
        let Some(run) = self.runs.get_mut(r) else { return };
        run.stored += self.blocks.store(self.shape.blocks_of(r));
        run.state = RunState::Empty;
    }

    fn end_if_stored(&mut self, r: usize) {
        let Some(run) = self.runs.get_mut(r).filter(|run| run.missing == 0) else { return };
        (run.state, run.stored) = (RunState::Written, 0);
        self.blocks.join(self.shape.blocks_of(r));
    }

    /// What is on disk of the whole run `r` is of no use.
    pub(super) fn fetch_again(&mut self, r: usize) {
        let Some(run) = self.runs.get_mut(r) else { return };
        *run = RunSlot::new(run.len);
        self.blocks.fetch_again(self.shape.blocks_of(r));
    }

    /// What is on disk of it is not to be relied on: it is fetched again, and all is hashed anew.
    /// No worker may have a part of it.
    pub(crate) fn forget_stored(&mut self) {
        self.hashing = Hashing::new();
        for r in 0..self.runs.len() {
            let within = self.shape.blocks_of(r);
            let Some(run) = self.runs.get_mut(r) else { continue };
            if matches!(run.state, RunState::Written | RunState::Done) {
                self.fetch_again(r);
                continue;
            }
            let lost = self.blocks.lose_stored(within);
            (run.engaged, run.missing) = (run.engaged - lost, run.missing + lost);
            run.stored -= lost;
            if run.missing > 0 {
                run.state = match std::mem::replace(&mut run.state, RunState::Empty) {
                    RunState::Ready(buf) => RunState::Filling(buf),
                    other => other,
                };
            }
        }
    }

    /// Gives memory back that runs hold which are not whole; what has come of them is lost, but for
    /// what is on disk. No worker may have a part of it, and nothing of it may be on order.
    /// Returns the bytes that are lost.
    pub(crate) fn shed(&mut self, memory: &mut Memory) -> u64 {
        let before = self.received_len();
        for r in 0..self.runs.len() {
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
            let lost = self.blocks.lose(self.shape.blocks_of(r));
            (run.engaged, run.missing) = (run.engaged - lost, run.missing + lost);
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
