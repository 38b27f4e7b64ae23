//! Every way through the lanes must agree with an implementation that we did not write.

use proptest::prelude::*;

use super::*;

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    crate::base::rng::Rng::new(seed).fill(&mut bytes);
    bytes
}

/// With each number of lanes, and without any.
fn all_ways(bytes: &[u8], len: usize) -> Vec<Vec<Digest>> {
    let mut ways = vec![Vec::new(); 4];
    chunks(Kind::Portable, 1, bytes, len, &mut ways[0]);
    (1..=3).for_each(|lanes| sha256_chunks_in(lanes, bytes, len, &mut ways[lanes]));
    ways
}

#[test]
fn digests_match_the_vectors_of_fips_180() {
    let hex = |digest: &Digest| digest.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let of = |bytes: &[u8]| {
        let ways = all_ways(bytes, bytes.len());
        assert!(ways.windows(2).all(|pair| pair[0] == pair[1]));
        hex(&ways[1][0])
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
    let bytes = noise(300 * 5, 1);
    for len in 1..=300 {
        // Five chunks and a short one: three, two and one at a time.
        let bytes = &bytes[..(5 * len - len / 2).max(1)];
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
        bytes in prop::collection::vec(any::<u8>(), 0..5000), len in 1_usize..1000,
    ) {
        let expected: Vec<_> = bytes.chunks(len).map(by_ring).collect();
        for way in all_ways(&bytes, len) {
            prop_assert_eq!(&way, &expected);
        }
    }
}
