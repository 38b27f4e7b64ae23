//! Streams on their way through the proxy: from the dial of the proxy to the end of its handshake,
//! and of TLS with what is behind it.

use std::{
    io::{ErrorKind, IoSlice},
    net::SocketAddr,
};

use super::Proxy;
use crate::{
    alert::{ProxyError, ProxyErrorKind},
    base::{target::Target, time::Instant},
    conf::{ProxyKind, ProxyServer},
    engine::{CloseCause, Effect, Engine, StreamId},
    proto::proxy::{Made, Refused, Tunnel, TunnelError},
    wire::socks::Refusal,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Opening {
    /// What is said to the proxy; nothing, if it is asked like a server.
    tunnel: Option<Tunnel>,
    /// What TLS is begun with behind the proxy.
    tls: Option<String>,
    is_socks: bool,
    pub(super) stage: Stage,
    /// When the proxy has to have answered.
    pub(super) deadline: Option<Instant>,
    /// Where it was dialled.
    pub(super) proxy: Option<SocketAddr>,
}

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// It is not known where the proxy is.
    Waiting,
    /// The proxy is dialled.
    Connecting,
    /// The proxy is spoken with.
    Talking,
    /// TLS is agreed on with what is behind it.
    Securing,
}

impl Opening {
    pub(super) fn to(
        server: &ProxyServer,
        target: &Target,
        tls: Option<String>,
        forwarded: bool,
    ) -> Self {
        let tunnel = (!forwarded).then(|| Tunnel::to(server, target));
        Self::new(server, tunnel, tls)
    }

    pub(super) fn relay(server: &ProxyServer) -> Self {
        Self::new(server, Some(Tunnel::relay(server)), None)
    }

    fn new(server: &ProxyServer, tunnel: Option<Tunnel>, tls: Option<String>) -> Self {
        let is_socks = server.kind() == ProxyKind::Socks5;
        Self { tunnel, tls, is_socks, stage: Stage::Waiting, deadline: None, proxy: None }
    }

    /// Whether the proxy should have answered by `at`, and has not.
    pub(super) fn is_overdue(&self, at: Instant) -> bool {
        self.is_of_proxy() && self.deadline.is_some_and(|deadline| deadline <= at)
    }

    /// Whether what fails now is the proxy's failure, and not that of what is behind it.
    pub(super) fn is_of_proxy(&self) -> bool {
        match self.stage {
            Stage::Waiting | Stage::Connecting => true,
            // It may be that an HTTP proxy says no more than that of what it cannot reach.
            Stage::Talking => {
                self.is_socks && self.tunnel.as_ref().is_some_and(|tunnel| !tunnel.is_let_in())
            }
            Stage::Securing => false,
        }
    }
}

impl Proxy {
    pub(in crate::engine) fn tunnel_sent(&mut self, stream: StreamId, bytes: usize) {
        let opening = self.openings.get_mut(&stream);
        if let Some(tunnel) = opening.and_then(|opening| opening.tunnel.as_mut()) {
            tunnel.handle_sent(bytes);
        }
    }

    pub(in crate::engine) fn tunnel_transmit<'a>(
        &'a self,
        stream: StreamId,
        out: &mut [IoSlice<'a>],
    ) -> usize {
        let opening = self.openings.get(&stream).filter(|o| o.stage == Stage::Talking);
        let tunnel = opening.and_then(|opening| opening.tunnel.as_ref());
        let bytes = tunnel.map_or(&[][..], Tunnel::poll_transmit);
        match out.first_mut().filter(|_| !bytes.is_empty()) {
            Some(slot) => {
                *slot = IoSlice::new(bytes);
                1
            }
            None => 0,
        }
    }
}

impl Engine {
    /// The proxy is connected, or TLS is agreed on with what is behind it.
    pub(in crate::engine) fn tunnel_connected(&mut self, stream: StreamId) {
        let Some(opening) = self.ways.proxy.openings.get_mut(&stream) else { return };
        match (opening.stage, &opening.tunnel) {
            (Stage::Connecting, Some(_)) => {
                opening.stage = Stage::Talking;
                if !opening.is_socks {
                    // It answers when it has reached the target, for which its owner has a time.
                    opening.deadline = None;
                }
                self.effect(Effect::Flush { stream });
            }
            (Stage::Connecting, None) => {
                self.ways.proxy.openings.remove(&stream);
                self.ways.proxy.counts.opened += 1;
                self.proxy_works();
                self.stream_connected(stream);
            }
            (Stage::Securing, _) => {
                self.ways.proxy.openings.remove(&stream);
                self.stream_connected(stream);
            }
            (Stage::Waiting | Stage::Talking, _) => {}
        }
    }

    /// The proxy has said something.
    pub(in crate::engine) fn tunnel_data(&mut self, stream: StreamId, data: &mut [u8]) {
        let Some(opening) = self.ways.proxy.openings.get_mut(&stream) else { return };
        let (Stage::Talking, Some(tunnel)) = (opening.stage, &mut opening.tunnel) else { return };
        let was_let_in = tunnel.is_let_in();
        match tunnel.handle_data(data) {
            Ok(None) => {
                let has_more = !tunnel.poll_transmit().is_empty();
                if tunnel.is_let_in() && !was_let_in {
                    // What it is to reach has an owner with a time for it; a relay has none.
                    if !matches!(stream, StreamId::Relay(_)) {
                        opening.deadline = None;
                    }
                    self.proxy_works();
                }
                if has_more {
                    self.effect(Effect::Flush { stream });
                }
            }
            Ok(Some(made)) => {
                self.proxy_works();
                self.tunnel_made(stream, made, data);
            }
            Err(error) => {
                self.ways.proxy.openings.remove(&stream);
                self.effect(Effect::Close { stream });
                self.tunnel_refused(stream, error);
            }
        }
    }

    fn tunnel_made(&mut self, stream: StreamId, made: Made, data: &mut [u8]) {
        let Made { used, bound } = made;
        let Some(opening) = self.ways.proxy.openings.get_mut(&stream) else { return };
        let rest = data.get_mut(used..).unwrap_or_default();
        if let StreamId::Relay(key) = stream {
            let proxy = opening.proxy;
            self.ways.proxy.openings.remove(&stream);
            return self.relay_made(key, bound, proxy);
        }
        self.ways.proxy.counts.opened += 1;
        if let Some(name) = opening.tls.take() {
            // Nothing can have come of that yet.
            (opening.stage, opening.deadline) = (Stage::Securing, None);
            return self.effect(Effect::Secure { stream, name });
        }
        self.ways.proxy.openings.remove(&stream);
        self.stream_connected(stream);
        if !rest.is_empty() {
            self.stream_data(stream, rest);
        }
    }

    /// The proxy does not do what it was asked for.
    fn tunnel_refused(&mut self, stream: StreamId, error: TunnelError) {
        let kind = match error {
            TunnelError::Refused(refused) => {
                self.proxy_works();
                self.ways.proxy.counts.refused += 1;
                return self.stream_closed(stream, CloseCause::Io(kind_of(refused)));
            }
            TunnelError::NoRelay(_) => {
                self.proxy_works();
                ProxyErrorKind::NoDatagrams
            }
            TunnelError::Socks(_) | TunnelError::NotHttp | TunnelError::TooLong(_) => {
                ProxyErrorKind::Protocol
            }
            TunnelError::NoMethod | TunnelError::NoPassword | TunnelError::Password => {
                ProxyErrorKind::Refused
            }
        };
        self.fail(stream, ProxyError::new(kind, error.to_string()));
    }

    fn fail(&mut self, stream: StreamId, error: ProxyError) {
        match stream {
            StreamId::Relay(key) => self.relay_failed(key, error),
            stream => self.fail_tunnel(stream, error),
        }
    }

    /// The stream to the proxy is over, or could not be made.
    pub(in crate::engine) fn tunnel_closed(&mut self, stream: StreamId, cause: CloseCause) {
        let Some(opening) = self.ways.proxy.openings.remove(&stream) else { return };
        self.try_proxy_soon();
        // Of those the proxy knows nothing.
        let is_ours = matches!(cause, CloseCause::Exhausted | CloseCause::NoAddress);
        if !is_ours && !opening.is_of_proxy() && !matches!(stream, StreamId::Relay(_)) {
            let cause = match (opening.stage, cause) {
                // It has not led anywhere yet.
                (Stage::Talking, CloseCause::Eof) => CloseCause::Io(ErrorKind::ConnectionAborted),
                (_, cause) => cause,
            };
            return self.stream_closed(stream, cause);
        }
        let (kind, text) = match (opening.stage, cause) {
            (Stage::Connecting, cause) => {
                (ProxyErrorKind::Unreachable, format!("the proxy cannot be reached: {cause}"))
            }
            (_, CloseCause::Eof) => {
                (ProxyErrorKind::Closed, "the proxy closed the connection".to_owned())
            }
            (_, cause) => {
                (ProxyErrorKind::Closed, format!("the connection with the proxy broke: {cause}"))
            }
        };
        self.fail(stream, ProxyError::new(kind, text));
    }

    /// The proxy has not answered in time.
    pub(super) fn tunnel_late(&mut self, stream: StreamId) {
        let Some(opening) = self.ways.proxy.openings.remove(&stream) else { return };
        self.effect(Effect::Close { stream });
        let timeout = self.cx.conf.proxy.timeout;
        let error = if opening.is_of_proxy() {
            let text = format!("the proxy did not answer within {timeout:?}");
            ProxyError::new(ProxyErrorKind::TimedOut, text)
        } else {
            // It has let us in, and may carry all else.
            let text = format!("the proxy did not make a relay of datagrams within {timeout:?}");
            ProxyError::new(ProxyErrorKind::NoDatagrams, text)
        };
        self.fail(stream, error);
    }
}

/// What a system would say of it.
fn kind_of(refused: Refused) -> ErrorKind {
    match refused {
        Refused::Socks(refusal) => match refusal {
            Refusal::NotAllowed => ErrorKind::PermissionDenied,
            Refusal::NetworkUnreachable => ErrorKind::NetworkUnreachable,
            Refusal::General(_) | Refusal::HostUnreachable => ErrorKind::HostUnreachable,
            Refusal::ConnectionRefused => ErrorKind::ConnectionRefused,
            Refusal::Expired => ErrorKind::TimedOut,
            Refusal::Command | Refusal::AddressType => ErrorKind::Unsupported,
        },
        Refused::Http(403) => ErrorKind::PermissionDenied,
        Refused::Http(504) => ErrorKind::TimedOut,
        Refused::Http(_) => ErrorKind::HostUnreachable,
    }
}
