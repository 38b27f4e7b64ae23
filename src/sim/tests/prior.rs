//! What is there before a torrent is added, and checks that are interrupted.

use super::*;
use crate::{
    base::storage::{Allocation, Trust},
    engine::TorrentParams,
};

fn files() -> Arc<Sample> {
    Sample::folder(
        "f",
        &[("a", 100_000), ("b/c", 3), ("", 400), ("e", 0), ("d", 300_000)],
        32 * 1024,
        9,
    )
    .unwrap()
}

/// A leech that has these pieces of some files, but for what `spoil` does to them, with files made
/// this way.
fn with(having: fn(u32) -> bool, spoil: fn(&MemDisk), allocation: Allocation) {
    for sample in [files(), file(400_000, 32 * 1024)] {
        let conf = loud().with(|conf| conf.storage.allocation = allocation);
        let mut outcome =
            Scenario::swarm(1).sharing(&sample).leeches(1).with(conf).having(having).begin();
        let leech = outcome.cast.leeches[0];
        spoil(&outcome.world.disk(leech));
        outcome.go_on();
        let outcome = outcome.completes().honestly().wasting_at_most(0);
        let disk = outcome.world.disk(leech);
        let dir = outcome.world.params(leech, &sample, &[]).dir;
        for (path, _, bytes) in sample.files_in(&dir) {
            assert_eq!(
                disk.content(&path).map(|content| content.len()),
                Some(bytes.len()),
                "{}",
                path.display()
            );
            assert!(disk.holds(&path, 0, bytes));
        }
        outcome.then_all_shut_down();
    }
}

fn each_file(disk: &MemDisk, change: impl Fn(&mut Vec<u8>)) {
    for path in disk.paths() {
        let mut bytes = disk.content(&path).unwrap();
        change(&mut bytes);
        disk.put(&path, &bytes);
    }
}

fn nothing(_: &MemDisk) {}

fn delete_all(disk: &MemDisk) {
    disk.paths().iter().for_each(|path| disk.delete(path));
}

fn delete_one(disk: &MemDisk) {
    disk.paths().iter().take(1).for_each(|path| disk.delete(path));
}

fn halve(disk: &MemDisk) {
    each_file(disk, |bytes| bytes.truncate(bytes.len() / 2));
}

fn fill_with_noise(disk: &MemDisk) {
    each_file(disk, |bytes| {
        bytes.iter_mut().enumerate().for_each(|(n, b)| *b = (n * 31 % 251) as u8)
    });
}

fn empty(disk: &MemDisk) {
    each_file(disk, Vec::clear);
}

use Allocation::{Full, Sparse};

cases! { with:
    no_files => |_| false, delete_all, Sparse;
    no_files_and_full_allocation => |_| false, delete_all, Full;
    one_file_is_missing => |_| true, delete_one, Sparse;
    files_of_zeroes => |_| false, nothing, Sparse;
    files_of_noise => |_| false, fill_with_noise, Sparse;
    files_of_noise_and_full_allocation => |_| false, fill_with_noise, Full;
    files_that_are_half_as_long => |_| true, halve, Sparse;
    files_that_are_half_as_long_and_full_allocation => |_| true, halve, Full;
    files_that_are_empty => |_| true, empty, Sparse;
    every_other_piece_is_there => |p| p % 2 == 0, nothing, Sparse;
    every_other_piece_is_there_and_full_allocation => |p| p % 2 == 0, nothing, Full;
    all_but_the_first_piece_are_there => |p| p > 0, nothing, Sparse;
    all_but_the_last_piece_are_there => |p| p < 12, nothing, Sparse;
    everything_is_there => |_| true, nothing, Sparse;
}

#[test]
fn files_that_are_too_long_are_as_good_as_right_ones() {
    // The engine does not shorten what is there: the bytes beyond the end are not the torrent's.
    let mut outcome = Scenario::swarm(2).having(|p| p % 3 > 0).begin();
    let leech = outcome.cast.leeches[0];
    each_file(&outcome.world.disk(leech), |bytes| bytes.extend([7; 10_000]));
    outcome.go_on();
    outcome.completes().honestly();
}

/// Two that have what the other lacks, and no seed.
fn halves(split: fn(u32) -> bool) {
    let sample = file(400_000, 32 * 1024);
    for seed in 0..5 {
        let mut world = World::new(seed);
        let (a, b) = (world.node(loud()), world.node(loud()));
        for (node, mine) in [(a, true), (b, false)] {
            let mut pieces = Bitfield::none(sample.geometry().piece_count());
            sample
                .geometry()
                .pieces()
                .filter(|p| split(p.get()) == mine)
                .for_each(|p| _ = pieces.set(p));
            world.put_pieces(node, &sample, &pieces);
        }
        world.download(a, &sample, &[b]);
        world.download(b, &sample, &[a]);
        assert!(world.run_until(|w| w.is_complete(a) && w.is_complete(b), secs(60)), "seed {seed}");
        let sent = [a, b].map(|n| world.stats(n).uploaded);
        assert_eq!(sent.iter().sum::<u64>(), 400_000, "nothing is sent twice");
    }
}

cases! { halves:
    two_halves_make_a_whole => |p| p < 6;
    even_and_odd_make_a_whole => |p| p % 2 == 0;
    all_but_one_and_one_make_a_whole => |p| p == 5;
}

/// A seed checks for a while, and in the midst of it `act` happens; later it serves.
fn in_a_check(act: fn(&mut World, NodeId)) {
    let sample = file(2_000_000, 32 * 1024);
    let conf = loud().with(|conf| conf.storage.max_checks = 2);
    for at in [3, 20, 45] {
        let mut outcome = Scenario::swarm(3).sharing(&sample).leeches(1).with(conf.clone()).begin();
        let seed = outcome.cast.seeds[0];
        outcome.world.run_for(millis(at));
        assert!(outcome.world.is_in(seed, Phase::Checking), "{:?}", outcome.world.stats(seed));
        act(&mut outcome.world, seed);
        outcome.go_on();
        outcome.completes().honestly().then_all_shut_down();
    }
}

fn pause(world: &mut World, node: NodeId) {
    let id = world.torrent(node);
    world.tell(node, |engine| engine.pause(id)).unwrap();
    world.run_for(secs(1));
    assert!(world.is_in(node, Phase::Paused) && world.is_complete(node));
    world.tell(node, |engine| engine.resume(id)).unwrap();
}

fn kill(world: &mut World, node: NodeId) {
    world.kill(node);
    world.run_for(millis(10));
    world.restart(node);
}

fn lose_power(world: &mut World, node: NodeId) {
    world.kill(node);
    world.disk(node).lose_power();
    world.restart(node);
}

fn check_again(world: &mut World, node: NodeId) {
    let id = world.torrent(node);
    (0..3).for_each(|_| world.tell(node, |engine| engine.recheck(id)).unwrap());
}

fn remove_and_add(world: &mut World, node: NodeId) {
    let id = world.torrent(node);
    world.tell(node, |engine| engine.remove(id)).unwrap();
    assert!(
        world
            .run_until(|w| w.told(node, |a| matches!(a, Alert::Removed { .. })).is_some(), secs(5))
    );
    let sample = file(2_000_000, 32 * 1024);
    world.download(node, &sample, &[]);
}

fn jump(world: &mut World, node: NodeId) {
    world.jump_clock(node, secs(10_000));
}

fn fail_reads(world: &mut World, node: NodeId) {
    // What could not be looked at is taken for missing, until it is looked at again.
    world.disk(node).set(|t| t.fail_reads = true);
    world.run_for(secs(1));
    world.disk(node).set(|t| t.fail_reads = false);
    let id = world.torrent(node);
    world.tell(node, |engine| engine.recheck(id)).unwrap();
}

cases! { in_a_check:
    a_pause_in_a_check_lets_it_end => pause;
    a_kill_in_a_check_begins_it_anew => kill;
    a_power_cut_in_a_check_begins_it_anew => lose_power;
    a_check_that_is_asked_for_thrice_is_made => check_again;
    a_removal_in_a_check_ends_it => remove_and_add;
    a_jump_of_the_clock_in_a_check_changes_nothing => jump;
    reads_that_fail_in_a_check_are_made_again => fail_reads;
}

#[test]
fn files_that_are_trusted_are_served_without_a_check() {
    let mut outcome = Scenario::swarm(4).leeches(0).begin();
    let leech = outcome.world.node(loud());
    let seed = outcome.world.node(loud());
    outcome.world.put_pieces(seed, &outcome.sample, &Bitfield::all(20));
    let params =
        TorrentParams { trust: Trust::Files, ..outcome.world.params(seed, &outcome.sample, &[]) };
    outcome.world.add_torrent(seed, &outcome.sample, params);
    outcome.world.download(leech, &outcome.sample, &[seed]);
    assert!(outcome.world.run_until(|w| w.is_complete(leech), secs(10)));
    assert!(
        outcome
            .world
            .told(seed, |a| matches!(a, Alert::Opened { have: 20, to_check: 0, .. }))
            .is_some()
    );
}

#[test]
fn a_check_that_waits_for_the_workers_is_not_a_removal() {
    let mut outcome = Scenario::swarm(5).leeches(0).begin();
    let seed = outcome.cast.seeds[0];
    assert!(outcome.world.is_in(seed, Phase::Opening), "a worker is looking");
    let id = outcome.world.torrent(seed);
    outcome.world.tell(seed, |engine| engine.recheck(id)).unwrap();
    assert!(outcome.world.is_in(seed, Phase::Opening));
    assert!(outcome.world.run_until(|w| w.is_in(seed, Phase::Seeding), secs(5)));
    outcome.world.tell(seed, |engine| engine.remove(id)).unwrap();
    assert!(outcome.world.is_in(seed, Phase::Closing));
}
