//! What a ledger is about: which torrent, what its pieces should hash to, and what peers may be
//! told of its metainfo and of each other.

use super::{PieceHashes, Swarm};
use crate::{
    base::{
        arena::Key,
        geometry::{Geometry, PieceIndex},
        hash::PieceHash,
        ids::InfoHash,
        trees::Trees,
    },
    torrent::info::Info,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Subject {
    torrent: Key,
    info_hash: InfoHash,
    hashes: PieceHashes,
    /// What peers may have of the metainfo (BEP 9).
    info: Option<Info>,
    /// Peers may be told of each other (BEP 11).
    exchanges_peers: bool,
}

impl Subject {
    pub(super) fn new(torrent: Key, info_hash: InfoHash, hashes: PieceHashes) -> Self {
        Self { torrent, info_hash, hashes, info: None, exchanges_peers: false }
    }

    /// What is known of its trees grows.
    pub(super) fn trees_mut(&mut self) -> Option<&mut Trees> {
        self.hashes.trees_mut()
    }
}

impl Swarm {
    /// Peers may have this info dictionary, or none.
    pub(crate) fn set_info(&mut self, info: Option<Info>) {
        self.subject.info = info;
    }

    /// The info dictionary, if peers may have it.
    pub(crate) fn info(&self) -> Option<&Info> {
        self.subject.info.as_ref()
    }

    /// The same, to be read or let go of.
    pub(crate) fn info_mut(&mut self) -> Option<&mut Info> {
        self.subject.info.as_mut()
    }

    /// Peers may be told of each other (BEP 11), or not.
    pub(crate) fn set_exchanges_peers(&mut self, exchanges: bool) {
        self.subject.exchanges_peers = exchanges;
    }

    /// Whether peers may be told of each other.
    pub(crate) fn exchanges_peers(&self) -> bool {
        self.subject.exchanges_peers
    }

    /// The key of the torrent.
    pub(crate) fn torrent(&self) -> Key {
        self.subject.torrent
    }

    pub(crate) fn info_hash(&self) -> InfoHash {
        self.subject.info_hash
    }

    /// The shape of its content.
    pub(crate) fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    pub(crate) fn expected(&self, piece: PieceIndex) -> Option<PieceHash> {
        self.subject.hashes.expected(piece, &self.geometry)
    }

    /// What its pieces should hash to.
    pub(crate) fn hashes(&self) -> &PieceHashes {
        &self.subject.hashes
    }
}
