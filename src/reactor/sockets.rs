//! The sockets of the engine's links, by link key: making, reading, writing, ending. No protocol.

use std::{
    io::{self, IoSlice, Read},
    net::{Shutdown, SocketAddr},
};

use mio::{Interest, Registry, Token, net::TcpStream};

use super::outgoing::Outgoing;
use crate::base::arena::Key;

/// Tokens below this belong to the waker and the listeners; a link's token is its slot plus this.
pub(super) const FIRST_LINK_TOKEN: usize = 1024;

/// Whether a read or write that moves less than it could is as good as one that would block. It is
/// with epoll and kqueue, which tell of whatever comes after it; mio on Windows tells nothing more
/// until a call has said that it would block.
pub(super) const SHORT_IS_BLOCKED: bool = cfg!(unix);

/// A link's socket and what readiness it has told.
#[derive(Debug)]
pub(super) struct Socket {
    pub(super) key: Key,
    stream: TcpStream,
    /// The connection is not made yet.
    pub(super) connecting: bool,
    /// There may be something to read.
    pub(super) readable: bool,
    /// The other side is done or broken: read to the end, a short read proves nothing.
    pub(super) read_closed: bool,
    /// The last write did not fill the system's buffer.
    pub(super) writable: bool,
    /// Waits for the flush at the end of the turn.
    pub(super) dirty: bool,
}

/// How an attempt to connect stands.
#[derive(Debug)]
pub(super) enum Connecting {
    Made,
    Waiting,
    Failed(io::Error),
}

impl Socket {
    /// Starts connecting to `addr` without waiting.
    pub(super) fn dial(key: Key, outgoing: &Outgoing, addr: SocketAddr) -> io::Result<Self> {
        Ok(Self::new(key, outgoing.connect(addr)?, true))
    }

    pub(super) fn accepted(key: Key, stream: TcpStream) -> Self {
        Self::new(key, stream, false)
    }

    fn new(key: Key, stream: TcpStream, connecting: bool) -> Self {
        // Requests are small and answers urgent: with Nagle's algorithm a lone request takes 40 ms.
        if let Err(e) = stream.set_nodelay(true) {
            log::debug!("cannot set TCP_NODELAY: {e}");
        }
        Self {
            key,
            stream,
            connecting,
            readable: false,
            read_closed: false,
            writable: !connecting,
            dirty: false,
        }
    }

    /// Finds out what a writable event on a connecting socket means.
    pub(super) fn connecting(&self) -> Connecting {
        match self.stream.take_error() {
            Ok(None) => {}
            Ok(Some(e)) | Err(e) => return Connecting::Failed(e),
        }
        match self.stream.peer_addr() {
            Ok(_) => Connecting::Made,
            Err(e) if e.kind() == io::ErrorKind::NotConnected => Connecting::Waiting,
            Err(e) => Connecting::Failed(e),
        }
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buf) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Sends as much as the system takes.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        loop {
            match self.write_once(slices) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// A host program that is not written in Rust may leave SIGPIPE deadly, which `writev` would
    /// raise.
    #[cfg(target_os = "linux")]
    fn write_once(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};
        Ok(sendmsg(&self.stream, slices, &mut SendAncillaryBuffer::default(), SendFlags::NOSIGNAL)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn write_once(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        use std::io::Write;
        self.stream.write_vectored(slices)
    }
}

/// Sockets by slot. A key whose generation is not the tenant's finds nothing.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    slots: Vec<Option<Socket>>,
}

impl Sockets {
    /// Registers `socket` for everything, edge-triggered, and keeps it under its key.
    pub(super) fn insert(&mut self, registry: &Registry, mut socket: Socket) -> io::Result<()> {
        let slot = slot(socket.key);
        let token = Token(slot + FIRST_LINK_TOKEN);
        registry.register(&mut socket.stream, token, Interest::READABLE | Interest::WRITABLE)?;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(socket);
        }
        Ok(())
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Socket> {
        self.at_slot(slot(key)).filter(|socket| socket.key == key)
    }

    /// The socket in this slot now.
    pub(super) fn at_slot(&mut self, slot: usize) -> Option<&mut Socket> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Takes the socket out and closes it. What was written is still delivered by the system.
    pub(super) fn close(&mut self, registry: &Registry, key: Key) -> bool {
        if self.get_mut(key).is_none() {
            return false;
        }
        if let Some(mut socket) = self.slots.get_mut(slot(key)).and_then(Option::take) {
            // Neither can fail in a way that matters: the socket is dropped either way.
            let _ = registry.deregister(&mut socket.stream);
            let _ = socket.stream.shutdown(Shutdown::Write);
        }
        true
    }
}

pub(super) fn slot(key: Key) -> usize {
    key.index as usize
}
