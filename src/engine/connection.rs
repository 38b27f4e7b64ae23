//! Connections with peers: from a transport that is dialled or accepted, by its preambles and the
//! handshake, to a peer session, and the end of it.

mod introduction;

use std::{
    io::{ErrorKind, IoSlice},
    net::SocketAddr,
};

use crate::{
    alert::PeerGoneKind,
    base::{arena::Key, time::Instant},
    conf::{Conf, Traffic},
    engine::{CloseCause, Effect, Engine, StreamId, crypto::Crypto, proxy},
    proto::{preamble::PreambleError, preambles::Preambles, tx::Tx},
    torrent::{
        Torrent, candidates::Opening, disconnect::Disconnect, outbox::Sleeper,
        progress::Contributor,
    },
    wire::handshake::Handshake,
};

/// A connection to be, or one that is.
#[derive(Debug)]
pub(super) struct Connection {
    who: Contributor,
    /// The torrent it belongs to; unknown until an accepted one says so.
    torrent: Option<Key>,
    transport: Transport,
    /// Why the transport that was tried first does not carry it.
    refused: Option<ErrorKind>,
    state: State,
    /// What we say before the session takes over, which gets it then.
    hello: Option<Box<Tx>>,
    crypto: Crypto,
    began: Instant,
}

/// What carries a connection's bytes. Another transport is another variant; nothing above it knows.
#[derive(Clone, Copy, Debug)]
pub(super) enum Transport {
    /// A stream of the driver's, which has the name of the connection's key.
    Stream,
    /// This socket of uTP.
    Utp(Key),
}

#[derive(Debug)]
enum State {
    /// The transport is not there yet.
    Connecting,
    /// Until the peer's handshake is whole.
    Preambles(Box<Preambles>),
    /// We have dialled ourselves, and this is the end that was dialled: the other learns from our
    /// answer that we have reached ourselves.
    Mirror,
    /// The peer's handshake has come, and it waits for a torrent that is waking, with what came
    /// behind.
    Waiting(Box<Greeting>),
    Live(Key),
}

/// What has come of a peer that waits.
#[derive(Debug)]
struct Greeting {
    handshake: Handshake,
    early: Vec<u8>,
}

impl Connection {
    fn outgoing(torrent: Key, addr: SocketAddr, crypto: Crypto, began: Instant) -> Self {
        let (who, torrent) = (Contributor { addr, incoming: false }, Some(torrent));
        Self {
            who,
            torrent,
            transport: Transport::Stream,
            refused: None,
            state: State::Connecting,
            hello: None,
            crypto,
            began,
        }
    }

    fn incoming(
        addr: SocketAddr,
        transport: Transport,
        preambles: Preambles,
        began: Instant,
    ) -> Self {
        let who = Contributor { addr, incoming: true };
        let state = State::Preambles(Box::new(preambles));
        let crypto = Crypto::new(Opening::Plain, false);
        Self { who, torrent: None, transport, refused: None, state, hello: None, crypto, began }
    }

    /// Where what is said before the session goes.
    pub(super) fn hello(&mut self) -> &mut Tx {
        self.hello.get_or_insert_default()
    }

    pub(super) fn who(&self) -> Contributor {
        self.who
    }

    /// The torrent it belongs to, if that is known.
    pub(super) fn torrent(&self) -> Option<Key> {
        self.torrent
    }

    /// When it was dialled, by the transport that it is dialled by now, or accepted.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// The transport is not there yet.
    pub(super) fn is_connecting(&self) -> bool {
        matches!(self.state, State::Connecting)
    }

    /// Whether the peer's handshake has not come.
    pub(super) fn is_ungreeted(&self) -> bool {
        matches!(self.state, State::Connecting | State::Preambles(_))
    }

    /// This socket of uTP is to carry it.
    pub(super) fn carry_by_utp(&mut self, socket: Key) {
        self.transport = Transport::Utp(socket);
    }

    /// It is dialled by another transport at `now`; `refused`: why the first does not carry it.
    pub(super) fn dial_anew(&mut self, now: Instant, refused: Option<ErrorKind>) {
        (self.began, self.refused) = (now, refused);
    }

    /// Why the transport that was tried first does not carry it.
    pub(super) fn refused(&self) -> Option<ErrorKind> {
        self.refused
    }

    /// How we dialled it.
    pub(super) fn opening(&self) -> Opening {
        self.crypto.opening
    }

    /// Whether the other opening has been tried, just before.
    pub(super) fn is_second_dial(&self) -> bool {
        self.crypto.is_second
    }

    /// See [`Crypto::fits`].
    pub(super) fn fits(&self, torrent: &Torrent, conf: &Conf) -> bool {
        self.crypto.fits(torrent, conf)
    }

    /// The transport is there: these are to be said and heard until the peer's handshake is whole.
    pub(super) fn begin_preambles(&mut self, preambles: Preambles) {
        self.state = State::Preambles(Box::new(preambles));
    }

    /// What is said and heard until the peer's handshake is whole, where the first goes, and what
    /// comes of it for what follows; `None` if that is over or has not begun.
    pub(super) fn preambles(&mut self) -> Option<(&mut Preambles, &mut Tx, &mut Crypto)> {
        let State::Preambles(preambles) = &mut self.state else { return None };
        Some((preambles, self.hello.get_or_insert_default(), &mut self.crypto))
    }

    /// The peer's handshake has come, and it waits for `torrent` to wake.
    pub(super) fn wait_for(&mut self, torrent: Key, handshake: Handshake) {
        self.torrent = Some(torrent);
        self.state = State::Waiting(Box::new(Greeting { handshake, early: Vec::new() }));
    }

    /// The handshake of a peer that waits, and what has come behind it.
    pub(super) fn take_greeting(&mut self) -> Option<(Handshake, Vec<u8>)> {
        let State::Waiting(greeting) = &mut self.state else { return None };
        Some((greeting.handshake, std::mem::take(&mut greeting.early)))
    }

    /// What is to be sent before there is a session.
    pub(super) fn unsent_hello(&mut self) -> Option<&mut Tx> {
        self.hello.as_deref_mut()
    }

    /// Whether what we send on it is enciphered, or will be.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_encrypted(&self) -> bool {
        match &self.state {
            State::Preambles(preambles) => preambles.is_encrypted(),
            _ => self.crypto.method.is_some(),
        }
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_in_handshake(&self) -> bool {
        matches!(self.state, State::Preambles(_) | State::Waiting(_))
    }

    /// Whether it is connected, and nothing has come that shows that the peer speaks as we did.
    fn is_unheard(&self) -> bool {
        matches!(&self.state, State::Preambles(preambles) if preambles.is_fruitless())
    }

    /// Whether it has greeted and waits for its torrent.
    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(_))
    }

    /// Whether it was accepted, and its handshake has not come or has not been answered.
    fn is_greeting(&self) -> bool {
        self.who.incoming && matches!(self.state, State::Preambles(_) | State::Waiting(_))
    }

    /// The socket of uTP that carries it, if one does.
    pub(super) fn utp_socket(&self) -> Option<Key> {
        match self.transport {
            Transport::Utp(socket) => Some(socket),
            Transport::Stream => None,
        }
    }

    /// Its session and the torrent that has that.
    pub(super) fn session_and_torrent(&self) -> Option<(Key, Key)> {
        self.session().zip(self.torrent)
    }

    pub(super) fn session(&self) -> Option<Key> {
        match self.state {
            State::Live(session) => Some(session),
            _ => None,
        }
    }
}

impl Engine {
    /// A peer connected to us. `None`: there is no room or it is not welcome, see
    /// [`refused`](Self::refused), and the driver closes the socket at once.
    pub fn handle_accepted(&mut self, now: Instant, addr: SocketAddr) -> Option<StreamId> {
        self.handle_tick(now);
        if !self.cx.conf.network.transports.tcp() || self.cx.conf.proxy.carries(Traffic::Peers) {
            return None;
        }
        self.accept(addr, Transport::Stream).map(StreamId::Peer)
    }

    /// A peer connected to us by `transport`. `None`: it is not taken.
    pub(super) fn accept(&mut self, addr: SocketAddr, transport: Transport) -> Option<Key> {
        if !self.admits(addr.ip()) {
            return None;
        }
        let deadline = self.cx.now + self.cx.conf.peers.handshake_timeout;
        let preambles = self.incoming_preambles();
        let connection = Connection::incoming(addr, transport, preambles, self.cx.now);
        let connection = self.connections.insert(connection);
        self.access.handle_accepted(addr.ip());
        self.cx.outbox.wake(deadline, Sleeper::Peer(connection));
        Some(connection)
    }

    /// Connects to a peer, as it is spoken to.
    pub(super) fn dial(&mut self, torrent: Key, addr: SocketAddr) {
        if let Some(t) = self.torrents.get(torrent) {
            let policy = t.encryption(&self.cx.conf);
            let opening = t.peers().candidates().opening(addr, policy);
            self.dial_as(torrent, addr, Crypto::new(opening, false));
        }
    }

    pub(super) fn dial_as(&mut self, torrent: Key, addr: SocketAddr, crypto: Crypto) {
        let connection = Connection::outgoing(torrent, addr, crypto, self.cx.now);
        let connection = self.connections.insert(connection);
        self.dialing.begin();
        self.access.handle_dialled(addr.ip());
        if let Some(torrent) = self.torrents.get_mut(torrent) {
            torrent.begin_dial();
        }
        self.open_transport(connection);
    }

    /// The transport of a connection that we dialled is there.
    pub(super) fn connection_connected(&mut self, key: Key) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let Some(torrent) = connection.torrent.and_then(|t| self.torrents.get(t)) else { return };
        if matches!(connection.state, State::Connecting) {
            self.dialing.end();
            let by_v2 = torrent.peers().candidates().is_dialled_by_v2(connection.who.addr);
            let (info_hash, upgrade) = torrent.identity().dial_hash(by_v2);
            self.begin_preambles(key, info_hash, upgrade);
        }
        // It no longer counts as being dialled, so another may be.
        self.dial_candidates();
    }

    /// Bytes came on a connection.
    pub(super) fn connection_data(&mut self, key: Key, data: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        if let Some(cipher) = &mut connection.crypto.incoming {
            cipher.apply(data);
        }
        match &mut connection.state {
            State::Connecting | State::Mirror => {}
            State::Preambles(_) => {
                let Some((handshake, used)) = self.feed_preambles(key, data) else { return };
                self.handshake_done(key, handshake);
                // What came behind the handshake belongs to the session, if it has become one or
                // will.
                let behind = data.get(used..).unwrap_or_default();
                match self.connections.get_mut(key).map(|connection| &mut connection.state) {
                    Some(State::Live(_)) => self.session_data(key, behind),
                    Some(State::Waiting(greeting)) => greeting.early.extend_from_slice(behind),
                    _ => {}
                }
            }
            // It should not have been read: `read_quota` is zero.
            State::Waiting(greeting)
                if greeting.early.len() + data.len() <= self.cx.conf.network.read_len =>
            {
                greeting.early.extend_from_slice(data)
            }
            State::Waiting(_) => self.close(
                key,
                Disconnect::new(PeerGoneKind::Violation, "it sends too much before it is greeted"),
            ),
            State::Live(_) => self.session_data(key, data),
        }
    }

    /// What a peer said before its handshake, or that, is wrong.
    pub(super) fn fail_preambles(&mut self, key: Key, error: PreambleError) {
        let reason = Disconnect::new(PeerGoneKind::Violation, error.to_string());
        if error.is_of_language() {
            self.close_unheard(key, reason);
        } else {
            self.close(key, reason);
        }
    }

    /// Ends a connection whose peer may not speak as we did.
    fn close_unheard(&mut self, key: Key, reason: Disconnect) {
        if self.connections.get(key).is_some() {
            self.close_transport(key);
            self.end_unheard(key, reason);
        }
    }

    /// The same, of one that is closed.
    fn end_unheard(&mut self, key: Key, reason: Disconnect) {
        if !self.dial_other_way(key) {
            self.end(key, reason);
        }
    }

    /// Fills `out` with what is to be sent next on a connection.
    pub(super) fn connection_transmit<'a>(
        &'a mut self,
        key: Key,
        out: &mut [IoSlice<'a>],
    ) -> usize {
        let quota = self.send_quota(key);
        let Some(connection) = self.connections.get_mut(key) else { return 0 };
        let Some((session, torrent)) = connection.session_and_torrent() else {
            let hello = connection.hello.as_mut();
            return hello.map_or(0, |hello| hello.poll_transmit(out, usize::MAX));
        };
        let torrent = self.torrents.get_mut(torrent);
        let tx = torrent.and_then(|torrent| torrent.tx_mut(session));
        tx.map_or(0, |tx| tx.poll_transmit(out, quota))
    }

    /// So many of them are on their way.
    pub(super) fn connection_sent(&mut self, key: Key, bytes: usize) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        match connection.session_and_torrent() {
            Some((session, torrent)) => {
                self.throttle.spend_up(self.cx.now, key, torrent, bytes);
                let key = torrent;
                if let Some(torrent) = self.torrents.get_mut(key) {
                    self.ledger.touch(key, torrent);
                    torrent.handle_sent(session, bytes, &mut self.cx);
                }
            }
            None => {
                if let Some(hello) = &mut connection.hello {
                    hello.handle_sent(bytes, drop);
                }
            }
        }
    }

    /// A connection's socket takes no more bytes for now, or takes them again.
    pub(super) fn connection_writable(&mut self, key: Key, writable: bool) {
        let Some((session, torrent)) =
            self.connections.get(key).and_then(|l| l.session_and_torrent())
        else {
            return;
        };
        if let Some(torrent) = self.torrents.get_mut(torrent) {
            torrent.handle_writable(session, writable, &mut self.cx);
        }
    }

    /// A connection is over, or could not be made.
    pub(super) fn connection_closed(&mut self, key: Key, cause: CloseCause) {
        let is_unreachable = matches!(cause, CloseCause::Io(_) | CloseCause::NoAddress);
        let is_network_away = self.is_network_away(key, &cause);
        let refused = match cause {
            CloseCause::Io(kind) => Some(kind),
            _ => None,
        };
        if is_unreachable && !is_network_away && self.fall_back_to_utp(key, refused) {
            return;
        }
        if let Some(connection) = self.connections.get(key) {
            let (kind, what) = match (&connection.state, &cause) {
                (State::Connecting, CloseCause::Io(kind)) => {
                    let kind = connection.refused.unwrap_or(*kind);
                    (PeerGoneKind::Unreachable, format!("it cannot be reached: {kind}"))
                }
                (State::Connecting, CloseCause::NoAddress) => {
                    (PeerGoneKind::Unreachable, format!("it cannot be reached: {cause}"))
                }
                (State::Preambles(_), CloseCause::Eof) => {
                    (PeerGoneKind::Closed, "it closed the connection without a greeting".to_owned())
                }
                (_, CloseCause::Eof) => (PeerGoneKind::Closed, cause.to_string()),
                (_, CloseCause::Proxy(why)) => (PeerGoneKind::Proxy, why.clone()),
                (_, cause) => (PeerGoneKind::Broken, cause.to_string()),
            };
            if let (CloseCause::Proxy(_), false, Some(t)) =
                (&cause, connection.who.incoming, connection.torrent)
            {
                let (now, addr) = (self.cx.now, connection.who.addr);
                let until = now + self.ways.proxy.pause(&self.cx.conf.proxy);
                if let Some(t) = self.torrents.get_mut(t) {
                    t.put_back_candidate(addr, until);
                }
            }
            if (cause == CloseCause::Exhausted || is_network_away)
                && let Some(torrent) = connection.torrent.and_then(|t| self.torrents.get_mut(t))
                && !connection.who.incoming
            {
                torrent.postpone_candidate(connection.who.addr, &mut self.cx);
            }
            let is_ours = matches!(cause, CloseCause::Exhausted | CloseCause::Proxy(_));
            let is_unheard = connection.is_unheard() && !is_ours;
            if is_unheard {
                self.end_unheard(key, Disconnect::new(kind, what));
            } else {
                self.end(key, Disconnect::new(kind, what));
            }
        }
    }

    /// Whether a peer could not be dialled since there is no network, which says nothing of it. A
    /// family that this machine does not have while it has the other is no such case: its peers
    /// would be dialled for ever.
    fn is_network_away(&self, key: Key, cause: &CloseCause) -> bool {
        let is_meant = matches!(
            cause,
            CloseCause::Io(
                ErrorKind::NetworkUnreachable
                    | ErrorKind::NetworkDown
                    | ErrorKind::AddrNotAvailable
            )
        );
        is_meant
            && self.connections.get(key).is_some_and(|connection| {
                connection.is_connecting()
                    && !self.discovery.network.has_only_other_family(connection.who.addr.ip())
            })
    }

    pub(super) fn handle_connection_timeout(&mut self, key: Key, at: Instant) {
        let timeout = self.dial_timeout(key);
        let Some(connection) = self.connections.get(key) else { return };
        if connection.session().is_none() && self.cx.now < connection.began + timeout {
            self.try_other_transport(key);
            return;
        }
        match (&connection.state, connection.torrent) {
            (State::Connecting, _) if self.ways.proxy.is_at_fault(StreamId::Peer(key)) => {
                self.close_transport(key);
                self.connection_closed(key, CloseCause::Proxy(proxy::SILENT.into()));
            }
            (State::Connecting, _) => {
                let what = match connection.refused {
                    Some(kind) => format!("it cannot be reached: {kind}"),
                    None => format!("it did not answer within {timeout:?}"),
                };
                self.close(key, Disconnect::new(PeerGoneKind::Unreachable, what));
            }
            (State::Preambles(_) | State::Mirror, _) => {
                let is_unheard = connection.is_unheard();
                let text = format!("it did not greet within {timeout:?}");
                let reason = Disconnect::new(PeerGoneKind::TimedOut, text);
                if is_unheard {
                    self.close_unheard(key, reason);
                } else {
                    self.close(key, reason);
                }
            }
            (State::Waiting(_), _) => self.close(
                key,
                Disconnect::stopped(&format!("the torrent was not open within {timeout:?}")),
            ),
            (&State::Live(session), Some(torrent)) => {
                let Some(t) = self.torrents.get_mut(torrent) else { return };
                if let Err(fault) = t.handle_session_timeout(session, at, &mut self.cx) {
                    self.close(key, fault);
                }
                self.settle(torrent);
                self.relieve();
            }
            (State::Live(_), None) => {}
        }
    }

    pub(super) fn session_data(&mut self, key: Key, data: &[u8]) {
        let Some((session, torrent)) =
            self.connections.get(key).and_then(|l| l.session_and_torrent())
        else {
            return;
        };
        if self.throttle.down.is_on() {
            let unasked = self.expects_no_blocks(session, torrent);
            self.throttle.spend_down(self.cx.now, key, torrent, data.len(), unasked);
        }
        let Some(t) = self.torrents.get_mut(torrent) else { return };
        if let Err(fault) = t.handle_data(session, data, &mut self.cx) {
            self.close(key, fault);
        }
        self.settle(torrent);
    }

    /// Ends a connection from our side.
    pub(super) fn close(&mut self, key: Key, reason: impl Into<Disconnect>) {
        if self.connections.get(key).is_some() {
            self.close_transport(key);
            self.end(key, reason.into());
        }
    }

    pub(super) fn close_transport(&mut self, key: Key) {
        match self.connections.get(key).map(|connection| connection.transport) {
            Some(Transport::Stream) => self.close_stream(StreamId::Peer(key)),
            Some(Transport::Utp(socket)) => self.ways.utp.close(self.cx.now, socket),
            None => {}
        }
    }

    /// There may be bytes to read again on a connection whose quota was zero.
    pub(super) fn resume(&mut self, key: Key) {
        match self.connections.get(key).map(|connection| connection.transport) {
            Some(Transport::Stream) => self.effect(Effect::Resume { stream: StreamId::Peer(key) }),
            Some(Transport::Utp(socket)) => self.read_utp(key, socket),
            None => {}
        }
    }

    /// Forgets a connection, and what waits for it.
    pub(super) fn forget_connection(&mut self, key: Key) -> Option<Connection> {
        let mut connection = self.connections.remove(key)?;
        self.cx.outbox.forget_flush(key);
        self.throttle.forget(key);
        self.exchanges.forget(key);
        connection.hello = None;
        let greeting = connection.is_greeting();
        self.access.handle_gone(connection.who.addr.ip(), greeting);
        debug_assert!(self.connections.len() > 0 || self.access.is_idle());
        match connection.state {
            State::Connecting => self.dialing.end(),
            State::Live(_) => self.tally.note_peer_gone(),
            _ => {}
        }
        Some(connection)
    }

    /// Forgets a connection and tells its torrent.
    fn end(&mut self, key: Key, reason: Disconnect) {
        let Some(connection) = self.forget_connection(key) else { return };
        if let (State::Waiting(_), Some(torrent)) = (&connection.state, connection.torrent) {
            self.wanting.forget_link(torrent, key);
        }
        self.dialing.look_again();
        if let Some(torrent) = connection.torrent {
            if let Some(t) = self.torrents.get_mut(torrent) {
                if !connection.who.incoming && connection.session().is_none() {
                    t.handle_dial_failed(connection.who.addr, connection.crypto.is_second);
                }
                t.handle_gone(connection.who, connection.session(), reason, &mut self.cx);
            }
            self.settle(torrent);
        } else {
            self.dial_candidates();
        }
    }
}
