//! How fast bytes flow: as an average that forgets, for decisions, and over the last ten seconds,
//! to be shown.

use std::time::Duration;

use super::time::Instant;

/// A byte counter with two rates: one for decisions, over about a second, and one to be shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RateMeter {
    average: Average,
    shown: Window,
}

/// A byte counter with a rate: an exponential average over `memory`, sampled every tenth of a
/// second.
#[derive(Clone, Copy, Debug)]
struct Average {
    total: u64,
    in_sample: u64,
    sample_start: Instant,
    bytes_per_s: f64,
    memory: Duration,
}

/// Bytes of the last ten seconds, in buckets of one: peers that send in bursts of some seconds make
/// an average over one second jump, and a number that jumps is of no use to a reader.
#[derive(Clone, Copy, Debug)]
struct Window {
    /// The newest first. Of the last one counts what the newest lacks of a whole second.
    buckets: [u64; BUCKETS],
    /// When the newest began.
    start: Instant,
    /// When bytes began to flow after a silence.
    began: Instant,
}

const BUCKETS: usize = 11;
const BUCKET: Duration = Duration::from_secs(1);
const WINDOW: Duration = Duration::from_secs(10);

impl Window {
    fn new(now: Instant) -> Self {
        Self { buckets: [0; BUCKETS], start: now, began: now }
    }

    fn add(&mut self, now: Instant, bytes: u64) {
        self.roll(now);
        if self.is_empty() {
            (self.began, self.start) = (now, now);
        }
        let [newest, ..] = &mut self.buckets;
        *newest = newest.saturating_add(bytes);
    }

    fn is_empty(&self) -> bool {
        self.buckets.iter().all(|&bytes| bytes == 0)
    }

    /// Bytes per second at `now`.
    fn rate(&self, now: Instant) -> u64 {
        let mut copy = *self;
        copy.roll(now);
        let [whole @ .., oldest] = copy.buckets;
        let whole = whole.iter().map(|&bytes| bytes as f64).sum::<f64>();
        let part = 1.0 - now.since(copy.start).as_secs_f64() / BUCKET.as_secs_f64();
        let time = now.since(copy.began).clamp(BUCKET, WINDOW);
        ((whole + oldest as f64 * part.clamp(0.0, 1.0)) / time.as_secs_f64()) as u64
    }

    fn roll(&mut self, now: Instant) {
        let passed = now.since(self.start).as_micros() / BUCKET.as_micros();
        let Ok(passed @ 1..) = u32::try_from(passed) else { return };
        self.start = self.start + BUCKET * passed;
        let gone = BUCKETS.min(passed as usize);
        self.buckets.rotate_right(gone % BUCKETS);
        self.buckets.iter_mut().take(gone).for_each(|bucket| *bucket = 0);
    }
}

const SAMPLE: Duration = Duration::from_millis(100);
const MEMORY: Duration = Duration::from_secs(1);

impl RateMeter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { average: Average::new(now, MEMORY), shown: Window::new(now) }
    }

    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        self.average.add(now, bytes);
        self.shown.add(now, bytes);
    }

    /// Bytes per second over the last ten seconds, to be shown: it follows a change more slowly
    /// than [`rate`](Self::rate), and bursts of some seconds do not show.
    pub(crate) fn shown(&self, now: Instant) -> u64 {
        self.shown.rate(now)
    }

    /// Bytes since the beginning.
    pub(crate) fn total(&self) -> u64 {
        self.average.total
    }

    /// Bytes per second at `now`; silence since the last byte counts.
    pub(crate) fn rate(&self, now: Instant) -> u64 {
        self.average.rate(now)
    }

    /// Whether the rate is something other than zero, or will be although no more bytes come.
    pub(crate) fn is_flowing(&self, now: Instant) -> bool {
        self.average.in_sample > 0 || self.rate(now) > 0 || self.shown(now) > 0
    }
}

impl Average {
    fn new(now: Instant, memory: Duration) -> Self {
        Self { total: 0, in_sample: 0, sample_start: now, bytes_per_s: 0.0, memory }
    }

    fn add(&mut self, now: Instant, bytes: u64) {
        self.roll(now);
        self.total = self.total.saturating_add(bytes);
        self.in_sample = self.in_sample.saturating_add(bytes);
    }

    fn rate(&self, now: Instant) -> u64 {
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
        let keep = (-over.as_secs_f64() / self.memory.as_secs_f64()).exp();
        self.bytes_per_s = self.bytes_per_s * keep + bytes_per_s * (1.0 - keep);
    }
}

/// A rate over about twenty seconds, for comparing peers. A peer that has just begun is judged by
/// the time since: it need not send for a minute before it counts as fast as it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LongMeter {
    average: Average,
    /// When bytes began to flow after a silence.
    began: Instant,
    last: Instant,
}

const LONG_MEMORY: Duration = Duration::from_secs(20);
/// A burst is not a rate: what came first counts as if it had taken this long.
const LEAST_TIME: Duration = Duration::from_secs(5);

impl LongMeter {
    pub(crate) fn new(now: Instant) -> Self {
        Self { average: Average::new(now, LONG_MEMORY), began: now, last: now }
    }

    pub(crate) fn add(&mut self, now: Instant, bytes: u64) {
        if self.average.total == 0 || now.since(self.last) > LONG_MEMORY {
            self.began = now;
        }
        self.last = now;
        self.average.add(now, bytes);
    }

    /// Bytes per second at `now`.
    pub(crate) fn rate(&self, now: Instant) -> u64 {
        let age = now.since(self.began).max(LEAST_TIME).as_secs_f64();
        let seen = 1.0 - (-age / LONG_MEMORY.as_secs_f64()).exp();
        (self.average.rate(now) as f64 / seen) as u64
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
        assert!(
            m.rate(at(20)) == 0 && m.is_flowing(at(20)),
            "it will be known later how fast that was"
        );
        m.add(at(500), 0);
        assert!(m.is_flowing(at(500)) && !m.is_flowing(at(60_000)));
    }

    #[test]
    fn shown_rate_of_bursts_stays_near_the_truth() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        for pause in [500, 1000, 2000, 2500] {
            let mut m = RateMeter::new(at(0));
            // 100,000 bytes a second, all of each pause's at once.
            for ms in (0..60_000).step_by(10) {
                if ms % pause == 0 {
                    m.add(at(ms), 100 * pause);
                }
                if ms > 12_000 {
                    let shown = m.shown(at(ms));
                    let off = if pause > 1000 { 30_000 } else { 10_000 };
                    assert!(shown.abs_diff(100_000) <= off, "{shown} with bursts every {pause} ms");
                }
            }
        }
    }

    #[test]
    fn shown_rate_begins_at_once_and_only_falls_in_silence() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let mut m = RateMeter::new(at(0));
        for ms in (100_000..103_000).step_by(10) {
            m.add(at(ms), 1000);
        }
        assert!((95_000..105_000).contains(&m.shown(at(103_000))), "{}", m.shown(at(103_000)));
        let mut before = m.shown(at(103_000));
        for ms in (103_000..120_000).step_by(50) {
            let shown = m.shown(at(ms));
            assert!(shown <= before, "{shown} after {before} at {ms}");
            before = shown;
        }
        assert_eq!(before, 0);
    }

    #[test]
    fn long_meter_tells_rate_soon_and_smooths_a_burst() {
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
