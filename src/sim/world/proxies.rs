//! Proxies of a world, and the watch that nothing of a node passes its proxy by.

use super::*;
use crate::{
    conf::Traffic,
    engine::DatagramOwner,
    sim::proxy::{ProxyHost, ProxyManners},
};

impl World {
    /// A proxy, for SOCKS 5 and HTTP alike.
    pub fn proxy(&mut self, manners: ProxyManners) -> NodeId {
        self.scripted(ProxyHost::new(manners))
    }

    /// Where it is, for [`ProxyConf::server`](crate::conf::ProxyConf::server), by `socks5` or
    /// `http`.
    pub fn proxy_url(&self, proxy: NodeId, scheme: &str) -> String {
        format!("{scheme}://{}", self.addr(proxy))
    }

    /// The same by its name.
    pub fn proxy_url_by_name(&self, proxy: NodeId, scheme: &str) -> String {
        format!("{scheme}://{}:{}", self.host_name(proxy), self.addr(proxy).port())
    }

    /// Changes how a proxy behaves.
    ///
    /// # Panics
    /// If the node is none.
    pub fn set_proxy_manners(&mut self, proxy: NodeId, manners: ProxyManners) {
        let Body::Script(scripted) = &mut self.nodes[proxy.0].body else {
            panic!("{proxy:?} is no proxy");
        };
        let script: &mut dyn std::any::Any = &mut *scripted.script;
        match script.downcast_mut::<ProxyHost>() {
            Some(host) => host.set_manners(manners),
            None => panic!("{proxy:?} is no proxy"),
        }
    }

    /// Nothing that is to go through a node's proxy may leave it by another way.
    pub(in crate::sim) fn watch_for_leaks(&mut self, node: usize, effect: &Effect) {
        let conf = &self.host(node).conf.proxy;
        let Some(server) = &conf.server else { return };
        let of_stream = |stream: &StreamId| match stream {
            StreamId::Peer(_) => Some(Traffic::Peers),
            StreamId::Tracker(_) => Some(Traffic::Trackers),
            StreamId::WebSeed(_) => Some(Traffic::WebSeeds),
            StreamId::Relay(_) | StreamId::PortMapping(_) => None,
        };
        let (traffic, to) = match effect {
            Effect::Connect { stream, addr, .. } => (of_stream(stream), Some(*addr)),
            Effect::Datagram { owner: DatagramOwner::Tracker(_), to, .. } => {
                (Some(Traffic::Trackers), Some(*to))
            }
            Effect::Datagram { owner: DatagramOwner::Dht, to, .. } => {
                (Some(Traffic::Dht), Some(*to))
            }
            Effect::Segments { to, .. } => (Some(Traffic::Peers), Some(*to)),
            Effect::Multicast { .. } => (Some(Traffic::Peers), None),
            Effect::Resolve { host } => {
                let all = [Traffic::Trackers, Traffic::WebSeeds, Traffic::Dht];
                let others = all.into_iter().any(|traffic| !conf.carries(traffic));
                if !others && host != server.host() {
                    let what = format!("the name {host} is looked up");
                    self.violated(node, &Violation { name: "nothing-passes-proxy", what });
                }
                return;
            }
            _ => return,
        };
        let is_carried = traffic.is_none_or(|traffic| conf.carries(traffic));
        let (host, port) = (server.host(), server.port());
        let is_proxy = |addr: &SocketAddr| {
            let named = self.directory.get(addr).map(|&nth| self.host_name(NodeId(nth)));
            addr.port() == port && (addr.ip().to_string() == host || named.as_deref() == Some(host))
        };
        if is_carried && !to.as_ref().is_some_and(is_proxy) {
            let what = format!("it passes its proxy by: {traffic:?} to {to:?}");
            self.violated(node, &Violation { name: "nothing-passes-proxy", what });
        }
    }
}
