//! Wanted pieces of one priority, rarest first, in one array. It moves numbers about and knows
//! neither peers nor priorities; how many have a piece, and where in the array it is, its owner
//! tells and keeps.

pub(super) const NOWHERE: u32 = u32::MAX;

/// Wanted pieces of one priority in buckets of equal availability, all in one array: a change of
/// availability moves a piece over one border, a pick by a seed takes the first.
#[derive(Debug)]
pub(super) struct Order {
    /// Rarest first.
    pub(super) pieces: Vec<u32>,
    /// `starts[a]` is where the pieces with availability `a` begin in `pieces`; the last entry is
    /// its length.
    pub(super) starts: Vec<u32>,
    /// None of its pieces lies before this.
    pub(super) first: u32,
}

impl Order {
    /// Whether no connected peer, seeds aside, has a piece of it.
    pub(super) fn is_unavailable(&self) -> bool {
        self.starts.get(1).copied().unwrap_or_default() as usize == self.pieces.len()
    }

    pub(super) fn take(&mut self, piece: u32, bucket: usize, place: &mut [u32]) {
        for bucket in bucket..self.starts.len() - 1 {
            self.swap_to_end_of(bucket, piece, place);
        }
        self.pieces.pop();
        place[piece as usize] = NOWHERE;
    }

    pub(super) fn add(&mut self, piece: u32, bucket: usize, place: &mut [u32]) {
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

    /// Moves `piece` to the end of `bucket` and the border below it: it is the first of the next
    /// bucket then.
    pub(super) fn swap_to_end_of(&mut self, bucket: usize, piece: u32, place: &mut [u32]) {
        let end = self.starts[bucket + 1] - 1;
        self.swap(place[piece as usize], end, place);
        self.starts[bucket + 1] = end;
    }

    /// Moves `piece` to the start of `bucket` and the border above it: it is the last of the bucket
    /// before then.
    pub(super) fn swap_to_start_of(&mut self, bucket: usize, piece: u32, place: &mut [u32]) {
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
