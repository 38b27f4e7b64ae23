//! What is read from a peer although a limit on what comes is used up: requests, haves, chokes, as
//! long as no block is on order with it. Otherwise a download limit would throttle what we serve.
//!
//! It counts against the limit all the same, so it is bounded: by what a peer has reason to say,
//! and that follows from what it is sent. It knows bytes, times and keys, and no message.

use std::collections::BTreeMap;

use crate::base::{arena::Key, time::Instant};

/// Bytes that a peer may say to begin with: a bitfield and two hundred requests.
const FIRST: u64 = 4 * 1024;
/// Bytes a second that it may say in any case: haves, keep-alives, changes of interest. Less than
/// this is saved up than [`FIRST`].
const A_SECOND: u64 = 256;
/// For so many bytes that it is sent it may say one. A request of 17 bytes is answered by 16 KiB,
/// so this is fifteen times what it needs.
const SENT_FOR_ONE: u64 = 64;
/// Bytes that are saved up at most.
const MOST: u64 = 64 * 1024;

/// See the module. Connections are known from their first question on.
#[derive(Debug, Default)]
pub(super) struct Hearing {
    connections: BTreeMap<Key, Allowance>,
}

#[derive(Clone, Copy, Debug)]
struct Allowance {
    /// In millionths of a byte.
    level: u64,
    at: Instant,
}

const BYTE: u64 = 1_000_000;

impl Allowance {
    fn refill(&mut self, now: Instant) {
        let gained = now.since(self.at).as_micros().min(u128::from(MOST * BYTE)) as u64 * A_SECOND;
        if self.level < FIRST * BYTE {
            self.level = self.level.saturating_add(gained).min(FIRST * BYTE);
        }
        self.at = now;
    }
}

impl Hearing {
    fn of(&mut self, now: Instant, connection: Key) -> &mut Allowance {
        let allowance = self
            .connections
            .entry(connection)
            .or_insert(Allowance { level: FIRST * BYTE, at: now });
        allowance.refill(now);
        allowance
    }

    /// Bytes that may be read of `connection` now, whatever the limits say.
    pub(super) fn quota(&mut self, now: Instant, connection: Key) -> usize {
        usize::try_from(self.of(now, connection).level / BYTE).unwrap_or(usize::MAX)
    }

    /// So many were read.
    pub(super) fn spend(&mut self, now: Instant, connection: Key, bytes: usize) {
        let allowance = self.of(now, connection);
        allowance.level = allowance.level.saturating_sub((bytes as u64).saturating_mul(BYTE));
    }

    /// So many bytes were sent to it.
    pub(super) fn handle_sent(&mut self, now: Instant, connection: Key, bytes: usize) {
        let allowance = self.of(now, connection);
        let more = (bytes as u64).saturating_mul(BYTE / SENT_FOR_ONE);
        allowance.level =
            allowance.level.saturating_add(more).min(MOST * BYTE).max(allowance.level);
    }

    /// A connection is over.
    pub(super) fn forget(&mut self, connection: Key) {
        self.connections.remove(&connection);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: u32) -> Key {
        Key { index, generation: 1 }
    }

    #[test]
    fn peer_that_only_talks_is_heard_at_a_bounded_rate() {
        let mut hearing = Hearing::default();
        let (mut heard, mut now) = (0, Instant::ZERO);
        for ms in 0..100_000 {
            now = Instant::from_micros(ms * 1000);
            let quota = hearing.quota(now, key(1));
            hearing.spend(now, key(1), quota);
            heard += quota as u64;
        }
        assert_eq!(heard, FIRST + 100 * A_SECOND - 1);
        hearing.handle_sent(now, key(1), 1 << 20);
        assert_eq!(hearing.quota(now, key(1)), 16 * 1024);
        assert_eq!(hearing.quota(now, key(2)), FIRST as usize, "another has its own");
        hearing.forget(key(1));
        hearing.forget(key(2));
        assert!(hearing.connections.is_empty());
    }

    #[test]
    fn peer_that_is_served_is_heard_as_much_as_its_requests_take() {
        let mut hearing = Hearing::default();
        for n in 0..100_000 {
            let now = Instant::from_micros(n);
            assert!(hearing.quota(now, key(1)) >= 17);
            hearing.spend(now, key(1), 17);
            hearing.handle_sent(now, key(1), 16 * 1024 + 13);
        }
        assert!(hearing.quota(Instant::from_micros(100_000), key(1)) <= MOST as usize);
    }
}
