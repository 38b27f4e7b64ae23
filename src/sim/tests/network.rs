//! The network goes away and comes back, or is another one, or the machine sleeps: what is known of
//! peers outlives it, and trackers hear at once that we are there again.

use super::*;
use crate::{engine::TorrentParams, torrent::candidates::PeerSource, wire::tracker::AnnounceEvent};

fn slow() -> Line {
    Line { bandwidth: 20_000, ..Line::default() }
}

/// A seed, and a leech with these settings that knows it by its user's word alone; connected.
fn pair(conf: Conf) -> (World, NodeId, NodeId) {
    let sample = file(4 << 20, 64 * 1024);
    let mut world = World::new(7);
    let (seed, leech) = (world.node(shy()), world.node(conf));
    world.set_line(seed, slow());
    world.seed_with(seed, &sample);
    world.download(leech, &sample, &[seed]);
    assert!(world.run_until(|w| w.stats(leech).have > 0, secs(60)));
    (world, seed, leech)
}

/// The network is back, and nothing says so but that dials succeed.
#[track_caller]
fn is_connected_again(world: &mut World, leech: NodeId) {
    let longest = Conf::default().peers.reconnect_max.mul_f64(1.25);
    assert!(world.run_until(|w| w.stats(leech).peers == 1, longest + secs(15)));
}

#[test]
fn peer_of_the_user_outlives_ten_minutes_without_a_network() {
    let (mut world, _, leech) = pair(loud());
    world.set_offline(leech, true);
    world.run_for(secs(600));
    assert_eq!((world.stats(leech).peers, world.stats(leech).candidates), (0, 1));
    world.set_offline(leech, false);
    is_connected_again(&mut world, leech);
}

#[test]
fn peer_of_the_user_outlives_an_hour_of_dials_that_time_out() {
    let (mut world, _, leech) = pair(loud());
    world.set_cut(leech, true);
    world.run_for(secs(3600));
    world.set_cut(leech, false);
    is_connected_again(&mut world, leech);
}

#[test]
fn session_that_starts_without_a_network_keeps_its_peers() {
    let (mut world, _, leech) =
        pair(loud().with(|conf| conf.session.dir = Some("/session".into())));
    world.set_offline(leech, true);
    for _ in 0..2 {
        world.run_for(secs(600));
        world.tell(leech, |engine| engine.shutdown());
        assert!(world.run_until(|w| w.engine(leech).is_drained(), secs(60)));
        world.kill(leech);
        world.run_for(secs(1));
        world.restart(leech);
    }
    world.run_for(secs(600));
    world.set_offline(leech, false);
    is_connected_again(&mut world, leech);
}

#[test]
fn peers_of_a_family_that_is_not_there_are_forgotten_as_others() {
    let sample = file(300_000, 32 * 1024);
    let forgets = |own: &[&str]| {
        let mut world = World::new(7);
        let leech = world.node(loud());
        let own: Vec<_> = own.iter().map(|ip| ip.parse().unwrap()).collect();
        world.tell_addresses(leech, &own);
        world.set_offline(leech, true);
        let id = world.download(leech, &sample, &[]);
        let addr = SocketAddr::from(([192, 0, 2, 1], 6881));
        world.tell(leech, |engine| engine.add_peer_from(id, addr, PeerSource::Dht)).unwrap();
        world.run_for(secs(600));
        world.stats(leech).candidates == 0
    };
    assert!(!forgets(&[]) && !forgets(&["10.0.0.1"]) && !forgets(&["10.0.0.1", "2001:db8::1"]));
    assert!(forgets(&["2001:db8::1"]));
}

/// A tracker that wants to hear of us every half hour, a seed, and a leech that has asked it.
fn tracked() -> (World, TrackerId, NodeId) {
    let sample = file(4 << 20, 64 * 1024);
    let mut world = World::new(8);
    let tracker = world.tracker();
    world.set_tracker_interval(tracker, 1800);
    let trackers = Some(vec![vec![world.tracker_url(tracker)]]);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.set_line(seed, slow());
    world.put_pieces(seed, &sample, &Bitfield::all(sample.geometry().piece_count()));
    for node in [seed, leech] {
        let params =
            TorrentParams { trackers: trackers.clone(), ..world.params(node, &sample, &[]) };
        world.add_torrent(node, &sample, params);
        world.run_for(secs(3));
    }
    assert!(world.run_until(|w| w.stats(leech).peers == 1, secs(60)));
    (world, tracker, leech)
}

/// How often `node` has told a tracker anything.
fn announces(world: &World, tracker: TrackerId, node: NodeId) -> usize {
    world.told_to(tracker).iter().filter(|told| told.node == node).count()
}

#[test]
fn tracker_is_told_in_ten_seconds_when_the_network_is_back() {
    let (mut world, tracker, leech) = tracked();
    assert!(world.engine(leech).wants_addresses() && world.engine(leech).dht().is_none());
    let own = [world.addr(leech).ip()];
    world.tell_addresses(leech, &own);
    world.set_offline(leech, true);
    world.tell_addresses(leech, &[]);
    world.run_for(secs(2 * 3600));
    let before = announces(&world, tracker, leech);
    world.set_offline(leech, false);
    world.tell_addresses(leech, &own);
    let told = |w: &World| announces(w, tracker, leech) > before && w.stats(leech).peers == 1;
    assert!(world.run_until(told, secs(10)));
}

#[test]
fn tracker_is_told_of_another_address_without_an_outage() {
    let (mut world, tracker, leech) = tracked();
    world.tell_addresses(leech, &["10.0.0.1".parse().unwrap()]);
    world.run_for(secs(100));
    let before = announces(&world, tracker, leech);
    world.tell_addresses(leech, &["10.0.0.2".parse().unwrap()]);
    world.run_for(secs(10));
    assert_eq!(announces(&world, tracker, leech), before + 1);
    let last = world.told_to(tracker).iter().rfind(|told| told.node == leech).unwrap();
    assert_eq!(last.event, AnnounceEvent::None);
}

#[test]
fn tracker_is_told_when_the_machine_has_slept() {
    let (mut world, tracker, leech) = tracked();
    world.run_for(secs(60));
    let before = announces(&world, tracker, leech);
    world.run_for(secs(60));
    assert_eq!(announces(&world, tracker, leech), before);
    world.jump_clock(leech, secs(600));
    let told = |w: &World| announces(w, tracker, leech) > before && w.stats(leech).peers == 1;
    assert!(world.run_until(told, secs(10)));
}

#[test]
fn engine_without_torrents_and_dht_wants_no_addresses() {
    let mut world = World::new(9);
    let node = world.node(loud());
    assert!(!world.engine(node).wants_addresses());
    world.download(node, &file(300_000, 32 * 1024), &[]);
    assert!(world.engine(node).wants_addresses());
    world.tell(node, |engine| engine.shutdown());
    assert!(!world.engine(node).wants_addresses());
}
