//! One piece that is being fetched: the state of its blocks, the buffers of its runs, and how far it is hashed.
//!
//! A piece is cut into runs (one, unless it is large). A run has a buffer from its first block until a worker has written
//! it, so memory is bounded by runs in flight and not by the size of a piece. It does not know peers but by their keys.

#[cfg(any(test, feature = "sim"))]
mod audit;

use std::{net::SocketAddr, time::Duration};

use crate::base::{
    arena::Key,
    buf::{Buf, BufPool},
    digest::{Digest, Sha1State},
    geometry::{BLOCK_LEN, Block, Geometry, PieceIndex},
    job::{Chain, Run, RunData, RunDone, StoreError, Verdict},
    planted::planted,
    time::Instant,
};

/// How long after its last order was due a piece counts as left alone.
const IDLE: Duration = Duration::from_secs(2);

/// Bytes of piece data that are in memory or promised to be.
#[derive(Debug)]
pub(crate) struct Memory {
    used: usize,
    limit: usize,
}

impl Memory {
    pub(crate) fn new(limit: usize) -> Self {
        Self { used: 0, limit }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    pub(crate) fn has_room(&self, bytes: usize) -> bool {
        bytes <= self.limit.saturating_sub(self.used)
    }

    fn reserve(&mut self, bytes: usize) -> bool {
        let room = self.has_room(bytes);
        if room {
            self.used += bytes;
        }
        room
    }

    fn release(&mut self, bytes: usize) {
        self.used = self.used.saturating_sub(bytes);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum BlockState {
    Free,
    /// On order, so many times.
    Asked(u8),
    Received,
}

#[derive(Debug)]
enum RunState {
    /// Nothing asked, no memory promised.
    Empty,
    /// Memory is promised; the buffer comes with the first block.
    Promised,
    Filling(Buf),
    /// Whole, and waiting for its turn.
    Ready(Buf),
    /// With a worker, buffer and all.
    Out,
    /// Written before its turn to be hashed.
    Written,
    /// Being read back to be hashed.
    Rehashing,
    Done,
}

#[derive(Debug)]
struct RunSlot {
    state: RunState,
    /// Blocks that have not come.
    missing: u32,
    /// Blocks that are asked for or have come.
    engaged: u32,
    len: u32,
}

impl RunSlot {
    fn blocks(&self) -> u32 {
        self.len.div_ceil(BLOCK_LEN)
    }
}

/// Who sent a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Contributor {
    pub(crate) addr: SocketAddr,
    /// It dialled us, so its port means nothing.
    pub(crate) incoming: bool,
}

/// A piece in progress.
#[derive(Debug)]
pub(crate) struct Progress {
    piece: PieceIndex,
    geometry: Geometry,
    run_len: u32,
    blocks: Vec<BlockState>,
    /// Which contributor each block came from.
    by: Vec<u8>,
    free: u32,
    /// No free block lies before this one.
    cursor: u32,
    runs: Vec<RunSlot>,
    chain: Sha1State,
    /// The first run that is not hashed.
    next_hash: usize,
    hashing: bool,
    contributors: Vec<Contributor>,
    /// When the last of what is on order should be here.
    due: Instant,
    /// The link that began it and should finish it.
    pub(crate) owner: Option<Key>,
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
    pub(crate) fn new(piece: PieceIndex, geometry: Geometry, run_len: u32) -> Self {
        let count = geometry.block_count(piece);
        let len = geometry.piece_len(piece);
        let runs = (0..len.div_ceil(run_len))
            .map(|r| {
                let len = run_len.min(len - r * run_len);
                RunSlot { state: RunState::Empty, missing: len.div_ceil(BLOCK_LEN), engaged: 0, len }
            })
            .collect();
        Self {
            piece,
            geometry,
            run_len,
            blocks: vec![BlockState::Free; count as usize],
            by: vec![0; count as usize],
            free: count,
            cursor: 0,
            runs,
            chain: Sha1State::INITIAL,
            next_hash: 0,
            hashing: false,
            contributors: Vec::new(),
            due: Instant::ZERO,
            owner: None,
            parole: false,
        }
    }

    /// Blocks that nobody has been asked for.
    pub(crate) fn free(&self) -> u32 {
        self.free
    }

    /// Whether nothing has been asked or received.
    pub(crate) fn is_untouched(&self) -> bool {
        self.free as usize == self.blocks.len()
    }

    pub(crate) fn contributors(&self) -> &[Contributor] {
        &self.contributors
    }

    /// Who sent each block.
    pub(crate) fn block_senders(&self) -> Vec<Option<Contributor>> {
        self.by.iter().map(|&by| self.contributors.get(by as usize).copied()).collect()
    }

    /// Whether blocks are still to come.
    pub(crate) fn is_awaited(&self) -> bool {
        self.runs.iter().any(|run| run.missing > 0)
    }

    /// Bytes received.
    pub(crate) fn received_len(&self) -> u64 {
        let received = |&(_, state): &(usize, &BlockState)| *state == BlockState::Received;
        let blocks = self.blocks.iter().enumerate().filter(received);
        blocks.filter_map(|(n, _)| self.geometry.nth_block(self.piece, n as u32)).map(|b| u64::from(b.len)).sum()
    }

    /// Whether somebody who delivers within `expected` would be of help: what is on order is overdue, or takes much longer.
    pub(crate) fn needs_help(&self, now: Instant, expected: Duration) -> bool {
        self.due <= now || self.due.since(now) > expected * 2
    }

    /// Orders the next free block, if there is one and memory for its run. It should be here at `due`.
    pub(crate) fn ask_free(&mut self, due: Instant, memory: &mut Memory) -> Option<Block> {
        let ahead = self.blocks.get(self.cursor as usize..)?;
        let nth = self.cursor + ahead.iter().position(|&b| b == BlockState::Free)? as u32;
        self.cursor = nth;
        let nth = if self.promise(nth, memory) { nth } else { self.next_with_memory(nth)? };
        self.run_of(nth)?.engaged += 1;
        self.blocks[nth as usize] = BlockState::Asked(1);
        self.free -= 1;
        self.due = self.due.max(due);
        self.geometry.nth_block(self.piece, nth)
    }

    /// Sees to it that the run of a block has memory.
    fn promise(&mut self, nth: u32, memory: &mut Memory) -> bool {
        let Some(run) = self.run_of(nth) else { return false };
        if matches!(run.state, RunState::Empty) {
            if !memory.reserve(run.len as usize) {
                return false;
            }
            run.state = RunState::Promised;
        }
        true
    }

    /// The next free block behind `nth` whose run has memory already: to fill it is the way to get memory back.
    fn next_with_memory(&self, nth: u32) -> Option<u32> {
        // By runs: this is asked often while memory is short.
        let first = (nth / self.blocks_a_run()) as usize;
        let has_free = |run: &RunSlot| !matches!(run.state, RunState::Empty) && run.engaged < run.blocks();
        let run = first + self.runs.get(first..)?.iter().position(has_free)?;
        let within = self.blocks_of(run);
        let blocks = self.blocks.get(within.clone())?;
        blocks.iter().position(|&b| b == BlockState::Free).map(|at| (within.start + at) as u32)
    }

    fn blocks_a_run(&self) -> u32 {
        self.run_len / BLOCK_LEN
    }

    /// The blocks of a run, by number.
    fn blocks_of(&self, run: usize) -> std::ops::Range<usize> {
        let start = run * self.blocks_a_run() as usize;
        start..(start + self.blocks_a_run() as usize).min(self.blocks.len())
    }

    /// Whether nobody has worked on it for a while and nothing of it is with a worker: its memory may be better used.
    pub(crate) fn is_idle(&self, now: Instant) -> bool {
        self.owner.is_none() && self.due + IDLE <= now && !self.is_ordered() && !self.is_out()
    }

    /// Whether blocks of it are on order with anybody.
    pub(crate) fn is_ordered(&self) -> bool {
        self.blocks.iter().any(|b| matches!(b, BlockState::Asked(_)))
    }

    /// Whether a worker has a part of it.
    pub(crate) fn is_out(&self) -> bool {
        self.runs.iter().any(|run| matches!(run.state, RunState::Out | RunState::Rehashing))
    }

    /// Orders a block once more that is on order already, fewest copies first and below `limit`, if `wanted` agrees. Those
    /// ordered last come first: there is the best chance that the other order can still be cancelled.
    pub(crate) fn ask_again(&mut self, limit: u8, mut wanted: impl FnMut(Block) -> bool) -> Option<Block> {
        let awaited = |&run: &usize| self.runs[run].engaged > self.runs[run].blocks() - self.runs[run].missing;
        let runs: Vec<usize> = (0..self.runs.len()).rev().filter(awaited).collect();
        for copies in 1..limit {
            for nth in runs.iter().flat_map(|&run| self.blocks_of(run).rev()) {
                if self.blocks[nth] == BlockState::Asked(copies)
                    && let Some(block) = self.geometry.nth_block(self.piece, nth as u32)
                    && wanted(block)
                {
                    self.blocks[nth] = BlockState::Asked(copies + 1);
                    return Some(block);
                }
            }
        }
        None
    }

    /// An order for `block` is off.
    pub(crate) fn release(&mut self, block: Block, memory: &mut Memory) {
        let nth = block.nth();
        match self.blocks.get_mut(nth as usize) {
            Some(state @ BlockState::Asked(1)) => *state = BlockState::Free,
            Some(BlockState::Asked(copies)) => {
                *copies -= 1;
                return;
            }
            _ => return,
        }
        self.free += 1;
        self.cursor = self.cursor.min(nth);
        if let Some(run) = self.run_of(nth) {
            run.engaged = run.engaged.saturating_sub(1);
            if run.engaged == 0 && matches!(run.state, RunState::Promised) {
                run.state = RunState::Empty;
                let len = run.len as usize;
                memory.release(planted!("quota_leak", 0, len));
            }
        }
    }

    /// A block came, whose order is counted off, if there was one (`ordered`). Its run may not have memory if nobody had
    /// ordered it any more; then it is not taken.
    pub(crate) fn receive(
        &mut self,
        block: Block,
        data: &[u8],
        from: Contributor,
        ordered: bool,
        memory: &mut Memory,
        bufs: &mut BufPool,
    ) -> Option<Receipt> {
        let nth = block.nth();
        let others = match *self.blocks.get(nth as usize)? {
            BlockState::Received => planted!("double_count", 0, return Some(Receipt::Duplicate)),
            BlockState::Asked(copies) => copies.saturating_sub(u8::from(ordered)),
            BlockState::Free => {
                let run = self.run_of(nth)?;
                if matches!(run.state, RunState::Empty) {
                    if !memory.reserve(run.len as usize) {
                        return None;
                    }
                    run.state = RunState::Promised;
                }
                run.engaged += 1;
                self.free -= 1;
                0
            }
        };
        let at = (block.begin % self.run_len) as usize;
        let run = self.run_of(nth)?;
        if matches!(run.state, RunState::Promised) {
            run.state = RunState::Filling(bufs.take(run.len as usize));
        }
        let RunState::Filling(buf) = &mut run.state else { return Some(Receipt::Duplicate) };
        buf.0.get_mut(at..at + data.len())?.copy_from_slice(data);
        run.missing -= 1;
        let run_whole = run.missing == 0;
        if run_whole && let RunState::Filling(buf) = std::mem::replace(&mut run.state, RunState::Empty) {
            run.state = RunState::Ready(buf);
        }
        self.blocks[nth as usize] = BlockState::Received;
        self.by[nth as usize] = self.contributor(from);
        Some(Receipt::New { others, run_whole })
    }

    /// The jobs that can be begun now; with `hurry` if no others are about to follow.
    #[must_use]
    pub(crate) fn poll_jobs(&mut self, expected: Digest, digests: bool, hurry: bool) -> Vec<Run> {
        let mut jobs = Vec::new();
        let last = self.runs.len() - 1;
        let begin = |r: usize| r as u32 * self.run_len;
        let piece = self.piece;
        if !self.hashing
            && let Some(run) = self.runs.get_mut(self.next_hash)
        {
            let (data, state) = match std::mem::replace(&mut run.state, RunState::Out) {
                RunState::Ready(buf) => (Some(RunData::Memory(buf)), RunState::Out),
                RunState::Written => (Some(RunData::Disk(run.len)), RunState::Rehashing),
                other => (None, other),
            };
            run.state = state;
            if let Some(data) = data {
                let chain = Chain { state: self.chain, expected: (self.next_hash == last).then_some(expected) };
                jobs.push(Run { piece, begin: begin(self.next_hash), data, chain: Some(chain), digests, hurry });
                self.hashing = true;
            }
        }
        // What is whole behind a gap may wait long: it is written now and hashed from the page cache later.
        let mut gap = false;
        for (r, run) in self.runs.iter_mut().enumerate().skip(self.next_hash) {
            match &run.state {
                RunState::Empty | RunState::Promised | RunState::Filling(_) => gap = true,
                RunState::Ready(_) if gap => {
                    if let RunState::Ready(buf) = std::mem::replace(&mut run.state, RunState::Out) {
                        jobs.push(Run { piece, begin: begin(r), data: RunData::Memory(buf), chain: None, digests: false, hurry });
                    }
                }
                _ => {}
            }
        }
        jobs
    }

    /// A worker's answer. `Ok(Some(good))` is the verdict on the whole piece.
    pub(crate) fn handle_run(
        &mut self,
        done: RunDone,
        memory: &mut Memory,
        bufs: &mut BufPool,
    ) -> Result<Option<bool>, StoreError> {
        let r = (done.begin / self.run_len) as usize;
        let Some(run) = self.runs.get_mut(r) else { return Ok(None) };
        let rehashing = matches!(run.state, RunState::Rehashing);
        match (done.result, done.buf) {
            (Err(error), buf) => {
                if rehashing || self.next_hash == r {
                    self.hashing = false;
                }
                run.state = match buf {
                    Some(buf) => RunState::Ready(buf),
                    None => RunState::Written,
                };
                Err(error)
            }
            (Ok(verdict), buf) => {
                if let Some(buf) = buf {
                    memory.release(run.len as usize);
                    bufs.give(buf);
                }
                if verdict == Verdict::Unhashed {
                    run.state = RunState::Written;
                    return Ok(None);
                }
                run.state = RunState::Done;
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

    /// Gives all memory back. No worker may have a part of it.
    pub(crate) fn dissolve(self, memory: &mut Memory, bufs: &mut BufPool) {
        for run in self.runs {
            match run.state {
                RunState::Promised | RunState::Out => memory.release(run.len as usize),
                RunState::Filling(buf) | RunState::Ready(buf) => {
                    memory.release(run.len as usize);
                    bufs.give(buf);
                }
                RunState::Empty | RunState::Written | RunState::Rehashing | RunState::Done => {}
            }
        }
    }

    fn run_of(&mut self, nth: u32) -> Option<&mut RunSlot> {
        let run = nth / self.blocks_a_run();
        self.runs.get_mut(run as usize)
    }

    fn contributor(&mut self, from: Contributor) -> u8 {
        let at = self.contributors.iter().position(|c| *c == from).unwrap_or_else(|| {
            // The 256th and later are not remembered: they cannot be blamed, and nobody else is in their place.
            if self.contributors.len() < usize::from(u8::MAX) {
                self.contributors.push(from);
                self.contributors.len() - 1
            } else {
                usize::from(u8::MAX)
            }
        });
        at as u8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHO: Contributor =
        Contributor { addr: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1), incoming: false };
    const GOOD: Digest = [9; 20];

    struct Rig {
        memory: Memory,
        bufs: BufPool,
        p: Progress,
    }

    /// A piece of `blocks` whole blocks, in runs of four.
    fn rig(blocks: u64, memory: usize) -> Rig {
        let g = Geometry::new(blocks * u64::from(BLOCK_LEN), blocks as u32 * BLOCK_LEN).unwrap();
        let p = Progress::new(g.piece(0).unwrap(), g, 4 * BLOCK_LEN);
        Rig { memory: Memory::new(memory * BLOCK_LEN as usize), bufs: BufPool::new(0), p }
    }

    impl Rig {
        fn ask_all(&mut self) -> Vec<Block> {
            std::iter::from_fn(|| self.p.ask_free(Instant::ZERO, &mut self.memory)).collect()
        }

        fn receive(&mut self, block: Block) -> Option<Receipt> {
            self.p.receive(block, &vec![block.nth() as u8; block.len as usize], WHO, true, &mut self.memory, &mut self.bufs)
        }

        fn answer(&mut self, run: Run, result: Result<Verdict, StoreError>) -> Result<Option<bool>, StoreError> {
            let buf = match run.data {
                RunData::Memory(buf) => Some(buf),
                RunData::Disk(_) => None,
            };
            let done = RunDone { piece: run.piece, begin: run.begin, buf, result, digests: None };
            self.p.handle_run(done, &mut self.memory, &mut self.bufs)
        }
    }

    fn full() -> StoreError {
        StoreError::new(crate::base::job::StoreOp::Write, "f", std::io::ErrorKind::StorageFull.into())
    }

    #[test]
    fn runs_are_hashed_in_order_and_memory_comes_back() {
        let mut rig = rig(10, 100);
        let blocks = rig.ask_all();
        assert_eq!((blocks.len(), rig.memory.used()), (10, 10 * BLOCK_LEN as usize));
        for &b in &blocks[..8] {
            rig.receive(b).unwrap();
        }
        let mut jobs = rig.p.poll_jobs(GOOD, false, false);
        assert_eq!(jobs.len(), 1, "the second run waits for the first");
        let job = jobs.remove(0);
        assert_eq!((job.begin, job.chain), (0, Some(Chain { state: Sha1State::INITIAL, expected: None })));
        let state = Sha1State { len: 65_536, ..Sha1State::INITIAL };
        assert_eq!(rig.answer(job, Ok(Verdict::Going(state))).unwrap(), None);
        let job = rig.p.poll_jobs(GOOD, false, false).remove(0);
        assert_eq!((job.begin, job.chain.unwrap().state), (4 * BLOCK_LEN, state));
        rig.answer(job, Ok(Verdict::Going(state))).unwrap();
        assert!(rig.p.poll_jobs(GOOD, false, false).is_empty());
        for &b in &blocks[8..] {
            rig.receive(b).unwrap();
        }
        let job = rig.p.poll_jobs(GOOD, true, false).remove(0);
        assert_eq!((job.chain.unwrap().expected, job.digests), (Some(GOOD), true));
        assert_eq!(rig.answer(job, Ok(Verdict::Good)).unwrap(), Some(true));
        assert_eq!(rig.memory.used(), 0);
    }

    #[test]
    fn a_run_behind_a_gap_is_written_early_and_read_back() {
        let mut rig = rig(8, 100);
        let blocks = rig.ask_all();
        for &b in &blocks[4..] {
            rig.receive(b).unwrap();
        }
        let early = rig.p.poll_jobs(GOOD, false, false).remove(0);
        assert_eq!((early.begin, early.chain), (4 * BLOCK_LEN, None));
        for &b in &blocks[..4] {
            rig.receive(b).unwrap();
        }
        let first = rig.p.poll_jobs(GOOD, false, false).remove(0);
        rig.answer(first, Ok(Verdict::Going(Sha1State::INITIAL))).unwrap();
        assert!(rig.p.poll_jobs(GOOD, false, false).is_empty(), "its write is still out");
        rig.answer(early, Ok(Verdict::Unhashed)).unwrap();
        let again = rig.p.poll_jobs(GOOD, false, false).remove(0);
        assert_eq!(again.data, RunData::Disk(4 * BLOCK_LEN));
        assert_eq!(rig.answer(again, Ok(Verdict::Bad)).unwrap(), Some(false));
        assert_eq!(rig.memory.used(), 0);
    }

    #[test]
    fn a_run_that_has_memory_is_filled_when_there_is_none_for_the_one_before() {
        let mut rig = rig(12, 8);
        let blocks = rig.ask_all();
        rig.receive(blocks[4]).unwrap();
        blocks.iter().for_each(|&b| rig.p.release(b, &mut rig.memory));
        assert_eq!(rig.memory.used(), 4 * BLOCK_LEN as usize, "the second run's");
        assert!(rig.memory.reserve(4 * BLOCK_LEN as usize), "somebody else takes the rest");
        assert_eq!(rig.ask_all(), &blocks[5..8]);
        rig.memory.release(4 * BLOCK_LEN as usize);
        assert_eq!(rig.ask_all(), &blocks[..4]);
    }

    #[test]
    fn what_nobody_works_on_is_idle_after_a_while() {
        let at = Instant::from_micros;
        let mut rig = rig(4, 100);
        let block = rig.p.ask_free(at(1000), &mut rig.memory).unwrap();
        assert!(!rig.p.is_idle(at(1000) + IDLE), "it is on order");
        rig.p.release(block, &mut rig.memory);
        assert!(rig.p.is_idle(at(1000) + IDLE) && !rig.p.is_idle(at(999) + IDLE));
        rig.p.owner = Some(Key { index: 1, generation: 1 });
        assert!(!rig.p.is_idle(at(1000) + IDLE));
    }

    #[test]
    fn a_failed_write_keeps_the_data_for_another_try() {
        let mut rig = rig(4, 100);
        for b in rig.ask_all() {
            rig.receive(b).unwrap();
        }
        let job = rig.p.poll_jobs(GOOD, false, false).remove(0);
        assert!(rig.answer(job, Err(full())).is_err());
        let job = rig.p.poll_jobs(GOOD, false, false).remove(0);
        assert_eq!(rig.answer(job, Ok(Verdict::Good)).unwrap(), Some(true));
        assert_eq!(rig.memory.used(), 0);
    }

    #[test]
    fn memory_bounds_what_is_asked_and_a_release_gives_it_back() {
        let mut rig = rig(12, 8);
        let blocks = rig.ask_all();
        assert_eq!(blocks.len(), 8, "two runs of four");
        for &b in &blocks[4..] {
            rig.p.release(b, &mut rig.memory);
        }
        assert_eq!(rig.memory.used(), 4 * BLOCK_LEN as usize);
        assert_eq!(rig.p.free(), 8);
        assert_eq!(rig.ask_all(), &blocks[4..]);
        for &b in &blocks {
            rig.p.release(b, &mut rig.memory);
        }
        assert!(rig.p.is_untouched());
        assert_eq!(rig.memory.used(), 0);
    }

    #[test]
    fn duplicates_and_copies_are_counted() {
        let mut rig = rig(4, 100);
        let blocks = rig.ask_all();
        assert_eq!(rig.p.ask_again(3, |b| b.begin <= blocks[1].begin), Some(blocks[1]), "the last first");
        assert_eq!(rig.p.ask_again(2, |b| b == blocks[1]), None);
        assert_eq!(rig.p.ask_again(3, |b| b == blocks[1]), Some(blocks[1]));
        assert_eq!(rig.p.ask_again(3, |b| b == blocks[1]), None);
        assert_eq!(rig.receive(blocks[1]), Some(Receipt::New { others: 2, run_whole: false }));
        assert_eq!(rig.receive(blocks[1]), Some(Receipt::Duplicate));
        rig.p.release(blocks[1], &mut rig.memory);
        assert_eq!(rig.receive(blocks[1]), Some(Receipt::Duplicate), "a release after arrival changes nothing");
        assert_eq!(rig.p.contributors(), [WHO]);
    }

    #[test]
    fn help_is_wanted_for_what_is_overdue_or_slow_but_not_for_what_is_about_to_come() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut rig = rig(4, 100);
        rig.p.ask_free(at(1000), &mut rig.memory).unwrap();
        rig.p.ask_free(at(500), &mut rig.memory).unwrap();
        let mine = Duration::from_millis(100);
        assert!(rig.p.needs_help(at(0), mine) && rig.p.needs_help(at(799), mine));
        assert!(!rig.p.needs_help(at(800), mine) && !rig.p.needs_help(at(999), mine));
        assert!(rig.p.needs_help(at(1000), mine));
    }

    #[test]
    fn a_late_block_is_taken_if_there_is_memory() {
        let mut rig = rig(8, 4);
        let blocks = rig.ask_all();
        assert_eq!(blocks.len(), 4);
        rig.p.release(blocks[0], &mut rig.memory);
        assert_eq!(rig.receive(blocks[0]), Some(Receipt::New { others: 0, run_whole: false }));
        let far = rig.p.geometry.nth_block(rig.p.piece, 6).unwrap();
        assert_eq!(rig.receive(far), None);
        let Rig { mut memory, mut bufs, p } = rig;
        p.dissolve(&mut memory, &mut bufs);
        assert_eq!(memory.used(), 0);
    }
}
