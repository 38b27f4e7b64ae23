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

use crate::store::lanes::sha_ni::{ShaNi, load_in};

/// The constants of the rounds (FIPS 180-4, 4.2.2), four a group.
const K: [[u32; 4]; 16] = [
    [0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5],
    [0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5],
    [0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3],
    [0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174],
    [0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc],
    [0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da],
    [0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7],
    [0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967],
    [0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13],
    [0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85],
    [0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3],
    [0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070],
    [0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5],
    [0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3],
    [0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208],
    [0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2],
];

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
