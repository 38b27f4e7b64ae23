//! The network that this machine is part of: from which addresses it sends to the outside, and what
//! begins anew when the network is another one, or has come back, or the machine has slept. It
//! knows no socket and looks nothing up itself; its driver does.

use std::{net::IpAddr, time::Duration};

use crate::{base::time::Instant, engine::Engine};

/// A clock that has jumped by so much and a timer that is so late mean that the machine has slept.
pub(super) const SLEPT: Duration = Duration::from_secs(60);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Network {
    /// What this machine sends from, as the driver saw it last.
    addrs: Option<Vec<IpAddr>>,
}

impl Network {
    /// Whether this machine has a way to the outside, but none in the family of `ip`.
    pub(super) fn has_only_other_family(&self, ip: IpAddr) -> bool {
        let is_v4 = ip.to_canonical().is_ipv4();
        let addrs = self.addrs.as_deref().unwrap_or_default();
        !addrs.is_empty() && addrs.iter().all(|own| own.is_ipv4() != is_v4)
    }

    /// What this machine sends from now. True if one of it is new since the last time.
    fn note(&mut self, addrs: Vec<IpAddr>) -> bool {
        let before = self.addrs.replace(addrs);
        let is_new = |addr: &IpAddr| before.as_ref().is_some_and(|known| !known.contains(addr));
        self.addrs.iter().flatten().any(is_new)
    }
}

impl Engine {
    /// Whether the driver is to look now and then, every
    /// [`DhtConf::look_interval`](crate::conf::DhtConf::look_interval), from which addresses this
    /// machine sends to the outside, and to tell them by
    /// [`handle_addresses`](Self::handle_addresses): as long as there is a torrent or a DHT node.
    pub fn wants_addresses(&self) -> bool {
        let is_of_use = self.torrents.len() > 0 || self.dht().is_some();
        is_of_use && !self.shutdown.has_begun()
    }

    /// The addresses from which this machine sends to the outside, at most one of each family; none
    /// of a family that has no way there. If one has come since the last time, the network is
    /// another one, and nothing waits as long as it would after failures in the one before:
    /// trackers are told as soon as they allow it, peers that failed are dialled again, and the DHT
    /// node looks around again at once.
    pub fn handle_addresses(&mut self, now: Instant, addrs: Vec<IpAddr>) {
        self.handle_tick(now);
        if self.discovery.network.note(addrs) {
            log::debug!("this machine sends from another address");
            self.verbs().dht_network_changed();
            self.try_again();
        }
    }

    /// It is later by so much than the last time that this was looked at. If something was to be
    /// done long ago, the machine has slept; the DHT node and the port mapping notice that by
    /// themselves.
    pub(super) fn note_gap(&mut self, now: Instant) {
        let before = std::mem::replace(&mut self.cx.now, now);
        let is_late = |at: Instant| now.since(at) >= SLEPT;
        if is_late(before) && self.poll_timeout().is_some_and(is_late) {
            log::debug!("this machine has slept for {:?}", now.since(before));
            self.try_again();
        }
    }

    /// Trackers could not be asked, by no fault of theirs, and can be now.
    pub(super) fn hurry_announces(&mut self) {
        for key in self.torrents.keys() {
            if let Some(torrent) = self.torrents.get_mut(key) {
                torrent.hurry_announces(&mut self.cx);
                self.settle(key);
            }
        }
    }

    /// What failed in another network may not fail now.
    pub(super) fn try_again(&mut self) {
        for key in self.torrents.keys() {
            if let Some(torrent) = self.torrents.get_mut(key) {
                torrent.handle_network_change(&mut self.cx);
                self.settle(key);
            }
        }
    }
}
