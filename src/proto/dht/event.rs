//! What the node tells its owner.

use std::{net::SocketAddr, time::Duration};

use crate::wire::krpc::{Family, Item, NodeId, NodeInfo, Samples};

/// A search: one look-up in each family, and what is stored at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SearchId(pub(super) u64);

/// What the world must do for the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram.
    Send {
        /// Where to.
        to: SocketAddr,
        /// The packet.
        data: Vec<u8>,
    },
    /// Look a name up, and tell the addresses by
    /// [`Node::handle_resolved`](super::Node::handle_resolved).
    Resolve {
        /// The name.
        host: String,
        /// The port that belongs to it.
        port: u16,
    },
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum DhtEvent {
    /// A node told peers of a torrent: each is told once a search.
    Peers {
        /// The search.
        search: SearchId,
        /// The torrent.
        info_hash: NodeId,
        /// The peers.
        peers: Vec<SocketAddr>,
        /// The node.
        from: NodeInfo,
        /// Time since the search began.
        after: Duration,
    },
    /// Peers of a torrent that this node stores itself: told when it begins to look for them, and
    /// when one is stored of a torrent that it [announces](super::Node::announce). The node is not
    /// among the nodes that it asks, and in a small DHT no other may know them.
    Stored {
        /// The torrent.
        info_hash: NodeId,
        /// The peers.
        peers: Vec<SocketAddr>,
    },
    /// A value was found: verified, and of a higher sequence number than the one told before.
    Value {
        /// The search.
        search: SearchId,
        /// Where it is stored.
        target: NodeId,
        /// The value.
        item: Item,
        /// Who had it.
        from: NodeInfo,
    },
    /// A node told info-hashes that it stores (BEP 51).
    Samples {
        /// The search.
        search: SearchId,
        /// The node.
        from: NodeInfo,
        /// The info-hashes.
        samples: Samples,
    },
    /// A search has ended.
    Finished {
        /// The search.
        search: SearchId,
        /// What was searched for.
        target: NodeId,
        /// How it went.
        outcome: SearchOutcome,
    },
    /// A step of a search that is traced.
    Step {
        /// The search.
        search: SearchId,
        /// What happened.
        step: Step,
    },
    /// The first node of a family answered, or the first after we were offline.
    Online {
        /// The family.
        family: Family,
    },
    /// All nodes of a family are silent.
    Offline {
        /// The family.
        family: Family,
    },
    /// Enough nodes agree that we are seen at another address than before (BEP 42).
    ExternalAddress {
        /// The address, with the port of the packets.
        addr: SocketAddr,
    },
}

/// How a search went, over its families.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SearchOutcome {
    /// Queries sent, repetitions included.
    pub queries: u32,
    /// Nodes that answered.
    pub answers: u32,
    /// Peers found.
    pub peers: u32,
    /// Nodes that stored the announce or value.
    pub stored: u32,
    /// Nodes that had the value searched for.
    pub copies: u32,
    /// About how many seeds there are, if a scrape was asked for and a node counted (BEP 33).
    pub seeds: Option<f64>,
    /// About how many other peers.
    pub leechers: Option<f64>,
    /// Time until the closest nodes were known.
    pub lookup_time: Duration,
    /// Time in all.
    pub time: Duration,
}

/// A step of a look-up. A hop is the number of nodes between us and the node: 0 for one of the
/// table.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// A node was asked.
    Asked {
        /// The node.
        node: NodeInfo,
        /// Its hop.
        hop: u32,
    },
    /// A node answered.
    Answered {
        /// The node.
        node: NodeInfo,
        /// Its hop.
        hop: u32,
        /// The round trip.
        rtt: Duration,
        /// Nodes that it told.
        nodes: usize,
        /// Peers that it told.
        peers: usize,
    },
    /// A node has not answered in time; it may still.
    Slow {
        /// The node.
        node: NodeInfo,
        /// Its hop.
        hop: u32,
    },
    /// A node stored the announce or value.
    Stored {
        /// The node.
        node: NodeInfo,
    },
}

/// What the node has and did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct DhtStats {
    /// Nodes of the IPv4 table.
    pub nodes_v4: usize,
    /// Nodes of the IPv6 table.
    pub nodes_v6: usize,
    /// No node of a family in use has answered lately.
    pub offline: bool,
    /// Look-ups under way.
    pub lookups: usize,
    /// Look-ups that wait.
    pub waiting: usize,
    /// Torrents that are announced.
    pub tracked: usize,
    /// Torrents stored for others.
    pub stored_torrents: usize,
    /// Their peers.
    pub stored_peers: usize,
    /// Values stored for others.
    pub stored_items: usize,
    /// Hosts that are ignored because they flood.
    pub blocked_hosts: usize,
    /// Packets received.
    pub received: u64,
    /// Bytes received.
    pub received_bytes: u64,
    /// Packets sent.
    pub sent: u64,
    /// Bytes sent.
    pub sent_bytes: u64,
    /// Packets ignored: of hosts that flood, malformed, or unasked-for.
    pub ignored: u64,
    /// Queries of others.
    pub queries: u64,
    /// Queries of others that the quota or read-only mode left unanswered.
    pub unanswered: u64,
    /// Our queries that were answered.
    pub answers: u64,
    /// Our queries that were not.
    pub timeouts: u64,
}
