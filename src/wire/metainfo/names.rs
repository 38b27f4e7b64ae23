//! What the files of a torrent will be called on disk. It says so for a platform, and knows no
//! disk.

use std::path::PathBuf;

use super::Metainfo;
use crate::base::{
    files::FileKind,
    paths::{Case, Foreign, NameRules, safe_paths},
};

/// A file that a download stores under another path than the metainfo's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedName {
    /// Its index.
    pub file: usize,
    /// Its path below the download folder.
    pub stored: PathBuf,
}

impl Metainfo {
    /// Files that this platform does not take by their names, or whose names could mislead, and
    /// what they are called instead; empty for nearly all torrents. A name that is changed here
    /// is changed alike in each download, unless the user gives the file another
    /// ([`TorrentParams::renames`](crate::TorrentParams::renames)). Where the disk cannot tell
    /// two names apart that differ in case, one of them is changed too, which
    /// [`Alert::NamesChanged`](crate::Alert::NamesChanged) tells.
    ///
    /// ```
    /// use cratetorrent::wire::metainfo::Metainfo;
    ///
    /// let bytes = b"d4:infod6:lengthi5e4:name3:a\tb\
    ///     12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    /// let metainfo = Metainfo::from_bytes(bytes)?;
    /// assert_eq!(metainfo.changed_names()[0].stored.to_str(), Some("a_b"));
    /// # Ok::<(), cratetorrent::wire::metainfo::MetainfoError>(())
    /// ```
    pub fn changed_names(&self) -> Vec<ChangedName> {
        // Names that cannot be told apart at all keep the torrent from being opened.
        let stored = safe_paths(self.names(), NameRules::here(), Case::Kept).unwrap_or_default();
        let files = self
            .files
            .iter()
            .zip(stored)
            .enumerate()
            .filter(|(_, (entry, _))| entry.kind == FileKind::Regular);
        let changed = files.filter(|(file, (_, stored))| !self.names().is_exact(*file, stored));
        changed.map(|(file, (_, stored))| ChangedName { file, stored }).collect()
    }

    /// The names of its files, as they are.
    pub(crate) fn names(&self) -> Foreign<'_> {
        Foreign { name: &self.name, single_file: self.single_file, files: &self.files }
    }
}
