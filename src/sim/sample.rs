//! Made-up torrents whose every byte is known, so that whatever an engine claims can be compared
//! with the truth.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    base::{
        files::FileKind,
        geometry::{Block, Geometry, PieceIndex},
        rng::Rng,
    },
    store::sha1,
    wire::metainfo::{Metainfo, MetainfoBuilder, MetainfoError},
};

/// A torrent and its data.
#[derive(Debug)]
pub struct Sample {
    /// The torrent as an engine gets it.
    pub metainfo: Arc<Metainfo>,
    /// Every byte of it, pads included.
    pub data: Vec<u8>,
}

/// A file of a [`Sample`]: its path below the torrent's folder, `/` between components, and its
/// length in bytes. An empty path makes a pad file of zeroes (BEP 47).
pub type SampleFile<'a> = (&'a str, u64);

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
        Self::build(&builder, &[(name, len)], seed)
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
        let mut builder = MetainfoBuilder::new(name, piece_len);
        for &(path, len) in files {
            if path.is_empty() {
                builder.pad(len);
            } else {
                builder.file(path.split('/'), len);
            }
        }
        Self::build(&builder, files, seed)
    }

    fn build(
        builder: &MetainfoBuilder,
        files: &[SampleFile<'_>],
        seed: u64,
    ) -> Result<Arc<Self>, MetainfoError> {
        let mut rng = Rng::new(seed);
        let mut data = Vec::new();
        for &(path, len) in files {
            let start = data.len();
            data.resize(start + len as usize, 0);
            if let Some(own) = data.get_mut(start..).filter(|_| !path.is_empty()) {
                rng.fill(own);
            }
        }
        let geometry = builder.geometry()?;
        let digests: Vec<_> =
            data.chunks(geometry.nominal_piece_len() as usize).map(sha1).collect();
        let metainfo = Arc::new(Metainfo::from_bytes(&builder.build(&digests)?)?);
        Ok(Arc::new(Self { metainfo, data }))
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

    /// The true bytes of a block.
    pub fn block(&self, block: Block) -> &[u8] {
        let begin = block.begin as usize;
        self.piece(block.piece).get(begin..begin + block.len as usize).unwrap_or_default()
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
