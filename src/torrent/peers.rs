//! A torrent's peers: who is to come, who came, what reaches their sessions, who went. A session is
//! found by its key, and a late answer for one that has gone finds nothing. It knows links by key
//! only, and no message.

use std::net::SocketAddr;

use crate::{
    alert::{Alert, AlertMask},
    base::{
        arena::Key, buf::Buf, geometry::PieceIndex, ids::PeerId, ip_filter::host_of,
        job::StoreError, time::Instant,
    },
    conf::Conf,
    proto::tx::Tx,
    torrent::{
        STOP, Torrent,
        cx::Cx,
        gone::Gone,
        peer_session::{Fault, PeerSession, Terms},
        progress::Contributor,
    },
};

/// A way a connection can be closed by its torrent.
#[derive(Debug)]
pub(crate) struct Parting {
    pub(crate) link: Key,
    pub(crate) reason: Gone,
}

/// A link to a peer that another link reaches, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Twin {
    pub(crate) link: Key,
    /// A block has passed on it.
    pub(crate) used: bool,
    /// When something came on it last.
    pub(crate) heard: Instant,
    /// It was dialled by the other end than the new one.
    pub(crate) across: bool,
}

impl Torrent {
    /// Whether it wants to dial a peer now, or to wake for that.
    pub(crate) fn wants_dial(&self, now: Instant, conf: &Conf) -> bool {
        self.has_room(conf) && self.has_candidate_due(now)
    }

    /// Whether it may have another connection.
    pub(crate) fn has_room(&self, conf: &Conf) -> bool {
        self.sessions.len() + self.dials < conf.peers.max_per_torrent
    }

    /// Whether a peer is known that it would dial now.
    pub(crate) fn has_candidate_due(&self, now: Instant) -> bool {
        self.is_active() && self.candidates.next_due().is_some_and(|due| due <= now)
    }

    /// Another link to the same peer, if there is one. A peer is the same if it has the same id and
    /// comes from the same host: ids are no secret, so a peer elsewhere may not keep another out by
    /// using its id.
    pub(crate) fn twin(&self, who: Contributor, id: PeerId) -> Option<Twin> {
        let host = host_of(who.addr.ip());
        let twin = |s: &PeerSession| s.terms.peer_id == id && host_of(s.who.addr.ip()) == host;
        let (_, s) = self.sessions.iter().find(|(_, s)| twin(s))?;
        let (link, used, heard) = (s.link, s.useful > 0 || s.uploaded > 0, s.heard);
        Some(Twin { link, used, heard, across: s.who.incoming != who.incoming })
    }

    /// A link that we dialled is not wanted, since its peer has dialled us on `twin`: that one
    /// stays, and the peer is not dialled again as long as it does.
    pub(crate) fn keep_twin(&mut self, twin: Key, dialled: Contributor) {
        let session = self.sessions.iter_mut().map(|(_, s)| s).find(|s| s.link == twin);
        if let Some(session) = session.filter(|s| s.who.incoming && !s.holds) {
            session.reach = Some(dialled.addr);
        }
    }

    /// The link that makes room for a new peer when there are enough: of those that no block has
    /// passed on and none can pass on now the one that is worth least (BEP 40), if the new one
    /// is worth more. `None` if we do not know what they are worth.
    pub(crate) fn least_worthy(&self, than: SocketAddr) -> Option<Key> {
        let idle = |s: &&PeerSession| s.useful == 0 && s.uploaded == 0 && !s.may_exchange();
        let worth =
            |s: &PeerSession| self.candidates.worth(s.who.addr).map(|worth| (worth, s.link));
        let (least, link) =
            self.sessions.iter().map(|(_, s)| s).filter(idle).filter_map(worth).min()?;
        (least < self.candidates.worth(than)?).then_some(link)
    }

    pub(super) fn part_all(&mut self, reason: &str) {
        self.partings.extend(
            self.sessions
                .iter()
                .map(|(_, s)| Parting { link: s.link, reason: Gone::stopped(reason) }),
        );
    }

    /// A peer was greeted. Returns its session's key.
    pub(crate) fn handle_greeted(
        &mut self,
        link: Key,
        who: Contributor,
        terms: Terms,
        tx: Tx,
        cx: &mut Cx,
    ) -> Key {
        if cx.alerts.wants(AlertMask::PEERS) {
            cx.alerts.push(Alert::PeerConnected {
                torrent: self.id,
                addr: who.addr,
                id: terms.peer_id,
            });
        }
        if !who.incoming {
            self.candidates.note_connected(who.addr);
        }
        let mut session = PeerSession::new(link, who, terms, tx, &self.swarm, cx);
        session.schedule(cx);
        self.swarm.super_seed.iter_mut().for_each(|ledger| ledger.look_again());
        let key = self.sessions.insert(session);
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
        let Some(s) = self.sessions.get_mut(session) else { return Ok(()) };
        self.swarm.max_favoured = self.slots.favours();
        let result = s.handle_data(data, &mut self.swarm, cx);
        if result.is_ok() {
            self.slots.consider(s, cx);
            s.count_favour(&mut self.swarm);
            s.schedule(cx);
            if self.finished && s.is_upload_only() {
                self.partings.push(sated(s));
            }
        }
        self.settle(cx);
        result
    }

    pub(crate) fn handle_sent(&mut self, session: Key, bytes: usize, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            s.handle_sent(bytes, &mut self.swarm, cx);
            if self.service.is_reached_by(self.swarm.counters.up.total()) {
                self.timers.set(STOP, cx.now);
                self.schedule(cx);
            }
        }
    }

    /// A session's link is not read for now, because of limits: its own, or some that it shares
    /// with others.
    pub(crate) fn handle_held(&mut self, session: Key, with_others: bool, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            s.handle_held(with_others, &mut self.swarm, cx);
        }
    }

    /// It is read again.
    pub(crate) fn handle_resumed(&mut self, session: Key, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            s.handle_resumed(&mut self.swarm, cx);
            s.schedule(cx);
        }
    }

    pub(crate) fn handle_writable(&mut self, session: Key, writable: bool, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            s.handle_writable(writable, cx);
            s.count_favour(&mut self.swarm);
        }
    }

    /// It is this session's turn to have blocks read.
    pub(crate) fn pump_uploads(&mut self, session: Key, cx: &mut Cx) {
        if let Some(s) = self.sessions.get_mut(session) {
            if self.swarm.quiet {
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
        let Some(s) = self.sessions.get_mut(session) else { return Ok(()) };
        if !s.wakeup.fire(at) {
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
        self.swarm.jobs_out = self.swarm.jobs_out.saturating_sub(1);
        if let Err(error) = &result {
            self.note_unread(error, cx);
            self.suspect_read(error, cx);
        }
        match session.and_then(|s| self.sessions.get_mut(s)) {
            Some(s) => {
                if let Err(fault) = s.handle_read(buf, result, cx) {
                    self.partings.push(Parting { link: s.link, reason: fault.into() });
                }
                s.count_favour(&mut self.swarm);
            }
            None => cx.uploads.give(buf),
        }
        if let Some(piece) = cold {
            self.swarm.note_at_hand(piece, cx);
        }
        // A torrent that is to close, to be opened anew or to be moved waits for its workers.
        if self.next.is_some() || self.swarm.quiet || cold.is_some() {
            self.settle(cx);
        }
    }

    /// A link ended: one that had a session, or one that never got so far.
    pub(crate) fn handle_gone(
        &mut self,
        who: Contributor,
        session: Option<Key>,
        reason: Gone,
        cx: &mut Cx,
    ) {
        let session = session.and_then(|s| self.sessions.remove(s));
        // Who is let go because the torrent rests has not failed.
        let useful =
            !self.is_active() || session.as_ref().is_some_and(|s| s.useful > 0 || s.uploaded > 0);
        log::debug!("{} is gone: {reason}", who.addr);
        if cx.alerts.wants(AlertMask::PEERS) {
            cx.alerts.push(Alert::PeerGone {
                torrent: self.id,
                addr: who.addr,
                kind: reason.kind,
                reason: reason.text,
            });
        }
        if session.is_none() && !who.incoming && !useful {
            self.spell.handle_failed_dial();
        }
        let let_go = session.as_ref().is_some_and(|s| s.let_go);
        let sated = self.finished && session.as_ref().is_some_and(PeerSession::is_upload_only);
        let held = session.as_ref().filter(|s| s.holds).and_then(|s| s.reach);
        if let Some(session) = session {
            self.leave_slots(&session, cx.now);
            session.leave(&mut self.swarm, cx);
        }
        if let Some(addr) = if who.incoming { held } else { Some(who.addr) } {
            // It is dialled again when it is not connected the other way round either.
            match self
                .sessions
                .iter_mut()
                .map(|(_, s)| s)
                .find(|s| s.who.incoming && s.reach == Some(addr))
            {
                Some(twin) => twin.holds = true,
                None if sated => self.candidates.shelve(addr),
                None if let_go => self.candidates.rest(cx.now, addr, &mut cx.rng, &cx.conf),
                None => self.candidates.release(cx.now, addr, useful, &mut cx.rng, &cx.conf),
            }
        }
        self.settle(cx);
    }
}

/// Neither of us wants anything.
pub(super) fn sated(session: &PeerSession) -> Parting {
    let reason = if session.is_seed() { "both have everything" } else { "both only upload" };
    Parting { link: session.link, reason: reason.into() }
}
