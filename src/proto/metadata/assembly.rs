//! One attempt at an info dictionary: the blocks that came for one claimed size, who gave them, and
//! the hash of what is in order. It knows no requests.

use std::{collections::BTreeMap, fmt};

use ring::digest::{Context, SHA256};
use sha1::{Digest, Sha1};

use crate::{
    base::{
        ids::{Identity, InfoHash, InfoHashV2},
        time::Instant,
    },
    wire::ut_metadata::{metadata_block_len, metadata_blocks},
};

/// See the module. Memory follows what came, not the claimed size.
#[derive(Clone, Debug)]
pub(super) struct Assembly<P> {
    total: u32,
    begun: Instant,
    blocks: BTreeMap<u32, Block<P>>,
    bytes: usize,
    /// The hash of the first `hashed` blocks.
    hasher: InfoHasher,
    hashed: u32,
}

/// Hashes a dictionary as its torrent is known: by SHA-256 if that is (BEP 52), since SHA-1 proves
/// less, else by SHA-1.
#[derive(Clone)]
enum InfoHasher {
    V1(Sha1, InfoHash),
    V2(Context, InfoHashV2),
}

impl InfoHasher {
    fn new(identity: &Identity) -> Self {
        match (identity.v2(), identity.info_hash()) {
            (Some(hash), _) => Self::V2(Context::new(&SHA256), hash),
            (None, hash) => Self::V1(Sha1::new(), hash),
        }
    }

    fn update(&mut self, data: &[u8]) {
        match self {
            Self::V1(hasher, _) => hasher.update(data),
            Self::V2(hasher, _) => hasher.update(data),
        }
    }

    fn is_right(&self) -> bool {
        match self {
            Self::V1(hasher, hash) => hasher.clone().finalize().as_slice() == hash.0,
            Self::V2(hasher, hash) => hasher.clone().finish().as_ref() == hash.0,
        }
    }
}

impl fmt::Debug for InfoHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V1(_, hash) => write!(f, "InfoHasher({hash})"),
            Self::V2(_, hash) => write!(f, "InfoHasher({hash})"),
        }
    }
}

#[derive(Clone, Debug)]
struct Block<P> {
    data: Vec<u8>,
    from: P,
}

impl<P: Copy + Ord> Assembly<P> {
    pub(super) fn new(total: u32, begun: Instant, identity: &Identity) -> Self {
        let hasher = InfoHasher::new(identity);
        Self { total, begun, blocks: BTreeMap::new(), bytes: 0, hasher, hashed: 0 }
    }

    pub(super) fn begun(&self) -> Instant {
        self.begun
    }

    pub(super) fn total(&self) -> u32 {
        self.total
    }

    pub(super) fn block_count(&self) -> u32 {
        metadata_blocks(self.total)
    }

    /// Blocks that are here.
    pub(super) fn have(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    /// Bytes that are here.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes that are not.
    pub(super) fn missing(&self) -> usize {
        (self.total as usize).saturating_sub(self.bytes)
    }

    pub(super) fn is_whole(&self) -> bool {
        self.have() == self.block_count()
    }

    pub(super) fn has(&self, block: u32) -> bool {
        self.blocks.contains_key(&block)
    }

    /// What is here of this block.
    pub(super) fn get(&self, block: u32) -> Option<&[u8]> {
        self.blocks.get(&block).map(|block| &*block.data)
    }

    /// Takes a block, unless it is here already or has another length than it must.
    pub(super) fn insert(&mut self, block: u32, from: P, data: &[u8]) {
        let fits = metadata_block_len(self.total, block).is_some_and(|l| l as usize == data.len());
        if fits && !self.has(block) {
            self.bytes += data.len();
            self.blocks.insert(block, Block { data: data.to_vec(), from });
        }
    }

    /// Hashes what is in order, `budget` blocks at most. Once all is hashed it tells whether it is
    /// the dictionary that is wanted.
    pub(super) fn hash(&mut self, budget: &mut u32) -> Option<bool> {
        while *budget > 0
            && let Some(block) = self.blocks.get(&self.hashed)
        {
            self.hasher.update(&block.data);
            self.hashed += 1;
            *budget -= 1;
        }
        let done = self.hashed == self.block_count() && self.total > 0;
        done.then(|| self.hasher.is_right())
    }

    /// Whether there is a next block to hash.
    pub(super) fn wants_hashing(&self) -> bool {
        self.blocks.contains_key(&self.hashed) || self.is_whole()
    }

    /// The peers that gave blocks, in order, each once.
    pub(super) fn contributors(&self) -> Vec<P> {
        let mut peers: Vec<P> = self.blocks.values().map(|block| block.from).collect();
        peers.sort_unstable();
        peers.dedup();
        peers
    }

    /// Which block is from which peer.
    pub(super) fn sources(&self) -> impl Iterator<Item = (u32, P, &[u8])> {
        self.blocks.iter().map(|(&index, block)| (index, block.from, &*block.data))
    }

    /// All blocks one behind the other.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.bytes);
        self.blocks.into_values().for_each(|block| bytes.extend_from_slice(&block.data));
        bytes
    }
}
