//! What is told of a lifecycle: whether the torrent speaks with peers, its phase, and what it asks
//! of the engine's queues. All of it is derived from the lifecycle's own answers, and changes
//! nothing.

use super::Lifecycle;
use crate::{
    alert::Phase,
    torrent::queue_request::{Check, OpeningTurn, QueueRequest},
};

impl Lifecycle {
    /// Whether it speaks with peers now.
    pub(in crate::torrent) fn is_active(&self) -> bool {
        self.has_use_of_peers() && !self.rests() && !self.is_pending()
    }

    /// Whether blocks may come and go.
    pub(in crate::torrent) fn is_exchanging(&self) -> bool {
        self.is_open() && self.is_active()
    }

    /// Whether a peer that wants a torrent of the session folder may wait: it was dormant, and will
    /// be open soon if its files are as they were.
    pub(in crate::torrent) fn is_waking(&self) -> bool {
        let soon = self.stage().is_some_and(|stage| stage.is_waking());
        soon && !self.rests() && !self.is_pending()
    }

    /// True while a restored torrent that may run is dormant or reopening and its saved state has
    /// not been contradicted: its trackers and the queue need not hear that it is being opened.
    pub(in crate::torrent) fn is_ready_to_wake(&self) -> bool {
        self.is_on_its_way() && !self.rests()
    }

    /// True while a dormant torrent has no reason to be: it may run and is not `finished`. That is
    /// a question of what it has and what is wanted now, not of what was said when it was restored.
    pub(in crate::torrent) fn is_oversleeping(&self, finished: bool) -> bool {
        self.is_dormant() && !self.is_paused() && !self.is_pending() && !finished
    }

    fn has_use_of_peers(&self) -> bool {
        self.stage().is_some_and(|stage| stage.has_use_of_peers())
    }

    fn is_on_its_way(&self) -> bool {
        self.stage().is_some_and(|stage| stage.is_on_its_way()) && !self.is_pending()
    }

    /// The phase that the user is told of; `finished`: all that is wanted is there.
    pub(in crate::torrent) fn phase(&self, finished: bool) -> Phase {
        let Some(stage) = self.stage().filter(|_| self.end().is_none()) else {
            return Phase::Closing;
        };
        if self.has_lost_data() {
            return if self.is_paused() { Phase::Paused } else { Phase::Missing };
        }
        if self.is_pending() {
            // It is opened anew as soon as its workers are done.
            return Phase::Opening;
        }
        // What cannot be opened rests as well as what cannot be written.
        if self.is_failing() {
            return if self.is_paused() { Phase::Paused } else { Phase::Stalled };
        }
        match stage.phase(finished) {
            // A worker that has begun goes on.
            phase if stage.is_check_going() => phase,
            _ if self.is_paused() => Phase::Paused,
            _ if self.is_held() => Phase::Queued,
            phase => phase,
        }
    }

    /// What it asks of the engine's queues.
    pub(in crate::torrent) fn queue_request(&self) -> QueueRequest {
        let turn = || match (self.is_paused(), self.is_queued()) {
            (true, _) => OpeningTurn::Paused,
            (false, true) => OpeningTurn::Queued,
            (false, false) => OpeningTurn::Now,
        };
        let check = match self.stage().filter(|_| !self.is_pending()) {
            Some(stage) if stage.is_waiting() => Check::Due(turn()),
            // One that fails is not tried again in a pause, and does not hold up others then.
            Some(_) if self.is_failing() && self.is_paused() => Check::No,
            Some(stage) if stage.is_check_going() => Check::Going,
            _ => Check::No,
        };
        QueueRequest {
            check,
            queued: self.is_queued() && self.end().is_none(),
            lane: self.lane(),
            could_run: (self.has_use_of_peers() || self.is_on_its_way())
                && !self.is_paused()
                && !self.is_failing()
                && !self.is_pending(),
            held: self.is_held(),
            order: self.queue_order(),
        }
    }
}
