//! The words between a call and its owner: what is asked, what the world has to do for it, and what
//! comes of it.

use std::net::IpAddr;

use thiserror::Error;

use super::super::http::{HttpError, guard::Refusal};
use crate::{
    base::{ids::InfoHash, target::Target, time::Instant},
    wire::tracker::{Announce, AnnounceReply, ReplyError, RetryIn, Scheme, ScrapeReply, UrlError},
};

/// What to ask. A scrape holds at most [`MAX_SCRAPE`](crate::wire::tracker::MAX_SCRAPE) torrents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Question {
    Announce(Announce),
    Scrape(Vec<InfoHash>),
}

/// Which addresses to use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Family {
    V4,
    V6,
}

/// What the tracker answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Announce(AnnounceReply),
    /// In the order of the question.
    Scrape(Vec<Option<ScrapeReply>>),
}

/// A connection id that a UDP tracker gave us (BEP 15). It may be used for a minute after it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Connection {
    pub(crate) to: Target,
    pub(crate) id: u64,
    /// When it came.
    pub(crate) since: Instant,
}

/// What the owner must do for a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Look the name up; [`Call::handle_resolved`] takes the answer.
    Resolve { host: String },
    /// Connect a stream, in place of any earlier one of this call, of which nothing more must be
    /// told.
    Connect {
        to: Target,
        /// With TLS, to a server of this name or address.
        tls: Option<String>,
        /// The proxy is asked itself, and asks the server.
        forwarded: bool,
    },
    /// [`Call::poll_transmit`] has bytes for the stream.
    Flush,
    /// The stream is not needed any more.
    Close,
    /// Send a datagram. If that is known to fail, tell [`Call::handle_stream_ended`].
    Datagram { to: Target, data: Vec<u8> },
    /// The end: the answer with the address of who gave it, if that is known. Nothing follows.
    Done(Result<(Answer, Option<IpAddr>), CallError>),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum CallError {
    #[error("the tracker did not answer in time")]
    Timeout,
    #[error("the tracker's address says nothing of where it is scraped")]
    NoScrape,
    #[error("the tracker's name was not found: {0}")]
    Resolve(String),
    #[error("the tracker has no address that can be used")]
    NoAddress,
    #[error("the tracker's address is not asked: {0}")]
    Refused(#[from] Refusal),
    /// It says nothing of the tracker.
    #[error("{0}")]
    Proxy(String),
    #[error("no connection with the tracker: {0}")]
    Connect(String),
    #[error("the connection with the tracker broke: {0}")]
    Stream(String),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the tracker answered with HTTP status {0}")]
    Status(u16),
    #[error("more than {0} redirects")]
    Redirects(u32),
    #[error("a redirect leads to no tracker: {0}")]
    Redirect(UrlError),
    #[error("a redirect leads from {from} to {to}")]
    Scheme { from: Scheme, to: Scheme },
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl CallError {
    /// When the tracker wants to be asked again, if it said so (BEP 31).
    pub(crate) fn retry_in(&self) -> Option<RetryIn> {
        match self {
            Self::Reply(ReplyError::Failure { retry_in, .. }) => *retry_in,
            _ => None,
        }
    }
}
