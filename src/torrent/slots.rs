//! A torrent's upload slots: who has one, who waits, and when that is thought over. What is decided
//! is the [`choker`](super::choker)'s.
//!
//! An idle torrent has no timer: rounds come only while a peer waits for a slot.

use std::{collections::BTreeSet, net::IpAddr, time::Duration};

use crate::{
    base::{arena::Key, bucket::Rate, ip_filter::host_of, time::Instant},
    conf::{Conf, SeedChoking},
    torrent::{
        CHOKE, Torrent,
        choker::{self, Mode, Row, Rules},
        cx::Cx,
        peer_session::PeerSession,
    },
};

/// How a session stands with the choker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Standing {
    /// It is counted among those that want a slot.
    wants: bool,
    pub(crate) optimistic: bool,
    /// Since when it is unchoked, or since when it waits.
    since: Instant,
    newcomer: bool,
    /// Bytes sent to it before it was unchoked.
    sent_before: u64,
    /// When it took bytes of blocks last.
    took: Instant,
    host: IpAddr,
    /// When a session of its host lost a slot last.
    host_served: Instant,
}

impl Standing {
    /// It took bytes of blocks.
    pub(crate) fn note_taken(&mut self, now: Instant) {
        self.took = now;
    }

    /// For how long it has taken nothing; `turn`: of its turn only.
    pub(crate) fn took_nothing_for(&self, now: Instant, turn: bool) -> Duration {
        now.since(if turn { self.took.max(self.since) } else { self.took })
    }

    /// Whether it is counted among those that want a slot.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn wants(&self) -> bool {
        self.wants
    }

    pub(crate) fn new(now: Instant, ip: IpAddr) -> Self {
        let (host, host_served) = (host_of(ip), Instant::ZERO);
        Self {
            wants: false,
            optimistic: false,
            since: now,
            newcomer: true,
            sent_before: 0,
            took: now,
            host,
            host_served,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Slots {
    /// The user's number; `None` is as many as seems right.
    count: Option<usize>,
    /// The tightest limit on what the torrent may send, bytes per second.
    up_limit: Option<u64>,
    seed_choking: SeedChoking,
    /// Sessions that are unchoked, those that want to be, and those that are both.
    unchoked: usize,
    wanting: usize,
    served: usize,
    /// A peer waits and a slot may be had.
    vacant: bool,
}

impl Slots {
    pub(crate) fn new(conf: &Conf) -> Self {
        let (count, seed_choking) = (conf.uploads.slots, conf.uploads.seed_choking);
        Self {
            count,
            up_limit: conf.network.limits.up.map(Rate::get),
            seed_choking,
            unchoked: 0,
            wanting: 0,
            served: 0,
            vacant: false,
        }
    }

    fn total(&self) -> usize {
        self.count.unwrap_or_else(|| choker::auto_slots(self.up_limit))
    }

    /// How many choked peers may be served at a time what they may have while choked: as many as
    /// are tried, since that is what it is.
    pub(super) fn favours(&self) -> usize {
        choker::optimistic_slots(self.total())
    }

    /// Peers that want a slot and have none.
    fn waiting(&self) -> usize {
        self.wanting.saturating_sub(self.served)
    }

    fn leave(&mut self, session: &PeerSession) {
        let unchoked = !session.choking;
        self.wanting = self.wanting.saturating_sub(usize::from(session.standing.wants));
        self.unchoked = self.unchoked.saturating_sub(usize::from(unchoked));
        self.served = self.served.saturating_sub(usize::from(unchoked && session.standing.wants));
        self.vacant |= unchoked;
    }

    /// A session's interest, or what it has, may have changed.
    pub(super) fn consider(&mut self, s: &mut PeerSession, cx: &mut Cx) {
        s.note_involvement(cx.now);
        let wants = s.peer_interested && !s.is_upload_only();
        if wants == std::mem::replace(&mut s.standing.wants, wants) {
            return;
        }
        let served = usize::from(!s.choking);
        if !wants {
            self.wanting = self.wanting.saturating_sub(1);
            self.served = self.served.saturating_sub(served);
            self.vacant |= served > 0;
            return;
        }
        self.wanting += 1;
        self.served += served;
        if s.choking {
            s.standing.since = cx.now;
            if self.unchoked < self.total() {
                self.set(s, true, false, cx);
            } else {
                self.vacant |= self.unchoked > self.served;
            }
        }
    }

    /// Gives a session a slot, or takes it away.
    fn set(&mut self, s: &mut PeerSession, unchoked: bool, optimistic: bool, cx: &mut Cx) {
        s.standing.optimistic = unchoked && optimistic;
        if unchoked != s.choking {
            return;
        }
        s.standing.since = cx.now;
        let wants = usize::from(s.standing.wants);
        if unchoked {
            s.standing.newcomer = false;
            s.standing.sent_before = s.uploaded;
            self.unchoked += 1;
            self.served += wants;
        } else {
            self.unchoked = self.unchoked.saturating_sub(1);
            self.served = self.served.saturating_sub(wants);
        }
        s.set_choking(!unchoked, cx);
    }
}

#[cfg(any(test, feature = "sim"))]
impl Torrent {
    /// What is wrong with the counts, if anything.
    pub(super) fn audit_slots(&self) -> Result<(), String> {
        let count = |is: fn(&PeerSession) -> bool| self.peers.iter().filter(|(_, s)| is(s)).count();
        let found = [
            count(|s| !s.choking),
            count(|s| s.standing.wants),
            count(|s| !s.choking && s.standing.wants),
        ];
        let counted = [self.slots.unchoked, self.slots.wanting, self.slots.served];
        if found != counted {
            return Err(format!(
                "{found:?} peers are unchoked, want a slot, and both, and {counted:?} are counted"
            ));
        }
        Ok(())
    }
}

impl Torrent {
    /// At the end of every input: fills what became free, and keeps the timer going while a peer
    /// waits.
    pub(super) fn tend_slots(&mut self, cx: &mut Cx) {
        if std::mem::take(&mut self.slots.vacant) && self.slots.waiting() > 0 && self.is_active() {
            let rules = self.rules(cx).filling();
            self.grant_slots(&rules, cx);
        }
        if self.slots.waiting() == 0 || self.slots.total() == 0 {
            self.timers.stop(CHOKE);
        } else if self.timers.get(CHOKE).is_none() {
            self.timers.set(CHOKE, cx.now + cx.conf.uploads.choke_interval);
        }
    }

    /// The time has come to think over who is served.
    pub(super) fn choke_round(&mut self, cx: &mut Cx) {
        let rules = self.rules(cx);
        self.grant_slots(&rules, cx);
    }

    /// See [`Verbs::set_upload_slots`](crate::Verbs::set_upload_slots).
    pub(crate) fn set_upload_slots(&mut self, slots: Option<usize>, cx: &mut Cx) {
        self.slots.count = slots;
        self.choke_round(cx);
        self.settle(cx);
    }

    /// What the torrent may send is limited to this, or not any more.
    pub(crate) fn set_up_limit(&mut self, limit: Option<Rate>, cx: &mut Cx) {
        self.slots.up_limit = limit.map(Rate::get);
        self.choke_round(cx);
        self.settle(cx);
    }

    /// See [`Verbs::set_seed_choking`](crate::Verbs::set_seed_choking).
    pub(crate) fn set_seed_choking(&mut self, policy: SeedChoking, cx: &mut Cx) {
        self.slots.seed_choking = policy;
        self.settle(cx);
    }

    fn rules(&self, cx: &Cx) -> Rules {
        let mode = if self.swarm.is_finished() {
            Mode::Seed(self.slots.seed_choking)
        } else {
            Mode::TitForTat
        };
        Rules::new(mode, self.slots.total(), &cx.conf)
    }

    /// A session is over: if it had a slot, its host has had its turn.
    pub(super) fn leave_slots(&mut self, session: &PeerSession, now: Instant) {
        self.slots.leave(session);
        if !session.choking {
            self.note_served(|host| host == session.standing.host, now);
        }
    }

    fn note_served(&mut self, host: impl Fn(IpAddr) -> bool, now: Instant) {
        let of_host = self
            .peers
            .iter_mut()
            .map(|(_, s)| &mut s.standing)
            .filter(|standing| host(standing.host));
        of_host.for_each(|standing| standing.host_served = now);
    }

    fn grant_slots(&mut self, rules: &Rules, cx: &mut Cx) {
        let total = self.swarm.geometry.total_len().max(1);
        let row = |(key, s): (Key, &PeerSession)| Row {
            key,
            host: s.standing.host,
            host_served: s.standing.host_served,
            wants: s.standing.wants,
            unchoked: !s.choking,
            optimistic: s.standing.optimistic,
            since: s.standing.since,
            newcomer: s.standing.newcomer,
            snubbed: s.is_snubbed(),
            stalled: s.is_stalled(cx.now, cx.conf.uploads.optimistic_interval),
            from: s.given.rate(cx.now),
            to: s.taken.rate(cx.now),
            sent: s.uploaded.saturating_sub(s.standing.sent_before),
            progress: progress(s, total),
        };
        let asks = |(_, s): &(Key, &PeerSession)| s.standing.wants || !s.choking;
        let rows: Vec<Row> = self.peers.iter().filter(asks).map(row).collect();
        let mut grants = choker::decide(&rows, rules, cx.now, &mut cx.rng);
        grants.sort_unstable();
        let grant_of = |key| {
            grants.binary_search_by_key(&key, |grant| grant.key).ok().and_then(|at| grants.get(at))
        };
        let losing = |row: &&Row| row.unchoked && grant_of(row.key).is_none();
        let served: BTreeSet<IpAddr> = rows.iter().filter(losing).map(|row| row.host).collect();
        self.note_served(|host| served.contains(&host), cx.now);
        for row in rows {
            let Some(session) = self.peers.get_mut(row.key) else { continue };
            let grant = grant_of(row.key);
            self.slots.set(
                session,
                grant.is_some(),
                grant.is_some_and(|grant| grant.optimistic),
                cx,
            );
            session.count_favour(&mut self.swarm);
        }
    }
}

/// How much of the torrent a peer has, per mille. It may say less than it has; what we sent it we
/// know.
fn progress(s: &PeerSession, total: u64) -> u32 {
    let says = u64::from(s.has.count()) * 1000 / u64::from(s.has.len().max(1));
    let known = s.uploaded.saturating_mul(1000) / total;
    says.max(known).min(1000) as u32
}
