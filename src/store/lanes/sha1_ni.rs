//! SHA-1 over the SHA extensions of x86-64, for one to three streams at once.
//!
//! One stream leaves most of the unit idle, since each group of rounds waits for the one before it;
//! a second and third independent stream fill the gaps.

#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_extract_epi32, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128,
    _mm_sha1msg1_epu32, _mm_sha1msg2_epu32, _mm_sha1nexte_epu32, _mm_sha1rnds4_epu32,
    _mm_xor_si128,
};

use super::sha_ni::{ShaNi, load_in};

impl ShaNi {
    /// Absorbs as many blocks of each stream as the shortest has.
    pub(super) fn compress<const N: usize>(
        self,
        states: &mut [[u32; 5]; N],
        inputs: [&[[u8; 64]]; N],
    ) {
        // SAFETY: a `ShaNi` is made by `detect` alone, after it has found every feature that
        // `compress` enables.
        unsafe { compress(states, inputs) }
    }
}

// Indices say which lane; iterators would hide it.
#[allow(clippy::needless_range_loop)]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn compress<const N: usize>(states: &mut [[u32; 5]; N], inputs: [&[[u8; 64]]; N]) {
    let zero = _mm_setzero_si128();
    let (mut abcd, mut e, mut w) = ([zero; N], [zero; N], [[zero; 4]; N]);
    for l in 0..N {
        let s = states[l].map(|word| word as i32);
        abcd[l] = _mm_set_epi32(s[0], s[1], s[2], s[3]);
        e[l] = _mm_set_epi32(s[4], 0, 0, 0);
    }

    // Four rounds of every stream: group `$i` of 20, with the function and constant of its quarter
    // `$f` (FIPS 180-4, 6.1.2).
    macro_rules! rounds {
        ($f:literal: $($i:literal)+) => {$(
            for l in 0..N {
                if $i >= 4 {
                    let mixed = _mm_xor_si128(
                        _mm_sha1msg1_epu32(w[l][$i % 4], w[l][($i + 1) % 4]),
                        w[l][($i + 2) % 4],
                    );
                    w[l][$i % 4] = _mm_sha1msg2_epu32(mixed, w[l][($i + 3) % 4]);
                }
                let words = w[l][$i % 4];
                // `e` holds the last group's a, whose rotation is this group's e; only at the start
                // is it e itself.
                let input = if $i == 0 {
                    _mm_add_epi32(e[l], words)
                } else {
                    _mm_sha1nexte_epu32(e[l], words)
                };
                e[l] = abcd[l];
                abcd[l] = _mm_sha1rnds4_epu32::<$f>(abcd[l], input);
            }
        )+};
    }

    let count = inputs.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..count {
        let (abcd_before, e_before) = (abcd, e);
        for l in 0..N {
            w[l] = load(&inputs[l][at]);
        }
        rounds!(0: 0 1 2 3 4);
        rounds!(1: 5 6 7 8 9);
        rounds!(2: 10 11 12 13 14);
        rounds!(3: 15 16 17 18 19);
        for l in 0..N {
            e[l] = _mm_sha1nexte_epu32(e[l], e_before[l]);
            abcd[l] = _mm_add_epi32(abcd[l], abcd_before[l]);
        }
    }

    for l in 0..N {
        let words = [
            _mm_extract_epi32::<3>(abcd[l]),
            _mm_extract_epi32::<2>(abcd[l]),
            _mm_extract_epi32::<1>(abcd[l]),
            _mm_extract_epi32::<0>(abcd[l]),
            _mm_extract_epi32::<3>(e[l]),
        ];
        states[l] = words.map(|word| word as u32);
    }
}

/// The sixteen words of a block, the first in the highest lane, as the instructions want them.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn load(block: &[u8; 64]) -> [__m128i; 4] {
    load_in(block, _mm_set_epi64x(0x0001_0203_0405_0607, 0x0809_0a0b_0c0d_0e0f))
}
