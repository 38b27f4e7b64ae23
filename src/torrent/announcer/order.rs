//! In which order trackers are tried (BEP 12), how many at a time, and when the next is due. It
//! looks at how they stand and changes nothing but their order.

use std::ops::Range;

use super::{Announcer, Tracker, TrackerNo};
use crate::{base::time::Instant, conf::Conf, wire::tracker::AnnounceEvent};

impl Announcer {
    /// A tracker that answers is the first of its tier to be asked next time (BEP 12).
    pub(super) fn put_first(&mut self, no: TrackerNo) {
        if let Some(at) = self.trackers.iter().position(|t| t.no == no)
            && let Some(tier) = self.trackers.get(at).map(|t| t.tier)
            && let Some(front) = self.trackers.iter().position(|t| t.tier == tier)
            && let Some(before) = self.trackers.get_mut(front..=at)
        {
            before.rotate_right(1);
        }
    }

    /// Ranges of trackers of which one at a time is in use.
    pub(super) fn lanes(&self, conf: &Conf) -> Vec<Range<usize>> {
        let all = 0..self.trackers.len();
        match (
            conf.trackers.announce_to_all && !self.private,
            conf.trackers.announce_to_all_tiers && !self.private,
        ) {
            (false, false) => vec![all],
            (true, true) => all.map(|at| at..at + 1).collect(),
            (false, true) => {
                let tier = |from: &mut usize, tier: &[Tracker]| {
                    let start = std::mem::replace(from, *from + tier.len());
                    Some(start..*from)
                };
                self.trackers.chunk_by(|a, b| a.tier == b.tier).scan(0, tier).collect()
            }
            (true, false) => {
                // Of the first tier that is good for something, all.
                let hopeful =
                    |t: &&Tracker| !t.never && (t.working || t.calls.out > 0 || t.failures == 0);
                match self.trackers.iter().find(hopeful).map(|t| t.tier) {
                    Some(tier) => all
                        .filter(|&at| self.trackers.get(at).is_some_and(|t| t.tier == tier))
                        .map(|at| at..at + 1)
                        .collect(),
                    None => vec![all],
                }
            }
        }
    }

    /// Who of `lane` is to be told something now.
    pub(super) fn pick(&self, lane: Range<usize>, now: Instant) -> Option<usize> {
        if self.lane_due(lane.clone())? > now {
            return None;
        }
        let trackers = || lane.clone().filter_map(|at| Some((at, self.trackers.get(at)?)));
        // A tracker that knows of us must hear what happened; otherwise the list is tried from its
        // beginning.
        let news = trackers().find(|(_, t)| {
            t.may(now)
                && t.started
                && t.event(self.completeness.is_reached()) != AnnounceEvent::None
        });
        news.or_else(|| trackers().find(|(_, t)| t.may(now))).map(|(at, _)| at)
    }

    /// When a tracker of `lane` is to be told something: at the working one's time, or when the
    /// first of those that failed may be tried again.
    pub(super) fn lane_due(&self, lane: Range<usize>) -> Option<Instant> {
        let trackers =
            || self.trackers.get(lane.clone()).unwrap_or_default().iter().filter(|t| !t.never);
        if trackers().any(|t| t.calls.out > 0) {
            return None;
        }
        let news = trackers().filter(|t| {
            t.started && t.event(self.completeness.is_reached()) != AnnounceEvent::None
        });
        let working = trackers().find(|t| t.working).map(|t| t.next);
        let ordinary = working.or_else(|| trackers().map(|t| t.next).min());
        news.map(|t| t.next).chain(ordinary).min()
    }
}
