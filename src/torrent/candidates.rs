//! Peers we know of: which to dial next, which to leave alone, which not to speak to for a while.

mod worth;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    base::{ip_filter::IpFilter, rng::Rng, time::Instant},
    conf::Conf,
    torrent::{bans::Bans, priority::Ours, progress::Contributor},
};
pub(crate) use worth::Source;
use worth::{Room, Worth};

#[derive(Debug, Default)]
pub(crate) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
    /// Idle ones that may be dialled, best first.
    ready: BTreeSet<Rank>,
    /// Idle ones that may not be dialled yet, by when they may.
    waiting: BTreeSet<(Instant, SocketAddr)>,
    /// Those that have everything, as we do.
    shelved: BTreeSet<SocketAddr>,
    /// Idle ones that would make room for others.
    room: Room,
    /// Few torrents ever ban a peer.
    bans: Option<Box<Banned>>,
    /// The addresses that the user wants nothing to do with.
    filter: Arc<IpFilter>,
    /// Our own address, which tells what theirs are worth.
    ours: Ours,
}

#[derive(Debug, Default)]
struct Banned {
    addrs: Bans<SocketAddr>,
    ips: Bans<IpAddr>,
}

/// Who failed last time comes after all others, and among those who has waited longest comes first;
/// else what a connection is worth counts (BEP 40), then who has waited longest.
type Rank = (bool, Reverse<u32>, Instant, SocketAddr);

#[derive(Clone, Copy, Debug)]
struct Candidate {
    source: Source,
    /// It was connected once.
    proven: bool,
    failures: u32,
    /// When it may be dialled; `None` while it is connected or being dialled.
    idle_until: Option<Instant>,
}

impl Candidates {
    pub(crate) fn new(filter: Arc<IpFilter>, ours: Ours) -> Self {
        Self { filter, ours, ..Self::default() }
    }

    /// Peers known and not connected.
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.waiting.len()
    }

    /// The peers that are known, in the order of their addresses.
    pub(crate) fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.known.keys().copied()
    }

    pub(crate) fn banned(&self, now: Instant) -> usize {
        self.bans.as_ref().map_or(0, |bans| bans.addrs.count(now) + bans.ips.count(now))
    }

    /// Hears of a peer. If there are as many as may be, one that is worth less makes room. False if
    /// none is, or the peer is banned or blocked by the filter.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        source: Source,
        conf: &Conf,
    ) -> bool {
        let banned = self.is_banned(now, Contributor { addr, incoming: false });
        if banned || self.filter.blocks(addr.ip()) || addr.port() == 0 || addr.ip().is_unspecified()
        {
            return false;
        }
        if self.known.contains_key(&addr) {
            return true;
        }
        if self.known.len() >= conf.peers.max_candidates {
            let Some(least) = self.room.least(source) else { return false };
            self.forget(least);
        }
        self.known.insert(addr, Candidate { source, proven: false, failures: 0, idle_until: None });
        self.idle(addr, now);
        true
    }

    /// The next peer to dial, if one is due. It counts as busy until [`release`](Self::release).
    pub(crate) fn poll_dial(&mut self, now: Instant) -> Option<SocketAddr> {
        while let Some(&(at, addr)) = self.waiting.first().filter(|&&(at, _)| at <= now) {
            self.waiting.remove(&(at, addr));
            if let Some(&candidate) = self.known.get(&addr) {
                self.ready.insert(self.rank(addr, candidate, at));
            }
        }
        let (.., addr) = self.ready.pop_first()?;
        if let Some(candidate) = self.known.get_mut(&addr) {
            if let Some(worth) = candidate.worth() {
                self.room.remove(addr, worth);
            }
            candidate.idle_until = None;
        }
        Some(addr)
    }

    /// When the next peer may be dialled; some time in the past if one may already.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let ready = self.ready.first().map(|&(_, _, at, _)| at);
        ready.or_else(|| self.waiting.first().map(|&(at, _)| at))
    }

    /// What a connection with this peer is worth (BEP 40), if we know our own address.
    pub(crate) fn worth(&self, addr: SocketAddr) -> Option<u32> {
        self.ours.is_known(addr.ip()).then(|| self.ours.priority(addr.ip(), addr.port()))
    }

    /// Our own address is known now, or is another one.
    pub(crate) fn set_ours(&mut self, ours: Ours) {
        self.ours = ours;
        for (.., at, addr) in std::mem::take(&mut self.ready) {
            if let Some(&candidate) = self.known.get(&addr) {
                self.ready.insert(self.rank(addr, candidate, at));
            }
        }
    }

    /// Peers that this filter blocks are forgotten and not taken again.
    pub(crate) fn set_filter(&mut self, filter: Arc<IpFilter>) {
        self.forget_all(|ip| filter.blocks(ip));
        self.filter = filter;
    }

    /// Forgets peers by their address, connected ones too.
    pub(crate) fn forget_all(&mut self, meant: impl Fn(IpAddr) -> bool) {
        let meant: Vec<SocketAddr> =
            self.known.keys().copied().filter(|addr| meant(addr.ip())).collect();
        meant.into_iter().for_each(|addr| self.forget(addr));
    }

    fn rank(&self, addr: SocketAddr, candidate: Candidate, at: Instant) -> Rank {
        let failed = candidate.failures > 0;
        (
            failed,
            Reverse(if failed { 0 } else { self.ours.priority(addr.ip(), addr.port()) }),
            at,
            addr,
        )
    }

    /// A known peer may be dialled from `at` on.
    fn idle(&mut self, addr: SocketAddr, at: Instant) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.idle_until = Some(at);
            self.waiting.insert((at, addr));
            if let Some(worth) = candidate.worth() {
                self.room.insert(addr, worth);
            }
        }
    }

    /// A connection to `addr` was greeted: it is worth more than those that never were.
    pub(crate) fn note_connected(&mut self, addr: SocketAddr) {
        // While it is connected it stands nowhere.
        if let Some(candidate) =
            self.known.get_mut(&addr).filter(|candidate| candidate.idle_until.is_none())
        {
            candidate.proven = true;
        }
    }

    /// The peer at `addr` has dialled us: it counts as busy until [`release`](Self::release).
    /// False if it is unknown or busy already.
    pub(crate) fn hold(&mut self, addr: SocketAddr) -> bool {
        let Some(candidate) = self.known.get_mut(&addr) else { return false };
        let candidate = std::mem::replace(candidate, Candidate { idle_until: None, ..*candidate });
        self.take_out(addr, candidate);
        candidate.idle_until.is_some()
    }

    /// The connection to `addr` ended. If it was of `use` the next dial comes soon, else later each
    /// time (exponential back-off with jitter), and after too many failures in a row the peer
    /// is forgotten.
    pub(crate) fn release(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        useful: bool,
        rng: &mut Rng,
        conf: &Conf,
    ) {
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        if candidate.idle_until.is_some() {
            return;
        }
        candidate.failures = if useful { 0 } else { candidate.failures + 1 };
        if candidate.failures >= conf.peers.max_dial_failures {
            self.known.remove(&addr);
            return;
        }
        let pause = back_off(candidate.failures.saturating_sub(1), rng, conf);
        self.idle(addr, now + pause);
    }

    /// `addr` could not be dialled for reasons of our own: later, and later each time, but it is
    /// not forgotten for that.
    pub(crate) fn postpone(&mut self, now: Instant, addr: SocketAddr, rng: &mut Rng, conf: &Conf) {
        if let Some(candidate) =
            self.known.get_mut(&addr).filter(|candidate| candidate.idle_until.is_none())
        {
            candidate.failures =
                (candidate.failures + 1).min(conf.peers.max_dial_failures.saturating_sub(1));
            let pause = back_off(candidate.failures.saturating_sub(1), rng, conf);
            self.idle(addr, now + pause);
        }
    }

    /// The connection to `addr` made room for others: it is dialled again when they have had their
    /// time.
    pub(crate) fn rest(&mut self, now: Instant, addr: SocketAddr, rng: &mut Rng, conf: &Conf) {
        if self.known.get(&addr).is_some_and(|candidate| candidate.idle_until.is_none()) {
            self.idle(addr, now + with_jitter(conf.peers.turnover_interval, rng));
        }
    }

    /// Peers that could be dialled now; counts to `limit`.
    pub(crate) fn count_due(&self, now: Instant, limit: usize) -> usize {
        let waiting = self.waiting.iter().take_while(|(at, _)| *at <= now);
        self.ready.iter().map(|_| ()).chain(waiting.map(|_| ())).take(limit).count()
    }

    /// There is nothing to be had from `addr` or to be given to it, as long as we have everything:
    /// it is not dialled until [`unshelve`](Self::unshelve).
    pub(crate) fn shelve(&mut self, addr: SocketAddr) {
        if self.known.get(&addr).is_some_and(|candidate| candidate.idle_until.is_none()) {
            self.shelved.insert(addr);
        }
    }

    /// We lack something: everybody may be dialled.
    pub(crate) fn unshelve(&mut self, now: Instant) {
        for addr in std::mem::take(&mut self.shelved) {
            self.idle(addr, now);
        }
    }

    pub(crate) fn forget(&mut self, addr: SocketAddr) {
        let Some(candidate) = self.known.remove(&addr) else { return };
        self.take_out(addr, candidate);
        self.shelved.remove(&addr);
    }

    /// It is not idle any more.
    fn take_out(&mut self, addr: SocketAddr, candidate: Candidate) {
        if let Some(at) = candidate.idle_until {
            self.waiting.remove(&(at, addr));
            self.ready.remove(&self.rank(addr, candidate, at));
            if let Some(worth) = candidate.worth() {
                self.room.remove(addr, worth);
            }
        }
    }

    /// Do not speak to this peer for a while: to its address if we dialled it, to its whole IP if
    /// it dialled us.
    pub(crate) fn ban(&mut self, now: Instant, who: Contributor, conf: &Conf) {
        self.forget(who.addr);
        let bans = self.bans.get_or_insert_default();
        if who.incoming {
            bans.ips.ban(now, who.addr.ip().to_canonical(), conf);
        } else {
            bans.addrs.ban(now, who.addr, conf);
        }
    }

    /// Ends every ban of this IP, and forgets that there were any. Whether there were.
    pub(crate) fn unban(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let Some(bans) = &mut self.bans else { return false };
        let addrs = bans.addrs.lift(|addr: SocketAddr| addr.ip().to_canonical() == ip);
        bans.ips.lift(|banned| banned == ip) || addrs
    }

    pub(crate) fn is_banned(&self, now: Instant, who: Contributor) -> bool {
        let Some(bans) = &self.bans else { return false };
        let ip = || who.addr.ip().to_canonical();
        bans.addrs.is_banned(now, who.addr) || (who.incoming && bans.ips.is_banned(now, ip()))
    }
}

impl Candidate {
    /// What it is worth while it is idle.
    fn worth(&self) -> Option<Worth> {
        let Self { source, proven, failures, .. } = *self;
        self.idle_until.map(|since| Worth { source, proven, failures, since })
    }
}

fn back_off(failures: u32, rng: &mut Rng, conf: &Conf) -> Duration {
    let pause = conf
        .peers
        .reconnect_min
        .saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX))
        .min(conf.peers.reconnect_max);
    with_jitter(pause, rng)
}

/// Up to a quarter more, so that many peers lost at once do not all come back at once.
fn with_jitter(pause: Duration, rng: &mut Rng) -> Duration {
    pause + pause.mul_f64(rng.below(256) as f64 / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], n))
    }

    #[test]
    fn failures_back_off_and_end() {
        let (conf, mut rng) = (Conf::default(), Rng::new(1));
        let mut c = Candidates::default();
        let mut now = Instant::ZERO;
        assert!(
            c.add(now, addr(1), Source::User, &conf) && c.add(now, addr(1), Source::User, &conf)
        );
        assert_eq!(c.len(), 1);
        let mut pauses = Vec::new();
        while let Some(a) = c.poll_dial(now) {
            assert_eq!(c.poll_dial(now), None);
            c.release(now, a, false, &mut rng, &conf);
            let Some(due) = c.next_due() else { break };
            assert_eq!(c.poll_dial(due - Duration::from_micros(1)), None);
            pauses.push(due.since(now).as_secs());
            now = due;
        }
        assert_eq!(pauses.len() as u32, conf.peers.max_dial_failures - 1);
        assert!(pauses.windows(2).all(|w| w[0] < w[1]) && pauses[0] == 1, "{pauses:?}");
        assert_eq!(c.len(), 0);
    }

    #[test]
    fn peers_that_failed_are_tried_in_turn_whatever_their_worth() {
        let (conf, mut rng) = (Conf::default(), Rng::new(1));
        let mut c = Candidates::default();
        (1..=3).for_each(|n| assert!(c.add(Instant::ZERO, addr(n), Source::User, &conf)));
        let mut tried = Vec::new();
        // Each time all of them are due, and one can be dialled.
        for round in 0..9 {
            let now = Instant::from_micros(3_600_000_000 * round);
            let a = c.poll_dial(now).unwrap();
            tried.push(a.port());
            c.release(now, a, false, &mut rng, &conf);
        }
        assert!(tried.chunks(3).all(|turn| BTreeSet::from_iter(turn).len() == 3), "{tried:?}");
    }

    #[test]
    fn a_useful_peer_comes_back_soon() {
        let (conf, mut rng) = (Conf::default(), Rng::new(1));
        let mut c = Candidates::default();
        c.add(Instant::ZERO, addr(1), Source::User, &conf);
        for useful in [false, false, true] {
            let now = c.next_due().unwrap();
            let a = c.poll_dial(now).unwrap();
            c.release(now, a, useful, &mut rng, &conf);
            c.release(now, a, useful, &mut rng, &conf);
            if useful {
                assert!(c.next_due().unwrap().since(now) < Duration::from_millis(1300));
            }
        }
    }

    #[test]
    fn whoever_makes_room_comes_back_after_the_others_and_has_not_failed() {
        let (conf, mut rng) = (Conf::default(), Rng::new(1));
        let mut c = Candidates::default();
        let mut now = Instant::ZERO;
        c.add(now, addr(1), Source::User, &conf);
        for _ in 0..2 * conf.peers.max_dial_failures {
            assert_eq!((c.count_due(now, 5), c.count_due(now, 0)), (1, 0));
            let a = c.poll_dial(now).unwrap();
            c.rest(now, a, &mut rng, &conf);
            c.rest(now, a, &mut rng, &conf);
            assert_eq!(c.count_due(now, 5), 0);
            let pause = c.next_due().unwrap().since(now);
            assert!(
                pause >= conf.peers.turnover_interval
                    && pause <= conf.peers.turnover_interval * 5 / 4,
                "{pause:?}"
            );
            now = c.next_due().unwrap();
        }
    }

    #[test]
    fn who_has_everything_is_dialled_again_only_when_we_lack_something() {
        let conf = Conf::default();
        let mut c = Candidates::default();
        c.add(Instant::ZERO, addr(1), Source::User, &conf);
        c.shelve(addr(1));
        assert_eq!(c.len(), 1, "it is not connected");
        assert_eq!(c.poll_dial(Instant::ZERO), Some(addr(1)));
        c.shelve(addr(1));
        assert!(c.add(Instant::ZERO, addr(1), Source::User, &conf));
        assert_eq!((c.next_due(), c.len()), (None, 0));
        let later = Instant::from_micros(5);
        c.unshelve(later);
        assert_eq!(c.poll_dial(later), Some(addr(1)));
    }

    #[test]
    fn bans_hold_and_the_list_is_bounded() {
        let conf = Conf::default().with(|conf| conf.peers.max_candidates = 2);
        let mut c = Candidates::default();
        for n in 1..=3 {
            assert_eq!(c.add(Instant::ZERO, addr(n), Source::User, &conf), n < 3);
        }
        assert!(!c.add(Instant::ZERO, addr(0), Source::User, &conf));
        let now = Instant::ZERO;
        c.ban(now, Contributor { addr: addr(1), incoming: false }, &conf);
        assert!(!c.add(now, addr(1), Source::User, &conf));
        assert!(!c.is_banned(now, Contributor { addr: addr(2), incoming: true }));
        c.ban(now, Contributor { addr: addr(9), incoming: true }, &conf);
        assert!(c.is_banned(now, Contributor { addr: addr(2), incoming: true }));
        assert!(!c.is_banned(now, Contributor { addr: addr(2), incoming: false }));
        assert_eq!((c.len(), c.banned(now)), (1, 2));
        let later = now + conf.peers.ban_time;
        assert!(
            !c.is_banned(later, Contributor { addr: addr(2), incoming: true })
                && c.add(later, addr(1), Source::User, &conf)
        );
        assert_eq!((c.len(), c.banned(later)), (2, 0));
        assert!(c.unban(addr(1).ip()) && !c.unban(addr(1).ip()));
    }

    #[test]
    fn a_table_full_of_dead_addresses_takes_new_ones_and_keeps_connected_ones() {
        let (conf, mut rng) =
            (Conf::default().with(|conf| conf.peers.max_candidates = 100), Rng::new(1));
        let mut c = Candidates::default();
        let mut now = Instant::ZERO;
        for n in 1..=100 {
            assert!(c.add(now, addr(n), Source::User, &conf));
        }
        assert!(!c.add(now, addr(500), Source::User, &conf), "none of them has failed yet");
        // Each is tried once; three can be connected.
        for _ in 0..100 {
            let a = c.poll_dial(now).unwrap();
            if a.port() <= 3 {
                c.note_connected(a);
            }
            c.release(now, a, false, &mut rng, &conf);
        }
        now = now + Duration::from_secs(1);
        for n in 501..=1000 {
            assert_eq!(c.add(now, addr(n), Source::User, &conf), n <= 597, "{n}");
        }
        assert_eq!(c.addrs().count(), 100);
        assert!((1..=3).all(|n| c.addrs().any(|a| a == addr(n))));
        // Another source gets its part.
        let other = Source::Tracker(crate::torrent::announcer::TrackerNo::from(1));
        let taken = (2001..=2100).filter(|&n| c.add(now, addr(n), other, &conf)).count();
        assert_eq!(taken, 48);
        // What is dialled now comes from both, and all of it is in order.
        while let Some(a) = c.poll_dial(now + Duration::from_secs(60)) {
            c.forget(a);
        }
        assert_eq!((c.len(), c.addrs().count()), (0, 0));
        assert_eq!(c.room.least(Source::User), None);
    }

    /// Dials everybody who is due; returns the last byte of each address.
    fn order(c: &mut Candidates, now: Instant) -> Vec<u8> {
        let last =
            |addr: SocketAddr| if let IpAddr::V4(ip) = addr.ip() { ip.octets()[3] } else { 0 };
        std::iter::from_fn(|| c.poll_dial(now)).map(last).collect()
    }

    #[test]
    fn who_is_due_is_dialled_by_worth_and_who_failed_comes_last() {
        let (conf, mut rng) = (Conf::default(), Rng::new(1));
        let ours = Ours {
            v4: Some([123, 213, 32, 10].into()),
            v6: None,
            ports: crate::base::ports::ListenPorts::both(Some(1)),
        };
        let far = |n: u8| SocketAddr::from(([98, 76, n, n], 1));
        let mut by_worth: Vec<u8> = (1..=20).collect();
        let times = |n: u8| Instant::from_micros(u64::from(n % 5));
        by_worth.sort_by_key(|&n| (Reverse(ours.priority(far(n).ip(), 1)), times(n)));
        assert!(!by_worth.is_sorted());
        let mut c = Candidates::default();
        (1..=20).for_each(|n| _ = c.add(times(n), far(n), Source::User, &conf));
        // As long as our address is unknown, it is who waits longest.
        let mut by_time: Vec<u8> = (1..=20).collect();
        by_time.sort_by_key(|&n| times(n));
        let mut unknown = Candidates::default();
        (1..=20).for_each(|n| _ = unknown.add(times(n), far(n), Source::User, &conf));
        assert_eq!(order(&mut unknown, Instant::from_micros(9)), by_time);
        // It becomes known while all are due.
        let first = c.poll_dial(Instant::from_micros(9)).unwrap();
        c.set_ours(ours);
        c.release(Instant::from_micros(9), first, false, &mut rng, &conf);
        by_worth.retain(|&n| far(n) != first);
        let due = c.waiting.first().unwrap().0;
        let mut dialled = order(&mut c, due);
        assert_eq!(
            dialled.pop().map(far),
            Some(first),
            "it failed, and comes last whatever it is worth"
        );
        assert_eq!(dialled, by_worth);
    }

    #[test]
    fn whom_the_filter_blocks_is_forgotten_and_not_taken_again() {
        let conf = Conf::default();
        let block = |ip: &str| {
            Arc::new(
                [crate::base::ip_filter::IpRange::from(ip.parse::<IpAddr>().unwrap())]
                    .into_iter()
                    .collect(),
            )
        };
        let other = SocketAddr::from(([127, 0, 0, 2], 1));
        let mut c = Candidates::new(block("127.0.0.2"), Ours::default());
        assert!(!c.add(Instant::ZERO, other, Source::User, &conf));
        assert!((1..=3).all(|n| c.add(Instant::ZERO, addr(n), Source::User, &conf)));
        // One is being dialled, one waits, one is shelved.
        assert_eq!(c.poll_dial(Instant::ZERO), Some(addr(1)));
        assert_eq!(c.poll_dial(Instant::ZERO), Some(addr(2)));
        c.shelve(addr(2));
        c.set_filter(block("127.0.0.1"));
        assert!(c.known.is_empty() && c.len() == 0 && c.shelved.is_empty());
        c.release(Instant::ZERO, addr(1), true, &mut Rng::new(1), &conf);
        assert!(
            c.len() == 0
                && !c.add(Instant::ZERO, addr(1), Source::User, &conf)
                && c.add(Instant::ZERO, other, Source::User, &conf)
        );
    }
}
