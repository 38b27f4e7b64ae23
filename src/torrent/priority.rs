//! Canonical peer priority (BEP 40): two peers agree on what a connection between them is worth, so
//! that those which are short of slots keep the same ones, and no peer can fill them all by being
//! quick. It knows addresses, no peers.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::base::ports::ListenPorts;

/// What a connection is worth as long as we do not know our own address: the middle, so that
/// neither family comes first.
const UNKNOWN: u32 = 1 << 31;

/// Where we are, as others see us, as far as that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ours {
    pub(crate) v4: Option<Ipv4Addr>,
    pub(crate) v6: Option<Ipv6Addr>,
    /// The ports that we listen on, which matter only among peers of one address.
    pub(crate) ports: ListenPorts,
}

impl Ours {
    /// What a connection with `ip` and `port` is worth; higher is better.
    pub(crate) fn priority(&self, ip: IpAddr, port: u16) -> u32 {
        let ports = [self.ports.towards(ip).unwrap_or(0), port];
        match ip.to_canonical() {
            IpAddr::V4(theirs) => {
                self.v4.map_or(UNKNOWN, |v4| rank(v4.octets(), theirs.octets(), ports, 2))
            }
            IpAddr::V6(theirs) => {
                self.v6.map_or(UNKNOWN, |v6| rank(v6.octets(), theirs.octets(), ports, 6))
            }
        }
    }

    /// Whether this is where others dial us.
    pub(crate) fn is_at(&self, addr: SocketAddr) -> bool {
        let own = match addr.ip().to_canonical() {
            IpAddr::V4(ip) => self.v4 == Some(ip),
            IpAddr::V6(ip) => self.v6 == Some(ip),
        };
        own && self.ports.towards(addr.ip()) == Some(addr.port())
    }

    /// Whether anything is known that tells peers like `ip` apart.
    pub(crate) fn is_known(&self, ip: IpAddr) -> bool {
        if ip.to_canonical().is_ipv4() { self.v4.is_some() } else { self.v6.is_some() }
    }
}

/// The BEP's formula. The first `whole` bytes are never masked; for every further byte in common
/// one more is not.
fn rank<const N: usize>(a: [u8; N], b: [u8; N], mut ports: [u16; 2], whole: usize) -> u32 {
    if a == b {
        ports.sort_unstable();
        return crc32c(ports.iter().flat_map(|port| port.to_be_bytes()));
    }
    let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let whole = if common < whole { whole } else { common + 1 };
    let masked = |addr: [u8; N]| -> [u8; N] {
        std::array::from_fn(|at| if at < whole { addr[at] } else { addr[at] & 0x55 })
    };
    let mut addrs = [masked(a), masked(b)];
    addrs.sort_unstable();
    crc32c(addrs.into_iter().flatten())
}

/// CRC-32C (Castagnoli; RFC 3720, appendix B.4), bit by bit: 32 bytes a peer are too few for a
/// table to pay.
fn crc32c(bytes: impl Iterator<Item = u8>) -> u32 {
    !bytes.fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0x82F6_3B78 & (crc & 1).wrapping_neg())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn priority(ours: &str, theirs: &str) -> u32 {
        let ours = match ours.parse().unwrap() {
            IpAddr::V4(ip) => Ours { v4: Some(ip), ..Ours::default() },
            IpAddr::V6(ip) => Ours { v6: Some(ip), ..Ours::default() },
        };
        ours.priority(theirs.parse().unwrap(), 0)
    }

    #[test]
    fn the_checksum_is_that_of_the_rfc() {
        assert_eq!(crc32c(*b"123456789").to_be_bytes(), [0xE3, 0x06, 0x92, 0x83]);
        assert_eq!(crc32c([0; 32]), 0x8A91_36AA);
        assert_eq!(crc32c([0xFF; 32]), 0x62A8_AB43);
        assert_eq!(crc32c(0..32), 0x46DD_794E);
    }

    fn crc32c(bytes: impl IntoIterator<Item = u8>) -> u32 {
        super::crc32c(bytes.into_iter())
    }

    #[test]
    fn the_examples_of_bep_40() {
        assert_eq!(priority("123.213.32.10", "98.76.54.32"), 0xEC2D_7224);
        assert_eq!(priority("123.213.32.10", "123.213.32.234"), 0x9956_8189);
    }

    #[test]
    fn both_ends_agree_and_the_mask_follows_what_they_share() {
        let crc_of = |hex: &str| {
            let bytes = (0..hex.len())
                .step_by(2)
                .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            crc32c(bytes)
        };
        for (a, b, hashed) in [
            // Another /16, the same /16, the same /24.
            ("255.255.255.255", "1.255.255.255", "01ff5555ffff5555"),
            ("1.2.255.255", "1.2.254.255", "0102fe550102ff55"),
            ("1.2.3.255", "1.2.3.254", "010203fe010203ff"),
            // Another /48, the same /48, the same /56.
            (
                "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
                "2001:db8:fffe:ffff:ffff:ffff:ffff:ffff",
                "20010db8fffe5555555555555555555520010db8ffff55555555555555555555",
            ),
            (
                "2001:db8:0:feff:ffff:ffff:ffff:ffff",
                "2001:db8:0:ffff:ffff:ffff:ffff:ffff",
                "20010db80000fe55555555555555555520010db80000ff555555555555555555",
            ),
            (
                "2001:db8:0:fffe:ffff:ffff:ffff:ffff",
                "2001:db8:0:ffff:ffff:ffff:ffff:ffff",
                "20010db80000fffe555555555555555520010db80000ffff5555555555555555",
            ),
        ] {
            assert_eq!(priority(a, b), crc_of(hashed), "{a} and {b}");
            assert_eq!(priority(b, a), priority(a, b), "{a} and {b}");
        }
    }

    #[test]
    fn peers_of_one_address_are_told_apart_by_their_ports() {
        let ip = Ipv4Addr::new(1, 2, 3, 4);
        let ours = |port| Ours { v4: Some(ip), v6: None, ports: ListenPorts::both(Some(port)) };
        assert_eq!(ours(6881).priority(ip.into(), 80), crc32c([0, 80, 0x1a, 0xe1]));
        assert_eq!(ours(80).priority(ip.into(), 6881), ours(6881).priority(ip.into(), 80));
    }

    #[test]
    fn without_our_own_address_all_are_worth_the_same() {
        let ours = Ours::default();
        assert_eq!(
            ours.priority([1, 2, 3, 4].into(), 1),
            ours.priority(IpAddr::V6(Ipv6Addr::LOCALHOST), 2)
        );
        assert!(!ours.is_known([1, 2, 3, 4].into()));
    }
}
