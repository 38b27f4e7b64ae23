//! Conversations with routers, step by step on virtual time.

use super::*;
use crate::wire::port_mapping::{pcp, soap::MAX_DOCUMENT};

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
const TCP: Wanted = Wanted { transport: Transport::Tcp, port: 6881 };
const UDP: Wanted = Wanted { transport: Transport::Udp, port: 6881 };

struct Rig {
    mapper: PortMapper,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut mapper = PortMapper::new(PortMappingConf::default(), Rng::new(1));
        mapper.want(now, vec![TCP, UDP]);
        mapper.handle_gateway(now, Some(Gateway { addr: ROUTER, local: LOCAL }));
        let mut rig = Self { mapper, now };
        rig.events();
        rig
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.mapper.poll_timeout().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            self.mapper.handle_timeout(self.now);
        }
        self.now = end;
    }

    fn asks(&mut self) -> Vec<Ask> {
        if self.mapper.poll_timeout().is_some_and(|at| at <= self.now) {
            self.mapper.handle_timeout(self.now);
        }
        std::iter::from_fn(|| self.mapper.poll_ask()).collect()
    }

    /// The datagrams that go to the router.
    fn said(&mut self) -> Vec<Vec<u8>> {
        let to_router = |ask| match ask {
            Ask::Datagram { to, data } => {
                assert_eq!(to, SocketAddr::from((ROUTER, GATEWAY_PORT)));
                data
            }
            other => panic!("{other:?}"),
        };
        self.asks().into_iter().map(to_router).collect()
    }

    fn events(&mut self) -> Vec<MappingEvent> {
        std::iter::from_fn(|| self.mapper.poll_event()).collect()
    }

    /// What is mapped to which outer port.
    fn mapped(&mut self) -> Vec<(Transport, u16)> {
        let mapped = |event| match event {
            MappingEvent::Mapped(mapped) => Some((mapped.transport, mapped.external)),
            _ => None,
        };
        self.events().into_iter().filter_map(mapped).collect()
    }

    fn hear(&mut self, data: &[u8]) {
        assert!(self.mapper.handle_datagram(self.now, (ROUTER, GATEWAY_PORT).into(), data));
    }

    /// Answers a request of PCP with this port.
    fn grant_pcp(&mut self, request: &[u8], external: u16, lifetime: u32, epoch: u32) {
        let mut answer = request.to_vec();
        answer[1] |= 0x80;
        answer[4..8].copy_from_slice(&lifetime.to_be_bytes());
        answer[8..24].fill(0);
        answer[8..12].copy_from_slice(&epoch.to_be_bytes());
        answer[42..44].copy_from_slice(&external.to_be_bytes());
        answer[44..].copy_from_slice(&Ipv4Addr::new(203, 0, 113, 7).to_ipv6_mapped().octets());
        self.hear(&answer);
    }

    fn refuse_pcp(&mut self) {
        self.said();
        self.hear(&[0, 128, 0, 1, 0, 0, 0, 0]);
    }

    fn grant_nat_pmp(&mut self, request: &[u8], external: u16, lifetime: u32, epoch: u32) {
        let mut answer = vec![0, request[1] | 0x80, 0, 0];
        answer.extend(epoch.to_be_bytes());
        answer.extend(&request[4..6]);
        answer.extend(external.to_be_bytes());
        answer.extend(lifetime.to_be_bytes());
        self.hear(&answer);
    }
}

#[test]
fn pcp_maps_both_transports_to_one_port_renews_and_takes_back() {
    let mut rig = Rig::new();
    let [first] = &rig.said()[..] else { panic!("one after the other") };
    rig.grant_pcp(&first.clone(), 7000, 3600, 10);
    let [second] = &rig.said()[..] else { panic!() };
    assert_eq!(second[42..44], 7000u16.to_be_bytes(), "the same port is wished");
    rig.grant_pcp(&second.clone(), 7000, 3600, 10);
    let events = rig.events();
    let MappingEvent::Mapped(mapped) = &events[1] else { panic!() };
    assert_eq!(mapped.address, Some("203.0.113.7".parse().unwrap()));
    assert_eq!((mapped.transport, mapped.external), (Transport::Udp, 7000));
    rig.pass(Duration::from_secs(2699));
    assert_eq!(rig.asks(), []);
    rig.pass(Duration::from_secs(1));
    let renewals = rig.said();
    assert_eq!(renewals.len(), 2);
    for renewal in &renewals {
        rig.grant_pcp(renewal, 7000, 3600, 2710);
    }
    assert_eq!(rig.mapped(), [(Transport::Tcp, 7000), (Transport::Udp, 7000)]);
    rig.mapper.stop(rig.now);
    let ends = rig.said();
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|end| end[4..8] == [0; 4]) && !rig.mapper.is_over());
    for end in &ends {
        rig.grant_pcp(end, 7000, 0, 2711);
    }
    assert!(rig.mapper.is_over());
    assert_eq!(rig.mapper.poll_timeout(), None);
}

#[test]
fn router_that_refuses_pcp_is_asked_by_nat_pmp() {
    let mut rig = Rig::new();
    rig.refuse_pcp();
    let said = rig.said();
    assert_eq!((said.len(), &said[0][..]), (2, &[0, 0][..]));
    rig.hear(&[0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 7]);
    rig.grant_nat_pmp(&said[1], 6881, 3600, 9);
    let said = rig.said();
    rig.grant_nat_pmp(&said[0], 6881, 3600, 9);
    assert_eq!(rig.mapped(), [(Transport::Tcp, 6881), (Transport::Udp, 6881)]);
}

#[test]
fn mapping_that_a_killed_session_left_is_had_by_nat_pmp() {
    let mut rig = Rig::new();
    let mut refused = rig.said()[0].clone();
    // Code 2: the mapping is there, and belongs to another nonce (RFC 6887 §11.3).
    (refused[1], refused[3]) = (0x81, 2);
    rig.hear(&refused);
    let said = rig.said();
    rig.grant_nat_pmp(&said[1], 6881, 3600, 9);
    assert_eq!(rig.mapped(), [(Transport::Tcp, 6881)]);
}

#[test]
fn router_that_forgets_is_asked_at_once() {
    let mut rig = Rig::new();
    rig.refuse_pcp();
    let said = rig.said();
    rig.grant_nat_pmp(&said[1], 6881, 3600, 5000);
    let said = rig.said();
    rig.grant_nat_pmp(&said[0], 6881, 3600, 5000);
    rig.pass(Duration::from_secs(100));
    assert_eq!(rig.said().iter().filter(|said| said.len() == 12).count(), 0);
    // It says its address to all, with a clock that has begun anew.
    rig.hear(&[0, 128, 0, 0, 0, 0, 0, 1, 203, 0, 113, 8]);
    let said = rig.said();
    assert_eq!(said.iter().filter(|said| said.len() == 12).count(), 2, "{said:?}");
}

#[test]
fn silent_router_is_searched_by_upnp_and_then_left_alone() {
    let mut rig = Rig::new();
    let mut datagrams = Vec::new();
    for _ in 0..300 {
        rig.pass(Duration::from_millis(100));
        datagrams.extend(rig.asks());
    }
    let to = |wanted: SocketAddr| {
        let is_it = |ask: &&Ask| matches!(ask, Ask::Datagram { to, .. } if *to == wanted);
        datagrams.iter().filter(is_it).count()
    };
    // PCP, then NAT-PMP, whose question for the address is another.
    assert_eq!(to((ROUTER, GATEWAY_PORT).into()), 9);
    assert_eq!(to(ssdp::GROUP), 8);
    let events = rig.events();
    let ends = [MappingEvent::Lost, MappingEvent::Lost, MappingEvent::Lost];
    let Some((MappingEvent::Failed { .. }, before)) = events.split_last() else { panic!() };
    assert_eq!(before, ends, "one for each method");
    rig.pass(Duration::from_secs(500));
    assert_eq!(rig.asks(), []);
    rig.pass(Duration::from_secs(100));
    let asks = rig.asks();
    let Some(Ask::Datagram { data, .. }) = asks.first() else { panic!("{asks:?}") };
    assert_eq!(data.len(), 60, "from the beginning, by PCP");
}

#[test]
fn others_than_the_router_are_not_heard() {
    let mut rig = Rig::new();
    let said = rig.said();
    let other = SocketAddr::from(([192, 168, 1, 9], GATEWAY_PORT));
    assert!(!rig.mapper.handle_datagram(rig.now, other, &said[0]));
    let mut forged = said[0].clone();
    forged[1] |= 0x80;
    forged[24] ^= 1;
    rig.hear(&forged);
    assert_eq!(rig.events(), [], "the nonce is another");
}

// UPnP.

const KIND: &str = "urn:schemas-upnp-org:service:WANIPConnection:1";

/// A rig whose router has not answered by datagrams.
fn searching() -> Rig {
    let mut rig = Rig::new();
    for _ in 0..6 {
        rig.pass(Duration::from_millis(750));
        rig.asks();
    }
    rig
}

fn found(location: &str) -> Vec<u8> {
    let st = ssdp::TARGETS[1];
    format!("HTTP/1.1 200 OK\r\nST: {st}\r\nLOCATION: {location}\r\n\r\n").into_bytes()
}

impl Rig {
    fn find(&mut self, location: &str) {
        self.mapper.handle_datagram(self.now, (ROUTER, 1900).into(), &found(location));
    }

    /// Makes the stream that is asked for, and returns what is said on it.
    #[track_caller]
    fn request(&mut self) -> String {
        let asks = self.asks();
        let connects = |ask: &Ask| match ask {
            Ask::Connect { addr } => Some(*addr),
            _ => None,
        };
        let to = asks.iter().find_map(connects).unwrap_or_else(|| panic!("{asks:?}"));
        assert_eq!(to, SocketAddr::from((ROUTER, 5000)));
        self.mapper.handle_connected(self.now);
        let said = String::from_utf8(self.mapper.poll_transmit().to_vec()).unwrap();
        self.mapper.handle_sent(said.len());
        said
    }

    fn answer(&mut self, status: u16, body: &str) {
        let len = body.len();
        let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {len}\r\n\r\n{body}");
        for part in head.as_bytes().chunks(7) {
            self.mapper.handle_data(self.now, part);
        }
    }

    fn describe(&mut self, control: &str) {
        self.find("http://192.168.1.1:5000/desc.xml");
        assert!(self.request().starts_with("GET /desc.xml HTTP/1.1\r\nHost: 192.168.1.1:5000\r\n"));
        self.answer(
            200,
            &format!(
                "<root><service><serviceType>{KIND}</serviceType>\
                 <controlURL>{control}</controlURL></service></root>"
            ),
        );
    }

    #[track_caller]
    fn call(&mut self, name: &str) -> String {
        let said = self.request();
        assert!(said.starts_with("POST /ctl HTTP/1.1\r\n"), "{said}");
        assert!(said.contains(&format!("SOAPAction: \"{KIND}#{name}\"\r\n")), "{said}");
        said
    }

    fn fault(&mut self, code: u16) {
        self.answer(500, &format!("<s:Fault><errorCode>{code}</errorCode></s:Fault>"));
    }
}

const ADDRESS: &str = "<NewExternalIPAddress>203.0.113.7</NewExternalIPAddress>";

#[test]
fn upnp_maps_renews_and_takes_back() {
    let mut rig = searching();
    rig.describe("/ctl");
    rig.call("GetExternalIPAddress");
    rig.answer(200, ADDRESS);
    let said = rig.call("AddPortMapping");
    assert!(said.contains("<NewInternalClient>192.168.1.2</NewInternalClient>"));
    assert!(said.contains("<NewLeaseDuration>3600</NewLeaseDuration>"));
    rig.answer(200, "<x/>");
    assert!(rig.call("AddPortMapping").contains("<NewProtocol>UDP</NewProtocol>"));
    rig.answer(200, "<x/>");
    assert_eq!(rig.mapped(), [(Transport::Tcp, 6881), (Transport::Udp, 6881)]);
    rig.asks();
    rig.pass(Duration::from_secs(2700));
    rig.call("GetExternalIPAddress");
    rig.answer(200, ADDRESS);
    rig.call("AddPortMapping");
    rig.mapper.stop(rig.now);
    assert_eq!(rig.events(), []);
    rig.answer(200, "<x/>");
    assert!(rig.call("DeletePortMapping").contains("<NewProtocol>UDP</NewProtocol>"));
    rig.answer(200, "<x/>");
    assert!(rig.call("DeletePortMapping").contains("<NewProtocol>TCP</NewProtocol>"));
    assert!(!rig.mapper.is_over());
    rig.fault(714);
    assert!(rig.mapper.is_over());
}

#[test]
fn router_with_permanent_mappings_alone_gets_them() {
    let mut rig = searching();
    rig.describe("http://192.168.1.1:5000/ctl");
    rig.call("GetExternalIPAddress");
    rig.answer(200, ADDRESS);
    rig.call("AddPortMapping");
    rig.fault(725);
    assert!(rig.call("AddPortMapping").contains("<NewLeaseDuration>0</NewLeaseDuration>"));
}

#[test]
fn conflict_of_the_second_port_moves_both() {
    let mut rig = searching();
    rig.describe("/ctl");
    rig.call("GetExternalIPAddress");
    rig.fault(501);
    rig.call("AddPortMapping");
    rig.answer(200, "<x/>");
    rig.call("AddPortMapping");
    rig.fault(718);
    assert!(rig.call("DeletePortMapping").contains("<NewProtocol>TCP</NewProtocol>"));
    rig.answer(200, "<x/>");
    let said = rig.call("AddPortMapping");
    assert!(!said.contains("<NewExternalPort>6881<"), "{said}");
    rig.answer(200, "<x/>");
    rig.call("AddPortMapping");
    rig.answer(200, "<x/>");
    let mapped = rig.mapped();
    assert!(mapped.len() == 2 && mapped[0].1 == mapped[1].1 && mapped[0].1 >= 10_000);
}

#[test]
fn conflicts_without_end_are_given_up() {
    let mut rig = searching();
    rig.describe("/ctl");
    rig.call("GetExternalIPAddress");
    rig.answer(200, ADDRESS);
    for _ in 0..5 {
        rig.call("AddPortMapping");
        rig.fault(718);
    }
    assert!(matches!(rig.events().last(), Some(MappingEvent::Failed { .. })));
}

#[test]
fn descriptions_and_calls_elsewhere_are_not_asked() {
    for location in [
        "http://192.168.1.9:5000/desc.xml",
        "http://127.0.0.1:5000/desc.xml",
        "http://router.test:5000/desc.xml",
        "https://192.168.1.1:5000/desc.xml",
        "udp://192.168.1.1:5000/desc.xml",
    ] {
        let mut rig = searching();
        rig.find(location);
        assert!(!rig.asks().iter().any(|ask| matches!(ask, Ask::Connect { .. })), "{location}");
    }
    for control in ["http://192.168.1.9:5000/ctl", "http://localhost/ctl", "//10.0.0.1/ctl"] {
        let mut rig = searching();
        rig.describe(control);
        assert!(!rig.asks().iter().any(|ask| matches!(ask, Ask::Connect { .. })), "{control}");
        assert!(matches!(rig.events().last(), Some(MappingEvent::Failed { .. })));
    }
}

#[test]
fn endless_descriptions_of_routers_end() {
    let mut rig = searching();
    rig.find("http://192.168.1.1:5000/desc.xml");
    rig.request();
    rig.mapper.handle_data(rig.now, b"HTTP/1.1 200 OK\r\n\r\n");
    for _ in 0..MAX_DOCUMENT / 64 + 2 {
        rig.mapper.handle_data(rig.now, &[b'<'; 64]);
    }
    assert!(matches!(rig.events().last(), Some(MappingEvent::Failed { .. })));
}

#[test]
fn end_of_a_session_waits_two_seconds_at_most() {
    let mut rig = Rig::new();
    let said = rig.said();
    rig.grant_pcp(&said[0], 6881, 3600, 1);
    rig.said();
    rig.mapper.stop(rig.now);
    rig.pass(Duration::from_millis(1999));
    assert!(!rig.mapper.is_over());
    rig.pass(Duration::from_millis(1));
    assert!(rig.mapper.is_over());
    let mut idle = PortMapper::new(PortMappingConf::default(), Rng::new(1));
    idle.stop(rig.now);
    assert!(idle.is_over(), "nothing was mapped");
}

#[test]
fn another_router_is_asked_from_the_beginning() {
    let mut rig = Rig::new();
    let said = rig.said();
    rig.grant_pcp(&said[0], 6881, 3600, 1);
    rig.events();
    rig.asks();
    let other = Ipv4Addr::new(10, 0, 0, 1);
    rig.mapper.handle_gateway(rig.now, Some(Gateway { addr: other, local: LOCAL }));
    assert_eq!(rig.events(), [MappingEvent::Lost]);
    let asks = rig.asks();
    let Ask::Datagram { to, data } = &asks[0] else { panic!() };
    assert_eq!(to.ip(), IpAddr::V4(other));
    assert!(pcp::decode(data).is_none() && data.len() == 60);
    rig.mapper.handle_gateway(rig.now, None);
    assert_eq!((rig.events(), rig.mapper.poll_timeout()), (vec![MappingEvent::Lost], None));
}

// What is not granted any more, or not wanted.

/// A rig whose router maps both by PCP, and the first request.
fn mapped() -> (Rig, Vec<u8>) {
    let mut rig = Rig::new();
    let first = rig.said().remove(0);
    rig.grant_pcp(&first, 7000, 3600, 10);
    let second = rig.said().remove(0);
    rig.grant_pcp(&second, 7000, 3600, 10);
    assert_eq!(rig.mapped(), [(Transport::Tcp, 7000), (Transport::Udp, 7000)]);
    (rig, first)
}

#[test]
fn refused_renewal_is_told_and_asked_for_again_later() {
    let (mut rig, _) = mapped();
    rig.pass(Duration::from_secs(2700));
    let [tcp, udp] = &rig.said()[..] else { panic!("both are renewed") };
    // Code 8: it has no room for more.
    let mut refused = udp.clone();
    (refused[1], refused[3]) = (0x81, 8);
    rig.hear(&refused);
    assert_eq!(rig.events(), [MappingEvent::Unmapped(Transport::Udp)]);
    rig.grant_pcp(tcp, 7000, 3600, 2710);
    assert_eq!(rig.mapped(), [(Transport::Tcp, 7000)]);
    rig.pass(REST.saturating_sub(Duration::from_secs(1)));
    assert_eq!(rig.asks(), []);
    rig.pass(Duration::from_secs(1));
    let [again] = &rig.said()[..] else { panic!("what was refused is asked for alone") };
    assert_eq!(again[24..], udp[24..]);
    rig.grant_pcp(again, 7000, 3600, 3310);
    assert_eq!(rig.mapped(), [(Transport::Udp, 7000)]);
}

#[test]
fn next_method_does_not_inherit_what_the_former_had() {
    let (mut rig, _) = mapped();
    rig.pass(Duration::from_secs(2700 + 128));
    assert_eq!(rig.events(), [MappingEvent::Lost], "no renewal was answered");
    let mut said = rig.asks().into_iter().filter_map(|ask| match ask {
        Ask::Datagram { data, .. } if data.len() == 12 => Some(data),
        _ => None,
    });
    let tcp = said.next_back().unwrap();
    rig.grant_nat_pmp(&tcp, 7000, 3600, 9);
    rig.said();
    rig.hear(&[0, 129, 0, 4, 0, 0, 0, 9]);
    assert_eq!(rig.mapped(), [(Transport::Tcp, 7000)]);
}

#[test]
fn upnp_keeps_one_port_where_the_other_is_refused() {
    let mut rig = searching();
    rig.describe("/ctl");
    rig.call("GetExternalIPAddress");
    rig.answer(200, ADDRESS);
    rig.call("AddPortMapping");
    rig.answer(200, "<x/>");
    rig.call("AddPortMapping");
    rig.events();
    rig.fault(606);
    assert_eq!(rig.mapped(), [(Transport::Tcp, 6881)]);
    rig.asks();
    // The other way round: what is not renewed is taken back.
    rig.pass(REST);
    rig.call("GetExternalIPAddress");
    rig.answer(200, ADDRESS);
    rig.call("AddPortMapping");
    rig.fault(606);
    assert_eq!(rig.events(), [MappingEvent::Unmapped(Transport::Tcp)]);
    assert!(rig.call("DeletePortMapping").contains("<NewProtocol>TCP</NewProtocol>"));
    rig.answer(200, "<x/>");
    assert!(rig.call("AddPortMapping").contains("<NewProtocol>UDP</NewProtocol>"));
    rig.answer(200, "<x/>");
    assert_eq!(rig.mapped(), [(Transport::Udp, 6881)]);
    rig.asks();
    rig.mapper.stop(rig.now);
    assert!(rig.call("DeletePortMapping").contains("<NewProtocol>UDP</NewProtocol>"));
    rig.answer(200, "<x/>");
    assert!(rig.mapper.is_over());
}

#[test]
fn upnp_that_renews_nothing_has_failed() {
    let mut rig = searching();
    rig.describe("/ctl");
    for status in [200, 500] {
        rig.call("GetExternalIPAddress");
        rig.answer(200, ADDRESS);
        for call in ["AddPortMapping", "DeletePortMapping", "AddPortMapping", "DeletePortMapping"] {
            if status == 500 || call == "AddPortMapping" {
                rig.call(call);
                rig.answer(status, "<x/>");
            }
        }
        rig.asks();
        let is_failed = rig.events().iter().any(|e| matches!(e, MappingEvent::Failed { .. }));
        assert_eq!(is_failed, status == 500);
        rig.pass(Duration::from_secs(2700));
    }
}

#[test]
fn former_ports_are_taken_back_before_others_are_mapped() {
    let others = [Transport::Tcp, Transport::Udp].map(|of| Wanted { transport: of, port: 6882 });
    for is_silent in [false, true] {
        let (mut rig, first) = mapped();
        rig.mapper.want(rig.now, others.to_vec());
        let ends = rig.said();
        let of_old = |end: &Vec<u8>| end[4..8] == [0; 4] && end[40..42] == 6881u16.to_be_bytes();
        assert!(ends.len() == 2 && ends.iter().all(of_old), "{ends:?}");
        if is_silent {
            rig.pass(PortMappingConf::default().remove_timeout);
        } else {
            for end in &ends {
                rig.grant_pcp(end, 7000, 0, 11);
            }
        }
        assert_eq!(rig.events(), [MappingEvent::Lost]);
        let begun = rig.said().pop().unwrap();
        assert_eq!(begun[40..42], 6882u16.to_be_bytes());
        assert_ne!(begun[24..36], first[24..36], "another port has another nonce");
    }
}

#[test]
fn router_that_comes_back_hears_the_same_nonces() {
    let (mut rig, first) = mapped();
    rig.mapper.handle_gateway(rig.now, None);
    rig.pass(Duration::from_secs(30));
    rig.mapper.handle_gateway(rig.now, Some(Gateway { addr: ROUTER, local: LOCAL }));
    let again = rig.said().remove(0);
    assert_eq!(again, first, "the router would take us for another client");
}
