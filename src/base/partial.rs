//! The blocks of an unfinished piece that are on disk, as they are remembered from one run to the
//! next. It knows numbers, not bytes.

use super::geometry::{BLOCK_LEN, Geometry, PieceIndex};

/// A set of blocks of one piece, by their place on the grid of 16 KiB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSet {
    /// One bit a block, the high bit of the first byte first, spare bits zero, as a bitfield of
    /// BEP 3.
    bits: Vec<u8>,
    count: u32,
}

impl BlockSet {
    /// No blocks of `count`.
    pub fn none(count: u32) -> Self {
        Self { bits: vec![0; count.div_ceil(8) as usize], count }
    }

    /// Reads [`as_wire`](Self::as_wire); `None` if the length is wrong or a spare bit is set.
    pub fn from_wire(bits: &[u8], count: u32) -> Option<Self> {
        let spare = (8 - count % 8) % 8;
        let fits = bits.len() == count.div_ceil(8) as usize;
        let clean = bits.last().is_none_or(|last| last.trailing_zeros() >= spare);
        (fits && clean).then(|| Self { bits: bits.to_vec(), count })
    }

    /// One bit a block, as in a bitfield of BEP 3.
    pub fn as_wire(&self) -> &[u8] {
        &self.bits
    }

    /// Whether block `nth` is in it.
    pub fn has(&self, nth: u32) -> bool {
        let byte = self.bits.get((nth / 8) as usize).copied().unwrap_or(0);
        nth < self.count && byte & (0x80 >> (nth % 8)) != 0
    }

    /// Adds block `nth`; one beyond the end changes nothing.
    pub fn set(&mut self, nth: u32) {
        if nth < self.count
            && let Some(byte) = self.bits.get_mut((nth / 8) as usize)
        {
            *byte |= 0x80 >> (nth % 8);
        }
    }

    /// How many blocks are in it.
    pub fn ones(&self) -> u32 {
        self.bits.iter().map(|byte| byte.count_ones()).sum()
    }

    /// Whether it has every block.
    pub fn is_full(&self) -> bool {
        self.ones() == self.count
    }
}

/// A piece of which some blocks are on disk. None of them was verified: that is known when the
/// piece is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartialPiece {
    /// The piece.
    pub piece: PieceIndex,
    /// Its blocks that are on disk.
    pub blocks: BlockSet,
}

impl PartialPiece {
    /// Without the blocks for which `keep` says no, by their bytes in the torrent; `None` if no
    /// block is left.
    pub(crate) fn retain(
        &self,
        geometry: &Geometry,
        keep: impl Fn(std::ops::Range<u64>) -> bool,
    ) -> Option<Self> {
        let count = geometry.block_count(self.piece);
        let start = geometry.offset(self.piece);
        let mut blocks = BlockSet::none(count);
        for nth in (0..count).filter(|&nth| self.blocks.has(nth)) {
            if let Some(block) = geometry.nth_block(self.piece, nth) {
                let at = start + u64::from(nth) * u64::from(BLOCK_LEN);
                if keep(at..at + u64::from(block.len)) {
                    blocks.set(nth);
                }
            }
        }
        (blocks.ones() > 0).then_some(Self { piece: self.piece, blocks })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_of_blocks_has_what_was_added_and_survives_encoding() {
        let mut set = BlockSet::none(10);
        set.set(0);
        set.set(9);
        set.set(10);
        set.set(u32::MAX);
        let found: Vec<u32> = (0..20).filter(|&nth| set.has(nth)).collect();
        assert_eq!((found, set.ones(), set.as_wire()), (vec![0, 9], 2, &[0x80, 0x40][..]));
        assert_eq!(BlockSet::from_wire(set.as_wire(), 10), Some(set));
        assert_eq!(BlockSet::from_wire(&[0x80, 0x20], 10), None, "a spare bit");
        assert_eq!(BlockSet::from_wire(&[0x80], 10), None);
        assert!(BlockSet::from_wire(&[0xff, 0xc0], 10).unwrap().is_full());
        assert!(BlockSet::from_wire(&[0xff], 8).unwrap().is_full());
    }

    #[test]
    fn blocks_that_are_not_kept_leave_and_an_empty_piece_is_none() {
        let block = u64::from(BLOCK_LEN);
        let geometry = Geometry::new(4 * block + 5, 2 * BLOCK_LEN).unwrap();
        let piece = geometry.piece(1).unwrap();
        let whole = PartialPiece { piece, blocks: BlockSet::from_wire(&[0xc0], 2).unwrap() };
        let left = whole.retain(&geometry, |range| range.end <= 3 * block).unwrap();
        assert_eq!(left.blocks.as_wire(), [0x80]);
        assert_eq!(whole.retain(&geometry, |_| false), None);
    }
}
