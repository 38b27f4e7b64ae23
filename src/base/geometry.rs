//! Piece and block arithmetic: the one place where foreign integers become positions in a torrent.
//!
//! Only [`Geometry`] mints a [`PieceIndex`] or a [`Block`], so code that holds one needs no
//! further check.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use thiserror::Error;

/// The block size that the field has settled on (BEP 3: larger requests are dropped by current
/// implementations).
pub const BLOCK_LEN: u32 = 16 * 1024;

/// A piece that exists in the torrent whose [`Geometry`] minted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PieceIndex(u32);

impl PieceIndex {
    /// The index as the wire carries it.
    pub const fn get(self) -> u32 {
        self.0
    }

    pub(crate) const fn at(self) -> usize {
        self.0 as usize
    }
}

/// A range of bytes within one piece: non-empty, inside the piece, at most the wire's limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block {
    /// The piece it lies in.
    pub piece: PieceIndex,
    /// Bytes from the start of the piece.
    pub begin: u32,
    /// Length in bytes, at least 1.
    pub len: u32,
}

impl Block {
    /// What is left of it after its first `skip` bytes, if anything is.
    pub(crate) fn tail(self, skip: u32) -> Option<Self> {
        let len = self.len.checked_sub(skip).filter(|&len| len > 0)?;
        Some(Self { begin: self.begin + skip, len, ..self })
    }
}

/// Why numbers from outside do not name a place in the torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum GeometryError {
    /// A torrent must have at least one byte.
    #[error("the torrent holds no data")]
    Empty,
    /// A piece must have at least one byte.
    #[error("piece length 0")]
    PieceLength,
    /// Pieces of version 2 must be a power of two, and at least a block (BEP 52).
    #[error("piece length {0} is no power of two of at least {BLOCK_LEN}")]
    PieceLengthV2(u32),
    /// More pieces than a 32-bit index can name.
    #[error("{0} pieces exceed the 32-bit index of the protocol")]
    TooManyPieces(u64),
    /// No such piece.
    #[error("piece {piece} of a torrent with {count} pieces")]
    NoSuchPiece {
        /// The index claimed.
        piece: u32,
        /// The number of pieces.
        count: u32,
    },
    /// The range is empty or leaves its piece.
    #[error("bytes {begin}+{len} of piece {piece}, which has {piece_len} bytes")]
    OutsidePiece {
        /// The piece.
        piece: u32,
        /// First byte claimed.
        begin: u32,
        /// Length claimed.
        len: u32,
        /// The piece's true length.
        piece_len: u32,
    },
    /// The start of a block that we never ask for.
    #[error("block at {begin}+{len} is not on the {BLOCK_LEN}-byte grid")]
    OffGrid {
        /// First byte claimed.
        begin: u32,
        /// Length claimed.
        len: u32,
    },
}

/// The shape of a torrent: total bytes, bytes a piece, and of version 2 where files end.
///
/// In version 1 pieces are cut from all files as if they were one, and only the last is short. In
/// version 2 ([`of_files`](Self::of_files)) each file begins with a piece, so its last may be
/// short. The bytes that are missing there count when offsets are told, as if a pad file followed,
/// so that piece `n` begins at `n` times the piece length in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Geometry {
    total: u64,
    /// Of those, the bytes that pieces have.
    held: u64,
    piece_len: u32,
    count: u32,
    /// Of version 2: the last piece of each file that has bytes, ascending.
    ends: Option<Arc<[FileEnd]>>,
    /// Of a hybrid: the zeros that version 1 has after the last file. After the others they fill
    /// the piece.
    tail_pad: Option<u32>,
}

/// Where a file of version 2 ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FileEnd {
    /// Its last piece.
    piece: u32,
    /// The bytes of that, at least 1.
    len: u32,
}

impl Geometry {
    /// That of a torrent whose metainfo is not known: no pieces.
    pub(crate) const NONE: Self =
        Self { total: 0, held: 0, piece_len: 1, count: 0, ends: None, tail_pad: None };

    /// The shape of `total` bytes cut into pieces of `piece_len`; the last may be short.
    ///
    /// # Errors
    /// If either is zero, or there would be more than 2^32 - 1 pieces.
    pub fn new(total: u64, piece_len: u32) -> Result<Self, GeometryError> {
        if total == 0 {
            return Err(GeometryError::Empty);
        }
        if piece_len == 0 {
            return Err(GeometryError::PieceLength);
        }
        let count = total.div_ceil(u64::from(piece_len));
        let count = u32::try_from(count).map_err(|_| GeometryError::TooManyPieces(count))?;
        Ok(Self { total, held: total, piece_len, count, ends: None, tail_pad: None })
    }

    /// The shape of version 2 (BEP 52) of files of these lengths, in the order of the file tree,
    /// none of whose pieces crosses the end of a file. Files without bytes have no piece.
    ///
    /// # Errors
    /// If there are no bytes, the piece length is no power of two of at least 16 KiB, or there
    /// would be more than 2^32 - 1 pieces.
    pub fn of_files(
        piece_len: u32,
        lens: impl IntoIterator<Item = u64>,
    ) -> Result<Self, GeometryError> {
        if !piece_len.is_power_of_two() || piece_len < BLOCK_LEN {
            return Err(GeometryError::PieceLengthV2(piece_len));
        }
        let nominal = u64::from(piece_len);
        let (mut ends, mut total, mut held, mut count) = (Vec::new(), 0, 0, 0_u64);
        for len in lens.into_iter().filter(|&len| len > 0) {
            let start = count * nominal;
            count = count.saturating_add(len.div_ceil(nominal));
            let last = u32::try_from(count).map_err(|_| GeometryError::TooManyPieces(count))? - 1;
            total = start + len;
            held += len;
            ends.push(FileEnd { piece: last, len: (total - u64::from(last) * nominal) as u32 });
        }
        if ends.is_empty() {
            return Err(GeometryError::Empty);
        }
        let (count, ends) = (count as u32, Some(ends.into()));
        Ok(Self { total, held, piece_len, count, ends, tail_pad: None })
    }

    /// The same of a hybrid, which version 1 describes as well (BEP 52, "Upgrade Path"): with pads
    /// of zeros (BEP 47) from the end of each file to the end of its piece, and of `tail` bytes
    /// after the last.
    pub fn with_pads(self, tail: u32) -> Self {
        Self { tail_pad: Some(tail), ..self }
    }

    /// The same of version 2 alone.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn without_pads(&self) -> Self {
        Self { tail_pad: None, ..self.clone() }
    }

    /// The zeros after the bytes of `piece` that version 1 has there, in a hybrid: its SHA-1 is
    /// over them, and its peers may ask for them. 0 in all other torrents.
    pub fn pad_len(&self, piece: PieceIndex) -> u32 {
        match self.tail_pad {
            Some(tail) if piece.0 + 1 == self.count => tail,
            Some(_) => self.piece_len.saturating_sub(self.piece_len(piece)),
            None => 0,
        }
    }

    /// All bytes up to the end of the last file, those of pads included.
    pub fn total_len(&self) -> u64 {
        self.total
    }

    /// The bytes of all pieces: in version 2 without those of pads.
    pub fn held_len(&self) -> u64 {
        self.held
    }

    /// Nominal bytes a piece.
    pub fn nominal_piece_len(&self) -> u32 {
        self.piece_len
    }

    /// The number of pieces, at least 1.
    pub fn piece_count(&self) -> u32 {
        self.count
    }

    /// The piece at `index`.
    ///
    /// # Errors
    /// [`GeometryError::NoSuchPiece`].
    pub fn piece(&self, index: u32) -> Result<PieceIndex, GeometryError> {
        if index < self.count {
            Ok(PieceIndex(index))
        } else {
            Err(GeometryError::NoSuchPiece { piece: index, count: self.count })
        }
    }

    /// All pieces in order.
    pub fn pieces(&self) -> impl Iterator<Item = PieceIndex> + use<> {
        (0..self.count).map(PieceIndex)
    }

    /// The pieces that have a byte in a range of the torrent.
    pub(crate) fn pieces_of(
        &self,
        range: std::ops::Range<u64>,
    ) -> impl Iterator<Item = PieceIndex> + use<'_> {
        let nominal = u64::from(self.piece_len.max(1));
        let end = if range.is_empty() { 0 } else { range.end.div_ceil(nominal) };
        let pieces = (range.start / nominal..end)
            .map_while(move |index| self.piece(u32::try_from(index).ok()?).ok());
        // A range may lie behind the end of a file of version 2, where its last piece has no byte.
        pieces.filter(move |&piece| {
            self.ends.is_none()
                || self.offset(piece) + u64::from(self.piece_len(piece)) > range.start
        })
    }

    /// The length of `piece` in bytes: nominal, but for the last of the torrent, or of each file in
    /// version 2.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        if let Some(end) = self.end(piece) {
            return end.len;
        }
        let left = self.total.saturating_sub(self.offset(piece));
        u64::from(self.piece_len).min(left) as u32
    }

    /// The length of the shortest run that a piece may have, but for the last of several in
    /// version 1; runs have `run_len` bytes, or what is left of the piece.
    pub(crate) fn shortest_run(&self, run_len: u32) -> u32 {
        if self.ends.is_some() {
            // Each file may end in a piece of a byte.
            return 1;
        }
        let len = if self.count == 1 { self.piece_len(PieceIndex(0)) } else { self.piece_len };
        match len.checked_rem(run_len) {
            Some(rest) if rest > 0 => rest,
            _ => run_len,
        }
    }

    /// The end of a file of version 2 whose last piece this is.
    fn end(&self, piece: PieceIndex) -> Option<FileEnd> {
        let ends = self.ends.as_deref()?;
        let at = ends.binary_search_by_key(&piece.0, |end| end.piece).ok()?;
        ends.get(at).copied()
    }

    /// How many leaves the merkle tree has whose root is the hash of `piece` in version 2 (BEP 52):
    /// as many as a piece has blocks, but for the only piece of a file, whose tree is no wider than
    /// it must be. A power of two.
    pub fn leaves(&self, piece: PieceIndex) -> u32 {
        let before = piece.0.checked_sub(1).map(PieceIndex);
        let is_first = before.is_none_or(|before| self.end(before).is_some());
        let is_only = is_first && (self.end(piece).is_some() || self.count == 1);
        let blocks =
            if is_only { self.block_count(piece) } else { self.piece_len.div_ceil(BLOCK_LEN) };
        blocks.checked_next_power_of_two().unwrap_or(1 << 31)
    }

    /// The first byte of `piece` in the torrent.
    pub fn offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_len)
    }

    /// The number of blocks in `piece`, at least 1.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(BLOCK_LEN)
    }

    /// Any range inside a piece, as others may request it.
    ///
    /// # Errors
    /// If the piece does not exist, the range is empty or leaves the piece.
    pub fn range(&self, piece: u32, begin: u32, len: u32) -> Result<Block, GeometryError> {
        let index = self.piece(piece)?;
        let piece_len = self.piece_len(index);
        match begin.checked_add(len) {
            Some(end) if len > 0 && end <= piece_len => Ok(Block { piece: index, begin, len }),
            _ => Err(GeometryError::OutsidePiece { piece, begin, len, piece_len }),
        }
    }

    /// The same of what peers may ask for, which is more where files end with pieces: a range may
    /// have bytes of the pad after the piece, which version 1 has in a hybrid; libtorrent 2.0 asks
    /// for them in version 2, too.
    ///
    /// # Errors
    /// As [`range`](Self::range).
    pub fn range_with_pad(&self, piece: u32, begin: u32, len: u32) -> Result<Block, GeometryError> {
        let index = self.piece(piece)?;
        let own = self.piece_len(index);
        let piece_len = if self.ends.is_some() { self.piece_len } else { own };
        match begin.checked_add(len) {
            Some(end) if len > 0 && end <= piece_len => Ok(Block { piece: index, begin, len }),
            _ => Err(GeometryError::OutsidePiece { piece, begin, len, piece_len }),
        }
    }

    /// A whole block of our own grid, as we request them.
    ///
    /// # Errors
    /// As [`range`](Self::range), and if it is not exactly one block of the grid.
    pub fn block(&self, piece: u32, begin: u32, len: u32) -> Result<Block, GeometryError> {
        let range = self.range(piece, begin, len)?;
        if !begin.is_multiple_of(BLOCK_LEN)
            || len != BLOCK_LEN.min(self.piece_len(range.piece) - begin)
        {
            return Err(GeometryError::OffGrid { begin, len });
        }
        Ok(range)
    }

    /// The `nth` block of `piece`, if it has that many.
    pub fn nth_block(&self, piece: PieceIndex, nth: u32) -> Option<Block> {
        let begin = nth.checked_mul(BLOCK_LEN)?;
        let left = self.piece_len(piece).checked_sub(begin).filter(|&left| left > 0)?;
        Some(Block { piece, begin, len: left.min(BLOCK_LEN) })
    }
}

impl Block {
    /// Which block of its piece this is, on the grid.
    pub(crate) const fn nth(self) -> u32 {
        self.begin / BLOCK_LEN
    }
}
