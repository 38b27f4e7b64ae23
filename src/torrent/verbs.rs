//! What a torrent's owner has it do: rest and go on, wait for its turn, be checked, end. It does
//! not know who the owner is, nor what the queue is thinking.

use crate::{
    base::storage::RecordKind,
    conf::{Conf, CryptoMethods, Encryption},
    torrent::{RETRY, SAVE, Torrent, cx::Cx, lifecycle::End},
};

/// Why peers are let go when it is others' turn.
pub(crate) const HELD: &str = "the torrent waits for its turn";

impl Torrent {
    pub(crate) fn pause(&mut self, cx: &mut Cx) {
        if self.lifecycle.pause() {
            // A disk that fails is left alone until it goes on.
            self.timers.stop(RETRY);
            self.settings_changed(cx);
            self.rest("the torrent is paused", cx);
        }
    }

    fn rest(&mut self, reason: &str, cx: &mut Cx) {
        self.peers.part_all(reason);
        self.flush_later();
        self.saves.note_all_written();
        self.timers.set(SAVE, cx.now);
        self.settle(cx);
    }

    /// The queue wants it to rest, or lets it go.
    pub(crate) fn set_held(&mut self, held: bool, cx: &mut Cx) {
        if self.lifecycle.set_held(held) {
            if held {
                self.rest(HELD, cx);
            } else {
                self.forgo_flush();
                self.settle(cx);
            }
        }
    }

    pub(crate) fn set_queued(&mut self, queued: bool, cx: &mut Cx) {
        if self.lifecycle.set_queued(queued) {
            self.settings_changed(cx);
            self.settle(cx);
        }
    }

    pub(crate) fn resume(&mut self, cx: &mut Cx) {
        if self.lifecycle.unpause() {
            self.forgo_flush();
            self.waive_stop();
            self.settings_changed(cx);
        }
        if self.lifecycle.is_missing() && !self.lifecycle.is_pending() {
            self.look(cx);
        } else if !self.lifecycle.retry_open() && self.lifecycle.is_failing() {
            self.timers.set(RETRY, cx.now);
        }
        if self.saves.is_due() && self.timers.get(SAVE).is_none() {
            // It could not be saved while it rested.
            self.timers.set(SAVE, cx.now);
        }
        self.settle(cx);
    }

    pub(crate) fn set_sequential(&mut self, sequential: bool, cx: &mut Cx) {
        self.modes.set_sequential(sequential);
        self.swarm.set_sequential(sequential);
        self.settings_changed(cx);
        self.settle(cx);
    }

    pub(crate) fn recheck(&mut self, cx: &mut Cx) {
        if self.lifecycle.end().is_none() {
            self.waive_absence();
            self.distrust_all(cx);
            self.settle(cx);
        }
    }

    /// It is fetched again, if its data is gone.
    pub(crate) fn download_anew(&mut self, cx: &mut Cx) {
        if self.lifecycle.has_lost_data() {
            self.recheck(cx);
        }
    }

    /// It is opened anew, and nothing that was known of its files counts, now and at the next
    /// start. One whose metainfo is not known goes on fetching that, and is opened so afterwards.
    pub(super) fn distrust_all(&mut self, cx: &mut Cx) {
        if self.content.is_known() {
            self.peers.part_all("the torrent is being checked");
        }
        if self.lifecycle.distrust() {
            self.settings_changed(cx);
        }
    }

    /// Which connections with its peers are encrypted.
    pub(crate) fn encryption(&self, conf: &Conf) -> Encryption {
        conf.encryption.policy.of_part(self.peers.candidates().policy())
    }

    pub(crate) fn set_encryption(&mut self, own: Option<Encryption>, cx: &mut Cx) {
        self.peers.candidates_mut().set_policy(own);
        self.settings_changed(cx);
    }

    /// Which methods the encrypted ones may have.
    pub(crate) fn crypto_methods(&self, conf: &Conf) -> CryptoMethods {
        conf.encryption.methods().of_part(self.peers.candidates().methods())
    }

    pub(crate) fn set_crypto_methods(&mut self, own: Option<CryptoMethods>, cx: &mut Cx) {
        self.peers.candidates_mut().set_methods(own);
        self.settings_changed(cx);
    }

    pub(crate) fn set_user_data(&mut self, data: u64) {
        self.identity.set_user_data(data);
    }

    pub(crate) fn set_labels(&mut self, labels: Vec<String>, cx: &mut Cx) {
        self.identity.set_labels(labels);
        self.settings_changed(cx);
    }

    /// Ends: lets its peers go, waits for its workers, saves its state and closes its files, or
    /// deletes all. What is removed is told in an alert.
    pub(crate) fn close(&mut self, end: End, cx: &mut Cx) {
        self.peers.part_all("the torrent is closing");
        let was_removed = self.lifecycle.is_removed();
        self.lifecycle.close(end);
        if self.persistence.is_on() && !self.lifecycle.is_removed() {
            self.note_totals();
            self.keep_totals(cx);
        }
        // Its files are closed, so that nothing else would record its removal.
        let is_news = self.lifecycle.is_removed() && !was_removed;
        if is_news && self.lifecycle.is_forgetting() {
            self.record(RecordKind::Removed, cx);
        }
        self.flush_later();
        self.settle(cx);
    }
}
