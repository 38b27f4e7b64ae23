//! What the user is told of how a torrent gets on, and when.

use super::*;
use crate::alert::{PeerGoneKind, TorrentStats};

/// What a node told of its progress after `since`.
fn progress(world: &World, node: NodeId, since: Instant) -> Vec<(Instant, TorrentStats)> {
    let stats = |alert: &Alert| {
        if let Alert::Progress { stats, .. } = alert { Some(stats.clone()) } else { None }
    };
    world
        .alerts(node)
        .iter()
        .filter(|(at, _)| *at > since)
        .filter_map(|(at, alert)| Some((*at, stats(alert)?)))
        .collect()
}

/// A leech in the midst of its download from a slow seed.
fn downloading() -> (Outcome, NodeId) {
    let mut outcome =
        Scenario::swarm(1).seeds_on(Line { bandwidth: 50_000, ..Line::default() }).begin();
    let leech = outcome.cast.leeches[0];
    assert!(outcome.world.run_until(|w| w.stats(leech).have > 3, secs(30)));
    (outcome, leech)
}

/// It goes on until one has told that nothing moves, and then there are no more.
fn comes_to_rest(world: &mut World, leech: NodeId) -> TorrentStats {
    let at = world.now();
    world.run_for(secs(60));
    let told = progress(world, leech, at);
    let (first, last) = (told.first().unwrap(), told.last().unwrap());
    assert!(first.0 <= at + millis(501) && first.1.download_rate > 0, "{first:?}");
    assert!(last.0 < at + secs(30) && last.1.download_rate == 0 && last.1.peers == 0, "{last:?}");
    assert!(told.windows(2).all(
        |w| w[1].0.since(w[0].0) == millis(500) && w[1].1.download_rate <= w[0].1.download_rate
    ));
    last.1.clone()
}

#[test]
fn progress_alerts_end_soon_after_the_last_peer() {
    let (mut outcome, leech) = downloading();
    outcome.world.kill(outcome.cast.seeds[0]);
    assert_eq!(comes_to_rest(&mut outcome.world, leech).phase, Phase::Downloading);
    // And it comes again with the peers.
    let at = outcome.world.now();
    outcome.world.restart(outcome.cast.seeds[0]);
    outcome.go_on();
    assert!(outcome.complete && !progress(&outcome.world, leech, at).is_empty());
}

#[test]
fn a_pause_is_followed_by_progress_that_says_so() {
    let (mut outcome, leech) = downloading();
    let id = outcome.world.torrent(leech);
    outcome.world.tell(leech, |engine| engine.pause(id)).unwrap();
    assert_eq!(comes_to_rest(&mut outcome.world, leech).phase, Phase::Paused);
}

#[test]
fn without_peers_there_is_no_progress_and_checking_is_told_of() {
    let sample = file(3 << 20, 16 * 1024);
    let mut world = World::new(1);
    let seed = world.node(loud());
    world.set_disk_pace(
        seed,
        DiskPace { min: millis(200), max: millis(200), ..DiskPace::default() },
    );
    world.put_pieces(seed, &sample, &Bitfield::all(sample.geometry().piece_count()));
    let params = crate::engine::TorrentParams { paused: true, ..world.params(seed, &sample, &[]) };
    world.add_torrent(seed, &sample, params);
    world.run_for(secs(60));
    let checking: Vec<(Instant, u32)> = world
        .alerts(seed)
        .iter()
        .filter_map(
            |(at, a)| if let Alert::Checking { done, .. } = a { Some((*at, *done)) } else { None },
        )
        .collect();
    assert!(
        checking.len() >= 3
            && checking.windows(2).all(|w| w[0].1 <= w[1].1 && w[1].0.since(w[0].0) <= millis(501))
    );
    assert!(world.told(seed, |a| matches!(a, Alert::Checked { have: 192, .. })).is_some());
    assert_eq!(progress(&world, seed, Instant::ZERO).len(), 0);
    assert_eq!(world.stats(seed).phase, Phase::Paused);
}

#[test]
fn times_count_while_it_runs_and_not_while_it_rests() {
    let sample = file(1 << 20, 64 * 1024);
    let mut world = World::new(1);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    let id = world.seed_with(seed, &sample);
    world.download(leech, &sample, &[]);
    assert!(world.run_until(
        |w| w.is_in(seed, Phase::Seeding) && w.is_in(leech, Phase::Downloading),
        secs(10)
    ));
    let times = |world: &mut World, node| {
        let id = world.torrent(node);
        let totals = world.tell(node, |engine| engine.stats(id)).unwrap().totals;
        (totals.active.as_secs(), totals.seeding.as_secs())
    };
    let hour = secs(3600);
    world.run_for(5 * hour);
    assert_eq!(
        (times(&mut world, seed), times(&mut world, leech)),
        ((18_000, 18_000), (18_000, 0))
    );
    world.tell(seed, |engine| engine.pause(id)).unwrap();
    world.run_for(2 * hour);
    assert_eq!(times(&mut world, seed), (18_000, 18_000));
    world.tell(seed, |engine| engine.resume(id)).unwrap();
    let addr = world.addr(seed);
    let other = world.torrent(leech);
    world.tell(leech, |engine| engine.add_peer(other, addr)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    let done = times(&mut world, leech).0;
    world.run_for(hour);
    assert_eq!(times(&mut world, leech), (done + 3600, 3600));
    let (active, seeding) = times(&mut world, seed);
    assert!(
        active == seeding && (18_000 + 3600..18_000 + 3700).contains(&active),
        "{active} {seeding}"
    );
}

#[test]
fn alerts_come_once_and_in_order() {
    let mut outcome = Scenario::swarm(1).leeches(2).run();
    let leech = outcome.cast.leeches[1];
    outcome.world.run_for(secs(5));
    let id = outcome.world.torrent(leech);
    outcome.world.tell(leech, |engine| engine.remove(id)).unwrap();
    outcome.world.run_for(secs(5));
    let kind = |alert: &Alert| match alert {
        Alert::Opened { .. } => Some("opened"),
        Alert::Checked { .. } => Some("checked"),
        Alert::PieceDone { .. } => Some("piece"),
        Alert::Finished { .. } => Some("finished"),
        Alert::Removed { .. } => Some("removed"),
        _ => None,
    };
    let mut told: Vec<_> =
        outcome.world.alerts(leech).iter().filter_map(|(_, alert)| kind(alert)).collect();
    assert_eq!(told.iter().filter(|&&kind| kind == "piece").count(), 20);
    told.dedup();
    assert_eq!(told, ["opened", "checked", "piece", "finished", "removed"]);
    let last = outcome
        .world
        .alerts(leech)
        .iter()
        .rev()
        .find(|(_, alert)| !matches!(alert, Alert::PeerGone { .. }));
    assert!(matches!(last, Some((_, Alert::Removed { .. }))), "{last:?}");
}

#[test]
fn ends_of_connections_have_kinds_beside_their_words() {
    let mut world = World::new(9);
    let sample = file(2_000_000, 32 * 1024);
    let (seed, dead, leech) = (world.node(loud()), world.node(loud()), world.node(loud()));
    world.set_listening(dead, false);
    world.set_line(seed, Line { bandwidth: 20_000, ..Line::default() });
    world.seed_with(seed, &sample);
    let torrent = world.download(leech, &sample, &[dead, seed]);
    world.run_for(secs(5));
    world.tell(leech, |engine| engine.pause(torrent)).unwrap();
    world.run_for(secs(5));
    let kinds = |world: &World, node, of| -> Vec<PeerGoneKind> {
        let (alerts, ip) = (world.alerts(node), world.addr(of).ip());
        let kind = |alert: &Alert| match alert {
            Alert::PeerGone { addr, kind, .. } if addr.ip() == ip => Some(*kind),
            _ => None,
        };
        alerts.iter().filter_map(|(_, alert)| kind(alert)).collect()
    };
    let failed = kinds(&world, leech, dead);
    assert!(
        !failed.is_empty() && failed.iter().all(|kind| *kind == PeerGoneKind::Unreachable),
        "{failed:?}"
    );
    assert_eq!(kinds(&world, leech, seed), [PeerGoneKind::Stopped]);
    assert_eq!(kinds(&world, seed, leech), [PeerGoneKind::Closed]);
    world.tell(leech, |engine| engine.resume(torrent)).unwrap();
    world.run_for(secs(5));
    let ip = world.addr(seed).ip();
    world.tell(leech, |engine| engine.ban(ip, secs(60)));
    assert_eq!(kinds(&world, leech, seed).last(), Some(&PeerGoneKind::LetGo));
}
