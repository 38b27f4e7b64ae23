//! What the user wants: arguments first, the environment where they are silent.

use std::{env, net::SocketAddr, ops::RangeInclusive, path::PathBuf, time::Duration};

use cratetorrent::{Limits, StopAt};

use crate::{
    Problem,
    common::{
        args::{Args, Time, free, path, peers, rate, resolve_all, value, values, variable},
        listen::{self, Place},
        make::{trackers, web_seeds},
        names::{self, Renames},
        nodes,
        progress::Show,
    },
};

const HELP: &str = "\
Downloads a torrent from the peers that its trackers name, or you, and serves it to others if you
wish. With no arguments it shows itself: it makes a torrent, serves it and downloads it, all on
this machine.

Usage: download [TORRENT] [options]

  TORRENT               the .torrent file, or a magnet link, of which peers tell what it is
  --dir DIR             where the download goes (default: the current folder)
  --select LIST         only these files, as 0,2-5: counted from 0, as inspect numbers them
  --name INDEX=PATH     store a file under another path below DIR; may be given more than once
  --peer ADDR[,ADDR…]   peers as host:port or [v6]:port; may be given more than once
  --tracker URL[,URL…]  trackers beside those in the torrent, the ones with a comma between them
                        in one tier; may be given more than once
  --web-seed URL        a web server that has the files, beside those in the torrent;
                        may be given more than once
";
const MORE: &str = "
  --blocklist FILE      addresses to have nothing to do with (eMule, PeerGuardian, CIDR)
  --seed                go on serving when complete, until Ctrl-C
  --seed-ratio R        serve until R times the torrent's size was sent, as 1.5
  --seed-time TIME      serve for this long, as 90s, 30m or 2h
  --sequential          fetch pieces in order instead of rarest first
  --limit-down RATE     receive at most RATE bytes per second, as 500K, 2M or 1G (of 1024s);
                        0: no limit
  --limit-up RATE       send at most RATE bytes per second
  --recheck             believe no saved state, hash what is there
  --timeout TIME        give up when no peer was connected for so long; 0: never (default: 60s, and
                        never for a magnet link of which it is not known yet what it is)
  --quiet               print errors only
  --json                print JSON objects, one a line
  --help, --version

Environment, where the arguments say nothing: METAINFO_PATH (the torrent), DOWNLOAD_DIR (the
folder). SEED (peers, separated by commas) adds to --peer. RUST_LOG=debug shows what the engine
does.

Exit status: 0 complete; 1 failed; 2 nonsense asked; 130 or 143 stopped by Ctrl-C or SIGTERM
before it was complete, 129 for SIGHUP. Whatever was downloaded is kept: the same command goes on
from there. What that takes lies in DIR/.cratetorrent; it is removed when everything is there and
nothing is to be served.";

pub fn help() -> String {
    format!("{HELP}{}\n{}{MORE}", listen::HELP, nodes::HELP_STATE)
}

pub enum Command {
    Demo,
    Fetch(Box<Options>),
}

pub struct Options {
    pub torrent: PathBuf,
    pub dir: PathBuf,
    pub peers: Vec<SocketAddr>,
    pub trackers: Vec<Vec<String>>,
    pub web_seeds: Vec<String>,
    pub place: Place,
    /// Indices of the files to download; `None`: all.
    pub select: Option<Vec<RangeInclusive<usize>>>,
    pub names: Renames,
    pub blocklist: Option<PathBuf>,
    pub seed: bool,
    pub stop: StopAt,
    pub sequential: bool,
    pub recheck: bool,
    pub limits: Limits,
    /// `None`: wait forever.
    pub timeout: Option<Duration>,
    /// The same until it is known what a magnet link stands for.
    pub metadata_timeout: Option<Duration>,
    pub show: Show,
}

pub fn parse(mut args: Args) -> Result<Command, Problem> {
    let torrent = variable("METAINFO_PATH");
    let named_peers = variable("SEED");
    // In a container, peers without a torrent are a mistake and no wish for the demo.
    if env::args_os().len() <= 1 && torrent.is_none() && named_peers.is_none() {
        return Ok(Command::Demo);
    }
    let place = Place::parse(&mut args)?;
    let mut peers = peers(&mut args)?;
    let trackers = trackers(&mut args)?;
    let web_seeds = web_seeds(&mut args)?;
    let dir = path(&mut args, "--dir")?;
    let select = value::<Select>(&mut args, "--select")?.map(|select| select.0);
    let names = names::parse(values(&mut args, "--name")?)?;
    let blocklist = path(&mut args, "--blocklist")?;
    let stop = StopAt {
        ratio_percent: value::<Ratio>(&mut args, "--seed-ratio")?.map(|ratio| ratio.0),
        seeding: value::<Time>(&mut args, "--seed-time")?.map(|time| time.0),
    };
    let seed = args.contains("--seed") || stop != StopAt::default();
    let sequential = args.contains("--sequential");
    let recheck = args.contains("--recheck");
    let limits =
        Limits { down: rate(&mut args, "--limit-down")?, up: rate(&mut args, "--limit-up")? };
    let timeout = value::<Time>(&mut args, "--timeout")?.map(|time| time.0);
    let after = |time: Duration| Some(time).filter(|time| !time.is_zero());
    let show = Show::parse(&mut args)?;
    let mut free = free(args)?;
    if free.len() > 1 {
        return Err(Problem::usage(format!("one torrent at a time, not {}", free.len())));
    }
    let torrent = free
        .pop()
        .or(torrent)
        .ok_or_else(|| Problem::usage("no torrent given; --help tells how"))?;
    if let Some(list) = named_peers {
        resolve_all("SEED", &list.to_string_lossy(), &mut peers)?;
    }
    Ok(Command::Fetch(Box::new(Options {
        torrent: torrent.into(),
        dir: dir
            .or_else(|| variable("DOWNLOAD_DIR").map(PathBuf::from))
            .unwrap_or_else(|| ".".into()),
        peers,
        trackers,
        web_seeds,
        place,
        select,
        names,
        blocklist,
        seed,
        stop,
        sequential,
        recheck,
        limits,
        timeout: after(timeout.unwrap_or(Duration::from_secs(60))),
        metadata_timeout: after(timeout.unwrap_or_default()),
        show,
    })))
}

/// Indices of files, as `0,2-5`.
struct Select(Vec<RangeInclusive<usize>>);

impl std::str::FromStr for Select {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |text: &str| {
            text.trim().parse::<usize>().map_err(|_| "a selection is numbers and ranges, as 0,2-5")
        };
        let range = |part: &str| {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (from, to) = (number(from)?, number(to)?);
            if from <= to { Ok(from..=to) } else { Err("a range of files ends before it begins") }
        };
        text.split(',').map(range).collect::<Result<_, _>>().map(Self)
    }
}

/// A multiple of the torrent's size, in percent.
struct Ratio(u32);

impl std::str::FromStr for Ratio {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const WRONG: &str = "a ratio is a number from 0 to 10000, as 1.5";
        let ratio = text.parse::<f64>().map_err(|_| WRONG)?;
        if (0.0..=10_000.0).contains(&ratio) {
            let percent = (ratio * 100.0).round() as u32;
            // Only 0 itself is to send nothing.
            Ok(Self(if ratio > 0.0 { percent.max(1) } else { percent }))
        } else {
            Err(WRONG)
        }
    }
}
