//! Calls over UDP, against a small tracker.

use super::*;

const TRACKER: &str = "192.0.2.1:6969";

fn rig(url: &str) -> Rig {
    Rig::new(url)
}

/// What is asked next, and its transaction.
#[track_caller]
fn request(rig: &mut Rig) -> (Target, u32, Datagram) {
    match rig.ask() {
        Ask::Datagram { to, data } => {
            let (transaction, request) = Datagram::decode(&data).unwrap();
            (to, transaction, request)
        }
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn connect(rig: &mut Rig, connection: u64) {
    let (to, transaction, request) = request(rig);
    assert_eq!(request, Datagram::Connect);
    assert!(rig.call.handle_datagram(
        rig.now,
        &to,
        &Reply::Connect { connection }.encode(transaction, to.ip().is_some_and(|ip| ip.is_ipv6()))
    ));
}

/// Answers the announce that is asked next.
#[track_caller]
fn answer_announce(rig: &mut Rig, want: u64) -> (Announce, Vec<u8>) {
    let (to, transaction, request) = request(rig);
    let Datagram::Announce { connection, announce, url_data } = request else {
        panic!("{request:?}")
    };
    assert_eq!(connection, want);
    let said = AnnounceReply { seeders: Some(1), leechers: Some(2), ..reply() };
    assert!(rig.call.handle_datagram(
        rig.now,
        &to,
        &Reply::Announce(said).encode(transaction, to.ip().is_some_and(|ip| ip.is_ipv6()))
    ));
    (*announce, url_data)
}

#[track_caller]
fn answered(rig: &mut Rig) {
    let said = AnnounceReply { seeders: Some(1), leechers: Some(2), ..reply() };
    assert_eq!(rig.done(), Ok((Answer::Announce(said), Some("192.0.2.1".parse().unwrap()))));
}

#[test]
fn an_announce_over_udp() {
    let mut rig = rig("udp://t:6969/announce?k=1");
    rig.resolve(&["192.0.2.1"]);
    connect(&mut rig, 0xABCD);
    let (said, url_data) = answer_announce(&mut rig, 0xABCD);
    assert_eq!((said, &url_data[..]), (announce(), &b"/announce?k=1"[..]));
    answered(&mut rig);
    let since = rig.now;
    assert_eq!(rig.call.connection(), Some(Connection { to: target(TRACKER), id: 0xABCD, since }));
}

#[test]
fn the_tracker_of_another_family() {
    let mut ask = Announce { ip: Some("192.0.2.77".parse().unwrap()), ..announce() };
    let mut rig = Rig::with(
        "udp://[2001:db8::1]:6969",
        Question::Announce(ask.clone()),
        Some(Family::V6),
        &Conf::default(),
    );
    connect(&mut rig, 5);
    let (to, transaction, request) = request(&mut rig);
    ask.ip = None;
    assert_eq!(
        request,
        Datagram::Announce { connection: 5, announce: Box::new(ask), url_data: vec![] }
    );
    let said = AnnounceReply {
        peers: vec!["[2001:db8::9]:6881".parse().unwrap()],
        seeders: Some(0),
        leechers: Some(0),
        ..reply()
    };
    assert!(rig.call.handle_datagram(
        rig.now,
        &to,
        &Reply::Announce(said.clone()).encode(transaction, true)
    ));
    assert_eq!(rig.done(), Ok((Answer::Announce(said), Some("2001:db8::1".parse().unwrap()))));
}

#[test]
fn datagrams_of_others_change_nothing() {
    let mut rig = rig("udp://192.0.2.1:6969");
    let (to, transaction, _) = request(&mut rig);
    let good = Reply::Connect { connection: 1 }.encode(transaction, false);
    let forged = |rig: &mut Rig, from: &str, data: &[u8]| {
        assert!(!rig.call.handle_datagram(rig.now, &target(from), data))
    };
    forged(&mut rig, "192.0.2.2:6969", &good);
    forged(&mut rig, "192.0.2.1:6968", &good);
    forged(&mut rig, TRACKER, &Reply::Connect { connection: 1 }.encode(transaction ^ 1, false));
    forged(&mut rig, TRACKER, &Reply::Error("no".into()).encode(transaction ^ 1, false));
    forged(&mut rig, TRACKER, &Reply::Announce(reply()).encode(transaction, false));
    forged(&mut rig, TRACKER, &Reply::Scrape(vec![]).encode(transaction, false));
    forged(&mut rig, TRACKER, &good[..7]);
    forged(&mut rig, TRACKER, b"");
    forged(&mut rig, TRACKER, &[&[0, 0, 0, 9], &good[4..]].concat());
    rig.idle();
    // A socket for both families tells it so.
    assert!(rig.call.handle_datagram(rig.now, &target("[::ffff:192.0.2.1]:6969"), &good));
    // The same once more is an answer to nothing.
    assert!(!rig.call.handle_datagram(rig.now, &to, &good));
    let (_, second, _) = request(&mut rig);
    assert_ne!(second, transaction);
    assert!(!rig.call.handle_datagram(
        rig.now,
        &to,
        &Reply::Connect { connection: 2 }.encode(second, false)
    ));
}

#[test]
fn unanswered_datagram_is_repeated_ever_less_often() {
    let conf = Conf::default().with(|conf| conf.trackers.timeout = secs(500));
    let mut rig = Rig::with("udp://192.0.2.1:6969", Question::Announce(announce()), None, &conf);
    let first = rig.ask();
    for pause in [15, 30, 60] {
        assert_eq!(rig.wakes_in(), secs(pause));
        rig.pass(secs(pause) - Duration::from_micros(1));
        rig.idle();
        rig.pass(Duration::from_micros(1));
        assert_eq!(rig.call.poll_ask().as_ref(), Some(&first));
        rig.idle();
    }
    let Ask::Datagram { to, data } = first else { panic!() };
    let (transaction, _) = Datagram::decode(&data).unwrap();
    assert!(rig.call.handle_datagram(
        rig.now,
        &to,
        &Reply::Connect { connection: 3 }.encode(transaction, false)
    ));
    let (_, _, second) = request(&mut rig);
    assert!(matches!(second, Datagram::Announce { connection: 3, .. }));
    // The question begins anew with the short pause.
    rig.pass(secs(15));
    assert_eq!(request(&mut rig).2, second);
    rig.pass(secs(30));
    assert_eq!(request(&mut rig).2, second);
    // Now the connection is too old.
    rig.pass(secs(60));
    assert_eq!(request(&mut rig).2, Datagram::Connect);
    assert_eq!(rig.wakes_in(), secs(120));
}

#[test]
fn udp_call_is_repeated_once_by_default() {
    let mut rig = rig("udp://192.0.2.1:6969");
    request(&mut rig);
    rig.pass(secs(15));
    request(&mut rig);
    rig.pass(secs(15));
    assert_eq!(rig.error(), CallError::Timeout);
    assert_eq!(rig.call.connection(), None);
}

#[test]
fn a_dead_address_makes_room_for_the_next_over_udp() {
    let mut rig = rig("udp://t:6969");
    rig.resolve(&["192.0.2.2", "192.0.2.3", "192.0.2.1"]);
    assert_eq!(request(&mut rig).0, target("192.0.2.2:6969"));
    rig.pass(secs(10));
    assert_eq!(request(&mut rig).0, target("192.0.2.3:6969"));
    // It could not even be sent.
    rig.call.handle_stream_ended(rig.now, Err("unreachable".into()));
    connect(&mut rig, 1);
    rig.pass(secs(14));
    answer_announce(&mut rig, 1);
    answered(&mut rig);
}

#[test]
fn a_known_connection_saves_a_round_trip() {
    let mut rig = rig("udp://t:6969");
    let known = Connection { to: target(TRACKER), id: 9, since: rig.now };
    rig.call.set_connection(known.clone());
    // Of several addresses that one comes first.
    rig.resolve(&["192.0.2.7", "192.0.2.1"]);
    answer_announce(&mut rig, 9);
    answered(&mut rig);
    assert_eq!(rig.call.connection(), Some(known));
}

#[test]
fn a_known_connection_counts_for_a_minute() {
    for (age, good) in
        [(CONNECTION_TIME - Duration::from_micros(1), true), (CONNECTION_TIME, false)]
    {
        let mut rig = rig("udp://192.0.2.1:6969");
        let since = rig.now;
        rig.now = rig.now + age;
        rig.call = Call::new(
            TrackerUrl::parse("udp://192.0.2.1:6969").unwrap(),
            Question::Announce(announce()),
            None,
            rig.now,
            &Conf::default(),
            &mut Rng::new(1),
        );
        rig.call.set_connection(Connection { to: target(TRACKER), id: 9, since });
        assert_eq!(matches!(request(&mut rig).2, Datagram::Announce { connection: 9, .. }), good);
    }
    let mut other = rig("udp://192.0.2.1:6969");
    other.call.set_connection(Connection { to: target("192.0.2.1:6968"), id: 9, since: other.now });
    assert_eq!(request(&mut other).2, Datagram::Connect);
}

#[test]
fn a_connection_that_the_tracker_forgot_is_renewed() {
    let known = |rig: &Rig| Connection { to: target(TRACKER), id: 9, since: rig.now };
    // It says so …
    let mut said = rig("udp://192.0.2.1:6969");
    said.call.set_connection(known(&said));
    let (to, transaction, _) = request(&mut said);
    let error = Reply::Error("Connection ID mismatch".into());
    assert!(said.call.handle_datagram(said.now, &to, &error.encode(transaction, false)));
    // … of a new one too, since it may restart at any time, but not for ever …
    for id in 10..=12 {
        connect(&mut said, id);
        let (_, transaction, _) = request(&mut said);
        assert!(said.call.handle_datagram(said.now, &to, &error.encode(transaction, false)));
    }
    let reason = "Connection ID mismatch".into();
    assert_eq!(said.error(), CallError::Reply(ReplyError::Failure { reason, retry_in: None }));
    // … and another refusal is one at once …
    let mut refused = rig("udp://192.0.2.1:6969");
    connect(&mut refused, 1);
    let (_, transaction, _) = request(&mut refused);
    assert!(refused.call.handle_datagram(
        refused.now,
        &to,
        &Reply::Error("no such torrent".into()).encode(transaction, false)
    ));
    assert!(matches!(refused.error(), CallError::Reply(ReplyError::Failure { .. })));
    // … or it says nothing.
    let mut silent = rig("udp://192.0.2.1:6969");
    silent.call.set_connection(known(&silent));
    request(&mut silent);
    silent.pass(secs(15));
    connect(&mut silent, 10);
    answer_announce(&mut silent, 10);
    answered(&mut silent);
    let mut dead = rig("udp://192.0.2.1:6969");
    dead.call.set_connection(known(&dead));
    request(&mut dead);
    dead.pass(secs(30));
    assert_eq!(dead.error(), CallError::Timeout);
    assert_eq!(dead.call.connection(), None);
}

#[test]
fn refusals_and_broken_replies_over_udp() {
    let mut refused = rig("udp://192.0.2.1:6969");
    let (to, transaction, _) = request(&mut refused);
    assert!(refused.call.handle_datagram(
        refused.now,
        &to,
        &Reply::Error("go away".into()).encode(transaction, false)
    ));
    assert_eq!(refused.error().to_string(), "the tracker refuses: \"go away\"");
    let mut broken = rig("udp://192.0.2.1:6969");
    connect(&mut broken, 1);
    let (_, transaction, _) = request(&mut broken);
    let short = &Reply::Announce(reply()).encode(transaction, false)[..19];
    assert!(broken.call.handle_datagram(broken.now, &to, short));
    assert_eq!(
        broken.error(),
        CallError::Reply(ReplyError::Length { what: "reply to an announce", len: 19 })
    );
}

#[test]
fn a_scrape_over_udp() {
    let hashes = vec![HASH, InfoHash([0; 20])];
    let counts = ScrapeReply { complete: 1, downloaded: 2, incomplete: 3 };
    for (replies, want) in [
        (vec![counts; 2], vec![Some(counts); 2]),
        (vec![counts; 3], vec![Some(counts); 2]),
        (vec![counts], vec![Some(counts), None]),
        (vec![], vec![None, None]),
    ] {
        let mut rig = Rig::with(
            "udp://192.0.2.1:6969/x",
            Question::Scrape(hashes.clone()),
            None,
            &Conf::default(),
        );
        connect(&mut rig, 1);
        let (to, transaction, request) = request(&mut rig);
        assert_eq!(request, Datagram::Scrape { connection: 1, info_hashes: hashes.clone() });
        assert!(rig.call.handle_datagram(
            rig.now,
            &to,
            &Reply::Scrape(replies).encode(transaction, false)
        ));
        assert_eq!(rig.done(), Ok((Answer::Scrape(want), Some("192.0.2.1".parse().unwrap()))));
    }
}

#[test]
fn tracker_at_a_name_is_pinned_to_where_it_answers_first() {
    let conf = Conf::default().with(|conf| {
        conf.proxy.server = Some("socks5://p:1".parse().unwrap());
    });
    let question = Question::Announce(announce());
    let mut rig = Rig::with("udp://t.example:6969", question, None, &conf);
    let (to, transaction, _) = request(&mut rig);
    assert_eq!(to, Target::Name { host: "t.example".into(), port: 6969 });
    let answer = Reply::Connect { connection: 5 }.encode(transaction, false);
    assert!(!rig.call.handle_datagram(rig.now, &target("192.0.2.1:6968"), &answer));
    assert!(rig.call.handle_datagram(rig.now, &target(TRACKER), &answer));
    let (_, transaction, _) = request(&mut rig);
    let reply = AnnounceReply { interval: secs(1800), ..AnnounceReply::default() };
    let answer = Reply::Announce(reply).encode(transaction, false);
    assert!(!rig.call.handle_datagram(rig.now, &target("192.0.2.9:6969"), &answer));
    assert!(rig.call.handle_datagram(rig.now, &target(TRACKER), &answer));
    assert_eq!(rig.done().unwrap().1, Some("192.0.2.1".parse().unwrap()));
}
