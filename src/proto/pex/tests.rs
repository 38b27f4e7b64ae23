//! What peers are told of each other, and what is taken of it.

use std::{collections::BTreeSet, net::SocketAddr};

use proptest::prelude::*;

use super::*;
use crate::{
    base::time::Instant,
    wire::ut_pex::{PexFlags, PexMessage},
};

const NONE: PexFlags = PexFlags(0);

fn at(s: u64) -> Instant {
    Instant::from_micros(s * 1_000_000)
}

fn addr(n: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], n))
}

fn added(message: Option<PexMessage>) -> Vec<u16> {
    message.unwrap_or_default().added.iter().map(|(addr, _)| addr.port()).collect()
}

fn dropped(message: Option<PexMessage>) -> Vec<u16> {
    message.unwrap_or_default().dropped.iter().map(SocketAddr::port).collect()
}

#[test]
fn first_message_comes_at_once_and_leaves_its_reader_out() {
    let (mut log, mut told) = (PexLog::default(), PexTold::default());
    log.handle_connected(at(0), addr(1), PexFlags::SEED);
    assert_eq!(log.message(at(0), &mut told, Some(addr(1))), None);
    assert!(!told.is_begun());
    log.handle_connected(at(1), addr(2), NONE);
    log.handle_connected(at(1), addr(3), NONE);
    assert_eq!(added(log.message(at(1), &mut told, Some(addr(1)))), [2, 3]);
    let mut other = PexTold::default();
    let first = log.message(at(2), &mut other, None).unwrap();
    assert_eq!(first.added[0], (addr(1), PexFlags::SEED));
}

#[test]
fn later_messages_tell_what_changed_once_a_minute() {
    let (mut log, mut told) = (PexLog::default(), PexTold::default());
    (1..=3).for_each(|n| log.handle_connected(at(0), addr(n), NONE));
    assert_eq!(added(log.message(at(0), &mut told, None)), [1, 2, 3]);
    log.handle_gone(addr(2));
    log.handle_connected(at(5), addr(4), NONE);
    log.set_flags(addr(4), PexFlags::SEED);
    assert_eq!(log.message(at(59), &mut told, None), None, "a minute has not passed");
    assert_eq!(log.next_deadline(), Some(at(60)));
    assert!(!log.poll_round(at(59)) && log.poll_round(at(60)) && !log.poll_round(at(60)));
    let message = log.message(at(60), &mut told, None).unwrap();
    assert_eq!(message.added, [(addr(4), PexFlags::SEED)], "what is known of it by then");
    assert_eq!(message.dropped, [addr(2)]);
    assert!(log.poll_round(at(120)));
    assert_eq!(log.message(at(120), &mut told, None), None, "nothing has changed");
    log.handle_gone(addr(1));
    assert!(log.poll_round(at(180)));
    assert_eq!(dropped(log.message(at(180), &mut told, None)), [1]);
}

#[test]
fn peer_that_came_and_went_or_went_and_came_is_left_out() {
    let (mut log, mut told) = (PexLog::default(), PexTold::default());
    (1..=2).for_each(|n| log.handle_connected(at(0), addr(n), NONE));
    assert!(log.message(at(0), &mut told, None).is_some());
    log.handle_connected(at(1), addr(3), NONE);
    log.handle_gone(addr(3));
    log.handle_gone(addr(1));
    log.handle_connected(at(1), addr(1), NONE);
    assert_eq!(log.message(at(60), &mut told, None), None);
    // Two connections to one peer are one peer.
    log.handle_connected(at(61), addr(2), NONE);
    log.handle_gone(addr(2));
    assert_eq!(log.message(at(120), &mut told, None), None);
    log.handle_gone(addr(2));
    assert_eq!(dropped(log.message(at(180), &mut told, None)), [2]);
}

#[test]
fn messages_are_bounded_and_the_rest_follows() {
    let (mut log, mut told) = (PexLog::default(), PexTold::default());
    let mut early = PexTold::default();
    log.handle_connected(at(0), addr(1), NONE);
    assert_eq!(added(log.message(at(0), &mut early, None)), [1]);
    (2..=150).for_each(|n| log.handle_connected(at(0), addr(n), NONE));
    assert_eq!(added(log.message(at(0), &mut told, None)).len(), 100);
    let later: Vec<Vec<u16>> =
        (1..=4).map(|n| added(log.message(at(60 * n), &mut early, None))).collect();
    let lens: Vec<usize> = later.iter().map(Vec::len).collect();
    assert_eq!(lens, [50, 50, 49, 0]);
    let all: BTreeSet<u16> = later.into_iter().flatten().collect();
    assert_eq!(all, (2..=150).collect());
    (1..=150).for_each(|n| log.handle_gone(addr(n)));
    assert_eq!(dropped(log.message(at(600), &mut early, None)).len(), 50);
}

#[test]
fn log_is_bounded_and_empties_when_all_have_read_it() {
    let mut log = PexLog::default();
    for n in 1..=5000_u16 {
        log.handle_connected(at(0), addr(n), NONE);
        log.handle_gone(addr(n));
    }
    let mut old = PexTold::default();
    assert_eq!(log.message(at(0), &mut old, None), None);
    let mut rounds = 0;
    while log.next_deadline().is_some_and(|next| log.poll_round(next)) {
        rounds += 1;
    }
    assert_eq!(rounds, 3, "the log is empty, and so is the torrent");
}

fn heard(
    heard: &mut PexHeard,
    s: u64,
    from: &str,
    peers: &[&str],
) -> Result<Vec<String>, PexFlood> {
    let added = peers.iter().map(|peer| (peer.parse().unwrap(), NONE)).collect();
    let message = PexMessage { added, dropped: Vec::new() };
    let taken = heard.handle_message(at(s), from.parse().unwrap(), &message, 3)?;
    Ok(taken.into_iter().map(|(addr, _)| addr.to_string()).collect())
}

#[test]
fn flood_of_messages_is_a_fault() {
    let mut peer = PexHeard::default();
    for s in 0..6 {
        assert!(heard(&mut peer, s, "192.0.2.1", &[]).is_ok());
    }
    assert_eq!(heard(&mut peer, 59, "192.0.2.1", &[]), Err(PexFlood));
    assert!(heard(&mut peer, 60, "192.0.2.1", &[]).is_ok());
    assert_eq!(heard(&mut peer, 60, "192.0.2.1", &[]), Err(PexFlood));
}

#[test]
fn stranger_cannot_name_local_addresses_or_many_ports_of_a_host() {
    let peers = ["127.0.0.1:22", "192.168.1.1:80", "192.0.2.7:1", "192.0.2.7:2", "[fe80::1]:1"];
    let taken = |from: &str| heard(&mut PexHeard::default(), 0, from, &peers).unwrap();
    assert_eq!(taken("198.51.100.1"), ["192.0.2.7:1"]);
    assert_eq!(taken("10.0.0.1"), ["192.168.1.1:80", "192.0.2.7:1"]);
    assert_eq!(taken("127.0.0.1"), ["127.0.0.1:22", "192.168.1.1:80", "192.0.2.7:1"], "the limit");
    let near = ["127.0.0.1:1", "127.0.0.1:2"];
    assert_eq!(heard(&mut PexHeard::default(), 0, "127.0.0.1", &near).unwrap(), near);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever comes and goes, and whenever a peer reads: what it was told of and not told to be
    /// gone is in the end what is connected.
    #[test]
    fn reader_knows_in_the_end_who_is_connected(
        events in prop::collection::vec((1_u16..40, any::<bool>(), any::<bool>()), 0..200),
    ) {
        let (mut log, mut told) = (PexLog::default(), PexTold::default());
        let mut live = BTreeSet::new();
        let mut known = BTreeSet::new();
        let mut now = 0;
        let read = |log: &PexLog, told: &mut PexTold, known: &mut BTreeSet<u16>, now: u64| {
            let message = log.message(at(now), told, Some(addr(7))).unwrap_or_default();
            prop_assert!(message.added.len() <= 100 && message.dropped.len() <= 50);
            for (peer, _) in &message.added {
                prop_assert!(known.insert(peer.port()), "told twice");
                prop_assert!(!message.dropped.contains(peer));
            }
            for peer in &message.dropped {
                prop_assert!(known.remove(&peer.port()), "never told of");
            }
            Ok(())
        };
        for (n, connects, reads) in events {
            match (connects, live.contains(&n)) {
                (true, false) => {
                    live.insert(n);
                    log.handle_connected(at(now), addr(n), NONE);
                }
                (false, true) => {
                    live.remove(&n);
                    log.handle_gone(addr(n));
                }
                _ => {}
            }
            if reads {
                now += 60;
                read(&log, &mut told, &mut known, now)?;
            }
        }
        for _ in 0..10 {
            now += 60;
            read(&log, &mut told, &mut known, now)?;
        }
        live.remove(&7);
        prop_assert_eq!(known, live);
    }
}
