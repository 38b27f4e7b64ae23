//! When a peer was heard, how long it may be silent, and when its session is to be woken. It does
//! not know what was heard, and not what is done about silence.

use std::time::Duration;

use crate::base::{time::Instant, timers::Wakeup};

/// See the module.
#[derive(Debug)]
pub(super) struct Liveness {
    /// When the handshake was over, and when something came last.
    began: Instant,
    heard: Instant,
    /// Something came after its handshake.
    spoke: bool,
    /// When the peer has been silent for too long.
    silent: Instant,
    wakeup: Wakeup,
}

impl Liveness {
    /// The handshake is over; the peer may be silent for so long.
    pub(super) fn new(now: Instant, patience: Duration) -> Self {
        let wakeup = Wakeup::default();
        Self { began: now, heard: now, spoke: false, silent: now + patience, wakeup }
    }

    /// So many bytes came.
    pub(super) fn handle_data(&mut self, now: Instant, bytes: usize, patience: Duration) {
        self.heard = now;
        self.spoke |= bytes > 0;
        self.be_patient(now, patience);
    }

    /// It may be silent for so long from now on.
    pub(super) fn be_patient(&mut self, now: Instant, patience: Duration) {
        self.silent = now + patience;
    }

    /// When the handshake was over.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// When something came last.
    pub(super) fn heard(&self) -> Instant {
        self.heard
    }

    /// Since when it is connected, if nothing has come after its handshake.
    pub(super) fn mute_since(&self) -> Option<Instant> {
        (!self.spoke).then_some(self.began)
    }

    /// When it has been silent for too long.
    pub(super) fn deadline(&self) -> Instant {
        self.silent
    }

    /// The session must be woken at `at`, or earlier; true if that is to be arranged.
    #[must_use]
    pub(super) fn wants_wakeup(&mut self, at: Instant) -> bool {
        self.wakeup.want(at)
    }

    /// Whether the wake-up for `at` is one that counts.
    pub(super) fn wakes(&mut self, at: Instant) -> bool {
        self.wakeup.fire(at)
    }
}
