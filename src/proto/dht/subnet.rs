//! What counts as one owner of addresses: a /24 of IPv4, a /64 of IPv6. On local networks each
//! address and port is an owner of its own.

use std::net::{IpAddr, SocketAddr};

use crate::wire::krpc::is_local;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Subnet {
    Local(SocketAddr),
    V4([u8; 3]),
    V6([u8; 8]),
}

/// The owner of an address.
pub(super) fn subnet(addr: SocketAddr) -> Subnet {
    match addr.ip().to_canonical() {
        ip if is_local(ip) => Subnet::Local(SocketAddr::new(ip, addr.port())),
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Subnet::V4([a, b, c])
        }
        IpAddr::V6(ip) => {
            let mut net = [0; 8];
            net.iter_mut().zip(ip.octets()).for_each(|(to, from)| *to = from);
            Subnet::V6(net)
        }
    }
}
