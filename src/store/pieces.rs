//! The hashes of pieces of files that are there already, to make a torrent of them.
//!
//! Shared by threads. Reads and hashes; writes nothing, and compares with nothing.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    disk::Disk,
    files::TorrentFiles,
    hashing::{self, Input, Output, Scratch, Source},
    layout::Layout,
};
use crate::base::{
    geometry::{Geometry, PieceIndex},
    hash::{Hasher, PieceHash},
    storage::Reading,
    storage::{Allocation, StoreError},
};

/// Bytes of each piece that are hashed before the caller is told: a multiple of a
/// block.
const STRETCH: u64 = 1 << 20;

/// Files as the pieces of a torrent.
#[derive(Debug)]
pub(crate) struct Pieces {
    files: TorrentFiles,
    geometry: Geometry,
    kind: PieceKind,
    scratch: Scratch,
}

/// What is to be known of each piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PieceKind {
    /// Its SHA-1.
    V1,
    /// Its merkle root (BEP 52).
    V2,
    /// Both.
    Hybrid,
}

/// A piece on its way through the lanes.
#[derive(Debug)]
struct Open {
    hasher: Hasher,
    at: u64,
    end: u64,
    hash: Option<PieceHash>,
}

impl Pieces {
    /// `files` by path and length, without a path for a pad; together they are the torrent of this
    /// shape.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        files: impl IntoIterator<Item = (Option<PathBuf>, u64)>,
        geometry: Geometry,
        kind: PieceKind,
    ) -> Self {
        let files = TorrentFiles::new(disk, Layout::of_files(dir, files), Allocation::Sparse);
        Self { files, geometry, kind, scratch: Scratch::default() }
    }

    /// How many pieces to hash in one call of [`hashes`](Self::hashes): enough to fill the lanes,
    /// and to make the call worth while, but not what others of so many threads could do meanwhile.
    pub(crate) fn batch(&self, threads: usize) -> u32 {
        let piece_len = u64::from(self.geometry.nominal_piece_len());
        let lanes = hashing::side_by_side() as u64;
        let share = u64::from(self.geometry.piece_count()).div_ceil(4 * threads.max(1) as u64);
        (lanes * STRETCH).div_ceil(piece_len).max(lanes).min(share.max(3)) as u32
    }

    /// What hashes `piece` as it is to be known.
    fn hasher(&self, piece: PieceIndex) -> Hasher {
        let like = match self.kind {
            PieceKind::V1 => PieceHash::Sha1([0; 20]),
            PieceKind::V2 => PieceHash::Merkle([0; 32]),
            PieceKind::Hybrid => {
                let pad = self.geometry.pad_len(piece);
                PieceHash::Hybrid { sha1: [0; 20], pad, root: Some([0; 32]) }
            }
        };
        Hasher::new(&like, self.geometry.leaves(piece))
    }

    /// The hashes of these pieces, as far as there are such. `go_on` is told of bytes as they are
    /// hashed; `None` if it says no.
    pub(crate) fn hashes(
        &self,
        pieces: Range<u32>,
        mut go_on: impl FnMut(u64) -> bool,
    ) -> Result<Option<Vec<PieceHash>>, StoreError> {
        let place = |index| {
            let piece = self.geometry.piece(index).ok()?;
            let at = self.geometry.offset(piece);
            Some(Open {
                hasher: self.hasher(piece),
                at,
                end: at + u64::from(self.geometry.piece_len(piece)),
                hash: None,
            })
        };
        let mut open: Vec<Open> = pieces.map_while(place).collect();
        loop {
            let mut waiting: Vec<_> = open.iter_mut().filter(|p| p.hash.is_none()).collect();
            if waiting.is_empty() {
                return Ok(Some(open.into_iter().filter_map(|p| p.hash).collect()));
            }
            let len = |p: &Open| (p.end - p.at).min(STRETCH);
            let input = |p: &Open| {
                let source = Source::Disk(&self.files, p.at, len(p), Reading::Unchanged);
                Input { hasher: p.hasher.clone(), source, ends: p.end - p.at <= STRETCH }
            };
            let outputs =
                hashing::hash_all(waiting.iter().map(|p| input(p)).collect(), &self.scratch);
            let mut bytes = 0;
            for (piece, output) in waiting.iter_mut().zip(outputs) {
                let hashed = len(piece);
                bytes += hashed;
                piece.at += hashed;
                match output? {
                    Output::State(hasher) => piece.hasher = hasher,
                    Output::Hash(hash) => piece.hash = Some(hash),
                }
            }
            if !go_on(bytes) {
                return Ok(None);
            }
        }
    }

    /// Lets go of the files.
    pub(crate) fn close(&self) {
        self.files.close();
    }
}
