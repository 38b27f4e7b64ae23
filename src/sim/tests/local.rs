//! Peers that are found in the local network alone (BEP 14), and neighbours that send what they
//! like.

use super::*;
use crate::{
    base::ids::{InfoHash, TorrentId},
    wire::{
        lsd::{LSD_GROUP_V4, LsdAnnounce, MAX_LSD_HASHES},
        metainfo::Metainfo,
    },
};

fn local() -> Conf {
    shy().with(|conf| conf.lsd.enabled = true)
}

fn private(sample: &Sample) -> Arc<Sample> {
    let metainfo = Metainfo { private: true, ..Metainfo::clone(&sample.metainfo) };
    sample.with_metainfo(metainfo)
}

/// Keeps the announces of its network, and sends packets when it is woken.
#[derive(Debug, Default)]
struct Neighbour {
    heard: Vec<(Instant, SocketAddr, LsdAnnounce)>,
    /// So many packets, each with these torrents.
    sends: usize,
    hashes: Vec<InfoHash>,
    /// Whether each names another port, as if it were of another peer.
    ports: bool,
}

impl Script for Neighbour {
    fn multicast(&mut self, talk: &mut Talk<'_>, from: SocketAddr, bytes: &[u8]) {
        self.heard.push((talk.now(), from, LsdAnnounce::decode(bytes).unwrap()));
    }

    fn tick(&mut self, talk: &mut Talk<'_>) {
        if self.hashes.is_empty() {
            return;
        }
        if talk.now() == Instant::ZERO {
            return talk.wake_after(secs(5));
        }
        for nth in 0..self.sends {
            let port = if self.ports { 1000 + nth as u16 } else { 1000 };
            let announce = LsdAnnounce { port, info_hashes: self.hashes.clone(), cookie: None };
            talk.send_multicast(announce.encode(LSD_GROUP_V4));
        }
    }
}

/// The announces that a neighbour has heard of an address.
fn heard(world: &World, neighbour: NodeId, of: NodeId) -> Vec<(Instant, LsdAnnounce)> {
    let heard = &world.script::<Neighbour>(neighbour).heard;
    let of = world.addr(of);
    heard.iter().filter(|(_, from, _)| *from == of).map(|(at, _, it)| (*at, it.clone())).collect()
}

#[test]
fn two_nodes_of_one_network_find_each_other_by_lsd_alone() {
    let sample = file(500_000, 32 * 1024);
    // Whichever comes first, and whichever of them listens to strangers.
    for late in [0, 1] {
        let mut world = World::new(1);
        let nodes = [world.node(local()), world.node(local())];
        world.lay_lan(&nodes);
        let add = |world: &mut World, n: usize| match n {
            0 => world.seed_with(nodes[0], &sample),
            _ => world.download(nodes[1], &sample, &[]),
        };
        add(&mut world, 1 - late);
        world.run_for(secs(20));
        add(&mut world, late);
        assert!(world.run_until(|w| w.is_complete(nodes[1]), secs(10)));
    }
}

#[test]
fn nodes_of_two_networks_do_not_hear_each_other() {
    let sample = file(100_000, 32 * 1024);
    let mut world = World::new(1);
    let nodes = [world.node(local()), world.node(local())];
    nodes.iter().for_each(|&node| world.lay_lan(&[node]));
    world.seed_with(nodes[0], &sample);
    world.download(nodes[1], &sample, &[]);
    world.run_for(secs(700));
    assert_eq!(world.stats(nodes[1]).candidates, 0);
}

#[test]
fn private_torrent_is_neither_announced_locally_nor_heard_of() {
    let sample = private(&file(100_000, 32 * 1024));
    let mut world = World::new(1);
    let (seed, leech) = (world.node(local()), world.node(local()));
    let hash = sample.metainfo.info_hash();
    let neighbour =
        world.scripted(Neighbour { sends: 1, hashes: vec![hash], ..Neighbour::default() });
    world.lay_lan(&[seed, leech, neighbour]);
    world.seed_with(seed, &sample);
    world.download(leech, &sample, &[]);
    world.run_for(secs(700));
    // Its own packet comes back to it.
    assert_eq!(world.script::<Neighbour>(neighbour).heard.len(), 1);
    assert_eq!(world.stats(leech).candidates, 0);
    assert!(!world.engine(seed).wants_multicast());
}

#[test]
fn torrents_share_a_packet_each_five_minutes_until_paused() {
    let mut world = World::new(1);
    let (node, neighbour) = (world.node(local()), world.scripted(Neighbour::default()));
    world.lay_lan(&[node, neighbour]);
    let samples: Vec<_> = (1..=3).map(|n| file(50_000 * n, 32 * 1024)).collect();
    let ids: Vec<TorrentId> =
        samples.iter().map(|sample| world.download(node, sample, &[])).collect();
    world.run_for(secs(650));
    let told = heard(&world, neighbour, node);
    let of = |it: &LsdAnnounce| (it.info_hashes.len(), it.port);
    assert_eq!(told.iter().map(|(_, it)| of(it)).collect::<Vec<_>>(), [(3, 6881); 3]);
    // The first is half a second late, so that it names all of them.
    let pauses = told.windows(2).map(|two| two[1].0.since(two[0].0));
    assert!(pauses.into_iter().all(|pause| (millis(299_400)..millis(300_100)).contains(&pause)));
    for id in ids {
        world.tell(node, |verbs| verbs.pause(id)).unwrap();
    }
    world.run_for(secs(650));
    assert_eq!(heard(&world, neighbour, node).len(), 3);
    assert!(!world.engine(node).wants_multicast());
}

#[test]
fn own_announce_that_comes_back_makes_no_candidate() {
    let sample = file(100_000, 32 * 1024);
    let mut world = World::new(1);
    let node = world.node(local());
    world.lay_lan(&[node]);
    world.download(node, &sample, &[]);
    world.run_for(secs(400));
    let stats = world.stats(node);
    assert_eq!((stats.candidates, stats.peers), (0, 0));
}

#[test]
fn flood_of_announces_makes_few_candidates() {
    let sample = file(100_000, 32 * 1024);
    let hash = sample.metainfo.info_hash();
    let conf = local().with(|conf| {
        conf.lsd.burst = 50;
        conf.peers.max_candidates = 200;
        conf.peers.max_dials = 1;
        conf.peers.handshake_timeout = secs(1000);
    });
    let candidates = |neighbours: usize| {
        let mut world = World::new(1);
        let node = world.node(conf.clone());
        let flood =
            || Neighbour { sends: 500, hashes: vec![hash], ports: true, ..Neighbour::default() };
        let mut lan: Vec<NodeId> = (0..neighbours).map(|_| world.scripted(flood())).collect();
        lan.push(node);
        world.lay_lan(&lan);
        world.download(node, &sample, &[]);
        world.run_for(secs(6));
        world.stats(node).candidates
    };
    // A tenth of all, whether one floods or many do.
    assert!((15..=20).contains(&candidates(1)), "{}", candidates(1));
    assert!((15..=20).contains(&candidates(10)), "{}", candidates(10));
}

#[test]
fn interface_that_vanishes_and_returns_is_announced_on_again() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(1);
    let (seed, leech) = (world.node(local()), world.node(local()));
    let neighbour = world.scripted(Neighbour::default());
    world.lay_lan(&[seed, neighbour]);
    world.seed_with(seed, &sample);
    world.run_for(secs(5));
    assert_eq!(heard(&world, neighbour, seed).len(), 1);
    world.join_lan(seed, None);
    world.run_for(secs(400));
    assert_eq!(heard(&world, neighbour, seed).len(), 1, "there is no interface");
    world.join_lan(seed, Some(neighbour));
    world.run_for(secs(2));
    assert_eq!(heard(&world, neighbour, seed).len(), 2, "it is new");
    world.join_lan(leech, Some(seed));
    world.download(leech, &sample, &[]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(10)));
}

#[test]
fn more_torrents_than_fit_a_packet_are_announced_a_minute_apart() {
    let mut world = World::new(1);
    let (node, neighbour) = (world.node(local()), world.scripted(Neighbour::default()));
    world.lay_lan(&[node, neighbour]);
    for n in 0..MAX_LSD_HASHES as u64 + 5 {
        world.download(node, &file(20_000 + n, 32 * 1024), &[]);
    }
    world.run_for(secs(70));
    let counts: Vec<usize> =
        heard(&world, neighbour, node).iter().map(|(_, it)| it.info_hashes.len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), MAX_LSD_HASHES + 5);
    assert!(counts.len() <= 3, "{counts:?}");
}

#[test]
fn failure_of_multicast_is_told_once_a_kind() {
    use std::io::ErrorKind;

    use crate::engine::{DatagramOwner, Engine};

    let mut engine = Engine::new(local(), 1, Instant::ZERO).unwrap();
    for why in [ErrorKind::AddrInUse, ErrorKind::PermissionDenied, ErrorKind::AddrInUse] {
        engine.handle_unsent(Instant::ZERO, DatagramOwner::Lsd, why);
    }
    let mut told = Vec::new();
    while let Some(alert) = engine.poll_alert() {
        told.extend(if let Alert::LocalDiscoveryFailed { error } = alert {
            Some(error)
        } else {
            None
        });
    }
    assert_eq!(told, [ErrorKind::AddrInUse, ErrorKind::PermissionDenied]);
}
