//! The engine's DHT node: its datagrams, names and deadlines, and the torrents that it announces.
//!
//! What the node does is `proto::dht`'s. Without
//! [`DhtConf::enabled`](crate::conf::DhtConf::enabled) there is none, and nothing here happens.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
};

use crate::{
    base::{
        arena::Key,
        ids::{InfoHash, TorrentId, WireHash},
        rng::Rng,
        storage::{RecordKind, SessionRecord},
        time::Instant,
        timers::Wakeup,
    },
    conf::{Bootstrap, Conf, Traffic},
    engine::{
        DatagramOwner, Effect, Engine, Verbs,
        dht_record::Recorded,
        io::Owner,
        names::{Asker, Lookup, Resolved},
    },
    proto::dht::{Announce, DhtEvent, DhtState, DhtStats, Node, Output, SearchId},
    wire::krpc::{Family, Item, NodeId},
};

/// Nodes that one torrent names and that are asked.
const TORRENT_NODES: usize = 16;
/// Events of searches that a verb has begun and that were not fetched; then the oldest are dropped.
const MAX_EVENTS: usize = 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Dht {
    node: Option<Box<Node>>,
    wakeup: Wakeup,
    /// What the node was told of each torrent.
    told: BTreeMap<Key, (Vec<NodeId>, Option<Announce>)>,
    /// Whose a hash is.
    torrents: BTreeMap<NodeId, Key>,
    /// Names that are being resolved, with the ports that belong to them.
    resolving: BTreeSet<(String, u16)>,
    /// What of it is in the session folder.
    recorded: Recorded,
    /// What searches of verbs brought.
    events: std::collections::VecDeque<DhtEvent>,
}

impl Dht {
    pub(super) fn new(conf: &Conf, rng: &mut Rng, now: Instant) -> Self {
        if !conf.dht.enabled || !conf.proxy.may_send_datagrams(Traffic::Dht) {
            return Self::default();
        }
        let mut seed = [0; 32];
        rng.fill(&mut seed);
        let mut families: Vec<_> =
            conf.network.listen.iter().map(|addr| Family::of(addr.ip())).collect();
        families.sort_unstable();
        families.dedup();
        if families.is_empty() {
            families.push(Family::V4);
        }
        let state = DhtState::decode(&conf.dht.state);
        let node = Node::new(conf.dht.clone(), &families, &seed, state, now);
        Self { node: Some(Box::new(node)), ..Self::default() }
    }
}

impl Engine {
    /// The node begins.
    pub(super) fn start_dht(&mut self) {
        self.drive_dht();
    }

    /// A datagram of the DHT came.
    pub(super) fn dht_datagram(&mut self, from: SocketAddr, data: &[u8]) {
        let now = self.cx.now;
        let blocked = self.cx.leases.filter().blocks(from.ip());
        let found = self.ways.proxy.remote_names.found(now, data);
        if let Some(node) = self.discovery.dht.node.as_mut().filter(|_| !blocked) {
            match found {
                Some((host, port)) => node.handle_resolved(now, &host, port, &[from]),
                None => node.handle_datagram(now, from, data),
            }
            self.drive_dht();
        }
    }

    pub(super) fn handle_dht_timeout(&mut self, at: Instant) {
        if !self.discovery.dht.wakeup.fire(at) {
            return;
        }
        if let Some(node) = &mut self.discovery.dht.node {
            node.handle_timeout(self.cx.now);
        }
        if self.discovery.dht.recorded.is_due(self.cx.now) {
            self.record_dht();
        }
        self.drive_dht();
    }

    /// A name that the node wants was resolved, or not.
    pub(super) fn dht_resolved(&mut self, host: &str, result: &Resolved) {
        let wanted: Vec<_> =
            self.discovery.dht.resolving.iter().filter(|(name, _)| name == host).cloned().collect();
        for (name, port) in wanted {
            self.dht_addresses(&name, port, result);
            self.discovery.dht.resolving.remove(&(name, port));
        }
        self.drive_dht();
    }

    fn dht_addresses(&mut self, host: &str, port: u16, result: &Resolved) {
        let ips = result.as_deref().unwrap_or_default();
        let addrs: Vec<_> = ips.iter().map(|&ip| SocketAddr::new(ip, port)).collect();
        let now = self.cx.now;
        if let Some(node) = &mut self.discovery.dht.node {
            node.handle_resolved(now, host, port, &addrs);
        }
    }

    // The session folder.

    /// Goes on with the state of a session folder, and keeps it there from now on. False if what
    /// was there is no state: then the node begins with nothing.
    pub(super) fn restore_dht(&mut self, state: Option<Vec<u8>>) -> bool {
        let now = self.cx.now;
        let Some(node) = &mut self.discovery.dht.node else { return true };
        self.discovery.dht.recorded.begin(now);
        let Some(bytes) = state else { return true };
        let Some(state) = DhtState::decode(&bytes) else {
            log::warn!("the session's DHT state is damaged; its table begins empty");
            return false;
        };
        node.restore(now, state);
        self.discovery.dht.recorded.note(bytes);
        self.drive_dht();
        true
    }

    /// Has the state recorded in the session folder, if there is one and anything is new.
    pub(super) fn record_dht(&mut self) {
        let state = self.dht_state().filter(|_| self.cx.recorder.is_on());
        let later = self.cx.recorder.is_waiting();
        if let Some(body) = self.discovery.dht.recorded.next(self.cx.now, state, later) {
            let info_hash = WireHash::v1(InfoHash([0; 20]));
            self.push_record(None, SessionRecord { kind: RecordKind::Dht, info_hash, body });
        }
    }

    /// It is recorded, or not.
    pub(super) fn dht_recorded(&mut self, safe: bool) {
        self.discovery.dht.recorded.handle_recorded(safe);
    }

    /// Does what the node wants done, and hears what it has to tell.
    fn drive_dht(&mut self) {
        while let Some(output) =
            self.discovery.dht.node.as_mut().and_then(|node| node.poll_output())
        {
            match output {
                Output::Send { to, data } => {
                    self.send_datagram(DatagramOwner::Dht, Traffic::Dht, to.into(), data);
                }
                Output::Resolve { host, port } => self.resolve_for_dht(host, port),
            }
        }
        let mut found: BTreeMap<(Key, bool), Vec<SocketAddr>> = BTreeMap::new();
        while let Some(event) = self.discovery.dht.node.as_mut().and_then(|node| node.poll_event())
        {
            let named = match &event {
                DhtEvent::Peers { info_hash, peers, .. }
                | DhtEvent::Stored { info_hash, peers } => Some((info_hash, peers)),
                _ => None,
            };
            if let Some((info_hash, peers)) = named
                && let Some(&torrent) = self.discovery.dht.torrents.get(info_hash)
            {
                let hashes = self.torrents.get(torrent).map(|torrent| *torrent.identity().hashes());
                let v2 = hashes.and_then(|hashes| hashes.v2()).map(|hash| hash.truncated());
                let by_v2 = v2.map(NodeId::from) == Some(*info_hash);
                found.entry((torrent, by_v2)).or_default().extend(peers);
            }
            if self.discovery.dht.events.len() >= MAX_EVENTS {
                self.discovery.dht.events.pop_front();
            }
            self.discovery.dht.events.push_back(event);
        }
        if let Some(at) = self.discovery.dht.node.as_ref().and_then(|node| node.poll_timeout())
            && self.discovery.dht.wakeup.want(at)
        {
            self.io.wake(at, Owner::Dht);
        }
        for ((key, by_v2), peers) in found {
            if let Some(torrent) = self.torrents.get_mut(key) {
                torrent.handle_dht_peers(&peers, by_v2, &mut self.cx);
                self.settle(key);
            }
        }
    }

    fn resolve_for_dht(&mut self, host: String, port: u16) {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return self.dht_addresses(&host, port, &Ok(vec![ip]));
        }
        if self.cx.conf.proxy.carries(Traffic::Dht) {
            return self.find_remotely(host, port);
        }
        match self.io.names.look_up(self.cx.now, Asker::Dht, &host) {
            Lookup::Known(known) => self.dht_addresses(&host, port, &known),
            Lookup::Shared => _ = self.discovery.dht.resolving.insert((host, port)),
            Lookup::Ask => {
                self.discovery.dht.resolving.insert((host.clone(), port));
                self.effect(Effect::Resolve { host });
            }
        }
    }

    /// A torrent may have begun or ceased to be one that the DHT hears of.
    pub(super) fn note_dht(&mut self, key: Key) {
        let told = self.cx.outbox.take_dht_nodes();
        let now = self.cx.now;
        let Some(node) = &mut self.discovery.dht.node else { return };
        let has_room = node.has_room();
        if !told.is_empty() {
            told.into_iter().for_each(|addr| node.add_node(now, addr));
            self.drive_dht();
        }
        let torrent = self.torrents.get(key).filter(|_| !self.shutdown.has_begun());
        let seed = torrent.and_then(|torrent| torrent.dht_seed());
        let ports = self.cx.leases.ports();
        let (port_v4, port_v6) = (ports.of(true), ports.of(false));
        let announce = seed.filter(|_| port_v4.or(port_v6).is_some()).map(|seed| Announce {
            port_v4,
            port_v6,
            implied_port: false,
            seed,
        });
        let known = self.discovery.dht.told.get(&key);
        // A torrent of a magnet link may turn out to have another hash, too.
        let count = torrent.map_or(0, |torrent| torrent.identity().hashes().wire_hashes().count());
        let same =
            |(hashes, before): &(Vec<NodeId>, _)| *before == announce && hashes.len() == count;
        let waits = known.is_none() && !has_room;
        if seed.is_some() == known.is_some() && known.is_none_or(same) || waits {
            return;
        }
        let mut hashes: Vec<_> = match torrent.filter(|_| seed.is_some()) {
            Some(torrent) => torrent
                .identity()
                .hashes()
                .wire_hashes()
                .map(|hash| NodeId::from(hash.hash))
                .collect(),
            None => Vec::new(),
        };
        let known = self.discovery.dht.told.remove(&key);
        let nodes = torrent.filter(|_| known.is_none() && seed.is_some());
        let mut nodes: Vec<_> =
            nodes.map(|torrent| torrent.dht_nodes().to_vec()).unwrap_or_default();
        nodes.truncate(TORRENT_NODES);
        let before = known.map(|(hashes, _)| hashes).unwrap_or_default();
        let Some(node) = &mut self.discovery.dht.node else { return };
        for (host, port) in nodes {
            node.add_bootstrap(now, Bootstrap { host: host.bare(), port, router: false });
        }
        for hash in before.iter().filter(|hash| !hashes.contains(hash)) {
            node.stop_announcing(now, hash);
            self.discovery.dht.torrents.remove(hash);
        }
        // One that finds no room is not told: it is tried again until there is some.
        hashes.retain(|&hash| node.announce(now, hash, announce));
        self.discovery.dht.torrents.extend(hashes.iter().map(|&hash| (hash, key)));
        if !hashes.is_empty() {
            self.discovery.dht.told.insert(key, (hashes, announce));
        }
        self.drive_dht();
    }

    /// What the DHT node has and did; `None` if there is none.
    pub fn dht_stats(&self) -> Option<DhtStats> {
        self.discovery.dht.node.as_ref().map(|node| node.stats(self.cx.now))
    }

    /// The state of the DHT node, to be given to the next run as
    /// [`DhtConf::state`](crate::conf::DhtConf::state); `None` if there is no node.
    pub fn dht_state(&self) -> Option<Vec<u8>> {
        self.discovery.dht.node.as_ref().map(|node| node.state().encode())
    }

    /// The node itself, for its getters: table, ids; `None` if there is none.
    pub fn dht(&self) -> Option<&Node> {
        self.discovery.dht.node.as_deref()
    }
}

impl Verbs<'_> {
    /// Tells the DHT node of another that may be there. It is asked before it is believed.
    pub fn dht_add_node(&mut self, addr: SocketAddr) {
        self.with_dht(|node, now| node.add_node(now, addr));
    }

    /// Tells the DHT node of another place to begin at, by name or address: it is asked now, and
    /// again whenever few nodes are known. The last 32 are kept, those of torrents among them.
    pub fn dht_add_bootstrap(&mut self, name: Bootstrap) {
        self.with_dht(|node, now| node.add_bootstrap(now, name));
    }

    /// Looks for peers of a torrent in the DHT once, whether the engine has it or not. What is
    /// found comes by [`dht_poll_event`](Self::dht_poll_event). `None` if there is no node.
    pub fn dht_find_peers(&mut self, info_hash: NodeId) -> Option<SearchId> {
        self.with_dht(|node, now| node.find_peers(now, info_hash, None))
    }

    /// Counts the peers of a torrent in the DHT (BEP 33); see [`Node::scrape`].
    pub fn dht_scrape(&mut self, info_hash: NodeId) -> Option<SearchId> {
        self.with_dht(|node, now| node.scrape(now, info_hash))
    }

    /// Looks for a value in the DHT (BEP 44); see [`Node::get`].
    pub fn dht_get(&mut self, target: NodeId, salt: &[u8]) -> Option<SearchId> {
        self.with_dht(|node, now| node.get(now, target, salt))
    }

    /// Stores a value in the DHT (BEP 44); see [`Node::put`].
    pub fn dht_put(&mut self, item: Item, cas: Option<i64>) -> Option<SearchId> {
        self.with_dht(|node, now| node.put(now, item, cas))
    }

    /// Asks nodes which info-hashes they store (BEP 51); see [`Node::sample`].
    pub fn dht_sample(&mut self, target: NodeId) -> Option<SearchId> {
        self.with_dht(|node, now| node.sample(now, target))
    }

    /// An interface or address of this machine has changed: the DHT node looks around again.
    pub fn dht_network_changed(&mut self) {
        self.with_dht(|node, now| node.handle_network_change(now));
    }

    /// The next thing that the DHT node told, if it is there. The last thousand are kept.
    pub fn dht_poll_event(&mut self) -> Option<DhtEvent> {
        self.engine.discovery.dht.events.pop_front()
    }

    /// Whether a torrent is told to the DHT now.
    pub fn is_on_dht(&self, id: TorrentId) -> bool {
        self.engine.discovery.dht.told.contains_key(&id.0)
    }

    fn with_dht<T>(&mut self, verb: impl FnOnce(&mut Node, Instant) -> T) -> Option<T> {
        let now = self.engine.cx.now;
        let out = self.engine.discovery.dht.node.as_mut().map(|node| verb(node, now));
        self.engine.drive_dht();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::ids::Identity, proto::dht::Announce, torrent::TorrentParams, wire::magnet::Magnet,
    };

    fn engine(set: impl FnOnce(&mut Conf)) -> Engine {
        let conf = Conf::default().with(|conf| {
            conf.dht.enabled = true;
            conf.network.listen = ["0.0.0.0:6881", "[::]:6882"].map(|a| a.parse().unwrap()).into();
        });
        let mut engine = Engine::new(conf.with(set), 1, Instant::ZERO).unwrap();
        engine.set_listen_addrs(["0.0.0.0:6881", "[::]:6882"].map(|a| a.parse().unwrap()));
        engine
    }

    fn add(engine: &mut Engine, n: u8) -> TorrentId {
        let magnet = Magnet::new(Identity::of_v1(InfoHash([n; 20])));
        engine.verbs().add_torrent(TorrentParams::from_magnet(magnet, "/d")).unwrap()
    }

    #[test]
    fn mapped_port_is_told_to_nodes_of_ipv4_alone() {
        let mut engine = engine(|_| {});
        engine.cx.leases.set_mapped_port(Some(7000));
        let torrent = add(&mut engine, 1);
        let told = engine.discovery.dht.told.get(&torrent.0).and_then(|(_, announce)| *announce);
        let (port_v4, port_v6) = (Some(7000), Some(6882));
        assert_eq!(told, Some(Announce { port_v4, port_v6, implied_port: false, seed: false }));
    }

    #[test]
    fn torrent_too_many_is_announced_when_there_is_room() {
        let mut engine = engine(|conf| conf.dht.max_tracked = 1);
        let (first, second) = (add(&mut engine, 1), add(&mut engine, 2));
        let told = |engine: &Engine, id: TorrentId| engine.discovery.dht.told.contains_key(&id.0);
        assert_eq!((told(&engine, first), told(&engine, second)), (true, false));
        assert_eq!(engine.discovery.dht.torrents.len(), 1);
        engine.verbs().pause(first).unwrap();
        engine.note_dht(second.0);
        assert_eq!((told(&engine, first), told(&engine, second)), (false, true));
    }
}
