//! A piece in progress, on its own: orders, blocks, runs, jobs and their answers, and memory that
//! must come back.

use super::*;
use crate::base::{
    geometry::BLOCK_LEN,
    hash::{Hasher, PieceHash, Sha1State},
    job::{Chain, Run, RunData, RunDone, Verdict},
    storage::{StoreError, StoreOp},
};

const WHO: Supplier = Supplier::Peer(Contributor {
    addr: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 1),
    incoming: false,
});
const GOOD: PieceHash = PieceHash::Sha1([9; 20]);

struct Rig {
    memory: Memory,
    p: Progress,
}

fn geometry(blocks: u64) -> Geometry {
    Geometry::new(blocks * u64::from(BLOCK_LEN), blocks as u32 * BLOCK_LEN).unwrap()
}

/// A piece of `blocks` whole blocks, in runs of four.
fn rig(blocks: u64, memory: usize) -> Rig {
    let g = geometry(blocks);
    let p = Progress::new(g.piece(0).unwrap(), g, 4 * BLOCK_LEN, Spare::default());
    Rig { memory: Memory::new(memory * BLOCK_LEN as usize), p }
}

impl Rig {
    fn jobs(&mut self, expected: PieceHash, digests: bool, hurry: bool) -> Vec<Run> {
        let mut jobs = Vec::new();
        self.p.poll_jobs(expected, digests, hurry, &mut jobs);
        jobs
    }

    fn ask_all(&mut self) -> Vec<Block> {
        std::iter::from_fn(|| self.p.ask_free(Instant::ZERO, &mut self.memory)).collect()
    }

    fn receive(&mut self, block: Block) -> Option<Receipt> {
        self.p.receive(
            block,
            &vec![block.nth() as u8; block.len as usize],
            WHO,
            true,
            &mut self.memory,
        )
    }

    fn answer(
        &mut self,
        run: Run,
        result: Result<Verdict, StoreError>,
    ) -> Result<Option<bool>, StoreError> {
        let buf = match run.data {
            RunData::Memory(buf) | RunData::Stretches(buf, _) => Some(buf),
            RunData::Disk(_) => None,
        };
        let done =
            RunDone { piece: run.piece, begin: run.begin, buf, result, digests: None, root: None };
        self.p.handle_run(done, &mut self.memory)
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
    let mut jobs = rig.jobs(GOOD, false, false);
    assert_eq!(jobs.len(), 1, "the second run waits for the first");
    let job = jobs.remove(0);
    assert_eq!(
        (job.begin, job.chain.clone()),
        (0, Some(Chain { state: Hasher::SHA1, expected: None }))
    );
    let state = Hasher::Sha1(Sha1State { len: 65_536, ..Sha1State::INITIAL });
    assert_eq!(rig.answer(job, Ok(Verdict::Going(state.clone()))).unwrap(), None);
    let job = rig.jobs(GOOD, false, false).remove(0);
    assert_eq!((job.begin, job.chain.clone().unwrap().state), (4 * BLOCK_LEN, state.clone()));
    rig.answer(job, Ok(Verdict::Going(state))).unwrap();
    assert!(rig.jobs(GOOD, false, false).is_empty());
    for &b in &blocks[8..] {
        rig.receive(b).unwrap();
    }
    let job = rig.jobs(GOOD, true, false).remove(0);
    assert_eq!((job.chain.clone().unwrap().expected, job.digests), (Some(GOOD), true));
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
    let early = rig.jobs(GOOD, false, false).remove(0);
    assert_eq!((early.begin, early.chain.clone()), (4 * BLOCK_LEN, None));
    for &b in &blocks[..4] {
        rig.receive(b).unwrap();
    }
    let first = rig.jobs(GOOD, false, false).remove(0);
    rig.answer(first, Ok(Verdict::Going(Hasher::SHA1))).unwrap();
    assert!(rig.jobs(GOOD, false, false).is_empty(), "its write is still out");
    rig.answer(early, Ok(Verdict::Unhashed)).unwrap();
    let again = rig.jobs(GOOD, false, false).remove(0);
    assert_eq!(again.data, RunData::Disk(4 * BLOCK_LEN));
    assert_eq!(rig.answer(again, Ok(Verdict::Bad)).unwrap(), Some(false));
    assert_eq!(rig.memory.used(), 0);
}

#[test]
fn run_with_memory_is_filled_before_one_without() {
    let mut rig = rig(12, 8);
    let blocks = rig.ask_all();
    rig.receive(blocks[4]).unwrap();
    blocks.iter().for_each(|&b| rig.p.release(b, &mut rig.memory));
    assert_eq!(rig.memory.used(), 4 * BLOCK_LEN as usize, "the second run's");
    assert!(rig.memory.reserve(4 * BLOCK_LEN as usize), "another torrent takes the rest");
    assert_eq!(rig.ask_all(), &blocks[5..8]);
    rig.memory.release(4 * BLOCK_LEN as usize);
    assert_eq!(rig.ask_all(), &blocks[..4]);
}

#[test]
fn piece_without_requests_counts_as_idle_after_a_while() {
    let at = Instant::from_micros;
    let mut rig = rig(4, 100);
    let block = rig.p.ask_free(at(1000), &mut rig.memory).unwrap();
    assert!(!rig.p.is_idle(at(1000) + IDLE), "it is on order");
    rig.p.release(block, &mut rig.memory);
    assert!(rig.p.is_idle(at(1000) + IDLE) && !rig.p.is_idle(at(999) + IDLE));
    rig.p.owner = Some(OrderKey::Peer(Key { index: 1, generation: 1 }));
    assert!(!rig.p.is_idle(at(1000) + IDLE));
}

#[test]
fn a_failed_write_keeps_the_data_for_another_try() {
    let mut rig = rig(4, 100);
    for b in rig.ask_all() {
        rig.receive(b).unwrap();
    }
    let job = rig.jobs(GOOD, false, false).remove(0);
    assert!(rig.answer(job, Err(full())).is_err());
    let job = rig.jobs(GOOD, false, false).remove(0);
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
    assert_eq!(
        rig.p.ask_again(3, |b| b.begin <= blocks[1].begin),
        Some(blocks[1]),
        "the last first"
    );
    assert_eq!(rig.p.ask_again(2, |b| b == blocks[1]), None);
    assert_eq!(rig.p.ask_again(3, |b| b == blocks[1]), Some(blocks[1]));
    assert_eq!(rig.p.ask_again(3, |b| b == blocks[1]), None);
    assert_eq!(rig.receive(blocks[1]), Some(Receipt::New { others: 2, run_whole: false }));
    assert_eq!(rig.receive(blocks[1]), Some(Receipt::Duplicate));
    rig.p.release(blocks[1], &mut rig.memory);
    assert_eq!(
        rig.receive(blocks[1]),
        Some(Receipt::Duplicate),
        "a release after arrival changes nothing"
    );
    assert_eq!(rig.p.contributors(), [WHO]);
}

#[test]
fn overdue_and_slow_blocks_get_help_and_imminent_ones_none() {
    let at = |ms: u64| Instant::from_micros(ms * 1000);
    let mut rig = rig(4, 100);
    rig.p.ask_free(at(1000), &mut rig.memory).unwrap();
    rig.p.ask_free(at(500), &mut rig.memory).unwrap();
    let helps = |ms, patience| {
        let (mine, patience) = (Duration::from_millis(100), Duration::from_millis(patience));
        rig.p.needs_help(at(ms), mine, patience)
    };
    assert!(helps(0, 0) && helps(799, 0));
    assert!(!helps(800, 0) && !helps(999, 0));
    assert!(helps(1000, 0));
    assert!(helps(549, 250) && !helps(550, 250) && !helps(1249, 250) && helps(1250, 250));
}

#[test]
fn a_late_block_is_taken_if_there_is_memory() {
    let mut rig = rig(8, 4);
    let blocks = rig.ask_all();
    assert_eq!(blocks.len(), 4);
    rig.p.release(blocks[0], &mut rig.memory);
    assert_eq!(rig.receive(blocks[0]), Some(Receipt::New { others: 0, run_whole: false }));
    let far = rig.p.shape.block(6).unwrap();
    assert_eq!(rig.receive(far), None);
    let Rig { mut memory, p } = rig;
    let _ = p.dissolve(&mut memory);
    assert_eq!(memory.used(), 0);
}

fn numbers(partial: Option<crate::base::partial::PartialPiece>) -> Vec<u32> {
    partial.map_or(Vec::new(), |p| (0..64).filter(|&nth| p.blocks.has(nth)).collect())
}

fn restored(blocks: u64, on_disk: &[u32]) -> Rig {
    let mut rig = rig(blocks, 100);
    let mut set = crate::base::partial::BlockSet::none(blocks as u32);
    on_disk.iter().for_each(|&nth| set.set(nth));
    let saved = crate::base::partial::PartialPiece { piece: rig.p.shape.piece(), blocks: set };
    rig.p = Progress::restored(&saved, geometry(blocks), 4 * BLOCK_LEN);
    rig.p.audit().unwrap();
    rig
}

#[test]
fn flush_writes_blocks_and_they_are_on_disk_when_it_is_answered() {
    let mut rig = rig(8, 100);
    let blocks = rig.ask_all();
    for nth in [0, 1, 3, 6] {
        rig.receive(blocks[nth]).unwrap();
    }
    assert!(rig.p.poll_flush().is_empty(), "others are on order");
    [2, 4, 5, 7].iter().for_each(|&nth| rig.p.release(blocks[nth], &mut rig.memory));
    let mut jobs = rig.p.poll_flush();
    let stretches: Vec<_> = jobs
        .iter()
        .map(|run| match &run.data {
            RunData::Stretches(_, stretches) => (run.begin / BLOCK_LEN, stretches.clone()),
            other => panic!("{other:?}"),
        })
        .collect();
    let at = |n: std::ops::Range<u32>| n.start * BLOCK_LEN..n.end * BLOCK_LEN;
    assert_eq!(stretches, [(0, vec![at(0..2), at(3..4)]), (4, vec![at(2..3)])]);
    rig.p.audit().unwrap();
    assert_eq!((numbers(rig.p.on_disk()), rig.ask_all()), (vec![], vec![]), "a worker has them");
    rig.answer(jobs.remove(0), Ok(Verdict::Unhashed)).unwrap();
    assert!(rig.answer(jobs.remove(0), Err(full())).is_err());
    rig.p.audit().unwrap();
    assert_eq!(
        (numbers(rig.p.on_disk()), rig.memory.used()),
        (vec![0, 1, 3], 4 * BLOCK_LEN as usize)
    );
    assert_eq!(
        rig.p.received_len(),
        4 * u64::from(BLOCK_LEN),
        "what could not be written is still here"
    );
}

#[test]
fn restored_piece_asks_for_the_rest_and_is_hashed_from_disk() {
    let mut rig = restored(8, &[1, 4, 5, 6, 7]);
    assert_eq!((rig.p.free(), rig.memory.used(), rig.p.is_restored()), (3, 0, true));
    let blocks = rig.ask_all();
    assert_eq!(blocks.iter().map(|b| b.nth()).collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(rig.memory.used(), 4 * BLOCK_LEN as usize);
    rig.p.release(blocks[0], &mut rig.memory);
    rig.p.release(blocks[1], &mut rig.memory);
    rig.p.release(blocks[2], &mut rig.memory);
    assert_eq!((rig.memory.used(), rig.p.is_untouched()), (0, false));
    for block in rig.ask_all() {
        rig.receive(block).unwrap();
        rig.p.audit().unwrap();
    }
    let mut jobs = rig.jobs(GOOD, false, false);
    let run = jobs.remove(0);
    assert!(matches!(&run.data, RunData::Stretches(_, s) if s.len() == 2), "{run:?}");
    assert!(jobs.is_empty());
    rig.answer(run, Ok(Verdict::Unhashed)).unwrap();
    let first = rig.jobs(GOOD, false, false).remove(0);
    assert_eq!((first.begin, &first.data), (0, &RunData::Disk(4 * BLOCK_LEN)));
    rig.answer(first, Ok(Verdict::Going(Hasher::SHA1))).unwrap();
    let second = rig.jobs(GOOD, false, false).remove(0);
    assert_eq!((second.begin, &second.data), (4 * BLOCK_LEN, &RunData::Disk(4 * BLOCK_LEN)));
    assert_eq!(rig.answer(second, Ok(Verdict::Good)).unwrap(), Some(true));
    assert_eq!(rig.memory.used(), 0);
    // Nothing that came from an earlier run has a sender.
    assert_eq!(
        rig.p.block_senders(),
        [Some(WHO), None, Some(WHO), Some(WHO), None, None, None, None]
    );
}

#[test]
fn what_is_on_disk_is_fetched_again_if_it_is_not_relied_on() {
    let mut rig = restored(12, &[0, 1, 2, 3, 4, 5, 8]);
    let first = rig.jobs(GOOD, false, false).remove(0);
    rig.answer(first, Ok(Verdict::Going(Hasher::SHA1))).unwrap();
    let blocks = rig.ask_all();
    assert_eq!(blocks.iter().map(|b| b.nth()).collect::<Vec<_>>(), [6, 7, 9, 10, 11]);
    // One run is whole, of which a part is on disk; of another, blocks are on order.
    blocks[..3].iter().for_each(|&b| _ = rig.receive(b).unwrap());
    rig.p.forget_stored();
    rig.p.audit().unwrap();
    assert_eq!((numbers(rig.p.on_disk()), rig.p.free()), (vec![], 7));
    blocks[3..].iter().for_each(|&b| _ = rig.receive(b).unwrap());
    let again = rig.ask_all();
    assert_eq!(again.iter().map(|b| b.nth()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 8]);
    again.iter().for_each(|&b| _ = rig.receive(b).unwrap());
    rig.p.audit().unwrap();
    for begin in [0, 4, 8] {
        let run = rig.jobs(GOOD, false, false).remove(0);
        assert_eq!(run.begin, begin * BLOCK_LEN);
        assert!(matches!(run.data, RunData::Memory(_)), "{run:?}");
        let verdict = if begin < 8 { Verdict::Going(Hasher::SHA1) } else { Verdict::Good };
        assert_eq!(rig.answer(run, Ok(verdict)).unwrap(), (begin == 8).then_some(true));
    }
    assert_eq!(rig.memory.used(), 0);
}

#[test]
fn shed_piece_keeps_what_is_on_disk() {
    let mut rig = restored(8, &[0, 4, 5, 6, 7]);
    let blocks = rig.ask_all();
    rig.receive(blocks[0]).unwrap();
    blocks[1..].iter().for_each(|&b| rig.p.release(b, &mut rig.memory));
    assert!(rig.p.holds_memory());
    assert_eq!(rig.p.shed(&mut rig.memory), u64::from(BLOCK_LEN));
    rig.p.audit().unwrap();
    assert_eq!((rig.memory.used(), rig.p.free(), rig.p.holds_memory()), (0, 3, false));
    assert_eq!(numbers(rig.p.on_disk()), [0, 4, 5, 6, 7]);
}

#[test]
fn unreadable_run_is_fetched_again_after_three_tries() {
    for on_disk in [&[0, 1, 2, 3][..], &[0, 2]] {
        let mut rig = restored(4, on_disk);
        for block in rig.ask_all() {
            rig.receive(block).unwrap();
        }
        if on_disk.len() < 4 {
            let rest = rig.jobs(GOOD, false, false).remove(0);
            rig.answer(rest, Ok(Verdict::Unhashed)).unwrap();
        }
        for _ in 0..3 {
            assert!(rig.ask_all().is_empty());
            let job = rig.jobs(GOOD, false, false).remove(0);
            assert!(rig.answer(job, Err(full())).is_err());
            rig.p.audit().unwrap();
        }
        assert_eq!((rig.ask_all().len(), numbers(rig.p.on_disk())), (4, vec![]));
    }
}
