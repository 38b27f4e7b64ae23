//! What a network is like.

use std::time::Duration;

use crate::conf::DhtConf;

/// What the network is like.
#[derive(Clone, Debug)]
pub struct NetConf {
    /// Nodes at a time.
    pub nodes: usize,
    /// Decides everything that is left to chance.
    pub seed: u64,
    /// Of so many nodes in a hundred, routers let in only what they have asked.
    pub behind_nat: u64,
    /// Whether nodes behind such routers answer nothing, and say so (BEP 43).
    pub read_only: bool,
    /// Of a thousand datagrams so many are lost.
    pub lost: u64,
    /// The shortest and the longest round trip, ms. Each pair of nodes has its own.
    pub rtt: (u64, u64),
    /// In this time half of the nodes are replaced by others; `None`: all stay.
    pub half_life: Option<Duration>,
    /// So many others each node knows when it starts, as of a state that was saved; with none, it
    /// begins at the three nodes that stay.
    pub known: usize,
    /// The settings of the nodes.
    pub dht: DhtConf,
}

impl Default for NetConf {
    /// Fifty nodes that all can be reached, with round trips of 20 to 300 ms and no loss.
    fn default() -> Self {
        Self {
            nodes: 50,
            seed: 1,
            behind_nat: 0,
            read_only: false,
            lost: 0,
            rtt: (20, 300),
            half_life: None,
            known: 0,
            dht: DhtConf::default(),
        }
    }
}
