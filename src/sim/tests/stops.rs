//! Stops and what they cost: blocks of unfinished pieces and checks that are not over survive an
//! orderly stop, and what was recorded of them survives a kill.

use super::*;
use crate::base::storage::Trust;

/// Ends a node in good order, or kills it, and starts it again.
fn start_again(world: &mut World, node: NodeId, orderly: bool) -> Instant {
    if orderly {
        world.tell(node, |engine| engine.shutdown());
        assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    }
    world.kill(node);
    world.run_for(millis(10));
    let now = world.now();
    world.restart(node);
    now
}

/// Bytes that a stop at 45 % makes `seeds` send a second time.
fn fetched_again(seeds: usize, piece_len: u32, conf: Conf, orderly: bool) -> u64 {
    let sample = file(16 << 20, piece_len);
    let line = Line { bandwidth: 1_000_000, ..Line::default() };
    let scenario =
        Scenario::swarm(1).seeds(seeds).sharing(&sample).seeds_on(line).leeches_with(conf);
    let mut outcome = scenario.begin();
    let (world, leech) = (&mut outcome.world, outcome.cast.leeches[0]);
    let total = sample.geometry().total_len();
    let come = |w: &World| w.stats(leech).have_bytes + w.stats(leech).partial_bytes;
    assert!(world.run_until(|w| come(w) > total * 45 / 100, secs(60)));
    let before = world.stats(leech).downloaded;
    start_again(world, leech, orderly);
    outcome.go_on();
    let outcome = outcome.completes().honestly();
    before + outcome.world.stats(leech).downloaded - total
}

/// At most a twentieth of a piece is fetched again for each peer.
fn stop_costs_little(conf: Conf) {
    let again =
        fetched_again(8, 1 << 20, conf.with(|conf| conf.requests.run_len = 256 << 10), true);
    assert!(again <= 8 * (1 << 20) / 20, "{again} bytes were fetched again");
}

cases! { stop_costs_little:
    clean_stop_keeps_blocks_of_unfinished_pieces => loud();
    clean_stop_of_a_session_keeps_blocks_of_unfinished_pieces =>
        loud().with(|conf| conf.session.dir = Some("/session".into()));
    clean_stop_keeps_blocks_of_pieces_of_one_run =>
        loud().with(|conf| conf.requests.run_len = 1 << 20);
}

#[test]
fn kill_keeps_recorded_runs_of_unfinished_pieces() {
    let conf = loud().with(|conf| {
        conf.requests.run_len = 64 << 10;
        conf.storage.save_interval = millis(50);
    });
    let again = fetched_again(4, 4 << 20, conf, false);
    assert!(again <= 1 << 20, "{again} bytes were fetched again");
}

#[test]
fn pause_writes_blocks_and_resume_goes_on_with_them() {
    let sample = file(4 << 20, 1 << 20);
    let mut outcome = Scenario::swarm(1).seeds(2).sharing(&sample).begin();
    let (world, leech) = (&mut outcome.world, outcome.cast.leeches[0]);
    let id = world.torrent(leech);
    assert!(world.run_until(|w| w.stats(leech).partial_bytes > 700 * KIB, secs(60)));
    world.tell(leech, |engine| engine.pause(id)).unwrap();
    world.run_for(secs(5));
    let (stats, memory) = (world.stats(leech), world.engine(leech).piece_memory());
    assert!(stats.partial_bytes > 700 * KIB && memory == 0, "{memory} bytes in memory, {stats:?}");
    // Killed in its pause, it loses nothing.
    start_again(world, leech, false);
    let id = world.torrent(leech);
    world.tell(leech, |engine| engine.resume(id)).unwrap();
    outcome.go_on();
    let again = outcome.completes().honestly().world.stats(leech).downloaded + stats.downloaded;
    assert!(again <= sample.geometry().total_len() + 2 * 52 * KIB, "{again} bytes were fetched");
}

#[test]
fn peer_is_not_banned_for_blocks_that_came_from_disk() {
    for run_len in [64 << 10, 1 << 20] {
        let sample = file(3 << 20, 1 << 20);
        let conf = loud().with(|conf| conf.requests.run_len = run_len);
        let mut outcome = Scenario::swarm(1).sharing(&sample).leeches_with(conf).begin();
        let (world, leech) = (&mut outcome.world, outcome.cast.leeches[0]);
        assert!(world.run_until(|w| w.stats(leech).partial_bytes > 500 * KIB, secs(60)));
        start_again(world, leech, true);
        world.disk(leech).set(|troubles| troubles.corrupt_reads = 1);
        outcome.go_on();
        let outcome = outcome.completes();
        let stats = outcome.world.stats(leech);
        assert_eq!((stats.failed_pieces, stats.banned), (1, 0), "runs of {run_len}");
        assert!(banned(&outcome.world, leech).is_empty());
    }
}

#[test]
fn kill_while_a_large_piece_is_slow_believes_what_was_saved() {
    let sample = file(8 << 20, 2 << 20);
    let conf = loud().with(|conf| conf.requests.run_len = 64 << 10);
    let mut outcome = Scenario::swarm(1).sharing(&sample).leeches_with(conf).begin();
    let (world, seed, leech) = (&mut outcome.world, outcome.cast.seeds[0], outcome.cast.leeches[0]);
    assert!(world.run_until(|w| w.stats(leech).have == 2, secs(60)));
    world.set_line(seed, Line { bandwidth: 10_000, ..Line::default() });
    world.run_for(secs(100));
    assert_eq!(world.stats(leech).have, 2);
    let then = start_again(world, leech, false);
    assert!(world.run_until(|w| w.is_in(leech, Phase::Downloading), secs(10)));
    let opened = world.alerts(leech).iter().rev().find_map(|(at, alert)| match alert {
        Alert::Opened { have, distrust, .. } if *at >= then => Some((*have, distrust.clone())),
        _ => None,
    });
    assert_eq!(opened, Some((2, None)));
}

/// A torrent of which everything is there and nothing is known, on a slow disk, checked by about a
/// third.
fn checking(conf: Conf, trust: Trust) -> (World, NodeId, u32) {
    let sample = file(4 << 20, 32 << 10);
    let mut world = World::new(1);
    let node = world.node(conf);
    world
        .set_disk_pace(node, DiskPace { min: millis(90), max: millis(110), ..DiskPace::default() });
    world.put_pieces(node, &sample, &Bitfield::all(128));
    let params = crate::engine::TorrentParams { trust, ..world.params(node, &sample, &[]) };
    world.add_torrent(node, &sample, params);
    assert!(world.run_until(|w| w.stats(node).have == 40, secs(60)));
    (world, node, 40)
}

fn to_check(world: &World, node: NodeId, since: Instant) -> u32 {
    let opened = |(at, alert): &(Instant, Alert)| match alert {
        Alert::Opened { to_check, .. } if *at >= since => Some(*to_check),
        _ => None,
    };
    world.alerts(node).iter().find_map(opened).unwrap()
}

/// A check that is interrupted goes on where it was, or where it was last saved.
fn check_goes_on(conf: Conf, orderly: bool) {
    let (mut world, node, done) =
        checking(conf.with(|conf| conf.storage.save_interval = millis(100)), Trust::State);
    let then = start_again(&mut world, node, orderly);
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
    let left = to_check(&world, node, then);
    let most = if orderly { 128 - done } else { 128 - done / 4 };
    assert!((1..=most).contains(&left), "{left} pieces were to be checked, at most {most} should");
    // What was not checked was not believed.
    world.run_for(secs(5));
    let then = start_again(&mut world, node, true);
    world.run_for(secs(5));
    assert!(
        world.alerts(node).iter().all(|(at, a)| *at < then || !matches!(a, Alert::Checking { .. }))
    );
}

cases! { check_goes_on:
    check_goes_on_after_a_clean_stop => loud(), true;
    check_goes_on_after_a_kill => loud(), false;
    check_of_a_session_goes_on_after_a_clean_stop =>
        loud().with(|conf| conf.session.dir = Some("/session".into())), true;
    check_of_a_session_goes_on_after_a_kill =>
        loud().with(|conf| conf.session.dir = Some("/session".into())), false;
}

#[test]
fn check_that_the_user_asked_for_goes_on_in_a_session() {
    let conf = loud().with(|conf| {
        conf.session.dir = Some("/session".into());
        conf.storage.save_interval = millis(100);
    });
    let (mut world, node, done) = checking(conf, Trust::Nothing);
    let then = start_again(&mut world, node, true);
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
    let left = to_check(&world, node, then);
    assert!((1..=128 - done).contains(&left), "{left} pieces were to be checked");
}

#[test]
fn change_behind_an_interrupted_check_is_found() {
    let (mut world, node, _) =
        checking(loud().with(|conf| conf.storage.save_interval = millis(100)), Trust::State);
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    let disk = world.disk(node);
    let path = disk.paths().into_iter().find(|path| path.ends_with("data-4194304")).unwrap();
    let mut bytes = disk.content(&path).unwrap();
    bytes[0] ^= 1;
    world.run_for(secs(1));
    disk.put(&path, &bytes);
    let then = start_again(&mut world, node, false);
    assert!(world.run_until(|w| w.stats(node).have == 127, secs(60)));
    assert_eq!(to_check(&world, node, then), 128);
}
