//! Names for torrents and peers on the wire and in the API.

use std::fmt;

use super::arena::Key;

/// The SHA-1 of a torrent's original info dictionary (BEP 3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

/// A peer's self-chosen id (BEP 3, BEP 20). It proves nothing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

/// A torrent within one engine. It is never reused for another torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TorrentId(pub(crate) Key);

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InfoHash({self})")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_printable() {
        assert_eq!(InfoHash([0xab; 20]).to_string(), "ab".repeat(20));
        assert_eq!(PeerId(*b"-CT0200-\0\x01abcdefghi%").to_string(), "-CT0200-%00%01abcdefghi%25");
    }
}
