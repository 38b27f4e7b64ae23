//! Datagrams: each on its own, and nothing about it is certain. Nodes have one port for them, the
//! number of which they listen on.
//!
//! Engines, scripts and trackers send and get them, all in the same way.

use super::*;
use crate::sim::tracker;

/// What a line holds of datagrams that wait to leave, in sending time; more are lost.
const LINE_QUEUE: Duration = Duration::from_secs(2);

/// Whatever sends datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Party {
    Node(usize),
    Tracker(usize),
}

impl Party {
    /// For the transcript.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Node(node) => node as u64,
            Self::Tracker(nth) => 1 << 32 | nth as u64,
        }
    }
}

/// How the world treats datagrams. Chances are in thousandths.
#[derive(Clone, Debug)]
pub struct Air {
    /// Of so many nothing is ever heard.
    pub lost: u64,
    /// So many arrive twice.
    pub doubled: u64,
    /// So many come much later, behind others.
    pub late: u64,
    /// In so many one byte is changed. (Checksums find most of that in the world outside.)
    pub spoilt: u64,
    /// Bytes beyond which a datagram is not taken.
    pub mtu: usize,
}

impl Default for Air {
    /// Clear: everything arrives, up to 1472 bytes, what Ethernet carries in one frame.
    fn default() -> Self {
        Self { lost: 0, doubled: 0, late: 0, spoilt: 0, mtu: 1472 }
    }
}

impl Air {
    /// As bad as it gets outside of tests: one in twenty is lost, one in a hundred comes twice, one
    /// in ten late.
    pub fn rough() -> Self {
        Self { lost: 50, doubled: 10, late: 100, spoilt: 1, ..Self::default() }
    }
}

impl World {
    /// Changes how datagrams fare.
    pub fn set_air(&mut self, air: Air) {
        self.air = air;
    }

    /// `node` sends a datagram. False if it is too long: the system says so at once. All else is
    /// left to chance.
    pub fn send_datagram(&mut self, node: NodeId, to: SocketAddr, bytes: &[u8]) -> bool {
        self.datagram_from(node.0, to, bytes)
    }

    pub(super) fn datagram_from(&mut self, node: usize, to: SocketAddr, bytes: &[u8]) -> bool {
        if bytes.len() > self.air.mtu {
            return false;
        }
        let now = self.now;
        let n = &mut self.nodes[node];
        let leaves = n.line_free.max(now) + n.line.sending_time(bytes.len());
        if leaves > now + LINE_QUEUE {
            self.book.write(now, Deed::At { node, what: "loses a datagram before its line" });
            return true;
        }
        n.line_free = leaves;
        let (inner, outer, nat) = (n.addr, n.outer_port, n.nat);
        let near = self
            .directory
            .get(&to)
            .is_some_and(|&other| self.nodes[other].addr == to && self.nodes[other].nat == nat);
        let from = match nat.filter(|_| !near).and_then(|nat| self.nats.get_mut(nat)) {
            Some(nat) => {
                nat.note(node, to, now);
                nat.source(node, outer, to)
            }
            None => inner,
        };
        self.fly(Party::Node(node), leaves, [from, to], bytes);
        true
    }

    /// `node` sends datagrams of uTP. One that is too long is lost if it must not be fragmented,
    /// and is fragmented else.
    pub(super) fn segments_from<'a>(
        &mut self,
        node: usize,
        to: SocketAddr,
        segments: impl Iterator<Item = &'a [u8]>,
        unfragmented: bool,
    ) {
        let mtu = self.air.mtu;
        for segment in segments {
            if !unfragmented {
                self.air.mtu = mtu.max(segment.len());
            }
            self.datagram_from(node, to, segment);
            self.air.mtu = mtu;
        }
    }

    /// A datagram has left, and gets to the other side, or does not.
    pub(super) fn fly(
        &mut self,
        sender: Party,
        leaves: Instant,
        ends: [SocketAddr; 2],
        bytes: &[u8],
    ) {
        let Air { lost, doubled, late, spoilt, .. } = self.air;
        for _ in 0..1 + u64::from(self.happens(doubled)) {
            if self.happens(lost) {
                if let Party::Node(node) = sender {
                    self.book.write(self.now, Deed::At { node, what: "loses a datagram" });
                }
                continue;
            }
            let mut bytes = bytes.to_vec();
            if self.happens(spoilt) {
                let (at, bit) =
                    (self.rng.below(bytes.len().max(1) as u64) as usize, 1 << self.rng.below(8));
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= bit);
            }
            let mut delay = self.flight(sender, ends[1]);
            if self.happens(late) {
                delay += Duration::from_micros(self.rng.below(delay.as_micros() as u64 * 10 + 1));
            }
            let ends = Box::new(ends);
            self.schedule(leaves + delay, Event::Letter { sender, ends, bytes });
        }
    }

    /// How long a datagram is on its way.
    fn flight(&mut self, sender: Party, to: SocketAddr) -> Duration {
        let node = match (sender, self.directory.get(&to)) {
            (Party::Node(node), _) if self.tracker_at(to).is_some() => node,
            (Party::Node(node), other) => {
                let other = other.copied().unwrap_or(node);
                return self.delay(node, other);
            }
            (Party::Tracker(_), Some(&node)) => node,
            // Through the hole of a symmetric router.
            (Party::Tracker(_), None) => match self.behind_hole(to) {
                Some((node, _)) => node,
                None => return tracker::line().latency,
            },
        };
        self.nodes[node].line.delay_to(&tracker::line(), &mut self.rng)
    }

    /// The tracker at an address, if there is one.
    fn tracker_at(&self, addr: SocketAddr) -> Option<usize> {
        (0..self.trackers.len()).find(|&nth| tracker::addr(nth) == addr)
    }

    /// The node behind an address that a symmetric router has made, and for which other it is.
    fn behind_hole(&self, addr: SocketAddr) -> Option<(usize, SocketAddr)> {
        self.nats.iter().find(|nat| nat.ip() == addr.ip())?.owner(addr.port())
    }

    pub(super) fn happens(&mut self, thousandths: u64) -> bool {
        thousandths > 0 && self.rng.below(1000) < thousandths
    }

    /// A datagram has come to `to`, if that is anywhere.
    pub(super) fn datagram_arrives(
        &mut self,
        sender: Party,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        let now = self.now;
        if let (Some(nth), Party::Node(node)) = (self.tracker_at(to), sender) {
            if !self.nodes[node].cut {
                self.tracker_gets(nth, node, from, bytes);
            }
            return;
        }
        let nat_of_sender = match sender {
            Party::Node(node) => self.nodes[node].nat,
            Party::Tracker(_) => None,
        };
        let node = match self.directory.get(&to) {
            Some(&node) => {
                let n = &self.nodes[node];
                let near = n.addr == to && n.nat == nat_of_sender;
                match n.nat.and_then(|nat| self.nats.get(nat)) {
                    Some(nat) if !near && (n.addr == to || !nat.admits(node, from, now)) => return,
                    _ => node,
                }
            }
            // It may be the hole that a symmetric router has made for this sender alone.
            None => {
                let Some(nat) = self.nats.iter().find(|nat| nat.ip() == to.ip()) else { return };
                match nat.owner(to.port()) {
                    Some((node, remote))
                        if remote == from && nat.admits_answer(node, from, now) =>
                    {
                        node
                    }
                    _ => return,
                }
            }
        };
        let reaches = match sender {
            Party::Node(sender) => self.reaches(sender, node),
            Party::Tracker(_) => !self.nodes[node].cut,
        };
        if !self.nodes[node].up || !reaches {
            return;
        }
        if let Party::Node(sender) = sender {
            let what = "gets a datagram of";
            self.book.write(now, Deed::Between { from: node, to: sender, what });
        }
        let clock = self.clock(node);
        match &mut self.nodes[node].body {
            Body::Engine(host) => {
                host.engine.handle_datagram(clock, from, bytes);
                self.service(node);
            }
            Body::Script(_) => self.act(node, |script, talk| script.datagram(talk, from, bytes)),
        }
    }
}
