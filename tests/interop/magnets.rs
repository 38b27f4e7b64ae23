//! Torrents by magnet links (BEP 9): other clients tell ours what the torrent is, and ours tells
//! them. Its info dictionary is longer than one block, and has a key that no client knows, so it is
//! right only as it came. Nothing is told of a private torrent.

use std::{fs, net::SocketAddr, path::PathBuf, thread};

use crate::{
    LIMIT,
    clients::{self, Client, Role},
    places,
    support::{
        bencode, clock,
        download::{self, Bench},
        network::Place,
        ports,
        process::Process,
        torrent::{Recipe, Torrent, noise},
    },
};

fn recipe() -> Recipe {
    Recipe::folder("by a magnet link", 64 * 1024)
        .file("one byte", 1)
        .file("Ζωή/мир.bin", 1_000_001)
        .file("日本/東京.bin", 300_000)
        .info_key("filler", bencode::string(noise(7, 20_000)))
}

fn hex(torrent: &Torrent) -> String {
    torrent.info_hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A link to `torrent` that names these peers.
pub(crate) fn link(torrent: &Torrent, peers: &[SocketAddr]) -> String {
    let peers: String = peers.iter().map(|peer| format!("&x.pe={peer}")).collect();
    format!("magnet:?xt=urn:btih:{}{peers}", hex(torrent))
}

/// What `client` takes for a link to `torrent` that leads to `peer`. Those that do not read `x.pe`
/// get a tracker, which is returned.
fn link_for(
    client: Client,
    torrent: &Torrent,
    peer: SocketAddr,
    bench: &Bench,
    tracker: &Place,
) -> (PathBuf, Option<Process>) {
    if matches!(client, Client::Libtorrent | Client::Qbittorrent) {
        return (link(torrent, &[peer]).into(), None);
    }
    let (process, url) = clients::tracker(bench, &[peer], tracker);
    if client != Client::Transmission {
        return (format!("{}&tr={url}", link(torrent, &[])).into(), Some(process));
    }
    // The file that Transmission keeps of a link; version 3 takes links themselves over RPC alone.
    let info = bencode::dict(&[("info_hash", bencode::string(torrent.info_hash))]);
    let file = bencode::dict(&[("announce", bencode::string(url)), ("magnet-info", info)]);
    let path = bench.path().join("link.torrent");
    fs::write(&path, file).unwrap();
    (path, Some(process))
}

/// One of ours that serves the bench's torrent at `addr` of `place`.
pub(crate) fn serve(torrent: &Torrent, bench: &Bench, addr: SocketAddr, place: &Place) -> Process {
    torrent.write_files(&bench.dir);
    let mut command = download::quiet(place.command(download::example("seed")));
    command.arg(&bench.torrent).arg("--dir").arg(&bench.dir);
    command.args(["--port", &addr.port().to_string()]).env("RUST_LOG", "debug");
    let mut seed = Process::spawn("seed", &mut command, bench.path());
    clock::wait_for("ours seeds", LIMIT, || {
        assert!(seed.ended().is_none(), "ours ended before it seeded; it said:\n{}", seed.tail());
        clients::serves(bench, torrent, addr, place).then_some(())
    });
    seed
}

fn ours_from(client: Client) {
    let Some(places) = places(&format!("a magnet link to {client:?}"), client) else { return };
    let torrent = recipe().make(400);
    let (seed, mut leech) = (Bench::new(&torrent), Bench::new(&torrent));
    let peer = places.theirs.at(ports::free_port());
    torrent.write_files(&seed.dir);
    let mut process = client.start(Role::Seed, &seed, &seed.dir, &places.theirs, peer.port());
    // From elsewhere: Transmission hangs up on a second connection from one address.
    clock::wait_for(&format!("{client:?} seeds"), LIMIT, || {
        assert!(process.ended().is_none(), "{client:?} ended; it said:\n{}", process.tail());
        clients::serves(&seed, &torrent, peer, &places.tracker).then_some(())
    });

    let started = clock::now();
    leech.torrent = link(&torrent, &[peer]).into();
    let mut command = places.ours.command(download::program());
    leech.arguments(&mut command, &[]);
    let status = leech.start(&mut command).wait(LIMIT);
    assert!(status.success(), "download from {client:?}: {status}");
    torrent.assert_in(&leech.dir);
    println!("by a magnet link from {client:?} in {:?}", clock::now() - started);
}

fn theirs_from_ours(client: Client) {
    let Some(places) = places(&format!("a magnet link for {client:?}"), client) else { return };
    let torrent = recipe().make(401);
    let (seed, mut leech) = (Bench::new(&torrent), Bench::new(&torrent));
    let ours = places.ours.at(ports::free_port());
    let _seed = serve(&torrent, &seed, ours, &places.ours);

    let started = clock::now();
    let (link, _tracker) = link_for(client, &torrent, ours, &leech, &places.tracker);
    leech.torrent = link;
    let mut process =
        client.start(Role::Leech, &leech, &leech.dir, &places.theirs, ports::free_port());
    clock::wait_for(&format!("{client:?} has all of it"), LIMIT, || {
        assert!(process.ended().is_none(), "{client:?} ended; it said:\n{}", process.tail());
        torrent.compare(&leech.dir).ok()
    });
    println!("by a magnet link to {client:?} in {:?}", clock::now() - started);
}

/// At the same time, since most of it is waiting.
fn both_ways(client: Client) {
    thread::scope(|scope| {
        scope.spawn(|| ours_from(client));
        theirs_from_ours(client);
    });
}

#[test]
fn libtorrent_and_ours_get_magnets_from_each_other() {
    both_ways(Client::Libtorrent);
}

#[test]
fn transmission_and_ours_get_magnets_from_each_other() {
    both_ways(Client::Transmission);
}

#[test]
fn rqbit_and_ours_get_magnets_from_each_other() {
    both_ways(Client::Rqbit);
}

#[test]
fn aria2_and_ours_get_magnets_from_each_other() {
    both_ways(Client::Aria2);
}

#[test]
fn qbittorrent_and_ours_get_magnets_from_each_other() {
    both_ways(Client::Qbittorrent);
}

/// What ours says to libtorrent in its extension handshake.
fn said_to_libtorrent(torrent: &Torrent) -> Option<String> {
    let client = Client::Libtorrent;
    let places = places("what ours tells libtorrent of a torrent", client)?;
    let (seed, mut leech) = (Bench::new(torrent), Bench::new(torrent));
    let ours = places.ours.at(ports::free_port());
    let _seed = serve(torrent, &seed, ours, &places.ours);
    leech.torrent = link(torrent, &[ours]).into();
    let process = client.start(Role::Leech, &leech, &leech.dir, &places.theirs, ports::free_port());
    let said =
        || process.output().lines().find(|line| line.contains("cratetorrent")).map(Into::into);
    Some(clock::wait_for("ours has told of its extensions", LIMIT, said))
}

#[test]
fn private_torrent_gives_libtorrent_no_metadata_and_no_peers() {
    let Some(public) = said_to_libtorrent(&recipe().make(402)) else { return };
    let private = recipe().info_key("private", bencode::int(1)).make(402);
    let private = said_to_libtorrent(&private).unwrap();
    for name in ["'metadata_size'", "'ut_metadata'", "'ut_pex'"] {
        assert!(public.contains(name) && !private.contains(name), "{name}\n{public}\n{private}");
    }
}
