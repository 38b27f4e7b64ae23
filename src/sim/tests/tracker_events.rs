//! Events that trackers hear (BEP 3) when torrents stop in the middle of telling them, and after a
//! restart.

use super::*;
use crate::{base::storage::Trust, engine::TorrentParams, wire::tracker::AnnounceEvent};
use AnnounceEvent::{Completed, Started, Stopped};

fn kept() -> Conf {
    loud().with(|conf| conf.session.dir = Some("/session".into()))
}

/// A torrent with these trackers, one a tier.
fn add(
    world: &mut World,
    node: NodeId,
    sample: &Arc<Sample>,
    trackers: &[TrackerId],
    peers: &[NodeId],
) {
    let tiers = trackers.iter().map(|&tracker| vec![world.tracker_url(tracker)]).collect();
    let params = TorrentParams { trackers: Some(tiers), ..world.params(node, sample, peers) };
    world.add_torrent(node, sample, params);
}

fn seed(world: &mut World, sample: &Arc<Sample>) -> NodeId {
    let node = world.node(loud());
    world.seed_with(node, sample);
    node
}

/// What `node` told a tracker.
fn events(world: &World, tracker: TrackerId, node: NodeId) -> Vec<AnnounceEvent> {
    world.told_to(tracker).iter().filter(|told| told.node == node).map(|told| told.event).collect()
}

/// Lets a leech find a seed and get everything from it.
fn complete(world: &mut World, leech: NodeId, sample: &Arc<Sample>) {
    let from = seed(world, sample);
    world.run_for(millis(500));
    let (id, addr) = (world.torrent(leech), world.addr(from));
    world.tell(leech, |engine| engine.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(120)));
}

fn shut_down(world: &mut World, node: NodeId) {
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
}

fn start_again(world: &mut World, node: NodeId) {
    world.kill(node);
    world.run_for(millis(1));
    world.restart(node);
}

#[test]
fn shutdown_at_completion_tells_completed_then_stopped() {
    for n in 0..20 {
        let mut world = World::new(n);
        let sample = file(100_000 + 40_000 * n, 32 * 1024);
        let tracker = world.tracker();
        let from = seed(&mut world, &sample);
        let leech = world.node(if n % 2 == 0 { kept() } else { loud() });
        add(&mut world, leech, &sample, &[tracker], &[from]);
        assert!(world.run_until(|w| w.is_complete(leech), secs(120)));
        let start = world.now();
        shut_down(&mut world, leech);
        assert_eq!(events(&world, tracker, leech), [Started, Completed, Stopped], "world {n}");
        assert!(world.now().since(start) <= loud().trackers.stopped_timeout);
        // All of it was acknowledged, so the next start says nothing of it again.
        start_again(&mut world, leech);
        world.run_for(secs(10));
        assert_eq!(events(&world, tracker, leech)[3..], [Started], "world {n}");
    }
}

#[test]
fn started_in_flight_at_shutdown_gets_its_stopped() {
    let sample = file(100_000, 32 * 1024);
    for manners in [TrackerManners::Good, TrackerManners::Mute] {
        let mut world = World::new(2);
        let tracker = world.tracker();
        world.set_tracker_manners(tracker, manners);
        let node = world.node(loud());
        add(&mut world, node, &sample, &[tracker], &[]);
        assert!(world.run_until(|w| !w.told_to(tracker).is_empty(), secs(10)));
        let start = world.now();
        shut_down(&mut world, node);
        let told = events(&world, tracker, node);
        assert_eq!((told.first(), told.last()), (Some(&Started), Some(&Stopped)));
        assert!(world.now().since(start) <= loud().trackers.stopped_timeout);
    }
}

#[test]
fn unacknowledged_events_are_told_at_the_next_start() {
    let sample = file(300_000, 32 * 1024);
    // With the session's folder, and with a state file.
    for conf in [kept(), loud()] {
        let mut world = World::new(3);
        let tracker = world.tracker();
        let leech = world.node(conf);
        add(&mut world, leech, &sample, &[tracker], &[]);
        world.run_for(secs(2));
        world.set_tracker_manners(tracker, TrackerManners::Silent);
        complete(&mut world, leech, &sample);
        shut_down(&mut world, leech);
        assert_eq!(events(&world, tracker, leech), [Started]);
        // It is still silent, and then it is not.
        start_again(&mut world, leech);
        world.run_for(secs(20));
        shut_down(&mut world, leech);
        world.set_tracker_manners(tracker, TrackerManners::Good);
        start_again(&mut world, leech);
        world.run_for(secs(20));
        assert_eq!(events(&world, tracker, leech), [Started, Stopped, Started, Completed]);
        shut_down(&mut world, leech);
        start_again(&mut world, leech);
        world.run_for(secs(20));
        assert_eq!(
            events(&world, tracker, leech)[4..],
            [Stopped, Started],
            "completed is told once"
        );
    }
}

#[test]
fn completed_is_owed_to_each_unacknowledging_tracker() {
    let sample = file(300_000, 32 * 1024);
    let mut world = World::new(4);
    let trackers = [world.tracker(), world.tracker()];
    let leech = world.node(kept().with(|conf| conf.trackers.announce_to_all_tiers = true));
    add(&mut world, leech, &sample, &trackers, &[]);
    world.run_for(secs(2));
    world.set_tracker_manners(trackers[1], TrackerManners::Silent);
    complete(&mut world, leech, &sample);
    shut_down(&mut world, leech);
    assert_eq!(events(&world, trackers[0], leech), [Started, Completed, Stopped]);
    world.set_tracker_manners(trackers[1], TrackerManners::Good);
    start_again(&mut world, leech);
    world.run_for(secs(20));
    assert_eq!(events(&world, trackers[0], leech)[3..], [Started]);
    assert_eq!(events(&world, trackers[1], leech), [Started, Completed, Stopped, Started]);
}

#[test]
fn copied_data_that_a_recheck_finds_is_not_told_as_completed() {
    let sample = file(300_000, 32 * 1024);
    let mut world = World::new(5);
    let tracker = world.tracker();
    let node = world.node(loud());
    add(&mut world, node, &sample, &[tracker], &[]);
    world.run_for(secs(5));
    world.put_pieces(node, &sample, &Bitfield::all(sample.geometry().piece_count()));
    let id = world.torrent(node);
    world.tell(node, |engine| engine.recheck(id)).unwrap();
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
    world.run_for(secs(5));
    assert!(!events(&world, tracker, node).contains(&Completed));
    shut_down(&mut world, node);
    assert_eq!(events(&world, tracker, node).last(), Some(&Stopped));
}

#[test]
fn a_tracker_that_was_never_reached_does_not_hold_up_the_end() {
    let sample = file(100_000, 32 * 1024);
    let mut world = World::new(6);
    let tracker = world.tracker();
    world.set_tracker_manners(tracker, TrackerManners::Silent);
    let node = world.node(loud());
    let params = TorrentParams { trust: Trust::Files, ..world.params(node, &sample, &[]) };
    let tiers = vec![vec![world.tracker_url(tracker)]];
    world.add_torrent(node, &sample, TorrentParams { trackers: Some(tiers), ..params });
    world.run_for(secs(3));
    let start = world.now();
    shut_down(&mut world, node);
    assert!(world.now().since(start) < secs(1));
}
