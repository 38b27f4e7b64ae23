//! What an engine asks its driver to do for trackers, through the door without I/O.

use std::{
    io::{ErrorKind, IoSlice},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use cratetorrent::{
    Alert, Conf,
    alert::TrackerStatus,
    driver::{CloseCause, DatagramOwner, Effect, StreamId},
    wire::extension::ExtensionHandshake,
};

use crate::trace::{self, Trace};

const V4: [u8; 4] = [9, 0, 0, 1];
const V6: &str = "2600::1";

fn addrs() -> Vec<IpAddr> {
    vec![V4.into(), V6.parse().unwrap()]
}

/// A seed with one tracker that has a name, of which it has asked the address.
fn asking(conf: Conf) -> Trace {
    let mut t = Trace::seed(conf);
    t.errands();
    t.tell(|engine, torrent| engine.add_tracker(torrent, 0, "udp://tracker.test:80/announce"))
        .unwrap();
    let errands = t.errands();
    assert!(matches!(&errands[..], [Effect::Resolve { host }] if host == "tracker.test"));
    t
}

fn resolved(t: &mut Trace, result: Result<Vec<IpAddr>, String>) {
    let now = t.now;
    t.drive(|engine| engine.handle_resolved(now, "tracker.test", result));
}

/// Datagrams that are to be sent: by which call, where to, and what.
fn datagrams(t: &mut Trace) -> Vec<(DatagramOwner, SocketAddr, Vec<u8>)> {
    let datagram = |effect| match effect {
        Effect::Datagram { owner, to, data } => Some((owner, to, data)),
        _ => None,
    };
    t.errands().into_iter().filter_map(datagram).collect()
}

/// The tracker answers a packet, whatever it was.
fn answer(t: &mut Trace, from: SocketAddr, packet: &[u8]) {
    let (action, transaction) = (packet[11], &packet[12..16]);
    let mut reply = vec![0, 0, 0, action];
    reply.extend(transaction);
    match action {
        0 => reply.extend([7; 8]),
        _ => reply.extend([0, 0, 7, 8, 0, 0, 0, 2, 0, 0, 0, 3]),
    }
    let now = t.now;
    t.drive(|engine| engine.handle_datagram(now, from, &reply));
}

const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\nd8:intervali1800e5:peers0:e";

/// The stream of a call is there, and its request is sent.
fn send(t: &mut Trace, call: StreamId) {
    let now = t.now;
    t.drive(|engine| engine.handle_connected(now, call));
    let len = said(t, call).len();
    assert!(len > 20);
    t.drive(|engine| engine.handle_sent(now, call, len));
}

/// What is to be sent on the stream of a call.
fn said(t: &mut Trace, call: StreamId) -> String {
    let mut slices = [IoSlice::new(&[]); 4];
    let used = t.engine.poll_transmit(call, &mut slices);
    slices[..used].iter().map(|slice| String::from_utf8_lossy(slice)).collect()
}

/// This comes on the stream of a call.
fn hear(t: &mut Trace, call: StreamId, data: &[u8]) {
    let now = t.now;
    t.drive(|engine| engine.handle_data(now, call, &mut data.to_vec()));
}

/// The stream of a call is over.
fn end(t: &mut Trace, call: StreamId, cause: CloseCause) {
    let now = t.now;
    t.drive(|engine| engine.handle_closed(now, call, cause));
}

fn failures(t: &Trace) -> Vec<&str> {
    let failure = |alert: &'_ Alert| matches!(alert, Alert::TrackerFailed { .. });
    t.alerts()
        .iter()
        .filter(|alert| failure(alert))
        .map(|alert| match alert {
            Alert::TrackerFailed { error, .. } => error.text.as_str(),
            _ => "",
        })
        .collect()
}

fn status(t: &mut Trace) -> TrackerStatus {
    t.tell(|engine, torrent| engine.trackers(torrent)[0].status)
}

#[test]
fn one_look_up_and_one_call_for_each_family() {
    let mut t = asking(Conf::default());
    resolved(&mut t, Ok(addrs()));
    let asked = datagrams(&mut t);
    let to: Vec<IpAddr> = asked.iter().map(|(_, to, _)| to.ip()).collect();
    assert_eq!(to, addrs());
    for (_, to, data) in &asked {
        answer(&mut t, *to, data);
    }
    let announces = datagrams(&mut t);
    assert_eq!(announces.len(), 2);
    assert!(
        announces
            .iter()
            .all(|(_, _, data)| data[8..12] == [0, 0, 0, 1] && data[80..84] == [0, 0, 0, 2]),
        "both start"
    );
    assert_eq!(
        announces[0].2[88..92],
        announces[1].2[88..92],
        "one key, so that it knows that we are one"
    );
    for (_, to, data) in &announces {
        answer(&mut t, *to, data);
    }
    assert_eq!(status(&mut t), TrackerStatus::Working);
    let stats = t.tell(|engine, torrent| engine.trackers(torrent)).remove(0);
    assert_eq!((stats.seeds, stats.leeches), (Some(3), Some(2)));
}

#[test]
fn family_that_cannot_be_reached_leaves_the_other_working() {
    let mut t = asking(Conf::default());
    resolved(&mut t, Ok(addrs()));
    let asked = datagrams(&mut t);
    let now = t.now;
    let v6 = asked[1].0;
    t.drive(|engine| engine.handle_unsent(now, v6, ErrorKind::NetworkUnreachable));
    assert_eq!(status(&mut t), TrackerStatus::Announcing);
    answer(&mut t, asked[0].1, &asked[0].2);
    let announce = datagrams(&mut t).remove(0);
    answer(&mut t, announce.1, &announce.2);
    assert_eq!((status(&mut t), failures(&t).len()), (TrackerStatus::Working, 0));
}

#[test]
fn each_family_hears_the_port_of_its_own_listener() {
    for (listen, ports) in
        [(vec!["0.0.0.0:7001", "[::]:7002"], [7001, 7002]), (vec!["[::]:7002"], [1, 7002])]
    {
        let mut t = Trace::seed(Conf::default());
        t.errands();
        t.drive(|engine| engine.set_listen_addrs(listen.iter().map(|addr| addr.parse().unwrap())));
        t.tell(|engine, torrent| engine.add_tracker(torrent, 0, "udp://tracker.test:80/announce"))
            .unwrap();
        t.errands();
        resolved(&mut t, Ok(addrs()));
        for (_, to, data) in datagrams(&mut t) {
            answer(&mut t, to, &data);
        }
        let told = datagrams(&mut t)
            .into_iter()
            .map(|(_, _, data)| u16::from_be_bytes([data[96], data[97]]));
        assert_eq!(told.collect::<Vec<_>>(), ports);
    }
}

#[test]
fn peer_hears_the_port_of_the_listener_of_its_family() {
    for (listen, ports) in [
        (vec!["0.0.0.0:7001", "[::]:7002"], [Some(7001), Some(7002)]),
        (vec!["[::]:7002"], [None, Some(7002)]),
    ] {
        let mut t = Trace::seed(Conf::default());
        t.drive(|engine| engine.set_listen_addrs(listen.iter().map(|addr| addr.parse().unwrap())));
        let told = addrs().into_iter().map(|ip| {
            let peer = t.accept_at((ip, 5000)).unwrap();
            t.raw(peer, &trace::hello(*b"-XX0000-............"));
            let hello = t.extended(peer).remove(0);
            assert_eq!(hello.0, 0);
            ExtensionHandshake::decode(&hello.1).unwrap().port
        });
        assert_eq!(told.collect::<Vec<_>>(), ports, "BEP 10 `p`");
    }
}

#[test]
fn a_family_that_nothing_may_leave_in_is_not_asked() {
    let mut t = asking(Conf::default().with(|conf| conf.network.bind_addrs = vec![V4.into()]));
    resolved(&mut t, Ok(addrs()));
    let to: Vec<IpAddr> = datagrams(&mut t).into_iter().map(|(_, to, _)| to.ip()).collect();
    assert_eq!(to, [IpAddr::from(V4)]);
}

#[test]
fn unknown_and_unanswered_names_are_told_once() {
    let mut t = asking(Conf::default());
    resolved(&mut t, Err("no such name".into()));
    assert_eq!(failures(&t).len(), 1);
    assert!(failures(&t)[0].contains("no such name"));
    let mut t = asking(Conf::default());
    t.pass(Duration::from_secs(31));
    assert_eq!(failures(&t).len(), 1);
    // An answer that comes too late is of no use, and does no harm.
    resolved(&mut t, Ok(addrs()));
    assert_eq!(status(&mut t), TrackerStatus::Failing);
}

#[test]
fn stray_datagrams_are_ignored() {
    let mut t = asking(Conf::default());
    resolved(&mut t, Ok(addrs()));
    let asked = datagrams(&mut t);
    answer(&mut t, SocketAddr::from(([9, 9, 9, 9], 80)), &asked[0].2);
    let mut forged = asked[0].2.clone();
    forged[12] ^= 1;
    answer(&mut t, asked[0].1, &forged);
    assert_eq!(datagrams(&mut t).len(), 0);
    let now = t.now;
    for len in 0..40 {
        t.drive(|engine| engine.handle_datagram(now, asked[0].1, &vec![0; len]));
    }
    answer(&mut t, asked[0].1, &asked[0].2);
    assert_eq!(datagrams(&mut t).len(), 1);
}

#[test]
fn shutdown_waits_for_stopped_until_its_timeout() {
    let conf = Conf::default().with(|conf| conf.trackers.stopped_timeout = Duration::from_secs(2));
    let mut t = asking(conf);
    resolved(&mut t, Ok(vec![V4.into()]));
    for _ in 0..2 {
        for (_, to, data) in datagrams(&mut t) {
            answer(&mut t, to, &data);
        }
    }
    assert_eq!(status(&mut t), TrackerStatus::Working);
    t.tell(|engine, _| engine.shutdown());
    let farewells = datagrams(&mut t);
    assert_eq!(farewells.len(), 1);
    assert_eq!(farewells[0].2[80..84], [0, 0, 0, 3], "stopped");
    assert!(!t.engine.is_drained());
    t.pass(Duration::from_millis(1999));
    assert!(!t.engine.is_drained());
    t.pass(Duration::from_millis(2));
    assert!(t.engine.is_drained());
}

#[test]
fn late_events_of_an_abandoned_stream_are_ignored() {
    let mut t = Trace::seed(Conf::default());
    t.tell(|engine, torrent| engine.add_tracker(torrent, 0, "http://9.0.0.1/announce")).unwrap();
    let connect = |t: &mut Trace| {
        let connect = |effect| match effect {
            Effect::Connect { stream, addr, tls: None } => Some((stream, addr)),
            _ => None,
        };
        let connects: Vec<_> = t.errands().into_iter().filter_map(connect).collect();
        assert_eq!(connects.len(), 1);
        connects[0]
    };
    let (first, _) = connect(&mut t);
    send(&mut t, first);
    let redirect =
        b"HTTP/1.1 302 Found\r\nLocation: http://9.0.0.2/announce?a=b\r\nContent-Length: 0\r\n\r\n";
    hear(&mut t, first, redirect);
    // The driver reads on before it hears of that.
    end(&mut t, first, CloseCause::Eof);
    let (second, addr) = connect(&mut t);
    assert_eq!(addr, SocketAddr::from(([9, 0, 0, 2], 80)));
    assert_ne!(first, second);
    end(&mut t, first, CloseCause::Io(ErrorKind::ConnectionReset));
    hear(&mut t, first, b"HTTP/1.1 500 No\r\n\r\n");
    send(&mut t, second);
    hear(&mut t, second, REPLY);
    assert_eq!(
        (status(&mut t), failures(&t).len()),
        (TrackerStatus::Working, 0),
        "{:?}",
        failures(&t)
    );
}

/// Connections that are asked for, none of which can be made.
fn refuse(t: &mut Trace) -> usize {
    let calls = connects(t);
    for &(call, _) in &calls {
        end(t, call, CloseCause::Io(ErrorKind::ConnectionRefused));
    }
    calls.len()
}

#[test]
fn unreachable_tracker_is_tried_once_a_second_for_all_torrents() {
    let mut t = Trace::seed(Conf::default());
    for nth in 0..50 {
        t.tell(|engine, torrent| {
            engine.add_tracker(torrent, nth, &format!("http://9.0.0.1/{nth}/announce"))
        })
        .unwrap();
    }
    let mut tries = 0;
    for _ in 0..600 {
        tries += std::iter::from_fn(|| Some(refuse(&mut t)).filter(|&n| n > 0)).sum::<usize>();
        t.pass(Duration::from_millis(100));
    }
    // Each has been tried some four times, or 200 in all.
    let failed =
        t.alerts().iter().filter(|alert| matches!(alert, Alert::TrackerFailed { .. })).count();
    assert!(failed >= 50 && (20..=64).contains(&tries), "{tries} tries, {failed} failures");

    // It is found out when it is there again.
    let call = (0..40_000).find_map(|_| {
        t.pass(Duration::from_millis(100));
        t.errands().into_iter().find_map(|effect| {
            if let Effect::Connect { stream, .. } = effect { Some(stream) } else { None }
        })
    });
    let call = call.unwrap();
    send(&mut t, call);
    hear(&mut t, call, REPLY);
    let working = |s: &cratetorrent::TrackerStats| s.status == TrackerStatus::Working;
    assert_eq!(
        t.tell(|engine, torrent| engine.trackers(torrent).iter().filter(|s| working(s)).count()),
        1
    );
}

/// The connections that are to be made.
fn connects(t: &mut Trace) -> Vec<(StreamId, SocketAddr)> {
    let connect = |effect| {
        if let Effect::Connect { stream, addr, .. } = effect { Some((stream, addr)) } else { None }
    };
    t.errands().into_iter().filter_map(connect).collect()
}

#[test]
fn removed_tracker_is_ignored_and_told_stopped() {
    let mut t = Trace::leech(Conf::default());
    t.tell(|engine, torrent| engine.set_trackers(torrent, vec![vec!["http://9.0.0.1/a".into()]]))
        .unwrap();
    let (old, _) = connects(&mut t)[0];
    send(&mut t, old);
    t.tell(|engine, torrent| engine.set_trackers(torrent, vec![vec!["http://9.0.0.2/b".into()]]))
        .unwrap();
    let peers = b"HTTP/1.1 200 OK\r\nContent-Length: 33\r\n\r\n\
        d8:intervali1800e5:peers6:\x08\x08\x08\x08\x1a\xe1e";
    hear(&mut t, old, peers);
    assert_eq!(t.stats().candidates, 0, "a peer of a tracker that is none of the torrent's");
    let calls = connects(&mut t);
    assert_eq!(
        calls.iter().map(|(_, addr)| addr.ip().to_string()).collect::<Vec<_>>(),
        ["9.0.0.1", "9.0.0.2"]
    );
    let (farewell, _) = calls[0];
    let now = t.now;
    t.drive(|engine| engine.handle_connected(now, farewell));
    let asked = said(&mut t, farewell);
    assert!(asked.contains("event=stopped"), "{asked}");
}

#[test]
fn scrape_over_ipv6_alone_survives_a_pause() {
    let mut t = asking(Conf::default());
    resolved(&mut t, Ok(vec![V6.parse().unwrap()]));
    t.errands();
    t.tell(|engine, torrent| {
        engine.scrape(torrent).unwrap();
        engine.pause(torrent).unwrap();
    });
    let to: Vec<_> = datagrams(&mut t)
        .into_iter()
        .map(|(_, to, packet)| (to.ip().to_string(), packet[11]))
        .collect();
    assert_eq!(to, [(V6.to_owned(), 0)]);
}

#[test]
fn running_torrent_taken_by_the_queue_sends_no_stopped() {
    let mut t = Trace::seed(Conf::default());
    t.tell(|engine, torrent| engine.add_tracker(torrent, 0, "http://9.0.0.1/announce")).unwrap();
    let (call, _) = connects(&mut t)[0];
    send(&mut t, call);
    hear(&mut t, call, REPLY);
    t.tell(|engine, torrent| engine.set_queued(torrent, false)).unwrap();
    t.tell(|engine, torrent| engine.set_queued(torrent, true)).unwrap();
    assert!(connects(&mut t).is_empty());
}
