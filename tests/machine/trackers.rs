//! Trackers over real sockets on loopback: swarms that have no other way to meet, in both families,
//! over HTTP, HTTPS and UDP; how trackers that hang, refuse, or cannot prove who they are are dealt
//! with; and where what leaves comes from.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    path::Path,
    sync::Arc,
    time::Duration,
};

use crate::support::{
    clock,
    gate::Gate,
    ports,
    torrent::{Recipe, Torrent},
    tracker::{Said, Tracker},
};
use cratetorrent::{
    Alert, AlertMask, Alerts, Conf, EngineHandle, TorrentId, TorrentParams,
    alert::{TrackerError, TrackerErrorKind, TrackerStatus},
    engine::TrackersError,
    spawn,
    wire::metainfo::Metainfo,
};

const PATIENCE: Duration = Duration::from_secs(30);
const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

fn any_port(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 0)
}

fn conf() -> Conf {
    Conf::default().with(|conf| {
        conf.network.listen = vec![SocketAddr::new(V4, 0)];
        conf.alerts.mask = AlertMask::ALL;
        conf.trackers.min_interval = Duration::from_secs(1);
        conf.trackers.stopped_timeout = Duration::from_secs(20);
    })
}

/// A client that has or wants the torrent and knows of the trackers only.
struct Client {
    engine: EngineHandle,
    alerts: Alerts,
    torrent: TorrentId,
    dir: tempfile::TempDir,
}

impl Client {
    fn start(torrent: &Torrent, conf: Conf, tiers: Vec<Vec<String>>, seed: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        if seed {
            torrent.write_files(dir.path());
        }
        let (engine, alerts) = spawn(conf).unwrap();
        let params = params(torrent, dir.path(), tiers);
        let torrent = engine.call(|engine| engine.add_torrent(params)).unwrap().unwrap();
        Self { engine, alerts, torrent, dir }
    }

    /// The first alert that `is`.
    fn wait_for<T>(&self, what: &str, is: impl Fn(&Alert) -> Option<T>) -> T {
        let end = clock::now() + PATIENCE;
        let mut seen = Vec::new();
        while let Ok(alert) = self.alerts.recv_timeout(end - clock::now()) {
            if let Some(found) = is(&alert) {
                return found;
            }
            seen.push(alert);
        }
        panic!("no {what} among {seen:#?}");
    }

    fn wait_until_finished(&self) {
        self.wait_for("end", |alert| matches!(alert, Alert::Finished { .. }).then_some(()));
    }

    fn wait_for_failure(&self) -> (String, TrackerError) {
        self.wait_for("failure", |alert| match alert {
            Alert::TrackerFailed { tracker, error, .. } => Some((tracker.clone(), error.clone())),
            _ => None,
        })
    }

    fn port(&self) -> u16 {
        self.engine.local_addrs()[0].port()
    }

    /// Ends in good order; how long that took.
    fn end(self) -> Duration {
        let start = clock::now();
        self.engine.shutdown();
        self.engine.join().unwrap();
        clock::now() - start
    }
}

fn params(torrent: &Torrent, dir: &Path, tiers: Vec<Vec<String>>) -> TorrentParams {
    let metainfo = Metainfo::from_bytes(&torrent.metainfo).unwrap();
    TorrentParams { trackers: Some(tiers), ..TorrentParams::new(Arc::new(metainfo), dir) }
}

fn torrent() -> Torrent {
    Recipe::single("tracked", 3 * 32 * 1024 + 5, 32 * 1024).make(1)
}

fn one(url: String) -> Vec<Vec<String>> {
    vec![vec![url]]
}

/// What the client that listens on `port` said, as far as it was heard.
fn events(said: &[Said], port: u16) -> Vec<&str> {
    said.iter().filter(|said| said.port == port).map(|said| said.event.as_str()).collect()
}

/// A seed and a leech meet through the tracker, and tell it everything.
fn meet(tracker: &Tracker, url: &str, at: IpAddr) -> Vec<Said> {
    let torrent = torrent();
    let conf = || conf().with(|conf| conf.network.listen = vec![SocketAddr::new(at, 0)]);
    let seed = Client::start(&torrent, conf(), one(url.to_owned()), true);
    let seed_port = seed.port();
    tracker.wait_for(|said| events(said, seed_port) == ["started"]);
    let leech = Client::start(&torrent, conf(), one(url.to_owned()), false);
    let port = leech.port();
    leech.wait_until_finished();
    torrent.assert_in(leech.dir.path());
    let said = tracker.wait_for(|said| events(said, port).len() == 2);
    assert_eq!(events(&said, port), ["started", "completed"]);
    leech.end();
    seed.end();
    let said = tracker.wait_for(|said| events(said, seed_port).len() == 2);
    assert_eq!(events(&said, port), ["started", "completed", "stopped"]);
    assert_eq!(events(&said, seed_port), ["started", "stopped"], "it was whole from the beginning");
    let of =
        |event: &str| said.iter().find(|said| said.port == port && said.event == event).unwrap();
    let len = torrent.len();
    assert_eq!(
        (of("started").left, of("started").downloaded, of("started").numwant),
        (len, 0, Some(200))
    );
    assert_eq!((of("completed").left, of("completed").downloaded), (0, len));
    assert_eq!((of("stopped").left, of("stopped").numwant), (0, Some(0)));
    assert!(said.iter().all(|said| said.info_hash == torrent.info_hash));
    let key = &of("started").key;
    assert!(
        !key.is_empty() && said.iter().all(|said| (said.key == *key) == (said.port == port)),
        "one key a torrent and engine"
    );
    said
}

#[test]
fn a_swarm_meets_through_an_http_tracker() {
    let tracker = Tracker::new();
    let addr = tracker.http(SocketAddr::new(V4, 0));
    let said = meet(&tracker, &format!("http://{addr}/announce"), V4);
    assert!(
        said.iter().all(|said| said.via == "http" && said.user_agent.starts_with("cratetorrent/"))
    );
}

#[test]
fn a_swarm_meets_through_a_udp_tracker() {
    let tracker = Tracker::new();
    let addr = tracker.udp(SocketAddr::new(V4, 0));
    let said = meet(&tracker, &format!("udp://{addr}/announce"), V4);
    assert!(said.iter().all(|said| said.via == "udp"));
}

#[test]
fn a_redirect_is_followed() {
    let (tracker, elsewhere) = (Tracker::new(), Tracker::new());
    let at = SocketAddr::new(V4, 0);
    let there = elsewhere.http(at);
    tracker.behave(|manners| manners.redirect = Some(format!("http://{there}/announce")));
    meet(&elsewhere, &format!("http://{}/announce", tracker.http(at)), V4);
    assert_eq!(tracker.said().len(), 0);
}

#[test]
fn a_swarm_meets_over_ipv6() {
    let at = SocketAddr::new(V6, 0);
    for udp in [false, true] {
        let tracker = Tracker::new();
        let url = if udp {
            format!("udp://{}", tracker.udp(at))
        } else {
            format!("http://{}/announce", tracker.http(at))
        };
        let said = meet(&tracker, &url, V6);
        assert!(said.iter().all(|said| said.from.unwrap().ip() == V6));
    }
}

#[test]
fn tracker_name_is_announced_to_in_each_of_its_families() {
    let addrs: Vec<IpAddr> =
        ("localhost", 0).to_socket_addrs().unwrap().map(|addr| addr.ip()).collect();
    for udp in [false, true] {
        let tracker = Tracker::new();
        let port = if udp { tracker.udp_both() } else { tracker.http_both() };
        let scheme = if udp { "udp" } else { "http" };
        let seed = Client::start(
            &torrent(),
            conf(),
            one(format!("{scheme}://localhost:{port}/announce")),
            true,
        );
        let from =
            |said: &[Said], ip: IpAddr| said.iter().any(|said| said.from.unwrap().ip() == ip);
        tracker.wait_for(|said| [V4, V6].iter().all(|&ip| from(said, ip) || !addrs.contains(&ip)));
        seed.end();
    }
}

#[test]
fn listeners_with_port_0_are_told_each_to_its_family() {
    let listen = || conf().with(|conf| conf.network.listen = [V4, V6].map(any_port).into());
    for (family, at) in [V4, V6].into_iter().enumerate() {
        for udp in [false, true] {
            let tracker = Tracker::new();
            let url = if udp {
                format!("udp://{}/announce", tracker.udp(any_port(at)))
            } else {
                format!("http://{}/announce", tracker.http(any_port(at)))
            };
            let seed = Client::start(&torrent(), listen(), one(url), true);
            let listeners = seed.engine.local_addrs();
            assert_ne!(listeners[0].port(), listeners[1].port(), "the system chose two");
            let said = tracker.wait_for(|said| !said.is_empty());
            assert_eq!((listeners[family].ip(), listeners[family].port()), (at, said[0].port));
            seed.end();
        }
    }
}

#[test]
fn a_tracker_that_is_reached_in_one_family_only_is_as_good() {
    let tracker = Tracker::new();
    let addr = tracker.http(SocketAddr::new(V4, 0));
    let seed = Client::start(
        &torrent(),
        conf(),
        one(format!("http://localhost:{}/announce", addr.port())),
        true,
    );
    let peers = seed.wait_for("reply", |alert| match alert {
        Alert::TrackerReplied { peers, .. } => Some(*peers),
        Alert::TrackerFailed { error, .. } => panic!("{error}"),
        _ => None,
    });
    assert_eq!(peers, 0);
    seed.end();
}

#[test]
fn a_dead_first_tier_falls_to_the_second_at_once() {
    let tracker = Tracker::new();
    let addr = tracker.udp(SocketAddr::new(V4, 0));
    let closed = SocketAddr::new(V4, ports::free_port());
    let tiers = vec![
        vec![format!("http://{closed}/announce")],
        vec!["ws://127.0.0.1/announce".to_owned(), "nonsense".to_owned()],
        vec![format!("udp://{addr}")],
    ];
    let seed = Client::start(&torrent(), conf(), tiers, true);
    let failures: Vec<_> = (0..3).map(|_| seed.wait_for_failure()).collect();
    assert!(failures[0].1.text.contains("refused"), "{failures:?}");
    assert_eq!(failures[0].1.kind, TrackerErrorKind::Unreachable);
    let port = seed.port();
    tracker.wait_for(|said| events(said, port) == ["started"]);
    seed.wait_for("reply", |alert| matches!(alert, Alert::TrackerReplied { .. }).then_some(()));
    let torrent = seed.torrent;
    let status: Vec<_> = seed.engine.call(move |engine| engine.trackers(torrent)).unwrap();
    let status: Vec<_> = status.into_iter().map(|stats| stats.status).collect();
    use TrackerStatus::{Disabled, Failing, Working};
    assert_eq!(status, [Failing, Disabled, Disabled, Working]);
    assert_eq!(events(&tracker.said(), port), ["started"]);
    seed.end();
}

#[test]
fn refusals_warnings_and_numbers_are_told() {
    let tracker = Tracker::new();
    let addr = tracker.http(SocketAddr::new(V4, 0));
    tracker.behave(|manners| manners.failure = Some("not on the list".into()));
    let seed = Client::start(
        &torrent(),
        conf(),
        one(format!("http://{addr}/announce?passkey=secret")),
        true,
    );
    let (shown, error) = seed.wait_for_failure();
    assert_eq!(error.kind, TrackerErrorKind::Refused);
    assert!(
        error.text.contains("not on the list") && !shown.contains("secret"),
        "{shown}: {error}"
    );
    tracker.behave(|manners| (manners.failure, manners.warning) = (None, Some("look out".into())));
    let torrent = seed.torrent;
    // The pause after a failure holds for the user too, but it is short.
    seed.engine.call(move |engine| engine.announce_now(torrent)).unwrap().unwrap();
    let warning = seed.wait_for("warning", |alert| match alert {
        Alert::TrackerWarning { message, .. } => Some(message.clone()),
        _ => None,
    });
    assert_eq!(warning, "look out");
    seed.engine.call(move |engine| engine.scrape(torrent)).unwrap().unwrap();
    let numbers = seed.wait_for("numbers", |alert| match alert {
        Alert::Scraped { seeds, leeches, downloaded, .. } => Some((*seeds, *leeches, *downloaded)),
        _ => None,
    });
    assert_eq!(numbers, (1, 0, 0));
    let stats = seed.engine.call(move |engine| engine.trackers(torrent)).unwrap();
    assert_eq!((stats[0].seeds, stats[0].error.as_ref()), (Some(1), None));
    assert_eq!(stats[0].warning.as_deref(), Some("look out"));
    assert!(stats[0].url.contains("secret"), "the user knows it");
    seed.end();
}

#[test]
fn trackers_come_and_go_while_it_runs() {
    let tracker = Tracker::new();
    let (first, second) =
        (tracker.http(SocketAddr::new(V4, 0)), tracker.udp(SocketAddr::new(V4, 0)));
    let conf = conf().with(|conf| conf.trackers.max_per_torrent = 2);
    let seed = Client::start(&torrent(), conf, Vec::new(), true);
    let (port, torrent) = (seed.port(), seed.torrent);
    let engine = seed.engine.clone();
    let add =
        move |url: String| engine.call(move |engine| engine.add_tracker(torrent, 0, &url)).unwrap();
    assert!(matches!(add("gopher://x".into()), Err(TrackersError::Url(_))));
    assert_eq!(add(format!("http://{first}/announce")), Ok(()));
    tracker.wait_for(|said| events(said, port) == ["started"]);
    seed.wait_for("reply", |alert| matches!(alert, Alert::TrackerReplied { .. }).then_some(()));
    assert_eq!(add(format!("http://{first}/announce")), Ok(()));
    assert_eq!(add("udp://127.0.0.1:9".into()), Ok(()));
    assert_eq!(
        add("udp://127.0.0.1:10".into()),
        Err(TrackersError::TooMany { count: 3, limit: 2 })
    );
    let second = one(format!("udp://{second}"));
    seed.engine.call(move |engine| engine.set_trackers(torrent, second)).unwrap().unwrap();
    let said = tracker.wait_for(|said| events(said, port).len() == 3);
    let mut heard: Vec<_> =
        said.iter().map(|said| (said.via.as_str(), said.event.as_str())).collect();
    heard.sort_unstable();
    assert_eq!(heard, [("http", "started"), ("http", "stopped"), ("udp", "started")]);
    seed.end();
}

#[test]
fn a_pause_is_told_and_its_end() {
    let tracker = Tracker::new();
    let addr = tracker.udp(SocketAddr::new(V4, 0));
    let seed = Client::start(&torrent(), conf(), one(format!("udp://{addr}")), true);
    let (port, torrent) = (seed.port(), seed.torrent);
    tracker.wait_for(|said| events(said, port) == ["started"]);
    seed.wait_for("reply", |alert| matches!(alert, Alert::TrackerReplied { .. }).then_some(()));
    // At once one after the other: the order is kept all the same.
    seed.engine
        .call(move |engine| engine.pause(torrent).and_then(|()| engine.resume(torrent)))
        .unwrap()
        .unwrap();
    let said = tracker.wait_for(|said| events(said, port).len() == 3);
    assert_eq!(events(&said, port), ["started", "stopped", "started"]);
    seed.wait_for("reply", |alert| matches!(alert, Alert::TrackerReplied { .. }).then_some(()));
    seed.engine.call(move |engine| engine.remove(torrent)).unwrap().unwrap();
    let said = tracker.wait_for(|said| events(said, port).len() == 4);
    assert_eq!(events(&said, port)[3], "stopped");
    seed.end();
}

#[test]
fn a_tracker_that_hangs_holds_up_the_end_no_longer_than_it_may() {
    for udp in [false, true] {
        let tracker = Tracker::new();
        let at = SocketAddr::new(V4, 0);
        let url = if udp {
            format!("udp://{}", tracker.udp(at))
        } else {
            format!("http://{}/announce", tracker.http(at))
        };
        let conf = conf().with(|conf| conf.trackers.stopped_timeout = Duration::from_millis(300));
        let seed = Client::start(&torrent(), conf, one(url), true);
        seed.wait_for("reply", |alert| matches!(alert, Alert::TrackerReplied { .. }).then_some(()));
        tracker.behave(|manners| manners.hang = true);
        let took = seed.end();
        assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(10), "{took:?}");
        tracker.wait_for(|said| said.len() == 2);
    }
}

#[test]
#[cfg(target_os = "linux")]
fn tracker_calls_leave_from_the_bound_address() {
    let tracker = Tracker::new();
    let (http, udp) = (tracker.http(SocketAddr::new(V4, 0)), tracker.udp(SocketAddr::new(V4, 0)));
    let ours = IpAddr::from([127, 0, 0, 2]);
    let from_there = || {
        conf().with(|conf| {
            conf.network.listen = vec![SocketAddr::new(ours, 0)];
            conf.network.bind_addrs = vec![ours];
            conf.trackers.announce_to_all_tiers = true;
            conf.trackers.announce_to_all = true;
        })
    };
    let torrent = torrent();
    // The last would be reached in the other family only, and so is not reached.
    let v6 = tracker.http(SocketAddr::new(V6, 0));
    let urls = [
        format!("http://{http}/announce"),
        format!("udp://{udp}"),
        format!("http://{v6}/announce"),
    ];
    let seed = Client::start(&torrent, from_there(), vec![urls.to_vec()], true);
    let (shown, error) = seed.wait_for_failure();
    assert!(shown.contains("[::1]") && error.text.contains("no address"), "{shown}: {error}");
    let said = tracker.wait_for(|said| said.len() == 2);
    assert!(said.iter().all(|said| said.from.unwrap().ip() == ours), "{said:#?}");
    // So do connections to peers.
    let leech = Client::start(&torrent, from_there(), vec![urls.to_vec()], false);
    leech.wait_until_finished();
    let there = seed.wait_for("peer", |alert| match alert {
        Alert::PeerConnected { addr, .. } => Some(*addr),
        _ => None,
    });
    assert_eq!(there.ip(), ours);
    leech.end();
    seed.end();
}

#[cfg(feature = "tls")]
mod tls {
    use cratetorrent::ReactorError;

    use super::*;
    use crate::support::authority::Authority;

    #[test]
    fn swarm_meets_through_a_verified_https_tracker() {
        let authority = Authority::new(&["localhost", "127.0.0.1"]);
        let tracker = Tracker::new();
        let addr = tracker.https(SocketAddr::new(V4, 0), authority.server.clone());
        let torrent = torrent();
        let trusting =
            || conf().with(|conf| conf.trackers.tls_roots = vec![authority.root.clone()]);
        let urls = [
            format!("https://{addr}/announce"),
            format!("https://localhost:{}/announce", addr.port()),
        ];
        let [by_addr, by_name] = urls;
        let seed = Client::start(&torrent, trusting(), one(by_addr), true);
        let port = seed.port();
        tracker.wait_for(|said| events(said, port) == ["started"]);
        let leech = Client::start(&torrent, trusting(), one(by_name), false);
        leech.wait_until_finished();
        leech.end();
        seed.end();
        let said = tracker.wait_for(|said| events(said, port).len() == 2);
        assert!(said.iter().all(|said| said.via == "https"));
    }

    #[test]
    fn certificate_of_unknown_authority_or_other_name_is_refused() {
        let (known, unknown) =
            (Authority::new(&["elsewhere.test"]), Authority::new(&["localhost", "127.0.0.1"]));
        for (authority, why) in [(&known, "not valid for"), (&unknown, "unknown")] {
            let tracker = Tracker::new();
            let addr = tracker.https(SocketAddr::new(V4, 0), authority.server.clone());
            let conf = conf().with(|conf| conf.trackers.tls_roots = vec![known.root.clone()]);
            let seed =
                Client::start(&torrent(), conf, one(format!("https://{addr}/announce")), true);
            let (_, error) = seed.wait_for_failure();
            assert_eq!(error.kind, TrackerErrorKind::Unreachable);
            let text = error.text.to_lowercase();
            assert!(text.contains("certificate") && text.contains(why), "{error}");
            seed.end();
            assert_eq!(tracker.said().len(), 0);
        }
    }

    #[test]
    fn https_tracker_behind_a_proxy_has_to_prove_its_name() {
        let authority = Authority::new(&["tracker.test"]);
        let tracker = Tracker::new();
        let port = tracker.https(SocketAddr::new(V4, 0), authority.server.clone()).port();
        for scheme in ["socks5", "http"] {
            let gate = Gate::open();
            let behind = |trusts: bool, name: &str| {
                let conf = conf().with(|conf| {
                    conf.proxy.server = Some(gate.url(scheme).parse().unwrap());
                    conf.proxy.peers = false;
                    if trusts {
                        conf.trackers.tls_roots = vec![authority.root.clone()];
                    }
                });
                let url = format!("https://{name}:{port}/announce");
                Client::start(&torrent(), conf, one(url), true)
            };
            let seed = behind(true, "tracker.test");
            let ours = seed.port();
            let said = tracker.wait_for(|said| events(said, ours) == ["started"]);
            assert!(said.iter().all(|said| said.via == "https"));
            seed.end();
            tracker.wait_for(|said| events(said, ours) == ["started", "stopped"]);
            for (trusts, name) in [(false, "tracker.test"), (true, "other.test")] {
                let seed = behind(trusts, name);
                let (_, error) = seed.wait_for_failure();
                assert!(error.text.to_lowercase().contains("certificate"), "{error}");
                seed.end();
            }
            let asked = gate.asked();
            assert!(asked.contains(&format!("tracker.test:{port}")), "{asked:?}");
            assert!(asked.contains(&format!("other.test:{port}")), "{asked:?}");
        }
    }

    #[test]
    fn invalid_certificate_is_told_at_the_start() {
        let conf = conf().with(|conf| conf.trackers.tls_roots = vec![b"no certificate".to_vec()]);
        assert!(matches!(spawn(conf), Err(ReactorError::TlsRoots(_))));
    }
}
