//! Rate limits: that they hold over any ten seconds, are shared evenly, and may be changed at any
//! time.

use std::fmt::Write;

use super::*;
use crate::base::bucket::{Limits, Rate};

const MIB: u64 = 1024 * KIB;
const TENTH: Duration = Duration::from_millis(100);
/// Bytes are counted in windows of this length, one beginning every tenth of a second.
const WINDOW: usize = 100;

fn rate(bytes_per_s: u64) -> Option<Rate> {
    Rate::new(bytes_per_s)
}

fn down(bytes_per_s: u64) -> Limits {
    Limits { down: rate(bytes_per_s), up: None }
}

fn up(bytes_per_s: u64) -> Limits {
    Limits { up: rate(bytes_per_s), down: None }
}

/// What the limits are of.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    /// Two torrents, five peers of each.
    Engine,
    /// One of two torrents: three peers of it.
    Torrent,
    /// Each of three peers.
    Peer,
}

/// A node with limits and those it exchanges bytes with.
struct Rig {
    world: World,
    node: NodeId,
    /// Those whose bytes count together.
    counted: Vec<Vec<NodeId>>,
    downloads: bool,
}

impl Rig {
    fn new(scope: Scope, downloads: bool, limit: u64) -> Self {
        let limits = if downloads { down(limit) } else { up(limit) };
        // Enough for everybody to have some on order to the end.
        let len = 2 * MIB
            + limit
                * match (scope, downloads) {
                    (Scope::Peer, true) => 52,
                    (Scope::Peer, false) | (_, true) => 18,
                    (_, false) => 6,
                };
        let samples: Vec<_> = (0..2)
            .map(|n| Sample::file(&format!("part-{n}"), len, 64 * 1024, n).unwrap())
            .collect();
        let mut world = World::new(7);
        // All are to be served at once, however slowly.
        let conf = shy().with(|conf| conf.uploads.slots = Some(10));
        let conf = match scope {
            Scope::Engine => conf.with(|conf| conf.network.limits = limits),
            Scope::Torrent => conf,
            Scope::Peer => conf.with(|conf| conf.peers.limits = limits),
        };
        let node = world.node(conf);
        let peers: Vec<NodeId> =
            (0..if scope == Scope::Peer { 3 } else { 5 }).map(|_| world.node(loud())).collect();
        // Who has to do with which torrent.
        let parts = match scope {
            Scope::Engine => vec![(&samples[0], &peers[..]), (&samples[1], &peers[..])],
            Scope::Torrent => vec![(&samples[0], &peers[..3]), (&samples[1], &peers[3..])],
            Scope::Peer => vec![(&samples[0], &peers[..])],
        };
        for (sample, peers) in parts {
            let torrent = if downloads {
                peers.iter().for_each(|&peer| _ = world.seed_with(peer, sample));
                world.download(node, sample, peers)
            } else {
                let torrent = world.seed_with(node, sample);
                peers.iter().for_each(|&peer| _ = world.download(peer, sample, &[node]));
                torrent
            };
            if scope == Scope::Torrent && Arc::ptr_eq(sample, &samples[0]) {
                world.tell(node, |engine| engine.set_torrent_limits(torrent, limits)).unwrap();
            }
        }
        let counted = match scope {
            Scope::Engine => vec![peers],
            Scope::Torrent => vec![peers[..3].to_vec()],
            Scope::Peer => peers.iter().map(|&peer| vec![peer]).collect(),
        };
        Self { world, node, counted, downloads }
    }

    fn bytes(&self, peer: NodeId) -> u64 {
        let (world, node) = (&self.world, self.node);
        if self.downloads { world.bytes_read(node, peer) } else { world.bytes_sent(node, peer) }
    }

    fn snubbed(&self) -> usize {
        let of = |node: NodeId| {
            let engine = self.world.engine(node);
            engine
                .torrents()
                .iter()
                .flat_map(|&t| engine.peers(t))
                .filter(|peer| peer.snubbed)
                .count()
        };
        of(self.node) + self.counted.iter().flatten().map(|&peer| of(peer)).sum::<usize>()
    }

    /// The least and the most bytes of any window in this time, over what the limit allows in one,
    /// and the least and the most that a single peer got, over what an even share would be.
    fn measure(&mut self, limit: u64, time: Duration) -> [f64; 4] {
        let mut samples: Vec<Vec<u64>> = vec![Vec::new(); self.counted.len()];
        let peers: Vec<NodeId> = self.counted.iter().flatten().copied().collect();
        let before: Vec<u64> = peers.iter().map(|&peer| self.bytes(peer)).collect();
        let end = self.world.now() + time;
        while self.world.now() < end {
            for (at, group) in self.counted.iter().enumerate() {
                samples[at].push(group.iter().map(|&peer| self.bytes(peer)).sum());
            }
            self.world.run_for(TENTH);
            assert_eq!(self.snubbed(), 0, "at {:?}", self.world.now());
        }
        let due = (limit * WINDOW as u64 / 10) as f64;
        let windows: Vec<f64> = samples
            .iter()
            .flat_map(|s| s.windows(WINDOW + 1))
            .map(|w| (w[WINDOW] - w[0]) as f64 / due)
            .collect();
        let got: Vec<f64> = peers
            .iter()
            .zip(before)
            .map(|(&peer, before)| (self.bytes(peer) - before) as f64)
            .collect();
        let even = got.iter().sum::<f64>() / got.len() as f64;
        let least = |all: &[f64]| all.iter().copied().fold(f64::MAX, f64::min);
        let most = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
        [least(&windows), most(&windows), least(&got) / even, most(&got) / even]
    }
}

#[test]
fn a_limit_holds_within_two_percent_over_any_ten_seconds() {
    let mut table = String::from("limit KiB/s  way   of       least  most   share of a peer\n");
    for limit in [10 * KIB, 64 * KIB, MIB] {
        for downloads in [true, false] {
            for scope in [Scope::Engine, Scope::Torrent, Scope::Peer] {
                let mut rig = Rig::new(scope, downloads, limit);
                // Greetings, bitfields and the first requests.
                rig.world.run_for(secs(2));
                let [least, most, small, large] = rig.measure(limit, secs(15));
                let way = if downloads { "down" } else { "up" };
                let of = match scope {
                    Scope::Engine => "engine",
                    Scope::Torrent => "torrent",
                    Scope::Peer => "peer",
                };
                let kib = limit / KIB;
                writeln!(
                    table,
                    "{kib:<11}  {way:<4}  {of:<7}  {least:.2}   {most:.2}   \
                     {small:.1} to {large:.1}"
                )
                .unwrap();
                assert!(least >= 0.98 && most <= 1.02, "\n{table}");
                assert!(small >= 0.9 && large <= 1.1, "\n{table}");
            }
        }
    }
    assert_eq!(table, TABLE, "\n{table}");
}

/// Bytes in ten seconds over what the limit allows in ten seconds; bytes of a peer over those of
/// the mean one.
const TABLE: &str = "\
limit KiB/s  way   of       least  most   share of a peer
10           down  engine   1.00   1.00   1.0 to 1.0
10           down  torrent  1.00   1.00   1.0 to 1.0
10           down  peer     1.00   1.00   1.0 to 1.0
10           up    engine   1.00   1.00   1.0 to 1.0
10           up    torrent  1.00   1.00   1.0 to 1.0
10           up    peer     1.00   1.00   1.0 to 1.0
64           down  engine   1.00   1.00   1.0 to 1.0
64           down  torrent  1.00   1.00   1.0 to 1.0
64           down  peer     1.00   1.00   1.0 to 1.0
64           up    engine   1.00   1.00   1.0 to 1.0
64           up    torrent  1.00   1.00   1.0 to 1.0
64           up    peer     1.00   1.00   1.0 to 1.0
1024         down  engine   1.00   1.00   1.0 to 1.0
1024         down  torrent  1.00   1.00   1.0 to 1.0
1024         down  peer     1.00   1.00   1.0 to 1.0
1024         up    engine   1.00   1.00   1.0 to 1.0
1024         up    torrent  1.00   1.00   1.0 to 1.0
1024         up    peer     1.00   1.00   1.0 to 1.0
";

#[test]
fn a_hundred_mebibytes_a_second_are_kept_on_a_fast_line() {
    let limit = 100 * MIB;
    let sample = file(160 * MIB, 1 << 20);
    let line = Line {
        bandwidth: 1 << 30,
        segment: (60_000, 65_536),
        window: 4 << 20,
        send_buffer: 4 << 20,
        ..Line::default()
    };
    let mut world = World::new(3);
    let leech = world.node(loud().with(|conf| conf.network.limits = down(limit)));
    let seeds: Vec<NodeId> = (0..2).map(|_| world.node(loud())).collect();
    for &node in seeds.iter().chain([&leech]) {
        world.set_line(node, line.clone());
        world.set_disk_pace(node, DiskPace { bandwidth: 4 << 30, ..DiskPace::default() });
    }
    seeds.iter().for_each(|&seed| _ = world.seed_with(seed, &sample));
    world.run_for(secs(1));
    world.download(leech, &sample, &seeds);
    world.run_for(millis(200));
    let bytes =
        |world: &World| seeds.iter().map(|&seed| world.bytes_read(leech, seed)).sum::<u64>();
    let before = bytes(&world);
    world.run_for(secs(1));
    let part = (bytes(&world) - before) as f64 / limit as f64;
    assert!((0.98..=1.1).contains(&part), "{part}");
    assert!(world.run_until(|w| w.is_complete(leech), secs(2)));
    assert_eq!(world.stats(leech).duplicate_blocks, 0);
}

#[test]
fn a_limit_may_be_changed_at_any_time() {
    for downloads in [true, false] {
        let mut rig = Rig::new(Scope::Engine, downloads, 512 * KIB);
        rig.world.run_for(secs(2));
        for limit in [64 * KIB, 10 * KIB, 256 * KIB, 1, 128 * KIB] {
            let (node, limits) = (rig.node, if downloads { down(limit) } else { up(limit) });
            rig.world.tell(node, |engine| engine.set_limits(limits));
            assert_eq!(rig.world.engine(node).limits(), limits);
            if limit == 1 {
                let [_, most, ..] = rig.measure(limit, secs(12));
                assert!(most <= 1.5, "{most}");
                continue;
            }
            // The very next second keeps it already.
            let all =
                |rig: &Rig| rig.counted.iter().flatten().map(|&peer| rig.bytes(peer)).sum::<u64>();
            let before = all(&rig);
            rig.world.run_for(secs(1));
            let part = (all(&rig) - before) as f64 / limit as f64;
            assert!((0.85..=1.12).contains(&part), "{limit} B/s: {part}");
            let [least, most, ..] = rig.measure(limit, secs(12));
            assert!(least >= 0.98 && most <= 1.02, "{limit} B/s: {least} to {most}");
        }
        rig.world.tell(rig.node, |engine| engine.set_limits(Limits::default()));
        let complete = |world: &World| {
            if downloads {
                world.is_complete(rig.node)
            } else {
                rig.counted[0].iter().all(|&peer| world.is_complete(peer))
            }
        };
        assert!(rig.world.run_until(complete, secs(40)), "without a limit it is soon over");
    }
}

#[test]
fn slow_download_snubs_no_peer_and_fetches_nothing_twice() {
    let sample = file(400 * KIB, 64 * 1024);
    for (seed, seeds) in [(1, 1), (2, 5), (3, 20)] {
        let mut world = World::new(seed);
        let leech = world.node(loud().with(|conf| conf.network.limits = down(10 * KIB)));
        let seeds: Vec<NodeId> = (0..seeds).map(|_| world.node(loud())).collect();
        seeds.iter().for_each(|&seed| _ = world.seed_with(seed, &sample));
        world.download(leech, &sample, &seeds);
        let torrent = world.torrent(leech);
        let mut snubbed = 0;
        let took = (0..1000).find(|_| {
            world.run_for(TENTH);
            snubbed +=
                world.engine(leech).peers(torrent).iter().filter(|peer| peer.snubbed).count();
            world.is_complete(leech)
        });
        let stats = world.stats(leech);
        assert_eq!((snubbed, stats.unasked_blocks, stats.failed_pieces), (0, 0, 0));
        assert!(
            stats.duplicate_blocks <= 1,
            "{} of 25 blocks came twice from {} seeds",
            stats.duplicate_blocks,
            seeds.len()
        );
        // Forty seconds, and what is not blocks.
        assert!(took.is_some_and(|tenths| (395..450).contains(&tenths)), "{took:?}");
    }
}

#[test]
fn silent_peer_is_snubbed_under_a_limit_too() {
    let sample = file(400 * KIB, 64 * 1024);
    let mut world = World::new(1);
    let leech = world.node(loud().with(|conf| conf.network.limits = down(64 * KIB)));
    let silent = Manners { answer: Box::new(|_| Answer::Nothing), ..Manners::default() };
    let peers = [world.node(loud()), world.scripted(Remote::seed(&sample, 1, silent))];
    world.seed_with(peers[0], &sample);
    world.download(leech, &sample, &peers);
    assert!(world.run_until(|w| w.is_complete(leech), secs(40)));
}

#[test]
fn limit_of_a_byte_a_second_keeps_connections() {
    let sample = file(400 * KIB, 64 * 1024);
    let mut world = World::new(1);
    let slow = loud().with(|conf| conf.network.limits = Limits { down: rate(1), up: rate(1) });
    let leech = world.node(slow.clone());
    let seeds: Vec<NodeId> = (0..5).map(|_| world.node(slow.clone())).collect();
    seeds.iter().for_each(|&seed| _ = world.seed_with(seed, &sample));
    world.download(leech, &sample, &seeds);
    world.run_for(secs(5));
    assert_eq!(world.stats(leech).peers, 5);
    assert!(seeds.iter().all(|&seed| world.stats(seed).peers == 1));
    // A minute later hardly anything has been sent but greetings, and no peer is blamed for that.
    world.run_for(secs(60));
    assert_eq!((world.stats(leech).peers, partings(&world, leech)), (5, vec![]));
    let read: u64 = seeds.iter().map(|&seed| world.bytes_read(leech, seed)).sum();
    assert!(read <= 5 * (68 + 300) + 67, "{read}");
}

#[test]
fn bytes_sent_before_a_close_are_read_to_the_end() {
    // The seed is taken down while the limit keeps what it sent waiting.
    let sample = file(100 * KIB, 64 * 1024);
    let mut world = World::new(1);
    let (seed, leech) =
        (world.node(loud()), world.node(loud().with(|conf| conf.network.limits = down(10 * KIB))));
    world.seed_with(seed, &sample);
    world.download(leech, &sample, &[seed]);
    world.run_for(secs(2));
    world.tell(seed, |engine| engine.shutdown());
    world.run_for(secs(12));
    assert_eq!(world.stats(leech).have_bytes + world.stats(leech).partial_bytes, 100 * KIB);
}

#[test]
fn peer_limit_holds_whether_or_not_it_is_connected() {
    let sample = file(MIB, 64 * 1024);
    let mut world = World::new(1);
    let leech = world.node(loud());
    let seeds: Vec<NodeId> = (0..3).map(|_| world.node(loud())).collect();
    seeds.iter().for_each(|&seed| _ = world.seed_with(seed, &sample));
    let params =
        crate::torrent::TorrentParams { paused: true, ..world.params(leech, &sample, &seeds) };
    let torrent = world.add_torrent(leech, &sample, params);
    let (first, second) = (world.addr(seeds[0]), world.addr(seeds[1]));
    world
        .tell(leech, |engine| {
            engine.set_peer_limits(torrent, first, down(10 * KIB))?;
            engine.set_default_peer_limits(down(20 * KIB));
            engine.resume(torrent)
        })
        .unwrap();
    let mut rates = |seconds: u64| {
        let bytes = |world: &World| {
            seeds.iter().map(|&seed| world.bytes_read(leech, seed)).collect::<Vec<_>>()
        };
        let before = bytes(&world);
        world.run_for(secs(seconds));
        bytes(&world)
            .iter()
            .zip(before)
            .map(|(now, before)| (now - before) as f64 / (seconds * KIB) as f64)
            .collect::<Vec<_>>()
    };
    rates(2);
    let near = |rates: &[f64], want: &[f64]| {
        rates.iter().zip(want).all(|(rate, want)| (rate / want - 1.0).abs() <= 0.03)
    };
    let before = rates(8);
    assert!(near(&before, &[10.0, 20.0, 20.0]), "{before:?}");
    world.tell(leech, |engine| engine.set_peer_limits(torrent, second, down(5 * KIB))).unwrap();
    let before: Vec<u64> = seeds.iter().map(|&seed| world.bytes_read(leech, seed)).collect();
    world.run_for(secs(8));
    let after = seeds
        .iter()
        .zip(before)
        .map(|(&seed, before)| (world.bytes_read(leech, seed) - before) as f64 / (8 * KIB) as f64);
    let after: Vec<f64> = after.collect();
    assert!(near(&after, &[10.0, 5.0, 20.0]), "{after:?}");
}

#[test]
fn an_engine_with_limits_and_nothing_to_do_sleeps() {
    let conf = Conf::default().with(|conf| {
        conf.network.limits = Limits { down: rate(1000), up: rate(1000) };
        conf.peers.limits = down(10);
    });
    let mut engine = crate::engine::Engine::new(conf, 1, Instant::ZERO).unwrap();
    engine.verbs().set_limits(down(5));
    assert!(engine.poll_timeout().is_none() && engine.poll_effect().is_none());
}

#[test]
fn upload_limit_lowers_the_number_of_slots() {
    let sample = file(2 * MIB, 64 * 1024);
    let mut world = World::new(1);
    let seed = world.node(loud().with(|conf| conf.network.limits = up(20 * KIB)));
    let torrent = world.seed_with(seed, &sample);
    let leeches: Vec<NodeId> = (0..6).map(|_| world.node(loud())).collect();
    leeches.iter().for_each(|&leech| _ = world.download(leech, &sample, &[seed]));
    let served = |world: &World| {
        world.engine(seed).peers(torrent).iter().filter(|peer| peer.peer_unchoked).count()
    };
    world.run_for(secs(25));
    assert_eq!(served(&world), 3);
    world.tell(seed, |engine| engine.set_limits(Limits::default()));
    assert!(world.run_until(|w| served(w) == 6, secs(11)), "{}", served(&world));
}
