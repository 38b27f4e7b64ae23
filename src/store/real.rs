//! The operating system's files: opened when needed, a limited number held open, written by
//! position.
//!
//! Existing files are never locked, and only cut off by who asks for it. A file that is only read
//! is opened read-only, so that a read-only folder can be served. The lock covers the table of open
//! files, never the I/O itself; writes to one file take turns.

mod case;
mod open_files;
#[cfg(test)]
mod tests;
#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IoSliceMut, Read as _, Write as _},
    path::{Component, Path},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::UNIX_EPOCH,
};

use self::open_files::{Handle, OpenFile, OpenFiles};
#[cfg(unix)]
use self::unix as sys;
#[cfg(windows)]
use self::windows as sys;
use super::disk::{Disk, FileStat, Locked};
use crate::base::storage::Allocation;

/// Files that are synced at a time. On ext4, 3,000 files of 4 KiB took 18 s one by one, 2.6 s by
/// four, 0.8 s by 16.
const SYNCS: usize = 16;

/// The real disk.
#[derive(Debug)]
pub struct RealDisk {
    limit: usize,
    open: Mutex<OpenFiles>,
}

impl RealDisk {
    /// A disk that holds at most `max_open_files` files open, at least one.
    pub fn new(max_open_files: usize) -> Self {
        Self { limit: max_open_files.max(1), open: Mutex::default() }
    }

    fn open_files(&self) -> MutexGuard<'_, OpenFiles> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file, opened now if need be. Several threads may open the same file at once; one
    /// handle is kept.
    fn handle(&self, path: &Path, write: bool) -> io::Result<Arc<OpenFile>> {
        if let Some((file, _)) = self.open_files().get(path, write) {
            return Ok(file);
        }
        let file = self.with_handles(|| open_existing(path, write))?;
        Ok(self.keep(path, file, write))
    }

    /// Does what needs a file handle. If the process has none left, files that were not used for
    /// long are closed, half of them at a time, and no more are held open from then on than
    /// that: the handles are needed elsewhere.
    fn with_handles<T>(&self, open: impl Fn() -> io::Result<T>) -> io::Result<T> {
        loop {
            match open() {
                Err(e) if out_of_handles(&e) => {
                    let idle = self.open_files().evict_half();
                    if idle.is_empty() {
                        return Err(e);
                    }
                }
                other => return other,
            }
        }
    }

    fn keep(&self, path: &Path, file: File, writable: bool) -> Arc<OpenFile> {
        let file = Arc::new(OpenFile::new(file));
        // Closing can block, so what is evicted is dropped after the lock.
        let handle = Handle {
            in_memory: sys::is_in_memory(&file),
            file: file.clone(),
            writable,
            last_use: 0,
        };
        let mut open = self.open_files();
        let limit = self.limit.min(open.affordable.unwrap_or(usize::MAX));
        let _evicted = open.insert(path, handle, limit);
        drop(open);
        file
    }
}

impl Disk for RealDisk {
    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let file = self.handle(path, false)?;
        uninterrupted(|| sys::read_at(&file, buf, offset))
    }

    fn read_vectored_at(
        &self,
        path: &Path,
        offset: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        let file = self.handle(path, false)?;
        uninterrupted(|| sys::read_vectored_at(&file, bufs, offset))
    }

    fn try_read_vectored_at(
        &self,
        path: &Path,
        offset: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<Option<usize>> {
        // Another thread has the table for a moment, or the file is not open: a worker will see to
        // it.
        let Ok(mut open) = self.open.try_lock() else { return Ok(None) };
        let Some((file, in_memory)) = open.get(path, false) else { return Ok(None) };
        drop(open);
        uninterrupted(|| sys::try_read_vectored_at(&file, in_memory, bufs, offset))
    }

    fn will_need(&self, path: &Path, offset: u64, len: u64) {
        if let Ok(file) = self.handle(path, false) {
            sys::will_need(&file, offset, len);
        }
    }

    fn write_at(&self, path: &Path, offset: u64, data: &[u8]) -> io::Result<usize> {
        let file = self.handle(path, true)?;
        file.in_turn(|file| uninterrupted(|| sys::write_at(file, data, offset)))
    }

    fn create(&self, path: &Path, len: u64, allocation: Allocation) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let made = || {
            open_regular(
                path,
                sys::careful(
                    OpenOptions::new().read(true).write(true).create(true).truncate(false),
                ),
            )
        };
        let file = self.with_handles(made)?;
        if allocation == Allocation::Full {
            sys::allocate(&file, len)?;
        }
        self.keep(path, file, true);
        Ok(())
    }

    fn set_len(&self, path: &Path, len: u64) -> io::Result<()> {
        let file = self.handle(path, true)?;
        uninterrupted(|| file.set_len(len))
    }

    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Some(FileStat {
                len: meta.len(),
                mtime_ns: mtime_ns(&meta),
                is_file: meta.is_file(),
                is_dir: meta.is_dir(),
            })),
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                Ok(None)
            }
            Err(e) => Err(e),
        }
    }

    fn ignores_case(&self, folder: &Path) -> io::Result<bool> {
        case::is_ignored(folder)
    }

    fn stat_open(&self, path: &Path) -> io::Result<Option<FileStat>> {
        // As for a read that does not wait.
        let Ok(mut open) = self.open.try_lock() else { return Ok(None) };
        let Some((file, _)) = open.get(path, false) else { return Ok(None) };
        drop(open);
        sys::stat_open(&file)
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let file = self.handle(path, false)?;
        uninterrupted(|| file.sync_data())
    }

    fn sync_many(&self, paths: &[&Path]) -> Vec<io::Result<()>> {
        side_by_side(paths, SYNCS, |path| self.sync(path))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        sys::sync_folder(folder)
    }

    fn load(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match self.with_handles(|| open_existing(path, false)) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(
                ErrorKind::FileTooLarge,
                format!("a file above {limit} bytes"),
            ));
        }
        Ok(Some(bytes))
    }

    fn save(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace(path, &mut |file| file.write_all(bytes))
    }

    fn replace(
        &self,
        path: &Path,
        write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let parent = make_parent(path)?;
        let mut name =
            path.file_name().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?.to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let written = (|| {
            let mut file = self.with_handles(|| {
                sys::careful(OpenOptions::new().write(true).create(true).truncate(true))
                    .open(&temporary)
            })?;
            write(&mut file)?;
            file.sync_all()?;
            fs::rename(&temporary, path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        // A handle of the old file would go on writing to it.
        self.close(path);
        written?;
        sys::sync_folder(parent)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(from)?.is_file() {
            return Err(io::Error::new(ErrorKind::Unsupported, "not a regular file"));
        }
        let parent = make_parent(to)?;
        fs::hard_link(from, to)?;
        sys::sync_folder(parent)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let parent = make_parent(to)?;
        sys::rename(from, to)?;
        self.close(from);
        sys::sync_folder(parent)
    }

    fn remove(&self, root: &Path, below: &Path) -> io::Result<bool> {
        self.close(&root.join(below));
        sys::remove(root, below)
    }

    fn remove_dir(&self, root: &Path, below: &Path) -> io::Result<bool> {
        sys::remove_dir(root, below)
    }

    fn lock(&self, path: &Path) -> io::Result<Locked> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file =
            sys::careful(OpenOptions::new().read(true).write(true).create(true).truncate(false))
                .open(path)?;
        match file.try_lock() {
            Ok(()) => {
                // So that the next process can name this one. The lock is what counts, not what is
                // written here.
                file.set_len(0)?;
                file.write_all(std::process::id().to_string().as_bytes())?;
                Ok(Locked::Ours(Some(file)))
            }
            Err(fs::TryLockError::WouldBlock) => {
                let mut pid = String::new();
                let read = file.take(16).read_to_string(&mut pid);
                Ok(Locked::Others(read.ok().and_then(|_| pid.trim().parse().ok())))
            }
            Err(fs::TryLockError::Error(e)) => Err(e),
        }
    }

    fn close(&self, path: &Path) {
        let _closed_after_the_lock = self.open_files().by_path.remove(path);
    }

    fn is_replaced(&self, path: &Path) -> io::Result<bool> {
        let Some((file, _)) = self.open_files().get(path, false) else { return Ok(false) };
        sys::is_elsewhere(&file, path)
    }

    fn is_hole(&self, path: &Path, offset: u64, len: u64) -> bool {
        self.handle(path, false).is_ok_and(|file| sys::is_hole(&file, offset, len))
    }

    fn refuse_links(&self, root: &Path, below: &Path) -> io::Result<()> {
        let mut at = root.to_owned();
        for part in below.components() {
            at.push(part);
            match fs::symlink_metadata(&at) {
                Ok(meta) if meta.file_type().is_symlink() => {
                    let what = format!(
                        "{} is a symbolic link, which is not written through",
                        at.display()
                    );
                    return Err(io::Error::new(ErrorKind::PermissionDenied, what));
                }
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

/// Does something with each of `items`, with up to `at_a_time` of them at once.
fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    at_a_time: usize,
    act: impl Fn(&T) -> io::Result<R> + Sync,
) -> Vec<io::Result<R>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let at = next.fetch_add(1, Ordering::Relaxed)
            && let Some(item) = items.get(at)
        {
            done.push((at, act(item)));
        }
        done
    };
    let done = thread::scope(|scope| {
        let helper =
            |_| thread::Builder::new().name("cratetorrent-sync".into()).spawn_scoped(scope, work);
        // Where no more threads can be had, those there are do it all.
        let helpers: Vec<_> =
            (1..at_a_time.min(items.len())).map_while(|nth| helper(nth).ok()).collect();
        let mut done = work();
        helpers.into_iter().for_each(|helper| done.extend(helper.join().unwrap_or_default()));
        done
    });
    // What a thread that panicked has not answered is not done.
    let unanswered = || Err(io::Error::other("a worker of the disk has panicked"));
    let mut results: Vec<_> = items.iter().map(|_| unanswered()).collect();
    for (at, result) in done {
        if let Some(slot) = results.get_mut(at) {
            *slot = result;
        }
    }
    results
}

/// The folder of `path`, made if need be.
fn make_parent(path: &Path) -> io::Result<&Path> {
    let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(parent)?;
    Ok(parent)
}

fn open_existing(path: &Path, write: bool) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true);
    if write {
        sys::careful(options.write(true));
    } else {
        sys::not_waiting(&mut options);
    }
    open_regular(path, &mut options)
}

fn open_regular(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    let file = uninterrupted(|| options.open(path))?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(io::Error::new(ErrorKind::Unsupported, "not a regular file"))
    }
}

/// The names that a relative path goes through.
fn names(below: &Path) -> io::Result<Vec<&OsStr>> {
    let name = |part| match part {
        Component::Normal(name) => Ok(name),
        _ => Err(ErrorKind::InvalidInput.into()),
    };
    below.components().map(name).collect()
}

fn no_regular_file() -> io::Error {
    io::Error::new(ErrorKind::Unsupported, "not a regular file")
}

/// Where the system cannot do both at once.
fn rename_if_free(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(ErrorKind::AlreadyExists.into()),
        Err(e) if e.kind() == ErrorKind::NotFound => fs::rename(from, to),
        Err(e) => Err(e),
    }
}

fn mtime_ns(meta: &fs::Metadata) -> i64 {
    let Ok(time) = meta.modified() else { return 0 };
    let ns = |d: std::time::Duration| i64::try_from(d.as_nanos()).unwrap_or(i64::MAX);
    time.duration_since(UNIX_EPOCH).map_or_else(|e| -ns(e.duration()), ns)
}

fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(unix)]
fn out_of_handles(e: &io::Error) -> bool {
    use rustix::io::Errno;
    matches!(e.raw_os_error().map(Errno::from_raw_os_error), Some(Errno::MFILE | Errno::NFILE))
}

#[cfg(not(unix))]
fn out_of_handles(_: &io::Error) -> bool {
    false
}
