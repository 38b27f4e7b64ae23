//! SHA-256 over the SHA extensions of x86-64, for one to three streams at once, for the reason that
//! the SHA-1 lanes have: a round waits for the one before it, and other streams fill the gaps.
//!
//! `unsafe` is of the two kinds that the SHA-1 lanes have, each argued where it stands.

#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_set_epi32, _mm_set_epi64x, _mm_setzero_si128,
    _mm_sha256msg1_epu32, _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi32,
    _mm_storeu_si128,
};

use super::K;
use crate::store::lanes::sha_ni::{ShaNi, load_in};

impl ShaNi {
    /// Absorbs as many blocks of each stream as the shortest has.
    pub(super) fn compress_sha256<const N: usize>(
        self,
        states: &mut [[u32; 8]; N],
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
fn compress<const N: usize>(states: &mut [[u32; 8]; N], inputs: [&[[u8; 64]]; N]) {
    let zero = _mm_setzero_si128();
    // The instructions want the eight words as two halves: a b e f and c d g h, first word highest.
    let (mut abef, mut cdgh, mut w) = ([zero; N], [zero; N], [[zero; 4]; N]);
    for l in 0..N {
        let s = states[l].map(|word| word as i32);
        abef[l] = _mm_set_epi32(s[0], s[1], s[4], s[5]);
        cdgh[l] = _mm_set_epi32(s[2], s[3], s[6], s[7]);
    }

    // Four rounds of every stream: group `$i` of 16 (FIPS 180-4, 6.2.2).
    macro_rules! rounds {
        ($($i:literal)+) => {$({
            let k = K[$i].map(|k| k as i32);
            let k = _mm_set_epi32(k[3], k[2], k[1], k[0]);
            for l in 0..N {
                if $i >= 4 {
                    // The words of this group follow from the sixteen before it.
                    let (oldest, next) = (w[l][$i % 4], w[l][($i + 1) % 4]);
                    let (third, last) = (w[l][($i + 2) % 4], w[l][($i + 3) % 4]);
                    let mixed = _mm_add_epi32(
                        _mm_sha256msg1_epu32(oldest, next),
                        _mm_alignr_epi8::<4>(last, third),
                    );
                    w[l][$i % 4] = _mm_sha256msg2_epu32(mixed, last);
                }
                let input = _mm_add_epi32(w[l][$i % 4], k);
                cdgh[l] = _mm_sha256rnds2_epu32(cdgh[l], abef[l], input);
                let upper = _mm_shuffle_epi32::<0x0e>(input);
                abef[l] = _mm_sha256rnds2_epu32(abef[l], cdgh[l], upper);
            }
        })+};
    }

    let count = inputs.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..count {
        let (abef_before, cdgh_before) = (abef, cdgh);
        for l in 0..N {
            w[l] = load(&inputs[l][at]);
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for l in 0..N {
            abef[l] = _mm_add_epi32(abef[l], abef_before[l]);
            cdgh[l] = _mm_add_epi32(cdgh[l], cdgh_before[l]);
        }
    }

    for l in 0..N {
        let (mut ab, mut cd) = ([0_u32; 4], [0_u32; 4]);
        store(&mut ab, abef[l]);
        store(&mut cd, cdgh[l]);
        let ([f, e, b, a], [h, g, d, c]) = (ab, cd);
        states[l] = [a, b, c, d, e, f, g, h];
    }
}

#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn store(to: &mut [u32; 4], from: __m128i) {
    // SAFETY: `to` is 16 writable bytes, and this store asks for no alignment.
    unsafe { _mm_storeu_si128(to.as_mut_ptr().cast(), from) }
}

/// The sixteen words of a block, the first in the lowest lane, as the instructions want them.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
fn load(block: &[u8; 64]) -> [__m128i; 4] {
    load_in(block, _mm_set_epi64x(0x0c0d_0e0f_0809_0a0b, 0x0405_0607_0001_0203))
}
