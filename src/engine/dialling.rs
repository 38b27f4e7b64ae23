//! How a peer is dialled: by TCP, by uTP, or by one after the other (`Transports::Both`).
//!
//! It knows what carries a connection, not what is said on it.

use std::{io::ErrorKind, net::SocketAddr, time::Duration};

use crate::{
    base::arena::Key,
    conf::{Traffic, Transports},
    engine::{Engine, StreamId, connection::Connection, dial::Dial},
    torrent::outbox::Sleeper,
};

/// A peer that does not answer TCP is dialled by uTP after this part of the time for a handshake.
const UTP_AFTER: u32 = 3;
/// How long a peer may take to answer to uTP where TCP is spoken, too: time for a SYN and another
/// (libtorrent: 3 s). Few peers answer to uTP alone.
const UTP_PATIENCE: Duration = Duration::from_secs(3);
/// The same of one whose host has refused TCP, which is there: time for one SYN.
const UTP_PATIENCE_REFUSED: Duration = Duration::from_secs(1);

impl Engine {
    /// Dials a peer.
    pub(super) fn open_transport(&mut self, key: Key) {
        let Some(connection) = self.connections.get(key) else { return };
        let (torrent, who, began) = (connection.torrent(), connection.who(), connection.began());
        let timeout = self.cx.conf.peers.handshake_timeout;
        self.cx.outbox.wake(began + timeout, Sleeper::Peer(key));
        let transports = self.dialled_transports();
        let torrent = torrent.and_then(|torrent| self.torrents.get(torrent));
        let prefers_utp = torrent.is_some_and(|t| t.peers().candidates().prefers_utp(who.addr));
        if transports == Transports::Utp || (transports.utp() && prefers_utp) {
            self.cx.outbox.wake(began + self.utp_patience(None), Sleeper::Peer(key));
            return self.dial_utp(key, who.addr);
        }
        if transports.utp() {
            self.cx.outbox.wake(began + timeout / UTP_AFTER, Sleeper::Peer(key));
        }
        let dial =
            Dial { to: who.addr.into(), tls: None, forwarded: false, traffic: Traffic::Peers };
        self.open_stream(StreamId::Peer(key), dial);
    }

    /// Dials by uTP. Without a socket for it the dial times out.
    fn dial_utp(&mut self, key: Key, addr: SocketAddr) {
        if let Some(socket) = self.ways.utp.dial(self.cx.now, addr, key)
            && let Some(connection) = self.connections.get_mut(key)
        {
            connection.carry_by_utp(socket);
        }
    }

    /// Whether a peer that TCP has not reached is to be dialled by uTP.
    fn may_fall_back(&self, key: Key) -> bool {
        self.dialled_transports() == Transports::Both
            && self.connections.get(key).is_some_and(|connection| {
                let torrent = connection.torrent().and_then(|torrent| self.torrents.get(torrent));
                connection.is_connecting()
                    && connection.utp_socket().is_none()
                    && torrent.is_some_and(|t| {
                        t.peers().candidates().may_answer_to_utp(connection.who().addr)
                    })
            })
    }

    /// Whether a peer is being dialled by uTP where both transports are spoken.
    fn is_last_resort(&self, key: Key) -> bool {
        self.dialled_transports() == Transports::Both
            && self.connections.get(key).is_some_and(|connection| {
                connection.is_connecting() && connection.utp_socket().is_some()
            })
    }

    /// How long a connection may take from its dial on to its session.
    pub(super) fn dial_timeout(&self, key: Key) -> Duration {
        if self.is_last_resort(key) {
            let refused = self.connections.get(key).and_then(Connection::refused);
            self.utp_patience(refused)
        } else {
            self.cx.conf.peers.handshake_timeout
        }
    }

    /// Some time of a dial has passed: the other transport may answer.
    pub(super) fn try_other_transport(&mut self, key: Key) {
        let patience = self.cx.conf.peers.handshake_timeout / UTP_AFTER;
        let is_due = self.connections.get(key).is_some_and(|c| self.cx.now >= c.began() + patience);
        if is_due && self.may_fall_back(key) {
            self.close_transport(key);
            self.fall_back_to_utp(key, None);
        }
    }

    /// How long a peer that is dialled by uTP may take to answer where both transports are spoken.
    /// `refused`: what TCP has said.
    fn utp_patience(&self, refused: Option<ErrorKind>) -> Duration {
        let is_there = refused == Some(ErrorKind::ConnectionRefused);
        let patience = if is_there { UTP_PATIENCE_REFUSED } else { UTP_PATIENCE };
        patience.min(self.cx.conf.peers.handshake_timeout)
    }

    /// Dials a peer that TCP has not reached, and `refused` why, by uTP; false if it is not to be.
    pub(super) fn fall_back_to_utp(&mut self, key: Key, refused: Option<ErrorKind>) -> bool {
        if !self.may_fall_back(key) {
            return false;
        }
        let (now, timeout) = (self.cx.now, self.cx.conf.peers.handshake_timeout);
        let patience = self.utp_patience(refused);
        let Some(connection) = self.connections.get_mut(key) else { return false };
        connection.dial_anew(now, refused);
        let addr = connection.who().addr;
        self.cx.outbox.wake(now + patience, Sleeper::Peer(key));
        self.cx.outbox.wake(now + timeout, Sleeper::Peer(key));
        self.dial_utp(key, addr);
        self.connections.get(key).is_some_and(|connection| connection.utp_socket().is_some())
    }
}
