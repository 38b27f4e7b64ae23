//! Killed and started again.

use std::fs;

use crate::{
    LIMIT, MIB,
    support::{download::Bench, seeder::Seeder},
    torrent,
};

#[test]
fn killed_half_way_it_fetches_little_twice() {
    let torrent = torrent(64, 20);
    // Slow enough that the client keeps up: what was served is what it had.
    let seeder = Seeder::slow(&torrent, 16 * MIB as u64);
    let mut bench = Bench::new(&torrent);
    let mut process = bench.start(&mut bench.command(&[seeder.addr()]));
    seeder.wait("half of it is served", LIMIT, |seen| seen.bytes >= torrent.len() / 2);
    process.kill();
    let before = seeder.seen().bytes;
    assert!(before < torrent.len() * 9 / 10, "it was killed too late: {before} bytes served");

    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    let twice = seeder.seen().bytes - torrent.len();
    assert!(twice * 20 < before, "{twice} of {before} bytes were fetched twice");
    seeder.assert_no_offence();
}

#[test]
fn complete_download_is_not_fetched_again() {
    let torrent = torrent(8, 21);
    let seeder = Seeder::good(&torrent);
    let mut bench = Bench::new(&torrent);
    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    assert_eq!(seeder.seen().bytes, torrent.len(), "bytes fetched in two runs");
}

#[test]
fn changed_byte_is_found_and_fetched_again() {
    let torrent = torrent(8, 22);
    let seeder = Seeder::good(&torrent);
    let mut bench = Bench::new(&torrent);
    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    let path = bench.dir.join(&torrent.name);
    let mut data = fs::read(&path).unwrap();
    data[3 * MIB] ^= 1;
    fs::write(&path, data).unwrap();

    let mut process = bench.start(bench.command(&[seeder.addr()]).arg("--recheck"));
    assert!(process.wait(LIMIT).success());
    torrent.assert_in(&bench.dir);
    assert_eq!(seeder.seen().bytes, torrent.len() + torrent.piece_len as u64, "one piece is fetched twice");
}

#[test]
fn folder_of_whole_files_is_believed_after_a_check() {
    let torrent = torrent(8, 23);
    let seeder = Seeder::good(&torrent);
    let mut bench = Bench::new(&torrent);
    torrent.write_files(&bench.dir);
    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    assert_eq!(seeder.seen().bytes, 0, "bytes fetched although everything was there");
}

#[test]
fn terminated_half_way_it_ends_in_good_order() {
    let torrent = torrent(32, 24);
    let seeder = Seeder::slow(&torrent, 32 * MIB as u64);
    let mut bench = Bench::new(&torrent);
    let mut process = bench.start(&mut bench.command(&[seeder.addr()]));
    seeder.wait("half of it is served", LIMIT, |seen| seen.bytes >= torrent.len() / 2);
    process.terminate();
    let status = process.wait(LIMIT);
    assert!(status.code().is_some_and(|code| code != 0), "{status}: an unfinished download is no success, nor a crash");
    let before = seeder.seen().bytes;

    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    let twice = seeder.seen().bytes - torrent.len();
    assert!(twice * 20 < before, "{twice} of {before} bytes were fetched twice");
}
