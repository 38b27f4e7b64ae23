//! Pieces that are suggested (BEP 6): once, to those who can use them, and not too many.

use super::*;

#[test]
fn piece_is_suggested_once_to_interested_peers_that_lack_it() {
    let mut t = seed();
    let peers: Vec<PeerNo> = (0..4).map(|_| t.peer()).collect();
    let plain = t.plain_peer();
    t.hear(peers[0], Message::HaveNone);
    t.hear(peers[1], Message::Bitfield(&has([7])));
    t.hear(peers[2], Message::HaveNone);
    for peer in [peers[0], peers[1], plain] {
        t.hear(peer, Message::Interested);
    }
    peers.iter().chain([&plain]).for_each(|&peer| _ = t.said(peer));
    for _ in 0..3 {
        t.tell(|engine, id| engine.suggest_piece(id, 7)).unwrap();
    }
    assert_eq!(t.said(peers[0]), ["suggest 7"]);
    for peer in [peers[1], peers[2], peers[3], plain] {
        assert_eq!(t.said(peer), [""; 0]);
    }
}

#[test]
fn suggestions_wait_until_some_were_fetched() {
    let mut t = seed();
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    t.said(peer);
    (0..PIECES).for_each(|piece| t.tell(|engine, id| engine.suggest_piece(id, piece)).unwrap());
    assert_eq!(pieces(&t.said(peer), "suggest"), (0..8).collect::<Vec<_>>());
    t.hear(peer, Message::Have(3));
    for piece in [3, 9, 10] {
        t.tell(|engine, id| engine.suggest_piece(id, piece)).unwrap();
    }
    assert_eq!(pieces(&t.said(peer), "suggest"), [9], "what it has is not suggested again");
    // What there is not cannot be suggested.
    t.tell(|engine, id| engine.suggest_piece(id, PIECES)).unwrap();
    let mut t = Trace::with(Conf::default(), [1]);
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    t.said(peer);
    t.tell(|engine, id| engine.suggest_piece(id, 2)).unwrap();
    assert_eq!(t.said(peer), [""; 0]);
}

#[test]
fn completed_piece_is_suggested_if_configured() {
    for suggest in [true, false] {
        let mut t = Trace::with(
            Conf::default().with(|conf| {
                conf.uploads.suggest = suggest;
                conf.uploads.allowed_fast = 0;
            }),
            [0],
        );
        let (from, to) = (t.peer(), t.peer());
        hear_all(&mut t, to, [Message::HaveNone, Message::Interested]);
        hear_all(&mut t, from, [Message::HaveAll, Message::Unchoke]);
        t.said(to);
        let piece = t.first_request(from);
        t.deliver(from, piece, 0);
        t.deliver(from, piece, 1);
        let have = format!("have {piece}");
        let suggestion = format!("suggest {piece}");
        assert_eq!(t.said(to), if suggest { vec![have, suggestion] } else { vec![have] });
    }
}
