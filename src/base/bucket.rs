//! Token buckets: how many bytes may pass now under a rate. Exact arithmetic in bytes × µs, so
//! nothing drifts however long it runs. It knows bytes and times, not who wants them.

use std::{num::NonZeroU64, time::Duration};

use super::time::Instant;

/// Bytes per second that may pass: at least 1, at most [`Rate::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rate(NonZeroU64);

impl Rate {
    /// The highest rate, 2^40 bytes per second: more is the same as this.
    pub const MAX: u64 = 1 << 40;

    /// This many bytes per second. Zero is no rate, and in [`Limits`] no limit, as users expect it:
    /// to let nothing pass, pause the torrent.
    pub const fn new(bytes_per_s: u64) -> Option<Self> {
        match NonZeroU64::new(if bytes_per_s > Self::MAX { Self::MAX } else { bytes_per_s }) {
            Some(rate) => Some(Self(rate)),
            None => None,
        }
    }

    /// Bytes per second.
    pub const fn get(self) -> u64 {
        self.0.get()
    }
}

/// How fast bytes may come and go; `None` is no limit.
///
/// All bytes of the peer protocol count, not only those of blocks, but not the 68 bytes of a
/// handshake nor what TCP and IP add.
///
/// ```
/// use cratetorrent::{Limits, Rate};
///
/// let limits = Limits { down: Rate::new(500 * 1024), up: Rate::new(0) };
/// assert_eq!(limits.down.map(Rate::get), Some(512_000));
/// assert_eq!(limits.up, None);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// What we receive.
    pub down: Option<Rate>,
    /// What we send.
    pub up: Option<Rate>,
}

/// Tokens are counted in millionths of a byte: what a rate of 1 B/s gives in 1 µs.
const BYTE: i64 = 1_000_000;
/// What a bucket holds at most: a tenth of a second's, so that no 10 s see more than 1 % over the
/// rate.
const DEPTH_A_SECOND: u64 = 10;
/// What is handed out at a time, if that is more than [`SMALL`]: a fiftieth of a second's.
const QUANTUM_A_SECOND: u64 = 50;
/// What is owed for longer than this is forgotten: messages that no limit holds back may come to
/// more than the limit for hours, and blocks are to move again some seconds after that.
const LONGEST_DEBT_S: i64 = 10;
/// Less than a full TCP segment is not worth a write, unless the bucket itself is smaller.
const SMALL: u64 = 1460;

/// See the module. It begins empty, and may be overdrawn: what is owed is waited for, ten seconds
/// at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    /// In units of [`BYTE`]; negative when overdrawn.
    level: i64,
    /// When `level` was right.
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(now: Instant, rate: Rate) -> Self {
        Self { rate, level: 0, at: now }
    }

    /// What was saved up or is owed stays, as far as the new depth has room.
    pub(crate) fn set_rate(&mut self, now: Instant, rate: Rate) {
        self.refill(now);
        self.rate = rate;
        self.level = self.level.min(self.capacity());
    }

    /// Bytes that it can hold: two at least, so that one that is late for the first still finds it.
    pub(crate) fn depth(&self) -> u64 {
        (self.rate.get() / DEPTH_A_SECOND).max(2)
    }

    /// Bytes that are worth handing out at all.
    pub(crate) fn floor(&self) -> u64 {
        SMALL.min(self.depth() / 2)
    }

    /// Bytes to wait for before they are handed out: few enough for the flow to be smooth, many
    /// enough for few wake-ups, and half of the depth at most, so that nothing is lost when a
    /// wake-up is late.
    pub(crate) fn quantum(&self) -> u64 {
        (self.rate.get() / QUANTUM_A_SECOND).clamp(self.floor(), self.depth() / 2)
    }

    /// Whole bytes that may pass now.
    pub(crate) fn level(&mut self, now: Instant) -> u64 {
        self.refill(now);
        u64::try_from(self.level / BYTE).unwrap_or(0)
    }

    /// These bytes have passed, with or without leave.
    pub(crate) fn spend(&mut self, now: Instant, bytes: u64) {
        self.refill(now);
        let debt = units(self.rate.get()).saturating_mul(LONGEST_DEBT_S);
        self.level = self.level.saturating_sub(units(bytes)).max(-debt);
    }

    /// When it holds this many bytes (no more than its depth) if none are taken until then.
    pub(crate) fn ready_at(&self, bytes: u64) -> Instant {
        let missing = units(bytes.min(self.depth())).saturating_sub(self.level);
        let micros = u64::try_from(missing).unwrap_or(0).div_ceil(self.rate.get());
        self.at + Duration::from_micros(micros)
    }

    fn refill(&mut self, now: Instant) {
        let elapsed = now.as_micros().saturating_sub(self.at.as_micros());
        let gained = i64::try_from(elapsed.saturating_mul(self.rate.get())).unwrap_or(i64::MAX);
        self.level = self.level.saturating_add(gained).min(self.capacity());
        self.at = self.at.max(now);
    }

    fn capacity(&self) -> i64 {
        units(self.depth())
    }
}

fn units(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX).saturating_mul(BYTE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    fn bucket(rate: u64) -> Bucket {
        Bucket::new(at(0), Rate::new(rate).unwrap())
    }

    #[test]
    fn a_rate_is_neither_nothing_nor_endless() {
        assert_eq!(Rate::new(0), None);
        assert_eq!(Rate::new(1).unwrap().get(), 1);
        assert_eq!(Rate::new(u64::MAX).unwrap().get(), Rate::MAX);
    }

    #[test]
    fn tokens_of_odd_moments_add_up_to_exactly_the_rate() {
        for rate in [1, 3, 7, 1_000, 10 << 10, 64 << 10, 1_000_003, 1 << 30, Rate::MAX] {
            let mut bucket = bucket(rate);
            // No two moments are half of the depth apart, or tokens would be lost, as they should
            // be.
            let step = (bucket.depth() * 250_000 / rate).max(1);
            let (mut now, mut spent) = (0, 0u128);
            let start = 365 * 86_400 * 1_000_000 - 300_000 * step;
            bucket.level(at(start));
            bucket.level = 0;
            for n in 0..300_000u64 {
                now = start + n * step + n * 7919 % step;
                let bytes = bucket.level(at(now));
                spent += u128::from(bytes);
                bucket.spend(at(now), bytes);
            }
            let due = u128::from(rate) * u128::from(now - start) / 1_000_000;
            assert_eq!(spent, due, "{rate} B/s");
        }
    }

    #[test]
    fn bucket_holds_a_tenth_of_a_second() {
        let mut bucket = bucket(64 << 10);
        assert_eq!(bucket.level(at(0)), 0);
        assert_eq!(bucket.level(at(50_000)), 3276);
        assert_eq!(bucket.level(at(u64::MAX)), 6553);
        for rate in [1, 10 << 10, 64 << 10, 1 << 20, 1 << 30, Rate::MAX] {
            let b = super::Bucket::new(at(0), Rate::new(rate).unwrap());
            assert!(
                1 <= b.floor() && b.floor() <= b.quantum() && b.quantum() <= b.depth() / 2,
                "{rate} B/s"
            );
        }
    }

    #[test]
    fn bucket_tells_exactly_when_it_is_ready() {
        for rate in [1, 3, 10 << 10, 1_000_003, 1 << 30, Rate::MAX] {
            let mut bucket = bucket(rate);
            bucket.spend(at(0), 5);
            for bytes in [1, bucket.floor(), bucket.quantum(), bucket.depth()] {
                let ready = bucket.ready_at(bytes);
                let mut copy = bucket;
                assert!(copy.level(ready) >= bytes, "{rate} B/s, {bytes}");
                let mut copy = bucket;
                assert!(
                    copy.level(ready - Duration::from_micros(1)) < bytes,
                    "{rate} B/s, {bytes}"
                );
            }
        }
    }

    #[test]
    fn overdrawn_bucket_makes_the_next_wait() {
        let mut bucket = bucket(1000);
        bucket.spend(at(0), 2500);
        assert_eq!(bucket.level(at(2_500_000)), 0);
        assert_eq!(bucket.level(at(2_501_000)), 1);
        bucket.spend(at(2_501_000), u64::MAX);
        bucket.spend(at(2_501_000), u64::MAX);
        assert_eq!(bucket.level(at(9_000_000)), 0);
        assert!(bucket.ready_at(1) > at(9_000_000));
        assert_eq!(bucket.ready_at(1), at(12_502_000), "no more than ten seconds are owed");
    }

    #[test]
    fn new_rate_keeps_saved_tokens_within_its_depth() {
        let mut bucket = bucket(1);
        assert_eq!(bucket.level(at(1_500_000)), 1);
        bucket.set_rate(at(1_500_000), Rate::new(1 << 20).unwrap());
        assert_eq!(bucket.level(at(1_500_000)), 1, "nothing is given for the time before");
        assert_eq!(bucket.level(at(1_550_000)), 52_430);
        bucket.set_rate(at(1_550_000), Rate::new(1000).unwrap());
        assert_eq!(bucket.level(at(1_550_000)), 100);
    }
}
