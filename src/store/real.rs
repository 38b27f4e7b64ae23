//! The operating system's files: opened when needed, a limited number held open, written by position.
//!
//! Existing files are never locked, and only cut off by who asks for it. A file that is only read is opened read-only, so that a read-only folder
//! can be served. The lock covers the table of open files, never the I/O itself.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, IoSliceMut, Read as _, Write as _},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::UNIX_EPOCH,
};

use super::disk::{Disk, FileStat, Locked};
use crate::base::job::Allocation;

/// The real disk.
#[derive(Debug)]
pub struct RealDisk {
    limit: usize,
    open: Mutex<OpenFiles>,
}

#[derive(Debug, Default)]
struct OpenFiles {
    by_path: HashMap<PathBuf, Handle>,
    /// Counts uses, so that the least recent one is known.
    uses: u64,
}

#[derive(Debug)]
struct Handle {
    file: Arc<File>,
    writable: bool,
    /// On a file system that has no disk, so that a read never waits for one.
    in_memory: bool,
    last_use: u64,
}

impl RealDisk {
    /// A disk that holds at most `max_open_files` files open, at least one.
    pub fn new(max_open_files: usize) -> Self {
        Self { limit: max_open_files.max(1), open: Mutex::default() }
    }

    fn open_files(&self) -> MutexGuard<'_, OpenFiles> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open file, opened now if need be. Several threads may open the same file at once; one handle is kept.
    fn handle(&self, path: &Path, write: bool) -> io::Result<Arc<File>> {
        if let Some((file, _)) = self.open_files().get(path, write) {
            return Ok(file);
        }
        let file = match open_existing(path, write) {
            Err(e) if out_of_handles(&e) => {
                let idle = std::mem::take(&mut self.open_files().by_path);
                drop(idle);
                open_existing(path, write)?
            }
            other => other?,
        };
        Ok(self.keep(path, file, write))
    }

    fn keep(&self, path: &Path, file: File, writable: bool) -> Arc<File> {
        let file = Arc::new(file);
        // Closing can block, so what is evicted is dropped after the lock.
        let handle = Handle { in_memory: sys::is_in_memory(&file), file: file.clone(), writable, last_use: 0 };
        let _evicted = self.open_files().insert(path, handle, self.limit);
        file
    }
}

impl OpenFiles {
    fn get(&mut self, path: &Path, write: bool) -> Option<(Arc<File>, bool)> {
        self.uses += 1;
        let handle = self.by_path.get_mut(path).filter(|h| h.writable || !write)?;
        handle.last_use = self.uses;
        Some((handle.file.clone(), handle.in_memory))
    }

    fn insert(&mut self, path: &Path, mut handle: Handle, limit: usize) -> Option<Handle> {
        self.uses += 1;
        handle.last_use = self.uses;
        if let Some(there) = self.by_path.get_mut(path) {
            // Another thread was faster; what can write serves both.
            return Some(if there.writable { handle } else { std::mem::replace(there, handle) });
        }
        let mut evicted = None;
        if self.by_path.len() >= limit {
            let oldest = self.by_path.iter().min_by_key(|(_, h)| h.last_use).map(|(path, _)| path.clone());
            evicted = oldest.and_then(|path| self.by_path.remove(&path));
        }
        self.by_path.insert(path.to_owned(), handle);
        evicted
    }
}

impl Disk for RealDisk {
    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        let file = self.handle(path, false)?;
        uninterrupted(|| sys::read_at(&file, buf, offset))
    }

    fn read_vectored_at(&self, path: &Path, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let file = self.handle(path, false)?;
        uninterrupted(|| sys::read_vectored_at(&file, bufs, offset))
    }

    fn try_read_vectored_at(&self, path: &Path, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<Option<usize>> {
        // Another thread has the table for a moment, or the file is not open: a worker will see to it.
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
        uninterrupted(|| sys::write_at(&file, data, offset))
    }

    fn create(&self, path: &Path, len: u64, allocation: Allocation) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = open_regular(path, sys::careful(OpenOptions::new().read(true).write(true).create(true).truncate(false)))?;
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
            Ok(meta) => {
                Ok(Some(FileStat { len: meta.len(), mtime_ns: mtime_ns(&meta), is_file: meta.is_file(), is_dir: meta.is_dir() }))
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let file = self.handle(path, false)?;
        uninterrupted(|| file.sync_data())
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        sys::sync_folder(folder)
    }

    fn load(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let file = match open_existing(path, false) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            other => other?,
        };
        let mut bytes = Vec::new();
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > limit {
            return Err(io::Error::new(ErrorKind::FileTooLarge, format!("a file above {limit} bytes")));
        }
        Ok(Some(bytes))
    }

    fn save(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.replace(path, &mut |file| file.write_all(bytes))
    }

    fn replace(&self, path: &Path, write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>) -> io::Result<()> {
        let parent = make_parent(path)?;
        let mut name = path.file_name().ok_or_else(|| io::Error::from(ErrorKind::InvalidInput))?.to_owned();
        name.push(".tmp");
        let temporary = path.with_file_name(name);
        let written = (|| {
            let mut file = sys::careful(OpenOptions::new().write(true).create(true).truncate(true)).open(&temporary)?;
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
        let mut file = sys::careful(OpenOptions::new().read(true).write(true).create(true).truncate(false)).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                // For whoever comes next, to be named. The lock is what counts, not what is written here.
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

    fn is_hole(&self, path: &Path, offset: u64, len: u64) -> bool {
        self.handle(path, false).is_ok_and(|file| sys::is_hole(&file, offset, len))
    }

    fn refuse_links(&self, root: &Path, below: &Path) -> io::Result<()> {
        let mut at = root.to_owned();
        for part in below.components() {
            at.push(part);
            match fs::symlink_metadata(&at) {
                Ok(meta) if meta.file_type().is_symlink() => {
                    let what = format!("{} is a symbolic link, which is not written through", at.display());
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
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::new(ErrorKind::Unsupported, "not a regular file")) }
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

#[cfg(unix)]
mod sys {
    use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};

    use std::os::fd::OwnedFd;

    use rustix::{
        fs::{AtFlags, CWD, FileType, Mode, OFlags, openat, statat, unlinkat},
        io::Errno,
    };

    use super::*;

    pub(super) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        file.read_at(buf, offset)
    }

    pub(super) fn write_at(file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        file.write_at(data, offset)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn read_vectored_at(file: &File, bufs: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        Ok(rustix::io::preadv(file, bufs, offset)?)
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn read_vectored_at(file: &File, bufs: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        bufs.iter_mut().find(|buf| !buf.is_empty()).map_or(Ok(0), |buf| file.read_at(buf, offset))
    }

    #[cfg(target_os = "linux")]
    pub(super) fn try_read_vectored_at(
        file: &File,
        in_memory: bool,
        bufs: &mut [IoSliceMut<'_>],
        offset: u64,
    ) -> io::Result<Option<usize>> {
        use rustix::io::{ReadWriteFlags, preadv2};
        // tmpfs does not know the flag, and does not need it.
        let flags = if in_memory { ReadWriteFlags::empty() } else { ReadWriteFlags::NOWAIT };
        match preadv2(file, bufs, offset, flags) {
            Ok(read) => Ok(Some(read)),
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn try_read_vectored_at(_: &File, _: bool, _: &mut [IoSliceMut<'_>], _: u64) -> io::Result<Option<usize>> {
        Ok(None)
    }

    #[cfg(target_os = "linux")]
    pub(super) fn is_in_memory(file: &File) -> bool {
        const TMPFS: u64 = 0x0102_1994;
        const RAMFS: u64 = 0x8584_58f6;
        rustix::fs::fstatfs(file).is_ok_and(|fs| [TMPFS, RAMFS].contains(&(fs.f_type as u64)))
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn is_in_memory(_: &File) -> bool {
        false
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    pub(super) fn will_need(file: &File, offset: u64, len: u64) {
        // Only a hint: it does not matter whether it is heard.
        let _ = rustix::fs::fadvise(file, offset, std::num::NonZeroU64::new(len), rustix::fs::Advice::WillNeed);
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    pub(super) fn will_need(_: &File, _: u64, _: u64) {}

    /// Opening must not wait for the other end of a pipe that somebody left in the folder.
    pub(super) fn not_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
        options.custom_flags(OFlags::NONBLOCK.bits() as i32)
    }

    /// As [`not_waiting`], and what is to be written must not be a link.
    pub(super) fn careful(options: &mut OpenOptions) -> &mut OpenOptions {
        options.custom_flags((OFlags::NONBLOCK | OFlags::NOFOLLOW).bits() as i32)
    }

    pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::fs::FallocateFlags;
            match uninterrupted(|| Ok(rustix::fs::fallocate(file, FallocateFlags::empty(), 0, len.max(1))?)) {
                Err(e) if [Errno::OPNOTSUPP, Errno::NOSYS].map(|e| Some(e.raw_os_error())).contains(&e.raw_os_error()) => {}
                other => return other,
            }
        }
        if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
    }

    #[cfg(any(target_os = "linux", target_os = "android", target_os = "freebsd"))]
    pub(super) fn is_hole(file: &File, offset: u64, len: u64) -> bool {
        use rustix::fs::SeekFrom;
        match rustix::fs::seek(file, SeekFrom::Data(offset)) {
            Ok(data) => data >= offset.saturating_add(len),
            Err(e) => e == Errno::NXIO,
        }
    }

    #[cfg(not(any(target_os = "linux", target_os = "android", target_os = "freebsd")))]
    pub(super) fn is_hole(_: &File, _: u64, _: u64) -> bool {
        false
    }

    pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    /// Renames to a name that is free.
    pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::fs::{RenameFlags, renameat_with};
            match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
                other => return Ok(other?),
            }
        }
        super::rename_if_free(from, to)
    }

    /// The folder that `root/below` lies in, reached without following a link below `root`, and its name there; `None` if it is not there.
    fn open_parent<'a>(root: &Path, below: &'a Path) -> io::Result<Option<(OwnedFd, &'a OsStr)>> {
        let mut parts = super::names(below)?;
        let Some(name) = parts.pop() else { return Err(ErrorKind::InvalidInput.into()) };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut folder = match openat(CWD, root, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            other => other?,
        };
        for part in parts {
            folder = match openat(&folder, part, flags | OFlags::NOFOLLOW, Mode::empty()) {
                Err(Errno::NOENT) => return Ok(None),
                Err(Errno::LOOP | Errno::NOTDIR) => {
                    let what = format!("{} is a symbolic link or no folder", part.display());
                    return Err(io::Error::new(ErrorKind::PermissionDenied, what));
                }
                other => other?,
            };
        }
        Ok(Some((folder, name)))
    }

    pub(super) fn remove(root: &Path, below: &Path) -> io::Result<bool> {
        let Some((folder, name)) = open_parent(root, below)? else { return Ok(false) };
        match statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            Err(e) => return Err(e.into()),
            Ok(stat) if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile => return Err(super::no_regular_file()),
            Ok(_) => {}
        }
        // What may have taken its place meanwhile is a name at most: a link is deleted as such, and a folder is refused.
        unlinkat(&folder, name, AtFlags::empty())?;
        Ok(true)
    }

    pub(super) fn remove_dir(root: &Path, below: &Path) -> io::Result<bool> {
        let Ok(Some((folder, name))) = open_parent(root, below) else { return Ok(false) };
        match unlinkat(&folder, name, AtFlags::REMOVEDIR) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(windows)]
mod sys {
    use std::os::windows::fs::FileExt as _;

    use super::*;

    pub(super) fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        file.seek_read(buf, offset)
    }

    pub(super) fn write_at(file: &File, data: &[u8], offset: u64) -> io::Result<usize> {
        file.seek_write(data, offset)
    }

    pub(super) fn read_vectored_at(file: &File, bufs: &mut [IoSliceMut<'_>], offset: u64) -> io::Result<usize> {
        bufs.iter_mut().find(|buf| !buf.is_empty()).map_or(Ok(0), |buf| file.seek_read(buf, offset))
    }

    pub(super) fn try_read_vectored_at(_: &File, _: bool, _: &mut [IoSliceMut<'_>], _: u64) -> io::Result<Option<usize>> {
        Ok(None)
    }

    pub(super) fn is_in_memory(_: &File) -> bool {
        false
    }

    pub(super) fn will_need(_: &File, _: u64, _: u64) {}

    pub(super) fn not_waiting(options: &mut OpenOptions) -> &mut OpenOptions {
        options
    }

    pub(super) fn careful(options: &mut OpenOptions) -> &mut OpenOptions {
        options
    }

    pub(super) fn allocate(file: &File, len: u64) -> io::Result<()> {
        if file.metadata()?.len() < len { file.set_len(len) } else { Ok(()) }
    }

    pub(super) fn is_hole(_: &File, _: u64, _: u64) -> bool {
        false
    }

    pub(super) fn sync_folder(_: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn rename(from: &Path, to: &Path) -> io::Result<()> {
        super::rename_if_free(from, to)
    }

    /// Refuses a link on the way from `root` to the folder that `below` lies in.
    fn refuse_links(root: &Path, below: &Path) -> io::Result<()> {
        let mut parts = super::names(below)?;
        parts.pop();
        let mut at = root.to_owned();
        for part in parts {
            at.push(part);
            if fs::symlink_metadata(&at).is_ok_and(|meta| meta.file_type().is_symlink()) {
                return Err(io::Error::new(ErrorKind::PermissionDenied, format!("{} is a symbolic link", at.display())));
            }
        }
        Ok(())
    }

    pub(super) fn remove(root: &Path, below: &Path) -> io::Result<bool> {
        refuse_links(root, below)?;
        let path = root.join(below);
        match fs::symlink_metadata(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e),
            Ok(meta) if !meta.is_file() => Err(super::no_regular_file()),
            Ok(_) => fs::remove_file(&path).map(|()| true),
        }
    }

    pub(super) fn remove_dir(root: &Path, below: &Path) -> io::Result<bool> {
        if refuse_links(root, below).is_err() || !fs::symlink_metadata(root.join(below)).is_ok_and(|meta| meta.is_dir()) {
            return Ok(false);
        }
        Ok(fs::remove_dir(root.join(below)).is_ok())
    }
}

#[cfg(test)]
mod tests;
