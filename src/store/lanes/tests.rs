//! Every way through the lanes must agree with two implementations that we did not write.

use proptest::prelude::*;

use super::*;

fn by_ring(bytes: &[u8]) -> Digest {
    ring::digest::digest(&ring::digest::SHA1_FOR_LEGACY_USE_ONLY, bytes)
        .as_ref()
        .try_into()
        .unwrap()
}

fn by_crate(bytes: &[u8]) -> Digest {
    use sha1::Digest as _;
    sha1::Sha1::digest(bytes).into()
}

/// All that this machine can do, and what it could do with less.
pub(super) fn kinds() -> Vec<Kind> {
    let all = Kind::detect();
    let mut kinds = vec![Kind { sha_ni: None, wide: None, ..all }];
    if all.sha_ni.is_some() {
        kinds.extend((1..=NARROW).map(|lanes| Kind { wide: None, ..all }.at_most(lanes)));
    }
    if all.wide.is_some() {
        kinds.push(Kind { sha_ni: None, ..all });
        kinds.push(all);
    }
    kinds
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    crate::base::rng::Rng::new(seed).fill(&mut bytes);
    bytes
}

fn hex(digest: Digest) -> String {
    digest.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn digests_match_the_vectors_of_fips_180() {
    assert_eq!(hex(sha1(b"")), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assert_eq!(hex(sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
    let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert_eq!(hex(sha1(two_blocks)), "84983e441c3bd26ebaae4aa1f95129e5e54670f1");
    assert_eq!(hex(sha1(&vec![b'a'; 1_000_000])), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

#[test]
fn digests_are_right_at_every_length_around_the_padding() {
    let bytes = noise(300, 1);
    for len in 0..=bytes.len() {
        assert_eq!(sha1(&bytes[..len]), by_ring(&bytes[..len]), "{len} bytes");
        assert_eq!(by_crate(&bytes[..len]), by_ring(&bytes[..len]));
    }
}

#[test]
fn unequal_streams_of_every_small_number_of_blocks() {
    let bytes = noise(64 * 6, 2);
    for kind in kinds() {
        for (a, b, c, d) in (0..4 * 4 * 4 * 4).map(|i| (i % 4, i / 4 % 4, i / 16 % 4, i / 64)) {
            let inputs = [
                &bytes[..a * 64],
                &bytes[7..7 + b * 64],
                &bytes[13..13 + c * 64],
                &bytes[31..31 + d * 64 + 5],
            ];
            let mut streams = inputs.map(|data| Stream { state: Sha1State::INITIAL, data });
            kind.update(&mut streams);
            for (stream, input) in streams.iter().zip(inputs) {
                assert_eq!(stream.state.len, (input.len() / 64 * 64) as u64);
                assert_eq!(
                    finish(stream.state, stream.data),
                    by_ring(input),
                    "{kind:?} {a} {b} {c} {d}"
                );
            }
        }
    }
}

#[test]
fn any_number_of_streams_goes_through_the_lanes() {
    let bytes = noise(64 * 9 * 40, 4);
    for kind in kinds() {
        for count in 0..40 {
            // Each is longer than the one before it, and every third is empty.
            let len = |nth: usize| if nth % 3 == 2 { 0 } else { 64 * (nth / 5) + nth };
            let inputs: Vec<_> = (0..count).map(|nth| &bytes[nth * 576..][..len(nth)]).collect();
            let initial = |data| Stream { state: Sha1State::INITIAL, data };
            let mut streams: Vec<_> = inputs.iter().map(|data| initial(*data)).collect();
            kind.update(&mut streams);
            for (stream, input) in streams.iter().zip(inputs) {
                assert_eq!(stream.data.len(), input.len() % 64);
                assert_eq!(finish(stream.state, stream.data), by_ring(input), "{kind:?} {count}");
            }
        }
    }
}

#[test]
fn chunks_are_digested_apart() {
    let bytes = noise(5 * 100 + 7, 3);
    let mut digests = Vec::new();
    sha1_chunks(&bytes, 100, &mut digests);
    assert_eq!(digests, bytes.chunks(100).map(by_ring).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn any_streams_agree_with_ring_and_the_crate(
        inputs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 1..24),
        cut in 0usize..32,
    ) {
        for kind in kinds() {
            // Paused at a border, then taken up again by another call.
            let first = |input: &[u8]| input.len().min(cut * 64) / 64 * 64;
            let mut streams: Vec<_> = inputs
                .iter()
                .map(|i| Stream { state: Sha1State::INITIAL, data: &i[..first(i)] })
                .collect();
            kind.update(&mut streams);
            for (stream, input) in streams.iter_mut().zip(&inputs) {
                prop_assert!(stream.data.is_empty());
                stream.data = &input[first(input)..];
            }
            kind.update(&mut streams);
            for (stream, input) in streams.iter().zip(&inputs) {
                prop_assert_eq!(finish(stream.state, stream.data), by_ring(input));
                prop_assert_eq!(by_ring(input), by_crate(input));
            }
        }
    }
}
