//! Whose storage is opened and checked, a few at a time: those first who are to run, in the order
//! of the queue.
//!
//! It knows keys and turns; what opening is, the torrents know.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    base::arena::Key,
    torrent::queue_request::{Check, OpeningTurn},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Checks {
    due: BTreeSet<(OpeningTurn, u64, Key)>,
    /// Under what each is in `due`.
    places: BTreeMap<Key, (OpeningTurn, u64)>,
    going: BTreeSet<Key>,
    next: u64,
}

impl Checks {
    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.due.len()
    }

    /// How a torrent stands; `ord`: in the order of the queue, if that decides.
    pub(super) fn handle_check(&mut self, key: Key, check: Check, ord: Option<u64>) {
        if let Some((turn, ord)) = self.places.remove(&key) {
            self.due.remove(&(turn, ord, key));
        }
        match check {
            Check::No => _ = self.going.remove(&key),
            Check::Going => _ = self.going.insert(key),
            Check::Due(turn) => {
                self.going.remove(&key);
                self.next += 1;
                let ord = ord.filter(|_| turn == OpeningTurn::Queued).unwrap_or(self.next);
                self.due.insert((turn, ord, key));
                self.places.insert(key, (turn, ord));
            }
        }
    }

    /// The torrent is gone.
    pub(super) fn remove(&mut self, key: Key) {
        self.handle_check(key, Check::No, None);
    }

    /// The next torrent to open, if fewer than `limit` are at it.
    #[must_use]
    pub(super) fn poll(&mut self, limit: usize) -> Option<Key> {
        if self.going.len() >= limit {
            return None;
        }
        let (_, _, key) = self.due.pop_first()?;
        self.places.remove(&key);
        self.going.insert(key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_run_a_few_at_a_time_running_torrents_first() {
        let key = |n| Key { index: n, generation: n };
        let mut checks = Checks::default();
        for (n, turn) in [
            (0, OpeningTurn::Paused),
            (1, OpeningTurn::Queued),
            (2, OpeningTurn::Now),
            (3, OpeningTurn::Queued),
            (4, OpeningTurn::Now),
        ] {
            checks.handle_check(key(n), Check::Due(turn), Some(100 - u64::from(n)));
        }
        let next = |checks: &mut Checks| checks.poll(2).map(|key| key.index);
        assert_eq!(
            (next(&mut checks), next(&mut checks), next(&mut checks)),
            (Some(2), Some(4), None)
        );
        checks.handle_check(key(4), Check::Going, None);
        assert_eq!(next(&mut checks), None);
        checks.handle_check(key(4), Check::No, None);
        assert_eq!(next(&mut checks), Some(3), "the first in the queue");
        checks.remove(key(2));
        // It was not the one it waited for.
        checks.remove(key(1));
        assert_eq!((next(&mut checks), checks.waiting()), (Some(0), 0));
    }
}
