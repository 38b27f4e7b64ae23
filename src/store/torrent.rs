//! One open torrent as the workers see it: where its bytes are, what a state may say of them, and
//! when it is safe. Knows files and pieces; not the other torrents, and no jobs.

use std::{
    io::{self, ErrorKind},
    ops::Range,
    path::PathBuf,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::{
    files::{Reading, TorrentFiles},
    hashing::{self, Source},
    relocate::Carried,
    resume,
};
use crate::base::{
    buf::Buf,
    digest::Digest,
    geometry::{Block, Geometry, PieceIndex},
    ids::Identity,
    job::{
        READ_GAP, RecordKind, Run, RunData, SaveState, SessionRecord, StoreError, StoreOp,
        StoreSpec, Trust, batch_len,
    },
};

/// How much of a piece is fetched beyond what a peer has asked for, when it must come from the
/// disk.
const READ_AHEAD: u64 = 1 << 20;

/// Files that are synced before a job tells how far it is.
const SYNC_SLICE: usize = 256;

/// What the store knows of an open torrent.
#[derive(Debug)]
pub(super) struct Torrent {
    identity: Identity,
    geometry: Geometry,
    pub(super) files: TorrentFiles,
    state_file: Option<PathBuf>,
    /// The state file, whether or not one is written now.
    pub(super) saved_at: Option<PathBuf>,
    /// Its state goes to the session folder.
    in_session: bool,
    /// The digest of a whole piece of zeroes, once it was needed.
    zeroes: OnceLock<Digest>,
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

impl Torrent {
    pub(super) fn new(spec: StoreSpec, files: TorrentFiles) -> Self {
        let StoreSpec { identity, geometry, state_file: saved_at, in_session, trust, .. } = spec;
        // A state speaks of what was verified.
        let state_file = saved_at.clone().filter(|_| trust != Trust::Files);
        let in_session = in_session && trust != Trust::Files;
        let (is_trusted, zeroes, old) = (trust == Trust::Files, OnceLock::new(), Mutex::default());
        let unfinished = Mutex::default();
        Self {
            identity,
            geometry,
            files,
            state_file,
            saved_at,
            in_session,
            zeroes,
            old,
            is_trusted,
            unfinished,
        }
    }

    /// Where `piece` lies in the torrent.
    pub(super) fn piece(&self, piece: PieceIndex) -> Result<Range<u64>, StoreError> {
        let piece = self.geometry.piece(piece.get()).map_err(|e| self.misplaced(e))?;
        let start = self.geometry.offset(piece);
        Ok(start..start + u64::from(self.geometry.piece_len(piece)))
    }

    pub(super) fn part(
        &self,
        piece: PieceIndex,
        begin: u32,
        len: u64,
    ) -> Result<Range<u64>, StoreError> {
        let whole = self.piece(piece)?;
        let start = whole.start + u64::from(begin);
        match start.checked_add(len) {
            Some(end) if len > 0 && end <= whole.end => Ok(start..end),
            _ => Err(self.misplaced(format!(
                "bytes {begin}+{len} of piece {}, which is shorter",
                piece.get()
            ))),
        }
    }

    pub(super) fn place(&self, run: &Run) -> Result<Range<u64>, StoreError> {
        let len = match &run.data {
            RunData::Memory(buf) | RunData::Stretches(buf, _) => buf.0.len() as u64,
            RunData::Disk(len) => u64::from(*len),
        };
        self.part(run.piece, run.begin, len)
    }

    /// Writes parts of a run that begins at `start` of the torrent.
    pub(super) fn write_stretches(
        &self,
        start: u64,
        run: &[u8],
        stretches: &[Range<u32>],
    ) -> Result<(), StoreError> {
        stretches.iter().try_for_each(|stretch| {
            let data = run.get(stretch.start as usize..stretch.end as usize);
            let data = data.ok_or_else(|| self.misplaced("a stretch beyond the end of its run"))?;
            self.files.write(start + u64::from(stretch.start), data, false)
        })
    }

    pub(super) fn source<'a>(&'a self, run: &'a Run, place: &Range<u64>) -> Source<'a> {
        match &run.data {
            RunData::Memory(buf) | RunData::Stretches(buf, _) => Source::Memory(&buf.0),
            RunData::Disk(_) => {
                let len = place.end - place.start;
                Source::Disk(&self.files, place.start, len, Reading::Unchanged)
            }
        }
    }

    /// Fills a batch; false if it would have to wait and must not.
    pub(super) fn read(
        &self,
        blocks: &[Block],
        buf: &mut Buf,
        reading: Reading,
    ) -> Result<bool, StoreError> {
        buf.0.resize(batch_len(blocks), 0);
        let mut rest = buf.0.as_mut_slice();
        let mut parts = Vec::with_capacity(blocks.len());
        for block in blocks {
            let place = self.part(block.piece, block.begin, u64::from(block.len))?;
            let (part, after) =
                std::mem::take(&mut rest).split_at_mut(READ_GAP + block.len as usize);
            rest = after;
            parts.push((place.start, part.split_at_mut(READ_GAP).1));
        }
        self.files.read_parts(parts.into_iter(), reading)
    }

    /// The blocks have to be fetched from the disk: all of them are begun at once, and so is what
    /// will be asked for next.
    pub(super) fn read_ahead(&self, blocks: &[Block]) {
        let scattered = if blocks.len() > 1 { blocks } else { &[] };
        for block in scattered {
            if let Ok(place) = self.part(block.piece, block.begin, u64::from(block.len)) {
                self.files.will_need(place);
            }
        }
        if let Some(last) = blocks.last()
            && let Ok(piece) = self.piece(last.piece)
        {
            let end = piece.start + u64::from(last.begin) + u64::from(last.len);
            if end < piece.end {
                self.files.will_need(end..piece.end.min(end + READ_AHEAD));
            }
        }
    }

    /// Whether a piece of nominal length reads as zeroes without anybody having to.
    pub(super) fn is_surely_zeroes(&self, place: &Range<u64>) -> bool {
        place.end - place.start == u64::from(self.geometry.nominal_piece_len())
            && self.files.is_hole(place.clone())
    }

    pub(super) fn zero_digest(&self) -> Digest {
        *self
            .zeroes
            .get_or_init(|| hashing::zero_digest(u64::from(self.geometry.nominal_piece_len())))
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
        if self.in_session || self.state_file.is_some() {
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
        let Some(path) = &self.state_file else { return Ok(None) };
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
        Ok(None)
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
        let mut result = self.files.trim(&state.have, self.geometry);
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

    pub(super) fn misplaced(
        &self,
        what: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> StoreError {
        StoreError::new(
            StoreOp::Open,
            self.files.layout().dir(),
            io::Error::new(ErrorKind::InvalidInput, what),
        )
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
