//! The ports that we listen on. Each address family has its own: two listeners that leave the
//! choice to the system get two.

use std::net::{IpAddr, SocketAddr};

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ListenPorts {
    v4: Option<u16>,
    v6: Option<u16>,
    /// The port of the router that leads to the one of IPv4.
    mapped: Option<u16>,
}

impl ListenPorts {
    /// One port for both families.
    pub(crate) fn both(port: Option<u16>) -> Self {
        Self { v4: port, v6: port, mapped: None }
    }

    /// Those of these listeners; of several of a family the first counts.
    pub(crate) fn of_listeners(addrs: impl Iterator<Item = SocketAddr>) -> Self {
        let mut ports = Self::default();
        for addr in addrs {
            let port = if addr.is_ipv4() { &mut ports.v4 } else { &mut ports.v6 };
            port.get_or_insert(addr.port());
        }
        ports
    }

    /// The port that we listen on in a family.
    pub(crate) fn own(&self, is_v4: bool) -> Option<u16> {
        if is_v4 { self.v4 } else { self.v6 }
    }

    /// The router's port, if it maps one.
    pub(crate) fn mapped(&self) -> Option<u16> {
        self.mapped
    }

    /// The same ports, as the router maps them.
    pub(crate) fn with_mapped(self, mapped: Option<u16>) -> Self {
        Self { mapped, ..self }
    }

    /// Where peers outside reach us in this family; `None` if they do not.
    pub(crate) fn of(&self, is_v4: bool) -> Option<u16> {
        let own = self.own(is_v4);
        self.mapped.filter(|_| is_v4 && own.is_some()).or(own)
    }

    /// Where a peer with this address reaches us: one of our own network without the router.
    pub(crate) fn towards(&self, ip: IpAddr) -> Option<u16> {
        match ip.to_canonical() {
            IpAddr::V4(ip) if ip.is_private() || ip.is_loopback() || ip.is_link_local() => {
                self.own(true)
            }
            ip => self.of(ip.is_ipv4()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_family_has_the_port_of_its_first_listener() {
        let addrs =
            ["[::1]:5", "127.0.0.1:7", "127.0.0.1:8", "[::1]:6"].map(|addr| addr.parse().unwrap());
        let ports = ListenPorts::of_listeners(addrs.into_iter());
        assert_eq!((ports.of(true), ports.of(false)), (Some(7), Some(5)));
        assert_eq!(ports.towards("::ffff:192.0.2.1".parse().unwrap()), Some(7));
        let mapped = ports.with_mapped(Some(9));
        assert_eq!(
            (mapped.of(true), mapped.own(true), mapped.of(false)),
            (Some(9), Some(7), Some(5))
        );
        assert_eq!(mapped.towards("192.0.2.1".parse().unwrap()), Some(9));
        assert_eq!(mapped.towards("192.168.0.2".parse().unwrap()), Some(7), "without the router");
        assert_eq!(ListenPorts::of_listeners(addrs[1..2].iter().copied()).of(false), None);
    }
}
