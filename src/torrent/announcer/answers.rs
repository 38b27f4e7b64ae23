//! What trackers answer, or fail to: when each is asked again, and what is kept of its words (BEP
//! 3, 31). How it came, and over how many connections, it does not know.

use std::{ops::Range, time::Duration};

use super::{Announcer, Counts, TrackerNo};
use crate::{
    alert::TrackerError,
    base::{rng::Rng, time::Instant},
    conf::Conf,
    wire::tracker::{AnnounceEvent, AnnounceReply},
};

/// After a failure the tracker is not asked again sooner than this, not even for the user.
const AFTER_FAILURE: Duration = Duration::from_secs(5);
const LONGEST_BACK_OFF: Duration = Duration::from_secs(3600);
/// The longest pause that a tracker may ask for (BEP 31).
const LONGEST_BY_WORD: Duration = Duration::from_secs(24 * 3600);
/// What a tracker that names no interval is taken to mean (BEP 3 has no default; this is what most
/// say).
const USUAL_INTERVAL: Duration = Duration::from_secs(1800);
/// Intervals are stretched by up to this part, so that torrents that began together do not stay
/// together.
const STRETCH: u32 = 20;
/// Bytes of an error that are kept.
const MAX_ERROR: usize = 700;

/// When a tracker that failed may be asked again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// When we think fit.
    Later,
    /// After this time (BEP 31).
    In(Duration),
    /// Not before the user begins anew (BEP 31), or it makes no sense.
    Never,
    /// After this time: it is not the tracker that failed.
    Blameless(Duration),
}

/// Why a call brought no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) error: TrackerError,
    /// There is only no way to the tracker in this family.
    pub(crate) minor: bool,
    pub(crate) retry: Retry,
}

/// A tracker could not be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failed {
    pub(crate) error: TrackerError,
    /// When it is tried again, if it is.
    pub(crate) retry_in: Option<Duration>,
}

impl Announcer {
    /// A call brought an answer. True if its peers take the place of all others, since a private
    /// torrent (BEP 27) has changed its tracker; `None` if the torrent does not wait for it any
    /// more.
    pub(crate) fn handle_reply(
        &mut self,
        no: TrackerNo,
        reply: &AnnounceReply,
        now: Instant,
        rng: &mut Rng,
        conf: &Conf,
    ) -> Option<bool> {
        let (active, completed) = (self.active, self.completeness.is_reached());
        let t = self.get_mut(no).filter(|t| active && t.calls.out > 0)?;
        t.calls.out -= 1;
        // Whatever another family said.
        t.never = false;
        let second = std::mem::replace(&mut t.calls.heard, true);
        t.started = true;
        let completed_is_told = t.calls.event == AnnounceEvent::Completed;
        t.told_completed |= completed_is_told;
        (t.working, t.failures) = (true, 0);
        t.counts = t.counts.or_newer(Counts::of(reply), second);
        let bounds = conf.trackers.min_interval..conf.trackers.max_interval;
        let least = within(reply.min_interval.unwrap_or_default(), &bounds);
        let interval = if reply.interval.is_zero() { USUAL_INTERVAL } else { reply.interval };
        let interval = within(interval, &bounds).max(least);
        let next = now + stretched(interval, rng);
        // Of two families the one that wants to be asked less often has its way.
        t.next = if second { t.next.max(next) } else { next };
        t.not_before = now + least;
        let mut words = t.words.take().unwrap_or_default();
        words.error = None;
        words.warning = reply.warning.clone().or(words.warning.filter(|_| second));
        words.tracker_id = reply.tracker_id.clone().or(words.tracker_id);
        t.words = Some(words).filter(|words| !words.is_empty());
        if t.event(completed) != AnnounceEvent::None {
            t.next = now;
        }
        if completed_is_told {
            self.completeness.handle_told();
        }
        self.put_first(no);
        let switched = self.private && self.last.is_some_and(|last| last != no);
        self.last = Some(no);
        self.refresh(conf);
        Some(switched)
    }

    /// A call failed. `None` if another call of it may still bring an answer, or has.
    #[must_use]
    pub(crate) fn handle_failure(
        &mut self,
        no: TrackerNo,
        failure: &Failure,
        now: Instant,
        rng: &mut Rng,
        conf: &Conf,
    ) -> Option<Failed> {
        let Failure { error, minor, retry } = failure;
        let active = self.active;
        let t = self.get_mut(no).filter(|t| active && t.calls.out > 0)?;
        t.calls.out -= 1;
        if t.calls.heard {
            self.refresh(conf);
            return None;
        }
        if !minor || (t.calls.out == 0 && !t.calls.erred) {
            t.words.get_or_insert_default().error = Some(shortened(error.clone()));
        }
        t.calls.erred |= !minor;
        t.never |= *retry == Retry::Never;
        if t.calls.out > 0 {
            return None;
        }
        t.working = false;
        t.failures = match retry {
            Retry::Blameless(_) => t.failures.max(1),
            _ => t.failures.saturating_add(1),
        };
        let pause = match retry {
            Retry::In(time) => (*time).clamp(AFTER_FAILURE, LONGEST_BY_WORD),
            Retry::Blameless(time) => (*time).max(AFTER_FAILURE),
            _ => back_off(t.failures, rng),
        };
        t.next = now + pause;
        t.not_before = now + if let Retry::In(_) = retry { pause } else { AFTER_FAILURE };
        let error =
            t.words.as_ref().and_then(|words| words.error.clone()).unwrap_or_else(|| error.clone());
        let failed = Failed { error, retry_in: (!t.never).then_some(pause) };
        self.refresh(conf);
        Some(failed)
    }

    /// A scrape brought numbers.
    pub(crate) fn handle_counts(&mut self, no: TrackerNo, counts: Counts) {
        if let Some(t) = self.get_mut(no) {
            t.counts = t.counts.or_newer(counts, false);
        }
    }
}

fn within(time: Duration, bounds: &Range<Duration>) -> Duration {
    time.max(bounds.start).min(bounds.end)
}

/// Up to a twentieth longer.
fn stretched(time: Duration, rng: &mut Rng) -> Duration {
    time + Duration::from_micros(rng.below((time / STRETCH).as_micros() as u64 + 1))
}

/// 5 s, doubling up to an hour, each half of it by chance.
fn back_off(failures: u8, rng: &mut Rng) -> Duration {
    let longest =
        AFTER_FAILURE.saturating_mul(2 << failures.saturating_sub(1).min(12)).min(LONGEST_BACK_OFF);
    longest / 2 + Duration::from_micros(rng.below((longest / 2).as_micros() as u64 + 1))
}

fn shortened(mut error: TrackerError) -> TrackerError {
    let words = &mut error.text;
    if let Some((end, _)) = words.char_indices().find(|(at, c)| at + c.len_utf8() > MAX_ERROR) {
        words.truncate(end);
    }
    words.shrink_to_fit();
    error
}
