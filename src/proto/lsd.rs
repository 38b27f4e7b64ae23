//! Local service discovery (BEP 14): when which torrents are announced on which interface, and what
//! is taken of what others announce. It knows interfaces by the owner's names for them, and no
//! socket. Private torrents are not to be given to it (BEP 27).

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    net::{IpAddr, SocketAddr},
    ops::Bound,
    time::Duration,
};

use crate::{
    base::{ids::InfoHash, time::Instant},
    proto::http::guard::{Reach, reach},
    wire::lsd::{LsdAnnounce, MAX_LSD_HASHES},
};

/// How often a torrent is announced on an interface (BEP 14).
const INTERVAL: Duration = Duration::from_secs(5 * 60);
/// The shortest time between two packets on an interface (BEP 14).
const PAUSE: Duration = Duration::from_secs(60);
/// Packets that a neighbour may send at once, as it does when it starts with many torrents.
const BURST: u64 = 100;
/// Neighbours that are remembered to have sent packets; the one that was heard longest ago goes.
const MAX_NEIGHBOURS: usize = 256;
/// Interfaces that are announced on.
const MAX_INTERFACES: usize = 64;

/// See the module. `I` names an interface and a family on it.
#[derive(Clone, Debug)]
pub struct Lsd<I> {
    /// By which we know our own packets.
    cookie: String,
    torrents: BTreeSet<InfoHash>,
    interfaces: BTreeMap<I, Interface>,
    /// When each neighbour would be silent if its packets came one a second.
    neighbours: BTreeMap<IpAddr, Instant>,
}

/// What is announced on one interface: torrents that are new to it first, then all in turn.
#[derive(Clone, Debug)]
struct Interface {
    /// Where we listen for peers.
    port: u16,
    fresh: VecDeque<InfoHash>,
    /// The turn began then, and has come to the torrents behind this one.
    turn: Instant,
    done: Option<InfoHash>,
    /// Whether the turn has come to its end.
    over: bool,
    /// No packet before.
    next: Instant,
}

impl<I: Copy + Ord> Lsd<I> {
    /// `cookie` is a word that others hardly have: a random number in hexadecimal digits.
    pub fn new(cookie: String) -> Self {
        Self {
            cookie,
            torrents: BTreeSet::new(),
            interfaces: BTreeMap::new(),
            neighbours: BTreeMap::new(),
        }
    }

    /// Announce on these interfaces, with the port at which we listen there. On those that are new
    /// all torrents are announced as soon as may be.
    pub fn set_interfaces(&mut self, now: Instant, interfaces: impl IntoIterator<Item = (I, u16)>) {
        let mut before = std::mem::take(&mut self.interfaces);
        for (name, port) in interfaces.into_iter().filter(|&(_, port)| port != 0) {
            let known = before.remove(&name);
            if self.interfaces.len() < MAX_INTERFACES {
                let new = || Interface {
                    port,
                    fresh: self.torrents.iter().copied().collect(),
                    turn: now,
                    done: None,
                    over: true,
                    next: now,
                };
                let interface = Interface { port, ..known.unwrap_or_else(new) };
                self.interfaces.insert(name, interface);
            }
        }
    }

    /// Announce this torrent, which must not be private.
    pub fn add(&mut self, torrent: InfoHash) {
        if self.torrents.insert(torrent) {
            self.interfaces.values_mut().for_each(|i| i.fresh.push_back(torrent));
        }
    }

    /// Do not announce this torrent any more.
    pub fn remove(&mut self, torrent: InfoHash) {
        if self.torrents.remove(&torrent) {
            self.interfaces.values_mut().for_each(|i| i.fresh.retain(|&fresh| fresh != torrent));
        }
    }

    /// When the next packet is to be sent, if there is one; some time in the past if it is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        if self.torrents.is_empty() {
            return None;
        }
        let due = |i: &Interface| match i.fresh.is_empty() && i.over {
            true => i.next.max(i.turn + INTERVAL),
            false => i.next,
        };
        self.interfaces.values().map(due).min()
    }

    /// The next packet and the interface to send it on, if one is due.
    #[must_use]
    pub fn poll_announce(&mut self, now: Instant) -> Option<(I, LsdAnnounce)> {
        for (&name, interface) in &mut self.interfaces {
            if interface.next > now || self.torrents.is_empty() {
                continue;
            }
            let info_hashes = interface.take(now, &self.torrents);
            if !info_hashes.is_empty() {
                interface.next = now + PAUSE;
                let cookie = Some(self.cookie.clone());
                return Some((name, LsdAnnounce { port: interface.port, info_hashes, cookie }));
            }
        }
        None
    }

    /// A packet has come from this address: which of our torrents its peer takes part in, and where
    /// it can be dialled. Nothing of our own packets, of one from beyond the local network, which
    /// cannot have been sent to a group of it, or of a neighbour that sends too many.
    pub fn handle_packet(
        &mut self,
        now: Instant,
        from: SocketAddr,
        announce: &LsdAnnounce,
    ) -> Option<(SocketAddr, Vec<InfoHash>)> {
        let ip = from.ip().to_canonical();
        let local = reach(ip).is_some_and(|reach| reach > Reach::Internet);
        if !local || announce.cookie.as_ref() == Some(&self.cookie) || !self.may_speak(now, ip) {
            return None;
        }
        let ours = announce.info_hashes.iter().filter(|hash| self.torrents.contains(hash));
        let ours: Vec<InfoHash> = ours.copied().collect();
        // The scope of an address of a link comes with it.
        let mut peer = from;
        peer.set_port(announce.port);
        (!ours.is_empty()).then_some((peer, ours))
    }

    /// A neighbour may send a packet a second, and [`BURST`] at once.
    fn may_speak(&mut self, now: Instant, ip: IpAddr) -> bool {
        if !self.neighbours.contains_key(&ip) && self.neighbours.len() >= MAX_NEIGHBOURS {
            let oldest = self.neighbours.iter().map(|(&ip, &at)| (at, ip)).min();
            oldest.map(|(_, ip)| self.neighbours.remove(&ip));
        }
        let silent = self.neighbours.entry(ip).or_insert(now);
        *silent = (*silent).max(now);
        let may = silent.since(now) < Duration::from_secs(BURST);
        if may {
            *silent = *silent + Duration::from_secs(1);
        }
        may
    }
}

impl Interface {
    /// The torrents of the next packet.
    fn take(&mut self, now: Instant, torrents: &BTreeSet<InfoHash>) -> Vec<InfoHash> {
        let fresh = self.fresh.len().min(MAX_LSD_HASHES);
        let mut hashes: Vec<InfoHash> = self.fresh.drain(..fresh).collect();
        self.go_on(torrents, &mut hashes);
        if hashes.is_empty() && self.turn + INTERVAL <= now {
            (self.turn, self.done, self.over) = (now, None, false);
            self.go_on(torrents, &mut hashes);
        }
        hashes
    }

    /// Adds those whose turn it is.
    fn go_on(&mut self, torrents: &BTreeSet<InfoHash>, hashes: &mut Vec<InfoHash>) {
        let behind = self.done.map_or(Bound::Unbounded, Bound::Excluded);
        let mut rest = torrents.range((behind, Bound::Unbounded));
        while !self.over && hashes.len() < MAX_LSD_HASHES {
            let Some(&hash) = rest.next() else {
                self.over = true;
                break;
            };
            self.done = Some(hash);
            // One that is new has just been told of.
            if !hashes.contains(&hash) {
                hashes.push(hash);
            }
        }
    }
}
