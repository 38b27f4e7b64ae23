//! The streams of calls to trackers, by call key: making, reading, writing, ending, TLS. No HTTP.
//! They are few and carry little, so nothing here is made for speed.

use std::{
    io::{self, Read, Write},
    net::SocketAddr,
};

use mio::{Registry, Token, event::Event};

use super::{
    outgoing::Outgoing,
    quiet::QuietStream,
    run_queue::RunQueue,
    tls::{Tls, TlsConf},
};
use crate::{
    base::{arena::Key, time::Instant},
    engine::Engine,
};

/// Tokens from here on are streams'; no link's slot comes so far.
pub(super) const FIRST_STREAM_TOKEN: usize = usize::MAX / 2;

/// Streams served a turn, and reads of one of them.
const STREAMS_A_TURN: usize = 64;
const READS: usize = 4;
/// Bytes a read.
const READ_LEN: usize = 16 * 1024;

#[derive(Debug)]
struct Stream {
    call: Key,
    socket: QuietStream,
    tls: Option<Tls>,
    connecting: bool,
    /// The engine knows that it is up.
    up: bool,
    readable: bool,
    writable: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Streams {
    slots: Vec<Option<Stream>>,
    ready: RunQueue,
}

/// Why a stream is over: `Ok` in good order.
type Ended = Result<(), String>;

impl Streams {
    /// Whether some were not served to the end.
    pub(super) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Starts connecting.
    pub(super) fn connect(
        &mut self,
        registry: &Registry,
        outgoing: &Outgoing,
        call: Key,
        addr: SocketAddr,
        tls: Option<Tls>,
    ) -> io::Result<()> {
        self.close(registry, call);
        let mut socket = QuietStream::new(outgoing.connect(addr)?);
        let slot = call.index as usize;
        socket.register(registry, Token(FIRST_STREAM_TOKEN + slot))?;
        if slot >= self.slots.len() {
            self.slots.resize_with(slot + 1, || None);
        }
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Some(Stream {
                call,
                socket,
                tls,
                connecting: true,
                up: false,
                readable: false,
                writable: false,
            });
        }
        Ok(())
    }

    pub(super) fn close(&mut self, registry: &Registry, call: Key) {
        let slot = call.index as usize;
        let Some(place) = self.slots.get_mut(slot) else { return };
        if let Some(mut stream) = place.take_if(|stream| stream.call == call) {
            let _ = stream.socket.deregister(registry);
        }
    }

    pub(super) fn handle_event(&mut self, slot: usize, event: &Event) {
        if let Some(stream) = self.slots.get_mut(slot).and_then(Option::as_mut) {
            stream.readable |= event.is_readable() || event.is_read_closed() || event.is_error();
            stream.writable |= event.is_writable() || event.is_error();
            self.ready.push(slot);
        }
    }

    /// Serves those that are ready.
    pub(super) fn serve(
        &mut self,
        registry: &Registry,
        now: Instant,
        engine: &mut Engine,
        scratch: &mut [u8],
    ) {
        for _ in 0..self.ready.len().min(STREAMS_A_TURN) {
            let Some(slot) = self.ready.pop() else { break };
            let Some(stream) = self.slots.get_mut(slot).and_then(Option::as_mut) else { continue };
            let call = stream.call;
            match stream.serve(now, engine, scratch) {
                Ok(true) => self.ready.push(slot),
                Ok(false) => {}
                Err(ended) => {
                    self.close(registry, call);
                    engine.handle_tracker_ended(now, call, ended);
                }
            }
        }
    }

    /// There is something to send.
    pub(super) fn flush(
        &mut self,
        registry: &Registry,
        now: Instant,
        engine: &mut Engine,
        call: Key,
    ) {
        let stream = self.slots.get_mut(call.index as usize).and_then(Option::as_mut);
        let Some(stream) = stream.filter(|stream| stream.call == call && stream.up) else { return };
        if let Err(e) = stream.write(now, engine) {
            self.close(registry, call);
            engine.handle_tracker_ended(now, call, Err(in_words(&e)));
        }
    }
}

impl Stream {
    /// Does what can be done; whether there may be more to read. An error is the end.
    fn serve(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        scratch: &mut [u8],
    ) -> Result<bool, Ended> {
        if self.connecting && !self.finish_connecting().map_err(|e| Err(in_words(&e)))? {
            return Ok(false);
        }
        self.tell_up(now, engine);
        // What a server says before it hangs up is worth reading, so failing to write is told
        // afterwards.
        let written = self.write(now, engine);
        let more = self.read(now, engine, scratch)?;
        self.tell_up(now, engine);
        written.and_then(|()| self.write(now, engine)).map_err(|e| Err(in_words(&e)))?;
        Ok(more)
    }

    fn finish_connecting(&mut self) -> io::Result<bool> {
        let connected = self.socket.is_connected()?;
        if connected {
            self.connecting = false;
            self.writable = true;
        }
        Ok(connected)
    }

    fn tell_up(&mut self, now: Instant, engine: &mut Engine) {
        if !self.up && self.tls.as_ref().is_none_or(Tls::is_up) {
            self.up = true;
            engine.handle_tracker_connected(now, self.call);
        }
    }

    fn read(
        &mut self,
        now: Instant,
        engine: &mut Engine,
        scratch: &mut [u8],
    ) -> Result<bool, Ended> {
        let len = scratch.len().min(READ_LEN);
        let buf = scratch.get_mut(..len).unwrap_or_default();
        for _ in 0..READS {
            if !self.readable {
                return Ok(false);
            }
            match self.socket.read(buf) {
                Ok(0) if self.tls.is_some() => return Err(Err("the connection broke off".into())),
                Ok(0) => return Err(Ok(())),
                Ok(len) => self.take(now, engine, buf.get(..len).unwrap_or_default())?,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(Err(in_words(&e))),
            }
        }
        Ok(self.readable)
    }

    fn take(&mut self, now: Instant, engine: &mut Engine, bytes: &[u8]) -> Result<(), Ended> {
        let Some(tls) = &mut self.tls else {
            engine.handle_tracker_data(now, self.call, bytes);
            return Ok(());
        };
        // What comes right behind the handshake comes after it.
        let (mut plain, up) = (Vec::new(), self.up);
        let received = tls.receive(bytes, |bytes| plain.extend_from_slice(bytes));
        let (is_up, ended) = (tls.is_up(), tls.is_ended());
        if !up && is_up {
            self.tell_up(now, engine);
        }
        if !plain.is_empty() {
            engine.handle_tracker_data(now, self.call, &plain);
        }
        if let Err(e) = received {
            // Says why, if that can be said at once.
            if let Some(tls) = &mut self.tls {
                let _ = tls.write_to(&mut self.socket);
            }
            return Err(Err(e));
        }
        if ended { Err(Ok(())) } else { Ok(()) }
    }

    /// Sends as much as the system takes.
    fn write(&mut self, now: Instant, engine: &mut Engine) -> io::Result<()> {
        while self.writable && !self.connecting {
            if let Some(tls) = &mut self.tls {
                if self.up {
                    let plain = engine.tracker_transmit(self.call);
                    let taken = if plain.is_empty() { 0 } else { tls.send(plain) };
                    if taken > 0 {
                        engine.handle_tracker_sent(now, self.call, taken);
                    }
                }
                if !tls.wants_write() {
                    return Ok(());
                }
                match tls.write_to(&mut self.socket) {
                    Ok(_) => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                    Err(e) => return Err(e),
                }
                continue;
            }
            let bytes = engine.tracker_transmit(self.call);
            if !self.up || bytes.is_empty() {
                return Ok(());
            }
            match self.socket.write(bytes) {
                Ok(len) => engine.handle_tracker_sent(now, self.call, len),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }
}

fn in_words(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::ConnectionReset => "the connection was reset".into(),
        _ => e.to_string(),
    }
}

/// Makes a call's TLS, if it wants any.
pub(super) fn tls_for(conf: &mut TlsConf, name: Option<&str>) -> Result<Option<Tls>, String> {
    name.map(|name| Tls::new(conf, name)).transpose()
}
