//! Torrents whose files are all gone at once, as when a drive is not mounted: they stop, touch
//! nothing, and go on when the files are back.

use std::path::Path;

use super::*;
use crate::{engine::TorrentParams, wire::tracker::AnnounceEvent};

fn kept() -> Conf {
    loud().with(|conf| {
        conf.session.dir = Some("/session".into());
        conf.storage.save_interval = secs(1);
    })
}

fn place(world: &World, node: NodeId) -> std::path::PathBuf {
    world.params(node, &file(1000, 16384), &[]).dir
}

fn is_missing(world: &World, node: NodeId) -> bool {
    world.is_in(node, Phase::Missing)
}

fn was_told(world: &World, node: NodeId) -> usize {
    world.alerts(node).iter().filter(|(_, alert)| matches!(alert, Alert::DataGone { .. })).count()
}

/// Nothing was made where the files should be.
fn is_untouched(world: &World, node: NodeId) -> bool {
    let place = place(world, node);
    !world.disk(node).paths().iter().any(|path| path.starts_with(&place))
}

/// A seed that keeps its session and tells a tracker, and that tracker.
fn tracked_seed(world: &mut World, sample: &Arc<Sample>) -> (NodeId, TrackerId) {
    let tracker = world.tracker();
    let node = world.node(kept());
    let trackers = Some(vec![vec![world.tracker_url(tracker)]]);
    let params = TorrentParams { trackers, ..world.params(node, sample, &[]) };
    world.put_pieces(node, sample, &Bitfield::all(sample.geometry().piece_count()));
    world.add_torrent(node, sample, params);
    assert!(world.run_until(|w| w.is_complete(node) && !w.told_to(tracker).is_empty(), secs(30)));
    world.run_for(secs(3));
    (node, tracker)
}

fn events(world: &World, tracker: TrackerId) -> Vec<AnnounceEvent> {
    world.told_to(tracker).iter().map(|told| told.event).collect()
}

fn restart(world: &mut World, node: NodeId) {
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    world.kill(node);
    world.run_for(secs(1));
    world.restart(node);
}

#[test]
fn sleeping_seed_without_its_drive_does_not_announce() {
    for with_folder in [false, true] {
        let sample = file(500_000, 32 * 1024);
        let mut world = World::new(1);
        let (seed, tracker) = tracked_seed(&mut world, &sample);
        world.tell(seed, |engine| engine.shutdown());
        assert!(world.run_until(|w| w.engine(seed).is_drained(), secs(60)));
        world.kill(seed);
        let (disk, place) = (world.disk(seed), place(&world, seed));
        disk.take_away(&place, with_folder);
        world.run_for(secs(1));
        let before = world.told_to(tracker).len();
        world.restart(seed);
        let leech = world.node(loud());
        world.run_for(secs(5));
        assert!(is_missing(&world, seed), "{:?}", world.stats(seed));
        world.download(leech, &sample, &[seed]);
        world.run_for(secs(600));
        assert_eq!((world.told_to(tracker).len(), was_told(&world, seed)), (before, 1));
        assert!(
            world.stats(leech).have == 0
                && world.stats(seed).peers == 0
                && is_untouched(&world, seed)
        );
        disk.bring_back(&place);
        assert!(
            world.run_until(|w| w.is_in(seed, Phase::Seeding), secs(70)),
            "{:?}",
            world.stats(seed)
        );
        let addr = world.addr(seed);
        world.tell(leech, |engine| engine.add_peer(engine.torrents()[0], addr)).unwrap();
        assert!(world.run_until(|w| w.is_complete(leech), secs(2000)), "{:?}", world.stats(seed));
        assert!(world.told_to(tracker).len() > before);
        assert!(world.told(seed, |a| matches!(a, Alert::StorageRecovered { .. })).is_some());
    }
}

#[test]
fn idle_seed_whose_drive_goes_says_so_to_its_tracker() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(2);
    let (seed, tracker) = tracked_seed(&mut world, &sample);
    let (disk, place) = (world.disk(seed), place(&world, seed));
    disk.take_away(&place, false);
    world.run_for(secs(2000));
    assert!(is_missing(&world, seed) && is_untouched(&world, seed));
    assert_eq!(events(&world, tracker), [AnnounceEvent::Started, AnnounceEvent::Stopped]);
    disk.bring_back(&place);
    assert!(world.run_until(|w| w.is_in(seed, Phase::Seeding), secs(70)));
}

#[test]
fn seed_whose_drive_goes_stops_at_the_first_read() {
    let sample = file(2_000_000, 32 * 1024);
    let mut world = World::new(3);
    let (seed, _) = tracked_seed(&mut world, &sample);
    let leech = world.node(loud());
    world.set_line(seed, Line { bandwidth: 200_000, ..Line::default() });
    world.download(leech, &sample, &[seed]);
    world.run_for(secs(3));
    let (disk, place) = (world.disk(seed), place(&world, seed));
    disk.take_away(&place, false);
    assert!(world.run_until(|w| is_missing(w, seed), secs(10)), "{:?}", world.stats(seed));
    world.run_for(secs(100));
    assert!(world.stats(seed).peers == 0 && is_untouched(&world, seed));
    // A restart changes nothing.
    restart(&mut world, seed);
    world.run_for(secs(10));
    assert!(is_missing(&world, seed) && is_untouched(&world, seed));
    disk.bring_back(&place);
    assert!(world.run_until(|w| w.is_complete(leech), secs(2000)));
}

#[test]
fn download_without_its_drive_makes_no_file_at_the_mount_point() {
    let files = [("a", 300_000), ("b", 5), ("c", 0), ("d", 700_000), ("e", 900_000)];
    for (seed, after) in [(1, 600), (2, 1500), (3, 3000), (4, 5000), (5, 7000)] {
        let sample = Sample::folder("many", &files, 32 * 1024, 5).unwrap();
        let mut world = World::new(seed);
        let remote = world.node(loud());
        world.seed_with(remote, &sample);
        let leech = world.node(kept());
        world.set_line(remote, Line { bandwidth: 200_000, ..Line::default() });
        world.download(leech, &sample, &[remote]);
        world.run_for(millis(after));
        assert!(world.stats(leech).have > 0);
        let (disk, place) = (world.disk(leech), place(&world, leech));
        disk.take_away(&place, seed % 2 == 0);
        assert!(world.run_until(|w| is_missing(w, leech), secs(60)), "{:?}", world.stats(leech));
        world.run_for(secs(100));
        assert!(is_untouched(&world, leech) && world.stats(leech).peers == 0);
        disk.bring_back(&place);
        assert!(world.run_until(|w| w.is_complete(leech), secs(600)), "{:?}", world.stats(leech));
    }
}

#[test]
fn user_may_go_on_without_the_data() {
    for anew in [false, true] {
        let sample = file(500_000, 32 * 1024);
        let mut world = World::new(4);
        let remote = world.node(loud());
        world.seed_with(remote, &sample);
        let node = world.node(kept());
        world.download(node, &sample, &[remote]);
        assert!(world.run_until(|w| w.is_complete(node), secs(60)));
        world.run_for(secs(5));
        let place = place(&world, node);
        let disk = world.disk(node);
        let id = world.torrent(node);
        if anew {
            // Nothing to do yet.
            world.tell(node, |engine| engine.download_anew(id)).unwrap();
            assert!(world.is_in(node, Phase::Seeding));
        }
        sample.files_in(&place).for_each(|(path, ..)| disk.delete(&path));
        restart(&mut world, node);
        let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
        let late = world.node(loud());
        world.download(late, &sample, &[node]);
        assert!(world.run_until(|w| is_missing(w, node), secs(60)));
        world
            .tell(node, |engine| if anew { engine.download_anew(id) } else { engine.recheck(id) })
            .unwrap();
        // It is not missed again, whenever the session ends.
        world.run_for(secs(1));
        restart(&mut world, node);
        let peer = world.addr(remote);
        let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
        world.tell(node, |engine| engine.add_peer(id, peer)).unwrap();
        assert!(world.run_until(|w| w.is_complete(node), secs(60)), "{:?}", world.stats(node));
        assert_eq!(was_told(&world, node), 1);
    }
}

#[test]
fn check_during_which_the_drive_goes_concludes_nothing() {
    for after in [10, 20, 60] {
        let sample = file(2_000_000, 32 * 1024);
        let mut world = World::new(5);
        let (seed, _) = tracked_seed(&mut world, &sample);
        let id = world.torrent(seed);
        world.set_disk_pace(
            seed,
            DiskPace { min: millis(20), max: millis(20), ..DiskPace::default() },
        );
        world.tell(seed, |engine| engine.recheck(id)).unwrap();
        assert!(world.run_until(|w| w.is_in(seed, Phase::Checking), secs(5)));
        world.run_for(millis(after));
        let (disk, place) = (world.disk(seed), place(&world, seed));
        assert!(world.is_in(seed, Phase::Checking));
        disk.take_away(&place, false);
        assert!(
            world.run_until(|w| is_missing(w, seed), secs(60)),
            "{after}: {:?}",
            world.stats(seed)
        );
        world.run_for(secs(100));
        assert!(is_untouched(&world, seed));
        disk.bring_back(&place);
        assert!(world.run_until(|w| w.is_complete(seed), secs(120)));
        assert!(world.disk(seed).has(&sample.files_in(Path::new("/node0")).next().unwrap().0));
    }
}

#[test]
fn verified_padding_without_a_file_is_not_missed() {
    let sample = Sample::folder("padded", &[("", 200_000), ("b", 100_000)], 32 * 1024, 6).unwrap();
    let mut world = World::new(6);
    let tracker = world.tracker();
    let remote = world.node(loud());
    // It has the pieces of zeroes, and nothing of the file.
    let mut zeroes = Bitfield::none(sample.geometry().piece_count());
    sample.geometry().pieces_of(0..180_000).for_each(|piece| _ = zeroes.set(piece));
    world.put_pieces(remote, &sample, &zeroes);
    let params = world.params(remote, &sample, &[]);
    world.add_torrent(remote, &sample, params);
    let node = world.node(kept());
    let trackers = Some(vec![vec![world.tracker_url(tracker)]]);
    let params = TorrentParams { trackers, ..world.params(node, &sample, &[remote]) };
    world.add_torrent(node, &sample, params);
    assert!(
        world.run_until(|w| w.stats(node).have == zeroes.count(), secs(60)),
        "{:?}",
        world.stats(node)
    );
    world.run_for(secs(3));
    world
        .disk(node)
        .paths()
        .iter()
        .filter(|path| path.ends_with("b"))
        .for_each(|path| world.disk(node).delete(path));
    world.run_for(secs(2000));
    restart(&mut world, node);
    world.run_for(secs(60));
    assert!(
        world.is_in(node, Phase::Downloading) && was_told(&world, node) == 0,
        "{:?}",
        world.stats(node)
    );
}
