//! Whole conversations with a router for the fuzz targets, which see nothing of the crate but what
//! is public. Not part of the API.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use super::{Ask, Gateway, MappingEvent, PortMapper, Wanted};
use crate::{
    base::{rng::Rng, time::Instant},
    conf::PortMappingConf,
    wire::port_mapping::{GATEWAY_PORT, Transport},
};

/// What a router does next.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// Sends a datagram from the port of NAT-PMP and PCP.
    Datagram(&'a [u8]),
    /// Sends an answer to a search.
    Found(&'a [u8]),
    /// Answers on the stream that is open, and closes it if `true`.
    Bytes(&'a [u8], bool),
    /// So many milliseconds pass.
    Wait(u16),
    /// The session ends.
    Stop,
}

/// What was seen.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Where datagrams went.
    pub datagrams: Vec<SocketAddr>,
    /// Where streams went.
    pub streams: Vec<SocketAddr>,
    /// Ports that were said to be mapped.
    pub mapped: Vec<u16>,
    /// Whether everything was taken back in time, if the session ended.
    pub is_over: Option<bool>,
}

/// The router, and us.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);

/// Has a router do all of `steps`.
pub fn converse(steps: &[Step<'_>]) -> Outcome {
    let conf = PortMappingConf::default();
    let (mut now, end) = (Instant::ZERO, conf.remove_timeout);
    let mut mapper = PortMapper::new(conf, Rng::new(1));
    let mut outcome = Outcome::default();
    let wanted = |transport| Wanted { transport, port: 6881 };
    mapper.want(now, vec![wanted(Transport::Tcp), wanted(Transport::Udp)]);
    mapper.handle_gateway(now, Some(Gateway { addr: ROUTER, local: LOCAL }));
    for step in steps {
        pump(&mut mapper, now, &mut outcome);
        match *step {
            Step::Datagram(data) => {
                mapper.handle_datagram(now, SocketAddr::from((ROUTER, GATEWAY_PORT)), data);
            }
            Step::Found(data) => {
                mapper.handle_datagram(now, SocketAddr::from((ROUTER, 1900)), data);
            }
            Step::Bytes(data, closes) => {
                mapper.handle_data(now, data);
                if closes {
                    mapper.handle_closed(now, Ok(()));
                }
            }
            Step::Wait(millis) => now = now + Duration::from_millis(millis.into()),
            Step::Stop => {
                mapper.stop(now);
                outcome.is_over = Some(false);
            }
        }
    }
    if outcome.is_over.is_some() {
        now = now + end;
        pump(&mut mapper, now, &mut outcome);
        outcome.is_over = Some(mapper.is_over());
    }
    outcome
}

fn pump(mapper: &mut PortMapper, now: Instant, outcome: &mut Outcome) {
    for _ in 0..1000 {
        if mapper.poll_timeout().is_some_and(|at| at <= now) {
            mapper.handle_timeout(now);
        }
        let mut idle = true;
        while let Some(ask) = mapper.poll_ask() {
            idle = false;
            match ask {
                Ask::Datagram { to, .. } => outcome.datagrams.push(to),
                Ask::Connect { addr } => {
                    outcome.streams.push(addr);
                    mapper.handle_connected(now);
                }
                Ask::Flush => mapper.handle_sent(mapper.poll_transmit().len()),
                Ask::Close => {}
            }
        }
        while let Some(event) = mapper.poll_event() {
            if let MappingEvent::Mapped(mapped) = event {
                outcome.mapped.push(mapped.external);
            }
        }
        if idle && mapper.poll_timeout().is_none_or(|at| at > now) {
            return;
        }
    }
    outcome.mapped.clear();
    outcome.streams.push(SocketAddr::from(([0, 0, 0, 0], 0)));
}
