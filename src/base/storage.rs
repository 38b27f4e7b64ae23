//! The seam above files: what the workers ask of the place where a torrent's bytes are. The file
//! system is one such place, [memory](crate::store::MemoryStorage) another, a user's own the third.
//!
//! Below it files are known by number; paths are an affair of the file system's implementation.
//! Knows bytes and states; not jobs, hashes, peers or choices.

mod error;
mod spec;
mod state;

use std::{fmt, ops::Range};

pub(crate) use self::{error::Changed, spec::layers_beside};
pub use self::{
    error::{StoreError, StoreOp},
    spec::{Allocation, Borrowed, FoundNames, Leftovers, Opened, StoreSpec, Trust},
    state::{RecordKind, SaveState, SessionRecord},
};

/// What a read may do, and what it makes of bytes that another program has changed since they were
/// looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// On the event loop: gives up where anything would have to be waited for, and refuses what was
    /// changed.
    AtHand,
    /// Waits, and refuses what was changed.
    Unchanged,
    /// Waits, and takes what is there: for a check, which finds out what that is. It still counts
    /// as changed, so a later read for a peer has it checked again.
    Found,
}

/// A stretch of the torrent to be read.
#[derive(Debug)]
pub struct ReadPart<'a> {
    /// Its first byte within the torrent.
    pub offset: u64,
    /// Where it goes; all of it is to be filled.
    pub buf: &'a mut [u8],
}

/// How far a [`Storage::save`] came.
#[derive(Debug)]
pub enum Saving {
    /// Some files are safe: it is to be called again.
    Syncing {
        /// The state, given back.
        state: Box<SaveState>,
        /// From which file on.
        next: usize,
        /// Of how many.
        files: usize,
    },
    /// It is over.
    Over {
        /// What is still to be appended to the session's log to make it true.
        record: Option<SessionRecord>,
        /// Why what the state speaks of is not, or not all, saved.
        result: Result<(), StoreError>,
        /// News of files that could not be finished, which does not keep the state from being
        /// saved.
        unfinished: Option<StoreError>,
    },
}

/// Where the bytes of one torrent are.
///
/// Each torrent has a storage of its own for as long as it is in the engine: by default files below
/// its folder, or what [`TorrentParams::storage`](crate::TorrentParams::storage) names. Offsets are
/// bytes of the torrent; which of its files they are in, by number, is told by
/// [`spans`](crate::store::spans).
/// Methods may block (but for a read with [`Reading::AtHand`]) and are called from several workers
/// at once; [`open`](Self::open), [`arrange`](Self::arrange), [`relocate`](Self::relocate),
/// [`tidy`](Self::tidy), [`close`](Self::close) and [`delete`](Self::delete) only while no other
/// call is out. What fails is told to the user and tried again, as on a disk.
///
/// A storage need not be honest for the engine to stay so: whatever it returns is hashed before it
/// is announced, unless its [`Opened::have`] vouches for it; what is read for peers is not hashed
/// again.
///
/// ```
/// use std::{io, sync::Mutex};
///
/// use cratetorrent::{
///     StoreError,
///     driver::{Leftovers, Opened, StoreOp, StoreSpec},
///     store::{ReadPart, Reading, Storage},
/// };
///
/// /// Keeps everything in one vector, and forgets it when the torrent is opened again.
/// #[derive(Debug, Default)]
/// struct OneVector(Mutex<Vec<u8>>);
///
/// impl OneVector {
///     fn with(&self, offset: u64, len: usize, f: impl FnOnce(&mut [u8])) -> Option<()> {
///         let start = usize::try_from(offset).ok()?;
///         self.0.lock().unwrap().get_mut(start..start.checked_add(len)?).map(f)
///     }
/// }
///
/// fn beyond_the_end(op: StoreOp) -> StoreError {
///     StoreError::new(op, "vector", io::ErrorKind::InvalidInput.into())
/// }
///
/// impl Storage for OneVector {
///     fn open(&self, spec: &StoreSpec) -> Result<Opened, StoreError> {
///         *self.0.lock().unwrap() = vec![0; spec.geometry.total_len() as usize];
///         Ok(Opened::empty(spec.geometry.piece_count()))
///     }
///
///     fn read(&self, parts: &mut [ReadPart<'_>], _: Reading) -> Result<bool, StoreError> {
///         for part in parts {
///             self.with(part.offset, part.buf.len(), |bytes| part.buf.copy_from_slice(bytes))
///                 .ok_or_else(|| beyond_the_end(StoreOp::Read))?;
///         }
///         Ok(true)
///     }
///
///     fn write(&self, offset: u64, data: &[u8], _verified: bool) -> Result<(), StoreError> {
///         self.with(offset, data.len(), |bytes| bytes.copy_from_slice(data))
///             .ok_or_else(|| beyond_the_end(StoreOp::Write))
///     }
///
///     fn delete(&self, _: &StoreSpec) -> Option<Leftovers> {
///         self.0.lock().unwrap().clear();
///         None
///     }
/// }
/// ```
pub trait Storage: Send + Sync + fmt::Debug {
    /// Looks at what is there and gets ready for the other calls. Makes nothing. It is called again
    /// whenever the torrent is looked at anew.
    ///
    /// # Errors
    /// If nothing can be stored or read.
    fn open(&self, spec: &StoreSpec) -> Result<Opened, StoreError>;

    /// Fills each part. False if that would have to wait and must not: then parts may be filled or
    /// not.
    ///
    /// # Errors
    /// If bytes are not there or cannot be read.
    fn read(&self, parts: &mut [ReadPart<'_>], reading: Reading) -> Result<bool, StoreError>;

    /// These bytes will soon be read: a hint, which does not wait.
    fn will_need(&self, range: Range<u64>) {
        let _ = range;
    }

    /// Writes at `offset`. What is written may not be what it should be yet, unless it is
    /// `verified`.
    ///
    /// # Errors
    /// If not all of it is written: then it will be again.
    fn write(&self, offset: u64, data: &[u8], verified: bool) -> Result<(), StoreError>;

    /// Whether these bytes surely were never written, and read as zeroes: a hint, which saves
    /// hashing.
    fn is_hole(&self, range: Range<u64>) -> bool {
        let _ = range;
        false
    }

    /// A check has read these bytes and found them good.
    fn found_good(&self, range: Range<u64>) {
        let _ = range;
    }

    /// Whether the storage may have left other bytes in this range than it was given to write, so
    /// that a good piece must be read back; if so, the error that tells the user.
    fn may_differ(&self, range: Range<u64>) -> Option<StoreError> {
        let _ = range;
        None
    }

    /// Makes safe what `state` speaks of, then keeps the state for the next
    /// [`open`](Self::open). A storage with many files may do some at a time
    /// ([`Saving::Syncing`]): it is then called again with `from` as it said.
    fn save(&self, state: Box<SaveState>, from: usize) -> Saving {
        let _ = (state, from);
        Saving::Over { record: None, result: Ok(()), unfinished: None }
    }

    /// Other files are wanted than before ([`StoreSpec::skipped`]), or belong to other torrents
    /// ([`StoreSpec::borrowed`]). With `make`, files that are wanted now may be made.
    ///
    /// # Errors
    /// If a file that is wanted cannot be made: it will be tried again.
    fn arrange(
        &self,
        skipped: &[bool],
        borrowed: &[Borrowed],
        make: bool,
    ) -> Result<(), StoreError> {
        let _ = (skipped, borrowed, make);
        Ok(())
    }

    /// The torrent is to be where `spec` says, with `state` saved there. A storage without places
    /// has nothing to do.
    ///
    /// # Errors
    /// If it cannot be there: then it is where it was.
    fn relocate(&self, spec: &StoreSpec, state: Option<Box<SaveState>>) -> Result<(), StoreError> {
        let _ = (spec, state);
        Ok(())
    }

    /// Deletes what [`relocate`](Self::relocate) has left at the old place.
    fn tidy(&self) -> Option<Leftovers> {
        None
    }

    /// Whether all of the torrent's bytes have gone, as those of a drive that is not there. It need
    /// not be open.
    fn is_absent(&self, spec: &StoreSpec) -> bool {
        let _ = spec;
        false
    }

    /// Lets go of what is held open. The bytes stay.
    fn close(&self) {}

    /// Deletes the torrent's bytes, and what was saved of it. It need not be open.
    fn delete(&self, spec: &StoreSpec) -> Option<Leftovers>;
}
