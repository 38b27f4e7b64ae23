//! A limit one way holds back nothing the other way: what is no block counts, and never waits.

use super::*;
use crate::base::bucket::{Limits, Rate};

/// How long some leeches take to get everything from a seed.
fn download(seed: Limits, leech: Limits, leeches: usize) -> Duration {
    let sample = file(8 << 20, 256 * 1024);
    let mut world = World::new(1);
    let from = world.node(loud().with(|conf| conf.network.limits = seed));
    world.seed_with(from, &sample);
    // They do not help each other, which a limit may well change.
    let leech = || {
        loud().with(|conf| {
            conf.network.limits = leech;
            conf.uploads.slots = Some(0);
        })
    };
    let nodes: Vec<NodeId> = (0..leeches).map(|_| world.node(leech())).collect();
    nodes.iter().for_each(|&node| _ = world.download(node, &sample, &[from]));
    let start = world.now();
    assert!(world.run_until(|w| nodes.iter().all(|&node| w.is_complete(node)), secs(600)));
    world.now().since(start)
}

#[test]
fn upload_limit_does_not_slow_a_download() {
    let free = download(Limits::default(), Limits::default(), 1);
    let limited = download(Limits::default(), Limits { up: Rate::new(KIB), down: None }, 1);
    assert!(limited < free.mul_f64(1.1), "{free:?}, and {limited:?} with 1 KiB/s up");
}

#[test]
fn download_limit_does_not_slow_an_upload() {
    let free = download(Limits::default(), Limits::default(), 3);
    let limited = download(Limits { down: Rate::new(KIB), up: None }, Limits::default(), 3);
    assert!(limited < free.mul_f64(1.1), "{free:?}, and {limited:?} with 1 KiB/s down");
}

/// Two leeches have a half each, and one of them sends slowly: what it asks for does not wait for
/// what it sends.
#[test]
fn peer_that_is_served_slowly_is_asked_between_two_blocks() {
    let sample = file(8 << 20, 256 * 1024);
    let halves = [0, 1].map(|nth| {
        let mut has = Bitfield::none(sample.geometry().piece_count());
        sample.geometry().pieces().filter(|p| p.get() % 2 == nth).for_each(|p| _ = has.set(p));
        has
    });
    let time = |up: Option<Rate>| {
        let mut world = World::new(1);
        let slow = world.node(loud().with(|conf| conf.network.limits = Limits { up, down: None }));
        let other = world.node(loud());
        world.put_pieces(slow, &sample, &halves[0]);
        world.put_pieces(other, &sample, &halves[1]);
        world.download(other, &sample, &[]);
        world.download(slow, &sample, &[other]);
        assert!(world.run_until(|w| w.is_complete(slow), secs(600)), "{:?}", world.stats(slow));
        world.now()
    };
    let (free, limited) = (time(None), time(Rate::new(64 * KIB)));
    // Each block takes a quarter of a second, and the rest of one is not overtaken.
    assert!(
        limited.as_micros() < free.as_micros() * 3,
        "{free:?}, and {limited:?} with 64 KiB/s up"
    );
}
