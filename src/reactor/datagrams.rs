//! The sockets for datagrams, one a family, made when they are first needed. No protocol.

use std::{io, net::SocketAddr};

use mio::{Interest, Registry, Token, net::UdpSocket};

use super::outgoing::Outgoing;

/// See the module.
#[derive(Debug)]
pub(super) struct Datagrams {
    sockets: [Option<UdpSocket>; 2],
    /// There may be something to read.
    readable: [bool; 2],
    first_token: usize,
}

impl Datagrams {
    /// None yet; their tokens will be `first_token` and the next.
    pub(super) fn new(first_token: usize) -> Self {
        Self { sockets: [None, None], readable: [false; 2], first_token }
    }

    pub(super) fn handle_event(&mut self, nth: usize) {
        if let Some(readable) = self.readable.get_mut(nth) {
            *readable = true;
        }
    }

    /// Whether something may wait to be read.
    pub(super) fn is_ready(&self) -> bool {
        self.readable.contains(&true)
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
        let nth = usize::from(to.is_ipv6());
        let Some(place) = self.sockets.get_mut(nth) else { return Ok(()) };
        let socket = match place {
            Some(socket) => socket,
            None => {
                let mut socket = outgoing.datagrams(to.is_ipv4())?;
                registry.register(
                    &mut socket,
                    Token(self.first_token + nth),
                    Interest::READABLE,
                )?;
                place.insert(socket)
            }
        };
        // The first refusal may be of an earlier datagram, to another address.
        let sent = socket.send_to(data, to).or_else(|_| socket.send_to(data, to));
        match sent {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(()),
            other => other.map(drop),
        }
    }

    /// The next one that has come.
    pub(super) fn receive<'a>(&mut self, buf: &'a mut [u8]) -> Option<(SocketAddr, &'a [u8])> {
        for nth in 0..2 {
            let (Some(Some(socket)), Some(readable)) =
                (self.sockets.get(nth), self.readable.get_mut(nth))
            else {
                continue;
            };
            // What an earlier one was refused with comes up here; it must not hide what is behind
            // it, nor go on for ever.
            for _ in 0..8 {
                if !*readable {
                    break;
                }
                match socket.recv_from(buf) {
                    Ok((len, from)) => return Some((from, buf.get(..len).unwrap_or_default())),
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => *readable = false,
                    Err(e) => log::debug!("a datagram failed: {e}"),
                }
            }
        }
        None
    }
}
