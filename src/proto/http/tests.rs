//! Responses as servers send them, and as they should not.

use miniz_oxide::deflate::compress_to_vec;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 10_000;

fn request() -> Request<'static> {
    Request {
        authority: "t",
        target: "/",
        credentials: None,
        user_agent: "",
        range: None,
        keep_alive: false,
        forwarder: None,
        post: None,
    }
}

fn get() -> Get {
    Get::new(&request(), LIMIT)
}

/// What comes of a stream that arrives in these parts and is then closed.
fn fetch<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Result<Response, HttpError> {
    let mut get = get();
    for part in parts {
        if let Some(response) = get.handle_data(part)? {
            return Ok(response);
        }
    }
    get.handle_end()
}

/// The same in one part, in parts of every size, and cut in two at every place.
#[track_caller]
fn check(stream: &[u8], want: Result<Response, HttpError>) {
    assert_eq!(fetch([stream]), want);
    for size in [1, 2, 3, 7] {
        assert_eq!(fetch(stream.chunks(size)), want, "in parts of {size}");
    }
    if stream.len() < 2000 {
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            assert_eq!(fetch([head, tail]), want, "cut at {cut}");
        }
    }
}

fn body(body: &[u8]) -> Result<Response, HttpError> {
    Ok(Response { status: 200, location: None, body: body.to_vec() })
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let crc = data.iter().fold(!0u32, |crc, &b| {
        (0..8).fold(crc ^ u32::from(b), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    });
    let trailer = [(!crc).to_le_bytes(), (data.len() as u32).to_le_bytes()].concat();
    [&b"\x1f\x8b\x08\0\0\0\0\0\0\x03"[..], &compress_to_vec(data, 6), &trailer].concat()
}

fn with(head: &str, body: &[u8]) -> Vec<u8> {
    [format!("HTTP/1.1 200 OK\r\n{head}\r\n").as_bytes(), body].concat()
}

#[test]
fn request_to_a_proxy_names_all_of_the_address() {
    let proxy: ProxyServer = "http://me:pw@p:1".parse().unwrap();
    let request =
        Request { authority: "t:81", target: "/a?b", forwarder: Some(&proxy), ..request() };
    let get = Get::new(&request, LIMIT);
    let want = b"GET http://t:81/a?b HTTP/1.1\r\nHost: t:81\r\n\
                 Proxy-Authorization: Basic bWU6cHc=\r\n";
    assert!(get.poll_transmit().starts_with(want));
}

#[test]
fn the_request() {
    let request = Request {
        authority: "t:81",
        target: "/a?b",
        credentials: Some(b"me:pw"),
        user_agent: "x/1",
        ..request()
    };
    let mut get = Get::new(&request, LIMIT);
    let want =
        b"GET /a?b HTTP/1.1\r\nHost: t:81\r\nUser-Agent: x/1\r\nAuthorization: Basic bWU6cHc=\r\n\
          Accept-Encoding: gzip\r\nConnection: close\r\n\r\n";
    assert_eq!(get.poll_transmit(), want);
    get.handle_sent(4);
    assert_eq!(get.poll_transmit(), &want[4..]);
    get.handle_sent(usize::MAX);
    assert_eq!(get.poll_transmit(), b"");
    for (plain, coded) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("\u{ff}\u{ff}", "w7/Dvw=="),
    ] {
        assert_eq!(base64(plain.as_bytes()), coded);
    }
}

#[test]
fn bodies_end_by_length_by_chunk_or_with_the_stream() {
    check(&with("Content-Length: 5\r\n", b"helloMORE"), body(b"hello"));
    check(&with("content-length:5\r\nContent-Length: 5 \r\n", b"hello"), body(b"hello"));
    check(&with("Content-Length: 0\r\n", b""), body(b""));
    check(&with("", b"hello"), body(b"hello"));
    check(&with("", b""), body(b""));
    check(b"HTTP/1.0 200\nServer: old\n\nhello", body(b"hello"));
    let chunks = b"3\r\nhel\r\n002;ext=\"x\"\r\nlo\r\n0\r\nTrailer: x\r\n\r\nMORE";
    check(&with("Transfer-Encoding: Chunked\r\n", chunks), body(b"hello"));
    check(&with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", chunks), body(b"hello"));
    check(&with("Transfer-Encoding: chunked\r\n", b"A \n0123456789\n0\n\n"), body(b"0123456789"));
    check(&with("Content-Encoding: identity\r\nContent-Length: 5\r\n", b"hello"), body(b"hello"));
    check(b"HTTP/1.1 204 None\r\n\r\n", Ok(Response { status: 204, location: None, body: vec![] }));
    check(
        b"HTTP/1.1 304 Same\r\nLocation: /x\r\n\r\n",
        Ok(Response { status: 304, location: None, body: vec![] }),
    );
    let not_found = Response { status: 404, location: None, body: b"no".to_vec() };
    check(b"HTTP/1.1 404 Not Found\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nno", Ok(not_found));
}

#[test]
fn informational_responses_are_skipped_and_bounded() {
    check(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\
          Content-Length: 2\r\n\r\nok",
        body(b"ok"),
    );
    check(b"HTTP/1.1 101 Switching\r\n\r\n", Err(HttpError::Head("another protocol")));
    check(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(2000), Err(HttpError::HeadTooLong));
}

#[test]
fn redirects_need_no_body() {
    for status in [301, 302, 303, 307, 308] {
        let location = Some(b"http://u/x".to_vec());
        let head = format!(
            "HTTP/1.1 {status} Moved\r\nlocation:  http://u/x \r\n\
             Content-Length: 99999999\r\n\r\nxyz"
        );
        check(head.as_bytes(), Ok(Response { status, location, body: vec![] }));
    }
    let lost = Response { status: 302, location: None, body: b"?".to_vec() };
    check(b"HTTP/1.1 302 Moved\r\n\r\n?", Ok(lost));
}

#[test]
fn truncated_response_is_refused() {
    for stream in [
        b"".to_vec(),
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
        with("Content-Length: 6\r\n", b"hello"),
        with("Transfer-Encoding: chunked\r\n", b"5\r\nhel"),
        with("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n"),
        with("Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n"),
    ] {
        check(&stream, Err(HttpError::Truncated));
    }
}

#[test]
fn malformed_responses_are_refused() {
    let head = |text: &str, fault| check(text.as_bytes(), Err(HttpError::Head(fault)));
    head("<html>\r\n", "no status line");
    head("HTTP/2 200 OK\r\n", "no status line");
    head("HTTP/1.1 2000\r\n", "no status line");
    head("HTTP/1.1 099\r\n", "no status line");
    head("HTTP/1.1 +20\r\n", "no status line");
    head("ICY 200 OK\r\n", "no status line");
    head("HTTP/1.1 200\r\nnonsense\r\n", "a header line without a colon");
    head("HTTP/1.1 200\r\nA: b\r\n folded: c\r\n", "a malformed header name");
    head("HTTP/1.1 200\r\nContent-Length : 5\r\n", "a malformed header name");
    head("HTTP/1.1 200\r\n: 5\r\n", "a malformed header name");
    head("HTTP/1.1 200\r\nContent-Length: +5\r\n", "a malformed content length");
    head("HTTP/1.1 200\r\nContent-Length: 5, 5\r\n", "a malformed content length");
    head("HTTP/1.1 200\r\nContent-Length: 99999999999999999999\r\n", "a malformed content length");
    head("HTTP/1.1 200\r\nContent-Length: 5\r\nContent-Length: 6\r\n", "two content lengths");
    head("HTTP/1.1 200\r\nTransfer-Encoding: gzip, chunked\r\n", "an unknown transfer coding");
    head(
        "HTTP/1.1 200\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "an unknown transfer coding",
    );
    check(&with("Content-Encoding: br\r\n", b""), Err(HttpError::Coding));
    check(
        &with("Content-Encoding: gzip\r\nContent-Encoding: gzip\r\n", b""),
        Err(HttpError::Coding),
    );
    for chunks in [
        &b"\r\n"[..],
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"10000000000000000\r\n",
        b"1\r\nab\r\n",
    ] {
        check(&with("Transfer-Encoding: chunked\r\n", chunks), Err(HttpError::Chunk));
    }
}

#[test]
fn nothing_grows_beyond_its_limit() {
    let full = vec![b'x'; LIMIT];
    let over = vec![b'x'; LIMIT + 1];
    let too_long = Err(HttpError::BodyTooLong(LIMIT as u64));
    check(&with("", &full), body(&full));
    check(&with("", &over), too_long.clone());
    check(&with(&format!("Content-Length: {LIMIT}\r\n"), &full), body(&full));
    // What is only claimed is refused at once, too.
    check(&with("Content-Length: 10001\r\n", b""), too_long.clone());
    check(&with("Content-Length: 18446744073709551615\r\n", b""), too_long.clone());
    check(&with("Transfer-Encoding: chunked\r\n", b"2711\r\n"), too_long.clone());
    check(&with("Transfer-Encoding: chunked\r\n", b"ffffffffffffffff\r\n"), too_long.clone());
    check(
        &with("Transfer-Encoding: chunked\r\n", &[&b"2710\r\n"[..], &full, b"\r\n1\r\n"].concat()),
        too_long.clone(),
    );
    let extensions = format!("1;{}\r\nx\r\n", "e".repeat(200)).repeat(300);
    check(&with("Transfer-Encoding: chunked\r\n", extensions.as_bytes()), Err(HttpError::Chunk));
    let trailers = format!("0\r\n{}", "T: x\r\n".repeat(10_000));
    check(&with("Transfer-Encoding: chunked\r\n", trailers.as_bytes()), Err(HttpError::Chunk));
    check(&with(&"A: b\r\n".repeat(MAX_HEAD / 6), b""), Err(HttpError::HeadTooLong));
    check(&vec![b'H'; MAX_HEAD + 1], Err(HttpError::HeadTooLong));
}

#[test]
fn gzip_is_unpacked() {
    let text = b"d8:intervali1800e5:peers0:e".repeat(20);
    let packed = gzip(&text);
    let length = format!("Content-Encoding: gzip\r\nContent-Length: {}\r\n", packed.len());
    check(&with(&length, &packed), body(&text));
    check(&with("Content-Encoding: X-GZIP\r\n", &packed), body(&text));
    check(&with("Content-Encoding: gzip\r\n", &[&packed[..], b"junk"].concat()), body(&text));
    let chunked =
        [format!("{:x}\r\n", packed.len()).as_bytes(), &packed, b"\r\n0\r\n\r\n"].concat();
    check(&with("Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", &chunked), body(&text));
    check(&with("Content-Encoding: gzip\r\n", &gzip(b"")), body(b""));
    let noise: Vec<u8> =
        (0..9000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    check(&with("Content-Encoding: gzip\r\n", &gzip(&noise)), body(&noise));
    for len in 0..packed.len() {
        assert_eq!(
            fetch([&with("Content-Encoding: gzip\r\n", &packed[..len])[..]]),
            Err(HttpError::Truncated),
            "{len}"
        );
    }
    let mut wrong = packed.clone();
    let last = wrong.len() - 5;
    wrong[last] ^= 1;
    check(
        &with("Content-Encoding: gzip\r\n", &wrong),
        Err(HttpError::Gzip("its checksum is wrong")),
    );
    check(
        &with("Content-Encoding: gzip\r\n", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xff\xff"),
        Err(HttpError::Gzip("its data is corrupt")),
    );
    check(
        &with("Content-Encoding: gzip\r\n", b"d8:interval"),
        Err(HttpError::Gzip("it does not begin like one")),
    );
}

#[test]
fn a_gzip_bomb_does_not_go_off() {
    let bomb = gzip(&vec![0; 8 << 20]);
    assert!(bomb.len() < LIMIT);
    check(&with("Content-Encoding: gzip\r\n", &bomb), Err(HttpError::BodyTooLong(LIMIT as u64)));
    let mut get = get();
    assert_eq!(
        get.handle_data(&with("Content-Encoding: gzip\r\n", &bomb)),
        Err(HttpError::BodyTooLong(LIMIT as u64))
    );
    assert!(format!("{get:?}").contains("limit: 10000"));
    check(&with("Content-Encoding: gzip\r\n", &gzip(&[7; LIMIT])), body(&[7; LIMIT]));
    check(
        &with("Content-Encoding: gzip\r\n", &gzip(&[7; LIMIT + 1])),
        Err(HttpError::BodyTooLong(LIMIT as u64)),
    );
}

/// What is wrong with the response to a request for bytes 5 to 9, or its body and whether the
/// stream may carry another.
fn part_of(stream: &[u8]) -> Result<(Vec<u8>, bool), HttpError> {
    let range = Some(Range { first: 5, last: 9 });
    let mut exchange = Exchange::new(&Request { range, keep_alive: true, ..request() }, 10);
    exchange.handle_sent(usize::MAX);
    let (mut input, mut body) = (stream, Vec::new());
    loop {
        match exchange.handle_data(&mut input)? {
            Some(Part::Head(_)) => {}
            Some(Part::Body(part)) => body.extend_from_slice(part),
            Some(Part::End) => return Ok((body, exchange.is_reusable())),
            None => return Err(HttpError::Truncated),
        }
    }
}

#[test]
fn ranges_are_asked_for_and_held_against_the_answer() {
    let range = Some(Range { first: 5, last: 9 });
    let exchange = Exchange::new(&Request { range, keep_alive: true, ..request() }, 10);
    let want = b"GET / HTTP/1.1\r\nHost: t\r\nRange: bytes=5-9\r\nAccept-Encoding: identity\r\n\
                 Connection: keep-alive\r\n\r\n";
    assert_eq!(exchange.poll_transmit(), want);
    let with = |range: &str| {
        let head = format!("HTTP/1.1 206 Part\r\nContent-Length: 5\r\n{range}\r\n");
        part_of(&[head.as_bytes(), b"hello"].concat())
    };
    let good = Ok((b"hello".to_vec(), true));
    assert_eq!(with("Content-Range: bytes 5-9/100\r\n"), good);
    assert_eq!(with("Content-Range: bytes 5-9/*\r\n"), good);
    for other in ["bytes 5-8/100", "bytes 4-9/100", "bytes 0-4/100"] {
        let wrong = Err(HttpError::Head("another range than was asked for"));
        assert_eq!(with(&format!("Content-Range: {other}\r\n")), wrong, "{other}");
    }
    assert_eq!(with(""), Err(HttpError::Head("another range than was asked for")));
    for broken in ["bytes 9-5/100", "bytes 5-9/9", "bytes 5-9", "items 5-9/100", "bytes */100"] {
        let wrong = Err(HttpError::Head("a malformed content range"));
        assert_eq!(with(&format!("Content-Range: {broken}\r\n")), wrong, "{broken}");
    }
    // A server that knows no ranges sends everything: that is for the caller to say.
    assert_eq!(part_of(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), good);
}

#[test]
fn stream_stays_only_where_the_end_of_the_response_is_certain() {
    let reusable = |head: &str, body: &str| {
        let stream = format!("{head}\r\n{body}");
        part_of(stream.as_bytes()).map(|(_, reusable)| reusable)
    };
    let length = "Content-Length: 2\r\n";
    assert_eq!(reusable(&format!("HTTP/1.1 200 OK\r\n{length}"), "ok"), Ok(true));
    assert_eq!(reusable(&format!("HTTP/1.0 200 OK\r\n{length}"), "ok"), Ok(false));
    let kept = format!("HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\n{length}");
    assert_eq!(reusable(&kept, "ok"), Ok(true));
    let closed = format!("HTTP/1.1 200 OK\r\nConnection: x, close\r\n{length}");
    assert_eq!(reusable(&closed, "ok"), Ok(false));
    let twice =
        format!("HTTP/1.1 200 OK\r\nConnection: close\r\nConnection: keep-alive\r\n{length}");
    assert_eq!(reusable(&twice, "ok"), Ok(false));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n";
    assert_eq!(reusable(chunked, "2\r\nok\r\n0\r\n\r\n"), Ok(true));
    let both = format!("{chunked}{length}");
    assert_eq!(reusable(&both, "2\r\nok\r\n0\r\n\r\n"), Ok(false));
    assert_eq!(reusable("HTTP/1.1 304 Same\r\n", ""), Ok(true));
    assert_eq!(reusable("HTTP/1.1 302 Moved\r\nLocation: /x\r\n", ""), Ok(false));
}

#[test]
fn next_response_of_a_stream_is_left_in_the_input() {
    let stream = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 404 No\r\n\
                   Content-Length: 3\r\n\r\nbad";
    let (mut input, mut got) = (&stream[..], Vec::new());
    for _ in 0..2 {
        let mut exchange = Exchange::new(&request(), 10);
        while let Some(part) = exchange.handle_data(&mut input).unwrap() {
            match part {
                Part::Head(head) => got.push(head.status.to_string()),
                Part::Body(part) => got.push(String::from_utf8(part.to_vec()).unwrap()),
                Part::End => break,
            }
        }
    }
    assert_eq!((got.join(" "), input), ("200 ok 404 bad".into(), &b""[..]));
}

#[test]
fn body_is_handed_on_as_it_comes_and_not_kept() {
    let mut exchange = Exchange::new(&request(), u64::MAX);
    let head = &mut &b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n"[..];
    assert!(matches!(exchange.handle_data(head), Ok(Some(Part::Head(_)))));
    let part = vec![7; 100_000];
    for _ in 0..10_000 {
        let mut input = &part[..];
        assert_eq!(exchange.handle_data(&mut input), Ok(Some(Part::Body(&part[..]))));
        assert!(input.is_empty());
    }
    assert_eq!(exchange.handle_data(&mut &b""[..]), Ok(Some(Part::End)));
}

proptest! {
    #[test]
    fn nothing_panics_and_cuts_do_not_matter(
        head in proptest::sample::select(vec![
            "",
            "Content-Length: 9\r\n",
            "Transfer-Encoding: chunked\r\n",
            "Content-Encoding: gzip\r\n",
        ]),
        junk in proptest::collection::vec(any::<u8>(), 0..60),
        size in 1usize..9,
    ) {
        for stream in [with(head, &junk), junk] {
            prop_assert_eq!(fetch([&stream[..]]).ok(), fetch(stream.chunks(size)).ok());
        }
    }
}
