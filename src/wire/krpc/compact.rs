//! Addresses in six or eighteen bytes, and nodes in 26 or 38 (BEP 5, BEP 32).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::NodeId;

/// The family of addresses: two DHTs that share nothing (BEP 32).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// Both.
    pub const ALL: [Self; 2] = [Self::V4, Self::V6];

    /// That of an address. One that is IPv4 mapped into IPv6 is IPv4.
    pub fn of(ip: IpAddr) -> Self {
        if ip.to_canonical().is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// A node: who and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeInfo {
    /// Its id, by its word or another's.
    pub id: NodeId,
    /// Where it is asked.
    pub addr: SocketAddr,
}

impl NodeInfo {
    /// Reads a compact list of one family, at most `most` nodes. What cannot be a node is left
    /// out, an incomplete last one ignored.
    pub fn read(bytes: &[u8], family: Family, most: usize) -> Vec<Self> {
        nodes(bytes, family, most)
    }

    /// Writes those nodes that are of the family as a compact list.
    pub fn write<'a>(nodes: impl IntoIterator<Item = &'a Self>, family: Family) -> Vec<u8> {
        let mut out = Vec::new();
        for node in nodes.into_iter().filter(|node| Family::of(node.addr.ip()) == family) {
            out.extend_from_slice(&node.id.0);
            write_endpoint(&mut out, node.addr);
        }
        out
    }
}

/// Reads six or eighteen bytes; nothing else is an address.
pub(super) fn endpoint(bytes: &[u8]) -> Option<SocketAddr> {
    if let Ok([a, b, c, d, hi, lo]) = <[u8; 6]>::try_from(bytes) {
        let ip = Ipv4Addr::from([a, b, c, d]);
        return Some(SocketAddr::new(ip.into(), u16::from_be_bytes([hi, lo])));
    }
    let bytes = <[u8; 18]>::try_from(bytes).ok()?;
    let (ip, port) = bytes.split_first_chunk::<16>()?;
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(Ipv6Addr::from(*ip).into(), port))
}

/// An address that can be sent to.
pub(super) fn usable(addr: SocketAddr) -> bool {
    let nowhere = match addr.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() || ip.is_broadcast() || ip.is_multicast(),
        // One that is mapped does not belong on the wire.
        IpAddr::V6(ip) => ip.is_unspecified() || ip.is_multicast() || ip.to_ipv4_mapped().is_some(),
    };
    addr.port() != 0 && !nowhere
}

/// Reads a list of nodes of one family, at most `most`; what cannot be a node is left out.
pub(super) fn nodes(bytes: &[u8], family: Family, most: usize) -> Vec<NodeInfo> {
    let len = match family {
        Family::V4 => 26,
        Family::V6 => 38,
    };
    let node = |part: &[u8]| {
        let (id, addr) = part.split_first_chunk::<20>()?;
        let addr = endpoint(addr).filter(|&addr| usable(addr))?;
        Some(NodeInfo { id: NodeId(*id), addr })
    };
    bytes.chunks_exact(len).filter_map(node).take(most).collect()
}

pub(super) fn write_endpoint(out: &mut Vec<u8>, addr: SocketAddr) {
    match addr.ip().to_canonical() {
        IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
        IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}
