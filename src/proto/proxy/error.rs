//! Why a stream does not get through a proxy: for the proxy's sake, or for the target's.

use thiserror::Error;

use crate::wire::socks::{Refusal, SocksError};

/// See the module. It quotes nothing that the proxy says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum TunnelError {
    /// The proxy does not speak as it should.
    #[error("the proxy does not speak SOCKS 5: {0}")]
    Socks(#[from] SocksError),
    #[error("the proxy does not speak HTTP")]
    NotHttp,
    #[error("the head of the proxy's answer exceeds {0} bytes")]
    TooLong(usize),
    /// It does not let us in.
    #[error("the proxy asks for another proof than user and password")]
    NoMethod,
    #[error("the proxy asks for user and password")]
    NoPassword,
    #[error("the proxy refuses user and password")]
    Password,
    /// It has no relay for datagrams, or none that can be reached.
    #[error("the proxy carries no datagrams: {0}")]
    NoRelay(Refusal),
    /// It does not get us to the target.
    #[error("the proxy does not reach it: {0}")]
    Refused(Refused),
}

/// How a proxy says that it does not get us to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refused {
    #[error("{0}")]
    Socks(Refusal),
    #[error("HTTP status {0}")]
    Http(u16),
}
