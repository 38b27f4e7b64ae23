//! Addresses of trackers: what is accepted, what is shown, and where a redirect leads. It resolves nothing.
//!
//! A small parser of our own, because a general one accepts far more than a tracker's address may be, and repairs what it should
//! refuse.

use std::{fmt, net::IpAddr};

use thiserror::Error;

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
}

impl TrackerUrl {
    /// Reads an address.
    ///
    /// # Errors
    /// If it is none that a tracker may have.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        Err(UrlError::TooLong(text.len()))
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

    /// Whether scheme, host and port are the same (RFC 6454).
    pub fn same_origin(&self, other: &Self) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }

    /// Where it is scraped, if it can be (BEP 48).
    pub fn scrape(&self) -> Option<Self> {
        None
    }
}

impl fmt::Display for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tracker")
    }
}

impl fmt::Debug for TrackerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TrackerUrl({self})")
    }
}
