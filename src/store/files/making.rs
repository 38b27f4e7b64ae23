//! Which files of a torrent may be made now, and what was. It touches no disk.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Making {
    lock: Mutex<()>,
    empties_made: AtomicBool,
    /// Files that are wanted are not made yet.
    rests: AtomicBool,
}

impl Making {
    /// Held while a file is made, so that two workers do not do it at once.
    pub(super) fn begin(&self) -> MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all files of no bytes were made.
    pub(super) fn has_empties(&self) -> bool {
        self.empties_made.load(Ordering::Acquire)
    }

    pub(super) fn set_has_empties(&self, made: bool) {
        self.empties_made.store(made, Ordering::Release);
    }

    /// Whether files that are wanted are to wait until the torrent goes on.
    pub(super) fn rests(&self) -> bool {
        self.rests.load(Ordering::Acquire)
    }

    pub(super) fn set_rests(&self, rests: bool) {
        self.rests.store(rests, Ordering::Release);
    }
}
