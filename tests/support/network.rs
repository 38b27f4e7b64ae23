//! Where programs run: on loopback, or in network namespaces of the test's own around a switch,
//! taken away when it ends.

use std::{
    ffi::OsStr,
    fs,
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
};

use super::system::run;

/// One place for programs to run at.
#[derive(Clone, Debug)]
pub struct Place {
    host: Ipv4Addr,
    namespace: Option<String>,
}

impl Place {
    /// On this machine's loopback.
    pub fn loopback() -> Self {
        Self { host: Ipv4Addr::LOCALHOST, namespace: None }
    }

    /// Its address.
    pub fn host(&self) -> Ipv4Addr {
        self.host
    }

    /// `port` of its address.
    pub fn at(&self, port: u16) -> SocketAddr {
        SocketAddrV4::new(self.host, port).into()
    }

    /// The network interface with that address.
    pub fn interface(&self) -> &'static str {
        if self.is_loopback() { "lo" } else { "eth0" }
    }

    /// The name of its network namespace, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Whether this process can reach it.
    pub fn is_loopback(&self) -> bool {
        self.namespace.is_none()
    }

    /// A command that runs here.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }

    /// Lets no more than `mbit` Mbit/s out from now on.
    pub fn throttle(&self, mbit: u32) -> Result<(), String> {
        let Some(namespace) = &self.namespace else { return Err("loopback is everybody's".into()) };
        let rate = format!("{mbit}mbit");
        run(
            "tc",
            &[
                "-n", namespace, "qdisc", "add", "dev", "eth0", "root", "tbf", "rate", &rate,
                "burst", "64k", "latency", "50ms",
            ],
        )
    }

    /// The names that programs here can look up, as a file of `hosts` has them, for as long as the
    /// switch is there.
    pub fn set_hosts(&self, hosts: &str) {
        let folder = self.settings().unwrap();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("hosts"), hosts).unwrap();
    }

    /// What `ip netns exec` shows programs in place of what `/etc` has.
    fn settings(&self) -> Option<PathBuf> {
        self.namespace.as_ref().map(|namespace| Path::new("/etc/netns").join(namespace))
    }

    /// Bytes that have gone out, whatever they were.
    pub fn sent(&self) -> u64 {
        let output =
            self.command("cat").arg("/sys/class/net/eth0/statistics/tx_bytes").output().unwrap();
        String::from_utf8_lossy(&output.stdout).trim().parse().unwrap()
    }
}

/// Network namespaces, each with a cable to the switch in one more, and nothing else.
#[derive(Debug)]
pub struct Switch {
    /// The first is the switch itself.
    places: Vec<Place>,
}

impl Switch {
    /// Lays it, with `count` places around it.
    pub fn lay(count: u8) -> Result<Self, String> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let n = COUNT.fetch_add(1, Ordering::Relaxed);
        // Namespaces are apart from each other, so the addresses need not differ from those of
        // other switches.
        let place = |k| Place {
            host: Ipv4Addr::new(10, 77, 0, k + 1),
            namespace: Some(format!("ct-{}-{n}-{k}", std::process::id())),
        };
        // Made first, so that whatever fails below, all of it goes.
        let this = Self { places: (0..=count).map(place).collect() };
        let names: Vec<&str> =
            this.places.iter().flat_map(|place| place.namespace.as_deref()).collect();
        let hub = names[0];
        for (k, (name, place)) in names.iter().zip(&this.places).enumerate() {
            run("ip", &["netns", "add", name])?;
            run("ip", &["-n", name, "link", "set", "lo", "up"])?;
            if k == 0 {
                run("ip", &["-n", hub, "link", "add", "eth0", "type", "bridge"])?;
            } else {
                let port = format!("port{k}");
                run(
                    "ip",
                    &[
                        "-n", name, "link", "add", "eth0", "type", "veth", "peer", "name", &port,
                        "netns", hub,
                    ],
                )?;
                run("ip", &["-n", hub, "link", "set", &port, "master", "eth0", "up"])?;
            }
            run(
                "ip",
                &["-n", name, "address", "add", &format!("{}/24", place.host), "dev", "eth0"],
            )?;
            run("ip", &["-n", name, "link", "set", "eth0", "up"])?;
        }
        Ok(this)
    }

    /// The switch itself.
    pub fn hub(&self) -> Place {
        self.places[0].clone()
    }

    /// One of the places around it, counted from 0.
    pub fn place(&self, n: usize) -> Place {
        self.places[n + 1].clone()
    }
}

impl Drop for Switch {
    fn drop(&mut self) {
        for place in &self.places {
            if let Some(name) = &place.namespace {
                let _ = run("ip", &["netns", "del", name]);
            }
            if let Some(folder) = place.settings() {
                let _ = fs::remove_dir_all(folder);
            }
        }
    }
}
