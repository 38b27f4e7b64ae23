//! What the driver must do: streams, datagrams, look-ups and jobs, each named by its owner.
//!
//! Everything that speaks with the world speaks through these few words, whatever its protocol.
//! A new protocol is a new owner here, not a new effect.

use std::net::SocketAddr;

use crate::base::{arena::Key, job::Job};

/// A stream (TCP, or TLS over it), named by what it belongs to. A driver takes it as a whole, as
/// the name of a socket; two streams that are open at the same time never have the same name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum StreamId {
    /// A connection with a peer.
    Peer(Key),
    /// A question to a tracker over HTTP. One that is redirected gets another key.
    Tracker(Key),
    /// A connection with a web seed (BEP 19).
    WebSeed(Key),
    /// The control connection of a relay for datagrams (RFC 1928 §7).
    Relay(Key),
    /// A call of the router that maps ports (UPnP).
    PortMapping(Key),
}

/// Which part of the engine sends a datagram, and hears of it if that is known to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum DatagramOwner {
    /// A question to a tracker over UDP (BEP 15).
    Tracker(Key),
    /// The DHT node (BEP 5).
    Dht,
    /// Local service discovery (BEP 14): whatever concerns multicast.
    Lsd,
    /// What is not told that it cannot be sent.
    None,
}

/// One family of a network interface, as the driver knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub struct Interface {
    /// The system's number of it; 0 for the one that the system chooses.
    pub index: u32,
    /// Whether IPv6 is meant, not IPv4.
    pub v6: bool,
}

impl Interface {
    /// A family of the interface of this number.
    pub fn new(index: u32, v6: bool) -> Self {
        Self { index, v6 }
    }
}

/// What the driver must do. Not `non_exhaustive`: a driver that passes over an effect breaks the
/// engine, so a new one should stop it from compiling.
#[derive(Debug)]
pub enum Effect {
    /// Connect a stream. Answer with `handle_connected` when bytes may be sent, or with
    /// `handle_closed`.
    Connect {
        /// The stream to be.
        stream: StreamId,
        /// Where to.
        addr: SocketAddr,
        /// With TLS, to a server that can prove to have this name or address.
        tls: Option<String>,
    },
    /// Begin with TLS on a stream that is connected without, to a server that can prove to have
    /// this name or address. Answer with `handle_connected` when bytes may be sent, or with
    /// `handle_closed`.
    Secure {
        /// The stream.
        stream: StreamId,
        /// The name or address.
        name: String,
    },
    /// Close a stream, if it is there. The engine has forgotten it already; a late `handle_closed`
    /// is harmless.
    Close {
        /// The stream.
        stream: StreamId,
    },
    /// There are bytes to send on a stream: drain `poll_transmit`. At most once a stream between
    /// two drains.
    Flush {
        /// The stream.
        stream: StreamId,
    },
    /// There may be bytes to read again on a stream whose `read_quota` was zero: read on, if the
    /// socket has any.
    Resume {
        /// The stream.
        stream: StreamId,
    },
    /// Send a datagram from the socket of `to`'s family. It may be lost; if it is known that it
    /// cannot be sent, `handle_unsent` tells.
    Datagram {
        /// Its sender.
        owner: DatagramOwner,
        /// Where to.
        to: SocketAddr,
        /// What.
        data: Vec<u8>,
    },
    /// Send datagrams from the socket of `to`'s family: one for each `segment` bytes of `data`, the
    /// last of which may be shorter. That is what systems take at once (on Linux `UDP_SEGMENT`).
    /// Any of them may be lost.
    Segments {
        /// Where to.
        to: SocketAddr,
        /// All of them, one behind the other.
        data: Vec<u8>,
        /// Bytes of each; never 0.
        segment: usize,
        /// It is a single one that must not be fragmented on its way, if that can be had.
        unfragmented: bool,
    },
    /// Send a datagram to the group of local service discovery
    /// ([`LSD_GROUP_V4`](crate::wire::lsd::LSD_GROUP_V4) or
    /// [`LSD_GROUP_V6`](crate::wire::lsd::LSD_GROUP_V6)) by one interface, from a socket that is
    /// the group's alone. As with [`Datagram`](Self::Datagram), `handle_unsent` tells of a failure.
    Multicast {
        /// One of those that [`handle_interfaces`](crate::Engine::handle_interfaces) told.
        interface: Interface,
        /// What.
        data: Vec<u8>,
    },
    /// Look a host's name up, elsewhere, since that may take long; answer with `handle_resolved`.
    /// It has no owner: all who ask for a name share one look-up.
    Resolve {
        /// The name, which is no address.
        host: String,
    },
    /// Hand this to a worker; answer with `handle_done`.
    Job(Job),
}
