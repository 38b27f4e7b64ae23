//! What the node keeps for others: peers of torrents (BEP 5, BEP 33), and values (BEP 44).
//!
//! Everything has a limit and a lifetime. What is nearer to our own id displaces what is farther,
//! so that filling the storage takes ids near ours.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use crate::{
    base::{rng::Rng, time::Instant},
    conf::DhtConf,
    wire::krpc::{BloomFilter, ErrorCode, Family, Item, Mutable, NodeId, Samples, Scrape},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Storage {
    torrents: BTreeMap<NodeId, Torrent>,
    /// Over all torrents.
    peers: usize,
    items: BTreeMap<NodeId, Stored>,
    sample: Vec<NodeId>,
    /// When the sample is drawn anew.
    sample_ends: Option<Instant>,
}

/// Peers by host: a host is one peer of a torrent, whatever its ports (BEP 33).
#[derive(Debug, Default)]
struct Torrent(BTreeMap<IpAddr, Peer>);

#[derive(Debug)]
struct Peer {
    port: u16,
    seed: bool,
    at: Instant,
}

#[derive(Debug)]
struct Stored {
    item: Item,
    at: Instant,
}

impl Storage {
    /// Torrents, peers, and values.
    pub(super) fn counts(&self) -> (usize, usize, usize) {
        (self.torrents.len(), self.peers, self.items.len())
    }

    /// Whether peers of a torrent are stored.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn stores(&self, hash: &NodeId) -> bool {
        self.torrents.contains_key(hash)
    }

    /// Whether a peer of `ip` would be stored: without that, no token is given.
    pub(super) fn has_room(&self, own: &NodeId, hash: &NodeId, ip: IpAddr, conf: &DhtConf) -> bool {
        match self.torrents.get(hash) {
            Some(torrent) if torrent.0.contains_key(&ip) => true,
            Some(torrent) => {
                torrent.0.len() < conf.max_torrent_peers && self.peers < conf.max_stored_peers
            }
            None => {
                (self.torrents.len() < conf.max_torrents && self.peers < conf.max_stored_peers)
                    || self.farthest(own, hash).is_some()
            }
        }
    }

    /// Stores a peer. False if there is no room for it.
    pub(super) fn add_peer(
        &mut self,
        now: Instant,
        own: &NodeId,
        hash: NodeId,
        peer: (SocketAddr, bool),
        conf: &DhtConf,
    ) -> bool {
        let (addr, seed) = peer;
        if !self.has_room(own, &hash, addr.ip(), conf) {
            return false;
        }
        let known =
            self.torrents.get(&hash).is_some_and(|torrent| torrent.0.contains_key(&addr.ip()));
        while !known
            && (self.peers >= conf.max_stored_peers
                || !self.torrents.contains_key(&hash) && self.torrents.len() >= conf.max_torrents)
        {
            let Some(victim) = self.farthest(own, &hash) else { return false };
            self.forget(&victim);
        }
        let torrent = self.torrents.entry(hash).or_default();
        let before = torrent.0.insert(addr.ip(), Peer { port: addr.port(), seed, at: now });
        self.peers += usize::from(before.is_none());
        true
    }

    /// Some peers of a torrent in random order, at most `most`, and of one family.
    pub(super) fn peers(
        &self,
        hash: &NodeId,
        family: Family,
        noseed: bool,
        most: usize,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        let Some(torrent) = self.torrents.get(hash) else { return Vec::new() };
        let mut peers: Vec<_> = torrent
            .0
            .iter()
            .filter(|(ip, peer)| Family::of(**ip) == family && !(noseed && peer.seed))
            .map(|(&ip, peer)| SocketAddr::new(ip, peer.port))
            .collect();
        rng.shuffle(&mut peers);
        peers.truncate(most);
        peers
    }

    /// The filters of a torrent that is stored (BEP 33).
    pub(super) fn scrape(&self, hash: &NodeId, family: Family) -> Option<Scrape> {
        let torrent = self.torrents.get(hash)?;
        let (mut seeds, mut peers) = (BloomFilter::default(), BloomFilter::default());
        for (&ip, peer) in torrent.0.iter().filter(|(ip, _)| Family::of(**ip) == family) {
            if peer.seed { seeds.insert(ip) } else { peers.insert(ip) }
        }
        Some(Scrape { seeds, peers })
    }

    /// Some of the stored torrents: the same for a while (BEP 51).
    pub(super) fn samples(&mut self, now: Instant, conf: &DhtConf, rng: &mut Rng) -> Samples {
        if self.sample_ends.is_none_or(|end| end <= now) {
            let mut hashes: Vec<_> = self.torrents.keys().copied().collect();
            // While all fit, there is nothing to keep.
            let all = hashes.len() <= conf.max_samples;
            rng.shuffle(&mut hashes);
            hashes.truncate(conf.max_samples);
            self.sample = hashes;
            self.sample_ends = (!all).then(|| now + conf.sample_interval);
        }
        let interval = self.sample_ends.map_or(0, |end| end.since(now).as_secs());
        Samples {
            interval: u32::try_from(interval).unwrap_or(u32::MAX),
            num: u32::try_from(self.torrents.len()).unwrap_or(u32::MAX),
            hashes: self.sample.clone(),
        }
    }

    /// The value under a target.
    pub(super) fn item(&self, target: &NodeId) -> Option<&Item> {
        self.items.get(target).map(|stored| &stored.item)
    }

    /// Stores a value that was verified.
    ///
    /// # Errors
    /// If a newer value is there, another than the one expected, or there is no room.
    pub(super) fn put(
        &mut self,
        now: Instant,
        own: &NodeId,
        item: Item,
        cas: Option<i64>,
        conf: &DhtConf,
    ) -> Result<(), ErrorCode> {
        let target = item.target();
        if let Some(stored) = self.items.get_mut(&target) {
            if let (Item::Mutable(old), Item::Mutable(new)) = (&stored.item, &item) {
                may_replace(old, new, cas)?;
            }
            *stored = Stored { item, at: now };
            return Ok(());
        }
        if self.items.len() >= conf.max_items {
            let farthest = self.items.keys().max_by_key(|id| id.distance(own)).copied();
            let victim = farthest.filter(|id| id.distance(own) > target.distance(own));
            self.items.remove(&victim.ok_or(ErrorCode::Server)?);
        }
        self.items.insert(target, Stored { item, at: now });
        Ok(())
    }

    /// Forgets what has outlived its time.
    pub(super) fn sweep(&mut self, now: Instant, conf: &DhtConf) {
        for torrent in self.torrents.values_mut() {
            torrent.0.retain(|_, peer| now.since(peer.at) < conf.peer_lifetime);
        }
        self.torrents.retain(|_, torrent| !torrent.0.is_empty());
        self.peers = self.torrents.values().map(|torrent| torrent.0.len()).sum();
        self.items.retain(|_, stored| now.since(stored.at) < conf.item_lifetime);
    }

    /// The torrent that makes room for another, if that one is nearer to us.
    fn farthest(&self, own: &NodeId, hash: &NodeId) -> Option<NodeId> {
        let farthest = self.torrents.keys().max_by_key(|id| id.distance(own))?;
        (farthest.distance(own) > hash.distance(own)).then_some(*farthest)
    }

    fn forget(&mut self, hash: &NodeId) {
        self.peers -= self.torrents.remove(hash).map_or(0, |torrent| torrent.0.len());
    }
}

/// The rules of replacing (BEP 44): the expected number first, then never an older value, and of
/// the same number only the same value.
fn may_replace(old: &Mutable, new: &Mutable, cas: Option<i64>) -> Result<(), ErrorCode> {
    if cas.is_some_and(|cas| cas != old.seq) {
        return Err(ErrorCode::CasMismatch);
    }
    if new.seq < old.seq || new.seq == old.seq && new.value != old.value {
        return Err(ErrorCode::OldSequence);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::wire::krpc::SigningKey;

    const OWN: NodeId = NodeId([0; 20]);

    fn at(s: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(s)
    }

    fn hash(n: u32) -> NodeId {
        let mut id = [0; 20];
        id[..4].copy_from_slice(&n.to_be_bytes());
        NodeId(id)
    }

    fn addr(n: u32) -> SocketAddr {
        SocketAddr::new(std::net::Ipv4Addr::from(0x0b00_0000 + n).into(), 1)
    }

    fn conf() -> DhtConf {
        DhtConf {
            max_torrents: 10,
            max_torrent_peers: 5,
            max_stored_peers: 20,
            ..DhtConf::default()
        }
    }

    #[test]
    fn host_is_one_peer_of_a_torrent_and_expires() {
        let (mut storage, conf) = (Storage::default(), conf());
        let mut rng = Rng::new(1);
        let other_port = SocketAddr::new(addr(1).ip(), 2);
        assert!(storage.add_peer(at(0), &OWN, hash(1), (addr(1), false), &conf));
        assert!(storage.add_peer(at(9), &OWN, hash(1), (other_port, true), &conf));
        assert_eq!(storage.peers(&hash(1), Family::V4, false, 9, &mut rng), [other_port]);
        assert!(storage.peers(&hash(1), Family::V4, true, 9, &mut rng).is_empty());
        assert!(storage.peers(&hash(1), Family::V6, false, 9, &mut rng).is_empty());
        let scrape = storage.scrape(&hash(1), Family::V4).unwrap();
        assert!(scrape.seeds.may_contain(addr(1).ip()) && !scrape.peers.may_contain(addr(1).ip()));
        storage.sweep(at(9 + 45 * 60 - 1), &conf);
        assert_eq!(storage.counts(), (1, 1, 0));
        storage.sweep(at(9 + 45 * 60), &conf);
        assert_eq!(storage.counts(), (0, 0, 0));
    }

    #[test]
    fn full_storage_gives_no_room_but_to_what_is_nearer() {
        let (mut storage, conf) = (Storage::default(), conf());
        for n in 0..50 {
            storage.add_peer(at(0), &OWN, hash(100), (addr(n), false), &conf);
        }
        assert_eq!(storage.counts(), (1, 5, 0));
        assert!(storage.has_room(&OWN, &hash(100), addr(3).ip(), &conf), "it is there already");
        assert!(!storage.has_room(&OWN, &hash(100), addr(9).ip(), &conf));
        for n in 101..200 {
            storage.add_peer(at(0), &OWN, hash(n), (addr(n), false), &conf);
        }
        assert_eq!(storage.counts(), (10, 14, 0));
        assert!(storage.torrents.contains_key(&hash(100)));
        assert!(!storage.has_room(&OWN, &hash(500), addr(9).ip(), &conf));
        assert!(storage.add_peer(at(0), &OWN, hash(1), (addr(1), false), &conf));
        assert_eq!(storage.counts(), (10, 14, 0));
        assert!(!storage.torrents.contains_key(&hash(109)));
        for n in 0..1000 {
            storage.add_peer(at(0), &OWN, hash(n % 7), (addr(n), false), &conf);
            let (torrents, peers, _) = storage.counts();
            assert!(torrents <= 10 && peers <= 20);
        }
    }

    #[test]
    fn values_are_replaced_by_the_rules_of_bep_44() {
        let (mut storage, conf) = (Storage::default(), DhtConf::default());
        let key = SigningKey::from_seed(&[1; 32]).unwrap();
        let item = |seq, value: &[u8]| {
            Item::Mutable(Box::new(Mutable::sign(&key, b"", seq, value.to_vec()).unwrap()))
        };
        let mut put = |item, cas| storage.put(at(0), &OWN, item, cas, &conf);
        // Without a value, nothing is expected.
        assert_eq!(put(item(5, b"i1e"), Some(3)), Ok(()));
        assert_eq!(put(item(4, b"i2e"), None), Err(ErrorCode::OldSequence));
        assert_eq!(put(item(5, b"i2e"), None), Err(ErrorCode::OldSequence));
        assert_eq!(put(item(5, b"i1e"), None), Ok(()));
        assert_eq!(put(item(6, b"i2e"), Some(4)), Err(ErrorCode::CasMismatch));
        assert_eq!(put(item(6, b"i2e"), Some(5)), Ok(()));
        let target = item(6, b"i2e").target();
        assert_eq!(storage.item(&target).and_then(Item::seq), Some(6));
        storage.sweep(at(7200), &conf);
        assert_eq!(storage.counts().2, 0);
    }

    #[test]
    fn values_are_bounded_and_the_nearest_stay() {
        let conf = DhtConf { max_items: 20, ..DhtConf::default() };
        let mut storage = Storage::default();
        let mut all = Vec::new();
        for n in 0..200 {
            let item = Item::Immutable { value: format!("i{n}e").into_bytes() };
            all.push(item.target());
            _ = storage.put(at(0), &OWN, item, None, &conf);
        }
        assert_eq!(storage.counts().2, 20);
        all.sort_by_key(|id| id.distance(&OWN));
        assert!(all[..20].iter().all(|id| storage.item(id).is_some()));
    }

    #[test]
    fn sample_stays_the_same_for_its_interval() {
        let conf = DhtConf { max_samples: 20, ..DhtConf::default() };
        let (mut storage, mut rng) = (Storage::default(), Rng::new(1));
        assert_eq!(storage.samples(at(0), &conf, &mut rng), Samples::default());
        for n in 0..100 {
            storage.add_peer(at(0), &OWN, hash(n), (addr(1), false), &conf);
        }
        let first = storage.samples(at(1), &conf, &mut rng);
        assert_eq!((first.num, first.hashes.len(), first.interval), (100, 20, 21_600));
        let second = storage.samples(at(101), &conf, &mut rng);
        assert_eq!((&second.hashes, second.interval), (&first.hashes, 21_500));
        assert_ne!(storage.samples(at(21_601), &conf, &mut rng).hashes, first.hashes);
    }
}
