//! What broke once, here or in other clients: one line each.

#[path = "../fuzz/src/dht.rs"]
#[allow(unreachable_pub, dead_code)] // the fuzz crate calls the rest
mod dht;
#[path = "../fuzz/src/wire.rs"]
#[allow(unreachable_pub, dead_code)] // the fuzz crate calls the rest
mod wire;

/// Inputs that fuzzing found, by target.
#[test]
fn found_by_fuzzing() {
    // None yet.
    wire::message(b"");
}

/// Inputs that are known to have brought other clients down.
#[test]
fn known_from_elsewhere() {
    // Nesting that no recursive parser survives.
    wire::bencode(&vec![b'l'; 1 << 20]);
    wire::metainfo(&b"d1:a".repeat(1 << 18));
    wire::extension(&b"d1:a".repeat(1 << 13));
    // A string whose length fits no machine word, and one that just does.
    wire::bencode(b"18446744073709551616:");
    wire::bencode(b"18446744073709551615:");
    // Frames shorter than their message, which codecs read past the end of.
    (0..=255).for_each(|id| {
        (0..14).for_each(|len| wire::message_roundtrip(&[&[id][..], &vec![0; len]].concat()))
    });
    (0..=255).for_each(|id| wire::message(&[0, 0, 0, 0, 1, id]));
    // A frame that claims 4 GiB.
    wire::message(&[0, 0xff, 0xff, 0xff, 0xff, 7]);
    // A state file whose numbers are not there.
    wire::resume(b"\0\0\0de");
    // A session's log that claims a record of many MiB.
    wire::session_state(b"\x07\0\x0c\xc7R\x0e\x9d\x01\0\0\0\x03\xff\xff\xff\x01\0\x02de");
    // A handshake in two reads is the `handshake` check itself.
    wire::handshake(
        b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x05aaaaaaaaaaaaaaaaaaaabbbbbbbbbbbbbbbbbbbb",
    );
    // A packet that is nothing but nesting, and compact lists that end within a node.
    dht::krpc(&b"d1:a".repeat(500));
    dht::krpc(
        b"d1:rd2:id20:abcdefghij01234567895:nodes27:xxxxxxxxxxxxxxxxxxxxxxxxxxxe1:t0:1:y1:re",
    );
    // Lengths that add up beyond a word, and a piece length that divides by zero.
    wire::metainfo(b"d4:infod6:lengthi9223372036854775807e4:name1:n12:piece lengthi1e6:pieces0:ee");
    wire::metainfo(
        b"d4:infod6:lengthi1e4:name1:n12:piece lengthi0e6:pieces20:aaaaaaaaaaaaaaaaaaaaee",
    );
}
