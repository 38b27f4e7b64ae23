//! Torrents whose bytes are not in files.

use std::io::ErrorKind;

use super::*;
use crate::{
    engine::{AddError, TorrentParams},
    store::MemoryStorage,
};

fn in_memory(
    world: &World,
    node: NodeId,
    sample: &Arc<Sample>,
    peers: &[NodeId],
    limit: u64,
) -> (TorrentParams, Arc<MemoryStorage>) {
    let memory = Arc::new(MemoryStorage::new(limit));
    let storage = Some(memory.clone() as Arc<dyn crate::store::Storage>);
    (TorrentParams { storage, ..world.params(node, sample, peers) }, memory)
}

#[test]
fn download_into_memory_is_served_paused_and_resumed() {
    let files = [("a", 500_000), ("empty", 0), ("d/b", 700_001)];
    let sample = Sample::folder("t", &files, 64 * 1024, 7).unwrap();
    let mut world = World::new(1);
    let (seed, leech, late) = (world.node(loud()), world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    let (params, memory) = in_memory(&world, leech, &sample, &[seed], 2_000_000);
    let id = world.add_torrent(leech, &sample, params);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
    let bytes: Vec<u8> =
        sample.geometry().pieces().flat_map(|piece| sample.piece(piece).to_vec()).collect();
    assert_eq!(memory.file(0).unwrap(), bytes[..500_000]);
    assert_eq!(memory.file(2).unwrap(), bytes[500_000..]);
    assert_eq!((memory.used(), memory.file(1)), (1_200_001, Some(Vec::new())));

    // What is paused and looked at again is there as it was.
    world.tell(leech, |e| e.pause(id).unwrap());
    world.run_for(secs(10));
    world.tell(leech, |e| e.resume(id).unwrap());
    world.run_for(secs(10));
    let have = sample.geometry().piece_count();
    assert_eq!(world.stats(leech).have, have);
    world.tell(leech, |e| e.recheck(id).unwrap());
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
    assert_eq!(world.bytes_read(leech, seed) / 1_200_001, 1, "nothing was fetched twice");

    world.download(late, &sample, &[leech]);
    assert!(world.run_until(|w| w.is_complete(late), secs(60)), "{:?}", world.stats(late));
    assert_eq!(world.disk(leech).paths().len(), 0);
    world.tell(leech, |e| e.remove_with_data(id).unwrap());
    world.run_for(secs(10));
    assert_eq!(memory.used(), 0);
}

#[test]
fn torrent_beyond_the_limit_of_its_memory_is_told_so() {
    let sample = file(1_000_000, 64 * 1024);
    let mut world = World::new(1);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    let (params, memory) = in_memory(&world, leech, &sample, &[seed], 999_999);
    world.add_torrent(leech, &sample, params);
    world.run_for(secs(20));
    let is_full = |alert: &Alert| {
        matches!(alert, Alert::StorageFailed { error, .. }
            if error.source.kind() == ErrorKind::StorageFull
                && error.to_string().contains("exceed 999999"))
    };
    assert!(world.told(leech, is_full).is_some(), "{:?}", world.alerts(leech));
    assert_eq!(memory.used(), 0);
}

#[test]
fn torrent_in_memory_is_in_no_other_ones_way_and_in_no_session() {
    let sample = file(100_000, 64 * 1024);
    let same_name = Sample::file("data-100000", 100_000, 32 * 1024, 8).unwrap();
    let mut world = World::new(1);
    let node = world.node(loud());
    world.download(node, &sample, &[]);
    let (params, _) = in_memory(&world, node, &same_name, &[], 1 << 20);
    world.add_torrent(node, &same_name, params);
    let kept = world.node(loud().with(|conf| conf.session.dir = Some("/session".into())));
    let (params, _) = in_memory(&world, kept, &sample, &[], 1 << 20);
    let refused = world.try_add_torrent(kept, &sample, params);
    assert!(matches!(refused, Err(AddError::OwnStorage)), "{refused:?}");
}
