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
    memory: Duration,
}

const SAMPLE: Duration = Duration::from_millis(100);
const MEMORY: Duration = Duration::from_secs(1);

impl RateMeter {
    pub(crate) fn new(now: Instant) -> Self {
        Self::with_memory(now, MEMORY)
    }

    fn with_memory(now: Instant, memory: Duration) -> Self {
        Self { total: 0, in_sample: 0, sample_start: now, bytes_per_s: 0.0, memory }
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

    /// Whether the rate is something other than zero, or will be although no more bytes come.
    pub(crate) fn is_flowing(&self, now: Instant) -> bool {
        self.in_sample > 0 || self.rate(now) > 0
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
        let keep = (-over.as_secs_f64() / self.memory.as_secs_f64()).exp();
        self.bytes_per_s = self.bytes_per_s * keep + bytes_per_s * (1.0 - keep);
    }
}

/// A rate over about twenty seconds, for comparing peers. Whoever has just begun is judged by the time since: it need not send for a
/// minute before it counts as fast as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LongMeter {
    meter: RateMeter,
    /// When bytes began to flow after a silence.
    began: Instant,
    last: Instant,
}

const LONG_MEMORY: Duration = Duration::from_secs(20);
/// A burst is not a rate: what came first counts as if it had taken this long.
const LEAST_TIME: Duration = Duration::from_secs(5);

impl LongMeter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { meter: RateMeter::with_memory(now, LONG_MEMORY), began: now, last: now }
    }

    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        if self.meter.total == 0 || now.since(self.last) > LONG_MEMORY {
            self.began = now;
        }
        self.last = now;
        self.meter.add(now, bytes);
    }

    /// Bytes per second at `now`.
    pub(crate) fn rate(&self, now: Instant) -> u64 {
        let age = now.since(self.began).max(LEAST_TIME).as_secs_f64();
        let seen = 1.0 - (-age / LONG_MEMORY.as_secs_f64()).exp();
        (self.meter.rate(now) as f64 / seen) as u64
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
        let mut m = RateMeter::new(at(0));
        assert!(!m.is_flowing(at(0)));
        m.add(at(10), 1000);
        assert!(m.rate(at(20)) == 0 && m.is_flowing(at(20)), "it will be known later how fast that was");
        m.add(at(500), 0);
        assert!(m.is_flowing(at(500)) && !m.is_flowing(at(60_000)));
    }

    #[test]
    fn a_long_meter_soon_tells_the_rate_remembers_it_and_takes_a_burst_for_none() {
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let mut m = LongMeter::new(at(0));
        assert_eq!(m.rate(at(50)), 0);
        m.add(at(100), 16384);
        assert!(m.rate(at(100) + SAMPLE) < 4_500, "{}", m.rate(at(100) + SAMPLE));
        for s in 101..=110 {
            m.add(at(s), 16384);
        }
        let soon = m.rate(at(111));
        assert!((15_000..19_000).contains(&soon), "{soon}");
        for s in 111..=200 {
            m.add(at(s), 16384);
        }
        let (then, later, much_later) = (m.rate(at(201)), m.rate(at(221)), m.rate(at(500)));
        assert!((15_500..17_500).contains(&then), "{then}");
        assert!((5_000..7_000).contains(&later), "{later}");
        assert_eq!(much_later, 0);
    }
}
