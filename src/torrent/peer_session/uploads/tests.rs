//! What uploads promise where it takes a choke at the right moment.

use super::*;
use crate::{
    base::geometry::BLOCK_LEN,
    torrent::peer_session::{
        PeerSession,
        fault::MAX_CHOKED_REQUESTS,
        testing::{INFO_HASH, hear, peer, seed, sent, world},
    },
    wire::frame::Decoder,
};

/// What the session has said since.
fn said(session: &mut PeerSession) -> Vec<String> {
    let bytes = sent(session);
    let (mut decoder, mut input, mut lines) = (Decoder::new(1 << 20), &bytes[..], Vec::new());
    while let Some(frame) = decoder.next(&mut input).unwrap() {
        lines.push(format!("{:?}", Message::decode(frame).unwrap()));
    }
    lines
}

fn request(piece: PieceIndex, begin: u32) -> Message<'static> {
    Message::Request { piece: piece.get(), begin, len: BLOCK_LEN }
}

#[test]
fn a_choke_turns_down_everything_but_the_allowed_pieces() {
    let mut cx = world();
    let mut swarm = seed(&mut cx);
    let mut session = peer([10, 0, 0, 1], &swarm, &mut cx);
    hear(&mut session, &[Message::HaveNone, Message::Interested], &mut swarm, &mut cx);
    let set = allowed_set(&session, &swarm, &cx);
    let other = swarm.geometry().pieces().find(|piece| !set.contains(piece)).unwrap();
    let allowed = set[0];
    session.set_choking(false, &mut cx);
    said(&mut session);
    // More than can be read at once, so that some wait and some are being read.
    let mut asked = vec![request(other, 0), request(allowed, 0), request(allowed, BLOCK_LEN)];
    asked.extend((0..60).map(|_| request(other, BLOCK_LEN)));
    asked.extend((0..10).map(|_| request(allowed, 0)));
    hear(&mut session, &asked, &mut swarm, &mut cx);
    session.set_choking(true, &mut cx);
    let said = said(&mut session);
    let turned_down = |piece: PieceIndex| {
        said.iter().filter(|s| s.starts_with(&format!("Reject {{ piece: {},", piece.get()))).count()
    };
    assert_eq!(said[0], "Choke", "it must not ask again for what is rejected next");
    // Twelve were asked for, and six make three times the piece.
    assert_eq!((turned_down(other), turned_down(allowed)), (61, 6));
    assert_eq!(said.len(), 1 + 61 + 6);
    assert_eq!(session.uploads.offers.greedy(), 0, "it was not choked when it asked");
    // Each choke is a new one: some requests were on their way.
    let in_flight = vec![request(other, 0); MAX_CHOKED_REQUESTS as usize];
    for _ in 0..3 {
        hear(&mut session, &in_flight, &mut swarm, &mut cx);
        session.set_choking(false, &mut cx);
        session.set_choking(true, &mut cx);
    }
}

/// What a starting peer may have while it is choked comes to few at a time, or a crowd of them
/// would share the line without slots.
#[test]
fn few_choked_peers_are_served_at_a_time() {
    let mut cx = world();
    let mut swarm = seed(&mut cx);
    let mut crowd: Vec<PeerSession> = (1..=4)
        .map(|n| {
            let mut session = peer([10, 0, n, 1], &swarm, &mut cx);
            hear(&mut session, &[Message::HaveNone, Message::Interested], &mut swarm, &mut cx);
            said(&mut session);
            session
        })
        .collect();
    swarm.limit_favours(2);
    let turned_down = |session: &mut PeerSession, swarm: &mut Swarm, cx: &mut Cx| {
        let piece = allowed_set(session, swarm, cx)[0];
        hear(session, &[request(piece, 0), request(piece, BLOCK_LEN)], swarm, cx);
        said(session).iter().filter(|s| s.starts_with("Reject")).count()
    };
    let all: Vec<usize> =
        crowd.iter_mut().map(|session| turned_down(session, &mut swarm, &mut cx)).collect();
    assert_eq!((all, swarm.favoured()), (vec![0, 0, 2, 2], 2));
    // A peer that has got what it asked for makes room, and so does one that leaves or gets a slot.
    crowd[0].uploads.queue.clear();
    crowd[0].handle_sent(0, &mut swarm, &mut cx);
    assert_eq!((turned_down(&mut crowd[2], &mut swarm, &mut cx), swarm.favoured()), (0, 2));
    crowd.remove(1).leave(&mut swarm, &mut cx);
    assert_eq!((turned_down(&mut crowd[2], &mut swarm, &mut cx), swarm.favoured()), (0, 2));
    crowd[1].set_choking(false, &mut cx);
    hear(&mut crowd[1], &[Message::KeepAlive], &mut swarm, &mut cx);
    assert_eq!(swarm.favoured(), 1);
    // A peer with as many pieces as the set has is none that needs help to begin.
    let pieces: Vec<Message<'_>> =
        (0..cx.conf.uploads.allowed_fast as u32).map(Message::Have).collect();
    hear(&mut crowd[0], &pieces, &mut swarm, &mut cx);
    assert_eq!((turned_down(&mut crowd[0], &mut swarm, &mut cx), swarm.favoured()), (2, 1));
}

/// The pieces that the peer may ask for while choked.
fn allowed_set(session: &PeerSession, swarm: &Swarm, cx: &Cx) -> Vec<PieceIndex> {
    let k = cx.conf.uploads.allowed_fast;
    allowed_fast(session.who().addr.ip(), INFO_HASH, swarm.geometry(), k)
}
