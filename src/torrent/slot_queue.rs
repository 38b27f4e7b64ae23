//! Peers that wait for an upload slot, kept in the order of their turns as they come and go, so
//! that a slot which becomes free finds the next peer without a look at the others.
//!
//! The order is that of [`SeedChoking::RoundRobin`](crate::SeedChoking::RoundRobin), as
//! [`choker::decide`](crate::torrent::choker::decide) has it when no peer loses a slot: the host
//! with fewest slots first, then the peer that has waited longest, counted from the moment at which
//! a peer of its host had a slot last. Hosts that have as many slots, and had their turn, are
//! equals; which of them is next is left to the keys of their peers. It does not know peer
//! sessions, and not how many slots there are.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use crate::base::{arena::Key, time::Instant};

/// Later than any time at which a peer began to wait.
const LAST: Instant = Instant::from_micros(u64::MAX);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct SlotQueue {
    /// Hosts with a peer that waits, or has a slot and wants it.
    hosts: BTreeMap<IpAddr, Host>,
    /// The turn of each host with a peer that waits.
    turns: BTreeSet<(Turn, IpAddr)>,
    /// Peers that wait and come after all others, since they take nothing, by the time since which
    /// they wait.
    aside: BTreeMap<(Instant, Key), IpAddr>,
}

/// Peers of one IPv4 address or IPv6 /64.
#[derive(Debug)]
struct Host {
    /// Slots of its peers.
    slots: usize,
    /// Of those, the ones that were given since the choice began.
    given: usize,
    /// When a peer of it lost a slot last, as long as peers wait.
    served: Instant,
    /// Since when each peer waits.
    waiting: BTreeSet<(Instant, Key)>,
    /// Its entry among the turns.
    turn: Option<Turn>,
}

/// The place of a host's first peer: the least comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    slots: usize,
    since: Instant,
    peer: Key,
}

impl Host {
    fn first(&self) -> Option<Turn> {
        let &(since, peer) = self.waiting.first()?;
        let had_turn = self.slots > self.given;
        let since = if had_turn { LAST } else { since.max(self.served) };
        Some(Turn { slots: self.slots, since, peer })
    }
}

impl SlotQueue {
    /// Changes a host, and puts it where it belongs then.
    fn change(&mut self, ip: IpAddr, change: impl FnOnce(&mut Host)) {
        let host = self.hosts.entry(ip).or_insert_with(|| Host {
            slots: 0,
            given: 0,
            served: Instant::ZERO,
            waiting: BTreeSet::new(),
            turn: None,
        });
        change(host);
        let turn = host.first();
        let before = std::mem::replace(&mut host.turn, turn);
        if host.slots == 0 && host.waiting.is_empty() {
            self.hosts.remove(&ip);
        }
        if before != turn {
            if let Some(turn) = before {
                self.turns.remove(&(turn, ip));
            }
            self.turns.extend(turn.map(|turn| (turn, ip)));
        }
    }

    /// A peer waits from `since` on.
    pub(super) fn wait(&mut self, ip: IpAddr, since: Instant, peer: Key) {
        self.change(ip, |host| _ = host.waiting.insert((since, peer)));
    }

    /// A peer that waited `since` then does not wait any more.
    pub(super) fn leave(&mut self, ip: IpAddr, since: Instant, peer: Key) {
        if self.aside.remove(&(since, peer)).is_none() {
            self.change(ip, |host| _ = host.waiting.remove(&(since, peer)));
        }
    }

    /// A peer has a slot that it wants.
    pub(super) fn serve(&mut self, ip: IpAddr) {
        self.change(ip, |host| host.slots += 1);
    }

    /// A peer has its slot no longer, or does not want it.
    pub(super) fn end_service(&mut self, ip: IpAddr) {
        self.change(ip, |host| host.slots = host.slots.saturating_sub(1));
    }

    /// A peer has lost its slot: its host has had a turn, and those of it that wait do so from now
    /// on. It does not matter to those who come later.
    pub(super) fn note_served(&mut self, ip: IpAddr, now: Instant) {
        if self.hosts.contains_key(&ip) {
            self.change(ip, |host| host.served = now);
        }
    }

    /// When a peer of this host lost a slot last, as far as it matters to those of it that wait.
    pub(super) fn served(&self, ip: IpAddr) -> Instant {
        self.hosts.get(&ip).map_or(Instant::ZERO, |host| host.served)
    }

    /// Chooses peers for `room` slots, which count as [served](Self::serve) from now on. A peer
    /// that is `stalled` is put aside, and gets a slot only where one is left.
    pub(super) fn choose(&mut self, room: usize, mut stalled: impl FnMut(Key) -> bool) -> Vec<Key> {
        let (mut chosen, mut hosts) = (Vec::new(), Vec::new());
        while chosen.len() < room
            && let Some(&(turn, ip)) = self.turns.first()
        {
            let Some(&(since, peer)) = self.hosts.get(&ip).and_then(|host| host.waiting.first())
            else {
                break;
            };
            debug_assert_eq!(peer, turn.peer);
            if stalled(peer) {
                self.change(ip, |host| _ = host.waiting.remove(&(since, peer)));
                self.aside.insert((since, peer), ip);
                continue;
            }
            self.change(ip, |host| {
                host.waiting.remove(&(since, peer));
                host.slots += 1;
                host.given += 1;
            });
            hosts.push(ip);
            chosen.push(peer);
        }
        for ip in hosts {
            self.change(ip, |host| host.given = 0);
        }
        while chosen.len() < room
            && let Some(((_, peer), ip)) = self.aside.pop_first()
        {
            self.serve(ip);
            chosen.push(peer);
        }
        chosen
    }

    /// A peer that was put aside may take something again.
    pub(super) fn recall(&mut self, since: Instant, peer: Key) {
        if let Some(ip) = self.aside.remove(&(since, peer)) {
            self.wait(ip, since, peer);
        }
    }

    /// All that were put aside are looked at again.
    pub(super) fn recall_all(&mut self) {
        for ((since, peer), ip) in std::mem::take(&mut self.aside) {
            self.wait(ip, since, peer);
        }
    }

    /// The peers that wait, with their hosts and since when they do.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn waiting(&self) -> BTreeSet<(IpAddr, Instant, Key)> {
        let waiting = self.hosts.iter().flat_map(|(&ip, host)| {
            host.waiting.iter().map(move |&(since, peer)| (ip, since, peer))
        });
        let aside = self.aside.iter().map(|(&(since, peer), &ip)| (ip, since, peer));
        waiting.chain(aside).collect()
    }

    /// How many slots each host has that its peers want.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn slots(&self) -> BTreeMap<IpAddr, usize> {
        let slots = self.hosts.iter().map(|(&ip, host)| (ip, host.slots));
        slots.filter(|(_, slots)| *slots > 0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::rng::Rng,
        conf::{Conf, SeedChoking},
        torrent::choker::{Mode, Row, Rules, Slot, decide},
    };

    fn at(ms: u64) -> Instant {
        Instant::from_micros(ms * 1000)
    }

    fn host(n: u64) -> IpAddr {
        [10, 0, (n >> 8) as u8, n as u8].into()
    }

    /// One row of a torrent that seeds in turns. Some are stalled where each has a host of its own:
    /// otherwise the keys of those decide between hosts that are equals.
    fn row(index: u32, alone: bool, rng: &mut Rng, served: &BTreeMap<IpAddr, Instant>) -> Row {
        let nth = if alone { u64::from(index) } else { rng.below(12) };
        let (host, unchoked) = (host(nth), rng.below(4) == 0);
        Row {
            key: Key { index, generation: 1 },
            host,
            host_served: served.get(&host).copied().unwrap_or(Instant::ZERO),
            wants: true,
            slot: Slot::new(unchoked, false),
            since: at(rng.below(40)),
            newcomer: false,
            snubbed: false,
            stalled: alone && !unchoked && rng.below(5) == 0,
            from: 0,
            to: 0,
            sent: rng.below(1 << 20),
            progress: 0,
        }
    }

    #[test]
    fn chosen_peers_are_those_that_the_choker_would_choose() {
        let mut rng = Rng::new(7);
        for world in 0..2000 {
            let served: BTreeMap<IpAddr, Instant> =
                (0..12).map(|n| (host(n), at(rng.below(50)))).collect();
            let count = 1 + rng.below(30) as u32;
            let rows: Vec<Row> =
                (0..count).map(|n| row(n, world % 2 == 0, &mut rng, &served)).collect();
            let unchoked = rows.iter().filter(|row| row.is_unchoked()).count();
            let slots = unchoked + rng.below(8) as usize;
            let mode = Mode::Seed(SeedChoking::RoundRobin);
            let rules = Rules::new(mode, slots, &Conf::default()).filling();
            let mut expected: Vec<Key> = decide(&rows, &rules, at(60), &mut rng)
                .into_iter()
                .map(|grant| grant.key)
                .filter(|key| rows.iter().any(|row| row.key == *key && !row.is_unchoked()))
                .collect();
            let mut queue = SlotQueue::default();
            for row in &rows {
                if row.is_unchoked() {
                    queue.serve(row.host);
                } else {
                    queue.wait(row.host, row.since, row.key);
                }
            }
            served.iter().for_each(|(&ip, &served)| queue.note_served(ip, served));
            let stalled = |key| rows.iter().any(|row| row.key == key && row.stalled);
            let mut chosen = queue.choose(slots - unchoked, stalled);
            chosen.sort_unstable();
            expected.sort_unstable();
            assert_eq!(chosen, expected, "{slots} slots for {rows:#?}");
        }
    }

    #[test]
    fn freed_slot_looks_at_one_of_a_thousand_waiting_peers() {
        for hosts in [1, 10, 1000] {
            let mut queue = SlotQueue::default();
            (0..1000_u32).for_each(|n| {
                let peer = Key { index: n, generation: 1 };
                queue.wait(host(u64::from(n % hosts)), at(n.into()), peer);
            });
            let mut looked = 0;
            let mut served = Vec::new();
            for turn in 0..500_u64 {
                let chosen = queue.choose(1, |_| {
                    looked += 1;
                    false
                });
                served.push(chosen[0].index);
                let ip = host(u64::from(chosen[0].index % hosts));
                queue.end_service(ip);
                queue.note_served(ip, at(2000 + turn));
            }
            assert_eq!(looked, 500);
            assert_eq!(served, (0..500).collect::<Vec<u32>>(), "those that wait longest");
        }
    }

    #[test]
    fn stalled_peers_are_looked_at_once_until_they_are_recalled() {
        let mut queue = SlotQueue::default();
        let peer = |n: u32| Key { index: n, generation: 1 };
        (0..100).for_each(|n| queue.wait(host(n.into()), at(n.into()), peer(n)));
        let mut looked = 0;
        let mut choose = |queue: &mut SlotQueue| {
            queue.choose(1, |peer| {
                looked += 1;
                peer.index < 98
            })
        };
        assert_eq!(choose(&mut queue), [peer(98)]);
        assert_eq!(choose(&mut queue), [peer(99)]);
        assert_eq!(choose(&mut queue), [peer(0)], "a slot that is left");
        queue.recall(at(1), peer(1));
        queue.leave(host(2), at(2), peer(2));
        assert_eq!(choose(&mut queue), [peer(1)], "it is stalled still");
        assert_eq!(choose(&mut queue), [peer(3)]);
        assert_eq!(looked, 101);
        queue.recall_all();
        assert_eq!(queue.waiting().len(), 94);
    }
}
