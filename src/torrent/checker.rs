//! Which pieces are still to be hashed from disk, and how far that is.

use crate::base::{
    bitfield::Bitfield,
    geometry::{Geometry, PieceIndex},
};

/// A check in progress.
#[derive(Debug)]
pub(crate) struct Checker {
    pieces: Bitfield,
    next: u32,
    out: usize,
    done: u32,
}

impl Checker {
    pub(crate) fn new(pieces: Bitfield) -> Self {
        Self { pieces, next: 0, out: 0, done: 0 }
    }

    pub(crate) fn total(&self) -> u32 {
        self.pieces.count()
    }

    pub(crate) fn done(&self) -> u32 {
        self.done
    }

    pub(crate) fn is_over(&self) -> bool {
        self.done == self.total()
    }

    /// The next piece to hash, while fewer than `limit` are out.
    #[must_use]
    pub(crate) fn poll_piece(&mut self, geometry: Geometry, limit: usize) -> Option<PieceIndex> {
        if self.out >= limit {
            return None;
        }
        while let Ok(piece) = geometry.piece(self.next) {
            self.next += 1;
            if self.pieces.has(piece) {
                self.out += 1;
                return Some(piece);
            }
        }
        None
    }

    pub(crate) fn handle_checked(&mut self) {
        self.out = self.out.saturating_sub(1);
        self.done += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_piece_once_and_never_too_many_at_a_time() {
        let g = Geometry::new(10, 1).unwrap();
        let mut pieces = Bitfield::all(10);
        pieces.unset(g.piece(4).unwrap());
        let mut c = Checker::new(pieces);
        let mut seen = Vec::new();
        while !c.is_over() {
            let batch: Vec<u32> = std::iter::from_fn(|| c.poll_piece(g, 4)).map(PieceIndex::get).collect();
            assert!(!batch.is_empty() && batch.len() <= 4);
            batch.iter().for_each(|_| c.handle_checked());
            seen.extend(batch);
        }
        assert_eq!(seen, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
        assert!(Checker::new(Bitfield::none(3)).is_over());
    }
}
