//! The runs of a piece: memory for each, jobs for the workers, and how far the piece is hashed. A
//! run has a buffer from its first block until it is written. It does not know who is asked for
//! blocks, nor who sent them.

use super::{BlockState, Memory, Progress, senders::SpareSenders};
use crate::base::{
    buf::Buf,
    geometry::BLOCK_LEN,
    hash::PieceHash,
    job::{Run, RunData, RunDone, Verdict},
    storage::StoreError,
};

#[derive(Debug)]
pub(super) enum RunState {
    /// Nothing asked, no memory promised.
    Empty,
    /// Memory is promised; the buffer comes with the first block.
    Promised,
    Filling(Buf),
    /// Whole, and waiting for its turn.
    Ready(Buf),
    /// With a worker, buffer and all.
    Out,
    /// Not whole, and with a worker that writes what has come.
    Flushing,
    /// Written before its turn to be hashed.
    Written,
    /// Being read back to be hashed.
    Rehashing,
    Done,
}

#[derive(Debug)]
pub(super) struct RunSlot {
    pub(super) state: RunState,
    /// Blocks that have not come.
    pub(super) missing: u32,
    /// Blocks that are asked for or have come.
    pub(super) engaged: u32,
    /// Of those, the ones that are on disk and not in its buffer.
    pub(super) stored: u32,
    pub(super) len: u32,
}

impl RunSlot {
    /// A run of so many bytes, of which nothing is asked or has come.
    pub(super) fn new(len: u32) -> Self {
        let missing = len.div_ceil(BLOCK_LEN);
        Self { state: RunState::Empty, missing, engaged: 0, stored: 0, len }
    }

    /// Sees to it that it has memory. False if there is none, or a worker has what has come of it.
    pub(super) fn promise(&mut self, memory: &mut Memory) -> bool {
        match self.state {
            RunState::Flushing => return false,
            RunState::Empty if !memory.reserve(self.len as usize) => return false,
            RunState::Empty => self.state = RunState::Promised,
            _ => {}
        }
        true
    }

    pub(super) fn blocks(&self) -> u32 {
        self.len.div_ceil(BLOCK_LEN)
    }

    /// Whether it has memory, and a block of it is free.
    fn has_ready(&self) -> bool {
        let without = matches!(self.state, RunState::Empty | RunState::Flushing);
        !without && self.engaged < self.blocks()
    }
}

/// The lists of one piece, all empty.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    pub(super) blocks: Vec<BlockState>,
    pub(super) runs: Vec<RunSlot>,
    pub(super) senders: SpareSenders,
}

impl Progress {
    /// Sees to it that the run of a block has memory.
    pub(super) fn promise(&mut self, nth: u32, memory: &mut Memory) -> bool {
        let run = self.runs.get_mut(self.shape.run_of(nth));
        run.is_some_and(|run| run.promise(memory))
    }

    /// The next free block behind `nth` whose run has memory already: to fill it is the way to get
    /// memory back.
    pub(super) fn next_with_memory(&self, nth: u32) -> Option<u32> {
        // By runs: this is asked often while memory is short.
        let first = self.shape.run_of(nth);
        let run = first + self.runs.get(first..)?.iter().position(RunSlot::has_ready)?;
        let mut free = self.blocks.in_state(self.shape.blocks_of(run), BlockState::Free);
        free.next().map(|nth| nth as u32)
    }

    /// Whether a free block can be asked for without more memory.
    pub(crate) fn has_ready(&self) -> bool {
        self.free() > 0 && self.runs.iter().any(RunSlot::has_ready)
    }

    /// Whether a worker has a part of it.
    pub(crate) fn is_out(&self) -> bool {
        self.runs.iter().any(|run| {
            matches!(run.state, RunState::Out | RunState::Flushing | RunState::Rehashing)
        })
    }

    /// Appends the jobs that can be begun now to `jobs`; with `hurry` if no others are about to
    /// follow.
    pub(crate) fn poll_jobs(
        &mut self,
        expected: PieceHash,
        digests: bool,
        hurry: bool,
        jobs: &mut Vec<Run>,
    ) {
        let last = self.runs.len() - 1;
        let piece = self.shape.piece();
        self.hashing.aim_at(&expected, self.shape.leaves());
        let next = self.hashing.next();
        if self.hashing.may_go_on()
            && let Some(run) = self.runs.get_mut(next)
        {
            let (data, state) = match std::mem::replace(&mut run.state, RunState::Out) {
                // What is on disk already is hashed from there, and so is the rest of its run.
                RunState::Ready(buf) if run.stored > 0 => (None, RunState::Ready(buf)),
                RunState::Ready(buf) => (Some(RunData::Memory(buf)), RunState::Out),
                RunState::Written => (Some(RunData::Disk(run.len)), RunState::Rehashing),
                other => (None, other),
            };
            run.state = state;
            if let Some(data) = data {
                let chain = Some(self.hashing.give((next == last).then_some(expected)));
                let begin = self.shape.begin(next);
                jobs.push(Run { piece, begin, data, chain, digests, hurry });
            }
        }
        // What is whole behind a gap may wait long: it is written now and hashed from the page
        // cache later.
        let mut gap = false;
        let mut split = Vec::new();
        for (r, run) in self.runs.iter_mut().enumerate().skip(next) {
            match &run.state {
                RunState::Empty
                | RunState::Promised
                | RunState::Filling(_)
                | RunState::Flushing => gap = true,
                RunState::Ready(_) if run.stored > 0 => split.push(r),
                RunState::Ready(_) if gap => {
                    if let RunState::Ready(buf) = std::mem::replace(&mut run.state, RunState::Out) {
                        jobs.push(Run {
                            piece,
                            begin: self.shape.begin(r),
                            data: RunData::Memory(buf),
                            chain: None,
                            digests: false,
                            hurry,
                        });
                    }
                }
                _ => {}
            }
        }
        jobs.extend(split.into_iter().filter_map(|r| self.write_stretches(r, hurry)));
    }

    /// A worker's answer. `Ok(Some(good))` is the verdict on the whole piece.
    pub(crate) fn handle_run(
        &mut self,
        done: RunDone,
        memory: &mut Memory,
    ) -> Result<Option<bool>, StoreError> {
        let r = self.shape.run_at(done.begin);
        let Some(run) = self.runs.get_mut(r) else { return Ok(None) };
        let rehashing = matches!(run.state, RunState::Rehashing);
        let flushing = matches!(run.state, RunState::Flushing);
        match (done.result, done.buf) {
            (Err(error), buf) => {
                if rehashing || self.hashing.next() == r {
                    self.hashing.handle_failed();
                }
                run.state = match buf {
                    Some(buf) if flushing => RunState::Filling(buf),
                    Some(buf) => RunState::Ready(buf),
                    None => RunState::Written,
                };
                if rehashing && self.hashing.note_unread() {
                    self.fetch_again(r);
                }
                Err(error)
            }
            (Ok(verdict), buf) => {
                if let Some(buf) = buf {
                    memory.give(run.len as usize, buf);
                }
                if flushing {
                    self.flushed(r);
                    return Ok(None);
                }
                if verdict == Verdict::Unhashed {
                    run.state = RunState::Written;
                    return Ok(None);
                }
                run.state = RunState::Done;
                let (state, good) = match verdict {
                    Verdict::Going(state) => (Some(state), None),
                    verdict => (None, Some(verdict == Verdict::Good)),
                };
                self.hashing.handle_hashed(r, state);
                Ok(good)
            }
        }
    }

    /// Gives all memory back, and leaves its lists to another piece. No worker may have a part of
    /// it.
    pub(crate) fn dissolve(self, memory: &mut Memory) -> Spare {
        let Self { blocks, mut runs, senders, .. } = self;
        for run in runs.drain(..) {
            match run.state {
                RunState::Promised => memory.release(run.len as usize),
                RunState::Out | RunState::Flushing => memory.lose(run.len as usize),
                RunState::Filling(buf) | RunState::Ready(buf) => {
                    memory.give(run.len as usize, buf);
                }
                RunState::Empty | RunState::Written | RunState::Rehashing | RunState::Done => {}
            }
        }
        Spare { blocks: blocks.into_spare(), runs, senders: senders.into_spare() }
    }
}
