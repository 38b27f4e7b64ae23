//! Made-up torrents whose every byte is known, so that whatever an engine claims can be compared
//! with the truth.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::{
        files::{FileEntry, FileKind},
        geometry::{BLOCK_LEN, Block, Geometry, PieceIndex},
        ids::{Identity, InfoHash},
        merkle::{MerkleState, Node, leaf},
        rng::Rng,
    },
    proto::hashes::{answer, answer_leaves, leaves_of},
    store::sha1,
    wire::hash_range::HashRange,
    wire::metainfo::{Format, Metainfo, MetainfoBuilder, MetainfoError},
};

/// A torrent and its data.
#[derive(Debug)]
pub struct Sample {
    /// The torrent as an engine gets it.
    pub metainfo: Arc<Metainfo>,
    /// The same with all that is known of it.
    pub(super) whole: Arc<Metainfo>,
    /// Every byte of it, pads included.
    pub data: Vec<u8>,
    /// The piece of which version 2 says other hashes than those of its bytes, if it lies.
    lie: Option<PieceIndex>,
}

/// A file of a [`Sample`]: its path below the torrent's folder, `/` between components, and its
/// length in bytes. An empty path makes a pad file of zeroes (BEP 47).
pub type SampleFile<'a> = (&'a str, u64);

/// What is unusual about the bytes of a [`Sample`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Oddity {
    None,
    /// The versions say different things of a piece.
    Contradiction,
    /// Files of one length are equal.
    EqualFiles,
}

impl Sample {
    /// One file of `len` random bytes in pieces of `piece_len`.
    ///
    /// # Errors
    /// If there can be no such torrent.
    pub fn file(
        name: &str,
        len: u64,
        piece_len: u32,
        seed: u64,
    ) -> Result<Arc<Self>, MetainfoError> {
        let mut builder = MetainfoBuilder::new(name, piece_len);
        builder.single_file(len);
        Self::build(&builder, &[(name, len)], seed, Oddity::None)
    }

    /// A folder of files of random bytes in pieces of `piece_len`.
    ///
    /// # Errors
    /// If there can be no such torrent.
    pub fn folder(
        name: &str,
        files: &[SampleFile<'_>],
        piece_len: u32,
        seed: u64,
    ) -> Result<Arc<Self>, MetainfoError> {
        Self::folder_of(Format::V1, name, files, piece_len, seed)
    }

    /// The same of other versions. In version 2 the files must be in the order of their paths, and
    /// pads come by themselves.
    ///
    /// # Errors
    /// If there can be no such torrent.
    pub fn folder_of(
        format: Format,
        name: &str,
        files: &[SampleFile<'_>],
        piece_len: u32,
        seed: u64,
    ) -> Result<Arc<Self>, MetainfoError> {
        let builder = Self::folder_builder(format, name, files, piece_len);
        Self::build(&builder, files, seed, Oddity::None)
    }

    /// A hybrid of which version 2 says of one piece that it has other bytes than version 1 has it:
    /// no engine that knows both can have that piece.
    ///
    /// # Errors
    /// If there can be no such torrent.
    pub fn contradiction(
        name: &str,
        files: &[SampleFile<'_>],
        piece_len: u32,
        seed: u64,
    ) -> Result<Arc<Self>, MetainfoError> {
        let builder = Self::folder_builder(Format::Hybrid, name, files, piece_len);
        Self::build(&builder, files, seed, Oddity::Contradiction)
    }

    /// Files of the same length have the same bytes, so that in version 2 they have one root.
    ///
    /// # Errors
    /// If there can be no such torrent.
    pub fn equal_files(
        format: Format,
        name: &str,
        files: &[SampleFile<'_>],
        piece_len: u32,
        seed: u64,
    ) -> Result<Arc<Self>, MetainfoError> {
        let builder = Self::folder_builder(format, name, files, piece_len);
        Self::build(&builder, files, seed, Oddity::EqualFiles)
    }

    fn folder_builder(
        format: Format,
        name: &str,
        files: &[SampleFile<'_>],
        piece_len: u32,
    ) -> MetainfoBuilder {
        let mut builder = MetainfoBuilder::new(name, piece_len);
        builder.format(format);
        for &(path, len) in files {
            if path.is_empty() {
                builder.pad(len);
            } else {
                builder.file(path.split('/'), len);
            }
        }
        builder
    }

    fn build(
        builder: &MetainfoBuilder,
        files: &[SampleFile<'_>],
        seed: u64,
        oddity: Oddity,
    ) -> Result<Arc<Self>, MetainfoError> {
        let mut rng = Rng::new(seed);
        let mut data = Vec::new();
        for &(path, len) in files {
            let start = data.len();
            data.resize(start + len as usize, 0);
            if let Some(own) = data.get_mut(start..).filter(|_| !path.is_empty()) {
                if oddity == Oddity::EqualFiles {
                    rng = Rng::new(seed);
                }
                rng.fill(own);
            }
            if builder.has_v2() && len > 0 {
                data.resize(data.len().next_multiple_of(builder.piece_len() as usize), 0);
            }
        }
        if builder.has_v2() {
            data.truncate(builder.geometry()?.total_len() as usize);
        }
        let geometry = builder.geometry()?;
        let bytes = |piece: PieceIndex| {
            let start = geometry.offset(piece) as usize;
            data.get(start..start + geometry.piece_len(piece) as usize).unwrap_or_default()
        };
        let digest = |piece| {
            let pad = vec![0; geometry.pad_len(piece) as usize];
            sha1(&[bytes(piece), &pad].concat())
        };
        let root = |piece| {
            let mut tree = MerkleState::new(geometry.leaves(piece));
            tree.update(bytes(piece));
            tree.root()
        };
        let digests: Vec<_> = geometry.pieces().map(digest).collect();
        let mut roots: Vec<_> = match builder.has_v2() {
            true => geometry.pieces().map(root).collect(),
            false => Vec::new(),
        };
        let lie = rng.below(u64::from(geometry.piece_count()).max(1)) as u32;
        let lie = geometry.piece(lie).ok().filter(|_| oddity == Oddity::Contradiction);
        if let Some(root) = lie.and_then(|piece| roots.get_mut(piece.at())) {
            root[5] ^= 1;
        }
        let metainfo = Arc::new(Metainfo::from_bytes(&builder.build_with(&digests, &roots)?)?);
        Ok(Arc::new(Self { whole: metainfo.clone(), metainfo, data, lie }))
    }

    /// Whether no engine that knows all that it says can have all of it.
    pub fn is_contradiction(&self) -> bool {
        self.lie.is_some()
    }

    /// Whether the versions say different things of a piece, as far as an engine knows them that
    /// has this metainfo.
    pub(super) fn contradicts_itself_in(&self, piece: PieceIndex, known: &Metainfo) -> bool {
        let is_known = || known.trees.as_ref().is_some_and(|trees| trees.piece(piece).is_some());
        self.lie == Some(piece) && is_known()
    }

    /// A hybrid as an engine sees it that knows version 1 alone: by its v1 hash, with all pads.
    pub fn as_v1(&self) -> Arc<Self> {
        let mut metainfo = Metainfo::clone(&self.metainfo);
        let (old, mut data) = (metainfo.geometry.clone(), self.data.clone());
        let last = old.piece(old.piece_count() - 1).map_or(0, |last| old.pad_len(last));
        data.resize(data.len() + last as usize, 0);
        if let Some(v1) = metainfo.identity.v1() {
            metainfo.identity = Identity::of_v1(v1);
        }
        if last > 0 {
            let mut files = metainfo.files.to_vec();
            let (path, offset) = (vec![".pad".into(), last.to_string()], old.total_len());
            files.push(FileEntry { path, len: last.into(), offset, kind: FileKind::Pad });
            metainfo.files = files.into();
        }
        metainfo.trees = None;
        if let Ok(geometry) = Geometry::new(data.len() as u64, old.nominal_piece_len()) {
            metainfo.geometry = geometry;
        }
        let metainfo = Arc::new(metainfo);
        Arc::new(Self { whole: metainfo.clone(), metainfo, data, lie: None })
    }

    /// A hybrid as an engine sees it that knows version 2 alone.
    pub fn as_v2(&self) -> Arc<Self> {
        let mut metainfo = Metainfo::clone(&self.metainfo);
        if let Some(v2) = metainfo.identity.v2() {
            metainfo.identity = Identity::of_v2(v2);
        }
        metainfo.pieces = Arc::from([]);
        metainfo.geometry = metainfo.geometry.without_pads();
        let metainfo = Arc::new(metainfo);
        Arc::new(Self { whole: metainfo.clone(), metainfo, data: self.data.clone(), lie: self.lie })
    }

    /// The same without its piece layers, as one that came by a magnet link.
    pub fn without_layers(&self) -> Arc<Self> {
        let mut metainfo = Metainfo::clone(&self.metainfo);
        if let Some(trees) = &mut metainfo.trees {
            trees.forget_layers();
        }
        let (metainfo, whole) = (Arc::new(metainfo), self.whole.clone());
        Arc::new(Self { metainfo, whole, data: self.data.clone(), lie: self.lie })
    }

    /// The same data, as this describes it.
    #[cfg(test)]
    pub(super) fn with_metainfo(&self, metainfo: impl Into<Arc<Metainfo>>) -> Arc<Self> {
        let metainfo = metainfo.into();
        Arc::new(Self { whole: metainfo.clone(), metainfo, data: self.data.clone(), lie: None })
    }

    /// Its shape.
    pub fn geometry(&self) -> Geometry {
        self.metainfo.geometry.clone()
    }

    /// The true bytes of a piece.
    pub fn piece(&self, piece: PieceIndex) -> &[u8] {
        let geometry = self.geometry();
        let start = geometry.offset(piece) as usize;
        self.data.get(start..start + geometry.piece_len(piece) as usize).unwrap_or_default()
    }

    /// The true bytes of a block. In a hybrid it may have zeros of the pad after its piece.
    pub fn block(&self, block: Block) -> Cow<'_, [u8]> {
        let (begin, len) = (block.begin as usize, block.len as usize);
        let piece = self.piece(block.piece);
        match piece.get(begin..begin + len) {
            Some(bytes) => Cow::Borrowed(bytes),
            None => {
                let mut bytes = piece.get(begin..).unwrap_or_default().to_vec();
                bytes.resize(len, 0);
                Cow::Owned(bytes)
            }
        }
    }

    /// The true hashes of a range of its trees, with their proof.
    pub(super) fn hashes(&self, range: &HashRange) -> Option<Vec<Node>> {
        let trees = self.whole.trees.as_ref()?;
        if let Some(hashes) = answer(trees, range) {
            return Some(hashes);
        }
        let geometry = &self.whole.geometry;
        let piece = geometry.piece(leaves_of(trees, geometry, range)?).ok()?;
        let leaves: Vec<_> = self.piece(piece).chunks(BLOCK_LEN as usize).map(leaf).collect();
        answer_leaves(trees, geometry, range, &leaves)
    }

    /// Whether it is called so on the wire: by its v1 or its v2 hash.
    pub fn has_hash(&self, hash: InfoHash) -> bool {
        self.metainfo.identity.wire_hashes().any(|own| own.hash == hash)
    }

    /// Where each regular file lies under `dir`, with its bytes: path, first byte in the torrent,
    /// true bytes.
    pub(super) fn files_in<'a>(
        &'a self,
        dir: &'a Path,
    ) -> impl Iterator<Item = (PathBuf, u64, &'a [u8])> + 'a {
        let root = dir.join(&self.metainfo.name);
        self.metainfo.files.iter().filter(|f| f.kind == FileKind::Regular).map(move |file| {
            let path = file.path.iter().fold(root.clone(), |path, part| path.join(part));
            let bytes = self.data.get(file.offset as usize..(file.offset + file.len) as usize);
            (path, file.offset, bytes.unwrap_or_default())
        })
    }
}
