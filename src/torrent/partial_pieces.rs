//! What is kept of unfinished pieces when a torrent stops: what is in memory is written, the saved
//! state tells which blocks are on disk, and the next start goes on with them. It does not know how
//! a state is saved.

use crate::{
    base::{bitfield::Bitfield, geometry::PieceIndex, partial::PartialPiece},
    torrent::{Torrent, cx::Cx},
};

/// PartialPieces pieces between runs.
#[derive(Debug, Default)]
pub(super) struct PartialPieces {
    /// What the saved state told of, until the check of what is there is over.
    found: Vec<PartialPiece>,
    /// The torrent stops, and what is in memory was not written yet.
    flush: bool,
    /// The save that is out tells how far a check is, and not what there is.
    interim: bool,
}

impl Torrent {
    /// The saved state told of these.
    pub(super) fn handle_found(&mut self, found: Vec<PartialPiece>) {
        self.storage.partial_pieces.found = found;
    }

    /// A piece was checked and is not good: if all of it was there, some block is wrong and it is
    /// to be fetched anew.
    pub(super) fn handle_found_bad(&mut self, bad: PieceIndex) {
        self.storage
            .partial_pieces
            .found
            .retain(|partial| partial.piece != bad || !partial.blocks.is_full());
    }

    /// It is known what is there: unfinished pieces are gone on with.
    pub(super) fn take_up(&mut self, cx: &mut Cx) {
        for partial in std::mem::take(&mut self.storage.partial_pieces.found) {
            self.swarm.restore(&partial, cx);
        }
    }

    /// It stops for now, or for good: what is in memory is to be written when its peers are gone.
    pub(super) fn flush_later(&mut self) {
        self.storage.partial_pieces.flush = true;
    }

    /// It goes on: what is in memory may stay there.
    pub(super) fn forgo_flush(&mut self) {
        self.storage.partial_pieces.flush = false;
    }

    /// Whether what is in memory will be written before the torrent stops.
    pub(super) fn is_to_flush(&self) -> bool {
        self.storage.partial_pieces.flush && self.lifecycle.is_open() && self.swarm.is_busy()
    }

    /// Writes what is in memory, once, if that is due and nothing keeps it from it. Returns whether
    /// a worker is at it.
    pub(super) fn flush(&mut self, cx: &mut Cx) -> bool {
        let may = self.lifecycle.is_open() && self.storage.operations.lets_write();
        may && self.peers.is_empty()
            && std::mem::take(&mut self.storage.partial_pieces.flush)
            && self.swarm.flush(cx)
    }

    /// A save begins. That of a check that is not over is nothing to tell the user of.
    pub(super) fn note_save(&mut self) {
        self.storage.partial_pieces.interim = self.lifecycle.is_checking();
    }

    /// Whether the save that was answered told how far a check is.
    pub(super) fn was_interim(&self) -> bool {
        self.storage.partial_pieces.interim
    }

    /// What a saved state is to tell of unfinished pieces.
    pub(super) fn partial_pieces(&self) -> Vec<PartialPiece> {
        if self.lifecycle.is_open() {
            return self.swarm.partial_pieces();
        }
        let lacks = |partial: &&PartialPiece| !self.swarm.have().has(partial.piece);
        self.storage.partial_pieces.found.iter().filter(lacks).cloned().collect()
    }

    /// What a saved state is to tell of a check that goes on, and of one that had to pass over what
    /// no hash was known of yet.
    pub(super) fn unchecked(&self) -> Option<Bitfield> {
        let left = self.lifecycle.checker().map(|checker| checker.left().clone());
        let Some(passed) = self.content.passed_over() else { return left };
        let is_checking = left.is_some();
        let mut unchecked = left.unwrap_or_else(|| Bitfield::none(passed.len()));
        let lacks = |piece: &PieceIndex| passed.has(*piece) && !self.swarm.have().has(*piece);
        for piece in self.swarm.geometry().pieces().filter(lacks) {
            unchecked.set(piece);
        }
        Some(unchecked).filter(|unchecked| is_checking || !unchecked.is_clear())
    }
}
