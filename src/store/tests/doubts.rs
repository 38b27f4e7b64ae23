//! Files of which a sync failed, and whose torrent is closed or somewhere else by the time they are
//! opened again.

use super::{
    faults::{BadDisk, torrent},
    *,
};

const STATE: &str = "/d/.cratetorrent/state";

/// A torrent that is written whole, and of which the first sync failed.
fn in_doubt() -> (Arc<BadDisk>, Runner, Fixture) {
    let disk = Arc::new(BadDisk::default());
    let (runner, t) = (Runner::new(disk.clone()), torrent());
    runner.open(&t).unwrap();
    for piece in t.all() {
        runner.write(t.run(piece)).result.unwrap();
    }
    disk.set().fail_sync = true;
    assert_eq!(runner.save(t.have(&t.all()), true).unwrap_err().op, StoreOp::Sync);
    disk.set().fail_sync = false;
    (disk, runner, t)
}

/// Whether what is found good is written again.
fn is_rewritten(disk: &BadDisk, runner: &Runner, t: &Fixture, dir: &str) -> bool {
    disk.set().now += 1;
    let now = disk.set().now;
    for piece in t.all() {
        assert!(runner.check(t.piece(piece), t.digest(piece)).unwrap());
    }
    let times = ["a", "b", "c"].map(|name| disk.set().files[&Path::new(dir).join(name)].1);
    assert!(times.iter().all(|time| *time == now) || times.iter().all(|time| *time < now));
    times[0] == now
}

#[test]
fn failed_sync_is_known_when_the_torrent_is_added_again() {
    let (disk, runner, t) = in_doubt();
    runner.close();
    disk.set().files.remove(Path::new(STATE));
    let opened = runner.open(&t).unwrap();
    assert!(opened.have.is_clear() && opened.check.is_full());
    assert!(is_rewritten(&disk, &runner, &t, "/d/torrent"));
    // Written again and synced, it is safe.
    runner.save(t.have(&t.all()), false).unwrap();
    runner.close();
    assert!(runner.open(&t).unwrap().have.is_full());
    runner.close();
    disk.set().files.remove(Path::new(STATE));
    runner.open(&t).unwrap();
    assert!(!is_rewritten(&disk, &runner, &t, "/d/torrent"));
}

#[test]
fn failed_sync_is_known_after_another_folder_was_opened() {
    let (disk, runner, mut t) = in_doubt();
    disk.set().files.remove(Path::new(STATE));
    let old = t.spec.clone();
    (t.spec.dir, t.spec.state_file) = ("/e".into(), None);
    runner.open(&t).unwrap();
    runner.close();
    t.spec = old;
    runner.open(&t).unwrap();
    assert!(is_rewritten(&disk, &runner, &t, "/d/torrent"));
}

#[test]
fn doubt_outlives_torrent_and_process_of_a_session() {
    let disk = Arc::new(BadDisk::default());
    let session = || {
        let (folder, _) = SessionFolder::open(disk.clone(), Path::new("/s"), [3; 16]).unwrap();
        let folder = Arc::new(folder);
        (folder.clone(), Runner::with_folder(disk.clone(), folder))
    };
    let mut t = torrent();
    (t.spec.in_session, t.spec.state_file) = (true, None);
    let removed = SessionRecord {
        kind: RecordKind::Removed,
        info_hash: t.spec.identity.key(),
        body: Vec::new(),
    };
    let (folder, runner) = session();
    runner.open(&t).unwrap();
    for piece in t.all() {
        runner.write(t.run(piece)).result.unwrap();
    }
    disk.set().fail_sync = true;
    assert_eq!(runner.save(t.have(&t.all()), true).unwrap_err().op, StoreOp::Sync);
    // It is removed, and the process ends.
    assert!(folder.append(std::slice::from_ref(&removed)).is_err());
    runner.close();
    disk.set().fail_sync = false;
    folder.append(std::slice::from_ref(&removed)).unwrap();
    drop((folder, runner));
    let (folder, runner) = session();
    // A state counts if its torrent is recorded; what else is said of that does not matter here.
    folder.append(&[SessionRecord { kind: RecordKind::Torrent, ..removed }]).unwrap();
    assert!(runner.open(&t).unwrap().check.is_full());
    assert!(is_rewritten(&disk, &runner, &t, "/d/torrent"));
    runner.save(t.have(&t.all()), false).unwrap();
    runner.close();
    drop((folder, runner));
    let (_folder, runner) = session();
    assert!(runner.open(&t).unwrap().have.is_full());
}

#[test]
fn file_that_is_deleted_leaves_no_doubt() {
    let (_, runner, t) = in_doubt();
    let done = runner.one(Job::Delete { torrent: KEY, spec: Box::new(t.spec.clone()) });
    assert!(matches!(done, Done::Deleted { left: None, .. }), "{done:?}");
    runner.open(&t).unwrap();
    for piece in t.all() {
        runner.write(t.run(piece)).result.unwrap();
    }
    runner.save(t.have(&t.all()), false).unwrap();
    runner.close();
    assert!(runner.open(&t).unwrap().have.is_full());
}

#[test]
fn moved_file_that_others_read_is_a_copy_of_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let t = Fixture::new(&dir.path().join("d"), 1000, &[("a", 1500), ("b", 1500)]);
    t.lay_out();
    let runner = real();
    runner.open(&t).unwrap();
    let to = dir.path().join("e");
    let spec = StoreSpec { dir: to.clone(), kept: vec![0], ..t.spec.clone() };
    let job = Job::Relocate { torrent: KEY, spec: Box::new(spec), state: None };
    assert!(matches!(runner.one(job), Done::Relocated { result: Ok(()), .. }));
    for (name, is_alone) in [("a", true), ("b", false)] {
        let name = Path::new("torrent").join(name);
        fs::write(to.join(&name), b"others").unwrap();
        let old = fs::read(t.spec.dir.join(name)).unwrap();
        assert_eq!(old != b"others", is_alone);
    }
    runner.one(Job::Tidy { torrent: KEY });
    assert!(t.spec.dir.join("torrent/a").exists());
}
