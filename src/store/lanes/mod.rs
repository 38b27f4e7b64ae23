//! SHA-1 of several independent streams at once, pausable at 64-byte borders.
//!
//! Knows nothing of pieces or files. What the machine can do is asked of std at each call, so there
//! is no state here.

mod portable;
pub(super) mod sha256;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
#[cfg(target_arch = "x86_64")]
mod x86;

use crate::base::hash::{Digest, Sha1State};

/// How many streams [`update`] can take through one core at the price of little more than one. 1
/// where more do not pay.
pub fn lanes() -> usize {
    Kind::detect().lanes()
}

/// A message being hashed: what came before, and what comes next.
#[derive(Clone, Copy, Debug)]
pub struct Stream<'a> {
    /// The state before `data`.
    pub state: Sha1State,
    /// The bytes to absorb; [`update`] leaves what does not fill a block of 64.
    pub data: &'a [u8],
}

/// Absorbs every whole 64-byte block of every stream, as many streams at a time as pay. Lengths may
/// differ.
pub fn update(streams: &mut [Stream<'_>]) {
    Kind::detect().update(streams);
}

/// Ends a message with `tail`, of any length.
pub fn finish(state: Sha1State, tail: &[u8]) -> Digest {
    let kind = Kind::detect();
    let (blocks, rest) = tail.as_chunks::<64>();
    let mut words = state.words;
    kind.one(&mut words, blocks);

    // One bit, zeroes, and the length in bits in the last eight bytes of a block (FIPS 180-4,
    // 5.1.1).
    let mut end = [[0; 64]; 2];
    let flat = end.as_flattened_mut();
    flat[..rest.len()].copy_from_slice(rest);
    flat[rest.len()] = 0x80;
    let len = if rest.len() < 56 { 64 } else { 128 };
    let bits = (state.len + tail.len() as u64) << 3;
    flat[len - 8..len].copy_from_slice(&bits.to_be_bytes());
    kind.one(&mut words, &end[..len / 64]);

    let mut digest = [0; 20];
    for (out, word) in digest.chunks_exact_mut(4).zip(words) {
        out.copy_from_slice(&word.to_be_bytes());
    }
    digest
}

/// The SHA-1 of `bytes`.
pub fn sha1(bytes: &[u8]) -> Digest {
    finish(Sha1State::INITIAL, bytes)
}

/// The SHA-1 of each chunk of `len` bytes; the last may be short. `len` is at least 1.
pub(crate) fn sha1_chunks(bytes: &[u8], len: usize, out: &mut Vec<Digest>) {
    let mut streams: Vec<_> =
        bytes.chunks(len.max(1)).map(|data| Stream { state: Sha1State::INITIAL, data }).collect();
    update(&mut streams);
    out.extend(streams.iter().map(|s| finish(s.state, s.data)));
}

/// What measures best, of SHA-256 too: see RESEARCH.md.
#[cfg(target_arch = "x86_64")]
const LANES: usize = 3;

/// What this machine hashes with.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    ShaNi(sha_ni::ShaNi),
}

impl Kind {
    fn detect() -> Self {
        #[cfg(target_arch = "x86_64")]
        if let Some(sha_ni) = sha_ni::ShaNi::detect() {
            return Self::ShaNi(sha_ni);
        }
        Self::Portable
    }

    fn lanes(self) -> usize {
        match self {
            Self::Portable => 1,
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi(_) => LANES,
        }
    }

    fn one(self, words: &mut [u32; 5], blocks: &[[u8; 64]]) {
        match self {
            Self::Portable => portable::compress(words, blocks),
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi(sha_ni) => sha_ni.compress(std::array::from_mut(words), [blocks]),
        }
    }

    fn update(self, streams: &mut [Stream<'_>]) {
        let mut from = 0;
        loop {
            // Streams that have given all they have never come back: step over them.
            while streams.get(from).is_some_and(|s| s.data.len() < 64) {
                from += 1;
            }
            let mut live = streams[from..].iter_mut().filter(|s| s.data.len() >= 64);
            match (live.next(), live.next(), live.next()) {
                (Some(a), Some(b), Some(c)) if self.lanes() >= 3 => self.together([a, b, c]),
                (Some(a), Some(b), _) if self.lanes() >= 2 => self.together([a, b]),
                (Some(a), _, _) => self.together([a]),
                (None, _, _) => return,
            }
        }
    }

    /// Takes from each stream as many blocks as the shortest has.
    fn together<const N: usize>(self, mut streams: [&mut Stream<'_>; N]) {
        let count = streams.iter().map(|s| s.data.len() / 64).min().unwrap_or(0);
        let mut words = streams.each_ref().map(|s| s.state.words);
        let blocks = streams.each_ref().map(|s| &s.data.as_chunks::<64>().0[..count]);
        match self {
            Self::Portable => {
                words.iter_mut().zip(blocks).for_each(|(w, b)| portable::compress(w, b))
            }
            #[cfg(target_arch = "x86_64")]
            Self::ShaNi(sha_ni) => sha_ni.compress(&mut words, blocks),
        }
        for (stream, words) in streams.iter_mut().zip(words) {
            stream.state = Sha1State { words, len: stream.state.len + count as u64 * 64 };
            stream.data = &stream.data[count * 64..];
        }
    }
}

#[cfg(test)]
mod tests;
