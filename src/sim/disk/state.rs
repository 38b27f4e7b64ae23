//! What is on the disk in memory: files, their pages, and space. It knows neither who uses it nor what is to go wrong next.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use super::{PAGE, Troubles};
use crate::base::rng::Rng;

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
    /// What it holds or reads may be wrong, and nobody who uses it is to blame.
    pub(super) spoilt: bool,
    /// It has said of something that it was safe, and the next power cut may show that it was not.
    pub(super) lied: bool,
    /// Paths that were to be changed, since that was asked last.
    pub(super) touched: BTreeSet<PathBuf>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct File {
    pub(super) now: Content,
    pub(super) synced: Option<Content>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// Pages that take up space; the others are holes.
    pub(super) pages: BTreeSet<u64>,
    pub(super) mtime_ns: i64,
}

impl Content {
    /// Each page that differs from `old` is there or not, by chance.
    pub(super) fn lose_pages_to(&mut self, old: &Self, rng: &mut Rng) {
        for page in 0..(self.bytes.len() as u64).div_ceil(PAGE) {
            if rng.below(2) == 0 {
                continue;
            }
            let from = (page * PAGE) as usize;
            let to = (from + PAGE as usize).min(self.bytes.len());
            if let Some(bytes) = self.bytes.get_mut(from..to) {
                bytes.fill(0);
                if let Some(before) = old.bytes.get(from..to.min(old.bytes.len())) {
                    bytes.iter_mut().zip(before).for_each(|(b, a)| *b = *a);
                }
            }
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

    /// A name is to be taken away or given, if the disk takes it and the process is still alive: that costs as much of its life as a
    /// few writes.
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
            Some(to) if self.files.contains_key(to) || self.dirs.contains(to) => Err(ErrorKind::AlreadyExists.into()),
            _ => Ok(()),
        }
    }

    pub(super) fn make_dirs(&mut self, path: &Path) {
        let above = path.ancestors().skip(1).map(Path::to_owned);
        self.dirs.extend(above);
    }
}
