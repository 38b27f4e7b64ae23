//! What a torrent does when something happens to one of its peers: it connects, sends, takes, goes.
//! The torrent has the session handle it, and then draws the consequences for the others. It knows
//! connections by key only, and no message.

use crate::{
    alert::{Alert, AlertMask},
    base::{arena::Key, buf::Buf, geometry::PieceIndex, storage::StoreError, time::Instant},
    conf::Conf,
    proto::tx::Tx,
    torrent::{
        STOP, Torrent,
        cx::Cx,
        disconnect::Disconnect,
        peer_session::{Fault, Greeted, PeerBeforeContent, PeerSession},
        peers::PRIVATE,
        progress::Contributor,
    },
};

impl Torrent {
    /// Whether it wants to dial a peer now, or to wake for that.
    pub(crate) fn wants_dial(&self, now: Instant, conf: &Conf) -> bool {
        self.peers.has_room(conf) && self.has_candidate_due(now)
    }

    /// Whether a peer is known that it would dial now.
    pub(crate) fn has_candidate_due(&self, now: Instant) -> bool {
        self.is_active() && self.peers.candidates().next_due().is_some_and(|due| due <= now)
    }

    /// A peer was greeted. Returns its session's key.
    pub(crate) fn handle_greeted(&mut self, greeted: Greeted, cx: &mut Cx) -> Key {
        let Greeted { link, who, ref terms, .. } = greeted;
        if cx.alerts.wants(AlertMask::PEERS) {
            cx.alerts.push(Alert::PeerConnected {
                torrent: self.identity.id(),
                addr: who.addr,
                id: terms.peer_id,
            });
        }
        if !who.incoming {
            self.peers.candidates_mut().note_connected(who.addr);
        }
        let Self { peers, swarm, .. } = self;
        let key = if self.lifecycle.is_open() {
            swarm.look_at_shown();
            peers.insert_with(|key| {
                let mut session = PeerSession::new(key, greeted, swarm, cx);
                session.schedule(cx);
                session
            })
        } else {
            let mut early = PeerBeforeContent::new(greeted, cx);
            early.schedule(cx);
            peers.insert_early(early)
        };
        self.fetch_hashes(cx);
        self.expect_peer_exchange(cx);
        if !who.incoming && self.peers.candidates().is_forbidden(who.addr) {
            // It was dialled before the torrent turned out to be private.
            self.peers.part(link, PRIVATE);
        }
        self.watch_crowd(cx);
        self.schedule(cx);
        key
    }

    pub(crate) fn handle_data(
        &mut self,
        session: Key,
        data: &[u8],
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        if let Some(early) = self.peers.early_mut(session) {
            let result = early.handle_data(data, cx);
            self.swarm.waste(early.take_wasted(), cx);
            result?;
            let (said, (from, named)) = (early.take_on_metadata(), early.take_named());
            early.schedule(cx);
            self.handle_named(from, &named, cx);
            return self.handle_on_metadata(session, said, cx);
        }
        let Some(s) = self.peers.get_mut(session) else { return Ok(()) };
        self.swarm.limit_favours(self.slots.favours());
        let result = s.handle_data(data, &mut self.swarm, cx);
        if result.is_ok() {
            self.slots.consider(s, cx);
            s.count_favour(&mut self.swarm);
            s.schedule(cx);
            if self.lifecycle.is_finished() && s.is_upload_only() {
                let (link, reason) = (s.link(), sated(s));
                self.peers.part(link, reason);
            }
        }
        self.settle(cx);
        result
    }

    /// What is to be sent on the connection of a session.
    pub(crate) fn tx_mut(&mut self, session: Key) -> Option<&mut Tx> {
        self.peers.tx_mut(session)
    }

    pub(crate) fn handle_sent(&mut self, session: Key, bytes: usize, cx: &mut Cx) {
        if let Some(early) = self.peers.early_mut(session) {
            let payload = early.handle_sent(bytes, cx);
            self.swarm.note_sent(payload, cx);
        }
        if let Some(s) = self.peers.get_mut(session) {
            s.handle_sent(bytes, &mut self.swarm, cx);
            self.slots.recall(s);
            if self.activity.is_reached_by(self.swarm.counters().uploaded()) {
                self.timers.set(STOP, cx.now);
                self.schedule(cx);
            }
        }
    }

    /// A session's link is not read for now, because of limits: its own, or some that it shares
    /// with others.
    pub(crate) fn handle_held(&mut self, session: Key, with_others: bool, cx: &mut Cx) {
        if let Some(s) = self.peers.get_mut(session) {
            s.handle_held(with_others, &mut self.swarm, cx);
        }
    }

    /// It is read again.
    pub(crate) fn handle_resumed(&mut self, session: Key, cx: &mut Cx) {
        if let Some(s) = self.peers.get_mut(session) {
            s.handle_resumed(&mut self.swarm, cx);
            s.schedule(cx);
        }
    }

    pub(crate) fn handle_writable(&mut self, session: Key, writable: bool, cx: &mut Cx) {
        if let Some(s) = self.peers.get_mut(session) {
            s.handle_writable(writable, cx);
            self.slots.recall(s);
            s.count_favour(&mut self.swarm);
        }
    }

    /// It is this session's turn to have blocks read.
    pub(crate) fn pump_uploads(&mut self, session: Key, cx: &mut Cx) {
        if let Some(s) = self.peers.get_mut(session) {
            if self.swarm.is_quiet() {
                s.leave_line();
                return;
            }
            s.pump_uploads(&mut self.swarm, cx);
        }
    }

    /// The wake-up of a session for `at` has come.
    pub(crate) fn handle_session_timeout(
        &mut self,
        session: Key,
        at: Instant,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        if let Some(early) = self.peers.early_mut(session) {
            return early.handle_timeout(at, cx);
        }
        let Some(s) = self.peers.get_mut(session) else { return Ok(()) };
        if !s.wakes(at) {
            return Ok(());
        }
        let result = s.handle_timeout(&mut self.swarm, cx);
        if result.is_ok() {
            s.schedule(cx);
        }
        self.settle(cx);
        result
    }

    /// Blocks were read for a peer, or for one that has gone; `cold`: of this piece, which had to
    /// be fetched from the disk.
    pub(crate) fn handle_read(
        &mut self,
        session: Option<Key>,
        cold: Option<PieceIndex>,
        buf: Buf,
        result: Result<(), StoreError>,
        cx: &mut Cx,
    ) {
        self.swarm.end_job();
        if let Err(error) = &result {
            self.note_unread(error, cx);
            self.suspect_read(error, cx);
        }
        match session.and_then(|s| self.peers.get_mut(s)) {
            Some(s) => {
                let (link, result) = (s.link(), s.handle_read(buf, result, cx));
                s.count_favour(&mut self.swarm);
                if let Err(fault) = result {
                    self.peers.part(link, fault);
                }
            }
            None => cx.leases.uploads_mut().give(buf),
        }
        if let Some(piece) = cold {
            self.swarm.note_at_hand(piece, cx);
        }
        // A torrent that is to close, to be opened anew or to be moved waits for its workers.
        if self.lifecycle.is_pending() || self.swarm.is_quiet() || cold.is_some() {
            self.settle(cx);
        }
    }

    /// A link ended: one that had a session, or one that never got so far.
    pub(crate) fn handle_gone(
        &mut self,
        who: Contributor,
        session: Option<Key>,
        reason: Disconnect,
        cx: &mut Cx,
    ) {
        if let Some(peer) = session {
            self.leave_metadata(peer, who, cx);
            self.peers.early_mut(peer).into_iter().for_each(|early| early.leave(cx));
        }
        let key = session;
        let (connected, session) = session.map_or((false, None), |s| self.peers.remove(s));
        if let Some(peer) = key {
            // As long as it is among the others it would be asked again.
            self.leave_hashes(peer, cx);
        }
        // Who is let go because the torrent rests has not failed.
        let useful = !self.is_active() || session.as_ref().is_some_and(|s| s.moved() > 0);
        log::debug!("{} is gone: {reason}", who.addr);
        if cx.alerts.wants(AlertMask::PEERS) {
            cx.alerts.push(Alert::PeerGone {
                torrent: self.identity.id(),
                addr: who.addr,
                kind: reason.kind,
                reason: reason.text,
            });
        }
        let unreached = !connected && !who.incoming && !useful;
        if unreached {
            self.drought.handle_failed_dial();
        }
        let let_go = session.as_ref().is_some_and(PeerSession::is_let_go);
        let sated = self.lifecycle.is_finished()
            && session.as_ref().is_some_and(PeerSession::is_upload_only);
        let held = session.as_ref().filter(|s| s.holds()).and_then(|s| s.reach());
        if let Some(session) = session {
            self.leave_slots(&session, cx.now);
            session.leave(&mut self.swarm, cx);
        }
        if let Some(addr) = if who.incoming { held } else { Some(who.addr) } {
            // It is dialled again when it is not connected the other way round either.
            if self.peers.inherit(addr) {
                // It is not dialled as long as that connection lasts.
            } else if sated {
                self.peers.candidates_mut().shelve(addr);
            } else if let_go {
                self.peers.candidates_mut().rest(cx.now, addr, &mut cx.rng, &cx.conf);
            } else {
                let candidates = self.peers.candidates_mut();
                candidates.release(cx.now, addr, useful, &mut cx.rng, &cx.conf);
            }
        }
        if unreached {
            self.meet_unreached(who.addr, cx);
        }
        self.settle(cx);
    }
}

/// Why the connection with a peer ends that we want nothing of and that wants nothing of us.
pub(super) fn sated(session: &PeerSession) -> &'static str {
    if session.is_seed() { "both have everything" } else { "both only upload" }
}
