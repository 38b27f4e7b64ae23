//! Hashes several pieces or runs at a time through the lanes, from memory or straight from disk.
//! Merkle trees take their turn one by one, and fill the lanes with their leaves.
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
    hash::{Digest, Hasher, HybridState, PieceHash, Sha1State},
    merkle::{MerkleState, Node},
    storage::Reading,
    storage::StoreError,
};

/// How much of each stream is hashed before the next is looked after: a multiple of 64 and of a
/// block that fits the cache.
const SLICE: usize = 256 * 1024;
/// Streams hashed side by side: as many as pay, but so many that one which waits for its disk does
/// not hold up the rest.
pub(super) fn side_by_side() -> usize {
    lanes::lanes().max(3)
}

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
    let most = side_by_side().min(inputs.len());
    let mut waiting = inputs.into_iter().enumerate();
    let mut active: Vec<Lane<'_>> = Vec::with_capacity(most);
    loop {
        while active.len() < most {
            let Some((index, Input { hasher, source, ends })) = waiting.next() else { break };
            let feed = Feed::new(source, scratch);
            match hasher {
                Hasher::Sha1(state) => {
                    active.push(Lane { index, state, also: None, ends, feed });
                }
                Hasher::Hybrid(state) => {
                    let (sha1, also) = (state.sha1, Also { pad: state.pad, tree: state.tree });
                    active.push(Lane { index, state: sha1, also: Some(also), ends, feed });
                }
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
        active.iter_mut().for_each(Lane::grow);

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
        add_blocks(&mut tree, feed.current());
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

/// The next blocks of a tree, hashed side by side.
fn add_blocks(tree: &mut MerkleState, bytes: &[u8]) {
    let mut leaves = Vec::with_capacity(bytes.len().div_ceil(BLOCK_LEN as usize));
    lanes::sha256::sha256_chunks(bytes, BLOCK_LEN as usize, &mut leaves);
    tree.update_leaves(&leaves, bytes.len() as u64);
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
    /// Of a hybrid's piece.
    also: Option<Also>,
    ends: bool,
    feed: Feed<'a>,
}

/// What the piece of a hybrid has beside its SHA-1.
#[derive(Debug)]
struct Also {
    pad: u32,
    tree: MerkleState,
}

impl Lane<'_> {
    fn stream(&self) -> Stream<'_> {
        Stream { state: self.state, data: self.feed.current() }
    }

    /// The tree of a hybrid's piece takes the slice.
    fn grow(&mut self) {
        if let Some(Also { tree, .. }) = &mut self.also {
            add_blocks(tree, self.feed.current());
        }
    }

    /// The slice is hashed but for `tail` bytes. Returns the result after the last slice.
    fn absorbed(&mut self, state: Sha1State, tail: usize) -> Option<Output> {
        self.state = state;
        let rest = self.feed.current();
        match (self.feed.is_more(), self.ends) {
            (true, _) => None,
            (false, true) => {
                let tail = &rest[rest.len() - tail..];
                Some(Output::Hash(match self.also.take() {
                    None => PieceHash::Sha1(lanes::finish(state, tail)),
                    Some(Also { pad, tree }) => PieceHash::Hybrid {
                        sha1: finish_padded(state, tail, pad),
                        pad,
                        root: Some(tree.root()),
                    },
                }))
            }
            (false, false) => Some(Output::State(match self.also.take() {
                None => Hasher::Sha1(state),
                Some(Also { pad, tree }) => {
                    Hasher::Hybrid(Box::new(HybridState { sha1: state, pad, tree }))
                }
            })),
        }
    }
}

/// The digest of each block of a stretch, the last of which may be short: its SHA-1, or as much of
/// its leaf as there is room for.
pub(super) fn block_digests(
    source: Source<'_>,
    of_leaves: bool,
    scratch: &Scratch,
) -> Result<Vec<Digest>, StoreError> {
    if of_leaves {
        let short = |leaf: Node| leaf.first_chunk().copied().unwrap_or_default();
        return Ok(block_leaves(source, scratch)?.into_iter().map(short).collect());
    }
    each_slice(source, scratch, |slice, digests| {
        lanes::sha1_chunks(slice, BLOCK_LEN as usize, digests);
    })
}

/// The leaf of each block of a stretch.
pub(super) fn block_leaves(source: Source<'_>, scratch: &Scratch) -> Result<Vec<Node>, StoreError> {
    each_slice(source, scratch, |slice, leaves| {
        lanes::sha256::sha256_chunks(slice, BLOCK_LEN as usize, leaves);
    })
}

/// Something of each slice of a source, one after the other.
fn each_slice<T>(
    source: Source<'_>,
    scratch: &Scratch,
    hash: impl Fn(&[u8], &mut Vec<T>),
) -> Result<Vec<T>, StoreError> {
    let mut digests = Vec::new();
    let mut feed = Feed::new(source, scratch);
    let result = loop {
        if let Err(e) = feed.fetch() {
            break Err(e);
        }
        hash(feed.current(), &mut digests);
        if !feed.is_more() {
            break Ok(digests);
        }
    };
    feed.put_back(scratch);
    result
}

/// The digest of `len` bytes of zero.
pub(super) fn zero_digest(len: u64) -> Digest {
    finish_with_zeroes(Sha1State::INITIAL, len)
}

/// Ends a message with `tail`, of less than 64 bytes, and so many zeroes.
fn finish_padded(state: Sha1State, tail: &[u8], pad: u32) -> Digest {
    if pad == 0 {
        return lanes::finish(state, tail);
    }
    let mut block = [0; 64];
    let first = (64 - tail.len()).min(pad as usize);
    block[..tail.len()].copy_from_slice(tail);
    let block = &block[..tail.len() + first];
    if block.len() < 64 {
        return lanes::finish(state, block);
    }
    let mut stream = [Stream { state, data: block }];
    lanes::update(&mut stream);
    finish_with_zeroes(stream[0].state, u64::from(pad) - first as u64)
}

/// Ends a message with so many zeroes.
fn finish_with_zeroes(mut state: Sha1State, len: u64) -> Digest {
    let zeroes = vec![0; len.min(SLICE as u64) as usize];
    let mut left = len;
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
    fn hybrid_is_hashed_both_ways_with_its_pad_at_once_or_in_runs() {
        let scratch = Scratch::default();
        let block = BLOCK_LEN as usize;
        for (len, pad) in [(5, 59), (5, 58), (5, 60), (64, 64), (block + 7, 3 * SLICE + 9), (1, 0)]
        {
            let bytes: Vec<u8> = (0..len).map(|n| (n % 251) as u8).collect();
            let one = |input| hash_all(vec![input], &scratch).remove(0).unwrap();
            let padded = [&bytes[..], &vec![0; pad]].concat();
            let mut tree = MerkleState::new(4);
            tree.update(&bytes);
            let expected = PieceHash::Hybrid {
                sha1: lanes::sha1(&padded),
                pad: pad as u32,
                root: Some(tree.root()),
            };
            let hasher = Hasher::new(&expected, 4);
            assert_eq!(one(input(hasher.clone(), &bytes, true)), Output::Hash(expected), "{len}");
            if let Some((first, rest)) = bytes.split_at_checked(block) {
                let Output::State(begun) = one(input(hasher, first, false)) else {
                    panic!("it does not end here")
                };
                assert_eq!(begun.byte_len(), block as u64);
                assert_eq!(one(input(begun, rest, true)), Output::Hash(expected));
            }
            let unknown =
                PieceHash::Hybrid { sha1: lanes::sha1(&padded), pad: pad as u32, root: None };
            // The root is found, too.
            let hasher = Hasher::new(&unknown, 4);
            assert_eq!(one(input(hasher, &bytes, true)), Output::Hash(expected));
        }
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
