//! Nothing of a program leaves the machine in a demo, test or benchmark. Each runs in a network
//! namespace of its own, whose only way out is a cable that counts the packets it is given.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
};

use cratetorrent::wire::metainfo::MetainfoBuilder;
use support::download::{example, quiet};

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

/// The packets that a program sent out. `None` where namespaces cannot be had.
fn sent(dir: &Path, seconds: u32, program: &str, args: &[&str], is_quiet: bool) -> Option<u64> {
    let mut command = Command::new("unshare");
    command.args(["-rnm", "sh", "-c", SCRIPT, "sh"]).arg(seconds.to_string());
    command.arg(example(program)).args(args).current_dir(dir).env("RUST_LOG", "info");
    for variable in ["NO_DHT", "NO_LSD", "SEED", "METAINFO_PATH", "DOWNLOAD_DIR"] {
        command.env_remove(variable);
    }
    let command = if is_quiet { quiet(command) } else { command };
    let output = { command }.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let count = text.trim().strip_prefix("sent ")?.parse().unwrap();
    if count > 0 && is_quiet {
        eprintln!("{program} said: {}", fs::read_to_string(dir.join("said")).unwrap());
    }
    Some(count)
}

#[test]
fn quiet_programs_send_nothing_out_of_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let names = ["dht.libtorrent.org", "dht.transmissionbt.com", "router.bt.ouinet.work"];
    let hosts: String = names.iter().map(|name| format!("{NOWHERE} {name}\n")).collect();
    fs::write(path.join("hosts"), format!("127.0.0.1 localhost\n{hosts}")).unwrap();
    let mut torrent = MetainfoBuilder::new("t", 16_384);
    let bytes = torrent.single_file(5).build(&[[1; 20]]).unwrap();
    fs::write(path.join("t.torrent"), bytes).unwrap();
    let bytes = torrent.private(true).build(&[[1; 20]]).unwrap();
    fs::write(path.join("private.torrent"), bytes).unwrap();
    fs::write(path.join("data"), [1; 100_000]).unwrap();

    let fetch = ["t.torrent", "--port", "0"];
    let Some(loud) = sent(path, 3, "download", &fetch, false) else {
        return eprintln!("not run: there are no network namespaces here");
    };
    // The cable does count: without being told otherwise, a program joins the DHT.
    assert!(loud > 0, "{loud}");
    assert!(sent(path, 3, "seed", &["data", "--port", "0"], false) > Some(0));
    fs::remove_file(path.join("data.torrent")).unwrap();
    let off = ["t.torrent", "--port", "0", "--no-dht", "--no-lsd"];
    assert_eq!(sent(path, 3, "download", &off, false), Some(0), "{off:?}");
    assert!(sent(path, 3, "download", &off[..4], false) > Some(0), "it announces locally");
    let private = ["private.torrent", "--port", "0"];
    assert_eq!(sent(path, 3, "download", &private, false), Some(0), "a private torrent");

    assert_eq!(sent(path, 30, "download", &[], false), Some(0), "the demo");
    assert_eq!(sent(path, 3, "download", &fetch, true), Some(0));
    assert_eq!(sent(path, 3, "seed", &["data", "--port", "0"], true), Some(0));
    assert_eq!(sent(path, 3, "session", &["s", "--port", "0"], true), Some(0));
}
