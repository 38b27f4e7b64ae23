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
