//! Our own address, by the vote of nodes that tell where our packets come from (BEP 42).

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
};

use super::subnet::{Subnet, subnet};
use crate::wire::krpc::is_local;

/// Votes that are remembered.
const VOTES: usize = 16;
/// Votes for an address that it takes, and more than half of all.
const QUORUM: usize = 5;

/// The votes of one family.
#[derive(Debug, Default)]
pub(super) struct External {
    /// One a subnet, the newest last.
    votes: VecDeque<(Subnet, SocketAddr)>,
    agreed: Option<SocketAddr>,
}

/// What a vote means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Voted {
    /// Nothing new.
    Nothing,
    /// It differs from what was agreed on: more votes are wanted soon.
    Doubt,
    /// Another address is agreed on.
    Agreed(SocketAddr),
}

impl External {
    /// The address that was agreed on last.
    pub(super) fn agreed(&self) -> Option<IpAddr> {
        self.agreed.map(|addr| addr.ip())
    }

    /// A node says that we are at `addr`.
    pub(super) fn vote(&mut self, from: SocketAddr, addr: SocketAddr) -> Voted {
        let useless = addr.ip().is_unspecified() || addr.ip().is_multicast();
        // A local address says nothing of the one outside, and needs no id of its own.
        if useless || is_local(addr.ip()) || addr.is_ipv4() != from.is_ipv4() {
            return Voted::Nothing;
        }
        let voter = subnet(from);
        self.votes.retain(|(other, _)| *other != voter);
        if self.votes.len() >= VOTES {
            self.votes.pop_front();
        }
        self.votes.push_back((voter, addr));
        let same = self.votes.iter().filter(|(_, vote)| vote.ip() == addr.ip()).count();
        if self.agreed() == Some(addr.ip()) {
            return Voted::Nothing;
        }
        // The latest few decide: an address that has changed need not outvote its past.
        let latest = self.votes.iter().rev().take(2 * QUORUM - 1);
        let recent = latest.filter(|(_, vote)| vote.ip() == addr.ip()).count();
        if recent >= QUORUM {
            self.agreed = Some(addr);
            return Voted::Agreed(addr);
        }
        if same >= 2 || self.agreed.is_none() { Voted::Doubt } else { Voted::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u8) -> SocketAddr {
        SocketAddr::from(([11, 0, n, 1], 1))
    }

    #[test]
    fn address_takes_votes_of_different_subnets() {
        let mut external = External::default();
        let (home, lie) = ("12.0.0.1:7".parse().unwrap(), "13.0.0.1:7".parse().unwrap());
        assert_eq!(external.vote(node(1), home), Voted::Doubt);
        // One node has one vote.
        assert!((0..100).all(|_| external.vote(node(2), lie) != Voted::Agreed(lie)));
        (3..6).for_each(|n| assert_eq!(external.vote(node(n), home), Voted::Doubt));
        assert_eq!(external.vote(node(6), home), Voted::Agreed(home));
        assert_eq!(external.vote(node(7), home), Voted::Nothing);
        assert_eq!(external.agreed(), Some(home.ip()));
        // Another address: first a doubt, then five votes.
        let moved = "14.0.0.1:7".parse().unwrap();
        assert_eq!(external.vote(node(8), moved), Voted::Nothing);
        (9..12).for_each(|n| assert_eq!(external.vote(node(n), moved), Voted::Doubt));
        assert_eq!(external.vote(node(12), moved), Voted::Agreed(moved));
    }

    #[test]
    fn local_and_foreign_addresses_do_not_count() {
        let mut external = External::default();
        for n in 0..20 {
            assert_eq!(external.vote(node(n), "10.0.0.1:1".parse().unwrap()), Voted::Nothing);
            assert_eq!(external.vote(node(n), "[2001:db8::1]:1".parse().unwrap()), Voted::Nothing);
        }
        assert!(external.votes.is_empty());
    }
}
