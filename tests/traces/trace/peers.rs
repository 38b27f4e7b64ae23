//! Peers that come and go: who connects, who is dialled, who greets how, who breaks off.

use std::net::SocketAddr;

use cratetorrent::{
    PeerStats,
    driver::{CloseCause, StreamId},
    wire::handshake::Reserved,
};

use super::{Trace, greeting};

pub(super) struct Peer {
    pub(super) stream: StreamId,
    pub(super) said: Vec<u8>,
    pub(super) greeted: bool,
    pub(super) plain: bool,
    pub(super) closed: bool,
    pub(super) deaf: bool,
    pub(super) log: Vec<String>,
    pub(super) first: Vec<String>,
    pub(super) extended: Vec<(u8, Vec<u8>)>,
}

/// A peer of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PeerNo(pub(super) usize);

impl Trace {
    /// A peer connects.
    pub(crate) fn try_accept(&mut self) -> Option<PeerNo> {
        let addr = SocketAddr::from(([10, 0, 0, self.peers.len() as u8 + 1], 5000));
        let stream = self.engine.handle_accepted(self.now, addr)?;
        self.settle();
        Some(self.add(stream))
    }

    /// A peer connects from where `peer` is, or was.
    pub(crate) fn accept_from(&mut self, peer: PeerNo) -> PeerNo {
        let addr = SocketAddr::from(([10, 0, 0, peer.0 as u8 + 1], 5001));
        let stream = self.engine.handle_accepted(self.now, addr).unwrap();
        self.settle();
        self.add(stream)
    }

    /// A peer connects from there.
    pub(crate) fn accept_at(&mut self, addr: impl Into<SocketAddr>) -> Option<PeerNo> {
        let stream = self.engine.handle_accepted(self.now, addr.into())?;
        self.settle();
        Some(self.add(stream))
    }

    pub(crate) fn accept(&mut self) -> PeerNo {
        self.try_accept().unwrap()
    }

    fn add(&mut self, stream: StreamId) -> PeerNo {
        self.peers.push(Peer {
            stream,
            said: Vec::new(),
            greeted: false,
            plain: false,
            closed: false,
            deaf: false,
            log: Vec::new(),
            first: Vec::new(),
            extended: Vec::new(),
        });
        PeerNo(self.peers.len() - 1)
    }

    /// A peer connects and greets, with the fast extension. What it is told first is in
    /// [`greeting`](Self::greeting).
    pub(crate) fn peer(&mut self) -> PeerNo {
        self.greeted(Reserved::default().with_fast().with_extensions())
    }

    /// A peer connects and greets, without any extension.
    pub(crate) fn plain_peer(&mut self) -> PeerNo {
        let peer = self.greeted(Reserved::default());
        self.peers[peer.0].plain = true;
        peer
    }

    fn greeted(&mut self, reserved: Reserved) -> PeerNo {
        let peer = self.accept();
        let mut id = *b"-XX0000-peer........";
        id[19] = peer.0 as u8;
        self.raw(peer, &greeting(id, reserved));
        let first = self.said(peer);
        let rest = first
            .iter()
            .position(|s| s.starts_with("have ") || s == "bitfield")
            .map_or(first.len(), |at| at + 1);
        self.peers[peer.0].log = first[rest..].to_vec();
        self.peers[peer.0].first = first[..rest].to_vec();
        peer
    }

    /// What the last peer was told first.
    pub(crate) fn greeting(&self) -> Vec<String> {
        self.peers.last().unwrap().first.clone()
    }

    /// The engine dials a peer, which answers.
    pub(crate) fn dial(&mut self) -> PeerNo {
        let peer = self.dial_unanswered();
        self.connected(peer);
        peer
    }

    /// The engine hears of an address that it can dial: where the `nth` of all peers comes from,
    /// counted from 0.
    pub(crate) fn name_listener(&mut self, nth: u8) {
        let addr = SocketAddr::from(([10, 0, 0, nth + 1], 6881));
        self.engine.handle_tick(self.now);
        self.engine.verbs().add_peer(self.torrent, addr).unwrap();
        self.settle();
    }

    /// The engine dials where `peer` came from, and is answered.
    pub(crate) fn dial_back(&mut self, peer: PeerNo) -> PeerNo {
        self.name_listener(peer.0 as u8);
        let dialled = self.new_dials()[0];
        self.connected(dialled);
        dialled
    }

    pub(crate) fn dial_unanswered(&mut self) -> PeerNo {
        self.dial_many(1)[0]
    }

    /// The engine hears of so many peers; those that it dials.
    pub(crate) fn dial_many(&mut self, count: u16) -> Vec<PeerNo> {
        for n in 0..count {
            let addr = SocketAddr::from(([10, 1, 0, 1], 1000 + n));
            self.engine.handle_tick(self.now);
            self.engine.verbs().add_peer(self.torrent, addr).unwrap();
            self.settle();
        }
        self.new_dials()
    }

    /// Those that it dialled since it was last asked.
    pub(crate) fn new_dials(&mut self) -> Vec<PeerNo> {
        std::mem::take(&mut self.dials).into_iter().map(|stream| self.add(stream)).collect()
    }

    pub(crate) fn connected(&mut self, peer: PeerNo) {
        self.engine.handle_connected(self.now, self.peers[peer.0].stream);
        self.settle();
    }

    pub(crate) fn refused(&mut self, peer: PeerNo) {
        let cause = CloseCause::Io(std::io::ErrorKind::ConnectionRefused);
        self.engine.handle_closed(self.now, self.peers[peer.0].stream, cause);
        self.settle();
    }

    /// A connection breaks.
    pub(crate) fn lose(&mut self, peer: PeerNo) {
        self.engine.handle_closed(self.now, self.peers[peer.0].stream, CloseCause::Eof);
        self.settle();
    }

    /// A peer does not read what is sent to it.
    pub(crate) fn set_deaf(&mut self, peer: PeerNo, deaf: bool) {
        self.peers[peer.0].deaf = deaf;
        self.settle();
    }

    pub(crate) fn is_closed(&self, peer: PeerNo) -> bool {
        self.peers[peer.0].closed
    }

    /// How a connected peer stands.
    pub(crate) fn peer_stats(&self, peer: PeerNo) -> PeerStats {
        let ip = std::net::IpAddr::from([10, 0, 0, peer.0 as u8 + 1]);
        self.engine.peers(self.torrent).into_iter().find(|p| p.addr.ip() == ip).unwrap()
    }

    pub(crate) fn snubbed(&self, peer: PeerNo) -> bool {
        let ip = [10, 0, 0, peer.0 as u8 + 1];
        let peers = self.engine.peers(self.torrent);
        peers.iter().any(|p| p.addr.ip() == std::net::IpAddr::from(ip) && p.snubbed)
    }
}
