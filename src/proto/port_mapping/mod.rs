//! Ports mapped by the router of the network (RFC 6886, RFC 6887, UPnP IGD 1 and 2), so that peers
//! outside reach us: asked for by PCP, then by NAT-PMP, then by UPnP, whichever it speaks first;
//! renewed before they end, and taken back at the end.
//!
//! [`PortMapper`] is one state machine for one router. It trusts the router as far as that may know
//! our ports anyway: it hears none but it, and asks nothing of any other host, whatever it says.

mod datagrams;
mod event;
#[doc(hidden)]
pub mod probe;
#[cfg(test)]
mod tests;
mod upnp;

use std::{
    collections::VecDeque,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::{
    base::{rng::Rng, time::Instant},
    conf::PortMappingConf,
    wire::port_mapping::{GATEWAY_PORT, Transport, ssdp},
};
use datagrams::{Datagrams, Dialect};
pub(crate) use event::{Ask, Gateway, Mapped, MappingEvent, MappingMethod};
use upnp::Upnp;

/// How long after a failure of all methods they are tried again.
const REST: Duration = Duration::from_secs(600);

/// A port that is to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) transport: Transport,
    pub(crate) port: u16,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct PortMapper {
    conf: PortMappingConf,
    /// It is only forked: a port has the same nonce each time, or a router that was out of reach
    /// for a while would take us for another client.
    rng: Rng,
    gateway: Option<Gateway>,
    wanted: Vec<Wanted>,
    stage: Stage,
    asks: VecDeque<Ask>,
    events: VecDeque<MappingEvent>,
    removal: Removal,
}

/// Whether everything is being taken back, by when at the latest, and what comes then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Removal {
    None,
    /// Other ports are mapped.
    Anew(Instant),
    /// Nothing, for good.
    End(Instant),
}

#[derive(Debug)]
enum Stage {
    /// There is nothing to map, or no router.
    Idle,
    Datagrams(Datagrams),
    Upnp(Box<Upnp>),
    /// No method has worked.
    Resting(Instant),
}

/// What a method has come to.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// It goes on.
    Going,
    /// It does not work, and why.
    Failed(String),
    /// Everything was taken back.
    Removed,
}

/// What a method works with.
struct Cx<'a> {
    now: Instant,
    conf: &'a PortMappingConf,
    gateway: Gateway,
    asks: &'a mut VecDeque<Ask>,
    events: &'a mut VecDeque<MappingEvent>,
}

impl PortMapper {
    pub(crate) fn new(conf: PortMappingConf, rng: Rng) -> Self {
        Self {
            conf,
            rng,
            gateway: None,
            wanted: Vec::new(),
            stage: Stage::Idle,
            asks: VecDeque::new(),
            events: VecDeque::new(),
            removal: Removal::None,
        }
    }

    // The owner's verbs.

    /// These are to be mapped, and no others: what was mapped before is taken back first, within
    /// [`PortMappingConf::remove_timeout`].
    pub(crate) fn want(&mut self, now: Instant, wanted: Vec<Wanted>) {
        if self.wanted != wanted && !self.is_ending() {
            self.wanted = wanted;
            if self.removal == Removal::None {
                self.removal = Removal::Anew(now + self.conf.remove_timeout);
                self.take_back(now);
            }
        }
    }

    /// Takes everything back, within [`PortMappingConf::remove_timeout`].
    pub(crate) fn stop(&mut self, now: Instant) {
        if !self.is_ending() {
            self.removal = Removal::End(now + self.conf.remove_timeout);
            self.take_back(now);
        }
    }

    fn take_back(&mut self, now: Instant) {
        self.with(now, |stage, cx| match stage {
            Stage::Datagrams(line) => line.remove(cx),
            Stage::Upnp(upnp) => upnp.remove(cx),
            Stage::Idle | Stage::Resting(_) => Outcome::Removed,
        });
    }

    /// Whether nothing is left to be taken back.
    pub(crate) fn is_over(&self) -> bool {
        self.is_ending() && matches!(self.stage, Stage::Idle)
    }

    // Inputs.

    /// The router is this one, or there is none.
    pub(crate) fn handle_gateway(&mut self, now: Instant, gateway: Option<Gateway>) {
        if self.gateway != gateway && !self.is_ending() {
            self.gateway = gateway;
            self.begin(now);
        }
    }

    /// A datagram came; true if it was the router's.
    pub(crate) fn handle_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) -> bool {
        let Some(gateway) = self.gateway else { return false };
        if from.ip().to_canonical() != IpAddr::V4(gateway.addr) {
            return false;
        }
        let port = from.port();
        self.with(now, |stage, cx| match stage {
            Stage::Datagrams(line) if port == GATEWAY_PORT => line.handle_datagram(data, cx),
            Stage::Upnp(upnp) => upnp.handle_datagram(data, cx),
            _ => Outcome::Going,
        });
        true
    }

    /// The stream that was asked for is made.
    pub(crate) fn handle_connected(&mut self, now: Instant) {
        self.with_upnp(now, |upnp, cx| upnp.handle_connected(cx));
    }

    /// Bytes came on it.
    pub(crate) fn handle_data(&mut self, now: Instant, data: &[u8]) {
        self.with_upnp(now, |upnp, cx| upnp.handle_data(data, cx));
    }

    /// So many bytes left on it.
    pub(crate) fn handle_sent(&mut self, bytes: usize) {
        if let Stage::Upnp(upnp) = &mut self.stage {
            upnp.handle_sent(bytes);
        }
    }

    /// It is over, or could not be made: `Ok` if the router closed it properly.
    pub(crate) fn handle_closed(&mut self, now: Instant, why: Result<(), String>) {
        self.with_upnp(now, |upnp, cx| upnp.handle_closed(why, cx));
    }

    /// Time went by.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        if self.removal.by().is_some_and(|at| at <= now) {
            return self.removed(now);
        }
        if let Stage::Resting(until) = self.stage {
            if until <= now {
                self.begin(now);
            }
            return;
        }
        self.with(now, |stage, cx| match stage {
            Stage::Datagrams(line) => line.handle_timeout(cx),
            Stage::Upnp(upnp) => upnp.handle_timeout(cx),
            Stage::Idle | Stage::Resting(_) => Outcome::Going,
        });
    }

    // Outputs.

    /// When to call [`Self::handle_timeout`].
    #[must_use]
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let own = match &self.stage {
            Stage::Idle => return None,
            Stage::Datagrams(line) => line.poll_timeout(),
            Stage::Upnp(upnp) => upnp.poll_timeout(),
            Stage::Resting(until) => Some(*until),
        };
        own.into_iter().chain(self.removal.by()).min()
    }

    /// What the owner must do next.
    #[must_use]
    pub(crate) fn poll_ask(&mut self) -> Option<Ask> {
        self.asks.pop_front()
    }

    /// What has happened.
    #[must_use]
    pub(crate) fn poll_event(&mut self) -> Option<MappingEvent> {
        self.events.pop_front()
    }

    /// What goes out on the stream next.
    #[must_use]
    pub(crate) fn poll_transmit(&self) -> &[u8] {
        match &self.stage {
            Stage::Upnp(upnp) => upnp.poll_transmit(),
            _ => &[],
        }
    }

    /// Begins anew, by the first method. What another router has mapped ends by itself.
    fn begin(&mut self, now: Instant) {
        if let Stage::Upnp(upnp) = &mut self.stage {
            upnp.abandon(&mut self.asks);
        }
        self.events.push_back(MappingEvent::Lost);
        (self.stage, self.removal) = (Stage::Idle, Removal::None);
        if self.gateway.is_some() && !self.wanted.is_empty() {
            let line = Datagrams::begin(now, Dialect::Pcp, &self.wanted, &self.rng);
            self.stage = Stage::Datagrams(line);
        }
    }

    /// Everything was taken back, or there is no more time for it.
    fn removed(&mut self, now: Instant) {
        if !self.is_ending() {
            return self.begin(now);
        }
        if let Stage::Upnp(upnp) = &mut self.stage {
            upnp.abandon(&mut self.asks);
        }
        self.stage = Stage::Idle;
    }

    fn is_ending(&self) -> bool {
        matches!(self.removal, Removal::End(_))
    }

    fn with_upnp(&mut self, now: Instant, act: impl FnOnce(&mut Upnp, &mut Cx<'_>) -> Outcome) {
        self.with(now, |stage, cx| match stage {
            Stage::Upnp(upnp) => act(upnp, cx),
            _ => Outcome::Going,
        });
    }

    /// Tells the method something and does what follows.
    fn with(&mut self, now: Instant, act: impl FnOnce(&mut Stage, &mut Cx<'_>) -> Outcome) {
        let Self { conf, gateway, stage, asks, events, .. } = self;
        let Some(gateway) = *gateway else {
            if self.removal != Removal::None {
                self.removed(now);
            }
            return;
        };
        let outcome = act(stage, &mut Cx { now, conf, gateway, asks, events });
        match outcome {
            Outcome::Going => {}
            Outcome::Failed(why) if self.removal == Removal::None => self.next_method(now, why),
            Outcome::Failed(_) | Outcome::Removed => self.removed(now),
        }
    }

    /// A method does not work: the next one may.
    fn next_method(&mut self, now: Instant, why: String) {
        // It may not get all that this one had.
        self.events.push_back(MappingEvent::Lost);
        self.stage = match &self.stage {
            // Some that speak NAT-PMP alone say nothing to PCP.
            Stage::Datagrams(line) if line.dialect() == Dialect::Pcp => {
                let wanted = &self.wanted;
                Stage::Datagrams(Datagrams::begin(now, Dialect::NatPmp, wanted, &self.rng))
            }
            Stage::Datagrams(_) => {
                let rng = self.rng.fork(now.as_micros());
                Stage::Upnp(Box::new(Upnp::begin(now, &self.wanted, rng)))
            }
            _ => {
                self.events.push_back(MappingEvent::Failed { why, retry_in: REST });
                Stage::Resting(now + REST)
            }
        };
    }
}

impl Removal {
    fn by(self) -> Option<Instant> {
        match self {
            Self::None => None,
            Self::Anew(at) | Self::End(at) => Some(at),
        }
    }
}

/// Whether an address is one that the outside knows: no router in front of the router has it.
pub(crate) fn is_public(ip: Ipv4Addr) -> bool {
    crate::proto::http::guard::reach(ip.into()) == Some(crate::proto::http::guard::Reach::Internet)
}

/// Whether a datagram may be a router's, by its first bytes.
pub(crate) fn is_routers(data: &[u8]) -> bool {
    match data {
        [0, 128..=130, ..] | [2, 0x81, ..] => true,
        data => data.len() <= ssdp::MAX_ANSWER && data.starts_with(b"HTTP/1."),
    }
}
