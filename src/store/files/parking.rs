//! Files that are skipped and not there, and the part file that stands in for them: which they are,
//! where their bytes are, and how a file is made of its parts when it is wanted after all. It reads
//! and writes no data of the torrent but in making one.

use std::{
    io::{self, ErrorKind},
    ops::Range,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use super::super::{
    copy::{copy, is_copied},
    disk::FileStat,
    layout::{Layout, LayoutFile, Segment},
    parts::Slots,
    relocate::{Below, keep_folders},
};
use super::{FOUND, HELD, PARKED, READY, SKIPPED, TorrentFiles, UNSYNCED};
use crate::base::{
    geometry::Geometry,
    storage::{Allocation, StoreError, StoreOp},
};

/// The file that stands in for those that are skipped and not there.
#[derive(Debug)]
pub(super) struct PartFile {
    pub(super) file: LayoutFile,
    pub(super) geometry: Geometry,
    pub(super) slots: OnceLock<Slots>,
}

impl PartFile {
    fn slots(&self, layout: &Layout) -> &Slots {
        let len = |f: &LayoutFile| if f.on_disk { f.len } else { 0 };
        self.slots.get_or_init(|| {
            Slots::new(layout.files().iter().map(|f| (f.offset, len(f))), &self.geometry)
        })
    }
}

impl TorrentFiles {
    /// The same with a part file at `path`, for what is needed of those `skipped`.
    pub(crate) fn with_parts(
        mut self,
        path: PathBuf,
        geometry: Geometry,
        skipped: &[bool],
    ) -> Self {
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
        self.making.set_has_empties(false);
    }

    /// The file that a segment's bytes are in, and where; `None` if they have no place.
    pub(super) fn spot(&self, segment: &Segment) -> Option<(usize, u64)> {
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
        Some(
            ranges
                .filter(|(range, at)| at + (range.end - range.start) <= len)
                .map(|(range, _)| range)
                .collect(),
        )
    }

    /// Whether files that are wanted are parked.
    pub(crate) fn needs_arranging(&self) -> bool {
        (0..self.layout.files().len()).any(|index| self.marks(index) & (PARKED | SKIPPED) == PARKED)
    }

    /// Marks the files that the part file stands in for: those that are not there and are skipped,
    /// or have bytes in it.
    pub(super) fn park(&self, stats: &[Option<FileStat>]) {
        let parts = self.parts.as_ref().filter(|_| stats.last().is_some_and(Option::is_some));
        for (index, _) in
            self.layout.files().iter().enumerate().filter(|(_, f)| f.on_disk && f.len > 0)
        {
            self.unmark(index, PARKED | HELD);
            if stats.get(index).is_some_and(Option::is_some) {
                continue;
            }
            let len = stats.last().copied().flatten().map_or(0, |stat| stat.len);
            let is_held = parts.is_some_and(|parts| {
                let is_there = |(range, at): (Range<u64>, u64)| {
                    at < len
                        && !self.disk.is_hole(
                            &parts.file.path,
                            at,
                            (range.end - range.start).min(len - at),
                        )
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

    /// Other files are skipped now: those that are not wanted and not there are parked, and those
    /// that are wanted and parked are made of their parts, if they are to be. No other job of
    /// the torrent may run.
    pub(crate) fn arrange(&self, skipped: &[bool], make: bool) -> Result<(), StoreError> {
        self.making.set_rests(!make);
        self.set_skipped(skipped);
        for (index, file) in
            self.layout.files().iter().enumerate().filter(|(_, f)| f.on_disk && f.len > 0)
        {
            let marks = self.marks(index);
            if marks & SKIPPED == 0 && marks & PARKED != 0 {
                if make {
                    self.export(index, file)?;
                }
            } else if marks & (SKIPPED | PARKED | READY) == SKIPPED
                && self.stats().get(index).is_none_or(Option::is_none)
            {
                let there = self
                    .disk
                    .stat(&file.path)
                    .map_err(|e| StoreError::new(StoreOp::Open, &file.path, e))?;
                if there.is_none() {
                    self.mark(index, PARKED);
                }
            }
        }
        if make { self.drop_parts() } else { Ok(()) }
    }

    /// Whether files that are wanted are to wait until the torrent goes on.
    pub(crate) fn makes_nothing(&self) -> bool {
        self.making.rests()
    }

    /// Makes a file of what the part file has of it: whole and synced before it gets its name, so
    /// that a crash finds the file with all of its parts, or not at all. Where no file can get
    /// another name it is made under its own, and a crash in the midst of that loses parts of it.
    fn export(&self, index: usize, file: &LayoutFile) -> Result<(), StoreError> {
        let Some(parts) = self.parts.as_ref().filter(|_| self.marks(index) & HELD != 0) else {
            self.unmark(index, PARKED | HELD);
            return Ok(());
        };
        let failed = |op, path| move |e| StoreError::new(op, path, e);
        let there = self.disk.stat(&file.path).map_err(failed(StoreOp::Open, &file.path))?;
        let Some(there) = there else {
            let dir = self.layout.dir();
            if let Ok(below) = file.path.strip_prefix(dir) {
                let refused = self.disk.refuse_links(dir, below);
                refused.map_err(failed(StoreOp::Create, &file.path))?;
            }
            if !self.export_apart(index, file, parts)? {
                self.put_together(index, parts, &file.path)?;
            }
            return self.exported(index, file);
        };
        // An earlier try has given it its name and could not make sure of that, or has begun it
        // under its name. Anything else is not ours.
        let is_ours = |(range, at): (Range<u64>, u64)| {
            let from =
                at..at + (range.end - range.start).min(there.len.saturating_sub(range.start));
            is_copied(&*self.disk, &parts.file.path, from, &file.path, range.start)
        };
        let mut ours = there.is_file;
        for stretch in parts.slots(&self.layout).stretches(index) {
            ours = ours && is_ours(stretch)?;
        }
        if !ours {
            let taken = io::Error::new(ErrorKind::AlreadyExists, "something is there already");
            return Err(failed(StoreOp::Move, &file.path)(taken));
        }
        self.put_together(index, parts, &file.path)?;
        self.exported(index, file)
    }

    /// Puts a file together beside the part file, and gives it its name. False if it cannot get
    /// that here: on a disk without such names, or from another file system.
    fn export_apart(
        &self,
        index: usize,
        file: &LayoutFile,
        parts: &PartFile,
    ) -> Result<bool, StoreError> {
        let failed = |op, path| move |e| StoreError::new(op, path, e);
        let temporary = export_file(&parts.file.path);
        let clear = || {
            let below = Below::new(self.layout.dir(), &temporary);
            below.map_or(Ok(false), |below| self.disk.remove(&below.root, &below.path))
        };
        match clear() {
            Err(e) if e.kind() == ErrorKind::Unsupported => return Ok(false),
            cleared => _ = cleared.map_err(failed(StoreOp::Delete, &temporary))?,
        }
        self.put_together(index, parts, &temporary)?;
        self.disk.sync(&temporary).map_err(failed(StoreOp::Sync, &temporary))?;
        let renamed = self.disk.rename(&temporary, &file.path);
        self.disk.close(&temporary);
        match renamed {
            Err(e) if matches!(e.kind(), ErrorKind::Unsupported | ErrorKind::CrossesDevices) => {
                let _it_goes_with_the_torrent = clear();
                Ok(false)
            }
            renamed => renamed.map(|()| true).map_err(failed(StoreOp::Move, &file.path)),
        }
    }

    /// Copies what the part file has of a file to where they belong in `to`, which is made.
    fn put_together(&self, index: usize, parts: &PartFile, to: &Path) -> Result<(), StoreError> {
        self.disk
            .create(to, 0, Allocation::Sparse)
            .map_err(|e| StoreError::new(StoreOp::Create, to, e))?;
        for (range, at) in parts.slots(&self.layout).stretches(index) {
            let from = at..at + (range.end - range.start);
            copy(&*self.disk, &parts.file.path, from, to, range.start)?;
        }
        Ok(())
    }

    /// A file was made of its parts, which may go when it, its name and its folders are safe.
    fn exported(&self, index: usize, file: &LayoutFile) -> Result<(), StoreError> {
        let failed = |op, path| move |e| StoreError::new(op, path, e);
        self.disk.sync(&file.path).map_err(failed(StoreOp::Sync, &file.path))?;
        keep_folders(&*self.disk, Below::new(self.layout.dir(), &file.path).iter())?;
        let found = self.disk.stat(&file.path).map_err(failed(StoreOp::Open, &file.path))?;
        if let Some(stat) = self.stats().get_mut(index) {
            *stat = found;
        }
        self.mark(index, UNSYNCED);
        self.unmark(index, PARKED | HELD);
        Ok(())
    }

    /// Deletes the part file if there is nothing in it.
    fn drop_parts(&self) -> Result<(), StoreError> {
        let Some(PartFile { file, .. }) = &self.parts else { return Ok(()) };
        let index = self.parts_index();
        let there =
            self.marks(index) & READY != 0 || self.stats().get(index).is_some_and(Option::is_some);
        if !there || (0..index).any(|index| self.marks(index) & HELD != 0) {
            return Ok(());
        }
        self.disk.close(&file.path);
        let dir = self.layout.dir();
        if let Ok(below) = file.path.strip_prefix(dir) {
            match self.disk.remove(dir, below) {
                // A disk that deletes nothing keeps it, and no file needs it.
                Err(e) if e.kind() == ErrorKind::Unsupported => return Ok(()),
                removed => {
                    removed.map_err(|e| StoreError::new(StoreOp::Delete, &file.path, e))?;
                }
            }
            let _may_be_in_use = below.parent().map(|folder| self.disk.remove_dir(dir, folder));
        }
        self.unmark(index, READY | UNSYNCED | FOUND);
        if let Some(stat) = self.stats().get_mut(index) {
            *stat = None;
        }
        Ok(())
    }
}

/// Where a file is put together that is to be made of its parts.
pub(crate) fn export_file(parts: &Path) -> PathBuf {
    parts.with_extension("export")
}
