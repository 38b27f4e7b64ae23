//! Killed and started again.

use std::{collections::HashMap, fs, sync::Arc};

use super::{LIMIT, MIB, torrent};
use crate::support::{clock, download::Bench, seeder::Seeder, torrent::Recipe};

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
    assert_eq!(
        seeder.seen().bytes,
        torrent.len() + torrent.piece_len as u64,
        "one piece is fetched twice"
    );
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
    assert!(
        status.code().is_some_and(|code| code != 0),
        "{status}: an unfinished download is no success, nor a crash"
    );
    let before = seeder.seen().bytes;

    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    let twice = seeder.seen().bytes - torrent.len();
    assert!(twice * 20 < before, "{twice} of {before} bytes were fetched twice");
}

/// Another program puts its file under the name of one that is being written.
#[cfg(unix)]
#[test]
fn file_replaced_while_fetched_is_no_complete_download() {
    let torrent = torrent(16, 26);
    let seeder = Seeder::slow(&torrent, 16 * MIB as u64);
    let mut bench = Bench::new(&torrent);
    let mut process = bench.start(&mut bench.command(&[seeder.addr()]));
    seeder.wait("half of it is served", LIMIT, |seen| seen.bytes >= torrent.len() / 2);
    let other = bench.dir.join("other");
    fs::write(&other, [1; 1000]).unwrap();
    fs::rename(&other, bench.dir.join(&torrent.name)).unwrap();
    let status = process.wait(LIMIT);
    let said = process.output();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("another file has taken its place"), "{said}");
    assert!(!said.contains("complete: "), "{said}");
    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    torrent.assert_in(&bench.dir);
}

#[test]
fn killed_again_and_again_it_gets_there() {
    // Thirty kills, or so many as KILLS says, each at another moment: while it starts, fetches,
    // writes or saves.
    let kills = std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(30_u64);
    let torrent = torrent(64, 25);
    let seeder = Seeder::slow(&torrent, 24 * MIB as u64);
    let mut bench = Bench::new(&torrent);
    let mut chance = 25_u64;
    for _ in 0..kills {
        chance =
            chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // None at all, a block, or some MiB.
        let more = ((chance >> 33) % (2 * MIB as u64 + 1)) >> ((chance >> 60) * 2);
        let goal = seeder.seen().bytes + more;
        let mut process = bench.start(&mut bench.command(&[seeder.addr()]));
        let over = clock::wait_for("some more is served", LIMIT, || {
            process.ended().map(|_| true).or((seeder.seen().bytes >= goal).then_some(false))
        });
        process.kill();
        if over {
            break;
        }
    }
    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    // Each kill costs what was in memory or on its way, and no more.
    let (served, lost) = (seeder.seen().bytes, 3 * MIB as u64);
    assert!(
        served < torrent.len() + kills * lost,
        "{served} bytes served for a torrent of {}",
        torrent.len()
    );
    seeder.assert_no_offence();
}

#[test]
fn terminated_in_large_pieces_it_fetches_little_twice() {
    let torrent = Arc::new(Recipe::single("large.bin", 128 * MIB, 16 * MIB).make(25));
    let seeders: Vec<_> = (0..8).map(|_| Seeder::slow(&torrent, 4 * MIB as u64)).collect();
    let addrs: Vec<_> = seeders.iter().map(Seeder::addr).collect();
    let served = || seeders.iter().map(|seeder| seeder.seen().bytes).sum::<u64>();
    let mut bench = Bench::new(&torrent);
    let mut process = bench.start(&mut bench.command(&addrs));
    clock::wait_for("45 % is served", LIMIT, || {
        (served() >= torrent.len() * 45 / 100).then_some(())
    });
    process.terminate();
    assert!(process.wait(LIMIT).code().is_some_and(|code| code != 0));
    let (before, sent) = (served(), copies(&seeders));
    assert!(before < torrent.len() * 9 / 10, "it was stopped too late: {before} bytes served");

    bench.complete(&torrent, &addrs, LIMIT);
    let after = copies(&seeders);
    let again = sent.iter().filter(|&(block, times)| after[block] > *times).count();
    let (again, bound) = (again * 16 * 1024, 8 * 16 * MIB / 20);
    println!("stopped at {before} of {} bytes; {again} were fetched again", torrent.len());
    // What was sent and not read at the stop counts, too.
    assert!(again <= bound, "{again} bytes were fetched again: {bound} were allowed");
}

/// How often each block was sent, by its offset.
fn copies(seeders: &[Seeder]) -> HashMap<u64, u32> {
    let mut copies = HashMap::new();
    for seeder in seeders {
        let seen = seeder.seen();
        seen.copies.iter().for_each(|(&block, times)| *copies.entry(block).or_default() += times);
    }
    copies
}
