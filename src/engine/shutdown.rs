//! Whether the engine shuts down. There is no way back from that.

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Shutdown {
    has_begun: bool,
}

impl Shutdown {
    /// Returns whether it has begun before.
    pub(super) fn begin(&mut self) -> bool {
        std::mem::replace(&mut self.has_begun, true)
    }

    pub(super) fn has_begun(&self) -> bool {
        self.has_begun
    }
}
