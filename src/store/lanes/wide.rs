//! What the wide lanes of SHA-1 and SHA-256 share: sixteen streams in the sixteen words of an
//! AVX-512 register, and the turning of their blocks into such registers.
//!
//! A word of a register is of one stream; every instruction does the same for all of them. Where
//! there are fewer streams the rest of the work is thrown away, so this pays from a few on.
//!
//! `unsafe` is here and in the other files of the lanes, each time argued where it stands.

#![allow(unsafe_code)]

use core::arch::x86_64::{
    __m512i, _mm512_loadu_si512, _mm512_set4_epi32, _mm512_setzero_si512, _mm512_shuffle_epi8,
    _mm512_shuffle_i32x4, _mm512_storeu_si512, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64,
    _mm512_unpacklo_epi32, _mm512_unpacklo_epi64,
};

pub(super) use super::WIDTH;

/// The exclusive or of three words, as a table of three bits.
pub(super) const XOR: i32 = 0x96;

/// Proof that this machine has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct Avx512(());

impl Avx512 {
    pub(super) fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw");
        there.then_some(Self(()))
    }
}

/// The states of streams, turned into words of all streams for `compress`, and back.
pub(super) fn side_by_side<const N: usize>(
    states: &mut [[u32; N]; WIDTH],
    compress: impl FnOnce(&mut [[u32; WIDTH]; N]),
) {
    let mut words = [[0; WIDTH]; N];
    for (lane, state) in states.iter().enumerate() {
        words.iter_mut().zip(state).for_each(|(word, from)| word[lane] = *from);
    }
    compress(&mut words);
    for (lane, state) in states.iter_mut().enumerate() {
        state.iter_mut().zip(&words).for_each(|(to, word)| *to = word[lane]);
    }
}

/// The same word of all streams.
#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn load(words: &[u32; WIDTH]) -> __m512i {
    // SAFETY: `words` is 64 readable bytes, and this load asks for no alignment.
    unsafe { _mm512_loadu_si512(words.as_ptr().cast()) }
}

#[inline]
#[target_feature(enable = "avx512f")]
pub(super) fn store(words: &mut [u32; WIDTH], from: __m512i) {
    // SAFETY: `words` is 64 writable bytes, and this store asks for no alignment.
    unsafe { _mm512_storeu_si512(words.as_mut_ptr().cast(), from) }
}

/// The sixteen words of a block of each stream: register `n` holds word `n` of all of them.
// Indices say which register; iterators would hide it.
#[allow(clippy::needless_range_loop)]
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
pub(super) fn load_blocks(blocks: [&[u8; 64]; WIDTH]) -> [__m512i; WIDTH] {
    // Words are big-endian in the message (FIPS 180-4, 3.1).
    let order = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    let mut rows = [_mm512_setzero_si512(); WIDTH];
    for (row, block) in rows.iter_mut().zip(blocks) {
        // SAFETY: `block` is 64 readable bytes, and this load asks for no alignment.
        let raw = unsafe { _mm512_loadu_si512(block.as_ptr().cast()) };
        *row = _mm512_shuffle_epi8(raw, order);
    }

    // Rows become columns: first within each quarter of a register, whose four words come from four
    // streams then, after that by whole quarters.
    let mut pairs = rows;
    for i in (0..WIDTH).step_by(2) {
        pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
        pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
    }
    let mut fours = pairs;
    for i in (0..WIDTH).step_by(4) {
        fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
        fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
        fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
        fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
    }
    let mut columns = fours;
    for i in 0..4 {
        // Quarters 0 and 2, and quarters 1 and 3, of eight streams each.
        let even = _mm512_shuffle_i32x4::<0x88>(fours[i], fours[i + 4]);
        let odd = _mm512_shuffle_i32x4::<0xdd>(fours[i], fours[i + 4]);
        let even_too = _mm512_shuffle_i32x4::<0x88>(fours[i + 8], fours[i + 12]);
        let odd_too = _mm512_shuffle_i32x4::<0xdd>(fours[i + 8], fours[i + 12]);
        columns[i] = _mm512_shuffle_i32x4::<0x88>(even, even_too);
        columns[i + 4] = _mm512_shuffle_i32x4::<0x88>(odd, odd_too);
        columns[i + 8] = _mm512_shuffle_i32x4::<0xdd>(even, even_too);
        columns[i + 12] = _mm512_shuffle_i32x4::<0xdd>(odd, odd_too);
    }
    columns
}
