//! Engines that listen where they should: on IPv4 in any case, on IPv6 where there is any, or on
//! the address that everything is bound to.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use cratetorrent::{Alerts, Conf, EngineHandle, ReactorError, spawn};

use super::{
    Problem,
    args::{Args, value},
};

/// The ports to try when none is asked for.
const PORTS: std::ops::RangeInclusive<u16> = 6881..=6889;

/// Where to listen, and what to send from.
#[derive(Clone, Debug, Default)]
pub struct Place {
    port: Option<u16>,
    deaf: bool,
    bind: Option<String>,
}

impl Place {
    /// Takes `--port`, `--no-listen` and `--bind`.
    pub fn parse(args: &mut Args) -> Result<Self, Problem> {
        let (port, deaf) = (value(args, "--port")?, args.contains("--no-listen"));
        if deaf && port.is_some() {
            return Err(Problem::usage("--port and --no-listen exclude each other"));
        }
        let bind: Option<String> = value(args, "--bind")?;
        if bind.as_ref().is_some_and(String::is_empty) {
            return Err(Problem::usage("--bind: an empty address"));
        }
        Ok(Self { port, deaf, bind })
    }

    /// Whether the user has named the port, which others may know then.
    pub fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Starts an engine there: on this port, else on the first of the usual ones that is free, else
    /// on any.
    pub fn start(&self, mut conf: Conf) -> Result<(EngineHandle, Alerts), Problem> {
        match self.bind.as_deref().map(str::parse::<IpAddr>) {
            Some(Ok(addr)) => conf.network.bind_addrs = vec![addr],
            Some(Err(_)) => conf.network.bind_interface.clone_from(&self.bind),
            None => {}
        }
        if self.deaf {
            return spawn(conf).map_err(Problem::of);
        }
        if let Some(port) = self.port {
            return start_on(&conf, port).map_err(Problem::of);
        }
        for port in PORTS {
            match start_on(&conf, port) {
                Err(e) if is_busy(&e) => {}
                other => return other.map_err(Problem::of),
            }
        }
        start_on(&conf, 0).map_err(Problem::of)
    }
}

fn is_busy(e: &ReactorError) -> bool {
    matches!(e, ReactorError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

fn start_on(conf: &Conf, port: u16) -> Result<(EngineHandle, Alerts), ReactorError> {
    let on = |addrs: &[IpAddr]| {
        let listen = addrs.iter().map(|&addr| SocketAddr::from((addr, port))).collect();
        spawn(conf.clone().with(|conf| conf.network.listen = listen))
    };
    if !conf.network.bind_addrs.is_empty() {
        return on(&conf.network.bind_addrs);
    }
    let (v4, v6) = (IpAddr::from(Ipv4Addr::UNSPECIFIED), IpAddr::from(Ipv6Addr::UNSPECIFIED));
    match on(&[v4, v6]) {
        Err(ReactorError::Listen { addr, source })
            if addr.is_ipv6() && source.kind() != io::ErrorKind::AddrInUse =>
        {
            log::info!("not listening on {addr}: {source}");
            on(&[v4])
        }
        other => other,
    }
}

/// "0.0.0.0:6881 and [::]:6881"
pub fn places(engine: &EngineHandle) -> String {
    let addrs: Vec<String> = engine.local_addrs().iter().map(SocketAddr::to_string).collect();
    addrs.join(" and ")
}
