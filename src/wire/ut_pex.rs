//! The message of `ut_pex` (BEP 11), in which a peer tells which peers it is connected to. It says
//! nothing of how much of it is to be believed.

#[cfg(test)]
mod tests;

use std::net::{IpAddr, SocketAddr};

use thiserror::Error;

use super::bencode::{BencodeError, Document, Encoder, Limits, Value};

/// The name of the extension (BEP 10).
pub const UT_PEX: &[u8] = b"ut_pex";
/// The longest message that is read, in bytes: what a peer with 800 connections over IPv6 sends at
/// first.
pub const MAX_PEX_MESSAGE: usize = 32 * 1024;
/// Added peers that are kept of a message, of both families together, and dropped ones as many.
pub const MAX_PEX_CONTACTS: usize = 200;
const LIMITS: Limits = Limits { bytes: MAX_PEX_MESSAGE, depth: 8, tokens: 256 };

/// What is told of a peer (BEP 11). Unknown bits are kept as they are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It prefers encryption.
    pub const ENCRYPTION: Self = Self(0x01);
    /// It is a seed, or only uploads.
    pub const SEED: Self = Self(0x02);
    /// It speaks uTP.
    pub const UTP: Self = Self(0x04);
    /// It takes part in hole punching (BEP 55).
    pub const HOLEPUNCH: Self = Self(0x08);
    /// It can be dialled: the sender has done so.
    pub const REACHABLE: Self = Self(0x10);

    /// Whether all of `flags` are set.
    pub fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }
}

impl std::ops::BitOr for PexFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PexMessage {
    /// Peers to which the sender is connected since its last message, with what it says of them.
    pub added: Vec<(SocketAddr, PexFlags)>,
    /// Peers that it named before, and to which it is not connected any more.
    pub dropped: Vec<SocketAddr>,
}

/// Why a payload is no message of this extension.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum PexError {
    /// It is too long.
    #[error("peer exchange of {0} bytes exceeds {MAX_PEX_MESSAGE}")]
    TooLong(usize),
    /// It is not bencoded.
    #[error("peer exchange is not valid bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// It is something else than a dictionary.
    #[error("peer exchange is not a dictionary")]
    NotADict,
}

impl PexMessage {
    /// Reads the payload of an extended message. What is no address of a peer (port 0, unspecified,
    /// multicast) is left out; so is what exceeds [`MAX_PEX_CONTACTS`], an incomplete last
    /// address, and what was added or dropped twice. Missing flags are none.
    ///
    /// # Errors
    /// If it is too long or no dictionary.
    pub fn decode(payload: &[u8]) -> Result<Self, PexError> {
        if payload.len() > MAX_PEX_MESSAGE {
            return Err(PexError::TooLong(payload.len()));
        }
        let document = Document::parse_prefix(payload, &LIMITS)?.0;
        let root = document.root();
        root.as_dict().ok_or(PexError::NotADict)?;
        let mut message = Self::default();
        let added4 = v4(root.get(b"added")).zip(flags(root.get(b"added.f")));
        let added6 = v6(root.get(b"added6")).zip(flags(root.get(b"added6.f")));
        for (addr, flags) in added4.chain(added6) {
            let known = message.added.iter().any(|&(known, _)| known == addr);
            if message.added.len() < MAX_PEX_CONTACTS && is_peer(addr) && !known {
                message.added.push((addr, flags));
            }
        }
        for addr in v4(root.get(b"dropped")).chain(v6(root.get(b"dropped6"))) {
            let known = message.dropped.contains(&addr);
            if message.dropped.len() < MAX_PEX_CONTACTS && is_peer(addr) && !known {
                message.dropped.push(addr);
            }
        }
        Ok(message)
    }

    /// The payload. It has `added` even if that is empty: BEP 11 wants one field at least.
    pub fn encode(&self) -> Vec<u8> {
        let mut fields: [Vec<u8>; 6] = Default::default();
        let [added, added_f, added6, added6_f, dropped, dropped6] = &mut fields;
        for &(addr, flags) in &self.added {
            let (out, out_f) = match addr.ip().to_canonical() {
                IpAddr::V4(_) => (&mut *added, &mut *added_f),
                IpAddr::V6(_) => (&mut *added6, &mut *added6_f),
            };
            compact(addr, out);
            out_f.push(flags.0);
        }
        for &addr in &self.dropped {
            compact(addr, if addr.ip().to_canonical().is_ipv4() { dropped } else { dropped6 });
        }
        let names: [&[u8]; 6] =
            [b"added", b"added.f", b"added6", b"added6.f", b"dropped", b"dropped6"];
        let mut e = Encoder::new();
        e.dict();
        for (name, value) in names.into_iter().zip(&fields) {
            if name == b"added" || !value.is_empty() {
                e.key(name).bytes(value);
            }
        }
        e.end();
        e.finish()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }
}

fn bytes<'a>(value: Option<Value<'a>>) -> &'a [u8] {
    value.and_then(|v| v.as_bytes()).unwrap_or_default()
}

/// Six bytes each.
fn v4<'a>(value: Option<Value<'a>>) -> impl Iterator<Item = SocketAddr> + use<'a> {
    let peers = bytes(value).as_chunks::<6>().0.iter();
    peers.map(|&[a, b, c, d, hi, lo]| ([a, b, c, d], u16::from_be_bytes([hi, lo])).into())
}

/// Eighteen bytes each.
fn v6<'a>(value: Option<Value<'a>>) -> impl Iterator<Item = SocketAddr> + use<'a> {
    bytes(value).as_chunks::<18>().0.iter().filter_map(|peer| {
        let (ip, port) = peer.split_first_chunk::<16>()?;
        let port = u16::from_be_bytes(port.try_into().ok()?);
        Some(SocketAddr::new(IpAddr::from(*ip).to_canonical(), port))
    })
}

/// One byte each, and as many zeros as are needed.
fn flags<'a>(value: Option<Value<'a>>) -> impl Iterator<Item = PexFlags> + use<'a> {
    let zeros = std::iter::repeat(PexFlags::default());
    bytes(value).iter().map(|&byte| PexFlags(byte)).chain(zeros)
}

fn is_peer(addr: SocketAddr) -> bool {
    let ip = addr.ip();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

fn compact(addr: SocketAddr, out: &mut Vec<u8>) {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend(ip.octets()),
        IpAddr::V6(ip) => out.extend(ip.octets()),
    }
    out.extend(addr.port().to_be_bytes());
}
