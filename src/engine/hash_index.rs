//! From the hashes of the wire to the torrents that they name. It knows keys, and nothing else of
//! the torrents.

use std::collections::HashMap;

use crate::{
    base::{
        arena::Key,
        ids::{Identity, InfoHash, WireHash},
    },
    proto::{mse::torrent_mark, preamble::TorrentMarks},
};

/// The torrents by each of their hashes: a hybrid has two. Only looked up, so its order never
/// matters.
#[derive(Debug, Default)]
pub(super) struct HashIndex {
    torrents: HashMap<WireHash, Key>,
    /// The hashes by what stands for them in encrypted handshakes.
    marks: HashMap<[u8; 20], InfoHash>,
}

impl HashIndex {
    pub(super) fn reserve(&mut self, torrents: usize) {
        self.torrents.reserve(torrents);
        self.marks.reserve(torrents);
    }

    pub(super) fn insert(&mut self, identity: &Identity, torrent: Key) {
        for hash in identity.wire_hashes() {
            self.torrents.insert(hash, torrent);
            self.marks.insert(torrent_mark(hash.hash), hash.hash);
        }
    }

    /// The torrent goes. A hash that is another's by now stays.
    pub(super) fn remove(&mut self, identity: &Identity, torrent: Key) {
        for hash in identity.wire_hashes() {
            if self.torrents.get(&hash) != Some(&torrent) {
                continue;
            }
            self.torrents.remove(&hash);
            // The same bytes may be a hash of the other version, of another torrent.
            if self.named(hash.hash).is_none() {
                self.marks.remove(&torrent_mark(hash.hash));
            }
        }
    }

    /// The torrent that has one of these hashes.
    pub(super) fn get(&self, identity: &Identity) -> Option<Key> {
        identity.wire_hashes().find_map(|hash| self.torrents.get(&hash)).copied()
    }

    /// The torrent that has this hash.
    pub(super) fn by_wire_hash(&self, hash: WireHash) -> Option<Key> {
        self.torrents.get(&hash).copied()
    }

    /// The torrent that a message means which does not say of which version its hash is: v1 if
    /// there are both.
    pub(super) fn named(&self, hash: InfoHash) -> Option<Key> {
        [WireHash::v1(hash), WireHash::v2(hash)]
            .iter()
            .find_map(|hash| self.torrents.get(hash))
            .copied()
    }
}

impl TorrentMarks for HashIndex {
    fn by_mark(&self, mark: &[u8; 20]) -> Option<InfoHash> {
        self.marks.get(mark).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::{arena::Arena, ids::InfoHashV2};

    #[test]
    fn torrent_is_found_by_each_of_its_hashes_until_it_goes() {
        let mut arena = Arena::new();
        let (a, b) = (arena.insert(()), arena.insert(()));
        let hybrid = Identity::hybrid(InfoHash([1; 20]), InfoHashV2([2; 32]));
        let other = Identity::of_v1(InfoHash([3; 20]));
        let mut index = HashIndex::default();
        index.insert(&hybrid, a);
        index.insert(&other, b);
        assert_eq!((index.get(&hybrid), index.get(&other)), (Some(a), Some(b)));
        let halves = [Identity::of_v1(InfoHash([1; 20])), Identity::of_v2(InfoHashV2([2; 32]))];
        assert!(halves.iter().all(|half| index.get(half) == Some(a)));
        assert_eq!(
            (index.named(InfoHash([1; 20])), index.named(InfoHash([2; 20]))),
            (Some(a), Some(a))
        );
        index.remove(&hybrid, b);
        assert_eq!(index.get(&hybrid), Some(a), "it is another's");
        index.remove(&hybrid, a);
        assert!(halves.iter().all(|half| index.get(half).is_none()));
        assert_eq!(index.get(&other), Some(b));
    }

    #[test]
    fn v1_hash_is_no_v2_hash_of_the_same_bytes() {
        let mut arena = Arena::new();
        let (a, b) = (arena.insert(()), arena.insert(()));
        let (v1, v2) = (Identity::of_v1(InfoHash([1; 20])), Identity::of_v2(InfoHashV2([1; 32])));
        let mut index = HashIndex::default();
        index.insert(&v2, b);
        assert_eq!((index.get(&v1), index.named(InfoHash([1; 20]))), (None, Some(b)));
        index.insert(&v1, a);
        assert_eq!((index.get(&v1), index.get(&v2)), (Some(a), Some(b)));
        assert_eq!(index.named(InfoHash([1; 20])), Some(a));
    }

    #[test]
    fn torrent_is_found_by_the_mark_of_each_hash_it_has() {
        let mut arena = Arena::new();
        let (a, b) = (arena.insert(()), arena.insert(()));
        let hybrid = Identity::hybrid(InfoHash([1; 20]), InfoHashV2([2; 32]));
        let other = Identity::of_v1(InfoHash([2; 20]));
        let mut index = HashIndex::default();
        index.insert(&hybrid, a);
        index.insert(&other, b);
        let found = |index: &HashIndex, n| index.by_mark(&torrent_mark(InfoHash([n; 20])));
        assert_eq!(found(&index, 1), Some(InfoHash([1; 20])));
        assert_eq!(found(&index, 2), Some(InfoHash([2; 20])));
        assert_eq!(found(&index, 3), None);
        index.remove(&hybrid, a);
        assert_eq!((found(&index, 1), found(&index, 2)), (None, Some(InfoHash([2; 20]))));
        index.remove(&other, b);
        assert_eq!(found(&index, 2), None);
    }
}
