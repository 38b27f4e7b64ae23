//! What the torrent and the engine may know of a peer: who it is, and how the connection stands.

use std::net::SocketAddr;

use super::PeerSession;
use crate::{
    base::{arena::Key, ids::PeerId, time::Instant},
    conf::CryptoMethod,
    proto::pipeline::Pipeline,
    torrent::{progress::Contributor, standing::Standing},
};

impl PeerSession {
    /// The connection.
    pub(crate) fn link(&self) -> Key {
        self.outgoing.link()
    }

    /// The address, and which end has dialled.
    pub(crate) fn who(&self) -> Contributor {
        self.peer.who
    }

    /// Its id, by its own word.
    pub(crate) fn peer_id(&self) -> PeerId {
        self.peer.terms.peer_id
    }

    /// Whether it is connected by uTP (BEP 29).
    pub(crate) fn is_utp(&self) -> bool {
        self.peer.terms.utp
    }

    /// Its program and version, by its own word (BEP 10 `v`).
    pub(crate) fn client(&self) -> Option<&str> {
        self.peer.extensions.client()
    }

    /// How the connection is encrypted, if it is.
    pub(crate) fn encryption(&self) -> Option<CryptoMethod> {
        self.peer.terms.encryption
    }

    /// When the handshake was over.
    pub(crate) fn began(&self) -> Instant {
        self.liveness.began()
    }

    /// When something came last.
    pub(crate) fn heard(&self) -> Instant {
        self.liveness.heard()
    }

    /// Since when it is connected, if nothing has come after its handshake.
    pub(crate) fn mute_since(&self) -> Option<Instant> {
        self.liveness.mute_since()
    }

    /// What is on order with it, and how fast it delivers.
    pub(crate) fn pipeline(&self) -> &Pipeline {
        self.requests.pipeline()
    }

    /// Bytes per second of blocks from it that were of use, over some twenty seconds.
    pub(crate) fn useful_rate(&self, now: Instant) -> u64 {
        self.requests.useful_rate(now)
    }

    /// Bytes of blocks that were sent to it.
    pub(crate) fn bytes_sent(&self) -> u64 {
        self.uploads.sent()
    }

    /// The same per second, over some twenty seconds.
    pub(crate) fn sent_rate(&self, now: Instant) -> u64 {
        self.uploads.rate(now)
    }

    /// Bytes of blocks that passed: those of use to us and those that it took.
    pub(crate) fn moved(&self) -> u64 {
        self.requests.useful().saturating_add(self.uploads.sent())
    }

    /// Whether one side wants something of the other and may ask for it.
    pub(crate) fn may_exchange(&self) -> bool {
        (self.is_interested() && !self.is_peer_choking())
            || (self.is_peer_interested() && !self.is_choking())
    }

    /// Either side's interest may have changed.
    pub(crate) fn note_interest(&mut self, now: Instant) {
        let peer_interested = self.is_peer_interested();
        self.peer.choke.note_interest(peer_interested, now);
    }

    /// Since when neither side wants anything of the other.
    pub(crate) fn idle_since(&self) -> Option<Instant> {
        self.peer.choke.idle_since()
    }

    /// How it stands with the choker, which keeps this.
    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    pub(crate) fn standing_mut(&mut self) -> &mut Standing {
        &mut self.standing
    }

    /// It makes room for others and is not to blame.
    pub(crate) fn let_go(&mut self) {
        self.candidacy.let_go = true;
    }

    /// Whether it makes room for others.
    pub(crate) fn is_let_go(&self) -> bool {
        self.candidacy.let_go
    }

    /// Where the peer can be dialled, if it has dialled us and that is known.
    pub(crate) fn reach(&self) -> Option<SocketAddr> {
        self.candidacy.reach
    }

    pub(crate) fn set_reach(&mut self, addr: SocketAddr) {
        self.candidacy.reach = Some(addr);
    }

    /// Whether the candidate that it can be dialled at counts as busy for its sake.
    pub(crate) fn holds(&self) -> bool {
        self.candidacy.holds
    }

    pub(crate) fn set_holds(&mut self, holds: bool) {
        self.candidacy.holds = holds;
    }
}
