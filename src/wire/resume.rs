//! A torrent's state between runs, as its state file has it: bencoded, versioned, with a checksum
//! at the end so that a torn file is known as one. The reader must still compare it with the files
//! themselves.

mod partial;
#[cfg(test)]
mod tests;

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use thiserror::Error;

use crate::base::{
    bitfield::{Bitfield, BitfieldError, wire_len},
    ids::{Identity, InfoHash, InfoHashV2},
    tracker_events::TrackerEvents,
};

use super::{
    bencode::{BencodeError, Document, Encoder, Limits, Value},
    tracker_events,
};
pub use partial::ResumePartial;

/// The format that is written and read.
const VERSION: i64 = 1;
/// Bytes of the checksum: SHA-1 of all that comes before it. It guards against accidents, not
/// against forgers.
const CHECKSUM: usize = 20;
/// Bytes a file: its length and its time, big-endian, or only ones if it is absent.
const STAT: usize = 16;
const ABSENT: [u8; STAT] = [0xff; STAT];
/// Bytes of everything but the bitfield and the files, generously.
const OVERHEAD: usize = 4096;

/// What was known of a torrent when its state was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeFile {
    /// Whose state it is.
    pub identity: Identity,
    /// Pieces that had been verified and given to the operating system.
    pub have: Bitfield,
    /// Whether more writes may have followed: then what this does not vouch for must be checked.
    pub dirty: bool,
    /// Bytes downloaded over all runs, at most 2^63 - 1.
    pub downloaded: u64,
    /// Bytes uploaded over all runs, at most 2^63 - 1.
    pub uploaded: u64,
    /// How each of the torrent's files looked then, in its order; `None` for one that was not
    /// there.
    pub files: Vec<Option<ResumeStat>>,
    /// How the file looked that holds what others need of files that are skipped, if there was
    /// one.
    pub parts: Option<ResumeStat>,
    /// Blocks on disk of pieces that are not whole, ascending by piece. Together they take at most
    /// 64 KiB; what goes beyond that is not written.
    pub partial: Vec<ResumePartial>,
    /// A check of what was there had not come to these pieces; `None` if no check was going on.
    pub unchecked: Option<Bitfield>,
    /// What its trackers have still to hear, where the session's records do not keep that.
    pub tracker_events: TrackerEvents,
    /// Whether each of the pieces in `have` was verified by both versions of a hybrid (BEP 52).
    /// States without this key say no: it is unknown of them whether version 2 was known.
    pub both_versions: bool,
}

/// How a file looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResumeStat {
    /// Bytes, at most 2^63 - 1.
    pub len: u64,
    /// When it was modified last, in nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// Why a state file cannot be believed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ResumeError {
    /// It is longer than that of any such torrent.
    #[error("state of {len} bytes exceeds {limit}, the most for this torrent")]
    TooLong {
        /// Its bytes.
        len: usize,
        /// The limit.
        limit: usize,
    },
    /// It is torn or damaged.
    #[error("state with a wrong checksum")]
    Checksum,
    /// It is not bencoded.
    #[error("state is not valid bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// It was written by a version that we do not know.
    #[error("state of version {0}, where {VERSION} is known")]
    Version(i64),
    /// Something is missing, or of a wrong type, or out of range.
    #[error("state without a valid `{0}`")]
    Field(&'static str),
    /// It is that of another torrent.
    #[error("state of torrent {0}")]
    InfoHash(InfoHash),
    /// Its pieces are not those of this torrent.
    #[error("state's pieces: {0}")]
    Have(#[from] BitfieldError),
    /// Its files are not those of this torrent.
    #[error("state of {got} files where the torrent has {want}")]
    Files {
        /// Files it tells of.
        got: usize,
        /// The torrent's files.
        want: usize,
    },
}

impl ResumeFile {
    /// The most bytes that the state of a torrent may have. A reader need not read more from disk.
    pub fn max_len(piece_count: u32, file_count: usize) -> usize {
        let fields = wire_len(piece_count).saturating_mul(2);
        file_count
            .saturating_mul(STAT)
            .saturating_add(fields)
            .saturating_add(partial::MAX_LEN)
            .saturating_add(OVERHEAD)
    }

    /// The file's bytes. Numbers beyond 63 bits are cut down to that.
    pub fn encode(&self) -> Vec<u8> {
        let mut e = Encoder::new();
        e.dict();
        if self.both_versions {
            e.key(b"both-versions").int(1);
        }
        e.key(b"dirty").int(i64::from(self.dirty));
        e.key(b"downloaded").uint(self.downloaded);
        e.key(b"files").bytes(&self.files.iter().flat_map(encode_stat).collect::<Vec<_>>());
        e.key(b"have").bytes(&self.have.to_wire());
        if let Some(hash) = self.identity.v1() {
            e.key(b"info-hash").bytes(&hash.0);
        }
        if let Some(hash) = self.identity.v2() {
            e.key(b"info-hash2").bytes(&hash.0);
        }
        if !self.partial.is_empty() {
            e.key(b"partial").bytes(&partial::encode(&self.partial));
        }
        if self.parts.is_some() {
            e.key(b"parts").bytes(&encode_stat(&self.parts));
        }
        tracker_events::push(&mut e, b"trackers", &self.tracker_events);
        if let Some(unchecked) = &self.unchecked {
            e.key(b"unchecked").bytes(&unchecked.to_wire());
        }
        e.key(b"uploaded").uint(self.uploaded);
        e.key(b"version").int(VERSION);
        e.end();
        let mut out = e.finish();
        let checksum = checksum(&out);
        out.extend_from_slice(checksum.as_ref());
        out
    }

    /// Reads the state of the torrent `identity` with so many pieces and files.
    ///
    /// # Errors
    /// If it is damaged, of another version, or of another torrent.
    pub fn decode(
        bytes: &[u8],
        piece_count: u32,
        file_count: usize,
        identity: &Identity,
    ) -> Result<Self, ResumeError> {
        let limit = Self::max_len(piece_count, file_count);
        if bytes.len() > limit {
            return Err(ResumeError::TooLong { len: bytes.len(), limit });
        }
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(ResumeError::Checksum)?;
        if checksum(body).as_ref() != sum {
            return Err(ResumeError::Checksum);
        }
        let document = Document::parse_with(body, &Limits { bytes: limit, depth: 6, tokens: 256 })?;
        let root = document.root();
        match int(root, "version")? {
            VERSION => {}
            other => return Err(ResumeError::Version(other)),
        }
        is_of(root, identity)?;
        Ok(Self {
            identity: *identity,
            have: Bitfield::from_wire(string(root, "have")?, piece_count)?,
            dirty: flag(root, "dirty")?,
            downloaded: uint(root, "downloaded")?,
            uploaded: uint(root, "uploaded")?,
            files: decode_stats(string(root, "files")?, file_count)?,
            parts: match root.get(b"parts") {
                Some(_) => string(root, "parts")?
                    .try_into()
                    .map_err(|_| ResumeError::Field("parts"))
                    .and_then(decode_stat)?,
                None => None,
            },
            partial: match root.get(b"partial") {
                Some(_) => partial::decode(string(root, "partial")?, piece_count)
                    .ok_or(ResumeError::Field("partial"))?,
                None => Vec::new(),
            },
            unchecked: match root.get(b"unchecked") {
                Some(_) => Some(Bitfield::from_wire(string(root, "unchecked")?, piece_count)?),
                None => None,
            },
            tracker_events: tracker_events::read(root.get(b"trackers")),
            both_versions: match root.get(b"both-versions") {
                Some(_) => flag(root, "both-versions")?,
                None => false,
            },
        })
    }
}

/// Refuses the state of another torrent. One that was saved when only one of a hybrid's hashes was
/// known is the hybrid's.
fn is_of(root: Value<'_>, identity: &Identity) -> Result<(), ResumeError> {
    let v1 = array(root, "info-hash")?.map(InfoHash);
    let v2 = array(root, "info-hash2")?.map(InfoHashV2);
    let whose = v1.or(v2.map(|hash| hash.truncated())).ok_or(ResumeError::Field("info-hash"))?;
    let same_v1 = v1.zip(identity.v1()).map(|(a, b)| a == b);
    let same_v2 = v2.zip(identity.v2()).map(|(a, b)| a == b);
    match (same_v1, same_v2) {
        (Some(true), None | Some(true)) | (None, Some(true)) => Ok(()),
        _ => Err(ResumeError::InfoHash(whose)),
    }
}

/// A string of exactly `N` bytes, if there is one.
fn array<const N: usize>(
    root: Value<'_>,
    key: &'static str,
) -> Result<Option<[u8; N]>, ResumeError> {
    if root.get(key.as_bytes()).is_none() {
        return Ok(None);
    }
    string(root, key)?.try_into().map(Some).map_err(|_| ResumeError::Field(key))
}

fn checksum(body: &[u8]) -> ring::digest::Digest {
    digest(&SHA1_FOR_LEGACY_USE_ONLY, body)
}

fn encode_stat(stat: &Option<ResumeStat>) -> [u8; STAT] {
    let Some(ResumeStat { len, mtime_ns }) = *stat else {
        return ABSENT;
    };
    let mut out = [0; STAT];
    out[..8].copy_from_slice(&len.min(i64::MAX as u64).to_be_bytes());
    out[8..].copy_from_slice(&mtime_ns.to_be_bytes());
    out
}

fn decode_stats(bytes: &[u8], want: usize) -> Result<Vec<Option<ResumeStat>>, ResumeError> {
    let (stats, rest) = bytes.as_chunks::<STAT>();
    if !rest.is_empty() {
        return Err(ResumeError::Field("files"));
    }
    if stats.len() != want {
        return Err(ResumeError::Files { got: stats.len(), want });
    }
    stats.iter().map(decode_stat).collect()
}

fn decode_stat(stat: &[u8; STAT]) -> Result<Option<ResumeStat>, ResumeError> {
    if *stat == ABSENT {
        return Ok(None);
    }
    let both = u128::from_be_bytes(*stat);
    let (len, mtime_ns) = ((both >> 64) as u64, both as i64);
    if len > i64::MAX as u64 {
        return Err(ResumeError::Field("files"));
    }
    Ok(Some(ResumeStat { len, mtime_ns }))
}

fn string<'a>(root: Value<'a>, key: &'static str) -> Result<&'a [u8], ResumeError> {
    root.get(key.as_bytes()).and_then(|v| v.as_bytes()).ok_or(ResumeError::Field(key))
}

fn int(root: Value<'_>, key: &'static str) -> Result<i64, ResumeError> {
    root.get(key.as_bytes()).and_then(|v| v.as_int()).ok_or(ResumeError::Field(key))
}

fn flag(root: Value<'_>, key: &'static str) -> Result<bool, ResumeError> {
    match int(root, key)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(ResumeError::Field(key)),
    }
}

fn uint(root: Value<'_>, key: &'static str) -> Result<u64, ResumeError> {
    u64::try_from(int(root, key)?).map_err(|_| ResumeError::Field(key))
}
