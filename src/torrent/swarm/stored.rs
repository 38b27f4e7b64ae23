//! Blocks of unfinished pieces that are on disk: written when the torrent stops, remembered, and
//! taken up again. It knows jobs and pieces, and not when a torrent stops.

use super::Swarm;
use crate::{
    base::{
        geometry::{Block, PieceIndex},
        job::Job,
        partial::PartialPiece,
    },
    torrent::{
        cx::Cx,
        progress::{BlockPlace, Progress},
    },
};

/// The most bytes that the numbers of unfinished pieces may take in a saved state.
const MAX_LEN: usize = 64 * 1024;

impl Swarm {
    /// Where a block of our own grid is, if its piece is in progress.
    pub(crate) fn place_of(&self, block: Block) -> BlockPlace<'_> {
        self.active.get(block.piece).map_or(BlockPlace::Nowhere, |piece| piece.place_of(block))
    }

    /// The blocks on disk of pieces in progress, as far as a saved state takes them.
    pub(crate) fn partial_pieces(&self) -> Vec<PartialPiece> {
        let mut len = 0;
        let on_disk = self.active.iter().filter_map(|(_, progress)| progress.on_disk());
        let within = |partial: &PartialPiece| {
            len += 8 + partial.blocks.as_wire().len();
            len <= MAX_LEN
        };
        on_disk.take_while(within).collect()
    }

    /// Takes up a piece of which blocks are on disk, if it is wanted and not begun.
    pub(crate) fn restore(&mut self, partial: &PartialPiece, cx: &mut Cx) {
        let piece = partial.piece;
        if !self.picker.is_wanted(piece) {
            return;
        }
        let progress = Progress::restored(partial, self.geometry.clone(), cx.conf.requests.run_len);
        let whole = !progress.is_awaited();
        self.active.insert(piece, progress);
        self.picker.take(piece);
        if whole {
            self.submit(piece, cx);
        }
    }

    /// What is on disk of this piece, if it is unfinished, is not to be relied on and fetched
    /// again. No worker may have a part of it.
    pub(crate) fn forget_stored(&mut self, piece: PieceIndex, cx: &mut Cx) {
        let forget = |progress: &mut Progress| {
            progress.forget_stored();
            progress.is_untouched()
        };
        let Some(is_untouched) = self.active.change(piece, forget) else { return };
        if is_untouched {
            self.active.remove(piece, cx.leases.pieces_mut());
            self.picker.put_back(piece);
        }
        self.refills.want();
    }

    /// Has what is in memory of unfinished pieces written, as far as nothing of it is on order.
    /// Returns whether there was any.
    pub(crate) fn flush(&mut self, cx: &mut Cx) -> bool {
        if !self.work.may_write() {
            return false;
        }
        let runs: Vec<_> = self.active.iter_mut().flat_map(|(_, p)| p.poll_flush()).collect();
        let any = !runs.is_empty();
        for run in runs {
            self.work.begin_run();
            cx.job(Job::Run { torrent: self.torrent(), run });
        }
        any
    }
}
