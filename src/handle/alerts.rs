//! The receiving end of an engine's alerts. Knows nothing of what alerts say.

use std::{
    fmt,
    sync::{Arc, MutexGuard, PoisonError},
    thread::{self, ThreadId},
    time::Duration,
};

use thiserror::Error;

use super::{queue::AlertQueue, thread::Shared};
use crate::alert::Alert;

/// The receiving end of an engine's alerts.
///
/// Alerts that are not fetched wait in the engine, which leaves out the unimportant ones beyond
/// [`AlertConf::max`](crate::conf::AlertConf::max) and says how many. Dropping this drops all
/// alerts.
pub struct Alerts {
    shared: Arc<Shared>,
    engine_thread: ThreadId,
}

impl fmt::Debug for Alerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Alerts").finish_non_exhaustive()
    }
}

/// Why there is no alert.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum NoAlert {
    /// None has come so far.
    #[error("no alert has come yet")]
    Yet,
    /// The engine's thread has ended and every alert was fetched.
    #[error("the engine's thread has ended")]
    Ended,
}

impl Alerts {
    pub(super) fn new(shared: Arc<Shared>, engine_thread: ThreadId) -> Self {
        Self { shared, engine_thread }
    }

    /// Waits for the next alert; `None` if the engine has ended and every alert was fetched. After
    /// an end in good order its addresses and its session folder can be had again by then.
    ///
    /// On the engine's own thread, in a closure that was given to a handle, it does not wait, since
    /// alerts come between the closures: it is `None` there, too, while there is no alert.
    pub fn recv(&self) -> Option<Alert> {
        if !self.may_wait() {
            return self.try_recv().ok();
        }
        let queue = self.shared.lock_alerts();
        let queue = self.shared.arrived.wait_while(queue, |queue| queue.is_pending());
        self.take(queue.unwrap_or_else(PoisonError::into_inner)).ok()
    }

    /// Waits for the next alert, but no longer than `timeout`. On the engine's own thread it does
    /// not wait, as [`recv`](Self::recv).
    ///
    /// # Errors
    /// [`NoAlert`].
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Alert, NoAlert> {
        if !self.may_wait() {
            return self.try_recv();
        }
        let queue = self.shared.lock_alerts();
        let queue =
            self.shared.arrived.wait_timeout_while(queue, timeout, |queue| queue.is_pending());
        self.take(queue.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// The next alert, if there is one.
    ///
    /// # Errors
    /// [`NoAlert`].
    pub fn try_recv(&self) -> Result<Alert, NoAlert> {
        self.take(self.shared.lock_alerts())
    }

    /// The engine's thread would wait for itself.
    fn may_wait(&self) -> bool {
        thread::current().id() != self.engine_thread
    }

    fn take(&self, mut queue: MutexGuard<'_, AlertQueue>) -> Result<Alert, NoAlert> {
        let alert = queue.pop().ok_or(if queue.closed { NoAlert::Ended } else { NoAlert::Yet });
        let engine_has_more = alert.is_ok() && std::mem::take(&mut queue.full);
        drop(queue);
        if engine_has_more {
            self.shared.wake();
        }
        alert
    }
}

/// Alerts until the engine's thread ends.
impl Iterator for Alerts {
    type Item = Alert;

    fn next(&mut self) -> Option<Alert> {
        self.recv()
    }
}

impl Drop for Alerts {
    fn drop(&mut self) {
        let mut queue = self.shared.lock_alerts();
        queue.give_up();
        drop(queue);
        self.shared.wake();
    }
}
