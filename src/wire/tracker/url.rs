//! Addresses of trackers: what is accepted, what is shown, and where a redirect leads. It resolves
//! nothing.
//!
//! A small parser of our own, because a general one accepts far more than a tracker's address may
//! be, and repairs what it should refuse.

mod host;
#[cfg(test)]
mod tests;

use std::fmt;

use thiserror::Error;

pub use host::Host;
use host::{parse_port, split_port};

/// The longest address that is read, in bytes.
pub const MAX_URL: usize = 2048;

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

/// The address of a tracker. [`Display`](fmt::Display) and [`Debug`] show neither credentials nor
/// the query nor more of the path than its last part, since private trackers know their users by a
/// secret in it.
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

/// Why text is no address of a tracker that we accept. It does not repeat the text, which may hold
/// a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
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
    /// An international name in its encoded form (RFC 5891), which looks like another one wherever
    /// it is shown decoded.
    #[error("the host is an encoded international name (xn--), which is not accepted")]
    Idna,
    /// The port is not 1 to 65535.
    #[error("the port is not 1 to 65535")]
    Port,
    /// A web seed is asked over HTTP.
    #[error("a web seed's address begins with http:// or https://")]
    NotHttp,
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
        [Self::Http, Self::Https, Self::Udp]
            .into_iter()
            .find(|scheme| text.eq_ignore_ascii_case(&scheme.to_string()))
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

    /// `user:password`, decoded, for requests to this origin.
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

    /// Another place of the same origin.
    pub(in crate::wire) fn with_target(&self, path: String, query: Option<String>) -> Self {
        Self { path, query, ..self.clone() }
    }

    /// Host and, unless it is the scheme's own, port, as a `Host` header has them (RFC 9110 §7.2).
    pub fn authority(&self) -> String {
        if self.scheme.default_port() == Some(self.port) {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether scheme, host and port are the same (RFC 6454 §5).
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }

    /// Whether the path is `/announce`, or one part that begins so, as `/announce.php`. It must not
    /// be possible to take it for a longer path, so nothing is in it that a server might
    /// decode.
    pub fn is_announce_path(&self) -> bool {
        self.is_plain_path("/announce")
    }

    /// The same for `/scrape`.
    pub fn is_scrape_path(&self) -> bool {
        self.is_plain_path("/scrape")
    }

    fn is_plain_path(&self, start: &str) -> bool {
        let rest = self.path.strip_prefix(start);
        rest.is_some_and(|rest| {
            rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        })
    }

    /// Whether it is an address to scrape at: the last part of the path begins so, or it is asked
    /// over UDP.
    pub fn is_scrape(&self) -> bool {
        self.scheme == Scheme::Udp
            || self.path.rsplit_once('/').is_some_and(|(_, last)| last.starts_with("scrape"))
    }

    /// Where it is scraped: over HTTP at the same place with `scrape` for the `announce` that the
    /// last part of the path must begin with (BEP 48), over UDP where it is announced to (BEP
    /// 15).
    pub fn scrape(&self) -> Option<Self> {
        if self.scheme == Scheme::Udp {
            return Some(self.clone());
        }
        let (folder, last) = self.path.rsplit_once('/')?;
        let path = format!("{folder}/scrape{}", last.strip_prefix("announce")?);
        Some(Self { path, ..self.clone() })
    }

    /// Where a `Location` leads from here (RFC 9110 §10.2.2, RFC 3986 §5.2). Credentials go on to
    /// the same origin only, and those that it may contain are ignored.
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
                    let (path, query) = location
                        .split_once('?')
                        .map_or((location, None), |(p, q)| (p, Some(q.to_owned())));
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
            let (user, password) =
                (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
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
            last.strip_prefix(word).is_some_and(|rest| {
                rest.is_empty() || [".php", ".cgi", ".asp", ".aspx"].contains(&rest)
            })
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

/// One byte as it may stand anywhere in an address: itself if it is unreserved (RFC 3986 §2.3),
/// `%XX` otherwise.
pub(in crate::wire) fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// The characters of an address. What is refused here would change the meaning of a request line,
/// or some program would take it for something else.
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

/// What begins with `/` or `?`, or is empty.
fn split_target(target: &str) -> (String, Option<String>) {
    let (path, query) = target
        .split_once('?')
        .map_or((target, None), |(path, query)| (path, Some(query.to_owned())));
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
            let mut digit = || {
                bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or(UrlError::Credentials)
            };
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
