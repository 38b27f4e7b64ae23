//! Node ids: distances between them (BEP 5), and how they follow from an address (BEP 42).

use std::{fmt, net::IpAddr};

/// A point in the 160-bit space of nodes, torrents and stored values.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 20]);

impl NodeId {
    /// The XOR of two ids. Distances compare as big-endian numbers.
    pub fn distance(&self, other: &Self) -> Self {
        let mut out = self.0;
        out.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
        Self(out)
    }

    /// How many leading bits two ids share: 0 to 160.
    pub fn shared_bits(&self, other: &Self) -> usize {
        let mut shared = 0;
        for byte in self.distance(other).0 {
            shared += byte.leading_zeros() as usize;
            if byte != 0 {
                break;
            }
        }
        shared
    }

    /// Bit `at` counted from the first; false beyond the last.
    pub fn bit(&self, at: usize) -> bool {
        self.0.get(at / 8).is_some_and(|byte| byte >> (7 - at % 8) & 1 == 1)
    }

    /// This id with bit `at` flipped.
    pub fn with_flipped_bit(mut self, at: usize) -> Self {
        if let Some(byte) = self.0.get_mut(at / 8) {
            *byte ^= 1 << (7 - at % 8);
        }
        self
    }

    /// An id that `ip` may have (BEP 42). `random` gives the bits that are free; its last byte is
    /// the id's.
    ///
    /// ```
    /// use cratetorrent::wire::krpc::NodeId;
    ///
    /// let mut random = [0; 20];
    /// random[19] = 1;
    /// let ip = "124.31.75.21".parse()?;
    /// let id = NodeId::from_ip(ip, random);
    /// assert_eq!(id.0[..2], [0x5f, 0xbf]);
    /// assert!(id.fits(ip));
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    pub fn from_ip(ip: IpAddr, mut random: [u8; 20]) -> Self {
        let crc = prefix(ip, random[19]).to_be_bytes();
        random[0] = crc[0];
        random[1] = crc[1];
        random[2] = crc[2] & 0xf8 | random[2] & 7;
        Self(random)
    }

    /// Whether `ip` may have this id (BEP 42). Addresses of local networks may have any.
    pub fn fits(&self, ip: IpAddr) -> bool {
        let [a, b, c, ..] = self.0;
        let want = u32::from_be_bytes([a, b, c, 0]) & 0xffff_f800;
        is_local(ip) || prefix(ip, self.0[19]) & 0xffff_f800 == want
    }
}

/// The checksum of which an id has the first 21 bits.
fn prefix(ip: IpAddr, random: u8) -> u32 {
    let r = random & 7;
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let masked = u32::from(ip) & 0x030f_3fff | u32::from(r) << 29;
            crc32c(&masked.to_be_bytes())
        }
        IpAddr::V6(ip) => {
            let high = (u128::from(ip) >> 64) as u64;
            let masked = high & 0x0103_070f_1f3f_7fff | u64::from(r) << 61;
            crc32c(&masked.to_be_bytes())
        }
    }
}

/// CRC-32C (Castagnoli), bit by bit: it is over eight bytes at most.
fn crc32c(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc: u32, &byte| (0..8).fold(crc ^ u32::from(byte), step))
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NodeId({self})")
    }
}

impl From<crate::base::ids::InfoHash> for NodeId {
    fn from(hash: crate::base::ids::InfoHash) -> Self {
        Self(hash.0)
    }
}

/// Whether an address belongs to a local network: this machine, RFC 1918, link-local, or unique
/// local IPv6. Such nodes may have any id (BEP 42), and are not taken from others' words outside.
pub fn is_local(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}
