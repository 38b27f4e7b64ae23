//! Orders of work, and what the owner hears of it.

use std::{
    path::Path,
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        mpsc::{Receiver, channel},
    },
};

use super::*;
use crate::{
    base::{
        arena::Key,
        bitfield::Bitfield,
        buf::Buf,
        geometry::Geometry,
        hash::PieceHash,
        job::{Chain, RunData},
        storage::{Allocation, SaveState},
    },
    store::{FileStat, RealDisk},
};

/// Of machines with narrow lanes alone, and with wide ones.
const NARROW: Grouping = Grouping { few: 3, many: usize::MAX, most: 16 };
const WIDE: Grouping = Grouping { few: 3, many: 8, most: 16 };

const KEY: Key = Key { index: 0, generation: 1 };

fn read(nth: u32) -> Job {
    let block = Geometry::new(1 << 20, 1 << 14).unwrap().range(nth, 0, 10).unwrap();
    Job::Read { torrent: KEY, link: KEY, blocks: vec![block], buf: Buf::default() }
}

fn check(nth: u32) -> Job {
    Job::Check {
        torrent: KEY,
        piece: Geometry::new(1 << 20, 1 << 14).unwrap().piece(nth).unwrap(),
        expected: PieceHash::Sha1([0; 20]),
        len: 1 << 14,
    }
}

fn run(nth: u32, hashed: bool) -> Job {
    let expected = Some(PieceHash::Sha1([0; 20]));
    let chain = hashed.then_some(Chain { state: Hasher::SHA1, expected });
    let piece = Geometry::new(1 << 20, 1 << 14).unwrap().piece(nth).unwrap();
    Job::Run {
        torrent: KEY,
        run: Run { piece, begin: 0, data: RunData::Disk(64), chain, digests: false, hurry: false },
    }
}

fn save() -> Job {
    let state = SaveState { dirty: true, ..SaveState::new(Bitfield::none(64)) };
    Job::Save { torrent: KEY, state: Box::new(state), synced: 0 }
}

fn close() -> Job {
    Job::Close { torrent: KEY }
}

/// What a worker would take next, as a word a batch.
fn take(waiting: &mut Waiting, max_slow: usize, patient: bool) -> String {
    let Some(batch) = waiting.take(max_slow, patient) else { return "nothing".into() };
    let word = match &batch.jobs[0] {
        Job::Read { .. } => "read",
        Job::Check { .. } => "check",
        Job::Save { .. } => "save",
        Job::Run { run, .. } if run.chain.is_some() => "hash",
        Job::Run { .. } => "write",
        _ => "quick",
    };
    format!("{word} {}", batch.jobs.len())
}

fn waiting(jobs: impl IntoIterator<Item = Job>) -> Waiting {
    let mut waiting = Waiting { saves_a_batch: 1, grouping: NARROW, ..Waiting::default() };
    jobs.into_iter().for_each(|job| waiting.push(job));
    waiting
}

#[test]
fn urgent_jobs_go_first() {
    let mut w = waiting([
        check(0),
        check(1),
        check(2),
        check(3),
        save(),
        run(0, true),
        read(0),
        close(),
        run(1, false),
    ]);
    let order: Vec<_> = (0..8).map(|_| take(&mut w, 1, true)).collect();
    assert_eq!(
        order,
        ["quick 1", "write 1", "save 1", "read 1", "hash 1", "check 3", "check 1", "nothing"]
    );
}

#[test]
fn only_state_saves_are_batched_and_other_jobs_answer_at_once() {
    let tidy = || Job::Tidy { torrent: KEY };
    let mut w = waiting([tidy(), save(), tidy(), tidy(), save(), save(), save(), tidy()]);
    w.saves_a_batch = GROUP;
    let order: Vec<_> = (0..7).map(|_| take(&mut w, 9, true)).collect();
    assert_eq!(order, ["quick 1", "save 1", "quick 1", "quick 1", "save 3", "quick 1", "nothing"]);
    // Without a folder there is nothing to be synced together.
    let mut w = waiting([save(), save()]);
    assert_eq!(take(&mut w, 9, true), "save 1");
}

#[test]
fn run_that_nothing_follows_is_hashed_at_once() {
    let mut last = run(1, true);
    if let Job::Run { run, .. } = &mut last {
        run.hurry = true;
    }
    let mut w = waiting([run(0, true)]);
    assert_eq!(take(&mut w, 1, true), "nothing");
    w.push(last);
    assert_ne!(take(&mut w, 1, true), "nothing");
    assert_eq!(take(&mut w, 1, true), "nothing");
    w.push(run(2, true));
    assert_eq!(take(&mut w, 1, true), "nothing", "the hurry is over");
}

#[test]
fn tree_that_fills_the_lanes_alone_waits_for_nothing() {
    let mut tree = run(0, true);
    if let Job::Run { run, .. } = &mut tree {
        run.chain.as_mut().unwrap().state = Hasher::new(&PieceHash::Merkle([0; 32]), 64);
    }
    let mut w = waiting([tree]);
    assert_eq!(take(&mut w, 1, true), "hash 1");
}

#[test]
fn wide_lanes_are_filled_and_three_are_waited_for() {
    let mut w = waiting((0..2).map(|nth| run(nth, true)));
    w.grouping = WIDE;
    assert_eq!(take(&mut w, 1, true), "nothing");
    (2..23).for_each(|nth| w.push(run(nth, true)));
    assert_eq!(take(&mut w, 1, true), "hash 16");
    // The lanes for few are better than wide ones that are half empty.
    assert_eq!(take(&mut w, 1, true), "hash 3");
    assert_eq!(take(&mut w, 1, true), "hash 3");
    assert_eq!(take(&mut w, 1, true), "nothing");
    assert_eq!(take(&mut w, 1, false), "hash 1");
}

#[test]
fn checks_are_shared_and_large_pieces_are_few_at_once() {
    let mut w = waiting((0..40).map(check));
    w.grouping = WIDE;
    w.idle = 3;
    assert_eq!(take(&mut w, 1, true), "check 10");
    w.idle = 0;
    assert_eq!(take(&mut w, 1, true), "check 16");
    for job in &mut w.checks {
        if let Job::Check { len, .. } = job {
            *len = 12 << 20;
        }
    }
    assert_eq!(take(&mut w, 1, true), "check 3");
    w.checks.iter_mut().for_each(|job| {
        if let Job::Check { len, .. } = job {
            *len = u32::MAX;
        }
    });
    assert_eq!(take(&mut w, 1, true), "check 1");
}

#[test]
fn one_or_two_runs_wait_for_a_third_unless_there_is_other_work() {
    let mut w = waiting([run(0, true), run(1, true)]);
    assert_eq!(take(&mut w, 1, true), "nothing");
    w.push(run(2, true));
    w.push(run(3, true));
    assert_eq!(take(&mut w, 1, true), "hash 3");
    assert_eq!(take(&mut w, 1, true), "nothing");
    assert_eq!(take(&mut w, 1, false), "hash 1");
    let mut w = waiting([run(0, true), check(0)]);
    assert_eq!(take(&mut w, 1, true), "hash 1");
}

#[test]
fn saving_never_takes_the_last_worker_of_several() {
    let mut w = waiting([save(), save(), save()]);
    assert_eq!(take(&mut w, 2, true), "save 1");
    assert_eq!(take(&mut w, 2, true), "save 1");
    assert_eq!(take(&mut w, 2, true), "nothing");
    w.slow_running -= 1;
    assert_eq!(take(&mut w, 2, true), "save 1");
}

#[test]
fn no_job_starves() {
    // Reads without end leave every other turn to runs, and a turn in a while to checks.
    let mut w = waiting([check(0)]);
    let mut seen = Vec::new();
    for nth in 0..60 {
        w.push(read(nth % 64));
        w.push(run(nth % 64, true));
        seen.push(take(&mut w, 1, true));
    }
    let count = |word: &str| seen.iter().filter(|s| s.starts_with(word)).count();
    assert!(count("read") >= 20 && count("hash") >= 20, "{seen:?}");
    assert_eq!(count("check"), 1);
}

#[test]
fn reads_are_shared_among_idle_workers() {
    let mut w = waiting((0..6).map(read));
    w.idle = 2;
    assert_eq!(take(&mut w, 1, true), "read 2");
    w.idle = 0;
    assert_eq!(take(&mut w, 1, true), "read 4");
}

/// A pool whose wake-ups can be awaited and counted.
fn pool(threads: usize, lane_wait: Duration, disk: Arc<dyn Disk>) -> (Pool, Receiver<()>) {
    let (woken, wakes) = channel();
    let woken = Mutex::new(woken);
    let wake = Box::new(move || {
        // The receiver may be gone at the end of a test.
        let _ = woken.lock().unwrap().send(());
        Ok(())
    });
    (Pool::new(threads, lane_wait, disk, wake).unwrap(), wakes)
}

fn drain(pool: &Pool, wakes: &Receiver<()>, count: usize) -> Vec<Done> {
    let mut done = Vec::new();
    while done.len() < count {
        wakes.recv_timeout(Duration::from_secs(20)).expect("a wake-up");
        pool.drain(&mut done);
    }
    assert_eq!(done.len(), count);
    done
}

#[test]
fn every_job_is_answered_whatever_the_number_of_threads() {
    for threads in [0, 1, 2, 5] {
        let (pool, wakes) = pool(threads, Duration::from_millis(1), Arc::new(RealDisk::new(4)));
        for nth in 0..50 {
            [read(nth), check(nth), run(nth, true), run(nth, false), save()]
                .into_iter()
                .for_each(|job| pool.submit(job));
        }
        let done = drain(&pool, &wakes, 250);
        assert_eq!(done.iter().filter(|d| matches!(d, Done::Saved { .. })).count(), 50);
        assert_eq!(done.iter().filter(|d| matches!(d, Done::Run { .. })).count(), 100);
    }
}

#[test]
fn the_owner_is_woken_once_until_it_drains() {
    let (pool, wakes) = pool(1, Duration::ZERO, Arc::new(RealDisk::new(4)));
    pool.submit(close());
    wakes.recv_timeout(Duration::from_secs(20)).unwrap();
    for _ in 0..100 {
        pool.submit(close());
    }
    // All of them are answered without another word; a drain then makes room for the next.
    while lock(&pool.shared.done).done.len() < 101 {
        thread::yield_now();
    }
    assert!(wakes.try_recv().is_err());
    let mut done = Vec::new();
    pool.drain(&mut done);
    assert_eq!(done.len(), 101);
    pool.submit(close());
    assert_eq!(drain(&pool, &wakes, 1).len(), 1);
}

#[test]
fn a_lone_run_does_not_wait_for_company_that_never_comes() {
    let (pool, wakes) = pool(2, Duration::from_millis(5), Arc::new(RealDisk::new(4)));
    pool.submit(run(0, true));
    drain(&pool, &wakes, 1);
}

#[test]
fn a_worker_that_waits_for_runs_hears_of_other_work() {
    // It would wait for minutes, and is the only one.
    let (pool, wakes) = pool(1, Duration::from_secs(600), Arc::new(RealDisk::new(4)));
    if pool.shared.lane_wait.is_zero() {
        return;
    }
    pool.submit(run(0, true));
    while !lock(&pool.shared.waiting).runs.gathering {
        thread::yield_now();
    }
    pool.submit(read(0));
    assert!(matches!(drain(&pool, &wakes, 1)[0], Done::Read { .. }));
    while !lock(&pool.shared.waiting).runs.gathering {
        thread::yield_now();
    }
    pool.submit(run(1, true));
    pool.submit(run(2, true));
    assert_eq!(drain(&pool, &wakes, 3).len(), 3);
    // And of the end, though it is waiting again.
    pool.submit(run(3, true));
}

/// A disk whose `sync` and `stat` wait until they are told to go on, or panic.
#[derive(Debug, Default)]
struct Gate {
    open: Mutex<bool>,
    opened: Condvar,
    inside: AtomicU32,
    panics: AtomicBool,
}

impl Gate {
    fn pass(&self) {
        assert!(!self.panics.load(Ordering::Relaxed), "as the test wants it");
        self.inside.fetch_add(1, Ordering::SeqCst);
        let mut open = self.open.lock().unwrap();
        while !*open {
            open = self.opened.wait(open).unwrap();
        }
    }
}

impl Disk for Gate {
    fn read_at(&self, _: &Path, _: u64, buf: &mut [u8]) -> io::Result<usize> {
        Ok(buf.len())
    }
    fn write_at(&self, _: &Path, _: u64, data: &[u8]) -> io::Result<usize> {
        Ok(data.len())
    }
    fn create(&self, _: &Path, _: u64, _: Allocation) -> io::Result<()> {
        Ok(())
    }
    fn stat(&self, _: &Path) -> io::Result<Option<FileStat>> {
        Ok(None)
    }
    fn sync(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
    fn load(&self, _: &Path, _: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
    fn save(&self, _: &Path, _: &[u8]) -> io::Result<()> {
        self.pass();
        Ok(())
    }
    fn close(&self, _: &Path) {}
}

fn open_on(pool: &Pool, wakes: &Receiver<()>) {
    let mut t = crate::store::tests::Fixture::new(Path::new("/d"), 1 << 14, &[("a", 1 << 20)]);
    t.spec.state_file = Some("/d/state".into());
    pool.submit(Job::Open { torrent: KEY, spec: Box::new(t.spec) });
    assert!(matches!(drain(pool, wakes, 1)[0], Done::Opened { result: Ok(_), .. }));
}

#[test]
fn reads_get_through_while_saves_hang() {
    let gate = Arc::new(Gate::default());
    let (pool, wakes) = pool(3, Duration::ZERO, gate.clone());
    open_on(&pool, &wakes);
    for _ in 0..5 {
        pool.submit(save());
    }
    while gate.inside.load(Ordering::SeqCst) < 2 {
        thread::yield_now();
    }
    for nth in 0..20 {
        pool.submit(read(nth));
    }
    assert!(
        drain(&pool, &wakes, 20).iter().all(|d| matches!(d, Done::Read { result: Ok(()), .. }))
    );
    assert_eq!(gate.inside.load(Ordering::SeqCst), 2);
    *gate.open.lock().unwrap() = true;
    gate.opened.notify_all();
    drain(&pool, &wakes, 5);
}

#[test]
fn a_panic_reaches_the_owner_instead_of_hanging_it() {
    let gate = Arc::new(Gate::default());
    let (pool, wakes) = pool(2, Duration::ZERO, gate.clone());
    open_on(&pool, &wakes);
    gate.panics.store(true, Ordering::Relaxed);
    pool.submit(save());
    wakes.recv_timeout(Duration::from_secs(20)).unwrap();
    let drained =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| pool.drain(&mut Vec::new())));
    assert!(drained.is_err());
}

#[test]
fn an_owner_that_could_not_be_woken_is_woken_later() {
    let (woken, wakes) = channel();
    let woken = Mutex::new((woken, 0));
    let wake = Box::new(move || {
        let mut woken = woken.lock().unwrap();
        woken.1 += 1;
        if woken.1 % 3 != 0 {
            return Err(io::Error::other("not now"));
        }
        let _ = woken.0.send(());
        Ok(())
    });
    let pool = Pool::new(1, Duration::ZERO, Arc::new(RealDisk::new(4)), wake).unwrap();
    // Nothing follows that could try again.
    for _ in 0..3 {
        pool.submit(close());
        assert_eq!(drain(&pool, &wakes, 1).len(), 1);
    }
    assert!(!pool.shared.unheard.load(Ordering::SeqCst) || lock(&pool.shared.done).done.is_empty());
}
