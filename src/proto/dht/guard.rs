//! What keeps others from using up our time and line: hosts that flood are ignored, and answers
//! have a quota of bytes.

use std::{net::SocketAddr, time::Duration};

use super::subnet::{Subnet, subnet};
use crate::{base::time::Instant, conf::DhtConf};

/// See the module.
#[derive(Debug)]
pub(super) struct Guard {
    talkers: Vec<Talker>,
    /// Bytes of answers that may be sent, in millionths.
    level: u64,
    /// When `level` was right.
    at: Instant,
}

/// A host that talked to us lately.
#[derive(Debug)]
struct Talker {
    host: Subnet,
    /// Packets since `since`.
    packets: u32,
    since: Instant,
    last: Instant,
    /// When it flooded last.
    flooded: Option<Instant>,
}

impl Talker {
    /// Whether it is ignored: it flooded no longer than `block` ago. A node that is not answered
    /// asks again and again, so it need not be silent meanwhile.
    fn is_blocked(&self, now: Instant, block: Duration) -> bool {
        self.flooded.is_some_and(|at| now.since(at) < block)
    }
}

impl Guard {
    pub(super) fn new(now: Instant, conf: &DhtConf) -> Self {
        Self { talkers: Vec::new(), level: conf.answer_burst.saturating_mul(1_000_000), at: now }
    }

    /// Counts a packet; false if its host floods and the packet is to be ignored.
    pub(super) fn admits(&mut self, now: Instant, from: SocketAddr, conf: &DhtConf) -> bool {
        let host = subnet(from);
        let at = self.talkers.iter().position(|talker| talker.host == host);
        let Some(talker) = at.and_then(|at| self.talkers.get_mut(at)) else {
            self.watch(Talker { host, packets: 1, since: now, last: now, flooded: None }, conf);
            return true;
        };
        talker.last = now;
        if now.since(talker.since) >= conf.flood_window {
            (talker.packets, talker.since) = (0, now);
        }
        talker.packets = talker.packets.saturating_add(1);
        if talker.packets > conf.flood_packets {
            talker.flooded = Some(now);
        }
        !talker.is_blocked(now, conf.flood_block)
    }

    /// A packet that was counted was the answer to a query of ours, and is no part of a flood.
    pub(super) fn forgive(&mut self, from: SocketAddr) {
        let host = subnet(from);
        if let Some(talker) = self.talkers.iter_mut().find(|talker| talker.host == host) {
            talker.packets = talker.packets.saturating_sub(1);
        }
    }

    /// Takes a free slot, or that of the host that has been silent longest; one that is blocked
    /// only if all are.
    fn watch(&mut self, watched: Talker, conf: &DhtConf) {
        if self.talkers.len() < conf.flood_hosts {
            return self.talkers.push(watched);
        }
        let worth =
            |talker: &&mut Talker| (talker.is_blocked(watched.last, conf.flood_block), talker.last);
        let oldest = self.talkers.iter_mut().min_by_key(worth);
        if let Some(slot) = oldest {
            *slot = watched;
        }
    }

    /// Whether an answer of so many bytes may be sent now; if so it counts.
    pub(super) fn may_answer(&mut self, now: Instant, bytes: usize, conf: &DhtConf) -> bool {
        let micros = u64::try_from(now.since(self.at).as_micros()).unwrap_or(u64::MAX);
        self.at = now;
        let most = conf.answer_burst.saturating_mul(1_000_000);
        self.level = self.level.saturating_add(micros.saturating_mul(conf.answer_rate)).min(most);
        match self.level.checked_sub((bytes as u64).saturating_mul(1_000_000)) {
            Some(left) => {
                self.level = left;
                true
            }
            None => false,
        }
    }

    /// Hosts that are ignored now.
    pub(super) fn blocked(&self, now: Instant, block: Duration) -> usize {
        self.talkers.iter().filter(|talker| talker.is_blocked(now, block)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    #[test]
    fn flooding_host_is_ignored_until_it_was_calm() {
        let conf = DhtConf::default();
        let mut guard = Guard::new(at(0), &conf);
        let (loud, calm) = ("192.0.2.1:1".parse().unwrap(), "198.51.100.1:1".parse().unwrap());
        assert!((0..50).all(|n| guard.admits(at(n), loud, &conf)));
        assert!(!guard.admits(at(51), loud, &conf));
        assert!(guard.admits(at(52), calm, &conf));
        // Its going on keeps it out.
        assert!((0..60).all(|n| !guard.admits(at(200_000 + n), loud, &conf)));
        assert!(!guard.admits(at(301_000), loud, &conf));
        assert_eq!(guard.blocked(at(301_000), conf.flood_block), 1);
        // A query every two seconds does not: it is heard five minutes after it flooded last.
        assert!((151..250).all(|n| !guard.admits(at(n * 2000), loud, &conf)));
        assert!((251..300).all(|n| guard.admits(at(n * 2000), loud, &conf)));
        assert!(guard.admits(at(602_000), loud, &conf));
        assert!(guard.admits(at(900_000), loud, &conf));
        // It was silent, after a flood.
        assert!(!(0..60).all(|n| guard.admits(at(901_000 + n), loud, &conf)));
        assert!(guard.admits(at(1_202_000), loud, &conf));
        // One packet a second is no flood.
        assert!((0..1000).all(|n| guard.admits(at(1_000_000 + n * 1000), calm, &conf)));
    }

    #[test]
    fn watched_hosts_are_bounded_and_blocked_ones_stay() {
        let conf = DhtConf::default();
        let mut guard = Guard::new(at(0), &conf);
        let loud = "192.0.2.1:1".parse().unwrap();
        (0..60).for_each(|n| _ = guard.admits(at(n), loud, &conf));
        for n in 0..5000u32 {
            let ip = std::net::Ipv4Addr::from(0x0b00_0000 + n * 256);
            assert!(guard.admits(at(100), SocketAddr::new(ip.into(), 1), &conf));
        }
        assert_eq!(guard.talkers.len(), conf.flood_hosts);
        assert!(!guard.admits(at(101), loud, &conf));
        // One whose time is over makes room like any other.
        for n in 0..conf.flood_hosts as u32 {
            let ip = std::net::Ipv4Addr::from(0x0c00_0000 + n * 256);
            assert!(guard.admits(at(400_000), SocketAddr::new(ip.into(), 1), &conf));
        }
        assert!(!guard.talkers.iter().any(|talker| talker.host == subnet(loud)));
    }

    #[test]
    fn answers_keep_to_the_quota_and_its_burst() {
        let conf = DhtConf::default();
        let mut guard = Guard::new(at(0), &conf);
        let sent = |guard: &mut Guard, now| {
            (0..1000).take_while(|_| guard.may_answer(now, 1024, &conf)).count()
        };
        assert_eq!(sent(&mut guard, at(0)), 24);
        assert_eq!(sent(&mut guard, at(1000)), 8);
        assert_eq!(sent(&mut guard, at(1_000_000)), 24);
    }
}
