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
    assert!(world.run_until(|w| w.is_complete(to), secs(600)), "seed {seed}: {:?}", world.stats(to));
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
