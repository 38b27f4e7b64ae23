//! Records of a session folder that fail, hang or come late: what the folder has of a torrent at
//! the next start.

use super::{
    session::{kept, recorded},
    *,
};
use crate::{
    base::ids::{Identity, TorrentId},
    engine::{MetainfoRefused, MoveMode, TorrentParams},
    wire::{magnet::Magnet, metainfo::Format},
};

fn set_fails(world: &World, node: NodeId, fails: bool) {
    world.disk(node).set(|troubles| troubles.fail_writes = fails);
}

fn has_failed(world: &World, node: NodeId) -> bool {
    world.told(node, |alert| matches!(alert, Alert::SessionFailed { .. })).is_some()
}

fn was_removed(world: &World, node: NodeId) -> bool {
    world.told(node, |alert| matches!(alert, Alert::Removed { .. })).is_some()
}

/// The torrent is removed, and no torrent is there at the next start.
fn stays_removed(world: &mut World, node: NodeId) {
    assert!(world.run_until(|w| was_removed(w, node), secs(300)));
    world.run_for(secs(60));
    kill_and_restart(world, node);
    assert_eq!(world.engine(node).torrents(), []);
}

fn kill_and_restart(world: &mut World, node: NodeId) {
    world.kill(node);
    world.run_for(millis(1));
    world.restart_unchecked(node);
}

fn shut_down(world: &mut World, node: NodeId) {
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
}

/// Adds a torrent by a link with this hash of it.
fn add_link(world: &mut World, node: NodeId, sample: &Sample, identity: Identity) -> TorrentId {
    let params = TorrentParams::new(sample.metainfo.clone(), "/download");
    let params = TorrentParams { source: Magnet::new(identity).into(), ..params };
    world.allow_folder(node, "/download");
    world.tell(node, |engine| engine.add_torrent(params)).unwrap()
}

fn hybrid() -> Arc<Sample> {
    Sample::folder_of(Format::Hybrid, "folder", &[("a", 5), ("b", 40_000)], 16_384, 3).unwrap()
}

/// A hybrid that was added by the link of its version 2, and is recorded so.
fn by_v2_link(seed: u64) -> (World, NodeId, TorrentId, Arc<Sample>) {
    let sample = hybrid();
    let mut world = World::new(seed);
    let node = world.node(kept());
    let identity = Identity::of_v2(sample.metainfo.identity.v2().unwrap());
    let id = add_link(&mut world, node, &sample, identity);
    assert!(world.run_until(|w| recorded(w, node) == 1, secs(30)));
    (world, node, id, sample)
}

/// Has the removal of a torrent fail once, and hang when it is tried again.
fn hang_removal(world: &mut World, node: NodeId, id: TorrentId) {
    world.run_for(millis(1));
    set_fails(world, node, true);
    let since = world.now();
    world.tell(node, |engine| engine.remove(id)).unwrap();
    let failed = |w: &World| {
        let is_late = |(at, alert): &(Instant, Alert)| {
            *at >= since && matches!(alert, Alert::SessionFailed { .. })
        };
        w.alerts(node).iter().any(is_late)
    };
    assert!(world.run_until(failed, secs(60)));
    set_fails(world, node, false);
    world.hang_disk(node, secs(100));
    world.run_for(secs(65));
    assert!(!was_removed(world, node));
}

#[test]
fn magnet_removed_takes_no_metainfo_and_stays_removed() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(1);
    let node = world.node(kept());
    let id = add_link(&mut world, node, &sample, sample.metainfo.identity);
    assert!(world.run_until(|w| recorded(w, node) == 1, secs(30)));
    hang_removal(&mut world, node, id);
    let refused = world.tell(node, |engine| engine.set_metainfo(id, sample.metainfo.clone()));
    assert_eq!(refused, Err(MetainfoRefused::Ending(id)));
    stays_removed(&mut world, node);
}

#[test]
fn unrecorded_torrent_changed_in_its_removal_stays_removed() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(2);
    let node = world.node(kept());
    set_fails(&world, node, true);
    let id = world.download(node, &sample, &[]);
    assert!(world.run_until(|w| has_failed(w, node), secs(30)));
    hang_removal(&mut world, node, id);
    world.tell(node, |engine| engine.set_labels(id, vec!["late".into()])).unwrap();
    stays_removed(&mut world, node);
}

#[test]
fn failed_removal_of_an_older_record_keeps_the_torrent() {
    let (mut world, node, id, sample) = by_v2_link(3);
    world.tell(node, |engine| engine.set_metainfo(id, sample.metainfo.clone())).unwrap();
    assert!(world.run_until(|w| recorded(w, node) == 2, secs(30)));
    set_fails(&world, node, true);
    assert!(world.run_until(|w| has_failed(w, node), secs(30)));
    set_fails(&world, node, false);
    world.run_for(secs(120));
    kill_and_restart(&mut world, node);
    let all = world.engine(node).torrents();
    assert_eq!(all.len(), 1);
    assert!(world.engine(node).metainfo(all[0]).is_some());
}

#[test]
fn shutdown_with_an_older_record_keeps_the_torrent() {
    for seed in 0..20 {
        let (mut world, node, id, sample) = by_v2_link(seed);
        set_fails(&world, node, true);
        world.tell(node, |engine| engine.set_metainfo(id, sample.metainfo.clone())).unwrap();
        assert!(world.run_until(|w| has_failed(w, node), secs(2)));
        set_fails(&world, node, false);
        shut_down(&mut world, node);
        kill_and_restart(&mut world, node);
        assert_eq!(world.engine(node).torrents().len(), 1, "seed {seed}");
    }
}

#[test]
fn shutdown_that_records_nothing_ends_with_an_older_record() {
    for seed in 0..5 {
        let (mut world, node, id, sample) = by_v2_link(seed);
        set_fails(&world, node, true);
        world.tell(node, |engine| engine.set_metainfo(id, sample.metainfo.clone())).unwrap();
        assert!(world.run_until(|w| has_failed(w, node), secs(2)));
        shut_down(&mut world, node);
        // It is as it was recorded last.
        set_fails(&world, node, false);
        kill_and_restart(&mut world, node);
        let all = world.engine(node).torrents();
        assert_eq!(all.len(), 1, "seed {seed}");
        assert!(world.engine(node).metainfo(all[0]).is_none());
    }
}

#[test]
fn torrent_removed_while_farewells_go_stays_removed() {
    let sample = file(200_000, 32 * 1024);
    for with_data in [false, true] {
        let mut world = World::new(5);
        let tracker = world.tracker();
        let node = world.node(kept());
        let tiers = vec![vec![world.tracker_url(tracker)]];
        let params = TorrentParams { trackers: Some(tiers), ..world.params(node, &sample, &[]) };
        world.put_pieces(node, &sample, &Bitfield::all(sample.geometry().piece_count()));
        let id = world.add_torrent(node, &sample, params);
        assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) > 0, secs(30)));
        world.run_for(secs(5));
        world.set_tracker_manners(tracker, TrackerManners::Silent);
        world.tell(node, |engine| engine.shutdown());
        world.run_for(millis(500));
        assert!(!world.engine(node).is_drained());
        if with_data {
            world.tell(node, |engine| engine.remove_with_data(id)).unwrap();
        } else {
            world.tell(node, |engine| engine.remove(id)).unwrap();
        }
        assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
        assert!(was_removed(&world, node));
        kill_and_restart(&mut world, node);
        assert_eq!(world.engine(node).find(sample.metainfo.info_hash()), None);
    }
}

#[test]
fn twin_of_a_removed_magnet_stays_when_its_metainfo_comes() {
    let sample = hybrid();
    let mut world = World::new(7);
    let node = world.node(kept());
    let identity = sample.metainfo.identity;
    let one = add_link(&mut world, node, &sample, Identity::of_v1(identity.v1().unwrap()));
    let two = add_link(&mut world, node, &sample, Identity::of_v2(identity.v2().unwrap()));
    assert!(world.run_until(|w| recorded(w, node) == 2, secs(30)));
    let refused = world.tell(node, |engine| {
        engine.remove(one).unwrap();
        engine.set_metainfo(one, sample.metainfo.clone())
    });
    assert_eq!(refused, Err(MetainfoRefused::Ending(one)));
    assert!(world.run_until(|w| was_removed(w, node), secs(30)));
    assert_eq!(world.engine(node).torrents(), [two]);
}

/// The twin that is kept gets the metainfo while the one that is removed is still there.
fn merge_with_removed(seed: u64, fails: bool) {
    let sample = hybrid();
    let mut world = World::new(seed);
    let tracker = world.tracker();
    let node = world.node(kept());
    let identity = sample.metainfo.identity;
    let one = add_link(&mut world, node, &sample, Identity::of_v1(identity.v1().unwrap()));
    let two = add_link(&mut world, node, &sample, Identity::of_v2(identity.v2().unwrap()));
    let tiers = vec![vec![world.tracker_url(tracker)]];
    world.tell(node, |engine| engine.set_trackers(one, tiers)).unwrap();
    assert!(world.run_until(|w| recorded(w, node) >= 2, secs(30)));
    world.run_for(secs(5));
    if fails {
        set_fails(&world, node, true);
        world.tell(node, |engine| engine.remove(one)).unwrap();
        assert!(world.run_until(|w| has_failed(w, node), secs(60)));
        world.tell(node, |engine| engine.set_metainfo(two, sample.metainfo.clone())).unwrap();
        world.run_for(millis(10));
        set_fails(&world, node, false);
    } else {
        world.tell(node, |engine| {
            engine.remove(one).unwrap();
            engine.set_metainfo(two, sample.metainfo.clone()).unwrap();
        });
    }
    assert!(world.run_until(|w| was_removed(w, node), secs(120)));
    world.run_for(secs(120));
    let merged = |alert: &Alert| matches!(alert, Alert::Merged { .. });
    assert!(world.told(node, merged).is_none());
    assert_eq!(world.engine(node).torrents(), [two]);
    // Its trackers go with it.
    assert_eq!(world.engine(node).params(two).unwrap().trackers.unwrap_or_default().len(), 0);
    kill_and_restart(&mut world, node);
    let all = world.engine(node).torrents();
    assert_eq!(all.len(), 1);
    assert!(world.engine(node).metainfo(all[0]).is_some());
    shut_down(&mut world, node);
}

#[test]
fn removed_twin_whose_record_fails_leaves_the_other_alone() {
    merge_with_removed(11, true);
}

#[test]
fn twin_removed_in_the_same_turn_leaves_the_other_alone() {
    merge_with_removed(12, false);
}

#[test]
fn record_with_the_metainfo_wins_over_an_older_one() {
    let (mut world, node, id, sample) = by_v2_link(8);
    world.tell(node, |engine| engine.set_metainfo(id, sample.metainfo.clone())).unwrap();
    assert!(world.run_until(|w| recorded(w, node) == 2, secs(30)));
    set_fails(&world, node, true);
    shut_down(&mut world, node);
    set_fails(&world, node, false);
    kill_and_restart(&mut world, node);
    let all = world.engine(node).torrents();
    assert_eq!(all.len(), 1);
    assert!(world.engine(node).metainfo(all[0]).is_some());
    // Both records go with it.
    world.run_for(secs(5));
    world.tell(node, |engine| engine.remove(all[0])).unwrap();
    stays_removed(&mut world, node);
}

#[test]
fn move_of_an_unrecorded_torrent_saves_its_state_later() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(9);
    let node = world.node(kept());
    set_fails(&world, node, true);
    let id = world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_complete(node) && has_failed(w, node), secs(30)));
    world.allow_folder(node, "/elsewhere");
    let mode = MoveMode::FailIfExists;
    world.tell(node, |engine| engine.move_storage(id, "/elsewhere", mode)).unwrap();
    // No state goes to the folder with the move, so that it succeeds.
    let moved = |alert: &Alert| matches!(alert, Alert::StorageMoved { .. });
    assert!(world.run_until(|w| w.told(node, moved).is_some(), secs(5)));
    set_fails(&world, node, false);
    world.run_for(secs(120));
    kill_and_restart(&mut world, node);
    let all = world.engine(node).torrents();
    assert_eq!(all.len(), 1);
    let dir = world.engine(node).params(all[0]).unwrap().dir;
    assert_eq!(dir, std::path::Path::new("/elsewhere"));
    assert!(world.engine(node).have(all[0]).unwrap().is_full());
}

#[test]
fn moved_torrent_is_removed_though_its_place_is_not_recorded() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(10);
    let node = world.node(kept());
    let id = world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) > 0, secs(30)));
    world.run_for(secs(60));
    world.allow_folder(node, "/elsewhere");
    let full = |call| {
        CallFault::new(call, std::io::ErrorKind::StorageFull).times(u64::MAX).on("session.ct")
    };
    let disk = world.disk(node).clone();
    // The state goes along with the move, and the record of the place comes after it.
    disk.set(|t| t.calls = vec![full(DiskCall::Write).after(1), full(DiskCall::Save)]);
    let mode = MoveMode::FailIfExists;
    world.tell(node, |engine| engine.move_storage(id, "/elsewhere", mode)).unwrap();
    let moved = |alert: &Alert| matches!(alert, Alert::StorageMoved { .. });
    assert!(world.run_until(|w| w.told(node, moved).is_some(), secs(60)));
    world.run_for(secs(60));
    let old =
        |disk: &MemDisk| disk.paths().iter().filter(|path| path.starts_with("/node0")).count();
    assert!(old(&disk) > 0, "a kill would find the data where the record says");
    // What takes the space of the record goes with the torrent.
    world.tell(node, |engine| engine.remove_with_data(id)).unwrap();
    let gone = |alert: &Alert| matches!(alert, Alert::DataDeleted { .. });
    assert!(world.run_until(|w| w.told(node, gone).is_some(), secs(300)));
    assert_eq!(old(&disk), 0);
    disk.set(|t| t.calls.clear());
    stays_removed(&mut world, node);
}
