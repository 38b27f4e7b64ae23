//! What is asked of peers, and the memory for what arrives.

use std::time::Duration;

use super::validate::{ConfError, check};
use crate::base::geometry::BLOCK_LEN;

/// How blocks are requested of peers, and the memory for pieces in progress.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RequestConf {
    /// Blocks asked of one peer at a time, at most. Default 500.
    pub max_pipeline: usize,
    /// Blocks asked of a peer before anything is known of it. Less is better where a block takes
    /// seconds. Default 8.
    pub initial_pipeline: usize,
    /// How much data to keep on order beyond the round trip. Many clients serve in pulses of up to
    /// a second. Default 2 s.
    pub queue_time: Duration,
    /// Bytes to keep on order beyond twice the round trip, at most: what waits longer only falls
    /// out of the caches. Default 2.25 MiB.
    pub queue_len: usize,
    /// Shortest time without an asked-for block after which a peer counts as snubbing. Default 3
    /// s.
    pub timeout_min: Duration,
    /// Longest such time. Default 60 s.
    pub timeout_max: Duration,
    /// How long a snubbing peer is kept before it makes room for others. Default 90 s.
    pub snub_patience: Duration,
    /// Peers that a block may be asked of at once near the end. Default 3.
    pub endgame_copies: u8,
    /// Bytes of piece data in memory: arriving, waiting for a worker, being written, or in buffers
    /// that lie idle, which they do for ten seconds at most. Of four runs or more, torrents that
    /// have some leave one to torrents that have none. Default 32 MiB.
    pub max_piece_memory: usize,
    /// Pieces above this are hashed and written in runs of this size; a multiple of 16 KiB.
    /// Default 1 MiB.
    pub run_len: u32,
    /// Pieces that failed and wait for a peer to blame, a torrent. Default 64.
    pub max_blames: usize,
}

impl Default for RequestConf {
    fn default() -> Self {
        Self {
            max_pipeline: 500,
            initial_pipeline: 8,
            queue_time: Duration::from_secs(2),
            queue_len: 2304 * 1024,
            timeout_min: Duration::from_secs(3),
            timeout_max: Duration::from_secs(60),
            snub_patience: Duration::from_secs(90),
            endgame_copies: 3,
            max_piece_memory: 32 << 20,
            run_len: 1 << 20,
            max_blames: 64,
        }
    }
}

impl RequestConf {
    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(
            self.max_pipeline > 0 && self.initial_pipeline > 0,
            "requests.max_pipeline",
            self.max_pipeline,
            "at least 1, as initial_pipeline",
        )?;
        check(
            self.run_len >= BLOCK_LEN && self.run_len.is_multiple_of(BLOCK_LEN),
            "requests.run_len",
            self.run_len,
            "a multiple of 16384",
        )?;
        check(
            self.max_piece_memory / 2 >= self.run_len as usize,
            "requests.max_piece_memory",
            self.max_piece_memory,
            "at least two runs",
        )?;
        check(self.endgame_copies > 0, "requests.endgame_copies", self.endgame_copies, "at least 1")
    }
}
