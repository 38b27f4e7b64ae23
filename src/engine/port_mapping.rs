//! The engine's port mapping: which ports the router is asked for, where its answers go, and who
//! hears of them. What is said to the router is `proto::port_mapping`'s.
//!
//! Without [`PortMappingConf::enabled`](crate::conf::PortMappingConf::enabled), or when peers go
//! through a proxy, nothing happens here.

use std::{
    io::IoSlice,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    time::Duration,
};

use crate::{
    alert::{Alert, MappingMethod, PortMapping},
    base::{
        arena::{Arena, Key},
        rng::Rng,
        time::Instant,
        timers::Wakeup,
    },
    conf::Conf,
    engine::{CloseCause, DatagramOwner, Effect, Engine, StreamId, io::Owner},
    proto::port_mapping::{
        self as proto, Ask, Gateway, Mapped, MappingEvent, PortMapper, Wanted, is_public,
    },
    wire::port_mapping::Transport,
};

/// Sets the chance of it apart from that of the rest.
const LABEL: u64 = 0x6e61_742d_706d;

/// See the module.
#[derive(Debug)]
pub(super) struct Mapping {
    machine: Option<Box<PortMapper>>,
    wakeup: Wakeup,
    /// Names of its streams, each another.
    names: Arena<()>,
    stream: Option<Key>,
    /// What is mapped: of TCP, of UDP.
    mapped: [Option<PortMapping>; 2],
    /// Why nothing is, if it was told.
    failed: Option<String>,
}

impl Mapping {
    pub(super) fn new(conf: &Conf, rng: &Rng) -> Self {
        let mapper = || PortMapper::new(conf.port_mapping.clone(), rng.fork(LABEL));
        let is_on = conf.port_mapping.enabled && conf.listens();
        Self {
            machine: is_on.then(|| Box::new(mapper())),
            wakeup: Wakeup::default(),
            names: Arena::new(),
            stream: None,
            mapped: [None, None],
            failed: None,
        }
    }

    /// Whether nothing is left to be taken back.
    pub(super) fn is_over(&self) -> bool {
        self.machine.as_ref().is_none_or(|machine| machine.is_over())
    }

    /// Whether a stream is its.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn has(&self, key: Key) -> bool {
        self.stream == Some(key)
    }

    fn outer_port(&self) -> Option<u16> {
        self.mapped.iter().flatten().next().map(|mapping| mapping.external)
    }
}

impl Engine {
    /// Whether the driver is to look for the router of the network now and then, every
    /// [`PortMappingConf::look_interval`](crate::conf::PortMappingConf::look_interval), and to tell
    /// it by [`handle_gateway`](Self::handle_gateway).
    pub fn wants_gateway(&self) -> bool {
        self.discovery.mapping.machine.is_some() && !self.shutdown.has_begun()
    }

    /// The router that leads outside, and our address towards it; `None` if there is none. Not that
    /// of a tunnel (VPN).
    pub fn handle_gateway(&mut self, now: Instant, gateway: Option<(Ipv4Addr, Ipv4Addr)>) {
        self.handle_tick(now);
        let gateway = gateway.map(|(addr, local)| Gateway { addr, local });
        if let Some(machine) = &mut self.discovery.mapping.machine {
            machine.handle_gateway(self.cx.now, gateway);
        }
        self.drive_mapping();
    }

    /// The ports that the router maps now.
    pub fn port_mappings(&self) -> Vec<PortMapping> {
        self.discovery.mapping.mapped.iter().flatten().copied().collect()
    }

    /// The ports that are listened on may have changed.
    pub(super) fn note_ports(&mut self) {
        let port = self.cx.leases.ports().own(true);
        let conf = &self.cx.conf;
        let transports = conf.network.transports;
        let kinds = [
            (Transport::Tcp, transports.tcp()),
            (Transport::Udp, transports.utp() || conf.dht.enabled),
        ];
        let wanted = |port| {
            let meant = kinds.iter().filter(|(_, meant)| *meant);
            meant.map(|&(transport, _)| Wanted { transport, port }).collect()
        };
        let now = self.cx.now;
        if let Some(machine) = &mut self.discovery.mapping.machine {
            machine.want(now, port.map(wanted).unwrap_or_default());
            self.drive_mapping();
        }
    }

    /// A datagram came that may be the router's.
    pub(super) fn mapping_datagram(&mut self, from: SocketAddr, data: &[u8]) {
        let now = self.cx.now;
        let machine = self.discovery.mapping.machine.as_mut();
        if machine.is_some_and(|machine| machine.handle_datagram(now, from, data)) {
            self.drive_mapping();
        }
    }

    pub(super) fn mapping_connected(&mut self, key: Key) {
        self.on_mapping_stream(key, PortMapper::handle_connected);
    }

    pub(super) fn mapping_data(&mut self, key: Key, data: &[u8]) {
        self.on_mapping_stream(key, |machine, now| machine.handle_data(now, data));
    }

    pub(super) fn mapping_sent(&mut self, key: Key, bytes: usize) {
        self.on_mapping_stream(key, |machine, _| machine.handle_sent(bytes));
    }

    pub(super) fn mapping_closed(&mut self, key: Key, cause: CloseCause) {
        if self.discovery.mapping.stream != Some(key) {
            return;
        }
        self.discovery.mapping.names.remove(key);
        self.discovery.mapping.stream = None;
        let why = if cause == CloseCause::Eof { Ok(()) } else { Err(cause.to_string()) };
        let now = self.cx.now;
        if let Some(machine) = &mut self.discovery.mapping.machine {
            machine.handle_closed(now, why);
        }
        self.drive_mapping();
    }

    pub(super) fn mapping_transmit<'a>(&'a self, key: Key, out: &mut [IoSlice<'a>]) -> usize {
        let mapping = &self.discovery.mapping;
        let machine = mapping.machine.as_ref().filter(|_| mapping.stream == Some(key));
        let bytes = machine.map_or(&[][..], |machine| machine.poll_transmit());
        match out.first_mut().filter(|_| !bytes.is_empty()) {
            Some(slot) => {
                *slot = IoSlice::new(bytes);
                1
            }
            None => 0,
        }
    }

    pub(super) fn handle_mapping_timeout(&mut self, at: Instant) {
        if self.discovery.mapping.wakeup.fire(at) {
            let now = self.cx.now;
            if let Some(machine) = &mut self.discovery.mapping.machine {
                machine.handle_timeout(now);
            }
            self.drive_mapping();
        }
    }

    /// Mappings are taken back.
    pub(super) fn shut_down_mapping(&mut self) {
        let now = self.cx.now;
        if let Some(machine) = &mut self.discovery.mapping.machine {
            machine.stop(now);
        }
        self.drive_mapping();
    }

    fn on_mapping_stream(&mut self, key: Key, act: impl FnOnce(&mut PortMapper, Instant)) {
        let now = self.cx.now;
        let mapping = &mut self.discovery.mapping;
        if let Some(machine) = mapping.machine.as_mut().filter(|_| mapping.stream == Some(key)) {
            act(machine, now);
            self.drive_mapping();
        }
    }

    /// Does what the machine wants, and hears what it has to tell.
    fn drive_mapping(&mut self) {
        while let Some(ask) = self.discovery.mapping.machine.as_mut().and_then(|m| m.poll_ask()) {
            match ask {
                Ask::Datagram { to, data } => {
                    self.effect(Effect::Datagram { owner: DatagramOwner::None, to, data });
                }
                Ask::Connect { addr } => {
                    self.close_mapping_stream();
                    let key = self.discovery.mapping.names.insert(());
                    self.discovery.mapping.stream = Some(key);
                    let stream = StreamId::PortMapping(key);
                    self.effect(Effect::Connect { stream, addr, tls: None });
                }
                Ask::Flush => {
                    if let Some(key) = self.discovery.mapping.stream {
                        self.effect(Effect::Flush { stream: StreamId::PortMapping(key) });
                    }
                }
                Ask::Close => self.close_mapping_stream(),
            }
        }
        while let Some(event) = self.discovery.mapping.machine.as_mut().and_then(|m| m.poll_event())
        {
            match event {
                MappingEvent::Mapped(mapped) => self.port_mapped(mapped),
                MappingEvent::Unmapped(transport) => {
                    let mut all = self.discovery.mapping.mapped;
                    all[usize::from(transport == Transport::Udp)] = None;
                    self.set_mapped(all);
                }
                MappingEvent::Lost => self.set_mapped([None, None]),
                MappingEvent::Failed { why, retry_in } => self.mapping_failed(why, retry_in),
            }
        }
        let due = self.discovery.mapping.machine.as_ref().and_then(|m| m.poll_timeout());
        if let Some(at) = due
            && self.discovery.mapping.wakeup.want(at)
        {
            self.io.wake(at, Owner::PortMapping);
        }
    }

    fn close_mapping_stream(&mut self) {
        if let Some(key) = self.discovery.mapping.stream.take() {
            self.discovery.mapping.names.remove(key);
            self.effect(Effect::Close { stream: StreamId::PortMapping(key) });
        }
    }

    fn port_mapped(&mut self, mapped: Mapped) {
        let Mapped { transport, internal, external, address, method, .. } = mapped;
        let is_outside = |ip: IpAddr| matches!(ip, IpAddr::V4(ip) if is_public(ip));
        let mapping = PortMapping {
            udp: transport == Transport::Udp,
            internal,
            external,
            address,
            method: match method {
                proto::MappingMethod::Pcp => MappingMethod::Pcp,
                proto::MappingMethod::NatPmp => MappingMethod::NatPmp,
                proto::MappingMethod::Upnp => MappingMethod::Upnp,
            },
            behind_another: address.is_some_and(|ip| !is_outside(ip)),
        };
        let mut all = self.discovery.mapping.mapped;
        let slot = &mut all[usize::from(mapping.udp)];
        if slot.replace(mapping) != Some(mapping) {
            log::info!("the router maps {mapping}");
            self.discovery.mapping.failed = None;
            self.cx.alerts.push(Alert::PortMapped { mapping });
        }
        if let Some(ip) = address.filter(|_| !mapping.behind_another) {
            self.cx.leases.external_mut().set_of_router(ip);
            self.spread_external_addr();
        }
        self.set_mapped(all);
    }

    /// These are mapped now, and no others.
    fn set_mapped(&mut self, mapped: [Option<PortMapping>; 2]) {
        self.discovery.mapping.mapped = mapped;
        if mapped == [None, None] {
            self.cx.leases.external_mut().forget_router();
            self.spread_external_addr();
        }
        let outer = self.discovery.mapping.outer_port();
        if self.cx.leases.ports().mapped() != outer {
            self.cx.leases.set_mapped_port(outer);
            // The DHT is told of it at once; trackers hear it with the next announce.
            for key in self.torrents.keys() {
                self.note_dht(key);
            }
        }
    }

    fn mapping_failed(&mut self, why: String, retry_in: Duration) {
        if self.discovery.mapping.failed.as_ref() != Some(&why) {
            log::info!("no port is mapped: {why}");
            self.discovery.mapping.failed = Some(why.clone());
            self.cx.alerts.push(Alert::PortMappingFailed { error: why, retry_in });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        conf::Transports,
        wire::port_mapping::{GATEWAY_PORT, pcp},
    };

    const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
    const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);

    fn engine(set: impl FnOnce(&mut Conf)) -> Engine {
        let conf = Conf::default().with(|conf| {
            conf.port_mapping.enabled = true;
            conf.network.transports = Transports::Tcp;
        });
        let conf = conf.with(set);
        let mut engine = Engine::new(conf, 1, Instant::ZERO).unwrap();
        engine.set_listen_addrs([SocketAddr::from((LOCAL, 6881))]);
        engine.handle_gateway(Instant::ZERO, Some((ROUTER, LOCAL)));
        engine
    }

    /// Datagrams that the router is sent now.
    fn said(engine: &mut Engine, now: Instant) -> Vec<Vec<u8>> {
        engine.handle_timeout(now);
        let effects = std::iter::from_fn(|| engine.poll_effect());
        let to_router = |effect| match effect {
            Effect::Datagram { to, data, .. } if to.port() == GATEWAY_PORT => Some(data),
            _ => None,
        };
        effects.filter_map(to_router).collect()
    }

    /// Grants the first request.
    fn grant(engine: &mut Engine, request: &[u8], external: u16, outer: Ipv4Addr, lifetime: u32) {
        let mut answer = request.to_vec();
        answer[1] |= 0x80;
        answer[4..8].copy_from_slice(&lifetime.to_be_bytes());
        answer[8..24].fill(0);
        answer[42..44].copy_from_slice(&external.to_be_bytes());
        answer[44..].copy_from_slice(&outer.to_ipv6_mapped().octets());
        assert!(pcp::decode(&answer).is_some());
        engine.handle_datagram(Instant::ZERO, (ROUTER, GATEWAY_PORT).into(), &answer);
    }

    #[test]
    fn mapped_port_is_what_others_are_told_and_is_taken_back() {
        let mut engine = engine(|_| {});
        let requests = said(&mut engine, Instant::ZERO);
        let outer = Ipv4Addr::new(11, 0, 0, 7);
        grant(&mut engine, &requests[0], 7000, outer, 3600);
        let [mapping] = engine.port_mappings()[..] else { panic!("TCP alone is listened on") };
        assert_eq!((mapping.external, mapping.udp, mapping.behind_another), (7000, false, false));
        let ports = engine.cx.leases.ports();
        assert_eq!((ports.of(true), ports.own(true)), (Some(7000), Some(6881)));
        assert_eq!(engine.external_addrs().0, Some(outer));
        let alert = std::iter::from_fn(|| engine.poll_alert()).last();
        assert!(matches!(alert, Some(Alert::PortMapped { .. })), "{alert:?}");
        engine.verbs().shutdown();
        assert!(!engine.is_drained());
        let end = said(&mut engine, Instant::ZERO);
        grant(&mut engine, &end[0], 7000, outer, 0);
        assert!(engine.is_drained() && !engine.wants_gateway());
    }

    #[test]
    fn port_whose_renewal_is_refused_is_shown_no_more() {
        let mut engine = engine(|conf| conf.network.transports = Transports::Both);
        let outer = Ipv4Addr::new(11, 0, 0, 7);
        for external in [7000, 7001] {
            let requests = said(&mut engine, Instant::ZERO);
            grant(&mut engine, &requests[0], external, outer, 3600);
        }
        assert_eq!(engine.cx.leases.ports().of(true), Some(7000));
        let at = Instant::ZERO + Duration::from_secs(2700);
        let mut refusal = said(&mut engine, at).swap_remove(0);
        (refusal[1], refusal[3]) = (0x81, 8);
        engine.handle_datagram(at, (ROUTER, GATEWAY_PORT).into(), &refusal);
        let [mapping] = engine.port_mappings()[..] else { panic!("UDP alone is left") };
        assert!(mapping.udp);
        assert_eq!(engine.cx.leases.ports().of(true), Some(7001));
    }

    #[test]
    fn router_behind_another_is_told_as_such() {
        let mut engine = engine(|_| {});
        let requests = said(&mut engine, Instant::ZERO);
        grant(&mut engine, &requests[0], 7000, Ipv4Addr::new(100, 64, 0, 7), 3600);
        assert!(engine.port_mappings()[0].behind_another);
        assert_eq!(engine.external_addrs().0, None);
    }

    #[test]
    fn session_ends_though_the_router_is_silent() {
        let mut engine = engine(|_| {});
        let requests = said(&mut engine, Instant::ZERO);
        grant(&mut engine, &requests[0], 7000, Ipv4Addr::new(11, 0, 0, 7), 3600);
        engine.verbs().shutdown();
        let end = Instant::ZERO + engine.conf().port_mapping.remove_timeout;
        said(&mut engine, end);
        assert!(engine.is_drained());
    }

    #[test]
    fn nothing_is_mapped_unless_wanted_nor_through_a_proxy() {
        let off = engine(|conf| conf.port_mapping.enabled = false);
        let proxied = engine(|conf| conf.proxy.server = Some("http://p:1".parse().unwrap()));
        for mut engine in [off, proxied] {
            assert!(!engine.wants_gateway());
            assert!(said(&mut engine, Instant::ZERO).is_empty());
        }
    }
}
