//! The peers of a torrent: the candidates, the connections being made, the peers that are connected,
//! and the connections that are to end. A peer is found by its key, and a late answer for one that
//! has gone finds nothing.
//!
//! It knows connections by key only. What a peer's session or the ledger does, it does not know.

use std::net::SocketAddr;

use crate::{
    base::{
        arena::{Arena, Key},
        ids::PeerId,
        ip_filter::host_of,
        time::Instant,
    },
    conf::Conf,
    torrent::{
        candidates::Candidates, disconnect::Disconnect, peer_session::PeerSession,
        progress::Contributor,
    },
};

/// A connection that is to end.
#[derive(Debug)]
pub(crate) struct Parting {
    pub(crate) link: Key,
    pub(crate) reason: Disconnect,
}

/// A link to a peer that another link reaches, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Twin {
    pub(crate) link: Key,
    /// A block has passed on it.
    pub(crate) used: bool,
    /// When something came on it last.
    pub(crate) heard: Instant,
    /// It was dialled by the other end than the new one.
    pub(crate) across: bool,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peers {
    sessions: Arena<PeerSession>,
    candidates: Candidates,
    /// Connections that are being made or have not been greeted.
    dials: usize,
    /// Connections that are to end; the engine takes them.
    partings: Vec<Parting>,
}

impl Peers {
    pub(super) fn new(candidates: Candidates) -> Self {
        Self { sessions: Arena::new(), candidates, dials: 0, partings: Vec::new() }
    }

    // Candidates and dials.

    pub(crate) fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    pub(crate) fn candidates_mut(&mut self) -> &mut Candidates {
        &mut self.candidates
    }

    /// Connections that are being made or have not been greeted.
    pub(crate) fn dials(&self) -> usize {
        self.dials
    }

    /// A candidate is being dialled.
    pub(crate) fn note_dial(&mut self) {
        self.dials += 1;
    }

    /// A dialled connection has become a session, or ended.
    pub(crate) fn note_dial_over(&mut self) {
        self.dials = self.dials.saturating_sub(1);
    }

    /// Whether the torrent may have another connection.
    pub(crate) fn has_room(&self, conf: &Conf) -> bool {
        self.len() + self.dials < conf.peers.max_per_torrent
    }

    // Connected peers.

    /// How many are connected.
    pub(crate) fn len(&self) -> usize {
        self.sessions.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, peer: Key) -> Option<&PeerSession> {
        self.sessions.get(peer)
    }

    pub(crate) fn get_mut(&mut self, peer: Key) -> Option<&mut PeerSession> {
        self.sessions.get_mut(peer)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &PeerSession)> {
        self.sessions.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut PeerSession)> {
        self.sessions.iter_mut()
    }

    pub(super) fn insert(&mut self, session: PeerSession) -> Key {
        self.sessions.insert(session)
    }

    pub(super) fn remove(&mut self, peer: Key) -> Option<PeerSession> {
        self.sessions.remove(peer)
    }

    /// The peer of this connection.
    pub(super) fn of_link(&mut self, link: Key) -> Option<&mut PeerSession> {
        self.sessions.iter_mut().map(|(_, s)| s).find(|s| s.link == link)
    }

    /// The peer of this connection can be dialled at `addr`, by its own word: it is not as long as
    /// the connection lasts.
    pub(super) fn hold(&mut self, link: Key, addr: SocketAddr) {
        let session = self.sessions.iter_mut().map(|(_, s)| s).find(|s| s.link == link);
        if let Some(session) = session {
            session.holds = self.candidates.hold(addr);
        }
    }

    /// Another link to the same peer, if there is one. A peer is the same if it has the same id and
    /// comes from the same host: ids are no secret, so a peer elsewhere may not keep another out by
    /// using its id.
    pub(crate) fn twin(&self, who: Contributor, id: PeerId) -> Option<Twin> {
        let host = host_of(who.addr.ip());
        let twin = |s: &PeerSession| s.terms.peer_id == id && host_of(s.who.addr.ip()) == host;
        let (_, s) = self.sessions.iter().find(|(_, s)| twin(s))?;
        let (link, used, heard) = (s.link, s.useful > 0 || s.uploaded > 0, s.heard);
        Some(Twin { link, used, heard, across: s.who.incoming != who.incoming })
    }

    /// A link that we dialled is not wanted, since its peer has dialled us on `twin`: that one
    /// stays, and the peer is not dialled again as long as it does.
    pub(crate) fn keep_twin(&mut self, twin: Key, dialled: Contributor) {
        if let Some(session) = self.of_link(twin).filter(|s| s.who.incoming && !s.holds) {
            session.reach = Some(dialled.addr);
        }
    }

    /// The peer that dialled us and can be dialled at `addr` holds that candidate from now on, if
    /// there is such a peer.
    pub(super) fn inherit(&mut self, addr: SocketAddr) -> bool {
        let mut sessions = self.sessions.iter_mut().map(|(_, s)| s);
        let twin = sessions.find(|s| s.who.incoming && s.reach == Some(addr));
        twin.map(|twin| twin.holds = true).is_some()
    }

    /// The link that makes room for a new peer when there are enough: of those that no block has
    /// passed on and none can pass on now the one that is worth least (BEP 40), if the new one
    /// is worth more. `None` if we do not know what they are worth.
    pub(crate) fn least_worthy(&self, than: SocketAddr) -> Option<Key> {
        let idle = |s: &&PeerSession| s.useful == 0 && s.uploaded == 0 && !s.may_exchange();
        let worth =
            |s: &PeerSession| self.candidates.worth(s.who.addr).map(|worth| (worth, s.link));
        let (least, link) =
            self.sessions.iter().map(|(_, s)| s).filter(idle).filter_map(worth).min()?;
        (least < self.candidates.worth(than)?).then_some(link)
    }

    // Ends.

    /// This connection is to end.
    pub(super) fn part(&mut self, link: Key, reason: impl Into<Disconnect>) {
        self.partings.push(Parting { link, reason: reason.into() });
    }

    /// All connections are to end.
    pub(super) fn part_all(&mut self, reason: &str) {
        self.part_where(|_| Some(Disconnect::stopped(reason)));
    }

    /// The connections end for which there is a reason.
    pub(super) fn part_where(&mut self, reason: impl Fn(&PeerSession) -> Option<Disconnect>) {
        let parting =
            |(_, s): (Key, &PeerSession)| Some(Parting { link: s.link, reason: reason(s)? });
        self.partings.extend(self.sessions.iter().filter_map(parting));
    }

    /// The connections with banned peers end, and those with `who`.
    pub(super) fn part_banned(&mut self, now: Instant, who: Contributor, reason: &Disconnect) {
        let Self { sessions, candidates, partings, .. } = self;
        let banned =
            sessions.iter().filter(|(_, s)| s.who == who || candidates.is_banned(now, s.who));
        partings.extend(banned.map(|(_, s)| Parting { link: s.link, reason: reason.clone() }));
    }

    /// Takes the connections that are to end.
    #[must_use]
    pub(crate) fn take_partings(&mut self) -> Vec<Parting> {
        std::mem::take(&mut self.partings)
    }

    /// How many connections are to end that the engine has not taken.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn partings(&self) -> usize {
        self.partings.len()
    }
}
