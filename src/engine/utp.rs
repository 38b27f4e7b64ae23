//! Connections that uTP carries (BEP 29): datagrams become bytes of connections here, and what
//! connections have to send becomes datagrams.
//!
//! What uTP does is `proto::utp`'s. A driver sees none of these connections: their datagrams are
//! effects like others.

use std::{collections::BTreeMap, io::IoSlice, net::SocketAddr};

use crate::{
    base::{arena::Key, rng::Rng, time::Instant, timers::Wakeup},
    conf::{Conf, Traffic},
    engine::{
        CloseCause, Effect, Engine,
        connection::{Connection, Transport},
        io::Owner,
    },
    proto::utp::{UtpClose, UtpEvent, UtpLimits, UtpSockets, UtpStats, UtpTransmit},
};

/// Sets the chance of uTP apart from that of the rest.
const LABEL: u64 = 0x7574_7029;
/// Slices of what a connection has to send that are written at once.
const SLICES: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Utp {
    sockets: UtpSockets,
    wakeup: Wakeup,
    /// Which connection a socket carries.
    connections: BTreeMap<Key, Key>,
    /// A buffer to write datagrams to.
    spare: Vec<u8>,
}

impl Utp {
    pub(super) fn new(conf: &Conf, rng: &Rng) -> Self {
        let limits = UtpLimits {
            max_sockets: conf.peers.max_connections.saturating_mul(2),
            max_unconfirmed: conf.peers.max_handshakes,
            max_window: conf.network.utp_window,
            max_memory: conf.network.utp_memory,
            relayed: conf.proxy.carries(Traffic::Peers),
        };
        Self {
            sockets: UtpSockets::new(limits, rng.fork(LABEL).next_u64()),
            wakeup: Wakeup::default(),
            connections: BTreeMap::new(),
            spare: Vec::new(),
        }
    }

    /// Dials for a connection.
    pub(super) fn dial(&mut self, now: Instant, to: SocketAddr, connection: Key) -> Option<Key> {
        let socket = self.sockets.connect(now, to)?;
        self.connections.insert(socket, connection);
        Some(socket)
    }

    /// The connection of a socket is over: what was written is still sent.
    pub(super) fn close(&mut self, now: Instant, socket: Key) {
        self.connections.remove(&socket);
        self.sockets.close(now, socket, None);
    }

    /// Whether datagrams may be to be sent, or something is to be heard.
    pub(super) fn has_output(&self) -> bool {
        self.sockets.has_output()
    }
}

impl Engine {
    /// Counts of uTP since the start.
    pub fn utp_stats(&self) -> UtpStats {
        self.ways.utp.sockets.stats()
    }

    /// A datagram of uTP came.
    pub(super) fn utp_datagram(&mut self, from: SocketAddr, data: &[u8]) {
        if !self.cx.conf.network.transports.utp() || self.cx.leases.filter().blocks(from.ip()) {
            return;
        }
        let listens = self.cx.leases.ports().towards(from.ip()).is_some();
        let accepts = listens && !self.shutdown.has_begun();
        // What it brings is heard when all that wait were read.
        self.ways.utp.sockets.handle_datagram(self.cx.now, from, data, accepts);
    }

    pub(super) fn handle_utp_timeout(&mut self, at: Instant) {
        if self.ways.utp.wakeup.fire(at) {
            self.ways.utp.sockets.handle_timeout(self.cx.now);
        }
        self.plan_utp();
    }

    /// Hears what happened to sockets.
    pub(super) fn hear_utp(&mut self) {
        while let Some(event) = self.ways.utp.sockets.poll_event() {
            match event {
                UtpEvent::Accepted { socket, from } => self.accept_utp(socket, from),
                UtpEvent::Connected { socket } => {
                    if let Some(key) = self.carried_by(socket) {
                        self.connection_connected(key);
                    }
                }
                UtpEvent::Readable { socket } => {
                    if let Some(key) = self.carried_by(socket) {
                        self.read_utp(key, socket);
                    }
                }
                UtpEvent::Writable { socket } => {
                    if let Some(key) = self.carried_by(socket) {
                        self.connection_writable(key, true);
                        self.cx.outbox.flush(key);
                    }
                }
                UtpEvent::Closed { socket, cause, .. } => {
                    if let Some(key) = self.ways.utp.connections.remove(&socket) {
                        self.connection_closed(key, close_cause(cause));
                    }
                }
            }
        }
    }

    fn carried_by(&self, socket: Key) -> Option<Key> {
        self.ways.utp.connections.get(&socket).copied()
    }

    fn accept_utp(&mut self, socket: Key, from: SocketAddr) {
        match self.accept(from, Transport::Utp(socket)) {
            Some(key) => _ = self.ways.utp.connections.insert(socket, key),
            None => self.ways.utp.sockets.refuse(self.cx.now, socket),
        }
    }

    /// Reads what a socket has, as far as limits allow, in parts as a stream is read: what a part
    /// brings may stop the next.
    pub(super) fn read_utp(&mut self, key: Key, socket: Key) {
        while self.connections.get(key).is_some() {
            let quota = self.connection_quota(self.cx.now, key);
            let quota = quota.min(self.cx.conf.network.read_len);
            let mut bytes = self.ways.utp.sockets.take(self.cx.now, socket, quota);
            if bytes.is_empty() {
                break;
            }
            self.connection_data(key, &mut bytes);
        }
    }

    /// A connection has something to send. False if uTP does not carry it.
    pub(super) fn flush_utp(&mut self, key: Key) -> bool {
        let Some(socket) = self.connections.get(key).and_then(Connection::utp_socket) else {
            return false;
        };
        loop {
            let quota = self.send_quota(key);
            let now = self.cx.now;
            let Self { connections, torrents, ways, .. } = self;
            let utp = &mut ways.utp;
            let Some(connection) = connections.get_mut(key) else { break };
            let (tx, quota) = match connection.session_and_torrent() {
                None => (connection.unsent_hello(), usize::MAX),
                Some((session, torrent)) => {
                    let torrent = torrents.get_mut(torrent);
                    (torrent.and_then(|torrent| torrent.tx_mut(session)), quota)
                }
            };
            let Some(tx) = tx else { break };
            let mut slices = [IoSlice::new(&[]); SLICES];
            let count = tx.poll_transmit(&mut slices, quota);
            let (mut offered, mut taken) = (0, 0);
            for slice in slices.iter().take(count) {
                if offered == taken {
                    taken += utp.sockets.write(now, socket, slice);
                }
                offered += slice.len();
            }
            if taken > 0 {
                self.connection_sent(key, taken);
            }
            if taken < offered {
                self.connection_writable(key, false);
            }
            if taken < offered || offered == 0 {
                break;
            }
        }
        true
    }

    /// The next datagrams of uTP. Those that came have been read by now, or as many as are read at
    /// once: what came of them is acknowledged.
    #[must_use]
    pub(super) fn poll_utp(&mut self) -> Option<Effect> {
        if !self.ways.utp.sockets.has_output() {
            self.plan_utp();
            return None;
        }
        self.ways.utp.sockets.handle_drained();
        let mut data = std::mem::take(&mut self.ways.utp.spare);
        let burst = self.ways.utp.sockets.poll_transmit(self.cx.now, &mut data);
        self.plan_utp();
        let Some(UtpTransmit { to, segment, is_probe }) = burst else {
            self.ways.utp.spare = data;
            return None;
        };
        self.send_segments(to, data, segment, is_probe)
    }

    fn plan_utp(&mut self) {
        if let Some(at) = self.ways.utp.sockets.poll_timeout()
            && self.ways.utp.wakeup.want(at)
        {
            self.io.wake(at, Owner::Utp);
        }
    }
}

fn close_cause(cause: UtpClose) -> CloseCause {
    match cause {
        UtpClose::End => CloseCause::Eof,
        UtpClose::Reset => CloseCause::Io(std::io::ErrorKind::ConnectionReset),
        UtpClose::TimedOut => CloseCause::Io(std::io::ErrorKind::TimedOut),
    }
}
