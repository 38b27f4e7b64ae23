//! The queue of alerts: bounded, coalesced, and honest about what it dropped. It never drops what only comes once.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use super::{Alert, AlertMask};

impl Alert {
    /// Whether a newer alert makes this one pointless.
    fn is_replaced_by(&self, newer: &Self) -> bool {
        match (self, newer) {
            (Self::Checking { torrent: a, .. }, Self::Checking { torrent: b, .. })
            | (Self::Progress { torrent: a, .. }, Self::Progress { torrent: b, .. })
            | (Self::StorageFailed { torrent: a, .. }, Self::StorageFailed { torrent: b, .. }) => a == b,
            (Self::SessionFailed { .. }, Self::SessionFailed { .. }) => true,
            _ => false,
        }
    }
}

/// The queue of alerts.
#[derive(Debug)]
pub(crate) struct Alerts {
    queue: VecDeque<Alert>,
    mask: AlertMask,
    limit: usize,
    dropped: u64,
    dropped_ever: u64,
}

impl Alerts {
    pub(crate) fn new(mask: AlertMask, limit: usize) -> Self {
        Self { queue: VecDeque::new(), mask, limit, dropped: 0, dropped_ever: 0 }
    }

    pub(crate) fn wants(&self, kind: AlertMask) -> bool {
        self.mask.contains(kind)
    }

    pub(crate) fn push(&mut self, alert: Alert) {
        let kind = alert.kind();
        if !self.mask.contains(kind) {
            return;
        }
        // The newer one goes to the end, so that what happened in between keeps its place.
        let older = self.queue.iter().rev().take(64).position(|older| older.is_replaced_by(&alert));
        if let Some(from_end) = older {
            self.queue.remove(self.queue.len() - 1 - from_end);
            self.queue.push_back(alert);
        } else if kind == AlertMask::NONE || self.queue.len() < self.limit {
            // The ones that are never dropped come at most a few a torrent, and torrents are the user's own.
            self.queue.push_back(alert);
        } else {
            self.dropped += 1;
            self.dropped_ever += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Alert> {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            return Some(Alert::Dropped { count: dropped });
        }
        self.queue.pop_front()
    }

    /// Alerts that wait.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many were left out since the start.
    pub(crate) fn dropped_ever(&self) -> u64 {
        self.dropped_ever
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.dropped == 0
    }
}
