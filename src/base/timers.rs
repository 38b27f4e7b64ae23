//! Deadlines: a small table per owner, and a lazy heap of owners for whoever holds many of them.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::time::Instant;

/// One optional deadline per kind of timer. Firing a timer that is not due is a no-op, so wake-ups may be spurious.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TimerTable<const N: usize> {
    at: [Option<Instant>; N],
}

impl<const N: usize> TimerTable<N> {
    pub(crate) const fn new() -> Self {
        Self { at: [None; N] }
    }

    pub(crate) fn set(&mut self, timer: usize, at: Instant) {
        if let Some(slot) = self.at.get_mut(timer) {
            *slot = Some(at);
        }
    }

    pub(crate) fn stop(&mut self, timer: usize) {
        if let Some(slot) = self.at.get_mut(timer) {
            *slot = None;
        }
    }

    pub(crate) fn get(&self, timer: usize) -> Option<Instant> {
        self.at.get(timer).copied().flatten()
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
        self.at.iter().flatten().min().copied()
    }
}

/// Wake-ups for many owners, soonest first. Old entries are left in and turn into spurious wake-ups, which are harmless.
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

    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<K> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, owner))| owner)
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
    fn deadlines_come_in_order_of_time_then_key() {
        let mut d = Deadlines::new();
        let t = Instant::from_micros;
        for (at, k) in [(5, 'b'), (5, 'a'), (1, 'c')] {
            d.push(t(at), k);
        }
        assert_eq!(d.pop_due(t(0)), None);
        assert_eq!([d.pop_due(t(5)), d.pop_due(t(5)), d.pop_due(t(5)), d.pop_due(t(5))], [Some('c'), Some('a'), Some('b'), None]);
        assert_eq!(d.next(), None);
    }
}
