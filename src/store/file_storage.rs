//! A torrent's bytes in files below its folder: the [`Storage`] that torrents have by default.
//!
//! Knows one torrent's files, and those of others only as far as it reads them. Knows no jobs and
//! no hashes.

mod moving;
mod saving;

use std::{
    collections::HashMap,
    io::{self, ErrorKind},
    ops::Range,
    sync::{Arc, Mutex, TryLockError, Weak},
};

use super::{
    disk::Disk,
    doubts::Doubts,
    files::TorrentFiles,
    layout::Layout,
    names::Names,
    resume::{self, Loaded},
    session::SessionFolder,
    state,
    torrent::lock,
};
use crate::base::{
    arena::Key,
    storage::{Borrowed, Leftovers, Opened, SaveState, StoreError, StoreOp, StoreSpec, Trust},
    storage::{ReadPart, Reading, Saving, Storage},
};
use saving::PlacedFiles;

/// What the files of all torrents have in common.
#[derive(Debug)]
pub(super) struct FileSystem {
    pub(super) disk: Arc<dyn Disk>,
    /// Where the session is kept, if it is.
    pub(super) folder: Option<Arc<SessionFolder>>,
    /// The torrents that are open, for those that read their files.
    open: Mutex<HashMap<Key, Weak<PlacedFiles>>>,
    /// Files that are open no more and that nothing says are safe, of a session that is not kept.
    doubts: Doubts,
}

impl FileSystem {
    pub(super) fn new(disk: Arc<dyn Disk>, folder: Option<Arc<SessionFolder>>) -> Self {
        Self { disk, folder, open: Mutex::default(), doubts: Doubts::default() }
    }

    fn files(&self, spec: &StoreSpec, names: Names) -> Result<TorrentFiles, StoreError> {
        let unfit = |e| {
            StoreError::new(StoreOp::Open, &spec.dir, io::Error::new(ErrorKind::InvalidInput, e))
        };
        let layout = Layout::new(spec, names).map_err(unfit)?;
        let files = TorrentFiles::new(self.disk.clone(), layout, spec.allocation);
        files.borrow(&spec.borrowed);
        Ok(files.with_parts(spec.parts_file(), spec.geometry.clone(), &spec.skipped))
    }

    pub(super) fn doubts(&self) -> &Doubts {
        self.folder.as_ref().map_or(&self.doubts, |folder| folder.doubts())
    }

    /// The torrent that opens these files next is to know which of them are in doubt.
    fn remember_doubts(&self, open: &PlacedFiles) {
        self.doubts().note(open.files.layout().dir(), open.files.in_doubt());
    }

    /// What is in doubt is to be known to the next process, too.
    fn record_doubts(&self) {
        if let Some(folder) = &self.folder
            && self.doubts().due().is_some()
            && let Err(error) = folder.append(&[])
        {
            // It comes before what is appended next.
            log::warn!("{error}");
        }
    }
}

/// The files of one torrent.
#[derive(Debug)]
pub(super) struct FileStorage {
    system: Arc<FileSystem>,
    key: Key,
    /// As they were opened last; `None` if they are not open. Locked for an instant only.
    open: Mutex<Option<Arc<PlacedFiles>>>,
}

impl FileStorage {
    pub(super) fn new(system: Arc<FileSystem>, key: Key) -> Self {
        Self { system, key, open: Mutex::default() }
    }

    fn disk(&self) -> &dyn Disk {
        &*self.system.disk
    }

    fn current(&self) -> Option<Arc<PlacedFiles>> {
        lock(&self.open).clone()
    }

    fn find(&self, op: StoreOp) -> Result<Arc<PlacedFiles>, StoreError> {
        self.current().ok_or_else(|| {
            let what = "the torrent's files are not open";
            StoreError::new(op, "", io::Error::new(ErrorKind::NotFound, what))
        })
    }

    fn set(&self, files: PlacedFiles) {
        let files = Arc::new(files);
        lock(&self.system.open).insert(self.key, Arc::downgrade(&files));
        let earlier = lock(&self.open).replace(files.clone());
        // Where they were opened before, and are not any more, others may be opened.
        earlier.iter().for_each(|earlier| self.system.remember_doubts(earlier));
    }

    /// A file of another torrent is no safer than that one knows.
    fn doubt_with_lenders(&self, open: &PlacedFiles) {
        for lender in open.files.lenders() {
            let lender = lock(&self.system.open).get(&lender).and_then(Weak::upgrade);
            lender.iter().for_each(|lender| open.files.doubt_with(&lender.files));
        }
        // One that is closed has left its doubts, and perhaps its files.
        let doubts = self.system.doubts();
        if !doubts.is_empty() {
            let known = open.files.take_over(|path| doubts.names(path));
            known.into_iter().for_each(|path| doubts.forget(path));
        }
    }
}

impl Storage for FileStorage {
    fn open(&self, spec: &StoreSpec) -> Result<Opened, StoreError> {
        let loaded = resume::load(self.disk(), self.system.folder.as_deref(), spec);
        let known =
            loaded.as_ref().ok().and_then(|loaded| loaded.as_ref()).map(|loaded| &loaded.saved);
        let files = self.system.files(spec, Names::find(self.disk(), spec, known)?)?;
        if let Some(earlier) = self.current() {
            files.inherit(&earlier.files);
            // What is looked at is what has the names now.
            earlier.files.close();
        }
        let doubts = self.system.doubts();
        if !doubts.is_empty() {
            files.doubt(|path| doubts.has(path));
        }
        let doubtful = files.reconsider();
        let now = files.look()?;

        let (saved, mut distrust) = match &loaded {
            Ok(None) => (None, None),
            Ok(Some(Loaded { saved, .. })) => {
                (Some(saved).filter(|_| spec.trust != Trust::Nothing), None)
            }
            Err(why) => (None, Some(why.clone())),
        };
        let parts =
            state::Parts { now: now.last().copied().flatten(), holds: &|index| files.held(index) };
        let lost = loaded.as_ref().ok().and_then(Option::as_ref);
        let lost = lost
            .filter(|_| !files.is_any_of(&now))
            .map_or(0, |loaded| state::lost(&loaded.saved, spec));
        let mut decision = state::decide(
            files.layout(),
            &spec.geometry,
            saved,
            &now,
            &parts,
            spec.trust,
            |range| files.has_hole(range),
        );
        distrust = distrust.or(decision.distrust);
        let geometry = &spec.geometry;
        for piece in doubtful.into_iter().flat_map(|range| geometry.pieces_of(range)) {
            if decision.have.unset(piece) {
                decision.check.set(piece);
            }
        }
        let loaded = loaded.ok().flatten();
        for piece in geometry.pieces().filter(|&piece| decision.check.has(piece)) {
            let start = geometry.offset(piece);
            files.note_found(start..start + u64::from(geometry.piece_len(piece)));
        }
        if let Some(Loaded { saved, .. }) = &loaded {
            for (index, then) in saved.files.iter().chain([&saved.parts]).enumerate() {
                if state::is_unsafe(saved, *then, now.get(index).copied().flatten(), spec.trust) {
                    files.note_unsafe(index);
                }
            }
        }
        let both_versions = loaded.as_ref().is_some_and(|loaded| loaded.both_versions);
        let (downloaded, uploaded, tracker_events) =
            loaded.map(|l| (l.downloaded, l.uploaded, l.tracker_events)).unwrap_or_default();
        let arrange = files.needs_arranging();
        let names = files.layout().found_names(spec);
        let too_long = files.too_long();
        let trees = resume::load_layers(self.disk(), spec);
        self.set(PlacedFiles::new(spec, files));
        let state::Decision { have, check, partial, .. } = decision;
        Ok(Opened {
            have,
            check,
            partial,
            downloaded,
            uploaded,
            distrust,
            arrange,
            tracker_events,
            names,
            too_long,
            lost,
            trees,
            both_versions,
        })
    }

    fn read(&self, parts: &mut [ReadPart<'_>], reading: Reading) -> Result<bool, StoreError> {
        let open = match (self.open.try_lock(), reading) {
            (Err(TryLockError::WouldBlock), Reading::AtHand) => return Ok(false),
            (Ok(open), _) if open.is_some() => open.clone(),
            _ => None,
        };
        let open = open.map_or_else(|| self.find(StoreOp::Read), Ok)?;
        let parts = parts.iter_mut().map(|part| (part.offset, &mut *part.buf));
        open.files.read_parts(parts, reading)
    }

    fn will_need(&self, range: Range<u64>) {
        self.current().iter().for_each(|open| open.files.will_need(range.clone()));
    }

    fn write(&self, offset: u64, data: &[u8], verified: bool) -> Result<(), StoreError> {
        self.find(StoreOp::Write)?.files.write(offset, data, verified)
    }

    fn is_hole(&self, range: Range<u64>) -> bool {
        self.current().is_some_and(|open| open.files.is_hole(range))
    }

    fn found_good(&self, range: Range<u64>) {
        self.current().iter().for_each(|open| open.files.make_safe(range.clone()));
    }

    fn may_differ(&self, range: Range<u64>) -> Option<StoreError> {
        let open = self.current().filter(|open| open.files.is_any_borrowed(range.clone()))?;
        Some(open.files.differs(range))
    }

    fn save(&self, state: Box<SaveState>, from: usize) -> Saving {
        let open = match self.find(StoreOp::Save) {
            Ok(open) => open,
            Err(e) => return Saving::Over { record: None, result: Err(e), unfinished: None },
        };
        let _unsettled = open.files.settle();
        self.doubt_with_lenders(&open);
        // What could not be synced is not claimed, and that is recorded: one that is killed now
        // must not take it for safe when a later sync succeeds.
        let failed = match open.sync(&state, from) {
            Ok(Some(next)) => return Saving::Syncing { state, next, files: open.files.count() },
            Ok(None) => None,
            Err(e) => Some(e),
        };
        let (record, result) = match open.save(*state, failed.is_none()) {
            Ok(record) => (record, failed.map_or(Ok(()), Err)),
            Err(e) => (None, Err(failed.unwrap_or(e))),
        };
        Saving::Over { record, result, unfinished: open.take_unfinished() }
    }

    fn arrange(
        &self,
        skipped: &[bool],
        borrowed: &[Borrowed],
        make: bool,
    ) -> Result<(), StoreError> {
        let open = self.find(StoreOp::Move)?;
        open.files.borrow(borrowed);
        open.files.arrange(skipped, make)
    }

    fn relocate(&self, spec: &StoreSpec, state: Option<Box<SaveState>>) -> Result<(), StoreError> {
        self.move_to(spec, state)
    }

    fn tidy(&self) -> Option<Leftovers> {
        self.clear_old_place()
    }

    fn is_absent(&self, spec: &StoreSpec) -> bool {
        self.is_nothing_there(spec)
    }

    fn close(&self) {
        let closed = lock(&self.open).take();
        lock(&self.system.open).remove(&self.key);
        if let Some(open) = closed {
            self.system.remember_doubts(&open);
            self.system.record_doubts();
            open.files.close();
        }
    }

    fn delete(&self, spec: &StoreSpec) -> Option<Leftovers> {
        self.delete_files(spec)
    }
}
