//! The runs of a piece: memory for each, jobs for the workers, and how far the piece is hashed. A
//! run has a buffer from its first block until it is written. It does not know who is asked for
//! blocks, nor who sent them.

use super::{BlockState, Memory, Progress, Supplier};
use crate::base::{
    buf::Buf,
    geometry::BLOCK_LEN,
    hash::{Hasher, PieceHash},
    job::{Chain, Run, RunData, RunDone, Verdict},
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
    pub(super) fn blocks(&self) -> u32 {
        self.len.div_ceil(BLOCK_LEN)
    }
}

/// The lists of one piece, all empty.
#[derive(Debug, Default)]
pub(crate) struct Spare {
    pub(super) blocks: Vec<BlockState>,
    pub(super) by: Vec<u8>,
    pub(super) runs: Vec<RunSlot>,
    pub(super) contributors: Vec<Supplier>,
}

impl Progress {
    /// Sees to it that the run of a block has memory.
    pub(super) fn promise(&mut self, nth: u32, memory: &mut Memory) -> bool {
        let Some(run) = self.run_of(nth) else { return false };
        if matches!(run.state, RunState::Flushing) {
            return false;
        }
        if matches!(run.state, RunState::Empty) {
            if !memory.reserve(run.len as usize) {
                return false;
            }
            run.state = RunState::Promised;
        }
        true
    }

    /// The next free block behind `nth` whose run has memory already: to fill it is the way to get
    /// memory back.
    pub(super) fn next_with_memory(&self, nth: u32) -> Option<u32> {
        // By runs: this is asked often while memory is short.
        let first = (nth / self.blocks_a_run()) as usize;
        let without = |run: &RunSlot| matches!(run.state, RunState::Empty | RunState::Flushing);
        let has_free = |run: &RunSlot| !without(run) && run.engaged < run.blocks();
        let run = first + self.runs.get(first..)?.iter().position(has_free)?;
        let within = self.blocks_of(run);
        let blocks = self.blocks.get(within.clone())?;
        blocks.iter().position(|&b| b == BlockState::Free).map(|at| (within.start + at) as u32)
    }

    fn blocks_a_run(&self) -> u32 {
        self.run_len / BLOCK_LEN
    }

    /// The blocks of a run, by number.
    pub(super) fn blocks_of(&self, run: usize) -> std::ops::Range<usize> {
        let start = run * self.blocks_a_run() as usize;
        start..(start + self.blocks_a_run() as usize).min(self.blocks.len())
    }

    pub(super) fn run_of(&mut self, nth: u32) -> Option<&mut RunSlot> {
        let run = nth / self.blocks_a_run();
        self.runs.get_mut(run as usize)
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
        let begin = |r: usize| r as u32 * self.run_len;
        let piece = self.piece;
        if self.next_hash == 0 {
            self.chain = Hasher::new(&expected, self.geometry.leaves(piece));
        }
        if !self.hashing
            && let Some(run) = self.runs.get_mut(self.next_hash)
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
                let chain = Chain {
                    state: self.chain.clone(),
                    expected: (self.next_hash == last).then_some(expected),
                };
                jobs.push(Run {
                    piece,
                    begin: begin(self.next_hash),
                    data,
                    chain: Some(chain),
                    digests,
                    hurry,
                });
                self.hashing = true;
            }
        }
        // What is whole behind a gap may wait long: it is written now and hashed from the page
        // cache later.
        let mut gap = false;
        let mut split = Vec::new();
        for (r, run) in self.runs.iter_mut().enumerate().skip(self.next_hash) {
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
                            begin: begin(r),
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
        let r = (done.begin / self.run_len) as usize;
        let Some(run) = self.runs.get_mut(r) else { return Ok(None) };
        let rehashing = matches!(run.state, RunState::Rehashing);
        let flushing = matches!(run.state, RunState::Flushing);
        match (done.result, done.buf) {
            (Err(error), buf) => {
                if rehashing || self.next_hash == r {
                    self.hashing = false;
                }
                run.state = match buf {
                    Some(buf) if flushing => RunState::Filling(buf),
                    Some(buf) => RunState::Ready(buf),
                    None => RunState::Written,
                };
                if rehashing {
                    self.give_up_unread(r);
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
                self.unread = 0;
                self.hashing = false;
                self.next_hash = r + 1;
                Ok(match verdict {
                    Verdict::Going(state) => {
                        self.chain = state;
                        None
                    }
                    verdict => Some(verdict == Verdict::Good),
                })
            }
        }
    }

    /// Gives all memory back, and leaves its lists to another piece. No worker may have a part of
    /// it.
    pub(crate) fn dissolve(self, memory: &mut Memory) -> Spare {
        let Self { mut blocks, mut by, mut runs, mut contributors, .. } = self;
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
        blocks.clear();
        by.clear();
        contributors.clear();
        Spare { blocks, by, runs, contributors }
    }
}
