//! Datagrams through the proxy (RFC 1928 §7): a relay, which lasts as long as the stream it was
//! asked for on. While there is none datagrams are dropped, and a relay is asked for; they never
//! leave straight.
//!
//! A question to a tracker is held until the relay is there, or has failed: it would not be
//! repeated for a quarter of a minute.

use std::{
    collections::{BTreeMap, VecDeque},
    net::SocketAddr,
};

use super::{health::Health, tunnels::Opening};
use crate::{
    alert::{Alert, ProxyError, ProxyErrorKind},
    base::{
        arena::{Arena, Key},
        target::Target,
        time::Instant,
    },
    conf::{ProxyServer, Traffic},
    engine::{DatagramOwner, Effect, Engine, StreamId},
    wire::socks,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Relay {
    /// Names of its streams, each another.
    names: Arena<()>,
    state: State,
    health: Health,
    /// The last question of each call to a tracker that has one waiting.
    held: BTreeMap<Key, (Target, Vec<u8>)>,
    /// Calls whose question cannot be sent, and why.
    unsent: VecDeque<(Key, String)>,
    sent: u64,
    received: u64,
    dropped: u64,
}

#[derive(Clone, Copy, Debug)]
enum State {
    None,
    /// It is asked for on this stream.
    Opening(Key),
    /// It takes datagrams here.
    Up(Key, SocketAddr),
}

/// How the relay for datagrams stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayStatus {
    /// There is none: no datagram was to be sent yet, or it has failed.
    None,
    /// It is asked for.
    Opening,
    /// Datagrams go there.
    Up(SocketAddr),
}

impl Default for Relay {
    fn default() -> Self {
        Self {
            names: Arena::new(),
            state: State::None,
            health: Health::default(),
            held: BTreeMap::new(),
            unsent: VecDeque::new(),
            sent: 0,
            received: 0,
            dropped: 0,
        }
    }
}

impl Relay {
    pub(super) fn has_news(&self) -> bool {
        !self.unsent.is_empty()
    }

    pub(super) fn forget(&mut self, call: Key) {
        if !self.held.is_empty() {
            self.held.remove(&call);
        }
    }

    /// Whether there is none, and none is asked for.
    fn is_out(&self) -> bool {
        matches!(self.state, State::None)
    }

    /// When it is asked for again, if it has failed.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        self.health.retry_at()
    }

    pub(super) fn status(&self) -> RelayStatus {
        match self.state {
            State::None => RelayStatus::None,
            State::Opening(_) => RelayStatus::Opening,
            State::Up(_, addr) => RelayStatus::Up(addr),
        }
    }

    pub(super) fn error(&self) -> Option<&ProxyError> {
        self.health.error()
    }

    /// Datagrams that were sent, received, and dropped.
    pub(super) fn counts(&self) -> (u64, u64, u64) {
        (self.sent, self.received, self.dropped)
    }

    /// The name of the stream that it lives by is used no more.
    fn end(&mut self, key: Key) {
        self.names.remove(key);
        self.state = State::None;
    }
}

impl super::Proxy {
    /// Whether a datagram from there is the relay's.
    pub(in crate::engine) fn is_relay(&self, from: SocketAddr) -> bool {
        match self.relay.state {
            State::Up(_, addr) => {
                (addr.ip(), addr.port()) == (from.ip().to_canonical(), from.port())
            }
            _ => false,
        }
    }

    /// Whether a relay lives by this stream, or will.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::engine) fn has_relay(&self, key: Key) -> bool {
        match self.relay.state {
            State::None => false,
            State::Opening(name) | State::Up(name, _) => name == key,
        }
    }

    /// It has brought a datagram.
    pub(in crate::engine) fn note_received(&mut self) {
        self.relay.received += 1;
    }
}

impl Engine {
    /// Sends a datagram, by the relay if that is how it is to go.
    pub(in crate::engine) fn send_datagram(
        &mut self,
        owner: DatagramOwner,
        traffic: Traffic,
        to: Target,
        data: Vec<u8>,
    ) {
        if !self.cx.conf.proxy.carries(traffic) {
            if let Target::Addr(to) = to {
                self.effect(Effect::Datagram { owner, to, data });
            }
            return;
        }
        if let State::Up(_, relay) = self.ways.proxy.relay.state {
            let mut wrapped = Vec::with_capacity(socks::header_len(&to) + data.len());
            socks::encode_datagram(&to, &data, &mut wrapped);
            self.ways.proxy.relay.sent += 1;
            return self.effect(Effect::Datagram { owner, to: relay, data: wrapped });
        }
        match owner {
            DatagramOwner::Tracker(call) => match self.ways.proxy.relay.health.error() {
                // A question that would wait for long fails, and its tracker is asked later.
                Some(why) if self.ways.proxy.relay.is_out() && !self.may_open_relay() => {
                    let news = (call, why.to_string());
                    self.ways.proxy.relay.unsent.push_back(news);
                }
                _ => _ = self.ways.proxy.relay.held.insert(call, (to, data)),
            },
            _ => self.ways.proxy.relay.dropped += 1,
        }
        self.open_relay();
    }

    /// Sends datagrams of uTP, each of `segment` bytes and the last maybe shorter.
    #[must_use]
    pub(in crate::engine) fn send_segments(
        &mut self,
        to: SocketAddr,
        data: Vec<u8>,
        segment: usize,
        unfragmented: bool,
    ) -> Option<Effect> {
        if !self.cx.conf.proxy.carries(Traffic::Peers) {
            return Some(Effect::Segments { to, data, segment, unfragmented });
        }
        let segment = segment.max(1);
        let count = data.len().div_ceil(segment);
        let State::Up(_, relay) = self.ways.proxy.relay.state else {
            self.ways.proxy.relay.dropped += count as u64;
            self.open_relay();
            // Or there would be nothing to wait for.
            return self.io.poll(&mut self.cx.outbox);
        };
        let target = Target::Addr(to);
        let header = socks::header_len(&target);
        let mut wrapped = Vec::with_capacity(data.len() + count * header);
        for part in data.chunks(segment) {
            socks::encode_datagram(&target, part, &mut wrapped);
        }
        self.ways.proxy.relay.sent += count as u64;
        let segment = segment + header;
        Some(Effect::Segments { to: relay, data: wrapped, segment, unfragmented })
    }

    fn may_open_relay(&self) -> bool {
        let (relay, now) = (&self.ways.proxy.relay, self.cx.now);
        relay.is_out()
            && relay.retry_at().is_none_or(|at| at <= now)
            && self.ways.proxy.is_open(now)
    }

    /// Asks for a relay, if there is none and it is time.
    fn open_relay(&mut self) {
        let server = self.cx.conf.proxy.server.as_ref();
        let Some(server) = server.filter(|server| server.may_carry_datagrams()) else { return };
        if self.may_open_relay() {
            let opening = Opening::relay(server);
            let key = self.ways.proxy.relay.names.insert(());
            self.ways.proxy.relay.state = State::Opening(key);
            self.open_tunnel(StreamId::Relay(key), opening);
        }
    }

    /// There is a relay.
    pub(super) fn relay_made(
        &mut self,
        key: Key,
        bound: Option<Target>,
        proxy: Option<SocketAddr>,
    ) {
        // Many proxies say 0.0.0.0 where they mean their own address; a name would have to be
        // looked up here.
        let ip = match bound.as_ref().and_then(Target::ip) {
            Some(ip) if !ip.is_unspecified() => Some(ip),
            _ => proxy.map(|proxy| proxy.ip()),
        };
        let port = bound.as_ref().map(Target::port).filter(|port| *port != 0);
        let Some((ip, port)) = ip.zip(port) else {
            self.effect(Effect::Close { stream: StreamId::Relay(key) });
            let text = "the proxy does not say where it takes datagrams";
            return self.relay_failed(key, ProxyError::new(ProxyErrorKind::Protocol, text));
        };
        let addr = SocketAddr::new(ip.to_canonical(), port);
        log::debug!("datagrams go through the proxy at {addr}");
        self.ways.proxy.relay.state = State::Up(key, addr);
        if self.ways.proxy.relay.health.recover() {
            self.cx.alerts.push(Alert::ProxyRecovered { datagrams: true });
            self.hurry_announces();
        }
        if self.cx.conf.proxy.carries(Traffic::Dht) {
            // What it has asked before was dropped.
            self.verbs().dht_network_changed();
        }
        for (call, (to, data)) in std::mem::take(&mut self.ways.proxy.relay.held) {
            self.send_datagram(DatagramOwner::Tracker(call), Traffic::Trackers, to, data);
        }
    }

    /// There is none, or none any more.
    pub(super) fn relay_failed(&mut self, key: Key, error: ProxyError) {
        self.ways.proxy.relay.end(key);
        let why = error.to_string();
        let held = std::mem::take(&mut self.ways.proxy.relay.held);
        self.ways.proxy.relay.unsent.extend(held.into_keys().map(|call| (call, why.clone())));
        let (now, conf) = (self.cx.now, &self.cx.conf.proxy);
        if self.ways.proxy.relay.health.fail(now, &error, conf) {
            log::warn!("{error}");
            let retry_in = self.ways.proxy.relay.health.pause();
            self.cx.alerts.push(Alert::ProxyFailed {
                error: error.clone(),
                datagrams: true,
                retry_in,
            });
        }
        if let Some(at) = self.ways.proxy.relay.retry_at() {
            self.wake_proxy(at);
        }
        if !matches!(error.kind, ProxyErrorKind::NoDatagrams | ProxyErrorKind::Closed) {
            self.proxy_failed(error);
        }
    }

    /// The stream is over that the relay lives by; it was not opened, if the proxy is left alone.
    pub(in crate::engine) fn relay_closed(&mut self, key: Key) {
        let is_it = match self.ways.proxy.relay.state {
            State::None => false,
            State::Opening(name) | State::Up(name, _) => name == key,
        };
        if is_it {
            let text = "the proxy has ended the relay of datagrams";
            let error = match self.ways.proxy.health.error() {
                Some(error) => error.clone(),
                None => ProxyError::new(ProxyErrorKind::Closed, text),
            };
            self.relay_failed(key, error);
        }
    }

    /// Calls hear that their questions cannot be sent.
    pub(super) fn hear_relay(&mut self) {
        while let Some((call, why)) = self.ways.proxy.relay.unsent.pop_front() {
            self.call_proxy_failed(call, why);
        }
    }

    /// It may be time to ask for a relay again.
    pub(super) fn handle_relay_timeout(&mut self) {
        if self.ways.proxy.relay.retry_at().is_some() && !self.shutdown.has_begun() {
            self.open_relay();
        }
    }

    /// A relay is wanted from the start, so that nothing is dropped at first.
    pub(in crate::engine) fn start_relay(&mut self) {
        let conf = &self.cx.conf;
        let carries =
            |traffic| conf.proxy.server_for(traffic).is_some_and(ProxyServer::may_carry_datagrams);
        let utp = conf.network.transports.utp() && carries(Traffic::Peers);
        if utp || (conf.dht.enabled && carries(Traffic::Dht)) {
            self.open_relay();
        }
    }
}
