//! What `metainfo` promises.

use proptest::prelude::*;

use super::*;
use crate::{base::files::FileKind, wire::bencode::Encoder};

const DIGEST: &[u8; 20] = b"aaaaaaaaaaaaaaaaaaaa";

/// A torrent whose info dictionary is `info`.
fn torrent(info: &str) -> Vec<u8> {
    format!("d4:info{info}e").into_bytes()
}

/// A single-file torrent with some more keys, which must sort after `pieces` only if the test
/// cares.
fn single(len: i64, piece_len: i64, pieces: usize, more: &str) -> Vec<u8> {
    let digests = "a".repeat(pieces * 20);
    torrent(&format!(
        "d6:lengthi{len}e4:name1:n12:piece lengthi{piece_len}e6:pieces{}:{digests}{more}e",
        digests.len()
    ))
}

/// A multi-file torrent of one piece with these entries in its `files`.
fn multi(files: &str) -> Vec<u8> {
    torrent(&format!(
        "d5:filesl{files}e4:name1:n12:piece lengthi16384e6:pieces20:{}e",
        "a".repeat(20)
    ))
}

fn error(bytes: &[u8]) -> MetainfoError {
    Metainfo::from_bytes(bytes).unwrap_err()
}

fn says(bytes: &[u8]) -> String {
    error(bytes).to_string()
}

#[test]
fn a_single_file() {
    let m = Metainfo::from_bytes(&single(16_385, 16_384, 2, "")).unwrap();
    assert!(m.single_file && !m.private && m.trackers.is_empty() && m.web_seeds.is_empty());
    assert_eq!(
        (m.name.as_str(), m.geometry.total_len(), m.geometry.piece_count()),
        ("n", 16_385, 2)
    );
    assert_eq!(*m.pieces, [*DIGEST, *DIGEST]);
    assert_eq!(
        *m.files,
        [FileEntry { path: vec![], len: 16_385, offset: 0, kind: FileKind::Regular }]
    );
}

#[test]
fn nodes_are_names_and_addresses_and_bounded() {
    let with = |nodes: &str| {
        let mut bytes = single(5, 16_384, 1, "");
        bytes.truncate(bytes.len() - 1);
        bytes.extend_from_slice(format!("5:nodes{nodes}e").as_bytes());
        let nodes = Metainfo::from_bytes(&bytes).unwrap().nodes;
        nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect::<Vec<_>>()
    };
    let all = "ll9:127.0.0.1i6881eel11:2001:db8::1i1eel12:Router.test.i80ee\
        l12:Router.test.i80eee";
    assert_eq!(with(all), ["127.0.0.1:6881", "[2001:db8::1]:1", "router.test:80"]);
    // What makes no sense is passed over.
    let strange = "li1ele1:al1:ael1:ai0eel1:ai65536eel1:ai-1eel2:-ai1eel5:127.1i1eel1:bi2e1:cee";
    assert_eq!(with(strange), ["b:2"]);
    assert_eq!((with("1:a"), with("de")), (vec![], vec![]));
    let many: String = (1..=1000).map(|port| format!("l1:ai{port}ee")).collect();
    assert_eq!(with(&format!("l{many}e")).len(), MAX_NODES);
}

#[test]
fn several_files() {
    let m = Metainfo::from_bytes(&multi(
        "d6:lengthi3e4:pathl1:a1:bee\
         d4:attr1:p6:lengthi5e4:pathl4:.pad1:5ee\
         d6:lengthi0e4:pathl5:emptyee\
         d4:attr1:l6:lengthi9e4:pathl4:linke12:symlink pathl1:aee\
         d4:attr1:l4:pathl5:link2ee\
         d4:attr2:hx6:lengthi2e4:pathl3:exeee\
         d6:lengthi4e4:pathl1:a35:_____padding_file_0_if you see thisee\
         d4:attr1:p6:lengthi1ee",
    ))
    .unwrap();
    assert!(!m.single_file);
    let files: Vec<_> =
        m.files.iter().map(|f| (f.path.join("/"), f.len, f.offset, f.kind)).collect();
    use FileKind::*;
    let expected = [
        ("a/b", 3, 0, Regular),
        (".pad/5", 5, 3, Pad),
        ("empty", 0, 8, Regular),
        ("link", 0, 8, Symlink),
        ("link2", 0, 8, Symlink),
        ("exe", 2, 8, Regular),
        ("a/_____padding_file_0_if you see this", 4, 10, Pad),
        (".pad/1", 1, 14, Pad),
    ];
    assert_eq!(
        files,
        expected.map(|(path, len, offset, kind)| (path.to_owned(), len, offset, kind))
    );
    assert_eq!(m.geometry.total_len(), 15);
}

#[test]
fn the_info_hash_is_over_the_original_bytes() {
    // FIPS 180-4's function over the dictionary as it stands: unsorted, with an unknown key.
    let info = format!(
        "d4:name1:n3:zzzli1ei2ee6:lengthi5e12:piece lengthi16384e6:pieces20:{}e",
        "a".repeat(20)
    );
    let bytes = format!("d7:comment1:c4:info{info}3:endi0ee");
    let m = Metainfo::from_bytes(bytes.as_bytes()).unwrap();
    let mut expected = [0; 20];
    use sha1::Digest as _;
    expected.copy_from_slice(&sha1::Sha1::digest(info.as_bytes()));
    assert_eq!(m.info_hash().0, expected);
    // And it is not that of the sorted one.
    assert_ne!(m.info_hash(), Metainfo::from_bytes(&single(5, 16_384, 1, "")).unwrap().info_hash());
}

#[test]
fn trackers_and_web_seeds() {
    let with = |keys: &str| {
        let bytes = single(5, 16_384, 1, "");
        let all = [b"d", keys.as_bytes(), &bytes[1..]].concat();
        let m = Metainfo::from_bytes(&all).unwrap();
        (m.trackers, m.web_seeds)
    };
    assert_eq!(with("8:announce3:udp").0, [["udp"]]);
    assert_eq!(with("8:announce3:udp13:announce-listle").0, [["udp"]]);
    assert_eq!(
        with("8:announce3:udp13:announce-listll0:1: elee").0,
        [["udp"]],
        "nothing to announce to"
    );
    let (tiers, _) = with("8:announce3:udp13:announce-listll1:a1:bel1:cee");
    assert_eq!(tiers, [vec!["a", "b"], vec!["c"]]);
    // Some write a flat list; some put things in it that are no addresses.
    assert_eq!(with("13:announce-listl1:a1:bli5e1:celee").0, [["a"], ["b"], ["c"]]);
    assert_eq!(with("8:announcei5e").0, Vec::<Vec<String>>::new());
    assert_eq!(with("8:url-list4:http").1, ["http"]);
    assert_eq!(with("8:url-list0:").1, Vec::<String>::new());
    assert_eq!(with("8:url-listl1:a3: b 0:i3ee").1, ["a", "b"]);
}

#[test]
fn malformed_optional_keys_are_ignored() {
    let keys = "d7:comment2:hi10:created by2:ct13:creation datei-5e";
    let m = Metainfo::from_bytes(
        &[keys.as_bytes(), &single(5, 16_384, 1, "7:privatei1e")[1..]].concat(),
    )
    .unwrap();
    assert_eq!(
        (m.comment.as_deref(), m.created_by.as_deref(), m.creation_date),
        (Some("hi"), Some("ct"), Some(-5))
    );
    assert!(m.private);
    let keys = "d7:commentle10:created byi1e13:creation date5:today";
    let m = Metainfo::from_bytes(
        &[keys.as_bytes(), &single(5, 16_384, 1, "7:private1:1")[1..]].concat(),
    )
    .unwrap();
    assert_eq!((m.comment, m.created_by, m.creation_date, m.private), (None, None, None, false));
    assert!(!Metainfo::from_bytes(&single(5, 16_384, 1, "7:privatei0e")).unwrap().private);
}

#[test]
fn names_prefer_valid_utf8() {
    let name = |keys: &[u8]| {
        let rest = format!("6:lengthi5e12:piece lengthi16384e6:pieces20:{}ee", "a".repeat(20));
        Metainfo::from_bytes(&[b"d4:infod", keys, rest.as_bytes()].concat()).unwrap().name
    };
    assert_eq!(name(b"4:name3:abc10:name.utf-84:\xc3\xa4\xc3\xb6"), "äö");
    assert_eq!(name(b"4:name3:abc10:name.utf-82:\xff\xfe"), "abc");
    assert_eq!(name(b"4:name3:abc10:name.utf-80:"), "abc");
    assert_eq!(name(b"4:name3:a\xffb"), "a\u{fffd}b");
    assert_eq!(name(b"4:name0:"), "");
    let path = |entry: &[u8]| {
        let rest = format!("e4:name1:n12:piece lengthi16384e6:pieces20:{}ee", "a".repeat(20));
        let bytes = [b"d4:infod5:filesld6:lengthi1e", entry, b"e", rest.as_bytes()].concat();
        Metainfo::from_bytes(&bytes).unwrap().files[0].path.clone()
    };
    assert_eq!(path(b"4:pathl1:a1:be10:path.utf-8l2:\xc3\xa41:xe"), ["ä", "x"]);
    assert_eq!(path(b"4:pathl1:a1:be10:path.utf-8l2:\xff\xff1:xe"), ["a", "b"]);
    assert_eq!(path(b"4:pathl1:a1:be10:path.utf-8le"), ["a", "b"]);
    assert_eq!(path(b"4:pathl1:\xff1:be"), ["\u{fffd}", "b"]);
    // Unsafe names are passed on: who opens files makes them safe.
    assert_eq!(path(b"4:pathl2:..0:1:/e"), ["..", "", "/"]);
}

#[test]
fn missing_or_mistyped_key_is_named() {
    let p = "a".repeat(20);
    let cases = [
        (&b""[..], "metainfo is not valid bencoding: it ends within a value, after 0 bytes"),
        (b"le", "metainfo is not a dictionary"),
        (b"de", "metainfo has no `info`"),
        (b"d4:infolee", "`info` is not a dictionary"),
        (b"d4:infodee", "metainfo has no `pieces`"),
        (b"d4:infod6:piecesi5eee", "`pieces` is not a string"),
        (b"d4:infod6:pieces3:abcee", "pieces of 3 bytes, which is not a multiple of 20"),
        (b"d4:infod6:pieces0:ee", "metainfo has no `piece length`"),
        (b"d4:infod12:piece length1:a6:pieces0:ee", "`piece length` is not an integer"),
        (b"d4:infod12:piece lengthi-1e6:pieces0:ee", "`piece length` is negative: -1"),
        (b"d4:infod12:piece lengthi1e6:pieces0:ee", "metainfo has no `name`"),
        (b"d4:infod4:namei5e12:piece lengthi1e6:pieces0:ee", "metainfo has no `name`"),
        (b"d4:infod4:name1:n12:piece lengthi1e6:pieces0:ee", "metainfo has no `length`"),
    ];
    for (bytes, message) in cases {
        assert_eq!(says(bytes), message, "{}", bytes.escape_ascii());
    }
    assert_eq!(says(&single(-1, 1, 0, "")), "`length` is negative: -1");
    assert_eq!(says(&single(0, 1, 0, "")), "impossible torrent: the torrent holds no data");
    assert_eq!(says(&single(1, 0, 0, "")), "impossible torrent: piece length 0");
    assert_eq!(
        says(&single(1 << 20, 16_384, 1, "")),
        "1 piece digests where 1 MiB in pieces of 16 KiB need 64"
    );
    assert_eq!(
        says(&single(5, 16_384, 2, "")),
        "2 piece digests where 5 bytes in pieces of 16 KiB need 1"
    );
    assert_eq!(says(&single(1, 1 << 40, 1, "")), "`piece length` of 1 TiB exceeds 512 MiB");
    assert_eq!(
        says(&single(1, (512 << 20) + 1, 1, "")),
        "`piece length` of 512 MiB exceeds 512 MiB"
    );
    assert!(says(&single(i64::MAX, 1, 0, "")).contains("exceed the 32-bit index"));
    assert_eq!(says(&multi("i5e")), "entry of file 0 is not a dictionary");
    assert_eq!(
        says(&multi("d6:lengthi1e4:pathl1:aeed6:lengthi1ee")),
        "metainfo has no `path` of file 1"
    );
    assert_eq!(says(&multi("d6:lengthi1e4:pathlee")), "metainfo has no `path` of file 0");
    assert_eq!(says(&multi("d6:lengthi1e4:path1:ae")), "`path` of file 0 is not a list of strings");
    assert_eq!(
        says(&multi("d6:lengthi1e4:pathli1eee")),
        "`path` of file 0 is not a list of strings"
    );
    assert_eq!(says(&multi("d4:pathl1:aee")), "metainfo has no `length` of file 0");
    assert_eq!(says(&multi("d6:lengthi-3e4:pathl1:aee")), "`length` of file 0 is negative: -3");
    assert_eq!(says(&multi("")), "impossible torrent: the torrent holds no data");
    assert_eq!(
        says(&multi("d6:lengthi0e4:pathl1:aee")),
        "impossible torrent: the torrent holds no data"
    );
    assert_eq!(
        says(&torrent(&format!("d5:filesi5e4:name1:n12:piece lengthi1e6:pieces20:{p}e"))),
        "`files` is not a list"
    );
}

#[test]
fn sums_do_not_overflow() {
    let huge = format!("d6:lengthi{}e4:pathl1:aee", i64::MAX);
    assert_eq!(error(&multi(&huge.repeat(2))), MetainfoError::TotalOverflow);
    assert_eq!(error(&multi(&huge.repeat(3))), MetainfoError::TotalOverflow);
    assert!(matches!(
        error(&multi(&huge)),
        MetainfoError::Geometry(GeometryError::TooManyPieces(_))
    ));
}

#[test]
fn limits_hold() {
    let limits = MetainfoLimits {
        bytes: 400,
        pieces: 3,
        files: 2,
        addresses: 1,
        ..MetainfoLimits::default()
    };
    let read = |bytes: &[u8]| {
        Metainfo::from_bytes_with(bytes, &limits).map(|_| ()).map_err(|e| e.to_string())
    };
    assert_eq!(read(&single(3, 1, 3, "")), Ok(()));
    assert_eq!(read(&single(4, 1, 4, "")), Err("4 pieces exceed the limit of 3".into()));
    let file = "d6:lengthi1e4:pathl1:aee";
    assert_eq!(read(&multi(&file.repeat(2))), Ok(()));
    assert_eq!(read(&multi(&file.repeat(3))), Err("3 files exceed the limit of 2".into()));
    assert_eq!(
        read(&single(1, 1, 1, &"1:ai1e".repeat(100))),
        Err("a metainfo of more than 400 bytes".into())
    );
    let with = |keys: &str| [b"d", keys.as_bytes(), &single(1, 1, 1, "")[1..]].concat();
    assert_eq!(
        read(&with("13:announce-listll1:ael1:bee")),
        Err("2 trackers exceed the limit of 1".into())
    );
    assert_eq!(read(&with("8:url-listl1:a1:be")), Err("2 web seeds exceed the limit of 1".into()));
    let big = vec![b'd'; (32 << 20) + 1];
    assert_eq!(says(&big), "a metainfo of more than 32 MiB");
    assert!(says(&[b"d1:a".to_vec(), vec![b'l'; 1 << 20]].concat()).contains("100 levels"));
}

#[test]
fn bytes_behind_the_dictionary_are_ignored_and_counted() {
    let bytes = single(5, 16_384, 1, "");
    let read = |after: &[u8]| Metainfo::from_bytes(&[&bytes[..], after].concat()).unwrap();
    assert_eq!(read(b"").trailing, 0);
    assert_eq!(read(b"\r\n \0\0").trailing, 0, "padding is not worth a warning");
    let odd = read(b"\nd4:infoe");
    assert_eq!((odd.trailing, odd.info_hash()), (9, read(b"").info_hash()));
    assert_eq!(odd.raw.as_deref(), Some(&bytes[..]), "what is passed on is the torrent alone");
}

#[test]
fn sizes_are_human() {
    let cases = [
        (0, "0 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (41 << 20, "41 MiB"),
        (u64::MAX, "15.9 EiB"),
    ];
    for (bytes, words) in cases {
        assert_eq!(human(bytes), words);
    }
}

#[test]
fn built_metainfo_is_read_back() {
    let mut b = MetainfoBuilder::new("größe", 16_384);
    b.file(["a", "b"], 10).pad(16_374).file(["c"], 0).file(["d"], 16_385);
    b.tracker_tier(["http://a/", "http://b/"]).tracker_tier(["udp://c/"]).web_seed("http://w/");
    b.private(true).source("s").comment("c").created_by("ct").creation_date(1_700_000_000);
    let count = b.geometry().unwrap().piece_count();
    assert_eq!(count, 3);
    let digests: Vec<_> = (0..count).map(|i| [i as u8; 20]).collect();
    let bytes = b.build(&digests).unwrap();
    let m = Metainfo::from_bytes(&bytes).unwrap();
    assert_eq!((m.name.as_str(), m.single_file, m.private), ("größe", false, true));
    assert_eq!(*m.pieces, digests[..]);
    assert_eq!(m.trackers, [vec!["http://a/", "http://b/"], vec!["udp://c/"]]);
    assert_eq!(
        (m.web_seeds, m.comment.unwrap(), m.created_by.unwrap()),
        (vec!["http://w/".into()], "c".into(), "ct".into())
    );
    assert_eq!(m.creation_date, Some(1_700_000_000));
    let files: Vec<_> = m.files.iter().map(|f| (f.path.join("/"), f.len, f.kind)).collect();
    assert_eq!(files[0], ("a/b".into(), 10, FileKind::Regular));
    assert_eq!(files[1], (".pad/16374".into(), 16_374, FileKind::Pad));
    assert_eq!(files[3].1, 16_385);

    assert!(matches!(
        b.build(&digests[1..]),
        Err(MetainfoError::PieceCount { got: 2, want: 3, .. })
    ));
    let single = MetainfoBuilder::new("f", 16_384)
        .single_file(5)
        .tracker_tier(["t"])
        .build(&[[7; 20]])
        .unwrap();
    let m = Metainfo::from_bytes(&single).unwrap();
    assert_eq!((m.single_file, m.trackers), (true, vec![vec!["t".to_owned()]]));
    let mut huge = MetainfoBuilder::new("f", u32::MAX);
    assert_eq!(
        huge.file(["a"], u64::MAX).file(["b"], 1).geometry(),
        Err(MetainfoError::TotalOverflow)
    );
    assert_eq!(
        MetainfoBuilder::new("f", 1).build(&[]),
        Err(MetainfoError::Geometry(GeometryError::Empty))
    );
}

proptest! {
    #[test]
    fn mutations_never_panic(
        at in any::<prop::sample::Index>(),
        byte: u8,
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = multi(
            "d4:attr1:p6:lengthi5e4:pathl4:.pad1:5eed6:lengthi0e10:path.utf-8l5:emptyee",
        );
        let (at, cut) = (at.index(bytes.len()), cut.index(bytes.len()));
        bytes[at] = byte;
        let _ = Metainfo::from_bytes(&bytes);
        let _ = Metainfo::from_bytes(&bytes[..cut]);
    }

    #[test]
    fn any_sizes_are_consistent_or_refused(
        lens in prop::collection::vec(0u64..100_000, 0..6),
        piece_len in 1u32..70_000,
    ) {
        let mut e = Encoder::new();
        e.dict().key(b"info").dict().key(b"files").list();
        for len in &lens {
            e.dict().key(b"length").uint(*len).key(b"path").list().bytes(b"f").end().end();
        }
        let total: u64 = lens.iter().sum();
        let count = total.div_ceil(u64::from(piece_len));
        e.end().key(b"name").bytes(b"n").key(b"piece length").uint(piece_len.into());
        e.key(b"pieces").bytes(&DIGEST.repeat(count as usize)).end().end();
        match Metainfo::from_bytes(&e.finish()) {
            Ok(m) => {
                prop_assert_eq!(m.geometry.total_len(), total);
                let mut offset = 0;
                for (f, len) in m.files.iter().zip(&lens) {
                    prop_assert_eq!((f.offset, f.len), (offset, *len));
                    offset += len;
                }
            }
            Err(e) => prop_assert!(total == 0, "{}", e),
        }
    }
}
