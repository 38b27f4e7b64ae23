//! The sockets for datagrams, one a family, on the ports that are listened on. No protocol: all of
//! them share these sockets, and the engine tells whose a datagram is.

use std::{io, net::SocketAddr};

use mio::{Registry, Token};

use super::{
    outgoing::Outgoing,
    udp::{Arrived, Udp},
};

/// Failures of one socket that are passed over before it is left for another turn. They are of
/// earlier datagrams that were refused on their way, and must not hide what is behind them.
const MAX_FAILURES: usize = 8;

/// See the module.
#[derive(Debug)]
pub(super) struct Datagrams {
    /// IPv4, IPv6.
    families: [Family; 2],
    /// The family that is read first: the other one than was read last.
    next: usize,
    first_token: usize,
}

#[derive(Debug, Default)]
struct Family {
    socket: Option<Udp>,
    /// Where streams are listened for.
    home: Option<SocketAddr>,
    /// There may be something to read.
    readable: bool,
    /// The system takes no more segments until it says so.
    full: bool,
}

impl Datagrams {
    /// Opens the sockets of the families that are listened on; their tokens are `first_token` and
    /// the next. The others are opened when something is to be sent from them, and so is one that
    /// cannot be had now.
    pub(super) fn open(
        registry: &Registry,
        outgoing: &Outgoing,
        listeners: impl Iterator<Item = SocketAddr>,
        first_token: usize,
    ) -> Self {
        let mut datagrams = Self { families: Default::default(), next: 0, first_token };
        for addr in listeners {
            if let Some(family) = datagrams.families.get_mut(usize::from(addr.is_ipv6())) {
                // The outside cannot be reached from a loopback address, so one is the last choice.
                if family.home.is_none_or(|home| home.ip().is_loopback()) {
                    family.home = family.home.filter(|_| addr.ip().is_loopback()).or(Some(addr));
                }
            }
        }
        if let Err(e) = datagrams.open_missing(registry, outgoing) {
            log::warn!("no socket for datagrams yet: {e}");
        }
        datagrams
    }

    /// Opens the sockets that are not open of the families that are listened on.
    ///
    /// # Errors
    /// Why the last one that cannot be had now cannot.
    pub(super) fn open_missing(
        &mut self,
        registry: &Registry,
        outgoing: &Outgoing,
    ) -> io::Result<()> {
        let mut result = Ok(());
        for nth in 0..2 {
            let listens = self.families.get(nth).is_some_and(|family| family.home.is_some());
            if listens && let Err(e) = self.socket(registry, outgoing, nth) {
                result = Err(e);
            }
        }
        result
    }

    /// Closes the sockets, which reach nothing any more. What wants to leave opens new ones, and so
    /// does [`open_missing`](Self::open_missing).
    pub(super) fn close(&mut self) {
        for family in &mut self.families {
            *family = Family { home: family.home, ..Family::default() };
        }
    }

    /// Where the open sockets are.
    pub(super) fn addrs(&self) -> impl Iterator<Item = SocketAddr> {
        self.sockets().filter_map(|socket| socket.local_addr().ok())
    }

    /// How many datagrams the system dropped since the receive buffer of one of these sockets was
    /// full; `None`: it does not tell that of all of them. It reads a table of the system.
    pub(super) fn dropped(&self) -> Option<u64> {
        self.sockets().map(Udp::dropped).sum()
    }

    /// Bytes of the smallest receive buffer, as the system counts them. 0: no socket is open.
    pub(super) fn receive_buffer(&self) -> usize {
        self.sockets().filter_map(Udp::receive_buffer).min().unwrap_or(0)
    }

    fn sockets(&self) -> impl Iterator<Item = &Udp> {
        self.families.iter().filter_map(|family| family.socket.as_ref())
    }

    pub(super) fn handle_event(
        &mut self,
        registry: &Registry,
        nth: usize,
        readable: bool,
        writable: bool,
    ) {
        if let Some(family) = self.families.get_mut(nth) {
            family.readable |= readable;
            if writable && std::mem::take(&mut family.full) {
                self.watch_room(registry, nth, false);
            }
        }
    }

    fn watch_room(&mut self, registry: &Registry, nth: usize, watch: bool) {
        let socket = self.families.get_mut(nth).and_then(|family| family.socket.as_mut());
        let token = Token(self.first_token + nth);
        let watched = socket.map(|socket| socket.watch_room(registry, token, watch));
        if let Some(Err(e)) = watched {
            log::debug!("a socket for datagrams is not watched: {e}");
        }
    }

    /// Whether the system takes no more segments to `to` until it says so.
    pub(super) fn is_full(&self, to: SocketAddr) -> bool {
        self.families.get(usize::from(to.is_ipv6())).is_some_and(|family| family.full)
    }

    /// Whether something may wait to be read.
    pub(super) fn is_ready(&self) -> bool {
        self.families.iter().any(|family| family.readable)
    }

    /// Sends one. If the system has no room it is lost, as datagrams may be.
    ///
    /// # Errors
    /// If there is no socket to be had, or the system says that it cannot be sent.
    pub(super) fn send(
        &mut self,
        registry: &Registry,
        outgoing: &Outgoing,
        to: SocketAddr,
        data: &[u8],
    ) -> io::Result<()> {
        let socket = self.socket(registry, outgoing, usize::from(to.is_ipv6()))?;
        // The first refusal may be of an earlier datagram, to another address.
        let sent = socket.send_to(data, to).or_else(|_| socket.send_to(data, to));
        match sent {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other,
        }
    }

    /// Sends the first datagrams of `data`, each of `segment` bytes, as many as the system takes by
    /// one call. Returns how many bytes are done with: what cannot be sent is as good as lost. 0:
    /// there is no room now.
    pub(super) fn send_segments(
        &mut self,
        registry: &Registry,
        outgoing: &Outgoing,
        to: SocketAddr,
        data: &[u8],
        segment: usize,
        unfragmented: bool,
    ) -> usize {
        let nth = usize::from(to.is_ipv6());
        let Ok(socket) = self.socket(registry, outgoing, nth) else { return data.len() };
        let send = || match unfragmented {
            true => socket.send_unfragmented(data, to).map(|()| data.len()),
            false => socket.send_segments(data, segment, to),
        };
        done_with(send, segment, data.len()).unwrap_or_else(|| {
            if let Some(family) = self.families.get_mut(nth) {
                family.full = true;
            }
            self.watch_room(registry, nth, true);
            0
        })
    }

    /// The socket of a family, opened if it was not.
    fn socket(&mut self, registry: &Registry, outgoing: &Outgoing, nth: usize) -> io::Result<&Udp> {
        let Some(family) = self.families.get_mut(nth) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        match &mut family.socket {
            Some(socket) => Ok(socket),
            place => {
                let socket = outgoing.datagrams(nth == 0, family.home)?;
                let socket = Udp::new(socket, registry, Token(self.first_token + nth))?;
                // Something may have come between binding and registering.
                family.readable = true;
                Ok(place.insert(socket))
            }
        }
    }

    /// The next that have come, from one address; the families take turns. They are in `buf` then.
    pub(super) fn receive(&mut self, buf: &mut [u8]) -> Option<Arrived> {
        for nth in [self.next, 1 - self.next.min(1)] {
            let Some(family) = self.families.get_mut(nth) else { continue };
            let Some(socket) = &family.socket else {
                family.readable = false;
                continue;
            };
            for _ in 0..MAX_FAILURES {
                if !family.readable {
                    break;
                }
                match socket.receive(buf) {
                    Ok(arrived) => {
                        self.next = 1 - nth.min(1);
                        return Some(arrived);
                    }
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => family.readable = false,
                    Err(e) => log::debug!("a datagram failed: {e}"),
                }
            }
        }
        None
    }
}

/// Bytes of a burst of `len` that are done with after a call: they have left, or are as good as
/// lost. `None`: there is no room now.
fn done_with(
    mut send: impl FnMut() -> io::Result<usize>,
    segment: usize,
    len: usize,
) -> Option<usize> {
    use io::ErrorKind as Kind;
    // The first refusal may be of an earlier datagram, to another address.
    let sent = send().or_else(|e| if e.kind() == Kind::WouldBlock { Err(e) } else { send() });
    match sent.map_err(|e| e.kind()) {
        Ok(sent) => Some(sent),
        Err(Kind::WouldBlock) => None,
        // There is no way for any of them.
        Err(
            Kind::HostUnreachable
            | Kind::NetworkUnreachable
            | Kind::NetworkDown
            | Kind::AddrNotAvailable
            | Kind::Unsupported
            | Kind::PermissionDenied,
        ) => Some(len),
        // It may be of the moment, as when the system is short of buffers (ENOBUFS). Where each
        // datagram is a call, the rest of the burst is not lost by that.
        Err(_) => Some(segment.max(1).min(len)),
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket as Other};

    use mio::Poll;

    use super::*;
    use crate::conf::Conf;

    fn open(listeners: &[SocketAddr]) -> (Poll, Datagrams) {
        let poll = Poll::new().unwrap();
        let outgoing = Outgoing::new(&Conf::default());
        let listeners = listeners.iter().copied();
        let datagrams = Datagrams::open(poll.registry(), &outgoing, listeners, 1);
        (poll, datagrams)
    }

    /// The `nth` port that nothing has, at an address of this process alone and below the ports
    /// that systems give to sockets without a wish. No two tests have the same `nth`.
    fn free_port(nth: u16) -> SocketAddr {
        let [.., high, low] = std::process::id().to_be_bytes();
        SocketAddr::from((Ipv4Addr::new(127, high, low, 77), 20_000 + nth))
    }

    #[test]
    fn socket_has_the_port_that_is_listened_on() {
        let home = free_port(0);
        let (poll, mut datagrams) = open(&[home]);
        let own: Vec<_> = datagrams.addrs().collect();
        assert_eq!((own.len(), own[0].port()), (1, home.port()));
        let other = Other::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let outgoing = Outgoing::new(&Conf::default());
        let to = other.local_addr().unwrap();
        datagrams.send(poll.registry(), &outgoing, to, b"hello").unwrap();
        let mut buf = [0; 9];
        let (len, from) = other.recv_from(&mut buf).unwrap();
        assert_eq!((&buf[..len], from.port()), (&b"hello"[..], home.port()));
    }

    #[test]
    fn taken_port_gives_way_to_another() {
        let other = Other::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        let home = other.local_addr().unwrap();
        let (_poll, datagrams) = open(&[home]);
        let own: Vec<_> = datagrams.addrs().collect();
        assert!(own.len() == 1 && own[0].port() != home.port(), "{own:?}");
    }

    #[test]
    fn without_listeners_no_socket_is_open_until_something_is_sent() {
        let (poll, mut datagrams) = open(&[]);
        assert_eq!(datagrams.addrs().count(), 0);
        let other = Other::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let outgoing = Outgoing::new(&Conf::default());
        datagrams.send(poll.registry(), &outgoing, other.local_addr().unwrap(), b"hello").unwrap();
        assert_eq!(datagrams.addrs().count(), 1);
    }

    #[test]
    fn address_of_the_outside_is_preferred_to_loopback() {
        let (first, second) = (free_port(1), free_port(2));
        let world = SocketAddr::from((Ipv4Addr::UNSPECIFIED, second.port()));
        for listeners in [[first, world], [world, first]] {
            let (_poll, datagrams) = open(&listeners);
            assert_eq!(
                datagrams.addrs().map(|addr| addr.port()).collect::<Vec<_>>(),
                [second.port()]
            );
        }
    }

    #[test]
    fn datagram_that_fails_does_not_take_its_burst_along() {
        let (segment, len) = (1000, 63_500);
        let run = |failures: usize, error: &dyn Fn() -> io::Error| {
            let (mut calls, mut left, mut offset) = (0, 0, 0);
            while offset < len {
                let one = segment.min(len - offset);
                let send = || {
                    calls += 1;
                    if calls <= failures { Err(error()) } else { Ok(one) }
                };
                match done_with(send, segment, len - offset) {
                    Some(done) => {
                        left += usize::from(calls > failures);
                        offset += done;
                    }
                    None => break,
                }
            }
            (left, offset)
        };
        // No buffer, twice: ENOBUFS has no kind of its own.
        let no_buffer = || io::Error::from(io::ErrorKind::OutOfMemory);
        assert_eq!(run(2, &no_buffer), (63, len));
        // Once may be the echo of another datagram.
        assert_eq!(run(1, &no_buffer), (64, len));
        // Without a way, none is tried.
        assert_eq!(run(2, &|| io::ErrorKind::NetworkUnreachable.into()), (0, len));
        assert_eq!(run(1, &|| io::ErrorKind::WouldBlock.into()), (0, 0));
    }

    #[test]
    fn closed_sockets_open_again_at_their_port() {
        let home = free_port(4);
        let (poll, mut datagrams) = open(&[home]);
        datagrams.close();
        assert!(datagrams.addrs().next().is_none() && !datagrams.is_ready());
        let outgoing = Outgoing::new(&Conf::default());
        datagrams.open_missing(poll.registry(), &outgoing).unwrap();
        assert_eq!(datagrams.addrs().next().map(|addr| addr.port()), Some(home.port()));
    }

    #[test]
    fn families_take_turns() {
        let Ok(v6) = Other::bind((Ipv6Addr::LOCALHOST, 0)) else { return };
        let v4 = Other::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let homes = [free_port(3), v6.local_addr().unwrap()];
        // The IPv6 socket of the test keeps that port, so ours gets another.
        let (_poll, mut datagrams) = open(&homes);
        for addr in datagrams.addrs().collect::<Vec<_>>() {
            for n in 0..3 {
                if addr.is_ipv4() {
                    v4.send_to(&[n], (Ipv4Addr::LOCALHOST, addr.port())).unwrap();
                } else {
                    v6.send_to(&[n], (Ipv6Addr::LOCALHOST, addr.port())).unwrap();
                }
            }
        }
        let mut buf = [0; 9];
        let mut got = Vec::new();
        while let Some(arrived) = datagrams.receive(&mut buf) {
            got.extend(buf[..arrived.len].iter().map(|&byte| (arrived.from.is_ipv6(), byte)));
        }
        assert_eq!(got, [(false, 0), (true, 0), (false, 1), (true, 1), (false, 2), (true, 2)]);
        assert!(!datagrams.is_ready());
    }
}
