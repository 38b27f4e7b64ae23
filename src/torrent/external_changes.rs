//! What other programs did to a torrent's files, and what follows: files that are longer than the
//! torrent says are told of where nothing is written, and one that was changed while it was served
//! is checked before more of it is.

use std::time::Duration;

use super::{Torrent, cx::Cx, disconnect::Disconnect};
use crate::{
    alert::Alert,
    base::{storage::StoreError, time::Instant},
};

/// A file that is changed on and on is checked so often at most. Meanwhile nothing of it is served.
const CHECK_AGAIN: Duration = Duration::from_secs(60);

/// What is known of that.
#[derive(Debug, Default)]
pub(super) struct ExternalChanges {
    /// Files that were longer than they should be when the storage was opened.
    too_long: Vec<usize>,
    /// When files were last found changed.
    changed: Option<Instant>,
}

impl Torrent {
    /// The storage was opened: these files are longer than the torrent says.
    pub(super) fn note_too_long(&mut self, files: Vec<usize>) {
        self.storage.external_changes.too_long = files;
    }

    /// It is known what is there. Where more is to be fetched the store cuts them once they are
    /// complete; a seed only tells.
    pub(super) fn tell_too_long(&mut self, cx: &mut Cx) {
        let files = std::mem::take(&mut self.storage.external_changes.too_long);
        if self.swarm.is_finished() && !files.is_empty() {
            log::warn!("{} files of {} are longer than it says", files.len(), self.content.name());
            cx.alerts.push(Alert::FilesTooLong { torrent: self.identity.id(), files });
        }
    }

    /// A file is not as it was when it was looked at last: the torrent is opened anew, which checks
    /// what is not as it was saved. Its peers are told of what is there then.
    pub(super) fn files_changed(&mut self, error: &StoreError, cx: &mut Cx) {
        let lately =
            self.storage.external_changes.changed.is_some_and(|at| at + CHECK_AGAIN > cx.now);
        if lately || self.lifecycle.is_pending() || !self.lifecycle.is_open() {
            return;
        }
        self.storage.external_changes.changed = Some(cx.now);
        log::warn!("{error}: {} is checked", self.content.name());
        cx.alerts.push(Alert::Distrusted { torrent: self.identity.id(), error: error.clone() });
        self.suspend_peers("the torrent's files have changed", cx);
        self.lifecycle.ask_reopen(self.lifecycle.trust());
    }

    /// The torrent is opened anew. Peers that can be told what it has lost (BEP 54) wait for that;
    /// the others have to come back.
    fn suspend_peers(&mut self, reason: &str, cx: &mut Cx) {
        // What they are still to be told of is theirs to hear, and no news then.
        self.deliver_all(cx);
        let sessions: Vec<_> = self.peers.iter().map(|(key, _)| key).collect();
        for key in sessions {
            let Some(session) = self.peers.get(key) else { continue };
            if !session.may_be_suspended(&self.swarm, cx) {
                self.peers.part(session.link(), Disconnect::stopped(reason));
                continue;
            }
            self.slots.leave(session, cx.now);
            let reach = session.reach().filter(|_| session.holds());
            self.peers.suspend(key, &mut self.swarm, cx);
            if let Some(addr) = reach.filter(|&addr| !self.peers.inherit(addr)) {
                // Its next session says again that it can be dialled there.
                let candidates = self.peers.candidates_mut();
                candidates.release(cx.now, addr, true, &mut cx.rng, &cx.conf);
            }
        }
    }
}
