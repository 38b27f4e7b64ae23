//! What keeps the tables alive: pings, nodes to try, refreshing look-ups, and the way back into
//! the network.
//!
//! It says which nodes are to be asked what, and when; it asks none itself.

use std::{net::SocketAddr, time::Duration};

use super::{
    bootstrap::Bootstrap,
    probes::{Hint, Probes},
    side::Sides,
};
use crate::{
    base::{rng::Rng, time::Instant, timers::TimerTable},
    conf::{Bootstrap as Name, DhtConf},
    wire::krpc::{Family, Method, NodeId, NodeInfo},
};

/// The pause between two pings while we are offline: the first answer tells that we are not.
const OFFLINE_PING: Duration = Duration::from_secs(2);
/// The first pauses between refreshing look-ups, and their number; later ones grow.
const REFRESH_PAUSE: Duration = Duration::from_secs(2);
const FIRST_REFRESHES: u32 = 8;
const MAX_REFRESH_PAUSE: Duration = Duration::from_secs(600);
/// A timer that is so late means that the machine has slept: the pings alone are more frequent.
const SLEPT: Duration = Duration::from_secs(60);

/// What is to be done now and then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chore {
    /// Names are resolved and saved nodes asked.
    Bootstrap,
    /// A node of the table is asked again.
    Ping,
    /// A node that may be new is asked.
    Probe,
    /// A bucket or our neighbourhood is looked at.
    Refresh,
}

impl Chore {
    /// All, in the order in which those that are due at once are done.
    pub(super) const ALL: [Self; 4] = [Self::Bootstrap, Self::Ping, Self::Probe, Self::Refresh];
}

/// A look-up that refreshes a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    /// Of our own id.
    Own(Family),
    /// Of an id in a bucket.
    Bucket(Family, NodeId),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Upkeep {
    timers: TimerTable<4>,
    rng: Rng,
    bootstrap: Bootstrap,
    probes: Probes,
    refreshes: u32,
    pings: usize,
    /// When we last heard of time or the network.
    last: Instant,
}

impl Upkeep {
    pub(super) fn new(now: Instant, rng: Rng, conf: &DhtConf) -> Self {
        let mut timers = TimerTable::new();
        timers.set(Chore::Ping as usize, now + conf.ping_interval);
        timers.set(Chore::Bootstrap as usize, now);
        Self {
            timers,
            rng,
            bootstrap: Bootstrap::new(conf),
            probes: Probes::default(),
            refreshes: 0,
            pings: 0,
            last: now,
        }
    }

    /// For an id of ours.
    pub(super) fn random_id(&mut self) -> NodeId {
        random_id(&mut self.rng)
    }

    // Time.

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.timers.next()
    }

    /// Whether a chore is due; if so it is not due any more.
    pub(super) fn fire(&mut self, chore: Chore, now: Instant) -> bool {
        self.timers.fire(chore as usize, now)
    }

    /// Sets a timer, unless it comes sooner.
    fn arm(&mut self, chore: Chore, at: Instant) {
        if self.timers.get(chore as usize).is_none_or(|before| before > at) {
            self.timers.set(chore as usize, at);
        }
    }

    /// It is now later than it was, and something was `due`. True if the machine has slept: a
    /// clock that has jumped means that.
    pub(super) fn note_time(&mut self, now: Instant, due: Instant) -> bool {
        let before = std::mem::replace(&mut self.last, now);
        now.since(before) >= SLEPT && now.since(due) >= SLEPT
    }

    // The way in.

    /// Another place to begin at. True if it is new, and to be resolved now.
    pub(super) fn add_name(&mut self, now: Instant, name: &Name, conf: &DhtConf) -> bool {
        let new = self.bootstrap.add(name.clone());
        if new {
            self.arm(Chore::Bootstrap, now + conf.bootstrap_retry_min);
        }
        new
    }

    /// A name's addresses: whether it was just added, and those to ask.
    pub(super) fn resolved(
        &mut self,
        host: &str,
        port: u16,
        addrs: &[SocketAddr],
    ) -> (bool, Vec<SocketAddr>) {
        self.bootstrap.resolved(host, port, addrs)
    }

    /// Whether an address is that of a router: it belongs in no table.
    pub(super) fn is_router(&self, addr: SocketAddr) -> bool {
        self.bootstrap.is_router(addr)
    }

    /// Nodes that were saved: they are asked if the table is low.
    pub(super) fn add_cold(&mut self, now: Instant, nodes: Vec<NodeInfo>) {
        self.bootstrap.add_cold(nodes);
        self.arm(Chore::Bootstrap, now);
    }

    /// Nodes that were saved.
    pub(super) fn cold(&self) -> &[NodeInfo] {
        self.bootstrap.cold()
    }

    /// What to resolve and which nodes to ask, as long as a table is low: nodes of its family.
    pub(super) fn bootstrap(
        &mut self,
        now: Instant,
        sides: &Sides,
        conf: &DhtConf,
    ) -> (Vec<Name>, Vec<NodeInfo>) {
        let low = conf.low_table;
        if !sides.is_low(low) {
            self.bootstrap.reset(conf);
            return (Vec::new(), Vec::new());
        }
        let names = self.bootstrap.names().cloned().collect();
        let wanted = |node: &NodeInfo| sides.lacks(Family::of(node.addr.ip()), low);
        let round = (names, self.bootstrap.round(wanted));
        let pause = self.bootstrap.next_pause(now, sides.any_is_fine(low), conf);
        self.timers.set(Chore::Bootstrap as usize, now + pause);
        round
    }

    /// The network may be another.
    pub(super) fn handle_network_change(&mut self, now: Instant, conf: &DhtConf) {
        self.bootstrap.reset(conf);
        self.restart_refresh(now + REFRESH_PAUSE);
        self.arm(Chore::Bootstrap, now);
    }

    /// Nothing answers any more.
    pub(super) fn note_offline(&mut self, now: Instant) {
        self.arm(Chore::Ping, now + OFFLINE_PING);
    }

    // Pings.

    /// The node of each family that was asked longest ago is asked again: for nodes where its
    /// bucket has room.
    pub(super) fn pings(
        &mut self,
        now: Instant,
        sides: &Sides,
        conf: &DhtConf,
    ) -> Vec<(SocketAddr, Method)> {
        let mut pause = conf.ping_interval;
        let mut pings = Vec::new();
        self.pings = self.pings.wrapping_add(1);
        for side in sides.iter() {
            let offline = !side.is_online() && side.table().len() > 0;
            let contact =
                if offline { side.table().rotation(self.pings) } else { side.table().stalest() };
            let Some(contact) = contact else { continue };
            let at = side.id().shared_bits(&contact.info.id);
            let method = if side.table().is_full(at) {
                Method::Ping
            } else {
                Method::FindNode { target: random_in_bucket(side.id(), at, &mut self.rng) }
            };
            if offline {
                pause = pause.min(OFFLINE_PING);
            }
            pings.push((contact.info.addr, method));
        }
        self.timers.set(Chore::Ping as usize, now + pause);
        // A long pause was right only as long as another family had what it needs.
        let too_long = self.bootstrap.is_patient() && !sides.any_is_fine(conf.low_table);
        if too_long {
            self.bootstrap.reset(conf);
        }
        let is_set = self.timers.get(Chore::Bootstrap as usize).is_some();
        if sides.is_low(conf.low_table) && (too_long || !is_set) {
            self.timers.set(Chore::Bootstrap as usize, now);
        }
        pings
    }

    // Nodes to try.

    /// Notes a node that may be new. `addr` is canonical, and of a family that we take part in.
    pub(super) fn probe(&mut self, now: Instant, addr: SocketAddr, hint: Hint, conf: &DhtConf) {
        if addr.port() == 0 || self.is_router(addr) {
            return;
        }
        self.probes.add(now, addr, hint, conf);
        self.probes.next().into_iter().for_each(|at| self.arm(Chore::Probe, at.max(now)));
    }

    /// Whether few wait to be asked.
    pub(super) fn may_probe_more(&self, conf: &DhtConf) -> bool {
        self.probes.len() < conf.max_probes / 2
    }

    /// A node has answered.
    pub(super) fn note_answer(&mut self, addr: SocketAddr) {
        self.probes.note_answer(addr);
    }

    /// The next node to try.
    pub(super) fn pop_probe(&mut self, now: Instant, conf: &DhtConf) -> Option<SocketAddr> {
        let addr = self.probes.pop(now);
        let next = self.probes.next().map(|at| at.max(now + conf.probe_interval));
        next.into_iter().for_each(|at| self.timers.set(Chore::Probe as usize, at));
        addr
    }

    // Refreshing.

    /// Refreshing begins anew: there is much to learn.
    pub(super) fn restart_refresh(&mut self, at: Instant) {
        self.refreshes = 0;
        self.arm(Chore::Refresh, at);
    }

    /// Look-ups for nodes near us and in buckets that have room, less and less often.
    pub(super) fn refreshes(&mut self, now: Instant, sides: &Sides) -> Vec<Refresh> {
        let step = self.refreshes;
        self.refreshes = step.saturating_add(1);
        let grown = REFRESH_PAUSE * 2u32.saturating_pow(step.saturating_sub(FIRST_REFRESHES));
        let pause = if step < FIRST_REFRESHES { REFRESH_PAUSE } else { grown };
        self.timers.set(Chore::Refresh as usize, now + pause.min(MAX_REFRESH_PAUSE));
        let mut refreshes = Vec::new();
        for side in sides.iter().filter(|side| side.table().len() > 0) {
            let depth = side.table().depth().max(1);
            let bucket = step as usize / 2 % depth;
            refreshes.push(if step.is_multiple_of(2) {
                Refresh::Own(side.family())
            } else if side.table().is_full(bucket) {
                Refresh::Bucket(side.family(), side.id().with_flipped_bit(bucket + 1))
            } else {
                Refresh::Bucket(side.family(), random_in_bucket(side.id(), bucket, &mut self.rng))
            });
        }
        refreshes
    }

    #[cfg(test)]
    pub(super) fn probing(&self) -> usize {
        self.probes.len()
    }
}

fn random_id(rng: &mut Rng) -> NodeId {
    let mut id = NodeId::default();
    rng.fill(&mut id.0);
    id
}

/// A random id that shares exactly so many bits with ours.
fn random_in_bucket(own: NodeId, at: usize, rng: &mut Rng) -> NodeId {
    (0..=at.min(159)).fold(random_id(rng), |id, bit| {
        let want = if bit == at { !own.bit(bit) } else { own.bit(bit) };
        if id.bit(bit) == want { id } else { id.with_flipped_bit(bit) }
    })
}
