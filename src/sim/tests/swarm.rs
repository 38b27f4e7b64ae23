//! Downloads that go well: every shape of torrent, many peers, any network.

use super::*;

/// A seed and a leech to completion; the transcript.
fn transfer(seed: u64, sample: &Arc<Sample>, conf: &Conf, line: &Line) -> u64 {
    let mut world = World::new(seed);
    let (from, to) = (world.node(conf.clone()), world.node(conf.clone()));
    world.set_line(from, line.clone());
    world.set_line(to, line.clone());
    world.seed_with(from, sample);
    world.download(to, sample, &[from]);
    assert!(
        world.run_until(|w| w.is_complete(to), secs(600)),
        "seed {seed}: {:?}",
        world.stats(to)
    );
    let stats = world.stats(to);
    assert_eq!((stats.wasted, stats.failed_pieces, stats.unasked_blocks), (0, 0, 0));
    assert_eq!(stats.downloaded, sample.geometry().total_len());
    world.transcript()
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let sample = file(1_000_000, 64 * 1024);
    let run = |seed| transfer(seed, &sample, &loud(), &Line::default());
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn every_shape_of_torrent_arrives_whole() {
    let folder = |files: &[SampleFile<'_>], piece_len| {
        Sample::folder("folder", files, piece_len, 3).unwrap()
    };
    let shapes = [
        file(1, 16 * 1024),
        file(1, 16 * 1024 * 1024),
        file(20_000, 20_000),
        file(100_001, 20_000),
        file(16 * KIB, 16 * 1024),
        file(16 * KIB + 1, 16 * 1024),
        file(200_000, 16 * 1024),
        file(18 * KIB * KIB + 5, 16 * 1024 * 1024),
        folder(
            &[("a", 5), ("b", 0), ("c/d", 40_000), ("", 9_147), ("e/f/g", 100_000), ("h", 0)],
            16 * 1024,
        ),
        folder(&[("empty", 0), ("one", 1), ("two", 2), ("three", 60_000), ("last", 0)], 20_000),
    ];
    for (seed, sample) in shapes.iter().enumerate() {
        transfer(seed as u64, sample, &Conf::default(), &Line::default());
    }
}

#[test]
fn any_network_will_do() {
    let sample = file(300_000, 32 * 1024);
    let lines = [
        Line { segment: (1, 40), bandwidth: 1_000_000, ..Line::default() },
        Line { send_buffer: 100, segment: (1, 100), ..Line::default() },
        Line { latency: millis(400), jitter: millis(300), ..Line::default() },
        Line { bandwidth: 10_000, ..Line::default() },
        Line { window: 1000, ..Line::default() },
    ];
    for (seed, line) in lines.iter().enumerate() {
        transfer(seed as u64, &sample, &Conf::default(), line);
    }
}

#[test]
fn small_runs_and_little_memory_change_nothing() {
    let sample = file(3_000_000, 512 * 1024);
    let conf = loud().with(|conf| {
        conf.requests.run_len = 32 * 1024;
        conf.requests.max_piece_memory = 64 * 1024;
    });
    for seed in 0..5 {
        transfer(seed, &sample, &conf, &Line::default());
    }
}

#[test]
fn sequential_mode_gets_pieces_in_order() {
    let sample = file(64 * 16 * KIB, 16 * 1024);
    let mut world = World::new(1);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    let params =
        crate::torrent::TorrentParams { sequential: true, ..world.params(leech, &sample, &[seed]) };
    world.add_torrent(leech, &sample, params);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    let pieces: Vec<u32> = done_pieces(&world, leech);
    assert_eq!(pieces.len(), 64);
    // A worker may answer a little out of order, no more.
    assert!(
        pieces.iter().enumerate().all(|(at, &piece)| at.abs_diff(piece as usize) <= 16),
        "{pieces:?}"
    );
}

fn done_pieces(world: &World, node: NodeId) -> Vec<u32> {
    let piece = |alert: &Alert| {
        if let Alert::PieceDone { piece, .. } = alert { Some(piece.get()) } else { None }
    };
    world.alerts(node).iter().filter_map(|(_, alert)| piece(alert)).collect()
}

#[test]
fn the_rarest_pieces_come_first() {
    // Three peers have all but the last eight pieces, and only one has everything: the eight must
    // not be left for the end.
    let sample = file(64 * 16 * KIB, 16 * 1024);
    let mut most = Bitfield::none(64);
    sample.geometry().pieces().filter(|p| p.get() < 56).for_each(|p| _ = most.set(p));
    let slow = || Manners { block_time: millis(20), ..Manners::default() };
    let mut world = World::new(1);
    let mut peers = vec![world.scripted(Remote::seed(&sample, 0, slow()))];
    for name in 1..4 {
        let manners = Manners { has: Some(most.clone()), ..slow() };
        peers.push(world.scripted(Remote::new(&sample, name, manners)));
    }
    let leech = world.node(loud());
    world.download(leech, &sample, &peers);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    let from_seed: Vec<u32> =
        world.script::<Remote>(peers[0]).requests().iter().map(|b| b.piece.get()).collect();
    let early = from_seed.iter().take(16).filter(|&&piece| piece >= 56).count();
    assert!(early >= 7, "{from_seed:?}");
}

#[test]
fn leechers_help_each_other() {
    let sample = file(64 * 16 * KIB, 32 * 1024);
    let conf = loud().with(|conf| conf.requests.initial_pipeline = 4);
    let mut world = World::new(5);
    let seed = world.node(conf.clone());
    world.set_line(seed, Line { bandwidth: 500_000, ..Line::default() });
    world.seed_with(seed, &sample);
    let mut everybody = vec![seed];
    for _ in 0..20 {
        let leech = world.node(conf.clone());
        world.download(leech, &sample, &everybody);
        everybody.push(leech);
    }
    assert!(world.run_until(|w| everybody.iter().all(|&n| w.is_complete(n)), secs(600)));
    let uploaded = world.stats(seed).uploaded;
    let total = sample.geometry().total_len();
    assert!(uploaded < 8 * total, "the seed had to send the torrent {} times", uploaded / total);
    for &leech in &everybody[1..] {
        let stats = world.stats(leech);
        assert_eq!((stats.failed_pieces, stats.banned, stats.unasked_blocks), (0, 0, 0));
    }
}

#[test]
fn mutual_dials_leave_one_connection() {
    // At the same moment, over a long line: each finds itself dialled by the node it dials.
    let sample = file(400_000, 32 * 1024);
    for seed in 0..20 {
        let mut world = World::new(seed);
        let (a, b) = (world.node(loud()), world.node(loud()));
        for node in [a, b] {
            world.set_line(
                node,
                Line { latency: millis(300), jitter: Duration::ZERO, ..Line::default() },
            );
        }
        let half = |odd: u32| {
            let mut pieces = Bitfield::none(sample.geometry().piece_count());
            sample
                .geometry()
                .pieces()
                .filter(|p| p.get() % 2 == odd)
                .for_each(|p| _ = pieces.set(p));
            pieces
        };
        world.put_pieces(a, &sample, &half(0));
        world.put_pieces(b, &sample, &half(1));
        world.download(a, &sample, &[b]);
        world.download(b, &sample, &[a]);
        world.run_for(secs(4));
        assert_eq!((world.stats(a).peers, world.stats(b).peers), (1, 1), "seed {seed}");
        assert!(world.run_until(|w| w.is_complete(a) && w.is_complete(b), secs(30)), "seed {seed}");
    }
}

#[test]
fn leech_with_most_pieces_fetches_only_the_rest() {
    let sample = file(400_000, 32 * 1024);
    let mut world = World::new(3);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seed, &sample);
    let mut pieces = Bitfield::all(sample.geometry().piece_count());
    pieces.unset(sample.geometry().piece(5).unwrap());
    world.put_pieces(leech, &sample, &pieces);
    world.download(leech, &sample, &[seed]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(30)));
    assert_eq!(world.stats(leech).downloaded, 32 * KIB);
}

#[test]
fn two_torrents_share_an_engine() {
    let (one, two) = (file(500_000, 32 * 1024), file(600_000, 64 * 1024));
    let mut world = World::new(4);
    let (seed, leech) = (world.node(loud()), world.node(loud()));
    for sample in [&one, &two] {
        world.seed_with(seed, sample);
        world.download(leech, sample, &[seed]);
    }
    assert!(world.run_until(|w| w.is_complete(leech), secs(30)));
    assert_eq!(world.stats_of(leech).len(), 2);
}
