//! How web seeds stand and why they fail, for programs and for users. It knows no protocol.

use std::{fmt, time::Duration};

/// How one of a torrent's web seeds (BEP 19) stands.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSeedStats {
    /// Its address, with everything in it; that may be a secret between the user and the server.
    pub url: String,
    /// Whether the user has added it; otherwise the metainfo names it.
    pub added: bool,
    /// What it is doing.
    pub status: WebSeedStatus,
    /// Connections with it.
    pub connections: usize,
    /// Bytes of blocks that came from it.
    pub downloaded: u64,
    /// Bytes per second of blocks arriving, over the last ten seconds.
    pub download_rate: u64,
    /// Files of the torrent that it does not have, or has other bytes of.
    pub missing_files: usize,
    /// Failures in a row.
    pub failures: u32,
    /// Why it failed last, as long as it has given nothing since.
    pub error: Option<WebSeedError>,
    /// When it is asked again, if it is left alone until then.
    pub retry_in: Option<Duration>,
}

/// What a web seed is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum WebSeedStatus {
    /// Nothing is asked of it: peers and other web seeds have it all, or the torrent rests.
    #[default]
    Idle,
    /// It is asked for something, or sends it.
    Downloading,
    /// It has failed, and is left alone for a while.
    Failing,
    /// It is not asked: its address is none that can be used, or it has sent bad data.
    Disabled,
}

impl fmt::Display for WebSeedStatus {
    /// A word, in lower case: `downloading`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Downloading => "downloading",
            Self::Failing => "failing",
            Self::Disabled => "disabled",
        })
    }
}

/// Why a web seed failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WebSeedError {
    /// What kind of failure it is.
    pub kind: WebSeedErrorKind,
    /// The file that it is about, by index, if the web seed may have others.
    pub file: Option<usize>,
    /// The same in words, without what may be secret in the address.
    pub text: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum WebSeedErrorKind {
    /// Its address cannot be used.
    BadAddress,
    /// Its address is not asked, by
    /// [`TrackerConf::ssrf_mitigation`](crate::conf::TrackerConf::ssrf_mitigation) or since it
    /// leads to no host.
    Forbidden,
    /// Its name was not found, or has no address that can be used.
    NameNotFound,
    /// The proxy that it is asked through has failed.
    Proxy,
    /// No connection with it could be made, or none that its certificate lets us trust.
    Unreachable,
    /// The connection broke, or was closed too early.
    Broken,
    /// It did not answer in time, or sends next to nothing
    /// ([`WebSeedConf::timeout`](crate::conf::WebSeedConf::timeout)).
    TimedOut,
    /// It answered with an HTTP status that is no success, or with what is not HTTP.
    Http,
    /// It does not have the file, or one of another length.
    NoFile,
    /// It sends another part of the file than was asked for, or the whole.
    NoRanges,
    /// It redirects too often, or to where no file is.
    Redirect,
    /// It sent bad data: nothing more is taken of the file, or of it if the torrent has but one.
    BadData,
}

impl WebSeedError {
    pub(crate) fn new(
        kind: WebSeedErrorKind,
        file: Option<usize>,
        text: impl Into<String>,
    ) -> Self {
        Self { kind, file, text: text.into() }
    }
}

impl fmt::Display for WebSeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for WebSeedError {}
