//! One torrent's files on a disk: reads, writes, makes them when first written, and syncs what was written.
//!
//! Knows bytes of the torrent, not pieces or hashes. Shared by all workers.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use super::{
    disk::{Disk, FileStat},
    layout::{Layout, LayoutFile, Segment},
};
use crate::base::{
    job::{Allocation, StoreError, StoreOp},
    planted::planted,
};

/// The file is there and may be written: no need to make it.
const READY: u8 = 1;
/// Written since it was last synced.
const UNSYNCED: u8 = 2;
/// Holds data that was there before us, and that nobody says is synced.
const FOUND: u8 = 8;
/// A sync failed, so what was written may be lost though it can still be read: it is never vouched for again.
const DOUBTFUL: u8 = 4;

/// Buffers that one system call may fill. Linux takes 1024.
const MAX_BUFS: usize = 256;

/// Consecutive bytes of one file, and where they go.
#[derive(Debug, Default)]
struct Stretch<'a> {
    file: usize,
    start: u64,
    end: u64,
    bufs: Vec<IoSliceMut<'a>>,
}

impl Stretch<'_> {
    fn goes_on_at(&self, segment: &Segment) -> bool {
        (self.file, self.end) == (segment.file, segment.offset) && (1..MAX_BUFS).contains(&self.bufs.len())
    }
}

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
        self.read_parts(std::iter::once((offset, buf)), true).map(|_| ())
    }

    /// Fills each part from its offset of the torrent; what lies side by side in a file is read at once. Unless it `may_wait`, it gives
    /// up (false) where the disk would have to be waited for.
    pub(crate) fn read_parts<'a>(
        &self,
        parts: impl Iterator<Item = (u64, &'a mut [u8])>,
        may_wait: bool,
    ) -> Result<bool, StoreError> {
        let mut stretch = Stretch::default();
        for (offset, mut rest) in parts {
            for (segment, file) in self.layout.segments(offset..offset.saturating_add(rest.len() as u64)) {
                let (part, after) = std::mem::take(&mut rest).split_at_mut(segment.len as usize);
                rest = after;
                if !file.on_disk {
                    part.fill(0);
                    continue;
                }
                if !stretch.goes_on_at(&segment) {
                    if !self.read_stretch(&mut stretch, may_wait)? {
                        return Ok(false);
                    }
                    (stretch.file, stretch.start, stretch.end) = (segment.file, segment.offset, segment.offset);
                }
                stretch.end += segment.len;
                stretch.bufs.push(IoSliceMut::new(part));
            }
            if !rest.is_empty() {
                return Err(StoreError::new(StoreOp::Read, self.layout.dir(), beyond_the_end()));
            }
        }
        self.read_stretch(&mut stretch, may_wait)
    }

    fn read_stretch(&self, stretch: &mut Stretch<'_>, may_wait: bool) -> Result<bool, StoreError> {
        let Some(file) = self.layout.files().get(stretch.file) else { return Ok(true) };
        let (mut at, mut bufs) = (stretch.start, stretch.bufs.as_mut_slice());
        while at < stretch.end {
            let read = if may_wait {
                self.disk.read_vectored_at(&file.path, at, bufs).map(Some)
            } else {
                self.disk.try_read_vectored_at(&file.path, at, bufs)
            };
            let read = match read {
                Ok(None) => return Ok(false),
                Ok(Some(0)) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(Some(read)) => Ok(read.min((stretch.end - at) as usize)),
                Err(e) => Err(e),
            };
            let read = read.map_err(|e| StoreError::new(StoreOp::Read, &file.path, e))?;
            at += read as u64;
            IoSliceMut::advance_slices(&mut bufs, read);
        }
        stretch.bufs.clear();
        Ok(true)
    }

    /// Begins to fetch `range`, which will be read.
    pub(crate) fn will_need(&self, range: Range<u64>) {
        for (segment, file) in self.layout.segments(range).filter(|(_, file)| file.on_disk) {
            self.disk.will_need(&file.path, segment.offset, segment.len);
        }
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
            let done = planted!("saved_before_data", Ok(()), self.disk.sync(&file.path));
            let done = done.map_err(|e| StoreError::new(StoreOp::Sync, &file.path, e));
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
