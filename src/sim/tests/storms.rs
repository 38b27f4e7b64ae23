//! Everything that a network can do to a swarm, at random and at once: partitions, routers, flaky
//! and half-open connections, clocks that jump, disks that hang, processes that die or vanish. When
//! it is over everybody must have everything.

use super::*;
use crate::base::rng::Rng;

fn line(rng: &mut Rng) -> Line {
    let lines = [Line::fibre(), Line::dsl(), Line::mobile(), Line::satellite(), Line::default()];
    let line = lines[rng.below(lines.len() as u64) as usize].clone();
    Line { bandwidth: 50_000 << rng.below(6), segment: (1, 64 << rng.below(9)), ..line }
}

fn conf(rng: &mut Rng) -> Conf {
    let run_len = (16 * 1024) << rng.below(3);
    loud().with(|conf| {
        conf.requests.run_len = run_len;
        conf.requests.max_piece_memory = run_len as usize * (2 + rng.below(20) as usize);
        conf.requests.max_pipeline = 2 + rng.below(100) as usize;
        conf.peers.max_dial_failures = 1000;
        conf.peers.reconnect_max = secs(5);
        conf.storage.retry_pause = millis(500);
        conf.uploads.slots = (rng.below(3) == 0).then(|| 1 + rng.below(3) as usize);
        conf.uploads.suggest = rng.below(3) == 0;
        conf.storage.save_interval = millis(50 + rng.below(5000));
    })
}

/// What happens next.
fn strike(world: &mut World, cast: &Cast, rng: &mut Rng) {
    let everybody: Vec<NodeId> = cast.engines().collect();
    let node = everybody[rng.below(everybody.len() as u64) as usize];
    let other = everybody[rng.below(everybody.len() as u64) as usize];
    let back = millis(rng.below(20_000));
    match rng.below(14) {
        0 | 1 => {
            let part: Vec<NodeId> =
                everybody.iter().copied().filter(|_| rng.below(2) == 0).collect();
            world.partition(&[&part]);
        }
        2 => world.mend(),
        3 => world.set_way(node, other, true),
        4 => world.set_way(node, other, false),
        5 => world.jump_clock(node, secs(1 << rng.below(20))),
        6 => world.hang_disk(node, millis(rng.below(20_000))),
        7 => world.set_disk_spikes(node, rng.below(20), millis(rng.below(3000))),
        8 | 9 if world.is_up(node) => {
            world.kill(node);
            world.after(back, move |world| world.restart(node));
        }
        10 | 11 if world.is_up(node) => {
            world.vanish(node);
            world.after(back, move |world| world.restart(node));
        }
        12 => world.set_flaky(node, (rng.below(2) == 0).then(|| millis(300 + rng.below(10_000)))),
        _ => world.disk(node).shift_clock(rng.below(2000) as i64 - 1000),
    }
}

fn storm(seed: u64) -> u64 {
    let mut rng = Rng::new(seed);
    let nats = [None, None, Some(Nat::FullCone), Some(Nat::Restricted), Some(Nat::Symmetric)];
    let sample = file(100_000 + rng.below(900_000), (16 * 1024) << rng.below(4));
    let mut scenario = Scenario::swarm(seed)
        .seeds(1 + rng.below(2) as usize)
        .leeches(1 + rng.below(5) as usize)
        .sharing(&sample);
    scenario = scenario
        .seeds_on(line(&mut rng))
        .leeches_on(line(&mut rng))
        .seeds_with(conf(&mut rng))
        .leeches_with(conf(&mut rng));
    if let Some(nat) = nats[rng.below(5) as usize] {
        scenario = if rng.below(3) == 0 { scenario.behind_one(nat) } else { scenario.behind(nat) };
    }
    let Outcome { mut world, cast, .. } = scenario.begin();
    world.set_scrutiny(scrutiny());
    for _ in 0..rng.below(25) {
        world.run_for(millis(rng.below(4000)));
        strike(&mut world, &cast, &mut rng);
    }
    world.run_for(secs(21));
    world.mend();
    for node in cast.engines() {
        world.set_flaky(node, None);
        world.set_disk_spikes(node, 0, Duration::ZERO);
    }
    let over = world.run_until(|w| cast.leeches.iter().all(|&n| w.is_complete(n)), secs(3600));
    for &node in cast.leeches.iter().filter(|&&n| !over && !world.is_complete(n)) {
        println!("{}: {:#?}", world.name(node), world.stats_of(node));
        for id in world.engine(node).torrents() {
            println!("{:?}\n{:#?}", world.engine(node).have(id), world.engine(node).peers(id));
        }
    }
    assert!(over, "seed {seed}");
    for node in cast.engines() {
        let stats = world.stats(node);
        assert_eq!(
            (stats.failed_pieces, stats.banned),
            (0, 0),
            "seed {seed}: {}",
            world.name(node)
        );
        // What was given up for good long ago, and comes all the same, is not remembered for ever.
        assert!(
            stats.unasked_blocks < 20,
            "seed {seed}: {} has {} unasked blocks",
            world.name(node),
            stats.unasked_blocks
        );
        world.tell(node, |engine| engine.shutdown());
    }
    assert!(
        world.run_until(|w| cast.engines().all(|n| w.engine(n).is_drained()), secs(300)),
        "seed {seed}"
    );
    assert!(cast.engines().all(|n| world.engine(n).piece_memory() == 0), "seed {seed}");
    world.transcript()
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

fn scrutiny() -> u32 {
    number("SCRUTINY").map_or(16, |every| every as u32)
}

/// These seeds, or others: `STORMS=500` for five hundred from `STORM` on.
fn storms(from: u64) {
    let (from, count) = (number("STORM").unwrap_or(from), number("STORMS").unwrap_or(10));
    (from..from + count).for_each(|seed| {
        println!("seed {seed}");
        storm(seed);
    });
}

cases! { storms:
    storms_end_well => 0;
    more_storms_end_well => 1000;
    still_more_storms_end_well => 2000;
}

#[test]
fn a_storm_is_repeatable() {
    assert_eq!(storm(7), storm(7));
}
