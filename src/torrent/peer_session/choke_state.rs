//! The two bits of state that a connection has at either end (BEP 3): choked or not, interested or
//! not.
//!
//! It does not know why a bit changes.

use crate::base::time::Instant;

/// Whether we want pieces of a peer, as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Interest {
    No,
    Yes,
    /// Yes, and for now that stays so, whatever is known of its pieces.
    Kept,
}

/// A connection begins choked and not interested at both ends.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChokeState {
    /// We want pieces of the peer.
    interest: Interest,
    /// The peer may not ask us.
    choking: bool,
    /// The peer says that it wants pieces of us.
    says_interested: bool,
    /// We may not ask the peer.
    peer_choking: bool,
    /// Since when neither side is interested.
    idle_since: Option<Instant>,
}

impl ChokeState {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            interest: Interest::No,
            choking: true,
            says_interested: false,
            peer_choking: true,
            idle_since: Some(now),
        }
    }

    /// Whether we have told the peer that we are interested.
    pub(super) fn is_interested(&self) -> bool {
        self.interest != Interest::No
    }

    /// Whether we choke the peer.
    pub(super) fn is_choking(&self) -> bool {
        self.choking
    }

    /// What the peer said last of its interest; one that only uploads (BEP 21) may say it all the
    /// same.
    pub(super) fn says_interested(&self) -> bool {
        self.says_interested
    }

    /// Whether the peer chokes us.
    pub(super) fn is_peer_choking(&self) -> bool {
        self.peer_choking
    }

    /// Since when neither side is interested.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.idle_since
    }

    /// The peer was told of our interest before it was known what there is to want: that holds
    /// until [`weigh_interest`](Self::weigh_interest).
    pub(super) fn keep_interest(&mut self) {
        self.interest = Interest::Kept;
    }

    /// What is known of its pieces decides from now on.
    pub(super) fn weigh_interest(&mut self) {
        if self.interest == Interest::Kept {
            self.interest = Interest::Yes;
        }
    }

    /// True if that is news.
    pub(super) fn set_interested(&mut self, interested: bool) -> bool {
        let to = match (self.interest, interested) {
            (Interest::Kept, _) => Interest::Kept,
            (_, true) => Interest::Yes,
            (_, false) => Interest::No,
        };
        std::mem::replace(&mut self.interest, to) != to
    }

    /// True if that is news.
    pub(super) fn set_choking(&mut self, choking: bool) -> bool {
        std::mem::replace(&mut self.choking, choking) != choking
    }

    pub(super) fn set_says_interested(&mut self, interested: bool) {
        self.says_interested = interested;
    }

    pub(super) fn set_peer_choking(&mut self, choking: bool) {
        self.peer_choking = choking;
    }

    /// Either side's interest may have changed; `peer_interested` is what counts of the peer's.
    pub(super) fn note_interest(&mut self, peer_interested: bool, now: Instant) {
        if self.is_interested() || peer_interested {
            self.idle_since = None;
        } else {
            self.idle_since.get_or_insert(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_time_begins_when_the_last_interest_ends() {
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let mut state = ChokeState::new(at(1));
        assert_eq!(state.idle_since(), Some(at(1)));
        assert!(state.set_interested(true) && !state.set_interested(true));
        state.note_interest(false, at(2));
        assert_eq!(state.idle_since(), None);
        state.set_interested(false);
        state.note_interest(true, at(3));
        assert_eq!(state.idle_since(), None, "the peer wants something");
        state.note_interest(false, at(4));
        state.note_interest(false, at(5));
        assert_eq!(state.idle_since(), Some(at(4)));
    }
}
