//! Peers that are bad, slow, silent, fickle or gone.

use super::*;
use crate::{conf::Encryption, torrent::candidates::PeerSource};

/// A bad peer beside a good one; the good one must never be blamed, and the bad one always is if it
/// did harm.
fn poisoned(seed: u64, sample: &Arc<Sample>, conf: &Conf, bad: Manners) -> (World, NodeId, bool) {
    let mut world = World::new(seed);
    // The good one is faster and helps with what the bad one has begun.
    let good = world.scripted(Remote::seed(
        sample,
        0,
        Manners { block_time: millis(3), ..Manners::default() },
    ));
    let bad = world.scripted(Remote::seed(sample, 1, Manners { block_time: millis(8), ..bad }));
    let leech = world.node(conf.clone());
    world.download(leech, sample, &[good, bad]);
    assert!(
        world.run_until(|w| w.is_complete(leech), secs(300)),
        "seed {seed}: {:?}",
        world.stats(leech)
    );
    // The last verdicts may still be with a worker.
    world.run_for(millis(100));
    let stats = world.stats(leech);
    let banned = banned(&world, leech);
    assert!(!banned.contains(&world.addr(good)), "seed {seed}: the good peer is banned");
    assert_eq!(
        stats.failed_pieces > 0,
        banned.contains(&world.addr(bad)),
        "seed {seed}: {} pieces failed",
        stats.failed_pieces
    );
    (world, leech, stats.failed_pieces > 0)
}

fn poison(n: u32) -> Manners {
    let hit = one_in(n);
    Manners {
        answer: Box::new(move |asked| if hit(asked) { Answer::Bad } else { Answer::Good }),
        ..Manners::default()
    }
}

#[test]
fn corrupter_of_small_pieces_alone_is_banned() {
    let sample = file(500_000, 32 * 1024);
    let harmed = (0..50).filter(|&seed| poisoned(seed, &sample, &loud(), poison(3)).2).count();
    assert_eq!(harmed, 50);
}

#[test]
fn corrupter_of_shared_pieces_alone_is_banned() {
    // Two pieces of 16 blocks, few at a time: both peers work on both.
    let sample = file(512 * KIB, 256 * 1024);
    let conf = loud().with(|conf| {
        conf.requests.initial_pipeline = 2;
        conf.requests.max_pipeline = 4;
    });
    let mut shared = 0;
    for seed in 0..50 {
        let (world, leech, _) = poisoned(seed, &sample, &conf, poison(5));
        let contributors =
            |a: &Alert| matches!(a, Alert::PieceFailed { contributors, .. } if *contributors > 1);
        shared += usize::from(world.told(leech, contributors).is_some());
    }
    assert!(shared > 10, "only {shared} runs had a shared piece that failed");
}

#[test]
fn corrupter_of_pieces_of_several_runs_alone_is_banned() {
    let sample = file(512 * KIB + 5000, 256 * 1024);
    let conf = loud().with(|conf| {
        conf.requests.initial_pipeline = 2;
        conf.requests.max_pipeline = 4;
        conf.requests.run_len = 32 * 1024;
        conf.requests.max_piece_memory = 256 * 1024;
    });
    let mut shared = 0;
    for seed in 0..50 {
        let (world, leech, _) = poisoned(seed, &sample, &conf, poison(7));
        let contributors =
            |a: &Alert| matches!(a, Alert::PieceFailed { contributors, .. } if *contributors > 1);
        shared += usize::from(world.told(leech, contributors).is_some());
    }
    assert!(shared > 5, "only {shared} runs had a shared piece that failed");
}

/// One that spoils every other block and one that will not give the same ones. What they mix spoils
/// a piece each time, and a sequence that repeats itself convicts no peer.
fn two_that_spoil_together(seed: u64, idle_seed: bool) -> (World, NodeId, NodeId) {
    let sample = file(256 * KIB, 256 * 1024);
    let mut world = World::new(seed);
    let (spoils, minds) = (one_in(2), one_in(2));
    let mut asked_again = 0;
    let unwilling = Manners {
        answer: Box::new(move |asked| {
            asked_again += usize::from(minds(asked));
            if minds(asked) && asked_again % 5 != 0 { Answer::Reject } else { Answer::Good }
        }),
        ..Manners::default()
    };
    let spoiler = Manners {
        answer: Box::new(move |asked| if spoils(asked) { Answer::Bad } else { Answer::Good }),
        ..Manners::default()
    };
    let bad = world.scripted(Remote::seed(&sample, 1, spoiler));
    let mut peers = vec![world.scripted(Remote::seed(&sample, 0, unwilling)), bad];
    if idle_seed {
        peers.push(world.scripted(Remote::seed(
            &sample,
            2,
            Manners { unchoke_after: Some(millis(500)), ..Manners::default() },
        )));
    }
    let leech = world.node(loud());
    world.download(leech, &sample, &peers);
    assert!(
        world.run_until(|w| w.is_complete(leech), secs(600)),
        "seed {seed}: {:?}",
        world.stats(leech)
    );
    world.run_for(millis(100));
    (world, leech, bad)
}

#[test]
fn a_piece_that_failed_is_for_those_first_who_had_no_part_in_it() {
    for seed in 0..10 {
        let (world, leech, bad) = two_that_spoil_together(seed, true);
        assert!(world.now().since(Instant::ZERO) < secs(5), "seed {seed}: {:?}", world.now());
        assert_eq!(banned(&world, leech), [world.addr(bad)], "seed {seed}");
        assert!(world.stats(leech).failed_pieces <= 2, "seed {seed}: {:?}", world.stats(leech));
    }
}

#[test]
fn two_corrupting_peers_are_told_apart_by_trying_each_alone() {
    for seed in 0..10 {
        let (world, leech, bad) = two_that_spoil_together(seed, false);
        assert_eq!(banned(&world, leech), [world.addr(bad)], "seed {seed}");
        assert!(world.stats(leech).failed_pieces <= 3, "seed {seed}: {:?}", world.stats(leech));
    }
}

#[test]
fn a_lone_spoiler_is_banned_and_nothing_of_it_is_kept() {
    let sample = file(300_000, 32 * 1024);
    let mut world = World::new(1);
    let bad = world.scripted(Remote::seed(&sample, 1, poison(1)));
    let leech = world.node(loud());
    world.download(leech, &sample, &[bad]);
    world.run_for(secs(60));
    let stats = world.stats(leech);
    assert_eq!((stats.have, stats.banned, stats.peers), (0, 1, 0));
    assert_eq!(
        world.script::<Remote>(bad).times(|h| h == Heard::Connected).len(),
        1,
        "it is not dialled again"
    );
}

#[test]
fn a_spoiler_that_dialled_us_is_not_let_in_again() {
    let sample = file(300_000, 32 * 1024);
    let mut world = World::new(1);
    let leech = world.node(loud());
    let dials = vec![world.addr(leech); 3];
    world.download(leech, &sample, &[]);
    world.run_for(secs(1));
    let bad = world.scripted(Remote::seed(&sample, 1, Manners { dials, ..poison(1) }));
    world.run_for(secs(60));
    assert_eq!((world.stats(leech).have, world.stats(leech).peers), (0, 0));
    assert!(world.stats(leech).banned > 0);
    assert_eq!(world.script::<Remote>(bad).connections(), 0);
}

/// A download from a good seed while another peer behaves like `manners`; how long it took.
fn beside(seed: u64, sample: &Arc<Sample>, manners: Manners) -> (World, NodeId, NodeId, Duration) {
    let mut world = World::new(seed);
    let other = world.scripted(Remote::seed(sample, 1, manners));
    let good = world.scripted(Remote::seed(
        sample,
        0,
        Manners { block_time: millis(5), ..Manners::default() },
    ));
    // Of a dial that fails both ways the second reason is told.
    let leech = world.node(loud().with(|conf| conf.encryption.policy = Encryption::Off));
    world.download(leech, sample, &[other, good]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(600)), "{:?}", world.stats(leech));
    let took = world.now().since(Instant::ZERO);
    (world, leech, other, took)
}

#[test]
fn peers_that_break_the_protocol_hold_up_no_download() {
    let sample = file(300_000, 32 * 1024);
    for (hello, reason) in [
        (Hello::Silent, "did not greet within 10s"),
        (Hello::WrongTorrent, "another torrent"),
        (Hello::Garbage, "does not speak BitTorrent"),
    ] {
        let (mut world, leech, other, took) =
            beside(1, &sample, Manners { hello, ..Manners::default() });
        assert!(took < secs(2), "{hello:?}: {took:?}");
        world.run_for(secs(12));
        let addr = world.addr(other);
        let why = partings(&world, leech);
        assert!(why.iter().any(|(a, r)| *a == addr && r.contains(reason)), "{hello:?}: {why:?}");
    }
}

#[test]
fn peers_that_do_not_deliver_hold_up_no_download() {
    let sample = file(500_000, 64 * 1024);
    let manners: [(&str, Manners); 5] = [
        ("nothing", Manners { answer: Box::new(|_| Answer::Nothing), ..Manners::default() }),
        ("nothing but talk", {
            let answer: Box<dyn FnMut(Asked) -> Answer + Send> = Box::new(|_| Answer::Nothing);
            Manners { answer, keep_alive: Some(secs(1)), ..Manners::default() }
        }),
        ("rejects", Manners { answer: Box::new(|_| Answer::Reject), ..Manners::default() }),
        (
            "dribbles",
            Manners { answer: Box::new(|_| Answer::Dribble(millis(900))), ..Manners::default() },
        ),
        (
            "chokes and unchokes",
            Manners { flap: Some(millis(20)), block_time: millis(15), ..Manners::default() },
        ),
    ];
    for (what, manners) in manners {
        let (world, leech, _, took) = beside(1, &sample, manners);
        assert!(took < secs(4), "{what}: {took:?}");
        let stats = world.stats(leech);
        assert!(stats.wasted <= 40 * 16 * KIB, "{what}: {} bytes wasted", stats.wasted);
    }
}

#[test]
fn a_fickle_peer_alone_delivers_in_the_end() {
    let sample = file(300_000, 32 * 1024);
    for fast in [false, true] {
        let manners =
            Manners { fast, flap: Some(millis(70)), block_time: millis(10), ..Manners::default() };
        let mut world = World::new(1);
        let peer = world.scripted(Remote::seed(&sample, 1, manners));
        let leech = world.node(loud());
        world.download(leech, &sample, &[peer]);
        assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
        assert_eq!(world.stats(leech).wasted, 0);
    }
}

#[test]
fn a_slow_peer_alone_is_not_let_go() {
    // A block in twenty seconds is little, but it is all there is.
    let sample = file(8 * 16 * KIB, 16 * 1024);
    let mut world = World::new(1);
    let peer = world.scripted(Remote::seed(
        &sample,
        1,
        Manners { block_time: secs(20), ..Manners::default() },
    ));
    let leech = world.node(loud());
    world.download(leech, &sample, &[peer]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(400)), "{:?}", world.stats(leech));
    assert_eq!(world.script::<Remote>(peer).times(|h| h == Heard::Connected).len(), 1);
}

#[test]
fn when_a_seed_is_killed_another_takes_over() {
    let sample = file(2_000_000, 64 * 1024);
    for seed in 0..5 {
        let mut world = World::new(seed);
        let (a, b, leech) = (world.node(loud()), world.node(loud()), world.node(loud()));
        for node in [a, b] {
            world.set_line(node, Line { bandwidth: 1_000_000, ..Line::default() });
            world.seed_with(node, &sample);
        }
        world.download(leech, &sample, &[a, b]);
        assert!(world.run_until(|w| w.stats(leech).have >= 10, secs(60)));
        let before = world.stats(leech);
        world.kill(a);
        assert!(world.run_until(|w| w.is_complete(leech), secs(20)), "seed {seed}");
        let stats = world.stats(leech);
        assert!(
            stats.downloaded <= sample.geometry().total_len() + 8 * 16 * KIB,
            "{before:?} {stats:?}"
        );
    }
}

#[test]
fn a_cable_that_is_cut_is_noticed_without_being_told() {
    let sample = file(2_000_000, 64 * 1024);
    let mut world = World::new(3);
    let (a, b, leech) = (world.node(loud()), world.node(loud()), world.node(loud()));
    for node in [a, b] {
        world.set_line(node, Line { bandwidth: 1_000_000, ..Line::default() });
        world.seed_with(node, &sample);
    }
    world.download(leech, &sample, &[a, b]);
    assert!(world.run_until(|w| w.stats(leech).have >= 10, secs(60)));
    world.set_cut(a, true);
    let cut = world.now();
    assert!(world.run_until(|w| w.is_complete(leech), secs(30)));
    assert!(world.run_until(|w| w.stats(leech).peers == 0, secs(200)));
    assert!(world.now().since(cut) < secs(141));
}

#[test]
fn a_seed_that_comes_back_is_found_again() {
    let sample = file(2_000_000, 64 * 1024);
    let mut world = World::new(2);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.set_line(seed, Line { bandwidth: 1_000_000, ..Line::default() });
    world.seed_with(seed, &sample);
    world.download(leech, &sample, &[seed]);
    assert!(world.run_until(|w| w.stats(leech).have >= 5, secs(60)));
    world.kill(seed);
    world.run_for(secs(5));
    world.restart(seed);
    assert!(world.run_until(|w| w.is_complete(leech), secs(30)), "{:?}", world.stats(leech));
}

/// Takes connections and ends them.
#[derive(Debug, Default)]
struct Closer {
    times: Vec<Instant>,
}

impl Script for Closer {
    fn connected(&mut self, talk: &mut Talk<'_>, conn: ConnId, _incoming: bool) {
        self.times.push(talk.now());
        talk.close(conn);
    }
}

#[test]
fn useless_peer_is_dialled_ever_less_and_then_forgotten() {
    let sample = file(300_000, 32 * 1024);
    let mut world = World::new(1);
    let closer = world.scripted(Closer::default());
    // It is not tried encrypted, too.
    let leech = world.node(loud().with(|conf| conf.encryption.policy = Encryption::Off));
    let id = world.download(leech, &sample, &[]);
    let addr = world.addr(closer);
    // The user's would not be forgotten.
    world.tell(leech, |engine| engine.add_peer_from(id, addr, PeerSource::Dht)).unwrap();
    world.run_for(secs(1000));
    let times = &world.script::<Closer>(closer).times;
    assert_eq!(times.len(), 8);
    for (nth, pair) in times.windows(2).enumerate() {
        let pause = pair[1].since(pair[0]).as_secs_f64();
        let least = f64::from(1 << nth);
        assert!((least..least * 1.25 + 0.1).contains(&pause), "pause {nth} is {pause} s");
    }
    assert_eq!(world.stats(leech).candidates, 0);
}

#[test]
fn connections_stay_within_the_limit() {
    // The world checks links, dials, peers and candidates after every event.
    let sample = file(600_000, 32 * 1024);
    let conf = loud().with(|conf| {
        conf.peers.max_connections = 9;
        conf.peers.max_per_torrent = 6;
        conf.peers.max_dials = 3;
        conf.peers.max_candidates = 25;
    });
    let mut world = World::new(1);
    let mut peers: Vec<NodeId> = Vec::new();
    for nth in 0..40 {
        let manners = Manners { block_time: millis(50), ..Manners::default() };
        peers.push(match nth % 4 {
            0 => world.scripted(Closer::default()),
            1 => world.scripted(Remote::seed(
                &sample,
                nth,
                Manners { hello: Hello::Silent, ..manners },
            )),
            _ => world.scripted(Remote::seed(&sample, nth, manners)),
        });
    }
    let leech = world.node(conf);
    world.download(leech, &sample, &peers);
    assert_eq!(world.stats(leech).candidates, 25);
    let dials = vec![world.addr(leech); 4];
    for nth in 0..10 {
        let manners = Manners { dials: dials.clone(), has: None, ..Manners::default() };
        world.scripted(Remote::new(&sample, nth, manners));
    }
    assert!(world.run_until(|w| w.is_complete(leech), secs(300)), "{:?}", world.stats(leech));
}

#[test]
fn strangers_that_only_listen_are_not_fed_for_ever() {
    // Candidates without end: the list is bounded whatever is told.
    let sample = file(100_000, 32 * 1024);
    let mut world = World::new(1);
    let leech = world.node(loud());
    let id = world.download(leech, &sample, &[]);
    world.tell(leech, |engine| {
        for n in 0..10_000_u32 {
            let [_, a, b, c] = n.to_be_bytes();
            engine.add_peer(id, SocketAddr::from(([20, a, b, c], 1000))).unwrap();
        }
    });
    assert_eq!(world.stats(leech).candidates, 3000);
    world.run_for(secs(60));
}

#[test]
fn endgame_doubles_requests_and_cancels_the_rest() {
    let sample = file(40 * 16 * KIB, 64 * 1024);
    let mut world = World::new(1);
    let slow = world.scripted(Remote::seed(
        &sample,
        1,
        Manners { block_time: secs(4), ..Manners::default() },
    ));
    let fast: Vec<_> = (2..5)
        .map(|name| {
            world.scripted(Remote::seed(
                &sample,
                name,
                Manners { block_time: millis(20), ..Manners::default() },
            ))
        })
        .collect();
    let leech = world.node(loud());
    world.download(leech, &sample, &[&[slow], &fast[..]].concat());
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    assert!(world.now() < Instant::ZERO + secs(4), "it took until {:?}", world.now());
    world.run_for(millis(100));
    let cancels = world.script::<Remote>(slow).times(|h| matches!(h, Heard::Cancel(_)));
    assert!(!cancels.is_empty());
    let stats = world.stats(leech);
    assert_eq!(stats.downloaded, sample.geometry().total_len() + stats.wasted);
    assert!(
        stats.duplicate_blocks <= 8 && stats.wasted <= stats.duplicate_blocks * 16 * KIB,
        "{stats:?}"
    );
    // No block was asked for more often than allowed.
    let mut asked = std::collections::BTreeMap::new();
    for node in [&[slow], &fast[..]].concat() {
        for block in world.script::<Remote>(node).requests() {
            *asked.entry(block).or_insert(0) += 1;
        }
    }
    assert!(asked.values().all(|&times| times <= 4), "{asked:?}");
}

#[test]
fn all_leeches_complete_while_peers_come_and_go() {
    let sample = file(1_000_000, 32 * 1024);
    for seed in 0..3 {
        let mut world = World::new(seed);
        let seeder = world.node(loud());
        world.set_line(seeder, Line { bandwidth: 400_000, ..Line::default() });
        world.seed_with(seeder, &sample);
        let mut everybody = vec![seeder];
        for _ in 0..6 {
            let leech = world.node(loud());
            world.download(leech, &sample, &everybody);
            everybody.push(leech);
        }
        for round in 0..12 {
            let victim = everybody[1 + round % 6];
            world.run_for(millis(350));
            world.kill(victim);
            world.run_for(millis(150));
            world.restart(victim);
        }
        assert!(
            world.run_until(|w| everybody.iter().all(|&n| w.is_complete(n)), secs(300)),
            "seed {seed}"
        );
    }
}
