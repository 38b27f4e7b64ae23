//! Peers that are choked and served all the same (BEP 6 allowed fast): how many there are, and how
//! many there may be.

use super::Swarm;

/// See the module.
#[derive(Debug)]
pub(super) struct Favours {
    served: usize,
    limit: usize,
}

impl Favours {
    pub(super) fn new() -> Self {
        Self { served: 0, limit: 1 }
    }
}

impl Swarm {
    /// So many choked peers may be served at a time.
    pub(crate) fn limit_favours(&mut self, limit: usize) {
        self.favours.limit = limit;
    }

    /// Whether one more choked peer may be served.
    pub(crate) fn may_favour(&self) -> bool {
        self.favours.served < self.favours.limit
    }

    /// A choked peer is served from now on.
    pub(crate) fn begin_favour(&mut self) {
        self.favours.served += 1;
    }

    /// A choked peer is served no longer, or is not choked.
    pub(crate) fn end_favour(&mut self) {
        self.favours.served = self.favours.served.saturating_sub(1);
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn favoured(&self) -> usize {
        self.favours.served
    }
}
