//! The simulator through its public door, as a program that embeds the engine would use it: `cargo
//! test --features sim`.

#![cfg(feature = "sim")]
#![allow(clippy::unwrap_used)]

use std::{sync::Arc, time::Duration};

use cratetorrent::{
    Alert, AlertMask, Conf,
    sim::{Answer, ConnId, Heard, Line, Manners, Remote, Sample, Script, Talk, World},
};

const S: Duration = Duration::from_secs(1);

fn sample() -> Arc<Sample> {
    Sample::folder(
        "album",
        &[("one", 100_000), ("two/three", 5), ("", 1000), ("four", 200_000)],
        32 * 1024,
        1,
    )
    .unwrap()
}

fn conf() -> Conf {
    Conf::default().with(|conf| conf.alerts.mask = AlertMask::ALL)
}

#[test]
fn a_swarm_is_a_few_lines_and_the_same_every_time() {
    let sample = sample();
    let run = |seed| {
        let mut world = World::new(seed);
        let (seeder, a, b) = (world.node(conf()), world.node(conf()), world.node(conf()));
        world.set_line(a, Line { latency: Duration::from_millis(200), ..Line::default() });
        world.seed_with(seeder, &sample);
        world.download(a, &sample, &[seeder]);
        world.download(b, &sample, &[seeder, a]);
        world.after(S / 2, move |world| world.kill(a));
        world.after(S, move |world| world.restart(a));
        assert!(world.run_until(|w| w.is_complete(a) && w.is_complete(b), 60 * S));
        assert!(world.told(b, |alert| matches!(alert, Alert::Finished { .. })).is_some());
        (world.transcript(), world.events(), world.now())
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1).0, run(2).0);
}

#[test]
fn peers_can_be_scripted() {
    let sample = sample();
    let mut world = World::new(1);
    let mut asked = 0;
    let picky = Manners {
        answer: Box::new(move |_| {
            asked += 1;
            if asked % 3 == 0 { Answer::Reject } else { Answer::Good }
        }),
        ..Manners::default()
    };
    let picky = world.scripted(Remote::seed(&sample, 0, picky));
    let leech = world.node(conf());
    world.download(leech, &sample, &[picky]);
    assert!(world.run_until(|w| w.is_complete(leech), 60 * S));
    let requests = world.script::<Remote>(picky).requests().len();
    assert!(requests > 19, "some blocks had to be asked for more than once: {requests}");
    assert_eq!(world.script::<Remote>(picky).times(|heard| heard == Heard::Interested).len(), 1);
}

#[derive(Debug, Default)]
struct Mute {
    heard: Vec<u8>,
}

impl Script for Mute {
    fn data(&mut self, _talk: &mut Talk<'_>, _conn: ConnId, bytes: &[u8]) {
        self.heard.extend_from_slice(bytes);
    }
}

#[test]
fn random_script_panics_nothing() {
    let sample = sample();
    let mut world = World::new(1);
    let mute = world.scripted(Mute::default());
    let leech = world.node(conf());
    world.download(leech, &sample, &[mute]);
    world.run_for(5 * S);
    assert_eq!(world.script::<Mute>(mute).heard.len(), 68, "a greeting and nothing more");
    assert_eq!(world.engine(leech).connections(), 1);
    world.run_for(5 * S + Duration::from_millis(10));
    assert_eq!(world.engine(leech).connections(), 1, "it is dialled again, encrypted");
    world.run_for(10 * S + Duration::from_millis(10));
    assert_eq!(world.engine(leech).connections(), 0);
}
