//! What we are asked for: in order, too much, for nothing, or by a peer that does not read the
//! answers.

use super::*;

#[test]
fn requests_are_answered_in_order_with_the_data() {
    let mut t = seed();
    let peer = t.peer();
    assert_eq!(t.greeting(), ["hello", "extended 0", "have all"]);
    t.hear(peer, Message::Interested);
    assert_eq!(t.said(peer), ["unchoke"]);
    t.hear(peer, block(2, 1).request());
    t.hear(peer, block(0, 0).request());
    t.hear(peer, Message::Request { piece: 1, begin: 5, len: 77 });
    assert_eq!(
        t.said(peer),
        ["piece 2:16384+16384 good", "piece 0:0+16384 good", "piece 1:5+77 good"]
    );
    assert_eq!(t.stats().uploaded, 2 * u64::from(BLOCK_LEN) + 77);
}

#[test]
fn requests_for_what_we_lack_or_while_choked_are_rejected() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, block(0, 0).request());
    assert_eq!(t.said(peer), ["reject 0:0+16384"]);
    t.hear(peer, Message::Interested);
    t.said(peer);
    t.hear(peer, block(0, 0).request());
    assert_eq!(t.said(peer), ["reject 0:0+16384"]);

    let mut t = seed();
    let (fast, plain) = (t.peer(), t.plain_peer());
    t.said(plain);
    for peer in [fast, plain] {
        t.hear(peer, block(0, 0).request());
    }
    assert_eq!(t.said(fast), ["reject 0:0+16384"], "it is choked");
    assert!(t.said(plain).is_empty());
}

#[test]
fn requests_that_make_no_sense_are_rejected_three_hundred_times() {
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::Interested);
    t.said(peer);
    let senseless = [
        Message::Request { piece: trace::PIECES, begin: 0, len: 1 },
        Message::Request { piece: 0, begin: 0, len: 0 },
        Message::Request { piece: 0, begin: u32::MAX, len: u32::MAX },
        Message::Request { piece: 0, begin: 1, len: 2 * BLOCK_LEN },
        Message::Request { piece: 0, begin: 0, len: 128 * 1024 + 1 },
    ];
    for nth in 0..300 {
        t.hear(peer, senseless[nth % senseless.len()]);
    }
    assert!(!t.is_closed(peer));
    assert_eq!(t.said(peer).len(), 300);
    t.hear(peer, senseless[0]);
    assert!(t.is_closed(peer) && t.reason().contains("make no sense"), "{}", t.reason());
}

#[test]
fn a_flood_of_requests_is_bounded_and_the_rest_rejected() {
    let mut t = Trace::seed(Conf::default().with(|conf| conf.uploads.max_requests = 100));
    t.hold_disk(true);
    let peer = t.peer();
    t.hear(peer, Message::Interested);
    t.said(peer);
    (0..250).for_each(|nth| t.hear(peer, block(nth % trace::PIECES, 0).request()));
    let said = t.said(peer);
    assert_eq!(said.len(), 150);
    assert!(said.iter().all(|s| s.starts_with("reject")));
    // Only so much is read ahead of what has left.
    assert!(t.jobs() <= 512 * 1024 / BLOCK_LEN as usize + 1, "{} reads at once", t.jobs());
    t.hold_disk(false);
    assert_eq!(t.said(peer).iter().filter(|s| s.ends_with("good")).count(), 100);
}

#[test]
fn a_peer_that_asks_and_does_not_read_is_let_go() {
    let mut t = seed();
    let peer = t.peer();
    t.hear(peer, Message::Interested);
    t.said(peer);
    t.set_deaf(peer, true);
    let mut requests = 0;
    while !t.is_closed(peer) {
        let mut wire = Vec::new();
        (0..1000).for_each(|_| block(0, 0).request().encode_into(&mut wire));
        t.raw(peer, &wire);
        requests += 1000;
        assert!(requests < 200_000, "{} bytes are waiting", t.waiting(peer));
        assert!(
            t.waiting(peer) < (1 << 20) + 2 * 512 * 1024,
            "{} bytes are waiting",
            t.waiting(peer)
        );
    }
    assert!(t.reason().contains("does not read"), "{}", t.reason());
}

#[test]
fn a_cancelled_request_is_answered_with_a_reject_and_no_data() {
    let mut t = seed();
    t.hold_disk(true);
    let peer = t.peer();
    t.hear(peer, Message::Interested);
    t.hear(peer, block(0, 0).request());
    t.hear(peer, block(0, 1).request());
    t.said(peer);
    t.hear(peer, block(0, 0).cancel());
    t.hear(peer, block(0, 0).cancel());
    t.hold_disk(false);
    assert_eq!(t.said(peer), ["reject 0:0+16384", "piece 0:16384+16384 good"]);
}

#[test]
fn a_late_read_does_not_reach_another_peer() {
    let mut t = seed();
    t.hold_disk(true);
    let gone = t.peer();
    t.hear(gone, Message::Interested);
    t.hear(gone, block(0, 0).request());
    t.lose(gone);
    let next = t.peer();
    t.hear(next, Message::Interested);
    t.hold_disk(false);
    assert_eq!(t.said(next), ["unchoke"]);
}
