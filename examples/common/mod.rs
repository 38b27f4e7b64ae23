//! What the example programs share: their way with words, signals, progress and limits.
#![allow(dead_code)] // each of them uses a part of it

pub mod args;
pub mod follow;
pub mod limits;
pub mod listen;
pub mod make;
pub mod names;
pub mod nodes;
pub mod output;
pub mod progress;
#[cfg_attr(windows, path = "signals_windows.rs")]
pub mod signals;
pub mod trackers;
pub mod whole;

use std::{
    fs::File,
    io::{self, Read, Write},
    path::Path,
    process::ExitCode,
    time::Duration,
};

use args::Args;
use cratetorrent::{
    Alert, Alerts, EngineHandle, IpFilter,
    handle::NoAlert,
    wire::{
        blocklist::{Blocklist, BlocklistLimits},
        magnet::Magnet,
        metainfo::Metainfo,
    },
};
use nodes::Nodes;
pub use output::print;

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

/// A whole program: tells of itself if that is what the arguments ask, or does its work, and tells
/// its outcome.
pub fn program<T>(
    help: impl FnOnce() -> String,
    parse: impl FnOnce(Args) -> Result<T, Problem>,
    work: impl FnOnce(T) -> Result<ExitCode, Problem>,
) -> ExitCode {
    start_log();
    if let Err(problem) = signals::obey() {
        return end(Err(problem));
    }
    let mut args = Args::from_env();
    if args.contains("-h") || args.contains("--help") {
        print(&help());
        return ExitCode::SUCCESS;
    }
    if args.contains("-V") || args.contains("--version") {
        print(concat!(env!("CARGO_CRATE_NAME"), " ", env!("CARGO_PKG_VERSION")));
        return ExitCode::SUCCESS;
    }
    end(parse(args).and_then(work))
}

/// The end of a program: its outcome, told. What should have been printed and could not be is a
/// failure, too.
pub fn end(outcome: Result<ExitCode, Problem>) -> ExitCode {
    let code = outcome.unwrap_or_else(|problem| {
        complain(&problem.sentence);
        ExitCode::from(problem.code)
    });
    match output::lost() {
        Some(why) if code == ExitCode::SUCCESS => {
            complain(&format!("cannot write to the standard output: {why}"));
            ExitCode::FAILURE
        }
        _ => code,
    }
}

/// What the user must know is said in sentences; the log is for who asks for it.
pub fn start_log() {
    if args::variable("RUST_LOG").is_some() {
        let _ = env_logger::try_init();
    }
}

/// What is said of a proxy that works again.
pub fn proxy_recovered(datagrams: bool) -> &'static str {
    if datagrams { "the proxy carries datagrams again" } else { "the proxy works again" }
}

/// A line to stderr.
pub fn complain(line: &str) {
    let _ = writeln!(io::stderr(), "{}: {line}", env!("CARGO_CRATE_NAME"));
}

/// Reads a metainfo file, and says so if something follows the torrent in it.
pub fn read_metainfo(path: &Path) -> Result<Metainfo, Problem> {
    if let Some(what) = link(path) {
        let sentence = format!(
            "{} is {what}, which cannot be used yet; save the .torrent file and name it",
            shown(path)
        );
        return Err(Problem::usage(sentence));
    }
    let cannot =
        |e: &dyn std::fmt::Display| Problem::new(format!("cannot read {}: {e}", shown(path)));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| cannot(&e))?;
    file.take(MAX_METAINFO + 1).read_to_end(&mut bytes).map_err(|e| cannot(&e))?;
    let metainfo = Metainfo::from_bytes(&bytes).map_err(|e| cannot(&e))?;
    if metainfo.trailing > 0 {
        complain(&format!(
            "{}: {} bytes after the end of the torrent are ignored",
            shown(path),
            metainfo.trailing
        ));
    }
    Ok(metainfo)
}

/// Reads a magnet link, if `path` is one and no file. What cannot be used of it is told.
pub fn read_magnet(path: &Path) -> Option<Result<Magnet, Problem>> {
    if link(path) != Some(MAGNET) {
        return None;
    }
    let magnet = path.to_str().unwrap_or_default().parse::<Magnet>();
    if let Ok(Magnet { ignored: ignored @ 1.., .. }) = magnet {
        complain(&format!(
            "{ignored} parts of the magnet link are ignored: peers by name, broken addresses, \
             or too many"
        ));
    }
    Some(magnet.map_err(|e| Problem::usage(format!("{}: {e}", shown(path)))))
}

/// Reads a list of addresses that an engine is to keep away from.
pub fn read_blocklist(path: &Path) -> Result<IpFilter, Problem> {
    let cannot =
        |e: &dyn std::fmt::Display| Problem::new(format!("cannot read {}: {e}", shown(path)));
    let mut bytes = Vec::new();
    // One byte beyond the limit is enough to be told that it is exceeded.
    let limit = BlocklistLimits::default().bytes as u64 + 1;
    let file = File::open(path).map_err(|e| cannot(&e))?;
    file.take(limit).read_to_end(&mut bytes).map_err(|e| cannot(&e))?;
    let list = Blocklist::parse(&bytes).map_err(|e| cannot(&e))?;
    if let Some(first) = list.first_bad.first() {
        complain(&format!("{}: {} lines are left out; {first}", shown(path), list.bad));
    }
    log::info!("{} ranges of addresses are blocked", list.ranges);
    Ok(list.filter)
}

const MAGNET: &str = "a magnet link";

/// What kind of link a path is, if it is one and no file.
fn link(path: &Path) -> Option<&'static str> {
    let text = path.to_str().filter(|_| !path.exists())?;
    let begins = |scheme: &str| {
        text.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    };
    if begins("magnet:") {
        return Some(MAGNET);
    }
    ["http://", "https://", "ftp://", "file://"].into_iter().any(begins).then_some("a URL")
}

/// A path with whatever a terminal might obey escaped.
pub fn shown(path: &Path) -> String {
    printable(&path.to_string_lossy())
}

/// Foreign text with whatever a terminal might obey escaped.
pub fn printable(text: &str) -> String {
    let escape = |c: char| match c {
        '\'' | '"' => c.to_string(),
        _ => c.escape_debug().to_string(),
    };
    text.chars().map(escape).collect()
}

/// Tells of an end that takes its time, every few seconds.
#[derive(Default)]
pub struct Saving {
    told: Option<std::time::Instant>,
}

impl Saving {
    pub fn tell(&mut self, done: usize, total: usize) {
        if self.told.is_none_or(|told| told.elapsed() > Duration::from_secs(2)) {
            self.told = Some(std::time::Instant::now());
            complain(&format!("saving: {done} of {total} files are safe"));
        }
    }
}

/// Whether files can be made in a folder, asked of the system. Where it cannot be asked, making
/// them will show.
pub fn check_writable(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use rustix::fs::{Access, access};
        Ok(access(folder, Access::WRITE_OK | Access::EXEC_OK)?)
    }
    #[cfg(not(unix))]
    std::fs::metadata(folder).map(|_| ())
}

/// Lets an engine save its states, and keeps its `nodes`. The user should not have to wait long for
/// that. Nor should the user read a second sentence of failure if one is due already: then `tell`
/// is false. Returns whether everything that was to be saved is.
pub fn shut_down(engine: &EngineHandle, alerts: &Alerts, nodes: &Nodes, tell: bool) -> bool {
    nodes.note();
    let saved = wait_for_end(engine, alerts, tell);
    nodes.save();
    saved
}

fn wait_for_end(engine: &EngineHandle, alerts: &Alerts, tell: bool) -> bool {
    engine.shutdown();
    let mut deadline = std::time::Instant::now() + PATIENCE;
    let mut saving = Saving::default();
    let mut saved = true;
    loop {
        match alerts.recv_timeout(deadline.saturating_duration_since(std::time::Instant::now())) {
            // A disk that is slow is not one that does not answer.
            Ok(Alert::Saving { done, total, .. }) => {
                deadline = std::time::Instant::now() + PATIENCE;
                if tell {
                    saving.tell(done, total);
                }
            }
            Ok(Alert::StorageFailed { error, .. } | Alert::SessionFailed { error, .. }) => {
                saved = false;
                if tell {
                    complain(&error.to_string());
                }
            }
            Ok(_) => {}
            Err(NoAlert::Ended) => break,
            Err(NoAlert::Yet) => {
                complain("the disk does not answer; the next start checks what is there");
                // So that the drop of the handle does not wait as well.
                let _ = engine.clone().close(Duration::ZERO);
                return false;
            }
        }
    }
    let _ = engine.clone().join();
    saved
}
