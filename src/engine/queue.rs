//! Who of the torrents that the queue looks after may run: so many downloads in the order of their
//! positions, so many seeds in turns.
//!
//! It knows keys and what their torrents could do, and says who is to rest and who is to go. It
//! sees no torrent, and recomputes nothing: each piece of news moves one entry and costs the
//! logarithm of how many there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    base::{arena::Key, time::Instant},
    torrent::queue_request::{Lane, QueueRequest},
};

/// How often the queue looks whether a torrent is slow or has had its turn, while others wait.
pub(super) const LOOK: Duration = Duration::from_secs(10);
/// How long a torrent must be slow before another runs beside it.
const SLOW_AFTER: Duration = Duration::from_secs(60);
/// Room between two neighbours in the order for others to be put there.
const GAP: u64 = 1 << 20;

/// How many torrents of those that the queue looks after may run at a time; see
/// [`Conf`](crate::Conf).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActiveLimits {
    /// Downloads that are not slow.
    pub downloads: usize,
    /// Seeds that are not slow.
    pub seeds: usize,
    /// Both, the slow ones included. Downloads come first.
    pub total: usize,
    /// Torrents being opened or checked, those that the queue does not look after included.
    pub checks: usize,
}

/// Where a torrent of the queue is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    /// It could not run: paused, being checked, failing, closing.
    Idle,
    Waiting,
    /// Counted.
    Running,
    /// Running, and so slow that it does not count.
    Slow,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    lane: Lane,
    /// Its place among its like: the least is the first.
    ord: u64,
    place: Place,
    /// When it began to run.
    since: Instant,
    /// Since when it is slow.
    slow_since: Option<Instant>,
}

/// Downloads or seeds.
#[derive(Debug, Default)]
struct Line {
    waiting: BTreeSet<(u64, Key)>,
    running: BTreeSet<(u64, Key)>,
    slow: BTreeSet<(u64, Key)>,
}

impl Line {
    fn set(&mut self, place: Place) -> Option<&mut BTreeSet<(u64, Key)>> {
        match place {
            Place::Idle => None,
            Place::Waiting => Some(&mut self.waiting),
            Place::Running => Some(&mut self.running),
            Place::Slow => Some(&mut self.slow),
        }
    }

    fn active(&self) -> usize {
        self.running.len() + self.slow.len()
    }

    /// The last of those that run.
    fn last(&self) -> Option<(u64, Key)> {
        self.running.last().max(self.slow.last()).copied()
    }
}

/// See the module.
#[derive(Debug)]
pub(super) struct Queue {
    limits: ActiveLimits,
    entries: BTreeMap<Key, Entry>,
    downloads: Line,
    seeds: Line,
    /// The downloads in order of position, with their `ord`.
    order: Vec<(u64, Key)>,
    next_seed: u64,
    /// Counts the changes of the order.
    version: u64,
    renumbered: bool,
    /// Who is to rest (true) or go, and has not been told.
    verdicts: BTreeMap<Key, bool>,
    /// When it looks next.
    look: Option<Instant>,
}

impl Queue {
    pub(super) fn new(limits: ActiveLimits) -> Self {
        Self {
            limits,
            entries: BTreeMap::new(),
            downloads: Line::default(),
            seeds: Line::default(),
            order: Vec::new(),
            next_seed: 0,
            version: 1,
            renumbered: false,
            verdicts: BTreeMap::new(),
            look: None,
        }
    }

    // What is known.

    pub(super) fn limits(&self) -> ActiveLimits {
        self.limits
    }

    pub(super) fn position(&self, key: Key) -> Option<usize> {
        let entry = self.entries.get(&key).filter(|entry| entry.lane == Lane::Download)?;
        self.order.binary_search(&(entry.ord, key)).ok()
    }

    /// The downloads by position.
    pub(super) fn order(&self) -> impl ExactSizeIterator<Item = Key> {
        self.order.iter().map(|&(_, key)| key)
    }

    /// A number that is the greater the later a download stands in the queue.
    pub(super) fn download_ord(&self, key: Key) -> Option<u64> {
        self.entries.get(&key).filter(|entry| entry.lane == Lane::Download).map(|entry| entry.ord)
    }

    /// Where a torrent stands among others that wait to be looked at.
    pub(super) fn ord(&self, key: Key) -> Option<u64> {
        self.entries.get(&key).map(|entry| entry.ord)
    }

    /// Whether all have got other numbers since this was asked last.
    pub(super) fn take_renumbered(&mut self) -> bool {
        std::mem::take(&mut self.renumbered)
    }

    /// Another number whenever the order of the downloads is another.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// When it must look whether a torrent is slow or has had its turn.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look
    }

    /// Who is to rest, or may go.
    pub(super) fn poll_verdict(&mut self) -> Option<(Key, bool)> {
        self.verdicts.pop_first()
    }

    // News.

    pub(super) fn set_limits(&mut self, now: Instant, limits: ActiveLimits) {
        self.limits = limits;
        self.settle(now);
    }

    /// What a torrent could do is another thing than before.
    pub(super) fn handle_request(&mut self, now: Instant, key: Key, request: QueueRequest) {
        if !request.queued {
            return self.remove(now, key);
        }
        match self.entries.get(&key).map(|entry| entry.lane) {
            None => {
                let entry = Entry {
                    lane: request.lane,
                    ord: 0,
                    place: Place::Idle,
                    since: now,
                    slow_since: None,
                };
                self.entries.insert(key, entry);
                match request.order {
                    Some(order) if request.lane == Lane::Download => self.insert_by(order, key),
                    _ => self.join(key, request.lane),
                }
            }
            Some(lane) if lane != request.lane => {
                self.put(key, Place::Idle);
                self.leave(key);
                self.join(key, request.lane);
            }
            Some(_) => {}
        }
        let place = self.entries.get(&key).map_or(Place::Idle, |entry| entry.place);
        let wanted = match (request.could_run, place) {
            (false, _) => Place::Idle,
            (true, Place::Idle) if request.held => Place::Waiting,
            (true, Place::Idle) => Place::Running,
            (true, place) => place,
        };
        if wanted == Place::Running && place == Place::Idle {
            self.begin(now, key);
        } else {
            self.put(key, wanted);
        }
        self.settle(now);
    }

    pub(super) fn remove(&mut self, now: Instant, key: Key) {
        if self.entries.contains_key(&key) {
            self.put(key, Place::Idle);
            self.leave(key);
            self.entries.remove(&key);
            self.verdicts.remove(&key);
            self.settle(now);
        }
    }

    /// Puts a download at a position, or at the end. False if it has none.
    pub(super) fn move_to(&mut self, now: Instant, key: Key, to: usize) -> bool {
        let Some(from) = self.position(key) else { return false };
        let to = to.min(self.order.len().saturating_sub(1));
        if from != to {
            let place = self.entries.get(&key).map_or(Place::Idle, |entry| entry.place);
            self.put(key, Place::Idle);
            self.order.remove(from);
            self.insert_at(to, key);
            self.put(key, place);
            self.settle(now);
        }
        true
    }

    /// The time that it asked for has come: who is slow does not count any more, who is not does,
    /// and seeds that had their turn make room. `rate` tells how fast a torrent's blocks come
    /// or go.
    pub(super) fn look(
        &mut self,
        now: Instant,
        slow_rate: u64,
        turn: Duration,
        rate: impl Fn(Key, Lane) -> u64,
    ) {
        self.look = None;
        let running = self
            .downloads
            .running
            .iter()
            .chain(&self.downloads.slow)
            .chain(&self.seeds.running)
            .chain(&self.seeds.slow);
        for key in running.map(|&(_, key)| key).collect::<Vec<_>>() {
            let Some(entry) = self.entries.get_mut(&key) else { continue };
            if rate(key, entry.lane) >= slow_rate {
                entry.slow_since = None;
            } else {
                entry.slow_since.get_or_insert(now);
            }
            let is_slow = entry.slow_since.is_some_and(|since| now.since(since) >= SLOW_AFTER);
            self.put(key, if is_slow { Place::Slow } else { Place::Running });
        }
        if !self.seeds.waiting.is_empty() {
            let full = self.downloads.active() + self.seeds.active() >= self.limits.total;
            // A slow seed is in no other's way, unless there is no room for more at all.
            let slow = self.seeds.slow.iter().filter(|_| full);
            let over = |key: &Key| {
                self.entries.get(key).is_some_and(|entry| now.since(entry.since) >= turn)
            };
            let over: Vec<Key> =
                self.seeds.running.iter().chain(slow).map(|&(_, key)| key).filter(over).collect();
            for key in over.into_iter().take(self.seeds.waiting.len()) {
                let place = self.entries.get(&key).map_or(Place::Idle, |entry| entry.place);
                self.put(key, Place::Idle);
                self.leave(key);
                self.join(key, Lane::Seed);
                self.put(key, place);
            }
        }
        self.settle(now);
    }

    // One entry at a time.

    fn line(&mut self, lane: Lane) -> &mut Line {
        match lane {
            Lane::Download => &mut self.downloads,
            Lane::Seed => &mut self.seeds,
        }
    }

    fn put(&mut self, key: Key, place: Place) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        let (lane, ord, before) =
            (entry.lane, entry.ord, std::mem::replace(&mut entry.place, place));
        if before == place {
            return;
        }
        if let Some(set) = self.line(lane).set(before) {
            set.remove(&(ord, key));
        }
        if let Some(set) = self.line(lane).set(place) {
            set.insert((ord, key));
        }
    }

    fn begin(&mut self, now: Instant, key: Key) {
        if let Some(entry) = self.entries.get_mut(&key) {
            (entry.since, entry.slow_since) = (now, None);
        }
        self.put(key, Place::Running);
    }

    /// Behind all of its like. It must be idle.
    fn join(&mut self, key: Key, lane: Lane) {
        let Some(entry) = self.entries.get_mut(&key) else { return };
        entry.lane = lane;
        match lane {
            Lane::Seed => {
                entry.ord = self.next_seed;
                self.next_seed += 1;
            }
            Lane::Download => self.insert_at(self.order.len(), key),
        }
    }

    /// Where an earlier run had it among others, as its `ord` then tells.
    fn insert_by(&mut self, ord: u64, key: Key) {
        let at = self.order.partition_point(|&(other, _)| other <= ord);
        let before = at.checked_sub(1).and_then(|at| self.order.get(at)).map(|&(ord, _)| ord);
        match self.entries.get_mut(&key) {
            // Its own number, so that it need not be kept anew.
            Some(entry) if before != Some(ord) => {
                entry.ord = ord;
                self.order.insert(at, (ord, key));
                self.version += 1;
            }
            _ => self.insert_at(at, key),
        }
    }

    /// Gives its position up. It must be idle.
    fn leave(&mut self, key: Key) {
        if let Some(at) = self.position(key) {
            self.order.remove(at);
            self.version += 1;
        }
    }

    fn insert_at(&mut self, at: usize, key: Key) {
        self.version += 1;
        let before = at.checked_sub(1).and_then(|at| self.order.get(at)).map(|&(ord, _)| ord);
        let after = self.order.get(at).map(|&(ord, _)| ord);
        let ord = match (before, after) {
            (None, None) => Some(u64::MAX / 2),
            (Some(before), None) => before.checked_add(GAP),
            (None, Some(after)) => after.checked_sub(GAP),
            (Some(before), Some(after)) => {
                Some(before + (after - before) / 2).filter(|&ord| ord > before)
            }
        };
        let at = at.min(self.order.len());
        self.order.insert(at, (ord.unwrap_or_default(), key));
        match (ord, self.entries.get_mut(&key)) {
            (Some(ord), Some(entry)) => entry.ord = ord,
            _ => self.renumber(),
        }
    }

    /// There is no room between two neighbours: everybody gets a new number. That takes twenty
    /// moves to the same place at least.
    fn renumber(&mut self) {
        self.renumbered = true;
        let start = u64::MAX / 2;
        for (at, (ord, key)) in self.order.iter_mut().enumerate() {
            *ord = start.saturating_add((at as u64).saturating_mul(GAP));
            if let Some(entry) = self.entries.get_mut(key) {
                entry.ord = *ord;
            }
        }
        self.downloads = Line::default();
        for &(ord, key) in &self.order {
            let place = self.entries.get(&key).map_or(Place::Idle, |entry| entry.place);
            if let Some(set) = self.downloads.set(place) {
                set.insert((ord, key));
            }
        }
    }

    // The consequences.

    fn hold(&mut self, key: Key) {
        self.put(key, Place::Waiting);
        self.verdicts.insert(key, true);
    }

    fn release(&mut self, now: Instant, key: Key) {
        self.begin(now, key);
        self.verdicts.insert(key, false);
    }

    fn total(&self) -> usize {
        self.downloads.active() + self.seeds.active()
    }

    /// The torrents that should run do, and no others.
    fn settle(&mut self, now: Instant) {
        while self.total() > self.limits.total {
            let Some((_, key)) = self.seeds.last().or_else(|| self.downloads.last()) else { break };
            self.hold(key);
        }
        for lane in [Lane::Download, Lane::Seed] {
            self.settle_lane(now, lane);
        }
        let waiting = !self.downloads.waiting.is_empty() || !self.seeds.waiting.is_empty();
        if waiting && self.total() > 0 {
            self.look.get_or_insert(now + LOOK);
        } else {
            self.look = None;
        }
    }

    fn settle_lane(&mut self, now: Instant, lane: Lane) {
        let (limit, total) = match lane {
            Lane::Download => (self.limits.downloads, self.limits.total),
            Lane::Seed => (self.limits.seeds, self.limits.total),
        };
        while self.line(lane).running.len() > limit
            && let Some(&(_, key)) = self.line(lane).running.last()
        {
            self.hold(key);
        }
        // A torrent that waits goes, if there is room, or if a torrent runs that comes after it.
        while let Some(&first) = self.line(lane).waiting.first() {
            if self.line(lane).running.len() >= limit {
                match self.line(lane).running.last().copied() {
                    Some(last) if last > first => self.hold(last.1),
                    _ => break,
                }
            } else if self.total() >= total {
                let seed = if lane == Lane::Download { self.seeds.last() } else { None };
                match seed.or_else(|| self.line(lane).last().filter(|&last| last > first)) {
                    Some((_, key)) => self.hold(key),
                    None => break,
                }
            }
            self.release(now, first.1);
        }
    }
}

#[cfg(test)]
mod tests;
