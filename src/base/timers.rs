//! Deadlines: a small table per owner, and a lazy heap of owners for code that holds many.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::time::Instant;

/// One optional deadline per kind of timer. Firing a timer that is not due is a no-op, so wake-ups
/// may be spurious.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerTable<const N: usize> {
    at: [Instant; N],
}

/// No deadline: the end of time. There are many tables, so it takes no room of its own.
const NEVER: Instant = Instant::from_micros(u64::MAX);

fn known(at: Instant) -> Option<Instant> {
    (at != NEVER).then_some(at)
}

impl<const N: usize> TimerTable<N> {
    pub(crate) const fn new() -> Self {
        Self { at: [NEVER; N] }
    }

    pub(crate) fn set(&mut self, timer: usize, at: Instant) {
        if let Some(slot) = self.at.get_mut(timer) {
            *slot = at;
        }
    }

    pub(crate) fn stop(&mut self, timer: usize) {
        self.set(timer, NEVER);
    }

    pub(crate) fn get(&self, timer: usize) -> Option<Instant> {
        self.at.get(timer).copied().and_then(known)
    }

    /// Whether `timer` is due; if so it is stopped.
    pub(crate) fn fire(&mut self, timer: usize, now: Instant) -> bool {
        let due = self.get(timer).is_some_and(|at| at <= now);
        if due {
            self.stop(timer);
        }
        due
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.at.iter().min().copied().and_then(known)
    }
}

/// Which of an owner's entries in [`Deadlines`] count: the soonest, and one behind it that need not
/// be pushed again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wakeup {
    soonest: Instant,
    later: Instant,
}

impl Default for Wakeup {
    fn default() -> Self {
        Self { soonest: NEVER, later: NEVER }
    }
}

impl Wakeup {
    /// The owner must be woken at `at`, or earlier; true if an entry must be pushed for that.
    #[must_use]
    pub(crate) fn want(&mut self, at: Instant) -> bool {
        let news = at < self.soonest;
        if news {
            if self.soonest != NEVER {
                self.later = self.soonest;
            }
            self.soonest = at;
        }
        news
    }

    /// Whether the owner is woken at `at` or earlier without a new entry.
    pub(crate) fn covers(&self, at: Instant) -> bool {
        self.soonest <= at
    }

    /// An entry for `at` came up; false if it is an old one that its owner does not wait for.
    #[must_use]
    pub(crate) fn fire(&mut self, at: Instant) -> bool {
        let mine = self.soonest == at && at != NEVER;
        if mine {
            self.soonest = std::mem::replace(&mut self.later, NEVER);
        }
        mine
    }
}

/// Wake-ups for many owners, soonest first. Old entries are left in and turn into spurious
/// wake-ups, which are harmless.
#[derive(Debug)]
pub(crate) struct Deadlines<K> {
    heap: BinaryHeap<Reverse<(Instant, K)>>,
}

impl<K: Ord + Copy> Deadlines<K> {
    pub(crate) fn new() -> Self {
        Self { heap: BinaryHeap::new() }
    }

    pub(crate) fn push(&mut self, at: Instant, owner: K) {
        self.heap.push(Reverse((at, owner)));
    }

    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// The next due wake-up and whose it is. An owner that was to be woken at another time ignores
    /// it: or each would beget another.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<(Instant, K)> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spurious_time_out_is_a_no_op() {
        let mut t = TimerTable::<2>::new();
        let (a, b) = (Instant::from_micros(10), Instant::from_micros(20));
        t.set(0, b);
        t.set(1, a);
        assert_eq!(t.next(), Some(a));
        assert!(!t.fire(0, a));
        assert!(t.fire(1, a));
        assert!(!t.fire(1, a));
        assert_eq!(t.next(), Some(b));
        t.stop(0);
        assert_eq!(t.next(), None);
    }

    #[test]
    fn near_deadline_is_pushed_once_each_time_it_is_set() {
        let at = |ms: u64| Instant::from_micros(ms * 1000);
        let (mut heap, mut wakeup) = (Deadlines::new(), Wakeup::default());
        let mut pushed = 0;
        for ms in (0..10_000).step_by(100) {
            // A far deadline that keeps moving away, and a near one that is set anew whenever it
            // has fired.
            for deadline in [at(ms + 140_000), at(ms + 100)] {
                if wakeup.want(deadline) {
                    heap.push(deadline, ());
                    pushed += 1;
                }
            }
            while let Some((when, ())) = heap.pop_due(at(ms + 100)) {
                assert!(wakeup.fire(when));
            }
            assert!(heap.heap.len() <= 1);
        }
        assert_eq!(pushed, 101);
        assert!(!wakeup.fire(at(5)), "no timer waits for that");
    }

    #[test]
    fn deadlines_come_in_order_of_time_then_key() {
        let mut d = Deadlines::new();
        let t = Instant::from_micros;
        for (at, k) in [(5, 'b'), (5, 'a'), (1, 'c')] {
            d.push(t(at), k);
        }
        assert_eq!(d.pop_due(t(0)), None);
        let popped = [d.pop_due(t(5)), d.pop_due(t(5)), d.pop_due(t(5)), d.pop_due(t(5))];
        assert_eq!(popped, [Some((t(1), 'c')), Some((t(5), 'a')), Some((t(5), 'b')), None]);
        assert_eq!(d.next(), None);
    }
}
