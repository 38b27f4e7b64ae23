//! What the user wants.

use std::{ops::RangeInclusive, path::PathBuf, time::Duration};

use cratetorrent::sim::explore::Plan;

use crate::{
    common::{
        Problem,
        args::{Args, Time, free, path, value},
    },
    explore::Explore,
    scale::{Scale, Size},
    show::Show,
};

pub const HELP: &str = "\
Swarms in one thread, on a virtual network, disk and clock.

Usage: swarm_sim [--nodes N] [--seed N]         a swarm at work, to look at
       swarm_sim --explore [options]            random swarms in search of faults
       swarm_sim --plan 'seed 5; torrent 0; …'  one swarm again, as a fault was reported
       swarm_sim --scale [options]              how long a flash crowd takes, the larger it is

  --nodes N         how many download (default: 30)
  --seed N          the seed of all chance (default: 1)

With --explore:
  --for TIME        go on for so long, as 90s, 10m or 2h (default: 1m unless --seeds says where to \
                    end)
  --seeds A-B       these seeds (default: from the clock on)
  --jobs N          threads (default: one)
  --keep-going      after a fault, too, up to ten

With --scale:
  --peers N[,N…]    sizes of the crowd; 100:5 is five runs of 100 (default: 10,30,100,300,1000)
  --seeds N         runs of each size that says nothing else (default: 3)
  --pieces N        pieces (default: 64)
  --piece KIB       how long a piece is (default: 4)
  --slots N         peers that each serves at a time (default: 4)
  --line KIB        what each can send in a second (default: a piece)
  --super-seed      the seed shows one piece at a time (BEP 16)
  --coarse          packets as long as pieces, much in sockets and on order
  --seed N          the seed of all chance of the first run (default: 1)
  --svg FILE        draw a picture, too

  --help, --version

Exit status: 0 all went well; 1 a fault was found; 2 nonsense asked.";

pub enum Command {
    Help,
    Version,
    Show(Show),
    Explore(Explore),
    Plan(Plan),
    Scale(Scale),
}

pub fn parse() -> Result<Command, Problem> {
    let mut args = Args::from_env();
    if args.contains("-h") || args.contains("--help") {
        return Ok(Command::Help);
    }
    if args.contains("-V") || args.contains("--version") {
        return Ok(Command::Version);
    }
    let command = if let Some(plan) = value(&mut args, "--plan")? {
        Command::Plan(plan)
    } else if args.contains("--explore") {
        let seeds: Option<Seeds> = value(&mut args, "--seeds")?;
        let time: Option<Time> = value(&mut args, "--for")?;
        let time = match (time, &seeds) {
            (Some(time), _) => Some(time.0),
            (None, Some(_)) => None,
            (None, None) => Some(Duration::from_secs(60)),
        };
        let jobs = value(&mut args, "--jobs")?.unwrap_or(1).max(1);
        Command::Explore(Explore {
            seeds: seeds.map(|s| s.0),
            time,
            jobs,
            keep_going: args.contains("--keep-going"),
        })
    } else if args.contains("--scale") {
        let usual =
            || List([10, 30, 100, 300, 1000].map(|peers| Size { peers, seeds: None }).to_vec());
        let List(peers) = value(&mut args, "--peers")?.unwrap_or_else(usual);
        let piece = value(&mut args, "--piece")?.unwrap_or(4).clamp(1, 1024);
        let svg: Option<PathBuf> = path(&mut args, "--svg")?;
        Command::Scale(Scale {
            peers,
            seeds: value(&mut args, "--seeds")?.unwrap_or(3),
            pieces: value(&mut args, "--pieces")?.unwrap_or(64).clamp(1, 10_000),
            piece,
            slots: value(&mut args, "--slots")?.unwrap_or(4).max(1),
            line: value(&mut args, "--line")?.unwrap_or(u64::from(piece)).clamp(1, 1 << 20),
            super_seed: args.contains("--super-seed"),
            coarse: args.contains("--coarse"),
            seed: value(&mut args, "--seed")?.unwrap_or(1),
            svg,
        })
    } else {
        let nodes = value(&mut args, "--nodes")?.unwrap_or(30).clamp(1, 2000);
        Command::Show(Show { nodes, seed: value(&mut args, "--seed")?.unwrap_or(1) })
    };
    match free(args)?.first() {
        Some(free) => Err(Problem::usage(format!(
            "what about {}? --help tells what there is",
            free.to_string_lossy()
        ))),
        None => Ok(command),
    }
}

struct Seeds(RangeInclusive<u64>);

impl std::str::FromStr for Seeds {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (from, to) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| {
            text.parse::<u64>().map_err(|_| "seeds are a number or two, as 5 or 1-10000")
        };
        let (from, to) = (number(from)?, number(to)?);
        if from <= to { Ok(Self(from..=to)) } else { Err("the first seed is above the last") }
    }
}

struct List(Vec<Size>);

impl std::str::FromStr for List {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let size = |text: &str| {
            let (peers, seeds) =
                text.split_once(':').map_or((text, None), |(peers, seeds)| (peers, Some(seeds)));
            let seeds = seeds.map(str::parse).transpose().ok()?;
            Some(Size {
                peers: peers.trim().parse().ok().filter(|n| (1..=20_000).contains(n))?,
                seeds,
            })
        };
        text.split(',')
            .map(size)
            .collect::<Option<_>>()
            .map(Self)
            .ok_or("sizes are numbers from 1 to 20000, as 10,100 or 10:5,100:3")
    }
}
