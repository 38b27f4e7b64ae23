//! How torrents and trackers stand, in figures: what alerts carry and getters return. It says
//! nothing of when that is told.

use std::{fmt, time::Duration};

use super::{NoPeers, TrackerError};
use crate::base::totals::Totals;

/// How a torrent stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TorrentStats {
    /// What it is doing.
    pub phase: Phase,
    /// Pieces in all.
    pub pieces: u32,
    /// Verified pieces.
    pub have: u32,
    /// Bytes in all.
    pub total_bytes: u64,
    /// Bytes of verified pieces.
    pub have_bytes: u64,
    /// Bytes of pieces that are wanted: all but those of which every file is skipped.
    pub wanted_bytes: u64,
    /// Bytes of wanted pieces that are verified.
    pub wanted_have_bytes: u64,
    /// Bytes received of pieces that are not whole yet.
    pub partial_bytes: u64,
    /// Bytes of blocks received in this run, wasted ones included.
    pub downloaded: u64,
    /// Bytes of blocks sent in this run.
    pub uploaded: u64,
    /// Bytes received that were of no use: duplicate, late, unasked for, or in bad pieces.
    pub wasted: u64,
    /// Blocks that came although we had them.
    pub duplicate_blocks: u64,
    /// Blocks that came after we had given up on them and were still of use.
    pub late_blocks: u64,
    /// Blocks that were never asked for.
    pub unasked_blocks: u64,
    /// Pieces that failed their hash.
    pub failed_pieces: u64,
    /// Bytes per second of blocks arriving, over the last ten seconds.
    pub download_rate: u64,
    /// Bytes per second of blocks leaving, over the last ten seconds.
    pub upload_rate: u64,
    /// Connected, greeted peers.
    pub peers: usize,
    /// Web seeds that are sending (BEP 19). They do not count as peers.
    pub web_seeds: usize,
    /// Connected peers that have everything.
    pub seeds: usize,
    /// Peers known and not connected.
    pub candidates: usize,
    /// Peers banned.
    pub banned: usize,
    /// Bytes and times over all runs. The times go on while it is active, so they are older the
    /// longer ago this was asked for.
    pub totals: Totals,
    /// Whether the queue decides when it runs.
    pub queued: bool,
    /// Its position among the queued downloads, from 0; `None` for others and for what is whole.
    pub queue_position: Option<usize>,
    /// When everything that is wanted will be there at this rate; `None` if nothing comes, or
    /// nothing is missing.
    pub eta: Option<Duration>,
    /// That there is no peer to download from, once it has lasted for
    /// [`AlertConf::no_peers_after`](crate::conf::AlertConf::no_peers_after) and as long as it
    /// does.
    pub no_peers: Option<NoPeers>,
}

impl TorrentStats {
    /// Bytes sent over all runs, as a multiple of the torrent's size.
    pub fn ratio(&self) -> f64 {
        self.totals.uploaded as f64 / self.total_bytes.max(1) as f64
    }
}

/// When a torrent that has everything has served enough, and is paused. Whichever comes first;
/// `None` never comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopAt {
    /// Bytes sent in percent of the torrent's size, over all runs.
    pub ratio_percent: Option<u32>,
    /// Time served with everything there, over all runs.
    pub seeding: Option<Duration>,
}

/// Which part of a [`StopAt`] was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StopReason {
    /// It has sent enough.
    Ratio,
    /// It was there for long enough.
    SeedingTime,
}

/// How one of a torrent's trackers stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerStats {
    /// Its address, with everything in it; that may be a secret between the user and the tracker.
    pub url: String,
    /// Its tier (BEP 12), from 0.
    pub tier: usize,
    /// What it is doing.
    pub status: TrackerStatus,
    /// When it may be told again, if it was told already and nothing else comes first.
    pub next_announce: Option<Duration>,
    /// Failures in a row.
    pub failures: u32,
    /// Why it failed, as long as it has not answered since.
    pub error: Option<TrackerError>,
    /// What it had to say with its last answer: foreign words.
    pub warning: Option<String>,
    /// Peers that have everything, by its word.
    pub seeds: Option<u32>,
    /// Peers that do not, by its word.
    pub leeches: Option<u32>,
    /// How often the torrent was downloaded, by its word.
    pub downloaded: Option<u32>,
}

/// What a tracker is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum TrackerStatus {
    /// It was not asked yet: others come first, or the torrent rests.
    #[default]
    Idle,
    /// It is being told.
    Announcing,
    /// It has answered.
    Working,
    /// It has not answered, and will be tried again.
    Failing,
    /// It is not asked: its address is none that we can use, or it does not want to be.
    Disabled,
}

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Phase {
    /// Waiting for the storage.
    #[default]
    Opening,
    /// Hashing what is on disk.
    Checking,
    /// Fetching pieces.
    Downloading,
    /// Has everything that is wanted and serves it.
    Seeding,
    /// Told to rest.
    Paused,
    /// Waiting until the queue lets it run.
    Queued,
    /// The disk does not work; tried again from time to time.
    Stalled,
    /// Being removed.
    Closing,
    /// Its data is gone: it had verified pieces, and none of its files is where they were
    /// ([`Alert::DataGone`](crate::Alert::DataGone)). It goes on when they are back.
    Missing,
    /// Waiting for the metainfo of a torrent that was added by a magnet link.
    Metadata,
}

impl fmt::Display for Phase {
    /// A word or two, in lower case: `downloading`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Opening => "opening",
            Self::Checking => "checking",
            Self::Downloading => "downloading",
            Self::Seeding => "seeding",
            Self::Paused => "paused",
            Self::Queued => "queued",
            Self::Stalled => "stalled",
            Self::Closing => "closing",
            Self::Missing => "data gone",
            Self::Metadata => "waiting for metadata",
        })
    }
}

impl fmt::Display for StopReason {
    /// A word, in lower case: `ratio`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ratio => "ratio",
            Self::SeedingTime => "time",
        })
    }
}

impl fmt::Display for TrackerStatus {
    /// A word, in lower case: `working`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Announcing => "announcing",
            Self::Working => "working",
            Self::Failing => "failing",
            Self::Disabled => "disabled",
        })
    }
}
