//! What uploads promise where it takes a choke at the right moment.

use std::{io::IoSlice, sync::Arc};

use super::*;
use crate::{
    base::{
        arena::Key,
        bitfield::Bitfield,
        geometry::{BLOCK_LEN, Geometry},
        ids::{InfoHash, PeerId},
        rng::Rng,
    },
    conf::Conf,
    proto::tx::Tx,
    torrent::{
        peer_session::{PeerSession, Terms, fault::MAX_CHOKED_REQUESTS},
        picker::Picker,
        progress::Contributor,
    },
    wire::frame::Decoder,
};

fn world() -> Cx {
    let conf = Conf::default();
    Cx::new(conf, Rng::new(1), PeerId([1; 20]), Instant::ZERO)
}

const INFO_HASH: InfoHash = InfoHash([7; 20]);

fn geometry() -> Geometry {
    Geometry::new(40 * 2 * u64::from(BLOCK_LEN), 2 * BLOCK_LEN).unwrap()
}

/// A seed's ledger.
fn seed(cx: &mut Cx) -> Swarm {
    let geometry = geometry();
    let all = Bitfield::all(geometry.piece_count());
    let picker = Picker::new(geometry.clone(), &all, Vec::new(), false, &mut cx.rng);
    let key = Key { index: 0, generation: 1 };
    let mut swarm =
        Swarm::new(key, INFO_HASH, geometry, Arc::from(vec![[0; 20]; 40]), cx.now, picker);
    swarm.set_have(all);
    swarm
}

/// What the session has said since.
fn said(session: &mut PeerSession) -> Vec<String> {
    let mut bytes = Vec::new();
    while session.tx().len() > 0 {
        let mut slices = [IoSlice::new(&[]); 8];
        let used = session.tx_mut().poll_transmit(&mut slices, usize::MAX);
        let next: Vec<u8> = slices[..used].iter().flat_map(|s| s.iter().copied()).collect();
        session.outgoing.tx_mut().handle_sent(next.len(), drop);
        bytes.extend(next);
    }
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
    let who = Contributor { addr: ([10, 0, 0, 1], 5000).into(), incoming: true };
    let terms = Terms { peer_id: PeerId([2; 20]), fast: true, extended: false, dht: false };
    let link = Key { index: 1, generation: 2 };
    let mut session = PeerSession::new(link, link, who, terms, Tx::default(), &swarm, &mut cx);
    let mut hear = |session: &mut PeerSession, cx: &mut Cx, messages: &[Message<'_>]| {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode_into(&mut bytes));
        session.handle_data(&bytes, &mut swarm, cx).unwrap();
    };
    hear(&mut session, &mut cx, &[Message::HaveNone, Message::Interested]);
    let set = allowed_set(&session, &cx);
    let other = not_in(&set);
    let allowed = set[0];
    session.set_choking(false, &mut cx);
    said(&mut session);
    // More than can be read at once, so that some wait and some are being read.
    let mut asked = vec![request(other, 0), request(allowed, 0), request(allowed, BLOCK_LEN)];
    asked.extend((0..60).map(|_| request(other, BLOCK_LEN)));
    asked.extend((0..10).map(|_| request(allowed, 0)));
    hear(&mut session, &mut cx, &asked);
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
        hear(&mut session, &mut cx, &in_flight);
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
    let terms = Terms { peer_id: PeerId([2; 20]), fast: true, extended: false, dht: false };
    let hear =
        |session: &mut PeerSession, swarm: &mut Swarm, cx: &mut Cx, messages: &[Message<'_>]| {
            let mut bytes = Vec::new();
            messages.iter().for_each(|message| message.encode_into(&mut bytes));
            session.handle_data(&bytes, swarm, cx).unwrap();
        };
    let mut crowd: Vec<PeerSession> = (1..=4)
        .map(|n| {
            let who = Contributor { addr: ([10, 0, n, 1], 5000).into(), incoming: true };
            let link = Key { index: n.into(), generation: 2 };
            let mut session =
                PeerSession::new(link, link, who, terms, Tx::default(), &swarm, &mut cx);
            hear(&mut session, &mut swarm, &mut cx, &[Message::HaveNone, Message::Interested]);
            said(&mut session);
            session
        })
        .collect();
    swarm.favours.limit = 2;
    let turned_down = |session: &mut PeerSession, swarm: &mut Swarm, cx: &mut Cx| {
        let piece = allowed_set(session, cx)[0];
        hear(session, swarm, cx, &[request(piece, 0), request(piece, BLOCK_LEN)]);
        said(session).iter().filter(|s| s.starts_with("Reject")).count()
    };
    let all: Vec<usize> =
        crowd.iter_mut().map(|session| turned_down(session, &mut swarm, &mut cx)).collect();
    assert_eq!((all, swarm.favours.served), (vec![0, 0, 2, 2], 2));
    // A peer that has got what it asked for makes room, and so does one that leaves or gets a slot.
    crowd[0].uploads.queue.clear();
    crowd[0].handle_sent(0, &mut swarm, &mut cx);
    assert_eq!((turned_down(&mut crowd[2], &mut swarm, &mut cx), swarm.favours.served), (0, 2));
    crowd.remove(1).leave(&mut swarm, &mut cx);
    assert_eq!((turned_down(&mut crowd[2], &mut swarm, &mut cx), swarm.favours.served), (0, 2));
    crowd[1].set_choking(false, &mut cx);
    hear(&mut crowd[1], &mut swarm, &mut cx, &[Message::KeepAlive]);
    assert_eq!(swarm.favours.served, 1);
    // A peer with as many pieces as the set has is none that needs help to begin.
    let pieces: Vec<Message<'_>> =
        (0..cx.conf.uploads.allowed_fast as u32).map(Message::Have).collect();
    hear(&mut crowd[0], &mut swarm, &mut cx, &pieces);
    assert_eq!((turned_down(&mut crowd[0], &mut swarm, &mut cx), swarm.favours.served), (2, 1));
}

/// The pieces that the peer may ask for while choked.
fn allowed_set(session: &PeerSession, cx: &Cx) -> Vec<PieceIndex> {
    allowed_fast(session.who().addr.ip(), INFO_HASH, &geometry(), cx.conf.uploads.allowed_fast)
}

/// A piece that is not among those.
fn not_in(set: &[PieceIndex]) -> PieceIndex {
    geometry().pieces().find(|piece| !set.contains(piece)).unwrap()
}
