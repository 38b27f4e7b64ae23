//! The round trip of a connection and the time after which a packet counts as lost (RFC 6298, with
//! the floor of BEP 29).

use std::time::Duration;

/// The time-out before there is a sample (BEP 29).
const INITIAL: Duration = Duration::from_secs(1);
/// The shortest time-out (BEP 29).
const MIN: Duration = Duration::from_millis(500);
/// The longest, however often it was doubled.
const MAX: Duration = Duration::from_secs(30);
/// The shortest time after which the last packet is sent once more: shorter ones would be those of
/// a machine that is busy.
const MIN_PROBE: Duration = Duration::from_millis(25);
/// The same when the other side was heard since.
const MIN_PROBE_HEARD: Duration = Duration::from_millis(1);
/// How long the other side may keep the acknowledgement of a lone packet to itself (libutp).
const DELAYED_ACK: Duration = Duration::from_millis(100);

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrip {
    /// `None` before the first sample.
    smoothed: Option<Duration>,
    variation: Duration,
    min: Duration,
    /// How often the time-out was doubled since something was acknowledged.
    doubled: u32,
}

impl RoundTrip {
    /// A packet that was sent once came back acknowledged after `sample` (Karn's rule: of one that
    /// was sent twice it is not known which).
    pub(super) fn handle_sample(&mut self, sample: Duration) {
        match self.smoothed {
            None => {
                (self.smoothed, self.variation, self.min) = (Some(sample), sample / 2, sample);
            }
            Some(smoothed) => {
                self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
                self.smoothed = Some((smoothed * 7 + sample) / 8);
                self.min = self.min.min(sample);
            }
        }
    }

    /// Something was acknowledged.
    pub(super) fn handle_progress(&mut self) {
        self.doubled = 0;
    }

    /// Nothing was, in time.
    pub(super) fn handle_timeout(&mut self) {
        self.doubled = self.doubled.saturating_add(1);
    }

    /// The smoothed round trip, if there was a sample.
    pub(super) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// The shortest round trip; zero before there was a sample.
    pub(super) fn min(&self) -> Duration {
        self.min
    }

    /// What a packet that was sent so long before one that has arrived has had time for.
    pub(super) fn patience(&self) -> Duration {
        let smoothed = self.smoothed.unwrap_or(INITIAL);
        (smoothed + smoothed / 8).max(MIN_PROBE)
    }

    /// After so long without an acknowledgement the last packet is sent once more, so that what is
    /// missing is known long before [`timeout`](Self::timeout) (RFC 8985, section 7.2); `is_lone`:
    /// it is the only one on its way; `is_heard`: the other side is not too busy to say anything.
    /// `None` where the time-out comes nearly as soon.
    pub(super) fn probe_timeout(&self, is_lone: bool, is_heard: bool) -> Option<Duration> {
        let smoothed = self.smoothed?;
        let ack = if is_lone { DELAYED_ACK } else { Duration::ZERO };
        let least = if is_heard { MIN_PROBE_HEARD } else { MIN_PROBE };
        let probe = (smoothed * 2).max(smoothed + self.variation * 4).max(least) + ack;
        (self.doubled == 0 && probe + smoothed < self.timeout()).then_some(probe)
    }

    /// After so long without an acknowledgement what is on its way counts as lost.
    pub(super) fn timeout(&self) -> Duration {
        let base =
            self.smoothed.map_or(INITIAL, |smoothed| (smoothed + self.variation * 4).max(MIN));
        base.saturating_mul(1u32.checked_shl(self.doubled).unwrap_or(u32::MAX)).min(MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_follows_samples_has_a_floor_and_doubles() {
        let ms = Duration::from_millis;
        let mut rtt = RoundTrip::default();
        assert_eq!(rtt.timeout(), ms(1000));
        rtt.handle_timeout();
        assert_eq!(rtt.timeout(), ms(2000));
        rtt.handle_progress();
        rtt.handle_sample(ms(10));
        assert_eq!((rtt.timeout(), rtt.smoothed(), rtt.min()), (ms(500), Some(ms(10)), ms(10)));
        (0..100).for_each(|_| rtt.handle_sample(ms(400)));
        assert!(rtt.timeout() > ms(395) && rtt.min() == ms(10));
        (0..100).for_each(|_| rtt.handle_timeout());
        assert_eq!(rtt.timeout(), MAX);
    }

    #[test]
    fn tail_is_probed_after_two_round_trips_if_the_timeout_is_far() {
        let ms = Duration::from_millis;
        let probes = |sample: u64| {
            let mut rtt = RoundTrip::default();
            assert_eq!(rtt.probe_timeout(false, false), None);
            (0..100).for_each(|_| rtt.handle_sample(ms(sample)));
            [false, true].map(|lone| rtt.probe_timeout(lone, false).map(|time| time.as_millis()))
        };
        assert_eq!(probes(80), [Some(160), Some(260)]);
        assert_eq!(probes(1), [Some(25), Some(125)]);
        assert_eq!(probes(150), [Some(300), None]);
        assert_eq!(probes(300), [None, None]);
        let mut rtt = RoundTrip::default();
        rtt.handle_sample(ms(20));
        assert_eq!(rtt.probe_timeout(false, true), Some(ms(60)));
        (0..100).for_each(|_| rtt.handle_sample(Duration::from_micros(300)));
        assert_eq!(rtt.probe_timeout(false, true), Some(ms(1)));
        assert_eq!(rtt.probe_timeout(false, false), Some(ms(25)));
        rtt.handle_timeout();
        assert_eq!(rtt.probe_timeout(false, true), None, "nothing answers at all");
    }
}
