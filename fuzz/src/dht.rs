//! The promises of the DHT: any packet is read or refused within bounds, and a node stays within
//! its limits whatever comes, in whatever order.

use std::{net::SocketAddr, time::Duration};

use cratetorrent::{
    Instant,
    conf::{Bootstrap, DhtConf},
    dht::{Announce, DhtState, Node, Output},
    wire::krpc::{
        Body, Family, Item, MAX_NODES, MAX_RECEIVED, MAX_SAMPLES, MAX_SENT, MAX_TOKEN,
        MAX_TRANSACTION, MAX_VALUE, MAX_VALUES, Message, Method, NodeId, NodeInfo, Response,
    },
};

/// Operations of a sequence that count.
const MAX_OPERATIONS: u32 = 300;

/// What decodes encodes to a packet that decodes to the same; lists and strings are bounded.
pub fn krpc(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return };
    assert!(data.len() <= MAX_RECEIVED && message.transaction.len() <= MAX_TRANSACTION);
    match &message.body {
        Body::Query(query) => match &query.method {
            Method::Put { item, token, .. } => {
                assert!(item.value().len() <= MAX_VALUE && token.len() <= MAX_TOKEN);
                let verified = item.verify();
                assert!(verified.is_ok() || matches!(item, Item::Mutable(_)));
            }
            Method::AnnouncePeer { port, implied_port, .. } => {
                assert!(*port != 0 || *implied_port);
            }
            _ => {}
        },
        Body::Response(r) => {
            assert!(r.nodes.iter().chain(&r.nodes6).all(|nodes| nodes.len() <= MAX_NODES));
            assert!(r.nodes.iter().flatten().all(|node| node.addr.is_ipv4()));
            assert!(r.nodes6.iter().flatten().all(|node| node.addr.is_ipv6()));
            assert!(r.values.len() <= MAX_VALUES && r.values.iter().all(|peer| peer.port() != 0));
            assert!(r.samples.iter().all(|samples| samples.hashes.len() <= MAX_SAMPLES));
        }
        Body::Error { text, .. } => assert!(text.len() <= 256),
    }
    let again = message.encode();
    if again.len() <= MAX_RECEIVED {
        assert_eq!(Message::decode(&again), Ok(message));
    }
}

/// A node under a sequence of operations: each is a byte that says what, a byte that says where
/// from or how long, a length, and so many bytes. Nothing panics, and every limit holds. Long
/// sequences are cut, since many short ones find more.
pub fn dht_node(data: &[u8]) {
    let mut conf = DhtConf::default();
    conf.bootstrap = vec![Bootstrap { host: "b".into(), port: 1, router: true }];
    (conf.max_lookups, conf.max_waiting, conf.max_pending) = (4, 8, 40);
    (conf.max_torrents, conf.max_torrent_peers, conf.max_stored_peers) = (4, 4, 10);
    (conf.max_items, conf.max_tracked, conf.max_events, conf.max_probes) = (4, 8, 32, 16);
    let mut now = Instant::ZERO;
    let mut node = Node::new(conf.clone(), &Family::ALL, &[7; 32], None, now);
    let mut queries: Vec<(SocketAddr, Vec<u8>)> = Vec::new();
    let (mut rest, mut operations) = (data, 0..MAX_OPERATIONS);
    while let [what, n, len, tail @ ..] = rest {
        let (body, tail) = tail.split_at(usize::from(*len).min(tail.len()));
        rest = tail;
        if operations.next().is_none() {
            break;
        }
        let from = address(*n);
        let mut hash = NodeId::default();
        hash.0.iter_mut().zip(body).for_each(|(to, byte)| *to = *byte);
        match what % 12 {
            0 => node.handle_datagram(now, from, body),
            // What was asked is answered, by what the bytes say.
            1 | 2 => {
                let Some((to, query)) = queries.pop() else { continue };
                let Ok(query) = Message::decode(&query) else { panic!("it encodes queries") };
                let answer = Message::response(&query.transaction, response(hash, body, *n));
                node.handle_datagram(now, to, &answer.encode());
            }
            3 | 4 => {
                now = now + Duration::from_millis(u64::from(*n) * u64::from(*len));
                for _ in 0..1000 {
                    if node.poll_timeout().is_none_or(|at| at > now) {
                        break;
                    }
                    node.handle_timeout(now);
                }
            }
            5 => node.add_node(now, from),
            6 => _ = node.find_peers(now, hash, None),
            7 => {
                let announce = Announce {
                    port_v4: Some(1),
                    port_v6: Some(2),
                    implied_port: *n > 9,
                    seed: *n > 99,
                };
                node.announce(now, hash, Some(announce));
            }
            8 => _ = node.get(now, hash, body.get(..3).unwrap_or_default()),
            9 => {
                let item = Item::Immutable { value: format!("i{n}e").into_bytes() };
                _ = node.put(now, item, None);
            }
            10 => node.handle_resolved(now, "b", 1, &[from]),
            _ => match n % 4 {
                0 => node.handle_network_change(now),
                1 => _ = node.sample(now, hash),
                2 => node.stop_announcing(now, &hash),
                _ => _ = node.scrape(now, hash),
            },
        }
        let mut outputs = 0;
        while let Some(output) = node.poll_output() {
            outputs += 1;
            let Output::Send { to, data } = output else { continue };
            assert!(data.len() <= MAX_SENT && to.port() != 0);
            if data.ends_with(b"1:y1:qe") {
                queries.push((to, data));
            }
        }
        assert!(outputs <= 1000, "{outputs} outputs at once");
        queries.drain(..queries.len().saturating_sub(64));
        let stats = node.stats(now);
        assert!(stats.stored_torrents <= 4 && stats.stored_peers <= 10 && stats.stored_items <= 4);
        assert!(stats.tracked <= 8 && stats.waiting <= 10, "{stats:?}");
        assert!(stats.nodes_v4 <= 500 && stats.nodes_v6 <= 500);
    }
    let events = std::iter::from_fn(|| node.poll_event()).count();
    assert!(events <= conf.max_events);
    let state = node.state();
    assert_eq!(DhtState::decode(&state.encode()), Some(state));
}

fn address(n: u8) -> SocketAddr {
    match n {
        0..=127 => SocketAddr::from(([11, n % 8, n, 1], 6881)),
        128..=191 => SocketAddr::from(([127, 0, 0, 1], n.into())),
        _ => SocketAddr::from(([0x2600, n.into(), 0, 0, 0, 0, 0, 1], 6881)),
    }
}

fn response(id: NodeId, body: &[u8], n: u8) -> Response {
    let node = |byte: &u8| NodeInfo { id: NodeId([byte ^ n; 20]), addr: address(*byte) };
    let of = |v4| body.iter().map(node).filter(|node| node.addr.is_ipv4() == v4).take(8).collect();
    Response {
        id: if n < 200 { id } else { NodeId([n; 20]) },
        nodes: (!n.is_multiple_of(3)).then(|| of(true)),
        nodes6: (n % 3 > 1).then(|| of(false)),
        values: body.iter().map(|byte| address(*byte)).take(usize::from(n % 8)).collect(),
        token: (!n.is_multiple_of(5)).then(|| vec![n]),
        ..Response::default()
    }
}
