//! What a torrent believes of its earlier self: a table of what may have happened to the files in
//! between.

use super::{
    faults::{BadDisk, torrent},
    *,
};
use crate::base::distrust::Distrust;

const SECOND: i64 = 1_000_000_000;

/// A torrent of five pieces over `a` (0, 1), `b` (1, 2) and `c` (2 to 4), of which `have` are
/// written and saved.
fn saved(have: &[u32], dirty: bool) -> (Fixture, Arc<BadDisk>) {
    let (t, disk) = (torrent(), Arc::new(BadDisk::default()));
    let runner = Runner::new(disk.clone());
    runner.open(&t).unwrap();
    write(&t, &runner, have);
    disk.set().now += SECOND;
    runner.save(t.have(have), dirty).unwrap();
    (t, disk)
}

fn write(t: &Fixture, runner: &Runner, pieces: &[u32]) {
    for &index in pieces {
        assert_eq!(runner.write(t.run(index)).result.unwrap(), Verdict::Good);
    }
}

/// Pieces believed and to be checked after a start on `disk`.
fn start(t: &Fixture, disk: &Arc<BadDisk>) -> (Vec<u32>, Vec<u32>, Option<Distrust>) {
    let opened = Runner::new(disk.clone()).open(t).unwrap();
    (opened.have.ones().collect(), opened.check.ones().collect(), opened.distrust)
}

fn change(disk: &BadDisk, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = disk.set();
    let now = inner.now;
    let file = inner.files.get_mut(&Path::new("/d/torrent").join(name)).unwrap();
    change(&mut file.0);
    file.1 = now;
}

#[test]
fn a_clean_state_is_believed_and_nothing_else_looked_for() {
    let (t, disk) = saved(&[0, 1, 2, 3, 4], false);
    assert_eq!(start(&t, &disk), (vec![0, 1, 2, 3, 4], vec![], None));
    let (t, disk) = saved(&[4], false);
    assert_eq!(start(&t, &disk), (vec![4], vec![], None));
    let (t, disk) = saved(&[], false);
    assert_eq!(start(&t, &disk), (vec![], vec![], None));
}

#[test]
fn a_changed_file_is_checked_whatever_the_state_says_of_it() {
    let (t, disk) = saved(&[0, 1, 2, 3, 4], false);
    disk.set().now += 1;
    change(&disk, "b", |bytes| bytes[0] ^= 1);
    let (have, check, distrust) = start(&t, &disk);
    assert_eq!((have, check), (vec![0, 3, 4], vec![1, 2]));
    let distrust = distrust.unwrap();
    assert_eq!(distrust, Distrust::FilesChanged { files: 1, first: "/d/torrent/b".into() });
    assert_eq!(distrust.to_string(), "/d/torrent/b is not as it was saved");

    // The same with the time put back, but not the length.
    let (t, disk) = saved(&[0, 1, 2, 3, 4], false);
    disk.set().now -= SECOND;
    change(&disk, "a", |bytes| bytes.push(0));
    assert_eq!(start(&t, &disk).1, [0, 1]);
}

#[test]
fn short_and_missing_files_are_neither_believed_nor_checked() {
    let (t, disk) = saved(&[0, 1, 2, 3, 4], false);
    change(&disk, "c", |bytes| bytes.truncate(1200));
    // The part of piece 2 in `c` is there; of 3 and 4, something is missing.
    let (have, check, distrust) = start(&t, &disk);
    assert_eq!((have, check), (vec![0, 1], vec![2]));
    assert!(distrust.is_some());

    disk.set().files.remove(Path::new("/d/torrent/a"));
    let (have, check, distrust) = start(&t, &disk);
    assert_eq!((have, check), (vec![], vec![2]));
    let distrust = distrust.unwrap();
    assert_eq!(distrust, Distrust::FilesChanged { files: 2, first: "/d/torrent/a".into() });
    let text = "2 files are not as they were saved, /d/torrent/a the first";
    assert_eq!(distrust.to_string(), text);

    disk.set().files.retain(|path, _| path.starts_with("/d/.cratetorrent"));
    let (have, check, distrust) = start(&t, &disk);
    assert_eq!((have, check), (vec![], vec![]));
    assert_eq!(distrust, Some(Distrust::NoFiles { pieces: 5 }));
}

#[test]
fn a_file_that_came_from_elsewhere_is_checked() {
    let (t, disk) = saved(&[3, 4], false);
    let now = disk.set().now + 1;
    disk.set().files.insert("/d/torrent/a".into(), (t.data[..1500].to_vec(), now));
    assert_eq!(start(&t, &disk).0, [3, 4]);
    assert_eq!(start(&t, &disk).1, [0]);
    // `b` completes piece 1, and with what was written of `c` piece 2.
    disk.set().files.insert("/d/torrent/b".into(), (t.data[1500..2200].to_vec(), now));
    assert_eq!(start(&t, &disk).1, [0, 1, 2]);
}

#[test]
fn missing_state_checks_all_files_that_are_there() {
    let (t, disk) = saved(&[0, 1, 2, 3, 4], false);
    disk.set().files.remove(Path::new("/d/.cratetorrent/state"));
    assert_eq!(start(&t, &disk), (vec![], vec![0, 1, 2, 3, 4], None));
    change(&disk, "a", |bytes| bytes.truncate(1499));
    assert_eq!(start(&t, &disk), (vec![], vec![0, 2, 3, 4], None));
}

#[test]
fn a_recheck_believes_nothing_but_keeps_the_counts() {
    let (mut t, disk) = saved(&[0, 1], false);
    t.spec.trust = Trust::Nothing;
    let opened = Runner::new(disk.clone()).open(&t).unwrap();
    assert!(opened.have.is_clear());
    assert_eq!(opened.check.ones().collect::<Vec<_>>(), [0, 1]);
    assert_eq!((opened.downloaded, opened.uploaded), (11, 22));
}

#[test]
fn a_state_that_is_torn_foreign_or_huge_is_not_believed() {
    let path = Path::new("/d/.cratetorrent/state");
    let (t, disk) = saved(&[0, 1, 2, 3, 4], false);
    let whole = disk.set().files[path].0.clone();
    for len in 0..whole.len() {
        disk.set().files.get_mut(path).unwrap().0 = whole[..len].to_vec();
        let (have, check, distrust) = start(&t, &disk);
        assert_eq!((have, check), (vec![], vec![0, 1, 2, 3, 4]), "{len} bytes");
        assert!(matches!(distrust, Some(Distrust::Useless { path: of, .. }) if of == path));
    }
    disk.set().files.get_mut(path).unwrap().0 = vec![0; 10 << 20];
    assert_eq!(start(&t, &disk).1.len(), 5);

    disk.set().files.get_mut(path).unwrap().0 = whole;
    let mut other = t.clone();
    other.spec.identity = Identity::of_v1(InfoHash([8; 20]));
    assert_eq!(start(&other, &disk).1.len(), 5);
}

#[test]
fn a_kill_loses_nothing_that_was_written() {
    // Killed after any number of pieces since the last save, and within a piece too.
    for killed_after in 0..=4 {
        let (t, disk) = saved(&[0], true);
        let runner = Runner::new(disk.clone());
        assert_eq!(runner.open(&t).unwrap().have.ones().collect::<Vec<_>>(), [0]);
        disk.set().now += 5 * SECOND;
        let order = [3, 1, 4, 2];
        write(&t, &runner, &order[..killed_after]);

        let after = disk.copy();
        let runner = Runner::new(after.clone());
        let opened = runner.open(&t).unwrap();
        assert!(opened.distrust.is_none(), "{opened:?}");
        let mut found: Vec<_> = opened.have.ones().collect();
        assert_eq!(found, [0]);
        found.extend(
            opened.check.ones().filter(|&i| runner.check(t.piece(i), t.digest(i)).unwrap()),
        );
        found.sort_unstable();
        let mut written = [&[0], &order[..killed_after]].concat();
        written.sort_unstable();
        assert_eq!(found, written, "killed after {killed_after}");
    }
}

#[test]
fn late_change_after_a_kill_is_another_programs() {
    for (later, believed) in
        [(5 * SECOND, true), (60 * SECOND, true), (61 * SECOND, false), (3600 * SECOND, false)]
    {
        let (t, disk) = saved(&[0, 1, 2, 3, 4], true);
        disk.set().now += later;
        change(&disk, "c", |_| ());
        let (have, check, _) = start(&t, &disk);
        let (untouched, rest) = (vec![0, 1], vec![2, 3, 4]);
        let want = if believed { (vec![0, 1, 2, 3, 4], vec![]) } else { (untouched, rest) };
        assert_eq!((have, check), want, "{later} ns later");
    }
    // We never make a file shorter or older.
    let (t, disk) = saved(&[0, 1, 2, 3, 4], true);
    change(&disk, "c", |bytes| bytes.truncate(2000));
    assert_eq!(start(&t, &disk).0, [0, 1]);
    let (t, disk) = saved(&[0, 1, 2, 3, 4], true);
    disk.set().now = 1;
    change(&disk, "c", |_| ());
    assert_eq!(start(&t, &disk).0, [0, 1]);
}

#[test]
fn after_a_kill_holes_are_not_hashed_unless_the_file_is_foreign() {
    let (t, disk) = saved(&[4], true);
    let (opened, _) = (start(&t, &disk), ());
    assert_eq!(opened.1, [3]);
    // Piece 3 lies in `c` from 500 on.
    disk.set().holes.push(("/d/torrent/c".into(), 0, 1500));
    assert_eq!(start(&t, &disk).1, []);
    disk.set().now += 3600 * SECOND;
    change(&disk, "c", |_| ());
    assert_eq!(start(&t, &disk).1, [3, 4]);
}

#[test]
fn a_change_while_we_run_does_not_pass_for_ours() {
    let (t, disk) = saved(&[0, 1, 2, 3, 4], false);
    let runner = Runner::new(disk.clone());
    runner.open(&t).unwrap();
    disk.set().now += SECOND;
    change(&disk, "a", |bytes| bytes[7] ^= 1);
    disk.set().now += SECOND;
    runner.save(t.have(&t.all()), false).unwrap();
    assert_eq!(start(&t, &disk).1, [0, 1]);
}

#[test]
fn opening_again_keeps_what_has_to_be_synced() {
    let (t, disk) = saved(&[], false);
    let runner = Runner::new(disk.clone());
    runner.open(&t).unwrap();
    write(&t, &runner, &[0]);
    let before = disk.set().syncs;
    runner.open(&t).unwrap();
    runner.save(t.have(&[0]), false).unwrap();
    assert!(disk.set().syncs > before);
    assert_eq!(start(&t, &disk).0, [0]);
}

#[test]
fn real_files_resume_in_a_copied_folder() {
    let (dir, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let t = Fixture::new(dir.path(), 64 * 1024, &[("a", 700_000), ("b", 300_000)]);
    let runner = real();
    runner.open(&t).unwrap();
    write(&t, &runner, &[0, 1, 12]);
    runner.save(t.have(&[0, 1, 12]), true).unwrap();
    write(&t, &runner, &[5]);

    // As it lies there: believed where saved, and only what is no hole is hashed besides.
    let opened = real().open(&t).unwrap();
    assert_eq!(opened.have.ones().collect::<Vec<_>>(), [0, 1, 12]);
    let check: Vec<_> = opened.check.ones().collect();
    assert!(check.contains(&5) && !check.contains(&3), "{check:?}");

    // A copy has new times, too old or too new to tell; so all of it is hashed, and all of it
    // found.
    for (name, bytes) in
        ["a", "b"].map(|name| (name, fs::read(dir.path().join("torrent").join(name)).unwrap()))
    {
        fs::create_dir_all(copy.path().join("torrent")).unwrap();
        fs::write(copy.path().join("torrent").join(name), bytes).unwrap();
    }
    let mut moved = t.clone();
    moved.spec.dir = copy.path().to_owned();
    moved.spec.state_file = None;
    let runner = real();
    let opened = runner.open(&moved).unwrap();
    let good = opened.check.ones().filter(|&i| runner.check(t.piece(i), t.digest(i)).unwrap());
    assert_eq!(good.collect::<Vec<_>>(), [0, 1, 5, 12]);
}

#[test]
fn trusted_file_is_believed_by_its_length() {
    let trusting = |disk: &Arc<BadDisk>| {
        let mut t = torrent();
        t.spec.trust = Trust::Files;
        start(&t, disk)
    };
    let all = vec![0, 1, 2, 3, 4];
    // Without a state; with one that another program's change has overtaken.
    let (_, disk) = saved(&all, false);
    disk.set().files.remove(Path::new("/d/.cratetorrent/state"));
    assert_eq!(trusting(&disk), (all.clone(), vec![], None));
    let (_, disk) = saved(&all, false);
    disk.set().now += 1;
    change(&disk, "b", |bytes| bytes[0] ^= 1);
    assert_eq!(trusting(&disk).0, all);

    // Too short, too long, missing, with a hole.
    disk.set().files.remove(Path::new("/d/.cratetorrent/state"));
    let other = Arc::new(BadDisk::default());
    *other.set() = disk.set().clone();
    change(&disk, "a", |bytes| bytes.truncate(1499));
    assert_eq!(trusting(&disk), (vec![2, 3, 4], vec![0], None));
    change(&disk, "a", |bytes| bytes.resize(1501, 0));
    assert_eq!(trusting(&disk), (vec![2, 3, 4], vec![0, 1], None));
    disk.set().files.remove(Path::new("/d/torrent/a"));
    assert_eq!(trusting(&disk), (vec![2, 3, 4], vec![], None));
    other.set().holes.push(("/d/torrent/c".into(), 0, u64::MAX));
    let (have, check, _) = trusting(&other);
    assert!(!check.is_empty() && !have.contains(&check[0]), "{have:?} {check:?}");

    // What the state knows to be missing is not there, whatever the length.
    let (_, disk) = saved(&[0, 4], false);
    assert_eq!(trusting(&disk), (vec![0, 4], vec![], None));
    let (_, disk) = saved(&[0, 4], true);
    assert_eq!(trusting(&disk).0, [0, 4]);
}

#[test]
fn trusted_pieces_are_not_saved_as_verified() {
    let (mut t, disk) = saved(&[0, 1, 2, 3, 4], false);
    let state = Path::new("/d/.cratetorrent/state");
    disk.set().files.remove(state);
    for (trust, saves) in [(Trust::Files, false), (Trust::Nothing, true)] {
        t.spec.trust = trust;
        let runner = Runner::new(disk.clone());
        runner.open(&t).unwrap();
        runner.save(t.have(&[0, 1, 2, 3, 4]), false).unwrap();
        assert_eq!(disk.set().files.contains_key(state), saves, "{trust:?}");
    }
}

/// Pieces of two blocks in two files, of which block 1 of piece 0, all of piece 1 and block 0 of
/// piece 2 are written and saved as such.
fn saved_in_part(dirty: bool) -> (Fixture, Arc<BadDisk>) {
    let block = u64::from(crate::base::geometry::BLOCK_LEN);
    let t = Fixture::new(Path::new("/d"), 2 * block as u32, &[("a", 3 * block), ("b", 3 * block)]);
    let disk = Arc::new(BadDisk::default());
    let runner = Runner::new(disk.clone());
    runner.open(&t).unwrap();
    write(&t, &runner, &[1]);
    for (piece, nth) in [(0, 1), (2, 0)] {
        let (buf, at) = (Buf(t.bytes(piece).to_vec()), nth * block as u32);
        let data = RunData::Stretches(buf, std::iter::once(at..at + block as u32).collect());
        let run =
            Run { piece: t.piece(piece), begin: 0, data, chain: None, digests: false, hurry: true };
        let done = runner.write(run);
        assert_eq!((done.result.unwrap(), done.buf.is_some()), (Verdict::Unhashed, true));
    }
    disk.set().now += SECOND;
    let partial = |piece, bits: &[u8]| PartialPiece {
        piece: t.piece(piece),
        blocks: BlockSet::from_wire(bits, 2).unwrap(),
    };
    runner
        .save_with(t.have(&[1]), dirty, vec![partial(0, &[0x40]), partial(2, &[0x80])], None)
        .unwrap();
    (t, disk)
}

fn partial(t: &Fixture, disk: &Arc<BadDisk>) -> Vec<(u32, u8)> {
    let opened = Runner::new(disk.clone()).open(t).unwrap();
    opened.partial.iter().map(|p| (p.piece.get(), p.blocks.as_wire()[0])).collect()
}

#[test]
fn blocks_of_unfinished_pieces_are_believed_in_untouched_files() {
    let block = crate::base::geometry::BLOCK_LEN as usize;
    for dirty in [false, true] {
        let (t, disk) = saved_in_part(dirty);
        assert_eq!(partial(&t, &disk), [(0, 0x40), (2, 0x80)]);
        let file = disk.set().files[Path::new("/d/torrent/a")].0.clone();
        assert_eq!(file[block..2 * block], t.data[block..2 * block]);
        // `b` has pieces 1 and 2.
        let now = disk.set().now + 100 * SECOND;
        disk.set().now = now;
        change(&disk, "b", |bytes| bytes[0] ^= 1);
        assert_eq!(partial(&t, &disk), [(0, 0x40)]);
        disk.set().files.retain(|path, _| path.starts_with("/d/.cratetorrent"));
        assert_eq!(partial(&t, &disk), []);
    }
    let (mut t, disk) = saved_in_part(false);
    t.spec.trust = Trust::Nothing;
    assert_eq!(partial(&t, &disk), []);
}

#[test]
fn stretch_beyond_its_run_and_stretch_to_be_hashed_are_refused() {
    let (t, disk) = saved_in_part(false);
    let runner = Runner::new(disk);
    runner.open(&t).unwrap();
    let run = |end: u32, chain| {
        let data = RunData::Stretches(Buf(t.bytes(0).to_vec()), std::iter::once(0..end).collect());
        runner.write(Run { data, chain, ..t.run(0) }).result
    };
    assert!(run(u32::MAX, None).is_err());
    assert!(run(10, t.run(0).chain).is_err());
    assert!(run(10, None).is_ok());
}

#[test]
fn check_goes_on_with_what_the_state_says_is_unchecked() {
    let (t, disk) = saved(&[0, 1, 2, 3, 4], false);
    let runner = Runner::new(disk.clone());
    runner.open(&t).unwrap();
    // 2 was found bad, 3 and 4 were not looked at.
    runner.save_with(t.have(&[0, 1]), false, Vec::new(), Some(t.have(&[3, 4]))).unwrap();
    assert_eq!(start(&t, &disk), (vec![0, 1], vec![3, 4], None));
    disk.set().now += 1;
    change(&disk, "c", |bytes| bytes[2] ^= 1);
    assert_eq!(start(&t, &disk).1, [2, 3, 4]);
}
