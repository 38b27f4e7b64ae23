//! How long packets wait on their way: the one-way delay less the shortest of the last minutes
//! (RFC 6817, BEP 29). The clocks of both ends differ by any amount, so a delay means something
//! only beside another, and all arithmetic wraps.

use std::time::Duration;

use super::number::is_before;
use crate::base::time::Instant;

/// The base is the shortest delay of so many slots, the current one included.
const SLOTS: usize = 13;
const SLOT: Duration = Duration::from_secs(60);
/// Samples in a row that cannot be true before they are believed: a clock was set.
const MAX_IMPLAUSIBLE: u8 = 4;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct BaseDelay {
    /// The shortest delay of each minute, the current one first.
    slots: [u32; SLOTS],
    /// Slots that are in use.
    used: usize,
    began: Instant,
    /// The shortest of them all.
    base: u32,
    implausible: u8,
}

impl BaseDelay {
    /// The next one-way delay, in microseconds. Returns how much longer it is than the base;
    /// `None` if it differs from that by more than `most`, the longest that a packet can have
    /// waited, and is left out.
    pub(super) fn handle_sample(&mut self, now: Instant, delay: u32, most: u32) -> Option<u32> {
        let above = delay.wrapping_sub(self.base).cast_signed();
        if self.used > 0 && above.unsigned_abs() > most {
            self.implausible += 1;
            if self.implausible < MAX_IMPLAUSIBLE {
                return None;
            }
            self.used = 0;
        }
        self.implausible = 0;
        if self.used == 0 {
            (self.slots, self.used, self.began, self.base) = ([delay; SLOTS], 1, now, delay);
            return Some(0);
        }
        while now.since(self.began) >= SLOT {
            if now.since(self.began) >= SLOT * SLOTS as u32 {
                // Nothing came for long.
                self.began = now;
                self.used = 0;
            } else {
                self.began = self.began + SLOT;
            }
            self.slots.copy_within(0..SLOTS - 1, 1);
            self.used = (self.used + 1).min(SLOTS);
            if let Some(first) = self.slots.first_mut() {
                *first = delay;
            }
        }
        if let Some(first) = self.slots.first_mut()
            && is_before(delay, *first)
        {
            *first = delay;
        }
        self.find_base();
        Some(delay.wrapping_sub(self.base))
    }

    fn find_base(&mut self) {
        let used = self.slots.iter().copied().take(self.used);
        if let Some(base) = used.reduce(|a, b| if is_before(b, a) { b } else { a }) {
            self.base = base;
        }
    }

    /// The shortest delay, if there is one.
    pub(super) fn base(&self) -> Option<u32> {
        (self.used > 0).then_some(self.base)
    }

    /// The clocks drift: all delays known are longer by so much.
    pub(super) fn shift(&mut self, by: u32) {
        self.slots.iter_mut().for_each(|slot| *slot = slot.wrapping_add(by));
        self.base = self.base.wrapping_add(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 1_000_000;

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    #[test]
    fn queue_is_what_is_above_the_shortest_across_the_wrap() {
        let mut base = BaseDelay::default();
        let first = u32::MAX - 100;
        assert_eq!(base.handle_sample(at(0), first, MOST), Some(0));
        assert_eq!(base.handle_sample(at(1), 99, MOST), Some(200));
        assert_eq!(base.handle_sample(at(1), first - 50, MOST), Some(0));
        assert_eq!(base.handle_sample(at(2), 99, MOST), Some(250));
    }

    #[test]
    fn base_is_forgotten_after_thirteen_minutes() {
        let mut base = BaseDelay::default();
        assert_eq!(base.handle_sample(at(0), 1000, MOST), Some(0));
        for s in 1..13 * 60 {
            assert_eq!(base.handle_sample(at(s), 3000, MOST), Some(2000), "{s}");
        }
        assert_eq!(base.handle_sample(at(13 * 60), 3000, MOST), Some(0));
        // After a long silence nothing old is left.
        assert_eq!(base.handle_sample(at(100 * 60), 9000, MOST), Some(0));
    }

    #[test]
    fn wild_sample_is_left_out_and_a_set_clock_believed() {
        let mut base = BaseDelay::default();
        assert_eq!(base.handle_sample(at(0), 1000, MOST), Some(0));
        for wild in [1000u32.wrapping_add(1 << 31), 1000u32.wrapping_sub((1 << 31) - 1), 5_000_000]
        {
            assert_eq!(base.handle_sample(at(1), wild, MOST), None);
            assert_eq!(base.handle_sample(at(1), 1200, MOST), Some(200));
        }
        let set = 3_000_000_000;
        let seen: Vec<_> = (0..4).map(|_| base.handle_sample(at(2), set, MOST)).collect();
        assert_eq!(seen, [None, None, None, Some(0)]);
        assert_eq!(base.handle_sample(at(2), set + 7, MOST), Some(7));
    }

    #[test]
    fn drift_shifts_the_base() {
        let mut base = BaseDelay::default();
        assert_eq!(base.base(), None);
        assert_eq!(base.handle_sample(at(0), u32::MAX, MOST), Some(0));
        base.shift(3);
        assert_eq!(base.base(), Some(2));
        assert_eq!(base.handle_sample(at(0), 12, MOST), Some(10));
    }
}
