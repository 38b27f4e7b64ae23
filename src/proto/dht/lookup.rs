//! One look-up in one family: from the nodes that we know to those closest to a target.
//!
//! The best candidates are kept busy rather than a number of queries: queries under way count
//! only while nothing nearer waits, and one that takes longer than its node usually does makes room
//! for another (libtorrent's aggressive search, with time-outs of each node's own). Until peers
//! have appeared the look-up is wide, afterwards narrow (pymdht). It sends nothing itself.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use super::{
    event::SearchId,
    found_peers::FoundPeers,
    subnet::{Subnet, subnet},
    table::K,
};
use crate::{
    base::time::Instant,
    conf::DhtConf,
    wire::krpc::{BloomFilter, Family, NodeId, NodeInfo, is_local},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Lookup {
    search: SearchId,
    family: Family,
    target: NodeId,
    /// Not worth many queries at a time.
    narrow: bool,
    started: Instant,
    /// Sorted by distance to the target.
    candidates: Vec<Candidate>,
    subnets: BTreeSet<Subnet>,
    peers: FoundPeers,
    tally: Tally,
}

/// What a look-up counts.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) queries: u32,
    pub(super) answers: u32,
    /// Nodes that had the value.
    pub(super) copies: u32,
    /// The filters of all responses (BEP 33).
    pub(super) seeds: Option<BloomFilter>,
    pub(super) leechers: Option<BloomFilter>,
}

/// A node that may lead to the target.
#[derive(Debug)]
struct Candidate {
    distance: NodeId,
    info: NodeInfo,
    hop: u32,
    state: State,
    /// Its id fits its address (BEP 42).
    verified: bool,
    /// What it lets us store with.
    token: Option<Vec<u8>>,
    /// It holds a value of this sequence number.
    seq: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Asked,
    /// Asked, and silent for a while: it was asked once more.
    Slow,
    Answered,
    Failed,
}

/// A node to store something at.
#[derive(Clone, Debug)]
pub(super) struct Keeper {
    pub(super) info: NodeInfo,
    pub(super) token: Vec<u8>,
    /// The sequence number of the value that it has.
    pub(super) seq: Option<i64>,
}

/// What the look-up wants next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Ask this node.
    Ask(NodeInfo, u32),
    /// Wait for answers.
    Wait,
    /// The closest nodes are known, or as close as it gets.
    Done,
}

impl Lookup {
    pub(super) fn new(
        now: Instant,
        search: SearchId,
        family: Family,
        target: NodeId,
        narrow: bool,
    ) -> Self {
        Self {
            search,
            family,
            target,
            narrow,
            started: now,
            candidates: Vec::new(),
            subnets: BTreeSet::new(),
            peers: FoundPeers::default(),
            tally: Tally::default(),
        }
    }

    /// The search that it is part of.
    pub(super) fn search(&self) -> SearchId {
        self.search
    }

    pub(super) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn target(&self) -> NodeId {
        self.target
    }

    pub(super) fn tally(&self) -> &Tally {
        &self.tally
    }

    /// A node had the value.
    pub(super) fn note_copy(&mut self) {
        self.tally.copies += 1;
    }

    pub(super) fn started(&self) -> Instant {
        self.started
    }

    /// Adds nodes to ask. `from` is the node that told them; what it says of addresses that only
    /// it can reach is not believed. True if any is new.
    pub(super) fn add_nodes(
        &mut self,
        nodes: &[NodeInfo],
        from: Option<(IpAddr, u32)>,
        own: &NodeId,
        conf: &DhtConf,
    ) -> bool {
        let mut any = false;
        for &info in nodes {
            let foreign = from.is_some_and(|(ip, _)| is_local(info.addr.ip()) && !is_local(ip));
            let other_family = Family::of(info.addr.ip()) != self.family;
            if foreign || other_family || info.id == *own || info.addr.port() == 0 {
                continue;
            }
            let distance = info.id.distance(&self.target);
            let Err(at) = self.candidates.binary_search_by_key(&distance, |c| c.distance) else {
                continue;
            };
            if at >= conf.max_candidates || !self.subnets.insert(subnet(info.addr)) {
                continue;
            }
            self.candidates.insert(
                at,
                Candidate {
                    distance,
                    info,
                    hop: from.map_or(0, |(_, hop)| hop.saturating_add(1)),
                    state: State::New,
                    verified: info.id.fits(info.addr.ip()),
                    token: None,
                    seq: None,
                },
            );
            while self.candidates.len() > conf.max_candidates {
                let last = self.candidates.pop();
                last.iter().for_each(|last| self.leave_subnet(last.info.addr, last.state));
            }
            any = true;
        }
        any
    }

    /// What to do now. A node to ask counts as asked.
    pub(super) fn next(&mut self, now: Instant, conf: &DhtConf) -> Next {
        if now.since(self.started) >= conf.lookup_timeout {
            return Next::Done;
        }
        let narrow = self.narrow || self.peers.len() > 0;
        let width = if narrow { conf.lookup_width_found } else { conf.lookup_width };
        let spent = self.tally.queries as usize >= conf.max_queries;
        let (mut under_way, mut answered, mut verified) = (0, 0, 0);
        for candidate in &mut self.candidates {
            match candidate.state {
                State::Answered => {
                    answered += 1;
                    verified += usize::from(candidate.verified);
                    // Ids that their addresses may not have cost nothing to make.
                    if answered >= K && verified >= K || answered >= 2 * K {
                        break;
                    }
                }
                State::Asked => under_way += 1,
                State::New if under_way < width && !spent => {
                    candidate.state = State::Asked;
                    self.tally.queries += 1;
                    return Next::Ask(candidate.info, candidate.hop);
                }
                State::New if !spent => break,
                State::New | State::Slow | State::Failed => {}
            }
            if under_way >= width {
                break;
            }
        }
        // A slow node was asked again: it has as long again as the first time.
        let again = self.near().any(|candidate| candidate.state == State::Slow);
        if under_way > 0 || again { Next::Wait } else { Next::Done }
    }

    /// The candidates that the end depends on.
    fn near(&self) -> impl Iterator<Item = &Candidate> {
        let mut answered = 0;
        self.candidates.iter().take_while(move |candidate| {
            answered += usize::from(candidate.state == State::Answered);
            answered <= K
        })
    }

    /// A query is overdue for the first time. True if it is worth sending again.
    pub(super) fn handle_slow(&mut self, info: NodeInfo) -> bool {
        let near = self.near().take(2 * K).any(|candidate| candidate.info == info);
        let Some(candidate) = self.find(info) else { return false };
        if candidate.state != State::Asked {
            return false;
        }
        candidate.state = State::Slow;
        if !near {
            self.handle_failure(info);
        }
        self.tally.queries += u32::from(near);
        near
    }

    /// A query was not answered, or by an impostor. The answer may still come.
    pub(super) fn handle_failure(&mut self, info: NodeInfo) {
        if let Some(candidate) = self.find(info).filter(|c| c.state != State::Answered) {
            let before = std::mem::replace(&mut candidate.state, State::Failed);
            self.leave_subnet(info.addr, before);
        }
    }

    /// A node that has failed makes room for another of its subnet: it may never have been there.
    fn leave_subnet(&mut self, addr: SocketAddr, state: State) {
        if state != State::Failed {
            self.subnets.remove(&subnet(addr));
        }
    }

    /// What was asked is to be asked again: the network may be another.
    pub(super) fn restart(&mut self, now: Instant) {
        self.started = now;
        for candidate in self.candidates.iter_mut().filter(|c| c.state != State::Answered) {
            if candidate.state != State::Failed || self.subnets.insert(subnet(candidate.info.addr))
            {
                candidate.state = State::New;
            }
        }
    }

    /// A query could not be sent: its node may be asked later.
    pub(super) fn take_back(&mut self, info: NodeInfo) {
        if let Some(candidate) = self.find(info).filter(|c| c.state == State::Asked) {
            candidate.state = State::New;
            self.tally.queries = self.tally.queries.saturating_sub(1);
        }
    }

    /// A node answered. Returns its hop.
    pub(super) fn handle_answer(
        &mut self,
        info: NodeInfo,
        token: Option<Vec<u8>>,
        seq: Option<i64>,
    ) -> Option<u32> {
        let state = self.find(info).filter(|c| c.state != State::Answered)?.state;
        // It is late, and another of its subnet may have its place.
        if state == State::Failed && !self.subnets.insert(subnet(info.addr)) {
            return None;
        }
        let candidate = self.find(info)?;
        candidate.state = State::Answered;
        (candidate.token, candidate.seq) = (token, seq);
        let hop = candidate.hop;
        self.tally.answers += 1;
        Some(hop)
    }

    /// The hop of a node.
    pub(super) fn hop(&self, info: NodeInfo) -> u32 {
        self.candidates.iter().find(|c| c.info == info).map_or(0, |c| c.hop)
    }

    /// Peers that a node told: those that are new, within bounds.
    pub(super) fn new_peers(
        &mut self,
        values: &[SocketAddr],
        from: IpAddr,
        conf: &DhtConf,
    ) -> Vec<SocketAddr> {
        self.peers.add(values, from, conf.max_peers)
    }

    pub(super) fn peers_found(&self) -> usize {
        self.peers.len()
    }

    /// Adds a node's counts (BEP 33).
    pub(super) fn add_scrape(&mut self, seeds: &BloomFilter, peers: &BloomFilter) {
        self.tally.seeds.get_or_insert_default().union(seeds);
        self.tally.leechers.get_or_insert_default().union(peers);
    }

    /// The closest nodes that answered.
    pub(super) fn closest(&self) -> Vec<NodeInfo> {
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered);
        answered.take(2 * K).map(|c| c.info).collect()
    }

    /// Where to store: the closest nodes that gave a token, and as many of those whose id fits
    /// their address (BEP 42, "Enforcement").
    pub(super) fn keepers(&self) -> Vec<Keeper> {
        let mut keepers = Vec::new();
        let mut verified = 0;
        for candidate in self.candidates.iter().filter(|c| c.state == State::Answered) {
            let Some(token) = candidate.token.clone() else { continue };
            if keepers.len() >= K && (verified >= K || !candidate.verified) {
                continue;
            }
            verified += usize::from(candidate.verified);
            keepers.push(Keeper { info: candidate.info, token, seq: candidate.seq });
            if keepers.len() >= 2 * K {
                break;
            }
        }
        keepers
    }

    fn find(&mut self, info: NodeInfo) -> Option<&mut Candidate> {
        let distance = info.id.distance(&self.target);
        let at = self.candidates.binary_search_by_key(&distance, |c| c.distance).ok()?;
        self.candidates.get_mut(at).filter(|c| c.info == info)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn node(n: u8) -> NodeInfo {
        let mut id = [0; 20];
        id[0] = n;
        NodeInfo { id: NodeId(id), addr: SocketAddr::from(([11, 0, n, 1], 1)) }
    }

    fn lookup(count: u8) -> (Lookup, DhtConf) {
        let conf = DhtConf::default();
        let target = NodeId([0; 20]);
        let mut lookup = Lookup::new(Instant::ZERO, SearchId(1), Family::V4, target, false);
        let nodes: Vec<_> = (1..=count).map(node).collect();
        lookup.add_nodes(&nodes, None, &NodeId([0xff; 20]), &conf);
        (lookup, conf)
    }

    fn asked(lookup: &mut Lookup, conf: &DhtConf) -> Vec<u8> {
        std::iter::from_fn(|| match lookup.next(Instant::ZERO, conf) {
            Next::Ask(info, _) => Some(info.id.0[0]),
            _ => None,
        })
        .collect()
    }

    #[test]
    fn lookup_is_wide_until_peers_appear_then_narrow() {
        let (mut lookup, conf) = lookup(100);
        assert_eq!(asked(&mut lookup, &conf), (1..=16).collect::<Vec<_>>());
        assert!(lookup.handle_answer(node(5), None, None).is_some());
        assert_eq!(asked(&mut lookup, &conf), [17]);
        let peers = ["192.0.2.1:1".parse().unwrap()];
        assert_eq!(lookup.new_peers(&peers, node(5).addr.ip(), &conf), peers);
        (1..=5).for_each(|n| _ = lookup.handle_answer(node(n), None, None));
        assert_eq!(asked(&mut lookup, &conf), [0; 0]);
        assert_eq!(lookup.next(Instant::ZERO, &conf), Next::Wait);
    }

    #[test]
    fn slow_node_makes_room_and_is_asked_again() {
        let (mut lookup, conf) = lookup(100);
        assert_eq!(asked(&mut lookup, &conf).len(), 16);
        assert!(lookup.handle_slow(node(1)));
        assert!(!lookup.handle_slow(node(1)));
        assert_eq!(asked(&mut lookup, &conf), [17]);
        lookup.handle_failure(node(1));
        assert!(lookup.handle_answer(node(1), None, None).is_some(), "late answers count");
    }

    #[test]
    fn lookup_ends_when_the_closest_have_answered() {
        let (mut lookup, conf) = lookup(100);
        asked(&mut lookup, &conf);
        // Ids that do not fit their addresses: twice as many are wanted.
        for n in 1..=15 {
            lookup.handle_answer(node(n), Some(vec![n]), None);
            assert_ne!(lookup.next(Instant::ZERO, &conf), Next::Done);
        }
        lookup.handle_answer(node(16), Some(vec![16]), None);
        while let Next::Ask(..) = lookup.next(Instant::ZERO, &conf) {}
        assert_eq!(lookup.next(Instant::ZERO, &conf), Next::Done);
        assert_eq!(lookup.keepers().len(), K);
        assert_eq!(lookup.closest().len(), 2 * K);
        let end = Instant::ZERO + Duration::from_secs(30);
        assert_eq!(lookup.next(end, &conf), Next::Done);
    }

    #[test]
    fn candidates_and_queries_are_bounded() {
        let (mut lookup, mut conf) = lookup(0);
        let own = NodeId([0xff; 20]);
        for n in 0..100_000u32 {
            let mut id = [0; 20];
            id[..4].copy_from_slice(&(u32::MAX - n).to_be_bytes());
            let ip = std::net::Ipv4Addr::from(0x0b00_0000 + n * 256);
            let info = NodeInfo { id: NodeId(id), addr: SocketAddr::new(ip.into(), 1) };
            lookup.add_nodes(&[info], Some((ip.into(), 3)), &own, &conf);
        }
        assert_eq!(lookup.candidates.len(), conf.max_candidates);
        assert_eq!(lookup.subnets.len(), conf.max_candidates);
        conf.max_queries = 20;
        let mut queries = 0;
        while let Next::Ask(info, _) = lookup.next(Instant::ZERO, &conf) {
            queries += 1;
            lookup.handle_failure(info);
        }
        assert_eq!(queries, 20);
    }

    #[test]
    fn addresses_that_lead_nowhere_are_not_taken() {
        let (mut lookup, conf) = lookup(0);
        let own = NodeId([0xff; 20]);
        let local = NodeInfo { id: NodeId([1; 20]), addr: "127.0.0.1:22".parse().unwrap() };
        let outside = Some(("11.0.0.1".parse().unwrap(), 0));
        let v6 = NodeInfo { id: NodeId([2; 20]), addr: "[2001:db8::1]:22".parse().unwrap() };
        let ours = NodeInfo { id: own, addr: "11.0.0.9:1".parse().unwrap() };
        lookup.add_nodes(&[local, v6, ours], outside, &own, &conf);
        assert!(lookup.candidates.is_empty());
        lookup.add_nodes(&[local], Some(("127.0.0.2".parse().unwrap(), 0)), &own, &conf);
        assert_eq!(lookup.candidates.len(), 1);
        // One a /24.
        let neighbour = |n| NodeInfo { addr: SocketAddr::from(([11, 0, 0, n], 1)), ..node(n) };
        lookup.add_nodes(&[neighbour(1), neighbour(2)], outside, &own, &conf);
        assert_eq!(lookup.candidates.len(), 2);
        // Unless the one that was named first is not there.
        lookup.handle_failure(neighbour(1));
        lookup.handle_failure(neighbour(1));
        assert!(lookup.add_nodes(&[neighbour(2)], outside, &own, &conf));
        assert_eq!(lookup.handle_answer(neighbour(1), None, None), None, "its place is taken");
        assert!(lookup.handle_answer(neighbour(2), None, None).is_some());
        lookup.restart(Instant::ZERO);
        assert!(!lookup.add_nodes(&[neighbour(3)], outside, &own, &conf));
        // The local one alone is left to ask.
        assert_eq!(asked(&mut lookup, &conf), [1]);
    }
}
