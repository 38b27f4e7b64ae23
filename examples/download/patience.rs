//! When a download gives up: for how long no peer was connected, and why. It knows nothing of what
//! is downloaded.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    time::{Duration, Instant},
};

use cratetorrent::{Phase, TorrentStats};

use crate::{
    Problem,
    common::{progress::Progress, trackers::Trackers},
};

/// See the module.
pub struct Patience {
    /// When a peer was last connected, or had no reason to be.
    last_peer: Instant,
    /// What each of the peers that the user has named was last gone for.
    reasons: BTreeMap<SocketAddr, String>,
    pub trackers: Trackers,
}

impl Patience {
    /// It begins now.
    pub fn new() -> Self {
        Self { last_peer: Instant::now(), reasons: BTreeMap::new(), trackers: Trackers::default() }
    }

    /// A peer is connected, or none has a reason to be.
    pub fn renew(&mut self) {
        self.last_peer = Instant::now();
    }

    /// How the torrent stands.
    pub fn handle_stats(&mut self, stats: &TorrentStats) {
        let wants_peers = matches!(stats.phase, Phase::Metadata | Phase::Downloading);
        if stats.peers + stats.web_seeds > 0 || !wants_peers {
            self.renew();
        }
    }

    /// A peer that the user has named is gone: only news are told.
    pub fn handle_gone(&mut self, addr: SocketAddr, reason: String, progress: &Progress) {
        if self.reasons.get(&addr) != Some(&reason) {
            progress.say(&format!("peer {addr}: {reason}"));
            self.reasons.insert(addr, reason);
        }
    }

    /// Whether no peer was connected for so long.
    pub fn is_over(&self, timeout: Duration) -> bool {
        self.last_peer.elapsed() >= timeout
    }

    /// What the user is told then. `nodes` of the DHT are known, if it was asked.
    pub fn problem(&self, timeout: Duration, nodes: Option<usize>) -> Problem {
        let mut why: Vec<String> =
            self.reasons.iter().map(|(addr, reason)| format!("{addr}: {reason}")).collect();
        why.extend(self.trackers.failures());
        why.extend((nodes == Some(0)).then(|| "no node of the DHT answers".to_owned()));
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
        let kept = "what was downloaded is kept, and the same command goes on from there";
        Problem::new(format!("no peer was connected for {} s{why}; {kept}", timeout.as_secs()))
    }
}
