//! What a torrent's storage is told when it is opened, and what it finds.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Storage, StoreError};
use crate::base::{
    arena::Key, bitfield::Bitfield, distrust::Distrust, files::FileEntry, geometry::Geometry,
    ids::Identity, partial::PartialPiece, paths::STATE_FOLDER, tracker_events::TrackerEvents,
    trees::Trees,
};

/// How files get their space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Allocation {
    /// Files grow as pieces arrive, with holes; on Windows with zeroes that take space.
    #[default]
    Sparse,
    /// Each file gets its whole space when it is first written, so a full disk shows early.
    Full,
}

/// How far data that is on disk is believed without being hashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Trust {
    /// As far as the saved state vouches for it; the rest is hashed.
    #[default]
    State,
    /// Not at all: everything that is there is hashed.
    Nothing,
    /// Not at all, and the saved state speaks of another folder: if none of the files is there,
    /// they are not missed ([`Alert::DataGone`](crate::Alert::DataGone)). So it is after
    /// [`MoveMode::Adopt`](crate::MoveMode::Adopt), until what was found is saved. A
    /// [`Storage`](crate::store::Storage) is told [`Trust::Nothing`].
    Elsewhere,
    /// Every file that has its right length is believed to be whole, for a seed whose files were
    /// hashed a moment ago or whose user knows them. Pieces that the saved state knows to be
    /// missing, or that lie in holes, are not believed. The first read that fails
    /// takes the trust back ([`Alert::Distrusted`](crate::Alert::Distrusted)) and has everything
    /// hashed. No state is written meanwhile, since a state speaks of what was verified.
    Files,
}

impl Trust {
    /// Whether anything may go unchecked.
    pub(crate) fn is_any(self) -> bool {
        !matches!(self, Self::Nothing | Self::Elsewhere)
    }

    /// The same for a store, which knows no other folder.
    pub(crate) fn of_store(self) -> Self {
        if self == Self::Elsewhere { Self::Nothing } else { self }
    }
}

/// A file of a torrent that belongs to another torrent of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Borrowed {
    /// Its number in the torrent that reads it.
    pub file: usize,
    /// The torrent that it belongs to.
    pub owner: Key,
    /// What that one is called.
    pub name: String,
}

/// Where and how a torrent is stored.
#[derive(Clone, Debug)]
pub struct StoreSpec {
    /// The torrent's names on the network. The first of them is part of the name of the
    /// [part file](Self::parts_file).
    pub identity: Identity,
    /// The download folder. Nothing is written outside it, but for the state file.
    pub dir: PathBuf,
    /// The torrent's own name, not yet safe: the file of a single-file torrent, the folder of
    /// others.
    pub name: String,
    /// Whether the torrent is one file called `name` (then `files` has one entry with an empty
    /// path).
    pub single_file: bool,
    /// Its files in order, not yet safe.
    pub files: Arc<[FileEntry]>,
    /// Its shape.
    pub geometry: Geometry,
    /// How files get their space.
    pub allocation: Allocation,
    /// The state file to read at opening and to write as it changes; `None` keeps no state.
    pub state_file: Option<PathBuf>,
    /// Keep the state in the session folder instead.
    pub in_session: bool,
    /// What of the data that is there may go unchecked.
    pub trust: Trust,
    /// Files that are not wanted, by number; those beyond its end are. One that is not there is
    /// not made: what other files need of its pieces is kept in the [part
    /// file](Self::parts_file).
    pub skipped: Vec<bool>,
    /// Files that have another path than the metainfo's, by number, ascending; relative to `dir`
    /// and safe.
    pub renames: Vec<(usize, PathBuf)>,
    /// The [aliases](FoundNames::aliases) that were found when it was opened, for deleting it when
    /// it is closed.
    pub aliases: Vec<(usize, PathBuf)>,
    /// Files that belong to another torrent of the session, ascending: they are read, and never
    /// made, written or cut.
    pub borrowed: Vec<Borrowed>,
    /// Files that another torrent of the session has, too, where they are now, by number,
    /// ascending: neither deleted nor taken away.
    pub kept: Vec<usize>,
    /// Its merkle trees (BEP 52), if piece layers of them are not known: then those that were kept
    /// beside its state are read.
    pub trees: Option<Trees>,
    /// Where its bytes are, if not in files below `dir`.
    pub storage: Option<Arc<dyn Storage>>,
}

impl StoreSpec {
    /// A torrent of these files in the folder `name` below `dir`, as it is when nothing was said of
    /// it: all files are wanted under their own names, and no state is kept.
    pub fn new(
        identity: Identity,
        geometry: Geometry,
        files: Arc<[FileEntry]>,
        dir: impl Into<PathBuf>,
        name: impl Into<String>,
    ) -> Self {
        Self {
            identity,
            dir: dir.into(),
            name: name.into(),
            single_file: false,
            files,
            geometry,
            allocation: Allocation::default(),
            state_file: None,
            in_session: false,
            trust: Trust::default(),
            skipped: Vec::new(),
            renames: Vec::new(),
            aliases: Vec::new(),
            borrowed: Vec::new(),
            kept: Vec::new(),
            trees: None,
            storage: None,
        }
    }

    /// Where piece layers are kept that came from peers: beside the state file, if there is one.
    pub fn layers_file(&self) -> Option<PathBuf> {
        self.state_file.as_deref().map(layers_beside)
    }

    /// Where the bytes are of files that are not made: in the folder of the states, below the
    /// download folder.
    pub fn parts_file(&self) -> PathBuf {
        self.dir.join(STATE_FOLDER).join(format!("{}.parts", self.identity.info_hash()))
    }
}

/// Where piece layers are kept beside this state file.
pub(crate) fn layers_beside(state_file: &Path) -> PathBuf {
    state_file.with_added_extension("layers")
}

/// What was found when a torrent's storage was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Pieces that need no check: the saved state vouches for them and their files look untouched,
    /// or the files are trusted.
    pub have: Bitfield,
    /// Pieces that may be there but must be hashed before anyone relies on them. Disjoint from
    /// `have`.
    pub check: Bitfield,
    /// Unfinished pieces of which the saved state says that blocks are on disk, where the files
    /// look untouched. Disjoint from `have`.
    pub partial: Vec<PartialPiece>,
    /// Bytes downloaded and uploaded over all earlier runs, as saved.
    pub downloaded: u64,
    /// See `downloaded`.
    pub uploaded: u64,
    /// Why a saved state was not believed, if there was one, in words for a log.
    pub distrust: Option<Distrust>,
    /// Files that are wanted have bytes in the part file: [`Storage::arrange`] is due.
    pub arrange: bool,
    /// What its trackers have still to hear, as saved.
    pub tracker_events: TrackerEvents,
    /// What its files are called on the disk.
    pub names: FoundNames,
    /// Files that are longer than the torrent says, by number.
    pub too_long: Vec<usize>,
    /// Pieces with a byte in a file that the saved state knows, if there is none of the torrent's
    /// files, nor its part file; else 0.
    pub lost: u32,
    /// [`StoreSpec::trees`] with the piece layers that were [kept](super::SaveState::layers), if
    /// any were.
    pub trees: Option<Trees>,
    /// The saved state [vouches](super::SaveState::both_versions) for `have` by both versions of a
    /// hybrid. If not, those of `have` are checked of which version 2 is known.
    pub both_versions: bool,
}

impl Opened {
    /// Nothing of a torrent with so many pieces is there, and nothing is known of it.
    pub fn empty(piece_count: u32) -> Self {
        Self {
            have: Bitfield::none(piece_count),
            check: Bitfield::none(piece_count),
            partial: Vec::new(),
            downloaded: 0,
            uploaded: 0,
            distrust: None,
            arrange: false,
            tracker_events: TrackerEvents::default(),
            names: FoundNames::default(),
            too_long: Vec::new(),
            lost: 0,
            trees: None,
            both_versions: false,
        }
    }
}

/// Files that are called otherwise on the disk than in the metainfo, and that the user has not
/// renamed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundNames {
    /// Paths below the download folder that do not follow from the names alone: the disk does not
    /// tell the torrent's names apart, or an earlier version has stored the files so. By file,
    /// ascending.
    pub aliases: Vec<(usize, PathBuf)>,
    /// How many files have another path than the metainfo's.
    pub changed: usize,
    /// The first of them, and its path below the download folder.
    pub first: Option<(usize, PathBuf)>,
}

/// Files that were to be deleted and are still there.
#[derive(Clone, Debug)]
pub struct Leftovers {
    /// How many.
    pub files: usize,
    /// Why the first of them is.
    pub error: StoreError,
}
