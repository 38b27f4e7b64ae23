//! What a peer may say and how: greetings cut anywhere, what it has, frames, handshakes of
//! extensions.

use super::*;

#[test]
fn handshake_may_be_cut_anywhere() {
    let mut wire = trace::hello(*b"-XX0000-peer........").to_vec();
    // All but the last piece: a peer that has everything is not served, whatever it says.
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
        assert_eq!(
            said.iter().filter(|s| s.starts_with("request")).count(),
            8,
            "cut at {cut}: {said:?}"
        );
        assert!(said.contains(&"unchoke".to_owned()));
    }
}

#[test]
fn input_byte_by_byte_gives_the_same_output() {
    let mut t = leech();
    let peer = t.accept();
    let mut wire = trace::hello(*b"-XX0000-peer........").to_vec();
    Message::HaveAll.encode_into(&mut wire);
    Message::Unchoke.encode_into(&mut wire);
    wire.iter().for_each(|&byte| t.raw(peer, &[byte]));
    assert_eq!(t.said(peer).iter().filter(|s| s.starts_with("request")).count(), 8);
}

#[test]
fn invalid_handshake_ends_at_its_first_wrong_byte() {
    for bytes in [&b"G"[..], b"\x13BitTorrent protocox", b"\x12"] {
        // With encryption it may be the beginning of a key.
        for (policy, closed) in [(Encryption::Off, true), (Encryption::Allowed, false)] {
            let conf = Conf::default().with(|conf| conf.encryption.policy = policy);
            let mut t = Trace::leech(conf);
            let peer = t.accept();
            t.raw(peer, bytes);
            assert_eq!(t.is_closed(peer), closed);
            assert!(t.said(peer).is_empty(), "nothing is said to a stranger");
        }
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

    // Both ends of a connection with ourselves: the one that was dialled answers, so that the one
    // that dialled knows.
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

    // We dialled, and the peer answers for another torrent.
    let mut t = leech();
    let peer = t.dial();
    assert_eq!(t.said(peer), ["hello"]);
    t.raw(peer, &hello);
    assert!(t.is_closed(peer));
}

#[test]
fn unknown_reserved_bits_are_ignored() {
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
fn repeated_bitfield_adds_new_pieces_and_is_bounded() {
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
        assert!(
            t.is_closed(peer) && t.reason().contains("times all that it has"),
            "{}",
            t.reason()
        );
    }
}

#[test]
fn repeated_have_all_is_bounded() {
    let mut t = leech();
    let peer = t.peer();
    (0..9).for_each(|_| t.hear(peer, Message::HaveAll));
    assert!(!t.is_closed(peer));
    t.hear(peer, Message::HaveNone);
    assert!(t.is_closed(peer));
}

#[test]
fn bad_bitfield_or_piece_index_ends_the_connection() {
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
        assert!(
            t.said(peer).is_empty(),
            "a plain peer is told nothing of what we have, as we have nothing"
        );
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
fn too_long_frame_ends_the_connection_at_its_length() {
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
fn broken_extension_handshake_ends_connection_odd_one_does_not() {
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
