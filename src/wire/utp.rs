//! Packets of uTP (BEP 29): the header, its extensions (selective ACK, reason of a close), the
//! payload behind them.
//!
//! A packet is read in place. What its numbers mean for a connection is not known here. Extensions
//! that are not known are passed over by their length.

use thiserror::Error;

/// Bytes of a header without extensions.
pub const HEADER_LEN: usize = 20;
/// Bytes of the largest selective ACK that is sent: its length is one byte, and a multiple of four.
pub const MAX_SACK: usize = 252;
/// Bytes of the largest header that is sent: the extension has a header of two bytes.
pub const MAX_HEADER_LEN: usize = HEADER_LEN + 2 + MAX_SACK;

const VERSION: u8 = 1;
const SACK: u8 = 1;
/// The reason of a close, as libtorrent and uTorrent send it: two zero bytes, two of the reason.
const CLOSE_REASON: u8 = 3;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Bytes of the stream.
    Data,
    /// The end of the stream: no packet has a higher sequence number.
    Fin,
    /// An acknowledgement without bytes. It has no sequence number of its own.
    State,
    /// The connection is not known (any more).
    Reset,
    /// A connection is wanted.
    Syn,
}

impl Kind {
    fn of(byte: u8) -> Option<Self> {
        Some(match byte {
            0 => Self::Data,
            1 => Self::Fin,
            2 => Self::State,
            3 => Self::Reset,
            4 => Self::Syn,
            _ => return None,
        })
    }

    fn byte(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::Fin => 1,
            Self::State => 2,
            Self::Reset => 3,
            Self::Syn => 4,
        }
    }
}

/// The fixed part of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// The number of the connection, as its receiver knows it (of a SYN: as its sender does).
    pub connection: u16,
    /// When it was sent, in microseconds of the sender's clock, which wraps.
    pub timestamp: u32,
    /// Receiving time less timestamp of the last packet that the sender has received, in
    /// microseconds, which wraps. 0: there is none.
    pub delay: u32,
    /// Bytes that the sender has room for.
    pub window: u32,
    /// The packet's sequence number; of a STATE the next one that will be used.
    pub seq: u16,
    /// The last sequence number up to which the sender has received everything.
    pub ack: u16,
}

/// A packet, which borrows what it was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The fixed part.
    pub header: Header,
    /// What has come behind a gap: bit 0 of the first byte is the sequence number `ack + 2`, and
    /// so on upwards, the lowest bit of each byte first. `ack + 1` is missing. May be empty. BEP 29
    /// has it a multiple of four bytes long; libtorrent sends any length.
    pub sack: &'a [u8],
    /// Why the sender closes the connection, if it says so.
    pub close_reason: Option<u16>,
    /// Bytes of the stream.
    pub payload: &'a [u8],
}

/// Why bytes are not a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PacketError {
    /// There are fewer than its header and extensions need.
    #[error("a uTP packet of {0} bytes is shorter than its header")]
    Short(usize),
    /// Another version, or no uTP at all.
    #[error("first byte {0:#04x} is no uTP packet of version 1")]
    Kind(u8),
}

impl<'a> Packet<'a> {
    /// Reads a datagram.
    ///
    /// # Errors
    /// If it is no packet of version 1, or ends within its header. It fails on nothing else.
    pub fn decode(data: &'a [u8]) -> Result<Self, PacketError> {
        let short = PacketError::Short(data.len());
        let (fixed, mut rest) = data.split_first_chunk::<HEADER_LEN>().ok_or(short)?;
        let [
            first,
            mut extension,
            c0,
            c1,
            t0,
            t1,
            t2,
            t3,
            d0,
            d1,
            d2,
            d3,
            w0,
            w1,
            w2,
            w3,
            s0,
            s1,
            a0,
            a1,
        ] = *fixed;
        let kind = Kind::of(first >> 4).filter(|_| first & 0x0F == VERSION);
        let header = Header {
            kind: kind.ok_or(PacketError::Kind(first))?,
            connection: u16::from_be_bytes([c0, c1]),
            timestamp: u32::from_be_bytes([t0, t1, t2, t3]),
            delay: u32::from_be_bytes([d0, d1, d2, d3]),
            window: u32::from_be_bytes([w0, w1, w2, w3]),
            seq: u16::from_be_bytes([s0, s1]),
            ack: u16::from_be_bytes([a0, a1]),
        };
        let (mut sack, mut close_reason) = (&[][..], None);
        // Each takes two bytes or more of the packet, so this ends.
        while extension != 0 {
            let ([next, len], behind) = rest.split_first_chunk::<2>().ok_or(short)?;
            let (body, behind) = behind.split_at_checked(usize::from(*len)).ok_or(short)?;
            match (extension, body) {
                (SACK, body) => sack = body,
                (CLOSE_REASON, &[_, _, high, low]) => {
                    close_reason = Some(u16::from_be_bytes([high, low]));
                }
                _ => {}
            }
            (extension, rest) = (*next, behind);
        }
        Ok(Self { header, sack, close_reason, payload: rest })
    }

    /// Appends the packet to `out`. A selective ACK beyond [`MAX_SACK`] bytes is cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        encode_header(&self.header, self.sack, self.close_reason, out);
        out.extend_from_slice(self.payload);
    }

    /// The sequence numbers that the selective ACK names, as distances from `ack`: two and up.
    pub fn sacked(&self) -> impl Iterator<Item = u64> + use<'a> {
        let bytes = (0u64..).zip(self.sack).filter(|(_, byte)| **byte != 0);
        bytes.flat_map(|(at, &byte)| {
            (0..8).filter(move |bit| byte >> bit & 1 == 1).map(move |bit| at * 8 + bit + 2)
        })
    }
}

/// Appends a header with its extensions; what is appended behind it is the payload.
pub fn encode_header(header: &Header, sack: &[u8], close_reason: Option<u16>, out: &mut Vec<u8>) {
    let sack = sack.get(..sack.len().min(MAX_SACK)).unwrap_or_default();
    let after_sack = if close_reason.is_some() { CLOSE_REASON } else { 0 };
    out.push(header.kind.byte() << 4 | VERSION);
    out.push(if sack.is_empty() { after_sack } else { SACK });
    out.extend_from_slice(&header.connection.to_be_bytes());
    out.extend_from_slice(&header.timestamp.to_be_bytes());
    out.extend_from_slice(&header.delay.to_be_bytes());
    out.extend_from_slice(&header.window.to_be_bytes());
    out.extend_from_slice(&header.seq.to_be_bytes());
    out.extend_from_slice(&header.ack.to_be_bytes());
    if !sack.is_empty() {
        out.extend_from_slice(&[after_sack, sack.len() as u8]);
        out.extend_from_slice(sack);
    }
    if let Some(reason) = close_reason {
        let [high, low] = reason.to_be_bytes();
        out.extend_from_slice(&[0, 4, 0, 0, high, low]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header {
        kind: Kind::Data,
        connection: 0x0102,
        timestamp: 0x0304_0506,
        delay: 0x0708_090A,
        window: 0x0B0C_0D0E,
        seq: 0x0F10,
        ack: 0x1112,
    };

    fn packet(extensions: &[u8], first: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x01, first];
        bytes.extend(1..=0x12);
        [&bytes, extensions, payload].concat()
    }

    #[test]
    fn header_has_the_layout_of_bep_29() {
        let bytes = packet(&[], 0, b"abc");
        let packet = Packet { header: HEADER, sack: &[], close_reason: None, payload: b"abc" };
        assert_eq!(Packet::decode(&bytes), Ok(packet));
        let mut out = Vec::new();
        packet.encode(&mut out);
        assert_eq!(out, bytes);
        for (first, kind) in [
            (0x01, Kind::Data),
            (0x11, Kind::Fin),
            (0x21, Kind::State),
            (0x31, Kind::Reset),
            (0x41, Kind::Syn),
        ] {
            let mut bytes = bytes.clone();
            bytes[0] = first;
            let packet = Packet::decode(&bytes).unwrap();
            assert_eq!(packet.header.kind, kind);
            let mut out = Vec::new();
            packet.encode(&mut out);
            assert_eq!(out, bytes);
        }
    }

    #[test]
    fn selective_ack_begins_two_behind_the_ack_with_the_lowest_bit() {
        let bytes = packet(&[0, 4, 0b0000_0101, 0, 0x80, 0], 1, b"");
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!(packet.sacked().collect::<Vec<_>>(), [2, 4, 25]);
    }

    #[test]
    fn extensions_are_passed_over_and_the_close_reason_is_read() {
        // An unknown one of five bytes, a selective ACK, the reason, an empty unknown one.
        let extensions = [1, 5, 9, 9, 9, 9, 9, 3, 4, 1, 0, 0, 0, 7, 4, 0, 0, 1, 2, 0, 0];
        let bytes = packet(&extensions, 2, b"x");
        let packet = Packet::decode(&bytes).unwrap();
        assert_eq!(packet.payload, b"x");
        assert_eq!((packet.sack, packet.close_reason), (&[1, 0, 0, 0][..], Some(0x0102)));
        let mut out = Vec::new();
        packet.encode(&mut out);
        assert_eq!(Packet::decode(&out), Ok(packet));
    }

    #[test]
    fn packet_fails_when_short_or_of_another_version() {
        let whole = packet(&[0, 4, 1, 0, 0, 0], 1, b"");
        for len in 0..whole.len() {
            assert_eq!(Packet::decode(&whole[..len]), Err(PacketError::Short(len)));
        }
        for first in [0x00, 0x02, 0x51, 0xF1, b'd'] {
            let mut bytes = whole.clone();
            bytes[0] = first;
            assert_eq!(Packet::decode(&bytes), Err(PacketError::Kind(first)));
        }
    }

    #[test]
    fn selective_ack_of_libtorrent_has_any_length() {
        for len in [0u8, 1, 3, 5, 255] {
            let mut extension = vec![0, len];
            extension.resize(2 + usize::from(len), 1);
            let bytes = packet(&extension, 1, b"x");
            let packet = Packet::decode(&bytes).unwrap();
            assert_eq!(packet.sacked().count(), usize::from(len));
            assert_eq!(packet.payload, b"x");
        }
    }

    #[test]
    fn selective_ack_is_cut_to_what_a_byte_can_tell() {
        let mut out = Vec::new();
        encode_header(&HEADER, &[0xFF; 1000], None, &mut out);
        assert_eq!(out.len(), MAX_HEADER_LEN);
        let packet = Packet::decode(&out).unwrap();
        assert_eq!(packet.sacked().last(), Some(MAX_SACK as u64 * 8 + 1));
    }
}
