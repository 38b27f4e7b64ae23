//! What a network of nodes promises.

use super::*;
use crate::conf::DhtConf;

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

/// Longer than any node is good without a sign of life.
const LONG: Duration = Duration::from_secs(16 * 60);

/// Large networks are measured by hand, with the example `dht_sim`.
fn measured(net: NetConf) -> Measured {
    let (warm_up, pause, every) = (secs(60), secs(10), Duration::from_secs(1));
    measure(&Lookups { net, warm_up, torrents: 10, pause, lookups: 40, every, beside: false })
}

#[test]
fn fifty_nodes_find_every_torrent() {
    let figures = measured(NetConf::default());
    assert_eq!(figures.ours.found, (40, 40), "{figures}");
    assert!(figures.ours.first_peer(50) <= Some(Duration::from_millis(200)), "{figures}");
    assert!(figures.ours.first_peer(99) <= Some(secs(1)), "{figures}");
}

#[test]
fn network_of_loss_and_routers_finds_every_torrent() {
    let conf = NetConf { nodes: 60, behind_nat: 60, lost: 200, seed: 3, ..NetConf::default() };
    let figures = measured(NetConf { half_life: Some(secs(3600)), ..conf });
    assert_eq!(figures.ours.found, (40, 40), "{figures}");
    assert!(figures.ours.first_peer(50) <= Some(Duration::from_millis(200)), "{figures}");
    assert!(figures.ours.first_peer(99) <= Some(secs(1)), "{figures}");
}

#[test]
fn same_seed_gives_the_same_run() {
    let run = |seed| {
        let conf = NetConf { nodes: 20, behind_nat: 30, lost: 100, seed, ..NetConf::default() };
        let mut net = Net::new(conf);
        net.run_for(secs(30));
        let all: Vec<_> = (0..20).map(|slot| net.stats(slot)).collect();
        (net.datagrams(), all)
    };
    assert_eq!(run(5), run(5));
    assert_ne!(run(5).0, run(6).0);
}

/// A warm network of loss and routers, and one node of it that announces a torrent.
fn warm(nodes: usize, seed: u64) -> (Net, usize, NodeId) {
    let conf = NetConf { nodes, behind_nat: 60, lost: 100, seed, ..NetConf::default() };
    let mut net = Net::new(conf);
    net.run_for(secs(60));
    let slot = net.add_node();
    net.run_for(secs(30));
    let hash = net.random_id();
    announce(&mut net, slot, hash);
    net.run_for(secs(10));
    (net, slot, hash)
}

fn announce(net: &mut Net, slot: usize, hash: NodeId) {
    let (port_v4, implied_port, seed) = (Some(6881), false, false);
    let announce = crate::proto::dht::Announce { port_v4, port_v6: None, implied_port, seed };
    net.with(slot, |node, now| node.announce(now, hash, Some(announce)));
}

/// The peers that a node finds within some seconds.
fn find(net: &mut Net, slot: usize, hash: NodeId) -> Vec<SocketAddr> {
    net.take_events(slot);
    net.with(slot, |node, now| node.find_peers(now, hash, None));
    net.run_for(secs(5));
    let found = net.take_events(slot).into_iter().flat_map(|(_, event)| match event {
        DhtEvent::Peers { peers, info_hash, .. } if info_hash == hash => peers,
        _ => Vec::new(),
    });
    found.collect()
}

/// Whether a node finds a torrent again within ten seconds.
fn is_back(net: &mut Net, slot: usize, hash: NodeId) -> bool {
    let end = net.now() + secs(10);
    net.take_events(slot);
    net.with(slot, |node, now| node.find_peers(now, hash, None));
    net.run_until(end, |net| {
        let events = net.take_events(slot);
        events.iter().any(|(_, event)| matches!(event, DhtEvent::Peers { .. }))
    })
}

#[test]
fn laptop_that_has_slept_is_back_within_ten_seconds() {
    let (mut net, owner, hash) = warm(30, 11);
    let laptop = net.add_node();
    net.run_for(secs(30));
    let before = net.stats(laptop).nodes_v4;
    assert!(before > 10, "{before}");
    net.set_asleep(laptop, true);
    net.run_for(LONG);
    net.set_asleep(laptop, false);
    assert!(net.stats(laptop).nodes_v4 >= before / 2);
    assert!(is_back(&mut net, laptop, hash));
    assert_ne!(laptop, owner);
}

#[test]
fn node_without_network_keeps_its_table_and_is_back() {
    let (mut net, _, hash) = warm(30, 12);
    let laptop = net.add_node();
    net.run_for(secs(30));
    let before = net.stats(laptop).nodes_v4;
    net.set_up(laptop, false);
    net.run_for(LONG);
    let stats = net.stats(laptop);
    assert!(stats.offline && stats.nodes_v4 + 8 >= before, "{before} {stats:?}");
    net.set_up(laptop, true);
    assert!(is_back(&mut net, laptop, hash));
}

#[test]
fn node_that_starts_offline_is_back_within_ten_seconds() {
    let (mut net, _, hash) = warm(30, 13);
    let laptop = net.add_node();
    net.set_up(laptop, false);
    // It was down before its first packet came back.
    net.run_for(secs(60));
    assert_eq!(net.stats(laptop).nodes_v4, 0);
    net.set_up(laptop, true);
    assert!(is_back(&mut net, laptop, hash));
}

#[test]
fn node_that_moves_is_found_at_its_new_address_in_ten_seconds() {
    let (mut net, owner, hash) = warm(30, 14);
    let asker = net.add_node();
    net.run_for(secs(30));
    let old = net.addr(owner).unwrap();
    assert!(find(&mut net, asker, hash).contains(&old));
    net.move_node(owner);
    // The interface tells; without that, the votes of others take a ping or two.
    net.with(owner, |node, now| node.handle_network_change(now));
    net.run_for(secs(5));
    let new = net.addr(owner).unwrap();
    assert!(find(&mut net, asker, hash).contains(&new));
    let (mut net, owner, hash) = warm(30, 15);
    let asker = net.add_node();
    net.move_node(owner);
    net.run_for(secs(60));
    let new = net.addr(owner).unwrap();
    assert!(find(&mut net, asker, hash).contains(&new), "by the votes alone");
}

#[test]
fn sybils_near_a_target_neither_hide_it_nor_break_bounds() {
    let mut net = Net::new(NetConf { nodes: 40, seed: 21, ..NetConf::default() });
    let hash = net.random_id();
    // Two of forty, with ids that their addresses may not have, who tell of each other only.
    let sybils: Vec<_> =
        (0..2u8).map(|n| (n, hash.with_flipped_bit(150 + usize::from(n)))).collect();
    let mut addrs = Vec::new();
    for &(_, id) in &sybils {
        addrs.push(add_liar(&mut net, id, hash));
    }
    net.run_for(secs(30));
    for node in 0..40 {
        let sybil = addrs[node % 2];
        net.with(node, |node, now| node.add_node(now, sybil));
    }
    net.run_for(secs(30));
    announce(&mut net, 7, hash);
    net.run_for(secs(10));
    let own = net.addr(7).unwrap();
    let found = (20..40).filter(|&slot| find(&mut net, slot, hash).contains(&own)).count();
    assert!(found >= 19, "{found} of 20");
    for slot in 0..40 {
        let known = net.with(slot, |node, _| {
            node.table(Family::V4).filter(|contact| addrs.contains(&contact.info.addr)).count()
        });
        assert!(known <= 2 && net.stats(slot).nodes_v4 > 20);
    }
}

/// A node that answers everything with peers and nodes that are not there.
fn add_liar(net: &mut Net, id: NodeId, target: NodeId) -> SocketAddr {
    use crate::wire::krpc::{Body, Message, NodeInfo, Response};
    let mut rng = Rng::new(u64::from(id.0[19]) + 1);
    let slot = net.add_script(Box::new(move |_, from, data| {
        let Ok(Message { transaction, body: Body::Query(_), .. }) = Message::decode(data) else {
            return Vec::new();
        };
        let mut made_up = |n: usize| {
            let ip = Ipv4Addr::from(0x0c00_0000 + (rng.next_u64() as u32 & 0x00ff_ffff));
            let addr = SocketAddr::new(ip.into(), 1 + n as u16);
            NodeInfo { id: target.with_flipped_bit(140 + rng.below(20) as usize), addr }
        };
        let nodes: Vec<_> = (0..8).map(&mut made_up).collect();
        let values = (0..50).map(|n| made_up(n).addr).collect();
        let response = Response {
            id,
            nodes: Some(nodes),
            values,
            token: Some(vec![0; 8]),
            ..Response::default()
        };
        vec![(from, Message::response(&transaction, response).encode())]
    }));
    net.addr(slot).unwrap()
}

#[test]
fn poisoned_replies_end_in_bounds_and_the_torrent_is_found() {
    let mut net = Net::new(NetConf { nodes: 60, seed: 22, ..NetConf::default() });
    net.run_for(secs(60));
    let hash = net.random_id();
    announce(&mut net, 7, hash);
    net.run_for(secs(10));
    let liars: Vec<_> = (0..3)
        .map(|n| {
            let id = hash.with_flipped_bit(100 + n);
            add_liar(&mut net, id, hash)
        })
        .collect();
    for &liar in &liars {
        net.with(30, |node, now| node.add_node(now, liar));
    }
    net.run_for(secs(20));
    net.take_events(30);
    let search = net.with(30, |node, now| node.find_peers(now, hash, None));
    net.run_for(secs(40));
    let own = net.addr(7).unwrap();
    let (mut found, mut end) = (false, None);
    for (_, event) in net.take_events(30) {
        match event {
            DhtEvent::Peers { peers, .. } => found |= peers.contains(&own),
            DhtEvent::Finished { search: of, outcome, .. } if of == search => end = Some(outcome),
            _ => {}
        }
    }
    let conf = DhtConf::default();
    let end = end.unwrap();
    assert!(found && end.peers as usize <= conf.max_peers, "{end:?}");
    assert!(end.queries as usize <= conf.max_queries + 16 && end.time <= secs(35), "{end:?}");
}

#[test]
fn flood_is_answered_within_the_quota_while_others_are_served() {
    let mut net = Net::new(NetConf { nodes: 30, seed: 23, ..NetConf::default() });
    net.run_for(secs(60));
    let flooder = net.add_script(Box::new(|_, _, _| Vec::new()));
    let victim = net.addr(5).unwrap();
    let ping = b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe";
    let before = net.stats(5);
    for _ in 0..200 {
        for _ in 0..20 {
            net.send(flooder, victim, ping.to_vec());
        }
        net.run_for(Duration::from_millis(50));
    }
    let after = net.stats(5);
    assert_eq!(after.blocked_hosts, 1);
    assert!(after.ignored - before.ignored > 3900, "{after:?}");
    assert!(after.sent - before.sent < 400, "{after:?}");
    assert!(!after.offline && after.nodes_v4 >= before.nodes_v4 - 2);
}

#[test]
fn value_put_by_one_is_got_by_others() {
    use crate::wire::krpc::{Item, Mutable, SigningKey};
    let mut net = Net::new(NetConf { nodes: 40, lost: 50, seed: 24, ..NetConf::default() });
    net.run_for(secs(60));
    let key = SigningKey::from_seed(&[3; 32]).unwrap();
    let put = |net: &mut Net, seq, cas| {
        let item = Mutable::sign(&key, b"salt", seq, format!("i{seq}e").into_bytes()).unwrap();
        net.take_events(4);
        net.with(4, |node, now| node.put(now, Item::Mutable(Box::new(item)), cas));
        net.run_for(secs(8));
        let stored = net.take_events(4).into_iter().find_map(|(_, event)| match event {
            DhtEvent::Finished { outcome, .. } => Some(outcome.stored),
            _ => None,
        });
        stored.unwrap_or(0)
    };
    assert!(put(&mut net, 1, None) >= 6);
    assert!(put(&mut net, 2, Some(1)) >= 6);
    assert!(put(&mut net, 3, Some(1)) <= 2, "most have another by now");
    let target = Mutable::target(&key.public(), b"salt");
    net.take_events(9);
    net.with(9, |node, now| node.get(now, target, b"salt"));
    net.run_for(secs(8));
    let best = net.take_events(9).into_iter().filter_map(|(_, event)| match event {
        DhtEvent::Value { item, .. } => item.seq(),
        _ => None,
    });
    assert!(best.max() >= Some(2));
    let value = b"12:Hello World!".to_vec();
    net.with(6, |node, now| node.put(now, Item::Immutable { value: value.clone() }, None));
    net.run_for(secs(8));
    let target = crate::wire::krpc::immutable_target(&value);
    net.with(20, |node, now| node.get(now, target, b""));
    net.run_for(secs(8));
    let got = net.take_events(20).into_iter().any(|(_, event)| match event {
        DhtEvent::Value { item, .. } => item.value() == value,
        _ => false,
    });
    assert!(got);
}
