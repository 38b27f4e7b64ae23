//! Memory for pieces is short: it is never exceeded, and a fast peer is not held up by slow ones.

use super::*;
use crate::base::bucket::{Limits, Rate};

/// Slow peers, more than there is memory for, and a fast one; how long it took.
fn crowd(
    seed: u64,
    sample: &Arc<Sample>,
    conf: &Conf,
    slow: u8,
    block_time: Duration,
) -> (Duration, World, NodeId) {
    let mut world = World::new(seed);
    let mut peers = Vec::new();
    for name in 0..slow {
        let peer = world.scripted(Remote::seed(
            sample,
            name,
            Manners { block_time, ..Manners::default() },
        ));
        peers.push(peer);
    }
    let leech = world.node(conf.clone());
    world.download(leech, sample, &peers);
    world.run_for(secs(1));
    let fast = world.scripted(Remote::seed(sample, 99, Manners::default()));
    world.set_line(
        fast,
        Line { bandwidth: 50_000_000, send_buffer: 1 << 20, window: 1 << 20, ..Line::default() },
    );
    let (id, addr) = (world.torrent(leech), world.addr(fast));
    world.tell(leech, |engine| engine.add_peer(id, addr)).unwrap();
    let start = world.now();
    assert!(
        world.run_until(|w| w.is_complete(leech), secs(600)),
        "seed {seed}: {:?}",
        world.stats(leech)
    );
    (world.now().since(start), world, leech)
}

#[test]
fn a_fast_peer_is_not_held_up_by_slow_ones() {
    let sample = file(8 << 20, 2 << 20);
    let conf = loud().with(|conf| {
        conf.requests.run_len = 128 * 1024;
        conf.requests.max_piece_memory = 1 << 20;
    });
    for seed in 0..3 {
        let (took, world, leech) = crowd(seed, &sample, &conf, 16, secs(5));
        assert!(took < secs(4), "seed {seed}: {took:?}");
        assert!(world.peak_memory(leech) <= 1 << 20 && world.engine(leech).piece_memory() == 0);
    }
}

#[test]
fn idle_buffers_go_after_some_seconds() {
    let sample = file(8 << 20, 256 * 1024);
    let mut world = World::new(1);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    world.download(leech, &sample, &[seed]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    let idle = |world: &World| [seed, leech].map(|node| world.engine(node).idle_memory());
    assert!(idle(&world).iter().all(|&bytes| bytes > 0), "{:?}", idle(&world));
    world.run_for(secs(11));
    assert_eq!(idle(&world), [0, 0]);
}

#[test]
fn pieces_of_sixteen_mebibytes_fit() {
    let sample = file(40 << 20, 16 << 20);
    let (took, world, leech) = crowd(1, &sample, &loud(), 30, secs(5));
    assert!(took < secs(10), "{took:?}");
    assert!(
        world.peak_memory(leech) <= Conf::default().requests.max_piece_memory,
        "{}",
        world.peak_memory(leech)
    );
    assert_eq!(world.engine(leech).piece_memory(), 0);
}

#[test]
fn the_least_memory_is_enough() {
    let sample = file(3_000_000, 512 * 1024);
    for seed in 0..5 {
        let conf = loud().with(|conf| {
            conf.requests.run_len = 64 * 1024;
            conf.requests.max_piece_memory = 128 * 1024;
        });
        let (_, world, leech) = crowd(seed, &sample, &conf, 6, millis(400));
        assert!(world.peak_memory(leech) <= 128 * 1024);
    }
}

#[test]
fn memory_that_one_torrent_gives_back_is_used_by_another() {
    let (one, two) = (file(4 << 20, 1 << 20), file(2 << 20, 1 << 20));
    let conf = loud().with(|conf| {
        conf.requests.run_len = 128 * 1024;
        conf.requests.max_piece_memory = 512 * 1024;
    });
    let mut world = World::new(1);
    let never = || Manners { answer: Box::new(|_| Answer::Nothing), ..Manners::default() };
    let hoarders: Vec<_> =
        (0..6).map(|name| world.scripted(Remote::seed(&one, name, never()))).collect();
    let leech = world.node(conf);
    world.download(leech, &one, &hoarders);
    world.run_for(secs(1));
    assert_eq!(
        world.engine(leech).piece_memory(),
        384 * 1024,
        "all that it may have waits for peers that send nothing"
    );
    let good = world.scripted(Remote::seed(&two, 50, Manners::default()));
    world.download(leech, &two, &[good]);
    world.run_for(secs(1));
    hoarders.iter().for_each(|&node| world.kill(node));
    assert!(
        world.run_until(|w| w.stats_of(leech)[1].have == 2, secs(3)),
        "{:?}",
        world.stats_of(leech)[1]
    );
}

#[test]
fn torrent_with_slow_peers_leaves_memory_to_another() {
    let (one, two) = (file(8 << 20, 1 << 20), file(2 << 20, 1 << 20));
    let conf = loud().with(|conf| {
        conf.requests.run_len = 128 * 1024;
        conf.requests.max_piece_memory = 512 * 1024;
    });
    for is_limited in [false, true] {
        let mut world = World::new(1);
        let block_time = if is_limited { millis(5) } else { secs(20) };
        let manners = || Manners { block_time, ..Manners::default() };
        let slow: Vec<_> =
            (0..6).map(|name| world.scripted(Remote::seed(&one, name, manners()))).collect();
        let leech = world.node(conf.clone());
        let id = world.download(leech, &one, &slow);
        if is_limited {
            let limits = Limits { down: Rate::new(1024), up: None };
            world.tell(leech, |engine| engine.set_torrent_limits(id, limits)).unwrap();
        }
        world.run_for(secs(2));
        let good = world.scripted(Remote::seed(&two, 50, Manners::default()));
        world.download(leech, &two, &[good]);
        let is_there = world.run_until(|w| w.stats_of(leech)[1].have == 2, secs(10));
        assert!(is_there, "limited: {is_limited}; {:?}", world.stats_of(leech)[1]);
        assert!(world.stats_of(leech)[0].have < 8);
    }
}

/// Sends one block of each piece it is asked for, then goes.
#[derive(Debug)]
struct Tease;

impl Tease {
    fn manners(blocks: usize) -> Manners {
        Manners {
            answer: Box::new(move |asked| {
                if asked.block.begin == 0 && asked.nth < blocks {
                    Answer::Good
                } else {
                    Answer::Nothing
                }
            }),
            ..Manners::default()
        }
    }
}

#[test]
fn abandoned_pieces_give_their_memory_back() {
    // Peers begin pieces that no other peer has, and go. The one that stays has the others.
    let sample = file(16 * 128 * KIB, 128 * 1024);
    let conf = loud().with(|conf| {
        conf.requests.run_len = 128 * 1024;
        conf.requests.max_piece_memory = 512 * 1024;
    });
    let half = |odd: u32| {
        let mut pieces = Bitfield::none(16);
        sample.geometry().pieces().filter(|p| p.get() % 2 == odd).for_each(|p| _ = pieces.set(p));
        pieces
    };
    let mut world = World::new(1);
    let leavers: Vec<_> = (0..4)
        .map(|name| {
            world.scripted(Remote::new(
                &sample,
                name,
                Manners { has: Some(half(0)), ..Tease::manners(8) },
            ))
        })
        .collect();
    let leech = world.node(conf);
    world.download(leech, &sample, &leavers);
    world.run_for(secs(1));
    assert_eq!(world.engine(leech).piece_memory(), 384 * 1024);
    leavers.iter().for_each(|&node| world.kill(node));
    world.run_for(secs(1));
    let stays = world.scripted(Remote::new(
        &sample,
        50,
        Manners { has: Some(half(1)), ..Manners::default() },
    ));
    let (id, addr) = (world.torrent(leech), world.addr(stays));
    world.tell(leech, |engine| engine.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.stats(leech).have == 8, secs(10)), "{:?}", world.stats(leech));
}

#[test]
fn fast_peer_that_choked_is_asked_again_while_memory_is_short() {
    let sample = file(64 << 20, 1 << 20);
    let conf = loud().with(|conf| {
        conf.requests.run_len = 128 * 1024;
        conf.requests.max_piece_memory = 256 * 1024;
        (conf.requests.initial_pipeline, conf.requests.max_pipeline) = (2, 2);
    });
    let mut world = World::new(1);
    let slow = |_| Manners { block_time: secs(1), ..Manners::default() };
    let mut peers: Vec<_> =
        (0..30).map(|name| world.scripted(Remote::seed(&sample, name, slow(name)))).collect();
    // It chokes and unchokes every three seconds.
    let asked = Arc::new(std::sync::Mutex::new(Vec::new()));
    let heard = asked.clone();
    let answer = Box::new(move |asked: Asked| {
        heard.lock().unwrap().push(asked.at);
        Answer::Good
    });
    let block_time = millis(5);
    let manners = Manners { block_time, flap: Some(secs(3)), answer, ..Manners::default() };
    peers.push(world.scripted(Remote::seed(&sample, 99, manners)));
    let leech = world.node(conf);
    world.download(leech, &sample, &peers);
    world.run_for(secs(30));
    let asked = asked.lock().unwrap();
    let (begun, end) = (asked[0], world.now());
    for round in 1..4 {
        let open = begun + secs(6) * round;
        let in_time = asked.iter().filter(|&&at| at >= open && at < open + secs(3)).count();
        assert!(open < end && in_time > 0, "round {round}: {:?}", asked.len());
    }
}
