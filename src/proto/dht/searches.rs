//! Searches: what was asked for, the look-ups that it takes, and what is stored at their end.
//!
//! It says which node is to be asked what; it sends nothing itself.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use super::{
    announces::Announce,
    event::{DhtEvent, SearchId, Step},
    lookup::{Keeper, Lookup, Next},
    search::{Finished, Goal, Search},
    table::K,
};
use crate::{
    base::time::Instant,
    conf::DhtConf,
    wire::krpc::{Family, Method, NodeId, NodeInfo, Response},
};

/// Look-ups that have not begun, in order: urgent ones first.
#[derive(Debug, Default)]
struct Waiting {
    urgent: VecDeque<(SearchId, Family)>,
    others: VecDeque<(SearchId, Family)>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Searches {
    searches: BTreeMap<SearchId, Search>,
    waiting: Waiting,
    lookups: BTreeMap<u64, Lookup>,
    /// Look-ups that could not send all they wanted to.
    starved: BTreeSet<u64>,
    next_id: u64,
}

/// A look-up that can begin.
#[derive(Clone, Copy, Debug)]
pub(super) struct Begin {
    pub(super) search: SearchId,
    pub(super) family: Family,
    /// Not worth many queries at a time.
    pub(super) narrow: bool,
}

/// What a look-up wants next.
#[derive(Debug)]
pub(super) enum Wanted {
    /// A node is to be asked.
    Ask { search: SearchId, node: NodeInfo, hop: u32, method: Method },
    /// Nothing now.
    Wait,
    /// It has ended.
    Done,
}

/// A look-up that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) search: SearchId,
    pub(super) family: Family,
    pub(super) target: NodeId,
    pub(super) closest: Vec<NodeInfo>,
    /// Where to store, if its search still is.
    pub(super) keepers: Option<Vec<Keeper>>,
}

/// A node of a look-up that answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) lookup: u64,
    pub(super) node: NodeInfo,
    pub(super) rtt: Duration,
    pub(super) response: Response,
}

impl Searches {
    pub(super) fn new() -> Self {
        Self {
            searches: BTreeMap::new(),
            waiting: Waiting::default(),
            lookups: BTreeMap::new(),
            starved: BTreeSet::new(),
            next_id: 1,
        }
    }

    /// Look-ups under way, and those that wait.
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.lookups.len(), self.waiting.urgent.len() + self.waiting.others.len())
    }

    fn new_id(&mut self) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        id
    }

    // Beginning.

    /// Lets a search wait for its turn in these families. One too many has no look-up, and ends at
    /// once.
    pub(super) fn add(
        &mut self,
        now: Instant,
        target: NodeId,
        goal: Goal,
        (families, narrow): (&[Family], bool),
        conf: &DhtConf,
    ) -> SearchId {
        let id = SearchId(self.new_id());
        let full = self.counts().1 >= conf.max_waiting;
        let families = if full { &[] } else { families };
        self.searches.insert(id, Search::new(now, target, goal, families.len() as u8));
        let queue = if narrow { &mut self.waiting.others } else { &mut self.waiting.urgent };
        queue.extend(families.iter().map(|&family| (id, family)));
        id
    }

    /// A search for nodes near a target, in one family. Its look-up begins at once.
    pub(super) fn add_nodes(&mut self, now: Instant, target: NodeId) -> SearchId {
        let id = SearchId(self.new_id());
        self.searches.insert(id, Search::new(now, target, Goal::Nodes, 1));
        id
    }

    /// The next look-up that waits and can begin, as far as there is room. While we are `lost`,
    /// that is no node is known, it waits for one as long as a look-up may take.
    pub(super) fn pop_waiting(
        &mut self,
        now: Instant,
        lost: bool,
        conf: &DhtConf,
    ) -> Option<Begin> {
        if self.lookups.len() >= conf.max_lookups {
            return None;
        }
        let patient = |queue: &VecDeque<(SearchId, Family)>| {
            queue.front().is_some_and(|(search, _)| {
                let age = self.searches.get(search).map(|search| search.age(now));
                lost && age.unwrap_or_default() < conf.lookup_timeout
            })
        };
        let urgent = !self.waiting.urgent.is_empty() && !patient(&self.waiting.urgent);
        let others = self.lookups.len() < conf.max_lookups / 2 && !patient(&self.waiting.others);
        let (queue, narrow) = match (urgent, others) {
            (true, _) => (&mut self.waiting.urgent, false),
            (false, true) => (&mut self.waiting.others, true),
            (false, false) => return None,
        };
        queue.pop_front().map(|(search, family)| Begin { search, family, narrow })
    }

    /// What a search is for.
    pub(super) fn target(&self, search: SearchId) -> Option<NodeId> {
        self.searches.get(&search).map(Search::target)
    }

    /// Begins a look-up with these nodes. `own` is our id.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        begin: Begin,
        own: &NodeId,
        nodes: &[NodeInfo],
        conf: &DhtConf,
    ) -> Option<u64> {
        let Begin { search, family, narrow } = begin;
        let mut lookup = Lookup::new(now, search, family, self.target(search)?, narrow);
        lookup.add_nodes(nodes, None, own, conf);
        let id = self.new_id();
        self.lookups.insert(id, lookup);
        Some(id)
    }

    /// Adds nodes to the look-up of our own id, if it is under way.
    pub(super) fn add_seeds(
        &mut self,
        family: Family,
        own: &NodeId,
        nodes: &[NodeInfo],
        conf: &DhtConf,
    ) -> bool {
        let searches = &self.searches;
        let running = self.lookups.values_mut().find(|lookup| {
            let internal = searches.get(&lookup.search()).is_some_and(Search::is_internal);
            internal && lookup.family() == family && lookup.target() == *own
        });
        running.map(|lookup| _ = lookup.add_nodes(nodes, None, own, conf)).is_some()
    }

    /// The family and target of a look-up that is about to end though few nodes have answered.
    pub(super) fn thin(&self, id: u64) -> Option<(Family, NodeId)> {
        let lookup = self.lookups.get(&id).filter(|l| (l.tally().answers as usize) < K)?;
        Some((lookup.family(), lookup.target()))
    }

    /// Adds nodes that we know by now to a look-up. True if any is new.
    pub(super) fn add_known(
        &mut self,
        id: u64,
        own: &NodeId,
        nodes: &[NodeInfo],
        conf: &DhtConf,
    ) -> bool {
        self.lookups.get_mut(&id).is_some_and(|lookup| lookup.add_nodes(nodes, None, own, conf))
    }

    // On the way.

    /// What a look-up wants to do now.
    pub(super) fn next(&mut self, now: Instant, id: u64, conf: &DhtConf) -> Wanted {
        let Some(lookup) = self.lookups.get_mut(&id) else { return Wanted::Wait };
        let search = lookup.search();
        match lookup.next(now, conf) {
            Next::Ask(node, hop) => match self.searches.get(&search).map(Search::method) {
                Some(method) => Wanted::Ask { search, node, hop, method },
                None => Wanted::Wait,
            },
            Next::Wait => Wanted::Wait,
            Next::Done => Wanted::Done,
        }
    }

    /// A node could not be asked now.
    pub(super) fn take_back(&mut self, id: u64, node: NodeInfo) {
        let lookup = self.lookups.get_mut(&id);
        lookup.into_iter().for_each(|lookup| lookup.take_back(node));
        self.starved.insert(id);
    }

    /// A look-up that could not send all it wanted to.
    pub(super) fn pop_starved(&mut self) -> Option<u64> {
        self.starved.pop_first()
    }

    /// A query is overdue for the first time. True if it is worth sending again, and the step.
    pub(super) fn handle_slow(
        &mut self,
        id: u64,
        node: NodeInfo,
    ) -> Option<(bool, SearchId, Step)> {
        let lookup = self.lookups.get_mut(&id)?;
        let again = lookup.handle_slow(node);
        let (hop, search) = (lookup.hop(node), lookup.search());
        Some((again, search, Step::Slow { node, hop }))
    }

    /// A node did not answer, or refused.
    pub(super) fn handle_failure(&mut self, id: u64, node: NodeInfo) {
        let lookup = self.lookups.get_mut(&id);
        lookup.into_iter().for_each(|lookup| lookup.handle_failure(node));
    }

    /// A node answered: what to tell of it. `own` is our id.
    pub(super) fn handle_answer(
        &mut self,
        now: Instant,
        answer: Answer,
        own: &NodeId,
        conf: &DhtConf,
    ) -> Vec<DhtEvent> {
        let Answer { lookup: id, node, rtt, response } = answer;
        let Some(lookup) = self.lookups.get_mut(&id) else { return Vec::new() };
        // A node that is another than it was said to be may be made up for this target.
        if response.id != node.id {
            lookup.handle_failure(node);
            return Vec::new();
        }
        let seq = response.item.seq.or(response.item.value.as_ref().map(|_| -1));
        let Some(hop) = lookup.handle_answer(node, response.token, seq) else { return Vec::new() };
        let nodes = match lookup.family() {
            Family::V4 => response.nodes,
            Family::V6 => response.nodes6,
        }
        .unwrap_or_default();
        let from = node.addr.ip();
        lookup.add_nodes(&nodes, Some((from, hop)), own, conf);
        let peers = lookup.new_peers(&response.values, from, conf);
        if let Some(scrape) = &response.scrape {
            lookup.add_scrape(&scrape.seeds, &scrape.peers);
        }
        let id = lookup.search();
        let Some(search) = self.searches.get_mut(&id) else { return Vec::new() };
        let (told, found) = (nodes.len(), response.values.len());
        let step = Step::Answered { node, hop, rtt, nodes: told, peers: found };
        let (is_copy, value) = search.handle_item(id, node, response.item);
        if is_copy {
            lookup.note_copy();
        }
        let found = value.or(search.found(now, id, node, peers, response.samples));
        let step = (!search.is_internal()).then_some(DhtEvent::Step { search: id, step });
        step.into_iter().chain(found).collect()
    }

    /// What was asked is to be asked again: the network may be another.
    pub(super) fn restart(&mut self, now: Instant) {
        self.lookups.values_mut().for_each(|lookup| lookup.restart(now));
        self.starved = self.lookups.keys().copied().collect();
        self.searches.values_mut().for_each(Search::forget_storing);
    }

    /// Whether the owner hears of the steps of a search.
    pub(super) fn is_told(&self, search: SearchId) -> bool {
        self.searches.get(&search).is_some_and(|search| !search.is_internal())
    }

    /// What a search for peers tells of us from now on.
    pub(super) fn set_announce(&mut self, id: SearchId, announce: Option<Announce>) {
        let search = self.searches.get_mut(&id);
        search.into_iter().for_each(|search| search.set_announce(announce));
    }

    // Ending.

    /// Ends a search that has become useless: it asks and stores nothing any more.
    pub(super) fn cancel(&mut self, now: Instant, id: SearchId) -> Option<Finished> {
        let search = self.searches.remove(&id)?;
        self.lookups.retain(|_, lookup| lookup.search() != id);
        for queue in [&mut self.waiting.urgent, &mut self.waiting.others] {
            queue.retain(|(waiting, _)| *waiting != id);
        }
        Some(search.finish(now))
    }

    /// Ends a look-up: the closest nodes are known.
    pub(super) fn end_lookup(&mut self, now: Instant, id: u64) -> Option<Ended> {
        let lookup = self.lookups.remove(&id)?;
        self.starved.remove(&id);
        let search = self.searches.get_mut(&lookup.search()).map(|search| {
            search.note_lookup_end(now, &lookup);
        });
        Some(Ended {
            search: lookup.search(),
            family: lookup.family(),
            target: lookup.target(),
            closest: lookup.closest(),
            keepers: search.map(|()| lookup.keepers()),
        })
    }

    /// What a search stores at one of the closest nodes.
    pub(super) fn to_store(&self, id: SearchId, keeper: Keeper) -> Option<Method> {
        self.searches.get(&id)?.to_store(keeper)
    }

    /// A node was asked to store something.
    pub(super) fn note_storing(&mut self, id: SearchId) {
        if let Some(search) = self.searches.get_mut(&id) {
            search.note_storing();
        }
    }

    /// It did, or it did not.
    pub(super) fn note_stored(&mut self, id: SearchId, stored: bool) {
        if let Some(search) = self.searches.get_mut(&id) {
            search.note_stored(stored);
        }
    }

    /// Whether a search has not ended.
    pub(super) fn contains(&self, id: SearchId) -> bool {
        self.searches.contains_key(&id)
    }

    /// All searches.
    pub(super) fn ids(&self) -> Vec<SearchId> {
        self.searches.keys().copied().collect()
    }

    /// Ends a search that has nothing left to wait for.
    pub(super) fn take_finished(&mut self, now: Instant, id: SearchId) -> Option<Finished> {
        self.searches.get(&id).filter(|search| search.is_done())?;
        self.searches.remove(&id).map(|search| search.finish(now))
    }
}
