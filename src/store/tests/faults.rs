//! Disks that give little at a time, fill up, refuse, lie or forget: no run of which anything
//! failed counts, and every buffer comes back.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    path::PathBuf,
    sync::{Mutex, MutexGuard},
};

use super::*;

/// A disk in memory with faults to switch on, and a clock that its owner turns.
#[derive(Debug, Default)]
pub(in crate::store) struct BadDisk(Mutex<Inner>, Mutex<Option<Meanwhile>>);

/// What else happens before a write is done.
pub(in crate::store) struct Meanwhile(pub(in crate::store) Box<dyn FnOnce() + Send>);

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

#[derive(Clone, Debug)]
pub(in crate::store) struct Inner {
    pub(in crate::store) files: BTreeMap<PathBuf, (Vec<u8>, i64)>,
    /// The time of the next change, in nanoseconds.
    pub(in crate::store) now: i64,
    /// The most bytes that one read or write moves.
    pub(in crate::store) at_once: usize,
    /// Bytes that may be stored in all.
    pub(in crate::store) space: usize,
    pub(in crate::store) read_only: bool,
    /// It is asked for many syncs and answers none.
    pub(in crate::store) answers_none: bool,
    /// Reads of this path come back with a bit turned.
    pub(in crate::store) corrupt: Option<PathBuf>,
    pub(in crate::store) fail_read: bool,
    pub(in crate::store) fail_sync: bool,
    /// Saving works, and then says that it did not.
    pub(in crate::store) deny_saves: bool,
    /// What surely has no data: path and range.
    pub(in crate::store) holes: Vec<(PathBuf, u64, u64)>,
    pub(in crate::store) creates: u32,
    pub(in crate::store) syncs: u32,
    /// Folders whose names are safe.
    pub(in crate::store) synced_dirs: Vec<PathBuf>,
}

impl Default for Inner {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
            now: 1_000_000_000,
            at_once: usize::MAX,
            space: usize::MAX,
            read_only: false,
            answers_none: false,
            corrupt: None,
            fail_read: false,
            fail_sync: false,
            deny_saves: false,
            holes: Vec::new(),
            creates: 0,
            syncs: 0,
            synced_dirs: Vec::new(),
        }
    }
}

impl BadDisk {
    /// This happens during the next write.
    pub(in crate::store) fn during_write(&self, what: impl FnOnce() + Send + 'static) {
        *self.1.lock().unwrap() = Some(Meanwhile(Box::new(what)));
    }

    pub(in crate::store) fn set(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    /// What a machine finds that starts again with this disk's files as they are now.
    pub(in crate::store) fn copy(&self) -> Arc<Self> {
        Arc::new(Self(Mutex::new(self.set().clone()), Mutex::default()))
    }
}

impl Inner {
    fn used(&self) -> usize {
        self.files.values().map(|(bytes, _)| bytes.len()).sum()
    }

    fn may_write(&self) -> io::Result<()> {
        if self.read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn resize(&mut self, path: &Path, len: usize) -> io::Result<()> {
        let more = len.saturating_sub(self.files.get(path).map_or(0, |f| f.0.len()));
        if self.used() + more > self.space {
            return Err(ErrorKind::StorageFull.into());
        }
        let file = self.files.entry(path.to_owned()).or_default();
        file.0.resize(len.max(file.0.len()), 0);
        Ok(())
    }
}

impl Disk for BadDisk {
    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let inner = self.set();
        if inner.fail_read {
            return Err(io::Error::other("the platter is scratched"));
        }
        let (bytes, _) = inner.files.get(path).ok_or(ErrorKind::NotFound)?;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let len = rest.len().min(buf.len()).min(inner.at_once);
        buf[..len].copy_from_slice(&rest[..len]);
        if inner.corrupt.as_deref() == Some(path) && len > 0 {
            buf[0] ^= 0x10;
        }
        Ok(len)
    }

    fn write_at(&self, path: &Path, offset: u64, data: &[u8]) -> io::Result<usize> {
        let meanwhile = self.1.lock().unwrap().take();
        meanwhile.into_iter().for_each(|Meanwhile(what)| what());
        let mut inner = self.set();
        inner.may_write()?;
        if !inner.files.contains_key(path) {
            return Err(ErrorKind::NotFound.into());
        }
        let room = inner.space.saturating_sub(inner.used());
        let there = inner.files[path].0.len() as u64;
        let len = data
            .len()
            .min(inner.at_once)
            .min((there.saturating_sub(offset) as usize).saturating_add(room));
        if len == 0 {
            return Err(ErrorKind::StorageFull.into());
        }
        inner.resize(path, offset as usize + len)?;
        let now = inner.now;
        let file = inner.files.get_mut(path).unwrap();
        file.0[offset as usize..][..len].copy_from_slice(&data[..len]);
        file.1 = now;
        Ok(len)
    }

    fn create(&self, path: &Path, len: u64, allocation: Allocation) -> io::Result<()> {
        let mut inner = self.set();
        inner.may_write()?;
        inner.creates += 1;
        let now = inner.now;
        inner.resize(path, if allocation == Allocation::Full { len as usize } else { 0 })?;
        inner.files.get_mut(path).unwrap().1 = now;
        Ok(())
    }

    fn set_len(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut inner = self.set();
        inner.may_write()?;
        let now = inner.now;
        let file = inner.files.get_mut(path).ok_or(ErrorKind::NotFound)?;
        file.0.resize(len as usize, 0);
        file.1 = now;
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>> {
        let inner = self.set();
        let stat = |len: usize, mtime_ns, is_file: bool| FileStat {
            len: len as u64,
            mtime_ns,
            is_file,
            is_dir: !is_file,
        };
        let file = inner.files.get(path).map(|f| stat(f.0.len(), f.1, true));
        let folder = || inner.files.keys().any(|p| p.starts_with(path)).then(|| stat(0, 0, false));
        Ok(file.or_else(folder))
    }

    fn sync(&self, _: &Path) -> io::Result<()> {
        let mut inner = self.set();
        inner.syncs += 1;
        if inner.fail_sync { Err(io::Error::other("lost on the way")) } else { Ok(()) }
    }

    fn sync_many(&self, paths: &[&Path]) -> Vec<io::Result<()>> {
        if self.set().answers_none {
            return Vec::new();
        }
        paths.iter().map(|path| self.sync(path)).collect()
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let mut inner = self.set();
        if inner.fail_sync {
            return Err(io::Error::other("lost on the way"));
        }
        inner.synced_dirs.push(folder.to_owned());
        Ok(())
    }

    fn remove(&self, root: &Path, below: &Path) -> io::Result<bool> {
        Ok(self.set().files.remove(&root.join(below)).is_some())
    }

    fn load(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let bytes = self.set().files.get(path).map(|f| f.0.clone());
        if bytes.as_ref().is_some_and(|b| b.len() as u64 > limit) {
            return Err(ErrorKind::FileTooLarge.into());
        }
        Ok(bytes)
    }

    fn save(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut inner = self.set();
        inner.may_write()?;
        let others = inner.used() - inner.files.get(path).map_or(0, |f| f.0.len());
        if others + bytes.len() > inner.space {
            return Err(ErrorKind::StorageFull.into());
        }
        let now = inner.now;
        inner.files.insert(path.to_owned(), (bytes.to_vec(), now));
        if inner.deny_saves { Err(io::Error::other("the folder cannot be synced")) } else { Ok(()) }
    }

    fn close(&self, _: &Path) {}

    fn is_hole(&self, path: &Path, offset: u64, len: u64) -> bool {
        let inner = self.set();
        inner.holes.iter().any(|(p, from, to)| p == path && *from <= offset && offset + len <= *to)
    }
}

pub(in crate::store) fn torrent() -> Fixture {
    Fixture::new(
        Path::new("/d"),
        1000,
        &[("a", 1500), ("empty", 0), ("b", 700), ("pad", 300), ("c", 2100)],
    )
}

fn bad() -> (Arc<BadDisk>, Runner) {
    let disk = Arc::new(BadDisk::default());
    (disk.clone(), Runner::new(disk))
}

/// Writes every piece; returns those that went well. Buffers must come back in any case.
fn write_all(t: &Fixture, runner: &Runner) -> Vec<u32> {
    let write = |&index: &u32| {
        let done = runner.write(t.run(index));
        assert_eq!(done.buf.unwrap().0, t.bytes(index));
        done.result.is_ok_and(|verdict| verdict == Verdict::Good)
    };
    t.all().into_iter().filter(write).collect()
}

fn good(t: &Fixture, runner: &Runner) -> Vec<u32> {
    t.all()
        .into_iter()
        .filter(|&index| runner.check(t.piece(index), t.digest(index)).unwrap())
        .collect()
}

#[test]
fn disk_that_takes_one_byte_at_a_time_completes() {
    let (disk, runner) = bad();
    let t = torrent();
    disk.set().at_once = 1;
    runner.open(&t).unwrap();
    assert_eq!(write_all(&t, &runner), t.all());
    assert_eq!(good(&t, &runner), t.all());
    assert_eq!(runner.read(&t, 1, 400, 600).unwrap(), t.bytes(1)[400..]);
    runner.save(t.have(&t.all()), false).unwrap();
    assert!(runner.open(&t).unwrap().have.is_full());
}

#[test]
fn a_disk_that_fills_at_any_byte_loses_nothing_that_it_took() {
    let t = torrent();
    for space in (0..=t.data.len()).step_by(37) {
        let (disk, runner) = bad();
        disk.set().space = space;
        runner.open(&t).unwrap();
        let written = write_all(&t, &runner);
        for &index in &written {
            assert!(
                runner.check(t.piece(index), t.digest(index)).unwrap(),
                "{space} bytes, piece {index}"
            );
        }
        if space < 4300 {
            let e = t.all().into_iter().find_map(|i| runner.write(t.run(i)).result.err()).unwrap();
            assert_eq!((e.op, e.source.kind()), (StoreOp::Write, ErrorKind::StorageFull));
            assert!(e.path.starts_with("/d/torrent"));
        }
        // Room again: the same runs go through.
        disk.set().space = usize::MAX;
        assert_eq!(write_all(&t, &runner), t.all());
        assert_eq!(good(&t, &runner), t.all());
    }
}

#[test]
fn a_disk_too_small_shows_at_once_with_full_allocation() {
    let (disk, runner) = bad();
    let mut t = torrent();
    t.spec.allocation = Allocation::Full;
    disk.set().space = 2000;
    runner.open(&t).unwrap();
    let e = runner.write(t.run(4)).result.unwrap_err();
    assert_eq!((e.op, &*e.path), (StoreOp::Allocate, Path::new("/d/torrent/c")));
}

#[test]
fn a_read_only_disk_is_served_and_its_refusal_told() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write_all(&t, &runner);
    disk.set().read_only = true;
    let again = Runner::new(disk.clone());
    assert_eq!(again.open(&t).unwrap().check.count(), 5);
    assert_eq!(good(&t, &again), t.all());
    assert_eq!(again.read(&t, 0, 0, 1000).unwrap(), t.bytes(0));
    let done = again.write(t.run(0));
    let e = done.result.unwrap_err();
    assert_eq!((e.op, e.source.kind()), (StoreOp::Create, ErrorKind::ReadOnlyFilesystem));
    assert_eq!(again.save(t.have(&[0]), true).unwrap_err().op, StoreOp::Save);
}

#[test]
fn corrupt_reads_never_pass_for_good() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write_all(&t, &runner);
    disk.set().corrupt = Some("/d/torrent/b".into());
    assert_eq!(good(&t, &runner), [0, 3, 4]);
    let run = Run { data: RunData::Disk(1000), ..t.run(1) };
    let done = runner.write(run);
    assert_eq!(done.result.unwrap(), Verdict::Bad);
    assert_eq!(done.digests.unwrap().len(), 1);
}

#[test]
fn a_read_error_is_an_error_not_a_missing_piece() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write_all(&t, &runner);
    disk.set().fail_read = true;
    for index in t.all() {
        let e = runner.check(t.piece(index), t.digest(index)).unwrap_err();
        assert!(e.to_string().contains("scratched") && e.op == StoreOp::Read, "{e}");
    }
    let done = runner.write(Run { data: RunData::Disk(1000), ..t.run(1) });
    assert_eq!(done.result.unwrap_err().op, StoreOp::Read);
}

#[test]
fn one_failing_job_leaves_its_batch_alone() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write_all(&t, &runner);
    disk.set().files.remove(Path::new("/d/torrent/b"));
    let jobs = t.all().into_iter().map(|i| Job::Check {
        torrent: KEY,
        piece: t.piece(i),
        expected: t.digest(i),
        len: 0,
    });
    let mut done = Vec::new();
    runner.run(jobs.collect(), &mut done);
    let good: Vec<_> = done
        .iter()
        .map(|d| matches!(d, Done::Checked { result: Ok(Judgement::Good), .. }))
        .collect();
    assert_eq!(good, [true, false, false, true, true]);
}

#[test]
fn files_are_made_once_and_synced_only_when_written() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    for _ in 0..3 {
        write_all(&t, &runner);
    }
    assert_eq!(disk.set().creates, 4);
    runner.save(t.have(&t.all()), true).unwrap();
    assert_eq!(disk.set().syncs, 4);
    runner.write(t.run(0));
    runner.save(t.have(&t.all()), true).unwrap();
    assert_eq!(disk.set().syncs, 5);
}

#[test]
fn data_of_a_failed_sync_is_never_vouched_for() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write_all(&t, &runner);
    disk.set().fail_sync = true;
    assert_eq!(runner.save(t.have(&t.all()), true).unwrap_err().op, StoreOp::Sync);
    // The next sync says yes, as systems do after they have told of the loss once.
    disk.set().fail_sync = false;
    runner.save(t.have(&t.all()), false).unwrap();
    runner.close();
    let opened = runner.open(&t).unwrap();
    assert!(opened.check.has(t.piece(0)) && !opened.have.has(t.piece(0)));
}

#[test]
fn copy_has_full_length_and_safe_name_before_source_goes() {
    let (disk, runner) = bad();
    let mut t = torrent();
    t.data[1500..2200].fill(0);
    t.spec.state_file = None;
    runner.open(&t).unwrap();
    assert_eq!(write_all(&t, &runner).len(), t.all().len());
    let old = Path::new("/d/torrent/b");
    let len = disk.stat(old).unwrap().unwrap().len;
    // All of it is a hole, and so is the end of another.
    disk.set().holes = vec![(old.into(), 0, len), ("/d/torrent/c".into(), 1000, 2100)];
    disk.set().files.get_mut(Path::new("/d/torrent/c")).unwrap().0[1000..].fill(0);
    let spec = StoreSpec { dir: "/e/f".into(), ..t.spec.clone() };
    let relocate = |spec: &StoreSpec| {
        let done =
            runner.one(Job::Relocate { torrent: KEY, spec: Box::new(spec.clone()), state: None });
        let Done::Relocated { result, .. } = done else { panic!("{done:?}") };
        result
    };
    disk.set().fail_sync = true;
    assert!(relocate(&spec).is_err());
    assert!(!disk.set().files.keys().any(|path| path.starts_with("/e")));
    disk.set().fail_sync = false;
    relocate(&spec).unwrap();
    for name in ["a", "b", "c"] {
        let bytes =
            |dir: &str| disk.set().files[&Path::new(dir).join("torrent").join(name)].0.clone();
        assert_eq!(bytes("/e/f"), bytes("/d"), "{name}");
    }
    let synced = disk.set().synced_dirs.clone();
    assert_eq!(synced, [Path::new("/e/f/torrent"), Path::new("/e/f")]);
    let done = runner.one(Job::Tidy { torrent: KEY });
    assert!(matches!(done, Done::Tidied { left: None, .. }));
    assert!(!disk.set().files.keys().any(|path| path.starts_with("/d")));
}

#[test]
fn failed_sync_is_recorded_for_the_next_process() {
    let (disk, runner) = bad();
    let t = torrent();
    runner.open(&t).unwrap();
    write_all(&t, &runner);
    disk.set().fail_sync = true;
    assert_eq!(runner.save(t.have(&t.all()), false).unwrap_err().op, StoreOp::Sync);
    disk.set().fail_sync = false;
    // A kill: what is found good is written again, since no sync is about it otherwise.
    let next = Runner::new(disk.clone());
    let opened = next.open(&t).unwrap();
    assert!(opened.have.is_clear() && opened.check.is_full());
    disk.set().now += 1;
    for piece in t.all() {
        let done = next.one(Job::Check {
            torrent: KEY,
            piece: t.piece(piece),
            expected: t.digest(piece),
            len: 0,
        });
        assert!(matches!(done, Done::Checked { result: Ok(Judgement::Good), .. }));
    }
    for name in ["a", "b", "c"] {
        let inner = disk.set();
        assert_eq!(
            inner.files[&Path::new("/d/torrent").join(name)].1,
            inner.now,
            "{name} is as it was"
        );
    }
}
