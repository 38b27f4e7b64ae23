//! Engines with DHT nodes: peers that no tracker and no user has named.

use super::*;
use crate::{
    base::time::Instant,
    conf::Bootstrap,
    engine::Engine,
    proto::dht::DhtEvent,
    wire::{krpc::Family, session::Restored, tracker::url::Host},
};

/// Engines that begin at the first.
fn engines(world: &mut World, count: usize) -> Vec<NodeId> {
    let mut nodes: Vec<NodeId> = Vec::new();
    for _ in 0..count {
        let first = nodes.first().map(|&first| world.addr(first));
        nodes.push(world.node(Conf::default().with(|conf| {
            conf.dht.enabled = true;
            let name = |addr: SocketAddr| Bootstrap {
                host: addr.ip().to_string(),
                port: addr.port(),
                router: false,
            };
            conf.dht.bootstrap = first.map(name).into_iter().collect();
        })));
        nodes.last().into_iter().for_each(|&node| world.set_reachable(node));
    }
    world.run_for(Duration::from_secs(20));
    nodes
}

#[test]
fn download_finds_its_seed_by_the_dht_alone() {
    let mut world = World::new(31);
    let sample = Sample::file("data", 300_000, 32 * 1024, 1).unwrap();
    let nodes = engines(&mut world, 8);
    let known = world.engine(nodes[5]).dht_stats().map(|stats| stats.nodes_v4);
    assert!(known >= Some(4), "{known:?}");
    world.seed_with(nodes[3], &sample);
    world.run_for(Duration::from_secs(10));
    world.download(nodes[6], &sample, &[]);
    assert!(world.run_until(|world| world.is_complete(nodes[6]), Duration::from_secs(30)));
}

#[test]
fn private_torrent_is_not_told_to_the_dht() {
    let mut world = World::new(32);
    let nodes = engines(&mut world, 4);
    let mut sample = Arc::into_inner(Sample::file("data", 100_000, 32 * 1024, 1).unwrap()).unwrap();
    let mut metainfo = (*sample.metainfo).clone();
    metainfo.private = true;
    sample.metainfo = Arc::new(metainfo);
    let sample = Arc::new(sample);
    world.seed_with(nodes[1], &sample);
    world.run_for(Duration::from_secs(20));
    for &node in &nodes {
        let stats = world.engine(node).dht_stats().unwrap();
        assert_eq!((stats.tracked, stats.stored_torrents), (0, 0));
    }
}

/// An engine with a DHT node that knows no place to begin at.
fn lonely(world: &mut World) -> NodeId {
    let node = world.node(Conf::default().with(|conf| conf.dht.enabled = true));
    world.set_reachable(node);
    node
}

fn nodes_v4(world: &World, node: NodeId) -> usize {
    world.engine(node).dht_stats().map_or(0, |stats| stats.nodes_v4)
}

/// A torrent that names these nodes.
fn with_nodes(seed: u64, private: bool, nodes: Vec<(Host, u16)>) -> Arc<Sample> {
    let mut sample =
        Arc::into_inner(Sample::file("data", 100_000, 32 * 1024, seed).unwrap()).unwrap();
    let mut metainfo = (*sample.metainfo).clone();
    (metainfo.private, metainfo.nodes) = (private, nodes);
    sample.metainfo = Arc::new(metainfo);
    Arc::new(sample)
}

#[test]
fn nodes_of_a_torrent_lead_into_the_dht_by_address_and_by_name() {
    let mut world = World::new(33);
    let nodes = engines(&mut world, 4);
    let (addr, port) = (world.addr(nodes[1]), world.addr(nodes[2]).port());
    let by_address = (Host::Ip(addr.ip()), addr.port());
    let by_name = (Host::Name(world.host_name(nodes[2])), port);
    for (seed, node) in [(1, by_address.clone()), (2, by_name)] {
        let engine = lonely(&mut world);
        world.run_for(Duration::from_secs(5));
        assert_eq!(nodes_v4(&world, engine), 0);
        let sample = with_nodes(seed, false, vec![node]);
        world.download(engine, &sample, &[]);
        let joined = |world: &World| nodes_v4(world, engine) >= 4;
        assert!(world.run_until(joined, Duration::from_secs(10)), "{seed}");
    }
    // A private torrent leads nowhere.
    let engine = lonely(&mut world);
    let sample = with_nodes(3, true, vec![by_address]);
    world.download(engine, &sample, &[]);
    world.run_for(Duration::from_secs(20));
    assert_eq!(nodes_v4(&world, engine), 0);
}

#[test]
fn peer_tells_its_dht_port_and_is_asked() {
    let mut world = World::new(34);
    let (one, two) = (lonely(&mut world), lonely(&mut world));
    let sample = Sample::file("data", 100_000, 32 * 1024, 1).unwrap();
    world.seed_with(one, &sample);
    world.download(two, &sample, &[one]);
    let met = |world: &World| nodes_v4(world, one) == 1 && nodes_v4(world, two) == 1;
    assert!(world.run_until(met, Duration::from_secs(10)));
}

#[test]
fn session_folder_brings_a_dht_node_back_with_its_id_and_nodes() {
    let mut world = World::new(35);
    let nodes = engines(&mut world, 6);
    let first = world.addr(nodes[0]);
    let kept = Conf::default().with(|conf| {
        conf.dht.enabled = true;
        conf.session.dir = Some("/session".into());
    });
    let id = |world: &World, node| world.engine(node).dht().and_then(|node| node.id(Family::V4));
    // What was recorded in its time, and what an orderly end records.
    for (time, orderly) in [(45, false), (5, true)] {
        let node = world.node(kept.clone());
        world.set_reachable(node);
        world.tell(node, |engine| engine.dht_add_node(first));
        world.run_for(Duration::from_secs(time));
        let (before, known) = (id(&world, node), nodes_v4(&world, node));
        assert!(known >= 5, "{known}");
        if orderly {
            world.tell(node, |engine| engine.shutdown());
            assert!(world.run_until(|w| w.engine(node).is_drained(), Duration::from_secs(60)));
        }
        world.kill(node);
        world.run_for(Duration::from_secs(1));
        world.restart(node);
        assert_eq!(id(&world, node), before);
        let back = |world: &World| nodes_v4(world, node) >= 5;
        assert!(world.run_until(back, Duration::from_secs(10)), "{}", nodes_v4(&world, node));
    }
}

#[test]
fn damaged_dht_state_is_told_and_leaves_an_empty_table() {
    let conf = Conf::default().with(|conf| conf.dht.enabled = true);
    for dht in [&b"junk"[..], b"d7:versioni9ee", &[0; 100_000]] {
        let mut engine = Engine::new(conf.clone(), 1, Instant::ZERO).unwrap();
        engine.restore(Restored { dht: Some(dht.to_vec()), ..Restored::default() });
        let told = std::iter::from_fn(|| engine.poll_alert());
        let damage = told.filter(|alert| matches!(alert, Alert::Restored { damaged: 1, .. }));
        assert_eq!(damage.count(), 1);
        assert_eq!(engine.dht_stats().map(|stats| stats.nodes_v4), Some(0));
    }
}

#[test]
fn network_that_is_back_after_an_hour_is_joined_in_ten_seconds() {
    let back = |looks: bool| {
        let mut world = World::new(38);
        let nodes = engines(&mut world, 8);
        let first = world.addr(nodes[0]);
        let late = world.node(Conf::default().with(|conf| {
            conf.dht.enabled = true;
            let (host, port) = (first.ip().to_string(), first.port());
            conf.dht.bootstrap = vec![Bootstrap { host, port, router: false }];
        }));
        world.set_reachable(late);
        world.set_cut(late, true);
        world.tell_addresses(late, &[]);
        world.run_for(Duration::from_secs(3600));
        assert_eq!(nodes_v4(&world, late), 0);
        world.set_cut(late, false);
        // The driver looks every five seconds.
        world.run_for(Duration::from_secs(5));
        let known = nodes_v4(&world, late);
        if looks {
            let own = world.addr(late).ip();
            world.tell_addresses(late, &[own]);
        }
        world.run_for(Duration::from_secs(5));
        (known, nodes_v4(&world, late))
    };
    assert_eq!(back(false), (0, 0), "it tries once a minute by then");
    let (before, after) = back(true);
    assert!(before == 0 && after >= 4, "{before} {after}");
}

#[test]
fn address_that_has_come_is_a_change_and_one_lost_is_none() {
    let mut world = World::new(39);
    let nodes = engines(&mut world, 4);
    let sent = |world: &World| world.engine(nodes[1]).dht_stats().map_or(0, |stats| stats.sent);
    let after = |world: &mut World, addrs: &[&str]| {
        let before = sent(world);
        let addrs: Vec<_> = addrs.iter().map(|ip| ip.parse().unwrap()).collect();
        world.tell_addresses(nodes[1], &addrs);
        world.run_for(millis(100));
        sent(world) > before + 2
    };
    assert!(!after(&mut world, &["10.0.0.1"]), "the first is where it began");
    assert!(!after(&mut world, &["10.0.0.1"]));
    assert!(!after(&mut world, &[]));
    assert!(after(&mut world, &["10.0.0.1"]), "it was gone");
    assert!(after(&mut world, &["10.0.0.1", "2001:db8::5"]));
    assert!(!after(&mut world, &["2001:db8::5"]));
    assert!(after(&mut world, &["10.0.0.2", "2001:db8::5"]));
}

#[test]
fn place_that_the_user_names_leads_into_the_dht_and_peers_count() {
    let mut world = World::new(41);
    let nodes = engines(&mut world, 6);
    let sample = Sample::file("data", 100_000, 32 * 1024, 1).unwrap();
    world.seed_with(nodes[3], &sample);
    let engine = lonely(&mut world);
    world.run_for(Duration::from_secs(10));
    assert_eq!(nodes_v4(&world, engine), 0);
    let (host, port) = (world.host_name(nodes[1]), world.addr(nodes[1]).port());
    let name = Bootstrap { host, port, router: false };
    world.tell(engine, |engine| engine.dht_add_bootstrap(name));
    let joined = |world: &World| nodes_v4(world, engine) >= 4;
    assert!(world.run_until(joined, Duration::from_secs(10)));
    let hash = sample.metainfo.info_hash().into();
    let search = world.tell(engine, |engine| engine.dht_scrape(hash)).unwrap();
    world.run_for(Duration::from_secs(10));
    let mut counted = None;
    while let Some(event) = world.tell(engine, |engine| engine.dht_poll_event()) {
        if let DhtEvent::Finished { search: of, outcome, .. } = event
            && of == search
        {
            counted = outcome.seeds.zip(outcome.leechers);
        }
    }
    let (seeds, leechers) = counted.unwrap();
    assert!((0.9..1.2).contains(&seeds) && leechers < 0.1, "{seeds} {leechers}");
}
