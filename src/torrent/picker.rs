//! Which piece to begin next: of those wanted most the rarest that a peer has, equals in random
//! order; or the first, in sequential mode.
//!
//! It holds the pieces that are wanted and not begun. It does not know files, peers, blocks or
//! buffers.

mod order;
#[cfg(test)]
mod tests;

use crate::base::{
    bitfield::Bitfield,
    files::Priority,
    geometry::{Geometry, PieceIndex},
    rng::Rng,
};
use order::{NOWHERE, Order};

/// Levels of priority at which pieces are wanted.
const LEVELS: usize = 3;

/// Wanted pieces, an [`Order`] for each priority: usually all are in one of them, and the others
/// cost nothing.
#[derive(Debug)]
pub(crate) struct Picker {
    geometry: Geometry,
    /// Those wanted most first.
    orders: [Order; LEVELS],
    /// Where each piece is in its order, or `NOWHERE`.
    place: Vec<u32>,
    /// How much each piece is wanted; empty if all are [`Priority::Normal`].
    levels: Vec<Priority>,
    /// Connected peers that have each piece, those that have all of them not counted.
    available: Vec<u16>,
    seeds: u32,
    sequential: bool,
}

/// The order in which pieces of a priority are, if they are wanted.
fn order_of(level: Priority) -> Option<usize> {
    match level {
        Priority::High => Some(0),
        Priority::Normal => Some(1),
        Priority::Low => Some(2),
        Priority::Skip => None,
    }
}

impl Picker {
    /// All pieces wanted but those in `have`, as much as `levels` says: an entry a piece, or none
    /// if all are [`Priority::Normal`].
    pub(crate) fn new(
        geometry: Geometry,
        have: &Bitfield,
        levels: Vec<Priority>,
        sequential: bool,
        rng: &mut Rng,
    ) -> Self {
        let count = geometry.piece_count();
        let mut wanted: Vec<u32> =
            geometry.pieces().filter(|&p| !have.has(p)).map(PieceIndex::get).collect();
        rng.shuffle(&mut wanted);
        let mut orders =
            [(); LEVELS].map(|()| Order { pieces: Vec::new(), starts: Vec::new(), first: 0 });
        if levels.is_empty() {
            orders[1].pieces = wanted;
        } else {
            for piece in wanted {
                if let Some(at) = levels.get(piece as usize).copied().and_then(order_of) {
                    orders[at].pieces.push(piece);
                }
            }
        }
        let mut place = vec![NOWHERE; count as usize];
        for order in &mut orders {
            order.starts = vec![0, order.pieces.len() as u32];
            for (at, &piece) in order.pieces.iter().enumerate() {
                if let Some(slot) = place.get_mut(piece as usize) {
                    *slot = at as u32;
                }
            }
        }
        Self {
            geometry,
            orders,
            place,
            levels,
            available: vec![0; count as usize],
            seeds: 0,
            sequential,
        }
    }

    /// Of a torrent that wants nothing for now and has no peers: it takes no memory, and is
    /// replaced when that changes.
    pub(crate) fn none(geometry: Geometry, levels: Vec<Priority>) -> Self {
        let orders =
            [(); LEVELS].map(|()| Order { pieces: Vec::new(), starts: Vec::new(), first: 0 });
        let (place, available) = Default::default();
        Self { geometry, orders, place, levels, available, seeds: 0, sequential: false }
    }

    /// Pieces wanted and not begun.
    pub(crate) fn len(&self) -> usize {
        self.orders.iter().map(|order| order.pieces.len()).sum()
    }

    /// Whether no wanted piece is to be had from any connected peer.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.orders
            .iter()
            .all(|order| order.pieces.is_empty() || (self.seeds == 0 && order.is_unavailable()))
    }

    pub(crate) fn set_sequential(&mut self, sequential: bool) {
        self.sequential = sequential;
    }

    /// Whether pieces are picked in order instead of rarest first.
    pub(crate) fn is_sequential(&self) -> bool {
        self.sequential
    }

    pub(crate) fn is_wanted(&self, piece: PieceIndex) -> bool {
        self.place.get(piece.at()).is_some_and(|&at| at != NOWHERE)
    }

    /// Whether `piece` is wanted, and no other that is not begun is wanted more.
    pub(crate) fn is_wanted_most(&self, piece: PieceIndex) -> bool {
        self.is_wanted(piece)
            && order_of(self.level(piece))
                == self.orders.iter().position(|order| !order.pieces.is_empty())
    }

    /// How much `piece` is wanted, whether it is had or not.
    pub(crate) fn level(&self, piece: PieceIndex) -> Priority {
        self.level_of(piece.get())
    }

    fn level_of(&self, piece: u32) -> Priority {
        self.levels.get(piece as usize).copied().unwrap_or_default()
    }

    /// From now on `piece` is wanted so much. If it is [`Priority::Skip`] it is not picked, and
    /// [`put_back`](Self::put_back) does nothing; one that was skipped is picked only after it
    /// was put back.
    pub(crate) fn set_level(&mut self, piece: PieceIndex, level: Priority) {
        if self.level(piece) == level {
            return;
        }
        if self.levels.is_empty() {
            self.levels = vec![Priority::Normal; self.geometry.piece_count() as usize];
        }
        let wanted = self.is_wanted(piece);
        self.take(piece);
        if let Some(slot) = self.levels.get_mut(piece.at()) {
            *slot = level;
        }
        if wanted {
            self.put_back(piece);
        }
    }

    /// Connected peers that have `piece`.
    pub(crate) fn availability(&self, piece: PieceIndex) -> u32 {
        self.seeds + self.available.get(piece.at()).map_or(0, |&a| u32::from(a))
    }

    /// A peer came with these pieces.
    pub(crate) fn add_peer(&mut self, has: &Bitfield) {
        if has.is_full() {
            self.seeds += 1;
        } else {
            has.ones().for_each(|piece| self.more(piece));
        }
    }

    /// A peer left that had these pieces.
    pub(crate) fn remove_peer(&mut self, has: &Bitfield) {
        if has.is_full() {
            self.seeds = self.seeds.saturating_sub(1);
        } else {
            has.ones().for_each(|piece| self.less(piece));
        }
    }

    /// A peer that has `has`, which now includes `piece`, did not have `piece` before.
    pub(crate) fn add_piece(&mut self, piece: PieceIndex, has: &Bitfield) {
        self.more(piece.get());
        if has.is_full() {
            has.ones().for_each(|piece| self.less(piece));
            self.seeds += 1;
        }
    }

    /// A peer that has `has`, which does not include `piece` any more, had it before.
    pub(crate) fn remove_piece(&mut self, piece: PieceIndex, has: &Bitfield) {
        if has.count() + 1 == has.len() {
            self.seeds = self.seeds.saturating_sub(1);
            has.ones().for_each(|piece| self.more(piece));
        } else {
            self.less(piece.get());
        }
    }

    /// `piece` is begun, or had: it is picked no more.
    pub(crate) fn take(&mut self, piece: PieceIndex) {
        let Some((order, place, bucket)) = self.find(piece.get()) else { return };
        order.take(piece.get(), bucket, place);
    }

    /// `piece` is wanted after all, unless it is skipped.
    pub(crate) fn put_back(&mut self, piece: PieceIndex) {
        if self.is_wanted(piece) {
            return;
        }
        let Some(&available) = self.available.get(piece.at()) else { return };
        if let Some(order) = order_of(self.level(piece)).and_then(|at| self.orders.get_mut(at)) {
            order.add(piece.get(), available as usize, &mut self.place);
        }
    }

    /// The best piece that `has` offers and that is `fit`. It stays until it is
    /// [taken](Self::take).
    pub(crate) fn pick(
        &mut self,
        has: &Bitfield,
        fit: impl Fn(&Self, PieceIndex) -> bool + Copy,
    ) -> Option<PieceIndex> {
        (0..LEVELS).find_map(|at| {
            if self.sequential {
                self.pick_first(at, has, fit)
            } else {
                self.pick_rarest(at, has, fit)
            }
        })
    }

    fn pick_first(
        &mut self,
        at: usize,
        has: &Bitfield,
        fit: impl Fn(&Self, PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        let order = self.orders.get(at).filter(|order| !order.pieces.is_empty())?;
        let is_in = |picker: &Self, p: u32| {
            picker.place.get(p as usize).is_some_and(|&at| at != NOWHERE)
                && order_of(picker.level_of(p)) == Some(at)
        };
        let end = self.geometry.piece_count();
        let first = (order.first..end).find(|&p| is_in(self, p)).unwrap_or(end);
        if let Some(order) = self.orders.get_mut(at) {
            order.first = first;
        }
        let mut rest =
            (first..end).filter(|&p| is_in(self, p)).filter_map(|p| self.geometry.piece(p).ok());
        rest.find(|&p| has.has(p) && fit(self, p))
    }

    fn pick_rarest(
        &self,
        at: usize,
        has: &Bitfield,
        fit: impl Fn(&Self, PieceIndex) -> bool,
    ) -> Option<PieceIndex> {
        let order = self.orders.get(at).filter(|order| !order.pieces.is_empty())?;
        let found = if (has.count() as usize) < order.pieces.len() / 8 {
            // It has few: look through those instead of through all.
            let here = |&p: &u32| {
                self.place[p as usize] != NOWHERE
                    && order_of(self.level_of(p)) == Some(at)
                    && self.offers(has, p, &fit)
            };
            has.ones().filter(here).min_by_key(|&p| self.place[p as usize])
        } else {
            order.pieces.iter().copied().find(|&p| self.offers(has, p, &fit))
        };
        found.and_then(|p| self.geometry.piece(p).ok())
    }

    fn offers(&self, has: &Bitfield, piece: u32, fit: impl Fn(&Self, PieceIndex) -> bool) -> bool {
        self.geometry.piece(piece).is_ok_and(|p| has.has(p) && fit(self, p))
    }

    /// The order that `piece` is in, if it is wanted, with the table of places and the bucket.
    fn find(&mut self, piece: u32) -> Option<(&mut Order, &mut [u32], usize)> {
        if *self.place.get(piece as usize)? == NOWHERE {
            return None;
        }
        let order = order_of(self.level_of(piece))?;
        let bucket = *self.available.get(piece as usize)? as usize;
        Some((self.orders.get_mut(order)?, &mut self.place, bucket))
    }

    fn more(&mut self, piece: u32) {
        if let Some((order, place, bucket)) = self.find(piece) {
            if bucket + 2 == order.starts.len() {
                order.starts.push(order.pieces.len() as u32);
            }
            order.swap_to_end_of(bucket, piece, place);
        }
        if let Some(available) = self.available.get_mut(piece as usize) {
            *available += 1;
        }
    }

    fn less(&mut self, piece: u32) {
        if self.available.get(piece as usize).is_none_or(|&a| a == 0) {
            return;
        }
        if let Some((order, place, bucket)) = self.find(piece) {
            order.swap_to_start_of(bucket, piece, place);
        }
        self.available[piece as usize] -= 1;
    }

    /// What is wrong with the orders, if anything.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn audit(&self) -> Result<(), String> {
        for (nth, Order { pieces, starts, .. }) in self.orders.iter().enumerate() {
            if starts.first() != Some(&0)
                || starts.last().map(|&end| end as usize) != Some(pieces.len())
            {
                return Err(format!("{} wanted pieces in buckets {starts:?}", pieces.len()));
            }
            for (at, &piece) in pieces.iter().enumerate() {
                let place = self.place.get(piece as usize).copied();
                let available =
                    self.available.get(piece as usize).map_or(usize::MAX, |&a| usize::from(a));
                let bucket = starts.get(available).zip(starts.get(available.saturating_add(1)));
                if place != Some(at as u32)
                    || !bucket.is_some_and(|(from, to)| (*from..*to).contains(&(at as u32)))
                {
                    return Err(format!(
                        "piece {piece} is at {at}, placed at {place:?}, with {available} peers: \
                         {starts:?}"
                    ));
                }
                if order_of(self.level_of(piece)) != Some(nth) {
                    return Err(format!(
                        "piece {piece} is wanted {:?} and in order {nth}",
                        self.level_of(piece)
                    ));
                }
            }
        }
        let placed = self.place.iter().filter(|&&p| p != NOWHERE).count();
        if placed != self.len() {
            return Err(format!("{placed} pieces have a place and {} are wanted", self.len()));
        }
        Ok(())
    }

    #[cfg(test)]
    fn check(&self) {
        self.audit().unwrap();
    }
}
