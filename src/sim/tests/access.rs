//! Who is let in, and when: filters and pauses in a swarm.

use super::*;
use crate::{
    base::ip_filter::{IpFilter, IpRange},
    engine::TorrentParams,
};

#[test]
fn filtered_peer_gets_nothing_and_the_swarm_goes_on() {
    let mut outcome = Scenario::swarm(1).leeches(2).begin();
    let (seed, leeches) = (outcome.cast.seeds[0], outcome.cast.leeches.clone());
    let blocked = outcome.world.addr(leeches[0]).ip();
    let filter: IpFilter = [IpRange::cidr(blocked, 32).unwrap()].into_iter().collect();
    outcome.world.tell(seed, |engine| engine.set_ip_filter(filter));
    outcome.go_on();
    // The other one has passed it on.
    assert!(outcome.complete);
    let seed = &outcome.world;
    let stats = seed.stats(outcome.cast.seeds[0]);
    assert!(stats.uploaded <= outcome.sample.geometry().total_len() + 64 * KIB, "{stats:?}");
    assert!(seed.engine(outcome.cast.seeds[0]).refused().filtered > 0);
}

#[test]
fn paused_torrent_accepts_and_dials_no_peer() {
    let mut outcome =
        Scenario::swarm(1).leeches(2).on(Line { bandwidth: 50_000, ..Line::default() }).begin();
    let (seed, leeches) = (outcome.cast.seeds[0], outcome.cast.leeches.clone());
    let world = &mut outcome.world;
    assert!(world.run_until(|w| w.stats(seed).peers == 2, secs(10)));
    let id = world.torrent(seed);
    world.tell(seed, |engine| engine.pause(id)).unwrap();
    // One that has never been let go knows all of them.
    let late = world.node(loud());
    let everybody = [seed, leeches[0], leeches[1]];
    let params = TorrentParams { paused: true, ..world.params(late, &outcome.sample, &everybody) };
    world.add_torrent(late, &outcome.sample, params);
    let sent = world.stats(seed).uploaded;
    for _ in 0..600 {
        world.run_for(secs(1));
        assert_eq!((world.stats(seed).peers, world.stats(late).peers), (0, 0));
    }
    assert_eq!(
        (
            world.stats(seed).uploaded,
            world.engine(late).connections(),
            world.stats(late).candidates
        ),
        (sent, 0, 3)
    );
    assert!(world.told(leeches[0], |a| matches!(a, Alert::PeerGone { .. })).is_some());
    world.tell(seed, |engine| engine.resume(id)).unwrap();
    let other = world.torrent(late);
    world.tell(late, |engine| engine.resume(other)).unwrap();
    assert!(world.run_until(
        |w| w.is_complete(late) && leeches.iter().all(|&n| w.is_complete(n)),
        secs(1200)
    ));
}
