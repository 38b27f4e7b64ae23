//! Fetching an info dictionary from all peers that offer it at once.
//!
//! Peers that claim the same size fill one assembly together. If it turns out false and one peer
//! gave all of it, that peer lied. If several did, each peer of that size gets an assembly of its
//! own from then on, so that the next false one has one source; and once the true dictionary is
//! known, every block that was ever given is compared with it.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use sha1::{Digest, Sha1};

use super::{MetadataLimits, assembly::Assembly};
use crate::{
    base::{ids::Identity, time::Instant},
    wire::ut_metadata::{METADATA_BLOCK, metadata_block_len},
};

/// Blocks that are hashed in one call: 1 MiB, which takes less than a millisecond.
const HASHED_AT_ONCE: u32 = 64;
/// Dictionaries of so many blocks at most are raced for: a block is asked of several peers at once.
/// Most dictionaries are that small, and what comes twice costs little.
const RACED: u32 = 16;
/// How long an assembly is safe from those that wait for a place.
const TURN: Duration = Duration::from_secs(20);
/// Blocks of failed assemblies that are remembered, to find out who gave the false ones.
const MAX_SUSPECTS: usize = 4096;
/// Rests get no longer than this many times the first (2^4).
const MAX_DOUBLINGS: u32 = 4;

/// See the module. `P` names a peer: the owner's key of a connection, which is not used again.
#[derive(Clone, Debug)]
pub struct MetadataFetch<P> {
    identity: Identity,
    limits: MetadataLimits,
    peers: BTreeMap<P, Peer>,
    assemblies: BTreeMap<Name<P>, Assembly<P>>,
    /// Sizes of which an assembly of several peers was false.
    alone: BTreeSet<u32>,
    suspects: Vec<Suspect<P>>,
    events: VecDeque<MetadataEvent<P>>,
    done: bool,
}

/// The claimed size, and the one peer that fills it if it is not to be shared.
type Name<P> = (u32, Option<P>);

#[derive(Clone, Debug)]
struct Peer {
    total: u32,
    /// What it was asked for and has not answered.
    asked: BTreeMap<u32, Instant>,
    /// Requests that it was ever sent.
    requests: u64,
    /// Answers that may still come for requests that took too long.
    late: u32,
    /// It is asked nothing until then.
    rests_until: Instant,
    /// Rejects and time-outs in a row.
    failures: u32,
}

#[derive(Clone, Debug)]
struct Suspect<P> {
    total: u32,
    block: u32,
    from: P,
    digest: [u8; 20],
}

/// What the owner must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataEvent<P> {
    /// The info dictionary, which has the right hash. Nothing is fetched any more.
    Complete(Vec<u8>),
    /// This peer gave false blocks, which is certain. It is asked nothing any more.
    Liar(P),
}

/// Why a peer's message is against the rules: the connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataFault {
    /// More answers than requests.
    #[error("metadata block {0} was not asked for")]
    Unasked(u32),
    /// The size in a data message is not the one of its handshake.
    #[error("metadata of {claimed} bytes, and now of {total}")]
    OtherSize {
        /// What its handshake said.
        claimed: u32,
        /// What the message says.
        total: u32,
    },
}

/// How far it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetadataProgress {
    /// Connected peers that offer the info dictionary.
    pub peers: usize,
    /// Those of them that are not asked at the moment: they rejected or did not answer.
    pub resting: usize,
    /// Bytes that have come of the dictionary that is nearest to its end.
    pub have: u32,
    /// Its bytes, as peers claim; 0 if nothing has come.
    pub total: u32,
}

impl<P: Copy + Ord> MetadataFetch<P> {
    /// For the info dictionary with this SHA-256, or SHA-1 if no other is known.
    pub fn new(identity: Identity, limits: MetadataLimits) -> Self {
        Self {
            identity,
            limits,
            peers: BTreeMap::new(),
            assemblies: BTreeMap::new(),
            alone: BTreeSet::new(),
            suspects: Vec::new(),
            events: VecDeque::new(),
            done: false,
        }
    }

    /// A peer says that it has the dictionary, of so many bytes. A second offer replaces the first.
    /// False if it is of no use: of no bytes, or too large.
    pub fn handle_offer(&mut self, now: Instant, peer: P, total: u64) -> bool {
        let total = u32::try_from(total).ok().filter(|&n| n > 0 && n <= self.limits.size);
        let Some(total) = total else {
            self.handle_gone(peer);
            return false;
        };
        let known = self.peers.get(&peer);
        if !self.done && known.is_none_or(|known| known.total != total) {
            // What it was asked for under its old claim may still come.
            let late = known.map_or(0, |p| p.late.saturating_add(count(p.asked.len())));
            self.handle_gone(peer);
            let (asked, requests, failures) = (BTreeMap::new(), 0, 0);
            let new = Peer { total, asked, requests, late, rests_until: now, failures };
            self.peers.insert(peer, new);
        }
        true
    }

    /// A peer is gone, or takes its offer back. What it gave stays.
    pub fn handle_gone(&mut self, peer: P) {
        self.peers.remove(&peer);
        // What only it could have gone on with is of no use without it.
        self.assemblies.retain(|&(_, alone), a| alone != Some(peer) || a.is_whole());
    }

    /// A block has come.
    ///
    /// # Errors
    /// If the peer was not asked, or contradicts its own offer.
    pub fn handle_data(
        &mut self,
        now: Instant,
        peer: P,
        block: u32,
        total: u32,
        data: &[u8],
    ) -> Result<(), MetadataFault> {
        if self.done {
            return Ok(());
        }
        let from = self.answered(peer, block)?;
        if from.total != total {
            return Err(MetadataFault::OtherSize { claimed: from.total, total });
        }
        from.failures = 0;
        if metadata_block_len(total, block).is_none_or(|len| len as usize != data.len()) {
            return Ok(());
        }
        let name = self.name(peer, total);
        let Some(assembly) = self.assemblies.get_mut(&name) else { return Ok(()) };
        if let Some(known) = assembly.get(block) {
            if known != data {
                self.suspect(total, block, peer, data);
            }
            return Ok(());
        }
        assembly.insert(block, peer, data);
        self.make_room(name, now);
        Ok(())
    }

    /// A peer does not give a block: it rests.
    ///
    /// # Errors
    /// If it was not asked.
    pub fn handle_reject(
        &mut self,
        now: Instant,
        peer: P,
        block: u32,
    ) -> Result<(), MetadataFault> {
        if self.done {
            return Ok(());
        }
        let rest = self.limits.rest;
        let from = self.answered(peer, block)?;
        // A peer that rejects one of several requests rejects the others, too, as a rule: that is
        // one failure.
        if from.rests_until <= now {
            from.fail(now, rest);
        }
        Ok(())
    }

    /// Time has passed: requests that took too long are given up.
    pub fn handle_time_out(&mut self, now: Instant) {
        let MetadataLimits { time_out, rest, .. } = self.limits;
        for peer in self.peers.values_mut() {
            let before = peer.asked.len();
            peer.asked.retain(|_, &mut since| now < since + time_out);
            let given_up = before - peer.asked.len();
            if given_up > 0 {
                peer.late = peer.late.saturating_add(count(given_up));
                peer.fail(now, rest);
            }
        }
    }

    /// When [`handle_time_out`](Self::handle_time_out), [`poll_event`](Self::poll_event) and
    /// [`poll_request`](Self::poll_request) should be called next, if nothing happens before.
    pub fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if self.done {
            return None;
        }
        if self.assemblies.values().any(Assembly::wants_hashing) {
            return Some(Instant::ZERO);
        }
        let of_peer = |peer: &Peer| {
            let first = peer.asked.values().min().map(|&since| since + self.limits.time_out);
            first.or_else(|| (peer.rests_until > now).then_some(peer.rests_until))
        };
        self.peers.values().filter_map(of_peer).min()
    }

    /// What has happened, if there is something. It hashes 1 MiB at most.
    #[must_use]
    pub fn poll_event(&mut self) -> Option<MetadataEvent<P>> {
        let mut budget = HASHED_AT_ONCE;
        let names: Vec<Name<P>> = self.assemblies.keys().copied().collect();
        for name in names {
            let right = self.assemblies.get_mut(&name).and_then(|a| a.hash(&mut budget));
            if let Some(right) = right
                && let Some(assembly) = self.assemblies.remove(&name)
            {
                if right {
                    self.complete(assembly);
                    break;
                }
                self.fail(assembly);
            }
        }
        self.events.pop_front()
    }

    /// The next request to send, if a peer is to be asked for something: the peer and the block.
    /// Peers that have fewest requests open come first, and of these those that had fewest.
    #[must_use]
    pub fn poll_request(&mut self, now: Instant) -> Option<(P, u32)> {
        if self.done {
            return None;
        }
        let ready =
            |peer: &Peer| peer.rests_until <= now && peer.asked.len() < self.limits.in_flight;
        let mut peers: Vec<(usize, u64, P)> = self
            .peers
            .iter()
            .filter(|(_, peer)| ready(peer))
            .map(|(&key, peer)| (peer.asked.len(), peer.requests, key))
            .collect();
        peers.sort_unstable();
        for (.., key) in peers {
            if let Some(block) = self.next_block(key, now)
                && let Some(peer) = self.peers.get_mut(&key)
            {
                peer.asked.insert(block, now);
                peer.requests += 1;
                return Some((key, block));
            }
        }
        None
    }

    /// How far it is.
    pub fn progress(&self, now: Instant) -> MetadataProgress {
        let best = self.assemblies.values().max_by_key(|assembly| assembly.bytes());
        MetadataProgress {
            peers: self.peers.len(),
            resting: self.peers.values().filter(|peer| peer.rests_until > now).count(),
            have: best.map_or(0, |assembly| count(assembly.bytes())),
            total: best.map_or(0, Assembly::total),
        }
    }

    /// Whether this peer's offer is known, and whether it rests.
    pub fn offer(&self, peer: P, now: Instant) -> Option<bool> {
        self.peers.get(&peer).map(|peer| peer.rests_until > now)
    }

    /// Bytes that are held.
    pub fn held(&self) -> usize {
        self.assemblies.values().map(Assembly::bytes).sum()
    }

    /// Notes the answer to a request.
    fn answered(&mut self, peer: P, block: u32) -> Result<&mut Peer, MetadataFault> {
        let unasked = MetadataFault::Unasked(block);
        let peer = self.peers.get_mut(&peer).ok_or(unasked)?;
        if peer.asked.remove(&block).is_none() {
            peer.late = peer.late.checked_sub(1).ok_or(unasked)?;
        }
        Ok(peer)
    }

    fn name(&self, peer: P, total: u32) -> Name<P> {
        (total, self.alone.contains(&total).then_some(peer))
    }

    /// A block that this peer should be asked for: one that is asked of fewest others.
    fn next_block(&mut self, key: P, now: Instant) -> Option<u32> {
        let total = self.peers.get(&key)?.total;
        let name = self.name(key, total);
        if !self.assemblies.contains_key(&name) {
            self.begin(name, now)?;
        }
        let assembly = self.assemblies.get(&name)?;
        let mut asked: BTreeMap<u32, usize> = BTreeMap::new();
        for (&other, peer) in &self.peers {
            if self.name(other, peer.total) == name {
                peer.asked.keys().for_each(|&block| *asked.entry(block).or_default() += 1);
            }
        }
        let own = &self.peers.get(&key)?.asked;
        let copies = |block: u32| asked.get(&block).copied().unwrap_or(0);
        let most = if assembly.block_count() <= RACED { self.limits.copies } else { 1 };
        (0..assembly.block_count())
            .filter(|&block| !assembly.has(block) && !own.contains_key(&block))
            .min_by_key(|&block| copies(block))
            .filter(|&block| copies(block) < most)
    }

    /// Begins an assembly. If there are enough, in place of one that no peer goes on with, or one
    /// that has had its time while others wait: of these the one that lacks most.
    fn begin(&mut self, name: Name<P>, now: Instant) -> Option<()> {
        if self.assemblies.len() >= self.limits.assemblies {
            let (.., least) = self
                .assemblies
                .iter()
                .filter(|(_, a)| !a.is_whole())
                .map(|(&name, a)| (self.is_worked_on(name, now), Reverse(a.missing()), name))
                .filter(|&(busy, _, name)| !busy || self.has_had_its_time(name, now))
                .min()?;
            self.give_up(least);
        }
        self.assemblies.insert(name, Assembly::new(name.0, now, &self.identity));
        Some(())
    }

    fn has_had_its_time(&self, name: Name<P>, now: Instant) -> bool {
        self.assemblies.get(&name).is_some_and(|a| a.begun() + TURN <= now)
    }

    fn is_worked_on(&self, name: Name<P>, now: Instant) -> bool {
        let at_work = |peer: &Peer| !peer.asked.is_empty() || peer.rests_until <= now;
        self.peers.iter().any(|(&key, peer)| self.name(key, peer.total) == name && at_work(peer))
    }

    /// Keeps within the memory: another assembly goes, else this one. Those that no peer works on
    /// go first, then those that lack most.
    fn make_room(&mut self, keep: Name<P>, now: Instant) {
        while self.held() > self.limits.memory {
            let least = self
                .assemblies
                .iter()
                .filter(|&(&name, _)| name != keep)
                .map(|(&name, a)| (self.is_worked_on(name, now), Reverse(a.missing()), name))
                .min();
            self.give_up(least.map_or(keep, |(.., name)| name));
        }
    }

    fn give_up(&mut self, name: Name<P>) {
        self.assemblies.remove(&name);
    }

    /// An assembly has the wrong hash.
    fn fail(&mut self, assembly: Assembly<P>) {
        let total = assembly.total();
        match assembly.contributors()[..] {
            [liar] => self.convict(liar),
            _ => {
                for (block, from, data) in assembly.sources() {
                    self.suspect(total, block, from, data);
                }
                self.alone.insert(total);
            }
        }
    }

    fn suspect(&mut self, total: u32, block: u32, from: P, data: &[u8]) {
        if self.suspects.len() < MAX_SUSPECTS {
            let digest = Sha1::digest(data).into();
            self.suspects.push(Suspect { total, block, from, digest });
        }
    }

    fn convict(&mut self, liar: P) {
        self.handle_gone(liar);
        self.events.push_back(MetadataEvent::Liar(liar));
    }

    /// The dictionary is known: all that was ever given is compared with it.
    fn complete(&mut self, assembly: Assembly<P>) {
        let bytes = assembly.into_bytes();
        let is_true = |total: u32, block: u32, digest: [u8; 20]| {
            let begin = block as usize * METADATA_BLOCK as usize;
            let right = bytes.get(begin..).unwrap_or_default();
            let right = right.get(..METADATA_BLOCK as usize).unwrap_or(right);
            total as usize == bytes.len() && <[u8; 20]>::from(Sha1::digest(right)) == digest
        };
        let mut liars = BTreeSet::new();
        for other in self.assemblies.values() {
            for (block, from, data) in other.sources() {
                let begin = block as usize * METADATA_BLOCK as usize;
                let right = bytes.get(begin..begin + data.len());
                if other.total() as usize != bytes.len() || right != Some(data) {
                    liars.insert(from);
                }
            }
        }
        for suspect in &self.suspects {
            if !is_true(suspect.total, suspect.block, suspect.digest) {
                liars.insert(suspect.from);
            }
        }
        self.events.push_back(MetadataEvent::Complete(bytes));
        self.events.extend(liars.into_iter().map(MetadataEvent::Liar));
        self.done = true;
        self.peers.clear();
        self.assemblies.clear();
        self.suspects.clear();
    }
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

impl Peer {
    /// It rests, longer each time in a row.
    fn fail(&mut self, now: Instant, rest: Duration) {
        let doublings = self.failures.min(MAX_DOUBLINGS);
        self.rests_until = now + rest.saturating_mul(1 << doublings);
        self.failures = self.failures.saturating_add(1);
    }
}
