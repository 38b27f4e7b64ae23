//! The proxy: streams that are opened through it, whether it works, and when it is tried again.
//! Datagrams have a relay ([`relay`]).
//!
//! Every stream of peers, trackers and web seeds is opened here, through the proxy or straight. A
//! stream that goes through it is the proxy's until its handshake is over ([`tunnels`]); its owner
//! hears nothing before. A proxy that fails is left alone for a while, and then tried by one stream
//! before all others follow. What a proxy says of one target says nothing of the proxy.

mod health;
mod relay;
mod remote_names;
mod stats;
mod tunnels;

use std::{
    collections::{BTreeMap, VecDeque},
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use crate::{
    alert::{Alert, NoPeers, NoPeersReason, ProxyError, ProxyErrorKind},
    base::{arena::Key, target::Target, time::Instant, timers::Wakeup},
    conf::{ProxyConf, Traffic, Transports},
    engine::{
        CloseCause, Effect, Engine, StreamId,
        dial::Dial,
        io::Owner,
        names::{Asker, Lookup, Resolved},
    },
};
use health::Health;
use relay::Relay;
pub use relay::RelayStatus;
use remote_names::RemoteNames;
pub use stats::ProxyStats;
use tunnels::{Opening, Stage};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Proxy {
    health: Health,
    /// Streams that do not yet lead to where they are to.
    openings: BTreeMap<StreamId, Opening>,
    /// Streams that failed at once, whose owners have not heard of it.
    failed: VecDeque<(StreamId, String)>,
    relay: Relay,
    pub(super) remote_names: RemoteNames,
    wakeup: Wakeup,
    place: Place,
    counts: Counts,
}

/// Where the proxy is.
#[derive(Debug, Default)]
struct Place {
    /// Its name is being looked up.
    resolving: bool,
    /// Which of its addresses is tried.
    turn: usize,
}

/// Streams since the start.
#[derive(Debug, Default)]
struct Counts {
    opened: u64,
    refused: u64,
}

/// Why a stream fails whose owner is less patient than the proxy is given time.
pub(super) const SILENT: &str = "the proxy does not answer";

impl Proxy {
    /// Whether it is for the proxy's sake that a stream leads nowhere yet.
    pub(super) fn is_at_fault(&self, stream: StreamId) -> bool {
        self.openings.get(&stream).is_some_and(Opening::is_of_proxy)
    }

    /// Whether a stream is the proxy's still.
    pub(super) fn has_tunnel(&self, stream: StreamId) -> bool {
        !self.openings.is_empty() && self.openings.contains_key(&stream)
    }

    /// Whether owners are to hear of something.
    pub(super) fn has_news(&self) -> bool {
        !self.failed.is_empty() || self.relay.has_news()
    }

    /// Whether peers may be dialled, as far as the proxy has a say in it.
    pub(super) fn may_dial(&self, now: Instant, conf: &ProxyConf) -> bool {
        !conf.carries(Traffic::Peers) || self.is_open(now)
    }

    /// Whether the proxy may be dialled: it works, or it is time to try.
    fn is_open(&self, now: Instant) -> bool {
        match self.health.retry_at() {
            None => true,
            Some(at) => at <= now && self.openings.is_empty(),
        }
    }

    /// That a torrent has no peers may be for the proxy's sake.
    pub(super) fn explain(&self, no_peers: &mut NoPeers) {
        if self.health.error().is_some() && no_peers.connected == 0 {
            no_peers.why = NoPeersReason::ProxyFailed;
        }
    }

    /// How long what waits for the proxy is put off.
    pub(super) fn pause(&self, conf: &ProxyConf) -> Duration {
        self.health.pause().max(conf.retry_min)
    }

    /// A call is over.
    pub(super) fn forget_call(&mut self, call: Key) {
        self.relay.forget(call);
    }
}

impl Engine {
    /// Opens a stream, through the proxy if that is how it is to go.
    pub(super) fn open_stream(&mut self, stream: StreamId, dial: Dial) {
        let Dial { to, tls, forwarded, traffic } = dial;
        let Some(server) = self.cx.conf.proxy.server_for(traffic) else {
            match to {
                Target::Addr(addr) => self.effect(Effect::Connect { stream, addr, tls }),
                Target::Name { .. } => {
                    let why = "there is no proxy to look the name up".to_owned();
                    self.ways.proxy.failed.push_back((stream, why));
                }
            }
            return;
        };
        let opening = Opening::to(server, &to, tls, forwarded);
        self.open_tunnel(stream, opening);
    }

    /// Opens a stream to the proxy.
    fn open_tunnel(&mut self, stream: StreamId, opening: Opening) {
        if !self.ways.proxy.is_open(self.cx.now) {
            let why = self.ways.proxy.health.why();
            self.ways.proxy.failed.push_back((stream, why));
            return;
        }
        self.ways.proxy.openings.insert(stream, opening);
        self.dial_proxy(stream);
    }

    /// A stream is not wanted any more. Its owner hears no more of it.
    pub(super) fn close_stream(&mut self, stream: StreamId) {
        self.ways.proxy.failed.retain(|(failed, _)| *failed != stream);
        let opening = self.ways.proxy.openings.remove(&stream);
        if opening.as_ref().is_none_or(|opening| opening.stage != Stage::Waiting) {
            self.effect(Effect::Close { stream });
        }
        if opening.is_some() {
            self.try_proxy_soon();
        }
        // An owner may be less patient with what it thinks is its peer.
        let (now, patience) = (self.cx.now, self.cx.conf.proxy.timeout / 2);
        if opening.is_some_and(|opening| opening.is_overdue(now + patience))
            && !self.shutdown.has_begun()
        {
            self.proxy_failed(ProxyError::new(ProxyErrorKind::TimedOut, SILENT));
        }
    }

    /// What peers are dialled by: a proxy may carry no datagrams.
    pub(super) fn dialled_transports(&self) -> Transports {
        match self.cx.conf.network.transports {
            Transports::Both if !self.cx.conf.proxy.may_send_datagrams(Traffic::Peers) => {
                Transports::Tcp
            }
            transports => transports,
        }
    }

    /// Tells owners what failed at once.
    pub(super) fn hear_proxy(&mut self) {
        while let Some((stream, why)) = self.ways.proxy.failed.pop_front() {
            self.stream_closed(stream, CloseCause::Proxy(why));
        }
        self.hear_relay();
    }

    /// Connects a stream with the proxy, once it is known where that is.
    fn dial_proxy(&mut self, stream: StreamId) {
        let addr = match self.proxy_addr() {
            None => return,
            Some(Ok(addr)) => addr,
            Some(Err(why)) => {
                let error = ProxyError::new(ProxyErrorKind::NameNotFound, why);
                self.ways.proxy.openings.remove(&stream);
                return self.fail_tunnel(stream, error);
            }
        };
        let timeout = self.cx.conf.proxy.timeout;
        if let Some(opening) = self.ways.proxy.openings.get_mut(&stream) {
            let deadline = self.cx.now + timeout;
            (opening.stage, opening.deadline) = (Stage::Connecting, Some(deadline));
            opening.proxy = Some(addr);
            self.effect(Effect::Connect { stream, addr, tls: None });
            self.wake_proxy(deadline);
        }
    }

    /// Where the proxy is; `None` as long as its name is looked up.
    fn proxy_addr(&mut self) -> Option<Result<SocketAddr, String>> {
        let server = self.cx.conf.proxy.server.as_ref()?;
        let (host, port) = (server.host().to_owned(), server.port());
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Some(Ok(SocketAddr::new(ip, port)));
        }
        if self.ways.proxy.place.resolving {
            return None;
        }
        match self.io.names.look_up(self.cx.now, Asker::Proxy, &host) {
            Lookup::Known(known) => Some(self.pick_proxy_addr(&known, port)),
            Lookup::Shared => {
                self.ways.proxy.place.resolving = true;
                None
            }
            Lookup::Ask => {
                self.ways.proxy.place.resolving = true;
                self.effect(Effect::Resolve { host });
                None
            }
        }
    }

    /// One address after the other, as they fail.
    fn pick_proxy_addr(&self, known: &Resolved, port: u16) -> Result<SocketAddr, String> {
        let ips = known.as_ref().map_err(|why| format!("the proxy's name was not found: {why}"))?;
        let at = self.ways.proxy.place.turn.checked_rem(ips.len());
        match at.and_then(|at| ips.get(at)) {
            Some(ip) => Ok(SocketAddr::new(ip.to_canonical(), port)),
            None => Err("the proxy's name has no address".into()),
        }
    }

    /// The proxy's name was looked up, or could not be.
    pub(super) fn proxy_resolved(&mut self) {
        self.ways.proxy.place.resolving = false;
        let is_waiting = |opening: &&Opening| matches!(opening.stage, Stage::Waiting);
        let openings = self.ways.proxy.openings.iter();
        let waiting: Vec<StreamId> =
            openings.filter(|(_, o)| is_waiting(o)).map(|(&stream, _)| stream).collect();
        for stream in waiting {
            self.dial_proxy(stream);
        }
    }

    /// The proxy has failed, and with it the stream, which is not among the openings any more.
    fn fail_tunnel(&mut self, stream: StreamId, error: ProxyError) {
        let why = error.to_string();
        self.proxy_failed(error);
        self.ways.proxy.failed.push_back((stream, why));
    }

    /// The proxy has failed: nothing is tried with it for a while.
    fn proxy_failed(&mut self, error: ProxyError) {
        let (now, conf) = (self.cx.now, &self.cx.conf.proxy);
        self.ways.proxy.place.turn = self.ways.proxy.place.turn.wrapping_add(1);
        let is_news = self.ways.proxy.health.fail(now, &error, conf);
        if let Some(at) = self.ways.proxy.health.retry_at() {
            self.wake_proxy(at);
        }
        if is_news {
            log::warn!("{error}");
            let retry_in = self.ways.proxy.health.pause();
            self.cx.alerts.push(Alert::ProxyFailed { error, datagrams: false, retry_in });
        }
    }

    /// The proxy has let us in.
    fn proxy_works(&mut self) {
        if self.ways.proxy.health.recover() {
            log::info!("the proxy works again");
            self.cx.alerts.push(Alert::ProxyRecovered { datagrams: false });
            self.handle_relay_timeout();
            self.dialing.look_again();
            self.dial_candidates();
            self.hurry_announces();
        }
    }

    /// A stream to the proxy is over, and with it perhaps the one that was to find out whether the
    /// proxy works again: another may.
    fn try_proxy_soon(&mut self) {
        if self.ways.proxy.health.retry_at().is_some() {
            self.wake_proxy(self.cx.now + self.cx.conf.proxy.retry_min);
        }
    }

    fn wake_proxy(&mut self, at: Instant) {
        if self.ways.proxy.wakeup.want(at) {
            self.io.wake(at, Owner::Proxy);
        }
    }

    /// It is time for a stream to the proxy, or to try it again.
    pub(super) fn handle_proxy_timeout(&mut self, at: Instant) {
        if !self.ways.proxy.wakeup.fire(at) {
            return;
        }
        let now = self.cx.now;
        let is_late = |opening: &Opening| opening.deadline.is_some_and(|at| at <= now);
        let openings = self.ways.proxy.openings.iter();
        let late: Vec<StreamId> =
            openings.filter(|(_, o)| is_late(o)).map(|(&stream, _)| stream).collect();
        for stream in late {
            self.tunnel_late(stream);
        }
        self.handle_relay_timeout();
        if self.ways.proxy.health.retry_at().is_some_and(|at| at <= now) {
            self.dial_candidates();
        }
        let deadlines = self.ways.proxy.openings.values().filter_map(|opening| opening.deadline);
        let own = [self.ways.proxy.health.retry_at(), self.ways.proxy.relay.retry_at()];
        let next = deadlines.chain(own.into_iter().flatten()).filter(|at| *at > now).min();
        if let Some(next) = next {
            self.wake_proxy(next);
        }
    }
}
