//! The sockets of local discovery: one for each interface and family, a member of the group there
//! and nothing else. They are open as long as the engine wants them, and follow the interfaces
//! that come and go. It knows no packet.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use mio::{Interest, Registry, Token, net::UdpSocket};
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, Socket, Type};

use super::{interfaces::Interfaces, outgoing::bind_device};
use crate::{conf::Conf, engine::Interface};

/// Sockets at most.
pub(super) const MAX_MEMBERS: usize = 64;

/// See the module.
#[derive(Debug)]
pub(super) struct Multicast {
    members: Vec<Member>,
    /// Where the search for one that has something to read begins.
    next: usize,
    /// What was found last.
    known: Interfaces,
}

#[derive(Debug)]
struct Member {
    interface: Interface,
    socket: UdpSocket,
    /// Which token it has, behind the first.
    place: usize,
    readable: bool,
}

/// What the engine is to hear of a look.
#[derive(Debug)]
pub(super) struct Look {
    /// The interfaces on which there is a socket, if that has changed.
    pub(super) news: Option<Interfaces>,
    /// Why the others have none.
    pub(super) failures: Vec<io::ErrorKind>,
}

impl Multicast {
    pub(super) fn new() -> Self {
        Self { members: Vec::new(), next: 0, known: Interfaces::default() }
    }

    /// Closes the sockets: no torrent is announced any more.
    pub(super) fn close(&mut self) {
        *self = Self::new();
    }

    /// Looks which interfaces there are: opens a socket on those that are new, and closes those of
    /// others. `group` tells where a socket of a family is to be.
    pub(super) fn look(
        &mut self,
        registry: &Registry,
        conf: &Conf,
        first_token: usize,
        group: impl Fn(Interface) -> SocketAddr,
    ) -> Look {
        let found = interfaces(conf);
        let before: Vec<Interface> = self.members.iter().map(|member| member.interface).collect();
        self.members.retain(|member| found.all.contains(&member.interface));
        let mut failures = Vec::new();
        for &interface in &found.all {
            if self.members.iter().any(|member| member.interface == interface) {
                continue;
            }
            let is_free = |&place: &usize| self.members.iter().all(|member| member.place != place);
            let Some(place) = (0..MAX_MEMBERS.min(conf.lsd.max_interfaces)).find(is_free) else {
                break;
            };
            match open(interface, group(interface), conf).and_then(|mut socket| {
                registry.register(&mut socket, Token(first_token + place), Interest::READABLE)?;
                Ok(socket)
            }) {
                // Something may have come between binding and registering.
                Ok(socket) => {
                    self.members.push(Member { interface, socket, place, readable: true });
                }
                Err(e) => {
                    log::debug!("local discovery has no socket on {interface:?}: {e}");
                    failures.push(e.kind());
                }
            }
        }
        self.members.sort_by_key(|member| member.interface);
        let now: Vec<Interface> = self.members.iter().map(|member| member.interface).collect();
        let changed = now != before || found.networks != self.known.networks;
        self.known = found;
        let networks = self.known.networks.clone();
        Look { news: changed.then_some(Interfaces { all: now, networks }), failures }
    }

    pub(super) fn handle_event(&mut self, place: usize) {
        if let Some(member) = self.members.iter_mut().find(|member| member.place == place) {
            member.readable = true;
        }
    }

    /// Whether something may wait to be read.
    pub(super) fn is_ready(&self) -> bool {
        self.members.iter().any(|member| member.readable)
    }

    /// Sends a packet by an interface. If the system has no room it is lost.
    ///
    /// # Errors
    /// If there is no socket on it, or the system says that it cannot be sent.
    pub(super) fn send(
        &self,
        interface: Interface,
        group: SocketAddr,
        data: &[u8],
    ) -> io::Result<()> {
        let member = self.members.iter().find(|member| member.interface == interface);
        // It has gone since the engine heard of it, which it hears soon.
        let Some(member) = member else { return Ok(()) };
        match member.socket.send_to(data, group) {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other.map(drop),
        }
    }

    /// The next packet that has come; the sockets take turns.
    pub(super) fn receive<'a>(&mut self, buf: &'a mut [u8]) -> Option<(SocketAddr, &'a [u8])> {
        let count = self.members.len();
        for nth in self.next..self.next + count {
            let Some(member) = self.members.get_mut(nth % count.max(1)) else { continue };
            if !member.readable {
                continue;
            }
            match member.socket.recv_from(buf) {
                Ok((len, from)) => {
                    self.next = (nth + 1) % count.max(1);
                    return Some((from, buf.get(..len).unwrap_or_default()));
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => member.readable = false,
                Err(e) => {
                    // The interface may have gone. What is behind the failure comes with the next
                    // packet.
                    log::debug!("local discovery on {:?}: {e}", member.interface);
                    member.readable = false;
                }
            }
        }
        None
    }
}

/// The interfaces that may be used: what leaves by another way than the user wants does not leave.
fn interfaces(conf: &Conf) -> Interfaces {
    let network = &conf.network;
    if network.bind_addrs.is_empty() {
        return Interfaces::look(network.bind_interface.as_deref());
    }
    // The system finds the interface of an IPv4 address. There is no such way for IPv6.
    let v4 = network.bind_addrs.iter().any(IpAddr::is_ipv4);
    let all = v4.then(|| Interface::new(0, false)).into_iter().collect();
    Interfaces { all, networks: Vec::new() }
}

/// A socket in the group on an interface. Packets go no further than its network: the default of
/// the hop limit is 1.
fn open(interface: Interface, group: SocketAddr, conf: &Conf) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(group), Type::DGRAM, Some(Protocol::UDP))?;
    // All programs of the machine that look for peers have this port.
    socket.set_reuse_address(true)?;
    #[cfg(unix)]
    socket.set_reuse_port(true)?;
    if let Some(name) = &conf.network.bind_interface {
        bind_device(&socket, name)?;
    }
    socket.set_nonblocking(true)?;
    match group.ip() {
        IpAddr::V4(group) => {
            let own = conf.network.bind_addrs.iter().find_map(|ip| match ip {
                IpAddr::V4(ip) => Some(*ip),
                IpAddr::V6(_) => None,
            });
            join_v4(&socket, group, interface.index, own.unwrap_or(Ipv4Addr::UNSPECIFIED))?;
        }
        IpAddr::V6(group) => {
            socket.set_only_v6(true)?;
            socket.join_multicast_v6(&group, interface.index)?;
            socket.set_multicast_if_v6(interface.index)?;
        }
    }
    // Bound to the group, it gets nothing that was sent to this machine alone.
    #[cfg(unix)]
    let place = group;
    #[cfg(not(unix))]
    let place = match group.ip() {
        IpAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, group.port())),
        IpAddr::V6(_) => SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, group.port())),
    };
    socket.bind(&place.into())?;
    Ok(UdpSocket::from_std(socket.into()))
}

/// Joins the group on the interface of this number or, if that is 0, of this address, and sends by
/// it.
fn join_v4(socket: &Socket, group: Ipv4Addr, index: u32, own: Ipv4Addr) -> io::Result<()> {
    if index == 0 {
        socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Address(own))?;
        return socket.set_multicast_if_v4(&own);
    }
    socket.join_multicast_v4_n(&group, &InterfaceIndexOrAddress::Index(index))?;
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        rustix::net::sockopt::set_ip_multicast_if_with_ifindex(socket, &group, &own, index)?;
        // Otherwise it would get what comes by the other interfaces, too.
        #[cfg(target_os = "linux")]
        socket.set_multicast_all_v4(false)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn bound_address_restricts_local_discovery_to_its_family() {
        let v4 = IpAddr::from(Ipv4Addr::LOCALHOST);
        let v6 = "::1".parse().unwrap();
        let on = |addrs: &[IpAddr]| {
            let conf = Conf::default().with(|conf| conf.network.bind_addrs = addrs.to_vec());
            interfaces(&conf).all
        };
        assert_eq!(on(&[v6, v4]), [Interface::new(0, false)]);
        assert_eq!(on(&[v6]), []);
        let nowhere =
            Conf::default().with(|conf| conf.network.bind_interface = Some("nosuchif0".into()));
        assert_eq!(interfaces(&nowhere), Interfaces::default());
    }
}
