//! What a peer gets that asks for hashes: a range of a piece layer, or of the leaves of a piece
//! that was read for it, with the uncles that it wants.
//!
//! It hashes as many nodes as the layer has, so it is for workers.

use super::MAX_ASKED;
use crate::{
    base::{
        geometry::Geometry,
        merkle::{self, Node},
        trees::{FileTree, Trees},
    },
    wire::hash_range::HashRange,
};

/// The hashes of a range of a piece layer, and the uncles that were asked for. `None` if that is
/// not known, or there is no such range.
pub fn answer(trees: &Trees, range: &HashRange) -> Option<Vec<Node>> {
    let tree = tree_of(trees, range)?;
    let base = trees.piece_height();
    if range.base != base || !tree.has_layer() {
        return None;
    }
    let layer = trees.layer(tree)?;
    let mut hashes = part(layer, range, base)?;
    hashes.extend(uncles(layer, range, base, range.height(), range.uncles())?);
    Some(hashes)
}

/// Of which piece the leaves are that a peer asks for, if it asks for leaves that can be given:
/// those of one piece.
pub fn leaves_of(trees: &Trees, geometry: &Geometry, range: &HashRange) -> Option<u32> {
    let tree = tree_of(trees, range).filter(|_| range.base == 0)?;
    let leaves = geometry.leaves(geometry.piece(tree.first).ok()?);
    let piece = tree.first.checked_add(range.index.checked_div(leaves)?)?;
    (range.len <= leaves && piece - tree.first < tree.pieces).then_some(piece)
}

/// The hashes of a range of leaves, which are of this piece of the file, and the uncles that were
/// asked for. `None` also if the leaves are not those of the piece: what was read of a disk may
/// have rotted since it was verified.
pub fn answer_leaves(
    trees: &Trees,
    geometry: &Geometry,
    range: &HashRange,
    leaves: &[Node],
) -> Option<Vec<Node>> {
    let tree = tree_of(trees, range)?;
    let width = geometry.leaves(geometry.piece(tree.first).ok()?);
    let piece = geometry.piece(leaves_of(trees, geometry, range)?).ok()?;
    if merkle::root(leaves, 0, width as usize) != Some(trees.piece(piece)?) {
        return None;
    }
    let within = HashRange { index: range.index.checked_rem(width)?, ..*range };
    let inside = width.ilog2().checked_sub(range.height())?;
    let mut hashes = part(leaves, &within, 0)?;
    let wanted = range.uncles();
    hashes.extend(uncles_of(leaves, width as usize, &within, 0, wanted.min(inside))?);
    if let Some(above) = wanted.checked_sub(inside).filter(|above| *above > 0) {
        let layer = trees.layer(tree)?;
        let piece = HashRange { index: range.index / width, len: 1, ..*range };
        hashes.extend(uncles(layer, &piece, trees.piece_height(), 0, above)?);
    }
    Some(hashes)
}

/// The tree that a sound range is within.
fn tree_of<'a>(trees: &'a Trees, range: &HashRange) -> Option<&'a FileTree> {
    let tree = trees.of_root(&range.root).next()?;
    let height = tree.height();
    let width = 1_u64.checked_shl(height.checked_sub(range.base)?)?;
    let end = u64::from(range.index) + u64::from(range.len);
    let is_within = end <= width && range.proofs < height - range.base;
    (range.is_sound() && range.len <= MAX_ASKED && is_within).then_some(tree)
}

/// The hashes of the range itself, padded behind the last that the layer has.
fn part(layer: &[Node], range: &HashRange, base: u32) -> Option<Vec<Node>> {
    let (from, len) = (range.index as usize, range.len as usize);
    let end = from.checked_add(len)?.min(layer.len());
    let mut hashes = layer.get(from.min(end)..end)?.to_vec();
    hashes.resize(len, merkle::padding(base));
    Some(hashes)
}

fn uncles(
    layer: &[Node],
    range: &HashRange,
    base: u32,
    skipped: u32,
    count: u32,
) -> Option<Vec<Node>> {
    debug_assert_eq!(range.height(), skipped);
    uncles_of(layer, layer.len().next_power_of_two(), range, base, count)
}

/// The siblings of the nodes on the way up from what the range is below, nearest first. The layer
/// is at the height `base` and has `width` nodes, those that are not there being padding.
fn uncles_of(
    layer: &[Node],
    width: usize,
    range: &HashRange,
    base: u32,
    count: u32,
) -> Option<Vec<Node>> {
    let mut place = u64::from(range.index) >> range.height();
    let mut span = range.len as usize;
    let mut uncles = Vec::with_capacity(count as usize);
    for _ in 0..count {
        if span >= width {
            return None;
        }
        let from = usize::try_from(place ^ 1).ok()?.checked_mul(span)?;
        let end = from.checked_add(span)?.min(layer.len());
        let nodes = layer.get(from.min(end)..end)?;
        uncles.push(merkle::root(nodes, base, span)?);
        place >>= 1;
        span *= 2;
    }
    Some(uncles)
}
