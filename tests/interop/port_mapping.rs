//! Ports mapped by miniupnpd, which we did not write, by PCP, NAT-PMP and UPnP (IGD 1 and 2): a
//! seed of ours behind a router is asked for what it has from outside, by the router's address and
//! port. When it ends the router has no mapping left. Seed, router and outside are network
//! namespaces of their own, around a switch that leads nowhere else.

use std::{fs, path::Path, process::Command, time::Duration};

use crate::{
    LIMIT, clients, create,
    support::{
        clock,
        download::{self, Bench},
        network::{Place, Switch},
        ports,
        process::Process,
        system::{is_root, skip},
        torrent::{Recipe, Torrent},
    },
};

/// The router's address outside, which has to look like one that the world knows.
const OUTER: &str = "11.0.0.7";

/// Chains that miniupnpd fills.
const CHAINS: &str = "table inet filter {
    chain miniupnpd {
    }
    chain prerouting_miniupnpd {
    }
    chain postrouting_miniupnpd {
    }
    chain prerouting {
        type nat hook prerouting priority -100; policy accept;
        jump prerouting_miniupnpd
    }
}
";
/// Drops what is PCP: its first byte is 2.
const NO_PCP: &str = "table inet no_pcp {
    chain input {
        type filter hook input priority 0; policy accept;
        udp dport 5351 @th,64,8 2 drop
    }
}
";

fn is_there(program: &str) -> bool {
    let mut question = Command::new("sh");
    question.args(["-c", &format!("command -v {program} > /dev/null")]);
    question.status().is_ok_and(|status| status.success())
}

fn run(place: &Place, words: &str) {
    let mut words = words.split(' ');
    let output = place.command(words.next().unwrap()).args(words).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// What the router does with packets.
fn rules(router: &Place) -> String {
    let output = router.command("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A router between the place of ours and the place outside.
fn lay(ours: &Place, router: &Place, outside: &Place) {
    let (inner, name) = (router.host(), outside.name().unwrap());
    run(ours, &format!("ip route add default via {inner}"));
    run(router, "sysctl -qw net.ipv4.ip_forward=1");
    run(router, &format!("ip link add wan0 type veth peer name wan0 netns {name}"));
    run(router, &format!("ip address add {OUTER}/24 dev wan0"));
    run(router, "ip link set wan0 up");
    run(outside, "ip link set eth0 down");
    run(outside, "ip address add 11.0.0.9/24 dev wan0");
    run(outside, "ip link set wan0 up");
    run(router, "ip route add default via 11.0.0.9");
}

fn start_router(router: &Place, home: &Path, settings: &str, rules: &str) -> Process {
    let (conf, chains) = (home.join("router.conf"), home.join("router.nft"));
    fs::write(&chains, [CHAINS, rules].concat()).unwrap();
    let status = router.command("nft").arg("-f").arg(&chains).status().unwrap();
    assert!(status.success());
    let text = format!(
        "ext_ifname=wan0\nlistening_ip=eth0\nport=5000\nsecure_mode=yes\n{settings}\
         uuid=11111111-2222-3333-4444-555555555555\n\
         allow 1024-65535 10.77.0.0/24 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n"
    );
    fs::write(&conf, text).unwrap();
    let mut command = router.command("miniupnpd");
    command.arg("-d").arg("-f").arg(&conf).arg("-P").arg(home.join("router.pid"));
    let mut process = Process::spawn("miniupnpd", &mut command, home);
    clock::wait_for("the router is up", LIMIT, || {
        assert!(process.ended().is_none(), "it said:\n{}", process.tail());
        process.output().to_lowercase().contains("listening").then_some(())
    });
    process
}

fn sample() -> Torrent {
    Recipe::single("behind a router.bin", 3_000_001, 64 * 1024).make(700)
}

/// A router with these settings and rules maps our ports by `method`.
fn maps(method: &str, settings: &str, more: &str) {
    let test = format!("port mapping by {method}");
    for program in ["miniupnpd", "nft"] {
        if !is_there(program) {
            return skip(&test, &format!("no {program}; scripts/install_clients installs it"));
        }
    }
    let switch = match Switch::lay(3) {
        Ok(switch) => switch,
        Err(why) if !is_root() => return skip(&test, &why),
        Err(why) => panic!("{why}"),
    };
    let [ours, router, outside] = [0, 1, 2].map(|n| switch.place(n));
    lay(&ours, &router, &outside);
    let torrent = sample();
    let mut bench = Bench::new(&torrent);
    torrent.write_files(&bench.dir);
    fs::write(&bench.torrent, create(&torrent, &bench.dir, None)).unwrap();
    let _process = start_router(&router, bench.path(), settings, more);

    let port = ports::free_port();
    let mut command = ours.command(download::program());
    bench.arguments(&mut command, &[]);
    command.env_remove("NO_PORT_MAPPING");
    command.args(["--seed", "--transport", "both", "--port", &port.to_string()]);
    let started = clock::now();
    let mut seed = bench.start(&mut command);
    for kind in ["TCP", "UDP"] {
        let said = format!("{kind} port {port} by {method}: {OUTER}:{port}");
        clock::wait_for(&said, LIMIT, || {
            assert!(seed.ended().is_none(), "ours ended; it said:\n{}", seed.tail());
            seed.output().contains(&said).then_some(())
        });
    }
    println!("mapped by {method} in {:.1?}", clock::now() - started);
    let addr = format!("{OUTER}:{port}").parse().unwrap();
    clock::wait_for("ours is reached from outside", LIMIT, || {
        clients::serves(&bench, &torrent, addr, &outside).then_some(())
    });
    assert!(rules(&router).contains("dnat"), "{}", rules(&router));

    let began = clock::now();
    seed.terminate();
    seed.wait(LIMIT);
    assert!(clock::now() - began < Duration::from_secs(5));
    let left = rules(&router);
    assert!(!left.contains("dnat"), "a mapping is left:\n{left}");
}

#[test]
fn miniupnpd_maps_by_pcp() {
    maps("PCP", "enable_natpmp=yes\nenable_upnp=yes\n", "");
}

#[test]
fn miniupnpd_maps_by_nat_pmp() {
    maps("NAT-PMP", "enable_natpmp=yes\nenable_upnp=no\n", NO_PCP);
}

#[test]
fn miniupnpd_maps_by_upnp_igd_2() {
    maps("UPnP", "enable_natpmp=no\nenable_upnp=yes\n", "");
}

#[test]
fn miniupnpd_maps_by_upnp_igd_1() {
    maps("UPnP", "enable_natpmp=no\nenable_upnp=yes\nforce_igd_desc_v1=yes\n", "");
}
