//! Makes metainfo files of version 1. The hashing is done elsewhere; the digests come as an
//! argument.

use crate::{
    base::{geometry::Geometry, hash::Digest},
    wire::bencode::Encoder,
};

use super::{Metainfo, MetainfoError};

/// What a new torrent is to say.
///
/// ```
/// use cratetorrent::wire::metainfo::{Metainfo, MetainfoBuilder};
///
/// let mut builder = MetainfoBuilder::new("greetings", 16 * 1024);
/// builder
///     .file(["en", "hello.txt"], 5)
///     .pad(16 * 1024 - 5)
///     .file(["fr", "salut.txt"], 5)
///     .tracker_tier(["http://tracker.example/announce"]);
/// // Two pieces of 16 KiB, the second short: hash them, pad files as zeros.
/// assert_eq!(builder.geometry()?.piece_count(), 2);
/// let bytes = builder.build(&[[0; 20], [1; 20]])?;
/// assert_eq!(Metainfo::from_bytes(&bytes)?.files.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct MetainfoBuilder {
    name: Vec<u8>,
    piece_len: u32,
    content: Content,
    tiers: Vec<Vec<String>>,
    web_seeds: Vec<String>,
    nodes: Vec<(String, u16)>,
    private: bool,
    source: Option<String>,
    comment: Option<String>,
    created_by: Option<String>,
    creation_date: Option<i64>,
}

#[derive(Clone, Debug)]
enum Content {
    Single(u64),
    Multiple(Vec<Entry>),
}

#[derive(Clone, Debug)]
struct Entry {
    path: Vec<Vec<u8>>,
    len: u64,
    attr: &'static [u8],
}

impl Content {
    fn lens(&self) -> impl Iterator<Item = u64> + '_ {
        let (one, many) = match self {
            Self::Single(len) => (Some(*len), &[][..]),
            Self::Multiple(files) => (None, &files[..]),
        };
        one.into_iter().chain(many.iter().map(|f| f.len))
    }
}

impl MetainfoBuilder {
    /// A torrent called `name` in pieces of `piece_len` bytes (a power of two from 16 KiB on is
    /// what everybody handles), with no file yet.
    pub fn new(name: impl Into<Vec<u8>>, piece_len: u32) -> Self {
        Self {
            name: name.into(),
            piece_len,
            content: Content::Multiple(Vec::new()),
            tiers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            private: false,
            source: None,
            comment: None,
            created_by: None,
            creation_date: None,
        }
    }

    /// It is one file of `len` bytes, called as the torrent.
    pub fn single_file(&mut self, len: u64) -> &mut Self {
        self.content = Content::Single(len);
        self
    }

    /// It is a folder, and its next file has this path and length in bytes.
    pub fn file<P: Into<Vec<u8>>>(
        &mut self,
        path: impl IntoIterator<Item = P>,
        len: u64,
    ) -> &mut Self {
        self.entry(path.into_iter().map(Into::into).collect(), len, b"")
    }

    /// It is a folder, and here come `len` zeros that align the next file (BEP 47).
    pub fn pad(&mut self, len: u64) -> &mut Self {
        self.entry(vec![b".pad".to_vec(), len.to_string().into_bytes()], len, b"p")
    }

    /// Adds a tier of trackers (BEP 12).
    pub fn tracker_tier<S: Into<String>>(
        &mut self,
        urls: impl IntoIterator<Item = S>,
    ) -> &mut Self {
        self.tiers.push(urls.into_iter().map(Into::into).collect());
        self
    }

    /// Adds a web seed (BEP 19).
    pub fn web_seed(&mut self, url: impl Into<String>) -> &mut Self {
        self.web_seeds.push(url.into());
        self
    }

    /// Adds a node of the DHT, by name or address and port (BEP 5).
    pub fn node(&mut self, host: impl Into<String>, port: u16) -> &mut Self {
        self.nodes.push((host.into(), port));
        self
    }

    /// Whether peers may come from the trackers only (BEP 27).
    pub fn private(&mut self, private: bool) -> &mut Self {
        self.private = private;
        self
    }

    /// A word within the info dictionary that tells otherwise equal torrents apart.
    pub fn source(&mut self, source: impl Into<String>) -> &mut Self {
        self.source = Some(source.into());
        self
    }

    /// A remark.
    pub fn comment(&mut self, comment: impl Into<String>) -> &mut Self {
        self.comment = Some(comment.into());
        self
    }

    /// The program that makes it.
    pub fn created_by(&mut self, program: impl Into<String>) -> &mut Self {
        self.created_by = Some(program.into());
        self
    }

    /// When it is made, in seconds since 1970.
    pub fn creation_date(&mut self, seconds: i64) -> &mut Self {
        self.creation_date = Some(seconds);
        self
    }

    /// Its shape: what there is to hash.
    ///
    /// # Errors
    /// If there are no bytes, or too many.
    pub fn geometry(&self) -> Result<Geometry, MetainfoError> {
        let total = self
            .content
            .lens()
            .try_fold(0_u64, u64::checked_add)
            .filter(|&total| total <= i64::MAX as u64);
        match total {
            Some(total) => Ok(Geometry::new(total, self.piece_len)?),
            None => Err(MetainfoError::TotalOverflow),
        }
    }

    /// The metainfo file, with the SHA-1 of each piece in order.
    ///
    /// # Errors
    /// If it is not one that [`Metainfo::from_bytes`] reads.
    pub fn build(&self, pieces: &[Digest]) -> Result<Vec<u8>, MetainfoError> {
        // Lengths beyond 63 bits cannot even be written.
        self.geometry()?;
        let bytes = self.encode(pieces);
        Metainfo::from_bytes(&bytes)?;
        Ok(bytes)
    }

    fn entry(&mut self, path: Vec<Vec<u8>>, len: u64, attr: &'static [u8]) -> &mut Self {
        let entry = Entry { path, len, attr };
        match &mut self.content {
            Content::Multiple(files) => files.push(entry),
            Content::Single(_) => self.content = Content::Multiple(vec![entry]),
        }
        self
    }

    fn encode(&self, pieces: &[Digest]) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict();
        if let Some(first) = self.tiers.iter().flatten().next() {
            e.key(b"announce").bytes(first.as_bytes());
        }
        if self.tiers.iter().flatten().nth(1).is_some() {
            e.key(b"announce-list").list();
            for tier in &self.tiers {
                strings(&mut e, tier);
            }
            e.end();
        }
        if let Some(comment) = &self.comment {
            e.key(b"comment").bytes(comment.as_bytes());
        }
        if let Some(program) = &self.created_by {
            e.key(b"created by").bytes(program.as_bytes());
        }
        if let Some(seconds) = self.creation_date {
            e.key(b"creation date").int(seconds);
        }
        e.key(b"info");
        self.encode_info(&mut e, pieces);
        if !self.nodes.is_empty() {
            e.key(b"nodes").list();
            for (host, port) in &self.nodes {
                e.list().bytes(host.as_bytes()).uint(u64::from(*port)).end();
            }
            e.end();
        }
        if !self.web_seeds.is_empty() {
            strings(e.key(b"url-list"), &self.web_seeds);
        }
        e.end();
        e.finish()
    }

    fn encode_info(&self, e: &mut Encoder, pieces: &[Digest]) {
        e.dict();
        match &self.content {
            Content::Single(len) => _ = e.key(b"length").uint(*len),
            Content::Multiple(files) => {
                e.key(b"files").list();
                for file in files {
                    e.dict();
                    if !file.attr.is_empty() {
                        e.key(b"attr").bytes(file.attr);
                    }
                    e.key(b"length").uint(file.len);
                    strings(e.key(b"path"), &file.path);
                    e.end();
                }
                e.end();
            }
        }
        e.key(b"name").bytes(&self.name);
        e.key(b"piece length").uint(u64::from(self.piece_len));
        e.key(b"pieces").bytes(pieces.as_flattened());
        if self.private {
            e.key(b"private").int(1);
        }
        if let Some(source) = &self.source {
            e.key(b"source").bytes(source.as_bytes());
        }
        e.end();
    }
}

fn strings<S: AsRef<[u8]>>(e: &mut Encoder, strings: &[S]) {
    e.list();
    strings.iter().for_each(|s| _ = e.bytes(s.as_ref()));
    e.end();
}
