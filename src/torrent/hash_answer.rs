//! The answer to a peer that asks for hashes of a tree: it may take as many hashes as a file has
//! pieces, so a worker makes it.

use std::fmt;

use crate::{
    base::{geometry::Geometry, merkle::Node, trees::Trees},
    proto::hashes::{answer, answer_leaves},
    wire::hash_range::HashRange,
};

/// See the module.
pub(crate) struct HashAnswer {
    trees: Trees,
    range: HashRange,
    /// Of the leaves of a piece: what was read.
    leaves: Option<(Geometry, Vec<Node>)>,
    hashes: Option<Vec<Node>>,
}

impl HashAnswer {
    /// Of a piece layer.
    pub(super) fn layer(trees: Trees, range: HashRange) -> Self {
        Self { trees, range, leaves: None, hashes: None }
    }

    /// Of the leaves of a piece.
    pub(super) fn leaves(
        trees: Trees,
        geometry: Geometry,
        range: HashRange,
        leaves: Vec<Node>,
    ) -> Self {
        Self { trees, range, leaves: Some((geometry, leaves)), hashes: None }
    }

    /// The hashes, if there is an answer.
    pub(super) fn into_hashes(self) -> Option<Vec<Node>> {
        self.hashes
    }
}

impl HashAnswer {
    /// Makes the answer. It may take long.
    pub(super) fn run(&mut self) {
        self.hashes = match &self.leaves {
            None => answer(&self.trees, &self.range),
            Some((geometry, leaves)) => answer_leaves(&self.trees, geometry, &self.range, leaves),
        };
    }
}

impl fmt::Debug for HashAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer {} hashes of layer {}", self.range.len, self.range.base)
    }
}
