//! Hole punching (BEP 55): which rendezvous are asked for, and which peers are dialled because a
//! relay says so. All of it is bounded, since a relay can name any address. It knows no connection.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    base::time::Instant,
    proto::http::guard::{Reach, reach},
};

/// For so long the answer to a rendezvous is expected.
const ANSWER: Duration = Duration::from_secs(30);
/// A peer is not asked for again before.
const AGAIN: Duration = Duration::from_secs(10 * 60);
/// Peers that were asked for and are remembered; no more are asked for until the oldest is
/// forgotten.
const MAX_ASKED: usize = 64;

/// So many a minute, which begins with the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct MinuteQuota {
    began: Option<Instant>,
    used: usize,
}

impl MinuteQuota {
    /// Takes one, if fewer than `most` were taken in this minute.
    pub(crate) fn take(&mut self, now: Instant, most: usize) -> bool {
        if self.began.is_none_or(|began| began + Duration::from_secs(60) <= now) {
            *self = Self { began: Some(now), used: 0 };
        }
        let may = self.used < most;
        self.used += usize::from(may);
        may
    }
}

/// What one torrent has asked relays for, and does for them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Punches {
    /// When each peer was asked for, and whether a relay has agreed since.
    asked: BTreeMap<SocketAddr, (Instant, bool)>,
    asking: MinuteQuota,
    dialling: MinuteQuota,
}

impl Punches {
    /// Whether to ask for a rendezvous with the peer at `addr`, which could not be dialled; `most`
    /// a minute, and each peer once in ten minutes.
    pub(crate) fn ask(&mut self, now: Instant, addr: SocketAddr, most: usize) -> bool {
        self.asked.retain(|_, (at, _)| now < *at + AGAIN);
        let may = !self.asked.contains_key(&addr)
            && self.asked.len() < MAX_ASKED
            && self.asking.take(now, most);
        if may {
            self.asked.insert(addr, (now, false));
        }
        may
    }

    /// Whether to dial `addr`, as a relay at `relay` says: once for each rendezvous that was asked
    /// for, and `most` a minute for those of others.
    pub(crate) fn dial(
        &mut self,
        now: Instant,
        relay: IpAddr,
        addr: SocketAddr,
        most: usize,
    ) -> bool {
        if !may_name(relay, addr) {
            return false;
        }
        match self.asked.get_mut(&addr) {
            Some((at, agreed)) if now < *at + ANSWER => !std::mem::replace(agreed, true),
            _ => self.dialling.take(now, most),
        }
    }
}

/// Whether a peer at `relay` may know `addr` and make others dial it: what is near is known to
/// those alone that are as near.
pub(crate) fn may_name(relay: IpAddr, addr: SocketAddr) -> bool {
    let from = reach(relay).unwrap_or(Reach::Internet);
    addr.port() != 0 && reach(addr.ip()).is_some_and(|to| to == Reach::Internet || to <= from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::from_micros(s * 1_000_000)
    }

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], n))
    }

    const RELAY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9));

    #[test]
    fn rendezvous_is_asked_for_once_in_ten_minutes() {
        let mut punches = Punches::default();
        assert!(punches.ask(at(0), addr(1), 10) && !punches.ask(at(599), addr(1), 10));
        assert!(punches.ask(at(600), addr(1), 10));
    }

    #[test]
    fn rendezvous_asked_for_are_bounded_by_the_minute_and_in_all() {
        let mut punches = Punches::default();
        let mut count = |s: u64, from: u16| {
            (from..from + 50).filter(|&n| punches.ask(at(s), addr(n), 40)).count()
        };
        assert_eq!(count(0, 1), 40);
        assert_eq!(count(60, 100), MAX_ASKED - 40);
        assert_eq!(count(120, 200), 0);
    }

    #[test]
    fn relay_makes_us_dial_once_what_we_asked_for_and_few_others() {
        let mut punches = Punches::default();
        assert!(punches.ask(at(0), addr(1), 10));
        assert!(punches.dial(at(1), RELAY, addr(1), 0) && !punches.dial(at(2), RELAY, addr(1), 0));
        let others = (2..500).filter(|&n| punches.dial(at(3), RELAY, addr(n), 7)).count();
        assert_eq!(others, 7);
        assert!(punches.dial(at(63), RELAY, addr(500), 7));
    }

    #[test]
    fn relay_may_name_no_peer_that_is_nearer_than_itself() {
        let near: IpAddr = [10, 0, 0, 9].into();
        for (relay, text, may) in [
            (RELAY, "192.0.2.7:1", true),
            (RELAY, "10.0.0.1:1", false),
            (RELAY, "127.0.0.1:1", false),
            (near, "10.0.0.1:1", true),
            (near, "192.0.2.7:1", true),
            (near, "127.0.0.1:1", false),
            (RELAY, "192.0.2.7:0", false),
            (RELAY, "224.0.0.1:1", false),
            (RELAY, "0.0.0.0:1", false),
        ] {
            assert_eq!(may_name(relay, text.parse().unwrap()), may, "{relay} {text}");
        }
    }
}
