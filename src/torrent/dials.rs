//! What the engine tells a torrent of its candidates and of connections with them, before they are
//! sessions: which is dialled, how that ends, and what is known of an address by then.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use crate::{
    base::{arena::Key, ip_filter::IpFilter, time::Instant},
    conf::Encryption,
    torrent::{
        Torrent,
        candidates::{Opening, Source},
        cx::Cx,
        peers::{Parting, Peers},
        priority::Ours,
        progress::Contributor,
    },
};

impl Torrent {
    /// Its peers, candidates and dials.
    pub(crate) fn peers(&self) -> &Peers {
        &self.peers
    }

    /// There is a peer at `addr`. Nothing happens if it is known, banned, or one too many.
    pub(crate) fn add_candidate(&mut self, addr: SocketAddr, source: Source, cx: &Cx) {
        self.peers.candidates_mut().add(cx.now, addr, source, &cx.conf);
    }

    /// The candidate that is to be dialled next, if one is due.
    pub(crate) fn poll_dial(&mut self, now: Instant) -> Option<SocketAddr> {
        self.peers.candidates_mut().poll_dial(now)
    }

    /// A candidate is being dialled.
    pub(crate) fn begin_dial(&mut self) {
        self.peers.note_dial();
    }

    /// A dial has led to a greeting, and the connection was opened so.
    pub(crate) fn handle_dial_greeted(&mut self, addr: SocketAddr, opening: Opening) {
        self.peers.note_dial_over();
        self.peers.candidates_mut().note_opened(addr, opening);
    }

    /// A dial has led to no greeting. `both`: neither encrypted nor in the clear.
    pub(crate) fn handle_dial_failed(&mut self, addr: SocketAddr, both: bool) {
        self.peers.note_dial_over();
        if both {
            self.peers.candidates_mut().note_both_failed(addr);
        }
    }

    /// A dial is over that is followed by one of the other kind at once.
    pub(crate) fn end_dial(&mut self) {
        self.peers.note_dial_over();
    }

    /// There is no room for a second dial now: the next one is of this kind.
    pub(crate) fn put_off_opening(&mut self, addr: SocketAddr, opening: Opening) {
        self.peers.candidates_mut().note_put_off(addr, opening);
    }

    /// A dial failed by no fault of the candidate, which is due again at `until`.
    pub(crate) fn put_back_candidate(&mut self, addr: SocketAddr, until: Instant) {
        self.peers.candidates_mut().put_back(addr, until);
    }

    /// A candidate cannot be dialled now, by no fault of its own.
    pub(crate) fn postpone_candidate(&mut self, addr: SocketAddr, cx: &mut Cx) {
        self.peers.candidates_mut().postpone(cx.now, addr, &mut cx.rng, &cx.conf);
    }

    /// There is no peer at `addr`, or none that is to be connected.
    pub(crate) fn forget_candidate(&mut self, addr: SocketAddr) {
        self.peers.candidates_mut().forget(addr);
    }

    /// The same of all that are meant.
    pub(crate) fn forget_candidates(&mut self, meant: impl Fn(IpAddr) -> bool) {
        self.peers.candidates_mut().forget_all(meant);
    }

    /// An address is banned no longer. Returns whether it was.
    pub(crate) fn unban(&mut self, ip: IpAddr) -> bool {
        self.peers.candidates_mut().unban(ip)
    }

    /// Addresses that the filter blocks are no candidates.
    pub(crate) fn set_filter(&mut self, filter: Arc<IpFilter>) {
        self.peers.candidates_mut().set_filter(filter);
    }

    /// Our addresses as others see them, by which candidates are preferred (BEP 40).
    pub(crate) fn set_ours(&mut self, ours: Ours) {
        self.peers.candidates_mut().set_ours(ours);
    }

    /// Whether connections with the peer at `addr` are encrypted. False if it is not known.
    pub(crate) fn set_peer_policy(&mut self, addr: SocketAddr, own: Option<Encryption>) -> bool {
        self.peers.candidates_mut().set_peer_policy(addr, own)
    }

    /// Of two connections with a peer the one that is a session stays; the other was `dialled`.
    pub(crate) fn keep_twin(&mut self, twin: Key, dialled: Contributor) {
        self.peers.keep_twin(twin, dialled);
    }

    /// Connections that are to end, once.
    pub(crate) fn take_partings(&mut self) -> Vec<Parting> {
        self.peers.take_partings()
    }
}
