//! What is sent to peers: slots, requests of peers, and the memory for what is sent.

use std::time::Duration;

use super::validate::{BLOCK, ConfError, at_least_one, check, lasting};

/// Who is served, and within which limits.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UploadConf {
    /// The longest range a peer may request. Default 128 KiB.
    pub max_request: u32,
    /// Requests of one peer waiting for us. More are rejected (BEP 6) or dropped. Default 512.
    pub max_requests: usize,
    /// Pieces that a peer with fewer pieces may ask for while it is choked, at most three times
    /// each (BEP 6 allowed fast). Only as many peers get them at a time as there are
    /// optimistic slots: one in five, and one at least. 0 for none, at most 100. Default 5.
    pub allowed_fast: usize,
    /// Whether pieces at hand (just read from disk for a peer, or just completed) are suggested
    /// to the peers that lack them (BEP 6). It saves reading from a slow disk, but makes peers
    /// fetch the same pieces instead of the rarest. Default off.
    pub suggest: bool,
    /// Bytes of blocks read for one peer at once, and so waiting to be sent to it at most. Default
    /// 256 KiB: larger ones fall out of the caches between the read and the send.
    pub max_unsent: usize,
    /// Bytes of blocks that are being read or wait to be sent, over all peers. Above half of it,
    /// what a peer does not take at once is given up and read again when it does. Default 16
    /// MiB.
    pub max_memory: usize,
    /// Bytes of info dictionaries that are read back from a session folder for peers which ask for
    /// them (BEP 9), over all torrents. A peer that asks for more is turned down. Default 32 MiB.
    pub max_metadata_memory: usize,
    /// Peers that a torrent serves at a time, if more want it; `None`: 64, or fewer under an
    /// upload limit. Default `None`. They are shared out among hosts first (an IPv4 address or
    /// an IPv6 /64): one has no second slot while a peer of another waits, unless it pays
    /// for it by giving; and none stays empty.
    pub slots: Option<usize>,
    /// Which peers a torrent that has everything serves. Default [`SeedChoking::RoundRobin`].
    pub seed_choking: SeedChoking,
    /// How often it is thought over who is served while others wait, and the least time that
    /// anybody is (BEP 3). Default 10 s.
    pub choke_interval: Duration,
    /// How long a peer that has not earned it is tried (BEP 3, optimistic unchoking), and how long
    /// one that takes nothing keeps its slot while others wait. Default 30 s.
    pub optimistic_interval: Duration,
    /// The least time of a turn in [`SeedChoking::RoundRobin`]; without its quota a turn lasts
    /// twice as long. Default 60 s.
    pub seed_turn: Duration,
    /// The bytes of such a turn. Default 8 MiB.
    pub seed_quota: u64,
}

impl Default for UploadConf {
    fn default() -> Self {
        Self {
            max_request: 128 * 1024,
            max_requests: 512,
            allowed_fast: 5,
            suggest: false,
            max_unsent: 256 * 1024,
            max_memory: 16 << 20,
            max_metadata_memory: 32 << 20,
            slots: None,
            seed_choking: SeedChoking::RoundRobin,
            choke_interval: Duration::from_secs(10),
            optimistic_interval: Duration::from_secs(30),
            seed_turn: Duration::from_secs(60),
            seed_quota: 8 << 20,
        }
    }
}

impl UploadConf {
    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(self.allowed_fast <= 100, "uploads.allowed_fast", self.allowed_fast, "at most 100")?;
        lasting(self.choke_interval, "uploads.choke_interval")?;
        lasting(self.optimistic_interval, "uploads.optimistic_interval")?;
        at_least_one(self.max_unsent, "uploads.max_unsent")?;
        let largest_batch = self.max_unsent.max(self.max_request as usize).saturating_add(BLOCK);
        check(
            self.max_memory / 2 > largest_batch,
            "uploads.max_memory",
            self.max_memory,
            "more than twice max_unsent and max_request, with a block to spare",
        )
    }
}

/// Which peers a torrent that has everything serves, when more want it than there are slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeedChoking {
    /// One after the other: a peer keeps its slot for a turn of time and bytes, then the peer that
    /// has waited longest gets it. Spreads what is sent evenly, and makes it hard to get everything
    /// without giving anything to others.
    #[default]
    RoundRobin,
    /// The peers that take it fastest, and a few others to see how fast they do. Fills the line.
    FastestUpload,
    /// Those near the start and near the end of their download, by their word or by what we sent
    /// them; peers in between can trade with others.
    AntiLeech,
}
