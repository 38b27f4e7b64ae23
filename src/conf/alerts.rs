//! What the program is told, and how much of it may wait.

use std::time::Duration;

use super::validate::{ConfError, check, lasting};
use crate::alert::AlertMask;

/// Which alerts are made, and how many may wait.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AlertConf {
    /// Which alerts are wanted. Default: all but the per-piece and per-peer ones.
    pub mask: AlertMask,
    /// Alerts waiting to be fetched; then the unimportant ones are counted and dropped. Beside
    /// these wait the newest of each kind that is never dropped, a few a torrent, and the
    /// answers to verbs. Default 1000.
    pub max: usize,
    /// How long a download has no peer to download from before that is told
    /// ([`Alert::NoPeers`](crate::Alert::NoPeers)). Default 30 s: by then each peer has been
    /// dialled, and trackers have answered or not.
    pub no_peers_after: Duration,
    /// How often progress is told. Default 500 ms.
    pub progress_interval: Duration,
}

impl Default for AlertConf {
    fn default() -> Self {
        Self {
            mask: AlertMask::default(),
            max: 1000,
            no_peers_after: Duration::from_secs(30),
            progress_interval: Duration::from_millis(500),
        }
    }
}

impl AlertConf {
    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(self.max >= 16, "alerts.max", self.max, "at least 16")?;
        lasting(self.progress_interval, "alerts.progress_interval")
    }
}
