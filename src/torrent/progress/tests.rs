//! A piece in progress, on its own: orders, blocks, runs, jobs and their answers, and memory that must come back.

use super::*;
use crate::base::{
    digest::Digest,
    job::{Chain, Run, RunData, RunDone, StoreError, StoreOp, Verdict},
};

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
    StoreError::new(StoreOp::Write, "f", std::io::ErrorKind::StorageFull.into())
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
