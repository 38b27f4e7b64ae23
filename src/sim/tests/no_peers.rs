//! Downloads that no peer can serve: it is told, once a spell, with the reason.

use super::*;
use crate::{
    alert::{NoPeers, NoPeersReason},
    engine::TorrentParams,
};

/// What was told of spells without a peer, and when.
fn spells(world: &World, node: NodeId) -> Vec<(Duration, NoPeers)> {
    let spell = |(at, alert): &(Instant, Alert)| match alert {
        Alert::NoPeers { no_peers, .. } => Some((at.since(Instant::ZERO), *no_peers)),
        _ => None,
    };
    world.alerts(node).iter().filter_map(spell).collect()
}

fn tracked(
    world: &World,
    node: NodeId,
    sample: &Arc<Sample>,
    tracker: TrackerId,
    peers: &[NodeId],
) -> TorrentParams {
    TorrentParams {
        trackers: Some(vec![vec![world.tracker_url(tracker)]]),
        ..world.params(node, sample, peers)
    }
}

#[test]
fn dead_tracker_and_dead_peer_are_told_once_a_spell() {
    let mut world = World::new(1);
    let sample = file(300_000, 32 * 1024);
    let tracker = world.tracker();
    world.set_tracker_manners(tracker, TrackerManners::Refuses("not here".into()));
    let (seed, dead, node) = (world.node(loud()), world.node(loud()), world.node(Conf::default()));
    world.set_listening(dead, false);
    let params = tracked(&world, node, &sample, tracker, &[dead]);
    world.add_torrent(node, &sample, params);
    world.run_for(secs(29));
    assert_eq!(spells(&world, node), []);
    assert_eq!(world.stats(node).no_peers, None);
    world.run_for(secs(2));
    let [(at, told)] = spells(&world, node)[..] else { panic!("{:?}", spells(&world, node)) };
    assert!(
        at >= secs(30) && told.lasting >= secs(30) && told.lasting < secs(31),
        "{at:?} {told:?}"
    );
    assert_eq!((told.why, told.failing_trackers), (NoPeersReason::Unreachable, 1));
    assert!(told.failed_dials > 0 && told.connected == 0, "{told:?}");
    // The failing tracker is told as well, without anything being asked for.
    assert!(world.told(node, |alert| matches!(alert, Alert::TrackerFailed { .. })).is_some());

    // Hours later it is a state, and not told again; nor does the forgotten peer change the reason.
    world.run_for(secs(6 * 3600));
    assert_eq!(spells(&world, node).len(), 1);
    let state = world.stats(node).no_peers.unwrap();
    assert!(state.lasting > secs(5 * 3600) && state.why == NoPeersReason::Unreachable, "{state:?}");

    // A peer that has something ends the spell; when it goes, another begins.
    world.put_pieces(seed, &sample, &Bitfield::all(sample.geometry().piece_count()));
    world.download(seed, &sample, &[]);
    world.run_for(secs(1));
    world.set_line(seed, Line { bandwidth: 20_000, ..Line::default() });
    let (torrent, addr) = (world.torrent(node), world.addr(seed));
    world.tell(node, |engine| engine.add_peer(torrent, addr)).unwrap();
    world.run_for(secs(5));
    assert!(world.stats(node).no_peers.is_none() && world.stats(node).peers == 1);
    world.kill(seed);
    world.run_for(secs(300));
    assert_eq!(spells(&world, node).len(), 2, "{:?}", spells(&world, node));
    assert!(world.stats(node).no_peers.is_some());
}

#[test]
fn reasons_for_having_no_peer_are_told_apart() {
    let mut world = World::new(2);
    let sample = file(300_000, 32 * 1024);
    let (good, failing) = (world.tracker(), world.tracker());
    world.set_tracker_manners(failing, TrackerManners::Refuses("no".into()));
    let alone = world.node(Conf::default());
    world.download(alone, &sample, &[]);
    let refused = world.node(Conf::default());
    let params = tracked(&world, refused, &sample, failing, &[]);
    world.add_torrent(refused, &sample, params);
    // Two who have nothing meet through a tracker.
    let pair = [world.node(Conf::default()), world.node(Conf::default())];
    for node in pair {
        let params = tracked(&world, node, &sample, good, &[]);
        world.add_torrent(node, &sample, params);
    }
    world.run_for(secs(120));
    let why = |world: &World, node| {
        spells(world, node).iter().map(|(_, told)| told.why).collect::<Vec<_>>()
    };
    assert_eq!(why(&world, alone), [NoPeersReason::NoCandidates]);
    assert_eq!(why(&world, refused), [NoPeersReason::TrackersFailing]);
    let state = |node| world.stats(node).no_peers.map(|state| state.why);
    assert_eq!(pair.map(state), [Some(NoPeersReason::NothingNeeded); 2]);
    assert!(pair.iter().all(|&node| spells(&world, node).len() == 1));
}

#[test]
fn seeds_and_paused_torrents_miss_no_peer() {
    let mut world = World::new(3);
    let sample = file(100_000, 32 * 1024);
    let (seed, paused) = (world.node(Conf::default()), world.node(Conf::default()));
    world.seed_with(seed, &sample);
    let torrent = world.download(paused, &sample, &[]);
    world.run_for(secs(20));
    world.tell(paused, |engine| engine.pause(torrent)).unwrap();
    world.run_for(secs(100));
    assert!(spells(&world, seed).is_empty() && spells(&world, paused).is_empty());
    // The spell begins anew with the work.
    world.tell(paused, |engine| engine.resume(torrent)).unwrap();
    world.run_for(secs(29));
    assert!(spells(&world, paused).is_empty());
    world.run_for(secs(2));
    assert_eq!(spells(&world, paused).len(), 1);
}

#[test]
fn full_disk_of_a_hundred_torrents_queues_few_alerts() {
    const TORRENTS: u64 = 100;
    let mut world = World::new(4);
    let alerts = AlertMask::STATUS | AlertMask::BANS;
    let quiet = Conf::default().with(|conf| {
        conf.alerts.mask = alerts;
        conf.peers.max_per_host = TORRENTS as usize;
    });
    let conf = quiet.clone().with(|conf| conf.alerts.max = 50);
    let (seed, node) = (world.node(quiet), world.node(conf.clone()));
    world.disk(node).set(|troubles| troubles.capacity = Some(0));
    world.set_deaf(node, true);
    // There is much to look at, and this is about one thing.
    world.set_scrutiny(0);
    for n in 0..TORRENTS {
        let sample = Sample::file(&format!("data-{n}"), 20_000, 16 * 1024, n).unwrap();
        world.seed_with(seed, &sample);
        world.download(node, &sample, &[seed]);
    }
    let most = conf.alerts.max + crate::alert::KEPT_A_TORRENT * TORRENTS as usize + 2;
    let mut worst = 0;
    for _ in 0..20 {
        world.run_for(secs(30));
        worst = worst.max(world.engine(node).alerts_waiting());
    }
    assert!(worst > TORRENTS as usize && worst <= most, "{worst} of {most}");
    // Nothing is lost of what counts.
    world.set_deaf(node, false);
    world.run_for(secs(1));
    let failed = world
        .alerts(node)
        .iter()
        .filter(|(_, alert)| matches!(alert, Alert::StorageFailed { .. }))
        .count();
    assert!(failed >= TORRENTS as usize, "{failed}");
}
