//! One torrent's files on a disk: reads, writes, makes them when first written, and syncs what was
//! written.
//!
//! Knows bytes of the torrent, not pieces or hashes. Shared by all workers.

mod borrowed;
mod data;
mod making;
mod marks;
mod outside;
mod parking;
mod presence;

use std::{
    io::{self, ErrorKind},
    iter,
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};

use super::{
    disk::{Disk, FileStat},
    layout::{Layout, LayoutFile, Segment},
};
use crate::base::storage::{Allocation, Borrowed, StoreError, StoreOp};
use making::Making;
use marks::{
    BORROWED, DOUBTFUL, FOUND, HELD, Marks, PARKED, READY, REWRITE, SKIPPED, STRANGE, UNSYNCED,
};
use parking::PartFile;
pub(super) use parking::export_file;

/// The files of one torrent.
#[derive(Debug)]
pub(crate) struct TorrentFiles {
    disk: Arc<dyn Disk>,
    layout: Layout,
    allocation: Allocation,
    marks: Marks,
    making: Making,
    parts: Option<PartFile>,
    /// The files that are other torrents'.
    owners: Mutex<Vec<Borrowed>>,
}

impl TorrentFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, layout: Layout, allocation: Allocation) -> Self {
        let count = layout.files().len();
        Self {
            disk,
            layout,
            allocation,
            marks: Marks::new(count + 1),
            making: Making::default(),
            parts: None,
            owners: Mutex::default(),
        }
    }

    /// The part file's number.
    fn parts_index(&self) -> usize {
        self.layout.files().len()
    }

    /// A file by number, the part file among them.
    fn file(&self, index: usize) -> Option<&LayoutFile> {
        self.layout.files().get(index).or_else(|| {
            self.parts.as_ref().filter(|_| index == self.parts_index()).map(|p| &p.file)
        })
    }

    /// All files that may be on disk, with the part file.
    fn all_files(&self) -> impl Iterator<Item = (usize, &LayoutFile)> {
        let parts = self.parts.iter().map(|parts| &parts.file);
        self.layout.files().iter().chain(parts).enumerate().filter(|(_, f)| f.on_disk)
    }

    /// The paths of all files that may be on disk, the part file's among them.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.all_files().map(|(_, f)| f.path.clone()).collect()
    }

    /// The paths of these files, by number, as far as they may be on disk.
    pub(crate) fn paths_of(&self, files: &[usize]) -> Vec<PathBuf> {
        let on_disk =
            files.iter().filter_map(|&file| self.layout.files().get(file)).filter(|f| f.on_disk);
        on_disk.map(|f| f.path.clone()).collect()
    }

    /// Which of these were seen with bytes in them, in the same order.
    pub(crate) fn seen(&self) -> Vec<bool> {
        let stats = self.stats();
        let seen = |index: usize| {
            stats.get(index).is_some_and(|stat| stat.is_some_and(|stat| stat.len > 0))
        };
        let made = |index: usize| self.marks(index) & READY != 0;
        self.all_files().map(|(index, file)| seen(index) || (file.len > 0 && made(index))).collect()
    }

    pub(crate) fn disk(&self) -> &dyn Disk {
        &*self.disk
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Looks at every regular file. Returns what it found.
    pub(crate) fn look(&self) -> Result<Vec<Option<FileStat>>, StoreError> {
        let stat = |path| self.disk.stat(path).map_err(|e| StoreError::new(StoreOp::Open, path, e));
        let dir = self.layout.dir();
        let mut stats = vec![None; self.layout.files().len() + 1];
        match stat(dir)? {
            // Nothing is there, so a million files need no million looks.
            None => {
                self.park(&stats);
                return Ok(stats);
            }
            Some(found) if !found.is_dir => {
                return Err(StoreError::new(StoreOp::Open, dir, ErrorKind::NotADirectory.into()));
            }
            Some(_) => {}
        }
        for (index, file) in self.all_files() {
            if let (found, Some(slot)) =
                (stat(&file.path)?.filter(|s| s.is_file), stats.get_mut(index))
            {
                *slot = found;
            }
        }
        self.stats().clone_from(&stats);
        self.park(&stats);
        Ok(stats)
    }

    /// The files that nothing says are safe, since a sync failed, but for those of other torrents.
    pub(crate) fn in_doubt(&self) -> impl Iterator<Item = &Path> {
        let is_doubtful = |index| {
            let marks = self.marks(index);
            marks & (DOUBTFUL | REWRITE) != 0 && marks & BORROWED == 0
        };
        let doubtful = self.all_files().filter(move |&(index, _)| is_doubtful(index));
        doubtful.map(|(_, file)| file.path.as_path())
    }

    /// A sync of these files failed when another torrent had them, or this one before.
    pub(crate) fn doubt(&self, is_doubtful: impl Fn(&Path) -> bool) {
        let doubtful = self.all_files().filter(|(_, file)| is_doubtful(&file.path));
        doubtful.for_each(|(index, _)| self.mark(index, DOUBTFUL));
    }

    /// The same, when the state is saved: returns the files of which it says so from now on.
    /// Those that were known to be in doubt have been looked at since, or are still to be.
    pub(crate) fn take_over(&self, is_doubtful: impl Fn(&Path) -> bool) -> Vec<&Path> {
        let mut own = Vec::new();
        for (index, file) in self.all_files().filter(|(_, file)| is_doubtful(&file.path)) {
            let marks = self.marks(index);
            if marks & (REWRITE | BORROWED) != REWRITE {
                self.mark(index, DOUBTFUL);
            }
            if marks & BORROWED == 0 {
                own.push(file.path.as_path());
            }
        }
        own
    }

    /// Something in `range` is to be checked: if it is good it will be vouched for, so it must be
    /// synced before.
    pub(crate) fn note_found(&self, range: Range<u64>) {
        for (segment, _) in self.layout.segments(range).filter(|(_, file)| file.on_disk) {
            if let Some((at, _)) = self.spot(&segment)
                && self.stats().get(at).is_some_and(Option::is_some)
            {
                self.mark(at, FOUND);
            }
        }
    }

    /// What is to be checked of a file (the one behind the last is the part file) was written by
    /// us, and nothing says that it is safe.
    pub(crate) fn note_unsafe(&self, index: usize) {
        if self.marks(index) & FOUND != 0 {
            self.mark(index, REWRITE);
        }
    }

    /// What lies in `range` was read and is good: if nothing says that it is safe it is written
    /// again, so that the next sync is about it. Where that cannot be, the file stays in doubt.
    pub(crate) fn make_safe(&self, range: Range<u64>) {
        let segments = self.layout.segments(range).filter(|(_, file)| file.on_disk);
        let places: Vec<_> = segments
            .filter_map(|(s, _)| self.spot(&s).map(|(file, at)| (file, at..at + s.len)))
            .collect();
        for (index, range) in places {
            if self.marks(index) & (REWRITE | DOUBTFUL | BORROWED) == REWRITE
                && let Some(file) = self.file(index)
                && let Err(error) = self.write_again(index, file, range)
            {
                log::warn!("{error}: what was found there is not known to be safe");
                self.mark(index, DOUBTFUL);
            }
        }
    }

    /// Whether something that is still to be checked is to be written again.
    pub(crate) fn is_unsafe(&self) -> bool {
        self.marks.has_any(REWRITE)
    }

    /// All was checked and synced: nothing more need be written again.
    pub(crate) fn note_safe(&self) {
        (0..=self.parts_index()).for_each(|index| _ = self.unmark(index, REWRITE));
    }

    /// Where bytes lie of which a sync failed, or also those that are still to be synced
    /// (`unsynced`), in bytes of the torrent.
    pub(crate) fn doubtful(&self, unsynced: bool) -> impl Iterator<Item = Range<u64>> {
        let doubt = if unsynced { DOUBTFUL | UNSYNCED | FOUND } else { DOUBTFUL };
        let is_doubtful = move |index| self.marks(index) & doubt != 0;
        let parts = is_doubtful(self.parts_index());
        let files = self.layout.files().iter().enumerate().filter(|(_, file)| file.on_disk);
        let doubtful = files.filter(move |&(index, _)| {
            is_doubtful(index) || (parts && self.marks(index) & PARKED != 0)
        });
        doubtful.map(|(_, file)| file.offset..file.offset + file.len)
    }

    /// Syncs files written since they were last synced, and looks at them again; and what was found
    /// there. Begins with the file `from`, and ends after `limit` of them: then it returns
    /// which file is next.
    pub(crate) fn sync(&self, from: usize, limit: usize) -> Result<Option<usize>, StoreError> {
        let (mut next, mut due) = (None, Vec::new());
        for (index, file) in self.all_files().skip_while(|(index, _)| *index < from) {
            if self.marks(index) & (UNSYNCED | FOUND) == 0 {
                continue;
            }
            if due.len() == limit {
                next = Some(index);
                break;
            }
            // Before the sync, so that a write meanwhile marks it again.
            due.push((index, file, self.unmark(index, UNSYNCED | FOUND)));
        }
        let paths: Vec<_> = due.iter().map(|(_, file, _)| file.path.as_path()).collect();
        // A file without an answer is not known to be safe.
        let done = self.disk.sync_many(&paths);
        let done = done.into_iter().chain(iter::repeat_with(no_answer));
        let mut result = Ok(next);
        for ((index, file, marks), done) in due.into_iter().zip(done) {
            let failed = |e| StoreError::new(StoreOp::Sync, &file.path, e);
            let found = match done {
                Err(e) => {
                    self.mark(index, DOUBTFUL);
                    Err(e)
                }
                Ok(()) if marks & UNSYNCED == 0 => continue,
                Ok(()) => self.look_again(index, file),
            };
            match found.map_err(failed) {
                Ok(found) => self.stats().get_mut(index).into_iter().for_each(|stat| *stat = found),
                Err(e) => result = result.and(Err(e)),
            }
        }
        result
    }

    /// Looks at a file that was written and synced. What is open can be synced when it has lost its
    /// name, and no start finds it.
    fn look_again(&self, index: usize, file: &LayoutFile) -> io::Result<Option<FileStat>> {
        let found = self.disk.stat(&file.path)?;
        let lost = match found {
            None => has_gone(),
            Some(_) if self.disk.is_replaced(&file.path)? => was_replaced(),
            Some(_) => return Ok(found),
        };
        self.mark(index, DOUBTFUL);
        self.disk.close(&file.path);
        Err(lost)
    }

    /// Files that may be on disk.
    pub(crate) fn count(&self) -> usize {
        self.parts_index()
    }

    /// What to remember each file by; `None` where it should not be vouched for.
    pub(crate) fn known_stats(&self) -> Vec<Option<FileStat>> {
        (0..self.layout.files().len()).map(|index| self.known_stat(index)).collect()
    }

    /// The same of the part file.
    pub(crate) fn known_parts(&self) -> Option<FileStat> {
        self.known_stat(self.parts_index())
    }

    fn known_stat(&self, index: usize) -> Option<FileStat> {
        self.marks.stat(index).filter(|_| self.marks(index) & DOUBTFUL == 0)
    }

    fn parts_stat_now(&self) -> Option<FileStat> {
        self.stats().last().copied().flatten()
    }

    /// Takes over what the same files have still to be synced, from where they were before.
    pub(crate) fn inherit(&self, earlier: &Self) {
        let kept = UNSYNCED | DOUBTFUL | FOUND | REWRITE | STRANGE;
        self.marks.inherit(&earlier.marks, kept);
    }

    /// The files are opened anew. Returns where bytes lie that no saved state may be believed of,
    /// in bytes of the torrent.
    pub(crate) fn reconsider(&self) -> Vec<Range<u64>> {
        let is_strange = |index: usize| self.marks(index) & STRANGE != 0;
        let files = self.layout.files().iter().enumerate();
        let strange = files
            .filter(|&(index, file)| file.on_disk && is_strange(index))
            .map(|(_, file)| file.offset..file.offset + file.len);
        let doubtful = self.doubtful(false).chain(strange).collect();
        for index in 0..=self.parts_index() {
            self.unmark(index, STRANGE);
            if self.unmark(index, DOUBTFUL) & DOUBTFUL != 0 {
                self.mark(index, REWRITE);
            }
        }
        doubtful
    }

    /// Whether some file of `range` has nothing but a hole there.
    pub(crate) fn has_hole(&self, range: Range<u64>) -> bool {
        self.layout.segments(range).any(|(s, file)| file.on_disk && self.is_hole_at(&s))
    }

    /// Whether `range` is nothing but holes (and pads): it reads as zeroes.
    pub(crate) fn is_hole(&self, range: Range<u64>) -> bool {
        self.layout.segments(range).all(|(s, file)| !file.on_disk || self.is_hole_at(&s))
    }

    fn is_hole_at(&self, segment: &Segment) -> bool {
        let Some((file, at)) = self.spot(segment) else { return true };
        self.file(file).is_some_and(|file| self.disk.is_hole(&file.path, at, segment.len))
    }

    pub(crate) fn close(&self) {
        self.all_files().for_each(|(_, f)| self.disk.close(&f.path));
    }

    fn stats(&self) -> MutexGuard<'_, Vec<Option<FileStat>>> {
        self.marks.stats()
    }

    fn marks(&self, index: usize) -> u16 {
        self.marks.of(index)
    }

    fn mark(&self, index: usize, bits: u16) {
        self.marks.set(index, bits);
    }

    /// Takes marks away, and returns those there were.
    fn unmark(&self, index: usize, bits: u16) -> u16 {
        self.marks.clear(index, bits)
    }
}

fn no_answer() -> io::Result<()> {
    Err(io::Error::other("the disk has not said whether the file is synced"))
}

fn has_gone() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "the file has gone: recheck the torrent")
}

fn was_replaced() -> io::Error {
    let what = "another file has taken its place while it was written: recheck the torrent";
    io::Error::new(ErrorKind::NotFound, what)
}

/// Whether an error says that data is not there, rather than that it cannot be reached.
pub(crate) fn is_missing(e: &StoreError) -> bool {
    matches!(
        e.source.kind(),
        ErrorKind::NotFound
            | ErrorKind::UnexpectedEof
            | ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::Unsupported
    )
}
