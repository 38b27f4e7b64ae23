//! Encrypted connections (MSE) with each client, where one end takes no others: the client, or
//! ours. The other end has its defaults, and both seed in turn.

use std::{path::Path, process::Stdio, time::Duration};

use super::{
    LIMIT, Places,
    clients::{self, Client, Role, Told},
    create, folder, places, single_file,
};
use crate::support::{
    clock,
    download::{self, Bench},
    network::Place,
    ports,
    process::Process,
    torrent::Torrent,
};

/// The end that takes no connections but encrypted ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Demand {
    Theirs,
    Ours,
}

/// What ours says of an encrypted connection.
const SIGN: &str = "encrypts: Rc4";

#[test]
fn encrypted_libtorrent() {
    both_ways(Client::Libtorrent);
}

#[test]
fn encrypted_transmission() {
    both_ways(Client::Transmission);
}

#[test]
fn encrypted_aria2() {
    both_ways(Client::Aria2);
}

#[test]
fn encrypted_qbittorrent() {
    both_ways(Client::Qbittorrent);
}

#[test]
fn encrypted_rtorrent() {
    both_ways(Client::Rtorrent);
}

fn both_ways(client: Client) {
    let test = format!("encrypted connections with {client:?}");
    let Some(places) = places(&test, client) else { return };
    for torrent in [single_file(), folder()] {
        for demand in [Demand::Theirs, Demand::Ours] {
            download_one(client, &torrent, &places, demand);
            upload_one(client, &torrent, &places, demand);
        }
    }
}

/// Ours as it is started for the test.
fn ours(bench: &Bench, place: &Place, peers: &[std::net::SocketAddr], demand: Demand) -> Command {
    let mut command = place.command(download::program());
    bench.arguments(&mut command, peers);
    if demand == Demand::Ours {
        command.args(["--encryption", "require"]);
    }
    command
}

type Command = std::process::Command;

/// Starts the client as it is told for the test.
fn theirs(
    client: Client,
    role: Role,
    (bench, folder): (&Bench, &Path),
    (place, port): (&Place, u16),
    demand: Demand,
) -> Process {
    let told = Told::new(role, bench, folder, place, port);
    client.start_as(&Told { encrypted: demand == Demand::Theirs, ..told })
}

/// Whether something accepts connections there: one that demands encryption says nothing else.
fn accepts(place: &Place, addr: std::net::SocketAddr) -> bool {
    let script = format!("exec 3<>/dev/tcp/{}/{}", addr.ip(), addr.port());
    let mut command = place.command("bash");
    command.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn download_one(client: Client, torrent: &Torrent, places: &Places, demand: Demand) {
    let mut bench = Bench::new(torrent);
    let port = ports::free_port();
    let peer = places.theirs.at(port);
    let source = bench.path().join("source");
    std::fs::create_dir(&source).unwrap();
    torrent.write_files(&source);
    let tracker = client.needs_tracker().then(|| clients::tracker(&bench, &[], &places.tracker));
    let url = tracker.as_ref().map(|(_, url)| url.as_str());
    std::fs::write(&bench.torrent, create(torrent, &source, url)).unwrap();
    let mut seed = theirs(client, Role::Seed, (&bench, &source), (&places.theirs, port), demand);
    clock::wait_for(&format!("{client:?} is up"), LIMIT, || {
        assert!(seed.ended().is_none(), "{client:?} ended; it said:\n{}", seed.tail());
        match demand {
            Demand::Theirs => accepts(&places.ours, peer).then_some(()),
            Demand::Ours => clients::serves(&bench, torrent, peer, &places.ours).then_some(()),
        }
    });

    let started = clock::now();
    let mut process = bench.start(&mut ours(&bench, &places.ours, &[peer], demand));
    let status = process.wait(LIMIT);
    assert!(status.success(), "download from {client:?}, {demand:?}: {status}");
    torrent.assert_in(&bench.dir);
    assert!(process.output().contains(SIGN), "{client:?}, {demand:?}: not encrypted");
    let time = clock::now() - started;
    println!("{} MiB from {client:?}, demanded by {demand:?}, in {time:.1?}", torrent.len() >> 20);
}

fn upload_one(client: Client, torrent: &Torrent, places: &Places, demand: Demand) {
    let mut bench = Bench::new(torrent);
    let addr = places.ours.at(ports::free_port());
    torrent.write_files(&bench.dir);
    let (_tracker, url) = clients::tracker(&bench, &[addr], &places.tracker);
    std::fs::write(&bench.torrent, create(torrent, &bench.dir, Some(&url))).unwrap();
    let mut command = ours(&bench, &places.ours, &[], demand);
    let mut seed = bench.start(command.args(["--seed", "--port", &addr.port().to_string()]));
    clock::wait_for("ours seeds", LIMIT, || {
        assert!(seed.ended().is_none(), "ours ended; it said:\n{}", seed.tail());
        seed.output().contains("seeding on").then_some(())
    });

    let started = clock::now();
    let target = bench.path().join("target");
    std::fs::create_dir(&target).unwrap();
    let at = (&places.theirs, ports::free_port());
    let mut leech = theirs(client, Role::Leech, (&bench, &target), at, demand);
    // libtorrent tries the other way a minute later, and rtorrent with its next announce.
    let limit = LIMIT + Duration::from_secs(60);
    clock::wait_for(&format!("{client:?} has all of it"), limit, || {
        assert!(leech.ended().is_none(), "{client:?} ended; it said:\n{}", leech.tail());
        torrent.compare(&target).ok()
    });
    assert!(seed.output().contains(SIGN), "{client:?}, {demand:?}: not encrypted");
    let time = clock::now() - started;
    println!("{} MiB to {client:?}, demanded by {demand:?}, in {time:.1?}", torrent.len() >> 20);
}
