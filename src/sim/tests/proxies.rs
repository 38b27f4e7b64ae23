//! Swarms through proxies: what goes through one goes there alone, by names where there are names,
//! and waits while the proxy is down. That nothing passes it by is an invariant of all runs.

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::*;
use crate::{
    alert::{NoPeersReason, PeerGoneKind, ProxyErrorKind, TrackerErrorKind, WebSeedErrorKind},
    base::{arena::Key, target::Target},
    conf::{Bootstrap, Encryption, Transports},
    engine::{DatagramOwner, Effect, Interface, RelayStatus, StreamId, TorrentParams},
};

const SCHEMES: [&str; 2] = ["socks5", "http"];

fn sample() -> Arc<Sample> {
    file(1 << 20, 64 * 1024)
}

fn through(url: &str) -> Conf {
    loud().with(|conf| conf.proxy.server = Some(url.parse().unwrap()))
}

/// A proxy, a seed, and a leech that knows it and goes through the proxy.
struct Trio {
    world: World,
    proxy: NodeId,
    seed: NodeId,
    leech: NodeId,
}

fn trio(manners: ProxyManners, scheme: &str, set: impl FnOnce(&mut Conf)) -> Trio {
    let sample = sample();
    let mut world = World::new(5);
    let proxy = world.proxy(manners);
    let seed = world.node(shy());
    world.seed_with(seed, &sample);
    let conf = through(&world.proxy_url(proxy, scheme)).with(set);
    let leech = world.node(conf);
    world.download(leech, &sample, &[seed]);
    Trio { world, proxy, seed, leech }
}

/// What leaves a node and passes its proxy by.
#[track_caller]
fn is_a_leak(effect: &Effect) {
    let Trio { mut world, leech, .. } = trio(ProxyManners::Good, "socks5", |_| {});
    world.set_quiet(true);
    let watched = AssertUnwindSafe(|| world.watch_for_leaks(leech.0, effect));
    let panic = catch_unwind(watched).unwrap_err();
    let text = panic.downcast_ref::<String>().unwrap();
    assert!(text.contains("nothing-passes-proxy"), "{text}");
}

#[test]
fn whatever_passes_a_proxy_by_is_noticed() {
    let (stream, to) = (StreamId::Peer(Key { index: 0, generation: 0 }), elsewhere());
    is_a_leak(&Effect::Connect { stream, addr: to, tls: None });
    is_a_leak(&Effect::Datagram { owner: DatagramOwner::Dht, to, data: Vec::new() });
    is_a_leak(&Effect::Segments { to, data: Vec::new(), segment: 1, unfragmented: false });
    is_a_leak(&Effect::Multicast { interface: Interface::new(1, false), data: Vec::new() });
    is_a_leak(&Effect::Resolve { host: "tracker0.test".into() });
}

fn elsewhere() -> SocketAddr {
    SocketAddr::from(([9, 9, 9, 9], 6881))
}

fn told<T>(world: &World, node: NodeId, pick: impl Fn(&Alert) -> Option<T>) -> Vec<T> {
    world.alerts(node).iter().filter_map(|(_, alert)| pick(alert)).collect()
}

/// What failed of the proxy, and whether datagrams alone.
fn failures(world: &World, node: NodeId) -> Vec<(ProxyErrorKind, bool)> {
    told(world, node, |alert| match alert {
        Alert::ProxyFailed { error, datagrams, .. } => Some((error.kind, *datagrams)),
        _ => None,
    })
}

fn recoveries(world: &World, node: NodeId) -> Vec<bool> {
    told(world, node, |alert| match alert {
        Alert::ProxyRecovered { datagrams } => Some(*datagrams),
        _ => None,
    })
}

fn asked(world: &World, proxy: NodeId) -> Vec<Target> {
    world.script::<ProxyHost>(proxy).asked().to_vec()
}

fn completes(manners: ProxyManners) {
    for scheme in SCHEMES {
        let Trio { mut world, proxy, seed, leech } = trio(manners, scheme, |_| {});
        assert!(world.run_until(|w| w.is_complete(leech), secs(120)), "{manners:?}, {scheme}");
        assert_eq!(asked(&world, proxy), [Target::Addr(world.addr(seed))]);
        assert_eq!(failures(&world, leech), []);
        let stats = world.engine(leech).proxy_stats().unwrap();
        assert!(stats.was_reached && stats.opened == 1, "{stats:?}");
        let peers = world.engine(seed).peers(world.torrent(seed));
        assert!(peers.iter().all(|peer| peer.addr.ip() == world.addr(proxy).ip()), "{peers:?}");
    }
}

cases! { completes:
    download_goes_through_a_proxy => ProxyManners::Good;
    slow_proxy_is_waited_for => ProxyManners::Slow(millis(700));
    proxy_that_answers_with_names_is_understood => ProxyManners::Names;
}

#[test]
fn proxy_is_found_by_its_name_and_nothing_else_is() {
    for scheme in SCHEMES {
        let sample = sample();
        let mut world = World::new(5);
        let proxy = world.proxy(ProxyManners::Good);
        let seed = world.node(shy());
        world.seed_with(seed, &sample);
        let leech = world.node(through(&world.proxy_url_by_name(proxy, scheme)));
        world.download(leech, &sample, &[seed]);
        assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    }
}

#[test]
fn handshakes_that_come_in_crumbs_are_understood() {
    for scheme in SCHEMES {
        let Trio { mut world, proxy, leech, .. } = trio(ProxyManners::Good, scheme, |_| {});
        world.set_line(proxy, Line::crumbs());
        assert!(world.run_until(|w| w.is_complete(leech), secs(600)));
    }
}

#[test]
fn encrypted_connections_go_through_a_proxy() {
    for scheme in SCHEMES {
        let Trio { mut world, seed, leech, .. } = trio(ProxyManners::Good, scheme, |conf| {
            conf.encryption.policy = Encryption::Required;
        });
        assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
        let peers = world.engine(seed).peers(world.torrent(seed));
        assert!(peers.iter().all(|peer| peer.encryption.is_some()));
    }
}

#[test]
fn password_is_told_and_a_wrong_one_is_a_failure_that_is_named() {
    for scheme in SCHEMES {
        for (user, works) in [("me:pw@", true), ("me:no@", false), ("", false)] {
            let sample = sample();
            let mut world = World::new(5);
            let proxy = world.proxy(ProxyManners::Password);
            let seed = world.node(shy());
            world.seed_with(seed, &sample);
            let url = format!("{scheme}://{user}{}", world.addr(proxy));
            let leech = world.node(through(&url));
            world.download(leech, &sample, &[seed]);
            let done = world.run_until(|w| w.is_complete(leech), secs(60));
            assert_eq!(done, works, "{url}");
            let want = if works { vec![] } else { vec![(ProxyErrorKind::Refused, false)] };
            assert_eq!(failures(&world, leech), want, "told once: {url}");
            let shown = format!("{:?}{}", world.alerts(leech), world.trace());
            assert!(!shown.contains("pw@") && !shown.contains("me:"), "{shown}");
        }
    }
}

/// A proxy of these manners is a failure of this kind, is tried again less and less often, and
/// works as soon as it has other manners.
fn fails(manners: ProxyManners, kind: ProxyErrorKind) {
    let Trio { mut world, proxy, seed, leech } = trio(manners, "socks5", |_| {});
    let dials = |world: &World| world.trace().matches("leech dials").count();
    world.set_name(leech, "leech");
    world.set_trace_length(100_000);
    assert!(!world.run_until(|w| w.is_complete(leech), secs(600)));
    assert_eq!(failures(&world, leech), [(kind, false)]);
    let tries = dials(&world);
    assert!((5..40).contains(&tries), "{tries} tries in ten minutes");
    assert_eq!(world.stats(seed).peers, 0);
    world.set_proxy_manners(proxy, ProxyManners::Good);
    assert!(world.run_until(|w| w.is_complete(leech), secs(150)), "{manners:?}");
    assert_eq!(recoveries(&world, leech), [false]);
    assert_eq!(world.engine(leech).proxy_stats().unwrap().error, None);
}

cases! { fails:
    silent_proxy_times_out => ProxyManners::Silent, ProxyErrorKind::TimedOut;
    proxy_that_speaks_something_else_is_named => ProxyManners::Garbage, ProxyErrorKind::Protocol;
}

#[test]
fn target_that_a_proxy_refuses_is_no_failure_of_the_proxy() {
    for scheme in SCHEMES {
        let Trio { mut world, leech, .. } = trio(ProxyManners::Refuses, scheme, |_| {});
        world.run_for(secs(60));
        assert_eq!(failures(&world, leech), []);
        let kinds = told(&world, leech, |alert| match alert {
            Alert::PeerGone { kind, .. } => Some(*kind),
            _ => None,
        });
        assert!(!kinds.is_empty() && kinds.iter().all(|kind| *kind == PeerGoneKind::Unreachable));
        let stats = world.engine(leech).proxy_stats().unwrap();
        assert!(stats.was_reached && stats.refused > 0 && stats.error.is_none(), "{stats:?}");
    }
}

#[test]
fn proxy_that_dies_in_midst_costs_time_and_no_peer() {
    for scheme in SCHEMES {
        let Trio { mut world, proxy, seed, leech } = trio(ProxyManners::Good, scheme, |_| {});
        world.set_line(seed, Line { bandwidth: 100_000, ..Line::default() });
        assert!(world.run_until(|w| w.stats(leech).have > 3, secs(60)));
        world.set_listening(proxy, false);
        world.break_all(proxy);
        assert!(!world.run_until(|w| w.is_complete(leech), secs(300)));
        assert_eq!(failures(&world, leech), [(ProxyErrorKind::Unreachable, false)]);
        assert_eq!(world.stats(leech).candidates, 1, "the peer is not forgotten");
        world.set_listening(proxy, true);
        assert!(world.run_until(|w| w.is_complete(leech), secs(180)), "{scheme}");
        assert_eq!(recoveries(&world, leech), [false]);
    }
}

#[test]
fn peers_cannot_connect_to_a_proxied_node() {
    let sample = sample();
    let mut world = World::new(5);
    let proxy = world.proxy(ProxyManners::Good);
    let conf = through(&world.proxy_url(proxy, "socks5"));
    let seed = world.node(conf.with(|conf| conf.network.transports = Transports::Both));
    world.seed_with(seed, &sample);
    world.set_reachable(seed);
    let leech = world.node(loud().with(|conf| conf.network.transports = Transports::Both));
    world.set_reachable(leech);
    world.download(leech, &sample, &[seed]);
    assert!(!world.run_until(|w| w.stats(leech).peers > 0, secs(120)));
    // The other way round they meet.
    let (id, addr) = (world.torrent(seed), world.addr(leech));
    world.tell(seed, |engine| engine.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
}

#[test]
fn neighbours_hear_nothing_of_a_proxied_node() {
    let sample = sample();
    let mut world = World::new(5);
    let proxy = world.proxy(ProxyManners::Good);
    let lsd = |conf: Conf| conf.with(|conf| conf.lsd.enabled = true);
    let seed = world.node(lsd(loud()));
    let conf = through(&world.proxy_url(proxy, "socks5"));
    let leech = world.node(lsd(conf));
    for node in [seed, leech] {
        world.set_reachable(node);
    }
    world.lay_lan(&[seed, leech]);
    world.seed_with(seed, &sample);
    world.download(leech, &sample, &[]);
    assert!(!world.run_until(|w| w.stats(leech).peers > 0, secs(700)));
}

// Datagrams.

fn with_utp(conf: &mut Conf) {
    conf.network.transports = Transports::Utp;
}

/// A seed that speaks uTP alone, and a leech that has to reach it by the relay of a proxy.
fn utp_trio(manners: ProxyManners) -> Trio {
    let sample = sample();
    let mut world = World::new(5);
    let proxy = world.proxy(manners);
    let seed = world.node(shy().with(with_utp));
    world.set_reachable(seed);
    world.seed_with(seed, &sample);
    let leech = world.node(through(&world.proxy_url(proxy, "socks5")).with(with_utp));
    world.download(leech, &sample, &[seed]);
    Trio { world, proxy, seed, leech }
}

#[test]
fn utp_goes_by_the_relay() {
    let Trio { mut world, proxy, leech, .. } = utp_trio(ProxyManners::Good);
    assert!(world.run_until(|w| w.is_complete(leech), secs(120)));
    assert!(world.script::<ProxyHost>(proxy).datagrams() > 100);
    let stats = world.engine(leech).proxy_stats().unwrap();
    assert_eq!(stats.relay, RelayStatus::Up(world.addr(proxy)));
    assert!(stats.datagrams_received > 100 && stats.error.is_none(), "{stats:?}");
    assert_eq!(world.script::<ProxyHost>(proxy).relays(), 1);
}

/// A relay may have an address of IPv6, by which nothing is fragmented: what is longer than a path
/// to it carries never arrives.
#[test]
fn packets_by_a_relay_are_as_large_as_every_path_carries() {
    let sample = sample();
    let mut world = World::new(5);
    let proxy = world.proxy(ProxyManners::Good);
    let [seed, other] = [0; 2].map(|_| world.node(shy().with(with_utp)));
    [seed, other].into_iter().for_each(|node| world.set_reachable(node));
    world.seed_with(seed, &sample);
    world.download(other, &sample, &[]);
    let conf = through(&world.proxy_url(proxy, "socks5")).with(with_utp);
    let middle = world.node(conf.with(|conf| conf.peers.exchange = false));
    world.download(middle, &sample, &[seed, other]);
    assert!(world.run_until(|w| w.is_complete(other), secs(120)));
    // The header of SOCKS has 10 bytes for a peer by IPv4, and 22 by IPv6.
    assert_eq!(world.script::<ProxyHost>(proxy).longest(), 1280 - 48 - 22 + 10);
}

#[test]
fn relay_that_dies_is_asked_for_again_and_datagrams_wait() {
    let Trio { mut world, proxy, seed, leech } = utp_trio(ProxyManners::Good);
    world.set_line(seed, Line { bandwidth: 100_000, ..Line::default() });
    assert!(world.run_until(|w| w.stats(leech).have > 3, secs(60)));
    world.set_listening(proxy, false);
    world.break_all(proxy);
    world.run_for(secs(5));
    let sent = world.script::<ProxyHost>(proxy).datagrams();
    world.run_for(secs(20));
    assert_eq!(world.script::<ProxyHost>(proxy).datagrams(), sent, "nothing is sent meanwhile");
    assert!(world.engine(leech).proxy_stats().unwrap().datagrams_dropped > 0);
    let failed = failures(&world, leech);
    assert!(failed.contains(&(ProxyErrorKind::Closed, true)), "{failed:?}");
    world.set_listening(proxy, true);
    assert!(world.run_until(|w| w.is_complete(leech), secs(300)));
    assert!(recoveries(&world, leech).contains(&true));
}

#[test]
fn relay_that_is_not_made_in_time_is_asked_for_again() {
    let Trio { mut world, proxy, leech, .. } = utp_trio(ProxyManners::NoRelayAnswer);
    world.run_for(secs(30));
    // It has let us in, and what goes by streams goes on.
    assert_eq!(failures(&world, leech), [(ProxyErrorKind::NoDatagrams, true)]);
    world.set_proxy_manners(proxy, ProxyManners::Good);
    assert!(world.run_until(|w| w.is_complete(leech), secs(120)));
    assert_eq!(recoveries(&world, leech), [true]);
}

#[test]
fn relay_whose_stream_is_dead_is_asked_for_again() {
    let Trio { mut world, proxy, leech, .. } = utp_trio(ProxyManners::Good);
    assert!(world.run_until(|w| w.is_complete(leech), secs(120)));
    world.set_cut(proxy, true);
    world.set_cut(proxy, false);
    assert_eq!(world.script::<ProxyHost>(proxy).relays(), 1);
    world.run_for(secs(400));
    assert_eq!(failures(&world, leech), [(ProxyErrorKind::Closed, true)]);
    assert_eq!(recoveries(&world, leech), [true]);
    assert_eq!(world.script::<ProxyHost>(proxy).relays(), 1);
}

#[test]
fn proxy_without_relay_leaves_tcp_and_says_so() {
    let sample = sample();
    let mut world = World::new(5);
    let proxy = world.proxy(ProxyManners::NoDatagrams);
    let seed = world.node(shy());
    world.seed_with(seed, &sample);
    let conf = through(&world.proxy_url(proxy, "socks5"));
    let leech = world.node(conf.with(|conf| conf.network.transports = Transports::Both));
    world.download(leech, &sample, &[seed]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    assert_eq!(failures(&world, leech), [(ProxyErrorKind::NoDatagrams, true)]);
}

/// A leech that has to ask a tracker, which names the seed.
fn tracked(manners: ProxyManners, scheme: &str) -> (World, NodeId, TrackerId, NodeId) {
    let sample = sample();
    let mut world = World::new(5);
    let proxy = world.proxy(manners);
    let tracker = world.tracker();
    let trackers = Some(vec![vec![world.tracker_url(tracker)]]);
    let seed = world.node(shy());
    world.set_reachable(seed);
    let params = TorrentParams { trackers: trackers.clone(), ..world.params(seed, &sample, &[]) };
    world.put_pieces(seed, &sample, &Bitfield::all(sample.geometry().piece_count()));
    world.add_torrent(seed, &sample, params);
    world.run_for(secs(2));
    let leech = world.node(through(&world.proxy_url(proxy, scheme)));
    let params = TorrentParams { trackers, ..world.params(leech, &sample, &[]) };
    world.add_torrent(leech, &sample, params);
    (world, proxy, tracker, leech)
}

#[test]
fn udp_tracker_is_asked_by_name_through_the_relay_at_once() {
    let (mut world, proxy, tracker, leech) = tracked(ProxyManners::Good, "socks5");
    assert!(world.run_until(|w| w.is_complete(leech), secs(10)));
    assert!(world.told_to(tracker).iter().any(|told| told.node == proxy));
    assert!(world.told_to(tracker).iter().all(|told| told.node != leech));
    let name = Target::Name { host: "tracker0.test".into(), port: 80 };
    assert!(asked(&world, proxy).contains(&name));
}

#[test]
fn udp_tracker_fails_at_once_where_no_datagrams_are_carried() {
    for (manners, scheme) in [(ProxyManners::NoDatagrams, "socks5"), (ProxyManners::Good, "http")] {
        let (mut world, _, tracker, leech) = tracked(manners, scheme);
        world.run_for(secs(10));
        let failed = told(&world, leech, |alert| match alert {
            Alert::TrackerFailed { error, .. } => Some(error.kind),
            _ => None,
        });
        assert_eq!(failed[..1], [TrackerErrorKind::Proxy], "{scheme}");
        assert!(world.told_to(tracker).iter().all(|told| told.node != leech));
    }
}

#[test]
fn udp_tracker_waits_while_the_relay_is_asked_for_again() {
    let (mut world, proxy, tracker, leech) = tracked(ProxyManners::Good, "socks5");
    assert!(world.run_until(|w| w.is_complete(leech), secs(10)));
    world.run_for(secs(120));
    let announces = world.told_to(tracker).len();
    world.set_proxy_manners(proxy, ProxyManners::Slow(secs(2)));
    world.break_all(proxy);
    let status = |w: &World| w.engine(leech).proxy_stats().unwrap().relay;
    assert!(world.run_until(|w| status(w) == RelayStatus::Opening, secs(10)));
    let id = world.torrent(leech);
    world.tell(leech, |engine| engine.announce_now(id)).unwrap();
    world.run_for(secs(8));
    let failed = told(&world, leech, |alert| match alert {
        Alert::TrackerFailed { error, .. } => Some(error.kind),
        _ => None,
    });
    assert_eq!(failed, []);
    assert!(world.told_to(tracker).len() > announces);
}

#[test]
fn tracker_is_told_within_a_minute_when_the_proxy_works_again() {
    let (mut world, proxy, tracker, leech) = tracked(ProxyManners::Good, "socks5");
    assert!(world.run_until(|w| w.is_complete(leech), secs(10)));
    world.set_listening(proxy, false);
    world.break_all(proxy);
    world.run_for(secs(2 * 3600));
    let before = world.told_to(tracker).iter().filter(|told| told.node == proxy).count();
    world.set_listening(proxy, true);
    let told = |w: &World| w.told_to(tracker).iter().filter(|t| t.node == proxy).count() > before;
    assert!(world.run_until(told, Conf::default().proxy.retry_max + secs(10)));
}

#[test]
fn stopped_is_told_through_the_relay() {
    let (mut world, proxy, tracker, leech) = tracked(ProxyManners::Good, "socks5");
    assert!(world.run_until(|w| w.is_complete(leech), secs(10)));
    world.tell(leech, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(leech).is_drained(), secs(20)));
    let last = world.told_to(tracker).iter().rev().find(|told| told.node == proxy).unwrap();
    assert_eq!(last.event, crate::wire::tracker::AnnounceEvent::Stopped);
}

#[test]
fn dht_goes_by_the_relay_and_finds_its_router_by_name() {
    let sample = sample();
    let mut world = World::new(5);
    let proxy = world.proxy(ProxyManners::Good);
    let dht = |conf: Conf| conf.with(|conf| conf.dht.enabled = true);
    let router = world.node(dht(loud()));
    let at = |world: &World, node: NodeId| Bootstrap {
        host: world.host_name(node),
        port: world.addr(node).port(),
        router: false,
    };
    let entry = at(&world, router);
    let seed = world.node(dht(shy()).with(|conf| conf.dht.bootstrap = vec![entry.clone()]));
    for node in [router, seed] {
        world.set_reachable(node);
    }
    world.seed_with(seed, &sample);
    world.run_for(secs(60));
    let conf = through(&world.proxy_url(proxy, "socks5"));
    let leech = world.node(dht(conf).with(|conf| conf.dht.bootstrap = vec![entry]));
    world.download(leech, &sample, &[]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(120)));
    let name = Target::Name { host: world.host_name(router), port: world.addr(router).port() };
    assert!(asked(&world, proxy).contains(&name));
}

// Web seeds.

fn web_leech(manners: ProxyManners, scheme: &str) -> (World, NodeId, NodeId, NodeId) {
    let sample = file(3_000_000, 256 * 1024);
    let mut world = World::new(5);
    let proxy = world.proxy(manners);
    let server = world.web_server(std::slice::from_ref(&sample), WebManners::Good);
    let leech = world.node(through(&world.proxy_url(proxy, scheme)));
    let web_seeds = vec![world.web_url(server)];
    let params = TorrentParams { web_seeds, ..world.params(leech, &sample, &[]) };
    world.add_torrent(leech, &sample, params);
    (world, proxy, server, leech)
}

#[test]
fn web_seeds_are_asked_by_name_through_a_proxy() {
    for scheme in SCHEMES {
        let (mut world, proxy, server, leech) = web_leech(ProxyManners::Good, scheme);
        assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{scheme}");
        let name = Target::Name { host: world.host_name(server), port: world.addr(server).port() };
        let asked = asked(&world, proxy);
        assert!(!asked.is_empty() && asked.iter().all(|target| *target == name), "{asked:?}");
        let requests = world.script::<WebServer>(server).requests().to_vec();
        assert!(requests.iter().all(|request| !request.head.contains("Proxy-")));
    }
}

#[test]
fn web_seed_is_not_blamed_for_its_proxy() {
    let (mut world, proxy, _, leech) = web_leech(ProxyManners::Password, "http");
    world.run_for(secs(20));
    let kinds = told(&world, leech, |alert| match alert {
        Alert::WebSeedFailed { error, .. } => Some(error.kind),
        _ => None,
    });
    assert!(!kinds.is_empty());
    assert!(kinds.iter().all(|kind| *kind == WebSeedErrorKind::Proxy), "{kinds:?}");
    world.set_proxy_manners(proxy, ProxyManners::Good);
    assert!(world.run_until(|w| w.is_complete(leech), secs(300)));
}

#[test]
fn what_is_not_to_go_through_the_proxy_goes_straight() {
    let sample = sample();
    let mut world = World::new(5);
    let proxy = world.proxy(ProxyManners::Good);
    let tracker = world.tracker();
    let seed = world.node(shy());
    world.seed_with(seed, &sample);
    let conf = through(&world.proxy_url(proxy, "socks5")).with(|conf| conf.proxy.trackers = false);
    let leech = world.node(conf);
    let trackers = Some(vec![vec![world.tracker_url(tracker)]]);
    let params = TorrentParams { trackers, ..world.params(leech, &sample, &[seed]) };
    world.add_torrent(leech, &sample, params);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    assert!(world.told_to(tracker).iter().any(|told| told.node == leech));
    assert_eq!(asked(&world, proxy), [Target::Addr(world.addr(seed))]);
}

#[test]
fn download_without_peers_says_that_the_proxy_is_down() {
    let Trio { mut world, leech, .. } = trio(ProxyManners::Silent, "socks5", |_| {});
    world.run_for(secs(120));
    let why = world.stats(leech).no_peers.unwrap().why;
    assert_eq!(why, NoPeersReason::ProxyFailed);
}
