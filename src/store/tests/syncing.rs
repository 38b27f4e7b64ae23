//! Making very many files safe: some at a time, each one once, and none vouched for whose sync
//! failed.

use super::{faults::BadDisk, *};

const FILES: u32 = 600;

fn many() -> (Arc<BadDisk>, Runner, Fixture) {
    let names: Vec<String> = (0..FILES).map(|n| format!("{n:03}")).collect();
    let files: Vec<_> = names.iter().map(|name| (name.as_str(), 1000)).collect();
    let fixture = Fixture::new(Path::new("/d"), 1000, &files);
    let disk = Arc::new(BadDisk::default());
    let runner = Runner::new(disk.clone());
    runner.open(&fixture).unwrap();
    for piece in fixture.all() {
        runner.write(fixture.run(piece)).result.unwrap();
    }
    (disk, runner, fixture)
}

fn state(fixture: &Fixture) -> Box<SaveState> {
    let have = fixture.have(&fixture.all());
    Box::new(SaveState { downloaded: 11, uploaded: 22, ..SaveState::new(have) })
}

fn save(runner: &Runner, state: Box<SaveState>, synced: usize) -> Done {
    runner.one(Job::Save { torrent: KEY, state, synced })
}

#[test]
fn many_files_are_synced_some_at_a_time_and_saved_at_the_end() {
    let (disk, runner, fixture) = many();
    let (mut next, mut steps) = ((state(&fixture), 0), Vec::new());
    while let Done::Syncing { state, synced, files, .. } = save(&runner, next.0, next.1) {
        assert_eq!(disk.set().syncs, synced as u32);
        assert!(
            !disk.set().files.contains_key(Path::new("/d/.cratetorrent/state")),
            "saved before its data"
        );
        steps.push((synced, files));
        next = (state, synced);
    }
    assert_eq!(steps, [(256, 600), (512, 600)]);
    assert_eq!(disk.set().syncs, FILES);
    let opened = Runner::new(disk.copy()).open(&fixture).unwrap();
    assert!(opened.have.is_full() && opened.check.is_clear());
    // Nothing was written since: nothing is to be synced.
    assert!(matches!(save(&runner, state(&fixture), 0), Done::Saved { result: Ok(()), .. }));
    assert_eq!(disk.set().syncs, FILES);
}

#[test]
fn file_whose_sync_failed_among_many_is_not_vouched_for() {
    let (disk, runner, fixture) = many();
    let Done::Syncing { state: first, synced, .. } = save(&runner, state(&fixture), 0) else {
        panic!()
    };
    disk.set().fail_sync = true;
    let Done::Saved { result: Err(error), .. } = save(&runner, first, synced) else { panic!() };
    assert_eq!(error.op, StoreOp::Sync);
    disk.set().fail_sync = false;
    let mut next = (state(&fixture), 0);
    while let Done::Syncing { state, synced, .. } = save(&runner, next.0, next.1) {
        next = (state, synced);
    }
    let opened = Runner::new(disk.copy()).open(&fixture).unwrap();
    // Those before, and those that were not tried; the 256 between are to be checked.
    assert_eq!((opened.have.count(), opened.check.count()), (FILES - 256, 256));
}

#[test]
fn sync_that_is_not_answered_has_failed() {
    let (disk, runner, fixture) = many();
    disk.set().answers_none = true;
    let Done::Saved { result: Err(error), .. } = save(&runner, state(&fixture), 0) else {
        panic!()
    };
    assert_eq!(error.op, StoreOp::Sync);
}

#[test]
fn real_files_are_synced_side_by_side_with_an_answer_each() {
    let dir = tempfile::tempdir().unwrap();
    let paths: Vec<_> = (0..50).map(|n| dir.path().join(n.to_string())).collect();
    for path in paths.iter().filter(|path| !path.ends_with("7")) {
        fs::write(path, b"data").unwrap();
    }
    let paths: Vec<_> = paths.iter().map(|path| path.as_path()).collect();
    let results = RealDisk::new(4).sync_many(&paths);
    assert_eq!(results.len(), 50);
    for (nth, result) in results.iter().enumerate() {
        assert_eq!(result.is_err(), nth == 7, "{nth}: {result:?}");
    }
    assert!(RealDisk::new(4).sync_many(&[]).is_empty());
}
