//! How a torrent downloads and seeds, as far as its user has a say in that. It does not know what
//! follows.

/// See the module.
#[derive(Debug)]
pub(super) struct Modes {
    sequential: bool,
    super_seed: bool,
}

impl Modes {
    pub(super) fn new(sequential: bool, super_seed: bool) -> Self {
        Self { sequential, super_seed }
    }

    /// Whether pieces are fetched in order.
    pub(super) fn is_sequential(&self) -> bool {
        self.sequential
    }

    pub(super) fn set_sequential(&mut self, sequential: bool) {
        self.sequential = sequential;
    }

    /// Whether it is to pretend as long as it is the seed; see superseed.rs.
    pub(super) fn is_super_seed(&self) -> bool {
        self.super_seed
    }

    /// Returns whether that is news.
    pub(super) fn set_super_seed(&mut self, on: bool) -> bool {
        on != std::mem::replace(&mut self.super_seed, on)
    }
}
