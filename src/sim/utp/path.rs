//! One direction of a path: a bottleneck with a queue, a delay, and what goes wrong on the way.

use std::time::Duration;

use crate::base::{rng::Rng, time::Instant};

/// Bytes of the headers of IP and UDP.
const BELOW: usize = 28;

/// What one direction of a path is like.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Path {
    /// Bytes a second of the bottleneck, headers included; 0: any.
    pub rate: u64,
    /// One way, without the queue.
    pub delay: Duration,
    /// How long the queue may be; what does not fit is dropped.
    pub queue: Duration,
    /// Packets of a million that are lost, whatever the queue.
    pub loss: u64,
    /// Packets of a million that take up to 5 ms longer, and are overtaken.
    pub late: u64,
    /// Packets of a million that arrive twice.
    pub twice: u64,
    /// The largest datagram that passes.
    pub mtu: usize,
    /// Datagrams that the receiver's socket has room for; more are dropped. 0: any, and they are
    /// read and acknowledged as they come.
    pub room: usize,
    /// What the receiver takes to begin to read, if `room` is not 0. It acknowledges when its
    /// socket is empty.
    pub wake: Duration,
    /// What it then takes from each datagram to the next.
    pub read: Duration,
}

impl Default for Path {
    /// 10 ms, and nothing else.
    fn default() -> Self {
        Self {
            rate: 0,
            delay: Duration::from_millis(10),
            queue: Duration::from_millis(200),
            loss: 0,
            late: 0,
            twice: 0,
            mtu: 1472,
            room: 0,
            wake: Duration::ZERO,
            read: Duration::ZERO,
        }
    }
}

impl Path {
    /// This path, changed by `set`.
    #[must_use]
    pub fn with(mut self, set: impl FnOnce(&mut Self)) -> Self {
        set(&mut self);
        self
    }

    fn sending_time(&self, bytes: usize) -> Duration {
        let micros = ((bytes + BELOW) as u64 * 1_000_000_000).checked_div(self.rate);
        Duration::from_nanos(micros.unwrap_or(0))
    }
}

/// The same in use.
#[derive(Debug)]
pub(super) struct Way {
    pub(super) path: Path,
    /// When the bottleneck has sent what waits, in nanoseconds.
    free: u64,
    /// Bytes that have passed it.
    pub(super) passed: u64,
    pub(super) dropped: u64,
}

impl Way {
    pub(super) fn new(path: Path) -> Self {
        Self { path, free: 0, passed: 0, dropped: 0 }
    }

    /// A datagram is sent: when it arrives, and when once more.
    pub(super) fn send(
        &mut self,
        now: Instant,
        bytes: usize,
        rng: &mut Rng,
    ) -> [Option<Instant>; 2] {
        let of_million = |rng: &mut Rng, part: u64| part > 0 && rng.below(1_000_000) < part;
        if bytes > self.path.mtu || of_million(rng, self.path.loss) {
            return [None; 2];
        }
        let now = now.as_micros() * 1000;
        let begins = self.free.max(now);
        if self.path.rate > 0 && u128::from(begins - now) > self.path.queue.as_nanos() {
            self.dropped += 1;
            return [None; 2];
        }
        self.free = begins + self.path.sending_time(bytes).as_nanos() as u64;
        self.passed += bytes as u64 + BELOW as u64;
        let late = if of_million(rng, self.path.late) { rng.below(5_000) } else { 0 };
        let arrives = Instant::from_micros(self.free / 1000 + late) + self.path.delay;
        let again = of_million(rng, self.path.twice).then(|| arrives + Duration::from_millis(1));
        [Some(arrives), again]
    }

    /// How long what is sent now will wait.
    pub(super) fn wait(&self, now: Instant) -> Duration {
        Duration::from_nanos(self.free.saturating_sub(now.as_micros() * 1000))
    }
}
