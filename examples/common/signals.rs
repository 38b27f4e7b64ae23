//! Ctrl-C, SIGTERM and SIGHUP: the first asks for an orderly end, a second one does not ask.

use std::{
    sync::{
        Arc,
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

/// Whether the user wants an end.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicI32>);

impl Interrupt {
    /// Catches the signals from now on; `on_first` runs on a thread of its own.
    pub fn catch(on_first: impl FnOnce() + Send + 'static) -> Result<Self, Problem> {
        let cannot = |e| Problem::new(format!("cannot catch signals: {e}"));
        let mut wanted = vec![SIGINT, SIGTERM];
        if !is_ignored(SIGHUP) {
            wanted.push(SIGHUP);
        }
        let mut signals = Signals::new(wanted).map_err(cannot)?;
        let caught = Arc::new(AtomicI32::new(0));
        let told = caught.clone();
        let mut on_first = Some(on_first);
        let wait = move || {
            let mut first = None;
            for signal in signals.forever() {
                match on_first.take() {
                    Some(on_first) => {
                        told.store(signal, Ordering::SeqCst);
                        first = Some(Instant::now());
                        on_first();
                    }
                    None if first.is_some_and(|first| first.elapsed() < SAME_WISH) => {}
                    None => std::process::exit(128 + signal),
                }
            }
        };
        thread::Builder::new().name("signals".into()).spawn(wait).map_err(cannot)?;
        Ok(Self(caught))
    }

    /// The exit code that tells of the signal, as shells have it: 129, 130 or 143.
    pub fn exit_code(&self) -> Option<u8> {
        match self.0.load(Ordering::SeqCst) {
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
