//! What the ledger learns of merkle trees: piece layers, and which leaves of a bad piece would tell
//! more of it.

use super::Swarm;
use crate::{
    base::{geometry::PieceIndex, merkle::Node, trees::Trees},
    wire::hash_range::HashRange,
};

impl Swarm {
    /// The trees with the piece layers that an earlier run has kept.
    pub(crate) fn set_trees(&mut self, trees: Trees) {
        if let Some(known) = self.subject.trees_mut() {
            *known = trees;
        }
    }

    /// A part of a piece layer came, and is proven: its pieces may be asked for.
    pub(crate) fn learn_layer(&mut self, root: &Node, index: u32, nodes: &[Node]) {
        let Some(trees) = self.subject.trees_mut() else { return };
        let places: Vec<_> = trees.of_root(root).map(|tree| (tree.first, tree.pieces)).collect();
        let known = |trees: &Trees, piece| trees.piece(piece).is_some();
        let mut fresh = Vec::new();
        for (first, pieces) in places {
            let end = pieces.min(index.saturating_add(nodes.len() as u32));
            let own = (index..end).filter_map(|nth| self.geometry.piece(first + nth).ok());
            fresh.extend(own.filter(|&piece| !known(trees, piece)));
        }
        trees.set_proven(root, index, nodes);
        for piece in fresh {
            let busy = self.active.contains(piece) || self.failures.is_looked_at(piece);
            // One that is skipped is not put back.
            if !busy && !self.stock.have().has(piece) && self.expected(piece).is_some() {
                self.picker.put_back(piece);
            }
        }
        self.refills.want();
    }

    /// Which leaves a bad piece has, and the hash that they lead to.
    pub(crate) fn range_of_leaves(&self, piece: PieceIndex) -> Option<(HashRange, Node)> {
        let trees = self.hashes().trees()?;
        let tree = trees.of_piece(piece)?;
        let len = self.geometry.leaves(piece);
        let index = (piece.get() - tree.first).checked_mul(len)?;
        let proofs = len.checked_ilog2()?.checked_sub(1)?;
        let range = HashRange { root: tree.root, base: 0, index, len, proofs };
        Some((range, trees.piece(piece)?))
    }
}
