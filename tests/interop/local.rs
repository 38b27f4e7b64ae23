//! Peers that are found in the local network (BEP 14): each in a network namespace of its own, with
//! a switch between them that leads nowhere else. No peer is told of another.
//!
//! The one that comes first has announced itself to an empty network and is quiet for minutes, so
//! it can only find the other by hearing it.

use std::{fs, net::SocketAddr, time::Duration};

use crate::{
    LIMIT,
    clients::{Client, Role, Told},
    magnets,
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

/// libtorrent announces a torrent three times: at once, after 2 s and after 6 s.
const QUIET: Duration = Duration::from_secs(9);

fn sample() -> Torrent {
    Recipe::single("a neighbour's file.bin", 3_000_001, 64 * 1024).make(600)
}

fn switch(test: &str) -> Option<Switch> {
    match Switch::lay(2) {
        Ok(switch) => Some(switch),
        Err(why) if !is_root() => {
            skip(test, &why);
            None
        }
        Err(why) => panic!("{why}"),
    }
}

/// One of ours, which has only a magnet link.
fn ours(torrent: &Torrent, bench: &mut Bench, place: &Place, addr: SocketAddr) -> Process {
    bench.torrent = magnets::link(torrent, &[]).into();
    let mut command = download::quiet(place.command(download::program()));
    bench.arguments(&mut command, &[]);
    command.args(["--seed", "--port", &addr.port().to_string()]).env_remove("NO_LSD");
    bench.start(&mut command)
}

fn theirs(role: Role, bench: &Bench, place: &Place, addr: SocketAddr) -> Process {
    let port = addr.port();
    let told = Told::new(role, bench, &bench.dir, place, port);
    Client::Libtorrent.start_as(&Told { local: true, ..told })
}

fn wait_until_whole(torrent: &Torrent, bench: &Bench, leech: &mut Process) {
    let started = clock::now();
    clock::wait_for("the leech has all of it", LIMIT, || {
        assert!(leech.ended().is_none(), "the leech ended; it said:\n{}", leech.tail());
        torrent.compare(&bench.dir).ok()
    });
    println!("found and fetched in {:.1?}", clock::now() - started);
}

/// Whether libtorrent takes part, and a switch.
fn laid(test: &str) -> Option<Switch> {
    if let Err(why) = Client::Libtorrent.find() {
        skip(test, &why);
        return None;
    }
    switch(test)
}

#[test]
fn ours_hears_libtorrent_announce_itself() {
    let Some(switch) = laid("local discovery of libtorrent") else { return };
    let torrent = sample();
    let (mut leech, seed) = (Bench::new(&torrent), Bench::new(&torrent));
    torrent.write_files(&seed.dir);
    let places = [switch.place(0), switch.place(1)];
    let addrs = places.each_ref().map(|place| place.at(ports::free_port()));
    let mut process = ours(&torrent, &mut leech, &places[0], addrs[0]);
    clock::until(clock::now() + QUIET);
    let _seed = theirs(Role::Seed, &seed, &places[1], addrs[1]);
    wait_until_whole(&torrent, &leech, &mut process);
}

#[test]
fn libtorrent_hears_ours_announce_itself() {
    let Some(switch) = laid("local discovery by libtorrent") else { return };
    let torrent = sample();
    let (leech, seed) = (Bench::new(&torrent), Bench::new(&torrent));
    let places = [switch.place(0), switch.place(1)];
    let addrs = places.each_ref().map(|place| place.at(ports::free_port()));
    let mut process = theirs(Role::Leech, &leech, &places[0], addrs[0]);
    clock::until(clock::now() + QUIET);
    let _seed = serve(&torrent, &seed, &places[1], addrs[1]);
    wait_until_whole(&torrent, &leech, &mut process);
}

/// A seed of ours.
fn serve(torrent: &Torrent, bench: &Bench, place: &Place, addr: SocketAddr) -> Process {
    torrent.write_files(&bench.dir);
    let mut command = download::quiet(place.command(download::example("seed")));
    command.arg(&bench.torrent).arg("--dir").arg(&bench.dir).env_remove("NO_LSD");
    command.args(["--port", &addr.port().to_string()]).env("RUST_LOG", "debug");
    Process::spawn("seed", &mut command, bench.path())
}

#[test]
fn ours_hears_ours_where_there_is_ipv6_alone() {
    let Some(switch) = switch("local discovery over IPv6") else { return };
    let torrent = sample();
    let (mut leech, seed) = (Bench::new(&torrent), Bench::new(&torrent));
    let places = [switch.place(0), switch.place(1)];
    for place in &places {
        let addr = format!("{}/24", place.host());
        let mut command = place.command("ip");
        let status = command.args(["address", "delete", &addr, "dev", "eth0"]).status().unwrap();
        assert!(status.success());
    }
    // An address is tried for two seconds before it is used (RFC 4862), and until then there is no
    // interface to announce on.
    clock::wait_for("link-local addresses", LIMIT, || {
        let of = |place: &Place| {
            let output = place.command("ip").args(["-6", "address"]).output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            text.contains("fe80::") && !text.contains("tentative")
        };
        places.iter().all(of).then_some(())
    });
    let addrs = places.each_ref().map(|place| place.at(ports::free_port()));
    let mut process = ours(&torrent, &mut leech, &places[0], addrs[0]);
    clock::until(clock::now() + Duration::from_secs(2));
    let _seed = serve(&torrent, &seed, &places[1], addrs[1]);
    wait_until_whole(&torrent, &leech, &mut process);
    let said = fs::read_to_string(leech.path().join("download-1.log")).unwrap();
    assert!(said.contains("fe80::"), "{said}");
}
