//! Peers we know of: whom to dial next, whom to leave alone, whom never to speak to again.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    base::{rng::Rng, time::Instant},
    conf::Conf,
    torrent::progress::Contributor,
};

/// Bans of either kind remembered at most, a torrent.
const MAX_BANS: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
    /// Idle ones by when they may be dialled.
    due: BTreeSet<(Instant, SocketAddr)>,
    /// Those that have everything, as we do.
    shelved: BTreeSet<SocketAddr>,
    banned: BTreeSet<SocketAddr>,
    banned_ips: BTreeSet<IpAddr>,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    failures: u32,
    /// When it may be dialled; `None` while it is connected or being dialled.
    idle_until: Option<Instant>,
}

impl Candidates {
    /// Peers known and not connected.
    pub(crate) fn len(&self) -> usize {
        self.due.len()
    }

    pub(crate) fn banned(&self) -> usize {
        self.banned.len() + self.banned_ips.len()
    }

    /// Hears of a peer. False if it is banned or there are too many already.
    pub(crate) fn add(&mut self, now: Instant, addr: SocketAddr, conf: &Conf) -> bool {
        if self.is_banned(Contributor { addr, incoming: false }) || addr.port() == 0 || addr.ip().is_unspecified() {
            return false;
        }
        if self.known.contains_key(&addr) {
            return true;
        }
        if self.known.len() >= conf.max_candidates {
            return false;
        }
        self.known.insert(addr, Candidate { failures: 0, idle_until: Some(now) });
        self.due.insert((now, addr));
        true
    }

    /// The next peer to dial, if one is due. It counts as busy until [`released`](Self::release).
    pub(crate) fn poll_dial(&mut self, now: Instant) -> Option<SocketAddr> {
        let &(at, addr) = self.due.first()?;
        if at > now {
            return None;
        }
        self.due.remove(&(at, addr));
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.idle_until = None;
        }
        Some(addr)
    }

    /// When the next peer may be dialled.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|&(at, _)| at)
    }

    /// The connection to `addr` ended. If it was of `use` the next dial comes soon, else later each time (exponential back-off
    /// with jitter), and after too many failures in a row the peer is forgotten.
    pub(crate) fn release(&mut self, now: Instant, addr: SocketAddr, useful: bool, rng: &mut Rng, conf: &Conf) {
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        if candidate.idle_until.is_some() {
            return;
        }
        candidate.failures = if useful { 0 } else { candidate.failures + 1 };
        if candidate.failures >= conf.max_dial_failures {
            self.known.remove(&addr);
            return;
        }
        let pause = back_off(candidate.failures.saturating_sub(1), rng, conf);
        let at = now + pause;
        candidate.idle_until = Some(at);
        self.due.insert((at, addr));
    }

    /// The connection to `addr` made room for others: it is dialled again when they have had their time.
    pub(crate) fn rest(&mut self, now: Instant, addr: SocketAddr, rng: &mut Rng, conf: &Conf) {
        let Some(candidate) = self.known.get_mut(&addr).filter(|candidate| candidate.idle_until.is_none()) else { return };
        let at = now + with_jitter(conf.turnover_interval, rng);
        candidate.idle_until = Some(at);
        self.due.insert((at, addr));
    }

    /// Peers that could be dialled now; counts to `limit`.
    pub(crate) fn count_due(&self, now: Instant, limit: usize) -> usize {
        self.due.iter().take_while(|(at, _)| *at <= now).take(limit).count()
    }

    /// There is nothing to be had from `addr` or to be given to it, as long as we have everything: it is not dialled until
    /// [`unshelve`](Self::unshelve).
    pub(crate) fn shelve(&mut self, addr: SocketAddr) {
        if self.known.get(&addr).is_some_and(|candidate| candidate.idle_until.is_none()) {
            self.shelved.insert(addr);
        }
    }

    /// We lack something: everybody may be dialled.
    pub(crate) fn unshelve(&mut self, now: Instant) {
        for addr in std::mem::take(&mut self.shelved) {
            if let Some(candidate) = self.known.get_mut(&addr) {
                candidate.idle_until = Some(now);
                self.due.insert((now, addr));
            }
        }
    }

    fn forget(&mut self, addr: SocketAddr) {
        if let Some(Candidate { idle_until: Some(at), .. }) = self.known.remove(&addr) {
            self.due.remove(&(at, addr));
        }
        self.shelved.remove(&addr);
    }

    /// Never speak to this peer again: to its address if we dialled it, to its whole IP if it dialled us.
    pub(crate) fn ban(&mut self, who: Contributor) {
        self.forget(who.addr);
        // A full table forgets somebody rather than letting the newest go free.
        if who.incoming {
            if self.banned_ips.len() >= MAX_BANS {
                self.banned_ips.pop_first();
            }
            self.banned_ips.insert(who.addr.ip());
        } else {
            if self.banned.len() >= MAX_BANS {
                self.banned.pop_first();
            }
            self.banned.insert(who.addr);
        }
    }

    pub(crate) fn is_banned(&self, who: Contributor) -> bool {
        self.banned.contains(&who.addr) || (who.incoming && self.banned_ips.contains(&who.addr.ip()))
    }
}

fn back_off(failures: u32, rng: &mut Rng, conf: &Conf) -> Duration {
    let pause = conf.reconnect_min.saturating_mul(1u32.checked_shl(failures).unwrap_or(u32::MAX)).min(conf.reconnect_max);
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
        assert!(c.add(now, addr(1), &conf) && c.add(now, addr(1), &conf));
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
        assert_eq!(pauses.len() as u32, conf.max_dial_failures - 1);
        assert!(pauses.windows(2).all(|w| w[0] < w[1]) && pauses[0] == 1, "{pauses:?}");
        assert_eq!(c.len(), 0);
    }

    #[test]
    fn a_useful_peer_comes_back_soon() {
        let (conf, mut rng) = (Conf::default(), Rng::new(1));
        let mut c = Candidates::default();
        c.add(Instant::ZERO, addr(1), &conf);
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
        c.add(now, addr(1), &conf);
        for _ in 0..2 * conf.max_dial_failures {
            assert_eq!((c.count_due(now, 5), c.count_due(now, 0)), (1, 0));
            let a = c.poll_dial(now).unwrap();
            c.rest(now, a, &mut rng, &conf);
            c.rest(now, a, &mut rng, &conf);
            assert_eq!(c.count_due(now, 5), 0);
            let pause = c.next_due().unwrap().since(now);
            assert!(pause >= conf.turnover_interval && pause <= conf.turnover_interval * 5 / 4, "{pause:?}");
            now = c.next_due().unwrap();
        }
    }

    #[test]
    fn who_has_everything_is_dialled_again_only_when_we_lack_something() {
        let conf = Conf::default();
        let mut c = Candidates::default();
        c.add(Instant::ZERO, addr(1), &conf);
        c.shelve(addr(1));
        assert_eq!(c.len(), 1, "it is not connected");
        assert_eq!(c.poll_dial(Instant::ZERO), Some(addr(1)));
        c.shelve(addr(1));
        assert!(c.add(Instant::ZERO, addr(1), &conf));
        assert_eq!((c.next_due(), c.len()), (None, 0));
        let later = Instant::from_micros(5);
        c.unshelve(later);
        assert_eq!(c.poll_dial(later), Some(addr(1)));
    }

    #[test]
    fn bans_hold_and_the_list_is_bounded() {
        let conf = Conf { max_candidates: 2, ..Conf::default() };
        let mut c = Candidates::default();
        for n in 1..=3 {
            assert_eq!(c.add(Instant::ZERO, addr(n), &conf), n < 3);
        }
        assert!(!c.add(Instant::ZERO, addr(0), &conf));
        c.ban(Contributor { addr: addr(1), incoming: false });
        assert!(!c.add(Instant::ZERO, addr(1), &conf));
        assert!(!c.is_banned(Contributor { addr: addr(2), incoming: true }));
        c.ban(Contributor { addr: addr(9), incoming: true });
        assert!(c.is_banned(Contributor { addr: addr(2), incoming: true }));
        assert!(!c.is_banned(Contributor { addr: addr(2), incoming: false }));
        assert_eq!((c.len(), c.banned()), (1, 2));
    }
}
