//! Blocks of a piece that lie next to each other, for web seeds, which are asked for stretches of
//! files and not for blocks. It knows no files.

use std::ops::Range;

use super::{BlockState, Memory, Progress};
use crate::base::{geometry::Block, time::Instant};

impl Progress {
    /// Orders free blocks that lie next to each other, from the first on that there is memory for:
    /// at most `most`, at least one. Returns their numbers in the piece.
    pub(crate) fn ask_row(
        &mut self,
        most: usize,
        due: Instant,
        memory: &mut Memory,
    ) -> Option<Range<u32>> {
        let first = self.ask_free(due, memory)?.nth();
        let mut end = first + 1;
        while ((end - first) as usize) < most
            && self.blocks.state(end as usize) == Some(BlockState::Free)
            && self.promise(end, memory)
        {
            self.order(end, due);
            end += 1;
        }
        Some(first..end)
    }

    /// Orders blocks once more that lie next to each other and are on order already, each with
    /// fewer than `limit`, if `wanted` agrees. As [`ask_row`](Self::ask_row) otherwise.
    pub(crate) fn ask_row_again(
        &mut self,
        most: usize,
        limit: u8,
        wanted: impl Fn(Block) -> bool,
    ) -> Option<Range<u32>> {
        let may = |nth: usize| {
            let few = matches!(self.blocks.state(nth), Some(BlockState::Asked(n)) if n < limit);
            few && self.shape.block(nth).is_some_and(&wanted)
        };
        let first = (0..self.blocks.len()).find(|&nth| may(nth))?;
        let len = (first..self.blocks.len()).take(most).take_while(|&nth| may(nth)).count();
        self.blocks.ask_again(first..first + len);
        Some(first as u32..(first + len) as u32)
    }
}
