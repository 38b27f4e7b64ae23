//! Our own address, by the vote of nodes that tell where our packets come from (BEP 42).

use std::{
    collections::VecDeque,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::subnet::{Subnet, subnet};
use crate::{base::time::Instant, wire::krpc::is_local};

/// Votes that are remembered.
const VOTES: usize = 16;
/// Votes for an address that it takes, of the latest [`LATEST`].
const QUORUM: usize = 5;
const LATEST: usize = 2 * QUORUM - 1;
/// How long no node must have named an address that was agreed on before another takes its place:
/// the first if none of the latest votes names it, the second in any case.
const SILENT: Duration = Duration::from_secs(20);
const GONE: Duration = Duration::from_secs(120);

/// The votes of one family.
#[derive(Debug, Default)]
pub(super) struct External {
    /// One a subnet, the newest last.
    votes: VecDeque<(Subnet, SocketAddr)>,
    /// The address that was agreed on last, and when it was last named.
    agreed: Option<(SocketAddr, Instant)>,
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
        self.agreed.map(|(addr, _)| addr.ip())
    }

    /// A node says that we are at `addr`.
    pub(super) fn vote(&mut self, now: Instant, from: SocketAddr, addr: SocketAddr) -> Voted {
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
        if let Some((agreed, named)) = &mut self.agreed
            && agreed.ip() == addr.ip()
        {
            *named = now;
            return Voted::Nothing;
        }
        let count = |ip: IpAddr, latest: usize| {
            self.votes.iter().rev().take(latest).filter(|(_, vote)| vote.ip() == ip).count()
        };
        // The latest few decide: an address that has changed need not outvote its past. But behind
        // a router with two addresses both are named for ever, and the one agreed on stays.
        let is_gone = self.agreed.is_none_or(|(agreed, named)| {
            let silent = now.since(named);
            silent >= GONE || silent >= SILENT && count(agreed.ip(), LATEST) == 0
        });
        let same = count(addr.ip(), VOTES);
        if is_gone && count(addr.ip(), LATEST) >= QUORUM {
            self.agreed = Some((addr, now));
            return Voted::Agreed(addr);
        }
        if same >= 2 || self.agreed.is_none() { Voted::Doubt } else { Voted::Nothing }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::Rng;

    fn node(n: u8) -> SocketAddr {
        SocketAddr::from(([11, 0, n, 1], 1))
    }

    #[test]
    fn address_takes_votes_of_different_subnets() {
        let (mut external, then) = (External::default(), Instant::ZERO);
        let (home, lie) = ("12.0.0.1:7".parse().unwrap(), "13.0.0.1:7".parse().unwrap());
        assert_eq!(external.vote(then, node(1), home), Voted::Doubt);
        // One node has one vote.
        assert!((0..100).all(|_| external.vote(then, node(2), lie) != Voted::Agreed(lie)));
        (3..6).for_each(|n| assert_eq!(external.vote(then, node(n), home), Voted::Doubt));
        assert_eq!(external.vote(then, node(6), home), Voted::Agreed(home));
        assert_eq!(external.vote(then, node(7), home), Voted::Nothing);
        assert_eq!(external.agreed(), Some(home.ip()));
        // Another address: first a doubt, then it takes that none of the latest names the old one;
        // once that was not named for long, five votes.
        let (soon, late) = (then + SILENT, then + SILENT + GONE);
        for (moved, now, first, takes) in [("14.0.0.1:7", soon, 8, 9), ("15.0.0.1:7", late, 100, 5)]
        {
            let moved = moved.parse().unwrap();
            assert_eq!(external.vote(now, node(first), moved), Voted::Nothing);
            let doubts = |n| external.vote(now, node(first + n), moved) == Voted::Doubt;
            assert!((1..takes - 1).all(doubts), "{moved}");
            assert_eq!(external.vote(now, node(first + takes - 1), moved), Voted::Agreed(moved));
        }
    }

    #[test]
    fn one_of_two_outer_addresses_stays_the_one_agreed_on() {
        let outer = ["12.0.0.1:7", "13.0.0.1:7"].map(|addr| addr.parse().unwrap());
        // In turn, or as it comes; of busy nodes and of idle ones.
        let cases = [(false, 20, 1), (true, 20, 1), (false, 5500, 1), (true, 5500, 8)];
        for (random, pause, most) in cases {
            let (mut external, mut rng) = (External::default(), Rng::new(1));
            let agreed = (0..1000u64).filter(|&n| {
                let now = Instant::ZERO + Duration::from_millis(n * pause);
                let which = if random { rng.below(2) } else { n % 2 };
                let from = SocketAddr::from(([11, (n >> 8) as u8, n as u8, 1], 1));
                matches!(external.vote(now, from, outer[which as usize]), Voted::Agreed(_))
            });
            let agreed = agreed.count();
            assert!((1..=most).contains(&agreed), "{random} {pause}: {agreed}");
        }
    }

    #[test]
    fn local_and_foreign_addresses_do_not_count() {
        let mut external = External::default();
        for n in 0..20 {
            for addr in ["10.0.0.1:1", "[2001:db8::1]:1"] {
                let voted = external.vote(Instant::ZERO, node(n), addr.parse().unwrap());
                assert_eq!(voted, Voted::Nothing);
            }
        }
        assert!(external.votes.is_empty());
    }
}
