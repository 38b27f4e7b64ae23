//! What answers to our queries mean, and silence.

use std::net::{IpAddr, SocketAddr};

use super::{
    super::{calls::Purpose, event::Step, external::Voted, probes::Hint, searches::Answer},
    Node,
};
use crate::{
    base::time::Instant,
    wire::krpc::{Family, NodeInfo, Response, is_local},
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
        let Some(call) = self.calls.answered(transaction, from) else { return };
        self.server.note_expected(from);
        self.upkeep.note_answer(from);
        let info = NodeInfo { id: response.id, addr: from };
        let rtt = now.since(call.sent);
        if let Some(side) = self.sides.get_mut(family).filter(|side| side.id() != info.id) {
            if !self.upkeep.is_router(from) {
                side.note_answer(now, info, call.measured(now));
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
                if let Some(own) = self.id(family) {
                    let answer = Answer { lookup, node, rtt, response };
                    let news = self.searches.handle_answer(now, answer, &own, &self.conf);
                    news.into_iter().for_each(|event| self.outbox.tell(event));
                }
                self.pump(now, lookup);
            }
            Purpose::Store { search, node } => {
                // The last of them ends the search.
                self.tell_step(search, Step::Stored { node });
                self.note_stored(now, search, true);
            }
        }
    }

    /// A node refuses. It lives, but it is of no use for what it was asked.
    pub(super) fn handle_error(&mut self, now: Instant, from: SocketAddr, transaction: &[u8]) {
        let Some(call) = self.calls.answered(transaction, from) else { return };
        self.server.note_expected(from);
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
                let Some((again, search, step)) = self.searches.handle_slow(id, node) else {
                    return;
                };
                if again {
                    self.outbox.transmit(to, packet);
                }
                self.tell_step(search, step);
                self.pump(now, id);
            }
            Purpose::Store { search, .. } => {
                if self.searches.contains(search) {
                    self.outbox.transmit(to, packet);
                }
            }
        }
    }

    /// Nothing waits for a query any more.
    pub(super) fn handle_late(&mut self, now: Instant, purpose: Purpose) {
        match purpose {
            Purpose::Ping | Purpose::Bootstrap => {}
            Purpose::Lookup { lookup: id, node } => {
                self.searches.handle_failure(id, node);
                self.pump(now, id);
            }
            Purpose::Store { search, .. } => self.note_stored(now, search, false),
        }
    }

    /// A node told where our packets come from (BEP 42).
    fn handle_vote(&mut self, now: Instant, family: Family, from: SocketAddr, ip: SocketAddr) {
        let Some(side) = self.sides.get_mut(family) else { return };
        let moved = side.external().is_some();
        match side.vote(now, from, ip) {
            Voted::Nothing => {}
            Voted::Doubt => self.upkeep.restart_refresh(now),
            Voted::Agreed(addr) => self.note_external(now, family, addr, moved),
        }
    }

    /// Nodes that were told and would find room are asked whether they are there.
    fn probe_new(&mut self, now: Instant, from: IpAddr, response: &Response) {
        let told = response.nodes.iter().chain(&response.nodes6).flatten();
        for &node in told {
            let foreign = is_foreign(node.addr.ip(), from);
            let side = self.sides.get(Family::of(node.addr.ip()));
            let room =
                side.is_some_and(|side| side.id() != node.id && side.table().would_take(node));
            if room && !foreign && self.upkeep.may_probe_more(&self.conf) {
                self.probe(now, node.addr, Hint::Told);
            }
        }
    }
}

/// An address that only its teller can reach.
fn is_foreign(ip: IpAddr, from: IpAddr) -> bool {
    is_local(ip) && !is_local(from)
}
