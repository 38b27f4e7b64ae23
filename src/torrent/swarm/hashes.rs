//! What each piece should hash to, by both versions as far as they are known (BEP 52). It does not
//! know what is there.

use std::sync::Arc;

use crate::{
    base::{
        geometry::{Geometry, PieceIndex},
        hash::{Digest, PieceHash},
        trees::Trees,
    },
    wire::metainfo::Metainfo,
};

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct PieceHashes {
    /// Of version 1: one a piece, or none.
    sha1: Arc<[Digest]>,
    /// Of version 2.
    trees: Option<Trees>,
}

impl PieceHashes {
    pub(crate) fn of(metainfo: &Metainfo) -> Self {
        Self { sha1: metainfo.pieces.clone(), trees: metainfo.trees.clone() }
    }

    /// Those of a torrent of version 1.
    #[cfg(test)]
    pub(crate) fn v1(sha1: Arc<[Digest]>) -> Self {
        Self { sha1, trees: None }
    }

    /// What `piece` should be; `None` as long as that is not known, which is so in version 2 before
    /// the piece layer has come.
    pub(crate) fn expected(&self, piece: PieceIndex, geometry: &Geometry) -> Option<PieceHash> {
        let sha1 = self.sha1.get(piece.at()).copied();
        let Some(trees) = &self.trees else { return sha1.map(PieceHash::Sha1) };
        let root = trees.piece(piece);
        match sha1 {
            Some(sha1) => Some(PieceHash::Hybrid { sha1, pad: geometry.pad_len(piece), root }),
            None => root.map(PieceHash::Merkle),
        }
    }

    /// Whether each piece can be verified.
    pub(crate) fn is_complete(&self) -> bool {
        !self.sha1.is_empty() || self.trees.as_ref().is_none_or(Trees::is_complete)
    }

    pub(super) fn trees_mut(&mut self) -> Option<&mut Trees> {
        self.trees.as_mut()
    }

    /// The trees of version 2.
    pub(crate) fn trees(&self) -> Option<&Trees> {
        self.trees.as_ref()
    }
}
