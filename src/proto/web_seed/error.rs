//! Why a web seed did not give what it was asked for. What becomes of it is for its owner to say.

use std::time::Duration;

use thiserror::Error;

use crate::{
    proto::http::{HttpError, guard::Refusal},
    wire::tracker::{Scheme, UrlError},
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum FetchError {
    #[error("the web seed did not answer in time")]
    Timeout,
    #[error("the web seed sends too slowly")]
    TooSlow,
    #[error("the web seed's name was not found: {0}")]
    Resolve(String),
    #[error("the web seed has no address that can be used")]
    NoAddress,
    #[error("the web seed's address is not asked: {0}")]
    Refused(Refusal),
    /// It says nothing of the web seed.
    #[error("{0}")]
    Proxy(String),
    #[error("no connection with the web seed: {0}")]
    Connect(String),
    #[error("the connection with the web seed broke: {0}")]
    Stream(String),
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("the web seed answered with HTTP status {status}")]
    Status {
        status: u16,
        /// When it wants to be asked again.
        retry_after: Option<Duration>,
    },
    #[error("the web seed sends whole files only")]
    NoRanges,
    #[error("the web seed's file has {0} bytes, which is not its length")]
    Length(u64),
    #[error("the web seed sends {0} bytes of a file less than it was asked for")]
    Short(u64),
    #[error("more than {0} redirects")]
    Redirects(u32),
    #[error("a redirect leads to no web seed: {0}")]
    Redirect(UrlError),
    #[error("a redirect leads from {from} to {to}")]
    Scheme { from: Scheme, to: Scheme },
    #[error("the file's address cannot be made")]
    Address,
}

impl FetchError {
    /// Whether it is said of the file that was asked for, and others may be had.
    pub(crate) fn is_of_file(&self) -> bool {
        match self {
            Self::Status { status, .. } => matches!(status, 403 | 404 | 410 | 416),
            Self::Length(_) | Self::Address => true,
            _ => false,
        }
    }

    /// Whether trying again soon is of no use: the server, or what is known of it, must change.
    pub(crate) fn lasts(&self) -> bool {
        matches!(
            self,
            Self::Resolve(_)
                | Self::NoAddress
                | Self::Refused(_)
                | Self::NoRanges
                | Self::Scheme { .. }
        )
    }

    /// When the server wants to be asked again, if it said so.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}
