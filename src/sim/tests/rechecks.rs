//! Rechecks that wait for their turn: a restart does not forget them, and files that go meanwhile
//! are missed.

use std::path::{Path, PathBuf};

use super::{
    version_agreement::{contradicts, hybrid, lying},
    *,
};
use crate::{
    base::{ids::TorrentId, storage::Trust},
    wire::metainfo::Format,
};

/// One check at a time.
fn one_by_one() -> Conf {
    loud().with(|conf| {
        conf.queue.max_active_checks = 1;
        conf.storage.save_interval = secs(1);
    })
}

fn phase(world: &World, node: NodeId, id: TorrentId) -> Phase {
    world.engine(node).stats(id).unwrap().phase
}

fn count(world: &World, node: NodeId, is: impl Fn(&Alert) -> bool) -> usize {
    world.alerts(node).iter().filter(|(_, alert)| is(alert)).count()
}

fn is_gone(alert: &Alert) -> bool {
    matches!(alert, Alert::DataGone { .. })
}

fn is_untouched(world: &World, node: NodeId, place: &Path) -> bool {
    !world.disk(node).paths().iter().any(|path| path.starts_with(place))
}

/// A session with two whole torrents at rest, both of which are to be checked, when the session
/// ends or is killed. The second, which waits for its turn, has a byte that is spoilt.
fn stopped_while_one_waits(orderly: bool) -> (World, NodeId, Arc<Sample>) {
    let [first, second] =
        [1, 2].map(|n| Sample::file(&format!("r{n}"), 1_000_000, 32 * 1024, n).unwrap());
    let mut world = World::new(1);
    let node = world.node(one_by_one().with(|conf| conf.session.dir = Some("/session".into())));
    let ids = [&first, &second].map(|sample| world.seed_with(node, sample));
    assert!(world.run_until(|w| w.is_complete(node), secs(30)));
    world.run_for(secs(5));
    ids.iter().for_each(|&id| world.tell(node, |engine| engine.pause(id)).unwrap());
    world.run_for(secs(5));
    // No date tells of it, so the saved state would be believed.
    let path = world.engine(node).files(ids[1]).into_iter().find_map(|file| file.path).unwrap();
    world.disk(node).rot(&path, 1);
    let slow = DiskPace { min: millis(20), max: millis(20), ..DiskPace::default() };
    world.set_disk_pace(node, slow);
    let recorded = |w: &World| count(w, node, |a| matches!(a, Alert::Recorded { .. }));
    let before = recorded(&world);
    world.tell(node, |engine| {
        ids.iter().for_each(|&id| engine.recheck(id).unwrap());
    });
    if orderly {
        world.tell(node, |engine| engine.shutdown());
        assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    } else {
        assert!(world.run_until(|w| recorded(w) > before + 1, secs(5)));
        assert_eq!(phase(&world, node, ids[1]), Phase::Paused);
    }
    world.kill(node);
    world.run_for(millis(1));
    (world, node, second)
}

#[test]
fn recheck_that_waits_for_its_turn_outlives_a_restart() {
    for orderly in [true, false] {
        let (mut world, node, sample) = stopped_while_one_waits(orderly);
        world.restart(node);
        let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
        assert_eq!(world.engine(node).params(id).unwrap().trust, Trust::Nothing, "{orderly}");
        // It is done before anything is served.
        world.tell(node, |engine| engine.resume(id)).unwrap();
        assert!(world.run_until(|w| phase(w, node, id) == Phase::Downloading, secs(60)));
        let lacks = sample.geometry().piece_count() - world.engine(node).have(id).unwrap().count();
        assert_eq!(lacks, 1);
        world.run_for(secs(5));
        assert_eq!(world.engine(node).params(id).unwrap().trust, Trust::State);
    }
}

#[test]
fn recheck_that_outlives_a_restart_misses_its_drive() {
    for orderly in [true, false] {
        let (mut world, node, sample) = stopped_while_one_waits(orderly);
        let (disk, place) = (world.disk(node), PathBuf::from("/node0"));
        disk.take_away(&place, false);
        world.restart(node);
        let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
        world.tell(node, |engine| engine.resume(id)).unwrap();
        world.run_for(secs(100));
        assert_eq!(count(&world, node, is_gone), 1);
        assert!(phase(&world, node, id) == Phase::Missing && is_untouched(&world, node, &place));
        disk.bring_back(&place);
        assert!(world.run_until(|w| phase(w, node, id) == Phase::Downloading, secs(120)));
        assert!(world.engine(node).have(id).unwrap().count() > 0);
    }
}

/// The files of the second torrent of a node go while it waits for the check of the first, which
/// `peer` was the cause of: it misses them.
fn misses_files_that_go_in_line(world: &mut World, node: NodeId, peer: NodeId, sample: &Sample) {
    let (first, id) = (world.torrent(node), world.engine(node).torrents()[1]);
    let slow = DiskPace { min: millis(300), max: millis(300), ..DiskPace::default() };
    world.set_disk_pace(node, slow);
    world.tell(node, |engine| engine.recheck(first)).unwrap();
    assert!(world.run_until(|w| phase(w, node, first) == Phase::Checking, secs(5)));
    let addr = world.addr(peer);
    world.tell(node, |engine| engine.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| phase(w, node, id) == Phase::Opening, secs(30)));
    world.run_for(secs(1));
    let place = PathBuf::from(format!("/node{}", node.0)).join(&sample.metainfo.name);
    let disk = world.disk(node);
    disk.take_away(&place, true);
    assert_eq!(
        (phase(world, node, first), phase(world, node, id)),
        (Phase::Checking, Phase::Opening)
    );
    world.set_disk_pace(node, DiskPace::default());
    world.run_for(secs(100));
    assert_eq!(count(world, node, is_gone), 1);
    assert!(phase(world, node, id) == Phase::Missing && is_untouched(world, node, &place));
    disk.bring_back(&place);
}

/// A node that takes long to check its torrent.
fn busy(world: &mut World) -> NodeId {
    let node = world.node(one_by_one());
    world.seed_with(node, &Sample::file("busy", 4_000_000, 32 * 1024, 9).unwrap());
    assert!(world.run_until(|w| w.is_complete(node), secs(30)));
    node
}

#[test]
fn files_that_go_before_layers_are_used_are_missed() {
    let files = [("a", 5), ("b", 500_000)];
    let sample = Sample::folder_of(Format::V2, "two", &files, 16_384, 3).unwrap();
    let lacking = sample.without_layers();
    let mut world = World::new(2);
    let (node, rich) = (busy(&mut world), world.node(loud()));
    world.seed_with(rich, &sample);
    // The check passes all but one piece over.
    let id = world.seed_with(node, &lacking);
    world.run_for(secs(5));
    assert_eq!(world.engine(node).have(id).unwrap().count(), 1);
    misses_files_that_go_in_line(&mut world, node, rich, &sample);
    assert!(world.run_until(|w| w.is_complete(node), secs(200)), "{:?}", world.stats_of(node));
    assert_eq!(world.engine(node).stats(id).unwrap().downloaded, 0);
}

#[test]
fn files_that_go_before_a_contradiction_is_found_are_missed() {
    let (one, other) = (hybrid(1), hybrid(2));
    let wrong = lying(&one, &other);
    let v2 = other.with_metainfo(wrong.metainfo.clone()).as_v2();
    let mut world = World::new(3);
    let node = busy(&mut world);
    let [slow, rich] = std::array::from_fn(|_| world.node(loud()));
    world.set_line(slow, Line { bandwidth: 20_000, ..Line::default() });
    world.seed_with(slow, &one.as_v1());
    world.seed_with(rich, &v2);
    let id = world.download(node, &wrong.without_layers(), &[slow]);
    let have = |w: &World| w.engine(node).have(id).unwrap().count();
    assert!(world.run_until(|w| have(w) > 8, secs(60)));
    world.run_for(secs(2));
    misses_files_that_go_in_line(&mut world, node, rich, &wrong);
    assert!(world.run_until(|w| w.told(node, contradicts).is_some(), secs(200)));
}
