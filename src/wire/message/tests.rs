//! What `message` promises.

use proptest::prelude::*;

use super::*;

const RANGE: HashRange = HashRange { root: [9; 32], base: 1, index: 2, len: 3, proofs: 4 };
const RANGE_BYTES: &[u8] = &[
    9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9,
    0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4,
];

fn encode(message: Message<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    message.encode_into(&mut out);
    out
}

#[test]
fn the_wire_forms_are_those_of_the_beps() {
    let request = [&[0, 0, 0, 49, 21], RANGE_BYTES].concat();
    let hashes = [&[0, 0, 0, 113, 22], RANGE_BYTES, &[8; 64]].concat();
    let reject = [&[0, 0, 0, 49, 23], RANGE_BYTES].concat();
    let cases: &[(Message<'_>, &[u8])] = &[
        (Message::KeepAlive, &[0, 0, 0, 0]),
        (Message::Choke, &[0, 0, 0, 1, 0]),
        (Message::Unchoke, &[0, 0, 0, 1, 1]),
        (Message::Interested, &[0, 0, 0, 1, 2]),
        (Message::NotInterested, &[0, 0, 0, 1, 3]),
        (Message::Have(0x0102_0304), &[0, 0, 0, 5, 4, 1, 2, 3, 4]),
        (Message::Bitfield(&[0xff, 0x80]), &[0, 0, 0, 3, 5, 0xff, 0x80]),
        (
            Message::Request { piece: 1, begin: 0x4000, len: 0x4000 },
            &[0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0],
        ),
        (
            Message::Piece { piece: 1, begin: 2, data: b"ab" },
            &[0, 0, 0, 11, 7, 0, 0, 0, 1, 0, 0, 0, 2, b'a', b'b'],
        ),
        (
            Message::Cancel { piece: 1, begin: 2, len: 3 },
            &[0, 0, 0, 13, 8, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
        ),
        (Message::Port(6881), &[0, 0, 0, 3, 9, 0x1a, 0xe1]),
        (Message::Suggest(9), &[0, 0, 0, 5, 0x0d, 0, 0, 0, 9]),
        (Message::HaveAll, &[0, 0, 0, 1, 0x0e]),
        (Message::HaveNone, &[0, 0, 0, 1, 0x0f]),
        (
            Message::Reject { piece: 1, begin: 2, len: 3 },
            &[0, 0, 0, 13, 0x10, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3],
        ),
        (Message::AllowedFast(9), &[0, 0, 0, 5, 0x11, 0, 0, 0, 9]),
        (Message::Extended { id: 0, payload: b"de" }, &[0, 0, 0, 4, 20, 0, b'd', b'e']),
        (Message::HashRequest(RANGE), &request),
        (Message::Hashes { range: RANGE, hashes: &[[8; 32]; 2] }, &hashes),
        (Message::HashReject(RANGE), &reject),
        (Message::Unknown { id: 99, payload: b"x" }, &[0, 0, 0, 2, 99, b'x']),
    ];
    for (message, bytes) in cases {
        assert_eq!(encode(*message), *bytes);
        assert_eq!(Message::decode(&bytes[4..]), Ok(*message));
    }
}

#[test]
fn a_wrong_length_is_named() {
    // id, and the lengths that are right.
    let fixed: &[(u8, u32)] = &[
        (0, 1),
        (1, 1),
        (2, 1),
        (3, 1),
        (4, 5),
        (6, 13),
        (8, 13),
        (9, 3),
        (13, 5),
        (14, 1),
        (15, 1),
        (16, 13),
        (17, 5),
        (21, 49),
        (23, 49),
    ];
    let frame = |id: u8, len: u32| [vec![id], vec![0; len as usize - 1]].concat();
    for &(id, right) in fixed {
        for len in 1..60 {
            assert_eq!(
                Message::decode(&frame(id, len)).is_ok(),
                len == right,
                "id {id}, length {len}"
            );
        }
    }
    assert!(Message::decode(&frame(7, 8)).is_err());
    assert_eq!(Message::decode(&frame(7, 9)), Ok(Message::Piece { piece: 0, begin: 0, data: &[] }));
    for len in 0..120 {
        let right = len >= 49 && (len - 49) % 32 == 0;
        assert_eq!(len > 0 && Message::decode(&frame(22, len.max(1))).is_ok(), right, "{len}");
    }
    assert!(Message::decode(&[20]).is_err());
    assert_eq!(Message::decode(&[5]), Ok(Message::Bitfield(&[])));
    let error = Message::decode(&frame(4, 4)).unwrap_err();
    assert_eq!(error.to_string(), "have message of 4 bytes where exactly 5 are needed");
    assert_eq!(
        Message::decode(&[20]).unwrap_err().to_string(),
        "extended message of 1 bytes where at least 2 are needed"
    );
}

#[test]
fn a_piece_header_is_the_front_of_a_piece() {
    let whole = encode(Message::Piece { piece: 7, begin: 16_384, data: &[1; 100] });
    assert_eq!(piece_header(7, 16_384, 100), whole[..PIECE_HEADER_LEN]);
}

#[test]
fn encoding_appends() {
    let mut out = b"before".to_vec();
    Message::Choke.encode_into(&mut out);
    Message::KeepAlive.encode_into(&mut out);
    assert_eq!(out, b"before\0\0\0\x01\0\0\0\0\0");
}

proptest! {
    #[test]
    fn decoded_message_encodes_to_the_same_bytes(
        frame in prop::collection::vec(any::<u8>(), 0..40),
        id in 0u8..25,
    ) {
        for frame in [frame.clone(), [vec![id], frame].concat()] {
            if let Ok(message) = Message::decode(&frame) {
                prop_assert_eq!(&encode(message)[4..], &frame[..]);
            }
        }
    }
}
