//! What the user wants: arguments first, the environment where they are silent.

use std::{env, net::SocketAddr, path::PathBuf, time::Duration};

use cratetorrent::Limits;
use pico_args::Arguments;

use crate::{
    Problem,
    common::{
        args::{free, path, peers, rate, resolve_all, value, variable},
        make::trackers,
    },
};

pub const HELP: &str = "\
Downloads a torrent from the peers that its trackers name, or you, and serves it to others if you wish.
With no arguments it shows itself: it makes a torrent, serves it and downloads it, all on this machine.

Usage: download [TORRENT] [options]

  TORRENT               the .torrent file
  --dir DIR             where the download goes (default: the current folder)
  --peer ADDR[,ADDR…]   peers as host:port or [v6]:port; may be given more than once
  --tracker URL[,URL…]  trackers beside those in the torrent, the ones with a comma between them in one
                        tier; may be given more than once
  --port PORT           accept peers on this port
  --seed                go on serving when complete, until Ctrl-C
                        (without --port on the first free port from 6881 to 6889)
  --sequential          fetch pieces in order instead of rarest first
  --limit-down RATE     receive at most RATE bytes per second, as 500K, 2M or 1G (of 1024s); 0: no limit
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
    Demo,
    Fetch(Box<Options>),
}

pub struct Options {
    pub torrent: PathBuf,
    pub dir: PathBuf,
    pub peers: Vec<SocketAddr>,
    pub trackers: Vec<Vec<String>>,
    pub port: Option<u16>,
    pub seed: bool,
    pub sequential: bool,
    pub recheck: bool,
    pub limits: Limits,
    /// `None`: wait forever.
    pub timeout: Option<Duration>,
    pub quiet: bool,
}

pub fn parse(mut args: Arguments) -> Result<Command, Problem> {
    let torrent = variable("METAINFO_PATH");
    if env::args_os().len() <= 1 && torrent.is_none() {
        return Ok(Command::Demo);
    }
    let mut peers = peers(&mut args)?;
    if let Some(list) = variable("SEED") {
        resolve_all("SEED", &list.to_string_lossy(), &mut peers)?;
    }
    let trackers = trackers(&mut args)?;
    let dir = path(&mut args, "--dir")?;
    let port = value(&mut args, "--port")?;
    let seed = args.contains("--seed");
    let sequential = args.contains("--sequential");
    let recheck = args.contains("--recheck");
    let limits = Limits { down: rate(&mut args, "--limit-down")?, up: rate(&mut args, "--limit-up")? };
    let timeout = value(&mut args, "--timeout")?.unwrap_or(60);
    let quiet = args.contains("--quiet");
    let mut free = free(args)?;
    if free.len() > 1 {
        return Err(Problem::usage(format!("one torrent at a time, not {}", free.len())));
    }
    let torrent = free.pop().or(torrent).ok_or_else(|| Problem::usage("no torrent given; --help tells how"))?;
    Ok(Command::Fetch(Box::new(Options {
        torrent: torrent.into(),
        dir: dir.or_else(|| variable("DOWNLOAD_DIR").map(PathBuf::from)).unwrap_or_else(|| ".".into()),
        peers,
        trackers,
        port,
        seed,
        sequential,
        recheck,
        limits,
        timeout: (timeout > 0).then(|| Duration::from_secs(timeout)),
        quiet,
    })))
}
