//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second does not ask.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI32, Ordering},
    },
    thread,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    iterator::Signals,
};

use super::Problem;

/// Whether the user wants an end.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicI32>);

impl Interrupt {
    /// Catches the signals from now on; `on_first` runs on a thread of its own.
    pub fn catch(on_first: impl FnOnce() + Send + 'static) -> Result<Self, Problem> {
        let cannot = |e| Problem::new(format!("cannot catch signals: {e}"));
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(cannot)?;
        let caught = Arc::new(AtomicI32::new(0));
        let told = caught.clone();
        let mut on_first = Some(on_first);
        let wait = move || {
            for signal in signals.forever() {
                told.store(signal, Ordering::SeqCst);
                match on_first.take() {
                    Some(on_first) => on_first(),
                    None => std::process::exit(128 + signal),
                }
            }
        };
        thread::Builder::new().name("signals".into()).spawn(wait).map_err(cannot)?;
        Ok(Self(caught))
    }

    /// The exit code that tells of the signal, as shells have it: 130 or 143.
    pub fn exit_code(&self) -> Option<u8> {
        match self.0.load(Ordering::SeqCst) {
            0 => None,
            signal => u8::try_from(128 + signal).ok(),
        }
    }
}
