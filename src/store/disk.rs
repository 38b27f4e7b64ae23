//! The seam under the store: what it asks of a disk, so that a real one and a simulated one run the
//! same job code.
//!
//! Knows paths and bytes; not torrents, pieces or policy.

use std::{
    fmt,
    io::{self, IoSliceMut},
    path::Path,
};

use crate::base::storage::Allocation;

/// What is known of a file without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// Bytes.
    pub len: u64,
    /// Last change of its data, in nanoseconds since 1970.
    pub mtime_ns: i64,
    /// Whether it is a regular file.
    pub is_file: bool,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// Whose a lock is.
#[derive(Debug)]
pub enum Locked {
    /// Ours, as long as this file, if there is one, is open.
    Ours(Option<std::fs::File>),
    /// Another's: its process id, if it left one that can be read.
    Others(Option<u32>),
}

/// Files by path, as the workers use them. All methods but two may block, and are called from many
/// threads at once.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Reads at `offset`. May be short; 0 at the end of the file.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such file,
    /// [`Unsupported`](io::ErrorKind::Unsupported) if it is not a regular file, and whatever
    /// the system says.
    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<usize>;

    /// Reads at `offset` into one buffer after the other. May be short; 0 at the end of the file.
    ///
    /// # Errors
    /// As for [`read_at`](Self::read_at).
    fn read_vectored_at(
        &self,
        path: &Path,
        offset: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<usize> {
        match bufs.iter_mut().find(|buf| !buf.is_empty()) {
            Some(buf) => self.read_at(path, offset, buf),
            None => Ok(0),
        }
    }

    /// The same if it can be done without waiting for anything, so that the event loop may call it;
    /// `None` if it cannot, or if that is not known. As [`stat_open`](Self::stat_open) it never
    /// blocks.
    ///
    /// # Errors
    /// As for [`read_at`](Self::read_at).
    fn try_read_vectored_at(
        &self,
        path: &Path,
        offset: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> io::Result<Option<usize>> {
        let _ = (path, offset, bufs);
        Ok(None)
    }

    /// These bytes will soon be read: a hint, which begins to fetch them and does not wait.
    fn will_need(&self, path: &Path, offset: u64, len: u64) {
        let _ = (path, offset, len);
    }

    /// Writes at `offset`, beyond the end if need be. May be short, as `write(2)`; the caller goes
    /// on.
    ///
    /// # Errors
    /// As for [`read_at`](Self::read_at): the file must exist.
    fn write_at(&self, path: &Path, offset: u64, data: &[u8]) -> io::Result<usize>;

    /// Makes the file and its folders where they are missing; never shortens one that exists.
    /// [`Allocation::Full`] also gives it `len` bytes of space.
    ///
    /// # Errors
    /// Whatever the system says, such as [`StorageFull`](io::ErrorKind::StorageFull).
    fn create(&self, path: &Path, len: u64, allocation: Allocation) -> io::Result<()>;

    /// Makes a file that exists `len` bytes long: cuts off what is behind, or lets a hole follow
    /// what is there. A session folder needs it to go on after a write that failed.
    ///
    /// # Errors
    /// As for [`read_at`](Self::read_at); [`Unsupported`](io::ErrorKind::Unsupported) on a disk
    /// that cannot.
    fn set_len(&self, path: &Path, len: u64) -> io::Result<()> {
        let _ = (path, len);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// What is there; `None` if nothing is.
    ///
    /// # Errors
    /// Whatever the system says, such as [`PermissionDenied`](io::ErrorKind::PermissionDenied).
    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>>;

    /// Whether names in `folder`, or in what will be made there, that differ only in case are names
    /// of one file. `folder` need not be there yet. Asked only about torrents that have such
    /// names.
    ///
    /// # Errors
    /// Whatever the system says.
    fn ignores_case(&self, folder: &Path) -> io::Result<bool> {
        let _ = folder;
        Ok(false)
    }

    /// What is there, of a file that is held open, if that is known without waiting for anything;
    /// else `None`. Never blocks.
    ///
    /// # Errors
    /// Whatever the system says.
    fn stat_open(&self, path: &Path) -> io::Result<Option<FileStat>> {
        let _ = path;
        Ok(None)
    }

    /// Returns once the file's data would survive a power cut.
    ///
    /// # Errors
    /// If that cannot be promised: then data written before may be lost even if a later call
    /// succeeds.
    fn sync(&self, path: &Path) -> io::Result<()>;

    /// The same for many files, with an answer each, in order. A disk that is waited for should be
    /// asked for several at a time: a journal that is written once for all of them costs one
    /// wait and not one a file.
    fn sync_many(&self, paths: &[&Path]) -> Vec<io::Result<()>> {
        paths.iter().map(|path| self.sync(path)).collect()
    }

    /// Returns once the names in a folder would survive a power cut. A disk that cannot lose them
    /// has nothing to do.
    ///
    /// # Errors
    /// If that cannot be promised.
    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        let _ = folder;
        Ok(())
    }

    /// A small file whole; `None` if there is none.
    ///
    /// # Errors
    /// [`FileTooLarge`](io::ErrorKind::FileTooLarge) above `limit` bytes, and whatever the system
    /// says.
    fn load(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>>;

    /// Replaces a small file so that a reader, or we after a crash, find either the old one or the
    /// new one, whole. Makes its folder if need be.
    ///
    /// # Errors
    /// Whatever the system says. The old file is still there, unless all that failed was to make
    /// sure of the new one's name: then it is the new one, and a power cut may bring the old
    /// one back.
    fn save(&self, path: &Path, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file a second name, under which nothing may be yet, so that the first can be
    /// deleted. Makes the folder if need be. Survives a power cut.
    ///
    /// # Errors
    /// [`NotFound`](io::ErrorKind::NotFound) if there is no such file,
    /// [`AlreadyExists`](io::ErrorKind::AlreadyExists) if something is at
    /// `to`; [`Unsupported`](io::ErrorKind::Unsupported),
    /// [`CrossesDevices`](io::ErrorKind::CrossesDevices) and others where a file cannot have
    /// two names: then it has to be copied.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives a file another name, at once, under which nothing may be yet. Makes the folder if need
    /// be. Survives a power cut.
    ///
    /// # Errors
    /// As for [`link`](Self::link), but that a file is copied only after
    /// [`Unsupported`](io::ErrorKind::Unsupported) and
    /// [`CrossesDevices`](io::ErrorKind::CrossesDevices).
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let _ = (from, to);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Deletes the regular file `root/below`; false if there is nothing. Follows no link below
    /// `root`.
    ///
    /// # Errors
    /// If it is anything but a regular file or lies behind a link: then it stays; and whatever the
    /// system says.
    fn remove(&self, root: &Path, below: &Path) -> io::Result<bool> {
        let _ = (root, below);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Deletes the folder `root/below` if it is empty; false if it is not, or not there, or not a
    /// folder. Follows no link below `root`.
    ///
    /// # Errors
    /// Whatever the system says.
    fn remove_dir(&self, root: &Path, below: &Path) -> io::Result<bool> {
        let _ = (root, below);
        Ok(false)
    }

    /// Replaces a file of any size in the same way: `write` writes the new one, which takes the
    /// place of the old one when it is whole and safe.
    ///
    /// # Errors
    /// As for [`save`](Self::save), and those of `write`.
    fn replace(
        &self,
        path: &Path,
        write: &mut dyn FnMut(&mut dyn io::Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut bytes = Vec::new();
        write(&mut bytes)?;
        self.save(path, &bytes)
    }

    /// Makes `path`, and its folder, a sign that what lies beside it is in use, until what is
    /// returned is dropped or the process ends. A disk that no other process can see has
    /// nothing to do.
    ///
    /// # Errors
    /// Whatever the system says. A lock that is already held is no error: see [`Locked`].
    fn lock(&self, path: &Path) -> io::Result<Locked> {
        let _ = path;
        Ok(Locked::Ours(None))
    }

    /// Lets go of what is held open for `path`.
    fn close(&self, path: &Path);

    /// Whether a file is held open for `path` that is not the one to which the path leads: another
    /// has taken its name, so what was written is nowhere. A disk that holds nothing open, or
    /// cannot tell files apart, says no.
    ///
    /// # Errors
    /// Whatever the system says.
    fn is_replaced(&self, path: &Path) -> io::Result<bool> {
        let _ = path;
        Ok(false)
    }

    /// Whether these bytes of an existing file surely were never written: a hint, which saves
    /// hashing zeroes. A disk that does not know says no.
    fn is_hole(&self, path: &Path, offset: u64, len: u64) -> bool {
        let _ = (path, offset, len);
        false
    }

    /// Refuses a path on which a symbolic link lies between `root` and the end of `root/below`, so
    /// that what a torrent names cannot lead a write out of its folder. Called once a file,
    /// before it is first written. A disk without links has nothing to refuse.
    ///
    /// # Errors
    /// [`PermissionDenied`](io::ErrorKind::PermissionDenied) naming the link.
    fn refuse_links(&self, root: &Path, below: &Path) -> io::Result<()> {
        let _ = (root, below);
        Ok(())
    }
}
