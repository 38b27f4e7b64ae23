//! What a torrent, or a session, has done over all its runs. Plain numbers: a program that
//! keeps them between runs hands them in again.

use std::time::Duration;

/// Bytes and times over all runs.
///
/// The engine counts on from what [`TorrentParams::earlier`](crate::TorrentParams::earlier) says;
/// how far it is, [`TorrentStats::totals`](crate::TorrentStats::totals) tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Bytes of blocks received, wasted ones included.
    pub downloaded: u64,
    /// Bytes of blocks sent.
    pub uploaded: u64,
    /// Time spent speaking with peers, or ready to: not paused, not waiting for its turn, not
    /// being checked.
    pub active: Duration,
    /// Of that, the time with everything there.
    pub seeding: Duration,
}

impl Totals {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            downloaded: self.downloaded.saturating_add(other.downloaded),
            uploaded: self.uploaded.saturating_add(other.uploaded),
            active: self.active.saturating_add(other.active),
            seeding: self.seeding.saturating_add(other.seeding),
        }
    }
}
