//! Few descriptors: what a process may open is less than what it could use.

use std::process::Command;

use super::LIMIT;
use crate::support::{
    download::{Bench, program},
    seeder::Seeder,
    torrent::Recipe,
};

/// A torrent of many files, many peers, and 64 descriptors for both.
#[test]
fn with_64_descriptors_it_fetches_100_files_from_40_peers() {
    let mut recipe = Recipe::folder("many", 64 * 1024);
    for nth in 0..100 {
        recipe = recipe.file(&format!("dir-{}/file-{nth}", nth % 7), 50_000 + nth * 321);
    }
    let torrent = std::sync::Arc::new(recipe.make(50));
    let seeders: Vec<_> = (0..40).map(|_| Seeder::good(&torrent)).collect();
    let addrs: Vec<_> = seeders.iter().map(Seeder::addr).collect();
    let mut bench = Bench::new(&torrent);
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 64; exec \"$0\" \"$@\""]).arg(program());
    bench.arguments(&mut command, &addrs);
    let mut process = bench.start(&mut command);
    let status = process.wait(LIMIT);
    assert!(status.success(), "{status}");
    torrent.assert_in(&bench.dir);
}
