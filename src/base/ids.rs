//! Names for torrents and peers on the wire and in the API.

use std::fmt;

use super::arena::Key;

/// The 20 bytes that name a torrent on the wire: the SHA-1 of its original info dictionary (BEP 3),
/// or the first 20 bytes of its SHA-256 (BEP 52). Nothing in a message says which of the two they
/// are; where that matters a [`WireHash`] is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

/// The SHA-256 of a torrent's info dictionary (BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashV2(pub [u8; 32]);

impl InfoHashV2 {
    /// Its first 20 bytes, which stand for it in handshakes, announces and other places with room
    /// for no more (BEP 52, "Upgrade Path" and "infohash").
    pub fn truncated(&self) -> InfoHash {
        let mut hash = [0; 20];
        hash.iter_mut().zip(self.0).for_each(|(to, from)| *to = from);
        InfoHash(hash)
    }
}

/// A version of the protocol, as far as hashes depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Version {
    /// BEP 3: SHA-1.
    V1,
    /// BEP 52: SHA-256.
    V2,
}

/// One of the hashes that name a torrent on the wire, and the version that it is of. Whatever finds
/// torrents by 20 bytes has this as its key, since the v1 hash of one torrent may be the truncated
/// v2 hash of another.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WireHash {
    /// What was hashed how.
    pub version: Version,
    /// The bytes.
    pub hash: InfoHash,
}

impl WireHash {
    /// A v1 hash.
    pub const fn v1(hash: InfoHash) -> Self {
        Self { version: Version::V1, hash }
    }

    /// A v2 hash, cut to 20 bytes.
    pub const fn v2(hash: InfoHash) -> Self {
        Self { version: Version::V2, hash }
    }
}

/// The hashes by which a torrent is known: of version 1, of version 2, or of both (a hybrid
/// torrent, BEP 52). There is always at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Identity(Hashes);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Hashes {
    V1(InfoHash),
    V2(InfoHashV2),
    Hybrid(InfoHash, InfoHashV2),
}

impl Identity {
    /// That of a torrent of version 1.
    pub const fn of_v1(hash: InfoHash) -> Self {
        Self(Hashes::V1(hash))
    }

    /// That of a torrent of version 2.
    pub const fn of_v2(hash: InfoHashV2) -> Self {
        Self(Hashes::V2(hash))
    }

    /// That of a torrent of both versions.
    pub const fn hybrid(v1: InfoHash, v2: InfoHashV2) -> Self {
        Self(Hashes::Hybrid(v1, v2))
    }

    /// Its v1 hash, if it has one.
    pub const fn v1(&self) -> Option<InfoHash> {
        match self.0 {
            Hashes::V1(hash) | Hashes::Hybrid(hash, _) => Some(hash),
            Hashes::V2(_) => None,
        }
    }

    /// Its v2 hash, if it has one.
    pub const fn v2(&self) -> Option<InfoHashV2> {
        match self.0 {
            Hashes::V2(hash) | Hashes::Hybrid(_, hash) => Some(hash),
            Hashes::V1(_) => None,
        }
    }

    /// What it is called on the wire: once, or twice if it is a hybrid, v1 first.
    pub fn wire_hashes(&self) -> impl Iterator<Item = WireHash> + use<> {
        let v1 = self.v1().map(WireHash::v1);
        let v2 = self.v2().map(|hash| WireHash::v2(hash.truncated()));
        v1.into_iter().chain(v2)
    }

    /// The first of its [wire hashes](Self::wire_hashes): its key where one is enough, such as in
    /// the log of a session.
    pub fn key(&self) -> WireHash {
        match self.0 {
            Hashes::V1(hash) | Hashes::Hybrid(hash, _) => WireHash::v1(hash),
            Hashes::V2(hash) => WireHash::v2(hash.truncated()),
        }
    }

    /// The bytes of its [`key`](Self::key), for messages and for the names of its files.
    pub fn info_hash(&self) -> InfoHash {
        self.key().hash
    }
}

/// A peer's self-chosen id (BEP 3, BEP 20). It proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

/// A torrent within one engine. It is never reused for another torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentId(pub(crate) Key);

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
    }
}

impl fmt::Display for InfoHashV2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for InfoHashV2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHashV2({self})")
    }
}

impl fmt::Display for WireHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.hash.fmt(f)
    }
}

impl fmt::Debug for WireHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WireHash({:?} {})", self.version, self.hash)
    }
}

/// Printable bytes as they are, others as `%xx`.
impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|&b| match b {
            b'%' | 0..=b' ' | 127.. => write!(f, "%{b:02x}"),
            _ => write!(f, "{}", b as char),
        })
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerId({self})")
    }
}

impl fmt::Display for TorrentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.generation)
    }
}

/// A read of a torrent's bytes that the user has asked for
/// ([`Verbs::read`](crate::Verbs::read)). No two reads of an engine have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReadId(pub u64);

impl fmt::Display for ReadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_displayed_in_printable_characters() {
        assert_eq!(InfoHash([0xab; 20]).to_string(), "ab".repeat(20));
        assert_eq!(InfoHashV2([0xab; 32]).to_string(), "ab".repeat(32));
        assert_eq!(PeerId(*b"-CT0200-\0\x01abcdefghi%").to_string(), "-CT0200-%00%01abcdefghi%25");
    }

    #[test]
    fn hybrid_has_a_wire_hash_of_each_version_v1_first() {
        let (v1, v2) = (InfoHash([1; 20]), InfoHashV2(std::array::from_fn(|n| n as u8)));
        let cut = InfoHash(std::array::from_fn(|n| n as u8));
        let all = |identity: Identity| identity.wire_hashes().collect::<Vec<_>>();
        assert_eq!(all(Identity::of_v1(v1)), [WireHash::v1(v1)]);
        assert_eq!(all(Identity::of_v2(v2)), [WireHash::v2(cut)]);
        assert_eq!(all(Identity::hybrid(v1, v2)), [WireHash::v1(v1), WireHash::v2(cut)]);
        for identity in [Identity::of_v1(v1), Identity::of_v2(v2), Identity::hybrid(v1, v2)] {
            assert_eq!(identity.wire_hashes().next(), Some(identity.key()));
        }
    }

    #[test]
    fn equal_bytes_of_two_versions_are_two_keys() {
        assert_ne!(WireHash::v1(InfoHash([1; 20])), WireHash::v2(InfoHash([1; 20])));
    }
}
