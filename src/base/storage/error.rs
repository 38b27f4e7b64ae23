//! What a storage could not do.

use std::{io, path::PathBuf, sync::Arc};

use thiserror::Error;

/// What the store was doing when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreOp {
    /// Looking at the download folder or a file in it.
    Open,
    /// Making a folder or a file.
    Create,
    /// Reading data.
    Read,
    /// Writing data.
    Write,
    /// Giving a file its space.
    Allocate,
    /// Waiting until data is safe.
    Sync,
    /// Writing the torrent's state.
    Save,
    /// Giving a file another place.
    Move,
    /// Deleting a file.
    Delete,
}

impl StoreOp {
    const fn verb(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Create => "create",
            Self::Read => "read",
            Self::Write => "write",
            Self::Allocate => "allocate space for",
            Self::Sync => "sync",
            Self::Save => "save state to",
            Self::Move => "move",
            Self::Delete => "delete",
        }
    }
}

/// Why a file is not read: another program has changed it since it was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("another program has changed it")]
pub(crate) struct Changed;

impl Changed {
    pub(crate) fn error() -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self)
    }
}

/// A failure of the disk, with the file it is about.
#[derive(Clone, Debug, Error)]
#[error("cannot {} {}: {source}", op.verb(), path.display())]
pub struct StoreError {
    /// What was being done.
    pub op: StoreOp,
    /// To what.
    pub path: PathBuf,
    /// What the system said.
    pub source: Arc<io::Error>,
}

impl StoreError {
    /// Binds an I/O error to what was being done.
    pub fn new(op: StoreOp, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { op, path: path.into(), source: Arc::new(source) }
    }

    /// Whether it is about a file that was changed by another program, or cut off, since it was
    /// looked at.
    pub fn is_changed(&self) -> bool {
        self.source.get_ref().is_some_and(|why| why.is::<Changed>())
            || self.source.kind() == io::ErrorKind::UnexpectedEof
    }

    /// Whether what it is about is not there.
    pub fn is_missing(&self) -> bool {
        matches!(self.source.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
    }
}
