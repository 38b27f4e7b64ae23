//! Which piece to begin next: the rarest that a peer has, equals in random order; or the first, in sequential mode.
//!
//! It holds the pieces that are wanted and not begun. It does not know peers, blocks or buffers.

use crate::base::{
    bitfield::Bitfield,
    geometry::{Geometry, PieceIndex},
    rng::Rng,
};

const NOWHERE: u32 = u32::MAX;

/// Wanted pieces in buckets of equal availability, all in one array: a change of availability moves a piece over one
/// border, a pick by a seed takes the first.
#[derive(Debug)]
pub(crate) struct Picker {
    geometry: Geometry,
    /// Wanted pieces, rarest first.
    order: Vec<u32>,
    /// Where each piece is in `order`, or `NOWHERE`.
    place: Vec<u32>,
    /// Connected peers that have each piece, those that have all of them not counted.
    available: Vec<u16>,
    /// `starts[a]` is where the pieces with availability `a` begin in `order`; the last entry is its length.
    starts: Vec<u32>,
    seeds: u32,
    sequential: bool,
    /// No wanted piece lies before this.
    first: u32,
}

impl Picker {
    /// All pieces wanted but those in `have`.
    pub(crate) fn new(geometry: Geometry, have: &Bitfield, sequential: bool, rng: &mut Rng) -> Self {
        let count = geometry.piece_count();
        let mut order: Vec<u32> = geometry.pieces().filter(|&p| !have.has(p)).map(PieceIndex::get).collect();
        rng.shuffle(&mut order);
        let mut place = vec![NOWHERE; count as usize];
        for (at, &piece) in order.iter().enumerate() {
            if let Some(slot) = place.get_mut(piece as usize) {
                *slot = at as u32;
            }
        }
        let starts = vec![0, order.len() as u32];
        Self { geometry, order, place, available: vec![0; count as usize], starts, seeds: 0, sequential, first: 0 }
    }

    /// Of a torrent that wants nothing for now and has no peers: it takes no memory, and is replaced when that changes.
    pub(crate) fn none(geometry: Geometry) -> Self {
        let (order, place, available, starts) = Default::default();
        Self { geometry, order, place, available, starts, seeds: 0, sequential: false, first: 0 }
    }

    /// Pieces wanted and not begun.
    pub(crate) fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether no wanted piece is to be had from any connected peer.
    pub(crate) fn is_exhausted(&self) -> bool {
        let nobody_has = self.starts.get(1).copied().unwrap_or_default() as usize;
        self.order.is_empty() || (self.seeds == 0 && nobody_has == self.order.len())
    }

    pub(crate) fn set_sequential(&mut self, sequential: bool) {
        self.sequential = sequential;
    }

    pub(crate) fn is_wanted(&self, piece: PieceIndex) -> bool {
        self.place.get(piece.at()).is_some_and(|&at| at != NOWHERE)
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
        let Some(bucket) = self.bucket_of(piece.get()) else { return };
        for bucket in bucket..self.starts.len().saturating_sub(1) {
            self.swap_to_end_of(bucket, piece.get());
        }
        self.order.pop();
        self.place[piece.at()] = NOWHERE;
    }

    /// `piece` is wanted after all.
    pub(crate) fn put_back(&mut self, piece: PieceIndex) {
        if self.is_wanted(piece) {
            return;
        }
        let Some(&available) = self.available.get(piece.at()) else { return };
        self.place[piece.at()] = self.order.len() as u32;
        self.order.push(piece.get());
        let last = self.starts.len() - 1;
        self.starts[last] += 1;
        for bucket in (available as usize + 1..last).rev() {
            self.swap_to_start_of(bucket, piece.get());
        }
        self.first = self.first.min(piece.get());
    }

    /// The best piece that `has` offers. It stays until it is [taken](Self::take).
    pub(crate) fn pick(&mut self, has: &Bitfield) -> Option<PieceIndex> {
        let found = if self.sequential {
            while self.first < self.place.len() as u32 && self.place[self.first as usize] == NOWHERE {
                self.first += 1;
            }
            (self.first..self.geometry.piece_count()).find(|&p| self.place[p as usize] != NOWHERE && self.offers(has, p))
        } else if (has.count() as usize) < self.order.len() / 8 {
            // It has few: look through those instead of through all.
            has.ones().filter(|&p| self.place[p as usize] != NOWHERE).min_by_key(|&p| self.place[p as usize])
        } else {
            self.order.iter().copied().find(|&p| self.offers(has, p))
        };
        found.and_then(|p| self.geometry.piece(p).ok())
    }

    fn offers(&self, has: &Bitfield, piece: u32) -> bool {
        self.geometry.piece(piece).is_ok_and(|p| has.has(p))
    }

    /// The bucket that `piece` lies in, if it is wanted.
    fn bucket_of(&self, piece: u32) -> Option<usize> {
        let at = *self.place.get(piece as usize)?;
        (at != NOWHERE).then(|| self.available[piece as usize] as usize)
    }

    fn more(&mut self, piece: u32) {
        if let Some(bucket) = self.bucket_of(piece) {
            if bucket + 2 == self.starts.len() {
                self.starts.push(self.order.len() as u32);
            }
            self.swap_to_end_of(bucket, piece);
        }
        if let Some(available) = self.available.get_mut(piece as usize) {
            *available += 1;
        }
        // A piece that is not wanted may be put back later: its bucket must exist then.
        let needed = self.available.get(piece as usize).map_or(0, |&a| a as usize) + 2;
        while self.starts.len() < needed {
            self.starts.push(self.order.len() as u32);
        }
    }

    fn less(&mut self, piece: u32) {
        if self.available.get(piece as usize).is_none_or(|&a| a == 0) {
            return;
        }
        if let Some(bucket) = self.bucket_of(piece) {
            self.swap_to_start_of(bucket, piece);
        }
        self.available[piece as usize] -= 1;
    }

    /// Moves `piece` to the end of `bucket` and the border below it: it is the first of the next bucket then.
    fn swap_to_end_of(&mut self, bucket: usize, piece: u32) {
        let end = self.starts[bucket + 1] - 1;
        self.swap(self.place[piece as usize], end);
        self.starts[bucket + 1] = end;
    }

    /// Moves `piece` to the start of `bucket` and the border above it: it is the last of the bucket before then.
    fn swap_to_start_of(&mut self, bucket: usize, piece: u32) {
        let start = self.starts[bucket];
        self.swap(self.place[piece as usize], start);
        self.starts[bucket] = start + 1;
    }

    fn swap(&mut self, a: u32, b: u32) {
        self.order.swap(a as usize, b as usize);
        for at in [a, b] {
            let piece = self.order[at as usize];
            self.place[piece as usize] = at;
        }
    }

    #[cfg(test)]
    fn check(&self) {
        assert_eq!(self.starts.first(), Some(&0));
        assert_eq!(*self.starts.last().unwrap() as usize, self.order.len());
        for (at, &piece) in self.order.iter().enumerate() {
            assert_eq!(self.place[piece as usize] as usize, at);
            let a = self.available[piece as usize] as usize;
            assert!(
                (self.starts[a] as usize..self.starts[a + 1] as usize).contains(&at),
                "piece {piece} at {at}, {:?}",
                self.starts
            );
        }
        assert_eq!(self.place.iter().filter(|&&p| p != NOWHERE).count(), self.order.len());
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
        let mut p = Picker::new(g, &Bitfield::none(5), false, &mut Rng::new(1));
        p.add_peer(&field(g, &[0, 1, 2, 3]));
        p.add_peer(&field(g, &[0, 1, 2]));
        p.add_peer(&field(g, &[0, 2]));
        p.add_peer(&Bitfield::all(5));
        p.check();
        let all = Bitfield::all(5);
        let mut got = Vec::new();
        while let Some(piece) = p.pick(&all) {
            p.take(piece);
            p.check();
            got.push(piece.get());
        }
        assert_eq!(&got[..3], [4, 3, 1]);
        assert_eq!(p.availability(g.piece(4).unwrap()), 1);
        p.put_back(g.piece(3).unwrap());
        p.put_back(g.piece(0).unwrap());
        p.check();
        assert_eq!(p.pick(&all), g.piece(3).ok());
        assert_eq!(p.pick(&field(g, &[0, 1])), g.piece(0).ok());
        assert_eq!(p.pick(&field(g, &[1])), None);
    }

    #[test]
    fn the_start_is_random_and_reproducible() {
        let g = geometry(1000);
        let first = |seed| Picker::new(g, &Bitfield::none(1000), false, &mut Rng::new(seed)).pick(&Bitfield::all(1000));
        assert_eq!(first(1), first(1));
        assert!((2..10).any(|seed| first(seed) != first(1)));
    }

    #[test]
    fn sequential_goes_in_order_and_returns_for_what_was_put_back() {
        let g = geometry(6);
        let mut p = Picker::new(g, &field(g, &[1]), true, &mut Rng::new(1));
        assert!(p.is_exhausted());
        p.add_peer(&field(g, &[5]));
        assert!(!p.is_exhausted());
        let all = Bitfield::all(6);
        for want in [0, 2, 3] {
            let piece = p.pick(&all).unwrap();
            assert_eq!(piece.get(), want);
            p.take(piece);
        }
        p.put_back(g.piece(2).unwrap());
        assert_eq!(p.pick(&all), g.piece(2).ok());
        assert_eq!(p.pick(&field(g, &[4, 5])), g.piece(4).ok());
    }

    #[test]
    fn random_changes_keep_the_buckets_right() {
        let g = geometry(40);
        let mut rng = Rng::new(3);
        let mut p = Picker::new(g, &Bitfield::none(40), false, &mut rng);
        let mut peers: Vec<Bitfield> = Vec::new();
        for _ in 0..3000 {
            let piece = g.piece(rng.below(40) as u32).unwrap();
            match rng.below(6) {
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
