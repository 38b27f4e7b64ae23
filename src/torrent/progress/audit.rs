//! A piece in progress, counted anew: what its shortcuts say must be what its blocks and runs say.
//! For tests and the simulator.

use super::{BlockState, Progress, RunState};
use crate::base::geometry::Block;

impl Progress {
    /// Bytes of memory that it holds or was promised.
    pub(crate) fn memory(&self) -> usize {
        let held = |state: &RunState| {
            matches!(
                state,
                RunState::Promised
                    | RunState::Filling(_)
                    | RunState::Ready(_)
                    | RunState::Out
                    | RunState::Flushing
            )
        };
        self.runs.iter().filter(|run| held(&run.state)).map(|run| run.len as usize).sum()
    }

    /// Bytes of it that have a buffer.
    pub(crate) fn backed(&self) -> usize {
        let backed = |state: &RunState| {
            matches!(
                state,
                RunState::Filling(_) | RunState::Ready(_) | RunState::Out | RunState::Flushing
            )
        };
        self.runs.iter().filter(|run| backed(&run.state)).map(|run| run.len as usize).sum()
    }

    /// Blocks on order and how often.
    pub(crate) fn asked(&self) -> impl Iterator<Item = (Block, u8)> + '_ {
        self.blocks.iter().enumerate().filter_map(|(nth, state)| match state {
            BlockState::Asked(times) => Some((self.shape.block(nth)?, times)),
            _ => None,
        })
    }

    /// What is wrong with it, if anything.
    pub(crate) fn audit(&self) -> Result<(), String> {
        let piece = self.shape.piece().get();
        self.blocks.audit().map_err(|what| format!("piece {piece}: {what}"))?;
        for (r, run) in self.runs.iter().enumerate() {
            let blocks = || self.shape.blocks_of(r).filter_map(|nth| self.blocks.state(nth));
            let missing = blocks().filter(|b| !b.has_come()).count();
            let stored = blocks().filter(|&b| b == BlockState::Stored).count();
            let engaged = blocks().filter(|&b| b != BlockState::Free).count();
            if (missing, engaged) != (run.missing as usize, run.engaged as usize) {
                return Err(format!(
                    "run {r} of piece {piece} lacks {missing} blocks and has {engaged} asked or \
                     here, and counts {} and {}",
                    run.missing, run.engaged
                ));
            }
            if stored != run.stored as usize {
                return Err(format!(
                    "run {r} of piece {piece} has {stored} blocks on disk and counts {}",
                    run.stored
                ));
            }
            let whole = !matches!(
                run.state,
                RunState::Empty | RunState::Promised | RunState::Filling(_) | RunState::Flushing
            );
            if whole != (missing == 0) {
                return Err(format!(
                    "run {r} of piece {piece} lacks {missing} blocks and is {:?}",
                    run.state
                ));
            }
            if matches!(run.state, RunState::Empty) && engaged > stored {
                return Err(format!(
                    "run {r} of piece {piece} has {engaged} blocks on order and no memory"
                ));
            }
        }
        Ok(())
    }
}
