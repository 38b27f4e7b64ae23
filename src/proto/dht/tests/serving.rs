//! What others get when they ask.

use super::*;

#[test]
fn announce_needs_a_token_and_is_told_to_others() {
    let mut rig = Rig::new();
    let (them, hash) = (addr(1), id(5));
    let get = Method::GetPeers { info_hash: hash, noseed: false, scrape: false };
    let response = rig.response(them, get.clone());
    assert!(response.values.is_empty() && response.nodes.is_some() && response.nodes6.is_none());
    let token = response.token.unwrap();
    let announce = |port, implied_port, seed, token: &[u8]| {
        let token = token.to_vec();
        Method::AnnouncePeer { info_hash: hash, port, implied_port, seed, token }
    };
    assert_eq!(rig.error(them, announce(5, false, false, b"forged")), 203);
    assert_eq!(rig.error(addr(2), announce(5, false, false, &token)), 203);
    rig.response(them, announce(5, false, true, &token));
    let mut peer = them;
    peer.set_port(5);
    assert_eq!(rig.response(addr(2), get.clone()).values, [peer]);
    rig.response(them, announce(5, true, true, &token));
    assert_eq!(rig.response(addr(2), get).values, [them]);
    let noseed = Method::GetPeers { info_hash: hash, noseed: true, scrape: true };
    let response = rig.response(addr(2), noseed);
    assert!(response.values.is_empty());
    assert!(response.scrape.unwrap().seeds.may_contain(them.ip()));
    // The other family has nothing of it.
    let v6 = "[2600::1]:1".parse().unwrap();
    let get = Method::GetPeers { info_hash: hash, noseed: false, scrape: false };
    assert!(rig.response(v6, get).values.is_empty());
}

#[test]
fn response_fits_its_packet_however_many_peers_there_are() {
    let mut rig = Rig::with(DhtConf { answer_burst: 1 << 30, ..DhtConf::default() });
    rig.meet(60);
    let hash = id(5);
    for n in 100..500 {
        let get = Method::GetPeers { info_hash: hash, noseed: false, scrape: false };
        let token = rig.response(addr(n), get).token.unwrap();
        let (port, seed) = (1, n % 2 == 0);
        let announce =
            Method::AnnouncePeer { info_hash: hash, port, implied_port: false, seed, token };
        rig.response(addr(n), announce);
    }
    for (scrape, want) in [(false, None), (true, None), (true, Some(Want { v4: true, v6: true }))] {
        let method = Method::GetPeers { info_hash: hash, noseed: false, scrape };
        let query = Query { want, ..Query::new(id(1), method) };
        // The length is checked where packets are drained.
        let Some(Body::Response(response)) = rig.ask_with(addr(9000), query) else { panic!() };
        assert_eq!(response.scrape.is_some(), scrape);
        assert!(response.values.len() >= if scrape { 10 } else { 70 });
        assert_eq!(response.nodes.map(|nodes| nodes.len()), Some(8));
    }
}

#[test]
fn stored_values_keep_to_the_rules() {
    let mut rig = Rig::new();
    let key = SigningKey::from_seed(&[1; 32]).unwrap();
    let item = |seq, value: &[u8]| {
        Item::Mutable(Box::new(Mutable::sign(&key, b"s", seq, value.to_vec()).unwrap()))
    };
    let target = item(1, b"i1e").target();
    let token = rig.response(addr(1), Method::Get { target, seq: None }).token.unwrap();
    let put = |item, cas| Method::Put { item, cas, token: token.clone() };
    rig.response(addr(1), put(item(2, b"i1e"), None));
    assert_eq!(rig.error(addr(1), put(item(1, b"i1e"), None)), ErrorCode::OldSequence as i64);
    assert_eq!(rig.error(addr(1), put(item(3, b"i1e"), Some(1))), ErrorCode::CasMismatch as i64);
    assert_eq!(rig.error(addr(2), put(item(3, b"i1e"), None)), ErrorCode::Protocol as i64);
    let Item::Mutable(mut forged) = item(3, b"i1e") else { panic!() };
    forged.signature[0] ^= 1;
    let forged = Item::Mutable(forged);
    assert_eq!(rig.error(addr(1), put(forged, None)), ErrorCode::Signature as i64);
    let fields = rig.response(addr(2), Method::Get { target, seq: None }).item;
    assert_eq!((fields.seq, fields.value), (Some(2), Some(b"i1e".to_vec())));
    let known = rig.response(addr(2), Method::Get { target, seq: Some(2) }).item;
    assert_eq!(known, ItemFields { seq: Some(2), ..ItemFields::default() });
}

#[test]
fn value_leaves_out_the_nodes_that_do_not_fit_beside_it() {
    let mut rig = Rig::new();
    (0..12).for_each(|n| rig.node.add_node(rig.now, addr_v6(n)));
    rig.meet(30);
    let key = SigningKey::from_seed(&[1; 32]).unwrap();
    for (seq, len, kept) in [(1, 20, (8, true)), (2, 300, (8, false)), (3, 700, (1, false))] {
        let value = [format!("{len}:").as_bytes(), &vec![b'x'; len]].concat();
        let item = Item::Mutable(Box::new(Mutable::sign(&key, b"s", seq, value).unwrap()));
        let target = item.target();
        let token = rig.response(addr(1), Method::Get { target, seq: None }).token.unwrap();
        rig.response(addr(1), Method::Put { item, cas: None, token });
        // The length is checked where packets are drained.
        let want = Some(Want { v4: true, v6: true });
        let query = Query { want, ..Query::new(id(1), Method::Get { target, seq: None }) };
        let Some(Body::Response(response)) = rig.ask_with(addr(9000), query) else { panic!() };
        let told = (response.nodes.map_or(0, |nodes| nodes.len()), response.nodes6.is_some());
        assert!(told.0 >= kept.0 && told.1 == kept.1, "{len}: {told:?}");
        assert!(response.item.value.is_some());
    }
}

#[test]
fn unknown_method_with_a_target_is_answered_with_nodes() {
    let mut rig = Rig::new();
    rig.meet(20);
    let response = rig.response(addr(99), Method::Unknown { target: Some(id(1)) });
    assert_eq!(response.nodes.map(|nodes| nodes.len()), Some(8));
    assert_eq!(rig.error(addr(99), Method::Unknown { target: None }), 204);
    let response = rig.response(addr(99), Method::SampleInfohashes { target: id(1) });
    assert_eq!(response.samples.map(|samples| (samples.num, samples.hashes)), Some((0, vec![])));
}

#[test]
fn read_only_node_answers_nothing_and_says_so() {
    let mut rig = Rig::with(DhtConf { read_only: true, ..DhtConf::default() });
    assert_eq!(rig.ask(addr(1), Method::Ping), None);
    rig.node.add_node(rig.now, addr(2));
    rig.run_until(at(10));
    assert!(rig.sent.iter().all(|(_, message)| match &message.body {
        Body::Query(query) => query.read_only,
        _ => false,
    }));
    assert_eq!(rig.node.stats(rig.now).unanswered, 1);
}

#[test]
fn answers_keep_to_their_quota_and_malformed_packets_get_none() {
    let mut rig = Rig::new();
    let get = Method::GetPeers { info_hash: id(1), noseed: false, scrape: false };
    let packet = Message::query(b"aa", Query::new(id(1), get)).encode();
    let mut bytes = 0;
    for n in 0..100_000u32 {
        rig.node.handle_datagram(at(n.into()), addr(n % 60_000), &packet);
        rig.drain();
        let answers = rig.sent.drain(..).filter(|(_, m)| !matches!(m.body, Body::Query(_)));
        bytes += answers.map(|(_, message)| message.encode().len()).sum::<usize>();
    }
    // 100 s at 8 KiB/s, and the burst.
    assert!((700_000..860_000).contains(&bytes), "{bytes}");
    for junk in [&b"d1:y1:qe"[..], b"d1:t1:a1:y1:xe", b"d1:rd2:id3:abce1:t2:aa1:y1:re", b"\0\0"] {
        rig.node.handle_datagram(at(200_000), addr(1), junk);
    }
    rig.drain();
    assert!(rig.sent.iter().all(|(_, message)| matches!(message.body, Body::Query(_))));
    // Probes are as bounded as answers.
    assert!(rig.node.held().0 <= DhtConf::default().max_probes);
}

#[test]
fn flooding_host_is_not_answered() {
    let mut rig = Rig::new();
    let answers = (0..100).filter(|_| rig.ask(addr(1), Method::Ping).is_some()).count();
    assert_eq!(answers, 50);
    assert!(rig.ask(addr(2), Method::Ping).is_some());
    assert_eq!(rig.node.stats(rig.now).blocked_hosts, 1);
}

#[test]
fn answer_is_heard_though_others_flood_in_the_nodes_name() {
    let mut rig = Rig::new();
    rig.node.add_node(rig.now, addr(1));
    rig.run_until(at(10));
    let (to, query) = rig.sent.iter().find(|(to, _)| *to == addr(1)).unwrap().clone();
    let mut neighbour = to;
    neighbour.set_port(9);
    (0..100).for_each(|_| _ = rig.ask(neighbour, Method::Ping));
    assert_eq!(rig.node.stats(rig.now).blocked_hosts, 1);
    rig.receive(to, &Message::response(b"none", pong(to)));
    assert_eq!(rig.node.stats(rig.now).answers, 0);
    rig.receive(to, &Message::response(&query.transaction, pong(to)));
    let stats = rig.node.stats(rig.now);
    assert_eq!((stats.answers, stats.nodes_v4, stats.blocked_hosts), (1, 1, 1));
    assert!(rig.ask(to, Method::Ping).is_none(), "its queries are not");
}

#[test]
fn packets_with_line_ends_behind_them_are_those_of_the_dht() {
    let packet = Message::query(b"aa", Query::new(id(1), Method::Ping)).encode();
    for end in [&b""[..], b"\n", b"\r\n"] {
        assert!(Node::is_krpc(&[&packet[..], end].concat()));
    }
    assert!(!Node::is_krpc(&[&packet[..], b"x"].concat()));
}

#[test]
fn stored_peer_of_an_announced_torrent_is_told_to_the_owner() {
    let mut rig = Rig::new();
    let stored = |rig: &mut Rig, n: u32, hash: NodeId| {
        let get = Method::GetPeers { info_hash: hash, noseed: false, scrape: false };
        let token = rig.response(addr(n), get).token.unwrap();
        let (port, implied_port, seed) = (5, false, n == 2);
        rig.response(
            addr(n),
            Method::AnnouncePeer { info_hash: hash, port, implied_port, seed, token },
        );
        std::iter::from_fn(|| rig.node.poll_event())
            .filter_map(|event| match event {
                DhtEvent::Stored { info_hash, peers } => {
                    assert_eq!(info_hash, hash);
                    Some(peers)
                }
                _ => None,
            })
            .flatten()
            .collect::<Vec<_>>()
    };
    let peer = |n| SocketAddr::new(addr(n).ip(), 5);
    // Of a torrent that is not looked for, nothing is told until it is.
    assert!(stored(&mut rig, 1, id(1)).is_empty() && stored(&mut rig, 2, id(1)).is_empty());
    rig.node.announce(rig.now, id(1), None);
    rig.run_until(at(1));
    let told = std::iter::from_fn(|| rig.node.poll_event()).find_map(|event| match event {
        DhtEvent::Stored { peers, .. } => Some(peers),
        _ => None,
    });
    assert_eq!(told.map(|peers| peers.len()), Some(2));
    // From then on each is told as it comes.
    assert_eq!(stored(&mut rig, 3, id(1)), [peer(3)]);
    // A seed has no use for seeds.
    let announce = Announce { seed: true, ..announce(1) };
    stored(&mut rig, 2, id(4));
    rig.node.find_peers(rig.now, id(4), Some(announce));
    let told = std::iter::from_fn(|| rig.node.poll_event());
    assert_eq!(told.filter(|event| matches!(event, DhtEvent::Stored { .. })).count(), 0);
}

#[test]
fn answers_that_were_asked_for_are_no_flood() {
    let mut rig = Rig::new();
    let them: SocketAddr = THEM.parse().unwrap();
    let answers = |rig: &mut Rig, count: usize| {
        for _ in 0..count {
            rig.node.find_peers(rig.now, id(5), None);
            rig.drain();
            for (to, message) in std::mem::take(&mut rig.sent) {
                if let (Body::Query(_), true) = (&message.body, to == them) {
                    let response = Response { id: id(0x11), ..Response::default() };
                    let response = Message::response(&message.transaction, response);
                    rig.receive(to, &response);
                }
            }
        }
    };
    rig.node.add_node(rig.now, them);
    rig.run_until(at(500));
    answers(&mut rig, 200);
    let stats = rig.node.stats(rig.now);
    assert!(stats.answers > 100, "{stats:?}");
    assert_eq!(stats.blocked_hosts, 0);
}
