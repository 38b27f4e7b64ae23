//! One open torrent as the workers see it: where its pieces are in its storage, and how they are
//! hashed. Knows pieces and bytes; not files, the other torrents, or jobs.

use std::{
    io::{self, ErrorKind},
    ops::Range,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::hashing::{self, ReadBytes, Source};
use crate::base::{
    buf::Buf,
    geometry::{Block, Geometry, PieceIndex},
    hash::{Digest, Hasher, PieceHash},
    job::{READ_GAP, Run, RunData, batch_len},
    storage::{ReadPart, Reading, Storage},
    storage::{StoreError, StoreOp, StoreSpec},
};

/// How much of a piece is fetched beyond what a peer has asked for, when it must come from the
/// disk.
const READ_AHEAD: u64 = 1 << 20;

/// What the workers know of an open torrent.
#[derive(Debug)]
pub(super) struct Torrent {
    geometry: Geometry,
    /// It is of version 2, maybe among others.
    has_trees: bool,
    pub(super) storage: Arc<dyn Storage>,
    /// What it is called in errors: its folder.
    dir: PathBuf,
    /// The SHA-1 of a whole piece of zeroes, once it was needed.
    zeroes: OnceLock<Digest>,
}

impl ReadBytes for Torrent {
    fn read_bytes(&self, offset: u64, buf: &mut [u8], reading: Reading) -> Result<(), StoreError> {
        self.storage.read(&mut [ReadPart { offset, buf }], reading).map(|_| ())
    }
}

impl Torrent {
    pub(super) fn new(spec: &StoreSpec, storage: Arc<dyn Storage>) -> Self {
        let (geometry, dir) = (spec.geometry.clone(), spec.dir.clone());
        let has_trees = spec.identity.v2().is_some();
        Self { geometry, has_trees, storage, dir, zeroes: OnceLock::new() }
    }

    /// Whether its blocks are told apart by the leaves of trees (BEP 52), and not by SHA-1.
    pub(super) fn has_trees(&self) -> bool {
        self.has_trees
    }

    /// Where `piece` lies in the torrent.
    pub(super) fn piece(&self, piece: PieceIndex) -> Result<Range<u64>, StoreError> {
        let piece = self.geometry.piece(piece.get()).map_err(|e| self.misplaced(e))?;
        let start = self.geometry.offset(piece);
        Ok(start..start + u64::from(self.geometry.piece_len(piece)))
    }

    pub(super) fn part(
        &self,
        piece: PieceIndex,
        begin: u32,
        len: u64,
    ) -> Result<Range<u64>, StoreError> {
        let whole = self.piece(piece)?;
        let start = whole.start + u64::from(begin);
        match start.checked_add(len) {
            Some(end) if len > 0 && end <= whole.end => Ok(start..end),
            _ => Err(self.misplaced(format!(
                "bytes {begin}+{len} of piece {}, which is shorter",
                piece.get()
            ))),
        }
    }

    pub(super) fn place(&self, run: &Run) -> Result<Range<u64>, StoreError> {
        let len = match &run.data {
            RunData::Memory(buf) | RunData::Stretches(buf, _) => buf.0.len() as u64,
            RunData::Disk(len) => u64::from(*len),
        };
        self.part(run.piece, run.begin, len)
    }

    /// Writes parts of a run that begins at `start` of the torrent.
    pub(super) fn write_stretches(
        &self,
        start: u64,
        run: &[u8],
        stretches: &[Range<u32>],
    ) -> Result<(), StoreError> {
        stretches.iter().try_for_each(|stretch| {
            let data = run.get(stretch.start as usize..stretch.end as usize);
            let data = data.ok_or_else(|| self.misplaced("a stretch beyond the end of its run"))?;
            self.storage.write(start + u64::from(stretch.start), data, false)
        })
    }

    pub(super) fn source<'a>(&'a self, run: &'a Run, place: &Range<u64>) -> Source<'a> {
        match &run.data {
            RunData::Memory(buf) | RunData::Stretches(buf, _) => Source::Memory(&buf.0),
            RunData::Disk(_) => {
                let len = place.end - place.start;
                Source::Disk(self, place.start, len, Reading::Unchanged)
            }
        }
    }

    /// Fills a batch; false if it would have to wait and must not.
    pub(super) fn read(
        &self,
        blocks: &[Block],
        buf: &mut Buf,
        reading: Reading,
    ) -> Result<bool, StoreError> {
        buf.0.resize(batch_len(blocks), 0);
        let mut rest = buf.0.as_mut_slice();
        let mut parts = Vec::with_capacity(blocks.len());
        for block in blocks {
            let (part, after) =
                std::mem::take(&mut rest).split_at_mut(READ_GAP + block.len as usize);
            rest = after;
            let buf = part.split_at_mut(READ_GAP).1;
            let Some(inside) = self.inside(block)? else {
                buf.fill(0);
                continue;
            };
            let place = self.part(block.piece, block.begin, u64::from(inside))?;
            let (buf, pad) = buf.split_at_mut(inside as usize);
            pad.fill(0);
            parts.push(ReadPart { offset: place.start, buf });
        }
        if parts.is_empty() {
            return Ok(true);
        }
        self.storage.read(&mut parts, reading)
    }

    /// How many bytes of a block are in its piece; the others are in the pad that a hybrid's piece
    /// has for peers of version 1. `None` if all of them are.
    fn inside(&self, block: &Block) -> Result<Option<u32>, StoreError> {
        let Block { piece, begin, len } = *block;
        self.geometry.range_with_pad(piece.get(), begin, len).map_err(|e| self.misplaced(e))?;
        let left = self.geometry.piece_len(piece).saturating_sub(begin);
        Ok(Some(len.min(left)).filter(|&inside| inside > 0))
    }

    /// The blocks have to be fetched from the disk: all of them are begun at once, and so is what
    /// will be asked for next.
    pub(super) fn read_ahead(&self, blocks: &[Block]) {
        let scattered = if blocks.len() > 1 { blocks } else { &[] };
        for block in scattered {
            let Ok(Some(inside)) = self.inside(block) else { continue };
            if let Ok(place) = self.part(block.piece, block.begin, u64::from(inside)) {
                self.storage.will_need(place);
            }
        }
        if let Some(last) = blocks.last()
            && let Ok(piece) = self.piece(last.piece)
        {
            let end = piece.start + u64::from(last.begin) + u64::from(last.len);
            if end < piece.end {
                self.storage.will_need(end..piece.end.min(end + READ_AHEAD));
            }
        }
    }

    /// Whether a piece of nominal length reads as zeroes, so that it need not be read.
    pub(super) fn is_surely_zeroes(&self, place: &Range<u64>) -> bool {
        place.end - place.start == u64::from(self.geometry.nominal_piece_len())
            && self.storage.is_hole(place.clone())
    }

    pub(super) fn zero_digest(&self) -> Digest {
        *self
            .zeroes
            .get_or_init(|| hashing::zero_digest(u64::from(self.geometry.nominal_piece_len())))
    }

    /// What finds out whether `piece` is `expected`.
    pub(super) fn hasher(&self, piece: PieceIndex, expected: &PieceHash) -> Hasher {
        Hasher::new(expected, self.geometry.leaves(piece))
    }

    pub(super) fn misplaced(
        &self,
        what: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::new(StoreOp::Open, &self.dir, io::Error::new(ErrorKind::InvalidInput, what))
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
