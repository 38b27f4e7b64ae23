//! What a saved state is worth, given what the files look like now: the pieces to believe and those
//! to check.
//!
//! Decisions alone: the disk has been looked at before, but for the holes, which it asks about.

use std::ops::Range;

use super::{disk::FileStat, layout::Layout, saved::Saved};
use crate::base::{
    bitfield::Bitfield,
    distrust::Distrust,
    files::FileKind,
    geometry::{Geometry, PieceIndex},
    partial::PartialPiece,
    storage::{StoreSpec, Trust},
};

/// The file that stands in for those that are skipped and not there.
pub(super) struct Parts<'a> {
    /// How it looks now.
    pub(super) now: Option<FileStat>,
    /// What it may hold of a file that it stands in for, in bytes of that, ascending; `None` for a
    /// file that it does not stand in for.
    pub(super) holds: &'a dyn Fn(usize) -> Option<Vec<Range<u64>>>,
}

/// Which pieces may be there, and how far to trust them.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// Believed.
    pub(super) have: Bitfield,
    /// To be hashed. Disjoint from `have`.
    pub(super) check: Bitfield,
    /// Blocks of pieces that are not believed, which may be there. What they are worth shows when
    /// their piece is whole and hashed.
    pub(super) partial: Vec<PartialPiece>,
    /// Why not all that was saved is believed.
    pub(super) distrust: Option<Distrust>,
}

/// After a kill, a file may have been changed by us for as long as this after its state was saved.
/// A later change is that of another program.
const OUR_WRITES_NS: i64 = 60_000_000_000;

/// Who has changed a file since its state was saved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Changed {
    /// No program, or we while writing more pieces: what was saved is there.
    No,
    /// Only we can have written it, but the saved state does not vouch for it.
    ByUs,
    /// Anybody.
    ByOthers,
}

/// `now` has an entry a file of `layout`; `is_hole` tells whether some file surely has nothing in a
/// range of the torrent.
pub(super) fn decide(
    layout: &Layout,
    geometry: &Geometry,
    saved: Option<&Saved>,
    now: &[Option<FileStat>],
    parts: &Parts<'_>,
    trust: Trust,
    is_hole: impl Fn(Range<u64>) -> bool,
) -> Decision {
    let count = geometry.piece_count();
    let mut decision = Decision {
        have: Bitfield::none(count),
        check: Bitfield::none(count),
        partial: Vec::new(),
        distrust: None,
    };
    let filled = || layout.files().iter().enumerate().filter(|(_, f)| f.on_disk && f.len > 0);
    let found = |index: usize| now.get(index).copied().flatten();
    let vanished = |saved: &Saved| Distrust::NoFiles { pieces: saved.have.count() };
    if parts.now.is_none() && filled().all(|(index, _)| found(index).is_none()) {
        decision.distrust = saved.filter(|s| !s.have.is_clear()).map(vanished);
        return decision;
    }

    // Pieces whose every byte may be there; that no other program touched; and that the state can
    // vouch for.
    let (mut may, mut ours, mut vouched) =
        (Bitfield::all(count), Bitfield::all(count), Bitfield::all(count));
    // Pieces whose files are all of the right length.
    let mut whole =
        if trust == Trust::Files { Bitfield::all(count) } else { Bitfield::none(count) };
    let (mut strangers, mut first_stranger) = (0_u32, None);
    // Bytes of the torrent that are surely not there, ascending.
    let mut absent: Vec<Range<u64>> = Vec::new();
    let mut gone = |may: &mut Bitfield, range: Range<u64>| {
        remove(may, geometry, range.clone());
        if !range.is_empty() {
            absent.push(range);
        }
    };
    for (index, file) in filled() {
        let end = file.offset + file.len;
        let there = found(index).map_or(0, |stat| stat.len.min(file.len));
        let parked = (parts.holds)(index);
        match &parked {
            None => gone(&mut may, file.offset + there..end),
            Some(held) => {
                let mut at = 0;
                for range in held {
                    gone(&mut may, file.offset + at..file.offset + range.start);
                    at = range.end;
                }
                gone(&mut may, file.offset + at..end);
            }
        }
        if found(index).is_none_or(|stat| stat.len != file.len) {
            remove(&mut whole, geometry, file.offset..end);
        }
        let Some(saved) = saved else { continue };
        let mut change = changed(saved, saved.files.get(index).copied().flatten(), found(index));
        if parked.is_some() {
            change = change.max(changed(saved, saved.parts, parts.now));
        }
        match change {
            Changed::No => {}
            Changed::ByUs => remove(&mut vouched, geometry, file.offset..end),
            Changed::ByOthers => {
                remove(&mut vouched, geometry, file.offset..end);
                remove(&mut ours, geometry, file.offset..end);
                strangers += 1;
                first_stranger.get_or_insert(&file.path);
            }
        }
    }
    decision.distrust =
        first_stranger.map(|path| Distrust::FilesChanged { files: strangers, first: path.clone() });

    let place = |piece: PieceIndex| {
        let start = geometry.offset(piece);
        start..start + u64::from(geometry.piece_len(piece))
    };
    for piece in geometry.pieces().filter(|&piece| may.has(piece)) {
        match saved {
            Some(saved) if saved.have.has(piece) && vouched.has(piece) => decision.have.set(piece),
            // The check goes on where it was. What it did not come to may be another's, holes and
            // all.
            Some(saved)
                if saved.unchecked.has(piece) && ours.has(piece) && trust != Trust::Files =>
            {
                decision.check.set(piece)
            }
            // A clean state knows all that we wrote, so what it lacks is not there.
            Some(saved) if !saved.have.has(piece) && ours.has(piece) && !saved.dirty => false,
            // What we write leaves no hole.
            Some(_) if ours.has(piece) && is_hole(place(piece)) => false,
            // What a dirty state lacks may be half written, and a hole that another program left
            // may be what is still missing.
            Some(saved) if !saved.have.has(piece) && ours.has(piece) => decision.check.set(piece),
            _ if whole.has(piece) && !is_hole(place(piece)) => decision.have.set(piece),
            _ => decision.check.set(piece),
        };
    }
    let is_there = |range: &Range<u64>| {
        let next = absent.partition_point(|gone| gone.end <= range.start);
        absent.get(next).is_none_or(|gone| range.end <= gone.start)
    };
    let saved = saved.iter().flat_map(|saved| &saved.partial);
    let open = saved.filter(|p| vouched.has(p.piece) && !decision.have.has(p.piece));
    decision.partial = open.filter_map(|p| p.retain(geometry, |range| is_there(&range))).collect();
    decision
}

/// Whether what is to be checked of a file was written by us after the state was saved, so that
/// nothing says whether it is safe: a sync of it may have failed, and then no later sync writes it.
pub(super) fn is_unsafe(
    saved: &Saved,
    then: Option<(u64, i64)>,
    now: Option<FileStat>,
    trust: Trust,
) -> bool {
    let is_ours = || changed(saved, then, now) != Changed::ByOthers;
    saved.dirty && now.is_some() && (then.is_none() || (trust != Trust::Nothing && is_ours()))
}

impl Saved {
    /// Whether a file that was there when this was saved is `now`, unless we wrote to it since.
    pub(super) fn knows(&self, file: usize, now: FileStat) -> bool {
        let then = self.files.get(file).copied().flatten();
        then.is_some() && changed(self, then, Some(now)) == Changed::No
    }
}

fn changed(saved: &Saved, then: Option<(u64, i64)>, now: Option<FileStat>) -> Changed {
    let latest = saved.saved_at_ns.saturating_add(OUR_WRITES_NS);
    match (then, now) {
        (None, None) => Changed::No,
        (Some((len, mtime)), Some(now)) if now.len == len && now.mtime_ns == mtime => Changed::No,
        (Some((len, mtime)), Some(now))
            if saved.dirty && now.len >= len && (mtime..=latest).contains(&now.mtime_ns) =>
        {
            Changed::No
        }
        (None, Some(now)) if saved.dirty && now.mtime_ns <= latest => Changed::ByUs,
        _ => Changed::ByOthers,
    }
}

/// How many pieces a state speaks of that have a byte in a file; what a check had not come to was
/// there, too.
pub(super) fn lost(saved: &Saved, spec: &StoreSpec) -> u32 {
    let files = spec.files.iter().filter(|file| file.kind == FileKind::Regular);
    let ranges = files.map(|file| file.offset..file.offset.saturating_add(file.len));
    let was_there = |piece: &PieceIndex| saved.have.has(*piece) || saved.unchecked.has(*piece);
    let mut lost = Bitfield::none(spec.geometry.piece_count());
    let pieces = ranges.flat_map(|range| spec.geometry.pieces_of(range)).filter(was_there);
    pieces.for_each(|piece| _ = lost.set(piece));
    lost.count()
}

/// Removes every piece that has a byte in `range`.
fn remove(pieces: &mut Bitfield, geometry: &Geometry, range: Range<u64>) {
    geometry.pieces_of(range).for_each(|piece| _ = pieces.unset(piece));
}
