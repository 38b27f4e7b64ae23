//! What a torrent is known by: its key in the engine, its info-hashes, the labels and the number of
//! its user. It knows nothing of what the torrent does.

use crate::{
    base::{
        arena::Key,
        ids::{Identity, InfoHash, TorrentId, WireHash},
    },
    wire::handshake::Handshake,
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

    /// The metainfo has come, and has hashes that the link did not have.
    pub(super) fn set_hashes(&mut self, hashes: Identity) {
        self.hashes = hashes;
    }

    /// Its info-hash as the wire has it.
    pub(crate) fn info_hash(&self) -> InfoHash {
        self.hashes.info_hash()
    }

    /// By which hash a peer is dialled, and by which it may answer instead: the v1 hash of a
    /// hybrid, unless the peer is known by the v2 hash, or that is the only one.
    pub(crate) fn dial_hash(&self, by_v2: bool) -> (InfoHash, Option<InfoHash>) {
        let v2 = self.hashes.v2().map(|hash| hash.truncated());
        match (self.hashes.v1(), v2) {
            (Some(v1), upgrade) if !by_v2 || upgrade.is_none() => (v1, upgrade),
            (_, Some(v2)) => (v2, None),
            _ => (self.info_hash(), None),
        }
    }

    /// By which hash a connection goes on whose handshake has come: as it says, but that one which
    /// was dialled by the v1 hash of a hybrid goes on by the v2 hash if both can (BEP 52, "Upgrade
    /// Path").
    pub(crate) fn answer_to(&self, handshake: &Handshake, incoming: bool) -> WireHash {
        let v2 = self.hashes.v2().map(|hash| hash.truncated());
        match v2 {
            Some(v2) if self.hashes.v1() != Some(handshake.info_hash) => WireHash::v2(v2),
            Some(v2) if incoming && handshake.reserved.v2() => WireHash::v2(v2),
            _ => WireHash::v1(handshake.info_hash),
        }
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

    pub(super) fn set_user_data(&mut self, data: u64) {
        self.user_data = data;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::{
            arena::Arena,
            ids::{InfoHashV2, PeerId},
        },
        wire::handshake::Reserved,
    };

    const V1: InfoHash = InfoHash([1; 20]);
    const V2: InfoHash = InfoHash([2; 20]);

    fn of(hashes: Identity) -> TorrentIdentity {
        TorrentIdentity::new(Arena::new().insert(()), hashes, Vec::new(), 0)
    }

    #[test]
    fn hybrid_is_dialled_by_v1_unless_the_peer_is_known_by_v2() {
        let (v1, v2) = (Identity::of_v1(V1), Identity::of_v2(InfoHashV2([2; 32])));
        let hybrid = Identity::hybrid(V1, InfoHashV2([2; 32]));
        let dial = |hashes, by_v2| of(hashes).dial_hash(by_v2);
        assert_eq!([false, true].map(|by| dial(v1, by)), [(V1, None); 2]);
        assert_eq!([false, true].map(|by| dial(v2, by)), [(V2, None); 2]);
        assert_eq!(dial(hybrid, false), (V1, Some(V2)));
        assert_eq!(dial(hybrid, true), (V2, None));
    }

    #[test]
    fn connection_goes_on_by_v2_if_both_can() {
        let hybrid = of(Identity::hybrid(V1, InfoHashV2([2; 32])));
        let answer = |who: &TorrentIdentity, info_hash, v2: bool, incoming| {
            let reserved = if v2 { Reserved::default().with_v2() } else { Reserved::default() };
            let handshake = Handshake { reserved, info_hash, peer_id: PeerId([0; 20]) };
            who.answer_to(&handshake, incoming)
        };
        assert_eq!(answer(&hybrid, V1, true, true), WireHash::v2(V2));
        assert_eq!(answer(&hybrid, V1, false, true), WireHash::v1(V1));
        assert_eq!(answer(&hybrid, V2, false, true), WireHash::v2(V2));
        // We dialled by v1: the peer decides, by its answer.
        assert_eq!(answer(&hybrid, V1, true, false), WireHash::v1(V1));
        assert_eq!(answer(&hybrid, V2, false, false), WireHash::v2(V2));
        let v1 = of(Identity::of_v1(V1));
        assert_eq!(answer(&v1, V1, true, true), WireHash::v1(V1));
    }
}
