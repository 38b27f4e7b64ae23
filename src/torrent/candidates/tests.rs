//! What `candidates` promises.

use super::*;

fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], n))
}

#[test]
fn failures_back_off_and_end() {
    let (conf, mut rng) = (Conf::default(), Rng::new(1));
    let mut c = Candidates::default();
    let mut now = Instant::ZERO;
    assert!(c.add(now, addr(1), Source::Dht, &conf) && c.add(now, addr(1), Source::Dht, &conf));
    assert_eq!(c.len(), 1);
    let mut pauses = Vec::new();
    while let Some(a) = c.poll_dial(now) {
        assert_eq!(c.poll_dial(now), None);
        c.release(now, a, false, &mut rng, &conf);
        let Some(due) = c.next_due() else { break };
        assert_eq!(c.poll_dial(due - Duration::from_micros(1)), None);
        pauses.push(due.since(now).as_secs());
        now = due;
    }
    assert_eq!(pauses.len() as u32, conf.peers.max_dial_failures - 1);
    assert!(pauses.windows(2).all(|w| w[0] < w[1]) && pauses[0] == 1, "{pauses:?}");
    assert_eq!(c.len(), 0);
}

/// How often a candidate is dialled in vain in so many hours, the last pause, and whether it is
/// known still.
fn dials(source: Source, proven: bool, hours: u64) -> (u32, u64, bool) {
    let (conf, mut rng) = (Conf::default(), Rng::new(1));
    let mut c = Candidates::default();
    c.add(Instant::ZERO, addr(1), source, &conf);
    let (mut count, mut last, mut pause) = (0, Instant::ZERO, 0);
    while let Some(now) = c.next_due().filter(|at| at.since(Instant::ZERO).as_secs() < hours * 3600)
    {
        assert_eq!(c.poll_dial(now), Some(addr(1)));
        if proven {
            c.note_connected(addr(1));
        }
        c.release(now, addr(1), false, &mut rng, &conf);
        (count, pause, last) = (count + 1, now.since(last).as_secs(), now);
    }
    (count, pause, c.addrs().count() == 1)
}

#[test]
fn dead_peer_of_the_user_stays_and_a_proven_one_stays_long() {
    assert_eq!(dials(Source::Dht, false, 1), (8, dials(Source::Dht, false, 1).1, false));
    let (_, pause, known) = dials(Source::Dht, true, 2);
    assert!(known && (300..=375).contains(&pause), "{pause}");
    let (count, _, known) = dials(Source::Dht, true, 4);
    assert_eq!((count, known), (32, false));
    let (_, pause, known) = dials(Source::User, false, 100);
    assert!(known && (3600..=4500).contains(&pause), "{pause}");
}

#[test]
fn postponed_peer_is_never_forgotten_and_dialled_when_hastened() {
    let (conf, mut rng) = (Conf::default(), Rng::new(1));
    let mut c = Candidates::default();
    (1..=2).for_each(|n| assert!(c.add(Instant::ZERO, addr(n), Source::Dht, &conf)));
    let mut now = Instant::ZERO;
    for _ in 0..100 {
        while let Some(a) = c.poll_dial(now) {
            c.postpone(now, a, &mut rng, &conf);
        }
        now = c.next_due().unwrap();
    }
    let a = c.poll_dial(now).unwrap();
    c.release(now, a, true, &mut rng, &conf);
    let later = now + Duration::from_millis(500);
    let other = if a == addr(1) { addr(2) } else { addr(1) };
    c.hasten_failed(later);
    assert_eq!((c.poll_dial(later), c.poll_dial(later)), (Some(other), None));
}

#[test]
fn shelved_seeds_make_room_for_new_peers() {
    let conf = Conf::default().with(|conf| conf.peers.max_candidates = 10);
    let tracker = PeerSource::Tracker.into();
    let mut c = Candidates::default();
    assert!(c.add(Instant::ZERO, addr(1), Source::User, &conf));
    (2..=10).for_each(|n| assert!(c.add(Instant::ZERO, addr(n), tracker, &conf)));
    while let Some(a) = c.poll_dial(Instant::ZERO) {
        c.note_connected(a);
        c.shelve(a);
    }
    for n in 11..=100 {
        assert!(c.add(Instant::ZERO, addr(n), tracker, &conf), "{n}");
        let a = c.poll_dial(Instant::ZERO).unwrap();
        c.note_connected(a);
        c.shelve(a);
        assert!(c.addrs().count() == 10 && c.shelved.len() == 10);
    }
    assert!(c.addrs().any(|a| a == addr(1)), "the user's gives way to no tracker's");
}

#[test]
fn peers_that_failed_are_tried_in_turn_whatever_their_worth() {
    let (conf, mut rng) = (Conf::default(), Rng::new(1));
    let mut c = Candidates::default();
    (1..=3).for_each(|n| assert!(c.add(Instant::ZERO, addr(n), Source::User, &conf)));
    let mut tried = Vec::new();
    // Each time all of them are due, and one can be dialled.
    for round in 0..9 {
        let now = Instant::from_micros(3_600_000_000 * round);
        let a = c.poll_dial(now).unwrap();
        tried.push(a.port());
        c.release(now, a, false, &mut rng, &conf);
    }
    assert!(tried.chunks(3).all(|turn| BTreeSet::from_iter(turn).len() == 3), "{tried:?}");
}

#[test]
fn a_useful_peer_comes_back_soon() {
    let (conf, mut rng) = (Conf::default(), Rng::new(1));
    let mut c = Candidates::default();
    c.add(Instant::ZERO, addr(1), Source::User, &conf);
    for useful in [false, false, true] {
        let now = c.next_due().unwrap();
        let a = c.poll_dial(now).unwrap();
        c.release(now, a, useful, &mut rng, &conf);
        c.release(now, a, useful, &mut rng, &conf);
        if useful {
            assert!(c.next_due().unwrap().since(now) < Duration::from_millis(1300));
        }
    }
}

#[test]
fn peer_that_made_room_is_dialled_last_without_a_failure() {
    let (conf, mut rng) = (Conf::default(), Rng::new(1));
    let mut c = Candidates::default();
    let mut now = Instant::ZERO;
    c.add(now, addr(1), Source::User, &conf);
    for _ in 0..2 * conf.peers.max_dial_failures {
        assert_eq!((c.count_due(now, 5), c.count_due(now, 0)), (1, 0));
        let a = c.poll_dial(now).unwrap();
        c.rest(now, a, &mut rng, &conf);
        c.rest(now, a, &mut rng, &conf);
        assert_eq!(c.count_due(now, 5), 0);
        let pause = c.next_due().unwrap().since(now);
        assert!(
            pause >= conf.peers.turnover_interval && pause <= conf.peers.turnover_interval * 5 / 4,
            "{pause:?}"
        );
        now = c.next_due().unwrap();
    }
}

#[test]
fn seed_is_dialled_again_only_when_we_lack_pieces() {
    let conf = Conf::default();
    let mut c = Candidates::default();
    c.add(Instant::ZERO, addr(1), Source::User, &conf);
    c.shelve(addr(1));
    assert_eq!(c.len(), 1, "it is not connected");
    assert_eq!(c.poll_dial(Instant::ZERO), Some(addr(1)));
    c.shelve(addr(1));
    assert!(c.add(Instant::ZERO, addr(1), Source::User, &conf));
    assert_eq!((c.next_due(), c.len()), (None, 0));
    let later = Instant::from_micros(5);
    c.unshelve(later);
    assert_eq!(c.poll_dial(later), Some(addr(1)));
}

#[test]
fn bans_hold_and_the_list_is_bounded() {
    let conf = Conf::default().with(|conf| conf.peers.max_candidates = 2);
    let mut c = Candidates::default();
    for n in 1..=3 {
        assert_eq!(c.add(Instant::ZERO, addr(n), Source::User, &conf), n < 3);
    }
    assert!(!c.add(Instant::ZERO, addr(0), Source::User, &conf));
    let now = Instant::ZERO;
    c.ban(now, Contributor { addr: addr(1), incoming: false }, &conf);
    assert!(!c.add(now, addr(1), Source::User, &conf));
    assert!(!c.is_banned(now, Contributor { addr: addr(2), incoming: true }));
    c.ban(now, Contributor { addr: addr(9), incoming: true }, &conf);
    assert!(c.is_banned(now, Contributor { addr: addr(2), incoming: true }));
    assert!(!c.is_banned(now, Contributor { addr: addr(2), incoming: false }));
    assert_eq!((c.len(), c.banned(now)), (1, 2));
    let later = now + conf.peers.ban_time;
    assert!(
        !c.is_banned(later, Contributor { addr: addr(2), incoming: true })
            && c.add(later, addr(1), Source::User, &conf)
    );
    assert_eq!((c.len(), c.banned(later)), (2, 0));
    assert!(c.unban(addr(1).ip()) && !c.unban(addr(1).ip()));
}

#[test]
fn table_of_dead_addresses_takes_new_and_keeps_connected_ones() {
    let (conf, mut rng) =
        (Conf::default().with(|conf| conf.peers.max_candidates = 100), Rng::new(1));
    let mut c = Candidates::default();
    let mut now = Instant::ZERO;
    for n in 1..=100 {
        assert!(c.add(now, addr(n), Source::User, &conf));
    }
    assert!(!c.add(now, addr(500), Source::User, &conf), "none of them has failed yet");
    // Each is tried once; three can be connected.
    for _ in 0..100 {
        let a = c.poll_dial(now).unwrap();
        if a.port() <= 3 {
            c.note_connected(a);
        }
        c.release(now, a, false, &mut rng, &conf);
    }
    now = now + Duration::from_secs(1);
    for n in 501..=1000 {
        assert_eq!(c.add(now, addr(n), Source::User, &conf), n <= 597, "{n}");
    }
    assert_eq!(c.addrs().count(), 100);
    assert!((1..=3).all(|n| c.addrs().any(|a| a == addr(n))));
    // Another source gets its part.
    let other = Source::Tracker(crate::torrent::announcer::TrackerNo::from(1));
    let taken = (2001..=2100).filter(|&n| c.add(now, addr(n), other, &conf)).count();
    assert_eq!(taken, 48);
    // What is dialled now comes from both, and all of it is in order.
    while let Some(a) = c.poll_dial(now + Duration::from_secs(60)) {
        c.forget(a);
    }
    assert_eq!((c.len(), c.addrs().count()), (0, 0));
    assert_eq!(c.room.least(Source::User), None);
}

/// Dials everybody who is due; returns the last byte of each address.
fn order(c: &mut Candidates, now: Instant) -> Vec<u8> {
    let last = |addr: SocketAddr| if let IpAddr::V4(ip) = addr.ip() { ip.octets()[3] } else { 0 };
    std::iter::from_fn(|| c.poll_dial(now)).map(last).collect()
}

#[test]
fn due_candidates_are_dialled_by_worth_and_failed_ones_last() {
    let (conf, mut rng) = (Conf::default(), Rng::new(1));
    let ours = Ours {
        v4: Some([123, 213, 32, 10].into()),
        v6: None,
        ports: crate::base::ports::ListenPorts::both(Some(1)),
    };
    let far = |n: u8| SocketAddr::from(([98, 76, n, n], 1));
    let mut by_worth: Vec<u8> = (1..=20).collect();
    let times = |n: u8| Instant::from_micros(u64::from(n % 5));
    by_worth.sort_by_key(|&n| (Reverse(ours.priority(far(n).ip(), 1)), times(n)));
    assert!(!by_worth.is_sorted());
    let mut c = Candidates::default();
    (1..=20).for_each(|n| _ = c.add(times(n), far(n), Source::User, &conf));
    // As long as our address is unknown, it is who waits longest.
    let mut by_time: Vec<u8> = (1..=20).collect();
    by_time.sort_by_key(|&n| times(n));
    let mut unknown = Candidates::default();
    (1..=20).for_each(|n| _ = unknown.add(times(n), far(n), Source::User, &conf));
    assert_eq!(order(&mut unknown, Instant::from_micros(9)), by_time);
    // It becomes known while all are due.
    let first = c.poll_dial(Instant::from_micros(9)).unwrap();
    c.set_ours(ours);
    c.release(Instant::from_micros(9), first, false, &mut rng, &conf);
    by_worth.retain(|&n| far(n) != first);
    let due = c.waiting.first().unwrap().0;
    let mut dialled = order(&mut c, due);
    assert_eq!(
        dialled.pop().map(far),
        Some(first),
        "it failed, and comes last whatever it is worth"
    );
    assert_eq!(dialled, by_worth);
}

#[test]
fn filtered_candidate_is_forgotten_and_not_added_again() {
    let conf = Conf::default();
    let block = |ip: &str| {
        Arc::new(
            [crate::base::ip_filter::IpRange::from(ip.parse::<IpAddr>().unwrap())]
                .into_iter()
                .collect(),
        )
    };
    let other = SocketAddr::from(([127, 0, 0, 2], 1));
    let mut c = Candidates::new(block("127.0.0.2"), Ours::default());
    assert!(!c.add(Instant::ZERO, other, Source::User, &conf));
    assert!((1..=3).all(|n| c.add(Instant::ZERO, addr(n), Source::User, &conf)));
    // One is being dialled, one waits, one is shelved.
    assert_eq!(c.poll_dial(Instant::ZERO), Some(addr(1)));
    assert_eq!(c.poll_dial(Instant::ZERO), Some(addr(2)));
    c.shelve(addr(2));
    c.set_filter(block("127.0.0.1"));
    assert!(c.known.is_empty() && c.len() == 0 && c.shelved.is_empty());
    c.release(Instant::ZERO, addr(1), true, &mut Rng::new(1), &conf);
    assert!(
        c.len() == 0
            && !c.add(Instant::ZERO, addr(1), Source::User, &conf)
            && c.add(Instant::ZERO, other, Source::User, &conf)
    );
}

#[test]
fn private_torrent_takes_peers_from_trackers_and_the_user_alone() {
    let conf = Conf::default();
    let mut c = Candidates::default();
    let tracker = Source::from(PeerSource::Tracker);
    let all = [PeerSource::User, PeerSource::Tracker, PeerSource::Pex, PeerSource::Dht];
    let all = all.into_iter().chain([PeerSource::Lsd]).map(Source::from);
    for (n, source) in (1..).zip(all.clone()) {
        assert!(c.add(Instant::ZERO, addr(n), source, &conf));
    }
    // One is known to a peer and a tracker, one is dialled.
    assert!(c.add(Instant::ZERO, addr(9), Source::Dht, &conf));
    assert!(c.add(Instant::ZERO, addr(9), tracker, &conf));
    let dialled: BTreeSet<SocketAddr> =
        std::iter::from_fn(|| c.poll_dial(Instant::ZERO)).take(4).collect();
    assert_eq!(dialled, (1..=4).map(addr).collect());
    assert_eq!(c.set_private(), [addr(3), addr(4)]);
    assert_eq!(c.addrs().collect::<Vec<_>>(), [addr(1), addr(2), addr(9)]);
    for (n, source) in (11..).zip(all) {
        assert_eq!(c.add(Instant::ZERO, addr(n), source, &conf), n <= 12);
    }
    assert_eq!(c.set_private(), []);
}

#[test]
fn peer_that_names_many_replaces_its_own_and_shares_dials() {
    let conf = Conf::default().with(|conf| conf.peers.max_candidates = 100);
    let mut c = Candidates::default();
    let at = |n: u16| Instant::from_micros(n.into());
    let pex = Source::Pex([192, 0, 2, 1].into());
    (1..=50).for_each(|n| assert!(c.add(at(n), addr(n), pex, &conf)));
    assert_eq!(c.addrs().collect::<Vec<_>>(), (41..=50).map(addr).collect::<Vec<_>>());
    let other = Source::Pex([192, 0, 2, 2].into());
    (101..=150).for_each(|n| assert!(c.add(at(n), addr(n), other, &conf)));
    assert_eq!(c.len(), 20);
    // A tracker's word counts more than a peer's.
    assert!(c.add(at(200), addr(50), Source::from(PeerSource::Tracker), &conf));
    (201..=260).for_each(|n| assert!(c.add(at(n), addr(n), pex, &conf)));
    assert!(c.addrs().any(|known| known == addr(50)));
    assert!(!c.addrs().any(|known| known == addr(49)));
}

#[test]
fn peers_named_by_peers_take_turns_with_one_that_failed() {
    let (conf, mut rng) = (Conf::default(), Rng::new(1));
    let mut c = Candidates::default();
    let liar = Source::Pex([192, 0, 2, 1].into());
    c.add(Instant::ZERO, addr(1), Source::User, &conf);
    let first = c.poll_dial(Instant::ZERO).unwrap();
    (100..400).for_each(|n| assert!(c.add(Instant::ZERO, addr(n), liar, &conf)));
    c.release(Instant::ZERO, first, false, &mut rng, &conf);
    // All of them are due now.
    let now = Instant::from_micros(10_000_000);
    let order: Vec<_> = (0..3).filter_map(|_| c.poll_dial(now)).collect();
    assert!(order[..2].contains(&addr(1)), "{order:?}");
    // One that the user names, too, is hearsay no more.
    assert!(c.add(now, addr(399), Source::User, &conf));
    let order: Vec<_> = (0..2).filter_map(|_| c.poll_dial(now)).collect();
    assert!(order.contains(&addr(399)), "{order:?}");
    assert_eq!(std::iter::from_fn(|| c.poll_dial(now)).count(), 301 - 5);
}

#[test]
fn peers_worth_keeping_are_those_connected_or_vouched_for() {
    let (conf, mut rng) = (Conf::default(), Rng::new(1));
    let mut c = Candidates::default();
    let (tracker, liar) = (PeerSource::Tracker.into(), Source::Pex([192, 0, 2, 1].into()));
    c.add(Instant::ZERO, addr(900), Source::User, &conf);
    let failed = c.poll_dial(Instant::ZERO).unwrap();
    c.release(Instant::ZERO, failed, false, &mut rng, &conf);
    c.add(Instant::ZERO, addr(800), liar, &conf);
    let connected = c.poll_dial(Instant::ZERO).unwrap();
    c.note_connected(connected);
    (1..=50).for_each(|n| assert!(c.add(Instant::ZERO, addr(n), liar, &conf)));
    (101..=103).for_each(|n| assert!(c.add(Instant::ZERO, addr(n), tracker, &conf)));
    let kept = [800, 900, 101, 102, 103].map(addr);
    assert_eq!(c.worth_keeping(100), kept);
    assert_eq!(c.worth_keeping(2), kept[..2]);
}
