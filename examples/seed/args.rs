//! What the user wants.

use std::{net::SocketAddr, path::PathBuf};

use cratetorrent::{Limits, Trust};

use crate::common::{
    Problem,
    args::{Args, free, path, peers, rate, values},
    listen::{self, Place},
    make::{self, Make},
    names::{self, Renames},
    nodes,
    progress::Show,
};

const HELP: &str = "\
Serves a torrent, or a file or folder of which it makes a torrent first, until Ctrl-C.

Usage: seed TORRENT [options]
       seed PATH [options] [options for making the torrent]

  TORRENT               a .torrent file
  --dir DIR             where its data is (default: the current folder)
  --name INDEX=PATH     a file of it has another path below DIR; may be given more than once
  --no-check            do not hash the data: believe files that have the right size
  --recheck             hash the data even if a saved state says that it is whole
  PATH                  anything else: a file or folder to make a torrent of, unless that is
                        there from an earlier start
";
const MORE: &str = "
  --blocklist FILE      addresses to have nothing to do with (eMule, PeerGuardian, CIDR)
  --peer ADDR[,ADDR…]   peers to connect to, as host:port or [v6]:port; may be given more than once
  --tracker URL[,URL…]  trackers beside those in the torrent, the ones with a comma between them
                        in one tier
  --limit-up RATE       send at most RATE bytes per second, as 500K, 2M or 1G (of 1024s);
                        0: no limit
  --quiet               print errors only
  --json                print JSON objects, one a line
  --help, --version

For making the torrent:
";
const END: &str = "

Nothing is downloaded: data that is not whole is not served. What was found when it was hashed
is kept in DIR/.cratetorrent, so that the next start need not hash it again.
Exit status: 0 stopped by Ctrl-C or SIGTERM while it served; 1 failed; 2 nonsense asked;
129, 130 or 143 stopped before it served.";

pub fn help() -> String {
    format!("{HELP}{}\n{}{MORE}{}{END}", listen::HELP, nodes::HELP_STATE, make::HELP)
}

pub struct Options {
    pub what: What,
    pub peers: Vec<SocketAddr>,
    pub place: Place,
    pub blocklist: Option<PathBuf>,
    pub limits: Limits,
    pub show: Show,
}

pub enum What {
    Torrent {
        torrent: PathBuf,
        dir: PathBuf,
        names: Renames,
        trust: Trust,
        trackers: Vec<Vec<String>>,
    },
    Data {
        path: PathBuf,
        make: Box<Make>,
    },
}

pub fn parse(mut args: Args) -> Result<Options, Problem> {
    let mut make = Make::parse(&mut args)?;
    let dir = path(&mut args, "--dir")?;
    let trust = match (args.contains("--no-check"), args.contains("--recheck")) {
        (true, true) => return Err(Problem::usage("--no-check and --recheck exclude each other")),
        (true, false) => Trust::Files,
        (false, true) => Trust::Nothing,
        (false, false) => Trust::State,
    };
    let names = names::parse(values(&mut args, "--name")?)?;
    let place = Place::parse(&mut args)?;
    let peers = peers(&mut args)?;
    let blocklist = path(&mut args, "--blocklist")?;
    let limits = Limits { up: rate(&mut args, "--limit-up")?, down: None };
    let show = Show::parse(&mut args)?;
    let path = match free(args)?.as_slice() {
        [path] if !path.is_empty() => PathBuf::from(path),
        [] | [_] => {
            return Err(Problem::usage("no torrent, file or folder given; --help tells how"));
        }
        many => {
            return Err(Problem::usage(format!(
                "one torrent, file or folder at a time, not {}",
                many.len()
            )));
        }
    };
    let what = if path.extension().is_some_and(|extension| extension == "torrent") && !path.is_dir()
    {
        if let Some(option) = make.given.first() {
            return Err(Problem::usage(format!(
                "{option} is for making a torrent, and {} is one already",
                path.display()
            )));
        }
        let (dir, trackers) = (dir.unwrap_or_else(|| ".".into()), make.take_trackers());
        What::Torrent { torrent: path, dir, names, trust, trackers }
    } else if make.is_to_stdout() {
        return Err(Problem::usage(
            "--out - is for create: what is served is told on the standard output",
        ));
    } else if dir.is_some() || !names.is_empty() || trust != Trust::State {
        let option = match dir {
            Some(_) => "--dir",
            None if !names.is_empty() => "--name",
            None => "--no-check or --recheck",
        };
        return Err(Problem::usage(format!(
            "{option} is for a .torrent, which {} is not",
            path.display()
        )));
    } else {
        What::Data { path, make: Box::new(make) }
    };
    Ok(Options { what, peers, place, blocklist, limits, show })
}
