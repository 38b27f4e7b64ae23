//! Who may ask us for blocks: the policy alone, a list of plain rows in, who is unchoked out.
//!
//! It must not know sessions, sockets or messages, so that every rule can be tested as a table.
//! While downloading it is tit for tat (BEP 3: the peers that give most are served, and some are
//! tried optimistically); while seeding one of [`SeedChoking`].
//!
//! A connection costs nothing, so slots are shared out among hosts first: as long as a peer of
//! another host waits, many connections of one host get no more than one of them does, but for what
//! they pay for by giving (Adamsky et al., "Stealing bandwidth from BitTorrent seeders", 2014, held
//! a seed's slots that way). Many users may share an address, so a slot that no other host wants is
//! theirs.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::Duration,
};

use crate::{
    base::{arena::Key, rng::Rng, time::Instant},
    conf::{Conf, SeedChoking},
};

#[cfg(test)]
mod tests;

/// Slots of a torrent without an upload limit: more than a swarm usually wants of one peer.
const MANY_SLOTS: usize = 64;
/// Slots however low the limit: one for a peer that gives, one to try others.
const FEW_SLOTS: usize = 2;
/// One slot in so many is for those who are tried optimistically.
const OPTIMISTIC_PART: usize = 5;
/// A newcomer draws so many lots for an optimistic slot, any other peer one (BEP 3).
const NEWCOMER_LOTS: usize = 3;
/// A peer keeps its slot unless another peer's rate is a quarter better: small differences come and
/// go.
const INCUMBENT_BONUS: (u64, u64) = (5, 4);
/// A seeding turn without the quota ends after so many times the usual length.
const LONGEST_TURN: u32 = 2;
/// Two peers that are as far as this (per mille of the torrent) are equals for
/// [`SeedChoking::AntiLeech`].
const FAR_AS: u32 = 100;

/// How many peers a torrent serves at a time. Without an upload limit many; with one of `limit`
/// bytes per second a number that grows as its square root, as the first BitTorrent had it, so that
/// each slot's share grows too: 2 up to 11 KiB/s, 7 at 100 KiB/s, 24 at 1 MiB/s.
pub(crate) fn auto_slots(limit: Option<u64>) -> usize {
    let slots = limit.map_or(MANY_SLOTS, |limit| (limit as f64 / 1024.0 * 0.6).sqrt() as usize);
    slots.clamp(FEW_SLOTS, MANY_SLOTS)
}

/// How many of `slots` are for those who have not earned one: a fifth, and one at least.
pub(crate) fn optimistic_slots(slots: usize) -> usize {
    (slots / OPTIMISTIC_PART).max(1).min(slots)
}

/// Whether a peer is unchoked, and how it came by that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Slot {
    /// It is choked.
    None,
    /// It has a slot by the rule of the [`Mode`].
    Regular,
    /// It was unchoked without having earned it.
    Optimistic,
}

impl Slot {
    pub(crate) fn new(unchoked: bool, optimistic: bool) -> Self {
        match (unchoked, optimistic) {
            (false, _) => Self::None,
            (true, false) => Self::Regular,
            (true, true) => Self::Optimistic,
        }
    }
}

/// How one peer stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) key: Key,
    /// An IPv4 address or an IPv6 /64.
    pub(crate) host: IpAddr,
    /// When a peer of its host had a slot last, as far as it is known.
    pub(crate) host_served: Instant,
    /// It wants something we have, and lacks something: a peer that has everything never takes a
    /// slot.
    pub(crate) wants: bool,
    pub(crate) slot: Slot,
    /// Since when it is unchoked, or since when it waits to be.
    pub(crate) since: Instant,
    /// It was never unchoked.
    pub(crate) newcomer: bool,
    /// It does not deliver what we ask for.
    pub(crate) snubbed: bool,
    /// It has taken nothing for the time of a trial, though it could: it has a slot for nothing.
    pub(crate) stalled: bool,
    /// Useful bytes per second from it.
    pub(crate) from: u64,
    /// Bytes per second to it.
    pub(crate) to: u64,
    /// Bytes sent to it since it is unchoked.
    pub(crate) sent: u64,
    /// How much of the torrent it has, by its word or by what we sent it, per mille.
    pub(crate) progress: u32,
}

impl Row {
    pub(crate) fn is_unchoked(&self) -> bool {
        self.slot != Slot::None
    }
}

/// By what peers are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// We download: by what they give.
    TitForTat,
    /// We have everything.
    Seed(SeedChoking),
}

/// The numbers of the policy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) mode: Mode,
    pub(crate) slots: usize,
    /// No peer is choked sooner after it was unchoked.
    pub(crate) hold: Duration,
    /// How long a peer is tried.
    pub(crate) trial: Duration,
    /// A seeding turn: at least this long, and at least these bytes.
    pub(crate) turn: Duration,
    pub(crate) quota: u64,
}

impl Rules {
    pub(crate) fn new(mode: Mode, slots: usize, conf: &Conf) -> Self {
        Self {
            mode,
            slots,
            hold: conf.uploads.choke_interval,
            trial: conf.uploads.optimistic_interval,
            turn: conf.uploads.seed_turn,
            quota: conf.uploads.seed_quota,
        }
    }

    /// The same, but no peer that wants its slot loses it: for filling slots between two rounds.
    pub(crate) fn filling(self) -> Self {
        Self { hold: Duration::MAX, ..self }
    }
}

/// A peer that is to be unchoked, or stays so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Grant {
    pub(crate) key: Key,
    pub(crate) optimistic: bool,
}

/// Who has a slot from `now` on; everybody else is choked. O(n log n) in the rows.
pub(crate) fn decide(rows: &[Row], rules: &Rules, now: Instant, rng: &mut Rng) -> Vec<Grant> {
    // A slot that a peer does not use goes to those who may; it keeps the least time of all, and
    // comes back when it reads on.
    // What is given pays for a slot, used or not.
    let pays = |row: &Row| rules.mode == Mode::TitForTat && row.from > 0 && !row.snubbed;
    let is_fresh = |row: &Row| row.is_unchoked() && now.since(row.since) < rules.hold;
    let useless = |row: &Row| row.stalled && !is_fresh(row) && !pays(row);
    let (mut stalled, wanting): (Vec<&Row>, Vec<&Row>) =
        rows.iter().filter(|row| row.wants).partition(|row| useless(row));
    let mut grants = if wanting.len() <= rules.slots {
        wanting.iter().map(|row| Grant { key: row.key, optimistic: false }).collect()
    } else {
        contend(&wanting, rules, now, rng)
    };
    // One that is left is theirs as well as anybody's.
    stalled.sort_by_key(|row| (!row.is_unchoked(), row.since, row.key));
    let room = rules.slots.saturating_sub(grants.len());
    grants.extend(
        stalled.into_iter().take(room).map(|row| Grant { key: row.key, optimistic: false }),
    );
    // A slot that no peer wants stays with the peer that had it: interest comes and goes, and a
    // choke each time would only cost messages.
    let idle = rows.iter().filter(|row| !row.wants && row.is_unchoked());
    let room = rules.slots.saturating_sub(grants.len());
    grants.extend(idle.take(room).map(|row| Grant { key: row.key, optimistic: false }));
    grants
}

/// More want a slot than there are.
fn contend(wanting: &[&Row], rules: &Rules, now: Instant, rng: &mut Rng) -> Vec<Grant> {
    let held = |row: &Row| now.since(row.since);
    let is_fresh = |row: &Row| row.is_unchoked() && held(row) < rules.hold;
    let mut table = Table::new(wanting, rules.slots);
    let (regular, order) = claims(wanting, rules, now, is_fresh);
    let mut claim = vec![false; wanting.len()];
    for &at in order.iter().take(regular) {
        if let Some(claim) = claim.get_mut(at) {
            *claim = true;
        }
    }
    let earned = |at: usize| claim.get(at).copied().unwrap_or_default();
    let by_lot = regular < rules.slots;
    let rows = || wanting.iter().enumerate().map(|(at, row)| (at, *row));

    // A peer that was unchoked a moment ago has had no chance yet.
    rows()
        .filter(|(_, row)| is_fresh(row))
        .for_each(|(at, _)| table.grant(at, by_lot && !earned(at)));
    // Then the peers that have earned a slot.
    order.iter().take(regular).for_each(|&at| table.grant(at, false));
    // Then the peers that are being tried, unless others of their host have a slot and some of
    // another host have none.
    let mut tried: Vec<_> = rows().filter(|(at, row)| row.is_unchoked() && !earned(*at)).collect();
    tried.sort_by_key(|(_, row)| (row.slot != Slot::Optimistic, Reverse(row.since), row.key));
    let others_wait = wanting.iter().any(|row| !row.is_unchoked() && table.hosts.of(row) == 0);
    for &(at, row) in tried.iter().filter(|(_, row)| held(row) < rules.trial) {
        if !others_wait || table.hosts.of(row) == 0 {
            table.grant(at, true);
        }
    }
    // Then other peers: of the host that has fewest slots, by lot. If there are none, those that
    // have been tried go on.
    if table.room() > 0 {
        let mut lots: Vec<_> = rows()
            .filter(|(_, row)| !row.is_unchoked())
            .map(|(at, row)| (at, row, lot(row, rng)))
            .collect();
        lots.sort_by_key(|(_, row, _)| (row.since, row.key));
        let mut hosts = table.hosts.clone();
        let mut next: Vec<_> = lots
            .iter()
            .map(|&(at, row, lot)| (hosts.count(row), false, u64::MAX - lot, at))
            .collect();
        let gone_on = tried.iter().zip(0..).filter(|((at, _), _)| !table.has(*at));
        next.extend(gone_on.map(|(&(at, row), nth)| (hosts.count(row), true, nth, at)));
        next.sort_unstable();
        next.iter().for_each(|&(.., at)| table.grant(at, true));
    }
    table.grants
}

/// Slots by host.
#[derive(Clone, Debug, Default)]
struct Hosts(BTreeMap<IpAddr, usize>);

impl Hosts {
    fn of(&self, row: &Row) -> usize {
        self.0.get(&row.host).copied().unwrap_or_default()
    }

    /// Counts one more; returns how many there were before.
    fn count(&mut self, row: &Row) -> usize {
        let slots = self.0.entry(row.host).or_default();
        *slots += 1;
        *slots - 1
    }
}

/// Grants so far.
struct Table<'a> {
    wanting: &'a [&'a Row],
    grants: Vec<Grant>,
    granted: Vec<bool>,
    hosts: Hosts,
    slots: usize,
}

impl<'a> Table<'a> {
    fn new(wanting: &'a [&'a Row], slots: usize) -> Self {
        let (grants, granted) = (Vec::with_capacity(slots), vec![false; wanting.len()]);
        Self { wanting, grants, granted, hosts: Hosts::default(), slots }
    }

    fn room(&self) -> usize {
        self.slots.saturating_sub(self.grants.len())
    }

    fn has(&self, at: usize) -> bool {
        self.granted.get(at).copied().unwrap_or_default()
    }

    fn grant(&mut self, at: usize, optimistic: bool) {
        if self.room() == 0 {
            return;
        }
        if let (Some(row), Some(granted)) = (self.wanting.get(at), self.granted.get_mut(at))
            && !std::mem::replace(granted, true)
        {
            self.hosts.count(row);
            self.grants.push(Grant { key: row.key, optimistic });
        }
    }
}

/// The highest of a peer's lots.
fn lot(row: &Row, rng: &mut Rng) -> u64 {
    let lots = if row.newcomer { NEWCOMER_LOTS } else { 1 };
    (0..lots).map(|_| rng.next_u64()).max().unwrap_or_default()
}

/// How many slots are for those with a claim, and who has one, best first. Of those that are not
/// `fresh`, a host has one, and more where they are paid for or no other host is there.
fn claims(
    wanting: &[&Row],
    rules: &Rules,
    now: Instant,
    fresh: impl Fn(&Row) -> bool,
) -> (usize, Vec<usize>) {
    let earned = rules.slots - optimistic_slots(rules.slots);
    let ranked = |order: Vec<usize>| {
        let mut hosts = Hosts::default();
        wanting.iter().filter(|row| fresh(row)).for_each(|row| _ = hosts.count(row));
        let rows = order.into_iter().filter_map(|at| wanting.get(at).map(|row| (at, *row)));
        let rank = |(at, row): (usize, &Row)| {
            (if fresh(row) { hosts.of(row).saturating_sub(1) } else { hosts.count(row) }, at)
        };
        rows.map(rank).collect::<Vec<_>>()
    };
    let up_to = |slots: usize, order: Vec<usize>| {
        let ranked = ranked(order);
        let beyond = |(rank, _): &(usize, usize)| *rank >= slots;
        let crowded: BTreeSet<IpAddr> = ranked
            .iter()
            .filter(|r| beyond(r))
            .filter_map(|(_, at)| wanting.get(*at))
            .map(|row| row.host)
            .collect();
        // All others could have a slot each, or have a claim.
        let within = ranked.iter().filter(|r| !beyond(r)).filter_map(|(_, at)| wanting.get(*at));
        let (claims, of_others) = within.fold((0, 0), |(n, others), row| {
            (n + 1, others + usize::from(!crowded.contains(&row.host)))
        });
        let others = wanting.iter().filter(|row| !crowded.contains(&row.host)).count();
        let mut to_spare = rules.slots.saturating_sub(claims + others - of_others);
        let mut fits = |r: &(usize, usize)| {
            let fits = !beyond(r) || to_spare > 0;
            to_spare = to_spare.saturating_sub(usize::from(beyond(r)));
            fits
        };
        ranked.into_iter().filter(|r| fits(r)).map(|(_, at)| at).collect()
    };
    // Within a host the peer that has waited longest comes first, which is no merit before other
    // hosts.
    let in_turns = |edge: &dyn Fn(&Row) -> u32| {
        let turns = Turns::new(wanting, rules, now);
        let mut order: Vec<usize> = (0..wanting.len()).collect();
        order.sort_by_key(|&at| {
            wanting.get(at).map(|row| (Reverse(edge(row)), turns.of(row), row.since, row.key))
        });
        let mut ranked = ranked(order);
        ranked.sort_by_key(|&(rank, at)| {
            (rank, wanting.get(at).map(|row| (Reverse(edge(row)), turns.of(row), row.key)))
        });
        ranked.into_iter().map(|(_, at)| at).collect()
    };
    match rules.mode {
        // What is given pays for the slot, so a host may have more, but not all while others wait.
        Mode::TitForTat => (
            earned,
            up_to(
                earned.div_ceil(2),
                by_rate(wanting, |row| if row.snubbed { 0 } else { row.from }),
            ),
        ),
        Mode::Seed(SeedChoking::FastestUpload) => {
            // The first moments only fill buffers: a peer on trial is judged at its end.
            let judged = |row: &Row| match row.slot {
                Slot::None => false,
                Slot::Regular => true,
                Slot::Optimistic => now.since(row.since) >= rules.trial,
            };
            (earned, up_to(1, by_rate(wanting, |row| if judged(row) { row.to } else { 0 })))
        }
        Mode::Seed(SeedChoking::AntiLeech) => {
            (earned, in_turns(&|row| row.progress.min(1000).abs_diff(500) / FAR_AS))
        }
        // Every peer's turn comes, so no peer needs to be tried.
        Mode::Seed(SeedChoking::RoundRobin) => (rules.slots, in_turns(&|_| 0)),
    }
}

/// Those with a rate, fastest first.
fn by_rate(wanting: &[&Row], rate: impl Fn(&Row) -> u64) -> Vec<usize> {
    let score = |row: &Row| {
        let (times, per) = if row.slot == Slot::Regular { INCUMBENT_BONUS } else { (1, 1) };
        rate(row).saturating_mul(times) / per
    };
    let rows = wanting.iter().enumerate().filter(|(_, row)| rate(row) > 0);
    let mut order: Vec<_> = rows.map(|(at, row)| (Reverse(score(row)), row.key, at)).collect();
    order.sort_unstable();
    order.into_iter().map(|(_, _, at)| at).collect()
}

/// Where peers stand in the round.
struct Turns<'a> {
    rules: &'a Rules,
    now: Instant,
    /// Hosts that have a slot.
    served: Hosts,
}

impl<'a> Turns<'a> {
    fn new(wanting: &[&Row], rules: &'a Rules, now: Instant) -> Self {
        let mut served = Hosts::default();
        wanting.iter().filter(|row| row.is_unchoked()).for_each(|row| _ = served.count(row));
        Self { rules, now, served }
    }

    /// First those whose turn goes on, then those who wait, longest first, then those who had
    /// theirs. A turn of one is a turn of its host: the others of it wait from then on as if
    /// they had come then.
    fn of(&self, row: &Row) -> (u8, Instant) {
        let Self { rules, now, .. } = *self;
        let held = now.since(row.since);
        // A peer that takes little would otherwise keep others from much.
        let had_enough = row.sent >= rules.quota || held >= rules.turn.saturating_mul(LONGEST_TURN);
        let over = held >= rules.turn && had_enough;
        let waits_since =
            if self.served.of(row) > 0 { now } else { row.since.max(row.host_served) };
        match (row.is_unchoked(), over) {
            (true, false) => (0, row.since),
            (false, _) => (1, waits_since),
            (true, true) => (2, row.since),
        }
    }
}
