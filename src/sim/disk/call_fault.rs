//! Single calls that fail: which kind of call, the how manyth, with which error, and whether it has
//! done its work before. It knows no disk.

use std::{io::ErrorKind, path::Path};

/// A kind of call to a disk: one a method of [`Disk`](crate::store::Disk) that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DiskCall {
    /// Data is read.
    Read,
    /// Data is written.
    Write,
    /// A file and its folders are made.
    Create,
    /// A file is cut or lengthened.
    SetLen,
    /// The disk is asked what is there.
    Stat,
    /// A file's data is made safe.
    Sync,
    /// The names in a folder are made safe.
    SyncDir,
    /// A small file is read whole.
    Load,
    /// A small file is replaced whole.
    Save,
    /// A file is given a second name.
    Link,
    /// A file is given another name.
    Rename,
    /// A file is deleted.
    Remove,
    /// An empty folder is deleted.
    RemoveDir,
    /// Symbolic links are looked for.
    RefuseLinks,
}

impl DiskCall {
    /// All kinds, in the order of their numbers in plans.
    pub const ALL: [Self; 14] = [
        Self::Read,
        Self::Write,
        Self::Create,
        Self::SetLen,
        Self::Stat,
        Self::Sync,
        Self::SyncDir,
        Self::Load,
        Self::Save,
        Self::Link,
        Self::Rename,
        Self::Remove,
        Self::RemoveDir,
        Self::RefuseLinks,
    ];

    /// The errors that a call may answer with, in the order of their numbers in plans: those by
    /// which code could be led to a conclusion come first. [`ErrorKind::NotFound`] is what a
    /// folder that cannot be made and a mount that is down answer; to [`Stat`](Self::Stat),
    /// [`Load`](Self::Load) and [`Remove`](Self::Remove) it means, as on a real disk, that nothing
    /// is there.
    pub const ERRORS: [ErrorKind; 16] = [
        ErrorKind::NotFound,
        ErrorKind::PermissionDenied,
        ErrorKind::AlreadyExists,
        ErrorKind::StorageFull,
        ErrorKind::QuotaExceeded,
        ErrorKind::ReadOnlyFilesystem,
        ErrorKind::NotADirectory,
        ErrorKind::IsADirectory,
        ErrorKind::Unsupported,
        ErrorKind::CrossesDevices,
        ErrorKind::TooManyLinks,
        ErrorKind::InvalidInput,
        ErrorKind::TimedOut,
        ErrorKind::StaleNetworkFileHandle,
        ErrorKind::UnexpectedEof,
        ErrorKind::Other,
    ];
}

/// Calls that answer with an error. Put it into [`Troubles::calls`](super::Troubles::calls).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallFault {
    /// The kind of call.
    pub call: DiskCall,
    /// What it answers.
    pub error: ErrorKind,
    /// How many calls of this kind go well before.
    pub after: u64,
    /// How many fail then, one at least; [`u64::MAX`] for all.
    pub times: u64,
    /// The call does its work and fails all the same, as when a name is given and the folder
    /// cannot be synced. One that fails in earnest answers with its own error.
    pub done: bool,
    /// Only calls about paths that contain this count; empty for all. A link and a rename are
    /// about the path that they begin with.
    pub path: String,
}

impl CallFault {
    /// The first call of this kind fails, once, and does nothing.
    pub fn new(call: DiskCall, error: ErrorKind) -> Self {
        Self { call, error, after: 0, times: 1, done: false, path: String::new() }
    }

    /// The same, by numbers as a plan has them: of [`DiskCall::ALL`] and [`DiskCall::ERRORS`],
    /// counted around, so that any number is one.
    ///
    /// A plan can ask for it as `at 500 node=1 call=3 error=0 after=2 times=1 done=0`: the node's
    /// disk gets `CallFault::numbered(3, 0).after(2).times(1).done(false)` into its troubles, and
    /// is well again when that has failed as often, or when its troubles are reset.
    pub fn numbered(call: u64, error: u64) -> Self {
        fn nth<T: Copy, const N: usize>(all: &[T; N], nth: u64) -> Option<T> {
            all.get((nth % N as u64) as usize).copied()
        }
        let call = nth(&DiskCall::ALL, call).unwrap_or(DiskCall::Read);
        Self::new(call, nth(&DiskCall::ERRORS, error).unwrap_or(ErrorKind::Other))
    }

    /// So many calls go well before.
    #[must_use]
    pub fn after(self, after: u64) -> Self {
        Self { after, ..self }
    }

    /// So many fail, one after the other.
    #[must_use]
    pub fn times(self, times: u64) -> Self {
        Self { times, ..self }
    }

    /// The call does its work first.
    #[must_use]
    pub fn done(self, done: bool) -> Self {
        Self { done, ..self }
    }

    /// Only calls about such paths count.
    #[must_use]
    pub fn on(self, path: &str) -> Self {
        Self { path: path.to_owned(), ..self }
    }

    pub(super) fn is_about(&self, call: DiskCall, path: &Path) -> bool {
        self.call == call && (self.path.is_empty() || path.to_string_lossy().contains(&self.path))
    }
}
