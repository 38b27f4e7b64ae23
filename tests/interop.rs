//! Clients that we did not write: as seeds and as leeches of the `download` example, one by one,
//! and all of them in one swarm; by `.torrent` files, by magnet links, through peers and in the
//! local network; in plain and encrypted; through proxies; and web servers as web seeds. A single
//! file, and a folder with names of many scripts, empty files and file borders inside pieces.
//! `scripts/install_clients` installs them; one that is missing is skipped loudly, and an error
//! when `CI=true`.
#![allow(clippy::unwrap_used)]

#[path = "interop/clients.rs"]
mod clients;
#[path = "interop/encryption.rs"]
mod encryption;
#[path = "interop/local.rs"]
mod local;
#[path = "interop/magnets.rs"]
mod magnets;
#[path = "interop/member.rs"]
mod member;
#[path = "interop/peer_exchange.rs"]
mod peer_exchange;
#[path = "interop/port_mapping.rs"]
mod port_mapping;
#[path = "interop/proxies.rs"]
mod proxies;
mod support;
#[path = "interop/swarm.rs"]
mod swarm;
#[path = "interop/trackers.rs"]
mod trackers;
#[path = "interop/transfer.rs"]
mod transfer;
#[path = "interop/versions.rs"]
mod versions;
#[path = "interop/web_servers.rs"]
mod web_servers;

use std::{path::Path, process::Command, time::Duration};

use clients::Client;
use support::{
    download,
    network::{Place, Switch},
    system::{is_root, skip},
    torrent::{Recipe, Torrent},
};
use transfer::Way;

/// How long a client may take until it serves, and then ours until it is done. Transmission 3 sends
/// about 1 MiB/s, to any client.
const LIMIT: Duration = Duration::from_secs(90);

fn single_file() -> Torrent {
    Recipe::single("a single file.bin", 24_000_001, 256 * 1024).make(100)
}

/// Its files are in the order that `create` gives them.
fn folder() -> Torrent {
    Recipe::folder("a folder für alle", 128 * 1024)
        .file("crumbs/a", 5)
        .file("crumbs/b", 16_384)
        .file("crumbs/c", 40_000)
        .file("one byte", 1)
        .file("Ζωή/мир.txt", 3_000_001)
        .file("日本/empty", 0)
        .file("日本/東京/おはよう.bin", 9_123_457)
        .file("🌊.bin", 2_000_000)
        .make(101)
}

/// The `.torrent` file as our own `create` makes it of what is in `folder`, which is what `torrent`
/// was made to be by hand.
fn create(torrent: &Torrent, folder: &Path, tracker: Option<&str>) -> Vec<u8> {
    create_with(torrent, folder, &tracker.map(str::to_owned).into_iter().collect::<Vec<_>>())
}

/// The same, with a tier for each tracker.
fn create_with(torrent: &Torrent, folder: &Path, trackers: &[String]) -> Vec<u8> {
    let out = tempfile::tempdir().unwrap();
    let path = out.path().join("created.torrent");
    let mut command = Command::new(download::example("create"));
    command
        .arg(folder.join(&torrent.name))
        .args(["--quiet", "--piece-length", &torrent.piece_len.to_string(), "--out"])
        .arg(&path);
    command.args(trackers.iter().flat_map(|url| ["--tracker", url]));
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "create: {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let info_hash: String = torrent.info_hash.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), info_hash);
    std::fs::read(path).unwrap()
}

/// Where the client is, where ours is, and where the tracker is.
struct Places {
    theirs: Place,
    ours: Place,
    tracker: Place,
    _switch: Option<Switch>,
}

impl Places {
    fn new(client: Client) -> Result<Self, String> {
        if !client.needs_network() {
            let place = Place::loopback();
            return Ok(Self {
                theirs: place.clone(),
                ours: place.clone(),
                tracker: place,
                _switch: None,
            });
        }
        let switch = Switch::lay(2)?;
        Ok(Self {
            theirs: switch.place(0),
            ours: switch.place(1),
            tracker: switch.hub(),
            _switch: Some(switch),
        })
    }
}

/// Where to test with `client`; `None` if that cannot be done here, which is said.
fn places(test: &str, client: Client) -> Option<Places> {
    if let Err(why) = client.find() {
        skip(test, &why);
        return None;
    }
    match Places::new(client) {
        Ok(places) => Some(places),
        Err(why) if !is_root() => {
            skip(test, &why);
            None
        }
        Err(why) => panic!("{why}"),
    }
}

/// Each way, in plain and by TCP unless the two think better of it.
fn both_ways(client: Client) {
    transfer::both_ways(&format!("interop with {client:?}"), client, &[Way::default()]);
}

/// The same by uTP.
fn both_ways_by_utp(client: Client) {
    let way = Way { utp: true, ..Way::default() };
    transfer::both_ways(&format!("interop with {client:?} by uTP"), client, &[way]);
}

#[test]
fn libtorrent() {
    both_ways(Client::Libtorrent);
}

#[test]
fn libtorrent_by_utp_alone() {
    both_ways_by_utp(Client::Libtorrent);
}

#[test]
fn transmission() {
    both_ways(Client::Transmission);
}

#[test]
fn transmission_by_utp() {
    both_ways_by_utp(Client::Transmission);
}

#[test]
fn aria2() {
    both_ways(Client::Aria2);
}

#[test]
fn qbittorrent() {
    both_ways(Client::Qbittorrent);
}

#[test]
fn rtorrent() {
    both_ways(Client::Rtorrent);
}

#[test]
fn rqbit() {
    both_ways(Client::Rqbit);
}
