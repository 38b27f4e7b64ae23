//! Other programs at a torrent's files while it is served or fetched: edited, cut off, taken away,
//! made longer.

use super::*;

fn kept() -> Conf {
    loud().with(|conf| {
        conf.session.dir = Some("/session".into());
        conf.storage.save_interval = secs(1);
    })
}

/// A seed of files `a` and `b`, and a leech on a slow line that has fetched some of them.
fn begun(seed: u64) -> (World, NodeId, NodeId, Arc<Sample>) {
    let sample =
        Sample::folder("two", &[("a", 1_000_000), ("b", 1_000_000)], 32 * 1024, 5).unwrap();
    let mut world = World::new(seed);
    let from = world.node(kept());
    world.seed_with(from, &sample);
    assert!(world.run_until(|w| w.is_complete(from), secs(30)));
    world.run_for(secs(3));
    let leech = world.node(loud());
    world.set_line(from, Line { bandwidth: 200_000, ..Line::default() });
    world.download(leech, &sample, &[from]);
    world.run_for(secs(3));
    assert!((5..40).contains(&world.stats(leech).have), "{:?}", world.stats(leech));
    (world, from, leech, sample)
}

#[test]
fn file_edited_while_it_is_served_is_checked_first() {
    for seed in 0..5 {
        let (mut world, from, leech, sample) = begun(seed);
        let disk = world.disk(from);
        disk.set_now(world.now());
        disk.edit(&world.params(from, &sample, &[]).dir.join("two/b"), 3);
        let total = sample.geometry().piece_count();
        world.run_for(secs(60));
        let (stats, fetched) = (world.stats(from), world.stats(leech));
        assert!((1..=3).contains(&(total - stats.have)), "{stats:?}");
        // What was there before is still there, and nothing wrong was sent.
        assert!(fetched.have >= stats.have && fetched.failed_pieces == 0, "{fetched:?}");
        assert!(banned(&world, leech).is_empty());
        assert!(world.told(from, |a| matches!(a, Alert::Distrusted { .. })).is_some());
    }
}

#[test]
fn file_cut_off_while_it_is_served_is_not_advertised() {
    let (mut world, from, leech, sample) = begun(7);
    let dir = world.params(from, &sample, &[]).dir;
    let (path, _, bytes) = sample.files_in(&dir).last().unwrap();
    world.disk(from).put(&path, &bytes[..500_000]);
    let late = world.node(loud());
    world.run_for(secs(60));
    world.download(late, &sample, &[from]);
    world.run_for(secs(60));
    let (stats, fetched) = (world.stats(from), world.stats(late));
    // It takes back what the first leech has of it, and no more.
    assert!((44..60).contains(&stats.have) && fetched.have == stats.have, "{stats:?} {fetched:?}");
    assert_eq!(stats.have, world.stats(leech).have);
    assert_eq!((world.stats(leech).failed_pieces, fetched.failed_pieces), (0, 0));
    // It did so on the connection that there was (BEP 54).
    let connected = |(_, a): &&(_, Alert)| matches!(a, Alert::PeerConnected { .. });
    // To the seed and to the late leech.
    assert_eq!(world.alerts(leech).iter().filter(connected).count(), 2);
}

#[test]
fn file_taken_away_while_it_is_served_is_not_advertised() {
    let (mut world, from, leech, sample) = begun(8);
    let (path, ..) = sample.files_in(&world.params(from, &sample, &[]).dir).last().unwrap();
    world.disk(from).delete(&path);
    world.run_for(secs(60));
    let (stats, fetched) = (world.stats(from), world.stats(leech));
    assert!((30..60).contains(&stats.have) && stats.have == fetched.have, "{stats:?} {fetched:?}");
    assert!(world.is_in(from, Phase::Downloading) && fetched.failed_pieces == 0);
}

#[test]
fn file_taken_away_while_it_is_fetched_is_fetched_again() {
    for seed in 0..5 {
        let (mut world, _, leech, sample) = begun(20 + seed);
        let dir = world.params(leech, &sample, &[]).dir;
        let (path, ..) = sample.files_in(&dir).next().unwrap();
        world.disk(leech).delete(&path);
        assert!(world.run_until(|w| w.is_complete(leech), secs(200)), "{:?}", world.stats(leech));
        for (path, _, bytes) in sample.files_in(&dir) {
            assert_eq!(world.disk(leech).content(&path).as_deref(), Some(bytes), "seed {seed}");
        }
        assert!(world.told(leech, |a| matches!(a, Alert::Distrusted { .. })).is_some());
    }
}

#[test]
fn file_replaced_while_it_is_fetched_is_fetched_again() {
    for seed in 0..5 {
        let (mut world, _, leech, sample) = begun(30 + seed);
        let dir = world.params(leech, &sample, &[]).dir;
        let (path, _, bytes) = sample.files_in(&dir).next().unwrap();
        world.disk(leech).replace(&path, &vec![0xA5; bytes.len()]);
        assert!(world.run_until(|w| w.is_complete(leech), secs(200)), "{:?}", world.stats(leech));
        world.run_for(secs(60));
        assert!(world.run_until(|w| w.is_complete(leech), secs(200)), "{:?}", world.stats(leech));
        for (path, _, bytes) in sample.files_in(&dir) {
            assert_eq!(world.disk(leech).content(&path).as_deref(), Some(bytes), "seed {seed}");
        }
        assert!(world.told(leech, |a| matches!(a, Alert::Distrusted { .. })).is_some());
    }
}

#[test]
fn file_written_anew_with_the_same_bytes_is_served_on() {
    let (mut world, from, leech, sample) = begun(9);
    let dir = world.params(from, &sample, &[]).dir;
    let (path, _, bytes) = sample.files_in(&dir).last().unwrap();
    world.disk(from).set_now(world.now());
    world.disk(from).put(&path, bytes);
    assert!(world.run_until(|w| w.is_complete(leech), secs(120)));
    assert!(world.is_in(from, Phase::Seeding));
    // What was found is known from then on.
    let opened = |w: &World| {
        w.alerts(from).iter().filter(|(_, a)| matches!(a, Alert::Opened { .. })).count()
    };
    let before = opened(&world);
    world.run_for(secs(100));
    let late = world.node(loud());
    world.download(late, &sample, &[from]);
    assert!(world.run_until(|w| w.is_complete(late), secs(60)));
    assert_eq!(opened(&world), before);
}

#[test]
fn file_that_became_longer_has_its_length_when_it_is_complete() {
    let (mut world, from, leech, sample) = begun(10);
    let dirs = [from, leech].map(|node| world.params(node, &sample, &[]).dir);
    let len = |world: &World, node: NodeId, dir: &std::path::Path| {
        let lens =
            sample.files_in(dir).map(|(path, ..)| world.disk(node).content(&path).unwrap().len());
        lens.collect::<Vec<_>>()
    };
    world.disk(leech).set_now(world.now());
    world.disk(leech).lengthen(&dirs[1], 2_000_000);
    assert!(world.run_until(|w| w.is_complete(leech), secs(120)));
    world.run_for(secs(2));
    assert_eq!(len(&world, leech, &dirs[1]), [1_000_000, 1_000_000]);
    // A seed leaves them, and says so when it opens them.
    world.disk(from).set_now(world.now());
    world.disk(from).lengthen(&dirs[0], 1000);
    let id = world.torrent(from);
    world.tell(from, |engine| engine.recheck(id)).unwrap();
    let is = |a: &Alert| matches!(a, Alert::FilesTooLong { files, .. } if *files == [0, 1]);
    assert!(world.run_until(|w| w.told(from, is).is_some(), secs(60)));
    world.run_for(secs(5));
    assert!(world.is_in(from, Phase::Seeding));
    assert_eq!(len(&world, from, &dirs[0]), [1_001_000, 1_001_000]);
}
