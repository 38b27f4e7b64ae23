//! The limits and choices of the DHT node.

use std::time::Duration;

use super::validate::{ConfError, check, lasting};

/// How a DHT node behaves and what it may use.
///
/// ```
/// use cratetorrent::conf::DhtConf;
///
/// let mut conf = DhtConf::default();
/// conf.read_only = true;
/// assert!(conf.validate().is_ok());
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DhtConf {
    /// Whether the engine has a DHT node, which announces its public torrents and looks for their
    /// peers. Default off.
    pub enabled: bool,
    /// What [`Engine::dht_state`](crate::Engine::dht_state) gave in an earlier run: the node
    /// begins with the nodes that it knew. At most 64 KiB; what is no state is passed over.
    /// Not needed with a session folder, which keeps it. Default: none.
    pub state: Vec<u8>,
    /// Where to begin when no node is known. Default: nowhere.
    pub bootstrap: Vec<Bootstrap>,
    /// Whether queries of others stay unanswered, and they are told so (BEP 43): behind a router
    /// that lets nothing in, or where traffic costs. No node chooses that by itself, which the
    /// guide gives reasons for. Default off.
    pub read_only: bool,
    /// What packets call us: two letters and a version (BEP 5). Default `CT` and 0.2.
    pub version: [u8; 4],

    /// How often the node that was asked longest ago is asked again. Default 5.5 s: the pace of
    /// the field (libtorrent 5 s, pymdht 6 s).
    pub ping_interval: Duration,
    /// Queries in a row that a node of the table may leave unanswered; two if
    /// another waits for its place. Default 5.
    pub max_failures: u8,
    /// Queries in a row that all nodes leave unanswered after which we take ourselves to be
    /// offline: then no node is expelled. Default 10.
    pub offline_after: u32,
    /// Nodes below which the table is low, so that the bootstrap nodes are asked again. Default 8.
    pub low_table: usize,
    /// The pause before they are asked again, if that did not help; it doubles. Default 1 s.
    pub bootstrap_retry_min: Duration,
    /// The longest such pause within the first ten minutes; twelve times as long afterwards. While
    /// only one family lacks nodes it is twelve times as long from the first, and grows to an
    /// hour. Default 5 s.
    pub bootstrap_retry_max: Duration,
    /// How often the driver looks whether this machine sends from another address, so that the
    /// node, trackers and peers are asked again when the network is another; also without a node.
    /// Default 5 s.
    pub look_interval: Duration,
    /// New nodes that wait to be asked whether they are there. Default 64.
    pub max_probes: usize,
    /// The pause between two such questions. Default 200 ms.
    pub probe_interval: Duration,

    /// Queries under way at a time of a look-up that has found no peer. Default 16 (Jimenez and
    /// others, 2011).
    pub lookup_width: usize,
    /// The same once it has found peers, and of look-ups that are not urgent. Default 4.
    pub lookup_width_found: usize,
    /// The age of a query at which another may be sent beside it, and it is sent once more, if
    /// nothing is known of round trips; the longest such age if something is. Default 1 s.
    pub slow_after: Duration,
    /// The shortest such age, however near a node is: it is twice the node's last round trip, or
    /// what most round trips take. Default 250 ms.
    pub slow_after_min: Duration,
    /// The age of a query at which its answer counts no more. Default 6 s.
    pub query_timeout: Duration,
    /// The longest time of one look-up. Default 30 s.
    pub lookup_timeout: Duration,
    /// Look-ups under way at a time. Default 64, half of them at most not urgent.
    pub max_lookups: usize,
    /// Look-ups that wait for others to end; more are refused. Default 20,000.
    pub max_waiting: usize,
    /// Nodes that one look-up remembers. Default 128.
    pub max_candidates: usize,
    /// Queries of one look-up. Default 256.
    pub max_queries: usize,
    /// Peers taken by one look-up. Default 1000.
    pub max_peers: usize,
    /// Queries under way at a time, over everything. Default 2048.
    pub max_pending: usize,

    /// How often a torrent is announced. Default 15 min: a third of the time that nodes remember
    /// it.
    pub announce_interval: Duration,
    /// The least time between two announces that are not the first of their torrent: thousands
    /// of torrents are spread out, and announced less often if there are too many. Default 100 ms.
    pub announce_spacing: Duration,
    /// Torrents to announce. Default 20,000.
    pub max_tracked: usize,

    /// Torrents stored for others. Default 2000.
    pub max_torrents: usize,
    /// Peers stored for one torrent; then no tokens are given for it. Default 500.
    pub max_torrent_peers: usize,
    /// Peers stored in all. Default 10,000, at most 1 MiB.
    pub max_stored_peers: usize,
    /// How long a peer is stored. Default 45 min.
    pub peer_lifetime: Duration,
    /// Values stored for others (BEP 44), at most 1 KiB each. Default 500.
    pub max_items: usize,
    /// How long a value is stored. Default 2 h, the least that BEP 44 asks for.
    pub item_lifetime: Duration,
    /// Info-hashes told at once (BEP 51), at most 20. Default 20.
    pub max_samples: usize,
    /// How long such a sample stays the same, at most 6 h. Default 6 h.
    pub sample_interval: Duration,

    /// Packets of one host within [`flood_window`](Self::flood_window) after which it is ignored;
    /// answers to our own queries do not count. Default 50.
    pub flood_packets: u32,
    /// See [`flood_packets`](Self::flood_packets). Default 10 s.
    pub flood_window: Duration,
    /// How long ago a host must have flooded for the last time to be heard again. Default 5 min.
    pub flood_block: Duration,
    /// Hosts that are watched for floods. Default 64.
    pub flood_hosts: usize,
    /// Bytes a second of answers to others. Our own queries do not count. Default 8 KiB/s.
    pub answer_rate: u64,
    /// Bytes of answers that may be sent at once. Default 24 KiB.
    pub answer_burst: u64,

    /// Nodes of each family that are saved. Default 200.
    pub max_saved_nodes: usize,
    /// Events waiting to be fetched; then steps of look-ups are dropped first. Default 4096.
    pub max_events: usize,
}

/// A name and port to begin at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// A name, or an address as text.
    pub host: String,
    /// The UDP port.
    pub port: u16,
    /// It serves thousands: it is asked for nodes when the table is low, and for nothing else.
    pub router: bool,
}

impl Default for DhtConf {
    fn default() -> Self {
        Self {
            enabled: false,
            state: Vec::new(),
            bootstrap: Vec::new(),
            read_only: false,
            version: *b"CT\x00\x02",
            ping_interval: Duration::from_millis(5500),
            max_failures: 5,
            offline_after: 10,
            low_table: 8,
            bootstrap_retry_min: Duration::from_secs(1),
            bootstrap_retry_max: Duration::from_secs(5),
            look_interval: Duration::from_secs(5),
            max_probes: 64,
            probe_interval: Duration::from_millis(200),
            lookup_width: 16,
            lookup_width_found: 4,
            slow_after: Duration::from_secs(1),
            slow_after_min: Duration::from_millis(250),
            query_timeout: Duration::from_secs(6),
            lookup_timeout: Duration::from_secs(30),
            max_lookups: 64,
            max_waiting: 20_000,
            max_candidates: 128,
            max_queries: 256,
            max_peers: 1000,
            max_pending: 2048,
            announce_interval: Duration::from_secs(15 * 60),
            announce_spacing: Duration::from_millis(100),
            max_tracked: 20_000,
            max_torrents: 2000,
            max_torrent_peers: 500,
            max_stored_peers: 10_000,
            peer_lifetime: Duration::from_secs(45 * 60),
            max_items: 500,
            item_lifetime: Duration::from_secs(2 * 3600),
            max_samples: 20,
            sample_interval: Duration::from_secs(6 * 3600),
            flood_packets: 50,
            flood_window: Duration::from_secs(10),
            flood_block: Duration::from_secs(300),
            flood_hosts: 64,
            answer_rate: 8 * 1024,
            answer_burst: 24 * 1024,
            max_saved_nodes: 200,
            max_events: 4096,
        }
    }
}

impl DhtConf {
    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        let least = |n: usize, least: usize, field, needs| check(n >= least, field, n, needs);
        check(
            self.state.len() <= 64 << 10,
            "dht.state",
            format_args!("{} bytes", self.state.len()),
            "at most 65536 bytes",
        )?;
        for bootstrap in &self.bootstrap {
            check(
                bootstrap.port != 0 && (1..=255).contains(&bootstrap.host.len()),
                "dht.bootstrap",
                format_args!("{:?}:{}", bootstrap.host, bootstrap.port),
                "a host of 1 to 255 bytes and a port",
            )?;
        }
        lasting(self.ping_interval, "dht.ping_interval")?;
        lasting(self.bootstrap_retry_min, "dht.bootstrap_retry_min")?;
        lasting(self.look_interval, "dht.look_interval")?;
        lasting(self.probe_interval, "dht.probe_interval")?;
        lasting(self.slow_after, "dht.slow_after")?;
        lasting(self.lookup_timeout, "dht.lookup_timeout")?;
        lasting(self.announce_spacing, "dht.announce_spacing")?;
        lasting(self.sample_interval, "dht.sample_interval")?;
        check(
            self.bootstrap_retry_max >= self.bootstrap_retry_min,
            "dht.bootstrap_retry_max",
            format_args!("{:?}", self.bootstrap_retry_max),
            "at least dht.bootstrap_retry_min",
        )?;
        lasting(self.slow_after_min, "dht.slow_after_min")?;
        check(
            self.slow_after_min <= self.slow_after,
            "dht.slow_after_min",
            format_args!("{:?}", self.slow_after_min),
            "at most dht.slow_after",
        )?;
        check(
            self.query_timeout > self.slow_after,
            "dht.query_timeout",
            format_args!("{:?}", self.query_timeout),
            "more than dht.slow_after",
        )?;
        check(
            self.announce_interval >= Duration::from_secs(60),
            "dht.announce_interval",
            format_args!("{:?}", self.announce_interval),
            "at least 1 min",
        )?;
        check(
            self.sample_interval <= Duration::from_secs(21_600),
            "dht.sample_interval",
            format_args!("{:?}", self.sample_interval),
            "at most 6 h",
        )?;
        least(self.lookup_width, 1, "dht.lookup_width", "at least 1")?;
        least(self.lookup_width_found, 1, "dht.lookup_width_found", "at least 1")?;
        least(self.max_lookups, 2, "dht.max_lookups", "at least 2")?;
        least(self.max_candidates, 16, "dht.max_candidates", "at least 16")?;
        least(self.max_queries, 16, "dht.max_queries", "at least 16")?;
        least(self.max_pending, 16, "dht.max_pending", "at least 16")?;
        least(self.max_failures.into(), 1, "dht.max_failures", "at least 1")?;
        least(self.offline_after as usize, 2, "dht.offline_after", "at least 2")?;
        least(self.flood_hosts, 1, "dht.flood_hosts", "at least 1")?;
        least(self.max_events, 16, "dht.max_events", "at least 16")?;
        check(
            self.max_samples <= 20,
            "dht.max_samples",
            self.max_samples,
            "at most 20, so that a response fits its packet",
        )?;
        check(
            (1..=1 << 40).contains(&self.answer_rate),
            "dht.answer_rate",
            self.answer_rate,
            "1 to 2^40",
        )?;
        check(
            (1..=1 << 40).contains(&self.answer_burst),
            "dht.answer_burst",
            self.answer_burst,
            "1 to 2^40",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dht_conf_defaults_are_valid_and_nonsense_is_named() {
        assert_eq!(DhtConf::default().validate(), Ok(()));
        let refused = |change: fn(&mut DhtConf)| {
            let mut conf = DhtConf::default();
            change(&mut conf);
            conf.validate().unwrap_err().field
        };
        assert_eq!(refused(|c| c.lookup_width = 0), "dht.lookup_width");
        assert_eq!(refused(|c| c.max_samples = 21), "dht.max_samples");
        assert_eq!(refused(|c| c.query_timeout = c.slow_after), "dht.query_timeout");
        assert_eq!(refused(|c| c.look_interval = Duration::ZERO), "dht.look_interval");
        assert_eq!(refused(|c| c.slow_after_min = 2 * c.slow_after), "dht.slow_after_min");
        assert_eq!(refused(|c| c.answer_rate = 0), "dht.answer_rate");
        let nowhere = |c: &mut DhtConf| {
            c.bootstrap = vec![Bootstrap { host: "h".into(), port: 0, router: false }];
        };
        assert_eq!(refused(nowhere), "dht.bootstrap");
    }
}
