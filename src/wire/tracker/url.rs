//! Addresses of trackers: what is accepted, what is shown, and where a redirect leads. It resolves nothing.
//!
//! A small parser of our own, because a general one accepts far more than a tracker's address may be, and repairs what it should
//! refuse.

use std::{fmt, net::IpAddr};

use thiserror::Error;

/// The longest address that is read, in bytes.
pub const MAX_URL: usize = 2048;
/// The longest name of a host, and of what stands between its dots (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// How a tracker is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scheme {
    /// HTTP (BEP 3).
    Http,
    /// HTTP over TLS.
    Https,
    /// Datagrams (BEP 15).
    Udp,
}

/// Where a tracker is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name for the resolver: ASCII, lower case, without a dot at the end.
    Name(String),
}

/// The address of a tracker. [`Display`](fmt::Display) and [`Debug`] show neither credentials nor the query nor more of the path than its
/// last part, since private trackers know their users by a secret in it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TrackerUrl {
    scheme: Scheme,
    host: Host,
    port: u16,
    /// Begins with a slash.
    path: String,
    /// Without its question mark.
    query: Option<String>,
    /// `user:password`, decoded.
    credentials: Option<Vec<u8>>,
}

/// Why text is no address of a tracker that we accept. It does not repeat the text, which may hold a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum UrlError {
    /// It is too long.
    #[error("an address of {0} bytes exceeds {MAX_URL}")]
    TooLong(usize),
    /// A space, a control character or a backslash.
    #[error("character {0} is none of an address")]
    Character(usize),
    /// Letters beyond ASCII. International names are refused altogether, as they look like others.
    #[error("an address has ASCII letters only; international names are not accepted")]
    NotAscii,
    /// It begins with something else than `http://`, `https://` or `udp://`.
    #[error("an address begins with http://, https:// or udp://")]
    Scheme,
    /// `user:password@` cannot be read.
    #[error("user and password of the address cannot be read")]
    Credentials,
    /// Neither an IP address nor a name.
    #[error("the host is neither an IP address nor a name")]
    Host,
    /// An international name in its encoded form (RFC 5891), which looks like another one wherever it is shown decoded.
    #[error("the host is an encoded international name (xn--), which is not accepted")]
    Idna,
    /// The port is not 1 to 65535.
    #[error("the port is not 1 to 65535")]
    Port,
    /// UDP has no port of its own.
    #[error("an address with udp:// needs a port")]
    NoPort,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Udp => "udp",
        })
    }
}

impl Scheme {
    fn parse(text: &str) -> Option<Self> {
        [Self::Http, Self::Https, Self::Udp].into_iter().find(|scheme| text.eq_ignore_ascii_case(&scheme.to_string()))
    }

    /// BEP 15 names no port for UDP.
    fn default_port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https => Some(443),
            Self::Udp => None,
        }
    }
}

/// As in an address: IPv6 in brackets.
impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl TrackerUrl {
    /// Reads an address. A fragment is dropped; nothing is repaired.
    ///
    /// # Errors
    /// If it is none that a tracker may have.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        check(text)?;
        let text = text.split_once('#').map_or(text, |(before, _)| before);
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::Scheme)?;
        let scheme = Scheme::parse(scheme).ok_or(UrlError::Scheme)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (credentials, place) = match authority.split_once('@') {
            // Clients disagree on which of several counts.
            Some((_, rest)) if rest.contains('@') => return Err(UrlError::Credentials),
            Some((user, place)) => (credentials(user)?, place),
            None => (None, authority),
        };
        let (host, port) = split_port(place)?;
        let host = Host::parse(host)?;
        let port = match port {
            Some(port) if !port.is_empty() => parse_port(port)?,
            _ => scheme.default_port().ok_or(UrlError::NoPort)?,
        };
        let (path, query) = split_target(target);
        Ok(Self { scheme, host, port, path, query, credentials })
    }

    /// How it is asked.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// Where it is.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// At which port; never 0.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The path, which begins with a slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What follows the question mark, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.query.as_deref()
    }

    /// `user:password`, decoded, for whoever asks at this origin.
    pub fn credentials(&self) -> Option<&[u8]> {
        self.credentials.as_deref()
    }

    /// Path and query, as a request line has them.
    pub fn target(&self) -> String {
        match &self.query {
            Some(query) => format!("{}?{query}", self.path),
            None => self.path.clone(),
        }
    }

    /// Host and, unless it is the scheme's own, port, as a `Host` header has them (RFC 9110 §7.2).
    pub fn authority(&self) -> String {
        if self.scheme.default_port() == Some(self.port) { self.host.to_string() } else { format!("{}:{}", self.host, self.port) }
    }

    /// Whether scheme, host and port are the same (RFC 6454 §5).
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }

    /// Whether the path is `/announce`, or one part that begins so, as `/announce.php`. It must not be possible to take it for a longer
    /// path, so nothing is in it that a server might decode.
    pub fn is_announce_path(&self) -> bool {
        self.is_plain_path("/announce")
    }

    /// The same for `/scrape`.
    pub fn is_scrape_path(&self) -> bool {
        self.is_plain_path("/scrape")
    }

    fn is_plain_path(&self, start: &str) -> bool {
        let rest = self.path.strip_prefix(start);
        rest.is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)))
    }

    /// Whether it is an address to scrape at: the last part of the path begins so, or it is asked over UDP.
    pub fn is_scrape(&self) -> bool {
        self.scheme == Scheme::Udp || self.path.rsplit_once('/').is_some_and(|(_, last)| last.starts_with("scrape"))
    }

    /// Where it is scraped: over HTTP at the same place with `scrape` for the `announce` that the last part of the path must begin with
    /// (BEP 48), over UDP where it is announced to (BEP 15).
    pub fn scrape(&self) -> Option<Self> {
        if self.scheme == Scheme::Udp {
            return Some(self.clone());
        }
        let (folder, last) = self.path.rsplit_once('/')?;
        let path = format!("{folder}/scrape{}", last.strip_prefix("announce")?);
        Some(Self { path, ..self.clone() })
    }

    /// Where a `Location` leads from here (RFC 9110 §10.2.2, RFC 3986 §5.2). Credentials go on to the same origin only, and those that it
    /// may contain are ignored.
    ///
    /// # Errors
    /// If that is no address that a tracker may have.
    pub fn join(&self, location: &str) -> Result<Self, UrlError> {
        check(location)?;
        let location = location.split_once('#').map_or(location, |(before, _)| before);
        let first_part = location.split(['/', '?']).next().unwrap_or_default();
        let mut joined = if first_part.contains(':') {
            Self::parse(location)?
        } else if location.starts_with("//") {
            Self::parse(&format!("{}:{location}", self.scheme))?
        } else if location.is_empty() {
            self.clone()
        } else {
            let (path, query) = match location.strip_prefix('?') {
                Some(query) => (self.path.clone(), Some(query.to_owned())),
                None if location.starts_with('/') => split_target(location),
                None => {
                    let (path, query) = location.split_once('?').map_or((location, None), |(p, q)| (p, Some(q.to_owned())));
                    let folder = self.path.rsplit_once('/').map_or("", |(folder, _)| folder);
                    (format!("{folder}/{path}"), query)
                }
            };
            Self { path, query, ..self.clone() }
        };
        joined.path = without_dots(&joined.path);
        joined.credentials = if joined.same_origin(self) { self.credentials.clone() } else { None };
        // Folder and relative path together may be longer than either may.
        match joined.path.len() + joined.query.as_ref().map_or(0, String::len) {
            len if len > MAX_URL => Err(UrlError::TooLong(len)),
            _ => Ok(joined),
        }
    }

    /// The whole address with all its secrets: to be kept, not to be shown.
    pub fn expose(&self) -> String {
        let user = self.credentials.as_ref().map_or(String::new(), |both| {
            let escape = |part: &[u8]| part.iter().map(|&b| escaped(b)).collect::<String>();
            let mut parts = both.splitn(2, |&b| b == b':');
            let (user, password) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            format!("{}:{}@", escape(user), escape(password))
        });
        format!("{}://{user}{}{}", self.scheme, self.authority(), self.target())
    }
}

impl fmt::Display for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.authority())?;
        let (folder, last) = self.path.rsplit_once('/').unwrap_or_default();
        // A name of a script at most; a secret has digits.
        let harmless = ["announce", "scrape"].iter().any(|word| {
            last.strip_prefix(word).is_some_and(|rest| rest.is_empty() || [".php", ".cgi", ".asp", ".aspx"].contains(&rest))
        });
        match (folder, last) {
            ("", "") => f.write_str("/")?,
            ("", _) if harmless => write!(f, "/{last}")?,
            _ if harmless => write!(f, "/…/{last}")?,
            _ => f.write_str("/…")?,
        }
        if self.query.is_some() { f.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackerUrl({self})")
    }
}

/// One byte as it may stand anywhere in an address: itself if it is unreserved (RFC 3986 §2.3), `%XX` otherwise.
pub(super) fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }
}

/// The characters of an address. What is refused here would change the meaning of a request line, or be taken for something else by
/// somebody.
fn check(text: &str) -> Result<(), UrlError> {
    if text.len() > MAX_URL {
        return Err(UrlError::TooLong(text.len()));
    }
    match text.bytes().position(|b| !b.is_ascii_graphic() || b == b'\\') {
        Some(at) if text.is_ascii() => Err(UrlError::Character(at)),
        Some(_) => Err(UrlError::NotAscii),
        None => Ok(()),
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_port(place: &str) -> Result<(&str, Option<&str>), UrlError> {
    if place.starts_with('[') {
        let end = place.find(']').ok_or(UrlError::Host)? + 1;
        let (host, rest) = place.split_at_checked(end).ok_or(UrlError::Host)?;
        return match rest.strip_prefix(':') {
            None if !rest.is_empty() => Err(UrlError::Host),
            port => Ok((host, port)),
        };
    }
    match place.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(UrlError::Host),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((place, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    let port = digits.then(|| text.parse::<u16>().ok()).flatten();
    port.filter(|&port| port != 0).ok_or(UrlError::Port)
}

impl Host {
    fn parse(text: &str) -> Result<Self, UrlError> {
        if let Some(ip) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return ip.parse().map(|ip| Self::Ip(IpAddr::V6(ip))).map_err(|_| UrlError::Host);
        }
        if let Ok(ip) = text.parse() {
            return Ok(Self::Ip(IpAddr::V4(ip)));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(UrlError::Host);
        }
        let mut numeric = false;
        for label in name.split('.') {
            if label.starts_with("xn--") {
                return Err(UrlError::Idna);
            }
            let fits = (1..=MAX_LABEL).contains(&label.len()) && !label.starts_with('-') && !label.ends_with('-');
            if !fits || !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
                return Err(UrlError::Host);
            }
            numeric = label.bytes().all(|b| b.is_ascii_digit()) || label.starts_with("0x");
        }
        // No top-level domain is a number, but resolvers take "127.1" and "2130706433" for addresses.
        if numeric { Err(UrlError::Host) } else { Ok(Self::Name(name)) }
    }
}

/// What begins with `/` or `?`, or is empty.
fn split_target(target: &str) -> (String, Option<String>) {
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
    (if path.is_empty() { "/".to_owned() } else { path.to_owned() }, query)
}

fn credentials(user: &str) -> Result<Option<Vec<u8>>, UrlError> {
    if user.is_empty() {
        return Ok(None);
    }
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let (mut both, password) = (decode(user)?, decode(password)?);
    // The header (RFC 7617 §2) could not tell where such a name ends.
    if both.contains(&b':') || both.iter().chain(&password).any(u8::is_ascii_control) {
        return Err(UrlError::Credentials);
    }
    both.push(b':');
    both.extend(password);
    Ok(Some(both))
}

fn decode(text: &str) -> Result<Vec<u8>, UrlError> {
    let mut bytes = text.bytes();
    let mut out = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        out.push(if byte == b'%' {
            let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(UrlError::Credentials);
            (digit()? << 4 | digit()?) as u8
        } else {
            byte
        });
    }
    Ok(out)
}

/// RFC 3986 §5.2.4 for a path that begins with a slash.
fn without_dots(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        match part {
            "." | ".." => {
                if part == ".." {
                    out.pop();
                }
                if parts.peek().is_none() {
                    out.push("");
                }
            }
            _ => out.push(part),
        }
    }
    format!("/{}", out.join("/"))
}

#[cfg(test)]
mod tests {
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
        assert_eq!((u.target(), u.authority()), ("/x/announce?passkey=1&a=b".into(), "tracker.example:8443".into()));
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
    fn what_is_no_tracker_is_refused() {
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
            assert_eq!((url(text).to_string(), format!("{:?}", url(text))), (shown.into(), format!("TrackerUrl({shown})")));
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
        assert!(url("http://t/scrape.php").is_scrape_path() && !url("http://t/announce").is_scrape_path());
    }

    #[test]
    fn where_redirects_lead() {
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
}
