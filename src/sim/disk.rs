//! A disk in memory that can be full, read-only, unreliable and cut off: what the workers' code meets in the simulator.
//!
//! It keeps what was synced apart from what was only written, so that a power cut can be told from a kill. Time comes from
//! the world.

mod faults;
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
    base::{job::Allocation, rng::Rng, time::Instant},
    store::{Disk, FileStat},
};
use state::{Content, File, State, pages};

/// Space is handed out in blocks of this many bytes.
const PAGE: u64 = 4096;
/// What the wall clock said when the world began, in nanoseconds since 1970.
const EPOCH_NS: i64 = 1_700_000_000_000_000_000;

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
    /// Syncs fail.
    pub fail_syncs: bool,
    /// Saving a small file fails.
    pub fail_saves: bool,
    /// A file cannot have two names.
    pub no_links: bool,
    /// After so many more bytes written, all writes fail, as if the process had been killed in the midst of one.
    pub writes_left: Option<u64>,
    /// Writes fail.
    pub fail_writes: bool,
    /// Syncs and saves say that all is well, and a power cut loses what they were about all the same.
    pub lying_syncs: bool,
    /// So many of the next writes go somewhere else in the same file, and say that all is well.
    pub misdirected_writes: u32,
    /// Stretches of files that cannot be read: a part of a path, the first byte, the first byte after it.
    pub bad_stretches: Vec<(String, u64, u64)>,
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

    /// Whether a file has exactly `bytes` from `offset` on. Troubles do not matter here.
    pub fn holds(&self, path: &Path, offset: u64, bytes: &[u8]) -> bool {
        let state = self.state();
        let found = state.files.get(path).and_then(|f| f.now.bytes.get(offset as usize..offset as usize + bytes.len()));
        found == Some(bytes)
    }

    /// Whether a file is there.
    pub fn has(&self, path: &Path) -> bool {
        self.state().files.contains_key(path)
    }

    /// All files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().files.keys().cloned().collect()
    }

    /// Puts a file there, safe from power cuts, as if somebody else had made it.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let content = Content { bytes: bytes.to_vec(), pages: pages(0, bytes.len() as u64).collect(), mtime_ns: state.now_ns };
        state.make_dirs(path);
        let old = state.files.insert(path.to_owned(), File { now: content.clone(), synced: Some(content) });
        state.spoilt |= old.is_some();
    }

    /// Takes a file away.
    pub fn delete(&self, path: &Path) {
        let mut state = self.state();
        state.spoilt |= state.files.remove(path).is_some();
    }

    /// Bytes of space in use.
    pub fn used(&self) -> u64 {
        self.state().used()
    }

    /// Writes that have been asked for.
    pub fn writes(&self) -> u64 {
        self.state().writes
    }

    /// Power is cut: of what was not synced, any part may be there and any may not. (After a kill everything is.)
    pub fn lose_power(&self) {
        let mut state = self.state();
        let State { files, rng, lied, spoilt, .. } = &mut *state;
        *spoilt |= std::mem::take(lied);
        let mut gone = Vec::new();
        for (path, file) in files.iter_mut() {
            let fate = rng.below(3);
            match (&file.synced, fate) {
                (None, 0) => gone.push(path.clone()),
                (Some(synced), 0) => file.now = synced.clone(),
                (_, 1) => {}
                (synced, _) => {
                    let old = synced.clone().unwrap_or_default();
                    file.now.lose_pages_to(&old, rng);
                }
            }
            file.synced = Some(file.now.clone());
        }
        gone.iter().for_each(|path| _ = files.remove(path));
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
        let mut state = self.state();
        let State { files, troubles, rng, spoilt, .. } = &mut *state;
        if troubles.fail_reads || troubles.is_bad(path, offset, buf.len() as u64) {
            return Err(io::Error::other("the disk cannot be read"));
        }
        let file = files.get(path).ok_or(ErrorKind::NotFound)?;
        let there = file.now.bytes.get(offset as usize..).unwrap_or_default();
        let mut len = there.len().min(buf.len());
        if troubles.short && len > 1 {
            len = 1 + rng.below(len as u64) as usize;
        }
        for (to, from) in buf.iter_mut().zip(there).take(len) {
            *to = *from;
        }
        if troubles.corrupt_reads > 0 && len > 0 {
            troubles.corrupt_reads -= 1;
            *spoilt = true;
            if let Some(byte) = buf.get_mut(rng.below(len as u64) as usize) {
                *byte ^= 0x55;
            }
        }
        Ok(len)
    }

    fn write_at(&self, path: &Path, offset: u64, data: &[u8]) -> io::Result<usize> {
        let mut state = self.state();
        state.writes += 1;
        state.touch(path);
        state.writable()?;
        if state.troubles.fail_writes {
            return Err(io::Error::other("the disk cannot be written"));
        }
        let offset = state.aim(path, offset, data.len() as u64);
        let room = state.room();
        let State { files, troubles, rng, now_ns, .. } = &mut *state;
        let mut len = data.len() as u64;
        if let Some(left) = &mut troubles.writes_left {
            if *left == 0 {
                return Err(io::Error::other("killed"));
            }
            len = len.min(*left);
        }
        if troubles.short && len > 1 {
            len = 1 + rng.below(len);
        }
        let file = files.get_mut(path).ok_or(ErrorKind::NotFound)?;
        // As far as space goes: a page at a time.
        let mut fits = 0;
        let mut free = room / PAGE;
        for page in pages(offset, len) {
            if !file.now.pages.contains(&page) {
                if free == 0 {
                    break;
                }
                free -= 1;
                file.now.pages.insert(page);
            }
            fits = ((page + 1) * PAGE).min(offset + len) - offset;
        }
        if fits == 0 {
            return Err(troubles.no_room());
        }
        if let Some(left) = &mut troubles.writes_left {
            *left -= fits;
        }
        let (start, end) = (offset as usize, (offset + fits) as usize);
        if file.now.bytes.len() < end {
            file.now.bytes.resize(end, 0);
        }
        if let (Some(to), Some(from)) = (file.now.bytes.get_mut(start..end), data.get(..fits as usize)) {
            to.copy_from_slice(from);
        }
        file.now.mtime_ns = *now_ns;
        Ok(fits as usize)
    }

    fn create(&self, path: &Path, len: u64, allocation: Allocation) -> io::Result<()> {
        let mut state = self.state();
        state.touch(path);
        state.writable()?;
        state.make_dirs(path);
        let room = state.room();
        let now_ns = state.now_ns;
        let file = state
            .files
            .entry(path.to_owned())
            .or_insert_with(|| File { now: Content { mtime_ns: now_ns, ..Content::default() }, synced: None });
        if allocation == Allocation::Full {
            let wanted = pages(0, len).filter(|p| !file.now.pages.contains(p)).count() as u64;
            if wanted * PAGE > room {
                return Err(state.troubles.no_room());
            }
            file.now.pages.extend(pages(0, len));
            if (file.now.bytes.len() as u64) < len {
                file.now.bytes.resize(len as usize, 0);
            }
        }
        Ok(())
    }

    fn set_len(&self, path: &Path, len: u64) -> io::Result<()> {
        let mut state = self.state();
        state.touch(path);
        state.writable()?;
        if state.troubles.fail_writes || state.troubles.writes_left == Some(0) {
            return Err(io::Error::other("the disk cannot be written"));
        }
        let now_ns = state.now_ns;
        let file = state.files.get_mut(path).ok_or(ErrorKind::NotFound)?;
        file.now.bytes.resize(len as usize, 0);
        file.now.pages.retain(|page| page * PAGE < len);
        file.now.mtime_ns = now_ns;
        Ok(())
    }

    fn stat(&self, path: &Path) -> io::Result<Option<FileStat>> {
        let state = self.state();
        if let Some(file) = state.files.get(path) {
            let Content { bytes, mtime_ns, .. } = &file.now;
            return Ok(Some(FileStat { len: bytes.len() as u64, mtime_ns: *mtime_ns, is_file: true, is_dir: false }));
        }
        let dir = FileStat { len: 0, mtime_ns: EPOCH_NS, is_file: false, is_dir: true };
        Ok(state.dirs.contains(path).then_some(dir))
    }

    fn sync(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.troubles.fail_syncs {
            return Err(io::Error::other("the disk cannot be synced"));
        }
        let lying = state.troubles.lying_syncs;
        state.lied |= lying;
        let file = state.files.get_mut(path).ok_or(ErrorKind::NotFound)?;
        if !lying {
            file.synced = Some(file.now.clone());
        }
        Ok(())
    }

    fn load(&self, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
        let state = self.state();
        match state.files.get(path) {
            Some(file) if file.now.bytes.len() as u64 > limit => Err(ErrorKind::FileTooLarge.into()),
            found => Ok(found.map(|f| f.now.bytes.clone())),
        }
    }

    fn save(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        state.touch(path);
        state.writable()?;
        if state.troubles.fail_saves || state.troubles.writes_left == Some(0) {
            return Err(io::Error::other("the disk cannot be written"));
        }
        if pages(0, bytes.len() as u64).count() as u64 * PAGE > state.room() {
            return Err(state.troubles.no_room());
        }
        state.make_dirs(path);
        let content = Content { bytes: bytes.to_vec(), pages: pages(0, bytes.len() as u64).collect(), mtime_ns: state.now_ns };
        let before = state.files.get(path).and_then(|file| file.synced.clone());
        state.lied |= state.troubles.lying_syncs;
        let synced = if state.troubles.lying_syncs { before } else { Some(content.clone()) };
        state.files.insert(path.to_owned(), File { now: content, synced });
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        if state.troubles.no_links {
            return Err(ErrorKind::CrossesDevices.into());
        }
        state.change_folder(from, Some(to))?;
        let file = state.files.get(from).cloned().ok_or(ErrorKind::NotFound)?;
        state.make_dirs(to);
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change_folder(from, Some(to))?;
        let file = state.files.remove(from).ok_or(ErrorKind::NotFound)?;
        state.make_dirs(to);
        state.files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, root: &Path, below: &Path) -> io::Result<bool> {
        let path = root.join(below);
        let mut state = self.state();
        state.change_folder(&path, None)?;
        if state.dirs.contains(&path) && !state.files.contains_key(&path) {
            return Err(ErrorKind::Unsupported.into());
        }
        Ok(state.files.remove(&path).is_some())
    }

    fn remove_dir(&self, root: &Path, below: &Path) -> io::Result<bool> {
        let path = root.join(below);
        let mut state = self.state();
        state.change_folder(&path, None)?;
        let full = state.files.keys().chain(&state.dirs).any(|other| *other != path && other.starts_with(&path));
        Ok(!full && state.dirs.remove(&path))
    }

    fn close(&self, _path: &Path) {}

    fn is_hole(&self, path: &Path, offset: u64, len: u64) -> bool {
        let state = self.state();
        let Some(file) = state.files.get(path) else { return false };
        // As a real disk: beyond the end is no hole, and a page that has anything in it is none either.
        offset + len <= file.now.bytes.len() as u64 && pages(offset, len).all(|page| !file.now.pages.contains(&page))
    }
}
