//! The world: nodes, connections and one queue of events in order of time and, at the same time, of
//! creation.
//!
//! It decides nothing about BitTorrent. It carries out what engines want, tells them what happened,
//! and after every event holds what they claim against the truth. Chance comes from one seed, so
//! the same seed gives the same run, event by event.

mod conns;
mod endings;
mod events;
mod lan;
mod misfortune;
mod proxies;
mod tracking;
mod udp;
mod views;
mod watch;
mod web;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    fmt,
    io::IoSlice,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

pub use self::udp::Air;
use self::udp::Party;
use super::{
    book::{Book, Deed, job_name},
    disk::MemDisk,
    invariants::Ears,
    nat::{Nat, NatBox},
    net::{Line, Pipe},
    node::{Body, DiskPace, Host, Node, NodeId, Places},
    sample::Sample,
    script::{Action, ConnId, Script, ScriptNode, Talk},
    tracker::SimTracker,
    violation::Violation,
};
use crate::{
    alert::{Alert, Phase, TorrentStats},
    base::{
        bitfield::Bitfield,
        ids::{InfoHash, TorrentId},
        job::{Done, Job},
        rng::Rng,
        time::Instant,
    },
    conf::Conf,
    engine::{AddError, CloseCause, Effect, Engine, StreamId, TorrentParams, Verbs},
};

/// See the [module](crate::sim).
pub struct World {
    seed: u64,
    now: Instant,
    sequence: u64,
    queue: BTreeMap<(Instant, u64), Event>,
    rng: Rng,
    pub(super) nodes: Vec<Node>,
    conns: BTreeMap<u64, Conn>,
    next_conn: u64,
    trackers: Vec<SimTracker>,
    /// Bytes that a node's engine has read from and sent to another node, by both.
    read: BTreeMap<(usize, usize), u64>,
    sent: BTreeMap<(usize, usize), u64>,
    transcript: Transcript,
    events: u64,
    /// What is to be done once so many events have happened.
    at_events: BTreeMap<u64, Vec<Deferred>>,
    /// Events since time last passed.
    at_once: u64,
    /// Nodes by where they can be dialled.
    directory: BTreeMap<SocketAddr, usize>,
    nats: Vec<NatBox>,
    /// Ways that are dead: from, to.
    dead_ways: BTreeSet<(usize, usize)>,
    air: Air,
    book: Book,
    /// How many looks at an engine there are between two at everything; 0 for none.
    scrutiny: u32,
    next_watch: Instant,
    /// Nothing is printed when it ends in a panic: that has been done, or is not wanted.
    quiet: bool,
}

type Deferred = Box<dyn FnOnce(&mut World) + Send>;

/// A connection: side 0 has dialled.
#[derive(Debug)]
struct Conn {
    ends: [End; 2],
    /// `pipes[side]` carries what `side` sends.
    pipes: [Pipe; 2],
    made: bool,
    /// The cable is cut: nothing arrives any more, and neither side is told.
    cut: bool,
    /// This side has forgotten it without a word.
    orphan: Option<usize>,
    /// `held[side]` waits for the way from `side` to the other to be mended, since when. What
    /// comes later is held, too, until this has been sent again, or it would overtake.
    held: [VecDeque<Late>; 2],
    held_since: [Option<Instant>; 2],
    /// What each side that runs an engine has said and heard.
    ears: [Option<Box<Ears>>; 2],
}

/// What is sent again and again until it arrives.
#[derive(Debug)]
enum Late {
    Bytes(Vec<u8>),
    End,
}

#[derive(Debug)]
struct End {
    node: usize,
    /// The engine's name for it.
    key: Option<StreamId>,
    open: bool,
}

enum Event {
    /// A dial reaches its goal.
    Connect {
        conn: u64,
        addr: SocketAddr,
    },
    /// The answer reaches the dialler.
    Connected {
        conn: u64,
    },
    Refused {
        conn: u64,
    },
    /// The dialler's own machine has no way there.
    NoRoute {
        conn: u64,
    },
    /// A segment has left its sender.
    Depart {
        conn: u64,
        side: usize,
        bytes: Vec<u8>,
    },
    Arrive {
        conn: u64,
        side: usize,
        bytes: Vec<u8>,
    },
    /// `side` has closed, and the other hears of it.
    End {
        conn: u64,
        side: usize,
        reset: bool,
    },
    /// No answer came to what keeps a connection alive.
    Silent {
        conn: u64,
    },
    Wake {
        node: usize,
        life: u32,
    },
    /// A worker begins a job.
    Run {
        node: usize,
        life: u32,
        job: Box<Job>,
    },
    /// Its answer reaches the engine.
    Done {
        node: usize,
        life: u32,
        done: Box<Done>,
    },
    Act(Deferred),
    /// A router on the way forgets a connection.
    Break {
        conn: u64,
    },
    /// What `side` has sent since `since` was never acknowledged.
    GiveUp {
        conn: u64,
        side: usize,
        since: Instant,
    },
    /// What `side` has sent in vain is sent again.
    Again {
        conn: u64,
        side: usize,
    },
    /// A datagram, from and to where. Addresses are large, and the queue moves its events around:
    /// hence the boxes.
    Letter {
        sender: Party,
        ends: Box<[SocketAddr; 2]>,
        bytes: Vec<u8>,
    },
    /// A datagram from one node to the local network of another.
    Multicast {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    /// A name was looked up.
    Resolved {
        node: usize,
        life: u32,
        host: String,
    },
    /// No tracker is there to be connected with.
    NoTracker {
        node: usize,
        life: u32,
        stream: StreamId,
    },
}

impl Event {
    /// What the transcript keeps: a kind, two numbers, bytes.
    fn digest(&self) -> (u64, u64, u64, &[u8]) {
        match self {
            Self::Connect { conn, addr } => (1, *conn, u64::from(addr.port()), &[]),
            Self::Connected { conn } => (2, *conn, 0, &[]),
            Self::Refused { conn } => (3, *conn, 0, &[]),
            Self::NoRoute { conn } => (3, *conn, 1, &[]),
            Self::Depart { conn, side, bytes } => (4, *conn, *side as u64, bytes),
            Self::Arrive { conn, side, bytes } => (5, *conn, *side as u64, bytes),
            Self::End { conn, side, reset } => {
                (6, *conn, *side as u64 * 2 + u64::from(*reset), &[])
            }
            Self::Wake { node, life } => (7, *node as u64, u64::from(*life), &[]),
            Self::Run { node, life, .. } => (8, *node as u64, u64::from(*life), &[]),
            Self::Done { node, life, .. } => (9, *node as u64, u64::from(*life), &[]),
            Self::Act(_) => (10, 0, 0, &[]),
            Self::Break { conn } => (15, *conn, 0, &[]),
            Self::GiveUp { conn, side, .. } => (16, *conn, *side as u64, &[]),
            Self::Again { conn, side } => (17, *conn, *side as u64, &[]),
            Self::Letter { sender, ends, bytes } => {
                (18, sender.number(), u64::from(ends[1].port()), bytes)
            }
            Self::Multicast { from, to, bytes } => (19, *from as u64, *to as u64, bytes),
            Self::Resolved { node, life, host } => {
                (11, *node as u64, u64::from(*life), host.as_bytes())
            }
            Self::NoTracker { node, life, .. } => (14, *node as u64, u64::from(*life), &[]),
            Self::Silent { conn } => (20, *conn, 0, &[]),
        }
    }
}

/// Looks at an engine between two at everything.
const SCRUTINY: u32 = 64;

/// A running digest of everything that happened. Not for secrets.
#[derive(Clone, Copy, Debug)]
struct Transcript(u64);

impl Transcript {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_be_bytes(*word)));
        if !rest.is_empty() {
            self.add(rest.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "World at {:?} after {} events, {} nodes",
            self.now,
            self.events,
            self.nodes.len()
        )
    }
}

// Making a world.

impl World {
    /// An empty world in which everything that is left to chance follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            now: Instant::ZERO,
            sequence: 0,
            queue: BTreeMap::new(),
            rng: Rng::new(seed),
            nodes: Vec::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            trackers: Vec::new(),
            read: BTreeMap::new(),
            sent: BTreeMap::new(),
            transcript: Transcript(0),
            events: 0,
            at_events: BTreeMap::new(),
            at_once: 0,
            directory: BTreeMap::new(),
            nats: Vec::new(),
            dead_ways: BTreeSet::new(),
            air: Air::default(),
            book: Book::new(),
            scrutiny: SCRUTINY,
            next_watch: Instant::ZERO,
            quiet: false,
        }
    }

    /// A node that runs an engine with these settings, on an empty disk, with a default [`Line`].
    ///
    /// # Panics
    /// If the settings cannot work.
    pub fn node(&mut self, conf: Conf) -> NodeId {
        let disk = Arc::new(MemDisk::new(self.rng.next_u64()));
        let host = Host::new(conf, disk, self.rng.next_u64(), self.now);
        self.add_node(Body::Engine(Box::new(host)))
    }

    /// A node that does what `script` says.
    pub fn scripted(&mut self, script: impl Script) -> NodeId {
        let node = self.add_node(Body::Script(ScriptNode::new(Box::new(script))));
        self.schedule(self.now, Event::Wake { node: node.0, life: 0 });
        node
    }

    fn add_node(&mut self, body: Body) -> NodeId {
        let node = Node::new(body, self.nodes.len());
        self.directory.insert(node.addr, self.nodes.len());
        self.nodes.push(node);
        NodeId(self.nodes.len() - 1)
    }

    /// Changes how a node is connected.
    pub fn set_line(&mut self, node: NodeId, line: Line) {
        self.nodes[node.0].line = line;
    }

    /// Changes how long a node's workers take.
    pub fn set_disk_pace(&mut self, node: NodeId, pace: DiskPace) {
        self.nodes[node.0].pace = pace;
    }

    /// Whether a node answers when it is dialled. It does unless told otherwise.
    pub fn set_listening(&mut self, node: NodeId, listening: bool) {
        self.nodes[node.0].listening = listening;
    }

    /// Calls a node something in a [`trace`](Self::trace).
    pub fn set_name(&mut self, node: NodeId, name: impl Into<String>) {
        self.nodes[node.0].name = name.into();
    }

    /// Where a node can be dialled: its own address, or that of its router and its port there.
    pub fn addr(&self, node: NodeId) -> SocketAddr {
        let n = &self.nodes[node.0];
        n.nat
            .and_then(|nat| self.nats.get(nat))
            .map_or(n.addr, |nat| SocketAddr::new(nat.ip(), n.outer_port))
    }

    /// A node may touch files in this folder, besides those of its torrents.
    pub fn allow_folder(&mut self, node: NodeId, dir: impl Into<std::path::PathBuf>) {
        self.host_mut(node.0).folders.push(dir.into());
    }

    // What the user of a node does.

    /// `node` is to download `sample` from those of `peers` that have it.
    pub fn download(&mut self, node: NodeId, sample: &Arc<Sample>, peers: &[NodeId]) -> TorrentId {
        let params = self.params(node, sample, peers);
        self.add_torrent(node, sample, params)
    }

    /// `node` has all of `sample` on disk, and serves it once it has checked that.
    pub fn seed_with(&mut self, node: NodeId, sample: &Arc<Sample>) -> TorrentId {
        let params = self.params(node, sample, &[]);
        let disk = self.disk(node);
        disk.set_now(self.now);
        sample.files_in(&params.dir).for_each(|(path, _, bytes)| disk.put(&path, bytes));
        self.add_torrent(node, sample, params)
    }

    /// Puts some pieces of `sample` where `node` will look for them; the rest of their files is
    /// zeroes.
    pub fn put_pieces(&mut self, node: NodeId, sample: &Arc<Sample>, pieces: &Bitfield) {
        let (disk, dir) = (self.disk(node), self.params(node, sample, &[]).dir);
        let geometry = sample.geometry();
        let mut data = vec![0; sample.data.len()];
        for piece in geometry.pieces().filter(|&piece| pieces.has(piece)) {
            let (from, bytes) = (geometry.offset(piece) as usize, sample.piece(piece));
            data[from..from + bytes.len()].copy_from_slice(bytes);
        }
        disk.set_now(self.now);
        for (path, offset, bytes) in sample.files_in(&dir) {
            disk.put(&path, &data[offset as usize..offset as usize + bytes.len()]);
        }
    }

    /// What [`download`](Self::download) adds a torrent with.
    pub fn params(&self, node: NodeId, sample: &Arc<Sample>, peers: &[NodeId]) -> TorrentParams {
        let peers = peers.iter().map(|&peer| self.addr(peer)).collect();
        TorrentParams {
            peers,
            ..TorrentParams::new(sample.metainfo.clone(), format!("/node{}", node.0))
        }
    }

    /// Adds a torrent as the user wishes.
    ///
    /// # Panics
    /// If the engine does not take it.
    pub fn add_torrent(
        &mut self,
        node: NodeId,
        sample: &Arc<Sample>,
        params: TorrentParams,
    ) -> TorrentId {
        match self.try_add_torrent(node, sample, params) {
            Ok(id) => id,
            Err(error) => panic!("{node:?} does not take the torrent: {error}"),
        }
    }

    /// The same, of a torrent that the engine may refuse.
    ///
    /// # Errors
    /// Why the engine does not take it.
    pub fn try_add_torrent(
        &mut self,
        node: NodeId,
        sample: &Arc<Sample>,
        params: TorrentParams,
    ) -> Result<TorrentId, AddError> {
        let added = self.tell(node, |engine| engine.add_torrent(params.clone()));
        if let Err(AddError::PathTaken { .. }) = &added {
            // One that was there before and was removed is not to be waited for.
            let hash = sample.metainfo.info_hash();
            self.host_mut(node.0).held.retain(|held| held.sample.metainfo.info_hash() != hash);
        }
        let id = added?;
        self.host_mut(node.0).hold(id, sample.clone(), params);
        self.check(node.0);
        Ok(id)
    }

    /// Uses the verbs of a node's engine, now.
    pub fn tell<R>(&mut self, node: NodeId, verb: impl FnOnce(&mut Verbs<'_>) -> R) -> R {
        let now = self.clock(node.0);
        let engine = &mut self.host_mut(node.0).engine;
        engine.handle_tick(now);
        let result = verb(&mut engine.verbs());
        self.service(node.0);
        result
    }

    /// Tells a node's engine, and those after a restart, that it is reached where it is, for peers,
    /// trackers and the DHT to know.
    pub fn set_reachable(&mut self, node: NodeId) {
        self.nodes[node.0].tells_place = true;
        let addr = self.addr(node);
        self.host_mut(node.0).engine.set_listen_addrs([addr]);
        self.service(node.0);
    }

    // Time.

    /// Lets one thing happen; false if there is nothing to come.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.queue.pop_first() else { return false };
        self.at_once = if at > self.now { 0 } else { self.at_once + 1 };
        self.now = self.now.max(at);
        self.events += 1;
        let (kind, a, b, bytes) = event.digest();
        for word in [self.now.as_micros(), kind, a, b] {
            self.transcript.add(word);
        }
        self.transcript.add_bytes(bytes);
        self.dispatch(event);
        while let Some(entry) =
            self.at_events.first_entry().filter(|entry| *entry.key() <= self.events)
        {
            entry.remove().into_iter().for_each(|act| act(self));
        }
        self.watch();
        true
    }

    /// Lets things happen until `done`; false if that is not the case after `limit` or when nothing
    /// is to come.
    #[must_use]
    pub fn run_until(&mut self, mut done: impl FnMut(&Self) -> bool, limit: Duration) -> bool {
        let end = self.now + limit;
        loop {
            if done(self) {
                return true;
            }
            if self.queue.first_key_value().is_none_or(|((at, _), _)| *at > end) {
                self.now = end;
                return false;
            }
            self.step();
        }
    }

    /// Lets `time` pass.
    pub fn run_for(&mut self, time: Duration) {
        let _ = self.run_until(|_| false, time);
    }

    /// Has `act` done after `time`.
    pub fn after(&mut self, time: Duration, act: impl FnOnce(&mut World) + Send + 'static) {
        self.schedule(self.now + time, Event::Act(Box::new(act)));
    }

    /// Has `act` done when `event` events have happened: to have something happen at every step of
    /// a scenario, one after the other.
    pub fn at_event(&mut self, event: u64, act: impl FnOnce(&mut World) + Send + 'static) {
        self.at_events.entry(event).or_default().push(Box::new(act));
    }

    /// Writes a line of the caller's own into the [`trace`](Self::trace).
    pub fn note(&mut self, text: impl Into<String>) {
        self.book.write(self.now, Deed::Note(text.into()));
    }
}
