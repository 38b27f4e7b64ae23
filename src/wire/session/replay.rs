//! From a log's records to the session they leave: which record of each torrent counts, and what it
//! says.

use std::{collections::HashMap, num::NonZeroU32, path::PathBuf, sync::Arc};

use crate::base::{bitfield::Bitfield, ids::WireHash, storage::RecordKind};

use super::{
    super::{
        metainfo::{Metainfo, MetainfoLimits},
        resume::ResumeFile,
    },
    DoubtfulFiles, MAX_PAYLOAD, Record, SessionSettings, TorrentSettings,
};

/// The log is ours: whatever was taken once is taken again, however large it is, since a record has
/// its limit.
pub(crate) const LOG_LIMITS: MetainfoLimits = MetainfoLimits {
    bytes: MAX_PAYLOAD,
    depth: MAX_PAYLOAD,
    tokens: usize::MAX,
    pieces: u32::MAX,
    piece_len: u32::MAX,
    files: usize::MAX,
    addresses: usize::MAX,
};

/// A record's place in a log. Small, since there are several a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    at: [u32; 2],
    len: NonZeroU32,
}

impl Place {
    /// The first byte of `len`.
    pub fn new(at: u64, len: usize) -> Self {
        let len = u32::try_from(len).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MIN);
        Self { at: [(at >> 32) as u32, at as u32], len }
    }

    /// Its first byte.
    pub fn at(&self) -> u64 {
        u64::from(self.at[0]) << 32 | u64::from(self.at[1])
    }

    /// All of its bytes.
    pub fn size(&self) -> usize {
        self.len.get() as usize
    }
}

/// Which records of a torrent count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// The one that added it; it is not there without.
    pub torrent: Option<Place>,
    /// What the user has said since.
    pub settings: Option<Place>,
    /// How far it is.
    pub state: Option<Place>,
}

impl Entry {
    /// The records that count.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        [self.torrent, self.settings, self.state].into_iter().flatten()
    }
}

/// Which records of a log count. Its order never matters: code that needs one sorts by place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// By torrent.
    pub entries: HashMap<WireHash, Entry>,
    /// The session's own settings.
    pub session: Option<Place>,
    /// The state of the DHT node.
    pub dht: Option<Place>,
    /// The files of which a sync failed.
    pub doubts: Option<Place>,
    /// Records of a kind that this version does not know: kept as they are.
    pub unknown: Vec<Place>,
    /// Bytes of all records that count.
    pub live: u64,
}

impl Index {
    /// Every record that counts, in the order of a log that is written anew: first what is said of
    /// the session, then the torrents in the order in which they were added.
    pub fn places(&self) -> Vec<Place> {
        let mut torrents: Vec<(&WireHash, &Entry)> = self.entries.iter().collect();
        torrents.sort_unstable_by_key(|&(hash, entry)| {
            (entry.torrent.map_or(u64::MAX, |place| place.at()), *hash)
        });
        let of_the_session = self.session.into_iter().chain(self.dht).chain(self.doubts);
        let of_torrents = torrents.into_iter().flat_map(|(_, entry)| entry.places());
        of_the_session.chain(self.unknown.iter().copied()).chain(of_torrents).collect()
    }

    /// What is left of torrents that are not recorded does not count.
    fn forget_strays(&mut self) {
        let live = &mut self.live;
        self.entries.retain(|_, entry| {
            let is_torrent = entry.torrent.is_some();
            if !is_torrent {
                *live -= entry.places().map(|place| place.size() as u64).sum::<u64>();
            }
            is_torrent
        });
    }

    /// Another record follows.
    pub fn note(&mut self, at: u64, len: usize, kind: Option<RecordKind>, info_hash: WireHash) {
        let place = Place::new(at, len);
        self.live += place.size() as u64;
        let Some(kind) = kind else { return self.unknown.push(place) };
        let old: Entry = match kind {
            RecordKind::Session => {
                Entry { torrent: self.session.replace(place), ..Entry::default() }
            }
            RecordKind::Dht => Entry { torrent: self.dht.replace(place), ..Entry::default() },
            RecordKind::Doubts => Entry { torrent: self.doubts.replace(place), ..Entry::default() },
            RecordKind::Removed => {
                // It counts only as long as what it speaks of is there: a log that is written anew
                // has neither.
                self.live -= place.size() as u64;
                self.entries.remove(&info_hash).unwrap_or_default()
            }
            kind => {
                let entry = self.entries.entry(info_hash).or_default();
                let mut old = Entry::default();
                match kind {
                    RecordKind::Torrent => {
                        // It brings its settings. A state that came before it is of one that was
                        // added earlier and never recorded, perhaps in another folder.
                        if entry.torrent.is_none() {
                            old.state = entry.state.take();
                        }
                        (old.torrent, old.settings) =
                            (entry.torrent.replace(place), entry.settings.take());
                    }
                    RecordKind::Settings => old.settings = entry.settings.replace(place),
                    _ => old.state = entry.state.replace(place),
                }
                old
            }
        };
        self.live -= old.places().map(|place| place.size() as u64).sum::<u64>();
    }
}

/// How far a torrent was when its state was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoredState {
    /// Pieces that had been verified.
    pub have: Bitfield,
    /// Whether more writes may have followed.
    pub dirty: bool,
    /// Bytes downloaded over all runs.
    pub downloaded: u64,
    /// Bytes uploaded over all runs.
    pub uploaded: u64,
}

/// A torrent of a log.
#[derive(Clone, Debug)]
pub struct RestoredTorrent {
    /// What it is, without the bytes it was read from; `None` before that is known, of one that
    /// was added by a magnet link ([`TorrentSettings::magnet`]).
    pub metainfo: Option<Arc<Metainfo>>,
    /// What the user has said of it.
    pub settings: TorrentSettings,
    /// How far it was, if that was ever saved.
    pub state: Option<RestoredState>,
}

/// What a log leaves.
#[derive(Clone, Debug, Default)]
pub struct Restored {
    /// The torrents in the order in which they were added.
    pub torrents: Vec<RestoredTorrent>,
    /// The session's own settings, if they were ever set.
    pub session: Option<SessionSettings>,
    /// The state of the DHT node, as it was recorded last; not looked into.
    pub dht: Option<Vec<u8>>,
    /// Damaged stretches of the log, and records that make no sense. What they said is lost;
    /// everything else is there.
    pub damaged: u32,
    /// Bytes at its end that were being written when the process or the machine ended.
    pub torn: u64,
    /// Where a log is kept that was found instead of this one and has no header that can be read.
    pub set_aside: Option<PathBuf>,
}

/// Reads the records of a log one after the other.
#[derive(Debug, Default)]
pub struct Replay {
    index: Index,
    /// In one array, which grows in place: whatever is allocated beside the torrents and then
    /// freed leaves holes between them.
    torrents: Vec<Loading>,
    by_hash: HashMap<WireHash, usize>,
    session: Option<SessionSettings>,
    dht: Option<Vec<u8>>,
    doubts: DoubtfulFiles,
    damaged: u32,
}

/// A torrent of which not all is read.
#[derive(Debug, Default)]
struct Loading {
    /// Where the record is that added it, and its metainfo if that is known.
    torrent: Option<(u64, Option<Arc<Metainfo>>)>,
    settings: Option<TorrentSettings>,
    state: Option<RestoredState>,
    /// A state that came before the metainfo.
    early: Option<Vec<u8>>,
}

impl Replay {
    /// The next record.
    pub fn note(&mut self, record: &Record<'_>) {
        self.index.note(record.at, record.size(), record.kind, record.info_hash);
        let Some(kind) = record.kind else { return };
        let understood = match kind {
            RecordKind::Session => match SessionSettings::decode(record.body) {
                Ok(settings) => {
                    self.session = Some(settings);
                    true
                }
                Err(_) => false,
            },
            RecordKind::Dht => {
                self.dht = Some(record.body.to_vec());
                true
            }
            RecordKind::Doubts => {
                let files = DoubtfulFiles::decode(record.body);
                let understood = files.is_ok();
                self.doubts = files.unwrap_or_default();
                understood
            }
            RecordKind::Removed => {
                if let Some(gone) =
                    self.by_hash.remove(&record.info_hash).and_then(|at| self.torrents.get_mut(at))
                {
                    *gone = Loading::default();
                }
                true
            }
            kind => {
                let next = self.torrents.len();
                let at = *self.by_hash.entry(record.info_hash).or_insert(next);
                if at == next {
                    self.torrents.push(Loading::default());
                }
                self.torrents.get_mut(at).is_some_and(|torrent| torrent.note(kind, record))
            }
        };
        self.damaged += u32::from(!understood);
    }

    /// The files of which a sync failed, as far as their torrents do not know of it.
    pub fn take_doubts(&mut self) -> DoubtfulFiles {
        std::mem::take(&mut self.doubts)
    }

    /// All were read.
    pub fn finish(self) -> (Index, Restored) {
        let mut torrents = self.torrents;
        torrents.sort_by_key(|loading| loading.torrent.as_ref().map(|(at, _)| *at));
        let torrents = torrents.into_iter().filter_map(Loading::finish).collect();
        let mut index = self.index;
        index.forget_strays();
        (
            index,
            Restored {
                torrents,
                session: self.session,
                dht: self.dht,
                damaged: self.damaged,
                torn: 0,
                set_aside: None,
            },
        )
    }
}

impl Loading {
    /// Whether the record makes sense.
    fn note(&mut self, kind: RecordKind, record: &Record<'_>) -> bool {
        match kind {
            RecordKind::Torrent => {
                let Some((settings, metainfo)) = split_torrent(record.body) else { return false };
                let Ok(settings) = TorrentSettings::decode(settings) else { return false };
                if metainfo.is_empty() {
                    // One that was added by a magnet link.
                    let understood = settings.magnet.is_some();
                    // A state that came before the torrent was added is of another.
                    if self.torrent.is_none() {
                        self.early = None;
                    }
                    (self.torrent, self.settings) = (Some((record.at, None)), Some(settings));
                    return understood;
                }
                let Ok(metainfo) = Metainfo::without_raw(metainfo, &LOG_LIMITS) else {
                    return false;
                };
                if metainfo.identity.key() != record.info_hash {
                    return false;
                }
                // One that came before the torrent was added is of another.
                let early = self.early.take().filter(|_| self.torrent.is_some());
                if let Some(early) = early {
                    self.state = state(&early, &metainfo);
                }
                // One whose metainfo has come keeps its place.
                let at = match self.torrent {
                    Some((at, None)) => at,
                    _ => record.at,
                };
                (self.torrent, self.settings) =
                    (Some((at, Some(Arc::new(metainfo)))), Some(settings));
                true
            }
            RecordKind::Settings => {
                let settings = TorrentSettings::decode(record.body);
                let understood = settings.is_ok();
                self.settings = settings.ok().or(self.settings.take());
                understood
            }
            _ => match &self.torrent {
                None | Some((_, None)) => {
                    self.early = Some(record.body.to_vec());
                    true
                }
                Some((_, Some(metainfo))) => {
                    let state = state(record.body, metainfo);
                    let understood = state.is_some();
                    self.state = state.or(self.state.take());
                    understood
                }
            },
        }
    }

    fn finish(self) -> Option<RestoredTorrent> {
        let (_, metainfo) = self.torrent?;
        Some(RestoredTorrent { metainfo, settings: self.settings?, state: self.state })
    }
}

fn state(bytes: &[u8], metainfo: &Metainfo) -> Option<RestoredState> {
    let (pieces, files) = (metainfo.geometry.piece_count(), metainfo.files.len());
    let ResumeFile { have, dirty, downloaded, uploaded, .. } =
        ResumeFile::decode(bytes, pieces, files, &metainfo.identity).ok()?;
    Some(RestoredState { have, dirty, downloaded, uploaded })
}

/// The body of a record that adds a torrent: its settings, and its metainfo as it came.
pub(crate) fn join_torrent(settings: &TorrentSettings, metainfo: &[u8]) -> Vec<u8> {
    let settings = settings.encode();
    let len = u32::try_from(settings.len()).unwrap_or(u32::MAX);
    [&len.to_be_bytes()[..], &settings, metainfo].concat()
}

pub(crate) fn split_torrent(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (len, rest) = body.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*len) as usize)
}
