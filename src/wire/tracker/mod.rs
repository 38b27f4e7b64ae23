//! What is asked of a tracker and what it answers, whatever carries it: over HTTP in [`http`] (BEP
//! 3), over UDP in [`udp`] (BEP 15).
//!
//! It knows no time, no socket and no tier of trackers; whatever a tracker says is its claim, and
//! bounded.

pub mod http;
mod redact;
#[cfg(test)]
mod tests;
pub mod udp;
pub mod url;

use std::{
    collections::HashSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use thiserror::Error;

use super::bencode::BencodeError;
use crate::base::ids::{InfoHash, PeerId};
pub use url::{Scheme, TrackerUrl, UrlError};

/// The most info-hashes in one scrape: what fits into one datagram (BEP 15, "about 74").
pub const MAX_SCRAPE: usize = 74;
/// The longest text of a tracker (a failure, a warning) that is kept, in characters.
pub const MAX_TEXT: usize = 512;
/// The longest `trackerid` that is kept and sent back, in bytes; a longer one counts as absent.
pub const MAX_TRACKER_ID: usize = 256;

/// What we tell a tracker of one torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// Who we are in its swarm.
    pub peer_id: PeerId,
    /// Where we accept peers; 0 if nowhere.
    pub port: u16,
    /// Bytes of the torrent sent since `started`.
    pub uploaded: u64,
    /// Bytes of the torrent received since `started`.
    pub downloaded: u64,
    /// Bytes still missing; `u64::MAX` if that is not known yet (a magnet link).
    pub left: u64,
    /// Why we announce now.
    pub event: AnnounceEvent,
    /// Tells us from others behind the same address, and us from us at another (BEP 7): random,
    /// the same for a torrent's session.
    pub key: u32,
    /// How many peers we want; `None` leaves it to the tracker.
    pub numwant: Option<u32>,
    /// The `trackerid` of an earlier answer of this tracker. HTTP only.
    pub tracker_id: Option<Vec<u8>>,
    /// Our address, if the tracker cannot see it. Most trackers ignore it, and over UDP only IPv4
    /// can be said (BEP 15).
    pub ip: Option<IpAddr>,
    /// Whether peers may encrypt their connections with us. HTTP only.
    pub crypto: CryptoSupport,
}

/// What a tracker is told of encrypted connections (MSE), so that it names peers that fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CryptoSupport {
    /// Nothing: we do not encrypt.
    #[default]
    None,
    /// We can (`supportcrypto=1`).
    Supported,
    /// We take no other connections (`requirecrypto=1`).
    Required,
}

impl Announce {
    /// How many peers to ask for: none with a farewell, whatever [`numwant`](Self::numwant) says.
    fn peers_wanted(&self) -> Option<u32> {
        if self.event == AnnounceEvent::Stopped { Some(0) } else { self.numwant }
    }
}

/// Why we announce (BEP 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnnounceEvent {
    /// It is time again.
    #[default]
    None,
    /// The download became complete.
    Completed,
    /// The torrent starts.
    Started,
    /// The torrent stops.
    Stopped,
}

/// What a tracker tells of a torrent to a client that announces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceReply {
    /// After which time it wants to hear again; any value that a tracker can say, zero too.
    pub interval: Duration,
    /// The least time between two announces.
    pub min_interval: Option<Duration>,
    /// Peers, each once, none with port 0 or an address that no peer can have; at most as many as
    /// were allowed.
    pub peers: Vec<SocketAddr>,
    /// Peers that have everything.
    pub seeders: Option<u32>,
    /// Peers that do not.
    pub leechers: Option<u32>,
    /// How often it was completed.
    pub downloads: Option<u32>,
    /// Something for the user to read; it has at most [`MAX_TEXT`] characters, fit to be escaped,
    /// not printed.
    pub warning: Option<String>,
    /// Our address as the tracker sees it (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// What it wants to see in the next announce.
    pub tracker_id: Option<Vec<u8>>,
}

/// What a tracker counts of one torrent (BEP 48).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrapeReply {
    /// Peers that have everything.
    pub complete: u32,
    /// How often it was completed.
    pub downloaded: u32,
    /// Peers that do not have everything.
    pub incomplete: u32,
}

/// When a tracker that refused may be asked again (BEP 31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryIn {
    /// After this time.
    After(Duration),
    /// Never.
    Never,
}

/// Why there is no answer in what a tracker sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The tracker refuses.
    #[error("the tracker refuses: {reason:?}")]
    Failure {
        /// Its reason, of at most [`MAX_TEXT`] characters.
        reason: String,
        /// When it may be asked again, if it says (BEP 31).
        retry_in: Option<RetryIn>,
    },
    /// It is not bencoded.
    #[error("the tracker's reply is not valid bencoding: {0}")]
    Bencode(#[from] BencodeError),
    /// It is something else than a dictionary.
    #[error("the tracker's reply is not a dictionary")]
    NotADict,
    /// It lacks what it must have.
    #[error("the tracker's reply has no usable {0:?}")]
    Missing(&'static str),
    /// A packet is too short or too long for what it should be (BEP 15).
    #[error("a packet of {len} bytes is no {what}")]
    Length {
        /// What it should be.
        what: &'static str,
        /// Its length.
        len: usize,
    },
    /// A packet of another kind (BEP 15).
    #[error("a packet of action {0} is no reply")]
    Action(u32),
}

/// A tracker's words: no more than [`MAX_TEXT`] characters.
fn text(bytes: &[u8]) -> String {
    // A character takes at most four bytes.
    let bytes = bytes.get(..4 * MAX_TEXT).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).chars().take(MAX_TEXT).collect()
}

/// Gathers the peers of one reply: each once, and only those that can be dialled.
struct Peers {
    limit: usize,
    seen: HashSet<SocketAddr>,
    list: Vec<SocketAddr>,
}

impl Peers {
    fn new(limit: usize) -> Self {
        Self { limit, seen: HashSet::new(), list: Vec::new() }
    }

    /// False once no more are taken.
    fn add(&mut self, ip: IpAddr, port: u16) -> bool {
        if self.list.len() >= self.limit {
            return false;
        }
        let ip = ip.to_canonical();
        let no_host = match ip {
            IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
            IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast(),
        };
        let peer = SocketAddr::new(ip, port);
        if port != 0 && !no_host && self.seen.insert(peer) {
            self.list.push(peer);
        }
        true
    }

    /// Six bytes each (BEP 23); an incomplete last one is ignored.
    fn compact4(&mut self, bytes: &[u8]) {
        for &[a, b, c, d, hi, lo] in bytes.as_chunks().0 {
            if !self.add(IpAddr::from([a, b, c, d]), u16::from_be_bytes([hi, lo])) {
                break;
            }
        }
    }

    /// Eighteen bytes each (BEP 7); an incomplete last one is ignored.
    fn compact6(&mut self, bytes: &[u8]) {
        for peer in bytes.as_chunks::<18>().0 {
            let Some((ip, port)) = peer.split_first_chunk::<16>() else { break };
            let port = port.try_into().map_or(0, u16::from_be_bytes);
            if !self.add(IpAddr::from(*ip), port) {
                break;
            }
        }
    }
}
