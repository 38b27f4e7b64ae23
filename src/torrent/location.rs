//! Where a torrent's bytes are: a storage of its own, or else the folder, the names that differ
//! from the metainfo's, and the files that it has in common with other torrents. It reads and moves
//! nothing.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::storage::Storage,
    torrent::{names::Names, shared_files::SharedFiles},
};

/// A folder, and what is called otherwise below it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) dir: PathBuf,
    pub(super) state_file: Option<PathBuf>,
    /// By file, ascending.
    pub(super) renames: Vec<(usize, PathBuf)>,
    /// What its bytes are in, if not in files.
    pub(super) storage: Option<Arc<dyn Storage>>,
}

impl Place {
    /// The same torrent in another folder; its state goes along if it lies in there.
    pub(super) fn in_dir(&self, dir: PathBuf) -> Self {
        let state_file = self.state_file.as_ref().map(|path| match path.strip_prefix(&self.dir) {
            Ok(below) => dir.join(below),
            Err(_) => path.clone(),
        });
        Self { dir, state_file, ..self.clone() }
    }

    pub(super) fn with_rename(&self, file: usize, path: PathBuf) -> Self {
        let mut place = self.clone();
        match place.renames.binary_search_by_key(&file, |(file, _)| *file) {
            Ok(at) => place.renames[at].1 = path,
            Err(at) => place.renames.insert(at, (file, path)),
        }
        place
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Location {
    place: Place,
    names: Names,
    shared: SharedFiles,
    /// It is elsewhere since the engine asked last.
    has_moved: bool,
}

impl Location {
    pub(super) fn new(place: Place) -> Self {
        Self { place, names: Names::default(), shared: SharedFiles::default(), has_moved: false }
    }

    /// The folder.
    pub(crate) fn dir(&self) -> &Path {
        &self.place.dir
    }

    /// The file that the state is kept in between runs.
    pub(crate) fn state_file(&self) -> Option<&Path> {
        self.place.state_file.as_deref()
    }

    /// Whether its bytes are in something else than files, so that it has no paths.
    pub(crate) fn has_own_storage(&self) -> bool {
        self.place.storage.is_some()
    }

    pub(super) fn own_storage(&self) -> Option<Arc<dyn Storage>> {
        self.place.storage.clone()
    }

    /// Files that the user has renamed; by file, ascending.
    pub(crate) fn renames(&self) -> &[(usize, PathBuf)] {
        &self.place.renames
    }

    /// Files that are called otherwise on the disk, as far as known; by file, ascending.
    pub(crate) fn aliases(&self) -> &[(usize, PathBuf)] {
        self.names.aliases()
    }

    pub(super) fn place(&self) -> &Place {
        &self.place
    }

    pub(super) fn names_mut(&mut self) -> &mut Names {
        &mut self.names
    }

    /// Its files are known now, and are called so, by file, ascending.
    pub(super) fn set_renames(&mut self, renames: Vec<(usize, PathBuf)>) {
        self.place.renames = renames;
    }

    /// The torrent is elsewhere now. Returns where it was.
    pub(super) fn change(&mut self, to: Place) -> Place {
        self.has_moved = true;
        std::mem::replace(&mut self.place, to)
    }

    /// Whether it is elsewhere since this was asked last.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// The files that it has in common with other torrents.
    pub(crate) fn shared(&self) -> &SharedFiles {
        &self.shared
    }

    pub(super) fn shared_mut(&mut self) -> &mut SharedFiles {
        &mut self.shared
    }
}
