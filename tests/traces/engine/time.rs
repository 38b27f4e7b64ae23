//! When silence, slowness and talk that delivers nothing have an end, to the millisecond.

use super::*;

#[test]
fn silent_peer_times_out_exactly_when_due() {
    let conf = Conf::default().with(|conf| conf.peers.keep_alive = 1000 * S);
    let mut t = Trace::seed(conf);
    let peer = t.peer();
    t.pass(50 * S);
    t.hear(peer, Message::KeepAlive);
    t.pass(140 * S - Duration::from_micros(1));
    assert!(!t.is_closed(peer));
    t.pass(Duration::from_micros(1));
    assert!(t.is_closed(peer) && t.reason().contains("silent"), "{}", t.reason());
}

#[test]
fn keepalive_is_sent_exactly_when_due() {
    let mut t = seed();
    let peer = t.peer();
    t.said(peer);
    t.pass(100 * S - Duration::from_micros(1));
    assert!(t.said(peer).is_empty());
    t.pass(Duration::from_micros(1));
    assert_eq!(t.said(peer), ["keep-alive"]);
    t.hear(peer, Message::KeepAlive);
    t.pass(100 * S);
    assert_eq!(t.said(peer), ["keep-alive"]);
}

#[test]
fn handshake_times_out_after_ten_seconds() {
    for sent in [0, 1, 47, 48, 67] {
        let mut t = leech();
        let peer = t.accept();
        t.raw(peer, &trace::hello(*b"-XX0000-peer........")[..sent]);
        t.pass(10 * S - Duration::from_micros(1));
        assert!(!t.is_closed(peer));
        t.pass(Duration::from_micros(1));
        assert!(t.is_closed(peer));
    }
    // One that we dialled, connected or not.
    for connected in [false, true] {
        let mut t = leech();
        let peer = if connected { t.dial() } else { t.dial_unanswered() };
        t.pass(10 * S);
        assert!(t.is_closed(peer));
    }
}

#[test]
fn a_silent_peer_is_snubbed_its_orders_move_and_it_is_let_go() {
    let mut t = leech();
    let (silent, other) = (t.peer(), t.peer());
    t.hear(silent, Message::Have(6));
    t.hear(silent, Message::Unchoke);
    assert_eq!(t.take_asked(silent), [(6, 0), (6, 1)]);
    t.pass(10 * S - MS);
    t.hear(other, Message::Have(6));
    t.hear(other, Message::Unchoke);
    let early = t.take_asked(other);
    assert!(!t.snubbed(silent), "{early:?}");
    t.pass(MS);
    assert!(t.snubbed(silent));
    let mut asked = early;
    asked.extend(t.take_asked(other));
    asked.sort_unstable();
    assert_eq!(asked, [(6, 0), (6, 1)]);
    for nth in [0, 1] {
        t.deliver(other, 6, nth);
    }
    assert_eq!(t.stats().have, 1);
    for _ in 0..9 {
        t.hear(other, Message::KeepAlive);
        t.hear(silent, Message::KeepAlive);
        t.pass(10 * S);
    }
    assert!(t.is_closed(silent) && !t.is_closed(other), "{}", t.reason());
}

#[test]
fn other_messages_do_not_count_as_delivery() {
    // It keeps talking, in pieces of frames even, but sends no block.
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::HaveAll);
    t.hear(peer, Message::Unchoke);
    for _ in 0..11 {
        let mut have = Vec::new();
        Message::Have(1).encode_into(&mut have);
        t.raw(peer, &have[..7]);
        t.pass(500 * MS);
        t.raw(peer, &have[7..]);
        t.pass(500 * MS);
    }
    assert!(t.snubbed(peer));
}

#[test]
fn dribbling_block_counts_as_slow_and_later_as_silent() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::HaveAll);
    t.hear(peer, Message::Unchoke);
    let (piece, nth) = t.take_asked(peer)[0];
    let wire = t.block_bytes(piece, nth);
    t.raw(peer, &wire[..100]);
    for byte in &wire[100..115] {
        t.pass(S);
        t.raw(peer, &[*byte]);
    }
    assert!(!t.snubbed(peer), "15 seconds, a byte a second");
    for byte in &wire[115..180] {
        t.pass(S);
        t.raw(peer, &[*byte]);
    }
    assert!(t.snubbed(peer), "a block in 80 seconds is no delivery");
}
