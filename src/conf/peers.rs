//! Connections with peers: how many, how long, and what ends them.

use std::time::Duration;

use super::validate::{ConfError, at_least_one, check, lasting};
use crate::base::{bucket::Limits, geometry::BLOCK_LEN};

/// The picker counts the peers that have a piece in 16 bits.
const MAX_PER_TORRENT: usize = u16::MAX as usize;

/// Limits and times of connections with peers.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PeerConf {
    /// Connections in all, both directions, handshaking ones included. Default 500.
    pub max_connections: usize,
    /// Connections with one host, both directions, so that none takes all. A host is an IPv4
    /// address or an IPv6 /64. Default 64: more than one household behind an address needs,
    /// and an eighth of [`max_connections`](Self::max_connections).
    pub max_per_host: usize,
    /// Connections a torrent, at most 65,535. Default 200.
    pub max_per_torrent: usize,
    /// Outgoing connections being made at a time, over all torrents, until the other side answers.
    /// Default 50.
    pub max_dials: usize,
    /// Accepted connections that have not said which torrent they want. Default 100. One host may
    /// have half of them.
    pub max_handshakes: usize,
    /// How long a connection may take to be made and greeted. Default 10 s.
    pub handshake_timeout: Duration,
    /// Silence after which a peer is let go (BEP 3: keep-alives every two minutes). Default 140 s.
    pub idle_timeout: Duration,
    /// Our own silence after which we send a keep-alive. Default 100 s.
    pub keep_alive: Duration,
    /// First pause before a peer is dialled again; it doubles each time. Default 1 s.
    pub reconnect_min: Duration,
    /// Longest pause before a peer is dialled again. Default 5 min.
    pub reconnect_max: Duration,
    /// Dials in a row without a useful answer after which a peer is forgotten, or four times as
    /// many if it was connected once; one that the user has named never is. Dials that fail since
    /// there is no network do not count. Default 8.
    pub max_dial_failures: u32,
    /// Peers known, connected or not, a torrent. Default 3000.
    pub max_candidates: usize,
    /// How long a peer that sent bad data is banned the first time; it doubles each time. Default
    /// 1 h: a peer that goes on with it costs one bad piece an hour, and the next peer at its
    /// address is not shut out for long.
    pub ban_time: Duration,
    /// The longest such ban, and how long after one the next is longer. Default 24 h, after which
    /// an address has often changed hands.
    pub max_ban_time: Duration,
    /// The same for each peer that has no limits of its own. Default: no limits.
    pub limits: Limits,
    /// The longest frame a peer may send, bytes after the length. A bitfield of 2^21 pieces is 256
    /// KiB. Default 512 KiB.
    pub max_frame: u32,
    /// What may be kept, in bytes, of what a peer says of its pieces before the metainfo of a
    /// torrent is known (a magnet link). A peer that says more is let go. Default 128 KiB, the
    /// bitfield of a million pieces; 200 connections of a torrent then keep 25 MiB at most.
    pub max_before_content: usize,
    /// The largest info dictionary that is fetched from peers for a magnet link, bytes. What is
    /// held of true and false ones together is twice as much at most. Default 30 MiB.
    pub max_metadata: u32,
    /// Whether connected peers are told of each other, and what they tell of others is heard (BEP
    /// 11). Peers of a private torrent never are. Default true.
    pub exchange: bool,
    /// The peers that are taken of one message in which a peer names others. Default 100, what BEP
    /// 11 allows in a first message. One peer may have a tenth of
    /// [`max_candidates`](Self::max_candidates) known in all.
    pub max_named: usize,
    /// Messages of hole punching (BEP 55) that count in a minute: of one peer, to one peer for
    /// others, and those that a torrent sends and dials for on its own. Default 10; 0 lets none
    /// count.
    pub max_rendezvous: usize,
    /// How often a torrent whose connections are full (above 90 %) lets the least useful go, 4 %
    /// or one, if it knows others to try. Default 5 min.
    pub turnover_interval: Duration,
    /// How long a peer that wants nothing of us and we of it is kept when connections are scarce.
    /// Default 10 min.
    pub inactivity_timeout: Duration,
}

impl Default for PeerConf {
    fn default() -> Self {
        Self {
            max_connections: 500,
            max_per_host: 64,
            max_per_torrent: 200,
            max_dials: 50,
            max_handshakes: 100,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(140),
            keep_alive: Duration::from_secs(100),
            reconnect_min: Duration::from_secs(1),
            reconnect_max: Duration::from_secs(300),
            max_dial_failures: 8,
            max_candidates: 3000,
            ban_time: Duration::from_secs(3600),
            max_ban_time: Duration::from_secs(24 * 3600),
            limits: Limits::default(),
            max_frame: 512 * 1024,
            max_before_content: 128 * 1024,
            max_metadata: 30 << 20,
            exchange: true,
            max_named: 100,
            max_rendezvous: 10,
            turnover_interval: Duration::from_secs(300),
            inactivity_timeout: Duration::from_secs(600),
        }
    }
}

impl PeerConf {
    /// Checks that these settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        at_least_one(self.max_connections, "peers.max_connections")?;
        check(
            (1..=MAX_PER_TORRENT).contains(&self.max_per_torrent),
            "peers.max_per_torrent",
            self.max_per_torrent,
            "1 to 65535",
        )?;
        at_least_one(self.max_per_host, "peers.max_per_host")?;
        at_least_one(self.max_dials, "peers.max_dials")?;
        check(
            self.max_frame >= BLOCK_LEN + 9,
            "peers.max_frame",
            self.max_frame,
            "room for a block and its header, 16393",
        )?;
        at_least_one(self.max_before_content, "peers.max_before_content")?;
        lasting(self.reconnect_min, "peers.reconnect_min")?;
        lasting(self.keep_alive, "peers.keep_alive")?;
        lasting(self.idle_timeout, "peers.idle_timeout")?;
        lasting(self.handshake_timeout, "peers.handshake_timeout")?;
        lasting(self.turnover_interval, "peers.turnover_interval")?;
        lasting(self.inactivity_timeout, "peers.inactivity_timeout")?;
        lasting(self.ban_time, "peers.ban_time")
    }
}
