//! Announces: how often, how many, and what a tracker may do.

use std::time::Duration;

use super::validate::{ConfError, at_least_one, check};

/// How trackers are asked, and what is taken from their replies.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct TrackerConf {
    /// Trackers a torrent; further ones are left out. Default 100.
    pub max_per_torrent: usize,
    /// Whether all trackers of a tier are told, instead of the first that answers (BEP 12). Not of
    /// private torrents. Default off.
    pub announce_to_all: bool,
    /// Whether trackers of all tiers are told, instead of those of the first in which one answers
    /// (BEP 12). Not of private torrents. Default off.
    pub announce_to_all_tiers: bool,
    /// Questions to trackers at a time, over all torrents. Four times as many when torrents take
    /// their leave. Default 50.
    pub max_announces: usize,
    /// Announces a second, over all torrents, when there are more than
    /// [`max_announces`](Self::max_announces) to be made: ten thousand torrents do not call on
    /// their trackers all at once. Default 100.
    pub announces_per_second: u32,
    /// The shortest interval between two announces to a tracker, whatever it says. Default 60 s.
    pub min_interval: Duration,
    /// The longest interval, whatever it says. Default 2 h.
    pub max_interval: Duration,
    /// Peers asked for in an announce of a torrent that can use some. Default 200.
    pub num_want: u32,
    /// How long a tracker may take to hear that a torrent stops, and all of them when the engine
    /// shuts down. Default 5 s.
    pub stopped_timeout: Duration,
    /// How long a tracker may take to answer, with looking its name up, all its addresses and all
    /// redirects. At least 1 s. Default 30 s, the most that BEP 15's first repetition (after
    /// 15 s) is worth waiting for.
    pub timeout: Duration,
    /// The longest reply of a tracker, bytes, as it comes and after it is unpacked. At least 1
    /// KiB, at most 64 MiB. Default 1 MiB: some 100,000 peers.
    pub max_reply: usize,
    /// Redirects that are followed for one question to a tracker. At most 20. Default 5.
    pub max_redirects: u32,
    /// Peers that are taken from one reply of a tracker. Default 1000, five times what trackers
    /// give.
    pub max_peers: usize,
    /// Whether addresses of trackers are kept from reaching services of this machine and its
    /// network: those on this machine are asked at `/announce…` only, and a redirect from the
    /// internet does not lead to a local address. Default on.
    pub ssrf_mitigation: bool,
    /// Certificates of authorities to believe for HTTPS beside Mozilla's list, in DER, or any
    /// number in PEM. Certificates are always verified. Default: none.
    pub tls_roots: Vec<Vec<u8>>,
    /// What we call ourselves towards HTTP servers. Printable ASCII, at most 128 characters; none
    /// if empty. Default `cratetorrent/` and the version.
    pub user_agent: String,
}

impl Default for TrackerConf {
    fn default() -> Self {
        Self {
            max_per_torrent: 100,
            announce_to_all: false,
            announce_to_all_tiers: false,
            max_announces: 50,
            announces_per_second: 100,
            min_interval: Duration::from_secs(60),
            max_interval: Duration::from_secs(2 * 3600),
            num_want: 200,
            stopped_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            max_reply: 1 << 20,
            max_redirects: 5,
            max_peers: 1000,
            ssrf_mitigation: true,
            tls_roots: Vec::new(),
            user_agent: concat!("cratetorrent/", env!("CARGO_PKG_VERSION")).into(),
        }
    }
}

impl TrackerConf {
    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        check(
            self.max_per_torrent <= 10_000,
            "trackers.max_per_torrent",
            self.max_per_torrent,
            "at most 10000",
        )?;
        at_least_one(self.max_announces, "trackers.max_announces")?;
        check(
            (1..=1_000_000).contains(&self.announces_per_second),
            "trackers.announces_per_second",
            self.announces_per_second,
            "1 to 1000000",
        )?;
        let second = Duration::from_secs(1);
        check(
            self.min_interval >= second,
            "trackers.min_interval",
            format_args!("{:?}", self.min_interval),
            "at least 1 s",
        )?;
        check(
            self.max_interval >= self.min_interval,
            "trackers.max_interval",
            format_args!("{:?}", self.max_interval),
            "at least min_interval",
        )?;
        check(
            self.timeout >= second,
            "trackers.timeout",
            format_args!("{:?}", self.timeout),
            "at least 1 s",
        )?;
        check(
            (1 << 10..=64 << 20).contains(&self.max_reply),
            "trackers.max_reply",
            self.max_reply,
            "1024 to 67108864",
        )?;
        check(
            self.max_redirects <= 20,
            "trackers.max_redirects",
            self.max_redirects,
            "at most 20",
        )?;
        check(
            self.user_agent.len() <= 128
                && self.user_agent.bytes().all(|b| b.is_ascii_graphic() || b == b' '),
            "trackers.user_agent",
            format_args!("{:?}", self.user_agent),
            "at most 128 printable ASCII characters",
        )
    }
}
