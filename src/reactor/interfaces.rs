//! Which network interfaces this machine has, as far as local discovery needs to know. What the
//! system's list is called is here and nowhere else; where there is none that can be read, the
//! interface that the system chooses is the only one.

use std::net::IpAddr;

use crate::engine::Interface;

/// The interface of this machine alone, on which nothing is announced.
#[cfg(any(target_os = "linux", target_os = "android", test))]
const LOOPBACK: &str = "lo";

/// What the machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Interfaces {
    /// In the order of their numbers, IPv4 before IPv6.
    pub(super) all: Vec<Interface>,
    /// The prefixes of their IPv6 networks, and how long those are.
    pub(super) networks: Vec<(IpAddr, u8)>,
}

impl Interfaces {
    /// Those of this name, or of any. They are read of `/proc/net`, which shows those of this
    /// process's namespace, whatever is mounted at `/sys`; each read takes some microseconds.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn look(name: Option<&str>) -> Self {
        // A family that the system does not have has no file.
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        Self::parse(&read("/proc/net/igmp"), &read("/proc/net/if_inet6"), name)
    }

    /// The one that the system chooses, in both families: that of a name cannot be found.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn look(name: Option<&str>) -> Self {
        let all = if name.is_some() { &[][..] } else { &[false, true] };
        let all = all.iter().map(|&v6| Interface::new(0, v6)).collect();
        Self { all, networks: Vec::new() }
    }

    /// `igmp` has a line for each interface that IPv4 runs on, as `4 eth0 : 1 V3`, and more below
    /// it for its groups, which are indented. `inet6` has a line for each IPv6 address: itself, the
    /// interface's number, the length of the prefix, two more, all in hexadecimal digits, and the
    /// name.
    #[cfg(any(target_os = "linux", target_os = "android", test))]
    fn parse(igmp: &str, inet6: &str, name: Option<&str>) -> Self {
        let is_meant = |other: &str| other != LOOPBACK && name.is_none_or(|name| name == other);
        let mut found = Self::default();
        for line in igmp.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_digit())) {
            let mut words = line.split(|c: char| c.is_whitespace() || c == ':');
            let mut words = words.by_ref().filter(|word| !word.is_empty());
            if let (Some(index), Some(other)) = (words.next(), words.next())
                && let Ok(index) = index.parse()
                && is_meant(other)
            {
                found.all.push(Interface::new(index, false));
            }
        }
        for line in inet6.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [addr, index, bits, _, _, other] = words[..] else { continue };
            let numbers = (u128::from_str_radix(addr, 16), u32::from_str_radix(index, 16));
            if let (Ok(addr), Ok(index)) = numbers
                && let Ok(bits) = u8::from_str_radix(bits, 16)
                && is_meant(other)
            {
                found.all.push(Interface::new(index, true));
                found.networks.push((IpAddr::from(addr.to_be_bytes()), bits));
            }
        }
        found.all.sort_unstable();
        found.all.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGMP: &str = "\
Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
4\teth0      :     2      V3
\t\t\t\tFB0000E0     1 0:00000000\t\t0
\t\t\t\t010000E0     1 0:00000000\t\t0
12\tverylongname123:     1      V2
";
    const INET6: &str = "\
fe8000000000000000fc00fffe000001 04 40 20 80     eth0
20010db8000000000000000000000002 04 38 00 82     eth0
00000000000000000000000000000001 01 80 10 80       lo
fe8000000000000000fc00fffe000002 0c 40 20 80 verylongname123
";

    #[test]
    fn interfaces_of_both_families_are_read_without_loopback() {
        let found = Interfaces::parse(IGMP, INET6, None);
        let all: Vec<_> = found.all.iter().map(|it| (it.index, it.v6)).collect();
        assert_eq!(all, [(4, false), (4, true), (12, false), (12, true)]);
        assert_eq!(found.networks.len(), 3);
        assert_eq!(found.networks[1], ("2001:db8::2".parse().unwrap(), 56));
        let one = Interfaces::parse(IGMP, INET6, Some("eth0"));
        assert_eq!(one.all.iter().map(|it| it.index).collect::<Vec<_>>(), [4, 4]);
        assert_eq!(Interfaces::parse(IGMP, INET6, Some("lo")), Interfaces::default());
    }

    #[test]
    fn damaged_lists_of_interfaces_are_passed_over() {
        for text in ["", "x", "1", "1\t:", "99999999999 a", "zz 1 2 3 4 a", "\u{0}\nx 2 3"] {
            assert_eq!(Interfaces::parse(text, text, None), Interfaces::default(), "{text:?}");
        }
    }
}
