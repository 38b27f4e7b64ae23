//! Why the proxy does not work, for programs and for users. It knows no protocol.

use std::fmt;

/// Why the proxy does not work.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyError {
    /// What kind of failure it is.
    pub kind: ProxyErrorKind,
    /// The same in words. Neither user nor password are among them, nor is anything that the proxy
    /// says.
    pub text: String,
}

/// What kind of failure it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProxyErrorKind {
    /// Its name was not found.
    NameNotFound,
    /// No connection with it can be made.
    Unreachable,
    /// It does not answer in time ([`ProxyConf::timeout`](crate::conf::ProxyConf::timeout)).
    TimedOut,
    /// It closes the connection, or that breaks.
    Closed,
    /// It wants a user and password, or others.
    Refused,
    /// It does not speak what it should.
    Protocol,
    /// It carries no datagrams.
    NoDatagrams,
}

impl ProxyError {
    pub(crate) fn new(kind: ProxyErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into() }
    }
}

impl fmt::Display for ProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for ProxyError {}
