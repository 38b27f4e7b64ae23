//! The info dictionary of a torrent from peers (BEP 9), and to peers: [`MetadataFetch`] puts it
//! together when only its hash is known, [`MetadataServe`] says which requests are answered.
//!
//! It knows neither connections nor what is in a dictionary. A peer's claim of the size decides
//! nothing for others: there is one assembly for each claimed size.

mod assembly;
mod fetch;
mod serve;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use fetch::{MetadataEvent, MetadataFault, MetadataFetch, MetadataProgress};
pub use serve::MetadataServe;

/// What a peer does about the info dictionary as long as it is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataStatus {
    /// It has not said that it has it, or not yet.
    NotOffered,
    /// It has it, and is asked for it.
    Offered,
    /// It has it, and has rejected what it was asked for or not answered in time: it is asked again
    /// later.
    Resting,
}

/// What fetching an info dictionary may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataLimits {
    /// The largest info dictionary, bytes. A peer that claims a larger one is not asked.
    pub size: u32,
    /// Bytes that all assemblies of a torrent hold together. More than `size`, so that a false one
    /// does not keep the true one from being completed.
    pub memory: usize,
    /// Assemblies at a time. At least 1.
    pub assemblies: usize,
    /// Requests to one peer that are not answered yet. At least 1.
    pub in_flight: usize,
    /// Peers that one block of a small dictionary (16 blocks) is asked of at once, when every
    /// block is asked for. At least 1.
    pub copies: usize,
    /// How long a request may take. Then others are asked, and the peer rests.
    pub time_out: Duration,
    /// How long a peer rests after a reject or a time-out; it doubles each time in a row, up to 16
    /// times as long.
    pub rest: Duration,
}

impl Default for MetadataLimits {
    /// 30 MiB in at most 16 assemblies of 60 MiB together; 8 requests a peer, 3 peers a block; 5 s
    /// for an answer, 4 s of rest.
    fn default() -> Self {
        Self {
            size: 30 << 20,
            memory: 60 << 20,
            assemblies: 16,
            in_flight: 8,
            copies: 3,
            time_out: Duration::from_secs(5),
            rest: Duration::from_secs(4),
        }
    }
}
