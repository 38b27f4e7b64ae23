//! Whether a torrent's files are where they should be at all: if none of them is, a drive is most
//! likely not mounted, and nothing may be made in their place.

use std::{
    io::{self, ErrorKind},
    path::Path,
};

use super::super::{disk::FileStat, layout::LayoutFile};
use super::{READY, TorrentFiles};
use crate::base::storage::{StoreError, StoreOp};

impl TorrentFiles {
    /// Whether any file with bytes in it, or the part file, is there. What cannot be looked at
    /// counts as there: it may be.
    pub(crate) fn is_any_there(&self) -> bool {
        let is_there = |path: &Path| self.disk.stat(path).map_or(true, |stat| stat.is_some());
        if !is_there(self.layout.dir()) {
            return false;
        }
        // What is in one folder mostly comes in a row, and goes with it.
        let mut missing: Option<&Path> = None;
        self.all_filled().any(|(_, file)| {
            let folder = file.path.parent();
            if folder.is_some() && folder == missing {
                return false;
            }
            match self.disk.stat(&file.path) {
                Ok(stat) if stat.is_none_or(|stat| !stat.is_file) => {
                    missing = folder
                        .filter(|folder| *folder != self.layout.dir() && !is_there(folder))
                        .or(missing);
                    false
                }
                _ => true,
            }
        })
    }

    /// Whether any file with bytes in it, or the part file, is among those found.
    pub(crate) fn is_any_of(&self, found: &[Option<FileStat>]) -> bool {
        self.all_filled().any(|(index, _)| found.get(index).is_some_and(Option::is_some))
    }

    /// Refuses to make or save anything when all files are gone that were there.
    pub(crate) fn refuse_if_gone(&self, op: StoreOp) -> Result<(), StoreError> {
        let was_there = |index: usize| {
            let known =
                self.stats().get(index).is_some_and(|stat| stat.is_some_and(|stat| stat.len > 0));
            known || self.marks(index) & READY != 0
        };
        let Some((_, witness)) = self.all_filled().find(|(index, _)| was_there(*index)) else {
            return Ok(());
        };
        // One that is there is enough; if it is not, others may be.
        if self.disk.stat(&witness.path).map_or(true, |stat| stat.is_some()) || self.is_any_there()
        {
            return Ok(());
        }
        let what = io::Error::new(ErrorKind::NotFound, "the torrent's data is gone from there");
        Err(StoreError::new(op, self.layout.dir(), what))
    }

    /// All files that have bytes, and the part file.
    fn all_filled(&self) -> impl Iterator<Item = (usize, &LayoutFile)> {
        let parts = self.parts_index();
        self.all_files().filter(move |(index, file)| file.len > 0 || *index == parts)
    }
}
