//! The verbs for limits of rate, and their getters. How limits are kept is `limits`' and
//! `throttle`'s.

use std::net::SocketAddr;

use crate::{
    base::{bucket::Limits, ids::TorrentId},
    engine::{Engine, NoSuchTorrent, Verbs, session::Said},
};

impl Verbs<'_> {
    /// Limits how fast bytes come and go, over all torrents and peers, from now on. A limit holds
    /// within 2 % over any ten seconds; connections that wait share what there is evenly. All bytes
    /// of the peer protocol count but handshakes.
    ///
    /// [`Limits::default`] lifts them.
    pub fn set_limits(&mut self, limits: Limits) {
        self.engine.limit_engine(limits);
        self.engine.session_changed(Said::Limits);
    }

    /// Limits how fast a torrent's bytes come and go, within the limits of the engine, from now on
    /// until it is removed.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_torrent_limits(
        &mut self,
        id: TorrentId,
        limits: Limits,
    ) -> Result<(), NoSuchTorrent> {
        self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        self.engine.limit_torrent(id.0, limits);
        self.engine.torrent_changed(id.0);
        Ok(())
    }

    /// Limits how fast bytes of a torrent come from and go to the peer at `addr` (as
    /// [`PeerStats`](crate::PeerStats) has it), within the other limits, from now on until the
    /// torrent is removed, whether it is connected or will be.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_peer_limits(
        &mut self,
        id: TorrentId,
        addr: SocketAddr,
        limits: Limits,
    ) -> Result<(), NoSuchTorrent> {
        self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        self.engine.limit_peer(id.0, addr, limits);
        Ok(())
    }

    /// The same for every peer, now and in future, but those for which
    /// [`set_peer_limits`](Self::set_peer_limits) was called.
    pub fn set_default_peer_limits(&mut self, limits: Limits) {
        self.engine.limit_other_peers(limits);
        self.engine.session_changed(Said::PeerLimits);
    }
}

impl Engine {
    /// The limits over all torrents and peers.
    pub fn limits(&self) -> Limits {
        self.cx.conf.network.limits
    }

    /// A torrent's own limits.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn torrent_limits(&self, id: TorrentId) -> Result<Limits, NoSuchTorrent> {
        self.torrents.get(id.0).ok_or(NoSuchTorrent(id))?;
        Ok(self.limits_of(id.0))
    }
}
