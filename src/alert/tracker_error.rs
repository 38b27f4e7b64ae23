//! Why a tracker could not be told or asked, for programs and for users. It knows no protocol.

use std::fmt;

/// Why an announce or a scrape failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TrackerError {
    /// What kind of failure it is.
    pub kind: TrackerErrorKind,
    /// The same in words. They may quote the tracker, so they are to be escaped before they are
    /// shown; what may be secret in the tracker's address is not among them.
    pub text: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum TrackerErrorKind {
    /// Its address cannot be used: not a URL of a tracker, or one that does not say where it is
    /// scraped.
    BadAddress,
    /// Its address is not asked, by [`TrackerConf::ssrf_mitigation`] or since it leads to no host.
    ///
    /// [`TrackerConf::ssrf_mitigation`]: crate::conf::TrackerConf::ssrf_mitigation
    Forbidden,
    /// Its name was not found, or has no address of a family that we can use.
    NameNotFound,
    /// The proxy that it is asked through has failed, or cannot carry what it is asked by.
    Proxy,
    /// No connection with it could be made, or none that its certificate lets us trust.
    Unreachable,
    /// The connection broke.
    Broken,
    /// It did not answer in time ([`TrackerConf::timeout`](crate::conf::TrackerConf::timeout)).
    TimedOut,
    /// It answered with an HTTP status that is no success, or with what is not HTTP.
    Http,
    /// It redirects too often, or to where no tracker is.
    Redirect,
    /// Its reply makes no sense.
    BadReply,
    /// It refuses (BEP 3 `failure reason`, BEP 15 action 3); the text has its reason.
    Refused,
    /// It does not know the torrent, so there are no figures.
    UnknownTorrent,
}

impl TrackerError {
    pub(crate) fn new(kind: TrackerErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for TrackerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for TrackerError {}
