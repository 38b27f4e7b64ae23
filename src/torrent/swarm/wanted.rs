//! What is had and what is wanted: the counts of both, and pieces that are skipped from now on or
//! no longer. It knows pieces, and nothing of files or of who is asked.

use super::Swarm;
use crate::{
    base::{
        bitfield::Bitfield,
        files::Priority,
        geometry::{Geometry, PieceIndex},
        rng::Rng,
    },
    torrent::{cx::Cx, picker::Picker},
};

/// The pieces that are had, and how much that is of what is wanted.
#[derive(Debug)]
pub(super) struct Stock {
    have: Bitfield,
    amounts: Amounts,
}

/// How much there is and how much is wanted, in bytes.
#[derive(Clone, Copy, Debug, Default)]
struct Amounts {
    /// Of pieces that are had.
    have_bytes: u64,
    /// Of pieces that are not skipped.
    wanted_bytes: u64,
    /// Of those, the ones that are had.
    wanted_have_bytes: u64,
    /// How many pieces are not skipped and not had.
    missing: u32,
}

impl Stock {
    /// Nothing, and nothing is counted.
    pub(super) fn new(geometry: &Geometry) -> Self {
        Self { have: Bitfield::none(geometry.piece_count()), amounts: Amounts::default() }
    }

    pub(super) fn have(&self) -> &Bitfield {
        &self.have
    }

    /// A piece of so many bytes is had from now on.
    fn add(&mut self, piece: PieceIndex, len: u64, is_wanted: bool) {
        if self.have.set(piece) {
            self.amounts.have_bytes += len;
            if is_wanted {
                self.amounts.wanted_have_bytes += len;
                self.amounts.missing = self.amounts.missing.saturating_sub(1);
            }
        }
    }

    /// Counts anew what is had and wanted, each piece with its length.
    fn recount(&mut self, pieces: impl Iterator<Item = (PieceIndex, u64, bool)>) {
        let mut amounts = Amounts::default();
        for (piece, len, wanted) in pieces {
            let has = self.have.has(piece);
            amounts.have_bytes += if has { len } else { 0 };
            amounts.wanted_bytes += if wanted { len } else { 0 };
            amounts.wanted_have_bytes += if wanted && has { len } else { 0 };
            amounts.missing += u32::from(wanted && !has);
        }
        self.amounts = amounts;
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn missing(&self) -> u32 {
        self.amounts.missing
    }
}

impl Swarm {
    /// Begins anew with these pieces. Nothing may be in progress.
    pub(crate) fn set_have(&mut self, have: Bitfield) {
        self.stock.have = have;
        self.recount();
    }

    /// The pieces that are had.
    pub(crate) fn have(&self) -> &Bitfield {
        &self.stock.have
    }

    /// Bytes of pieces that are had.
    pub(crate) fn have_bytes(&self) -> u64 {
        self.stock.amounts.have_bytes
    }

    /// Bytes of pieces that are not skipped.
    pub(crate) fn wanted_bytes(&self) -> u64 {
        self.stock.amounts.wanted_bytes
    }

    /// Of those, the bytes of pieces that are had.
    pub(crate) fn wanted_have_bytes(&self) -> u64 {
        self.stock.amounts.wanted_have_bytes
    }

    /// Counts anew what is had and wanted.
    pub(crate) fn recount(&mut self) {
        let Self { stock, geometry, picker, .. } = self;
        stock.recount(geometry.pieces().map(|piece| {
            let len = u64::from(geometry.piece_len(piece));
            (piece, len, picker.level(piece) != Priority::Skip)
        }));
    }

    /// As much is had and wanted as in the ledger before this one, until it is known what is there.
    pub(crate) fn inherit_amounts(&mut self, earlier: &Self) {
        self.stock.amounts = earlier.stock.amounts;
    }

    /// What is there is known: pieces that are wanted as `levels` says may be picked and ordered.
    pub(crate) fn open(&mut self, levels: Vec<Priority>, sequential: bool, rng: &mut Rng) {
        let geometry = self.geometry.clone();
        self.picker = Picker::new(geometry, &self.stock.have, levels, sequential, rng);
        self.set_unknown_aside();
        self.recount();
        self.allow_orders();
    }

    /// Pieces are picked in order, or the rarest first.
    pub(crate) fn set_sequential(&mut self, sequential: bool) {
        self.picker.set_sequential(sequential);
        self.refills.want();
    }

    /// Whether pieces are picked in order.
    pub(crate) fn is_sequential(&self) -> bool {
        self.picker.is_sequential()
    }

    /// A piece was found on disk and is good.
    pub(crate) fn add_checked(&mut self, piece: PieceIndex) {
        self.paroles.settle(piece);
        let is_wanted = !self.is_skipped(piece);
        self.stock.add(piece, u64::from(self.geometry.piece_len(piece)), is_wanted);
    }

    /// `piece` is not picked any more.
    #[cfg(test)]
    pub(crate) fn set_aside(&mut self, piece: PieceIndex) {
        self.picker.take(piece);
    }

    /// Whether no wanted piece is to be had from any connected peer.
    #[cfg(test)]
    pub(crate) fn is_exhausted(&self) -> bool {
        self.picker.is_exhausted()
    }

    /// Whether `piece` is to be had and is not.
    pub(crate) fn wants(&self, piece: PieceIndex) -> bool {
        !self.stock.have.has(piece) && self.picker.level(piece) != Priority::Skip
    }

    /// Whether we have every piece that is wanted.
    pub(crate) fn is_finished(&self) -> bool {
        self.stock.amounts.missing == 0
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.stock.have.is_full()
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
            let busy = self.active.contains(piece) || self.failures.is_looked_at(piece);
            let unknown = self.expected(piece).is_none();
            if old == Priority::Skip && !busy && !unknown && !self.stock.have.has(piece) {
                self.picker.put_back(piece);
            }
        }
        self.recount();
        self.refills.want();
    }

    /// Pieces whose hash is not known cannot be verified: they are wanted, and not picked.
    fn set_unknown_aside(&mut self) {
        if self.hashes().is_complete() {
            return;
        }
        for piece in self.geometry.pieces().filter(|&piece| !self.stock.have.has(piece)) {
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
            self.counters.waste(progress.received_len());
            self.active.remove(piece, cx.leases.pieces_mut());
            self.refills.want();
        }
    }
}
