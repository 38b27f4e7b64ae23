//! Why a torrent's saved state is not believed, or not all of it.

use std::path::PathBuf;

use thiserror::Error;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Distrust {
    /// The state is there and cannot be read.
    #[error("{0}")]
    Unreadable(
        /// In words, with the file.
        String,
    ),
    /// The state was read, and is damaged, of another version, or another torrent's.
    #[error("the state in {} is of no use: {why}", path.display())]
    Useless {
        /// Where it is: its own file, or the session folder's log.
        path: PathBuf,
        /// In words.
        why: String,
    },
    /// None of the torrent's files is there.
    #[error("none of the files is there, of {pieces} pieces saved")]
    NoFiles {
        /// How many pieces the state vouches for.
        pieces: u32,
    },
    /// Files were changed by other programs.
    #[error("{}", files_changed(*files, first))]
    FilesChanged {
        /// How many, at least one.
        files: u32,
        /// The path of the first of them.
        first: PathBuf,
    },
    /// Pieces of a hybrid were verified by one of its versions alone, or may have been, and the
    /// other is known now (BEP 52).
    #[error("pieces that one version alone may have verified: {pieces}")]
    OneVersion {
        /// How many, at least one.
        pieces: u32,
    },
}

fn files_changed(files: u32, first: &std::path::Path) -> String {
    let first = first.display();
    match files {
        1 => format!("{first} is not as it was saved"),
        n => format!("{n} files are not as they were saved, {first} the first"),
    }
}
