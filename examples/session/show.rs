//! How things look: in columns for a person, with tabs for a script.

use cratetorrent::{
    FileStats, Limits, MetadataStatus, PeerStats, Phase, Priority, Rate, SessionStats, StopAt,
    TorrentStats, TrackerStats, alert::WebSeedStats, reactor::ReactorStats,
};
use indicatif::{HumanBytes, HumanDuration};

use crate::book::Entry;

/// A tracker's line: tier, state, seeds, leeches, address, what was wrong.
pub fn tracker(tracker: &TrackerStats) -> String {
    let state = tracker.status;
    let count = |count: Option<u32>| count.map_or("-".into(), |count| count.to_string());
    let word = tracker
        .error
        .as_ref()
        .map(|error| &error.text)
        .or(tracker.warning.as_ref())
        .map_or("-".into(), |word| word.escape_debug().to_string());
    let (seeds, leeches, url) =
        (count(tracker.seeds), count(tracker.leeches), tracker.url.escape_debug());
    format!("{}\t{state}\t{seeds}\t{leeches}\t{url}\t{word}", tracker.tier)
}

/// A web seed's line: state, bytes, bytes/s, files that it lacks, address, what was wrong.
pub fn web_seed(seed: &WebSeedStats) -> String {
    let word = seed.error.as_ref().map_or("-".into(), |e| e.text.escape_debug().to_string());
    let (state, bytes, rate, lacks) =
        (seed.status, seed.downloaded, seed.download_rate, seed.missing_files);
    format!("{state}\t{bytes}\t{rate}\t{lacks}\t{}\t{word}", seed.url.escape_debug())
}

/// The names of the fields of a torrent's line.
pub const HEAD: [&str; 10] =
    ["N", "state", "done", "size", "down", "up", "peers", "ratio", "queue", "name"];

/// A torrent's line.
pub fn row(entry: &Entry, stats: &TorrentStats, human: bool) -> [String; 10] {
    let queue = stats.queue_position.map_or("-".into(), |position| position.to_string());
    let (done, size) = (stats.wanted_have_bytes, stats.wanted_bytes);
    [
        entry.number.to_string(),
        stats.phase.to_string(),
        if human { percent(done, size) } else { done.to_string() },
        bytes(size, human),
        rate(stats.download_rate, human),
        rate(stats.upload_rate, human),
        stats.peers.to_string(),
        format!("{:.2}", stats.ratio()),
        queue,
        entry.name(),
    ]
}

/// All lines of a table.
pub fn table<const N: usize>(head: [&str; N], rows: &[[String; N]], human: bool) -> Vec<String> {
    if !human {
        return rows.iter().map(|row| row.join("\t")).collect();
    }
    let width = |at: usize| {
        rows.iter().map(|row| row[at].chars().count()).chain([head[at].len()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: [&str; N]| {
        let cells = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let rows = rows.iter().map(|row| line(row.each_ref().map(String::as_str)));
    std::iter::once(line(head)).chain(rows).collect()
}

/// All about a torrent.
pub fn details(
    entry: &Entry,
    stats: &TorrentStats,
    limits: Limits,
    stop: Option<StopAt>,
    labels: &[String],
) -> Vec<String> {
    let totals = stats.totals;
    let mut lines = vec![
        format!("name: {}", entry.name()),
        format!("info-hash: {}", entry.hashes().join(" ")),
        format!("dir: {}", entry.dir.display()),
        format!("state: {}", stats.phase),
        format!(
            "done: {} of {} bytes that are wanted, {} of {} pieces",
            stats.wanted_have_bytes, stats.wanted_bytes, stats.have, stats.pieces
        ),
        format!(
            "rates: {} down, {} up",
            rate(stats.download_rate, true),
            rate(stats.upload_rate, true)
        ),
        format!(
            "peers: {} connected, {} of them seeds, {} known",
            stats.peers, stats.seeds, stats.candidates
        ),
        format!(
            "in all: {} received, {} sent, ratio {:.2}",
            HumanBytes(totals.downloaded),
            HumanBytes(totals.uploaded),
            stats.ratio()
        ),
        format!(
            "times: {} active, {} seeding",
            HumanDuration(totals.active),
            HumanDuration(totals.seeding)
        ),
        format!("limits: {}", self::limits(limits)),
        format!("stop: {}", self::stop(stop)),
        format!("labels: {}", if labels.is_empty() { "-".into() } else { labels.join(" ") }),
    ];
    if let Some(position) = stats.queue_position {
        lines.push(format!("queue: {position}"));
    }
    if let Some(eta) = stats.eta {
        lines.push(format!("ready in: {}", HumanDuration(eta)));
    }
    lines
}

/// A line a file, but for padding and such, which are never there.
pub fn files(files: &[FileStats]) -> impl Iterator<Item = String> {
    let line = |(at, file): (usize, &FileStats)| {
        let path = file.path.as_ref()?.display().to_string();
        let wanted = match file.priority {
            Priority::Skip => "off",
            Priority::Low => "low",
            Priority::Normal => "normal",
            Priority::High => "high",
        };
        Some(format!(
            "file {at}: {wanted}, {} of {} bytes, {}",
            file.have,
            file.len,
            path.escape_debug()
        ))
    };
    files.iter().enumerate().filter_map(line)
}

pub const PEER_HEAD: [&str; 7] = ["address", "client", "pieces", "down", "up", "flags", "on order"];

/// A peer's line. Flags: `i` it came to us; `d` we want something, `D` and may ask; `u` it wants
/// something, `U` and may ask; `s` it does not deliver; `m` it offers the metadata of a magnet
/// link, `r` it does, and rejects requests for it or does not answer.
pub fn peer(peer: &PeerStats, human: bool) -> [String; 7] {
    let flag = |is: bool, letter: char| is.then_some(letter);
    let want = |wants: bool, may: bool, letter: char| {
        flag(wants, if may { letter.to_ascii_uppercase() } else { letter })
    };
    let flags = [
        flag(peer.incoming, 'i'),
        want(peer.interested, peer.unchoked, 'd'),
        want(peer.peer_interested, peer.peer_unchoked, 'u'),
        flag(peer.snubbed, 's'),
        flag(peer.metadata == Some(MetadataStatus::Offered), 'm'),
        flag(peer.metadata == Some(MetadataStatus::Resting), 'r'),
    ];
    let flags: String = flags.into_iter().flatten().collect();
    let client = peer
        .client
        .as_deref()
        .map_or_else(|| peer.id.to_string(), |client| client.escape_debug().to_string());
    [
        peer.addr.to_string(),
        client,
        peer.have.to_string(),
        rate(peer.download_rate, human),
        rate(peer.upload_rate, human),
        if flags.is_empty() { "-".into() } else { flags },
        peer.pipeline.to_string(),
    ]
}

const PHASES: [Phase; 10] = [
    Phase::Downloading,
    Phase::Seeding,
    Phase::Queued,
    Phase::Paused,
    Phase::Checking,
    Phase::Metadata,
    Phase::Opening,
    Phase::Stalled,
    Phase::Missing,
    Phase::Closing,
];

/// The phases that torrents are in.
pub fn phases(stats: &SessionStats) -> Vec<Phase> {
    PHASES.into_iter().filter(|&phase| stats.in_phase(phase) > 0).collect()
}

/// The session as a whole.
pub fn session(stats: &SessionStats, reactor: &ReactorStats) -> Vec<String> {
    let dropped = reactor.datagrams_dropped.map_or("-".into(), |dropped| dropped.to_string());
    let phase = |&phase: &Phase| format!("{} {phase}", stats.in_phase(phase));
    let phases: Vec<String> = phases(stats).iter().map(phase).collect();
    vec![
        format!(
            "torrents: {}{}{}",
            stats.torrents,
            if phases.is_empty() { "" } else { ": " },
            phases.join(", ")
        ),
        format!(
            "rates: {} down, {} up",
            rate(stats.download_rate, true),
            rate(stats.upload_rate, true)
        ),
        format!(
            "received: {} bytes, {} of them useless; sent: {} bytes",
            stats.downloaded, stats.wasted, stats.uploaded
        ),
        format!(
            "connections: {} with {} peers, {} being dialled",
            stats.connections, stats.peers, stats.dials
        ),
        format!(
            "datagrams: {dropped} dropped by the system at a buffer of {} bytes",
            reactor.receive_buffer
        ),
    ]
}

pub fn limits(limits: Limits) -> String {
    let one = |limit: Option<Rate>| limit.map_or("none".into(), |limit| rate(limit.get(), true));
    format!("down {}, up {}", one(limits.down), one(limits.up))
}

fn stop(stop: Option<StopAt>) -> String {
    let Some(StopAt { ratio_percent, seeding }) = stop else { return "as all".into() };
    let ratio = ratio_percent.map(|percent| format!("at {percent} % sent"));
    let time = seeding.map(|time| format!("after {} of seeding", HumanDuration(time)));
    let both: Vec<String> = [ratio, time].into_iter().flatten().collect();
    if both.is_empty() { "never".into() } else { both.join(" or ") }
}

fn percent(part: u64, whole: u64) -> String {
    // Not 100 % before all of it is there.
    format!("{:.1}%", (part as f64 / whole.max(1) as f64 * 1000.0).floor() / 10.0)
}

fn bytes(bytes: u64, human: bool) -> String {
    if human { HumanBytes(bytes).to_string() } else { bytes.to_string() }
}

fn rate(bytes_per_s: u64, human: bool) -> String {
    if human { format!("{}/s", HumanBytes(bytes_per_s)) } else { bytes_per_s.to_string() }
}
