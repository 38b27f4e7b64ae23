//! What is on the disk in memory: files, their pages, and space. It knows neither who uses it nor
//! what is to go wrong next.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{DiskCall, PAGE, Troubles};
use crate::base::rng::Rng;

/// What the wall clock said when the world began, in nanoseconds since 1970.
pub(super) const EPOCH_NS: i64 = 1_700_000_000_000_000_000;

#[derive(Debug)]
pub(super) struct State {
    pub(super) now_ns: i64,
    pub(super) files: BTreeMap<PathBuf, File>,
    pub(super) dirs: BTreeSet<PathBuf>,
    pub(super) troubles: Troubles,
    pub(super) rng: Rng,
    pub(super) writes: u64,
    /// How far the clock that files are dated by is from the world's.
    pub(super) shift_ns: i64,
    /// What it holds or reads may be wrong, and the programs that use it are not to blame.
    pub(super) spoilt: bool,
    /// It has said of something that it was safe, and the next power cut may show that it was not.
    pub(super) lied: bool,
    /// Paths that were to be changed, since that was asked last.
    pub(super) touched: BTreeSet<PathBuf>,
    /// How often each kind of call was made.
    pub(super) counts: BTreeMap<DiskCall, u64>,
    /// What calls have taken away since that was asked last.
    pub(super) graves: Graves,
    /// Drives that are not mounted.
    pub(super) away: Vec<Away>,
    /// Hard links that were made.
    pub(super) links: u64,
    /// What the process holds open.
    pub(super) open: BTreeSet<PathBuf>,
    /// Files that it holds open under names that lead to others by now.
    pub(super) nameless: BTreeMap<PathBuf, File>,
}

/// A place that is away, with what is there.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) place: PathBuf,
    pub(super) files: BTreeMap<PathBuf, File>,
}

impl State {
    /// The other names of the file at `path` show what has become of it.
    pub(super) fn mirror(&mut self, path: &Path) {
        let Some(file) = self.files.get(path).filter(|file| file.linked.is_some()).cloned() else {
            return;
        };
        let names = self
            .files
            .iter_mut()
            .filter(|(name, other)| *name != path && other.linked == file.linked);
        names.for_each(|(_, other)| other.clone_from(&file));
    }
}

#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct File {
    pub(super) now: Content,
    pub(in crate::sim) synced: Option<Content>,
    /// It was made whole by [`Disk::save`](crate::store::Disk::save): a state, and no data.
    pub(super) saved: bool,
    /// Pages that a sync failed to write and that count as written all the same: they read as they
    /// were given until the power is lost, and no later sync writes them. Only writing them
    /// again does.
    pub(super) dropped: BTreeSet<u64>,
    /// Files with the same number are names of one file (hard links): what becomes of one becomes
    /// of all.
    pub(super) linked: Option<u64>,
}

/// What calls have taken away.
#[derive(Debug, Default)]
pub(in crate::sim) struct Graves {
    /// Files as they were before they were removed, shortened, replaced or overwritten.
    pub(in crate::sim) files: Vec<(PathBuf, File)>,
    /// Some were not just overwritten.
    pub(in crate::sim) removed: bool,
    /// No call is to blame for what is missing: power was cut, or others changed files.
    pub(in crate::sim) recount: bool,
}

impl Graves {
    pub(super) fn remove(&mut self, path: &Path, file: Option<File>) {
        self.removed |= file.is_some();
        self.files.extend(file.map(|file| (path.to_owned(), file)));
    }
}

impl File {
    /// Whether writing `data` at `start` would replace bytes that are there, other than zeroes.
    pub(super) fn would_lose(&self, start: usize, data: &[u8]) -> bool {
        let there = self.now.bytes.get(start..).unwrap_or_default();
        let there = there.get(..data.len()).unwrap_or(there);
        // Most is written where nothing was, or as it was: fast ways to find that out.
        there != data.get(..there.len()).unwrap_or_default()
            && there.iter().zip(data).any(|(old, new)| *old != 0 && old != new)
    }

    /// A file that is safe from power cuts.
    pub(super) fn safe(content: Content) -> Self {
        Self { now: content.clone(), synced: Some(content), ..Self::default() }
    }

    /// What a sync that succeeds makes safe: all but the pages that an earlier one dropped.
    pub(super) fn sync(&mut self) {
        let safe = self.synced.get_or_insert_default();
        let old: Vec<_> =
            self.dropped.iter().map(|&page| (page, safe.page(page).to_vec())).collect();
        // Into the memory that is there: files may be large and synced often.
        safe.bytes.clone_from(&self.now.bytes);
        (safe.pages, safe.mtime_ns) = (self.now.pages.clone(), self.now.mtime_ns);
        old.iter().for_each(|(page, old)| safe.restore_page(*page, old));
    }

    /// A sync fails: by chance each page that was written since the last one is dropped, as Linux
    /// does it ("fsyncgate", 2018).
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        for page in 0..(self.now.bytes.len() as u64).div_ceil(PAGE) {
            if self.synced.as_ref().is_none_or(|old| !self.now.has_same_page(page, old))
                && rng.below(2) == 0
            {
                self.dropped.insert(page);
            }
        }
    }
}

#[derive(Clone, Debug, Default)]
pub(in crate::sim) struct Content {
    pub(in crate::sim) bytes: Vec<u8>,
    /// Pages that take up space; the others are holes.
    pub(super) pages: BTreeSet<u64>,
    pub(super) mtime_ns: i64,
}

impl Content {
    pub(super) fn page(&self, page: u64) -> &[u8] {
        let from = (page * PAGE) as usize;
        let to = (from + PAGE as usize).min(self.bytes.len());
        self.bytes.get(from..to).unwrap_or_default()
    }

    fn has_same_page(&self, page: u64, old: &Self) -> bool {
        self.page(page) == old.page(page)
    }

    /// A page is as it was; where that ended there are zeroes.
    pub(super) fn restore_page(&mut self, page: u64, old: &[u8]) {
        let from = (page * PAGE) as usize;
        let to = (from + PAGE as usize).min(self.bytes.len());
        if let Some(bytes) = self.bytes.get_mut(from..to) {
            bytes.fill(0);
            bytes.iter_mut().zip(old).for_each(|(b, a)| *b = *a);
        }
    }

    /// Each page that differs from `old` is there or not, by chance.
    pub(super) fn lose_pages_to(&mut self, old: &Self, rng: &mut Rng) {
        for page in 0..(self.bytes.len() as u64).div_ceil(PAGE) {
            if rng.below(2) == 0 {
                continue;
            }
            self.restore_page(page, old.page(page));
        }
        if rng.below(2) == 0 {
            self.mtime_ns = old.mtime_ns;
        }
    }
}

pub(super) fn pages(offset: u64, len: u64) -> std::ops::Range<u64> {
    offset / PAGE..(offset + len).div_ceil(PAGE)
}

impl State {
    /// The process opens a file by this name, if there is one.
    pub(super) fn hold(&mut self, path: &Path) {
        if !self.open.contains(path) && self.files.contains_key(path) {
            self.open.insert(path.to_owned());
        }
    }

    /// It closes what it holds open by this name.
    pub(super) fn let_go(&mut self, path: &Path) {
        self.open.remove(path);
        self.nameless.remove(path);
    }

    /// Its name leads to another file from now on.
    pub(super) fn lose_name(&mut self, path: PathBuf, file: File) {
        if self.open.contains(&path) {
            self.nameless.entry(path).or_insert(file);
        }
    }

    /// The file that is written, read and synced by this name.
    pub(super) fn opened(&mut self, path: &Path) -> Option<&mut File> {
        self.nameless.get_mut(path).or_else(|| self.files.get_mut(path))
    }

    /// The file at `path`, and that on a drive that belongs there and is away.
    pub(super) fn anywhere(&self, path: &Path) -> impl Iterator<Item = &File> {
        let away = self.away.iter().map(|away| &away.files);
        std::iter::once(&self.files).chain(away).filter_map(move |files| files.get(path))
    }

    pub(super) fn used(&self) -> u64 {
        self.files.values().map(|f| f.now.pages.len() as u64 * PAGE).sum()
    }

    /// Bytes that can still be handed out.
    pub(super) fn room(&self) -> u64 {
        self.troubles.capacity.map_or(u64::MAX, |capacity| capacity.saturating_sub(self.used()))
    }

    pub(super) fn writable(&self) -> io::Result<()> {
        if self.troubles.read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    /// A name is to be taken away or given, if the disk takes it and the process is still alive:
    /// that costs as much of its life as a few writes.
    pub(super) fn change_folder(&mut self, from: &Path, to: Option<&Path>) -> io::Result<()> {
        self.touch(to.unwrap_or(from));
        self.writable()?;
        if let Some(left) = &mut self.troubles.writes_left {
            if *left == 0 {
                return Err(io::Error::other("killed"));
            }
            *left = left.saturating_sub(2 * PAGE);
        }
        match to {
            Some(_) if !self.files.contains_key(from) => Err(ErrorKind::NotFound.into()),
            Some(to) if self.files.contains_key(to) || self.dirs.contains(to) => {
                Err(ErrorKind::AlreadyExists.into())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn make_dirs(&mut self, path: &Path) {
        let above = path.ancestors().skip(1).map(Path::to_owned);
        self.dirs.extend(above);
    }
}
