//! The promises of port mapping: whatever a router says, no other host is spoken with, it is asked
//! at a bounded pace, and a session ends in time. And of the codecs: nothing panics, and what is
//! read is read again as it was.

use std::net::{IpAddr, SocketAddr};

use cratetorrent::{
    port_mapping_probe::{Step, converse},
    wire::port_mapping::{GATEWAY_PORT, nat_pmp, pcp, soap, ssdp, xml},
};

/// The first byte of each step says what it is, the next two how long; a step of text may be cut
/// off by the end.
pub fn port_mapping(data: &[u8]) {
    codecs(data);
    let mut rest = data;
    let mut steps = Vec::new();
    while let Some((&[kind, a, b], more)) = rest.split_first_chunk::<3>() {
        let number = u16::from_be_bytes([a, b]);
        let len = usize::from(number).min(more.len());
        let text = &more[..len];
        rest = more;
        steps.push(match kind % 8 {
            0 => Step::Wait(number),
            1 => Step::Stop,
            kind => {
                rest = &more[len..];
                match kind {
                    2 | 3 => Step::Datagram(text),
                    4 => Step::Found(text),
                    kind => Step::Bytes(text, kind == 5),
                }
            }
        });
    }
    // What was not answered takes its time: PCP and NAT-PMP are given up after some seconds.
    for patience in [&[][..], &[Step::Wait(10_000)]] {
        let steps: Vec<Step<'_>> = patience.iter().chain(&steps).copied().collect();
        let outcome = converse(&steps);
        let router = IpAddr::from([192, 168, 1, 1]);
        for to in &outcome.datagrams {
            assert!(*to == SocketAddr::new(router, GATEWAY_PORT) || *to == ssdp::GROUP, "{to}");
        }
        for to in &outcome.streams {
            assert_eq!(to.ip(), router);
        }
        assert!(outcome.mapped.iter().all(|port| *port != 0));
        assert_ne!(outcome.is_over, Some(false), "the end takes too long");
    }
}

fn codecs(data: &[u8]) {
    let _ = (nat_pmp::decode(data), pcp::refuses_version(data));
    if let Some(pcp::Answer { body: Ok(mapping), .. }) = pcp::decode(data) {
        let mut again = pcp::map_request(mapping.address, &mapping);
        again[1] |= 0x80;
        assert_eq!(pcp::decode(&again).map(|answer| answer.body), Some(Ok(mapping)));
    }
    if let Some(location) = ssdp::location(data) {
        assert!(location.len() <= ssdp::MAX_LOCATION && location.is_ascii());
    }
    let text = String::from_utf8_lossy(data);
    assert!(xml::Reader::new(&text).count() <= 3 * 4096 + 64);
    let _ = (soap::service(&text), soap::error_code(&text), soap::external_address(&text));
}
