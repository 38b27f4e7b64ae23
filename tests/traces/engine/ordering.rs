//! What we ask for, of which peer, and what becomes of blocks: on order, late, unasked, twice, or
//! bad.

use super::*;

#[test]
fn interest_follows_what_the_other_has() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::HaveNone);
    assert!(t.said(peer).is_empty());
    t.hear(peer, Message::Have(2));
    assert_eq!(t.said(peer), ["interested"]);
    t.hear(peer, Message::Have(2));
    assert!(t.said(peer).is_empty());
    t.hear(peer, Message::Unchoke);
    assert_eq!(t.said(peer), [request(2, 0), request(2, 1)]);
    t.deliver(peer, 2, 0);
    t.deliver(peer, 2, 1);
    assert_eq!(t.said(peer), ["not interested"], "and no have for a piece that it has");
    assert_eq!(t.stats().have, 1);
}

#[test]
fn a_finished_piece_is_told_to_those_who_lack_it() {
    let mut t = Trace::leech(Conf::default().with(|conf| conf.uploads.allowed_fast = 0));
    let (a, b) = (t.peer(), t.peer());
    t.hear(a, Message::HaveAll);
    t.hear(b, Message::HaveNone);
    t.hear(a, Message::Unchoke);
    let first = t.first_request(a);
    t.said(a);
    t.deliver(a, first, 0);
    t.deliver(a, first, 1);
    assert_eq!(t.said(b), [format!("have {first}")]);
    assert!(t.said(a).iter().all(|s| s.starts_with("request")));
}

#[test]
fn a_plain_choke_drops_the_orders_and_a_late_block_still_counts() {
    let mut t = leech();
    let peer = t.plain_peer();
    t.hear(peer, Message::Have(3));
    t.hear(peer, Message::Unchoke);
    assert_eq!(t.said(peer), ["interested", &request(3, 0), &request(3, 1)]);
    t.hear(peer, Message::Choke);
    t.deliver(peer, 3, 0);
    assert_eq!((t.stats().late_blocks, t.stats().wasted), (1, 0));
    t.hear(peer, Message::Unchoke);
    assert_eq!(t.said(peer), [request(3, 1)], "what has come is not asked for again");
    t.deliver(peer, 3, 1);
    assert_eq!(t.stats().have, 1);
}

#[test]
fn fast_peer_keeps_requests_until_it_rejects_them() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::Have(3));
    t.hear(peer, Message::Unchoke);
    t.said(peer);
    t.hear(peer, Message::Choke);
    t.hear(peer, block(3, 0).reject());
    t.hear(peer, Message::Unchoke);
    assert_eq!(t.said(peer), [request(3, 0)], "the other one is still on order");
    t.deliver(peer, 3, 0);
    t.deliver(peer, 3, 1);
    assert_eq!((t.stats().have, t.stats().late_blocks), (1, 0));
}

#[test]
fn blocks_of_a_rejecting_peer_go_to_another() {
    let mut t = leech();
    let (a, b) = (t.peer(), t.peer());
    t.hear(a, Message::Have(4));
    t.hear(b, Message::Have(4));
    t.hear(a, Message::Unchoke);
    t.said(a);
    t.hear(b, Message::Unchoke);
    t.said(b);
    t.hear(a, Message::Choke);
    t.hear(a, block(4, 0).reject());
    t.hear(a, block(4, 1).reject());
    let asked = t.asked(b);
    assert!(asked.contains(&(4, 0)) && asked.contains(&(4, 1)), "{asked:?}");
}

#[test]
fn rejected_block_goes_to_another_peer_if_there_is_one() {
    let mut t = leech();
    let (a, b) = (t.peer(), t.peer());
    for peer in [a, b] {
        t.hear(peer, Message::Have(4));
    }
    t.hear(a, Message::Unchoke);
    assert_eq!(t.take_asked(a), [(4, 0), (4, 1)]);
    t.hear(b, Message::Unchoke);
    t.take_asked(b);
    t.hear(a, block(4, 0).reject());
    assert_eq!((t.take_asked(a), t.take_asked(b)), (vec![], vec![(4, 0)]));
}

#[test]
fn a_peer_that_rejects_everything_is_let_go_in_the_end() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::HaveAll);
    t.hear(peer, Message::Unchoke);
    let (mut rejected, mut seconds) = (0, 0);
    while !t.is_closed(peer) {
        for (piece, nth) in t.take_asked(peer) {
            t.hear(peer, block(piece, nth).reject());
            rejected += 1;
        }
        t.pass(S);
        seconds += 1;
        assert!(seconds < 200);
    }
    // It is left alone for longer each time.
    assert!(rejected < 200, "{rejected} requests turned down");
    assert!((89..=92).contains(&seconds), "{seconds} s");
}

#[test]
fn a_peer_that_rejected_much_is_asked_when_it_unchokes_again() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::HaveAll);
    t.hear(peer, Message::Unchoke);
    let mut rejected = 0;
    loop {
        let asked = t.take_asked(peer);
        if asked.is_empty() {
            break;
        }
        rejected += asked.len();
        asked.into_iter().for_each(|(piece, nth)| t.hear(peer, block(piece, nth).reject()));
    }
    assert!((16..100).contains(&rejected), "{rejected} requests turned down");
    t.hear(peer, Message::Choke);
    t.hear(peer, Message::Unchoke);
    assert!(!t.take_asked(peer).is_empty());
}

#[test]
fn requests_ended_by_chokes_do_not_end_the_connection() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::HaveAll);
    let mut rejected = 0;
    // Without ever a block in between: more than a thousand rejects, and less than a thousand
    // chokes.
    while rejected < 5000 {
        t.hear(peer, Message::Unchoke);
        let asked = t.take_asked(peer);
        assert!(!asked.is_empty());
        t.hear(peer, Message::Choke);
        rejected += asked.len();
        asked.into_iter().for_each(|(piece, nth)| t.hear(peer, block(piece, nth).reject()));
    }
    assert!(!t.is_closed(peer), "{}", t.reason());
    // For ever it may not.
    for _ in 0..1000 {
        t.hear(peer, Message::Unchoke);
        let asked = t.take_asked(peer);
        t.hear(peer, Message::Choke);
        asked.into_iter().for_each(|(piece, nth)| t.hear(peer, block(piece, nth).reject()));
    }
    assert!(t.is_closed(peer) && t.reason().contains("turned down"), "{}", t.reason());
}

#[test]
fn allowed_pieces_are_asked_for_while_choked_and_no_others() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::HaveAll);
    t.hear(peer, Message::AllowedFast(5));
    assert_eq!(t.said(peer), ["interested", &request(5, 0), &request(5, 1)]);
    t.deliver(peer, 5, 0);
    t.deliver(peer, 5, 1);
    assert!(t.said(peer).is_empty());
    assert_eq!(t.stats().have, 1);
    // Being told of thousands costs nothing.
    for _ in 0..1000 {
        (0..trace::PIECES).for_each(|piece| t.hear(peer, Message::AllowedFast(piece)));
    }
    let asked = t.take_asked(peer);
    assert!(asked.len() <= 16 * 2, "{asked:?}");
}

#[test]
fn a_suggested_piece_comes_first() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::HaveAll);
    t.hear(peer, Message::Suggest(7));
    t.said(peer);
    t.hear(peer, Message::Unchoke);
    assert_eq!(t.said(peer)[..2], [request(7, 0), request(7, 1)]);
}

#[test]
fn the_peers_own_queue_length_is_honoured() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::Extended { id: 0, payload: b"d4:reqqi3ee" });
    t.hear(peer, Message::HaveAll);
    t.hear(peer, Message::Unchoke);
    assert_eq!(t.take_asked(peer).len(), 3);
}

#[test]
fn never_more_than_the_limit_is_on_order() {
    let mut t = Trace::leech(Conf::default().with(|conf| {
        conf.requests.max_pipeline = 5;
        conf.requests.initial_pipeline = 5;
    }));
    let peer = t.peer();
    t.hear(peer, Message::HaveAll);
    t.hear(peer, Message::Unchoke);
    let mut open = t.take_asked(peer);
    for _ in 0..10 {
        assert!(open.len() <= 5);
        let (piece, nth) = open.remove(0);
        t.deliver(peer, piece, nth);
        open.extend(t.take_asked(peer));
    }
}

#[test]
fn duplicates_are_counted_and_change_nothing() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::Have(1));
    t.hear(peer, Message::Unchoke);
    t.said(peer);
    t.deliver(peer, 1, 0);
    t.deliver(peer, 1, 0);
    let stats = t.stats();
    assert_eq!(stats.downloaded, 2 * u64::from(BLOCK_LEN));
    assert_eq!(stats.wasted, u64::from(BLOCK_LEN));
    t.deliver(peer, 1, 1);
    assert_eq!(t.stats().have, 1);
}

#[test]
fn unrequested_blocks_are_counted_and_end_the_connection() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::Have(1));
    for nth in [0, 1] {
        t.deliver(peer, 1, nth);
    }
    assert_eq!((t.stats().unasked_blocks, t.stats().have, t.stats().partial_bytes), (2, 0, 0));
    for _ in 0..998 {
        t.deliver(peer, 1, 0);
    }
    assert!(!t.is_closed(peer));
    t.deliver(peer, 1, 0);
    assert!(t.is_closed(peer) && t.reason().contains("were not asked for"), "{}", t.reason());
}

#[test]
fn piece_on_parole_continues_after_its_peer_leaves_or_chokes() {
    for leaves in [true, false] {
        let mut t = leech();
        let (bad, good) = (t.plain_peer(), t.peer());
        for peer in [bad, good] {
            t.hear(peer, Message::Have(3));
        }
        t.hear(bad, Message::Unchoke);
        t.deliver_bad(bad, 3, 0);
        t.hear(bad, Message::Choke);
        t.hear(good, Message::Unchoke);
        assert_eq!(t.take_asked(good), [(3, 1)]);
        t.deliver(good, 3, 1);
        assert_eq!(t.stats().failed_pieces, 1);
        // Others come first, but there are none. Then one peer at a time, so that there is one to
        // blame.
        assert!(t.take_asked(good).is_empty());
        t.pass(Duration::from_secs(10));
        assert_eq!(t.take_asked(good), [(3, 0), (3, 1)]);
        t.deliver(good, 3, 0);
        t.take_asked(bad);
        t.hear(bad, Message::Unchoke);
        assert!(t.take_asked(bad).is_empty());
        if leaves {
            t.lose(good);
        } else {
            t.hear(good, Message::Choke);
            t.hear(good, block(3, 1).reject());
        }
        // Nothing is left of what the other one gave.
        assert_eq!(t.take_asked(bad), [(3, 0), (3, 1)], "leaves: {leaves}");
        t.deliver_bad(bad, 3, 0);
        t.deliver(bad, 3, 1);
        assert_eq!((t.stats().have, t.stats().banned, t.stats().failed_pieces), (0, 1, 2));
        assert!(t.is_closed(bad));
    }
}

#[test]
fn sole_sender_of_a_bad_piece_is_banned_at_once() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::Have(3));
    t.hear(peer, Message::Unchoke);
    t.deliver(peer, 3, 0);
    t.deliver_bad(peer, 3, 1);
    assert!(t.is_closed(peer) && t.reason().contains("bad data"), "{}", t.reason());
    // It may not come back, on another port either.
    let again = t.accept_from(peer);
    t.raw(again, &trace::hello(*b"-XX0000-somebodyelse"));
    assert!(t.is_closed(again));
}
