//! Every way through the lanes must agree with an implementation that we did not write.

use proptest::prelude::*;

use super::{super::tests::kinds, *};

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    crate::base::rng::Rng::new(seed).fill(&mut bytes);
    bytes
}

/// With all that this machine can do, and with less.
fn all_ways(bytes: &[u8], len: usize) -> Vec<Vec<Digest>> {
    let way = |kind| {
        let mut way = Vec::new();
        each(kind, bytes.chunks(len), &mut way);
        way
    };
    kinds().into_iter().map(way).collect()
}

#[test]
fn digests_match_the_vectors_of_fips_180() {
    let hex = |digest: &Digest| digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let of = |bytes: &[u8]| {
        let ways = all_ways(bytes, bytes.len());
        assert!(ways.windows(2).all(|pair| pair[0] == pair[1]));
        hex(&ways[0][0])
    };
    assert_eq!(of(b"abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_eq!(
        of(b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"
    );
    assert_eq!(
        of(&vec![b'a'; 1_000_000]),
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
    );
}

#[test]
fn digests_are_right_at_every_length_around_the_padding() {
    let bytes = noise(300 * 37, 1);
    for (len, count) in (1..=300).flat_map(|len| [(len, 5), (len, 37)]) {
        // The last is short, so that all numbers of lanes have their turn.
        let bytes = &bytes[..(count * len - len / 2).max(1)];
        let expected: Vec<_> = bytes.chunks(len).map(by_ring).collect();
        for way in all_ways(bytes, len) {
            assert_eq!(way, expected, "{len} bytes");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_chunks_agree_with_ring(
        bytes in prop::collection::vec(any::<u8>(), 0..20000), len in 1_usize..1000,
    ) {
        let expected: Vec<_> = bytes.chunks(len).map(by_ring).collect();
        for way in all_ways(&bytes, len) {
            prop_assert_eq!(&way, &expected);
        }
    }
}
