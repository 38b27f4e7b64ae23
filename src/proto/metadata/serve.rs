//! Which of a peer's requests for the info dictionary are answered (BEP 9 suggests to reject after
//! a number of blocks that depends on their count). One for each connection.

use crate::{
    base::time::Instant,
    wire::ut_metadata::{metadata_block_len, metadata_blocks},
};

/// How often a peer may have the whole dictionary at once; then it gets blocks at [`REFILL`].
const TIMES: u32 = 3;
/// Blocks that a peer may have at once at least.
const MIN_BURST: u32 = 16;
/// Blocks a second beyond that: 160 KiB/s, as libtorrent gives.
const REFILL: u64 = 10;
/// A peer that has so many bytes of ours unread gets no block.
const MAX_UNSENT: usize = 256 * 1024;

/// See the module.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetadataServe {
    /// Blocks given beyond what has come back since, in millionths.
    spent: u64,
    /// When that was right.
    at: Instant,
}

impl MetadataServe {
    /// A peer wants a block of a dictionary of `total` bytes, while `unsent` bytes wait to be sent
    /// to it. True if it gets it, false if it is to be rejected.
    #[must_use]
    pub fn handle_request(&mut self, now: Instant, block: u32, total: u32, unsent: usize) -> bool {
        let back = now.since(self.at).as_micros().saturating_mul(u128::from(REFILL));
        self.spent = self.spent.saturating_sub(u64::try_from(back).unwrap_or(u64::MAX));
        self.at = self.at.max(now);
        let burst = metadata_blocks(total).saturating_mul(TIMES).max(MIN_BURST);
        let gets = metadata_block_len(total, block).is_some()
            && unsent <= MAX_UNSENT
            && self.spent / 1_000_000 < u64::from(burst);
        if gets {
            self.spent += 1_000_000;
        }
        gets
    }
}
