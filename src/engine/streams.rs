//! What the driver tells of streams, and what it asks: each input and output finds the owner of its
//! stream here.
//!
//! A new owner of streams is a variant of [`StreamId`] and an arm in each of these.

use std::io::IoSlice;

use crate::{
    base::time::Instant,
    engine::{CloseCause, Engine, StreamId},
};

/// Bytes that are read at once while a proxy is spoken with.
const TUNNEL_QUOTA: usize = 16 * 1024;

impl Engine {
    // Inputs.

    /// A stream that was to be made is connected, with TLS if that was asked for: bytes may be
    /// sent.
    pub fn handle_connected(&mut self, now: Instant, stream: StreamId) {
        self.handle_tick(now);
        if self.ways.proxy.has_tunnel(stream) {
            return self.tunnel_connected(stream);
        }
        self.stream_connected(stream);
    }

    /// A stream leads to where it was to.
    pub(super) fn stream_connected(&mut self, stream: StreamId) {
        match stream {
            StreamId::Peer(key) => self.connection_connected(key),
            StreamId::Tracker(call) => self.call_connected(call),
            StreamId::WebSeed(key) => self.web_seed_connected(key),
            StreamId::Relay(_) => {}
            StreamId::PortMapping(key) => self.mapping_connected(key),
        }
    }

    /// Bytes came on a stream. What becomes of them in `data` afterwards is undefined: a cipher
    /// works in place.
    pub fn handle_data(&mut self, now: Instant, stream: StreamId, data: &mut [u8]) {
        self.handle_tick(now);
        if self.ways.proxy.has_tunnel(stream) {
            return self.tunnel_data(stream, data);
        }
        self.stream_data(stream, data);
    }

    /// Bytes came from where a stream leads to.
    pub(super) fn stream_data(&mut self, stream: StreamId, data: &mut [u8]) {
        match stream {
            StreamId::Peer(key) => self.connection_data(key, data),
            StreamId::Tracker(call) => self.call_data(call, data),
            StreamId::WebSeed(key) => self.web_seed_data(key, data),
            // A relay says nothing on the stream that it lives by.
            StreamId::Relay(_) => {}
            StreamId::PortMapping(key) => self.mapping_data(key, data),
        }
    }

    /// So many bytes that [`poll_transmit`](Self::poll_transmit) showed are on their way.
    pub fn handle_sent(&mut self, now: Instant, stream: StreamId, bytes: usize) {
        self.handle_tick(now);
        if self.ways.proxy.has_tunnel(stream) {
            return self.ways.proxy.tunnel_sent(stream, bytes);
        }
        match stream {
            StreamId::Relay(_) => {}
            StreamId::PortMapping(key) => self.mapping_sent(key, bytes),
            StreamId::Peer(key) => self.connection_sent(key, bytes),
            StreamId::Tracker(call) => self.call_sent(call, bytes),
            StreamId::WebSeed(key) => self.web_seed_sent(key, bytes),
        }
    }

    /// A stream's socket takes no more bytes for now, or takes them again. Nothing is read from
    /// disk for one that does not, and where memory is short what was read for it is given up
    /// until it does.
    pub fn handle_writable(&mut self, now: Instant, stream: StreamId, writable: bool) {
        self.handle_tick(now);
        match stream {
            StreamId::Peer(key) => self.connection_writable(key, writable),
            // A question waits in its call, and so does a request, whatever the socket says.
            StreamId::Tracker(_)
            | StreamId::WebSeed(_)
            | StreamId::Relay(_)
            | StreamId::PortMapping(_) => {}
        }
    }

    /// A stream is over, or could not be made.
    pub fn handle_closed(&mut self, now: Instant, stream: StreamId, cause: CloseCause) {
        self.handle_tick(now);
        if self.ways.proxy.has_tunnel(stream) {
            return self.tunnel_closed(stream, cause);
        }
        self.stream_closed(stream, cause);
    }

    /// A stream does not lead any more to where it was to, or never did.
    pub(super) fn stream_closed(&mut self, stream: StreamId, cause: CloseCause) {
        match stream {
            StreamId::Peer(key) => self.connection_closed(key, cause),
            StreamId::Tracker(call) => self.call_closed(call, cause),
            StreamId::WebSeed(key) => self.web_seed_closed(key, cause),
            StreamId::Relay(key) => self.relay_closed(key),
            StreamId::PortMapping(key) => self.mapping_closed(key, cause),
        }
    }

    // Outputs.

    /// How many bytes the driver may read from `stream` now; `usize::MAX` without a limit. To be
    /// asked before each read, which is then to be told with
    /// [`handle_data`](Self::handle_data). At zero the socket is to be left unread, so that TCP
    /// holds the other side back, until [`Effect::Resume`](crate::driver::Effect::Resume).
    #[must_use]
    pub fn read_quota(&mut self, now: Instant, stream: StreamId) -> usize {
        match stream {
            stream if self.ways.proxy.has_tunnel(stream) => TUNNEL_QUOTA,
            StreamId::Relay(_) => TUNNEL_QUOTA,
            StreamId::Peer(key) => self.connection_quota(now, key),
            // A call ends before it takes in more than its reply may have.
            StreamId::Tracker(_) | StreamId::PortMapping(_) => usize::MAX,
            StreamId::WebSeed(key) => self.web_seed_quota(now, key),
        }
    }

    /// Fills `out` with what is to be sent next on `stream`, as far as limits allow; returns how
    /// many slices it used, 0 when there is nothing, or nothing yet:
    /// [`Effect::Flush`](crate::driver::Effect::Flush) tells when there is more. Tell what was sent
    /// with [`handle_sent`](Self::handle_sent) before asking for another stream.
    #[must_use]
    pub fn poll_transmit<'a>(&'a mut self, stream: StreamId, out: &mut [IoSlice<'a>]) -> usize {
        if self.ways.proxy.has_tunnel(stream) {
            return self.ways.proxy.tunnel_transmit(stream, out);
        }
        match stream {
            StreamId::Peer(key) => self.connection_transmit(key, out),
            StreamId::Tracker(call) => self.call_transmit(call, out),
            StreamId::WebSeed(key) => self.web_seed_transmit(key, out),
            StreamId::Relay(_) => 0,
            StreamId::PortMapping(key) => self.mapping_transmit(key, out),
        }
    }
}
