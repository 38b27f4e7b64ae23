//! The candidates that may be dialled now, in the order in which they are. Those that only peers
//! have named, and that were never connected, take turns with the others: one peer that names
//! hundreds of dead addresses must not hold up a peer that failed once (BEP 11 asks for care). It
//! knows no candidate but by its rank.

use std::{cmp::Reverse, collections::BTreeSet, net::SocketAddr};

use crate::base::time::Instant;

/// A candidate that failed last time comes after all others, and of those that failed the one that
/// has waited longest comes first; else what a connection is worth counts (BEP 40), then the time
/// that it has waited.
pub(super) type Rank = (bool, Reverse<u32>, Instant, SocketAddr);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ready {
    others: BTreeSet<Rank>,
    hearsay: BTreeSet<Rank>,
    /// The last one was of `others`.
    was_other: bool,
}

impl Ready {
    fn set_of(&mut self, hearsay: bool) -> &mut BTreeSet<Rank> {
        if hearsay { &mut self.hearsay } else { &mut self.others }
    }

    pub(super) fn len(&self) -> usize {
        self.others.len() + self.hearsay.len()
    }

    pub(super) fn insert(&mut self, hearsay: bool, rank: Rank) {
        self.set_of(hearsay).insert(rank);
    }

    pub(super) fn remove(&mut self, hearsay: bool, rank: &Rank) {
        self.set_of(hearsay).remove(rank);
    }

    /// A tracker or the user has named a candidate, too.
    pub(super) fn vouch(&mut self, addr: SocketAddr) {
        let found = self.hearsay.iter().find(|(.., other)| *other == addr).copied();
        if let Some(rank) = found {
            self.hearsay.remove(&rank);
            self.others.insert(rank);
        }
    }

    /// The next one, of both kinds in turn.
    pub(super) fn pop(&mut self) -> Option<SocketAddr> {
        let hearsay = match (self.others.is_empty(), self.hearsay.is_empty()) {
            (true, true) => return None,
            (false, false) => self.was_other,
            (no_others, _) => no_others,
        };
        self.was_other = !hearsay;
        self.set_of(hearsay).pop_first().map(|(.., addr)| addr)
    }

    /// Since when the next one may be dialled.
    pub(super) fn since(&self) -> Option<Instant> {
        let first = self.others.first().or(self.hearsay.first());
        first.map(|&(_, _, at, _)| at)
    }

    /// All of them, which are ready no more.
    pub(super) fn take_all(&mut self) -> impl Iterator<Item = Rank> + use<> {
        let (others, hearsay) = (&mut self.others, &mut self.hearsay);
        std::mem::take(others).into_iter().chain(std::mem::take(hearsay))
    }
}
