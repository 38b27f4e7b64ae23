//! One torrent from a client to ours, or from ours to a client, with no other peer: what the tests
//! of single clients share, whatever they demand of the connection between the two.

use std::{
    net::SocketAddr,
    process::{Command, Stdio},
    time::Duration,
};

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

/// What ours says of an encrypted connection.
const SIGN: &str = "encrypts: Rc4";

/// How the two are connected. By default as either does it by itself, but by TCP.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Way {
    /// By uTP alone.
    pub(crate) utp: bool,
    /// The end that takes no connections but encrypted ones.
    pub(crate) demand: Option<Demand>,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Demand {
    Theirs,
    Ours,
}

/// In each of these ways `client` seeds both torrents in turn, and ours downloads them; then the
/// other way round.
pub(crate) fn both_ways(test: &str, client: Client, ways: &[Way]) {
    let Some(places) = places(test, client) else { return };
    for torrent in [single_file(), folder()] {
        for &way in ways {
            let one = One { client, torrent: &torrent, places: &places, way };
            one.download();
            one.upload();
        }
    }
}

/// One transfer.
struct One<'a> {
    client: Client,
    torrent: &'a Torrent,
    places: &'a Places,
    way: Way,
}

impl One<'_> {
    fn download(&self) {
        let Self { client, torrent, places, way } = *self;
        let mut bench = Bench::new(torrent);
        let port = ports::free_port();
        let peer = places.theirs.at(port);
        let source = bench.path().join("source");
        std::fs::create_dir(&source).unwrap();
        torrent.write_files(&source);
        let needs_tracker = client.needs_tracker();
        let tracker = needs_tracker.then(|| clients::tracker(&bench, &[], &places.tracker));
        let url = tracker.as_ref().map(|(_, url)| url.as_str());
        std::fs::write(&bench.torrent, create(torrent, &source, url)).unwrap();
        let mut seed = self.theirs(&Told::new(Role::Seed, &bench, &source, &places.theirs, port));
        clock::wait_for(&format!("{client:?} seeds"), LIMIT, || {
            assert!(seed.ended().is_none(), "{client:?} ended; it said:\n{}", seed.tail());
            match way.demand {
                Some(Demand::Theirs) => accepts(&places.ours, peer).then_some(()),
                _ => clients::serves(&bench, torrent, peer, &places.ours).then_some(()),
            }
        });

        let started = clock::now();
        let transport = if way.utp { &["--transport", "utp"][..] } else { &[] };
        let mut process = bench.start(self.ours(&bench, &[peer]).args(transport));
        let status = process.wait(LIMIT);
        assert!(status.success(), "download from {client:?}, {way:?}: {status}");
        torrent.assert_in(&bench.dir);
        self.check(&process);
        let time = clock::now() - started;
        println!("{} MiB from {client:?}, {way:?}, in {time:.1?}", torrent.len() >> 20);
    }

    fn upload(&self) {
        let Self { client, torrent, places, way } = *self;
        let mut bench = Bench::new(torrent);
        let addr = places.ours.at(ports::free_port());
        torrent.write_files(&bench.dir);
        let (_tracker, url) = clients::tracker(&bench, &[addr], &places.tracker);
        std::fs::write(&bench.torrent, create(torrent, &bench.dir, Some(&url))).unwrap();
        let mut command = self.ours(&bench, &[]);
        command.args(if way.utp { &["--transport", "both"][..] } else { &[] });
        let mut seed = bench.start(command.args(["--seed", "--port", &addr.port().to_string()]));
        clock::wait_for("ours seeds", LIMIT, || {
            assert!(seed.ended().is_none(), "ours ended; it said:\n{}", seed.tail());
            match way.demand {
                Some(_) => seed.output().contains("seeding on").then_some(()),
                None => clients::serves(&bench, torrent, addr, &places.ours).then_some(()),
            }
        });

        let started = clock::now();
        let target = bench.path().join("target");
        std::fs::create_dir(&target).unwrap();
        let port = ports::free_port();
        let mut leech = self.theirs(&Told::new(Role::Leech, &bench, &target, &places.theirs, port));
        // Where encryption is demanded libtorrent tries the other way a minute later, and rtorrent
        // with its next announce.
        let limit = if way.demand.is_some() { LIMIT + Duration::from_secs(60) } else { LIMIT };
        clock::wait_for(&format!("{client:?} has all of it"), limit, || {
            assert!(leech.ended().is_none(), "{client:?} ended; it said:\n{}", leech.tail());
            torrent.compare(&target).ok()
        });
        self.check(&seed);
        let time = clock::now() - started;
        println!("{} MiB to {client:?}, {way:?}, in {time:.1?}", torrent.len() >> 20);
    }

    /// Ours as it is started for the test.
    fn ours(&self, bench: &Bench, peers: &[SocketAddr]) -> Command {
        let mut command = self.places.ours.command(download::program());
        bench.arguments(&mut command, peers);
        if self.way.demand == Some(Demand::Ours) {
            command.args(["--encryption", "require"]);
        }
        command
    }

    /// Starts the client as it is told for the test.
    fn theirs(&self, told: &Told<'_>) -> Process {
        let encrypted = self.way.demand == Some(Demand::Theirs);
        self.client.start_as(&Told { encrypted, utp: self.way.utp, ..*told })
    }

    /// What is demanded was so.
    fn check(&self, ours: &Process) {
        if self.way.demand.is_some() {
            let Self { client, way, .. } = self;
            assert!(ours.output().contains(SIGN), "{client:?}, {way:?}: not encrypted");
        }
    }
}

/// Whether something accepts connections there: one that demands encryption says nothing else.
fn accepts(place: &Place, addr: SocketAddr) -> bool {
    let script = format!("exec 3<>/dev/tcp/{}/{}", addr.ip(), addr.port());
    let mut command = place.command("bash");
    command.args(["-c", &script]).stdin(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
