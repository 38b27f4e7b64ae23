//! Files, hashing and the workers: runs [`Job`](crate::driver::Job)s on a disk and answers with
//! [`Done`](crate::driver::Done)s.
//!
//! A [`Pool`] runs them on threads over the [`RealDisk`]; a simulator hands them to a [`Runner`]
//! over a [`Disk`] of its own. Knows files, pieces and digests; not peers, choices or time.

mod copy;
mod disk;
mod doubts;
mod extract;
mod file_storage;
mod files;
mod hashing;
mod key_exchange;
mod lanes;
mod layout;
mod memory;
mod names;
mod parts;
mod pieces;
mod pool;
mod real;
mod relocate;
mod resume;
mod runner;
mod saved;
mod session;
mod state;
mod torrent;

pub use crate::base::{
    files::{Span, spans},
    merkle,
    storage::{ReadPart, Reading, Saving, Storage},
};
pub use disk::{Disk, FileStat, Locked};
pub use lanes::{
    Stream, finish, lanes, sha1,
    sha256::{sha256_chunks, sha256_chunks_in, sha256_lanes},
    update,
};
pub use memory::{MemoryError, MemoryStorage};
pub use pool::{Pool, Wake};
pub use real::RealDisk;
pub use runner::Runner;
pub use session::{SessionError, SessionFolder};

#[cfg(any(test, feature = "sim"))]
pub(crate) use parts::Slots;
pub(crate) use pieces::{PieceKind, Pieces};

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
