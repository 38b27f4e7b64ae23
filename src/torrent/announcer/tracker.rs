//! One tracker of a torrent: how it stands, what it was told, what it said. Whose turn it is among
//! others it does not know; it is small, since there may be many of it.

use crate::{
    alert::{TrackerError, TrackerStatus},
    base::time::Instant,
    wire::tracker::{AnnounceEvent, AnnounceReply},
};

/// A tracker of one torrent, by a number that it keeps while others come and go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TrackerNo(pub(super) u32);

#[cfg(test)]
impl From<u32> for TrackerNo {
    fn from(no: u32) -> Self {
        Self(no)
    }
}

/// How many take part, by a tracker's word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) seeds: Option<u32>,
    pub(crate) leeches: Option<u32>,
    pub(crate) downloaded: Option<u32>,
}

#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) no: TrackerNo,
    /// Where its address is.
    pub(super) tier: u16,
    pub(super) nth: u16,
    /// Failures in a row.
    pub(super) failures: u8,
    pub(super) calls: Calls,
    /// It has answered, and has not failed since.
    pub(super) working: bool,
    /// It knows that we are there, as far as we know.
    pub(super) started: bool,
    pub(super) told_completed: bool,
    /// Not asked any more: its address cannot be used, or it told us so.
    pub(super) never: bool,
    /// When it is to be told again, and the earliest time that the user may ask for.
    pub(super) next: Instant,
    pub(super) not_before: Instant,
    pub(super) counts: Counts,
    pub(super) words: Option<Box<Words>>,
}

/// The calls that were made last to a tracker.
#[derive(Debug)]
pub(super) struct Calls {
    /// How many are out: one a family.
    pub(super) out: u8,
    /// One of them has brought an answer.
    pub(super) heard: bool,
    /// One of them has failed in a way worth telling.
    pub(super) erred: bool,
    /// What they say.
    pub(super) event: AnnounceEvent,
}

/// What most trackers never say.
#[derive(Debug, Default)]
pub(super) struct Words {
    pub(super) error: Option<TrackerError>,
    pub(super) warning: Option<String>,
    pub(super) tracker_id: Option<Vec<u8>>,
}

impl Words {
    pub(super) fn is_empty(&self) -> bool {
        self.error.is_none() && self.warning.is_none() && self.tracker_id.is_none()
    }
}

impl Tracker {
    pub(super) fn new(no: TrackerNo, tier: u16, nth: u16) -> Self {
        Self {
            no,
            tier,
            nth,
            failures: 0,
            calls: Calls { out: 0, heard: false, erred: false, event: AnnounceEvent::None },
            working: false,
            started: false,
            told_completed: false,
            never: false,
            next: Instant::ZERO,
            not_before: Instant::ZERO,
            counts: Counts::default(),
            words: None,
        }
    }

    /// What it has to be told next: events in their order, each once.
    pub(super) fn event(&self, completed: bool) -> AnnounceEvent {
        match () {
            () if !self.started => AnnounceEvent::Started,
            () if completed && !self.told_completed => AnnounceEvent::Completed,
            () => AnnounceEvent::None,
        }
    }

    pub(super) fn may(&self, now: Instant) -> bool {
        !self.never && self.calls.out == 0 && self.next <= now
    }

    pub(super) fn status(&self) -> TrackerStatus {
        match () {
            () if self.calls.out > 0 => TrackerStatus::Announcing,
            () if self.never => TrackerStatus::Disabled,
            () if self.working => TrackerStatus::Working,
            () if self.failures > 0 => TrackerStatus::Failing,
            () => TrackerStatus::Idle,
        }
    }
}

impl Counts {
    pub(super) fn of(reply: &AnnounceReply) -> Self {
        Self { seeds: reply.seeders, leeches: reply.leechers, downloaded: reply.downloads }
    }

    /// `newer`, or these where that says nothing. Of two families' numbers the larger, since both
    /// speak of one swarm.
    pub(super) fn or_newer(self, newer: Self, other_family: bool) -> Self {
        let either = |old: Option<u32>, new: Option<u32>| {
            if other_family { old.max(new) } else { new.or(old) }
        };
        Self {
            seeds: either(self.seeds, newer.seeds),
            leeches: either(self.leeches, newer.leeches),
            downloaded: either(self.downloaded, newer.downloaded),
        }
    }
}
