//! The router that leads outside, from the system's table of routes. Where there is no table that
//! can be read no router is known.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};

use crate::wire::port_mapping::GATEWAY_PORT;

/// Of a route: it is up; it leads through a router.
#[cfg(any(target_os = "linux", target_os = "android", test))]
const UP: u32 = 1;
#[cfg(any(target_os = "linux", target_os = "android", test))]
const GATEWAY: u32 = 2;

/// The router, and our address towards it. With `interface`, of that one alone; with `addr`, only
/// if that is our address towards it.
pub(super) fn look(
    interface: Option<&str>,
    addr: Option<Ipv4Addr>,
) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let gateway = gateway(interface)?;
    let local = addr.or_else(|| local_addr(gateway))?;
    (!local.is_loopback() && !local.is_unspecified()).then_some((gateway, local))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn gateway(interface: Option<&str>) -> Option<Ipv4Addr> {
    parse(&std::fs::read_to_string("/proc/net/route").ok()?, interface)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn gateway(_: Option<&str>) -> Option<Ipv4Addr> {
    None
}

/// The router of the default route with the lowest metric: lines of an interface's name, and in
/// hexadecimal digits, in the machine's own order of bytes, the destination, the router, flags, two
/// more, in decimal the metric, and the mask.
///
/// Where a tunnel (VPN) has that route there is none: its route has no router, or it stands as two
/// halves beside the default. What leaves goes by the tunnel then, and a port of the router beside
/// it would lead around it.
#[cfg(any(target_os = "linux", target_os = "android", test))]
fn parse(table: &str, interface: Option<&str>) -> Option<Ipv4Addr> {
    let half = u32::from_ne_bytes([128, 0, 0, 0]);
    let (mut best, mut is_halved): (Option<(u32, Option<Ipv4Addr>)>, bool) = (None, false);
    for line in table.lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, to, gateway, flags, _, _, metric, mask, ..] = words[..] else { continue };
        let hex = |word: &str| u32::from_str_radix(word, 16).ok();
        let (Some(to), Some(gateway), Some(flags), Some(mask), Ok(metric)) =
            (hex(to), hex(gateway), hex(flags), hex(mask), metric.parse::<u32>())
        else {
            continue;
        };
        if interface.is_some_and(|interface| interface != name) || flags & UP == 0 {
            continue;
        }
        is_halved |= mask == half;
        if (to, mask) == (0, 0) && best.is_none_or(|(least, _)| metric < least) {
            let has_gateway = flags & GATEWAY != 0 && gateway != 0;
            let gateway = has_gateway.then(|| Ipv4Addr::from(gateway.to_ne_bytes()));
            best = Some((metric, gateway));
        }
    }
    best.filter(|_| !is_halved).and_then(|(_, gateway)| gateway)
}

/// The address that the system would send from. Nothing is sent for that.
fn local_addr(gateway: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(SocketAddrV4::new(gateway, GATEWAY_PORT)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(addr) => Some(*addr.ip()),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\n";

    fn line(name: &str, to: u32, gateway: [u8; 4], flags: u32, metric: u32, mask: u32) -> String {
        let gateway = u32::from_ne_bytes(gateway);
        format!("{name}\t{to:08X}\t{gateway:08X}\t{flags:04X}\t0\t0\t{metric}\t{mask:08X}\t0\n")
    }

    #[test]
    fn default_route_with_the_lowest_metric_is_the_routers() {
        let table = [
            HEAD.to_owned(),
            line("eth0", 0, [10, 0, 0, 1], 3, 100, 0),
            line("eth0", 0x0A, [0, 0, 0, 0], 1, 0, 0xFF),
            line("wlan0", 0, [192, 168, 1, 1], 3, 50, 0),
            line("eth1", 0, [10, 9, 9, 9], 2, 1, 0),
        ]
        .concat();
        assert_eq!(parse(&table, None), Some(Ipv4Addr::new(192, 168, 1, 1)));
        assert_eq!(parse(&table, Some("eth0")), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(parse(&table, Some("eth1")), None, "it is down");
    }

    #[test]
    fn router_beside_a_tunnel_is_not_asked_unless_it_is_meant() {
        let lan = [HEAD.to_owned(), line("eth0", 0, [10, 0, 0, 1], 3, 100, 0)].concat();
        let whole = format!("{lan}{}", line("tun0", 0, [0, 0, 0, 0], 1, 50, 0));
        let half = u32::from_ne_bytes([128, 0, 0, 0]);
        let halves = [0, half].map(|to| line("tun0", to, [10, 8, 0, 1], 3, 0, half)).concat();
        for table in [whole, format!("{lan}{halves}")] {
            assert_eq!(parse(&table, None), None, "{table}");
            assert_eq!(parse(&table, Some("tun0")), None, "{table}");
            assert_eq!(parse(&table, Some("eth0")), Some(Ipv4Addr::new(10, 0, 0, 1)));
        }
        assert_eq!(parse(&lan, None), Some(Ipv4Addr::new(10, 0, 0, 1)));
    }

    #[test]
    fn damaged_tables_of_routes_have_no_router() {
        for text in ["", "x", HEAD, "a\nb c d e f g h i", "a\neth0 0 zz 3 0 0 0 0"] {
            assert_eq!(parse(text, None), None, "{text:?}");
        }
    }
}
