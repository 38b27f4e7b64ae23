//! Peers we know of: which to dial next, which to leave alone, which not to speak to for a while,
//! and where they come from: the rule for private torrents (BEP 27) is here and nowhere else.

mod opening;
mod ready;
mod source;
#[cfg(test)]
mod tests;
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
    conf::{Conf, CryptoMethods, Encryption},
    torrent::{bans::Bans, priority::Ours, progress::Contributor},
};
pub(crate) use opening::Opening;
use opening::Openings;
use ready::{Rank, Ready};
pub use source::PeerSource;
pub(crate) use source::Source;
use source::{Sources, Standing};
use worth::{Room, Worth};

/// Of so many dials in a row that fail one tries uTP, too: the first. Odd, since encryption takes
/// turns with each failure, and each way is to meet each transport.
const FAILURES_A_UTP_DIAL: u32 = 3;
/// A peer that was connected is forgotten after so many times the failures of another: two hours
/// with the default pauses, longer than most networks are away.
const PATIENCE: u32 = 4;
/// One that the user has named is never forgotten, since nothing brings it back. After as many
/// failures its pauses are so many times as long.
const SELDOM: u32 = 12;

#[derive(Debug, Default)]
pub(crate) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
    /// Idle ones that may be dialled.
    ready: Ready,
    /// Idle ones that may not be dialled yet, by when they may.
    waiting: BTreeSet<(Instant, SocketAddr)>,
    /// Those that have everything, as we do.
    shelved: BTreeSet<SocketAddr>,
    /// Idle ones that would make room for others.
    room: Room,
    /// Few torrents ever ban a peer.
    bans: Option<Box<Banned>>,
    admission: Admission,
    /// Our own address, which tells what theirs are worth.
    ours: Ours,
}

/// Who may be taken at all.
#[derive(Debug, Default)]
struct Admission {
    /// The addresses that the user wants nothing to do with.
    filter: Arc<IpFilter>,
    /// Only trackers and the user may name peers (BEP 27).
    private: bool,
    /// Which connections are encrypted, if the user has said it of this torrent.
    encryption: Option<Encryption>,
    /// Which methods these may have, if the user has said it of this torrent.
    methods: Option<CryptoMethods>,
}

impl Admission {
    fn admits(&self, addr: SocketAddr, source: Source) -> bool {
        let nowhere = addr.port() == 0 || addr.ip().is_unspecified();
        let forbidden = self.private && !source.is_allowed_in_private();
        !nowhere && !forbidden && !self.filter.blocks(addr.ip())
    }
}

#[derive(Debug, Default)]
struct Banned {
    addrs: Bans<SocketAddr>,
    ips: Bans<IpAddr>,
}

/// What is known of a peer and hole punching (BEP 55).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Punching {
    /// Nothing: a rendezvous with it is not asked for.
    #[default]
    Unknown,
    /// It takes part, by the flag in peer exchange (BEP 11).
    TakesPart,
    /// The same, and who named it has dialled others, but not this one.
    First,
}

/// How a peer is to be reached.
#[derive(Clone, Copy, Debug, Default)]
struct Approach {
    /// It is to be dialled by uTP first.
    prefers_utp: bool,
    /// It was named by the v2 hash of the torrent (BEP 52).
    by_v2: bool,
    punching: Punching,
}

#[derive(Clone, Copy, Debug)]
struct Candidate {
    /// Which source it counts for: the first that named it, or the one that a private torrent may
    /// use.
    source: Source,
    /// All that named it.
    sources: Sources,
    /// It was connected once.
    proven: bool,
    approach: Approach,
    failures: u32,
    openings: Openings,
    /// When it may be dialled; `None` while it is connected or being dialled.
    idle_until: Option<Instant>,
}

impl Candidates {
    pub(crate) fn new(filter: Arc<IpFilter>, ours: Ours) -> Self {
        let admission = Admission { filter, ..Admission::default() };
        Self { admission, ours, ..Self::default() }
    }

    /// Peers known and not connected.
    pub(crate) fn len(&self) -> usize {
        self.ready.len() + self.waiting.len()
    }

    /// The peers that are known, in the order of their addresses.
    #[cfg(test)]
    pub(crate) fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.known.keys().copied()
    }

    pub(crate) fn banned(&self, now: Instant) -> usize {
        self.bans.as_ref().map_or(0, |bans| bans.addrs.count(now) + bans.ips.count(now))
    }

    /// Hears of a peer. If there are as many as may be, one that is worth less makes room; if a
    /// source has named more than its share, the oldest of its own. False if none does, the peer is
    /// banned or blocked by the filter, or the torrent is private and the source not allowed.
    pub(crate) fn add(
        &mut self,
        now: Instant,
        addr: SocketAddr,
        source: Source,
        conf: &Conf,
    ) -> bool {
        let banned = self.is_banned(now, Contributor { addr, incoming: false });
        if banned || !self.admission.admits(addr, source) {
            return false;
        }
        if self.known.contains_key(&addr) {
            self.note_source(addr, source);
            return true;
        }
        let most = conf.peers.max_candidates;
        let share = source.share(most);
        let least = if share.is_some_and(|share| self.room.fresh_of(source) >= share) {
            self.room.oldest_of(source)
        } else if self.known.len() >= most {
            // One that is shelved is of no use as long as we have everything.
            let least = self.room.least(source).or_else(|| self.least_shelved(source));
            let Some(least) = least else { return false };
            Some(least)
        } else {
            None
        };
        if let Some(least) = least {
            self.forget(least);
        }
        let mut sources = Sources::default();
        sources.add(source);
        let new = Candidate {
            source,
            sources,
            proven: false,
            approach: Approach::default(),
            failures: 0,
            openings: Openings::default(),
            idle_until: None,
        };
        self.known.insert(addr, new);
        self.idle(addr, now);
        true
    }

    /// A shelved peer that makes room for a new one of `source`, if there is one.
    fn least_shelved(&self, source: Source) -> Option<SocketAddr> {
        let yields = |addr: &&SocketAddr| {
            let candidate = self.known.get(*addr);
            source == Source::User
                || candidate.is_some_and(|c| c.source.standing() > Standing::User)
        };
        self.shelved.iter().find(yields).copied()
    }

    /// A known peer was named again.
    fn note_source(&mut self, addr: SocketAddr, source: Source) {
        let Some(candidate) = self.known.get_mut(&addr) else { return };
        candidate.sources.add(source);
        // What a tracker or the user names is not for a peer to crowd out by naming it, too.
        if source.standing() < candidate.source.standing() {
            let before = candidate.worth();
            let was_hearsay = candidate.is_hearsay();
            candidate.source = source;
            if was_hearsay {
                self.ready.vouch(addr);
            }
            if let Some((before, after)) = before.zip(candidate.worth()) {
                self.room.remove(addr, before);
                self.room.insert(addr, after);
            }
        }
    }

    /// A peer was named by the v2 hash of the torrent: it may know no other.
    pub(crate) fn note_v2(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.approach.by_v2 = true;
        }
    }

    /// Whether a peer of a hybrid torrent is to be dialled by its v2 hash. One that has failed is
    /// tried by the one hash and the other in turn: it may know one only.
    pub(crate) fn is_dialled_by_v2(&self, addr: SocketAddr) -> bool {
        self.known.get(&addr).is_some_and(|c| c.approach.by_v2 ^ (c.failures % 2 == 1))
    }

    /// Whether a private torrent must not be connected to `addr`, which it has dialled.
    pub(crate) fn is_forbidden(&self, addr: SocketAddr) -> bool {
        self.admission.private && !self.known.contains_key(&addr)
    }

    /// The torrent is private (BEP 27): peers that only others than trackers and the user have
    /// named are forgotten and not taken any more. Those of them that are connected or being
    /// dialled are returned: their connections must end.
    #[must_use]
    pub(crate) fn set_private(&mut self) -> Vec<SocketAddr> {
        self.admission.private = true;
        let forbidden = self.known.iter().filter(|(_, c)| !c.sources.is_allowed_in_private());
        let forbidden: Vec<(SocketAddr, bool)> =
            forbidden.map(|(&addr, c)| (addr, c.idle_until.is_none())).collect();
        forbidden.iter().for_each(|&(addr, _)| self.forget(addr));
        forbidden.into_iter().filter(|&(_, busy)| busy).map(|(addr, _)| addr).collect()
    }

    /// Whether a private torrent may have this peer (BEP 27), as far as is known of it.
    pub(crate) fn is_allowed_in_private(&self, addr: &SocketAddr) -> bool {
        self.known.get(addr).is_none_or(|c| c.sources.is_allowed_in_private())
    }

    /// The peers to begin with at the next start, at most so many, the best first: those that were
    /// connected, or that the user or a tracker has named. What any host may have named is not
    /// among them, since they will count as the user's.
    pub(crate) fn worth_keeping(&self, most: usize) -> Vec<SocketAddr> {
        let mut kept: Vec<_> = self
            .known
            .iter()
            .filter(|(_, c)| c.proven || c.source.standing() < Standing::Hearsay)
            .map(|(&addr, c)| {
                let is_of_tracker = !c.proven && c.source.standing() == Standing::Tracker;
                (is_of_tracker, c.failures, addr)
            })
            .collect();
        kept.sort_unstable();
        kept.into_iter().take(most).map(|(.., addr)| addr).collect()
    }

    /// The next peer to dial, if one is due. It counts as busy until [`release`](Self::release).
    pub(crate) fn poll_dial(&mut self, now: Instant) -> Option<SocketAddr> {
        while let Some(&(at, addr)) = self.waiting.first().filter(|&&(at, _)| at <= now) {
            self.waiting.remove(&(at, addr));
            if let Some(&candidate) = self.known.get(&addr) {
                self.ready.insert(candidate.is_hearsay(), self.rank(addr, candidate, at));
            }
        }
        let addr = self.ready.pop()?;
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
        let ready = self.ready.since();
        ready.or_else(|| self.waiting.first().map(|&(at, _)| at))
    }

    /// What a connection with this peer is worth (BEP 40), if we know our own address.
    pub(crate) fn worth(&self, addr: SocketAddr) -> Option<u32> {
        self.ours.is_known(addr.ip()).then(|| self.ours.priority(addr.ip(), addr.port()))
    }

    /// Our own address is known now, or is another one.
    pub(crate) fn set_ours(&mut self, ours: Ours) {
        self.ours = ours;
        for (.., at, addr) in self.ready.take_all() {
            if let Some(&candidate) = self.known.get(&addr) {
                self.ready.insert(candidate.is_hearsay(), self.rank(addr, candidate, at));
            }
        }
    }

    /// Peers that this filter blocks are forgotten and not taken again.
    pub(crate) fn set_filter(&mut self, filter: Arc<IpFilter>) {
        self.forget_all(|ip| filter.blocks(ip));
        self.admission.filter = filter;
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

    // How its connections begin.

    /// The torrent's own policy of encryption, if it has one.
    pub(crate) fn policy(&self) -> Option<Encryption> {
        self.admission.encryption
    }

    pub(crate) fn set_policy(&mut self, own: Option<Encryption>) {
        self.admission.encryption = own;
    }

    /// The methods of encryption that are the torrent's own, if it has some.
    pub(crate) fn methods(&self) -> Option<CryptoMethods> {
        self.admission.methods
    }

    pub(crate) fn set_methods(&mut self, own: Option<CryptoMethods>) {
        self.admission.methods = own;
    }

    /// Gives a peer that is known a policy of its own, or takes it away. False if it is unknown.
    pub(crate) fn set_peer_policy(&mut self, addr: SocketAddr, own: Option<Encryption>) -> bool {
        self.known.get_mut(&addr).map(|candidate| candidate.openings.set_policy(own)).is_some()
    }

    /// How to begin a connection with `addr` where the torrent has this policy.
    pub(crate) fn opening(&self, addr: SocketAddr, policy: Encryption) -> Opening {
        let candidate = self.known.get(&addr);
        let (openings, failures) = candidate
            .map_or_else(Default::default, |candidate| (candidate.openings, candidate.failures));
        openings.next(policy, failures)
    }

    /// Whether `addr` may be dialled the other way at once if a connection was not greeted.
    pub(crate) fn has_other_opening(&self, addr: SocketAddr, policy: Encryption) -> bool {
        self.known.get(&addr).is_some_and(|candidate| candidate.openings.has_other(policy))
    }

    /// A connection with it was not greeted, and there is no room to dial it the other way at once.
    pub(crate) fn note_put_off(&mut self, addr: SocketAddr, other: Opening) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.openings.handle_put_off(other);
        }
    }

    /// A connection with `addr` that began so was greeted.
    pub(crate) fn note_opened(&mut self, addr: SocketAddr, opening: Opening) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.openings.handle_opened(opening);
        }
    }

    /// Another peer says that `addr` prefers encryption (BEP 11).
    pub(crate) fn note_encrypts(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.openings.handle_told();
        }
    }

    /// `addr` was dialled both ways, and neither was greeted.
    pub(crate) fn note_both_failed(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.openings.handle_both_failed();
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
    /// is forgotten: one that was connected later than others, one that the user has named never.
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
        candidate.failures = if useful { 0 } else { candidate.failures.saturating_add(1) };
        let few = conf.peers.max_dial_failures;
        let many = few.saturating_mul(PATIENCE);
        let is_users = candidate.source.standing() == Standing::User;
        if !is_users && candidate.failures >= if candidate.proven { many } else { few } {
            self.known.remove(&addr);
            return;
        }
        let pause = back_off(candidate.failures.saturating_sub(1), rng, conf);
        let pause = if candidate.failures < many { pause } else { pause.saturating_mul(SELDOM) };
        self.idle(addr, now + pause);
    }

    /// The peer that named the one at `addr`, if it counts for such a source.
    pub(crate) fn named_by(&self, addr: SocketAddr) -> Option<IpAddr> {
        match self.known.get(&addr)?.source {
            Source::Pex(from) => Some(from),
            _ => None,
        }
    }

    /// The peer at `addr` takes part in hole punching. With `first`, a rendezvous is likelier to
    /// reach it than a dial.
    pub(crate) fn note_punches(&mut self, addr: SocketAddr, first: bool) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            let fresh = !candidate.proven && candidate.failures == 0;
            match candidate.approach.punching {
                Punching::Unknown if first && fresh => {
                    candidate.approach.punching = Punching::First
                }
                Punching::Unknown => candidate.approach.punching = Punching::TakesPart,
                Punching::TakesPart | Punching::First => {}
            }
        }
    }

    /// Whether the peer at `addr` takes part in hole punching.
    pub(crate) fn punches(&self, addr: SocketAddr) -> bool {
        self.known.get(&addr).is_some_and(|c| c.approach.punching != Punching::Unknown)
    }

    /// Whether a rendezvous is to come before the first dial of the peer at `addr`: once.
    pub(crate) fn take_punch_first(&mut self, addr: SocketAddr) -> bool {
        let candidate =
            self.known.get_mut(&addr).filter(|c| c.approach.punching == Punching::First);
        candidate.map(|candidate| candidate.approach.punching = Punching::TakesPart).is_some()
    }

    /// The peer at `addr` is dialled by uTP first from now on, if that is spoken.
    pub(crate) fn prefer_utp(&mut self, addr: SocketAddr) {
        if let Some(candidate) = self.known.get_mut(&addr) {
            candidate.approach.prefers_utp = true;
        }
    }

    /// Whether the peer at `addr` is to be dialled by uTP first.
    pub(crate) fn prefers_utp(&self, addr: SocketAddr) -> bool {
        self.known.get(&addr).is_some_and(|candidate| candidate.approach.prefers_utp)
    }

    /// Whether the peer at `addr` is to be dialled by uTP where TCP has not reached it: not each
    /// time, since few peers answer to uTP alone, and the others take its time.
    pub(crate) fn may_answer_to_utp(&self, addr: SocketAddr) -> bool {
        let failures = self.known.get(&addr).map_or(0, |candidate| candidate.failures);
        failures.is_multiple_of(FAILURES_A_UTP_DIAL)
    }

    /// The peer at `addr` is dialled as soon as may be, if it is idle.
    pub(crate) fn hasten(&mut self, now: Instant, addr: SocketAddr) {
        if let Some(&candidate) = self.known.get(&addr)
            && candidate.idle_until.is_some()
        {
            self.take_out(addr, candidate);
            self.idle(addr, now);
        }
    }

    /// The network is another one: those that failed are dialled as soon as may be.
    pub(crate) fn hasten_failed(&mut self, now: Instant) {
        let is_meant = |c: &Candidate| c.failures > 0 && c.idle_until.is_some_and(|at| at > now);
        let failed = self.known.iter().filter(|(_, candidate)| is_meant(candidate));
        let failed: Vec<_> = failed.map(|(&addr, _)| addr).collect();
        failed.into_iter().for_each(|addr| self.hasten(now, addr));
    }

    /// `addr` could not be dialled for reasons of our own: later, and later each time, but it is
    /// not forgotten for that.
    pub(crate) fn postpone(&mut self, now: Instant, addr: SocketAddr, rng: &mut Rng, conf: &Conf) {
        if let Some(candidate) =
            self.known.get_mut(&addr).filter(|candidate| candidate.idle_until.is_none())
        {
            let most = conf.peers.max_dial_failures.saturating_sub(1).max(candidate.failures);
            candidate.failures = candidate.failures.saturating_add(1).min(most);
            let pause = back_off(candidate.failures.saturating_sub(1), rng, conf);
            self.idle(addr, now + pause);
        }
    }

    /// `addr` could not be dialled for want of a proxy, which says nothing of it.
    pub(crate) fn put_back(&mut self, addr: SocketAddr, until: Instant) {
        if self.known.get(&addr).is_some_and(|candidate| candidate.idle_until.is_none()) {
            self.idle(addr, until);
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
        self.ready.len().min(limit) + waiting.take(limit.saturating_sub(self.ready.len())).count()
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
            self.ready.remove(candidate.is_hearsay(), &self.rank(addr, candidate, at));
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
    /// Peers have named it, and it was never connected.
    fn is_hearsay(&self) -> bool {
        matches!(self.source, Source::Pex(_)) && !self.proven
    }

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
