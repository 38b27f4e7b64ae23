//! What the user wants.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use cratetorrent::{
    conf::Bootstrap,
    wire::{
        krpc::{Family, NodeId},
        magnet::Magnet,
    },
};

use crate::common::{
    Problem,
    args::{self, Args, Time, free},
    nodes::{self, StateFile},
    progress::Show,
};

const HELP: &str = "\
Joins the DHT, looks for the peers of a torrent, and prints the look-up as it goes.

Usage: dht [HASH] [options]

  HASH                  the info-hash, as 40 hexadecimal digits or as a magnet link, of which the
                        DHT nodes are places to begin, too; without it, the node only takes part
  --bootstrap HOST:PORT where to begin; may be given more than once (default: nowhere)
";
const MORE: &str = "
  --listen ADDR:PORT    the UDP socket, one of each family at most (default: 0.0.0.0:0)
  --announce PORT       announce a peer at PORT to the closest nodes
  --warm TIME           fill the table for so long first, as 5s or 2m (default: 5s)
  --stay TIME           take part for so long afterwards, and answer (default: 0s)
  --read-only           answer nothing (BEP 43)
  --svg FILE            draw the look-up
  --quiet               print peers only
  --json                print JSON objects, one a line
  --help, --version

Exit status: 0 peers were found, or there was no HASH; 1 none, or a failure; 2 nonsense asked;
129, 130 or 143 stopped by a signal before the look-up had ended. What is known is kept and drawn
in any case.";

pub fn help() -> String {
    format!("{HELP}{}{MORE}", nodes::HELP_STATE)
}

pub struct Options {
    /// What is looked for: both hashes of a hybrid.
    pub hashes: Vec<NodeId>,
    pub bootstrap: Vec<Bootstrap>,
    pub state: Option<StateFile>,
    pub listen: Vec<SocketAddr>,
    pub announce: Option<u16>,
    pub warm: Duration,
    pub stay: Duration,
    pub read_only: bool,
    pub svg: Option<PathBuf>,
    pub show: Show,
}

pub fn parse(mut args: Args) -> Result<Options, Problem> {
    let mut bootstrap = nodes::bootstrap(&mut args)?;
    let state = StateFile::parse(&mut args)?;
    let listen = listen(args::values(&mut args, "--listen")?)?;
    let announce = args::value(&mut args, "--announce")?;
    if announce == Some(0) {
        return Err(Problem::usage("--announce: no peer can listen on port 0"));
    }
    let warm = args::value::<Time>(&mut args, "--warm")?;
    let stay = args::value::<Time>(&mut args, "--stay")?;
    let read_only = args.contains("--read-only");
    let svg = args::path(&mut args, "--svg")?;
    let show = Show::parse(&mut args)?;
    let words = free(args)?;
    let hashes = match words.as_slice() {
        [] => Vec::new(),
        [word] => hashes(&word.to_string_lossy(), &mut bootstrap)?,
        many => return Err(Problem::usage(format!("one torrent at a time, not {}", many.len()))),
    };
    if hashes.is_empty() && announce.is_some() {
        return Err(Problem::usage("--announce: of which torrent? There is no HASH"));
    }
    Ok(Options {
        hashes,
        bootstrap,
        state,
        listen,
        announce,
        warm: warm.map_or(Duration::from_secs(5), |time| time.0),
        stay: stay.map_or(Duration::ZERO, |time| time.0),
        read_only,
        svg,
        show,
    })
}

fn listen(named: Vec<String>) -> Result<Vec<SocketAddr>, Problem> {
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for text in named {
        let wrong = |why: &str| Problem::usage(format!("--listen: {text:?} {why}"));
        let addr: SocketAddr = text.parse().map_err(|_| wrong("is not ADDR:PORT or [V6]:PORT"))?;
        if addrs.iter().any(|other| Family::of(other.ip()) == Family::of(addr.ip())) {
            return Err(wrong("is the second address of its family"));
        }
        addrs.push(addr);
    }
    if addrs.is_empty() {
        addrs.push(SocketAddr::from(([0, 0, 0, 0], 0)));
    }
    Ok(addrs)
}

/// What a hash or link stands for; the nodes of a link join the others.
fn hashes(word: &str, bootstrap: &mut Vec<Bootstrap>) -> Result<Vec<NodeId>, Problem> {
    let is_link = word.get(..7).is_some_and(|begin| begin.eq_ignore_ascii_case("magnet:"));
    let link = if is_link { word.to_owned() } else { format!("magnet:?xt=urn:btih:{word}") };
    let is_hash = word.len() == 40 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_link && !is_hash {
        let what = format!("{word:?} is neither 40 hexadecimal digits nor a magnet link");
        return Err(Problem::usage(what));
    }
    let magnet: Magnet = link.parse().map_err(|e| Problem::usage(format!("{word:?}: {e}")))?;
    for (host, port) in magnet.nodes {
        bootstrap.push(Bootstrap { host: host.bare(), port, router: false });
    }
    Ok(magnet.identity.wire_hashes().map(|hash| NodeId::from(hash.hash)).collect())
}
