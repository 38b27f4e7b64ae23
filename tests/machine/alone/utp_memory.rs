//! What a connection by uTP takes of memory that a reactor holds and that is idle, counted by an
//! allocator: 8192 peers of 128 hosts, over sockets on loopback. With that number arrays that grow
//! by doubling are full: what such a one has room for and never used is counted, but is no memory.

// It measures real time.
#![allow(clippy::disallowed_methods)]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant as Clock},
};

use super::{counting, is_alone};
use cratetorrent::{
    Conf, Instant, Phase, Reactor, TorrentParams, Trust,
    conf::Transports,
    sim::Sample,
    utp::{UtpEvent, UtpLimits, UtpSockets},
};

const HOSTS: usize = 128;
const PEERS_A_HOST: usize = 64;
const PEERS: usize = HOSTS * PEERS_A_HOST;
const PATIENCE: Duration = Duration::from_secs(60);
/// The bound of a connection.
const MOST: usize = 3 * 1024;

/// A host of many peers, each of which greets and says nothing more.
struct Host {
    socket: UdpSocket,
    utp: UtpSockets,
    greeting: Vec<u8>,
    /// Bytes that its peers have heard.
    heard: usize,
    /// Peers that are connected.
    peers: usize,
}

impl Host {
    fn new(n: usize, info_hash: &[u8; 20]) -> Self {
        let addr = format!("127.{}.{}.1:0", 1 + n / 100, n % 100);
        let socket = UdpSocket::bind(addr).unwrap();
        socket.set_nonblocking(true).unwrap();
        let mut greeting = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x04".to_vec();
        greeting.extend_from_slice(info_hash);
        let utp = UtpSockets::new(UtpLimits::default(), n as u64);
        Self { socket, utp, greeting, heard: 0, peers: 0 }
    }

    /// Handles what came, and sends what there is.
    fn turn(&mut self, now: Instant, n: usize) {
        let mut buf = [0; 2048];
        while let Ok((len, from)) = self.socket.recv_from(&mut buf) {
            self.utp.handle_datagram(now, from, &buf[..len], true);
        }
        self.utp.handle_drained();
        self.utp.handle_timeout(now);
        while let Some(event) = self.utp.poll_event() {
            match event {
                UtpEvent::Connected { socket } => {
                    let id = format!("-UM0001-{:04}{:08}", n, self.peers);
                    self.peers += 1;
                    let greeting = [&self.greeting[..], id.as_bytes()].concat();
                    assert_eq!(self.utp.write(now, socket, &greeting), greeting.len());
                }
                UtpEvent::Readable { socket } => {
                    let len = self.utp.bytes(socket).len();
                    self.utp.read(now, socket, len);
                    self.heard += len;
                }
                UtpEvent::Closed { cause, .. } => panic!("let go: {cause:?}"),
                _ => {}
            }
        }
        let mut out = Vec::new();
        while let Some(burst) = self.utp.poll_transmit(now, &mut out) {
            for datagram in out.chunks(burst.segment.max(1)) {
                // What does not fit is lost.
                let _ = self.socket.send_to(datagram, burst.to);
            }
            out.clear();
        }
    }
}

#[test]
fn idle_connections_by_utp_take_less_than_three_kib_each() {
    let test = "idle_connections_by_utp_take_less_than_three_kib_each";
    if !is_alone(module_path!(), test, PATIENCE * 2) {
        return;
    }
    let sample = Sample::file("data", 1 << 20, 64 * 1024, 1).unwrap();
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("data"), &sample.data[..]).unwrap();
    let conf = Conf::default().with(|conf| {
        conf.network.listen = vec!["127.0.0.1:0".parse().unwrap()];
        conf.network.bind_addrs = vec![Ipv4Addr::LOCALHOST.into()];
        conf.network.transports = Transports::Utp;
        (conf.peers.max_connections, conf.peers.max_per_torrent) = (PEERS + 1000, PEERS + 1000);
        conf.peers.max_handshakes = PEERS;
        conf.peers.exchange = false;
    });
    let mut reactor = Reactor::new(conf).unwrap();
    let params = TorrentParams::new(sample.metainfo.clone(), dir.path());
    let params = TorrentParams { trust: Trust::Files, state_file: None, ..params };
    let torrent = reactor.verbs().add_torrent(params).unwrap();
    let began = Clock::now();
    let is_seeding = |reactor: &mut Reactor| {
        reactor.verbs().stats(torrent).is_some_and(|stats| stats.phase == Phase::Seeding)
    };
    while !is_seeding(&mut reactor) {
        reactor.poll(Some(Duration::from_millis(10))).unwrap();
        while reactor.next_alert().is_some() {}
        assert!(began.elapsed() < PATIENCE);
    }
    let port = reactor.datagram_addrs()[0].port();
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let before = counting::live();

    let info_hash = sample.metainfo.info_hash().0;
    let mut hosts: Vec<Host> = (0..HOSTS).map(|n| Host::new(n, &info_hash)).collect();
    let turn = |hosts: &mut [Host], reactor: &mut Reactor| {
        let now = Instant::from_micros(began.elapsed().as_micros() as u64 + 1);
        hosts.iter_mut().enumerate().for_each(|(n, host)| host.turn(now, n));
        for _ in 0..10 {
            reactor.poll(Some(Duration::ZERO)).unwrap();
        }
        while reactor.next_alert().is_some() {}
    };
    for round in 1..=PEERS_A_HOST {
        let now = Instant::from_micros(began.elapsed().as_micros() as u64 + 1);
        hosts.iter_mut().for_each(|host| _ = host.utp.connect(now, to).unwrap());
        while hosts.iter().any(|host| host.peers < round) {
            turn(&mut hosts, &mut reactor);
            assert!(began.elapsed() < PATIENCE, "round {round}");
        }
    }
    // Each hears a handshake of 68 bytes, and more.
    while hosts.iter().map(|host| host.heard).sum::<usize>() < 69 * PEERS {
        turn(&mut hosts, &mut reactor);
        assert!(began.elapsed() < PATIENCE);
    }
    // What was said is acknowledged, and buffers are given up.
    let rests = Clock::now();
    while rests.elapsed() < Duration::from_secs(3) {
        turn(&mut hosts, &mut reactor);
        reactor.poll(Some(Duration::from_millis(5))).unwrap();
    }
    assert_eq!(reactor.verbs().connections(), PEERS);
    let both = counting::live() - before;
    drop(hosts);
    let ours = counting::live() - before;
    println!("{} bytes a connection, of the peers {}", ours / PEERS, (both - ours) / PEERS);
    assert!(ours <= PEERS * MOST, "{} bytes a connection", ours / PEERS);
    reactor.abandon();
}
