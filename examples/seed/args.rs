//! What the user wants.

use std::{net::SocketAddr, path::PathBuf};

use cratetorrent::{Limits, Trust};
use pico_args::Arguments;

use crate::common::{
    Problem,
    args::{free, path, peers, rate, value},
    make::{self, Make},
};

const HELP: &str = "\
Serves a torrent, or a file or folder of which it makes a torrent first, until Ctrl-C.

Usage: seed TORRENT [options]
       seed PATH [options] [options for making the torrent]

  TORRENT               a .torrent file
  --dir DIR             where its data is (default: the current folder)
  --no-check            do not hash the data: believe files that have the right size
  --recheck             hash the data even if a saved state says that it is whole
  PATH                  anything else: a file or folder to make a torrent of
  --port PORT           accept peers on this port (default: the first free one from 6881 to 6889)
  --peer ADDR[,ADDR…]   peers to connect to, as host:port or [v6]:port; may be given more than once
  --tracker URL[,URL…]  trackers beside those in the torrent, the ones with a comma between them in one tier
  --limit-up RATE       send at most RATE bytes per second, as 500K, 2M or 1G (of 1024s); 0: no limit
  --quiet               print errors only
  --help, --version

For making the torrent:
";
const END: &str = "

Nothing is downloaded: data that is not whole is not served.
Exit status: 0 stopped by Ctrl-C or SIGTERM while it served; 1 failed; 2 nonsense asked;
130 or 143 stopped before it served.";

pub fn help() -> String {
    format!("{HELP}{}{END}", make::HELP)
}

pub struct Options {
    pub what: What,
    pub peers: Vec<SocketAddr>,
    pub port: Option<u16>,
    pub limits: Limits,
    pub quiet: bool,
}

pub enum What {
    Torrent { torrent: PathBuf, dir: PathBuf, trust: Trust, trackers: Vec<Vec<String>> },
    Data { path: PathBuf, make: Box<Make> },
}

pub fn parse(mut args: Arguments) -> Result<Options, Problem> {
    let mut make = Make::parse(&mut args)?;
    let dir = path(&mut args, "--dir")?;
    let trust = match (args.contains("--no-check"), args.contains("--recheck")) {
        (true, true) => return Err(Problem::usage("--no-check and --recheck exclude each other")),
        (true, false) => Trust::Files,
        (false, true) => Trust::Nothing,
        (false, false) => Trust::State,
    };
    let peers = peers(&mut args)?;
    let port = value(&mut args, "--port")?;
    let limits = Limits { up: rate(&mut args, "--limit-up")?, down: None };
    let quiet = args.contains("--quiet");
    let path = match free(args)?.as_slice() {
        [path] if !path.is_empty() => PathBuf::from(path),
        [] | [_] => return Err(Problem::usage("no torrent, file or folder given; --help tells how")),
        many => return Err(Problem::usage(format!("one torrent, file or folder at a time, not {}", many.len()))),
    };
    let what = if path.extension().is_some_and(|extension| extension == "torrent") && !path.is_dir() {
        if let Some(option) = make.given {
            return Err(Problem::usage(format!("{option} is for making a torrent, and {} is one already", path.display())));
        }
        What::Torrent { torrent: path, dir: dir.unwrap_or_else(|| ".".into()), trust, trackers: make.take_trackers() }
    } else if dir.is_some() || trust != Trust::State {
        let option = if dir.is_some() { "--dir" } else { "--no-check or --recheck" };
        return Err(Problem::usage(format!("{option} is for a .torrent, which {} is not", path.display())));
    } else {
        What::Data { path, make: Box::new(make) }
    };
    Ok(Options { what, peers, port, limits, quiet })
}
