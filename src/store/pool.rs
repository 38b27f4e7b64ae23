//! The worker threads: jobs in by kind and urgency, answers out in heaps, one wake-up a heap.
//!
//! Knows when jobs run, not what they do. Reads no clock: a wait ends by time-out or by news.

use std::{
    collections::VecDeque,
    fmt, io,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    disk::Disk,
    lanes::{self, Grouping},
    runner::Runner,
};
use crate::base::{
    arena::Key,
    buf::Buf,
    geometry::Block,
    hash::Hasher,
    job::{Done, Job, Run},
    storage::StoreError,
};

/// Bytes of pieces that a worker checks at once, if it is more than one piece: a peer may wait for
/// a read meanwhile.
const CHECK_LEN: u64 = 32 << 20;
/// Batches of other work in a row after which a waiting check gets its turn.
const CHECK_PATIENCE: u32 = 16;
/// Records of a session folder that are synced together.
const GROUP: usize = 256;
/// How long a worker waits before it tries again to wake the owner, if that failed.
const WAKE_AGAIN: Duration = Duration::from_millis(50);

/// Wakes the owner of a pool, or says that it could not.
pub type Wake = Box<dyn Fn() -> io::Result<()> + Send + Sync>;

/// A few threads that run jobs. Dropping it waits for the jobs being run; those still waiting
/// are forgotten. [`abandon`](Self::abandon) does not wait.
pub struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    runner: Runner,
    wake: Wake,
    /// The owner could not be woken, and may know nothing of the answers that there are.
    unheard: AtomicBool,
    lane_wait: Duration,
    /// Workers that may sync and save at a time: all but one.
    max_slow: usize,
    waiting: Mutex<Waiting>,
    /// Told when there may be work for an idle worker.
    work: Condvar,
    /// Told when the worker that waits for more runs should look again.
    more_runs: Condvar,
    done: Mutex<Answers>,
}

/// Jobs that no worker has yet.
#[derive(Debug, Default)]
struct Waiting {
    /// A peer waits for these, or the user.
    reads: VecDeque<Job>,
    /// Quick and needed by what comes next: opening, closing, writes without hashing.
    quick: VecDeque<Job>,
    /// May take long: saving and syncing, parsing.
    slow: VecDeque<Job>,
    /// To be appended to the session folder's log, all that wait at once, by one worker at a time.
    records: VecDeque<Job>,
    recording: bool,
    runs: Runs,
    /// Nothing waits for these in particular.
    checks: VecDeque<Job>,

    slow_running: usize,
    /// States that a worker saves at once: those that go to the same log are synced together.
    saves_a_batch: usize,
    /// Runs and pieces are hashed in such groups. Only a few runs are waited for: to fill all lanes
    /// would take memory that peers could fill meanwhile, and was slower.
    grouping: Grouping,
    /// Workers with nothing to do.
    idle: usize,
    /// Batches since the last check.
    since_check: u32,
    stop: bool,
}

/// Runs to be hashed.
#[derive(Debug, Default)]
struct Runs {
    queue: VecDeque<Job>,
    /// Among them is one that nothing else will follow soon.
    hurry: bool,
    /// A worker has fewer of them than lanes and waits for more.
    gathering: bool,
    /// Where both wait, reads and runs take turns.
    first: bool,
}

#[derive(Debug, Default)]
struct Answers {
    done: Vec<Done>,
    /// The owner has been woken and has not drained since.
    woken: bool,
    /// A worker is gone, and its answers with it.
    broken: bool,
}

impl Pool {
    /// Starts `threads` workers; 0 stands for one a core, at most four. A worker with only a
    /// few runs to hash waits up to `lane_wait` for more, if hashing them together pays on this
    /// machine. `wake` is called, from a worker's thread, when there are answers; not again
    /// until they are drained, unless it failed: then it is called again with the next answer, and
    /// every 50 ms if none comes.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn new(
        threads: usize,
        lane_wait: Duration,
        disk: Arc<dyn Disk>,
        wake: Wake,
    ) -> io::Result<Self> {
        Self::over(threads, lane_wait, Runner::new(disk), wake)
    }

    /// The same over a runner that was made otherwise.
    ///
    /// # Errors
    /// If a thread cannot be started.
    pub fn over(
        threads: usize,
        lane_wait: Duration,
        runner: Runner,
        wake: Wake,
    ) -> io::Result<Self> {
        let threads = match threads {
            0 => thread::available_parallelism().map_or(1, |n| n.get()).min(4),
            n => n,
        };
        let shared = Arc::new(Shared {
            waiting: Mutex::new(Waiting {
                saves_a_batch: if runner.has_folder() { GROUP } else { 1 },
                grouping: Grouping::detect(),
                ..Waiting::default()
            }),
            runner,
            wake,
            unheard: AtomicBool::new(false),
            lane_wait: if lanes::lanes() > 1 { lane_wait } else { Duration::ZERO },
            max_slow: (threads - 1).max(1),
            work: Condvar::new(),
            more_runs: Condvar::new(),
            done: Mutex::default(),
        });
        let mut pool = Self { shared, threads: Vec::with_capacity(threads) };
        for nth in 0..threads {
            let shared = pool.shared.clone();
            let thread = thread::Builder::new().name(format!("cratetorrent-{nth}"));
            pool.threads.push(thread.spawn(move || shared.work())?);
        }
        Ok(pool)
    }

    /// Queues a job. Never blocks on the disk.
    pub fn submit(&self, job: Job) {
        let mut waiting = lock(&self.shared.waiting);
        waiting.push(job);
        // The worker that waits for runs must also hear of other work if it is the only one free
        // for it.
        if waiting.runs.gathering
            && (waiting.runs.queue.len() >= waiting.grouping.few
                || waiting.runs.hurry
                || waiting.idle == 0)
        {
            self.shared.more_runs.notify_one();
        }
        if waiting.idle > 0 {
            self.shared.work.notify_one();
        }
    }

    /// Fills a batch of blocks at once if nothing has to be waited for; see [`Runner::try_read`].
    pub fn try_read(
        &self,
        torrent: Key,
        blocks: &[Block],
        buf: &mut Buf,
    ) -> Option<Result<(), StoreError>> {
        self.shared.runner.try_read(torrent, blocks, buf)
    }

    /// Ends without waiting: workers finish the jobs they are at, whose answers are lost, and then
    /// end by themselves.
    pub fn abandon(mut self) {
        self.threads.clear();
    }

    /// Appends all answers there are to `out`.
    ///
    /// # Panics
    /// If a worker has panicked, since the answers to its jobs would never come.
    pub fn drain(&self, out: &mut Vec<Done>) {
        let mut answers = lock(&self.shared.done);
        answers.woken = false;
        out.append(&mut answers.done);
        assert!(!answers.broken, "a worker of the store has panicked");
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        lock(&self.shared.waiting).stop = true;
        self.shared.work.notify_all();
        self.shared.more_runs.notify_all();
        for thread in self.threads.drain(..) {
            // A panic has been told to the caller of `drain`, and by the panic hook.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("threads", &self.threads.len()).finish_non_exhaustive()
    }
}

impl Shared {
    fn work(&self) {
        let _alarm = Alarm(self);
        let mut done = Vec::new();
        while let Some(Batch { jobs, kind }) = self.next() {
            self.runner.run(jobs, &mut done);
            self.answer(&mut done);
            if kind != Kind::Fast {
                self.is_over(kind);
            }
        }
    }

    /// The next jobs for a worker, when there are any; `None` when it is to stop.
    fn next(&self) -> Option<Batch> {
        let mut waiting = lock(&self.waiting);
        let mut patient = !self.lane_wait.is_zero();
        loop {
            if waiting.stop {
                return None;
            }
            if let Some(batch) = waiting.take(self.max_slow, patient) {
                return Some(batch);
            }
            if patient && !waiting.runs.queue.is_empty() && !waiting.runs.gathering {
                waiting.runs.gathering = true;
                let (back, timeout) = self
                    .more_runs
                    .wait_timeout(waiting, self.lane_wait)
                    .unwrap_or_else(PoisonError::into_inner);
                waiting = back;
                waiting.runs.gathering = false;
                patient = !timeout.timed_out();
            } else {
                waiting.idle += 1;
                let unheard = self.unheard.load(Ordering::SeqCst);
                waiting = if unheard {
                    self.work
                        .wait_timeout(waiting, WAKE_AGAIN)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                } else {
                    self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner)
                };
                waiting.idle -= 1;
                if unheard {
                    drop(waiting);
                    self.answer(&mut Vec::new());
                    waiting = lock(&self.waiting);
                }
                patient = !self.lane_wait.is_zero();
            }
        }
    }

    fn answer(&self, done: &mut Vec<Done>) {
        let mut answers = lock(&self.done);
        answers.done.append(done);
        let wake = !(answers.done.is_empty() || std::mem::replace(&mut answers.woken, true));
        drop(answers);
        if !wake {
            return;
        }
        let woken = (self.wake)();
        if let Err(error) = &woken
            && !self.unheard.swap(true, Ordering::SeqCst)
        {
            log::error!("cannot wake the loop: {error}");
        }
        match woken {
            Ok(()) => self.unheard.store(false, Ordering::SeqCst),
            Err(_) => lock(&self.done).woken = false,
        }
    }

    fn is_over(&self, kind: Kind) {
        let mut waiting = lock(&self.waiting);
        match kind {
            Kind::Fast => {}
            Kind::Slow => waiting.slow_running -= 1,
            Kind::Recording => waiting.recording = false,
        }
        if !(waiting.slow.is_empty() && waiting.records.is_empty()) && waiting.idle > 0 {
            self.work.notify_one();
        }
    }
}

/// What a worker takes at once.
#[derive(Debug)]
struct Batch {
    jobs: Vec<Job>,
    kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fast,
    /// It counts against the workers that may be slow.
    Slow,
    /// There is one of these at a time.
    Recording,
}

impl Waiting {
    fn push(&mut self, job: Job) {
        self.runs.hurry |= matches!(&job, Job::Run { run, .. } if run.hurry || fills_lanes(run));
        let queue = match &job {
            Job::Read { .. } | Job::Extract { .. } => &mut self.reads,
            Job::Run { run, .. } if run.chain.is_some() => &mut self.runs.queue,
            Job::Open { .. }
            | Job::Look { .. }
            | Job::Run { .. }
            | Job::Digests { .. }
            | Job::Leaves { .. }
            | Job::Info { .. }
            | Job::KeyExchange { .. }
            | Job::Close { .. } => &mut self.quick,
            Job::Save { .. }
            | Job::Arrange { .. }
            | Job::Relocate { .. }
            | Job::Tidy { .. }
            | Job::Compute { .. }
            | Job::Delete { .. } => &mut self.slow,
            Job::Record { .. } => &mut self.records,
            Job::Check { .. } => &mut self.checks,
        };
        queue.push_back(job);
    }

    /// The next runs to hash.
    fn some_runs(&mut self) -> Vec<Job> {
        let count = self.grouping.of(self.runs.queue.len());
        some_of(&mut self.runs.queue, count)
    }

    /// The next pieces to check: shared among the workers that could help, and not too much at
    /// once.
    fn some_checks(&mut self) -> Vec<Job> {
        let share = self.grouping.of(self.checks.len().div_ceil(self.idle + 1));
        let mut len = 0;
        let fit = self.checks.iter().take(share).take_while(|job| {
            let fits = len < CHECK_LEN;
            len += if let Job::Check { len, .. } = job { u64::from(*len) } else { 0 };
            fits
        });
        let count = fit.count();
        some_of(&mut self.checks, count)
    }

    /// What to do next. With `patient`, a few runs are left waiting for more unless other work
    /// waits too.
    fn take(&mut self, max_slow: usize, patient: bool) -> Option<Batch> {
        let fast = |jobs| Some(Batch { jobs, kind: Kind::Fast });
        if !self.checks.is_empty() && self.since_check >= CHECK_PATIENCE {
            self.since_check = 0;
            return fast(self.some_checks());
        }
        self.since_check = if self.checks.is_empty() { 0 } else { self.since_check + 1 };
        if let Some(job) = self.quick.pop_front() {
            return fast(vec![job]);
        }
        if !self.recording && !self.records.is_empty() {
            self.recording = true;
            return Some(Batch { jobs: some_of(&mut self.records, GROUP), kind: Kind::Recording });
        }
        if self.slow_running < max_slow && !self.slow.is_empty() {
            self.slow_running += 1;
            // Only states are worth gathering: any other job is answered as soon as it is done.
            let saves = self
                .slow
                .iter()
                .take(self.saves_a_batch)
                .take_while(|job| matches!(job, Job::Save { .. }))
                .count();
            return Some(Batch { jobs: some_of(&mut self.slow, saves.max(1)), kind: Kind::Slow });
        }
        let runs = !self.runs.queue.is_empty();
        self.runs.hurry &= runs;
        if runs && !self.reads.is_empty() && std::mem::take(&mut self.runs.first) {
            return fast(self.some_runs());
        }
        if !self.reads.is_empty() {
            self.runs.first = runs;
            // Shared among the workers that could help.
            let count = self.reads.len().div_ceil(self.idle + 1).min(8);
            return fast(some_of(&mut self.reads, count));
        }
        if runs
            && (self.runs.queue.len() >= self.grouping.few
                || !patient
                || self.runs.hurry
                || !self.checks.is_empty())
        {
            return fast(self.some_runs());
        }
        if !self.checks.is_empty() {
            self.since_check = 0;
            return fast(self.some_checks());
        }
        None
    }
}

/// A worker that ends by panicking leaves jobs unanswered; this tells.
struct Alarm<'a>(&'a Shared);

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            lock(&self.0.done).broken = true;
            // This worker cannot try again; the panic hook has told.
            let _ = (self.0.wake)();
        }
    }
}

/// A tree's blocks are hashed side by side, so it gains nothing from other runs beside it.
fn fills_lanes(run: &Run) -> bool {
    run.chain.as_ref().is_some_and(|chain| matches!(chain.state, Hasher::Merkle(_)))
}

fn some_of(queue: &mut VecDeque<Job>, count: usize) -> Vec<Job> {
    queue.drain(..count.min(queue.len())).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
