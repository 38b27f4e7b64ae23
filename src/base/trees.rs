//! The merkle trees of a torrent of version 2 (BEP 52): the root of each file, and of the piece
//! layers below what is known. Nothing is taken that does not hash to its root.
//!
//! Knows files by number and pieces by index; not where layers come from.

use std::sync::Arc;

use thiserror::Error;

use super::{
    geometry::{Geometry, PieceIndex},
    merkle::{self, Node},
};

/// What stands for a hash that is not known. No data is known to hash to it, and a metainfo that
/// names it is refused.
const UNKNOWN: Node = [0; 32];

/// A file that has bytes, and the root of its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileTree {
    /// The file, by number.
    pub file: u32,
    /// Its first piece.
    pub first: u32,
    /// Its pieces, at least 1.
    pub pieces: u32,
    /// Its bytes, at least 1.
    pub len: u64,
    /// The root of its tree, never all zero.
    pub root: Node,
}

impl FileTree {
    /// Whether it has a piece layer: the hash of an only piece is the root.
    pub const fn has_layer(&self) -> bool {
        self.pieces > 1
    }

    /// The layers of its tree above that of the leaves, the root's included: 0 if the root is a
    /// leaf.
    pub fn height(&self) -> u32 {
        let blocks = self.len.div_ceil(u64::from(super::geometry::BLOCK_LEN));
        blocks.checked_next_power_of_two().map_or(63, u64::trailing_zeros)
    }
}

/// Why a piece layer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LayerError {
    /// No file with more than one piece has this root.
    #[error("a piece layer is of no file")]
    NoSuchFile,
    /// The file has another number of pieces.
    #[error("a piece layer of {got} hashes where the file has {want} pieces")]
    Count {
        /// Hashes there are.
        got: usize,
        /// Pieces of the file.
        want: u32,
    },
    /// The hashes are not below the root.
    #[error("a piece layer does not hash to the root of its file")]
    Root,
}

/// The trees of all files of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trees {
    files: Arc<[FileTree]>,
    /// Indices into `files`, by root.
    by_root: Arc<[u32]>,
    /// The hash of each piece, or [`UNKNOWN`].
    pieces: Arc<[Node]>,
    /// The layers above the leaves that a piece has.
    piece_height: u32,
    /// Pieces whose hash is not known.
    unknown: u32,
}

impl Trees {
    /// The trees of files with these numbers, lengths (at least 1 byte) and roots, which are in the
    /// order of the data and have this geometry. Pieces that are all of their file are known.
    pub fn new(geometry: &Geometry, files: impl IntoIterator<Item = (u32, u64, Node)>) -> Self {
        let piece_len = u64::from(geometry.nominal_piece_len().max(1));
        let mut first = 0_u32;
        let files: Vec<FileTree> = files
            .into_iter()
            .map(|(file, len, root)| {
                let pieces = u32::try_from(len.div_ceil(piece_len)).unwrap_or(u32::MAX);
                let tree = FileTree { file, first, pieces, len, root };
                first = first.saturating_add(pieces);
                tree
            })
            .collect();
        let mut pieces = vec![UNKNOWN; geometry.piece_count() as usize];
        for tree in files.iter().filter(|tree| !tree.has_layer()) {
            if let Some(piece) = pieces.get_mut(tree.first as usize) {
                *piece = tree.root;
            }
        }
        let mut by_root: Vec<u32> = (0..files.len() as u32).collect();
        by_root.sort_by_key(|&at| files.get(at as usize).map(|tree| tree.root));
        let unknown = pieces.iter().filter(|piece| **piece == UNKNOWN).count() as u32;
        let piece_height = (piece_len / u64::from(super::geometry::BLOCK_LEN)).max(1).ilog2();
        let (files, by_root) = (files.into(), by_root.into());
        Self { files, by_root, pieces: pieces.into(), piece_height, unknown }
    }

    /// The trees in the order of their files.
    pub fn files(&self) -> &[FileTree] {
        &self.files
    }

    /// The layers above the leaves at which a piece has its hash, unless its file has no other: 0
    /// if pieces are blocks.
    pub fn piece_height(&self) -> u32 {
        self.piece_height
    }

    /// The tree of the file that `piece` is of.
    pub fn of_piece(&self, piece: PieceIndex) -> Option<&FileTree> {
        let after = self.files.partition_point(|tree| tree.first <= piece.get());
        self.files.get(after.checked_sub(1)?)
    }

    /// The trees with this root: more than one if files are equal.
    pub fn of_root(&self, root: &Node) -> impl Iterator<Item = &FileTree> {
        let root = *root;
        let at = |&at: &u32| self.files.get(at as usize);
        let from = self.by_root.partition_point(|i| at(i).is_some_and(|tree| tree.root < root));
        let rest = self.by_root.get(from..).unwrap_or_default().iter().filter_map(at);
        rest.take_while(move |tree| tree.root == root)
    }

    /// The hash of `piece`, if it is known.
    pub fn piece(&self, piece: PieceIndex) -> Option<Node> {
        self.pieces.get(piece.at()).copied().filter(|node| *node != UNKNOWN)
    }

    /// The same, where it is kept.
    pub(crate) fn known(&self, piece: PieceIndex) -> Option<&Node> {
        self.pieces.get(piece.at()).filter(|node| **node != UNKNOWN)
    }

    /// Whether the hashes of all pieces are known.
    pub fn is_complete(&self) -> bool {
        self.unknown == 0
    }

    /// Pieces whose hash is not known.
    pub fn unknown(&self) -> u32 {
        self.unknown
    }

    /// The piece layer of `tree`, if all of it is known: the only piece's hash for a file of one.
    pub fn layer(&self, tree: &FileTree) -> Option<&[Node]> {
        let layer = self.nodes(tree)?;
        (!layer.contains(&UNKNOWN)).then_some(layer)
    }

    /// The root of each file that has a piece layer, with the layer, if all of it is known;
    /// ascending by root, each root once, as metainfo files have them.
    pub fn layers(&self) -> impl Iterator<Item = (&Node, &[Node])> {
        let mut last = None;
        self.by_root.iter().filter_map(move |&at| {
            let tree = self.files.get(at as usize).filter(|tree| tree.has_layer())?;
            if last.replace(&tree.root) == Some(&tree.root) {
                return None;
            }
            self.layer(tree).map(|layer| (&tree.root, layer))
        })
    }

    fn nodes(&self, tree: &FileTree) -> Option<&[Node]> {
        let first = tree.first as usize;
        self.pieces.get(first..first.checked_add(tree.pieces as usize)?)
    }

    /// Takes the whole piece layer of all files with this root.
    ///
    /// # Errors
    /// If there is no such file, it has another number of pieces, or the layer is not its.
    pub fn set_layer(&mut self, root: &Node, layer: &[Node]) -> Result<(), LayerError> {
        let mut firsts = Vec::new();
        for tree in self.of_root(root).filter(|tree| tree.has_layer()) {
            if layer.len() != tree.pieces as usize {
                return Err(LayerError::Count { got: layer.len(), want: tree.pieces });
            }
            firsts.push(tree.first);
        }
        if firsts.is_empty() {
            return Err(LayerError::NoSuchFile);
        }
        let width = layer.len().next_power_of_two();
        let found = merkle::root(layer, self.piece_height, width);
        if found != Some(*root) || layer.contains(&UNKNOWN) {
            return Err(LayerError::Root);
        }
        firsts.into_iter().for_each(|first| self.put(first, layer));
        Ok(())
    }

    /// Takes a part of a piece layer, from the `index`th of its hashes on, which was proven to be
    /// below `root`; for all files with that root. What goes beyond the file is passed over.
    pub(crate) fn set_proven(&mut self, root: &Node, index: u32, nodes: &[Node]) {
        let files = self.of_root(root).filter(|tree| tree.has_layer() && index < tree.pieces);
        let places: Vec<_> =
            files.map(|tree| (tree.first + index, (tree.pieces - index) as usize)).collect();
        for (first, most) in places {
            self.put(first, nodes.get(..most).unwrap_or(nodes));
        }
    }

    /// As if no piece layer were known.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn forget_layers(&mut self) {
        let pieces = Arc::make_mut(&mut self.pieces);
        for tree in self.files.iter().filter(|tree| tree.has_layer()) {
            let first = tree.first as usize;
            let own = pieces.get_mut(first..first + tree.pieces as usize).unwrap_or_default();
            own.iter_mut().for_each(|node| *node = UNKNOWN);
        }
        self.unknown = pieces.iter().filter(|node| **node == UNKNOWN).count() as u32;
    }

    fn put(&mut self, first: u32, nodes: &[Node]) {
        let (first, end) = (first as usize, first as usize + nodes.len());
        let Some(known) = Arc::make_mut(&mut self.pieces).get_mut(first..end) else { return };
        for (known, node) in known.iter_mut().zip(nodes).filter(|(_, node)| **node != UNKNOWN) {
            self.unknown -= u32::from(*known == UNKNOWN);
            *known = *node;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::BLOCK_LEN;

    const PIECE: u64 = 2 * BLOCK_LEN as u64;

    /// Pieces of hashes 1, 2, … of a file, and their root.
    fn layer(first: u8, pieces: u8) -> (Vec<Node>, Node) {
        let nodes: Vec<_> = (first..first + pieces).map(|n| [n; 32]).collect();
        let root = merkle::root(&nodes, 1, nodes.len().next_power_of_two()).unwrap();
        (nodes, root)
    }

    fn piece(geometry: &Geometry, index: u32) -> PieceIndex {
        geometry.piece(index).unwrap()
    }

    #[test]
    fn layers_are_taken_for_each_file_of_their_root_alone() {
        let (a, root_a) = layer(1, 3);
        let (b, root_b) = layer(9, 2);
        let lens = [3 * PIECE, 5, 2 * PIECE - 1, 3 * PIECE];
        let g = Geometry::of_files(PIECE as u32, lens).unwrap();
        let roots = [root_a, [7; 32], root_b, root_a];
        let files = (0..4).map(|n| (n * 2, lens[n as usize], roots[n as usize]));
        let mut trees = Trees::new(&g, files);
        assert_eq!((trees.unknown(), trees.piece(piece(&g, 3))), (8, Some([7; 32])));
        assert_eq!((trees.piece(piece(&g, 0)), trees.layers().count()), (None, 0));
        let of = |index| trees.of_piece(piece(&g, index)).unwrap().file;
        assert_eq!([0, 2, 3, 4, 5, 6, 8].map(of), [0, 0, 2, 4, 4, 6, 6]);
        assert_eq!(trees.of_root(&root_a).map(|tree| tree.first).collect::<Vec<_>>(), [0, 6]);

        let count = LayerError::Count { got: 2, want: 3 };
        assert_eq!(trees.set_layer(&root_a, &a[..2]), Err(count));
        assert_eq!(trees.set_layer(&root_a, &[[1; 32]; 3]), Err(LayerError::Root));
        assert_eq!(trees.set_layer(&[7; 32], &[[7; 32]]), Err(LayerError::NoSuchFile));
        assert_eq!(trees.set_layer(&[8; 32], &a), Err(LayerError::NoSuchFile));
        assert_eq!(trees.unknown(), 8);
        assert_eq!(trees.set_layer(&root_a, &a), Ok(()));
        assert_eq!((trees.unknown(), trees.piece(piece(&g, 7))), (2, Some([2; 32])));
        trees.set_proven(&root_b, 1, &[b[1], [5; 32]]);
        assert_eq!((trees.piece(piece(&g, 4)), trees.piece(piece(&g, 5))), (None, Some(b[1])));
        assert_eq!((trees.layers().count(), trees.is_complete()), (1, false));
        trees.set_proven(&root_b, 0, &b);
        assert!(trees.is_complete());
        let mut known = vec![(root_a, a), (root_b, b)];
        known.sort();
        let told = trees.layers().map(|(root, layer)| (*root, layer.to_vec()));
        assert_eq!(told.collect::<Vec<_>>(), known);
    }

    #[test]
    fn tree_is_as_high_as_its_blocks_need() {
        let tree = |len| FileTree { file: 0, first: 0, pieces: 1, len, root: [1; 32] };
        let heights = [1, 16_384, 16_385, 32_768, 32_769, 65_537, u64::MAX];
        assert_eq!(heights.map(|len| tree(len).height()), [0, 0, 1, 1, 2, 3, 50]);
    }
}
