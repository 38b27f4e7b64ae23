//! What a saved state may say of a torrent's files, and when it is safe.

use std::{path::PathBuf, sync::Mutex};

use super::super::{files::TorrentFiles, relocate::Carried, resume, torrent::lock};
use crate::{
    base::{
        geometry::Geometry,
        ids::Identity,
        storage::{
            RecordKind, SaveState, SessionRecord, StoreError, StoreOp, StoreSpec, Trust,
            layers_beside,
        },
        trees::Trees,
    },
    wire::metainfo::kept_layers,
};

/// Files that are synced before a job tells how far it is.
const SYNC_SLICE: usize = 256;

/// A torrent's files at one place, from one opening or move to the next.
#[derive(Debug)]
pub(in crate::store) struct PlacedFiles {
    identity: Identity,
    geometry: Geometry,
    pub(super) files: TorrentFiles,
    /// The state file, whether or not one is written now.
    pub(super) saved_at: Option<PathBuf>,
    /// Its state goes to the session folder.
    in_session: bool,
    /// What moves have left at old places.
    pub(super) old: Mutex<Vec<Carried>>,
    /// Its files are taken at their word, and nothing of them is changed.
    is_trusted: bool,
    /// Files could not be given their lengths when the state was saved last.
    unfinished: Mutex<Unfinished>,
}

/// Files that could not be given their lengths, or be made, when the state was saved last.
#[derive(Debug, Default)]
struct Unfinished {
    failed: bool,
    /// Why, until it is told.
    news: Option<StoreError>,
}

impl PlacedFiles {
    pub(super) fn new(spec: &StoreSpec, files: TorrentFiles) -> Self {
        // A state speaks of what was verified.
        let is_trusted = spec.trust == Trust::Files;
        Self {
            identity: spec.identity,
            geometry: spec.geometry.clone(),
            files,
            saved_at: spec.state_file.clone(),
            in_session: spec.in_session && !is_trusted,
            old: Mutex::default(),
            is_trusted,
            unfinished: Mutex::default(),
        }
    }

    /// The state file, if one is written.
    fn state_file(&self) -> Option<&PathBuf> {
        self.saved_at.as_ref().filter(|_| !self.is_trusted)
    }

    /// Makes what `state` speaks of safe, from the file `synced` on and some files at a time: until
    /// this returns `None` there are more, of which it names the first.
    pub(super) fn sync(
        &self,
        state: &SaveState,
        synced: usize,
    ) -> Result<Option<usize>, StoreError> {
        if synced == 0 {
            self.files.refuse_if_gone(StoreOp::Save)?;
            self.finish_files(state);
        }
        if self.in_session || self.state_file().is_some() {
            self.files.sync(synced, SYNC_SLICE)
        } else {
            Ok(None)
        }
    }

    /// Saves a state whose files are synced, or makes the record that saves it.
    pub(super) fn save(
        &self,
        mut state: SaveState,
        synced: bool,
    ) -> Result<Option<SessionRecord>, StoreError> {
        self.files.refuse_if_gone(StoreOp::Save)?;
        if self.in_session {
            self.vouch(&mut state, synced);
            let body = resume::encode(
                &self.identity,
                state,
                &self.files.known_stats(),
                self.files.known_parts(),
            );
            return Ok(Some(SessionRecord {
                kind: RecordKind::State,
                info_hash: self.identity.key(),
                body,
            }));
        }
        let Some(path) = self.state_file() else { return Ok(None) };
        // Before the state: it was held against them.
        let kept = state.layers.take().map_or(Ok(()), |trees| self.save_layers(&trees));
        self.vouch(&mut state, synced);
        let bytes = resume::encode(
            &self.identity,
            state,
            &self.files.known_stats(),
            self.files.known_parts(),
        );
        self.files
            .disk()
            .save(path, &bytes)
            .map_err(|e| StoreError::new(StoreOp::Save, path, e))?;
        kept.map(|()| None)
    }

    /// Keeps piece layers beside the state.
    fn save_layers(&self, trees: &Trees) -> Result<(), StoreError> {
        let Some(path) = &self.saved_at.as_deref().map(layers_beside) else { return Ok(()) };
        let bytes = kept_layers::encode(trees);
        let saved = self.files.disk().save(path, &bytes);
        saved.map_err(|e| StoreError::new(StoreOp::Save, path, e))
    }

    pub(super) fn sync_and_save(
        &self,
        state: SaveState,
    ) -> Result<Option<SessionRecord>, StoreError> {
        let mut synced = Some(0);
        while let Some(from) = synced {
            synced = self.sync(&state, from)?;
        }
        self.save(state, true)
    }

    /// Takes back what a state that was synced cannot promise: a sync that failed says nothing of
    /// what a later one keeps. What it was about is not claimed, and looked at again when the
    /// torrent is opened next.
    pub(super) fn vouch(&self, state: &mut SaveState, synced: bool) {
        match &state.unchecked {
            None if synced => self.files.note_safe(),
            _ => state.dirty |= self.files.is_unsafe(),
        }
        for piece in self.files.doubtful(!synced).flat_map(|range| self.geometry.pieces_of(range)) {
            let before = state.partial.len();
            state.partial.retain(|partial| partial.piece != piece);
            state.dirty |= state.have.unset(piece) || state.partial.len() < before;
        }
    }

    /// Files that are complete have their length, those of no bytes, too. What of this fails does
    /// not keep the state from being saved; it is told once.
    pub(super) fn finish_files(&self, state: &SaveState) {
        if self.is_trusted || self.files.makes_nothing() {
            return;
        }
        let mut result = self.files.trim(&state.have, &self.geometry);
        if state.have.is_full() || !(state.dirty || state.have.is_clear()) {
            result = result.and(self.files.make_empty_files());
        }
        let mut unfinished = lock(&self.unfinished);
        let was_told = std::mem::replace(&mut unfinished.failed, result.is_err());
        unfinished.news =
            result.err().inspect(|error| log::error!("{error}")).filter(|_| !was_told);
    }

    /// Why files could not be finished, if that is news.
    pub(super) fn take_unfinished(&self) -> Option<StoreError> {
        lock(&self.unfinished).news.take()
    }
}
