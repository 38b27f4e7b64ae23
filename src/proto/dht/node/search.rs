//! Searches: what was asked for, which look-ups it takes, and what is stored at their end.

use std::collections::VecDeque;

use super::{
    super::{
        announces::Announce,
        calls::Purpose,
        event::{DhtEvent, SearchId, SearchOutcome, Step},
        lookup::{Keeper, Lookup, Next},
    },
    Node,
};
use crate::{
    base::time::Instant,
    wire::krpc::{Family, Item, Method, NodeId, NodeInfo},
};

/// What a search is for.
#[derive(Debug)]
pub(in crate::proto::dht) enum Goal {
    /// Nodes near the target, for the table.
    Nodes,
    /// Peers of a torrent.
    Peers { announce: Option<Announce>, scrape: bool },
    /// A stored value.
    Item {
        salt: Vec<u8>,
        /// The sequence number of the best value so far; -1 of an immutable one.
        best: Option<i64>,
        /// What to store at the end, and the sequence number that it is to replace.
        put: Option<Box<(Item, Option<i64>)>>,
    },
    /// Info-hashes.
    Samples,
}

/// One search.
#[derive(Debug)]
pub(in crate::proto::dht) struct Search {
    pub(super) target: NodeId,
    pub(super) goal: Goal,
    pub(super) started: Instant,
    /// Look-ups that have not ended.
    left: u8,
    /// Queries to store that have not been answered.
    pub(super) storing: usize,
    pub(super) outcome: SearchOutcome,
}

impl Search {
    /// Whether the owner knows nothing of it.
    pub(super) fn is_internal(&self) -> bool {
        matches!(self.goal, Goal::Nodes)
    }
}

/// Look-ups that have not begun, in order: urgent ones first.
#[derive(Debug, Default)]
pub(in crate::proto::dht) struct Waiting {
    urgent: VecDeque<(SearchId, Family)>,
    others: VecDeque<(SearchId, Family)>,
}

impl Waiting {
    pub(super) fn len(&self) -> usize {
        self.urgent.len() + self.others.len()
    }
}

impl Node {
    /// Begins a search in all families, or lets it wait for its turn. One too many ends at once.
    pub(super) fn search(
        &mut self,
        now: Instant,
        target: NodeId,
        goal: Goal,
        narrow: bool,
    ) -> SearchId {
        let families = self.families();
        let id = SearchId(self.next_id);
        self.next_id += 1;
        let full = self.waiting.len() >= self.conf.max_waiting;
        let left = if full { 0 } else { families.len() as u8 };
        let outcome = SearchOutcome::default();
        self.searches.insert(id, Search { target, goal, started: now, left, storing: 0, outcome });
        for family in families.into_iter().filter(|_| !full) {
            let queue = if narrow { &mut self.waiting.others } else { &mut self.waiting.urgent };
            queue.push_back((id, family));
        }
        self.pump_waiting(now);
        self.end_if_done(now, id);
        id
    }

    /// Looks for nodes near our own id, beginning with those that are given, too.
    pub(super) fn find_self(&mut self, now: Instant, family: Family, seeds: &[NodeInfo]) {
        let running = self.lookups.values_mut().find(|lookup| {
            lookup.family() == family
                && self
                    .searches
                    .get(&lookup.search())
                    .is_some_and(|s| s.is_internal() && s.target == lookup.target())
                && self.sides.iter().flatten().any(|side| {
                    side.family == family && side.finding_self && side.id() == lookup.target()
                })
        });
        let Some(own) = self.sides.iter_mut().flatten().find(|side| side.family == family) else {
            return;
        };
        if let Some(lookup) = running {
            let id = own.id();
            lookup.add_nodes(seeds, None, &id, &self.conf);
            return;
        }
        own.finding_self = true;
        let target = own.id();
        self.begin_nodes(now, family, target, seeds, false);
    }

    /// Looks for nodes near a target, for the table.
    pub(super) fn search_nodes(&mut self, now: Instant, family: Family, target: NodeId) {
        self.begin_nodes(now, family, target, &[], true);
    }

    fn begin_nodes(
        &mut self,
        now: Instant,
        family: Family,
        target: NodeId,
        seeds: &[NodeInfo],
        narrow: bool,
    ) {
        let id = SearchId(self.next_id);
        self.next_id += 1;
        let outcome = SearchOutcome::default();
        let search =
            Search { target, goal: Goal::Nodes, started: now, left: 1, storing: 0, outcome };
        self.searches.insert(id, search);
        self.begin_lookup(now, id, family, seeds, narrow);
    }

    /// Begins look-ups that wait, as far as there is room.
    pub(super) fn pump_waiting(&mut self, now: Instant) {
        while self.lookups.len() < self.conf.max_lookups {
            let urgent = self.next_waiting(now, true);
            let room = self.lookups.len() < self.conf.max_lookups / 2;
            let next = urgent.map(|next| (next, false)).or_else(|| {
                let next = if room { self.next_waiting(now, false) } else { None };
                next.map(|next| (next, true))
            });
            let Some(((search, family), narrow)) = next else { break };
            self.begin_lookup(now, search, family, &[], narrow);
        }
    }

    /// The next look-up of a queue that can begin. While no node is known in any family, it waits
    /// for one as long as a look-up may take.
    fn next_waiting(&mut self, now: Instant, urgent: bool) -> Option<(SearchId, Family)> {
        let lost = self.bootstrap.cold().is_empty()
            && self.sides.iter().flatten().all(|side| side.table.len() == 0);
        let patience = self.conf.lookup_timeout;
        let queue = if urgent { &mut self.waiting.urgent } else { &mut self.waiting.others };
        let (search, _) = queue.front()?;
        let started = self.searches.get(search).map_or(now, |search| search.started);
        if lost && now.since(started) < patience {
            return None;
        }
        queue.pop_front()
    }

    fn begin_lookup(
        &mut self,
        now: Instant,
        search: SearchId,
        family: Family,
        seeds: &[NodeInfo],
        narrow: bool,
    ) {
        let Some(target) = self.searches.get(&search).map(|search| search.target) else { return };
        let Some(own) = self.id(family) else { return };
        let mut lookup = Lookup::new(now, search, family, target, narrow);
        lookup.add_nodes(seeds, None, &own, &self.conf);
        lookup.add_nodes(&self.seeds(family, &target), None, &own, &self.conf);
        let id = self.next_id;
        self.next_id += 1;
        self.lookups.insert(id, lookup);
        self.pump(now, id);
    }

    /// Look-ups that could not send go on.
    pub(super) fn pump_starved(&mut self, now: Instant) {
        while self.calls.len() < self.conf.max_pending {
            let Some(id) = self.starved.pop_first() else { break };
            self.pump(now, id);
        }
    }

    /// Sends what a look-up wants to send, or ends it.
    pub(super) fn pump(&mut self, now: Instant, id: u64) {
        loop {
            let Some(lookup) = self.lookups.get_mut(&id) else { return };
            match lookup.next(now, &self.conf) {
                Next::Ask(node, hop) => {
                    let search = lookup.search();
                    let Some(method) = self.method_of(search) else { return };
                    let purpose = Purpose::Lookup { lookup: id, node };
                    if !self.ask(now, node.addr, method, purpose) {
                        let lookup = self.lookups.get_mut(&id);
                        lookup.into_iter().for_each(|lookup| lookup.take_back(node));
                        self.starved.insert(id);
                        return;
                    }
                    self.tell_step(search, Step::Asked { node, hop });
                }
                Next::Wait => return,
                Next::Done => return self.end_lookup(now, id),
            }
        }
    }

    /// What the nodes of a search are asked.
    fn method_of(&self, search: SearchId) -> Option<Method> {
        let search = self.searches.get(&search)?;
        let target = search.target;
        Some(match &search.goal {
            Goal::Nodes => Method::FindNode { target },
            Goal::Peers { announce, scrape, .. } => Method::GetPeers {
                info_hash: target,
                noseed: announce.is_some_and(|announce| announce.seed),
                scrape: *scrape,
            },
            Goal::Item { .. } => Method::Get { target, seq: None },
            Goal::Samples => Method::SampleInfohashes { target },
        })
    }

    /// The closest nodes are known: what is to be stored is sent to them.
    fn end_lookup(&mut self, now: Instant, id: u64) {
        let Some(lookup) = self.lookups.remove(&id) else { return };
        self.starved.remove(&id);
        let (family, target) = (lookup.family(), lookup.target());
        let own = self.side_mut(family).filter(|side| side.id() == target);
        own.into_iter().for_each(|side| side.finding_self = false);
        self.announces.note_closest(&target, family, &lookup.closest());
        let Some(search) = self.searches.get_mut(&lookup.search()) else { return };
        search.left = search.left.saturating_sub(1);
        let outcome = &mut search.outcome;
        outcome.queries += lookup.tally().queries;
        outcome.answers += lookup.tally().answers;
        outcome.copies += lookup.tally().copies;
        outcome.peers += u32::try_from(lookup.peers_found()).unwrap_or(u32::MAX);
        outcome.lookup_time = outcome.lookup_time.max(now.since(lookup.started()));
        let add = |sum: &mut Option<f64>, filter: &Option<crate::wire::krpc::BloomFilter>| {
            if let Some(filter) = filter {
                *sum = Some(sum.unwrap_or(0.0) + filter.estimate());
            }
        };
        add(&mut outcome.seeds, &lookup.tally().seeds);
        add(&mut outcome.leechers, &lookup.tally().leechers);
        for keeper in lookup.keepers() {
            self.store(now, lookup.search(), keeper);
        }
        self.end_if_done(now, lookup.search());
        self.pump_waiting(now);
    }

    /// Sends what a search stores to one of the closest nodes.
    fn store(&mut self, now: Instant, id: SearchId, keeper: Keeper) {
        let Some(search) = self.searches.get(&id) else { return };
        let Keeper { info: node, token, seq } = keeper;
        // A router serves thousands, and stores for none.
        if self.bootstrap.is_router(node.addr) {
            return;
        }
        let method = match &search.goal {
            Goal::Peers { announce: Some(announce), .. } => {
                let Announce { port, implied_port, seed } = *announce;
                let info_hash = search.target;
                Method::AnnouncePeer { info_hash, port, implied_port, seed, token }
            }
            Goal::Item { put: Some(put), .. } => {
                let (item, cas) = (**put).clone();
                // A node without a value has nothing to compare.
                Method::Put { item, cas: cas.filter(|_| seq.is_some()), token }
            }
            _ => return,
        };
        if self.ask(now, node.addr, method, Purpose::Store { search: id, node })
            && let Some(search) = self.searches.get_mut(&id)
        {
            search.storing += 1;
            search.outcome.queries += 1;
        }
    }

    /// Ends all searches that have nothing left to wait for.
    pub(super) fn end_searches(&mut self, now: Instant) {
        let ids: Vec<_> = self.searches.keys().copied().collect();
        ids.into_iter().for_each(|id| self.end_if_done(now, id));
    }

    pub(super) fn end_if_done(&mut self, now: Instant, id: SearchId) {
        let done = |search: &Search| search.left == 0 && search.storing == 0;
        if !self.searches.get(&id).is_some_and(done) {
            return;
        }
        let Some(mut search) = self.searches.remove(&id) else { return };
        search.outcome.time = now.since(search.started);
        if let Goal::Peers { .. } = search.goal {
            let (target, outcome) = (search.target, search.outcome);
            self.announces.note_end(now, target, id, &outcome, &self.conf, &mut self.rng);
            self.arm_announces();
        }
        if !search.is_internal() {
            let Search { target, outcome, .. } = search;
            self.tell(DhtEvent::Finished { search: id, target, outcome });
        }
    }
}
