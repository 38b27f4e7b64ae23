//! Engines with DHT nodes: peers that no tracker and no user has named.

use super::*;
use crate::conf::Bootstrap;

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
