//! The queue of alerts between the threads. Knows neither thread.

use std::collections::VecDeque;

use crate::alert::Alert;

/// What waits between the threads.
#[derive(Default)]
pub(super) struct AlertQueue {
    pub(super) waiting: VecDeque<Alert>,
    /// The engine has more and wants to be woken when there is room.
    pub(super) full: bool,
    /// The receiver is gone.
    pub(super) unwanted: bool,
    /// The engine is gone.
    pub(super) closed: bool,
}

impl AlertQueue {
    /// None is there, and more may come.
    pub(super) fn is_pending(&self) -> bool {
        self.waiting.is_empty() && !self.closed
    }
}
