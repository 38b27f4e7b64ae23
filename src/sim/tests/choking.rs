//! Who gets what: tit for tat, free riders, the ways to choose while seeding, and peers that make
//! room. Each result is a table.

use std::{collections::BTreeMap, fmt::Write};

use super::*;
use crate::conf::SeedChoking;

/// Slow lines need short queues, or a choke takes effect only when what waits is gone.
fn few_slots(slots: usize) -> Conf {
    loud().with(|conf| {
        conf.uploads.slots = Some(slots);
        conf.uploads.max_unsent = 32 * 1024;
    })
}

fn slow(bandwidth: u64) -> Line {
    Line { bandwidth, segment: (4096, 16 * 1024), send_buffer: 16 * 1024, ..Line::default() }
}

fn pieces_where(sample: &Sample, has: impl Fn(u32) -> bool) -> Bitfield {
    let mut pieces = Bitfield::none(sample.geometry().piece_count());
    sample.geometry().pieces().filter(|p| has(p.get())).for_each(|p| _ = pieces.set(p));
    pieces
}

/// For how many seconds each peer had a slot, by server and peer, and how often that changed.
#[derive(Default)]
struct Watch(BTreeMap<(NodeId, NodeId), Slot>);

#[derive(Clone, Copy, Default)]
struct Slot {
    unchoked: bool,
    changes: u32,
    secs: u64,
}

impl Watch {
    fn look(&mut self, world: &World, servers: &[NodeId], nodes: &[NodeId]) {
        for &server in servers {
            for peer in world.engine(server).peers(world.torrent(server)) {
                let Some(&node) = nodes.iter().find(|&&n| world.addr(n).ip() == peer.addr.ip())
                else {
                    continue;
                };
                let slot = self.0.entry((server, node)).or_default();
                slot.changes += u32::from(
                    std::mem::replace(&mut slot.unchoked, peer.peer_unchoked) != peer.peer_unchoked,
                );
                slot.secs += u64::from(peer.peer_unchoked);
            }
        }
    }

    fn sum(&self, which: impl Fn(NodeId, NodeId) -> bool, what: impl Fn(&Slot) -> u64) -> u64 {
        self.0
            .iter()
            .filter(|((server, node), _)| which(*server, *node))
            .map(|(_, slot)| what(slot))
            .sum()
    }
}

/// Spearman's: 1 if both are in the same order, -1 if in the opposite one.
fn rank_correlation(a: &[u64], b: &[u64]) -> f64 {
    let rank = |v: &[u64], at: usize| v.iter().filter(|&&x| x < v[at]).count() as f64;
    let n = a.len() as f64;
    let d2: f64 = (0..a.len()).map(|at| (rank(a, at) - rank(b, at)).powi(2)).sum();
    1.0 - 6.0 * d2 / (n * (n * n - 1.0))
}

#[test]
fn giving_peer_gets_more_and_free_rider_only_optimistic_share() {
    const SECS: u64 = 240;
    let sample = file(12 << 20, 64 * 1024);
    let mut world = World::new(1);
    let seed = world.node(few_slots(4));
    world.set_line(seed, slow(8_000));
    world.seed_with(seed, &sample);
    // Twelve that upload at 2, 4, … 24 kB/s, and one that lets no peer ask. All have a third of
    // it, each another one.
    let mut nodes = Vec::new();
    for n in 1..=13 {
        let node = world.node(few_slots(if n == 13 { 0 } else { 4 }));
        world.set_line(node, slow(n * 2_000));
        world.put_pieces(
            node,
            &sample,
            &pieces_where(&sample, |p| (p * 7919 + p / 3 * 31 * n as u32) % 13 % 3 == n as u32 % 3),
        );
        let peers: Vec<NodeId> = nodes.iter().copied().chain([seed]).collect();
        world.download(node, &sample, &peers);
        nodes.push(node);
    }
    let (givers, rider) = (&nodes[..12], nodes[12]);
    // Until rates are known everybody is on trial.
    world.run_for(secs(60));
    let before: Vec<u64> = nodes.iter().map(|&n| world.stats(n).downloaded).collect();
    let mut watch = Watch::default();
    for _ in 0..SECS {
        world.run_for(secs(1));
        watch.look(&world, givers, &nodes);
    }

    let mut table = "kB/s   gave    got  slot time\n".to_owned();
    let (mut gave, mut got) = (Vec::new(), Vec::new());
    for (n, &node) in nodes.iter().enumerate() {
        let stats = world.stats(node);
        let time = watch.sum(|_, to| to == node, |slot| slot.secs);
        let line = if n == 12 { 0 } else { 2 * (n + 1) };
        gave.push(stats.uploaded);
        got.push(stats.downloaded - before[n]);
        writeln!(table, "{line:4} {:6} {:6} {time:10}", stats.uploaded / KIB, got[n] / KIB)
            .unwrap();
    }
    let correlation = rank_correlation(&gave[..12], &got[..12]);
    let changes = watch.sum(|_, _| true, |slot| u64::from(slot.changes));
    let an_hour = changes * 3600 / SECS / (12 * 12);
    let share = watch.sum(|_, to| to == rider, |slot| slot.secs) as f64 / (12 * 4 * SECS) as f64;
    println!(
        "{table}rank correlation {correlation:.2}, {an_hour} changes an hour and peer, \
         free rider has {share:.3} of the slots"
    );
}

/// Twenty that have nothing come to a seed with two slots at once. What BEP 6 lets them have while
/// they are choked must not share the line among all of them, or for long none of them has a whole
/// piece to pass on.
#[test]
fn a_crowd_of_beginners_does_not_divide_the_line() {
    let sample = file(32 * 64 * 1024, 64 * 1024);
    let mut world = World::new(1);
    let seed = world.node(few_slots(2));
    world.set_line(seed, slow(32_000));
    world.seed_with(seed, &sample);
    let crowd: Vec<NodeId> = (0..20).map(|_| world.node(few_slots(0))).collect();
    crowd.iter().for_each(|&node| _ = world.download(node, &sample, &[seed]));
    world.run_for(secs(20));
    let served = crowd.iter().filter(|&&node| world.stats(node).downloaded > 0).count();
    let whole: u32 = crowd.iter().map(|&node| world.stats(node).have).sum();
    assert!(served <= 3, "{served} were served");
    assert!(whole >= 4, "of the nine pieces that have left in 20 seconds {whole} are whole");
}

/// What one peer had of a seed: KiB, seconds with a slot, and how often it was choked or unchoked.
#[derive(Clone, Copy)]
struct Served {
    got: u64,
    secs: u64,
    changes: u64,
}

/// Ten minutes of a seed with three slots and ten leeches that know only the seed. They have 0, 10,
/// … 90 % of it, and differ in how fast data reaches them.
fn seeding(policy: SeedChoking) -> Vec<Served> {
    let sample = file(16 << 20, 64 * 1024);
    let mut world = World::new(1);
    let seed = world.node(few_slots(3).with(|conf| {
        conf.uploads.seed_choking = policy;
        conf.peers.exchange = false;
    }));
    world.set_line(seed, Line { window: 4096, ..slow(30_000) });
    world.seed_with(seed, &sample);
    let mut nodes = Vec::new();
    for n in 0..10 {
        let node = world.node(few_slots(4));
        world.set_line(node, Line { latency: delay(n), ..slow(10_000) });
        world.put_pieces(node, &sample, &pieces_where(&sample, |p| p % 10 < n));
        world.download(node, &sample, &[seed]);
        nodes.push(node);
    }
    let mut watch = Watch::default();
    for _ in 0..600 {
        world.run_for(secs(1));
        watch.look(&world, &[seed], &nodes);
    }
    let result = |&node: &NodeId| Served {
        got: world.stats(node).downloaded / KIB,
        secs: watch.sum(|_, to| to == node, |slot| slot.secs),
        changes: watch.sum(|_, to| to == node, |slot| u64::from(slot.changes)),
    };
    nodes.iter().map(result).collect()
}

/// What 4 KiB take to the nth.
fn delay(n: u32) -> Duration {
    millis(200 * u64::from(n * 7 % 10 + 1))
}

#[test]
fn seeds_serve_in_turn_or_the_fastest_or_the_edges() {
    let [round, fastest, edges] =
        [SeedChoking::RoundRobin, SeedChoking::FastestUpload, SeedChoking::AntiLeech].map(seeding);
    let mut table =
        "had  delay    round robin        fastest     anti-leech   (KiB, seconds, changes)\n"
            .to_owned();
    for n in 0..10 {
        let cell = |s: Served| format!("{:6} {:4} {:3}", s.got, s.secs, s.changes);
        let (had, delay) = (10 * n, delay(n as u32));
        writeln!(
            table,
            "{had:2}%  {delay:5?} {} {} {}",
            cell(round[n]),
            cell(fastest[n]),
            cell(edges[n])
        )
        .unwrap();
    }
    println!("{table}");
    let secs = |of: &[Served], which: &[usize]| which.iter().map(|&n| of[n].secs).sum::<u64>();
    assert!(round.iter().all(|s| (120..=300).contains(&s.secs)), "{table}");
    // Two of the three slots are earned.
    assert!(secs(&fastest, &[0, 3]) > 1000, "{table}");
    let (outer, inner) = ([0, 1, 8, 9], [3, 4, 5, 6]);
    assert!(secs(&edges, &outer) > 2 * secs(&edges, &inner), "{table}");
    assert!(
        secs(&edges, &outer) > secs(&round, &outer) && secs(&edges, &inner) < secs(&round, &inner),
        "{table}"
    );
}

#[test]
fn a_full_torrent_lets_the_useless_make_room_for_newcomers() {
    let sample = file(4 << 20, 64 * 1024);
    let mut world = World::new(1);
    let alive = |manners: Manners| Manners { keep_alive: Some(secs(50)), ..manners };
    let nothing = |name| Remote::new(&sample, name, alive(Manners::default()));
    // Eight have nothing; one gives, slowly; one is slow too and the only one with the last piece.
    let mut first: Vec<NodeId> = (0..8).map(|name| world.scripted(nothing(name))).collect();
    let some = |has| alive(Manners { has: Some(has), block_time: secs(8), ..Manners::default() });
    let giver = world.scripted(Remote::new(&sample, 8, some(pieces_where(&sample, |p| p < 40))));
    let rare = Manners { unchoke_after: None, ..some(pieces_where(&sample, |p| p == 63)) };
    let rare = world.scripted(Remote::new(&sample, 9, rare));
    first.extend([giver, rare]);
    let most = || {
        alive(Manners {
            has: Some(pieces_where(&sample, |p| p < 63)),
            block_time: millis(50),
            ..Manners::default()
        })
    };
    let better: Vec<NodeId> =
        (10..14).map(|name| world.scripted(Remote::new(&sample, name, most()))).collect();

    let conf = loud().with(|conf| {
        conf.peers.max_per_torrent = 10;
        conf.peers.turnover_interval = secs(100);
    });
    let leech = world.node(conf);
    world.download(leech, &sample, &first);
    world.run_for(secs(2));
    for &peer in &better {
        let addr = world.addr(peer);
        world
            .tell(leech, |engine| {
                engine.find(sample.metainfo.info_hash()).map(|id| engine.add_peer(id, addr))
            })
            .unwrap()
            .unwrap();
    }
    world.run_for(secs(98));
    assert_eq!((world.stats(leech).peers, world.stats(leech).candidates), (10, 4));
    let mut table = String::new();
    for minute in 2..=8 {
        world.run_for(secs(60));
        let here = |nodes: &[NodeId]| {
            nodes.iter().filter(|&&n| world.script::<Remote>(n).connections() > 0).count()
        };
        writeln!(
            table,
            "{minute} min: {} of the first, {} newcomers, {} pieces",
            here(&first),
            here(&better),
            world.stats(leech).have
        )
        .unwrap();
    }
    println!("{table}");
    let want = "\
2 min: 9 of the first, 1 newcomers, 63 pieces
3 min: 8 of the first, 2 newcomers, 63 pieces
4 min: 8 of the first, 2 newcomers, 63 pieces
5 min: 7 of the first, 3 newcomers, 63 pieces
6 min: 7 of the first, 3 newcomers, 63 pieces
7 min: 6 of the first, 4 newcomers, 63 pieces
8 min: 6 of the first, 4 newcomers, 63 pieces
";
    assert_eq!(table, want);
    let gone: Vec<_> = partings(&world, leech)
        .into_iter()
        .filter(|(_, why)| why == "it makes room for others")
        .collect();
    for kept in [giver, rare] {
        assert!(gone.iter().all(|(addr, _)| *addr != world.addr(kept)), "{kept:?} was of use");
    }
}

#[test]
fn idle_peer_makes_room_after_ten_minutes_when_full() {
    let sample = file(1 << 20, 64 * 1024);
    let mut world = World::new(1);
    let seed = world.node(loud().with(|conf| conf.peers.max_per_torrent = 10));
    world.seed_with(seed, &sample);
    world.run_for(secs(1));
    let dials = |world: &World| Manners {
        dials: vec![world.addr(seed)],
        keep_alive: Some(secs(60)),
        ..Manners::default()
    };
    for name in 0..8 {
        let manners = dials(&world);
        world.scripted(Remote::new(&sample, name, manners));
    }
    world.run_for(secs(700));
    assert_eq!(world.stats(seed).peers, 8, "there is room for two more");
    for name in 8..10 {
        let manners = dials(&world);
        world.scripted(Remote::new(&sample, name, manners));
    }
    world.run_for(secs(290));
    assert_eq!(world.stats(seed).peers, 10);
    world.run_for(secs(20));
    // Enough of them, and no more.
    assert_eq!(world.stats(seed).peers, 8);
    let why = "neither wants anything of the other";
    assert_eq!(partings(&world, seed).iter().filter(|(_, reason)| reason == why).count(), 2);
    world.run_for(secs(2000));
    assert_eq!(world.stats(seed).peers, 8);
}

#[test]
fn waiting_peers_are_tried_equally_often() {
    // Twenty that give nothing want of one that is not whole what goes round among them: two slots.
    let sample = file(12 << 20, 64 * 1024);
    let mut world = World::new(1);
    let server = world.node(few_slots(2));
    world.set_line(server, slow(20_000));
    world.put_pieces(server, &sample, &pieces_where(&sample, |p| p % 2 == 0));
    world.download(server, &sample, &[]);
    world.run_for(secs(5));
    let riders: Vec<NodeId> = (0..20).map(|_| world.node(few_slots(0))).collect();
    riders.iter().for_each(|&rider| _ = world.download(rider, &sample, &[server]));
    let mut watch = Watch::default();
    for _ in 0..360 {
        world.run_for(secs(10));
        watch.look(&world, &[server], &riders);
    }
    let tried: Vec<u64> =
        riders.iter().map(|&rider| watch.sum(|_, to| to == rider, |slot| slot.secs)).collect();
    let (all, least, most) =
        (tried.iter().sum::<u64>(), tried.iter().min().unwrap(), tried.iter().max().unwrap());
    println!("{tried:?}");
    assert!(all >= 2 * 350, "the slots are never empty: {tried:?}");
    assert!(*least >= all / 20 / 3 && *most <= all / 20 * 2, "{tried:?}");
}
