//! What the items of a plan stand for: lines, disks, settings, torrents, and the manners of
//! scripted peers.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{Failure, Item, Kind, Plan};
use crate::{
    alert::{AlertMask, StopAt},
    base::{
        bitfield::Bitfield,
        bucket::{Limits, Rate},
        files::Priority,
    },
    conf::{Bootstrap, Conf, CryptoMethod, Encryption, SeedChoking, Transports},
    sim::{
        Answer, Asked, DiskPace, Gossip, HashManner, Hello, Line, Manners, MetadataManner, Nat,
        ProxyManners, Sample, WebManners,
    },
    wire::metainfo::Format,
};

/// Where nodes keep their sessions, if they do.
pub(super) const SESSION: &str = "/session";

pub(super) fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How long something lasts that is to end: a day at most.
pub(super) fn span(ms: u64) -> Duration {
    millis(ms.min(86_400_000))
}

/// Whether a mask has this name.
pub(super) fn has(mask: u64, id: u64) -> bool {
    mask >> (id % 64) & 1 == 1
}

pub(super) fn line(item: &Item) -> Line {
    let usual = Line::default();
    Line {
        latency: item.get("latency").map_or(usual.latency, |ms| millis(ms.min(60_000))),
        jitter: item.get("jitter").map_or(usual.jitter, |ms| millis(ms.min(60_000))),
        bandwidth: item.get("bandwidth").map_or(usual.bandwidth, |rate| rate.max(1000)),
        segment: (
            1,
            item.get("segment").map_or(usual.segment.1, |len| len.clamp(1, 1 << 20) as usize),
        ),
        send_buffer: item
            .get("sndbuf")
            .map_or(usual.send_buffer, |len| len.clamp(1, 1 << 24) as usize),
        window: item.get("window").map_or(usual.window, |len| len.clamp(1, 1 << 24) as usize),
    }
}

pub(super) fn pace(item: &Item) -> DiskPace {
    let usual = DiskPace::default();
    let max = item.get("disk").map_or(usual.max, span);
    let hot = item.get("hot").map_or(usual.hot, |percent| percent.min(100) as _);
    DiskPace { max, hot, ..usual }
}

/// How long connections last; 0 is for ever.
pub(super) fn flaky(ms: u64) -> Option<Duration> {
    // Those that last less carry nothing.
    (ms > 0).then(|| span(ms.max(500)))
}

pub(super) fn nat(rule: u64) -> Nat {
    [Nat::Open, Nat::FullCone, Nat::Restricted, Nat::PortRestricted, Nat::Symmetric]
        [(rule % 5) as usize]
}

pub(super) fn wish(value: u64) -> Priority {
    [Priority::Skip, Priority::Low, Priority::Normal, Priority::High][(value % 4) as usize]
}

pub(super) fn stop(item: &Item) -> StopAt {
    let ratio_percent = item.get("ratio").map(|percent| percent.min(1000) as u32);
    StopAt { ratio_percent, seeding: item.get("seeding").map(span) }
}

pub(super) fn conf(item: &Item) -> Conf {
    let usual = Conf::default().with(|conf| {
        conf.alerts.mask = AlertMask::ALL;
        conf.alerts.max = 100_000;
        conf.peers.max_dial_failures = 1000;
        conf.peers.reconnect_max = Duration::from_secs(3);
        conf.storage.retry_pause = millis(500);
    });
    let rate = |key| item.get(key).and_then(|rate| Rate::new(rate.max(1000)));
    let size = |key, usual: usize, min: u64, max: u64| {
        item.get(key).map_or(usual, |value| value.clamp(min, max) as usize)
    };
    let run_len = size("run", usual.requests.run_len as usize, 16 * 1024, 1 << 24)
        .next_multiple_of(16 * 1024);
    let max_unsent = size("unsent", usual.uploads.max_unsent, 16 * 1024, 256 * 1024);
    usual.clone().with(|conf| {
        conf.requests.run_len = run_len as u32;
        conf.requests.max_piece_memory = item
            .get("memory")
            .map_or(usual.requests.max_piece_memory, |runs| run_len * runs.clamp(2, 1000) as usize);
        conf.requests.max_pipeline = size("pipeline", usual.requests.max_pipeline, 1, 1000);
        conf.requests.initial_pipeline = size("initial", usual.requests.initial_pipeline, 1, 1000);
        conf.uploads.max_unsent = max_unsent;
        conf.uploads.max_request = 16 * 1024;
        conf.uploads.max_memory =
            size("uploads", usual.uploads.max_memory, 2 * max_unsent as u64 + 40_000, 1 << 24);
        conf.uploads.max_requests = size("requests", usual.uploads.max_requests, 1, 1000);
        conf.peers.max_connections = size("links", usual.peers.max_connections, 1, 1000);
        conf.peers.max_per_torrent = size("torrent-links", usual.peers.max_per_torrent, 1, 1000);
        conf.peers.max_dials = size("dials", usual.peers.max_dials, 1, 1000);
        conf.requests.endgame_copies =
            size("copies", usual.requests.endgame_copies.into(), 1, 200) as u8;
        conf.storage.save_interval =
            item.get("save").map_or(usual.storage.save_interval, |ms| millis(ms.max(1)));
        // Small torrents, too, take a check of several rounds.
        conf.storage.max_checks = size("checks", 16, 1, 1000);
        conf.uploads.slots = item.get("slots").map(|slots| slots as usize);
        conf.uploads.seed_choking = match item.get("choking") {
            Some(1) => SeedChoking::FastestUpload,
            Some(2) => SeedChoking::AntiLeech,
            _ => usual.uploads.seed_choking,
        };
        conf.uploads.suggest = item.get("suggest").is_some();
        conf.uploads.allowed_fast = size("allowed", usual.uploads.allowed_fast, 0, 100);
        conf.network.limits = Limits { down: rate("down"), up: rate("up") };
        conf.peers.limits = Limits { down: rate("peer-down"), up: rate("peer-up") };
        conf.session.dir = item.get("session").map(|_| SESSION.into());
        conf.queue.max_active_downloads =
            size("downloads", usual.queue.max_active_downloads, 0, 1000);
        conf.queue.max_active_seeds = size("seeds", usual.queue.max_active_seeds, 0, 1000);
        conf.queue.max_active = size("total", usual.queue.max_active, 0, 1000);
        conf.queue.stop = stop(item);
        conf.network.transports = match item.get("utp") {
            Some(1) => Transports::Both,
            Some(2) => Transports::Utp,
            _ => Transports::Tcp,
        };
        conf.encryption.policy = match item.get("crypto") {
            Some(1) => Encryption::Preferred,
            Some(2 | 3) => Encryption::Required,
            Some(4) => Encryption::Off,
            _ => usual.encryption.policy,
        };
        if let Some(3 | 5) = item.get("crypto") {
            conf.encryption.method = CryptoMethod::Rc4;
        }
        conf.encryption.only_method = item.get("crypto") == Some(3);
    })
}

/// The settings of a node of the DHT that begins at `first`.
pub(super) fn with_dht(conf: Conf, first: Option<SocketAddr>) -> Conf {
    conf.with(|conf| {
        conf.dht.enabled = true;
        let at = |addr: SocketAddr| Bootstrap {
            host: addr.ip().to_string(),
            port: addr.port(),
            router: false,
        };
        conf.dht.bootstrap = first.map(at).into_iter().collect();
    })
}

fn metadata(manner: u64) -> MetadataManner {
    [
        MetadataManner::Honest,
        MetadataManner::FalseBytes,
        MetadataManner::OtherSize,
        MetadataManner::OtherTotal,
        MetadataManner::HugeSize,
        MetadataManner::Rejects,
        MetadataManner::Silent,
        MetadataManner::Floods,
    ][manner as usize % 8]
}

/// What a peer says of other peers, if it does.
pub(super) fn gossip(item: &Item, nodes: &[SocketAddr]) -> Option<Gossip> {
    let count = item.get("names")?.min(2000);
    let kind = item.get("named").unwrap_or(0) % 5;
    let node = |n: u64| nodes.get(n as usize % nodes.len().max(1)).copied();
    let named = (0..count).filter_map(|n| {
        let dead = |host: u64| [11, (item.id % 256) as u8, (host >> 8) as u8, host as u8];
        let port = 1 + (n % 60_000) as u16;
        match kind {
            0 => Some(SocketAddr::from((dead(n), 6881))),
            1 => Some(SocketAddr::from((dead(0), port))),
            2 => node(n).map(|addr| SocketAddr::new(addr.ip(), port)),
            _ => node(n),
        }
    });
    Some(Gossip {
        named: named.collect(),
        messages: item.get("messages").unwrap_or(1).min(1000) as u32,
        pause: span(item.get("pause").unwrap_or(0)),
        garbage: kind == 4,
    })
}

/// How a node's proxy is asked, and how it behaves.
pub(super) fn proxy(kind: u64) -> (&'static str, ProxyManners) {
    match kind % PROXIES {
        1 => ("http", ProxyManners::Good),
        2 => ("socks5", ProxyManners::Names),
        3 => ("socks5", ProxyManners::Slow(millis(300))),
        4 => ("socks5", ProxyManners::NoDatagrams),
        5 => ("socks5", ProxyManners::Refuses),
        6 => ("socks5", ProxyManners::Silent),
        7 => ("socks5", ProxyManners::Garbage),
        8 => ("socks5", ProxyManners::Password),
        _ => ("socks5", ProxyManners::Good),
    }
}

/// Whether a node knows of others by datagrams alone.
pub(super) fn finds_peers_by_datagrams(node: &Item) -> bool {
    node.get("alone").is_some() || node.get("dht").is_some()
}

/// The kind of a node's proxy, if it has one by which it can find others.
pub(super) fn proxy_of(plan: &Plan, item: &Item) -> Option<u64> {
    let kind = item.get("proxy")?;
    let nodes = plan.of(Kind::Node);
    // A node behind a relay takes no part in the DHT's tables (BEP 43), and announces nothing:
    // it needs two others there, of which one knows what the other announces.
    let serves_dht =
        |other: &&Item| other.id > 0 && other.get("dht").is_some() && other.get("proxy").is_none();
    if item.get("dht").is_some() && !nodes.iter().any(serves_dht) {
        return None;
    }
    let uses_utp = nodes.iter().any(|node| node.get("utp").is_some());
    let by_datagrams = uses_utp || finds_peers_by_datagrams(item);
    let is_relay = RELAYS.contains(&(kind % GOOD_PROXIES));
    Some(if by_datagrams && !is_relay { RELAYS[0] } else { kind })
}

/// The kinds of proxies that carry datagrams and say where they come from.
pub(super) const RELAYS: &[u64] = &[0, 3];

/// How many kinds of proxies there are, and how many of them get anywhere.
pub(super) const PROXIES: u64 = 9;
pub(super) const GOOD_PROXIES: u64 = 5;

/// How a web server behaves.
pub(super) fn web(item: &Item) -> WebManners {
    let much = item.get("much").unwrap_or(0);
    let file = (much % 8) as usize;
    match item.get("manner").unwrap_or(0) % WEB_MANNERS {
        1 => WebManners::Closes,
        2 => WebManners::Chunked,
        3 => WebManners::NoRanges,
        4 => WebManners::OtherRange,
        5 => WebManners::Lies(file),
        6 => WebManners::LiesAlways,
        7 => WebManners::Lacks(file),
        8 => WebManners::CutOff,
        9 => WebManners::Busy((much % 8) as u32, much % 100),
        10 => WebManners::Status(400 + (much % 200) as u16),
        11 => WebManners::RedirectsInCircles,
        12 => WebManners::EndsEarly(much),
        13 => WebManners::Endless,
        14 => WebManners::Packs,
        15 => WebManners::Silent,
        16 => WebManners::Trickles(1 + much % 5000),
        17 => WebManners::Garbage,
        _ => WebManners::Good,
    }
}

/// How many kinds of manners there are.
pub(super) const WEB_MANNERS: u64 = 18;

/// How many ways there are to answer requests for hashes.
pub(super) const HASH_MANNERS: u64 = 7;

/// The policy of the `nth` torrent, of a number with a digit of base 5 for each.
pub(super) fn policy(policies: u64, nth: u32) -> Option<Encryption> {
    match policies.checked_div(5_u64.saturating_pow(nth)).unwrap_or(0) % 5 {
        1 => Some(Encryption::Off),
        2 => Some(Encryption::Allowed),
        3 => Some(Encryption::Preferred),
        4 => Some(Encryption::Required),
        _ => None,
    }
}

/// Every `n`th of all blocks, by a number that looks random.
fn every(n: u64) -> impl FnMut(Asked) -> bool {
    move |asked: Asked| {
        let number = u64::from(asked.block.piece.get()) * 7919
            + u64::from(asked.block.begin) / 16384 * 104_729
            + 13;
        number.is_multiple_of(n.max(1))
    }
}

pub(super) fn manners(item: &Item, sample: &Sample) -> Manners {
    let (bad, mute, reject) = (item.get("bad"), item.get("mute"), item.get("reject"));
    let mut hit = every(bad.or(mute).or(reject).unwrap_or(1));
    let otherwise =
        item.get("dribble").map_or(Answer::Good, |ms| Answer::Dribble(millis(ms.max(1))));
    let answer = match (bad, mute, reject) {
        (Some(_), _, _) => Answer::Bad,
        (_, Some(_), _) => Answer::Nothing,
        (_, _, Some(_)) => Answer::Reject,
        _ => otherwise,
    };
    let (share, which) = (item.get("share").unwrap_or(16), item.get("which").unwrap_or(0));
    let mut has = Bitfield::none(sample.geometry().piece_count());
    let owned = |piece: u64| (piece + 1 + which).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60 < share;
    sample.geometry().pieces().filter(|p| owned(p.get().into())).for_each(|p| _ = has.set(p));
    Manners {
        hello: [Hello::Proper, Hello::Silent, Hello::WrongTorrent, Hello::Garbage]
            [item.get("hello").unwrap_or(0) as usize % 4],
        fast: item.get("nofast").is_none(),
        reqq: item.get("reqq").map(|n| n.min(1000) as u32),
        has: Some(has),
        unchoke_after: Some(millis(item.get("unchoke").unwrap_or(0))),
        flap: item.get("flap").map(|ms| millis(ms.max(1))),
        block_time: millis(item.get("block").unwrap_or(0)),
        answer: Box::new(move |asked| if hit(asked) { answer } else { otherwise }),
        keep_alive: item.get("alive").map(|ms| millis(ms.max(10))),
        metadata: item.get("metadata").map(metadata),
        hashes: [
            HashManner::True,
            HashManner::False(item.id as usize),
            HashManner::Reject,
            HashManner::Nothing,
            HashManner::Elsewhere,
            HashManner::Short,
            HashManner::Babble,
        ][item.get("hashes").unwrap_or(0) as usize % HASH_MANNERS as usize],
        ..Manners::default()
    }
}

/// The torrent whose files this one has, too: one that was said before it.
pub(super) fn twin_of<'a>(plan: &'a Plan, torrent: &Item) -> Option<&'a Item> {
    let other = torrent.get("twin").filter(|&other| other < torrent.id)?;
    plan.of(Kind::Torrent).into_iter().find(|item| item.id == other && item.get("twin").is_none())
}

pub(super) fn sample(plan: &Plan, torrent: &Item) -> Result<Arc<Sample>, Failure> {
    let twin = twin_of(plan, torrent);
    let first = twin.unwrap_or(torrent);
    let files = plan.of(Kind::File).into_iter().filter(|file| file.id == first.id).enumerate();
    let name = |nth: usize, file: &Item| match (file.get("pad"), nth % 2) {
        (Some(_), _) => String::new(),
        (None, 0) => format!("{nth}"),
        (None, _) => format!("dir/{nth}"),
    };
    let mut files: Vec<_> = files
        .map(|(nth, file)| (name(nth, file), file.get("len").unwrap_or(16 * 1024).min(1 << 26)))
        .collect();
    let is_twin = plan.of(Kind::Torrent).iter().any(|item| twin_of(plan, item).is_some());
    let (format, lies) = match first.get("format").unwrap_or(0) % 4 {
        1 => (Format::V2, false),
        2 => (Format::Hybrid, false),
        3 => (Format::Hybrid, !is_twin),
        _ => (Format::V1, false),
    };
    if format.has_v2() {
        files.retain(|(name, _)| !name.is_empty());
    }
    // One file alone of version 2 is in no folder, so that another torrent could have that name.
    if let ([(name, _)], Format::V2) = (&mut *files, format) {
        *name = format!("{name}-of-{}", first.id);
    }
    let mut files: Vec<_> = files.iter().map(|(name, len)| (&**name, *len)).collect();
    if format.has_v2() {
        files.sort_by_key(|(name, _)| name.split('/').collect::<Vec<_>>());
    }
    // Nothing but pads cannot be told from nothing at all.
    if !files.iter().any(|(name, len)| !name.is_empty() && *len > 0) {
        return Err(Failure::new(format!("no torrent {}: it has no data", torrent.id)));
    }
    // Pieces of a few bytes would make a swarm that is small to read take hours.
    let piece =
        |torrent: &Item| torrent.get("piece").unwrap_or(16 * 1024).clamp(4096, 1 << 26) as u32;
    let piece = |torrent: &Item| match format.has_v2() {
        true => piece(torrent).next_power_of_two().clamp(16 * 1024, 1 << 26),
        false => piece(torrent),
    };
    // With pieces of the same length it would be the same torrent.
    let same = twin.is_some_and(|twin| piece(twin) == piece(torrent));
    let piece = match (same, format.has_v2()) {
        (false, _) => piece(torrent),
        (true, false) => piece(torrent) + 4096,
        (true, true) => piece(torrent) * 2,
    };
    let name = format!("torrent-{}", first.id);
    let sample = match lies {
        true => Sample::contradiction(&name, &files, piece, first.id),
        false => Sample::folder_of(format, &name, &files, piece, first.id),
    };
    sample.map_err(|error| Failure::new(format!("no torrent {}: {error}", torrent.id)))
}
