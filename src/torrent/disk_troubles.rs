//! A disk that fails: what is told of it, when it is tried again, and what goes on when it works.
//!
//! Which job failed is known by what has sent it; here an error is an error.

use std::{io::ErrorKind, time::Duration};

use crate::{
    alert::Alert,
    base::{
        storage::{StoreError, Trust},
        time::Instant,
    },
    conf::Conf,
    torrent::{RETRY, Torrent, checker::Checker, cx::Cx},
};

const TELL_UNREAD: Duration = Duration::from_secs(60);
const LONGEST_RETRY: Duration = Duration::from_secs(60);

/// How often a failing disk is tried again, and how often that is told.
#[derive(Debug)]
pub(super) struct DiskTroubles {
    /// Until the next attempt.
    retry_pause: Duration,
    /// When it was last told that nothing can be read for peers.
    told_unread: Option<Instant>,
    /// The storage could not be opened the last time.
    unopened: bool,
}

impl DiskTroubles {
    pub(super) fn new(conf: &Conf) -> Self {
        Self { retry_pause: conf.storage.retry_pause, told_unread: None, unopened: false }
    }
}

impl Torrent {
    /// The user hears of a failure, and when the same is tried again, if it is.
    pub(super) fn tell_failure(&self, error: StoreError, retry_in: Option<Duration>, cx: &mut Cx) {
        cx.alerts.push(Alert::StorageFailed { torrent: self.identity.id(), error, retry_in });
    }

    /// Nothing could be read for a peer. A failing disk fails often, so this is told once a minute.
    pub(super) fn note_unread(&mut self, error: &StoreError, cx: &mut Cx) {
        if self.storage.disk_troubles.told_unread.is_none_or(|told| told + TELL_UNREAD <= cx.now) {
            self.storage.disk_troubles.told_unread = Some(cx.now);
            log::warn!("{error}: {} cannot be served", self.content.name());
            cx.alerts.push(Alert::ReadFailed { torrent: self.identity.id(), error: error.clone() });
        }
    }

    /// A read failed. Files that were taken at their word are looked at after all.
    pub(super) fn distrust(&mut self, error: &StoreError, cx: &mut Cx) {
        if self.lifecycle.trust() == Trust::Files && !self.lifecycle.is_pending() {
            log::warn!("{error}: {} is checked", self.content.name());
            cx.alerts.push(Alert::Distrusted { torrent: self.identity.id(), error: error.clone() });
            self.distrust_all(cx);
        }
    }

    /// The disk failed: no new orders until it works again.
    pub(super) fn failed(&mut self, error: StoreError, cx: &mut Cx) {
        self.swarm.stop_orders();
        self.suspect_absence(&error, cx);
        if self.lifecycle.is_failing() && self.timers.get(RETRY).is_some() {
            return;
        }
        if self.lifecycle.is_paused() {
            // Nothing is tried during a pause.
            self.tell_failure_in_pause(error, cx);
            self.lifecycle.handle_disk_failure();
            return;
        }
        log::error!("{error}");
        self.lifecycle.handle_disk_failure();
        let retry_in = self.set_retry(cx);
        self.tell_failure(error, Some(retry_in), cx);
    }

    /// The storage could not be opened. That is tried again, like all that a disk fails at, unless
    /// only the user can help.
    pub(super) fn open_failed(&mut self, error: StoreError, cx: &mut Cx) {
        log::error!("{error}");
        self.storage.disk_troubles.unopened = true;
        let passes = !lasts(error.source.kind()) && !self.lifecycle.is_paused();
        let retry_in = passes.then(|| self.set_retry(cx));
        self.tell_failure(error, retry_in, cx);
    }

    /// The storage is open.
    pub(super) fn note_opened(&mut self, cx: &mut Cx) {
        if std::mem::take(&mut self.storage.disk_troubles.unopened) {
            self.timers.stop(RETRY);
            self.storage.disk_troubles.retry_pause = cx.conf.storage.retry_pause;
            cx.alerts.push(Alert::StorageRecovered { torrent: self.identity.id() });
        }
    }

    /// The disk failed during a pause: that is told once, and nothing is tried until it is over.
    pub(super) fn tell_failure_in_pause(&mut self, error: StoreError, cx: &mut Cx) {
        log::error!("{error}");
        if !self.lifecycle.is_failing() {
            self.tell_failure(error, None, cx);
        }
    }

    /// Sees to it that a failing disk is tried again, if nothing else does.
    pub(super) fn try_again_later(&mut self, cx: &mut Cx) {
        if self.lifecycle.is_failing()
            && !self.lifecycle.is_paused()
            && self.timers.get(RETRY).is_none()
        {
            self.timers.set(RETRY, cx.now + self.storage.disk_troubles.retry_pause);
        }
    }

    pub(super) fn retry(&mut self, cx: &mut Cx) {
        if self.lifecycle.is_missing() && !self.lifecycle.is_paused() {
            return self.look(cx);
        }
        if self.lifecycle.retry_open() {
            return;
        }
        self.storage.operations.arrange_if(!self.swarm.may_write());
        let failing = self.lifecycle.is_failing();
        if failing && let Some(checker) = self.lifecycle.checker_mut() {
            // It is still failing until that is over.
            checker.retry();
            return;
        }
        if !self.swarm.may_write() || !failing || !self.lifecycle.is_open() {
            return;
        }
        self.swarm.retry(cx);
        if self.swarm.has_runs() {
            return;
        }
        // Nothing was left to try: the next piece will show.
        if self.lifecycle.take_given_up() {
            self.probe(cx);
        } else {
            self.recovered(cx);
        }
    }

    /// What was to be written was given up for other torrents. What is fetched instead shows
    /// whether the disk works again; since it may be given up, too, it is fetched later each
    /// time.
    fn probe(&mut self, cx: &mut Cx) {
        self.swarm.resume_orders();
        self.set_retry(cx);
    }

    fn set_retry(&mut self, cx: &Cx) -> Duration {
        let pause = self.storage.disk_troubles.retry_pause;
        self.storage.disk_troubles.retry_pause =
            pause.saturating_mul(2).min(LONGEST_RETRY.max(cx.conf.storage.retry_pause));
        self.timers.set(RETRY, cx.now + pause);
        pause
    }

    pub(super) fn recovered(&mut self, cx: &mut Cx) {
        // That the disk works again for something else does not arrange the files that it failed
        // to.
        self.storage.operations.arrange_if(!self.swarm.may_write());
        // Nor does it read what a check could not: that is tried again in its time.
        let unread = self.lifecycle.checker().is_some_and(Checker::waits);
        if !unread && self.lifecycle.handle_disk_recovery() {
            self.timers.stop(RETRY);
            self.storage.disk_troubles.retry_pause = cx.conf.storage.retry_pause;
            self.swarm.resume_orders();
            self.swarm.retry(cx);
            cx.alerts.push(Alert::StorageRecovered { torrent: self.identity.id() });
        }
    }
}

/// Whether an opening that failed so fails until the user does something: the folder is not one, or
/// may not be looked at.
fn lasts(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotADirectory
            | ErrorKind::IsADirectory
            | ErrorKind::InvalidFilename
            | ErrorKind::InvalidInput
            | ErrorKind::PermissionDenied
    )
}
