//! The extension protocol's handshake (BEP 10): which extended messages a peer understands under
//! which ids, and what else it tells.
//!
//! It says nothing of the messages themselves, and what a peer claims here is only kept, in bounds.

#[cfg(test)]
mod tests;

use std::net::IpAddr;

use thiserror::Error;

use super::bencode::{BencodeError, Document, Encoder, Limits, Value};

/// The id of the handshake among the extended messages.
pub const EXTENSION_HANDSHAKE_ID: u8 = 0;
/// The name of the extension whose messages take an `upload_only` back or renew it after the
/// handshake (BEP 21). Its payload is one byte: 0 or 1. BEP 21 knows only the handshake's key;
/// libtorrent and its kin speak this.
pub const UPLOAD_ONLY: &[u8] = b"upload_only";
/// The id under which we want messages of [`UPLOAD_ONLY`].
pub const UPLOAD_ONLY_ID: u8 = 3;
/// The id under which we want messages of `ut_pex` (BEP 11).
pub const UT_PEX_ID: u8 = 1;
/// The id under which we want messages of `ut_metadata` (BEP 9).
pub const UT_METADATA_ID: u8 = 2;
/// The id under which we want messages of `ut_holepunch` (BEP 55).
pub const UT_HOLEPUNCH_ID: u8 = 4;
/// The name of the extension by which a peer takes a Have back (BEP 54). Its payload is the piece,
/// as that of a Have.
pub const LT_DONTHAVE: &[u8] = b"lt_donthave";
/// The id under which we want messages of [`LT_DONTHAVE`].
pub const LT_DONTHAVE_ID: u8 = 7;
/// The longest handshake that is read, in bytes.
pub const MAX_EXTENSION_HANDSHAKE: usize = 64 * 1024;
/// The most names of extensions that are kept.
pub const MAX_EXTENSIONS: usize = 128;
/// The longest name of an extension, in bytes; a longer one is none that we know.
const MAX_NAME: usize = 64;
/// The longest client version that is kept, in characters.
const MAX_VERSION: usize = 128;
/// Within each other: the handshake, `m`, and what an unknown key may hold.
const MAX_DEPTH: usize = 16;
/// Values in all; a handshake has some thirty.
const MAX_TOKENS: usize = 4096;

/// Names with ids, sorted by name.
type Names = Vec<(Box<[u8]>, u8)>;

/// What a peer tells of itself after the handshake. Every field is its claim, and optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtensionHandshake {
    /// The extensions, sorted by name, with the ids under which the sender wants their messages.
    /// Id 0 takes one back.
    extensions: Names,
    /// `reqq`: how many requests it will queue.
    pub reqq: Option<u32>,
    /// `v`: the client's name and version; text that is fit to be escaped, not printed.
    pub version: Option<String>,
    /// `p`: the TCP port that it listens on; never 0.
    pub port: Option<u16>,
    /// `yourip`: what it takes our address to be.
    pub your_ip: Option<IpAddr>,
    /// `metadata_size`: bytes of the info dictionary (BEP 9).
    pub metadata_size: Option<u64>,
    /// `upload_only`: whether it wants no data (BEP 21), if it says anything of it: a later
    /// handshake may leave out what has not changed.
    pub upload_only: Option<bool>,
}

/// Why a payload is no extension handshake that we accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ExtensionError {
    /// It is too long.
    #[error("extension handshake of {0} bytes exceeds {MAX_EXTENSION_HANDSHAKE}")]
    TooLong(usize),
    /// It is not bencoded.
    #[error("extension handshake is not valid bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// It is something else than a dictionary.
    #[error("extension handshake is not a dictionary")]
    NotADict,
    /// It names too many extensions.
    #[error("extension handshake names more than {MAX_EXTENSIONS} extensions")]
    TooManyExtensions,
}

impl ExtensionHandshake {
    /// Reads the payload of extended message 0. Unknown keys, wrong types and numbers out of range
    /// count as absent; bytes after the dictionary are ignored.
    ///
    /// # Errors
    /// If it is too long, no dictionary, or names more than [`MAX_EXTENSIONS`].
    pub fn decode(payload: &[u8]) -> Result<Self, ExtensionError> {
        if payload.len() > MAX_EXTENSION_HANDSHAKE {
            return Err(ExtensionError::TooLong(payload.len()));
        }
        let limits =
            Limits { bytes: MAX_EXTENSION_HANDSHAKE, depth: MAX_DEPTH, tokens: MAX_TOKENS };
        let (document, _) = Document::parse_prefix(payload, &limits)?;
        let root = document.root();
        root.as_dict().ok_or(ExtensionError::NotADict)?;
        let int = |key: &[u8]| root.get(key).and_then(|v| v.as_int());
        let version = root.get(b"v").and_then(|v| v.as_bytes()).map(version);
        Ok(Self {
            extensions: root.get(b"m").map_or(Ok(Names::new()), extensions)?,
            reqq: int(b"reqq").and_then(|n| u32::try_from(n).ok()),
            version,
            port: int(b"p").and_then(|n| u16::try_from(n).ok()).filter(|&port| port != 0),
            your_ip: root.get(b"yourip").and_then(|v| v.as_bytes()).and_then(ip),
            metadata_size: int(b"metadata_size").and_then(|n| u64::try_from(n).ok()),
            upload_only: int(b"upload_only").map(|n| n != 0),
        })
    }

    /// The payload.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict().key(b"m").dict();
        for (name, id) in &self.extensions {
            e.key(name).int(i64::from(*id));
        }
        e.end();
        if let Some(size) = self.metadata_size {
            e.key(b"metadata_size").uint(size);
        }
        if let Some(port) = self.port {
            e.key(b"p").int(i64::from(port));
        }
        if let Some(reqq) = self.reqq {
            e.key(b"reqq").int(i64::from(reqq));
        }
        if let Some(upload_only) = self.upload_only {
            e.key(b"upload_only").int(i64::from(upload_only));
        }
        if let Some(version) = &self.version {
            e.key(b"v").bytes(version.as_bytes());
        }
        match self.your_ip {
            Some(IpAddr::V4(ip)) => _ = e.key(b"yourip").bytes(&ip.octets()),
            Some(IpAddr::V6(ip)) => _ = e.key(b"yourip").bytes(&ip.octets()),
            None => {}
        }
        e.end();
        e.finish()
    }

    /// All extensions, sorted by name, with their ids. Id 0 takes an extension back.
    pub fn extensions(&self) -> impl Iterator<Item = (&[u8], u8)> {
        self.extensions.iter().map(|(name, id)| (&**name, *id))
    }

    /// Names an extension under `id`, in place of an earlier id.
    ///
    /// # Errors
    /// If there are [`MAX_EXTENSIONS`] already.
    pub fn set(&mut self, name: &[u8], id: u8) -> Result<(), ExtensionError> {
        match self.find(name) {
            Ok(at) => self.extensions.iter_mut().skip(at).take(1).for_each(|e| e.1 = id),
            Err(_) if self.extensions.len() >= MAX_EXTENSIONS => {
                return Err(ExtensionError::TooManyExtensions);
            }
            Err(at) => self.extensions.insert(at, (name.into(), id)),
        }
        Ok(())
    }

    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.extensions.binary_search_by(|(n, _)| (**n).cmp(name))
    }
}

/// The usable entries of `m`; of equal names the first counts.
fn extensions(m: Value<'_>) -> Result<Names, ExtensionError> {
    let mut handshake = ExtensionHandshake::default();
    for (name, id) in m.as_dict().into_iter().flatten() {
        let id = id.as_int().and_then(|id| u8::try_from(id).ok());
        if let Some(id) = id.filter(|_| name.len() <= MAX_NAME && handshake.find(name).is_err()) {
            handshake.set(name, id)?;
        }
    }
    Ok(handshake.extensions)
}

fn version(bytes: &[u8]) -> String {
    // A character takes at most four bytes.
    let bytes = bytes.get(..4 * MAX_VERSION).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).chars().take(MAX_VERSION).collect()
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
