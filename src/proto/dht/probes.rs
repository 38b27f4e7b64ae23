//! Nodes that may be new to the table: when each is asked whether it is there.
//!
//! One that has asked *us* is asked in turn only when its router would let nothing of ours in any
//! more just because of that (pymdht's quarantine: three minutes). Otherwise tables fill with nodes
//! that few can reach: those that they have talked to last. One that was silent is left alone
//! for a while, since it is told again and again. It sends nothing itself.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use crate::{base::time::Instant, conf::DhtConf};

/// Longer than routers keep a mapping of UDP (RFC 4787: two minutes at least; most do).
const QUARANTINE: Duration = Duration::from_secs(180);
/// A node that was asked is not asked again before, unless its owner wants it.
const AGAIN: Duration = Duration::from_secs(600);
/// Nodes that were asked and are remembered.
const MAX_TRIED: usize = 1024;

/// Where we know of a node from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hint {
    /// The owner says so, or few nodes are known.
    Wanted,
    /// Another node told of it.
    Told,
    /// It has asked us something.
    Asked,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Probes {
    /// To be asked now.
    due: VecDeque<SocketAddr>,
    /// To be asked later, in the order of time.
    quarantined: VecDeque<(Instant, SocketAddr)>,
    /// In either of the two.
    waiting: BTreeSet<SocketAddr>,
    /// Asked, and when.
    tried: VecDeque<(Instant, SocketAddr)>,
    /// The same in the order of addresses.
    known: BTreeSet<SocketAddr>,
}

impl Probes {
    /// Notes a node, unless it waits already, was asked lately, or too many wait.
    pub(super) fn add(&mut self, now: Instant, addr: SocketAddr, hint: Hint, conf: &DhtConf) {
        while self.tried.front().is_some_and(|&(at, _)| at + AGAIN <= now) {
            self.forget_oldest();
        }
        let silent = hint == Hint::Told && self.known.contains(&addr);
        let full = match hint {
            Hint::Asked => self.quarantined.len() >= conf.max_probes,
            Hint::Wanted | Hint::Told => self.due.len() >= conf.max_probes,
        };
        if silent || full || !self.waiting.insert(addr) {
            return;
        }
        match hint {
            Hint::Asked => self.quarantined.push_back((now + QUARANTINE, addr)),
            Hint::Wanted | Hint::Told => self.due.push_back(addr),
        }
    }

    /// Those that wait to be asked now.
    pub(super) fn len(&self) -> usize {
        self.due.len()
    }

    /// When the next may be asked; long ago if one waits for its turn only.
    pub(super) fn next(&self) -> Option<Instant> {
        let later = self.quarantined.front().map(|&(at, _)| at);
        if self.due.is_empty() { later } else { Some(Instant::ZERO) }
    }

    /// The next to ask. It counts as asked.
    pub(super) fn pop(&mut self, now: Instant) -> Option<SocketAddr> {
        let later = self.quarantined.front().is_some_and(|&(at, _)| at <= now);
        let addr = if later {
            self.quarantined.pop_front().map(|(_, addr)| addr)
        } else {
            self.due.pop_front()
        }?;
        self.waiting.remove(&addr);
        if self.known.insert(addr) {
            self.tried.push_back((now, addr));
        }
        if self.tried.len() > MAX_TRIED {
            self.forget_oldest();
        }
        Some(addr)
    }

    /// A node has answered: if it is told again one day, it may be asked.
    pub(super) fn note_answer(&mut self, addr: SocketAddr) {
        self.known.remove(&addr);
    }

    fn forget_oldest(&mut self) {
        let oldest = self.tried.pop_front();
        oldest.iter().for_each(|(_, addr)| _ = self.known.remove(addr));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(s)
    }

    fn addr(n: u32) -> SocketAddr {
        SocketAddr::new(std::net::Ipv4Addr::from(0x0b00_0000 + n).into(), 1)
    }

    #[test]
    fn node_that_asks_us_is_asked_when_its_router_has_closed() {
        let (mut probes, conf) = (Probes::default(), DhtConf::default());
        probes.add(at(0), addr(1), Hint::Asked, &conf);
        probes.add(at(1), addr(1), Hint::Asked, &conf);
        probes.add(at(1), addr(1), Hint::Told, &conf);
        assert_eq!((probes.next(), probes.pop(at(179))), (Some(at(180)), None));
        probes.add(at(2), addr(2), Hint::Told, &conf);
        assert_eq!((probes.next(), probes.pop(at(2))), (Some(at(0)), Some(addr(2))));
        assert_eq!(probes.pop(at(180)), Some(addr(1)));
        assert_eq!((probes.pop(at(999)), probes.next()), (None, None));
    }

    #[test]
    fn silent_node_is_left_alone_for_ten_minutes() {
        let (mut probes, conf) = (Probes::default(), DhtConf::default());
        let told = |probes: &mut Probes, s: u64| {
            probes.add(at(s), addr(1), Hint::Told, &conf);
            probes.pop(at(s)).is_some()
        };
        assert!(told(&mut probes, 0) && !told(&mut probes, 599) && told(&mut probes, 600));
        probes.note_answer(addr(1));
        assert!(told(&mut probes, 601));
        probes.add(at(602), addr(1), Hint::Wanted, &conf);
        assert_eq!(probes.pop(at(602)), Some(addr(1)));
    }

    #[test]
    fn nodes_to_ask_and_those_remembered_are_bounded() {
        let (mut probes, conf) = (Probes::default(), DhtConf::default());
        for n in 0..10_000 {
            probes.add(at(0), addr(n), Hint::Told, &conf);
            probes.add(at(0), addr(20_000 + n), Hint::Asked, &conf);
        }
        let held = (probes.due.len(), probes.quarantined.len(), probes.waiting.len());
        assert_eq!(held, (conf.max_probes, conf.max_probes, 2 * conf.max_probes));
        for n in 0..10_000 {
            probes.add(at(n.into()), addr(n), Hint::Wanted, &conf);
            assert!(probes.pop(at(n.into())).is_some());
        }
        assert!(probes.tried.len() <= MAX_TRIED && probes.known.len() <= MAX_TRIED);
    }
}
