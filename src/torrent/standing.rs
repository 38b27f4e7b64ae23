//! How one peer stands with the choker: whether it wants a slot, how it holds one, since when, and
//! what it took.
//!
//! It changes only as [`slots`](super::slots) says, and knows neither the other peers nor whether
//! this one is choked.

use std::{net::IpAddr, time::Duration};

use crate::base::{arena::Key, ip_filter::host_of, time::Instant};

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// Its key in the torrent.
    key: Key,
    host: IpAddr,
    /// It is counted among those that want a slot.
    wants: bool,
    /// It was unchoked without having earned it.
    optimistic: bool,
    /// It was never unchoked.
    newcomer: bool,
    /// Since when it is unchoked, or since when it waits.
    since: Instant,
    /// Bytes sent to it before it was unchoked.
    sent_before: u64,
    /// When it took bytes of blocks last.
    took: Instant,
}

impl Standing {
    /// Of a peer that its torrent knows by `key`.
    pub(crate) fn new(now: Instant, ip: IpAddr, key: Key) -> Self {
        Self {
            key,
            host: host_of(ip),
            wants: false,
            optimistic: false,
            newcomer: true,
            since: now,
            sent_before: 0,
            took: now,
        }
    }

    /// Its key in the torrent.
    pub(crate) fn key(&self) -> Key {
        self.key
    }

    /// Its IPv4 address or IPv6 /64.
    pub(crate) fn host(&self) -> IpAddr {
        self.host
    }

    /// Whether it is counted among those that want a slot.
    pub(crate) fn wants(&self) -> bool {
        self.wants
    }

    /// Whether it was unchoked without having earned it.
    pub(crate) fn is_optimistic(&self) -> bool {
        self.optimistic
    }

    /// Whether it was never unchoked.
    pub(crate) fn is_newcomer(&self) -> bool {
        self.newcomer
    }

    /// Since when it is unchoked, or since when it waits.
    pub(crate) fn since(&self) -> Instant {
        self.since
    }

    /// Bytes sent to it since it is unchoked, of so many in all.
    pub(crate) fn sent_of(&self, sent: u64) -> u64 {
        sent.saturating_sub(self.sent_before)
    }

    /// For how long it has taken nothing; `turn`: of its turn only.
    pub(crate) fn took_nothing_for(&self, now: Instant, turn: bool) -> Duration {
        now.since(if turn { self.took.max(self.since) } else { self.took })
    }

    /// It took bytes of blocks.
    pub(crate) fn note_taken(&mut self, now: Instant) {
        self.took = now;
    }

    /// It wants a slot, or no longer.
    pub(super) fn set_wants(&mut self, wants: bool) {
        self.wants = wants;
    }

    /// It waits from now on.
    pub(super) fn begin_to_wait(&mut self, now: Instant) {
        self.since = now;
    }

    pub(super) fn set_optimistic(&mut self, optimistic: bool) {
        self.optimistic = optimistic;
    }

    /// It is unchoked, after so many bytes that were sent to it.
    pub(super) fn handle_unchoke(&mut self, now: Instant, sent: u64) {
        self.since = now;
        self.newcomer = false;
        self.sent_before = sent;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turn_counts_bytes_and_silence_from_the_unchoke_on() {
        let at = Instant::from_micros;
        let key = Key { index: 1, generation: 1 };
        let mut standing = Standing::new(at(10), [10, 0, 0, 1].into(), key);
        assert!(standing.is_newcomer() && !standing.wants());
        standing.note_taken(at(20));
        standing.handle_unchoke(at(30), 500);
        assert!(!standing.is_newcomer() && standing.since() == at(30));
        assert_eq!((standing.sent_of(700), standing.sent_of(400)), (200, 0));
        let micros = Duration::from_micros;
        assert_eq!(standing.took_nothing_for(at(50), false), micros(30));
        assert_eq!(standing.took_nothing_for(at(50), true), micros(20));
        standing.begin_to_wait(at(60));
        assert_eq!((standing.since(), standing.sent_of(700)), (at(60), 200));
    }
}
