//! The world: nodes, connections and one queue of events in order of time and, at the same time, of creation.
//!
//! It decides nothing about BitTorrent. It carries out what engines want, tells them what happened, and after every event holds
//! what they claim against the truth. Chance comes from one seed, so the same seed gives the same run, event by event.

mod conns;
mod events;
mod tracking;

use std::{collections::BTreeMap, fmt, io::IoSlice, net::SocketAddr, sync::Arc, time::Duration};

use super::{
    disk::MemDisk,
    net::{Line, Pipe},
    node::{Body, DiskPace, Host, Node, NodeId},
    sample::Sample,
    script::{Action, ConnId, Script, ScriptNode, Talk},
    tracker::SimTracker,
};
use crate::{
    alert::{Alert, Phase, TorrentStats},
    base::{
        arena::Key,
        bitfield::Bitfield,
        ids::TorrentId,
        job::{Done, Job},
        rng::Rng,
        time::Instant,
    },
    conf::Conf,
    engine::{CloseCause, Effect, Engine, TorrentParams},
};

/// See the [module](crate::sim).
pub struct World {
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
}

/// A connection: side 0 has dialled.
#[derive(Debug)]
struct Conn {
    ends: [End; 2],
    /// `pipes[side]` carries what `side` sends.
    pipes: [Pipe; 2],
    made: bool,
    /// The cable is cut: nothing arrives any more, and nobody is told.
    cut: bool,
}

#[derive(Debug)]
struct End {
    node: usize,
    /// The engine's name for it.
    key: Option<Key>,
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
    Wake {
        node: usize,
        life: u32,
    },
    /// A worker begins a job.
    Run {
        node: usize,
        life: u32,
        job: Job,
    },
    /// Its answer reaches the engine.
    Done {
        node: usize,
        life: u32,
        done: Done,
    },
    /// A name was looked up.
    Resolved {
        node: usize,
        life: u32,
        host: String,
    },
    /// A datagram reaches a tracker.
    Packet {
        node: usize,
        life: u32,
        tracker: usize,
        data: Vec<u8>,
    },
    /// Its answer reaches the node.
    Datagram {
        node: usize,
        life: u32,
        from: SocketAddr,
        data: Vec<u8>,
    },
    /// Nobody is there to be connected with.
    NoTracker {
        node: usize,
        life: u32,
        call: Key,
    },
    Act(Box<dyn FnOnce(&mut World) + Send>),
}

impl Event {
    /// What the transcript keeps: a kind, two numbers, bytes.
    fn digest(&self) -> (u64, u64, u64, &[u8]) {
        match self {
            Self::Connect { conn, addr } => (1, *conn, u64::from(addr.port()), &[]),
            Self::Connected { conn } => (2, *conn, 0, &[]),
            Self::Refused { conn } => (3, *conn, 0, &[]),
            Self::Depart { conn, side, bytes } => (4, *conn, *side as u64, bytes),
            Self::Arrive { conn, side, bytes } => (5, *conn, *side as u64, bytes),
            Self::End { conn, side, reset } => (6, *conn, *side as u64 * 2 + u64::from(*reset), &[]),
            Self::Wake { node, life } => (7, *node as u64, u64::from(*life), &[]),
            Self::Run { node, life, .. } => (8, *node as u64, u64::from(*life), &[]),
            Self::Done { node, life, .. } => (9, *node as u64, u64::from(*life), &[]),
            Self::Act(_) => (10, 0, 0, &[]),
            Self::Resolved { node, life, host } => (11, *node as u64, u64::from(*life), host.as_bytes()),
            Self::Packet { node, tracker, data, .. } => (12, *node as u64, *tracker as u64, data),
            Self::Datagram { node, life, data, .. } => (13, *node as u64, u64::from(*life), data),
            Self::NoTracker { node, life, .. } => (14, *node as u64, u64::from(*life), &[]),
        }
    }
}

/// A running digest of everything that happened. Not for secrets.
#[derive(Clone, Copy, Debug)]
struct Transcript(u64);

impl Transcript {
    fn add(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29);
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        self.add(bytes.len() as u64);
        for chunk in bytes.chunks(8) {
            self.add(chunk.iter().fold(0, |word, &byte| word << 8 | u64::from(byte)));
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World at {:?} after {} events, {} nodes", self.now, self.events, self.nodes.len())
    }
}

// Making a world.

impl World {
    /// An empty world in which everything that is left to chance follows from `seed`.
    pub fn new(seed: u64) -> Self {
        Self {
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
        self.nodes.push(Node::new(body, self.nodes.len()));
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

    /// Where a node can be dialled.
    pub fn addr(&self, node: NodeId) -> SocketAddr {
        self.nodes[node.0].addr
    }

    // What the user of a node does.

    /// `node` is to download `sample` from whoever of `peers` has it.
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

    /// Puts some pieces of `sample` where `node` will look for them; the rest of their files is zeroes.
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
        TorrentParams { peers, ..TorrentParams::new(sample.metainfo.clone(), format!("/node{}", node.0)) }
    }

    /// Adds a torrent as the user wishes.
    ///
    /// # Panics
    /// If the engine does not take it.
    pub fn add_torrent(&mut self, node: NodeId, sample: &Arc<Sample>, params: TorrentParams) -> TorrentId {
        let sample = sample.clone();
        let id = self.tell(node, |engine| engine.add_torrent(params.clone()));
        let Ok(id) = id else { panic!("{node:?} does not take the torrent: {id:?}") };
        self.host_mut(node.0).hold(id, sample, params);
        self.check(node.0);
        id
    }

    /// Uses the verbs of a node's engine, now.
    pub fn tell<R>(&mut self, node: NodeId, verb: impl FnOnce(&mut Engine) -> R) -> R {
        let now = self.now;
        let engine = &mut self.host_mut(node.0).engine;
        engine.handle_tick(now);
        let result = verb(engine);
        self.service(node.0);
        result
    }

    // What can be seen.

    /// The time in this world, from zero.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// A digest of every event so far with its time and its bytes, and of every alert.
    pub fn transcript(&self) -> u64 {
        self.transcript.0
    }

    /// Events so far.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// A node's engine.
    pub fn engine(&self, node: NodeId) -> &Engine {
        &self.host(node.0).engine
    }

    /// A node's disk, which outlives its engine.
    pub fn disk(&self, node: NodeId) -> Arc<MemDisk> {
        match &self.nodes[node.0].body {
            Body::Engine(host) => host.disk.clone(),
            Body::Script(_) => panic!("{node:?} is scripted and has no disk"),
        }
    }

    /// How a node's torrents stand, first one first.
    pub fn stats_of(&self, node: NodeId) -> Vec<TorrentStats> {
        let host = self.host(node.0);
        host.held.iter().filter_map(|held| host.engine.stats(held.id)).collect()
    }

    /// How a node's first torrent stands.
    pub fn stats(&self, node: NodeId) -> TorrentStats {
        self.stats_of(node).into_iter().next().unwrap_or_default()
    }

    /// Whether a node has all of its torrents.
    pub fn is_complete(&self, node: NodeId) -> bool {
        match &self.nodes[node.0] {
            Node { body: Body::Engine(host), up: true, .. } => {
                host.held.iter().all(|held| host.engine.have(held.id).is_some_and(Bitfield::is_full))
            }
            _ => false,
        }
    }

    /// Whether a node's first torrent is in this phase.
    pub fn is_in(&self, node: NodeId, phase: Phase) -> bool {
        self.stats(node).phase == phase
    }

    /// A node's first torrent.
    ///
    /// # Panics
    /// If it has none.
    pub fn torrent(&self, node: NodeId) -> TorrentId {
        match self.host(node.0).held.first() {
            Some(held) => held.id,
            None => panic!("{node:?} has no torrent"),
        }
    }

    /// What a node told its user so far, and when.
    pub fn alerts(&self, node: NodeId) -> &[(Instant, Alert)] {
        match &self.nodes[node.0].body {
            Body::Engine(host) => &host.alerts,
            Body::Script(_) => &[],
        }
    }

    /// When a node first told its user something that `is`.
    pub fn told(&self, node: NodeId, is: impl Fn(&Alert) -> bool) -> Option<Instant> {
        self.alerts(node).iter().find(|(_, alert)| is(alert)).map(|(at, _)| *at)
    }

    /// Bytes, of any kind, that a node's engine has read so far of what `from` sent.
    pub fn bytes_read(&self, node: NodeId, from: NodeId) -> u64 {
        self.read.get(&(node.0, from.0)).copied().unwrap_or_default()
    }

    /// Bytes, of any kind, that a node's engine has sent so far to `to`.
    pub fn bytes_sent(&self, node: NodeId, to: NodeId) -> u64 {
        self.sent.get(&(node.0, to.0)).copied().unwrap_or_default()
    }

    /// The most piece memory that a node ever used, in bytes.
    pub fn peak_memory(&self, node: NodeId) -> usize {
        self.host(node.0).peak_memory
    }

    /// The most memory for blocks on their way out that a node ever used, in bytes.
    pub fn peak_upload_memory(&self, node: NodeId) -> usize {
        self.host(node.0).peak_upload_memory
    }

    /// A node's script, as what it is.
    ///
    /// # Panics
    /// If the node has another one, or none.
    pub fn script<S: Script>(&self, node: NodeId) -> &S {
        let found = match &self.nodes[node.0].body {
            Body::Script(scripted) => (&*scripted.script as &dyn std::any::Any).downcast_ref(),
            _ => None,
        };
        let Some(script) = found else { panic!("{node:?} has no such script") };
        script
    }

    // Time.

    /// Lets one thing happen; false if there is nothing to come.
    pub fn step(&mut self) -> bool {
        let Some(((at, _), event)) = self.queue.pop_first() else { return false };
        self.now = self.now.max(at);
        self.events += 1;
        let (kind, a, b, bytes) = event.digest();
        for word in [self.now.as_micros(), kind, a, b] {
            self.transcript.add(word);
        }
        self.transcript.add_bytes(bytes);
        self.dispatch(event);
        true
    }

    /// Lets things happen until `done`; false if that is not the case after `limit` or when nothing is to come.
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

    // Misfortune.

    /// A node's process is killed: its connections are reset, what its workers were doing is half done, its disk stays.
    pub fn kill(&mut self, node: NodeId) {
        self.interrupt_jobs(node.0);
        let n = &mut self.nodes[node.0];
        n.life += 1;
        n.wake = None;
        n.up = false;
        for conn in self.conns_of(node.0) {
            for side in 0..2 {
                self.hang_up(conn, side, node.0, true);
            }
        }
    }

    /// A killed node is started again, with the same torrents and what its user had last said of their files, or with what its session
    /// folder has.
    pub fn restart(&mut self, node: NodeId) {
        let (seed, now) = (self.rng.next_u64(), self.now);
        let n = &mut self.nodes[node.0];
        let Body::Engine(old) = &n.body else { panic!("{node:?} has no engine to start") };
        assert!(!n.up, "{node:?} is not down");
        let mut host = Host::new(old.conf.clone(), old.disk.clone(), seed, now);
        host.alerts = old.alerts.clone();
        let torrents: Vec<_> = old.held.iter().map(|held| (held.sample.clone(), held.params_now(&old.engine))).collect();
        (n.body, n.up) = (Body::Engine(Box::new(host)), true);
        if self.host(node.0).conf.session_dir.is_some() {
            for (sample, params) in torrents {
                let host = self.host_mut(node.0);
                if let Some(id) = host.engine.find(sample.metainfo.info_hash) {
                    host.hold(id, sample, params);
                }
            }
            return self.service(node.0);
        }
        for (sample, params) in torrents {
            self.add_torrent(node, &sample, params);
        }
    }

    /// The same, without holding what its torrents claim against the truth: of those that sleep it is what was saved.
    #[cfg(test)]
    pub(super) fn restart_unchecked(&mut self, node: NodeId) {
        let held = std::mem::take(&mut self.host_mut(node.0).held);
        self.restart(node);
        drop(held);
    }

    /// A node's cable is cut (or mended): nothing reaches it or leaves it, and nobody is told. Connections do not survive that.
    pub fn set_cut(&mut self, node: NodeId, cut: bool) {
        self.nodes[node.0].cut = cut;
        for conn in self.conns_of(node.0) {
            if let Some(conn) = self.conns.get_mut(&conn) {
                conn.cut = true;
            }
        }
    }

    /// Jobs that no worker has begun are done as far as chance has it; nobody hears of it.
    fn interrupt_jobs(&mut self, node: usize) {
        let Body::Engine(host) = &self.nodes[node].body else { return };
        let (disk, runner) = (host.disk.clone(), &host.runner);
        disk.set_now(self.now);
        disk.set(|troubles| troubles.writes_left = Some(self.rng.below(100_000)));
        let begun = self.queue.extract_if(.., |_, event| matches!(event, Event::Run { node: n, .. } if *n == node));
        for (_, event) in begun.collect::<Vec<_>>() {
            if let Event::Run { job, .. } = event {
                runner.run(vec![job], &mut Vec::new());
            }
        }
        disk.set(|troubles| troubles.writes_left = None);
    }
}
