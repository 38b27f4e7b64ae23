//! What the example programs share: their way with words, signals, progress and limits.
#![allow(dead_code)] // each of them uses a part of it

pub mod args;
pub mod limits;
pub mod listen;
pub mod make;
pub mod progress;
pub mod signals;
pub mod trackers;

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use cratetorrent::{Alert, Alerts, EngineHandle, NoAlert, wire::metainfo::Metainfo};
use pico_args::Arguments;

/// The longest metainfo file worth reading.
const MAX_METAINFO: u64 = 32 << 20;
/// How long an engine may take to save its states and end.
const PATIENCE: Duration = Duration::from_secs(10);

/// What goes wrong, in a sentence for the user, and the exit code that goes with it.
#[derive(Debug)]
pub struct Problem {
    pub sentence: String,
    pub code: u8,
}

impl Problem {
    /// Something failed.
    pub fn new(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: 1 }
    }

    /// The user asked for something that makes no sense.
    pub fn usage(sentence: impl Into<String>) -> Self {
        Self { sentence: sentence.into(), code: 2 }
    }

    pub fn of(e: impl std::fmt::Display) -> Self {
        Self::new(e.to_string())
    }
}

/// A whole program: tells of itself if that is what the arguments ask, or does its work, and tells its outcome.
pub fn program<T>(
    help: impl FnOnce() -> String,
    parse: impl FnOnce(Arguments) -> Result<T, Problem>,
    work: impl FnOnce(T) -> Result<ExitCode, Problem>,
) -> ExitCode {
    start_log();
    let mut args = Arguments::from_env();
    if args.contains(["-h", "--help"]) {
        print(&help());
        return ExitCode::SUCCESS;
    }
    if args.contains(["-V", "--version"]) {
        print(concat!(env!("CARGO_CRATE_NAME"), " ", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    end(parse(args).and_then(work))
}

/// The end of a program: its outcome, told.
pub fn end(outcome: Result<ExitCode, Problem>) -> ExitCode {
    outcome.unwrap_or_else(|problem| {
        complain(&problem.sentence);
        ExitCode::from(problem.code)
    })
}

/// What the user must know is said in sentences; the log is for who asks for it.
pub fn start_log() {
    if args::variable("RUST_LOG").is_some() {
        let _ = pretty_env_logger::try_init();
    }
}

/// A line to stdout. A reader who went away is no reason to stop.
pub fn print(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}

/// A line to stderr.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{}: {line}", env!("CARGO_CRATE_NAME"));
}

pub fn read_metainfo(path: &Path) -> Result<Metainfo, Problem> {
    let cannot = |e: &dyn std::fmt::Display| Problem::new(format!("cannot read {}: {e}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| cannot(&e))?;
    file.take(MAX_METAINFO + 1).read_to_end(&mut bytes).map_err(|e| cannot(&e))?;
    Metainfo::from_bytes(&bytes).map_err(|e| cannot(&e))
}

/// Lets an engine save its states. Nobody should have to wait long for that, nor, if one sentence of failure is due already, read a
/// second: then `tell` is false.
pub fn shut_down(engine: &EngineHandle, alerts: &Alerts, tell: bool) {
    engine.shutdown();
    let deadline = std::time::Instant::now() + PATIENCE;
    loop {
        match alerts.recv_timeout(deadline.saturating_duration_since(std::time::Instant::now())) {
            Ok(Alert::StorageFailed { error, .. }) if tell => complain(&error.to_string()),
            Ok(_) => {}
            Err(NoAlert::Ended) => break,
            Err(NoAlert::Yet) => {
                complain("the disk does not answer; the next start checks what is there");
                return;
            }
        }
    }
    let _ = engine.clone().join();
}
