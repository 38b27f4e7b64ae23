//! Hashes several pieces or runs at a time through the lanes, from memory or straight from disk.
//! Merkle trees take their turn one by one.
//!
//! Memory is bounded by a few scratch buffers whatever the piece size. Writes nothing and judges
//! nothing.

use std::{
    fmt,
    ops::Range,
    sync::{Mutex, PoisonError},
};

use super::{
    files::TorrentFiles,
    lanes::{self, Stream},
};
use crate::base::{
    geometry::BLOCK_LEN,
    hash::{Digest, Hasher, PieceHash, Sha1State},
    merkle::MerkleState,
    storage::Reading,
    storage::StoreError,
};

/// How much of each stream is hashed before the next is looked after: a multiple of 64 and of a
/// block that fits the cache.
const SLICE: usize = 256 * 1024;
/// Streams hashed side by side.
pub(super) const SIDE_BY_SIDE: usize = 3;

/// Where a torrent's bytes can be read.
pub(super) trait ReadBytes: fmt::Debug + Sync {
    /// Fills `buf` from `offset` of the torrent on.
    fn read_bytes(&self, offset: u64, buf: &mut [u8], reading: Reading) -> Result<(), StoreError>;
}

impl ReadBytes for TorrentFiles {
    fn read_bytes(&self, offset: u64, buf: &mut [u8], reading: Reading) -> Result<(), StoreError> {
        self.read(offset, buf, reading)
    }
}

/// Where the bytes to hash are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Source<'a> {
    Memory(&'a [u8]),
    /// So many bytes from an offset in the torrent.
    Disk(&'a dyn ReadBytes, u64, u64, Reading),
}

/// One stretch to hash.
#[derive(Clone, Debug)]
pub(super) struct Input<'a> {
    pub(super) hasher: Hasher,
    pub(super) source: Source<'a>,
    /// Whether the message ends here; else the source is a multiple of the hasher's grain.
    pub(super) ends: bool,
}

/// What hashing a stretch came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Output {
    State(Hasher),
    Hash(PieceHash),
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
    let mut results: Vec<_> =
        inputs.iter().map(|input| Ok(Output::State(input.hasher.clone()))).collect();
    let mut waiting = inputs.into_iter().enumerate();
    let mut active: Vec<Lane<'_>> = Vec::with_capacity(SIDE_BY_SIDE);
    loop {
        while active.len() < SIDE_BY_SIDE {
            let Some((index, Input { hasher, source, ends })) = waiting.next() else { break };
            let feed = Feed::new(source, scratch);
            match hasher {
                Hasher::Sha1(state) => active.push(Lane { index, state, ends, feed }),
                Hasher::Merkle(tree) => {
                    if let Some(slot) = results.get_mut(index) {
                        *slot = grow(*tree, feed, ends, scratch);
                    }
                }
            }
        }
        if active.is_empty() {
            return results;
        }
        let mut over = |lane: &mut Lane<'_>, result| {
            lane.feed.put_back(scratch);
            if let Some(slot) = results.get_mut(lane.index) {
                *slot = result;
            }
        };
        active.retain_mut(|lane| lane.feed.fetch().map_err(|e| over(lane, Err(e))).is_ok());

        let mut streams: Vec<_> = active.iter().map(Lane::stream).collect();
        lanes::update(&mut streams);
        let absorbed: Vec<_> = streams.iter().map(|s| (s.state, s.data.len())).collect();
        let mut absorbed = absorbed.into_iter();
        active.retain_mut(|lane| {
            let output = absorbed.next().and_then(|(state, tail)| lane.absorbed(state, tail));
            output.map(|output| over(lane, Ok(output))).is_none()
        });
    }
}

/// Goes on with a merkle tree.
fn grow(
    mut tree: MerkleState,
    mut feed: Feed<'_>,
    ends: bool,
    scratch: &Scratch,
) -> Result<Output, StoreError> {
    let result = loop {
        if let Err(e) = feed.fetch() {
            break Err(e);
        }
        tree.update(feed.current());
        if !feed.is_more() {
            break Ok(if ends {
                Output::Hash(PieceHash::Merkle(tree.root()))
            } else {
                Output::State(Hasher::Merkle(Box::new(tree)))
            });
        }
    };
    feed.put_back(scratch);
    result
}

/// The bytes of a source, a slice at a time.
#[derive(Debug)]
struct Feed<'a> {
    source: Source<'a>,
    /// Holds the current slice of a source on disk.
    buffer: Vec<u8>,
    /// The current slice: of the buffer, or of the memory.
    slice: Range<usize>,
}

impl<'a> Feed<'a> {
    fn new(source: Source<'a>, scratch: &Scratch) -> Self {
        let buffer = if matches!(source, Source::Disk(..)) { scratch.take() } else { Vec::new() };
        Self { source, buffer, slice: 0..0 }
    }

    /// Makes the next slice current.
    fn fetch(&mut self) -> Result<(), StoreError> {
        match &mut self.source {
            Source::Memory(bytes) => {
                self.slice = self.slice.end..bytes.len().min(self.slice.end + SLICE);
            }
            Source::Disk(bytes, offset, left, reading) => {
                let len = (*left).min(SLICE as u64) as usize;
                bytes.read_bytes(*offset, &mut self.buffer[..len], *reading)?;
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

    /// Whether slices follow the current one.
    fn is_more(&self) -> bool {
        match self.source {
            Source::Memory(bytes) => self.slice.end < bytes.len(),
            Source::Disk(_, _, left, _) => left > 0,
        }
    }

    fn put_back(&mut self, scratch: &Scratch) {
        if !self.buffer.is_empty() {
            scratch.give(std::mem::take(&mut self.buffer));
        }
    }
}

/// An input on its way through a lane.
#[derive(Debug)]
struct Lane<'a> {
    index: usize,
    state: Sha1State,
    ends: bool,
    feed: Feed<'a>,
}

impl Lane<'_> {
    fn stream(&self) -> Stream<'_> {
        Stream { state: self.state, data: self.feed.current() }
    }

    /// The slice is hashed but for `tail` bytes. Returns the result after the last slice.
    fn absorbed(&mut self, state: Sha1State, tail: usize) -> Option<Output> {
        self.state = state;
        let rest = self.feed.current();
        match (self.feed.is_more(), self.ends) {
            (true, _) => None,
            (false, true) => {
                let digest = lanes::finish(state, &rest[rest.len() - tail..]);
                Some(Output::Hash(PieceHash::Sha1(digest)))
            }
            (false, false) => Some(Output::State(Hasher::Sha1(state))),
        }
    }
}

/// The digest of each block of a stretch, the last of which may be short.
pub(super) fn block_digests(
    source: Source<'_>,
    scratch: &Scratch,
) -> Result<Vec<Digest>, StoreError> {
    let mut digests = Vec::new();
    let mut feed = Feed::new(source, scratch);
    let result = loop {
        if let Err(e) = feed.fetch() {
            break Err(e);
        }
        lanes::sha1_chunks(feed.current(), BLOCK_LEN as usize, &mut digests);
        if !feed.is_more() {
            break Ok(digests);
        }
    };
    feed.put_back(scratch);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn input(hasher: Hasher, bytes: &[u8], ends: bool) -> Input<'_> {
        Input { hasher, source: Source::Memory(bytes), ends }
    }

    fn tree(leaves: u32) -> Hasher {
        Hasher::Merkle(Box::new(MerkleState::new(leaves)))
    }

    #[test]
    fn trees_and_sha1_of_one_batch_are_each_in_their_place() {
        let bytes: Vec<u8> = (0..3 * SLICE + 5).map(|n| (n % 251) as u8).collect();
        let scratch = Scratch::default();
        let inputs = vec![
            input(Hasher::SHA1, &bytes, true),
            input(tree(64), &bytes, true),
            input(Hasher::SHA1, &bytes[..7], true),
            input(tree(1), &bytes[..7], true),
            input(Hasher::SHA1, &bytes[1..], true),
        ];
        let mut whole = MerkleState::new(64);
        whole.update(&bytes);
        let sha1 = |bytes| Output::Hash(PieceHash::Sha1(lanes::sha1(bytes)));
        let root = |root| Output::Hash(PieceHash::Merkle(root));
        let expected = [
            sha1(&bytes),
            root(whole.root()),
            sha1(&bytes[..7]),
            root(crate::base::merkle::leaf(&bytes[..7])),
            sha1(&bytes[1..]),
        ];
        let outputs: Vec<_> =
            hash_all(inputs, &scratch).into_iter().map(|output| output.unwrap()).collect();
        assert_eq!(outputs, expected);
    }

    #[test]
    fn tree_that_is_hashed_in_runs_has_the_same_root() {
        let bytes: Vec<u8> = (0..2 * SLICE + 5).map(|n| (n % 251) as u8).collect();
        let scratch = Scratch::default();
        let (first, rest) = bytes.split_at(SLICE + 3 * BLOCK_LEN as usize);
        let begun = hash_all(vec![input(tree(64), first, false)], &scratch).remove(0).unwrap();
        let Output::State(hasher) = begun else { panic!("it does not end here") };
        assert_eq!(hasher.byte_len(), first.len() as u64);
        let ended = hash_all(vec![input(hasher, rest, true)], &scratch).remove(0).unwrap();
        let whole = hash_all(vec![input(tree(64), &bytes, true)], &scratch).remove(0).unwrap();
        assert_eq!(ended, whole);
    }
}
