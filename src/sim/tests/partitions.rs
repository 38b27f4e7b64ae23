//! Networks that fall apart, connections that are dead without anybody having said so, and clocks
//! that jump.

use super::*;

fn slow() -> Line {
    Line { bandwidth: 100_000, ..Line::default() }
}

/// The seed is out of reach of its leech from the first second on, for `time`.
fn apart(time: Duration) -> Outcome {
    Scenario::swarm(1)
        .on(slow())
        .doing(When::At(secs(1)), |world, cast| world.partition(&[&cast.seeds]))
        .doing(When::At(secs(1) + time), |world, _| world.mend())
        .within(secs(3600))
        .run()
        .completes()
        .honestly()
}

/// Connections of the leech that ended before it had everything.
fn lost(outcome: &Outcome) -> usize {
    let gone = partings(&outcome.world, outcome.cast.leeches[0]);
    gone.iter().filter(|(_, why)| why != "both have everything").count()
}

#[test]
fn partition_of_seconds_costs_no_connection() {
    let outcome = apart(secs(2));
    assert_eq!(lost(&outcome), 0);
    outcome.in_less_than(secs(12)).wasting_at_most(0);
}

#[test]
fn a_minute_apart_costs_little_more_than_that_minute() {
    let outcome = apart(secs(60));
    assert_eq!(lost(&outcome), 0);
    outcome.in_less_than(secs(75));
}

#[test]
fn five_minutes_apart_are_noticed_and_got_over() {
    let outcome = apart(secs(300));
    assert!(lost(&outcome) > 0);
    outcome.in_less_than(secs(1000)).then_all_shut_down();
}

#[test]
fn partition_of_an_hour_ends_if_the_peer_is_remembered() {
    let conf = loud().with(|conf| conf.peers.max_dial_failures = 1000);
    let scenario = Scenario::swarm(1).on(slow()).with(conf).within(secs(7200));
    let scenario = scenario.doing(When::At(secs(1)), |world, cast| world.partition(&[&cast.seeds]));
    scenario.doing(When::At(secs(3600)), |world, _| world.mend()).run().completes().honestly();
}

#[test]
fn partition_with_a_seed_completes_by_itself() {
    Scenario::swarm(3)
        .seeds(2)
        .leeches(6)
        .on(slow())
        .doing(When::At(millis(500)), |world, cast| {
            let half = [&[cast.seeds[0]], &cast.leeches[..3]].concat();
            world.partition(&[&half]);
        })
        .run()
        .completes()
        .honestly();
}

#[test]
fn partition_without_a_seed_shares_only_its_own_pieces() {
    let mut outcome = Scenario::swarm(4)
        .leeches(4)
        .on(slow())
        .doing(When::At(secs(4)), |world, cast| world.partition(&[&cast.leeches]))
        .within(secs(120))
        .run()
        .does_not_complete();
    let have: Vec<u32> =
        outcome.cast.leeches.iter().map(|&n| outcome.world.stats(n).have).collect();
    assert!(have.iter().all(|&n| n == have[0] && n > 0), "what one has all have by then: {have:?}");
    outcome.world.mend();
    outcome.go_on();
    outcome.completes().honestly();
}

#[test]
fn a_world_in_three_parts_that_move_completes() {
    let mut scenario = Scenario::swarm(5).seeds(1).leeches(6).on(slow()).within(secs(2000));
    for round in 0..8_usize {
        scenario = scenario.doing(When::At(secs(2 + 6 * round as u64)), move |world, cast| {
            let everybody: Vec<NodeId> = cast.engines().collect();
            let part = |n: usize| {
                everybody
                    .iter()
                    .enumerate()
                    .filter(move |(at, _)| (at * 5 + round) % 3 == n)
                    .map(|(_, &n)| n)
            };
            let (a, b): (Vec<_>, Vec<_>) = (part(0).collect(), part(1).collect());
            world.partition(&[&a, &b]);
        });
    }
    scenario.doing(When::At(secs(60)), |world, _| world.mend()).run().completes().honestly();
}

/// One way between the first seed and the leech is dead from the first second on; another seed is
/// well.
fn one_way(to_leech: bool) {
    let outcome =
        Scenario::swarm(6).seeds(2).on(slow()).doing(When::At(secs(1)), move |world, cast| {
            let (seed, leech) = (cast.seeds[0], cast.leeches[0]);
            if to_leech {
                world.set_way(seed, leech, true)
            } else {
                world.set_way(leech, seed, true)
            }
        });
    let mut outcome = outcome.run().completes().honestly().in_less_than(secs(25));
    outcome.world.run_for(secs(1200));
    let seed = outcome.cast.seeds[0];
    assert_eq!(outcome.world.stats(seed).peers, 0, "a dead connection is found out");
}

cases! { one_way:
    peer_that_is_not_heard_holds_up_no_download => true;
    peer_that_does_not_hear_holds_up_no_download => false;
}

#[test]
fn a_seed_that_vanishes_is_missed_within_the_time_for_silence() {
    let mut outcome =
        Scenario::swarm(7).on(slow()).killing(Kill::of(Who::Seed(0), When::At(secs(2))).silently());
    outcome = outcome.within(secs(141));
    let outcome = outcome.run().does_not_complete();
    assert_eq!(outcome.world.stats(outcome.cast.leeches[0]).peers, 0);
}

#[test]
fn a_seed_that_vanishes_and_comes_back_is_used_again() {
    for after in [1, 5, 20, 60] {
        let kill = Kill::of(Who::Seed(0), When::At(secs(2))).silently().back_after(secs(after));
        let outcome = Scenario::swarm(8).on(slow()).killing(kill).run().completes().honestly();
        outcome.in_less_than(secs(after + 40));
    }
}

#[test]
fn a_leech_that_vanishes_gives_its_slot_back() {
    let conf = loud().with(|conf| conf.uploads.slots = Some(1));
    let outcome = Scenario::swarm(9).leeches(2).strangers().on(slow()).seeds_with(conf);
    let outcome = outcome
        .killing(Kill::of(Who::Leech(0), When::At(secs(2))).silently())
        .within(secs(400))
        .run();
    assert!(
        outcome.world.is_complete(outcome.cast.leeches[1]),
        "{:?}",
        outcome.world.stats(outcome.cast.leeches[1])
    );
}

#[test]
fn peer_with_an_unseen_reset_is_told_when_it_sends() {
    // The seed is killed while no leech hears it, and started again: it does not know its old
    // connection.
    let outcome = Scenario::swarm(10)
        .on(slow())
        .doing(When::At(secs(1)), |world, cast| world.partition(&[&cast.seeds]))
        .killing(Kill::of(Who::Seed(0), When::At(secs(2))).back_after(secs(1)))
        .doing(When::At(secs(5)), |world, _| world.mend())
        .run();
    outcome.completes().honestly().in_less_than(secs(40));
}

/// Connections of all leeches break again and again.
fn flaky(leeches: usize, every: Duration) {
    for seed in 0..3 {
        let outcome = Scenario::swarm(seed)
            .leeches(leeches)
            .on(slow())
            .losing_connections(every)
            .within(secs(1800))
            .run();
        outcome.completes().honestly().then_all_shut_down();
    }
}

cases! { flaky:
    a_connection_that_breaks_every_few_seconds_is_made_again => 1, secs(3);
    connections_that_break_every_second_slow_a_swarm_and_no_more => 4, secs(1);
    connections_that_barely_outlast_a_handshake_complete_at_last => 2, millis(400);
}

/// Clocks of these jump by `by`, every second, `times` times.
fn jumps(seeds: bool, leeches: bool, by: Duration, times: u64) {
    let mut scenario = Scenario::swarm(11).leeches(3).on(slow()).within(secs(1200));
    for n in 0..times {
        scenario = scenario.doing(When::At(secs(1 + n)), move |world, cast| {
            let jumping =
                cast.seeds.iter().filter(|_| seeds).chain(cast.leeches.iter().filter(|_| leeches));
            jumping.for_each(|&node| world.jump_clock(node, by));
        });
    }
    scenario.run().completes().honestly().then_all_shut_down();
}

cases! { jumps:
    a_clock_that_jumps_an_hour_costs_a_leech_no_data => false, true, secs(3600), 1;
    a_clock_that_jumps_a_day_costs_a_seed_no_peer_for_long => true, false, secs(86_400), 1;
    clocks_that_jump_a_month_are_got_over_by_everybody => true, true, secs(2_592_000), 1;
    clocks_that_jump_seconds_each_second_stop_nothing => true, true, secs(10), 8;
    clock_that_jumps_minutes_each_second_delays_until_it_ends =>
        false, true, secs(120), 5;
}

#[test]
fn after_a_jump_an_idle_seed_is_idle_again() {
    let mut outcome = Scenario::swarm(12).run().completes();
    let seed = outcome.cast.seeds[0];
    outcome.world.jump_clock(seed, secs(1_000_000));
    let before = outcome.world.events();
    outcome.world.run_for(secs(600));
    assert!(outcome.world.events() - before < 200, "{} events", outcome.world.events() - before);
    assert!(outcome.world.is_in(seed, Phase::Seeding));
}

#[test]
fn a_jump_in_the_midst_of_a_disk_failure_brings_the_next_try() {
    let mut outcome = Scenario::swarm(13)
        .with_disk(Troubles { capacity: Some(300_000), ..Troubles::default() })
        .within(secs(30));
    outcome = outcome.with(loud().with(|conf| conf.storage.retry_pause = secs(60)));
    let mut outcome = outcome.run().does_not_complete();
    let leech = outcome.cast.leeches[0];
    outcome.world.disk(leech).set(|t| t.capacity = None);
    outcome.world.jump_clock(leech, secs(60));
    outcome.go_on();
    outcome.completes().in_less_than(secs(50));
}
