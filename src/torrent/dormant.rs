//! Dormant torrents: known from the session folder, with nothing opened. They wake when they are
//! needed, and until then nothing of what their saved state says is told to any peer.

use crate::{
    base::arena::Key,
    torrent::{Torrent, TorrentParams, cx::Cx, names::Names},
    wire::session::RestoredState,
};

impl Torrent {
    /// As it was saved. One that has everything that is wanted, or rests, is dormant until it is
    /// needed; the others are opened in turn.
    pub(crate) fn restored(
        key: Key,
        mut params: TorrentParams,
        state: Option<RestoredState>,
        cx: &mut Cx,
    ) -> Self {
        let events = std::mem::take(&mut params.earlier.tracker_events);
        let mut torrent = Self::make(key, params, cx);
        torrent.restore_events(events, cx);
        torrent.persistence.turn_on();
        *torrent.location.names_mut() = Names::told();
        // Of one that was to be checked nothing is known, whatever was saved before.
        let known = torrent.lifecycle.trust().is_any();
        let (confirmed, mut finished) = (known && state.is_some(), false);
        if let Some(RestoredState { have, downloaded, uploaded, .. }) = state {
            torrent.activity.handle_earlier(downloaded, uploaded);
            if known {
                torrent.swarm.set_have(have);
            }
            finished = torrent.swarm.is_finished();
        }
        torrent.lifecycle.restore(confirmed, finished);
        torrent.keep_time(cx);
        torrent.tend_trackers(cx);
        torrent.schedule(cx);
        torrent
    }

    pub(crate) fn is_dormant(&self) -> bool {
        self.lifecycle.is_dormant()
    }

    /// Whether a peer that wants it may wait: it was dormant, and will be open soon if its files
    /// are as they were.
    pub(crate) fn is_waking(&self) -> bool {
        self.persistence.is_on() && self.lifecycle.is_waking()
    }

    /// Whether it may run and its saved state has not been contradicted while it is being opened.
    pub(crate) fn is_ready_to_wake(&self) -> bool {
        self.lifecycle.is_ready_to_wake()
    }

    /// It is needed at once.
    pub(crate) fn wake(&mut self, cx: &mut Cx) {
        self.line_up();
        self.open(cx);
    }

    /// Opens a dormant torrent, in its turn, once something that is wanted is missing.
    pub(super) fn wake_if_wanting(&mut self) {
        if self.lifecycle.is_oversleeping(self.swarm.is_finished()) {
            self.line_up();
        }
    }

    /// It is needed, when it is its turn.
    pub(crate) fn line_up(&mut self) {
        self.lifecycle.wake();
    }
}
