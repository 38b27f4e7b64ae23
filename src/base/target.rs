//! Where a stream or a datagram is to get to: an address, or a name that a proxy looks up.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// An address.
    Addr(SocketAddr),
    /// A name, which is looked up elsewhere.
    Name {
        /// The name, in ASCII.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Target {
    /// The port.
    pub fn port(&self) -> u16 {
        match self {
            Self::Addr(addr) => addr.port(),
            Self::Name { port, .. } => *port,
        }
    }

    /// The address, if it is known.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Addr(addr) => Some(addr.ip()),
            Self::Name { .. } => None,
        }
    }
}

impl From<SocketAddr> for Target {
    fn from(addr: SocketAddr) -> Self {
        Self::Addr(addr)
    }
}

/// As in a URL: `192.0.2.1:80`, `[2001:db8::1]:80`, `name:80`.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Addr(addr) => write!(f, "{addr}"),
            Self::Name { host, port } => write!(f, "{host}:{port}"),
        }
    }
}
