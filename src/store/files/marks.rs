//! What is known of each file of a torrent: marks, how it looked last, and who is writing to it
//! now. It touches no disk.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU16, AtomicUsize, Ordering},
};

use super::super::disk::FileStat;

/// The file is there and may be written: no need to make it.
pub(super) const READY: u16 = 1;
/// Written since it was last synced.
pub(super) const UNSYNCED: u16 = 2;
/// Holds data that was there before us, and that nothing says is synced.
pub(super) const FOUND: u16 = 8;
/// A sync failed, so what was written may be lost though it can still be read, and no later sync
/// says otherwise: neither the file nor its pieces are vouched for until it is opened anew, and its
/// pieces were found good and written again.
pub(super) const DOUBTFUL: u16 = 4;
/// Not there: what other files need of its pieces is in the part file. That changes only while no
/// job runs.
pub(super) const PARKED: u16 = 16;
/// Not wanted: it is not made.
pub(super) const SKIPPED: u16 = 32;
/// The part file may have something of it.
pub(super) const HELD: u16 = 64;
/// Another torrent's: it is read, and never made, written or deleted.
pub(super) const BORROWED: u16 = 128;
/// We wrote to it and nothing says that it is synced: what is found good is written again, since a
/// sync that failed may have made the system forget that it is to be written ("fsyncgate").
pub(super) const REWRITE: u16 = 256;
/// Another program, or the torrent that it belongs to, was seen to change it: whatever a saved
/// state says of our own writes, what is there is looked at when it is opened anew.
pub(super) const STRANGE: u16 = 512;

/// Of each file by number; the last one is the part file.
#[derive(Debug)]
pub(super) struct Marks {
    marks: Vec<AtomicU16>,
    /// How many workers write to each file now.
    writers: Vec<AtomicUsize>,
    /// How many are about to take note of how files look after our own writes: meanwhile a
    /// difference says nothing.
    settling: AtomicUsize,
    /// What each file looked like after our own last write to it, or when the torrent was opened.
    /// Not looked at otherwise: a change that another program made must not pass for ours.
    stats: Mutex<Vec<Option<FileStat>>>,
}

/// Until this is dropped, files are not compared with how they are known.
#[derive(Debug)]
pub(crate) struct Unsettled<'a>(&'a AtomicUsize);

impl<'a> Unsettled<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::AcqRel);
        Self(count)
    }
}

impl Drop for Unsettled<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Marks {
    /// Nothing is known of so many files, the part file among them.
    pub(super) fn new(count: usize) -> Self {
        Self {
            marks: (0..count).map(|_| AtomicU16::new(0)).collect(),
            writers: (0..count).map(|_| AtomicUsize::new(0)).collect(),
            settling: AtomicUsize::new(0),
            stats: Mutex::new(vec![None; count]),
        }
    }

    pub(super) fn of(&self, index: usize) -> u16 {
        self.marks.get(index).map_or(0, |mark| mark.load(Ordering::Acquire))
    }

    pub(super) fn set(&self, index: usize, bits: u16) {
        if let Some(mark) = self.marks.get(index) {
            mark.fetch_or(bits, Ordering::AcqRel);
        }
    }

    /// Takes marks away, and returns those there were.
    pub(super) fn clear(&self, index: usize, bits: u16) -> u16 {
        self.marks.get(index).map_or(0, |mark| mark.fetch_and(!bits, Ordering::AcqRel))
    }

    /// Whether any file has one of these.
    pub(super) fn has_any(&self, bits: u16) -> bool {
        (0..self.marks.len()).any(|index| self.of(index) & bits != 0)
    }

    /// Takes over these of the same files of another torrent's marks.
    pub(super) fn inherit(&self, earlier: &Self, bits: u16) {
        if earlier.marks.len() == self.marks.len() {
            (0..self.marks.len()).for_each(|index| self.set(index, earlier.of(index) & bits));
        }
    }

    /// How the files are known to look.
    pub(super) fn stats(&self) -> MutexGuard<'_, Vec<Option<FileStat>>> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How one of them is known to look.
    pub(super) fn stat(&self, index: usize) -> Option<FileStat> {
        self.stats().get(index).copied().flatten()
    }

    /// A file is about to be written: until that is over it is not compared with how it is known.
    pub(super) fn begin_write(&self, index: usize) -> Option<Unsettled<'_>> {
        self.writers.get(index).map(Unsettled::new)
    }

    /// Files are about to be synced and looked at.
    pub(super) fn settle(&self) -> Unsettled<'_> {
        Unsettled::new(&self.settling)
    }

    /// What a file has to look like unless another program has changed it; `None` while we may have
    /// done that ourselves.
    pub(super) fn unchanged(&self, index: usize) -> Option<FileStat> {
        let writers = self.writers.get(index).map_or(0, |count| count.load(Ordering::Acquire));
        let is_settling = self.settling.load(Ordering::Acquire) > 0;
        let is_ours = self.of(index) & UNSYNCED != 0 || writers > 0 || is_settling;
        self.stat(index).filter(|_| !is_ours)
    }
}
