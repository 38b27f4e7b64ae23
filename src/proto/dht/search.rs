//! One search: what it is for, which queries follow from that, and what the answers bring.
//!
//! It knows no nodes but those that it is told of.

use std::time::Duration;

use super::{
    announces::Announce,
    event::{DhtEvent, SearchId, SearchOutcome},
    lookup::{Keeper, Lookup},
};
use crate::{
    base::time::Instant,
    wire::krpc::{
        BloomFilter, Family, Item, ItemFields, Method, Mutable, NodeId, NodeInfo, Samples,
        immutable_target,
    },
};

/// What a search is for.
#[derive(Debug)]
pub(super) enum Goal {
    /// Nodes near the target, for the table.
    Nodes,
    /// Peers of a torrent.
    Peers { announce: Option<Announce>, scrape: bool },
    /// A stored value.
    Item {
        salt: Vec<u8>,
        /// The sequence number of the best value so far; -1 of an immutable one.
        best: Option<i64>,
        /// What to store at the end, and the sequence number that it is to replace.
        put: Option<Box<(Item, Option<i64>)>>,
    },
    /// Info-hashes.
    Samples,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Search {
    target: NodeId,
    goal: Goal,
    started: Instant,
    /// Look-ups that have not ended.
    left: u8,
    /// Queries to store that have not been answered.
    storing: usize,
    outcome: SearchOutcome,
}

/// A search that has ended.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) target: NodeId,
    pub(super) outcome: SearchOutcome,
    /// It was for peers.
    pub(super) of_peers: bool,
    /// The owner knows nothing of it.
    pub(super) internal: bool,
}

impl Search {
    /// A search that takes so many look-ups.
    pub(super) fn new(now: Instant, target: NodeId, goal: Goal, lookups: u8) -> Self {
        let outcome = SearchOutcome::default();
        Self { target, goal, started: now, left: lookups, storing: 0, outcome }
    }

    pub(super) fn target(&self) -> NodeId {
        self.target
    }

    /// How long ago it began.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.since(self.started)
    }

    /// Whether the owner knows nothing of it.
    pub(super) fn is_internal(&self) -> bool {
        matches!(self.goal, Goal::Nodes)
    }

    /// What nodes are asked.
    pub(super) fn method(&self) -> Method {
        let target = self.target;
        match &self.goal {
            Goal::Nodes => Method::FindNode { target },
            Goal::Peers { announce, scrape } => Method::GetPeers {
                info_hash: target,
                noseed: announce.is_some_and(|announce| announce.seed),
                scrape: *scrape,
            },
            Goal::Item { .. } => Method::Get { target, seq: None },
            Goal::Samples => Method::SampleInfohashes { target },
        }
    }

    /// What is told of us from now on, if it is for peers.
    pub(super) fn set_announce(&mut self, told: Option<Announce>) {
        if let Goal::Peers { announce, .. } = &mut self.goal {
            *announce = told;
        }
    }

    // Answers.

    /// A node told a value. True if it belongs to the target; the event if it is better than what
    /// was told before.
    pub(super) fn handle_item(
        &mut self,
        search: SearchId,
        from: NodeInfo,
        fields: ItemFields,
    ) -> (bool, Option<DhtEvent>) {
        let Goal::Item { salt, best, .. } = &mut self.goal else { return (false, None) };
        let Some(item) = verified(&self.target, salt, fields) else { return (false, None) };
        let seq = item.seq().unwrap_or(-1);
        if best.is_some_and(|best| best >= seq) {
            return (true, None);
        }
        *best = Some(seq);
        (true, Some(DhtEvent::Value { search, target: self.target, item, from }))
    }

    /// What to tell of a node's peers and samples.
    pub(super) fn found(
        &self,
        now: Instant,
        search: SearchId,
        from: NodeInfo,
        peers: Vec<std::net::SocketAddr>,
        samples: Option<Samples>,
    ) -> Option<DhtEvent> {
        match &self.goal {
            Goal::Peers { .. } if !peers.is_empty() => {
                let (info_hash, after) = (self.target, self.age(now));
                Some(DhtEvent::Peers { search, info_hash, peers, from, after })
            }
            Goal::Samples => samples.map(|samples| DhtEvent::Samples { search, from, samples }),
            Goal::Nodes | Goal::Peers { .. } | Goal::Item { .. } => None,
        }
    }

    // Its end.

    /// One of its look-ups has ended.
    pub(super) fn note_lookup_end(&mut self, now: Instant, lookup: &Lookup) {
        self.left = self.left.saturating_sub(1);
        let (outcome, tally) = (&mut self.outcome, lookup.tally());
        outcome.queries += tally.queries;
        outcome.answers += tally.answers;
        outcome.copies += tally.copies;
        outcome.peers += u32::try_from(lookup.peers_found()).unwrap_or(u32::MAX);
        outcome.lookup_time = outcome.lookup_time.max(now.since(lookup.started()));
        let add = |sum: &mut Option<f64>, filter: &Option<BloomFilter>| {
            if let Some(filter) = filter {
                *sum = Some(sum.unwrap_or(0.0) + filter.estimate());
            }
        };
        add(&mut outcome.seeds, &tally.seeds);
        add(&mut outcome.leechers, &tally.leechers);
    }

    /// What it stores at one of the closest nodes.
    pub(super) fn to_store(&self, keeper: Keeper) -> Option<Method> {
        let Keeper { token, seq, info } = keeper;
        Some(match &self.goal {
            Goal::Peers { announce: Some(announce), .. } => {
                let Announce { implied_port, seed, .. } = *announce;
                let port = announce.port(Family::of(info.addr.ip()))?;
                let info_hash = self.target;
                Method::AnnouncePeer { info_hash, port, implied_port, seed, token }
            }
            Goal::Item { put: Some(put), .. } => {
                let (item, cas) = (**put).clone();
                // A node without a value has nothing to compare.
                Method::Put { item, cas: cas.filter(|_| seq.is_some()), token }
            }
            _ => return None,
        })
    }

    /// A node was asked to store something.
    pub(super) fn note_storing(&mut self) {
        self.storing += 1;
        self.outcome.queries += 1;
    }

    /// It did, or it did not.
    pub(super) fn note_stored(&mut self, stored: bool) {
        self.storing = self.storing.saturating_sub(1);
        self.outcome.stored += u32::from(stored);
    }

    /// What was to be stored gets no answer any more.
    pub(super) fn forget_storing(&mut self) {
        self.storing = 0;
    }

    /// Whether there is nothing left to wait for.
    pub(super) fn is_done(&self) -> bool {
        self.left == 0 && self.storing == 0
    }

    pub(super) fn finish(self, now: Instant) -> Finished {
        Finished {
            target: self.target,
            outcome: SearchOutcome { time: self.age(now), ..self.outcome },
            of_peers: matches!(self.goal, Goal::Peers { .. }),
            internal: self.is_internal(),
        }
    }
}

/// The value in a response, if it belongs to the target and its signature fits (BEP 44).
fn verified(target: &NodeId, salt: &[u8], fields: ItemFields) -> Option<Item> {
    let value = fields.value?;
    let item = match (fields.key, fields.seq, fields.signature) {
        (Some(key), Some(seq), Some(signature)) => {
            if Mutable::target(&key, salt) != *target {
                return None;
            }
            let salt = salt.to_vec();
            Item::Mutable(Box::new(Mutable { value, key, salt, seq, signature }))
        }
        _ if immutable_target(&value) == *target => Item::Immutable { value },
        _ => return None,
    };
    item.verify().ok().map(|()| item)
}
