//! The lifecycle of a torrent: how far its storage is, what follows when no worker has a job of it
//! any more, and whether its user and the queue let it run. Every change is a method with a name,
//! and what is told of the state ([`Lifecycle::phase`], [`Lifecycle::queue_request`]) is derived here.
//!
//! It sees no storage, no peer and no clock: the torrent calls it and carries the consequences out.

#[cfg(test)]
mod tests;

use crate::{
    alert::Phase,
    base::job::Trust,
    torrent::{
        checker::Checker,
        queue_request::{Check, Lane, OpeningTurn, QueueRequest},
    },
};

/// How a torrent ends. The later ones include the earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum End {
    /// The engine shuts down; the torrent is there at the next start.
    Shutdown,
    /// The torrent is removed; its data stays.
    Remove,
    /// The torrent is removed with its data.
    RemoveWithData,
}

/// What happens when no worker has a job of the torrent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The storage is opened anew.
    Reopen {
        /// What of the files may go unchecked then.
        trust: Trust,
    },
    /// The torrent's data is missing.
    Vanish,
    /// The torrent ends.
    Close(End),
}

/// What the user knows of a storage that is being opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Nothing: every step is told.
    New,
    /// The torrent came from the session folder and nothing contradicts its saved state: there is
    /// nothing to tell.
    Restored,
    /// The metainfo came from peers, which stay connected meanwhile: every step is told.
    Fetched,
}

/// How the disk of an open storage does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Works,
    Fails {
        /// What waited to be written was given up for other torrents.
        gave_up: bool,
    },
}

/// How far the storage is.
#[derive(Debug)]
enum Stage {
    /// The metainfo is not known, so there is nothing to open.
    Metadata,
    /// The torrent waits for its turn to be opened.
    Waiting { course: Course },
    /// The torrent is known from the session folder, and nothing of it was looked at.
    Dormant { course: Course },
    /// A worker opens it, or has failed to: then only the user can help.
    Opening { course: Course, failed: bool },
    /// What is on disk is hashed.
    Checking { course: Course, checker: Checker, disk: Disk },
    /// What is on disk is known.
    Open {
        disk: Disk,
        /// The consequences of having all that is wanted were drawn.
        finished: bool,
    },
    /// None of the torrent's files is where they were.
    Missing,
}

/// How far the end is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    /// A worker closes the storage, or deletes the data.
    Closing,
    /// The storage is closed, and the removal is being recorded.
    Forgetting,
    Closed,
}

#[derive(Debug)]
enum State {
    Alive { stage: Stage, next: Option<Next> },
    Over { end: End, step: Ending },
}

/// How the torrent stands with the engine's queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Queueing {
    /// The queue has no say.
    Outside,
    Inside {
        /// The queue does not let it run.
        held: bool,
        /// Where it gets in line for the first time; `None`: at the end.
        order: Option<u64>,
    },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lifecycle {
    state: State,
    /// The user wants it to rest.
    paused: bool,
    queueing: Queueing,
    /// What of the files may go unchecked when the storage is opened.
    trust: Trust,
    /// Whether it had everything that was wanted when that was last known.
    lane: Lane,
}

impl Lifecycle {
    /// A torrent that was added: it waits to be opened, or for its metainfo, if that is not
    /// `known`. `queue_order` counts if it is `queued`.
    pub(super) fn new(
        known: bool,
        trust: Trust,
        paused: bool,
        queued: bool,
        queue_order: Option<u64>,
    ) -> Self {
        let queueing = if queued {
            Queueing::Inside { held: true, order: queue_order }
        } else {
            Queueing::Outside
        };
        let stage = if known { Stage::Waiting { course: Course::New } } else { Stage::Metadata };
        Self {
            state: State::Alive { stage, next: None },
            paused,
            queueing,
            trust,
            lane: Lane::Download,
        }
    }

    /// The same for one of the session folder. `confirmed`: its saved state says what it has.
    /// `finished`: all that is wanted, as far as is known. One that is finished or rests is
    /// dormant; the others are opened in turn. One whose metainfo is not known goes on waiting.
    pub(super) fn restore(&mut self, confirmed: bool, finished: bool) {
        if self.awaits_metadata() {
            return;
        }
        let course = if confirmed { Course::Restored } else { Course::New };
        self.lane = if finished { Lane::Seed } else { Lane::Download };
        let stage = if finished || self.paused {
            Stage::Dormant { course }
        } else {
            Stage::Waiting { course }
        };
        self.state = State::Alive { stage, next: None };
    }

    fn stage(&self) -> Option<&Stage> {
        match &self.state {
            State::Alive { stage, .. } => Some(stage),
            State::Over { .. } => None,
        }
    }

    fn stage_mut(&mut self) -> Option<&mut Stage> {
        match &mut self.state {
            State::Alive { stage, .. } => Some(stage),
            State::Over { .. } => None,
        }
    }

    /// Goes over to another stage; what is pending stays so.
    fn enter(&mut self, to: Stage) {
        if let Some(stage) = self.stage_mut() {
            *stage = to;
        }
    }

    // Whether it may run.

    pub(super) fn is_paused(&self) -> bool {
        self.paused
    }

    /// Whether the queue decides when it runs.
    pub(super) fn is_queued(&self) -> bool {
        matches!(self.queueing, Queueing::Inside { .. })
    }

    /// Whether the queue does not let it run.
    fn is_held(&self) -> bool {
        matches!(self.queueing, Queueing::Inside { held: true, .. })
    }

    /// Whether the user or the queue wants it to rest.
    pub(super) fn rests(&self) -> bool {
        self.paused || self.is_held()
    }

    /// The user wants it to rest. Returns whether that is new.
    pub(super) fn pause(&mut self) -> bool {
        let is_new = !std::mem::replace(&mut self.paused, true);
        if is_new {
            // Afterwards it gets in line again.
            self.line_up_again();
        }
        is_new
    }

    /// The user lets it run. Returns whether that is new.
    pub(super) fn unpause(&mut self) -> bool {
        std::mem::take(&mut self.paused)
    }

    /// The queue wants it to rest, or lets it run. Returns whether that is new.
    pub(super) fn set_held(&mut self, to: bool) -> bool {
        match &mut self.queueing {
            Queueing::Inside { held, .. } => std::mem::replace(held, to) != to,
            Queueing::Outside => false,
        }
    }

    /// The queue decides from now on, or no longer. Returns whether that is new.
    pub(super) fn set_queued(&mut self, queued: bool) -> bool {
        if self.is_queued() == queued {
            return false;
        }
        // What runs goes on until the queue says otherwise.
        let held = !(self.is_active() || self.is_ready_to_wake());
        self.queueing =
            if queued { Queueing::Inside { held, order: None } } else { Queueing::Outside };
        true
    }

    fn line_up_again(&mut self) {
        if let Queueing::Inside { held, .. } = &mut self.queueing {
            *held = true;
        }
    }

    // How it is opened.

    pub(super) fn trust(&self) -> Trust {
        self.trust
    }

    /// The trust that counts at the next start.
    pub(super) fn trust_to_keep(&self) -> Trust {
        match self.next() {
            Some(Next::Reopen { trust }) => trust,
            _ => self.trust,
        }
    }

    /// Nothing that was known of the files counts, now and at the next start. Returns whether the
    /// files were taken at their word until now.
    pub(super) fn distrust(&mut self) -> bool {
        self.ask_reopen(Trust::Nothing);
        std::mem::replace(&mut self.trust, Trust::Nothing) == Trust::Files
    }

    /// What was found on disk was saved: it need not be looked for again. Returns whether that is
    /// new.
    pub(super) fn trust_saved_state(&mut self) -> bool {
        let is_new = self.trust == Trust::Nothing && self.is_savable() && !self.is_pending();
        if is_new {
            self.trust = Trust::State;
        }
        is_new
    }

    // Stages.

    /// Whether the metainfo is not known.
    pub(super) fn awaits_metadata(&self) -> bool {
        matches!(self.stage(), Some(Stage::Metadata))
    }

    /// The metainfo has come: the torrent is opened in turn, and its peers stay.
    pub(super) fn handle_metadata(&mut self) {
        if self.awaits_metadata() {
            self.enter(Stage::Waiting { course: Course::Fetched });
        }
    }

    /// How an opening was begun, as long as it is not over and has not failed.
    fn course(&self) -> Option<Course> {
        match self.stage()? {
            Stage::Waiting { course }
            | Stage::Dormant { course }
            | Stage::Opening { course, failed: false }
            | Stage::Checking { course, disk: Disk::Works, .. } => Some(*course),
            _ => None,
        }
    }

    pub(super) fn is_dormant(&self) -> bool {
        matches!(self.stage(), Some(Stage::Dormant { .. }))
    }

    /// A dormant torrent is to be opened in turn. The queue has it where it had it. Returns whether
    /// it was dormant.
    pub(super) fn wake(&mut self) -> bool {
        match &mut self.state {
            State::Alive { stage, next: None } => match stage {
                Stage::Dormant { course } => {
                    *stage = Stage::Waiting { course: *course };
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// A torrent that waits for it is opened now. Returns whether it waited.
    pub(super) fn open(&mut self) -> bool {
        match &mut self.state {
            State::Alive { stage, next: None } => match stage {
                Stage::Waiting { course } => {
                    *stage = Stage::Opening { course: *course, failed: false };
                    true
                }
                _ => false,
            },
            _ => false,
        }
    }

    /// The storage could not be opened.
    pub(super) fn handle_open_failed(&mut self) {
        if let Some(Stage::Opening { failed, .. }) = self.stage_mut() {
            *failed = true;
        }
    }

    /// The user wants another attempt at a storage that could not be opened. Returns whether there
    /// is one.
    pub(super) fn retry_open(&mut self) -> bool {
        match self.stage_mut() {
            Some(stage @ &mut Stage::Opening { course, failed: true }) => {
                *stage = Stage::Waiting { course };
                self.line_up_again();
                true
            }
            _ => false,
        }
    }

    /// The storage is open, and is checked. `as_saved`: all is as the saved state says. Returns
    /// whether the user is to hear of it.
    pub(super) fn check(&mut self, checker: Checker, as_saved: bool) -> bool {
        let course = match self.stage() {
            Some(Stage::Opening { course: Course::Restored, .. }) if as_saved => Course::Restored,
            Some(Stage::Opening { course: Course::Fetched, .. }) => Course::Fetched,
            _ => Course::New,
        };
        self.enter(Stage::Checking { course, checker, disk: Disk::Works });
        course != Course::Restored
    }

    pub(super) fn checker(&self) -> Option<&Checker> {
        match self.stage() {
            Some(Stage::Checking { checker, .. }) => Some(checker),
            _ => None,
        }
    }

    pub(super) fn checker_mut(&mut self) -> Option<&mut Checker> {
        match self.stage_mut() {
            Some(Stage::Checking { checker, .. }) => Some(checker),
            _ => None,
        }
    }

    /// The check is over. Returns whether the user is to hear of it.
    pub(super) fn finish_check(&mut self) -> bool {
        let is_news =
            !matches!(self.stage(), Some(Stage::Checking { course: Course::Restored, .. }));
        self.enter(Stage::Open { disk: Disk::Works, finished: false });
        is_news
    }

    pub(super) fn is_checking(&self) -> bool {
        self.checker().is_some()
    }

    pub(super) fn is_open(&self) -> bool {
        matches!(self.stage(), Some(Stage::Open { .. }))
    }

    /// Whether there is a state to save: a check that is not over has one, too, which tells how far
    /// it is.
    pub(super) fn is_savable(&self) -> bool {
        self.is_open() || self.is_checking()
    }

    /// Whether the store has, or makes, an open storage of it.
    pub(super) fn is_in_store(&self) -> bool {
        self.is_savable() || matches!(self.stage(), Some(Stage::Opening { .. }))
    }

    /// Whether nothing is open and nothing is being opened, though that is its turn or was tried.
    pub(super) fn is_unopened(&self) -> bool {
        let stage = matches!(
            self.stage(),
            Some(Stage::Waiting { .. } | Stage::Opening { failed: true, .. })
        );
        stage && !self.is_pending()
    }

    /// None of its files is there, and nothing is open any more.
    pub(super) fn lose_data(&mut self) {
        if let State::Alive { stage, next } = &mut self.state {
            *stage = Stage::Missing;
            next.take_if(|next| *next == Next::Vanish);
        }
        self.line_up_again();
    }

    /// Whether its data is missing and nothing is open.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self.stage(), Some(Stage::Missing))
    }

    /// Whether its data is missing, as far as is known.
    pub(super) fn has_lost_data(&self) -> bool {
        self.is_missing() || self.next() == Some(Next::Vanish)
    }

    /// The missing files are back: it is opened in turn.
    pub(super) fn handle_data_back(&mut self) {
        if self.is_missing() {
            self.enter(Stage::Waiting { course: Course::New });
            self.line_up_again();
        }
    }

    // The disk.

    /// Whether the storage could not be opened, or its disk fails.
    pub(super) fn is_failing(&self) -> bool {
        match self.stage() {
            Some(Stage::Opening { failed, .. }) => *failed,
            Some(Stage::Checking { disk, .. } | Stage::Open { disk, .. }) => *disk != Disk::Works,
            _ => false,
        }
    }

    fn disk_mut(&mut self) -> Option<&mut Disk> {
        match self.stage_mut() {
            Some(Stage::Checking { disk, .. } | Stage::Open { disk, .. }) => Some(disk),
            _ => None,
        }
    }

    /// The disk of an open storage failed.
    pub(super) fn handle_disk_failure(&mut self) {
        if let Some(disk @ Disk::Works) = self.disk_mut() {
            *disk = Disk::Fails { gave_up: false };
        }
    }

    /// The disk works again. Returns whether it had failed.
    pub(super) fn handle_disk_recovery(&mut self) -> bool {
        self.disk_mut().is_some_and(|disk| std::mem::replace(disk, Disk::Works) != Disk::Works)
    }

    /// What waited for a failing disk was given up for other torrents.
    pub(super) fn note_given_up(&mut self) {
        if let Some(Disk::Fails { gave_up }) = self.disk_mut() {
            *gave_up = true;
        }
    }

    /// Whether anything was given up since this was last asked.
    pub(super) fn take_given_up(&mut self) -> bool {
        match self.disk_mut() {
            Some(Disk::Fails { gave_up }) => std::mem::take(gave_up),
            _ => false,
        }
    }

    // Whether all is there.

    /// Whether the consequences of having all that is wanted were drawn.
    pub(super) fn is_finished(&self) -> bool {
        match self.stage() {
            Some(Stage::Open { finished, .. }) => *finished,
            Some(Stage::Dormant { .. }) => self.lane == Lane::Seed,
            _ => false,
        }
    }

    /// An open torrent has all that is wanted. Returns whether that is new.
    pub(super) fn finish(&mut self) -> bool {
        match self.stage_mut() {
            Some(Stage::Open { finished, .. }) => !std::mem::replace(finished, true),
            _ => false,
        }
    }

    /// More is wanted than what it has.
    pub(super) fn unfinish(&mut self) {
        if let Some(Stage::Open { finished, .. }) = self.stage_mut() {
            *finished = false;
        }
        self.lane = Lane::Download;
    }

    /// Whether an open torrent has all that is wanted decides which line of the queue is its.
    pub(super) fn note_whole(&mut self, whole: bool) {
        if self.is_open() {
            self.lane = if whole { Lane::Seed } else { Lane::Download };
        }
    }

    // What comes next.

    /// What happens when no worker has a job of it any more. Nothing more once the end has begun.
    pub(super) fn next(&self) -> Option<Next> {
        match self.state {
            State::Alive { next, .. } => next,
            State::Over { .. } => None,
        }
    }

    /// Whether something is to happen that new jobs must wait for, the end included.
    pub(super) fn is_pending(&self) -> bool {
        self.next().is_some() || self.is_over()
    }

    /// It is opened anew, unless it ends.
    pub(super) fn ask_reopen(&mut self, trust: Trust) {
        self.ask(Next::Reopen { trust });
    }

    /// Its data is missing: that counts when no worker has a job of it any more.
    pub(super) fn ask_vanish(&mut self) {
        self.ask(Next::Vanish);
    }

    fn ask(&mut self, what: Next) {
        if let State::Alive {
            next: next @ (None | Some(Next::Reopen { .. } | Next::Vanish)), ..
        } = &mut self.state
        {
            *next = Some(what);
        }
    }

    /// No worker has a job of it any more: it waits to be opened anew.
    pub(super) fn reopen(&mut self, trust: Trust) {
        let stage = Stage::Waiting { course: Course::New };
        self.state = State::Alive { stage, next: None };
        self.trust = trust;
        self.line_up_again();
    }

    // The end.

    /// It is to end. Of several ends the one that goes furthest counts.
    pub(super) fn close(&mut self, to: End) {
        match &mut self.state {
            State::Alive { next: Some(Next::Close(end)), .. } | State::Over { end, .. } => {
                *end = to.max(*end);
            }
            State::Alive { next, .. } => *next = Some(Next::Close(to)),
        }
    }

    /// How it ends, if it is to.
    pub(super) fn end(&self) -> Option<End> {
        match self.state {
            State::Alive { next: Some(Next::Close(end)), .. } | State::Over { end, .. } => {
                Some(end)
            }
            State::Alive { .. } => None,
        }
    }

    /// Whether it is being removed, so that nothing of it is kept.
    pub(super) fn is_removed(&self) -> bool {
        self.end().is_some_and(|end| end >= End::Remove)
    }

    /// Whether its data is to go with it.
    pub(super) fn is_removed_with_data(&self) -> bool {
        self.end() == Some(End::RemoveWithData)
    }

    fn go_over(&mut self, step: Ending) {
        if let Some(end) = self.end() {
            self.state = State::Over { end, step };
        }
    }

    /// A worker closes it.
    pub(super) fn begin_to_close(&mut self) {
        self.go_over(Ending::Closing);
    }

    /// It is closed, and its removal is being recorded.
    pub(super) fn begin_to_forget(&mut self) {
        self.go_over(Ending::Forgetting);
    }

    pub(super) fn is_forgetting(&self) -> bool {
        matches!(self.state, State::Over { step: Ending::Forgetting, .. })
    }

    /// Nothing of it is left to do.
    pub(super) fn finish_closing(&mut self) {
        self.go_over(Ending::Closed);
    }

    pub(super) fn is_closed(&self) -> bool {
        matches!(self.state, State::Over { step: Ending::Closed, .. })
    }

    /// Whether its end has begun: it is being closed, or is.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Over { .. })
    }

    // What is told of it.

    /// Whether there is, or is about to be, something to say to peers.
    fn has_use_of_peers(&self) -> bool {
        self.is_open() || self.awaits_metadata() || self.course() == Some(Course::Fetched)
    }

    /// Whether it speaks with peers now.
    pub(super) fn is_active(&self) -> bool {
        self.has_use_of_peers() && !self.rests() && !self.is_pending()
    }

    /// Whether blocks may come and go.
    pub(super) fn is_exchanging(&self) -> bool {
        self.is_open() && self.is_active()
    }

    /// Whether a peer that wants a torrent of the session folder may wait: it was dormant, and will
    /// be open soon if its files are as they were.
    pub(super) fn is_waking(&self) -> bool {
        let soon = self.course().is_some_and(|course| course != Course::Fetched);
        soon && !self.rests() && !self.is_pending()
    }

    /// True while a restored torrent is dormant or reopening and its saved state has not been
    /// contradicted: its trackers and the queue need not hear that it is being opened.
    fn is_on_its_way(&self) -> bool {
        self.course() == Some(Course::Restored) && !self.is_pending()
    }

    /// The same of one that may run.
    pub(super) fn is_ready_to_wake(&self) -> bool {
        self.is_on_its_way() && !self.rests()
    }

    /// True while a dormant torrent has no reason to be: it may run and is not `finished`. That is
    /// a question of what it has and what is wanted now, not of what was said when it was restored.
    pub(super) fn is_oversleeping(&self, finished: bool) -> bool {
        self.is_dormant() && !self.paused && !self.is_pending() && !finished
    }

    /// The phase that the user is told of; `finished`: all that is wanted is there.
    pub(super) fn phase(&self, finished: bool) -> Phase {
        let stage = match &self.state {
            State::Over { .. } | State::Alive { next: Some(Next::Close(_)), .. } => {
                return Phase::Closing;
            }
            State::Alive { stage, .. } => stage,
        };
        if self.has_lost_data() {
            return if self.paused { Phase::Paused } else { Phase::Missing };
        }
        if self.is_pending() {
            // It is opened anew as soon as its workers are done.
            return Phase::Opening;
        }
        // What cannot be opened rests as well as what cannot be written.
        if self.is_failing() {
            return if self.paused { Phase::Paused } else { Phase::Stalled };
        }
        match stage {
            Stage::Opening { .. } => Phase::Opening,
            Stage::Checking { .. } => Phase::Checking,
            _ if self.paused => Phase::Paused,
            _ if self.is_held() => Phase::Queued,
            Stage::Metadata => Phase::Metadata,
            Stage::Waiting { .. } => Phase::Opening,
            Stage::Open { .. } | Stage::Dormant { .. } if finished => Phase::Seeding,
            // What it lacks shows when it is open.
            Stage::Dormant { .. } | Stage::Missing => Phase::Opening,
            Stage::Open { .. } => Phase::Downloading,
        }
    }

    /// What it asks of the engine's queues.
    pub(super) fn queue_request(&self) -> QueueRequest {
        let order = match self.queueing {
            Queueing::Inside { order, .. } => order,
            Queueing::Outside => None,
        };
        let check = match self.stage() {
            _ if self.is_pending() => Check::No,
            Some(Stage::Waiting { .. }) if self.paused => Check::Due(OpeningTurn::Paused),
            Some(Stage::Waiting { .. }) if self.is_queued() => Check::Due(OpeningTurn::Queued),
            Some(Stage::Waiting { .. }) => Check::Due(OpeningTurn::Now),
            Some(Stage::Opening { failed: false, .. } | Stage::Checking { .. }) => Check::Going,
            _ => Check::No,
        };
        QueueRequest {
            check,
            queued: self.is_queued() && self.end().is_none(),
            lane: self.lane,
            could_run: (self.has_use_of_peers() || self.is_on_its_way())
                && !self.paused
                && !self.is_failing()
                && !self.is_pending(),
            held: self.is_held(),
            order,
        }
    }
}
