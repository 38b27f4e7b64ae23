//! A DHT that is half libtorrent's and half ours, on loopback addresses, in both families: what
//! one announces or stores is found by all. `scripts/install_clients` installs libtorrent; without
//! it the test is skipped loudly, and fails when `CI=true`.
#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, UdpSocket},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver},
    time::{Duration, Instant as Clock},
};

use cratetorrent::{
    Instant,
    conf::DhtConf,
    dht::{Announce, DhtEvent, Node, Output},
    wire::krpc::{Family, Item, Mutable, NodeId, SigningKey, immutable_target},
};
use support::system::skip;

const COUNT: usize = 25;
/// How long each step may take. The machine may be slow; the step itself takes seconds.
const LIMIT: Duration = Duration::from_secs(90);
/// The keys of BEP 44's test vectors; the private one is in the form that libtorrent takes.
const PRIVATE: &str = "e06d3183d14159228433ed599221b80bd0a5ce8352e4bdf0262f76786ef1c74d\
                       b7e7a9fea2c0eb269d61e3b38e450a22e754941ac78479d6c54e1faf6037881d";
const PUBLIC: &str = "77ff84905a91936367c01360803104f92432fcd904a43511876df5cdf3e7e548";

/// The nodes of libtorrent: one process, told by lines and telling by lines.
struct Theirs {
    child: Child,
    stdin: ChildStdin,
    lines: Receiver<String>,
}

impl Theirs {
    fn start() -> Result<Self, String> {
        let root = env!("CARGO_MANIFEST_DIR");
        let python = format!("{root}/target/interop/venv/bin/python");
        let there =
            Command::new(&python).args(["-c", "import libtorrent"]).stderr(Stdio::null()).status();
        if !there.is_ok_and(|status| status.success()) {
            return Err("no libtorrent; scripts/install_clients installs it".into());
        }
        let mut child = Command::new(python)
            .arg(format!("{root}/tests/interop/dht_libtorrent.py"))
            .arg(COUNT.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|e| e.to_string())?;
        let (tell, lines) = mpsc::channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            stdout.lines().map_while(Result::ok).all(|line| tell.send(line).is_ok())
        });
        Ok(Self { stdin: child.stdin.take().unwrap(), child, lines })
    }

    fn tell(&mut self, line: &str) {
        writeln!(self.stdin, "{line}").unwrap();
    }
}

impl Drop for Theirs {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Ours, each with a socket of each family.
struct Ours {
    nodes: Vec<(Node, [UdpSocket; 2])>,
    events: Vec<(usize, DhtEvent)>,
    began: Clock,
}

impl Ours {
    fn start() -> Self {
        let began = Clock::now();
        let nodes = (0..COUNT).map(|n| {
            let bind = |addr: String| {
                let socket = UdpSocket::bind(addr).unwrap();
                socket.set_nonblocking(true).unwrap();
                socket
            };
            let sockets = [bind(format!("127.0.3.{}:0", n + 1)), bind("[::1]:0".into())];
            let seed = [n as u8 + 1; 32];
            (Node::new(DhtConf::default(), &Family::ALL, &seed, None, Instant::ZERO), sockets)
        });
        Self { nodes: nodes.collect(), events: Vec::new(), began }
    }

    fn now(&self) -> Instant {
        Instant::ZERO + self.began.elapsed()
    }

    fn addrs(&self, n: usize) -> Vec<SocketAddr> {
        self.nodes[n].1.iter().map(|socket| socket.local_addr().unwrap()).collect()
    }

    /// What came, what is due, what goes out: of all nodes, once.
    fn turn(&mut self) {
        let now = self.now();
        let mut buffer = [0; 2048];
        for (n, (node, sockets)) in self.nodes.iter_mut().enumerate() {
            for socket in sockets.iter() {
                while let Ok((len, from)) = socket.recv_from(&mut buffer) {
                    node.handle_datagram(now, from, &buffer[..len]);
                }
            }
            if node.poll_timeout().is_some_and(|at| at <= now) {
                node.handle_timeout(now);
            }
            while let Some(output) = node.poll_output() {
                if let Output::Send { to, data } = output {
                    assert!(to.ip().is_loopback(), "{to} is outside");
                    _ = sockets[usize::from(to.is_ipv6())].send_to(&data, to);
                }
            }
            self.events.extend(std::iter::from_fn(|| node.poll_event()).map(|event| (n, event)));
        }
    }

    /// Runs until something is the case.
    #[track_caller]
    fn run_until(&mut self, what: &str, mut is: impl FnMut(&mut Self) -> bool) {
        let end = Clock::now() + LIMIT;
        loop {
            self.turn();
            if is(self) {
                return;
            }
            assert!(Clock::now() < end, "{what}: not within {LIMIT:?}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex<const N: usize>(text: &str) -> [u8; N] {
    std::array::from_fn(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
}

#[test]
fn network_of_libtorrent_and_ours_finds_peers_and_values() {
    let mut theirs = match Theirs::start() {
        Ok(theirs) => theirs,
        Err(why) => return skip("a DHT with libtorrent", &why),
    };
    let mut ours = Ours::start();

    // Everybody begins at one node of theirs.
    let mut places: BTreeMap<(usize, bool), SocketAddr> = BTreeMap::new();
    ours.run_until("libtorrent listens", |_| {
        while let Ok(line) = theirs.lines.try_recv() {
            if let ["node", n, ip, port] = line.split(' ').collect::<Vec<_>>()[..] {
                let addr = SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap());
                places.insert((n.parse().unwrap(), addr.is_ipv6()), addr);
            }
        }
        places.len() == 2 * COUNT
    });
    for first in [places[&(0, false)], places[&(0, true)]] {
        let now = ours.now();
        ours.nodes.iter_mut().for_each(|(node, _)| node.add_node(now, first));
        theirs.tell(&format!("know {} {}", first.ip(), first.port()));
    }
    ours.run_until("tables fill", |ours| {
        let now = ours.now();
        let stats = ours.nodes.iter().map(|(node, _)| node.stats(now));
        stats.into_iter().all(|stats| stats.nodes_v4 >= 25 && stats.nodes_v6 >= 25)
    });

    // One of theirs announces: all of ours find it, in both families.
    let hash = NodeId([0xa5; 20]);
    theirs.tell(&format!("announce 5 {} 2222", hex(&hash.0)));
    let expected: BTreeSet<SocketAddr> =
        [places[&(5, false)], places[&(5, true)]].map(|a| SocketAddr::new(a.ip(), 2222)).into();
    let mut found = vec![BTreeSet::new(); COUNT];
    let mut next = Clock::now() + Duration::from_secs(3);
    ours.run_until("ours find what libtorrent announces", |ours| {
        if Clock::now() >= next {
            next = Clock::now() + Duration::from_secs(5);
            let now = ours.now();
            ours.nodes.iter_mut().for_each(|(node, _)| _ = node.find_peers(now, hash, None));
        }
        for (n, event) in ours.events.drain(..) {
            if let DhtEvent::Peers { info_hash, peers, .. } = event {
                assert_eq!(info_hash, hash);
                found[n].extend(peers);
            }
        }
        found.iter().all(|peers| peers.is_superset(&expected))
    });

    // One of ours announces: all of theirs find it.
    let hash = NodeId([0x5a; 20]);
    let now = ours.now();
    let port = Some(1111);
    let announce = Announce { port_v4: port, port_v6: port, implied_port: false, seed: false };
    ours.nodes[3].0.announce(now, hash, Some(announce));
    let expected: BTreeSet<SocketAddr> =
        ours.addrs(3).into_iter().map(|addr| SocketAddr::new(addr.ip(), 1111)).collect();
    let mut found = vec![BTreeSet::new(); COUNT];
    let mut next = Clock::now() + Duration::from_secs(3);
    ours.run_until("libtorrent finds what ours announce", |_| {
        if Clock::now() >= next {
            next = Clock::now() + Duration::from_secs(5);
            theirs.tell(&format!("find {}", hex(&hash.0)));
        }
        while let Ok(line) = theirs.lines.try_recv() {
            if let ["peer", n, of, ip, port] = line.split(' ').collect::<Vec<_>>()[..]
                && of == hex(&hash.0)
            {
                let peer = SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap());
                found[n.parse::<usize>().unwrap()].insert(peer);
            }
        }
        found.iter().all(|peers| peers.is_superset(&expected))
    });

    // Values of theirs are got by ours.
    theirs.tell("put theirs-for-ours");
    theirs.tell(&format!("put-mutable {PRIVATE} {PUBLIC} mutable-theirs salt"));
    let value = b"15:theirs-for-ours".to_vec();
    let wanted = [immutable_target(&value), Mutable::target(&unhex(PUBLIC), b"salt")];
    let mut got = BTreeSet::new();
    let mut next = Clock::now() + Duration::from_secs(3);
    ours.run_until("ours get what libtorrent puts", |ours| {
        if Clock::now() >= next {
            next = Clock::now() + Duration::from_secs(5);
            let now = ours.now();
            ours.nodes[7].0.get(now, wanted[0], b"");
            ours.nodes[8].0.get(now, wanted[1], b"salt");
        }
        for (_, event) in ours.events.drain(..) {
            match event {
                DhtEvent::Value { target, item, .. } if target == wanted[0] => {
                    assert_eq!(item, Item::Immutable { value: value.clone() });
                    got.insert(target);
                }
                DhtEvent::Value { target, item, .. } => {
                    assert_eq!(item.value(), b"14:mutable-theirs");
                    got.insert(target);
                }
                _ => {}
            }
        }
        got.len() == 2
    });

    // And the other way.
    let key = SigningKey::from_seed(&[9; 32]).unwrap();
    let immutable = Item::Immutable { value: b"15:ours-for-theirs".to_vec() };
    let mutable = Mutable::sign(&key, b"pepper", 4, b"12:mutable-ours".to_vec()).unwrap();
    let now = ours.now();
    ours.nodes[9].0.put(now, immutable.clone(), None);
    ours.nodes[10].0.put(now, Item::Mutable(Box::new(mutable)), None);
    let mut got = BTreeSet::new();
    let mut next = Clock::now() + Duration::from_secs(3);
    ours.run_until("libtorrent gets what ours put", |_| {
        if Clock::now() >= next {
            next = Clock::now() + Duration::from_secs(5);
            theirs.tell(&format!("get {}", hex(&immutable.target().0)));
            theirs.tell(&format!("get-mutable {} pepper", hex(&key.public())));
        }
        while let Ok(line) = theirs.lines.try_recv() {
            if line.starts_with("immutable") && line.contains("ours-for-theirs") {
                got.insert("immutable");
            }
            if line.starts_with("mutable 3 4") && line.contains("mutable-ours") {
                got.insert("mutable");
            }
        }
        got.len() == 2
    });
}
