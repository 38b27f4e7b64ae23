//! `upload_only` (BEP 21): a peer says that it wants no data, or that it wants some after all. BEP
//! 21 knows only the handshake's key; the message is what libtorrent and its kin send.

use super::{Extension, Extensions, our_handshake};
use crate::{
    torrent::{
        cx::Cx,
        peer_session::{Fault, PeerSession},
        swarm::Swarm,
    },
    wire::{
        extension::{UPLOAD_ONLY, UPLOAD_ONLY_ID},
        message::Message,
    },
};

pub(super) const EXTENSION: Extension = Extension { name: UPLOAD_ONLY, id: UPLOAD_ONLY_ID, handle };

/// The payload is one byte, 0 or 1; another length is ignored.
fn handle(
    session: &mut PeerSession,
    payload: &[u8],
    swarm: &mut Swarm,
    _: &mut Cx,
) -> Result<(), Fault> {
    if let [flag] = payload {
        session.handle_upload_only(*flag != 0, swarm);
    }
    Ok(())
}

impl Extensions {
    /// Whether the peer says that it wants no data.
    pub(in crate::torrent::peer_session) fn says_upload_only(&self) -> bool {
        self.upload_only
    }
}

impl PeerSession {
    /// The peer says whether it wants no data.
    pub(in crate::torrent::peer_session) fn handle_upload_only(
        &mut self,
        upload_only: bool,
        swarm: &mut Swarm,
    ) {
        self.peer.extensions.upload_only = upload_only;
        swarm.look_at_shown();
    }

    /// Tells the peer that we want no data, or do so again: by the message it asked for, or by
    /// another extension handshake.
    pub(crate) fn tell_upload_only(&mut self, upload_only: bool, cx: &mut Cx) {
        if let Some(id) = self.peer.extensions.remote(&EXTENSION) {
            let payload = &[u8::from(upload_only)];
            self.outgoing.say(&Message::Extended { id, payload }, cx);
        } else if self.peer.terms.extended {
            let offered = self.peer.extensions.offered();
            let payload = our_handshake(&self.peer.who, Some(upload_only), offered, cx).encode();
            self.outgoing.say(&Message::Extended { id: 0, payload: &payload }, cx);
        }
    }
}
