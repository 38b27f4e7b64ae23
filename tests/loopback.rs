//! Whole downloads over real sockets on this machine: the inline door, the thread door, and the two
//! with each other.

#![cfg(unix)]
// In a test, a failed unwrap is a failed test.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    os::fd::{AsFd, AsRawFd},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cratetorrent::{
    Alert, AlertMask, CallError, Conf, Limits, Phase, Rate, Reactor, ReactorError, TorrentId,
    TorrentParams,
    handle::NoAlert,
    spawn,
    wire::metainfo::{Metainfo, MetainfoBuilder},
};
use mio::{Events, Interest, Poll, Token, unix::SourceFd};
use sha1::{Digest, Sha1};
use tempfile::TempDir;

const NAME: &str = "loopback";
const PIECE_LEN: u32 = 256 * 1024;
/// Turns after which a transfer of a few MiB is stuck. Each waits a second at most.
const TURNS: usize = 20_000;
const WAIT: Duration = Duration::from_secs(1);

/// A torrent of some MiB in nested files, the last piece short, and a folder that has them.
struct Fixture {
    metainfo: Arc<Metainfo>,
    files: BTreeMap<&'static str, Vec<u8>>,
    dir: TempDir,
}

impl Fixture {
    fn new() -> Self {
        let lens = [("a/first", 1_500_000), ("a/b/second", 3_000_001), ("empty", 0), ("third", 77)];
        let mut word = 1_u32;
        let mut noise = |len| -> Vec<u8> {
            let mut byte = || {
                word = word.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (word >> 24) as u8
            };
            (0..len).map(|_| byte()).collect()
        };
        let files: BTreeMap<_, _> = lens.iter().map(|&(name, len)| (name, noise(len))).collect();
        let dir = TempDir::new().unwrap();
        let mut builder = MetainfoBuilder::new(NAME, PIECE_LEN);
        let mut all = Vec::new();
        for (name, bytes) in &files {
            builder.file(name.split('/'), bytes.len() as u64);
            let path = dir.path().join(NAME).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
            all.extend_from_slice(bytes);
        }
        let digests: Vec<[u8; 20]> =
            all.chunks(PIECE_LEN as usize).map(|piece| Sha1::digest(piece).into()).collect();
        let metainfo = Metainfo::from_bytes(&builder.build(&digests).unwrap()).unwrap();
        Self { metainfo: Arc::new(metainfo), files, dir }
    }

    fn params(&self, dir: &Path) -> TorrentParams {
        TorrentParams::new(self.metainfo.clone(), dir)
    }

    fn seed_params(&self) -> TorrentParams {
        let mut params = self.params(self.dir.path());
        params.state_file = None;
        params
    }

    fn assert_is_copied_to(&self, dir: &Path) {
        for (name, bytes) in &self.files {
            assert!(fs::read(dir.join(NAME).join(name)).unwrap() == *bytes, "{name} differs");
        }
    }
}

fn listening() -> Conf {
    Conf::default().with(|conf| {
        conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        conf.alerts.mask = AlertMask::ALL;
    })
}

fn dialling() -> Conf {
    Conf::default().with(|conf| conf.alerts.mask = AlertMask::ALL)
}

/// Turns both loops until the second has an alert that satisfies `done`.
fn turn_until(seed: &mut Reactor, leech: &mut Reactor, mut done: impl FnMut(&Alert) -> bool) {
    let mut outer = Outer::new([seed, leech]);
    for _ in 0..TURNS {
        outer.wait([&*seed, &*leech]);
        seed.poll(Some(Duration::ZERO)).unwrap();
        while seed.next_alert().is_some() {}
        leech.poll(Some(Duration::ZERO)).unwrap();
        while let Some(alert) = leech.next_alert() {
            if done(&alert) {
                return;
            }
        }
    }
    panic!("stuck");
}

/// What an embedder's own loop does: waits on both descriptors for the shorter of both times.
struct Outer {
    poll: Poll,
    events: Events,
}

impl Outer {
    fn new(reactors: [&Reactor; 2]) -> Self {
        let poll = Poll::new().unwrap();
        for (n, reactor) in reactors.into_iter().enumerate() {
            poll.registry()
                .register(&mut SourceFd(&reactor.as_fd().as_raw_fd()), Token(n), Interest::READABLE)
                .unwrap();
        }
        Self { poll, events: Events::with_capacity(2) }
    }

    fn wait(&mut self, reactors: [&Reactor; 2]) {
        let wait = reactors.into_iter().filter_map(Reactor::next_timeout).chain([WAIT]).min();
        self.poll.poll(&mut self.events, wait).unwrap();
    }
}

fn turn_alone_until(reactor: &mut Reactor, mut done: impl FnMut(&Alert) -> bool) {
    for _ in 0..TURNS {
        reactor.poll(Some(WAIT)).unwrap();
        while let Some(alert) = reactor.next_alert() {
            if done(&alert) {
                return;
            }
        }
    }
    panic!("stuck");
}

fn is_checked(alert: &Alert) -> bool {
    matches!(alert, Alert::Checked { .. })
}

fn is_finished(alert: &Alert) -> bool {
    matches!(alert, Alert::Finished { .. })
}

#[test]
fn two_loops_in_one_thread_complete_a_download() {
    let fixture = Fixture::new();
    let target = TempDir::new().unwrap();
    let mut seed = Reactor::new(listening()).unwrap();
    seed.verbs().add_torrent(fixture.seed_params()).unwrap();
    turn_alone_until(&mut seed, is_checked);

    let mut leech = Reactor::new(dialling()).unwrap();
    let id = leech.verbs().add_torrent(fixture.params(target.path())).unwrap();
    leech.verbs().add_peer(id, seed.local_addrs()[0]).unwrap();
    turn_until(&mut seed, &mut leech, is_finished);
    fixture.assert_is_copied_to(target.path());

    let stats = leech.verbs().stats(id).unwrap();
    assert_eq!((stats.have, stats.phase), (stats.pieces, Phase::Seeding));
    let loop_stats = leech.stats();
    assert!(loop_stats.bytes_read > fixture.metainfo.geometry.total_len());
    assert!(
        loop_stats.turns > 0
            && loop_stats.reads > 0
            && loop_stats.writes > 0
            && loop_stats.wakes > 0
    );

    leech.verbs().shutdown();
    for _ in 0..TURNS {
        if leech.is_drained() {
            break;
        }
        leech.poll(Some(WAIT)).unwrap();
    }
    assert!(leech.is_drained());
    drop(leech);

    // The state was saved: nothing is fetched or hashed again.
    let mut again = Reactor::new(dialling()).unwrap();
    again.verbs().add_torrent(fixture.params(target.path())).unwrap();
    let pieces = stats.pieces;
    turn_alone_until(
        &mut again,
        |alert| matches!(alert, Alert::Opened { have, to_check: 0, .. } if *have == pieces),
    );
}

#[test]
fn threads_serve_a_loop_over_both_families() {
    let fixture = Fixture::new();
    let target = TempDir::new().unwrap();
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let mut seeds = Vec::new();
    for addr in [v4, v6] {
        let (engine, alerts) =
            match spawn(listening().with(|conf| conf.network.listen = vec![addr])) {
                // A machine without IPv6.
                Err(ReactorError::Listen { .. }) if addr == v6 => continue,
                other => other.unwrap(),
            };
        let params = fixture.seed_params();
        engine.call(|engine| engine.add_torrent(params)).unwrap().unwrap();
        while !is_checked(&alerts.recv().unwrap()) {}
        seeds.push((engine, alerts));
    }
    let mut params = fixture.params(target.path());
    params.peers = seeds.iter().map(|(engine, _)| engine.local_addrs()[0]).collect();
    let mut leech = Reactor::new(dialling()).unwrap();
    leech.verbs().add_torrent(params).unwrap();
    let mut peers = 0;
    turn_alone_until(&mut leech, |alert| {
        peers += usize::from(matches!(alert, Alert::PeerConnected { .. }));
        is_finished(alert)
    });
    assert!(peers >= 1);
    fixture.assert_is_copied_to(target.path());
    for (engine, alerts) in seeds {
        engine.shutdown();
        while alerts.recv().is_some() {}
        assert!(matches!(alerts.try_recv(), Err(NoAlert::Ended)));
        assert_eq!(engine.call(|_| ()), Err(CallError::Ended));
        assert_eq!(engine.join(), Ok(()));
    }
}

#[test]
fn a_thread_ends_with_its_last_handle_and_loses_no_alert() {
    let fixture = Fixture::new();
    let (engine, alerts) = spawn(dialling()).unwrap();
    let params = fixture.seed_params();
    let id: TorrentId = engine.clone().call(|engine| engine.add_torrent(params)).unwrap().unwrap();
    let clone = engine.clone();
    drop(engine);
    clone.tell(move |engine| engine.remove(id).unwrap());
    assert_eq!(clone.call(|engine| engine.torrents().len().min(1)).map(|left| left <= 1), Ok(true));
    drop(clone);
    assert!(
        alerts
            .into_iter()
            .any(|alert| matches!(alert, Alert::Removed { torrent } if torrent == id))
    );
}

#[test]
fn dropped_handle_leaves_a_state_that_the_next_run_believes() {
    let fixture = Fixture::new();
    let pieces = fixture.metainfo.geometry.piece_count();
    let run = |is_there: fn(&Alert) -> bool| {
        let (engine, alerts) = spawn(dialling()).unwrap();
        let params = fixture.params(fixture.dir.path());
        engine.call(|engine| engine.add_torrent(params)).unwrap().unwrap();
        // As a program that falls out of `main`.
        alerts.into_iter().find(is_there).unwrap()
    };
    run(is_checked);
    let opened = run(|alert| matches!(alert, Alert::Opened { .. }));
    assert!(
        matches!(opened, Alert::Opened { have, to_check: 0, .. } if have == pieces),
        "{opened:?}"
    );
}

#[test]
fn idle_loop_waits_with_unfetched_alerts() {
    let fixture = Fixture::new();
    let mut reactor = Reactor::new(dialling()).unwrap();
    reactor.verbs().add_torrent(fixture.seed_params()).unwrap();
    assert_eq!(reactor.next_timeout(), Some(Duration::ZERO));
    for _ in 0..TURNS {
        if reactor
            .verbs()
            .torrents()
            .iter()
            .all(|&id| reactor.verbs().stats(id).is_some_and(|s| s.phase == Phase::Seeding))
        {
            break;
        }
        reactor.poll(Some(WAIT)).unwrap();
    }
    // Alerts wait, are announced once, and then no more.
    for _ in 0..10 {
        reactor.poll(Some(Duration::ZERO)).unwrap();
    }
    assert_ne!(reactor.next_timeout(), Some(Duration::ZERO));
    // Getters make no work, and verbs do.
    let ids = reactor.verbs().torrents();
    assert_ne!(reactor.next_timeout(), Some(Duration::ZERO));
    reactor.verbs().recheck(ids[0]).unwrap();
    assert_eq!(reactor.next_timeout(), Some(Duration::ZERO));
    assert!(reactor.next_alert().is_some());
}

#[test]
fn silent_and_malformed_connections_do_no_harm() {
    use std::io::{Read, Write};
    let fixture = Fixture::new();
    let mut seed = Reactor::new(listening()).unwrap();
    seed.verbs().add_torrent(fixture.seed_params()).unwrap();
    turn_alone_until(&mut seed, is_checked);
    let addr = seed.local_addrs()[0];
    let silent = TcpStream::connect(addr).unwrap();
    let mut loud = TcpStream::connect(addr).unwrap();
    loud.write_all(&[0xff; 100_000]).unwrap();
    loud.set_nonblocking(true).unwrap();
    let mut closed = false;
    for _ in 0..TURNS {
        seed.poll(Some(Duration::from_millis(1))).unwrap();
        match loud.read(&mut [0; 100]) {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok(0) | Err(_) => {
                closed = true;
                break;
            }
            Ok(_) => {}
        }
    }
    assert!(closed);
    drop(silent);

    let target = TempDir::new().unwrap();
    let mut leech = Reactor::new(dialling()).unwrap();
    let mut params = fixture.params(target.path());
    params.peers = vec![addr];
    leech.verbs().add_torrent(params).unwrap();
    turn_until(&mut seed, &mut leech, is_finished);
    fixture.assert_is_copied_to(target.path());
}

#[test]
fn settings_and_addresses_that_cannot_work_are_named() {
    let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = taken.local_addr().unwrap();
    let e =
        Reactor::new(Conf::default().with(|conf| conf.network.listen = vec![addr])).unwrap_err();
    assert!(e.to_string().starts_with(&format!("cannot listen on {addr}: ")), "{e}");
    let e = spawn(Conf::default().with(|conf| conf.peers.max_connections = 0)).unwrap_err();
    assert_eq!(e.to_string(), "Conf::peers.max_connections is 0: at least 1");
}

#[test]
#[allow(clippy::disallowed_methods)] // a limit is kept in real time
fn a_limit_on_real_sockets_holds_and_can_be_lifted() {
    let fixture = Fixture::new();
    let dir = tempfile::tempdir().unwrap();
    let mut seed = Reactor::new(listening()).unwrap();
    seed.verbs().add_torrent(fixture.seed_params()).unwrap();
    turn_alone_until(&mut seed, is_checked);
    let total: u64 = fixture.files.values().map(|bytes| bytes.len() as u64).sum();
    // At this rate it would take five seconds.
    let limits = |bytes_per_s| Limits { down: Rate::new(bytes_per_s), up: None };
    let mut leech =
        Reactor::new(dialling().with(|conf| conf.network.limits = limits(total / 5))).unwrap();
    let mut params = fixture.params(dir.path());
    params.peers = seed.local_addrs();
    let torrent = leech.verbs().add_torrent(params).unwrap();
    let start = Instant::now();
    let mut lifted = None;
    let mut outer = Outer::new([&seed, &leech]);
    let took = loop {
        outer.wait([&seed, &leech]);
        seed.poll(Some(Duration::ZERO)).unwrap();
        while seed.next_alert().is_some() {}
        leech.poll(Some(Duration::ZERO)).unwrap();
        let mut finished = false;
        while let Some(alert) = leech.next_alert() {
            finished |= is_finished(&alert);
        }
        let took = start.elapsed();
        assert!(took < Duration::from_secs(60), "stuck");
        if lifted.is_none() && took >= Duration::from_secs(1) {
            let read = leech.stats().bytes_read;
            lifted = Some((read, took));
            leech.verbs().set_limits(limits(0));
            assert_eq!(leech.verbs().peers(torrent).iter().filter(|peer| peer.snubbed).count(), 0);
        }
        if finished {
            break took;
        }
    };
    let (read, after) = lifted.expect("a limit kept it from being over at once");
    let allowed = total as f64 / 5.0 * (after.as_secs_f64() + 0.1) + 68.0;
    assert!(read as f64 <= allowed && read > 0, "{read} bytes in {after:?}, allowed are {allowed}");
    assert!(took < after + Duration::from_secs(20));
    fixture.assert_is_copied_to(dir.path());
}
