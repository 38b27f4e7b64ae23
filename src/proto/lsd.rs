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
    conf::LsdConf,
    proto::http::guard::{Reach, reach},
    wire::lsd::{LsdAnnounce, MAX_LSD_HASHES},
};

/// See the module. `I` names an interface and a family on it.
#[derive(Clone, Debug)]
pub struct Lsd<I> {
    conf: LsdConf,
    /// By which we know our own packets.
    cookie: String,
    torrents: BTreeSet<InfoHash>,
    interfaces: BTreeMap<I, Interface>,
    /// Prefixes of the networks that we are part of, with their lengths in bits.
    networks: Vec<(IpAddr, u8)>,
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
    pub fn new(cookie: String, conf: LsdConf) -> Self {
        Self {
            conf,
            cookie,
            torrents: BTreeSet::new(),
            interfaces: BTreeMap::new(),
            networks: Vec::new(),
            neighbours: BTreeMap::new(),
        }
    }

    /// Announce on these interfaces, with the port at which we listen there. On those that are new
    /// all torrents are announced as soon as may be.
    pub fn set_interfaces(&mut self, now: Instant, interfaces: impl IntoIterator<Item = (I, u16)>) {
        let mut before = std::mem::take(&mut self.interfaces);
        for (name, port) in interfaces.into_iter().filter(|&(_, port)| port != 0) {
            let known = before.remove(&name);
            if self.interfaces.len() < self.conf.max_interfaces {
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

    /// What is sent from an address of these networks comes from a neighbour, whether or not the
    /// internet could reach that address: IPv6 prefers such addresses for the group (RFC 6724).
    pub fn set_networks(&mut self, networks: Vec<(IpAddr, u8)>) {
        self.networks = networks;
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
            true => i.next.max(i.turn + self.conf.interval),
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
            let info_hashes = interface.take(now, &self.torrents, self.conf.interval);
            if !info_hashes.is_empty() {
                interface.next = now + self.conf.pause;
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
        let local = reach(ip).is_some_and(|reach| reach > Reach::Internet)
            || self.networks.iter().any(|&(net, bits)| is_within(ip, net, bits));
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

    /// A neighbour may send a packet a second, and [`LsdConf::burst`] at once.
    fn may_speak(&mut self, now: Instant, ip: IpAddr) -> bool {
        if !self.neighbours.contains_key(&ip) && self.neighbours.len() >= self.conf.max_neighbours {
            let oldest = self.neighbours.iter().map(|(&ip, &at)| (at, ip)).min();
            oldest.map(|(_, ip)| self.neighbours.remove(&ip));
        }
        let silent = self.neighbours.entry(ip).or_insert(now);
        *silent = (*silent).max(now);
        let may = silent.since(now) < Duration::from_secs(self.conf.burst.into());
        if may {
            *silent = *silent + Duration::from_secs(1);
        }
        may
    }
}

impl Interface {
    /// The torrents of the next packet.
    fn take(
        &mut self,
        now: Instant,
        torrents: &BTreeSet<InfoHash>,
        interval: Duration,
    ) -> Vec<InfoHash> {
        let fresh = self.fresh.len().min(MAX_LSD_HASHES);
        let mut hashes: Vec<InfoHash> = self.fresh.drain(..fresh).collect();
        self.go_on(torrents, &mut hashes);
        if hashes.is_empty() && self.turn + interval <= now {
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

/// Whether an address lies in the network of this prefix of so many bits.
fn is_within(ip: IpAddr, net: IpAddr, bits: u8) -> bool {
    let [ip, net] = match (ip, net) {
        (IpAddr::V4(ip), IpAddr::V4(net)) => [ip, net].map(|ip| u128::from(ip.to_bits()) << 96),
        (IpAddr::V6(ip), IpAddr::V6(net)) => [ip, net].map(|ip| ip.to_bits()),
        _ => return false,
    };
    // A prefix of no bits is the whole internet.
    bits > 0 && (ip ^ net).leading_zeros() >= u32::from(bits)
}
