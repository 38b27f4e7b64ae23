//! From the text of a link to [`Magnet`]. Unknown parameters are passed over, as they come and go;
//! only the hashes and the choice of files decide what is downloaded, so these must be right.

use std::{net::SocketAddr, str::FromStr};

use super::{MAX_MAGNET, MAX_MAGNET_ADDRESSES, MAX_MAGNET_NAME, Magnet, MagnetError};
use crate::{
    base::ids::{Identity, InfoHash, InfoHashV2},
    wire::tracker::url::{Host, MAX_URL},
};

const SCHEME: &str = "magnet:?";
/// The code and the length of SHA-256 in multihash form.
const SHA256: [u8; 2] = [0x12, 0x20];
/// RFC 4648, section 6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

impl FromStr for Magnet {
    type Err = MagnetError;

    /// Reads a link. Keys may have any case and a number (`tr.1`); white space around the link does
    /// not count.
    fn from_str(text: &str) -> Result<Self, MagnetError> {
        let text = text.trim();
        if text.len() > MAX_MAGNET {
            return Err(MagnetError::TooLong(text.len()));
        }
        let (scheme, rest) = text.split_at_checked(SCHEME.len()).ok_or(MagnetError::Scheme)?;
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            return Err(MagnetError::Scheme);
        }
        let parameters = || {
            let pairs = rest.split('&').filter_map(|parameter| parameter.split_once('='));
            pairs.map(|(key, value)| (without_number(key).to_ascii_lowercase(), value))
        };
        let mut hashes = Hashes::default();
        for (_, value) in parameters().filter(|(key, _)| key == "xt") {
            hashes.read(&decoded(value))?;
        }
        let mut magnet = Self::new(hashes.identity().ok_or(MagnetError::NoHash)?);
        for (key, value) in parameters() {
            magnet.read(&key, value)?;
        }
        Ok(magnet)
    }
}

/// The hashes that a link has named.
#[derive(Default)]
struct Hashes {
    v1: Option<InfoHash>,
    v2: Option<InfoHashV2>,
}

impl Hashes {
    /// `xt`: other topics than torrents (`urn:sha1:`, `urn:ed2k:`) are other networks' business.
    fn read(&mut self, topic: &[u8]) -> Result<(), MagnetError> {
        if let Some(digits) = after(topic, b"urn:btih:") {
            let hash = InfoHash(btih(digits).ok_or(MagnetError::Btih)?);
            if self.v1.is_some_and(|other| other != hash) {
                return Err(MagnetError::Conflict("btih"));
            }
            self.v1 = Some(hash);
        } else if let Some(digits) = after(topic, b"urn:btmh:") {
            let multihash = hex::<34>(digits).ok_or(MagnetError::Btmh)?;
            let hash = match multihash.split_first_chunk() {
                Some((&SHA256, hash)) => hash.try_into().map_err(|_| MagnetError::Btmh)?,
                _ => return Err(MagnetError::Btmh),
            };
            let hash = InfoHashV2(hash);
            if self.v2.is_some_and(|other| other != hash) {
                return Err(MagnetError::Conflict("btmh"));
            }
            self.v2 = Some(hash);
        }
        Ok(())
    }

    fn identity(&self) -> Option<Identity> {
        match (self.v1, self.v2) {
            (Some(v1), Some(v2)) => Some(Identity::hybrid(v1, v2)),
            (Some(v1), None) => Some(Identity::of_v1(v1)),
            (None, Some(v2)) => Some(Identity::of_v2(v2)),
            (None, None) => None,
        }
    }
}

impl Magnet {
    fn read(&mut self, key: &str, value: &str) -> Result<(), MagnetError> {
        match key {
            "dn" if self.name.is_none() => {
                let name = decoded(&value.replace('+', " "));
                let name = cut(&String::from_utf8_lossy(&name), MAX_MAGNET_NAME).to_owned();
                self.name = (!name.is_empty()).then_some(name);
            }
            "xl" => self.len = self.len.or_else(|| value.parse().ok()),
            "tr" => self.ignored += usize::from(!push(&mut self.trackers, address(value))),
            "ws" => self.ignored += usize::from(!push(&mut self.web_seeds, address(value))),
            "x.pe" => self.ignored += usize::from(!push(&mut self.peers, peer(value))),
            "dht" => self.ignored += usize::from(!push(&mut self.nodes, node(value))),
            "so" => {
                let value = decoded(value);
                let select = self.select.get_or_insert_default();
                select.add(&String::from_utf8_lossy(&value))?;
                if select.is_empty() {
                    self.select = None;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Adds what is new, in bounds. False if it cannot be used.
fn push<T: PartialEq>(list: &mut Vec<T>, item: Option<T>) -> bool {
    match item {
        Some(item) if list.contains(&item) => true,
        Some(item) if list.len() < MAX_MAGNET_ADDRESSES => {
            list.push(item);
            true
        }
        _ => false,
    }
}

/// The key without the number of BEP 9's `tr.1`.
fn without_number(key: &str) -> &str {
    match key.rsplit_once('.') {
        Some((key, number)) if number.bytes().all(|b| b.is_ascii_digit()) => key,
        _ => key,
    }
}

fn after<'a>(topic: &'a [u8], start: &[u8]) -> Option<&'a [u8]> {
    let (begin, rest) = topic.split_at_checked(start.len())?;
    begin.eq_ignore_ascii_case(start).then_some(rest)
}

fn address(value: &str) -> Option<String> {
    let text = String::from_utf8(decoded(value)).ok()?;
    let text = text.trim();
    (!text.is_empty() && text.len() <= MAX_URL).then(|| text.to_owned())
}

fn peer(value: &str) -> Option<SocketAddr> {
    let peer: SocketAddr = String::from_utf8(decoded(value)).ok()?.parse().ok()?;
    // Neither a scope nor an IPv4 address within an IPv6 one means anything to others.
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    (peer.port() != 0 && !peer.ip().is_unspecified() && !peer.ip().is_multicast()).then_some(peer)
}

fn node(value: &str) -> Option<(Host, u16)> {
    Host::parse_with_port(&String::from_utf8(decoded(value)).ok()?).ok()
}

/// At most `len` bytes of `text`, cut between characters.
pub(super) fn cut(text: &str, len: usize) -> &str {
    text.get(..text.floor_char_boundary(len)).unwrap_or_default()
}

/// `%XX` as bytes; what is not of that form stays as it is.
fn decoded(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = match (byte, tail.split_first_chunk::<2>()) {
            (b'%', Some((digits, tail))) => hex::<1>(digits).map(|[byte]| (byte, tail)),
            _ => None,
        };
        let (byte, tail) = escaped.unwrap_or((byte, tail));
        out.push(byte);
        rest = tail;
    }
    out
}

fn btih(digits: &[u8]) -> Option<[u8; 20]> {
    hex(digits).or_else(|| base32(digits))
}

/// Twice `N` hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut out = [0; N];
    if digits.len() != 2 * N {
        return None;
    }
    for (byte, &[high, low]) in out.iter_mut().zip(digits.as_chunks().0) {
        let digit = |b: u8| char::from(b).to_digit(16).and_then(|d| u8::try_from(d).ok());
        *byte = digit(high)? << 4 | digit(low)?;
    }
    Some(out)
}

/// 32 digits of five bits.
fn base32(digits: &[u8]) -> Option<[u8; 20]> {
    let mut out = [0; 20];
    if digits.len() != 32 {
        return None;
    }
    for (bytes, digits) in out.chunks_mut(5).zip(digits.chunks(8)) {
        let word = digits.iter().try_fold(0_u64, |word, digit| {
            let value = BASE32.iter().position(|b| b.eq_ignore_ascii_case(digit))?;
            Some(word << 5 | value as u64)
        })?;
        bytes.copy_from_slice(&word.to_be_bytes()[3..]);
    }
    Some(out)
}
