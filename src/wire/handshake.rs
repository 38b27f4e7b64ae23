//! The 68 bytes that open a connection (BEP 3), in the two steps in which they become known. Whose
//! torrent it is and whether the peer is welcome is decided elsewhere.

use std::fmt;

use nom::{
    Err, IResult, Parser,
    bytes::streaming::{tag, take},
    combinator::map,
    sequence::{pair, preceded},
};
use thiserror::Error;

use crate::base::ids::{InfoHash, PeerId};

/// Bytes of a handshake.
pub const HANDSHAKE_LEN: usize = 68;
/// Bytes of a handshake up to and including the info-hash.
pub const HANDSHAKE_HEAD_LEN: usize = 48;

/// The length of the protocol's name and the name.
pub const PROTOCOL: &[u8] = b"\x13BitTorrent protocol";

/// The eight bytes in which a peer says what else it speaks. Unknown bits are kept and mean
/// nothing.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    const EXTENSIONS: (usize, u8) = (5, 0x10);
    const DHT: (usize, u8) = (7, 0x01);
    const FAST: (usize, u8) = (7, 0x04);
    const V2: (usize, u8) = (7, 0x10);

    /// Whether the fast extension is spoken (BEP 6).
    pub fn fast(self) -> bool {
        self.has(Self::FAST)
    }

    /// Whether the extension protocol is spoken (BEP 10).
    pub fn extensions(self) -> bool {
        self.has(Self::EXTENSIONS)
    }

    /// Whether there is a DHT node, so that a port message may come (BEP 5).
    pub fn dht(self) -> bool {
        self.has(Self::DHT)
    }

    /// Whether version 2 of a hybrid torrent is spoken, too, so that the answer to its v1 hash may
    /// be its v2 hash (BEP 52, "Upgrade Path").
    pub fn v2(self) -> bool {
        self.has(Self::V2)
    }

    /// With the fast extension.
    #[must_use]
    pub fn with_fast(self) -> Self {
        self.with(Self::FAST)
    }

    /// With the extension protocol.
    #[must_use]
    pub fn with_extensions(self) -> Self {
        self.with(Self::EXTENSIONS)
    }

    /// With the DHT.
    #[must_use]
    pub fn with_dht(self) -> Self {
        self.with(Self::DHT)
    }

    /// With version 2 of the torrent.
    #[must_use]
    pub fn with_v2(self) -> Self {
        self.with(Self::V2)
    }

    fn has(self, (at, bit): (usize, u8)) -> bool {
        self.0[at] & bit != 0
    }

    fn with(mut self, (at, bit): (usize, u8)) -> Self {
        self.0[at] |= bit;
        self
    }
}

impl fmt::Debug for Reserved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reserved({:016x})", u64::from_be_bytes(self.0))
    }
}

/// What opens a connection, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// What else the sender speaks.
    pub reserved: Reserved,
    /// The torrent that the connection is about.
    pub info_hash: InfoHash,
    /// The sender's id; it proves nothing.
    pub peer_id: PeerId,
}

/// The part of a handshake that tells the torrent. One who accepts a connection can answer as soon
/// as it has this.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeHead {
    /// What else the sender speaks.
    pub reserved: Reserved,
    /// The torrent that the connection is about.
    pub info_hash: InfoHash,
}

/// The other side does not speak this protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a BitTorrent handshake: {byte:#04x} at byte {at}")]
pub struct HandshakeError {
    /// The first byte that is wrong.
    pub at: usize,
    /// Its value.
    pub byte: u8,
}

impl HandshakeHead {
    /// Reads the first [`HANDSHAKE_HEAD_LEN`] bytes of `bytes`; `None` as long as they may yet
    /// come.
    ///
    /// # Errors
    /// At the first byte that differs from the protocol's name, however few there are.
    pub fn parse(bytes: &[u8]) -> Result<Option<Self>, HandshakeError> {
        settle(head(bytes), bytes).map(|found| found.map(|(head, _)| head))
    }
}

impl Handshake {
    /// Reads a handshake at the start of `bytes` and tells how many of them it took,
    /// [`HANDSHAKE_LEN`]; `None` as long as the rest may yet come.
    ///
    /// # Errors
    /// At the first byte that differs from the protocol's name, however few there are.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, HandshakeError> {
        settle(handshake(bytes), bytes)
    }

    /// The wire's form.
    pub fn encode(&self) -> [u8; HANDSHAKE_LEN] {
        let mut out = [0; HANDSHAKE_LEN];
        out[..20].copy_from_slice(PROTOCOL);
        out[20..28].copy_from_slice(&self.reserved.0);
        out[28..48].copy_from_slice(&self.info_hash.0);
        out[48..].copy_from_slice(&self.peer_id.0);
        out
    }
}

fn handshake(input: &[u8]) -> IResult<&[u8], Handshake> {
    map(pair(head, array), |(HandshakeHead { reserved, info_hash }, id)| Handshake {
        reserved,
        info_hash,
        peer_id: PeerId(id),
    })
    .parse(input)
}

fn head(input: &[u8]) -> IResult<&[u8], HandshakeHead> {
    let (input, (reserved, hash)) = preceded(tag(PROTOCOL), pair(array, array)).parse(input)?;
    Ok((input, HandshakeHead { reserved: Reserved(reserved), info_hash: InfoHash(hash) }))
}

fn array<const N: usize>(input: &[u8]) -> IResult<&[u8], [u8; N]> {
    let (rest, bytes): (_, &[u8]) = take(N).parse(input)?;
    let mut out = [0; N];
    out.copy_from_slice(bytes);
    Ok((rest, out))
}

fn settle<T>(found: IResult<&[u8], T>, bytes: &[u8]) -> Result<Option<(T, usize)>, HandshakeError> {
    match found {
        Ok((rest, value)) => Ok(Some((value, bytes.len() - rest.len()))),
        Err(Err::Incomplete(_)) => Ok(None),
        // Only the protocol's name can be wrong.
        Err(Err::Error(_) | Err::Failure(_)) => {
            let wrong = bytes.iter().zip(PROTOCOL).enumerate().find(|(_, (got, want))| got != want);
            let (at, byte) = wrong.map_or((0, 0), |(at, (&byte, _))| (at, byte));
            Err(HandshakeError { at, byte })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Handshake {
        Handshake {
            reserved: Reserved::default().with_fast().with_extensions(),
            info_hash: InfoHash([0xaa; 20]),
            peer_id: PeerId(*b"-CT0200-abcdefghijkl"),
        }
    }

    #[test]
    fn the_wire_form_is_that_of_the_beps() {
        let bytes = sample().encode();
        assert_eq!(&bytes[..20], b"\x13BitTorrent protocol");
        assert_eq!(bytes[20..28], [0, 0, 0, 0, 0, 0x10, 0, 0x04]);
        assert_eq!(Reserved::default().with_dht().0, [0, 0, 0, 0, 0, 0, 0, 0x01]);
        assert_eq!(Reserved::default().with_v2().0, [0, 0, 0, 0, 0, 0, 0, 0x10]);
        assert_eq!(bytes[28..48], [0xaa; 20]);
        assert_eq!(&bytes[48..], b"-CT0200-abcdefghijkl");
        let all = Reserved([0xff; 8]);
        assert!(all.fast() && all.extensions() && all.dht() && all.v2());
        let none = Reserved([!0, !0, !0, !0, !0, !0x10, !0, !0x15]);
        assert!(!none.fast() && !none.extensions() && !none.dht() && !none.v2());
    }

    #[test]
    fn info_hash_is_known_before_the_peer_id() {
        let bytes = [&sample().encode()[..], b"more"].concat();
        for len in 0..=bytes.len() {
            let prefix = &bytes[..len];
            let Handshake { reserved, info_hash, .. } = sample();
            let head = (len >= HANDSHAKE_HEAD_LEN).then_some(HandshakeHead { reserved, info_hash });
            assert_eq!(HandshakeHead::parse(prefix), Ok(head));
            let whole = (len >= HANDSHAKE_LEN).then_some((sample(), HANDSHAKE_LEN));
            assert_eq!(Handshake::parse(prefix), Ok(whole));
        }
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_wrong_byte() {
        for at in 0..20 {
            let mut bytes = sample().encode();
            bytes[at] ^= 0x20;
            let error = HandshakeError { at, byte: bytes[at] };
            for len in 0..=bytes.len() {
                let expected = if len <= at { Ok(None) } else { Err(error) };
                assert_eq!(
                    HandshakeHead::parse(&bytes[..len]).map(|h| h.map(|_| ())),
                    if len <= at { Ok(None) } else { Err(error) }
                );
                assert_eq!(Handshake::parse(&bytes[..len]), expected);
            }
        }
        assert_eq!(
            Handshake::parse(b"GET / HTTP/1.1").unwrap_err().to_string(),
            "not a BitTorrent handshake: 0x47 at byte 0"
        );
    }
}
