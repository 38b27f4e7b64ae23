//! What a torrent is known by: its key in the engine, its info-hashes, the labels and the number of
//! its user. It knows nothing of what the torrent does.

use crate::base::{
    arena::Key,
    ids::{Identity, InfoHash, TorrentId},
};

/// See the module.
#[derive(Debug)]
pub(crate) struct TorrentIdentity {
    id: TorrentId,
    hashes: Identity,
    labels: Vec<String>,
    user_data: u64,
}

impl TorrentIdentity {
    pub(super) fn new(key: Key, hashes: Identity, labels: Vec<String>, user_data: u64) -> Self {
        Self { id: TorrentId(key), hashes, labels, user_data }
    }

    pub(super) fn id(&self) -> TorrentId {
        self.id
    }

    pub(super) fn key(&self) -> Key {
        self.id.0
    }

    /// Its info-hashes of both versions.
    pub(crate) fn hashes(&self) -> &Identity {
        &self.hashes
    }

    /// Its info-hash as the wire has it.
    pub(crate) fn info_hash(&self) -> InfoHash {
        self.hashes.info_hash()
    }

    pub(crate) fn labels(&self) -> &[String] {
        &self.labels
    }

    pub(super) fn set_labels(&mut self, labels: Vec<String>) {
        self.labels = labels;
    }

    /// What the user has tied to it.
    pub(crate) fn user_data(&self) -> u64 {
        self.user_data
    }

    pub(crate) fn set_user_data(&mut self, data: u64) {
        self.user_data = data;
    }
}
