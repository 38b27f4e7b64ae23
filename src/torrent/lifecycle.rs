//! The lifecycle of a torrent: whether it lives or ends, and what comes next ([`State`]), how far
//! its storage is ([`Stage`]), and whether its user and the queue let it run ([`Permission`]).
//! Every change is a method with a name; what is told of the state is derived in `facts`.
//!
//! It sees no storage, no peer and no clock: the torrent calls it and carries the consequences out.

mod disk;
mod facts;
mod permission;
mod stage;
mod state;
#[cfg(test)]
mod tests;

pub(crate) use self::state::End;
pub(super) use self::state::Next;
use self::{
    disk::Disk,
    permission::Permission,
    stage::Stage,
    state::{Ending, State},
};
use crate::{
    base::storage::Trust,
    torrent::{checker::Checker, queue_request::Lane},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Lifecycle {
    state: State,
    permission: Permission,
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
        Self {
            state: State::alive(Stage::added(known)),
            permission: Permission::new(paused, queued, queue_order),
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
        self.lane = if finished { Lane::Seed } else { Lane::Download };
        self.state = State::alive(Stage::restored(confirmed, finished || self.is_paused()));
    }

    /// How far the storage is; `None` once the end has begun.
    fn stage(&self) -> Option<&Stage> {
        self.state.stage()
    }

    // Whether it may run.

    pub(super) fn is_paused(&self) -> bool {
        self.permission.is_paused()
    }

    /// Whether the queue decides when it runs.
    pub(super) fn is_queued(&self) -> bool {
        self.permission.is_queued()
    }

    /// Whether the queue does not let it run.
    fn is_held(&self) -> bool {
        self.permission.is_held()
    }

    /// Where it gets in line for the first time; `None`: at the end.
    fn queue_order(&self) -> Option<u64> {
        self.permission.order()
    }

    /// Which line of the queue is its.
    fn lane(&self) -> Lane {
        self.lane
    }

    /// Whether the user or the queue wants it to rest.
    pub(super) fn rests(&self) -> bool {
        self.is_paused() || self.is_held()
    }

    /// The user wants it to rest. Returns whether that is new.
    pub(super) fn pause(&mut self) -> bool {
        self.permission.pause()
    }

    /// The user lets it run. Returns whether that is new.
    pub(super) fn unpause(&mut self) -> bool {
        self.permission.unpause()
    }

    /// The queue wants it to rest, or lets it run. Returns whether that is new.
    pub(super) fn set_held(&mut self, to: bool) -> bool {
        self.permission.set_held(to)
    }

    /// The queue decides from now on, or no longer. Returns whether that is new.
    pub(super) fn set_queued(&mut self, queued: bool) -> bool {
        let runs = self.is_active() || self.is_ready_to_wake();
        self.permission.set_queued(queued, runs)
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

    /// Nothing that was known of the files counts, now and at the next start: the storage is opened
    /// anew, or for the first time when the metainfo is known. Returns whether that is new. Then
    /// the session's record must say so: the check may wait for its turn, and has no state until
    /// then.
    pub(super) fn distrust(&mut self) -> bool {
        let is_new = self.trust.is_any();
        if is_new {
            self.trust = Trust::Nothing;
        }
        if !self.awaits_metadata() {
            self.ask_reopen(self.trust);
        }
        is_new
    }

    /// It is in another folder than its saved state speaks of, and nothing of it is trusted.
    pub(super) fn note_elsewhere(&mut self) {
        self.trust = Trust::Elsewhere;
    }

    /// What was found on disk was saved: it need not be looked for again. Returns whether that is
    /// new.
    pub(super) fn trust_saved_state(&mut self) -> bool {
        let is_new = !self.trust.is_any() && self.is_savable() && !self.is_pending();
        if is_new {
            self.trust = Trust::State;
        }
        is_new
    }

    // The storage.

    /// Whether the metainfo is not known.
    pub(super) fn awaits_metadata(&self) -> bool {
        self.stage().is_some_and(Stage::awaits_metadata)
    }

    /// The metainfo has come: the torrent is opened in turn, and its peers stay.
    pub(super) fn handle_metadata(&mut self) {
        if let Some(stage) = self.state.stage_mut() {
            stage.handle_metadata();
        }
    }

    pub(super) fn is_dormant(&self) -> bool {
        self.stage().is_some_and(Stage::is_dormant)
    }

    /// A dormant torrent is to be opened in turn. The queue has it where it had it. Returns whether
    /// it was dormant.
    pub(super) fn wake(&mut self) -> bool {
        self.state.free_stage_mut().is_some_and(Stage::wake)
    }

    /// A torrent that waits for it is opened now. Returns whether it waited.
    pub(super) fn open(&mut self) -> bool {
        self.state.free_stage_mut().is_some_and(Stage::open)
    }

    /// The storage could not be opened.
    pub(super) fn handle_open_failed(&mut self) {
        if let Some(stage) = self.state.stage_mut() {
            stage.handle_open_failed();
        }
    }

    /// The user wants another attempt at a storage that could not be opened. Returns whether there
    /// is one.
    pub(super) fn retry_open(&mut self) -> bool {
        let retries = self.state.stage_mut().is_some_and(Stage::retry_open);
        if retries {
            self.permission.line_up_again();
        }
        retries
    }

    /// The storage is open, and is checked. `as_saved`: all is as the saved state says. Returns
    /// whether the user is to hear of it.
    pub(super) fn check(&mut self, checker: Checker, as_saved: bool) -> bool {
        self.state.stage_mut().is_none_or(|stage| stage.check(checker, as_saved))
    }

    pub(super) fn checker(&self) -> Option<&Checker> {
        self.stage()?.checker()
    }

    pub(super) fn checker_mut(&mut self) -> Option<&mut Checker> {
        self.state.stage_mut()?.checker_mut()
    }

    /// The check is over. Returns whether the user is to hear of it.
    pub(super) fn finish_check(&mut self) -> bool {
        self.state.stage_mut().is_none_or(Stage::finish_check)
    }

    pub(super) fn is_checking(&self) -> bool {
        self.checker().is_some()
    }

    pub(super) fn is_open(&self) -> bool {
        self.stage().is_some_and(Stage::is_open)
    }

    /// Whether there is a state to save: a check that is not over has one, too, which tells how far
    /// it is.
    pub(super) fn is_savable(&self) -> bool {
        self.stage().is_some_and(Stage::is_savable)
    }

    /// Whether the store has, or makes, an open storage of it.
    pub(super) fn is_in_store(&self) -> bool {
        self.stage().is_some_and(Stage::is_in_store)
    }

    /// Whether nothing is open and nothing is being opened, though that is its turn or was tried.
    pub(super) fn is_unopened(&self) -> bool {
        self.stage().is_some_and(Stage::is_unopened) && !self.is_pending()
    }

    /// None of its files is there, and nothing is open any more.
    pub(super) fn lose_data(&mut self) {
        self.state.lose_data();
        self.permission.line_up_again();
    }

    /// Whether its data is missing and nothing is open.
    pub(super) fn is_missing(&self) -> bool {
        self.stage().is_some_and(Stage::is_missing)
    }

    /// Whether its data is missing, as far as is known.
    pub(super) fn has_lost_data(&self) -> bool {
        self.is_missing() || self.next() == Some(Next::Vanish)
    }

    /// The missing files are back: it is opened in turn.
    pub(super) fn handle_data_back(&mut self) {
        if self.state.stage_mut().is_some_and(Stage::handle_data_back) {
            self.permission.line_up_again();
        }
    }

    // The disk.

    /// Whether the storage could not be opened, or its disk fails.
    pub(super) fn is_failing(&self) -> bool {
        self.stage().is_some_and(Stage::is_failing)
    }

    fn disk_mut(&mut self) -> Option<&mut Disk> {
        self.state.stage_mut()?.disk_mut()
    }

    /// The disk of an open storage failed.
    pub(super) fn handle_disk_failure(&mut self) {
        if let Some(disk) = self.disk_mut() {
            disk.handle_failure();
        }
    }

    /// The disk works again. Returns whether it had failed.
    pub(super) fn handle_disk_recovery(&mut self) -> bool {
        self.disk_mut().is_some_and(Disk::handle_recovery)
    }

    /// What waited for a failing disk was given up for other torrents.
    pub(super) fn note_given_up(&mut self) {
        if let Some(disk) = self.disk_mut() {
            disk.note_given_up();
        }
    }

    /// Whether anything was given up since this was last asked.
    pub(super) fn take_given_up(&mut self) -> bool {
        self.disk_mut().is_some_and(Disk::take_given_up)
    }

    // Whether all is there.

    /// Whether the consequences of having all that is wanted were drawn.
    pub(super) fn is_finished(&self) -> bool {
        let sleeping_seed = self.is_dormant() && self.lane == Lane::Seed;
        sleeping_seed || self.stage().is_some_and(Stage::is_finished)
    }

    /// An open torrent has all that is wanted. Returns whether that is new.
    pub(super) fn finish(&mut self) -> bool {
        self.state.stage_mut().is_some_and(|stage| stage.set_finished(true))
    }

    /// More is wanted than what it has.
    pub(super) fn unfinish(&mut self) {
        if let Some(stage) = self.state.stage_mut() {
            stage.set_finished(false);
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
        self.state.next()
    }

    /// Whether something is to happen that new jobs must wait for, the end included.
    pub(super) fn is_pending(&self) -> bool {
        self.next().is_some() || self.is_over()
    }

    /// It is opened anew, unless it ends.
    pub(super) fn ask_reopen(&mut self, trust: Trust) {
        self.state.ask(Next::Reopen { trust });
    }

    /// Its data is missing: that counts when no worker has a job of it any more.
    pub(super) fn ask_vanish(&mut self) {
        self.state.ask(Next::Vanish);
    }

    /// No worker has a job of it any more: it waits to be opened anew.
    pub(super) fn reopen(&mut self, trust: Trust) {
        self.state = State::alive(Stage::reopening());
        self.trust = trust;
        self.permission.line_up_again();
    }

    // The end.

    /// It is to end. Of several ends the one that goes furthest counts.
    pub(super) fn close(&mut self, to: End) {
        self.state.close(to);
    }

    /// How it ends, if it is to.
    pub(super) fn end(&self) -> Option<End> {
        self.state.end()
    }

    /// Whether it is being removed, so that nothing of it is kept.
    pub(super) fn is_removed(&self) -> bool {
        self.end().is_some_and(|end| end >= End::Remove)
    }

    /// Whether its data is to go with it.
    pub(super) fn is_removed_with_data(&self) -> bool {
        self.end() == Some(End::RemoveWithData)
    }

    /// A worker closes it.
    pub(super) fn begin_to_close(&mut self) {
        self.state.go_over(Ending::Closing);
    }

    /// It is closed, and its removal is being recorded.
    pub(super) fn begin_to_forget(&mut self) {
        self.state.go_over(Ending::Forgetting);
    }

    pub(super) fn is_forgetting(&self) -> bool {
        self.state.ending() == Some(Ending::Forgetting)
    }

    /// Nothing of it is left to do.
    pub(super) fn finish_closing(&mut self) {
        self.state.go_over(Ending::Closed);
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.ending() == Some(Ending::Closed)
    }

    /// Whether its end has begun: it is being closed, or is.
    pub(super) fn is_over(&self) -> bool {
        self.state.ending().is_some()
    }
}
