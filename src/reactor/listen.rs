//! Listening sockets: binding them, and taking connections without ever spinning on a full
//! descriptor table.

use std::{fs::File, io, net::SocketAddr, time::Duration};

use mio::{
    Interest, Registry, Token,
    net::{TcpListener, TcpStream},
};
use socket2::{Domain, Protocol, Type};

use super::outgoing::bind_device;
use crate::base::time::Instant;

/// Connections waiting to be accepted, as asked of the system, which may allow fewer.
const BACKLOG: i32 = 1024;
/// How long to leave a listener alone after the system refused for want of something.
const BACK_OFF: Duration = Duration::from_millis(100);

/// The listening sockets and a spare descriptor.
#[derive(Debug)]
pub(super) struct Listeners {
    listeners: Vec<Listener>,
    /// The one that is asked first: the one behind the last that gave a connection.
    next: usize,
    /// Closed when descriptors run out, so that waiting connections can be accepted and refused
    /// instead of waking us forever.
    spare: Option<File>,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Listener {
    inner: TcpListener,
    addr: SocketAddr,
    /// There may be connections waiting.
    ready: bool,
    /// None come any more: the interface was made anew.
    stale: bool,
}

/// What came of one look at the listeners.
#[derive(Debug)]
pub(super) enum Accepted {
    /// A connection.
    Stream(TcpStream, SocketAddr),
    /// One connection was refused for want of descriptors.
    Shed,
    /// No connection waits, or the listeners rest for a while.
    None,
}

impl Listeners {
    /// Binds every address, and to `interface` if there is one; tokens count up from `first_token`.
    /// Unless it `takes` connections, the system refuses them.
    ///
    /// # Errors
    /// The first address that cannot be bound, and why.
    pub(super) fn bind(
        registry: &Registry,
        addrs: &[SocketAddr],
        interface: Option<&str>,
        takes: bool,
        first_token: usize,
    ) -> Result<Self, (SocketAddr, io::Error)> {
        let mut listeners = Vec::with_capacity(addrs.len());
        for (n, &addr) in addrs.iter().enumerate() {
            let token = takes.then_some(Token(first_token + n));
            listeners.push(bind(registry, addr, interface, token).map_err(|e| (addr, e))?);
        }
        let spare = if listeners.is_empty() { None } else { open_spare() };
        Ok(Self { listeners, next: 0, spare, retry_at: None })
    }

    /// The interface that they are held to was made anew: they are to be bound again.
    pub(super) fn note_new_interface(&mut self) {
        for listener in &mut self.listeners {
            listener.stale = true;
        }
    }

    /// Binds those again that are to be, to the ports that they had; the rest is as in
    /// [`bind`](Self::bind).
    ///
    /// # Errors
    /// The last address that cannot be bound now, and why. The next call tries it again.
    pub(super) fn rebind(
        &mut self,
        registry: &Registry,
        interface: Option<&str>,
        takes: bool,
        first_token: usize,
    ) -> Result<(), (SocketAddr, io::Error)> {
        let mut result = Ok(());
        for (n, listener) in self.listeners.iter_mut().enumerate() {
            if !listener.stale {
                continue;
            }
            let token = takes.then_some(Token(first_token + n));
            match bind(registry, listener.addr, interface, token) {
                Ok(anew) => *listener = anew,
                Err(e) => result = Err((listener.addr, e)),
            }
        }
        result
    }

    pub(super) fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().map(|listener| listener.addr)
    }

    pub(super) fn handle_event(&mut self, nth: usize) {
        if let Some(listener) = self.listeners.get_mut(nth) {
            listener.ready = true;
        }
    }

    /// Whether there is something to accept right now.
    pub(super) fn is_ready(&self) -> bool {
        self.retry_at.is_none() && self.listeners.iter().any(|listener| listener.ready)
    }

    fn is_ready_at(&self, nth: usize) -> bool {
        self.listeners.get(nth).is_some_and(|listener| listener.ready)
    }

    /// When resting listeners are to be looked at again.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }

    /// Takes one waiting connection; the listeners take turns.
    pub(super) fn accept(&mut self, now: Instant) -> Accepted {
        if self.retry_at.is_some_and(|at| now < at) {
            return Accepted::None;
        }
        self.retry_at = None;
        let count = self.listeners.len();
        while let Some(nth) =
            (self.next..self.next + count).map(|nth| nth % count).find(|&nth| self.is_ready_at(nth))
        {
            let Some(listener) = self.listeners.get_mut(nth) else { break };
            self.next = (nth + 1) % count;
            match listener.inner.accept() {
                Ok((stream, addr)) => return Accepted::Stream(stream, addr),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => listener.ready = false,
                // Gone before we looked.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::ConnectionAborted | io::ErrorKind::Interrupted
                    ) => {}
                Err(e) if is_out_of_descriptors(&e) && shed(&mut self.spare, &listener.inner) => {
                    return Accepted::Shed;
                }
                Err(e) => {
                    log::warn!(
                        "cannot accept a connection on {}: {e}; resting for {BACK_OFF:?}",
                        listener.addr
                    );
                    self.retry_at = Some(now + BACK_OFF);
                    return Accepted::None;
                }
            }
        }
        Accepted::None
    }
}

fn bind(
    registry: &Registry,
    addr: SocketAddr,
    interface: Option<&str>,
    token: Option<Token>,
) -> io::Result<Listener> {
    let socket =
        socket2::Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    // On Windows this option would let others take the port; elsewhere it lets us come back at once
    // after a restart.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if let Some(interface) = interface {
        bind_device(&socket, interface)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    if token.is_some() {
        socket.listen(BACKLOG)?;
    }
    let mut inner = TcpListener::from_std(socket.into());
    let addr = inner.local_addr()?;
    if let Some(token) = token {
        registry.register(&mut inner, token, Interest::READABLE)?;
    }
    // A connection may have come between `listen` and `register`.
    Ok(Listener { inner, addr, ready: token.is_some(), stale: false })
}

/// Gives up the spare descriptor for as long as it takes to accept one connection and drop it.
fn shed(spare: &mut Option<File>, listener: &TcpListener) -> bool {
    if spare.take().is_none() {
        *spare = open_spare();
        return false;
    }
    let shed = listener.accept().is_ok();
    *spare = open_spare();
    shed
}

fn open_spare() -> Option<File> {
    File::open(if cfg!(windows) { "NUL" } else { "/dev/null" }).ok()
}

#[cfg(unix)]
pub(super) fn is_out_of_descriptors(e: &io::Error) -> bool {
    use rustix::io::Errno;
    e.raw_os_error().is_some_and(|code| {
        code == Errno::MFILE.raw_os_error() || code == Errno::NFILE.raw_os_error()
    })
}

#[cfg(not(unix))]
pub(super) fn is_out_of_descriptors(_: &io::Error) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::{io::Read, net::Ipv4Addr};

    use mio::Poll;

    use super::*;

    const ANY: [SocketAddr; 1] = [SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0)];

    fn bound() -> (Poll, Listeners, SocketAddr) {
        let poll = Poll::new().unwrap();
        let listeners = Listeners::bind(poll.registry(), &ANY, None, true, 1).unwrap();
        let addr = listeners.addrs().next().unwrap();
        (poll, listeners, addr)
    }

    #[test]
    fn connections_are_accepted_until_none_waits() {
        let (_poll, mut listeners, addr) = bound();
        let clients = [
            std::net::TcpStream::connect(addr).unwrap(),
            std::net::TcpStream::connect(addr).unwrap(),
        ];
        for client in &clients {
            let Accepted::Stream(_, from) = listeners.accept(Instant::ZERO) else {
                panic!("no connection")
            };
            assert_eq!(from, client.local_addr().unwrap());
        }
        assert!(listeners.is_ready());
        assert!(matches!(listeners.accept(Instant::ZERO), Accepted::None));
        assert!(!listeners.is_ready() && listeners.retry_at().is_none());
    }

    #[test]
    fn connection_without_descriptor_is_refused_and_spare_reopens() {
        let (_poll, mut listeners, addr) = bound();
        let mut client = std::net::TcpStream::connect(addr).unwrap();
        assert!(shed(&mut listeners.spare, &listeners.listeners[0].inner));
        assert!(listeners.spare.is_some());
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0);
        // No connection waits any more, so there was nothing to refuse.
        assert!(!shed(&mut listeners.spare, &listeners.listeners[0].inner));
        listeners.spare = None;
        assert!(!shed(&mut listeners.spare, &listeners.listeners[0].inner));
    }

    #[test]
    fn a_resting_listener_is_left_alone_until_its_time() {
        let (_poll, mut listeners, addr) = bound();
        let _client = std::net::TcpStream::connect(addr).unwrap();
        let now = Instant::from_micros(1_000_000);
        listeners.retry_at = Some(now + BACK_OFF);
        assert!(!listeners.is_ready());
        assert!(matches!(listeners.accept(now), Accepted::None));
        assert!(matches!(listeners.accept(now + BACK_OFF), Accepted::Stream(..)));
        assert_eq!(listeners.retry_at(), None);
    }

    #[test]
    fn listeners_take_turns() {
        let poll = Poll::new().unwrap();
        let mut listeners = Listeners::bind(poll.registry(), &[ANY[0]; 3], None, true, 1).unwrap();
        let addrs: Vec<SocketAddr> = listeners.addrs().collect();
        let connect = |nth: usize| std::net::TcpStream::connect(addrs[nth]).unwrap();
        // The first is flooded; no connection comes to the second.
        let _clients: Vec<_> = [0, 0, 0, 0, 0, 0, 2, 2].map(connect).into();
        let mut order = Vec::new();
        while let Accepted::Stream(stream, _) = listeners.accept(Instant::ZERO) {
            let at = stream.local_addr().unwrap();
            order.push(addrs.iter().position(|&addr| addr == at).unwrap());
        }
        assert_eq!(order, [0, 2, 0, 2, 0, 0, 0, 0]);
    }

    #[test]
    fn an_address_in_use_is_named() {
        let (poll, _listeners, addr) = bound();
        let (named, e) =
            Listeners::bind(poll.registry(), &[ANY[0], addr], None, true, 1).unwrap_err();
        assert_eq!((named, e.kind()), (addr, io::ErrorKind::AddrInUse));
    }
}
