//! One attempt at an info dictionary: the blocks that came for one claimed size, who gave them, and
//! the hash of what is in order. It knows no requests.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

use crate::{
    base::{ids::InfoHash, time::Instant},
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
    hasher: Sha1,
    hashed: u32,
}

#[derive(Clone, Debug)]
struct Block<P> {
    data: Vec<u8>,
    from: P,
}

impl<P: Copy + Ord> Assembly<P> {
    pub(super) fn new(total: u32, begun: Instant) -> Self {
        Self { total, begun, blocks: BTreeMap::new(), bytes: 0, hasher: Sha1::new(), hashed: 0 }
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

    /// Hashes what is in order, `budget` blocks at most. Once all is hashed it tells the hash.
    pub(super) fn hash(&mut self, budget: &mut u32) -> Option<InfoHash> {
        while *budget > 0
            && let Some(block) = self.blocks.get(&self.hashed)
        {
            self.hasher.update(&block.data);
            self.hashed += 1;
            *budget -= 1;
        }
        let done = self.hashed == self.block_count() && self.total > 0;
        done.then(|| InfoHash(self.hasher.clone().finalize().into()))
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
