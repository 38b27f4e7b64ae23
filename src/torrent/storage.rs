//! A torrent's dealings with its storage: opening, checking, saving, closing. What a disk that
//! fails makes of them is in [`disk_troubles`](super::disk_troubles).

use std::time::Duration;

use crate::{
    alert::Alert,
    base::{
        geometry::PieceIndex,
        hash::Judgement,
        job::{Done, Job, Verdict},
        merkle::Node,
        storage::{Opened, SaveState, StoreError, StoreOp, Trust},
        time::Instant,
    },
    conf::Conf,
    torrent::{
        RETRY, SAVE, Torrent,
        checker::Checker,
        cx::Cx,
        disk_troubles::DiskTroubles,
        external_changes::ExternalChanges,
        file_operations::FileOperations,
        lifecycle::{End, Next},
        missing_data::MissingData,
        partial_pieces::PartialPieces,
        reads::Reads,
        tree_hashes::TreeHashes,
    },
};

/// What is done to a torrent's files and what befalls them, each a type with private fields.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) operations: FileOperations,
    pub(super) partial_pieces: PartialPieces,
    pub(super) missing_data: MissingData,
    pub(super) external_changes: ExternalChanges,
    pub(super) disk_troubles: DiskTroubles,
    pub(super) reads: Reads,
}

impl Storage {
    pub(super) fn new(trust: Trust, conf: &Conf) -> Self {
        Self {
            operations: FileOperations::default(),
            partial_pieces: PartialPieces::default(),
            missing_data: MissingData::new(trust == Trust::Elsewhere),
            external_changes: ExternalChanges::default(),
            disk_troubles: DiskTroubles::new(conf),
            reads: Reads::default(),
        }
    }
}

impl Torrent {
    /// Has a worker look at what is there, unless something else became of it.
    pub(crate) fn open(&mut self, cx: &mut Cx) {
        if !self.lifecycle.open() {
            return;
        }
        self.storage.operations.handle_open(self.content.priorities().skipped());
        let Some(spec) = self.spec_at(self.location.place().clone(), &cx.conf) else { return };
        self.swarm.begin_job();
        let spec = Box::new(spec);
        cx.job(Job::Open { torrent: self.identity.key(), spec });
    }

    /// A worker answered. (Blocks read for peers go to [`handle_read`](Self::handle_read).)
    pub(crate) fn handle_done(&mut self, done: Done, cx: &mut Cx) {
        self.swarm.end_job();
        match done {
            Done::Opened { result, .. } => self.handle_opened(result, cx),
            Done::Checked { piece, result, root, .. } => {
                self.handle_checked(piece, result, root, cx);
            }
            Done::Run { run, .. } => {
                let (bad, written) = (matches!(run.result, Ok(Verdict::Bad)), run.buf.is_some());
                match self.swarm.handle_run(run, cx) {
                    // A bad piece says nothing about the disk: one of a single run may not have
                    // been written.
                    Ok(()) if bad => {
                        if written {
                            self.changed(cx);
                        }
                        self.try_again_later(cx);
                    }
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
            Done::Leaves { result, .. } => self.handle_read_leaves(result, cx),
            Done::Syncing { state, synced, files, .. } => {
                self.swarm.begin_job();
                cx.job(Job::Save { torrent: self.identity.key(), state, synced });
                cx.alerts.push(Alert::Saving {
                    torrent: self.identity.id(),
                    done: synced,
                    total: files,
                });
            }
            Done::Saved { result, unfinished, .. } => {
                if let Some(error) = unfinished {
                    let retry_in = Some(cx.conf.storage.save_interval);
                    self.tell_failure(error, retry_in, cx);
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
                    None => cx.alerts.push(Alert::DataDeleted { torrent: self.identity.id() }),
                    left => self.tell_leftovers(left, cx),
                }
                self.deleted(cx);
            }
            Done::Extracted { read, result, .. } => self.handle_extracted(read, result, cx),
            Done::Read { buf, .. } => cx.leases.uploads_mut().give(buf),
            Done::Info { result, .. } => self.handle_info(result, cx),
            // That is the engine's to tell.
            Done::Computed { .. } | Done::KeyExchange { .. } | Done::Recorded { .. } => {}
        }
        self.settle(cx);
    }

    pub(super) fn delete(&mut self, cx: &mut Cx) {
        let Some(spec) = self.spec_at(self.location.place().clone(), &cx.conf) else {
            // Before there is content, there is nothing to delete.
            cx.alerts.push(Alert::DataDeleted { torrent: self.identity.id() });
            return self.deleted(cx);
        };
        self.swarm.begin_job();
        let spec = Box::new(spec);
        cx.job(Job::Delete { torrent: self.identity.key(), spec });
    }

    fn handle_opened(&mut self, result: Result<Opened, StoreError>, cx: &mut Cx) {
        if result.is_ok() {
            self.note_opened(cx);
        }
        match result {
            Err(error) => {
                self.lifecycle.handle_open_failed();
                self.refuse_requests_unopened(&error, cx);
                self.open_failed(error, cx);
            }
            Ok(Opened { lost, .. }) if self.is_absence(lost, cx) => {}
            Ok(Opened {
                mut have,
                mut check,
                partial,
                downloaded,
                uploaded,
                distrust,
                arrange,
                tracker_events,
                names,
                too_long,
                trees,
                lost: _,
                both_versions,
            }) => {
                trees.into_iter().for_each(|trees| self.restore_layers(trees));
                let by_one = if both_versions {
                    None
                } else {
                    self.doubt_one_version(&mut have, &mut check)
                };
                let distrust = distrust.or(by_one);
                self.handle_found(partial);
                self.note_too_long(too_long);
                if let Some(hashes) = self.content.tree_hashes() {
                    hashes.handle_opened();
                }
                self.storage.operations.arrange_if(arrange);
                self.location.names_mut().handle_found(self.identity.id(), names, cx);
                if let Some(why) = &distrust {
                    log::warn!("the saved state of {} is not believed: {why}", self.content.name());
                }
                let to_check = check.count();
                let as_saved = check.is_clear() && have == *self.swarm.have();
                if self.lifecycle.check(Checker::new(check), as_saved) {
                    let (torrent, have) = (self.identity.id(), have.count());
                    cx.alerts.push(Alert::Opened { torrent, have, to_check, distrust });
                }
                self.activity.handle_earlier(downloaded, uploaded);
                self.restore_events(tracker_events, cx);
                self.saves.note_news_if(to_check > 0);
                self.swarm.set_have(have);
                self.save_in_time(cx);
            }
        }
    }

    fn handle_checked(
        &mut self,
        piece: PieceIndex,
        result: Result<Judgement, StoreError>,
        root: Option<Node>,
        cx: &mut Cx,
    ) {
        let Some(checker) = self.lifecycle.checker_mut() else {
            return self.handle_verified_again(piece, result, root, cx);
        };
        let bad = matches!(result, Ok(Judgement::Bad | Judgement::Contradiction));
        let contradicts = matches!(result, Ok(Judgement::Contradiction));
        match result {
            Ok(judgement) => {
                checker.handle_checked(piece);
                match judgement {
                    Judgement::Good => self.swarm.add_checked(piece),
                    Judgement::Bad => self.storage.missing_data.note_missed(),
                    Judgement::Contradiction => {}
                }
                if checker.done() % 64 == 0 {
                    cx.alerts.push(Alert::Checking {
                        torrent: self.identity.id(),
                        done: checker.done(),
                        total: checker.total(),
                    });
                }
            }
            Err(error) => checker.handle_unread(piece, error),
        }
        let failure = checker.poll_failure();
        if let Some(root) = root {
            self.handle_root(piece, root, cx);
        }
        if contradicts {
            self.note_contradiction(piece);
        }
        self.saves.note_news();
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
        let going_on = !self.lifecycle.is_pending() && !self.swarm.is_quiet();
        if let Some(checker) = self.lifecycle.checker_mut() {
            let limit = cx.conf.storage.checks_of(self.swarm.geometry().nominal_piece_len());
            while going_on && let Some(piece) = checker.poll_piece(self.swarm.geometry(), limit) {
                let Some(expected) = self.swarm.expected(piece) else {
                    // It cannot be told whether it is good.
                    let count = self.swarm.geometry().piece_count();
                    self.content.tree_hashes_mut().pass_over(piece, count);
                    checker.handle_checked(piece);
                    continue;
                };
                self.swarm.begin_job();
                let len = self.swarm.geometry().piece_len(piece);
                cx.job(Job::Check { torrent: self.swarm.torrent(), piece, expected, len });
            }
            // What is passed over last may leave nothing but what could not be read before.
            if let Some(error) = checker.poll_failure() {
                self.timers.stop(RETRY);
                self.failed(error, cx);
            }
        }
        if self.lifecycle.checker().is_some_and(Checker::is_over) && self.is_check_sure(cx) {
            self.recovered(cx);
            self.start(cx);
        }
        self.verify_again(cx);
        if self.lifecycle.rests() {
            self.flush(cx);
        }
        if self.lifecycle.rests()
            && self.saves.is_dirty()
            && !self.is_still_writing()
            && !self.saves.is_out()
        {
            // Nothing more will be written: the saved state can say so.
            self.saves.note_news();
            self.save(cx);
        }
        self.run_operations(cx);
        if let Some(next) = self.lifecycle.next()
            && !self.swarm.has_jobs()
            && self.is_left_by_peers(next)
            && !self.storage.operations.is_tidying()
        {
            self.turn_over(next, cx);
        }
    }

    /// What is there is known: the torrent begins to speak with peers.
    fn start(&mut self, cx: &mut Cx) {
        let levels = self.content.levels();
        self.swarm.open(levels, self.modes.is_sequential(), &mut cx.rng);
        if !self.swarm.is_finished() {
            self.peers.candidates_mut().unshelve(cx.now);
        }
        let is_news = self.lifecycle.finish_check();
        self.take_up(cx);
        self.begin_sessions(cx);
        self.begin_layers(cx);
        // Their turn in this input is over, and without peers there may be no other for long.
        self.tend_web_seeds(cx);
        self.waive_stop_if_whole();
        if is_news {
            cx.alerts.push(Alert::Checked {
                torrent: self.identity.id(),
                have: self.swarm.have().count(),
            });
        }
        if self.saves.is_due() {
            self.timers.set(SAVE, cx.now);
        }
        self.tell_too_long(cx);
        self.finish(is_news, cx);
    }

    /// Whether no peer stands in the way of what comes next: what has no session may wait for the
    /// torrent to be opened anew.
    fn is_left_by_peers(&self, next: Next) -> bool {
        match next {
            Next::Reopen { .. } => !self.peers.has_sessions(),
            Next::Vanish | Next::Close(_) => self.peers.is_empty(),
        }
    }

    /// No worker and no peer is busy with the torrent: it is closed, or opened anew.
    fn turn_over(&mut self, next: Next, cx: &mut Cx) {
        if matches!(next, Next::Close(End::Shutdown | End::Remove)) && self.flush(cx) {
            return;
        }
        self.forgo_flush();
        match next {
            Next::Reopen { trust } => {
                self.swarm.abandon(cx);
                let earlier = self.replace_swarm(cx);
                self.swarm.inherit_counters(&earlier);
                self.swarm.inherit_amounts(&earlier);
                self.lifecycle.reopen(trust);
                self.settle_elsewhere(cx);
            }
            Next::Vanish => {
                self.swarm.abandon(cx);
                self.vanished(cx);
            }
            Next::Close(End::Shutdown | End::Remove) if self.lifecycle.is_dormant() => {
                self.ended(cx)
            }
            // Pieces are hashed and written, so what is had is all there is: the saved state is
            // whole. That of one that is forgotten is of no use in a folder that
            // forgets it too.
            Next::Close(end @ (End::Shutdown | End::Remove))
                if self.wants_last_save() && !(end == End::Remove && self.persistence.is_on()) =>
            {
                self.saves.note_news();
                self.save(cx);
            }
            // What trackers say in the end is still to be saved.
            Next::Close(_) if self.keeps_own_state() && self.awaits_farewells() => {}
            Next::Close(end) => {
                self.refuse_requests(cx);
                self.swarm.abandon(cx);
                self.lifecycle.begin_to_close();
                // What is kept in the session folder is forgotten there before its data goes.
                if end == End::RemoveWithData && !self.persistence.is_on() {
                    self.begin_to_delete(cx);
                    return;
                }
                self.swarm.begin_job();
                cx.job(Job::Close { torrent: self.identity.key() });
            }
        }
    }

    /// What is new may wait for its time.
    fn save_in_time(&mut self, cx: &Cx) {
        if self.saves.is_due() && self.timers.get(SAVE).is_none() {
            self.timers.set(SAVE, cx.now + cx.conf.storage.save_interval);
        }
    }

    fn wants_last_save(&self) -> bool {
        self.lifecycle.is_savable()
            && (self.saves.is_due() || self.saves.is_dirty())
            && !self.has_lost_place()
    }

    /// What was held back is saved at once.
    pub(super) fn save_if_due(&mut self, cx: &Cx) {
        if self.saves.is_due() && self.timers.get(SAVE).is_none() {
            self.timers.set(SAVE, cx.now);
        }
    }

    /// There is something new to remember.
    pub(super) fn changed(&mut self, cx: &mut Cx) {
        // The first piece is remembered soon, so that a crash finds a state to go on from; the
        // others in their time.
        let wait = if self.saves.is_dirty() {
            cx.conf.storage.save_interval
        } else {
            cx.conf.storage.save_interval.min(FIRST_SAVE)
        };
        self.saves.note_news();
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
        let counters = self.swarm.counters();
        if self.lifecycle.is_open() {
            self.saves.note_totals((counters.downloaded(), counters.uploaded()));
        }
    }

    pub(super) fn save(&mut self, cx: &mut Cx) {
        self.timers.stop(SAVE);
        if !self.saves.is_due() || self.saves.is_out() || !self.lifecycle.is_savable() {
            return;
        }
        if self.storage.operations.is_out()
            || (self.swarm.is_quiet() && !self.lifecycle.is_pending())
        {
            return;
        }
        if !self.is_place_recorded() {
            return;
        }
        let still_writing = self.is_still_writing();
        let state = self.state_to_save(cx.now);
        let counters = self.swarm.counters();
        let totals = (counters.downloaded(), counters.uploaded());
        self.saves.begin(still_writing, totals, self.swarm.have().count());
        self.note_save();
        self.content.tree_hashes().into_iter().for_each(TreeHashes::begin_to_keep);
        self.swarm.begin_job();
        cx.job(Job::Save { torrent: self.identity.key(), state: Box::new(state), synced: 0 });
    }

    /// What is to be remembered now.
    pub(super) fn state_to_save(&self, now: Instant) -> SaveState {
        let totals = self.totals(now);
        SaveState {
            have: self.swarm.have().clone(),
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
            layers: self.layers_to_keep(),
            both_versions: self.is_by_both_versions(),
        }
    }

    fn is_still_writing(&self) -> bool {
        self.swarm.has_runs()
            || self.is_to_flush()
            || (self.lifecycle.is_exchanging() && !self.swarm.is_finished())
    }

    fn handle_saved(&mut self, result: Result<(), StoreError>, cx: &mut Cx) {
        self.saves.end();
        let is_kept = result.is_ok();
        self.content.tree_hashes().into_iter().for_each(|hashes| hashes.end_keeping(is_kept));
        match result {
            Ok(()) => {
                if !self.was_interim() {
                    let (torrent, have) = (self.identity.id(), self.saves.have());
                    cx.alerts.push(Alert::Saved { torrent, have });
                }
                // What was found is safe, and need not be looked for again; what is still to be
                // checked is told with it.
                if self.lifecycle.trust_saved_state() {
                    self.settings_changed(cx);
                }
            }
            Err(error) if self.lifecycle.end().is_some() => {
                // It is closing: what is not remembered will be checked at the next start.
                log::error!("{error}");
                self.tell_failure(error, None, cx);
                self.saves.give_up();
            }
            // It is tried again when the pause ends, or the torrent.
            Err(error) if self.lifecycle.is_paused() => {
                self.tell_failure_in_pause(error, cx);
                self.saves.note_news();
                return;
            }
            Err(error) => {
                log::error!("{error}");
                if error.op == StoreOp::Sync && error.is_missing() {
                    // A file that was written has lost its name, or all of them have.
                    self.suspect_read(&error, cx);
                } else {
                    self.suspect_absence(&error, cx);
                }
                // How far a check is can be lost; what it finds is saved at its end, and told if
                // that fails.
                if !self.was_interim() {
                    let retry_in = Some(cx.conf.storage.save_interval);
                    self.tell_failure(error, retry_in, cx);
                }
                self.saves.note_news();
                self.timers.set(SAVE, cx.now + cx.conf.storage.save_interval);
            }
        }
        if self.saves.is_due() && self.timers.get(SAVE).is_none() {
            self.timers.set(
                SAVE,
                cx.now
                    + if self.swarm.is_finished() {
                        Duration::ZERO
                    } else {
                        cx.conf.storage.save_interval
                    },
            );
        }
    }
}

const FIRST_SAVE: Duration = Duration::from_millis(500);
