//! Trackers that we did not write, as the only way to meet: opentracker, and npm's
//! bittorrent-tracker. Swarms of ours with libtorrent, transmission and aria2, over HTTP and UDP,
//! IPv4 and IPv6; a tier that is dead; and what a tracker hears, or does not hear, at the end.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use crate::{
    clients::{Client, Role},
    member::Member,
    support::{
        clock,
        download::Bench,
        network::{Place, Switch},
        ports,
        process::Process,
        system::{is_root, skip},
        torrent::{Recipe, Torrent},
    },
};

/// How long a swarm may take to meet and to exchange its few MiB. Transmission announces some
/// seconds after its start.
const LIMIT: Duration = Duration::from_secs(90);
/// How long ours may take to end when its tracker hangs: `Conf`'s limit for the last announces, and
/// a second.
const END: Duration = Duration::from_secs(6);

/// A tracker that we did not write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Opentracker,
    Npm,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Udp,
}

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Ours,
    Theirs(Client),
}

use Who::{Ours, Theirs};

fn modules() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/npm/node_modules"))
}

impl Kind {
    /// The error says what is missing.
    fn find(self) -> Result<(), String> {
        let missing =
            |what: &str| Err(format!("{what} is missing; scripts/install_clients installs it"));
        match self {
            Self::Opentracker => match Command::new("opentracker")
                .arg("-h")
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
            {
                Ok(_) => Ok(()),
                Err(e) => missing(&format!("opentracker ({e})")),
            },
            Self::Npm if modules().join("bittorrent-tracker/server.js").exists() => Ok(()),
            Self::Npm => missing("npm's bittorrent-tracker"),
        }
    }
}

/// A running tracker.
struct Tracker {
    process: Process,
    addr: SocketAddr,
}

impl Tracker {
    /// At `place`, on the address `host` that it has there. `bench` is for its files.
    fn start(kind: Kind, place: &Place, host: IpAddr, torrent: &Torrent, bench: &Bench) -> Self {
        let addr = SocketAddr::new(host, ports::free_port());
        let mut command = match kind {
            Kind::Opentracker => {
                // Debian's tracks only what its list names, and becomes another user, who must be
                // able to read that.
                let info_hash: String =
                    torrent.info_hash.iter().map(|byte| format!("{byte:02x}")).collect();
                let (config, list) =
                    (bench.path().join("opentracker.conf"), bench.path().join("tracked"));
                fs::write(&list, format!("{info_hash}\n")).unwrap();
                fs::write(
                    &config,
                    format!("listen.tcp_udp {addr}\naccess.whitelist {}\n", list.display()),
                )
                .unwrap();
                fs::set_permissions(bench.path(), fs::Permissions::from_mode(0o755)).unwrap();
                let mut command = place.command("opentracker");
                command.arg("-f").arg(config);
                command
            }
            Kind::Npm => {
                let mut command = place.command("node");
                command
                    .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/npm_tracker.mjs"))
                    .arg(modules());
                command.arg(host.to_string()).arg(addr.port().to_string());
                command
            }
        };
        let process = Process::spawn(&format!("{kind:?}"), &mut command, bench.path());
        let this = Self { process, addr };
        clock::wait_for("the tracker is up", Duration::from_secs(20), || {
            this.scrape(place, torrent)
        });
        this
    }

    fn url(&self, scheme: Scheme) -> String {
        match scheme {
            Scheme::Http => format!("http://{}/announce", self.addr),
            Scheme::Udp => format!("udp://{}/announce", self.addr),
        }
    }

    /// Seeds and leeches that it knows, asked as anybody may (BEP 48); `None` when it does not
    /// answer.
    fn scrape(&self, place: &Place, torrent: &Torrent) -> Option<(u32, u32)> {
        let escaped: String = torrent.info_hash.iter().map(|byte| format!("%{byte:02x}")).collect();
        let url = format!("http://{}/scrape?info_hash={escaped}", self.addr);
        let output = place
            .command("python3")
            .args(["-c", SCRAPE, &url])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let number = |key: &str| {
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let (_, rest) = text.split_once(key)?;
            rest.split_once('e')?.0.parse().ok()
        };
        output
            .status
            .success()
            .then(|| (number("8:completei").unwrap_or(0), number("10:incompletei").unwrap_or(0)))
    }

    /// Waits until it has told of an event.
    fn wait_for_word(&self, word: &str) {
        let told = || self.process.output().lines().any(|line| line == word).then_some(());
        clock::wait_for(&format!("the tracker tells: {word}"), Duration::from_secs(20), told);
    }

    fn wait_for_seed(&self, place: &Place, torrent: &Torrent) {
        clock::wait_for("the tracker knows the seed", LIMIT, || {
            self.scrape(place, torrent).filter(|&(seeds, _)| seeds > 0)
        });
    }
}

const SCRAPE: &str = "import sys, urllib.request as u; sys.stdout.buffer.write(\
    u.build_opener(u.ProxyHandler({})).open(sys.argv[1], timeout=5).read())";

fn sample() -> Torrent {
    Recipe::single("met by tracker.bin", 5_000_001, 64 * 1024).make(300)
}

/// Whether something that is needed is missing; says so.
fn lacking(test: &str, kinds: &[Kind], clients: &[Client]) -> bool {
    let missing = kinds
        .iter()
        .find_map(|kind| kind.find().err())
        .or_else(|| clients.iter().find_map(|client| client.find().err()));
    missing.inspect(|why| skip(test, why)).is_some()
}

/// A swarm that has no other way to meet than a tracker: one seed, then the leeches.
fn meet(kind: Kind, scheme: Scheme, seed: Who, leeches: &[Who]) {
    let test = format!("meeting by {kind:?} over {scheme:?}");
    let clients: Vec<Client> = leeches
        .iter()
        .chain([&seed])
        .filter_map(|who| if let Theirs(client) = who { Some(*client) } else { None })
        .collect();
    if lacking(&test, &[kind], &clients) {
        return;
    }
    let switch = match Switch::lay(leeches.len() as u8 + 1) {
        Ok(switch) => switch,
        Err(why) if !is_root() => return skip(&test, &why),
        Err(why) => panic!("{why}"),
    };
    let torrent = sample();
    let hub = switch.hub();
    let bench = Bench::new(&torrent);
    let tracker = Tracker::start(kind, &hub, hub.host().into(), &torrent, &bench);
    let member = |n: usize, who: Who, role: Role| {
        let mut member = Member::new(format!("{who:?} {n}"), &torrent, switch.place(n));
        if role == Role::Seed {
            torrent.write_files(&member.folder);
        }
        let source = if role == Role::Seed { member.folder.clone() } else { bench.dir.clone() };
        fs::write(
            &member.bench.torrent,
            crate::create(&torrent, &source, Some(&tracker.url(scheme))),
        )
        .unwrap();
        match who {
            Ours => member.start_ours(&[]),
            Theirs(client) => member.start_theirs(client, role),
        }
        member
    };
    torrent.write_files(&bench.dir);
    let mut first = member(0, seed, Role::Seed);
    tracker.wait_for_seed(&hub, &torrent);
    let mut others: Vec<Member> =
        leeches.iter().enumerate().map(|(n, &who)| member(n + 1, who, Role::Leech)).collect();

    let started = clock::now();
    let mut told = Vec::new();
    let complete = clock::try_wait_for(LIMIT, || {
        for member in others.iter_mut().filter(|member| !member.done) {
            if member.look(&torrent) {
                told.push(format!("{} after {:.1?}", member.name, clock::now() - started));
            }
        }
        others.iter().all(|member| member.done).then_some(())
    });
    println!("{test}: {}", told.join(", "));
    let missing: Vec<_> = others.iter().filter(|m| !m.done).map(|m| &m.name).collect();
    assert!(complete.is_some(), "incomplete after {LIMIT:?}: {missing:?}");

    // Ours say good-bye, and the tracker counts one less for each.
    let known = |(seeds, leeches)| seeds + leeches;
    let before = tracker.scrape(&hub, &torrent).map(known).unwrap();
    let mut gone = 0;
    for (member, who) in
        std::iter::once((&mut first, seed)).chain(others.iter_mut().zip(leeches.iter().copied()))
    {
        if who == Ours {
            let process = member.process.as_mut().unwrap();
            process.terminate();
            let status = process.wait(END);
            assert!(status.success(), "{}: {status}", member.name);
            gone += 1;
        }
    }
    clock::wait_for("the tracker was told that ours are gone", END, || {
        tracker.scrape(&hub, &torrent).filter(|&now| known(now) + gone <= before)
    });
}

#[test]
fn opentracker_over_http() {
    meet(
        Kind::Opentracker,
        Scheme::Http,
        Theirs(Client::Libtorrent),
        &[Ours, Theirs(Client::Transmission), Theirs(Client::Aria2)],
    );
}

#[test]
fn opentracker_over_udp() {
    meet(
        Kind::Opentracker,
        Scheme::Udp,
        Ours,
        &[Ours, Theirs(Client::Libtorrent), Theirs(Client::Transmission), Theirs(Client::Aria2)],
    );
}

#[test]
fn npm_tracker_over_http() {
    meet(
        Kind::Npm,
        Scheme::Http,
        Ours,
        &[Ours, Theirs(Client::Libtorrent), Theirs(Client::Transmission), Theirs(Client::Aria2)],
    );
}

#[test]
fn npm_tracker_over_udp() {
    meet(
        Kind::Npm,
        Scheme::Udp,
        Theirs(Client::Transmission),
        &[Ours, Theirs(Client::Libtorrent), Theirs(Client::Aria2)],
    );
}

/// One of ours on this machine's loopback, whose torrent names these tiers of trackers.
fn ours_at_home(torrent: &Torrent, tiers: &[String], seed: bool) -> Member {
    let mut member = Member::new("ours".into(), torrent, Place::loopback());
    let source = Bench::new(torrent);
    torrent.write_files(&source.dir);
    if seed {
        torrent.write_files(&member.folder);
    }
    fs::write(&member.bench.torrent, crate::create_with(torrent, &source.dir, tiers)).unwrap();
    member.start_ours(&[]);
    member
}

/// BEP 7: who asks over IPv6 is known by its IPv6 address, and told those of others.
#[test]
fn ipv6_over_http() {
    if lacking("meeting over IPv6", &[Kind::Npm], &[Client::Libtorrent]) {
        return;
    }
    let torrent = sample();
    let (bench, here) = (Bench::new(&torrent), Place::loopback());
    let tracker = Tracker::start(Kind::Npm, &here, Ipv6Addr::LOCALHOST.into(), &torrent, &bench);
    let ours = ours_at_home(&torrent, &[tracker.url(Scheme::Http)], true);
    tracker.wait_for_seed(&here, &torrent);
    tracker.wait_for_word(&format!("start [::1]:{}", ours.port));

    fs::copy(&ours.bench.torrent, &bench.torrent).unwrap();
    let mut command =
        Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/target/interop/venv/bin/python"));
    command
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/interop/run_libtorrent.py"))
        .arg(&bench.torrent)
        .arg(&bench.dir);
    let mut leech = Process::spawn(
        "libtorrent",
        command.arg(format!("[::1]:{}", ports::free_port())),
        bench.path(),
    );
    clock::wait_for("libtorrent has all of it", LIMIT, || {
        assert!(leech.ended().is_none(), "libtorrent ended; it said:\n{}", leech.tail());
        torrent.compare(&bench.dir).ok()
    });
}

/// This tracker names no IPv6 peers over UDP, but it hears everything.
#[test]
fn ipv6_over_udp() {
    if lacking("announcing over IPv6 and UDP", &[Kind::Npm], &[]) {
        return;
    }
    let torrent = sample();
    let (bench, here) = (Bench::new(&torrent), Place::loopback());
    let tracker = Tracker::start(Kind::Npm, &here, Ipv6Addr::LOCALHOST.into(), &torrent, &bench);
    let mut ours = ours_at_home(&torrent, &[tracker.url(Scheme::Udp)], true);
    tracker.wait_for_word(&format!("start ::1:{}", ours.port));
    let process = ours.process.as_mut().unwrap();
    process.terminate();
    assert!(process.wait(END).success());
    tracker.wait_for_word(&format!("stop ::1:{}", ours.port));
}

#[test]
fn a_dead_first_tier_falls_to_the_second() {
    if lacking("a dead first tier", &[Kind::Npm], &[]) {
        return;
    }
    let torrent = sample();
    let (bench, here) = (Bench::new(&torrent), Place::loopback());
    let tracker = Tracker::start(Kind::Npm, &here, here.host().into(), &torrent, &bench);
    let tiers =
        [format!("http://127.0.0.1:{}/announce", ports::free_port()), tracker.url(Scheme::Udp)];
    let _seed = ours_at_home(&torrent, &tiers, true);
    tracker.wait_for_seed(&here, &torrent);
    let mut leech = ours_at_home(&torrent, &tiers, false);
    clock::wait_for("ours has all of it", LIMIT, || leech.look(&torrent).then_some(()));
}

#[test]
fn a_tracker_that_hangs_does_not_hold_up_the_end() {
    if lacking("a tracker that hangs", &[Kind::Opentracker], &[]) {
        return;
    }
    let torrent = sample();
    for scheme in [Scheme::Http, Scheme::Udp] {
        let (bench, here) = (Bench::new(&torrent), Place::loopback());
        let tracker =
            Tracker::start(Kind::Opentracker, &here, here.host().into(), &torrent, &bench);
        let mut ours = ours_at_home(&torrent, &[tracker.url(scheme)], true);
        tracker.wait_for_seed(&here, &torrent);
        // From here on its system takes connections and datagrams, and the tracker does not answer.
        kill_process(Pid::from_raw(tracker.process.id() as i32).unwrap(), Signal::STOP).unwrap();
        let process = ours.process.as_mut().unwrap();
        let asked = clock::now();
        process.terminate();
        let status = process.wait(END);
        assert!(status.success(), "{status}");
        println!("it ended {:.1?} after it was told to, over {scheme:?}", clock::now() - asked);
    }
}
