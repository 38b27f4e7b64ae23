//! The log of a session folder: a header and records one after the other, each with a checksum, so
//! that whatever is torn or damaged is known as such and everything else is still found.
//!
//! It knows the log's bytes and what they say; not where they are kept, and not what becomes of the
//! torrents. Checksums are keyed with the log's own salt: bytes that another program made (a
//! metainfo file inside a record) never pass for a record.

mod doubtful_files;
mod replay;
mod settings;
#[cfg(test)]
mod tests;

use std::io;

use ring::digest::{Context, SHA256};
use thiserror::Error;

use crate::base::{
    ids::{InfoHash, Version, WireHash},
    storage::RecordKind,
};

pub use doubtful_files::DoubtfulFiles;
pub use replay::{Entry, Index, Place, Replay, Restored, RestoredState, RestoredTorrent};
pub(crate) use replay::{LOG_LIMITS, join_torrent, split_torrent};
pub use settings::{EncryptionSettings, SessionSettings, SettingsError, TorrentSettings};

/// The format that is written and read.
pub const VERSION: u32 = 1;
/// Bytes before the first record: the header twice, so that one damaged sector does not take the
/// whole session with it.
pub const HEADER_LEN: usize = 2 * COPY;
/// Bytes of a record that are not its payload.
pub const FRAME_LEN: usize = 20;
/// The longest payload: a metainfo file of 32 MiB, and as much again for what the user says of it.
pub const MAX_PAYLOAD: usize = 64 << 20;
/// The same of a record's body, which follows the info-hash.
pub const MAX_BODY: usize = MAX_PAYLOAD - 20;
/// What makes the checksums of one log different from those of any other.
pub type Salt = [u8; 16];

const MAGIC: [u8; 8] = *b"ctsess\r\n";
const COPY: usize = 32;
/// Every record begins with it, so that the next one after damage is found.
const MARK: [u8; 4] = [0xc7, b'R', 0x0e, 0x9d];
/// Bytes of a log that are looked at at once.
const WINDOW: usize = 1 << 20;

/// Why a file is no log that can be read. It is left as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LogError {
    /// It does not begin as one.
    #[error("it is not the log of a session")]
    Foreign,
    /// It was written by a later version.
    #[error("it is of version {0}, where {VERSION} is known")]
    TooNew(u32),
    /// Both copies of its header are damaged.
    #[error("its header is damaged")]
    Header,
}

/// What a log begins with.
pub fn header(salt: Salt) -> [u8; HEADER_LEN] {
    let mut copy = [0; COPY];
    copy[..8].copy_from_slice(&MAGIC);
    copy[8..12].copy_from_slice(&VERSION.to_be_bytes());
    copy[12..28].copy_from_slice(&salt);
    let sum = sum(&[&copy[..28]]);
    copy[28..].copy_from_slice(&sum[..4]);
    let mut out = [0; HEADER_LEN];
    out[..COPY].copy_from_slice(&copy);
    out[COPY..].copy_from_slice(&copy);
    out
}

/// Reads what a log begins with.
///
/// # Errors
/// If it is not one, or one that only a later version can read.
pub fn read_header(bytes: &[u8]) -> Result<Salt, LogError> {
    let (copies, _) = bytes.as_chunks::<COPY>();
    let copies = copies.get(..2).unwrap_or(copies);
    if copies.iter().all(|copy| copy[..8] != MAGIC) {
        return Err(LogError::Foreign);
    }
    let whole =
        copies.iter().find(|copy| copy[..8] == MAGIC && sum(&[&copy[..28]])[..4] == copy[28..]);
    let version = |copy: &[u8; COPY]| u32::from_be_bytes([copy[8], copy[9], copy[10], copy[11]]);
    let Some(copy) = whole else {
        // A later version may have another header behind its number.
        return Err(match copies {
            [a, b] if a[..12] == b[..12] && version(a) > VERSION => LogError::TooNew(version(a)),
            _ => LogError::Header,
        });
    };
    let mut salt = [0; 16];
    salt.copy_from_slice(&copy[12..28]);
    match version(copy) {
        VERSION => Ok(salt),
        other => Err(LogError::TooNew(other)),
    }
}

/// Appends a record to `out`: one of this kind about a torrent (or about the session: then the
/// info-hash is zeroes), with `body`.
pub fn push_record(
    out: &mut Vec<u8>,
    salt: &Salt,
    kind: RecordKind,
    info_hash: &WireHash,
    body: &[u8],
) {
    push_raw(out, salt, code(kind, info_hash.version), &[&info_hash.hash.0, body]);
}

fn push_raw(out: &mut Vec<u8>, salt: &Salt, kind: u8, payload: &[&[u8]]) {
    let len: usize = payload.iter().map(|part| part.len()).sum();
    let kind_and_len = (u64::from(kind) << 56 | len as u64).to_be_bytes();
    let parts: Vec<&[u8]> =
        [&salt[..], &kind_and_len].into_iter().chain(payload.iter().copied()).collect();
    out.extend_from_slice(&MARK);
    out.extend_from_slice(&kind_and_len);
    out.extend_from_slice(&sum(&parts));
    payload.iter().for_each(|part| out.extend_from_slice(part));
}

/// The codes of records whose info-hash is of version 2 are as much above the others: programs that
/// know nothing of that version keep such records as they are.
const OF_V2: u8 = 0x40;

/// Bytes that a record with this body takes up in the log.
pub fn record_len(body: &[u8]) -> usize {
    FRAME_LEN + 20 + body.len()
}

fn code(kind: RecordKind, version: Version) -> u8 {
    let code = match kind {
        RecordKind::Torrent => 1,
        RecordKind::Settings => 2,
        RecordKind::State => 3,
        RecordKind::Removed => 4,
        RecordKind::Session => 5,
        RecordKind::Dht => 6,
        RecordKind::Doubts => 7,
    };
    match version {
        Version::V1 => code,
        Version::V2 => code | OF_V2,
    }
}

/// Eight bytes of SHA-256: enough against accidents, and with the salt against the author of the
/// payload.
fn sum(parts: &[&[u8]]) -> [u8; 8] {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    let mut out = [0; 8];
    out.copy_from_slice(context.finish().as_ref().get(..8).unwrap_or(&[0; 8]));
    out
}

/// What a record's first [`FRAME_LEN`] bytes say: its kind, the length of its payload, its
/// checksum.
#[derive(Clone, Copy)]
struct Frame {
    kind: u8,
    len: usize,
    sum: [u8; 8],
}

impl Frame {
    fn read(bytes: &[u8]) -> Option<Self> {
        let frame: &[u8; FRAME_LEN] = bytes.first_chunk()?;
        let (mark, rest) = frame.split_first_chunk::<4>()?;
        let (kind_and_len, sum) = rest.split_first_chunk::<8>()?;
        let number = u64::from_be_bytes(*kind_and_len);
        let len =
            usize::try_from(number & ((1 << 56) - 1)).ok().filter(|&len| len <= MAX_PAYLOAD)?;
        (*mark == MARK).then_some(Self {
            kind: (number >> 56) as u8,
            len,
            sum: *sum.first_chunk()?,
        })
    }

    fn fits(&self, salt: &Salt, payload: &[u8]) -> bool {
        let kind_and_len = (u64::from(self.kind) << 56 | self.len as u64).to_be_bytes();
        payload.len() == self.len && sum(&[salt, &kind_and_len, payload]) == self.sum
    }
}

/// A record that was found whole.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// Where it begins in the log.
    pub at: u64,
    /// What it says; `None` if that is not known to this version.
    pub kind: Option<RecordKind>,
    /// About which torrent; zeroes if about none.
    pub info_hash: WireHash,
    /// The rest of it.
    pub body: &'a [u8],
}

impl<'a> Record<'a> {
    fn new(at: u64, kind: u8, payload: &'a [u8]) -> Option<Self> {
        let (info_hash, body) = payload.split_first_chunk::<20>()?;
        let version = if kind & OF_V2 == 0 { Version::V1 } else { Version::V2 };
        let kind = [
            RecordKind::Torrent,
            RecordKind::Settings,
            RecordKind::State,
            RecordKind::Removed,
            RecordKind::Session,
            RecordKind::Dht,
            RecordKind::Doubts,
        ]
        .into_iter()
        .find(|&known| code(known, version) == kind);
        let info_hash = WireHash { version, hash: InfoHash(*info_hash) };
        Some(Self { at, kind, info_hash, body })
    }

    /// Bytes that it takes up in the log.
    pub fn size(&self) -> usize {
        record_len(self.body)
    }

    /// Reads a single record from its own bytes.
    pub fn parse(at: u64, bytes: &'a [u8], salt: &Salt) -> Option<Self> {
        let frame = Frame::read(bytes)?;
        let payload = bytes.get(FRAME_LEN..).filter(|payload| frame.fits(salt, payload))?;
        Self::new(at, frame.kind, payload)
    }
}

/// Where a log's bytes come from.
pub trait Source {
    /// Bytes in all.
    fn size(&self) -> u64;

    /// At most `want` bytes from `at` on: fewer only where the log ends.
    ///
    /// # Errors
    /// If they cannot be read.
    fn bytes(&mut self, at: u64, want: usize) -> io::Result<&[u8]>;
}

impl Source for &[u8] {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn bytes(&mut self, at: u64, want: usize) -> io::Result<&[u8]> {
        let rest = usize::try_from(at).ok().and_then(|at| self.get(at..)).unwrap_or_default();
        Ok(rest.get(..want).unwrap_or(rest))
    }
}

/// What a log was like as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Where the next record goes: behind the last whole one.
    pub end: u64,
    /// Damaged stretches with whole records behind them.
    pub damaged: u32,
    /// Bytes behind the last whole record: of one that was being written when the process or the
    /// machine ended.
    pub torn: u64,
}

/// Shows every whole record behind the header to `each`, in order, whatever lies in between.
///
/// # Errors
/// If the log cannot be read.
pub fn scan(
    source: &mut impl Source,
    salt: &Salt,
    mut each: impl FnMut(Record<'_>),
) -> io::Result<Scanned> {
    let len = source.size();
    let mut scanned = Scanned { end: HEADER_LEN as u64, ..Scanned::default() };
    let mut at = scanned.end;
    let mut lost = false;
    // What only looks like records must not cost more than a few looks at the whole log.
    let mut patience = len.saturating_mul(8).saturating_add(WINDOW as u64);
    while at < len {
        let frame = Frame::read(source.bytes(at, FRAME_LEN)?);
        let size = frame.map_or(u64::MAX, |frame| (FRAME_LEN + frame.len) as u64);
        if let Some(frame) = frame.filter(|_| size <= len - at && size <= patience) {
            let payload = source.bytes(at + FRAME_LEN as u64, frame.len)?;
            if frame.fits(salt, payload)
                && let Some(record) = Record::new(at, frame.kind, payload)
            {
                each(record);
                scanned.damaged += u32::from(std::mem::take(&mut lost));
                at += size;
                scanned.end = at;
                continue;
            }
            patience -= size;
        }
        lost = true;
        at = next_mark(source, at + 1)?.unwrap_or(len);
    }
    scanned.torn = len.saturating_sub(scanned.end);
    Ok(scanned)
}

/// The next place from `at` on where a record may begin.
fn next_mark(source: &mut impl Source, mut at: u64) -> io::Result<Option<u64>> {
    loop {
        let window = source.bytes(at, WINDOW)?;
        if let Some(found) = window.windows(MARK.len()).position(|bytes| bytes == MARK) {
            return Ok(Some(at + found as u64));
        }
        if window.len() < WINDOW {
            return Ok(None);
        }
        at += (WINDOW - MARK.len() + 1) as u64;
    }
}
