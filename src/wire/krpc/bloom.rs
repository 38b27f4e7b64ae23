//! The filters that count the peers of a torrent over many nodes (BEP 33).

use std::{fmt, net::IpAddr};

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

/// Bytes of a filter.
pub const BLOOM_LEN: usize = 256;

/// A set of addresses that is counted, not listed: 2,048 bits, two for each address.
#[derive(Clone, PartialEq, Eq)]
pub struct BloomFilter(pub [u8; BLOOM_LEN]);

impl Default for BloomFilter {
    fn default() -> Self {
        Self([0; BLOOM_LEN])
    }
}

impl BloomFilter {
    /// Adds an address.
    pub fn insert(&mut self, ip: IpAddr) {
        for at in indices(ip) {
            if let Some(byte) = self.0.get_mut(at / 8) {
                *byte |= 1 << (at % 8);
            }
        }
    }

    /// Whether an address may be in it; false is certain.
    pub fn may_contain(&self, ip: IpAddr) -> bool {
        indices(ip)
            .into_iter()
            .all(|at| self.0.get(at / 8).is_some_and(|byte| byte >> (at % 8) & 1 == 1))
    }

    /// Adds what another filter has.
    pub fn union(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a |= b);
    }

    /// About how many addresses it has; nothing beyond some 6,000 can be told apart (BEP 33). Of an
    /// empty filter, for which the formula there gives a half, it is known.
    pub fn estimate(&self) -> f64 {
        let m = (8 * BLOOM_LEN) as f64;
        let zeros = self.0.iter().map(|byte| byte.count_zeros()).sum::<u32>();
        let zeros = f64::from(zeros).max(1.0);
        if zeros >= m {
            return 0.0;
        }
        (zeros / m).ln() / (2.0 * (1.0 - 1.0 / m).ln())
    }
}

impl fmt::Debug for BloomFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BloomFilter({:.0})", self.estimate())
    }
}

/// The two bits of an address.
fn indices(ip: IpAddr) -> [usize; 2] {
    let hash = match ip.to_canonical() {
        IpAddr::V4(ip) => digest(&SHA1_FOR_LEGACY_USE_ONLY, &ip.octets()),
        IpAddr::V6(ip) => digest(&SHA1_FOR_LEGACY_USE_ONLY, &ip.octets()),
    };
    let index = |bytes: Option<&[u8]>| match bytes {
        Some(&[low, high]) => usize::from(u16::from_le_bytes([low, high])) % (8 * BLOOM_LEN),
        _ => 0,
    };
    [index(hash.as_ref().get(..2)), index(hash.as_ref().get(2..4))]
}
