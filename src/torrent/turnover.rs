//! Peers that make room for others when a torrent's connections are full: those that are of least
//! use, and those that have had nothing to do with us for long.

use std::time::Duration;

use crate::{
    base::{arena::Key, time::Instant},
    torrent::{TURNOVER, Torrent, cx::Cx, peer_session::PeerSession},
};

/// Part of the peers, in per cent, that make room at a time.
const TURNOVER_PART: usize = 4;
/// Connections count as full above this part of the limit, in per cent.
const CROWDED: usize = 90;
/// A peer that was connected for less has had no chance yet to be of use.
const PROBATION: Duration = Duration::from_secs(60);
/// How long a peer may be connected that has not given the metadata which is wanted, where others
/// could. It is offered and given within a few round trips.
const FRUITLESS: Duration = Duration::from_secs(20);
/// Looks at most so often.
const NOT_SOONER: Duration = Duration::from_secs(10);

/// How one peer stands.
#[derive(Clone, Copy, Debug)]
struct Row {
    key: Key,
    /// It gave us something of late, or takes what we give.
    busy: bool,
    /// We want something of it.
    wanted: bool,
    /// It wants something of us.
    wants: bool,
    age: Duration,
    /// Bytes that went either way.
    moved: u64,
    /// Since when neither wants anything of the other.
    idle_since: Option<Instant>,
}

impl Row {
    fn new(key: Key, s: &PeerSession, now: Instant) -> Self {
        let takes = s.is_peer_interested() && !s.is_choking() && !s.is_stalled(now, PROBATION);
        Self {
            key,
            busy: s.useful_rate(now) > 0 || (takes && !s.is_upload_only()),
            wanted: s.is_interested(),
            wants: s.is_peer_interested(),
            age: now.since(s.began()),
            moved: s.moved(),
            idle_since: s.idle_since(),
        }
    }

    /// Bytes per second over all the time.
    fn worth(&self) -> u64 {
        self.moved / self.age.as_secs().max(1)
    }
}

/// Those that have been idle for `timeout`, longest first.
fn inactive(rows: &[Row], now: Instant, timeout: Duration) -> Vec<Key> {
    let idle = rows.iter().filter_map(|row| {
        Some((row.idle_since.filter(|&since| now.since(since) >= timeout)?, row.key))
    });
    let mut idle: Vec<_> = idle.collect();
    idle.sort_unstable();
    idle.into_iter().map(|(_, key)| key).collect()
}

/// Those that may be let go, the least useful first.
fn useless(rows: &[Row]) -> Vec<Key> {
    let mut rows: Vec<&Row> = rows.iter().filter(|row| !row.busy && row.age >= PROBATION).collect();
    rows.sort_by_key(|row| {
        (row.wanted, row.wants, row.worth(), std::cmp::Reverse(row.age), row.key)
    });
    rows.into_iter().map(|row| row.key).collect()
}

fn part_of(count: usize, per_cent: usize) -> usize {
    count.saturating_mul(per_cent) / 100
}

impl Torrent {
    /// How many more connections there are than leave room for others; 0 when they are not scarce.
    fn crowd(&self, cx: &Cx) -> usize {
        let over =
            |count: usize, limit: usize| (count + 1).saturating_sub(part_of(limit, CROWDED).max(1));
        over(self.peers.len(), cx.conf.peers.max_per_torrent)
            .max(over(cx.leases.connections(), cx.conf.peers.max_connections))
            .min(self.peers.len())
    }

    /// A peer came: from now on there may be too many.
    pub(super) fn watch_crowd(&mut self, cx: &Cx) {
        if self.timers.get(TURNOVER).is_none() && self.crowd(cx) > 0 {
            let peers = &cx.conf.peers;
            let usual = peers.turnover_interval.min(peers.inactivity_timeout);
            let wait = if self.content.is_known() { usual } else { usual.min(FRUITLESS) };
            self.timers.set(TURNOVER, cx.now + wait);
        }
    }

    /// The metadata is wanted, and connections are scarce: peers that do not give it make room for
    /// as many that may.
    fn renew_givers(&mut self, cx: &Cx) {
        let most = (self.peers.len() / 4).max(1);
        let newcomers = self.peers.candidates().count_due(cx.now, most);
        let fruitless = self.peers.all_early().filter(|&(key, early)| {
            cx.now.since(early.began()) >= FRUITLESS
                && !self.gives_metadata(key, early.who(), cx.now)
        });
        let mut fruitless: Vec<_> =
            fruitless.map(|(key, early)| (early.began(), key, early.link())).collect();
        fruitless.sort_unstable();
        for (_, _, link) in fruitless.into_iter().take(newcomers) {
            self.peers.part(link, "it does not give the metadata, and makes room for others");
        }
        self.timers.set(TURNOVER, cx.now + FRUITLESS.min(cx.conf.peers.turnover_interval));
    }

    /// If connections are scarce, lets peers go that are of no use.
    pub(super) fn renew_peers(&mut self, cx: &mut Cx) {
        let crowd = self.crowd(cx);
        if crowd == 0 {
            return;
        }
        if !self.is_active() {
            self.timers.set(TURNOVER, cx.now + cx.conf.peers.turnover_interval);
            return;
        }
        if !self.content.is_known() {
            return self.renew_givers(cx);
        }
        let rows: Vec<Row> = self.peers.iter().map(|(key, s)| Row::new(key, s, cx.now)).collect();
        let gone = inactive(&rows, cx.now, cx.conf.peers.inactivity_timeout);
        for &key in gone.iter().take(crowd) {
            self.let_go(key, "neither wants anything of the other");
        }
        if self
            .peers
            .turned_over()
            .is_none_or(|last| cx.now.since(last) >= cx.conf.peers.turnover_interval)
        {
            self.peers.note_turnover(cx.now);
            let some = part_of(rows.len(), TURNOVER_PART).max(1);
            let newcomers =
                self.peers.candidates().count_due(cx.now, some).saturating_sub(gone.len());
            let rest = useless(&rows).into_iter().filter(|key| !gone.contains(key));
            let chosen: Vec<Key> =
                rest.filter(|&key| !self.has_rare(key)).take(newcomers).collect();
            for key in chosen {
                self.let_go(key, "it makes room for others");
            }
        }
        let idle = rows
            .iter()
            .filter_map(|row| row.idle_since)
            .map(|since| since + cx.conf.peers.inactivity_timeout);
        let next = idle
            .filter(|&at| at > cx.now)
            .chain(self.peers.turned_over().map(|last| last + cx.conf.peers.turnover_interval))
            .min();
        let soonest = cx.now + NOT_SOONER.min(cx.conf.peers.turnover_interval);
        self.timers.set(TURNOVER, next.map_or(soonest, |next| next.max(soonest)));
    }

    fn let_go(&mut self, key: Key, reason: &str) {
        if let Some(session) = self.peers.get_mut(key) {
            session.let_go();
            let link = session.link();
            self.peers.part(link, reason);
        }
    }

    /// Whether it is the only one with something that we want.
    fn has_rare(&self, key: Key) -> bool {
        let Some(session) = self.peers.get(key).filter(|s| s.is_interested()) else { return false };
        let geometry = self.swarm.geometry();
        let rare = |piece| !self.swarm.have().has(piece) && self.swarm.availability(piece) <= 1;
        session.has().ones().filter_map(|piece| geometry.piece(piece).ok()).any(rare)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(index: u32) -> Row {
        let key = Key { index, generation: index };
        Row {
            key,
            busy: false,
            wanted: false,
            wants: false,
            age: Duration::from_secs(600),
            moved: 0,
            idle_since: None,
        }
    }

    fn indices(keys: Vec<Key>) -> Vec<u32> {
        keys.into_iter().map(|key| key.index).collect()
    }

    #[test]
    fn least_useful_peers_go_first_and_busy_or_new_ones_never() {
        let rows = [
            Row { busy: true, ..row(0) },
            Row { age: Duration::from_secs(59), ..row(1) },
            Row { wanted: true, ..row(2) },
            Row { wants: true, ..row(3) },
            Row { moved: 6000, ..row(4) },
            Row { moved: 6000, age: Duration::from_secs(300), ..row(5) },
            row(6),
            Row { age: Duration::from_secs(601), ..row(7) },
        ];
        assert_eq!(indices(useless(&rows)), [7, 6, 4, 5, 3, 2]);
    }

    #[test]
    fn longest_idle_peer_goes_first() {
        let at = |s: u64| Instant::from_micros(s * 1_000_000);
        let since = |index, s| Row { idle_since: Some(at(s)), ..row(index) };
        let rows = [since(0, 50), row(1), since(2, 10), since(3, 101), since(4, 100)];
        assert_eq!(indices(inactive(&rows, at(700), Duration::from_secs(600))), [2, 0, 4]);
    }
}
