//! The state of each block of a piece: free, on order, here, or on disk. It knows neither runs nor
//! memory, nor who is asked.

use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlockState {
    Free,
    /// On order, so many times.
    Asked(u8),
    /// It came and is in the buffer of its run, or was there until the run was written.
    Received,
    /// It is on disk while its run is not whole.
    Stored,
}

impl BlockState {
    pub(super) fn has_come(self) -> bool {
        matches!(self, Self::Received | Self::Stored)
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Blocks {
    states: Vec<BlockState>,
    /// How many are free.
    free: u32,
    /// No free block lies before this one.
    cursor: u32,
}

impl Blocks {
    /// So many free blocks, in an empty list that another piece has left.
    pub(super) fn new(count: u32, mut states: Vec<BlockState>) -> Self {
        states.resize(count as usize, BlockState::Free);
        Self { states, free: count, cursor: 0 }
    }

    /// The list, empty, for another piece.
    pub(super) fn into_spare(mut self) -> Vec<BlockState> {
        self.states.clear();
        self.states
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    pub(super) fn free(&self) -> u32 {
        self.free
    }

    pub(super) fn state(&self, nth: usize) -> Option<BlockState> {
        self.states.get(nth).copied()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = BlockState> + '_ {
        self.states.iter().copied()
    }

    /// Those of a range that are in this state, by number.
    pub(super) fn in_state(
        &self,
        within: Range<usize>,
        state: BlockState,
    ) -> impl DoubleEndedIterator<Item = usize> + '_ {
        within.filter(move |&nth| self.states.get(nth) == Some(&state))
    }

    /// The first free block.
    pub(super) fn first_free(&mut self) -> Option<u32> {
        let ahead = self.states.get(self.cursor as usize..)?;
        self.cursor += ahead.iter().position(|&state| state == BlockState::Free)? as u32;
        Some(self.cursor)
    }

    /// Orders a block. False if it is not free.
    pub(super) fn ask(&mut self, nth: u32) -> bool {
        let Some(state @ BlockState::Free) = self.states.get_mut(nth as usize) else {
            return false;
        };
        *state = BlockState::Asked(1);
        self.free -= 1;
        true
    }

    /// Orders blocks once more that are on order.
    pub(super) fn ask_again(&mut self, within: Range<usize>) {
        for state in self.states.get_mut(within).unwrap_or_default() {
            if let BlockState::Asked(copies) = state {
                *copies = copies.saturating_add(1);
            }
        }
    }

    /// An order for a block is off. True if there was no other, so that it is free now.
    pub(super) fn release(&mut self, nth: u32) -> bool {
        match self.states.get_mut(nth as usize) {
            Some(state @ BlockState::Asked(1)) => *state = BlockState::Free,
            Some(BlockState::Asked(copies)) => {
                *copies -= 1;
                return false;
            }
            _ => return false,
        }
        self.free += 1;
        self.cursor = self.cursor.min(nth);
        true
    }

    /// A block has come.
    pub(super) fn receive(&mut self, nth: u32) {
        if let Some(state) = self.states.get_mut(nth as usize) {
            self.free -= u32::from(*state == BlockState::Free);
            *state = BlockState::Received;
        }
    }

    /// A free block turns out to be on disk. False if it is not free.
    pub(super) fn find_stored(&mut self, nth: usize) -> bool {
        let Some(state @ BlockState::Free) = self.states.get_mut(nth) else { return false };
        *state = BlockState::Stored;
        self.free -= 1;
        true
    }

    /// What has come of a run is on disk now. Returns how many blocks that is.
    pub(super) fn store(&mut self, within: Range<usize>) -> u32 {
        self.change(within, BlockState::Received, BlockState::Stored)
    }

    /// What was on disk has a whole run around it now.
    pub(super) fn join(&mut self, within: Range<usize>) {
        self.change(within, BlockState::Stored, BlockState::Received);
    }

    /// What has come of a run and is not on disk is lost. Returns how many blocks that is.
    pub(super) fn lose(&mut self, within: Range<usize>) -> u32 {
        let lost = self.change(within.clone(), BlockState::Received, BlockState::Free);
        self.note_freed(within, lost);
        lost
    }

    /// What is on disk of a run is lost. Returns how many blocks that is.
    pub(super) fn lose_stored(&mut self, within: Range<usize>) -> u32 {
        let lost = self.change(within.clone(), BlockState::Stored, BlockState::Free);
        self.note_freed(within, lost);
        lost
    }

    /// What has come of a run is of no use, nor what is on disk of it.
    pub(super) fn fetch_again(&mut self, within: Range<usize>) {
        self.lose_stored(within.clone());
        self.lose(within);
    }

    fn note_freed(&mut self, within: Range<usize>, freed: u32) {
        if freed > 0 {
            self.free += freed;
            self.cursor = self.cursor.min(within.start as u32);
        }
    }

    fn change(&mut self, within: Range<usize>, from: BlockState, to: BlockState) -> u32 {
        let mut changed = 0;
        for state in self.states.get_mut(within).unwrap_or_default() {
            if *state == from {
                *state = to;
                changed += 1;
            }
        }
        changed
    }

    /// What is wrong with the counts, if anything.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn audit(&self) -> Result<(), String> {
        let all_free = self.in_state(0..self.len(), BlockState::Free);
        let free = all_free.count();
        if free != self.free as usize {
            return Err(format!("it has {free} free blocks and counts {}", self.free));
        }
        if let Some(nth) = self.in_state(0..self.cursor as usize, BlockState::Free).next() {
            let cursor = self.cursor;
            return Err(format!("it looks for free blocks from {cursor} on, and {nth} is free"));
        }
        Ok(())
    }
}
