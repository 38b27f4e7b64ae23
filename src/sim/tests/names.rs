//! What files are called, and torrents of very many files, from the user's side.

use super::*;
use crate::{base::ids::TorrentId, engine::TorrentParams};

fn told(world: &World, node: NodeId) -> Vec<(usize, usize, String)> {
    let names = |(_, alert): &(_, Alert)| match alert {
        Alert::NamesChanged { files, first, path, .. } => {
            Some((*files, *first, path.display().to_string()))
        }
        _ => None,
    };
    world.alerts(node).iter().filter_map(names).collect()
}

fn paths(world: &World, node: NodeId) -> Vec<String> {
    let name = |stats: crate::engine::FileStats| {
        stats.path.unwrap().file_name().unwrap().to_str().unwrap().to_owned()
    };
    world.engine(node).files(world.torrent(node)).into_iter().map(name).collect()
}

/// A seed, and a leech with the same torrent.
fn pair(world: &mut World, sample: &Arc<Sample>) -> (NodeId, TorrentId) {
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seeder, sample);
    let params: TorrentParams = world.params(leech, sample, &[seeder]);
    let id = world.add_torrent(leech, sample, params);
    (leech, id)
}

#[cfg(unix)]
#[test]
fn download_keeps_the_exact_names_that_the_disk_takes() {
    let names = ["aux.c", "etc.", " lead", "README", "readme"];
    let sample = Sample::folder("t", &names.map(|name| (name, 40_000)), 16 * 1024, 1).unwrap();
    let mut world = World::new(1);
    let (leech, _) = pair(&mut world, &sample);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
    assert_eq!(paths(&world, leech), names);
    assert_eq!(told(&world, leech), []);
}

#[test]
fn changed_name_is_told_once() {
    let sample = Sample::file("a\tb", 40_000, 16 * 1024, 1).unwrap();
    let mut world = World::new(1);
    let node = world.node(loud());
    let params = world.params(node, &sample, &[]);
    let id = world.add_torrent(node, &sample, params);
    world.run_for(secs(1));
    world.tell(node, |engine| engine.recheck(id)).unwrap();
    world.run_for(secs(1));
    assert_eq!(paths(&world, node), ["a_b"]);
    assert_eq!(told(&world, node), [(1, 0, "a_b".into())]);
}

#[test]
fn saving_of_a_thousand_files_tells_how_far_it_is() {
    let names: Vec<String> = (0..1000).map(|n| format!("{n}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 100)).collect();
    let sample = Sample::folder("many", &files, 16 * 1024, 1).unwrap();
    let mut world = World::new(1);
    let (leech, _) = pair(&mut world, &sample);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
    world.run_for(secs(30));
    let saving = |(_, alert): &(_, Alert)| match alert {
        Alert::Saving { done, total, .. } => Some((*done, *total)),
        _ => None,
    };
    let alerts = world.alerts(leech);
    let steps: Vec<_> = alerts.iter().filter_map(saving).collect();
    assert!(
        steps.windows(2).all(|w| w[0].0 < w[1].0 || w[1].0 == 256) && steps.contains(&(256, 1000)),
        "{steps:?}"
    );
    let last = alerts.iter().rposition(|(_, a)| matches!(a, Alert::Saving { .. })).unwrap();
    assert!(alerts[last..].iter().any(|(_, a)| matches!(a, Alert::Saved { .. })));
}
