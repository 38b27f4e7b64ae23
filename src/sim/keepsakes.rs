//! What was verified once and must not be lost: every piece that an engine has claimed stays on its
//! disk, under whatever name, unless its user removes it. It knows disks and samples, and neither
//! engines nor where a torrent should be.

use std::{path::Path, sync::Arc};

use super::{
    disk::{Graves, MemDisk},
    sample::Sample,
    violation::{Verdict, broken},
};
use crate::{
    base::{bitfield::Bitfield, files::FileKind, geometry::PieceIndex, ids::InfoHash},
    store::Slots,
};

/// Fewer bytes than these are in files of other torrents by chance, too.
const TELLING: usize = 8;

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Keepsakes(Vec<Keepsake>);

#[derive(Clone, Debug)]
struct Keepsake {
    sample: Arc<Sample>,
    pieces: Bitfield,
}

/// Bytes of one piece in one file, and where they may be.
struct Stretch<'a> {
    bytes: &'a [u8],
    /// First byte in the file itself, and in the torrent's part file if they have a place there.
    at: u64,
    in_parts: Option<u64>,
}

impl Keepsakes {
    /// These pieces were found on the disk.
    pub(super) fn add(&mut self, sample: &Arc<Sample>, have: &Bitfield) {
        let hash = sample.metainfo.info_hash();
        match self.0.iter_mut().find(|kept| kept.sample.metainfo.info_hash() == hash) {
            Some(kept) => {
                for piece in sample.geometry().pieces().filter(|&piece| have.has(piece)) {
                    kept.pieces.set(piece);
                }
            }
            None => self.0.push(Keepsake { sample: sample.clone(), pieces: have.clone() }),
        }
    }

    /// The user has the data of `gone` deleted, and with it the same bytes of others that have left
    /// them there, or have been safe by them: that is not of those which `is_there` still.
    pub(super) fn forget(&mut self, gone: &Sample, is_there: impl Fn(InfoHash) -> bool) {
        let (of, hash) =
            (|kept: &Keepsake| kept.sample.metainfo.info_hash(), gone.metainfo.info_hash());
        self.0.retain(|kept| {
            of(kept) != hash && (is_there(of(kept)) || !have_same_files(&kept.sample, gone))
        });
    }

    /// If anything was deleted, cut or overwritten since it was asked last: whether all is there
    /// still. What was safe from a power cut must be so still.
    /// A piece that is not claimed any more, since it could not be read in a check, may be
    /// overwritten by what is fetched instead.
    pub(super) fn check(
        &mut self,
        disk: &MemDisk,
        is_claimed: impl Fn(InfoHash, PieceIndex) -> bool,
    ) -> Verdict {
        let Graves { files, removed, recount } = disk.take_graves();
        if recount || disk.is_spoilt() {
            self.0.iter_mut().for_each(|kept| kept.recount(disk));
            return Ok(());
        }
        if files.is_empty() {
            return Ok(());
        }
        // Nothing can be kept safe on a disk that lies about it.
        let is_honest = !disk.has_lied();
        for kept in &self.0 {
            let hash = kept.sample.metainfo.info_hash();
            for piece in kept.pieces().filter(|&piece| removed || is_claimed(hash, piece)) {
                let lost = |stretch: &Stretch<'_>| {
                    let there = |path: &Path, bytes: &[u8]| stretch.is_in(path, bytes);
                    if !disk.any_file(false, there) {
                        return Some("is on its disk no more");
                    }
                    let was_safe = is_honest
                        && stretch.bytes.len() >= TELLING
                        && files.iter().any(|(path, file)| {
                            file.synced.as_ref().is_some_and(|old| stretch.is_in(path, &old.bytes))
                        });
                    let at_risk = was_safe && !disk.any_file(true, there);
                    at_risk.then_some("would not survive a power cut any more")
                };
                if let Some(why) = kept.stretches(piece).iter().find_map(lost) {
                    let (piece, name) = (piece.get(), &kept.sample.metainfo.name);
                    let gone: Vec<_> = files.iter().map(|(path, _)| path.display()).collect();
                    let what = format!("piece {piece} of {name} {why}, after {gone:?}");
                    return broken("loses-nothing", what);
                }
            }
        }
        if !removed {
            self.0.iter_mut().for_each(|kept| kept.recount(disk));
        }
        Ok(())
    }
}

/// Whether two torrents are of the same files, whatever pads are between them.
fn have_same_files(one: &Sample, other: &Sample) -> bool {
    let files = |sample: &Sample| -> Vec<Vec<u8>> {
        let regular =
            |file: &&crate::base::files::FileEntry| file.kind == FileKind::Regular && file.len > 0;
        let bytes = |file: &crate::base::files::FileEntry| {
            let (from, to) = (file.offset as usize, (file.offset + file.len) as usize);
            sample.data.get(from..to).unwrap_or_default().to_vec()
        };
        sample.metainfo.files.iter().filter(regular).map(bytes).collect()
    };
    files(one) == files(other)
}

impl Keepsake {
    fn pieces(&self) -> impl Iterator<Item = PieceIndex> {
        self.sample.geometry().pieces().filter(|&piece| self.pieces.has(piece))
    }

    fn recount(&mut self, disk: &MemDisk) {
        let is_lost = |piece: &PieceIndex| {
            let there = |s: &Stretch<'_>| disk.any_file(false, |path, bytes| s.is_in(path, bytes));
            !self.stretches(*piece).iter().all(there)
        };
        let lost: Vec<_> = self.pieces().filter(is_lost).collect();
        lost.into_iter().for_each(|piece| _ = self.pieces.unset(piece));
    }

    fn stretches(&self, piece: PieceIndex) -> Vec<Stretch<'_>> {
        let (metainfo, geometry) = (&self.sample.metainfo, self.sample.geometry());
        let start = geometry.offset(piece);
        let end = start + u64::from(geometry.piece_len(piece));
        let is_regular = |kind: FileKind| kind == FileKind::Regular;
        let lens =
            metainfo.files.iter().map(|f| (f.offset, if is_regular(f.kind) { f.len } else { 0 }));
        let slots = Slots::new(lens, &geometry);
        let stretch = |(index, file): (usize, &crate::base::files::FileEntry)| {
            let (from, to) = (start.max(file.offset), end.min(file.offset + file.len));
            let bytes = self.sample.data.get(from as usize..to as usize)?;
            let at = from - file.offset;
            let in_parts = slots.place(index, at, to - from);
            (from < to && is_regular(file.kind)).then_some(Stretch { bytes, at, in_parts })
        };
        metainfo.files.iter().enumerate().filter_map(stretch).collect()
    }
}

impl Stretch<'_> {
    fn is_in(&self, path: &Path, content: &[u8]) -> bool {
        let is_parts = path.extension().is_some_and(|extension| extension == "parts");
        let at = if is_parts { self.in_parts } else { Some(self.at) };
        at.is_some_and(|at| self.is_at(at, content))
    }

    fn is_at(&self, at: u64, content: &[u8]) -> bool {
        content.get(at as usize..).is_some_and(|rest| rest.starts_with(self.bytes))
    }
}
