//! Piece and block arithmetic: the one place where foreign integers become positions in a torrent.
//!
//! Only [`Geometry`] mints a [`PieceIndex`] or a [`Block`], so code that holds one needs no
//! further check.

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

/// The shape of a torrent: total bytes, bytes a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    total: u64,
    piece_len: u32,
    count: u32,
}

impl Geometry {
    /// That of a torrent whose metainfo is not known: no pieces.
    pub(crate) const NONE: Self = Self { total: 0, piece_len: 1, count: 0 };

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
        Ok(Self { total, piece_len, count })
    }

    /// All bytes, pad files included.
    pub fn total_len(&self) -> u64 {
        self.total
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
    pub(crate) fn pieces_of(self, range: std::ops::Range<u64>) -> impl Iterator<Item = PieceIndex> {
        let nominal = u64::from(self.piece_len.max(1));
        let end = if range.is_empty() { 0 } else { range.end.div_ceil(nominal) };
        (range.start / nominal..end)
            .map_while(move |index| self.piece(u32::try_from(index).ok()?).ok())
    }

    /// The length of `piece` in bytes: nominal, but for the last.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        let left = self.total.saturating_sub(self.offset(piece));
        u64::from(self.piece_len).min(left) as u32
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_piece_and_block_are_short() {
        let g = Geometry::new(20_000 * 2 + 5, 20_000).unwrap();
        assert_eq!(g.piece_count(), 3);
        let last = g.piece(2).unwrap();
        assert_eq!((g.piece_len(last), g.block_count(last), g.offset(last)), (5, 1, 40_000));
        let first = g.piece(0).unwrap();
        assert_eq!(g.nth_block(first, 1).unwrap().len, 20_000 - BLOCK_LEN);
        assert_eq!(g.nth_block(first, 2), None);
        assert_eq!(g.nth_block(first, u32::MAX), None);
        assert!(g.piece(3).is_err());
    }

    #[test]
    fn foreign_ranges_are_checked() {
        let g = Geometry::new(100_000, 50_000).unwrap();
        assert!(g.range(0, 49_999, 1).is_ok());
        assert!(g.range(0, 49_999, 2).is_err());
        assert!(g.range(0, 0, 0).is_err());
        assert!(g.range(0, u32::MAX, u32::MAX).is_err());
        assert!(g.range(2, 0, 1).is_err());
        assert!(g.block(1, BLOCK_LEN, BLOCK_LEN).is_ok());
        assert!(g.block(1, 3 * BLOCK_LEN, 50_000 - 3 * BLOCK_LEN).is_ok());
        assert!(g.block(1, 1, BLOCK_LEN).is_err());
        assert!(g.block(1, 0, 5).is_err());
    }

    #[test]
    fn impossible_shapes_are_refused() {
        assert_eq!(Geometry::new(0, 1), Err(GeometryError::Empty));
        assert_eq!(Geometry::new(1, 0), Err(GeometryError::PieceLength));
        assert!(matches!(Geometry::new(u64::MAX, 1), Err(GeometryError::TooManyPieces(_))));
    }

    #[test]
    fn blocks_tile_every_piece() {
        for (total, len) in [
            (1, 1),
            (1, 1 << 20),
            (16_384, 16_384),
            (16_385, 16_384),
            (3_000_001, 20_000),
            (5 << 20, 1 << 20),
        ] {
            let g = Geometry::new(total, len).unwrap();
            let sum: u64 = g
                .pieces()
                .flat_map(|p| {
                    (0..g.block_count(p)).map(move |n| u64::from(g.nth_block(p, n).unwrap().len))
                })
                .sum();
            assert_eq!(sum, total);
        }
    }
}
