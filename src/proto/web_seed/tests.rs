//! Requests from the first look-up to the last byte, on virtual time, without a network.

use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::{
    proto::http::{HttpError, guard::Refusal},
    wire::{
        metainfo::{Metainfo, MetainfoBuilder},
        tracker::Scheme,
        web_seed::WebSeedUrl,
    },
};

fn at(secs: u64) -> Instant {
    Instant::ZERO + Duration::from_secs(secs)
}

fn metainfo() -> Metainfo {
    let bytes = MetainfoBuilder::new("f", 1 << 20).single_file(100).build(&[[0; 20]]).unwrap();
    Metainfo::from_bytes(&bytes).unwrap()
}

fn url(url: &str) -> FileUrl {
    WebSeedUrl::parse(url).unwrap().file(&metainfo(), 0).unwrap()
}

fn request(at: &str, first: u64, len: u64) -> FileRequest {
    FileRequest { place: url(at).into(), first, len, file_len: 100 }
}

fn target(addr: &str) -> Target {
    Target::Addr(addr.parse().unwrap())
}

struct Rig {
    connection: WebConnection,
    now: Instant,
    body: Vec<u8>,
}

impl Rig {
    fn new(at: &str, first: u64, len: u64) -> Self {
        let mut rig = Self {
            connection: WebConnection::new(&Conf::default()),
            now: Instant::ZERO,
            body: Vec::new(),
        };
        assert_eq!(rig.connection.fetch(rig.now, request(at, first, len)), None);
        rig
    }

    fn asks(&mut self) -> Vec<Ask> {
        std::iter::from_fn(|| self.connection.poll_ask()).collect()
    }

    /// Connected, and the request sent: what that was.
    fn sent(&mut self) -> String {
        self.asks();
        self.connection.handle_connected(self.now);
        assert_eq!(self.asks(), [Ask::Flush]);
        self.said()
    }

    fn said(&mut self) -> String {
        let said = String::from_utf8(self.connection.poll_transmit().to_vec()).unwrap();
        self.connection.handle_sent(said.len());
        said
    }

    fn data(&mut self, data: &[u8]) -> Option<End> {
        let Self { connection, now, body } = self;
        connection.handle_data(*now, data, |part| body.extend_from_slice(part))
    }

    fn resolved(&mut self, ips: &[&str]) -> Option<End> {
        let ips: Vec<IpAddr> = ips.iter().map(|ip| ip.parse().unwrap()).collect();
        self.connection.handle_resolved(self.now, Ok(ips))
    }
}

const PART: &[u8] =
    b"HTTP/1.1 206 Part\r\nContent-Range: bytes 5-9/100\r\nContent-Length: 5\r\n\r\nhello";

#[test]
fn part_of_a_file_is_fetched_and_the_connection_kept() {
    let mut rig = Rig::new("http://me:pw@h:81/d/x", 5, 5);
    assert_eq!(rig.asks(), [Ask::Resolve { host: "h".into() }]);
    assert_eq!(rig.resolved(&["192.0.2.1"]), None);
    let to = target("192.0.2.1:81");
    assert_eq!(rig.asks(), [Ask::Connect { to, tls: None, forwarded: false }]);
    rig.connection.handle_connected(rig.now);
    assert_eq!(rig.asks(), [Ask::Flush]);
    let agent = Conf::default().trackers.user_agent;
    let want = format!(
        "GET /d/x HTTP/1.1\r\nHost: h:81\r\nUser-Agent: {agent}\r\nAuthorization: Basic bWU6cHc=\r\n\
         Range: bytes=5-9\r\nAccept-Encoding: identity\r\nConnection: keep-alive\r\n\r\n"
    );
    assert_eq!(rig.said(), want);
    assert_eq!(rig.data(PART), Some(Ok(())));
    assert_eq!((rig.asks(), rig.body.as_slice()), (vec![], &b"hello"[..]));
    // The next one goes out at once.
    assert_eq!(rig.connection.fetch(rig.now, request("http://me:pw@h:81/d/x", 0, 100)), None);
    assert_eq!(rig.asks(), [Ask::Flush]);
    assert!(rig.said().contains("Range: bytes=0-99\r\n"));
    // Elsewhere it is another connection.
    rig.connection.stop();
    assert_eq!(rig.asks(), [Ask::Close]);
}

#[test]
fn another_origin_gets_another_connection() {
    let mut rig = Rig::new("http://192.0.2.1/x", 5, 5);
    rig.sent();
    assert_eq!(rig.data(PART), Some(Ok(())));
    assert_eq!(rig.connection.fetch(rig.now, request("https://192.0.2.1/x", 5, 5)), None);
    let to = target("192.0.2.1:443");
    let tls = Some("192.0.2.1".to_owned());
    assert_eq!(rig.asks(), [Ask::Close, Ask::Connect { to, tls, forwarded: false }]);
}

#[test]
fn idle_connection_is_closed_in_time_and_a_stale_one_made_anew() {
    let mut rig = Rig::new("http://192.0.2.1/x", 5, 5);
    rig.sent();
    assert_eq!(rig.data(PART), Some(Ok(())));
    assert_eq!(rig.connection.poll_timeout(), Some(at(15)));
    assert_eq!(rig.connection.fetch(at(9), request("http://192.0.2.1/x", 5, 5)), None);
    rig.said();
    // The server had closed it: our request crossed with that.
    assert_eq!(rig.connection.handle_closed(at(9), Ok(())), None);
    rig.now = at(9);
    rig.sent();
    assert_eq!(rig.data(PART), Some(Ok(())));
    assert_eq!(rig.connection.handle_timeout(at(24)), None);
    assert_eq!((rig.asks(), rig.connection.is_open()), (vec![Ask::Close], false));
    // A connection that was not kept before may not do that.
    let mut rig = Rig::new("http://192.0.2.1/x", 5, 5);
    rig.sent();
    let end = rig.connection.handle_closed(rig.now, Ok(()));
    assert!(matches!(end, Some(Err(FetchError::Stream(_)))), "{end:?}");
}

fn fails(response: &[u8], first: u64, len: u64) -> FetchError {
    let mut rig = Rig::new("http://192.0.2.1/x", first, len);
    rig.sent();
    let end = rig.data(response);
    assert_eq!((rig.asks(), rig.connection.is_busy()), (vec![Ask::Close], false));
    end.unwrap_or(Ok(())).unwrap_err()
}

#[test]
fn only_what_was_asked_for_is_taken() {
    let whole = |len: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
    assert_eq!(fails(whole(99).as_bytes(), 5, 5), FetchError::Length(99));
    assert_eq!(fails(whole(99).as_bytes(), 0, 100), FetchError::Length(99));
    assert_eq!(fails(whole(101).as_bytes(), 0, 100), FetchError::Length(101));
    let other = PART.to_vec().iter().map(|&b| if b == b'9' { b'8' } else { b }).collect::<Vec<_>>();
    let wrong = FetchError::Http(HttpError::Head("another range than was asked for"));
    assert_eq!(fails(&other, 5, 5), wrong);
    let longer =
        b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/999\r\nContent-Length: 5\r\n\r\nhello";
    assert_eq!(fails(longer, 5, 5), FetchError::Length(999));
    let short = b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/100\r\nContent-Length: 3\r\n\r\nhel";
    assert_eq!(fails(short, 5, 5), FetchError::Short(2));
    let packed =
        b"HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/100\r\nContent-Encoding: gzip\r\n\r\n";
    assert_eq!(fails(packed, 5, 5), FetchError::Http(HttpError::Coding));
    let busy = b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 999999\r\n\r\n";
    let retry_after = Some(Duration::from_secs(7));
    assert_eq!(fails(busy, 5, 5), FetchError::Status { status: 503, retry_after });
    let gone = b"HTTP/1.1 404 No\r\nRetry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n\r\n";
    assert_eq!(fails(gone, 5, 5), FetchError::Status { status: 404, retry_after: None });
    // A date counts from the server's own, whichever comes first.
    let [date, later] =
        ["Date: Wed, 21 Oct 2015 07:28:00 GMT", "Retry-After: Wed, 21 Oct 2015 07:30:01 GMT"];
    for headers in [[date, later], [later, date]] {
        let dated = format!("HTTP/1.1 429 Slow\r\n{}\r\n\r\n", headers.join("\r\n"));
        let retry_after = Some(Duration::from_secs(121));
        let error = FetchError::Status { status: 429, retry_after };
        assert_eq!(fails(dated.as_bytes(), 5, 5), error);
    }
}

#[test]
fn whole_file_in_place_of_a_part_is_read_on_for_the_next() {
    let body: Vec<u8> = (0..100).collect();
    let at = "http://192.0.2.1/x";
    for head in ["HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"] {
        let mut rig = Rig::new(at, 5, 5);
        rig.sent();
        assert_eq!(rig.data(head.as_bytes()), None);
        assert_eq!(rig.data(&body[..3]), None);
        assert_eq!(rig.data(&body[3..50]), Some(Ok(())));
        assert_eq!((&rig.body[..], rig.connection.take_skipped()), (&body[5..10], 5));
        assert!(rig.connection.sends_whole() && rig.asks().is_empty());
        // The next part lies ahead, and has begun to come.
        assert_eq!(rig.connection.fetch(rig.now, request(at, 20, 40)), None);
        assert_eq!((rig.asks(), rig.connection.has_ahead()), (vec![Ask::Resume], true));
        assert_eq!(rig.data(&[]), None);
        assert_eq!(rig.data(&body[50..]), Some(Ok(())));
        assert_eq!((&rig.body[5..], rig.connection.take_skipped()), (&body[20..60], 10));
        // All that is left is there.
        assert_eq!(rig.connection.fetch(rig.now, request(at, 90, 10)), None);
        assert_eq!(rig.data(&[]), Some(Ok(())));
        assert_eq!(&rig.body[45..], &body[90..]);
        // What lies before takes another connection.
        rig.asks();
        assert_eq!(rig.connection.fetch(rig.now, request(at, 0, 5)), None);
        assert!(matches!(rig.asks()[..], [Ask::Connect { .. }]));
    }
}

#[test]
fn whole_file_is_not_read_past_more_than_is_allowed() {
    let at = "http://192.0.2.1/x";
    let conf = Conf::default().with(|conf| conf.web_seeds.max_skip = 4);
    for (first, end) in [(4, None), (5, Some(Err(FetchError::NoRanges)))] {
        let mut connection = WebConnection::new(&conf);
        assert_eq!(connection.fetch(Instant::ZERO, request(at, first, 5)), None);
        while connection.poll_ask().is_some() {}
        connection.handle_connected(Instant::ZERO);
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
        assert_eq!(connection.handle_data(Instant::ZERO, head, |_| ()), end);
    }
    // A server that goes on although nothing is asked for is not read, and what comes at once is
    // bounded.
    let len = 8 << 20;
    let what = |first| FileRequest { first, len: 10, file_len: len, ..request(at, 0, 10) };
    let mut connection = WebConnection::new(&Conf::default());
    assert_eq!(connection.fetch(Instant::ZERO, what(0)), None);
    while connection.poll_ask().is_some() {}
    connection.handle_connected(Instant::ZERO);
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {len}\r\n\r\n");
    assert_eq!(connection.handle_data(Instant::ZERO, head.as_bytes(), |_| ()), None);
    let part = vec![1; 100_000];
    assert_eq!(connection.handle_data(Instant::ZERO, &part, |_| ()), Some(Ok(())));
    assert!(!connection.is_full() && connection.is_open());
    assert_eq!(connection.handle_data(Instant::ZERO, &[1; 200_000], |_| ()), None);
    assert!(connection.is_full() && connection.is_open());
    assert_eq!(connection.handle_data(Instant::ZERO, &vec![1; 2 << 20], |_| ()), None);
    assert!(!connection.is_open());
}

#[test]
fn body_ends_with_the_first_byte_too_many() {
    // Without a length, and with one that is not kept to, in chunks.
    let mut rig = Rig::new("http://192.0.2.1/x", 0, 100);
    rig.sent();
    assert_eq!(rig.data(b"HTTP/1.0 200 OK\r\n\r\n"), None);
    assert_eq!(rig.data(&[1; 60]), None);
    assert_eq!(rig.data(&[1; 60]), Some(Err(FetchError::Http(HttpError::BodyTooLong(100)))));
    assert_eq!(rig.body.len(), 60);
    let mut rig = Rig::new("http://192.0.2.1/x", 0, 100);
    rig.sent();
    assert_eq!(rig.data(b"HTTP/1.0 200 OK\r\n\r\n"), None);
    assert_eq!(rig.data(&[1; 100]), Some(Ok(())), "it is whole before it ends");
    assert_eq!(rig.asks(), [Ask::Close]);
    let mut rig = Rig::new("http://192.0.2.1/x", 5, 5);
    rig.sent();
    assert_eq!(rig.data(&[PART, b"more"].concat()), Some(Ok(())));
    assert_eq!(rig.asks(), [Ask::Close], "what is behind it was not asked for");
}

fn redirect(to: &str) -> Vec<u8> {
    format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\n\r\n").into_bytes()
}

#[test]
fn redirects_lose_credentials_at_another_origin_and_are_learned() {
    let mut rig = Rig::new("http://me:pw@192.0.2.1/a/x", 5, 5);
    assert!(rig.sent().contains("Authorization"));
    assert_eq!(rig.data(&redirect("../b c")), None);
    assert_eq!(rig.asks().first(), Some(&Ask::Close));
    rig.connection.handle_connected(rig.now);
    let said = rig.said();
    assert!(said.starts_with("GET /b%20c HTTP") && said.contains("Authorization"), "{said}");
    assert_eq!(rig.data(&redirect("http://192.0.2.2/y")), None);
    let said = rig.sent();
    assert!(said.starts_with("GET /y HTTP") && !said.contains("Authorization"), "{said}");
    assert_eq!(rig.data(PART), Some(Ok(())));
    let place = rig.connection.take_place().unwrap();
    assert_eq!(place.url.expose(), "http://192.0.2.2/y");
    assert_eq!(rig.connection.take_place(), None);
}

#[test]
fn redirects_are_bounded_and_lead_nowhere_nearer_or_weaker() {
    let follow = |from: &str, to: &str| {
        let mut rig = Rig::new(from, 5, 5);
        rig.sent();
        rig.data(&redirect(to))
    };
    let nearer = Some(Err(FetchError::Refused(Refusal::Nearer)));
    assert_eq!(follow("http://192.0.2.1/x", "http://127.0.0.1/x"), nearer);
    assert_eq!(follow("http://192.0.2.1/x", "http://10.0.0.1/x"), nearer);
    assert_eq!(follow("http://10.0.0.1/x", "http://10.0.0.2/x"), None);
    let weaker = FetchError::Scheme { from: Scheme::Https, to: Scheme::Http };
    assert_eq!(follow("https://192.0.2.1/x", "http://192.0.2.1/x"), Some(Err(weaker)));
    assert!(matches!(
        follow("http://192.0.2.1/x", "udp://192.0.2.1:1/x"),
        Some(Err(FetchError::Redirect(_)))
    ));
    let mut rig = Rig::new("http://192.0.2.1/x", 5, 5);
    for _ in 0..5 {
        rig.sent();
        assert_eq!(rig.data(&redirect("/x")), None);
    }
    rig.sent();
    assert_eq!(rig.data(&redirect("/x")), Some(Err(FetchError::Redirects(5))));
    // By name, too, and after a detour.
    let mut rig = Rig::new("http://192.0.2.1/x", 5, 5);
    rig.sent();
    assert_eq!(rig.data(&redirect("http://h/x")), None);
    rig.asks();
    assert_eq!(rig.resolved(&["192.168.0.1", "::1", "0.0.0.0"]), {
        Some(Err(FetchError::Refused(Refusal::NoHost)))
    });
}

#[test]
fn near_servers_are_asked_without_a_query() {
    let begin = |at: &str| {
        let mut connection = WebConnection::new(&Conf::default());
        connection.fetch(Instant::ZERO, request(at, 0, 1))
    };
    let refused = Some(Err(FetchError::Refused(Refusal::Query)));
    for near in ["127.0.0.1", "[::1]", "10.0.0.1", "192.168.1.1:81", "169.254.169.254"] {
        assert_eq!(begin(&format!("http://{near}/x?y=1")), refused, "{near}");
        assert_eq!(begin(&format!("http://{near}/x")), None, "{near}");
    }
    assert_eq!(begin("http://192.0.2.1/x?y=1"), None);
    assert!(matches!(begin("http://0.0.0.0/x"), Some(Err(FetchError::Refused(Refusal::NoHost)))));
    let conf = Conf::default().with(|conf| conf.trackers.ssrf_mitigation = false);
    let mut connection = WebConnection::new(&conf);
    let near = request("http://127.0.0.1/x?y=1", 0, 1);
    assert_eq!(connection.fetch(Instant::ZERO, near), None);
}

#[test]
fn addresses_are_tried_in_turn_within_the_time() {
    let mut rig = Rig::new("http://h/x", 5, 5);
    assert_eq!(rig.resolved(&["192.0.2.1", "192.0.2.2"]), None);
    rig.asks();
    assert_eq!(rig.connection.poll_timeout(), Some(at(10)));
    assert_eq!(rig.connection.handle_timeout(at(10)), None);
    let to = target("192.0.2.2:80");
    assert_eq!(rig.asks(), [Ask::Close, Ask::Connect { to, tls: None, forwarded: false }]);
    let refused = Err("connection refused".to_owned());
    let end = rig.connection.handle_closed(at(11), refused);
    assert_eq!(end, Some(Err(FetchError::Connect("connection refused".into()))));
    assert!(rig.connection.poll_timeout().is_none() && !rig.connection.is_open());
}

#[test]
fn silence_is_timed_out_unless_we_hold_back() {
    let mut rig = Rig::new("http://192.0.2.1/x", 5, 5);
    rig.sent();
    assert_eq!(rig.connection.poll_timeout(), Some(at(20)));
    rig.connection.handle_held(at(19));
    assert_eq!(rig.connection.poll_timeout(), None);
    rig.connection.handle_resumed(at(100));
    assert_eq!(rig.connection.poll_timeout(), Some(at(120)));
    rig.now = at(119);
    assert_eq!(rig.data(b"HTTP/1.1 206"), None);
    assert_eq!(rig.connection.handle_timeout(at(138)), None);
    assert_eq!(rig.connection.handle_timeout(at(139)), Some(Err(FetchError::Timeout)));
}

#[test]
fn trickle_is_too_slow() {
    let mut rig = Rig::new("http://192.0.2.1/x", 0, 100);
    rig.sent();
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
    assert_eq!(rig.data(head), None);
    for secs in [15, 30, 45, 59] {
        rig.now = at(secs);
        assert_eq!(rig.data(b"x"), None);
    }
    rig.now = at(60);
    assert_eq!(rig.data(b"x"), Some(Err(FetchError::TooSlow)));
}

proptest! {
    #[test]
    fn cuts_do_not_matter_and_no_more_is_taken_than_asked_for(
        head in proptest::sample::select(vec![
            "HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/100\r\nContent-Length: 5\r\n\r\n",
            "HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/100\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n",
            "HTTP/1.1 206 P\r\nContent-Range: bytes 5-9/100\r\n\r\n",
            "HTTP/1.1 302 M\r\nLocation: /y\r\n\r\nHTTP/1.1 206 P\r\n",
            "",
        ]),
        junk in proptest::collection::vec(any::<u8>(), 0..40),
        size in 1usize..9,
    ) {
        let stream = [head.as_bytes(), &junk].concat();
        let whole = probe::fetch(&[&stream], 5, 5, 100);
        let parts: Vec<&[u8]> = stream.chunks(size).collect();
        let cut = probe::fetch(&parts, 5, 5, 100);
        prop_assert!(whole.body.len() <= 5 && cut.body.len() <= 5);
        if whole.dials == 1 && whole.end == Some(Ok(())) {
            prop_assert_eq!((cut.end, cut.body), (whole.end, whole.body));
        }
    }
}
