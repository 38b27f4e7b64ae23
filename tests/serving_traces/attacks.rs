//! What those get who ask for more than their part, or flap.

use super::*;

#[test]
fn a_million_cancels_of_nothing_cost_nothing() {
    let mut t = seed();
    t.hold_disk(true);
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    // The queue is full, so that each is looked for among many.
    hear_all(&mut t, peer, (0..512).map(|n| block(n % 16, 0).request()));
    t.said(peer);
    let jobs = t.jobs();
    let mut bytes = Vec::new();
    for n in 0..1000 {
        // Blocks that it did not ask for, that are none, and pieces that are not there.
        let (piece, begin) = ((n % 64) * (n % 3 + 1), if n % 5 == 0 { 7 } else { BLOCK_LEN });
        Message::Cancel { piece, begin, len: BLOCK_LEN - n % 2 }.encode_into(&mut bytes);
    }
    for _ in 0..1000 {
        t.raw(peer, &bytes);
    }
    assert!(!t.is_closed(peer) && t.said(peer).is_empty());
    assert_eq!((t.jobs(), t.waiting(peer)), (jobs, 0));
    t.hold_disk(false);
    assert_eq!(count(&t.said(peer), "piece"), 512, "and nothing else was forgotten");
}

#[test]
fn asking_and_cancelling_is_answered_once_each_and_has_no_more_read_than_asking() {
    let mut t = seed();
    t.hold_disk(true);
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    t.said(peer);
    for n in 0..10_000 {
        let block = block(n % PIECES, n % 2);
        hear_all(&mut t, peer, [block.request(), block.cancel()]);
    }
    let conf = Conf::default();
    assert!(t.jobs() <= conf.max_unsent / BLOCK_LEN as usize, "{} blocks are being read", t.jobs());
    t.hold_disk(false);
    let said = t.said(peer);
    assert_eq!((count(&said, "reject"), count(&said, "piece")), (10_000, 0));
}

#[test]
fn a_peer_that_does_not_know_whether_it_is_interested_is_not_answered_each_time() {
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::HaveNone);
    t.said(peer);
    hear_all(&mut t, peer, (0..10_000).flat_map(|_| [Message::Interested, Message::NotInterested]));
    hear_all(&mut t, peer, [Message::Interested]);
    let mut said = t.said(peer);
    // One message at a time, too.
    (0..10_000).for_each(|n| t.hear(peer, if n % 2 == 0 { Message::NotInterested } else { Message::Interested }));
    said.extend(t.said(peer));
    assert!(said.len() <= 20, "{} messages, such as {:?}", said.len(), &said[..20]);
    assert_eq!(said.len(), count(&said, "choke") + count(&said, "unchoke"));
    assert!(!t.is_closed(peer));
}

#[test]
fn flapping_between_wanting_and_not_wanting_data_is_not_answered_each_time() {
    let mut t = Trace::with(Conf::default(), 0..16);
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveNone, Message::Interested]);
    t.said(peer);
    for n in 0..10_000 {
        let flag: &[u8] = if n % 2 == 0 { b"\x01" } else { b"\0" };
        t.hear(peer, Message::Extended { id: UPLOAD_ONLY_ID, payload: flag });
    }
    let said = t.said(peer);
    assert!(said.len() <= 20 && !t.is_closed(peer), "{} messages, such as {:?}", said.len(), &said[..20]);
}

#[test]
fn a_peer_that_allows_and_rejects_for_ever_is_let_go() {
    let mut t = leech();
    let peer = t.peer();
    hear_all(&mut t, peer, [Message::HaveAll, Message::AllowedFast(5)]);
    let mut turned_down = 0;
    while !t.is_closed(peer) {
        let asked = t.take_asked(peer);
        assert!(turned_down <= 1100, "it is still asked");
        for (piece, nth) in asked {
            turned_down += 1;
            t.hear(peer, block(piece, nth).reject());
        }
        t.hear(peer, Message::AllowedFast(5));
        t.pass(S / 10);
    }
    assert!(t.reason().contains("turned down more than"), "{}", t.reason());
}

#[test]
fn a_bitfield_of_an_upload_only_peer_is_checked_like_any_other() {
    let mut t = leech();
    let peer = t.peer();
    greet(&mut t, peer, |h| h.upload_only = Some(true));
    let mut bits = Bitfield::all(PIECES).to_wire();
    *bits.last_mut().unwrap() |= 1;
    t.hear(peer, Message::Bitfield(&bits));
    assert!(t.is_closed(peer));
}
