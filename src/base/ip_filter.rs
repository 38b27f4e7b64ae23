//! Ranges of addresses that we want nothing to do with: sorted, disjoint, and looked up in O(log
//! n). Where they come from is for others to know; see `wire::blocklist` for the usual files.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use thiserror::Error;

/// Addresses from the first to the last, both included, of one family. An IPv4-mapped IPv6 range is
/// the IPv4 range that it stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IpRange(Inner);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Inner {
    V4(u32, u32),
    V6(u128, u128),
}

/// Why two addresses, or an address and a prefix, are no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IpRangeError {
    /// The last address comes before the first.
    #[error("range from {0} down to {1}")]
    Inverted(IpAddr, IpAddr),
    /// One is an IPv4 address, the other an IPv6 address.
    #[error("range from {0} to {1}, of another family")]
    Families(IpAddr, IpAddr),
    /// The prefix is longer than the address.
    #[error("prefix of {len} bits for {addr}, which has fewer")]
    Prefix {
        /// The address.
        addr: IpAddr,
        /// Bits of the prefix.
        len: u8,
    },
}

impl IpRange {
    /// From `first` to `last`, both included.
    ///
    /// # Errors
    /// If they are of different families or in the wrong order.
    pub fn new(first: IpAddr, last: IpAddr) -> Result<Self, IpRangeError> {
        let inner = match (first.to_canonical(), last.to_canonical(), first, last) {
            (IpAddr::V4(a), IpAddr::V4(b), ..) => Inner::V4(a.to_bits(), b.to_bits()),
            // One that only begins or ends among the mapped addresses.
            (.., IpAddr::V6(a), IpAddr::V6(b)) => Inner::V6(a.to_bits(), b.to_bits()),
            _ => return Err(IpRangeError::Families(first, last)),
        };
        match inner {
            Inner::V4(a, b) if a > b => Err(IpRangeError::Inverted(first, last)),
            Inner::V6(a, b) if a > b => Err(IpRangeError::Inverted(first, last)),
            inner => Ok(Self(inner)),
        }
    }

    /// All addresses that share the first `len` bits of `addr` (CIDR); the other bits of `addr` do
    /// not matter.
    ///
    /// # Errors
    /// If `len` exceeds the bits of the address: 32, or 128.
    pub fn cidr(addr: IpAddr, len: u8) -> Result<Self, IpRangeError> {
        let bits = if addr.is_ipv4() { 32 } else { 128 };
        if u32::from(len) > bits {
            return Err(IpRangeError::Prefix { addr, len });
        }
        let (first, last) = match addr {
            IpAddr::V4(ip) => {
                let rest = u32::MAX.checked_shr(len.into()).unwrap_or(0);
                (
                    Ipv4Addr::from_bits(ip.to_bits() & !rest).into(),
                    Ipv4Addr::from_bits(ip.to_bits() | rest).into(),
                )
            }
            IpAddr::V6(ip) => {
                let rest = u128::MAX.checked_shr(len.into()).unwrap_or(0);
                (
                    Ipv6Addr::from_bits(ip.to_bits() & !rest).into(),
                    Ipv6Addr::from_bits(ip.to_bits() | rest).into(),
                )
            }
        };
        Self::new(first, last)
    }

    /// The first address.
    pub fn first(self) -> IpAddr {
        match self.0 {
            Inner::V4(a, _) => Ipv4Addr::from_bits(a).into(),
            Inner::V6(a, _) => Ipv6Addr::from_bits(a).into(),
        }
    }

    /// The last address.
    pub fn last(self) -> IpAddr {
        match self.0 {
            Inner::V4(_, b) => Ipv4Addr::from_bits(b).into(),
            Inner::V6(_, b) => Ipv6Addr::from_bits(b).into(),
        }
    }
}

impl From<IpAddr> for IpRange {
    fn from(addr: IpAddr) -> Self {
        Self(match addr.to_canonical() {
            IpAddr::V4(ip) => Inner::V4(ip.to_bits(), ip.to_bits()),
            IpAddr::V6(ip) => Inner::V6(ip.to_bits(), ip.to_bits()),
        })
    }
}

impl fmt::Display for IpRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first(), self.last())
    }
}

/// A set of blocked addresses: 8 bytes an IPv4 range, 32 an IPv6 range, nothing more.
///
/// An IPv4-mapped IPv6 address is looked up as the IPv4 address that it stands for, and no IPv6
/// range blocks it, not even `::/0`.
///
/// ```
/// use cratetorrent::{IpFilter, IpRange};
///
/// let filter: IpFilter = [IpRange::cidr("10.0.0.0".parse()?, 8)?].into_iter().collect();
/// assert!(filter.blocks("10.1.2.3".parse()?) && filter.blocks("::ffff:10.1.2.3".parse()?));
/// assert!(!filter.blocks("11.0.0.0".parse()?));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IpFilter {
    v4: Box<[(u32, u32)]>,
    v6: Box<[(u128, u128)]>,
}

impl IpFilter {
    /// Whether `addr` is in one of the ranges.
    pub fn blocks(&self, addr: IpAddr) -> bool {
        match addr.to_canonical() {
            IpAddr::V4(ip) => holds(&self.v4, ip.to_bits()),
            IpAddr::V6(ip) => holds(&self.v6, ip.to_bits()),
        }
    }

    /// How many ranges it has, after merging.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether it blocks no address.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The ranges in order, IPv4 first. They neither overlap nor touch.
    pub fn ranges(&self) -> impl Iterator<Item = IpRange> + '_ {
        let v4 = self.v4.iter().map(|&(a, b)| IpRange(Inner::V4(a, b)));
        v4.chain(self.v6.iter().map(|&(a, b)| IpRange(Inner::V6(a, b))))
    }
}

impl FromIterator<IpRange> for IpFilter {
    /// Merges the ranges, which may come in any order, overlap and touch.
    fn from_iter<I: IntoIterator<Item = IpRange>>(ranges: I) -> Self {
        let mut gathered = IpRanges::default();
        ranges.into_iter().for_each(|range| gathered.push(range));
        gathered.into()
    }
}

/// Ranges on their way to a filter, in any order, in as little memory.
#[derive(Debug, Default)]
pub(crate) struct IpRanges {
    v4: Vec<(u32, u32)>,
    v6: Vec<(u128, u128)>,
}

impl IpRanges {
    pub(crate) fn push(&mut self, range: IpRange) {
        match range.0 {
            Inner::V4(a, b) => self.v4.push((a, b)),
            Inner::V6(a, b) => self.v6.push((a, b)),
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

impl From<IpRanges> for IpFilter {
    fn from(IpRanges { v4, v6 }: IpRanges) -> Self {
        Self { v4: merged(v4, |a| a.checked_add(1)), v6: merged(v6, |a| a.checked_add(1)) }
    }
}

/// What counts as one host: an IPv4 address, or the /64 of an IPv6 address, all of which any one
/// host may have (RFC 4291, 2.5.1).
pub(crate) fn host_of(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

fn holds<T: Ord + Copy>(ranges: &[(T, T)], addr: T) -> bool {
    let after = ranges.partition_point(|&(first, _)| first <= addr);
    ranges.get(..after).and_then(<[_]>::last).is_some_and(|&(_, last)| addr <= last)
}

fn merged<T: Ord + Copy>(mut ranges: Vec<(T, T)>, next: impl Fn(T) -> Option<T>) -> Box<[(T, T)]> {
    ranges.sort_unstable();
    ranges.dedup_by(|later, kept| {
        // Nothing comes after the last address of all.
        let touches = next(kept.1).is_none_or(|next| later.0 <= next);
        if touches {
            kept.1 = kept.1.max(later.1);
        }
        touches
    });
    ranges.into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(s: &str) -> IpAddr {
        s.parse().unwrap()
    }

    fn range(first: &str, last: &str) -> IpRange {
        IpRange::new(ip(first), ip(last)).unwrap()
    }

    fn filter(ranges: &[(&str, &str)]) -> IpFilter {
        ranges.iter().map(|(a, b)| range(a, b)).collect()
    }

    #[test]
    fn range_includes_both_ends_and_not_their_neighbours() {
        let f = filter(&[
            ("1.2.3.4", "1.2.3.9"),
            ("::5", "::9"),
            ("0.0.0.0", "0.0.0.0"),
            ("255.255.255.255", "255.255.255.255"),
        ]);
        for (addr, blocked) in [
            ("1.2.3.3", false),
            ("1.2.3.4", true),
            ("1.2.3.9", true),
            ("1.2.3.10", false),
            ("::4", false),
            ("::5", true),
            ("::9", true),
            ("::a", false),
            ("0.0.0.0", true),
            ("0.0.0.1", false),
            ("255.255.255.255", true),
        ] {
            assert_eq!(f.blocks(ip(addr)), blocked, "{addr}");
        }
        assert!(!IpFilter::default().blocks(ip("1.2.3.4")) && IpFilter::default().is_empty());
    }

    #[test]
    fn overlapping_and_touching_ranges_are_merged() {
        let f = filter(&[
            ("2.0.0.0", "2.0.0.9"),
            ("1.0.0.0", "1.0.0.5"),
            ("1.0.0.6", "1.0.0.7"),
            ("2.0.0.3", "2.0.0.4"),
        ]);
        let told: Vec<String> = f.ranges().map(|r| r.to_string()).collect();
        assert_eq!(told, ["1.0.0.0-1.0.0.7", "2.0.0.0-2.0.0.9"]);
        let all = filter(&[
            ("0.0.0.0", "255.255.255.255"),
            ("255.255.255.255", "255.255.255.255"),
            ("5.0.0.0", "6.0.0.0"),
        ]);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address_that_it_stands_for() {
        let f = filter(&[("::ffff:1.2.3.4", "::ffff:1.2.3.5"), ("::", "ffff::")]);
        assert!(
            f.blocks(ip("1.2.3.4")) && f.blocks(ip("::ffff:1.2.3.5")) && f.blocks(ip("2001::1"))
        );
        assert!(!f.blocks(ip("1.2.3.6")) && !f.blocks(ip("::ffff:1.2.3.6")));
        assert_eq!(IpRange::from(ip("::ffff:1.2.3.4")), range("1.2.3.4", "1.2.3.4"));
        assert_eq!(
            IpRange::cidr(ip("::ffff:1.2.3.4"), 120).unwrap(),
            range("1.2.3.0", "1.2.3.255")
        );
    }

    #[test]
    fn all_of_a_64_is_one_host() {
        assert_eq!(host_of(ip("2001:db8:1:2:3:4:5:6")), ip("2001:db8:1:2::"));
        assert_eq!(host_of(ip("::ffff:1.2.3.4")), ip("1.2.3.4"));
    }

    #[test]
    fn prefixes_of_every_length() {
        let cidr = |addr, len| IpRange::cidr(ip(addr), len);
        assert_eq!(cidr("1.2.3.4", 24), Ok(range("1.2.3.0", "1.2.3.255")));
        assert_eq!(cidr("1.2.3.4", 32), Ok(range("1.2.3.4", "1.2.3.4")));
        assert_eq!(cidr("1.2.3.4", 0), Ok(range("0.0.0.0", "255.255.255.255")));
        assert_eq!(
            cidr("2001:db8::1", 32),
            Ok(range("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"))
        );
        assert_eq!(cidr("2001:db8::1", 128), Ok(range("2001:db8::1", "2001:db8::1")));
        assert_eq!(cidr("::", 80), Ok(range("::", "::ffff:ffff:ffff")));
        assert_eq!(cidr("::", 0).map(IpRange::last), Ok(Ipv6Addr::from_bits(u128::MAX).into()));
        assert_eq!(cidr("1.2.3.4", 33), Err(IpRangeError::Prefix { addr: ip("1.2.3.4"), len: 33 }));
        assert!(cidr("::1", 129).is_err());
    }

    #[test]
    fn invalid_range_is_named() {
        let e = IpRange::new(ip("1.0.0.2"), ip("1.0.0.1")).unwrap_err();
        assert_eq!(e.to_string(), "range from 1.0.0.2 down to 1.0.0.1");
        assert!(matches!(IpRange::new(ip("1.0.0.2"), ip("::1")), Err(IpRangeError::Families(..))));
        assert!(matches!(IpRange::new(ip("::2"), ip("::1")), Err(IpRangeError::Inverted(..))));
    }

    #[test]
    fn an_ipv4_range_takes_eight_bytes() {
        assert_eq!(size_of_val(&*filter(&[("1.0.0.0", "1.0.0.1"), ("3.0.0.0", "4.0.0.0")]).v4), 16);
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            failure_persistence: None,
            ..ProptestConfig::default()
        })]

        /// Whatever the ranges, a lookup says what going through them one by one says, and none
        /// touches another.
        #[test]
        fn lookups_agree_with_a_walk_through_all_ranges(
            pairs in prop::collection::vec((0u8..200, 0u8..20), 0..30),
        ) {
            let v4 = |n: u32| IpAddr::from(Ipv4Addr::from_bits(n));
            let ranges: Vec<(u32, u32)> =
                pairs.iter().map(|&(a, n)| (a.into(), u32::from(a) + u32::from(n))).collect();
            let f: IpFilter =
                ranges.iter().map(|&(a, b)| IpRange::new(v4(a), v4(b)).unwrap()).collect();
            for n in 0..256 {
                prop_assert_eq!(f.blocks(v4(n)), ranges.iter().any(|&(a, b)| (a..=b).contains(&n)));
            }
            prop_assert!(f.v4.windows(2).all(|w| w[0].1 + 1 < w[1].0));
        }
    }
}
