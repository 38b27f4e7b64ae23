//! What the peers of one torrent are told of each other: a log of who came and went, in which each
//! peer has read up to some place. Everybody reads on once a minute, at the same time.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    base::time::Instant,
    wire::ut_pex::{PexFlags, PexMessage},
};

/// BEP 11: no more than one message a minute.
const ROUND: Duration = Duration::from_secs(60);
/// Peers in the first message to a peer.
const MAX_FIRST: usize = 100;
/// Added peers in a later message, and dropped ones as many (BEP 11).
const MAX_LATER: usize = 50;
/// Entries of the log. A peer that has not read the oldest when there are more never will.
const MAX_LOG: usize = 1000;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct PexLog {
    /// Peers that are connected, and by how many connections.
    live: BTreeMap<SocketAddr, (PexFlags, u32)>,
    /// Who came (true) and who went.
    log: VecDeque<(SocketAddr, bool)>,
    /// The place of the first entry of `log` among all that ever were.
    begin: u64,
    /// Where the log ended in the last two rounds: what is older everybody has read.
    rounds: [u64; 2],
    next_round: Option<Instant>,
}

/// What one peer has been told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PexTold {
    /// Up to where, and when; nothing if it is `None`.
    last: Option<(u64, Instant)>,
}

/// What has become of a peer: whether it was told of before, and whether it is connected now.
#[derive(Clone, Copy)]
struct Change {
    known: bool,
    connected: bool,
}

impl Change {
    fn is_added(self) -> bool {
        !self.known && self.connected
    }

    fn is_dropped(self) -> bool {
        self.known && !self.connected
    }
}

impl PexTold {
    /// Whether the peer has been told anything.
    pub fn is_begun(&self) -> bool {
        self.last.is_some()
    }
}

impl PexLog {
    /// A peer has been connected that others could dial at `addr`.
    pub fn handle_connected(&mut self, now: Instant, addr: SocketAddr, flags: PexFlags) {
        let (_, connections) = self.live.entry(addr).or_insert((flags, 0));
        *connections += 1;
        if *connections == 1 {
            self.push(addr, true);
        }
        self.next_round.get_or_insert(now + ROUND);
    }

    /// What is told of the peer at `addr` from now on.
    pub fn set_flags(&mut self, addr: SocketAddr, flags: PexFlags) {
        if let Some((known, _)) = self.live.get_mut(&addr) {
            *known = flags;
        }
    }

    /// A connection to the peer at `addr` has ended.
    pub fn handle_gone(&mut self, addr: SocketAddr) {
        if let Some((_, connections)) = self.live.get_mut(&addr) {
            *connections -= 1;
            if *connections == 0 {
                self.live.remove(&addr);
                self.push(addr, false);
            }
        }
    }

    /// When the next round is, if there is anything to tell.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.next_round
    }

    /// True once a minute, if there may be something to tell: then each peer gets its
    /// [`message`](Self::message).
    #[must_use]
    pub fn poll_round(&mut self, now: Instant) -> bool {
        let due = self.next_round.is_some_and(|at| at <= now);
        if due {
            let end = self.end();
            let [older, old] = self.rounds;
            // Peers that were told nothing in the last round since their first message was young
            // have been told everything in this one.
            self.forget(older);
            self.rounds = [old, end];
            self.next_round = (!self.log.is_empty() || !self.live.is_empty()).then(|| now + ROUND);
        }
        due
    }

    /// The message for a peer that others dial at `own`: of the peers there are, if it is the first
    /// one, which may be sent at any time; else of what has changed, if a minute has passed.
    /// `None` if there is nothing to tell.
    #[must_use]
    pub fn message(
        &self,
        now: Instant,
        told: &mut PexTold,
        own: Option<SocketAddr>,
    ) -> Option<PexMessage> {
        let (end, message) = match told.last {
            None => {
                let others = self.live.iter().filter(|&(&addr, _)| Some(addr) != own);
                let added = others.map(|(&addr, &(flags, _))| (addr, flags));
                let added = added.take(MAX_FIRST).collect();
                (self.end(), PexMessage { added, dropped: Vec::new() })
            }
            Some((_, at)) if now < at + ROUND => return None,
            Some((from, _)) => self.changes(from, own),
        };
        if message.is_empty() {
            // Who has been told nothing gets its first message as soon as there is something.
            told.last = told.last.map(|(_, at)| (end, at));
            return None;
        }
        told.last = Some((end, now));
        Some(message)
    }

    /// What has changed since `from`, and up to where that is. What came and went in between, or
    /// went and came, is left out.
    fn changes(&self, from: u64, own: Option<SocketAddr>) -> (u64, PexMessage) {
        let mut end = from.max(self.begin);
        let skip = usize::try_from(end - self.begin).unwrap_or(usize::MAX);
        let mut net: BTreeMap<SocketAddr, Change> = BTreeMap::new();
        let (mut added, mut dropped) = (0, 0);
        for &(addr, connected) in self.log.iter().skip(skip) {
            if Some(addr) != own {
                let before = net.get(&addr).copied();
                // The first entry tells what the peer knew.
                let known = before.map_or(!connected, |before| before.known);
                let after = Change { known, connected };
                let more = |counts: fn(Change) -> bool, so_far: usize| {
                    so_far + usize::from(counts(after)) - usize::from(before.is_some_and(counts))
                };
                let counts = (more(Change::is_added, added), more(Change::is_dropped, dropped));
                if counts.0 > MAX_LATER || counts.1 > MAX_LATER {
                    break;
                }
                (added, dropped) = counts;
                net.insert(addr, after);
            }
            end += 1;
        }
        let mut message = PexMessage::default();
        for (addr, change) in net {
            if change.is_added() {
                let flags = self.live.get(&addr).map_or(PexFlags::default(), |&(flags, _)| flags);
                message.added.push((addr, flags));
            } else if change.is_dropped() {
                message.dropped.push(addr);
            }
        }
        (end, message)
    }

    fn push(&mut self, addr: SocketAddr, connected: bool) {
        self.log.push_back((addr, connected));
        if self.log.len() > MAX_LOG {
            self.log.pop_front();
            self.begin += 1;
        }
    }

    fn end(&self) -> u64 {
        self.begin + self.log.len() as u64
    }

    /// Drops what is before `place`.
    fn forget(&mut self, place: u64) {
        while self.begin < place && self.log.pop_front().is_some() {
            self.begin += 1;
        }
    }
}
