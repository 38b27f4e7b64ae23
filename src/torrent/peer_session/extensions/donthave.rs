//! `lt_donthave` (BEP 54): a peer takes a Have back, since it has lost the piece. What counts with
//! it follows: the piece's availability, our interest, and what is on order. We take our own back
//! where another program has changed or removed files.

use super::{Extension, Extensions};
use crate::{
    torrent::{
        cx::Cx,
        peer_session::{Fault, PeerSession},
        swarm::Swarm,
    },
    wire::{
        extension::{LT_DONTHAVE, LT_DONTHAVE_ID},
        message::Message,
    },
};

pub(super) const EXTENSION: Extension = Extension { name: LT_DONTHAVE, id: LT_DONTHAVE_ID, handle };

/// The payload is the piece, as that of a Have; another length is ignored.
fn handle(
    session: &mut PeerSession,
    payload: &[u8],
    swarm: &mut Swarm,
    cx: &mut Cx,
) -> Result<(), Fault> {
    match payload.try_into() {
        Ok(piece) => {
            let piece = swarm.geometry().piece(u32::from_be_bytes(piece))?;
            session.handle_lost(piece, swarm, cx)
        }
        Err(_) => Ok(()),
    }
}

impl Extensions {
    /// Whether the peer can be told that we have lost a piece.
    pub(in crate::torrent::peer_session) fn takes_haves_back(&self) -> bool {
        self.remote(&EXTENSION).is_some()
    }
}

impl PeerSession {
    /// Tells the peer that we have no such piece any more, if it can be told.
    pub(in crate::torrent::peer_session) fn take_back(&mut self, piece: u32, cx: &mut Cx) {
        if let Some(id) = self.peer.extensions.remote(&EXTENSION) {
            let payload = &piece.to_be_bytes();
            self.outgoing.say(&Message::Extended { id, payload }, cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::geometry::PieceIndex,
        torrent::peer_session::testing::{PIECES, bytes, hear, leech, peers, seed, sent, world},
        wire::message::Message,
    };

    fn lose(session: &mut PeerSession, piece: PieceIndex, swarm: &mut Swarm, cx: &mut Cx) {
        let payload = &piece.get().to_be_bytes();
        hear(session, &[Message::Extended { id: LT_DONTHAVE_ID, payload }], swarm, cx);
    }

    #[test]
    fn lost_piece_leaves_availability_orders_and_picks() {
        let mut cx = world();
        let mut swarm = leech(&mut cx);
        let mut sessions = peers(1, &swarm, &mut cx);
        let session = &mut sessions[0];
        hear(session, &[Message::HaveAll, Message::Unchoke], &mut swarm, &mut cx);
        let block = session.pipeline().asked().next().unwrap();
        let other = session.pipeline().asked().find(|b| b.piece != block.piece).unwrap().piece;
        lose(session, block.piece, &mut swarm, &mut cx);
        assert_eq!(swarm.availability(block.piece), 0);
        assert_eq!(swarm.availability(other), 1);
        assert!(session.pipeline().asked().all(|asked| asked.piece != block.piece));
        assert!(!session.is_seed() && session.is_interested());
        // By BEP 6 it turns down what was on order, which is no offence, and is asked for the rest.
        let (piece, begin, len) = (block.piece.get(), block.begin, block.len);
        let reject = [Message::Reject { piece, begin, len }];
        hear(session, &reject, &mut swarm, &mut cx);
        assert!(!session.is_reluctant() && !session.pipeline().is_empty());
        session.audit(&swarm, &cx.conf).unwrap();
        swarm.audit(&[&*session], None, &cx.conf).unwrap();
        // It may come back.
        hear(session, &[Message::Have(piece)], &mut swarm, &mut cx);
        assert!(session.is_seed() && swarm.availability(block.piece) == 1);
        swarm.audit(&[&*session], None, &cx.conf).unwrap();
    }

    #[test]
    fn peer_let_go_for_lost_pieces_leaves_no_count_behind() {
        let mut cx = world();
        let mut swarm = leech(&mut cx);
        let mut sessions = peers(2, &swarm, &mut cx);
        sessions.iter_mut().for_each(|s| hear(s, &[Message::HaveAll], &mut swarm, &mut cx));
        let piece = swarm.geometry().piece(0).unwrap();
        let mut bad = sessions.remove(0);
        let payload = &piece.get().to_be_bytes();
        let mut end = Ok(());
        for _ in 0..100 {
            end = handle(&mut bad, payload, &mut swarm, &mut cx);
            if end.is_err() {
                break;
            }
            hear(&mut bad, &[Message::Have(0)], &mut swarm, &mut cx);
        }
        assert!(matches!(end, Err(Fault::Retold(_))));
        bad.leave(&mut swarm, &mut cx);
        let pieces: Vec<_> = swarm.geometry().pieces().collect();
        assert!(pieces.into_iter().all(|piece| swarm.availability(piece) == 1));
        swarm.audit(&[&sessions[0]], None, &cx.conf).unwrap();
    }

    #[test]
    fn nothing_is_asked_for_while_the_files_are_moved() {
        let mut cx = world();
        let mut swarm = leech(&mut cx);
        let mut sessions = peers(1, &swarm, &mut cx);
        swarm.begin_quiet(cx.now);
        assert!(swarm.take_refill() && !swarm.is_quiet_for_long(cx.now));
        let session = &mut sessions[0];
        hear(session, &[Message::HaveAll, Message::Unchoke], &mut swarm, &mut cx);
        assert!(session.pipeline().is_empty() && cx.leases.fetchers() == 0);
        cx.now = cx.now + std::time::Duration::from_secs(1);
        assert!(swarm.is_quiet_for_long(cx.now));
        assert!(swarm.end_quiet() && swarm.take_refill());
        session.refill(&mut swarm, &mut cx);
        assert!(!session.pipeline().is_empty() && cx.leases.fetchers() == 1);
    }

    #[test]
    fn interest_ends_when_the_last_wanted_piece_is_lost() {
        let mut cx = world();
        let mut swarm = leech(&mut cx);
        let mut sessions = peers(1, &swarm, &mut cx);
        let session = &mut sessions[0];
        hear(session, &[Message::Have(3), Message::Have(4)], &mut swarm, &mut cx);
        for n in [3, 3, 4] {
            assert!(session.is_interested());
            let piece = swarm.geometry().piece(n).unwrap();
            lose(session, piece, &mut swarm, &mut cx);
            session.audit(&swarm, &cx.conf).unwrap();
        }
        assert!(!session.is_interested() && swarm.is_exhausted());
    }

    #[test]
    fn peer_hears_of_our_piece_when_it_loses_its_own() {
        let mut cx = world();
        let mut swarm = seed(&mut cx);
        let mut sessions = peers(1, &swarm, &mut cx);
        let session = &mut sessions[0];
        hear(session, &[Message::Have(3)], &mut swarm, &mut cx);
        sent(session);
        let piece = swarm.geometry().piece(3).unwrap();
        lose(session, piece, &mut swarm, &mut cx);
        assert_eq!(sent(session), bytes(&[Message::Have(3)]));
        // One that it never had says nothing new.
        lose(session, piece, &mut swarm, &mut cx);
        assert_eq!(sent(session), []);
    }

    #[test]
    fn lost_piece_beyond_the_end_is_a_violation() {
        let mut cx = world();
        let mut swarm = leech(&mut cx);
        let mut sessions = peers(1, &swarm, &mut cx);
        let mut say = |payload: &[u8]| handle(&mut sessions[0], payload, &mut swarm, &mut cx);
        assert!(say(&[0, 0, 0]).is_ok() && say(&[0, 0, 0, 0, 0]).is_ok());
        assert!(matches!(say(&PIECES.to_be_bytes()), Err(Fault::Geometry(_))));
    }
}
