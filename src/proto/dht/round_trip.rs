//! How long answers take: what a node that was never measured is given.
//!
//! The mean and the mean deviation of all measured round trips of a family, as RFC 6298 has them
//! for one connection; here the nodes differ, and most of the deviation is theirs.

use std::time::Duration;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct RoundTrips {
    /// Mean and mean deviation, µs.
    estimate: Option<(u64, u64)>,
}

impl RoundTrips {
    /// A round trip was measured.
    pub(super) fn add(&mut self, rtt: Duration) {
        let rtt = u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX / 8).min(u64::MAX / 8);
        self.estimate = Some(match self.estimate {
            None => (rtt, rtt / 2),
            Some((mean, deviation)) => {
                ((7 * mean + rtt) / 8, (3 * deviation + mean.abs_diff(rtt)) / 4)
            }
        });
    }

    /// What few round trips exceed; `None` before the first.
    pub(super) fn most(&self) -> Option<Duration> {
        self.estimate.map(|(mean, deviation)| Duration::from_micros(mean + 4 * deviation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimate_follows_round_trips_and_their_spread() {
        let ms = Duration::from_millis;
        let mut trips = RoundTrips::default();
        assert_eq!(trips.most(), None);
        trips.add(ms(100));
        assert_eq!(trips.most(), Some(ms(300)));
        (0..100).for_each(|_| trips.add(ms(100)));
        assert!(trips.most() < Some(ms(101)), "{:?}", trips.most());
        (0..100).for_each(|n| trips.add(ms(if n % 2 == 0 { 20 } else { 300 })));
        let most = trips.most();
        assert!((ms(500)..ms(900)).contains(&most.unwrap()), "{most:?}");
        trips.add(Duration::MAX);
        assert!(trips.most().is_some(), "whatever a clock says");
    }
}
