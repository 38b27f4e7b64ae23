//! Buffers that lie idle go back to the system after some seconds. It sees how many bytes there
//! are, and no buffer.

use std::time::Duration;

use super::Engine;
use crate::base::time::Instant;

/// How long a buffer lies idle at least before it is given back: a download that pauses for a
/// moment, between two pieces or two peers, needs it again. It goes within twice this time.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Engine {
    /// At the end of every input: as long as buffers are idle, a timer runs.
    pub(super) fn watch_buffers(&mut self) {
        if self.cx.leases.pieces().idle() + self.cx.leases.uploads().idle() > 0 {
            self.io.wake_for_buffers(self.cx.now + LOOK_EVERY);
        }
    }

    pub(super) fn handle_buffers_timeout(&mut self, at: Instant) {
        if self.io.take_buffers_due(at) {
            self.cx.leases.pieces_mut().age();
            self.cx.leases.uploads_mut().age();
            self.watch_buffers();
        }
    }
}
