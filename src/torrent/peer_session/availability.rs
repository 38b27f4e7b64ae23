//! What a peer has, as it tells us, and whether that makes it of interest.
//!
//! It knows nothing of requests.

use super::{Fault, PeerSession, RETOLD_AT_START};
use crate::{
    base::{bitfield::Bitfield, geometry::PieceIndex, time::Instant},
    torrent::{cx::Cx, swarm::Swarm},
    wire::message::Message,
};

impl PeerSession {
    pub(super) fn handle_bitfield(
        &mut self,
        has: Bitfield,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        if std::mem::replace(&mut self.told, true) {
            return self.handle_retold(&has, swarm, cx);
        }
        swarm.picker.add_peer(&has);
        self.has = has;
        self.count_wanted(swarm, cx);
        if let Some(ledger) = &mut swarm.super_seed {
            ledger.handle_bitfield(self.link, &self.has);
        }
        self.offer_pieces(swarm, cx);
        Ok(())
    }

    /// A few bytes that make us look through all pieces may come a few times only; a bitfield pays
    /// for itself by its length.
    pub(super) fn retell_cheaply(&mut self) -> Result<(), Fault> {
        self.cheap_retold += u32::from(self.told);
        if self.cheap_retold > RETOLD_AT_START {
            Err(Fault::Retold(RETOLD_AT_START))
        } else {
            Ok(())
        }
    }

    /// BEP 3 wants a bitfield first and only once; aria2 sends another instead of many Haves. What
    /// is new in it counts, and what is missing was not taken back, since no peer can do that.
    fn handle_retold(
        &mut self,
        has: &Bitfield,
        swarm: &mut Swarm,
        cx: &mut Cx,
    ) -> Result<(), Fault> {
        self.retold += 1;
        // A reason to tell again is a new piece; there is some room for the start.
        let limit = swarm.geometry.piece_count().saturating_add(RETOLD_AT_START);
        if self.retold > limit {
            return Err(Fault::Retold(limit));
        }
        for piece in has.ones() {
            self.handle_have(swarm.geometry.piece(piece)?, swarm, cx);
        }
        Ok(())
    }

    pub(super) fn handle_have(&mut self, piece: PieceIndex, swarm: &mut Swarm, cx: &mut Cx) {
        let first = !std::mem::replace(&mut self.told, true);
        if self.has.set(piece) {
            swarm.picker.add_piece(piece, &self.has);
            self.forget_suggestion(piece);
            if let Some(ledger) = &mut swarm.super_seed {
                ledger.handle_have(cx.now, self.link, piece);
            }
            if swarm.wants(piece) {
                self.wanted += 1;
                self.show_interest(cx);
            }
        }
        if first {
            self.offer_pieces(swarm, cx);
        }
    }

    /// Recounts what it has that we want: after its bitfield, or when our own pieces or wishes
    /// changed at once.
    pub(crate) fn count_wanted(&mut self, swarm: &Swarm, cx: &mut Cx) {
        let geometry = &swarm.geometry;
        self.wanted =
            self.has.ones().filter(|&p| geometry.piece(p).is_ok_and(|p| swarm.wants(p))).count()
                as u32;
        self.show_interest(cx);
        self.count_fetching(swarm, cx);
    }

    /// We have `piece` now, which was `wanted` or came although it is not any more.
    pub(crate) fn handle_our_have(
        &mut self,
        piece: PieceIndex,
        wanted: bool,
        swarm: &Swarm,
        cx: &mut Cx,
    ) {
        self.allowed.retain(|&allowed| allowed != piece);
        if self.has.has(piece) {
            self.wanted = self.wanted.saturating_sub(u32::from(wanted));
            self.show_interest(cx);
        } else {
            self.say(&Message::Have(piece.get()), cx);
            self.offer(piece, cx);
        }
        self.count_fetching(swarm, cx);
    }

    fn show_interest(&mut self, cx: &mut Cx) {
        let interested = self.wanted > 0;
        if interested != self.interested {
            self.interested = interested;
            self.note_involvement(cx.now);
            self.say(if interested { &Message::Interested } else { &Message::NotInterested }, cx);
        }
    }

    /// Either side's interest may have changed.
    pub(crate) fn note_involvement(&mut self, now: Instant) {
        if self.interested || self.peer_interested {
            self.idle_since = None;
        } else {
            self.idle_since.get_or_insert(now);
        }
    }
}
