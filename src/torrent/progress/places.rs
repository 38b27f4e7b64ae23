//! Where a block of an unfinished piece is, for one that wants to read it. It does not know what
//! for, nor whether the block is good.

use super::{BlockState, Progress, RunState};
use crate::base::geometry::Block;

/// See the module.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum BlockPlace<'a> {
    /// It has not come.
    Nowhere,
    /// Here.
    Memory(&'a [u8]),
    /// With a worker, which writes it: it is on disk when that has answered.
    Worker,
    /// On disk.
    Disk,
}

impl Progress {
    /// Where a block of our own grid is.
    pub(crate) fn place_of(&self, block: Block) -> BlockPlace<'_> {
        match self.blocks.state(block.nth() as usize) {
            None | Some(BlockState::Free | BlockState::Asked(_)) => return BlockPlace::Nowhere,
            Some(BlockState::Stored) => return BlockPlace::Disk,
            Some(BlockState::Received) => {}
        }
        let Some(run) = self.runs.get(self.shape.run_of(block.nth())) else {
            return BlockPlace::Nowhere;
        };
        match &run.state {
            RunState::Filling(buf) | RunState::Ready(buf) => {
                let at = self.shape.within_run(block);
                let bytes = buf.0.get(at..at + block.len as usize);
                bytes.map_or(BlockPlace::Nowhere, BlockPlace::Memory)
            }
            RunState::Out | RunState::Flushing => BlockPlace::Worker,
            RunState::Written | RunState::Rehashing | RunState::Done => BlockPlace::Disk,
            RunState::Empty | RunState::Promised => BlockPlace::Nowhere,
        }
    }
}
