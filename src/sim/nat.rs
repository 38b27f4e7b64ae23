//! Routers that translate addresses: which nodes can reach one behind a router, and what the others
//! see. Rules as in RFC 4787 and RFC 5382, in the older names that everybody uses.
//!
//! A box knows nodes by number, addresses and times. A node has one listening port; what it sends
//! opens a hole for it, for as long as something passes.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::base::time::Instant;

/// Which senders a router lets in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Nat {
    /// There is none: anybody.
    #[default]
    Open,
    /// Full cone: anybody, once the node has sent anything to anybody.
    FullCone,
    /// Restricted cone: hosts that the node has sent something to.
    Restricted,
    /// Port-restricted cone: addresses that the node has sent something to, the port included.
    PortRestricted,
    /// Symmetric: every address that the node sends to sees another port, and only it gets in
    /// there. No other node can dial this one.
    Symmetric,
}

/// A router with one outer address and any number of nodes behind it.
#[derive(Debug)]
pub(super) struct NatBox {
    pub(super) rule: Nat,
    ip: IpAddr,
    pub(super) ttl: Duration,
    /// When a node last sent something to an address.
    contacts: BTreeMap<(usize, SocketAddr), Instant>,
    /// Outer ports of nodes behind a symmetric router, by the address they send to.
    ports: BTreeMap<(usize, SocketAddr), u16>,
    next_port: u16,
}

impl NatBox {
    pub(super) fn new(rule: Nat, ip: IpAddr, ttl: Duration) -> Self {
        Self { rule, ip, ttl, contacts: BTreeMap::new(), ports: BTreeMap::new(), next_port: 40_000 }
    }

    /// `node` sends something to `remote`.
    pub(super) fn note(&mut self, node: usize, remote: SocketAddr, now: Instant) {
        self.contacts.insert((node, remote), now);
    }

    /// Where a datagram of `node`, whose outer port is `port`, seems to come from.
    pub(super) fn source(&mut self, node: usize, port: u16, remote: SocketAddr) -> SocketAddr {
        if self.rule != Nat::Symmetric {
            return SocketAddr::new(self.ip, port);
        }
        let next = self.next_port;
        let port = *self.ports.entry((node, remote)).or_insert(next);
        self.next_port += u16::from(port == next);
        SocketAddr::new(self.ip, port)
    }

    /// If `port` is a hole of a symmetric router: the node behind it, and the address it is for.
    pub(super) fn owner(&self, port: u16) -> Option<(usize, SocketAddr)> {
        self.ports.iter().find(|(_, p)| **p == port).map(|(key, _)| *key)
    }

    /// Whether something from `remote` to the listening port of `node` gets in.
    pub(super) fn admits(&self, node: usize, remote: SocketAddr, now: Instant) -> bool {
        let fresh = |at: Instant| at + self.ttl >= now;
        let of_node = || {
            let all = self.contacts.range((node, SocketAddr::new([0, 0, 0, 0].into(), 0))..);
            all.take_while(move |((n, _), _)| *n == node)
                .filter(move |(_, at)| fresh(**at))
                .map(|((_, addr), _)| *addr)
        };
        match self.rule {
            Nat::Open => true,
            Nat::FullCone => of_node().next().is_some(),
            Nat::Restricted => of_node().any(|addr| addr.ip() == remote.ip()),
            Nat::PortRestricted => self.contacts.get(&(node, remote)).is_some_and(|&at| fresh(at)),
            Nat::Symmetric => false,
        }
    }

    /// Whether something from `remote` gets in through the hole that was made for it.
    pub(super) fn admits_answer(&self, node: usize, remote: SocketAddr, now: Instant) -> bool {
        self.contacts.get(&(node, remote)).is_some_and(|&at| at + self.ttl >= now)
    }

    pub(super) fn ip(&self) -> IpAddr {
        self.ip
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_nat_rule_admits_the_right_remotes_for_the_right_time() {
        let addr = |host: u8, port| SocketAddr::from(([1, 1, 1, host], port));
        let at = |secs: u64| Instant::from_micros(secs * 1_000_000);
        // Known address, known host with another port, stranger; then the first again when the hole
        // has closed.
        for (rule, want) in [
            (Nat::Open, [true, true, true, true]),
            (Nat::FullCone, [true, true, true, false]),
            (Nat::Restricted, [true, true, false, false]),
            (Nat::PortRestricted, [true, false, false, false]),
            (Nat::Symmetric, [false, false, false, false]),
        ] {
            let mut nat = NatBox::new(rule, [9, 9, 9, 9].into(), Duration::from_secs(60));
            assert_eq!(
                nat.admits(0, addr(1, 1), at(0)),
                rule == Nat::Open,
                "{rule:?}: before anything was sent"
            );
            nat.note(0, addr(1, 1), at(10));
            nat.note(1, addr(3, 1), at(10));
            let got =
                [addr(1, 1), addr(1, 2), addr(2, 1)].map(|remote| nat.admits(0, remote, at(70)));
            assert_eq!(
                [got[0], got[1], got[2], nat.admits(0, addr(1, 1), at(71))],
                want,
                "{rule:?}"
            );
        }
    }

    #[test]
    fn symmetric_router_shows_each_remote_another_port() {
        let addr = |host: u8| SocketAddr::from(([1, 1, 1, host], 1));
        let mut nat = NatBox::new(Nat::Symmetric, [9, 9, 9, 9].into(), Duration::from_secs(60));
        let (a, b) = (nat.source(0, 7, addr(1)), nat.source(0, 7, addr(2)));
        assert!(a != b && a == nat.source(0, 7, addr(1)) && a.port() != 7);
        assert_eq!(nat.owner(b.port()), Some((0, addr(2))));
        let mut cone = NatBox::new(Nat::Restricted, [9, 9, 9, 9].into(), Duration::from_secs(60));
        assert_eq!(cone.source(0, 7, addr(1)), cone.source(0, 7, addr(2)));
    }
}
