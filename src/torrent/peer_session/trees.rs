//! What a peer that speaks version 2 says of merkle trees (BEP 52, messages 21 to 23). It is the
//! torrent's to deal with; of a peer of version 1 it is passed over, as all that it cannot mean.

use super::PeerSession;
use crate::{
    base::ids::Version,
    torrent::{
        cx::Cx,
        hash_talk::HashTalk,
        swarm::{Note, Swarm},
    },
    wire::message::Message,
};

impl PeerSession {
    /// Whether it speaks of trees: the connection is about the v2 hash of the torrent.
    pub(crate) fn speaks_of_trees(&self) -> bool {
        self.peer.terms.version == Version::V2
    }

    /// Says something of trees.
    pub(crate) fn say_of_trees(&mut self, message: &Message<'_>, cx: &mut Cx) {
        self.outgoing.say(message, cx);
    }

    /// It has spoken of trees.
    pub(super) fn handle_hash_talk(&mut self, talk: HashTalk, swarm: &mut Swarm) {
        if self.speaks_of_trees() {
            swarm.note(Note::HashTalk(self.peer.key, talk));
        }
    }
}
