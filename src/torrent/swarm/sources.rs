//! Who has what: the pieces of each peer and web seed count in the picker, and a super-seed learns
//! from them what has been passed on. It knows sets of pieces, and nothing of who has them.

use super::Swarm;
use crate::{
    base::{
        arena::Key,
        bitfield::Bitfield,
        geometry::{Block, PieceIndex},
        rng::Rng,
        time::Instant,
    },
    torrent::superseed::SuperSeed,
};

impl Swarm {
    /// The peer of this link has these pieces.
    pub(crate) fn add_peer(&mut self, link: Key, has: &Bitfield) {
        self.picker.add_peer(has);
        if let Some(ledger) = &mut self.super_seed {
            ledger.handle_bitfield(link, has);
        }
    }

    /// It has one more, and `has` with that.
    pub(crate) fn add_piece(&mut self, link: Key, piece: PieceIndex, has: &Bitfield, now: Instant) {
        self.picker.add_piece(piece, has);
        if let Some(ledger) = &mut self.super_seed {
            ledger.handle_have(now, link, piece);
        }
    }

    /// It has one less, and `has` without that.
    pub(crate) fn remove_piece(&mut self, piece: PieceIndex, has: &Bitfield) {
        self.picker.remove_piece(piece, has);
    }

    /// It is gone; `counted`: what was added of it.
    pub(crate) fn remove_peer(&mut self, link: Key, counted: Option<&Bitfield>) {
        if let Some(has) = counted {
            self.picker.remove_peer(has);
        }
        if let Some(ledger) = &mut self.super_seed {
            ledger.forget(link);
        }
    }

    /// A web seed has these pieces.
    pub(crate) fn add_web_seed(&mut self, has: &Bitfield) {
        self.picker.add_peer(has);
    }

    /// It has them no longer.
    pub(crate) fn remove_web_seed(&mut self, has: &Bitfield) {
        self.picker.remove_peer(has);
    }

    /// How many have `piece`.
    pub(crate) fn availability(&self, piece: PieceIndex) -> u32 {
        self.picker.availability(piece)
    }

    /// From now on each peer is shown as few pieces as may be.
    pub(crate) fn begin_super_seeding(&mut self, rng: &mut Rng) {
        self.super_seed = Some(Box::new(SuperSeed::new(&self.geometry, rng)));
    }

    /// Peers are shown everything. Returns whether they were not.
    pub(crate) fn end_super_seeding(&mut self) -> bool {
        self.super_seed.take().is_some()
    }

    /// Whether we pretend to have less than we do.
    pub(crate) fn is_super_seeding(&self) -> bool {
        self.super_seed.is_some()
    }

    /// A super-seed looks again which peers it may show a piece.
    pub(crate) fn look_at_shown(&mut self) {
        if let Some(ledger) = &mut self.super_seed {
            ledger.look_again();
        }
    }

    /// The peer of this link asks a super-seed for a block.
    pub(crate) fn note_request(&mut self, link: Key, block: Block, now: Instant) {
        if let Some(ledger) = &mut self.super_seed {
            ledger.handle_request(now, link, block, &self.geometry);
        }
    }

    /// It wants nothing of a super-seed.
    pub(crate) fn note_not_interested(&mut self, link: Key, now: Instant) {
        if let Some(ledger) = &mut self.super_seed {
            ledger.handle_not_interested(now, link);
        }
    }

    /// Whether a super-seed is to look which peers it may show a piece, once.
    pub(crate) fn is_show_due(&mut self) -> bool {
        self.super_seed.as_mut().is_some_and(|ledger| ledger.take_due())
    }

    /// The next piece that a super-seed shows the peer of this link, if that is due for one. It has
    /// `has` and was shown `before`; `alone`: there is no peer to pass it on to.
    pub(crate) fn poll_show(
        &mut self,
        now: Instant,
        link: Key,
        has: &Bitfield,
        before: &Bitfield,
        alone: bool,
    ) -> Option<PieceIndex> {
        let ledger = self.super_seed.as_mut()?;
        ledger.poll(now, link, (has, before), alone, &self.picker)
    }

    /// When a peer will have waited long enough to be shown another piece.
    pub(crate) fn next_show(&self, now: Instant) -> Option<Instant> {
        self.super_seed.as_ref()?.deadline(now)
    }
}
