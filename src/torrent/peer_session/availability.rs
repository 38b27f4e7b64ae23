//! Which pieces a peer has, as it tells us, how many of them we want, and which of ours it is shown
//! by a super-seed (BEP 16).
//!
//! It does not know requests, messages, or the picker's counts.

use super::fault::Fault;
use crate::{
    base::{
        bitfield::Bitfield,
        geometry::{Geometry, PieceIndex},
    },
    torrent::swarm::Swarm,
};

/// Bitfields after the first, beyond one a piece, after which a peer is let go.
const RETOLD_AT_START: u32 = 8;
/// Haves that one peer may be sent at once when super-seeding ends; with more to say the connection
/// begins anew.
const MAX_HAVES: u32 = 32 * 1024;

/// What a peer has and what it may know of what we have.
#[derive(Debug)]
pub(super) struct Availability {
    has: Bitfield,
    /// The peer has told what it has.
    told: bool,
    /// How often it told that again.
    retold: u32,
    /// How often of those by a message of a few bytes.
    cheap_retold: u32,
    /// How often it took a piece back (BEP 54).
    lost: u32,
    /// Pieces that it has and we want.
    wanted: u32,
    /// The pieces that a super-seed has shown it. `None`: whatever we have.
    shown: Option<Bitfield>,
}

impl Availability {
    /// Of a peer of a torrent with so many pieces that has told nothing.
    pub(super) fn new(pieces: u32) -> Self {
        Self {
            has: Bitfield::none(pieces),
            told: false,
            retold: 0,
            cheap_retold: 0,
            lost: 0,
            wanted: 0,
            shown: None,
        }
    }

    /// The pieces that it has.
    pub(super) fn pieces(&self) -> &Bitfield {
        &self.has
    }

    pub(super) fn has(&self, piece: PieceIndex) -> bool {
        self.has.has(piece)
    }

    /// How many pieces it has.
    pub(super) fn count(&self) -> usize {
        self.has.count() as usize
    }

    /// Whether it has everything.
    pub(super) fn is_seed(&self) -> bool {
        self.has.is_full()
    }

    /// Whether it has told what it has.
    pub(super) fn is_told(&self) -> bool {
        self.told
    }

    /// A bitfield came, or what stands for one. BEP 3 wants it first and only once; aria2 sends
    /// another instead of many Haves. The first is taken; of a later one the pieces are returned,
    /// each of which counts as a Have. What is missing in it was not taken back.
    pub(super) fn handle_bitfield(
        &mut self,
        has: Bitfield,
        geometry: &Geometry,
    ) -> Result<Option<Vec<PieceIndex>>, Fault> {
        if !std::mem::replace(&mut self.told, true) {
            self.has = has;
            return Ok(None);
        }
        self.retold += 1;
        // A reason to tell again is a new piece; there is some room for the start.
        let limit = geometry.piece_count().saturating_add(RETOLD_AT_START);
        if self.retold > limit {
            return Err(Fault::Retold(limit));
        }
        let mut pieces = Vec::new();
        for piece in has.ones() {
            let piece = geometry.piece(piece)?;
            if !self.has.has(piece) {
                pieces.push(piece);
            }
        }
        Ok(Some(pieces))
    }

    /// A few bytes that make us look through all pieces may come a few times only; a bitfield pays
    /// for itself by its length.
    pub(super) fn retell_cheaply(&mut self) -> Result<(), Fault> {
        self.cheap_retold += u32::from(self.told);
        if self.cheap_retold > RETOLD_AT_START {
            Err(Fault::Retold(RETOLD_AT_START))
        } else {
            Ok(())
        }
    }

    /// A Have came. Whether it is the first that the peer tells, and whether the piece is news.
    pub(super) fn handle_have(&mut self, piece: PieceIndex) -> (bool, bool) {
        let first = !std::mem::replace(&mut self.told, true);
        (first, self.has.set(piece))
    }

    /// The peer takes `piece` back (BEP 54). Whether it had it. Each piece may be lost once, with
    /// some room for those that come and go; and a seed ceases to be one a few times only, since
    /// that makes us look through all pieces.
    ///
    /// # Errors
    /// If it has lost pieces too often.
    pub(super) fn handle_lost(&mut self, piece: PieceIndex) -> Result<bool, Fault> {
        // A piece of a peer that is let go for this stays, and is counted until it is gone.
        if !self.has.has(piece) {
            return Ok(false);
        }
        self.lost += 1;
        let limit = self.has.len().saturating_add(RETOLD_AT_START);
        if self.lost > limit {
            return Err(Fault::Lost(limit));
        }
        if self.is_seed() {
            self.retell_cheaply()?;
        }
        Ok(self.has.unset(piece))
    }

    // What we want of it.

    /// Pieces that it has and we want.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn wanted(&self) -> u32 {
        self.wanted
    }

    /// Whether it has something that we want.
    pub(super) fn is_interesting(&self) -> bool {
        self.wanted > 0
    }

    /// It has one more piece that we want.
    pub(super) fn want_one(&mut self) {
        self.wanted += 1;
    }

    /// One of the wanted pieces that it has is not wanted any more.
    pub(super) fn unwant_one(&mut self) {
        self.wanted = self.wanted.saturating_sub(1);
    }

    /// Recounts what it has that we want: after its bitfield, or when our own pieces or wishes
    /// changed at once.
    pub(super) fn count_wanted(&mut self, swarm: &Swarm) {
        let geometry = swarm.geometry();
        let wanted = |&p: &u32| geometry.piece(p).is_ok_and(|p| swarm.wants(p));
        self.wanted = self.has.ones().filter(wanted).count() as u32;
    }

    // What a super-seed shows.

    /// The pieces that we pretend to have, if we do.
    pub(super) fn shown(&self) -> Option<&Bitfield> {
        self.shown.as_ref()
    }

    /// Whether the peer may know that we have `piece`.
    pub(super) fn shows(&self, piece: PieceIndex) -> bool {
        self.shown.as_ref().is_none_or(|shown| shown.has(piece))
    }

    /// Begins to pretend that we have nothing.
    pub(super) fn hide_all(&mut self) {
        self.shown = Some(Bitfield::none(self.has.len()));
    }

    /// Pretends to have got `piece`: true if that is to be said.
    pub(super) fn show(&mut self, piece: PieceIndex) -> bool {
        self.shown.as_mut().is_some_and(|shown| shown.set(piece))
    }

    /// Pretends no more. The pieces that are to be said, or `None` if they are too many.
    pub(super) fn show_all(&mut self, swarm: &Swarm) -> Option<Vec<PieceIndex>> {
        let Some(shown) = self.shown.take() else { return Some(Vec::new()) };
        if swarm.have().count().saturating_sub(shown.count()) > MAX_HAVES {
            return None;
        }
        let hidden = |p: &PieceIndex| swarm.have().has(*p) && !shown.has(*p);
        Some(swarm.geometry().pieces().filter(hidden).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::geometry::BLOCK_LEN;

    fn geometry() -> Geometry {
        Geometry::new(10 * u64::from(BLOCK_LEN), BLOCK_LEN).unwrap()
    }

    fn bits(pieces: &[u32]) -> Bitfield {
        let mut bits = Bitfield::none(10);
        pieces.iter().for_each(|&p| assert!(bits.set(geometry().piece(p).unwrap())));
        bits
    }

    #[test]
    fn second_bitfield_adds_pieces_and_takes_none_back() {
        let mut availability = Availability::new(10);
        assert!(availability.handle_bitfield(bits(&[1, 2]), &geometry()).unwrap().is_none());
        let news = availability.handle_bitfield(bits(&[2, 3]), &geometry()).unwrap().unwrap();
        assert_eq!(news.iter().map(|p| p.get()).collect::<Vec<_>>(), [3]);
        assert_eq!(availability.handle_have(news[0]), (false, true));
        assert_eq!(availability.handle_have(news[0]), (false, false));
        assert_eq!(availability.pieces(), &bits(&[1, 2, 3]));
    }

    #[test]
    fn bitfields_are_taken_once_a_piece_and_eight_times_more() {
        let mut availability = Availability::new(10);
        let mut tell = || availability.handle_bitfield(bits(&[1]), &geometry());
        assert!((0..=18).all(|_| tell().is_ok()));
        assert!(matches!(tell(), Err(Fault::Retold(18))));
    }

    #[test]
    fn cheap_bitfields_are_taken_eight_times_after_the_first() {
        let mut availability = Availability::new(10);
        availability.retell_cheaply().unwrap();
        availability.handle_bitfield(bits(&[]), &geometry()).unwrap();
        assert!((0..8).all(|_| availability.retell_cheaply().is_ok()));
        assert!(availability.retell_cheaply().is_err());
    }

    #[test]
    fn seed_that_loses_pieces_nine_times_is_let_go() {
        let mut availability = Availability::new(10);
        let piece = geometry().piece(4).unwrap();
        assert!(!availability.handle_lost(piece).unwrap(), "it never had it");
        availability.handle_bitfield(Bitfield::all(10), &geometry()).unwrap();
        for _ in 0..8 {
            assert!(availability.handle_lost(piece).unwrap());
            assert!(!availability.handle_lost(piece).unwrap() && !availability.has(piece));
            assert_eq!(availability.handle_have(piece), (false, true));
        }
        assert!(matches!(availability.handle_lost(piece), Err(Fault::Retold(8))));
    }

    #[test]
    fn pieces_are_lost_once_each_and_eight_times_more() {
        let mut availability = Availability::new(10);
        let piece = geometry().piece(4).unwrap();
        availability.handle_bitfield(bits(&[1]), &geometry()).unwrap();
        let mut lose = || {
            availability.handle_have(piece);
            availability.handle_lost(piece)
        };
        assert!((0..18).all(|_| lose().unwrap()));
        assert!(matches!(lose(), Err(Fault::Lost(18))));
    }

    #[test]
    fn hidden_pieces_are_shown_one_by_one_and_each_once() {
        let mut availability = Availability::new(10);
        let piece = geometry().piece(4).unwrap();
        assert!(availability.shows(piece) && !availability.show(piece));
        availability.hide_all();
        assert!(!availability.shows(piece));
        assert!(availability.show(piece) && !availability.show(piece));
        assert!(availability.shows(piece));
        assert_eq!(availability.shown(), Some(&bits(&[4])));
    }
}
