//! A stream that is wanted, whatever it is for. How it gets there is not said.

use crate::{base::target::Target, conf::Traffic};

/// See the module.
#[derive(Debug)]
pub(super) struct Dial {
    pub(super) to: Target,
    /// With TLS, to a server of this name or address.
    pub(super) tls: Option<String>,
    /// The proxy is asked itself, and asks the server.
    pub(super) forwarded: bool,
    pub(super) traffic: Traffic,
}
