//! What super-seeding (BEP 16) costs and saves, beside plain seeding in the same swarm.

use super::*;
use crate::torrent::TorrentParams;

/// How a swarm of one seed and eight leeches did.
#[derive(Debug)]
struct Outcome {
    /// Hundredths of a copy of the data that the seed sent before everybody was complete.
    copies: u64,
    /// Seconds until everybody was complete.
    secs: u64,
}

/// The seed's line takes `seed_line` bytes/s, those of the leeches four times as much.
fn swarm(world_seed: u64, super_seed: bool, seed_line: u64) -> Outcome {
    let sample = file(64 * 32 * KIB, 32 * 1024);
    let mut world = World::new(world_seed);
    let seed = world.node(loud());
    world.set_line(seed, Line { bandwidth: seed_line, ..Line::default() });
    let params = TorrentParams { super_seed, ..world.params(seed, &sample, &[]) };
    world.put_pieces(seed, &sample, &Bitfield::all(sample.geometry().piece_count()));
    world.add_torrent(seed, &sample, params);
    let mut everybody = vec![seed];
    for _ in 0..8 {
        let leech = world.node(loud());
        world.set_line(leech, Line { bandwidth: 4 * seed_line, ..Line::default() });
        world.download(leech, &sample, &everybody);
        everybody.push(leech);
    }
    let done = world.run_until(|w| everybody.iter().all(|&n| w.is_complete(n)), secs(1200));
    assert!(done, "{:?}", everybody.iter().map(|&n| world.stats(n).have).collect::<Vec<_>>());
    for &leech in &everybody[1..] {
        let stats = world.stats(leech);
        assert_eq!((stats.failed_pieces, stats.banned, stats.unasked_blocks), (0, 0, 0));
    }
    let total = sample.geometry().total_len();
    Outcome {
        copies: world.stats(seed).uploaded * 100 / total,
        secs: world.now().as_micros() / 1_000_000,
    }
}

#[test]
fn a_super_seed_sends_little_more_than_one_copy() {
    let mut table =
        vec![format!("{:8} {:>6}  {:>6} {:>3}  {:>6} {:>3}", "", "line", "plain", "", "super", "")];
    let copies = |o: &Outcome| format!("{}.{:02}x", o.copies / 100, o.copies % 100);
    for (world_seed, line) in [(1, 100_000), (2, 500_000)] {
        let [plain, shy] = [false, true].map(|super_seed| swarm(world_seed, super_seed, line));
        assert!(
            (100..=130).contains(&shy.copies) && plain.copies > shy.copies + 20,
            "{plain:?} {shy:?}"
        );
        let row = (copies(&plain), plain.secs, copies(&shy), shy.secs);
        table.push(format!(
            "swarm {world_seed}: {line:>6}  {:>6} {:>2}s  {:>6} {:>2}s",
            row.0, row.1, row.2, row.3
        ));
    }
    // Bytes per second of the seed's line; copies that it sent, and seconds, until eight peers had
    // everything.
    let seen = [
        "           line   plain       super    ",
        "swarm 1: 100000   1.71x 32s   1.06x 22s",
        "swarm 2: 500000   2.55x  9s   1.06x  4s",
    ];
    assert_eq!(table, seen);
}
