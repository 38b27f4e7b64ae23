//! What the user wants of the program as a whole.

use std::path::PathBuf;

use cratetorrent::Limits;

use crate::{
    command,
    common::{
        Problem,
        args::{Args, free, path, rate, value},
        listen::Place,
    },
};

const HELP: &str = "\
Runs a session of torrents and does what is said on standard input, until `quit`, its end, \
Ctrl-C or SIGTERM.

Usage: session DIR [options]

  DIR                   the session's folder; it is made if it is not there
  --downloads DIR       where data goes unless `add` says otherwise (default: DIR/downloads)
  --port PORT           accept peers on this port (default: the first free one from 6881 to 6889)
  --transport KIND      reach peers by tcp, by utp (BEP 29), or by both: tcp first (default: tcp)
  --proxy URL           reach everything through a proxy, by names where there are names:
                        socks5://USER:PASSWORD@HOST:PORT or http://…; no peer is accepted
  --bind ADDR|NAME      send everything from this address of ours, or by this network interface
  --encryption HOW      off; allow (default): what peers begin, and peers known for it; prefer: \
                        tried
                        first with all peers; require: RC4, and no other peers
  --bootstrap HOST:PORT join the DHT by this node; may be given more than once (default: public \
                        ones)
  --no-dht              keep off the DHT; so does NO_DHT in the environment, set to anything
  --no-lsd              do not look for peers in the local network; so does NO_LSD in the \
                        environment
  --no-port-mapping     do not ask the router to let peers in (PCP, NAT-PMP, UPnP), which is done
                        by what goes on serving; so does NO_PORT_MAPPING in the environment
  --no-pex              do not tell peers of each other, and do not hear of peers from them
  --no-web-seeds        do not fetch anything from web servers
  --blocklist FILE      addresses to have nothing to do with (eMule, PeerGuardian, CIDR)
  --limit-down RATE     receive at most RATE bytes per second over all torrents, as 500K, \
                        2M or 1G; 0: no limit
  --limit-up RATE       the same for sending
  --active N            downloads at a time (default: 3)
  --seeds N             seeds at a time (default: 5)
  --json                print JSON objects, one a line
  --help, --version

Commands, one a line; words with blanks in them are put in \"quotes\":
";
const END: &str = "
N is the number that `list` shows, or the first four or more digits of an info-hash.
To a pipe, `list` and `peers` write fields with tabs between them: bytes, bytes per \
second, and - for nothing. With --json every line is an object: its `event` says what it is, and \
its
`torrent` is N.
What happens meanwhile is told in lines that begin with: checked, finished, stopped,
moved, deleted, removed, banned, mapped, failed.
Exit status: 0 ended in good order; 1 failed, or a command from a file or pipe did; 2 \
nonsense asked.";

pub fn help() -> String {
    format!("{HELP}{}{END}", command::help())
}

pub struct Options {
    pub dir: PathBuf,
    pub downloads: PathBuf,
    pub place: Place,
    pub blocklist: Option<PathBuf>,
    pub limits: Limits,
    pub active: Option<usize>,
    pub seeds: Option<usize>,
    pub json: bool,
}

pub fn parse(mut args: Args) -> Result<Options, Problem> {
    let downloads = path(&mut args, "--downloads")?;
    let place = Place::parse(&mut args)?;
    let blocklist = path(&mut args, "--blocklist")?;
    let limits =
        Limits { down: rate(&mut args, "--limit-down")?, up: rate(&mut args, "--limit-up")? };
    let json = args.contains("--json");
    let (active, seeds) = (value(&mut args, "--active")?, value(&mut args, "--seeds")?);
    let dir = match free(args)?.as_slice() {
        [dir] if !dir.is_empty() => PathBuf::from(dir),
        [] | [_] => {
            return Err(Problem::usage("no folder for the session given; --help tells how"));
        }
        many => return Err(Problem::usage(format!("one folder, not {}", many.len()))),
    };
    let downloads = downloads.unwrap_or_else(|| dir.join("downloads"));
    Ok(Options { dir, downloads, place, blocklist, limits, active, seeds, json })
}
