//! NAT-PMP (RFC 6886): requests of 2 and 12 bytes, answers of 12 and 16.

use std::net::Ipv4Addr;

use thiserror::Error;

use super::Transport;

/// Why a router does not do it (RFC 6886 §3.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// Code 1: it speaks another version.
    #[error("it speaks another version")]
    Version,
    /// Code 2: the function is switched off.
    #[error("it is switched off")]
    NotAuthorized,
    /// Code 3.
    #[error("it has no connection itself")]
    NetworkFailure,
    /// Code 4.
    #[error("it has no room for more")]
    OutOfResources,
    /// Code 5.
    #[error("it does not know the request")]
    Opcode,
    /// Another code.
    #[error("code {0}")]
    Other(u16),
}

/// An answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Seconds since the router forgot its mappings; less than before means that it has again.
    pub epoch: u32,
    /// What was asked for; `None` for the outer address.
    pub transport: Option<Transport>,
    /// What it says.
    pub body: Result<Body, Refusal>,
}

/// What an answer says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// The router's outer address.
    Address(Ipv4Addr),
    /// A mapping is there, or is not any more.
    Mapped {
        /// Of what.
        transport: Transport,
        /// Our port.
        internal: u16,
        /// The outer port.
        external: u16,
        /// For so many seconds; 0 if it was removed.
        lifetime: u32,
    },
}

/// Asks for the outer address.
pub fn address_request() -> Vec<u8> {
    vec![0, 0]
}

/// Asks for a mapping for `lifetime` seconds, or for its end with 0 of them and of `external`.
pub fn map_request(transport: Transport, internal: u16, external: u16, lifetime: u32) -> Vec<u8> {
    let mut out = vec![0, opcode(transport), 0, 0];
    out.extend(internal.to_be_bytes());
    out.extend(external.to_be_bytes());
    out.extend(lifetime.to_be_bytes());
    out
}

/// Reads an answer; `None` if it is none.
pub fn decode(data: &[u8]) -> Option<Answer> {
    let [0, opcode @ 128..=130, a, b, rest @ ..] = data else { return None };
    let code = u16::from_be_bytes([*a, *b]);
    let (&epoch, rest) = rest.split_first_chunk::<4>()?;
    let epoch = u32::from_be_bytes(epoch);
    let refusal = match code {
        0 => None,
        1 => Some(Refusal::Version),
        2 => Some(Refusal::NotAuthorized),
        3 => Some(Refusal::NetworkFailure),
        4 => Some(Refusal::OutOfResources),
        5 => Some(Refusal::Opcode),
        other => Some(Refusal::Other(other)),
    };
    let transport = match opcode {
        129 => Some(Transport::Udp),
        130 => Some(Transport::Tcp),
        _ => None,
    };
    if let Some(refusal) = refusal {
        return Some(Answer { epoch, transport, body: Err(refusal) });
    }
    let body = match transport {
        None => Body::Address(Ipv4Addr::from(*rest.first_chunk::<4>()?)),
        Some(transport) => {
            let &[a, b, c, d, l1, l2, l3, l4] = rest.first_chunk::<8>()?;
            Body::Mapped {
                transport,
                internal: u16::from_be_bytes([a, b]),
                external: u16::from_be_bytes([c, d]),
                lifetime: u32::from_be_bytes([l1, l2, l3, l4]),
            }
        }
    };
    Some(Answer { epoch, transport, body: Ok(body) })
}

/// Whether an answer says that the router speaks no PCP (RFC 6887 §A): it is one of NAT-PMP.
pub fn refuses_version(data: &[u8]) -> bool {
    matches!(data, [0, 128..=255, 0, 1, ..])
}

fn opcode(transport: Transport) -> u8 {
    match transport {
        Transport::Udp => 1,
        Transport::Tcp => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nat_pmp_packets_are_those_of_the_rfc() {
        assert_eq!(address_request(), [0, 0]);
        let request = map_request(Transport::Tcp, 6881, 6881, 3600);
        assert_eq!(request, [0, 2, 0, 0, 0x1A, 0xE1, 0x1A, 0xE1, 0, 0, 0x0E, 0x10]);
        let answer = [0, 128, 0, 0, 0, 0, 0, 9, 203, 0, 113, 7];
        let body = Ok(Body::Address(Ipv4Addr::new(203, 0, 113, 7)));
        assert_eq!(decode(&answer), Some(Answer { epoch: 9, transport: None, body }));
        let mapped = [0, 129, 0, 0, 0, 0, 0, 9, 0x1A, 0xE1, 0x1A, 0xE2, 0, 0, 0x0E, 0x10];
        let transport = Transport::Udp;
        let body = Ok(Body::Mapped { transport, internal: 6881, external: 6882, lifetime: 3600 });
        let transport = Some(transport);
        assert_eq!(decode(&mapped), Some(Answer { epoch: 9, transport, body }));
        for cut in 0..mapped.len() {
            assert_eq!(decode(&mapped[..cut]), None);
        }
        let refused = [0, 130, 0, 2, 0, 0, 0, 9];
        let (transport, body) = (Some(Transport::Tcp), Err(Refusal::NotAuthorized));
        assert_eq!(decode(&refused), Some(Answer { epoch: 9, transport, body }));
        assert_eq!(decode(&[0, 2, 0, 0, 0, 0, 0, 9]), None, "a request");
        assert!(refuses_version(&[0, 129, 0, 1, 0, 0, 0, 0]));
    }
}
