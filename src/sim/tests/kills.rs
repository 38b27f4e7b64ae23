//! A node is killed at every step of a scenario, one after the other, and started again from what
//! its disk has kept. What the world checks must hold, and every node must get everything.

use super::*;

/// How a node dies.
#[derive(Clone, Copy)]
struct Death {
    who: Who,
    power: bool,
    silently: bool,
}

const KILLED: Death = Death { who: Who::Leech(0), power: false, silently: false };

/// The scenario of this file, on a sample.
fn scene(sample: &Arc<Sample>, seed: u64) -> Scenario {
    let conf = loud().with(|conf| {
        conf.storage.save_interval = millis(80);
        conf.requests.run_len = 32 * 1024;
    });
    Scenario::swarm(seed)
        .leeches(2)
        .sharing(sample)
        .with(conf)
        .on(Line { bandwidth: 1_000_000, ..Line::default() })
}

/// At every so many events.
fn at_every(step: usize, sample: &Arc<Sample>, death: Death) {
    let events = scene(sample, 1).run().completes().world.events();
    let mut times = 0;
    for event in (3..events).step_by(step) {
        let mut kill = Kill::of(death.who, When::Event(event)).back_after(millis(30));
        if death.power {
            kill = kill.losing_power();
        }
        if death.silently {
            kill = kill.silently();
        }
        let outcome = scene(sample, 1).killing(kill).run();
        // A second after, so that one who was done before it was killed is back, too.
        let mut outcome = outcome;
        outcome.world.run_for(secs(1));
        outcome.go_on();
        assert!(
            outcome.complete,
            "killed at event {event}: {:?}",
            outcome.world.stats_of(outcome.cast.leeches[0])
        );
        outcome.honestly();
        times += 1;
    }
    assert!(times >= 9, "{times} times, {events} events");
}

fn small() -> Arc<Sample> {
    file(250_000, 32 * 1024)
}

fn files() -> Arc<Sample> {
    Sample::folder("f", &[("a", 70_000), ("b/c", 3), ("e", 0), ("d", 150_000)], 32 * 1024, 9)
        .unwrap()
}

fn large() -> Arc<Sample> {
    file(400_000, 256 * 1024)
}

cases! { at_every:
    a_leech_killed_at_any_step => 23, &small(), KILLED;
    a_leech_with_many_files_killed_at_any_step => 29, &files(), KILLED;
    a_leech_with_large_pieces_killed_at_any_step => 31, &large(), KILLED;
    a_leech_whose_power_goes_at_any_step => 29, &small(), Death { power: true, ..KILLED };
    a_leech_with_many_files_whose_power_goes_at_any_step =>
        31, &files(), Death { power: true, ..KILLED };
    a_leech_with_large_pieces_whose_power_goes_at_any_step =>
        37, &large(), Death { power: true, ..KILLED };
    a_leech_that_vanishes_at_any_step => 31, &small(), Death { silently: true, ..KILLED };
    a_seed_killed_at_any_step => 31, &small(), Death { who: Who::Seed(0), ..KILLED };
    a_seed_that_vanishes_at_any_step =>
        37, &small(), Death { who: Who::Seed(0), silently: true, ..KILLED };
}

#[test]
fn a_leech_killed_again_and_again_gets_there() {
    for seed in 0..5 {
        let mut scenario = scene(&small(), seed);
        for n in 0..30 {
            let kill = Kill::of(Who::Leech((n % 2) as usize), When::At(millis(100 + n * 70)));
            scenario = scenario.killing(kill.back_after(millis(40)));
        }
        let mut outcome = scenario.run();
        outcome.world.run_for(secs(3));
        outcome.go_on();
        outcome.completes().honestly();
    }
}

#[test]
fn all_nodes_killed_at_once_resume_where_they_were() {
    for (seed, event) in [(1, 100), (2, 200), (3, 400), (4, 600)] {
        let mut scenario = scene(&files(), seed);
        for who in [Who::Seed(0), Who::Leech(0), Who::Leech(1)] {
            scenario = scenario
                .killing(Kill::of(who, When::Event(event)).losing_power().back_after(millis(200)));
        }
        let mut outcome = scenario.run();
        outcome.world.run_for(secs(1));
        outcome.go_on();
        outcome.completes().honestly();
    }
}

/// A shutdown at every so many events leaves nothing behind.
#[test]
fn a_shutdown_at_any_step_ends() {
    let events = scene(&small(), 1).run().completes().world.events();
    for event in (3..events).step_by(41) {
        let scenario = scene(&small(), 1).within(millis(1)).doing(When::Event(event), |_, _| {});
        let mut outcome = scenario.begin();
        let _ = outcome.world.run_until(|w| w.events() >= event, secs(100));
        outcome.then_all_shut_down();
    }
}

/// A pause, a removal or a check at every so many events, and on.
fn verb_at_every(verb: fn(&mut World, NodeId)) {
    let events = scene(&small(), 1).run().completes().world.events();
    for event in (3..events).step_by(43) {
        let mut outcome = scene(&small(), 1)
            .doing(When::Event(event), move |world, cast| verb(world, cast.leeches[0]))
            .run();
        outcome.world.run_for(secs(1));
        outcome.go_on();
        assert!(outcome.complete, "at event {event}");
        outcome.honestly().then_all_shut_down();
    }
}

fn pause_and_resume(world: &mut World, node: NodeId) {
    let id = world.torrent(node);
    world.tell(node, |engine| engine.pause(id)).unwrap();
    world.after(millis(50), move |world| world.tell(node, |engine| engine.resume(id)).unwrap());
}

fn pause_and_resume_at_once(world: &mut World, node: NodeId) {
    let id = world.torrent(node);
    world.tell(node, |engine| engine.pause(id).and_then(|()| engine.resume(id))).unwrap();
}

fn recheck(world: &mut World, node: NodeId) {
    let id = world.torrent(node);
    world.tell(node, |engine| engine.recheck(id)).unwrap();
}

fn recheck_twice(world: &mut World, node: NodeId) {
    recheck(world, node);
    world.after(millis(3), move |world| recheck(world, node));
}

fn recheck_and_pause(world: &mut World, node: NodeId) {
    recheck(world, node);
    world.after(millis(2), move |world| pause_and_resume(world, node));
}

cases! { verb_at_every:
    a_pause_at_any_step_is_got_over => pause_and_resume;
    a_pause_that_ends_at_once_at_any_step => pause_and_resume_at_once;
    a_check_at_any_step_loses_nothing => recheck;
    a_check_in_a_check_at_any_step => recheck_twice;
    a_pause_in_a_check_at_any_step => recheck_and_pause;
}
