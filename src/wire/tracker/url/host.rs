//! The host and port of an address, and nothing else of it. Strict, since resolvers take for
//! addresses what does not look like one.

use std::{fmt, net::IpAddr};

use super::UrlError;

/// The longest name of a host, and of what stands between its dots (RFC 1035 §2.3.4).
const MAX_NAME: usize = 253;
const MAX_LABEL: usize = 63;

/// Where a tracker is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// An address.
    Ip(IpAddr),
    /// A name for the resolver: ASCII, lower case, without a dot at the end.
    Name(String),
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

impl Host {
    /// Reads `host:port` or `[v6]:port`. The port is never 0.
    ///
    /// # Errors
    /// If it is not of that form, or the host is neither an address nor a name.
    pub fn parse_with_port(place: &str) -> Result<(Self, u16), UrlError> {
        let (host, port) = split_port(place)?;
        Ok((Self::parse(host)?, parse_port(port.unwrap_or_default())?))
    }

    /// As it is without a port behind it.
    pub fn bare(&self) -> String {
        match self {
            Self::Ip(ip) => ip.to_string(),
            Self::Name(name) => name.clone(),
        }
    }

    /// Reads a host that stands alone: an IPv6 address may do without brackets.
    pub(crate) fn parse_bare(text: &str) -> Result<Self, UrlError> {
        text.parse().map(Self::Ip).or_else(|_| Self::parse(text))
    }

    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
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
            let fits = (1..=MAX_LABEL).contains(&label.len())
                && !label.starts_with('-')
                && !label.ends_with('-');
            if !fits || !label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            {
                return Err(UrlError::Host);
            }
            numeric = label.bytes().all(|b| b.is_ascii_digit()) || label.starts_with("0x");
        }
        // No top-level domain is a number, but resolvers take "127.1" and "2130706433" for
        // addresses.
        if numeric { Err(UrlError::Host) } else { Ok(Self::Name(name)) }
    }
}

/// `host`, `host:port`, `[v6]` or `[v6]:port`.
pub(super) fn split_port(place: &str) -> Result<(&str, Option<&str>), UrlError> {
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

pub(super) fn parse_port(text: &str) -> Result<u16, UrlError> {
    let digits = text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    let port = digits.then(|| text.parse::<u16>().ok()).flatten();
    port.filter(|&port| port != 0).ok_or(UrlError::Port)
}
