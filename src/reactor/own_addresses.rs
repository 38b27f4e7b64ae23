//! From which addresses this machine sends to the outside: what changes when it comes to another
//! network, a cable is pulled, or a tunnel (VPN) opens. The system is asked which address it would
//! send from; nothing is sent for that.

use std::net::{IpAddr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};

use super::outgoing::bind_device;
use crate::conf::Conf;

/// Addresses outside, of documentation (RFC 5737, RFC 3849): the way to them is the default route.
const OUTSIDE: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// At most one of each family. Where the user has said what to send from, that.
pub(super) fn look(conf: &Conf) -> Vec<IpAddr> {
    let network = &conf.network;
    if !network.bind_addrs.is_empty() {
        return network.bind_addrs.clone();
    }
    let outside = OUTSIDE.iter().filter_map(|ip| ip.parse().ok());
    outside.filter_map(|to| towards(to, network.bind_interface.as_deref())).collect()
}

/// The address that a datagram to `to` would have; `None` if there is no way.
fn towards(to: IpAddr, interface: Option<&str>) -> Option<IpAddr> {
    let to = SocketAddr::new(to, 9);
    let socket = Socket::new(Domain::for_address(to), Type::DGRAM, Some(Protocol::UDP)).ok()?;
    if let Some(interface) = interface {
        bind_device(&socket, interface).ok()?;
    }
    socket.connect(&to.into()).ok()?;
    let own = socket.local_addr().ok()?.as_socket()?.ip();
    (!own.is_unspecified()).then_some(own)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn own_addresses_are_those_that_are_set_or_the_systems() {
        let bound = IpAddr::from(Ipv4Addr::LOCALHOST);
        let conf = Conf::default().with(|conf| conf.network.bind_addrs = vec![bound]);
        assert_eq!(look(&conf), [bound]);
        // Towards this machine itself there is a way without a network.
        assert_eq!(towards(Ipv4Addr::new(127, 0, 0, 2).into(), None), Some(bound));
        let conf =
            Conf::default().with(|conf| conf.network.bind_interface = Some("nosuchif0".to_owned()));
        assert!(look(&conf).is_empty());
        let found = look(&Conf::default());
        assert!(found.len() <= 2 && found == look(&Conf::default()), "{found:?}");
    }
}
