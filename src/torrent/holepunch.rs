//! A torrent and hole punching (BEP 55): two peers that cannot dial each other do so at the same
//! time, because a third one that both are connected to says so. Here it is each of the three.
//!
//! A rendezvous is asked for when a peer that another has named (BEP 11) cannot be dialled; before
//! that, if who named it says that it has dialled others and not this one. The peer has to take
//! part, by its flag in peer exchange: the relay would refuse all else.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    base::arena::Key,
    proto::holepunch::may_name,
    torrent::{Torrent, candidates::Source, cx::Cx, peer_session::PeerSession},
    wire::ut_holepunch::{HolepunchFailure, HolepunchKind},
};

/// A peer that is met by a rendezvous is dialled all the same after this time.
const RENDEZVOUS_TIME: Duration = Duration::from_secs(3);

impl Torrent {
    /// The peer at `addr` could not be dialled: the peer that has named it is asked to bring about
    /// a connection.
    pub(super) fn meet_unreached(&mut self, addr: SocketAddr, cx: &mut Cx) {
        self.ask_for_rendezvous(addr, cx.conf.peers.max_rendezvous, cx);
    }

    /// The peer at `addr` is about to be dialled for the first time. True if a rendezvous comes
    /// before that, for which half of those that may be asked for are there.
    pub(crate) fn meets_first(&mut self, addr: SocketAddr, cx: &mut Cx) -> bool {
        let first = self.peers.candidates_mut().take_punch_first(addr);
        let asked = first && self.ask_for_rendezvous(addr, cx.conf.peers.max_rendezvous / 2, cx);
        if asked {
            self.peers.candidates_mut().put_back(addr, cx.now + RENDEZVOUS_TIME);
        }
        asked
    }

    /// Asks who has named the peer at `addr` for a rendezvous with it; false if that cannot be, or
    /// `most` were asked for in this minute.
    fn ask_for_rendezvous(&mut self, addr: SocketAddr, most: usize, cx: &mut Cx) -> bool {
        let candidates = self.peers.candidates();
        if !self.swarm.exchanges_peers() || !self.is_active() || !candidates.punches(addr) {
            return false;
        }
        let Some(relay) = candidates.named_by(addr) else { return false };
        let is_relay = |s: &PeerSession| s.punches() && s.who().addr.ip().to_canonical() == relay;
        let Some(key) = self.peers.iter().find(|(_, s)| is_relay(s)).map(|(key, _)| key) else {
            return false;
        };
        if !self.peers.punches_mut().ask(cx.now, addr, most) {
            return false;
        }
        log::debug!("{relay} is asked to connect us with {addr}");
        if let Some(session) = self.peers.get_mut(key) {
            session.say_punch(HolepunchKind::Rendezvous, addr, cx);
            session.schedule(cx);
        }
        true
    }

    /// A peer wants to be connected with another that we may know.
    pub(super) fn handle_rendezvous(&mut self, from: Key, target: SocketAddr, cx: &mut Cx) {
        let Some(initiator) = self.peers.get(from).map(|s| s.dial_addr()) else { return };
        if let Err(failure) = self.relay(from, initiator, target, cx)
            && let Some(session) = self.peers.get_mut(from)
        {
            session.say_punch(HolepunchKind::Error(failure), target, cx);
            session.schedule(cx);
        }
    }

    fn relay(
        &mut self,
        from: Key,
        initiator: SocketAddr,
        target: SocketAddr,
        cx: &mut Cx,
    ) -> Result<(), HolepunchFailure> {
        // Peers of the local network are not for those beyond it to reach.
        if !may_name(initiator.ip(), target) || !may_name(target.ip(), initiator) {
            return Err(HolepunchFailure::NoSuchPeer);
        }
        let ours = cx.leases.external().ours(cx.leases.ports());
        if ours.is_at(target) {
            return Err(HolepunchFailure::NoSelf);
        }
        let is_target = |key: Key, s: &PeerSession| key != from && s.dial_addr() == target;
        let found = self.peers.iter().find(|&(key, s)| is_target(key, s));
        let (key, punches) = found.map(|(key, s)| (key, s.punches())).unzip();
        let key = key.ok_or(HolepunchFailure::NotConnected)?;
        if punches != Some(true) {
            return Err(HolepunchFailure::NoSupport);
        }
        for (key, addr) in [(key, initiator), (from, target)] {
            let Some(session) = self.peers.get_mut(key) else { break };
            // A peer that is asked too often is left alone, and so is the one that wants it.
            if !session.say_connect(addr, cx) {
                break;
            }
            session.schedule(cx);
        }
        Ok(())
    }

    /// A relay has said that the peer at `addr` dials us now: it is to be dialled at once.
    pub(super) fn handle_punch(&mut self, relay: IpAddr, addr: SocketAddr, cx: &mut Cx) {
        if !self.swarm.exchanges_peers()
            || self.peers.iter().any(|(_, s)| s.dial_addr() == addr)
            || !self.peers.punches_mut().dial(cx.now, relay, addr, cx.conf.peers.max_rendezvous)
        {
            return;
        }
        log::debug!("{relay} connects us with {addr}");
        let candidates = self.peers.candidates_mut();
        if candidates.add(cx.now, addr, Source::Pex(relay), &cx.conf) {
            // Datagrams leave from the port that the other side knows, streams do not.
            candidates.prefer_utp(addr);
            candidates.hasten(cx.now, addr);
        }
    }
}
