//! Metainfo files: what a torrent is (BEP 3, 12, 19, 27, 47, 52).
//!
//! Everything is checked that numbers can get wrong; names are passed on as they are, to be made
//! safe by the code that opens files.

mod builder;
mod fields;
pub(crate) mod kept_layers;
mod names;
mod parse;
#[cfg(test)]
mod tests;
mod v2;
#[cfg(test)]
mod v2_tests;

use std::sync::Arc;

use thiserror::Error;

use crate::base::{
    hash::Digest,
    ids::{Identity, InfoHash},
};

use super::{
    bencode::{BencodeError, Encoder, Limits},
    tracker::url::Host,
};

pub use crate::base::{
    files::{FileEntry, FileKind},
    geometry::{BLOCK_LEN, Geometry, GeometryError, PieceIndex},
};
pub use crate::base::{
    merkle::Node,
    trees::{FileTree, LayerError, Trees},
};
pub use builder::{Format, MetainfoBuilder};
pub use names::ChangedName;

/// Nodes of the DHT that are kept of a metainfo file.
pub const MAX_NODES: usize = 64;

/// A torrent, as its metainfo file describes it.
#[derive(Clone, Debug)]
pub struct Metainfo {
    /// The hashes of the info dictionary, byte for byte as the file has it: the torrent's names on
    /// the network. Of version 1, of version 2, or of both (BEP 52).
    pub identity: Identity,
    /// The suggested name of the file, or of the folder that holds the files. Not safe to open;
    /// may be empty.
    pub name: String,
    /// Whether the torrent is one file called `name`; then `files` has one entry, with an empty
    /// path.
    pub single_file: bool,
    /// The files in the order of their data, pad files (BEP 47) and empty ones included; at least
    /// one. Of version 2 they are those of the tree, with the pads between that it leaves out.
    pub files: Arc<[FileEntry]>,
    /// The torrent's size and its pieces' size.
    pub geometry: Geometry,
    /// The SHA-1 of each piece: exactly as many as `geometry` has, or none if the torrent is of
    /// version 2 alone. A hybrid's are over whole pieces, with zeros where version 2 has none:
    /// see [`Geometry::pad_len`].
    pub pieces: Arc<[Digest]>,
    /// The merkle trees of the files, if the torrent is of version 2, with the piece layers that
    /// the file has.
    pub trees: Option<Trees>,
    /// Tracker addresses by tier, first tier first (BEP 12); no tier and no address is empty. They
    /// are foreign words: nothing says that they are addresses.
    pub trackers: Vec<Vec<String>>,
    /// Addresses of web seeds (BEP 19), as foreign as those of trackers.
    pub web_seeds: Vec<String>,
    /// Nodes of the DHT to begin with (BEP 5), by name or address and port: the first
    /// [`MAX_NODES`] that can be used, each once.
    pub nodes: Vec<(Host, u16)>,
    /// Peers may come from the trackers only (BEP 27).
    pub private: bool,
    /// A remark of its creator.
    pub comment: Option<String>,
    /// The program that made it.
    pub created_by: Option<String>,
    /// What its creator put into the info dictionary to tell otherwise equal torrents apart: a
    /// site's name, as a rule.
    pub source: Option<String>,
    /// Bytes behind the end of the bencoded dictionary, which were ignored. White space and zeros
    /// do not count.
    pub trailing: usize,
    /// When it was made, in seconds since 1970 (whatever its creator claims, negative or not).
    pub creation_date: Option<i64>,
    /// The bytes that it was read from, up to the end of the dictionary, to keep the torrent or
    /// pass it on as it is. A torrent in a session folder lets go of them as soon as they are
    /// on disk.
    pub raw: Option<Arc<[u8]>>,
    /// Where the info dictionary is in `raw`, in bytes.
    pub info_span: std::ops::Range<usize>,
}

/// What a metainfo file may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetainfoLimits {
    /// Bytes of the file. Default 32 MiB.
    pub bytes: usize,
    /// Nested lists and dictionaries. Default 100.
    pub depth: usize,
    /// Bencoded values, see [`Limits::tokens`]. Default 3,000,000.
    pub tokens: usize,
    /// Pieces. Default 2^21, as their digests are 40 MiB then.
    pub pieces: u32,
    /// Bytes a piece. Default 512 MiB.
    pub piece_len: u32,
    /// Files. Default 1,000,000.
    pub files: usize,
    /// Trackers, and web seeds, each. Default 10,000.
    pub addresses: usize,
}

impl Default for MetainfoLimits {
    fn default() -> Self {
        let Limits { depth, tokens, .. } = Limits::default();
        Self {
            bytes: 32 << 20,
            depth,
            tokens,
            pieces: 0x20_0000,
            piece_len: 512 << 20,
            files: 1_000_000,
            addresses: 10_000,
        }
    }
}

/// Why bytes are no torrent that we can handle.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MetainfoError {
    /// The file is too long.
    #[error("a metainfo of more than {}", human(*.limit as u64))]
    TooLong {
        /// Its bytes, as far as they were read.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// The file is not bencoded.
    #[error("metainfo is not valid bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// Something that must be there is not.
    #[error("metainfo has no {0}")]
    Missing(Field),
    /// Something has a type that makes no sense.
    #[error("{field} is not {wanted}")]
    Type {
        /// What it is.
        field: Field,
        /// The type it must have.
        wanted: &'static str,
    },
    /// Something that cannot be negative is.
    #[error("{field} is negative: {value}")]
    Negative {
        /// What it is.
        field: Field,
        /// Its value.
        value: i64,
    },
    /// Something is larger than its limit.
    #[error("{field} of {} exceeds {}", human(*.value), human(*.limit))]
    Size {
        /// What it is.
        field: Field,
        /// Its bytes.
        value: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// There is too much of something.
    #[error("{count} {what} exceed the limit of {limit}")]
    Count {
        /// What there is too much of.
        what: &'static str,
        /// How many.
        count: u64,
        /// The limit.
        limit: u64,
    },
    /// The lengths of all files together exceed 63 bits.
    #[error("the files' lengths add up to more than 2^63 bytes")]
    TotalOverflow,
    /// The pieces' digests are not a multiple of 20 bytes.
    #[error("pieces of {0} bytes, which is not a multiple of 20")]
    PiecesLength(usize),
    /// The digests do not fit the size.
    #[error(
        "{got} piece digests where {} in pieces of {} need {want}",
        human(*.total),
        human(u64::from(*.piece_len))
    )]
    PieceCount {
        /// The digests there are.
        got: usize,
        /// The digests needed.
        want: u32,
        /// The torrent's bytes.
        total: u64,
        /// Bytes a piece.
        piece_len: u32,
    },
    /// The sizes make no torrent.
    #[error("impossible torrent: {0}")]
    Geometry(#[from] GeometryError),
    /// A torrent of a version that is newer than we know (BEP 52).
    #[error("a torrent of version {0}, which is newer than this program knows")]
    Version(i64),
    /// Keys of a version 2 torrent that do not ascend, or repeat (BEP 52 wants its info-hash to be
    /// over canonical bencoding).
    #[error("keys of a version 2 torrent are not in order, or repeat")]
    Order,
    /// A name of a file tree without characters, or a file that has others beside its properties
    /// (BEP 52, "file tree").
    #[error("`file tree` has an empty name, or a file that is a folder, too")]
    FileInFolder,
    /// A file tree has no pads: files are aligned without them (BEP 52).
    #[error("file {file} of `file tree` is a pad")]
    PadInTree {
        /// Which file, from 0.
        file: usize,
    },
    /// Files of a torrent of version 2 must be in the order of the tree, each once.
    #[error("file {file} is not in the order of a file tree, or is there twice")]
    TreeOrder {
        /// Which file, from 0, pads not counted.
        file: usize,
    },
    /// A piece layer is not of the torrent.
    #[error("`piece layers`: {0}")]
    Layer(#[from] LayerError),
    /// The two halves of a hybrid torrent describe different data (BEP 52, "Upgrade Path").
    #[error("version 1 and version 2 of the torrent disagree from file {file} on")]
    Disagreement {
        /// Which file of version 1, from 0.
        file: usize,
    },
}

/// A place in a metainfo file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Field {
    /// The file as a whole.
    Root,
    /// A key of the info dictionary or above.
    Key(&'static str),
    /// A key of a file's dictionary.
    OfFile {
        /// Which file, from 0.
        file: usize,
        /// The key; empty for the dictionary itself.
        key: &'static str,
    },
}

impl std::fmt::Display for Field {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Root => write!(f, "metainfo"),
            Self::Key(key) => write!(f, "`{key}`"),
            Self::OfFile { file, key: "" } => write!(f, "entry of file {file}"),
            Self::OfFile { file, key } => write!(f, "`{key}` of file {file}"),
        }
    }
}

impl Metainfo {
    /// The 20 bytes that name the torrent on the wire, those of version 1 if there are such: see
    /// [`Identity::info_hash`].
    pub fn info_hash(&self) -> InfoHash {
        self.identity.info_hash()
    }

    /// Bytes of all files, without those of pads.
    pub fn content_len(&self) -> u64 {
        self.files.iter().filter(|file| file.kind == FileKind::Regular).map(|file| file.len).sum()
    }

    /// Reads a metainfo file with the default [`MetainfoLimits`].
    ///
    /// Unsorted and unknown keys are fine, and so are wrong types where we can do without (comment,
    /// dates, addresses). Bytes after the end of the dictionary are ignored and counted in
    /// [`trailing`](Self::trailing), as libtorrent and aria2 do: some programs write a line of
    /// text there. What is of version 2 (BEP 52) must be canonical bencoding. Piece layers may be
    /// missing, but none may be wrong.
    ///
    /// # Errors
    /// If it is not bencoded, lacks something, contradicts itself, or exceeds a limit.
    ///
    /// ```
    /// use cratetorrent::wire::metainfo::Metainfo;
    ///
    /// let bytes = b"d4:infod6:lengthi5e4:name5:hello\
    ///     12:piece lengthi16384e6:pieces20:aaaaaaaaaaaaaaaaaaaaee";
    /// let metainfo = Metainfo::from_bytes(bytes)?;
    /// assert_eq!((metainfo.name.as_str(), metainfo.geometry.total_len()), ("hello", 5));
    /// # Ok::<(), cratetorrent::wire::metainfo::MetainfoError>(())
    /// ```
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, MetainfoError> {
        Self::from_bytes_with(bytes, &MetainfoLimits::default())
    }

    /// Reads a metainfo file within `limits`.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_bytes_with(bytes: &[u8], limits: &MetainfoLimits) -> Result<Self, MetainfoError> {
        let (metainfo, end) = parse::metainfo(bytes, limits)?;
        Ok(Self { raw: bytes.get(..end).map(Into::into), ..metainfo })
    }

    /// The info dictionary as it was read, byte for byte, if [`raw`](Self::raw) is kept.
    pub fn info(&self) -> Option<&[u8]> {
        self.raw.as_deref()?.get(self.info_span.clone())
    }

    /// A metainfo file of this torrent, whose info dictionary is `info`, with the piece layers that
    /// are known: what it says beside its info dictionary as far as it was read.
    pub(crate) fn file_with(&self, info: &[u8]) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict();
        if self.trackers.iter().any(|tier| !tier.is_empty()) {
            e.key(b"announce-list").list();
            for tier in &self.trackers {
                e.list();
                tier.iter().for_each(|url| _ = e.bytes(url.as_bytes()));
                e.end();
            }
            e.end();
        }
        let texts = [(&b"comment"[..], &self.comment), (b"created by", &self.created_by)];
        for (key, text) in texts {
            if let Some(text) = text {
                e.key(key).bytes(text.as_bytes());
            }
        }
        if let Some(date) = self.creation_date {
            e.key(b"creation date").int(date);
        }
        e.key(b"info").raw(info);
        if !self.nodes.is_empty() {
            e.key(b"nodes").list();
            for (host, port) in &self.nodes {
                e.list().bytes(host.bare().as_bytes()).uint(u64::from(*port)).end();
            }
            e.end();
        }
        if let Some(trees) = &self.trees {
            builder::encode_layers(e.key(b"piece layers"), trees);
        }
        if !self.web_seeds.is_empty() {
            e.key(b"url-list").list();
            self.web_seeds.iter().for_each(|url| _ = e.bytes(url.as_bytes()));
            e.end();
        }
        e.end();
        e.finish()
    }

    /// As [`from_bytes_with`](Self::from_bytes_with), without keeping the bytes.
    ///
    /// # Errors
    /// As [`from_bytes`](Self::from_bytes).
    pub(crate) fn without_raw(
        bytes: &[u8],
        limits: &MetainfoLimits,
    ) -> Result<Self, MetainfoError> {
        parse::metainfo(bytes, limits).map(|(metainfo, _)| metainfo)
    }
}

/// Bytes in words, with one decimal where that says more; exact below 1 KiB.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let unit = (bytes.ilog2() / 10).clamp(1, 6);
    let tenths = (u128::from(bytes) * 10) >> (10 * unit);
    let name = UNITS[unit as usize - 1];
    match tenths % 10 {
        0 => format!("{} {name}", tenths / 10),
        tenth => format!("{}.{tenth} {name}", tenths / 10),
    }
}
