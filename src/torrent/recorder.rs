//! What is to be recorded in the session folder, over all torrents: which of them have something,
//! what the user has said of the session, and how the folder's records fare. It decides nothing.

use std::{collections::BTreeSet, time::Duration};

use crate::{
    base::{arena::Key, time::Instant},
    wire::session::SessionSettings,
};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Recorder {
    /// There is a session folder.
    pub(crate) on: bool,
    /// Torrents with something to record.
    pub(crate) due: BTreeSet<Key>,
    /// The session's own settings are to be recorded.
    pub(crate) session_due: bool,
    /// What the user has said of the session as a whole.
    pub(crate) session: SessionSettings,
    /// The session's own settings are being recorded.
    pub(crate) session_out: bool,
    /// Records that workers have not answered.
    pub(crate) out: usize,
    /// The folder cannot be written: when it is tried again, and the pause after that.
    pub(crate) retry_at: Option<Instant>,
    pub(crate) pause: Duration,
    /// Nothing is tried again: the engine is shutting down.
    pub(crate) last_chance: bool,
}

impl Recorder {
    /// Whether everything is recorded.
    pub(crate) fn is_idle(&self) -> bool {
        self.out == 0 && self.due.is_empty() && !self.session_due
    }
}
