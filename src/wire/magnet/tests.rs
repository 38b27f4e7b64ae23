//! What `magnet` promises.

use proptest::prelude::*;

use super::{selection::MAX_RANGES, *};
use crate::{
    base::ids::{InfoHash, InfoHashV2},
    wire::metainfo::{Format, MetainfoBuilder},
};

const V1: &str = "c9e15763f722f23e98a29decdfae341b98d53056";

fn parse(link: &str) -> Result<Magnet, MagnetError> {
    link.parse()
}

/// A link with a hash and these parameters.
fn with(parameters: &str) -> Magnet {
    parse(&format!("magnet:?xt=urn:btih:{V1}&{parameters}")).unwrap()
}

#[test]
fn metainfo_link_escapes_foreign_words_and_bounds_addresses() {
    let mut builder = MetainfoBuilder::new("größe & more\n", 16_384);
    builder.single_file(3).web_seed("http://w/?a=b");
    for n in 0..30 {
        builder.tracker_tier([format!("http://t{n}/announce?key=ä")]);
    }
    let metainfo = Metainfo::from_bytes(&builder.build(&[[1; 20]]).unwrap()).unwrap();
    let link = metainfo.magnet().to_string();
    let begin = format!(
        "magnet:?xt=urn:btih:{}&dn=gr%C3%B6%C3%9Fe%20%26%20more%0A&xl=3&tr=http",
        metainfo.info_hash()
    );
    assert!(link.starts_with(&begin), "{link}");
    assert_eq!(link.matches("&tr=").count(), 20);
    assert!(link.contains("&tr=http%3A%2F%2Ft19%2Fannounce%3Fkey%3D%C3%A4"), "{link}");
    assert!(link.ends_with("&ws=http%3A%2F%2Fw%2F%3Fa%3Db"), "{link}");
    assert!(link.is_ascii() && !link.contains([' ', '\n']));
    assert_eq!(parse(&link), Ok(metainfo.magnet()));
}

#[test]
fn hash_in_hex_base32_or_percent_encoding_is_the_same() {
    // Computed with Python's base64.b32encode.
    let links = [
        format!("magnet:?xt=urn:btih:{V1}"),
        format!("MAGNET:?XT=URN:BTIH:{}", V1.to_uppercase()),
        format!(" magnet:?dn=x&xt.1=urn%3Abtih%3A{V1}\n"),
        "magnet:?xt=urn:btih:ZHQVOY7XELZD5GFCTXWN7LRUDOMNKMCW".into(),
        "magnet:?xt=urn:btih:zhqvoy7xelzd5gfctxwn7lrudomnkmcw".into(),
    ];
    for link in links {
        let magnet = parse(&link).unwrap();
        assert_eq!(magnet.identity.v1().unwrap().to_string(), V1, "{link}");
    }
}

#[test]
fn hybrid_link_has_both_hashes() {
    let v2 = "ab".repeat(32);
    let link = format!("magnet:?xt=urn:btih:{V1}&xt=urn:btmh:1220{v2}");
    let magnet = parse(&link).unwrap();
    assert_eq!(magnet.identity.v1().unwrap().to_string(), V1);
    assert_eq!(magnet.identity.v2(), Some(InfoHashV2([0xab; 32])));
    assert_eq!(magnet.to_string(), link);
    let alone = parse(&format!("magnet:?xt=urn:btmh:1220{v2}")).unwrap();
    assert_eq!(alone.identity, Identity::of_v2(InfoHashV2([0xab; 32])));
}

#[test]
fn conflicting_or_broken_hashes_are_refused() {
    let other = "00".repeat(20);
    let cases = [
        ("http://x/".into(), MagnetError::Scheme),
        ("magnet".into(), MagnetError::Scheme),
        ("magnet:?".into(), MagnetError::NoHash),
        ("magnet:?xt=urn:sha1:YNCKHTQCWBTRNJIV4WNAE52SJUQCZO5C&dn=x".into(), MagnetError::NoHash),
        ("magnet:?xt=urn:btih:00".into(), MagnetError::Btih),
        (format!("magnet:?xt=urn:btih:{}", "g".repeat(40)), MagnetError::Btih),
        (format!("magnet:?xt=urn:btih:{}", "1".repeat(32)), MagnetError::Btih),
        (format!("magnet:?xt=urn:btih:{}", "é".repeat(16)), MagnetError::Btih),
        (format!("magnet:?xt=urn:btmh:1220{}", "a".repeat(63)), MagnetError::Btmh),
        (format!("magnet:?xt=urn:btmh:1114{}", "a".repeat(64)), MagnetError::Btmh),
        (format!("magnet:?xt=urn:btih:{V1}&xt.2=urn:btih:{other}"), MagnetError::Conflict("btih")),
        (
            format!("magnet:?xt=urn:btmh:1220{:064}&xt=urn:btmh:1220{:064}", 1, 2),
            MagnetError::Conflict("btmh"),
        ),
        (
            format!("magnet:?xt=urn:btih:{V1}&so=5-4"),
            MagnetError::Selection(SelectionError::Backwards(5, 4)),
        ),
        (format!("magnet:?xt=urn:btih:{V1}&so=x"), MagnetError::Selection(SelectionError::Syntax)),
        (format!("magnet:?{}", "x".repeat(MAX_MAGNET)), MagnetError::TooLong(MAX_MAGNET + 8)),
    ];
    for (link, error) in cases {
        assert_eq!(parse(&link), Err(error), "{}", link.get(..100).unwrap_or(&link));
    }
    assert!(parse(&format!("magnet:?xt=urn:btih:{V1}&xt=urn:btih:{V1}")).is_ok(), "said twice");
}

#[test]
fn parameters_are_read_decoded_and_numbered() {
    let magnet = with(
        "dn=a+%C3%A9%2Bb&dn=other&xl=77&tr=udp%3A%2F%2Fa%3A1&tr.2=http://b/?x=%26&tr=udp://a:1\
         &ws=http%3A%2F%2Fw%2F&x.pe=192.0.2.7:6881&x.pe=%5B2001:db8::1%5D:5&x.pe.3=198.51.100.1:9\
         &dht=router.example:6881&dht=[2001:db8::2]:1&as=x&xs=y&kt=z&unknown",
    );
    assert_eq!(magnet.name.as_deref(), Some("a é+b"));
    assert_eq!(magnet.len, Some(77));
    assert_eq!(magnet.trackers, ["udp://a:1", "http://b/?x=&"]);
    assert_eq!(magnet.web_seeds, ["http://w/"]);
    let peers = ["192.0.2.7:6881", "[2001:db8::1]:5", "198.51.100.1:9"];
    assert_eq!(magnet.peers, peers.map(|peer| peer.parse().unwrap()));
    let nodes: Vec<String> = magnet.nodes.iter().map(|(h, p)| format!("{h}:{p}")).collect();
    assert_eq!(nodes, ["router.example:6881", "[2001:db8::2]:1"]);
    assert_eq!(magnet.ignored, 0);
}

#[test]
fn what_cannot_be_used_is_counted_and_the_rest_is_bounded() {
    let magnet = with(
        "x.pe=host.example:1&x.pe=192.0.2.1:0&x.pe=0.0.0.0:1&x.pe=[ff02::1]:1&dht=x&tr=&tr=%FF",
    );
    assert_eq!((magnet.peers.len(), magnet.nodes.len(), magnet.ignored), (0, 0, 7));
    let mut many = String::new();
    for n in 0..150 {
        _ = write!(many, "tr=udp://t{n}:1&x.pe=192.0.2.{n}:1&ws=http://w{n}/&dht=h{n}:1&");
    }
    let magnet = with(&many);
    let lens = [magnet.trackers.len(), magnet.web_seeds.len(), magnet.peers.len()];
    assert_eq!(lens, [MAX_MAGNET_ADDRESSES; 3]);
    assert_eq!((magnet.nodes.len(), magnet.ignored), (MAX_MAGNET_ADDRESSES, 4 * 50));
    let name = "ä".repeat(MAX_MAGNET_NAME);
    assert_eq!(with(&format!("dn={name}")).name.unwrap().len(), MAX_MAGNET_NAME);
}

#[test]
fn chosen_files_are_ranges_and_a_range_bomb_costs_nothing() {
    let select = with("so=0,2,4-6&so=3,%35&so.1=4000000000").select.unwrap();
    assert_eq!(select.to_string(), "0,2-6,4000000000");
    let chosen: Vec<usize> = (0..10).filter(|&file| select.contains(file)).collect();
    assert_eq!(chosen, [0, 2, 3, 4, 5, 6]);
    let all = with("so=0-4294967295").select.unwrap();
    assert!(all.contains(0) && all.contains(u32::MAX as usize) && !all.contains(1 << 32));
    assert_eq!(with("so=").select, None);
    let many: Vec<String> = (0..=MAX_RANGES).map(|n| (2 * n).to_string()).collect();
    let mut files = FileSelection::default();
    assert_eq!(files.add(&many.join(",")), Err(SelectionError::TooMany));
    assert_eq!(files.ranges().count(), MAX_RANGES);
    assert_eq!(files.add("4294967296"), Err(SelectionError::Syntax));
    for wrong in ["-", "1-", "-1", "1-2-3", "+1", " 1"] {
        assert_eq!(files.add(wrong), Err(SelectionError::Syntax), "{wrong}");
    }
}

#[test]
fn choices_of_two_links_add_up_within_their_bound() {
    let choice = |list: &str| {
        let mut files = FileSelection::default();
        files.add(list).unwrap();
        files
    };
    let mut files = choice("1,5-6");
    files.add_all(&choice("0,4,100-4294967295")).unwrap();
    assert_eq!(files.to_string(), "0-1,4-6,100-4294967295");
    let sparse = |from: u32| {
        let list: Vec<String> = (0..600).map(|n| (from + 4 * n).to_string()).collect();
        choice(&list.join(","))
    };
    let mut files = sparse(0);
    let before = files.clone();
    assert_eq!(files.add_all(&sparse(2)), Err(SelectionError::TooMany));
    assert_eq!(files, before);
}

#[test]
fn info_dictionary_of_peers_and_a_link_make_a_torrent() {
    let mut builder = MetainfoBuilder::new("n", 16_384);
    builder.single_file(5).tracker_tier(["http://t/".to_owned()]).private(true);
    let file = Metainfo::from_bytes(&builder.build(&[[1; 20]]).unwrap()).unwrap();
    let info = file.info().unwrap();
    let link = with("tr=http://a/&tr=udp://b:1&ws=http://w/&dn=other&dht=h:1&dht=[2001:db8::1]:2");
    let limits = MetainfoLimits::default();
    let made = Metainfo::from_info(info, &link, &limits).unwrap();
    assert_eq!((made.identity, &made.name, made.private), (file.identity, &file.name, true));
    assert_eq!(made.trackers, [["http://a/"], ["udp://b:1"]]);
    assert_eq!((&made.web_seeds[..], made.info()), (&["http://w/".to_owned()][..], Some(info)));
    assert_eq!(made.nodes, link.nodes);
    // Its bytes are a metainfo file of the same torrent.
    let again = Metainfo::from_bytes(made.raw.as_deref().unwrap()).unwrap();
    assert_eq!((again.identity, again.info()), (file.identity, Some(info)));
    let bare = Metainfo::from_info(info, &Magnet::new(file.identity), &limits).unwrap();
    assert!(bare.trackers.is_empty() && bare.web_seeds.is_empty());
    for wrong in [&b""[..], b"le", &info[1..], &[info, b"3:foo3:bar"].concat()] {
        assert!(Metainfo::from_info(wrong, &link, &limits).is_err());
    }
}

fn magnet() -> impl Strategy<Value = Magnet> {
    let words = || prop::collection::btree_set("[^\\s]{1,12}", 0..5);
    let peers = prop::collection::btree_set(
        (any::<std::net::IpAddr>(), 1..=u16::MAX).prop_map(SocketAddr::from),
        0..5,
    );
    let select = prop::collection::vec((any::<u32>(), 0_u32..5), 0..9).prop_map(|ranges| {
        let mut files = FileSelection::default();
        for (first, more) in ranges {
            files.add(&format!("{first}-{}", first.saturating_add(more))).unwrap();
        }
        (!files.is_empty()).then_some(files)
    });
    let v1 = || any::<[u8; 20]>().prop_map(InfoHash);
    let v2 = || any::<[u8; 32]>().prop_map(InfoHashV2);
    let identity = prop_oneof![
        v1().prop_map(Identity::of_v1),
        v2().prop_map(Identity::of_v2),
        (v1(), v2()).prop_map(|(v1, v2)| Identity::hybrid(v1, v2)),
    ];
    (identity, "\\PC{0,20}", any::<Option<u64>>(), words(), words(), peers, select).prop_map(
        |(identity, name, len, trackers, web_seeds, peers, select)| Magnet {
            identity,
            name: Some(name).filter(|name| !name.is_empty()),
            len,
            trackers: trackers.into_iter().collect(),
            web_seeds: web_seeds.into_iter().collect(),
            peers: peers
                .into_iter()
                .filter(|p| {
                    let ip = p.ip();
                    ip == ip.to_canonical() && !ip.is_unspecified() && !ip.is_multicast()
                })
                .collect(),
            nodes: vec![(Host::parse_with_port("a.b:1").unwrap().0, 7)],
            select,
            ignored: 0,
        },
    )
}

proptest! {
    #[test]
    fn printed_link_reads_back_as_the_same(magnet in magnet()) {
        let link = magnet.to_string();
        prop_assert!(link.is_ascii() && !link.contains(' '));
        prop_assert_eq!(parse(&link), Ok(magnet));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "(magnet:\\?)?(xt=urn:bt[im]h:[0-9a-f]{40}&)?\\PC{0,99}") {
        if let Ok(magnet) = parse(&text) {
            prop_assert_eq!(parse(&magnet.to_string()), Ok(Magnet { ignored: 0, ..magnet }));
        }
    }

    #[test]
    fn chosen_files_are_those_of_the_list(
        list in prop::collection::vec((0_u32..40, 0_u32..5), 0..12)
    ) {
        let mut files = FileSelection::default();
        for &(first, more) in &list {
            files.add(&format!("{first}-{}", first + more)).unwrap();
        }
        for file in 0..50_u32 {
            let meant = list.iter().any(|&(first, more)| (first..=first + more).contains(&file));
            prop_assert_eq!(files.contains(file as usize), meant);
        }
        let ranges: Vec<_> = files.ranges().collect();
        prop_assert!(ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0));
    }
}

#[test]
fn info_of_a_v2_link_becomes_a_torrent_without_layers() {
    let mut builder = MetainfoBuilder::new("folder", 16_384);
    builder.format(Format::V2).file(["a"], 50_000).file(["b"], 5);
    let roots: Vec<_> = (1..=5).map(|n| [n; 32]).collect();
    let with = Metainfo::from_bytes(&builder.build_with(&[], &roots).unwrap()).unwrap();
    let link = with.magnet().to_string();
    assert!(link.starts_with("magnet:?xt=urn:btmh:1220"), "{link}");
    let magnet: Magnet = link.parse().unwrap();
    assert_eq!(magnet.identity, with.identity);
    let limits = MetainfoLimits::default();
    let got = Metainfo::from_info(with.info().unwrap(), &magnet, &limits).unwrap();
    assert_eq!((got.identity, got.files), (with.identity, with.files));
    assert_eq!(got.trees.unwrap().unknown(), 4);
}
