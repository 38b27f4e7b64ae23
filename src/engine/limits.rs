//! Who may move how many bytes now: the buckets of the engine, of each torrent and of each peer,
//! and the queue of links that wait for them. One [`Way`] for what comes and one for what goes.
//!
//! Nothing is handed out in advance: a bucket is charged with what has passed. A link asks
//! ([`Way::ask`]), moves at most that much, and tells how much it was ([`Way::spend`]). Who finds
//! nothing waits, and is woken in turn with a share of what has come together since; a share is a
//! right and not a deposit, so one that is not used is simply there for the next. It knows links
//! by name and torrents by key only.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{
    base::{
        arena::Key,
        bucket::{Bucket, Rate},
        time::Instant,
    },
    engine::StreamId,
};

/// Links that wait are looked after so often at most; so many links at a time at most.
const PACE: Duration = Duration::from_millis(20);
const WOKEN_A_TICK: usize = 256;

/// What a link may move now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quota {
    /// This many bytes, at least one.
    Bytes(usize),
    /// Nothing yet: it will be woken.
    Wait(For),
}

/// What a link waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum For {
    /// The bucket that is its own.
    Own,
    /// One that it shares with others.
    Shared,
}

/// One direction. See the module.
#[derive(Debug)]
pub(super) struct Way<L = StreamId> {
    engine: Option<Bucket>,
    /// Of the engine's bucket, the part that was promised to woken links in this round.
    promised: u64,
    /// The torrents that have a limit, and those that have not, as one, under `None`.
    groups: BTreeMap<Option<Key>, Group<L>>,
    /// The links that have a limit of their own.
    own: BTreeMap<L, Bucket>,
    seats: BTreeMap<L, Seat>,
    /// Links that wait in groups.
    waiting: usize,
    /// The next ticket. None is given twice.
    tickets: u64,
    /// Links that wait for their own bucket, by when it is ready.
    thirsty: BTreeSet<(Instant, L)>,
    /// Which group comes first in the next round.
    first: Option<Key>,
    round: u64,
    /// When promises of this round lapse, and the earliest time for the next.
    round_ends: Instant,
    /// When a link must be woken.
    next: Option<Instant>,
    /// Something is or was limited and has not been forgotten.
    on: bool,
}

/// Links that draw on the same buckets.
#[derive(Debug)]
struct Group<L> {
    bucket: Option<Bucket>,
    promised: u64,
    /// By ticket.
    queue: BTreeMap<u64, L>,
}

impl<L> Default for Group<L> {
    fn default() -> Self {
        Self { bucket: None, promised: 0, queue: BTreeMap::new() }
    }
}

/// What is known of a link that has met a limit.
#[derive(Clone, Copy, Debug, Default)]
struct Seat {
    place: Place,
    /// What it may use of what was shared out in `round`.
    turn: u64,
    round: u64,
    /// Its place in the queue when it comes back: it was given when it was woken, so it does not
    /// matter in which order those who are woken together are served, nor whether it missed
    /// its turn.
    ticket: Option<u64>,
    /// Bytes that pass unlimited: the rest of a handshake.
    free: usize,
}

#[derive(Clone, Copy, Debug, Default)]
enum Place {
    #[default]
    None,
    Queue(Option<Key>, u64),
    Thirsty(Instant),
}

impl<L: Ord + Copy> Way<L> {
    pub(super) fn new(now: Instant, rate: Option<Rate>) -> Self {
        let mut way = Self {
            engine: None,
            promised: 0,
            groups: BTreeMap::new(),
            own: BTreeMap::new(),
            seats: BTreeMap::new(),
            waiting: 0,
            tickets: 0,
            thirsty: BTreeSet::new(),
            first: None,
            round: 0,
            round_ends: now,
            next: None,
            on: false,
        };
        way.set_engine(now, rate);
        way
    }

    /// Whether there is anything to ask. All that an engine without limits ever looks at.
    pub(super) fn is_on(&self) -> bool {
        self.on
    }

    /// When [`tick`](Self::tick) is to be called.
    pub(super) fn next(&self) -> Option<Instant> {
        self.next
    }

    // The owner's verbs. A change of a limit wakes the links that wait for it.

    pub(super) fn set_engine(&mut self, now: Instant, rate: Option<Rate>) {
        set(&mut self.engine, now, rate);
        self.changed(now);
    }

    pub(super) fn set_torrent(&mut self, now: Instant, torrent: Key, rate: Option<Rate>) {
        if rate.is_some() || self.groups.contains_key(&Some(torrent)) {
            set(&mut self.groups.entry(Some(torrent)).or_default().bucket, now, rate);
        }
        if rate.is_none()
            && let Some(group) = self.groups.remove(&Some(torrent))
        {
            self.waiting -= group.queue.len();
            group.queue.into_values().for_each(|link| self.enqueue(link, None));
        }
        self.changed(now);
    }

    pub(super) fn set_own(&mut self, now: Instant, link: L, rate: Option<Rate>) {
        match (self.own.get_mut(&link), rate) {
            (Some(bucket), Some(rate)) => bucket.set_rate(now, rate),
            (None, Some(rate)) => _ = self.own.insert(link, Bucket::new(now, rate)),
            (_, None) => _ = self.own.remove(&link),
        }
        if let Some(seat) = self.seats.get_mut(&link)
            && let Place::Thirsty(at) = seat.place
        {
            // It looks again at once, and finds out when its bucket is ready now.
            self.thirsty.remove(&(at, link));
            self.thirsty.insert((now, link));
            seat.place = Place::Thirsty(now);
        }
        self.changed(now);
    }

    /// These next bytes of `link` pass unlimited.
    pub(super) fn pass(&mut self, link: L, bytes: usize) {
        self.seats.entry(link).or_default().free = bytes;
    }

    /// A link is over.
    pub(super) fn forget(&mut self, link: L) {
        self.own.remove(&link);
        if let Some(seat) = self.seats.remove(&link) {
            self.leave(link, seat.place);
        }
    }

    fn changed(&mut self, now: Instant) {
        let limited = self.engine.is_some()
            || !self.own.is_empty()
            || self.groups.values().any(|group| group.bucket.is_some());
        let awaited = self.waiting > 0 || !self.thirsty.is_empty();
        self.on = limited || awaited;
        if !self.on {
            self.seats.clear();
            self.groups.clear();
        } else if awaited {
            self.next = Some(now);
        }
    }

    // Asking and telling.

    /// What `link`, of `torrent`, may move now. Zero is never granted: it waits then.
    #[must_use]
    pub(super) fn ask(&mut self, now: Instant, link: L, torrent: Key) -> Quota {
        self.lapse(now);
        let seat = self.seats.entry(link).or_default();
        match seat.place {
            _ if seat.free > 0 => return Quota::Bytes(seat.free),
            Place::Queue(..) => return Quota::Wait(For::Shared),
            Place::Thirsty(_) => return Quota::Wait(For::Own),
            Place::None => {}
        }
        let turn = if seat.round == self.round { seat.turn } else { 0 };
        let mut quota = u64::MAX;
        if let Some(bucket) = self.own.get_mut(&link) {
            quota = bucket.level(now);
            if quota < bucket.floor() {
                let at = bucket.ready_at(bucket.quantum());
                seat.place = Place::Thirsty(at);
                self.thirsty.insert((at, link));
                self.plan(at);
                return Quota::Wait(For::Own);
            }
        }
        let torrent = Some(torrent).filter(|_| self.groups.contains_key(&Some(torrent)));
        let others = self.waiting;
        let group = torrent.and_then(|torrent| self.groups.get_mut(&Some(torrent)));
        let group = group.and_then(|group| {
            group.bucket.as_mut().map(|b| (b, group.promised, group.queue.len()))
        });
        let mut free = u64::MAX;
        // A link that has a turn uses that. Others take what no link waits for, if it is worth
        // while.
        let mut look = |bucket: &mut Bucket, promised: u64, others: usize| {
            let level = bucket.level(now);
            let left = level.saturating_sub(promised);
            free = free.min(match turn {
                0 if others > 0 || left < bucket.quantum() => 0,
                0 => left,
                turn => turn.min(level),
            });
        };
        if let Some((bucket, promised, others)) = group {
            look(bucket, promised, others);
        }
        if let Some(bucket) = &mut self.engine {
            look(bucket, self.promised, others);
        }
        if free == 0 {
            self.enqueue(link, torrent);
            self.plan(self.ready_at(torrent));
            return Quota::Wait(For::Shared);
        }
        Quota::Bytes(usize::try_from(quota.min(free)).unwrap_or(usize::MAX))
    }

    /// `link`, of `torrent`, has moved so many bytes.
    pub(super) fn spend(&mut self, now: Instant, link: L, torrent: Key, bytes: usize) {
        self.lapse(now);
        let mut bytes = bytes as u64;
        let mut kept = 0;
        if let Some(seat) = self.seats.get_mut(&link) {
            let free = bytes.min(seat.free as u64);
            seat.free -= free as usize;
            bytes -= free;
            if seat.round == self.round {
                kept = bytes.min(seat.turn);
            }
            seat.turn = seat.turn.saturating_sub(bytes);
        }
        if let Some(bucket) = self.own.get_mut(&link) {
            bucket.spend(now, bytes);
        }
        if let Some(group) = self.groups.get_mut(&Some(torrent)) {
            group.promised = group.promised.saturating_sub(kept);
            group.bucket.iter_mut().for_each(|bucket| bucket.spend(now, bytes));
        }
        self.promised = self.promised.saturating_sub(kept);
        self.engine.iter_mut().for_each(|bucket| bucket.spend(now, bytes));
    }

    // Waiting.

    /// Shares out what has come together: fills `woken` with those who may ask again. Too early it
    /// does nothing.
    pub(super) fn tick(&mut self, now: Instant, woken: &mut Vec<L>) {
        if self.next.is_none_or(|next| next > now) {
            return;
        }
        self.next_round(now);
        for _ in 0..WOKEN_A_TICK {
            let Some(&(_, link)) = self.thirsty.first().filter(|(at, _)| *at <= now) else { break };
            self.thirsty.pop_first();
            // It asks again, and waits with the others if it must.
            self.seats.entry(link).or_default().place = Place::None;
            woken.push(link);
        }
        self.share_out(now, woken);
        let ready = self
            .groups
            .iter()
            .filter(|(_, group)| !group.queue.is_empty())
            .map(|(&torrent, _)| self.ready_at(torrent));
        let soonest = ready.chain(self.thirsty.first().map(|(at, _)| *at)).min();
        self.next = None;
        if let Some(at) = soonest {
            self.plan(at);
        } else {
            // No link waits any more: if there is no limit either, all is forgotten.
            self.changed(now);
        }
    }

    /// One round, torrents with a limit first: what they cannot use is there for the others.
    fn share_out(&mut self, now: Instant, woken: &mut Vec<L>) {
        let mut budget = WOKEN_A_TICK;
        let mut heads = self.waiting;
        let (mut left, floor) = self
            .engine
            .as_mut()
            .map_or((u64::MAX, u64::MAX), |bucket| (bucket.level(now), bucket.floor()));
        let limited = |&(torrent, group): &(&Option<Key>, &Group<L>)| {
            torrent.is_some() && !group.queue.is_empty()
        };
        let mut order: Vec<_> =
            self.groups.iter().filter(limited).map(|(&torrent, _)| torrent).collect();
        let turned = order.partition_point(|&torrent| torrent <= self.first) % order.len().max(1);
        order.rotate_left(turned);
        self.first = order.first().copied().flatten();
        order.push(None);
        for torrent in order {
            let Some(group) = self.groups.get_mut(&torrent) else { continue };
            let mut members = group.queue.len();
            let (mut own, own_floor) = group
                .bucket
                .as_mut()
                .map_or((u64::MAX, u64::MAX), |bucket| (bucket.level(now), bucket.floor()));
            // Without any bucket the first one would otherwise be promised all there is.
            let floor = Some(floor.min(own_floor)).filter(|&floor| floor < u64::MAX).unwrap_or(1);
            while let Some(entry) = group.queue.first_entry().filter(|_| budget > 0) {
                let part = |of: u64, heads: usize| of / heads.clamp(1, budget) as u64;
                let share = part(left, heads).min(part(own, members)).max(floor);
                if share > left || share > own {
                    break;
                }
                let link = entry.remove();
                let share = self
                    .own
                    .get_mut(&link)
                    .map_or(share, |bucket| share.min(bucket.level(now).max(1)));
                let seat = self.seats.entry(link).or_default();
                (seat.place, seat.turn, seat.round) = (Place::None, share, self.round);
                seat.ticket = Some(self.tickets);
                self.tickets += 1;
                group.promised = group.promised.saturating_add(share);
                self.promised = self.promised.saturating_add(share);
                (left, own) = (left.saturating_sub(share), own.saturating_sub(share));
                (heads, members, budget) =
                    (heads.saturating_sub(1), members.saturating_sub(1), budget - 1);
                self.waiting = self.waiting.saturating_sub(1);
                woken.push(link);
            }
            heads = heads.saturating_sub(members);
        }
    }

    /// Whether `link` waits for what it shares with others.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn is_queued(&self, link: L) -> bool {
        self.seats.get(&link).is_some_and(|seat| matches!(seat.place, Place::Queue(..)))
    }

    fn enqueue(&mut self, link: L, torrent: Option<Key>) {
        let seat = self.seats.entry(link).or_default();
        let ticket = seat.ticket.take().unwrap_or(self.tickets);
        self.tickets = self.tickets.max(ticket + 1);
        seat.place = Place::Queue(torrent, ticket);
        self.groups.entry(torrent).or_default().queue.insert(ticket, link);
        self.waiting += 1;
    }

    fn leave(&mut self, link: L, place: Place) {
        match place {
            Place::None => {}
            Place::Thirsty(at) => _ = self.thirsty.remove(&(at, link)),
            Place::Queue(torrent, ticket) => {
                let group = self.groups.get_mut(&torrent);
                self.waiting -=
                    usize::from(group.is_some_and(|group| group.queue.remove(&ticket).is_some()));
            }
        }
    }

    /// When a link of this group can be woken.
    fn ready_at(&self, torrent: Option<Key>) -> Instant {
        let ready = |bucket: &Bucket, promised: u64| {
            bucket.ready_at(promised.saturating_add(bucket.quantum()))
        };
        let group = self
            .groups
            .get(&torrent)
            .and_then(|group| group.bucket.as_ref().map(|b| ready(b, group.promised)));
        let engine = self.engine.as_ref().map(|bucket| ready(bucket, self.promised));
        group.max(engine).unwrap_or(Instant::ZERO)
    }

    fn plan(&mut self, at: Instant) {
        let at = at.max(self.round_ends);
        self.next = Some(self.next.map_or(at, |next| next.min(at)));
    }

    /// What was promised and not used within its time is anybody's.
    fn lapse(&mut self, now: Instant) {
        if self.promised > 0 && self.round_ends <= now {
            self.next_round(now);
        }
    }

    fn next_round(&mut self, now: Instant) {
        self.round += 1;
        self.round_ends = now + PACE;
        self.promised = 0;
        self.groups.values_mut().for_each(|group| group.promised = 0);
    }
}

fn set(bucket: &mut Option<Bucket>, now: Instant, rate: Option<Rate>) {
    match (bucket.as_mut(), rate) {
        (Some(bucket), Some(rate)) => bucket.set_rate(now, rate),
        (_, rate) => *bucket = rate.map(|rate| Bucket::new(now, rate)),
    }
}
