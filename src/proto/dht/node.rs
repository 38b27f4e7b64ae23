//! The node: its parts, its owner's verbs, and what its timers do.

mod replies;
mod search;
mod server;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use super::{
    announces::{Announce, Announces},
    bootstrap::Bootstrap,
    calls::{Age, Calls, Purpose},
    event::{DhtEvent, DhtStats, Output, SearchId, Step},
    guard::Guard,
    lookup::Lookup,
    secret::Secret,
    side::Side,
    state::DhtState,
    storage::Storage,
    table::{Contact, K},
};
use crate::{
    base::{rng::Rng, time::Instant, timers::TimerTable},
    conf::{Bootstrap as Name, DhtConf},
    wire::krpc::{Body, Family, Item, KrpcError, Message, Method, NodeId, NodeInfo, Query, Want},
};
use search::{Goal, Search, Waiting};

const PING: usize = 0;
const PROBE: usize = 1;
const BOOTSTRAP: usize = 2;
const REFRESH: usize = 3;
const ANNOUNCE: usize = 4;
const SWEEP: usize = 5;

/// The pause between two pings while we are offline: the first answer tells that we are not.
const OFFLINE_PING: Duration = Duration::from_secs(2);
/// How often the storage is swept.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// The first pauses between refreshing look-ups, and their number; later ones grow.
const REFRESH_PAUSE: Duration = Duration::from_secs(2);
const FIRST_REFRESHES: u32 = 8;
const MAX_REFRESH_PAUSE: Duration = Duration::from_secs(600);
/// A timer that is so late means that the machine has slept: the pings alone are more frequent.
const SLEPT: Duration = Duration::from_secs(60);
/// Nodes that are asked at once when the network may be another.
const FEELERS: usize = 8;
/// The least time between two rounds of asking around about our address.
const DOUBT_PAUSE: Duration = Duration::from_secs(20);

/// A node of the DHT; see the [module](super).
#[derive(Debug)]
pub struct Node {
    pub(super) conf: DhtConf,
    pub(super) secret: Secret,
    pub(super) rng: Rng,
    pub(super) sides: [Option<Side>; 2],
    pub(super) calls: Calls,
    pub(super) lookups: BTreeMap<u64, Lookup>,
    /// Look-ups that could not send all they wanted to.
    pub(super) starved: BTreeSet<u64>,
    pub(super) searches: BTreeMap<SearchId, Search>,
    pub(super) waiting: Waiting,
    pub(super) announces: Announces,
    pub(super) storage: Storage,
    pub(super) guard: Guard,
    pub(super) bootstrap: Bootstrap,
    pub(super) probes: VecDeque<SocketAddr>,
    pub(super) timers: Timers,
    pub(super) outputs: VecDeque<Output>,
    pub(super) events: VecDeque<DhtEvent>,
    pub(super) stats: DhtStats,
    pub(super) trace: bool,
    pub(super) next_id: u64,
}

/// When what is due, and how far the refreshing is.
#[derive(Debug)]
pub(super) struct Timers {
    table: TimerTable<6>,
    refreshes: u32,
    pings: usize,
    /// When we last heard of time or the network.
    last: Instant,
}

impl Node {
    /// A node for these families, with a state that was saved, if there is one. `seed` must be
    /// random and is kept secret: what others must not guess is made with it.
    ///
    /// `conf` must be [valid](DhtConf::validate).
    pub fn new(
        conf: DhtConf,
        families: &[Family],
        seed: &[u8; 32],
        state: Option<DhtState>,
        now: Instant,
    ) -> Self {
        let secret = Secret::new(seed);
        let mut rng = Rng::new(secret.seed());
        let state = state.unwrap_or_default();
        let mut random = [0; 20];
        rng.fill(&mut random);
        let side = |family, id: Option<NodeId>| {
            families.contains(&family).then(|| Side::new(family, id.unwrap_or(NodeId(random))))
        };
        let sides = [side(Family::V4, state.id_v4), side(Family::V6, state.id_v6)];
        let cold = state.nodes.into_iter().take(4 * conf.max_saved_nodes).collect();
        let mut table = TimerTable::new();
        table.set(PING, now + conf.ping_interval);
        table.set(BOOTSTRAP, now);
        table.set(SWEEP, now + SWEEP_INTERVAL);
        Self {
            guard: Guard::new(now, &conf),
            bootstrap: Bootstrap::new(&conf, cold),
            conf,
            secret,
            rng,
            sides,
            calls: Calls::new(),
            lookups: BTreeMap::new(),
            starved: BTreeSet::new(),
            searches: BTreeMap::new(),
            waiting: Waiting::default(),
            announces: Announces::default(),
            storage: Storage::default(),
            probes: VecDeque::new(),
            timers: Timers { table, refreshes: 0, pings: 0, last: now },
            outputs: VecDeque::new(),
            events: VecDeque::new(),
            stats: DhtStats::default(),
            trace: false,
            next_id: 1,
        }
    }

    // Getters.

    /// Our id in a family's DHT, if we take part in it.
    pub fn id(&self, family: Family) -> Option<NodeId> {
        self.side(family).map(Side::id)
    }

    /// The nodes of a family's table, the farthest first.
    pub fn table(&self, family: Family) -> impl Iterator<Item = &Contact> {
        self.side(family).into_iter().flat_map(|side| side.table.iter())
    }

    /// The nodes that we know closest to a target, nearest first, at most `count`.
    pub fn closest(&self, family: Family, target: &NodeId, count: usize) -> Vec<NodeInfo> {
        self.side(family).map_or_else(Vec::new, |side| side.table.closest(target, count, None))
    }

    /// Whether packets of this address may be of this node's business: they begin as those of the
    /// DHT do.
    pub fn is_krpc(data: &[u8]) -> bool {
        data.len() > 10 && data.starts_with(b"d1:") && data.ends_with(b"e")
    }

    /// Counts.
    pub fn stats(&self, now: Instant) -> DhtStats {
        let nodes = |family| self.side(family).map_or(0, |side| side.table.len());
        let (stored_torrents, stored_peers, stored_items) = self.storage.counts();
        DhtStats {
            nodes_v4: nodes(Family::V4),
            nodes_v6: nodes(Family::V6),
            offline: self.sides.iter().flatten().all(|side| !side.online),
            lookups: self.lookups.len(),
            waiting: self.waiting.len(),
            tracked: self.announces.len(),
            stored_torrents,
            stored_peers,
            stored_items,
            blocked_hosts: self.guard.blocked(now, self.conf.flood_block),
            ..self.stats
        }
    }

    /// What to save, to begin with next time.
    pub fn state(&self) -> DhtState {
        let mut state = DhtState {
            id_v4: self.id(Family::V4),
            id_v6: self.id(Family::V6),
            ..DhtState::default()
        };
        for side in self.sides.iter().flatten() {
            let mut nodes: Vec<_> = side.table.iter().filter(|c| c.failures < 2).collect();
            // The nearest first: there are few that know our neighbourhood.
            nodes.reverse();
            nodes.truncate(self.conf.max_saved_nodes);
            state.nodes.extend(nodes.into_iter().map(|contact| contact.info));
            // One that never got online does not lose what it began with.
            let of = |n: &&NodeInfo| Family::of(n.addr.ip()) == side.family;
            let cold = self.bootstrap.cold().iter().filter(of).filter(|_| side.table.len() == 0);
            state.nodes.extend(cold.take(self.conf.max_saved_nodes));
        }
        state
    }

    // Verbs.

    /// A node that may be there, by a peer's port message or a torrent's list: it is asked before
    /// it enters the table.
    pub fn add_node(&mut self, now: Instant, addr: SocketAddr) {
        self.probe(now, addr);
    }

    /// Another place to begin at.
    pub fn add_bootstrap(&mut self, now: Instant, name: Name) {
        if self.bootstrap.add(name.clone()) && self.is_low() {
            self.outputs.push_back(Output::Resolve { host: name.host, port: name.port });
            self.arm(BOOTSTRAP, now + self.conf.bootstrap_retry_min);
        }
    }

    /// Looks for peers of a torrent once, and announces us to the closest nodes at the end. Peers
    /// come as [`DhtEvent::Peers`], each at the first response that has it.
    pub fn find_peers(
        &mut self,
        now: Instant,
        info_hash: NodeId,
        announce: Option<Announce>,
    ) -> SearchId {
        self.search(now, info_hash, Goal::Peers { announce, scrape: false }, false)
    }

    /// Counts the peers of a torrent (BEP 33); the result is in the outcome.
    pub fn scrape(&mut self, now: Instant, info_hash: NodeId) -> SearchId {
        let goal = Goal::Peers { announce: None, scrape: true };
        self.search(now, info_hash, goal, true)
    }

    /// Looks for peers of a torrent now and every quarter of an hour, and announces us, until
    /// [`stop_announcing`](Self::stop_announcing). Without an `announce` it only looks. False if
    /// there are too many.
    pub fn announce(
        &mut self,
        now: Instant,
        info_hash: NodeId,
        announce: Option<Announce>,
    ) -> bool {
        let taken = self.announces.track(now, info_hash, announce, &self.conf);
        self.arm_announces();
        taken
    }

    /// No longer looks for a torrent.
    pub fn stop_announcing(&mut self, info_hash: &NodeId) {
        self.announces.untrack(info_hash);
    }

    /// Looks for a value (BEP 44). `salt` is that of a mutable one, empty for none. The best value
    /// so far comes as [`DhtEvent::Value`].
    pub fn get(&mut self, now: Instant, target: NodeId, salt: &[u8]) -> SearchId {
        self.search(now, target, Goal::Item { salt: salt.to_vec(), best: None, put: None }, false)
    }

    /// Stores a value (BEP 44), which must be [valid](Item::verify). With `cas`, only nodes that
    /// have the value of this sequence number, or none, store it. A value is to be stored again
    /// every hour.
    pub fn put(&mut self, now: Instant, item: Item, cas: Option<i64>) -> SearchId {
        let salt = match &item {
            Item::Mutable(item) => item.salt.clone(),
            Item::Immutable { .. } => Vec::new(),
        };
        let put = Some(Box::new((item.clone(), cas)));
        self.search(now, item.target(), Goal::Item { salt, best: None, put }, false)
    }

    /// Asks nodes on the way to a target which info-hashes they store (BEP 51).
    pub fn sample(&mut self, now: Instant, target: NodeId) -> SearchId {
        self.search(now, target, Goal::Samples, true)
    }

    /// Whether steps of searches are told.
    pub fn set_trace(&mut self, trace: bool) {
        self.trace = trace;
    }

    // Inputs.

    /// A datagram has come.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        self.note_time(now);
        self.stats.received += 1;
        self.stats.received_bytes += data.len() as u64;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let family = Family::of(from.ip());
        let heard = self.side(family).is_some()
            && from.port() != 0
            && self.guard.admits(now, from, &self.conf);
        if !heard {
            self.stats.ignored += 1;
            return;
        }
        match Message::decode(data) {
            Ok(Message { transaction, ip, body, .. }) => match body {
                Body::Query(query) => self.handle_query(now, from, &transaction, query),
                Body::Response(response) => {
                    self.handle_response(now, from, &transaction, ip, *response)
                }
                Body::Error { .. } => self.handle_error(now, from, &transaction),
            },
            Err(KrpcError::Query { transaction, what, code }) => {
                self.stats.queries += 1;
                let error = Message::error(&transaction, code, &format!("unusable {what}"));
                self.answer(now, from, error);
            }
            Err(_) => self.stats.ignored += 1,
        }
        self.pump_starved(now);
    }

    /// It is time for something, or not.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.note_time(now);
        while let Some(aged) = self.calls.pop_due(now, &self.conf) {
            match aged.age {
                Age::Fresh => {}
                Age::Slow => self.handle_slow(now, aged.to, aged.purpose, aged.packet),
                Age::Late => self.handle_late(now, aged.purpose),
                Age::Lost => self.handle_lost(now, aged.to),
            }
        }
        if self.timers.table.fire(BOOTSTRAP, now) {
            self.bootstrap(now);
        }
        if self.timers.table.fire(PING, now) {
            self.ping_stalest(now);
        }
        if self.timers.table.fire(PROBE, now) {
            self.ping_probe(now);
        }
        if self.timers.table.fire(REFRESH, now) {
            self.refresh(now);
        }
        if self.timers.table.fire(ANNOUNCE, now) {
            self.begin_announces(now);
        }
        if self.timers.table.fire(SWEEP, now) {
            self.storage.sweep(now, &self.conf);
            self.timers.table.set(SWEEP, now + SWEEP_INTERVAL);
        }
        self.pump_starved(now);
        self.pump_waiting(now);
    }

    /// A name that was to be resolved has these addresses; none if it has none, or there is no
    /// network.
    pub fn handle_resolved(&mut self, now: Instant, host: &str, port: u16, addrs: &[SocketAddr]) {
        for addr in self.bootstrap.resolved(host, port, addrs) {
            let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            self.feel(now, addr);
        }
    }

    /// An interface or address has changed, or the machine has slept: what was asked is asked
    /// again, and torrents are announced from where we are now.
    pub fn handle_network_change(&mut self, now: Instant) {
        self.calls.clear();
        for lookup in self.lookups.values_mut() {
            lookup.restart(now);
        }
        self.starved = self.lookups.keys().copied().collect();
        for search in self.searches.values_mut() {
            search.storing = 0;
        }
        self.bootstrap.reset(&self.conf);
        self.announces.hurry(now, true);
        self.arm_announces();
        let feelers: Vec<_> = self
            .sides
            .iter()
            .flatten()
            .flat_map(|side| (0..FEELERS).filter_map(|turn| side.table.rotation(turn)))
            .map(|contact| contact.info.addr)
            .collect();
        feelers.into_iter().for_each(|addr| self.feel(now, addr));
        self.restart_refresh(now + REFRESH_PAUSE);
        self.arm(BOOTSTRAP, now);
        self.end_searches(now);
        self.pump_starved(now);
    }

    // Outputs.

    /// The next thing to do for the node.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<DhtEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.timers.table.next().into_iter().chain(self.calls.next_deadline()).min()
    }

    // What the parts share.

    pub(super) fn side(&self, family: Family) -> Option<&Side> {
        let [v4, v6] = &self.sides;
        match family {
            Family::V4 => v4.as_ref(),
            Family::V6 => v6.as_ref(),
        }
    }

    pub(super) fn side_mut(&mut self, family: Family) -> Option<&mut Side> {
        let [v4, v6] = &mut self.sides;
        match family {
            Family::V4 => v4.as_mut(),
            Family::V6 => v6.as_mut(),
        }
    }

    /// The families that we take part in.
    pub(super) fn families(&self) -> Vec<Family> {
        self.sides.iter().flatten().map(|side| side.family).collect()
    }

    /// Tells something. Steps are dropped when nothing fetches them, then what is oldest.
    pub(super) fn tell(&mut self, event: DhtEvent) {
        if self.events.len() >= self.conf.max_events {
            if matches!(event, DhtEvent::Step { .. }) {
                return;
            }
            let step = self.events.iter().position(|e| matches!(e, DhtEvent::Step { .. }));
            self.events.remove(step.unwrap_or(0));
        }
        self.events.push_back(event);
    }

    pub(super) fn tell_step(&mut self, search: SearchId, step: Step) {
        let user = self.searches.get(&search).is_some_and(|search| !search.is_internal());
        if self.trace && user {
            self.tell(DhtEvent::Step { search, step });
        }
    }

    pub(super) fn transmit(&mut self, to: SocketAddr, data: Vec<u8>) {
        self.stats.sent += 1;
        self.stats.sent_bytes += data.len() as u64;
        self.outputs.push_back(Output::Send { to, data });
    }

    /// Sends a query. False if it cannot be sent now.
    pub(super) fn ask(
        &mut self,
        now: Instant,
        to: SocketAddr,
        method: Method,
        purpose: Purpose,
    ) -> bool {
        let family = Family::of(to.ip());
        let Some(id) = self.id(family) else { return false };
        if self.calls.len() >= self.conf.max_pending {
            return false;
        }
        let transaction = loop {
            let transaction = self.secret.transaction();
            if !self.calls.contains(transaction) {
                break transaction;
            }
        };
        let nodes = matches!(method, Method::FindNode { .. } | Method::GetPeers { .. });
        let want = nodes.then(|| self.want(family)).flatten();
        let query = Query { id, read_only: self.conf.read_only, want, method };
        let mut message = Message::query(&transaction.to_be_bytes(), query);
        message.version = Some(self.conf.version);
        let packet = message.encode();
        if let Some(side) = self.side_mut(family) {
            side.table.note_asked(now, to);
        }
        self.calls.begin(now, transaction, to, purpose, packet.clone(), &self.conf);
        self.transmit(to, packet);
        true
    }

    /// Nodes of the other family are asked for while its table is low (BEP 32).
    fn want(&self, family: Family) -> Option<Want> {
        let other = match family {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        };
        let low = self.side(other)?.table.len() < self.conf.low_table;
        low.then_some(Want { v4: true, v6: true })
    }

    /// Asks an address for nodes near ourselves.
    pub(super) fn feel(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(id) = self.id(Family::of(addr.ip())) {
            self.ask(now, addr, Method::FindNode { target: id }, Purpose::Bootstrap);
        }
    }

    /// Notes a node that may be new, to be asked in its turn.
    pub(super) fn probe(&mut self, now: Instant, addr: SocketAddr) {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        let takes_part = self.side(Family::of(addr.ip())).is_some();
        let known = self.probes.contains(&addr) || self.bootstrap.is_router(addr);
        if !takes_part || addr.port() == 0 || known || self.probes.len() >= self.conf.max_probes {
            return;
        }
        self.probes.push_back(addr);
        if self.timers.table.get(PROBE).is_none() {
            self.timers.table.set(PROBE, now);
        }
    }

    /// Whether a table has too few nodes.
    pub(super) fn is_low(&self) -> bool {
        let low = self.conf.low_table;
        self.sides.iter().flatten().any(|side| side.table.len() < low)
    }

    /// Sets a timer, unless it comes sooner.
    fn arm(&mut self, timer: usize, at: Instant) {
        if self.timers.table.get(timer).is_none_or(|before| before > at) {
            self.timers.table.set(timer, at);
        }
    }

    pub(super) fn arm_announces(&mut self) {
        match self.announces.next_due() {
            Some(at) => self.timers.table.set(ANNOUNCE, at),
            None => self.timers.table.stop(ANNOUNCE),
        }
    }

    /// Refreshing begins anew: there is much to learn.
    pub(super) fn restart_refresh(&mut self, at: Instant) {
        self.timers.refreshes = 0;
        self.arm(REFRESH, at);
    }

    /// A family's first node answered, or the first after silence.
    pub(super) fn note_online(&mut self, now: Instant, family: Family) {
        let Some(side) = self.side_mut(family) else { return };
        side.silent = 0;
        if std::mem::replace(&mut side.online, true) {
            return;
        }
        self.tell(DhtEvent::Online { family });
        self.announces.hurry(now, false);
        self.arm_announces();
        self.restart_refresh(now);
        self.pump_waiting(now);
    }

    /// Nodes disagree with what we took for our address.
    pub(super) fn note_doubt(&mut self, now: Instant, family: Family) {
        let Some(side) = self.side_mut(family) else { return };
        if side.external.agreed().is_some()
            && side.doubted.is_none_or(|at| now.since(at) >= DOUBT_PAUSE)
        {
            side.doubted = Some(now);
            self.restart_refresh(now);
        }
    }

    /// Enough nodes agree on our address: the id follows it (BEP 42).
    pub(super) fn note_external(
        &mut self,
        now: Instant,
        family: Family,
        addr: SocketAddr,
        moved: bool,
    ) {
        let mut random = [0; 20];
        self.rng.fill(&mut random);
        let Some(side) = self.side_mut(family) else { return };
        if !side.id().fits(addr.ip()) {
            side.table.move_to(NodeId::from_ip(addr.ip(), random));
            self.restart_refresh(now);
        }
        self.tell(DhtEvent::ExternalAddress { addr });
        if moved {
            self.announces.hurry(now, true);
            self.arm_announces();
        }
    }

    // What the timers do.

    /// A clock that has jumped means that we slept.
    fn note_time(&mut self, now: Instant) {
        let before = std::mem::replace(&mut self.timers.last, now);
        let due = self.poll_timeout().unwrap_or(now);
        if now.since(before) >= SLEPT && now.since(due) >= SLEPT {
            self.handle_network_change(now);
        }
    }

    /// A query is lost: its node fails, unless nothing answers at all.
    fn handle_lost(&mut self, now: Instant, to: SocketAddr) {
        let family = Family::of(to.ip());
        self.stats.timeouts += 1;
        let (offline_after, max_failures) = (self.conf.offline_after, self.conf.max_failures);
        let Some(side) = self.side_mut(family) else { return };
        side.silent = side.silent.saturating_add(1);
        if side.silent < offline_after {
            side.table.node_failed(to, max_failures);
        } else if std::mem::replace(&mut side.online, false) {
            self.tell(DhtEvent::Offline { family });
            self.arm(PING, now + OFFLINE_PING);
        }
    }

    /// Names are resolved and saved nodes asked, as long as a table is low.
    fn bootstrap(&mut self, now: Instant) {
        if !self.is_low() {
            self.bootstrap.reset(&self.conf);
            return;
        }
        let names: Vec<_> = self.bootstrap.names().cloned().collect();
        for Name { host, port, .. } in names {
            self.outputs.push_back(Output::Resolve { host, port });
        }
        for node in self.bootstrap.round() {
            self.feel(now, node.addr);
        }
        let pause = self.bootstrap.next_pause(now, &self.conf);
        self.timers.table.set(BOOTSTRAP, now + pause);
    }

    /// The node that was asked longest ago is asked again: for nodes where its bucket has room.
    fn ping_stalest(&mut self, now: Instant) {
        let mut pause = self.conf.ping_interval;
        self.timers.pings = self.timers.pings.wrapping_add(1);
        let turn = self.timers.pings;
        for family in self.families() {
            let Some(side) = self.side(family) else { continue };
            let offline = !side.online && side.table.len() > 0;
            let contact = if offline { side.table.rotation(turn) } else { side.table.stalest() };
            let Some(contact) = contact else { continue };
            let at = side.id().shared_bits(&contact.info.id);
            let method = if side.table.is_full(at) {
                Method::Ping
            } else {
                Method::FindNode { target: self.random_in_bucket(family, at) }
            };
            if offline {
                pause = pause.min(OFFLINE_PING);
            }
            self.ask(now, contact.info.addr, method, Purpose::Ping);
        }
        self.timers.table.set(PING, now + pause);
        if self.is_low() && self.timers.table.get(BOOTSTRAP).is_none() {
            self.timers.table.set(BOOTSTRAP, now);
        }
    }

    fn ping_probe(&mut self, now: Instant) {
        if let Some(addr) = self.probes.pop_front() {
            self.ask(now, addr, Method::Ping, Purpose::Ping);
        }
        if !self.probes.is_empty() {
            self.timers.table.set(PROBE, now + self.conf.probe_interval);
        }
    }

    /// Looks for nodes near us and in buckets that have room, less and less often.
    fn refresh(&mut self, now: Instant) {
        let step = self.timers.refreshes;
        self.timers.refreshes = step.saturating_add(1);
        for family in self.families() {
            let Some(side) = self.side(family).filter(|side| side.table.len() > 0) else {
                continue;
            };
            let own = side.id();
            let depth = side.table.depth().max(1);
            let bucket = step as usize / 2 % depth;
            if step.is_multiple_of(2) {
                if !side.finding_self {
                    self.find_self(now, family, &[]);
                }
            } else if !side.table.is_full(bucket) {
                let target = self.random_in_bucket(family, bucket);
                self.search_nodes(now, family, target);
            } else {
                let target = own.with_flipped_bit(bucket + 1);
                self.search_nodes(now, family, target);
            }
        }
        let grown = REFRESH_PAUSE * 2u32.saturating_pow(step.saturating_sub(FIRST_REFRESHES));
        let pause = if step < FIRST_REFRESHES { REFRESH_PAUSE } else { grown };
        self.timers.table.set(REFRESH, now + pause.min(MAX_REFRESH_PAUSE));
    }

    /// A random id that shares exactly so many bits with ours.
    fn random_in_bucket(&mut self, family: Family, at: usize) -> NodeId {
        let own = self.id(family).unwrap_or_default();
        let mut random = NodeId::default();
        self.rng.fill(&mut random.0);
        (0..=at.min(159)).fold(random, |id, bit| {
            let want = if bit == at { !own.bit(bit) } else { own.bit(bit) };
            if id.bit(bit) == want { id } else { id.with_flipped_bit(bit) }
        })
    }

    fn begin_announces(&mut self, now: Instant) {
        while let Some(due) = self.announces.pop_due(now, &self.conf) {
            let goal = Goal::Peers { announce: due.announce, scrape: false };
            let search = self.search(now, due.hash, goal, !due.fresh);
            self.announces.note_search(&due.hash, search);
        }
        self.arm_announces();
    }

    /// The nodes that a look-up begins with.
    pub(super) fn seeds(&self, family: Family, target: &NodeId) -> Vec<NodeInfo> {
        let mut seeds = self.closest(family, target, 3 * K);
        seeds.extend(self.announces.closest(target));
        if seeds.len() < 2 * K {
            let mut cold = self.bootstrap.cold().to_vec();
            cold.sort_by_key(|node| node.id.distance(target));
            seeds.extend(cold.into_iter().take(2 * K));
        }
        seeds
    }
}
