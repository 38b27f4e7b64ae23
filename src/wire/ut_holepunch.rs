//! The messages of `ut_holepunch` (BEP 55): a peer asks another to have a third one connect at the
//! same time as itself. It knows no connections.

use std::net::{IpAddr, SocketAddr};

use nom::{
    IResult, Parser,
    bytes::complete::take,
    number::complete::{be_u8, be_u16, be_u32},
};
use thiserror::Error;

/// The name of the extension (BEP 10).
pub const UT_HOLEPUNCH: &[u8] = b"ut_holepunch";

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HolepunchMessage {
    /// What it is.
    pub kind: HolepunchKind,
    /// The peer that it is about; IPv4 as IPv4.
    pub addr: SocketAddr,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolepunchKind {
    /// The sender wants to be connected with the peer, by way of the receiver.
    Rendezvous,
    /// The receiver is to connect to the peer, which does the same.
    Connect,
    /// The receiver's rendezvous cannot be had.
    Error(HolepunchFailure),
}

/// Why a rendezvous cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolepunchFailure {
    /// The address is none.
    NoSuchPeer,
    /// The relay is not connected to the peer.
    NotConnected,
    /// The peer does not know this extension.
    NoSupport,
    /// The address is the relay's own.
    NoSelf,
    /// A reason of a later version.
    Other(u32),
}

/// Why a payload is no message of this extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HolepunchError {
    /// It ends too early.
    #[error("a hole punching message of {0} bytes is too short")]
    Short(usize),
    /// A type of a later version, to be ignored.
    #[error("hole punching message type {0} is unknown")]
    Kind(u8),
    /// An address that is neither of IPv4 nor of IPv6.
    #[error("hole punching address type {0} is unknown")]
    AddressType(u8),
}

impl HolepunchFailure {
    fn from_code(code: u32) -> Self {
        match code {
            1 => Self::NoSuchPeer,
            2 => Self::NotConnected,
            3 => Self::NoSupport,
            4 => Self::NoSelf,
            code => Self::Other(code),
        }
    }

    fn code(self) -> u32 {
        match self {
            Self::NoSuchPeer => 1,
            Self::NotConnected => 2,
            Self::NoSupport => 3,
            Self::NoSelf => 4,
            Self::Other(code) => code,
        }
    }
}

impl HolepunchMessage {
    /// Reads the payload of an extended message. What follows the message is ignored, and so is the
    /// error code of a message that is no error: libtorrent leaves it out.
    ///
    /// # Errors
    /// If it is too short, or of an unknown type.
    pub fn decode(payload: &[u8]) -> Result<Self, HolepunchError> {
        let short = |_: nom::Err<nom::error::Error<&[u8]>>| HolepunchError::Short(payload.len());
        let (rest, (kind, family)) = (be_u8, be_u8).parse(payload).map_err(short)?;
        let (rest, ip) = match family {
            0 => v4(rest).map_err(short)?,
            1 => v6(rest).map_err(short)?,
            family => return Err(HolepunchError::AddressType(family)),
        };
        let (rest, port) = port(rest).map_err(short)?;
        let kind = match kind {
            0 => HolepunchKind::Rendezvous,
            1 => HolepunchKind::Connect,
            2 => {
                let (_, code) = code(rest).map_err(short)?;
                HolepunchKind::Error(HolepunchFailure::from_code(code))
            }
            kind => return Err(HolepunchError::Kind(kind)),
        };
        Ok(Self { kind, addr: SocketAddr::new(ip.to_canonical(), port) })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, code) = match self.kind {
            HolepunchKind::Rendezvous => (0, 0),
            HolepunchKind::Connect => (1, 0),
            HolepunchKind::Error(failure) => (2, failure.code()),
        };
        let mut out = vec![kind];
        match self.addr.ip().to_canonical() {
            IpAddr::V4(ip) => {
                out.push(0);
                out.extend(ip.octets());
            }
            IpAddr::V6(ip) => {
                out.push(1);
                out.extend(ip.octets());
            }
        }
        out.extend(self.addr.port().to_be_bytes());
        out.extend(code.to_be_bytes());
        out
    }
}

fn v4(input: &[u8]) -> IResult<&[u8], IpAddr> {
    be_u32.map(|ip| IpAddr::from(ip.to_be_bytes())).parse(input)
}

fn v6(input: &[u8]) -> IResult<&[u8], IpAddr> {
    let (rest, ip) = take(16_usize).parse(input)?;
    Ok((rest, IpAddr::from(<[u8; 16]>::try_from(ip).unwrap_or_default())))
}

fn port(input: &[u8]) -> IResult<&[u8], u16> {
    be_u16.parse(input)
}

fn code(input: &[u8]) -> IResult<&[u8], u32> {
    be_u32.parse(input)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn messages_are_as_bep_55_lays_them_out() {
        let addr = "192.0.2.1:258".parse().unwrap();
        let bytes = |kind: HolepunchKind| HolepunchMessage { kind, addr }.encode();
        assert_eq!(bytes(HolepunchKind::Rendezvous), b"\0\0\xc0\0\x02\x01\x01\x02\0\0\0\0");
        assert_eq!(bytes(HolepunchKind::Connect), b"\x01\0\xc0\0\x02\x01\x01\x02\0\0\0\0");
        let codes = [
            (HolepunchFailure::NoSuchPeer, 1),
            (HolepunchFailure::NotConnected, 2),
            (HolepunchFailure::NoSupport, 3),
            (HolepunchFailure::NoSelf, 4),
        ];
        for (failure, code) in codes {
            let message = [b"\x02\0\xc0\0\x02\x01\x01\x02\0\0\0", &[code][..]].concat();
            assert_eq!(bytes(HolepunchKind::Error(failure)), message);
        }
        let v6 = HolepunchMessage {
            kind: HolepunchKind::Connect,
            addr: "[2001:db8::1]:258".parse().unwrap(),
        };
        let expected =
            [b"\x01\x01\x20\x01\x0d\xb8", &[0; 11][..], b"\x01\x01\x02\0\0\0\0"].concat();
        assert_eq!(v6.encode(), expected);
    }

    #[test]
    fn error_code_may_be_missing_where_there_is_no_error() {
        let connect = HolepunchMessage::decode(b"\x01\0\xc0\0\x02\x01\x01\x02").unwrap();
        assert_eq!(connect.kind, HolepunchKind::Connect);
        assert_eq!(
            HolepunchMessage::decode(b"\x02\0\xc0\0\x02\x01\x01\x02\0\0\0"),
            Err(HolepunchError::Short(11))
        );
    }

    #[test]
    fn short_or_unknown_message_is_refused() {
        use HolepunchError::{AddressType, Kind, Short};
        let cases: [(&[u8], HolepunchError); 5] = [
            (b"", Short(0)),
            (b"\0", Short(1)),
            (b"\0\x01\x01\x02\x03\x04\x05\x06", Short(8)),
            (b"\0\x02\x01\x02\x03\x04\x05\x06", AddressType(2)),
            (b"\x03\0\x01\x02\x03\x04\x05\x06", Kind(3)),
        ];
        for (bytes, error) in cases {
            assert_eq!(HolepunchMessage::decode(bytes), Err(error), "{}", bytes.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn handshake_survives_encoding(bytes in prop::collection::vec(any::<u8>(), 0..30)) {
            if let Ok(message) = HolepunchMessage::decode(&bytes) {
                prop_assert_eq!(HolepunchMessage::decode(&message.encode()), Ok(message));
            }
        }
    }
}
