//! Torrents that sleep: known from the session folder, with nothing opened. They wake when they are
//! needed, and until then nothing of what their saved state says is told to any peer.

use crate::{
    base::{arena::Key, job::Trust},
    torrent::{Stage, Torrent, TorrentParams, cx::Cx, names::Names},
    wire::session::RestoredState,
};

/// How a torrent of the session folder stands between sleep and work.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waking {
    /// It came from the folder and has not worked since: if all is as it was saved there is
    /// nothing to tell.
    pub(super) quiet: bool,
}

impl Torrent {
    /// As it was saved. One that has everything that is wanted, or rests, sleeps until it is
    /// needed; the others are opened in turn.
    pub(crate) fn restored(
        key: Key,
        mut params: TorrentParams,
        state: Option<RestoredState>,
        cx: &mut Cx,
    ) -> Self {
        let events = std::mem::take(&mut params.tracker_events);
        let mut torrent = Self::make(key, params, cx);
        torrent.restore_events(events, cx);
        torrent.keep.on = true;
        torrent.names = Names::told();
        // Of one that was to be checked nothing is known, whatever was saved before.
        let known = torrent.trust != Trust::Nothing;
        torrent.waking.quiet = known && state.is_some();
        if !known {
            // It was to be checked, or is elsewhere than its state says: what was saved is not
            // missed.
            torrent.waive_absence();
        }
        if let Some(RestoredState { have, downloaded, uploaded, .. }) = state {
            torrent.service.handle_earlier(downloaded, uploaded);
            if known {
                torrent.swarm.set_have(have);
            }
            torrent.finished = torrent.swarm.is_finished();
            torrent.was_whole = torrent.finished;
        }
        if torrent.finished || torrent.paused {
            torrent.stage = Stage::Asleep;
        }
        torrent.keep_time(cx);
        torrent.tend_trackers(cx);
        torrent.schedule(cx);
        torrent
    }

    pub(crate) fn is_asleep(&self) -> bool {
        matches!(self.stage, Stage::Asleep)
    }

    /// Whether a peer that wants it may wait: it was asleep, and will be open soon if its files are
    /// as they were.
    pub(crate) fn is_waking(&self) -> bool {
        let soon = matches!(
            self.stage,
            Stage::Asleep | Stage::Waiting | Stage::Opening | Stage::Checking(_)
        );
        soon && self.keep.on && !self.rests() && !self.failing && self.next.is_none()
    }

    /// Whether it is where it was when it was saved, or on its way to work, and nothing is known
    /// yet that speaks against what was saved: its trackers and the queue need not hear of it
    /// that it is being opened.
    pub(super) fn is_on_its_way(&self) -> bool {
        self.waking.quiet
            && !self.failing
            && self.next.is_none()
            && !matches!(self.stage, Stage::Open)
    }

    /// The same, of one that may work.
    pub(crate) fn is_ready_to_wake(&self) -> bool {
        self.is_on_its_way() && !self.rests()
    }

    /// It is needed at once.
    pub(crate) fn wake(&mut self, cx: &mut Cx) {
        self.line_up();
        self.open(cx);
    }

    /// True while it has no reason to sleep: it may work, and something that is wanted is missing.
    /// That is a question of what it has and what is wanted now, not of what was said when it
    /// was restored.
    pub(super) fn is_oversleeping(&self) -> bool {
        self.is_asleep() && !self.paused && self.next.is_none() && !self.swarm.is_finished()
    }

    /// Opens a sleeping torrent, in its turn, once something that is wanted is missing.
    pub(super) fn wake_if_wanting(&mut self) {
        if self.is_oversleeping() {
            self.line_up();
        }
    }

    /// It is needed, when it is its turn.
    pub(crate) fn line_up(&mut self) {
        if self.is_asleep() && self.next.is_none() {
            let held = self.held;
            self.await_opening(self.trust);
            // The queue has it among those that run, or not.
            self.held = held;
        }
    }
}
