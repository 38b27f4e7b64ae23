//! What requests promise where it takes many messages to see it.

use super::*;
use crate::{
    base::{
        geometry::BLOCK_LEN,
        job::{Job, RunData, RunDone, Verdict},
        time::Instant,
    },
    conf::Conf,
    torrent::peer_session::{
        PeerSession,
        testing::{PIECES, hear, leech, peers, world, world_with},
    },
};

/// BEP 6: a peer answers each request, by a reject if it was cancelled. In a long download that
/// comes to thousands.
#[test]
fn reject_of_a_cancelled_request_is_no_fault() {
    let mut cx = world();
    let mut swarm = leech(&mut cx);
    let mut sessions = peers(1, &swarm, &mut cx);
    let session = &mut sessions[0];
    let reject = |block: Block| Message::Reject {
        piece: block.piece.get(),
        begin: block.begin,
        len: block.len,
    };
    hear(session, &[Message::HaveAll, Message::Unchoke], &mut swarm, &mut cx);
    let blocks: Vec<Block> = swarm
        .geometry()
        .pieces()
        .flat_map(|p| [0, 1].map(|n| swarm.geometry().nth_block(p, n).unwrap()))
        .collect();
    let mut cancelled = 0;
    for &block in &blocks {
        // As if another peer had delivered it.
        session.requests.pipeline.ask(Instant::ZERO, block);
        assert!(session.requests.pipeline.cancel(block, &Conf::default()));
        hear(session, &[reject(block)], &mut swarm, &mut cx);
        cancelled += 1;
    }
    assert!(cancelled > 1500);
    // What was never asked for is another matter.
    let mut unasked = Vec::new();
    (0..400).for_each(|_| reject(blocks[0]).encode_into(&mut unasked));
    let mut say = || session.handle_data(&unasked, &mut swarm, &mut cx);
    assert!(say().is_ok() && say().is_ok() && matches!(say(), Err(Fault::Unasked)));
}

#[test]
fn flood_of_hints_is_remembered_as_sixteen_of_each() {
    let mut cx = world();
    let mut swarm = leech(&mut cx);
    let session = &mut peers(1, &swarm, &mut cx)[0];
    let mut bytes = Vec::new();
    for n in 0..10 * PIECES {
        Message::AllowedFast(n % (PIECES + 5)).encode_into(&mut bytes);
        Message::Suggest(n % (PIECES + 5)).encode_into(&mut bytes);
    }
    session.handle_data(&bytes, &mut swarm, &mut cx).unwrap();
    assert_eq!(
        (session.requests.allowed.len(), session.requests.suggested.len()),
        (MAX_HINTS, MAX_HINTS)
    );
    assert!(
        session.requests.allowed.capacity() <= 2 * MAX_HINTS
            && session.requests.suggested.capacity() <= 2 * MAX_HINTS
    );
}

/// Peers that choke us and once allowed pieces that we have by now share in no memory.
#[test]
fn choking_peer_counts_as_fetched_from_only_for_lacked_pieces() {
    let mut cx = world();
    let mut swarm = leech(&mut cx);
    let alone = cx.fair_share();
    let mut sessions = peers(40, &swarm, &mut cx);
    let hello = [Message::HaveAll, Message::AllowedFast(3), Message::AllowedFast(4)];
    sessions.iter_mut().for_each(|s| hear(s, &hello, &mut swarm, &mut cx));
    assert_eq!(cx.leases.fetchers(), 40);
    assert!(cx.fair_share() < alone / 4);
    for n in [3, 4] {
        let piece = swarm.geometry().piece(n).unwrap();
        swarm.set_aside(piece);
        swarm.add_checked(piece);
        sessions.iter_mut().for_each(|s| s.handle_our_have(piece, true, &mut swarm, &mut cx));
    }
    assert_eq!((cx.leases.fetchers(), cx.fair_share()), (0, alone));
    // It may allow them again, and one that lets us ask for all counts again.
    hear(&mut sessions[0], &[Message::AllowedFast(3)], &mut swarm, &mut cx);
    assert_eq!(cx.leases.fetchers(), 0);
    hear(&mut sessions[0], &[Message::Unchoke], &mut swarm, &mut cx);
    assert_eq!(cx.leases.fetchers(), 1);
    // While the disk fails nothing can be asked for.
    swarm.stop_orders();
    sessions[0].refill(&mut swarm, &mut cx);
    assert_eq!(cx.leases.fetchers(), 0);
}

/// The blocks asked for, by piece, of what it was told to send.
fn asked(session: &PeerSession) -> Vec<u32> {
    session.requests.pipeline.asked().map(|block| block.piece.get()).collect()
}

#[test]
fn sequential_download_begins_at_piece_zero_despite_hints() {
    let mut cx = world();
    let mut swarm = leech(&mut cx);
    swarm.set_sequential(true);
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
    swarm.set_sequential(true);
    swarm.set_aside(swarm.geometry().piece(0).unwrap());
    hear(&mut peers(1, &swarm, &mut cx)[0], &hello, &mut swarm, &mut cx);
    assert!(swarm.is_busy(), "piece 1 is begun");
}

/// The cost of a worker's answer must not grow with the number of peers.
#[test]
fn good_piece_makes_no_peer_with_full_pipeline_look_for_more() {
    let mut cx = world();
    let mut swarm = leech(&mut cx);
    let mut sessions = peers(20, &swarm, &mut cx);
    sessions
        .iter_mut()
        .for_each(|s| hear(s, &[Message::HaveAll, Message::Unchoke], &mut swarm, &mut cx));
    let may_look = |swarm: &Swarm| swarm.unfilled().next().is_some() || swarm.wants_refill();
    assert!(!may_look(&swarm), "each has as much on order as it takes");
    let first = sessions[0].pipeline().asked().next().unwrap().piece;
    let data = vec![7; 2 * 16 * 1024];
    let blocks: Vec<Block> =
        (0..2).map(|nth| swarm.geometry().nth_block(first, nth).unwrap()).collect();
    for block in blocks {
        let (piece, begin) = (first.get(), block.begin);
        let message = Message::Piece { piece, begin, data: &data[..block.len as usize] };
        hear(&mut sessions[0], &[message], &mut swarm, &mut cx);
    }
    let Some(Job::Run { run, .. }) = cx.outbox.poll_job() else { panic!("the piece is whole") };
    let RunData::Memory(buf) = run.data else { panic!("it is in memory") };
    let (result, buf) = (Ok(Verdict::Good), Some(buf));
    let done = RunDone { piece: first, begin: 0, buf, result, digests: None, root: None };
    swarm.handle_run(done, &mut cx).unwrap();
    assert!(swarm.have().has(first) && !may_look(&swarm));
    // One that turns a block down waits for the others, and is the only one that is looked at.
    let block = sessions[10].pipeline().asked().next().unwrap();
    let (piece, begin, len) = (block.piece.get(), block.begin, block.len);
    hear(&mut sessions[10], &[Message::Reject { piece, begin, len }], &mut swarm, &mut cx);
    assert!(swarm.wants_refill());
    assert_eq!(swarm.unfilled().collect::<Vec<_>>(), [sessions[10].link()]);
}

/// With hundreds of quick peers all memory is on order at any time; copies of what is a little late
/// were two fifths of what they sent.
#[test]
fn short_memory_makes_no_copies_of_what_is_a_little_late() {
    let mut cx = world_with(Conf::default().with(|conf| {
        conf.requests.max_piece_memory = 2 * 2 * BLOCK_LEN as usize;
    }));
    let mut swarm = leech(&mut cx);
    let mut sessions = peers(2, &swarm, &mut cx);
    let began = cx.now;
    for session in &mut sessions {
        hear(session, &[Message::HaveAll, Message::Unchoke], &mut swarm, &mut cx);
    }
    assert_eq!((asked(&sessions[0]).len(), asked(&sessions[1]).len()), (4, 0));
    assert!(cx.leases.is_short());
    // The first answer of an unknown peer is expected within a second.
    for (ms, copies) in [(900, false), (1_000, false), (1_249, false), (1_250, true)] {
        cx.now = began + Duration::from_millis(ms);
        sessions[1].refill(&mut swarm, &mut cx);
        assert_eq!(!asked(&sessions[1]).is_empty(), copies, "after {ms} ms");
    }
}
