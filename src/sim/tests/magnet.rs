//! Torrents that are added by a magnet link and get their metainfo later, from their user.

use super::*;
use crate::{
    base::{ids::TorrentId, storage::Trust},
    engine::{MetainfoRefused, MoveMode, TorrentParams, Verbs},
    wire::{magnet::Magnet, metainfo::Metainfo},
};

/// A sample whose nodes have no bytes of the metainfo to give to others.
fn untold(len: u64, piece_len: u32) -> Arc<Sample> {
    let sample = file(len, piece_len);
    let metainfo = Arc::new(Metainfo { raw: None, ..Metainfo::clone(&sample.metainfo) });
    sample.with_metainfo(metainfo)
}

fn link(sample: &Sample) -> Magnet {
    Magnet { name: Some("a link".into()), ..Magnet::new(sample.metainfo.identity) }
}

fn by_link(world: &World, node: NodeId, sample: &Arc<Sample>, peers: &[NodeId]) -> TorrentParams {
    TorrentParams { source: link(sample).into(), ..world.params(node, sample, peers) }
}

fn count(world: &World, node: NodeId, is: impl Fn(&Alert) -> bool) -> usize {
    world.alerts(node).iter().filter(|(_, alert)| is(alert)).count()
}

#[test]
fn magnet_torrent_waits_connected_until_its_metainfo_comes() {
    let (sample, other) = (untold(2_000_000, 64 * 1024), file(100_000, 32 * 1024));
    let mut world = World::new(1);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    let params = by_link(&world, leech, &sample, &[seed]);
    let id = world.add_torrent(leech, &sample, params);
    assert!(world.run_until(|w| w.stats(leech).peers == 1, secs(30)));
    world.run_for(secs(300));
    let stats = world.stats(leech);
    assert_eq!((stats.phase, stats.peers, stats.pieces), (Phase::Metadata, 1, 0));
    let refused = world.tell(leech, |e| e.set_metainfo(id, other.metainfo.clone()));
    assert_eq!(refused, Err(MetainfoRefused::OtherTorrent(id)));
    world.tell(leech, |e| e.set_metainfo(id, sample.metainfo.clone())).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    // On the connection that was there.
    assert_eq!(count(&world, leech, |a| matches!(a, Alert::PeerConnected { .. })), 1);
    let again = world.tell(leech, |e| e.set_metainfo(id, sample.metainfo.clone()));
    assert_eq!(again, Err(MetainfoRefused::Known(id)));
}

#[test]
fn magnet_torrent_rests_lets_its_peers_go_and_comes_back() {
    let sample = untold(500_000, 32 * 1024);
    let mut world = World::new(2);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    let params = by_link(&world, leech, &sample, &[seed]);
    let id = world.add_torrent(leech, &sample, params);
    assert!(world.run_until(|w| w.stats(leech).peers == 1, secs(30)));
    world.tell(leech, |e| e.pause(id).unwrap());
    assert_eq!((world.stats(leech).phase, world.stats(leech).peers), (Phase::Paused, 0));
    // The metainfo may come meanwhile.
    world.tell(leech, |e| e.set_metainfo(id, sample.metainfo.clone())).unwrap();
    world.run_for(secs(10));
    assert_eq!((world.stats(leech).phase, world.stats(leech).peers), (Phase::Paused, 0));
    world.tell(leech, |e| e.resume(id).unwrap());
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
}

#[test]
fn magnet_torrent_is_restored_before_and_after_its_metainfo() {
    let (sample, silent) = (file(500_000, 32 * 1024), untold(500_000, 32 * 1024));
    let kept = loud().with(|conf| conf.session.dir = Some("/session".into()));
    let mut world = World::new(3);
    let (seed, leech) = (world.node(loud()), world.node(kept));
    world.seed_with(seed, &silent);
    let params = by_link(&world, leech, &sample, &[seed]);
    world.add_torrent(leech, &sample, params);
    let recorded = |w: &World| count(w, leech, |a| matches!(a, Alert::Recorded { .. }));
    assert!(world.run_until(|w| recorded(w) == 1, secs(30)));
    world.kill(leech);
    world.restart(leech);
    let id = world.engine(leech).find(sample.metainfo.info_hash()).unwrap();
    assert_eq!(world.stats(leech).phase, Phase::Metadata);
    assert!(world.run_until(|w| w.stats(leech).peers == 1, secs(60)));
    let before = recorded(&world);
    world.tell(leech, |e| e.set_metainfo(id, sample.metainfo.clone())).unwrap();
    assert!(world.run_until(|w| recorded(w) > before, secs(30)));
    world.kill(leech);
    world.restart(leech);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
}

/// What the user says before the metainfo is known counts when it has come.
fn magnet_torrent_is_checked_when_told_to(verb: impl Fn(&mut Verbs<'_>, TorrentId)) {
    let (sample, silent) = (file(500_000, 32 * 1024), untold(500_000, 32 * 1024));
    let mut world = World::new(6);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &silent);
    let params = by_link(&world, leech, &sample, &[seed]);
    let id = world.add_torrent(leech, &sample, params);
    let complete = |w: &World| w.is_complete(leech);
    world.tell(leech, |e| e.set_metainfo(id, sample.metainfo.clone())).unwrap();
    assert!(world.run_until(complete, secs(60)));
    world.run_for(secs(60));
    let path = world.engine(leech).files(id).into_iter().find_map(|file| file.path).unwrap();
    world.kill(leech);
    // No date tells of it, so the saved state would be believed.
    world.disk(leech).rot(&path, 1);
    world.restart(leech);
    let id = world.torrent(leech);
    assert_eq!(world.stats(leech).phase, Phase::Metadata);
    world.tell(leech, |e| verb(e, id));
    world.run_for(secs(1));
    assert_eq!((world.stats(leech).phase, world.stats(leech).peers), (Phase::Metadata, 1));
    world.tell(leech, |e| e.set_metainfo(id, sample.metainfo.clone())).unwrap();
    let checked = |alert: &Alert| matches!(alert, Alert::Checked { have: 15, .. });
    assert!(world.run_until(|w| w.told(leech, checked).is_some(), secs(60)));
    assert!(world.run_until(complete, secs(60)));
}

cases! { magnet_torrent_is_checked_when_told_to:
    recheck_of_a_magnet_torrent_is_done_when_its_metainfo_comes =>
        |engine, id| engine.recheck(id).unwrap();
    magnet_torrent_that_adopts_a_folder_checks_all_of_it =>
        |engine, id| engine.move_storage(id, "/node1", MoveMode::Adopt).unwrap();
}

#[test]
fn recheck_of_a_magnet_torrent_outlives_the_process() {
    let sample = untold(500_000, 32 * 1024);
    let mut world = World::new(7);
    let node = world.node(loud().with(|conf| conf.session.dir = Some("/session".into())));
    let params = by_link(&world, node, &sample, &[]);
    let id = world.add_torrent(node, &sample, params);
    let trust = |w: &World| {
        let engine = w.engine(node);
        let id = engine.find(sample.metainfo.info_hash()).unwrap();
        engine.params(id).unwrap().trust
    };
    world.run_for(secs(1));
    assert_eq!(trust(&world), Trust::State);
    world.tell(node, |e| e.recheck(id)).unwrap();
    world.run_for(secs(1));
    world.kill(node);
    world.restart(node);
    assert_eq!((world.stats(node).phase, trust(&world)), (Phase::Metadata, Trust::Nothing));
}

#[test]
fn names_that_do_not_fit_a_magnet_torrent_are_told() {
    let sample = untold(500_000, 32 * 1024);
    for (names, failed) in [(&[(0, "a.iso"), (9, "b")][..], 2), (&[(0, "a.iso")], 0)] {
        let mut world = World::new(8);
        let node = world.node(loud());
        let mut params = by_link(&world, node, &sample, &[]);
        params.renames = names.iter().map(|&(file, path)| (file, path.into())).collect();
        let id = world.add_torrent(node, &sample, params);
        world.tell(node, |engine| engine.set_metainfo(id, sample.metainfo.clone())).unwrap();
        world.run_for(secs(1));
        let is_told = |alert: &Alert| matches!(alert, Alert::FileRenameFailed { .. });
        assert_eq!(count(&world, node, is_told), failed);
        let used = world.engine(node).params(id).unwrap().renames.len();
        assert_eq!(used, names.len() - failed);
    }
}

#[test]
fn magnet_torrent_is_removed_and_has_no_data_to_delete() {
    let sample = untold(500_000, 32 * 1024);
    for with_data in [false, true] {
        let mut world = World::new(4);
        let node = world.node(loud());
        let params = by_link(&world, node, &sample, &[]);
        let id = world.add_torrent(node, &sample, params);
        world.run_for(secs(1));
        world
            .tell(node, |e| if with_data { e.remove_with_data(id) } else { e.remove(id) })
            .unwrap();
        let removed = |w: &World| w.told(node, |a| matches!(a, Alert::Removed { .. })).is_some();
        assert!(world.run_until(removed, secs(10)));
        assert_eq!(world.engine(node).stats(id), None);
        assert_eq!(
            count(&world, node, |a| matches!(a, Alert::DataDeleted { .. })),
            usize::from(with_data)
        );
    }
}
