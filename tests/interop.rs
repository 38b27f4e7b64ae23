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
#[path = "interop/versions.rs"]
mod versions;
#[path = "interop/web_servers.rs"]
mod web_servers;

use std::{path::Path, process::Command, time::Duration};

use clients::{Client, Role, Told};
use support::{
    clock,
    download::{self, Bench},
    network::{Place, Switch},
    ports,
    system::{is_root, skip},
    torrent::{Recipe, Torrent},
};

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

/// `client` seeds both torrents in turn, and ours downloads them; then the other way round.
fn both_ways(client: Client) {
    both_ways_by(client, false);
}

/// The same, by uTP if `utp`.
fn both_ways_by(client: Client, utp: bool) {
    let Some(places) = places(&format!("interop with {client:?}"), client) else { return };
    for torrent in [single_file(), folder()] {
        download_one(client, &torrent, &places, utp);
        upload_one(client, &torrent, &places, utp);
    }
}

fn download_one(client: Client, torrent: &Torrent, places: &Places, utp: bool) {
    let mut bench = Bench::new(torrent);
    let port = ports::free_port();
    let peer = places.theirs.at(port);
    let source = bench.path().join("source");
    std::fs::create_dir(&source).unwrap();
    torrent.write_files(&source);
    let tracker = client.needs_tracker().then(|| clients::tracker(&bench, &[], &places.tracker));
    let url = tracker.as_ref().map(|(_, url)| url.as_str());
    std::fs::write(&bench.torrent, create(torrent, &source, url)).unwrap();
    let mut seed = client
        .start_as(&Told { utp, ..Told::new(Role::Seed, &bench, &source, &places.theirs, port) });
    clock::wait_for(&format!("{client:?} seeds"), LIMIT, || {
        assert!(
            seed.ended().is_none(),
            "{client:?} ended before it seeded; it said:\n{}",
            seed.tail()
        );
        clients::serves(&bench, torrent, peer, &places.ours).then_some(())
    });

    let started = clock::now();
    let mut command = places.ours.command(download::program());
    bench.arguments(&mut command, &[peer]);
    command.args(if utp { &["--transport", "utp"][..] } else { &[] });
    let mut process = bench.start(&mut command);
    let status = process.wait(LIMIT);
    assert!(status.success(), "download from {client:?}: {status}");
    torrent.assert_in(&bench.dir);
    println!("{} MiB from {client:?} in {:?}", torrent.len() >> 20, clock::now() - started);
}

fn upload_one(client: Client, torrent: &Torrent, places: &Places, utp: bool) {
    let mut bench = Bench::new(torrent);
    let ours = places.ours.at(ports::free_port());
    torrent.write_files(&bench.dir);
    let (_tracker, url) = clients::tracker(&bench, &[ours], &places.tracker);
    std::fs::write(&bench.torrent, create(torrent, &bench.dir, Some(&url))).unwrap();
    let mut command = places.ours.command(download::program());
    bench.arguments(&mut command, &[]);
    command.args(if utp { &["--transport", "both"][..] } else { &[] });
    let mut seed = bench.start(command.args(["--seed", "--port", &ours.port().to_string()]));
    clock::wait_for("ours seeds", LIMIT, || {
        assert!(seed.ended().is_none(), "ours ended before it seeded; it said:\n{}", seed.tail());
        clients::serves(&bench, torrent, ours, &places.ours).then_some(())
    });

    let started = clock::now();
    let target = bench.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let port = ports::free_port();
    let mut leech = client
        .start_as(&Told { utp, ..Told::new(Role::Leech, &bench, &target, &places.theirs, port) });
    clock::wait_for(&format!("{client:?} has all of it"), LIMIT, || {
        assert!(
            leech.ended().is_none(),
            "{client:?} ended before it was complete; it said:\n{}",
            leech.tail()
        );
        torrent.compare(&target).ok()
    });
    println!("{} MiB to {client:?} in {:?}", torrent.len() >> 20, clock::now() - started);
}

#[test]
fn libtorrent() {
    both_ways(Client::Libtorrent);
}

#[test]
fn libtorrent_by_utp_alone() {
    both_ways_by(Client::Libtorrent, true);
}

#[test]
fn transmission() {
    both_ways(Client::Transmission);
}

#[test]
fn transmission_by_utp() {
    both_ways_by(Client::Transmission, true);
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

/// By hand, since building it takes long: `scripts/install_clients --rqbit` and
/// `CRATETORRENT_INTEROP_RQBIT=1`.
#[test]
fn rqbit() {
    if rqbit_takes_part() {
        both_ways(Client::Rqbit);
    }
}

fn rqbit_takes_part() -> bool {
    std::env::var_os("CRATETORRENT_INTEROP_RQBIT").is_some()
}
