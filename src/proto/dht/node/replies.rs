//! What answers to our queries mean, and silence.

use std::net::{IpAddr, SocketAddr};

use super::{
    super::{
        calls::Purpose,
        event::{DhtEvent, SearchId, Step},
        external::Voted,
    },
    Node,
    search::Goal,
};
use crate::{
    base::time::Instant,
    wire::krpc::{
        Family, Item, ItemFields, Mutable, NodeId, NodeInfo, Response, immutable_target, is_local,
    },
};

impl Node {
    pub(super) fn handle_response(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: &[u8],
        ip: Option<SocketAddr>,
        response: Response,
    ) {
        let family = Family::of(from.ip());
        let Some(call) = self.calls.answered(transaction, from) else {
            self.stats.ignored += 1;
            return;
        };
        self.stats.answers += 1;
        let info = NodeInfo { id: response.id, addr: from };
        let rtt = now.since(call.sent);
        if let Some(side) = self.side_mut(family).filter(|side| side.id() != info.id) {
            side.silent = 0;
            if !self.bootstrap.is_router(from) {
                let side = self.side_mut(family);
                side.into_iter().for_each(|side| _ = side.table.node_answered(now, info, rtt));
            }
            self.note_online(now, family);
        }
        if let Some(ip) = ip {
            self.handle_vote(now, family, from, ip);
        }
        self.probe_new(now, from.ip(), &response);
        match call.purpose {
            Purpose::Ping => {}
            Purpose::Bootstrap => {
                let nodes = match family {
                    Family::V4 => response.nodes,
                    Family::V6 => response.nodes6,
                };
                self.find_self(now, family, &nodes.unwrap_or_default());
            }
            Purpose::Lookup { lookup, node } => {
                self.handle_step(now, lookup, node, rtt, response);
                self.pump(now, lookup);
            }
            Purpose::Store { search, node } => {
                self.note_stored(now, search, true);
                self.tell_step(search, Step::Stored { node });
            }
        }
    }

    /// A node refuses. It lives, but it is of no use for what it was asked.
    pub(super) fn handle_error(&mut self, now: Instant, from: SocketAddr, transaction: &[u8]) {
        let Some(call) = self.calls.answered(transaction, from) else {
            self.stats.ignored += 1;
            return;
        };
        self.stats.answers += 1;
        self.note_online(now, Family::of(from.ip()));
        self.handle_late(now, call.purpose);
    }

    /// A query has been silent for a while: others take its place, and if it matters it is sent
    /// once more.
    pub(super) fn handle_slow(
        &mut self,
        now: Instant,
        to: SocketAddr,
        purpose: Purpose,
        packet: Vec<u8>,
    ) {
        match purpose {
            Purpose::Ping | Purpose::Bootstrap => {}
            Purpose::Lookup { lookup: id, node } => {
                let Some(lookup) = self.lookups.get_mut(&id) else { return };
                let (again, hop, search) =
                    (lookup.handle_slow(node), lookup.hop(node), lookup.search());
                if again {
                    self.transmit(to, packet);
                }
                self.tell_step(search, Step::Slow { node, hop });
                self.pump(now, id);
            }
            Purpose::Store { search, .. } => {
                if self.searches.contains_key(&search) {
                    self.transmit(to, packet);
                }
            }
        }
    }

    /// Nothing waits for a query any more.
    pub(super) fn handle_late(&mut self, now: Instant, purpose: Purpose) {
        match purpose {
            Purpose::Ping | Purpose::Bootstrap => {}
            Purpose::Lookup { lookup: id, node } => {
                if let Some(lookup) = self.lookups.get_mut(&id) {
                    lookup.handle_failure(node);
                    self.pump(now, id);
                }
            }
            Purpose::Store { search, .. } => self.note_stored(now, search, false),
        }
    }

    fn note_stored(&mut self, now: Instant, id: SearchId, stored: bool) {
        if let Some(search) = self.searches.get_mut(&id) {
            search.storing = search.storing.saturating_sub(1);
            search.outcome.stored += u32::from(stored);
            self.end_if_done(now, id);
        }
    }

    /// A node told where our packets come from (BEP 42).
    fn handle_vote(&mut self, now: Instant, family: Family, from: SocketAddr, ip: SocketAddr) {
        let Some(side) = self.side_mut(family) else { return };
        let before = side.external.agreed();
        match side.external.vote(from, ip) {
            Voted::Nothing => {}
            Voted::Doubt => self.note_doubt(now, family),
            Voted::Agreed(addr) => self.note_external(now, family, addr, before.is_some()),
        }
    }

    /// Nodes that were told and would find room are asked whether they are there.
    fn probe_new(&mut self, now: Instant, from: IpAddr, response: &Response) {
        let told = response.nodes.iter().chain(&response.nodes6).flatten();
        for &node in told {
            let foreign = is_foreign(node.addr.ip(), from);
            let side = self.side(Family::of(node.addr.ip()));
            let room = side.is_some_and(|side| side.id() != node.id && side.table.would_take(node));
            if room && !foreign && self.probes.len() < self.conf.max_probes / 2 {
                self.probe(now, node.addr);
            }
        }
    }

    /// A node of a look-up answered.
    fn handle_step(
        &mut self,
        now: Instant,
        id: u64,
        node: NodeInfo,
        rtt: std::time::Duration,
        response: Response,
    ) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        let (family, search) = (lookup.family(), lookup.search());
        // A node that is another than it was said to be may be made up for this target.
        if response.id != node.id {
            lookup.handle_failure(node);
            return;
        }
        let seq = response.item.seq.or(response.item.value.as_ref().map(|_| -1));
        let Some(hop) = lookup.handle_answer(node, response.token, seq) else { return };
        let nodes = match family {
            Family::V4 => response.nodes,
            Family::V6 => response.nodes6,
        }
        .unwrap_or_default();
        let Some(own) = self.id(family) else { return };
        let from = node.addr.ip();
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        lookup.add_nodes(&nodes, Some((from, hop)), &own, &self.conf);
        let peers = lookup.new_peers(&response.values, from, &self.conf);
        if let Some(scrape) = &response.scrape {
            lookup.add_scrape(&scrape.seeds, &scrape.peers);
        }
        let (told, found) = (nodes.len(), response.values.len());
        self.tell_step(search, Step::Answered { node, hop, rtt, nodes: told, peers: found });
        let Some(Search { target, goal, after }) = self.view(now, search) else { return };
        match goal {
            Goal::Peers { .. } if !peers.is_empty() => {
                self.tell(DhtEvent::Peers { search, info_hash: target, peers, from: node, after });
            }
            Goal::Item { .. } => self.handle_item(id, node, response.item),
            Goal::Samples => {
                if let Some(samples) = response.samples {
                    self.tell(DhtEvent::Samples { search, from: node, samples });
                }
            }
            Goal::Nodes | Goal::Peers { .. } => {}
        }
    }

    /// A node told a value, perhaps: it counts if it proves itself.
    fn handle_item(&mut self, id: u64, from: NodeInfo, fields: ItemFields) {
        let Some(lookup) = self.lookups.get_mut(&id) else { return };
        let (search, target) = (lookup.search(), lookup.target());
        let Some(Goal::Item { salt, best, .. }) =
            self.searches.get_mut(&search).map(|search| &mut search.goal)
        else {
            return;
        };
        let Some(item) = verified(&target, salt, fields) else { return };
        lookup.note_copy();
        let seq = item.seq().unwrap_or(-1);
        if best.is_none_or(|best| best < seq) {
            *best = Some(seq);
            self.tell(DhtEvent::Value { search, target, item, from });
        }
    }

    fn view(&self, now: Instant, id: SearchId) -> Option<Search<'_>> {
        let search = self.searches.get(&id)?;
        let after = now.since(search.started);
        Some(Search { target: search.target, goal: &search.goal, after })
    }
}

/// What a step needs of its search.
struct Search<'a> {
    target: NodeId,
    goal: &'a Goal,
    after: std::time::Duration,
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

/// An address that only its teller can reach.
fn is_foreign(ip: IpAddr, from: IpAddr) -> bool {
    is_local(ip) && !is_local(from)
}
