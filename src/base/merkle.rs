//! Merkle trees as version 2 of the protocol has them (BEP 52, "File tree" and "Merkle trees"): the
//! leaves are SHA-256 of blocks of 16 KiB, each node above is SHA-256 of the two below it.
//!
//! Knows blocks and nodes; not files, pieces or messages.

use ring::digest::{Context, SHA256, digest};

use super::geometry::BLOCK_LEN;

/// A node of a tree: a SHA-256 digest.
pub type Node = [u8; 32];

/// The most nodes that may lie between a leaf and its root: a tree of 2^63 bytes has fewer.
pub const MAX_HEIGHT: u32 = 48;

/// The leaf of a block of at most 16 KiB. The last block of a file is shorter and is hashed as it
/// is, without padding.
pub fn leaf(block: &[u8]) -> Node {
    node(digest(&SHA256, block))
}

/// The node above two others.
pub fn parent(left: &Node, right: &Node) -> Node {
    let mut context = Context::new(&SHA256);
    context.update(left);
    context.update(right);
    node(context.finish())
}

/// The root of a tree of 2^`height` leaves that are all missing. A missing leaf is 32 zero bytes,
/// and the nodes above are hashes as any other.
pub fn padding(height: u32) -> Node {
    (0..height.min(MAX_HEIGHT)).fold([0; 32], |below, _| parent(&below, &below))
}

/// The root of a tree whose layer at `height` (0 are the leaves) begins with `nodes`, and is filled
/// up with [`padding`] to `width` nodes; `None` if `width` is no power of two or less than there
/// are nodes.
pub fn root(nodes: &[Node], height: u32, width: usize) -> Option<Node> {
    if !width.is_power_of_two() || width < nodes.len() || height > MAX_HEIGHT {
        return None;
    }
    let mut layer = nodes.to_vec();
    let mut pad = padding(height);
    for _ in 0..width.trailing_zeros() {
        let above = layer.chunks(2).map(|pair| match pair {
            [left, right] => parent(left, right),
            [left, ..] => parent(left, &pad),
            [] => pad,
        });
        layer = above.collect();
        pad = parent(&pad, &pad);
    }
    Some(layer.first().copied().unwrap_or(pad))
}

/// Whether the node that is the `index`th of its layer lies below `root`, `uncles` being the
/// siblings of the nodes on the way up, lowest first.
pub fn is_proven(node: &Node, index: u64, uncles: &[Node], root: &Node) -> bool {
    let height = uncles.len() as u32;
    if uncles.len() > MAX_HEIGHT as usize || index >> height != 0 {
        return false;
    }
    let climbed = uncles.iter().enumerate().fold(*node, |below, (level, uncle)| {
        if index >> level & 1 == 0 { parent(&below, uncle) } else { parent(uncle, &below) }
    });
    climbed == *root
}

/// The root of a tree as its blocks come one after the other, in memory that grows with the
/// tree's height.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MerkleState {
    /// Roots of whole subtrees, the largest first: one for each bit that is set in `leaves`.
    stack: Vec<Node>,
    leaves: u64,
    width: u64,
    len: u64,
}

impl MerkleState {
    /// No block yet of a tree of `width` leaves, which is rounded up to a power of two. Leaves that
    /// do not come are [missing](padding).
    pub fn new(width: u32) -> Self {
        let width = u64::from(width).next_power_of_two();
        Self { stack: Vec::new(), leaves: 0, width, len: 0 }
    }

    /// Bytes that came.
    pub fn byte_len(&self) -> u64 {
        self.len
    }

    /// The next bytes: whole blocks of 16 KiB, but for the last of all, which may be short.
    pub fn update(&mut self, bytes: &[u8]) {
        for block in bytes.chunks(BLOCK_LEN as usize) {
            self.push(leaf(block));
            self.len += block.len() as u64;
        }
    }

    /// The leaves of the next blocks, which were hashed elsewhere, and how many bytes they are of.
    pub fn update_leaves(&mut self, leaves: &[Node], bytes: u64) {
        leaves.iter().for_each(|leaf| self.push(*leaf));
        self.len += bytes;
    }

    fn push(&mut self, leaf: Node) {
        let mut node = leaf;
        for _ in 0..self.leaves.trailing_ones() {
            let Some(left) = self.stack.pop() else { break };
            node = parent(&left, &node);
        }
        self.stack.push(node);
        self.leaves += 1;
    }

    /// The root, when all blocks have come. A tree of more blocks than it has leaves is as wide as
    /// it must be, so its root is no hash of such a piece.
    pub fn root(mut self) -> Node {
        let width = self.width.max(self.leaves.next_power_of_two());
        let (mut right, mut pad) = (None, [0; 32]);
        for height in 0..width.trailing_zeros() {
            let left = if self.leaves >> height & 1 == 1 { self.stack.pop() } else { None };
            right = match (left, right) {
                (Some(left), Some(right)) => Some(parent(&left, &right)),
                (Some(left), None) | (None, Some(left)) => Some(parent(&left, &pad)),
                (None, None) => None,
            };
            pad = parent(&pad, &pad);
        }
        right.or(self.stack.pop()).unwrap_or(pad)
    }
}

fn node(digest: ring::digest::Digest) -> Node {
    let mut node = [0; 32];
    node.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
    node
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hex(node: Node) -> String {
        node.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Byte `n` is `n` modulo 251.
    fn bytes(len: usize) -> Vec<u8> {
        (0..len).map(|n| (n % 251) as u8).collect()
    }

    fn streamed(bytes: &[u8], width: u32) -> Node {
        let mut state = MerkleState::new(width);
        state.update(bytes);
        state.root()
    }

    /// The definition: leaves padded with zeroes to the width, hashed in pairs until one is left.
    fn plainly(leaves: &[Node], width: usize) -> Node {
        let mut layer = leaves.to_vec();
        layer.resize(width, [0; 32]);
        while layer.len() > 1 {
            layer = layer.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
        }
        layer[0]
    }

    // Made by another implementation (Python's hashlib, from the text of BEP 52).
    const VECTORS: &[(usize, u32, &str)] = &[
        (1, 1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"),
        (16_384, 1, "4348e3b98e8a327b34ced39c1da9e67cdb4cd5e48e4d7960607a3ae403d35f0c"),
        (16_385, 2, "9d7887c65d577a0237fb3c0998b87b3a62762d03796889a2caea01db914ccbb8"),
        (32_768, 4, "6eac16f8e1173aec68172b782a397057313d076436c09cc9366df0ee825503d0"),
        (81_913, 8, "286a3f945bf570d55b89d3c1c5d6c3ff230b5c18fb94495626673894243acd90"),
        (81_913, 16, "3f9abcb6b0d6758971a478cd2046d487c988afa9cbd1171d2639581e95d4760c"),
        (262_144, 16, "936f20cb9f0648c16ce2556795f1cc50ad21a3e3ec53ed8a6e554a75f8a4357f"),
    ];

    #[test]
    fn roots_are_those_of_another_implementation() {
        for &(len, width, root) in VECTORS {
            let bytes = bytes(len);
            assert_eq!(hex(streamed(&bytes, width)), root, "{len} {width}");
        }
    }

    #[test]
    fn padding_is_hashes_of_zero_hashes() {
        assert_eq!(padding(0), [0; 32]);
        let first = "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b";
        let second = "db56114e00fdd4c1f85c892bf35ac9a89289aaecb1ebd0a96cde606a748b5d71";
        assert_eq!((hex(padding(1)).as_str(), hex(padding(2)).as_str()), (first, second));
    }

    #[test]
    fn tree_without_blocks_is_padding_and_one_of_too_many_wider() {
        assert_eq!(streamed(b"", 8), padding(3));
        let three = bytes(3 * BLOCK_LEN as usize);
        assert_eq!(streamed(&three, 2), streamed(&three, 4));
        assert_eq!(root(&[[1; 32]; 3], 0, 2), None);
        assert_eq!(root(&[[1; 32]; 3], 0, 3), None);
        assert_eq!(root(&[], 2, 4), Some(padding(4)));
    }

    #[test]
    fn layer_above_the_leaves_has_the_same_root() {
        let leaves: Vec<_> = bytes(37).iter().map(|byte| leaf(&[*byte])).collect();
        let pieces: Vec<_> = leaves.chunks(4).map(|piece| root(piece, 0, 4).unwrap()).collect();
        assert_eq!(root(&pieces, 2, 16), root(&leaves, 0, 64));
    }

    proptest! {
        #[test]
        fn streaming_equals_the_definition(
            leaves in 0_usize..70, cut in 0_usize..70, more in 0_u32..3,
        ) {
            // A block of one byte is a block: only the last of a file, but the tree does not mind.
            let leaves: Vec<Node> = (0..leaves).map(|n| leaf(&[n as u8])).collect();
            let width = leaves.len().max(1).next_power_of_two() << more;
            let mut state = MerkleState::new(width as u32);
            let (a, b) = leaves.split_at(cut.min(leaves.len()));
            a.iter().for_each(|leaf| state.push(*leaf));
            let mut state = state.clone();
            b.iter().for_each(|leaf| state.push(*leaf));
            let expected = plainly(&leaves, width);
            prop_assert_eq!(state.root(), expected);
            prop_assert_eq!(root(&leaves, 0, width), Some(expected));
        }

        #[test]
        fn proof_holds_for_its_leaf_at_its_place_and_for_nothing_else(
            count in 1_usize..40, at in any::<prop::sample::Index>(), spoil in any::<u64>(),
        ) {
            let leaves: Vec<Node> = (0..count).map(|n| leaf(&[n as u8])).collect();
            let at = at.index(count);
            let width = count.next_power_of_two();
            let mut layer = leaves.clone();
            layer.resize(width, [0; 32]);
            let (mut uncles, mut place) = (Vec::new(), at);
            while layer.len() > 1 {
                uncles.push(layer[place ^ 1]);
                layer = layer.chunks(2).map(|pair| parent(&pair[0], &pair[1])).collect();
                place /= 2;
            }
            let (root, index) = (layer[0], at as u64);
            prop_assert!(is_proven(&leaves[at], index, &uncles, &root));
            prop_assert!(!is_proven(&leaves[at], index + width as u64, &uncles, &root));
            prop_assert!(!is_proven(&leaf(b"x"), index, &uncles, &root));
            if width > 1 {
                prop_assert!(!is_proven(&leaves[at], index ^ 1, &uncles, &root));
                let nth = spoil as usize % uncles.len();
                uncles[nth][(spoil >> 32) as usize % 32] ^= 1;
                prop_assert!(!is_proven(&leaves[at], index, &uncles, &root));
            }
            uncles.resize(MAX_HEIGHT as usize + 1, [0; 32]);
            prop_assert!(!is_proven(&leaves[at], index, &uncles, &root));
        }
    }
}
