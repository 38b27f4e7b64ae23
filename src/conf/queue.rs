//! Which torrents run: active limits, checks at a time, and when a torrent has served enough.

use std::time::Duration;

use super::validate::{ConfError, at_least_one, lasting};
use crate::alert::StopAt;

/// How many torrents run at a time.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueConf {
    /// Downloads at a time, of those torrents that the queue looks after
    /// ([`TorrentParams::queued`](crate::TorrentParams::queued)); others are neither counted
    /// nor held. The first by position run. Default 3: more only share the same line and take
    /// longer each.
    pub max_active_downloads: usize,
    /// Seeds at a time, of the same torrents. Default 5.
    pub max_active_seeds: usize,
    /// Both together, those included that do not count since they are slow. Downloads come first.
    /// Default 500.
    pub max_active: usize,
    /// Torrents being opened or checked at a time, whether the queue looks after them or not.
    /// Default 3, so that one that waits for a slow disk does not hold up all others.
    pub max_active_checks: usize,
    /// A torrent that moves fewer bytes per second than this for a minute does not count, and the
    /// next runs beside it. 0: all count. Default 2048.
    pub slow_rate: u64,
    /// How long a seed of the queue runs before it makes room for one that waits. Default 30 min.
    pub seed_turn: Duration,
    /// When torrents that do not say otherwise
    /// ([`TorrentParams::stop`](crate::TorrentParams::stop)) have served enough and are paused.
    /// Default never.
    pub stop: StopAt,
}

impl Default for QueueConf {
    fn default() -> Self {
        Self {
            max_active_downloads: 3,
            max_active_seeds: 5,
            max_active: 500,
            max_active_checks: 3,
            slow_rate: 2048,
            seed_turn: Duration::from_secs(1800),
            stop: StopAt::default(),
        }
    }
}

impl QueueConf {
    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        at_least_one(self.max_active_checks, "queue.max_active_checks")?;
        lasting(self.seed_turn, "queue.seed_turn")
    }
}
