//! The pieces in progress, with the number of their blocks that no peer was asked for, which every
//! peer that wants something to ask for looks at first. It does not know why a piece changes.

use std::{
    collections::{BTreeMap, btree_map},
    time::Duration,
};

use crate::{
    base::{
        geometry::{Block, Geometry, PieceIndex},
        hash::PieceHash,
        job::Run,
        time::Instant,
    },
    torrent::{
        piece_memory::Memory,
        progress::{Progress, Spares},
    },
};

/// How long after pieces were looked through for idle ones in vain it is not done again. A piece is
/// idle after two seconds.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Active {
    pieces: BTreeMap<PieceIndex, Progress>,
    /// Free blocks of all of them.
    free: usize,
    /// The last look found no free block in a run that has memory, and nothing has changed since.
    dry: bool,
    /// A piece that had memory when that was looked at last.
    holder: Option<PieceIndex>,
    /// When the next look for idle pieces is worth it.
    look_at: Instant,
    /// Lists that pieces have left for others.
    spares: Spares,
    /// Jobs on their way out; empty between two calls.
    runs: Vec<Run>,
}

impl Active {
    pub(super) fn len(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Blocks of all pieces that no peer was asked for.
    pub(super) fn free(&self) -> usize {
        self.free
    }

    /// Whether a free block can be asked for without more memory.
    pub(super) fn has_ready(&mut self) -> bool {
        self.dry = self.dry || !self.pieces.values().any(Progress::has_ready);
        !self.dry
    }

    /// Whether any piece has memory that waits for blocks or for a worker.
    pub(super) fn holds_memory(&mut self) -> bool {
        // Where memory is short this is asked often, and mostly the same piece has some.
        let still = self.holder.and_then(|piece| self.pieces.get(&piece));
        if !still.is_some_and(Progress::holds_memory) {
            let mut holding = self.pieces.iter().filter(|(_, progress)| progress.holds_memory());
            self.holder = holding.next().map(|(&piece, _)| piece);
        }
        self.holder.is_some()
    }

    /// No piece is idle now, or too few are.
    pub(super) fn note_none_idle(&mut self, now: Instant) {
        self.look_at = now + LOOK_AGAIN;
    }

    /// Whether pieces may be idle that were not when that was last looked at.
    pub(super) fn may_have_idle(&self, now: Instant) -> bool {
        now >= self.look_at
    }

    pub(super) fn contains(&self, piece: PieceIndex) -> bool {
        self.pieces.contains_key(&piece)
    }

    pub(super) fn get(&self, piece: PieceIndex) -> Option<&Progress> {
        self.pieces.get(&piece)
    }

    /// For changes that take no block from those that are free and add none.
    pub(super) fn get_mut(&mut self, piece: PieceIndex) -> Option<&mut Progress> {
        self.pieces.get_mut(&piece)
    }

    /// The pieces in progress, ascending.
    pub(super) fn pieces(&self) -> Vec<PieceIndex> {
        self.pieces.keys().copied().collect()
    }

    pub(super) fn iter(&self) -> btree_map::Iter<'_, PieceIndex, Progress> {
        self.pieces.iter()
    }

    /// For changes that take no block from those that are free and add none.
    pub(super) fn iter_mut(&mut self) -> btree_map::IterMut<'_, PieceIndex, Progress> {
        self.pieces.iter_mut()
    }

    /// Changes a piece, if it is in progress, and counts its free blocks anew.
    pub(super) fn change<R>(
        &mut self,
        piece: PieceIndex,
        change: impl FnOnce(&mut Progress) -> R,
    ) -> Option<R> {
        let progress = self.pieces.get_mut(&piece)?;
        self.dry = false;
        let before = progress.free() as usize;
        let result = change(progress);
        self.free = (self.free + progress.free() as usize).saturating_sub(before);
        Some(result)
    }

    /// The first block that `ask` gets out of a piece, ascending; and of which piece it is.
    pub(super) fn find(
        &mut self,
        mut ask: impl FnMut(PieceIndex, &mut Progress) -> Option<Block>,
    ) -> Option<(PieceIndex, Block)> {
        for (&piece, progress) in &mut self.pieces {
            let before = progress.free() as usize;
            if let Some(block) = ask(piece, progress) {
                self.free = (self.free + progress.free() as usize).saturating_sub(before);
                self.dry = false;
                return Some((piece, block));
            }
        }
        None
    }

    /// A piece of which nothing is asked or has come.
    pub(super) fn make(&mut self, piece: PieceIndex, geometry: Geometry, run_len: u32) -> Progress {
        Progress::new(piece, geometry, run_len, self.spares.take())
    }

    /// A piece is in progress from now on.
    pub(super) fn insert(&mut self, piece: PieceIndex, progress: Progress) {
        self.free += progress.free() as usize;
        self.dry = false;
        self.pieces.insert(piece, progress);
    }

    /// A piece is in progress no longer. No worker may have a part of it.
    pub(super) fn remove(&mut self, piece: PieceIndex, memory: &mut Memory) {
        if let Some(progress) = self.pieces.remove(&piece) {
            self.free = self.free.saturating_sub(progress.free() as usize);
            self.spares.give(progress.dissolve(memory));
        }
    }

    /// Forgets all pieces.
    pub(super) fn clear(&mut self, memory: &mut Memory) {
        for (_, progress) in std::mem::take(&mut self.pieces) {
            self.spares.give(progress.dissolve(memory));
        }
        self.free = 0;
        self.rest();
    }

    /// No piece will be begun for now.
    pub(super) fn rest(&mut self) {
        self.spares.clear();
    }

    /// The jobs of a piece that can be begun now; see [`Progress::poll_jobs`].
    pub(super) fn poll_jobs(
        &mut self,
        piece: PieceIndex,
        expected: PieceHash,
        digests: bool,
        hurry: bool,
    ) -> std::vec::Drain<'_, Run> {
        if let Some(progress) = self.pieces.get_mut(&piece) {
            progress.poll_jobs(expected, digests, hurry, &mut self.runs);
        }
        self.runs.drain(..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{geometry::BLOCK_LEN, time::Instant};

    #[test]
    fn free_blocks_are_counted_over_all_pieces_as_they_change() {
        let geometry = Geometry::new(u64::from(8 * BLOCK_LEN), 4 * BLOCK_LEN).unwrap();
        let [first, second] = [0, 1].map(|n| geometry.piece(n).unwrap());
        let (mut active, mut memory) = (Active::default(), Memory::new(1 << 20));
        for piece in [first, second] {
            let progress = active.make(piece, geometry.clone(), 4 * BLOCK_LEN);
            active.insert(piece, progress);
        }
        assert_eq!((active.len(), active.free()), (2, 8));
        let ask = |p: &mut Progress, memory: &mut Memory| p.ask_free(Instant::ZERO, memory);
        let block = active.change(second, |p| ask(p, &mut memory)).flatten().unwrap();
        assert_eq!((block.piece, active.free()), (second, 7));
        let found = active.find(|piece, p| (piece == second).then(|| ask(p, &mut memory))?);
        assert_eq!((found.map(|(piece, _)| piece), active.free()), (Some(second), 6));
        active.change(second, |p| p.release(block, &mut memory)).unwrap();
        assert_eq!(active.free(), 7);
        active.remove(second, &mut memory);
        assert_eq!((active.free(), active.contains(second)), (4, false));
        active.clear(&mut memory);
        assert_eq!((active.free(), active.is_empty(), memory.used()), (0, true, 0));
    }

    #[test]
    fn free_blocks_in_runs_with_memory_are_found_as_they_change() {
        let geometry = Geometry::new(u64::from(8 * BLOCK_LEN), 4 * BLOCK_LEN).unwrap();
        let piece = geometry.piece(1).unwrap();
        let (mut active, mut memory) = (Active::default(), Memory::new(4 * BLOCK_LEN as usize));
        assert!(!active.has_ready());
        let progress = active.make(piece, geometry.clone(), 2 * BLOCK_LEN);
        active.insert(piece, progress);
        assert!(!active.has_ready(), "no run has memory");
        let ask = |active: &mut Active, memory: &mut Memory| {
            active.find(|_, p| p.ask_free(Instant::ZERO, memory)).unwrap().1
        };
        let first = ask(&mut active, &mut memory);
        assert!(active.has_ready(), "the other block of the run");
        let second = ask(&mut active, &mut memory);
        assert!(!active.has_ready());
        active.change(piece, |p| p.release(second, &mut memory)).unwrap();
        assert!(active.has_ready());
        active.change(piece, |p| p.release(first, &mut memory)).unwrap();
        assert!(!active.has_ready(), "its memory went back with the last order");
        assert_eq!(memory.used(), 0);
    }

    #[test]
    fn idle_pieces_are_looked_for_again_after_a_while() {
        let mut active = Active::default();
        let now = Instant::ZERO + LOOK_AGAIN;
        assert!(active.may_have_idle(now));
        active.note_none_idle(now);
        assert!(!active.may_have_idle(now));
        assert!(active.may_have_idle(now + LOOK_AGAIN));
    }
}
