//! Hashes that travel between the engine and the workers: what a piece should be, and how far
//! hashing it has come. The SHA-1 arithmetic is the store's, that of merkle trees is
//! [`merkle`](super::merkle)'s.

use super::merkle::{MerkleState, Node};

/// A SHA-1 digest.
pub type Digest = [u8; 20];

/// What a piece should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceHash {
    /// The SHA-1 of its bytes (version 1, BEP 3).
    Sha1(Digest),
    /// The root of the merkle tree over its blocks (version 2, BEP 52).
    Merkle(Node),
}

impl PieceHash {
    /// Its SHA-1, if that is what it is.
    pub const fn sha1(self) -> Option<Digest> {
        match self {
            Self::Sha1(digest) => Some(digest),
            Self::Merkle(_) => None,
        }
    }
}

/// A SHA-1 computation paused at a 64-byte border, so that a large piece can be hashed in runs by
/// whichever worker is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sha1State {
    /// The five chaining words (FIPS 180-4, 6.1).
    pub words: [u32; 5],
    /// Bytes hashed so far; a multiple of 64.
    pub len: u64,
}

impl Sha1State {
    /// The state before any input (FIPS 180-4, 5.3.1).
    pub const INITIAL: Self =
        Self { words: [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0], len: 0 };
}

impl Default for Sha1State {
    fn default() -> Self {
        Self::INITIAL
    }
}

/// How far the hash of a piece has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hasher {
    /// See [`PieceHash::Sha1`].
    Sha1(Sha1State),
    /// See [`PieceHash::Merkle`].
    Merkle(Box<MerkleState>),
}

impl Hasher {
    /// SHA-1 before any input.
    pub const SHA1: Self = Self::Sha1(Sha1State::INITIAL);

    /// What finds out whether a piece is `expected`; `leaves` is the width of its tree
    /// ([`Geometry::leaves`](super::geometry::Geometry::leaves)), if it has one.
    pub fn new(expected: &PieceHash, leaves: u32) -> Self {
        match expected {
            PieceHash::Sha1(_) => Self::SHA1,
            PieceHash::Merkle(_) => Self::Merkle(Box::new(MerkleState::new(leaves))),
        }
    }

    /// Bytes hashed so far.
    pub fn byte_len(&self) -> u64 {
        match self {
            Self::Sha1(state) => state.len,
            Self::Merkle(state) => state.byte_len(),
        }
    }

    /// What the bytes of a run must be a multiple of, unless the piece ends with it.
    pub const fn grain(&self) -> u64 {
        match self {
            Self::Sha1(_) => 64,
            Self::Merkle(_) => super::geometry::BLOCK_LEN as u64,
        }
    }
}
