//! The state file on its way between the disk and its codec.

use super::{
    disk::{Disk, FileStat},
    saved::Saved,
    session::SessionFolder,
};
use crate::{
    base::{
        bitfield::Bitfield,
        distrust::Distrust,
        geometry::Geometry,
        ids::Identity,
        partial::{BlockSet, PartialPiece},
        storage::{SaveState, StoreError, StoreOp, StoreSpec},
        tracker_events::TrackerEvents,
        trees::Trees,
    },
    wire::{
        metainfo::kept_layers,
        resume::{ResumeFile, ResumePartial, ResumeStat},
    },
};

/// A state file that was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) saved: Saved,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
    pub(super) tracker_events: TrackerEvents,
    /// Whether its pieces were verified by both versions of a hybrid.
    pub(super) both_versions: bool,
}

/// Reads the state, if there is one; or says why it is of no use.
pub(super) fn load(
    disk: &dyn Disk,
    folder: Option<&SessionFolder>,
    spec: &StoreSpec,
) -> Result<Option<Loaded>, Distrust> {
    let (pieces, files) = (spec.geometry.piece_count(), spec.files.len());
    let unread = |e: StoreError| Distrust::Unreadable(e.to_string());
    let (path, bytes, saved_at_ns) = match (folder.filter(|_| spec.in_session), &spec.state_file) {
        (Some(folder), _) => {
            let Some(bytes) = folder.state(&spec.identity.key()).map_err(unread)? else {
                return Ok(None);
            };
            (folder.path(), bytes, None)
        }
        (None, Some(path)) => {
            let unread = |e| unread(StoreError::new(StoreOp::Read, path, e));
            let limit = ResumeFile::max_len(pieces, files) as u64;
            let Some(bytes) = disk.load(path, limit).map_err(unread)? else { return Ok(None) };
            let stat = disk.stat(path).map_err(unread)?;
            (path.as_path(), bytes, Some(stat.map_or(i64::MIN, |s| s.mtime_ns)))
        }
        (None, None) => return Ok(None),
    };
    let file = ResumeFile::decode(&bytes, pieces, files, &spec.identity)
        .map_err(|e| Distrust::Useless { path: path.to_owned(), why: e.to_string() })?;
    // A record has no time of its own, but it was written after what it speaks of.
    let newest = || file.files.iter().flatten().map(|stat| stat.mtime_ns).max().unwrap_or(i64::MIN);
    Ok(Some(Loaded {
        saved: Saved {
            saved_at_ns: saved_at_ns.unwrap_or_else(newest),
            partial: file
                .partial
                .iter()
                .filter_map(|p| mint(p, &spec.geometry, &file.have))
                .collect(),
            unchecked: file.unchecked.unwrap_or_else(|| Bitfield::none(pieces)),
            have: file.have,
            dirty: file.dirty,
            files: file.files.iter().map(|f| f.map(|f| (f.len, f.mtime_ns))).collect(),
            parts: file.parts.map(|f| (f.len, f.mtime_ns)),
        },
        downloaded: file.downloaded,
        uploaded: file.uploaded,
        tracker_events: file.tracker_events,
        both_versions: file.both_versions,
    }))
}

/// The trees of a torrent with the piece layers that were kept beside its state, if any were.
pub(super) fn load_layers(disk: &dyn Disk, spec: &StoreSpec) -> Option<Trees> {
    let (path, trees) = spec.layers_file().filter(|_| !spec.in_session).zip(spec.trees.as_ref())?;
    let bytes = match disk.load(&path, kept_layers::max_len(trees) as u64) {
        Ok(bytes) => bytes?,
        Err(error) => {
            log::warn!("{}: {error}", path.display());
            return None;
        }
    };
    let mut trees = trees.clone();
    if let Err(error) = kept_layers::decode(&bytes, &mut trees) {
        log::warn!("{}: {error}", path.display());
        return None;
    }
    Some(trees)
}

/// An unfinished piece of the state, if the torrent has such a piece with so many blocks.
fn mint(saved: &ResumePartial, geometry: &Geometry, have: &Bitfield) -> Option<PartialPiece> {
    let piece = geometry.piece(saved.piece).ok().filter(|&piece| !have.has(piece))?;
    let blocks = BlockSet::from_wire(&saved.blocks, geometry.block_count(piece))?;
    Some(PartialPiece { piece, blocks })
}

pub(super) fn encode(
    identity: &Identity,
    state: SaveState,
    stats: &[Option<FileStat>],
    parts: Option<FileStat>,
) -> Vec<u8> {
    let SaveState {
        have,
        dirty,
        downloaded,
        uploaded,
        partial,
        unchecked,
        tracker_events,
        layers: _,
        both_versions,
    } = state;
    let stat = |s: FileStat| ResumeStat { len: s.len, mtime_ns: s.mtime_ns };
    let files = stats.iter().map(|s| s.map(stat)).collect();
    let partial = partial
        .into_iter()
        .map(|p| ResumePartial { piece: p.piece.get(), blocks: p.blocks.as_wire().to_vec() })
        .collect();
    let (identity, parts) = (*identity, parts.map(stat));
    ResumeFile {
        identity,
        have,
        dirty,
        downloaded,
        uploaded,
        files,
        parts,
        partial,
        unchecked,
        tracker_events,
        both_versions,
    }
    .encode()
}
