//! The verbs about the files of a torrent: how much each is wanted, and how it stands.

use std::{
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use crate::{
    base::{
        files::Priority,
        ids::TorrentId,
        paths::{self, Case, PathError, RenameError},
        storage::{StoreError, StoreOp},
    },
    engine::{AddError, Engine, NoSuchTorrent, Verbs},
    torrent::{TorrentParams, file_operations::Request, lifecycle::End},
    wire::{
        magnet::{FileSelection, SelectionError},
        metainfo::Metainfo,
    },
};

/// How one file of a torrent stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
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
    /// Together with those that are chosen already they are too many ranges.
    #[error(transparent)]
    Selection(#[from] SelectionError),
    /// The file cannot have this name.
    #[error(transparent)]
    Rename(#[from] RenameError),
}

/// What to do with what is where a torrent is to be moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum MoveMode {
    /// If anything is where one of the torrent's files would be, nothing is moved.
    #[default]
    FailIfExists,
    /// Nothing is moved: what is in the new folder is the torrent's data, all of which is checked.
    /// The old folder stays as it is.
    Adopt,
}

/// The renames of a torrent to be, made safe, ascending by file.
pub(super) fn safe_renames(params: &TorrentParams) -> Result<Vec<(usize, PathBuf)>, AddError> {
    let refused = |file| move |error| AddError::Rename { file, error };
    let safe = |(file, path): &(usize, PathBuf)| {
        paths::safe_rename(path).map(|path| (*file, path)).map_err(refused(*file))
    };
    let mut renames = params.renames.iter().map(safe).collect::<Result<Vec<_>, _>>()?;
    // Of several for one file the last counts.
    renames.reverse();
    renames.sort_by_key(|(file, _)| *file);
    renames.dedup_by_key(|(file, _)| *file);
    if renames.is_empty() {
        // All names are laid out when the storage is opened, by a worker.
        return Ok(renames);
    }
    // The files of a magnet link are not known yet: what fits them shows later.
    let Some(metainfo) = params.source.metainfo() else { return Ok(renames) };
    // Names that differ in case alone are the disk's to judge, when the storage is opened.
    match paths::renamed_paths(metainfo.names(), Case::Kept, &renames) {
        Err(PathError::Rename(file, error)) => Err(refused(file)(error)),
        // Names that cannot be made safe show when the storage is opened.
        _ => Ok(renames),
    }
}

/// Whether the names that a magnet link was added with fit its files, now that they are known: all
/// or none are used, since one name may make room for another. The error is of the first that does
/// not fit.
pub(super) fn check_renames(
    metainfo: &Metainfo,
    renames: &[(usize, PathBuf)],
) -> Result<(), (usize, RenameError)> {
    match paths::renamed_paths(metainfo.names(), Case::Kept, renames) {
        Err(PathError::Rename(file, error)) => Err((file, error)),
        _ => Ok(()),
    }
}

/// Why none of these names is used: that of file `culprit` does not fit.
pub(super) fn refused_renames(
    renames: Vec<(usize, PathBuf)>,
    culprit: usize,
    error: RenameError,
) -> impl Iterator<Item = (usize, StoreError)> {
    renames.into_iter().map(move |(file, path)| {
        let why = if file == culprit {
            io::Error::new(io::ErrorKind::InvalidInput, error)
        } else {
            io::Error::other(format!("the name that file {culprit} was given cannot be used"))
        };
        (file, StoreError::new(StoreOp::Move, path, why))
    })
}

impl Verbs<'_> {
    /// Says how much each file of a torrent is wanted, in the metainfo's order, padding and links
    /// included; those beyond the end of `priorities` are [`Priority::Normal`].
    ///
    /// A piece is wanted as much as the most wanted of the files that have bytes in it. Those
    /// wanted more come first; among equals it is rarest first, or in order if the torrent is
    /// [sequential](Self::set_sequential). What is skipped is neither asked for nor
    /// made: orders are called off, and parts of pieces that are not whole are given up. What is on
    /// disk stays there and is served.
    ///
    /// When all that is wanted is there the torrent is [finished](crate::Alert::Finished) and tells
    /// its peers that it wants no data (BEP 21); if more is wanted later it goes on.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_file_priorities(
        &mut self,
        id: TorrentId,
        priorities: Vec<Priority>,
    ) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.set_priorities(priorities, cx))
    }

    /// The same for one file.
    ///
    /// # Errors
    /// If there is no such torrent, or no such file in it.
    pub fn set_file_priority(
        &mut self,
        id: TorrentId,
        file: usize,
        priority: Priority,
    ) -> Result<(), FileError> {
        let torrent = self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        let mut priorities = torrent.priorities();
        let files = priorities.len();
        *priorities.get_mut(file).ok_or(FileError::NoSuchFile { file, files })? = priority;
        Ok(self.set_file_priorities(id, priorities)?)
    }

    /// Wants these files beside those that are wanted. That is what a magnet link asks for that
    /// chooses files ([`Magnet::select`](crate::wire::magnet::Magnet::select)) of a torrent that is
    /// there already ([`AddError::Duplicate`]; BEP 53). What is wanted more or less than usual
    /// stays so, and what the torrent does not have is left out. As long as only a link is known of
    /// the torrent, they join the files that this link chooses, if it chooses any.
    ///
    /// # Errors
    /// If there is no such torrent, or the choice of its link becomes too large.
    pub fn want_files(&mut self, id: TorrentId, files: &FileSelection) -> Result<(), FileError> {
        let mut wanted = Ok(());
        self.engine.with(id, |torrent, cx| wanted = torrent.want_files(files, cx))?;
        Ok(wanted?)
    }

    /// Gives a file another path below the download folder, whether it is there or not. Its names
    /// are made as safe as those of a torrent are; nothing that is there is replaced.
    /// [`Alert::FileRenamed`](crate::Alert::FileRenamed) or
    /// [`FileRenameFailed`](crate::Alert::FileRenameFailed) tells what came of it. The torrent's
    /// reads and writes wait meanwhile.
    ///
    /// In a session with a folder ([`SessionConf::dir`](crate::conf::SessionConf::dir)) the new
    /// name is kept; else give it to [`TorrentParams::renames`] the next time.
    ///
    /// # Errors
    /// If there is no such torrent or file, or the path leads out of the download folder or is that
    /// of another file of the torrent.
    pub fn rename_file(
        &mut self,
        id: TorrentId,
        file: usize,
        path: impl AsRef<Path>,
    ) -> Result<(), FileError> {
        let torrent = self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        let files = torrent.content().files().len();
        let metainfo = torrent.content().metainfo().filter(|_| file < files).cloned();
        let metainfo = metainfo.ok_or(FileError::NoSuchFile { file, files })?;
        let path = paths::safe_rename(path.as_ref())?;
        let mut renames = torrent.location().renames().to_vec();
        renames.retain(|(other, _)| *other != file);
        renames.push((file, path.clone()));
        if let Err(PathError::Rename(_, error)) =
            paths::renamed_paths(metainfo.names(), Case::Kept, &renames)
        {
            return Err(error.into());
        }
        Ok(self.engine.ask(id, Request::Rename(file, path))?)
    }

    /// Moves a torrent's own files to another folder: on the same file system without copying them,
    /// else by copying all, and then deleting the old ones and the folders that become empty.
    /// At each moment the torrent is wholly in one place; if something fails it stays in the
    /// old one. Its state file goes along if it lies in the old folder.
    /// [`Alert::StorageMoved`](crate::Alert::StorageMoved) or
    /// [`StorageMoveFailed`](crate::Alert::StorageMoveFailed) tells what came of it. The torrent's
    /// reads and writes wait meanwhile.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn move_storage(
        &mut self,
        id: TorrentId,
        dir: impl Into<PathBuf>,
        mode: MoveMode,
    ) -> Result<(), NoSuchTorrent> {
        let request = match mode {
            MoveMode::FailIfExists => Request::Move(dir.into()),
            MoveMode::Adopt => Request::Adopt(dir.into()),
        };
        self.engine.ask(id, request)
    }

    /// As [`remove`](Self::remove), and deletes the torrent's own files: those that its metainfo
    /// names, as they were renamed, with its part file and its state file; and folders that
    /// become empty by it, but not the download folder. What else is there stays, and
    /// so does what is no regular file or lies behind a symbolic link. Before
    /// [`Alert::Removed`](crate::Alert::Removed) comes
    /// [`Alert::DataDeleted`](crate::Alert::DataDeleted), or
    /// [`DeleteFailed`](crate::Alert::DeleteFailed) if something could not be deleted.
    ///
    /// In a session with a folder it is recorded first that the torrent is gone, and the files go
    /// when that is on disk: if the process is killed in between, they stay, and the torrent
    /// does not come back to fetch them again. If there is no space for the record the files go
    /// first. If it cannot be recorded before the engine has shut down, nothing is deleted and the
    /// torrent is there at the next start.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn remove_with_data(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.close(End::RemoveWithData, cx))?;
        self.engine.close_connections_of(id.0, "the torrent is removed");
        Ok(())
    }
}

impl Engine {
    /// Has a torrent do what it is asked to, unless it would write where another one does.
    fn ask(&mut self, id: TorrentId, request: Request) -> Result<(), NoSuchTorrent> {
        let refused = self.refuse_place(id.0, &request);
        self.with(id, |torrent, cx| match refused {
            Some(error) => torrent.refuse(request, error, cx),
            None => torrent.request(request, cx),
        })
    }

    /// How much each file of a torrent is wanted, an entry a file; empty if there is no such
    /// torrent.
    pub fn file_priorities(&self, id: TorrentId) -> Vec<Priority> {
        self.torrents.get(id.0).map(|t| t.priorities()).unwrap_or_default()
    }

    /// How each file of a torrent stands, in the metainfo's order; empty if there is no such
    /// torrent. The work grows with the number of files and pieces: for a list that is shown,
    /// not for every moment.
    pub fn files(&self, id: TorrentId) -> Vec<FileStats> {
        let Some(torrent) = self.torrents.get(id.0) else { return Vec::new() };
        let mut paths = torrent.paths().into_iter();
        let stats = |(file, entry): (usize, &crate::base::files::FileEntry)| FileStats {
            path: paths.next().flatten(),
            len: entry.len,
            have: torrent.have_of(file),
            priority: torrent.priority(file),
        };
        torrent.content().files().iter().enumerate().map(stats).collect()
    }

    /// The files of a torrent that have another path than the metainfo's: index, and path below the
    /// download folder.
    pub fn renames(&self, id: TorrentId) -> Vec<(usize, PathBuf)> {
        self.torrents.get(id.0).map(|t| t.location().renames().to_vec()).unwrap_or_default()
    }

    /// The download folder of a torrent.
    pub fn dir(&self, id: TorrentId) -> Option<&Path> {
        self.torrents.get(id.0).map(|t| t.location().dir())
    }

    /// The state file of a torrent, if it has one: after a move it may be another than at the
    /// start.
    pub fn state_file(&self, id: TorrentId) -> Option<&Path> {
        self.torrents.get(id.0).and_then(|t| t.location().state_file())
    }
}
