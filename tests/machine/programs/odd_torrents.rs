//! Torrents of odd shapes, each downloaded from a plain seeder by the `download` example and
//! compared byte for byte.

use std::{sync::Arc, time::Duration};

use crate::support::{
    bencode,
    download::Bench,
    seeder::Seeder,
    torrent::{Recipe, Torrent},
};

const KIB: usize = 1024;
const LIMIT: Duration = Duration::from_secs(30);

/// Downloads it from one good seeder; every block is to be asked for once only.
fn complete(torrent: Torrent) {
    let torrent = Arc::new(torrent);
    let seeder = Seeder::good(&torrent);
    Bench::new(&torrent).complete(&torrent, &[seeder.addr()], LIMIT);
    seeder.assert_no_offence();
    let seen = seeder.seen();
    let twice: Vec<_> = seen.copies.iter().filter(|(_, copies)| **copies > 1).collect();
    assert!(twice.is_empty(), "fetched more than once from the only peer: {twice:?}");
}

#[test]
fn pieces_of_16_kib() {
    complete(Recipe::single("small pieces.bin", 4096 * KIB + 77, 16 * KIB).make(1));
}

#[test]
fn pieces_of_16_mib() {
    complete(Recipe::single("large pieces.bin", 40_000_000, 16 << 20).make(2));
}

#[test]
fn pieces_of_20000_bytes() {
    complete(Recipe::single("odd pieces.bin", 1_234_567, 20_000).make(3));
}

#[test]
fn pieces_shorter_than_a_block() {
    complete(Recipe::single("tiny pieces.bin", 100_001, 1000).make(4));
}

#[test]
fn one_piece_longer_than_the_torrent() {
    complete(Recipe::single("one piece.bin", 50_000, 1 << 20).make(5));
}

#[test]
fn one_byte_in_all() {
    complete(Recipe::single("one byte.bin", 1, 16 * KIB).make(6));
}

#[test]
fn last_piece_of_one_byte() {
    complete(Recipe::single("last byte.bin", 5 * 64 * KIB + 1, 64 * KIB).make(7));
}

#[test]
fn no_remainder_at_all() {
    complete(Recipe::single("even.bin", 8 * 64 * KIB, 64 * KIB).make(8));
}

#[test]
fn names_of_many_scripts_and_empty_files() {
    let torrent = Recipe::folder("Ζωή и мир 🌊", 32 * KIB)
        .file("empty at the start", 0)
        .file("日本/東京/おはよう.txt", 70_001)
        .file("a file.with  dots and spaces .bin", 1)
        .file("empty in the middle", 0)
        .file("e\u{301} decomposed/é composed", 40_000)
        .file("👧🏽/مرحبا", 123)
        .file("empty at the end", 0);
    complete(torrent.make(9));
}

#[test]
fn file_borders_inside_blocks() {
    let mut torrent = Recipe::folder("crumbs", 64 * KIB);
    for n in 0..300 {
        torrent = torrent.file(&format!("{}/{n}", n % 7), n * 13 % 1000);
    }
    complete(torrent.file("the rest", 300_001).make(10));
}

#[test]
fn one_piece_over_many_files() {
    let mut torrent = Recipe::folder("one piece", 1 << 20);
    for n in 0..50 {
        torrent = torrent.file(&format!("{n}"), 1000 + n);
    }
    complete(torrent.make(11));
}

#[test]
fn folder_with_one_file() {
    complete(Recipe::folder("folder", 16 * KIB).file("file", 100_000).make(12));
}

#[test]
fn padding_is_not_stored() {
    let torrent = Recipe::folder("padded", 64 * KIB)
        .file("a", 100_000)
        .pad()
        .file("b", 65_536)
        .pad()
        .file("c", 1)
        .pad()
        .file("d", 70_000);
    complete(torrent.make(13));
}

#[test]
fn unknown_keys() {
    let odd = bencode::dict(&[(
        "deep",
        bencode::list([bencode::list([bencode::int(1)]), bencode::string([0xff, 0, 0x80])]),
    )]);
    let torrent = Recipe::single("unknown keys.bin", 200_000, 32 * KIB)
        .info_key("aaa", odd)
        .info_key("private", bencode::int(1))
        .info_key("source", bencode::string("somewhere"))
        .info_key("zzz", bencode::int(0));
    complete(torrent.make(14));
}

#[test]
fn unsorted_keys() {
    complete(Recipe::single("unsorted.bin", 200_000, 32 * KIB).unsorted().make(15));
}
