//! Random swarms until the time is up; whatever fails is made small and printed with the command
//! that does it again.

use std::{
    cell::RefCell,
    ops::RangeInclusive,
    panic,
    process::ExitCode,
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use cratetorrent::sim::explore::{self, Failure, Outcome, Plan};

use crate::common::{Problem, output};

/// How often it says that it is still there.
const NEWS: Duration = Duration::from_secs(30);
/// What making one failure small may take.
const SHRINKING: Duration = Duration::from_secs(180);
/// A seed that takes longer is named: perhaps it hangs.
const LONG: Duration = Duration::from_secs(60);
/// Faults after which there is enough to do.
const ENOUGH: usize = 10;

pub struct Explore {
    pub seeds: Option<RangeInclusive<u64>>,
    pub time: Option<Duration>,
    pub jobs: usize,
    pub keep_going: bool,
}

enum News {
    Begun(usize, u64),
    Ended(usize, u64, Result<Outcome, Box<Failure>>),
}

thread_local! {
    /// Where the last panic of this thread was.
    static PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Panics are results here: they are remembered, not printed.
fn catch_panics() {
    panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        PLACE.with(|last| *last.borrow_mut() = place);
    }));
}

fn try_plan(plan: &Plan) -> Result<Outcome, Box<Failure>> {
    PLACE.with(|last| last.borrow_mut().clear());
    explore::run(plan).map_err(|mut failure| {
        let place = PLACE.with(|last| last.borrow().clone());
        if !place.is_empty() {
            failure.details = format!(" (at {place}){}", failure.details);
        }
        Box::new(failure)
    })
}

pub fn run_plan(plan: &Plan) -> Result<ExitCode, Problem> {
    match explore::run_aloud(plan) {
        Ok(outcome) => {
            say!(
                "all is well after {} events, at {:.3} s",
                outcome.events,
                outcome.end.as_micros() as f64 / 1e6
            );
            say!("transcript {:016x}", outcome.transcript);
            Ok(ExitCode::SUCCESS)
        }
        Err(failure) => Err(Problem::new(failure.to_string())),
    }
}

pub fn run(options: &Explore) -> Result<ExitCode, Problem> {
    catch_panics();
    let begun = Instant::now();
    let clock = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_secs() % 1_000_000_000 * 1000);
    let seeds = options.seeds.clone().unwrap_or(clock..=u64::MAX);
    say!("seeds from {}", seeds.start());
    let (next, stop) = (AtomicU64::new(*seeds.start()), AtomicBool::new(false));
    let (tx, rx) = mpsc::channel();
    let mut done = Tally::default();
    thread::scope(|scope| {
        for job in 0..options.jobs {
            let (tx, next, stop, last) = (tx.clone(), &next, &stop, *seeds.end());
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > last || tx.send(News::Begun(job, seed)).is_err() {
                        break;
                    }
                    let _ = tx.send(News::Ended(job, seed, try_plan(&Plan::random(seed))));
                }
            });
        }
        drop(tx);
        let mut busy: Vec<Option<(u64, Instant, bool)>> = vec![None; options.jobs];
        let mut news = begun + NEWS;
        loop {
            match rx.recv_timeout(Duration::from_millis(500)) {
                Ok(News::Begun(job, seed)) => busy[job] = Some((seed, Instant::now(), false)),
                Ok(News::Ended(job, seed, result)) => {
                    busy[job] = None;
                    if let Err(failure) = done.add(result) {
                        if !options.keep_going || done.failed >= ENOUGH {
                            stop.store(true, Ordering::Relaxed);
                        }
                        report(seed, &failure);
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            for (seed, since, told) in busy.iter_mut().flatten() {
                if !*told && since.elapsed() > LONG {
                    *told = true;
                    say!("seed {seed} has been running for {} s", since.elapsed().as_secs());
                }
            }
            if Instant::now() > news {
                news += NEWS;
                say!("{}", done.text(begun));
            }
            // Without a reader a run without an end would go on for ever.
            if options.time.is_some_and(|time| begun.elapsed() > time) || output::is_in_vain() {
                stop.store(true, Ordering::Relaxed);
            }
        }
    });
    say!("{}", done.text(begun));
    Ok(if done.failed == 0 { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

#[derive(Default)]
struct Tally {
    seeds: usize,
    failed: usize,
    events: u64,
    simulated: u64,
}

impl Tally {
    fn add(&mut self, result: Result<Outcome, Box<Failure>>) -> Result<(), Box<Failure>> {
        self.seeds += 1;
        match result {
            Ok(outcome) => {
                self.events += outcome.events;
                self.simulated += outcome.end.as_micros() / 1_000_000;
                Ok(())
            }
            Err(failure) => {
                self.failed += 1;
                Err(failure)
            }
        }
    }

    fn text(&self, begun: Instant) -> String {
        let (seeds, failed, millions, hours) =
            (self.seeds, self.failed, self.events / 1_000_000, self.simulated / 3600);
        let time = begun.elapsed().as_secs();
        format!(
            "{time:6} s: {seeds} seeds, {failed} failed, {millions} million events, \
             {hours} hours of virtual time"
        )
    }
}

/// Tells of a failure, makes it small, and tells how to see it again.
fn report(seed: u64, failure: &Failure) {
    say!(
        "\nseed {seed} fails: {}{}",
        failure.what,
        failure.details.lines().next().unwrap_or_default()
    );
    let plan = Plan::random(seed);
    let again = "cargo run --release --example swarm_sim --";
    say!("again: {again} --plan '{plan}'\n(making it smaller, {} s at most)", SHRINKING.as_secs());
    let end = Instant::now() + SHRINKING;
    let (small, failure) = explore::shrink(&plan, failure, |_| Instant::now() < end);
    say!("smaller: {}", failure.what);
    say!("  seed {}", small.seed);
    small.items.iter().for_each(|item| say!("  {item}"));
    say!("again: {again} --plan '{small}'\n");
}
