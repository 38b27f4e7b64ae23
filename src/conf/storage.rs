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
    /// How long a worker may wait for a second and third piece to hash at once; it does not wait
    /// for what cannot come. Default 3 ms.
    pub lane_wait: Duration,
    /// Files held open. Default 40.
    pub max_open_files: usize,
    /// How files get their space. Default sparse.
    pub allocation: Allocation,
    /// Pieces checked at a time. Default 16.
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
            max_checks: 16,
            save_interval: Duration::from_secs(10),
            retry_pause: Duration::from_secs(2),
        }
    }
}

impl StorageConf {
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
