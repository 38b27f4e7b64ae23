//! What is shown, as JSON objects: plain numbers in bytes, bytes per second and seconds, null for
//! nothing. Foreign words are as they came.

use cratetorrent::{
    FileStats, Limits, MetadataStatus, PeerStats, Phase, Priority, Rate, SessionStats, StopAt,
    TorrentStats, TrackerStats, alert::WebSeedStats, reactor::ReactorStats,
};
use serde_json::{Value, json};

use crate::book::Entry;

pub fn torrent(entry: &Entry, stats: &TorrentStats) -> Value {
    json!({
        "event": "torrent",
        "torrent": entry.number,
        "info_hash": entry.hashes().first(),
        "name": entry.name,
        "state": stats.phase.to_string(),
        "bytes": stats.wanted_have_bytes,
        "total_bytes": stats.wanted_bytes,
        "down_bytes_per_s": stats.download_rate,
        "up_bytes_per_s": stats.upload_rate,
        "peers": stats.peers,
        "ratio": stats.ratio(),
        "queue_position": stats.queue_position,
    })
}

/// All about a torrent.
pub fn details(
    entry: &Entry,
    stats: &TorrentStats,
    limits: Limits,
    stop: Option<StopAt>,
    labels: &[String],
    files: &[FileStats],
) -> Value {
    let mut object = torrent(entry, stats);
    let totals = stats.totals;
    let more = json!({
        "event": "details",
        "dir": entry.dir.to_string_lossy(),
        "pieces": stats.have,
        "total_pieces": stats.pieces,
        "seeds": stats.seeds,
        "known_peers": stats.candidates,
        "downloaded_bytes": totals.downloaded,
        "uploaded_bytes": totals.uploaded,
        "active_seconds": totals.active.as_secs(),
        "seeding_seconds": totals.seeding.as_secs(),
        "seconds_left": stats.eta.map(|eta| eta.as_secs()),
        "limits": self::limits(limits),
        "stop_percent": stop.and_then(|stop| stop.ratio_percent),
        "stop_seconds": stop.and_then(|stop| stop.seeding).map(|time| time.as_secs()),
        "labels": labels,
        "files": files.iter().enumerate().filter_map(file).collect::<Vec<_>>(),
    });
    if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
        object.extend(more);
    }
    object
}

/// One that may be on disk: not padding and such.
fn file((index, file): (usize, &FileStats)) -> Option<Value> {
    let wanted = match file.priority {
        Priority::Skip => "off",
        Priority::Low => "low",
        Priority::Normal => "normal",
        Priority::High => "high",
    };
    let path = file.path.as_ref()?.to_string_lossy();
    Some(json!({
        "index": index,
        "path": path,
        "priority": wanted,
        "bytes": file.have,
        "total_bytes": file.len,
    }))
}

pub fn peer(peer: &PeerStats) -> Value {
    json!({
        "event": "peer",
        "address": peer.addr.to_string(),
        "client": peer.client,
        "id": peer.id.to_string(),
        "pieces": peer.have,
        "down_bytes_per_s": peer.download_rate,
        "up_bytes_per_s": peer.upload_rate,
        "incoming": peer.incoming,
        "interested": peer.interested,
        "unchoked": peer.unchoked,
        "peer_interested": peer.peer_interested,
        "peer_unchoked": peer.peer_unchoked,
        "snubbed": peer.snubbed,
        "metadata": peer.metadata.map(|status| match status {
            MetadataStatus::NotOffered => "not offered",
            MetadataStatus::Offered => "offered",
            MetadataStatus::Resting => "resting",
        }),
        "on_order": peer.pipeline,
    })
}

pub fn tracker(tracker: &TrackerStats) -> Value {
    json!({
        "event": "tracker",
        "tier": tracker.tier,
        "state": tracker.status.to_string(),
        "seeds": tracker.seeds,
        "leeches": tracker.leeches,
        "url": tracker.url,
        "error": tracker.error.as_ref().map(|error| error.text.clone()),
        "warning": tracker.warning,
    })
}

/// A web seed.
pub fn web_seed(seed: &WebSeedStats) -> Value {
    json!({
        "event": "web_seed",
        "state": seed.status.to_string(),
        "added": seed.added,
        "downloaded_bytes": seed.downloaded,
        "download_rate": seed.download_rate,
        "connections": seed.connections,
        "missing_files": seed.missing_files,
        "url": seed.url,
        "error": seed.error.as_ref().map(|error| error.text.clone()),
    })
}

/// The session as a whole.
pub fn session(stats: &SessionStats, reactor: &ReactorStats, phases: &[Phase]) -> Value {
    let phase = |&phase: &Phase| (phase.to_string(), stats.in_phase(phase).into());
    json!({
        "event": "session",
        "torrents": stats.torrents,
        "states": phases.iter().map(phase).collect::<serde_json::Map<_, _>>(),
        "down_bytes_per_s": stats.download_rate,
        "up_bytes_per_s": stats.upload_rate,
        "downloaded_bytes": stats.downloaded,
        "wasted_bytes": stats.wasted,
        "uploaded_bytes": stats.uploaded,
        "connections": stats.connections,
        "peers": stats.peers,
        "dials": stats.dials,
        "dropped_datagrams": reactor.datagrams_dropped,
        "datagram_buffer_bytes": reactor.receive_buffer,
    })
}

pub fn limits(limits: Limits) -> Value {
    let one = |limit: Option<Rate>| limit.map(Rate::get);
    json!({"down_bytes_per_s": one(limits.down), "up_bytes_per_s": one(limits.up)})
}
