//! What the node has of each family: id, table, and whether anything answers.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    external::{External, Voted},
    round_trip::RoundTrips,
    state::DhtState,
    table::Table,
};
use crate::{
    base::time::Instant,
    conf::DhtConf,
    wire::krpc::{Family, NodeId, NodeInfo, Want},
};

/// The families that the node takes part in.
#[derive(Debug)]
pub(super) struct Sides {
    v4: Option<Side>,
    v6: Option<Side>,
    /// What was saved of the others, to be saved again.
    others: DhtState,
}

/// The least time between two rounds of asking around about an address that was agreed on: behind
/// a router with two of them there is doubt for ever.
const DOUBT_PAUSE: Duration = Duration::from_secs(3600);

/// One family.
#[derive(Debug)]
pub(super) struct Side {
    family: Family,
    table: Table,
    external: External,
    round_trips: RoundTrips,
    /// Queries in a row that stayed unanswered, with no answer of any node meanwhile.
    silent: u32,
    /// When a node last answered.
    answered: Instant,
    /// A node has answered, and not been followed by silence.
    online: bool,
    /// A look-up of our own id is under way.
    finding_self: bool,
    /// When votes of doubt last made us ask around.
    doubted: Option<Instant>,
}

impl Side {
    fn new(family: Family, id: NodeId) -> Self {
        Self {
            family,
            table: Table::new(id),
            external: External::default(),
            round_trips: RoundTrips::default(),
            silent: 0,
            answered: Instant::ZERO,
            online: false,
            finding_self: false,
            doubted: None,
        }
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn id(&self) -> NodeId {
        self.table.own()
    }

    pub(super) fn table(&self) -> &Table {
        &self.table
    }

    /// Whether nodes answer.
    pub(super) fn is_online(&self) -> bool {
        self.online
    }

    // Queries and answers.

    /// How long a node may take to answer before it counts as slow: twice its last round trip, or
    /// as long as most nodes take.
    pub(super) fn patience(&self, addr: SocketAddr, conf: &DhtConf) -> Duration {
        let known = self.table.rtt(addr).map(|rtt| 2 * rtt);
        let guess = known.or(self.round_trips.most()).unwrap_or(conf.slow_after);
        guess.clamp(conf.slow_after_min, conf.slow_after)
    }

    /// A query went out to a node.
    pub(super) fn note_asked(&mut self, now: Instant, addr: SocketAddr) {
        self.table.note_asked(now, addr);
    }

    /// A node answered, and told how long that takes if it is known.
    pub(super) fn note_answer(&mut self, now: Instant, info: NodeInfo, rtt: Option<Duration>) {
        rtt.into_iter().for_each(|rtt| self.round_trips.add(rtt));
        // Of a new node that was asked twice, it is known that it takes no longer than most.
        let known = || self.table.rtt(info.addr).or(self.round_trips.most());
        let rtt = rtt.or_else(known).unwrap_or_default();
        self.table.node_answered(now, info, rtt);
    }

    /// A node asked us something. True if it is not of the table, and the table has room for it.
    pub(super) fn note_query(&mut self, now: Instant, info: NodeInfo) -> bool {
        info.id != self.id() && !self.table.note_query(now, info) && self.table.would_take(info)
    }

    /// A node, or one that is in no table, answered. True if it is the first, or the first after
    /// silence.
    pub(super) fn note_online(&mut self, now: Instant) -> bool {
        (self.silent, self.answered) = (0, now);
        !std::mem::replace(&mut self.online, true)
    }

    /// A query of this time is lost: its node fails, unless so many were lost in a row that we must
    /// be offline. True if that is new. If another node has answered since, we are not: the dead
    /// nodes of a look-up are lost together, long after the others have answered.
    pub(super) fn note_lost(&mut self, to: SocketAddr, sent: Instant, conf: &DhtConf) -> bool {
        let alone = u32::from(sent >= self.answered);
        self.silent = self.silent.saturating_add(alone);
        if self.silent < conf.offline_after {
            self.table.node_failed(to, conf.max_failures);
            return false;
        }
        std::mem::replace(&mut self.online, false)
    }

    // Our id and address.

    /// Takes an id of an earlier run, unless nodes know us by another.
    pub(super) fn take_id(&mut self, id: NodeId) {
        if self.table.len() == 0 {
            self.move_to(id);
        }
    }

    /// Takes another id. A look-up of the one before may still run: it is not one of ours then.
    fn move_to(&mut self, id: NodeId) {
        self.table.move_to(id);
        self.finding_self = false;
    }

    /// A look-up of our own id begins, or goes on: true then.
    pub(super) fn begin_finding_self(&mut self) -> bool {
        std::mem::replace(&mut self.finding_self, true)
    }

    /// A look-up of `target` has ended.
    pub(super) fn note_lookup_end(&mut self, target: &NodeId) {
        self.finding_self &= self.id() != *target;
    }

    pub(super) fn is_finding_self(&self) -> bool {
        self.finding_self
    }

    /// A node says that we are at `addr` (BEP 42).
    pub(super) fn vote(&mut self, now: Instant, from: SocketAddr, addr: SocketAddr) -> Voted {
        let voted = self.external.vote(now, from, addr);
        if matches!(voted, Voted::Agreed(_)) {
            self.doubted = None;
        }
        if voted != Voted::Doubt {
            return voted;
        }
        let long_ago = self.doubted.is_none_or(|at| now.since(at) >= DOUBT_PAUSE);
        if self.external.agreed().is_none() || !long_ago {
            return Voted::Nothing;
        }
        self.doubted = Some(now);
        Voted::Doubt
    }

    /// The address that nodes agree on.
    pub(super) fn external(&self) -> Option<IpAddr> {
        self.external.agreed()
    }

    /// Takes an id that fits our address, made with `random`, unless ours does (BEP 42). True if
    /// it is another.
    pub(super) fn fit_to(&mut self, ip: IpAddr, random: [u8; 20]) -> bool {
        let other = !self.id().fits(ip);
        if other {
            self.move_to(NodeId::from_ip(ip, random));
        }
        other
    }
}

impl Sides {
    /// Those of `families`, all with this id.
    pub(super) fn new(families: &[Family], id: NodeId) -> Self {
        let side = |family| families.contains(&family).then(|| Side::new(family, id));
        Self { v4: side(Family::V4), v6: side(Family::V6), others: DhtState::default() }
    }

    /// Takes the ids that were saved, and returns the nodes. What is of families that the node
    /// takes no part in is kept, `most` nodes of it.
    pub(super) fn restore(&mut self, state: DhtState, most: usize) -> Vec<NodeInfo> {
        let [id_v4, id_v6] =
            [(Family::V4, state.id_v4), (Family::V6, state.id_v6)].map(|(family, id)| {
                match self.get_mut(family) {
                    Some(side) => {
                        id.into_iter().for_each(|id| side.take_id(id));
                        None
                    }
                    None => id,
                }
            });
        let (nodes, mut others): (Vec<_>, Vec<_>) = state
            .nodes
            .into_iter()
            .partition(|node| self.get(Family::of(node.addr.ip())).is_some());
        others.truncate(most);
        self.others = DhtState { id_v4, id_v6, nodes: others };
        nodes
    }

    /// The ids that we have, and what was saved of families that the node takes no part in.
    pub(super) fn state(&self) -> DhtState {
        let mut state = self.others.clone();
        state.id_v4 = self.id(Family::V4).or(state.id_v4);
        state.id_v6 = self.id(Family::V6).or(state.id_v6);
        state
    }

    pub(super) fn get(&self, family: Family) -> Option<&Side> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }

    pub(super) fn get_mut(&mut self, family: Family) -> Option<&mut Side> {
        match family {
            Family::V4 => self.v4.as_mut(),
            Family::V6 => self.v6.as_mut(),
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Side> {
        self.v4.iter().chain(&self.v6)
    }

    pub(super) fn families(&self) -> Vec<Family> {
        self.iter().map(|side| side.family).collect()
    }

    /// Our id in a family's DHT, if we take part in it.
    pub(super) fn id(&self, family: Family) -> Option<NodeId> {
        self.get(family).map(Side::id)
    }

    /// Whether a table has fewer than `low` nodes.
    pub(super) fn is_low(&self, low: usize) -> bool {
        self.iter().any(|side| side.table.len() < low)
    }

    /// Whether the table of a family that the node takes part in has fewer than `low` nodes.
    pub(super) fn lacks(&self, family: Family, low: usize) -> bool {
        self.get(family).is_some_and(|side| side.table.len() < low)
    }

    /// Whether a family has `low` nodes, and they answer.
    pub(super) fn any_is_fine(&self, low: usize) -> bool {
        self.iter().any(|side| side.online && side.table.len() >= low)
    }

    /// What a query in `family` asks for: nodes of the other family too, while its table is low
    /// (BEP 32).
    pub(super) fn want(&self, family: Family, low: usize) -> Option<Want> {
        let other = match family {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        };
        let is_low = self.get(other)?.table.len() < low;
        is_low.then_some(Want { v4: true, v6: true })
    }
}
