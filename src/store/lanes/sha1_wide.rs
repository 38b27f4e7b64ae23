//! SHA-1 of sixteen streams at once, a word of each in one AVX-512 register.

#![allow(unsafe_code)]

use core::arch::x86_64::{
    _mm512_add_epi32, _mm512_rol_epi32, _mm512_set1_epi32, _mm512_ternarylogic_epi32,
    _mm512_xor_si512,
};

use super::wide::{Avx512, WIDTH, XOR, load, load_blocks, side_by_side, store};

impl Avx512 {
    /// Absorbs as many blocks of each stream as the shortest has.
    pub(super) fn compress(self, states: &mut [[u32; 5]; WIDTH], inputs: [&[[u8; 64]]; WIDTH]) {
        side_by_side(states, |words| {
            // SAFETY: an `Avx512` is made by `detect` alone, after it has found every feature that
            // `compress` enables.
            unsafe { compress(words, inputs) }
        });
    }
}

#[target_feature(enable = "avx512f,avx512bw")]
fn compress(states: &mut [[u32; WIDTH]; 5], inputs: [&[[u8; 64]]; WIDTH]) {
    let mut state = states.each_ref().map(|words| load(words));

    let count = inputs.iter().map(|blocks| blocks.len()).min().unwrap_or(0);
    for at in 0..count {
        let mut w = load_blocks(inputs.map(|blocks| &blocks[at]));
        let [mut a, mut b, mut c, mut d, mut e] = state;
        // A round (FIPS 180-4, 6.1.2), with the function of its quarter as a table of three bits
        // and that quarter's constant.
        macro_rules! rounds {
            ($f:literal $k:literal: $($i:literal)+) => {$(
                if $i >= WIDTH {
                    let mixed = _mm512_ternarylogic_epi32::<XOR>(
                        w[($i + 13) % WIDTH],
                        w[($i + 8) % WIDTH],
                        w[($i + 2) % WIDTH],
                    );
                    w[$i % WIDTH] = _mm512_rol_epi32::<1>(_mm512_xor_si512(mixed, w[$i % WIDTH]));
                }
                // What does not wait for the round before comes first.
                let k = _mm512_set1_epi32($k as u32 as i32);
                let early = _mm512_add_epi32(_mm512_add_epi32(e, k), w[$i % WIDTH]);
                let f = _mm512_ternarylogic_epi32::<$f>(b, c, d);
                let next = _mm512_add_epi32(_mm512_add_epi32(early, f), _mm512_rol_epi32::<5>(a));
                (e, d, c, b, a) = (d, c, _mm512_rol_epi32::<30>(b), a, next);
            )+};
        }
        rounds!(0xca 0x5a82_7999: 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19);
        rounds!(0x96 0x6ed9_eba1: 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39);
        rounds!(0xe8 0x8f1b_bcdc: 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59);
        rounds!(0x96 0xca62_c1d6: 60 61 62 63 64 65 66 67 68 69 70 71 72 73 74 75 76 77 78 79);
        for (before, after) in state.iter_mut().zip([a, b, c, d, e]) {
            *before = _mm512_add_epi32(*before, after);
        }
    }
    states.iter_mut().zip(state).for_each(|(words, word)| store(words, word));
}
