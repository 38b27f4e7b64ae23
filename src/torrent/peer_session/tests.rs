//! What a session promises where it takes many messages to see it.

use std::sync::Arc;

use super::*;
use crate::{
    base::{
        geometry::{BLOCK_LEN, Block, Geometry},
        ids::InfoHash,
        rng::Rng,
    },
    conf::Conf,
    torrent::picker::Picker,
};

const PIECES: u32 = 1000;

/// The ledger of a torrent that has nothing.
fn leech(cx: &mut Cx) -> Swarm {
    let geometry = Geometry::new(u64::from(PIECES * 2 * BLOCK_LEN), 2 * BLOCK_LEN).unwrap();
    let picker =
        Picker::new(geometry.clone(), &Bitfield::none(PIECES), Vec::new(), false, &mut cx.rng);
    let key = Key { index: 0, generation: 1 };
    let mut swarm = Swarm::new(
        key,
        InfoHash([7; 20]),
        geometry,
        Arc::from(vec![[0; 20]; PIECES as usize]),
        cx.now,
        picker,
    );
    swarm.requesting = true;
    swarm
}

/// BEP 6: a peer answers each request, by a reject if it was cancelled. In a long download that
/// comes to thousands.
#[test]
fn reject_of_a_cancelled_request_is_no_fault() {
    let mut cx = Cx::new(Conf::default(), Rng::new(1), PeerId([1; 20]), Instant::ZERO);
    let mut swarm = leech(&mut cx);
    let who = Contributor { addr: ([10, 0, 0, 1], 5000).into(), incoming: true };
    let terms = Terms { peer_id: PeerId([2; 20]), fast: true, extended: false, dht: false };
    let mut session = PeerSession::new(
        Key { index: 1, generation: 2 },
        who,
        terms,
        Tx::default(),
        &swarm,
        &mut cx,
    );
    let mut hear = |session: &mut PeerSession, swarm: &mut Swarm, messages: &[Message<'_>]| {
        let mut bytes = Vec::new();
        messages.iter().for_each(|message| message.encode_into(&mut bytes));
        session.handle_data(&bytes, swarm, &mut cx).map_err(|fault| fault.to_string())
    };
    let reject = |block: Block| Message::Reject {
        piece: block.piece.get(),
        begin: block.begin,
        len: block.len,
    };
    hear(&mut session, &mut swarm, &[Message::HaveAll, Message::Unchoke]).unwrap();
    let blocks: Vec<Block> = swarm
        .geometry
        .pieces()
        .flat_map(|p| [0, 1].map(|n| swarm.geometry.nth_block(p, n).unwrap()))
        .collect();
    let mut cancelled = 0;
    for &block in &blocks {
        // As if another peer had delivered it.
        session.pipeline.ask(Instant::ZERO, block);
        assert!(session.pipeline.cancel(block, &Conf::default()));
        hear(&mut session, &mut swarm, &[reject(block)]).unwrap();
        cancelled += 1;
    }
    assert!(cancelled > 1500);
    // What was never asked for is another matter.
    let unasked = [reject(blocks[0]); 400];
    let fault = (0..3).find_map(|_| hear(&mut session, &mut swarm, &unasked).err()).unwrap();
    assert!(fault.contains("were not asked for"), "{fault}");
}

#[test]
fn a_flood_of_hints_is_remembered_as_sixteen_of_each() {
    let mut cx = Cx::new(Conf::default(), Rng::new(1), PeerId([1; 20]), Instant::ZERO);
    let mut swarm = leech(&mut cx);
    let who = Contributor { addr: ([10, 0, 0, 1], 5000).into(), incoming: true };
    let terms = Terms { peer_id: PeerId([2; 20]), fast: true, extended: false, dht: false };
    let mut session = PeerSession::new(
        Key { index: 1, generation: 2 },
        who,
        terms,
        Tx::default(),
        &swarm,
        &mut cx,
    );
    let mut bytes = Vec::new();
    for n in 0..10 * PIECES {
        Message::AllowedFast(n % (PIECES + 5)).encode_into(&mut bytes);
        Message::Suggest(n % (PIECES + 5)).encode_into(&mut bytes);
    }
    session.handle_data(&bytes, &mut swarm, &mut cx).unwrap();
    assert_eq!((session.allowed.len(), session.suggested.len()), (MAX_HINTS, MAX_HINTS));
    assert!(
        session.allowed.capacity() <= 2 * MAX_HINTS
            && session.suggested.capacity() <= 2 * MAX_HINTS
    );
}

fn peers(count: u8, swarm: &Swarm, cx: &mut Cx) -> Vec<PeerSession> {
    let terms = Terms { peer_id: PeerId([2; 20]), fast: true, extended: false, dht: false };
    let new = |n: u8| {
        let who = Contributor { addr: ([10, 0, 0, n], 5000).into(), incoming: true };
        PeerSession::new(
            Key { index: u32::from(n), generation: 1 },
            who,
            terms,
            Tx::default(),
            swarm,
            cx,
        )
    };
    (1..=count).map(new).collect()
}

fn hear(session: &mut PeerSession, messages: &[Message<'_>], swarm: &mut Swarm, cx: &mut Cx) {
    let mut bytes = Vec::new();
    messages.iter().for_each(|message| message.encode_into(&mut bytes));
    session.handle_data(&bytes, swarm, cx).unwrap();
}

/// Peers that choke us and once allowed pieces that we have by now share in no memory.
#[test]
fn choking_peer_counts_as_fetched_from_only_for_lacked_pieces() {
    let mut cx = Cx::new(Conf::default(), Rng::new(1), PeerId([1; 20]), Instant::ZERO);
    let mut swarm = leech(&mut cx);
    let alone = cx.fair_share();
    let mut sessions = peers(40, &swarm, &mut cx);
    let hello = [Message::HaveAll, Message::AllowedFast(3), Message::AllowedFast(4)];
    sessions.iter_mut().for_each(|s| hear(s, &hello, &mut swarm, &mut cx));
    assert_eq!(cx.leases.fetchers(), 40);
    assert!(cx.fair_share() < alone / 4);
    for n in [3, 4] {
        let piece = swarm.geometry.piece(n).unwrap();
        swarm.picker.take(piece);
        swarm.add_checked(piece);
        sessions.iter_mut().for_each(|s| s.handle_our_have(piece, true, &swarm, &mut cx));
    }
    assert_eq!((cx.leases.fetchers(), cx.fair_share()), (0, alone));
    // It may allow them again, and one that lets us ask for all counts again.
    hear(&mut sessions[0], &[Message::AllowedFast(3)], &mut swarm, &mut cx);
    assert_eq!(cx.leases.fetchers(), 0);
    hear(&mut sessions[0], &[Message::Unchoke], &mut swarm, &mut cx);
    assert_eq!(cx.leases.fetchers(), 1);
    // While the disk fails nothing can be asked for.
    swarm.requesting = false;
    sessions[0].refill(&mut swarm, &mut cx);
    assert_eq!(cx.leases.fetchers(), 0);
}

/// The blocks asked for, by piece, of what it was told to send.
fn asked(session: &PeerSession) -> Vec<u32> {
    session.pipeline.asked().map(|block| block.piece.get()).collect()
}

#[test]
fn sequential_download_begins_at_piece_zero_despite_hints() {
    let mut cx = Cx::new(Conf::default(), Rng::new(1), PeerId([1; 20]), Instant::ZERO);
    let mut swarm = leech(&mut cx);
    swarm.picker.set_sequential(true);
    let mut sessions = peers(2, &swarm, &mut cx);
    let hello = [
        Message::HaveAll,
        Message::AllowedFast(700),
        Message::AllowedFast(1),
        Message::Suggest(500),
    ];
    sessions.iter_mut().for_each(|s| hear(s, &hello, &mut swarm, &mut cx));
    assert_eq!(
        (asked(&sessions[0]), asked(&sessions[1])),
        (vec![], vec![]),
        "piece 0 is allowed by neither"
    );
    hear(&mut sessions[0], &[Message::Unchoke], &mut swarm, &mut cx);
    let first = asked(&sessions[0]);
    assert!(first.len() >= 4 && first.is_sorted() && first[0] == 0, "{first:?}");
    // What is allowed and next may be had of a peer that chokes.
    let mut swarm = leech(&mut cx);
    swarm.picker.set_sequential(true);
    swarm.picker.take(swarm.geometry.piece(0).unwrap());
    hear(&mut peers(1, &swarm, &mut cx)[0], &hello, &mut swarm, &mut cx);
    assert!(swarm.is_busy(), "piece 1 is begun");
}
