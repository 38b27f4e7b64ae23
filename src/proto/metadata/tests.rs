//! Info dictionaries from honest peers, liars and silent ones, on a clock of the test's own.

use std::time::Duration;

use proptest::prelude::*;
use sha1::{Digest, Sha1};

use super::*;
use crate::{
    base::{
        ids::{Identity, InfoHash, InfoHashV2},
        time::Instant,
    },
    wire::ut_metadata::{METADATA_BLOCK, metadata_block_len},
};

type Fetch = MetadataFetch<u32>;
type Event = MetadataEvent<u32>;

fn dictionary(len: usize) -> (Vec<u8>, InfoHash) {
    let bytes: Vec<u8> = (0..len).map(|n| (n * 31 % 251) as u8).collect();
    let hash = InfoHash(Sha1::digest(&bytes).into());
    (bytes, hash)
}

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

/// How a peer of the tests answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Peer {
    Honest,
    /// It gives false bytes of the right size.
    Liar,
    /// It gives false bytes, one block of which is true.
    HalfLiar,
    /// It claims another size, and gives bytes of that.
    OtherSize(u32),
    Rejects,
    Silent,
}

impl Peer {
    fn total(self, true_len: usize) -> u32 {
        match self {
            Self::OtherSize(total) => total,
            _ => true_len as u32,
        }
    }

    fn lies(self) -> bool {
        matches!(self, Self::Liar | Self::HalfLiar | Self::OtherSize(_))
    }

    fn answer(self, now: Instant, fetch: &mut Fetch, from: u32, block: u32, bytes: &[u8]) {
        let total = self.total(bytes.len());
        let len = metadata_block_len(total, block).unwrap() as usize;
        let begin = (block * METADATA_BLOCK) as usize;
        let truth = || bytes[begin..begin + len].to_vec();
        let data = match self {
            Self::Honest => truth(),
            Self::HalfLiar if block == 0 && bytes.len() > METADATA_BLOCK as usize => truth(),
            Self::Liar | Self::HalfLiar | Self::OtherSize(_) => vec![from as u8 ^ 0xa5; len],
            Self::Rejects => return fetch.handle_reject(now, from, block).unwrap(),
            Self::Silent => return,
        };
        fetch.handle_data(now, from, block, total, &data).unwrap();
    }
}

/// Runs until the dictionary is here or there is nothing left to wait for: what came, who lied, how
/// many blocks were asked for, when it ended.
fn run(peers: &[Peer], len: usize, limits: MetadataLimits) -> (bool, Vec<u32>, usize, Instant) {
    let (bytes, hash) = dictionary(len);
    let mut fetch = Fetch::new(Identity::of_v1(hash), limits);
    let mut now = Instant::ZERO;
    for (n, peer) in peers.iter().enumerate() {
        assert!(fetch.handle_offer(now, n as u32, u64::from(peer.total(len))));
    }
    let (mut liars, mut asked, mut came) = (Vec::new(), 0, false);
    for _ in 0..100_000 {
        fetch.handle_time_out(now);
        while let Some(event) = fetch.poll_event() {
            match event {
                Event::Complete(found) => {
                    assert_eq!(found, bytes);
                    came = true;
                }
                Event::Liar(liar) => liars.push(liar),
            }
        }
        if came {
            break;
        }
        let mut sent = Vec::new();
        while let Some((peer, block)) = fetch.poll_request(now) {
            sent.push((peer, block));
            asked += 1;
        }
        for &(peer, block) in &sent {
            // The event may come first, as in a turn of the engine.
            if fetch.offer(peer, now).is_some() {
                peers[peer as usize].answer(now, &mut fetch, peer, block, &bytes);
            }
            assert!(fetch.held() <= limits.memory);
        }
        if sent.is_empty() {
            match fetch.next_deadline(now) {
                Some(next) if now > at(3_600_000) && next > now => break,
                Some(next) => now = now.max(next),
                None => break,
            }
        }
    }
    liars.sort_unstable();
    (came, liars, asked, now)
}

#[test]
fn one_honest_peer_gives_every_block_once() {
    for len in [1_usize, 100, 16_384, 16_385, 700_000] {
        let blocks = len.div_ceil(16_384);
        let (came, liars, asked, now) = run(&[Peer::Honest], len, MetadataLimits::default());
        assert!(came && liars.is_empty());
        assert_eq!((asked, now), (blocks, Instant::ZERO), "{len} bytes");
    }
}

#[test]
fn many_peers_share_a_large_dictionary_and_race_for_a_small_one() {
    let (_, hash) = dictionary(40 * 16_384);
    let ask = |total: u64| {
        let mut fetch = Fetch::new(Identity::of_v1(hash), MetadataLimits::default());
        (0..30).for_each(|n| assert!(fetch.handle_offer(Instant::ZERO, n, total)));
        std::iter::from_fn(|| fetch.poll_request(Instant::ZERO)).collect::<Vec<_>>()
    };
    let large = ask(40 * 16_384);
    assert_eq!(large.len(), 40);
    assert!((0..30).all(|peer| large.iter().any(|&(p, _)| p == peer)), "{large:?}");
    let small = ask(16_384);
    assert_eq!(small, [(0, 0), (1, 0), (2, 0)]);
}

#[test]
fn first_liar_about_the_size_decides_nothing() {
    let peers = [Peer::OtherSize(20_000_000), Peer::OtherSize(5), Peer::Honest];
    let (came, liars, _, now) = run(&peers, 50_000, MetadataLimits::default());
    assert!(came && now == Instant::ZERO);
    assert!(liars.contains(&1), "{liars:?}");
}

#[test]
fn liar_among_honest_peers_is_found_out_and_they_are_not() {
    for liar in [Peer::Liar, Peer::HalfLiar] {
        let peers = [Peer::Honest, liar, Peer::Honest, Peer::Honest];
        let (came, liars, ..) = run(&peers, 500_000, MetadataLimits::default());
        assert!(came, "{liar:?}");
        assert_eq!(liars, [1], "{liar:?}");
    }
}

#[test]
fn liar_alone_is_found_out_at_once() {
    let (came, liars, ..) = run(&[Peer::Liar], 500_000, MetadataLimits::default());
    assert_eq!((came, liars), (false, vec![0]));
}

#[test]
fn peer_that_rejects_rests_longer_each_time() {
    let (_, hash) = dictionary(10);
    let mut fetch = Fetch::new(Identity::of_v1(hash), MetadataLimits::default());
    let mut now = Instant::ZERO;
    assert!(fetch.handle_offer(now, 7, 100_000));
    let mut rests = Vec::new();
    for _ in 0..7 {
        let asked: Vec<_> = std::iter::from_fn(|| fetch.poll_request(now)).collect();
        assert_eq!(asked.len(), 7);
        asked.iter().for_each(|&(peer, block)| fetch.handle_reject(now, peer, block).unwrap());
        assert_eq!((fetch.poll_request(now), fetch.offer(7, now)), (None, Some(true)));
        let next = fetch.next_deadline(now).unwrap();
        rests.push(next.since(now).as_secs());
        now = next;
    }
    assert_eq!(rests, [4, 8, 16, 32, 64, 64, 64]);
    assert_eq!(fetch.progress(now).peers, 1);
}

#[test]
fn silent_peer_holds_up_a_block_for_its_time_only() {
    let peers = [Peer::Silent, Peer::Honest];
    let (came, liars, _, now) = run(&peers, 40 * 16_384, MetadataLimits::default());
    assert!(came && liars.is_empty());
    assert_eq!(now, at(5000));
    // An answer that comes late is no fault, and a second one is.
    let (bytes, hash) = dictionary(16_384);
    let mut fetch = Fetch::new(Identity::of_v1(hash), MetadataLimits::default());
    assert!(fetch.handle_offer(at(0), 1, 16_384));
    assert_eq!(fetch.poll_request(at(0)), Some((1, 0)));
    fetch.handle_time_out(at(5000));
    assert_eq!(fetch.poll_request(at(5000)), None, "it rests");
    assert_eq!(fetch.handle_data(at(0), 1, 0, 16_384, &bytes), Ok(()));
    assert_eq!(fetch.poll_event(), Some(Event::Complete(bytes)));
}

#[test]
fn answer_that_was_not_asked_for_is_a_fault() {
    let (bytes, hash) = dictionary(40_000);
    let mut fetch = Fetch::new(Identity::of_v1(hash), MetadataLimits::default());
    let block = &bytes[..16_384];
    assert_eq!(fetch.handle_data(at(0), 1, 0, 40_000, block), Err(MetadataFault::Unasked(0)));
    assert!(fetch.handle_offer(at(0), 1, 40_000));
    assert_eq!(fetch.handle_data(at(0), 1, 0, 40_000, block), Err(MetadataFault::Unasked(0)));
    assert_eq!(fetch.handle_reject(at(0), 1, 0), Err(MetadataFault::Unasked(0)));
    assert_eq!(fetch.poll_request(at(0)), Some((1, 0)));
    let other = MetadataFault::OtherSize { claimed: 40_000, total: 40_001 };
    assert_eq!(fetch.handle_data(at(0), 1, 0, 40_001, block), Err(other));
}

#[test]
fn offer_of_nothing_or_too_much_is_of_no_use() {
    let limits = MetadataLimits::default();
    let mut fetch = Fetch::new(Identity::of_v1(dictionary(1).1), limits);
    for total in [0, u64::from(limits.size) + 1, u64::MAX] {
        assert!(!fetch.handle_offer(at(0), 1, total));
        assert_eq!(fetch.poll_request(at(0)), None);
    }
    assert!(fetch.handle_offer(at(0), 1, u64::from(limits.size)));
    assert!(fetch.poll_request(at(0)).is_some());
    assert!(!fetch.handle_offer(at(0), 1, 0), "it takes its offer back");
    assert_eq!(fetch.poll_request(at(0)), None);
}

#[test]
fn memory_follows_what_came_and_stays_within_its_limit() {
    let limits = MetadataLimits { memory: 100_000, ..MetadataLimits::default() };
    let mut peers: Vec<Peer> = (0..40).map(|n| Peer::OtherSize(1_000_000 + n)).collect();
    peers.push(Peer::Honest);
    let (came, ..) = run(&peers, 60_000, limits);
    assert!(came);
}

#[test]
fn sizes_that_wait_get_their_turn_after_those_that_make_no_end() {
    let limits = MetadataLimits { assemblies: 2, ..MetadataLimits::default() };
    let (bytes, hash) = dictionary(16_384);
    let mut fetch = Fetch::new(Identity::of_v1(hash), limits);
    // Two peers give a block from time to time, for ever.
    assert!((1..=2).all(|n| fetch.handle_offer(at(0), n, 20_000_000 + u64::from(n))));
    let slow = |fetch: &mut Fetch, now: Instant| {
        let asked: Vec<_> = std::iter::from_fn(|| fetch.poll_request(now)).collect();
        for (peer, block) in asked {
            assert!(peer < 3);
            let data = vec![0; METADATA_BLOCK as usize];
            fetch.handle_data(now, peer, block, 20_000_000 + peer, &data).unwrap();
        }
    };
    slow(&mut fetch, at(0));
    assert!(fetch.handle_offer(at(0), 3, 16_384));
    (0..19).for_each(|s| slow(&mut fetch, at(1000 * s)));
    let asked: Vec<_> = std::iter::from_fn(|| fetch.poll_request(at(20_000))).collect();
    assert!(asked.contains(&(3, 0)), "{asked:?}");
    fetch.handle_data(at(20_000), 3, 0, 16_384, &bytes).unwrap();
    assert_eq!(fetch.poll_event(), Some(Event::Complete(bytes)));
}

#[test]
fn block_is_served_a_few_times_at_once_and_then_at_a_rate() {
    let mut serve = MetadataServe::default();
    let total = 10 * METADATA_BLOCK;
    let mut gets = |ms: u64, unsent: usize| serve.handle_request(at(ms), 3, total, unsent);
    assert!(!gets(0, 1 << 20), "it does not read what it has");
    assert_eq!((0..100).filter(|_| gets(0, 0)).count(), 30);
    assert_eq!((0..100).filter(|_| gets(1000, 0)).count(), 10);
    assert_eq!((0..100).filter(|_| gets(1100, 0)).count(), 1);
    assert_eq!((0..100).filter(|_| gets(3_600_000, 0)).count(), 30);
    assert!(!MetadataServe::default().handle_request(at(0), 10, total, 0), "no such block");
}

fn peer() -> impl Strategy<Value = Peer> {
    prop_oneof![
        3 => Just(Peer::Honest),
        1 => Just(Peer::Liar),
        1 => Just(Peer::HalfLiar),
        1 => (1_u32..200_000).prop_map(Peer::OtherSize),
        1 => Just(Peer::Rejects),
        1 => Just(Peer::Silent),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn one_honest_peer_is_enough_and_no_honest_peer_is_accused(
        mut peers in prop::collection::vec(peer(), 0..12),
        at_index in any::<prop::sample::Index>(),
        len in 1_usize..300_000,
    ) {
        peers.insert(at_index.index(peers.len() + 1), Peer::Honest);
        peers.iter_mut().for_each(|peer| {
            if *peer == Peer::OtherSize(len as u32) {
                *peer = Peer::Liar;
            }
        });
        let (came, liars, _, now) = run(&peers, len, MetadataLimits::default());
        prop_assert!(came);
        prop_assert!(liars.iter().all(|&n| peers[n as usize].lies()), "{:?} of {:?}", liars, peers);
        prop_assert!(now <= at(0) + Duration::from_secs(60), "{:?}", now);
    }
}

#[test]
fn dictionary_of_a_v2_link_is_known_by_its_sha256() {
    let truth = b"d4:name1:ne";
    let sha1 = InfoHash(Sha1::digest(truth).into());
    let mut sha256 = [0; 32];
    sha256.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, truth).as_ref());
    let fetched = |identity: Identity| {
        let mut fetch = Fetch::new(identity, MetadataLimits::default());
        let now = Instant::ZERO;
        assert!(fetch.handle_offer(now, 1, truth.len() as u64));
        let (peer, block) = fetch.poll_request(now).unwrap();
        fetch.handle_data(now, peer, block, truth.len() as u32, truth).unwrap();
        matches!(fetch.poll_event(), Some(MetadataEvent::Complete(info)) if info == truth)
    };
    let (right, wrong) = (InfoHashV2(sha256), InfoHashV2([1; 32]));
    assert!(fetched(Identity::of_v2(right)) && fetched(Identity::hybrid(sha1, right)));
    assert!(!fetched(Identity::of_v2(wrong)));
    // SHA-1 alone proves nothing where more is known.
    assert!(!fetched(Identity::hybrid(sha1, wrong)));
}
