//! What `ut_metadata` promises.

use proptest::prelude::*;

use super::{MetadataMessage as M, MetadataMessageError as E, *};

#[test]
fn examples_of_bep_9_are_read() {
    assert_eq!(M::decode(b"d8:msg_typei0e5:piecei0ee"), Ok(M::Request { block: 0 }));
    let data = [b'x'; 3425];
    let message = [&b"d8:msg_typei1e5:piecei0e10:total_sizei3425ee"[..], &data].concat();
    assert_eq!(M::decode(&message), Ok(M::Data { block: 0, total: 3425, data: &data }));
    assert_eq!(M::decode(&message).unwrap().encode(), message);
    assert_eq!(M::decode(b"d8:msg_typei2e5:piecei0ee"), Ok(M::Reject { block: 0 }));
}

#[test]
fn message_of_a_later_version_is_told_apart() {
    assert_eq!(M::decode(b"d8:msg_typei3ee"), Ok(M::Unknown { kind: 3 }));
    assert_eq!(M::decode(b"d3:newle8:msg_typei-1ee"), Ok(M::Unknown { kind: -1 }));
    assert_eq!(M::decode(b"d3:newle8:msg_typei0e5:piecei7eemore"), Ok(M::Request { block: 7 }));
}

#[test]
fn malformed_message_is_refused_with_its_reason() {
    let cases: [(&[u8], E); 7] = [
        (b"d5:piecei0ee", E::Missing("msg_type")),
        (b"le", E::Missing("msg_type")),
        (b"d8:msg_typei0ee", E::Missing("piece")),
        (b"d8:msg_typei0e5:piecei-1ee", E::Missing("piece")),
        (b"d8:msg_typei1e5:piecei4294967296ee", E::Missing("piece")),
        (b"d8:msg_typei1e5:piecei0eex", E::Missing("total_size")),
        (b"", E::Bencode(BencodeError::Truncated { len: 0 })),
    ];
    for (bytes, error) in cases {
        assert_eq!(M::decode(bytes), Err(error), "{}", bytes.escape_ascii());
    }
    let long = vec![0; MAX_METADATA_MESSAGE + 1];
    assert_eq!(M::decode(&long), Err(E::TooLong(MAX_METADATA_MESSAGE + 1)));
}

#[test]
fn block_of_another_length_than_its_claim_is_refused() {
    let decode = |block: u32, total: u32, len: usize| {
        let head = format!("d8:msg_typei1e5:piecei{block}e10:total_sizei{total}ee");
        let message = [head.as_bytes(), &vec![0; len]].concat();
        M::decode(&message).map(|_| ())
    };
    assert_eq!(decode(0, 16384, 16384), Ok(()));
    assert_eq!(decode(1, 16385, 1), Ok(()));
    for (block, total, len) in
        [(0, 0, 0), (0, 5, 4), (0, 5, 6), (1, 16384, 0), (u32::MAX, u32::MAX, 1), (0, 16385, 1)]
    {
        assert_eq!(decode(block, total, len), Err(E::Block { block, total, len }));
    }
}

proptest! {
    #[test]
    fn message_reads_back_as_the_same(block in 0_u32..2000, total in 1_u32..40_000_000) {
        let block = block % metadata_blocks(total);
        let data = vec![7; metadata_block_len(total, block).unwrap() as usize];
        let block_of_it = M::Data { block, total, data: &data };
        for message in [M::Request { block }, M::Reject { block }, block_of_it] {
            let bytes = message.encode();
            prop_assert_eq!(M::decode(&bytes), Ok(message));
        }
    }

    #[test]
    fn blocks_add_up_to_the_whole(total in 0_u32..1_000_000) {
        let len = |block| metadata_block_len(total, block).unwrap();
        let lens = (0..metadata_blocks(total)).map(len);
        prop_assert_eq!(lens.sum::<u32>(), total);
        prop_assert_eq!(metadata_block_len(total, metadata_blocks(total)), None);
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..99)) {
        let _ = M::decode(&bytes);
    }
}
