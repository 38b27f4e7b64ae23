//! Workers, files and saving.

use std::time::Duration;

use super::validate::{ConfError, at_least_one, check, lasting};
use crate::base::storage::Allocation;

/// How data gets to the disk and is checked there.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StorageConf {
    /// Worker threads for disk and hashing; 0 for one a core, at most four. Default 0.
    pub workers: usize,
    /// How long a worker may wait for more pieces to hash at once, where that pays; it does not
    /// wait for what cannot come. Default 3 ms.
    pub lane_wait: Duration,
    /// Files held open. Default 40.
    pub max_open_files: usize,
    /// How files get their space. Default sparse.
    pub allocation: Allocation,
    /// Pieces of a torrent checked at a time, at most; of large pieces, fewer: 64 MiB, but 16 of
    /// them. Default 64.
    pub max_checks: usize,
    /// How often a changing torrent's state is saved. Default 10 s.
    pub save_interval: Duration,
    /// Pause before a failed disk is tried again; it doubles up to a minute. Default 2 s.
    pub retry_pause: Duration,
}

impl Default for StorageConf {
    fn default() -> Self {
        Self {
            workers: 0,
            lane_wait: Duration::from_millis(3),
            max_open_files: 40,
            allocation: Allocation::Sparse,
            max_checks: 64,
            save_interval: Duration::from_secs(10),
            retry_pause: Duration::from_secs(2),
        }
    }
}

/// Bytes of pieces checked at a time, if it is more than [`FEW`] of them: those that are begun are
/// waited for when a torrent pauses.
const CHECKED_LEN: u32 = 64 << 20;
/// Pieces that may be checked at a time however large they are.
const FEW: usize = 16;

impl StorageConf {
    /// How many pieces of `piece_len` bytes may be checked at a time.
    pub(crate) fn checks_of(&self, piece_len: u32) -> usize {
        let fit = (CHECKED_LEN / piece_len.max(1)) as usize;
        self.max_checks.min(fit.max(FEW))
    }

    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(self.workers <= 256, "storage.workers", self.workers, "at most 256")?;
        at_least_one(self.max_open_files, "storage.max_open_files")?;
        at_least_one(self.max_checks, "storage.max_checks")?;
        lasting(self.save_interval, "storage.save_interval")?;
        lasting(self.retry_pause, "storage.retry_pause")
    }
}
