//! A torrent and what is found without trackers and peers: whether the DHT and the local network
//! hear of it, and what becomes of peers found there.

use std::net::SocketAddr;

use crate::{
    torrent::{Source, Torrent, candidates, cx::Cx},
    wire::tracker::url::Host,
};

impl Torrent {
    /// Whether the DHT and the local network hear of it: a private torrent's peers come from its
    /// trackers alone (BEP 27), and one that does not run has no use for peers.
    pub(crate) fn may_find_peers(&self) -> bool {
        let runs = self.is_active() || self.is_ready_to_wake();
        let private = self.content.metainfo().is_some_and(|metainfo| metainfo.private);
        runs && !private
    }

    /// Whether it is told to the DHT as a seed; `None` if it is not told.
    pub(crate) fn dht_seed(&self) -> Option<bool> {
        self.may_find_peers().then(|| self.content.is_known() && self.swarm.is_complete())
    }

    /// Nodes of the DHT that its metainfo or link names.
    pub(crate) fn dht_nodes(&self) -> &[(Host, u16)] {
        match self.content.source() {
            Source::Metainfo(metainfo) => &metainfo.nodes,
            Source::Magnet(magnet) => &magnet.nodes,
        }
    }

    /// A peer of the local network has announced itself.
    pub(crate) fn handle_neighbour(&mut self, addr: SocketAddr, cx: &mut Cx) {
        if !self.may_find_peers() {
            return;
        }
        log::debug!("{addr} announces {} here", self.identity.info_hash());
        self.peers.candidates_mut().add(cx.now, addr, candidates::Source::Lsd, &cx.conf);
        self.settle(cx);
    }

    /// The DHT named peers, by the v1 or the v2 hash.
    pub(crate) fn handle_dht_peers(&mut self, peers: &[SocketAddr], by_v2: bool, cx: &mut Cx) {
        if self.dht_seed().is_none() {
            return;
        }
        for &addr in peers {
            self.peers.candidates_mut().add(cx.now, addr, candidates::Source::Dht, &cx.conf);
            if by_v2 {
                self.peers.candidates_mut().note_v2(addr);
            }
        }
        log::debug!("the DHT named {} peers of {}", peers.len(), self.identity.info_hash());
        self.settle(cx);
    }
}
