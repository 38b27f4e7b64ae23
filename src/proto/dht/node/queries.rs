//! Our queries: those of look-ups, and those that store what a search ends with.

use std::net::SocketAddr;

use super::{
    super::{
        calls::Purpose,
        event::{DhtEvent, SearchId, Step},
        lookup::Keeper,
        search::Goal,
        searches::{Begin, Wanted},
        table::K,
    },
    Node,
};
use crate::{
    base::time::Instant,
    wire::krpc::{Family, Message, Method, NodeId, NodeInfo, Query},
};

impl Node {
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
        if self.calls.is_full(&self.conf) {
            return false;
        }
        let nodes = matches!(method, Method::FindNode { .. } | Method::GetPeers { .. });
        let want = nodes.then(|| self.sides.want(family, self.conf.low_table)).flatten();
        let query = Query { id, read_only: self.conf.read_only, want, method };
        let version = Some(self.conf.version);
        let encode = |transaction: [u8; 4]| {
            Message { version, ..Message::query(&transaction, query) }.encode()
        };
        let Some(side) = self.sides.get_mut(family) else { return false };
        let slow = side.patience(to, &self.conf);
        let packet = self.calls.begin(now, to, purpose, slow, encode);
        side.note_asked(now, to);
        self.outbox.transmit(to, packet);
        true
    }

    /// Asks an address for nodes near ourselves.
    pub(super) fn feel(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(id) = self.id(Family::of(addr.ip())) {
            self.ask(now, addr, Method::FindNode { target: id }, Purpose::Bootstrap);
        }
    }

    /// Begins a search in all families, or lets it wait for its turn. One too many ends at once.
    pub(super) fn search(
        &mut self,
        now: Instant,
        target: NodeId,
        goal: Goal,
        narrow: bool,
    ) -> SearchId {
        let id = self.add_search(now, target, goal, narrow);
        self.begin_search(now, id);
        id
    }

    /// Adds a search, which must be begun then.
    pub(super) fn add_search(
        &mut self,
        now: Instant,
        target: NodeId,
        goal: Goal,
        narrow: bool,
    ) -> SearchId {
        let families = self.sides.families();
        if let Goal::Peers { announce, scrape: false } = &goal {
            let noseed = announce.is_some_and(|announce| announce.seed);
            let peers = self.server.own_peers(&target, noseed, &self.conf);
            self.tell_stored(target, peers);
        }
        self.searches.add(now, target, goal, (&families, narrow), &self.conf)
    }

    /// Begins a search as far as there is room. One too many ends.
    pub(super) fn begin_search(&mut self, now: Instant, id: SearchId) {
        self.pump_waiting(now);
        self.end_if_done(now, id);
    }

    /// Tells the owner of peers that are stored here.
    pub(super) fn tell_stored(&mut self, info_hash: NodeId, peers: Vec<SocketAddr>) {
        if !peers.is_empty() {
            self.outbox.tell(DhtEvent::Stored { info_hash, peers });
        }
    }

    /// Looks for nodes near our own id, beginning with those that are given, too.
    pub(super) fn find_self(&mut self, now: Instant, family: Family, seeds: &[NodeInfo]) {
        let Some(side) = self.sides.get_mut(family) else { return };
        let own = side.id();
        if !side.begin_finding_self() || !self.searches.add_seeds(family, &own, seeds, &self.conf) {
            let search = self.searches.add_nodes(now, own);
            self.begin_lookup(now, Begin { search, family, narrow: false }, seeds);
        }
    }

    /// Looks for nodes near a target, for the table.
    pub(super) fn find_nodes(&mut self, now: Instant, family: Family, target: NodeId) {
        let search = self.searches.add_nodes(now, target);
        self.begin_lookup(now, Begin { search, family, narrow: true }, &[]);
    }

    /// Begins look-ups that wait, as far as there is room.
    pub(super) fn pump_waiting(&mut self, now: Instant) {
        loop {
            let unknown = self.sides.iter().all(|side| side.table().len() == 0);
            let lost = unknown && self.upkeep.cold().is_empty();
            let Some(begin) = self.searches.pop_waiting(now, lost, &self.conf) else { return };
            self.begin_lookup(now, begin, &[]);
        }
    }

    fn begin_lookup(&mut self, now: Instant, begin: Begin, seeds: &[NodeInfo]) {
        let Some(target) = self.searches.target(begin.search) else { return };
        let Some(own) = self.id(begin.family) else { return };
        let nodes = [seeds, &self.seeds(begin.family, &target)].concat();
        if let Some(id) = self.searches.begin(now, begin, &own, &nodes, &self.conf) {
            self.pump(now, id);
        }
    }

    /// The nodes that a look-up begins with.
    fn seeds(&self, family: Family, target: &NodeId) -> Vec<NodeInfo> {
        let mut seeds = self.closest(family, target, 3 * K);
        seeds.extend(self.announces.closest(target));
        if seeds.len() < 2 * K {
            let mut cold = self.upkeep.cold().to_vec();
            cold.sort_by_key(|node| node.id.distance(target));
            seeds.extend(cold.into_iter().take(2 * K));
        }
        seeds
    }

    /// Look-ups that could not send go on.
    pub(super) fn pump_starved(&mut self, now: Instant) {
        while !self.calls.is_full(&self.conf) {
            let Some(id) = self.searches.pop_starved() else { break };
            self.pump(now, id);
        }
    }

    /// Sends what a look-up wants to send, or ends it.
    pub(super) fn pump(&mut self, now: Instant, id: u64) {
        loop {
            match self.searches.next(now, id, &self.conf) {
                Wanted::Ask { search, node, hop, method } => {
                    let purpose = Purpose::Lookup { lookup: id, node };
                    if !self.ask(now, node.addr, method, purpose) {
                        return self.searches.take_back(id, node);
                    }
                    self.tell_step(search, Step::Asked { node, hop });
                }
                Wanted::Wait => return,
                Wanted::Done if self.knows_more(id) => {}
                Wanted::Done => return self.end_lookup(now, id),
            }
        }
    }

    /// A look-up that began when next to no node was known goes on with those known by now.
    fn knows_more(&mut self, id: u64) -> bool {
        let Some((family, target)) = self.searches.thin(id) else { return false };
        let Some(own) = self.id(family) else { return false };
        let nodes = self.closest(family, &target, 3 * K);
        self.searches.add_known(id, &own, &nodes, &self.conf)
    }

    /// The closest nodes are known: what is to be stored is sent to them.
    fn end_lookup(&mut self, now: Instant, id: u64) {
        let Some(ended) = self.searches.end_lookup(now, id) else { return };
        let side = self.sides.get_mut(ended.family);
        side.into_iter().for_each(|side| side.note_lookup_end(&ended.target));
        self.announces.note_closest(&ended.target, ended.family, &ended.closest);
        let Some(keepers) = ended.keepers else { return };
        keepers.into_iter().for_each(|keeper| self.store(now, ended.search, keeper));
        self.end_if_done(now, ended.search);
        self.pump_waiting(now);
    }

    /// Sends what a search stores to one of the closest nodes.
    fn store(&mut self, now: Instant, id: SearchId, keeper: Keeper) {
        let node = keeper.info;
        // A router serves thousands, and stores for none.
        if self.upkeep.is_router(node.addr) {
            return;
        }
        let Some(method) = self.searches.to_store(id, keeper) else { return };
        if self.ask(now, node.addr, method, Purpose::Store { search: id, node }) {
            self.searches.note_storing(id);
        }
    }

    /// A node has stored something, or not.
    pub(super) fn note_stored(&mut self, now: Instant, id: SearchId, stored: bool) {
        self.searches.note_stored(id, stored);
        self.end_if_done(now, id);
    }

    /// Ends a search that has nothing left to wait for.
    pub(super) fn end_if_done(&mut self, now: Instant, id: SearchId) {
        let Some(done) = self.searches.take_finished(now, id) else { return };
        let (target, outcome) = (done.target, done.outcome);
        if done.of_peers {
            self.announces.note_end(now, target, id, &outcome, &self.conf);
        }
        if !done.internal {
            self.outbox.tell(DhtEvent::Finished { search: id, target, outcome });
        }
    }

    pub(super) fn tell_step(&mut self, search: SearchId, step: Step) {
        if self.searches.is_told(search) {
            self.outbox.tell(DhtEvent::Step { search, step });
        }
    }
}
