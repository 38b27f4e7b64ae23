//! Hashes of merkle trees from peers and to peers (BEP 52, messages 21 to 23): [`HashFetch`] asks
//! for ranges of layers and takes none without its proof, `answer` is what a peer gets that asks.
//!
//! It knows neither connections nor what the hashes are for.

mod answer;
mod fetch;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use answer::{answer, answer_leaves, leaves_of};
pub use fetch::{HashFault, HashFetch};

/// Hashes of a piece layer that are asked for at once, as BEP 52 wants it.
pub const CHUNK: u32 = 512;
/// The most hashes of a request that is answered.
pub const MAX_ASKED: u32 = 8192;

/// What fetching hashes may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashLimits {
    /// Requests to one peer that are not answered yet. At least 1.
    pub in_flight: usize,
    /// How long a request may take. Then others are asked, and the peer rests.
    pub time_out: Duration,
    /// How long a peer rests after a reject or a time-out; it doubles each time in a row, up to 16
    /// times as long.
    pub rest: Duration,
}

impl Default for HashLimits {
    /// 4 requests a peer, 10 s for an answer, 5 s of rest.
    fn default() -> Self {
        Self { in_flight: 4, time_out: Duration::from_secs(10), rest: Duration::from_secs(5) }
    }
}
