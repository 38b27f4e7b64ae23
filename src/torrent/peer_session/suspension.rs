//! A peer whose torrent is opened anew while its connection stays: nothing is on order or being
//! sent until it is known which pieces are there. Those that are not are taken back then (BEP 54).
//!
//! It does not know why the torrent is opened anew.

use super::{Parts, PeerBeforeContent, PeerSession, requests::say_cancel, told::Told};
use crate::{
    base::bitfield::Bitfield,
    torrent::{cx::Cx, swarm::Swarm},
    wire::message::Message,
};

impl PeerSession {
    /// Whether the peer stays when the torrent is opened anew: it takes back Haves, and the rest of
    /// no block is owed to it that would have to be read. A super-seed, which has told each peer
    /// something else, begins anew with all.
    /// Nor stays a peer that has said more than is kept of it.
    pub(crate) fn may_be_suspended(&self, swarm: &Swarm, cx: &Cx) -> bool {
        self.peer.extensions.takes_haves_back()
            && self.said().len() <= cx.conf.peers.max_before_content
            && self.peer.availability.shown().is_none()
            && !swarm.is_super_seeding()
            && self.outgoing.tx().owed().is_none()
    }

    /// The torrent is opened anew: calls off what is on order, turns down what was asked for, takes
    /// leave of the ledger. What stays is returned; of the session nothing is left.
    pub(crate) fn suspend(&mut self, swarm: &mut Swarm, cx: &mut Cx) -> PeerBeforeContent {
        let orders: Vec<_> = self.requests.pipeline().asked().collect();
        self.take_leave(swarm, cx);
        let Parts { uploads, outgoing, peer, .. } = self.parts();
        uploads.suspend(peer, outgoing, swarm, cx);
        orders.iter().for_each(|&block| say_cancel(block, outgoing, cx));
        let told = Told {
            have: swarm.have().clone(),
            upload_only: swarm.is_upload_only(),
            orders: u32::try_from(orders.len()).unwrap_or(u32::MAX),
        };
        let (said, tx) = (self.said(), std::mem::take(self.outgoing.tx_mut()));
        let decoder = std::mem::take(&mut self.decoder);
        PeerBeforeContent::suspended(&self.peer, tx, told, (said, decoder), cx)
    }

    /// What the peer has said that still counts, as messages.
    fn said(&self) -> Vec<u8> {
        let mut said = Vec::new();
        if self.peer.terms.extended {
            let mut hello = self.peer.extensions.as_told();
            hello.reqq = u32::try_from(self.requests.pipeline().cap()).ok();
            hello.port = self.candidacy.reach.map(|addr| addr.port());
            Message::Extended { id: 0, payload: &hello.encode() }.encode_into(&mut said);
        }
        if self.peer.availability.is_told() {
            Message::Bitfield(&self.has().to_wire()).encode_into(&mut said);
        }
        for piece in self.requests.allowed() {
            Message::AllowedFast(piece.get()).encode_into(&mut said);
        }
        said
    }

    /// Tells the peer how it is otherwise than it was `told` before the torrent was opened anew.
    pub(super) fn correct(&mut self, told: &Told, swarm: &Swarm, cx: &mut Cx) {
        for piece in told.have.ones().filter(|&n| !has(swarm.have(), n, swarm)) {
            self.take_back(piece, cx);
        }
        for piece in swarm.have().ones().filter(|&n| !has(&told.have, n, swarm)) {
            self.outgoing.say(&Message::Have(piece), cx);
        }
        if swarm.is_upload_only() != told.upload_only {
            self.tell_upload_only(swarm.is_upload_only(), cx);
        }
    }
}

fn has(pieces: &Bitfield, n: u32, swarm: &Swarm) -> bool {
    swarm.geometry().piece(n).is_ok_and(|piece| pieces.has(piece))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::arena::Key,
        conf::Conf,
        torrent::peer_session::testing::{
            PIECES, bytes, greeted, hear, leech, owner, seed, sent, world, world_with,
        },
        wire::extension::{ExtensionHandshake, LT_DONTHAVE, UPLOAD_ONLY},
    };

    const KEY: Key = Key { index: 1, generation: 2 };
    /// Under which id the peer wants to hear of lost pieces.
    const DONTHAVE: u8 = 9;

    /// A peer that speaks BEP 10 and may know BEP 54.
    fn peer(takes_back: bool, swarm: &mut Swarm, cx: &mut Cx) -> PeerSession {
        let mut greeted = greeted([10, 0, 0, 1]);
        greeted.terms.extended = true;
        let mut session = PeerSession::new(KEY, greeted, swarm, cx);
        let mut hello = ExtensionHandshake::default();
        hello.set(UPLOAD_ONLY, 5).unwrap();
        if takes_back {
            hello.set(LT_DONTHAVE, DONTHAVE).unwrap();
        }
        hello.reqq = Some(77);
        hear(&mut session, &[Message::Extended { id: 0, payload: &hello.encode() }], swarm, cx);
        session
    }

    fn has(pieces: impl IntoIterator<Item = u32>) -> Bitfield {
        let geometry = |cx: &mut Cx| leech(cx).geometry().clone();
        let (geometry, mut bits) = (geometry(&mut world()), Bitfield::none(PIECES));
        pieces.into_iter().for_each(|n| assert!(bits.set(geometry.piece(n).unwrap())));
        bits
    }

    #[test]
    fn lost_pieces_are_taken_back_and_requests_turned_down() {
        let mut cx = world();
        let mut swarm = seed(&mut cx);
        let mut session = peer(true, &mut swarm, &mut cx);
        // It has so many pieces that it is offered none to begin with.
        let many = bytes(&(10..30).map(Message::Have).collect::<Vec<_>>());
        session.handle_data(&many, &mut swarm, &mut cx).unwrap();
        hear(&mut session, &[Message::Interested], &mut swarm, &mut cx);
        session.set_choking(false, &mut cx);
        let request = Message::Request { piece: 7, begin: 0, len: 16_384 };
        hear(&mut session, &[request], &mut swarm, &mut cx);
        sent(&mut session);
        assert!(session.may_be_suspended(&swarm, &cx));
        let mut early = session.suspend(&mut swarm, &mut cx);
        swarm.audit(&[], None, &cx.conf).unwrap();
        // What comes meanwhile counts.
        early.handle_data(&bytes(&[Message::Have(4)]), &mut cx).unwrap();
        let mut swarm = owner(has((0..PIECES).filter(|n| ![7, 8].contains(n))), &mut cx);
        let mut session = early.begin(KEY, &mut swarm, &mut cx).unwrap();
        let said = bytes(&[
            Message::Choke,
            Message::Reject { piece: 7, begin: 0, len: 16_384 },
            Message::Extended { id: DONTHAVE, payload: &[0, 0, 0, 7] },
            Message::Extended { id: DONTHAVE, payload: &[0, 0, 0, 8] },
            Message::Extended { id: 5, payload: &[0] },
        ]);
        assert_eq!(sent(&mut session), said);
        assert_eq!(session.has(), &has((4..5).chain(10..30)));
        assert!(session.is_peer_interested() && session.is_choking() && session.is_peer_choking());
        assert_eq!(session.requests.pipeline().cap(), 77);
        swarm.audit(&[&session], None, &cx.conf).unwrap();
    }

    #[test]
    fn orders_are_called_off_and_late_answers_are_no_offence() {
        let mut cx = world();
        let mut swarm = leech(&mut cx);
        let mut session = peer(true, &mut swarm, &mut cx);
        let hello = [Message::HaveAll, Message::Unchoke];
        hear(&mut session, &hello, &mut swarm, &mut cx);
        let orders: Vec<_> = session.pipeline().asked().collect();
        assert!(!orders.is_empty());
        sent(&mut session);
        let mut early = session.suspend(&mut swarm, &mut cx);
        swarm.audit(&[], None, &cx.conf).unwrap();
        assert_eq!(early.tx().len(), 17 * orders.len());
        let rejects: Vec<_> = orders
            .iter()
            .map(|b| Message::Reject { piece: b.piece.get(), begin: b.begin, len: b.len })
            .collect();
        let answers = bytes(&rejects).repeat(1 + 1000 / orders.len());
        let (some, one_too_many) = answers.split_at(17 * (1000 + orders.len()));
        early.handle_data(some, &mut cx).unwrap();
        assert!(one_too_many.is_empty() || early.handle_data(one_too_many, &mut cx).is_err());
        let mut swarm = leech(&mut cx);
        let mut session = early.begin(KEY, &mut swarm, &mut cx).unwrap();
        assert!(session.is_seed() && session.is_interested() && !session.is_peer_choking());
        session.refill(&mut swarm, &mut cx);
        assert!(!session.pipeline().is_empty());
        session.audit(&swarm, &cx.conf).unwrap();
    }

    #[test]
    fn message_split_by_the_suspension_is_heard_whole() {
        let mut cx = world();
        let mut swarm = leech(&mut cx);
        let mut session = peer(true, &mut swarm, &mut cx);
        let said = bytes(&[Message::Have(3), Message::Have(5), Message::Have(6)]);
        session.handle_data(&said[..13], &mut swarm, &mut cx).unwrap();
        let mut early = session.suspend(&mut swarm, &mut cx);
        early.handle_data(&said[13..22], &mut cx).unwrap();
        let mut swarm = leech(&mut cx);
        let mut session = early.begin(KEY, &mut swarm, &mut cx).unwrap();
        session.handle_data(&said[22..], &mut swarm, &mut cx).unwrap();
        assert_eq!(session.has(), &has([3, 5, 6]));
    }

    #[test]
    fn peers_that_cannot_be_told_or_kept_come_back_anew() {
        let mut cx = world();
        let mut swarm = seed(&mut cx);
        assert!(!peer(false, &mut swarm, &mut cx).may_be_suspended(&swarm, &cx));
        let mut hiding = peer(true, &mut swarm, &mut cx);
        hiding.peer.availability.hide_all();
        assert!(!hiding.may_be_suspended(&swarm, &cx));
        let mut cx = world_with(Conf::default().with(|conf| conf.peers.max_before_content = 100));
        let mut session = peer(true, &mut swarm, &mut cx);
        assert!(session.may_be_suspended(&swarm, &cx));
        hear(&mut session, &[Message::HaveAll], &mut swarm, &mut cx);
        assert!(!session.may_be_suspended(&swarm, &cx));
    }
}
