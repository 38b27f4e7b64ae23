//! Limits of our own that hold sessions back which share them. It does not know which limits.

use std::time::Duration;

use super::Swarm;
use crate::{base::time::Instant, torrent::cx::Cx};

/// How long after a limit held a session back it counts as doing so: it does that again and again.
const HELD_MEMORY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Holdback {
    /// Sessions that are held back.
    sessions: usize,
    /// When the last one was let go on.
    ended: Option<Instant>,
}

impl Holdback {
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn sessions(&self) -> usize {
        self.sessions
    }
}

impl Swarm {
    /// Whether a limit of our own holds sessions back, or did so a moment ago.
    pub(super) fn is_held_back(&self, cx: &Cx) -> bool {
        let Holdback { sessions, ended } = self.holdback;
        sessions > 0 || ended.is_some_and(|at| cx.now.since(at) < HELD_MEMORY)
    }

    /// A limit holds a session back, which it shares with others.
    pub(crate) fn hold(&mut self) {
        self.holdback.sessions += 1;
    }

    /// It may go on, or is gone.
    pub(crate) fn unhold(&mut self, now: Instant) {
        self.holdback.sessions = self.holdback.sessions.saturating_sub(1);
        self.holdback.ended = Some(now);
    }
}
