//! What peers say after the handshake (BEP 3, 5, 6, 10, 52): one frame to one value that borrows
//! from it, and back.
//!
//! Lengths are checked exactly; whether a piece exists or a message is allowed now is not known
//! here.

#[cfg(test)]
mod tests;

use bytes::BufMut;
use nom::{
    IResult, Parser,
    combinator::{map, rest},
    number::complete::{be_u8, be_u16, be_u32},
};
use thiserror::Error;

use super::hash_range::{HASH_RANGE_LEN, HashRange};

/// Bytes of a piece message before its data, the frame's length included.
pub const PIECE_HEADER_LEN: usize = 13;

/// One message. Its numbers are the other side's claims.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Nothing to say (BEP 3).
    KeepAlive,
    /// Requests will not be answered (BEP 3).
    Choke,
    /// Requests will be answered (BEP 3).
    Unchoke,
    /// The sender would request if it were unchoked (BEP 3).
    Interested,
    /// The sender would not (BEP 3).
    NotInterested,
    /// The sender has this piece now (BEP 3).
    Have(u32),
    /// All that the sender has, first of all messages (BEP 3).
    Bitfield(&'a [u8]),
    /// Asks for a range of a piece (BEP 3).
    Request {
        /// The piece.
        piece: u32,
        /// First byte within the piece.
        begin: u32,
        /// Bytes.
        len: u32,
    },
    /// A range of a piece (BEP 3).
    Piece {
        /// The piece.
        piece: u32,
        /// First byte within the piece.
        begin: u32,
        /// The data; may be empty here.
        data: &'a [u8],
    },
    /// Takes a request back (BEP 3).
    Cancel {
        /// The piece.
        piece: u32,
        /// First byte within the piece.
        begin: u32,
        /// Bytes.
        len: u32,
    },
    /// The UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// A piece that the sender could serve cheaply (BEP 6).
    Suggest(u32),
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// A request will not be answered (BEP 6).
    Reject {
        /// The piece.
        piece: u32,
        /// First byte within the piece.
        begin: u32,
        /// Bytes.
        len: u32,
    },
    /// A piece that may be requested even while choked (BEP 6).
    AllowedFast(u32),
    /// A message of the extension protocol (BEP 10): 0 is its handshake, others are what the
    /// receiver's handshake named.
    Extended {
        /// The extended message's own id.
        id: u8,
        /// The rest.
        payload: &'a [u8],
    },
    /// Asks for hashes of a merkle tree (BEP 52).
    HashRequest(HashRange),
    /// Hashes of a merkle tree, with what proves them (BEP 52).
    Hashes {
        /// Which, as they were asked for.
        range: HashRange,
        /// 32 bytes each: those of the range, then the uncles, the nearest first.
        hashes: &'a [[u8; 32]],
    },
    /// A request for hashes will not be answered (BEP 52).
    HashReject(HashRange),
    /// An id that is not known here; to be ignored.
    Unknown {
        /// The id.
        id: u8,
        /// The rest.
        payload: &'a [u8],
    },
}

/// A message whose length cannot be right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "{name} message of {got} bytes where {} {want} are needed",
    if *.exact { "exactly" } else { "at least" }
)]
pub struct MessageError {
    /// What the id says it is.
    pub name: &'static str,
    /// Bytes in the frame, the id included.
    pub got: u32,
    /// Bytes needed, the id included.
    pub want: u32,
    /// Whether there may be no more than that.
    pub exact: bool,
}

mod id {
    pub(super) const CHOKE: u8 = 0;
    pub(super) const UNCHOKE: u8 = 1;
    pub(super) const INTERESTED: u8 = 2;
    pub(super) const NOT_INTERESTED: u8 = 3;
    pub(super) const HAVE: u8 = 4;
    pub(super) const BITFIELD: u8 = 5;
    pub(super) const REQUEST: u8 = 6;
    pub(super) const PIECE: u8 = 7;
    pub(super) const CANCEL: u8 = 8;
    pub(super) const PORT: u8 = 9;
    pub(super) const SUGGEST: u8 = 13;
    pub(super) const HAVE_ALL: u8 = 14;
    pub(super) const HAVE_NONE: u8 = 15;
    pub(super) const REJECT: u8 = 16;
    pub(super) const ALLOWED_FAST: u8 = 17;
    pub(super) const EXTENDED: u8 = 20;
    pub(super) const HASH_REQUEST: u8 = 21;
    pub(super) const HASHES: u8 = 22;
    pub(super) const HASH_REJECT: u8 = 23;
}

/// Checks the length of a frame, id included, against what its id allows.
pub(super) fn check_len(id: u8, got: u32) -> Result<(), MessageError> {
    let (name, want, exact) = match id {
        id::CHOKE => ("choke", 1, true),
        id::UNCHOKE => ("unchoke", 1, true),
        id::INTERESTED => ("interested", 1, true),
        id::NOT_INTERESTED => ("not interested", 1, true),
        id::HAVE => ("have", 5, true),
        id::REQUEST => ("request", 13, true),
        id::PIECE => ("piece", 9, false),
        id::CANCEL => ("cancel", 13, true),
        id::PORT => ("port", 3, true),
        id::SUGGEST => ("suggest", 5, true),
        id::HAVE_ALL => ("have all", 1, true),
        id::HAVE_NONE => ("have none", 1, true),
        id::REJECT => ("reject", 13, true),
        id::ALLOWED_FAST => ("allowed fast", 5, true),
        id::EXTENDED => ("extended", 2, false),
        id::HASH_REQUEST => ("hash request", 49, true),
        id::HASHES => ("hashes", 49 + (got.saturating_sub(49) & !31), true),
        id::HASH_REJECT => ("hash reject", 49, true),
        _ => return Ok(()),
    };
    let fits = if exact { got == want } else { got >= want };
    if fits { Ok(()) } else { Err(MessageError { name, got, want, exact }) }
}

impl<'a> Message<'a> {
    /// Reads one frame without its length. An empty frame is a keep-alive.
    ///
    /// # Errors
    /// If the frame's length is not one that its id allows.
    pub fn decode(frame: &'a [u8]) -> Result<Self, MessageError> {
        let Some(&id) = frame.first() else {
            return Ok(Self::KeepAlive);
        };
        let got = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        check_len(id, got)?;
        // The length has been checked, so this cannot fail; if it did, the length would be what is
        // wrong.
        let wrong = |_| MessageError { name: "unreadable", got, want: got, exact: true };
        body(frame).map(|(_, message)| message).map_err(wrong)
    }

    /// Appends the frame, its length included, to `out`.
    pub fn encode_into(&self, out: &mut impl BufMut) {
        match *self {
            Self::KeepAlive => out.put_u32(0),
            Self::Choke => put(out, id::CHOKE, &[], &[]),
            Self::Unchoke => put(out, id::UNCHOKE, &[], &[]),
            Self::Interested => put(out, id::INTERESTED, &[], &[]),
            Self::NotInterested => put(out, id::NOT_INTERESTED, &[], &[]),
            Self::Have(piece) => put(out, id::HAVE, &[piece], &[]),
            Self::Bitfield(bits) => put(out, id::BITFIELD, &[], bits),
            Self::Request { piece, begin, len } => put(out, id::REQUEST, &[piece, begin, len], &[]),
            Self::Piece { piece, begin, data } => put(out, id::PIECE, &[piece, begin], data),
            Self::Cancel { piece, begin, len } => put(out, id::CANCEL, &[piece, begin, len], &[]),
            Self::Port(port) => put(out, id::PORT, &[], &port.to_be_bytes()),
            Self::Suggest(piece) => put(out, id::SUGGEST, &[piece], &[]),
            Self::HaveAll => put(out, id::HAVE_ALL, &[], &[]),
            Self::HaveNone => put(out, id::HAVE_NONE, &[], &[]),
            Self::Reject { piece, begin, len } => put(out, id::REJECT, &[piece, begin, len], &[]),
            Self::AllowedFast(piece) => put(out, id::ALLOWED_FAST, &[piece], &[]),
            Self::Extended { id, payload } => {
                put_len(out, 2 + payload.len());
                out.put_slice(&[id::EXTENDED, id]);
                out.put_slice(payload);
            }
            Self::HashRequest(range) => put(out, id::HASH_REQUEST, &[], &range.encode()),
            Self::Hashes { range, hashes } => {
                put_len(out, 1 + HASH_RANGE_LEN + 32 * hashes.len());
                out.put_u8(id::HASHES);
                out.put_slice(&range.encode());
                out.put_slice(hashes.as_flattened());
            }
            Self::HashReject(range) => put(out, id::HASH_REJECT, &[], &range.encode()),
            Self::Unknown { id, payload } => put(out, id, &[], payload),
        }
    }
}

/// The frame of a piece message up to its data, which is sent from elsewhere. `len` is the length
/// of the data, at most 2^32 - 10.
pub fn piece_header(piece: u32, begin: u32, len: u32) -> [u8; PIECE_HEADER_LEN] {
    let mut out = [0; PIECE_HEADER_LEN];
    out[..4].copy_from_slice(&len.saturating_add(9).to_be_bytes());
    out[4] = id::PIECE;
    out[5..9].copy_from_slice(&piece.to_be_bytes());
    out[9..].copy_from_slice(&begin.to_be_bytes());
    out
}

fn put(out: &mut impl BufMut, id: u8, numbers: &[u32], tail: &[u8]) {
    put_len(out, 1 + 4 * numbers.len() + tail.len());
    out.put_u8(id);
    numbers.iter().for_each(|&n| out.put_u32(n));
    out.put_slice(tail);
}

fn put_len(out: &mut impl BufMut, len: usize) {
    let len = u32::try_from(len);
    debug_assert!(len.is_ok(), "no frame is that long");
    out.put_u32(len.unwrap_or(u32::MAX));
}

fn body(frame: &[u8]) -> IResult<&[u8], Message<'_>> {
    let (input, id) = be_u8(frame)?;
    match id {
        id::CHOKE => Ok((input, Message::Choke)),
        id::UNCHOKE => Ok((input, Message::Unchoke)),
        id::INTERESTED => Ok((input, Message::Interested)),
        id::NOT_INTERESTED => Ok((input, Message::NotInterested)),
        id::HAVE => map(be_u32, Message::Have).parse(input),
        id::BITFIELD => map(rest, Message::Bitfield).parse(input),
        id::REQUEST => {
            map(range, |(piece, begin, len)| Message::Request { piece, begin, len }).parse(input)
        }
        id::PIECE => map((be_u32, be_u32, rest), |(piece, begin, data)| Message::Piece {
            piece,
            begin,
            data,
        })
        .parse(input),
        id::CANCEL => {
            map(range, |(piece, begin, len)| Message::Cancel { piece, begin, len }).parse(input)
        }
        id::PORT => map(be_u16, Message::Port).parse(input),
        id::SUGGEST => map(be_u32, Message::Suggest).parse(input),
        id::HAVE_ALL => Ok((input, Message::HaveAll)),
        id::HAVE_NONE => Ok((input, Message::HaveNone)),
        id::REJECT => {
            map(range, |(piece, begin, len)| Message::Reject { piece, begin, len }).parse(input)
        }
        id::ALLOWED_FAST => map(be_u32, Message::AllowedFast).parse(input),
        id::EXTENDED => {
            map((be_u8, rest), |(id, payload)| Message::Extended { id, payload }).parse(input)
        }
        id::HASH_REQUEST => map(HashRange::parse, Message::HashRequest).parse(input),
        id::HASHES => map((HashRange::parse, rest), |(range, hashes): (_, &[u8])| {
            Message::Hashes { range, hashes: hashes.as_chunks().0 }
        })
        .parse(input),
        id::HASH_REJECT => map(HashRange::parse, Message::HashReject).parse(input),
        _ => map(rest, |payload| Message::Unknown { id, payload }).parse(input),
    }
}

fn range(input: &[u8]) -> IResult<&[u8], (u32, u32, u32)> {
    (be_u32, be_u32, be_u32).parse(input)
}
