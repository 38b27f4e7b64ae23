//! Mapping by datagrams to the router, PCP or NAT-PMP: each request is repeated, with pauses that
//! double, until it is answered; each mapping is renewed at three quarters of its life, and asked
//! for anew when the router has lost its memory, or some minutes after it was refused.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{Ask, Cx, Mapped, MappingEvent, MappingMethod, Outcome, REST, Wanted};
use crate::{
    base::{rng::Rng, time::Instant},
    wire::port_mapping::{GATEWAY_PORT, Transport, nat_pmp, pcp},
};

/// The first pause (RFC 6886 §3.1), and how often a router is asked that has never answered: one
/// that speaks this answers within milliseconds. Another that has is asked as often as the RFC
/// says.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const FIRST_TRIES: u32 = 3;
const TRIES: u32 = 9;
/// A router's clock may differ from ours by so much (RFC 6886 §3.6: an eighth, and two seconds).
const EPOCH_SLACK: u64 = 2;
/// The shortest time between two renewals, whatever lifetime a router gives.
const LEAST_RENEWAL: Duration = Duration::from_secs(30);

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dialect {
    Pcp,
    NatPmp,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Datagrams {
    dialect: Dialect,
    entries: Vec<Entry>,
    /// The router's outer address.
    address: Option<Ipv4Addr>,
    /// The question for it, of NAT-PMP.
    address_due: Option<Repeat>,
    /// What the router's clock said, and when.
    epoch: Option<(u32, Instant)>,
    has_answered: bool,
    removing: bool,
}

/// When something is sent again.
#[derive(Clone, Copy, Debug)]
struct Repeat {
    at: Instant,
    tries: u32,
}

impl Repeat {
    fn now(now: Instant) -> Self {
        Self { at: now, tries: 0 }
    }

    fn sent(&mut self, now: Instant) {
        self.at = now + FIRST_PAUSE * 2_u32.saturating_pow(self.tries.min(10));
        self.tries += 1;
    }
}

#[derive(Debug)]
struct Entry {
    wanted: Wanted,
    nonce: [u8; 12],
    /// The outer port that is wished, or was given.
    external: u16,
    /// What is being asked; between renewals and after a refusal, when it is asked for next.
    repeat: Repeat,
    state: State,
    /// It was told as mapped, and not as lost since.
    is_told: bool,
}

impl Entry {
    /// Whether it is asked for, or will be when it is time.
    fn is_busy(&self) -> bool {
        matches!(self.state, State::Asking | State::Mapped | State::Refused)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It waits for the one before it: both are to have the same outer port.
    Waiting,
    Asking,
    Mapped,
    Refused,
    Gone,
}

impl Datagrams {
    pub(super) fn begin(now: Instant, dialect: Dialect, wanted: &[Wanted], rng: &Rng) -> Self {
        let entry = |(nth, &wanted): (usize, &Wanted)| {
            let mut nonce = [0; 12];
            let label = u64::from(wanted.port) << 1 | u64::from(wanted.transport == Transport::Udp);
            rng.fork(label).fill(&mut nonce);
            let state = if nth == 0 { State::Asking } else { State::Waiting };
            let repeat = Repeat::now(now);
            Entry { wanted, nonce, external: wanted.port, repeat, state, is_told: false }
        };
        Self {
            dialect,
            entries: wanted.iter().enumerate().map(entry).collect(),
            address: None,
            address_due: (dialect == Dialect::NatPmp).then(|| Repeat::now(now)),
            epoch: None,
            has_answered: false,
            removing: false,
        }
    }

    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    pub(super) fn remove(&mut self, cx: &mut Cx<'_>) -> Outcome {
        self.removing = true;
        self.address_due = None;
        for entry in &mut self.entries {
            entry.state = match entry.state {
                State::Mapped | State::Asking => State::Asking,
                _ => State::Gone,
            };
            entry.repeat = Repeat::now(cx.now);
        }
        self.handle_timeout(cx)
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let tries = if self.has_answered { TRIES } else { FIRST_TRIES };
        let to = SocketAddr::new(cx.gateway.addr.into(), GATEWAY_PORT);
        if let Some(repeat) = &mut self.address_due
            && repeat.at <= cx.now
        {
            if repeat.tries >= tries {
                self.address_due = None;
            } else {
                repeat.sent(cx.now);
                cx.asks.push_back(Ask::Datagram { to, data: nat_pmp::address_request() });
            }
        }
        let (removing, dialect) = (self.removing, self.dialect);
        let lifetime =
            if removing { 0 } else { u32::try_from(cx.conf.lifetime.as_secs()).unwrap_or(3600) };
        for entry in &mut self.entries {
            if !entry.is_busy() || entry.repeat.at > cx.now {
                continue;
            }
            if entry.repeat.tries >= tries {
                if removing {
                    entry.state = State::Gone;
                    continue;
                }
                return Outcome::Failed("the router does not answer".into());
            }
            entry.state = State::Asking;
            entry.repeat.sent(cx.now);
            let Wanted { transport, port } = entry.wanted;
            let data = match dialect {
                Dialect::NatPmp => {
                    let external = if removing { 0 } else { entry.external };
                    nat_pmp::map_request(transport, port, external, lifetime)
                }
                Dialect::Pcp => {
                    let mapping = pcp::Mapping {
                        nonce: entry.nonce,
                        transport,
                        internal: port,
                        external: entry.external,
                        address: self.address.unwrap_or(Ipv4Addr::UNSPECIFIED).into(),
                        lifetime,
                    };
                    pcp::map_request(cx.gateway.local.into(), &mapping)
                }
            };
            cx.asks.push_back(Ask::Datagram { to, data });
        }
        self.outcome()
    }

    fn outcome(&self) -> Outcome {
        let is_over = |entry: &Entry| matches!(entry.state, State::Gone | State::Refused);
        if self.removing && self.entries.iter().all(is_over) {
            return Outcome::Removed;
        }
        Outcome::Going
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let entries =
            self.entries.iter().filter(|entry| entry.is_busy()).map(|entry| entry.repeat.at);
        entries.chain(self.address_due.map(|repeat| repeat.at)).min()
    }

    pub(super) fn handle_datagram(&mut self, data: &[u8], cx: &mut Cx<'_>) -> Outcome {
        match self.dialect {
            Dialect::Pcp => self.handle_pcp(data, cx),
            Dialect::NatPmp => self.handle_nat_pmp(data, cx),
        }
    }

    fn handle_pcp(&mut self, data: &[u8], cx: &mut Cx<'_>) -> Outcome {
        if pcp::refuses_version(data) && !self.has_answered {
            return Outcome::Failed("the router speaks no PCP".into());
        }
        let Some(answer) = pcp::decode(data) else { return Outcome::Going };
        match answer.body {
            Ok(mapping) => {
                let found = |entry: &&mut Entry| {
                    entry.nonce == mapping.nonce
                        && entry.wanted.transport == mapping.transport
                        && entry.wanted.port == mapping.internal
                };
                let Some(entry) = self.entries.iter_mut().find(found) else {
                    return Outcome::Going;
                };
                if entry.state != State::Asking {
                    return Outcome::Going;
                }
                let wanted = entry.wanted;
                self.handle_epoch(answer.epoch, cx.now);
                if let IpAddr::V4(ip) = mapping.address {
                    self.address = Some(ip).filter(|ip| !ip.is_unspecified()).or(self.address);
                }
                self.granted(wanted, mapping.external, answer.lifetime, cx)
            }
            Err(refusal) => self.refused(answer.transport, &refusal.to_string(), cx),
        }
    }

    fn handle_nat_pmp(&mut self, data: &[u8], cx: &mut Cx<'_>) -> Outcome {
        let Some(answer) = nat_pmp::decode(data) else { return Outcome::Going };
        match answer.body {
            Ok(nat_pmp::Body::Address(ip)) => {
                // The router says it of itself, too, when it has changed.
                self.handle_epoch(answer.epoch, cx.now);
                self.address_due = None;
                if self.address.replace(ip) != Some(ip) {
                    self.tell_all(cx);
                }
                Outcome::Going
            }
            Ok(nat_pmp::Body::Mapped { transport, internal, external, lifetime }) => {
                let is_asked = |entry: &&Entry| {
                    entry.wanted == Wanted { transport, port: internal }
                        && entry.state == State::Asking
                };
                let Some(wanted) = self.entries.iter().find(is_asked).map(|entry| entry.wanted)
                else {
                    return Outcome::Going;
                };
                self.handle_epoch(answer.epoch, cx.now);
                self.granted(wanted, external, lifetime, cx)
            }
            Err(refusal) => self.refused(answer.transport, &refusal.to_string(), cx),
        }
    }

    /// A router whose clock goes back has forgotten its mappings (RFC 6886 §3.6, RFC 6887 §8.5).
    fn handle_epoch(&mut self, epoch: u32, now: Instant) {
        self.has_answered = true;
        if let Some((before, at)) = self.epoch {
            let passed = now.since(at).as_secs();
            let expected = u64::from(before) + passed - passed / 8;
            if u64::from(epoch) + EPOCH_SLACK < expected {
                log::info!("the router has forgotten its mappings");
                for entry in &mut self.entries {
                    if entry.state == State::Mapped {
                        entry.repeat = Repeat::now(now);
                    }
                }
            }
        }
        self.epoch = Some((epoch, now));
    }

    fn granted(
        &mut self,
        wanted: Wanted,
        external: u16,
        lifetime: u32,
        cx: &mut Cx<'_>,
    ) -> Outcome {
        let (removing, address, method) = (self.removing, self.address, self.method());
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.wanted == wanted) else {
            return Outcome::Going;
        };
        if removing {
            if lifetime == 0 {
                entry.state = State::Gone;
            }
            return self.outcome();
        }
        if external == 0 || lifetime == 0 {
            return self.refused(Some(wanted.transport), "the router gives no port", cx);
        }
        (entry.state, entry.external, entry.is_told) = (State::Mapped, external, true);
        let life = Duration::from_secs(lifetime.into());
        let renewal = (life.min(cx.conf.lifetime) * 3 / 4).max(LEAST_RENEWAL);
        entry.repeat = Repeat { at: cx.now + renewal, tries: 0 };
        let mapped = Mapped {
            transport: wanted.transport,
            internal: wanted.port,
            external,
            address: address.map(IpAddr::V4),
            method,
            lifetime: Some(life),
        };
        cx.events.push_back(MappingEvent::Mapped(mapped));
        self.go_on(external, cx)
    }

    /// The next entry may have the outer port of the one before it.
    fn go_on(&mut self, external: u16, cx: &mut Cx<'_>) -> Outcome {
        if let Some(next) = self.entries.iter_mut().find(|entry| entry.state == State::Waiting) {
            next.state = State::Asking;
            (next.external, next.repeat) = (external, Repeat::now(cx.now));
        }
        self.handle_timeout(cx)
    }

    /// What is asked is not granted. A short answer does not say of which transport: it is taken as
    /// one to the first that is asked for.
    fn refused(&mut self, of: Option<Transport>, why: &str, cx: &mut Cx<'_>) -> Outcome {
        self.has_answered = true;
        let is_meant = |entry: &&mut Entry| {
            entry.state == State::Asking && of.is_none_or(|of| entry.wanted.transport == of)
        };
        let Some(entry) = self.entries.iter_mut().find(is_meant) else { return Outcome::Going };
        if self.removing {
            entry.state = State::Gone;
            return self.outcome();
        }
        let wish = entry.external;
        entry.state = State::Refused;
        entry.repeat = Repeat { at: cx.now + REST, tries: 0 };
        if std::mem::take(&mut entry.is_told) {
            log::info!("the router does not map port {wish} any more: {why}");
            cx.events.push_back(MappingEvent::Unmapped(entry.wanted.transport));
        }
        let all =
            self.entries.iter().all(|entry| matches!(entry.state, State::Refused | State::Waiting));
        if all {
            return Outcome::Failed(format!("the router refuses: {why}"));
        }
        self.go_on(wish, cx)
    }

    fn method(&self) -> MappingMethod {
        match self.dialect {
            Dialect::Pcp => MappingMethod::Pcp,
            Dialect::NatPmp => MappingMethod::NatPmp,
        }
    }

    /// The outer address is known now, or another.
    fn tell_all(&self, cx: &mut Cx<'_>) {
        for entry in self.entries.iter().filter(|entry| entry.state == State::Mapped) {
            cx.events.push_back(MappingEvent::Mapped(Mapped {
                transport: entry.wanted.transport,
                internal: entry.wanted.port,
                external: entry.external,
                address: self.address.map(IpAddr::V4),
                method: self.method(),
                lifetime: None,
            }));
        }
    }
}
