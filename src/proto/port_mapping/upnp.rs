//! Mapping by UPnP IGD 1 or 2: the router is looked for by SSDP, says where it is described, and
//! its description says where it is called. All of it is asked of the router's own address,
//! whatever the answers say.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{Ask, Cx, Mapped, MappingEvent, MappingMethod, Outcome, REST, Wanted};
use crate::{
    base::{rng::Rng, time::Instant},
    proto::http::{Get, Post, Request},
    wire::{
        port_mapping::{
            soap::{self, Call, MAX_DOCUMENT, Service},
            ssdp,
        },
        tracker::{Scheme, TrackerUrl, url::Host},
    },
};

/// Questions to the network, and the first pause between two; each is longer by that.
const SEARCHES: u32 = 4;
const SEARCH_PAUSE: Duration = Duration::from_secs(1);
/// How long a router may take for one answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Outer ports that are tried.
const PORTS: u32 = 4;
/// What routers show of a mapping.
const DESCRIPTION: &str = "cratetorrent";
/// Mappings that last for ever are made again after this: the router may have been restarted.
const LOOK_AGAIN: Duration = Duration::from_secs(1800);

// Of faults (UPnP IGD, WANIPConnection §2.4.16).
/// The outer port is another's.
const CONFLICT: u16 = 718;
/// Mappings last for ever only.
const ONLY_PERMANENT: u16 = 725;
/// The call failed, without a reason: some routers say so of a conflict.
const ACTION_FAILED: u16 = 501;

/// See the module.
#[derive(Debug)]
pub(super) struct Upnp {
    state: State,
    wanted: Vec<Wanted>,
    service: Option<(TrackerUrl, Service)>,
    address: Option<IpAddr>,
    /// The outer port, the same for all.
    external: u16,
    ports_tried: u32,
    /// The router's mappings last for ever.
    is_permanent: bool,
    made: Vec<Wanted>,
    /// Why one of them was not made this time, although another is there.
    refusal: Option<String>,
    rng: Rng,
    get: Option<Box<Get>>,
    removing: bool,
}

#[derive(Clone, Debug)]
enum State {
    Searching {
        at: Instant,
        searches: u32,
    },
    Describing {
        url: TrackerUrl,
        deadline: Instant,
    },
    /// A call is on its way.
    Calling {
        step: Step,
        deadline: Instant,
    },
    /// Until mappings are to be renewed.
    Mapped(Instant),
}

/// What is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Address,
    /// Of the nth port.
    Add(usize),
    /// One that was made is taken back, since not all could be: another outer port is tried.
    TakeBack,
    /// The nth, which the router does not renew, is taken back.
    Drop(usize),
    Remove,
}

impl Upnp {
    pub(super) fn begin(now: Instant, wanted: &[Wanted], rng: Rng) -> Self {
        Self {
            state: State::Searching { at: now, searches: 0 },
            external: wanted.first().map_or(0, |wanted| wanted.port),
            wanted: wanted.to_vec(),
            service: None,
            address: None,
            ports_tried: 0,
            is_permanent: false,
            made: Vec::new(),
            refusal: None,
            rng,
            get: None,
            removing: false,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        Some(match self.state {
            State::Searching { at, .. } | State::Mapped(at) => at,
            State::Describing { deadline, .. } | State::Calling { deadline, .. } => deadline,
        })
    }

    pub(super) fn poll_transmit(&self) -> &[u8] {
        self.get.as_ref().map_or(&[], |get| get.poll_transmit())
    }

    pub(super) fn handle_sent(&mut self, bytes: usize) {
        if let Some(get) = &mut self.get {
            get.handle_sent(bytes);
        }
    }

    /// Nothing more is wanted of it.
    pub(super) fn abandon(&mut self, asks: &mut std::collections::VecDeque<Ask>) {
        if matches!(self.state, State::Describing { .. } | State::Calling { .. }) {
            asks.push_back(Ask::Close);
        }
    }

    pub(super) fn remove(&mut self, cx: &mut Cx<'_>) -> Outcome {
        self.removing = true;
        if self.made.is_empty() && !matches!(self.state, State::Calling { .. }) {
            self.abandon(cx.asks);
            return Outcome::Removed;
        }
        // A call that is on its way may yet have made one: its answer is waited for.
        if let State::Calling { step: Step::Add(_) | Step::Drop(_), .. } = self.state {
            return Outcome::Going;
        }
        self.remove_next(cx)
    }

    fn remove_next(&mut self, cx: &mut Cx<'_>) -> Outcome {
        match self.made.last() {
            None => Outcome::Removed,
            Some(_) => self.call(Step::Remove, cx),
        }
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Cx<'_>) -> Outcome {
        match self.state {
            State::Searching { at, searches } if at <= cx.now => {
                if searches >= SEARCHES {
                    return Outcome::Failed(
                        "the router speaks neither PCP, NAT-PMP nor UPnP".into(),
                    );
                }
                for target in ssdp::TARGETS {
                    let data = ssdp::search(target);
                    cx.asks.push_back(Ask::Datagram { to: ssdp::GROUP, data });
                }
                let at = cx.now + SEARCH_PAUSE * (searches + 1);
                self.state = State::Searching { at, searches: searches + 1 };
                Outcome::Going
            }
            State::Mapped(at) if at <= cx.now => self.call(Step::Address, cx),
            State::Describing { deadline, .. } | State::Calling { deadline, .. }
                if deadline <= cx.now =>
            {
                cx.asks.push_back(Ask::Close);
                self.failed("the router does not answer by UPnP", cx)
            }
            _ => Outcome::Going,
        }
    }

    /// An answer to a search. Its sender is the router.
    pub(super) fn handle_datagram(&mut self, data: &[u8], cx: &mut Cx<'_>) -> Outcome {
        let (State::Searching { .. }, Some(location)) = (&self.state, ssdp::location(data)) else {
            return Outcome::Going;
        };
        match TrackerUrl::parse(&location) {
            Ok(url) if is_routers(&url, cx) => {
                let addr = SocketAddr::new(cx.gateway.addr.into(), url.port());
                self.state = State::Describing { url, deadline: cx.now + PATIENCE };
                self.get = None;
                cx.asks.push_back(Ask::Connect { addr });
                Outcome::Going
            }
            _ => {
                log::info!("a router describes itself elsewhere, which is not asked");
                Outcome::Going
            }
        }
    }

    pub(super) fn handle_connected(&mut self, cx: &mut Cx<'_>) -> Outcome {
        let (url, post) = match &self.state {
            State::Describing { url, .. } => (url, None),
            State::Calling { step, .. } => {
                let (step, Some((url, service))) = (*step, &self.service) else {
                    return Outcome::Going;
                };
                let call = self.call_of(step, cx);
                let (action, body) = (call.action(&service.kind), call.body(&service.kind));
                (url, Some((action, body)))
            }
            State::Searching { .. } | State::Mapped(_) => return Outcome::Going,
        };
        let request = Request {
            authority: &url.authority(),
            target: &url.target(),
            credentials: None,
            user_agent: "",
            range: None,
            keep_alive: false,
            forwarder: None,
            post: post.as_ref().map(|(action, body)| Post { soap_action: action, body }),
        };
        self.get = Some(Box::new(Get::new(&request, MAX_DOCUMENT)));
        cx.asks.push_back(Ask::Flush);
        Outcome::Going
    }

    pub(super) fn handle_data(&mut self, data: &[u8], cx: &mut Cx<'_>) -> Outcome {
        let Some(get) = &mut self.get else { return Outcome::Going };
        match get.handle_data(data) {
            Ok(None) => Outcome::Going,
            Ok(Some(response)) => {
                cx.asks.push_back(Ask::Close);
                self.answered(response.status, &response.body, cx)
            }
            Err(e) => {
                cx.asks.push_back(Ask::Close);
                self.failed(&e.to_string(), cx)
            }
        }
    }

    pub(super) fn handle_closed(&mut self, why: Result<(), String>, cx: &mut Cx<'_>) -> Outcome {
        if !matches!(self.state, State::Describing { .. } | State::Calling { .. }) {
            return Outcome::Going;
        }
        let ended = match (why, &mut self.get) {
            (Ok(()), Some(get)) => get.handle_end().map_err(|e| e.to_string()),
            (Ok(()), None) => Err("it closed the connection".into()),
            (Err(why), _) => Err(why),
        };
        match ended {
            Ok(response) => self.answered(response.status, &response.body, cx),
            Err(why) => self.failed(&why, cx),
        }
    }

    /// An answer has come whole.
    fn answered(&mut self, status: u16, body: &[u8], cx: &mut Cx<'_>) -> Outcome {
        self.get = None;
        let text = String::from_utf8_lossy(body);
        match self.state.clone() {
            State::Describing { url, .. } => {
                let service = soap::service(&text).filter(|_| status == 200);
                let Some(service) = service else {
                    return self.failed("the router's description has no port mapping", cx);
                };
                let base = match &service.base {
                    Some(base) => TrackerUrl::parse(base),
                    None => Ok(url),
                };
                match base.and_then(|base| base.join(&service.control)) {
                    Ok(control) if is_routers(&control, cx) => {
                        self.service = Some((control, service));
                        self.call(Step::Address, cx)
                    }
                    _ => self.failed("the router is to be called elsewhere", cx),
                }
            }
            State::Calling { step, .. } => self.called(step, status, &text, cx),
            State::Searching { .. } | State::Mapped(_) => Outcome::Going,
        }
    }

    fn called(&mut self, step: Step, status: u16, text: &str, cx: &mut Cx<'_>) -> Outcome {
        let is_done = (200..300).contains(&status);
        match step {
            Step::Remove | Step::TakeBack => {
                // What could not be taken back is not there, or not ours.
                self.made.pop();
                match (step, self.made.is_empty()) {
                    (Step::Remove, _) => self.remove_next(cx),
                    (_, true) => self.next_port(cx),
                    (_, false) => self.call(Step::TakeBack, cx),
                }
            }
            Step::Address => {
                self.address = soap::external_address(text).filter(|_| is_done);
                self.call(Step::Add(0), cx)
            }
            Step::Add(nth) if is_done => {
                if let Some(&wanted) = self.wanted.get(nth)
                    && !self.made.contains(&wanted)
                {
                    self.made.push(wanted);
                }
                self.add_next(nth, cx)
            }
            Step::Drop(nth) => self.add_next(nth, cx),
            Step::Add(_) if self.removing => self.remove_next(cx),
            Step::Add(nth) => match soap::error_code(text) {
                Some(ONLY_PERMANENT) if !self.is_permanent => {
                    self.is_permanent = true;
                    self.call(Step::Add(nth), cx)
                }
                Some(CONFLICT | ACTION_FAILED) if self.ports_tried < PORTS => {
                    if self.made.is_empty() {
                        self.next_port(cx)
                    } else {
                        self.call(Step::TakeBack, cx)
                    }
                }
                Some(code) => self.failed(&format!("the router refuses: error {code}"), cx),
                None => self.failed(&format!("the router answers with status {status}"), cx),
            },
        }
    }

    /// What follows the nth port.
    fn add_next(&mut self, nth: usize, cx: &mut Cx<'_>) -> Outcome {
        if self.removing {
            return self.remove_next(cx);
        }
        if nth + 1 < self.wanted.len() {
            return self.call(Step::Add(nth + 1), cx);
        }
        let refusal = self.refusal.take();
        if self.made.is_empty() {
            return self.failed(&refusal.unwrap_or_default(), cx);
        }
        self.tell(cx);
        let life = if self.is_permanent { LOOK_AGAIN } else { cx.conf.lifetime * 3 / 4 };
        let pause = if refusal.is_some() { life.min(REST) } else { life };
        self.state = State::Mapped(cx.now + pause);
        Outcome::Going
    }

    /// The nth port is not made, but another is there, which is of use without it.
    fn refused(&mut self, nth: usize, why: &str, cx: &mut Cx<'_>) -> Outcome {
        log::info!("the router does not map one of our ports: {why}");
        self.refusal = Some(why.to_owned());
        let Some(&wanted) = self.wanted.get(nth) else { return Outcome::Going };
        cx.events.push_back(MappingEvent::Unmapped(wanted.transport));
        let Some(at) = self.made.iter().position(|made| *made == wanted) else {
            return self.add_next(nth, cx);
        };
        self.made.remove(at);
        self.call(Step::Drop(nth), cx)
    }

    /// Another outer port is tried, beyond those that are reserved.
    fn next_port(&mut self, cx: &mut Cx<'_>) -> Outcome {
        self.ports_tried += 1;
        let port = 10_000 + self.rng.below(50_000);
        self.external = u16::try_from(port).unwrap_or(self.external);
        self.call(Step::Add(0), cx)
    }

    fn tell(&self, cx: &mut Cx<'_>) {
        for wanted in &self.made {
            cx.events.push_back(MappingEvent::Mapped(Mapped {
                transport: wanted.transport,
                internal: wanted.port,
                external: self.external,
                address: self.address,
                method: MappingMethod::Upnp,
                lifetime: (!self.is_permanent).then_some(cx.conf.lifetime),
            }));
        }
    }

    fn call(&mut self, step: Step, cx: &mut Cx<'_>) -> Outcome {
        let Some((url, _)) = &self.service else {
            return self.failed("the router has no service", cx);
        };
        let addr = SocketAddr::new(cx.gateway.addr.into(), url.port());
        self.get = None;
        self.state = State::Calling { step, deadline: cx.now + PATIENCE };
        cx.asks.push_back(Ask::Connect { addr });
        Outcome::Going
    }

    fn call_of(&self, step: Step, cx: &Cx<'_>) -> Call {
        let delete = |wanted: Option<&Wanted>| match wanted {
            Some(wanted) => Call::Delete { transport: wanted.transport, external: self.external },
            None => Call::GetExternalAddress,
        };
        match step {
            Step::Address => Call::GetExternalAddress,
            Step::Add(nth) => match self.wanted.get(nth) {
                Some(wanted) => Call::Add {
                    transport: wanted.transport,
                    external: self.external,
                    client: cx.gateway.local,
                    internal: wanted.port,
                    lifetime: match self.is_permanent {
                        true => 0,
                        false => u32::try_from(cx.conf.lifetime.as_secs()).unwrap_or(0),
                    },
                    description: DESCRIPTION,
                },
                None => Call::GetExternalAddress,
            },
            Step::TakeBack | Step::Remove => delete(self.made.last()),
            Step::Drop(nth) => delete(self.wanted.get(nth)),
        }
    }

    /// It does not work; what was mapped may have been lost with it.
    fn failed(&mut self, why: &str, cx: &mut Cx<'_>) -> Outcome {
        if let State::Calling { step: Step::Add(nth), .. } = self.state
            && !self.made.is_empty()
            && !self.removing
        {
            return self.refused(nth, why, cx);
        }
        self.get = None;
        self.state = State::Searching { at: Instant::from_micros(u64::MAX), searches: SEARCHES };
        if self.removing { Outcome::Removed } else { Outcome::Failed(why.to_owned()) }
    }
}

/// Whether a place is the router's own, in plain HTTP: nothing else is asked, whatever is said.
fn is_routers(url: &TrackerUrl, cx: &Cx<'_>) -> bool {
    let is_its = matches!(url.host(), Host::Ip(ip) if ip.to_canonical() == cx.gateway.addr);
    is_its && url.scheme() == Scheme::Http
}
