//! Two torrents with one path: the second is refused, or reads what the first has and writes
//! nothing of it.

use std::path::Path;

use super::*;
use crate::{
    base::ids::TorrentId,
    engine::{AddError, MoveMode, TorrentParams},
    store::Disk,
};

const PATH: &str = "/home/t/a";

/// Torrents of one name: the same file `a`, and another `b`, or nothing in common but the name.
fn samples() -> [Arc<Sample>; 3] {
    let folder =
        |files: &[(&str, u64)], piece_len| Sample::folder("t", files, piece_len, 3).unwrap();
    let first = folder(&[("a", 100_000), ("b", 50_000)], 16 * 1024);
    // The same bytes of `a`, since they come first from the same numbers; the last piece has some
    // of `c`.
    let second = folder(&[("a", 100_000), ("c", 30_000)], 32 * 1024);
    [first, second, folder(&[("d/e", 70_000), ("a", 90_000)], 16 * 1024)]
}

fn params(world: &World, node: NodeId, sample: &Arc<Sample>, peers: &[NodeId]) -> TorrentParams {
    let state = format!("/home/.cratetorrent/{}", sample.metainfo.info_hash());
    let params = world.params(node, sample, peers);
    TorrentParams { dir: "/home".into(), state_file: Some(state.into()), ..params }
}

struct Home {
    world: World,
    seeds: [NodeId; 3],
    leech: NodeId,
    samples: [Arc<Sample>; 3],
}

impl Home {
    fn new(seed: u64) -> Self {
        let (mut world, samples) = (World::new(seed), samples());
        let seeds = samples.each_ref().map(|sample| {
            let node = world.node(loud());
            world.seed_with(node, sample);
            node
        });
        let leech = world.node(loud());
        world.allow_folder(leech, "/home");
        Self { world, seeds, leech, samples }
    }

    fn add(&mut self, nth: usize) -> TorrentId {
        let (sample, seed) = (self.samples[nth].clone(), self.seeds[nth]);
        let params = params(&self.world, self.leech, &sample, &[seed]);
        self.world.add_torrent(self.leech, &sample, params)
    }

    fn is_refused(&mut self, nth: usize) -> AddError {
        let sample = self.samples[nth].clone();
        let params = params(&self.world, self.leech, &sample, &[]);
        self.world.tell(self.leech, |engine| engine.add_torrent(params)).unwrap_err()
    }

    fn is_whole(&self, nth: usize) -> bool {
        let hash = self.samples[nth].metainfo.info_hash();
        let engine = self.world.engine(self.leech);
        let stats = engine.find(hash).and_then(|id| engine.stats(id));
        stats.is_some_and(|stats| {
            stats.phase == Phase::Seeding && stats.have_bytes == stats.total_bytes
        })
    }

    fn gets(&mut self, nth: usize) -> bool {
        let hash = self.samples[nth].metainfo.info_hash();
        let leech = self.leech;
        self.world.run_until(
            |w| {
                let engine = w.engine(leech);
                let stats = engine.find(hash).and_then(|id| engine.stats(id));
                stats.is_some_and(|s| s.phase == Phase::Seeding && s.have_bytes == s.total_bytes)
            },
            secs(60),
        )
    }
}

#[test]
fn second_torrent_with_a_taken_path_is_refused_by_name() {
    let mut home = Home::new(1);
    let first = home.add(0);
    // Not done: it is not known yet what will be in the file.
    for nth in [1, 2] {
        let error = home.is_refused(nth);
        let AddError::PathTaken { path, torrent, .. } = &error else { panic!("{error}") };
        assert_eq!((path.as_path(), *torrent), (Path::new(PATH), first));
        assert_eq!(
            error.to_string(),
            r#"/home/t/a belongs to the torrent "t", and "t" would write to it"#
        );
    }
    assert!(home.gets(0));
    // Another length.
    assert!(matches!(home.is_refused(2), AddError::PathTaken { .. }));
}

#[test]
fn file_of_another_torrent_is_read_and_never_written_or_deleted() {
    for with_data in [false, true] {
        let mut home = Home::new(2);
        let first = home.add(0);
        assert!(home.gets(0));
        home.world.run_for(secs(6));
        let disk = home.world.disk(home.leech);
        let before = disk.stat(Path::new(PATH)).unwrap();
        let second = home.add(1);
        let told =
            home.world.told(home.leech, |a| matches!(a, Alert::FilesShared { files: 1, .. }));
        assert!(told.is_some());
        assert!(home.gets(1), "what it lacks is fetched");
        home.world.run_for(secs(6));
        assert_eq!(disk.stat(Path::new(PATH)).unwrap(), before);
        // Three pieces of `a` alone were found there.
        let stats = home.world.engine(home.leech).stats(second).unwrap();
        assert_eq!(stats.downloaded, 130_000 - 3 * 32 * 1024);

        let (gone, left, other) =
            if with_data { (second, 0, "/home/t/c") } else { (first, 1, "/home/t/b") };
        home.world.tell(home.leech, |engine| engine.remove_with_data(gone)).unwrap();
        home.world.run_for(secs(2));
        assert!(disk.has(Path::new(PATH)) && !disk.has(Path::new(other)));
        assert!(home.is_whole(left));
        // It belongs to the one that is left now.
        let id = if left == 0 { first } else { second };
        home.world.tell(home.leech, |engine| engine.remove_with_data(id)).unwrap();
        home.world.run_for(secs(2));
        assert!(!disk.has(Path::new(PATH)));
    }
}

#[test]
fn torrent_does_not_move_to_a_path_of_another() {
    let mut home = Home::new(3);
    home.add(0);
    let sample = home.samples[2].clone();
    let elsewhere = home.world.params(home.leech, &sample, &[home.seeds[2]]);
    let id = home.world.add_torrent(home.leech, &sample, elsewhere);
    for mode in [MoveMode::FailIfExists, MoveMode::Adopt] {
        home.world.tell(home.leech, |engine| engine.move_storage(id, "/home", mode)).unwrap();
    }
    let dir = home.world.engine(home.leech).dir(id).unwrap().to_owned();
    assert_ne!(dir, Path::new("/home"));
    let told = home.world.alerts(home.leech).iter();
    let failed = told
        .filter(|(_, a)| matches!(a, Alert::StorageMoveFailed { torrent, .. } if *torrent == id));
    assert_eq!(failed.count(), 2);
    assert!(home.gets(0) && home.gets(2));
}

#[test]
fn moved_torrent_leaves_what_others_read_and_makes_room() {
    let mut home = Home::new(4);
    let first = home.add(0);
    assert!(home.gets(0));
    home.add(1);
    assert!(home.gets(1));
    home.world.allow_folder(home.leech, "/else");
    let mode = MoveMode::FailIfExists;
    home.world.tell(home.leech, |engine| engine.move_storage(first, "/else", mode)).unwrap();
    home.world.run_for(secs(2));
    let disk = home.world.disk(home.leech);
    assert!(disk.has(Path::new(PATH)) && disk.has(Path::new("/else/t/a")));
    assert!(disk.has(Path::new("/else/t/b")) && !disk.has(Path::new("/home/t/b")));
    assert!(home.is_whole(0) && home.is_whole(1));
}
