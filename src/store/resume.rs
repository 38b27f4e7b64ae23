//! The state file on its way between the disk and its codec.

use super::{
    disk::{Disk, FileStat},
    state::Saved,
};
use crate::base::{
    ids::InfoHash,
    job::{SaveState, StoreSpec},
};

/// A state file that was read.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) saved: Saved,
    pub(super) downloaded: u64,
    pub(super) uploaded: u64,
}

/// Reads the state, if there is one; says in words why it is of no use.
pub(super) fn load(disk: &dyn Disk, spec: &StoreSpec) -> Result<Option<Loaded>, String> {
    let Some(path) = &spec.state_file else { return Ok(None) };
    let unread = |e| format!("cannot read {}: {e}", path.display());
    let limit = limit(spec.geometry.piece_count(), spec.files.len());
    let Some(bytes) = disk.load(path, limit).map_err(unread)? else { return Ok(None) };
    let stat = disk.stat(path).map_err(unread)?;
    let file = codec::ResumeFile::decode(&bytes, spec.geometry.piece_count(), spec.files.len(), &spec.info_hash)
        .map_err(|e| format!("{} is of no use: {e}", path.display()))?;
    Ok(Some(Loaded {
        saved: Saved {
            have: file.have,
            dirty: file.dirty,
            files: file.files.iter().map(|f| f.map(|f| (f.len, f.mtime_ns))).collect(),
            saved_at_ns: stat.map_or(i64::MIN, |s| s.mtime_ns),
        },
        downloaded: file.downloaded,
        uploaded: file.uploaded,
    }))
}

pub(super) fn encode(info_hash: &InfoHash, state: SaveState, stats: &[Option<FileStat>]) -> Vec<u8> {
    let SaveState { have, dirty, downloaded, uploaded } = state;
    let files = stats.iter().map(|s| s.map(|s| codec::FileStat { len: s.len, mtime_ns: s.mtime_ns })).collect();
    codec::ResumeFile { info_hash: *info_hash, have, dirty, downloaded, uploaded, files }.encode()
}

/// Far above what a state of this shape takes.
fn limit(pieces: u32, files: usize) -> u64 {
    64 * 1024 + u64::from(pieces) + files as u64 * 128
}

/// Stands in until the codec of the state file is there.
mod codec {
    use crate::base::{bitfield::Bitfield, ids::InfoHash};

    #[derive(Clone, Copy, Debug)]
    pub(super) struct FileStat {
        pub(super) len: u64,
        pub(super) mtime_ns: i64,
    }

    pub(super) struct ResumeFile {
        pub(super) info_hash: InfoHash,
        pub(super) have: Bitfield,
        pub(super) dirty: bool,
        pub(super) downloaded: u64,
        pub(super) uploaded: u64,
        pub(super) files: Vec<Option<FileStat>>,
    }

    impl ResumeFile {
        pub(super) fn encode(&self) -> Vec<u8> {
            let mut out = self.info_hash.0.to_vec();
            out.push(u8::from(self.dirty));
            out.extend(self.downloaded.to_le_bytes());
            out.extend(self.uploaded.to_le_bytes());
            for file in &self.files {
                out.push(u8::from(file.is_some()));
                let file = file.unwrap_or(FileStat { len: 0, mtime_ns: 0 });
                out.extend(file.len.to_le_bytes());
                out.extend(file.mtime_ns.to_le_bytes());
            }
            out.extend(self.have.to_wire());
            out
        }

        pub(super) fn decode(bytes: &[u8], pieces: u32, files: usize, info_hash: &InfoHash) -> Result<Self, String> {
            let mut rest = bytes;
            let mut take = |n: usize| rest.split_off(..n).ok_or("cut short");
            if take(20)? != info_hash.0 {
                return Err("another torrent".into());
            }
            let word = |b: &[u8]| u64::from_le_bytes(b.try_into().unwrap_or_default());
            let dirty = take(1)? == [1];
            let (downloaded, uploaded) = (word(take(8)?), word(take(8)?));
            let mut stats = Vec::new();
            for _ in 0..files {
                let there = take(1)? == [1];
                let stat = FileStat { len: word(take(8)?), mtime_ns: word(take(8)?) as i64 };
                stats.push(there.then_some(stat));
            }
            let have = Bitfield::from_wire(rest, pieces).map_err(|e| e.to_string())?;
            Ok(Self { info_hash: *info_hash, have, dirty, downloaded, uploaded, files: stats })
        }
    }
}
