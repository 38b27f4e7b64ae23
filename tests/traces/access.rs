//! Who may connect and who is dialled: the filter, bans, hosts' shares and canonical priority,
//! through the door without I/O.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use cratetorrent::{
    Alert, Conf, IpFilter, IpRange, TorrentParams,
    engine::Refused,
    wire::{
        extension::ExtensionHandshake,
        message::Message,
        metainfo::{Metainfo, MetainfoBuilder},
    },
};

use crate::trace::{self, PeerNo, Trace};

const HOUR: Duration = Duration::from_secs(3600);

fn leech(conf: Conf) -> Trace {
    Trace::leech(conf)
}

fn block(net: &str) -> IpFilter {
    let (addr, len) = net.split_once('/').unwrap();
    [IpRange::cidr(addr.parse().unwrap(), len.parse().unwrap()).unwrap()].into_iter().collect()
}

fn at(ip: [u8; 4], port: u16) -> SocketAddr {
    (ip, port).into()
}

/// A peer that has connected from there and greeted.
fn greeted(t: &mut Trace, addr: SocketAddr) -> PeerNo {
    let peer = t.accept_at(addr).unwrap();
    t.raw(peer, &trace::hello(id(addr)));
    peer
}

fn id(addr: SocketAddr) -> [u8; 20] {
    let mut id = *b"-XX0000-............";
    let IpAddr::V4(ip) = addr.ip() else { panic!("no IPv4 address") };
    id[14..18].copy_from_slice(&ip.octets());
    id[18..].copy_from_slice(&addr.port().to_be_bytes());
    id
}

/// Where those were that have gone, in that order.
fn gone(t: &Trace) -> Vec<SocketAddr> {
    let gone = |a: &Alert| if let Alert::PeerGone { addr, .. } = a { Some(*addr) } else { None };
    t.alerts().iter().filter_map(gone).collect()
}

// The filter.

/// Refused connections, of which `set` says which there are.
fn refused(set: impl FnOnce(&mut Refused)) -> Refused {
    let mut refused = Refused::default();
    set(&mut refused);
    refused
}

#[test]
fn filtered_address_is_not_accepted() {
    let mut t = leech(Conf::default());
    t.tell(|engine, _| engine.set_ip_filter(block("20.0.0.0/8")));
    assert!(t.accept_at(at([20, 1, 2, 3], 5)).is_none());
    assert!(t.accept_at("[::ffff:20.1.2.3]:5".parse::<SocketAddr>().unwrap()).is_none());
    assert!(t.accept_at(at([21, 1, 2, 3], 5)).is_some());
    assert_eq!(t.engine.refused(), refused(|refused| refused.filtered = 2));
    // Another filter takes the place of the first.
    t.tell(|engine, _| engine.set_ip_filter(block("21.0.0.0/8")));
    assert!(
        t.accept_at(at([20, 1, 2, 3], 5)).is_some() && t.accept_at(at([21, 1, 2, 3], 5)).is_none()
    );
    t.tell(|engine, _| engine.set_ip_filter(IpFilter::default()));
    assert!(t.accept_at(at([21, 1, 2, 3], 5)).is_some() && t.engine.ip_filter().is_empty());
}

#[test]
fn filtered_address_is_neither_kept_nor_dialled() {
    let mut t = leech(Conf::default().with(|conf| conf.peers.max_dials = 1));
    let add = |t: &mut Trace, addr| t.tell(|engine, id| engine.add_peer(id, addr).unwrap());
    // One is being dialled, the others wait for their turn.
    add(&mut t, at([30, 0, 0, 1], 1));
    (1..=5).for_each(|n| add(&mut t, at([20, 0, 0, n], 1)));
    let dialled = t.new_dials();
    assert_eq!((dialled.len(), t.stats().candidates), (1, 5));
    t.tell(|engine, _| engine.set_ip_filter(block("20.0.0.0/8")));
    assert_eq!(t.stats().candidates, 0);
    add(&mut t, at([20, 0, 0, 6], 1));
    assert_eq!(t.stats().candidates, 0);
    t.refused(dialled[0]);
    assert!(t.new_dials().is_empty());
    // Nor are those of a torrent that comes later, nor again when they are not blocked any more:
    // no torrent knows them now.
    t.tell(|engine, _| engine.set_ip_filter(IpFilter::default()));
    assert!(t.new_dials().is_empty());
    add(&mut t, at([20, 0, 0, 6], 1));
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn new_filter_ends_connections_in_every_state() {
    let mut t = leech(Conf::default());
    let (silent, live, other) = (
        t.accept_at(at([20, 0, 0, 1], 1)).unwrap(),
        greeted(&mut t, at([20, 0, 0, 2], 1)),
        greeted(&mut t, at([21, 0, 0, 1], 1)),
    );
    for n in [3, 4] {
        t.tell(|engine, id| engine.add_peer(id, at([20, 0, 0, n], 1)).unwrap());
    }
    let dials = t.new_dials();
    t.connected(dials[0]);
    t.tell(|engine, _| engine.set_ip_filter(block("20.0.0.0/8")));
    assert!([silent, live, dials[0], dials[1]].iter().all(|&peer| t.is_closed(peer)));
    assert!(!t.is_closed(other));
    assert_eq!((t.engine.connections(), t.stats().candidates), (1, 0));
    assert_eq!(t.reason(), "the filter blocks its address");
    t.pass(HOUR);
    assert!(t.new_dials().is_empty(), "they are not dialled again");
}

// Bans.

/// Sends a bad piece; it is banned for that.
fn spoil(t: &mut Trace, peer: PeerNo) {
    t.hear(peer, Message::Have(3));
    t.hear(peer, Message::Unchoke);
    (0..2).for_each(|nth| t.deliver_bad(peer, 3, nth));
    assert!(t.is_closed(peer) && t.reason().contains("bad data"), "{}", t.reason());
}

fn may_come(t: &mut Trace, addr: SocketAddr) -> bool {
    let peer = greeted(t, addr);
    let taken = !t.is_closed(peer);
    if taken {
        t.lose(peer);
    }
    taken
}

#[test]
fn a_ban_ends_and_the_second_is_twice_as_long() {
    let mut t = leech(Conf::default().with(|conf| {
        conf.peers.ban_time = HOUR;
        conf.peers.idle_timeout = 100 * HOUR;
    }));
    let addr = at([20, 0, 0, 1], 1);
    let second = Duration::from_secs(1);
    for hours in [1, 2] {
        let peer = greeted(&mut t, addr);
        spoil(&mut t, peer);
        assert!(!may_come(&mut t, addr) && t.stats().banned == 1);
        t.pass(hours * HOUR - second);
        assert!(!may_come(&mut t, addr), "{hours} h less a second");
        t.pass(second);
        assert!(may_come(&mut t, addr) && t.stats().banned == 0, "{hours} h");
    }
}

#[test]
fn banned_dialled_peer_is_a_candidate_after_the_ban() {
    let mut t = leech(Conf::default().with(|conf| conf.peers.ban_time = HOUR));
    let peer = t.dial();
    t.raw(peer, &trace::hello(*b"-XX0000-peer........"));
    spoil(&mut t, peer);
    assert!(t.dial_many(1).is_empty());
    t.pass(HOUR);
    assert_eq!(t.dial_many(1).len(), 1);
}

#[test]
fn the_user_bans_an_address_for_a_time_and_takes_it_back() {
    let mut t = leech(Conf::default());
    let ip = IpAddr::from([20, 0, 0, 1]);
    let (live, silent, other) = (
        greeted(&mut t, at([20, 0, 0, 1], 1)),
        t.accept_at(at([20, 0, 0, 1], 2)).unwrap(),
        greeted(&mut t, at([20, 0, 0, 2], 1)),
    );
    t.tell(|engine, _| engine.ban(ip, HOUR));
    assert!(t.is_closed(live) && t.is_closed(silent) && !t.is_closed(other));
    assert!(t.accept_at(at([20, 0, 0, 1], 3)).is_none());
    t.tell(|engine, id| engine.add_peer(id, at([20, 0, 0, 1], 4)).unwrap());
    assert!(t.new_dials().is_empty() && t.stats().candidates == 0);
    t.pass(HOUR);
    assert!(t.accept_at(at([20, 0, 0, 1], 3)).is_some());

    t.tell(|engine, _| engine.ban(ip, Duration::MAX));
    t.pass(30 * HOUR);
    assert!(t.accept_at(at([20, 0, 0, 1], 3)).is_none());
    assert!(t.tell(|engine, _| engine.unban(ip)) && !t.tell(|engine, _| engine.unban(ip)));
    assert!(t.accept_at(at([20, 0, 0, 1], 3)).is_some());
    assert_eq!(t.engine.refused(), refused(|refused| refused.banned = 2));
}

#[test]
fn user_may_lift_a_ban_for_bad_data() {
    let mut t = leech(Conf::default());
    let addr = at([20, 0, 0, 1], 1);
    let peer = greeted(&mut t, addr);
    spoil(&mut t, peer);
    assert!(!may_come(&mut t, addr));
    assert!(t.tell(|engine, _| engine.unban(addr.ip())));
    assert!(may_come(&mut t, addr) && t.stats().banned == 0);
}

// A host's share.

#[test]
fn one_host_cannot_take_all_connections() {
    let mut t = leech(Conf::default().with(|conf| {
        conf.peers.max_connections = 10;
        conf.peers.max_per_host = 4;
    }));
    let taken: Vec<PeerNo> = (1..=4).map(|port| greeted(&mut t, at([20, 0, 0, 1], port))).collect();
    assert!(t.accept_at(at([20, 0, 0, 1], 5)).is_none());
    // Nor can it by being told of: the fifth port of another host waits.
    (1..=5).for_each(|port| {
        t.tell(|engine, id| engine.add_peer(id, at([20, 0, 0, 2], port)).unwrap())
    });
    assert_eq!((t.new_dials().len(), t.stats().candidates), (4, 1));
    assert!(t.accept_at(at([20, 0, 0, 3], 1)).is_some(), "there is room for others");
    t.lose(taken[0]);
    assert!(t.accept_at(at([20, 0, 0, 1], 6)).is_some());
    assert_eq!(t.engine.refused(), refused(|refused| refused.crowded = 1));
}

#[test]
fn candidate_of_a_full_host_is_dialled_later() {
    let mut t = leech(Conf::default().with(|conf| {
        conf.peers.max_per_host = 1;
        conf.alerts.progress_interval = HOUR;
        conf.storage.save_interval = HOUR;
    }));
    let silent = t.accept_at(at([20, 0, 0, 1], 1)).unwrap();
    t.pass(Duration::from_millis(9500));
    t.tell(|engine, id| engine.add_peer(id, at([20, 0, 0, 1], 2)).unwrap());
    t.pass(Duration::from_millis(900));
    assert!(t.is_closed(silent) && t.new_dials().is_empty() && t.stats().candidates == 1);
    t.pass(Duration::from_secs(1));
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn candidate_of_a_full_host_is_kept_for_hours() {
    let mut t = leech(Conf::default().with(|conf| {
        conf.peers.max_per_host = 1;
        conf.peers.idle_timeout = 9 * HOUR;
        conf.peers.keep_alive = 9 * HOUR;
    }));
    let there = greeted(&mut t, at([20, 0, 0, 1], 1));
    t.tell(|engine, id| engine.add_peer(id, at([20, 0, 0, 1], 2)).unwrap());
    t.pass(3 * HOUR);
    t.lose(there);
    t.pass(Duration::from_secs(300));
    // It does not answer, and is dialled again: its user has named it.
    assert_eq!(t.new_dials().len(), 2);
}

#[test]
fn all_of_an_ipv6_64_is_one_host() {
    let mut t = leech(Conf::default().with(|conf| conf.peers.max_per_host = 2));
    let from = |s: &str| SocketAddr::new(s.parse().unwrap(), 1);
    assert!(
        t.accept_at(from("2001:db8::1")).is_some() && t.accept_at(from("2001:db8::2")).is_some()
    );
    assert!(t.accept_at(from("2001:db8::ffff:3")).is_none());
    assert!(t.accept_at(from("2001:db8:0:1::3")).is_some());
}

#[test]
fn one_hosts_slow_loris_does_not_keep_others_out() {
    let mut t = leech(Conf::default().with(|conf| conf.peers.max_handshakes = 10));
    let slow: Vec<PeerNo> =
        (1..=5).map(|port| t.accept_at(at([20, 0, 0, 1], port)).unwrap()).collect();
    // It keeps its connections half greeted and asks for more all the time.
    slow.iter().for_each(|&peer| t.raw(peer, b"\x13Bit"));
    for n in 1..=5 {
        assert!(t.accept_at(at([20, 0, 0, 1], 100)).is_none());
        assert!(t.accept_at(at([21, 0, 0, n], 1)).is_some());
    }
    assert_eq!(t.engine.refused(), refused(|refused| refused.crowded = 5));
    assert!(t.accept_at(at([22, 0, 0, 1], 1)).is_none(), "that is all there is");
    // One that greets makes room for another of its host, and time does for all.
    t.raw(slow[0], &trace::hello(*b"-XX0000-peer........")[4..]);
    assert!(!t.is_closed(slow[0]) && t.accept_at(at([20, 0, 0, 1], 101)).is_some());
    t.pass(Duration::from_secs(11));
    assert!(slow[1..].iter().all(|&peer| t.is_closed(peer)) && !t.is_closed(slow[0]));
    (0..5).for_each(|port| assert!(t.accept_at(at([20, 0, 0, 1], port)).is_some()));
    assert!(t.accept_at(at([20, 0, 0, 1], 9)).is_none());
}

#[test]
fn the_defaults_leave_fifty_at_once_from_one_address_alone() {
    let mut t = leech(Conf::default());
    let all: Vec<PeerNo> =
        (1..=50).map(|port| t.accept_at(at([127, 0, 0, 1], port)).unwrap()).collect();
    for (nth, &peer) in all.iter().enumerate() {
        t.raw(peer, &trace::hello(id(at([127, 0, 0, 1], nth as u16))));
        assert!(!t.is_closed(peer));
    }
}

// Canonical priority (BEP 40).

const OURS: [u8; 4] = [123, 213, 32, 10];

#[test]
fn due_candidates_are_dialled_by_canonical_priority() {
    let mut t = leech(Conf::default().with(|conf| conf.peers.max_dials = 1));
    t.tell(|engine, _| engine.set_external_addr(OURS.into()));
    // The two of the BEP's examples, the lesser one first; the one that is being dialled holds them
    // up.
    let (greater, lesser) = (at([98, 76, 54, 32], 1), at([123, 213, 32, 234], 1));
    for addr in [at([1, 1, 1, 1], 1), lesser, greater] {
        t.tell(|engine, id| engine.add_peer(id, addr).unwrap());
    }
    for _ in 0..3 {
        let dialled = t.new_dials();
        assert_eq!(dialled.len(), 1);
        t.refused(dialled[0]);
    }
    assert_eq!(gone(&t)[1..], [greater, lesser]);
}

#[test]
fn three_hosts_must_agree_on_our_address() {
    let mut t = leech(Conf::default());
    let told = |ip: &str| {
        let mut hello = ExtensionHandshake::default();
        hello.your_ip = Some(ip.parse().unwrap());
        hello.encode()
    };
    let peers: Vec<PeerNo> = (1..=4).map(|n| greeted(&mut t, at([20, 0, 0, n], 1))).collect();
    let again = greeted(&mut t, at([20, 0, 0, 1], 2));
    let say =
        |t: &mut Trace, peer, ip| t.hear(peer, Message::Extended { id: 0, payload: &told(ip) });
    say(&mut t, peers[0], "6.6.6.6");
    for peer in [peers[0], again, peers[1]] {
        say(&mut t, peer, "5.5.5.5");
        assert_eq!(t.engine.external_addrs(), (None, None));
    }
    say(&mut t, peers[3], "10.0.0.1");
    say(&mut t, peers[2], "5.5.5.5");
    assert_eq!(t.engine.external_addrs(), (Some([5, 5, 5, 5].into()), None));
    // It costs a connection each to say something else: what it decides is not to be turned over
    // message by message.
    peers.iter().for_each(|&peer| say(&mut t, peer, "7.7.7.7"));
    assert_eq!(t.engine.external_addrs(), (Some([5, 5, 5, 5].into()), None));
    t.tell(|engine, _| engine.set_external_addr("2001:db8::5".parse().unwrap()));
    t.tell(|engine, _| engine.set_external_addr(OURS.into()));
    assert_eq!(
        t.engine.external_addrs(),
        (Some(OURS.into()), Some("2001:db8::5".parse().unwrap()))
    );
}

#[test]
fn full_torrent_makes_room_for_a_preferred_peer_among_useless() {
    // By the BEP's examples the second is worth less than the first.
    let (greater, lesser) = (at([98, 76, 54, 32], 1), at([123, 213, 32, 234], 1));
    let full = |first: SocketAddr, ours: bool, busy: bool| {
        let mut t = leech(Conf::default().with(|conf| conf.peers.max_per_torrent = 1));
        if ours {
            t.tell(|engine, _| engine.set_external_addr(OURS.into()));
        }
        let old = greeted(&mut t, first);
        // A third peer waits to be dialled as soon as there is room.
        t.tell(|engine, id| engine.add_peer(id, at([1, 1, 1, 1], 1)).unwrap());
        if busy {
            t.hear(old, Message::HaveAll);
            t.hear(old, Message::Unchoke);
        }
        let new = greeted(&mut t, if first == greater { lesser } else { greater });
        assert_eq!((t.stats().peers, t.new_dials().len()), (1, 0));
        assert_ne!(t.is_closed(old), t.is_closed(new));
        t.is_closed(old)
    };
    assert!(full(lesser, true, false));
    assert!(!full(greater, true, false), "the newcomer is worth less");
    assert!(!full(lesser, false, false), "our address is unknown");
    assert!(!full(lesser, true, true), "the old one is of use");
}

// Torrents among themselves.

#[test]
fn torrent_with_many_candidates_leaves_dials_to_others() {
    let mut t = leech(Conf::default().with(|conf| conf.peers.max_dials = 2));
    for n in 1..=100 {
        t.tell(|engine, id| engine.add_peer(id, at([20, 0, 0, n], 1)).unwrap());
    }
    let mut builder = MetainfoBuilder::new("other", 1 << 15);
    builder.single_file(1);
    let metainfo = Arc::new(Metainfo::from_bytes(&builder.build(&[[1; 20]]).unwrap()).unwrap());
    let peers = vec![at([30, 0, 0, 1], 1)];
    let params = TorrentParams { peers, ..TorrentParams::new(metainfo, "/nowhere") };
    t.tell(|engine, _| engine.add_torrent(params).unwrap());
    // No peer answers, which shows after ten seconds.
    t.pass(Duration::from_secs(25));
    assert_eq!(gone(&t).len(), 4);
    assert!(gone(&t).contains(&at([30, 0, 0, 1], 1)), "{:?}", gone(&t));
}

// The same peer twice.

#[test]
fn reconnecting_peer_has_one_connection_a_torrent() {
    let mut t = leech(Conf::default());
    let here = |port| at([20, 0, 0, 1], port);
    let again = |t: &mut Trace, port| {
        let peer = t.accept_at(here(port)).unwrap();
        t.raw(peer, &trace::hello(id(here(1))));
        peer
    };
    let first = again(&mut t, 1);
    for port in 2..70 {
        let peer = again(&mut t, port);
        assert!(t.is_closed(peer) && !t.is_closed(first), "{port}");
    }
    assert_eq!(t.stats().peers, 1);
    // The first is silent: a router on the way may have forgotten it.
    t.pass(Duration::from_secs(10));
    let peer = again(&mut t, 70);
    assert!(t.is_closed(first) && !t.is_closed(peer));
    // Others may have taken its id: that is no reason to keep it out, nor to let them in for it.
    let other = t.accept_at(at([20, 0, 0, 2], 1)).unwrap();
    t.raw(other, &trace::hello(id(here(1))));
    assert_eq!((t.is_closed(peer), t.is_closed(other), t.stats().peers), (false, false, 2));
}

#[test]
fn a_peer_that_is_dialled_at_two_addresses_is_kept_once() {
    let mut t = leech(Conf::default());
    (1..=2).for_each(|port| {
        t.tell(|engine, id| engine.add_peer(id, at([20, 0, 0, 1], port)).unwrap())
    });
    let dialled = t.new_dials();
    assert_eq!(dialled.len(), 2);
    for &peer in &dialled {
        t.connected(peer);
        t.raw(peer, &trace::hello(*b"-XX0000-the-same-one"));
    }
    assert_eq!(
        (t.is_closed(dialled[0]), t.is_closed(dialled[1]), t.stats().peers),
        (false, true, 1)
    );
}

#[test]
fn a_peer_of_an_ipv6_64_is_the_same_from_any_of_its_addresses() {
    let mut t = leech(Conf::default());
    let peers = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|ip| {
        let peer = t.accept_at(SocketAddr::new(ip.parse().unwrap(), 1)).unwrap();
        t.raw(peer, &trace::hello(*b"-XX0000-the-same-one"));
        peer
    });
    assert_eq!(peers.map(|peer| t.is_closed(peer)), [false, true, false]);
}
