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
    /// Both at once (a hybrid, BEP 52, "Upgrade Path"): a piece must match both.
    Hybrid {
        /// The SHA-1 of its bytes and the pad after them.
        sha1: Digest,
        /// The zeros of the pad, in bytes.
        pad: u32,
        /// The root, if it is known.
        root: Option<Node>,
    },
}

/// What the hash of a piece says of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// It is what it should be.
    Good,
    /// It is not.
    Bad,
    /// One version of a hybrid says this, the other that: its hashes are of different data.
    Contradiction,
}

impl PieceHash {
    /// Its SHA-1, if that is what it is.
    pub const fn sha1(self) -> Option<Digest> {
        match self {
            Self::Sha1(digest) | Self::Hybrid { sha1: digest, .. } => Some(digest),
            Self::Merkle(_) => None,
        }
    }

    /// Its merkle root, if that is known.
    pub const fn root(self) -> Option<Node> {
        match self {
            Self::Merkle(root) => Some(root),
            Self::Hybrid { root, .. } => root,
            Self::Sha1(_) => None,
        }
    }

    /// What to think of a piece that should be this and was found to be `found`.
    pub fn judge(&self, found: &Self) -> Judgement {
        match (self, found) {
            (
                Self::Hybrid { sha1, root, .. },
                Self::Hybrid { sha1: found_sha1, root: found_root, .. },
            ) => {
                // A root that is not known is held against the one that was found when it comes.
                let same_root = root.zip(*found_root).map(|(root, found)| root == found);
                match (sha1 == found_sha1, same_root) {
                    (true, None | Some(true)) => Judgement::Good,
                    (false, None | Some(false)) => Judgement::Bad,
                    _ => Judgement::Contradiction,
                }
            }
            _ if self == found => Judgement::Good,
            _ => Judgement::Bad,
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
    /// See [`PieceHash::Hybrid`].
    Hybrid(Box<HybridState>),
}

/// How far the hashes of a hybrid's piece have come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HybridState {
    /// The SHA-1 without the pad.
    pub sha1: Sha1State,
    /// The zeros to come after the piece.
    pub pad: u32,
    /// The tree. It is hashed even if its root is not known: it is found by that.
    pub tree: MerkleState,
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
            PieceHash::Hybrid { pad, .. } => Self::Hybrid(Box::new(HybridState {
                sha1: Sha1State::INITIAL,
                pad: *pad,
                tree: MerkleState::new(leaves),
            })),
        }
    }

    /// Bytes hashed so far.
    pub fn byte_len(&self) -> u64 {
        match self {
            Self::Sha1(state) => state.len,
            Self::Merkle(state) => state.byte_len(),
            Self::Hybrid(state) => state.sha1.len,
        }
    }

    /// What the bytes of a run must be a multiple of, unless the piece ends with it.
    pub const fn grain(&self) -> u64 {
        match self {
            Self::Sha1(_) => 64,
            Self::Merkle(_) | Self::Hybrid(_) => super::geometry::BLOCK_LEN as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid_is_good_if_both_versions_say_so() {
        let of = |sha1: u8, root: Option<u8>| PieceHash::Hybrid {
            sha1: [sha1; 20],
            pad: 3,
            root: root.map(|root| [root; 32]),
        };
        let expected = of(1, Some(2));
        assert_eq!(expected.judge(&of(1, Some(2))), Judgement::Good);
        assert_eq!(expected.judge(&of(3, Some(4))), Judgement::Bad);
        assert_eq!(expected.judge(&of(1, Some(4))), Judgement::Contradiction);
        assert_eq!(expected.judge(&of(3, Some(2))), Judgement::Contradiction);
        // What is not known contradicts nothing.
        assert_eq!(of(1, None).judge(&of(1, None)), Judgement::Good);
        assert_eq!(of(1, None).judge(&of(2, None)), Judgement::Bad);
        assert_eq!(of(1, Some(2)).judge(&of(1, None)), Judgement::Good);
        assert_eq!(PieceHash::Sha1([1; 20]).judge(&PieceHash::Sha1([1; 20])), Judgement::Good);
        assert_eq!(PieceHash::Merkle([1; 32]).judge(&PieceHash::Merkle([2; 32])), Judgement::Bad);
    }
}
