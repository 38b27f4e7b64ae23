//! Whether the pieces of a file that is whole have the root that the metainfo says (BEP 52): a tree
//! may have as many as a million pieces, so a worker hashes it.

use std::fmt;

use crate::base::{
    merkle::{self, Node},
    trees::FileTree,
};

/// See the module.
pub(crate) struct LayerProof {
    tree: FileTree,
    piece_height: u32,
    layer: Vec<Node>,
    holds: bool,
}

impl LayerProof {
    /// The roots of all pieces of the file, and the layers of a tree that a piece has.
    pub(super) fn new(tree: FileTree, piece_height: u32, layer: Vec<Node>) -> Self {
        Self { tree, piece_height, layer, holds: false }
    }

    /// The file, and its piece layer if that hashes to its root.
    pub(super) fn into_layer(self) -> (FileTree, Option<Vec<Node>>) {
        (self.tree, Some(self.layer).filter(|_| self.holds))
    }
}

impl LayerProof {
    /// Hashes the tree. It may take long.
    pub(super) fn run(&mut self) {
        let width = self.layer.len().next_power_of_two();
        self.holds = merkle::root(&self.layer, self.piece_height, width) == Some(self.tree.root);
    }
}

impl fmt::Debug for LayerProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "proof of the {} pieces of file {}", self.layer.len(), self.tree.file)
    }
}
