//! What a user reads of a torrent, part by part: which bytes, and what vouches for them.
//!
//! Bytes of a verified piece are believed as those that peers get. A block of a piece that is not
//! whole is hashed by the worker that hands it out, so that no other bytes than those that were
//! hashed can be handed out, whatever happens to it meanwhile in memory or on disk.

use thiserror::Error;

use crate::base::{
    geometry::{Block, PieceIndex},
    merkle::Node,
    storage::StoreError,
};

/// Consecutive bytes of one piece that are wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extract {
    /// Which bytes; within one block of the grid of 16 KiB, if a leaf vouches for them.
    pub range: Block,
    /// What vouches for them.
    pub proof: ExtractProof,
}

/// What vouches for the bytes of an [`Extract`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExtractProof {
    /// Their piece is verified.
    Piece,
    /// The whole block that they are in must hash to this leaf (BEP 52).
    Leaf {
        /// The leaf.
        leaf: Node,
        /// The block, if it is in memory; else it is read.
        block: Option<Vec<u8>>,
    },
}

/// Why there are no bytes.
#[derive(Clone, Debug, Error)]
#[non_exhaustive]
pub enum ExtractError {
    /// They could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A block of this piece is not the one that its leaf says.
    #[error("a block of piece {} is not what its hash says", .0.get())]
    Bad(PieceIndex),
}
