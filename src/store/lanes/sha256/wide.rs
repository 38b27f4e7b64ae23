//! SHA-256 of sixteen streams at once, a word of each in one AVX-512 register.

#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m512i, _mm512_add_epi32, _mm512_ror_epi32, _mm512_set1_epi32, _mm512_srli_epi32,
    _mm512_ternarylogic_epi32,
};

use super::K;
use crate::store::lanes::wide::{Avx512, WIDTH, XOR, load, load_blocks, side_by_side, store};

/// Functions of three words, as tables of three bits.
const CHOICE: i32 = 0xca;
const MAJORITY: i32 = 0xe8;

impl Avx512 {
    /// Absorbs as many blocks of each stream as the shortest has.
    pub(super) fn compress_sha256(
        self,
        states: &mut [[u32; 8]; WIDTH],
        inputs: [&[[u8; 64]]; WIDTH],
    ) {
        side_by_side(states, |words| {
            // SAFETY: an `Avx512` is made by `detect` alone, after it has found every feature that
            // `compress` enables.
            unsafe { compress(words, inputs) }
        });
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress(states: &mut [[u32; WIDTH]; 8], inputs: [&[[u8; 64]]; WIDTH]) {
    let mut state = states.each_ref().map(|words| load(words));
    let count = inputs.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..count {
        let mut w = load_blocks(inputs.map(|blocks| &blocks[at]));
        let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;

        // Four rounds: group `$i` of 16 (FIPS 180-4, 6.2.2).
        macro_rules! rounds {
            ($($i:literal)+) => {$({
                round!($i, 0);
                round!($i, 1);
                round!($i, 2);
                round!($i, 3);
            })+};
        }
        macro_rules! round {
            ($group:literal, $nth:literal) => {
                let i = 4 * $group + $nth;
                if i >= WIDTH {
                    let (second, last) = (w[(i + 1) % WIDTH], w[(i + 14) % WIDTH]);
                    let early = _mm512_add_epi32(w[i % WIDTH], w[(i + 9) % WIDTH]);
                    let early = _mm512_add_epi32(early, sigma::<7, 18, 3>(second));
                    w[i % WIDTH] = _mm512_add_epi32(early, sigma::<17, 19, 10>(last));
                }
                // What does not wait for the round before comes first.
                let k = _mm512_set1_epi32(K[$group][$nth] as i32);
                let early = _mm512_add_epi32(h, _mm512_add_epi32(w[i % WIDTH], k));
                let choice = _mm512_ternarylogic_epi32::<CHOICE>(e, f, g);
                let majority = _mm512_ternarylogic_epi32::<MAJORITY>(a, b, c);
                let first = _mm512_add_epi32(_mm512_add_epi32(early, choice), sum::<6, 11, 25>(e));
                let second = _mm512_add_epi32(sum::<2, 13, 22>(a), majority);
                (h, g, f, e) = (g, f, e, _mm512_add_epi32(d, first));
                (d, c, b, a) = (c, b, a, _mm512_add_epi32(first, second));
            };
        }
        rounds!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
        for (before, after) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
            *before = _mm512_add_epi32(*before, after);
        }
    }
    states.iter_mut().zip(state).for_each(|(words, word)| store(words, word));
}

/// The large sigmas: of a word turned by three distances.
#[inline]
#[target_feature(enable = "avx512f")]
fn sum<const A: i32, const B: i32, const C: i32>(word: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR>(
        _mm512_ror_epi32::<A>(word),
        _mm512_ror_epi32::<B>(word),
        _mm512_ror_epi32::<C>(word),
    )
}

/// The small sigmas: of a word turned by two distances, and shifted by a third.
#[inline]
#[target_feature(enable = "avx512f")]
fn sigma<const A: i32, const B: i32, const C: u32>(word: __m512i) -> __m512i {
    _mm512_ternarylogic_epi32::<XOR>(
        _mm512_ror_epi32::<A>(word),
        _mm512_ror_epi32::<B>(word),
        _mm512_srli_epi32::<C>(word),
    )
}
