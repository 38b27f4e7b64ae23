//! What the programs of `examples` do: their words, their files, how they end.

mod create;
mod dht_example;
mod files;
mod inspect;
mod odd_torrents;
mod outside;
mod seed;
mod session_example;
mod terminal;

use tempfile::TempDir;

use crate::support::torrent::{Recipe, Torrent};

/// A torrent made by hand, with names that are seldom met and an empty file, and a folder that has
/// its files. The first has so many bytes.
fn unusual_folder(first: usize) -> (TempDir, Torrent) {
    let recipe = Recipe::folder("größe", 64 * 1024)
        .file("a/b", first)
        .file("a/日本", 3)
        .file("empty", 0)
        .file("z", 300_000);
    let (dir, torrent) = (tempfile::tempdir().unwrap(), recipe.make(7));
    torrent.write_files(dir.path());
    (dir, torrent)
}
