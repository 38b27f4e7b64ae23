//! Bans that end. A key that is banned again soon after is banned for longer. It knows keys, not
//! who they are or what they did.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::{base::time::Instant, conf::Conf};

/// Entries at most; when it is full, the ban that ends first goes.
const MAX_BANS: usize = 4096;

/// See the module. An entry outlives its ban, so that the next one can be longer.
#[derive(Debug)]
pub(crate) struct Bans<K> {
    bans: BTreeMap<K, Ban>,
    by_end: BTreeSet<(Instant, K)>,
}

#[derive(Clone, Copy, Debug)]
struct Ban {
    until: Instant,
    /// How long it was, or would have been.
    time: Duration,
}

impl<K> Default for Bans<K> {
    fn default() -> Self {
        Self { bans: BTreeMap::new(), by_end: BTreeSet::new() }
    }
}

impl<K: Ord + Copy> Bans<K> {
    /// Bans `key` for [`PeerConf::ban_time`](crate::conf::PeerConf::ban_time); for twice as long as
    /// the last time, up to [`PeerConf::max_ban_time`](crate::conf::PeerConf::max_ban_time), if
    /// that has ended no longer ago than the latter. One that is banned already stays so for as
    /// long as it was to be.
    pub(crate) fn ban(&mut self, now: Instant, key: K, conf: &Conf) {
        if self.is_banned(now, key) {
            return;
        }
        self.forget_old(now, conf);
        let longest = conf.peers.max_ban_time.max(conf.peers.ban_time);
        let time = self
            .bans
            .get(&key)
            .map_or(conf.peers.ban_time, |last| last.time.saturating_mul(2).min(longest));
        self.put(key, Ban { until: now + time, time });
    }

    /// Bans `key` until then, whatever was.
    pub(crate) fn ban_until(&mut self, key: K, until: Instant) {
        let time = self.bans.get(&key).map_or(Duration::ZERO, |ban| ban.time);
        self.put(key, Ban { until, time });
    }

    /// Ends the bans of those that are `meant` and forgets that there were any. Whether there were.
    pub(crate) fn lift(&mut self, meant: impl Fn(K) -> bool) -> bool {
        let before = self.bans.len();
        self.bans.retain(|&key, _| !meant(key));
        self.by_end.retain(|&(_, key)| !meant(key));
        self.bans.len() < before
    }

    pub(crate) fn is_banned(&self, now: Instant, key: K) -> bool {
        self.bans.get(&key).is_some_and(|ban| now < ban.until)
    }

    /// How many are banned now.
    pub(crate) fn count(&self, now: Instant) -> usize {
        self.by_end.iter().rev().take_while(|&&(until, _)| now < until).count()
    }

    fn put(&mut self, key: K, ban: Ban) {
        if let Some(old) = self.bans.insert(key, ban) {
            self.by_end.remove(&(old.until, key));
        } else if self.bans.len() > MAX_BANS
            && let Some((_, first)) = self.by_end.pop_first()
        {
            self.bans.remove(&first);
        }
        self.by_end.insert((ban.until, key));
    }

    fn forget_old(&mut self, now: Instant, conf: &Conf) {
        while let Some(&(until, key)) = self.by_end.first()
            && until + conf.peers.max_ban_time < now
        {
            self.by_end.pop_first();
            self.bans.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn conf() -> Conf {
        Conf::default().with(|conf| {
            conf.peers.ban_time = HOUR;
            conf.peers.max_ban_time = 24 * HOUR;
        })
    }

    #[test]
    fn a_ban_ends_and_the_next_is_longer_up_to_a_limit() {
        let mut bans = Bans::default();
        let mut now = Instant::ZERO;
        for hours in [1, 2, 4, 8, 16, 24, 24] {
            bans.ban(now, 7, &conf());
            let end = now + hours * HOUR;
            assert!(bans.is_banned(end - Duration::from_micros(1), 7), "{hours} h");
            assert!(!bans.is_banned(end, 7), "{hours} h");
            assert_eq!((bans.count(now), bans.count(end)), (1, 0));
            now = end;
        }
        // Long after that it is a stranger again.
        now = now + 25 * HOUR;
        bans.ban(now, 7, &conf());
        assert!(bans.is_banned(now, 7) && !bans.is_banned(now + HOUR, 7));
    }

    #[test]
    fn two_bans_at_once_count_as_one() {
        let mut bans = Bans::default();
        bans.ban(Instant::ZERO, 7, &conf());
        bans.ban(Instant::ZERO + HOUR / 2, 7, &conf());
        assert!(!bans.is_banned(Instant::ZERO + HOUR, 7));
    }

    #[test]
    fn a_full_table_forgets_the_ban_that_ends_first() {
        let mut bans = Bans::default();
        let at = |n: u32| Instant::ZERO + Duration::from_millis(n.into());
        let most = MAX_BANS as u32;
        (0..most).rev().for_each(|n| bans.ban(at(n), n, &conf()));
        assert_eq!(bans.count(at(most)), MAX_BANS);
        bans.ban(at(most), most, &conf());
        assert_eq!((bans.bans.len(), bans.by_end.len()), (MAX_BANS, MAX_BANS));
        assert!(
            !bans.is_banned(at(most), 0)
                && bans.is_banned(at(most), 1)
                && bans.is_banned(at(most), most)
        );
    }

    #[test]
    fn a_ban_can_be_lifted_and_set() {
        let mut bans = Bans::default();
        bans.ban(Instant::ZERO, 7, &conf());
        assert!(bans.lift(|key| key == 7) && !bans.lift(|key| key == 7));
        assert!(!bans.is_banned(Instant::ZERO, 7) && bans.by_end.is_empty());
        bans.ban_until(8, Instant::ZERO + Duration::MAX);
        assert!(bans.is_banned(Instant::ZERO + 1_000_000 * HOUR, 8));
        bans.ban_until(8, Instant::ZERO);
        assert_eq!((bans.count(Instant::ZERO), bans.by_end.len()), (0, 1));
    }
}
