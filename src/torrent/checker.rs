//! Which pieces are still to be hashed from disk, how far that is, and which could not be read and
//! are to be tried again.

use crate::base::{
    bitfield::Bitfield,
    geometry::{Geometry, PieceIndex},
    storage::StoreError,
};

/// How often a disk of which nothing can be read is tried again before what is on it is fetched
/// instead.
const MAX_RETRIES: u32 = 5;
/// The same if the rest of it can be read: more likely it is worn out in places, and the rest
/// should not wait.
const MAX_RETRIES_IN_PART: u32 = 3;

/// A check in progress.
#[derive(Debug)]
pub(crate) struct Checker {
    pieces: Bitfield,
    /// Pieces without an answer.
    left: Bitfield,
    next: u32,
    out: usize,
    done: u32,
    total: u32,
    /// Pieces that could not be read, for no fault of theirs.
    unread: Bitfield,
    /// Why, the last of them.
    error: Option<StoreError>,
    retries: u32,
}

impl Checker {
    pub(crate) fn new(pieces: Bitfield) -> Self {
        let (unread, total) = (Bitfield::none(pieces.len()), pieces.count());
        let left = pieces.clone();
        Self { pieces, left, next: 0, out: 0, done: 0, total, unread, error: None, retries: 0 }
    }

    pub(crate) fn total(&self) -> u32 {
        self.total
    }

    pub(crate) fn done(&self) -> u32 {
        self.done
    }

    /// Pieces that are not known to be good or bad.
    pub(crate) fn left(&self) -> &Bitfield {
        &self.left
    }

    pub(crate) fn is_over(&self) -> bool {
        self.done == self.total
    }

    /// It is over but for pieces that could not be read, and should be tried again after a while:
    /// why.
    #[must_use]
    pub(crate) fn poll_failure(&mut self) -> Option<StoreError> {
        if self.waits() { self.error.take() } else { None }
    }

    /// Whether nothing is left of it but pieces that could not be read.
    pub(crate) fn waits(&self) -> bool {
        self.out == 0 && !self.unread.is_clear() && self.done + self.unread.count() == self.total
    }

    /// Tries what could not be read again, if nothing else is left.
    pub(crate) fn retry(&mut self) {
        if self.waits() {
            self.retries += 1;
            self.next = 0;
            self.pieces = std::mem::replace(&mut self.unread, Bitfield::none(self.pieces.len()));
        }
    }

    /// The next piece to hash, while fewer than `limit` are out.
    #[must_use]
    pub(crate) fn poll_piece(&mut self, geometry: &Geometry, limit: usize) -> Option<PieceIndex> {
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

    pub(crate) fn handle_checked(&mut self, piece: PieceIndex) {
        self.left.unset(piece);
        self.out = self.out.saturating_sub(1);
        self.done += 1;
    }

    /// A piece could not be read. It says nothing of the piece: to fetch it would overwrite it, and
    /// there may be no peer that has it. Only when that has been so for long it counts as missing.
    pub(crate) fn handle_unread(&mut self, piece: PieceIndex, error: StoreError) {
        let limit = if self.done > 0 { MAX_RETRIES_IN_PART } else { MAX_RETRIES };
        if self.retries >= limit {
            log::warn!("piece {} cannot be checked and is fetched again: {error}", piece.get());
            self.handle_checked(piece);
            return;
        }
        self.out = self.out.saturating_sub(1);
        self.unread.set(piece);
        self.error = Some(error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_checked_once_and_few_at_a_time() {
        let g = Geometry::new(10, 1).unwrap();
        let mut pieces = Bitfield::all(10);
        pieces.unset(g.piece(4).unwrap());
        let mut c = Checker::new(pieces);
        let mut seen = Vec::new();
        while !c.is_over() {
            let batch: Vec<PieceIndex> = std::iter::from_fn(|| c.poll_piece(&g, 4)).collect();
            assert!(!batch.is_empty() && batch.len() <= 4);
            assert!(batch.iter().all(|&piece| c.left().has(piece)));
            batch.iter().for_each(|&piece| c.handle_checked(piece));
            assert!(!batch.iter().any(|&piece| c.left().has(piece)));
            seen.extend(batch.into_iter().map(PieceIndex::get));
        }
        assert_eq!(seen, [0, 1, 2, 3, 5, 6, 7, 8, 9]);
        assert!(Checker::new(Bitfield::none(3)).is_over());
    }

    fn error() -> StoreError {
        StoreError::new(crate::base::storage::StoreOp::Read, "f", std::io::Error::other("broken"))
    }

    #[test]
    fn unreadable_piece_is_retried_a_few_times_in_a_check() {
        let g = Geometry::new(3, 1).unwrap();
        let mut c = Checker::new(Bitfield::all(3));
        while let Some(piece) = c.poll_piece(&g, 4) {
            assert!(c.poll_failure().is_none());
            if piece.get() == 1 { c.handle_unread(piece, error()) } else { c.handle_checked(piece) }
        }
        for _ in 0..MAX_RETRIES_IN_PART {
            assert!(c.poll_failure().is_some() && !c.is_over());
            c.retry();
            c.retry();
            let piece = c.poll_piece(&g, 4).unwrap();
            assert_eq!((piece.get(), c.poll_piece(&g, 4)), (1, None));
            c.handle_unread(piece, error());
        }
        assert!(c.is_over() && c.poll_failure().is_none());
        assert_eq!((c.done(), c.total()), (3, 3));

        let g = Geometry::new(1, 1).unwrap();
        let mut c = Checker::new(Bitfield::all(1));
        for _ in 0..=MAX_RETRIES {
            assert!(!c.is_over());
            let piece = c.poll_piece(&g, 4).unwrap();
            c.handle_unread(piece, error());
            c.retry();
        }
        assert!(c.is_over());
    }
}
