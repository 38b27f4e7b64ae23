//! How connections with a candidate begin, in plain or encrypted: learned from what its last
//! connection was, or told by others. It knows no candidate.

use crate::conf::Encryption;

/// How a connection begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Opening {
    /// With the handshake (BEP 3).
    Plain,
    /// With an encrypted handshake (MSE).
    Encrypted,
}

impl Opening {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Plain => Self::Encrypted,
            Self::Encrypted => Self::Plain,
        }
    }
}

/// What is known of one candidate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Openings {
    /// What the user has said of it.
    own: Option<Encryption>,
    known: Option<Opening>,
    /// Since it was connected last, both were tried at once, in vain.
    neither: bool,
    /// The other has failed, and there was no room to try this one at once.
    owed: Option<Opening>,
}

impl Openings {
    /// How the next connection begins. Where both have failed before they take turns, so that none
    /// of them fails for ever.
    pub(super) fn next(self, policy: Encryption, failures: u32) -> Opening {
        let first = match policy.of_part(self.own) {
            Encryption::Off => return Opening::Plain,
            Encryption::Required => return Opening::Encrypted,
            Encryption::Allowed => self.known.unwrap_or(Opening::Plain),
            Encryption::Preferred => self.known.unwrap_or(Opening::Encrypted),
        };
        match self.owed {
            Some(owed) => owed,
            None if self.neither && failures % 2 == 1 => first.other(),
            None => first,
        }
    }

    /// Whether the other way may be tried at once if one has failed.
    pub(super) fn has_other(self, policy: Encryption) -> bool {
        let policy = policy.of_part(self.own);
        policy.may_encrypt() && policy.may_be_plain() && !self.neither
    }

    /// A connection that began so was greeted.
    pub(super) fn handle_opened(&mut self, opening: Opening) {
        *self = Self { known: Some(opening), neither: false, owed: None, own: self.own };
    }

    pub(super) fn set_policy(&mut self, own: Option<Encryption>) {
        self.own = own;
    }

    /// Another peer says that it prefers encryption.
    pub(super) fn handle_told(&mut self) {
        self.known.get_or_insert(Opening::Encrypted);
    }

    /// One has failed, and the other, which may be what the peer demands, must wait for the next
    /// dial.
    pub(super) fn handle_put_off(&mut self, other: Opening) {
        self.owed = Some(other);
    }

    /// Both have failed.
    pub(super) fn handle_both_failed(&mut self) {
        (self.neither, self.owed) = (true, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Encryption; 4] =
        [Encryption::Off, Encryption::Allowed, Encryption::Preferred, Encryption::Required];

    #[test]
    fn first_opening_follows_the_policy_then_what_was_learned() {
        let nexts = |openings: Openings| ALL.map(|policy| openings.next(policy, 0));
        use Opening::{Encrypted, Plain};
        let mut openings = Openings::default();
        assert_eq!(nexts(openings), [Plain, Plain, Encrypted, Encrypted]);
        openings.handle_told();
        assert_eq!(nexts(openings), [Plain, Encrypted, Encrypted, Encrypted]);
        openings.handle_opened(Plain);
        assert_eq!(nexts(openings), [Plain, Plain, Plain, Encrypted]);
        // What others say counts less than what was.
        openings.handle_told();
        assert_eq!(nexts(openings), [Plain, Plain, Plain, Encrypted]);
        openings.handle_opened(Encrypted);
        assert_eq!(nexts(openings), [Plain, Encrypted, Encrypted, Encrypted]);
    }

    #[test]
    fn policy_of_a_peer_replaces_all_but_off_and_required() {
        let mut openings = Openings::default();
        openings.set_policy(Some(Encryption::Required));
        use Opening::{Encrypted, Plain};
        let nexts = |openings: Openings| ALL.map(|policy| openings.next(policy, 0));
        assert_eq!(nexts(openings), [Plain, Encrypted, Encrypted, Encrypted]);
        assert_eq!(ALL.map(|policy| openings.has_other(policy)), [false; 4]);
        openings.handle_opened(Encrypted);
        openings.set_policy(Some(Encryption::Off));
        assert_eq!(nexts(openings), [Plain, Plain, Plain, Encrypted]);
        openings.set_policy(None);
        assert_eq!(nexts(openings), [Plain, Encrypted, Encrypted, Encrypted]);
    }

    #[test]
    fn opening_that_was_put_off_comes_first_next_time() {
        let mut openings = Openings::default();
        let next = |openings: Openings| openings.next(Encryption::Allowed, 1);
        for other in [Opening::Encrypted, Opening::Plain, Opening::Encrypted] {
            openings.handle_put_off(other);
            assert_eq!(next(openings), other);
        }
        // What the policy forbids is not owed.
        assert_eq!(openings.next(Encryption::Off, 1), Opening::Plain);
        openings.handle_opened(Opening::Plain);
        assert_eq!(next(openings), Opening::Plain);
        openings.handle_put_off(Opening::Encrypted);
        openings.handle_both_failed();
        assert_eq!(openings.next(Encryption::Allowed, 2), Opening::Plain);
    }

    #[test]
    fn other_opening_is_tried_once_then_both_take_turns() {
        let mut openings = Openings::default();
        assert_eq!(ALL.map(|policy| openings.has_other(policy)), [false, true, true, false]);
        openings.handle_both_failed();
        assert_eq!(ALL.map(|policy| openings.has_other(policy)), [false; 4]);
        let next = |failures| openings.next(Encryption::Allowed, failures);
        assert_eq!([1, 2, 3].map(next), [Opening::Encrypted, Opening::Plain, Opening::Encrypted]);
        openings.handle_opened(Opening::Plain);
        assert!(openings.has_other(Encryption::Allowed));
    }
}
