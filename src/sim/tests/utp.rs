//! Swarms whose connections uTP carries (BEP 29), alone and beside TCP: what is dialled by which,
//! what a bad path does, and that limits hold.

use super::{
    session::{kept, recorded, start_again},
    *,
};
use crate::{
    base::{
        bucket::{Limits, Rate},
        ids::{InfoHash, PeerId},
    },
    conf::Transports,
    wire::{
        handshake::{Handshake, Reserved},
        utp::{Header, Kind, Packet, encode_header},
    },
};

/// A node that speaks these transports.
fn node(world: &mut World, transports: Transports) -> NodeId {
    let node = world.node(loud().with(|conf| conf.network.transports = transports));
    world.set_reachable(node);
    node
}

/// A seed, and a peer that downloads of it.
fn pair(seed: u64, transports: [Transports; 2], len: u64) -> (World, [NodeId; 2]) {
    let mut world = World::new(seed);
    let sample = file(len, 64 * 1024);
    let nodes = transports.map(|transports| node(&mut world, transports));
    world.seed_with(nodes[0], &sample);
    world.run_for(secs(1));
    world.download(nodes[1], &sample, &nodes[..1]);
    (world, nodes)
}

/// Whether a node has had peers, by uTP and by TCP.
fn carriers(world: &mut World, node: NodeId) -> [bool; 2] {
    world.tell(node, |verbs| {
        let all = verbs.torrents();
        let peers: Vec<_> = all.into_iter().flat_map(|id| verbs.peers(id)).collect();
        [peers.iter().any(|peer| peer.utp), peers.iter().any(|peer| !peer.utp)]
    })
}

#[test]
fn torrent_is_exchanged_by_utp_alone() {
    let (mut world, [seed, leech]) = pair(1, [Transports::Utp; 2], 30_000_000);
    world.run_for(secs(1));
    assert_eq!([seed, leech].map(|node| carriers(&mut world, node)), [[true, false]; 2]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(90)));
}

#[test]
fn peer_that_speaks_both_is_reached_by_tcp() {
    let (mut world, [seed, leech]) = pair(1, [Transports::Both; 2], 10_000_000);
    world.set_line(seed, Line { bandwidth: 1_000_000, ..Line::default() });
    world.run_for(secs(5));
    assert_eq!(carriers(&mut world, leech), [false, true]);
}

#[test]
fn peer_that_tcp_does_not_reach_is_dialled_by_utp() {
    let (mut world, [seed, leech]) = pair(1, [Transports::Utp, Transports::Both], 30_000_000);
    world.set_listening(seed, false);
    world.run_for(secs(1));
    assert_eq!(carriers(&mut world, leech), [true, false]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(90)));
}

/// When a node has given its only peer up, again and again.
fn given_up(world: &World, node: NodeId) -> Vec<(Instant, String)> {
    let alerts = world.alerts(node).iter();
    let gone = alerts.filter_map(|(at, alert)| match alert {
        Alert::PeerGone { reason, .. } => Some((*at, reason.clone())),
        _ => None,
    });
    gone.collect()
}

#[test]
fn peer_that_refuses_tcp_costs_one_second_more_once() {
    let mut world = World::new(1);
    let sample = file(1_000_000, 64 * 1024);
    let nodes = [Transports::Tcp, Transports::Both].map(|t| node(&mut world, t));
    world.set_listening(nodes[0], false);
    world.download(nodes[1], &sample, &nodes[..1]);
    let began = world.now();
    assert!(world.run_until(|w| given_up(w, nodes[1]).len() > 1, secs(300)));
    let gone = given_up(&world, nodes[1]);
    // The port is closed, which is what is told: uTP did not answer within its time.
    let refused = "it cannot be reached: connection refused";
    assert_eq!(gone.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>(), [refused; 2]);
    let first = gone[0].0.since(began);
    assert!((secs(1)..secs(2)).contains(&first), "{first:?}");
    let pause = loud().peers.reconnect_min;
    let second = gone[1].0.since(gone[0].0);
    assert!(second < pause * 2 + secs(1), "{second:?}");
}

#[test]
fn without_datagrams_tcp_alone_serves() {
    for (transports, serves) in [(Transports::Both, true), (Transports::Utp, false)] {
        let (mut world, [_, leech]) = pair(1, [transports; 2], 3_000_000);
        world.set_air(Air { lost: 1000, ..Air::default() });
        assert_eq!(world.run_until(|w| w.is_complete(leech), secs(60)), serves);
    }
}

#[test]
fn bad_path_delays_a_torrent_and_spoils_nothing() {
    for seed in 0..4 {
        let (mut world, [_, leech]) = pair(seed, [Transports::Utp; 2], 2_000_000);
        world.set_air(Air { spoilt: 0, ..Air::rough() });
        assert!(world.run_until(|w| w.is_complete(leech), secs(300)), "{seed}");
    }
}

#[test]
fn swarm_by_utp_is_complete() {
    let sample = file(2_000_000, 64 * 1024);
    let mut world = World::new(5);
    let nodes: Vec<_> = (0..6).map(|_| node(&mut world, Transports::Utp)).collect();
    world.seed_with(nodes[0], &sample);
    nodes[1..].iter().for_each(|&leech| _ = world.download(leech, &sample, &nodes));
    assert!(world.run_until(|w| nodes.iter().all(|&n| w.is_complete(n)), secs(120)));
}

#[test]
fn limits_hold_for_connections_by_utp() {
    for up in [false, true] {
        let (mut world, nodes) = pair(3, [Transports::Utp; 2], 30_000_000);
        let rate = Rate::new(500_000);
        let (node, limits) = if up {
            (nodes[0], Limits { up: rate, down: None })
        } else {
            (nodes[1], Limits { up: None, down: rate })
        };
        world.tell(node, |verbs| verbs.set_limits(limits));
        world.run_for(secs(10));
        let before = world.stats(nodes[1]).downloaded;
        world.run_for(secs(20));
        let got = (world.stats(nodes[1]).downloaded - before) / 20;
        assert!((400_000..=520_000).contains(&got), "{got} bytes a second, up {up}");
    }
}

/// Dials by uTP, and sends its handshake a second after what comes behind it.
#[derive(Debug)]
struct Backwards {
    to: SocketAddr,
    info_hash: InfoHash,
    /// The number that its packets acknowledge, once it is known.
    ack: Option<u16>,
}

/// Packets that it sends behind its handshake, with a thousand bytes each.
const BEHIND: u16 = 300;

impl Backwards {
    fn send(&self, talk: &mut Talk<'_>, kind: Kind, seq: u16, payload: &[u8]) {
        let connection = if kind == Kind::Syn { 10 } else { 11 };
        let ack = self.ack.unwrap_or(0);
        let header = Header { kind, connection, timestamp: 9, delay: 0, window: 1 << 20, seq, ack };
        let mut bytes = Vec::new();
        encode_header(&header, &[], None, &mut bytes);
        bytes.extend_from_slice(payload);
        talk.send_datagram(self.to, bytes);
    }
}

impl Script for Backwards {
    fn tick(&mut self, talk: &mut Talk<'_>) {
        if self.ack.is_none() {
            return self.send(talk, Kind::Syn, 100, b"");
        }
        let (info_hash, peer_id) = (self.info_hash, PeerId([7; 20]));
        let handshake = Handshake { reserved: Reserved([0; 8]), info_hash, peer_id };
        self.send(talk, Kind::Data, 101, &handshake.encode());
    }

    fn datagram(&mut self, talk: &mut Talk<'_>, _: SocketAddr, bytes: &[u8]) {
        let header = Packet::decode(bytes).unwrap().header;
        if self.ack.is_none() {
            self.ack = Some(header.seq.wrapping_sub(1));
            // Keep-alives.
            (0..BEHIND).for_each(|n| self.send(talk, Kind::Data, 102 + n, &[0; 1000]));
            talk.wake_after(secs(1));
        }
    }
}

#[test]
fn what_comes_behind_a_handshake_waits_in_the_socket() {
    let sample = file(400_000, 32 * 1024);
    let mut world = World::new(1);
    let conf = kept().with(|conf| {
        conf.network.transports = Transports::Utp;
        conf.network.read_len = 16_384;
    });
    let node = world.node(conf);
    world.set_reachable(node);
    world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) > 0, secs(30)));
    world.run_for(secs(5));
    // To wake the torrent takes longer than the peer takes to send everything.
    let slow = DiskPace { min: secs(1), max: secs(1), ..DiskPace::default() };
    start_again(&mut world, node, true);
    world.set_disk_pace(node, slow);
    let (to, info_hash) = (world.addr(node), sample.metainfo.info_hash());
    world.scripted(Backwards { to, info_hash, ack: None });
    world.run_for(millis(1500));
    let kept = |world: &World| world.engine(node).utp_stats().memory;
    let all = usize::from(BEHIND) * 1000 + 68;
    assert!(kept(&world) >= all - 2 * 16_384 && kept(&world) < all, "{} of {all}", kept(&world));
    assert!(world.run_until(|w| kept(w) == 0, secs(20)));
    assert_eq!(world.engine(node).utp_stats().sockets, 1);
    assert!(world.told(node, |a| matches!(a, Alert::PeerConnected { .. })).is_some());
}

#[test]
fn peer_that_vanishes_is_let_go_and_dialled_again() {
    let (mut world, [seed, leech]) = pair(3, [Transports::Utp; 2], 20_000_000);
    world.run_for(secs(2));
    world.vanish(seed);
    assert!(world.run_until(|w| !partings(w, leech).is_empty(), secs(100)));
}

#[test]
fn two_behind_routers_meet_by_utp_through_a_relay() {
    let sample = file(40_000_000, 256 * 1024);
    let conf = loud().with(|conf| {
        conf.network.transports = Transports::Utp;
        (conf.peers.reconnect_min, conf.peers.reconnect_max) = (secs(900), secs(900));
        conf.peers.handshake_timeout = secs(1);
    });
    let mut world = World::new(3);
    let relay = conf.clone().with(|conf| conf.network.limits.up = Rate::new(200_000));
    let relay = world.node(relay);
    world.set_reachable(relay);
    world.seed_with(relay, &sample);
    let nodes = [world.node(conf.clone()), world.node(conf)];
    for node in nodes {
        world.set_nat(node, Nat::PortRestricted);
        world.set_nat_ttl(node, secs(1));
        world.keep_port(node);
        world.set_reachable(node);
    }
    world.download(nodes[0], &sample, &[relay]);
    world.run_for(secs(70));
    world.download(nodes[1], &sample, &[relay]);
    let ip = world.addr(nodes[1]).ip();
    let met = |a: &Alert| matches!(a, Alert::PeerConnected { addr, .. } if addr.ip() == ip);
    let meets = |w: &World| w.alerts(nodes[0]).iter().any(|(_, alert)| met(alert));
    assert!(world.run_until(meets, secs(12)));
}

/// How long 8 MiB take over a line of 200 Mbit/s and 80 ms.
fn time_of_far_file(transports: Transports) -> Duration {
    let mut world = World::new(1);
    let sample = file(8 << 20, 1 << 20);
    let nodes = [transports; 2].map(|transports| node(&mut world, transports));
    let line = Line {
        latency: Duration::from_millis(20),
        jitter: Duration::ZERO,
        bandwidth: 25_000_000,
        send_buffer: 1 << 20,
        window: 4 << 20,
        ..Line::default()
    };
    nodes.iter().for_each(|&node| world.set_line(node, line.clone()));
    world.seed_with(nodes[0], &sample);
    world.run_for(secs(1));
    world.download(nodes[1], &sample, &nodes[..1]);
    let began = world.now();
    assert!(world.run_until(|w| w.is_complete(nodes[1]), secs(10)));
    world.now().since(began)
}

/// The window opens while blocks come from the disk in batches, and fourfold each round trip as
/// long as the line is far from full.
#[test]
fn far_file_by_utp_takes_little_longer_than_by_tcp() {
    let [utp, tcp] = [Transports::Utp, Transports::Tcp].map(time_of_far_file);
    assert!(utp < tcp + Duration::from_millis(150), "{utp:?} by uTP, {tcp:?} by TCP");
}
