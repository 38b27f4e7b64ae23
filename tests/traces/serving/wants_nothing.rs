//! Who wants nothing (BEP 21), who has everything, and how either is told.

use super::*;

#[test]
fn a_seed_says_that_it_wants_nothing_and_a_leech_does_not() {
    let mut t = seed();
    let peer = t.peer();
    assert_eq!(upload_only(&t.extended(peer)), [Some(true)]);
    let mut t = Trace::with(Conf::default(), 0..16);
    let peer = t.peer();
    let extended = t.extended(peer);
    assert_eq!(upload_only(&extended), [None]);
    let hello = ExtensionHandshake::decode(&extended[0].1).unwrap();
    assert!(hello.extensions().any(|named| named == (b"upload_only".as_slice(), UPLOAD_ONLY_ID)));
}

#[test]
fn upload_only_peer_counts_as_not_interested() {
    let say = |t: &mut Trace, peer, flag: &'static [u8]| {
        t.hear(peer, Message::Extended { id: UPLOAD_ONLY_ID, payload: flag })
    };
    let stands = |t: &Trace, peer| {
        let peer = t.peer_stats(peer);
        (peer.upload_only, peer.peer_interested, peer.peer_unchoked)
    };
    let mut t = Trace::with(Conf::default(), 0..16);
    let peer = t.peer();
    greet(&mut t, peer, |h| h.upload_only = Some(true));
    t.hear(peer, Message::Bitfield(&has([16])));
    t.hear(peer, Message::Interested);
    assert_eq!(stands(&t, peer), (true, false, false));
    // A handshake that does not speak of it changes nothing, nor does nonsense.
    greet(&mut t, peer, |_| ());
    say(&mut t, peer, b"\0\0");
    assert_eq!(stands(&t, peer), (true, false, false));
    say(&mut t, peer, b"\0");
    assert_eq!(stands(&t, peer), (false, true, true), "it has been interested all the time");
    say(&mut t, peer, b"\x01");
    assert!(stands(&t, peer).0 && !stands(&t, peer).1);
    greet(&mut t, peer, |h| h.upload_only = Some(false));
    assert!(!stands(&t, peer).0 && stands(&t, peer).1);
    assert!(!t.is_closed(peer));
    // A peer that has everything wants nothing, whatever it says.
    t.hear(peer, Message::Bitfield(&has(0..PIECES)));
    assert!(stands(&t, peer).0);
}

#[test]
fn upload_only_peer_is_kept_by_a_leech_and_dropped_by_a_seed() {
    let mut t = Trace::with(Conf::default(), 0..16);
    let keeps = t.peer();
    greet(&mut t, keeps, |h| h.upload_only = Some(true));
    t.hear(keeps, Message::Bitfield(&has([16])));
    assert!(!t.is_closed(keeps));
    assert!(t.said(keeps).contains(&"interested".to_owned()));
    // When we have what was missing, nothing is left to do.
    t.hear(keeps, Message::Unchoke);
    complete(&mut t, keeps);
    assert!(t.is_closed(keeps) && t.reason() == "both only upload", "{}", t.reason());

    let mut t = seed();
    let peer = t.dial();
    t.raw(peer, &trace::hello(*b"-XX0000-peer........"));
    t.hear(peer, Message::Bitfield(&has([3])));
    t.pass(S);
    assert!(!t.is_closed(peer));
    t.hear(peer, Message::Extended { id: UPLOAD_ONLY_ID, payload: b"\x01" });
    assert!(t.is_closed(peer) && t.reason() == "both only upload", "{}", t.reason());
    t.pass(3600 * S);
    assert!(t.new_dials().is_empty(), "it is of no use to dial it again");
}

#[test]
fn upload_only_is_told_to_remaining_peers_on_completion() {
    let mut t = Trace::with(Conf::default(), 0..14);
    let (from, by_message, by_handshake, plain) = (t.peer(), t.peer(), t.peer(), t.plain_peer());
    greet(&mut t, by_message, |h| h.set(b"upload_only", 77).unwrap());
    greet(&mut t, by_handshake, |h| h.set(b"upload_only", 0).unwrap());
    for peer in [by_message, by_handshake, plain] {
        t.hear(peer, Message::Have(1));
        t.extended(peer);
    }
    hear_all(&mut t, from, [Message::HaveAll, Message::Unchoke]);
    complete(&mut t, from);
    assert!(t.is_closed(from), "both have everything");
    assert_eq!(t.extended(by_message), [(77, vec![1])]);
    assert_eq!(upload_only(&t.extended(by_handshake)), [Some(true)]);
    assert!(t.extended(plain).is_empty() && !t.is_closed(plain));
    assert!(t.alerts().iter().any(|a| matches!(a, Alert::Finished { .. })));
}

#[test]
fn own_pieces_are_told_by_the_shortest_message() {
    let told = |pieces: std::ops::Range<u32>| {
        let mut t = Trace::with(Conf::default(), pieces);
        t.peer();
        let fast = t.greeting().pop().unwrap();
        t.plain_peer();
        (fast, t.greeting().pop().unwrap())
    };
    assert_eq!(told(0..0), ("have none".into(), "hello".into()));
    assert_eq!(told(0..1), ("bitfield".into(), "bitfield".into()));
    assert_eq!(told(1..PIECES), ("bitfield".into(), "bitfield".into()));
    assert_eq!(told(0..PIECES), ("have all".into(), "bitfield".into()));
}

#[test]
fn peer_is_a_seed_however_it_tells_its_pieces() {
    let all = has(0..PIECES);
    let ways: [&[Message<'_>]; 4] = [
        &[Message::HaveAll],
        &[Message::Bitfield(&all)],
        &[Message::Have(4), Message::HaveAll],
        &[Message::HaveNone, Message::Have(1), Message::Bitfield(&all)],
    ];
    for way in ways {
        let mut t = leech();
        let peer = t.peer();
        way.iter().for_each(|&message| t.hear(peer, message));
        assert_eq!((t.stats().seeds, t.peer_stats(peer).have), (1, PIECES), "{way:?}");
        t.hear(peer, Message::Unchoke);
        complete(&mut t, peer);
        assert!(t.is_closed(peer));
    }
    // By single Haves as well.
    let mut t = seed();
    let peer = t.peer();
    (0..PIECES).for_each(|piece| t.hear(peer, Message::Have(piece)));
    assert!(t.is_closed(peer) && t.reason() == "both have everything", "{}", t.reason());
}
