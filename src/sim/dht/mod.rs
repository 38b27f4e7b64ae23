//! A network of DHT nodes on virtual time: round trips, loss, routers that let nothing in, nodes
//! that come and go.
//!
//! It runs the same [`Node`] as the engine. Addresses are made up and lead nowhere.
//!
//! ```
//! use std::time::Duration;
//!
//! use cratetorrent::{sim::dht::{Net, NetConf}, wire::krpc::NodeId};
//!
//! let mut net = Net::new(NetConf { nodes: 10, seed: 1, ..NetConf::default() });
//! net.run_for(Duration::from_secs(30));
//! assert!(net.stats(3).nodes_v4 >= 5);
//! ```

mod beside;
mod conf;
mod libtorrent;
mod queue;
mod scenario;
#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    fmt,
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::{
    base::{rng::Rng, time::Instant},
    conf::Bootstrap,
    proto::dht::{DhtEvent, DhtState, DhtStats, Node, Output},
    wire::krpc::{Family, NodeId, NodeInfo},
};
pub use conf::NetConf;
use libtorrent::LibtorrentLookup;
use queue::{Event, Queue};
pub use scenario::{Figures, Lookups, Measured, Miss, Steps, measure};

/// The name that leads to nodes of the network.
const NAME: &str = "bootstrap.sim";
/// How long it takes to resolve.
const RESOLVE_TIME: Duration = Duration::from_millis(30);
/// How long a router keeps a hole open after the last packet out.
const HOLE_TIME: Duration = Duration::from_secs(60);
/// Holes after which those that have closed are forgotten.
const MAX_HOLES: usize = 512;
/// Nodes that the name leads to: the first, which stay and are public.
const STAYING: usize = 3;

/// What answers a datagram in place of a node: source and bytes in, destinations and bytes out.
pub type Script = Box<dyn FnMut(Instant, SocketAddr, &[u8]) -> Vec<(SocketAddr, Vec<u8>)>>;

enum Body {
    Node(Box<Node>),
    Script(Script),
}

/// A place in the network and who has it now.
struct Slot {
    body: Body,
    addr: SocketAddr,
    /// Where it sent to, and when, if its router lets nothing else in.
    holes: Option<BTreeMap<SocketAddr, Instant>>,
    /// Counts the tenants.
    life: u32,
    /// It is asleep or has no network: nothing comes or goes, and no timer fires.
    up: bool,
    asleep: bool,
    woken_at: Option<Instant>,
    events: Vec<(Instant, DhtEvent)>,
    /// A look-up of libtorrent's kind that leaves from here.
    beside: Option<LibtorrentLookup>,
}

impl Slot {
    fn new(body: Body, addr: SocketAddr, nat: bool, life: u32) -> Self {
        Self {
            body,
            addr,
            holes: nat.then(BTreeMap::new),
            life,
            up: true,
            asleep: false,
            woken_at: None,
            events: Vec::new(),
            beside: None,
        }
    }
}

/// See the module.
pub struct Net {
    conf: NetConf,
    now: Instant,
    rng: Rng,
    slots: Vec<Slot>,
    places: BTreeMap<SocketAddr, usize>,
    queue: Queue,
    next_addr: u32,
    datagrams: u64,
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Net").field("now", &self.now).field("nodes", &self.slots.len()).finish()
    }
}

impl Net {
    /// A network whose nodes all start now.
    pub fn new(conf: NetConf) -> Self {
        let mut net = Self {
            now: Instant::ZERO,
            rng: Rng::new(conf.seed),
            slots: Vec::new(),
            places: BTreeMap::new(),
            queue: Queue::default(),
            next_addr: 0,
            datagrams: 0,
            conf,
        };
        for slot in 0..net.conf.nodes {
            let state = net.some_nodes(net.conf.nodes).filter(|_| slot >= STAYING);
            net.add_with(state);
        }
        net
    }

    /// What a node knows when it starts, if it knows anything: some of the first `nodes`.
    fn some_nodes(&mut self, nodes: usize) -> Option<DhtState> {
        let known = self.conf.known.min(nodes);
        let nodes = (0..known).map(|_| {
            let slot = self.rng.below(nodes as u64) as usize;
            // Those that are not there yet come in this order.
            let addr = self.addr(slot).unwrap_or_else(|| addr_of(slot as u32 + 1));
            NodeInfo { id: NodeId::default(), addr }
        });
        let nodes: Vec<_> = nodes.collect();
        (known > 0).then(|| DhtState { nodes, ..DhtState::default() })
    }

    /// The time.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Nodes and scripts.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Datagrams sent.
    pub fn datagrams(&self) -> u64 {
        self.datagrams
    }

    /// Whether a router lets nothing in that a node has not asked.
    pub fn is_behind_nat(&self, slot: usize) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.holes.is_some())
    }

    /// A node's address.
    pub fn addr(&self, slot: usize) -> Option<SocketAddr> {
        self.slots.get(slot).map(|slot| slot.addr)
    }

    /// A node's counts; zeros for a script.
    pub fn stats(&self, slot: usize) -> DhtStats {
        match self.slots.get(slot).map(|slot| &slot.body) {
            Some(Body::Node(node)) => node.stats(self.now),
            _ => DhtStats::default(),
        }
    }

    /// Another node at an address of its own.
    pub fn add_node(&mut self) -> usize {
        self.add_with(None)
    }

    /// The same with a saved state.
    pub fn add_with(&mut self, state: Option<DhtState>) -> usize {
        let slot = self.slots.len();
        let public = slot < STAYING || self.rng.below(100) >= self.conf.behind_nat;
        let addr = self.new_addr();
        let seed = self.new_seed();
        let node = self.new_node(slot, &seed, state, !public);
        self.place(slot, Body::Node(Box::new(node)), addr, !public);
        self.settle(slot);
        self.plan_end(slot);
        slot
    }

    /// A script at an address of its own.
    pub fn add_script(&mut self, script: Script) -> usize {
        let slot = self.slots.len();
        let addr = self.new_addr();
        self.place(slot, Body::Script(script), addr, false);
        slot
    }

    fn place(&mut self, slot: usize, body: Body, addr: SocketAddr, nat: bool) {
        self.places.insert(addr, slot);
        self.slots.push(Slot::new(body, addr, nat, 0));
    }

    /// Lets the owner of a node use its verbs.
    ///
    /// # Panics
    /// If there is a script or nothing in this place.
    pub fn with<T>(&mut self, slot: usize, verb: impl FnOnce(&mut Node, Instant) -> T) -> T {
        let now = self.now;
        let Some(Body::Node(node)) = self.slots.get_mut(slot).map(|slot| &mut slot.body) else {
            panic!("there is no node {slot}");
        };
        let out = verb(node, now);
        self.settle(slot);
        out
    }

    /// What a node told since the last time, and when.
    pub fn take_events(&mut self, slot: usize) -> Vec<(Instant, DhtEvent)> {
        self.slots.get_mut(slot).map(|slot| std::mem::take(&mut slot.events)).unwrap_or_default()
    }

    /// A script or node sends a datagram.
    pub fn send(&mut self, slot: usize, to: SocketAddr, data: Vec<u8>) {
        let Some(from) = self.slots.get(slot).map(|slot| slot.addr) else { return };
        self.send_from(slot, from, to, data);
    }

    /// The same with a source that is made up.
    pub fn send_from(&mut self, slot: usize, from: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        self.datagrams += 1;
        let Some(s) = self.slots.get_mut(slot).filter(|slot| slot.up) else { return };
        if let Some(holes) = &mut s.holes {
            holes.insert(to, self.now);
            if holes.len() > MAX_HOLES {
                let now = self.now;
                holes.retain(|_, &mut at| now.since(at) < HOLE_TIME);
            }
        }
        if self.rng.below(1000) < self.conf.lost {
            return;
        }
        let other = self.places.get(&to).copied().unwrap_or(slot);
        let delay = self.rtt(slot, other) / 2;
        self.push(delay, Event::Datagram { sender: slot, from, to, data });
    }

    /// Takes a node's network away, or gives it back. The node is not told.
    pub fn set_up(&mut self, slot: usize, up: bool) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.up = up;
        }
    }

    /// Suspends the machine of a node, or wakes it: then its timers are late.
    pub fn set_asleep(&mut self, slot: usize, asleep: bool) {
        let Some(s) = self.slots.get_mut(slot) else { return };
        (s.asleep, s.up, s.woken_at) = (asleep, !asleep, None);
        if !asleep {
            self.wake(slot);
        }
    }

    /// Moves a node to another address. The node is not told.
    pub fn move_node(&mut self, slot: usize) {
        let addr = self.new_addr();
        let Some(s) = self.slots.get_mut(slot) else { return };
        self.places.remove(&s.addr);
        s.addr = addr;
        s.holes.iter_mut().for_each(BTreeMap::clear);
        self.places.insert(addr, slot);
    }

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        self.run_until(end, |_| false);
    }

    /// Lets time pass until `end`, or until something is the case; true then.
    pub fn run_until(&mut self, end: Instant, mut is: impl FnMut(&mut Self) -> bool) -> bool {
        while let Some((at, event)) = self.queue.pop_due(end) {
            self.now = at.max(self.now);
            self.happen(event);
            if is(self) {
                return true;
            }
        }
        self.now = end.max(self.now);
        false
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Datagram { sender, from, to, data } => self.arrive(sender, from, to, &data),
            Event::Wake { slot, life, at } => {
                // Others were overtaken by an earlier one.
                let counts = self.slots.get(slot).is_some_and(|s| s.woken_at == Some(at));
                if counts && self.is_life(slot, life) {
                    self.wake(slot);
                }
            }
            Event::Resolved { slot, life, port } => {
                if !self.is_life(slot, life) || !self.slots.get(slot).is_some_and(|s| s.up) {
                    return;
                }
                let addrs: Vec<_> = (0..STAYING).filter_map(|n| self.addr(n)).collect();
                let own = self.addr(slot);
                let addrs: Vec<_> = addrs.into_iter().filter(|&a| Some(a) != own).collect();
                self.with(slot, |node, now| node.handle_resolved(now, NAME, port, &addrs));
            }
            Event::Tick { slot, life } => {
                if self.is_life(slot, life) {
                    self.tick_beside(slot);
                }
            }
            Event::Replace { slot, life } => {
                if self.is_life(slot, life) {
                    self.replace(slot);
                }
            }
        }
    }

    fn is_life(&self, slot: usize, life: u32) -> bool {
        self.slots.get(slot).is_some_and(|slot| slot.life == life)
    }

    fn arrive(&mut self, sender: usize, from: SocketAddr, to: SocketAddr, data: &[u8]) {
        let now = self.now;
        let Some(&slot) = self.places.get(&to) else { return };
        let Some(s) = self.slots.get_mut(slot).filter(|slot| slot.up) else { return };
        let admitted = s
            .holes
            .as_ref()
            .is_none_or(|holes| holes.get(&from).is_some_and(|&at| now.since(at) < HOLE_TIME));
        if !admitted || sender == slot {
            return;
        }
        if s.beside.as_mut().is_some_and(|beside| beside.handle_datagram(now, from, data)) {
            return self.settle_beside(slot);
        }
        match &mut s.body {
            Body::Node(node) => {
                node.handle_datagram(now, from, data);
                self.settle(slot);
            }
            Body::Script(script) => {
                let answers = script(now, from, data);
                answers.into_iter().for_each(|(to, data)| self.send(slot, to, data));
            }
        }
    }

    fn wake(&mut self, slot: usize) {
        let now = self.now;
        let Some(s) = self.slots.get_mut(slot).filter(|slot| !slot.asleep) else { return };
        s.woken_at = None;
        if let Body::Node(node) = &mut s.body {
            node.handle_timeout(now);
        }
        self.settle(slot);
    }

    /// Does what a node wants done.
    fn settle(&mut self, slot: usize) {
        let now = self.now;
        let Some(s) = self.slots.get_mut(slot) else { return };
        let Body::Node(node) = &mut s.body else { return };
        let outputs: Vec<_> = std::iter::from_fn(|| node.poll_output()).collect();
        let events = std::iter::from_fn(|| node.poll_event()).map(|event| (now, event));
        s.events.extend(events);
        let next = node.poll_timeout();
        let life = s.life;
        if let Some(at) = next.filter(|&at| s.woken_at.is_none_or(|before| at < before)) {
            s.woken_at = Some(at);
            self.push(at.since(now), Event::Wake { slot, life, at });
        }
        for output in outputs {
            match output {
                Output::Send { to, data } => self.send(slot, to, data),
                Output::Resolve { port, .. } => {
                    self.push(RESOLVE_TIME, Event::Resolved { slot, life, port });
                }
            }
        }
    }

    /// The node goes away without a word, and another comes elsewhere.
    fn replace(&mut self, slot: usize) {
        let state = self.some_nodes(self.slots.len());
        let seed = self.new_seed();
        let addr = self.new_addr();
        let nat = self.rng.below(100) < self.conf.behind_nat;
        let node = self.new_node(slot, &seed, state, nat);
        let Some(s) = self.slots.get_mut(slot) else { return };
        self.places.remove(&s.addr);
        let life = s.life + 1;
        *s = Slot::new(Body::Node(Box::new(node)), addr, nat, life);
        self.places.insert(addr, slot);
        self.settle(slot);
        self.plan_end(slot);
    }

    /// Draws how long a node stays.
    fn plan_end(&mut self, slot: usize) {
        let Some(half) = self.conf.half_life.filter(|_| slot >= STAYING) else { return };
        let life = self.slots.get(slot).map_or(0, |slot| slot.life);
        // Exponential: memoryless, as most of what is measured in the wild.
        let unit = (self.rng.below(1 << 53) + 1) as f64 / (1u64 << 53) as f64;
        let time = half.mul_f64(-unit.log2());
        self.push(time, Event::Replace { slot, life });
    }

    /// Keeps a node in its place.
    pub fn keep(&mut self, slot: usize) {
        if let Some(slot) = self.slots.get_mut(slot) {
            slot.life += 1;
            slot.woken_at = None;
        }
        self.settle(slot);
    }

    fn new_seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        self.rng.fill(&mut seed);
        seed
    }

    fn new_node(&self, slot: usize, seed: &[u8; 32], state: Option<DhtState>, nat: bool) -> Node {
        let mut conf = self.conf.dht.clone();
        conf.read_only |= nat && self.conf.read_only;
        if slot > 0 {
            conf.bootstrap = vec![Bootstrap { host: NAME.into(), port: 6881, router: false }];
        }
        Node::new(conf, &[Family::V4], seed, state, self.now)
    }

    /// Each in a /24 of its own.
    fn new_addr(&mut self) -> SocketAddr {
        self.next_addr += 1;
        addr_of(self.next_addr)
    }

    /// The round trip of a pair: always the same.
    fn rtt(&self, a: usize, b: usize) -> Duration {
        let (low, high) = self.conf.rtt;
        let pair = (a.min(b) as u64) << 32 | a.max(b) as u64;
        let ms = low * 1000 + Rng::new(self.conf.seed ^ pair).below((high - low) * 1000 + 1);
        Duration::from_micros(ms)
    }

    fn push(&mut self, after: Duration, event: Event) {
        self.queue.push(self.now + after, event);
    }

    /// A number in `0..n`, from the network's own chance.
    pub fn below(&mut self, n: u64) -> u64 {
        self.rng.below(n)
    }

    /// A random id.
    pub fn random_id(&mut self) -> NodeId {
        let mut id = NodeId::default();
        self.rng.fill(&mut id.0);
        id
    }
}

/// Address number `n` that is given away.
fn addr_of(n: u32) -> SocketAddr {
    let ip = Ipv4Addr::from(0x0b00_0001 + n * 256);
    SocketAddr::new(ip.into(), 6881)
}
