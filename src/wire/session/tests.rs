//! Logs that are whole, torn, damaged and made up; settings there and back.

use std::time::Duration;

use super::*;
use crate::{
    base::{
        bitfield::Bitfield,
        bucket::{Limits, Rate},
        files::Priority,
        ids::PeerId,
        storage::Trust,
        totals::Totals,
        tracker_events::{Completion, OwedEvent, TrackerEvents},
    },
    wire::{
        metainfo::{Metainfo, MetainfoBuilder, MetainfoLimits},
        resume::ResumeFile,
    },
};

const SALT: Salt = [7; 16];

fn hash(n: u8) -> WireHash {
    WireHash::v1(InfoHash([n; 20]))
}

/// Three records with bodies of different lengths, and where each begins.
fn log() -> (Vec<u8>, [usize; 4]) {
    let mut out = header(SALT).to_vec();
    let mut at = [0; 4];
    for (n, body) in [&b"first"[..], b"", &[MARK[0]; 300]].into_iter().enumerate() {
        at[n] = out.len();
        push_record(&mut out, &SALT, RecordKind::Settings, &hash(n as u8), body);
    }
    at[3] = out.len();
    (out, at)
}

/// The torrents that the records are about.
fn found(bytes: &[u8]) -> (Vec<u8>, Scanned) {
    let mut found = Vec::new();
    let scanned =
        scan(&mut &*bytes, &SALT, |record| found.push(record.info_hash.hash.0[0])).unwrap();
    (found, scanned)
}

#[test]
fn a_header_survives_the_loss_of_one_copy() {
    let whole = header(SALT);
    assert_eq!(read_header(&whole), Ok(SALT));
    for at in 0..HEADER_LEN {
        let mut damaged = whole;
        damaged[at] ^= 0x10;
        assert_eq!(read_header(&damaged), Ok(SALT), "byte {at}");
    }
    let mut both = whole;
    (both[20], both[COPY + 20]) = (0, 0);
    assert_eq!(read_header(&both), Err(LogError::Header));
    assert_eq!(read_header(b"d8:announce"), Err(LogError::Foreign));
    assert_eq!(read_header(&[]), Err(LogError::Foreign));
    let mut newer = whole;
    newer[11] = 9;
    let sum = sum(&[&newer[..28]]);
    newer[28..COPY].copy_from_slice(&sum[..4]);
    newer.copy_within(..COPY, COPY);
    assert_eq!(read_header(&newer), Err(LogError::TooNew(9)));
}

#[test]
fn a_log_torn_at_any_byte_has_every_record_before() {
    let (log, at) = log();
    for len in HEADER_LEN..=log.len() {
        let whole = at[1..].iter().filter(|&&end| end <= len).count();
        let (records, scanned) = found(&log[..len]);
        assert_eq!(records, [0, 1, 2][..whole], "{len} bytes");
        assert_eq!(
            (scanned.end, scanned.torn, scanned.damaged),
            (at[whole] as u64, (len - at[whole]) as u64, 0)
        );
    }
}

#[test]
fn a_flipped_bit_costs_one_record() {
    let (log, at) = log();
    for byte in at[0]..log.len() {
        for bit in 0..8 {
            let mut damaged = log.clone();
            damaged[byte] ^= 1 << bit;
            let hit = at[1..].iter().filter(|&&end| end <= byte).count() as u8;
            let (records, scanned) = found(&damaged);
            let others: Vec<u8> = (0..3).filter(|&n| n != hit).collect();
            assert_eq!(records, others, "byte {byte}, bit {bit}");
            // At the end it cannot be told from one that was being written.
            assert_eq!((scanned.damaged, scanned.torn > 0), (u32::from(hit < 2), hit == 2));
        }
    }
}

#[test]
fn a_length_that_is_claimed_costs_nothing() {
    let (mut log, at) = log();
    for len in [u64::MAX, 1 << 40, MAX_PAYLOAD as u64 + 1, MAX_PAYLOAD as u64, 0, 19] {
        log[at[0] + 4..at[0] + 12]
            .copy_from_slice(&(2 << 56 | len & ((1 << 56) - 1)).to_be_bytes());
        assert_eq!(found(&log).0, [1, 2], "{len}");
    }
    // A million marks, none of which begins a record.
    let mut marks = header(SALT).to_vec();
    marks.extend(MARK.repeat(1 << 20));
    assert_eq!(found(&marks).0, [0; 0]);
}

#[test]
fn record_bytes_inside_a_payload_are_no_record() {
    // An attacker makes a torrent whose metainfo looks like the removal of another, for whatever
    // salt he thinks of.
    let mut trap = Vec::new();
    push_record(&mut trap, &[0; 16], RecordKind::Removed, &hash(9), b"");
    let mut log = header(SALT).to_vec();
    let at = log.len();
    push_record(&mut log, &SALT, RecordKind::Torrent, &hash(1), &trap);
    push_record(&mut log, &SALT, RecordKind::Torrent, &hash(2), b"");
    log[at + 5] ^= 1;
    assert_eq!(found(&log).0, [2]);
}

#[test]
fn records_of_v2_and_v1_hashes_of_the_same_bytes_are_apart() {
    let mut log = header(SALT).to_vec();
    let hashes = [WireHash::v1(InfoHash([1; 20])), WireHash::v2(InfoHash([1; 20]))];
    for hash in &hashes {
        push_record(&mut log, &SALT, RecordKind::Settings, hash, b"");
    }
    let mut seen = Vec::new();
    let mut index = Index::default();
    scan(&mut log.as_slice(), &SALT, |r| {
        seen.push((r.kind, r.info_hash));
        index.note(r.at, r.size(), r.kind, r.info_hash);
    })
    .unwrap();
    assert_eq!(seen, hashes.map(|hash| (Some(RecordKind::Settings), hash)));
    assert_eq!((index.entries.len(), index.unknown.len()), (2, 0));
}

#[test]
fn index_places_are_all_records_that_count_session_first() {
    let mut log = header(SALT).to_vec();
    let zero = WireHash::v1(InfoHash([0; 20]));
    let hash = WireHash::v1(InfoHash([1; 20]));
    push_record(&mut log, &SALT, RecordKind::Torrent, &hash, b"torrent");
    push_record(&mut log, &SALT, RecordKind::Dht, &zero, b"old nodes");
    let live_from = log.len() as u64;
    push_raw(&mut log, &SALT, 77, &[&[1; 20], b"of a later version"]);
    push_record(&mut log, &SALT, RecordKind::Session, &zero, b"limits");
    push_record(&mut log, &SALT, RecordKind::Dht, &zero, b"nodes");
    let mut index = Index::default();
    let mut kinds = Vec::new();
    scan(&mut log.as_slice(), &SALT, |r| {
        index.note(r.at, r.size(), r.kind, r.info_hash);
        kinds.push((r.at, r.kind));
    })
    .unwrap();
    let places = index.places();
    let told = places
        .iter()
        .map(|place| kinds.iter().find(|(at, _)| *at == place.at()).and_then(|(_, kind)| *kind));
    use RecordKind::{Dht, Session, Torrent};
    assert_eq!(told.collect::<Vec<_>>(), [Some(Session), Some(Dht), None, Some(Torrent)]);
    assert!(places[..3].iter().all(|place| place.at() >= live_from), "the old state is gone");
    assert_eq!(index.live, places.iter().map(|place| place.size() as u64).sum::<u64>());
}

#[test]
fn kinds_of_a_later_version_are_passed_over_and_kept() {
    let mut log = header(SALT).to_vec();
    push_raw(&mut log, &SALT, 77, &[&[1; 20], b"who knows"]);
    let mut replay = Replay::default();
    scan(&mut log.as_slice(), &SALT, |record| replay.note(&record)).unwrap();
    let (index, restored) = replay.finish();
    assert_eq!((index.unknown.len(), index.live as usize), (1, log.len() - HEADER_LEN));
    assert_eq!((restored.torrents.len(), restored.damaged), (0, 0));
}

fn torrent(n: u8) -> (Vec<u8>, Metainfo) {
    let mut builder = MetainfoBuilder::new(format!("torrent {n}"), 16384);
    builder.single_file(3 * 16384);
    let bytes = builder.build(&[[n; 20]; 3]).unwrap();
    let metainfo = Metainfo::from_bytes(&bytes).unwrap();
    (bytes, metainfo)
}

fn state(metainfo: &Metainfo, uploaded: u64) -> Vec<u8> {
    let have = Bitfield::all(3);
    ResumeFile {
        identity: metainfo.identity,
        have,
        dirty: false,
        downloaded: 1,
        uploaded,
        files: vec![None],
        parts: None,
        partial: Vec::new(),
        unchecked: None,
        tracker_events: Default::default(),
        both_versions: false,
    }
    .encode()
}

#[test]
fn last_record_of_a_torrent_counts() {
    let (torrents, settings): (Vec<_>, _) = ((0..3).map(torrent).collect(), |dir: &str| {
        TorrentSettings { dir: dir.into(), ..TorrentSettings::default() }
    });
    let mut log = header(SALT).to_vec();
    let mut push = |n: usize, kind, body: &[u8]| {
        push_record(&mut log, &SALT, kind, &torrents[n].1.identity.key(), body)
    };
    let add = |n: usize, dir| join_torrent(&settings(dir), &torrents[n].0);
    // The state is of one that was added before and never recorded.
    push(1, RecordKind::State, &state(&torrents[1].1, 5));
    for n in [2, 1, 0] {
        push(n, RecordKind::Torrent, &add(n, "a"));
    }
    push(0, RecordKind::State, &state(&torrents[0].1, 5));
    push(0, RecordKind::Settings, &settings("b").encode());
    push(0, RecordKind::State, &state(&torrents[0].1, 6));
    push(2, RecordKind::Settings, &settings("c").encode());
    push(2, RecordKind::State, &state(&torrents[2].1, 7));
    push(2, RecordKind::Removed, b"");
    push(0, RecordKind::Settings, b"nonsense");
    let mut replay = Replay::default();
    let scanned = scan(&mut log.as_slice(), &SALT, |record| replay.note(&record)).unwrap();
    assert_eq!(scanned, Scanned { end: log.len() as u64, damaged: 0, torn: 0 });
    let (index, restored) = replay.finish();
    let told: Vec<_> = restored
        .torrents
        .iter()
        .map(|t| {
            (
                t.metainfo.as_ref().unwrap().name.as_str(),
                t.settings.dir.to_str().unwrap(),
                t.state.as_ref().map(|s| s.uploaded),
            )
        })
        .collect();
    assert_eq!(told, [("torrent 1", "a", None), ("torrent 0", "b", Some(6))]);
    assert_eq!(restored.damaged, 1, "one record makes no sense");
    assert!(restored.torrents.iter().all(|t| t.metainfo.as_ref().unwrap().raw.is_none()));
    let live: usize = index.places().iter().map(|place| place.size()).sum();
    assert_eq!(index.live, live as u64);
    // Added again, it is a new one, with its old state gone.
    push_record(&mut log, &SALT, RecordKind::Torrent, &torrents[2].1.identity.key(), &add(2, "d"));
    let mut replay = Replay::default();
    scan(&mut log.as_slice(), &SALT, |record| replay.note(&record)).unwrap();
    let again = replay.finish().1.torrents.pop().unwrap();
    assert_eq!((again.metainfo.unwrap().name.as_str(), again.state), ("torrent 2", None));
}

#[test]
fn magnet_record_keeps_its_place_when_the_metainfo_comes() {
    let (bytes, metainfo) = torrent(0);
    let (other, first) = torrent(1);
    let link = format!("magnet:?xt=urn:btih:{}", metainfo.info_hash());
    let settings = TorrentSettings { dir: "a".into(), ..TorrentSettings::default() };
    let by_link = TorrentSettings { magnet: Some(link), ..settings.clone() };
    let mut log = header(SALT).to_vec();
    let key = metainfo.identity.key();
    push_record(&mut log, &SALT, RecordKind::Torrent, &key, &join_torrent(&by_link, &[]));
    let body = join_torrent(&settings, &other);
    push_record(&mut log, &SALT, RecordKind::Torrent, &first.identity.key(), &body);
    let read = |log: &[u8]| {
        let mut replay = Replay::default();
        scan(&mut &*log, &SALT, |record| replay.note(&record)).unwrap();
        replay.finish().1
    };
    let before = read(&log);
    assert_eq!((before.torrents.len(), before.damaged), (2, 0));
    assert!(before.torrents[0].metainfo.is_none());
    assert_eq!(before.torrents[0].settings, by_link);
    push_record(&mut log, &SALT, RecordKind::Torrent, &key, &join_torrent(&settings, &bytes));
    let after = read(&log);
    let names: Vec<_> =
        after.torrents.iter().map(|t| t.metainfo.as_ref().unwrap().name.as_str()).collect();
    assert_eq!(names, ["torrent 0", "torrent 1"]);
    assert_eq!(after.torrents[0].settings, settings);
    // Without a link there is nothing to know it by.
    let mut log = header(SALT).to_vec();
    push_record(&mut log, &SALT, RecordKind::Torrent, &key, &join_torrent(&settings, &[]));
    assert_eq!(read(&log).damaged, 1);
}

#[test]
fn state_before_a_magnet_record_is_not_that_torrents() {
    let (bytes, metainfo) = torrent(0);
    let link = format!("magnet:?xt=urn:btih:{}", metainfo.info_hash());
    let settings = TorrentSettings { dir: "a".into(), ..TorrentSettings::default() };
    let by_link = TorrentSettings { magnet: Some(link), ..settings.clone() };
    let early = (RecordKind::State, state(&metainfo, 5));
    let magnet = (RecordKind::Torrent, join_torrent(&by_link, &[]));
    let whole = (RecordKind::Torrent, join_torrent(&settings, &bytes));
    let read = |records: [&(RecordKind, Vec<u8>); 3]| {
        let mut log = header(SALT).to_vec();
        for (kind, body) in records {
            push_record(&mut log, &SALT, *kind, &metainfo.identity.key(), body);
        }
        let mut replay = Replay::default();
        scan(&mut log.as_slice(), &SALT, |record| replay.note(&record)).unwrap();
        let (index, mut restored) = replay.finish();
        let entry = index.entries.get(&metainfo.identity.key()).unwrap();
        (entry.state.is_some(), restored.torrents.pop().unwrap().state.is_some())
    };
    // It is of one of the same hash that was never recorded, perhaps in another folder.
    assert_eq!(read([&early, &magnet, &whole]), (false, false));
    assert_eq!(read([&magnet, &early, &whole]), (true, true));
}

fn all_settings() -> TorrentSettings {
    TorrentSettings {
        magnet: Some("magnet:?xt=urn:btih:aa".into()),
        dir: "/somewhere/ä".into(),
        peers: vec!["192.0.2.1:6881".parse().unwrap(), "[2001:db8::1]:80".parse().unwrap()],
        web_seeds: vec!["http://w/".into(), "https://v/a b".into()],
        removed_web_seeds: vec!["http://gone/".into()],
        trackers: Some(vec![vec!["http://a".into(), "udp://b".into()], vec![]]),
        sequential: true,
        trust: Trust::Files,
        paused: true,
        super_seed: true,
        priorities: vec![Priority::Skip, Priority::Low, Priority::Normal, Priority::High],
        renames: vec![(3, "b/c".into())],
        queued: true,
        queue_order: Some(u64::MAX - 5),
        totals: Totals {
            downloaded: 1,
            uploaded: 2,
            active: Duration::from_millis(3),
            seeding: Duration::from_secs(4),
        },
        tracker_events: TrackerEvents {
            completion: Completion::Told,
            owed: vec![OwedEvent {
                url: "udp://b".into(),
                completed: false,
                peer_id: PeerId([5; 20]),
                key: 6,
                uploaded: 7,
                downloaded: 8,
                left: 9,
            }],
        },
        stop: Some((Some(150), Some(Duration::from_secs(3600)))),
        labels: vec!["music".into(), "".into()],
        limits: Limits { down: Rate::new(1000), up: None },
        encryption: EncryptionSettings { policy: Some(3), methods: Some(2) },
    }
}

#[test]
fn settings_survive_encoding() {
    let plain = TorrentSettings { dir: "x".into(), ..TorrentSettings::default() };
    let none =
        TorrentSettings { trackers: Some(vec![]), stop: Some((None, None)), ..plain.clone() };
    let checked = TorrentSettings { trust: Trust::Nothing, ..plain.clone() };
    let elsewhere = TorrentSettings { trust: Trust::Elsewhere, ..plain.clone() };
    for settings in [plain, none, checked, elsewhere, all_settings()] {
        assert_eq!(TorrentSettings::decode(&settings.encode()), Ok(settings));
    }
    let session = SessionSettings {
        limits: Some(Limits::default()),
        peer_limits: Some(Limits { down: None, up: Rate::new(5) }),
        active: Some([3, 5, 8, 1]),
        stop: Some((Some(150), None)),
    };
    assert_eq!(SessionSettings::decode(&session.encode()), Ok(session));
    assert_eq!(SessionSettings::decode(b"de"), Ok(SessionSettings::default()));
}

#[test]
fn nonsense_in_settings_is_named() {
    for (bytes, field) in [
        (&b"de"[..], "dir"),
        (b"d3:diri1ee", "dir"),
        (b"d3:dir1:x10:encryptioni4ee", "encryption"),
        (b"d3:dir1:x18:encryption methodsi4ee", "encryption methods"),
        (b"d3:dir1:x6:labelsli1eee", "labels"),
        (b"d3:dir1:x6:limitsi1ee", "limits"),
        (b"d3:dir1:x6:pausedi2ee", "paused"),
        (b"d3:dir1:x5:peersl7:nowhereee", "peers"),
        (b"d3:dir1:x10:priorities1:\x09e", "priorities"),
        (b"d3:dir1:x7:renamesli1eee", "renames"),
        (b"d3:dir1:x7:renamesll1:xeee", "renames"),
        (b"d3:dir1:x4:stopd5:ratioi-1eee", "ratio"),
        (b"d3:dir1:x8:trackersl1:xee", "trackers"),
    ] {
        assert_eq!(TorrentSettings::decode(bytes), Err(SettingsError::Field(field)));
    }
    let whole = all_settings().encode();
    for len in 0..whole.len() {
        assert!(TorrentSettings::decode(&whole[..len]).is_err());
    }
}

#[test]
fn written_log_of_any_length_is_read_back() {
    let many: Vec<String> = (0..20_000).map(|n| format!("http://t/{n}")).collect();
    let settings =
        TorrentSettings { labels: many.clone(), trackers: Some(vec![many]), ..all_settings() };
    assert_eq!(TorrentSettings::decode(&settings.encode()), Ok(settings.clone()));
    let longest =
        TorrentSettings { stop: Some((Some(u32::MAX), Some(Duration::MAX))), ..all_settings() };
    assert!(TorrentSettings::decode(&longest.encode()).is_ok());
    // A metainfo that is beyond what is taken by default, as another program may have read it.
    let (bytes, _) = torrent(1);
    let announce: String =
        (0..20_000).map(|n| format!("l{}:http://t/{n}e", 9 + n.to_string().len())).collect();
    let bytes = [format!("d13:announce-listl{announce}e").as_bytes(), &bytes[1..]].concat();
    assert!(Metainfo::from_bytes(&bytes).is_err());
    let limits = MetainfoLimits { addresses: 100_000, ..MetainfoLimits::default() };
    let metainfo = Metainfo::from_bytes_with(&bytes, &limits).unwrap();
    let mut log = header(SALT).to_vec();
    push_record(
        &mut log,
        &SALT,
        RecordKind::Torrent,
        &metainfo.identity.key(),
        &join_torrent(&settings, &bytes),
    );
    let mut replay = Replay::default();
    scan(&mut log.as_slice(), &SALT, |record| replay.note(&record)).unwrap();
    let restored = replay.finish().1;
    assert_eq!((restored.torrents.len(), restored.damaged), (1, 0));
    assert_eq!(
        (
            restored.torrents[0].settings.clone(),
            restored.torrents[0].metainfo.as_ref().unwrap().trackers.len()
        ),
        (settings, 20_000)
    );
}
