//! Pieces that failed, until it is known which peers are to blame. It does not know what becomes of
//! those.

use std::collections::BTreeMap;

use crate::{
    base::{geometry::PieceIndex, hash::Digest, partial::BlockSet},
    torrent::{blame::Blames, progress::Supplier},
};

/// Whose digests a worker is making.
#[derive(Debug)]
pub(super) enum Digesting {
    Bad(Vec<Option<Supplier>>),
    Good,
    /// It was bad and its digests are known: its leaves are awaited, which tell what of it is good.
    Leaves,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Failures {
    blames: Blames,
    digesting: BTreeMap<PieceIndex, Digesting>,
}

impl Failures {
    /// Whether `piece` failed, and it is not known who is to blame.
    pub(super) fn is_waiting(&self, piece: PieceIndex) -> bool {
        self.blames.is_waiting(piece)
    }

    /// These are the blocks of a bad piece. Of the oldest pieces more than `max` are forgotten.
    pub(super) fn remember(
        &mut self,
        piece: PieceIndex,
        senders: Vec<Option<Supplier>>,
        digests: Vec<Digest>,
        max: usize,
    ) {
        self.blames.remember(piece, senders, digests, max);
    }

    /// Which blocks of a bad piece are as in the `good` one.
    pub(super) fn same(&self, piece: PieceIndex, good: &[Digest]) -> Option<BlockSet> {
        self.blames.same(piece, good)
    }

    /// The blocks of the `good` piece are known: who sent others.
    pub(super) fn settle(&mut self, piece: PieceIndex, good: &[Digest]) -> Vec<Supplier> {
        self.blames.settle(piece, good)
    }

    /// Digests or leaves of `piece` are awaited.
    pub(super) fn await_answer(&mut self, piece: PieceIndex, what: Digesting) {
        self.digesting.insert(piece, what);
    }

    /// They came, or are not awaited any more.
    pub(super) fn take_awaited(&mut self, piece: PieceIndex) -> Option<Digesting> {
        self.digesting.remove(&piece)
    }

    /// Whether a bad piece waits for its leaves.
    pub(super) fn awaits_leaves(&self, piece: PieceIndex) -> bool {
        matches!(self.digesting.get(&piece), Some(Digesting::Leaves))
    }

    /// Whether digests or leaves of `piece` are awaited.
    pub(super) fn is_looked_at(&self, piece: PieceIndex) -> bool {
        self.digesting.contains_key(&piece)
    }

    /// Whether they are of one that is bad.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_bad(&self, piece: PieceIndex) -> bool {
        matches!(self.digesting.get(&piece), Some(Digesting::Bad(_) | Digesting::Leaves))
    }

    /// How many pieces wait for a peer to blame.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn waiting(&self) -> usize {
        self.blames.len()
    }

    /// No answer is awaited any more.
    pub(super) fn abandon(&mut self) {
        self.digesting.clear();
    }
}
