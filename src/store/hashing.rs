//! Hashes several pieces or runs at a time through the lanes, from memory or straight from disk.
//!
//! Memory is bounded by a few scratch buffers whatever the piece size. Writes nothing and judges
//! nothing.

use std::{
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{
    files::{Reading, TorrentFiles},
    lanes::{self, Stream},
};
use crate::base::{
    digest::{Digest, Sha1State},
    geometry::BLOCK_LEN,
    job::StoreError,
};

/// How much of each stream is hashed before the next is looked after: a multiple of 64 that fits
/// the cache.
const SLICE: usize = 256 * 1024;
/// Streams hashed side by side.
pub(super) const SIDE_BY_SIDE: usize = 3;

/// Where the bytes to hash are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    Memory(&'a [u8]),
    /// So many bytes from an offset in the torrent.
    Disk(&'a TorrentFiles, u64, u64, Reading),
}

/// One stretch to hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    pub(super) state: Sha1State,
    pub(super) source: Source<'a>,
    /// Whether the message ends here; else the source is a multiple of 64 bytes.
    pub(super) ends: bool,
}

/// What hashing a stretch came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    State(Sha1State),
    Digest(Digest),
}

/// Buffers for reading, used again and again.
#[derive(Debug, Default)]
pub(super) struct Scratch(Mutex<Vec<Vec<u8>>>);

impl Scratch {
    fn take(&self) -> Vec<u8> {
        let free = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| vec![0; SLICE])
    }

    fn give(&self, buffer: Vec<u8>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

/// Hashes all of `inputs`, a few at a time; the results are in their order.
pub(super) fn hash_all(
    inputs: Vec<Input<'_>>,
    scratch: &Scratch,
) -> Vec<Result<Output, StoreError>> {
    let mut results: Vec<_> = inputs.iter().map(|i| Ok(Output::State(i.state))).collect();
    let mut waiting = inputs.into_iter().enumerate();
    let mut active: Vec<Active<'_>> = Vec::with_capacity(SIDE_BY_SIDE);
    loop {
        while active.len() < SIDE_BY_SIDE {
            let Some((index, input)) = waiting.next() else { break };
            active.push(Active::new(index, input, scratch));
        }
        if active.is_empty() {
            return results;
        }
        let mut over = |one: &mut Active<'_>, result| {
            one.put_back(scratch);
            if let Some(slot) = results.get_mut(one.index) {
                *slot = result;
            }
        };
        active.retain_mut(|one| one.fetch().map_err(|e| over(one, Err(e))).is_ok());

        let mut streams: Vec<_> = active.iter().map(Active::stream).collect();
        lanes::update(&mut streams);
        let absorbed: Vec<_> = streams.iter().map(|s| (s.state, s.data.len())).collect();
        let mut absorbed = absorbed.into_iter();
        active.retain_mut(|one| {
            let output = absorbed.next().and_then(|(state, tail)| one.absorbed(state, tail));
            output.map(|output| over(one, Ok(output))).is_none()
        });
    }
}

/// An input on its way through a lane.
#[derive(Debug)]
struct Active<'a> {
    index: usize,
    state: Sha1State,
    source: Source<'a>,
    ends: bool,
    /// Holds the current slice of a source on disk.
    buffer: Vec<u8>,
    /// The current slice: of the buffer, or of the memory.
    slice: Range<usize>,
}

impl<'a> Active<'a> {
    fn new(index: usize, input: Input<'a>, scratch: &Scratch) -> Self {
        let buffer =
            if matches!(input.source, Source::Disk(..)) { scratch.take() } else { Vec::new() };
        Self {
            index,
            state: input.state,
            source: input.source,
            ends: input.ends,
            buffer,
            slice: 0..0,
        }
    }

    /// Makes the next slice current.
    fn fetch(&mut self) -> Result<(), StoreError> {
        match &mut self.source {
            Source::Memory(bytes) => {
                self.slice = self.slice.end..bytes.len().min(self.slice.end + SLICE);
            }
            Source::Disk(files, offset, left, reading) => {
                let len = (*left).min(SLICE as u64) as usize;
                files.read(*offset, &mut self.buffer[..len], *reading)?;
                *offset += len as u64;
                *left -= len as u64;
                self.slice = 0..len;
            }
        }
        Ok(())
    }

    fn current(&self) -> &[u8] {
        match self.source {
            Source::Memory(bytes) => &bytes[self.slice.clone()],
            Source::Disk(..) => &self.buffer[self.slice.clone()],
        }
    }

    fn stream(&self) -> Stream<'_> {
        Stream { state: self.state, data: self.current() }
    }

    /// The slice is hashed but for `tail` bytes. Returns the result after the last slice.
    fn absorbed(&mut self, state: Sha1State, tail: usize) -> Option<Output> {
        self.state = state;
        let more = match self.source {
            Source::Memory(bytes) => self.slice.end < bytes.len(),
            Source::Disk(_, _, left, _) => left > 0,
        };
        let rest = self.current();
        match (more, self.ends) {
            (true, _) => None,
            (false, true) => Some(Output::Digest(lanes::finish(state, &rest[rest.len() - tail..]))),
            (false, false) => Some(Output::State(state)),
        }
    }

    fn put_back(&mut self, scratch: &Scratch) {
        if !self.buffer.is_empty() {
            scratch.give(std::mem::take(&mut self.buffer));
        }
    }
}

/// The digest of each block of a stretch, the last of which may be short.
pub(super) fn block_digests(
    source: Source<'_>,
    scratch: &Scratch,
) -> Result<Vec<Digest>, StoreError> {
    let mut digests = Vec::new();
    let mut one = Active::new(0, Input { state: Sha1State::INITIAL, source, ends: true }, scratch);
    let result = loop {
        if let Err(e) = one.fetch() {
            break Err(e);
        }
        lanes::sha1_chunks(one.current(), BLOCK_LEN as usize, &mut digests);
        if one.absorbed(Sha1State::INITIAL, 0).is_some() {
            break Ok(digests);
        }
    };
    one.put_back(scratch);
    result
}

/// The digest of `len` bytes of zero.
pub(super) fn zero_digest(len: u64) -> Digest {
    let zeroes = vec![0; len.min(SLICE as u64) as usize];
    let (mut state, mut left) = (Sha1State::INITIAL, len);
    while left > SLICE as u64 {
        let mut stream = [Stream { state, data: &zeroes }];
        lanes::update(&mut stream);
        state = stream[0].state;
        left -= SLICE as u64;
    }
    lanes::finish(state, &zeroes[..left as usize])
}
