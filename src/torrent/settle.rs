//! The end of every input: what sessions left in the ledger is delivered to their siblings, and
//! consequences are drawn, in the same turn. It is the only place where one session's doings reach
//! another.

use std::cmp::Reverse;

use crate::{
    alert::{Alert, AlertMask, PeerGoneKind},
    base::{arena::Key, geometry::PieceIndex},
    torrent::{
        PAROLE, PROGRESS, SAVE, Torrent, cx::Cx, disconnect::Disconnect, peer_input::sated,
        peer_session::PeerSession, progress::OrderKey, swarm::Note,
    },
};

impl Torrent {
    /// Delivers what sessions left in the ledger, and draws the consequences.
    pub(crate) fn settle(&mut self, cx: &mut Cx) {
        self.deliver_all(cx);
        self.wake_if_wanting();
        self.finish(true, cx);
        self.show_pieces(cx);
        self.tend_web_seeds(cx);
        self.go_on(cx);
        // What is done to all files has begun, or is over.
        if self.swarm.has_news() {
            self.deliver_all(cx);
        }
        self.tend_reads(cx);
        self.tend_slots(cx);
        self.tend_trackers(cx);
        self.keep_time(cx);
        self.tend_drought(cx);
        if let Some(at) = self
            .swarm
            .next_parole()
            .filter(|&at| self.timers.get(PAROLE).is_none_or(|set| at < set))
        {
            self.timers.set(PAROLE, at);
        }
        if self.timers.get(PROGRESS).is_none() && self.wants_progress(cx) {
            self.timers.set(PROGRESS, cx.now + cx.conf.alerts.progress_interval);
        }
        self.schedule(cx);
    }

    /// Delivers what sessions left in the ledger, and asks for more where that made room.
    pub(super) fn deliver_all(&mut self, cx: &mut Cx) {
        while let Some(note) = self.swarm.poll_note() {
            self.deliver(note, cx);
        }
        if self.swarm.take_refill() && self.is_active() {
            // What made this necessary may concern those, too, that have no room: that nothing may
            // be asked for any more, or in another order.
            for (_, session) in self.peers.iter_mut() {
                session.count_fetching(&mut self.swarm, cx);
            }
            for key in self.by_merit(cx) {
                if let Some(session) = self.peers.get_mut(key) {
                    session.refill(&mut self.swarm, cx);
                    session.schedule(cx);
                }
                if self.swarm.is_in_want(cx) {
                    // The others would look in vain. They do when memory comes back; copies of what
                    // is late they find by the time.
                    break;
                }
            }
        }
    }

    /// The sessions whose pipeline has room, in the order in which they are served. One that does
    /// not deliver comes last, or it would take at once what it was just relieved of; where
    /// memory is short the fastest come first, since they give it back soonest. Among equals
    /// the oldest connection comes first: peers that never deliver and come back again and
    /// again must not take the turn of others.
    fn by_merit(&self, cx: &Cx) -> Vec<Key> {
        let short = !cx.leases.pieces().has_room(cx.conf.requests.max_piece_memory / 2);
        let rate = |s: &PeerSession| if short { s.pipeline().rate(cx.now) } else { 0 };
        let unfilled = self.swarm.unfilled();
        let mut order: Vec<_> = unfilled
            .filter_map(|key| Some((key, self.peers.get(key)?)))
            .map(|(key, s)| ((s.is_reluctant(), Reverse(rate(s)), s.began()), key))
            .collect();
        order.sort_by_key(|&(merit, _)| merit);
        order.into_iter().map(|(_, key)| key).collect()
    }

    fn deliver(&mut self, note: Note, cx: &mut Cx) {
        match note {
            Note::Have(piece) => {
                let wanted = !self.swarm.is_skipped(piece);
                for (_, session) in self.peers.iter_mut() {
                    session.handle_our_have(piece, wanted, &mut self.swarm, cx);
                }
                self.storage.reads.forget(piece);
                self.changed(cx);
                if cx.alerts.wants(AlertMask::PIECES) {
                    cx.alerts.push(Alert::PieceDone { torrent: self.identity.id(), piece });
                }
            }
            Note::Failed(piece, contributors) => {
                log::info!(
                    "piece {} is bad; {contributors} peers had sent parts of it",
                    piece.get()
                );
                cx.alerts.push(Alert::PieceFailed {
                    torrent: self.identity.id(),
                    piece,
                    contributors,
                });
            }
            Note::Culprit(piece) => self.want_leaves(piece, cx),
            Note::HashTalk(peer, talk) => self.handle_hash_talk(peer, talk, cx),
            Note::Root(piece, root) => self.handle_root(piece, root, cx),
            Note::Contradiction(piece) => {
                log::error!(
                    "piece {} of {} has hashes of different data: it is no torrent",
                    piece.get(),
                    self.content.name()
                );
                let torrent = self.identity.id();
                cx.alerts.push(Alert::HashesContradict { torrent, piece });
                self.pause(cx);
            }
            Note::Cancel(block, except) => {
                let others = |s: &PeerSession| OrderKey::Peer(s.link()) != except;
                for (_, session) in self.peers.iter_mut().filter(|(_, s)| others(s)) {
                    session.cancel(block, &mut self.swarm, cx);
                    session.schedule(cx);
                }
                self.cancel_in_web_seeds(block, except, cx);
            }
            Note::Recall(owner, piece) => {
                let is_owner = |s: &PeerSession| OrderKey::Peer(s.link()) == owner;
                if let Some((_, session)) = self.peers.iter_mut().find(|(_, s)| is_owner(s)) {
                    session.recall(piece, &mut self.swarm, cx);
                    session.schedule(cx);
                }
            }
            Note::AtHand(piece) => self.suggest(piece, cx),
            Note::Ban(who) => {
                if self.peers.candidates().is_banned(cx.now, who) {
                    return;
                }
                log::warn!("{} sent bad data and is banned", who.addr);
                self.peers.candidates_mut().ban(cx.now, who, &cx.conf);
                cx.alerts.push(Alert::PeerBanned { torrent: self.identity.id(), addr: who.addr });
                let reason = Disconnect::new(PeerGoneKind::BadData, "it sent bad data");
                self.peers.part_banned(cx.now, who, &reason);
            }
            Note::BadWebSeed(seed, piece) => self.accuse_web_seed(seed, piece, cx),
            Note::Reach(link, addr) => {
                self.peers.hold(link, addr);
                self.expect_peer_exchange(cx);
            }
            Note::ReadInfo => self.read_info(cx),
            Note::AwaitsPeers(peer) => self.tell_of_peers_at_first(peer, cx),
            Note::Named(from, peers) => self.handle_named(from, &peers, cx),
            Note::Rendezvous(from, target) => self.handle_rendezvous(from, target, cx),
            Note::Punch(relay, addr) => self.handle_punch(relay, addr, cx),
        }
    }

    /// Tells those who can use it that `piece` is at hand (BEP 6 suggest).
    pub(crate) fn suggest(&mut self, piece: PieceIndex, cx: &mut Cx) {
        if self.swarm.have().has(piece) {
            for (_, session) in self.peers.iter_mut() {
                session.suggest(piece, cx);
                session.schedule(cx);
            }
        }
    }

    /// Draws the consequences of having all that is wanted, once. `is_news`: the user is told.
    pub(super) fn finish(&mut self, is_news: bool, cx: &mut Cx) {
        if !self.swarm.is_finished() || !self.lifecycle.finish() {
            return;
        }
        // Nothing more will be written: the saved state can say so.
        self.saves.note_all_written();
        if is_news {
            cx.alerts
                .push(Alert::Finished { torrent: self.identity.id(), stats: self.stats(cx.now) });
        }
        self.begin_super_seeding(cx);
        self.peers.part_where(|s| s.is_upload_only().then(|| sated(s).into()));
        if self.swarm.is_upload_only() {
            for (_, session) in self.peers.iter_mut().filter(|(_, s)| !s.is_upload_only()) {
                session.tell_upload_only(true, cx);
                session.schedule(cx);
            }
        }
        self.timers.set(SAVE, cx.now);
    }
}
