//! Where the bytes of skipped files lie that belong to pieces which other files need: in one part
//! file a torrent.
//!
//! Each file has its place in it for the piece that it begins in and the one it ends in, if it
//! shares them: so the places follow from the files alone, nothing has to be remembered of them,
//! and the part file has two pieces a file at most, with holes. Arithmetic only.

use std::ops::Range;

use crate::base::geometry::Geometry;

/// What of one file has a place in the part file.
#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    /// First byte in the part file.
    start: u64,
    /// Bytes from the file's start.
    head: u64,
    /// Bytes up to the file's end, from this one on.
    tail: u64,
    len: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Slots(Vec<Slot>);

impl Slots {
    /// `files` by offset and length, in order; those of no bytes, or never on disk, have length 0.
    pub(crate) fn new(files: impl Iterator<Item = (u64, u64)>, geometry: &Geometry) -> Self {
        let nominal = u64::from(geometry.nominal_piece_len().max(1));
        let mut next = 0;
        let slot = |(offset, len): (u64, u64)| {
            let end = offset + len;
            let piece_end = |at: u64| ((at / nominal + 1) * nominal).min(geometry.total_len());
            let (first_end, last_start) =
                (piece_end(offset), end.saturating_sub(1) / nominal * nominal);
            let one_piece = last_start <= offset;
            let shares_first = !offset.is_multiple_of(nominal) || first_end > end;
            let shares_last = !one_piece && piece_end(last_start) > end;
            let head = if len > 0 && shares_first { first_end.min(end) - offset } else { 0 };
            let tail = if shares_last { last_start - offset } else { len };
            let slot = Slot { start: next, head, tail, len };
            next += head + (len - tail);
            slot
        };
        Self(files.map(slot).collect())
    }

    /// Bytes of the whole part file, holes included.
    #[cfg(test)]
    pub(crate) fn len(&self) -> u64 {
        self.0.last().map_or(0, |slot| slot.start + slot.head + (slot.len - slot.tail))
    }

    /// Where `len` bytes of a file from `offset` on lie in the part file, if they have a place
    /// there.
    pub(crate) fn place(&self, file: usize, offset: u64, len: u64) -> Option<u64> {
        let end = offset.checked_add(len)?;
        self.stretches(file)
            .find(|(range, _)| range.start <= offset && end <= range.end)
            .map(|(range, at)| at + (offset - range.start))
    }

    /// What of a file has a place, and where that begins.
    pub(crate) fn stretches(&self, file: usize) -> impl Iterator<Item = (Range<u64>, u64)> {
        let Slot { start, head, tail, len } = self.0.get(file).copied().unwrap_or_default();
        [(0..head, start), (tail..len, start + head)]
            .into_iter()
            .filter(|(range, _)| !range.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shared_pieces_have_a_place_in_the_part_file() {
        // Pieces of 10: a 0..25, b 25..28, c 28..60, d 60..70, e 70..95.
        let files = [(0, 25), (25, 3), (28, 32), (60, 10), (70, 25)];
        let slots = Slots::new(files.into_iter(), &Geometry::new(95, 10).unwrap());
        let stretches = |file| slots.stretches(file).collect::<Vec<_>>();
        assert_eq!(stretches(0), [(20..25, 0)]);
        assert_eq!(stretches(1), [(0..3, 5)]);
        assert_eq!(stretches(2), [(0..2, 8)]);
        assert_eq!(stretches(3), []);
        assert_eq!(stretches(4), [], "the last piece is its own");
        assert_eq!(slots.len(), 10);
        assert_eq!(
            (slots.place(0, 21, 4), slots.place(0, 19, 2), slots.place(0, 21, 5)),
            (Some(1), None, None)
        );
        assert_eq!(
            (slots.place(1, 0, 3), slots.place(9, 0, 1), slots.place(2, u64::MAX, 1)),
            (Some(5), None, None)
        );
    }

    #[test]
    fn file_may_share_its_first_and_last_piece() {
        let slots = Slots::new(
            [(0, 3), (3, 0), (3, 24), (27, 3)].into_iter(),
            &Geometry::new(30, 10).unwrap(),
        );
        assert_eq!(slots.stretches(2).collect::<Vec<_>>(), [(0..7, 3), (17..24, 10)]);
        assert_eq!((slots.place(2, 20, 4), slots.len()), (Some(13), 20));
    }
}
