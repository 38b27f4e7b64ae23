//! What is had of files that are skipped: their part file, and what becomes of it.

use super::*;
use crate::base::files::Priority::{High, Low};

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
