//! Which piece to begin next: of those wanted most the rarest that a peer has, equals in random order; or the first, in sequential
//! mode.
//!
//! It holds the pieces that are wanted and not begun. It does not know files, peers, blocks or buffers.

use crate::base::{
    bitfield::Bitfield,
    files::Priority,
    geometry::{Geometry, PieceIndex},
    rng::Rng,
};

const NOWHERE: u32 = u32::MAX;

/// Levels of priority at which pieces are wanted.
const LEVELS: usize = 3;

/// Wanted pieces, an [`Order`] for each priority: usually all are in one of them, and the others cost nothing.
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

/// Wanted pieces of one priority in buckets of equal availability, all in one array: a change of availability moves a piece over
/// one border, a pick by a seed takes the first.
#[derive(Debug)]
struct Order {
    /// Rarest first.
    pieces: Vec<u32>,
    /// `starts[a]` is where the pieces with availability `a` begin in `pieces`; the last entry is its length.
    starts: Vec<u32>,
    /// None of its pieces lies before this.
    first: u32,
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
    /// All pieces wanted but those in `have`, as much as `levels` says: an entry a piece, or none if all are [`Priority::Normal`].
    pub(crate) fn new(geometry: Geometry, have: &Bitfield, levels: Vec<Priority>, sequential: bool, rng: &mut Rng) -> Self {
        let count = geometry.piece_count();
        let mut wanted: Vec<u32> = geometry.pieces().filter(|&p| !have.has(p)).map(PieceIndex::get).collect();
        rng.shuffle(&mut wanted);
        let mut orders = [(); LEVELS].map(|()| Order { pieces: Vec::new(), starts: Vec::new(), first: 0 });
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
        Self { geometry, orders, place, levels, available: vec![0; count as usize], seeds: 0, sequential }
    }

    /// Of a torrent that wants nothing for now and has no peers: it takes no memory, and is replaced when that changes.
    pub(crate) fn none(geometry: Geometry, levels: Vec<Priority>) -> Self {
        let orders = [(); LEVELS].map(|()| Order { pieces: Vec::new(), starts: Vec::new(), first: 0 });
        let (place, available) = Default::default();
        Self { geometry, orders, place, levels, available, seeds: 0, sequential: false }
    }

    /// Pieces wanted and not begun.
    pub(crate) fn len(&self) -> usize {
        self.orders.iter().map(|order| order.pieces.len()).sum()
    }

    /// Whether no wanted piece is to be had from any connected peer.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.orders.iter().all(|order| order.pieces.is_empty() || (self.seeds == 0 && order.nobody_has_any()))
    }

    pub(crate) fn set_sequential(&mut self, sequential: bool) {
        self.sequential = sequential;
    }

    pub(crate) fn is_wanted(&self, piece: PieceIndex) -> bool {
        self.place.get(piece.at()).is_some_and(|&at| at != NOWHERE)
    }

    /// Whether `piece` is wanted, and no other that is not begun is wanted more.
    pub(crate) fn is_wanted_most(&self, piece: PieceIndex) -> bool {
        self.is_wanted(piece) && order_of(self.level(piece)) == self.orders.iter().position(|order| !order.pieces.is_empty())
    }

    /// How much `piece` is wanted, whether it is had or not.
    pub(crate) fn level(&self, piece: PieceIndex) -> Priority {
        self.level_of(piece.get())
    }

    fn level_of(&self, piece: u32) -> Priority {
        self.levels.get(piece as usize).copied().unwrap_or_default()
    }

    /// From now on `piece` is wanted so much. If it is [`Priority::Skip`] it is not picked, and [`put_back`](Self::put_back) does nothing;
    /// one that was skipped is picked only after it was put back.
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

    /// The best piece that `has` offers and that is `fit`. It stays until it is [taken](Self::take).
    pub(crate) fn pick(&mut self, has: &Bitfield, fit: impl Fn(PieceIndex) -> bool + Copy) -> Option<PieceIndex> {
        (0..LEVELS).find_map(|at| if self.sequential { self.pick_first(at, has, fit) } else { self.pick_rarest(at, has, fit) })
    }

    fn pick_first(&mut self, at: usize, has: &Bitfield, fit: impl Fn(PieceIndex) -> bool) -> Option<PieceIndex> {
        let Self { orders, place, levels, geometry, .. } = self;
        let order = orders.get_mut(at).filter(|order| !order.pieces.is_empty())?;
        let level = |p: u32| levels.get(p as usize).copied().unwrap_or_default();
        let is_in = |p: u32| place.get(p as usize).is_some_and(|&at| at != NOWHERE) && order_of(level(p)) == Some(at);
        while order.first < geometry.piece_count() && !is_in(order.first) {
            order.first += 1;
        }
        let mut rest = (order.first..geometry.piece_count()).filter(|&p| is_in(p)).filter_map(|p| geometry.piece(p).ok());
        rest.find(|&p| has.has(p) && fit(p))
    }

    fn pick_rarest(&self, at: usize, has: &Bitfield, fit: impl Fn(PieceIndex) -> bool) -> Option<PieceIndex> {
        let order = self.orders.get(at).filter(|order| !order.pieces.is_empty())?;
        let found = if (has.count() as usize) < order.pieces.len() / 8 {
            // It has few: look through those instead of through all.
            let here = |&p: &u32| {
                self.place[p as usize] != NOWHERE && order_of(self.level_of(p)) == Some(at) && self.offers(has, p, &fit)
            };
            has.ones().filter(here).min_by_key(|&p| self.place[p as usize])
        } else {
            order.pieces.iter().copied().find(|&p| self.offers(has, p, &fit))
        };
        found.and_then(|p| self.geometry.piece(p).ok())
    }

    fn offers(&self, has: &Bitfield, piece: u32, fit: impl Fn(PieceIndex) -> bool) -> bool {
        self.geometry.piece(piece).is_ok_and(|p| has.has(p) && fit(p))
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
            if starts.first() != Some(&0) || starts.last().map(|&end| end as usize) != Some(pieces.len()) {
                return Err(format!("{} wanted pieces in buckets {starts:?}", pieces.len()));
            }
            for (at, &piece) in pieces.iter().enumerate() {
                let place = self.place.get(piece as usize).copied();
                let available = self.available.get(piece as usize).map_or(usize::MAX, |&a| usize::from(a));
                let bucket = starts.get(available).zip(starts.get(available.saturating_add(1)));
                if place != Some(at as u32) || !bucket.is_some_and(|(from, to)| (*from..*to).contains(&(at as u32))) {
                    return Err(format!("piece {piece} is at {at}, placed at {place:?}, with {available} peers: {starts:?}"));
                }
                if order_of(self.level_of(piece)) != Some(nth) {
                    return Err(format!("piece {piece} is wanted {:?} and in order {nth}", self.level_of(piece)));
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

impl Order {
    /// Whether no connected peer, seeds aside, has a piece of it.
    fn nobody_has_any(&self) -> bool {
        self.starts.get(1).copied().unwrap_or_default() as usize == self.pieces.len()
    }

    fn take(&mut self, piece: u32, bucket: usize, place: &mut [u32]) {
        for bucket in bucket..self.starts.len() - 1 {
            self.swap_to_end_of(bucket, piece, place);
        }
        self.pieces.pop();
        place[piece as usize] = NOWHERE;
    }

    fn add(&mut self, piece: u32, bucket: usize, place: &mut [u32]) {
        // Its availability may have grown while it was elsewhere.
        while self.starts.len() < bucket + 2 {
            self.starts.push(self.pieces.len() as u32);
        }
        place[piece as usize] = self.pieces.len() as u32;
        self.pieces.push(piece);
        let last = self.starts.len() - 1;
        self.starts[last] += 1;
        for bucket in (bucket + 1..last).rev() {
            self.swap_to_start_of(bucket, piece, place);
        }
        self.first = self.first.min(piece);
    }

    /// Moves `piece` to the end of `bucket` and the border below it: it is the first of the next bucket then.
    fn swap_to_end_of(&mut self, bucket: usize, piece: u32, place: &mut [u32]) {
        let end = self.starts[bucket + 1] - 1;
        self.swap(place[piece as usize], end, place);
        self.starts[bucket + 1] = end;
    }

    /// Moves `piece` to the start of `bucket` and the border above it: it is the last of the bucket before then.
    fn swap_to_start_of(&mut self, bucket: usize, piece: u32, place: &mut [u32]) {
        let start = self.starts[bucket];
        self.swap(place[piece as usize], start, place);
        self.starts[bucket] = start + 1;
    }

    fn swap(&mut self, a: u32, b: u32, place: &mut [u32]) {
        self.pieces.swap(a as usize, b as usize);
        for at in [a, b] {
            let piece = self.pieces[at as usize];
            place[piece as usize] = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn geometry(n: u64) -> Geometry {
        Geometry::new(n, 1).unwrap()
    }

    fn field(g: Geometry, pieces: &[u32]) -> Bitfield {
        let mut f = Bitfield::none(g.piece_count());
        pieces.iter().for_each(|&p| {
            f.set(g.piece(p).unwrap());
        });
        f
    }

    #[test]
    fn the_rarest_that_the_peer_has_comes_first() {
        let g = geometry(5);
        let mut p = Picker::new(g, &Bitfield::none(5), Vec::new(), false, &mut Rng::new(1));
        p.add_peer(&field(g, &[0, 1, 2, 3]));
        p.add_peer(&field(g, &[0, 1, 2]));
        p.add_peer(&field(g, &[0, 2]));
        p.add_peer(&Bitfield::all(5));
        p.check();
        let all = Bitfield::all(5);
        let mut got = Vec::new();
        while let Some(piece) = p.pick(&all, |_| true) {
            p.take(piece);
            p.check();
            got.push(piece.get());
        }
        assert_eq!(&got[..3], [4, 3, 1]);
        assert_eq!(p.availability(g.piece(4).unwrap()), 1);
        p.put_back(g.piece(3).unwrap());
        p.put_back(g.piece(0).unwrap());
        p.check();
        assert_eq!(p.pick(&all, |_| true), g.piece(3).ok());
        assert_eq!(p.pick(&field(g, &[0, 1]), |_| true), g.piece(0).ok());
        assert_eq!(p.pick(&field(g, &[1]), |_| true), None);
    }

    #[test]
    fn the_start_is_random_and_reproducible() {
        let g = geometry(1000);
        let first = |seed| {
            Picker::new(g, &Bitfield::none(1000), Vec::new(), false, &mut Rng::new(seed)).pick(&Bitfield::all(1000), |_| true)
        };
        assert_eq!(first(1), first(1));
        assert!((2..10).any(|seed| first(seed) != first(1)));
    }

    #[test]
    fn sequential_goes_in_order_and_returns_for_what_was_put_back() {
        let g = geometry(6);
        let mut p = Picker::new(g, &field(g, &[1]), Vec::new(), true, &mut Rng::new(1));
        assert!(p.is_exhausted());
        p.add_peer(&field(g, &[5]));
        assert!(!p.is_exhausted());
        let all = Bitfield::all(6);
        for want in [0, 2, 3] {
            let piece = p.pick(&all, |_| true).unwrap();
            assert_eq!(piece.get(), want);
            p.take(piece);
        }
        p.put_back(g.piece(2).unwrap());
        assert_eq!(p.pick(&all, |_| true), g.piece(2).ok());
        assert_eq!(p.pick(&field(g, &[4, 5]), |_| true), g.piece(4).ok());
    }

    #[test]
    fn what_is_wanted_more_comes_first_and_what_is_skipped_not_at_all() {
        use Priority::{High, Low, Normal, Skip};
        for sequential in [false, true] {
            let g = geometry(8);
            let levels = vec![Low, Normal, High, Skip, High, Normal, Low, Skip];
            let mut p = Picker::new(g, &field(g, &[5]), levels, sequential, &mut Rng::new(1));
            p.add_peer(&Bitfield::all(8));
            // Rarity counts among equals only.
            p.add_peer(&field(g, &[0, 2, 3]));
            assert!(p.len() == 5 && p.is_wanted_most(g.piece(2).unwrap()) && !p.is_wanted_most(g.piece(1).unwrap()));
            let mut got = Vec::new();
            while let Some(piece) = p.pick(&Bitfield::all(8), |_| true) {
                p.take(piece);
                p.check();
                got.push(piece.get());
            }
            assert_eq!(got, if sequential { [2, 4, 1, 0, 6] } else { [4, 2, 1, 6, 0] });
            assert!(p.is_exhausted());
            // Skipped, it stays away; wanted again, it has to be put back.
            p.put_back(g.piece(3).unwrap());
            assert!(!p.is_wanted(g.piece(3).unwrap()));
            p.set_level(g.piece(3).unwrap(), Normal);
            p.put_back(g.piece(3).unwrap());
            p.put_back(g.piece(0).unwrap());
            assert_eq!(p.pick(&Bitfield::all(8), |_| true), g.piece(3).ok());
            p.set_level(g.piece(0).unwrap(), High);
            p.check();
            assert_eq!(p.pick(&Bitfield::all(8), |_| true), g.piece(0).ok());
            assert_eq!(p.pick(&field(g, &[1, 3]), |_| true), g.piece(3).ok());
        }
    }

    #[test]
    fn random_changes_keep_the_buckets_right() {
        let g = geometry(40);
        let mut rng = Rng::new(3);
        let mut p = Picker::new(g, &Bitfield::none(40), Vec::new(), false, &mut rng);
        let mut peers: Vec<Bitfield> = Vec::new();
        for _ in 0..3000 {
            let piece = g.piece(rng.below(40) as u32).unwrap();
            match rng.below(7) {
                6 => {
                    use Priority::{High, Low, Normal, Skip};
                    let was = p.is_wanted(piece);
                    let level = [Skip, Low, Normal, High][rng.below(4) as usize];
                    p.set_level(piece, level);
                    assert_eq!(p.is_wanted(piece), was && level != Skip);
                }
                0 => {
                    let mut f = Bitfield::none(40);
                    g.pieces().filter(|_| rng.below(2) == 0).for_each(|p| {
                        f.set(p);
                    });
                    p.add_peer(&f);
                    peers.push(f);
                }
                1 if !peers.is_empty() => p.remove_peer(&peers.swap_remove(rng.below(peers.len() as u64) as usize)),
                2 if !peers.is_empty() => {
                    let at = rng.below(peers.len() as u64) as usize;
                    if peers[at].set(piece) {
                        p.add_piece(piece, &peers[at].clone());
                    }
                }
                3 => p.take(piece),
                _ => p.put_back(piece),
            }
            p.check();
            let has = peers.iter().filter(|f| f.has(piece)).count() as u32;
            assert_eq!(p.availability(piece), has);
        }
    }
}
