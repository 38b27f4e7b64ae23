//! A long life with churn: torrents come, are fetched and go, peers connect, ask a little and
//! vanish. Memory must not grow.
//!
//! Five seconds in every test run, a minute with `CI=true`, and as long as wished by hand:
//! `SOAK=3600 cargo test --release --test machine soak`.

// It measures real time.
#![allow(clippy::disallowed_methods)]

use std::{
    env, fs,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use super::is_alone;
use cratetorrent::{Alert, Conf, TorrentParams, sim::Sample, spawn, wire::metainfo::Metainfo};

const PATIENCE: Duration = Duration::from_secs(30);
/// What may come on top: buffers that happened not to be needed before, and what the allocator
/// keeps.
const SLACK_KIB: u64 = 6 * 1024;
/// Torrents that are there all along.
const TORRENTS: u64 = 8;

fn length() -> Duration {
    let wanted = env::var("SOAK").ok().and_then(|seconds| seconds.parse().ok());
    Duration::from_secs(wanted.unwrap_or(if env::var("CI").as_deref() == Ok("true") {
        60
    } else {
        5
    }))
}

/// KiB of this process in memory.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// A peer that greets, says what it likes, asks for a block or not, and is gone.
fn visit(addr: SocketAddr, metainfo: &Metainfo, nth: u64) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let mut hello = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".to_vec();
    hello.extend_from_slice(&metainfo.info_hash().0);
    hello.extend_from_slice(format!("-SO0001-{:012}", nth % 1_000_000_000_000).as_bytes());
    socket.write_all(&hello[..if nth.is_multiple_of(5) { 40 } else { 68 }])?;
    if !nth.is_multiple_of(3) && !nth.is_multiple_of(5) {
        // Interested, and a request.
        socket
            .write_all(&[0, 0, 0, 1, 2, 0, 0, 0, 13, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x40, 0])?;
        let mut buf = [0; 4096];
        let _ = socket.read(&mut buf)?;
    }
    Ok(())
}

#[test]
fn memory_does_not_grow_with_time() {
    if !is_alone(module_path!(), "memory_does_not_grow_with_time", length() + PATIENCE) {
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let samples: Vec<_> = (0..TORRENTS)
        .map(|nth| Sample::file(&format!("data-{nth}"), 1 << 20, 64 * 1024, nth).unwrap())
        .collect();
    let conf = Conf::default().with(|conf| {
        conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        conf.peers.reconnect_max = Duration::from_secs(1);
    });
    let (seeder, seeder_alerts) = spawn(conf.clone()).unwrap();
    let (leech, alerts) = spawn(conf.with(|conf| conf.network.listen = Vec::new())).unwrap();
    let addr = seeder.local_addrs()[0];
    let (from, to) = (root.path().join("from"), root.path().join("to"));
    fs::create_dir_all(&from).unwrap();
    for sample in &samples {
        fs::write(from.join(&sample.metainfo.name), &sample.data).unwrap();
        let params = TorrentParams {
            state_file: None,
            ..TorrentParams::new(sample.metainfo.clone(), &from)
        };
        seeder.call(move |engine| engine.add_torrent(params)).unwrap().unwrap();
    }

    let (begun, length) = (Instant::now(), length());
    let (mut rounds, mut warm) = (0_u64, None);
    while begun.elapsed() < length {
        let sample = &samples[(rounds % TORRENTS) as usize];
        for visitor in 0..4 {
            let _ = visit(addr, &sample.metainfo, rounds * 4 + visitor);
        }
        fetch(&leech, &alerts, &sample.metainfo, addr, &to);
        assert_eq!(fs::read(to.join(&sample.metainfo.name)).unwrap(), sample.data);
        fs::remove_dir_all(&to).unwrap();
        while seeder_alerts.try_recv().is_ok() {}
        rounds += 1;
        if warm.is_none() && begun.elapsed() > length / 3 {
            warm = Some((rounds, resident()));
        }
    }
    let (before, plateau) = warm.unwrap();
    let now = resident();
    println!("{rounds} rounds; {plateau} KiB after {before}, {now} KiB at the end");
    assert!(
        now <= plateau + plateau / 20 + SLACK_KIB,
        "{plateau} KiB after {before} rounds, {now} KiB after {rounds}"
    );
}

/// Fetches a torrent and forgets it again.
fn fetch(
    leech: &cratetorrent::EngineHandle,
    alerts: &cratetorrent::Alerts,
    metainfo: &Arc<Metainfo>,
    from: SocketAddr,
    to: &Path,
) {
    let mut params = TorrentParams::new(metainfo.clone(), to);
    params.peers = vec![from];
    let id = leech.call(move |engine| engine.add_torrent(params)).unwrap().unwrap();
    let mut finished = false;
    while let Ok(alert) = alerts.recv_timeout(PATIENCE) {
        match alert {
            Alert::Finished { torrent, .. } if torrent == id && !finished => {
                finished = true;
                leech.call(move |engine| engine.remove(id)).unwrap().unwrap();
            }
            Alert::Removed { torrent, .. } if torrent == id => return,
            _ => {}
        }
    }
    panic!("a torrent that does not come or go, finished: {finished}");
}
