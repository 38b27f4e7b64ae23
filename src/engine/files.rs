//! The verbs about the files of a torrent: how much each is wanted, and how it stands.

use std::path::PathBuf;

use thiserror::Error;

use crate::{
    base::{files::Priority, ids::TorrentId},
    engine::{Engine, NoSuchTorrent},
};

/// How one file of a torrent stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileStats {
    /// Where it is or will be; `None` for one that is never on disk (padding, symbolic links).
    pub path: Option<PathBuf>,
    /// Bytes.
    pub len: u64,
    /// Bytes of it that lie in verified pieces.
    pub have: u64,
    /// How much it is wanted.
    pub priority: Priority,
}

/// Why a wish about a torrent's files cannot be met.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is no such torrent.
    #[error(transparent)]
    NoSuchTorrent(#[from] NoSuchTorrent),
    /// The torrent has not so many files.
    #[error("no file {file} in a torrent of {files}")]
    NoSuchFile {
        /// The index that was given.
        file: usize,
        /// How many there are.
        files: usize,
    },
}

impl Engine {
    /// Says how much each file of a torrent is wanted, in the metainfo's order, padding and links included; those beyond the end of
    /// `priorities` are [`Priority::Normal`].
    ///
    /// A piece is wanted as much as the most wanted of the files that have bytes in it. Those wanted more come first; among equals it
    /// is rarest first, or in order if the torrent is [sequential](Self::set_sequential). What is skipped is neither asked for nor
    /// made: orders are called off, and parts of pieces that are not whole are given up. What is on disk stays there and is served.
    ///
    /// When all that is wanted is there the torrent is [finished](crate::Alert::Finished) and tells its peers that it wants no data
    /// (BEP 21); if more is wanted later it goes on.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_file_priorities(&mut self, id: TorrentId, priorities: Vec<Priority>) -> Result<(), NoSuchTorrent> {
        self.with(id, |torrent, cx| torrent.set_priorities(priorities, cx))
    }

    /// The same for one file.
    ///
    /// # Errors
    /// If there is no such torrent, or no such file in it.
    pub fn set_file_priority(&mut self, id: TorrentId, file: usize, priority: Priority) -> Result<(), FileError> {
        let torrent = self.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        let mut priorities = torrent.priorities();
        let files = priorities.len();
        *priorities.get_mut(file).ok_or(FileError::NoSuchFile { file, files })? = priority;
        Ok(self.set_file_priorities(id, priorities)?)
    }

    /// How much each file of a torrent is wanted, an entry a file; empty if there is no such torrent.
    pub fn file_priorities(&self, id: TorrentId) -> Vec<Priority> {
        self.torrents.get(id.0).map(|t| t.priorities()).unwrap_or_default()
    }

    /// How each file of a torrent stands, in the metainfo's order; empty if there is no such torrent. The work grows with the number of
    /// files and pieces: for a list that is shown, not for every moment.
    pub fn files(&self, id: TorrentId) -> Vec<FileStats> {
        let Some(torrent) = self.torrents.get(id.0) else { return Vec::new() };
        let mut paths = torrent.paths().into_iter();
        let stats = |(file, entry): (usize, &crate::base::files::FileEntry)| FileStats {
            path: paths.next().flatten(),
            len: entry.len,
            have: torrent.have_of(file),
            priority: torrent.priority(file),
        };
        torrent.metainfo.files.iter().enumerate().map(stats).collect()
    }
}
