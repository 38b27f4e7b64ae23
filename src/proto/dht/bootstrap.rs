//! How to get into the network: names to resolve, nodes saved earlier, and when to try again.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    time::Duration,
};

use crate::{
    base::time::Instant,
    conf::{Bootstrap as Name, DhtConf},
    wire::krpc::NodeInfo,
};

/// Addresses of a name that are asked.
const MAX_ADDRESSES: usize = 8;
/// Routers that are known by address.
const MAX_ROUTERS: usize = 64;
/// Names of the settings; further ones are not taken.
const MAX_NAMES: usize = 64;
/// Names that came later, from torrents and links: the last are kept.
const MAX_ADDED: usize = 32;
/// Saved nodes that are asked at once.
const ROUND: usize = 16;
/// For so long the pause stays short.
const EAGER: Duration = Duration::from_secs(600);
/// The longest pause while another family has what it needs: mostly there is no network of the one
/// that lacks nodes, and its coming is told.
const MAX_PATIENCE: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Debug)]
pub(super) struct Bootstrap {
    names: Vec<Name>,
    /// Names that came later, and whether none of their addresses was asked yet.
    added: VecDeque<(Name, bool)>,
    routers: BTreeSet<SocketAddr>,
    /// Nodes saved earlier, the best first; those asked go to the end.
    cold: Vec<NodeInfo>,
    pause: Duration,
    /// The last pause was one of patience.
    patient: bool,
    /// When the table became low.
    since: Option<Instant>,
}

impl Bootstrap {
    pub(super) fn new(conf: &DhtConf) -> Self {
        Self {
            names: conf.bootstrap.iter().take(MAX_NAMES).cloned().collect(),
            added: VecDeque::new(),
            routers: BTreeSet::new(),
            cold: Vec::new(),
            pause: conf.bootstrap_retry_min,
            patient: false,
            since: None,
        }
    }

    /// Adds a name; true if it is new.
    pub(super) fn add(&mut self, name: Name) -> bool {
        if self.names().any(|known| *known == name) {
            return false;
        }
        if self.added.len() >= MAX_ADDED {
            self.added.pop_front();
        }
        self.added.push_back((name, true));
        true
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &Name> {
        self.names.iter().chain(self.added.iter().map(|(name, _)| name))
    }

    /// More saved nodes.
    pub(super) fn add_cold(&mut self, nodes: Vec<NodeInfo>) {
        self.cold.extend(nodes);
    }

    /// The saved nodes.
    pub(super) fn cold(&self) -> &[NodeInfo] {
        &self.cold
    }

    /// Saved nodes to ask now, of those that are wanted.
    pub(super) fn round(&mut self, wanted: impl Fn(&NodeInfo) -> bool) -> Vec<NodeInfo> {
        let mut left = ROUND;
        let (round, others): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.cold).into_iter().partition(|node| {
                let takes = left > 0 && wanted(node);
                left -= usize::from(takes);
                takes
            });
        self.cold = others;
        self.cold.extend(&round);
        round
    }

    /// The pause until the next try; a long one if there is reason to be `patient`.
    pub(super) fn next_pause(&mut self, now: Instant, patient: bool, conf: &DhtConf) -> Duration {
        let since = *self.since.get_or_insert(now);
        let (short, long) = (conf.bootstrap_retry_max, 12 * conf.bootstrap_retry_max);
        let (least, most) = match patient {
            true => (long, MAX_PATIENCE.max(long)),
            false if now.since(since) < EAGER => (Duration::ZERO, short),
            false => (Duration::ZERO, long),
        };
        let pause = self.pause.clamp(least, most);
        self.pause = pause.saturating_mul(2).min(most);
        self.patient = patient;
        pause
    }

    /// Whether the last pause was one of patience.
    pub(super) fn is_patient(&self) -> bool {
        self.patient
    }

    /// There are nodes again, or another network.
    pub(super) fn reset(&mut self, conf: &DhtConf) {
        (self.pause, self.since, self.patient) = (conf.bootstrap_retry_min, None, false);
    }

    /// A name's addresses: whether it was just added, and those to ask. Those of routers are
    /// remembered as such.
    pub(super) fn resolved(
        &mut self,
        host: &str,
        port: u16,
        addrs: &[SocketAddr],
    ) -> (bool, Vec<SocketAddr>) {
        let router = self.names().find(|name| name.host == host && name.port == port);
        let Some(router) = router.map(|name| name.router) else {
            return (false, Vec::new());
        };
        let added = self.added.iter_mut().find(|(name, _)| name.host == host && name.port == port);
        let is_new = added.is_some_and(|(_, new)| !addrs.is_empty() && std::mem::take(new));
        let addrs: Vec<_> = addrs.iter().take(MAX_ADDRESSES).copied().collect();
        for &addr in addrs.iter().filter(|_| router) {
            if self.routers.len() < MAX_ROUTERS {
                self.routers.insert(addr);
            }
        }
        (is_new, addrs)
    }

    /// Whether an address is that of a router: it belongs in no table.
    pub(super) fn is_router(&self, addr: SocketAddr) -> bool {
        self.routers.contains(&addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_and_grow_long_only_after_ten_minutes() {
        let conf = DhtConf::default();
        let mut bootstrap = Bootstrap::new(&conf);
        let mut now = Instant::ZERO;
        let mut pauses = Vec::new();
        for _ in 0..200 {
            let pause = bootstrap.next_pause(now, false, &conf);
            pauses.push(pause.as_secs());
            now = now + pause;
        }
        assert_eq!(pauses[..5], [1, 2, 4, 5, 5]);
        assert_eq!(pauses[199], 60);
        bootstrap.reset(&conf);
        assert_eq!(bootstrap.next_pause(now, false, &conf).as_secs(), 1);
    }

    #[test]
    fn routers_are_known_by_their_addresses_and_bounded() {
        let name = |host: &str, router| Name { host: host.into(), port: 1, router };
        let names = vec![name("router", true), name("node", false)];
        let conf = DhtConf { bootstrap: names, ..DhtConf::default() };
        let mut bootstrap = Bootstrap::new(&conf);
        let addr = |n: u16| SocketAddr::from(([11, 0, (n / 256) as u8, n as u8], 1));
        assert_eq!(bootstrap.resolved("other", 1, &[addr(1)]), (false, vec![]));
        assert_eq!(bootstrap.resolved("node", 1, &[addr(1)]), (false, vec![addr(1)]));
        let many: Vec<_> = (10..30).map(addr).collect();
        assert_eq!(bootstrap.resolved("router", 1, &many).1.len(), MAX_ADDRESSES);
        assert!(bootstrap.is_router(addr(10)) && !bootstrap.is_router(addr(1)));
        for n in 0..1000 {
            bootstrap.resolved("router", 1, &[addr(n)]);
        }
        assert_eq!(bootstrap.routers.len(), MAX_ROUTERS);
        (0..1000).for_each(|n| assert!(bootstrap.add(name(&n.to_string(), false))));
        assert!(!bootstrap.add(name("999", false)) && !bootstrap.add(name("node", false)));
        assert_eq!(bootstrap.names().count(), 2 + MAX_ADDED);
        // One that was added is new until an address of it is known.
        let is_new = [&[][..], &[addr(1)], &[addr(1)]].map(|a| bootstrap.resolved("999", 1, a).0);
        assert_eq!(is_new, [false, true, false]);
    }
}
