//! Files that other programs have changed, made longer, or that may not be written: what is done to
//! them, and what is recorded.

use super::{
    faults::{BadDisk, torrent},
    *,
};

fn bad() -> (Arc<BadDisk>, Runner) {
    let disk = Arc::new(BadDisk::default());
    (disk.clone(), Runner::new(disk))
}

/// The state of a torrent that has everything.
fn whole(t: &Fixture) -> SaveState {
    SaveState::new(t.have(&t.all()))
}

fn append(disk: &BadDisk, name: &str, bytes: usize) {
    let mut inner = disk.set();
    let file = inner.files.entry(Path::new("/d/torrent").join(name)).or_default();
    let len = file.0.len() + bytes;
    file.0.resize(len, 0xA5);
}

fn len(disk: &BadDisk, name: &str) -> usize {
    disk.set().files[&Path::new("/d/torrent").join(name)].0.len()
}

fn write(t: &Fixture, runner: &Runner, pieces: &[u32]) {
    for &index in pieces {
        assert_eq!(runner.write(t.run(index)).result.unwrap(), Verdict::Good);
    }
}

#[test]
fn longer_file_is_cut_once_it_is_complete() {
    let (disk, runner) = bad();
    let t = torrent();
    // Some were there before us.
    append(&disk, "c", 5000);
    append(&disk, "empty", 7);
    assert_eq!(runner.open(&t).unwrap().too_long, [1, 4]);
    write(&t, &runner, &[0]);
    append(&disk, "a", 900);
    runner.save(t.have(&[0]), true).unwrap();
    assert_eq!(len(&disk, "c"), 5000, "not complete");
    write(&t, &runner, &[1, 2]);
    append(&disk, "a", 50);
    runner.save(t.have(&[0, 1, 2]), true).unwrap();
    assert_eq!((len(&disk, "a"), len(&disk, "c")), (1500, 5000));
    write(&t, &runner, &[3, 4]);
    runner.save(t.have(&t.all()), false).unwrap();
    assert_eq!(["a", "empty", "b", "c"].map(|name| len(&disk, name)), [1500, 0, 700, 2100]);
    // It is as it was saved.
    let opened = runner.open(&t).unwrap();
    assert!(opened.have.is_full() && opened.too_long.is_empty());
}

#[test]
fn longer_file_of_a_seed_is_told_of_and_left() {
    for trust in [Trust::State, Trust::Files] {
        let (disk, runner) = bad();
        let mut t = torrent();
        runner.open(&t).unwrap();
        write(&t, &runner, &t.all());
        runner.save(t.have(&t.all()), false).unwrap();
        append(&disk, "c", 5);
        t.spec.trust = trust;
        assert_eq!(runner.open(&t).unwrap().too_long, [4]);
        runner.save(t.have(&t.all()), false).unwrap();
        assert_eq!(len(&disk, "c"), 2105);
    }
}

#[test]
fn skipped_file_is_not_cut() {
    let (disk, runner) = bad();
    let mut t = torrent();
    append(&disk, "a", 1600);
    t.spec.skipped = vec![true];
    runner.open(&t).unwrap();
    write(&t, &runner, &t.all());
    runner.save(t.have(&t.all()), false).unwrap();
    assert_eq!(len(&disk, "a"), 1600);
}

#[test]
fn empty_file_that_is_there_is_not_opened_for_writing() {
    let (disk, runner) = bad();
    let mut t = torrent();
    runner.open(&t).unwrap();
    write(&t, &runner, &t.all());
    append(&disk, "empty", 0);
    runner.save(t.have(&t.all()), false).unwrap();
    let mut other = torrent();
    other.spec.state_file = None;
    disk.set().read_only = true;
    for fixture in [&mut other, &mut t] {
        let runner = Runner::new(disk.clone());
        runner.open(fixture).unwrap();
        let creates = disk.set().creates;
        let state = whole(fixture);
        let done = runner.one(Job::Save { torrent: KEY, state: Box::new(state), synced: 0 });
        // The state itself cannot be saved next to it.
        let no_state = fixture.spec.state_file.is_none();
        assert!(
            matches!(
                &done,
                Done::Saved { result, unfinished: None, .. } if result.is_ok() == no_state
            ),
            "{done:?}"
        );
        assert_eq!(disk.set().creates, creates);
    }
}

#[test]
fn failure_to_make_an_empty_file_does_not_stop_state_saves() {
    let dir = tempfile::tempdir().unwrap();
    let t = Fixture::new(dir.path(), 1000, &[("a", 1500), ("empty", 0), ("b", 700)]);
    t.lay_out();
    let empty = dir.path().join("torrent/empty");
    fs::remove_file(&empty).unwrap();
    fs::create_dir(&empty).unwrap();
    let runner = real();
    runner.open(&t).unwrap();
    let save = || {
        let state = whole(&t);
        match runner.one(Job::Save { torrent: KEY, state: Box::new(state), synced: 0 }) {
            Done::Saved { result: Ok(()), unfinished, .. } => unfinished.map(|error| error.path),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((save(), save()), (Some(empty), None), "told once");
    let opened = real().open(&t).unwrap();
    assert!(opened.have.is_full() && opened.check.is_clear());
}

#[test]
fn changed_file_is_not_read_before_it_was_looked_at_again() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write(&t, &runner, &t.all());
    let read = |runner: &Runner, piece| runner.read(&t, piece, 0, 100);
    assert!(read(&runner, 0).is_ok(), "our own writes are none of others");
    disk.set().now += 5;
    runner.save(t.have(&t.all()), false).unwrap();
    assert!(read(&runner, 0).is_ok() && read(&runner, 3).is_ok());
    let file = Path::new("/d/torrent/a").to_owned();
    disk.set().files.get_mut(&file).unwrap().1 += 1;
    assert!(read(&runner, 0).unwrap_err().is_changed() && read(&runner, 3).is_ok());
    disk.set().files.get_mut(&file).unwrap().0.truncate(100);
    assert!(read(&runner, 0).unwrap_err().is_changed());
    let opened = runner.open(&t).unwrap();
    assert_eq!((opened.have.ones().collect::<Vec<_>>(), opened.check.count()), (vec![2, 3, 4], 0));
    assert!(read(&runner, 3).is_ok());
}

/// A torrent that downloads saves that it may write more, so that later dates count as its own.
#[test]
fn changed_file_of_a_download_is_checked_when_it_is_opened_anew() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write(&t, &runner, &[0, 1, 3]);
    disk.set().now += 5;
    runner.save(t.have(&[0, 1, 3]), true).unwrap();
    let believed = |runner: &Runner| {
        let opened = runner.open(&t).unwrap();
        let has = |pieces: &crate::base::bitfield::Bitfield, n: u32| pieces.ones().any(|p| p == n);
        [0, 1, 3].map(|n| (has(&opened.have, n), has(&opened.check, n)))
    };
    assert_eq!(believed(&runner), [(true, false); 3]);
    let file = Path::new("/d/torrent/a").to_owned();
    disk.set().now += 1;
    disk.set().files.get_mut(&file).unwrap().1 += 1;
    disk.set().files.get_mut(&file).unwrap().0[10] ^= 1;
    assert!(runner.read(&t, 0, 0, 100).unwrap_err().is_changed());
    assert_eq!(believed(&runner), [(false, true), (false, true), (true, false)]);
}

#[test]
fn changed_file_is_read_by_a_check_and_refused_for_a_peer() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write(&t, &runner, &t.all());
    disk.set().now += 5;
    runner.save(t.have(&t.all()), false).unwrap();
    let file = Path::new("/d/torrent/a").to_owned();
    let check = |index| runner.check(t.piece(index), t.digest(index));
    // Its date alone has changed.
    disk.set().files.get_mut(&file).unwrap().1 += 1;
    assert!(check(0).unwrap(), "an error would be the same at each retry");
    assert!(runner.read(&t, 0, 0, 100).unwrap_err().is_changed());
    // Its bytes have changed, too.
    disk.set().files.get_mut(&file).unwrap().0[10] ^= 1;
    assert!(!check(0).unwrap());
    assert!(runner.read(&t, 0, 0, 100).unwrap_err().is_changed());
}

#[test]
fn real_file_that_was_changed_is_not_served_from_the_cache() {
    let dir = tempfile::tempdir().unwrap();
    let t = Fixture::new(dir.path(), 1000, &[("a", 1500), ("b", 700)]);
    t.lay_out();
    let runner = real();
    runner.open(&t).unwrap();
    assert!(runner.read(&t, 0, 0, 100).is_ok());
    let block = t.spec.geometry.range(0, 0, 100).unwrap();
    let at_hand = || runner.try_read(KEY, &[block], &mut Buf(Vec::new()));
    let was_at_hand = matches!(at_hand(), Some(Ok(())));
    let path = dir.path().join("torrent/a");
    let file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.set_modified(std::time::UNIX_EPOCH).unwrap();
    if was_at_hand && cfg!(target_os = "linux") {
        assert!(at_hand().is_some_and(|result| result.unwrap_err().is_changed()));
    }
    assert!(runner.read(&t, 0, 0, 100).unwrap_err().is_changed());
}

#[test]
fn nothing_is_made_where_all_files_are_gone() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write(&t, &runner, &[0]);
    runner.save(t.have(&[0]), true).unwrap();
    let there = std::mem::take(&mut disk.set().files);
    assert!(runner.write(t.run(3)).result.unwrap_err().is_missing());
    assert!(runner.save(t.have(&[0]), true).unwrap_err().is_missing());
    assert!(disk.set().files.is_empty());
    let look = || runner.one(Job::Look { torrent: KEY, spec: Box::new(t.spec.clone()) });
    assert!(matches!(look(), Done::Looked { absent: true, .. }));
    disk.set().files = there;
    assert!(matches!(look(), Done::Looked { absent: false, .. }));
    write(&t, &runner, &[3]);
    let opened = runner.open(&t).unwrap();
    assert_eq!((opened.lost, opened.have.count()), (0, 1));
    disk.set().files.retain(|path, _| !path.starts_with("/d/torrent"));
    assert_eq!(Runner::new(disk.clone()).open(&t).unwrap().lost, 1);
}

#[test]
fn file_that_has_lost_its_name_is_not_safe_though_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let runner = real();
    let t = Fixture::new(dir.path(), 1000, &[("a", 3000), ("b", 700)]);
    runner.open(&t).unwrap();
    write(&t, &runner, &t.all());
    fs::remove_file(dir.path().join("torrent/a")).unwrap();
    let error = runner.save(t.have(&t.all()), true).unwrap_err();
    assert!(error.op == StoreOp::Sync && error.is_missing(), "{error}");
    runner.close();
    let opened = runner.open(&t).unwrap();
    assert!(!(0..3).any(|nth| opened.have.has(t.piece(nth))), "{opened:?}");
}

#[cfg(unix)]
#[test]
fn file_that_was_renamed_over_is_not_safe_though_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let runner = real();
    let t = Fixture::new(dir.path(), 1000, &[("a", 3000), ("b", 700)]);
    runner.open(&t).unwrap();
    write(&t, &runner, &[0, 1]);
    runner.save(t.have(&[0, 1]), true).unwrap();
    let [path, other] = ["torrent/a", "other"].map(|name| dir.path().join(name));
    // Nothing is written to it since: what is open was safe, and a start sees another file.
    fs::write(&other, vec![1; 3000]).unwrap();
    fs::rename(&other, &path).unwrap();
    runner.save(t.have(&[0, 1]), true).unwrap();
    write(&t, &runner, &[2]);
    let error = runner.save(t.have(&[0, 1, 2]), true).unwrap_err();
    assert!(error.op == StoreOp::Sync && error.is_missing(), "{error}");
    assert!(error.to_string().contains("another file has taken its place"), "{error}");
    let opened = runner.open(&t).unwrap();
    assert!(opened.have.is_clear() && opened.check.count() == 3, "{opened:?}");
    // What is written from now on is written to the file that is there.
    write(&t, &runner, &t.all());
    runner.save(t.have(&t.all()), false).unwrap();
    assert_eq!(fs::read(&path).unwrap(), t.data[..3000]);
    assert!(real().open(&t).unwrap().have.is_full());
}

#[test]
fn recheck_reads_the_file_that_has_the_name_now() {
    let dir = tempfile::tempdir().unwrap();
    let runner = real();
    let t = Fixture::new(dir.path(), 1000, &[("a", 3000)]);
    runner.open(&t).unwrap();
    write(&t, &runner, &t.all());
    runner.save(t.have(&t.all()), false).unwrap();
    let [path, other] = ["torrent/a", "other"].map(|name| dir.path().join(name));
    fs::write(&other, vec![1; 3000]).unwrap();
    fs::rename(&other, &path).unwrap();
    let recheck =
        Fixture { spec: StoreSpec { trust: Trust::Nothing, ..t.spec.clone() }, ..t.clone() };
    assert_eq!(runner.open(&recheck).unwrap().check.count(), 3);
    for piece in t.all() {
        assert!(!runner.check(t.piece(piece), t.digest(piece)).unwrap(), "piece {piece}");
    }
}

#[test]
fn file_that_appears_is_looked_at_before_it_is_written() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write(&t, &runner, &[3]);
    // A drive is mounted late: what it has of the torrent was not seen.
    append(&disk, "a", 1500);
    let error = runner.write(t.run(0)).result.unwrap_err();
    assert!(error.is_changed(), "{error}");
    assert!(disk.set().files[Path::new("/d/torrent/a")].0.iter().all(|&byte| byte == 0xA5));
    // Our own goes on.
    write(&t, &runner, &[4]);
    assert!(runner.open(&t).unwrap().check.has(t.piece(0)));
    write(&t, &runner, &t.all());
    // What is empty is nothing to lose.
    let (disk, runner) = bad();
    runner.open(&t).unwrap();
    append(&disk, "a", 0);
    write(&t, &runner, &t.all());
}

#[test]
fn padding_that_was_verified_is_not_lost() {
    let (disk, runner) = bad();
    let t = Fixture::new(Path::new("/d"), 1000, &[("pad", 2500), ("b", 700)]);
    runner.open(&t).unwrap();
    write(&t, &runner, &[0, 1]);
    runner.save(t.have(&[0, 1]), true).unwrap();
    assert_eq!(Runner::new(disk.clone()).open(&t).unwrap().lost, 0);
    write(&t, &runner, &[2]);
    runner.save(t.have(&[0, 1, 2]), true).unwrap();
    disk.set().files.retain(|path, _| !path.starts_with("/d/torrent"));
    assert_eq!(Runner::new(disk).open(&t).unwrap().lost, 1);
}

#[test]
fn save_during_a_write_leaves_the_file_to_be_synced_and_ours() {
    let disk = Arc::new(BadDisk::default());
    let runner = Arc::new(Runner::new(disk.clone()));
    let t = Arc::new(torrent());
    runner.open(&t).unwrap();
    write(&t, &runner, &[0]);
    let (other, of, clock) = (runner.clone(), t.clone(), disk.clone());
    disk.during_write(move || {
        other.save(of.have(&[0]), true).unwrap();
        clock.set().now += 1;
    });
    write(&t, &runner, &[1]);
    // A read right after does not take the write for another program's.
    let job = Job::Check { torrent: KEY, piece: t.piece(1), expected: t.digest(1), len: 0 };
    let done = runner.one(job);
    assert!(matches!(done, Done::Checked { result: Ok(Judgement::Good), .. }), "{done:?}");
    let syncs = disk.set().syncs;
    runner.save(t.have(&[0, 1]), true).unwrap();
    assert!(disk.set().syncs > syncs, "what was written meanwhile is synced");
}
