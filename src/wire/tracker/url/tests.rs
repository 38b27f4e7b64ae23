//! Addresses of trackers: their parts, what is refused, what is shown, and where redirects lead.

use super::*;

fn parse(text: &str) -> Result<TrackerUrl, UrlError> {
    TrackerUrl::parse(text)
}

fn url(text: &str) -> TrackerUrl {
    parse(text).unwrap()
}

#[test]
fn the_parts_of_an_address() {
    let u = url("HTTPS://us%40er:p%3Aw@Tracker.Example.:8443/x/announce?passkey=1&a=b#frag");
    assert_eq!((u.scheme(), u.port()), (Scheme::Https, 8443));
    assert_eq!(u.host(), &Host::Name("tracker.example".into()));
    assert_eq!((u.path(), u.query()), ("/x/announce", Some("passkey=1&a=b")));
    assert_eq!(u.credentials(), Some(&b"us@er:p:w"[..]));
    assert_eq!(
        (u.target(), u.authority()),
        ("/x/announce?passkey=1&a=b".into(), "tracker.example:8443".into())
    );
    assert_eq!(u.expose(), "https://us%40er:p%3Aw@tracker.example:8443/x/announce?passkey=1&a=b");
    for (text, authority, port, target) in [
        ("http://t", "t", 80, "/"),
        ("http://t?x", "t", 80, "/?x"),
        ("http://t:/a", "t", 80, "/a"),
        ("http://t:80/", "t", 80, "/"),
        ("https://t/?", "t", 443, "/?"),
        ("https://t:80/a/../b", "t:80", 80, "/a/../b"),
        ("udp://t:6969", "t:6969", 6969, "/"),
        ("udp://192.0.2.7:1/announce", "192.0.2.7:1", 1, "/announce"),
        ("http://[2001:DB8::7]:8080/a", "[2001:db8::7]:8080", 8080, "/a"),
        ("http://[::1]", "[::1]", 80, "/"),
        ("http://@t/", "t", 80, "/"),
        ("http://a_b.t-1/", "a_b.t-1", 80, "/"),
    ] {
        let u = url(text);
        assert_eq!((&*u.authority(), u.port(), &*u.target()), (authority, port, target), "{text}");
        assert_eq!(url(&u.expose()), u);
    }
    assert_eq!(url("http://only-user@t/").credentials(), Some(&b"only-user:"[..]));
}

#[test]
fn invalid_tracker_address_is_refused() {
    let long_label = format!("http://{}.t/", "a".repeat(64));
    let long_name = format!("http://{}t/", "abcdefg.".repeat(32));
    let long = format!("http://t/{}", "a".repeat(MAX_URL));
    for (text, error) in [
        ("", UrlError::Scheme),
        ("t", UrlError::Scheme),
        ("wss://t/announce", UrlError::Scheme),
        ("http:/t/", UrlError::Scheme),
        ("file:///etc/passwd", UrlError::Scheme),
        ("http://", UrlError::Host),
        ("http:///announce", UrlError::Host),
        ("http://.", UrlError::Host),
        ("http://a..b/", UrlError::Host),
        ("http://-a/", UrlError::Host),
        ("http://a-/", UrlError::Host),
        ("http://a%2eb/", UrlError::Host),
        ("http://a:b:1/", UrlError::Host),
        ("http://::1/", UrlError::Host),
        ("http://[::1/", UrlError::Host),
        ("http://[::1]x/", UrlError::Host),
        ("http://[127.0.0.1]/", UrlError::Host),
        ("http://[fe80::1%25eth0]/", UrlError::Host),
        ("http://127.1/", UrlError::Host),
        ("http://2130706433/", UrlError::Host),
        ("http://0x7f000001/", UrlError::Host),
        ("http://127.0.0.1.:0x50/", UrlError::Host),
        ("http://0177.0.0.1/", UrlError::Host),
        (&long_label, UrlError::Host),
        (&long_name, UrlError::Host),
        ("http://xn--fiq228c.example/", UrlError::Idna),
        ("http://a.XN--fiq228c/", UrlError::Idna),
        ("http://tracker.exämple/", UrlError::NotAscii),
        ("http://t/ä", UrlError::NotAscii),
        ("http://t:0/", UrlError::Port),
        ("http://t:65536/", UrlError::Port),
        ("http://t:+80/", UrlError::Port),
        ("http://t:000080/", UrlError::Port),
        ("udp://t/announce", UrlError::NoPort),
        ("udp://t:/announce", UrlError::NoPort),
        ("http://t/a b", UrlError::Character(10)),
        ("http://t/\r\nX: y", UrlError::Character(9)),
        ("http://t/\0", UrlError::Character(9)),
        ("http://t\\@u/", UrlError::Character(8)),
        (" http://t/", UrlError::Character(0)),
        ("http://a@b@c/", UrlError::Credentials),
        ("http://a%3ab:c@t/", UrlError::Credentials),
        ("http://a%0d%0a:c@t/", UrlError::Credentials),
        ("http://a%4:c@t/", UrlError::Credentials),
        (&long, UrlError::TooLong(MAX_URL + 9)),
    ] {
        assert_eq!(parse(text), Err(error), "{text:?}");
    }
    assert!(UrlError::Idna.to_string().contains("international"));
}

#[test]
fn secrets_are_not_shown() {
    for (text, shown) in [
        ("http://user:pw@t/announce?passkey=secret", "http://t/announce?…"),
        ("https://t:1/secret/announce.php", "https://t:1/…/announce.php"),
        ("http://t/announce/secret", "http://t/…"),
        ("http://t/announce5ec2e7", "http://t/…"),
        ("http://t/announcesecret", "http://t/…"),
        ("http://t/secret/scrape", "http://t/…/scrape"),
        ("udp://t:5", "udp://t:5/"),
    ] {
        assert_eq!(
            (url(text).to_string(), format!("{:?}", url(text))),
            (shown.into(), format!("TrackerUrl({shown})"))
        );
    }
}

#[test]
fn announce_and_scrape() {
    for (text, scrape) in [
        ("http://t/announce", Some("http://t/scrape")),
        ("http://t/x/announce.php?k=announce", Some("http://t/x/scrape.php?k=announce")),
        ("http://t/a", None),
        ("http://t/announce/x", None),
        ("http://t/xannounce", None),
        ("udp://t:5/announce", Some("udp://t:5/announce")),
    ] {
        assert_eq!(url(text).scrape(), scrape.map(url), "{text}");
    }
    for (path, ok) in [
        ("/announce", true),
        ("/announce.php?x=/y", true),
        ("/announce/../admin", false),
        ("/announce%2f..%2fadmin", false),
        ("/announce;x", false),
        ("/x/announce", false),
        ("/", false),
        ("/scrape", false),
    ] {
        assert_eq!(url(&format!("http://t{path}")).is_announce_path(), ok, "{path}");
    }
    assert!(
        url("http://t/scrape.php").is_scrape_path() && !url("http://t/announce").is_scrape_path()
    );
}

#[test]
fn redirect_locations_are_resolved() {
    let base = url("http://me:pw@t/a/b/announce?q=1");
    for (location, to) in [
        ("http://u/x", "http://u/x"),
        ("http://you:know@u/x", "http://u/x"),
        ("HTTP://T:80/x#f", "http://me:pw@t/x"),
        ("https://t/x", "https://t/x"),
        ("//t/x", "http://me:pw@t/x"),
        ("//you:know@t/x", "http://me:pw@t/x"),
        ("//u:81", "http://u:81/"),
        ("/x?y", "http://me:pw@t/x?y"),
        ("/x/./../../y/..", "http://me:pw@t/"),
        ("x", "http://me:pw@t/a/b/x"),
        ("x?http://z/", "http://me:pw@t/a/b/x?http://z/"),
        ("../x/.", "http://me:pw@t/a/x/"),
        ("?r", "http://me:pw@t/a/b/announce?r"),
        ("", "http://me:pw@t/a/b/announce?q=1"),
    ] {
        assert_eq!(base.join(location).unwrap().expose(), url(to).expose(), "{location}");
    }
    for (location, error) in [
        ("file:///x", UrlError::Scheme),
        ("javascript:x", UrlError::Scheme),
        ("///x", UrlError::Host),
        ("/a b", UrlError::Character(2)),
        ("/a\r\nb", UrlError::Character(2)),
        ("/ä", UrlError::NotAscii),
        ("//xn--a/", UrlError::Idna),
    ] {
        assert_eq!(base.join(location), Err(error), "{location}");
    }
    let deep = url(&format!("http://t/{}/a", "x".repeat(1500)));
    assert_eq!(deep.join(&"y".repeat(1500)), Err(UrlError::TooLong(3002)));
}
