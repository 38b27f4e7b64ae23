//! How sockets that reach out are made: from which address, by which interface. What cannot be had
//! fails; nothing leaves by another way than the user wants, or a VPN could be bypassed by its own
//! failure.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use mio::net::{TcpStream, UdpSocket};
use socket2::{Domain, Protocol, Socket, Type};

use crate::conf::Conf;

/// Bytes of the buffers of a socket for datagrams, each way, as asked of the system.
const BUFFER: usize = 4 << 20;

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Outgoing {
    addrs: Vec<IpAddr>,
    interface: Option<String>,
    /// The system's number of that interface as it was last known. Sockets are held to the number.
    number: Option<u32>,
}

impl Outgoing {
    pub(super) fn new(conf: &Conf) -> Self {
        let interface = conf.network.bind_interface.clone();
        let number = interface.as_deref().and_then(number_of);
        Self { addrs: conf.network.bind_addrs.clone(), interface, number }
    }

    /// The interface that everything is held to, if one is set.
    pub(super) fn interface(&self) -> Option<&str> {
        self.interface.as_deref()
    }

    /// Whether the interface has another number than before. It was made anew then, as a tunnel
    /// (VPN) is that connects again, and sockets that were held to it reach nothing any more.
    pub(super) fn has_new_interface(&mut self) -> bool {
        // While it is away nothing can be held to it.
        let Some(number) = self.interface.as_deref().and_then(number_of) else { return false };
        self.number.replace(number) != Some(number)
    }

    /// Whether there is an address to reach `addr` from. Nothing else can be used if not.
    pub(super) fn has_addr_for(&self, addr: SocketAddr) -> bool {
        self.addr(addr.is_ipv4()).is_ok()
    }

    /// Starts connecting to `addr` without waiting.
    pub(super) fn connect(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        if self.addrs.is_empty() && self.interface.is_none() {
            return TcpStream::connect(addr);
        }
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        self.hold(&socket, addr.is_ipv4())?;
        socket.set_nonblocking(true)?;
        match socket.connect(&addr.into()) {
            Err(e) if !is_under_way(&e) => Err(e),
            _ => Ok(TcpStream::from_std(socket.into())),
        }
    }

    /// A socket for datagrams of one family, at `home`, where streams are listened for, if there is
    /// such a place. If its port is taken, at another one.
    pub(super) fn datagrams(&self, v4: bool, home: Option<SocketAddr>) -> io::Result<UdpSocket> {
        let port = home.map_or(0, |home| home.port());
        let addr = match (self.addr(v4)?, home) {
            // What leaves comes from where the user wants it, whatever is listened on.
            (Some(ip), _) => SocketAddr::new(ip, port),
            // From a loopback address nothing reaches the outside, where trackers are.
            (None, Some(home)) if !home.ip().is_loopback() => home,
            (None, _) if v4 => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port),
            (None, _) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), port),
        };
        match self.bind_datagrams(addr) {
            Err(e) if port != 0 && e.kind() == io::ErrorKind::AddrInUse => {
                log::warn!("datagrams cannot have {addr}, which is taken, and get another port");
                self.bind_datagrams(SocketAddr::new(addr.ip(), 0))
            }
            other => other,
        }
    }

    fn bind_datagrams(&self, addr: SocketAddr) -> io::Result<UdpSocket> {
        let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        if let Some(interface) = &self.interface {
            bind_device(&socket, interface)?;
        }
        // As much as the system gives: all peers by uTP share this one.
        for set in [Socket::set_recv_buffer_size, Socket::set_send_buffer_size] {
            if let Err(e) = set(&socket, BUFFER) {
                log::debug!("a buffer for datagrams of {BUFFER} bytes: {e}");
            }
        }
        socket.bind(&addr.into())?;
        socket.set_nonblocking(true)?;
        Ok(UdpSocket::from_std(socket.into()))
    }

    /// Holds a socket to the interface and the address that are set.
    fn hold(&self, socket: &Socket, v4: bool) -> io::Result<()> {
        if let Some(interface) = &self.interface {
            bind_device(socket, interface)?;
        }
        match self.addr(v4)? {
            Some(ip) => socket.bind(&SocketAddr::new(ip, 0).into()),
            None => Ok(()),
        }
    }

    /// The address that is set for a family; `None` if none is set for any.
    fn addr(&self, v4: bool) -> io::Result<Option<IpAddr>> {
        if self.addrs.is_empty() {
            return Ok(None);
        }
        match self.addrs.iter().find(|ip| ip.is_ipv4() == v4) {
            Some(&ip) => Ok(Some(ip)),
            None => Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                "no address of this family to bind to",
            )),
        }
    }
}

/// Holds a socket to an interface.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn bind_device(socket: &Socket, interface: &str) -> io::Result<()> {
    socket.bind_device(Some(interface.as_bytes()))
}

/// Holds a socket to an interface, which this system has no way to do.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn bind_device(_socket: &Socket, _interface: &str) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "sockets cannot be bound to an interface here"))
}

/// The system's number of an interface, which one made anew by the same name does not have.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn number_of(interface: &str) -> Option<u32> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, None).ok()?;
    rustix::net::netdevice::name_to_index(&socket, interface).ok()
}

/// The system's number of an interface, to which no socket can be held here.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn number_of(_interface: &str) -> Option<u32> {
    None
}

#[cfg(unix)]
fn is_under_way(e: &io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
        || e.kind() == io::ErrorKind::WouldBlock
}

#[cfg(not(unix))]
fn is_under_way(e: &io::Error) -> bool {
    e.kind() == io::ErrorKind::WouldBlock
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn outgoing(addrs: &[&str], interface: Option<&str>) -> Outgoing {
        let addrs = addrs.iter().map(|ip| ip.parse().unwrap()).collect();
        Outgoing { addrs, interface: interface.map(str::to_owned), number: None }
    }

    fn listener() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        (listener, addr)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn outgoing_connection_has_the_bound_address() {
        let (listener, addr) = listener();
        let _stream = outgoing(&["127.0.0.2"], None).connect(addr).unwrap();
        assert_eq!(listener.accept().unwrap().1.ip(), IpAddr::from([127, 0, 0, 2]));
        let datagrams = outgoing(&["::1", "127.0.0.3"], None).datagrams(true, None).unwrap();
        assert_eq!(datagrams.local_addr().unwrap().ip(), IpAddr::from([127, 0, 0, 3]));
        // Whatever is listened on.
        let home = Some(SocketAddr::from(([0, 0, 0, 0], 0)));
        let datagrams = outgoing(&["127.0.0.3"], None).datagrams(true, home).unwrap();
        assert_eq!(datagrams.local_addr().unwrap().ip(), IpAddr::from([127, 0, 0, 3]));
    }

    #[test]
    fn bind_fails_without_address_in_family_or_with_foreign_one() {
        let (_listener, addr) = listener();
        let kind = |e: io::Result<_>| e.map(|_: TcpStream| ()).unwrap_err().kind();
        assert_eq!(kind(outgoing(&["::1"], None).connect(addr)), io::ErrorKind::AddrNotAvailable);
        assert_eq!(
            kind(outgoing(&["192.0.2.1"], None).connect(addr)),
            io::ErrorKind::AddrNotAvailable
        );
        assert!(outgoing(&["127.0.0.1"], None).datagrams(false, None).is_err());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn missing_interface_fails_and_present_one_serves() {
        let (listener, addr) = listener();
        assert!(outgoing(&[], Some("nosuchif0")).connect(addr).is_err());
        assert!(outgoing(&[], Some("nosuchif0")).datagrams(true, None).is_err());
        match outgoing(&[], Some("lo")).connect(addr) {
            Ok(_stream) => _ = listener.accept().unwrap(),
            // Some systems let only root do this.
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::PermissionDenied),
        }
    }
}
