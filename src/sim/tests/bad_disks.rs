//! Disks that are slow, unreliable, or say that all is well when it is not.

use super::*;

fn all_read(outcome: &Outcome) {
    // What is claimed is there: on a disk that is honest the world has looked already, on others it
    // is looked at here.
    for &leech in &outcome.cast.leeches {
        let disk = outcome.world.disk(leech);
        let path = disk.paths().into_iter().find(|p| p.ends_with("usual")).unwrap();
        assert!(disk.holds(&path, 0, &outcome.sample.data), "{}", outcome.world.name(leech));
    }
}

/// Leeches with such disks get everything, in time, and nothing in vain.
fn leeches_with(troubles: Troubles) {
    for seed in 0..3 {
        let outcome = Scenario::swarm(seed)
            .leeches(3)
            .on(Line::fibre())
            .with_disk(troubles.clone())
            .run()
            .completes()
            .honestly();
        all_read(&outcome);
        outcome.then_all_shut_down();
    }
}

cases! { leeches_with:
    short_reads_and_writes_change_nothing => Troubles { short: true, ..Troubles::default() };
    syncs_that_lie_change_nothing_as_long_as_there_is_power =>
        Troubles { lying_syncs: true, ..Troubles::default() };
    syncs_that_fail_are_no_reason_to_stop => Troubles { fail_syncs: true, ..Troubles::default() };
    states_that_cannot_be_saved_are_no_reason_to_stop =>
        Troubles { fail_saves: true, ..Troubles::default() };
    a_disk_that_has_just_enough_room_is_enough =>
        Troubles { capacity: Some(640 * KIB + 3 * 4096), ..Troubles::default() };
}

/// Disks this slow are waited for, in bounded memory.
fn slow(pace: DiskPace, limit: u64) {
    let conf = loud().with(|conf| {
        conf.requests.run_len = 32 * 1024;
        conf.requests.max_piece_memory = 128 * 1024;
        conf.uploads.max_memory = 1 << 20;
    });
    let outcome = Scenario::swarm(4).leeches(3).with(conf).paced(pace).within(secs(limit)).run();
    let outcome = outcome.completes().honestly();
    assert!(outcome.cast.leeches.iter().all(|&n| outcome.world.peak_memory(n) <= 128 * 1024));
    outcome.then_all_shut_down();
}

cases! { slow:
    a_disk_of_twenty_kilobytes_a_second_is_waited_for =>
        DiskPace { bandwidth: 20_000, ..DiskPace::default() }, 600;
    a_disk_that_takes_half_a_second_for_anything_is_waited_for =>
        DiskPace { min: millis(400), max: millis(600), ..DiskPace::default() }, 200;
    a_disk_that_takes_no_time_is_no_trouble =>
        DiskPace {
            min: Duration::ZERO,
            max: Duration::ZERO,
            bandwidth: 1 << 40,
            ..DiskPace::default()
        }, 20;
}

#[test]
fn occasional_second_of_latency_drops_no_peer() {
    let mut outcome = Scenario::swarm(5).leeches(4).begin();
    for node in outcome.cast.engines().collect::<Vec<_>>() {
        outcome.world.set_disk_spikes(node, 8, secs(1));
    }
    outcome.go_on();
    outcome.completes().honestly().in_less_than(secs(60));
}

/// A disk does nothing for so long.
fn hangs(who: Who, time: Duration, limit: u64) {
    let outcome = Scenario::swarm(6).leeches(2).on(Line { bandwidth: 300_000, ..Line::default() });
    let outcome = outcome
        .doing(When::At(millis(900)), move |world, cast| world.hang_disk(cast.of(who), time));
    outcome.run().completes().honestly().in_less_than(secs(limit)).then_all_shut_down();
}

cases! { hangs:
    a_leech_whose_disk_hangs_a_second_is_a_second_late => Who::Leech(0), secs(1), 20;
    a_leech_whose_disk_hangs_two_minutes_is_two_minutes_late => Who::Leech(0), secs(120), 150;
    a_seed_whose_disk_hangs_a_few_seconds_is_waited_for => Who::Seed(0), secs(5), 60;
    a_seed_whose_disk_hangs_two_minutes_is_used_again => Who::Seed(0), secs(120), 300;
}

/// All of this is wrong from the beginning, and right again after a minute.
fn healed(what: fn(&mut Troubles)) {
    let outcome = Scenario::swarm(7).leeches(2).on(Line { bandwidth: 200_000, ..Line::default() });
    let outcome =
        outcome.doing(When::At(secs(1)), move |world, cast| world.disk(cast.leeches[0]).set(what));
    let outcome = outcome.doing(When::At(secs(61)), |world, cast| {
        world.disk(cast.leeches[0]).set(|t| *t = Troubles::default())
    });
    let outcome = outcome.within(secs(200)).run().completes().honestly();
    all_read(&outcome);
    outcome.then_all_shut_down();
}

cases! { healed:
    writes_that_fail_for_a_minute_are_made_again => |t| t.fail_writes = true;
    a_disk_that_is_full_for_a_minute_is_filled_later => |t| t.capacity = Some(100_000);
    a_disk_that_is_read_only_for_a_minute_is_written_later => |t| t.read_only = true;
    reads_that_fail_for_a_minute_delay_no_leech_with_other_seeds => |t| t.fail_reads = true;
    everything_that_fails_for_a_minute_is_got_over => |t| {
        (t.fail_writes, t.fail_reads, t.fail_saves, t.fail_syncs) = (true, true, true, true);
    };
}

#[test]
fn leech_fetches_unreadable_piece_from_another_peer() {
    let bad =
        Troubles { bad_stretches: vec![("usual".into(), 100_000, 300_000)], ..Troubles::default() };
    let mut outcome = Scenario::swarm(8).seeds(2).leeches(2).begin();
    outcome.world.run_for(millis(1));
    outcome.world.disk(outcome.cast.seeds[0]).set(|t| *t = bad);
    outcome.go_on();
    outcome.completes().honestly().in_less_than(secs(60));
}

#[test]
fn seed_with_unreadable_range_serves_the_rest() {
    let bad =
        Troubles { bad_stretches: vec![("usual".into(), 100_000, 200_000)], ..Troubles::default() };
    let outcome =
        Scenario::swarm(9).seeds_with_disk(bad).within(secs(60)).run().does_not_complete();
    let (seed, leech) =
        (outcome.world.stats(outcome.cast.seeds[0]), outcome.world.stats(outcome.cast.leeches[0]));
    assert_eq!((seed.have, leech.have), (16, 16), "four of twenty pieces touch the stretch");
    outcome.honestly().then_all_shut_down();
}

#[test]
fn rotten_piece_of_a_seed_is_found_by_its_receiver() {
    let mut outcome = Scenario::swarm(10)
        .seeds(2)
        .leeches(2)
        .on(Line { bandwidth: 200_000, ..Line::default() })
        .begin();
    let rotten = outcome.cast.seeds[0];
    outcome.world.run_for(millis(500));
    outcome.world.disk(rotten).rot(std::path::Path::new("/node0/usual"), 40);
    outcome.go_on();
    let outcome = outcome.completes();
    all_read(&outcome);
    // Each leech found it out by itself, and blames no other peer.
    let (good, bad) =
        (outcome.world.addr(outcome.cast.seeds[1]).ip(), outcome.world.addr(rotten).ip());
    let mut failed = 0;
    for &leech in &outcome.cast.leeches {
        let blamed: Vec<_> = banned(&outcome.world, leech).iter().map(SocketAddr::ip).collect();
        assert!(!blamed.contains(&good) && blamed.iter().all(|ip| *ip == bad), "{blamed:?}");
        failed += outcome.world.stats(leech).failed_pieces;
    }
    assert!(failed > 0);
}

#[test]
fn rotten_data_is_found_by_a_check_and_fetched_again() {
    let mut outcome = Scenario::swarm(11).run().completes();
    let leech = outcome.cast.leeches[0];
    let dir = outcome.world.params(leech, &outcome.sample, &[]).dir.join("usual");
    outcome.world.run_for(secs(1));
    outcome.world.disk(leech).rot(&dir, 3);
    let id = outcome.world.torrent(leech);
    outcome.world.tell(leech, |engine| engine.recheck(id)).unwrap();
    assert!(outcome.world.run_until(|w| w.is_in(leech, Phase::Downloading), secs(5)));
    assert!((17..20).contains(&outcome.world.stats(leech).have));
    outcome.go_on();
    let outcome = outcome.completes();
    all_read(&outcome);
}

#[test]
fn reads_that_go_wrong_once_cost_a_piece_and_a_seed_and_no_more() {
    let mut outcome =
        Scenario::swarm(12).seeds(2).on(Line { bandwidth: 200_000, ..Line::default() }).begin();
    outcome.world.run_for(millis(500));
    outcome.world.disk(outcome.cast.seeds[0]).set(|t| t.corrupt_reads = 2);
    outcome.go_on();
    let outcome = outcome.completes();
    assert!((1..=2).contains(&outcome.world.stats(outcome.cast.leeches[0]).failed_pieces));
    all_read(&outcome);
}

#[test]
fn writes_that_go_elsewhere_are_found_by_a_check_and_made_again() {
    for seed in 0..5 {
        let outcome = Scenario::swarm(seed).on(Line { bandwidth: 200_000, ..Line::default() });
        let outcome = outcome.doing(When::At(secs(1)), |world, cast| {
            world.disk(cast.leeches[0]).set(|t| t.misdirected_writes = 3)
        });
        let mut outcome = outcome.run().completes();
        let leech = outcome.cast.leeches[0];
        outcome.world.run_for(secs(1));
        let id = outcome.world.torrent(leech);
        outcome.world.tell(leech, |engine| engine.recheck(id)).unwrap();
        assert!(
            outcome.world.run_until(|w| w.is_in(leech, Phase::Downloading), secs(5)),
            "{:?}",
            outcome.world.stats(leech)
        );
        assert!(outcome.world.stats(leech).have < 20);
        outcome.go_on();
        all_read(&outcome.completes());
    }
}

#[test]
fn check_repairs_what_a_lying_disk_lost_in_a_power_cut() {
    for seed in 0..10 {
        let outcome = Scenario::swarm(seed).on(Line { bandwidth: 200_000, ..Line::default() });
        let outcome = outcome.with_disk(Troubles { lying_syncs: true, ..Troubles::default() });
        let kill = Kill::of(Who::Leech(0), When::At(millis(700 + seed * 300)))
            .losing_power()
            .back_after(millis(100));
        let mut outcome = outcome.killing(kill).begin();
        let leech = outcome.cast.leeches[0];
        outcome.world.run_for(secs(5));
        let id = outcome.world.torrent(leech);
        outcome.world.tell(leech, |engine| engine.recheck(id)).unwrap();
        outcome.world.run_for(millis(100));
        outcome.go_on();
        let outcome = outcome.completes();
        all_read(&outcome);
    }
}

#[test]
fn vanished_file_is_noticed_and_fetched_again() {
    for when in [400, 900, 1500, 2200] {
        let outcome = Scenario::swarm(13).on(Line { bandwidth: 200_000, ..Line::default() });
        let outcome = outcome.doing(When::At(millis(when)), |world, cast| {
            let disk = world.disk(cast.leeches[0]);
            disk.paths()
                .into_iter()
                .filter(|p| p.ends_with("usual"))
                .for_each(|path| disk.delete(&path));
        });
        let mut outcome = outcome.run();
        let leech = outcome.cast.leeches[0];
        let id = outcome.world.torrent(leech);
        outcome.world.run_for(secs(1));
        outcome.world.tell(leech, |engine| engine.recheck(id)).unwrap();
        outcome.world.run_for(millis(500));
        outcome.go_on();
        all_read(&outcome.completes());
    }
}

#[test]
fn a_clock_that_goes_back_makes_no_state_lie() {
    for (seed, shift) in [(1, -3600), (2, -1), (3, 3600), (4, -100_000_000)] {
        let outcome = Scenario::swarm(seed).on(Line { bandwidth: 200_000, ..Line::default() });
        let outcome = outcome.doing(When::At(millis(1500)), move |world, cast| {
            world.disk(cast.leeches[0]).shift_clock(shift)
        });
        let kill =
            Kill::of(Who::Leech(0), When::At(secs(2))).losing_power().back_after(millis(100));
        outcome.killing(kill).run().completes().honestly();
    }
}

#[test]
fn disk_that_fails_at_the_end_holds_up_no_shutdown() {
    let mut outcome =
        Scenario::swarm(14).leeches(2).on(Line { bandwidth: 300_000, ..Line::default() }).begin();
    outcome.world.run_for(secs(1));
    for &leech in &outcome.cast.leeches {
        outcome
            .world
            .disk(leech)
            .set(|t| (t.fail_saves, t.fail_writes, t.fail_syncs) = (true, true, true));
    }
    outcome.then_all_shut_down();
}
