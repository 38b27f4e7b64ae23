//! Nothing to download from, or nothing to download.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use super::{LIMIT, MIB, torrent};
use crate::support::{
    bencode, clock,
    download::{Bench, Ended},
    ports,
    seeder::Seeder,
    torrent::Recipe,
};

#[test]
fn no_peer_answers() {
    let torrent = torrent(1, 40);
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_port()));
    let mut bench = Bench::new(&torrent);
    let mut process = bench.start(bench.command(&[closed]).args(["--timeout", "3s"]));
    let ended = Ended { status: process.wait(LIMIT), output: process.output() };
    ended.assert_failure(&["no peer", &closed.to_string(), "refused"]);
}

/// A check asks no peer, so however long it takes, the time without one has not begun. Here it
/// takes longer than that time since the program stands still in the midst of it.
#[test]
fn check_longer_than_the_timeout_is_not_given_up() {
    const PIECES: usize = 1024;
    let mut bench = Bench::new(&torrent(1, 43));
    let info = bencode::dict(&[
        ("length", bencode::int((PIECES * MIB) as u64)),
        ("name", bencode::string("large")),
        ("piece length", bencode::int(MIB as u64)),
        ("pieces", bencode::string([7; 20 * PIECES])),
    ]);
    fs::write(&bench.torrent, bencode::dict(&[("info", info)])).unwrap();
    // Nothing but a hole.
    fs::File::create(bench.dir.join("large")).unwrap().set_len((PIECES * MIB) as u64).unwrap();
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_port()));
    let mut command = bench.command(&[closed]);
    let mut process = bench.start(command.args(["--timeout", "1", "--json"]));
    clock::wait_for("the check goes on", LIMIT, || {
        process.output().contains("\"checking\"").then_some(())
    });
    process.pause();
    clock::until(clock::now() + Duration::from_millis(1200));
    process.unpause();
    let ended = Ended { status: process.wait(LIMIT), output: process.output() };
    ended.assert_failure(&["no peer was connected for 1 s"]);
    assert!(ended.output.contains("0 of 1024 pieces are there"), "{}", ended.output);
}

#[test]
fn magnet_link_without_peers_names_the_ways_to_find_some() {
    let mut bench = Bench::new(&torrent(1, 43));
    bench.torrent = format!("magnet:?xt=urn:btih:{}", "0a".repeat(20)).into();
    let ended = bench.run(&[], LIMIT);
    ended.assert_failure(&["no peer", "--tracker", "--peer", "--port", "--no-dht", "--no-lsd"]);
    // The DHT is one of them, whether or not a node answers: here none does, nor is another asked.
    let node = format!("127.0.0.1:{}", ports::free_port());
    let mut command = bench.command(&[]);
    let process = bench.start(command.args(["--bootstrap", &node]).env_remove("NO_DHT"));
    clock::wait_for("peers are looked for", LIMIT, || {
        process.output().contains("asking peers what the torrent is").then_some(())
    });
}

/// Nothing is known of a link before peers tell, which may take as long as it takes, unless the
/// user has said for how long.
#[test]
fn magnet_link_is_given_up_when_the_user_says_so() {
    let mut bench = Bench::new(&torrent(1, 44));
    bench.torrent = format!("magnet:?xt=urn:btih:{}", "0b".repeat(20)).into();
    let closed = SocketAddr::from((Ipv4Addr::LOCALHOST, ports::free_port()));
    let mut process = bench.start(bench.command(&[closed]).args(["--timeout", "3", "--quiet"]));
    let ended = Ended { status: process.wait(LIMIT), output: process.output() };
    ended.assert_failure(&["no peer was connected for 3 s", &closed.to_string(), "refused"]);
    assert!(!ended.output.contains("asking peers"), "{}", ended.output);
}

#[test]
fn peer_that_comes_later_is_found() {
    let torrent = torrent(1, 41);
    let first = Seeder::good(&torrent);
    let addr = first.addr();
    drop(first);
    let mut bench = Bench::new(&torrent);
    // Dials are refused until the second seeder stands where the first stood.
    let mut process = bench.start(&mut bench.command(&[addr]));
    clock::wait_for("the first dial is refused", LIMIT, || {
        process.output().contains(&addr.to_string()).then_some(())
    });
    let second = Seeder::start_at(addr, &torrent);
    assert!(process.wait(LIMIT).success());
    torrent.assert_in(&bench.dir);
    second.assert_no_offence();
}

/// Runs it with these bytes as its torrent file.
fn run_with(metainfo: &[u8]) -> Ended {
    let torrent = torrent(1, 42);
    let mut bench = Bench::new(&torrent);
    fs::write(&bench.torrent, metainfo).unwrap();
    let ended = bench.run(&[], LIMIT);
    ended.assert_failure(&[bench.torrent.to_str().unwrap()]);
    assert_eq!(
        fs::read_dir(&bench.dir).unwrap().count(),
        0,
        "something was written for a torrent that cannot be read"
    );
    ended
}

#[test]
fn truncated_torrent() {
    let torrent = torrent(1, 42);
    for len in [0, 1, 30, torrent.metainfo.len() / 2, torrent.metainfo.len() - 1] {
        run_with(&torrent.metainfo[..len]);
    }
}

#[test]
fn torrent_that_is_none() {
    run_with(b"<html><body>404 Not Found</body></html>");
    run_with(&vec![b'l'; 1_000_000]);
}

/// However it is taken (refused, or stored under harmless names), nothing outside of the folder may
/// change.
#[test]
fn torrent_that_climbs_out_of_its_folder() {
    let climbers = [
        Recipe::folder("..", 16384).file("file", 10),
        Recipe::folder("folder", 16384).file("../../file", 10),
        Recipe::folder("folder", 16384).file("a/../../../file", 10),
        Recipe::folder("../..", 16384).file("file", 10),
        Recipe::folder("folder", 16384).file("/file", 10),
        Recipe::single("../file", 10, 16384),
        Recipe::single("..", 10, 16384),
    ];
    for recipe in climbers {
        let torrent = Arc::new(recipe.make(1));
        let seeder = Seeder::good(&torrent);
        let mut bench = Bench::new(&torrent);
        let ended = bench.run(&[seeder.addr()], LIMIT);
        assert!(
            ended.status.code().is_some_and(|code| code < 2),
            "{}: {}",
            ended.status,
            ended.output
        );
        let mut beside: Vec<_> =
            fs::read_dir(bench.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        beside.sort();
        assert_eq!(beside, ["download", "download-1.log", "test.torrent"], "{:?}", torrent.name);
    }
}

#[test]
fn missing_torrent_is_named() {
    let torrent = torrent(1, 43);
    let mut bench = Bench::new(&torrent);
    fs::remove_file(&bench.torrent).unwrap();
    bench.run(&[], LIMIT).assert_failure(&[bench.torrent.to_str().unwrap()]);
}
