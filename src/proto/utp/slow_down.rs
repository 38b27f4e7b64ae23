//! Now and then a connection lets the queue of its path run dry, as LEDBAT++ does (draft-irtf-
//! iccrg-ledbat-plus-plus, 4.4): only then does it see how long packets take that do not wait. One
//! that began when others filled the path would take their queue for a part of the path, aim at as
//! much again, and get all.
//!
//! It sends nearly nothing until all that was on its way has arrived. What was in the queue before
//! may leave at once then, and the window grows to what it was as fast as the path took it: so the
//! path is idle for no longer than a round trip. Connections that see the path empty wait equally
//! long until they look again, so in the end those of one path do it together.

use std::time::Duration;

use crate::base::time::Instant;

/// A path that was not seen empty for so long is emptied.
const PERIOD: Duration = Duration::from_secs(20);
/// The same in round trips, if that is longer: it takes one or two of them.
const PERIOD_TRIPS: u32 = 60;
/// Bytes on their way that make no queue: a packet.
const FEW: usize = 1_500;
/// The window grows so often on the way back.
const PACE: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct SlowDown {
    /// When the path was seen empty last.
    seen: Instant,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Off,
    /// Nearly nothing is sent.
    Draining(Before),
    Returning(Return),
}

/// How it stood when the path began to be drained.
#[derive(Clone, Copy, Debug)]
pub(super) struct Before {
    /// In bytes.
    pub(super) window: f64,
    /// How long packets waited, and the round trip without that.
    pub(super) wait: Duration,
    pub(super) trip: Duration,
}

/// The way back.
#[derive(Clone, Copy, Debug)]
struct Return {
    began: Instant,
    /// When the window grew last.
    grew: Instant,
    /// The window at the beginning and at the end.
    from: f64,
    to: f64,
    /// Bytes a second.
    rate: f64,
}

impl SlowDown {
    pub(super) fn new(now: Instant) -> Self {
        Self { seen: now, phase: Phase::Off }
    }

    /// What is left of a window.
    pub(super) fn limit(&self, window: usize) -> usize {
        if self.is_draining() { window.min(FEW) } else { window }
    }

    pub(super) fn is_draining(&self) -> bool {
        matches!(self.phase, Phase::Draining(_))
    }

    /// When the window is to grow.
    pub(super) fn due(&self) -> Option<Instant> {
        if let Phase::Returning(back) = self.phase { Some(back.grew + PACE) } else { None }
    }

    /// The window on the way back, as it is now.
    pub(super) fn grow(&mut self, now: Instant) -> Option<f64> {
        let Phase::Returning(back) = &mut self.phase else { return None };
        back.grew = now;
        let window = back.from + back.rate * now.since(back.began).as_secs_f64();
        let to = back.to;
        if window >= to {
            self.phase = Phase::Off;
        }
        Some(window.min(to))
    }

    /// A packet has found no queue.
    pub(super) fn handle_no_queue(&mut self, now: Instant) {
        self.seen = now;
    }

    /// A round trip is over in which the window was in use.
    pub(super) fn handle_round(&mut self, now: Instant, before: Before) {
        let period = PERIOD.max(before.trip * PERIOD_TRIPS);
        if matches!(self.phase, Phase::Off) && now >= self.seen + period {
            self.phase = Phase::Draining(before);
        }
    }

    /// So many bytes are on their way; `least`: of a window on the way back.
    pub(super) fn handle_flight(&mut self, now: Instant, flight: usize, least: f64) {
        let Phase::Draining(before) = self.phase else { return };
        if flight > FEW {
            return;
        }
        self.seen = now;
        let (to, trip) = (before.window, before.trip + before.wait);
        let rate = to / trip.as_secs_f64().max(1e-3);
        let from = (rate * before.wait.as_secs_f64()).max(least).min(to);
        self.phase = Phase::Returning(Return { began: now, grew: now, from, to, rate });
    }

    /// Something was lost: it is over. Returns the window before, if the path was to be drained.
    pub(super) fn abandon(&mut self, now: Instant) -> Option<f64> {
        self.seen = now;
        match std::mem::replace(&mut self.phase, Phase::Off) {
            Phase::Draining(before) => Some(before.window),
            Phase::Off | Phase::Returning(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn before(trip: u64) -> Before {
        let ms = Duration::from_millis;
        Before { window: 100_000.0, wait: ms(100), trip: ms(trip) }
    }

    #[test]
    fn path_is_drained_that_was_not_seen_empty_for_long() {
        let mut slow = SlowDown::new(at(0));
        slow.handle_round(at(19_999), before(100));
        assert!(!slow.is_draining());
        slow.handle_no_queue(at(10_000));
        slow.handle_round(at(29_999), before(100));
        assert!(!slow.is_draining());
        slow.handle_round(at(30_000), before(100));
        assert!(slow.is_draining());
        assert_eq!(slow.limit(100_000), FEW);
        // Sixty round trips, where these are long.
        let mut slow = SlowDown::new(at(0));
        slow.handle_round(at(59_999), before(1000));
        assert!(!slow.is_draining());
        slow.handle_round(at(60_000), before(1000));
        assert!(slow.is_draining());
    }

    #[test]
    fn window_comes_back_within_a_round_trip() {
        let mut slow = SlowDown::new(at(0));
        slow.handle_round(at(20_000), before(100));
        slow.handle_flight(at(20_100), FEW + 1, 3000.0);
        assert!(slow.is_draining());
        assert_eq!(slow.due(), None);
        slow.handle_flight(at(20_200), FEW, 3000.0);
        assert_eq!((slow.is_draining(), slow.limit(9999)), (false, 9999));
        assert_eq!(slow.due(), Some(at(20_205)));
        // The queue was half of the window, and goes at once.
        assert_eq!(slow.grow(at(20_200)), Some(50_000.0));
        assert_eq!(slow.grow(at(20_220)), Some(60_000.0));
        assert_eq!(slow.due(), Some(at(20_225)));
        assert_eq!(slow.grow(at(20_400)), Some(100_000.0));
        assert_eq!((slow.grow(at(20_401)), slow.due()), (None, None));
        slow.handle_round(at(40_199), before(100));
        assert!(!slow.is_draining());
        slow.handle_round(at(40_200), before(100));
        assert!(slow.is_draining());
    }

    #[test]
    fn loss_ends_it() {
        let mut slow = SlowDown::new(at(0));
        assert_eq!(slow.abandon(at(0)), None);
        slow.handle_round(at(20_000), before(100));
        assert_eq!(slow.abandon(at(20_050)), Some(100_000.0));
        slow.handle_round(at(40_000), before(100));
        assert!(!slow.is_draining());
        slow.handle_round(at(40_050), before(100));
        slow.handle_flight(at(40_200), 0, 3000.0);
        assert_eq!(slow.abandon(at(40_201)), None);
        assert_eq!((slow.due(), slow.grow(at(40_202))), (None, None));
    }
}
