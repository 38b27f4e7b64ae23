//! A disk in memory that can be full, read-only, unreliable and cut off: what the workers' code
//! meets in the simulator.
//!
//! It keeps what was synced apart from what was only written, so that a power cut can be told from
//! a kill. Time comes from the world.

mod call_fault;
mod calls;
mod faults;
mod ops;
mod places;
mod state;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    base::{rng::Rng, storage::Allocation, time::Instant},
    store::{Disk, FileStat},
};
pub use call_fault::{CallFault, DiskCall};
pub(super) use state::Graves;
use state::{Content, EPOCH_NS, File, State, pages};

/// Space is handed out in blocks of this many bytes.
const PAGE: u64 = 4096;
/// Files by path, in memory.
#[derive(Debug)]
pub struct MemDisk {
    state: Mutex<State>,
}

/// What is wrong with a disk. The default is nothing.
#[derive(Clone, Debug, Default)]
pub struct Troubles {
    /// Bytes of space in all; `None` is plenty.
    pub capacity: Option<u64>,
    /// That bound is the user's quota.
    pub quota: bool,
    /// Nothing can be written, made or saved.
    pub read_only: bool,
    /// Reads and writes are cut short at random.
    pub short: bool,
    /// So many of the next reads come back with one byte changed.
    pub corrupt_reads: u32,
    /// Reads fail.
    pub fail_reads: bool,
    /// Syncs fail, and part of what they were about is never written, even if a later one
    /// succeeds.
    pub fail_syncs: bool,
    /// Saving a small file fails.
    pub fail_saves: bool,
    /// A file cannot have two names, nor another one.
    pub no_links: bool,
    /// After so many more bytes written, all writes fail, as if the process had been killed in the
    /// midst of one.
    pub writes_left: Option<u64>,
    /// Writes fail.
    pub fail_writes: bool,
    /// Syncs and saves say that all is well, and a power cut loses what they were about all the
    /// same.
    pub lying_syncs: bool,
    /// So many of the next writes go somewhere else in the same file, and say that all is well.
    pub misdirected_writes: u32,
    /// Stretches of files that cannot be read: a part of a path, the first byte, the first byte
    /// after it.
    pub bad_stretches: Vec<(String, u64, u64)>,
    /// Single calls that answer with an error; each goes when it has failed as often as it is to.
    pub calls: Vec<CallFault>,
}

impl Troubles {
    /// What it says when something does not fit.
    fn no_room(&self) -> io::Error {
        if self.quota { ErrorKind::QuotaExceeded.into() } else { ErrorKind::StorageFull.into() }
    }
}

impl MemDisk {
    /// An empty disk.
    pub fn new(seed: u64) -> Self {
        let state = State {
            now_ns: EPOCH_NS,
            files: BTreeMap::new(),
            dirs: BTreeSet::new(),
            troubles: Troubles::default(),
            rng: Rng::new(seed),
            writes: 0,
            shift_ns: 0,
            spoilt: false,
            lied: false,
            touched: BTreeSet::new(),
            counts: BTreeMap::new(),
            graves: Graves::default(),
            away: Vec::new(),
            links: 0,
            open: BTreeSet::new(),
            nameless: BTreeMap::new(),
        };
        Self { state: Mutex::new(state) }
    }

    /// Changes what is wrong with it.
    pub fn set(&self, change: impl FnOnce(&mut Troubles)) {
        change(&mut self.state().troubles);
    }

    /// The whole content of a file.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        self.state().files.get(path).map(|f| f.now.bytes.clone())
    }

    /// Whether a file has exactly `bytes` from `offset` on, here or on a drive that is
    /// [away](Self::take_away). Troubles do not matter here.
    pub fn holds(&self, path: &Path, offset: u64, bytes: &[u8]) -> bool {
        let state = self.state();
        let found = |f: &File| {
            f.now.bytes.get(offset as usize..offset as usize + bytes.len()) == Some(bytes)
        };
        state.anywhere(path).any(found)
    }

    /// Whether a file is there, or on a drive that is [away](Self::take_away).
    pub fn has(&self, path: &Path) -> bool {
        self.state().anywhere(path).next().is_some()
    }

    /// Whether a file can be seen there.
    pub(in crate::sim) fn sees(&self, path: &Path) -> bool {
        self.state().files.contains_key(path)
    }

    /// All files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().files.keys().cloned().collect()
    }

    /// Puts a file there, safe from power cuts, as if another program had made it.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let content = Content {
            bytes: bytes.to_vec(),
            pages: pages(0, bytes.len() as u64).collect(),
            mtime_ns: state.now_ns,
        };
        state.make_dirs(path);
        let old = state.files.insert(path.to_owned(), File::safe(content));
        state.spoilt |= old.is_some();
        state.graves.recount = true;
    }

    /// Takes a file away.
    pub fn delete(&self, path: &Path) {
        let mut state = self.state();
        state.spoilt |= state.files.remove(path).is_some();
        state.graves.recount = true;
    }

    /// Bytes of space in use.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Writes that have been asked for.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Power is cut: of what was not synced, any part may be there and any may not. (After a kill
    /// everything is.)
    pub fn lose_power(&self) {
        let mut state = self.state();
        let State { files, rng, lied, spoilt, .. } = &mut *state;
        *spoilt |= std::mem::take(lied);
        let mut gone = Vec::new();
        for (path, file) in files.iter_mut() {
            let fate = rng.below(3);
            let dropped = std::mem::take(&mut file.dropped);
            match (&file.synced, fate) {
                (None, 0) => gone.push(path.clone()),
                (Some(synced), 0) => file.now = synced.clone(),
                (synced, fate) => {
                    let old = synced.clone().unwrap_or_default();
                    if fate == 2 {
                        file.now.lose_pages_to(&old, rng);
                    }
                    dropped.iter().for_each(|&page| file.now.restore_page(page, old.page(page)));
                }
            }
            file.synced = Some(file.now.clone());
        }
        gone.iter().for_each(|path| _ = files.remove(path));
        // Names of one file show the same of it.
        let linked: Vec<PathBuf> = files
            .iter()
            .filter(|(_, file)| file.linked.is_some())
            .map(|(path, _)| path.clone())
            .collect();
        linked.iter().for_each(|path| state.mirror(path));
        state.graves.recount = true;
    }

    pub(super) fn set_now(&self, now: Instant) {
        let ns = i64::try_from(now.as_micros().saturating_mul(1000)).unwrap_or(i64::MAX);
        let mut state = self.state();
        state.now_ns = EPOCH_NS.saturating_add(ns).saturating_add(state.shift_ns);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Disk for MemDisk {
    fn read_at(&self, path: &Path, offset: u64, buf: &mut [u8]) -> io::Result<usize> {
        self.call(DiskCall::Read, path, |state| state.read_at(path, offset, buf))
    }

    fn write_at(&self, path: &Path, offset: u64, data: &[u8]) -> io::Result<usize> {
        self.call(DiskCall::Write, path, |state| state.write_at(path, offset, data))
    }

    fn create(&self, path: &Path, len: u64, allocation: Allocation) -> io::Result<()> {
        self.call(DiskCall::Create, path, |state| state.create(path, len, allocation))
    }

    fn set_len(&self, path: &Path, len: u64) -> io::Result<()> {
        self.call(DiskCall::SetLen, path, |state| state.set_len(path, len))
    }

    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>> {
        absent(self.call(DiskCall::Stat, path, |state| state.stat(path)))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        self.call(DiskCall::Sync, path, |state| state.sync(path))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.call(DiskCall::SyncDir, folder, |_| Ok(()))
    }

    fn load(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        absent(self.call(DiskCall::Load, path, |state| state.load(path, limit)))
    }

    fn save(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        self.call(DiskCall::Save, path, |state| state.save(path, bytes))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(DiskCall::Link, from, |state| state.link(from, to))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call(DiskCall::Rename, from, |state| state.rename(from, to))
    }

    fn remove(&self, root: &Path, below: &Path) -> io::Result<bool> {
        let removed = self
            .call(DiskCall::Remove, &root.join(below), |state| state.remove(root, below).map(Some));
        absent(removed).map(|removed| removed.unwrap_or(false))
    }

    fn remove_dir(&self, root: &Path, below: &Path) -> io::Result<bool> {
        self.call(DiskCall::RemoveDir, &root.join(below), |state| state.remove_dir(root, below))
    }

    fn close(&self, path: &Path) {
        self.state().let_go(path);
    }

    fn is_replaced(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state().nameless.contains_key(path))
    }

    fn is_hole(&self, path: &Path, offset: u64, len: u64) -> bool {
        self.state().is_hole(path, offset, len)
    }

    fn refuse_links(&self, root: &Path, below: &Path) -> io::Result<()> {
        self.call(DiskCall::RefuseLinks, &root.join(below), |_| Ok(()))
    }
}

/// A real disk that says "not found" when it is asked what is there has answered.
fn absent<T>(answer: io::Result<Option<T>>) -> io::Result<Option<T>> {
    match answer {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        other => other,
    }
}
