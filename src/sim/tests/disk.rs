//! Disks that are full, read-only, slow, unreliable, or cut off in the midst of it.

use std::io::ErrorKind;

use super::*;
use crate::{
    base::storage::{Allocation, StoreOp, Trust},
    engine::TorrentParams,
};

/// When a node first said that its disk failed, for this reason.
fn failed(world: &World, node: NodeId, kind: ErrorKind) -> Option<Instant> {
    world.told(
        node,
        |a| matches!(a, Alert::StorageFailed { error, .. } if error.source.kind() == kind),
    )
}

fn recovered(world: &World, node: NodeId) -> Option<Instant> {
    world.told(node, |a| matches!(a, Alert::StorageRecovered { .. }))
}

/// A seed that notes what it is asked, a leech.
fn pair(world: &mut World, sample: &Arc<Sample>, conf: Conf) -> (NodeId, NodeId) {
    let seed = world.scripted(Remote::seed(
        sample,
        0,
        Manners { block_time: millis(2), ..Manners::default() },
    ));
    let leech = world.node(conf);
    world.download(leech, sample, &[seed]);
    (seed, leech)
}

#[test]
fn full_disk_stops_requests_until_there_is_space() {
    let sample = file(2_000_000, 64 * 1024);
    for (seed, run_len, quota) in [(1, 1 << 20, false), (2, 32 * 1024, false), (3, 1 << 20, true)] {
        let mut world = World::new(seed);
        let (remote, leech) =
            pair(&mut world, &sample, loud().with(|conf| conf.requests.run_len = run_len));
        world.disk(leech).set(|t| (t.capacity, t.quota) = (Some(1_000_000), quota));
        assert!(world.run_until(|w| w.is_in(leech, Phase::Stalled), secs(30)));
        let why = if quota { ErrorKind::QuotaExceeded } else { ErrorKind::StorageFull };
        let at = failed(&world, leech, why).unwrap();
        let have = world.stats(leech).have;
        assert!(have >= 8, "{have} pieces fit");
        world.run_for(secs(60));
        let late: Vec<_> = world.script::<Remote>(remote).times(|h| matches!(h, Heard::Request(_)));
        assert!(
            late.iter().all(|&t| t < at + millis(12)),
            "asked {:?} after the disk was full",
            late.last().unwrap().since(at)
        );
        assert_eq!(world.stats(leech).have, have);
        assert!(recovered(&world, leech).is_none());
        world.disk(leech).set(|t| t.capacity = None);
        assert!(world.run_until(|w| w.is_complete(leech), secs(90)), "{:?}", world.stats(leech));
        assert!(recovered(&world, leech).is_some());
        let stats = world.stats(leech);
        assert!(
            stats.downloaded <= sample.geometry().total_len() + stats.wasted
                && stats.wasted <= 8 * 16 * KIB,
            "{stats:?}"
        );
    }
}

#[test]
fn a_bad_piece_is_no_sign_that_the_disk_works_again() {
    let sample = file(1_000_000, 64 * 1024);
    let mut world = World::new(1);
    let bad =
        Manners { answer: Box::new(|_| Answer::Bad), block_time: millis(60), ..Manners::default() };
    let bad = world.scripted(Remote::seed(&sample, 1, bad));
    let good = world.scripted(Remote::seed(
        &sample,
        0,
        Manners { block_time: millis(5), ..Manners::default() },
    ));
    let leech = world.node(loud());
    world.download(leech, &sample, &[bad, good]);
    world.disk(leech).set(|t| t.capacity = Some(70_000));
    assert!(world.run_until(|w| w.is_in(leech, Phase::Stalled), secs(30)));
    let at = world.now();
    world.run_for(secs(20));
    assert!(world.stats(leech).failed_pieces > 0, "{:?}", world.stats(leech));
    let late = world.script::<Remote>(good).times(|h| matches!(h, Heard::Request(_)));
    assert!(
        late.iter().all(|&t| t < at + millis(12)),
        "asked {:?} after the disk was full",
        late.last().unwrap().since(at)
    );
    assert!(recovered(&world, leech).is_none());
    world.disk(leech).set(|t| t.capacity = None);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
}

#[test]
fn recheck_waits_until_a_broken_folder_is_mended() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(1);
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seeder, &sample);
    let id = world.download(leech, &sample, &[seeder]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    world.run_for(secs(1));
    let disk = world.disk(leech);
    let dir = world.params(leech, &sample, &[]).dir;
    disk.put(&dir, b"a file where the folder was");
    world.tell(leech, |engine| engine.recheck(id)).unwrap();
    world.run_for(secs(300));
    assert!(world.is_in(leech, Phase::Stalled), "{:?}", world.stats(leech));
    assert!(
        world.told(leech, |a| matches!(a, Alert::StorageFailed { retry_in: None, .. })).is_some()
    );
    disk.delete(&dir);
    world.tell(leech, |engine| engine.resume(id)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(30)), "{:?}", world.stats(leech));
    let checks = world
        .alerts(leech)
        .iter()
        .filter(|(_, a)| matches!(a, Alert::Opened { to_check: 16, .. }))
        .count();
    assert_eq!(checks, 1);
}

#[test]
fn resuming_tries_a_failed_disk_at_once() {
    let sample = file(1_000_000, 64 * 1024);
    let mut world = World::new(1);
    let (_, leech) = pair(&mut world, &sample, loud());
    world.disk(leech).set(|t| t.capacity = Some(300_000));
    assert!(world.run_until(|w| w.is_in(leech, Phase::Stalled), secs(30)));
    world.run_for(secs(40));
    world.disk(leech).set(|t| t.capacity = None);
    let id = world.torrent(leech);
    world.tell(leech, |engine| engine.resume(id)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(3)), "{:?}", world.stats(leech));
}

#[test]
fn full_allocation_shows_full_disk_before_the_first_write() {
    let sample = file(1_000_000, 64 * 1024);
    let mut world = World::new(1);
    let (_, leech) =
        pair(&mut world, &sample, loud().with(|conf| conf.storage.allocation = Allocation::Full));
    world.disk(leech).set(|t| t.capacity = Some(900_000));
    assert!(world.run_until(|w| w.is_in(leech, Phase::Stalled), secs(30)));
    assert_eq!(world.stats(leech).have, 0);
    world.disk(leech).set(|t| t.capacity = None);
    assert!(world.run_until(|w| w.is_complete(leech), secs(30)));
}

#[test]
fn a_read_only_disk_is_told_and_tried_again() {
    let sample = file(500_000, 64 * 1024);
    let mut world = World::new(1);
    let (_, leech) = pair(&mut world, &sample, loud());
    world.disk(leech).set(|t| t.read_only = true);
    world.run_for(secs(100));
    assert!(failed(&world, leech, ErrorKind::ReadOnlyFilesystem).is_some());
    assert_eq!(world.stats(leech).have, 0);
    let told = world
        .alerts(leech)
        .iter()
        .filter(|(_, a)| matches!(a, Alert::StorageFailed { .. }))
        .count();
    assert!(told <= 10, "told {told} times in 100 s");
    world.disk(leech).set(|t| t.read_only = false);
    assert!(world.run_until(|w| w.is_complete(leech), secs(70)), "{:?}", world.stats(leech));
}

#[test]
fn short_reads_and_writes_and_slow_workers_change_nothing() {
    let sample =
        Sample::folder("f", &[("a", 100_000), ("b/c", 3), ("", 400), ("d", 300_000)], 32 * 1024, 9)
            .unwrap();
    for seed in 0..5 {
        let mut world = World::new(seed);
        let (seeder, leech) = (
            world.node(loud()),
            world.node(loud().with(|conf| conf.requests.max_piece_memory = 2 << 20)),
        );
        for node in [seeder, leech] {
            world.disk(node).set(|t| t.short = true);
        }
        world.set_disk_pace(
            leech,
            DiskPace { min: millis(1), max: millis(200), bandwidth: 1_000_000, hot: 0 },
        );
        world.seed_with(seeder, &sample);
        world.download(leech, &sample, &[seeder]);
        assert!(
            world.run_until(|w| w.is_complete(leech), secs(60)),
            "seed {seed}: {:?}",
            world.stats(leech)
        );
    }
}

#[test]
fn piece_that_fails_a_check_is_fetched_again() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(1);
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seeder, &sample);
    world.put_pieces(leech, &sample, &Bitfield::all(sample.geometry().piece_count()));
    world.disk(leech).set(|t| t.corrupt_reads = 2);
    world.download(leech, &sample, &[seeder]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    let downloaded = world.stats(leech).downloaded;
    assert!(downloaded > 0 && downloaded <= 2 * 32 * KIB, "{downloaded}");
}

#[test]
fn a_seed_whose_disk_cannot_be_read_does_not_spin() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(1);
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seeder, &sample);
    world.download(leech, &sample, &[seeder]);
    assert!(world.run_until(|w| w.stats(leech).have > 2, secs(30)));
    world.disk(seeder).set(|t| t.fail_reads = true);
    let before = world.events();
    world.run_for(secs(60));
    let events = world.events() - before;
    assert!(events < 60_000, "{events} events in a minute without a byte of use");
    world.disk(seeder).set(|t| t.fail_reads = false);
    assert!(world.run_until(|w| w.is_complete(leech), secs(200)), "{:?}", world.stats(leech));
}

#[test]
fn unreadable_disk_for_a_while_keeps_its_data_counted() {
    let sample = file(500_000, 32 * 1024);
    for seed in 0..5 {
        let mut world = World::new(seed);
        let seeder = world.node(loud());
        // From the beginning, or in the midst of the check.
        world.disk(seeder).set(|t| t.fail_reads = seed == 0);
        world.seed_with(seeder, &sample);
        world.after(millis(seed), move |w| w.disk(seeder).set(|t| t.fail_reads = true));
        world.run_for(secs(1));
        assert!(world.is_in(seeder, Phase::Stalled), "seed {seed}: {:?}", world.stats(seeder));
        assert!(
            world
                .told(seeder, |a| matches!(a, Alert::StorageFailed { retry_in: Some(_), .. }))
                .is_some()
        );
        world.run_for(secs(9));
        world.disk(seeder).set(|t| t.fail_reads = false);
        assert!(
            world.run_until(|w| w.is_in(seeder, Phase::Seeding), secs(10)),
            "seed {seed}: {:?}",
            world.stats(seeder)
        );
        assert!(recovered(&world, seeder).is_some());
    }
}

#[test]
fn long_unreadable_piece_is_fetched_again() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(1);
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seeder, &sample);
    world.put_pieces(leech, &sample, &Bitfield::all(sample.geometry().piece_count()));
    world.disk(leech).set(|t| t.fail_reads = true);
    world.download(leech, &sample, &[seeder]);
    world.run_for(secs(20));
    assert_eq!(world.stats(leech).downloaded, 0);
    assert!(world.run_until(|w| w.is_complete(leech), secs(180)), "{:?}", world.stats(leech));
    assert_eq!(world.stats(leech).downloaded, sample.geometry().total_len());
}

/// A seed that trusts its files serves half of them, and then `spoil` happens to its disk.
fn trusting(spoil: impl FnOnce(&MemDisk)) -> (World, NodeId, NodeId) {
    let sample = file(2_000_000, 32 * 1024);
    let mut world = World::new(1);
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    let params = TorrentParams { trust: Trust::Files, ..world.params(seeder, &sample, &[]) };
    let disk = world.disk(seeder);
    sample.files_in(&params.dir).for_each(|(path, _, bytes)| disk.put(&path, bytes));
    world.add_torrent(seeder, &sample, params);
    world.download(leech, &sample, &[seeder]);
    assert!(world.run_until(|w| w.stats(leech).have > 2, secs(30)));
    let opened = |a: &Alert| matches!(a, Alert::Opened { have: 62, to_check: 0, .. });
    assert!(world.told(seeder, opened).is_some() && distrusted(&world, seeder) == 0);
    spoil(&disk);
    (world, seeder, leech)
}

fn distrusted(world: &World, node: NodeId) -> usize {
    world.alerts(node).iter().filter(|(_, a)| matches!(a, Alert::Distrusted { .. })).count()
}

#[test]
fn files_that_were_trusted_are_checked_when_one_turns_out_short() {
    let (mut world, seeder, leech) = trusting(|disk| {
        let path = disk.paths().into_iter().find(|p| p.ends_with("data-2000000")).unwrap();
        let bytes = disk.content(&path).unwrap();
        disk.put(&path, &bytes[..1_000_000]);
    });
    assert!(
        world.run_until(|w| w.is_in(seeder, Phase::Downloading), secs(60)),
        "{:?}",
        world.stats(seeder)
    );
    let word = world.alerts(seeder).iter().find_map(|(_, a)| match a {
        Alert::Distrusted { error, .. } => Some((error.op, error.source.kind())),
        _ => None,
    });
    assert_eq!(word, Some((StoreOp::Read, ErrorKind::InvalidData)));
    assert_eq!((distrusted(&world, seeder), world.stats(seeder).have), (1, 30));
    // What is there is still served, and nothing else is claimed.
    world.run_for(secs(60));
    assert!(!world.is_complete(leech) && world.stats(leech).have >= 30, "{:?}", world.stats(leech));
    assert!(world.stats(leech).failed_pieces == 0 && distrusted(&world, seeder) == 1);
}

#[test]
fn single_failed_read_costs_a_trusting_seed_one_check() {
    let (mut world, seeder, leech) = trusting(|disk| disk.set(|t| t.fail_reads = true));
    assert!(world.run_until(|w| distrusted(w, seeder) > 0, secs(60)));
    world.disk(seeder).set(|t| t.fail_reads = false);
    assert!(world.run_until(|w| w.is_complete(leech), secs(200)), "{:?}", world.stats(leech));
    assert!(world.is_in(seeder, Phase::Seeding) && distrusted(&world, seeder) == 1);
    assert!(
        world.told(seeder, |a| matches!(a, Alert::Opened { have: 0, to_check: 62, .. })).is_some()
    );
    assert!(
        world.told(seeder, |a| matches!(a, Alert::Saved { .. })).is_some(),
        "what was checked is saved"
    );
}

#[test]
fn failed_state_save_is_told_and_download_continues() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(1);
    let (_, leech) = pair(&mut world, &sample, loud());
    world.disk(leech).set(|t| t.fail_saves = true);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    world.run_for(secs(1));
    assert!(failed(&world, leech, ErrorKind::Other).is_some());
    world.disk(leech).set(|t| t.fail_saves = false);
    assert!(
        world
            .run_until(|w| w.told(leech, |a| matches!(a, Alert::Saved { .. })).is_some(), secs(30))
    );
    // Ending must not wait for a state that cannot be saved.
    world.disk(leech).set(|t| t.fail_saves = true);
    world.tell(leech, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(leech).is_drained(), secs(5)));
}

/// A download that is interrupted after `events` events and goes on. False if it was over before
/// that.
fn interrupted(seed: u64, sample: &Arc<Sample>, conf: &Conf, events: u64, power: bool) -> bool {
    let mut world = World::new(seed);
    let (_, leech) = pair(&mut world, sample, conf.clone());
    if world.run_until(|w| w.is_complete(leech) || w.events() >= events, secs(600))
        && world.is_complete(leech)
    {
        return false;
    }
    let before = world.stats(leech);
    world.kill(leech);
    if power {
        world.disk(leech).lose_power();
    }
    world.run_for(millis(10));
    world.restart(leech);
    let checked = |w: &World| matches!(w.stats(leech).phase, Phase::Downloading | Phase::Seeding);
    assert!(
        world.run_until(checked, secs(30)),
        "seed {seed}, event {events}: {:?}",
        world.stats(leech)
    );
    let after = world.stats(leech);
    if !power {
        assert!(
            after.have >= before.have,
            "seed {seed}, event {events}: {} pieces of {}",
            after.have,
            before.have
        );
    }
    assert!(
        world.run_until(|w| w.is_complete(leech), secs(60)),
        "seed {seed}, event {events}: {:?}",
        world.stats(leech)
    );
    let stats = world.stats(leech);
    assert_eq!(stats.failed_pieces, 0);
    let there = after.have_bytes + after.partial_bytes - after.downloaded;
    let rest = sample.geometry().total_len() - there;
    assert_eq!(
        stats.downloaded,
        rest + stats.wasted,
        "seed {seed}, event {events}: only what is missing is fetched"
    );
    true
}

#[test]
fn a_kill_at_any_moment_loses_only_what_was_in_flight() {
    let sample =
        Sample::folder("f", &[("a", 150_000), ("b/c", 3), ("e", 0), ("d", 250_000)], 32 * 1024, 9)
            .unwrap();
    let conf = loud().with(|conf| conf.storage.save_interval = millis(60));
    let mut points = 0;
    for event in
        (1..).step_by(4).take_while(|&event| interrupted(event, &sample, &conf, event, false))
    {
        points += 1;
        assert!(event < 100_000);
    }
    assert!(points > 20, "{points} points");
}

#[test]
fn a_power_cut_at_any_moment_costs_at_most_what_was_not_synced() {
    let sample =
        Sample::folder("f", &[("a", 150_000), ("b/c", 3), ("e", 0), ("d", 250_000)], 32 * 1024, 9)
            .unwrap();
    let conf = loud().with(|conf| {
        conf.storage.save_interval = millis(60);
        conf.requests.run_len = 16 * 1024;
    });
    let mut points = 0;
    for event in
        (5..).step_by(5).take_while(|&event| interrupted(event, &sample, &conf, event, true))
    {
        points += 1;
        assert!(event < 100_000);
    }
    assert!(points > 20, "{points} points");
}

#[test]
fn kill_with_large_pieces_keeps_recorded_blocks() {
    let sample = file(2_000_000, 512 * 1024);
    let conf = loud().with(|conf| {
        conf.requests.run_len = 64 * 1024;
        conf.storage.save_interval = millis(100);
    });
    for event in [50, 200, 350, 500, 650] {
        interrupted(event, &sample, &conf, event, false);
        interrupted(event, &sample, &conf, event, true);
    }
}

#[test]
fn recheck_finds_data_that_another_program_spoilt() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(1);
    let (seeder, leech) = (world.node(loud()), world.node(loud()));
    world.seed_with(seeder, &sample);
    let id = world.download(leech, &sample, &[seeder]);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    world.run_for(secs(2));
    let disk = world.disk(leech);
    let path = disk.paths().into_iter().find(|p| p.ends_with("data-500000")).unwrap();
    let mut bytes = disk.content(&path).unwrap();
    bytes[100_000] ^= 1;
    disk.put(&path, &bytes);
    world.tell(leech, |engine| engine.recheck(id)).unwrap();
    assert!(world.run_until(|w| w.stats(leech).have == 15, secs(10)), "{:?}", world.stats(leech));
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
    assert!(disk.holds(&path, 0, &sample.data));
}

#[test]
fn checking_again_in_the_midst_of_it_loses_nothing_whole() {
    let sample = file(1_000_000, 64 * 1024);
    for seed in 0..5 {
        let mut world = World::new(seed);
        let (_, leech) =
            pair(&mut world, &sample, loud().with(|conf| conf.requests.run_len = 32 * 1024));
        assert!(world.run_until(|w| w.stats(leech).have > 4, secs(60)));
        let (id, before) = (world.torrent(leech), world.stats(leech).have);
        world.tell(leech, |engine| engine.recheck(id)).unwrap();
        assert!(
            world.run_until(|w| w.is_in(leech, Phase::Downloading), secs(10)),
            "{:?}",
            world.stats(leech)
        );
        assert!(world.stats(leech).have >= before);
        assert_eq!(world.engine(leech).piece_memory(), 0);
        assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
    }
}

#[test]
fn pause_ends_all_connections_and_resume_continues() {
    let sample = file(1_000_000, 64 * 1024);
    let mut world = World::new(1);
    let (remote, leech) = pair(&mut world, &sample, loud());
    assert!(world.run_until(|w| w.stats(leech).have > 4, secs(60)));
    let id = world.torrent(leech);
    world.tell(leech, |engine| engine.pause(id)).unwrap();
    let paused = world.now();
    world.run_for(secs(100));
    assert!(world.is_in(leech, Phase::Paused));
    assert_eq!((world.stats(leech).peers, world.engine(leech).connections()), (0, 0));
    assert!(
        world.script::<Remote>(remote).log().iter().all(|(at, _, _)| *at < paused + millis(12))
    );
    assert!(world.told(leech, |a| matches!(a, Alert::Saved { .. })).is_some());
    world.tell(leech, |engine| engine.resume(id)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(10)), "{:?}", world.stats(leech));
}

#[test]
fn a_removed_torrent_is_gone_and_its_data_is_not() {
    let sample = file(1_000_000, 64 * 1024);
    let mut world = World::new(1);
    let (_, leech) = pair(&mut world, &sample, loud());
    assert!(world.run_until(|w| w.stats(leech).have > 4, secs(60)));
    let (id, have) = (world.torrent(leech), world.stats(leech).have);
    world.tell(leech, |engine| engine.remove(id)).unwrap();
    assert!(
        world.run_until(
            |w| w.told(leech, |a| matches!(a, Alert::Removed { .. })).is_some(),
            secs(5)
        )
    );
    assert!(world.engine(leech).torrents().is_empty());
    assert_eq!((world.engine(leech).connections(), world.engine(leech).piece_memory()), (0, 0));
    // Added again, it trusts its state.
    let params = world.params(leech, &sample, &[]);
    world.add_torrent(leech, &sample, params);
    assert!(world.run_until(|w| w.is_in(leech, Phase::Downloading), secs(5)));
    assert!(world.stats(leech).have >= have);
    let opened = world.alerts(leech).iter().rev().find_map(|(_, a)| match a {
        Alert::Opened { to_check, .. } => Some(*to_check),
        _ => None,
    });
    assert_eq!(opened, Some(0));
}

#[test]
fn shutdown_at_any_moment_leaves_a_trusted_state() {
    let sample = file(600_000, 32 * 1024);
    for seed in 0..30 {
        let mut world = World::new(seed);
        let (seeder, leech) =
            (world.node(loud()), world.node(loud().with(|conf| conf.requests.run_len = 16 * 1024)));
        world.seed_with(seeder, &sample);
        world.download(leech, &sample, &[seeder]);
        let _ = world.run_until(|w| w.events() > seed * 30, secs(60));
        let before = world.stats(leech);
        world.tell(leech, |engine| engine.shutdown());
        assert!(world.run_until(|w| w.engine(leech).is_drained(), secs(5)), "seed {seed}");
        assert_eq!(
            (
                world.engine(leech).piece_memory(),
                world.engine(leech).poll_timeout().is_some_and(|t| t <= world.now())
            ),
            (0, false)
        );
        world.kill(leech);
        world.restart(leech);
        assert!(world.run_until(
            |w| matches!(w.stats(leech).phase, Phase::Downloading | Phase::Seeding),
            secs(5)
        ));
        assert!(world.stats(leech).have >= before.have, "seed {seed}");
        let checks = world
            .alerts(leech)
            .iter()
            .filter(|(_, a)| matches!(a, Alert::Opened { to_check, .. } if *to_check > 0))
            .count();
        assert_eq!(checks, 0, "seed {seed}: what was shut down in good order needs no check");
        assert!(world.run_until(|w| w.is_complete(leech), secs(30)), "seed {seed}");
    }
}

#[test]
fn paused_torrent_on_a_failing_disk_is_paused_and_tries_nothing() {
    let sample = file(2_000_000, 64 * 1024);
    let mut world = World::new(3);
    let (_, leech) = pair(&mut world, &sample, loud());
    assert!(world.run_until(|w| w.stats(leech).have > 3, secs(30)));
    world.disk(leech).set(|t| (t.fail_writes, t.fail_saves) = (true, true));
    assert!(world.run_until(|w| w.is_in(leech, Phase::Stalled), secs(30)));
    let id = world.torrent(leech);
    world.tell(leech, |engine| engine.pause(id)).unwrap();
    assert!(world.is_in(leech, Phase::Paused));
    world.run_for(secs(5));
    let failures = |w: &World| {
        let told = w.alerts(leech).iter();
        told.filter(|(_, a)| matches!(a, Alert::StorageFailed { .. })).count()
    };
    let (before, writes) = (failures(&world), world.disk(leech).writes());
    world.run_for(secs(600));
    assert_eq!((failures(&world), world.disk(leech).writes()), (before, writes));
    assert!(world.is_in(leech, Phase::Paused));
    // Still failing, then well.
    world.tell(leech, |engine| engine.resume(id)).unwrap();
    world.run_for(secs(5));
    assert!(world.is_in(leech, Phase::Stalled) && failures(&world) > before);
    world.tell(leech, |engine| engine.pause(id)).unwrap();
    world.disk(leech).set(|t| *t = Troubles::default());
    world.run_for(secs(5));
    world.tell(leech, |engine| engine.resume(id)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)), "{:?}", world.stats(leech));
    assert!(recovered(&world, leech).is_some());
}

#[test]
fn opening_that_fails_in_passing_is_tried_again() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(1);
    let node = world.node(loud());
    let id = world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(30)));
    world.run_for(secs(1));
    // Of the state once, which costs a check, and then of the data, thrice.
    let fault = CallFault::new(DiskCall::Stat, ErrorKind::Other).times(4);
    world.disk(node).set(|t| t.calls.push(fault));
    world.tell(node, |engine| engine.recheck(id)).unwrap();
    assert!(world.run_until(|w| w.is_in(node, Phase::Stalled), secs(30)));
    assert!(recovered(&world, node).is_none());
    assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(120)));
    assert!(recovered(&world, node).is_some());
    let told: Vec<_> = world
        .alerts(node)
        .iter()
        .filter_map(|(_, alert)| match alert {
            Alert::StorageFailed { retry_in, .. } => Some(*retry_in),
            _ => None,
        })
        .collect();
    assert!(told.len() >= 2 && told.iter().all(Option::is_some), "{told:?}");
    assert!(told.is_sorted(), "the pauses grow: {told:?}");
    // Nothing is tried in a pause, and at once when that is over.
    let fault = CallFault::new(DiskCall::Stat, ErrorKind::Other).times(4);
    world.disk(node).set(|t| t.calls.push(fault));
    world.tell(node, |engine| engine.recheck(id)).unwrap();
    assert!(world.run_until(|w| w.is_in(node, Phase::Stalled), secs(30)));
    world.tell(node, |engine| engine.pause(id)).unwrap();
    world.run_for(secs(300));
    assert!(!world.is_in(node, Phase::Seeding));
    world.disk(node).set(|t| t.calls.clear());
    world.tell(node, |engine| engine.resume(id)).unwrap();
    assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(10)));
}
