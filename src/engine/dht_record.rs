//! When the state of the DHT node is recorded in the session folder: soon after the start, since a
//! table fills within seconds, then now and then, and at the end.
//!
//! It knows the state as bytes.

use std::time::Duration;

use crate::base::time::Instant;

/// The time from the start to the first record.
const FIRST: Duration = Duration::from_secs(30);
/// The time between two records.
const INTERVAL: Duration = Duration::from_secs(600);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Recorded {
    /// When the next record is due; `None` without a session folder.
    due: Option<Instant>,
    /// A worker has a record.
    out: bool,
    /// What the last record says, or the one that a worker has.
    last: Vec<u8>,
}

impl Recorded {
    /// There is a session folder.
    pub(super) fn begin(&mut self, now: Instant) {
        self.due = Some(now + FIRST);
    }

    /// The folder has this.
    pub(super) fn note(&mut self, state: Vec<u8>) {
        self.last = state;
    }

    /// Whether a record is due.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// What to record of this state: nothing if it is recorded already, a worker is at it, or it is
    /// to be `later`.
    pub(super) fn next(
        &mut self,
        now: Instant,
        state: Option<Vec<u8>>,
        later: bool,
    ) -> Option<Vec<u8>> {
        let pause = if later { FIRST } else { INTERVAL };
        self.due = self.due.map(|_| now + pause);
        let state = state.filter(|state| !later && !self.out && *state != self.last)?;
        self.out = true;
        self.last.clone_from(&state);
        Some(state)
    }

    /// A record is safe, or could not be written.
    pub(super) fn handle_recorded(&mut self, safe: bool) {
        self.out = false;
        if !safe {
            self.last.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_is_recorded_when_due_and_new_and_again_after_a_failure() {
        let at = |s| Instant::ZERO + Duration::from_secs(s);
        let mut recorded = Recorded::default();
        assert!(!recorded.is_due(at(1000)), "there is no folder");
        recorded.begin(at(0));
        assert!(!recorded.is_due(at(29)) && recorded.is_due(at(30)));
        assert_eq!(recorded.next(at(30), Some(vec![1]), true), None);
        assert_eq!(recorded.next(at(60), Some(vec![1]), false), Some(vec![1]));
        assert!(!recorded.is_due(at(659)) && recorded.is_due(at(660)));
        assert_eq!(recorded.next(at(660), Some(vec![2]), false), None, "a worker has one");
        recorded.handle_recorded(true);
        assert_eq!(recorded.next(at(700), Some(vec![1]), false), None, "it is recorded");
        assert_eq!(recorded.next(at(700), Some(vec![2]), false), Some(vec![2]));
        recorded.handle_recorded(false);
        assert_eq!(recorded.next(at(700), Some(vec![2]), false), Some(vec![2]));
    }
}
