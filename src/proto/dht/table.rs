//! The routing table of one family: the nodes that answered us, in buckets by how many leading
//! bits of their id are ours.
//!
//! The four farthest buckets are wide (128, 64, 32, 16 nodes, then 8 each; Jimenez and others,
//! "Sub-Second Lookups", 2011): most look-ups then begin a few bits nearer to their target. Each
//! subnet has one node. It knows no packets and sends nothing.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    net::SocketAddr,
    time::Duration,
};

use super::subnet::{Subnet, subnet};
use crate::{
    base::time::Instant,
    wire::krpc::{NodeId, NodeInfo},
};

/// Nodes that a look-up ends with, and that a response tells (BEP 5).
pub(super) const K: usize = 8;
/// Nodes that wait for a place in a bucket.
const SPARES: usize = 8;
/// Failures in a row at which a node makes room for one that waits.
const REPLACED_AT: u8 = 2;
/// How long after its last sign of life a node is good (BEP 5).
const GOOD_TIME: Duration = Duration::from_secs(15 * 60);

/// A node of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who and where.
    pub info: NodeInfo,
    /// Its last round trip.
    pub rtt: Duration,
    /// When it last answered us, or asked us something since.
    pub seen: Instant,
    /// When we last asked it.
    pub asked: Instant,
    /// Queries in a row that it left unanswered.
    pub failures: u8,
    /// Its id fits its address (BEP 42).
    pub verified: bool,
}

impl Contact {
    fn is_good(&self, now: Instant) -> bool {
        self.failures == 0 && now.since(self.seen) < GOOD_TIME
    }
}

#[derive(Debug, Default)]
struct Bucket {
    nodes: Vec<Contact>,
    spares: Vec<Contact>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Table {
    own: NodeId,
    /// By shared leading bits: 0 to 159.
    buckets: Vec<Bucket>,
    /// Which node has a subnet's place.
    subnets: BTreeMap<Subnet, NodeId>,
    len: usize,
}

/// The nodes that a bucket has room for.
fn width(bucket: usize) -> usize {
    match bucket {
        0 => 128,
        1 => 64,
        2 => 32,
        3 => 16,
        _ => K,
    }
}

impl Table {
    pub(super) fn new(own: NodeId) -> Self {
        let buckets = (0..160).map(|_| Bucket::default()).collect();
        Self { own, buckets, subnets: BTreeMap::new(), len: 0 }
    }

    pub(super) fn own(&self) -> NodeId {
        self.own
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Nodes, farthest bucket first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Contact> {
        self.buckets.iter().flat_map(|bucket| &bucket.nodes)
    }

    /// The same nodes as seen from another id. Those that find no room are lost.
    pub(super) fn move_to(&mut self, own: NodeId) {
        let old = std::mem::replace(self, Self::new(own));
        let nodes = |bucket: Bucket| bucket.nodes.into_iter().chain(bucket.spares);
        old.buckets.into_iter().flat_map(nodes).for_each(|contact| _ = self.insert(contact));
    }

    /// Whether a node that is not known would find room if it answered.
    pub(super) fn would_take(&self, info: NodeInfo) -> bool {
        let free = |bucket: &Bucket, at| {
            bucket.nodes.len() < width(at) || bucket.spares.len() < SPARES / 2
        };
        let at = self.own.shared_bits(&info.id);
        self.buckets.get(at).is_some_and(|bucket| free(bucket, at))
            && !self.subnets.contains_key(&subnet(info.addr))
            && self.find(info.id).is_none()
    }

    /// A node answered. True if it is new to the table.
    pub(super) fn node_answered(&mut self, now: Instant, info: NodeInfo, rtt: Duration) -> bool {
        let verified = info.id.fits(info.addr.ip());
        let contact = Contact { info, rtt, seen: now, asked: now, failures: 0, verified };
        // The same id elsewhere is believed only if it is not here any more.
        let lives_elsewhere = |known: &Contact| known.info.addr != info.addr && known.failures == 0;
        if self.find(info.id).is_some_and(lives_elsewhere) || !self.vacate(info) {
            return false;
        }
        let Some(known) = self.find_mut(info.id) else { return self.insert(contact) };
        let before = std::mem::replace(known, contact);
        self.subnets.remove(&subnet(before.info.addr));
        self.subnets.insert(subnet(info.addr), info.id);
        false
    }

    /// Makes the place of a node's subnet free for it: another there goes if it fails, or began
    /// anew with another id. False if the place stays another's.
    fn vacate(&mut self, info: NodeInfo) -> bool {
        let net = subnet(info.addr);
        let Some(&id) = self.subnets.get(&net).filter(|id| **id != info.id) else { return true };
        let goes = |other: &Contact| other.info.addr == info.addr || other.failures > 0;
        if self.find(id).is_some_and(goes) {
            self.remove(id);
        }
        // One of the same subnet may have waited for the place.
        !self.subnets.contains_key(&net)
    }

    fn insert(&mut self, contact: Contact) -> bool {
        let (id, net) = (contact.info.id, subnet(contact.info.addr));
        let at = self.own.shared_bits(&id);
        let Some(bucket) = self.buckets.get_mut(at) else { return false };
        if self.subnets.contains_key(&net) || bucket.nodes.iter().any(|node| node.info.id == id) {
            return false;
        }
        if bucket.nodes.len() >= width(at) {
            let Some(victim) = bucket.victim(at, &contact) else {
                bucket.spare(contact);
                return false;
            };
            let old = std::mem::replace(victim, contact);
            bucket.spares.retain(|spare| spare.info.id != id);
            self.subnets.remove(&subnet(old.info.addr));
            if old.failures == 0 {
                bucket.spare(old);
            }
        } else {
            bucket.spares.retain(|spare| spare.info.id != id);
            bucket.nodes.push(contact);
            self.len += 1;
        }
        self.subnets.insert(net, id);
        true
    }

    /// The last round trip of the node at this address, if it is of the table.
    pub(super) fn rtt(&self, addr: SocketAddr) -> Option<Duration> {
        let &id = self.subnets.get(&subnet(addr))?;
        self.find(id).filter(|contact| contact.info.addr == addr).map(|contact| contact.rtt)
    }

    /// A node left a query unanswered. It is expelled after `max_failures`, or a little earlier if
    /// another waits for its place.
    pub(super) fn node_failed(&mut self, addr: SocketAddr, max_failures: u8) {
        let Some(&id) = self.subnets.get(&subnet(addr)) else { return };
        let Some(contact) = self.find_mut(id).filter(|contact| contact.info.addr == addr) else {
            return;
        };
        contact.failures = contact.failures.saturating_add(1);
        let failures = contact.failures;
        let spared = self
            .buckets
            .get(self.own.shared_bits(&id))
            .is_some_and(|bucket| !bucket.spares.is_empty());
        if failures >= max_failures || spared && failures >= REPLACED_AT {
            self.remove(id);
        }
    }

    /// Removes a node; one that waits takes its place.
    fn remove(&mut self, id: NodeId) {
        let Some(bucket) = self.buckets.get_mut(self.own.shared_bits(&id)) else { return };
        let Some(at) = bucket.nodes.iter().position(|node| node.info.id == id) else { return };
        let old = bucket.nodes.swap_remove(at);
        self.subnets.remove(&subnet(old.info.addr));
        self.len -= 1;
        while let Some(spare) = bucket.best_spare() {
            if let Entry::Vacant(place) = self.subnets.entry(subnet(spare.info.addr)) {
                place.insert(spare.info.id);
                bucket.nodes.push(spare);
                self.len += 1;
                break;
            }
        }
    }

    /// A query went out to a node.
    pub(super) fn note_asked(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(contact) = self.at_mut(addr) {
            contact.asked = now;
        }
    }

    /// A node asked us something. True if it is of the table.
    pub(super) fn note_query(&mut self, now: Instant, info: NodeInfo) -> bool {
        match self.find_mut(info.id) {
            Some(contact) if contact.info.addr == info.addr => {
                contact.seen = now;
                true
            }
            _ => false,
        }
    }

    /// The node that was asked longest ago.
    pub(super) fn stalest(&self) -> Option<Contact> {
        // The nearest of those that are equal: there are few of them to stand in for it.
        self.iter()
            .min_by_key(|c| (c.asked, std::cmp::Reverse(self.own.shared_bits(&c.info.id))))
            .copied()
    }

    /// The best node to ask whether we are online: number `turn` of those with few failures.
    pub(super) fn rotation(&self, turn: usize) -> Option<Contact> {
        let mut nodes: Vec<_> = self.iter().collect();
        nodes.sort_by_key(|contact| (contact.failures, contact.rtt, contact.info.id));
        nodes.truncate(32);
        nodes.get(turn.checked_rem(nodes.len())?).map(|contact| **contact)
    }

    /// The nodes closest to a target, nearest first; only good ones if they are told to others.
    pub(super) fn closest(
        &self,
        target: &NodeId,
        count: usize,
        good_at: Option<Instant>,
    ) -> Vec<NodeInfo> {
        let good = |contact: &&Contact| good_at.is_none_or(|now| contact.is_good(now));
        let mut nodes: Vec<_> = self
            .iter()
            .filter(good)
            .map(|contact| (contact.info.id.distance(target), contact.info))
            .collect();
        if nodes.len() > count {
            nodes.select_nth_unstable(count);
            nodes.truncate(count);
        }
        nodes.sort_unstable();
        nodes.into_iter().map(|(_, info)| info).collect()
    }

    /// The number of buckets up to the nearest that has a node.
    pub(super) fn depth(&self) -> usize {
        self.buckets.iter().rposition(|bucket| !bucket.nodes.is_empty()).map_or(0, |at| at + 1)
    }

    /// Whether a bucket has all the nodes it may have.
    pub(super) fn is_full(&self, at: usize) -> bool {
        self.buckets.get(at).is_none_or(|bucket| bucket.nodes.len() >= width(at))
    }

    fn find(&self, id: NodeId) -> Option<&Contact> {
        let bucket = self.buckets.get(self.own.shared_bits(&id))?;
        bucket.nodes.iter().find(|node| node.info.id == id)
    }

    fn find_mut(&mut self, id: NodeId) -> Option<&mut Contact> {
        let bucket = self.buckets.get_mut(self.own.shared_bits(&id))?;
        bucket.nodes.iter_mut().find(|node| node.info.id == id)
    }

    fn at_mut(&mut self, addr: SocketAddr) -> Option<&mut Contact> {
        let id = *self.subnets.get(&subnet(addr))?;
        self.find_mut(id).filter(|contact| contact.info.addr == addr)
    }
}

impl Bucket {
    /// The node that makes room for `new` in a full bucket: one that fails, one that holds an id
    /// it may not have if the new one may have its own, or the slowest of a crowd of neighbours.
    fn victim(&mut self, at: usize, new: &Contact) -> Option<&mut Contact> {
        let failing = |c: &Contact| c.failures > 0;
        if self.nodes.iter().any(failing) {
            return self.nodes.iter_mut().max_by_key(|c| (c.failures, c.rtt));
        }
        if new.verified && self.nodes.iter().any(|c| !c.verified) {
            return self.nodes.iter_mut().filter(|c| !c.verified).max_by_key(|c| c.rtt);
        }
        // A bucket is most useful if its nodes are spread over its range.
        let bits = width(at).ilog2() as usize;
        let part = |id: &NodeId| {
            (at + 1..=at + bits).fold(0, |part: usize, bit| part << 1 | usize::from(id.bit(bit)))
        };
        let mut crowd = vec![0u32; 1 << bits];
        for node in &self.nodes {
            crowd.get_mut(part(&node.info.id)).into_iter().for_each(|count| *count += 1);
        }
        let size = |id: &NodeId| crowd.get(part(id)).copied().unwrap_or(0);
        let most = crowd.iter().max().copied().unwrap_or(0);
        if new.verified && size(&new.info.id) + 1 < most {
            return self
                .nodes
                .iter_mut()
                .filter(|c| crowd.get(part(&c.info.id)) == Some(&most))
                .max_by_key(|c| c.rtt);
        }
        None
    }

    /// Keeps a node for later: the newest few.
    fn spare(&mut self, contact: Contact) {
        self.spares.retain(|spare| {
            spare.info.id != contact.info.id && spare.info.addr != contact.info.addr
        });
        if self.spares.len() >= SPARES {
            self.spares.remove(0);
        }
        self.spares.push(contact);
    }

    /// Takes the spare to use first.
    fn best_spare(&mut self) -> Option<Contact> {
        let best = self.spares.iter().enumerate().min_by_key(|(_, c)| (!c.verified, c.rtt))?.0;
        Some(self.spares.swap_remove(best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(s)
    }

    /// Node `n` in a subnet of its own; its id shares `bits` bits with zero.
    fn node(n: u32, bits: usize) -> NodeInfo {
        let mut id = [0; 20];
        id[16..].copy_from_slice(&n.to_be_bytes());
        let ip = std::net::Ipv4Addr::from(0x0b00_0000 + n * 256);
        NodeInfo { id: NodeId(id).with_flipped_bit(bits), addr: SocketAddr::new(ip.into(), 6881) }
    }

    fn table() -> Table {
        Table::new(NodeId([0; 20]))
    }

    const RTT: Duration = Duration::from_millis(50);

    #[test]
    fn far_buckets_are_wide_and_full_ones_keep_spares() {
        let mut table = table();
        for (bits, width) in [(0, 128), (1, 64), (2, 32), (3, 16), (4, 8), (100, 8)] {
            let before = table.len();
            for n in 0..300 {
                table.node_answered(at(1), node(1000 * bits as u32 + n, bits), RTT);
            }
            assert_eq!(table.len() - before, width, "bucket {bits}");
            assert_eq!(table.buckets[bits].spares.len(), SPARES);
        }
        assert_eq!(table.depth(), 101);
        assert_eq!(table.subnets.len(), table.len());
    }

    #[test]
    fn subnet_has_one_node_unless_it_fails() {
        let mut table = table();
        let first = node(1, 0);
        let neighbour = NodeInfo { id: node(2, 3).id, addr: "11.0.1.9:1".parse().unwrap() };
        assert_eq!(first.addr, "11.0.1.0:6881".parse().unwrap());
        assert!(table.node_answered(at(1), first, RTT));
        assert!(!table.node_answered(at(1), neighbour, RTT) && table.len() == 1);
        table.node_failed(first.addr, 5);
        assert!(table.node_answered(at(1), neighbour, RTT) && table.len() == 1);
        // The same address with another id: it started anew.
        let anew = NodeInfo { id: node(3, 5).id, ..neighbour };
        assert!(table.node_answered(at(1), anew, RTT) && table.len() == 1);
        // On a local network each port is a node.
        for port in 1..=20 {
            let addr = SocketAddr::new([127, 0, 0, 1].into(), port);
            assert!(table.node_answered(
                at(1),
                NodeInfo { id: node(port.into(), 0).id, addr },
                RTT
            ));
        }
    }

    #[test]
    fn known_id_from_elsewhere_is_not_believed() {
        let mut table = table();
        let first = node(1, 0);
        let thief = NodeInfo { addr: "12.0.0.1:1".parse().unwrap(), ..first };
        table.node_answered(at(1), first, RTT);
        assert!(!table.node_answered(at(2), thief, RTT));
        assert_eq!(table.closest(&first.id, 8, None), [first]);
        table.node_failed(first.addr, 5);
        table.node_answered(at(3), thief, RTT);
        assert_eq!(table.closest(&first.id, 8, None), [thief]);
        assert_eq!(table.subnets.len(), 1);
    }

    /// Every node has its subnet's place, and no other has one.
    #[track_caller]
    fn check_subnets(table: &Table) {
        let nodes: BTreeMap<_, _> =
            table.iter().map(|c| (subnet(c.info.addr), c.info.id)).collect();
        assert_eq!((nodes.len(), &nodes), (table.len(), &table.subnets));
    }

    #[test]
    fn node_that_moves_into_an_occupied_subnet_leaves_no_ghost() {
        for (other_fails, neighbour) in [(false, false), (false, true), (true, true)] {
            let mut table = table();
            let (moving, other) = (node(1, 0), node(2, 0));
            assert!(table.node_answered(at(1), moving, RTT));
            assert!(table.node_answered(at(2), other, RTT));
            table.node_failed(moving.addr, 5);
            (0..u8::from(other_fails)).for_each(|_| table.node_failed(other.addr, 5));
            let mut there = NodeInfo { id: moving.id, ..other };
            there.addr.set_port(other.addr.port() + u16::from(neighbour));
            table.node_answered(at(3), there, RTT);
            check_subnets(&table);
            // The one that lives there keeps its place against another address of its subnet.
            let stays = neighbour && !other_fails;
            assert_eq!(table.find(other.id).is_some(), stays);
            // Whichever is asked, another is next.
            for s in 4..8 {
                let stalest = table.stalest().unwrap().info;
                table.note_asked(at(s), stalest.addr);
                assert_eq!(table.find(stalest.id).unwrap().asked, at(s));
            }
        }
    }

    #[test]
    fn failing_node_is_not_told_then_replaced_or_expelled() {
        let mut table = table();
        (0..9).for_each(|n| _ = table.node_answered(at(1), node(n, 5), RTT));
        let target = node(0, 5).id;
        table.node_failed(node(0, 5).addr, 5);
        assert_eq!(table.closest(&target, 20, Some(at(2))).len(), 7);
        assert_eq!(table.closest(&target, 20, None).len(), 8);
        // The ninth waits for the place.
        table.node_failed(node(0, 5).addr, 5);
        let now = table.closest(&target, 20, None);
        assert!(now.len() == 8 && now.contains(&node(8, 5)) && !now.contains(&node(0, 5)));
        // Nothing waits any more.
        (0..4).for_each(|_| table.node_failed(node(1, 5).addr, 5));
        assert_eq!(table.len(), 8);
        table.node_failed(node(1, 5).addr, 5);
        assert_eq!(table.len(), 7);
        assert_eq!(table.closest(&target, 20, Some(at(3600))).len(), 0);
    }

    #[test]
    fn table_moves_to_another_id_with_its_nodes() {
        let mut table = table();
        (0..50).for_each(|n| _ = table.node_answered(at(1), node(n, n as usize % 3), RTT));
        let before = table.len();
        table.move_to(NodeId([0xff; 20]));
        assert_eq!((table.len(), table.own()), (before, NodeId([0xff; 20])));
        let target = NodeId([0x55; 20]);
        let closest = table.closest(&target, 8, None);
        assert!(closest.is_sorted_by_key(|info| info.id.distance(&target)));
    }
}
