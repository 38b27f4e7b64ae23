//! The proxy that what leaves goes through, and what of it does.

use std::{fmt, net::IpAddr, str::FromStr, time::Duration};

use thiserror::Error;

use super::validate::{ConfError, check, lasting};

/// What a proxy speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProxyKind {
    /// SOCKS version 5 (RFC 1928, 1929). It carries datagrams if the server has UDP ASSOCIATE.
    Socks5,
    /// HTTP: CONNECT (RFC 9110 §9.3.6), and trackers and web seeds in plain HTTP by requests that
    /// name the whole URL. It carries no datagrams.
    Http,
}

/// A proxy and how it is asked. It is shown without user and password, in messages and by `Debug`,
/// too.
///
/// ```
/// use cratetorrent::conf::{ProxyKind, ProxyServer};
///
/// let server: ProxyServer = "socks5://me:s%40cret@proxy.example:1080".parse()?;
/// assert_eq!(server.kind(), ProxyKind::Socks5);
/// assert_eq!(server.to_string(), "socks5://proxy.example:1080");
/// # Ok::<(), cratetorrent::conf::ProxyUrlError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ProxyServer {
    kind: ProxyKind,
    host: String,
    port: u16,
    credentials: Option<(Vec<u8>, Vec<u8>)>,
}

/// What is wrong with the address of a proxy. It quotes nothing of it: there may be a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ProxyUrlError {
    /// It begins with no scheme that is known.
    #[error("a proxy is socks5://HOST:PORT or http://HOST:PORT")]
    Scheme,
    /// The host is missing, longer than 255 bytes, or not ASCII.
    #[error("the proxy's host is empty, too long or not ASCII")]
    Host,
    /// The port is missing or none.
    #[error("the proxy's port is missing or not a number from 1 to 65535")]
    Port,
    /// There is a path, a query or a fragment.
    #[error("a proxy has no path")]
    Path,
    /// A `%` in user or password is not followed by two hexadecimal digits.
    #[error("the proxy's user or password has a % that begins no escape")]
    Escape,
    /// The user is empty, or one of them is longer than 255 bytes.
    #[error("the proxy's user is empty, or user or password are longer than 255 bytes")]
    Length,
    /// The user has a colon, where HTTP ends it.
    #[error("the proxy's user has a colon")]
    Colon,
}

impl ProxyServer {
    /// A proxy at a name or an address (as text), that asks for no password.
    ///
    /// # Errors
    /// If the host or the port can be none.
    pub fn new(kind: ProxyKind, host: impl Into<String>, port: u16) -> Result<Self, ProxyUrlError> {
        let host: String = host.into();
        let is_word = |b: u8| b.is_ascii_alphanumeric() || b".-_".contains(&b);
        let is_host = host.parse::<IpAddr>().is_ok() || host.bytes().all(is_word);
        if !is_host || !(1..=255).contains(&host.len()) {
            return Err(ProxyUrlError::Host);
        }
        if port == 0 {
            return Err(ProxyUrlError::Port);
        }
        Ok(Self { kind, host, port, credentials: None })
    }

    /// The same, with user and password.
    ///
    /// # Errors
    /// If the proxy cannot be told them.
    pub fn with_credentials(
        mut self,
        user: impl Into<Vec<u8>>,
        password: impl Into<Vec<u8>>,
    ) -> Result<Self, ProxyUrlError> {
        let (user, password): (Vec<u8>, Vec<u8>) = (user.into(), password.into());
        if user.is_empty() || user.len() > 255 || password.len() > 255 {
            return Err(ProxyUrlError::Length);
        }
        if self.kind == ProxyKind::Http && user.contains(&b':') {
            return Err(ProxyUrlError::Colon);
        }
        self.credentials = Some((user, password));
        Ok(self)
    }

    /// What it speaks.
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Its name, or its address as text.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// User and password, if there are any.
    pub fn credentials(&self) -> Option<(&[u8], &[u8])> {
        self.credentials.as_ref().map(|(user, password)| (&user[..], &password[..]))
    }

    /// Whether it may carry datagrams.
    pub fn may_carry_datagrams(&self) -> bool {
        self.kind == ProxyKind::Socks5
    }
}

impl FromStr for ProxyServer {
    type Err = ProxyUrlError;

    /// Reads `socks5://USER:PASSWORD@HOST:PORT` or `http://…`; user and password may be left out,
    /// and have their special characters escaped (`%40` for `@`).
    fn from_str(url: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = url.split_once("://").ok_or(ProxyUrlError::Scheme)?;
        let kind = match scheme.to_ascii_lowercase().as_str() {
            // Names are the proxy's to look up in any case.
            "socks5" | "socks5h" => ProxyKind::Socks5,
            "http" => ProxyKind::Http,
            _ => return Err(ProxyUrlError::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, place) = match rest.rsplit_once('@') {
            Some((credentials, place)) => (Some(credentials), place),
            None => (None, rest),
        };
        if place.contains(['/', '?', '#']) {
            return Err(ProxyUrlError::Path);
        }
        let (host, port) = match place.strip_prefix('[') {
            Some(v6) => v6.split_once("]:").ok_or(ProxyUrlError::Port)?,
            None => place.rsplit_once(':').ok_or(ProxyUrlError::Port)?,
        };
        if host.contains(':') != place.starts_with('[') {
            return Err(ProxyUrlError::Host);
        }
        let is_number = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let port = port.parse().ok().filter(|_| is_number).ok_or(ProxyUrlError::Port)?;
        let server = Self::new(kind, host, port)?;
        match credentials {
            None => Ok(server),
            Some(text) => {
                let (user, password) = text.split_once(':').unwrap_or((text, ""));
                server.with_credentials(unescape(user)?, unescape(password)?)
            }
        }
    }
}

/// Without user and password.
impl fmt::Display for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Http => "http",
        };
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// Without user and password.
impl fmt::Debug for ProxyServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProxyServer({self})")
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, ProxyUrlError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    let digit = |byte: Option<u8>| {
        let digit = byte.and_then(|byte| char::from(byte).to_digit(16));
        digit.and_then(|digit| u8::try_from(digit).ok()).ok_or(ProxyUrlError::Escape)
    };
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => digit(bytes.next())? << 4 | digit(bytes.next())?,
            byte => byte,
        });
    }
    Ok(out)
}

/// What a proxy may carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Traffic {
    /// Connections with peers, by TCP and uTP.
    Peers,
    /// Announces and scrapes, by HTTP, HTTPS and UDP.
    Trackers,
    /// Downloads from web servers.
    WebSeeds,
    /// The DHT.
    Dht,
}

/// The proxy, and what goes through it.
///
/// What goes through it goes no other way, whatever fails: names are looked up by the proxy,
/// datagrams are dropped while there is no relay for them, and what a proxy cannot carry at all
/// (datagrams, of HTTP) is not there. When peers go through it no connection is listened for
/// ([`NetworkConf::listen`](super::NetworkConf::listen) counts for nothing), and peers of the local
/// network are neither announced to nor heard (BEP 14). Only the proxy's own name is looked up by
/// the system.
///
/// ```
/// use cratetorrent::{Conf, conf::Traffic};
///
/// let mut conf = Conf::default();
/// conf.proxy.server = Some("socks5://127.0.0.1:1080".parse()?);
/// conf.proxy.web_seeds = false;
/// assert!(conf.proxy.carries(Traffic::Peers) && !conf.proxy.carries(Traffic::WebSeeds));
/// # Ok::<(), cratetorrent::conf::ProxyUrlError>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ProxyConf {
    /// The proxy. Default: none.
    pub server: Option<ProxyServer>,
    /// Whether connections with peers go through it. Default true.
    pub peers: bool,
    /// Whether announces and scrapes do. Default true.
    pub trackers: bool,
    /// Whether downloads from web servers do. Default true.
    pub web_seeds: bool,
    /// Whether the DHT does. Default true.
    pub dht: bool,
    /// How long the proxy may take until it has answered the first time, once it is dialled.
    /// Default 10 s.
    pub timeout: Duration,
    /// How long a proxy that failed is left alone; twice as long each time, up to
    /// [`retry_max`](Self::retry_max). Default 1 s.
    pub retry_min: Duration,
    /// See [`retry_min`](Self::retry_min). Default 1 min.
    pub retry_max: Duration,
}

impl Default for ProxyConf {
    fn default() -> Self {
        Self {
            server: None,
            peers: true,
            trackers: true,
            web_seeds: true,
            dht: true,
            timeout: Duration::from_secs(10),
            retry_min: Duration::from_secs(1),
            retry_max: Duration::from_secs(60),
        }
    }
}

impl ProxyConf {
    /// The proxy that `traffic` goes through, if it goes through one.
    pub fn server_for(&self, traffic: Traffic) -> Option<&ProxyServer> {
        let meant = match traffic {
            Traffic::Peers => self.peers,
            Traffic::Trackers => self.trackers,
            Traffic::WebSeeds => self.web_seeds,
            Traffic::Dht => self.dht,
        };
        self.server.as_ref().filter(|_| meant)
    }

    /// Whether `traffic` goes through a proxy.
    pub fn carries(&self, traffic: Traffic) -> bool {
        self.server_for(traffic).is_some()
    }

    /// Whether datagrams of `traffic` can be sent: straight, or by a proxy that may carry them.
    pub fn may_send_datagrams(&self, traffic: Traffic) -> bool {
        self.server_for(traffic).is_none_or(ProxyServer::may_carry_datagrams)
    }

    /// Checks that the settings can work together.
    ///
    /// # Errors
    /// The first setting that cannot.
    pub fn validate(&self) -> Result<(), ConfError> {
        lasting(self.timeout, "proxy.timeout")?;
        lasting(self.retry_min, "proxy.retry_min")?;
        check(
            self.retry_max >= self.retry_min,
            "proxy.retry_max",
            format_args!("{:?}", self.retry_max),
            "at least proxy.retry_min",
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str) -> Result<ProxyServer, ProxyUrlError> {
        url.parse()
    }

    #[test]
    fn proxy_urls_are_read() {
        for (url, kind, host, port, credentials) in [
            ("socks5://127.0.0.1:1080", ProxyKind::Socks5, "127.0.0.1", 1080, None),
            ("SOCKS5h://a-b.test:1/", ProxyKind::Socks5, "a-b.test", 1, None),
            ("http://[2001:db8::1]:8080", ProxyKind::Http, "2001:db8::1", 8080, None),
            ("socks5://u:p@h:9", ProxyKind::Socks5, "h", 9, Some(("u", "p"))),
            ("socks5://u@h:9", ProxyKind::Socks5, "h", 9, Some(("u", ""))),
            ("http://u:p%40%3a/x@h:9", ProxyKind::Http, "h", 9, Some(("u", "p@:/x"))),
            ("socks5://u:p:q@r@h:9", ProxyKind::Socks5, "h", 9, Some(("u", "p:q@r"))),
        ] {
            let server = read(url).unwrap();
            assert_eq!((server.kind(), server.host(), server.port()), (kind, host, port), "{url}");
            let want = credentials.map(|(user, password)| (user.as_bytes(), password.as_bytes()));
            assert_eq!(server.credentials(), want, "{url}");
        }
    }

    #[test]
    fn proxy_urls_that_are_none_are_refused() {
        for (url, error) in [
            ("127.0.0.1:1080", ProxyUrlError::Scheme),
            ("https://h:1", ProxyUrlError::Scheme),
            ("socks4://h:1", ProxyUrlError::Scheme),
            ("socks5://h", ProxyUrlError::Port),
            ("socks5://h:", ProxyUrlError::Port),
            ("socks5://h:+1", ProxyUrlError::Port),
            ("socks5://h:0", ProxyUrlError::Port),
            ("socks5://h:65536", ProxyUrlError::Port),
            ("socks5://:1", ProxyUrlError::Host),
            ("socks5://ü:1", ProxyUrlError::Host),
            ("socks5://a b:1", ProxyUrlError::Host),
            ("socks5://::1:1", ProxyUrlError::Host),
            ("socks5://[::1]", ProxyUrlError::Port),
            ("socks5://h:1/x", ProxyUrlError::Path),
            ("socks5://h:1?x", ProxyUrlError::Path),
            ("socks5://u%4:p@h:1", ProxyUrlError::Escape),
            ("socks5://u%+1:p@h:1", ProxyUrlError::Escape),
            ("socks5://:p@h:1", ProxyUrlError::Length),
            ("http://u%3Av:p@h:1", ProxyUrlError::Colon),
        ] {
            assert_eq!(read(url), Err(error), "{url}");
        }
        let long = format!("socks5://u:{}@h:1", "p".repeat(256));
        assert_eq!(read(&long), Err(ProxyUrlError::Length));
    }

    #[test]
    fn credentials_are_never_shown() {
        let server = read("socks5://secretuser:secretword@h:9").unwrap();
        let conf = ProxyConf { server: Some(server.clone()), ..ProxyConf::default() };
        for shown in [format!("{server} {server:?} {conf:?}"), format!("{conf:#?}")] {
            assert!(!shown.contains("secret"), "{shown}");
            assert!(shown.contains("socks5://h:9"));
        }
    }

    #[test]
    fn proxy_conf_defaults_are_valid_and_nonsense_is_named() {
        assert_eq!(ProxyConf::default().validate(), Ok(()));
        let refused = |change: fn(&mut ProxyConf)| {
            let mut conf = ProxyConf::default();
            change(&mut conf);
            conf.validate().unwrap_err().field
        };
        assert_eq!(refused(|c| c.timeout = Duration::ZERO), "proxy.timeout");
        assert_eq!(refused(|c| c.retry_min = Duration::ZERO), "proxy.retry_min");
        assert_eq!(refused(|c| c.retry_max = Duration::ZERO), "proxy.retry_max");
    }

    #[test]
    fn nothing_is_carried_without_proxy_and_no_datagrams_by_http() {
        let mut conf = ProxyConf::default();
        assert!(!conf.carries(Traffic::Peers) && conf.may_send_datagrams(Traffic::Dht));
        conf.server = Some(read("http://h:9").unwrap());
        conf.dht = false;
        assert!(conf.carries(Traffic::Peers) && !conf.carries(Traffic::Dht));
        assert!(!conf.may_send_datagrams(Traffic::Peers) && conf.may_send_datagrams(Traffic::Dht));
    }
}
