//! All streams of the engine, of any owner: making, reading, writing, ending, TLS. No protocol
//! above that.
//!
//! A stream lies where its name says, so nothing is looked up on the way from an event to the
//! engine and back.

use std::{
    io::{self, IoSlice, Read},
    net::SocketAddr,
    time::Duration,
};

use mio::{Registry, Token, net::TcpStream};

use super::{outgoing::Outgoing, quiet::QuietStream, tls::Tls};
use crate::engine::{CloseCause, StreamId};

/// Tokens below this belong to the waker, datagrams and the listeners; a stream's token is its slot
/// plus this.
pub(super) const FIRST_STREAM_TOKEN: usize = 1024;

/// Whether a read or write that moves less than it could is as good as one that would block. It is
/// with epoll and kqueue, which tell of whatever comes after it; mio on Windows tells nothing more
/// until a call has said that it would block.
pub(super) const SHORT_IS_BLOCKED: bool = cfg!(unix);

/// How often that is.
const KEEP_ALIVE: Duration = Duration::from_secs(30);

/// How far a stream is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The system has no answer yet.
    Connecting,
    /// TLS is being agreed on.
    Securing,
    /// Bytes of the engine flow.
    Up,
}

/// A stream's socket and what readiness it has told.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: StreamId,
    socket: QuietStream,
    tls: Option<Box<Tls>>,
    pub(super) stage: Stage,
    pub(super) ready: Readiness,
    /// Waits for the flush at the end of the turn.
    pub(super) dirty: bool,
    /// Why it can be written to no more. It ends when what the other side had said is read: that
    /// may be why.
    pub(super) failed: Option<io::ErrorKind>,
}

/// What the system has told of a socket and is not used up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Readiness {
    /// There may be something to read.
    pub(super) read: bool,
    /// The other side is done or broken: read to the end, a short read proves nothing.
    pub(super) end: bool,
    /// The last write did not fill the system's buffer.
    pub(super) write: bool,
}

/// How an attempt to connect stands.
#[derive(Debug)]
pub(super) enum Connecting {
    Made,
    Waiting,
    Failed(io::Error),
}

/// What came of taking in a part of an enciphered stream.
#[derive(Debug)]
pub(super) struct Received {
    /// What was in it.
    pub(super) plain: Vec<u8>,
    /// TLS is agreed on, with this part.
    pub(super) is_up: bool,
    /// The stream ends behind it.
    pub(super) ended: Option<CloseCause>,
}

impl Stream {
    /// Starts connecting to `addr` without waiting.
    pub(super) fn connect(
        id: StreamId,
        outgoing: &Outgoing,
        addr: SocketAddr,
        tls: Option<Tls>,
    ) -> io::Result<Self> {
        Ok(Self::new(id, outgoing.connect(addr)?, tls, Stage::Connecting))
    }

    pub(super) fn accepted(id: StreamId, socket: TcpStream) -> Self {
        Self::new(id, socket, None, Stage::Up)
    }

    fn new(id: StreamId, socket: TcpStream, tls: Option<Tls>, stage: Stage) -> Self {
        // Requests are small and answers urgent: with Nagle's algorithm a lone request takes 40 ms.
        if let Err(e) = socket.set_nodelay(true) {
            log::debug!("cannot set TCP_NODELAY: {e}");
        }
        // Nothing is said on it for hours, and nothing tells that it is gone.
        if let StreamId::Relay(_) = id
            && let Err(e) = keep_alive(&socket)
        {
            log::debug!("the stream of the relay is not kept alive: {e}");
        }
        Self {
            id,
            socket: QuietStream::new(socket),
            tls: tls.map(Box::new),
            stage,
            ready: Readiness { read: false, end: false, write: stage == Stage::Up },
            dirty: false,
            failed: None,
        }
    }

    pub(super) fn is_connecting(&self) -> bool {
        self.stage == Stage::Connecting
    }

    /// Finds out what a writable event on a connecting socket means. If the connection is made, TLS
    /// begins, or the stream is up.
    pub(super) fn finish_connecting(&mut self) -> Connecting {
        match self.socket.is_connected() {
            Ok(true) => {
                self.stage = if self.tls.is_some() { Stage::Securing } else { Stage::Up };
                self.ready.write = true;
                Connecting::Made
            }
            Ok(false) => Connecting::Waiting,
            Err(e) => Connecting::Failed(e),
        }
    }

    pub(super) fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket.read(buf) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Begins with TLS on a stream that is up.
    pub(super) fn secure(&mut self, tls: Tls) {
        (self.tls, self.stage) = (Some(Box::new(tls)), Stage::Securing);
    }

    pub(super) fn is_enciphered(&self) -> bool {
        self.tls.is_some()
    }

    /// What the end of its bytes means.
    pub(super) fn end(&self) -> CloseCause {
        // A router on the way can end a stream; TLS says it when the other side has.
        if self.tls.is_some() {
            CloseCause::Tls("the connection broke off".into())
        } else {
            CloseCause::Eof
        }
    }

    /// Deciphers what was read.
    pub(super) fn receive(&mut self, bytes: &[u8]) -> Received {
        let mut received = Received { plain: Vec::new(), is_up: false, ended: None };
        let Some(tls) = &mut self.tls else { return received };
        let result = tls.receive(bytes, |part| received.plain.extend_from_slice(part));
        if self.stage == Stage::Securing && tls.is_up() {
            self.stage = Stage::Up;
            received.is_up = true;
        }
        if tls.is_ended() {
            received.ended = Some(CloseCause::Eof);
        }
        if let Err(e) = result {
            // Says why, if that can be said at once.
            let _ = tls.write_to(&mut self.socket);
            received.ended = Some(CloseCause::Tls(e));
        }
        received
    }

    /// Sends as much as the system takes.
    pub(super) fn write(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.write_slices(slices),
            Some(tls) => {
                let mut taken = 0;
                for slice in slices {
                    let wrapped = tls.send(slice);
                    taken += wrapped;
                    if wrapped < slice.len() {
                        break;
                    }
                }
                Ok(taken)
            }
        }
    }

    /// Sends what TLS has wrapped up. False if the system takes no more for now.
    pub(super) fn write_enciphered(&mut self) -> io::Result<bool> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.wants_write() {
            match tls.write_to(&mut self.socket) {
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }
}

/// Streams by slot. A name whose generation is not the tenant's finds nothing.
#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Vec<Option<Stream>>,
}

impl Streams {
    /// Registers `stream` for everything, edge-triggered, and keeps it under its name.
    pub(super) fn insert(&mut self, registry: &Registry, mut stream: Stream) -> io::Result<()> {
        let slot = slot(stream.id);
        stream.socket.register(registry, Token(slot + FIRST_STREAM_TOKEN))?;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(stream);
        }
        Ok(())
    }

    pub(super) fn get_mut(&mut self, id: StreamId) -> Option<&mut Stream> {
        self.at_slot(slot(id)).filter(|stream| stream.id == id)
    }

    /// The stream in this slot now.
    pub(super) fn at_slot(&mut self, slot: usize) -> Option<&mut Stream> {
        self.slots.get_mut(slot)?.as_mut()
    }

    /// Takes the stream out and closes it. What was written is still delivered by the system.
    pub(super) fn close(&mut self, registry: &Registry, id: StreamId) -> bool {
        if self.get_mut(id).is_none() {
            return false;
        }
        if let Some(stream) = self.slots.get_mut(slot(id)).and_then(Option::take) {
            stream.socket.close(registry);
        }
        true
    }
}

/// Has the system ask now and then whether the other side is there.
fn keep_alive(socket: &TcpStream) -> io::Result<()> {
    let keep = socket2::TcpKeepalive::new().with_time(KEEP_ALIVE);
    #[cfg(any(target_os = "linux", target_os = "android", target_os = "macos", windows))]
    let keep = keep.with_interval(KEEP_ALIVE);
    socket2::SockRef::from(socket).set_tcp_keepalive(&keep)
}

/// Where a stream lies. Owners number theirs from 0, so the slots of all owners alternate.
pub(super) fn slot(id: StreamId) -> usize {
    const OWNERS: usize = 5;
    match id {
        StreamId::Peer(key) => key.index as usize * OWNERS,
        StreamId::Tracker(key) => key.index as usize * OWNERS + 1,
        StreamId::WebSeed(key) => key.index as usize * OWNERS + 2,
        StreamId::Relay(key) => key.index as usize * OWNERS + 3,
        StreamId::PortMapping(key) => key.index as usize * OWNERS + 4,
    }
}
