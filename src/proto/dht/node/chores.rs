//! What is done now and then, and what changes with where we are.

use std::net::SocketAddr;

use super::{
    super::{
        calls::Purpose,
        event::DhtEvent,
        probes::Hint,
        search::Goal,
        upkeep::{Chore, Refresh},
    },
    Node,
};
use crate::{
    base::time::Instant,
    wire::krpc::{Family, Method},
};

/// A table of fewer nodes takes any that answers: in a small network most are known to few.
const FEW: usize = 64;

impl Node {
    pub(super) fn do_chore(&mut self, now: Instant, chore: Chore) {
        match chore {
            Chore::Bootstrap => {
                let (names, nodes) = self.upkeep.bootstrap(now, &self.sides, &self.conf);
                names.into_iter().for_each(|name| self.outbox.resolve(name));
                nodes.into_iter().for_each(|node| self.feel(now, node.addr));
            }
            Chore::Ping => {
                let pings = self.upkeep.pings(now, &self.sides, &self.conf);
                for (addr, method) in pings {
                    self.ask(now, addr, method, Purpose::Ping);
                }
            }
            Chore::Probe => {
                if let Some(addr) = self.upkeep.pop_probe(now, &self.conf) {
                    self.ask(now, addr, Method::Ping, Purpose::Ping);
                }
            }
            Chore::Refresh => {
                for refresh in self.upkeep.refreshes(now, &self.sides) {
                    match refresh {
                        Refresh::Bucket(family, target) => self.find_nodes(now, family, target),
                        Refresh::Own(family) => {
                            if self.sides.get(family).is_some_and(|side| !side.is_finding_self()) {
                                self.find_self(now, family, &[]);
                            }
                        }
                    }
                }
            }
        }
    }

    /// Announces that are due begin.
    pub(super) fn begin_announces(&mut self, now: Instant) {
        while let Some(due) = self.announces.pop_due(now, &self.conf) {
            let goal = Goal::Peers { announce: due.announce, scrape: false };
            let search = self.add_search(now, due.hash, goal, !due.fresh);
            // Before it can end.
            self.announces.note_search(&due.hash, search);
            self.begin_search(now, search);
        }
    }

    /// Notes a node that may be new, to be asked in its turn.
    pub(super) fn probe(&mut self, now: Instant, addr: SocketAddr, hint: Hint) {
        let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
        if let Some(side) = self.sides.get(Family::of(addr.ip())) {
            let hint = if side.table().len() < FEW { Hint::Wanted } else { hint };
            self.upkeep.probe(now, addr, hint, &self.conf);
        }
    }

    /// A query is lost: its node fails, unless nothing answers at all.
    pub(super) fn handle_lost(&mut self, now: Instant, to: SocketAddr, sent: Instant) {
        let family = Family::of(to.ip());
        let Some(side) = self.sides.get_mut(family) else { return };
        if side.note_lost(to, sent, &self.conf) {
            self.outbox.tell(DhtEvent::Offline { family });
            self.upkeep.note_offline(now);
        }
    }

    /// A family's first node answered, or the first after silence.
    pub(super) fn note_online(&mut self, now: Instant, family: Family) {
        if !self.sides.get_mut(family).is_some_and(|side| side.note_online(now)) {
            return;
        }
        self.outbox.tell(DhtEvent::Online { family });
        self.announces.hurry(now, false);
        self.upkeep.restart_refresh(now);
        self.pump_waiting(now);
    }

    /// Enough nodes agree on our address: the id follows it (BEP 42).
    pub(super) fn note_external(
        &mut self,
        now: Instant,
        family: Family,
        addr: SocketAddr,
        moved: bool,
    ) {
        let random = self.upkeep.random_id().0;
        if self.sides.get_mut(family).is_some_and(|side| side.fit_to(addr.ip(), random)) {
            self.upkeep.restart_refresh(now);
        }
        self.outbox.tell(DhtEvent::ExternalAddress { addr });
        if moved {
            self.announces.hurry(now, true);
        }
    }
}
