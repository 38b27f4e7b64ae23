//! The ways in which the engine itself finds peers, and is found by them. Trackers belong to
//! torrents, and what peers name of others to the peers.

use crate::{
    base::{rng::Rng, time::Instant},
    conf::Conf,
    engine::{dht::Dht, lsd::Lsd, network::Network, port_mapping::Mapping},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Discovery {
    pub(super) dht: Dht,
    pub(super) lsd: Lsd,
    pub(super) mapping: Mapping,
    pub(super) network: Network,
}

impl Discovery {
    pub(super) fn new(conf: &Conf, rng: &mut Rng, now: Instant) -> Self {
        let dht = Dht::new(conf, rng, now);
        let mapping = Mapping::new(conf, rng);
        Self { dht, lsd: Lsd::new(conf, rng), mapping, network: Network::default() }
    }
}
