//! How limits meet links: what a driver may read and is offered to send, who is told to go on, and
//! what a session learns of it.
//!
//! The arithmetic is in `limits`. An engine without limits pays one branch for each read and write.
//!
//! A limit holds blocks back and nothing else: requests, haves and chokes count, and blocks pay for
//! them later. Or a limit one way would throttle the other.

use std::{collections::BTreeMap, net::SocketAddr};

use crate::{
    base::{arena::Key, bucket::Limits, time::Instant},
    engine::{
        Effect, Engine, StreamId,
        connection::Connection,
        hearing::Hearing,
        io::Owner,
        limits::{For, Quota, Way},
    },
    torrent::Torrent,
    wire::handshake::HANDSHAKE_LEN,
};

/// Both directions, and what the user wants for which peer.
#[derive(Debug)]
pub(super) struct Throttle {
    pub(super) down: Way,
    pub(super) up: Way,
    /// What may be read although blocks may not.
    hearing: Hearing,
    /// By torrent and address; the user's own list, so it is as long as he makes it.
    peers: BTreeMap<(Key, SocketAddr), Limits>,
    torrents: BTreeMap<Key, Limits>,
    /// The wake-up that counts in the engine's heap.
    pushed: Option<Instant>,
    /// Kept so that it is not allocated anew.
    woken: Vec<StreamId>,
}

impl Throttle {
    pub(super) fn new(now: Instant, limits: Limits) -> Self {
        let (down, up) = (Way::new(now, limits.down), Way::new(now, limits.up));
        Self {
            down,
            up,
            hearing: Hearing::default(),
            peers: BTreeMap::new(),
            torrents: BTreeMap::new(),
            pushed: None,
            woken: Vec::new(),
        }
    }

    /// A connection is over.
    pub(super) fn forget(&mut self, connection: Key) {
        self.down.forget(StreamId::Peer(connection));
        self.up.forget(StreamId::Peer(connection));
        self.hearing.forget(connection);
    }

    /// Bytes went out on a connection.
    pub(super) fn spend_up(&mut self, now: Instant, connection: Key, torrent: Key, bytes: usize) {
        if self.up.is_on() {
            self.up.spend(now, StreamId::Peer(connection), torrent, bytes);
        }
        if self.down.is_on() {
            self.hearing.handle_sent(now, connection, bytes);
        }
    }

    /// Bytes came on a connection; `unasked`: no block was on order, so they are requests and the
    /// like.
    pub(super) fn spend_down(
        &mut self,
        now: Instant,
        connection: Key,
        torrent: Key,
        bytes: usize,
        unasked: bool,
    ) {
        self.down.spend(now, StreamId::Peer(connection), torrent, bytes);
        if unasked {
            self.hearing.spend(now, connection, bytes);
        }
    }

    /// A torrent is over.
    pub(super) fn forget_torrent(&mut self, now: Instant, torrent: Key) {
        if self.torrents.remove(&torrent).is_some() {
            self.down.set_torrent(now, torrent, None);
            self.up.set_torrent(now, torrent, None);
        }
        self.peers.retain(|(of, _), _| *of != torrent);
    }

    fn set_own(&mut self, now: Instant, connection: Key, limits: Limits) {
        self.down.set_own(now, StreamId::Peer(connection), limits.down);
        self.up.set_own(now, StreamId::Peer(connection), limits.up);
    }
}

impl Engine {
    /// How many bytes the driver may read from `connection` now; `usize::MAX` without a limit.
    pub(super) fn connection_quota(&mut self, now: Instant, connection: Key) -> usize {
        if self.wanting.has_waiting()
            && self.connections.get(connection).is_some_and(Connection::is_waiting)
        {
            return 0;
        }
        if self.throttle.down.is_on() { self.limited_quota(now, connection) } else { usize::MAX }
    }

    fn limited_quota(&mut self, now: Instant, key: Key) -> usize {
        self.handle_tick(now);
        let Some(connection) = self.connections.get(key) else { return usize::MAX };
        let Some((session, torrent)) = connection.session_and_torrent() else {
            return HANDSHAKE_LEN;
        };
        if self.expects_no_blocks(session, torrent) {
            let heard = self.throttle.hearing.quota(self.cx.now, key);
            if heard > 0 {
                return heard;
            }
        }
        match self.throttle.down.ask(self.cx.now, StreamId::Peer(key), torrent) {
            Quota::Bytes(bytes) => bytes,
            Quota::Wait(what) => {
                if let Some(torrent) = self.torrents.get_mut(torrent) {
                    torrent.handle_held(session, what == For::Shared, &mut self.cx);
                }
                self.plan_limits();
                0
            }
        }
    }

    /// Whether what comes from a peer next can be no block that we have asked for, and is not
    /// waited for by turns.
    pub(super) fn expects_no_blocks(&self, session: Key, torrent: Key) -> bool {
        let peers = self.torrents.get(torrent).map(Torrent::peers);
        let session = peers.and_then(|peers| peers.get(session));
        session.is_some_and(|s| s.pipeline().is_empty() && !s.pipeline().is_held())
    }

    /// How many bytes of those that wait on a connection with a session may be offered to be sent:
    /// small messages always, blocks as far as the limits allow. The rest of a block that has begun
    /// comes before anything else, as the protocol has it.
    pub(super) fn send_quota(&mut self, key: Key) -> usize {
        if !self.throttle.up.is_on() {
            return usize::MAX;
        }
        let Some(connection) = self.connections.get(key) else { return 0 };
        let Some((session, torrent)) = connection.session_and_torrent() else {
            return usize::MAX;
        };
        let tx = self.torrents.get(torrent).and_then(|t| t.peers().tx(session));
        let (all, urgent) = tx.map_or((0, 0), |tx| (tx.len(), tx.urgent()));
        if all == urgent {
            return urgent;
        }
        match self.throttle.up.ask(self.cx.now, StreamId::Peer(key), torrent) {
            Quota::Bytes(bytes) => bytes.max(urgent),
            Quota::Wait(_) => {
                self.plan_limits();
                urgent
            }
        }
    }

    /// A connection has become a session's; `greeting` bytes of our handshake are still to be sent.
    pub(super) fn limit_connection(
        &mut self,
        connection: Key,
        torrent: Key,
        addr: SocketAddr,
        greeting: usize,
    ) {
        let own =
            self.throttle.peers.get(&(torrent, addr)).copied().unwrap_or(self.cx.conf.peers.limits);
        if own != Limits::default() {
            self.throttle.set_own(self.cx.now, connection, own);
            self.plan_limits();
        }
        if self.throttle.up.is_on() {
            self.throttle.up.pass(StreamId::Peer(connection), greeting);
        }
    }

    pub(super) fn handle_limits_timeout(&mut self, at: Instant) {
        if self.throttle.pushed == Some(at) {
            self.throttle.pushed = None;
        }
        let mut woken = std::mem::take(&mut self.throttle.woken);
        self.throttle.down.tick(self.cx.now, &mut woken);
        for stream in woken.drain(..) {
            let goes_on = match stream {
                StreamId::Peer(connection) => self.connection_resumed(connection),
                StreamId::WebSeed(key) => self.web_seed_resumed(key),
                StreamId::Tracker(_) | StreamId::Relay(_) | StreamId::PortMapping(_) => false,
            };
            match stream {
                StreamId::Peer(connection) if goes_on => self.resume(connection),
                stream if goes_on => self.effect(Effect::Resume { stream }),
                _ => {}
            }
        }
        self.throttle.up.tick(self.cx.now, &mut woken);
        for stream in woken.drain(..) {
            if let StreamId::Peer(connection) = stream {
                self.cx.outbox.flush(connection);
            }
        }
        self.throttle.woken = woken;
        self.plan_limits();
    }

    /// A connection that waited for a limit is read on. False if it has no session.
    fn connection_resumed(&mut self, key: Key) -> bool {
        let connection = self.connections.get(key);
        let Some((session, torrent)) = connection.and_then(|l| l.session_and_torrent()) else {
            return false;
        };
        if let Some(torrent) = self.torrents.get_mut(torrent) {
            torrent.handle_resumed(session, &mut self.cx);
        }
        true
    }

    /// Sees to it that the engine wakes up for those who wait.
    pub(super) fn plan_limits(&mut self) {
        self.cx.leases.set_up_limited(self.throttle.up.is_on());
        let next = [self.throttle.down.next(), self.throttle.up.next()].into_iter().flatten().min();
        if let Some(at) = next
            && self.throttle.pushed.is_none_or(|pushed| at < pushed)
        {
            self.throttle.pushed = Some(at);
            self.io.wake(at, Owner::Limits);
        }
    }

    // What the verbs do.

    pub(super) fn limit_engine(&mut self, limits: Limits) {
        self.cx.conf.network.limits = limits;
        self.throttle.down.set_engine(self.cx.now, limits.down);
        self.throttle.up.set_engine(self.cx.now, limits.up);
        self.plan_limits();
        self.torrents.keys().into_iter().for_each(|torrent| self.tell_up_limit(torrent));
    }

    /// How much a torrent may send decides how many peers it is shared out to.
    fn tell_up_limit(&mut self, key: Key) {
        let limit =
            [self.cx.conf.network.limits.up, self.limits_of(key).up].into_iter().flatten().min();
        if let Some(torrent) = self.torrents.get_mut(key) {
            torrent.set_up_limit(limit, &mut self.cx);
        }
        self.settle(key);
    }

    pub(super) fn limit_torrent(&mut self, torrent: Key, limits: Limits) {
        self.throttle.torrents.insert(torrent, limits);
        self.throttle.down.set_torrent(self.cx.now, torrent, limits.down);
        self.throttle.up.set_torrent(self.cx.now, torrent, limits.up);
        self.plan_limits();
        self.tell_up_limit(torrent);
    }

    /// The limits that a torrent is added with.
    pub(super) fn begin_with_limits(&mut self, torrent: Key, limits: Limits) {
        if limits != Limits::default() {
            self.limit_torrent(torrent, limits);
        }
    }

    pub(super) fn limits_of(&self, torrent: Key) -> Limits {
        self.throttle.torrents.get(&torrent).copied().unwrap_or_default()
    }

    pub(super) fn limit_peer(&mut self, torrent: Key, addr: SocketAddr, limits: Limits) {
        self.throttle.peers.insert((torrent, addr), limits);
        let connections = self.connections.iter().filter(|(_, connection)| {
            connection.torrent() == Some(torrent) && connection.who().addr == addr
        });
        for connection in connections
            .filter(|(_, connection)| connection.session().is_some())
            .map(|(key, _)| key)
            .collect::<Vec<_>>()
        {
            self.throttle.set_own(self.cx.now, connection, limits);
        }
        self.plan_limits();
    }

    pub(super) fn limit_other_peers(&mut self, limits: Limits) {
        self.cx.conf.peers.limits = limits;
        for (key, connection) in
            self.connections.iter().filter(|(_, connection)| connection.session().is_some())
        {
            let own = connection.torrent().is_some_and(|torrent| {
                self.throttle.peers.contains_key(&(torrent, connection.who().addr))
            });
            if !own {
                self.throttle.set_own(self.cx.now, key, limits);
            }
        }
        self.plan_limits();
    }
}
