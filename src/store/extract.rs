//! Bytes of a torrent for its user: read where they are, and hashed unless their piece is verified.
//! What is handed out is what was hashed. It knows no user and does not know why a block is in
//! memory.

use super::torrent::Torrent;
use crate::base::{
    geometry::{BLOCK_LEN, Block, PieceIndex},
    job::extract::{Extract, ExtractError, ExtractProof},
    merkle,
    storage::{ReadPart, Reading, StoreError},
};

/// The bytes of all parts, one after the other.
pub(super) fn extract(torrent: &Torrent, parts: &[Extract]) -> Result<Vec<u8>, ExtractError> {
    let mut bytes = vec![0; parts.iter().map(|part| part.range.len as usize).sum()];
    let mut rest = bytes.as_mut_slice();
    let mut reads = Vec::new();
    for part in parts {
        let Block { piece, begin, len } = part.range;
        let (to, after) = std::mem::take(&mut rest).split_at_mut(len as usize);
        rest = after;
        let place = torrent.part(piece, begin, u64::from(len))?;
        match &part.proof {
            ExtractProof::Piece => reads.push(ReadPart { offset: place.start, buf: to }),
            ExtractProof::Leaf { leaf, block } => {
                let read;
                let block = match block {
                    Some(block) => block,
                    None => {
                        read = whole_block(torrent, piece, begin)?;
                        &read
                    }
                };
                if merkle::leaf(block) != *leaf {
                    return Err(ExtractError::Bad(piece));
                }
                let from = (begin % BLOCK_LEN) as usize;
                let wanted = block.get(from..).and_then(|tail| tail.get(..to.len()));
                to.copy_from_slice(wanted.ok_or_else(|| crosses_blocks(torrent, part.range))?);
            }
        }
    }
    if !reads.is_empty() {
        torrent.storage.read(&mut reads, Reading::Unchanged)?;
    }
    Ok(bytes)
}

/// All of the block that byte `begin` of a piece is in.
fn whole_block(torrent: &Torrent, piece: PieceIndex, begin: u32) -> Result<Vec<u8>, StoreError> {
    let whole = torrent.piece(piece)?;
    let start = whole.start + u64::from(begin - begin % BLOCK_LEN);
    let len = whole.end.saturating_sub(start).min(u64::from(BLOCK_LEN));
    let mut block = vec![0; len as usize];
    let part = ReadPart { offset: start, buf: &mut block };
    torrent.storage.read(&mut [part], Reading::Unchanged)?;
    Ok(block)
}

fn crosses_blocks(torrent: &Torrent, range: Block) -> StoreError {
    let (begin, len) = (range.begin, range.len);
    torrent.misplaced(format!("bytes {begin}+{len} of a piece, which are of several blocks"))
}
