//! Nothing of a program leaves the machine in a demo, test or benchmark. Each runs in a network
//! namespace of its own, whose only way out is a cable that counts the packets it is given.
#![cfg(target_os = "linux")]
#![allow(clippy::panic)]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::support::download::{example, quiet};
use cratetorrent::wire::metainfo::MetainfoBuilder;

/// An address of no one (RFC 5737), which the names of public nodes lead to.
const NOWHERE: &str = "198.51.100.77";
/// Lays the cable, runs a program for some seconds, and tells what went out meanwhile: packets.
const SCRIPT: &str = r#"
set -e
ip link set lo up
ip link add out type veth peer name far
for link in out far; do
    echo 1 > /proc/sys/net/ipv6/conf/$link/disable_ipv6
    ip link set $link up
done
ip address add 198.51.100.2/32 dev out
ip neighbour add 198.51.100.1 lladdr 02:00:00:00:00:01 dev out
ip route add 198.51.100.1 dev out
ip route add default via 198.51.100.1
mount --bind hosts /etc/hosts
sent() { awk '$1 == "out:" { print $11 }' /proc/net/dev; }
before=$(sent)
seconds=$1
shift
timeout -s INT -k 5 $seconds "$@" > said 2>&1 || true
echo sent $(($(sent) - before))
"#;

/// A program in a folder of its own.
struct Case {
    program: &'static str,
    args: &'static [&'static str],
    /// With the environment of tests and scripts.
    quiet: bool,
    /// Whether packets go out.
    sends: bool,
    seconds: u32,
}

impl Case {
    const fn new(program: &'static str, args: &'static [&'static str]) -> Self {
        Self { program, args, quiet: false, sends: false, seconds: 3 }
    }

    const fn sends(self) -> Self {
        Self { sends: true, ..self }
    }

    const fn quiet(self) -> Self {
        Self { quiet: true, ..self }
    }

    /// What the programs work with.
    fn furnish(dir: &Path) {
        let names = ["dht.libtorrent.org", "dht.transmissionbt.com", "router.bt.ouinet.work"];
        let hosts: String = names.iter().map(|name| format!("{NOWHERE} {name}\n")).collect();
        fs::write(dir.join("hosts"), format!("127.0.0.1 localhost\n{hosts}")).unwrap();
        let mut torrent = MetainfoBuilder::new("t", 16_384);
        let bytes = torrent.single_file(5).build(&[[1; 20]]).unwrap();
        fs::write(dir.join("t.torrent"), bytes).unwrap();
        let bytes = torrent.private(true).build(&[[1; 20]]).unwrap();
        fs::write(dir.join("private.torrent"), bytes).unwrap();
        fs::write(dir.join("data"), [1; 100_000]).unwrap();
    }

    /// The packets that went out. `None` where namespaces cannot be had.
    fn sent(&self) -> Option<u64> {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        Self::furnish(dir);
        let mut command = Command::new("unshare");
        command.args(["-rnm", "sh", "-c", SCRIPT, "sh"]).arg(self.seconds.to_string());
        command.arg(example(self.program)).args(self.args);
        command.current_dir(dir).env("RUST_LOG", "info");
        for variable in
            ["NO_DHT", "NO_LSD", "NO_PORT_MAPPING", "SEED", "METAINFO_PATH", "DOWNLOAD_DIR"]
        {
            command.env_remove(variable);
        }
        let command = if self.quiet { quiet(command) } else { command };
        let output = { command }.stdin(Stdio::null()).output().ok()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let count = text.trim().strip_prefix("sent ")?.parse().unwrap();
        if (count > 0) != self.sends {
            eprintln!("{} said: {}", self.program, fs::read_to_string(dir.join("said")).unwrap());
        }
        Some(count)
    }
}

#[test]
fn quiet_programs_send_nothing_out_of_the_machine() {
    let fetch = &["t.torrent", "--port", "0"];
    let serve = &["data", "--port", "0"];
    let cases = [
        // The cable does count: without being told otherwise, a program joins the DHT.
        Case::new("download", fetch).sends(),
        Case::new("seed", serve).sends(),
        Case::new("download", &["t.torrent", "--port", "0", "--no-dht", "--no-lsd"]),
        // It announces locally.
        Case::new("download", &["t.torrent", "--port", "0", "--no-dht"]).sends(),
        Case::new("download", &["private.torrent", "--port", "0"]),
        // It sends to no node but those that are named.
        Case::new("dht", &["--warm", "2s"]),
        Case::new("dht", &["--warm", "2s", "--bootstrap", "198.51.100.77:6881"]).sends(),
        // The demo.
        Case { seconds: 30, ..Case::new("download", &[]) },
        Case::new("download", fetch).quiet(),
        Case::new("seed", serve).quiet(),
        Case::new("session", &["s", "--port", "0"]).quiet(),
    ];
    let counts: Vec<_> = thread::scope(|scope| {
        let running: Vec<_> = cases.iter().map(|case| scope.spawn(|| case.sent())).collect();
        running.into_iter().map(|case| case.join().unwrap()).collect()
    });
    if counts.iter().all(Option::is_none) {
        return eprintln!("not run: there are no network namespaces here");
    }
    for (Case { program, args, quiet, sends, .. }, count) in cases.iter().zip(counts) {
        let count = count.unwrap();
        assert_eq!(count > 0, *sends, "{program} {args:?}, quiet {quiet}: {count} packets");
    }
}
