//! A torrent whose data is gone: it had verified pieces, and none of its files is where they were,
//! as when a drive is not mounted. Such a torrent neither announces nor connects, and nothing is
//! written where its files should be, until they are back or the user says to go on without them.
//!
//! A worker looks (one call a folder and file until one is found). When that is asked for is
//! decided here; what a look is, the store knows.

use std::{io, time::Duration};

use super::{RETRY, Torrent, cx::Cx};
use crate::{
    alert::Alert,
    base::{
        files::FileKind,
        job::Job,
        storage::{StoreError, StoreOp, Trust},
        time::Instant,
    },
};

/// The longest time between two looks for data that is gone.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How long a file that was seen counts as there: less than the time between two announces to a
/// tracker.
const SEEN_FOR: Duration = Duration::from_secs(50);

/// What is known of the presence of a torrent's files.
#[derive(Debug, Default)]
pub(super) struct MissingData {
    /// A worker looks.
    looking: bool,
    /// When a file was last seen.
    seen: Option<Instant>,
    /// A piece could not be found by a check, which says nothing if all files are gone.
    missed: bool,
    /// The user wants to go on with what is there, be it nothing.
    waived: bool,
    /// A read that failed, if the look that it led to is out.
    suspect: Option<StoreError>,
    /// Until the next look, while they are gone.
    pause: Duration,
}

impl MissingData {
    /// What the saved state of a torrent that is `elsewhere` says is not missed where it is now.
    pub(super) fn new(elsewhere: bool) -> Self {
        Self { waived: elsewhere, ..Self::default() }
    }

    /// A check did not find a piece.
    pub(super) fn note_missed(&mut self) {
        self.missed = true;
    }
}

impl Torrent {
    /// The user wants it to go on whether or not anything is there.
    pub(super) fn waive_absence(&mut self) {
        self.storage.missing_data.waived = true;
    }

    /// Whether a check that is over says something: not while it is unknown whether all files have
    /// gone meanwhile.
    pub(super) fn is_check_sure(&mut self, cx: &mut Cx) -> bool {
        if self.storage.missing_data.missed {
            self.look(cx);
        }
        !self.storage.missing_data.looking
    }

    /// Whether it may be announced: if it has anything, a file must have been seen lately. Else a
    /// worker looks.
    pub(super) fn may_announce(&mut self, cx: &mut Cx) -> bool {
        if self.storage.missing_data.seen.is_some_and(|at| at + SEEN_FOR > cx.now)
            || !self.has_any_on_disk()
        {
            return true;
        }
        self.look(cx);
        false
    }

    /// Whether a verified piece has a byte in a file: what is nothing but padding is nowhere, and
    /// cannot be missed.
    fn has_any_on_disk(&self) -> bool {
        let (have, geometry) = (self.swarm.have(), self.swarm.geometry());
        let files = self.content.files().iter().filter(|file| file.kind == FileKind::Regular);
        let ranges = files.map(|file| file.offset..file.offset.saturating_add(file.len));
        !have.is_clear()
            && ranges.flat_map(|range| geometry.pieces_of(range)).any(|piece| have.has(piece))
    }

    /// Whether it cannot be announced before a worker has answered.
    pub(super) fn is_looking(&self) -> bool {
        self.storage.missing_data.looking
    }

    /// Has a worker look whether any file is there.
    pub(super) fn look(&mut self, cx: &mut Cx) {
        let Some(spec) = self.spec_at(self.location.place().clone(), &cx.conf) else { return };
        if std::mem::replace(&mut self.storage.missing_data.looking, true) {
            return;
        }
        self.swarm.begin_job();
        let spec = Box::new(spec);
        cx.job(Job::Look { torrent: self.identity.key(), spec });
    }

    /// Something of it could not be read or written: if that was not there, perhaps nothing is.
    pub(super) fn suspect_absence(&mut self, error: &StoreError, cx: &mut Cx) {
        let works = self.lifecycle.is_savable() && !self.lifecycle.is_pending();
        if error.is_missing() && works {
            self.look(cx);
        }
    }

    /// A read for a peer failed. What is not there may be gone with all the rest; else it was
    /// changed, or taken at its word.
    pub(super) fn suspect_read(&mut self, error: &StoreError, cx: &mut Cx) {
        if self.lifecycle.is_pending() {
        } else if error.is_missing() {
            self.storage.missing_data.suspect.get_or_insert_with(|| error.clone());
            self.look(cx);
        } else {
            self.doubt(error, cx);
        }
    }

    fn doubt(&mut self, error: &StoreError, cx: &mut Cx) {
        if self.lifecycle.trust() == Trust::Files {
            self.distrust(error, cx);
        } else if error.is_changed() || error.is_missing() {
            self.files_changed(error, cx);
        }
    }

    /// A worker has looked.
    pub(super) fn handle_looked(&mut self, absent: bool, cx: &mut Cx) {
        let MissingData { looking, missed, seen, .. } = &mut self.storage.missing_data;
        (*looking, *missed, *seen) = (false, false, (!absent).then_some(cx.now));
        let suspect = self.storage.missing_data.suspect.take();
        if self.lifecycle.is_pending() {
            return;
        }
        let (missing, dormant) = (self.lifecycle.is_missing(), self.lifecycle.is_dormant());
        let checking = self.lifecycle.is_checking();
        match absent {
            true if missing => self.look_later(cx),
            true if dormant => self.vanished(cx),
            true if checking || (self.lifecycle.is_open() && self.has_any_on_disk()) => {
                self.vanish()
            }
            _ if missing => {
                log::info!("the data of {} is back", self.content.name());
                cx.alerts.push(Alert::StorageRecovered { torrent: self.identity.id() });
                self.lifecycle.handle_data_back();
            }
            _ => {
                if let Some(error) = suspect {
                    self.doubt(&error, cx);
                }
            }
        }
    }

    /// It lets its peers go; when no worker has a job of it any more, it has
    /// [vanished](Self::vanished).
    fn vanish(&mut self) {
        self.peers.part_all("the torrent's data is gone");
        self.lifecycle.ask_vanish();
    }

    /// Its storage was opened: none of the `lost` pieces that the saved state knows is there, nor
    /// any file. True if that is the end of it for now.
    pub(super) fn is_absence(&mut self, lost: u32, cx: &mut Cx) -> bool {
        // What is to be opened anew was waived for that, and not for an answer that was on its way
        // when the user spoke.
        let waived = self.storage.missing_data.waived;
        self.storage.missing_data.waived &= self.lifecycle.is_pending();
        self.storage.missing_data.missed = false;
        if lost == 0 {
            self.storage.missing_data.seen = Some(cx.now);
            return false;
        }
        // What the user gave up is not to be missed at the next start.
        self.saves.note_news_if(waived);
        if !waived {
            self.vanished(cx);
        }
        !waived
    }

    /// None of its files is there, and nothing is open any more.
    pub(super) fn vanished(&mut self, cx: &mut Cx) {
        self.peers.part_all("the torrent's data is gone");
        let earlier = self.replace_swarm(cx);
        self.swarm.inherit_counters(&earlier);
        self.swarm.inherit_jobs(&earlier);
        self.lifecycle.lose_data();
        self.storage.missing_data.pause = cx.conf.storage.retry_pause;
        let dir = self.location.dir().to_owned();
        log::warn!("the data of {} is gone from {}", self.content.name(), dir.display());
        let error = io::Error::new(io::ErrorKind::NotFound, "its data is gone");
        let error = StoreError::new(StoreOp::Move, &dir, error);
        cx.alerts.push(Alert::DataGone { torrent: self.identity.id(), dir });
        self.look_later(cx);
        self.refuse_requests_unopened(&error, cx);
    }

    fn look_later(&mut self, cx: &mut Cx) {
        if !self.lifecycle.is_paused() {
            self.timers.set(RETRY, cx.now + self.storage.missing_data.pause);
            self.storage.missing_data.pause = self
                .storage
                .missing_data
                .pause
                .saturating_mul(2)
                .min(LONGEST_PAUSE.max(cx.conf.storage.retry_pause));
        }
    }
}
