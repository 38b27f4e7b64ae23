//! Where a request may go, so that the author of a torrent cannot make us ask services of this
//! machine and its network (server-side request forgery): which addresses a name or a redirect may
//! lead to, and from which scheme to which. It resolves nothing and follows nothing.
//!
//! Credentials stay at their origin: an address that a redirect leads to has those that it says
//! itself, or the ones before if it is of the same origin
//! ([`TrackerUrl::join`](crate::wire::tracker::TrackerUrl::join)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use thiserror::Error;

use crate::{base::target::Target, wire::tracker::Scheme};

/// How far away an address is. A redirect never leads nearer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    Internet,
    /// This network and those like it.
    Network,
    /// A link, where machines that are given out by clouds find their secrets.
    Link,
    /// This machine.
    Machine,
}

/// Why an address is not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    #[error("it is no address of one machine")]
    NoHost,
    #[error("a tracker on this machine or link is asked at /announce only")]
    Path,
    #[error("a web seed of this machine or its network has no query")]
    Query,
    #[error("a redirect may not lead to a nearer network")]
    Nearer,
}

/// Whether `ip` may be asked. `plain_path`: the request cannot be taken for another than an
/// announce or a scrape. `from` is the farthest that redirects came from.
pub(crate) fn check(
    ip: IpAddr,
    mitigate: bool,
    plain_path: bool,
    from: Option<Reach>,
) -> Result<(), Refusal> {
    let reach = reach(ip).ok_or(Refusal::NoHost)?;
    if !mitigate {
        return Ok(());
    }
    if from.is_some_and(|from| reach > from) {
        return Err(Refusal::Nearer);
    }
    if reach >= Reach::Link && !plain_path { Err(Refusal::Path) } else { Ok(()) }
}

/// The same of a file of a web seed. Anything may be a file there, so a request is kept from being
/// more than a look at it: what is near is asked without a query.
pub(crate) fn check_file(
    ip: IpAddr,
    mitigate: bool,
    has_query: bool,
    from: Option<Reach>,
) -> Result<(), Refusal> {
    check(ip, mitigate, true, from)?;
    let is_near = reach(ip).is_some_and(|reach| reach > Reach::Internet);
    if mitigate && is_near && has_query { Err(Refusal::Query) } else { Ok(()) }
}

/// Whether a redirect may lead from one scheme to another: never to a weaker one, and to none but
/// HTTP's.
pub(crate) fn may_follow(from: Scheme, to: Scheme) -> bool {
    match (from, to) {
        (_, Scheme::Udp) | (Scheme::Https, Scheme::Http) => false,
        (_, Scheme::Http | Scheme::Https) => true,
    }
}

/// Whether a name may be asked that a proxy looks up: as [`check`]. What it will be is not known,
/// but what stands for this machine or its network by the name alone.
pub(crate) fn check_name(
    name: &str,
    mitigate: bool,
    plain_path: bool,
    from: Option<Reach>,
) -> Result<(), Refusal> {
    let reach = reach_of_name(name);
    if mitigate && from.is_some_and(|from| reach > from) {
        return Err(Refusal::Nearer);
    }
    if mitigate && reach >= Reach::Link && !plain_path { Err(Refusal::Path) } else { Ok(()) }
}

/// The same of a file of a web seed.
pub(crate) fn check_file_at_name(
    name: &str,
    mitigate: bool,
    has_query: bool,
    from: Option<Reach>,
) -> Result<(), Refusal> {
    check_name(name, mitigate, true, from)?;
    let is_near = reach_of_name(name) > Reach::Internet;
    if mitigate && is_near && has_query { Err(Refusal::Query) } else { Ok(()) }
}

/// How far away something is, as far as that is known.
pub(crate) fn reach_of(target: &Target) -> Option<Reach> {
    match target {
        Target::Addr(addr) => reach(addr.ip()),
        Target::Name { host, .. } => Some(reach_of_name(host)),
    }
}

/// Names that are reserved for what is near (RFC 6761, 6762, 8375).
fn reach_of_name(name: &str) -> Reach {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_below = |top: &str| {
        name.strip_suffix(top).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    if is_below("localhost") {
        Reach::Machine
    } else if is_below("local") || is_below("home.arpa") || is_below("internal") {
        Reach::Network
    } else {
        Reach::Internet
    }
}

/// `None` if it is the address of no machine or of many.
pub(crate) fn reach(ip: IpAddr) -> Option<Reach> {
    match ip.to_canonical() {
        IpAddr::V4(ip) => reach4(ip),
        IpAddr::V6(ip) => reach6(ip),
    }
}

/// The ranges are those of IANA's registry of special addresses (RFC 6890). Those for documentation
/// count as the internet: nothing near has them.
fn reach4(ip: Ipv4Addr) -> Option<Reach> {
    Some(match ip.octets() {
        // Some systems take all of it for this machine.
        [0, ..] => return None,
        [224..=239, ..] | [255, 255, 255, 255] => return None,
        [127, ..] => Reach::Machine,
        [169, 254, ..] => Reach::Link,
        [10, ..]
        | [172, 16..=31, ..]
        | [192, 168, ..]
        | [100, 64..=127, ..]
        | [192, 0, 0, _]
        | [198, 18..=19, ..]
        | [240..=255, ..] => Reach::Network,
        _ => Reach::Internet,
    })
}

fn reach6(ip: Ipv6Addr) -> Option<Reach> {
    let embedded = |hi: u16, lo: u16| {
        let ([a, b], [c, d]) = (hi.to_be_bytes(), lo.to_be_bytes());
        reach4(Ipv4Addr::new(a, b, c, d))
    };
    Some(match ip.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] | [0xFF00..=0xFFFF, ..] => return None,
        [0, 0, 0, 0, 0, 0, 0, 1] => Reach::Machine,
        // Addresses that stand for one of IPv4: compatible, translated (RFC 6052), and 6to4.
        [0, 0, 0, 0, 0, 0, hi, lo] | [0x64, 0xFF9B, 0, 0, 0, 0, hi, lo] => return embedded(hi, lo),
        [0, 0, 0, 0, 0xFFFF, 0, hi, lo] | [0x2002, hi, lo, ..] => return embedded(hi, lo),
        // Translated within a network (RFC 8215).
        [0x64, 0xFF9B, 1, _, _, _, hi, lo] => embedded(hi, lo)?.max(Reach::Network),
        [0xFE80..=0xFEBF, ..] => Reach::Link,
        [0xFC00..=0xFDFF, ..] | [0xFEC0..=0xFEFF, ..] => Reach::Network,
        _ => Reach::Internet,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_stand_for_what_is_near_are_known() {
        for (name, want) in [
            ("localhost", Reach::Machine),
            ("A.LocalHost.", Reach::Machine),
            ("printer.local", Reach::Network),
            ("metadata.google.internal", Reach::Network),
            ("nas.home.arpa", Reach::Network),
            ("notlocalhost", Reach::Internet),
            ("localhost.test", Reach::Internet),
        ] {
            assert_eq!(reach_of_name(name), want, "{name}");
        }
        let far = Some(Reach::Internet);
        assert_eq!(check_name("localhost", true, true, far), Err(Refusal::Nearer));
        assert_eq!(check_name("localhost", true, false, None), Err(Refusal::Path));
        assert_eq!(check_name("localhost", false, false, far), Ok(()));
        assert_eq!(check_file_at_name("a.local", true, true, None), Err(Refusal::Query));
        assert_eq!(check_file_at_name("a.test", true, true, far), Ok(()));
    }

    #[test]
    fn addresses_are_sorted_by_reach() {
        for (ip, want) in [
            ("0.0.0.0", None),
            ("0.0.0.1", None),
            ("224.0.0.1", None),
            ("239.255.255.250", None),
            ("255.255.255.255", None),
            ("::", None),
            ("ff02::1", None),
            ("::ffff:0.0.0.0", None),
            ("::ffff:224.0.0.1", None),
            ("127.0.0.1", Some(Reach::Machine)),
            ("127.255.0.9", Some(Reach::Machine)),
            ("::1", Some(Reach::Machine)),
            ("::ffff:127.0.0.1", Some(Reach::Machine)),
            ("::127.0.0.1", Some(Reach::Machine)),
            ("64:ff9b::127.0.0.1", Some(Reach::Machine)),
            ("64:ff9b:1::127.0.0.1", Some(Reach::Machine)),
            ("::ffff:0:127.0.0.1", Some(Reach::Machine)),
            ("2002:7f00:1::", Some(Reach::Machine)),
            ("169.254.169.254", Some(Reach::Link)),
            ("fe80::1", Some(Reach::Link)),
            ("::ffff:169.254.169.254", Some(Reach::Link)),
            ("10.1.2.3", Some(Reach::Network)),
            ("172.16.0.1", Some(Reach::Network)),
            ("172.31.255.255", Some(Reach::Network)),
            ("192.168.0.1", Some(Reach::Network)),
            ("100.64.0.1", Some(Reach::Network)),
            ("198.18.0.1", Some(Reach::Network)),
            ("240.0.0.1", Some(Reach::Network)),
            ("fd00::1", Some(Reach::Network)),
            ("64:ff9b:1::192.0.2.1", Some(Reach::Network)),
            ("fec0::1", Some(Reach::Network)),
            ("172.32.0.1", Some(Reach::Internet)),
            ("192.0.2.1", Some(Reach::Internet)),
            ("2001:db8::1", Some(Reach::Internet)),
            ("64:ff9b::192.0.2.1", Some(Reach::Internet)),
        ] {
            assert_eq!(reach(ip.parse().unwrap()), want, "{ip}");
        }
    }
}
