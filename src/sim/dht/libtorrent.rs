//! libtorrent's look-up of peers, to measure ours by: the algorithm of its version 2.1.1 with its
//! default settings, as its source tells it (`src/kademlia/`: `traversal_algorithm.cpp`,
//! `find_data.cpp`, `get_peers.cpp`, `rpc_manager.cpp`).
//!
//! It begins with the 8 closest nodes of the table, and keeps 5 queries under way among the best
//! candidates, of which it remembers 100, one a /24. A query that is silent for a second makes room
//! for another; after 15 s it has failed. Time-outs are looked for once a second, for which a node
//! has one timer. The look-up ends when the 8 closest have answered and no better one is asked, or
//! when nothing is under way.
//!
//! Its queries leave from a node of the network and are told from the node's own by their
//! transaction ids, which are of two bytes. It knows no routing table, and changes none.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use crate::{
    base::{rng::Rng, time::Instant},
    wire::krpc::{Body, Message, Method, NodeId, NodeInfo, Query},
};

/// Nodes that the look-up begins and ends with.
const K: usize = 8;
/// Queries under way among the best candidates (`dht_search_branching`).
const BRANCHING: usize = 5;
/// Candidates.
const MAX_RESULTS: usize = 100;
/// A query that is older makes room for another.
const SHORT_TIMEOUT: Duration = Duration::from_secs(1);
/// A query that is older has failed.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The shortest pause between two looks at the queries.
const MIN_TICK: Duration = Duration::from_millis(200);

/// A candidate.
struct Entry {
    distance: NodeId,
    info: NodeInfo,
    hop: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    /// Asked, under this transaction, and whether it has been silent for a second.
    Asked {
        at: Instant,
        transaction: u16,
        slow: bool,
    },
    Answered,
    Failed,
}

/// How a look-up went.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Outcome {
    /// Time to the first peer, and the hop of the node that told it.
    pub(super) first: Option<(Duration, u32)>,
    /// Time to the end.
    pub(super) whole: Duration,
    pub(super) queries: u64,
}

/// See the module.
pub(super) struct LibtorrentLookup {
    own: NodeId,
    target: NodeId,
    rng: Rng,
    started: Instant,
    /// Sorted by distance to the target.
    results: Vec<Entry>,
    subnets: BTreeSet<[u8; 3]>,
    branching: usize,
    next_tick: Instant,
    to_send: Vec<(SocketAddr, Vec<u8>)>,
    outcome: Outcome,
    done: bool,
}

impl LibtorrentLookup {
    /// A look-up by the node `own`, whose table has these nodes closest to the target.
    pub(super) fn new(
        now: Instant,
        own: NodeId,
        target: NodeId,
        closest: &[NodeInfo],
        mut rng: Rng,
    ) -> Self {
        // The timer is that of the node: it runs already.
        let next_tick = now + Duration::from_micros(rng.below(1_000_000));
        let mut lookup = Self {
            own,
            target,
            rng,
            started: now,
            results: Vec::new(),
            subnets: BTreeSet::new(),
            branching: BRANCHING,
            next_tick,
            to_send: Vec::new(),
            outcome: Outcome::default(),
            done: false,
        };
        closest.iter().take(K).for_each(|&node| lookup.add(node, None));
        lookup.ask(now);
        lookup
    }

    /// How it went, when it has ended.
    pub(super) fn outcome(&self) -> Option<Outcome> {
        self.done.then_some(self.outcome)
    }

    /// The next datagram to send.
    pub(super) fn poll_send(&mut self) -> Option<(SocketAddr, Vec<u8>)> {
        self.to_send.pop()
    }

    /// When [`handle_tick`](Self::handle_tick) is to be called.
    pub(super) fn next_tick(&self) -> Option<Instant> {
        (!self.done).then_some(self.next_tick)
    }

    /// A datagram has come to its node. False if it is the node's own.
    pub(super) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) -> bool {
        let Ok(Message { transaction, body: Body::Response(response), .. }) = Message::decode(data)
        else {
            return false;
        };
        let Ok(transaction) = transaction.try_into().map(u16::from_be_bytes) else { return false };
        let asked = self.results.iter_mut().find(|entry| {
            let State::Asked { transaction: of, .. } = entry.state else { return false };
            of == transaction && entry.info.addr == from
        });
        let Some(entry) = asked.filter(|_| !self.done) else { return true };
        let State::Asked { slow, .. } = entry.state else { return true };
        entry.state = State::Answered;
        let hop = entry.hop;
        self.branching -= usize::from(slow);
        if !response.values.is_empty() {
            self.outcome.first.get_or_insert((now.since(self.started), hop));
        }
        response.nodes.iter().flatten().for_each(|&node| self.add(node, Some(hop)));
        self.ask(now);
        true
    }

    /// Looks for queries that take long.
    pub(super) fn handle_tick(&mut self, now: Instant) {
        if self.done || now < self.next_tick {
            return;
        }
        let mut pause = SHORT_TIMEOUT;
        let mut news = false;
        for entry in &mut self.results {
            let State::Asked { at, slow, .. } = &mut entry.state else { continue };
            let age = now.since(*at);
            if age >= TIMEOUT {
                self.branching -= usize::from(*slow);
                entry.state = State::Failed;
                news = true;
            } else if age >= SHORT_TIMEOUT && !*slow {
                *slow = true;
                self.branching += 1;
                news = true;
            } else {
                pause = pause.min(TIMEOUT - age);
            }
        }
        self.next_tick = now + pause.max(MIN_TICK);
        if news {
            self.ask(now);
        }
    }

    /// Adds a candidate. One of the table is taken from any subnet.
    fn add(&mut self, info: NodeInfo, from_hop: Option<u32>) {
        let distance = info.id.distance(&self.target);
        let at = self.results.binary_search_by_key(&distance, |entry| entry.distance);
        let (Err(at), SocketAddr::V4(addr)) = (at, info.addr) else { return };
        let [a, b, c, _] = addr.ip().octets();
        if info.id == self.own || from_hop.is_some() && !self.subnets.insert([a, b, c]) {
            return;
        }
        let hop = from_hop.map_or(0, |hop| hop + 1);
        self.results.insert(at, Entry { distance, info, hop, state: State::New });
        if self.results.len() > MAX_RESULTS
            && let Some(State::Asked { slow: true, .. }) = self.results.pop().map(|e| e.state)
        {
            self.branching -= 1;
        }
    }

    /// Asks candidates, or ends.
    fn ask(&mut self, now: Instant) {
        let (mut wanted, mut outstanding) = (K, 0);
        for entry in &mut self.results {
            if wanted == 0 || outstanding >= self.branching {
                break;
            }
            match entry.state {
                State::Answered => wanted -= 1,
                State::Asked { .. } => outstanding += 1,
                State::Failed => {}
                State::New => {
                    let transaction = self.rng.next_u64() as u16;
                    let (info_hash, noseed, scrape) = (self.target, false, false);
                    let method = Method::GetPeers { info_hash, noseed, scrape };
                    let query = Query::new(self.own, method);
                    let packet = Message::query(&transaction.to_be_bytes(), query).encode();
                    self.to_send.push((entry.info.addr, packet));
                    entry.state = State::Asked { at: now, transaction, slow: false };
                    self.outcome.queries += 1;
                    outstanding += 1;
                }
            }
        }
        let under_way = |entry: &Entry| matches!(entry.state, State::Asked { .. });
        if wanted == 0 && outstanding == 0 || !self.results.iter().any(under_way) {
            self.done = true;
            self.outcome.whole = now.since(self.started);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::krpc::Response;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn node(n: u8) -> NodeInfo {
        let mut id = [0; 20];
        id[0] = n;
        NodeInfo { id: NodeId(id), addr: SocketAddr::from(([11, 0, n, 1], 1)) }
    }

    fn nodes(of: std::ops::RangeInclusive<u8>) -> Vec<NodeInfo> {
        of.map(node).collect()
    }

    /// Nodes 11 to 30 are in the table, and the target is 0.
    fn lookup() -> LibtorrentLookup {
        let own = NodeId([0xff; 20]);
        LibtorrentLookup::new(at(0), own, NodeId([0; 20]), &nodes(11..=30), Rng::new(1))
    }

    /// The nodes that are asked, and under which transactions.
    fn asked(lookup: &mut LibtorrentLookup) -> Vec<(u8, Vec<u8>)> {
        let sent = std::iter::from_fn(|| lookup.poll_send());
        let mut asked: Vec<_> = sent
            .map(|(to, data)| {
                let SocketAddr::V4(to) = to else { panic!() };
                (to.ip().octets()[2], Message::decode(&data).unwrap().transaction)
            })
            .collect();
        asked.sort();
        asked
    }

    fn numbers(asked: &[(u8, Vec<u8>)]) -> Vec<u8> {
        asked.iter().map(|(n, _)| *n).collect()
    }

    fn answer(
        lookup: &mut LibtorrentLookup,
        ms: u64,
        (n, transaction): &(u8, Vec<u8>),
        told: Vec<NodeInfo>,
        values: Vec<SocketAddr>,
    ) {
        let response =
            Response { id: node(*n).id, nodes: Some(told), values, ..Response::default() };
        let data = Message::response(transaction, response).encode();
        assert!(lookup.handle_datagram(at(ms), node(*n).addr, &data));
    }

    #[test]
    fn five_of_the_top_are_asked_and_the_eight_closest_end_it() {
        let mut lookup = lookup();
        let first = asked(&mut lookup);
        assert_eq!(numbers(&first), [11, 12, 13, 14, 15]);
        // Nearer ones are asked beside those that are under way.
        answer(&mut lookup, 50, &first[2], nodes(1..=4), Vec::new());
        let second = asked(&mut lookup);
        assert_eq!(numbers(&second), [1, 2, 3, 4]);
        let peers = vec!["192.0.2.1:1".parse().unwrap()];
        answer(&mut lookup, 90, &second[0], Vec::new(), peers.clone());
        answer(&mut lookup, 95, &second[1], Vec::new(), peers);
        answer(&mut lookup, 96, &second[2], Vec::new(), Vec::new());
        answer(&mut lookup, 97, &second[3], Vec::new(), Vec::new());
        let more = asked(&mut lookup);
        assert_eq!(numbers(&more), [16]);
        for call in [&first[0], &first[1], &first[3]] {
            answer(&mut lookup, 99, call, Vec::new(), Vec::new());
        }
        // Eight have answered and the rest is farther away.
        let outcome = lookup.outcome().unwrap();
        assert_eq!(outcome.first, Some((Duration::from_millis(90), 1)));
        assert_eq!(outcome.whole, Duration::from_millis(99));
        assert_eq!(lookup.next_tick(), None);
    }

    #[test]
    fn silent_query_makes_room_in_a_second_and_fails_in_fifteen() {
        let mut lookup = lookup();
        let first = asked(&mut lookup);
        assert!(lookup.next_tick().unwrap() < at(1000));
        let mut times = Vec::new();
        while let Some(tick) = lookup.next_tick() {
            lookup.handle_tick(tick);
            times.extend(numbers(&asked(&mut lookup)).iter().map(|_| tick.as_micros() / 1_000_000));
        }
        assert_eq!(times, [1, 1, 1], "the other three of the table");
        let outcome = lookup.outcome().unwrap();
        assert_eq!((outcome.first, outcome.queries), (None, 8));
        assert!(outcome.whole >= Duration::from_secs(16), "{:?}", outcome.whole);
        // It has ended; a late answer changes nothing.
        answer(&mut lookup, 40_000, &first[0], Vec::new(), vec!["192.0.2.1:1".parse().unwrap()]);
        assert_eq!(lookup.outcome().unwrap().first, None);
    }

    #[test]
    fn datagrams_of_the_node_itself_are_left_to_it() {
        let mut lookup = lookup();
        let response = Response { id: node(11).id, ..Response::default() };
        let data = Message::response(&[0; 4], response).encode();
        assert!(!lookup.handle_datagram(at(1), node(11).addr, &data));
        let ping = Message::query(&[0; 2], Query::new(node(11).id, Method::Ping)).encode();
        assert!(!lookup.handle_datagram(at(1), node(11).addr, &ping));
    }
}
