//! The torrents that are announced again and again, spread over time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{
    event::{SearchId, SearchOutcome},
    table::K,
};
use crate::{
    base::{rng::Rng, time::Instant},
    conf::DhtConf,
    wire::krpc::{Family, NodeId, NodeInfo},
};

/// The first pause after an announce that too few nodes stored.
const RETRY: Duration = Duration::from_secs(10);
/// Nodes that are enough. An announce that fewer stored was made with a table that was too small to
/// lead to the closest nodes, and others who look for the torrent would not find it.
const ENOUGH: u32 = K as u32 / 2;

/// Announces that begin at once, and how long the next wait then: each begins a look-up, which asks
/// up to sixteen nodes, and all of it happens in one turn.
const BURST: u32 = 8;
const BREATH: Duration = Duration::from_millis(1);

/// What is told of us as a peer of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// Where we accept peers.
    pub port: u16,
    /// The source port of our packets counts instead: behind a router that maps ports as it
    /// likes, if peers are accepted there over UDP.
    pub implied_port: bool,
    /// We have everything (BEP 33).
    pub seed: bool,
}

/// One torrent.
#[derive(Debug)]
struct Tracked {
    announce: Option<Announce>,
    next: Instant,
    search: Option<SearchId>,
    failures: u32,
    /// It was never announced.
    fresh: bool,
    /// The nodes closest to it, for the next time.
    closest: Vec<NodeInfo>,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Announces {
    rng: Rng,
    torrents: BTreeMap<NodeId, Tracked>,
    due: BTreeSet<(Instant, NodeId)>,
    /// When the next may begin that is not the first of its torrent.
    not_before: Instant,
    /// How many have begun at which time.
    burst: (Instant, u32),
    /// When any may begin.
    rests_until: Instant,
}

/// An announce to begin.
#[derive(Debug)]
pub(super) struct Due {
    pub(super) hash: NodeId,
    pub(super) announce: Option<Announce>,
    pub(super) fresh: bool,
}

impl Announces {
    pub(super) fn new(rng: Rng) -> Self {
        let (torrents, due) = (BTreeMap::new(), BTreeSet::new());
        let (not_before, rests_until) = (Instant::ZERO, Instant::ZERO);
        Self { rng, torrents, due, not_before, burst: (Instant::ZERO, 0), rests_until }
    }

    pub(super) fn len(&self) -> usize {
        self.torrents.len()
    }

    /// Whether a torrent is announced, or looked for again and again.
    pub(super) fn contains(&self, hash: &NodeId) -> bool {
        self.torrents.contains_key(hash)
    }

    /// Begins to announce a torrent, or changes what is told. False if there are too many.
    pub(super) fn track(
        &mut self,
        now: Instant,
        hash: NodeId,
        announce: Option<Announce>,
        conf: &DhtConf,
    ) -> bool {
        let full = self.torrents.len() >= conf.max_tracked;
        match self.torrents.get_mut(&hash) {
            Some(tracked) if tracked.announce == announce => {}
            Some(tracked) => {
                tracked.announce = announce;
                self.set_next(hash, now);
            }
            None if full => return false,
            None => {
                let tracked = Tracked {
                    announce,
                    next: now,
                    search: None,
                    failures: 0,
                    fresh: true,
                    closest: Vec::new(),
                };
                self.torrents.insert(hash, tracked);
                self.due.insert((now, hash));
            }
        }
        true
    }

    /// Stops to announce a torrent; nodes forget it by themselves.
    pub(super) fn untrack(&mut self, hash: &NodeId) {
        if let Some(tracked) = self.torrents.remove(hash) {
            self.due.remove(&(tracked.next, *hash));
        }
    }

    /// The next announce to begin.
    pub(super) fn pop_due(&mut self, now: Instant, conf: &DhtConf) -> Option<Due> {
        if now < self.rests_until {
            return None;
        }
        let hash = self.next_hash(now)?;
        let tracked = self.torrents.get_mut(&hash)?;
        let (announce, fresh) = (tracked.announce, tracked.fresh);
        if !fresh {
            self.not_before = now + conf.announce_spacing;
        }
        tracked.fresh = false;
        // In case that its end is never told.
        self.set_next(hash, now + conf.announce_interval);
        let (at, begun) = self.burst;
        let begun = if at == now { begun + 1 } else { 1 };
        self.burst = (now, begun);
        if begun >= BURST {
            self.rests_until = now + BREATH;
        }
        Some(Due { hash, announce, fresh })
    }

    /// The torrent that is due. Those that are not new wait for their time, and hold up no other.
    fn next_hash(&mut self, now: Instant) -> Option<NodeId> {
        loop {
            let &(_, hash) = self.due.first().filter(|(at, _)| *at <= now)?;
            if self.torrents.get(&hash)?.fresh || self.not_before <= now {
                return Some(hash);
            }
            self.set_next(hash, self.not_before);
        }
    }

    /// When the next announce begins.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at.max(self.rests_until))
    }

    /// The search of an announce.
    pub(super) fn note_search(&mut self, hash: &NodeId, search: SearchId) {
        if let Some(tracked) = self.torrents.get_mut(hash) {
            tracked.search = Some(search);
        }
    }

    /// An announce has ended; one that too few nodes stored is tried again soon.
    pub(super) fn note_end(
        &mut self,
        now: Instant,
        hash: NodeId,
        search: SearchId,
        outcome: &SearchOutcome,
        conf: &DhtConf,
    ) {
        let Some(tracked) = self.torrents.get_mut(&hash) else { return };
        if tracked.search != Some(search) {
            return;
        }
        tracked.search = None;
        let done = if tracked.announce.is_some() { outcome.stored } else { outcome.answers };
        let fine = done >= ENOUGH;
        let pause = if fine {
            tracked.failures = 0;
            // Apart from each other, whenever they began.
            let tenth = u64::try_from(conf.announce_interval.as_micros() / 10).unwrap_or(0);
            conf.announce_interval - Duration::from_micros(self.rng.below(tenth))
        } else {
            tracked.failures += 1;
            (RETRY * (1 << tracked.failures.min(8) >> 1)).min(conf.announce_interval)
        };
        self.set_next(hash, now + pause);
    }

    /// The nodes that were closest to a torrent last time.
    pub(super) fn closest(&self, hash: &NodeId) -> &[NodeInfo] {
        self.torrents.get(hash).map_or(&[], |tracked| &tracked.closest)
    }

    /// Remembers them.
    pub(super) fn note_closest(&mut self, hash: &NodeId, family: Family, nodes: &[NodeInfo]) {
        if let Some(tracked) = self.torrents.get_mut(hash).filter(|_| !nodes.is_empty()) {
            tracked.closest.retain(|node| Family::of(node.addr.ip()) != family);
            tracked.closest.extend(nodes.iter().take(K));
        }
    }

    /// Announces that failed are made now; all of them if our address has changed.
    pub(super) fn hurry(&mut self, now: Instant, all: bool) {
        let hashes: Vec<_> = self
            .torrents
            .iter()
            .filter(|(_, tracked)| tracked.search.is_none() && (all || tracked.failures > 0))
            .map(|(hash, _)| *hash)
            .collect();
        hashes.into_iter().for_each(|hash| self.set_next(hash, now));
    }

    fn set_next(&mut self, hash: NodeId, next: Instant) {
        if let Some(tracked) = self.torrents.get_mut(&hash) {
            self.due.remove(&(tracked.next, hash));
            tracked.next = next;
            self.due.insert((next, hash));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn hash(n: u16) -> NodeId {
        let mut id = [0; 20];
        id[..2].copy_from_slice(&n.to_be_bytes());
        NodeId(id)
    }

    fn announces() -> Announces {
        Announces::new(Rng::new(1))
    }

    const ANNOUNCE: Option<Announce> = Some(Announce { port: 1, implied_port: false, seed: false });

    #[test]
    fn first_announces_are_made_at_once_and_others_spread() {
        let (mut announces, conf) = (announces(), DhtConf::default());
        (0..1000).for_each(|n| assert!(announces.track(at(0), hash(n), ANNOUNCE, &conf)));
        let stored = SearchOutcome { stored: 8, ..SearchOutcome::default() };
        for n in 0..1000 {
            // Eight a millisecond.
            let now = at(n / 8);
            assert_eq!(announces.next_due(), Some(now));
            let due = announces.pop_due(now, &conf).unwrap();
            assert!(due.fresh && (n % 8 < 7 || announces.pop_due(now, &conf).is_none()));
            announces.note_search(&due.hash, SearchId(n));
            announces.note_end(at(1000), due.hash, SearchId(n), &stored, &conf);
        }
        assert!(announces.pop_due(at(125), &conf).is_none());
        assert!(announces.next_due().unwrap() >= at(809_000), "{:?}", announces.next_due());
        let (mut count, mut most) = (0, 0);
        for second in 800..1200 {
            let tenths = (0..10).filter(|n| {
                announces.pop_due(at(second * 1000 + n * 100), &conf).is_some_and(|due| !due.fresh)
            });
            let now = tenths.count();
            (count, most) = (count + now, most.max(now));
        }
        assert_eq!(count, 1000);
        assert!(most <= 10, "{most}");
    }

    #[test]
    fn all_announces_made_due_at_once_are_spread_too() {
        let (mut announces, conf) = (announces(), DhtConf::default());
        let conf = DhtConf { max_tracked: 60_000, ..conf };
        for n in 0..60_000_u64 {
            assert!(announces.track(at(n), hash(n as u16), ANNOUNCE, &conf));
            assert!(announces.pop_due(at(n), &conf).is_some());
        }
        // No end of a search was told: none waits for one.
        announces.torrents.values_mut().for_each(|tracked| tracked.search = None);
        let now = at(60_000);
        announces.hurry(now, true);
        assert!(announces.pop_due(now, &conf).is_some_and(|due| !due.fresh));
        assert!(announces.pop_due(now, &conf).is_none());
        assert_eq!(announces.next_due(), Some(now + conf.announce_spacing));
    }

    #[test]
    fn failed_announce_is_tried_again_sooner() {
        let (mut announces, conf) = (announces(), DhtConf::default());
        announces.track(at(0), hash(1), ANNOUNCE, &conf);
        let mut now = at(0);
        let mut pauses = Vec::new();
        for n in 0..9 {
            assert!(announces.pop_due(now, &conf).is_some());
            announces.note_search(&hash(1), SearchId(n));
            let few = SearchOutcome { stored: n as u32 % 4, ..SearchOutcome::default() };
            announces.note_end(now, hash(1), SearchId(n), &few, &conf);
            let next = announces.next_due().unwrap();
            pauses.push(next.since(now).as_secs());
            now = next;
        }
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 900, 900]);
        announces.hurry(now, false);
        assert_eq!(announces.next_due(), Some(now));
        announces.untrack(&hash(1));
        assert_eq!((announces.next_due(), announces.len()), (None, 0));
    }

    #[test]
    fn closest_nodes_are_kept_for_the_next_announce() {
        let (mut announces, conf) = (announces(), DhtConf::default());
        let node =
            |n: u8, addr: &str| NodeInfo { id: NodeId([n; 20]), addr: addr.parse().unwrap() };
        let v4: Vec<_> = (1..=20).map(|n| node(n, &format!("192.0.{n}.1:1"))).collect();
        let v6 = [node(1, "[2001:db8::1]:1")];
        announces.note_closest(&hash(1), Family::V4, &v4);
        assert!(announces.closest(&hash(1)).is_empty(), "it is not announced");
        announces.track(at(0), hash(1), ANNOUNCE, &conf);
        announces.note_closest(&hash(1), Family::V4, &v4);
        announces.note_closest(&hash(1), Family::V6, &v6);
        assert_eq!(announces.closest(&hash(1)), [&v4[..K], &v6].concat());
        // One that found none changes nothing; of each family the last counts.
        announces.note_closest(&hash(1), Family::V4, &[]);
        announces.note_closest(&hash(1), Family::V4, &v4[10..12]);
        assert_eq!(announces.closest(&hash(1)), [&v6, &v4[10..12]].concat());
        announces.untrack(&hash(1));
        assert!(announces.closest(&hash(1)).is_empty());
    }

    #[test]
    fn tracked_torrents_are_bounded() {
        let conf = DhtConf { max_tracked: 10, ..DhtConf::default() };
        let mut announces = announces();
        let taken = (0..100).filter(|&n| announces.track(at(0), hash(n), ANNOUNCE, &conf));
        assert_eq!(taken.count(), 10);
        assert!(announces.track(at(0), hash(3), None, &conf), "one that is known may change");
    }
}
