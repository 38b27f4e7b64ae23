//! The promises towards trackers and those who name them: any reply is read or refused, however it
//! is cut, within bounds; and nothing leads nearer than where we were sent.

use std::net::IpAddr;

use cratetorrent::{
    http_probe::exchange,
    tracker_probe::{Outcome, http, udp},
    wire::tracker::{TrackerUrl, url::MAX_URL},
};

/// An address that is accepted is the same again when it is read from what is kept of it, shows
/// none of its secrets, and so does where a redirect leads from it. Address and `Location` are
/// separated by a line end.
pub fn tracker_url(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (address, location) = text.split_once('\n').unwrap_or((&text, ""));
    let Ok(url) = TrackerUrl::parse(address) else { return };
    sound(&url);
    let scrape = url.scrape();
    scrape.iter().for_each(sound);
    if let Ok(joined) = url.join(location) {
        sound(&joined);
        assert!(joined.credentials().is_none() || joined.same_origin(&url));
        assert!(
            !joined.path().split('/').any(|part| part == "." || part == "..")
                || location.is_empty()
        );
    }
}

fn sound(url: &TrackerUrl) {
    let again = TrackerUrl::parse(&url.expose());
    // Escapes of credentials may make it too long.
    assert!(again.as_ref() == Ok(url) || url.expose().len() > MAX_URL, "{again:?}");
    assert_ne!(url.port(), 0);
    assert!(url.target().starts_with('/') && url.target().bytes().all(|b| b.is_ascii_graphic()));
    assert!(url.authority().bytes().all(|b| b.is_ascii_graphic() && !b"/?#@\\".contains(&b)));
    let shown = url.to_string();
    let shown = shown.strip_prefix(&format!("{}://{}/", url.scheme(), url.authority()));
    let shown =
        shown.expect("it begins with the origin").trim_end_matches("?…").trim_start_matches("…/");
    let words = ["", "…", "announce", "scrape"];
    assert!(words.contains(&shown.rsplit_once('.').map_or(shown, |(word, _)| word)), "{shown}");
}

/// A call over HTTP, to a tracker on the internet whose names lead anywhere, comes to the same end
/// however the streams are cut, and connects to nothing but the internet. The first byte says what
/// is asked and how many streams there are; each but the last has its length, in steps of 16 bytes,
/// before it.
pub fn tracker_http(data: &[u8]) {
    let Some((&flags, mut data)) = data.split_first() else { return };
    let mut streams = Vec::new();
    for _ in 0..flags >> 1 & 3 {
        let Some((&len, rest)) = data.split_first() else { break };
        let (stream, rest) = rest.split_at((16 * usize::from(len)).min(rest.len()));
        streams.push(stream);
        data = rest;
    }
    streams.push(data);
    let text = if flags & 8 == 0 {
        "http://192.0.2.1/announce"
    } else {
        "https://me:pw@t.example/x/announce.php?k=1"
    };
    let Ok(url) = TrackerUrl::parse(text) else { unreachable!() };
    let ips: [IpAddr; 4] = ["127.0.0.1", "10.0.0.1", "192.0.2.2", "2001:db8::1"]
        .map(|ip| ip.parse().expect("an address"));
    // A name's first answer has internet addresses only: no tracker was asked before, so a near one
    // would be allowed.
    let ips = if flags & 8 == 0 { &ips[..] } else { &ips[2..] };
    let run = |size: usize| {
        let streams: Vec<Vec<&[u8]>> =
            streams.iter().map(|stream| stream.chunks(size).collect()).collect();
        let (outcome, connections) = http(url.clone(), flags & 1 == 1, ips, &streams);
        for to in &connections {
            let near = match to.ip().to_canonical() {
                IpAddr::V4(ip) => {
                    ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified()
                }
                IpAddr::V6(ip) => {
                    ip.is_loopback()
                        || ip.is_unique_local()
                        || ip.is_unicast_link_local()
                        || ip.is_unspecified()
                }
            };
            assert!(!near, "it connects to {to}");
        }
        // First hop and three redirects, and the two addresses that a name has.
        assert!(connections.len() <= 8, "{connections:?}");
        assert_ne!(outcome, Outcome::Fault);
        outcome
    };
    let whole = run(usize::MAX);
    for size in [1, 7] {
        let cut = run(size);
        // Of several faults another may be found first.
        let same = cut == whole || matches!((&cut, &whole), (Outcome::Error(_), Outcome::Error(_)));
        assert!(same, "{cut:?} in parts of {size}, {whole:?} whole");
    }
}

/// A response's body is the same however the stream is cut, and within its bounds. The first byte
/// says whether a range is asked for.
pub fn http_exchange(data: &[u8]) {
    const MAX_BODY: u64 = 1000;
    let Some((&flags, stream)) = data.split_first() else { return };
    let range = (flags & 1 == 1).then_some((5, 9));
    let whole = exchange(&[stream], range, MAX_BODY);
    for size in [1, 2, 7] {
        let parts: Vec<&[u8]> = stream.chunks(size).collect();
        let cut = exchange(&parts, range, MAX_BODY);
        // Of several faults another may be found first.
        let same = cut == whole || (cut.is_err() && whole.is_err());
        assert!(same, "{cut:?} in parts of {size}, {whole:?} whole");
    }
    if let Ok(outcome) = whole {
        assert!(outcome.body.len() as u64 <= MAX_BODY && outcome.rest <= stream.len());
        assert!(outcome.status >= 200 && (outcome.status != 206 || range.is_some()));
    }
}

/// A call over UDP ends, whatever comes. The first byte says what is asked and over which protocol;
/// before each reply are its length, and with the upper bit whether its transaction id is put
/// right.
pub fn tracker_udp(data: &[u8]) {
    let Some((&flags, mut data)) = data.split_first() else { return };
    let mut replies = Vec::new();
    while let Some((&head, rest)) = data.split_first() {
        let (reply, rest) = rest.split_at(usize::from(head & 127).min(rest.len()));
        replies.push((head & 128 != 0, reply));
        data = rest;
    }
    let ip: IpAddr =
        if flags & 2 == 0 { "192.0.2.1" } else { "2001:db8::1" }.parse().expect("an address");
    let Ok(url) = TrackerUrl::parse("udp://t.example:6969/announce") else { unreachable!() };
    assert_ne!(udp(url, flags & 1 == 1, ip, &replies), Outcome::Fault);
}
