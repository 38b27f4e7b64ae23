//! Piece layers in a file of their own, beside the state of a torrent whose metainfo came without
//! them (BEP 52): a dictionary with `piece layers`, as metainfo files have them.
//!
//! It needs no checksum: what is not below the roots of the torrent is not taken.

use super::{builder, fields::Result, v2};
use crate::{
    base::trees::Trees,
    wire::bencode::{Document, Encoder, Limits},
};

/// Bytes beside the roots and hashes: the key, and what bencoding adds to all of it.
const OVERHEAD: usize = 64;
/// Bytes that a layer has beside its hashes: its root, and both lengths.
const PER_FILE: usize = 64;

/// The file with the layers that are known of `trees`.
pub(crate) fn encode(trees: &Trees) -> Vec<u8> {
    let mut e = Encoder::new();
    e.dict();
    builder::encode_layers(e.key(b"piece layers"), trees);
    e.end();
    e.finish()
}

/// The most bytes that the file of a torrent with these trees may have.
pub(crate) fn max_len(trees: &Trees) -> usize {
    let hashes: usize = trees.files().iter().map(|tree| tree.pieces as usize).sum();
    let files = trees.files().len().saturating_mul(PER_FILE);
    hashes.saturating_mul(size_of::<crate::base::merkle::Node>()) + files + OVERHEAD
}

/// Adds the layers of a file to those that `trees` knows.
///
/// # Errors
/// If it is no such file, or a layer is not the torrent's.
pub(crate) fn decode(bytes: &[u8], trees: &mut Trees) -> Result<()> {
    let limits = Limits {
        bytes: max_len(trees),
        depth: 3,
        tokens: trees.files().len().saturating_mul(2).saturating_add(8),
    };
    let document = Document::parse_with(bytes, &limits)?;
    v2::layers(document.root(), trees)
}
