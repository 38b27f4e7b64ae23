//! Swarms that meet through trackers, and what trackers hear of thousands of torrents.

use super::*;
use crate::{
    alert::{TrackerStats, TrackerStatus},
    engine::TorrentParams,
    wire::tracker::AnnounceEvent,
};

/// A torrent with these trackers, one a tier.
fn tracked(
    world: &World,
    node: NodeId,
    sample: &Arc<Sample>,
    trackers: &[TrackerId],
) -> TorrentParams {
    let tiers = trackers.iter().map(|&tracker| vec![world.tracker_url(tracker)]).collect();
    TorrentParams { trackers: Some(tiers), ..world.params(node, sample, &[]) }
}

fn seed(world: &mut World, conf: &Conf, sample: &Arc<Sample>, trackers: &[TrackerId]) -> NodeId {
    let node = world.node(conf.clone());
    let params = tracked(world, node, sample, trackers);
    world.put_pieces(node, sample, &Bitfield::all(sample.geometry().piece_count()));
    world.add_torrent(node, sample, params);
    node
}

fn leech(world: &mut World, conf: &Conf, sample: &Arc<Sample>, trackers: &[TrackerId]) -> NodeId {
    let node = world.node(conf.clone());
    let params = tracked(world, node, sample, trackers);
    world.add_torrent(node, sample, params);
    node
}

/// What `node` told a tracker.
fn events(world: &World, tracker: TrackerId, node: NodeId) -> Vec<AnnounceEvent> {
    world.told_to(tracker).iter().filter(|told| told.node == node).map(|told| told.event).collect()
}

fn trackers(world: &World, node: NodeId) -> Vec<TrackerStats> {
    world.engine(node).trackers(world.torrent(node))
}

use AnnounceEvent::{Completed, None as Again, Started, Stopped};

#[test]
fn a_swarm_meets_through_its_tracker_alone() {
    let mut world = World::new(1);
    let sample = file(1_000_000, 64 * 1024);
    let tracker = world.tracker();
    let from = seed(&mut world, &loud(), &sample, &[tracker]);
    world.run_for(secs(5));
    let leeches: Vec<_> = (0..5).map(|_| leech(&mut world, &loud(), &sample, &[tracker])).collect();
    assert!(world.run_until(|w| leeches.iter().all(|&l| w.is_complete(l)), secs(120)));
    world.run_for(secs(2));
    for &l in &leeches {
        assert_eq!(events(&world, tracker, l), [Started, Completed]);
        world.tell(l, |engine| engine.shutdown());
        assert!(world.run_until(|w| w.engine(l).is_drained(), secs(6)));
        assert_eq!(events(&world, tracker, l), [Started, Completed, Stopped]);
    }
    assert_eq!(events(&world, tracker, from), [Started]);
}

#[test]
fn a_silent_first_tier_falls_to_the_second_and_is_tried_again() {
    let mut world = World::new(2);
    let sample = file(100_000, 32 * 1024);
    let (dead, good) = (world.tracker(), world.tracker());
    world.set_tracker_manners(dead, TrackerManners::Silent);
    let node = seed(&mut world, &loud(), &sample, &[dead, good]);
    assert!(
        world.run_until(|w| !w.told_to(good).is_empty(), secs(60)),
        "{:?}",
        trackers(&world, node)
    );
    let status: Vec<_> = trackers(&world, node).iter().map(|t| t.status).collect();
    assert_eq!(status[0], TrackerStatus::Failing);
    world.set_tracker_manners(dead, TrackerManners::Good);
    world.run_for(secs(1));
    assert!(world.run_until(|w| !w.told_to(dead).is_empty(), secs(2000)));
    assert_eq!(
        (events(&world, dead, node), events(&world, good, node)),
        (vec![Started], vec![Started])
    );
    // Both know of it, so both hear of the end.
    world.run_for(secs(1));
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(6)));
    assert_eq!(
        (events(&world, dead, node), events(&world, good, node)),
        (vec![Started, Stopped], vec![Started, Stopped])
    );
}

#[test]
fn hung_tracker_holds_up_the_end_for_stopped_timeout_only() {
    let mut world = World::new(3);
    let sample = file(100_000, 32 * 1024);
    let tracker = world.tracker();
    let node = seed(&mut world, &loud(), &sample, &[tracker]);
    world.run_for(secs(5));
    world.set_tracker_manners(tracker, TrackerManners::Silent);
    let start = world.now();
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    assert_eq!(world.now().since(start), loud().trackers.stopped_timeout);
    // One that never knew of it is not waited for.
    let node = seed(&mut world, &loud(), &sample, &[tracker]);
    world.run_for(secs(3));
    let start = world.now();
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    assert!(world.now().since(start) < secs(1));
}

#[test]
fn pauses_are_told_in_order_however_quick() {
    let mut world = World::new(4);
    let sample = file(100_000, 32 * 1024);
    let tracker = world.tracker();
    let node = seed(&mut world, &loud(), &sample, &[tracker]);
    world.run_for(secs(5));
    let id = world.torrent(node);
    for _ in 0..3 {
        world.tell(node, |engine| engine.pause(id).and_then(|()| engine.resume(id))).unwrap();
    }
    world.run_for(secs(5));
    assert_eq!(events(&world, tracker, node), [Started, Stopped, Started]);
    // A pause before the answer: the tracker may have heard of the start, so it hears of the end.
    world.tell(node, |engine| engine.pause(id)).unwrap();
    world.run_for(secs(5));
    world.tell(node, |engine| engine.resume(id)).unwrap();
    world.tell(node, |engine| engine.pause(id)).unwrap();
    world.run_for(secs(5));
    assert_eq!(
        events(&world, tracker, node),
        [Started, Stopped, Started, Stopped, Started, Stopped]
    );
    world.tell(node, |engine| engine.resume(id)).unwrap();
    world.run_for(secs(5));
    world.tell(node, |engine| engine.remove(id)).unwrap();
    world.run_for(secs(5));
    assert_eq!(events(&world, tracker, node)[6..], [Started, Stopped]);
}

#[test]
fn the_interval_holds_and_the_user_can_shorten_it_to_the_least() {
    let mut world = World::new(5);
    let sample = file(100_000, 32 * 1024);
    let tracker = world.tracker();
    world.set_tracker_interval(tracker, 600);
    let node = seed(&mut world, &loud(), &sample, &[tracker]);
    let id = world.torrent(node);
    world.run_for(secs(1300));
    assert_eq!(events(&world, tracker, node), [Started, Again, Again]);
    for _ in 0..20 {
        world.tell(node, |engine| engine.announce_now(id)).unwrap();
        world.run_for(secs(10));
    }
    assert!((5..=7).contains(&events(&world, tracker, node).len()));
}

#[test]
fn thousands_of_torrents_announce_in_turn_and_stop_in_time() {
    const TORRENTS: usize = 3_000;
    let mut world = World::new(6);
    let good = world.tracker();
    let conf = Conf::default().with(|conf| conf.alerts.mask = AlertMask::NONE);
    let node = world.node(conf.clone());
    let url = world.tracker_url(good);
    for n in 0..TORRENTS {
        let sample = Sample::file(&format!("t{n}"), 1, 16 * 1024, n as u64).unwrap();
        let params = TorrentParams {
            trackers: Some(vec![vec![url.clone()]]),
            state_file: None,
            ..TorrentParams::new(sample.metainfo.clone(), "/many")
        };
        world.tell(node, |engine| engine.add_torrent(params)).unwrap();
    }
    world.run_for(secs(60));
    let told = world.told_to(good);
    let mut hashes: Vec<_> = told.iter().map(|told| told.info_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!((told.len(), hashes.len()), (TORRENTS, TORRENTS), "each once");
    let a_second = conf.trackers.announces_per_second as usize + conf.trackers.max_announces + 1;
    for window in told.windows(a_second + 1) {
        let span = window[a_second].at.since(window[0].at);
        assert!(span >= millis(900), "{a_second} in {span:?}");
    }
    // The second round is spread as well.
    world.run_for(secs(1900));
    let second: Vec<_> = world.told_to(good)[TORRENTS..].iter().map(|told| told.at).collect();
    assert!(second.len() > TORRENTS / 2);
    for window in second.windows(a_second + 1) {
        assert!(window[a_second].since(window[0]) >= millis(900));
    }
    let start = world.now();
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    assert!(world.now().since(start) <= conf.trackers.stopped_timeout);
    assert_eq!(world.told_to(good).iter().filter(|told| told.event == Stopped).count(), TORRENTS);
}
