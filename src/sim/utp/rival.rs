//! Traffic that a uTP connection shares its bottleneck with: a stream that grows as TCP with CUBIC
//! does (RFC 9438), until packets are dropped.

use std::collections::VecDeque;

use crate::base::time::Instant;

/// Bytes of a segment.
pub(super) const SEGMENT: usize = 1448;

/// See the module.
#[derive(Debug)]
pub(super) struct Rival {
    /// In segments.
    window: f64,
    threshold: f64,
    most: f64,
    reduced: Instant,
    /// Segments on their way: number, and when they were sent.
    flight: VecDeque<(u64, Instant)>,
    next: u64,
    /// Losses before this number are one.
    recover: u64,
    pub(super) delivered: u64,
}

impl Rival {
    pub(super) fn new() -> Self {
        Self {
            window: 10.0,
            threshold: f64::MAX,
            most: 0.0,
            reduced: Instant::ZERO,
            flight: VecDeque::new(),
            next: 0,
            recover: 0,
            delivered: 0,
        }
    }

    /// The next segment, if the window has room.
    pub(super) fn poll(&mut self, now: Instant) -> Option<u64> {
        if self.flight.len() as f64 >= self.window {
            return None;
        }
        let number = self.next;
        self.next += 1;
        self.flight.push_back((number, now));
        Some(number)
    }

    /// This segment was acknowledged.
    pub(super) fn handle_ack(&mut self, now: Instant, number: u64) {
        let Some(at) = self.flight.iter().position(|&(n, _)| n == number) else { return };
        let (_, sent) = self.flight.remove(at).unwrap_or((0, now));
        let rtt = now.since(sent).as_secs_f64();
        self.delivered += SEGMENT as u64;
        if self.window < self.threshold {
            self.window += 1.0;
        } else {
            let t = now.since(self.reduced).as_secs_f64() + rtt;
            let k = (self.most * 0.3 / 0.4).cbrt();
            let wanted = (0.4 * (t - k).powi(3) + self.most).max(self.window);
            self.window += ((wanted - self.window) / self.window).clamp(0.01, 0.5);
        }
        // Three behind it have arrived.
        while let Some(&(first, _)) = self.flight.front().filter(|(n, _)| n + 3 <= number) {
            self.flight.pop_front();
            if first >= self.recover {
                self.recover = self.next;
                self.most = self.window;
                self.window = (self.window * 0.7).max(2.0);
                self.threshold = self.window;
                self.reduced = now;
            }
        }
    }

    /// Nothing has been acknowledged for long.
    pub(super) fn handle_tick(&mut self, now: Instant) {
        if self.flight.front().is_some_and(|&(_, at)| now.since(at).as_secs() >= 4) {
            self.flight.clear();
            self.threshold = (self.window / 2.0).max(2.0);
            self.window = 2.0;
            self.recover = self.next;
        }
    }
}
