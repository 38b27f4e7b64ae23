//! What each job does on real files.

use super::*;
use crate::base::hash::Sha1State;

fn three_files(dir: &Path) -> Fixture {
    Fixture::new(
        dir,
        32 * 1024,
        &[("a", 20_000), ("empty", 0), ("sub/b", 50_000), ("pad1", 1000), ("sub/c", 100_001)],
    )
}

#[test]
fn download_from_nothing_completes() {
    let dir = tempfile::tempdir().unwrap();
    let t = three_files(dir.path());
    let runner = real();
    let opened = runner.open(&t).unwrap();
    assert!(opened.have.is_clear() && opened.check.is_clear() && opened.distrust.is_none());
    assert!(!dir.path().join("torrent").exists(), "opening creates nothing");

    for index in t.all() {
        let done = runner.write(t.run(index));
        assert_eq!(done.result.unwrap(), Verdict::Good);
        assert_eq!(done.buf.unwrap().0, t.bytes(index));
        assert_eq!(done.digests, None);
    }
    for index in t.all() {
        assert!(runner.check(t.piece(index), t.digest(index)).unwrap());
        assert!(!runner.check(t.piece(index), PieceHash::Sha1([0; 20])).unwrap());
        assert_eq!(runner.read(&t, index, 3, 40).unwrap(), t.bytes(index)[3..43]);
    }
    runner.save(t.have(&t.all()), false).unwrap();
    runner.close();

    let at = |name: &str| fs::read(dir.path().join("torrent").join(name)).unwrap();
    assert_eq!(at("a"), t.data[..20_000]);
    assert_eq!(at("sub/b"), t.data[20_000..70_000]);
    assert_eq!(at("sub/c"), t.data[71_000..]);
    assert_eq!(at("empty"), []);
    assert!(!dir.path().join("torrent/pad1").exists());

    let again = real().open(&t).unwrap();
    assert!(again.have.is_full() && again.check.is_clear());
    assert_eq!((again.downloaded, again.uploaded, again.distrust), (11, 22, None));
}

#[test]
fn a_large_piece_arrives_in_runs_in_any_order() {
    const RUN: u32 = 64 * 1024;
    let dir = tempfile::tempdir().unwrap();
    let t = Fixture::new(
        dir.path(),
        3 * RUN,
        &[("a", u64::from(RUN) + 5), ("b", 2 * u64::from(RUN) - 5)],
    );
    let part = |n: u32| &t.bytes(0)[(n * RUN) as usize..][..RUN as usize];
    let run = |n: u32, memory: bool, chain| {
        let data = if memory { RunData::Memory(Buf(part(n).to_vec())) } else { RunData::Disk(RUN) };
        Run { piece: t.piece(0), begin: n * RUN, data, chain, digests: false, hurry: false }
    };
    let chain = |state, last: bool| Some(Chain { state, expected: last.then(|| t.digest(0)) });
    let runner = real();
    runner.open(&t).unwrap();

    // The middle first, unhashed; then the beginning; then the middle again from disk; then the
    // end.
    assert_eq!(runner.write(run(1, true, None)).result.unwrap(), Verdict::Unhashed);
    let going = |done: RunDone| match done.result.unwrap() {
        Verdict::Going(state) => state,
        other => panic!("{other:?}"),
    };
    let state = going(runner.write(run(0, true, chain(Hasher::SHA1, false))));
    assert_eq!(state.byte_len(), u64::from(RUN));
    let done = runner.write(run(1, false, chain(state, false)));
    assert_eq!(done.buf, None);
    let state = going(done);
    assert_eq!(
        runner.write(run(2, true, chain(state.clone(), true))).result.unwrap(),
        Verdict::Good
    );
    assert!(runner.check(t.piece(0), t.digest(0)).unwrap());

    // A wrong end is told, with digests of the last run's blocks alone.
    let bad = Some(Chain { state, expected: Some(PieceHash::Sha1([0; 20])) });
    let done = runner.write(run(2, true, bad));
    assert_eq!(done.result.unwrap(), Verdict::Bad);
    assert_eq!(done.digests.unwrap(), part(2).chunks(16 * 1024).map(sha1).collect::<Vec<_>>());
}

#[test]
fn a_bad_piece_is_not_written_and_its_blocks_are_digested() {
    let dir = tempfile::tempdir().unwrap();
    let t = three_files(dir.path());
    let runner = real();
    runner.open(&t).unwrap();
    let mut run = t.run(1);
    let RunData::Memory(buf) = &mut run.data else { panic!() };
    buf.0[20_000] ^= 1;
    let wrong = buf.0.clone();
    let done = runner.write(run);
    assert_eq!(done.result.unwrap(), Verdict::Bad);
    assert_eq!(done.digests.unwrap(), wrong.chunks(16 * 1024).map(sha1).collect::<Vec<_>>());
    assert_eq!(done.buf.unwrap().0, wrong);
    assert!(!dir.path().join("torrent").exists());

    // Digests of a good piece on demand, which is how the bad block is told from the good ones.
    let done = runner.write(Run { digests: true, ..t.run(1) });
    assert_eq!(done.result.unwrap(), Verdict::Good);
    let good: Vec<_> = t.bytes(1).chunks(16 * 1024).map(sha1).collect();
    assert_eq!(done.digests.unwrap(), good);
    let Done::Digests { result, .. } = runner.one(Job::Digests { torrent: KEY, piece: t.piece(1) })
    else {
        panic!()
    };
    assert_eq!(result.unwrap(), good);
}

#[test]
fn a_batch_is_hashed_side_by_side_and_every_job_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let t = Fixture::new(dir.path(), 300_000, &[("a", 2_000_000), ("b", 777)]);
    let mut batch = vec![Job::Open { torrent: KEY, spec: Box::new(t.spec.clone()) }];
    batch.extend(t.all().into_iter().map(|index| Job::Run { torrent: KEY, run: t.run(index) }));
    let state = SaveState::new(t.have(&t.all()));
    batch.push(Job::Save { torrent: KEY, state: Box::new(state), synced: 0 });
    batch.extend(t.all().into_iter().map(|i| Job::Check {
        torrent: KEY,
        piece: t.piece(i),
        expected: t.digest(i),
        len: 0,
    }));
    batch.push(Job::Close { torrent: KEY });
    let jobs = batch.len();
    let mut done = Vec::new();
    real().run(batch, &mut done);
    assert_eq!(done.len(), jobs);
    let count = |f: fn(&Done) -> bool| done.iter().filter(|d| f(d)).count();
    assert_eq!(
        count(|d| matches!(d, Done::Run { run: RunDone { result: Ok(Verdict::Good), .. }, .. })),
        7
    );
    assert_eq!(count(|d| matches!(d, Done::Checked { result: Ok(Judgement::Good), .. })), 7);
    assert_eq!(count(|d| matches!(d, Done::Saved { result: Ok(()), .. })), 1);
    assert!(real().open(&t).unwrap().have.is_full());
}

#[test]
fn jobs_for_an_unknown_torrent_are_answered_with_an_error() {
    let t = three_files(Path::new("/nowhere"));
    let runner = real();
    let gone = |e: StoreError| assert_eq!(e.source.kind(), std::io::ErrorKind::NotFound, "{e}");
    let done = runner.write(t.run(0));
    gone(done.result.unwrap_err());
    assert!(done.buf.is_some());
    gone(runner.write(Run { chain: None, ..t.run(0) }).result.unwrap_err());
    gone(runner.check(t.piece(0), PieceHash::Sha1([0; 20])).unwrap_err());
    gone(runner.read(&t, 0, 0, 10).unwrap_err());
    gone(runner.save(t.have(&[]), false).unwrap_err());
    let Done::Digests { result, .. } = runner.one(Job::Digests { torrent: KEY, piece: t.piece(0) })
    else {
        panic!()
    };
    gone(result.unwrap_err());
    runner.close();
}

#[test]
fn runs_and_blocks_that_leave_their_piece_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let t = three_files(dir.path());
    let larger = Fixture::new(dir.path(), 1 << 20, &[("x", 20 << 20)]);
    let runner = real();
    runner.open(&t).unwrap();
    let refused = |run: Run| {
        let done = runner.write(run);
        assert_eq!(done.result.unwrap_err().source.kind(), std::io::ErrorKind::InvalidInput);
    };
    refused(larger.run(19));
    refused(larger.run(0));
    refused(Run { begin: 64, chain: None, ..t.run(0) });
    refused(Run { data: RunData::Memory(Buf(Vec::new())), ..t.run(0) });
    refused(Run { data: RunData::Disk(u32::MAX), ..t.run(0) });
    refused(Run { begin: u32::MAX, chain: None, ..t.run(0) });
    // The hash of what came before must end where the run begins, and a run that is not the last at
    // a border.
    refused(Run {
        chain: Some(Chain {
            state: Hasher::Sha1(Sha1State { len: 64, ..Sha1State::INITIAL }),
            expected: None,
        }),
        ..t.run(0)
    });
    let data = RunData::Memory(Buf(vec![0; 100]));
    refused(Run { data, chain: Some(Chain { state: Hasher::SHA1, expected: None }), ..t.run(0) });
    assert!(runner.read(&larger, 0, 0, 100_000).is_err());
    assert!(runner.check(larger.piece(10), PieceHash::Sha1([0; 20])).is_err());
    assert!(!dir.path().join("torrent").exists());
}

#[test]
fn missing_and_short_files_are_no_good_but_no_error_until_read() {
    let dir = tempfile::tempdir().unwrap();
    let t = three_files(dir.path());
    let runner = real();
    runner.open(&t).unwrap();
    assert!(!runner.check(t.piece(0), t.digest(0)).unwrap());
    let e = runner.read(&t, 0, 0, 10).unwrap_err();
    assert_eq!((e.op, &*e.path), (StoreOp::Read, &*dir.path().join("torrent/a")));

    t.lay_out();
    fs::OpenOptions::new()
        .write(true)
        .open(dir.path().join("torrent/sub/b"))
        .unwrap()
        .set_len(100)
        .unwrap();
    assert!(!runner.check(t.piece(0), t.digest(0)).unwrap());
    let e = runner.read(&t, 0, 20_050, 100).unwrap_err();
    assert_eq!(e.source.kind(), std::io::ErrorKind::UnexpectedEof);
    assert!(e.to_string().contains("sub/b"), "{e}");
    assert_eq!(runner.read(&t, 0, 19_990, 50).unwrap(), t.data[19_990..20_040]);

    // Other things in the place of a file.
    runner.close();
    fs::remove_file(dir.path().join("torrent/a")).unwrap();
    fs::create_dir(dir.path().join("torrent/a")).unwrap();
    let opened = runner.open(&t).unwrap();
    assert!(!opened.check.has(t.piece(0)) && opened.check.has(t.piece(4)));
    assert!(!runner.check(t.piece(0), t.digest(0)).unwrap());
    assert!(runner.write(t.run(0)).result.is_err());
}

#[test]
fn pads_read_as_zeroes_wherever_they_lie() {
    let dir = tempfile::tempdir().unwrap();
    let t = Fixture::new(
        dir.path(),
        1024,
        &[("a", 100), ("pad1", 924 + 2048), ("b", 24), ("pad2", 1000)],
    );
    let runner = real();
    runner.open(&t).unwrap();
    for index in t.all() {
        assert_eq!(runner.write(t.run(index)).result.unwrap(), Verdict::Good);
        assert_eq!(runner.read(&t, index, 0, 1024).unwrap(), t.bytes(index));
        assert!(runner.check(t.piece(index), t.digest(index)).unwrap());
    }
    let names = fs::read_dir(dir.path().join("torrent")).unwrap().count();
    assert_eq!(names, 2);
    assert_eq!(fs::metadata(dir.path().join("torrent/a")).unwrap().len(), 100);
}

#[test]
fn full_allocation_sets_file_length_at_the_first_write() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = three_files(dir.path());
    t.spec.allocation = Allocation::Full;
    let runner = real();
    runner.open(&t).unwrap();
    assert_eq!(runner.write(t.run(4)).result.unwrap(), Verdict::Good);
    let at = |name: &str| fs::metadata(dir.path().join("torrent").join(name)).map(|m| m.len()).ok();
    assert_eq!((at("a"), at("sub/b"), at("sub/c")), (None, None, Some(100_001)));
    // The rest of it is space, not data: a check of a piece there costs no reading and finds
    // nothing.
    assert!(!runner.check(t.piece(3), t.digest(3)).unwrap());
}

#[test]
fn a_torrent_that_was_complete_gets_its_empty_files() {
    let dir = tempfile::tempdir().unwrap();
    for state_file in [None, Some(dir.path().join("state"))] {
        let mut t = three_files(dir.path());
        t.spec.state_file = state_file;
        t.lay_out();
        let empty = dir.path().join("torrent/empty");
        fs::remove_file(&empty).unwrap();
        let runner = real();
        assert_eq!(runner.open(&t).unwrap().check.count(), t.spec.geometry.piece_count());
        runner.save(t.have(&[0]), true).unwrap();
        assert!(!empty.exists());
        runner.save(t.have(&t.all()), false).unwrap();
        assert!(empty.exists());
    }
}

#[cfg(unix)]
#[test]
fn pieces_of_zeroes_in_a_sparse_copy_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = Fixture::new(dir.path(), 1 << 20, &[("a", 8 << 20)]);
    t.data[1 << 20..6 << 20].fill(0);
    fs::create_dir(dir.path().join("torrent")).unwrap();
    let file = fs::File::create(dir.path().join("torrent/a")).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, t.bytes(0), 0).unwrap();
    file.set_len(8 << 20).unwrap();
    let runner = real();
    assert_eq!(runner.open(&t).unwrap().check.count(), 8);
    let good: Vec<_> =
        t.all().into_iter().map(|i| runner.check(t.piece(i), t.digest(i)).unwrap()).collect();
    assert_eq!(good, [true, true, true, true, true, true, false, false]);
}

#[cfg(unix)]
#[test]
fn nothing_is_written_through_a_symbolic_link() {
    use std::os::unix::fs::symlink;
    for (link, to_folder) in [("torrent", true), ("torrent/sub", true), ("torrent/a", false)] {
        let (dir, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let t = three_files(dir.path());
        let target =
            if to_folder { outside.path().to_owned() } else { outside.path().join("target") };
        if !to_folder {
            fs::write(&target, b"precious").unwrap();
        }
        let link = dir.path().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(&target, &link).unwrap();
        let runner = real();
        runner.open(&t).unwrap();
        let e = runner.write(t.run(0)).result.unwrap_err();
        assert!(e.to_string().contains("symbolic link"), "{e}");
        let left: Vec<_> =
            fs::read_dir(outside.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), usize::from(!to_folder), "{left:?}");
        if !to_folder {
            assert_eq!(fs::read(&target).unwrap(), b"precious");
        }
    }
}

#[cfg(unix)]
#[test]
fn download_folder_may_be_a_link_and_linked_files_are_served() {
    use std::os::unix::fs::symlink;
    let (real_dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let dir = other.path().join("link");
    symlink(real_dir.path(), &dir).unwrap();
    let t = three_files(&dir);
    t.lay_out();
    let moved = other.path().join("moved");
    fs::rename(dir.join("torrent/a"), &moved).unwrap();
    symlink(&moved, dir.join("torrent/a")).unwrap();
    let runner = real();
    assert_eq!(runner.open(&t).unwrap().check.count(), t.spec.geometry.piece_count());
    assert!(runner.check(t.piece(0), t.digest(0)).unwrap());
    assert_eq!(runner.read(&t, 0, 0, 100).unwrap(), t.data[..100]);
    assert_eq!(runner.write(t.run(3)).result.unwrap(), Verdict::Good);
}

#[cfg(unix)]
#[test]
fn pipe_in_place_of_a_file_blocks_no_worker() {
    let dir = tempfile::tempdir().unwrap();
    let t = three_files(dir.path());
    fs::create_dir(dir.path().join("torrent")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        dir.path().join("torrent/a"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    let runner = real();
    assert!(runner.open(&t).unwrap().check.is_clear());
    assert!(!runner.check(t.piece(0), t.digest(0)).unwrap());
    assert!(runner.read(&t, 0, 0, 10).is_err());
    assert!(runner.write(t.run(0)).result.unwrap_err().to_string().contains("not a regular file"));
}

#[test]
fn a_file_in_the_place_of_the_folder_is_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, b"").unwrap();
    let e = real().open(&three_files(&file)).unwrap_err();
    assert_eq!((e.op, e.source.kind()), (StoreOp::Open, std::io::ErrorKind::NotADirectory));
}

#[test]
fn a_file_that_vanished_is_not_made_anew_behind_the_users_back() {
    let dir = tempfile::tempdir().unwrap();
    let t = three_files(dir.path());
    t.lay_out();
    let runner = real();
    runner.open(&t).unwrap();
    fs::remove_dir_all(dir.path().join("torrent")).unwrap();
    let e = runner.write(t.run(4)).result.unwrap_err();
    assert!(e.to_string().contains("recheck"), "{e}");
    // Opened again, the store knows that nothing is there.
    runner.open(&t).unwrap();
    assert_eq!(runner.write(t.run(4)).result.unwrap(), Verdict::Good);
}

#[test]
fn torrent_of_a_million_pieces_opens() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = Fixture::new(dir.path(), 1, &[("a", 1)]);
    let entry = FileEntry { len: 1 << 40, ..t.spec.files[0].clone() };
    t.spec.files = [entry].into();
    t.spec.geometry = Geometry::new(1 << 40, 1 << 20).unwrap();
    let opened = real().open(&t).unwrap();
    assert_eq!((opened.have.len(), opened.have.count(), opened.check.count()), (1 << 20, 0, 0));
}

#[test]
fn existing_files_are_not_locked_and_cut_only_when_complete() {
    let dir = tempfile::tempdir().unwrap();
    let t = three_files(dir.path());
    t.lay_out();
    let longer = dir.path().join("torrent/a");
    let mut bytes = fs::read(&longer).unwrap();
    bytes.extend(b"more");
    fs::write(&longer, &bytes).unwrap();
    let runner = real();
    runner.open(&t).unwrap();
    assert_eq!(runner.write(t.run(0)).result.unwrap(), Verdict::Good);
    runner.save(t.have(&[1, 2]), true).unwrap();
    assert_eq!(fs::read(&longer).unwrap(), bytes);
    runner.save(t.have(&t.all()), false).unwrap();
    assert_eq!(fs::read(&longer).unwrap(), bytes[..20_000]);
}

#[test]
fn a_single_file_lies_in_the_folder_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut t = Fixture::new(dir.path(), 1000, &[("ignored", 2500)]);
    t.spec.single_file = true;
    t.spec.name = "../one.bin".into();
    t.spec.files = [FileEntry { path: Vec::new(), ..t.spec.files[0].clone() }].into();
    let runner = real();
    runner.open(&t).unwrap();
    for index in t.all() {
        assert_eq!(runner.write(t.run(index)).result.unwrap(), Verdict::Good);
    }
    assert_eq!(fs::read(dir.path().join(".._one.bin")).unwrap(), t.data);
}
