//! What comes of a read of a torrent's bytes: the bytes, or why there are none, for programs and
//! for users.

use std::fmt;

use thiserror::Error;

use crate::base::{geometry::PieceIndex, storage::StoreError};

/// Verified bytes of a torrent, as many as were asked for. It prints as their number.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadBytes(pub Vec<u8>);

impl fmt::Debug for ReadBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReadBytes({} bytes)", self.0.len())
    }
}

/// Why a [read](crate::Verbs::read) that was begun has no bytes. It has all or none.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ReadFailure {
    /// Bytes of this piece are not there yet.
    #[error("bytes of piece {} are not there", .0.get())]
    NotThere(PieceIndex),
    /// Bytes of this piece are there, but the piece is not whole, and nothing else vouches for
    /// them: the torrent is of version 1, or no peer has given the hashes of its blocks (BEP 52) in
    /// time.
    #[error("bytes of piece {} are there and not verified", .0.get())]
    NotVerified(PieceIndex),
    /// Bytes of this piece are there, and are not what the hash of their block says. They are
    /// fetched again when the piece is whole and fails its hash.
    #[error("bytes of piece {} are wrong", .0.get())]
    Wrong(PieceIndex),
    /// The torrent's storage is not open, and was not within
    /// [`ReadConf::max_wait`](crate::conf::ReadConf::max_wait): it is being opened or moved, could
    /// not be opened, or its data is gone.
    #[error("the torrent's storage is not open")]
    NotOpen,
    /// The torrent was removed, or the engine shuts down.
    #[error("the torrent is being closed")]
    Closed,
    /// The disk failed, or another program has changed the file.
    #[error(transparent)]
    Storage(#[from] StoreError),
}
