//! PCP (RFC 6887): the opcode MAP, 60 bytes each way. IPv4 addresses are mapped into IPv6.

use std::net::{IpAddr, Ipv6Addr};

use thiserror::Error;

use super::Transport;

/// The version.
const VERSION: u8 = 2;
/// The opcode of mappings.
const MAP: u8 = 1;
/// Bytes of the common header, and of a mapping with it.
const HEADER_LEN: usize = 24;
const MAP_LEN: usize = HEADER_LEN + 36;
/// Bytes of the longest packet (RFC 6887 §7).
const MAX_LEN: usize = 1100;

/// A mapping that is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// What the answer is known by.
    pub nonce: [u8; 12],
    /// Of what.
    pub transport: Transport,
    /// Our port.
    pub internal: u16,
    /// The outer port: the one that is wished, or that was given.
    pub external: u16,
    /// The outer address: the one that is wished (unspecified for any), or that was given.
    pub address: IpAddr,
    /// Seconds; 0 for its end.
    pub lifetime: u32,
}

/// Why a router does not do it (RFC 6887 §7.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Code 1: it speaks another version.
    #[error("it speaks another version")]
    Version,
    /// Code 2.
    #[error("it is not allowed")]
    NotAuthorized,
    /// Code 8.
    #[error("it has no room for more")]
    NoResources,
    /// Code 11: the wished outer port or address cannot be had.
    #[error("the outer port cannot be had")]
    CannotProvideExternal,
    /// Code 12: a translator lies between us and the router.
    #[error("our address is another one there")]
    AddressMismatch,
    /// Another code.
    #[error("code {0}")]
    Other(u8),
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Seconds since the router forgot its mappings.
    pub epoch: u32,
    /// Seconds: how long the mapping lasts, or the refusal.
    pub lifetime: u32,
    /// What was asked for, if the answer repeats it. A short refusal does not.
    pub transport: Option<Transport>,
    /// What it says.
    pub body: Result<Mapping, Refusal>,
}

/// Encodes a request; `client` is our address towards the router.
pub fn map_request(client: IpAddr, mapping: &Mapping) -> Vec<u8> {
    let mut out = vec![VERSION, MAP, 0, 0];
    out.extend(mapping.lifetime.to_be_bytes());
    out.extend(as_v6(client).octets());
    out.extend(mapping.nonce);
    out.extend([protocol(mapping.transport), 0, 0, 0]);
    out.extend(mapping.internal.to_be_bytes());
    out.extend(mapping.external.to_be_bytes());
    out.extend(as_v6(mapping.address).octets());
    out
}

/// Reads an answer; `None` if it is none.
pub fn decode(data: &[u8]) -> Option<Answer> {
    if data.len() > MAX_LEN {
        return None;
    }
    let (header, rest) = data.split_at_checked(HEADER_LEN)?;
    let &[version, opcode, _, code, l1, l2, l3, l4, e1, e2, e3, e4, ..] = header else {
        return None;
    };
    if version != VERSION || opcode != MAP | 0x80 {
        return None;
    }
    let lifetime = u32::from_be_bytes([l1, l2, l3, l4]);
    let epoch = u32::from_be_bytes([e1, e2, e3, e4]);
    let refusal = match code {
        0 => None,
        1 => Some(Refusal::Version),
        2 => Some(Refusal::NotAuthorized),
        8 => Some(Refusal::NoResources),
        11 => Some(Refusal::CannotProvideExternal),
        12 => Some(Refusal::AddressMismatch),
        other => Some(Refusal::Other(other)),
    };
    let transport = rest.get(12).and_then(|&protocol| transport(protocol));
    if let Some(refusal) = refusal {
        return Some(Answer { epoch, lifetime, transport, body: Err(refusal) });
    }
    let map = rest.get(..MAP_LEN - HEADER_LEN)?;
    let (&nonce, map) = map.split_first_chunk::<12>()?;
    let &[_, _, _, _, i1, i2, x1, x2, ref address @ ..] = map else { return None };
    let address = Ipv6Addr::from(*address.first_chunk::<16>()?);
    let body = Ok(Mapping {
        nonce,
        transport: transport?,
        internal: u16::from_be_bytes([i1, i2]),
        external: u16::from_be_bytes([x1, x2]),
        address: IpAddr::from(address).to_canonical(),
        lifetime,
    });
    Some(Answer { epoch, lifetime, transport, body })
}

/// Whether an answer, of any version, says that the router does not speak this one.
pub fn refuses_version(data: &[u8]) -> bool {
    matches!(data, [_, 128..=255, _, 1, ..]) || super::nat_pmp::refuses_version(data)
}

fn as_v6(ip: IpAddr) -> Ipv6Addr {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => ip,
    }
}

fn transport(protocol: u8) -> Option<Transport> {
    match protocol {
        6 => Some(Transport::Tcp),
        17 => Some(Transport::Udp),
        _ => None,
    }
}

fn protocol(transport: Transport) -> u8 {
    match transport {
        Transport::Tcp => 6,
        Transport::Udp => 17,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping() -> Mapping {
        Mapping {
            nonce: *b"abcdefghijkl",
            transport: Transport::Udp,
            internal: 6881,
            external: 6882,
            address: "203.0.113.7".parse().unwrap(),
            lifetime: 3600,
        }
    }

    #[test]
    fn pcp_request_has_sixty_bytes_as_in_the_rfc() {
        let request = map_request("192.168.1.2".parse().unwrap(), &mapping());
        assert_eq!(request.len(), 60);
        assert_eq!(request[..8], [2, 1, 0, 0, 0, 0, 0x0E, 0x10]);
        assert_eq!(request[8..24], *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xc0\xa8\x01\x02");
        assert_eq!(request[24..36], *b"abcdefghijkl");
        assert_eq!(request[36..44], [17, 0, 0, 0, 0x1A, 0xE1, 0x1A, 0xE2]);
        assert_eq!(request[44..], *b"\0\0\0\0\0\0\0\0\0\0\xff\xff\xcb\x00\x71\x07");
    }

    #[test]
    fn pcp_answers_are_read_whole_or_not_at_all() {
        let mut answer = map_request("0.0.0.0".parse().unwrap(), &mapping());
        answer[1] |= 0x80;
        answer[8..24].copy_from_slice(&[0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let transport = Some(Transport::Udp);
        let read = Answer { epoch: 5, lifetime: 3600, transport, body: Ok(mapping()) };
        assert_eq!(decode(&answer), Some(read));
        for cut in 0..answer.len() {
            assert_eq!(decode(&answer[..cut]), None, "cut at {cut}");
        }
        answer[3] = 12;
        let refused = decode(&answer[..24]).unwrap();
        assert_eq!((refused.transport, refused.body), (None, Err(Refusal::AddressMismatch)));
        assert_eq!(decode(&answer).unwrap().transport, transport);
        answer[1] = 1;
        assert_eq!(decode(&answer), None, "a request");
        assert!(refuses_version(&[0, 128, 0, 1, 0, 0, 0, 0]), "of NAT-PMP");
        assert!(refuses_version(&[2, 129, 0, 1]) && !refuses_version(&[2, 129, 0, 0]));
    }
}
