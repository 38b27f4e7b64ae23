//! Engines that listen where they should: on IPv4 in any case, on IPv6 where there is any.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use cratetorrent::{Alerts, Conf, EngineHandle, ReactorError, spawn};

use super::Problem;

/// The ports to try when none is asked for.
const PORTS: std::ops::RangeInclusive<u16> = 6881..=6889;

/// On this port, or on the first of the usual ones that is free.
pub fn start(conf: &Conf, port: Option<u16>) -> Result<(EngineHandle, Alerts), Problem> {
    if let Some(port) = port {
        return start_on(conf, port).map_err(Problem::of);
    }
    let busy = |e: &ReactorError| matches!(e, ReactorError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse);
    let mut last = None;
    for port in PORTS {
        match start_on(conf, port) {
            Err(e) if busy(&e) => last = Some(e),
            other => return other.map_err(Problem::of),
        }
    }
    Err(Problem::new(last.map_or_else(String::new, |e| e.to_string())))
}

fn start_on(conf: &Conf, port: u16) -> Result<(EngineHandle, Alerts), ReactorError> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let both = spawn(Conf { listen: vec![v4, v6], ..conf.clone() });
    match both {
        Err(ReactorError::Listen { addr, source }) if addr == v6 && source.kind() != io::ErrorKind::AddrInUse => {
            log::info!("not listening on {addr}: {source}");
            spawn(Conf { listen: vec![v4], ..conf.clone() })
        }
        other => other,
    }
}

/// "0.0.0.0:6881 and [::]:6881"
pub fn places(engine: &EngineHandle) -> String {
    let addrs: Vec<String> = engine.local_addrs().iter().map(SocketAddr::to_string).collect();
    addrs.join(" and ")
}
