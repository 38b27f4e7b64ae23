//! Files of other torrents that this one has, too: what is in them is used, and never changed.

use std::{
    collections::{BTreeSet, HashSet},
    io::{self, ErrorKind},
    ops::Range,
    path::Path,
    sync::{MutexGuard, PoisonError},
};

use super::super::layout::LayoutFile;
use super::{BORROWED, DOUBTFUL, REWRITE, TorrentFiles};
use crate::base::{
    arena::Key,
    storage::{Borrowed, StoreError, StoreOp},
};

/// Bytes compared at once.
const COMPARED: usize = 64 << 10;

impl TorrentFiles {
    /// From now on these files are other torrents'.
    pub(crate) fn borrow(&self, borrowed: &[Borrowed]) {
        for index in 0..self.layout.files().len() {
            self.unmark(index, BORROWED);
        }
        borrowed.iter().for_each(|borrowed| self.mark(borrowed.file, BORROWED));
        *self.owners() = borrowed.to_vec();
    }

    /// The torrents whose files these are.
    pub(crate) fn lenders(&self) -> BTreeSet<Key> {
        self.owners().iter().map(|borrowed| borrowed.owner).collect()
    }

    /// What the torrent that a file belongs to cannot vouch for, since a sync failed, is no safer
    /// for being read by this one.
    pub(crate) fn doubt_with(&self, lender: &Self) {
        let is_doubtful = |index: &usize| lender.marks(*index) & (DOUBTFUL | REWRITE) != 0;
        let doubtful =
            lender.layout.files().iter().enumerate().filter(|(index, _)| is_doubtful(index));
        let doubtful: HashSet<&Path> = doubtful.map(|(_, file)| file.path.as_path()).collect();
        if doubtful.is_empty() {
            return;
        }
        for (index, file) in self.layout.files().iter().enumerate() {
            if self.marks(index) & BORROWED != 0 && doubtful.contains(file.path.as_path()) {
                self.mark(index, DOUBTFUL);
            }
        }
    }

    fn owners(&self) -> MutexGuard<'_, Vec<Borrowed>> {
        self.owners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether some file of `range` is another torrent's.
    pub(crate) fn is_any_borrowed(&self, range: Range<u64>) -> bool {
        self.layout.segments(range).any(|(segment, _)| self.marks(segment.file) & BORROWED != 0)
    }

    /// Bytes that are to be written to a file of another torrent: fine if they are there already,
    /// as where a piece has bytes of that file and of one of our own. Others, unless they are
    /// known to be `good`, may be a peer's fault: the hash of their piece will tell.
    pub(super) fn leave_borrowed(
        &self,
        index: usize,
        file: &LayoutFile,
        mut at: u64,
        data: &[u8],
        good: bool,
    ) -> Result<(), StoreError> {
        let failed = |e| StoreError::new(StoreOp::Write, &file.path, e);
        let mut rest = data;
        let mut buf = vec![0; COMPARED.min(data.len())];
        while !rest.is_empty() {
            let len = buf.len().min(rest.len());
            let part = buf.get_mut(..len).unwrap_or_default();
            let read = match self.disk.read_at(&file.path, at, part) {
                Ok(read) => read.min(len),
                Err(e) if e.kind() == ErrorKind::NotFound => 0,
                Err(e) => return Err(failed(e)),
            };
            if read == 0 || part.get(..read) != rest.get(..read) {
                if !good {
                    return Ok(());
                }
                return Err(failed(self.is_anothers(index)));
            }
            at += read as u64;
            rest = rest.get(read..).unwrap_or_default();
        }
        Ok(())
    }

    /// Why a piece that is good cannot be had: bytes of it that are another torrent's are not
    /// there.
    pub(crate) fn differs(&self, range: Range<u64>) -> StoreError {
        let mut borrowed = self
            .layout
            .segments(range)
            .filter(|(segment, _)| self.marks(segment.file) & BORROWED != 0);
        let (index, path) = borrowed
            .next()
            .map_or((0, self.layout.dir()), |(segment, file)| (segment.file, &*file.path));
        StoreError::new(StoreOp::Write, path, self.is_anothers(index))
    }

    fn is_anothers(&self, index: usize) -> io::Error {
        let owners = self.owners();
        let name = owners
            .iter()
            .find(|borrowed| borrowed.file == index)
            .map_or("", |borrowed| &borrowed.name);
        let what =
            format!("it belongs to the torrent {name:?}, has other bytes there, and is only read");
        io::Error::new(ErrorKind::PermissionDenied, what)
    }
}
