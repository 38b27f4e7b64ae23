//! Every seed of the fuzz targets keeps the promises that the targets check, and does what it was
//! written for; what fuzzing found beside them keeps the promises.

#[path = "../fuzz/src/dht.rs"]
#[allow(unreachable_pub, dead_code)] // the fuzz crate calls the rest
mod dht;
#[path = "../fuzz/src/exchange.rs"]
#[allow(unreachable_pub)] // the fuzz crate calls it
mod exchange;
#[path = "../fuzz/src/mse.rs"]
#[allow(unreachable_pub)] // the fuzz crate calls it
mod mse;
#[path = "../fuzz/src/port_mapping.rs"]
#[allow(unreachable_pub)] // the fuzz crate calls it
mod port_mapping;
#[path = "../fuzz/src/proxy.rs"]
#[allow(unreachable_pub, clippy::unwrap_used)] // the fuzz crate calls it
mod proxy;
#[path = "../fuzz/src/tracker.rs"]
#[allow(unreachable_pub, dead_code, clippy::expect_used)] // the fuzz crate calls the rest
mod tracker;
#[path = "../fuzz/src/utp.rs"]
#[allow(unreachable_pub)] // the fuzz crate calls it
mod utp;
#[path = "../fuzz/src/web_seed.rs"]
#[allow(unreachable_pub)] // the fuzz crate calls it
mod web_seed;
#[path = "../fuzz/src/wire.rs"]
#[allow(unreachable_pub, dead_code)] // the fuzz crate calls the rest
mod wire;

use std::{collections::BTreeMap, fs, path::Path};

use cratetorrent::wire::{
    bencode::Document, blocklist::Blocklist, extension::ExtensionHandshake, handshake::Handshake,
    krpc::Message as Krpc, lsd::LsdAnnounce, magnet::Magnet, message::Message, metainfo::Metainfo,
    tracker::TrackerUrl, ut_holepunch::HolepunchMessage, ut_metadata::MetadataMessage,
    ut_pex::PexMessage, utp::Packet,
};

/// The inputs of a target whose names begin with `kind`, by the rest of the name.
fn corpus(target: &str, kind: &str) -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut inputs = BTreeMap::new();
    for entry in
        fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())).flatten()
    {
        if let (Some(name), Ok(bytes)) =
            (entry.file_name().to_string_lossy().strip_prefix(kind), fs::read(entry.path()))
        {
            inputs.insert(name.to_owned(), bytes);
        }
    }
    inputs
}

#[track_caller]
fn check(target: &str, promise: fn(&[u8]), valid: impl Fn(&[u8]) -> bool, refused: &[&str]) {
    let seeds = corpus(target, "seed-");
    assert!(!seeds.is_empty(), "{target} has no seeds");
    corpus(target, "found-").values().for_each(|bytes| promise(bytes));
    for (name, bytes) in seeds {
        promise(&bytes);
        assert_eq!(valid(&bytes), !refused.contains(&name.as_str()), "{target}/{name}");
    }
}

#[test]
fn bencode() {
    check(
        "bencode",
        wire::bencode,
        |b| Document::parse(b).is_ok(),
        &["too-deep", "prefix", "claim"],
    );
}

#[test]
fn messages() {
    check("message", wire::message, |_| true, &[]);
    check(
        "message_roundtrip",
        wire::message_roundtrip,
        |b| Message::decode(b).is_ok(),
        &["short-have"],
    );
}

#[test]
fn handshakes() {
    check("handshake", wire::handshake, |b| Handshake::parse(b).is_ok(), &["http"]);
    check("extension", wire::extension, |b| ExtensionHandshake::decode(b).is_ok(), &[]);
}

#[test]
fn metainfos() {
    check(
        "metainfo",
        wire::metainfo,
        |b| Metainfo::from_bytes(b).is_ok(),
        &["v2-rootless", "layer-wrong", "negative", "overflow"],
    );
}

#[test]
fn magnets() {
    check(
        "magnet",
        wire::magnet,
        |b| std::str::from_utf8(b).unwrap().parse::<Magnet>().is_ok(),
        &["conflict", "no-hash", "short", "multihash", "selection"],
    );
}

#[test]
fn exchanges() {
    check(
        "ut_metadata",
        wire::ut_metadata,
        |b| MetadataMessage::decode(b).is_ok(),
        &["short-data", "no-type", "huge-claim"],
    );
    check("ut_pex", wire::ut_pex, |b| PexMessage::decode(b).is_ok(), &["list"]);
    let holepunch = |b: &[u8]| HolepunchMessage::decode(b).is_ok();
    check("ut_holepunch", wire::ut_holepunch, holepunch, &["short", "family"]);
    let lsd = |b: &[u8]| LsdAnnounce::decode(b).is_ok();
    check("lsd", wire::lsd, lsd, &["no-port", "no-hash", "ssdp"]);
    check("metadata_fetch", exchange::metadata_fetch, |_| true, &[]);
    check("hashes", exchange::hashes, |_| true, &[]);
}

#[test]
fn states() {
    check("resume", wire::resume, |_| true, &[]);
}

#[test]
fn blocklists() {
    check(
        "blocklist",
        wire::blocklist,
        |b| Blocklist::parse(b).is_ok(),
        &["html", "gzip", "p2b-claim", "p2b-v4"],
    );
}

#[test]
fn trackers() {
    let url = |b: &[u8]| {
        TrackerUrl::parse(
            std::str::from_utf8(b).unwrap().split_once('\n').map_or("", |(url, _)| url),
        )
        .is_ok()
    };
    let whole = |b: &[u8]| url(b) || TrackerUrl::parse(std::str::from_utf8(b).unwrap()).is_ok();
    check(
        "tracker_url",
        tracker::tracker_url,
        whole,
        &["idna", "number", "no-port", "split", "two-users"],
    );
    check("tracker_http", tracker::tracker_http, |_| true, &[]);
    check("http_exchange", tracker::http_exchange, |_| true, &[]);
    check("tracker_udp", tracker::tracker_udp, |_| true, &[]);
}

#[test]
fn web_seeds() {
    check("web_seed", web_seed::fetch, |_| true, &[]);
}

#[test]
fn krpc() {
    let refused = ["no-type", "unsorted", "claim", "port", "deep"];
    check("krpc", dht::krpc, |b| Krpc::decode(b).is_ok(), &refused);
    check("dht_node", dht::dht_node, |_| true, &[]);
}

#[test]
fn mse() {
    check("mse", mse::mse, |_| true, &[]);
}

#[test]
fn port_mappings() {
    check("port_mapping", port_mapping::port_mapping, |_| true, &[]);
}

#[test]
fn proxies() {
    check("proxy", proxy::proxy, |_| true, &[]);
}

#[test]
fn utp_packets_and_streams() {
    let refused = ["short", "type", "version", "extension"];
    check("utp", utp::utp, |b| Packet::decode(b).is_ok(), &refused);
    check("utp_stream", utp::utp_stream, |_| true, &[]);
}
