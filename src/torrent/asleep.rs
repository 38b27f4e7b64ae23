//! Torrents that sleep: known from the session folder, with nothing opened. They wake when they are needed, and until then nothing of
//! what their saved state says is told to any peer.
//!
//! Those that want something are woken by and by, so that a start with thousands of them leaves room for everything else.

use std::collections::VecDeque;

use crate::{
    base::arena::Key,
    torrent::{Stage, Torrent, TorrentParams, cx::Cx},
    wire::session::RestoredState,
};

/// Torrents that are opened and checked at a time, of those that nobody in particular waits for.
const AT_A_TIME: usize = 16;

/// Torrents that are to wake, over all.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    waiting: VecDeque<Key>,
    out: usize,
}

impl Openings {
    /// The next torrent to wake, if there is room for it.
    #[must_use]
    pub(crate) fn poll(&mut self) -> Option<Key> {
        if self.out < AT_A_TIME { self.waiting.pop_front() } else { None }
    }
}

/// How a torrent of the session folder stands between sleep and work.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Waking {
    /// It waits for its turn to be opened.
    in_line: bool,
    /// It has it.
    counted: bool,
    /// It came from the folder and has not worked since: if all is as it was saved there is nothing to tell.
    pub(super) quiet: bool,
}

impl Torrent {
    /// As it was saved. One that has everything, or rests, sleeps until it is needed.
    pub(crate) fn restored(key: Key, params: TorrentParams, state: Option<RestoredState>, cx: &mut Cx) -> Self {
        let mut torrent = Self::make(key, params, cx);
        torrent.stage = Stage::Asleep;
        torrent.keep.on = true;
        torrent.waking.quiet = state.is_some();
        if let Some(RestoredState { have, downloaded, uploaded, .. }) = state {
            torrent.earlier = (downloaded, uploaded);
            torrent.swarm.set_have(have);
            torrent.finished = torrent.swarm.is_complete();
        }
        if !torrent.swarm.is_complete() && !torrent.paused {
            torrent.line_up(cx);
        }
        torrent.schedule(cx);
        torrent
    }

    pub(crate) fn is_asleep(&self) -> bool {
        matches!(self.stage, Stage::Asleep)
    }

    /// Whether a peer that wants it may wait: it was asleep, and will be open soon if its files are as they were.
    pub(crate) fn is_waking(&self) -> bool {
        let soon = matches!(self.stage, Stage::Asleep | Stage::Opening | Stage::Checking(_));
        soon && self.keep.on && !self.paused && !self.failing && self.next.is_none()
    }

    /// It is needed at once.
    pub(crate) fn wake(&mut self, cx: &mut Cx) {
        if self.is_asleep() && self.next.is_none() {
            self.open(self.trust, cx);
        }
    }

    /// It is needed, when it is its turn.
    pub(crate) fn line_up(&mut self, cx: &mut Cx) {
        if self.is_asleep() && !std::mem::replace(&mut self.waking.in_line, true) {
            cx.openings.waiting.push_back(self.key());
        }
    }

    /// It is its turn.
    pub(crate) fn take_turn(&mut self, cx: &mut Cx) {
        self.waking.in_line = false;
        if self.is_asleep() && self.next.is_none() && !self.paused {
            self.waking.counted = true;
            cx.openings.out += 1;
            self.open(self.trust, cx);
        }
    }

    /// At the end of every input: whoever is open, or cannot be, leaves room for the next.
    pub(super) fn leave_line(&mut self, cx: &mut Cx) {
        let busy = matches!(self.stage, Stage::Opening | Stage::Checking(_)) && !self.failing;
        if self.waking.counted && !busy {
            self.waking.counted = false;
            cx.openings.out = cx.openings.out.saturating_sub(1);
        }
    }
}
