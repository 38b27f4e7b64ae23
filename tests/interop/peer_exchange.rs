//! Peers that are found through peers (BEP 11). One, the newcomer, knows only a slow leech, which
//! is connected to a seed. It is complete long before the slow one can be, so it has met the seed.

use std::{fs, net::SocketAddr};

use crate::{
    LIMIT,
    clients::{self, Client, Role, Told},
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

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    /// One of ours, which has only a magnet link.
    OursByLink,
    Theirs(Client),
}

use Who::{Ours, OursByLink, Theirs};

/// Takes a slow leech twice the time that the newcomer has.
fn sample() -> Torrent {
    let len = 2 * LIMIT.as_secs() as usize * clients::SLOW as usize;
    Recipe::single("found through a peer.bin", len, 32 * 1024).make(500)
}

/// A seed, a slow leech that knows the seed, and a newcomer that knows the leech: each at its
/// place.
fn acquaintances(seed: Who, slow: Who, newcomer: Who, places: &[Place]) {
    let [at_seed, at_slow, at_newcomer, hub] = places else { panic!("four places") };
    let torrent = sample();
    let benches = [(); 3].map(|()| Bench::new(&torrent));
    let [seed_bench, mut slow_bench, mut new_bench] = benches;
    let seed_addr = at_seed.at(ports::free_port());
    let slow_addr = at_slow.at(ports::free_port());

    let _seed = match seed {
        Theirs(client) => {
            torrent.write_files(&seed_bench.dir);
            client.start(Role::Seed, &seed_bench, &seed_bench.dir, at_seed, seed_addr.port())
        }
        _ => magnets::serve(&torrent, &seed_bench, seed_addr, at_seed),
    };
    clock::wait_for("the seed serves", LIMIT, || {
        clients::serves(&seed_bench, &torrent, seed_addr, at_seed).then_some(())
    });
    let mut trackers = Vec::new();
    let _slow = match slow {
        Theirs(client) => {
            trackers.extend(name_peer(client, &torrent, &mut slow_bench, seed_addr, hub));
            client.start(Role::Slow, &slow_bench, &slow_bench.dir, at_slow, slow_addr.port())
        }
        _ => {
            let limit = clients::SLOW.to_string();
            ours(&mut slow_bench, at_slow, slow_addr, seed_addr, &["--limit-down", &limit])
        }
    };
    clock::wait_for("the slow leech listens", LIMIT, || {
        clients::greets(&slow_bench, &torrent, slow_addr, at_slow).then_some(())
    });

    let started = clock::now();
    let new_addr = at_newcomer.at(ports::free_port());
    let mut process = match newcomer {
        Theirs(client) => {
            trackers.extend(name_peer(client, &torrent, &mut new_bench, slow_addr, hub));
            let (role, folder, port) = (Role::Leech, &new_bench.dir, new_addr.port());
            let told = Told::new(role, &new_bench, folder, at_newcomer, port);
            client.start_as(&Told { exchange: true, ..told })
        }
        _ => {
            if newcomer == OursByLink {
                new_bench.torrent = magnets::link(&torrent, &[]).into();
            }
            ours(&mut new_bench, at_newcomer, new_addr, slow_addr, &[])
        }
    };
    clock::wait_for(&format!("{newcomer:?} has all of it"), LIMIT, || {
        assert!(process.ended().is_none(), "{newcomer:?} ended; it said:\n{}", process.tail());
        torrent.compare(&new_bench.dir).ok()
    });
    println!("{newcomer:?} found {seed:?} by {slow:?} in {:.1?}", clock::now() - started);
    assert!(torrent.compare(&slow_bench.dir).is_err(), "the slow leech was not slow");
}

/// Has the bench's torrent lead to one peer: by a link that names it, or a tracker of its own for
/// clients that do not read that.
fn name_peer(
    client: Client,
    torrent: &Torrent,
    bench: &mut Bench,
    peer: SocketAddr,
    hub: &Place,
) -> Option<Process> {
    if client == Client::Libtorrent {
        bench.torrent = magnets::link(torrent, &[peer]).into();
        return None;
    }
    let (tracker, url) = clients::tracker(bench, &[peer], hub);
    fs::write(&bench.torrent, torrent.metainfo_with_tracker(&url)).unwrap();
    Some(tracker)
}

/// Starts one of ours that knows one peer.
fn ours(
    bench: &mut Bench,
    place: &Place,
    addr: SocketAddr,
    peer: SocketAddr,
    more: &[&str],
) -> Process {
    let mut command = place.command(download::program());
    bench.arguments(&mut command, &[peer]);
    command.args(["--seed", "--port", &addr.port().to_string()]).args(more);
    bench.start(&mut command)
}

/// All on loopback, with `client` among them.
fn at_home(client: Client, seed: Who, slow: Who, newcomer: Who) {
    match client.find() {
        Ok(()) => acquaintances(seed, slow, newcomer, &[(); 4].map(|()| Place::loopback())),
        Err(why) => skip(&format!("{newcomer:?} by {slow:?} to {seed:?}"), &why),
    }
}

#[test]
fn libtorrent_finds_libtorrent_through_ours() {
    at_home(Client::Libtorrent, Theirs(Client::Libtorrent), Ours, Theirs(Client::Libtorrent));
}

#[test]
fn ours_finds_ours_through_libtorrent_by_a_magnet_link() {
    at_home(Client::Libtorrent, Ours, Theirs(Client::Libtorrent), OursByLink);
}

#[test]
fn ours_finds_libtorrent_through_libtorrent() {
    at_home(Client::Libtorrent, Theirs(Client::Libtorrent), Theirs(Client::Libtorrent), Ours);
}

#[test]
fn rqbit_finds_ours_through_ours() {
    at_home(Client::Rqbit, Ours, Ours, Theirs(Client::Rqbit));
}

#[test]
fn ours_finds_ours_through_rqbit() {
    at_home(Client::Rqbit, Ours, Theirs(Client::Rqbit), Ours);
}

#[test]
fn ours_finds_rqbit_through_ours() {
    at_home(Client::Rqbit, Theirs(Client::Rqbit), Ours, OursByLink);
}

/// Not through it: it tells of others every 90 s, which is too long here.
#[test]
fn transmission_finds_ours_through_ours() {
    let test = "transmission through ours";
    if let Err(why) = Client::Transmission.find() {
        return skip(test, &why);
    }
    let switch = match Switch::lay(3) {
        Ok(switch) => switch,
        Err(why) if !is_root() => return skip(test, &why),
        Err(why) => panic!("{why}"),
    };
    let places = [switch.place(0), switch.place(1), switch.place(2), switch.hub()];
    acquaintances(Ours, Ours, Theirs(Client::Transmission), &places);
}
