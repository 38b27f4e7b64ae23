//! What a torrent consists of: its metainfo, once that is known, and how much each file is wanted.
//! Before, there is the magnet link that it was added with.
//!
//! It knows neither what of the content is there nor where.

use std::{mem, sync::Arc};

use crate::{
    base::{
        bitfield::Bitfield,
        files::{FileEntry, Priority},
        geometry::Geometry,
        trees::Trees,
    },
    torrent::{
        cx::Cx, file_priorities::FilePriorities, info::Info, metadata_fetch::Fetching,
        params::Source, tree_hashes::TreeHashes,
    },
    wire::{
        magnet::{FileSelection, Magnet, SelectionError},
        metainfo::Metainfo,
        session::LOG_LIMITS,
    },
};

/// See the module.
#[derive(Debug)]
pub(crate) struct Content {
    source: Source,
    priorities: FilePriorities,
    /// The metainfo is not known and comes from peers.
    fetching: Option<Box<Fetching>>,
    /// What it asks of trees and is asked; few torrents ever have to.
    tree_hashes: Option<Box<TreeHashes>>,
}

impl Content {
    pub(super) fn new(source: Source, priorities: Vec<Priority>) -> Self {
        let files = source.metainfo().map_or(usize::MAX, |metainfo| metainfo.files.len());
        let priorities = FilePriorities::new(priorities, files);
        Self { source, priorities, fetching: None, tree_hashes: None }
    }

    /// If the metainfo is not known, it is fetched from peers.
    pub(super) fn begin_fetching(&mut self, cx: &Cx) {
        if let Source::Magnet(magnet) = &self.source {
            self.fetching = Some(Box::new(Fetching::new(magnet.identity, cx)));
        }
    }

    pub(super) fn fetching(&self) -> Option<&Fetching> {
        self.fetching.as_deref()
    }

    pub(super) fn fetching_mut(&mut self) -> Option<&mut Fetching> {
        self.fetching.as_deref_mut()
    }

    pub(super) fn tree_hashes(&mut self) -> Option<&mut TreeHashes> {
        self.tree_hashes.as_deref_mut()
    }

    /// Pieces on disk that the last check passed over, since it was not known what they should be.
    pub(super) fn passed_over(&self) -> Option<&Bitfield> {
        self.tree_hashes.as_deref()?.passed_over()
    }

    /// Whether something that is had is still to be held against version 2.
    pub(super) fn has_unproven(&self) -> bool {
        self.tree_hashes.as_deref().is_some_and(|hashes| hashes.roots.has_unproven())
    }

    /// Whether piece layers are to be kept beside the state.
    pub(super) fn keeps_layers(&self) -> bool {
        self.tree_hashes.as_deref().is_some_and(TreeHashes::keeps_beside_state)
    }

    pub(super) fn tree_hashes_mut(&mut self) -> &mut TreeHashes {
        self.tree_hashes.get_or_insert_with(|| Box::new(TreeHashes::new()))
    }

    /// Piece layers have come.
    pub(super) fn set_trees(&mut self, trees: Trees) {
        if let Source::Metainfo(metainfo) = &mut self.source {
            let whole = Metainfo { trees: Some(trees), ..Metainfo::clone(metainfo) };
            *metainfo = Arc::new(whole);
        }
    }

    /// The metainfo is kept as this file from now on. Returns where the info dictionary is in it;
    /// `None` if it is not this torrent's.
    pub(super) fn set_file(&mut self, file: &[u8]) -> Option<std::ops::Range<usize>> {
        let Source::Metainfo(metainfo) = &mut self.source else { return None };
        // It is read as the session's log is: with its layers it may be longer than what is added.
        let read = Metainfo::without_raw(file, &LOG_LIMITS)
            .inspect_err(|error| log::error!("{} with its layers: {error}", metainfo.name))
            .ok()?;
        if read.identity != metainfo.identity {
            log::error!("{} with its layers is another torrent", metainfo.name);
            return None;
        }
        let span = read.info_span;
        let moved = Metainfo { info_span: span.clone(), ..Metainfo::clone(metainfo) };
        *metainfo = Arc::new(moved);
        Some(span)
    }

    /// The magnet link that it was added with, as long as nothing more is known.
    pub(crate) fn magnet(&self) -> Option<&Magnet> {
        match &self.source {
            Source::Magnet(magnet) => Some(magnet),
            Source::Metainfo(_) => None,
        }
    }

    pub(super) fn source(&self) -> &Source {
        &self.source
    }

    pub(crate) fn metainfo(&self) -> Option<&Arc<Metainfo>> {
        self.source.metainfo()
    }

    /// Whether the metainfo is known.
    pub(crate) fn is_known(&self) -> bool {
        self.metainfo().is_some()
    }

    /// The metainfo has come. Files that the link names are wanted, and no others, unless the user
    /// has said otherwise.
    pub(super) fn set_metainfo(&mut self, metainfo: Arc<Metainfo>) {
        let files = metainfo.files.len();
        let mut priorities = self.priorities.priorities().to_vec();
        if let Source::Magnet(magnet) = &self.source
            && let Some(select) = magnet.select.as_ref().filter(|_| priorities.is_empty())
        {
            let priority = |file| {
                if select.contains(file) { Priority::Normal } else { Priority::Skip }
            };
            priorities = (0..files).map(priority).collect();
        }
        *self = Self::new(Source::Metainfo(metainfo), priorities);
    }

    /// As long as only the link is known, these files join those that it chooses; one that chooses
    /// none wants all. Returns whether that is new.
    pub(super) fn widen_link(&mut self, files: &FileSelection) -> Result<bool, SelectionError> {
        let Source::Magnet(magnet) = &mut self.source else { return Ok(false) };
        let Some(select) = &mut magnet.select else { return Ok(false) };
        let before = select.clone();
        select.add_all(files)?;
        Ok(*select != before)
    }

    /// Takes the bytes that the metainfo was read from: this torrent has its metainfo without them
    /// from now on. `None` if it never had them, and no bytes of one whose metainfo is not known.
    pub(super) fn take_raw(&mut self) -> Option<Arc<[u8]>> {
        let Source::Metainfo(metainfo) = &mut self.source else { return Some(Arc::default()) };
        match Arc::get_mut(metainfo) {
            Some(own) => mem::take(&mut own.raw),
            None => {
                let raw = metainfo.raw.clone();
                *metainfo = Arc::new(Metainfo { raw: None, ..Metainfo::clone(metainfo) });
                raw
            }
        }
    }

    /// The info dictionary for peers that ask for it (BEP 9), if its bytes are in memory or in a
    /// session folder. Not that of a private torrent, whose peers have it from where they have its
    /// trackers (BEP 27).
    pub(super) fn info(&self, in_session: bool) -> Option<Info> {
        let metainfo = self.metainfo().filter(|metainfo| !metainfo.private)?;
        let span = metainfo.info_span.clone();
        if in_session {
            return Some(Info::stored(span));
        }
        metainfo.raw.clone().map(|file| Info::Here(file, span))
    }

    /// The name that the metainfo gives it, or else the link; a foreign word.
    pub(crate) fn name(&self) -> &str {
        self.source.name()
    }

    /// The files, none before they are known.
    pub(crate) fn files(&self) -> &[FileEntry] {
        self.metainfo().map_or(&[], |metainfo| &metainfo.files)
    }

    /// The trackers of the metainfo, by tier.
    pub(crate) fn trackers(&self) -> &[Vec<String>] {
        self.metainfo().map_or(&[], |metainfo| &metainfo.trackers)
    }

    pub(super) fn geometry(&self) -> Geometry {
        self.metainfo().map_or(Geometry::NONE, |metainfo| metainfo.geometry.clone())
    }

    pub(super) fn priorities(&self) -> &FilePriorities {
        &self.priorities
    }

    /// The user wants the files so. Returns whether that is new.
    pub(super) fn set_priorities(&mut self, priorities: Vec<Priority>) -> bool {
        let files = self.metainfo().map_or(usize::MAX, |metainfo| metainfo.files.len());
        let priorities = FilePriorities::new(priorities, files);
        mem::replace(&mut self.priorities, priorities.clone()) != priorities
    }

    /// How much each piece is wanted, as [`FilePriorities::levels`] has it.
    pub(super) fn levels(&self) -> Vec<Priority> {
        self.priorities.levels(self.files(), &self.geometry())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::metainfo::{MetainfoBuilder, MetainfoLimits};

    #[test]
    fn metainfo_is_kept_in_a_file_longer_than_what_is_added() {
        let mut builder = MetainfoBuilder::new("a", 16384);
        builder.single_file(16384);
        let metainfo = Metainfo::from_bytes(&builder.build(&[[1; 20]]).unwrap()).unwrap();
        let info = metainfo.info().unwrap().to_vec();
        let limit = MetainfoLimits::default().bytes;
        let long = Metainfo { comment: Some("x".repeat(limit)), ..metainfo.clone() };
        let (file, mut content) =
            (long.file_with(&info), Content::new(Arc::new(metainfo).into(), vec![]));
        assert!(Metainfo::from_bytes(&file).is_err());
        let span = content.set_file(&file).unwrap();
        assert_eq!(file[span.clone()], info);
        assert_eq!(content.metainfo().unwrap().info_span, span);
        assert_eq!(content.set_file(b"de"), None);
    }
}
