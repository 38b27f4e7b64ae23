//! The world: nodes, connections and one queue of events in order of time and, at the same time, of creation.
//!
//! It decides nothing about BitTorrent. It carries out what engines want, tells them what happened, and after every event holds
//! what they claim against the truth. Chance comes from one seed, so the same seed gives the same run, event by event.

use std::{collections::BTreeMap, fmt, io::IoSlice, net::SocketAddr, sync::Arc, time::Duration};

use super::{
    disk::MemDisk,
    net::{Line, Pipe},
    node::{Body, DiskPace, Host, Node, NodeId},
    sample::Sample,
    script::{Action, ConnId, Script, ScriptNode, Talk},
};
use crate::{
    alert::{Alert, Phase, TorrentStats},
    base::{arena::Key, bitfield::Bitfield, ids::TorrentId, job::Done, job::Job, rng::Rng, time::Instant},
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

    /// The most piece memory that a node ever used, in bytes.
    pub fn peak_memory(&self, node: NodeId) -> usize {
        self.host(node.0).peak_memory
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

    /// A killed node is started again, with the same torrents.
    pub fn restart(&mut self, node: NodeId) {
        let (seed, now) = (self.rng.next_u64(), self.now);
        let n = &mut self.nodes[node.0];
        let Body::Engine(old) = &n.body else { panic!("{node:?} has no engine to start") };
        assert!(!n.up, "{node:?} is not down");
        let mut host = Host::new(old.conf.clone(), old.disk.clone(), seed, now);
        host.alerts = old.alerts.clone();
        let torrents: Vec<_> = old.held.iter().map(|held| (held.sample.clone(), held.params.clone())).collect();
        (n.body, n.up) = (Body::Engine(Box::new(host)), true);
        for (sample, params) in torrents {
            self.add_torrent(node, &sample, TorrentParams { recheck: false, ..params });
        }
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

// The machinery.

impl World {
    fn schedule(&mut self, at: Instant, event: Event) {
        self.sequence += 1;
        self.queue.insert((at.max(self.now), self.sequence), event);
    }

    fn host(&self, node: usize) -> &Host {
        match &self.nodes[node].body {
            Body::Engine(host) => host,
            _ => panic!("node {node} runs no engine"),
        }
    }

    fn host_mut(&mut self, node: usize) -> &mut Host {
        match &mut self.nodes[node].body {
            Body::Engine(host) => host,
            _ => panic!("node {node} runs no engine"),
        }
    }

    fn dispatch(&mut self, event: Event) {
        let now = self.now;
        match event {
            Event::Connect { conn, addr } => self.connect(conn, addr),
            Event::Connected { conn } => self.connected(conn),
            Event::Refused { conn } => self.ended(conn, 1, CloseCause::Io(std::io::ErrorKind::ConnectionRefused)),
            Event::Depart { conn, side, bytes } => self.departed(conn, side, bytes),
            Event::Arrive { conn, side, bytes } => self.arrived(conn, side, &bytes),
            Event::End { conn, side, reset } => {
                let cause = if reset { CloseCause::Io(std::io::ErrorKind::ConnectionReset) } else { CloseCause::Eof };
                self.ended(conn, side, cause);
            }
            Event::Wake { node, life } => self.wake(node, life),
            Event::Run { node, life, job } if self.nodes[node].life == life => {
                let mut answers = Vec::new();
                let host = self.host_mut(node);
                host.disk.set_now(now);
                host.runner.run(vec![job], &mut answers);
                let delay = self.nodes[node].pace.draw(&mut self.rng);
                for done in answers {
                    self.schedule(now + delay, Event::Done { node, life, done });
                }
            }
            Event::Done { node, life, done } if self.nodes[node].life == life => {
                self.host_mut(node).engine.handle_done(now, done);
                self.service(node);
            }
            Event::Run { .. } | Event::Done { .. } => {}
            Event::Act(act) => act(self),
        }
    }

    fn wake(&mut self, node: usize, life: u32) {
        if self.nodes[node].life != life {
            return;
        }
        let now = self.now;
        match &mut self.nodes[node].body {
            Body::Engine(host) => {
                host.engine.handle_timeout(now);
                let next = host.engine.poll_timeout();
                assert!(next.is_none_or(|next| next > now), "node {node}: a timer is stuck at {next:?}, it is {now:?}");
                self.nodes[node].wake = None;
                self.service(node);
            }
            Body::Script(_) => self.act(node, |script, talk| script.tick(talk)),
        }
    }

    /// Carries out everything that a node's engine wants, then looks at it.
    fn service(&mut self, node: usize) {
        let now = self.now;
        while let Some(effect) = self.host_mut(node).engine.poll_effect() {
            match effect {
                Effect::Dial { link, addr } => {
                    let conn = self.dial(node, Some(link), addr);
                    let dials = self.conns.values().filter(|c| !c.made && c.ends[0].node == node && c.ends[0].open).count();
                    let host = self.host_mut(node);
                    host.links.insert(link, (conn, 0));
                    assert!(dials <= host.conf.max_dials, "node {node}: {dials} dials at a time");
                }
                Effect::Close { link } => {
                    if let Some((conn, side)) = self.host_mut(node).links.remove(&link) {
                        self.hang_up(conn, side, node, false);
                    }
                }
                Effect::Flush { link } => self.flush(node, link),
                Effect::Job(job) => {
                    let n = &mut self.nodes[node];
                    let (delay, life) = (n.pace.draw(&mut self.rng), n.life);
                    n.disk_free = n.disk_free.max(now) + n.pace.moving_time(&job);
                    let at = n.disk_free + delay;
                    self.schedule(at, Event::Run { node, life, job });
                }
            }
        }
        self.check(node);
    }

    /// What must hold after every event.
    fn check(&mut self, node: usize) {
        let now = self.now;
        let host = self.host_mut(node);
        let before = host.alerts.len();
        host.check(node, now);
        let news: Vec<String> = host.alerts[before..].iter().map(|(_, alert)| format!("{alert:?}")).collect();
        let next = host.engine.poll_timeout();
        news.iter().for_each(|alert| self.transcript.add_bytes(alert.as_bytes()));
        if let Some(next) = next.map(|next| next.max(now))
            && self.nodes[node].wake.is_none_or(|wake| next < wake)
        {
            let life = self.nodes[node].life;
            self.nodes[node].wake = Some(next);
            self.schedule(next, Event::Wake { node, life });
        }
    }

    // Connections.

    fn conns_of(&self, node: usize) -> Vec<u64> {
        let of_node = |c: &Conn| c.ends.iter().any(|end| end.node == node);
        self.conns.iter().filter(|(_, c)| of_node(c)).map(|(&id, _)| id).collect()
    }

    fn delay(&mut self, a: usize, b: usize) -> Duration {
        self.nodes[a].line.delay_to(&self.nodes[b].line, &mut self.rng)
    }

    fn dial(&mut self, from: usize, key: Option<Key>, addr: SocketAddr) -> u64 {
        let conn = self.next_conn;
        self.next_conn += 1;
        let to = self.nodes.iter().position(|n| n.addr == addr);
        let end = |node, key| End { node, key, open: true };
        let ends = [end(from, key), End { open: false, ..end(to.unwrap_or(from), None) }];
        let cut = self.nodes[from].cut || to.is_none_or(|to| self.nodes[to].cut);
        self.conns.insert(conn, Conn { ends, pipes: [Pipe::new(), Pipe::new()], made: false, cut });
        let delay = self.delay(from, to.unwrap_or(from));
        self.schedule(self.now + delay, Event::Connect { conn, addr });
        conn
    }

    /// A dial arrives.
    fn connect(&mut self, id: u64, _addr: SocketAddr) {
        let now = self.now;
        let Some(conn) = self.conns.get(&id).filter(|c| !c.cut) else { return };
        let (from, to) = (conn.ends[0].node, conn.ends[1].node);
        let back = now + self.delay(from, to);
        let node = &mut self.nodes[to];
        if !node.listening || node.cut || !node.up {
            return self.schedule(back, Event::Refused { conn: id });
        }
        let addr = self.nodes[from].outgoing_addr(id);
        let key = match &mut self.nodes[to].body {
            Body::Engine(host) => {
                let key = host.engine.handle_accepted(now, addr);
                key.inspect(|&key| _ = host.links.insert(key, (id, 1)))
            }
            _ => None,
        };
        let taken = key.is_some() || matches!(self.nodes[to].body, Body::Script(_));
        self.schedule(back, Event::Connected { conn: id });
        let Some(conn) = self.conns.get_mut(&id) else { return };
        conn.ends[1] = End { node: to, key, open: taken };
        // Nothing that the acceptor sends overtakes its answer.
        let _ = conn.pipes[1].departed(back, Duration::ZERO);
        match &self.nodes[to].body {
            Body::Engine(_) if taken => self.service(to),
            // It had no room, and closes what the system has accepted for it.
            Body::Engine(_) => self.schedule(back, Event::End { conn: id, side: 1, reset: false }),
            _ => self.act(to, |script, talk| script.connected(talk, ConnId(id), true)),
        }
    }

    fn connected(&mut self, id: u64) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id).filter(|c| !c.cut && c.ends[0].open) else { return };
        conn.made = true;
        let (node, key) = (conn.ends[0].node, conn.ends[0].key);
        match (&mut self.nodes[node].body, key) {
            (Body::Engine(host), Some(key)) => {
                host.engine.handle_connected(now, key);
                self.service(node);
            }
            (Body::Script(_), _) => self.act(node, |script, talk| script.connected(talk, ConnId(id), false)),
            _ => {}
        }
    }

    /// Moves what an engine has to send into its socket, as far as that takes it.
    fn flush(&mut self, node: usize, key: Key) {
        let now = self.now;
        let Self { nodes, conns, .. } = self;
        let n = &mut nodes[node];
        let Body::Engine(host) = &mut n.body else { return };
        let Some(&(id, side)) = host.links.get(&key) else { return };
        let Some(conn) = conns.get_mut(&id) else { return };
        let pipe = &mut conn.pipes[side];
        loop {
            let room = pipe.room(&n.line);
            let mut slices = [IoSlice::new(&[]); 16];
            let used = host.engine.poll_transmit(key, &mut slices);
            if used == 0 {
                break;
            }
            if room == 0 {
                pipe.blocked = true;
                break;
            }
            let mut left = room;
            for slice in &slices[..used] {
                let part = &slice[..slice.len().min(left)];
                pipe.push(part);
                left -= part.len();
            }
            assert!(left < room, "node {node}: nothing to send, in {used} slices");
            host.engine.handle_sent(now, key, room - left);
        }
        self.pump(id, side);
    }

    /// Lets the next segment leave.
    fn pump(&mut self, id: u64, side: usize) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let n = &mut self.nodes[conn.ends[side].node];
        let pipe = &mut conn.pipes[side];
        if let Some(bytes) = pipe.depart(&n.line, &mut self.rng) {
            let leaves = n.line_free.max(now) + n.line.sending_time(bytes.len());
            n.line_free = leaves;
            self.schedule(leaves, Event::Depart { conn: id, side, bytes });
        }
    }

    fn departed(&mut self, id: u64, side: usize, bytes: Vec<u8>) {
        let now = self.now;
        let Some(conn) = self.conns.get(&id) else { return };
        let (from, to) = (conn.ends[side].node, conn.ends[1 - side].node);
        let delay = self.delay(from, to);
        let Some(conn) = self.conns.get_mut(&id) else { return };
        let pipe = &mut conn.pipes[side];
        let at = pipe.departed(now, delay);
        let (blocked, over) = (std::mem::take(&mut pipe.blocked), pipe.ending && pipe.is_empty());
        let key = conn.ends[side].key.filter(|_| conn.ends[side].open);
        self.schedule(at, Event::Arrive { conn: id, side, bytes });
        if over {
            self.schedule(at, Event::End { conn: id, side, reset: false });
        } else if let Some(key) = key
            && blocked
        {
            // Writable again.
            self.flush(from, key);
            self.service(from);
        } else {
            self.feed(from, id);
        }
        self.pump(id, side);
    }

    fn arrived(&mut self, id: u64, side: usize, bytes: &[u8]) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id).filter(|c| !c.cut) else { return };
        let to = &conn.ends[1 - side];
        let (node, key, open) = (to.node, to.key, to.open);
        conn.pipes[side].arrived(bytes.len());
        if !open {
            return;
        }
        match &mut self.nodes[node].body {
            Body::Engine(host) => {
                if let Some(key) = key {
                    host.engine.handle_data(now, key, bytes);
                    self.service(node);
                }
            }
            Body::Script(scripted) if scripted.is_reading(ConnId(id)) => {
                self.act(node, |script, talk| script.data(talk, ConnId(id), bytes));
            }
            Body::Script(_) => conn.pipes[side].unread.extend_from_slice(bytes),
        }
        self.pump(id, side);
    }

    /// `node` closes its end, if this side is its end.
    fn hang_up(&mut self, id: u64, side: usize, node: usize, reset: bool) {
        let now = self.now;
        let Some(conn) = self.conns.get_mut(&id).filter(|c| c.ends[side].node == node && c.ends[side].open) else { return };
        conn.ends[side].open = false;
        if !conn.made && side == 0 {
            // Nobody has answered yet; the other side, if it did, hears of it.
            conn.made = true;
        }
        let pipe = &mut conn.pipes[side];
        pipe.ending = true;
        if reset {
            pipe.reset();
        }
        if reset || pipe.is_empty() {
            let (from, to) = (conn.ends[side].node, conn.ends[1 - side].node);
            let delay = self.delay(from, to);
            let at = self.conns.get_mut(&id).map_or(now, |conn| conn.pipes[side].departed(now, delay));
            self.schedule(at, Event::End { conn: id, side, reset });
        }
    }

    /// The other side of `side` learns that the connection is over.
    fn ended(&mut self, id: u64, side: usize, cause: CloseCause) {
        let now = self.now;
        let Some(conn) = self.conns.get(&id) else { return };
        if conn.cut {
            return;
        }
        let other = &conn.ends[1 - side];
        let (node, key, open) = (other.node, other.key, other.open);
        self.conns.remove(&id);
        if !open {
            return;
        }
        match &mut self.nodes[node].body {
            Body::Engine(host) => {
                if let Some(key) = key {
                    host.links.remove(&key);
                    host.engine.handle_closed(now, key, cause);
                    self.service(node);
                }
            }
            Body::Script(_) => self.act(node, |script, talk| script.closed(talk, ConnId(id))),
        }
    }

    // Scripts.

    /// Lets a script react, and does what it wants.
    fn act(&mut self, node: usize, react: impl FnOnce(&mut dyn Script, &mut Talk<'_>)) {
        let Self { nodes, rng, now, .. } = self;
        let Body::Script(scripted) = &mut nodes[node].body else { return };
        let mut actions = Vec::new();
        react(&mut *scripted.script, &mut Talk { now: *now, rng, actions: &mut actions });
        for action in actions {
            self.carry_out(node, action);
        }
    }

    fn carry_out(&mut self, node: usize, action: Action) {
        let Body::Script(scripted) = &mut self.nodes[node].body else { return };
        match action {
            Action::Send(conn, bytes) => {
                scripted.outbox(conn).extend(bytes);
                self.feed(node, conn.0);
            }
            Action::Close(conn) => {
                scripted.forget(conn);
                (0..2).for_each(|side| self.hang_up(conn.0, side, node, false));
            }
            Action::Wake(after) => {
                let (at, life) = (self.now + after, self.nodes[node].life);
                self.schedule(at, Event::Wake { node, life });
            }
            Action::Read(conn, reading) => {
                scripted.set_reading(conn, reading);
                let Some(c) = self.conns.get_mut(&conn.0).filter(|_| reading) else { return };
                let Some(side) = c.ends.iter().position(|end| end.node == node) else { return };
                let unread = std::mem::take(&mut c.pipes[1 - side].unread);
                if !unread.is_empty() {
                    self.act(node, |script, talk| script.data(talk, conn, &unread));
                    self.pump(conn.0, 1 - side);
                }
            }
            Action::Dial(addr) => {
                self.dial(node, None, addr);
            }
        }
    }

    /// Moves what a script has to send into its socket.
    fn feed(&mut self, node: usize, id: u64) {
        let Self { nodes, conns, .. } = self;
        let n = &mut nodes[node];
        let Body::Script(scripted) = &mut n.body else { return };
        let Some(conn) = conns.get_mut(&id) else { return };
        let Some(side) = conn.ends.iter().position(|end| end.node == node && end.open) else { return };
        let outbox = scripted.outbox(ConnId(id));
        let take = conn.pipes[side].room(&n.line).min(outbox.len());
        let bytes: Vec<u8> = outbox.drain(..take).collect();
        conn.pipes[side].push(&bytes);
        self.pump(id, side);
    }
}
