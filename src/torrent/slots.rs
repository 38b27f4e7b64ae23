//! A torrent's upload slots: who has one, who waits, and when that is thought over. What is decided
//! is the [`choker`](super::choker)'s.
//!
//! A round looks at all peers. Between two rounds a seed that serves in turns fills what becomes
//! free from a [queue](SlotQueue), at a cost that does not grow with the number of peers. An
//! idle torrent has no timer: rounds come only while a peer waits for a slot.

#[cfg(any(test, feature = "sim"))]
use std::collections::BTreeMap;
use std::{collections::BTreeSet, net::IpAddr};

use crate::{
    base::{arena::Key, bucket::Rate, time::Instant},
    conf::{Conf, SeedChoking},
    torrent::{
        CHOKE, Torrent,
        choker::{self, Mode, Row, Rules, Slot},
        cx::Cx,
        peer_session::PeerSession,
        slot_queue::SlotQueue,
    },
};

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
    /// Those that want to be unchoked and are not, by turn.
    queue: SlotQueue,
    /// Those that are unchoked and do not want to be.
    idle: BTreeSet<Key>,
    /// A peer waits and a slot may be had.
    vacant: bool,
    /// By what slots were given last.
    mode: Option<Mode>,
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
            queue: SlotQueue::default(),
            idle: BTreeSet::new(),
            vacant: false,
            mode: None,
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

    /// A session is over.
    pub(super) fn leave(&mut self, session: &PeerSession, now: Instant) {
        let unchoked = !session.is_choking();
        self.forget(session);
        if unchoked {
            self.queue.note_served(session.standing().host(), now);
        }
        self.wanting = self.wanting.saturating_sub(usize::from(session.standing().wants()));
        self.unchoked = self.unchoked.saturating_sub(usize::from(unchoked));
        self.served =
            self.served.saturating_sub(usize::from(unchoked && session.standing().wants()));
        self.vacant |= unchoked;
    }

    /// Takes a session out of where it waits or is served.
    fn forget(&mut self, s: &PeerSession) {
        let standing = s.standing();
        match (s.is_choking(), standing.wants()) {
            (true, true) => {
                self.queue.leave(standing.host(), standing.since(), standing.key());
            }
            (false, true) => self.queue.end_service(standing.host()),
            (false, false) => _ = self.idle.remove(&standing.key()),
            (true, false) => {}
        }
    }

    /// Puts a session where it waits or is served now.
    fn remember(&mut self, s: &PeerSession) {
        let standing = s.standing();
        match (s.is_choking(), standing.wants()) {
            (true, true) => {
                self.queue.wait(standing.host(), standing.since(), standing.key());
            }
            (false, true) => self.queue.serve(standing.host()),
            (false, false) => _ = self.idle.insert(standing.key()),
            (true, false) => {}
        }
    }

    /// A session may take bytes again.
    pub(super) fn recall(&mut self, s: &PeerSession) {
        self.queue.recall(s.standing().since(), s.standing().key());
    }

    /// A session's interest, or what it has, may have changed.
    pub(super) fn consider(&mut self, s: &mut PeerSession, cx: &mut Cx) {
        s.note_interest(cx.now);
        let wants = s.is_peer_interested() && !s.is_upload_only();
        if wants == s.standing().wants() {
            return;
        }
        self.forget(s);
        s.standing_mut().set_wants(wants);
        if wants && s.is_choking() {
            s.standing_mut().begin_to_wait(cx.now);
        }
        self.remember(s);
        let served = usize::from(!s.is_choking());
        if !wants {
            self.wanting = self.wanting.saturating_sub(1);
            self.served = self.served.saturating_sub(served);
            self.vacant |= served > 0;
            return;
        }
        self.wanting += 1;
        self.served += served;
        if s.is_choking() {
            if self.unchoked < self.total() {
                self.set(s, true, false, cx);
            } else {
                self.vacant |= self.unchoked > self.served;
            }
        }
    }

    /// Gives a session a slot, or takes it away.
    fn set(&mut self, s: &mut PeerSession, unchoked: bool, optimistic: bool, cx: &mut Cx) {
        s.standing_mut().set_optimistic(unchoked && optimistic);
        if unchoked != s.is_choking() {
            return;
        }
        self.forget(s);
        self.change(s, unchoked, cx);
        self.remember(s);
    }

    /// The same for a session that the queue has let go already.
    fn change(&mut self, s: &mut PeerSession, unchoked: bool, cx: &mut Cx) {
        let wants = usize::from(s.standing().wants());
        if unchoked {
            let sent = s.bytes_sent();
            s.standing_mut().handle_unchoke(cx.now, sent);
            self.unchoked += 1;
            self.served += wants;
        } else {
            s.standing_mut().begin_to_wait(cx.now);
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
            count(|s| !s.is_choking()),
            count(|s| s.standing().wants()),
            count(|s| !s.is_choking() && s.standing().wants()),
        ];
        let counted = [self.slots.unchoked, self.slots.wanting, self.slots.served];
        if found != counted {
            return Err(format!(
                "{found:?} peers are unchoked, want a slot, and both, and {counted:?} are counted"
            ));
        }
        let standings = || self.peers.iter().map(|(_, s)| (s.is_choking(), s.standing()));
        let waiting: BTreeSet<_> = standings()
            .filter(|(choking, s)| *choking && s.wants())
            .map(|(_, s)| (s.host(), s.since(), s.key()))
            .collect();
        let mut slots: BTreeMap<IpAddr, usize> = BTreeMap::new();
        standings()
            .filter(|(choking, s)| !choking && s.wants())
            .for_each(|(_, s)| *slots.entry(s.host()).or_default() += 1);
        let idle: BTreeSet<Key> = standings()
            .filter(|(choking, s)| !choking && !s.wants())
            .map(|(_, s)| s.key())
            .collect();
        let Slots { queue, idle: counted, .. } = &self.slots;
        if queue.waiting() != waiting || queue.slots() != slots || *counted != idle {
            return Err(format!("peers that wait for a slot: {:?}", self.slots.queue));
        }
        if let Some((key, _)) = self.peers.iter().find(|(key, s)| *key != s.standing().key()) {
            return Err(format!("a session does not know that its key is {key:?}"));
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
            let in_turns = Mode::Seed(SeedChoking::RoundRobin);
            if rules.mode == in_turns && self.slots.mode == Some(in_turns) {
                self.fill_slots(cx);
            } else {
                self.grant_slots(&rules, cx);
            }
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
        self.slots.leave(session, now);
    }

    /// Gives slots that became free to the peers whose turn is next, without a look at the others:
    /// no peer that wants its slot loses it. A slot whose peer does not want it any more counts as
    /// free.
    fn fill_slots(&mut self, cx: &mut Cx) {
        let Self { slots, peers, swarm, .. } = self;
        let (now, patience) = (cx.now, cx.conf.uploads.optimistic_interval);
        let total = slots.total();
        let room = total.saturating_sub(slots.served);
        let chosen = slots
            .queue
            .choose(room, |key| peers.get(key).is_some_and(|s| s.is_stalled(now, patience)));
        let lose = (slots.unchoked + chosen.len()).saturating_sub(total);
        let idle: Vec<Key> = slots.idle.iter().rev().take(lose).copied().collect();
        for key in idle {
            let Some(session) = peers.get_mut(key) else { continue };
            slots.queue.note_served(session.standing().host(), now);
            slots.set(session, false, false, cx);
            session.count_favour(swarm);
        }
        for key in chosen {
            let Some(session) = peers.get_mut(key) else { continue };
            session.standing_mut().set_optimistic(false);
            slots.change(session, true, cx);
            session.count_favour(swarm);
        }
    }

    fn grant_slots(&mut self, rules: &Rules, cx: &mut Cx) {
        self.slots.mode = Some(rules.mode);
        self.slots.queue.recall_all();
        let total = self.swarm.geometry().held_len().max(1);
        let row = |(key, s): (Key, &PeerSession)| Row {
            key,
            host: s.standing().host(),
            host_served: self.slots.queue.served(s.standing().host()),
            wants: s.standing().wants(),
            slot: Slot::new(!s.is_choking(), s.standing().is_optimistic()),
            since: s.standing().since(),
            newcomer: s.standing().is_newcomer(),
            snubbed: s.is_snubbed(),
            stalled: s.is_stalled(cx.now, cx.conf.uploads.optimistic_interval),
            from: s.useful_rate(cx.now),
            to: s.sent_rate(cx.now),
            sent: s.standing().sent_of(s.bytes_sent()),
            progress: progress(s, total),
        };
        let asks = |(_, s): &(Key, &PeerSession)| s.standing().wants() || !s.is_choking();
        let rows: Vec<Row> = self.peers.iter().filter(asks).map(row).collect();
        let mut grants = choker::decide(&rows, rules, cx.now, &mut cx.rng);
        grants.sort_unstable();
        let grant_of = |key| {
            grants.binary_search_by_key(&key, |grant| grant.key).ok().and_then(|at| grants.get(at))
        };
        let losing = |row: &&Row| row.is_unchoked() && grant_of(row.key).is_none();
        let served: BTreeSet<IpAddr> = rows.iter().filter(losing).map(|row| row.host).collect();
        served.into_iter().for_each(|host| self.slots.queue.note_served(host, cx.now));
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
    let says = u64::from(s.has().count()) * 1000 / u64::from(s.has().len().max(1));
    let known = s.bytes_sent().saturating_mul(1000) / total;
    says.max(known).min(1000) as u32
}
