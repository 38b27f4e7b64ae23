//! Which pieces a peer or a torrent has, in the order of the wire.

use fixedbitset::FixedBitSet;
use thiserror::Error;

use super::geometry::PieceIndex;

/// A set of pieces with its count, over a known number of pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bitfield {
    bits: FixedBitSet,
    ones: u32,
}

/// A bitfield from outside that does not fit its torrent (BEP 3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BitfieldError {
    /// Wrong number of bytes.
    #[error("a bitfield of {got} bytes where {want} are needed")]
    Length {
        /// Bytes received.
        got: usize,
        /// Bytes needed.
        want: usize,
    },
    /// One of the spare bits at the end is set.
    #[error("a bitfield with spare bits set")]
    SpareBits,
}

impl Bitfield {
    /// No pieces of `count`.
    pub fn none(count: u32) -> Self {
        Self { bits: FixedBitSet::with_capacity(count as usize), ones: 0 }
    }

    /// All of `count` pieces.
    pub fn all(count: u32) -> Self {
        let mut bits = FixedBitSet::with_capacity(count as usize);
        bits.insert_range(..);
        Self { bits, ones: count }
    }

    /// Reads the wire's form: the high bit of the first byte is piece 0, spare bits are zero (BEP
    /// 3).
    ///
    /// # Errors
    /// If the length is wrong or a spare bit is set.
    pub fn from_wire(bytes: &[u8], count: u32) -> Result<Self, BitfieldError> {
        let want = wire_len(count);
        if bytes.len() != want {
            return Err(BitfieldError::Length { got: bytes.len(), want });
        }
        let mut field = Self::none(count);
        for (i, &byte) in bytes.iter().enumerate() {
            let mut rest = byte;
            while rest != 0 {
                let bit = rest.leading_zeros();
                let at = i * 8 + bit as usize;
                if at >= count as usize {
                    return Err(BitfieldError::SpareBits);
                }
                field.bits.insert(at);
                field.ones += 1;
                rest &= !(0x80 >> bit);
            }
        }
        Ok(field)
    }

    /// The wire's form.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut out = vec![0; wire_len(self.len())];
        for at in self.bits.ones() {
            if let Some(byte) = out.get_mut(at / 8) {
                *byte |= 0x80 >> (at % 8);
            }
        }
        out
    }

    /// The number of pieces that could be in it, whether they are or not.
    #[allow(clippy::len_without_is_empty, reason = "it would be taken for `is_clear`")]
    pub fn len(&self) -> u32 {
        self.bits.len() as u32
    }

    /// Whether it has no piece.
    pub fn is_clear(&self) -> bool {
        self.ones == 0
    }

    /// Whether it has every piece.
    pub fn is_full(&self) -> bool {
        self.ones == self.len()
    }

    /// The number of pieces in it.
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// Whether `piece` is in it; a piece of a larger torrent never is.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.bits.contains(piece.at())
    }

    /// Adds `piece`; returns whether that was news. A piece beyond the end changes nothing.
    pub fn set(&mut self, piece: PieceIndex) -> bool {
        let news = piece.at() < self.bits.len() && !self.bits.put(piece.at());
        self.ones += u32::from(news);
        news
    }

    /// Removes `piece`; returns whether it was there.
    pub fn unset(&mut self, piece: PieceIndex) -> bool {
        let had = self.has(piece);
        if had {
            self.bits.remove(piece.at());
            self.ones -= 1;
        }
        had
    }

    /// The indices in it, ascending.
    pub fn ones(&self) -> impl Iterator<Item = u32> + '_ {
        self.bits.ones().map(|at| at as u32)
    }
}

/// Bytes of a bitfield of `count` pieces on the wire.
pub(crate) fn wire_len(count: u32) -> usize {
    (count as usize).div_ceil(8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::Geometry;

    #[test]
    fn wire_form_round_trips_for_every_length() {
        for count in 1..70 {
            let g = Geometry::new(u64::from(count), 1).unwrap();
            let mut field = Bitfield::none(count);
            for piece in g.pieces().filter(|p| p.get() % 3 == 0) {
                assert!(field.set(piece));
                assert!(!field.set(piece));
            }
            let wire = field.to_wire();
            assert_eq!(Bitfield::from_wire(&wire, count).unwrap(), field);
            assert!(Bitfield::from_wire(&Bitfield::all(count).to_wire(), count).unwrap().is_full());
        }
    }

    #[test]
    fn foreign_bitfields_are_checked() {
        assert_eq!(Bitfield::from_wire(&[0xff], 9), Err(BitfieldError::Length { got: 1, want: 2 }));
        assert_eq!(Bitfield::from_wire(&[0xff, 0xc0], 9), Err(BitfieldError::SpareBits));
        let f = Bitfield::from_wire(&[0b0100_0000, 0x80], 9).unwrap();
        assert_eq!(f.ones().collect::<Vec<_>>(), [1, 8]);
        assert_eq!(f.count(), 2);
    }

    #[test]
    fn unset_keeps_the_count() {
        let g = Geometry::new(10, 1).unwrap();
        let mut f = Bitfield::all(10);
        assert!(f.unset(g.piece(3).unwrap()));
        assert!(!f.unset(g.piece(3).unwrap()));
        assert_eq!(f.count(), 9);
        assert!(!f.is_full());
    }
}
