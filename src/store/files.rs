//! One torrent's files on a disk: reads, writes, makes them when first written, and syncs what was written.
//!
//! Knows bytes of the torrent, not pieces or hashes. Shared by all workers.

use std::{
    io::{self, ErrorKind, IoSliceMut},
    ops::Range,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
};

use super::{
    disk::{Disk, FileStat},
    layout::{Layout, LayoutFile, Segment},
    parts::Slots,
};
use crate::base::{
    geometry::Geometry,
    job::{Allocation, StoreError, StoreOp},
};

/// The file is there and may be written: no need to make it.
const READY: u8 = 1;
/// Written since it was last synced.
const UNSYNCED: u8 = 2;
/// Holds data that was there before us, and that nobody says is synced.
const FOUND: u8 = 8;
/// A sync failed, so what was written may be lost though it can still be read: it is never vouched for again.
const DOUBTFUL: u8 = 4;
/// Not there: what other files need of its pieces is in the part file. That changes only while no job runs.
const PARKED: u8 = 16;
/// Not wanted: it is not made.
const SKIPPED: u8 = 32;
/// The part file may have something of it.
const HELD: u8 = 64;

/// Buffers that one system call may fill. Linux takes 1024.
const MAX_BUFS: usize = 256;
/// Bytes copied at once.
const COPY_LEN: usize = 1 << 20;

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
    /// The last one is that of the part file, as in `marks`.
    stats: Mutex<Vec<Option<FileStat>>>,
    parts: Option<PartFile>,
}

/// The file that stands in for those that are skipped and not there.
#[derive(Debug)]
struct PartFile {
    file: LayoutFile,
    geometry: Geometry,
    slots: OnceLock<Slots>,
}

impl PartFile {
    fn slots(&self, layout: &Layout) -> &Slots {
        let len = |f: &LayoutFile| if f.on_disk { f.len } else { 0 };
        self.slots.get_or_init(|| Slots::new(layout.files().iter().map(|f| (f.offset, len(f))), self.geometry))
    }
}

impl TorrentFiles {
    pub(crate) fn new(disk: Arc<dyn Disk>, layout: Layout, allocation: Allocation) -> Self {
        let count = layout.files().len();
        Self {
            disk,
            layout,
            allocation,
            marks: (0..=count).map(|_| AtomicU8::new(0)).collect(),
            making: Mutex::default(),
            empties_made: AtomicBool::new(false),
            stats: Mutex::new(vec![None; count + 1]),
            parts: None,
        }
    }

    /// The same with a part file at `path`, for what is needed of those `skipped`.
    pub(crate) fn with_parts(mut self, path: PathBuf, geometry: Geometry, skipped: &[bool]) -> Self {
        let file = LayoutFile { path, offset: 0, len: 0, on_disk: true };
        self.parts = Some(PartFile { file, geometry, slots: OnceLock::new() });
        self.set_skipped(skipped);
        self
    }

    fn set_skipped(&self, skipped: &[bool]) {
        for index in 0..self.layout.files().len() {
            if skipped.get(index).copied().unwrap_or(false) {
                self.mark(index, SKIPPED);
            } else {
                self.unmark(index, SKIPPED);
            }
        }
        self.empties_made.store(false, Ordering::Release);
    }

    /// The part file's number.
    fn parts_index(&self) -> usize {
        self.layout.files().len()
    }

    /// A file by number, the part file among them.
    fn file(&self, index: usize) -> Option<&LayoutFile> {
        self.layout.files().get(index).or_else(|| self.parts.as_ref().filter(|_| index == self.parts_index()).map(|p| &p.file))
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

    /// The file that a segment's bytes are in, and where; `None` if they have no place.
    fn spot(&self, segment: &Segment) -> Option<(usize, u64)> {
        if self.marks(segment.file) & PARKED == 0 {
            return Some((segment.file, segment.offset));
        }
        let slots = self.parts.as_ref()?.slots(&self.layout);
        Some((self.parts_index(), slots.place(segment.file, segment.offset, segment.len)?))
    }

    /// What of a file that is parked the part file may hold; `None` for others.
    pub(crate) fn held(&self, index: usize) -> Option<Vec<Range<u64>>> {
        let parts = self.parts.as_ref().filter(|_| self.marks(index) & PARKED != 0)?;
        let len = self.parts_stat_now().map_or(0, |stat| stat.len);
        let ranges = parts.slots(&self.layout).stretches(index);
        Some(ranges.filter(|(range, at)| at + (range.end - range.start) <= len).map(|(range, _)| range).collect())
    }

    /// Whether files that are wanted are parked.
    pub(crate) fn needs_arranging(&self) -> bool {
        (0..self.layout.files().len()).any(|index| self.marks(index) & (PARKED | SKIPPED) == PARKED)
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
            if let (found, Some(slot)) = (stat(&file.path)?.filter(|s| s.is_file), stats.get_mut(index)) {
                *slot = found;
            }
        }
        self.stats().clone_from(&stats);
        self.park(&stats);
        Ok(stats)
    }

    /// Marks the files that the part file stands in for: those that are not there and are skipped, or have bytes in it.
    fn park(&self, stats: &[Option<FileStat>]) {
        let parts = self.parts.as_ref().filter(|_| stats.last().is_some_and(Option::is_some));
        for (index, _) in self.layout.files().iter().enumerate().filter(|(_, f)| f.on_disk && f.len > 0) {
            self.unmark(index, PARKED | HELD);
            if stats.get(index).is_some_and(Option::is_some) {
                continue;
            }
            let len = stats.last().copied().flatten().map_or(0, |stat| stat.len);
            let is_held = parts.is_some_and(|parts| {
                let is_there = |(range, at): (Range<u64>, u64)| {
                    at < len && !self.disk.is_hole(&parts.file.path, at, (range.end - range.start).min(len - at))
                };
                parts.slots(&self.layout).stretches(index).any(is_there)
            });
            let skipped = self.marks(index) & SKIPPED != 0;
            self.mark(
                index,
                if is_held {
                    PARKED | HELD
                } else if skipped {
                    PARKED
                } else {
                    0
                },
            );
        }
    }

    /// Other files are skipped now: those that are wanted and parked are made of their parts, and those that are not wanted and not
    /// there are parked. No other job of the torrent may run.
    pub(crate) fn arrange(&self, skipped: &[bool]) -> Result<(), StoreError> {
        self.set_skipped(skipped);
        for (index, file) in self.layout.files().iter().enumerate().filter(|(_, f)| f.on_disk && f.len > 0) {
            let marks = self.marks(index);
            if marks & SKIPPED == 0 && marks & PARKED != 0 {
                self.export(index, file)?;
            } else if marks & (SKIPPED | PARKED | READY) == SKIPPED && self.stats().get(index).is_none_or(Option::is_none) {
                let there = self.disk.stat(&file.path).map_err(|e| StoreError::new(StoreOp::Open, &file.path, e))?;
                if there.is_none() {
                    self.mark(index, PARKED);
                }
            }
        }
        self.drop_parts()
    }

    /// Makes a file of what the part file has of it: whole and synced before it gets its name, so that a crash finds the file with all
    /// of its parts, or not at all.
    fn export(&self, index: usize, file: &LayoutFile) -> Result<(), StoreError> {
        let Some(parts) = &self.parts else { return Ok(()) };
        if self.marks(index) & HELD != 0 {
            let failed = |op, path| move |e| StoreError::new(op, path, e);
            let temporary = export_file(&parts.file.path);
            let dir = self.layout.dir();
            if let (Ok(below), Ok(temporary)) = (file.path.strip_prefix(dir), temporary.strip_prefix(dir)) {
                self.disk.refuse_links(dir, below).map_err(failed(StoreOp::Create, &file.path))?;
                self.disk.remove(dir, temporary).map_err(failed(StoreOp::Delete, &parts.file.path))?;
            }
            self.disk.create(&temporary, 0, Allocation::Sparse).map_err(failed(StoreOp::Create, &temporary))?;
            for (range, at) in parts.slots(&self.layout).stretches(index) {
                let from = at..at + (range.end - range.start);
                copy(&*self.disk, &parts.file.path, from, &temporary, range.start)?;
            }
            self.disk.sync(&temporary).map_err(failed(StoreOp::Sync, &temporary))?;
            self.disk.rename(&temporary, &file.path).map_err(failed(StoreOp::Move, &file.path))?;
            self.disk.close(&temporary);
            let found = self.disk.stat(&file.path).map_err(failed(StoreOp::Open, &file.path))?;
            if let Some(stat) = self.stats().get_mut(index) {
                *stat = found;
            }
            self.mark(index, UNSYNCED);
        }
        self.unmark(index, PARKED | HELD);
        Ok(())
    }

    /// Deletes the part file if there is nothing in it.
    fn drop_parts(&self) -> Result<(), StoreError> {
        let Some(PartFile { file, .. }) = &self.parts else { return Ok(()) };
        let index = self.parts_index();
        let there = self.marks(index) & READY != 0 || self.stats().get(index).is_some_and(Option::is_some);
        if !there || (0..index).any(|index| self.marks(index) & HELD != 0) {
            return Ok(());
        }
        self.disk.close(&file.path);
        let dir = self.layout.dir();
        if let Ok(below) = file.path.strip_prefix(dir) {
            self.disk.remove(dir, below).map_err(|e| StoreError::new(StoreOp::Delete, &file.path, e))?;
            let _may_be_in_use = below.parent().map(|folder| self.disk.remove_dir(dir, folder));
        }
        self.unmark(index, READY | UNSYNCED | FOUND);
        if let Some(stat) = self.stats().get_mut(index) {
            *stat = None;
        }
        Ok(())
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
                let Some((at, offset)) = self.spot(&segment) else {
                    return Err(StoreError::new(StoreOp::Read, &file.path, ErrorKind::NotFound.into()));
                };
                let segment = Segment { file: at, offset, len: segment.len };
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
        let Some(file) = self.file(stretch.file) else { return Ok(true) };
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
        for (segment, _) in self.layout.segments(range).filter(|(_, file)| file.on_disk) {
            if let Some((file, at)) = self.spot(&segment)
                && let Some(file) = self.file(file)
            {
                self.disk.will_need(&file.path, at, segment.len);
            }
        }
    }

    /// Writes `data` at `offset` of the torrent, one write a file where the system takes it whole.
    pub(crate) fn write(&self, offset: u64, data: &[u8]) -> Result<(), StoreError> {
        self.make_empty_files()?;
        let mut rest = data;
        for (segment, file) in self.layout.segments(offset..offset.saturating_add(rest.len() as u64)) {
            let (part, after) = rest.split_at(segment.len as usize);
            rest = after;
            if !file.on_disk {
                continue;
            }
            // A skipped file's own pieces are given up before it is parked.
            let homeless = || StoreError::new(StoreOp::Write, &file.path, io::Error::other("the file is skipped"));
            let (at, offset) = self.spot(&segment).ok_or_else(homeless)?;
            if let Some(file) = self.file(at) {
                self.write_file(at, file, offset, part)?;
            }
            if at != segment.file {
                self.mark(segment.file, HELD);
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
        if self.allocation == Allocation::Full && file.len > 0 && index < self.parts_index() {
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
            if self.marks(index) & SKIPPED != 0 {
                continue;
            }
            self.make(index, file)?;
            self.disk.close(&file.path);
        }
        self.empties_made.store(true, Ordering::Release);
        Ok(())
    }

    /// Something in `range` is to be checked: if it is good it will be vouched for, so it must be synced before.
    pub(crate) fn note_found(&self, range: Range<u64>) {
        for (segment, _) in self.layout.segments(range).filter(|(_, file)| file.on_disk) {
            if let Some((at, _)) = self.spot(&segment)
                && self.stats().get(at).is_some_and(Option::is_some)
            {
                self.mark(at, FOUND);
            }
        }
    }

    /// Syncs every file written since it was last synced, and looks at it again; and what was found there.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        for (index, file) in self.all_files() {
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
        (0..self.layout.files().len()).map(|index| self.known_stat(index)).collect()
    }

    /// The same of the part file.
    pub(crate) fn known_parts(&self) -> Option<FileStat> {
        self.known_stat(self.parts_index())
    }

    fn known_stat(&self, index: usize) -> Option<FileStat> {
        self.stats().get(index).copied().flatten().filter(|_| self.marks(index) & DOUBTFUL == 0)
    }

    fn parts_stat_now(&self) -> Option<FileStat> {
        self.stats().last().copied().flatten()
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

/// Where a file is put together that is to be made of its parts.
pub(crate) fn export_file(parts: &Path) -> PathBuf {
    parts.with_extension("export")
}

/// Copies a range of one file into another, which exists. Holes, and what is beyond the end, stay holes.
pub(crate) fn copy(disk: &dyn Disk, from: &Path, range: Range<u64>, to: &Path, mut at: u64) -> Result<(), StoreError> {
    let mut buf = vec![0; (COPY_LEN as u64).min(range.end - range.start) as usize];
    let mut next = range.start;
    while next < range.end {
        let len = (range.end - next).min(buf.len() as u64);
        if disk.is_hole(from, next, len) {
            (next, at) = (next + len, at + len);
            continue;
        }
        let part = buf.get_mut(..len as usize).unwrap_or_default();
        let read = disk.read_at(from, next, part).map_err(|e| StoreError::new(StoreOp::Read, from, e))?;
        if read == 0 {
            break;
        }
        let mut rest = part.get(..read).unwrap_or_default();
        next += read as u64;
        while !rest.is_empty() {
            let written = match disk.write_at(to, at, rest) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                other => other,
            };
            let written = written.map_err(|e| StoreError::new(StoreOp::Write, to, e))?;
            at += written as u64;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
    Ok(())
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
