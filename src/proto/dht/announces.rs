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
    /// Where we accept peers by IPv4, as seen from outside; `None` if nowhere: nodes of IPv4 are
    /// not told of us.
    pub port_v4: Option<u16>,
    /// The same by IPv6, where no router maps ports.
    pub port_v6: Option<u16>,
    /// The source port of our packets counts instead: behind a router that maps ports as it
    /// likes, if peers are accepted there over UDP.
    pub implied_port: bool,
    /// We have everything (BEP 33).
    pub seed: bool,
}

impl Announce {
    /// What nodes of a family are told.
    pub(super) fn port(&self, family: Family) -> Option<u16> {
        match family {
            Family::V4 => self.port_v4,
            Family::V6 => self.port_v6,
        }
    }
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
    /// Those that were never announced, by the time at which they are due: they wait for no other.
    fresh: BTreeSet<(Instant, NodeId)>,
    /// The others. One that waits keeps its place among them.
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
        let (fresh, due) = (BTreeSet::new(), BTreeSet::new());
        let (not_before, rests_until) = (Instant::ZERO, Instant::ZERO);
        let (torrents, burst) = (BTreeMap::new(), (Instant::ZERO, 0));
        Self { rng, torrents, fresh, due, not_before, burst, rests_until }
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
                self.fresh.insert((now, hash));
            }
        }
        true
    }

    /// Stops to announce a torrent; nodes forget it by themselves. Returns the search that is under
    /// way for it.
    pub(super) fn untrack(&mut self, hash: &NodeId) -> Option<SearchId> {
        let tracked = self.torrents.remove(hash)?;
        self.fresh.remove(&(tracked.next, *hash));
        self.due.remove(&(tracked.next, *hash));
        tracked.search
    }

    /// The search that is under way for a torrent.
    pub(super) fn search(&self, hash: &NodeId) -> Option<SearchId> {
        self.torrents.get(hash)?.search
    }

    /// The next announce to begin.
    pub(super) fn pop_due(&mut self, now: Instant, conf: &DhtConf) -> Option<Due> {
        let (at, hash) = self.next()?;
        if now < at {
            return None;
        }
        let tracked = self.torrents.get_mut(&hash)?;
        let (announce, fresh) = (tracked.announce, tracked.fresh);
        if !fresh {
            self.not_before = now + conf.announce_spacing;
        }
        tracked.fresh = false;
        // In case that its end is never told.
        self.set_next(hash, now + conf.announce_interval);
        let (last, begun) = self.burst;
        let begun = if last == now { begun + 1 } else { 1 };
        self.burst = (now, begun);
        if begun >= BURST {
            self.rests_until = now + BREATH;
        }
        Some(Due { hash, announce, fresh })
    }

    /// The torrent that is next, and when: of those that are due one that is new, else the one
    /// that has waited longest.
    fn next(&self) -> Option<(Instant, NodeId)> {
        let first = |queue: &BTreeSet<(Instant, NodeId)>, not_before: Instant| {
            queue.first().map(|&(at, hash)| (at.max(not_before), hash))
        };
        let fresh = first(&self.fresh, self.rests_until);
        let due = first(&self.due, self.not_before.max(self.rests_until));
        fresh.into_iter().chain(due).min_by_key(|(at, _)| *at)
    }

    /// When the next announce begins.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.next().map(|(at, _)| at)
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
            // One that is overdue has waited longer.
            .filter(|(_, tracked)| tracked.next > now)
            .map(|(hash, _)| *hash)
            .collect();
        hashes.into_iter().for_each(|hash| self.set_next(hash, now));
    }

    fn set_next(&mut self, hash: NodeId, next: Instant) {
        if let Some(tracked) = self.torrents.get_mut(&hash) {
            self.fresh.remove(&(tracked.next, hash));
            self.due.remove(&(tracked.next, hash));
            tracked.next = next;
            let queue = if tracked.fresh { &mut self.fresh } else { &mut self.due };
            queue.insert((next, hash));
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

    const ANNOUNCE: Option<Announce> =
        Some(Announce { port_v4: Some(1), port_v6: None, implied_port: false, seed: false });

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
    fn more_torrents_than_the_pace_allows_all_have_their_turn() {
        let (mut announces, conf) = (announces(), DhtConf::default());
        let stored = SearchOutcome { stored: 8, ..SearchOutcome::default() };
        let (mut last, mut longest) = (BTreeMap::new(), Duration::ZERO);
        (0..10_000).for_each(|n| assert!(announces.track(at(0), hash(n), ANNOUNCE, &conf)));
        let end = at(3 * 3600 * 1000);
        let mut searches = 0;
        while let Some(now) = announces.next_due().filter(|&now| now < end) {
            let Some(due) = announces.pop_due(now, &conf) else { continue };
            let before = last.insert(due.hash, now).unwrap_or(now);
            longest = longest.max(now.since(before));
            searches += 1;
            announces.note_search(&due.hash, SearchId(searches));
            announces.note_end(now, due.hash, SearchId(searches), &stored, &conf);
        }
        longest = last.values().map(|&before| end.since(before)).fold(longest, Duration::max);
        // Ten a second make 1,000 s, which begin 810 to 900 s after the first announces.
        assert!(longest <= Duration::from_secs(1900), "{longest:?}");
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
