//! A torrent and peer exchange (BEP 11): when peers are told of each other, and what becomes of
//! those that they name.
//!
//! Each is told once a minute, all at the same time; at first as soon as there is something to
//! tell.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    base::arena::Key,
    torrent::{PEX, Torrent, candidates::Source, cx::Cx},
    wire::ut_pex::PexFlags,
};

/// How long peers that come are gathered before those are told that know nothing yet.
const GATHER: Duration = Duration::from_secs(1);

impl Torrent {
    /// A peer at `from` has named others.
    pub(super) fn handle_named(
        &mut self,
        from: IpAddr,
        peers: &[(SocketAddr, PexFlags)],
        cx: &mut Cx,
    ) {
        if !self.swarm.exchanges_peers() || peers.is_empty() {
            return;
        }
        log::debug!("{from} names {} peers", peers.len());
        let candidates = self.peers.candidates_mut();
        // Not all tell it: libtorrent does not.
        let tells_reach = peers.iter().any(|(_, flags)| flags.contains(PexFlags::REACHABLE));
        for &(addr, flags) in peers {
            candidates.add(cx.now, addr, Source::Pex(from), &cx.conf);
            if flags.contains(PexFlags::HOLEPUNCH) {
                candidates.note_punches(addr, tells_reach && !flags.contains(PexFlags::REACHABLE));
            }
            if flags.contains(PexFlags::ENCRYPTION) {
                candidates.note_encrypts(addr);
            }
        }
    }

    /// A peer has come that others may be told of.
    pub(super) fn expect_peer_exchange(&mut self, cx: &Cx) {
        let soon = cx.now + GATHER;
        if self.swarm.exchanges_peers() && self.timers.get(PEX).is_none_or(|at| soon < at) {
            self.timers.set(PEX, soon);
        }
    }

    /// A peer wants to be told of others.
    pub(super) fn tell_of_peers_at_first(&mut self, peer: Key, cx: &mut Cx) {
        if self.swarm.exchanges_peers() {
            self.peers.tell_of_others(peer, &self.swarm, cx);
        }
    }

    /// It is time to tell peers of each other.
    pub(super) fn tell_of_peers(&mut self, cx: &mut Cx) {
        if self.swarm.exchanges_peers()
            && let Some(next) = self.peers.tell_all_of_others(&self.swarm, cx)
        {
            self.timers.set(PEX, next);
        }
    }
}
