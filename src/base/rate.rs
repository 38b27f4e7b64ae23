//! How fast bytes flow, as an average that forgets.

use std::time::Duration;

use super::time::Instant;

/// A byte counter with a rate: an exponential average over about one second, sampled every tenth of one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateMeter {
    total: u64,
    in_sample: u64,
    sample_start: Instant,
    bytes_per_s: f64,
}

const SAMPLE: Duration = Duration::from_millis(100);
const MEMORY: Duration = Duration::from_secs(1);

impl RateMeter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { total: 0, in_sample: 0, sample_start: now, bytes_per_s: 0.0 }
    }

    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        self.roll(now);
        self.total = self.total.saturating_add(bytes);
        self.in_sample = self.in_sample.saturating_add(bytes);
    }

    /// Bytes since the beginning.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// Bytes per second at `now`; silence since the last byte counts.
    pub(crate) fn rate(&self, now: Instant) -> u64 {
        let mut copy = *self;
        copy.roll(now);
        copy.bytes_per_s as u64
    }

    fn roll(&mut self, now: Instant) {
        let elapsed = now.since(self.sample_start);
        if elapsed < SAMPLE {
            return;
        }
        // The bytes belong to the sample's own time; whatever came after it was silence.
        let busy = elapsed.min(2 * SAMPLE);
        self.blend(self.in_sample as f64 / busy.as_secs_f64(), busy);
        self.blend(0.0, elapsed - busy);
        self.in_sample = 0;
        self.sample_start = now;
    }

    fn blend(&mut self, bytes_per_s: f64, over: Duration) {
        let keep = (-over.as_secs_f64() / MEMORY.as_secs_f64()).exp();
        self.bytes_per_s = self.bytes_per_s * keep + bytes_per_s * (1.0 - keep);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_flow_reads_as_its_rate_and_silence_as_none() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut m = RateMeter::new(at(0));
        for ms in (0..10_000).step_by(10) {
            m.add(at(ms), 1000);
        }
        let rate = m.rate(at(10_000));
        assert!((95_000..105_000).contains(&rate), "{rate}");
        assert_eq!(m.total(), 1_000_000);
        assert!(m.rate(at(30_000)) < 10);
    }
}
