//! The peers that a look-up has found: each once, few of one host, and not too many.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
};

use crate::wire::krpc::is_local;

/// Peers of one host that are taken by a look-up: more would be a host that floods ports.
const PORTS_A_HOST: usize = 3;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct FoundPeers(BTreeSet<SocketAddr>);

impl FoundPeers {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Peers that the node `from` told: those that are new, up to `most` in all.
    pub(super) fn add(
        &mut self,
        values: &[SocketAddr],
        from: IpAddr,
        most: usize,
    ) -> Vec<SocketAddr> {
        let mut new = Vec::new();
        for &peer in values {
            if self.0.len() >= most {
                break;
            }
            let ip = peer.ip();
            let range = SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX);
            let foreign = is_local(ip) && !is_local(from);
            // On a local network, one host may well be many peers.
            let crowded = !is_local(ip) && self.0.range(range).count() >= PORTS_A_HOST;
            if !foreign && !crowded && self.0.insert(peer) {
                new.push(peer);
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_are_new_and_bounded_in_all_and_by_host() {
        let from = "11.0.0.1".parse().unwrap();
        let mut peers = FoundPeers::default();
        let flood: Vec<_> = (1..100).map(|port| SocketAddr::from(([192, 0, 2, 1], port))).collect();
        assert_eq!(peers.add(&flood, from, 1000).len(), PORTS_A_HOST);
        assert!(peers.add(&flood[..1], from, 1000).is_empty(), "it is known");
        let local = ["10.0.0.1:5".parse().unwrap()];
        assert!(peers.add(&local, from, 1000).is_empty(), "an outsider cannot reach it");
        assert_eq!(peers.add(&local, "10.0.0.2".parse().unwrap(), 1000), local);
        for n in 0..10_000u32 {
            let peer = SocketAddr::new(std::net::Ipv4Addr::from(0x0c00_0000 + n).into(), 5);
            peers.add(&[peer], from, 1000);
        }
        assert_eq!(peers.len(), 1000);
    }
}
