//! Which of a torrent's trackers is told what, and when (BEP 3, 7, 12, 27, 31). It decides; it
//! never speaks with a tracker itself and knows no address but as words. It is small, since there
//! may be ten thousand of it: addresses stay in the metainfo.

mod answers;
mod completeness;
mod list;
mod order;
#[cfg(test)]
mod tests;
mod tracker;

use crate::{
    alert::TrackerStats,
    base::{rng::Rng, time::Instant, tracker_events::Completion},
    conf::Conf,
    wire::tracker::AnnounceEvent,
};

pub(crate) use answers::{Failure, Retry};
use completeness::Completeness;
pub(crate) use list::Gone;
use tracker::{Calls, Tracker};
pub(crate) use tracker::{Counts, TrackerNo};

/// What is to be said to which tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Turn {
    pub(crate) tracker: TrackerNo,
    pub(crate) event: AnnounceEvent,
}

/// A tracker that must hear that the torrent stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leave {
    pub(crate) tracker: TrackerNo,
    /// It has acknowledged `started`; otherwise that is on its way.
    pub(crate) known: bool,
    /// It has to hear of the completion first.
    pub(crate) completed: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Announcer {
    /// Addresses in place of the metainfo's.
    own: Option<Vec<Vec<String>>>,
    /// By tier, and within a tier in the order in which they are tried.
    trackers: Vec<Tracker>,
    next_no: u32,
    active: bool,
    completeness: Completeness,
    /// Peers of different trackers must not mix (BEP 27).
    private: bool,
    /// Who brought the last peers.
    last: Option<TrackerNo>,
    /// When [`poll`](Self::poll) has something; kept, since it is asked all the time.
    due: Option<Instant>,
}

impl Announcer {
    /// `own`: addresses to be used instead of the metainfo's, `theirs`.
    pub(crate) fn new(
        own: Option<Vec<Vec<String>>>,
        theirs: &[Vec<String>],
        private: bool,
        rng: &mut Rng,
        conf: &Conf,
    ) -> Self {
        let mut announcer = Self {
            own,
            trackers: Vec::new(),
            next_no: 0,
            active: false,
            completeness: Completeness::new(),
            private,
            last: None,
            due: None,
        };
        announcer.list(theirs, Vec::new(), rng, conf);
        announcer
    }

    /// Whether peers of different trackers must not mix (BEP 27).
    pub(crate) fn set_private(&mut self, private: bool) {
        self.private = private;
    }

    /// What a tracker wants to be sent back to it.
    pub(crate) fn tracker_id(&self, no: TrackerNo) -> Option<&[u8]> {
        self.get(no)?.words.as_ref()?.tracker_id.as_deref()
    }

    /// Which trackers to ask for counts: those that know of us, or else the first that may be
    /// asked.
    pub(crate) fn to_scrape(&self) -> Vec<TrackerNo> {
        let working: Vec<_> = self.trackers.iter().filter(|t| t.working).map(|t| t.no).collect();
        let first = self.trackers.iter().find(|t| !t.never).map(|t| t.no);
        if working.is_empty() { first.into_iter().collect() } else { working }
    }

    /// How many trackers fail or cannot be asked, and how many have answered and do.
    pub(crate) fn failing_and_working(&self) -> (usize, usize) {
        let failing =
            self.trackers.iter().filter(|t| !t.working && (t.never || t.failures > 0)).count();
        (failing, self.trackers.iter().filter(|t| t.working).count())
    }

    /// How the trackers stand, in the order in which they are tried.
    pub(crate) fn stats(&self, now: Instant, theirs: &[Vec<String>]) -> Vec<TrackerStats> {
        let stats = |t: &Tracker| TrackerStats {
            url: self.address_of(t, theirs).to_owned(),
            tier: usize::from(t.tier),
            status: t.status(),
            next_announce: (self.active
                && t.calls.out == 0
                && !t.never
                && (t.working || t.failures > 0))
                .then(|| t.next.since(now)),
            failures: u32::from(t.failures),
            error: t.words.as_ref().and_then(|words| words.error.clone()),
            warning: t.words.as_ref().and_then(|words| words.warning.clone()),
            seeds: t.counts.seeds,
            leeches: t.counts.leeches,
            downloaded: t.counts.downloaded,
        };
        self.trackers.iter().map(stats).collect()
    }

    // What the torrent tells.

    /// The torrent begins to speak with peers.
    pub(crate) fn start(&mut self, now: Instant, complete: bool, conf: &Conf) {
        self.active = true;
        self.completeness.begin(complete);
        self.lift_never();
        for t in &mut self.trackers {
            // What it was told before the rest is forgotten, but not when it wants to be left
            // alone.
            if t.failures == 0 {
                t.next = now;
            }
        }
        self.refresh(conf);
    }

    /// The torrent rests. Returns the trackers that must hear of it: those that know that we are
    /// there, or may know. What becomes of calls that are out is the caller's.
    pub(crate) fn stop(&mut self) -> Vec<Leave> {
        self.active = false;
        self.due = None;
        let completed = self.completeness.is_reached();
        let mut leaves = Vec::new();
        for t in &mut self.trackers {
            let out = std::mem::take(&mut t.calls.out) > 0;
            let known = std::mem::take(&mut t.started);
            if known || out {
                leaves.push(Leave {
                    tracker: t.no,
                    known,
                    completed: completed && !t.told_completed,
                });
            }
        }
        leaves
    }

    /// How far `completed` was when an earlier run ended.
    pub(crate) fn restore_completion(&mut self, completion: Completion) {
        self.completeness.restore(completion);
    }

    /// How far `completed` is, over all runs.
    pub(crate) fn completion(&self) -> Completion {
        self.completeness.over_all_runs()
    }

    /// A tracker has heard of the completion, maybe one that is not in the list.
    pub(crate) fn acknowledge_completed(&mut self, no: Option<TrackerNo>) {
        self.completeness.handle_told();
        if let Some(t) = no.and_then(|no| self.get_mut(no)) {
            t.told_completed = true;
        }
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    /// Whether everything is there, and whether something of it was `downloaded` in any run. The
    /// trackers that know of us hear of the completion, if that is due.
    pub(crate) fn set_complete(
        &mut self,
        now: Instant,
        complete: bool,
        downloaded: bool,
        conf: &Conf,
    ) {
        if !complete {
            if self.active {
                self.completeness.note_lack();
            }
        } else if self.completeness.reach(downloaded) {
            for t in self.trackers.iter_mut().filter(|t| t.started) {
                t.next = now;
            }
            self.refresh(conf);
        }
    }

    /// Trackers that have said never to ask again (BEP 31) may be asked once more: the user has
    /// begun anew.
    pub(crate) fn lift_never(&mut self) {
        self.trackers.iter_mut().for_each(|t| t.never = false);
    }

    /// It is to be announced now. Trackers that want to be left alone for some time are left alone.
    pub(crate) fn hurry(&mut self, now: Instant, conf: &Conf) {
        for t in &mut self.trackers {
            t.next = t.next.min(t.not_before.max(now));
        }
        self.refresh(conf);
    }

    // Whose turn it is.

    /// When [`poll`](Self::poll) has something to say; some time in the past if it has already.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be said now, if anything: that is then out until
    /// [`handle_reply`](Self::handle_reply) or [`handle_failure`](Self::handle_failure).
    #[must_use]
    pub(crate) fn poll(&mut self, now: Instant, conf: &Conf) -> Option<Turn> {
        if !self.active {
            return None;
        }
        let at = self.lanes(conf).into_iter().find_map(|lane| self.pick(lane, now))?;
        let completed = self.completeness.is_reached();
        let t = self.trackers.get_mut(at)?;
        t.calls = Calls { out: 1, heard: false, erred: false, event: t.event(completed) };
        let turn = Turn { tracker: t.no, event: t.calls.event };
        self.refresh(conf);
        Some(turn)
    }

    /// What was said is out in so many calls at once.
    pub(crate) fn set_calls(&mut self, no: TrackerNo, calls: u8) {
        if let Some(t) = self.get_mut(no) {
            t.calls.out = calls.max(1);
        }
    }

    /// It cannot be said yet. Nor is another tracker told instead: that is for those that fail.
    pub(crate) fn put_off(&mut self, no: TrackerNo, until: Instant, conf: &Conf) {
        if let Some(t) = self.get_mut(no) {
            t.calls.out = 0;
        }
        for t in &mut self.trackers {
            t.next = t.next.max(until);
        }
        self.refresh(conf);
    }

    fn refresh(&mut self, conf: &Conf) {
        let due = |lane| self.lane_due(lane);
        self.due =
            if self.active { self.lanes(conf).into_iter().filter_map(due).min() } else { None };
    }

    pub(crate) fn has(&self, no: TrackerNo) -> bool {
        self.get(no).is_some()
    }

    fn get(&self, no: TrackerNo) -> Option<&Tracker> {
        self.trackers.iter().find(|t| t.no == no)
    }

    fn get_mut(&mut self, no: TrackerNo) -> Option<&mut Tracker> {
        self.trackers.iter_mut().find(|t| t.no == no)
    }
}
