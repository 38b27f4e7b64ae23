//! What a torrent's owner has it do: rest and go on, wait for its turn, be checked, end. It does
//! not know who the owner is, nor what the queue is thinking.

use crate::{
    base::job::Trust,
    torrent::{Next, RETRY, SAVE, Stage, Torrent, cx::Cx},
};

/// Why peers are let go when it is others' turn.
pub(crate) const HELD: &str = "the torrent waits for its turn";

impl Torrent {
    pub(crate) fn pause(&mut self, cx: &mut Cx) {
        if !self.paused {
            self.paused = true;
            // Afterwards it gets in line again.
            self.held = self.queued;
            // A disk that fails is left alone until it goes on.
            self.timers.stop(RETRY);
            self.settings_changed(cx);
            self.rest("the torrent is paused", cx);
        }
    }

    fn rest(&mut self, reason: &str, cx: &mut Cx) {
        self.part_all(reason);
        self.flush_later();
        self.unsaved |= self.saved_dirty;
        self.timers.set(SAVE, cx.now);
        self.settle(cx);
    }

    /// The queue wants it to rest, or lets it go.
    pub(crate) fn set_held(&mut self, held: bool, cx: &mut Cx) {
        if self.held != held && self.queued {
            self.held = held;
            if held {
                self.rest(HELD, cx);
            } else {
                self.forgo_flush();
                self.settle(cx);
            }
        }
    }

    pub(crate) fn set_queued(&mut self, queued: bool, cx: &mut Cx) {
        if self.queued != queued {
            self.queued = queued;
            self.queue_order = None;
            // What runs goes on until the queue says otherwise.
            self.held = queued && !(self.is_active() || self.is_ready_to_wake());
            self.settings_changed(cx);
            self.settle(cx);
        }
    }

    pub(crate) fn resume(&mut self, cx: &mut Cx) {
        if std::mem::take(&mut self.paused) {
            self.forgo_flush();
            self.waive_stop();
            self.settings_changed(cx);
        }
        match self.stage {
            Stage::Opening if self.failing => {
                self.failing = false;
                self.await_opening(self.trust);
            }
            Stage::Gone if self.next.is_none() => self.look(cx),
            _ if self.failing => self.timers.set(RETRY, cx.now),
            _ => {}
        }
        if self.unsaved && self.timers.get(SAVE).is_none() {
            // It could not be saved while it rested.
            self.timers.set(SAVE, cx.now);
        }
        self.settle(cx);
    }

    pub(crate) fn set_sequential(&mut self, sequential: bool, cx: &mut Cx) {
        self.sequential = sequential;
        self.swarm.picker.set_sequential(sequential);
        self.settings_changed(cx);
        self.swarm.refill = true;
        self.settle(cx);
    }

    pub(crate) fn recheck(&mut self, cx: &mut Cx) {
        if matches!(self.next, None | Some(Next::Vanish | Next::Reopen { .. })) {
            self.waive_absence();
            self.distrust_all(cx);
            self.settle(cx);
        }
    }

    /// It is fetched again, if its data is gone.
    pub(crate) fn download_anew(&mut self, cx: &mut Cx) {
        if self.is_gone() {
            self.recheck(cx);
        }
    }

    /// It is opened anew, and nothing that was known of its files counts, now and at the next
    /// start.
    pub(super) fn distrust_all(&mut self, cx: &mut Cx) {
        self.part_all("the torrent is being checked");
        self.next = Some(Next::Reopen { trust: Trust::Nothing });
        if std::mem::replace(&mut self.trust, Trust::Nothing) == Trust::Files {
            self.settings_changed(cx);
        }
    }

    pub(crate) fn set_labels(&mut self, labels: Vec<String>, cx: &mut Cx) {
        self.labels = labels;
        self.settings_changed(cx);
    }

    /// Ends: lets its peers go, waits for its workers, saves its state and closes its files, or
    /// deletes all. `told`: say so in an alert.
    pub(crate) fn close(&mut self, told: bool, delete: bool, cx: &mut Cx) {
        self.part_all("the torrent is closing");
        let before = match self.next {
            Some(Next::Close { told, delete }) => (told, delete),
            _ => (false, false),
        };
        if self.keep.on && !before.0 && !told {
            self.note_totals();
            self.keep_totals(cx);
        }
        self.flush_later();
        self.next = Some(Next::Close { told: told || before.0, delete: delete || before.1 });
        self.settle(cx);
    }
}
