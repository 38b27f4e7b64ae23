//! What the user wants of a torrent's files: how much, and what follows for peers and pieces.

use std::path::PathBuf;

use crate::{
    base::{
        files::Priority,
        geometry::PieceIndex,
        paths::{Case, renamed_paths},
    },
    torrent::{Torrent, cx::Cx},
    wire::magnet::{FileSelection, SelectionError},
};

impl Torrent {
    pub(crate) fn priorities(&self) -> Vec<Priority> {
        self.content.priorities().all(self.content.files().len())
    }

    pub(crate) fn priority(&self, file: usize) -> Priority {
        self.content.priorities().of(file)
    }

    /// See [`Verbs::set_file_priorities`](crate::Verbs::set_file_priorities).
    pub(crate) fn set_priorities(&mut self, priorities: Vec<Priority>, cx: &mut Cx) {
        if !self.content.set_priorities(priorities) {
            return;
        }
        self.settings_changed(cx);
        let levels = self.content.levels();
        self.swarm.set_levels(|piece| levels.get(piece.at()).copied().unwrap_or_default());
        for (_, session) in self.peers.iter_mut() {
            session.handle_new_wishes(&mut self.swarm, cx);
            session.schedule(cx);
        }
        self.cancel_skipped_in_web_seeds(cx);
        self.swarm.forgo_skipped(cx);
        // While it sleeps the store is told nothing, and its files are no one else's until it is.
        if self.storage.operations.handle_skipped(&self.content.priorities().skipped()) {
            self.line_up();
        }
        if self.lifecycle.is_finished() && !self.swarm.is_finished() {
            self.go_back_to_work(cx);
        }
        self.settle(cx);
    }

    /// See [`Verbs::want_files`](crate::Verbs::want_files).
    pub(crate) fn want_files(
        &mut self,
        files: &FileSelection,
        cx: &mut Cx,
    ) -> Result<(), SelectionError> {
        if self.content.widen_link(files)? {
            self.settings_changed(cx);
        }
        let mut priorities = self.content.priorities().priorities().to_vec();
        for (file, priority) in priorities.iter_mut().enumerate() {
            if *priority == Priority::Skip && files.contains(file) {
                *priority = Priority::Normal;
            }
        }
        self.set_priorities(priorities, cx);
        Ok(())
    }

    /// It had everything that was wanted, and now more is.
    fn go_back_to_work(&mut self, cx: &mut Cx) {
        self.lifecycle.unfinish();
        self.line_up();
        self.peers.candidates_mut().unshelve(cx.now);
        for (_, session) in self.peers.iter_mut() {
            session.tell_upload_only(false, cx);
            session.schedule(cx);
        }
    }

    /// Where each file is or will be; `None` for one that is never on disk.
    pub(crate) fn paths(&self) -> Vec<Option<PathBuf>> {
        // The storage could not be opened with names that cannot be made safe.
        let Some(metainfo) = self.content.metainfo() else { return Vec::new() };
        let (metainfo, renames) = (metainfo.names(), self.location.renames());
        let aliased =
            renamed_paths(metainfo, Case::Kept, self.location.aliases().iter().chain(renames));
        let paths =
            aliased.or_else(|_| renamed_paths(metainfo, Case::Kept, renames)).unwrap_or_default();
        paths
            .into_iter()
            .map(|path| {
                if path.as_os_str().is_empty() {
                    None
                } else {
                    Some(self.location.dir().join(path))
                }
            })
            .collect()
    }

    /// Whether all of a file is verified, lies under its own name and stays there. A file that is
    /// skipped may be whole in the part file alone.
    pub(crate) fn has_in_place(&self, file: usize) -> bool {
        let is_parked = self.storage.operations.may_be_parked(file)
            || self.content.priorities().of(file) == Priority::Skip;
        let is_going = self.lifecycle.is_over() || self.storage.operations.is_moving();
        !is_parked
            && !is_going
            && self.content.files().get(file).is_some_and(|entry| self.have_of(file) == entry.len)
    }

    /// Bytes of a file that lie in verified pieces.
    pub(crate) fn have_of(&self, file: usize) -> u64 {
        let Some(file) = self.content.files().get(file).filter(|f| f.len > 0) else { return 0 };
        let (geometry, end) = (self.swarm.geometry(), file.offset.saturating_add(file.len));
        let nominal = u64::from(geometry.nominal_piece_len().max(1));
        let pieces = file.offset / nominal..end.div_ceil(nominal);
        let had = pieces.filter_map(|p| u32::try_from(p).ok().and_then(|p| geometry.piece(p).ok()));
        let overlap = |piece: PieceIndex| {
            let start = geometry.offset(piece);
            (start + u64::from(geometry.piece_len(piece)))
                .min(end)
                .saturating_sub(start.max(file.offset))
        };
        had.filter(|&piece| self.swarm.have().has(piece)).map(overlap).sum()
    }
}
