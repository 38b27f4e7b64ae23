//! Makes metainfo files of version 1, version 2 and both. The hashing is done elsewhere; the hashes
//! come as arguments.

use crate::{
    base::{geometry::Geometry, hash::Digest, merkle::Node, trees::Trees},
    wire::bencode::Encoder,
};

use super::{Metainfo, MetainfoError};

/// The attribute of pad files (BEP 47).
const PAD: &[u8] = b"p";

/// Versions that a torrent is to be of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Version 1 (BEP 3).
    #[default]
    V1,
    /// Version 2 (BEP 52).
    V2,
    /// Both: the same data, described twice in one info dictionary (BEP 52, "Upgrade Path").
    Hybrid,
}

impl Format {
    /// Whether version 1 is in it.
    pub const fn has_v1(self) -> bool {
        matches!(self, Self::V1 | Self::Hybrid)
    }

    /// Whether version 2 is in it.
    pub const fn has_v2(self) -> bool {
        matches!(self, Self::V2 | Self::Hybrid)
    }
}

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
    format: Format,
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
            format: Format::V1,
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

    /// It is of these versions. In version 2 the files must be in the order of their paths,
    /// compared by the bytes of each component, as the file tree is a dictionary. Pads are then
    /// added by themselves, and those that were asked for are left out.
    pub fn format(&mut self, format: Format) -> &mut Self {
        self.format = format;
        self
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
        self.entry(vec![b".pad".to_vec(), len.to_string().into_bytes()], len, PAD)
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

    /// Whether version 2 is to be in it.
    pub fn has_v2(&self) -> bool {
        self.format.has_v2()
    }

    /// Bytes a piece.
    pub fn piece_len(&self) -> u32 {
        self.piece_len
    }

    /// Its shape: what there is to hash. In version 2 pieces end with their files
    /// ([`Geometry::of_files`]), and the SHA-1 of a hybrid's piece is over the zeros of its
    /// [pad](Geometry::pad_len), too.
    ///
    /// # Errors
    /// If there are no bytes, or too many.
    pub fn geometry(&self) -> Result<Geometry, MetainfoError> {
        let total = self
            .content
            .lens()
            .try_fold(0_u64, u64::checked_add)
            .filter(|&total| total <= i64::MAX as u64)
            .ok_or(MetainfoError::TotalOverflow)?;
        if self.format.has_v2() {
            let lens = self.files().map(|(_, len)| len);
            let geometry = Geometry::of_files(self.piece_len, lens)?;
            if self.format == Format::V2 {
                return Ok(geometry);
            }
            let tail = self.tail_pad(&geometry);
            return Ok(geometry.with_pads(tail));
        }
        Ok(Geometry::new(total, self.piece_len)?)
    }

    /// The files but for pads, in their order, with their lengths in bytes. A single file has no
    /// path.
    pub fn files(&self) -> impl Iterator<Item = (&[Vec<u8>], u64)> {
        let (one, many) = match &self.content {
            Content::Single(len) => (Some((&[][..], *len)), &[][..]),
            Content::Multiple(files) => (None, &files[..]),
        };
        let many = many.iter().filter(|file| file.attr != PAD);
        one.into_iter().chain(many.map(|file| (&file.path[..], file.len)))
    }

    /// Zeros behind the last file in version 1 of a hybrid, in bytes: files of a folder are padded
    /// to the end of their piece, as libtorrent and the reference of BEP 52 do.
    fn tail_pad(&self, geometry: &Geometry) -> u32 {
        let is_folder = matches!(self.content, Content::Multiple(_)) && self.files().count() > 1;
        let total = geometry.total_len();
        let end = if is_folder { total.next_multiple_of(self.piece_len.into()) } else { total };
        (end - total) as u32
    }

    /// The metainfo file of version 1, with the SHA-1 of each piece in order.
    ///
    /// # Errors
    /// If it is not one that [`Metainfo::from_bytes`] reads, or not of version 1 alone.
    pub fn build(&self, pieces: &[Digest]) -> Result<Vec<u8>, MetainfoError> {
        self.build_with(pieces, &[])
    }

    /// The metainfo file, with the SHA-1 of each piece for version 1, and for version 2 the merkle
    /// root of each piece. Those that are not of its format are passed over.
    ///
    /// # Errors
    /// If it is not one that [`Metainfo::from_bytes`] reads.
    ///
    /// ```
    /// use cratetorrent::wire::metainfo::{Format, Metainfo, MetainfoBuilder};
    ///
    /// let mut builder = MetainfoBuilder::new("greetings", 16 * 1024);
    /// builder.format(Format::Hybrid).file(["en", "hello.txt"], 5).file(["fr", "salut.txt"], 5);
    /// // Two pieces of 5 bytes.
    /// let bytes = builder.build_with(&[[1; 20]; 2], &[[1; 32], [2; 32]])?;
    /// let metainfo = Metainfo::from_bytes(&bytes)?;
    /// assert!(metainfo.identity.v1().is_some() && metainfo.identity.v2().is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn build_with(&self, pieces: &[Digest], roots: &[Node]) -> Result<Vec<u8>, MetainfoError> {
        // Lengths beyond 63 bits cannot even be written.
        let geometry = self.geometry()?;
        let trees = match self.format.has_v2() {
            true => Some(self.trees(&geometry, roots)?),
            false => None,
        };
        let bytes = self.encode(pieces, trees.as_ref());
        Metainfo::from_bytes(&bytes)?;
        Ok(bytes)
    }

    /// The trees above these pieces.
    fn trees(&self, geometry: &Geometry, pieces: &[Node]) -> Result<Trees, MetainfoError> {
        let (got, want) = (pieces.len(), geometry.piece_count());
        if got != want as usize {
            let (total, piece_len) = (geometry.total_len(), self.piece_len);
            return Err(MetainfoError::PieceCount { got, want, total, piece_len });
        }
        let paths: Vec<_> = self.files().map(|(path, _)| path).collect();
        if let Some(at) = paths.windows(2).position(|pair| match pair {
            // A file that is a folder, too, is caught when the metainfo is read back.
            [before, after] => before >= after || after.starts_with(before),
            _ => false,
        }) {
            return Err(MetainfoError::TreeOrder { file: at + 1 });
        }
        let height = (self.piece_len / crate::base::geometry::BLOCK_LEN).max(1).ilog2();
        let mut rest = pieces;
        let mut layers = Vec::new();
        let mut files = Vec::new();
        for (file, (_, len)) in self.files().enumerate().filter(|(_, (_, len))| *len > 0) {
            let count = len.div_ceil(u64::from(self.piece_len)) as usize;
            let (own, after) = rest.split_at_checked(count).unwrap_or((rest, &[]));
            rest = after;
            let root = match own {
                [only] => *only,
                _ => crate::base::merkle::root(own, height, own.len().next_power_of_two())
                    .unwrap_or_default(),
            };
            files.push((file as u32, len, root));
            layers.extend((own.len() > 1).then_some((root, own)));
        }
        let mut trees = Trees::new(geometry, files);
        layers.iter().try_for_each(|(root, layer)| trees.set_layer(root, layer))?;
        Ok(trees)
    }

    fn entry(&mut self, path: Vec<Vec<u8>>, len: u64, attr: &'static [u8]) -> &mut Self {
        let entry = Entry { path, len, attr };
        match &mut self.content {
            Content::Multiple(files) => files.push(entry),
            Content::Single(_) => self.content = Content::Multiple(vec![entry]),
        }
        self
    }

    fn encode(&self, pieces: &[Digest], trees: Option<&Trees>) -> Vec<u8> {
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
        self.encode_info(&mut e, pieces, trees);
        if !self.nodes.is_empty() {
            e.key(b"nodes").list();
            for (host, port) in &self.nodes {
                e.list().bytes(host.as_bytes()).uint(u64::from(*port)).end();
            }
            e.end();
        }
        if let Some(trees) = trees {
            encode_layers(e.key(b"piece layers"), trees);
        }
        if !self.web_seeds.is_empty() {
            strings(e.key(b"url-list"), &self.web_seeds);
        }
        e.end();
        e.finish()
    }

    fn encode_info(&self, e: &mut Encoder, pieces: &[Digest], trees: Option<&Trees>) {
        e.dict();
        if let Some(trees) = trees {
            self.encode_tree(e.key(b"file tree"), trees);
        }
        if self.format.has_v1() {
            match &self.content {
                Content::Single(len) => _ = e.key(b"length").uint(*len),
                Content::Multiple(files) => {
                    e.key(b"files").list();
                    self.encode_files(e, files);
                    e.end();
                }
            }
        }
        if trees.is_some() {
            e.key(b"meta version").int(2);
        }
        e.key(b"name").bytes(&self.name);
        e.key(b"piece length").uint(u64::from(self.piece_len));
        if self.format.has_v1() {
            e.key(b"pieces").bytes(pieces.as_flattened());
        }
        if self.private {
            e.key(b"private").int(1);
        }
        if let Some(source) = &self.source {
            e.key(b"source").bytes(source.as_bytes());
        }
        e.end();
    }

    /// Entries of version 1: as they were given, or for a hybrid with a pad after each that does
    /// not end with a piece.
    fn encode_files(&self, e: &mut Encoder, files: &[Entry]) {
        if self.format == Format::V1 {
            files.iter().for_each(|file| encode_file(e, file));
            return;
        }
        let count = self.files().count();
        for file in files.iter().filter(|file| file.attr != PAD) {
            encode_file(e, file);
            let pad = file.len.next_multiple_of(u64::from(self.piece_len)) - file.len;
            if pad > 0 && count > 1 {
                let path = vec![b".pad".to_vec(), pad.to_string().into_bytes()];
                encode_file(e, &Entry { path, len: pad, attr: PAD });
            }
        }
    }

    fn encode_tree(&self, e: &mut Encoder, trees: &Trees) {
        e.dict();
        let mut roots = trees.files().iter();
        let name = [self.name.clone()];
        let mut open: &[Vec<u8>] = &[];
        for (path, len) in self.files() {
            let path = if path.is_empty() { &name[..] } else { path };
            let folders = path.split_last().map_or(&[][..], |(_, folders)| folders);
            let shared = open.iter().zip(folders).take_while(|(a, b)| a == b).count();
            open.iter().skip(shared).for_each(|_| _ = e.end());
            folders.iter().skip(shared).for_each(|folder| _ = e.key(folder).dict());
            open = folders;
            e.key(path.last().map_or(&[][..], |name| name)).dict().key(b"").dict();
            e.key(b"length").uint(len);
            if let Some(tree) = (len > 0).then(|| roots.next()).flatten() {
                e.key(b"pieces root").bytes(&tree.root);
            }
            e.end().end();
        }
        open.iter().for_each(|_| _ = e.end());
        e.end();
    }
}

fn encode_file(e: &mut Encoder, file: &Entry) {
    e.dict();
    if !file.attr.is_empty() {
        e.key(b"attr").bytes(file.attr);
    }
    e.key(b"length").uint(file.len);
    strings(e.key(b"path"), &file.path);
    e.end();
}

/// The piece layers that are known, as a metainfo file has them.
pub(crate) fn encode_layers(e: &mut Encoder, trees: &Trees) {
    e.dict();
    for (root, layer) in trees.layers() {
        e.key(root).bytes(layer.as_flattened());
    }
    e.end();
}

fn strings<S: AsRef<[u8]>>(e: &mut Encoder, strings: &[S]) {
    e.list();
    strings.iter().for_each(|s| _ = e.bytes(s.as_ref()));
    e.end();
}
