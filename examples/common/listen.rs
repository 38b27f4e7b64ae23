//! Engines that listen where they should: on IPv4 in any case, on IPv6 where there is any, or on
//! the address that everything is bound to.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use cratetorrent::{
    Alerts, Conf, EngineHandle, IpFilter, Reactor, ReactorError,
    conf::{Bootstrap, CryptoMethod, Encryption, ProxyServer, Transports},
    handle::spawn_reactor,
};

use super::{
    Problem,
    args::{Args, look_up_nothing, value, variable},
    nodes::{self, Nodes, StateFile},
    read_blocklist,
};

/// The ports to try when none is asked for.
const PORTS: std::ops::RangeInclusive<u16> = 6881..=6889;

/// What `--help` says of the options that [`Place::parse`] takes.
pub const HELP: &str = "\
\x20 --port PORT           accept peers on this port (default: the first free one from 6881 to 6889)
  --no-listen           accept no peers
  --transport KIND      reach peers by tcp, by utp (BEP 29), or by both, tcp first (default: both)
  --proxy URL           reach everything through a proxy, by names where there are names:
                        socks5://USER:PASSWORD@HOST:PORT or http://…; no peer is accepted
  --bind ADDR|NAME      send everything from this address of ours, or by this network interface
  --encryption HOW      off; allow (default): what peers begin, and peers known for it;
                        prefer: tried first with all peers; require: RC4, and no other peers
  --bootstrap HOST:PORT join the DHT by this node; may be given more than once
                        (default: public ones)
  --no-dht              keep off the DHT; so does NO_DHT in the environment, set to anything
  --no-lsd              do not look for peers in the local network; so does NO_LSD
  --no-port-mapping     do not ask the router to let peers in (PCP, NAT-PMP, UPnP), which is done
                        by what goes on serving; so does NO_PORT_MAPPING
  --no-pex              do not tell peers of each other, and do not hear of peers from them
  --no-web-seeds        do not fetch anything from web servers";

/// Where to listen, and what to send from.
#[derive(Clone, Debug, Default)]
pub struct Place {
    port: Option<u16>,
    deaf: bool,
    bind: Option<String>,
    proxy: Option<ProxyServer>,
    no_pex: bool,
    no_web_seeds: bool,
    no_lsd: bool,
    no_mapping: bool,
    encryption: Option<Policy>,
    transports: Transports,
    dht: Dht,
}

/// Which connections with peers are encrypted, as `--encryption` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy(pub Encryption);

impl std::str::FromStr for Policy {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(match text {
            "off" => Encryption::Off,
            "allow" => Encryption::Allowed,
            "prefer" => Encryption::Preferred,
            "require" => Encryption::Required,
            _ => return Err("encryption is off, allow, prefer or require"),
        }))
    }
}

/// Public nodes that lead into the DHT. They serve thousands, and are asked for nodes alone.
const ROUTERS: [(&str, u16); 3] = [
    ("dht.libtorrent.org", 25401),
    ("dht.transmissionbt.com", 6881),
    ("router.bt.ouinet.work", 6881),
];

/// Set to anything, they do what `--no-dht`, `--no-lsd` and `--no-port-mapping` do, for tests and
/// scripts: nothing leaves the machine.
const OFF: &str = "NO_DHT";
const LSD_OFF: &str = "NO_LSD";
const MAPPING_OFF: &str = "NO_PORT_MAPPING";

/// The DHT node: on unless it is switched off.
#[derive(Clone, Debug, Default)]
struct Dht {
    off: bool,
    bootstrap: Vec<Bootstrap>,
    state: Option<StateFile>,
}

impl Dht {
    fn parse(args: &mut Args) -> Result<Self, Problem> {
        let (bootstrap, state) = (nodes::bootstrap(args)?, StateFile::parse(args)?);
        let off = args.contains("--no-dht") || variable(OFF).is_some();
        Ok(Self { off, bootstrap, state })
    }

    /// Sets what the engine is to know of it. Returns the file to keep nodes in.
    fn set(&self, conf: &mut Conf) -> Result<Option<StateFile>, Problem> {
        conf.dht.enabled = !self.off;
        conf.dht.bootstrap.clone_from(&self.bootstrap);
        if self.bootstrap.is_empty() {
            let router = |(host, port): &(&str, u16)| Bootstrap {
                host: (*host).to_owned(),
                port: *port,
                router: true,
            };
            conf.dht.bootstrap = ROUTERS.iter().map(router).collect();
        }
        if self.state.is_some() && conf.session.dir.is_some() {
            return Err(Problem::usage("--dht-state: a session keeps its nodes in its folder"));
        }
        let state = self.state.clone().filter(|_| conf.dht.enabled);
        if let Some(file) = &state {
            conf.dht.state = file.read()?;
        }
        Ok(state)
    }
}

impl Place {
    /// Takes `--port`, `--no-listen`, `--bind`, and what concerns the ways to find peers.
    pub fn parse(args: &mut Args) -> Result<Self, Problem> {
        let (port, deaf) = (value(args, "--port")?, args.contains("--no-listen"));
        if deaf && port.is_some() {
            return Err(Problem::usage("--port and --no-listen exclude each other"));
        }
        let bind: Option<String> = value(args, "--bind")?;
        if bind.as_ref().is_some_and(String::is_empty) {
            return Err(Problem::usage("--bind: an empty address"));
        }
        if let Some(addr) = bind.as_deref().and_then(|bind| bind.parse::<SocketAddr>().ok()) {
            let wrong = format!("--bind: {addr} has a port, which is for --port to say");
            return Err(Problem::usage(wrong));
        }
        let proxy: Option<ProxyServer> = value(args, "--proxy")?;
        if proxy.is_some() {
            if port.is_some() {
                let why = "--port: no peer is accepted when a proxy is used";
                return Err(Problem::usage(why));
            }
            look_up_nothing();
        }
        let no_pex = args.contains("--no-pex");
        let no_web_seeds = args.contains("--no-web-seeds");
        let no_lsd = args.contains("--no-lsd") || variable(LSD_OFF).is_some();
        let no_mapping = args.contains("--no-port-mapping") || variable(MAPPING_OFF).is_some();
        let encryption = value(args, "--encryption")?;
        let transports = match value::<String>(args, "--transport")?.as_deref() {
            Some("tcp") => Transports::Tcp,
            Some("utp") => Transports::Utp,
            None | Some("both") => Transports::Both,
            Some(other) => {
                let wrong = format!("--transport: {other:?} is not tcp, utp or both");
                return Err(Problem::usage(wrong));
            }
        };
        let dht = Dht::parse(args)?;
        let place = Self { port, deaf, bind, no_pex, no_web_seeds, no_lsd, ..Self::default() };
        Ok(Self { encryption, transports, proxy, dht, no_mapping, ..place })
    }

    /// Whether the user has named the port, which others may know then.
    pub fn has_port(&self) -> bool {
        self.port.is_some()
    }

    /// Has no DHT node and keeps quiet in the local network: what is private has no use for either
    /// (BEP 27).
    pub fn switch_off_discovery(&mut self) {
        self.dht.off = true;
        self.no_lsd = true;
    }

    /// Whether web seeds are asked.
    pub fn has_web_seeds(&self) -> bool {
        !self.no_web_seeds
    }

    /// Whether peers can be found without trackers.
    pub fn has_discovery(&self) -> bool {
        !self.dht.off || !self.no_lsd
    }

    /// Starts an engine there: on this port, else on the first of the usual ones that is free, else
    /// on any. For a program that goes on serving (`serves`), the router is asked to let peers in.
    /// The addresses of `blocklist` are blocked before the first peer of a restored session is
    /// dialled. The nodes of the DHT that the engine knows are for the program to keep at the end.
    pub fn start(
        &self,
        mut conf: Conf,
        serves: bool,
        blocklist: Option<&Path>,
    ) -> Result<(EngineHandle, Alerts, Nodes), Problem> {
        conf.port_mapping.enabled = serves && !self.no_mapping && !self.deaf;
        conf.peers.exchange = !self.no_pex;
        conf.web_seeds.enabled = !self.no_web_seeds;
        conf.lsd.enabled = !self.no_lsd;
        if let Some(Policy(policy)) = self.encryption {
            conf.encryption.policy = policy;
            if policy == Encryption::Required {
                // Who wants no readable connection wants no readable data either.
                conf.encryption.method = CryptoMethod::Rc4;
                conf.encryption.only_method = true;
            }
        }
        conf.network.transports = self.transports;
        conf.proxy.server.clone_from(&self.proxy);
        let state = self.dht.set(&mut conf)?;
        let filter = blocklist.map(read_blocklist).transpose()?;
        let (engine, alerts) = self.start_with(conf, filter.as_ref())?;
        let nodes = Nodes::keep(&engine, state);
        Ok((engine, alerts, nodes))
    }

    fn start_with(
        &self,
        conf: Conf,
        filter: Option<&IpFilter>,
    ) -> Result<(EngineHandle, Alerts), Problem> {
        self.try_start(conf, filter).map_err(|e| match (&self.bind, &e) {
            (Some(bind), ReactorError::Listen { .. }) => {
                Problem::new(format!("--bind {bind}: {e}"))
            }
            _ => Problem::of(e),
        })
    }

    fn try_start(
        &self,
        mut conf: Conf,
        filter: Option<&IpFilter>,
    ) -> Result<(EngineHandle, Alerts), ReactorError> {
        match self.bind.as_deref().map(str::parse::<IpAddr>) {
            Some(Ok(addr)) => conf.network.bind_addrs = vec![addr],
            Some(Err(_)) => conf.network.bind_interface.clone_from(&self.bind),
            None => {}
        }
        if self.deaf || !conf.listens() {
            return start_filtered(conf, filter);
        }
        if let Some(port) = self.port {
            return start_on(&conf, port, filter);
        }
        for port in PORTS {
            match start_on(&conf, port, filter) {
                Err(e) if is_busy(&e) => {}
                other => return other,
            }
        }
        start_on(&conf, 0, filter)
    }
}

fn is_busy(e: &ReactorError) -> bool {
    matches!(e, ReactorError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse)
}

/// Starts an engine that has its filter before it does anything.
fn start_filtered(
    conf: Conf,
    filter: Option<&IpFilter>,
) -> Result<(EngineHandle, Alerts), ReactorError> {
    let mut reactor = Reactor::new(conf)?;
    if let Some(filter) = filter {
        reactor.verbs().set_ip_filter(filter.clone());
    }
    spawn_reactor(reactor).map_err(ReactorError::Setup)
}

fn start_on(
    conf: &Conf,
    port: u16,
    filter: Option<&IpFilter>,
) -> Result<(EngineHandle, Alerts), ReactorError> {
    let on = |addrs: &[IpAddr]| {
        let listen = addrs.iter().map(|&addr| SocketAddr::from((addr, port))).collect();
        start_filtered(conf.clone().with(|conf| conf.network.listen = listen), filter)
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
    if addrs.is_empty() { "no port".to_owned() } else { addrs.join(" and ") }
}
