//! Ctrl-C, SIGTERM and SIGHUP: the first asks for an orderly end, a second one does not ask.

use std::{
    io,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicI32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use super::Problem;

/// A signal so soon after the first is the same wish: GNU `timeout` sends its own to the process
/// and to its group, and a closed terminal sends SIGHUP where a supervisor sends SIGTERM.
const SAME_WISH: Duration = Duration::from_secs(1);

/// What the first signal does: it is given the signal.
type OnFirst = Box<dyn FnOnce(i32) + Send>;

/// The first signal that came, 0 before, and what it does until it has come.
struct Watch {
    caught: AtomicI32,
    on_first: Mutex<Option<OnFirst>>,
}

static WATCH: Watch = Watch { caught: AtomicI32::new(0), on_first: Mutex::new(None) };

/// Ends the process at the first signal, until `Interrupt::catch` says otherwise. The system does
/// that by itself, but not in a container, where it keeps signals that are not caught from process
/// 1.
pub fn obey() -> Result<(), Problem> {
    static WATCHED: OnceLock<Result<(), String>> = OnceLock::new();
    let watched = WATCHED.get_or_init(|| watch().map_err(|e| e.to_string()));
    watched.clone().map_err(|e| Problem::new(format!("cannot catch signals: {e}")))
}

fn watch() -> io::Result<()> {
    let mut wanted = vec![SIGINT, SIGTERM];
    if !is_ignored(SIGHUP) {
        wanted.push(SIGHUP);
    }
    let mut signals = Signals::new(wanted)?;
    *on_first() = Some(Box::new(leave));
    let wait = move || {
        let mut first: Option<Instant> = None;
        for signal in signals.forever() {
            let act = on_first().take();
            match act {
                Some(act) => {
                    WATCH.caught.store(signal, Ordering::SeqCst);
                    first = Some(Instant::now());
                    act(signal);
                }
                None if first.is_some_and(|first| first.elapsed() < SAME_WISH) => {}
                None => std::process::exit(128 + signal),
            }
        }
    };
    thread::Builder::new().name("signals".into()).spawn(wait).map(|_| ())
}

/// Ends the process with the exit code that tells of the signal.
fn leave(signal: i32) {
    std::process::exit(128 + signal)
}

fn on_first() -> MutexGuard<'static, Option<OnFirst>> {
    WATCH.on_first.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the user wants an end.
#[derive(Clone)]
pub struct Interrupt(());

impl Interrupt {
    /// Catches the signals from now on; `act` runs at the first, on a thread of its own.
    pub fn catch(act: impl FnOnce() + Send + 'static) -> Result<Self, Problem> {
        obey()?;
        // None is there if the process ends already.
        if let Some(first) = on_first().as_mut() {
            *first = Box::new(move |_: i32| act());
        }
        Ok(Self(()))
    }

    /// The exit code that tells of the signal, as shells have it: 129, 130 or 143.
    pub fn exit_code(&self) -> Option<u8> {
        match WATCH.caught.load(Ordering::SeqCst) {
            0 => None,
            signal => u8::try_from(128 + signal).ok(),
        }
    }
}

/// Whether the process was started with this signal ignored, as `nohup` does with SIGHUP. Catching
/// it would undo that. Known on Linux only.
fn is_ignored(signal: i32) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal - 1) & 1 == 1
}
