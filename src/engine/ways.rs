//! The ways that streams and datagrams go, other than straight: uTP over datagrams, and the proxy.

use super::{proxy::Proxy, utp::Utp};

/// See the module.
#[derive(Debug)]
pub(super) struct Ways {
    pub(super) utp: Utp,
    pub(super) proxy: Proxy,
}

impl Ways {
    pub(super) fn new(utp: Utp) -> Self {
        Self { utp, proxy: Proxy::default() }
    }
}
