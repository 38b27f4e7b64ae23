//! Web seeds (BEP 19): how many, how much at a time, and how long they may take.

use std::time::Duration;

use super::validate::{BLOCK, ConfError, at_least_one, check, lasting};

/// How servers that have a torrent's files are asked for them. Where a request may go, what we call
/// ourselves, and which certificates are believed is as [`TrackerConf`](super::TrackerConf) has it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct WebSeedConf {
    /// Whether they are asked at all. Default on.
    pub enabled: bool,
    /// Web seeds a torrent; further ones are left out. Default 50.
    pub max_per_torrent: usize,
    /// Connections with web seeds a torrent. Default 4.
    pub connections_per_torrent: usize,
    /// Connections with one web seed, over which a torrent does not ask for more: servers limit
    /// them, and one in use while the other is asked is enough to keep a line full. Default 2.
    pub connections_per_seed: usize,
    /// Connections with web seeds over all torrents. Default 64.
    pub max_connections: usize,
    /// Bytes of a request at most; at least one piece if that is no longer than this. All of it
    /// counts as memory for pieces
    /// ([`RequestConf::max_piece_memory`](super::RequestConf::max_piece_memory)) while it comes. At
    /// least 16 KiB. Default 4 MiB.
    pub max_request: usize,
    /// Bytes of a file that are read and thrown away on the way to what is wanted of it, where a
    /// server knows no ranges and sends whole files. Default 16 MiB.
    pub max_skip: u64,
    /// How long a server may take to be reached, to answer, and for each part of its answer.
    /// Default 20 s.
    pub timeout: Duration,
    /// How long a connection that nothing is asked for on is kept. Default 15 s, as long as many
    /// servers do.
    pub keep_alive: Duration,
    /// How long a web seed is left alone after it has failed, if it does not say; twice as long
    /// after each further failure in a row. Default 30 s.
    pub retry: Duration,
    /// The longest that it gets, and how long one is left alone whose name is not found. Default 30
    /// min.
    pub max_retry: Duration,
    /// Redirects that are followed for one file. At most 20. Default 5.
    pub max_redirects: u32,
}

impl Default for WebSeedConf {
    fn default() -> Self {
        Self {
            enabled: true,
            max_per_torrent: 50,
            connections_per_torrent: 4,
            connections_per_seed: 2,
            max_connections: 64,
            max_request: 4 << 20,
            max_skip: 16 << 20,
            timeout: Duration::from_secs(20),
            keep_alive: Duration::from_secs(15),
            retry: Duration::from_secs(30),
            max_retry: Duration::from_secs(30 * 60),
            max_redirects: 5,
        }
    }
}

impl WebSeedConf {
    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(
            self.max_per_torrent <= 10_000,
            "web_seeds.max_per_torrent",
            self.max_per_torrent,
            "at most 10000",
        )?;
        at_least_one(self.connections_per_torrent, "web_seeds.connections_per_torrent")?;
        at_least_one(self.connections_per_seed, "web_seeds.connections_per_seed")?;
        at_least_one(self.max_connections, "web_seeds.max_connections")?;
        check(
            (BLOCK..=1 << 30).contains(&self.max_request),
            "web_seeds.max_request",
            self.max_request,
            "16384 to 1073741824",
        )?;
        check(
            self.timeout >= Duration::from_secs(1),
            "web_seeds.timeout",
            format_args!("{:?}", self.timeout),
            "at least 1 s",
        )?;
        lasting(self.keep_alive, "web_seeds.keep_alive")?;
        lasting(self.retry, "web_seeds.retry")?;
        check(
            self.max_retry >= self.retry,
            "web_seeds.max_retry",
            format_args!("{:?}", self.max_retry),
            "at least retry",
        )?;
        check(self.max_redirects <= 20, "web_seeds.max_redirects", self.max_redirects, "at most 20")
    }
}
