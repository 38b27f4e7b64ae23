//! What the lanes of SHA-1 and SHA-256 share on x86-64: the proof that the machine has the
//! instructions, and the reading of a block.
//!
//! `unsafe` is here and in the two files of the lanes, each time argued where it stands.

#![allow(unsafe_code)]

use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_setzero_si128, _mm_shuffle_epi8};

/// Proof that this machine has the instructions.
#[derive(Clone, Copy, Debug)]
pub(super) struct ShaNi(());

impl ShaNi {
    pub(super) fn detect() -> Option<Self> {
        let there = is_x86_feature_detected!("sha")
            && is_x86_feature_detected!("ssse3")
            && is_x86_feature_detected!("sse4.1");
        there.then_some(Self(()))
    }
}

/// The sixteen words of a block, its bytes taken four words at a time in this order.
#[inline]
#[target_feature(enable = "sha,ssse3,sse4.1")]
pub(super) fn load_in(block: &[u8; 64], order: __m128i) -> [__m128i; 4] {
    let mut words = [_mm_setzero_si128(); 4];
    for (word, bytes) in words.iter_mut().zip(block.as_chunks::<16>().0) {
        // SAFETY: `bytes` is 16 readable bytes, and this load asks for no alignment.
        let raw = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        *word = _mm_shuffle_epi8(raw, order);
    }
    words
}
