//! The node: its owner's verbs, and the way of everything between its parts.
//!
//! Each part knows its own business only; what one needs of another passes through here.

mod chores;
mod queries;
mod replies;

use std::{collections::BTreeSet, net::SocketAddr};

use super::{
    announces::{Announce, Announces},
    calls::{Age, Calls},
    event::{DhtEvent, DhtStats, Output, SearchId},
    outbox::Outbox,
    probes::Hint,
    search::{Finished, Goal},
    searches::Searches,
    secret::Secret,
    server::{Asked, Server},
    side::Sides,
    state::DhtState,
    table::Contact,
    upkeep::{Chore, Upkeep},
};
use crate::{
    base::time::Instant,
    conf::{Bootstrap as Name, DhtConf},
    wire::krpc::{Body, Family, Item, KrpcError, Message, Method, NodeId, NodeInfo, Query},
};

/// Nodes that are asked at once when the network may be another.
const FEELERS: usize = 8;

/// A node of the DHT; see the [module](super).
#[derive(Debug)]
pub struct Node {
    conf: DhtConf,
    sides: Sides,
    calls: Calls,
    searches: Searches,
    announces: Announces,
    server: Server,
    upkeep: Upkeep,
    outbox: Outbox,
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
        let mut rng = secret.rng();
        let mut random = [0; 20];
        rng.fill(&mut random);
        let mut node = Self {
            sides: Sides::new(families, NodeId(random)),
            calls: Calls::new(secret.transactions()),
            searches: Searches::new(),
            announces: Announces::new(rng.fork(1)),
            server: Server::new(now, secret, rng.fork(2), &conf),
            upkeep: Upkeep::new(now, rng.fork(3), &conf),
            outbox: Outbox::new(conf.max_events),
            conf,
        };
        state.into_iter().for_each(|state| node.restore(now, state));
        node
    }

    /// Goes on with a state that was saved, before anything else is done: with its ids, and the
    /// nodes in it as places to begin at. What it has of a family that this node takes no part in
    /// is kept for the next.
    pub fn restore(&mut self, now: Instant, state: DhtState) {
        let mut nodes = self.sides.restore(state, self.conf.max_saved_nodes);
        nodes.truncate(4 * self.conf.max_saved_nodes);
        self.upkeep.add_cold(now, nodes);
    }

    // Getters.

    /// Our id in a family's DHT, if we take part in it.
    pub fn id(&self, family: Family) -> Option<NodeId> {
        self.sides.id(family)
    }

    /// The nodes of a family's table, the farthest first.
    pub fn table(&self, family: Family) -> impl Iterator<Item = &Contact> {
        self.sides.get(family).into_iter().flat_map(|side| side.table().iter())
    }

    /// The nodes that we know closest to a target, nearest first, at most `count`.
    pub fn closest(&self, family: Family, target: &NodeId, count: usize) -> Vec<NodeInfo> {
        self.sides
            .get(family)
            .map_or_else(Vec::new, |side| side.table().closest(target, count, None))
    }

    /// Whether packets of this address may be of this node's business: they begin as those of the
    /// DHT do.
    pub fn is_krpc(data: &[u8]) -> bool {
        // Some nodes send line ends behind their packets.
        data.len() > 10 && data.starts_with(b"d1:") && data.trim_ascii_end().ends_with(b"e")
    }

    /// Counts.
    pub fn stats(&self, now: Instant) -> DhtStats {
        let nodes = |family| self.sides.get(family).map_or(0, |side| side.table().len());
        let (stored_torrents, stored_peers, stored_items) = self.server.stored();
        let (queries, unanswered) = self.server.queries();
        let (received, received_bytes, unheard) = self.server.received();
        let calls = self.calls.counts();
        let (lookups, waiting) = self.searches.counts();
        let (sent, sent_bytes) = self.outbox.sent();
        DhtStats {
            nodes_v4: nodes(Family::V4),
            nodes_v6: nodes(Family::V6),
            offline: self.sides.iter().all(|side| !side.is_online()),
            lookups,
            waiting,
            tracked: self.announces.len(),
            stored_torrents,
            stored_peers,
            stored_items,
            blocked_hosts: self.server.blocked(now, &self.conf),
            received,
            received_bytes,
            sent,
            sent_bytes,
            ignored: unheard + calls.strays,
            queries,
            unanswered,
            answers: calls.answers,
            timeouts: calls.timeouts,
        }
    }

    /// Whether peers of a torrent are stored here.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn stores(&self, info_hash: &NodeId) -> bool {
        self.server.stores(info_hash)
    }

    /// What to save, to begin with next time.
    pub fn state(&self) -> DhtState {
        let mut state = self.sides.state();
        for side in self.sides.iter() {
            let mut nodes: Vec<_> = side.table().iter().filter(|c| c.failures < 2).collect();
            // The nearest first: there are few that know our neighbourhood.
            nodes.reverse();
            nodes.truncate(self.conf.max_saved_nodes);
            let saved: BTreeSet<_> = nodes.iter().map(|contact| contact.info.addr).collect();
            state.nodes.extend(nodes.into_iter().map(|contact| contact.info));
            // While few have answered, what it began with is not lost.
            let room = self.conf.max_saved_nodes.saturating_sub(saved.len());
            let others = self.upkeep.cold().iter().filter(|node| {
                Family::of(node.addr.ip()) == side.family() && !saved.contains(&node.addr)
            });
            state.nodes.extend(others.take(room));
        }
        state
    }

    // Verbs.

    /// A node that may be there, by a peer's port message or a torrent's list: it is asked before
    /// it enters the table.
    pub fn add_node(&mut self, now: Instant, addr: SocketAddr) {
        self.probe(now, addr, Hint::Wanted);
    }

    /// Another place to begin at, as a torrent names it (BEP 5): it is asked now, and whenever the
    /// table is low. The last 32 are kept.
    pub fn add_bootstrap(&mut self, now: Instant, name: Name) {
        if self.upkeep.add_name(now, &name, &self.conf) {
            self.outbox.resolve(name);
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
        let running = self.announces.search(&info_hash);
        let taken = self.announces.track(now, info_hash, announce, &self.conf);
        // What is under way tells the same as the next.
        running.into_iter().for_each(|search| self.searches.set_announce(search, announce));
        taken
    }

    /// Whether one more torrent can be announced.
    pub(crate) fn has_room(&self) -> bool {
        self.announces.len() < self.conf.max_tracked
    }

    /// No longer looks for a torrent. A search for it that is under way ends, and tells no node of
    /// us any more.
    pub fn stop_announcing(&mut self, now: Instant, info_hash: &NodeId) {
        let Some(search) = self.announces.untrack(info_hash) else { return };
        if let Some(Finished { target, outcome, .. }) = self.searches.cancel(now, search) {
            self.outbox.tell(DhtEvent::Finished { search, target, outcome });
        }
        self.pump_waiting(now);
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
        self.outbox.set_trace(trace);
    }

    // Inputs.

    /// A datagram has come.
    pub fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        self.note_time(now);
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let usable = self.sides.get(Family::of(from.ip())).is_some() && from.port() != 0;
        let heard = self.server.hears(now, from, data.len(), usable, &self.conf);
        let message = Message::decode(data);
        // Anyone can flood in the name of a node: its answers to us are heard all the same.
        let is_awaited = |message: &Message| {
            !matches!(message.body, Body::Query(_)) && self.calls.awaits(&message.transaction, from)
        };
        if !heard && !message.as_ref().is_ok_and(is_awaited) {
            return;
        }
        match message {
            Ok(Message { transaction, ip, body, .. }) => match body {
                Body::Query(query) => self.handle_query(now, from, &transaction, &query),
                Body::Response(response) => {
                    self.handle_response(now, from, &transaction, ip, *response)
                }
                Body::Error { .. } => self.handle_error(now, from, &transaction),
            },
            Err(KrpcError::Query { transaction, what, code }) => {
                let error = Message::error(&transaction, code, &format!("unusable {what}"));
                self.answer(now, from, error);
            }
            Err(_) => self.server.note_ignored(),
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
                Age::Lost => self.handle_lost(now, aged.to, aged.sent),
            }
        }
        for chore in Chore::ALL {
            if self.upkeep.fire(chore, now) {
                self.do_chore(now, chore);
            }
        }
        self.begin_announces(now);
        self.server.sweep(now, &self.conf);
        self.pump_starved(now);
        self.pump_waiting(now);
    }

    /// A name that was to be resolved has these addresses; none if it has none, or there is no
    /// network.
    pub fn handle_resolved(&mut self, now: Instant, host: &str, port: u16, addrs: &[SocketAddr]) {
        let (is_new, addrs) = self.upkeep.resolved(host, port, addrs);
        for addr in addrs {
            let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            // A family that has all it needs leaves them in peace while the other looks for nodes.
            if is_new || self.sides.lacks(Family::of(addr.ip()), self.conf.low_table) {
                self.feel(now, addr);
            }
        }
    }

    /// An interface or address has changed, or the machine has slept: what was asked is asked
    /// again, and torrents are announced from where we are now.
    pub fn handle_network_change(&mut self, now: Instant) {
        self.calls.clear();
        self.searches.restart(now);
        self.announces.hurry(now, true);
        let feelers: Vec<_> = self
            .sides
            .iter()
            .flat_map(|side| (0..FEELERS).filter_map(|turn| side.table().rotation(turn)))
            .map(|contact| contact.info.addr)
            .collect();
        feelers.into_iter().for_each(|addr| self.feel(now, addr));
        self.upkeep.handle_network_change(now, &self.conf);
        self.searches.ids().into_iter().for_each(|id| self.end_if_done(now, id));
        self.pump_starved(now);
    }

    // Outputs.

    /// The next thing to do for the node.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.poll_output()
    }

    /// The next thing that happened.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<DhtEvent> {
        self.outbox.poll_event()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let parts = [
            self.upkeep.next_deadline(),
            self.announces.next_due(),
            Some(self.server.next_deadline()),
            self.calls.next_deadline(),
        ];
        parts.into_iter().flatten().min()
    }

    // What others ask.

    fn handle_query(&mut self, now: Instant, from: SocketAddr, transaction: &[u8], query: &Query) {
        // If it may find room in the table, it is asked in turn.
        let info = NodeInfo { id: query.id, addr: from };
        let side = self.sides.get_mut(Family::of(from.ip()));
        if side.is_some_and(|side| side.note_query(now, info)) && !query.read_only {
            self.probe(now, from, Hint::Asked);
        }
        let (sides, conf) = (&self.sides, &self.conf);
        let asked = Asked { now, from, transaction, query, sides, conf };
        if let Some(answer) = self.server.answer(asked) {
            let done = matches!(answer.body, Body::Response(_));
            self.answer(now, from, answer);
            if done {
                self.note_announced(from, &query.method);
            }
        }
    }

    /// A peer that was stored here may be one of a torrent that we look for ourselves.
    fn note_announced(&mut self, from: SocketAddr, method: &Method) {
        if let Method::AnnouncePeer { info_hash, port, implied_port, .. } = method
            && self.announces.contains(info_hash)
        {
            let port = if *implied_port { from.port() } else { *port };
            self.tell_stored(*info_hash, vec![SocketAddr::new(from.ip(), port)]);
        }
    }

    /// Sends an answer, as far as the quota allows.
    fn answer(&mut self, now: Instant, to: SocketAddr, answer: Message) {
        if let Some(packet) = self.server.packet(now, to, answer, &self.conf) {
            self.outbox.transmit(to, packet);
        }
    }

    // Time.

    /// A clock that has jumped means that we slept.
    fn note_time(&mut self, now: Instant) {
        let due = self.poll_timeout().unwrap_or(now);
        if self.upkeep.note_time(now, due) {
            self.handle_network_change(now);
        }
    }

    /// How much is held: nodes to try, events, and searches.
    #[cfg(test)]
    pub(super) fn held(&self) -> (usize, usize, usize) {
        (self.upkeep.probing(), self.outbox.events(), self.searches.ids().len())
    }
}
