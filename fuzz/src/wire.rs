//! The promises of the wire layer: any bytes are read or refused cleanly, within bounds, and
//! however they are cut.

use cratetorrent::{
    Identity, InfoHash, IpFilter,
    driver::{RecordKind, WireHash},
    wire::{
        bencode::{Document, Encoder, Kind, Limits, Value},
        blocklist::{Blocklist, BlocklistLimits, MAX_BAD_LINES_TOLD},
        extension::ExtensionHandshake,
        frame::{Decoder, FrameError},
        handshake::{HANDSHAKE_HEAD_LEN, HANDSHAKE_LEN, Handshake, HandshakeHead},
        lsd::{LSD_GROUP_V4, LSD_GROUP_V6, LsdAnnounce, MAX_LSD_HASHES},
        magnet::{MAX_MAGNET_ADDRESSES, Magnet, MagnetError},
        message::Message,
        metainfo::{FileKind, MAX_NODES, Metainfo, MetainfoLimits},
        resume::ResumeFile,
        session::{self, DoubtfulFiles, HEADER_LEN, Replay, SessionSettings, TorrentSettings},
        ut_holepunch::HolepunchMessage,
        ut_metadata::{METADATA_BLOCK, MetadataMessage, metadata_block_len},
        ut_pex::{MAX_PEX_CONTACTS, PexMessage},
    },
};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};

/// A stream gives the same frames and the same error however it is cut, and memory follows what
/// came, not what was claimed. The first byte says how many of the next ones are lengths of chunks;
/// the rest is the stream.
pub fn message(data: &[u8]) {
    let Some((&count, data)) = data.split_first() else { return };
    let (lens, stream) = data.split_at(usize::from(count % 16).min(data.len()));
    let whole = frames(&[stream]);
    let mut chunks = Vec::new();
    let mut rest = stream;
    for &len in lens {
        let (chunk, tail) = rest.split_at(usize::from(len).min(rest.len()));
        chunks.push(chunk);
        rest = tail;
    }
    chunks.push(rest);
    assert_eq!(frames(&chunks), whole);
    assert_eq!(frames(&stream.chunks(1).collect::<Vec<_>>()), whole);
}

type Frames = (Vec<Vec<u8>>, Result<(), FrameError>);

fn frames(chunks: &[&[u8]]) -> Frames {
    let mut decoder = Decoder::new(1 << 20);
    let mut out = Vec::new();
    let mut come = 0;
    for &chunk in chunks {
        let mut input = chunk;
        come += chunk.len();
        loop {
            match decoder.next(&mut input) {
                Ok(Some(frame)) => {
                    let message = Message::decode(frame);
                    assert!(message.is_ok(), "the decoder lent {frame:?}, which is {message:?}");
                    out.push(frame.to_vec());
                }
                Ok(None) => break assert!(input.is_empty()),
                Err(e) => return (out, Err(e)),
            }
        }
        assert!(decoder.held() <= 2 * come + 4096);
    }
    (out, Ok(()))
}

/// What decodes encodes to the same bytes.
pub fn message_roundtrip(data: &[u8]) {
    let Ok(message) = Message::decode(data) else { return };
    let mut out = Vec::new();
    message.encode_into(&mut out);
    let (len, frame) = out.split_at(4);
    assert_eq!(frame, data);
    assert_eq!(len, (data.len() as u32).to_be_bytes());
}

/// Every list and dictionary is made of its parts' spans, and every part parses alone to the same.
pub fn bencode(data: &[u8]) {
    let limits = Limits { tokens: 10_000, ..Limits::default() };
    let Ok((document, len)) = Document::parse_prefix(data, &limits) else { return };
    let root = document.root();
    assert_eq!(root.raw(), &data[..len]);
    assert_eq!(Document::parse_with(data, &limits).is_ok(), len == data.len());
    let mut left = vec![root];
    while let Some(value) = left.pop() {
        let raw = value.raw();
        let Ok(alone) = Document::parse(raw) else { panic!("{value:?} does not parse alone") };
        assert_eq!(alone.root().kind(), value.kind());
        assert_eq!(encode(value, &mut left), raw);
    }
}

/// Encodes one level of `value`, and adds what it contains to `left`.
fn encode<'a>(value: Value<'a>, left: &mut Vec<Value<'a>>) -> Vec<u8> {
    let mut e = Encoder::new();
    match value.kind() {
        Kind::Int => _ = e.int(value.as_int().unwrap_or_default()),
        Kind::Bytes => _ = e.bytes(value.as_bytes().unwrap_or_default()),
        Kind::List => {
            e.list();
            for item in value.as_list().into_iter().flatten() {
                e.raw(item.raw());
                left.push(item);
            }
            e.end();
        }
        // By hand: the encoder insists on sorted keys.
        Kind::Dict => {
            let mut out = vec![b'd'];
            for (key, item) in value.as_dict().into_iter().flatten() {
                assert!(value.get(key).is_some());
                out.extend_from_slice(format!("{}:", key.len()).as_bytes());
                out.extend_from_slice(key);
                out.extend_from_slice(item.raw());
                left.push(item);
            }
            out.push(b'e');
            return out;
        }
    }
    e.finish()
}

/// A torrent that is accepted is consistent and within its limits.
pub fn metainfo(data: &[u8]) {
    let limits = MetainfoLimits {
        tokens: 10_000,
        files: 50,
        pieces: 100,
        addresses: 20,
        ..MetainfoLimits::default()
    };
    let _ = Metainfo::from_bytes(data);
    let Ok(m) = Metainfo::from_bytes_with(data, &limits) else { return };
    let pieces = m.geometry.piece_count() as usize;
    let (v1, v2) = (m.identity.v1(), m.identity.v2());
    assert_eq!(m.pieces.len(), if v1.is_some() { pieces } else { 0 });
    // Between the files of version 2 there are pads that no limit counts.
    assert!(pieces <= 100 && (1..=100).contains(&m.files.len()));
    assert_eq!(m.trees.is_some(), v2.is_some());
    if let Some(trees) = &m.trees {
        let of_trees: u32 = trees.files().iter().map(|tree| tree.pieces).sum();
        assert_eq!(of_trees as usize, pieces);
        assert_eq!(trees.files().iter().map(|tree| tree.len).sum::<u64>(), m.geometry.held_len());
        assert!(trees.layers().all(|(root, layer)| trees.clone().set_layer(root, layer).is_ok()));
    }
    assert!(m.trackers.iter().map(Vec::len).sum::<usize>() <= 20 && m.web_seeds.len() <= 20);
    assert!(m.nodes.len() <= MAX_NODES);
    assert!(
        m.trackers.iter().all(|tier| !tier.is_empty() && tier.iter().all(|url| !url.is_empty()))
    );
    let mut offset = 0;
    for file in m.files.iter() {
        assert_eq!(file.offset, offset);
        assert!(file.kind != FileKind::Symlink || file.len == 0);
        assert_eq!(file.path.is_empty(), m.single_file);
        offset += file.len;
    }
    assert_eq!(offset, m.geometry.total_len());
    assert!(!m.single_file || m.files.len() == 1);
    // The name on the network is that of some dictionary within the file.
    let info = Document::parse_prefix(data, &Limits::default()).ok();
    let raw = info.as_ref().and_then(|(document, _)| document.root().get(b"info")).map(|v| v.raw());
    let raw = raw.unwrap_or_default();
    assert!(v1.is_none_or(|v1| digest(&SHA1_FOR_LEGACY_USE_ONLY, raw).as_ref() == v1.0));
    assert!(v2.is_none_or(|v2| digest(&SHA256, raw).as_ref() == v2.0));
}

/// A message that is read is written and read again as the same, and a block fits its claim.
pub fn ut_metadata(data: &[u8]) {
    let Ok(message) = MetadataMessage::decode(data) else { return };
    assert_eq!(MetadataMessage::decode(&message.encode()), Ok(message));
    if let MetadataMessage::Data { block, total, data } = message {
        assert_eq!(metadata_block_len(total, block), u32::try_from(data.len()).ok());
        assert!(!data.is_empty() && data.len() <= METADATA_BLOCK as usize);
    }
}

/// A message that is read is within bounds, and is written and read again as the same.
pub fn ut_pex(data: &[u8]) {
    let Ok(message) = PexMessage::decode(data) else { return };
    assert!(message.added.len() <= MAX_PEX_CONTACTS && message.dropped.len() <= MAX_PEX_CONTACTS);
    let dialled = message.added.iter().map(|(addr, _)| addr).chain(&message.dropped);
    assert!(dialled.into_iter().all(|addr| addr.port() != 0 && !addr.ip().is_unspecified()));
    // IPv6 comes after IPv4 in what is written, as in what was read, so the order stays.
    let again = PexMessage::decode(&message.encode());
    let sorted = |mut m: PexMessage| {
        m.added.sort_unstable();
        m.dropped.sort_unstable();
        m
    };
    assert_eq!(again.map(sorted), Ok(sorted(message)));
}

/// A message that is read is written and read again as the same.
pub fn ut_holepunch(data: &[u8]) {
    let Ok(message) = HolepunchMessage::decode(data) else { return };
    assert_eq!(HolepunchMessage::decode(&message.encode()), Ok(message));
}

/// A packet that is read is within bounds, and is written and read again as the same.
pub fn lsd(data: &[u8]) {
    let Ok(announce) = LsdAnnounce::decode(data) else { return };
    assert!(announce.port != 0 && (1..=MAX_LSD_HASHES).contains(&announce.info_hashes.len()));
    for group in [LSD_GROUP_V4, LSD_GROUP_V6] {
        let packet = announce.encode(group);
        assert!(packet.len() <= 1400);
        assert_eq!(LsdAnnounce::decode(&packet).as_ref(), Ok(&announce));
    }
}

/// A link that is accepted is within bounds, and what is printed of it reads back as the same.
pub fn magnet(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(magnet) = text.parse::<Magnet>() else { return };
    let lists = [magnet.trackers.len(), magnet.web_seeds.len(), magnet.peers.len()];
    assert!(lists.iter().all(|&len| len <= MAX_MAGNET_ADDRESSES));
    let link = magnet.to_string();
    assert!(link.is_ascii() && !link.contains(|c: char| c.is_whitespace() || c.is_control()));
    // What is printed is longer than what was read if much of it must be escaped.
    match link.parse() {
        Ok(again) => assert_eq!(Magnet { ignored: 0, ..magnet }, again),
        Err(MagnetError::TooLong(_)) => assert!(3 * text.len() > link.len() / 2),
        Err(error) => panic!("{link}: {error}"),
    }
}

/// A state that is accepted is written the same way again. The checksum is no obstacle: it is put
/// right. The first three bytes choose the torrent.
pub fn resume(data: &[u8]) {
    let Some((&[pieces, files, hash], body)) = data.split_first_chunk::<3>() else { return };
    let (pieces, files, hash) = (u32::from(pieces) + 1, usize::from(files), InfoHash([hash; 20]));
    let hash = Identity::of_v1(hash);
    let _ = ResumeFile::decode(body, pieces, files, &hash);
    let sealed = [body, digest(&SHA1_FOR_LEGACY_USE_ONLY, body).as_ref()].concat();
    let Ok(state) = ResumeFile::decode(&sealed, pieces, files, &hash) else { return };
    assert_eq!((state.have.len(), state.files.len(), state.identity), (pieces, files, hash));
    let encoded = state.encode();
    assert!(encoded.len() <= ResumeFile::max_len(pieces, files));
    assert_eq!(ResumeFile::decode(&encoded, pieces, files, &hash), Ok(state));
}

/// A handshake is known after 48 and 68 bytes, and refused at the first byte that is wrong.
pub fn handshake(data: &[u8]) {
    let whole = Handshake::parse(data);
    match whole {
        Ok(Some((handshake, len))) => {
            assert_eq!(len, HANDSHAKE_LEN);
            assert_eq!(handshake.encode(), data[..len]);
        }
        Ok(None) => assert!(data.len() < HANDSHAKE_LEN),
        Err(e) => assert_eq!(data[e.at], e.byte),
    }
    for len in 0..data.len().min(HANDSHAKE_LEN) {
        let prefix = &data[..len];
        match whole {
            Err(e) if len > e.at => {
                assert_eq!(Handshake::parse(prefix), Err(e));
                assert_eq!(HandshakeHead::parse(prefix), Err(e));
            }
            _ => {
                assert_eq!(Handshake::parse(prefix), Ok(None));
                assert_eq!(
                    HandshakeHead::parse(prefix).map(|h| h.is_some()),
                    Ok(len >= HANDSHAKE_HEAD_LEN)
                );
            }
        }
    }
}

/// What is read of an extension handshake is read again from what is written of it.
pub fn extension(data: &[u8]) {
    let Ok(handshake) = ExtensionHandshake::decode(data) else { return };
    assert!(handshake.extensions().count() <= 128);
    assert_eq!(ExtensionHandshake::decode(&handshake.encode()), Ok(handshake));
}

/// What a list blocks is in order and within the limits, and written out it is read as the same
/// again, whatever the line ends.
pub fn blocklist(data: &[u8]) {
    let limits = BlocklistLimits { bytes: 1 << 20, ranges: 100, line: 200 };
    let Ok(list) = Blocklist::parse_with(data, &limits) else { return };
    assert!(list.ranges <= limits.ranges && list.filter.len() <= list.ranges);
    assert_eq!(list.first_bad.len(), list.bad.min(MAX_BAD_LINES_TOLD));
    let ranges: Vec<_> = list.filter.ranges().collect();
    assert!(ranges.windows(2).all(|w| w[0].last() < w[1].first()), "{ranges:?}");
    // An end that stands for an IPv4 address is not looked up among those of IPv6.
    let mut ends =
        ranges.iter().flat_map(|r| [r.first(), r.last()]).filter(|ip| ip.to_canonical() == *ip);
    assert!(ends.all(|ip| list.filter.blocks(ip)));
    assert_eq!(ranges.iter().copied().rev().collect::<IpFilter>(), list.filter);
    for (before, end) in [("", "\n"), ("some: body:", "\r\n")] {
        let text: String = ranges.iter().map(|range| format!("{before}{range}{end}")).collect();
        let again = Blocklist::parse_with(text.as_bytes(), &limits);
        assert_eq!(
            again.map(|again| (again.filter, again.ranges, again.bad)),
            Ok((list.filter.clone(), ranges.len(), 0))
        );
    }
}

/// Whatever a log holds, it is read in bounded time, what counts lies within it, and records
/// appended behind it are found. Settings that are read are read again from what is written of
/// them. The input is a list of stretches: a byte that says how it gets into the log (as it is, or
/// as a record of that kind, and about which torrent), two for its length, its bytes: of a torrent
/// its metainfo, of a state all but the checksum.
pub fn session_state(data: &[u8]) {
    let salt = [9; 16];
    let _ = session::read_header(data);
    let mut log = session::header(salt).to_vec();
    let mut last = WireHash::v1(InfoHash([0; 20]));
    let mut rest = data;
    while let Some((&[how, high, low], after)) = rest.split_first_chunk::<3>() {
        let len = usize::from(u16::from_be_bytes([high, low])).min(after.len());
        let (stretch, after) = after.split_at(len);
        rest = after;
        let kinds = [
            RecordKind::Torrent,
            RecordKind::Settings,
            RecordKind::State,
            RecordKind::Removed,
            RecordKind::Session,
            RecordKind::Dht,
        ];
        let hash = if how & 8 == 0 { WireHash::v1(InfoHash([how / 64; 20])) } else { last };
        match kinds.get(usize::from(how % 8)) {
            Some(&RecordKind::Torrent) => {
                last =
                    Metainfo::from_bytes(stretch).map_or(hash, |metainfo| metainfo.identity.key());
                let settings = b"d3:dir1:xe";
                let body =
                    [&(settings.len() as u32).to_be_bytes(), &settings[..], stretch].concat();
                session::push_record(&mut log, &salt, RecordKind::Torrent, &last, &body);
            }
            Some(&RecordKind::State) => {
                let sealed =
                    [stretch, digest(&SHA1_FOR_LEGACY_USE_ONLY, stretch).as_ref()].concat();
                session::push_record(&mut log, &salt, RecordKind::State, &hash, &sealed);
            }
            Some(&kind) => session::push_record(&mut log, &salt, kind, &hash, stretch),
            None => log.extend_from_slice(stretch),
        }
        if let Ok(settings) = TorrentSettings::decode(stretch) {
            assert_eq!(TorrentSettings::decode(&settings.encode()), Ok(settings));
        }
        if let Ok(files) = DoubtfulFiles::decode(stretch) {
            assert_eq!(DoubtfulFiles::decode(&files.encode()), Ok(files));
        }
        if let Ok(settings) = SessionSettings::decode(stretch) {
            assert_eq!(SessionSettings::decode(&settings.encode()), Ok(settings));
        }
    }
    let mut replay = Replay::default();
    let mut count = 0;
    let Ok(scanned) = session::scan(&mut log.as_slice(), &salt, |record| {
        count += 1;
        replay.note(&record);
    }) else {
        panic!("bytes in memory can be read");
    };
    assert!(HEADER_LEN as u64 <= scanned.end && scanned.end + scanned.torn == log.len() as u64);
    let (index, restored) = replay.finish();
    assert!(restored.torrents.len() <= count);
    let mut live = 0;
    for place in index.places() {
        let (from, to) = (place.at() as usize, place.at() as usize + place.size());
        assert!(
            to as u64 <= scanned.end
                && session::Record::parse(place.at(), &log[from..to], &salt).is_some()
        );
        live += place.size() as u64;
    }
    assert_eq!(live, index.live);
    log.truncate(scanned.end as usize);
    let removed = WireHash::v1(InfoHash([1; 20]));
    session::push_record(&mut log, &salt, RecordKind::Removed, &removed, b"");
    let mut again = 0;
    let scanned = session::scan(&mut log.as_slice(), &salt, |_| again += 1);
    assert_eq!(
        (again, scanned.map(|s| (s.end, s.torn)).ok()),
        (count + 1, Some((log.len() as u64, 0)))
    );
}
