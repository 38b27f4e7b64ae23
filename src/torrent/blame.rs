//! Who spoiled a piece: digests of the blocks of the bad attempt, compared with those of the good
//! one.

use std::collections::BTreeMap;

use crate::{
    base::{geometry::PieceIndex, hash::Digest, partial::BlockSet},
    torrent::progress::Supplier,
};

/// A spoiled attempt at a piece.
#[derive(Debug)]
struct Attempt {
    senders: Vec<Option<Supplier>>,
    digests: Vec<Digest>,
}

/// The attempts that wait for a good one. Bounded by the number of pieces remembered.
#[derive(Debug, Default)]
pub(crate) struct Blames {
    attempts: BTreeMap<PieceIndex, Attempt>,
}

impl Blames {
    /// Pieces that wait.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn len(&self) -> usize {
        self.attempts.len()
    }

    /// Whether the digests of a good `piece` are of interest.
    pub(crate) fn is_waiting(&self, piece: PieceIndex) -> bool {
        self.attempts.contains_key(&piece)
    }

    /// Remembers a bad attempt, unless there are `limit` already.
    pub(crate) fn remember(
        &mut self,
        piece: PieceIndex,
        senders: Vec<Option<Supplier>>,
        digests: Vec<Digest>,
        limit: usize,
    ) {
        if self.attempts.len() < limit || self.attempts.contains_key(&piece) {
            self.attempts.insert(piece, Attempt { senders, digests });
        }
    }

    /// Which blocks of the bad attempt are as the good ones are.
    pub(crate) fn same(&self, piece: PieceIndex, good: &[Digest]) -> Option<BlockSet> {
        let attempt = self.attempts.get(&piece)?;
        let mut same = BlockSet::none(attempt.digests.len() as u32);
        for (nth, (bad, good)) in attempt.digests.iter().zip(good).enumerate() {
            if bad == good {
                same.set(nth as u32);
            }
        }
        Some(same)
    }

    /// The piece is good now: each peer that sent a different block is guilty.
    pub(crate) fn settle(&mut self, piece: PieceIndex, good: &[Digest]) -> Vec<Supplier> {
        let Some(attempt) = self.attempts.remove(&piece) else { return Vec::new() };
        let mut guilty: Vec<Supplier> = Vec::new();
        for ((sender, bad), good) in attempt.senders.iter().zip(&attempt.digests).zip(good) {
            if bad != good
                && let Some(sender) = sender
                && !guilty.contains(sender)
            {
                guilty.push(*sender);
            }
        }
        guilty
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::Geometry;

    #[test]
    fn only_the_sender_of_a_different_block_is_guilty() {
        let g = Geometry::new(100, 10).unwrap();
        let piece = |n| g.piece(n).unwrap();
        let who = |n: u32| Some(Supplier::WebSeed(n));
        let mut b = Blames::default();
        b.remember(
            piece(0),
            vec![who(1), who(2), who(1), None],
            vec![[1; 20], [2; 20], [3; 20], [4; 20]],
            1,
        );
        b.remember(piece(1), vec![who(3)], vec![[1; 20]], 1);
        assert!(b.is_waiting(piece(0)) && !b.is_waiting(piece(1)));
        let same = b.same(piece(0), &[[1; 20], [9; 20], [3; 20], [9; 20]]).unwrap();
        assert_eq!((0..4).filter(|&nth| same.has(nth)).collect::<Vec<_>>(), [0, 2]);
        assert!(b.same(piece(1), &[]).is_none());
        assert_eq!(b.settle(piece(0), &[[1; 20], [9; 20], [3; 20], [9; 20]]), [who(2).unwrap()]);
        assert!(b.settle(piece(0), &[]).is_empty());
    }
}
