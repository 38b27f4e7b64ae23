//! The peers of a torrent: the candidates, the connections being made, the peers that are connected
//! (before there is content, and after), and the connections that are to end. A peer is found by
//! its key, and a late answer for one that has gone finds nothing.
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
    proto::{holepunch::Punches, pex::PexLog, tx::Tx},
    torrent::{
        candidates::Candidates,
        cx::Cx,
        disconnect::Disconnect,
        peer_session::{PeerBeforeContent, PeerSession},
        progress::Contributor,
        swarm::Swarm,
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

/// A connected peer.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all peers are sessions")]
enum Peer {
    /// The torrent is open.
    Session(PeerSession),
    /// It is not, since its metainfo is not known or has just come.
    Early(Box<PeerBeforeContent>),
}

impl Peer {
    fn session(&self) -> Option<&PeerSession> {
        match self {
            Self::Session(session) => Some(session),
            Self::Early(_) => None,
        }
    }

    fn session_mut(&mut self) -> Option<&mut PeerSession> {
        match self {
            Self::Session(session) => Some(session),
            Self::Early(_) => None,
        }
    }

    fn early(&self) -> Option<&PeerBeforeContent> {
        match self {
            Self::Early(early) => Some(early),
            Self::Session(_) => None,
        }
    }

    fn early_mut(&mut self) -> Option<&mut PeerBeforeContent> {
        match self {
            Self::Early(early) => Some(early),
            Self::Session(_) => None,
        }
    }

    fn link(&self) -> Key {
        match self {
            Self::Session(session) => session.link(),
            Self::Early(early) => early.link(),
        }
    }

    fn who(&self) -> Contributor {
        match self {
            Self::Session(session) => session.who(),
            Self::Early(early) => early.who(),
        }
    }

    fn id(&self) -> PeerId {
        match self {
            Self::Session(session) => session.peer_id(),
            Self::Early(early) => early.terms().peer_id,
        }
    }

    fn heard(&self) -> Instant {
        match self {
            Self::Session(session) => session.heard(),
            Self::Early(early) => early.heard(),
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peers {
    connected: Arena<Peer>,
    candidates: Candidates,
    /// What they are told of each other.
    log: PexLog,
    /// What relays were asked for (BEP 55).
    punches: Punches,
    /// Connections that are being made or have not been greeted.
    dials: usize,
    /// Connections that are to end; the engine takes them.
    partings: Vec<Parting>,
    /// When peers last made room for others.
    turned_over: Option<Instant>,
}

/// Why a connection of a private torrent ends.
pub(super) const PRIVATE: &str = "the torrent is private, and no tracker has named it";

impl Peers {
    pub(super) fn new(candidates: Candidates) -> Self {
        Self {
            connected: Arena::new(),
            candidates,
            log: PexLog::default(),
            punches: Punches::default(),
            dials: 0,
            partings: Vec::new(),
            turned_over: None,
        }
    }

    /// When peers last made room for others.
    pub(super) fn turned_over(&self) -> Option<Instant> {
        self.turned_over
    }

    /// Peers make room for others now.
    pub(super) fn note_turnover(&mut self, now: Instant) {
        self.turned_over = Some(now);
    }

    // Candidates and dials.

    pub(crate) fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    pub(super) fn candidates_mut(&mut self) -> &mut Candidates {
        &mut self.candidates
    }

    /// Connections that are being made or have not been greeted.
    pub(crate) fn dials(&self) -> usize {
        self.dials
    }

    /// A candidate is being dialled.
    pub(super) fn note_dial(&mut self) {
        self.dials += 1;
    }

    /// A dialled connection has become a session, or ended.
    pub(super) fn note_dial_over(&mut self) {
        self.dials = self.dials.saturating_sub(1);
    }

    /// Whether the torrent may have another connection.
    pub(crate) fn has_room(&self, conf: &Conf) -> bool {
        self.len() + self.dials < conf.peers.max_per_torrent
    }

    /// What relays were asked for.
    pub(super) fn punches_mut(&mut self) -> &mut Punches {
        &mut self.punches
    }

    // Connected peers.

    /// How many are connected.
    pub(crate) fn len(&self) -> usize {
        self.connected.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The session of a peer; `None` before there is content, too.
    pub(crate) fn get(&self, peer: Key) -> Option<&PeerSession> {
        self.connected.get(peer)?.session()
    }

    pub(super) fn get_mut(&mut self, peer: Key) -> Option<&mut PeerSession> {
        self.connected.get_mut(peer)?.session_mut()
    }

    /// The sessions.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &PeerSession)> {
        self.connected.iter().filter_map(|(key, peer)| Some((key, peer.session()?)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (Key, &mut PeerSession)> {
        self.connected.iter_mut().filter_map(|(key, peer)| Some((key, peer.session_mut()?)))
    }

    /// Inserts the session that `make` makes of its key.
    pub(super) fn insert_with(&mut self, make: impl FnOnce(Key) -> PeerSession) -> Key {
        self.connected.insert_with(|key| Peer::Session(make(key)))
    }

    /// What is to be sent to a peer.
    pub(crate) fn tx(&self, peer: Key) -> Option<&Tx> {
        Some(match self.connected.get(peer)? {
            Peer::Session(session) => session.tx(),
            Peer::Early(early) => early.tx(),
        })
    }

    pub(super) fn tx_mut(&mut self, peer: Key) -> Option<&mut Tx> {
        Some(match self.connected.get_mut(peer)? {
            Peer::Session(session) => session.tx_mut(),
            Peer::Early(early) => early.tx_mut(),
        })
    }

    /// Since when a peer is connected, if nothing has come after its handshake.
    pub(crate) fn mute_since(&self, peer: Key) -> Option<Instant> {
        match self.connected.get(peer)? {
            Peer::Session(session) => session.mute_since(),
            Peer::Early(early) => early.mute_since(),
        }
    }

    /// A peer has gone. Returns whether it was connected, and its session.
    pub(super) fn remove(&mut self, peer: Key) -> (bool, Option<PeerSession>) {
        match self.connected.remove(peer) {
            Some(Peer::Session(mut session)) => {
                session.leave_log(&mut self.log);
                (true, Some(session))
            }
            other => (other.is_some(), None),
        }
    }

    // What they are told of each other (BEP 11).

    /// A peer is told of the others, if it may be at this time.
    pub(super) fn tell_of_others(&mut self, peer: Key, swarm: &Swarm, cx: &mut Cx) {
        self.list(swarm, cx.now);
        let Self { connected, log, .. } = self;
        if let Some(session) = connected.get_mut(peer).and_then(Peer::session_mut) {
            session.tell_of_peers(log, cx);
        }
    }

    /// All are told of what has changed among the others. Returns when they are the next time.
    pub(super) fn tell_all_of_others(&mut self, swarm: &Swarm, cx: &mut Cx) -> Option<Instant> {
        self.list(swarm, cx.now);
        let Self { connected, log, .. } = self;
        let is_round = log.poll_round(cx.now);
        for (_, peer) in connected.iter_mut() {
            if let Some(session) = peer.session_mut()
                && (is_round || session.awaits_peers())
            {
                session.tell_of_peers(log, cx);
                session.schedule(cx);
            }
        }
        log.next_deadline()
    }

    /// The log has all that can be dialled.
    fn list(&mut self, swarm: &Swarm, now: Instant) {
        let Self { connected, log, .. } = self;
        for session in connected.iter_mut().filter_map(|(_, peer)| peer.session_mut()) {
            session.list_in(log, swarm, now);
        }
    }

    // Peers before there is content.

    pub(super) fn insert_early(&mut self, early: PeerBeforeContent) -> Key {
        self.connected.insert(Peer::Early(Box::new(early)))
    }

    pub(super) fn early_mut(&mut self, peer: Key) -> Option<&mut PeerBeforeContent> {
        self.connected.get_mut(peer)?.early_mut()
    }

    /// All of them.
    pub(crate) fn all_early(&self) -> impl Iterator<Item = (Key, &PeerBeforeContent)> {
        self.connected.iter().filter_map(|(key, peer)| Some((key, peer.early()?)))
    }

    /// There is content: this peer has a session from now on, unless what it has said is wrong:
    /// then its connection is to end.
    pub(super) fn begin_session(&mut self, peer: Key, swarm: &mut Swarm, cx: &mut Cx) {
        let Some(slot) = self.connected.get_mut(peer) else { return };
        let Some(early) = slot.early_mut() else { return };
        let link = early.link();
        match early.begin(peer, swarm, cx) {
            Ok(session) => *slot = Peer::Session(session),
            Err(fault) => self.part(link, fault),
        }
    }

    /// The torrent is opened anew: this peer's session is over, and the peer waits for another.
    pub(super) fn suspend(&mut self, peer: Key, swarm: &mut Swarm, cx: &mut Cx) {
        let Some(slot) = self.connected.get_mut(peer) else { return };
        let Some(session) = slot.session_mut() else { return };
        session.leave_log(&mut self.log);
        let mut early = session.suspend(swarm, cx);
        early.schedule(cx);
        *slot = Peer::Early(Box::new(early));
    }

    /// The peer of this connection.
    fn of_link(&mut self, link: Key) -> Option<&mut PeerSession> {
        self.iter_mut().map(|(_, s)| s).find(|s| s.link() == link)
    }

    /// The peer of this connection can be dialled at `addr`, by its own word: it is not as long as
    /// the connection lasts.
    pub(super) fn hold(&mut self, link: Key, addr: SocketAddr) {
        let mut sessions = self.connected.iter_mut().filter_map(|(_, peer)| peer.session_mut());
        if let Some(session) = sessions.find(|s| s.link() == link) {
            session.set_holds(self.candidates.hold(addr));
        }
    }

    /// Another link to the same peer, if there is one. A peer is the same if it has the same id and
    /// comes from the same host: ids are no secret, so a peer elsewhere may not keep another out by
    /// using its id.
    pub(crate) fn twin(&self, who: Contributor, id: PeerId) -> Option<Twin> {
        let host = host_of(who.addr.ip());
        let twin = |peer: &Peer| peer.id() == id && host_of(peer.who().addr.ip()) == host;
        let (_, peer) = self.connected.iter().find(|(_, peer)| twin(peer))?;
        Some(Twin {
            link: peer.link(),
            used: peer.session().is_some_and(|s| s.moved() > 0),
            heard: peer.heard(),
            across: peer.who().incoming != who.incoming,
        })
    }

    /// Whether a peer that dialled us may be the one at `addr`: as far as is known, it is at home
    /// there.
    pub(crate) fn may_have_come(&self, addr: SocketAddr) -> bool {
        let host = host_of(addr.ip());
        let reach = |peer: &Peer| peer.session().and_then(PeerSession::reach);
        self.connected.iter().map(|(_, peer)| peer).any(|peer| {
            let from_there = peer.who().incoming && host_of(peer.who().addr.ip()) == host;
            from_there && reach(peer).is_none_or(|reach| reach == addr)
        })
    }

    /// A link that we dialled is not wanted, since its peer has dialled us on `twin`: that one
    /// stays, and the peer is not dialled again as long as it does.
    pub(super) fn keep_twin(&mut self, twin: Key, dialled: Contributor) {
        if let Some(session) = self.of_link(twin).filter(|s| s.who().incoming && !s.holds()) {
            session.set_reach(dialled.addr);
        }
    }

    /// The peer that dialled us and can be dialled at `addr` holds that candidate from now on, if
    /// there is such a peer.
    pub(super) fn inherit(&mut self, addr: SocketAddr) -> bool {
        let mut sessions = self.iter_mut().map(|(_, s)| s);
        let twin = sessions.find(|s| s.who().incoming && s.reach() == Some(addr));
        twin.map(|twin| twin.set_holds(true)).is_some()
    }

    /// The link that makes room for a new peer when there are enough: of those that no block has
    /// passed on and none can pass on now the one that is worth least (BEP 40), if the new one
    /// is worth more. `None` if we do not know what they are worth.
    pub(crate) fn least_worthy(&self, than: SocketAddr) -> Option<Key> {
        let idle = |s: &&PeerSession| s.moved() == 0 && !s.may_exchange();
        let worth =
            |s: &PeerSession| self.candidates.worth(s.who().addr).map(|worth| (worth, s.link()));
        let (least, link) = self.iter().map(|(_, s)| s).filter(idle).filter_map(worth).min()?;
        (least < self.candidates.worth(than)?).then_some(link)
    }

    // Ends.

    /// This connection is to end.
    pub(super) fn part(&mut self, link: Key, reason: impl Into<Disconnect>) {
        self.partings.push(Parting { link, reason: reason.into() });
    }

    /// Whether any has a session.
    pub(super) fn has_sessions(&self) -> bool {
        self.iter().next().is_some()
    }

    /// All connections are to end.
    pub(super) fn part_all(&mut self, reason: &str) {
        let parting = |(_, peer): (Key, &Peer)| Parting {
            link: peer.link(),
            reason: Disconnect::stopped(reason),
        };
        self.partings.extend(self.connected.iter().map(parting));
    }

    /// The torrent is private (BEP 27): what it knows from others than trackers and the user is
    /// forgotten, and connections to such peers end.
    pub(super) fn set_private(&mut self) {
        let forbidden = self.candidates.set_private();
        let dialled = |who: Contributor| !who.incoming && forbidden.contains(&who.addr);
        let peers = self.connected.iter().map(|(_, peer)| peer);
        let parting = |peer: &Peer| Parting { link: peer.link(), reason: PRIVATE.into() };
        self.partings.extend(peers.filter(|peer| dialled(peer.who())).map(parting));
    }

    /// The connections end for which there is a reason.
    pub(super) fn part_where(&mut self, reason: impl Fn(&PeerSession) -> Option<Disconnect>) {
        let sessions = self.connected.iter().filter_map(|(_, peer)| peer.session());
        let parting = |s: &PeerSession| Some(Parting { link: s.link(), reason: reason(s)? });
        self.partings.extend(sessions.filter_map(parting));
    }

    /// The connections with banned peers end, and those with `who`.
    pub(super) fn part_banned(&mut self, now: Instant, who: Contributor, reason: &Disconnect) {
        let Self { connected, candidates, partings, .. } = self;
        let is_banned = |peer: &Peer| peer.who() == who || candidates.is_banned(now, peer.who());
        let banned = connected.iter().filter(|(_, peer)| is_banned(peer));
        let parting = |peer: &Peer| Parting { link: peer.link(), reason: reason.clone() };
        partings.extend(banned.map(|(_, peer)| parting(peer)));
    }

    /// Takes the connections that are to end.
    #[must_use]
    pub(super) fn take_partings(&mut self) -> Vec<Parting> {
        std::mem::take(&mut self.partings)
    }

    /// How many connections are to end that the engine has not taken.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn partings(&self) -> usize {
        self.partings.len()
    }
}
