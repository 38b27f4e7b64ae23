//! What a user's reads of a torrent's bytes may take.

use std::time::Duration;

use super::validate::{ConfError, at_least_one, check, lasting};

/// How much may be read at a time by [`Verbs::read`](crate::Verbs::read), and how long a read may
/// wait.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ReadConf {
    /// The most bytes of one read, at most 64 MiB. Default 1 MiB.
    pub max_len: usize,
    /// Reads at a time, over all torrents, at least 1: those that wait, those that a worker has,
    /// and those whose answer the engine still has. Each may take twice `max_len` and 32 KiB of
    /// memory while a worker has it, and `max_len` afterwards; with
    /// [`spawn`](crate::spawn()), answers of 1 MiB, or one, come on top between the threads.
    /// Default 64.
    pub max_reads: usize,
    /// How long a read may wait before a worker gets it, for a storage that is being opened or
    /// moved, for the hashes of blocks that a peer is asked for, or for a block that is being
    /// written. Default 15 s: a peer has ten for its answer, and then another is asked.
    pub max_wait: Duration,
    /// Bytes of hashes of blocks (BEP 52) that a torrent keeps of pieces that are not whole, for
    /// the next reads of the same pieces, at least 64 KiB; the last two pieces' are kept in any
    /// case. Default 512 KiB, which is 256 MiB of data.
    pub max_leaves: usize,
}

impl Default for ReadConf {
    fn default() -> Self {
        Self {
            max_len: 1 << 20,
            max_reads: 64,
            max_wait: Duration::from_secs(15),
            max_leaves: 512 * 1024,
        }
    }
}

impl ReadConf {
    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        let is_sound = (1..=64 << 20).contains(&self.max_len);
        check(is_sound, "reads.max_len", self.max_len, "from 1 to 67108864")?;
        at_least_one(self.max_reads, "reads.max_reads")?;
        lasting(self.max_wait, "reads.max_wait")?;
        let least = 64 * 1024;
        check(self.max_leaves >= least, "reads.max_leaves", self.max_leaves, "at least 65536")
    }
}
