//! What the node promises, packet by packet. Networks of nodes are tested in `sim::dht`.

mod serving;

use std::{net::SocketAddr, time::Duration};

use super::*;
use crate::{
    base::time::Instant,
    conf::{Bootstrap, DhtConf},
    wire::krpc::{
        Body, ErrorCode, Family, Item, ItemFields, MAX_SENT, Message, Method, Mutable, NodeId,
        NodeInfo, Query, Response, SigningKey, Want,
    },
};

const THEM: &str = "11.0.1.1:6881";

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

fn addr(n: u32) -> SocketAddr {
    SocketAddr::new(std::net::Ipv4Addr::from(0x0b00_0001 + n * 256).into(), 6881)
}

fn id(n: u8) -> NodeId {
    NodeId([n; 20])
}

/// A node and what it sent.
struct Rig {
    node: Node,
    now: Instant,
    sent: Vec<(SocketAddr, Message)>,
    /// When it wanted a name resolved.
    named: Vec<Instant>,
    /// Families of which no node answers.
    dead: Vec<Family>,
}

impl Rig {
    fn new() -> Self {
        Self::with(DhtConf::default())
    }

    fn with(conf: DhtConf) -> Self {
        Self::of(Node::new(conf, &Family::ALL, &[7; 32], None, at(0)), at(0))
    }

    fn of(node: Node, now: Instant) -> Self {
        Self { node, now, sent: Vec::new(), named: Vec::new(), dead: Vec::new() }
    }

    fn drain(&mut self) {
        while let Some(output) = self.node.poll_output() {
            let Output::Send { to, data } = output else {
                self.named.push(self.now);
                continue;
            };
            assert!(data.len() <= MAX_SENT, "{} bytes", data.len());
            self.sent.push((to, Message::decode(&data).unwrap()));
        }
    }

    fn receive(&mut self, from: SocketAddr, message: &Message) {
        self.node.handle_datagram(self.now, from, &message.encode());
        self.drain();
    }

    /// Asks the node something, and returns its answer.
    fn ask(&mut self, from: SocketAddr, method: Method) -> Option<Body> {
        let query = Query::new(id(0x99), method);
        self.ask_with(from, query)
    }

    fn ask_with(&mut self, from: SocketAddr, query: Query) -> Option<Body> {
        self.sent.clear();
        self.receive(from, &Message::query(b"aa", query));
        let own = |(_, message): &&(SocketAddr, Message)| !matches!(message.body, Body::Query(_));
        let (to, message) = self.sent.iter().find(own)?.clone();
        assert_eq!((to, &message.transaction[..], message.ip), (from, &b"aa"[..], Some(from)));
        Some(message.body)
    }

    #[track_caller]
    fn response(&mut self, from: SocketAddr, method: Method) -> Response {
        match self.ask(from, method) {
            Some(Body::Response(response)) => *response,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn error(&mut self, from: SocketAddr, method: Method) -> i64 {
        match self.ask(from, method) {
            Some(Body::Error { code, .. }) => code,
            other => panic!("{other:?}"),
        }
    }

    /// Lets time pass; nothing answers.
    fn run_until(&mut self, end: Instant) {
        while let Some(at) = self.node.poll_timeout().filter(|&at| at <= end) {
            self.now = at.max(self.now);
            self.node.handle_timeout(self.now);
            self.drain();
        }
        self.now = end;
    }

    /// Lets time pass while other nodes answer every query by `answer`.
    fn run_with(&mut self, end: Instant, answer: &mut dyn FnMut(SocketAddr, &Query) -> Response) {
        loop {
            for (to, message) in std::mem::take(&mut self.sent) {
                let lives = !self.dead.contains(&Family::of(to.ip()));
                if let (Body::Query(query), true) = (&message.body, lives) {
                    let response = Message::response(&message.transaction, answer(to, query));
                    self.receive(to, &response);
                }
            }
            match self.node.poll_timeout().filter(|&at| at <= end) {
                Some(at) => {
                    self.now = at.max(self.now);
                    self.node.handle_timeout(self.now);
                    self.drain();
                }
                None if self.sent.is_empty() => break,
                None => {}
            }
        }
        self.now = end;
    }

    fn events(&mut self) -> Vec<DhtEvent> {
        std::iter::from_fn(|| self.node.poll_event()).collect()
    }

    /// Fills the table with `count` nodes that answer.
    fn meet(&mut self, count: u32) {
        (0..count).for_each(|n| self.node.add_node(self.now, addr(n)));
        let end = self.now + Duration::from_secs(20);
        self.run_with(end, &mut |to, _| pong(to));
    }
}

/// The id that a node has by its address.
fn id_of(addr: SocketAddr) -> NodeId {
    let mut random = [0x55; 20];
    if let SocketAddr::V4(addr) = addr {
        random[4..8].copy_from_slice(&addr.ip().octets());
    }
    NodeId::from_ip(addr.ip(), random)
}

/// We accept peers at this port.
fn announce(port: u16) -> Announce {
    Announce { port_v4: Some(port), port_v6: Some(port), implied_port: false, seed: false }
}

fn pong(to: SocketAddr) -> Response {
    Response { id: id_of(to), ..Response::default() }
}

#[test]
fn query_alone_brings_no_node_into_the_table() {
    let mut rig = Rig::new();
    let them = THEM.parse().unwrap();
    assert_eq!(rig.response(them, Method::Ping).id, rig.node.id(Family::V4).unwrap());
    assert_eq!(rig.node.stats(rig.now).nodes_v4, 0);
    // It is asked in turn, and enters when it answers.
    rig.run_with(at(100), &mut |to, _| pong(to));
    let known: Vec<_> = rig.node.table(Family::V4).map(|contact| contact.info.addr).collect();
    assert_eq!(known, [them]);
    // One that says that it answers nothing is not asked.
    let query = Query { read_only: true, ..Query::new(id(3), Method::Ping) };
    rig.ask_with(addr(77), query);
    rig.run_until(at(2000));
    let asked = |(to, message): &(SocketAddr, Message)| {
        *to == addr(77) && matches!(message.body, Body::Query(_))
    };
    assert!(!rig.sent.iter().any(asked));
}

#[test]
fn answer_from_another_source_or_transaction_is_ignored() {
    let mut rig = Rig::new();
    rig.node.add_node(at(0), addr(1));
    rig.run_until(at(10));
    let (_, query) = rig.sent.iter().find(|(to, _)| *to == addr(1)).unwrap().clone();
    let answer = |transaction: &[u8]| Message::response(transaction, pong(addr(1)));
    rig.receive(addr(2), &answer(&query.transaction));
    rig.receive(addr(1), &answer(b"zzzz"));
    assert_eq!((rig.node.stats(rig.now).nodes_v4, rig.node.stats(rig.now).ignored), (0, 2));
    rig.receive(addr(1), &answer(&query.transaction));
    rig.receive(addr(1), &answer(&query.transaction));
    assert_eq!((rig.node.stats(rig.now).nodes_v4, rig.node.stats(rig.now).ignored), (1, 3));
}

#[test]
fn ten_silent_queries_in_a_row_mean_that_we_are_offline() {
    let mut rig = Rig::new();
    rig.meet(60);
    let before = rig.node.stats(rig.now).nodes_v4;
    assert!(before >= 50, "{before}");
    rig.events();
    rig.run_until(rig.now + Duration::from_secs(3600));
    let after = rig.node.stats(rig.now);
    assert!(after.offline && after.nodes_v4 >= before - 4, "{after:?}");
    assert!(rig.events().contains(&DhtEvent::Offline { family: Family::V4 }));
    // One answer, and we are back.
    let end = rig.now + Duration::from_secs(3);
    rig.sent.clear();
    rig.run_with(end, &mut |to, _| pong(to));
    assert!(!rig.node.stats(rig.now).offline);
    assert!(rig.events().contains(&DhtEvent::Online { family: Family::V4 }));
}

#[test]
fn dead_nodes_of_a_lookup_do_not_mean_that_we_are_offline() {
    let mut rig = Rig::new();
    rig.meet(60);
    rig.events();
    // Two of three are dead: their queries are lost together, long after the others have answered.
    let search = rig.node.find_peers(rig.now, id(0x42), None);
    let lives = |to: &SocketAddr| matches!(to, SocketAddr::V4(to) if to.ip().octets()[2] % 3 == 0);
    for _ in 0..20 {
        rig.drain();
        for (to, message) in std::mem::take(&mut rig.sent) {
            if lives(&to) && matches!(message.body, Body::Query(_)) {
                rig.receive(to, &Message::response(&message.transaction, pong(to)));
            }
        }
        rig.run_until(rig.now + Duration::from_millis(100));
    }
    rig.run_until(rig.now + Duration::from_secs(5));
    let stats = rig.node.stats(rig.now);
    assert!(stats.timeouts >= DhtConf::default().offline_after.into(), "{stats:?}");
    let events = rig.events();
    assert!(!stats.offline && !events.contains(&DhtEvent::Offline { family: Family::V4 }));
    let ended = |e: &DhtEvent| matches!(e, DhtEvent::Finished { search: of, .. } if *of == search);
    assert!(events.iter().any(ended), "{events:?}");
}

#[test]
fn node_that_asks_us_is_asked_later_if_many_are_known() {
    let stranger = addr(900);
    for (groups, first) in [(1, 0), (2, 180)] {
        let mut rig = Rig::new();
        for group in 0..groups {
            (0..60).for_each(|n| rig.node.add_node(rig.now, addr(60 * group + n)));
            rig.run_with(rig.now + Duration::from_secs(20), &mut |to, _| pong(to));
        }
        let known = rig.node.stats(rig.now).nodes_v4;
        assert!(known + 6 >= 60 * groups as usize, "{known}");
        let query = Query::new(id_of(stranger), Method::Ping);
        rig.receive(stranger, &Message::query(b"aa", query));
        let began = rig.now;
        let is_known =
            |rig: &Rig| rig.node.table(Family::V4).any(|contact| contact.info.addr == stranger);
        let after = (0..300).find(|&s| {
            rig.run_with(began + Duration::from_secs(s), &mut |to, _| pong(to));
            is_known(&rig)
        });
        assert!(after.is_some_and(|s| (first..first + 3).contains(&s)), "{after:?}");
    }
}

#[test]
fn bootstrap_names_are_resolved_again_until_nodes_answer() {
    let bootstrap = vec![Bootstrap { host: "router".into(), port: 1, router: true }];
    let conf = DhtConf { bootstrap, low_table: 3, ..DhtConf::default() };
    let mut node = Node::new(conf, &[Family::V4], &[7; 32], None, at(0));
    let mut resolves = Vec::new();
    let mut now = at(0);
    while now < at(20_000) {
        now = node.poll_timeout().unwrap().max(now);
        node.handle_timeout(now);
        while let Some(output) = node.poll_output() {
            assert_eq!(output, Output::Resolve { host: "router".into(), port: 1 });
            resolves.push(now.as_micros() / 1_000_000);
        }
    }
    assert_eq!(resolves, [0, 1, 3, 7, 12, 17, 22]);
    // The router is asked, tells nodes, and enters no table.
    let mut rig = Rig::of(node, now);
    rig.node.handle_resolved(now, "router", 1, &[addr(50)]);
    rig.drain();
    let told: Vec<_> = (1..9).map(|n| NodeInfo { id: id_of(addr(n)), addr: addr(n) }).collect();
    rig.run_with(now + Duration::from_secs(10), &mut |to, _| Response {
        nodes: Some(told.clone()),
        ..pong(to)
    });
    let known: Vec<_> = rig.node.table(Family::V4).map(|contact| contact.info.addr).collect();
    assert!(known.len() == 8 && !known.contains(&addr(50)), "{known:?}");
}

#[test]
fn id_follows_the_address_that_nodes_agree_on() {
    let mut rig = Rig::new();
    let outside: SocketAddr = "12.34.56.78:6881".parse().unwrap();
    let before = rig.node.id(Family::V4).unwrap();
    assert!(!before.fits(outside.ip()));
    (0..8).for_each(|n| rig.node.add_node(rig.now, addr(n)));
    for _ in 0..100 {
        for (to, query) in std::mem::take(&mut rig.sent) {
            let mut message = Message::response(&query.transaction, pong(to));
            message.ip = Some(outside);
            rig.receive(to, &message);
        }
        rig.run_until(rig.now + Duration::from_millis(100));
    }
    assert!(rig.node.id(Family::V4).unwrap().fits(outside.ip()));
    assert_eq!(rig.node.id(Family::V6), Some(before));
    assert_eq!(rig.node.stats(rig.now).nodes_v4, 8, "the nodes are kept");
    assert!(rig.events().contains(&DhtEvent::ExternalAddress { addr: outside }));
}

#[test]
fn id_that_changes_while_it_is_looked_up_is_looked_up_again() {
    let mut rig = Rig::new();
    let outside: SocketAddr = "12.34.56.78:6881".parse().unwrap();
    let before = rig.node.id(Family::V4).unwrap();
    let told: Vec<_> = (1..13).map(|n| NodeInfo { id: id_of(addr(n)), addr: addr(n) }).collect();
    rig.node.add_bootstrap(rig.now, Bootstrap { host: "n".into(), port: 1, router: false });
    rig.node.handle_resolved(rig.now, "n", 1, &[addr(0)]);
    rig.drain();
    // Six nodes answer, and say where we are. Seven do not: the look-up waits for them.
    for _ in 0..3 {
        for (to, query) in std::mem::take(&mut rig.sent) {
            let (from, nodes) = (to, Some(told.clone()));
            if (0..6).any(|n| addr(n) == from) {
                let response = Response { nodes, ..pong(to) };
                let mut message = Message::response(&query.transaction, response);
                message.ip = Some(outside);
                rig.receive(to, &message);
            }
        }
    }
    let own = rig.node.id(Family::V4).unwrap();
    assert!(own != before && rig.node.stats(rig.now).lookups > 0);
    rig.run_until(rig.now + Duration::from_secs(7));
    let mut looked = 0;
    rig.run_with(rig.now + Duration::from_secs(60), &mut |to, query| {
        looked += u32::from(query.method == Method::FindNode { target: own });
        pong(to)
    });
    assert!(looked >= 8, "{looked}");
}

#[test]
fn peers_are_told_at_the_first_response_and_only_once() {
    let mut rig = Rig::new();
    rig.meet(30);
    rig.events();
    let hash = id(5);
    let search = rig.node.find_peers(rig.now, hash, None);
    rig.drain();
    let peer: SocketAddr = "12.0.0.1:5".parse().unwrap();
    let end = rig.now + Duration::from_secs(30);
    rig.run_with(end, &mut |to, _| Response { values: vec![peer], ..pong(to) });
    let events = rig.events();
    let peers = events.iter().filter(|event| matches!(event, DhtEvent::Peers { .. }));
    assert_eq!(peers.count(), 1);
    let outcome = events.iter().find_map(|event| match event {
        DhtEvent::Finished { search: of, outcome, .. } if *of == search => Some(*outcome),
        _ => None,
    });
    let outcome = outcome.unwrap();
    assert!(outcome.answers >= 8 && outcome.peers == 1 && outcome.stored == 0, "{outcome:?}");
}

#[test]
fn value_that_does_not_prove_itself_is_not_told() {
    let mut rig = Rig::new();
    rig.meet(30);
    rig.events();
    let key = SigningKey::from_seed(&[1; 32]).unwrap();
    let item = |seq| Mutable::sign(&key, b"", seq, b"i7e".to_vec()).unwrap();
    let target = Mutable::target(&key.public(), b"");
    rig.node.get(rig.now, target, b"");
    rig.drain();
    let mut n = 0;
    let end = rig.now + Duration::from_secs(30);
    rig.run_with(end, &mut |to, _| {
        n += 1;
        let mut honest = item(n % 3 + 1);
        if n % 2 == 0 {
            // A later one that is forged.
            honest.seq = 100;
        }
        let Mutable { value, key, seq, signature, .. } = honest;
        let fields = ItemFields {
            value: Some(value),
            key: Some(key),
            seq: Some(seq),
            signature: Some(signature),
        };
        Response { item: fields, ..pong(to) }
    });
    let seqs: Vec<_> = rig
        .events()
        .into_iter()
        .filter_map(|event| match event {
            DhtEvent::Value { item, .. } => item.seq(),
            _ => None,
        })
        .collect();
    assert!(!seqs.is_empty() && seqs.is_sorted() && seqs.iter().all(|&seq| seq <= 3), "{seqs:?}");
}

#[test]
fn state_brings_a_node_back_without_bootstrap() {
    let mut rig = Rig::new();
    rig.meet(40);
    let state = DhtState::decode(&rig.node.state().encode()).unwrap();
    assert!(state.nodes.len() >= 30, "{}", state.nodes.len());
    let node = Node::new(DhtConf::default(), &Family::ALL, &[8; 32], Some(state.clone()), at(0));
    assert_eq!(node.id(Family::V4), state.id_v4);
    // What it knew is not lost if it never gets online.
    assert_eq!(node.state().nodes.len(), state.nodes.len());
    let mut rig = Rig::of(node, at(0));
    rig.run_with(at(1000), &mut |to, _| pong(to));
    assert!(rig.node.stats(rig.now).nodes_v4 >= 10);
}

#[test]
fn searches_beyond_the_limit_end_at_once_and_nothing_grows() {
    let conf = DhtConf { max_waiting: 50, max_lookups: 4, max_events: 200, ..DhtConf::default() };
    let mut rig = Rig::with(conf);
    rig.meet(30);
    for n in 0..1000u32 {
        let mut hash = [0; 20];
        hash[..4].copy_from_slice(&n.to_be_bytes());
        rig.node.find_peers(rig.now, NodeId(hash), None);
    }
    let stats = rig.node.stats(rig.now);
    assert!(stats.lookups <= 4 && stats.waiting <= 51, "{stats:?}");
    assert!(rig.node.held().1 <= 200);
    rig.run_until(rig.now + Duration::from_secs(3600));
    let stats = rig.node.stats(rig.now);
    assert!(stats.waiting == 0 && rig.node.held().2 <= 2, "{stats:?}");
}

#[test]
fn late_timer_means_that_the_machine_has_slept() {
    let mut rig = Rig::new();
    rig.meet(60);
    rig.sent.clear();
    rig.now = rig.now + Duration::from_secs(3600);
    rig.node.handle_timeout(rig.now);
    rig.drain();
    let asked: Vec<_> = rig.sent.iter().map(|(to, _)| *to).collect();
    assert!(asked.len() >= 8, "{asked:?}");
}

#[test]
fn node_asked_longest_ago_is_asked_every_five_seconds() {
    let mut rig = Rig::new();
    rig.meet(12);
    // The look-ups that fill a table are over.
    rig.run_with(rig.now + Duration::from_secs(7200), &mut |to, _| pong(to));
    let known: Vec<_> = rig.node.table(Family::V4).map(|contact| contact.info.addr).collect();
    assert_eq!(known.len(), 12);
    let began = rig.now;
    let mut asked: Vec<(Duration, SocketAddr)> = Vec::new();
    for ms in (100..=300_000).step_by(100) {
        let at = Duration::from_millis(ms);
        rig.run_with(began + at, &mut |to, _| {
            asked.push((at, to));
            pong(to)
        });
    }
    for addr in known {
        let times = asked.iter().filter(|(_, to)| *to == addr).map(|(at, _)| *at);
        let times: Vec<_> = std::iter::once(Duration::ZERO).chain(times).collect();
        let longest = times.windows(2).map(|two| two[1] - two[0]).max().unwrap();
        // Twelve nodes, one every 5.5 s.
        assert!(longest <= Duration::from_millis(66_200), "{longest:?}");
    }
    // A look-up may fall into this time, and no more.
    assert!((54..90).contains(&asked.len()), "{}", asked.len());
}

#[test]
fn state_of_a_family_without_part_is_kept_for_later() {
    let mut rig = Rig::new();
    rig.meet(20);
    let mut state = rig.node.state();
    let v6 = NodeInfo { id: id(6), addr: "[2001:db8::6]:6".parse().unwrap() };
    (state.id_v6, state.nodes) = (Some(id(66)), [&state.nodes[..], &[v6]].concat());
    let node = Node::new(DhtConf::default(), &[Family::V4], &[8; 32], Some(state.clone()), at(0));
    assert_eq!(node.state().encode(), state.encode());
    let mut rig = Rig::of(node, at(0));
    rig.run_with(at(100_000), &mut |to, _| pong(to));
    assert!(rig.node.stats(rig.now).nodes_v4 >= 10);
    let later = rig.node.state();
    assert_eq!((later.id_v4, later.id_v6), (state.id_v4, Some(id(66))));
    assert_eq!(later.nodes.iter().filter(|node| **node == v6).count(), 1);
    // A look-up waits for a node of its own family.
    let only_v6 = DhtState { nodes: vec![v6], ..DhtState::default() };
    let node = Node::new(DhtConf::default(), &[Family::V4], &[8; 32], Some(only_v6), at(0));
    let mut rig = Rig::of(node, at(0));
    rig.node.find_peers(rig.now, id(5), None);
    assert_eq!(rig.node.stats(rig.now).waiting, 1);
}

/// Node `n` of IPv6.
fn addr_v6(n: u16) -> SocketAddr {
    SocketAddr::new(std::net::Ipv6Addr::new(0x2600, n, 1, 0, 0, 0, 0, 1).into(), 6881)
}

#[test]
fn nodes_of_each_family_are_told_the_port_of_their_own() {
    for (port_v4, port_v6) in [(Some(7000), Some(6882)), (None, Some(6882)), (Some(7000), None)] {
        let mut rig = Rig::new();
        (0..12).for_each(|n| rig.node.add_node(rig.now, addr_v6(n)));
        rig.meet(12);
        let announce = Announce { port_v4, port_v6, ..announce(1) };
        rig.node.find_peers(rig.now, id(5), Some(announce));
        rig.drain();
        let mut told = Vec::new();
        rig.run_with(rig.now + Duration::from_secs(30), &mut |to, query| {
            if let Method::AnnouncePeer { port, .. } = query.method {
                told.push((to.is_ipv4(), port));
            }
            Response { token: Some(vec![1]), ..pong(to) }
        });
        for (is_v4, port) in [(true, port_v4), (false, port_v6)] {
            let count = told.iter().filter(|(v4, _)| *v4 == is_v4).count();
            assert_eq!(count >= 8, port.is_some(), "{told:?}");
            assert!(told.iter().all(|told| told.0 != is_v4 || Some(told.1) == port), "{told:?}");
        }
    }
}

#[test]
fn announce_whose_search_ends_at_once_is_tried_again_soon() {
    let conf = DhtConf { max_waiting: 0, ..DhtConf::default() };
    let mut rig = Rig::with(conf);
    rig.meet(30);
    rig.node.announce(rig.now, id(5), Some(announce(1)));
    let ended = |rig: &mut Rig, s| {
        rig.run_with(rig.now + Duration::from_secs(s), &mut |to, _| pong(to));
        let is_ours =
            |e: &DhtEvent| matches!(e, DhtEvent::Finished { target, .. } if *target == id(5));
        rig.events().into_iter().filter(is_ours).count()
    };
    assert_eq!(ended(&mut rig, 1), 1);
    assert_eq!(ended(&mut rig, 15), 1);
}

#[test]
fn family_without_network_leaves_the_other_in_peace() {
    let bootstrap = vec![Bootstrap { host: "router".into(), port: 1, router: true }];
    let mut rig = Rig::with(DhtConf { bootstrap, ..DhtConf::default() });
    rig.dead = vec![Family::V6];
    rig.meet(60);
    let began = rig.now;
    let routers = [addr(900), addr_v6(900)];
    let run = |rig: &mut Rig, s| {
        let (mut names, mut felt) = (0, 0);
        let end = rig.now + Duration::from_secs(s);
        while rig.now < end {
            names += rig.named.len();
            if !std::mem::take(&mut rig.named).is_empty() {
                rig.node.handle_resolved(rig.now, "router", 1, &routers);
                rig.drain();
            }
            rig.run_with(rig.now + Duration::from_secs(1), &mut |to, _| {
                felt += u32::from(to == routers[0]);
                pong(to)
            });
        }
        (names, felt)
    };
    run(&mut rig, 60);
    let (names, felt) = run(&mut rig, 7200);
    assert!((1..10).contains(&names) && felt == 0, "{names} {felt}");
    // One that a torrent names is asked all the same.
    rig.node.add_bootstrap(rig.now, Bootstrap { host: "new".into(), port: 1, router: false });
    rig.node.handle_resolved(rig.now, "new", 1, &[addr(901)]);
    rig.drain();
    assert!(rig.sent.iter().any(|(to, _)| *to == addr(901)));
    // Once no family has what it needs there is no patience.
    rig.run_with(rig.now + Duration::from_secs(60), &mut |to, _| pong(to));
    rig.dead = Family::ALL.into();
    let (names, _) = run(&mut rig, 180);
    assert!(names >= 3, "{names} {:?}", rig.now.since(began));
}

#[test]
fn torrent_that_stops_is_told_by_no_search_under_way() {
    let mut rig = Rig::new();
    rig.meet(30);
    rig.events();
    let hash = id(5);
    rig.node.announce(rig.now, hash, Some(announce(1)));
    let token = |to| Response { token: Some(vec![1]), ..pong(to) };
    let told = |rig: &mut Rig| {
        let mut ports = Vec::new();
        rig.run_with(rig.now + Duration::from_secs(5), &mut |to, query| {
            match query.method {
                Method::AnnouncePeer { port, .. } => ports.push(port),
                Method::GetPeers { .. } => ports.push(0),
                _ => {}
            }
            token(to)
        });
        ports
    };
    // The search runs: nodes are asked, and none has answered.
    rig.run_until(rig.now);
    assert!(rig.node.stats(rig.now).lookups > 0);
    rig.node.announce(rig.now, hash, Some(announce(2)));
    assert!(told(&mut rig).iter().all(|port| [0, 2].contains(port)));
    rig.events();
    // The same once more, and it stops.
    rig.node.announce(rig.now, hash, Some(announce(3)));
    rig.run_until(rig.now);
    assert!(rig.node.stats(rig.now).lookups > 0);
    rig.sent.clear();
    rig.node.stop_announcing(rig.now, &hash);
    let stats = rig.node.stats(rig.now);
    assert_eq!((stats.lookups, stats.waiting, stats.tracked), (0, 0, 0));
    assert_eq!(told(&mut rig), []);
    let is_end = |e: &DhtEvent| matches!(e, DhtEvent::Finished { target, .. } if *target == hash);
    assert_eq!(rig.events().into_iter().filter(is_end).count(), 1);
}

#[test]
fn saved_nodes_stay_saved_while_few_have_answered() {
    let nodes = (0..200).map(|n| NodeInfo { id: id_of(addr(n)), addr: addr(n) }).collect();
    let state = DhtState { nodes, ..DhtState::default() };
    let node = Node::new(DhtConf::default(), &[Family::V4], &[8; 32], Some(state), at(0));
    let mut rig = Rig::of(node, at(0));
    rig.node.add_node(at(0), addr(7));
    rig.run_until(at(10));
    let (to, query) = rig.sent.iter().find(|(to, _)| *to == addr(7)).unwrap().clone();
    rig.receive(to, &Message::response(&query.transaction, pong(to)));
    assert_eq!(rig.node.stats(rig.now).nodes_v4, 1);
    let mut saved: Vec<_> = rig.node.state().nodes.iter().map(|node| node.addr).collect();
    assert_eq!((saved.len(), saved[0]), (200, addr(7)));
    saved.sort_unstable();
    saved.dedup();
    assert_eq!(saved.len(), 200);
}

#[test]
fn each_node_that_stores_an_announce_is_a_step() {
    let mut rig = Rig::new();
    rig.meet(30);
    rig.events();
    rig.node.set_trace(true);
    rig.node.find_peers(rig.now, id(5), Some(announce(1)));
    rig.drain();
    let end = rig.now + Duration::from_secs(30);
    rig.run_with(end, &mut |to, _| Response { token: Some(vec![1]), ..pong(to) });
    let events = rig.events();
    let stored =
        |event: &&DhtEvent| matches!(event, DhtEvent::Step { step: Step::Stored { .. }, .. });
    let ended = events.iter().find_map(|event| match event {
        DhtEvent::Finished { outcome, .. } => Some(outcome.stored as usize),
        _ => None,
    });
    let steps = events.iter().filter(stored).count();
    assert!(steps >= 8 && ended == Some(steps), "{steps} {ended:?}");
}
