//! One socket for datagrams. Many of one length to one address leave by one call, and many that
//! came from one address are read by one, where the system can (Linux: `UDP_SEGMENT`, `UDP_GRO`)
//! and the feature `gso` is on; elsewhere each is a call.
//!
//! It knows no protocol.

use std::{io, net::SocketAddr};

use mio::{Interest, Registry, Token, net::UdpSocket};

/// See the module.
#[derive(Debug)]
pub(super) struct Udp {
    socket: UdpSocket,
    #[cfg(all(feature = "gso", any(target_os = "linux", target_os = "android")))]
    offload: Option<quinn_udp::UdpSocketState>,
}

/// Bytes that a call may have: those of the longest datagram of IPv4, less its headers.
#[cfg(all(feature = "gso", any(target_os = "linux", target_os = "android")))]
const MAX_CALL: usize = 65_507;

/// What one read has brought.
#[derive(Clone, Copy, Debug)]
pub(super) struct Arrived {
    pub(super) from: SocketAddr,
    /// Bytes in all.
    pub(super) len: usize,
    /// Bytes of each datagram; the last may be shorter.
    pub(super) segment: usize,
}

impl Udp {
    /// Takes a socket, and tells `registry` to wake for what comes. By IPv4 routers fragment what
    /// is too long for its way. By IPv6 none does, nor does the system with the offload
    /// (`IPV6_DONTFRAG`): nothing is to be sent there that is longer than a path carries.
    pub(super) fn new(
        mut socket: UdpSocket,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        registry.register(&mut socket, token, Interest::READABLE)?;
        #[cfg(all(feature = "gso", any(target_os = "linux", target_os = "android")))]
        let offload = quinn_udp::UdpSocketState::new((&socket).into())
            .inspect_err(|e| log::debug!("datagrams go one by one: {e}"))
            .ok();
        // After the offload, which wants nothing to be fragmented. By IPv6 this only has the system
        // learn what paths carry.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if let Err(e) = let_fragment(&socket) {
            log::debug!("datagrams are not fragmented: {e}");
        }
        Ok(Self {
            #[cfg(all(feature = "gso", any(target_os = "linux", target_os = "android")))]
            offload,
            socket,
        })
    }

    /// Tells `registry` to wake for room, too, or not any more: each datagram that has left would.
    pub(super) fn watch_room(
        &mut self,
        registry: &Registry,
        token: Token,
        watch: bool,
    ) -> io::Result<()> {
        let interest =
            if watch { Interest::WRITABLE.add(Interest::READABLE) } else { Interest::READABLE };
        registry.reregister(&mut self.socket, token, interest)
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// How many datagrams the system dropped since the receive buffer was full, if it tells that.
    pub(super) fn dropped(&self) -> Option<u64> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        return super::dropped::look(&self.socket, self.local_addr().ok()?.is_ipv6());
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        None
    }

    /// Bytes of the receive buffer, as the system counts them.
    pub(super) fn receive_buffer(&self) -> Option<usize> {
        socket2::SockRef::from(&self.socket).recv_buffer_size().ok()
    }

    /// Sends one datagram.
    pub(super) fn send_to(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(data, to).map(drop)
    }

    /// Sends the first datagrams of `data`, each of `segment` bytes, the last maybe shorter:
    /// as many as the system takes by one call. Returns how many bytes that were.
    pub(super) fn send_segments(
        &self,
        data: &[u8],
        segment: usize,
        to: SocketAddr,
    ) -> io::Result<usize> {
        #[cfg(all(feature = "gso", any(target_os = "linux", target_os = "android")))]
        if let Some(offload) = &self.offload {
            // All of a call is one datagram to the system up to where it is cut.
            let fit = (MAX_CALL / segment.max(1)).max(1);
            let most = segment.saturating_mul(offload.max_gso_segments().min(fit));
            let contents = data.get(..most.min(data.len())).unwrap_or_default();
            let transmit = quinn_udp::Transmit {
                destination: to,
                ecn: None,
                contents,
                segment_size: (contents.len() > segment).then_some(segment),
                src_ip: None,
            };
            let sent = offload.try_send((&self.socket).into(), &transmit);
            return sent.map(|()| contents.len());
        }
        let one = data.get(..segment.min(data.len())).unwrap_or_default();
        self.send_to(one, to).map(|()| one.len())
    }

    /// Sends one datagram that is not to be fragmented on its way, if that can be had.
    pub(super) fn send_unfragmented(&self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if to.is_ipv4() {
            use rustix::net::sockopt::{Ipv4PathMtuDiscovery as Discovery, set_ip_mtu_discover};
            set_ip_mtu_discover(&self.socket, Discovery::PROBE)?;
            let sent = self.send_to(data, to);
            set_ip_mtu_discover(&self.socket, Discovery::DONT)?;
            return sent;
        }
        self.send_to(data, to)
    }

    /// Reads what has come from one address.
    pub(super) fn receive(&self, buf: &mut [u8]) -> io::Result<Arrived> {
        #[cfg(all(feature = "gso", any(target_os = "linux", target_os = "android")))]
        if let Some(offload) = &self.offload {
            let mut meta = [quinn_udp::RecvMeta::default()];
            let mut bufs = [io::IoSliceMut::new(buf)];
            offload.recv((&self.socket).into(), &mut bufs, &mut meta)?;
            let [meta] = meta;
            return Ok(Arrived { from: meta.addr, len: meta.len, segment: meta.stride.max(1) });
        }
        let (len, from) = self.socket.recv_from(buf)?;
        Ok(Arrived { from, len, segment: len.max(1) })
    }
}

/// Has the datagrams of a socket fragmented that are too long for their way, if that can be had.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn let_fragment(socket: &UdpSocket) -> io::Result<()> {
    use rustix::net::sockopt::{
        Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, set_ip_mtu_discover, set_ipv6_mtu_discover,
    };
    match socket.local_addr()?.is_ipv4() {
        true => set_ip_mtu_discover(socket, Ipv4PathMtuDiscovery::DONT)?,
        false => set_ipv6_mtu_discover(socket, Ipv6PathMtuDiscovery::WANT)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    fn socket(poll: &Poll, token: usize) -> Udp {
        let socket = UdpSocket::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        Udp::new(socket, poll.registry(), Token(token)).unwrap()
    }

    #[test]
    fn segments_arrive_as_datagrams_of_their_length() {
        let (mut poll, mut events) = (Poll::new().unwrap(), Events::with_capacity(8));
        let (one, two) = (socket(&poll, 0), socket(&poll, 1));
        let to = two.local_addr().unwrap();
        // More than one call takes.
        let data: Vec<u8> = (0..70_500u32).map(|n| (n / 1000) as u8).collect();
        let mut sent = 0;
        while sent < data.len() {
            sent += one.send_segments(&data[sent..], 1000, to).unwrap();
        }
        one.send_unfragmented(b"probe", to).unwrap();
        let (mut got, mut buf) = (Vec::new(), vec![0; 1 << 16]);
        while got.len() < 72 {
            match two.receive(&mut buf) {
                Ok(arrived) => {
                    assert_eq!(arrived.from, one.local_addr().unwrap());
                    let chunks = buf[..arrived.len].chunks(arrived.segment);
                    got.extend(chunks.map(|chunk| (chunk.len(), chunk[0])));
                }
                Err(_) => poll.poll(&mut events, Some(Duration::from_secs(5))).unwrap(),
            }
        }
        let want: Vec<_> = (0..70).map(|n| (1000, n)).chain([(500, 70), (5, b'p')]).collect();
        assert_eq!(got, want);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn routers_may_fragment_by_ipv4_and_paths_are_learned_by_ipv6() {
        use std::net::{Ipv4Addr, Ipv6Addr};

        use rustix::net::sockopt::{
            Ipv4PathMtuDiscovery, Ipv6PathMtuDiscovery, ip_mtu_discover, ipv6_mtu_discover,
        };
        let poll = Poll::new().unwrap();
        let v4 = socket(&poll, 0);
        assert_eq!(ip_mtu_discover(&v4.socket), Ok(Ipv4PathMtuDiscovery::DONT));
        // So it is again after a probe.
        v4.send_unfragmented(b"", (Ipv4Addr::LOCALHOST, 9).into()).unwrap();
        assert_eq!(ip_mtu_discover(&v4.socket), Ok(Ipv4PathMtuDiscovery::DONT));
        let Ok(v6) = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0).into()) else { return };
        let v6 = Udp::new(v6, poll.registry(), Token(1)).unwrap();
        assert_eq!(ipv6_mtu_discover(&v6.socket), Ok(Ipv6PathMtuDiscovery::WANT));
    }
}
