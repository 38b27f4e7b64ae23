//! Ctrl-C on Windows: the first asks for an orderly end, a second one does not ask. Windows has no
//! thread that waits for signals, so that a flag is looked at now and then.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};

use super::Problem;

/// How often the flag is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// The system ends the process at Ctrl-C until `Interrupt::catch` says otherwise.
pub fn obey() -> Result<(), Problem> {
    Ok(())
}

/// Whether the user wants an end.
#[derive(Clone)]
pub struct Interrupt(Arc<AtomicUsize>);

impl Interrupt {
    /// Catches Ctrl-C from now on; `on_first` runs on a thread of its own.
    pub fn catch(on_first: impl FnOnce() + Send + 'static) -> Result<Self, Problem> {
        let cannot = |e| Problem::new(format!("cannot catch Ctrl-C: {e}"));
        let (caught, next) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        for signal in [SIGINT, SIGTERM] {
            flag::register_usize(signal, next.clone(), signal as usize).map_err(cannot)?;
        }
        let told = caught.clone();
        let wait = move || {
            let mut on_first = Some(on_first);
            loop {
                let signal = next.swap(0, Ordering::SeqCst);
                if signal != 0 {
                    told.store(signal, Ordering::SeqCst);
                    match on_first.take() {
                        Some(on_first) => on_first(),
                        None => std::process::exit(128 + signal as i32),
                    }
                }
                thread::sleep(LOOK);
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
