//! Everything at once: good, bad, slow and fickle peers, small limits, troubled disks, kills, and a user who changes his mind. When
//! the troubles end, everybody must have everything; what the world checks after each event must hold all along.

use super::*;
use crate::base::{
    bucket::{Limits, Rate},
    rng::Rng,
};

fn conf(rng: &mut Rng) -> Conf {
    let run_len = (16 * 1024) << rng.below(4);
    Conf {
        run_len,
        max_piece_memory: run_len as usize * (2 + rng.below(6) as usize),
        max_pipeline: 2 + rng.below(60) as usize,
        initial_pipeline: 1 + rng.below(8) as usize,
        max_unsent: (16 * 1024) << rng.below(4),
        max_request: 16 * 1024,
        max_upload_memory: (300 * 1024) << rng.below(4),
        max_incoming_requests: 4 + rng.below(100) as usize,
        max_links: 6 + rng.below(20) as usize,
        max_links_per_torrent: 4 + rng.below(10) as usize,
        max_dials: 1 + rng.below(6) as usize,
        max_dial_failures: 1000,
        reconnect_max: secs(3),
        endgame_copies: 1 + rng.below(4) as u8,
        save_interval: millis(50 + rng.below(2000)),
        max_checks: 1 + rng.below(4) as usize,
        disk_retry: millis(500),
        ..loud()
    }
}

fn line(rng: &mut Rng) -> Line {
    Line {
        latency: millis(rng.below(120)),
        jitter: millis(rng.below(30)),
        bandwidth: 100_000 << rng.below(7),
        segment: (1, 1 << (6 + rng.below(10))),
        send_buffer: 1 << (10 + rng.below(8)),
        window: 1 << (11 + rng.below(8)),
    }
}

fn manners(rng: &mut Rng, sample: &Sample) -> Manners {
    let kind = rng.below(9);
    let hit = one_in(2 + rng.below(6) as u32);
    let answer: Box<dyn FnMut(Asked) -> Answer + Send> = match kind {
        0 => Box::new(move |asked| if hit(asked) { Answer::Bad } else { Answer::Good }),
        1 => Box::new(move |asked| if hit(asked) { Answer::Nothing } else { Answer::Good }),
        2 => Box::new(move |asked| if hit(asked) { Answer::Reject } else { Answer::Good }),
        3 => Box::new(|_| Answer::Nothing),
        4 => Box::new(|_| Answer::Dribble(millis(300))),
        _ => Box::new(|_| Answer::Good),
    };
    let mut has = Bitfield::none(sample.geometry().piece_count());
    let share = 1 + rng.below(4);
    sample.geometry().pieces().filter(|_| rng.below(4) < share).for_each(|p| _ = has.set(p));
    Manners {
        hello: [Hello::Proper, Hello::Proper, Hello::Proper, Hello::Silent][rng.below(4) as usize],
        fast: kind == 2 || rng.below(2) == 0,
        reqq: (rng.below(2) == 0).then(|| 1 + rng.below(300) as u32),
        has: Some(has),
        unchoke_after: Some(millis(rng.below(500))),
        flap: (kind == 5).then(|| millis(20 + rng.below(300))),
        block_time: millis(rng.below(100)),
        answer,
        dials: Vec::new(),
        keep_alive: (rng.below(2) == 0).then(|| secs(1)),
    }
}

fn sample(rng: &mut Rng, nth: u64) -> Arc<Sample> {
    let piece_len = [16 * 1024, 20_000, 40_000, 64 * 1024, 256 * 1024][rng.below(5) as usize];
    let files = [("a", rng.below(200_000)), ("b/c", rng.below(3)), ("", rng.below(5000)), ("d", 1 + rng.below(500_000))];
    Sample::folder(&format!("torrent-{nth}"), &files, piece_len, rng.next_u64()).unwrap()
}

/// What the user or misfortune does to a node.
fn disturb(world: &mut World, node: NodeId, rng: &mut Rng) {
    let disk = world.disk(node);
    let what = rng.below(15);
    println!("{:?}: disturbance {what} at {node:?}", world.now());
    match what {
        0 => disk.set(|t| t.capacity = Some(rng.below(400_000))),
        1 => disk.set(|t| t.read_only = true),
        2 => disk.set(|t| t.fail_saves = true),
        3 => disk.set(|t| t.fail_syncs = true),
        4 => disk.set(|t| t.short = true),
        5..=7 => {
            world.kill(node);
            if rng.below(2) == 0 {
                println!("and its power is cut");
                disk.lose_power();
            }
            world.run_for(millis(rng.below(500)));
            world.restart(node);
        }
        8 => _ = world.tell(node, |engine| engine.torrents().into_iter().map(|id| engine.pause(id)).collect::<Vec<_>>()),
        9 => _ = world.tell(node, |engine| engine.torrents().into_iter().map(|id| engine.recheck(id)).collect::<Vec<_>>()),
        10 => _ = world.tell(node, |engine| engine.torrents().into_iter().map(|id| engine.resume(id)).collect::<Vec<_>>()),
        11 => {
            let limits = Limits { down: Rate::new(rng.below(100_000)), up: Rate::new(rng.below(100_000)) };
            world.tell(node, |engine| engine.set_limits(limits));
        }
        12 => {
            let limits = Limits { down: Rate::new(rng.below(100_000)), up: Rate::new(rng.below(100_000)) };
            _ = world.tell(node, |engine| engine.torrents().into_iter().map(|id| engine.set_torrent_limits(id, limits)).count());
        }
        13 => {
            let slots = [None, Some(0), Some(1), Some(3)][rng.below(4) as usize];
            _ = world.tell(node, |engine| engine.torrents().into_iter().map(|id| engine.set_upload_slots(id, slots)).count());
        }
        _ => disk.set(|t| *t = Troubles::default()),
    }
}

/// The user takes back what would keep everything from coming to a good end.
fn relieve(world: &mut World, node: NodeId) {
    world.tell(node, |engine| {
        engine.set_limits(Limits::default());
        for id in engine.torrents() {
            let _ = engine.resume(id);
            let _ = engine.set_torrent_limits(id, Limits::default());
            let _ = engine.set_upload_slots(id, None);
        }
    });
}

fn chaos(seed: u64) -> u64 {
    println!("seed {seed}");
    let mut rng = Rng::new(seed);
    let mut world = World::new(seed);
    let samples: Vec<_> = (0..1 + rng.below(2)).map(|nth| sample(&mut rng, nth)).collect();
    let mut good = vec![world.node(loud())];
    for _ in 0..1 + rng.below(3) {
        good.push(world.node(conf(&mut rng)));
    }
    let mut everybody = good.clone();
    for sample in &samples {
        world.seed_with(good[0], sample);
        for name in 0..rng.below(5) as u8 {
            let mut manners = manners(&mut rng, sample);
            if rng.below(3) == 0 {
                manners.dials = good.iter().map(|&node| world.addr(node)).collect();
            }
            everybody.push(world.scripted(Remote::new(sample, name, manners)));
        }
    }
    for &node in &everybody {
        let line = line(&mut rng);
        world.set_line(node, line);
    }
    for &leech in &good[1..] {
        let max = millis(1 + rng.below(100));
        let hot = [0, 50, 100][rng.below(3) as usize];
        world.set_disk_pace(leech, DiskPace { max, hot, ..DiskPace::default() });
        samples.iter().for_each(|sample| _ = world.download(leech, sample, &everybody));
    }
    for _ in 0..rng.below(15) {
        world.run_for(millis(rng.below(1500)));
        let victim = good[1 + rng.below(good.len() as u64 - 1) as usize];
        disturb(&mut world, victim, &mut rng);
    }
    for &node in &good[1..] {
        world.disk(node).set(|t| *t = Troubles::default());
        relieve(&mut world, node);
    }
    let over = world.run_until(|w| good.iter().all(|&n| w.is_complete(n)), secs(900));
    if !over {
        for &node in good.iter().filter(|&&n| !world.is_complete(n)) {
            println!("{node:?}: {:#?}\n{:#?}", world.stats_of(node), world.engine(node).conf());
            for id in world.engine(node).torrents() {
                println!("{:?}\n{:#?}", world.engine(node).have(id), world.engine(node).peers(id));
            }
        }
        panic!("seed {seed}");
    }
    for &node in &good {
        let others: Vec<_> = good.iter().map(|&n| world.addr(n)).collect();
        let banned = banned(&world, node);
        assert!(!banned.iter().any(|b| others.iter().any(|o| o.ip() == b.ip())), "seed {seed}: {node:?} has banned {banned:?}");
        world.tell(node, |engine| engine.shutdown());
    }
    assert!(world.run_until(|w| good.iter().all(|&n| w.engine(n).is_drained()), secs(60)), "seed {seed}");
    for &node in &good {
        assert_eq!((world.engine(node).piece_memory(), world.engine(node).upload_memory()), (0, 0), "seed {seed}");
    }
    world.transcript()
}

#[test]
fn everything_at_once_comes_to_a_good_end() {
    seeds().for_each(|seed| _ = chaos(seed));
}

/// Thirty seeds, or others: `CHAOS=500-900`.
fn seeds() -> std::ops::Range<u64> {
    let wanted = std::env::var("CHAOS").unwrap_or_default();
    let range = wanted.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or(0..30)
}

#[test]
fn chaos_is_repeatable() {
    assert_eq!(chaos(3), chaos(3));
}
