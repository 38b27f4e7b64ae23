//! What other programs did to the torrent's files: a file that is longer than the torrent says is
//! cut once it is complete, and one that is not as it was last known is not served before it was
//! checked.

use super::super::layout::LayoutFile;
use super::{BORROWED, PARKED, READY, SKIPPED, STRANGE, TorrentFiles, UNSYNCED, marks::Unsettled};
use crate::base::{
    bitfield::Bitfield,
    geometry::Geometry,
    storage::{Changed, StoreError, StoreOp},
};

impl TorrentFiles {
    /// Files are about to be synced and looked at.
    pub(crate) fn settle(&self) -> Unsettled<'_> {
        self.marks.settle()
    }

    /// Refuses to read a file that another program has changed since it was looked at. Unless it
    /// `may_wait` only what is known of an open file without waiting counts.
    pub(super) fn refuse_changed(
        &self,
        index: usize,
        file: &LayoutFile,
        may_wait: bool,
    ) -> Result<(), StoreError> {
        let known = || self.marks.unchanged(index);
        let Some(before) = known() else { return Ok(()) };
        let found =
            if may_wait { self.disk.stat(&file.path) } else { self.disk.stat_open(&file.path) };
        // What is gone or cannot be looked at shows when it is read.
        let Ok(Some(found)) = found else { return Ok(()) };
        if found == before || known() != Some(before) {
            return Ok(());
        }
        self.mark(index, STRANGE);
        // What is open may be a file that has lost its name to another.
        self.disk.close(&file.path);
        Err(StoreError::new(StoreOp::Read, &file.path, Changed::error()))
    }

    /// Files that are longer than the torrent says, by number.
    pub(crate) fn too_long(&self) -> Vec<usize> {
        let stats = self.stats();
        let is_long = |&(index, file): &(usize, &LayoutFile)| {
            index != self.parts_index()
                && stats.get(index).copied().flatten().is_some_and(|stat| stat.len > file.len)
        };
        self.all_files().filter(is_long).map(|(index, _)| index).collect()
    }

    /// Cuts files to their length that are longer, wanted, and complete. Nothing happens if nothing
    /// was ever written to any file of the torrent: who only reads changes nothing.
    ///
    /// # Errors
    /// The first of them; the others are cut all the same.
    pub(crate) fn trim(&self, have: &Bitfield, geometry: &Geometry) -> Result<(), StoreError> {
        if !(0..self.parts_index()).any(|index| self.marks(index) & READY != 0) {
            return Ok(());
        }
        self.look_at_written();
        let mut result = Ok(());
        for index in self.too_long() {
            let Some(file) = self.layout.files().get(index) else { continue };
            let is_complete = geometry
                .pieces_of(file.offset..file.offset + file.len)
                .all(|piece| have.has(piece));
            if is_complete && self.marks(index) & (SKIPPED | PARKED | BORROWED) == 0 {
                result = result.and(self.cut(index, file));
            }
        }
        result
    }

    /// What was written since the last sync may have got another length meanwhile. (Its date is
    /// noted when it is synced.)
    fn look_at_written(&self) {
        for (index, file) in
            self.all_files().filter(|(index, _)| self.marks(*index) & UNSYNCED != 0)
        {
            if let (Ok(Some(found)), Some(Some(stat))) =
                (self.disk.stat(&file.path), self.stats().get_mut(index))
            {
                stat.len = found.len;
            }
        }
    }

    fn cut(&self, index: usize, file: &LayoutFile) -> Result<(), StoreError> {
        let failed = |e| StoreError::new(StoreOp::Write, &file.path, e);
        let dir = self.layout.dir();
        if let Ok(below) = file.path.strip_prefix(dir) {
            self.disk.refuse_links(dir, below).map_err(failed)?;
        }
        self.mark(index, UNSYNCED);
        log::info!(
            "{} is longer than the torrent says and is cut to {} bytes",
            file.path.display(),
            file.len
        );
        let cut = self.disk.set_len(&file.path, file.len).map_err(failed);
        self.mark(index, UNSYNCED);
        cut
    }
}
