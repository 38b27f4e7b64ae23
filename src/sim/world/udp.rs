//! Datagrams: each on its own, and nothing about it is certain. Nodes have one port for them, the
//! number of which they listen on.
//!
//! Scripts send and get them. What an engine wants of datagrams goes the same way once it does.

use super::*;

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
        let to_node = self.directory.get(&to).copied().unwrap_or(node);
        let Air { lost, doubled, late, spoilt, .. } = self.air;
        for _ in 0..1 + u64::from(self.happens(doubled)) {
            if self.happens(lost) {
                self.book.write(now, Deed::At { node, what: "loses a datagram" });
                continue;
            }
            let mut bytes = bytes.to_vec();
            if self.happens(spoilt) {
                let (at, bit) =
                    (self.rng.below(bytes.len().max(1) as u64) as usize, 1 << self.rng.below(8));
                bytes.get_mut(at).into_iter().for_each(|byte| *byte ^= bit);
            }
            let mut delay = self.delay(node, to_node);
            if self.happens(late) {
                delay += Duration::from_micros(self.rng.below(delay.as_micros() as u64 * 10 + 1));
            }
            self.schedule(
                leaves + delay,
                Event::Letter { sender: node, ends: Box::new([from, to]), bytes },
            );
        }
        true
    }

    fn happens(&mut self, thousandths: u64) -> bool {
        thousandths > 0 && self.rng.below(1000) < thousandths
    }

    /// A datagram has come to `to`, if that is anywhere.
    pub(super) fn datagram_arrives(
        &mut self,
        sender: usize,
        from: SocketAddr,
        to: SocketAddr,
        bytes: &[u8],
    ) {
        let now = self.now;
        let node = match self.directory.get(&to) {
            Some(&node) => {
                let n = &self.nodes[node];
                let near = n.addr == to && n.nat == self.nodes[sender].nat;
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
        if !self.nodes[node].up || !self.reaches(sender, node) {
            return;
        }
        self.book.write(now, Deed::Between { from: node, to: sender, what: "gets a datagram of" });
        if matches!(self.nodes[node].body, Body::Script(_)) {
            self.act(node, |script, talk| script.datagram(talk, from, bytes));
        }
    }
}
