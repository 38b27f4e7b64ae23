//! What is had and what is wanted: the counts of both, and pieces that are skipped from now on or
//! no longer. It knows pieces, and nothing of files or of who is asked.

use super::Swarm;
use crate::{
    base::{bitfield::Bitfield, files::Priority, geometry::PieceIndex},
    torrent::cx::Cx,
};

/// How much there is and how much is wanted, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Amounts {
    /// Of pieces that are had.
    pub(crate) have_bytes: u64,
    /// Of pieces that are not skipped.
    pub(crate) wanted_bytes: u64,
    /// Of those, the ones that are had.
    pub(crate) wanted_have_bytes: u64,
    /// How many pieces are not skipped and not had.
    pub(crate) missing: u32,
}

impl Swarm {
    /// Begins anew with these pieces. Nothing may be in progress.
    pub(crate) fn set_have(&mut self, have: Bitfield) {
        self.have = have;
        self.recount();
    }

    /// Counts anew what is had and wanted.
    pub(crate) fn recount(&mut self) {
        let mut amounts = Amounts::default();
        for piece in self.geometry.pieces() {
            let (len, has) = (u64::from(self.geometry.piece_len(piece)), self.have.has(piece));
            let wanted = !self.is_skipped(piece);
            amounts.have_bytes += if has { len } else { 0 };
            amounts.wanted_bytes += if wanted { len } else { 0 };
            amounts.wanted_have_bytes += if wanted && has { len } else { 0 };
            amounts.missing += u32::from(wanted && !has);
        }
        self.amounts = amounts;
    }

    /// A piece was found on disk and is good.
    pub(crate) fn add_checked(&mut self, piece: PieceIndex) {
        self.paroles.settle(piece);
        if self.have.set(piece) {
            let len = u64::from(self.geometry.piece_len(piece));
            self.amounts.have_bytes += len;
            if self.picker.level(piece) != Priority::Skip {
                self.amounts.wanted_have_bytes += len;
                self.amounts.missing = self.amounts.missing.saturating_sub(1);
            }
        }
    }

    /// Whether `piece` is to be had and is not.
    pub(crate) fn wants(&self, piece: PieceIndex) -> bool {
        !self.have.has(piece) && self.picker.level(piece) != Priority::Skip
    }

    /// Whether we have every piece that is wanted.
    pub(crate) fn is_finished(&self) -> bool {
        self.amounts.missing == 0
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.have.is_full()
    }

    pub(crate) fn is_skipped(&self, piece: PieceIndex) -> bool {
        self.picker.level(piece) == Priority::Skip
    }

    /// Whether we want no data and say so (BEP 21). A super-seed does not, or those who have what
    /// it showed would leave.
    pub(crate) fn is_upload_only(&self) -> bool {
        self.is_finished() && self.super_seed.is_none()
    }

    /// From now on each piece is wanted as `level` says. When the sessions have called off their
    /// orders of what is skipped now, the rest of it is to be [forgone](Self::forgo_skipped).
    pub(crate) fn set_levels(&mut self, level: impl Fn(PieceIndex) -> Priority) {
        for piece in self.geometry.pieces() {
            let (old, new) = (self.picker.level(piece), level(piece));
            if old == new {
                continue;
            }
            self.picker.set_level(piece, new);
            let busy = self.active.contains(piece) || self.failures.digesting.contains_key(&piece);
            let unknown = self.expected(piece).is_none();
            if old == Priority::Skip && !busy && !unknown && !self.have.has(piece) {
                self.picker.put_back(piece);
            }
        }
        self.recount();
        self.refill = true;
    }

    /// Pieces whose hash is not known cannot be verified: they are wanted, and not picked.
    pub(crate) fn set_unknown_aside(&mut self) {
        if self.hashes().is_complete() {
            return;
        }
        for piece in self.geometry.pieces().filter(|&piece| !self.have.has(piece)) {
            if self.expected(piece).is_none() {
                self.picker.take(piece);
            }
        }
    }

    /// Gives up what has come of pieces that are skipped, unless a worker has a part of them: then
    /// when that is answered.
    pub(crate) fn forgo_skipped(&mut self, cx: &mut Cx) {
        for piece in self.active.pieces() {
            self.forgo(piece, cx);
        }
    }

    /// The same for one piece.
    pub(super) fn forgo(&mut self, piece: PieceIndex, cx: &mut Cx) {
        if self.picker.level(piece) == Priority::Skip
            && let Some(progress) = self.active.get(piece).filter(|p| !p.is_out())
        {
            self.counters.wasted += progress.received_len();
            self.active.remove(piece, cx.leases.pieces_mut());
            self.refill = true;
        }
    }
}
