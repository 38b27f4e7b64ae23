//! The pieces that a choked peer may have (BEP 6).

use super::*;

/// A seed and a peer that has nothing, with the pieces that the peer is allowed.
fn choked() -> (Trace, PeerNo, Vec<u32>) {
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::HaveNone);
    let said = t.said(peer);
    let allowed = pieces(&said, "allowed fast");
    assert_eq!((said.len(), allowed.len()), (5, 5), "{said:?}");
    (t, peer, allowed)
}

#[test]
fn choked_starting_peer_is_served_its_allowed_pieces_only() {
    let (mut t, peer, allowed) = choked();
    for piece in 0..PIECES {
        t.hear(peer, block(piece, 0).request());
        let said = t.said(peer);
        let want = if allowed.contains(&piece) { "piece" } else { "reject" };
        assert!(said.len() == 1 && said[0].starts_with(want), "{piece}: {said:?}");
    }
    // A peer may not use what is offered to another.
    let other = t.plain_peer();
    t.hear(other, block(allowed[0], 0).request());
    assert_eq!(t.said(other), [""; 0]);
}

#[test]
fn peer_with_many_pieces_gets_no_allowed_pieces() {
    let offered = |t: &mut Trace, peer: PeerNo| pieces(&t.said(peer), "allowed fast");
    // It has five pieces.
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::Bitfield(&has(0..5)));
    assert_eq!(offered(&mut t, peer), [0; 0]);
    // It has four; of those none is offered.
    let peer = t.peer();
    t.hear(peer, Message::Bitfield(&has(0..4)));
    assert!(offered(&mut t, peer).iter().all(|&piece| piece >= 4));
    // It knows no fast extension.
    let peer = t.plain_peer();
    t.hear(peer, Message::Have(0));
    assert_eq!(offered(&mut t, peer), [0; 0]);
    // It wants no data.
    let mut t = Trace::with(Conf::default(), 0..16);
    let peer = t.peer();
    greet(&mut t, peer, |h| h.upload_only = Some(true));
    t.hear(peer, Message::HaveNone);
    assert_eq!(offered(&mut t, peer), [0; 0]);
    // We want to offer none.
    let mut t = Trace::seed(Conf::default().with(|conf| conf.uploads.allowed_fast = 0));
    let peer = t.peer();
    t.hear(peer, Message::HaveNone);
    assert_eq!(offered(&mut t, peer), [0; 0]);
    // We want to offer all.
    let mut t = Trace::seed(Conf::default().with(|conf| conf.uploads.allowed_fast = 100));
    let peer = t.peer();
    t.hear(peer, Message::Have(3));
    assert_eq!(offered(&mut t, peer).len() as u32, PIECES - 1);
}

#[test]
fn allowed_pieces_are_offered_as_we_get_them() {
    let (.., set) = choked();
    let mut t = Trace::with(Conf::default(), [set[1]]);
    // Both are of the same network as the one above.
    let (from, peer) = (t.peer(), t.peer());
    hear_all(&mut t, from, [Message::HaveAll, Message::Unchoke]);
    t.hear(peer, Message::HaveNone);
    assert_eq!(pieces(&t.said(peer), "allowed fast"), [set[1]]);
    complete(&mut t, from);
    let said = t.said(peer);
    let later: BTreeSet<u32> = pieces(&said, "allowed fast").into_iter().collect();
    assert_eq!(later, set.iter().copied().filter(|&piece| piece != set[1]).collect());
    for &piece in &later {
        let at =
            |what: &str| said.iter().position(|line| *line == format!("{what} {piece}")).unwrap();
        assert!(at("have") < at("allowed fast"));
    }
}

#[test]
fn allowed_piece_is_served_three_times_then_ends_connection() {
    let (mut t, peer, allowed) = choked();
    for _ in 0..3 {
        hear_all(&mut t, peer, [block(allowed[0], 0).request(), block(allowed[0], 1).request()]);
        assert_eq!(count(&t.said(peer), "piece"), 2);
    }
    for n in 0..50 {
        t.hear(peer, block(allowed[0], n % 2).request());
        assert_eq!(count(&t.said(peer), "reject"), 1);
    }
    // The others are not used up.
    t.hear(peer, block(allowed[1], 0).request());
    assert_eq!(count(&t.said(peer), "piece"), 1);
    t.hear(peer, block(allowed[0], 0).request());
    assert!(t.is_closed(peer) && t.reason().contains("50 times too often"), "{}", t.reason());
}

#[test]
fn an_unchoked_peer_has_its_allowed_pieces_as_often_as_it_likes() {
    let (mut t, peer, allowed) = choked();
    t.hear(peer, Message::Interested);
    assert_eq!(t.said(peer), ["unchoke"]);
    for _ in 0..100 {
        t.hear(peer, block(allowed[0], 0).request());
    }
    assert_eq!(count(&t.said(peer), "piece"), 100);
}

#[test]
fn requests_while_choked_end_the_connection() {
    for fast in [true, false] {
        let mut t = Trace::seed(Conf::default().with(|conf| conf.uploads.allowed_fast = 0));
        let peer = if fast { t.peer() } else { t.plain_peer() };
        hear_all(&mut t, peer, (0..2000).map(|n| block(n % PIECES, 0).request()));
        assert_eq!(count(&t.said(peer), "reject"), if fast { 2000 } else { 0 });
        assert!(!t.is_closed(peer));
        t.hear(peer, block(0, 0).request());
        assert!(t.is_closed(peer) && t.reason().contains("while it was choked"), "{}", t.reason());
    }
}
