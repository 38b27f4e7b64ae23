//! `ut_holepunch` (BEP 55) with one peer: what it wants of us, bounded by the minute, is left to
//! the torrent as a note.
//!
//! It is offered where peers are told of each other: a private torrent's peers come from its
//! trackers alone (BEP 27).

use std::net::SocketAddr;

use super::Extension;
use crate::{
    proto::holepunch::MinuteQuota,
    torrent::{
        cx::Cx,
        peer_session::{Fault, PeerSession},
        swarm::{Note, Swarm},
    },
    wire::{
        extension::UT_HOLEPUNCH_ID,
        message::Message,
        ut_holepunch::{HolepunchKind, HolepunchMessage, UT_HOLEPUNCH},
    },
};

pub(super) const EXTENSION: Extension =
    Extension { name: UT_HOLEPUNCH, id: UT_HOLEPUNCH_ID, handle };

/// What counts of one peer.
#[derive(Debug, Default)]
pub(super) struct Holepunch {
    /// Its messages.
    heard: MinuteQuota,
    /// What it was asked for others.
    relayed: MinuteQuota,
}

/// A peer that has not offered the extension is not heard, nor is one that sends too much, nor what
/// cannot be read.
fn handle(
    session: &mut PeerSession,
    payload: &[u8],
    swarm: &mut Swarm,
    cx: &mut Cx,
) -> Result<(), Fault> {
    let most = cx.conf.peers.max_rendezvous;
    if !swarm.exchanges_peers()
        || !session.punches()
        || !session.peer.extensions.holepunch.heard.take(cx.now, most)
    {
        return Ok(());
    }
    let (from, key) = (session.peer.who.addr, session.standing.key());
    let Ok(HolepunchMessage { kind, addr }) = HolepunchMessage::decode(payload) else {
        return Ok(());
    };
    match kind {
        HolepunchKind::Rendezvous => swarm.note(Note::Rendezvous(key, addr)),
        HolepunchKind::Connect => {
            swarm.note(Note::Punch(from.ip().to_canonical(), addr));
        }
        HolepunchKind::Error(failure) => {
            log::debug!("{from} cannot connect us with {addr}: {failure:?}");
        }
    }
    Ok(())
}

impl PeerSession {
    /// Whether it takes part in hole punching.
    pub(crate) fn punches(&self) -> bool {
        self.peer.extensions.remote(&EXTENSION).is_some()
    }

    /// Where others can dial it, as far as we know.
    pub(crate) fn dial_addr(&self) -> SocketAddr {
        let own = self.peer.who;
        let addr = if own.incoming { self.reach().unwrap_or(own.addr) } else { own.addr };
        SocketAddr::new(addr.ip().to_canonical(), addr.port())
    }

    /// Sends it a message of this extension, if it wants any.
    pub(crate) fn say_punch(&mut self, kind: HolepunchKind, addr: SocketAddr, cx: &mut Cx) {
        if let Some(id) = self.peer.extensions.remote(&EXTENSION) {
            let payload = HolepunchMessage { kind, addr }.encode();
            self.outgoing.say(&Message::Extended { id, payload: &payload }, cx);
        }
    }

    /// Has it connect to `addr`, for a peer that wants that; false if it was asked that too often
    /// in this minute.
    pub(crate) fn say_connect(&mut self, addr: SocketAddr, cx: &mut Cx) -> bool {
        let most = cx.conf.peers.max_rendezvous;
        let may = self.peer.extensions.holepunch.relayed.take(cx.now, most);
        if may {
            self.say_punch(HolepunchKind::Connect, addr, cx);
        }
        may
    }
}
