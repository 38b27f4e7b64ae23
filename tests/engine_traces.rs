//! Sessions as logs: bytes in and bytes out of one engine, at virtual times, through the door without I/O.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod trace;

use std::time::Duration;

use cratetorrent::{
    Alert, BLOCK_LEN, Bitfield, Conf,
    wire::{extension::ExtensionHandshake, message::Message},
};
use trace::{Trace, block, request};

const S: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn leech() -> Trace {
    Trace::leech(Conf::default())
}

fn seed() -> Trace {
    Trace::seed(Conf::default())
}

#[test]
fn a_greeting_may_be_cut_anywhere() {
    let mut wire = trace::hello(*b"-XX0000-peer........").to_vec();
    // All but the last piece: whoever has everything is not served, whatever it says.
    for message in [Message::Bitfield(&[0xff, 0xff, 0]), Message::Interested, Message::Unchoke] {
        message.encode_into(&mut wire);
    }
    for cut in 0..=wire.len() {
        let mut t = leech();
        let peer = t.accept();
        t.raw(peer, &wire[..cut]);
        t.raw(peer, &wire[cut..]);
        let said = t.said(peer);
        assert_eq!(said[..4], ["hello", "extended 0", "have none", "interested"], "cut at {cut}");
        assert_eq!(said.iter().filter(|s| s.starts_with("request")).count(), 8, "cut at {cut}: {said:?}");
        assert!(said.contains(&"unchoke".to_owned()));
    }
}

#[test]
fn byte_by_byte_is_the_same() {
    let mut t = leech();
    let peer = t.accept();
    let mut wire = trace::hello(*b"-XX0000-peer........").to_vec();
    Message::HaveAll.encode_into(&mut wire);
    Message::Unchoke.encode_into(&mut wire);
    wire.iter().for_each(|&byte| t.raw(peer, &[byte]));
    assert_eq!(t.said(peer).iter().filter(|s| s.starts_with("request")).count(), 8);
}

#[test]
fn what_is_not_a_greeting_ends_at_its_first_wrong_byte() {
    for bytes in [&b"G"[..], b"\x13BitTorrent protocox", b"\x12"] {
        let mut t = leech();
        let peer = t.accept();
        t.raw(peer, bytes);
        assert!(t.is_closed(peer));
        assert!(t.said(peer).is_empty(), "nothing is said to a stranger");
    }
}

#[test]
fn another_torrent_and_ourselves_are_turned_away() {
    let mut t = leech();
    let peer = t.accept();
    let mut hello = trace::hello(*b"-XX0000-peer........");
    hello[30] ^= 1;
    t.raw(peer, &hello);
    assert!(t.is_closed(peer) && t.said(peer).is_empty());

    // Both ends of a connection with ourselves: the one that was dialled answers, so that the one that dialled knows.
    let mut t = leech();
    let own = t.engine.peer_id().0;
    let peer = t.accept();
    t.raw(peer, &trace::hello(own));
    assert_eq!(t.said(peer), ["hello"]);
    t.raw(peer, &trace::hello(own));
    assert!(t.said(peer).is_empty() && t.stats().peers == 0);
    t.pass(S * 11);
    assert!(t.is_closed(peer));

    let mut t = leech();
    let own = t.engine.peer_id().0;
    let peer = t.dial();
    t.raw(peer, &trace::hello(own));
    assert!(t.is_closed(peer));
    assert_eq!(t.reason(), "it is ourselves");
    assert!(t.dial_many(1).is_empty(), "we do not dial ourselves again");
    t.pass(S * 1000);
    assert!(t.new_dials().is_empty());
    assert_eq!(t.stats().candidates, 0);

    // We dialled, and somebody answers for another torrent.
    let mut t = leech();
    let peer = t.dial();
    assert_eq!(t.said(peer), ["hello"]);
    t.raw(peer, &hello);
    assert!(t.is_closed(peer));
}

#[test]
fn reserved_bits_that_nobody_knows_mean_nothing() {
    // A peer that claims every extension there is, version 2 included.
    let mut t = leech();
    let peer = t.accept();
    let mut hello = trace::hello(*b"-XX0000-peer........");
    hello[20..28].fill(0xff);
    t.raw(peer, &hello);
    assert_eq!(t.said(peer), ["hello", "extended 0", "have none"]);
    assert!(!t.is_closed(peer));
}

#[test]
fn telling_again_adds_what_is_new_and_is_bounded() {
    let some = {
        let mut bits = vec![0; Bitfield::all(trace::PIECES).to_wire().len()];
        bits[0] = 0x80;
        bits
    };
    let all = Bitfield::all(trace::PIECES).to_wire();
    let has = |t: &Trace| t.engine.peers(t.engine.torrents()[0])[0].have;
    // aria2 tells anew what it has, and a Have may come before.
    for first in [Message::Bitfield(&some), Message::Have(0), Message::HaveNone] {
        let mut t = leech();
        let peer = t.peer();
        t.hear(peer, first);
        t.hear(peer, Message::Bitfield(&all));
        assert_eq!(has(&t), trace::PIECES);
        // Nothing can be taken back.
        t.hear(peer, Message::HaveNone);
        assert_eq!(has(&t), trace::PIECES);
        (0..trace::PIECES + 6).for_each(|_| t.hear(peer, Message::Bitfield(&all)));
        assert!(!t.is_closed(peer));
        t.hear(peer, Message::Bitfield(&all));
        assert!(t.is_closed(peer) && t.reason().contains("times all that it has"), "{}", t.reason());
    }
}

#[test]
fn five_bytes_that_cost_a_walk_through_all_pieces_may_come_a_few_times() {
    let mut t = leech();
    let peer = t.peer();
    (0..9).for_each(|_| t.hear(peer, Message::HaveAll));
    assert!(!t.is_closed(peer));
    t.hear(peer, Message::HaveNone);
    assert!(t.is_closed(peer));
}

#[test]
fn bad_bitfields_and_pieces_that_are_not_there_end_the_connection() {
    let bits = Bitfield::all(trace::PIECES).to_wire();
    let long = [&bits[..], &[0]].concat();
    let spare = {
        let mut b = bits.clone();
        *b.last_mut().unwrap() |= 1;
        b
    };
    let data = [0; 100];
    let bad = [
        Message::Bitfield(&long),
        Message::Bitfield(&bits[1..]),
        Message::Bitfield(&spare),
        Message::Bitfield(&[]),
        Message::Have(trace::PIECES),
        Message::Have(u32::MAX),
        Message::Piece { piece: trace::PIECES, begin: 0, data: &data },
        Message::Piece { piece: 0, begin: 1, data: &data },
        Message::Piece { piece: 0, begin: 0, data: &data },
        Message::Piece { piece: 0, begin: 0, data: &[] },
        Message::Piece { piece: 0, begin: u32::MAX, data: &data },
        Message::Reject { piece: trace::PIECES, begin: 0, len: 1 },
    ];
    for message in bad {
        let mut t = leech();
        let peer = t.peer();
        t.hear(peer, message);
        assert!(t.is_closed(peer), "{message:?}");
        assert_eq!(t.stats().have, 0);
    }
}

#[test]
fn the_fast_extension_must_be_agreed_on() {
    let of_fast = [
        Message::HaveAll,
        Message::HaveNone,
        Message::Suggest(0),
        Message::AllowedFast(0),
        Message::Reject { piece: 0, begin: 0, len: 1 },
    ];
    for message in of_fast {
        let mut t = leech();
        let peer = t.plain_peer();
        assert!(t.said(peer).is_empty(), "a plain peer is told nothing of what we have, as we have nothing");
        t.hear(peer, message);
        assert!(t.is_closed(peer), "{message:?}");
    }
}

#[test]
fn unknown_and_idle_talk_is_ignored() {
    let mut t = leech();
    let peer = t.peer();
    let talk = [
        Message::KeepAlive,
        Message::Port(6881),
        Message::Unknown { id: 77, payload: &[1, 2, 3] },
        Message::Unknown { id: 255, payload: &[] },
        Message::Extended { id: 9, payload: b"d1:ai1ee" },
        Message::Choke,
        Message::NotInterested,
        Message::Cancel { piece: 0, begin: 0, len: 5 },
        Message::Cancel { piece: 1 << 30, begin: 0, len: 5 },
        Message::AllowedFast(1 << 30),
        Message::Suggest(1 << 30),
    ];
    talk.into_iter().for_each(|message| t.hear(peer, message));
    assert!(!t.is_closed(peer));
    assert!(t.said(peer).is_empty());
}

#[test]
fn frames_that_are_too_long_end_it_before_they_come() {
    let mut t = leech();
    let peer = t.peer();
    // Nothing is longer than the longest extension message, in a torrent whose bitfield is not.
    t.raw(peer, &(64 * 1024_u32 + 2).to_be_bytes());
    assert!(!t.is_closed(peer));
    for len in [64 * 1024 + 3, 1 << 20, u32::MAX] {
        let peer = t.peer();
        t.raw(peer, &len.to_be_bytes());
        assert!(t.is_closed(peer), "a frame of {len} bytes");
    }
    // A length that the message cannot have is refused at the id.
    for (len, id) in [(2_u32, 0_u8), (4, 4), (14, 6), (8, 7), (1, 20)] {
        let peer = t.peer();
        t.raw(peer, &[&len.to_be_bytes()[..], &[id]].concat());
        assert!(t.is_closed(peer), "{len} bytes with id {id}");
    }
}

#[test]
fn a_broken_extension_handshake_ends_it_and_a_strange_one_does_not() {
    for (payload, fine) in [
        (&b"d1:md11:ut_metadatai3e6:ut_pexi1ee4:reqqi250e1:v5:thinge"[..], true),
        (b"de", true),
        (b"d4:reqqi-5e1:v3:\xff\xfe\xfd1:pi70000ee", true),
        (b"", false),
        (b"i5e", false),
        (b"d1:m", false),
        (&[b'l'; 5000], false),
    ] {
        let mut t = leech();
        let peer = t.peer();
        t.hear(peer, Message::Extended { id: 0, payload });
        assert_eq!(t.is_closed(peer), !fine, "{:?}", String::from_utf8_lossy(payload));
    }
}

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
    let mut t = Trace::leech(Conf { allowed_fast: 0, ..Conf::default() });
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
fn with_the_fast_extension_orders_stand_until_they_are_rejected() {
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
fn what_one_rejects_and_leaves_is_asked_of_another() {
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
fn a_rejected_block_goes_to_somebody_else_if_there_is_anybody() {
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
    let mut rejected = 0;
    while !t.is_closed(peer) {
        for (piece, nth) in t.take_asked(peer) {
            t.hear(peer, block(piece, nth).reject());
            rejected += 1;
        }
        assert!(rejected < 5000);
    }
    assert!(t.reason().contains("turned down"), "{}", t.reason());
}

#[test]
fn a_peer_that_chokes_often_is_not_let_go_for_what_a_choke_turns_down() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::HaveAll);
    let mut rejected = 0;
    // Without ever a block in between: more than a thousand rejects, and less than a thousand chokes.
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
    let mut t = Trace::leech(Conf { max_pipeline: 5, initial_pipeline: 5, ..Conf::default() });
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
fn unasked_blocks_are_counted_not_taken_and_not_suffered_for_long() {
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
    assert!(t.is_closed(peer) && t.reason().contains("nobody asked for"), "{}", t.reason());
}

#[test]
fn a_piece_on_parole_goes_on_when_its_only_peer_leaves_or_chokes() {
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
        // From now on one peer at a time, so that there is one to blame.
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
        assert_eq!(t.take_asked(bad), [(3, 1)], "leaves: {leaves}");
        t.deliver(bad, 3, 1);
        assert_eq!((t.stats().have, t.stats().banned), (1, 1), "the block of the first attempt tells who it was");
        assert!(t.is_closed(bad));
    }
}

#[test]
fn whoever_sent_all_of_a_bad_piece_is_banned_at_once() {
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

// Being asked.

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
    assert_eq!(t.said(peer), ["piece 2:16384+16384 good", "piece 0:0+16384 good", "piece 1:5+77 good"]);
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
    let mut t = Trace::seed(Conf { max_incoming_requests: 100, ..Conf::default() });
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
        assert!(t.waiting(peer) < (1 << 20) + 2 * 512 * 1024, "{} bytes are waiting", t.waiting(peer));
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

// Time.

#[test]
fn silence_ends_exactly_when_it_should() {
    let conf = Conf { keep_alive: 1000 * S, ..Conf::default() };
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
fn we_say_that_we_are_there_exactly_when_we_should() {
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
fn greetings_take_ten_seconds_at_most() {
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
fn other_talk_does_not_pass_for_delivery() {
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
fn a_block_that_dribbles_is_slow_and_not_silent_but_not_for_ever() {
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

// Limits on connections.

#[test]
fn there_is_room_for_so_many_greetings_and_links() {
    let mut t = Trace::leech(Conf { max_greetings: 3, max_links: 5, ..Conf::default() });
    let waiting: Vec<_> = (0..3).map(|_| t.accept()).collect();
    assert!(t.try_accept().is_none());
    t.raw(waiting[0], &trace::hello(*b"-XX0000-peer.......1"));
    assert!(t.try_accept().is_some());
    assert!(t.try_accept().is_none());
    t.raw(waiting[1], &trace::hello(*b"-XX0000-peer.......2"));
    assert!(t.try_accept().is_some(), "the fifth link");
    t.raw(waiting[2], &trace::hello(*b"-XX0000-peer.......3"));
    assert!(t.try_accept().is_none(), "a sixth would be too many");
    t.lose(waiting[2]);
    assert!(t.try_accept().is_some());
}

#[test]
fn a_torrent_takes_so_many_peers_from_either_side() {
    let mut t = Trace::leech(Conf { max_links_per_torrent: 2, ..Conf::default() });
    let (a, b) = (t.peer(), t.peer());
    let c = t.accept();
    t.raw(c, &trace::hello(*b"-XX0000-another....."));
    assert!(t.is_closed(c) && !t.is_closed(a) && !t.is_closed(b));
    assert!(t.said(c).is_empty());

    // Dials that are under way count too.
    let mut t = Trace::leech(Conf { max_links_per_torrent: 2, ..Conf::default() });
    let dials = t.dial_many(10);
    assert_eq!(dials.len(), 2);
}

#[test]
fn so_many_dials_at_a_time_and_the_next_as_soon_as_one_is_answered() {
    let mut t = Trace::leech(Conf { max_dials: 3, ..Conf::default() });
    let first = t.dial_many(10);
    assert_eq!(first.len(), 3);
    t.connected(first[0]);
    assert_eq!(t.new_dials().len(), 1, "it has answered, though it has said nothing yet");
    t.refused(first[1]);
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn a_peer_that_is_connected_is_not_taken_a_second_time_the_other_way_round() {
    // Our id begins with -CT, its id with -XX: the connection that we dial is the one to keep, and both know it.
    let its = |nth: u8| {
        let mut id = *b"-XX0000-peer........";
        id[19] = nth;
        trace::hello(id)
    };
    let mut t = leech();
    let old = t.peer();
    let new = t.dial_back(old);
    t.raw(new, &its(0));
    assert!(t.is_closed(old) && !t.is_closed(new));

    // With an id below ours it is its own connection that stays.
    let mut t = leech();
    let old = t.accept();
    t.raw(old, &trace::hello(*b"-AA0000-peer........"));
    let new = t.dial_back(old);
    t.raw(new, &trace::hello(*b"-AA0000-peer........"));
    assert!(!t.is_closed(old) && t.is_closed(new));

    // Nothing is changed once a block has passed.
    let mut t = leech();
    let old = t.peer();
    t.hear(old, Message::Have(1));
    t.hear(old, Message::Unchoke);
    t.deliver(old, 1, 0);
    let new = t.dial_back(old);
    t.raw(new, &its(0));
    assert!(!t.is_closed(old) && t.is_closed(new));
}

/// The extension handshake of a peer that listens on the port which the trace dials.
fn listens() -> Vec<u8> {
    let mut hello = ExtensionHandshake::default();
    hello.port = Some(6881);
    hello.encode()
}

#[test]
fn a_peer_that_has_dialled_us_is_not_dialled_until_it_goes() {
    // It is known and could not be reached; then it comes by itself and says where it listens.
    let mut t = leech();
    t.name_listener(1);
    let dialled = t.new_dials()[0];
    t.refused(dialled);
    let came = t.peer();
    t.hear(came, Message::Extended { id: 0, payload: &listens() });
    t.pass(50 * S);
    assert!(t.new_dials().is_empty());
    t.lose(came);
    t.pass(10 * S);
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn a_peer_that_refuses_to_be_dialled_since_it_has_dialled_us_is_not_dialled_again() {
    // It dials while it is dialled, and many clients then close the second connection without a greeting.
    let mut t = leech();
    t.name_listener(1);
    let dialled = t.new_dials()[0];
    t.connected(dialled);
    let came = t.peer();
    t.hear(came, Message::Extended { id: 0, payload: &listens() });
    t.lose(dialled);
    t.pass(50 * S);
    assert!(t.new_dials().is_empty());
    // Another from the same address that says the same changes nothing by its going.
    let other = t.accept_from(came);
    t.raw(other, &trace::hello(*b"-XX0000-another....."));
    t.hear(other, Message::Extended { id: 0, payload: &listens() });
    t.lose(other);
    t.pass(50 * S);
    assert!(t.new_dials().is_empty());
    t.lose(came);
    t.pass(10 * S);
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn a_peer_known_by_its_id_to_have_dialled_us_is_not_dialled_again() {
    let mut t = leech();
    let old = t.accept();
    t.raw(old, &trace::hello(*b"-AA0000-peer........"));
    let new = t.dial_back(old);
    t.raw(new, &trace::hello(*b"-AA0000-peer........"));
    assert!(!t.is_closed(old) && t.is_closed(new));
    t.pass(50 * S);
    assert!(t.new_dials().is_empty());
    t.lose(old);
    t.pass(10 * S);
    assert_eq!(t.new_dials().len(), 1);
}

#[test]
fn alerts_tell_who_came_and_why_they_went() {
    let mut t = leech();
    let peer = t.peer();
    t.hear(peer, Message::Have(trace::PIECES));
    let gone = t.alerts().iter().any(|a| matches!(a, Alert::PeerGone { reason, .. } if reason.contains("piece 17 of a torrent")));
    assert!(gone && t.alerts().iter().any(|a| matches!(a, Alert::PeerConnected { .. })));
}
