//! Moving, adopting, renaming and deleting a torrent's files.

use std::path::Path;

use super::*;
use crate::{base::files::Priority::Low, engine::MoveMode, store::Disk as _};

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
