//! The standard output: lines to it, and whether one was lost.

use std::{
    io::{self, Write},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

/// Why a line could not be written. Programs look at it when they end, since none of them can do
/// anything about it before.
static LOST: Mutex<Option<String>> = Mutex::new(None);

/// Whether the reader of stdout has gone.
static GONE: AtomicBool = AtomicBool::new(false);

/// A line to stdout.
pub fn print(line: &str) {
    bytes(format!("{line}\n").as_bytes());
}

/// Bytes to stdout, such as a torrent.
pub fn bytes(bytes: &[u8]) {
    let mut out = io::stdout().lock();
    note(out.write_all(bytes).and_then(|()| out.flush()));
}

/// Remembers a failure. A reader that has seen enough and went away is none.
pub fn note(result: io::Result<()>) {
    match result {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => GONE.store(true, Ordering::Relaxed),
        Err(e) => {
            LOST.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e.to_string());
        }
    }
}

/// Whether no line is read any more: what only prints may end.
#[allow(dead_code, reason = "not all programs print all the time")]
pub fn is_in_vain() -> bool {
    GONE.load(Ordering::Relaxed) || lost().is_some()
}

/// Why something could not be printed, if that happened.
pub fn lost() -> Option<String> {
    LOST.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
