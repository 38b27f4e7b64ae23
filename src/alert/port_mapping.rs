//! A port that the router maps, for programs and for users. It knows no protocol.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

/// How a router was asked to map a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MappingMethod {
    /// PCP (RFC 6887).
    Pcp,
    /// NAT-PMP (RFC 6886).
    NatPmp,
    /// UPnP IGD, version 1 or 2.
    Upnp,
}

impl fmt::Display for MappingMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pcp => "PCP",
            Self::NatPmp => "NAT-PMP",
            Self::Upnp => "UPnP",
        })
    }
}

/// A port that the router maps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PortMapping {
    /// Whether it is of UDP, not TCP.
    pub udp: bool,
    /// The port that we listen on.
    pub internal: u16,
    /// The router's port, which peers, trackers and the DHT are told of.
    pub external: u16,
    /// The router's outer address, if it says so.
    pub address: Option<IpAddr>,
    /// How the router was asked.
    pub method: MappingMethod,
    /// The outer address is none that the outside knows: there is another router behind this one,
    /// often that of a provider, and the mapping is of no use without that one's.
    pub behind_another: bool,
}

/// `TCP port 6881 by PCP: 203.0.113.7:6881`
impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.udp { "UDP" } else { "TCP" };
        write!(f, "{kind} port {} by {}: ", self.internal, self.method)?;
        match self.address {
            Some(ip) => write!(f, "{}", SocketAddr::new(ip, self.external))?,
            None => write!(f, "port {}", self.external)?,
        }
        if self.behind_another { write!(f, ", behind another router") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn port_mapping_is_told_with_its_outer_address() {
        let mut mapping = PortMapping {
            udp: false,
            internal: 6881,
            external: 7000,
            address: Some("100.64.0.7".parse().unwrap()),
            method: MappingMethod::NatPmp,
            behind_another: true,
        };
        let want = "TCP port 6881 by NAT-PMP: 100.64.0.7:7000, behind another router";
        assert_eq!(mapping.to_string(), want);
        (mapping.udp, mapping.address, mapping.behind_another) = (true, None, false);
        assert_eq!(mapping.to_string(), "UDP port 6881 by NAT-PMP: port 7000");
    }
}
