//! What a swarm is made of, as data and as text. It says nothing of how a plan is carried out.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// A scenario: the seed of all chance in it, and what there is and happens.
///
/// As text its items stand in one line with `; ` between them: `seed 5; torrent 0 piece=20000; file
/// 0 len=4000; node 1; at 500 node=1 kill=200`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The seed of the world.
    pub seed: u64,
    /// Everything else, in any order.
    pub items: Vec<Item>,
}

/// A thing or an event of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is.
    pub kind: Kind,
    /// Its name; for an event, its time in milliseconds.
    pub id: u64,
    /// What is not as usual about it. All values are numbers; 1 stands for yes.
    pub values: Vec<(&'static str, u64)>,
}

/// What an [`Item`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A torrent; everybody wants it.
    Torrent,
    /// A file of the torrent of the same name.
    File,
    /// An engine. Number 0 has everything from the beginning, the others nothing.
    Node,
    /// A scripted peer, good or bad.
    Peer,
    /// A tracker; everybody tells all of them, each a tier of its own.
    Tracker,
    /// A web server that has all files, good or bad; nodes know all of them, but for node 0.
    Web,
    /// Something that befalls a node or everybody, or that a user does.
    At,
}

/// Each kind with its word and the values it may have.
const KINDS: [(Kind, &str, &[&str]); 7] = [
    (Kind::Torrent, "torrent", TORRENT),
    (Kind::File, "file", &["len", "pad"]),
    (Kind::Node, "node", NODE),
    (Kind::Peer, "peer", PEER),
    (Kind::Tracker, "tracker", TRACKER),
    (Kind::Web, "web", WEB),
    (Kind::At, "at", AT),
];

const TORRENT: &[&str] = &[
    "piece",
    // It has the files of this one, byte for byte and under the same paths, in pieces of another
    // length: who has one of the two can have the other only to read from the same files, once
    // the first is whole.
    "twin",
    // 1: of version 2 alone; 2: a hybrid; 3: a hybrid whose versions contradict each other in one
    // piece, which is no twin. Its pieces are a power of two, and it has no pads.
    "format",
];

/// Times in milliseconds, sizes in bytes, rates in bytes per second.
const NODE: &[&str] = &[
    // When it joins, and which nodes it knows besides node 0: one bit each, by name; all if that
    // is not said.
    "joins",
    "knows",
    // If there is a tracker that answers, it knows no node but that.
    "alone",
    // Its router: 1 a full cone, 2 restricted, 3 by port, too, 4 symmetric; those of one house
    // that is not 0 share the first one's.
    "nat",
    "house",
    // Its line.
    "latency",
    "jitter",
    "bandwidth",
    "segment",
    "sndbuf",
    "window",
    // How long its connections last, on average.
    "flaky",
    // The longest time its disk takes, and how much of what is read is at hand, in percent. One
    // job in so many takes so much longer.
    "disk",
    "hot",
    "spikes",
    "spike",
    // It keeps its session in a folder.
    "session",
    // Its settings; `memory` in runs.
    "run",
    "memory",
    "pipeline",
    "initial",
    "unsent",
    "uploads",
    "requests",
    "links",
    "torrent-links",
    "dials",
    "copies",
    "save",
    "checks",
    "slots",
    "choking",
    "suggest",
    "allowed",
    "down",
    "up",
    "peer-down",
    "peer-up",
    "sequential",
    "super",
    // The queue looks after its torrents, and how many it lets run.
    "queued",
    "downloads",
    "seeds",
    "total",
    // When it has served enough: percent, and time.
    "ratio",
    "seeding",
    // Files that its user does not want, one bit each.
    "skips",
    // Its user has magnet links instead of the torrents; not where there are twins.
    "magnet",
    // Which of its connections are encrypted: 1 preferably all, 2 all, 3 all to the end, 4 none, 5
    // those that others begin, to the end. A box on its line resets those that are not.
    "crypto",
    "censored",
    // Which connections of its torrents are encrypted: a digit of base 5 a torrent, the last for
    // the first of them: 0 as it has it, 1 none, 2 those that others begin, 3 preferably all, 4
    // all. Not where there are twins. Nodes that cannot speak with node 0 need not get everything.
    "policies",
    // What carries its connections: 1 TCP or uTP, 2 uTP alone, else TCP alone.
    "utp",
    // It has a DHT node, as node 0 has then, knows no node but that one for a start, and finds all
    // peers by it.
    "dht",
    // It has no piece layers (1), or knows nothing of version 2 and takes a hybrid for version 1
    // (2), unless it keeps its session in a folder, which has more.
    "lacks",
    // It reaches all others by a proxy of its own, of a kind by number, as `cast::proxy` has it.
    // Node 0 does not, which others have to reach.
    "proxy",
];

const PEER: &[&str] = &[
    "torrent",
    // Which nodes it dials, one bit each.
    "dials",
    // The pieces it has, in sixteenths, and which.
    "share",
    "which",
    // How it answers: every so many requests badly, not at all, or with a reject; or a byte at a
    // time.
    "bad",
    "mute",
    "reject",
    "dribble",
    // 1: says nothing; 2: greets for another torrent; 3: is no peer at all.
    "hello",
    "nofast",
    "reqq",
    "unchoke",
    "flap",
    "block",
    "alive",
    // It offers the info dictionary: 0 the true one; 1 false bytes; 2 another size, and 3 another
    // in each block; 4: 4 GiB; it 5 rejects requests, 6 says nothing, 7 sends a block unasked.
    "metadata",
    // It names so many peers: 0 at dead addresses, 1 all at one of them, 2 the nodes at wrong
    // ports, 3 the nodes; 4: in messages that cannot be read; in so many messages, so long apart.
    "names",
    "named",
    "messages",
    "pause",
    // What it makes of requests for hashes of trees: 1 one is false, 2 rejects, 3 nothing, 4 those
    // of elsewhere, 5 too few; 6: and it talks of hashes without being asked.
    "hashes",
    "latency",
    "jitter",
    "bandwidth",
    "segment",
    "sndbuf",
    "window",
];

const TRACKER: &[&str] = &[
    // How often it wants to be told, in seconds.
    "interval", // It is reached over a stream and says nothing; its name is unknown.
    "hangs", "unknown",
];

const WEB: &[&str] = &[
    // What is wrong with it, by number, as `cast::web` has it: 0 nothing; and how much of that.
    "manner",
    "much",
    "latency",
    "jitter",
    "bandwidth",
    "segment",
    "sndbuf",
    "window",
];

const AT: &[&str] = &[
    // To which node.
    "node",
    // For how long, of what says nothing of that itself.
    "time",
    // For so long; `power`: and what was not synced is lost; `vanish`: and no peer is told.
    // `restart` comes when all is saved.
    "kill",
    "vanish",
    "restart",
    "power",
    "cut",
    // The net: these, by name, are apart from the others; nothing gets to this node; connections
    // last so long, 0 for ever.
    "apart",
    "oneway",
    "flaky",
    // Clocks: the engine's goes ahead; that of the files goes ahead, or back, by so many seconds.
    "jump",
    "dated",
    "backdated",
    // A tracker, by name, that is silent or refuses.
    "tracker",
    "silent",
    "refuse",
    // Its proxy is of another kind, and breaks all that goes through it.
    "proxy",
    // The disk.
    "full",
    "readonly",
    "failsaves",
    "failsyncs",
    "failreads",
    "failwrites",
    "nolinks",
    "short",
    "heal",
    // Calls of one kind, by number, fail with an error, by number: so many go well before, so many
    // fail, and what fails is done all the same.
    "call",
    "answer",
    "after",
    "times",
    "done",
    // It does nothing for so long; one job in so many takes `time` longer.
    "hang",
    "spikes",
    // It lies: about syncs; of so many bytes at rest, reads and writes; and `len` bytes of each
    // file from here on cannot be read.
    "lying",
    "rot",
    "corrupt",
    "misdirect",
    "bad",
    "len",
    // The drive with its folder is unmounted for so long (`bare`: its mount point goes, too);
    // files there become so many bytes longer; so many bytes of them are changed by another
    // program.
    "away",
    "bare",
    "longer",
    "edit",
    // The user.
    "pause",
    "resume",
    "recheck",
    "save",
    "announce",
    // Bytes of each torrent are read, which ones by chance of this seed.
    "read",
    // How much a file is wanted: 0 not at all, 1 little, 2 as usual, 3 before others.
    "file",
    "wish",
    // This file gets another name; to this folder, or is in this folder.
    "rename",
    "move",
    "adopt",
    "queued",
    "position",
    "downloads",
    "seeds",
    "total",
    "ratio",
    "seeding",
    "slots",
    "down",
    "up",
    "torrent-down",
    "torrent-up",
    "sequential",
    "super",
    "meet",
    // Which connections are encrypted of its torrents, by digits as of a node, or with a peer, by
    // name: a digit.
    "policies",
    "policy",
    "with",
    // Removed, and added again so much later; `erase`: the files are deleted.
    "again",
    "erase",
];

/// A line of text that is no plan.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no plan: {what} in {item:?}")]
pub struct PlanError {
    what: &'static str,
    item: String,
}

impl Kind {
    fn word(self) -> &'static str {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or("", |(_, word, _)| word)
    }
}

impl Item {
    /// Something with nothing unusual about it.
    pub fn new(kind: Kind, id: u64) -> Self {
        Self { kind, id, values: Vec::new() }
    }

    /// A value, if it is said.
    pub fn get(&self, key: &str) -> Option<u64> {
        self.values.iter().find(|(name, _)| *name == key).map(|(_, value)| *value)
    }

    /// Says a value. Nothing happens if this kind has no such value.
    pub fn set(&mut self, key: &str, value: u64) {
        if let Some((_, place)) = self.values.iter_mut().find(|(name, _)| *name == key) {
            *place = value;
        } else if let Some(key) = self.kind.key(key) {
            self.values.push((key, value));
        }
    }

    fn parse(text: &str) -> Result<Self, PlanError> {
        let error = |what| PlanError { what, item: text.trim().to_owned() };
        let mut words = text.split_whitespace();
        let word = words.next().ok_or(error("nothing"))?;
        let kind = KINDS
            .iter()
            .find(|(_, name, _)| *name == word)
            .map(|(kind, ..)| *kind)
            .ok_or(error("an unknown word"))?;
        let id = words.next().and_then(|id| id.parse().ok()).ok_or(error("no number"))?;
        let mut item = Self::new(kind, id);
        for word in words {
            let (key, value) = word.split_once('=').unwrap_or((word, "1"));
            let key = kind.key(key).ok_or(error("an unknown value"))?;
            item.set(key, value.parse().map_err(|_| error("a value that is no number"))?);
        }
        Ok(item)
    }
}

impl Kind {
    fn key(self, key: &str) -> Option<&'static str> {
        let (_, _, keys) = KINDS.iter().find(|(kind, ..)| *kind == self)?;
        keys.iter().find(|name| **name == key).copied()
    }
}

impl Plan {
    /// The items of a kind, by name.
    pub fn of(&self, kind: Kind) -> Vec<&Item> {
        let mut items: Vec<_> = self.items.iter().filter(|item| item.kind == kind).collect();
        items.sort_by_key(|item| item.id);
        items
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.word(), self.id)?;
        for (key, value) in &self.values {
            match value {
                1 => write!(f, " {key}")?,
                _ => write!(f, " {key}={value}")?,
            }
        }
        Ok(())
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "seed {}", self.seed)?;
        self.items.iter().try_for_each(|item| write!(f, "; {item}"))
    }
}

impl FromStr for Plan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let mut parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let first = parts.next().unwrap_or_default();
        let seed = first.strip_prefix("seed").and_then(|seed| seed.trim().parse().ok());
        let seed =
            seed.ok_or(PlanError { what: "no seed at the beginning", item: first.to_owned() })?;
        Ok(Self { seed, items: parts.map(Item::parse).collect::<Result<_, _>>()? })
    }
}
