//! Choosing among a torrent's files while it runs.

use std::path::{Path, PathBuf};

use super::*;
use crate::{
    base::{
        files::Priority::{self, High, Low, Normal, Skip},
        ids::TorrentId,
    },
    engine::{AddError, FileError, MoveMode, TorrentParams},
    store::Disk as _,
    wire::magnet::{FileSelection, Magnet},
};

/// Five files that share pieces at their borders, one of them within a piece.
fn five() -> Arc<Sample> {
    Sample::folder(
        "five",
        &[("a", 300_000), ("b", 200_000), ("c", 10_000), ("d/d", 400_000), ("e", 250_000)],
        64 * 1024,
        5,
    )
    .unwrap()
}

/// A seed and a leech with these wishes.
fn pair(
    world: &mut World,
    sample: &Arc<Sample>,
    wishes: &[Priority],
) -> (NodeId, NodeId, TorrentId) {
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seeder, sample);
    let params =
        TorrentParams { priorities: wishes.to_vec(), ..world.params(leech, sample, &[seeder]) };
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

/// The files below a node's download folder, but for the state.
fn on_disk(world: &World, node: NodeId) -> Vec<String> {
    let dir = world.params(node, &five(), &[]).dir;
    let below = |path: PathBuf| path.strip_prefix(&dir).ok().map(|path| path.display().to_string());
    world
        .disk(node)
        .paths()
        .into_iter()
        .filter_map(below)
        .filter(|path| !path.ends_with(".resume"))
        .collect()
}

fn parts(world: &World, node: NodeId) -> PathBuf {
    let sample = five();
    world
        .params(node, &sample, &[])
        .dir
        .join(format!(".cratetorrent/{}.parts", sample.metainfo.info_hash()))
}

fn opened(world: &World, node: NodeId) -> (u32, u32) {
    let opened = |a: &Alert| {
        if let Alert::Opened { have, to_check, .. } = a { Some((*have, *to_check)) } else { None }
    };
    world.alerts(node).iter().rev().find_map(|(_, a)| opened(a)).unwrap()
}

/// A leech that has b and e and is finished.
fn partial(seed: u64) -> (World, NodeId, NodeId, TorrentId) {
    let sample = five();
    let mut world = World::new(seed);
    let (seeder, leech, id) = pair(&mut world, &sample, &[Skip, Normal, Skip, Skip]);
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
    world.run_for(secs(1));
    (world, seeder, leech, id)
}

#[test]
fn skipped_file_is_not_made_and_its_parts_are_served() {
    let (mut world, seeder, leech, _) = partial(1);
    let names = on_disk(&world, leech);
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(world.disk(leech).has(&parts(&world, leech)));
    assert!(names.contains(&"five/b".into()) && names.contains(&"five/e".into()), "{names:?}");

    world.kill(leech);
    world.restart(leech);
    assert!(
        world.run_until(|w| w.is_in(leech, Phase::Seeding), secs(5)),
        "{:?}",
        world.stats(leech)
    );
    assert_eq!(opened(&world, leech), (9, 0));

    // Whole pieces are served, with what is in the part file.
    world.set_cut(seeder, true);
    let other = world.node(loud());
    let sample = five();
    world.download(other, &sample, &[leech]);
    assert!(world.run_until(|w| w.stats(other).have == 9, secs(60)), "{:?}", world.stats(other));
    world.set_cut(seeder, false);

    // All is wanted: the parts go into their files.
    let id = world.torrent(leech);
    wish(&mut world, leech, &[]);
    assert!(world.run_until(|w| !w.disk(leech).has(&parts(w, leech)), secs(5)));
    assert!(world.run_until(|w| w.is_complete(leech), secs(400)), "{:?}", world.stats(leech));
    let downloaded = world.stats(leech).downloaded;
    assert!(downloaded < 9 * 65_536 + 16_384, "{downloaded}: what was kept is not fetched again");
    for (path, _, bytes) in sample.files_in(&world.params(leech, &sample, &[]).dir) {
        assert!(world.disk(leech).holds(&path, 0, bytes));
    }
    world.tell(leech, |engine| engine.recheck(id)).unwrap();
    assert!(world.run_until(|w| w.is_in(leech, Phase::Checking), secs(5)));
    assert!(world.run_until(|w| w.is_complete(leech), secs(5)), "{:?}", world.stats(leech));
}

#[test]
fn lost_or_changed_part_file_loses_only_its_pieces() {
    for change in [false, true] {
        let (mut world, _, leech, _) = partial(2);
        world.kill(leech);
        let (disk, path) = (world.disk(leech), parts(&world, leech));
        world.run_for(secs(300));
        if change {
            let len = disk.content(&path).unwrap().len();
            disk.put(&path, &vec![7; len]);
        } else {
            disk.delete(&path);
        }
        world.restart(leech);
        assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
        // b shares its first piece and its last, e its first.
        assert_eq!(opened(&world, leech), (6, if change { 3 } else { 0 }));
        assert_eq!(world.stats(leech).downloaded, 3 * 65_536);
        // While it runs it is for a recheck to find out.
        disk.delete(&path);
        let id = world.torrent(leech);
        world.tell(leech, |engine| engine.recheck(id)).unwrap();
        assert!(world.run_until(|w| w.is_in(leech, Phase::Checking), secs(5)));
        assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
    }
}

#[test]
fn a_recheck_finds_what_was_deleted_whatever_is_wanted() {
    let (mut world, _, leech, id) = partial(3);
    let sample = five();
    let disk = world.disk(leech);
    disk.delete(&world.params(leech, &sample, &[]).dir.join("five/b"));
    world.tell(leech, |engine| engine.pause(id)).unwrap();
    world.tell(leech, |engine| engine.recheck(id)).unwrap();
    assert!(
        world.run_until(|w| w.is_in(leech, Phase::Paused), secs(5)),
        "{:?}",
        world.stats(leech)
    );
    assert_eq!((world.stats(leech).have, finishes(&world, leech)), (5, 1));
    world.tell(leech, |engine| engine.resume(id)).unwrap();
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
    assert!(disk.holds(
        &world.params(leech, &sample, &[]).dir.join("five/b"),
        0,
        &sample.data[300_000..500_000]
    ));
}

#[test]
fn a_kill_while_wishes_change_loses_nothing_that_was_there() {
    for seed in 0..60 {
        let (mut world, seeder, leech, _) = partial(seed);
        let mut rng = crate::base::rng::Rng::new(seed);
        world.set_disk_pace(
            leech,
            DiskPace {
                min: millis(1),
                max: millis(30),
                bandwidth: 5_000_000,
                ..DiskPace::default()
            },
        );
        world.set_listening(seeder, false);
        wish(&mut world, leech, &[Normal, Normal, High, Low]);
        world.run_for(millis(rng.below(120)));
        world.kill(leech);
        if seed % 3 == 0 {
            world.disk(leech).lose_power();
        }
        world.run_for(secs(1));
        world.restart(leech);
        assert!(
            world.run_until(|w| w.is_in(leech, Phase::Downloading), secs(10)),
            "{:?}",
            world.stats(leech)
        );
        world.run_for(secs(1));
        assert_eq!(world.stats(leech).have, 9, "seed {seed}");
        assert!(!world.disk(leech).has(&parts(&world, leech)), "seed {seed}");
        world.set_listening(seeder, true);
        assert!(
            world.run_until(|w| w.is_complete(leech), secs(300)),
            "seed {seed}: {:?}",
            world.stats(leech)
        );
    }
}

#[test]
fn parts_that_cannot_become_files_are_served_and_retried() {
    let (mut world, _, leech, _) = partial(4);
    world.disk(leech).set(|t| t.read_only = true);
    wish(&mut world, leech, &[]);
    assert!(world.run_until(|w| w.is_in(leech, Phase::Stalled), secs(5)));
    let other = world.node(loud());
    world.download(other, &five(), &[leech]);
    assert!(world.run_until(|w| w.stats(other).have == 9, secs(60)), "{:?}", world.stats(other));
    world.disk(leech).set(|t| t.read_only = false);
    assert!(world.run_until(|w| w.is_complete(leech), secs(200)), "{:?}", world.stats(leech));
}

#[test]
fn skipped_file_on_disk_is_checked_and_served() {
    let sample = five();
    let mut world = World::new(13);
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seeder, &sample);
    let params = TorrentParams {
        priorities: vec![Skip, Skip, Skip, Skip],
        ..world.params(leech, &sample, &[seeder])
    };
    let disk = world.disk(leech);
    // d is there, but for what it shares with e.
    let d = params.dir.join("five/d/d");
    disk.put(&d, &sample.data[510_000..13 * 65_536]);
    world.add_torrent(leech, &sample, params);
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
    // Pieces 8 to 12 are wholly d's, 13 is shared with e.
    assert_eq!(world.stats(leech).have, 10);
    assert!(disk.holds(&d, 0, &sample.data[510_000..910_000]));
    assert!(!disk.has(&parts(&world, leech)));
    let other = world.node(loud());
    world.download(other, &sample, &[leech]);
    assert!(world.run_until(|w| w.stats(other).have == 10, secs(60)), "{:?}", world.stats(other));
}

fn moved(world: &World, node: NodeId) -> bool {
    world.told(node, |a| matches!(a, Alert::StorageMoved { .. })).is_some()
}

#[test]
fn a_torrent_moves_while_it_is_fetched_and_served() {
    let sample = five();
    for (seed, links) in [(1, true), (2, false)] {
        let mut world = World::new(seed);
        let (seeder, leech, id) = pair(&mut world, &sample, &[Normal, Normal, Skip, Low, Skip]);
        for node in [seeder, leech] {
            world.disk(node).set(|t| t.no_links = !links);
        }
        assert!(world.run_until(|w| w.stats(leech).have > 2, secs(30)));
        let from = world.torrent(seeder);
        world
            .tell(leech, |engine| engine.move_storage(id, "/elsewhere", MoveMode::FailIfExists))
            .unwrap();
        world
            .tell(seeder, |engine| {
                engine.move_storage(from, "/other/place", MoveMode::FailIfExists)
            })
            .unwrap();
        assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
        world.run_for(secs(1));
        assert!(moved(&world, leech) && moved(&world, seeder));
        for node in [seeder, leech] {
            assert_eq!(on_disk(&world, node), [""; 0]);
        }
        assert!(
            world
                .disk(leech)
                .stat(&world.params(leech, &sample, &[]).dir.join("five"))
                .unwrap()
                .is_none()
        );
        assert!(world.disk(leech).holds(
            Path::new("/elsewhere/five/b"),
            0,
            &sample.data[300_000..500_000]
        ));
        assert_eq!(world.engine(leech).dir(id), Some(Path::new("/elsewhere")));

        // It is known there.
        world.kill(leech);
        world.restart(leech);
        assert!(world.run_until(|w| w.is_in(leech, Phase::Seeding), secs(5)));
        assert_eq!(opened(&world, leech).1, 0);
    }
}

#[test]
fn move_onto_existing_files_is_refused_and_rolled_back() {
    let (mut world, _, leech, id) = partial(5);
    let before = on_disk(&world, leech);
    world.disk(leech).put(Path::new("/elsewhere/five/d/d"), b"mine");
    world
        .tell(leech, |engine| engine.move_storage(id, "/elsewhere", MoveMode::FailIfExists))
        .unwrap();
    world.run_for(secs(1));
    assert!(
        world.told(leech, |a| matches!(a, Alert::StorageMoveFailed { .. })).is_some()
            && !moved(&world, leech)
    );
    assert_eq!(on_disk(&world, leech), before);
    let there: Vec<_> =
        world.disk(leech).paths().into_iter().filter(|p| p.starts_with("/elsewhere")).collect();
    assert_eq!(there, [Path::new("/elsewhere/five/d/d")]);
    wish(&mut world, leech, &[]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(300)), "{:?}", world.stats(leech));
}

#[test]
fn kill_during_a_move_leaves_the_torrent_in_one_place() {
    let mut places = [0, 0];
    for seed in 0..80 {
        let (mut world, _, leech, id) = partial(seed);
        let mut rng = crate::base::rng::Rng::new(seed);
        world.disk(leech).set(|t| t.no_links = seed % 2 == 0);
        world.set_disk_pace(
            leech,
            DiskPace {
                min: millis(1),
                max: millis(10),
                bandwidth: 50_000_000,
                ..DiskPace::default()
            },
        );
        world
            .tell(leech, |engine| engine.move_storage(id, "/elsewhere", MoveMode::FailIfExists))
            .unwrap();
        world.run_for(millis(rng.below(30)));
        world.kill(leech);
        world.run_for(secs(1));
        world.restart(leech);
        assert!(
            world.run_until(|w| w.is_in(leech, Phase::Seeding), secs(10)),
            "seed {seed}: {:?}",
            world.stats(leech)
        );
        assert_eq!((world.stats(leech).have, world.stats(leech).downloaded), (9, 0), "seed {seed}");
        let dir = world.engine(leech).dir(world.torrent(leech)).unwrap().to_owned();
        places[usize::from(dir == Path::new("/elsewhere"))] += 1;
    }
    assert!(places[0] > 10 && places[1] > 10, "{places:?}");
}

#[test]
fn files_in_another_folder_are_adopted_and_checked() {
    let sample = five();
    let (mut world, _, leech, id) = partial(6);
    let disk = world.disk(leech);
    sample.files_in(Path::new("/mine")).for_each(|(path, _, bytes)| disk.put(&path, bytes));
    world.tell(leech, |engine| engine.move_storage(id, "/mine", MoveMode::Adopt)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(10)), "{:?}", world.stats(leech));
    assert_eq!((moved(&world, leech), on_disk(&world, leech).len()), (true, 3));
}

#[test]
fn a_file_is_renamed_before_it_is_there_and_after() {
    let sample = five();
    let mut world = World::new(7);
    let (_, leech, id) = pair(&mut world, &sample, &[Normal, Skip]);
    let rename = |world: &mut World, file, to: &str| {
        world.tell(leech, |engine| engine.rename_file(id, file, to))
    };
    rename(&mut world, 3, "new/folder/f").unwrap();
    assert!(world.run_until(|w| w.stats(leech).have > 4, secs(30)));
    rename(&mut world, 0, "five/d/a").unwrap();
    rename(&mut world, 4, "./E").unwrap();
    for (wrong, why) in [
        ("../x", "below"),
        ("/x", "below"),
        ("five/c", "taken"),
        ("five/c/x", "taken"),
        ("new", "taken"),
    ] {
        let e = rename(&mut world, 4, wrong).unwrap_err();
        assert!(e.to_string().contains(why), "{wrong}: {e}");
    }
    assert!(world.run_until(|w| is_finished(w, leech), secs(60)), "{:?}", world.stats(leech));
    world.run_for(secs(1));
    rename(&mut world, 3, "five/d/d").unwrap();
    world.run_for(secs(1));
    let mut names = on_disk(&world, leech);
    names.retain(|name| !name.starts_with('.'));
    assert_eq!(names, ["E", "five/c", "five/d/a", "five/d/d"]);
    let told =
        world.alerts(leech).iter().filter(|(_, a)| matches!(a, Alert::FileRenamed { .. })).count();
    assert_eq!((told, world.engine(leech).renames(id).len()), (4, 3));
    assert!(
        world
            .disk(leech)
            .stat(&world.params(leech, &sample, &[]).dir.join("new"))
            .unwrap()
            .is_none()
    );

    world.kill(leech);
    world.restart(leech);
    assert!(world.run_until(|w| w.is_in(leech, Phase::Seeding), secs(5)));
    assert_eq!(opened(&world, leech).1, 0);
    // A file of another program is not taken.
    let id = world.torrent(leech);
    world.disk(leech).put(&world.params(leech, &sample, &[]).dir.join("taken"), b"mine");
    world.tell(leech, |engine| engine.rename_file(id, 0, "taken")).unwrap();
    world.run_for(secs(1));
    assert!(world.told(leech, |a| matches!(a, Alert::FileRenameFailed { file: 0, .. })).is_some());
    assert!(world.disk(leech).holds(
        &world.params(leech, &sample, &[]).dir.join("taken"),
        0,
        b"mine"
    ));
}

#[test]
fn remove_with_data_deletes_only_the_torrents_files() {
    for (seed, pause) in [(8, 0), (9, 15), (10, 40), (11, 2000)] {
        let sample = five();
        let mut world = World::new(seed);
        let (_, leech, id) = pair(&mut world, &sample, &[Normal, Normal, Skip, Normal, Skip]);
        let dir = world.params(leech, &sample, &[]).dir;
        world.disk(leech).put(&dir.join("five/d/mine"), b"mine");
        world.run_for(millis(pause));
        world.tell(leech, |engine| engine.remove_with_data(id)).unwrap();
        world.run_for(secs(2));
        assert_eq!(world.disk(leech).paths(), [dir.join("five/d/mine")], "after {pause} ms");
        assert!(world.disk(leech).stat(&dir.join(".cratetorrent")).unwrap().is_none());
        assert!(world.told(leech, |a| matches!(a, Alert::DataDeleted { .. })).is_some());
        assert!(world.told(leech, |a| matches!(a, Alert::Removed { .. })).is_some());
    }
}

#[test]
fn remove_with_data_waits_for_a_move_and_follows_it() {
    let (mut world, _, leech, id) = partial(12);
    world
        .tell(leech, |engine| engine.move_storage(id, "/elsewhere", MoveMode::FailIfExists))
        .unwrap();
    world.tell(leech, |engine| engine.remove(id)).unwrap();
    world.tell(leech, |engine| engine.remove_with_data(id)).unwrap();
    world.run_for(secs(2));
    assert!(world.disk(leech).paths().is_empty(), "{:?}", world.disk(leech).paths());
}

#[test]
fn adoption_claims_no_pieces_of_the_old_folder() {
    let sample = file(400_000, 16 * 1024);
    for step in 1..20 {
        let mut world = World::new(step);
        let seed = world.node(loud());
        world.seed_with(seed, &sample);
        let leech = world.node(loud());
        world.set_disk_pace(
            leech,
            DiskPace { min: millis(30), max: millis(90), ..DiskPace::default() },
        );
        world.download(leech, &sample, &[seed]);
        let id = world.torrent(leech);
        assert!(world.run_until(|w| u64::from(w.stats(leech).have) >= step, secs(60)));
        // The world holds every claim against the disk of the node that makes it.
        world.allow_folder(leech, "/elsewhere");
        world.tell(leech, |engine| engine.move_storage(id, "/elsewhere", MoveMode::Adopt)).unwrap();
        let moved =
            |w: &World| w.told(leech, |a| matches!(a, Alert::StorageMoved { .. })).is_some();
        assert!(
            world.run_until(|w| moved(w) && w.is_complete(leech), secs(60)),
            "{:?}",
            world.stats(leech)
        );
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
