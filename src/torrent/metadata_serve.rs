//! Peers that ask for the info dictionary of a torrent whose bytes are in the session folder alone
//! (BEP 9): it is read back, they are answered, and it is let go of again.

use crate::{
    base::{job::Job, storage::StoreError},
    torrent::{METADATA, Torrent, cx::Cx},
};

impl Torrent {
    /// A peer has asked, and waits.
    pub(super) fn read_info(&mut self, cx: &mut Cx) {
        let Some(info) = self.swarm.info_mut() else { return };
        let (torrent, span) = (self.identity.key(), info.span());
        self.swarm.begin_job();
        cx.job(Job::Info { torrent, info_hash: self.identity.hashes().key(), span });
    }

    /// The dictionary was read, or could not be: those that wait get what they asked for, or are
    /// turned down.
    pub(super) fn handle_info(&mut self, result: Result<Vec<u8>, StoreError>, cx: &mut Cx) {
        let bytes = result.inspect_err(|error| log::warn!("no metadata for peers: {error}")).ok();
        self.keep_read_info(bytes.as_deref(), cx);
        if let Some(info) = self.swarm.info_mut() {
            info.handle_read(cx.now, bytes);
        }
        for (_, session) in self.peers.iter_mut() {
            session.give_owed_metadata(&mut self.swarm, cx);
            session.schedule(cx);
        }
        self.let_go_of_info(cx);
    }

    /// Lets go of the dictionary if no peer has asked for it lately.
    pub(super) fn let_go_of_info(&mut self, cx: &Cx) {
        if let Some(due) = self.swarm.info_mut().and_then(|info| info.let_go(cx.now)) {
            self.timers.set(METADATA, due);
        }
    }
}
