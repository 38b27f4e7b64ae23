//! What the user wants: arguments first, the environment where they are silent.

use std::{
    env,
    ffi::OsString,
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    time::Duration,
};

use cratetorrent::{Limits, Rate};

use crate::Problem;

pub const HELP: &str = "\
Downloads a torrent from the peers you name, and serves it to others if you wish.
With no arguments it shows itself: it makes a torrent, serves it and downloads it, all on this machine.

Usage: download [TORRENT] [options]

  TORRENT               the .torrent file
  --dir DIR             where the download goes (default: the current folder)
  --peer ADDR[,ADDR…]   peers as host:port or [v6]:port; may be given more than once
  --port PORT           accept peers on this port
  --seed                go on serving when complete, until Ctrl-C
                        (without --port on the first free port from 6881 to 6889)
  --sequential          fetch pieces in order instead of rarest first
  --limit-down RATE     receive at most RATE bytes per second, as 500K, 2M or 1G (1024s); 0: no limit
  --limit-up RATE       send at most RATE bytes per second
  --recheck             believe no saved state, hash what is there
  --timeout SECONDS     give up when no peer was connected for so long; 0: never (default: 60)
  --quiet               print errors only
  --help, --version

Environment, where the arguments say nothing: METAINFO_PATH (the torrent), DOWNLOAD_DIR (the folder).
SEED (peers, separated by commas) adds to --peer. RUST_LOG=debug shows what the engine does.

Exit status: 0 complete; 1 failed; 2 nonsense asked; 130 or 143 stopped by Ctrl-C or SIGTERM before
it was complete. Whatever was downloaded is kept: the same command goes on from there.";

pub enum Command {
    Help,
    Version,
    Demo,
    Fetch(Box<Options>),
}

pub struct Options {
    pub torrent: PathBuf,
    pub dir: PathBuf,
    pub peers: Vec<SocketAddr>,
    pub port: Option<u16>,
    pub seed: bool,
    pub sequential: bool,
    pub recheck: bool,
    pub limits: Limits,
    /// `None`: wait forever.
    pub timeout: Option<Duration>,
    pub quiet: bool,
}

pub fn parse() -> Result<Command, Problem> {
    let given: Vec<OsString> = env::args_os().skip(1).collect();
    let torrent = variable("METAINFO_PATH");
    if given.is_empty() && torrent.is_none() {
        return Ok(Command::Demo);
    }
    let mut args = pico_args::Arguments::from_vec(given);
    if args.contains(["-h", "--help"]) {
        return Ok(Command::Help);
    }
    if args.contains(["-V", "--version"]) {
        return Ok(Command::Version);
    }
    let mut peers = Vec::new();
    for list in args.values_from_str::<_, String>("--peer").map_err(|e| usage("--peer", &e))? {
        resolve_all("--peer", &list, &mut peers)?;
    }
    if let Some(list) = variable("SEED") {
        resolve_all("SEED", &list.to_string_lossy(), &mut peers)?;
    }
    let dir = args.opt_value_from_os_str("--dir", path).map_err(|e| usage("--dir", &e))?;
    let port = args.opt_value_from_str("--port").map_err(|e| usage("--port", &e))?;
    let seed = args.contains("--seed");
    let sequential = args.contains("--sequential");
    let recheck = args.contains("--recheck");
    let down = args.opt_value_from_fn("--limit-down", rate).map_err(|e| usage("--limit-down", &e))?.flatten();
    let up = args.opt_value_from_fn("--limit-up", rate).map_err(|e| usage("--limit-up", &e))?.flatten();
    let timeout = args.opt_value_from_str("--timeout").map_err(|e| usage("--timeout", &e))?.unwrap_or(60);
    let quiet = args.contains("--quiet");
    let mut free = args.finish();
    if let Some(unknown) = free.iter().find(|arg| arg.to_string_lossy().starts_with('-')) {
        return Err(Problem::usage(format!("there is no option {}; --help lists them", unknown.to_string_lossy())));
    }
    if free.len() > 1 {
        return Err(Problem::usage(format!("one torrent at a time, not {}", free.len())));
    }
    let torrent = free.pop().or(torrent).ok_or_else(|| Problem::usage("no torrent given; --help tells how"))?;
    Ok(Command::Fetch(Box::new(Options {
        torrent: torrent.into(),
        dir: dir.or_else(|| variable("DOWNLOAD_DIR").map(PathBuf::from)).unwrap_or_else(|| ".".into()),
        peers,
        port,
        seed,
        sequential,
        recheck,
        limits: Limits { down, up },
        timeout: (timeout > 0).then(|| Duration::from_secs(timeout)),
        quiet,
    })))
}

/// Set to nothing counts as not set.
pub fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

fn resolve_all(from: &str, list: &str, peers: &mut Vec<SocketAddr>) -> Result<(), Problem> {
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        // This waits for DNS, which is why it happens before there is an engine.
        let addrs =
            name.to_socket_addrs().map_err(|e| Problem::usage(format!("{from}: cannot make an address of {name:?}: {e}")))?;
        for addr in addrs {
            if addr.port() == 0 {
                return Err(Problem::usage(format!("{from}: nobody listens on port 0 of {name:?}")));
            }
            if !peers.contains(&addr) {
                peers.push(addr);
            }
        }
    }
    Ok(())
}

/// Bytes per second, perhaps in KiB, MiB or GiB.
fn rate(arg: &str) -> Result<Option<Rate>, &'static str> {
    let (number, unit) = match arg.as_bytes().last() {
        Some(b'K' | b'k') => (arg.get(..arg.len() - 1), 1 << 10),
        Some(b'M' | b'm') => (arg.get(..arg.len() - 1), 1 << 20),
        Some(b'G' | b'g') => (arg.get(..arg.len() - 1), 1 << 30),
        _ => (Some(arg), 1u64),
    };
    let number: u64 =
        number.and_then(|number| number.parse().ok()).ok_or("a rate is a number, with K, M or G behind it or not")?;
    Ok(Rate::new(number.saturating_mul(unit)))
}

fn path(arg: &std::ffi::OsStr) -> Result<PathBuf, &'static str> {
    if arg.is_empty() { Err("an empty path") } else { Ok(arg.into()) }
}

fn usage(option: &str, e: &pico_args::Error) -> Problem {
    Problem::usage(format!("{option}: {e}"))
}
