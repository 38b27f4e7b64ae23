//! What a super-seed shows (BEP 16), to which peer, and when the next.

use super::*;

fn super_seed() -> Trace {
    Trace::super_seed(Conf::default())
}

/// A peer of a super-seed that has nothing and is interested in the first piece it is shown.
fn shown(t: &mut Trace) -> (PeerNo, u32) {
    let peer = t.peer();
    assert_eq!(t.greeting(), ["hello", "extended 0", "have none"]);
    assert_eq!(upload_only(&t.extended(peer)), [None], "or it would leave with its first piece");
    hear_all(t, peer, [Message::HaveNone, Message::Interested]);
    let said = t.said(peer);
    let first = pieces(&said, "have");
    assert_eq!((first.len(), count(&said, "allowed fast")), (1, 0), "{said:?}");
    (peer, first[0])
}

#[test]
fn super_seed_shows_each_peer_one_piece_and_serves_only_it() {
    let mut t = super_seed();
    let peers: Vec<_> = (0..4).map(|_| shown(&mut t)).collect();
    let different: BTreeSet<u32> = peers.iter().map(|&(_, piece)| piece).collect();
    assert_eq!(different.len(), 4);
    for &(peer, piece) in &peers {
        let hidden = (piece + 1) % PIECES;
        hear_all(&mut t, peer, [block(piece, 0).request(), block(hidden, 0).request()]);
        let said = t.said(peer);
        assert!(count(&said, "piece") == 1 && count(&said, "reject") == 1, "{said:?}");
    }
    // It has no part in that which it was not shown, however often it asks.
    let (peer, piece) = peers[0];
    hear_all(&mut t, peer, (0..300).map(|_| block((piece + 1) % PIECES, 0).request()));
    assert!(t.is_closed(peer));
    // Without the fast extension nothing is said of what we have, before a piece is shown.
    let plain = t.plain_peer();
    let said = t.said(plain);
    assert_eq!(t.greeting()[..1], ["hello"]);
    assert_eq!(pieces(&said, "have").len() + pieces(&t.greeting(), "have").len(), 1, "{said:?}");
}

#[test]
fn peer_that_has_its_shown_piece_is_shown_another() {
    let mut t = super_seed();
    shown(&mut t);
    let plain = t.plain_peer();
    let mut said = t.greeting();
    said.extend(t.said(plain));
    let first = pieces(&said, "have")[0];
    t.hear(plain, Message::Bitfield(&has([first])));
    let second = pieces(&t.said(plain), "have");
    assert!(second.len() == 1 && second[0] != first, "{second:?}");
}

#[test]
fn the_next_piece_is_shown_when_the_last_was_passed_on() {
    let mut t = super_seed();
    let ((a, piece), (b, of_b)) = (shown(&mut t), shown(&mut t));
    hear_all(
        &mut t,
        a,
        [
            block(piece, 0).request(),
            block(piece, 1).request(),
            Message::Have(piece),
            Message::NotInterested,
        ],
    );
    assert_eq!(pieces(&t.said(a), "have"), [0; 0], "it has not passed it on");
    t.hear(b, Message::Have(piece));
    let next = pieces(&t.said(a), "have");
    assert!(next.len() == 1 && next[0] != piece && next[0] != of_b, "{next:?}");
    assert_eq!(
        pieces(&t.said(b), "have"),
        [0; 0],
        "what it was shown itself is still to be fetched"
    );
    // Its own word does not count as another's.
    t.hear(a, Message::Have(next[0]));
    assert_eq!(pieces(&t.said(a), "have"), [0; 0]);
    // The word of a peer that comes with it does.
    let c = t.peer();
    t.hear(c, Message::Bitfield(&has([next[0]])));
    assert_eq!(pieces(&t.said(a), "have").len(), 1);
}

#[test]
fn lone_peer_is_shown_the_next_piece_once_it_requested_the_last() {
    let mut t = super_seed();
    let (peer, mut piece) = shown(&mut t);
    let mut seen = BTreeSet::from([piece]);
    for n in 1.. {
        t.hear(peer, block(piece, 0).request());
        assert_eq!(pieces(&t.said(peer), "have"), [0; 0]);
        t.hear(peer, block(piece, 1).request());
        let next = pieces(&t.said(peer), "have");
        if next.is_empty() {
            assert_eq!(n, PIECES, "it was shown everything");
            break;
        }
        piece = next[0];
        assert!(next.len() == 1 && seen.insert(piece));
    }
    // A piece cannot be passed on to a peer that wants nothing.
    let mut t = super_seed();
    let (peer, piece) = shown(&mut t);
    let (other, _) = shown(&mut t);
    hear_all(&mut t, peer, [Message::Have(piece)]);
    assert_eq!(pieces(&t.said(peer), "have"), [0; 0]);
    t.lose(other);
    assert_eq!(pieces(&t.said(peer), "have").len(), 1);
}

#[test]
fn unconnected_peers_are_shown_more_pieces_after_a_while() {
    let mut t = super_seed();
    let ((a, piece), (b, _)) = (shown(&mut t), shown(&mut t));
    t.pass(119 * S);
    t.hear(b, Message::KeepAlive);
    hear_all(&mut t, a, [block(piece, 0).request(), block(piece, 1).request()]);
    t.said(a);
    t.pass(119 * S);
    assert_eq!(pieces(&t.said(a), "have"), [0; 0]);
    t.pass(S);
    assert_eq!(pieces(&t.said(a), "have").len(), 1);
    t.hear(a, Message::KeepAlive);
    assert_eq!(pieces(&t.said(b), "have"), [0; 0], "it has not asked for what it was shown");
    t.pass(130 * S);
    assert_eq!(pieces(&t.said(a), "have"), [0; 0]);
}

#[test]
fn a_peer_that_leaves_with_a_piece_has_not_passed_it_on() {
    let mut t = super_seed();
    let shown_at_first: Vec<_> = (0..PIECES).map(|_| shown(&mut t)).collect();
    assert_eq!(shown_at_first.iter().map(|s| s.1).collect::<BTreeSet<_>>().len() as u32, PIECES);
    t.lose(shown_at_first[5].0);
    assert_eq!(shown(&mut t).1, shown_at_first[5].1, "it is the rarest again");
}

#[test]
fn super_seeding_can_end_and_begin() {
    let mut t = super_seed();
    let (peer, piece) = shown(&mut t);
    greet(&mut t, peer, |h| h.set(b"upload_only", 9).unwrap());
    t.tell(|engine, id| engine.set_super_seeding(id, false)).unwrap();
    let told: BTreeSet<u32> = pieces(&t.said(peer), "have").into_iter().collect();
    assert_eq!(told, (0..PIECES).filter(|&p| p != piece).collect());
    assert_eq!(t.extended(peer), [(9, vec![1])]);
    t.hear(peer, block((piece + 1) % PIECES, 0).request());
    assert_eq!(count(&t.said(peer), "piece"), 1);
    let open = t.peer();
    assert_eq!(t.greeting()[2], "have all");
    t.tell(|engine, id| engine.set_super_seeding(id, true)).unwrap();
    t.hear(open, Message::HaveNone);
    assert!(!t.is_closed(open), "it knows already and is served");
    shown(&mut t);
}

#[test]
fn a_leech_that_is_to_super_seed_begins_when_it_has_everything() {
    let mut t = leech();
    t.tell(|engine, id| engine.set_super_seeding(id, true)).unwrap();
    let (from, early) = (t.peer(), t.peer());
    t.hear(early, Message::HaveNone);
    hear_all(&mut t, from, [Message::HaveAll, Message::Unchoke]);
    t.extended(early);
    complete(&mut t, from);
    assert_eq!(pieces(&t.said(early), "have").len() as u32, PIECES);
    assert!(t.extended(early).is_empty());
    shown(&mut t);
}
