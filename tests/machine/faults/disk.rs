//! Disks that are full or do not let us write. Small file systems of the tests' own, so these need
//! root.

use std::{fs, sync::Arc};

use super::{LIMIT, MIB, torrent};
use crate::support::{
    download::Bench,
    seeder::Seeder,
    system::{Tmpfs, is_root, skip},
    torrent::Torrent,
};

/// A folder on a file system of `mib` MiB; `None`, loudly, where that cannot be had.
fn small_disk(test: &str, torrent: &Arc<Torrent>, mib: usize) -> Option<(Tmpfs, Bench)> {
    let bench = Bench::new(torrent);
    if !is_root() {
        skip(test, "a small file system needs root");
        return None;
    }
    match Tmpfs::mount(&bench.dir, mib) {
        Ok(disk) => Some((disk, bench)),
        Err(why) => {
            skip(test, &why);
            None
        }
    }
}

#[test]
fn full_disk_is_named_and_enlarged_it_goes_on() {
    let torrent = torrent(16, 30);
    let Some((disk, mut bench)) = small_disk("faults::full_disk", &torrent, 8) else { return };
    let seeder = Seeder::good(&torrent);
    let ended = bench.run(&[seeder.addr()], LIMIT);
    ended.assert_failure(&[bench.dir.to_str().unwrap(), "space"]);
    let first = seeder.seen().bytes;
    assert!(
        first < 2 * torrent.len(),
        "{first} bytes fetched for a disk of 8 MiB: it goes round and round"
    );

    disk.remount("size=64m");
    bench.complete(&torrent, &[seeder.addr()], LIMIT);
    let second = seeder.seen().bytes - first;
    assert!(
        second <= 10 * MIB as u64,
        "{second} bytes fetched again although nearly 8 MiB of 16 MiB were there"
    );
    seeder.assert_no_offence();
}

#[test]
fn read_only_disk_is_named() {
    let torrent = torrent(4, 31);
    let Some((disk, mut bench)) = small_disk("faults::read_only_disk", &torrent, 64) else {
        return;
    };
    disk.remount("ro");
    let seeder = Seeder::good(&torrent);
    let ended = bench.run(&[seeder.addr()], LIMIT);
    ended.assert_failure(&[bench.dir.to_str().unwrap(), "read-only"]);
    disk.remount("rw");
    bench.complete(&torrent, &[seeder.addr()], LIMIT);
}

#[test]
fn file_in_place_of_the_folder_is_named() {
    let torrent = torrent(1, 32);
    let seeder = Seeder::good(&torrent);
    let mut bench = Bench::new(&torrent);
    fs::remove_dir(&bench.dir).unwrap();
    fs::write(&bench.dir, "in the way").unwrap();
    let ended = bench.run(&[seeder.addr()], LIMIT);
    ended.assert_failure(&[bench.dir.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&bench.dir).unwrap(), "in the way");
}

#[test]
fn folder_in_place_of_a_file_is_named() {
    let torrent = torrent(1, 33);
    let seeder = Seeder::good(&torrent);
    let mut bench = Bench::new(&torrent);
    let path = bench.dir.join(&torrent.name);
    fs::create_dir(&path).unwrap();
    let ended = bench.run(&[seeder.addr()], LIMIT);
    ended.assert_failure(&[path.to_str().unwrap()]);
}

#[test]
fn link_out_of_the_folder_is_not_followed() {
    let torrent = torrent(1, 34);
    let seeder = Seeder::good(&torrent);
    let mut bench = Bench::new(&torrent);
    let outside = bench.path().join("outside");
    fs::write(&outside, "mine").unwrap();
    std::os::unix::fs::symlink(&outside, bench.dir.join(&torrent.name)).unwrap();
    let _ = bench.run(&[seeder.addr()], LIMIT);
    assert_eq!(
        fs::read(&outside).unwrap(),
        b"mine",
        "a file outside of the download folder was written"
    );
}
