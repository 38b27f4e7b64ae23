//! Which ranges of hashes are wanted, which peer is asked for which, and whether an answer is
//! proven.

use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

use super::HashLimits;
use crate::{
    base::{
        merkle::{self, Node},
        time::Instant,
    },
    wire::hash_range::HashRange,
};

/// Rests get no longer than this many times the first (2^4).
const MAX_DOUBLINGS: u32 = 4;

/// Why a peer is not to be spoken with any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HashFault {
    /// The hashes are not those that the root stands for.
    #[error("it sent hashes that are not below their root")]
    Unproven,
    /// There are too many or too few of them.
    #[error("it sent {got} hashes where {want} were asked for")]
    Count {
        /// Hashes that came.
        got: usize,
        /// Hashes of the range and uncles.
        want: usize,
    },
}

/// See the module. `P` names a peer: the owner's key, which is not used again.
#[derive(Clone, Debug)]
pub struct HashFetch<P> {
    limits: HashLimits,
    /// What is wanted, with the hash that it must lead to: the root of the tree, or a node below
    /// that is known.
    wanted: BTreeMap<HashRange, Node>,
    /// Of these, what no peer was asked for.
    free: BTreeSet<HashRange>,
    peers: BTreeMap<P, Peer>,
}

#[derive(Clone, Debug)]
struct Peer {
    /// What it was asked for, and since when.
    asked: BTreeMap<HashRange, Instant>,
    /// Requests that it was ever sent.
    requests: u64,
    rests_until: Instant,
    /// How often in a row it has not given what it was asked for.
    refusals: u32,
}

impl<P: Copy + Ord> HashFetch<P> {
    /// Nothing is wanted yet.
    pub fn new(limits: HashLimits) -> Self {
        Self { limits, wanted: BTreeMap::new(), free: BTreeSet::new(), peers: BTreeMap::new() }
    }

    /// This range is wanted, and its proof must lead to `to`.
    pub fn want(&mut self, range: HashRange, to: Node) {
        if self.wanted.insert(range, to).is_none() {
            self.free.insert(range);
        }
    }

    /// Whether this range is wanted.
    pub fn wants(&self, range: &HashRange) -> bool {
        self.wanted.contains_key(range)
    }

    /// This range is not wanted any more.
    pub fn forget(&mut self, range: &HashRange) {
        self.wanted.remove(range);
        self.free.remove(range);
    }

    /// The hashes of the layer at this height below `root` are not wanted any more.
    pub fn forget_layer(&mut self, root: &Node, base: u32) {
        let other = |range: &HashRange| range.root != *root || range.base != base;
        self.wanted.retain(|range, _| other(range));
        self.free.retain(other);
    }

    /// Whether nothing is wanted.
    pub fn is_idle(&self) -> bool {
        self.wanted.is_empty()
    }

    /// Ranges that are wanted.
    pub fn len(&self) -> usize {
        self.wanted.len()
    }

    /// Whether there are no such.
    pub fn is_empty(&self) -> bool {
        self.is_idle()
    }

    /// A peer may be asked.
    pub fn handle_peer(&mut self, now: Instant, peer: P) {
        let new = Peer { asked: BTreeMap::new(), requests: 0, rests_until: now, refusals: 0 };
        self.peers.entry(peer).or_insert(new);
    }

    /// A peer is gone.
    pub fn handle_gone(&mut self, peer: P) {
        if let Some(gone) = self.peers.remove(&peer) {
            let wanted = |range: &HashRange| self.wanted.contains_key(range);
            let open: Vec<_> = gone.asked.into_keys().filter(wanted).collect();
            self.free.extend(open);
        }
    }

    /// Hashes came. Returns those of the range, without the uncles, if they were asked for and are
    /// proven.
    ///
    /// # Errors
    /// If they are false.
    pub fn handle_hashes(
        &mut self,
        peer: P,
        range: &HashRange,
        hashes: &[Node],
    ) -> Result<Option<Vec<Node>>, HashFault> {
        let Some(from) = self.peers.get_mut(&peer) else { return Ok(None) };
        if from.asked.remove(range).is_none() {
            return Ok(None);
        }
        let Some(to) = self.wanted.get(range).copied() else { return Ok(None) };
        match proven(range, hashes, &to) {
            Ok(nodes) => {
                from.refusals = 0;
                self.forget(range);
                Ok(Some(nodes))
            }
            Err(fault) => {
                self.free.insert(*range);
                self.handle_gone(peer);
                Err(fault)
            }
        }
    }

    /// A peer will not answer.
    pub fn handle_reject(&mut self, now: Instant, peer: P, range: &HashRange) {
        let Some(from) = self.peers.get_mut(&peer) else { return };
        if from.asked.remove(range).is_some() {
            from.rest(now, &self.limits);
            if self.wanted.contains_key(range) {
                self.free.insert(*range);
            }
        }
    }

    /// Time has passed.
    pub fn handle_time_out(&mut self, now: Instant) {
        for peer in self.peers.values_mut() {
            let is_late = |since: &Instant| *since + self.limits.time_out <= now;
            let late: Vec<_> = peer.asked.iter().filter(|(_, since)| is_late(since)).collect();
            let late: Vec<HashRange> = late.into_iter().map(|(range, _)| *range).collect();
            if late.is_empty() {
                continue;
            }
            for range in late {
                peer.asked.remove(&range);
                if self.wanted.contains_key(&range) {
                    self.free.insert(range);
                }
            }
            peer.rest(now, &self.limits);
        }
    }

    /// The next request to send, if a peer is to be asked for something. Peers that have fewest
    /// requests open come first, and of these those that had fewest.
    #[must_use]
    pub fn poll_request(&mut self, now: Instant) -> Option<(P, HashRange)> {
        let range = *self.free.first()?;
        let ready = |peer: &Peer| {
            peer.rests_until <= now && peer.asked.len() < self.limits.in_flight.max(1)
        };
        let ready = self.peers.iter_mut().filter(|(_, peer)| ready(peer));
        let (&key, peer) = ready.min_by_key(|(_, peer)| (peer.asked.len(), peer.requests))?;
        self.free.remove(&range);
        peer.requests += 1;
        peer.asked.insert(range, now);
        Some((key, range))
    }

    /// When time-outs are to be looked at, or a peer has rested.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if self.is_idle() {
            return None;
        }
        let late =
            |peer: &Peer| peer.asked.values().min().map(|&since| since + self.limits.time_out);
        let rested = |peer: &Peer| Some(peer.rests_until).filter(|&until| until > now);
        self.peers.values().flat_map(|peer| [late(peer), rested(peer)]).flatten().min()
    }
}

impl Peer {
    fn rest(&mut self, now: Instant, limits: &HashLimits) {
        self.rests_until = now + limits.rest * (1 << self.refusals.min(MAX_DOUBLINGS));
        self.refusals = self.refusals.saturating_add(1);
    }
}

/// The hashes of the range, if they lead to `to`.
fn proven(range: &HashRange, hashes: &[Node], to: &Node) -> Result<Vec<Node>, HashFault> {
    let (len, uncles) = (range.len as usize, range.uncles() as usize);
    let want = len.saturating_add(uncles);
    let wrong = HashFault::Count { got: hashes.len(), want };
    let (nodes, uncles) =
        hashes.split_at_checked(len).filter(|_| hashes.len() == want).ok_or(wrong)?;
    let top = merkle::root(nodes, range.base, len).ok_or(HashFault::Unproven)?;
    let index = u64::from(range.index) >> range.height();
    // Among the uncles is the place within the tree; where the proof ends below the root, the place
    // above is the caller's to know.
    let within = index & ((1_u64 << uncles.len().min(63)) - 1);
    match merkle::is_proven(&top, within, uncles, to) {
        true => Ok(nodes.to_vec()),
        false => Err(HashFault::Unproven),
    }
}
