//! Unfinished pieces as a state file has them: for each its number and the bytes of its set of
//! blocks, both as four bytes, and that set. It does not know how many blocks a piece has; the
//! reader compares that with the torrent.

/// Bytes of all unfinished pieces together: enough for 8 GiB of pieces of any length from 256 KiB
/// on.
pub(super) const MAX_LEN: usize = 64 * 1024;
/// Bytes of an unfinished piece before its blocks.
const HEAD: usize = 8;

/// Which blocks of an unfinished piece were on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumePartial {
    /// The piece.
    pub piece: u32,
    /// One bit a block of 16 KiB, the high bit of the first byte first, as a bitfield of BEP 3.
    pub blocks: Vec<u8>,
}

pub(super) fn encode(pieces: &[ResumePartial]) -> Vec<u8> {
    let mut out = Vec::new();
    for ResumePartial { piece, blocks } in pieces {
        let Ok(len) = u32::try_from(blocks.len()) else { continue };
        if out.len() + HEAD + blocks.len() > MAX_LEN {
            break;
        }
        out.extend_from_slice(&piece.to_be_bytes());
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(blocks);
    }
    out
}

/// `None` if it is too long or cut off, or the pieces are not ascending or not of a torrent of
/// `piece_count`.
pub(super) fn decode(mut bytes: &[u8], piece_count: u32) -> Option<Vec<ResumePartial>> {
    if bytes.len() > MAX_LEN {
        return None;
    }
    let mut pieces: Vec<ResumePartial> = Vec::new();
    while !bytes.is_empty() {
        let (head, rest) = bytes.split_first_chunk::<HEAD>()?;
        let head = u64::from_be_bytes(*head);
        let (piece, len) = ((head >> 32) as u32, head as u32 as usize);
        let (blocks, rest) = rest.split_at_checked(len)?;
        let ascending = pieces.last().is_none_or(|last| last.piece < piece);
        if piece >= piece_count || len == 0 || !ascending {
            return None;
        }
        pieces.push(ResumePartial { piece, blocks: blocks.to_vec() });
        bytes = rest;
    }
    Some(pieces)
}
