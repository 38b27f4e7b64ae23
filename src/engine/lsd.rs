//! The engine's local service discovery (BEP 14): which torrents are announced to the local network
//! by which interface, and what becomes of peers that announce themselves there.
//!
//! What is announced when is `proto::lsd`'s. Without
//! [`LsdConf::enabled`](crate::conf::LsdConf::enabled) nothing happens here.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    alert::Alert,
    base::{arena::Key, ids::InfoHash, rng::Rng, time::Instant, timers::Wakeup},
    conf::{Conf, Traffic},
    engine::{Effect, Engine, Interface, io::Owner},
    proto::lsd,
    wire::lsd::{LSD_GROUP_V4, LSD_GROUP_V6, LsdAnnounce},
};

/// How long torrents that are added are gathered, so that one packet names them all: the next may
/// not leave for a minute.
const GATHER: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lsd {
    machine: Option<Box<lsd::Lsd<Interface>>>,
    wakeup: Wakeup,
    /// Where packets can be sent, as the driver knows it.
    interfaces: Vec<Interface>,
    /// What is announced of each torrent.
    told: BTreeMap<Key, Vec<InfoHash>>,
    /// Whose a hash is.
    torrents: BTreeMap<InfoHash, Key>,
    /// What has gone wrong, and was told.
    failures: BTreeSet<io::ErrorKind>,
}

impl Lsd {
    pub(super) fn new(conf: &Conf, rng: &mut Rng) -> Self {
        if !conf.lsd.enabled || conf.proxy.carries(Traffic::Peers) {
            return Self::default();
        }
        let cookie = format!("{:016x}", rng.next_u64());
        Self { machine: Some(Box::new(lsd::Lsd::new(cookie, conf.lsd.clone()))), ..Self::default() }
    }
}

impl Interface {
    /// The group of its family.
    pub(crate) fn group(self) -> SocketAddr {
        if self.v6 { LSD_GROUP_V6 } else { LSD_GROUP_V4 }
    }
}

impl Engine {
    /// Whether the driver is to be a member of the group of local service discovery (BEP 14) on
    /// the machine's interfaces, to tell them by [`handle_interfaces`](Self::handle_interfaces),
    /// and to look again now and then. False as long as no torrent is announced.
    pub fn wants_multicast(&self) -> bool {
        !self.discovery.lsd.told.is_empty()
    }

    /// The interfaces by which multicast packets can be sent, all of them, and the networks that
    /// this machine is part of: prefixes and their lengths in bits. On one that is new everything
    /// is announced soon.
    pub fn handle_interfaces(
        &mut self,
        now: Instant,
        interfaces: Vec<Interface>,
        networks: Vec<(IpAddr, u8)>,
    ) {
        self.handle_tick(now);
        self.discovery.lsd.interfaces = interfaces;
        if let Some(machine) = &mut self.discovery.lsd.machine {
            machine.set_networks(networks);
        }
        self.refresh_interfaces();
    }

    /// A datagram came to the group of local service discovery.
    pub fn handle_multicast(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        self.handle_tick(now);
        let blocked = self.cx.leases.filter().blocks(from.ip());
        let Some(machine) = self.discovery.lsd.machine.as_mut().filter(|_| !blocked) else {
            return;
        };
        let Ok(announce) = LsdAnnounce::decode(data) else { return };
        let heard = machine.handle_packet(self.cx.now, from, &announce);
        let Some((peer, hashes)) = heard else { return };
        let torrents = &self.discovery.lsd.torrents;
        let keys: BTreeSet<Key> =
            hashes.iter().filter_map(|hash| torrents.get(hash)).copied().collect();
        for key in keys {
            if let Some(torrent) = self.torrents.get_mut(key) {
                torrent.handle_neighbour(peer, &mut self.cx);
                self.settle(key);
            }
        }
    }

    /// A packet could not be sent, or the group not be joined: told once of each kind.
    pub(super) fn multicast_failed(&mut self, why: io::ErrorKind) {
        if self.discovery.lsd.failures.insert(why) {
            log::warn!("local discovery does not work on every interface: {why}");
            self.cx.alerts.push(Alert::LocalDiscoveryFailed { error: why });
        }
    }

    pub(super) fn handle_lsd_timeout(&mut self, at: Instant) {
        if !self.discovery.lsd.wakeup.fire(at) {
            return;
        }
        let now = self.cx.now;
        while let Some(machine) = &mut self.discovery.lsd.machine
            && let Some((interface, announce)) = machine.poll_announce(now)
        {
            let data = announce.encode(interface.group());
            self.effect(Effect::Multicast { interface, data });
        }
        self.schedule_lsd(now);
    }

    /// A torrent may have begun or ceased to be one that neighbours hear of.
    pub(super) fn note_lsd(&mut self, key: Key) {
        let lsd = &mut self.discovery.lsd;
        let Some(machine) = &mut lsd.machine else { return };
        let torrent = self
            .torrents
            .get(key)
            .filter(|torrent| torrent.may_find_peers() && !self.shutdown.has_begun());
        let count = torrent.map_or(0, |torrent| torrent.identity().hashes().wire_hashes().count());
        if lsd.told.get(&key).map_or(0, Vec::len) == count {
            return;
        }
        let hashes: Vec<InfoHash> = torrent
            .into_iter()
            .flat_map(|torrent| torrent.identity().hashes().wire_hashes())
            .map(|hash| hash.hash)
            .collect();
        let before = lsd.told.remove(&key).unwrap_or_default();
        for hash in before.iter().filter(|hash| !hashes.contains(hash)) {
            machine.remove(*hash);
            lsd.torrents.remove(hash);
        }
        for &hash in &hashes {
            machine.add(hash);
            lsd.torrents.insert(hash, key);
        }
        if !hashes.is_empty() {
            lsd.told.insert(key, hashes);
        }
        self.schedule_lsd(self.cx.now + GATHER);
    }

    /// The interfaces have changed, or the ports that are listened on.
    pub(super) fn refresh_interfaces(&mut self) {
        let ports = self.cx.leases.ports();
        let lsd = &mut self.discovery.lsd;
        let Some(machine) = &mut lsd.machine else { return };
        let with_port = |&interface: &Interface| Some((interface, ports.own(!interface.v6)?));
        machine.set_interfaces(self.cx.now, lsd.interfaces.iter().filter_map(with_port));
        self.schedule_lsd(self.cx.now + GATHER);
    }

    /// Has the next packet sent when it is due, and not before `soonest`.
    fn schedule_lsd(&mut self, soonest: Instant) {
        let lsd = &mut self.discovery.lsd;
        let due = lsd.machine.as_ref().and_then(|machine| machine.next_deadline());
        if let Some(at) = due.map(|at| at.max(soonest))
            && lsd.wakeup.want(at)
        {
            self.io.wake(at, Owner::Lsd);
        }
    }
}
