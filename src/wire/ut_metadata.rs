//! The messages of `ut_metadata` (BEP 9), by which peers pass on the info dictionary in blocks of
//! 16 KiB. What a peer says of its size is its claim: this checks that a block fits the claim, and
//! knows neither the dictionary nor its hash.

#[cfg(test)]
mod tests;

use thiserror::Error;

use super::bencode::{BencodeError, Document, Encoder, Limits};

/// The name of the extension (BEP 10).
pub const UT_METADATA: &[u8] = b"ut_metadata";
/// Bytes of a block; only the last may be shorter.
pub const METADATA_BLOCK: u32 = 16 * 1024;
/// The longest message that is read, in bytes: a block with its dictionary.
pub const MAX_METADATA_MESSAGE: usize = METADATA_BLOCK as usize + 1024;
/// The dictionary has three entries; a later version may add some.
const LIMITS: Limits = Limits { bytes: MAX_METADATA_MESSAGE, depth: 8, tokens: 64 };

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMessage<'a> {
    /// The sender wants a block.
    Request {
        /// Its index.
        block: u32,
    },
    /// A block.
    Data {
        /// Its index.
        block: u32,
        /// Bytes of the whole info dictionary, as the sender claims; never 0.
        total: u32,
        /// Exactly as many bytes as the block has under that claim.
        data: &'a [u8],
    },
    /// The sender does not give a block.
    Reject {
        /// Its index.
        block: u32,
    },
    /// A message of a later version, to be ignored (BEP 9).
    Unknown {
        /// Its type.
        kind: i64,
    },
}

/// Why a payload is no message of this extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MetadataMessageError {
    /// It is too long.
    #[error("metadata message of {0} bytes exceeds {MAX_METADATA_MESSAGE}")]
    TooLong(usize),
    /// It does not begin with something bencoded.
    #[error("metadata message is not valid bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// It lacks a number that it must have, or the number is negative or beyond 32 bits.
    #[error("metadata message has no usable {0:?}")]
    Missing(&'static str),
    /// There is no such block in a dictionary of the claimed size, or it has another length.
    #[error("{len} bytes as metadata block {block} of {total} bytes in all")]
    Block {
        /// Its index.
        block: u32,
        /// Bytes of the whole info dictionary, as claimed.
        total: u32,
        /// Bytes that came.
        len: usize,
    },
}

/// How many blocks an info dictionary of so many bytes has.
pub const fn metadata_blocks(total: u32) -> u32 {
    total.div_ceil(METADATA_BLOCK)
}

/// How many bytes a block has in an info dictionary of so many; `None` if there is no such block.
pub fn metadata_block_len(total: u32, block: u32) -> Option<u32> {
    let begin = block.checked_mul(METADATA_BLOCK)?;
    total.checked_sub(begin).filter(|&left| left > 0).map(|left| left.min(METADATA_BLOCK))
}

impl<'a> MetadataMessage<'a> {
    /// Reads the payload of an extended message. What follows the dictionary is the data of a data
    /// message, and is ignored behind others.
    ///
    /// # Errors
    /// If it is too long, not bencoded, lacks a number, or its data is not of the block's length.
    pub fn decode(payload: &'a [u8]) -> Result<Self, MetadataMessageError> {
        if payload.len() > MAX_METADATA_MESSAGE {
            return Err(MetadataMessageError::TooLong(payload.len()));
        }
        let (document, end) = Document::parse_prefix(payload, &LIMITS)?;
        let int = |key: &[u8]| document.root().get(key).and_then(|v| v.as_int());
        let u32 = |name: &'static str| {
            let value = int(name.as_bytes()).and_then(|n| u32::try_from(n).ok());
            value.ok_or(MetadataMessageError::Missing(name))
        };
        let kind = int(b"msg_type").ok_or(MetadataMessageError::Missing("msg_type"))?;
        match kind {
            0 => Ok(Self::Request { block: u32("piece")? }),
            1 => {
                let (block, total) = (u32("piece")?, u32("total_size")?);
                let data = payload.get(end..).unwrap_or_default();
                match metadata_block_len(total, block) {
                    Some(len) if len as usize == data.len() => {
                        Ok(Self::Data { block, total, data })
                    }
                    _ => Err(MetadataMessageError::Block { block, total, len: data.len() }),
                }
            }
            2 => Ok(Self::Reject { block: u32("piece")? }),
            kind => Ok(Self::Unknown { kind }),
        }
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, block, total, data) = match *self {
            Self::Request { block } => (0, Some(block), None, &[][..]),
            Self::Data { block, total, data } => (1, Some(block), Some(total), data),
            Self::Reject { block } => (2, Some(block), None, &[][..]),
            Self::Unknown { kind } => (kind, None, None, &[][..]),
        };
        let mut e = Encoder::new();
        e.dict().key(b"msg_type").int(kind);
        if let Some(block) = block {
            e.key(b"piece").int(i64::from(block));
        }
        if let Some(total) = total {
            e.key(b"total_size").int(i64::from(total));
        }
        e.end();
        let mut out = e.finish();
        out.extend_from_slice(data);
        out
    }
}
