//! The words between the port mapper and its owner.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::wire::port_mapping::Transport;

/// The router of the network, and our address towards it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gateway {
    pub(crate) addr: Ipv4Addr,
    pub(crate) local: Ipv4Addr,
}

/// How a router is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MappingMethod {
    Pcp,
    NatPmp,
    Upnp,
}

/// A port that is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mapped {
    pub(crate) transport: Transport,
    pub(crate) internal: u16,
    pub(crate) external: u16,
    /// The router's outer address, if it says so.
    pub(crate) address: Option<IpAddr>,
    pub(crate) method: MappingMethod,
    /// `None`: for ever.
    pub(crate) lifetime: Option<Duration>,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum MappingEvent {
    /// A port is mapped, or still is.
    Mapped(Mapped),
    /// The port of this transport is not mapped any more; another one's may be.
    Unmapped(Transport),
    /// What was mapped is not any more, as far as is known.
    Lost,
    /// No method works.
    Failed { why: String, retry_in: Duration },
}

/// What the owner must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Datagram {
        to: SocketAddr,
        data: Vec<u8>,
    },
    /// Connect a stream, in place of any earlier one.
    Connect {
        addr: SocketAddr,
    },
    /// There are bytes for the stream.
    Flush,
    Close,
}
