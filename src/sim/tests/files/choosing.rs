//! Choosing among a torrent's files, by the user and by links.

use super::*;
use crate::{
    base::files::Priority::{High, Low},
    engine::{AddError, FileError},
    wire::magnet::{FileSelection, Magnet},
};

#[test]
fn skipped_files_are_not_fetched_and_the_rest_finishes() {
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
fn higher_priority_files_come_first() {
    let sample = five();
    let mut world = World::new(2);
    let seed = world.scripted(Remote::seed(
        &sample,
        0,
        Manners { block_time: millis(5), ..Manners::default() },
    ));
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
fn skipping_cancels_requests_and_frees_memory() {
    let sample = five();
    let mut world = World::new(3);
    let seed = world.scripted(Remote::seed(
        &sample,
        0,
        Manners { block_time: millis(100), ..Manners::default() },
    ));
    let leech = world.node(loud());
    world.download(leech, &sample, &[seed]);
    assert!(world.run_until(|w| w.stats(leech).partial_bytes > 3 * 16_384, secs(60)));
    wish(&mut world, leech, &[Skip, Skip, Normal, Skip, Skip]);
    // What a worker is writing is had, and one piece is wanted still.
    world.run_for(millis(10));
    let have = world.stats(leech).have;
    assert!(
        world.stats(leech).partial_bytes <= 65_536 && world.engine(leech).piece_memory() <= 65_536
    );
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)));
    world.run_for(secs(5));
    // Neither wants anything of the other.
    assert!(
        world.stats(leech).have <= have + 1 && world.stats(leech).peers == 0,
        "{:?}",
        world.stats(leech)
    );
    assert_eq!(world.engine(leech).piece_memory(), 0);
    let asked = world.script::<Remote>(seed).times(|h| matches!(h, Heard::Request(_))).len();
    let cancelled = world.script::<Remote>(seed).times(|h| matches!(h, Heard::Cancel(_))).len();
    assert!(cancelled > 0 && cancelled < asked, "{cancelled} of {asked}");
    wish(&mut world, leech, &[High]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
}

#[test]
fn random_priority_changes_end_with_true_bytes() {
    let sample = five();
    for seed in 0..40 {
        let mut world = World::new(seed);
        let mut rng = crate::base::rng::Rng::new(seed);
        let (seeder, leech, id) = pair(&mut world, &sample, &[Low, Skip]);
        let other = world.node(loud().with(|conf| conf.requests.run_len = 16 * 1024));
        let params = TorrentParams {
            priorities: vec![High, Skip],
            ..world.params(other, &sample, &[seeder, leech])
        };
        world.add_torrent(other, &sample, params);
        world.set_disk_pace(
            other,
            DiskPace {
                min: millis(1),
                max: millis(60),
                bandwidth: 2_000_000,
                ..DiskPace::default()
            },
        );
        for _ in 0..12 {
            world.run_for(millis(rng.below(120)));
            for node in [leech, other] {
                let mut wishes: Vec<_> =
                    (0..5).map(|_| [Skip, Low, Normal, High][rng.below(4) as usize]).collect();
                wishes[1] = Skip;
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
        assert!(
            world.run_until(both, secs(200)),
            "seed {seed}: {:?} {:?}",
            world.stats(leech),
            world.stats(other)
        );
        let files = world.engine(leech).files(id);
        for node in [leech, other] {
            assert!(
                !on_disk(&world, node).contains(&"five/b".into()),
                "seed {seed}: a skipped file was made"
            );
        }
        for (nth, (path, _, bytes)) in
            sample.files_in(&world.params(leech, &sample, &[]).dir).enumerate()
        {
            if files[nth].priority != Skip {
                assert_eq!(files[nth].have, bytes.len() as u64);
                assert!(
                    world.disk(leech).holds(&path, 0, bytes),
                    "seed {seed}: {}",
                    path.display()
                );
            }
        }
        assert_eq!(world.engine(leech).piece_memory(), 0);
    }
}

/// A link to the torrent that chooses these files.
fn choosing(sample: &Sample, files: &str) -> Magnet {
    let mut select = FileSelection::default();
    select.add(files).unwrap();
    Magnet { select: Some(select), ..Magnet::new(sample.metainfo.identity) }
}

#[test]
fn link_of_a_known_torrent_adds_its_files_to_the_choice() {
    let sample = five();
    let mut world = World::new(31);
    let (_, leech, id) = pair(&mut world, &sample, &[Skip, High, Skip, Skip, Skip]);
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)));
    // Beyond the last file there is nothing to want.
    let link = choosing(&sample, "0-1,3,99-4000000000");
    let select = link.select.clone().unwrap();
    let params = TorrentParams { source: link.into(), ..world.params(leech, &sample, &[]) };
    let refused = world.tell(leech, |engine| engine.add_torrent(params));
    assert_eq!(refused, Err(AddError::Duplicate(id)));
    world.tell(leech, |engine| engine.want_files(id, &select)).unwrap();
    let wishes = |w: &World| -> Vec<_> {
        w.engine(leech).files(id).iter().map(|file| file.priority).collect()
    };
    assert_eq!(wishes(&world), [Normal, High, Skip, Normal, Skip]);
    assert!(world.is_in(leech, Phase::Downloading));
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)));
    assert_eq!(had(&world, leech)[3], 400_000);
    // What is wanted anyway makes no difference.
    world.tell(leech, |engine| engine.want_files(id, &select)).unwrap();
    assert!(is_finished(&world, leech));
}

#[test]
fn second_link_adds_its_files_before_the_metadata_is_known() {
    let sample = five();
    for (first, after) in [
        (Some("1"), [Skip, Normal, Skip, Normal, Skip]),
        // All are wanted.
        (None, [Normal; 5]),
    ] {
        let mut world = World::new(32);
        let kept = loud().with(|conf| conf.session.dir = Some("/session".into()));
        let (seed, leech) = (world.node(loud()), world.node(kept));
        world.seed_with(seed, &sample);
        let link = first.map_or(Magnet::new(sample.metainfo.identity), |f| choosing(&sample, f));
        let params = TorrentParams { source: link.into(), ..world.params(leech, &sample, &[]) };
        let id = world.add_torrent(leech, &sample, params);
        let more = choosing(&sample, "3,7").select.unwrap();
        world.tell(leech, |engine| engine.want_files(id, &more)).unwrap();
        world.run_for(secs(5));
        // It is remembered.
        world.kill(leech);
        world.restart(leech);
        let (id, addr) = (world.torrent(leech), world.addr(seed));
        world.tell(leech, |engine| engine.add_peer(id, addr)).unwrap();
        assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
        let files = world.engine(leech).files(id);
        assert_eq!(files.iter().map(|file| file.priority).collect::<Vec<_>>(), after);
    }
}
