//! Announces and scrapes over HTTP: what is asked for (BEP 3, 7, 23, 48), and what the bodies of
//! the replies say (also BEP 24, 31).
//!
//! HTTP itself is not known here.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use super::{
    Announce, AnnounceEvent, AnnounceReply, CryptoSupport, MAX_SCRAPE, MAX_TRACKER_ID, Peers,
    ReplyError, RetryIn, ScrapeReply, TrackerUrl, text, url::escaped,
};
use crate::{
    base::ids::InfoHash,
    wire::bencode::{Document, Limits, Value},
};

/// The interval that counts if a tracker names none, as other clients have it.
pub const DEFAULT_INTERVAL: Duration = Duration::from_secs(30 * 60);

/// The least that `interval` and `min interval` mean in a reply that refuses.
const LEAST_RETRY: Duration = Duration::from_secs(60);

/// Within each other: the reply, its peers, one of them, and what an unknown key may hold.
const MAX_DEPTH: usize = 16;
/// Values in all: some 25,000 peers as dictionaries, or 20,000 scraped torrents.
const MAX_TOKENS: usize = 200_000;

/// The target of a GET for an announce: the address's own path and query, and the announce after
/// it.
pub fn announce_target(url: &TrackerUrl, announce: &Announce) -> String {
    let mut target = Target::new(url);
    target.bytes("info_hash", &announce.info_hash.0);
    target.bytes("peer_id", &announce.peer_id.0);
    // Some trackers read these as signed numbers.
    let count = |n: u64| n.min(i64::MAX as u64).to_string();
    target.plain("port", &announce.port.to_string());
    target.plain("uploaded", &count(announce.uploaded));
    target.plain("downloaded", &count(announce.downloaded));
    target.plain("left", &count(announce.left));
    target.plain("compact", "1");
    target.plain("no_peer_id", "1");
    target.plain("key", &format!("{:08X}", announce.key));
    match announce.event {
        AnnounceEvent::None => {}
        AnnounceEvent::Completed => target.plain("event", "completed"),
        AnnounceEvent::Started => target.plain("event", "started"),
        AnnounceEvent::Stopped => target.plain("event", "stopped"),
    }
    if let Some(numwant) = announce.peers_wanted() {
        target.plain("numwant", &numwant.to_string());
    }
    if let Some(ip) = announce.ip {
        target.bytes("ip", ip.to_string().as_bytes());
    }
    match announce.crypto {
        CryptoSupport::None => {}
        CryptoSupport::Supported => target.plain("supportcrypto", "1"),
        CryptoSupport::Required => target.plain("requirecrypto", "1"),
    }
    if let Some(id) = &announce.tracker_id {
        target.bytes("trackerid", id);
    }
    target.0
}

/// The target of a GET for a scrape of the first [`MAX_SCRAPE`] of `info_hashes`; `url` is that of
/// scrapes ([`TrackerUrl::scrape`]).
pub fn scrape_target(url: &TrackerUrl, info_hashes: &[InfoHash]) -> String {
    let mut target = Target::new(url);
    for info_hash in info_hashes.iter().take(MAX_SCRAPE) {
        target.bytes("info_hash", &info_hash.0);
    }
    target.0
}

struct Target(String);

impl Target {
    fn new(url: &TrackerUrl) -> Self {
        Self(url.target())
    }

    fn key(&mut self, key: &str) {
        match self.0.split_once('?') {
            None => self.0.push('?'),
            Some((_, "")) => {}
            Some(_) if self.0.ends_with('&') => {}
            Some(_) => self.0.push('&'),
        }
        self.0.push_str(key);
        self.0.push('=');
    }

    fn plain(&mut self, key: &str, value: &str) {
        self.key(key);
        self.0.push_str(value);
    }

    fn bytes(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        value.iter().for_each(|&b| self.0.push_str(&escaped(b)));
    }
}

/// Reads the body of the reply to an announce, of which at most `max_peers` peers are taken.
/// Unknown keys, wrong types and numbers out of range count as absent. Peers are taken in either
/// form (BEP 3, BEP 23), but none by name: a tracker shall not make us look names up.
///
/// # Errors
/// If it is no dictionary, says that the tracker refuses, or has neither an interval nor peers.
pub fn announce_reply(body: &[u8], max_peers: usize) -> Result<AnnounceReply, ReplyError> {
    let document = parse(body)?;
    let root = document.root();
    refused(root)?;
    let bytes = |key: &[u8]| root.get(key).and_then(|v| v.as_bytes());
    let count = |key: &[u8]| root.get(key).and_then(count);
    let interval = root.get(b"interval").and_then(seconds);
    let mut peers = Peers::new(max_peers);
    let listed = root.get(b"peers");
    match listed.map(|v| (v.as_bytes(), v.as_list())) {
        Some((Some(compact), _)) => peers.compact4(compact),
        Some((_, Some(list))) => {
            _ = list.map(listed_peer).all(|peer| peer.is_none_or(|(ip, port)| peers.add(ip, port)))
        }
        _ => {}
    }
    let compact6 = bytes(b"peers6");
    peers.compact6(compact6.unwrap_or_default());
    if interval.is_none() && listed.is_none() && compact6.is_none() {
        return Err(ReplyError::Missing("interval"));
    }
    Ok(AnnounceReply {
        interval: interval.unwrap_or(DEFAULT_INTERVAL),
        min_interval: root.get(b"min interval").and_then(seconds),
        peers: peers.list,
        seeders: count(b"complete"),
        leechers: count(b"incomplete"),
        downloads: count(b"downloaded"),
        warning: bytes(b"warning message").map(text),
        external_ip: bytes(b"external ip").and_then(external_ip),
        tracker_id: bytes(b"tracker id")
            .filter(|id| id.len() <= MAX_TRACKER_ID)
            .map(<[u8]>::to_vec),
    })
}

/// Reads the body of the reply to a scrape: for each of `info_hashes` what the tracker counts, if
/// it knows the torrent.
///
/// # Errors
/// If it is no dictionary, says that the tracker refuses, or has no `files`.
pub fn scrape_reply(
    body: &[u8],
    info_hashes: &[InfoHash],
) -> Result<Vec<Option<ScrapeReply>>, ReplyError> {
    let document = parse(body)?;
    let root = document.root();
    refused(root)?;
    let files = root.get(b"files").and_then(|v| v.as_dict()).ok_or(ReplyError::Missing("files"))?;
    let mut replies = vec![None; info_hashes.len()];
    for (key, file) in files {
        for (_, reply) in info_hashes.iter().zip(&mut replies).filter(|(hash, _)| hash.0 == key) {
            let count = |key: &[u8]| file.get(key).and_then(count).unwrap_or(0);
            *reply = Some(ScrapeReply {
                complete: count(b"complete"),
                downloaded: count(b"downloaded"),
                incomplete: count(b"incomplete"),
            });
        }
    }
    Ok(replies)
}

fn parse(body: &[u8]) -> Result<Document<'_>, ReplyError> {
    let limits = Limits { bytes: body.len(), depth: MAX_DEPTH, tokens: MAX_TOKENS };
    // Some trackers send a line end after the reply.
    let (document, _) = Document::parse_prefix(body, &limits)?;
    document.root().as_dict().ok_or(ReplyError::NotADict)?;
    Ok(document)
}

fn refused(root: Value<'_>) -> Result<(), ReplyError> {
    let Some(reason) = root.get(b"failure reason") else { return Ok(()) };
    let retry_in = root.get(b"retry in").and_then(|v| match (v.as_int(), v.as_bytes()) {
        (Some(minutes), _) => u32::try_from(minutes).ok().map(minutes_from),
        (_, Some(b"never")) => Some(RetryIn::Never),
        (_, Some(digits)) => str::from_utf8(digits).ok()?.parse().ok().map(minutes_from),
        _ => None,
    });
    // The usual words count where that one is missing. Those of less than a minute are not meant
    // for failures.
    let usual = || {
        [&b"interval"[..], b"min interval"]
            .into_iter()
            .filter_map(|key| root.get(key).and_then(seconds))
            .max()
    };
    let retry_in = retry_in.or_else(|| usual().map(|time| RetryIn::After(time.max(LEAST_RETRY))));
    Err(ReplyError::Failure { reason: reason.as_bytes().map(text).unwrap_or_default(), retry_in })
}

fn minutes_from(minutes: u32) -> RetryIn {
    RetryIn::After(Duration::from_secs(60 * u64::from(minutes)))
}

/// A time in seconds, up to 136 years.
fn seconds(value: Value<'_>) -> Option<Duration> {
    count(value).map(|n| Duration::from_secs(n.into()))
}

/// A number that is not negative; too large a one becomes the largest.
fn count(value: Value<'_>) -> Option<u32> {
    value.as_int().filter(|&n| n >= 0).map(|n| u32::try_from(n).unwrap_or(u32::MAX))
}

fn listed_peer(peer: Value<'_>) -> Option<(IpAddr, u16)> {
    let ip = str::from_utf8(peer.get(b"ip")?.as_bytes()?).ok()?.parse().ok()?;
    Some((ip, u16::try_from(peer.get(b"port")?.as_int()?).ok()?))
}

/// Four or sixteen bytes (BEP 24); some trackers write it out.
fn external_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(Ipv4Addr::from).map(IpAddr::V4);
    let binary =
        v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(|ip| IpAddr::from(ip).to_canonical())).ok();
    binary
        .or_else(|| str::from_utf8(bytes).ok()?.parse().ok())
        .filter(|ip| !ip.is_unspecified() && !ip.is_multicast())
}
