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
    on: bool,
    /// Torrents with something to record.
    due: BTreeSet<Key>,
    /// The session's own settings are to be recorded.
    session_due: bool,
    /// What the user has said of the session as a whole.
    session: SessionSettings,
    /// The session's own settings are being recorded.
    session_out: bool,
    /// Records that workers have not answered.
    out: usize,
    /// The folder cannot be written: when it is tried again, and the pause after that.
    retry_at: Option<Instant>,
    pause: Duration,
    /// Nothing is tried again: the engine is shutting down.
    last_chance: bool,
}

impl Recorder {
    /// There is a session folder. One that cannot be written is tried again after `pause`.
    pub(crate) fn begin(&mut self, pause: Duration) {
        self.on = true;
        self.pause = pause;
    }

    /// Whether there is a session folder.
    pub(crate) fn is_on(&self) -> bool {
        self.on
    }

    /// Whether everything is recorded.
    pub(crate) fn is_idle(&self) -> bool {
        self.out == 0 && self.due.is_empty() && !self.session_due
    }

    /// A torrent has something to record.
    pub(crate) fn note_due(&mut self, torrent: Key) {
        self.due.insert(torrent);
    }

    /// The user has said something of the session as a whole, which `change` writes down.
    pub(crate) fn change_session(&mut self, change: impl FnOnce(&mut SessionSettings)) {
        change(&mut self.session);
        self.session_due |= self.on;
    }

    /// What is known of the session as a whole comes from the folder.
    pub(crate) fn note_session_known(&mut self) {
        self.session_due = false;
    }

    /// Whether records are due that may be made now, `most` at a time.
    pub(crate) fn has_due(&self, most: usize) -> bool {
        self.retry_at.is_none()
            && ((self.session_due && !self.session_out)
                || (self.out < most && !self.due.is_empty()))
    }

    /// Whether the folder cannot be written, and is tried again.
    pub(crate) fn is_waiting(&self) -> bool {
        self.retry_at.is_some()
    }

    /// The session's own settings, if they are to be recorded now.
    pub(crate) fn poll_session(&mut self) -> Option<Vec<u8>> {
        if !self.session_due || self.session_out {
            return None;
        }
        (self.session_due, self.session_out) = (false, true);
        Some(self.session.encode())
    }

    /// The next torrent with something to record, as long as `most` records are not out.
    pub(crate) fn poll_due(&mut self, most: usize) -> Option<Key> {
        if self.out < most { self.due.pop_first() } else { None }
    }

    /// A worker is to record something.
    pub(crate) fn begin_record(&mut self) {
        self.out += 1;
    }

    /// A worker has answered.
    pub(crate) fn end_record(&mut self) {
        self.out = self.out.saturating_sub(1);
    }

    /// The session's own settings are recorded, or not: then they are to be again.
    pub(crate) fn end_session_record(&mut self, is_recorded: bool) {
        self.session_out = false;
        self.session_due |= !is_recorded && !self.last_chance;
    }

    /// The folder can be written. If that changes it is tried again after `pause`.
    pub(crate) fn note_works(&mut self, pause: Duration) {
        self.pause = pause;
    }

    /// The folder cannot be written. If that is news: after which pause it is tried again, if it
    /// is. The next pause is twice as long, and no longer than `longest`.
    pub(crate) fn fail(&mut self, now: Instant, longest: Duration) -> Option<Option<Duration>> {
        if self.retry_at.is_some() {
            return None;
        }
        let retry_in = (!self.last_chance).then_some(self.pause);
        if let Some(pause) = retry_in {
            self.retry_at = Some(now + pause);
            self.pause = pause.saturating_mul(2).min(longest);
        }
        Some(retry_in)
    }

    /// It is time to try again, if `at` is when.
    pub(crate) fn handle_timeout(&mut self, at: Instant) {
        self.retry_at.take_if(|retry_at| *retry_at == at);
    }

    /// What is due is recorded at once, or not at all.
    pub(crate) fn give_last_chance(&mut self) {
        self.last_chance = true;
        self.retry_at = None;
    }

    /// Whether what is not recorded now never will be.
    pub(crate) fn is_last_chance(&self) -> bool {
        self.last_chance
    }
}
