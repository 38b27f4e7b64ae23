//! What is said with a router that maps ports: NAT-PMP (RFC 6886), PCP (RFC 6887), and UPnP IGD 1
//! and 2 (SSDP, a description, SOAP). Bytes to values and back; what comes of them is elsewhere.

pub mod nat_pmp;
pub mod pcp;
pub mod soap;
pub mod ssdp;
pub mod xml;

/// The port on which a router takes NAT-PMP and PCP.
pub const GATEWAY_PORT: u16 = 5351;

/// What is mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Transport {
    /// As UPnP writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
        }
    }
}
