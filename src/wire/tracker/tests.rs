//! Announces and scrapes as they are on the wire.

use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::{
    http::{DEFAULT_INTERVAL, announce_reply, announce_target, scrape_reply, scrape_target},
    udp::{Reply, Request, url_data},
    *,
};
use crate::wire::bencode::Encoder;

fn announce() -> Announce {
    Announce {
        info_hash: InfoHash(
            *b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a",
        ),
        peer_id: PeerId(*b"-CT0200- &=+~abcdef\0"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::None,
        key: 0xAB,
        numwant: None,
        tracker_id: None,
        crypto: CryptoSupport::None,
        ip: None,
    }
}

fn url(text: &str) -> TrackerUrl {
    TrackerUrl::parse(text).unwrap()
}

fn addrs(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|addr| addr.parse().unwrap()).collect()
}

#[test]
fn the_target_of_an_announce() {
    let tail = "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&\
                peer_id=-CT0200-%20%26%3D%2B~abcdef%00&port=6881&uploaded=1&\
                downloaded=2&left=3&compact=1&no_peer_id=1&key=000000AB";
    for (address, head) in [
        ("http://t/announce", "/announce?"),
        ("http://t/announce?", "/announce?"),
        ("http://t/announce?passkey=x", "/announce?passkey=x&"),
        ("http://t/announce?passkey=x&", "/announce?passkey=x&"),
        ("http://t", "/?"),
    ] {
        assert_eq!(announce_target(&url(address), &announce()), format!("{head}{tail}"));
    }
    let full = Announce {
        event: AnnounceEvent::Started,
        numwant: Some(50),
        tracker_id: Some(b"a b".to_vec()),
        ip: Some("2001:db8::1".parse().unwrap()),
        left: u64::MAX,
        ..announce()
    };
    let target = announce_target(&url("http://t/a"), &full);
    assert!(
        target.ends_with(
            "&key=000000AB&event=started&numwant=50&ip=2001%3Adb8%3A%3A1&trackerid=a%20b"
        ),
        "{target}"
    );
    assert!(target.contains("&left=9223372036854775807&"));
    let farewell = Announce { event: AnnounceEvent::Stopped, numwant: Some(50), ..announce() };
    assert!(announce_target(&url("http://t/a"), &farewell).ends_with("&event=stopped&numwant=0"));
    for (crypto, tail) in [
        (CryptoSupport::Supported, "&supportcrypto=1"),
        (CryptoSupport::Required, "&requirecrypto=1"),
    ] {
        let target = announce_target(&url("http://t/a"), &Announce { crypto, ..announce() });
        assert!(target.ends_with(tail), "{target}");
    }
    let two = [InfoHash([b'a'; 20]), InfoHash([0; 20])];
    let want = format!("/scrape?k&info_hash={}&info_hash={}", "a".repeat(20), "%00".repeat(20));
    assert_eq!(scrape_target(&url("http://t/scrape?k"), &two), want);
    assert_eq!(
        scrape_target(&url("http://t/scrape"), &[two[0]; 100]).matches("info_hash").count(),
        MAX_SCRAPE
    );
}

#[test]
fn full_reply_is_read() {
    let mut e = Encoder::new();
    e.dict().key(b"complete").int(10).key(b"downloaded").int(1 << 40);
    e.key(b"external ip")
        .bytes(&[203, 0, 113, 9])
        .key(b"incomplete")
        .int(-1)
        .key(b"interval")
        .int(1800);
    e.key(b"min interval").int(60).key(b"peers").bytes(
        b"\xc0\0\x02\x01\x1a\xe1\xc0\0\x02\x02\0\0\xc0\0\x02\x01\x1a\xe1\xc6\x33\x64\x07\0\x01junk",
    );
    e.key(b"peers6").bytes(
        b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x05\0\x50\
          \0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\0\x02\x09\0\x51",
    );
    e.key(b"tracker id").bytes(b"id").key(b"warning message").bytes("w\u{e4}h".as_bytes()).end();
    let body = e.finish();
    let reply = announce_reply(&body, 1000).unwrap();
    let peers = addrs(&["192.0.2.1:6881", "198.51.100.7:1", "[2001:db8::5]:80", "192.0.2.9:81"]);
    let want = AnnounceReply {
        interval: Duration::from_secs(1800),
        min_interval: Some(Duration::from_secs(60)),
        peers: peers.clone(),
        seeders: Some(10),
        leechers: None,
        downloads: Some(u32::MAX),
        warning: Some("wäh".into()),
        external_ip: Some("203.0.113.9".parse().unwrap()),
        tracker_id: Some(b"id".to_vec()),
    };
    assert_eq!(reply, want);
    for limit in 0..5 {
        assert_eq!(announce_reply(&body, limit).unwrap().peers, peers[..limit.min(4)]);
    }
    let line = [&body[..], b"\r\n"].concat();
    assert_eq!(announce_reply(&line, 1000), Ok(want));
    for len in 0..body.len() {
        assert!(matches!(announce_reply(&body[..len], 9), Err(ReplyError::Bencode(_))));
    }
}

#[test]
fn peers_as_dictionaries_by_address_only() {
    let body = b"d8:intervali5e5:peersld2:ip9:192.0.2.14:porti80ee\
        d2:ip11:example.com4:porti80eed2:ip3:::14:porti-1eei5e\
        d2:ip11:2001:db8::74:porti81e7:peer id20:abcdefghijklmnopqrste\
        d2:ip7:0.0.0.04:porti1eed2:ip9:224.0.0.14:porti1eeee";
    let reply = announce_reply(body, 1000).unwrap();
    assert_eq!(reply.peers, addrs(&["192.0.2.1:80", "[2001:db8::7]:81"]));
    assert_eq!(announce_reply(body, 1).unwrap().peers.len(), 1);
}

#[test]
fn odd_replies_are_read_or_refused() {
    let no_failure = |body: &[u8]| announce_reply(body, 10);
    assert_eq!(
        no_failure(b"d5:peers0:e").map(|r| (r.interval, r.peers)),
        Ok((DEFAULT_INTERVAL, vec![]))
    );
    assert_eq!(no_failure(b"d8:intervali-5e5:peers0:e").map(|r| r.interval), Ok(DEFAULT_INTERVAL));
    assert_eq!(
        no_failure(b"d8:intervali99999999999999ee").map(|r| r.interval),
        Ok(Duration::from_secs(u32::MAX.into()))
    );
    assert_eq!(no_failure(b"d8:intervali5e5:peersi5ee").map(|r| r.peers), Ok(vec![]));
    assert_eq!(
        no_failure(b"d11:external ip7:1.2.3.48:intervali5ee").map(|r| r.external_ip),
        Ok(Some("1.2.3.4".parse().unwrap()))
    );
    assert_eq!(
        no_failure(b"d11:external ip4:\0\0\0\08:intervali5ee").map(|r| r.external_ip),
        Ok(None)
    );
    let id = format!("d8:intervali5e10:tracker id257:{}e", "x".repeat(257));
    assert_eq!(no_failure(id.as_bytes()).map(|r| r.tracker_id), Ok(None));
    assert_eq!(no_failure(b"de"), Err(ReplyError::Missing("interval")));
    assert_eq!(no_failure(b"le"), Err(ReplyError::NotADict));
    assert!(matches!(no_failure(b"<html>"), Err(ReplyError::Bencode(_))));
    assert!(matches!(
        no_failure(&[b'l'; 50]),
        Err(ReplyError::Bencode(BencodeError::Unexpected { .. } | BencodeError::Depth { .. }))
    ));
    let crowd = [b"d1:al".to_vec(), b"le".repeat(200_000), b"ee".to_vec()].concat();
    assert!(matches!(no_failure(&crowd), Err(ReplyError::Bencode(BencodeError::Tokens { .. }))));
}

#[test]
fn failures_say_when_to_come_again() {
    let failure = |body: &str| match announce_reply(body.as_bytes(), 10) {
        Err(ReplyError::Failure { reason, retry_in }) => (reason, retry_in),
        other => panic!("{other:?}"),
    };
    let minutes = |n: u64| Some(RetryIn::After(Duration::from_secs(60 * n)));
    assert_eq!(failure("d14:failure reason2:noe"), ("no".into(), None));
    assert_eq!(failure("d14:failure reason2:no8:retry ini5ee"), ("no".into(), minutes(5)));
    assert_eq!(failure("d14:failure reason2:no8:retry in1:5e"), ("no".into(), minutes(5)));
    assert_eq!(
        failure("d14:failure reason2:no8:retry in5:nevere"),
        ("no".into(), Some(RetryIn::Never))
    );
    assert_eq!(failure("d14:failure reason2:no8:retry ini-5ee"), ("no".into(), None));
    assert_eq!(failure("d14:failure reasoni5e8:intervali5ee"), (String::new(), minutes(1)));
    // The usual words count where that is missing.
    let seconds = |s| Some(RetryIn::After(Duration::from_secs(s)));
    assert_eq!(failure("d14:failure reason2:no8:intervali900ee").1, seconds(900));
    assert_eq!(
        failure("d14:failure reason2:no8:intervali900e12:min intervali1200ee").1,
        seconds(1200)
    );
    assert_eq!(failure("d14:failure reason2:no12:min intervali7200ee").1, seconds(7200));
    assert_eq!(failure("d14:failure reason2:no8:intervali900e8:retry ini1ee").1, minutes(1));
    let long = failure(&format!("d14:failure reason4000:{}e", "ä".repeat(2000)));
    assert_eq!(long.0, "ä".repeat(MAX_TEXT));
    assert!(matches!(
        scrape_reply(b"d14:failure reason2:noe", &[]),
        Err(ReplyError::Failure { .. })
    ));
}

#[test]
fn scrapes_in_the_order_of_the_question() {
    let (a, b, c) = (InfoHash([b'a'; 20]), InfoHash([b'b'; 20]), InfoHash([b'c'; 20]));
    let body = b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e10:incompletei10ee\
        20:ccccccccccccccccccccd8:completei-1eee5:flagsd20:min_request_intervali5eee";
    let counts = ScrapeReply { complete: 5, downloaded: 50, incomplete: 10 };
    assert_eq!(
        scrape_reply(body, &[c, b, a, a]),
        Ok(vec![Some(ScrapeReply::default()), None, Some(counts), Some(counts)])
    );
    assert_eq!(scrape_reply(b"de", &[a]), Err(ReplyError::Missing("files")));
    assert!(scrape_reply(b"d5:filesde1:xe", &[a]).is_err());
}

/// The offsets are those of BEP 15's tables.
#[test]
fn datagrams_of_requests() {
    assert_eq!(
        Request::Connect.encode(0x0102_0304),
        *b"\0\0\x04\x17\x27\x10\x19\x80\0\0\0\0\x01\x02\x03\x04"
    );
    let full = Announce {
        event: AnnounceEvent::Started,
        numwant: Some(50),
        ip: Some("192.0.2.1".parse().unwrap()),
        left: u64::MAX,
        ..announce()
    };
    let request = Request::Announce {
        connection: 0x1122_3344_5566_7788,
        announce: Box::new(full.clone()),
        url_data: vec![],
    };
    let d = request.encode(7);
    assert_eq!(d.len(), 98);
    assert_eq!(d[..16], *b"\x11\x22\x33\x44\x55\x66\x77\x88\0\0\0\x01\0\0\0\x07");
    assert_eq!((&d[16..36], &d[36..56]), (&full.info_hash.0[..], &full.peer_id.0[..]));
    assert_eq!(d[56..64], 2u64.to_be_bytes(), "downloaded");
    assert_eq!(d[64..72], i64::MAX.to_be_bytes(), "left");
    assert_eq!(d[72..80], 1u64.to_be_bytes(), "uploaded");
    assert_eq!(d[80..84], [0, 0, 0, 2], "event");
    assert_eq!(d[84..88], [192, 0, 2, 1], "ip");
    assert_eq!(d[88..92], [0, 0, 0, 0xAB], "key");
    assert_eq!(d[92..96], [0, 0, 0, 50], "num_want");
    assert_eq!(d[96..98], [0x1A, 0xE1], "port");
    let said = Announce { left: i64::MAX as u64, ..full };
    let back = Request::Announce {
        connection: 0x1122_3344_5566_7788,
        announce: Box::new(said),
        url_data: vec![],
    };
    assert_eq!(Request::decode(&d), Ok((7, back)));
    assert!((0..98).all(|len| Request::decode(&d[..len]).is_err()));

    let usual =
        Request::Announce { connection: 1, announce: Box::new(announce()), url_data: vec![] }
            .encode(7);
    assert_eq!((&usual[84..88], &usual[92..96]), (&[0; 4][..], &[0xFF; 4][..]));
    let farewell = Announce { event: AnnounceEvent::Stopped, ..announce() };
    let farewell =
        Request::Announce { connection: 1, announce: Box::new(farewell), url_data: vec![] }
            .encode(7);
    assert_eq!((&farewell[80..84], &farewell[92..96]), (&[0, 0, 0, 3][..], &[0; 4][..]));

    let two = vec![InfoHash([1; 20]), InfoHash([2; 20])];
    let scrape = Request::Scrape { connection: 5, info_hashes: two.clone() };
    let d = scrape.encode(9);
    assert_eq!(
        d,
        [&5u64.to_be_bytes()[..], &[0, 0, 0, 2, 0, 0, 0, 9], &[1; 20], &[2; 20]].concat()
    );
    assert_eq!(Request::decode(&d), Ok((9, scrape)));
    assert!(Request::decode(&d[..55]).is_err());
    let crowd = Request::Scrape { connection: 5, info_hashes: vec![two[0]; 80] }.encode(9);
    assert_eq!(crowd.len(), 16 + 20 * MAX_SCRAPE);
    assert_eq!(
        Request::decode(b"\0\0\0\0\0\0\0\x01\0\0\0\x04\0\0\0\0"),
        Err(ReplyError::Action(4))
    );
}

/// The examples of BEP 41.
#[test]
fn the_path_in_an_announce() {
    let options = |address: &str| {
        let url_data = url_data(&url(address));
        let request = Request::Announce { connection: 1, announce: Box::new(announce()), url_data };
        let datagram = request.encode(7);
        assert_eq!(Request::decode(&datagram), Ok((7, request)));
        datagram[98..].to_vec()
    };
    assert_eq!(
        options("udp://tracker.example.com:80/?auth=0xA27C9E05"),
        b"\x02\x11/?auth=0xA27C9E05"
    );
    assert_eq!(options("udp://tracker.example.com:80/announce"), b"\x02\x09/announce");
    assert_eq!(options("udp://tracker.example.com:80/"), b"");
    assert_eq!(options("udp://tracker.example.com:80"), b"");
    let long = format!("/{}", "x".repeat(599));
    let parts = options(&format!("udp://t:80{long}"));
    assert_eq!(parts.len(), 600 + 2 * 3);
    assert_eq!(
        (&parts[..2], &parts[257..259], &parts[514..516]),
        (&[2, 255][..], &[2, 255][..], &[2, 90][..])
    );
    let mut padded =
        Request::Announce { connection: 1, announce: Box::new(announce()), url_data: vec![] }
            .encode(7);
    padded.extend(b"\x01\x01\x02\x02/a\x07\x01x\x02\x02/b\x00\x02\x01/");
    let Ok((7, Request::Announce { url_data, .. })) = Request::decode(&padded) else { panic!() };
    assert_eq!(url_data, b"/a/b");
}

#[test]
fn datagrams_of_replies() {
    let v4 = |d: &[u8]| Reply::decode(d, false, 1000);
    assert_eq!(
        v4(b"\0\0\0\0\0\0\0\x07\x11\x22\x33\x44\x55\x66\x77\x88"),
        Ok((7, Reply::Connect { connection: 0x1122_3344_5566_7788 }))
    );
    let announce = b"\0\0\0\x01\0\0\0\x07\0\0\x07\x08\0\0\0\x02\0\0\0\x03\
        \xc0\0\x02\x01\x1a\xe1\xc0\0\x02\x02\x1a\xe2\xff";
    let peers = addrs(&["192.0.2.1:6881", "192.0.2.2:6882"]);
    let reply = AnnounceReply {
        interval: Duration::from_secs(1800),
        leechers: Some(2),
        seeders: Some(3),
        peers,
        ..AnnounceReply::default()
    };
    assert_eq!(v4(announce), Ok((7, Reply::Announce(reply.clone()))));
    assert_eq!(Reply::Announce(reply.clone()).encode(7, false), announce[..32]);
    let six = AnnounceReply {
        peers: addrs(&["[2001:db8::1]:6881", "[2001:db8::2]:6882"]),
        ..reply.clone()
    };
    let d = Reply::Announce(AnnounceReply {
        peers: [reply.peers.clone(), six.peers.clone()].concat(),
        ..reply
    })
    .encode(7, true);
    assert_eq!(d.len(), 20 + 2 * 18);
    assert_eq!(Reply::decode(&d, true, 1000), Ok((7, Reply::Announce(six))));
    let scrape =
        b"\0\0\0\x02\0\0\0\x07\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\0\0\x04\0\0\0\x05\0\0\0\x06\x07";
    let counts =
        |complete, downloaded, incomplete| ScrapeReply { complete, downloaded, incomplete };
    let reply = Reply::Scrape(vec![counts(1, 2, 3), counts(4, 5, 6)]);
    assert_eq!(v4(scrape), Ok((7, reply.clone())));
    assert_eq!(reply.encode(7, false), scrape[..32]);
    assert_eq!(v4(b"\0\0\0\x03\0\0\0\x07no\xff"), Ok((7, Reply::Error("no\u{fffd}".into()))));
    assert_eq!(v4(b"\0\0\0\x04\0\0\0\x07"), Err(ReplyError::Action(4)));
    assert_eq!(
        v4(b"\0\0\0\0\0\0\0\x07\x11"),
        Err(ReplyError::Length { what: "reply to a connect", len: 9 })
    );
    assert_eq!(
        v4(&announce[..19]),
        Err(ReplyError::Length { what: "reply to an announce", len: 19 })
    );
    assert_eq!(v4(b"\0\0\0"), Err(ReplyError::Length { what: "reply", len: 3 }));
}

proptest! {
    #[test]
    fn nothing_panics(
        data in proptest::collection::vec(any::<u8>(), 0..300),
        v6: bool,
        max_peers in 0usize..8,
    ) {
        let _ = Request::decode(&data);
        if let Ok((_, Reply::Announce(reply))) = Reply::decode(&data, v6, max_peers) {
            prop_assert!(reply.peers.len() <= max_peers);
        }
        let _ = announce_reply(&data, max_peers);
        let _ = scrape_reply(&data, &[InfoHash([0; 20])]);
    }

    #[test]
    fn urls_survive_a_round_trip(
        text in "(http|https|udp)://([a-z]{1,3}(:[a-z%]{0,4})?@)?\
                 [a-z0-9.\\[\\]:-]{1,12}(:[0-9]{1,5})?[!-~]{0,20}",
        to in "[!-~]{0,12}",
    ) {
        if let Ok(url) = TrackerUrl::parse(&text) {
            prop_assert_eq!(TrackerUrl::parse(&url.expose()), Ok(url.clone()));
            if let Ok(joined) = url.join(&to) {
                prop_assert!(joined.credentials().is_none() || joined.same_origin(&url));
                prop_assert_eq!(TrackerUrl::parse(&joined.expose()), Ok(joined));
            }
        }
    }

    #[test]
    fn peers_are_usable(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut peers = Peers::new(9);
        peers.compact6(&bytes);
        peers.compact4(&bytes);
        let usable = |p: &SocketAddr| p.port() != 0 && !IpAddr::is_unspecified(&p.ip());
        prop_assert!(peers.list.len() <= 9 && peers.list.iter().all(usable));
    }
}
