//! What our own address is to the rest of the world: told by the user, or agreed on by peers that
//! say so (BEP 10 `yourip`). No one peer is believed, and what it decides is only which peers to
//! prefer.

use std::{collections::VecDeque, net::IpAddr};

use crate::{
    base::{ip_filter::host_of, ports::ListenPorts},
    torrent::priority::Ours,
};

/// Peers of different hosts that must agree.
const QUORUM: usize = 3;
/// The newest votes that are kept, one a host.
const MAX_VOTES: usize = 32;

#[derive(Debug, Default)]
pub(crate) struct External {
    /// What the user says. It is not voted on.
    told: Ours,
    agreed: Ours,
    /// What our router has said last, as long as it maps a port.
    of_router: Option<IpAddr>,
    /// Who said what, oldest first.
    votes: VecDeque<(IpAddr, IpAddr)>,
    changed: bool,
}

impl External {
    /// Our address for either family, if it is known.
    pub(crate) fn ours(&self, ports: ListenPorts) -> Ours {
        Ours { v4: self.told.v4.or(self.agreed.v4), v6: self.told.v6.or(self.agreed.v6), ports }
    }

    /// Whether it has changed since this was asked last.
    pub(crate) fn poll_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// The user knows our address.
    pub(crate) fn set(&mut self, addr: IpAddr) {
        put(&mut self.told, addr);
        self.changed = true;
    }

    /// Our router says what its address is.
    pub(crate) fn set_of_router(&mut self, addr: IpAddr) {
        let before = self.agreed;
        put(&mut self.agreed, addr);
        self.of_router = Some(addr.to_canonical());
        self.changed |= self.agreed != before;
    }

    /// Our router is another one, or does not answer any more: what it said counts no longer,
    /// unless others say so, too. They may have agreed on another address by now.
    pub(crate) fn forget_router(&mut self) {
        let Some(IpAddr::V4(ip)) = self.of_router.take() else { return };
        if self.agreed.v4 != Some(ip) || self.count(ip.into()) >= QUORUM {
            return;
        }
        let said = self.votes.iter().map(|&(_, said)| said).filter(IpAddr::is_ipv4);
        let best = said.max_by_key(|&said| self.count(said));
        self.agreed.v4 = None;
        if let Some(best) = best.filter(|&best| self.count(best) >= QUORUM) {
            put(&mut self.agreed, best);
        }
        self.changed = true;
    }

    /// `voter`, a peer or a tracker, takes our address to be `addr`.
    pub(crate) fn vote(&mut self, voter: IpAddr, addr: IpAddr) {
        let (voter, addr) = (host_of(voter), addr.to_canonical());
        if !is_public(addr) {
            return;
        }
        self.votes.retain(|&(who, said)| who != voter || said.is_ipv4() != addr.is_ipv4());
        self.votes.push_back((voter, addr));
        if self.votes.len() > MAX_VOTES {
            self.votes.pop_front();
        }
        let now = if addr.is_ipv4() {
            self.agreed.v4.map(IpAddr::V4)
        } else {
            self.agreed.v6.map(IpAddr::V6)
        };
        // What has been agreed on gives way only to what more say by now.
        if now != Some(addr)
            && self.count(addr) >= QUORUM
            && now.is_none_or(|now| self.count(addr) > self.count(now))
        {
            put(&mut self.agreed, addr);
            self.changed = true;
        }
    }

    /// How many hosts say so.
    fn count(&self, addr: IpAddr) -> usize {
        self.votes.iter().filter(|&&(_, said)| said == addr).count()
    }
}

fn put(ours: &mut Ours, addr: IpAddr) {
    match addr.to_canonical() {
        IpAddr::V4(ip) => ours.v4 = Some(ip),
        IpAddr::V6(ip) => ours.v6 = Some(ip),
    }
}

/// Whether the rest of the world could reach us there.
fn is_public(addr: IpAddr) -> bool {
    match addr {
        IpAddr::V4(ip) => {
            let shared = ip.octets()[0] == 100 && ip.octets()[1] & 0xc0 == 64;
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || shared)
                && !(ip.is_multicast() || ip.is_broadcast())
        }
        IpAddr::V6(ip) => {
            !(ip.is_unspecified()
                || ip.is_loopback()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    fn v4(e: &External) -> Option<IpAddr> {
        e.ours(ListenPorts::default()).v4.map(IpAddr::V4)
    }

    #[test]
    fn three_hosts_must_agree_and_one_has_one_vote() {
        let mut e = External::default();
        for _ in 0..5 {
            e.vote(ip("9.0.0.1"), ip("5.5.5.5"));
            // Of one /64.
            e.vote(ip("2001:db8::1"), ip("2001:db9::5"));
            e.vote(ip("2001:db8::2"), ip("2001:db9::5"));
            e.vote(ip("2001:db8::3"), ip("2001:db9::5"));
        }
        e.vote(ip("9.0.0.2"), ip("::ffff:5.5.5.5"));
        assert!(
            v4(&e).is_none() && e.ours(ListenPorts::default()).v6.is_none() && !e.poll_changed()
        );
        e.vote(ip("9.0.0.3"), ip("5.5.5.5"));
        assert!(e.poll_changed() && !e.poll_changed());
        assert_eq!(v4(&e), Some(ip("5.5.5.5")));
    }

    #[test]
    fn new_external_address_wins_with_more_votes_than_the_old() {
        let mut e = External::default();
        (1..=4).for_each(|n| e.vote([9, 0, 0, n].into(), ip("5.5.5.5")));
        (11..=14).for_each(|n| e.vote([9, 0, 0, n].into(), ip("6.6.6.6")));
        assert_eq!(v4(&e), Some(ip("5.5.5.5")));
        // One of the old ones has noticed.
        e.vote([9, 0, 0, 1].into(), ip("6.6.6.6"));
        assert_eq!(v4(&e), Some(ip("6.6.6.6")));
        // Old votes are forgotten.
        (0..200).for_each(|n| e.vote([8, 0, 0, n].into(), [7, 7, 7, n].into()));
        assert_eq!(e.votes.len(), MAX_VOTES);
        (1..=3).for_each(|n| e.vote([9, 0, 0, n].into(), ip("5.5.5.5")));
        assert_eq!(v4(&e), Some(ip("5.5.5.5")));
    }

    #[test]
    fn address_of_a_router_that_is_gone_counts_no_longer() {
        let mut e = External::default();
        e.set_of_router(ip("5.5.5.5"));
        assert!(e.poll_changed() && v4(&e) == Some(ip("5.5.5.5")));
        e.forget_router();
        assert!(e.poll_changed() && v4(&e).is_none());
        e.forget_router();
        assert!(!e.poll_changed());
        // Others have agreed on another, or on the same.
        for said in ["6.6.6.6", "7.7.7.7"] {
            e.set_of_router(ip("7.7.7.7"));
            (1..=3).for_each(|n| e.vote([9, 0, 0, n].into(), ip(said)));
            e.forget_router();
            assert_eq!(v4(&e), Some(ip(said)));
        }
        // What the user says stays.
        e.set(ip("8.8.8.8"));
        e.set_of_router(ip("5.5.5.5"));
        e.forget_router();
        assert_eq!(v4(&e), Some(ip("8.8.8.8")));
    }

    #[test]
    fn unreachable_addresses_are_no_votes() {
        for addr in [
            "127.0.0.1",
            "10.0.0.1",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
        ] {
            let mut e = External::default();
            (1..=5).for_each(|n| e.vote([9, 0, 0, n].into(), ip(addr)));
            assert_eq!(e.ours(ListenPorts::default()), Ours::default(), "{addr}");
        }
    }

    #[test]
    fn address_set_by_the_user_wins_over_votes() {
        let mut e = External::default();
        e.set(ip("10.0.0.7"));
        assert!(e.poll_changed());
        (1..=5).for_each(|n| e.vote([9, 0, 0, n].into(), ip("5.5.5.5")));
        assert_eq!(v4(&e), Some(ip("10.0.0.7")));
        let ports = ListenPorts::both(Some(6881));
        assert_eq!(e.ours(ports).ports, ports);
    }
}
