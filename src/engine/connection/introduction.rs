//! A peer has introduced itself by its handshake: whether it is welcome, which of two connections
//! with one peer stays, and how a connection becomes a session.
//!
//! It knows no transport.

use std::time::Duration;

use super::State;
use crate::{
    base::{
        arena::Key,
        ids::{InfoHash, PeerId},
    },
    engine::{Engine, crypto::UNFIT},
    proto::handshake,
    torrent::{
        peer_session::{Greeted, Terms},
        progress::Contributor,
    },
    wire::handshake::Handshake,
};

const TWIN: &str = "we are connected already, the other way round";
const AGAIN: &str = "we are connected already";
/// A peer that connects once more takes the place of its earlier connection if nothing has come on
/// that for so long: a router on the way has forgotten it. Otherwise the earlier one stays, so that
/// two that come twice do not cut each other off for ever.
const AGAIN_AFTER: Duration = Duration::from_secs(10);

impl Engine {
    /// The peer has introduced itself: its connection becomes a session, or ends.
    pub(in crate::engine) fn handshake_done(&mut self, key: Key, handshake: Handshake) {
        let Some(connection) = self.connections.get(key) else { return };
        let (who, torrent) = (
            connection.who,
            connection.torrent.or_else(|| self.by_hash.named(handshake.info_hash)),
        );
        let (mut twin_stays, mut replaced) = (None, None);
        let mut wakes = false;
        let refusal = match torrent.and_then(|t| self.torrents.get(t)) {
            None => Some("it wants a torrent that we do not have"),
            Some(_) if handshake.peer_id == self.cx.peer_id => {
                return self.meet_ourselves(key, who, handshake);
            }
            Some(t) if !(t.is_active() || t.is_waking()) => Some("the torrent is not active"),
            Some(t) if t.peers().candidates().is_banned(self.cx.now, who) => Some("it is banned"),
            Some(t) if !connection.crypto.fits(t, &self.cx.conf) => Some(UNFIT),
            Some(t) if t.is_waking() => {
                wakes = true;
                None
            }
            Some(t) => match t.peers().twin(who, handshake.peer_id) {
                Some(twin) if twin.across && self.outlives(who, handshake.peer_id, twin.used) => {
                    self.close(twin.link, TWIN);
                    None
                }
                Some(twin) if twin.across => {
                    twin_stays = Some(twin.link);
                    Some(TWIN)
                }
                Some(twin) if who.incoming && twin.heard + AGAIN_AFTER <= self.cx.now => {
                    self.close(twin.link, "it has connected once more");
                    None
                }
                Some(_) => Some(AGAIN),
                None if t.peers().len() < self.cx.conf.peers.max_per_torrent => None,
                None => match t.peers().least_worthy(who.addr) {
                    // A peer that we dialled when there was room is not worth ending another
                    // connection for.
                    Some(least) if who.incoming => {
                        replaced = Some(least);
                        None
                    }
                    _ => Some("the torrent has enough peers"),
                },
            },
        };
        if let Some((twin, t)) = twin_stays.zip(torrent.and_then(|t| self.torrents.get_mut(t))) {
            t.keep_twin(twin, who);
        }
        if let Some(reason) = refusal {
            return self.close(key, reason);
        }
        self.cx.leases.set_connections(self.connections.len());
        if let Some(torrent) = torrent.filter(|_| wakes) {
            return self.let_wait(key, torrent, handshake);
        }
        let Some((torrent, t)) = torrent.and_then(|key| Some((key, self.torrents.get(key)?)))
        else {
            return;
        };
        let said = t.identity().answer_to(&handshake, who.incoming);
        if who.incoming {
            self.answer(key, said.hash);
        }
        let (Some(t), Some(connection)) =
            (self.torrents.get_mut(torrent), self.connections.get_mut(key))
        else {
            return;
        };
        connection.torrent = Some(torrent);
        if !who.incoming {
            t.handle_dial_greeted(who.addr, connection.crypto.opening);
        }
        let terms = Terms {
            peer_id: handshake.peer_id,
            fast: handshake.reserved.fast(),
            extended: handshake.reserved.extensions(),
            dht: handshake.reserved.dht(),
            encryption: connection.crypto.method,
            utp: connection.utp_socket().is_some(),
            version: said.version,
        };
        if let Some(method) = terms.encryption {
            log::debug!("{} encrypts: {method:?}", who.addr);
        }
        let mut tx = *connection.hello.take().unwrap_or_default();
        tx.expect_introduction();
        let greeting = tx.len();
        let greeted = Greeted { link: key, who, terms, tx };
        connection.state = State::Live(t.handle_greeted(greeted, &mut self.cx));
        self.tally.note_greeted();
        self.limit_connection(key, torrent, who.addr, greeting);
        // Only now, or its place would be dialled for.
        if let Some(least) = replaced {
            self.close(least, "the torrent has enough peers, and another is worth more");
        }
    }

    /// A tracker has named us to ourselves.
    fn meet_ourselves(&mut self, key: Key, who: Contributor, handshake: Handshake) {
        if !who.incoming {
            self.access.note_ourselves(who.addr);
            let torrent = self.connections.get(key).and_then(|connection| connection.torrent);
            self.close(key, "it is ourselves");
            if let Some(torrent) = torrent.and_then(|t| self.torrents.get_mut(t)) {
                torrent.forget_candidate(who.addr);
            }
        } else if let Some(connection) = self.connections.get_mut(key) {
            connection.state = State::Mirror;
            self.answer(key, handshake.info_hash);
        }
    }

    /// Introduces us to a peer that has connected.
    fn answer(&mut self, key: Key, hash: InfoHash) {
        let ours = handshake::ours(hash, self.cx.peer_id, self.cx.conf.dht.enabled, false);
        let Some(connection) = self.connections.get_mut(key) else { return };
        connection.hello().push_bytes(&ours);
        self.access.handle_greeted(connection.who.addr.ip());
        self.cx.outbox.flush(key);
    }

    /// Whether a new connection to a peer that is connected the other way round takes the place of
    /// that one. Two that dial each other at the same moment must keep the same connection: the one
    /// that the lower id dialled, as long as no block has passed.
    fn outlives(&self, who: Contributor, id: PeerId, twin_is_used: bool) -> bool {
        let (dialler, other) =
            if who.incoming { (id, self.cx.peer_id) } else { (self.cx.peer_id, id) };
        !twin_is_used && dialler < other
    }
}
