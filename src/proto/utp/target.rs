//! The queue that a connection aims at.
//!
//! Four things move it. A faster connection aims at a shorter queue than a slow one (the flow
//! scaling of Swift, SIGCOMM 2020, 3.1), so connections that share a path come to equal rates: all
//! find the same queue, and each grows or shrinks until that is what it aims at. A queue that
//! overflows before it is as long as the target lowers that, in steps that all connections have in
//! common, since of two targets the lower gets nothing. It rises after a time without a loss; and
//! soon if the queue stands still above it, as only other connections of this kind keep it.

use std::time::Duration;

use crate::base::time::Instant;

/// The queue that is aimed at, in microseconds (BEP 29).
const TARGET: f64 = 100_000.0;
/// The lowest target on a path whose queue is short.
const MIN_TARGET: f64 = 5_000.0;
/// Bytes a second below which the whole target is aimed at.
const SLOW: f64 = 131_072.0;
/// The part of it that each e-fold of the rate takes off, and what is left at least.
const SCALE: f64 = 0.06;
const MIN_PART: f64 = 0.6;
/// A queue that is shorter does not count as one that overflows, in microseconds.
const MIN_OVERFLOW: u32 = 10_000;
/// The part of the length at which the queue overflows that is aimed at, at most.
const BELOW: f64 = 0.6;
/// From one step of the target to the next lower one.
const STEP: f64 = 0.75;
/// Packets that are lost when the queue is shorter than this part of its longest of the last
/// minutes are lost for another reason.
const NEAR_LONGEST: f64 = 0.75;
/// The longest queue is that of so many slots, the current one included.
const SLOTS: usize = 4;
const SLOT: Duration = Duration::from_secs(60);
/// After so long without a loss the target rises by a step.
const RISES: Duration = Duration::from_secs(120);
/// A queue stands still that changed no more than by this part of it, or by so many packets, for
/// so long.
const CALM: f64 = 0.2;
const CALM_PACKETS: f64 = 2.0;
const CALM_TIME: Duration = Duration::from_secs(5);
/// It is above a target that it exceeds so many times.
const ABOVE: f64 = 1.1;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    /// The length at which the queue overflows, in microseconds; infinite: none is known.
    overflow: f64,
    /// The highest target below that.
    most: f64,
    /// The part of it that is aimed at, by rate.
    part: f64,
    /// When something was lost last, or the target rose.
    changed: Instant,
    /// What a packet takes to pass the path, in microseconds: it looks like a queue beside the
    /// short SYN that delays are measured from.
    packet: f64,
    longest: Longest,
    calm: Calm,
}

/// The longest wait of each minute, the current one first.
#[derive(Clone, Copy, Debug)]
struct Longest {
    slots: [u32; SLOTS],
    began: Instant,
}

/// The time in which the queue has stood still.
#[derive(Clone, Copy, Debug)]
struct Calm {
    since: Instant,
    shortest: u32,
    longest: u32,
}

impl Target {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            overflow: f64::INFINITY,
            most: TARGET,
            part: 1.0,
            changed: now,
            packet: f64::INFINITY,
            longest: Longest { slots: [0; SLOTS], began: now },
            calm: Calm::new(now),
        }
    }

    /// In microseconds.
    pub(super) fn micros(&self) -> f64 {
        self.most * self.part
    }

    /// Whether a packet that has waited so long found no queue; `noise`: what waits differ by.
    pub(super) fn is_no_queue(&self, wait: u32, noise: u32) -> bool {
        f64::from(wait) <= f64::from(noise) + self.packet
    }

    /// A packet has waited so many microseconds, and arrived.
    pub(super) fn handle_wait(&mut self, now: Instant, wait: u32) {
        self.longest.add(now, wait);
        self.calm.add(now, wait, CALM_PACKETS * self.packet);
        if f64::from(wait) > self.overflow {
            self.set_overflow(wait.into());
        }
    }

    /// All packets have waited so much longer than was thought.
    pub(super) fn handle_lower_base(&mut self, micros: u32) {
        for longest in self.longest.slots.iter_mut().filter(|longest| **longest > 0) {
            *longest = longest.saturating_add(micros);
        }
        self.set_overflow(self.overflow + f64::from(micros));
    }

    /// A round trip is over in which the window was in use: so many bytes a second came through,
    /// and each packet took so many microseconds.
    pub(super) fn handle_rate(&mut self, rate: f64, packet: f64) {
        self.part = (1.0 - SCALE * (rate / SLOW).ln()).clamp(MIN_PART, 1.0);
        if packet < self.packet {
            self.packet = packet;
            self.set_overflow(self.overflow);
        }
    }

    /// Packets were lost; `peak`: the longest wait of those around them.
    pub(super) fn handle_loss(&mut self, now: Instant, peak: u32) {
        (self.changed, self.calm) = (now, Calm::new(now));
        let is_full = f64::from(peak) >= f64::from(self.longest.get()) * NEAR_LONGEST;
        if is_full && peak > MIN_OVERFLOW && f64::from(peak) < self.overflow {
            self.set_overflow(peak.into());
        }
    }

    /// A round trip is over.
    pub(super) fn handle_round(&mut self, now: Instant) {
        let others_aim_higher = self.calm.longest > 0
            && now >= self.calm.since + CALM_TIME
            && f64::from(self.calm.shortest) > self.micros() * ABOVE;
        if others_aim_higher || now >= self.changed + RISES {
            (self.changed, self.calm) = (now, Calm::new(now));
            self.set_overflow(self.overflow / STEP);
        }
    }

    fn set_overflow(&mut self, micros: f64) {
        self.overflow = micros;
        let wanted = (micros * BELOW).max(MIN_TARGET + 1.5 * self.packet);
        self.most = TARGET;
        while self.most > wanted {
            self.most *= STEP;
        }
    }
}

impl Longest {
    fn add(&mut self, now: Instant, wait: u32) {
        if now.since(self.began) >= SLOT {
            self.began = now;
            self.slots.rotate_right(1);
            self.slots[0] = 0;
        }
        self.slots[0] = self.slots[0].max(wait);
    }

    fn get(&self) -> u32 {
        self.slots.iter().copied().max().unwrap_or(0)
    }
}

impl Calm {
    fn new(now: Instant) -> Self {
        Self { since: now, shortest: u32::MAX, longest: 0 }
    }

    /// `least`: what the queue may change by at least, in microseconds.
    fn add(&mut self, now: Instant, wait: u32, least: f64) {
        (self.shortest, self.longest) = (self.shortest.min(wait), self.longest.max(wait));
        let most = (f64::from(self.longest) * CALM).max(least);
        if f64::from(self.longest - self.shortest) > most {
            *self = Self { since: now, shortest: wait, longest: wait };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    /// One that has seen a packet pass in a millisecond, at a slow rate.
    fn target() -> Target {
        let mut target = Target::new(at(0));
        target.handle_rate(1000.0, 1000.0);
        target
    }

    fn is_near(target: &Target, micros: f64) -> bool {
        (target.micros() - micros).abs() < 1.0
    }

    #[test]
    fn fast_connection_aims_lower() {
        let mut target = target();
        let mut last = f64::INFINITY;
        for rate in [1e3, 1e5, 1e6, 1e7, 1e8, 1e12] {
            target.handle_rate(rate, 1000.0);
            assert!((60_000.0..=100_000.0).contains(&target.micros()), "{rate}");
            assert!(rate < SLOW || target.micros() < last, "{rate}");
            last = target.micros();
        }
    }

    #[test]
    fn overflow_lowers_it_to_a_common_step() {
        for peak in [76_000, 80_000, 90_000] {
            let mut target = target();
            target.handle_wait(at(1), peak);
            target.handle_loss(at(1), peak);
            assert!(is_near(&target, 42_187.5) || peak == 90_000, "{peak}: {}", target.micros());
        }
        // One that has seen less of the queue learns it by what arrives.
        let mut target = target();
        target.handle_wait(at(1), 20_000);
        target.handle_loss(at(1), 20_000);
        assert!(target.micros() < 12_000.0);
        target.handle_wait(at(2), 80_000);
        assert!(is_near(&target, 42_187.5));
    }

    #[test]
    fn other_losses_do_not_lower_it() {
        let mut target = target();
        target.handle_wait(at(1), 95_000);
        for s in 1..200 {
            target.handle_wait(at(s), 50_000);
            target.handle_loss(at(s), 50_000);
        }
        assert!(is_near(&target, 100_000.0));
        // The queue may have become shorter since.
        (200..500).for_each(|s| target.handle_wait(at(s), 50_000));
        target.handle_loss(at(500), 50_000);
        assert!(target.micros() < 30_000.0);
        target.handle_loss(at(501), MIN_OVERFLOW);
        assert!(target.micros() > MIN_TARGET);
    }

    #[test]
    fn it_rises_after_two_minutes_without_a_loss() {
        let mut target = target();
        target.handle_wait(at(1), 80_000);
        target.handle_loss(at(1), 80_000);
        let low = target.micros();
        target.handle_round(at(120));
        assert!(is_near(&target, low));
        target.handle_round(at(121));
        assert!(is_near(&target, low / STEP));
        target.handle_round(at(122));
        assert!(is_near(&target, low / STEP));
        (0..9).for_each(|n| target.handle_round(at(250 + n * 121)));
        assert!(is_near(&target, TARGET));
    }

    #[test]
    fn it_rises_to_a_queue_that_stands_still() {
        let lowered = || {
            let mut target = target();
            target.handle_wait(at(1), 80_000);
            target.handle_loss(at(1), 80_000);
            target
        };
        let low = lowered().micros();
        let mut target = lowered();
        for (s, wait) in (2..8).zip([70_000, 75_000, 71_000, 72_000, 70_000, 70_000]) {
            target.handle_wait(at(s), wait);
            target.handle_round(at(s));
        }
        assert!(is_near(&target, low / STEP));
        // What moves is a stream that fills the queue until packets are lost.
        let mut target = lowered();
        for s in 2..60 {
            target.handle_wait(at(s), if s % 3 == 0 { 79_000 } else { 50_000 });
            target.handle_round(at(s));
        }
        assert!(is_near(&target, low));
        // One that is as long as the target is ours.
        let mut target = lowered();
        for s in 2..60 {
            target.handle_wait(at(s), low as u32);
            target.handle_round(at(s));
        }
        assert!(is_near(&target, low));
    }

    #[test]
    fn what_is_known_of_the_queue_moves_with_its_base() {
        let mut target = target();
        target.handle_wait(at(1), 20_000);
        target.handle_loss(at(1), 20_000);
        target.handle_lower_base(60_000);
        assert!(is_near(&target, 42_187.5));
        target.handle_wait(at(2), 30_000);
        target.handle_loss(at(2), 30_000);
        assert!(is_near(&target, 42_187.5));
    }
}
