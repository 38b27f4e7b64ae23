//! `ut_pex` (BEP 11) with one peer: which peers it names, and which have been named to it.
//!
//! What it names is left to the torrent as a note; what it is told comes from the torrent's log.

use std::net::SocketAddr;

use super::{Extension, Extensions};
use crate::{
    base::time::Instant,
    proto::pex::{PexHeard, PexLog, PexTold},
    torrent::{
        cx::Cx,
        peer_session::{Fault, PeerSession},
        swarm::{Note, Swarm},
    },
    wire::{
        extension::UT_PEX_ID,
        message::Message,
        ut_pex::{PexFlags, PexMessage, UT_PEX},
    },
};

pub(super) const EXTENSION: Extension = Extension { name: UT_PEX, id: UT_PEX_ID, handle };

/// What is remembered of one peer.
#[derive(Debug, Default)]
pub(super) struct PeerExchange {
    heard: PexHeard,
    told: PexTold,
    /// As which address the peer stands in the torrent's log.
    listed: Option<SocketAddr>,
}

/// A message that cannot be read names no peers, and counts all the same.
fn handle(
    session: &mut PeerSession,
    payload: &[u8],
    swarm: &mut Swarm,
    cx: &mut Cx,
) -> Result<(), Fault> {
    if !swarm.exchanges_peers() {
        return Ok(());
    }
    let message = PexMessage::decode(payload).unwrap_or_default();
    let (from, most) = (session.peer.who.addr.ip().to_canonical(), cx.conf.peers.max_named);
    let heard = &mut session.peer.extensions.peer_exchange.heard;
    let peers = heard.handle_message(cx.now, from, &message, most)?;
    if !peers.is_empty() {
        swarm.note(Note::Named(from, peers));
    }
    Ok(())
}

impl Extensions {
    /// Whether the peer wants to be told of others, and has been told nothing yet.
    pub(in crate::torrent::peer_session) fn awaits_peers(&self) -> bool {
        self.remote(&EXTENSION).is_some() && !self.peer_exchange.told.is_begun()
    }
}

impl PeerSession {
    /// Whether it wants to be told of others, and has been told nothing yet.
    pub(crate) fn awaits_peers(&self) -> bool {
        self.peer.extensions.awaits_peers()
    }

    /// Others are told of it from now on, if it is known where it can be dialled; and of what is
    /// known of it by now.
    pub(crate) fn list_in(&mut self, log: &mut PexLog, swarm: &Swarm, now: Instant) {
        let reach =
            if self.peer.who.incoming { self.candidacy.reach } else { Some(self.peer.who.addr) };
        let Some(addr) = reach.filter(|_| swarm.exchanges_peers()) else { return };
        let reachable =
            if self.peer.who.incoming { PexFlags::default() } else { PexFlags::REACHABLE };
        let seed = if self.is_upload_only() { PexFlags::SEED } else { PexFlags::default() };
        let punches = if self.punches() { PexFlags::HOLEPUNCH } else { PexFlags::default() };
        let encrypts = match self.peer.terms.encryption {
            Some(_) => PexFlags::ENCRYPTION,
            None => PexFlags::default(),
        };
        let utp = if self.peer.terms.utp { PexFlags::UTP } else { PexFlags::default() };
        let flags = reachable | seed | punches | encrypts | utp;
        match self.peer.extensions.peer_exchange.listed {
            Some(listed) => log.set_flags(listed, flags),
            None => {
                self.peer.extensions.peer_exchange.listed = Some(addr);
                log.handle_connected(now, addr, flags);
            }
        }
    }

    /// Others are told that it is gone.
    pub(crate) fn leave_log(&mut self, log: &mut PexLog) {
        if let Some(addr) = self.peer.extensions.peer_exchange.listed.take() {
            log.handle_gone(addr);
        }
    }

    /// Tells it of the others in the log, if it wants to know and there is something to tell at
    /// this time.
    pub(crate) fn tell_of_peers(&mut self, log: &PexLog, cx: &mut Cx) {
        let Some(id) = self.peer.extensions.remote(&EXTENSION) else { return };
        let PeerExchange { told, listed, .. } = &mut self.peer.extensions.peer_exchange;
        if let Some(message) = log.message(cx.now, told, *listed) {
            let payload = message.encode();
            self.outgoing.say(&Message::Extended { id, payload: &payload }, cx);
        }
    }
}
