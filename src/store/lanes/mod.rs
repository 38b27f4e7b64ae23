//! SHA-1 of several independent streams at once, pausable at 64-byte borders.
//!
//! Knows nothing of pieces or files. What the machine can do is asked of std at each call, so there
//! is no state here.

#[cfg(not(target_arch = "x86_64"))]
mod absent;
mod portable;
#[cfg(target_arch = "x86_64")]
mod sha1_ni;
#[cfg(target_arch = "x86_64")]
mod sha1_wide;
pub(super) mod sha256;
#[cfg(target_arch = "x86_64")]
mod sha_ni;
#[cfg(target_arch = "x86_64")]
mod wide;

use crate::base::hash::{Digest, Sha1State};
#[cfg(not(target_arch = "x86_64"))]
use absent::{Avx512, ShaNi};
#[cfg(target_arch = "x86_64")]
use {sha_ni::ShaNi, wide::Avx512};

/// How many streams [`update`] can take through one core at the price of little more than one. 1
/// where more do not pay.
pub fn lanes() -> usize {
    Kind::detect().lanes()
}

/// How many streams are best hashed together on this machine.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Grouping {
    /// So many fill the lanes that are quick with few streams. A fourth would go alone.
    pub(super) few: usize,
    /// From so many on, as many as `most` are better.
    pub(super) many: usize,
    pub(super) most: usize,
}

impl Grouping {
    pub(super) fn detect() -> Self {
        let kind = Kind::detect();
        let many = kind.wide.map_or(usize::MAX, |_| kind.wide_from(WIDE_FROM));
        Self { few: NARROW, many, most: WIDTH }
    }

    /// Of so many streams that wait, how many to take.
    pub(super) fn of(self, waiting: usize) -> usize {
        waiting.min(if waiting >= self.many { self.most } else { self.few })
    }
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

/// Streams of the wide lanes.
const WIDTH: usize = 16;
/// Streams through the SHA unit at once: what measures best, of SHA-256 too (RESEARCH.md).
const NARROW: usize = 3;
/// Where the machine has both, the wide lanes are better from so many streams on (RESEARCH.md).
const WIDE_FROM: usize = 8;

/// What this machine hashes with.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// A unit that is quick with one stream, and quicker with up to `narrow`.
    sha_ni: Option<ShaNi>,
    narrow: usize,
    /// Sixteen streams, however many of them are wanted, in the time of about eight.
    wide: Option<Avx512>,
}

impl Kind {
    fn detect() -> Self {
        Self { sha_ni: ShaNi::detect(), narrow: NARROW, wide: Avx512::detect() }
    }

    fn lanes(self) -> usize {
        match (self.wide, self.sha_ni) {
            (Some(_), _) => WIDTH,
            (None, Some(_)) => self.narrow,
            (None, None) => 1,
        }
    }

    /// The same with at most so many lanes.
    fn at_most(self, lanes: usize) -> Self {
        let wide = self.wide.filter(|_| lanes >= WIDTH);
        Self { narrow: self.narrow.min(lanes.max(1)), wide, ..self }
    }

    /// From how many streams on the wide lanes are better: `usual`, or two if all others go one by
    /// one.
    fn wide_from(self, usual: usize) -> usize {
        if self.sha_ni.is_some() { usual } else { 2 }
    }

    fn one(self, words: &mut [u32; 5], blocks: &[[u8; 64]]) {
        match self.sha_ni {
            Some(sha_ni) => sha_ni.compress(std::array::from_mut(words), [blocks]),
            None => portable::compress(words, blocks),
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
            let mut group: [_; WIDTH] = std::array::from_fn(|_| live.next());
            let count = group.iter().flatten().count();
            if let Some(wide) = self.wide
                && count >= self.wide_from(WIDE_FROM)
            {
                wide_together(wide, &mut group);
                continue;
            }
            let [a, b, c, ..] = group;
            match (a, b, c, self.sha_ni) {
                (Some(a), Some(b), Some(c), Some(unit)) if self.narrow >= 3 => {
                    together(unit, [a, b, c]);
                }
                (Some(a), Some(b), _, Some(unit)) if self.narrow >= 2 => together(unit, [a, b]),
                (Some(a), _, _, Some(unit)) => together(unit, [a]),
                (Some(a), _, _, None) => {
                    let (blocks, rest) = a.data.as_chunks::<64>();
                    portable::compress(&mut a.state.words, blocks);
                    a.state.len += blocks.as_flattened().len() as u64;
                    a.data = rest;
                }
                (None, ..) => return,
            }
        }
    }
}

/// Takes from each stream as many blocks as the shortest has.
fn together<const N: usize>(unit: ShaNi, mut streams: [&mut Stream<'_>; N]) {
    let count = streams.iter().map(|s| s.data.len() / 64).min().unwrap_or(0);
    let mut words = streams.each_ref().map(|s| s.state.words);
    unit.compress(&mut words, streams.each_ref().map(|s| s.next_blocks(count)));
    for (stream, words) in streams.iter_mut().zip(words) {
        stream.absorbed(words, count);
    }
}

/// The same with as many as there are. The lanes of those that are not there repeat the first.
fn wide_together(wide: Avx512, streams: &mut [Option<&mut Stream<'_>>; WIDTH]) {
    let count = streams.iter().flatten().map(|s| s.data.len() / 64).min().unwrap_or(0);
    let first: &[[u8; 64]] = streams[0].as_ref().map_or(&[], |s| s.next_blocks(count));
    let inputs = streams.each_ref().map(|s| s.as_ref().map_or(first, |s| s.next_blocks(count)));
    let mut words = streams.each_ref().map(|s| s.as_ref().map_or([0; 5], |s| s.state.words));
    wide.compress(&mut words, inputs);
    for (stream, words) in streams.iter_mut().zip(words) {
        if let Some(stream) = stream {
            stream.absorbed(words, count);
        }
    }
}

impl<'a> Stream<'a> {
    /// The next so many blocks, or all there are.
    fn next_blocks(&self, count: usize) -> &'a [[u8; 64]] {
        let blocks = self.data.as_chunks::<64>().0;
        &blocks[..count.min(blocks.len())]
    }

    /// So many blocks are absorbed, which makes these words.
    fn absorbed(&mut self, words: [u32; 5], count: usize) {
        self.state = Sha1State { words, len: self.state.len + count as u64 * 64 };
        self.data = &self.data[count * 64..];
    }
}

#[cfg(test)]
mod tests;
