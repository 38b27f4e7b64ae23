//! Magnet links (BEP 9, "magnet URI format"; BEP 53): a torrent by its hash, with where to look for
//! it. Knows no peers and no engine; what a link says is foreign, and kept within bounds.

mod parse;
mod selection;
#[cfg(test)]
mod tests;

use std::{
    fmt::{self, Write},
    net::SocketAddr,
};

use thiserror::Error;

use super::{
    bencode::{Document, Encoder, Limits},
    metainfo::{Metainfo, MetainfoError, MetainfoLimits},
    tracker::url::Host,
};
use crate::base::ids::Identity;

pub use selection::{FileSelection, SelectionError};

/// The longest link that is read, in bytes.
pub const MAX_MAGNET: usize = 64 * 1024;
/// Trackers, web seeds, peers and DHT nodes that are kept of a link, each.
pub const MAX_MAGNET_ADDRESSES: usize = 100;
/// The longest name that is kept of a link, in bytes; a longer one is cut.
pub const MAX_MAGNET_NAME: usize = 1024;

/// Trackers and web seeds in the link of a torrent, each; more make links that mail programs and
/// shells cut.
const MAX_PRINTED: usize = 20;

/// A magnet link. It prints ([`Display`](fmt::Display)) as a link that reads back as the same.
///
/// ```
/// use cratetorrent::wire::magnet::Magnet;
///
/// let link = "magnet:?xt=urn:btih:c9e15763f722f23e98a29decdfae341b98d53056\
///     &dn=a+name&tr.1=udp%3A%2F%2Ft%3A80&x.pe=192.0.2.7:6881&so=0,2-4";
/// let magnet: Magnet = link.parse()?;
/// assert_eq!(magnet.name.as_deref(), Some("a name"));
/// assert_eq!(magnet.trackers, ["udp://t:80"]);
/// assert_eq!(magnet.to_string().parse(), Ok(magnet));
/// # Ok::<(), cratetorrent::wire::magnet::MagnetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Magnet {
    /// `xt`, the hashes of the info dictionary: `urn:btih:` with 40 hexadecimal or 32 base32
    /// digits for version 1, `urn:btmh:1220…` for version 2 (BEP 52).
    pub identity: Identity,
    /// `dn`, the name to show until the torrent's own is known. Foreign text of at most
    /// [`MAX_MAGNET_NAME`] bytes, not safe to open or to print; never empty.
    pub name: Option<String>,
    /// `xl`, the size in bytes that is claimed.
    pub len: Option<u64>,
    /// `tr`, trackers in the order of the link, each once. They are foreign words: nothing says
    /// that they are addresses. Each is a tier of its own.
    pub trackers: Vec<String>,
    /// `ws`, web seeds, as foreign as trackers.
    pub web_seeds: Vec<String>,
    /// `x.pe`, peers to begin with. Only IP addresses are taken: a name would be looked up because
    /// a stranger wants it.
    pub peers: Vec<SocketAddr>,
    /// `dht`, nodes of the DHT to begin with, by name or address and port.
    pub nodes: Vec<(Host, u16)>,
    /// `so`, the files that are wanted (BEP 53), if the link names any: all others are not. In a
    /// torrent that is there already they are wanted in addition.
    pub select: Option<FileSelection>,
    /// How many parameters name what this type could hold and cannot be used: peers by name, what
    /// is too long, and what exceeds the bounds.
    pub ignored: usize,
}

/// Why text is no magnet link that names a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MagnetError {
    /// It does not begin with `magnet:?`.
    #[error("a magnet link begins with \"magnet:?\"")]
    Scheme,
    /// It is too long.
    #[error("a magnet link of {0} bytes exceeds {MAX_MAGNET}")]
    TooLong(usize),
    /// It has no `xt` of a torrent.
    #[error("the magnet link names no torrent (xt=urn:btih:… or xt=urn:btmh:…)")]
    NoHash,
    /// A `btih` is no info-hash.
    #[error("the magnet link's btih is neither 40 hexadecimal nor 32 base32 digits")]
    Btih,
    /// A `btmh` is no SHA-256 in multihash form.
    #[error("the magnet link's btmh is not 1220 and 64 hexadecimal digits (SHA-256)")]
    Btmh,
    /// It names two torrents: two different hashes of the same version.
    #[error("the magnet link names two torrents: two different {0} hashes")]
    Conflict(&'static str),
    /// `so` cannot be read.
    #[error("the magnet link's choice of files (so) cannot be read: {0}")]
    Selection(#[from] SelectionError),
}

impl Magnet {
    /// The link of a torrent of which only the hashes are known.
    pub fn new(identity: Identity) -> Self {
        Self {
            identity,
            name: None,
            len: None,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            peers: Vec::new(),
            nodes: Vec::new(),
            select: None,
            ignored: 0,
        }
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut link = Link { f, separator: "?" };
        link.f.write_str("magnet:")?;
        if let Some(hash) = self.identity.v1() {
            link.plain("xt", format_args!("urn:btih:{hash}"))?;
        }
        if let Some(hash) = self.identity.v2() {
            // A multihash: 0x12 for SHA-256, 0x20 for its 32 bytes.
            link.plain("xt", format_args!("urn:btmh:1220{hash}"))?;
        }
        if let Some(name) = &self.name {
            link.escaped("dn", name)?;
        }
        if let Some(len) = self.len {
            link.plain("xl", len)?;
        }
        self.trackers.iter().try_for_each(|url| link.escaped("tr", url))?;
        self.web_seeds.iter().try_for_each(|url| link.escaped("ws", url))?;
        self.peers.iter().try_for_each(|peer| link.plain("x.pe", peer))?;
        self.nodes
            .iter()
            .try_for_each(|(host, port)| link.plain("dht", format_args!("{host}:{port}")))?;
        self.select.iter().try_for_each(|files| link.plain("so", files))
    }
}

/// Writes parameters.
struct Link<'a, 'b> {
    f: &'a mut fmt::Formatter<'b>,
    separator: &'static str,
}

impl Link<'_, '_> {
    /// A value in which nothing must be escaped.
    fn plain(&mut self, key: &str, value: impl fmt::Display) -> fmt::Result {
        let separator = std::mem::replace(&mut self.separator, "&");
        write!(self.f, "{separator}{key}={value}")
    }

    fn escaped(&mut self, key: &str, value: &str) -> fmt::Result {
        self.plain(key, "")?;
        escape(value, self.f)
    }
}

/// Percent-encodes everything but what RFC 3986, section 2.3, calls unreserved.
fn escape(text: &str, into: &mut impl Write) -> fmt::Result {
    text.bytes().try_for_each(|byte| match byte {
        b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'-' | b'.' | b'_' | b'~' => {
            into.write_char(char::from(byte))
        }
        _ => write!(into, "%{byte:02X}"),
    })
}

impl Metainfo {
    /// The torrent of an info dictionary that came from peers (BEP 9), with the trackers, web
    /// seeds and DHT nodes of its magnet link, each tracker a tier of its own. It has the bytes of
    /// a metainfo file.
    ///
    /// Its hashes are those of `info`; whether the link has the same is for the caller to see.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes), and if `info` is not one dictionary.
    pub fn from_info(
        info: &[u8],
        magnet: &Magnet,
        limits: &MetainfoLimits,
    ) -> Result<Self, MetainfoError> {
        let MetainfoLimits { bytes, depth, tokens, .. } = *limits;
        // What follows the dictionary would be read as keys beside it.
        Document::parse_with(info, &Limits { bytes, depth, tokens })?;
        let mut e = Encoder::new();
        e.dict();
        if !magnet.trackers.is_empty() {
            e.key(b"announce-list").list();
            for tracker in &magnet.trackers {
                e.list().bytes(tracker.as_bytes()).end();
            }
            e.end();
        }
        e.key(b"info").raw(info);
        if !magnet.nodes.is_empty() {
            e.key(b"nodes").list();
            for (host, port) in &magnet.nodes {
                e.list().bytes(host.bare().as_bytes()).uint(u64::from(*port)).end();
            }
            e.end();
        }
        if !magnet.web_seeds.is_empty() {
            e.key(b"url-list").list();
            magnet.web_seeds.iter().for_each(|url| _ = e.bytes(url.as_bytes()));
            e.end();
        }
        e.end();
        Self::from_bytes_with(&e.finish(), limits)
    }

    /// The magnet link of this torrent: its info-hashes, its name, its size (bytes), its trackers
    /// (tier by tier), web seeds and DHT nodes, the first 20 of each.
    ///
    /// ```
    /// use cratetorrent::wire::metainfo::Metainfo;
    ///
    /// let bytes = b"d8:announce10:udp://a:804:infod6:lengthi5e4:name3:a b\
    ///     12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    /// let link = Metainfo::from_bytes(bytes)?.magnet().to_string();
    /// assert!(link.starts_with("magnet:?xt=urn:btih:"));
    /// assert!(link.ends_with("&dn=a%20b&xl=5&tr=udp%3A%2F%2Fa%3A80"));
    /// # Ok::<(), cratetorrent::wire::metainfo::MetainfoError>(())
    /// ```
    pub fn magnet(&self) -> Magnet {
        let name = parse::cut(&self.name, MAX_MAGNET_NAME);
        let printed = |urls: &mut dyn Iterator<Item = &String>| {
            urls.take(MAX_PRINTED).cloned().collect::<Vec<_>>()
        };
        Magnet {
            name: (!name.is_empty()).then(|| name.to_owned()),
            len: Some(self.content_len()),
            trackers: printed(&mut self.trackers.iter().flatten()),
            web_seeds: printed(&mut self.web_seeds.iter()),
            nodes: self.nodes.iter().take(MAX_PRINTED).cloned().collect(),
            ..Magnet::new(self.identity)
        }
    }
}
