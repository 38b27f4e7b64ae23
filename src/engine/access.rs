//! Who may connect and which peers we connect to: the user's filter and bans, a host's share of the
//! connections, and our own address, which decides which peers to prefer (BEP 40). It keeps counts
//! by host and sees no torrent's bans, which are the torrents' own.

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use crate::{
    base::{
        arena::Key,
        ip_filter::{IpFilter, host_of},
    },
    engine::{Engine, Verbs},
    torrent::bans::Bans,
};

/// Connections that were refused as they came, by the first reason that applied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused {
    /// The filter blocks its address.
    pub filtered: u64,
    /// The user has banned its address.
    pub banned: u64,
    /// There was no room: `PeerConf::max_connections`, `PeerConf::max_handshakes`.
    pub full: u64,
    /// Its host had its share: `PeerConf::max_per_host`, or half of `PeerConf::max_handshakes`.
    pub crowded: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Access {
    bans: Bans<IpAddr>,
    /// Hosts with connections, so there are no more of them than of those.
    hosts: BTreeMap<IpAddr, Host>,
    /// Accepted connections whose handshake has not come, of all hosts.
    handshakes: usize,
    refused: Refused,
    /// Where we have reached ourselves, newest last. Trackers name us to ourselves again and
    /// again.
    ourselves: VecDeque<SocketAddr>,
}

/// Addresses of our own that are remembered: more than a machine has for the outside.
const MAX_OURSELVES: usize = 16;

/// What one host has.
#[derive(Clone, Copy, Debug, Default)]
struct Host {
    connections: usize,
    /// Those of them that came and have not greeted.
    handshakes: usize,
}

impl Access {
    /// `addr` is an address of our own.
    pub(super) fn note_ourselves(&mut self, addr: SocketAddr) {
        if !self.ourselves.contains(&addr) {
            self.ourselves.push_back(addr);
            if self.ourselves.len() > MAX_OURSELVES {
                self.ourselves.pop_front();
            }
        }
    }

    pub(super) fn handle_accepted(&mut self, ip: IpAddr) {
        let host = self.hosts.entry(host_of(ip)).or_default();
        host.connections += 1;
        host.handshakes += 1;
        self.handshakes += 1;
    }

    pub(super) fn handle_dialled(&mut self, ip: IpAddr) {
        self.hosts.entry(host_of(ip)).or_default().connections += 1;
    }

    /// One that was accepted has greeted.
    pub(super) fn handle_greeted(&mut self, ip: IpAddr) {
        if let Some(host) = self.hosts.get_mut(&host_of(ip)) {
            host.handshakes = host.handshakes.saturating_sub(1);
        }
        self.handshakes = self.handshakes.saturating_sub(1);
    }

    /// A connection is over; `greeting`: one that was accepted and has not greeted.
    pub(super) fn handle_gone(&mut self, ip: IpAddr, greeting: bool) {
        let ip = host_of(ip);
        let Some(host) = self.hosts.get_mut(&ip) else { return };
        self.handshakes = self.handshakes.saturating_sub(usize::from(greeting));
        host.connections = host.connections.saturating_sub(1);
        host.handshakes = host.handshakes.saturating_sub(usize::from(greeting));
        if host.connections == 0 {
            self.hosts.remove(&ip);
        }
    }

    /// Accepted connections whose handshake has not come.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn handshakes(&self) -> usize {
        self.handshakes
    }

    /// Whether no host has anything.
    pub(super) fn is_idle(&self) -> bool {
        self.hosts.is_empty()
    }

    /// What is wrong with the counts, if these are the links: where to, and whether it came and has
    /// not greeted.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn audit(
        &self,
        connections: impl Iterator<Item = (IpAddr, bool)>,
    ) -> Result<(), String> {
        let mut hosts: BTreeMap<IpAddr, (usize, usize)> = BTreeMap::new();
        for (ip, greeting) in connections {
            let host = hosts.entry(host_of(ip)).or_default();
            *host = (host.0 + 1, host.1 + usize::from(greeting));
        }
        let counted: BTreeMap<_, _> = self
            .hosts
            .iter()
            .map(|(&ip, host)| (ip, (host.connections, host.handshakes)))
            .collect();
        if hosts != counted {
            return Err(format!(
                "hosts have connections and handshakes {hosts:?}, counted are {counted:?}"
            ));
        }
        Ok(())
    }

    fn host(&self, ip: IpAddr) -> Host {
        self.hosts.get(&host_of(ip)).copied().unwrap_or_default()
    }
}

impl Verbs<'_> {
    /// Sets the addresses that we want nothing to do with, in place of what was set before. Blocked
    /// addresses are neither accepted nor dialled nor remembered as peers, and connections with
    /// them end.
    /// Building a filter takes its time: do so elsewhere and bring it here.
    pub fn set_ip_filter(&mut self, filter: IpFilter) {
        let filter = Arc::new(filter);
        self.engine.cx.leases.set_filter(filter.clone());
        for (_, torrent) in self.engine.torrents.iter_mut() {
            torrent.set_filter(filter.clone());
        }
        self.engine.close_where("the filter blocks its address", |ip| filter.blocks(ip));
    }

    /// Bans an IP in all torrents for so long from now, whatever it was banned for before;
    /// connections with it end. `Duration::MAX` is for good. Some thousands are remembered; if
    /// there are more, the one that ends first is forgotten, so what is to be kept away for
    /// good in great numbers belongs in the [filter](Self::set_ip_filter).
    pub fn ban(&mut self, ip: IpAddr, time: Duration) {
        let ip = ip.to_canonical();
        self.engine.access.bans.ban_until(ip, self.engine.cx.now + time);
        if !self.engine.access.bans.is_banned(self.engine.cx.now, ip) {
            return;
        }
        for (_, torrent) in self.engine.torrents.iter_mut() {
            torrent.forget_candidates(|known| known.to_canonical() == ip);
        }
        self.engine.close_where("the user has banned it", |peer| peer.to_canonical() == ip);
    }

    /// Ends all bans of an IP: the user's, and those for bad data in any torrent. Whether there
    /// were any, or had been lately.
    pub fn unban(&mut self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        let mut lifted = self.engine.access.bans.lift(|banned| banned == ip);
        for (_, torrent) in self.engine.torrents.iter_mut() {
            lifted |= torrent.unban(ip);
        }
        lifted
    }

    /// Tells the engine its address as others see it. It decides which peers are preferred (BEP
    /// 40), which works without, but then only by luck do both ends prefer the same. Peers that
    /// tell us (BEP 10 `yourip`) are asked only as long as this has not been set
    /// for the family, and believed if three hosts agree.
    pub fn set_external_addr(&mut self, ip: IpAddr) {
        self.engine.cx.leases.external_mut().set(ip);
        self.engine.spread_external_addr();
    }
}

impl Engine {
    /// Whether a connection from `ip` is taken now; counts it if not.
    pub(super) fn admits(&mut self, ip: IpAddr) -> bool {
        let (conf, host, refused) = (&self.cx.conf, self.access.host(ip), &mut self.access.refused);
        let reason = if self.shutdown.has_begun() {
            return false;
        } else if self.cx.leases.filter().blocks(ip) {
            &mut refused.filtered
        } else if self.access.bans.is_banned(self.cx.now, ip.to_canonical()) {
            &mut refused.banned
        } else if self.connections.len() >= conf.peers.max_connections
            || self.access.handshakes >= conf.peers.max_handshakes
        {
            &mut refused.full
        } else if host.connections >= conf.peers.max_per_host
            || host.handshakes >= conf.peers.max_handshakes.div_ceil(2)
        {
            &mut refused.crowded
        } else {
            return true;
        };
        *reason += 1;
        false
    }

    /// Whether a candidate that is due may be dialled. If its host has its share it is tried later;
    /// if it is banned, or ourselves, it is forgotten.
    pub(super) fn may_dial(&mut self, torrent: Key, addr: SocketAddr) -> bool {
        let Some(torrent) = self.torrents.get_mut(torrent) else { return false };
        let cx = &mut self.cx;
        if self.access.bans.is_banned(cx.now, addr.ip().to_canonical()) {
            torrent.forget_candidates(|ip| ip == addr.ip());
            return false;
        }
        if self.access.ourselves.contains(&addr) {
            torrent.forget_candidate(addr);
            return false;
        }
        if self.access.host(addr.ip()).connections >= cx.conf.peers.max_per_host {
            torrent.postpone_candidate(addr, cx);
            torrent.schedule(cx);
            return false;
        }
        true
    }

    /// The filter that is set.
    pub fn ip_filter(&self) -> &IpFilter {
        self.cx.leases.filter()
    }

    /// Our IPv4 and our IPv6 address as others see them, as far as they are known: set by the user,
    /// or agreed on by peers.
    pub fn external_addrs(&self) -> (Option<std::net::Ipv4Addr>, Option<std::net::Ipv6Addr>) {
        let ours = self.cx.leases.external().ours(Default::default());
        (ours.v4, ours.v6)
    }

    /// Connections refused as they came, since the start.
    pub fn refused(&self) -> Refused {
        self.access.refused
    }

    pub(super) fn spread_external_addr(&mut self) {
        if self.cx.leases.external_mut().poll_changed() {
            let ours = self.cx.leases.external().ours(self.cx.leases.ports());
            for (_, torrent) in self.torrents.iter_mut() {
                torrent.set_ours(ours);
            }
        }
    }

    fn close_where(&mut self, reason: &str, meant: impl Fn(IpAddr) -> bool) {
        for key in self.connections.keys() {
            if self.connections.get(key).is_some_and(|connection| meant(connection.who().addr.ip()))
            {
                self.close(key, reason);
            }
        }
    }
}
