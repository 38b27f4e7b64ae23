//! The folder of a session: its lock, its log, and which records of the log count. Appended to by
//! the workers, read once at the start and a state at a time after that, and written anew when more
//! than half of it is of no use any more.
//!
//! Knows records by what they are about; their meaning is the codec's.

mod set_aside;
#[cfg(test)]
mod tests;

use std::{
    io::{self, ErrorKind},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use thiserror::Error;

use super::{
    disk::{Disk, Locked},
    doubts::Doubts,
};
use crate::{
    base::{
        ids::{InfoHash, WireHash},
        storage::{RecordKind, SessionRecord, StoreError, StoreOp},
    },
    wire::session::{
        self, HEADER_LEN, Index, LogError, MAX_BODY, Place, Record, Replay, Restored, Salt,
        Scanned, Source, split_torrent,
    },
};

/// A log below this is not worth writing anew.
const WORTH_IT: u64 = 256 << 10;
/// Bytes read at once at the start.
const CHUNK: usize = 1 << 20;
/// Bytes that are collected before a write while a log is written anew.
const GATHERED: usize = 256 << 10;

/// Why a session folder cannot be used. Nothing in it was changed.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Another session, of this process or another, has it.
    #[error("session folder {} is in use{}", dir.display(), by(*pid))]
    InUse {
        /// The folder.
        dir: PathBuf,
        /// The process that has it, if it can be known.
        pid: Option<u32>,
    },
    /// Its log is of a later version.
    #[error("cannot use {}: {why}", path.display())]
    Log {
        /// The log.
        path: PathBuf,
        /// Why not.
        why: LogError,
    },
    /// It cannot be read or made.
    #[error("cannot open {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn by(pid: Option<u32>) -> String {
    pid.map_or_else(|| " by another session".to_owned(), |pid| format!(" by process {pid}"))
}

/// A session folder that is ours until this is dropped.
#[derive(Debug)]
pub struct SessionFolder {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    salt: Salt,
    log: Mutex<Log>,
    doubts: Doubts,
    /// As long as this is open no other session takes the folder.
    _lock: Option<std::fs::File>,
}

#[derive(Debug)]
struct Log {
    index: Index,
    /// Where the next record goes.
    end: u64,
    /// After a failure to write the log anew it is only appended to, up to here.
    patience: u64,
    doubt: Doubt,
    /// States that could not be appended and must not be forgotten, at most one a torrent: they
    /// come before what is appended next.
    owed: Vec<SessionRecord>,
}

/// What a failure has left, to be put in order before anything else counts as safe.
#[derive(Debug, Default)]
enum Doubt {
    #[default]
    None,
    /// Behind the end there may be whole records of an append that failed. They must never follow
    /// what is appended next.
    Tail,
    /// The log was gone from its folder. What is there next has to be looked at.
    Gone,
    /// The log was written anew, but a power cut may bring the old one back.
    Name,
    /// It is not known which of the two is there: the old one, or this, of this length.
    Either(Index, u64),
}

impl SessionFolder {
    /// Takes the folder and reads what it has; makes it if there is none, with `salt` (random
    /// bytes, see [`wire::session`](crate::wire::session)). Blocks on the disk.
    ///
    /// A log that is there and has no header that can be read is kept under another name
    /// ([`Restored::set_aside`]), and the session begins anew.
    ///
    /// # Errors
    /// If another session has it, it cannot be read, or it is of a later version.
    pub fn open(
        disk: Arc<dyn Disk>,
        dir: &Path,
        salt: Salt,
    ) -> Result<(Self, Restored), SessionError> {
        let path = dir.join("session.ct");
        let lock_path = dir.join("lock");
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| SessionError::Io { path, source }
        };
        let lock = match disk.lock(&lock_path).map_err(failed(&lock_path))? {
            Locked::Ours(lock) => lock,
            Locked::Others(pid) => return Err(SessionError::InUse { dir: dir.to_owned(), pid }),
        };
        let found = disk.stat(&path).map_err(failed(&path))?;
        let begin = || {
            disk.replace(&path, &mut |file| file.write_all(&session::header(salt)))
                .map_err(failed(&path))
        };
        if found.is_none() {
            begin()?;
        }
        let mut reader = LogReader::new(&*disk, &path).map_err(failed(&path))?;
        let mut aside = None;
        let salt = match set_aside::read_header(reader.bytes(0, HEADER_LEN).map_err(failed(&path))?)
        {
            Ok(salt) => salt,
            Err(why @ LogError::TooNew(_)) => {
                return Err(SessionError::Log { path: path.clone(), why });
            }
            Err(why) => {
                let kept = set_aside::set_aside(&*disk, &path).map_err(failed(&path))?;
                log::error!("{}: {why}; it is kept as {}", path.display(), kept.display());
                aside = Some(kept);
                begin()?;
                reader = LogReader::new(&*disk, &path).map_err(failed(&path))?;
                salt
            }
        };
        let mut replay = Replay::default();
        let scanned = session::scan(&mut reader, &salt, |record| replay.note(&record))
            .map_err(failed(&path))?;
        let Scanned { end, damaged, torn } = scanned;
        let doubts = Doubts::restored(replay.take_doubts());
        let (index, mut restored) = replay.finish();
        restored.damaged += damaged;
        restored.torn = torn;
        restored.set_aside = aside;
        let log = Mutex::new(Log { index, end, patience: 0, doubt: Doubt::None, owed: Vec::new() });
        Ok((Self { disk, path, salt, log, doubts, _lock: lock }, restored))
    }

    /// Appends records and returns when all of them are safe. They are written with one call and
    /// synced once.
    ///
    /// # Errors
    /// If they cannot be; then any of them may be found at the next start, or none, until something
    /// else is appended.
    pub fn append(&self, records: &[SessionRecord]) -> Result<(), StoreError> {
        let mut log = self.log();
        self.put_in_order(&mut log)?;
        let mut owed = std::mem::take(&mut log.owed);
        let doubts = self.doubts.due();
        let version = doubts.map(|(version, body)| {
            let info_hash = WireHash::v1(InfoHash([0; 20]));
            owed.push(SessionRecord { kind: RecordKind::Doubts, info_hash, body });
            version
        });
        let mut appended = self.append_after(&owed, records, &mut log);
        let Err(error) = &appended else {
            version.into_iter().for_each(|version| self.doubts.note_recorded(version));
            return Ok(());
        };
        // There may be room for what is new alone.
        if !owed.is_empty() && error.op == StoreOp::Save && self.put_in_order(&mut log).is_ok() {
            appended = self.append_after(&[], records, &mut log);
        }
        // A newer state counts, and nothing of a torrent that is removed.
        let is_over = |owed: &SessionRecord| {
            records.iter().any(|new| {
                let ends = [RecordKind::Removed, RecordKind::State].contains(&new.kind);
                ends && new.info_hash == owed.info_hash
            })
        };
        owed.retain(|owed| {
            // What is in doubt is made anew.
            owed.kind != RecordKind::Doubts && (appended.is_err() || !is_over(owed))
        });
        log.owed = owed;
        appended
    }

    /// Files that are open no more and that nothing says are safe. They are recorded with what is
    /// appended next.
    pub(super) fn doubts(&self) -> &Doubts {
        &self.doubts
    }

    /// A state that could not be appended, and says that something is not safe: until something is
    /// appended after it, a process that knows nothing of this one may find it, and afterwards
    /// it does.
    pub(super) fn owe(&self, record: SessionRecord) {
        // One that is too long would keep all others from being appended.
        if record.body.len() > MAX_BODY {
            return;
        }
        let mut log = self.log();
        log.owed.retain(|owed| owed.info_hash != record.info_hash);
        log.owed.push(record);
    }

    fn append_after(
        &self,
        owed: &[SessionRecord],
        records: &[SessionRecord],
        log: &mut Log,
    ) -> Result<(), StoreError> {
        let failed = |op| move |e| StoreError::new(op, &self.path, e);
        let is_news = |new: &SessionRecord, owed: &SessionRecord| {
            (new.kind, new.info_hash) == (owed.kind, owed.info_hash)
        };
        let owed = owed.iter().filter(|owed| !records.iter().any(|new| is_news(new, owed)));
        let records: Vec<_> = owed.chain(records).collect();
        let mut bytes = Vec::new();
        for SessionRecord { kind, info_hash, body } in &records {
            if body.len() > MAX_BODY {
                return Err(failed(StoreOp::Save)(io::Error::new(
                    ErrorKind::FileTooLarge,
                    "a record above 64 MiB",
                )));
            }
            session::push_record(&mut bytes, &self.salt, *kind, info_hash, body);
        }
        let mut rest = bytes.as_slice();
        let mut at = log.end;
        log.doubt = Doubt::Tail;
        while !rest.is_empty() {
            let written = match self.disk.write_at(&self.path, at, rest) {
                Ok(0) => Err(ErrorKind::WriteZero.into()),
                other => other,
            };
            let written = written.map_err(failed(StoreOp::Save))?;
            at += written as u64;
            rest = rest.get(written..).unwrap_or_default();
        }
        self.disk.sync(&self.path).map_err(failed(StoreOp::Sync))?;
        // A file that is open can be written when it has lost its name, and no start finds it.
        let is_named = || Ok(self.is_there(0)? && !self.disk.is_replaced(&self.path)?);
        if !is_named().map_err(failed(StoreOp::Save))? {
            self.disk.close(&self.path);
            log.doubt = Doubt::Gone;
            return Err(failed(StoreOp::Save)(gone()));
        }
        log.doubt = Doubt::None;
        for SessionRecord { kind, info_hash, body } in &records {
            let len = session::record_len(body);
            let begin = log.end;
            log.index.note(begin, len, Some(*kind), *info_hash);
            log.end += len as u64;
        }
        if log.end > WORTH_IT.max(2 * log.index.live).max(log.patience)
            && let Err(error) = self.write_anew(log)
        {
            // What is there is whole. It is tried again when it has grown by as much again.
            log::warn!("cannot write {} anew: {error}", self.path.display());
            log.patience = log.end * 2;
        }
        Ok(())
    }

    /// The state that was saved last of a torrent.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn state(&self, info_hash: &WireHash) -> Result<Option<Vec<u8>>, StoreError> {
        let mut log = self.log();
        self.find_out(&mut log).map_err(|e| StoreError::new(StoreOp::Read, &self.path, e))?;
        let place = log.index.entries.get(info_hash).and_then(|entry| entry.state);
        self.body(place).map_err(|e| StoreError::new(StoreOp::Read, &self.path, e))
    }

    /// A part of the metainfo file of a torrent.
    ///
    /// # Errors
    /// If it cannot be read, or is not there.
    pub(super) fn info(
        &self,
        info_hash: &WireHash,
        span: Range<usize>,
    ) -> Result<Vec<u8>, StoreError> {
        let failed = |e| StoreError::new(StoreOp::Read, &self.path, e);
        let mut log = self.log();
        self.find_out(&mut log).map_err(failed)?;
        let place = log.index.entries.get(info_hash).and_then(|entry| entry.torrent);
        let body = self.body(place).map_err(failed)?.unwrap_or_default();
        let info = split_torrent(&body).and_then(|(_, metainfo)| metainfo.get(span));
        info.map(<[u8]>::to_vec).ok_or_else(|| failed(ErrorKind::NotFound.into()))
    }

    /// What the record at this place says, if it is one.
    fn body(&self, place: Option<Place>) -> io::Result<Option<Vec<u8>>> {
        let Some(place) = place else { return Ok(None) };
        let bytes = self.read(place)?;
        Ok(Record::parse(place.at(), &bytes, &self.salt).map(|record| record.body.to_vec()))
    }

    /// The log itself, for messages.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes of the log, and of those that count.
    #[cfg(test)]
    fn size(&self) -> (u64, u64) {
        let log = self.log();
        (log.end, log.index.live)
    }

    /// Copies the records that count, in the order of their torrents, and lets the copy take the
    /// log's place.
    fn write_anew(&self, log: &mut Log) -> io::Result<()> {
        let places = log.index.places();
        let mut index = Index::default();
        let mut end = HEADER_LEN as u64;
        let mut whole = false;
        let replaced = self.disk.replace(&self.path, &mut |file| {
            let mut gathered = session::header(self.salt).to_vec();
            for &place in &places {
                let bytes = self.read(place)?;
                // What has been damaged since is not copied as if it were whole: the old log stays,
                // and with it whatever can be saved.
                let damaged = || {
                    io::Error::new(
                        ErrorKind::InvalidData,
                        format!("the record at {} is damaged", place.at()),
                    )
                };
                let record = Record::parse(end, &bytes, &self.salt).ok_or_else(damaged)?;
                index.note(end, bytes.len(), record.kind, record.info_hash);
                end += bytes.len() as u64;
                gathered.extend_from_slice(&bytes);
                if gathered.len() > GATHERED {
                    file.write_all(&gathered)?;
                    gathered.clear();
                }
            }
            file.write_all(&gathered)?;
            whole = true;
            Ok(())
        });
        if let Err(error) = replaced {
            if whole {
                log.doubt = Doubt::Either(index, end);
                self.find_out(log)?;
            }
            return Err(error);
        }
        log::debug!("{} is {end} bytes now, {} before", self.path.display(), log.end);
        (log.index, log.end, log.patience, log.doubt) = (index, end, 0, Doubt::None);
        Ok(())
    }

    /// Whatever a failure has left is put in order, or nothing is appended.
    fn put_in_order(&self, log: &mut Log) -> Result<(), StoreError> {
        self.find_out(log).map_err(|e| StoreError::new(StoreOp::Read, &self.path, e))?;
        let unsaved = |e| StoreError::new(StoreOp::Save, &self.path, e);
        match log.doubt {
            Doubt::None | Doubt::Either(..) => Ok(()),
            Doubt::Gone if !self.is_back(log).map_err(unsaved)? => Err(unsaved(gone())),
            Doubt::Gone | Doubt::Tail => self.disk.set_len(&self.path, log.end).map_err(unsaved),
            Doubt::Name => {
                self.write_anew(log).map_err(|e| StoreError::new(StoreOp::Sync, &self.path, e))
            }
        }
    }

    /// Whether a file of at least so many bytes is where the log should be.
    fn is_there(&self, len: u64) -> io::Result<bool> {
        Ok(self.disk.stat(&self.path)?.is_some_and(|stat| stat.is_file && stat.len >= len))
    }

    /// Whether the log is there again that was gone.
    fn is_back(&self, log: &Log) -> io::Result<bool> {
        let mut header = [0; HEADER_LEN];
        Ok(self.is_there(log.end)?
            && self.disk.read_at(&self.path, 0, &mut header)? == HEADER_LEN
            && header == session::header(self.salt))
    }

    /// If a log may have taken the place of the other or not, it is read.
    fn find_out(&self, log: &mut Log) -> io::Result<()> {
        let Doubt::Either(new, len) = &log.doubt else { return Ok(()) };
        let mut reader = LogReader::new(&*self.disk, &self.path)?;
        let mut index = Index::default();
        let scanned = session::scan(&mut reader, &self.salt, |r| {
            index.note(r.at, r.size(), r.kind, r.info_hash)
        })?;
        if (&index, scanned.end) == (new, *len) {
            (log.index, log.end, log.patience, log.doubt) = (index, scanned.end, 0, Doubt::Name);
        } else {
            log.doubt = Doubt::None;
        }
        Ok(())
    }

    fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.size()];
        let mut done = 0;
        while done < bytes.len() {
            match self.disk.read_at(
                &self.path,
                place.at() + done as u64,
                bytes.get_mut(done..).unwrap_or_default(),
            )? {
                0 => return Err(ErrorKind::UnexpectedEof.into()),
                read => done += read,
            }
        }
        Ok(bytes)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> io::Error {
    io::Error::new(ErrorKind::NotFound, "the session's log is gone from there")
}

/// A log read from front to back, in large pieces.
#[derive(Debug)]
struct LogReader<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
    len: u64,
    /// What was read, and where it begins.
    chunk: Vec<u8>,
    at: u64,
}

impl<'a> LogReader<'a> {
    fn new(disk: &'a dyn Disk, path: &'a Path) -> io::Result<Self> {
        let len = disk.stat(path)?.map_or(0, |stat| stat.len);
        Ok(Self { disk, path, len, chunk: Vec::new(), at: 0 })
    }
}

impl Source for LogReader<'_> {
    fn size(&self) -> u64 {
        self.len
    }

    fn bytes(&mut self, at: u64, want: usize) -> io::Result<&[u8]> {
        let want = usize::try_from(self.len.saturating_sub(at)).map_or(want, |left| want.min(left));
        let inside = at
            .checked_sub(self.at)
            .and_then(|skip| usize::try_from(skip).ok())
            .filter(|&skip| skip <= self.chunk.len());
        let mut skip = inside.unwrap_or(self.chunk.len());
        if self.chunk.len() - skip < want {
            self.chunk.drain(..skip);
            self.at = at;
            skip = 0;
            let mut have = self.chunk.len();
            let room = usize::try_from(self.len - at)
                .map_or(CHUNK.max(want), |left| left.min(CHUNK.max(want)));
            self.chunk.resize(room, 0);
            while have < room {
                match self.disk.read_at(
                    self.path,
                    at + have as u64,
                    self.chunk.get_mut(have..).unwrap_or_default(),
                ) {
                    Ok(0) => break,
                    Ok(read) => have += read,
                    Err(e) => {
                        self.chunk.clear();
                        return Err(e);
                    }
                }
            }
            self.chunk.truncate(have);
            if have < want {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.chunk.get(skip..skip + want).unwrap_or_default())
    }
}
