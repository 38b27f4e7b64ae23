//! Choosing among a torrent's files while it runs.

use super::*;
use crate::{
    base::{
        files::Priority::{self, High, Low, Normal, Skip},
        ids::TorrentId,
    },
    engine::{FileError, TorrentParams},
};

/// Five files that share pieces at their borders, one of them within a piece.
fn five() -> Arc<Sample> {
    Sample::folder("five", &[("a", 300_000), ("b", 200_000), ("c", 10_000), ("d/d", 400_000), ("e", 250_000)], 64 * 1024, 5)
        .unwrap()
}

/// A seed and a leech with these wishes.
fn pair(world: &mut World, sample: &Arc<Sample>, wishes: &[Priority]) -> (NodeId, NodeId, TorrentId) {
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seeder, sample);
    let params = TorrentParams { priorities: wishes.to_vec(), ..world.params(leech, sample, &[seeder]) };
    let id = world.add_torrent(leech, sample, params);
    (seeder, leech, id)
}

fn wish(world: &mut World, node: NodeId, wishes: &[Priority]) {
    let id = world.torrent(node);
    world.tell(node, |engine| engine.set_file_priorities(id, wishes.to_vec())).unwrap();
}

fn is_finished(world: &World, node: NodeId) -> bool {
    let stats = world.stats(node);
    stats.phase == Phase::Seeding && stats.wanted_bytes == stats.wanted_have_bytes
}

/// Bytes had of each file.
fn had(world: &World, node: NodeId) -> Vec<u64> {
    world.engine(node).files(world.torrent(node)).iter().map(|f| f.have).collect()
}

fn finishes(world: &World, node: NodeId) -> usize {
    world.alerts(node).iter().filter(|(_, a)| matches!(a, Alert::Finished { .. })).count()
}

#[test]
fn what_is_skipped_is_not_fetched_and_the_rest_finishes() {
    let sample = five();
    let mut world = World::new(1);
    let (seeder, leech, id) = pair(&mut world, &sample, &[Skip, Normal, Skip, Skip]);
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
    let stats = world.stats(leech);
    // b lies in pieces 4 to 7, e in pieces 13 to 17.
    let wanted: u64 = 4 * 65_536 + (1_160_000 - 13 * 65_536);
    assert_eq!((stats.wanted_bytes, stats.have_bytes, stats.have), (wanted, wanted, 9));
    assert_eq!((stats.downloaded, finishes(&world, leech)), (wanted, 1));
    assert_eq!(had(&world, leech)[1], 200_000);
    assert_eq!(had(&world, leech)[4], 250_000);
    // The seed has nothing that the leech wants, and hears that it wants nothing: they part.
    world.run_for(secs(2));
    assert_eq!(world.stats(seeder).peers, 0);

    // More is wanted: it goes on, and finishes again.
    world.tell(leech, |engine| engine.set_file_priority(id, 3, High)).unwrap();
    assert!(world.is_in(leech, Phase::Downloading));
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
    assert_eq!((had(&world, leech)[3], finishes(&world, leech)), (400_000, 2));
    assert_eq!(world.engine(leech).file_priorities(id), [Skip, Normal, Skip, High, Normal]);
    wish(&mut world, leech, &[]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
    world.run_for(secs(1));
    assert_eq!(finishes(&world, leech), 3);

    let wrong = world.tell(leech, |engine| engine.set_file_priority(id, 5, High));
    assert_eq!(wrong, Err(FileError::NoSuchFile { file: 5, files: 5 }));
}

#[test]
fn what_is_wanted_more_comes_first() {
    let sample = five();
    let mut world = World::new(2);
    let seed = world.scripted(Remote::seed(&sample, 0, Manners { block_time: millis(5), ..Manners::default() }));
    let leech = world.node(loud());
    let priorities = vec![Low, Normal, Normal, High, Skip];
    let params = TorrentParams { priorities, ..world.params(leech, &sample, &[seed]) };
    world.add_torrent(leech, &sample, params);
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
    let mut pieces: Vec<u32> = Vec::new();
    for block in world.script::<Remote>(seed).requests() {
        if !pieces.contains(&block.piece.get()) {
            pieces.push(block.piece.get());
        }
    }
    let (high, rest) = pieces.split_at(7);
    let (normal, low) = rest.split_at(3);
    let sorted = |pieces: &[u32]| {
        let mut pieces = pieces.to_vec();
        pieces.sort_unstable();
        pieces
    };
    assert_eq!(sorted(high), [7, 8, 9, 10, 11, 12, 13]);
    assert_eq!(sorted(normal), [4, 5, 6]);
    assert_eq!(sorted(low), [0, 1, 2, 3]);
}

#[test]
fn orders_for_what_is_skipped_are_called_off_and_nothing_is_held_of_it() {
    let sample = five();
    let mut world = World::new(3);
    let seed = world.scripted(Remote::seed(&sample, 0, Manners { block_time: millis(100), ..Manners::default() }));
    let leech = world.node(loud());
    world.download(leech, &sample, &[seed]);
    assert!(world.run_until(|w| w.stats(leech).partial_bytes > 3 * 16_384, secs(60)));
    wish(&mut world, leech, &[Skip; 5]);
    // What a worker is writing is had.
    world.run_for(millis(10));
    let have = world.stats(leech).have;
    assert_eq!(world.stats(leech).partial_bytes, 0);
    assert_eq!(world.engine(leech).piece_memory(), 0);
    world.run_for(secs(5));
    assert_eq!((world.stats(leech).have, world.engine(leech).peers(world.torrent(leech))[0].interested), (have, false));
    let asked = world.script::<Remote>(seed).times(|h| matches!(h, Heard::Request(_))).len();
    let cancelled = world.script::<Remote>(seed).times(|h| matches!(h, Heard::Cancel(_))).len();
    assert!(cancelled > 0 && cancelled < asked, "{cancelled} of {asked}");
    wish(&mut world, leech, &[High]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
}

#[test]
fn whatever_is_wanted_when_it_ends_well_and_the_bytes_are_true() {
    let sample = five();
    for seed in 0..40 {
        let mut world = World::new(seed);
        let mut rng = crate::base::rng::Rng::new(seed);
        let (seeder, leech, id) = pair(&mut world, &sample, &[Skip, Low]);
        let other = world.node(Conf { run_len: 16 * 1024, ..loud() });
        let params = world.params(other, &sample, &[seeder, leech]);
        world.add_torrent(other, &sample, params);
        world.set_disk_pace(other, DiskPace { min: millis(1), max: millis(60), bandwidth: 2_000_000 });
        for _ in 0..12 {
            world.run_for(millis(rng.below(120)));
            for node in [leech, other] {
                let wishes: Vec<_> = (0..5).map(|_| [Skip, Low, Normal, High][rng.below(4) as usize]).collect();
                wish(&mut world, node, &wishes);
                let id = world.torrent(node);
                match rng.below(8) {
                    0 => world.tell(node, |engine| engine.pause(id)).unwrap(),
                    1 => world.tell(node, |engine| engine.recheck(id)).unwrap(),
                    2 => world.disk(node).set(|t| t.read_only = !t.read_only),
                    _ => world.tell(node, |engine| engine.resume(id)).unwrap(),
                }
            }
        }
        for node in [leech, other] {
            world.disk(node).set(|t| t.read_only = false);
            let id = world.torrent(node);
            world.tell(node, |engine| engine.resume(id)).unwrap();
        }
        let both = |w: &World| is_finished(w, leech) && is_finished(w, other);
        assert!(world.run_until(both, secs(200)), "seed {seed}: {:?} {:?}", world.stats(leech), world.stats(other));
        let files = world.engine(leech).files(id);
        for (nth, (path, _, bytes)) in sample.files_in(&world.params(leech, &sample, &[]).dir).enumerate() {
            if files[nth].priority != Skip {
                assert_eq!(files[nth].have, bytes.len() as u64);
                assert!(world.disk(leech).holds(&path, 0, bytes), "seed {seed}: {}", path.display());
            }
        }
        assert_eq!(world.engine(leech).piece_memory(), 0);
    }
}
