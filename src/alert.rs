//! What the engine tells its user: few, bounded, coalesced, and honest about what was left out.

use std::{collections::VecDeque, net::SocketAddr, ops::BitOr, path::PathBuf, time::Duration};

use crate::base::{
    geometry::PieceIndex,
    ids::{PeerId, TorrentId},
    job::StoreError,
    totals::Totals,
};

/// Something that happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Alert {
    /// The storage is open and what is there is known; checking comes next if it must.
    Opened {
        /// The torrent.
        torrent: TorrentId,
        /// Pieces that the saved state vouches for.
        have: u32,
        /// Pieces that must be hashed first.
        to_check: u32,
        /// Why a saved state was not believed.
        distrust: Option<String>,
    },
    /// Checking goes on. Coalesced: only the newest is kept.
    Checking {
        /// The torrent.
        torrent: TorrentId,
        /// Pieces checked.
        done: u32,
        /// Pieces to check in all.
        total: u32,
    },
    /// Checking is over; the torrent connects to its peers.
    Checked {
        /// The torrent.
        torrent: TorrentId,
        /// Verified pieces.
        have: u32,
    },
    /// The download goes on. Coalesced: only the newest is kept.
    Progress {
        /// The torrent.
        torrent: TorrentId,
        /// How it stands.
        stats: TorrentStats,
    },
    /// A piece was verified and written.
    PieceDone {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
    },
    /// A piece did not match its hash and is fetched again.
    PieceFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The piece.
        piece: PieceIndex,
        /// How many peers had sent parts of it.
        contributors: usize,
    },
    /// Every piece that is wanted is verified and written: of all files but those with [`Priority::Skip`](crate::Priority::Skip). It comes
    /// again when more was wanted later and is there too. Never dropped.
    Finished {
        /// The torrent.
        torrent: TorrentId,
        /// How it stands.
        stats: TorrentStats,
    },
    /// The torrent has served as much as it was to, and is paused.
    StopReached {
        /// The torrent.
        torrent: TorrentId,
        /// What it has reached.
        why: StopReason,
    },
    /// The disk failed. The torrent stops requesting, keeps what it has and tries again. Never dropped.
    StorageFailed {
        /// The torrent.
        torrent: TorrentId,
        /// What failed.
        error: StoreError,
        /// When it is tried again; `None` if only the user can help (the storage could not be opened).
        retry_in: Option<Duration>,
    },
    /// A file that was trusted ([`Trust::Files`](crate::Trust::Files)) could not be read or is not whole: everything is checked now.
    /// Never dropped.
    Distrusted {
        /// The torrent.
        torrent: TorrentId,
        /// The read that failed.
        error: StoreError,
    },
    /// The disk works again; the torrent goes on.
    StorageRecovered {
        /// The torrent.
        torrent: TorrentId,
    },
    /// The torrent is in another folder now. What could not be deleted in the old one is told by [`DeleteFailed`](Self::DeleteFailed).
    /// Never dropped.
    StorageMoved {
        /// The torrent.
        torrent: TorrentId,
        /// The new download folder.
        dir: PathBuf,
    },
    /// The torrent could not be moved, and is where it was. Never dropped.
    StorageMoveFailed {
        /// The torrent.
        torrent: TorrentId,
        /// Why.
        error: StoreError,
    },
    /// A file has another path now. Never dropped.
    FileRenamed {
        /// The torrent.
        torrent: TorrentId,
        /// The file's index.
        file: usize,
        /// Its path below the download folder.
        path: PathBuf,
    },
    /// A file could not be renamed, and is where it was. Never dropped.
    FileRenameFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The file's index.
        file: usize,
        /// Why.
        error: StoreError,
    },
    /// The torrent was removed [with its data](crate::Engine::remove_with_data): nothing of it is left. Never dropped.
    DataDeleted {
        /// The torrent.
        torrent: TorrentId,
    },
    /// Files of the torrent that were to be deleted are still there: they are no regular files, lie behind a symbolic link, or the
    /// system refused. Never dropped.
    DeleteFailed {
        /// The torrent.
        torrent: TorrentId,
        /// How many.
        files: usize,
        /// Why the first of them is.
        error: StoreError,
    },
    /// A peer is connected and greeted.
    PeerConnected {
        /// The torrent.
        torrent: TorrentId,
        /// Where it is.
        addr: SocketAddr,
        /// What it calls itself.
        id: PeerId,
    },
    /// A connection ended, or could not be made.
    PeerGone {
        /// The torrent.
        torrent: TorrentId,
        /// Where it was.
        addr: SocketAddr,
        /// Why, in words.
        reason: String,
    },
    /// A peer sent bad data and will not be spoken to again.
    PeerBanned {
        /// The torrent.
        torrent: TorrentId,
        /// Where it is.
        addr: SocketAddr,
    },
    /// A tracker answered an announce.
    TrackerReplied {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker, without what in its address may be secret.
        tracker: String,
        /// How many peers it named.
        peers: usize,
    },
    /// A tracker could not be told, or refused.
    TrackerFailed {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker, without what in its address may be secret.
        tracker: String,
        /// Why. It may quote the tracker.
        error: String,
        /// When it is tried again; `None`: not until the user changes the trackers.
        retry_in: Option<Duration>,
    },
    /// A tracker answered, and has something for the user to read.
    TrackerWarning {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker, without what in its address may be secret.
        tracker: String,
        /// What it says: foreign words, to be escaped before they are shown.
        message: String,
    },
    /// A tracker answered a [scrape](crate::Engine::scrape) (BEP 48).
    Scraped {
        /// The torrent.
        torrent: TorrentId,
        /// The tracker, without what in its address may be secret.
        tracker: String,
        /// Peers that have everything.
        seeds: u32,
        /// Peers that do not.
        leeches: u32,
        /// How often it was downloaded.
        downloaded: u32,
    },
    /// The torrent's state is safe on disk.
    Saved {
        /// The torrent.
        torrent: TorrentId,
    },
    /// What the user said of a torrent, that it is to be here or how, is safe in the session folder.
    Recorded {
        /// The torrent.
        torrent: TorrentId,
    },
    /// The session folder was read, and its torrents are here. Never dropped.
    Restored {
        /// Torrents.
        torrents: usize,
        /// Damaged stretches and records of its log. What they said is lost, all else is here.
        damaged: u32,
        /// Bytes at its end that were being written when the last session ended.
        torn: u64,
    },
    /// The session folder cannot be written: what changes is not safe. It is tried again. Never dropped.
    SessionFailed {
        /// What failed.
        error: StoreError,
        /// When it is tried again; `None` if the engine is shutting down.
        retry_in: Option<Duration>,
    },
    /// The torrent was removed and its files are closed. Terminal: never dropped.
    Removed {
        /// The torrent.
        torrent: TorrentId,
    },
    /// The place of an [`Engine::mark`](crate::Engine::mark) among the alerts: all that was told before it has come. Never dropped.
    Marked {
        /// The number it was given.
        mark: u64,
    },
    /// Alerts were left out because nobody fetched them in time.
    Dropped {
        /// How many.
        count: u64,
    },
}

/// How a torrent stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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
    /// Bytes per second of blocks arriving.
    pub download_rate: u64,
    /// Bytes per second of blocks leaving.
    pub upload_rate: u64,
    /// Connected, greeted peers.
    pub peers: usize,
    /// Connected peers that have everything.
    pub seeds: usize,
    /// Peers known and not connected.
    pub candidates: usize,
    /// Peers banned.
    pub banned: usize,
    /// Bytes and times over all runs. The times go on while it is active, so they are older the longer ago this was asked for.
    pub totals: Totals,
    /// Whether the queue decides when it runs.
    pub queued: bool,
    /// Its position among the queued downloads, from 0; `None` for others and for what is whole.
    pub queue_position: Option<usize>,
    /// When everything that is wanted will be there at this rate; `None` if nothing comes, or nothing is missing.
    pub eta: Option<Duration>,
}

impl TorrentStats {
    /// Bytes sent over all runs, as a multiple of the torrent's size.
    pub fn ratio(&self) -> f64 {
        self.totals.uploaded as f64 / self.total_bytes.max(1) as f64
    }
}

/// When a torrent that has everything has served enough, and is paused. Whichever comes first; `None` never comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StopAt {
    /// Bytes sent in percent of the torrent's size, over all runs.
    pub ratio_percent: Option<u32>,
    /// Time served with everything there, over all runs.
    pub seeding: Option<Duration>,
}

/// Which part of a [`StopAt`] was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// It has sent enough.
    Ratio,
    /// It was there for long enough.
    SeedingTime,
}

/// How one of a torrent's trackers stands.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Why it failed, as long as it has not answered since. It may quote the tracker.
    pub error: Option<String>,
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
}

/// A set of alert kinds.
///
/// ```
/// use cratetorrent::AlertMask;
///
/// let mask = AlertMask::STATUS | AlertMask::PIECES;
/// assert!(mask.contains(AlertMask::PIECES));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlertMask(u32);

impl AlertMask {
    /// None but the ones that are never dropped.
    pub const NONE: Self = Self(0);
    /// Opened, checked, finished, storage, removed, saved.
    pub const STATUS: Self = Self(1);
    /// Checking and download progress.
    pub const PROGRESS: Self = Self(2);
    /// Each piece done or failed.
    pub const PIECES: Self = Self(4);
    /// Peers connected and gone.
    pub const PEERS: Self = Self(8);
    /// Peers banned.
    pub const BANS: Self = Self(16);
    /// What trackers answer, and that they do not.
    pub const TRACKERS: Self = Self(32);
    /// Everything.
    pub const ALL: Self = Self(63);

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl Default for AlertMask {
    fn default() -> Self {
        Self::STATUS | Self::PROGRESS | Self::BANS
    }
}

impl BitOr for AlertMask {
    type Output = Self;
    fn bitor(self, rhs: Self) -> Self {
        Self(self.0 | rhs.0)
    }
}

impl Alert {
    fn kind(&self) -> AlertMask {
        match self {
            Self::Checking { .. } | Self::Progress { .. } => AlertMask::PROGRESS,
            Self::PieceDone { .. } | Self::PieceFailed { .. } => AlertMask::PIECES,
            Self::PeerConnected { .. } | Self::PeerGone { .. } => AlertMask::PEERS,
            Self::PeerBanned { .. } => AlertMask::BANS,
            Self::TrackerReplied { .. } | Self::TrackerFailed { .. } => AlertMask::TRACKERS,
            Self::TrackerWarning { .. } | Self::Scraped { .. } => AlertMask::TRACKERS,
            Self::StopReached { .. } => AlertMask::STATUS,
            Self::Opened { .. } | Self::Checked { .. } | Self::Saved { .. } | Self::StorageRecovered { .. } => AlertMask::STATUS,
            Self::Recorded { .. } => AlertMask::STATUS,
            Self::Restored { .. } | Self::SessionFailed { .. } => AlertMask::NONE,
            Self::Finished { .. } | Self::StorageFailed { .. } | Self::Distrusted { .. } => AlertMask::NONE,
            Self::StorageMoved { .. } | Self::StorageMoveFailed { .. } => AlertMask::NONE,
            Self::FileRenamed { .. } | Self::FileRenameFailed { .. } => AlertMask::NONE,
            Self::DataDeleted { .. } | Self::DeleteFailed { .. } => AlertMask::NONE,
            Self::Removed { .. } | Self::Marked { .. } | Self::Dropped { .. } => AlertMask::NONE,
        }
    }

    /// Whether a newer alert makes this one pointless.
    fn is_replaced_by(&self, newer: &Self) -> bool {
        match (self, newer) {
            (Self::Checking { torrent: a, .. }, Self::Checking { torrent: b, .. })
            | (Self::Progress { torrent: a, .. }, Self::Progress { torrent: b, .. })
            | (Self::StorageFailed { torrent: a, .. }, Self::StorageFailed { torrent: b, .. }) => a == b,
            (Self::SessionFailed { .. }, Self::SessionFailed { .. }) => true,
            _ => false,
        }
    }
}

/// The queue of alerts.
#[derive(Debug)]
pub(crate) struct Alerts {
    queue: VecDeque<Alert>,
    mask: AlertMask,
    limit: usize,
    dropped: u64,
    dropped_ever: u64,
}

impl Alerts {
    pub(crate) fn new(mask: AlertMask, limit: usize) -> Self {
        Self { queue: VecDeque::new(), mask, limit, dropped: 0, dropped_ever: 0 }
    }

    pub(crate) fn wants(&self, kind: AlertMask) -> bool {
        self.mask.contains(kind)
    }

    pub(crate) fn push(&mut self, alert: Alert) {
        let kind = alert.kind();
        if !self.mask.contains(kind) {
            return;
        }
        // The newer one goes to the end, so that what happened in between keeps its place.
        let older = self.queue.iter().rev().take(64).position(|older| older.is_replaced_by(&alert));
        if let Some(from_end) = older {
            self.queue.remove(self.queue.len() - 1 - from_end);
            self.queue.push_back(alert);
        } else if kind == AlertMask::NONE || self.queue.len() < self.limit {
            // The ones that are never dropped come at most a few a torrent, and torrents are the user's own.
            self.queue.push_back(alert);
        } else {
            self.dropped += 1;
            self.dropped_ever += 1;
        }
    }

    pub(crate) fn pop(&mut self) -> Option<Alert> {
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            return Some(Alert::Dropped { count: dropped });
        }
        self.queue.pop_front()
    }

    /// Alerts that wait.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }

    /// How many were left out since the start.
    pub(crate) fn dropped_ever(&self) -> u64 {
        self.dropped_ever
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty() && self.dropped == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::arena::Key;

    fn id(n: u32) -> TorrentId {
        TorrentId(Key { index: n, generation: n })
    }

    #[test]
    fn overflow_is_told_and_terminal_events_survive() {
        let mut alerts = Alerts::new(AlertMask::ALL, 2);
        for n in 0..5 {
            alerts.push(Alert::Saved { torrent: id(n) });
        }
        alerts.push(Alert::Removed { torrent: id(9) });
        assert!(matches!(alerts.pop(), Some(Alert::Dropped { count: 3 })));
        assert!(matches!(alerts.pop(), Some(Alert::Saved { torrent }) if torrent == id(0)));
        assert!(matches!(alerts.pop(), Some(Alert::Saved { torrent }) if torrent == id(1)));
        assert!(matches!(alerts.pop(), Some(Alert::Removed { .. })));
        assert!(alerts.pop().is_none() && alerts.is_empty());
    }

    #[test]
    fn failure_and_recovery_are_told_in_the_order_in_which_they_came() {
        let mut alerts = Alerts::new(AlertMask::ALL, 10);
        let error = || StoreError::new(crate::base::job::StoreOp::Write, "f", std::io::ErrorKind::StorageFull.into());
        let failed = || Alert::StorageFailed { torrent: id(1), error: error(), retry_in: None };
        alerts.push(failed());
        alerts.push(Alert::StorageRecovered { torrent: id(1) });
        alerts.push(failed());
        let told: Vec<Alert> = std::iter::from_fn(|| alerts.pop()).collect();
        assert!(matches!(told[..], [Alert::StorageRecovered { .. }, Alert::StorageFailed { .. }]), "{told:?}");
    }

    #[test]
    fn a_mark_keeps_its_place_whatever_is_left_out_or_replaced() {
        let mut alerts = Alerts::new(AlertMask::PROGRESS, 1);
        alerts.push(Alert::Checking { torrent: id(1), done: 1, total: 3 });
        alerts.push(Alert::Marked { mark: 5 });
        alerts.push(Alert::Checking { torrent: id(2), done: 1, total: 3 });
        alerts.push(Alert::Checking { torrent: id(1), done: 2, total: 3 });
        assert!(matches!(alerts.pop(), Some(Alert::Dropped { count: 1 })));
        assert!(matches!(alerts.pop(), Some(Alert::Marked { mark: 5 })));
        assert!(matches!(alerts.pop(), Some(Alert::Checking { done: 2, .. })));
    }

    #[test]
    fn progress_is_coalesced_and_the_mask_holds() {
        let mut alerts = Alerts::new(AlertMask::PROGRESS, 10);
        for done in 0..3 {
            alerts.push(Alert::Checking { torrent: id(1), done, total: 3 });
        }
        alerts.push(Alert::Saved { torrent: id(1) });
        assert!(matches!(alerts.pop(), Some(Alert::Checking { done: 2, .. })));
        assert!(alerts.pop().is_none());
    }
}
