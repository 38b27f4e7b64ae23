//! The queue of alerts: bounded, coalesced, and honest about what it dropped. It never drops what
//! only comes once.
//!
//! Bounded means: [`AlertConf::max`](crate::conf::AlertConf::max) of those that may be dropped,
//! [`KEPT_A_TORRENT`] of each torrent, and one for each verb that the user has called and that is
//! answered by an alert.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::{Alert, AlertMask};
use crate::base::ids::TorrentId;

/// Alerts of a torrent that are kept although the queue is full: those kinds of which only the
/// newest counts.
#[cfg(test)]
pub(crate) const KEPT_A_TORRENT: usize = 9;

/// What a newer alert replaces an older one for: a kind and its torrent. Anything of which only the
/// newest counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Checking(TorrentId),
    Saving(TorrentId),
    Metadata(TorrentId),
    Progress(TorrentId),
    Finished(TorrentId),
    StorageFailed(TorrentId),
    StorageRecovered(TorrentId),
    Distrusted(TorrentId),
    NoPeers(TorrentId),
    Removed(TorrentId),
    SessionFailed,
    Restored,
}

impl Alert {
    /// What a newer alert of the same subject makes this one pointless for. `None`: it counts for
    /// itself.
    fn subject(&self) -> Option<Subject> {
        match *self {
            Self::Checking { torrent, .. } => Some(Subject::Checking(torrent)),
            Self::Saving { torrent, .. } => Some(Subject::Saving(torrent)),
            Self::FetchingMetadata { torrent, .. } => Some(Subject::Metadata(torrent)),
            Self::Progress { torrent, .. } => Some(Subject::Progress(torrent)),
            Self::Finished { torrent, .. } => Some(Subject::Finished(torrent)),
            Self::StorageFailed { torrent, .. } => Some(Subject::StorageFailed(torrent)),
            Self::StorageRecovered { torrent } => Some(Subject::StorageRecovered(torrent)),
            Self::Distrusted { torrent, .. } => Some(Subject::Distrusted(torrent)),
            Self::NoPeers { torrent, .. } => Some(Subject::NoPeers(torrent)),
            Self::Removed { torrent } => Some(Subject::Removed(torrent)),
            Self::SessionFailed { .. } => Some(Subject::SessionFailed),
            Self::Restored { .. } => Some(Subject::Restored),
            // The answers to verbs, of which the user decides how many there are; and what may be
            // dropped.
            _ => None,
        }
    }
}

/// The queue of alerts.
#[derive(Debug)]
pub(crate) struct Alerts {
    /// In the order in which they came.
    queue: BTreeMap<u64, Alert>,
    next: u64,
    /// Where in the queue the alert of a subject is, so that a newer one finds it, however many
    /// others wait.
    subjects: BTreeMap<Subject, u64>,
    mask: AlertMask,
    limit: usize,
    /// Of those that wait, the ones that may be dropped.
    droppable: usize,
    dropped: u64,
    dropped_ever: u64,
}

impl Alerts {
    pub(crate) fn new(mask: AlertMask, limit: usize) -> Self {
        Self {
            queue: BTreeMap::new(),
            next: 0,
            subjects: BTreeMap::new(),
            mask,
            limit,
            droppable: 0,
            dropped: 0,
            dropped_ever: 0,
        }
    }

    pub(crate) fn wants(&self, kind: AlertMask) -> bool {
        self.mask.contains(kind)
    }

    pub(crate) fn push(&mut self, alert: Alert) {
        let kind = alert.kind();
        if !self.mask.contains(kind) {
            return;
        }
        let subject = alert.subject();
        // The newer one goes to the end, so that what happened in between keeps its place.
        let older = subject.and_then(|subject| self.subjects.get(&subject).copied());
        if let Some(at) = older {
            self.take(at);
        }
        if is_droppable(kind) && self.droppable >= self.limit {
            self.dropped += 1;
            self.dropped_ever += 1;
            return;
        }
        if let Some(subject) = subject {
            self.subjects.insert(subject, self.next);
        }
        self.droppable += usize::from(is_droppable(kind));
        self.queue.insert(self.next, alert);
        self.next += 1;
    }

    /// Takes the alert at a place out of the queue.
    fn take(&mut self, at: u64) -> Option<Alert> {
        let alert = self.queue.remove(&at)?;
        self.droppable -= usize::from(is_droppable(alert.kind()));
        if let Some(subject) = alert.subject() {
            self.subjects.remove(&subject);
        }
        Some(alert)
    }

    pub(crate) fn pop(&mut self) -> Option<Alert> {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            return Some(Alert::Dropped { count: dropped });
        }
        let (&first, _) = self.queue.first_key_value()?;
        self.take(first)
    }

    /// Alerts that wait.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Answers to reads that wait.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn answers(&self) -> usize {
        self.queue.values().filter(|alert| matches!(alert, Alert::ReadDone { .. })).count()
    }

    /// How many were left out since the start.
    pub(crate) fn dropped_ever(&self) -> u64 {
        self.dropped_ever
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.dropped == 0
    }
}

fn is_droppable(kind: AlertMask) -> bool {
    kind != AlertMask::NONE
}
