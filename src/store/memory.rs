//! A torrent in memory: nothing of it touches a disk.
//!
//! Knows bytes of one torrent in chunks; not jobs, hashes or threads.

use std::{
    collections::BTreeMap,
    io::{self, ErrorKind},
    ops::Range,
    path::PathBuf,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, TryLockError},
};

use thiserror::Error;

use crate::base::{
    files::{FileEntry, FileKind, spans},
    geometry::{Geometry, PieceIndex},
    ids::Identity,
    storage::{Leftovers, Opened, SaveState, StoreError, StoreOp, StoreSpec, Trust},
    storage::{ReadPart, Reading, Saving, Storage},
};

/// Bytes that are allocated at once.
const CHUNK: u64 = 64 << 10;

/// What a [`MemoryStorage`] cannot do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum MemoryError {
    /// More bytes than it may hold.
    #[error("{wanted} bytes exceed {limit}, the limit of this memory storage")]
    Limit {
        /// Bytes that it would hold.
        wanted: u64,
        /// Bytes that it may hold.
        limit: u64,
    },
    /// It holds another torrent.
    #[error("this memory storage holds another torrent")]
    Taken,
}

/// The bytes of one torrent in memory, up to a limit. They stay when the torrent is paused or
/// removed, and go when it is deleted or this is dropped. Give an `Arc` of it to
/// [`TorrentParams::storage`](crate::TorrentParams::storage) and keep another to get at the bytes.
/// They are allocated 64 KiB at a time, as they come; a torrent whose wanted files would exceed the
/// limit is not begun.
///
/// ```
/// use std::{fs, net::SocketAddr, ops::ControlFlow, sync::Arc};
///
/// use cratetorrent::{
///     Alert, Conf, CreateParams, TorrentParams, Trust, create, spawn, store::MemoryStorage,
/// };
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // Something to download, and a seed of it.
/// let dir = tempfile::tempdir()?;
/// fs::write(dir.path().join("data"), [7_u8; 100_000])?;
/// let params = CreateParams::new(dir.path().join("data"));
/// let metainfo = Arc::new(create(&params, |_| ControlFlow::Continue(()))?.metainfo);
/// let here: SocketAddr = "127.0.0.1:0".parse()?;
/// let (seed, _) = spawn(Conf::default().with(|conf| conf.network.listen = vec![here]))?;
/// let mut params = TorrentParams::new(metainfo.clone(), dir.path());
/// params.trust = Trust::Files;
/// seed.call(|engine| engine.add_torrent(params))??;
///
/// // The download, into memory.
/// let memory = Arc::new(MemoryStorage::new(1 << 20));
/// let (engine, alerts) = spawn(Conf::default())?;
/// let mut params = TorrentParams::new(metainfo, "unused");
/// params.storage = Some(memory.clone());
/// params.peers = seed.local_addrs().to_vec();
/// engine.call(|engine| engine.add_torrent(params))??;
/// let mut finished = alerts.into_iter();
/// assert!(finished.any(|alert| matches!(alert, Alert::Finished { .. })));
/// assert_eq!(memory.file(0).unwrap(), [7_u8; 100_000]);
/// assert!(!std::path::Path::new("unused").exists());
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryStorage {
    limit: u64,
    held: RwLock<Option<Held>>,
}

/// The torrent that is held.
#[derive(Debug)]
struct Held {
    identity: Identity,
    name: PathBuf,
    files: std::sync::Arc<[FileEntry]>,
    geometry: Geometry,
    /// By number: the bytes from `number * CHUNK` on.
    chunks: BTreeMap<u64, Box<[u8]>>,
    used: u64,
    saved: Option<Box<SaveState>>,
}

impl MemoryStorage {
    /// An empty one that holds `limit` bytes at most.
    pub fn new(limit: u64) -> Self {
        Self { limit, held: RwLock::default() }
    }

    /// Bytes that it may hold.
    pub fn limit(&self) -> u64 {
        self.limit
    }

    /// Bytes that it holds now.
    pub fn used(&self) -> u64 {
        self.read_held().as_ref().map_or(0, |held| held.used)
    }

    /// A file of the torrent, by number; `None` as long as some of its chunks are not allocated.
    /// Its bytes are all there, and verified, once the engine says that the torrent is finished;
    /// before that some may be zeroes or wrong.
    pub fn file(&self, file: usize) -> Option<Vec<u8>> {
        let held = self.read_held();
        let held = held.as_ref()?;
        let entry = held.files.get(file)?;
        let mut bytes = vec![0; usize::try_from(entry.len).ok()?];
        held.read(entry.offset, &mut bytes).then_some(bytes)
    }

    fn read_held(&self) -> RwLockReadGuard<'_, Option<Held>> {
        self.held.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_held(&self) -> RwLockWriteGuard<'_, Option<Held>> {
        self.held.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn check_limit(&self, wanted: u64) -> io::Result<()> {
        if wanted <= self.limit {
            return Ok(());
        }
        let why = MemoryError::Limit { wanted, limit: self.limit };
        Err(io::Error::new(ErrorKind::StorageFull, why))
    }
}

fn not_open(op: StoreOp) -> StoreError {
    let what = "the memory storage was not opened";
    StoreError::new(op, "", io::Error::new(ErrorKind::NotFound, what))
}

/// The chunks that a range of the torrent lies in.
fn chunks_of(range: Range<u64>) -> Range<u64> {
    if range.is_empty() { 0..0 } else { range.start / CHUNK..(range.end - 1) / CHUNK + 1 }
}

impl Held {
    fn new(spec: &StoreSpec) -> Self {
        Self {
            identity: spec.identity,
            name: PathBuf::from(&spec.name),
            files: spec.files.clone(),
            geometry: spec.geometry.clone(),
            chunks: BTreeMap::new(),
            used: 0,
            saved: None,
        }
    }

    fn chunk_len(&self, chunk: u64) -> u64 {
        CHUNK.min(self.geometry.total_len().saturating_sub(chunk * CHUNK))
    }

    /// What of a range has bytes of its own: pads have none, and read as zeroes.
    fn stored(&self, range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
        spans(&self.files, range).filter_map(|span| {
            let file = self.files.get(span.file)?;
            let start = file.offset + span.offset;
            (file.kind == FileKind::Regular).then_some(start..start + span.len)
        })
    }

    fn is_there(&self, range: Range<u64>) -> bool {
        let is_held = |range| chunks_of(range).all(|chunk| self.chunks.contains_key(&chunk));
        self.stored(range).all(is_held)
    }

    /// Fills `buf` from `offset` on; false if something of it was never written.
    fn read(&self, offset: u64, buf: &mut [u8]) -> bool {
        let range = offset..offset.saturating_add(buf.len() as u64);
        if range.end > self.geometry.total_len() {
            return false;
        }
        buf.fill(0);
        self.stored(range).all(|stored| {
            let mut at = stored.start;
            while at < stored.end {
                let skip = (at % CHUNK) as usize;
                let len = (CHUNK - at % CHUNK).min(stored.end - at) as usize;
                let from = self.chunks.get(&(at / CHUNK)).and_then(|c| c.get(skip..skip + len));
                let begin = (at - offset) as usize;
                let (Some(from), Some(to)) = (from, buf.get_mut(begin..begin + len)) else {
                    return false;
                };
                to.copy_from_slice(from);
                at += len as u64;
            }
            true
        })
    }

    fn write(&mut self, offset: u64, data: &[u8], limit: u64) -> Result<(), MemoryError> {
        let stored: Vec<_> = self.stored(offset..offset + data.len() as u64).collect();
        for range in stored {
            let mut at = range.start;
            while at < range.end {
                let (chunk, skip) = (at / CHUNK, (at % CHUNK) as usize);
                let len = (CHUNK - at % CHUNK).min(range.end - at) as usize;
                let whole = self.chunk_len(chunk);
                if !self.chunks.contains_key(&chunk) {
                    let wanted = self.used + whole;
                    if wanted > limit {
                        return Err(MemoryError::Limit { wanted, limit });
                    }
                    self.chunks.insert(chunk, vec![0; whole as usize].into());
                    self.used = wanted;
                }
                let begin = (at - offset) as usize;
                let to = self.chunks.get_mut(&chunk).and_then(|c| c.get_mut(skip..skip + len));
                if let (Some(to), Some(from)) = (to, data.get(begin..begin + len)) {
                    to.copy_from_slice(from);
                }
                at += len as u64;
            }
        }
        Ok(())
    }

    fn place(&self, piece: PieceIndex) -> Range<u64> {
        let start = self.geometry.offset(piece);
        start..start + u64::from(self.geometry.piece_len(piece))
    }

    /// Bytes that all files that are not skipped will take up.
    fn wanted(&self, skipped: &[bool]) -> u64 {
        let is_wanted = |n: &usize| !skipped.get(*n).copied().unwrap_or(false);
        let wanted = self.files.iter().enumerate().filter(|(n, _)| is_wanted(n));
        let (mut bytes, mut next) = (0, 0);
        for (_, file) in wanted.filter(|(_, file)| file.kind == FileKind::Regular) {
            // Files follow each other, and two may share a chunk.
            let chunks = chunks_of(file.offset..file.offset + file.len);
            let new = chunks.start.max(next)..chunks.end;
            next = next.max(chunks.end);
            bytes += new.map(|chunk| self.chunk_len(chunk)).sum::<u64>();
        }
        bytes
    }

    /// What is there: as it was saved, where nothing was written since; else to be checked.
    fn opened(&self, trust: Trust) -> Opened {
        let mut opened = Opened::empty(self.geometry.piece_count());
        let saved = self.saved.as_ref();
        if let Some(saved) = saved {
            (opened.downloaded, opened.uploaded) = (saved.downloaded, saved.uploaded);
            opened.tracker_events = saved.tracker_events.clone();
            opened.both_versions = saved.both_versions;
        }
        let believed = saved.filter(|_| trust != Trust::Nothing);
        for piece in self.geometry.pieces().filter(|&piece| self.is_there(self.place(piece))) {
            if believed.is_some_and(|saved| saved.have.has(piece)) {
                opened.have.set(piece);
            } else {
                // What was saved says of what was written before, unless it was taken in between.
                let says_no = |saved: &SaveState| {
                    !saved.dirty && !saved.unchecked.as_ref().is_some_and(|left| left.has(piece))
                };
                if !believed.is_some_and(|saved| says_no(saved)) {
                    opened.check.set(piece);
                }
            }
        }
        let partial = believed.iter().flat_map(|saved| saved.partial.iter());
        let is_open = |piece| !opened.have.has(piece) && !opened.check.has(piece);
        opened.partial = partial.filter(|partial| is_open(partial.piece)).cloned().collect();
        opened
    }
}

impl Storage for MemoryStorage {
    fn open(&self, spec: &StoreSpec) -> Result<Opened, StoreError> {
        let failed = |e| StoreError::new(StoreOp::Open, &spec.name, e);
        let mut held = self.write_held();
        let held = held.get_or_insert_with(|| Held::new(spec));
        if held.identity != spec.identity || held.geometry != spec.geometry {
            return Err(failed(io::Error::new(ErrorKind::AlreadyExists, MemoryError::Taken)));
        }
        self.check_limit(held.wanted(&spec.skipped)).map_err(failed)?;
        Ok(held.opened(spec.trust))
    }

    fn read(&self, parts: &mut [ReadPart<'_>], reading: Reading) -> Result<bool, StoreError> {
        let held = match (self.held.try_read(), reading) {
            (Ok(held), _) => held,
            // A worker copies to it.
            (Err(TryLockError::WouldBlock), Reading::AtHand) => return Ok(false),
            _ => self.read_held(),
        };
        let held = held.as_ref().ok_or_else(|| not_open(StoreOp::Read))?;
        for part in parts {
            if !held.read(part.offset, part.buf) {
                let gone = io::Error::new(ErrorKind::NotFound, "bytes that were never written");
                return Err(StoreError::new(StoreOp::Read, &held.name, gone));
            }
        }
        Ok(true)
    }

    fn write(&self, offset: u64, data: &[u8], _verified: bool) -> Result<(), StoreError> {
        let mut held = self.write_held();
        let held = held.as_mut().ok_or_else(|| not_open(StoreOp::Write))?;
        held.write(offset, data, self.limit).map_err(|e| {
            let full = io::Error::new(ErrorKind::StorageFull, e);
            StoreError::new(StoreOp::Write, &held.name, full)
        })
    }

    fn is_hole(&self, range: Range<u64>) -> bool {
        self.read_held().as_ref().is_some_and(|held| {
            let is_hole = |range| !chunks_of(range).any(|chunk| held.chunks.contains_key(&chunk));
            held.stored(range).all(is_hole)
        })
    }

    fn save(&self, state: Box<SaveState>, _from: usize) -> Saving {
        if let Some(held) = self.write_held().as_mut() {
            held.saved = Some(state);
        }
        Saving::Over { record: None, result: Ok(()), unfinished: None }
    }

    fn delete(&self, spec: &StoreSpec) -> Option<Leftovers> {
        let mut held = self.write_held();
        if held.as_ref().is_some_and(|held| held.identity == spec.identity) {
            *held = None;
        }
        None
    }
}

#[cfg(test)]
mod tests;
