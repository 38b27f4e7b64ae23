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
    let sample = file(96 * 32 * KIB, 32 * 1024);
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
    Outcome { copies: world.stats(seed).uploaded * 100 / total, secs: world.now().as_micros() / 1_000_000 }
}

#[test]
fn a_super_seed_sends_little_more_than_one_copy() {
    let mut table = String::from("\nline KB/s  plain copies  s  super copies  s");
    let (mut worst, mut least_plain) = (0, u64::MAX);
    for (world_seed, seed_line) in [(1, 100_000), (2, 100_000), (3, 500_000)] {
        let [plain, sup] = [false, true].map(|super_seed| swarm(world_seed, super_seed, seed_line));
        table += &format!(
            "\n{:>9}  {:>9}.{:02}  {:>2}  {:>9}.{:02}  {:>2}",
            seed_line / 1000,
            plain.copies / 100,
            plain.copies % 100,
            plain.secs,
            sup.copies / 100,
            sup.copies % 100,
            sup.secs
        );
        worst = worst.max(sup.copies);
        least_plain = least_plain.min(plain.copies);
    }
    assert!((100..=130).contains(&worst), "{table}");
    assert!(least_plain > worst, "{table}");
    assert_eq!(table, "");
}
