//! Calls over HTTP: requests, replies however they are cut, redirects.

use super::*;

#[test]
fn an_announce_over_http() {
    let mut rig = Rig::new("http://me:pw@t.example:6969/x/announce?k=1");
    assert_eq!(rig.ask(), Ask::Resolve { host: "t.example".into() });
    rig.call.handle_resolved(rig.now, Ok(vec!["192.0.2.1".parse().unwrap()]));
    let sent = rig.connect("192.0.2.1:6969");
    let want = format!(
        "GET /x/announce?k=1&info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=-CT0200-abcdefghijkl&port=6881&\
         uploaded=1&downloaded=2&left=3&compact=1&no_peer_id=1&key=00000007&event=started&\
         numwant=50 HTTP/1.1\r\nHost: t.example:6969\r\nUser-Agent: cratetorrent/{}\r\n\
         Authorization: Basic bWU6cHc=\r\nAccept-Encoding: gzip\r\nConnection: close\r\n\r\n",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(sent, want);
    rig.ok();
    assert_eq!(rig.ask(), Ask::Close);
    assert_eq!(rig.done(), answer("192.0.2.1"));
    // What comes late is ignored.
    rig.ok();
    rig.call.handle_stream_ended(rig.now, Ok(()));
    rig.pass(secs(100));
    rig.idle();
}

#[test]
fn a_reply_may_be_cut_anywhere_and_end_with_the_stream() {
    let until_end = [b"HTTP/1.0 200 OK\r\n\r\n", REPLY].concat();
    let chunked = [
        &b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n"[..],
        &REPLY[..5],
        b"\r\n1c\r\n",
        &REPLY[5..],
        b"\r\n0\r\n\r\n",
    ];
    assert_eq!(REPLY.len(), 0x21);
    for stream in [ok(REPLY), chunked.concat(), until_end] {
        for cut in 0..=stream.len() {
            let mut rig = Rig::new("http://192.0.2.1/announce");
            rig.connect("192.0.2.1:80");
            rig.data(&stream[..cut]);
            rig.data(&stream[cut..]);
            rig.call.handle_stream_ended(rig.now, Ok(()));
            assert_eq!(rig.done(), answer("192.0.2.1"), "cut at {cut}");
        }
        let mut rig = Rig::new("http://192.0.2.1/announce");
        rig.connect("192.0.2.1:80");
        stream.chunks(1).for_each(|part| rig.data(part));
        rig.call.handle_stream_ended(rig.now, Ok(()));
        assert_eq!(rig.done(), answer("192.0.2.1"));
    }
}

#[test]
fn tls_is_for_the_name_of_the_address() {
    let mut rig = Rig::new("https://T.Example./announce");
    rig.resolve(&["192.0.2.1"]);
    assert_eq!(
        rig.ask(),
        Ask::Connect {
            to: target("192.0.2.1:443"),
            tls: Some("t.example".into()),
            forwarded: false
        }
    );
    let mut rig = Rig::new("https://[2001:db8::1]:1/announce");
    assert_eq!(
        rig.ask(),
        Ask::Connect {
            to: target("[2001:db8::1]:1"),
            tls: Some("2001:db8::1".into()),
            forwarded: false
        }
    );
    rig.call.handle_connected(rig.now);
    assert_eq!(rig.ask(), Ask::Flush);
    let sent = String::from_utf8(rig.call.poll_transmit().to_vec()).unwrap();
    assert!(sent.contains("\r\nHost: [2001:db8::1]:1\r\n"), "{sent}");
}

#[test]
fn a_scrape_over_http() {
    let hashes = vec![HASH, InfoHash([0; 20])];
    let body =
        b"d5:filesd20:aaaaaaaaaaaaaaaaaaaad8:completei5e10:downloadedi50e10:incompletei10eeee";
    for url in ["http://192.0.2.1/announce?k", "http://192.0.2.1/scrape?k"] {
        let mut rig = Rig::with(url, Question::Scrape(hashes.clone()), None, &Conf::default());
        let sent = rig.connect("192.0.2.1:80");
        assert!(sent.starts_with(&format!(
            "GET /scrape?k&info_hash={}&info_hash={} HTTP",
            "a".repeat(20),
            "%00".repeat(20)
        )));
        rig.data(&ok(body));
        let counts = ScrapeReply { complete: 5, downloaded: 50, incomplete: 10 };
        assert_eq!(
            rig.done(),
            Ok((Answer::Scrape(vec![Some(counts), None]), Some("192.0.2.1".parse().unwrap())))
        );
    }
    let mut rig = Rig::with("http://192.0.2.1/a", Question::Scrape(hashes), None, &Conf::default());
    assert_eq!(rig.error(), CallError::NoScrape);
    let crowd = Question::Scrape(vec![HASH; 100]);
    let mut rig = Rig::with("http://192.0.2.1/announce", crowd, None, &Conf::default());
    assert_eq!(rig.connect("192.0.2.1:80").matches("info_hash").count(), MAX_SCRAPE);
    rig.data(&ok(body));
    let Ok((Answer::Scrape(replies), _)) = rig.done() else { panic!() };
    assert_eq!(replies.len(), MAX_SCRAPE);
}

#[test]
fn refusals_and_failures() {
    let outcome = |data: &[u8]| {
        let mut rig = Rig::new("http://192.0.2.1/announce");
        rig.connect("192.0.2.1:80");
        rig.data(data);
        rig.call.handle_stream_ended(rig.now, Ok(()));
        rig.error()
    };
    let no = outcome(&ok(b"d14:failure reason2:no8:retry ini5ee"));
    assert_eq!(no.retry_in(), Some(RetryIn::After(secs(300))));
    assert_eq!(no.to_string(), "the tracker refuses: \"no\"");
    let with_status = outcome(b"HTTP/1.1 400 Bad\r\n\r\nd14:failure reason2:noe");
    assert!(matches!(with_status, CallError::Reply(ReplyError::Failure { .. })));
    assert_eq!(outcome(b"HTTP/1.1 404 Not Found\r\n\r\n<html>"), CallError::Status(404));
    assert_eq!(
        outcome(b"HTTP/1.1 503 Busy\r\nContent-Length: 9999999\r\n\r\n"),
        CallError::Status(503)
    );
    assert_eq!(outcome(b"HTTP/1.1 503 Busy\r\nContent-Length: 9\r\n\r\n"), CallError::Status(503));
    assert_eq!(outcome(b"HTTP/1.1 404 No\r\n\r\nd8:intervali5ee"), CallError::Status(404));
    assert_eq!(outcome(b"HTTP/1.1 302 Found\r\n\r\n"), CallError::Status(302));
    assert_eq!(
        outcome(b"HTTP/1.1 204 Empty\r\n\r\n").to_string(),
        "the tracker's reply is not valid bencoding: it ends within a value, after 0 bytes"
    );
    assert_eq!(
        outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 1048577\r\n\r\n"),
        CallError::Http(HttpError::BodyTooLong(1 << 20))
    );
    assert_eq!(
        outcome(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nd"),
        CallError::Http(HttpError::Truncated)
    );
    assert_eq!(outcome(b""), CallError::Http(HttpError::Truncated));
    assert_eq!(outcome(b"SSH-2.0\r\n"), CallError::Http(HttpError::Head("no status line")));
}

#[test]
fn peers_beyond_the_limit_are_left_out() {
    let conf = Conf::default().with(|conf| conf.trackers.max_peers = 3);
    let mut rig =
        Rig::with("http://192.0.2.1/announce", Question::Announce(announce()), None, &conf);
    rig.connect("192.0.2.1:80");
    let peers: Vec<u8> = (1..=9).flat_map(|n| [198, 51, 100, n, 0, 80]).collect();
    rig.data(&ok(&[b"d8:intervali5e5:peers54:", &peers[..], b"e"].concat()));
    let Ok((Answer::Announce(reply), _)) = rig.done() else { panic!() };
    assert_eq!(reply.peers.len(), 3);
}

#[test]
fn redirects_are_followed_as_they_are_written() {
    let mut rig = Rig::new("http://192.0.2.1/x/announce");
    rig.connect("192.0.2.1:80");
    rig.follow("http://other.example:81/y?z=1");
    assert_eq!(rig.ask(), Ask::Resolve { host: "other.example".into() });
    // The old stream ends only now, which means nothing.
    rig.call.handle_stream_ended(rig.now, Err("reset".into()));
    rig.call.handle_resolved(rig.now, Ok(vec!["192.0.2.2".parse().unwrap()]));
    rig.call.handle_stream_ended(rig.now, Err("reset".into()));
    rig.call.handle_connected(rig.now);
    let sent = rig.connect("192.0.2.2:81");
    assert!(sent.starts_with("GET /y?z=1 HTTP/1.1\r\nHost: other.example:81\r\n"), "{sent}");
    rig.follow("relative");
    rig.resolve(&["192.0.2.2"]);
    assert!(rig.connect("192.0.2.2:81").starts_with("GET /relative HTTP"));
    rig.ok();
    assert_eq!(rig.done(), answer("192.0.2.2"));
}

#[test]
fn redirects_end() {
    for limit in [0, 2, 5] {
        let conf = Conf::default().with(|conf| conf.trackers.max_redirects = limit);
        let mut rig =
            Rig::with("http://192.0.2.1/announce", Question::Announce(announce()), None, &conf);
        for _ in 0..limit {
            rig.connect("192.0.2.1:80");
            rig.follow("/announce");
        }
        rig.connect("192.0.2.1:80");
        rig.redirect("/announce");
        assert_eq!(rig.error(), CallError::Redirects(limit));
    }
}

#[test]
fn redirects_lead_to_no_weaker_or_other_scheme() {
    let outcome = |from: &str, location: &str| {
        let mut rig = Rig::new(from);
        rig.connect(if from.starts_with("https") { "192.0.2.1:443" } else { "192.0.2.1:80" });
        rig.redirect(location);
        rig.error()
    };
    let refused = |from, to| CallError::Scheme { from, to };
    assert_eq!(
        outcome("https://192.0.2.1/announce", "http://192.0.2.1/announce"),
        refused(Scheme::Https, Scheme::Http)
    );
    assert_eq!(
        outcome("http://192.0.2.1/announce", "udp://192.0.2.1:80"),
        refused(Scheme::Http, Scheme::Udp)
    );
    assert_eq!(
        outcome("http://192.0.2.1/announce", "file:///x"),
        CallError::Redirect(UrlError::Scheme)
    );
    assert_eq!(
        outcome("http://192.0.2.1/announce", "//xn--a/"),
        CallError::Redirect(UrlError::Idna)
    );
    assert_eq!(
        outcome("http://192.0.2.1/announce", "/\u{e4}"),
        CallError::Redirect(UrlError::NotAscii)
    );
    assert_eq!(
        outcome("http://192.0.2.1/announce", &"x".repeat(3000)),
        CallError::Redirect(UrlError::TooLong(3000))
    );
    let mut up = Rig::new("http://192.0.2.1/announce");
    up.connect("192.0.2.1:80");
    up.follow("https://192.0.2.1/announce");
    up.connect("192.0.2.1:443");
}

#[test]
fn credentials_stay_at_their_origin() {
    let secret = "Authorization: Basic bWU6cHc=";
    let mut rig = Rig::new("http://me:pw@192.0.2.1/announce");
    assert!(rig.connect("192.0.2.1:80").contains(secret));
    rig.follow("http://192.0.2.1/elsewhere");
    assert!(rig.connect("192.0.2.1:80").contains(secret));
    rig.follow("http://192.0.2.1:81/");
    assert!(!rig.connect("192.0.2.1:81").contains("Authorization"));
    // Not even on the way back, and not what the redirect brings.
    rig.follow("http://you:know@192.0.2.1/");
    assert!(!rig.connect("192.0.2.1:80").contains("Authorization"));
    let mut rig = Rig::new("http://me:pw@192.0.2.1/announce");
    rig.connect("192.0.2.1:80");
    rig.follow("https://192.0.2.1/");
    assert!(!rig.connect("192.0.2.1:443").contains("Authorization"));
}

fn through(proxy: &str) -> Conf {
    Conf::default().with(|conf| conf.proxy.server = Some(proxy.parse().unwrap()))
}

#[test]
fn proxy_looks_names_up_and_gets_plain_requests_by_http() {
    let name = |port| Target::Name { host: "t.example".into(), port };
    for (url, proxy, tls, forwarded) in [
        ("http://t.example:80/announce", "socks5://p:1", None, false),
        ("http://t.example:80/announce", "http://me:pw@p:1", None, true),
        ("https://t.example:80/announce", "http://me:pw@p:1", Some("t.example"), false),
    ] {
        let question = Question::Announce(announce());
        let mut rig = Rig::with(url, question, None, &through(proxy));
        let tls = tls.map(str::to_owned);
        assert_eq!(rig.ask(), Ask::Connect { to: name(80), tls, forwarded });
        rig.call.handle_connected(rig.now);
        let said = String::from_utf8_lossy(rig.call.poll_transmit()).into_owned();
        assert_eq!(said.starts_with("GET http://t.example"), forwarded, "{said}");
        assert_eq!(said.contains("Proxy-Authorization"), forwarded, "{said}");
    }
}

#[test]
fn failure_of_a_proxy_is_told_apart_from_its_trackers() {
    let question = || Question::Announce(announce());
    let proxy = through("http://p:1");
    let mut rig = Rig::with("http://t.example/announce", question(), None, &proxy);
    assert!(matches!(rig.ask(), Ask::Connect { .. }));
    rig.call.handle_connected(rig.now);
    assert_eq!(rig.ask(), Ask::Flush);
    rig.call.handle_data(rig.now, b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n");
    assert!(matches!(rig.error(), CallError::Proxy(_)));
    let mut rig = Rig::with("udp://t.example:1", question(), None, &proxy);
    assert!(matches!(rig.error(), CallError::Proxy(_)));
    let mut rig = Rig::with("http://localhost/x", question(), None, &proxy);
    assert!(matches!(rig.error(), CallError::Refused(_)), "it may be the proxy's own host");
}
