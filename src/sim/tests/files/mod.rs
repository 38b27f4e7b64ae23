//! The files of a torrent while it runs: which are wanted, where their parts lie, and where they
//! are moved. Here is what these tests have in common.

mod choosing;
mod moving;
mod part_files;

use std::path::PathBuf;

use super::*;
use crate::{
    base::{
        files::Priority::{self, Normal, Skip},
        ids::TorrentId,
    },
    engine::TorrentParams,
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
