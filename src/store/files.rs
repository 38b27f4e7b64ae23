//! One torrent's files on a disk: reads, writes, makes them when first written, and syncs what was written.
//!
//! Knows bytes of the torrent, not pieces or hashes. Shared by all workers.

use std::{
    io::{self, ErrorKind},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use super::{
    disk::{Disk, FileStat},
    layout::{Layout, LayoutFile},
};
use crate::base::job::{Allocation, StoreError, StoreOp};

/// The file is there and may be written: no need to make it.
const READY: u8 = 1;
/// Written since it was last synced.
const UNSYNCED: u8 = 2;
/// Holds data that was there before us, and that nobody says is synced.
const FOUND: u8 = 8;
/// A sync failed, so what was written may be lost though it can still be read: it is never vouched for again.
const DOUBTFUL: u8 = 4;

/// The files of one torrent.
#[derive(Debug)]
pub(crate) struct TorrentFiles {
    disk: Arc<dyn Disk>,
    layout: Layout,
    allocation: Allocation,
    marks: Vec<AtomicU8>,
    /// Held while a file is made, so that two workers do not do it at once.
    making: Mutex<()>,
    empties_made: AtomicBool,
    /// What each file looked like after our own last write to it, or when the torrent was opened. Not looked at
    /// otherwise: a change that somebody else made must not pass for ours.
    stats: Mutex<Vec<Option<FileStat>>>,
}

impl TorrentFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, layout: Layout, allocation: Allocation) -> Self {
        let count = layout.files().len();
        Self {
            disk,
            layout,
            allocation,
            marks: (0..count).map(|_| AtomicU8::new(0)).collect(),
            making: Mutex::default(),
            empties_made: AtomicBool::new(false),
            stats: Mutex::new(vec![None; count]),
        }
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
        let mut stats = vec![None; self.layout.files().len()];
        match stat(dir)? {
            // Nothing is there, so a million files need no million looks.
            None => return Ok(stats),
            Some(found) if !found.is_dir => {
                return Err(StoreError::new(StoreOp::Open, dir, ErrorKind::NotADirectory.into()));
            }
            Some(_) => {}
        }
        for (found, file) in stats.iter_mut().zip(self.layout.files()).filter(|(_, f)| f.on_disk) {
            *found = stat(&file.path)?.filter(|s| s.is_file);
        }
        self.stats().clone_from(&stats);
        Ok(stats)
    }

    /// Fills `buf` from `offset` of the torrent.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), StoreError> {
        let mut rest = buf;
        for (segment, file) in self.layout.segments(offset..offset.saturating_add(rest.len() as u64)) {
            let (mut part, after) = rest.split_at_mut(segment.len as usize);
            rest = after;
            if !file.on_disk {
                part.fill(0);
                continue;
            }
            let mut at = segment.offset;
            while !part.is_empty() {
                let read = match self.disk.read_at(&file.path, at, part) {
                    Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                    other => other,
                };
                let read = read.map_err(|e| StoreError::new(StoreOp::Read, &file.path, e))?;
                at += read as u64;
                part = part.get_mut(read..).unwrap_or_default();
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(StoreError::new(StoreOp::Read, self.layout.dir(), beyond_the_end())) }
    }

    /// Writes `data` at `offset` of the torrent, one write a file where the system takes it whole.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<(), StoreError> {
        self.make_empty_files()?;
        let mut rest = data;
        for (segment, file) in self.layout.segments(offset..offset.saturating_add(rest.len() as u64)) {
            let (part, after) = rest.split_at(segment.len as usize);
            rest = after;
            if file.on_disk {
                self.write_file(segment.file, file, segment.offset, part)?;
            }
        }
        if rest.is_empty() { Ok(()) } else { Err(StoreError::new(StoreOp::Write, self.layout.dir(), beyond_the_end())) }
    }

    fn write_file(&self, index: usize, file: &LayoutFile, mut at: u64, mut data: &[u8]) -> Result<(), StoreError> {
        self.make(index, file)?;
        self.mark(index, UNSYNCED);
        while !data.is_empty() {
            let written = match self.disk.write_at(&file.path, at, data) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                other => other,
            };
            let written = written.map_err(|e| StoreError::new(StoreOp::Write, &file.path, e))?;
            at += written as u64;
            data = data.get(written..).unwrap_or_default();
        }
        Ok(())
    }

    /// Makes sure that the file exists, once.
    fn make(&self, index: usize, file: &LayoutFile) -> Result<(), StoreError> {
        if self.marks(index) & READY != 0 {
            return Ok(());
        }
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        if self.marks(index) & READY != 0 {
            return Ok(());
        }
        let failed = |op| move |e| StoreError::new(op, &file.path, e);
        // A file that was there and has gone took its pieces along. Made again it would read as zeroes, which would be
        // served as those pieces; so that is for the user to see, and to recheck.
        let was_there = self.stats().get(index).is_some_and(|s| s.is_some_and(|s| s.len > 0));
        if was_there && self.disk.stat(&file.path).map_err(failed(StoreOp::Write))?.is_none() {
            return Err(failed(StoreOp::Write)(io::Error::new(ErrorKind::NotFound, "the file has gone: recheck the torrent")));
        }
        let dir = self.layout.dir();
        if let Ok(below) = file.path.strip_prefix(dir) {
            self.disk.refuse_links(dir, below).map_err(failed(StoreOp::Create))?;
        }
        self.disk.create(&file.path, file.len, Allocation::Sparse).map_err(failed(StoreOp::Create))?;
        if self.allocation == Allocation::Full && file.len > 0 {
            self.disk.create(&file.path, file.len, Allocation::Full).map_err(failed(StoreOp::Allocate))?;
        }
        self.mark(index, READY | UNSYNCED);
        Ok(())
    }

    /// Makes the files of no bytes, which no write ever reaches.
    pub(crate) fn make_empty_files(&self) -> Result<(), StoreError> {
        if self.empties_made.load(Ordering::Acquire) {
            return Ok(());
        }
        for (index, file) in self.layout.files().iter().enumerate().filter(|(_, f)| f.on_disk && f.len == 0) {
            self.make(index, file)?;
            self.disk.close(&file.path);
        }
        self.empties_made.store(true, Ordering::Release);
        Ok(())
    }

    /// Something in `range` is to be checked: if it is good it will be vouched for, so it must be synced before.
    pub(crate) fn note_found(&self, range: Range<u64>) {
        for (segment, file) in self.layout.segments(range) {
            if file.on_disk && self.stats().get(segment.file).is_some_and(Option::is_some) {
                self.mark(segment.file, FOUND);
            }
        }
    }

    /// Syncs every file written since it was last synced, and looks at it again; and what was found there.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        for (index, file) in self.layout.files().iter().enumerate() {
            // Before the sync, so that a write meanwhile marks it again.
            let marks = self.unmark(index, UNSYNCED | FOUND);
            if marks & (UNSYNCED | FOUND) == 0 {
                continue;
            }
            let done = self.disk.sync(&file.path).map_err(|e| StoreError::new(StoreOp::Sync, &file.path, e));
            if done.is_err() {
                self.mark(index, DOUBTFUL);
            }
            done?;
            if marks & UNSYNCED == 0 {
                continue;
            }
            let found = self.disk.stat(&file.path).map_err(|e| StoreError::new(StoreOp::Sync, &file.path, e))?;
            if let Some(stat) = self.stats().get_mut(index) {
                *stat = found;
            }
        }
        Ok(())
    }

    /// What to remember each file by; `None` where it should not be vouched for.
    pub(crate) fn known_stats(&self) -> Vec<Option<FileStat>> {
        let stats = self.stats();
        stats.iter().enumerate().map(|(index, stat)| stat.filter(|_| self.marks(index) & DOUBTFUL == 0)).collect()
    }

    /// Takes over what an earlier opening of the same torrent has still to sync.
    pub(crate) fn inherit(&self, earlier: &Self) {
        if earlier.marks.len() == self.marks.len() {
            for (index, mark) in earlier.marks.iter().enumerate() {
                self.mark(index, mark.load(Ordering::Acquire) & (UNSYNCED | DOUBTFUL | FOUND));
            }
        }
    }

    /// Whether some file of `range` has nothing but a hole there.
    pub(crate) fn has_hole(&self, range: Range<u64>) -> bool {
        self.layout.segments(range).any(|(s, file)| file.on_disk && self.disk.is_hole(&file.path, s.offset, s.len))
    }

    /// Whether `range` is nothing but holes (and pads): it reads as zeroes.
    pub(crate) fn is_hole(&self, range: Range<u64>) -> bool {
        self.layout.segments(range).all(|(s, file)| !file.on_disk || self.disk.is_hole(&file.path, s.offset, s.len))
    }

    pub(crate) fn close(&self) {
        self.layout.files().iter().filter(|f| f.on_disk).for_each(|f| self.disk.close(&f.path));
    }

    fn stats(&self) -> MutexGuard<'_, Vec<Option<FileStat>>> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn marks(&self, index: usize) -> u8 {
        self.marks.get(index).map_or(0, |m| m.load(Ordering::Acquire))
    }

    fn mark(&self, index: usize, bits: u8) {
        if let Some(mark) = self.marks.get(index) {
            mark.fetch_or(bits, Ordering::AcqRel);
        }
    }

    /// Takes marks away, and returns those there were.
    fn unmark(&self, index: usize, bits: u8) -> u8 {
        self.marks.get(index).map_or(0, |mark| mark.fetch_and(!bits, Ordering::AcqRel))
    }
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

fn beyond_the_end() -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, "bytes beyond the end of the torrent")
}
