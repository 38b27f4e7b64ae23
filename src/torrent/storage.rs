//! A torrent's dealings with its storage: opening, checking, saving, failing, closing.

use crate::{
    alert::Alert,
    base::{
        geometry::PieceIndex,
        job::{Done, Job, Opened, SaveState, StoreError, Trust, Verdict},
        time::Instant,
    },
    torrent::{Next, RETRY, SAVE, Stage, Torrent, checker::Checker, cx::Cx, picker::Picker},
};

impl Torrent {
    /// It is to be opened when it is its turn.
    pub(super) fn await_opening(&mut self, trust: Trust) {
        self.stage = Stage::Waiting;
        self.trust = trust;
        self.finished = false;
        self.held = self.queued;
    }

    /// Has a worker look at what is there, unless something else became of it.
    pub(crate) fn open(&mut self, cx: &mut Cx) {
        if !matches!(self.stage, Stage::Waiting) || self.next.is_some() {
            return;
        }
        self.stage = Stage::Opening;
        self.swarm.jobs_out += 1;
        (self.errands.arrange, self.errands.unmade) = (false, false);
        self.arranged = self.wishes.skipped();
        let spec = Box::new(self.spec_at(self.place.clone(), &cx.conf));
        cx.job(Job::Open { torrent: self.key(), spec });
    }

    /// A worker answered. (Blocks read for peers go to [`handle_read`](Self::handle_read).)
    pub(crate) fn handle_done(&mut self, done: Done, cx: &mut Cx) {
        self.swarm.jobs_out = self.swarm.jobs_out.saturating_sub(1);
        match done {
            Done::Opened { result, .. } => self.handle_opened(result, cx),
            Done::Checked { piece, result, .. } => self.handle_checked(piece, result, cx),
            Done::Run { run, .. } => {
                self.swarm.runs_out = self.swarm.runs_out.saturating_sub(1);
                let (bad, written) = (matches!(run.result, Ok(Verdict::Bad)), run.buf.is_some());
                match self.swarm.handle_run(run, cx) {
                    // A bad piece says nothing about the disk: one of a single run is not written.
                    Ok(()) if bad => self.try_again_later(cx),
                    Ok(()) => {
                        if written {
                            // The files are not as the saved state has them any more.
                            self.changed(cx);
                        }
                        self.recovered(cx);
                    }
                    Err(error) => {
                        // What is read back of a piece may be another program's: to try again would
                        // not help.
                        if error.is_changed() {
                            self.files_changed(&error, cx);
                        }
                        self.failed(error, cx);
                    }
                }
            }
            Done::Digests { piece, result, .. } => self.swarm.handle_digests(piece, result, cx),
            Done::Syncing { state, synced, files, .. } => {
                self.swarm.jobs_out += 1;
                cx.job(Job::Save { torrent: self.key(), state, synced });
                cx.alerts.push(Alert::Saving { torrent: self.id, done: synced, total: files });
            }
            Done::Saved { result, unfinished, .. } => {
                if let Some(error) = unfinished {
                    let retry_in = Some(cx.conf.storage.save_interval);
                    cx.alerts.push(Alert::StorageFailed { torrent: self.id, error, retry_in });
                }
                self.handle_saved(result, cx);
            }
            Done::Looked { absent, .. } => self.handle_looked(absent, cx),
            Done::Arranged { result, .. } => self.handle_arranged(result, cx),
            Done::Relocated { result, .. } => self.handle_relocated(result, cx),
            Done::Tidied { left, .. } => self.handle_tidied(left, cx),
            Done::Closed { .. } => self.ended(cx),
            Done::Deleted { left, .. } => {
                match left {
                    None => cx.alerts.push(Alert::DataDeleted { torrent: self.id }),
                    left => self.tell_leftovers(left, cx),
                }
                self.deleted(cx);
            }
            Done::Read { buf, .. } => cx.uploads.give(buf),
            // That is the engine's to tell.
            Done::Recorded { .. } => {}
        }
        self.settle(cx);
    }

    pub(super) fn delete(&mut self, cx: &mut Cx) {
        self.swarm.jobs_out += 1;
        let spec = Box::new(self.spec_at(self.place.clone(), &cx.conf));
        cx.job(Job::Delete { torrent: self.key(), spec });
    }

    fn handle_opened(&mut self, result: Result<Opened, StoreError>, cx: &mut Cx) {
        match result {
            Err(error) => {
                // Only the user can help: the folder is not one, or may not be looked at.
                self.failing = true;
                cx.alerts.push(Alert::StorageFailed { torrent: self.id, error, retry_in: None });
            }
            Ok(Opened { lost, .. }) if self.is_absence(lost, cx) => {}
            Ok(Opened {
                have,
                check,
                partial,
                downloaded,
                uploaded,
                distrust,
                arrange,
                tracker_events,
                names,
                too_long,
                ..
            }) => {
                self.handle_found(partial);
                self.note_too_long(too_long);
                self.errands.arrange |= arrange;
                self.names.handle_found(self.id, names, cx);
                if let Some(why) = &distrust {
                    log::warn!("the saved state of {} is not believed: {why}", self.metainfo.name);
                }
                self.waking.quiet &= check.is_clear() && have == self.swarm.have;
                if !self.waking.quiet {
                    cx.alerts.push(Alert::Opened {
                        torrent: self.id,
                        have: have.count(),
                        to_check: check.count(),
                        distrust,
                    });
                }
                self.service.handle_earlier(downloaded, uploaded);
                self.restore_events(tracker_events, cx);
                self.unsaved |= check.count() > 0;
                self.swarm.set_have(have);
                self.stage = Stage::Checking(Checker::new(check));
                self.save_in_time(cx);
            }
        }
    }

    fn handle_checked(&mut self, piece: PieceIndex, result: Result<bool, StoreError>, cx: &mut Cx) {
        let Stage::Checking(checker) = &mut self.stage else { return };
        let bad = matches!(result, Ok(false));
        match result {
            Ok(good) => {
                checker.handle_checked(piece);
                if good {
                    self.swarm.add_checked(piece);
                } else {
                    self.absence.note_missed();
                }
                if checker.done() % 64 == 0 {
                    cx.alerts.push(Alert::Checking {
                        torrent: self.id,
                        done: checker.done(),
                        total: checker.total(),
                    });
                }
            }
            Err(error) => checker.handle_unread(piece, error),
        }
        let failure = checker.poll_failure();
        self.unsaved = true;
        self.save_in_time(cx);
        if bad {
            self.handle_found_bad(piece);
        }
        if let Some(error) = failure {
            self.timers.stop(RETRY);
            self.failed(error, cx);
        }
    }

    /// Drives whatever stage the storage is in; called at the end of every input.
    pub(super) fn go_on(&mut self, cx: &mut Cx) {
        if let Stage::Checking(checker) = &mut self.stage {
            let going_on = self.next.is_none() && !self.swarm.quiet;
            while going_on
                && let Some(piece) =
                    checker.poll_piece(self.swarm.geometry, cx.conf.storage.max_checks)
            {
                let Some(expected) = self.swarm.expected(piece) else { continue };
                self.swarm.jobs_out += 1;
                cx.job(Job::Check { torrent: self.swarm.torrent, piece, expected });
            }
            if checker.is_over() && self.is_check_sure(cx) {
                self.recovered(cx);
                self.start(cx);
            }
        }
        if self.rests() {
            self.flush(cx);
        }
        if self.rests() && self.saved_dirty && self.swarm.runs_out == 0 && !self.save_out {
            // Nothing more will be written: the saved state can say so.
            self.unsaved = true;
            self.save(cx);
        }
        self.run_errands(cx);
        if self.next.is_some()
            && self.swarm.jobs_out == 0
            && self.sessions.len() == 0
            && !self.errands.is_tidying()
            && !matches!(self.stage, Stage::Forgetting | Stage::Closed)
        {
            self.turn_over(cx);
        }
    }

    /// What is there is known: the torrent begins to speak with peers.
    fn start(&mut self, cx: &mut Cx) {
        let levels = self.wishes.levels(&self.metainfo.files, self.swarm.geometry);
        self.swarm.picker = Picker::new(
            self.swarm.geometry,
            &self.swarm.have,
            levels,
            self.sequential,
            &mut cx.rng,
        );
        self.swarm.recount();
        self.swarm.requesting = true;
        if !self.swarm.is_finished() {
            self.candidates.unshelve(cx.now);
        }
        self.stage = Stage::Open;
        self.take_up(cx);
        self.waive_stop_if_whole();
        if !self.waking.quiet {
            cx.alerts.push(Alert::Checked { torrent: self.id, have: self.swarm.have.count() });
        }
        if self.unsaved {
            self.timers.set(SAVE, cx.now);
        }
        self.tell_too_long(cx);
        self.finish(cx);
        self.waking.quiet = false;
    }

    /// No worker and no peer is busy with the torrent: it is closed, or opened anew.
    fn turn_over(&mut self, cx: &mut Cx) {
        if matches!(self.next, Some(Next::Close { delete: false, .. })) && self.flush(cx) {
            return;
        }
        self.forgo_flush();
        match self.next {
            Some(Next::Reopen { trust }) => {
                self.next = None;
                self.swarm.abandon(cx);
                let counters = self.swarm.counters;
                self.swarm = Self::empty_swarm(self.key(), &self.metainfo, &self.wishes, cx);
                self.swarm.counters = counters;
                (self.failing, self.waking.quiet) = (false, false);
                self.settle_elsewhere(cx);
                self.await_opening(trust);
            }
            Some(Next::Vanish) => {
                self.next = None;
                self.swarm.abandon(cx);
                self.vanished(cx);
            }
            Some(Next::Close { delete: false, .. }) if self.is_asleep() => self.ended(cx),
            // Pieces are hashed and written, so what is had is all there is: the saved state is
            // whole. That of one that is forgotten is of no use in a folder that
            // forgets it too.
            Some(Next::Close { told, delete: false })
                if self.wants_last_save() && !(told && self.keep.on) =>
            {
                self.unsaved = true;
                self.save(cx);
            }
            // What trackers say in the end is still to be saved.
            Some(Next::Close { .. }) if self.keeps_own_state() && self.awaits_farewells() => {}
            Some(Next::Close { delete, .. }) => {
                self.refuse_requests(cx);
                self.swarm.abandon(cx);
                self.stage = Stage::Closing;
                // What is kept in the session folder is forgotten there before its data goes.
                if delete && !self.keep.on {
                    self.begin_to_delete(cx);
                    return;
                }
                self.swarm.jobs_out += 1;
                cx.job(Job::Close { torrent: self.key() });
            }
            None => {}
        }
    }

    /// What is new may wait for its time.
    fn save_in_time(&mut self, cx: &Cx) {
        if self.unsaved && self.timers.get(SAVE).is_none() {
            self.timers.set(SAVE, cx.now + cx.conf.storage.save_interval);
        }
    }

    /// Whether there is a state to speak of: a check that is not over has one, too, which tells how
    /// far it is.
    fn is_savable(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::Checking(_))
    }

    fn wants_last_save(&self) -> bool {
        self.is_savable() && (self.unsaved || self.saved_dirty)
    }

    /// There is something new to remember.
    pub(super) fn changed(&mut self, cx: &mut Cx) {
        // The first piece is remembered soon, so that a crash finds a state to go on from; the
        // others in their time.
        let wait = if self.saved_dirty {
            cx.conf.storage.save_interval
        } else {
            cx.conf.storage.save_interval.min(FIRST_SAVE)
        };
        self.unsaved = true;
        if self.timers.get(SAVE).is_none() {
            self.timers.set(SAVE, cx.now + wait);
        }
    }

    /// Saves its state now, if there is anything new.
    pub(crate) fn save_now(&mut self, cx: &mut Cx) {
        self.note_totals();
        self.save(cx);
        self.settle(cx);
    }

    /// What was sent counts, even if nothing new was had.
    pub(super) fn note_totals(&mut self) {
        let counters = &self.swarm.counters;
        let moved = (counters.down.total(), counters.up.total());
        self.unsaved |= moved != self.saved_totals && matches!(self.stage, Stage::Open);
    }

    pub(super) fn save(&mut self, cx: &mut Cx) {
        self.timers.stop(SAVE);
        if !self.unsaved || self.save_out || !self.is_savable() {
            return;
        }
        if self.errands.is_out() || (self.swarm.quiet && self.next.is_none()) {
            return;
        }
        let still_writing = self.is_still_writing();
        let state = self.state_to_save(cx.now);
        (self.unsaved, self.save_out, self.saved_dirty) = (false, true, still_writing);
        self.saved_totals = (self.swarm.counters.down.total(), self.swarm.counters.up.total());
        self.note_save();
        self.swarm.jobs_out += 1;
        cx.job(Job::Save { torrent: self.key(), state: Box::new(state), synced: 0 });
    }

    /// What is to be remembered now.
    pub(super) fn state_to_save(&self, now: Instant) -> SaveState {
        let totals = self.totals(now);
        SaveState {
            have: self.swarm.have.clone(),
            dirty: self.is_still_writing(),
            downloaded: totals.downloaded,
            uploaded: totals.uploaded,
            partial: self.partial_pieces(),
            unchecked: self.unchecked(),
            tracker_events: if self.keeps_own_state() {
                self.tracker_events()
            } else {
                Default::default()
            },
        }
    }

    fn is_still_writing(&self) -> bool {
        self.swarm.runs_out > 0
            || self.is_to_flush()
            || (self.is_active() && !self.swarm.is_finished())
    }

    fn handle_saved(&mut self, result: Result<(), StoreError>, cx: &mut Cx) {
        self.save_out = false;
        match result {
            Ok(()) => {
                if !self.was_interim() {
                    cx.alerts.push(Alert::Saved { torrent: self.id });
                }
                if self.trust == Trust::Nothing && self.is_savable() && self.next.is_none() {
                    // What was found is safe, and need not be looked for again; what is still to be
                    // checked is told with it.
                    self.trust = Trust::State;
                    self.settings_changed(cx);
                }
            }
            Err(error) if matches!(self.next, Some(Next::Close { .. })) => {
                // It is closing: what is not remembered will be checked at the next start.
                log::error!("{error}");
                cx.alerts.push(Alert::StorageFailed { torrent: self.id, error, retry_in: None });
                (self.unsaved, self.saved_dirty) = (false, false);
            }
            // It is tried again when the pause ends, or the torrent.
            Err(error) if self.paused => {
                self.tell_failure_in_pause(error, cx);
                self.unsaved = true;
                return;
            }
            Err(error) => {
                log::error!("{error}");
                self.suspect_absence(&error, cx);
                // How far a check is can be lost; what it finds is saved at its end, and told if
                // that fails.
                if !self.was_interim() {
                    let retry_in = Some(cx.conf.storage.save_interval);
                    cx.alerts.push(Alert::StorageFailed { torrent: self.id, error, retry_in });
                }
                self.unsaved = true;
                self.timers.set(SAVE, cx.now + cx.conf.storage.save_interval);
            }
        }
        if self.unsaved && self.timers.get(SAVE).is_none() {
            self.timers.set(
                SAVE,
                cx.now
                    + if self.swarm.is_finished() {
                        std::time::Duration::ZERO
                    } else {
                        cx.conf.storage.save_interval
                    },
            );
        }
    }

    /// Nothing could be read for a peer. A failing disk fails often, so this is told once a minute.
    pub(super) fn note_unread(&mut self, error: &StoreError, cx: &mut Cx) {
        if self.told_unread.is_none_or(|told| told + TELL_UNREAD <= cx.now) {
            self.told_unread = Some(cx.now);
            log::warn!("{error}: {} cannot be served", self.metainfo.name);
            cx.alerts.push(Alert::ReadFailed { torrent: self.id, error: error.clone() });
        }
    }

    /// A read failed. Files that were taken at their word are looked at after all.
    pub(super) fn distrust(&mut self, error: &StoreError, cx: &mut Cx) {
        if self.trust == Trust::Files && self.next.is_none() {
            log::warn!("{error}: {} is checked", self.metainfo.name);
            cx.alerts.push(Alert::Distrusted { torrent: self.id, error: error.clone() });
            self.distrust_all(cx);
        }
    }

    /// The disk failed: no new orders until it works again.
    pub(super) fn failed(&mut self, error: StoreError, cx: &mut Cx) {
        self.swarm.requesting = false;
        // What cannot be asked for now leaves its memory to other torrents.
        self.swarm.refill = true;
        self.suspect_absence(&error, cx);
        if self.failing && self.timers.get(RETRY).is_some() {
            return;
        }
        if self.paused {
            // Nothing is tried during a pause.
            self.tell_failure_in_pause(error, cx);
            self.failing = true;
            return;
        }
        log::error!("{error}");
        self.failing = true;
        let retry_in = self.set_retry(cx);
        cx.alerts.push(Alert::StorageFailed { torrent: self.id, error, retry_in: Some(retry_in) });
    }

    /// The disk failed during a pause: that is told once, and nothing is tried until it is over.
    fn tell_failure_in_pause(&mut self, error: StoreError, cx: &mut Cx) {
        log::error!("{error}");
        if !self.failing {
            cx.alerts.push(Alert::StorageFailed { torrent: self.id, error, retry_in: None });
        }
    }

    /// Sees to it that a failing disk is tried again, if nothing else does.
    fn try_again_later(&mut self, cx: &mut Cx) {
        if self.failing && !self.paused && self.timers.get(RETRY).is_none() {
            self.timers.set(RETRY, cx.now + self.retry_pause);
        }
    }

    pub(super) fn retry(&mut self, cx: &mut Cx) {
        if matches!(self.stage, Stage::Gone) && !self.paused {
            return self.look(cx);
        }
        self.errands.arrange |= self.swarm.no_writes;
        if let Stage::Checking(checker) = &mut self.stage
            && self.failing
        {
            // It is still failing until that is over.
            checker.retry();
            return;
        }
        if self.swarm.no_writes || !self.failing || !matches!(self.stage, Stage::Open) {
            return;
        }
        self.swarm.retry(cx);
        if self.swarm.runs_out > 0 {
            return;
        }
        // Nothing was left to try: the next piece will show.
        if std::mem::take(&mut self.gave_up) {
            self.probe(cx);
        } else {
            self.recovered(cx);
        }
    }

    /// What was to be written was given up for other torrents. What is fetched instead shows
    /// whether the disk works again; since it may be given up, too, it is fetched later each
    /// time.
    fn probe(&mut self, cx: &mut Cx) {
        (self.swarm.requesting, self.swarm.refill) = (true, true);
        self.set_retry(cx);
    }

    fn set_retry(&mut self, cx: &Cx) -> std::time::Duration {
        let pause = self.retry_pause;
        self.retry_pause =
            pause.saturating_mul(2).min(LONGEST_RETRY.max(cx.conf.storage.retry_pause));
        self.timers.set(RETRY, cx.now + pause);
        pause
    }

    pub(super) fn recovered(&mut self, cx: &mut Cx) {
        // That the disk works again for something else does not arrange the files that it failed
        // to.
        self.errands.arrange |= self.swarm.no_writes;
        // Nor does it read what a check could not: that is tried again in its time.
        let unread = matches!(&self.stage, Stage::Checking(checker) if checker.waits());
        if self.failing && !unread {
            self.failing = false;
            self.timers.stop(RETRY);
            self.retry_pause = cx.conf.storage.retry_pause;
            self.swarm.requesting = true;
            self.swarm.refill = true;
            self.swarm.retry(cx);
            cx.alerts.push(Alert::StorageRecovered { torrent: self.id });
        }
    }
}

const FIRST_SAVE: std::time::Duration = std::time::Duration::from_millis(500);
const TELL_UNREAD: std::time::Duration = std::time::Duration::from_secs(60);
const LONGEST_RETRY: std::time::Duration = std::time::Duration::from_secs(60);
