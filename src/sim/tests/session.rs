//! Sessions that are kept in a folder: killed, started again, and woken when a torrent is needed.

use super::*;
use crate::{
    base::{
        bucket::{Limits, Rate},
        storage::Trust,
    },
    engine::{AddError, MoveMode, TorrentParams},
};

pub(super) fn kept() -> Conf {
    loud().with(|conf| conf.session.dir = Some("/session".into()))
}

fn kinds(world: &World, node: NodeId, since: Instant) -> Vec<String> {
    let word = |alert: &Alert| {
        format!("{alert:?}").split_whitespace().next().unwrap_or_default().to_owned()
    };
    world.alerts(node).iter().filter(|(at, _)| *at >= since).map(|(_, alert)| word(alert)).collect()
}

pub(super) fn recorded(world: &World, node: NodeId) -> usize {
    world.alerts(node).iter().filter(|(_, alert)| matches!(alert, Alert::Recorded { .. })).count()
}

/// Lets a session end in good order, or kills it, and starts it again.
pub(super) fn start_again(world: &mut World, node: NodeId, orderly: bool) -> Instant {
    if orderly {
        world.tell(node, |engine| engine.shutdown());
        assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    }
    world.kill(node);
    world.run_for(millis(1));
    let now = world.now();
    world.restart(node);
    now
}

#[test]
fn a_session_is_there_again_at_once_and_says_so_once() {
    let samples: Vec<_> =
        (0..5).map(|n| Sample::file(&format!("s{n}"), 200_000, 32 * 1024, n).unwrap()).collect();
    let mut world = World::new(1);
    let node = world.node(kept());
    let ids: Vec<_> = samples.iter().map(|sample| world.seed_with(node, sample)).collect();
    assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) == 5, secs(30)));
    let limits = Limits { down: Rate::new(5000), up: Rate::new(7000) };
    world.tell(node, |engine| {
        engine.pause(ids[1]).unwrap();
        engine.set_sequential(ids[2], true).unwrap();
        engine.set_torrent_limits(ids[3], limits).unwrap();
        engine.remove(ids[4]).unwrap();
        engine.set_limits(limits);
    });
    let then = start_again(&mut world, node, true);
    assert_eq!(kinds(&world, node, then), ["Restored"]);
    assert!(matches!(
        world.alerts(node).last(),
        Some((_, Alert::Restored { torrents: 4, damaged: 0, torn: 0, set_aside: None }))
    ));
    let find = |n: usize| world.engine(node).find(samples[n].metainfo.info_hash());
    assert_eq!(find(4), None);
    let phases: Vec<Phase> =
        (0..4).map(|n| world.engine(node).stats(find(n).unwrap()).unwrap().phase).collect();
    assert_eq!(phases, [Phase::Seeding, Phase::Paused, Phase::Seeding, Phase::Seeding]);
    assert!((0..4).all(|n| world.engine(node).have(find(n).unwrap()).unwrap().is_full()));
    assert!(world.engine(node).params(find(2).unwrap()).unwrap().sequential);
    assert_eq!(world.engine(node).params(find(3).unwrap()).unwrap().connections.limits, limits);
    assert_eq!(world.engine(node).limits(), limits);
    // Nothing happens to torrents that are not needed.
    world.run_for(secs(10));
    let before = world.events();
    world.run_for(secs(3600));
    assert_eq!(world.events(), before);
    assert_eq!(kinds(&world, node, then), ["Restored"]);
}

#[test]
fn incoming_peer_wakes_a_sleeping_torrent_and_is_served() {
    let sample = file(2_000_000, 64 * 1024);
    for orderly in [true, false] {
        let mut world = World::new(2);
        let seed = world.node(kept());
        world.seed_with(seed, &sample);
        assert!(world.run_until(
            |w| w.is_complete(seed) && w.told(seed, |a| matches!(a, Alert::Saved { .. })).is_some(),
            secs(30)
        ));
        world.run_for(secs(1));
        let then = start_again(&mut world, seed, orderly);
        let leech = world.node(loud());
        world.download(leech, &sample, &[seed]);
        assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
        assert_eq!(world.bytes_read(leech, seed) / sample.geometry().total_len(), 1);
        let told = kinds(&world, seed, then);
        assert!(
            !told.iter().any(|kind| ["Opened", "Checked", "Finished"].contains(&kind.as_str())),
            "{told:?}"
        );
    }
}

#[test]
fn file_changed_during_sleep_is_checked_before_it_is_offered() {
    let sample = file(1_000_000, 64 * 1024);
    let mut world = World::new(3);
    let seed = world.node(kept());
    world.seed_with(seed, &sample);
    assert!(world.run_until(
        |w| w.is_complete(seed) && w.told(seed, |a| matches!(a, Alert::Saved { .. })).is_some(),
        secs(30)
    ));
    world.tell(seed, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(seed).is_drained(), secs(60)));
    world.kill(seed);
    // Another program spoils three pieces.
    world.run_for(secs(5));
    let disk = world.disk(seed);
    disk.set_now(world.now());
    let (path, mut bytes) = sample
        .files_in(std::path::Path::new("/node0"))
        .map(|(path, _, bytes)| (path, bytes.to_vec()))
        .next()
        .unwrap();
    [0, 400_000, 999_999].into_iter().for_each(|at| bytes[at] ^= 1);
    disk.put(&path, &bytes);
    // What it says of itself is what was saved, so it is not held here against the truth until it
    // has woken.
    world.restart_unchecked(seed);
    let leech = world.node(loud());
    world.download(leech, &sample, &[seed]);
    let pieces = sample.geometry().piece_count();
    assert!(
        world.run_until(|w| w.stats(leech).have == pieces - 3, secs(60)),
        "{:?}",
        world.stats(leech)
    );
    world.run_for(secs(30));
    assert_eq!((world.stats(leech).have, world.stats(leech).failed_pieces), (pieces - 3, 0));
    assert!(
        world
            .told(seed, |a| matches!(a, Alert::Opened { to_check, .. } if *to_check == pieces))
            .is_some()
    );
}

#[test]
fn downloads_resume_however_often_the_session_is_killed() {
    let samples: Vec<_> =
        (0..3).map(|n| Sample::file(&format!("d{n}"), 1_500_000, 64 * 1024, n).unwrap()).collect();
    for seed in 0..6 {
        let mut world = World::new(seed);
        let remote = world.node(loud());
        let node = world.node(kept().with(|conf| conf.storage.save_interval = millis(500)));
        for sample in &samples {
            world.seed_with(remote, sample);
            world.download(node, sample, &[remote]);
        }
        world.run_for(millis(400));
        assert_eq!(recorded(&world, node), 3);
        for round in 0..8 {
            world.run_for(millis(150 + 97 * ((seed + round) % 5)));
            let then = start_again(&mut world, node, round % 3 == 2);
            assert!(
                world
                    .told(node, |a| matches!(a, Alert::Restored { torrents: 3, .. }))
                    .is_some_and(|at| at <= then)
            );
            assert_eq!(world.engine(node).torrents().len(), 3);
        }
        assert!(
            world.run_until(|w| w.is_complete(node), secs(120)),
            "seed {seed}: {:?}",
            world.stats_of(node)
        );
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_told_of_and_tried_again() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(4);
    let node = world.node(kept());
    world.disk(node).set(|t| t.read_only = true);
    let id = world.download(node, &sample, &[]);
    assert!(world.run_until(
        |w| w.told(node, |a| matches!(a, Alert::SessionFailed { .. })).is_some(),
        secs(5)
    ));
    world.run_for(secs(20));
    assert_eq!(recorded(&world, node), 0);
    world.tell(node, |engine| engine.set_sequential(id, true).unwrap());
    world.disk(node).set(|t| t.read_only = false);
    assert!(world.run_until(|w| recorded(w, node) == 1, secs(60)));
    start_again(&mut world, node, false);
    let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
    assert!(world.engine(node).params(id).unwrap().sequential);
    // Nothing is lost by removing it while it cannot be written, and it does not keep the session
    // from ending.
    world.disk(node).set(|t| t.read_only = true);
    world.tell(node, |engine| engine.remove(id).unwrap());
    world.run_for(secs(10));
    assert!(world.told(node, |a| matches!(a, Alert::Removed { .. })).is_none());
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
}

fn on_disk(world: &World, node: NodeId) -> usize {
    world.disk(node).paths().iter().filter(|path| !path.starts_with("/session")).count()
}

#[test]
fn torrent_removed_with_data_never_returns_without_it() {
    let sample = file(200_000, 32 * 1024);
    for seed in 0..10 {
        let mut world = World::new(seed);
        let node = world.node(kept());
        let id = world.seed_with(node, &sample);
        assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) > 0, secs(30)));
        world.run_for(secs(1));
        world.tell(node, |engine| engine.remove_with_data(id).unwrap());
        // Killed when the first file is gone, and at any moment.
        if seed < 2 {
            assert!(world.run_until(|w| on_disk(w, node) == 0, secs(5)));
        } else {
            world.run_for(Duration::from_micros(300 * (seed - 2)));
        }
        start_again(&mut world, node, false);
        let is_there = world.engine(node).find(sample.metainfo.info_hash()).is_some();
        assert!(!is_there || on_disk(&world, node) > 0, "seed {seed}");
        assert!(seed > 1 || !is_there);
    }
}

#[test]
fn remove_with_data_after_remove_deletes_and_answers_the_move() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(5);
    let node = world.node(kept());
    let id = world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) > 0, secs(30)));
    world.run_for(secs(1));
    world.disk(node).set(|t| t.fail_writes = true);
    world.tell(node, |engine| engine.remove(id).unwrap());
    assert!(world.run_until(
        |w| w.told(node, |a| matches!(a, Alert::SessionFailed { .. })).is_some(),
        secs(5)
    ));
    world.tell(node, |engine| {
        engine.move_storage(id, "/elsewhere", MoveMode::FailIfExists).unwrap()
    });
    world.tell(node, |engine| engine.rename_file(id, 0, "other").unwrap());
    world.tell(node, |engine| engine.remove_with_data(id).unwrap());
    world.run_for(secs(1));
    assert!(world.told(node, |a| matches!(a, Alert::StorageMoveFailed { .. })).is_some());
    assert!(world.told(node, |a| matches!(a, Alert::FileRenameFailed { .. })).is_some());
    assert!(
        on_disk(&world, node) > 0
            && world.told(node, |a| matches!(a, Alert::Removed { .. })).is_none()
    );
    world.disk(node).set(|t| t.fail_writes = false);
    assert!(
        world.run_until(
            |w| w.told(node, |a| matches!(a, Alert::Removed { .. })).is_some(),
            secs(120)
        )
    );
    assert!(world.told(node, |a| matches!(a, Alert::DataDeleted { .. })).is_some());
    assert_eq!(on_disk(&world, node), 0);
}

#[test]
fn full_disk_deletes_data_though_removal_cannot_be_recorded() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(6);
    let node = world.node(kept());
    let id = world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) > 0, secs(30)));
    world.run_for(secs(1));
    // The log's last page has no room either.
    let log = std::path::Path::new("/session/session.ct");
    let mut bytes = world.disk(node).content(log).unwrap();
    let labels = vec!["x".repeat(30); (4096 - bytes.len() % 4096) / 40];
    world.tell(node, |engine| engine.set_labels(id, labels).unwrap());
    world.run_for(secs(1));
    bytes = world.disk(node).content(log).unwrap();
    assert!(!bytes.len().is_multiple_of(4096));
    let used = world.disk(node).used();
    world.disk(node).set(|t| t.capacity = Some(used));
    world.tell(node, |engine| engine.remove_with_data(id).unwrap());
    assert!(
        world.run_until(
            |w| w.told(node, |a| matches!(a, Alert::Removed { .. })).is_some(),
            secs(120)
        )
    );
    assert_eq!(on_disk(&world, node), 0);
}

#[test]
fn a_removal_that_was_never_recorded_is_not_told() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(7);
    let node = world.node(kept());
    let id = world.seed_with(node, &sample);
    assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) > 0, secs(30)));
    world.run_for(secs(1));
    world.disk(node).set(|t| t.fail_writes = true);
    world.tell(node, |engine| engine.remove_with_data(id).unwrap());
    world.tell(node, |engine| engine.shutdown());
    assert!(world.run_until(|w| w.engine(node).is_drained(), secs(60)));
    assert!(
        world
            .told(node, |a| matches!(a, Alert::Removed { .. } | Alert::DataDeleted { .. }))
            .is_none()
    );
    assert!(
        world.told(node, |a| matches!(a, Alert::SessionFailed { retry_in: None, .. })).is_some()
    );
    world.disk(node).set(|t| t.fail_writes = false);
    world.kill(node);
    world.run_for(millis(1));
    world.restart(node);
    assert!(
        world.engine(node).find(sample.metainfo.info_hash()).is_some() && on_disk(&world, node) > 0
    );
}

#[test]
fn files_that_were_checked_are_not_taken_at_their_word_again() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(8);
    let node = world.node(kept());
    sample
        .files_in(std::path::Path::new("/node0"))
        .for_each(|(path, _, bytes)| world.disk(node).put(&path, bytes));
    let params = TorrentParams { trust: Trust::Files, ..world.params(node, &sample, &[]) };
    let id = world.tell(node, |engine| engine.add_torrent(params)).unwrap();
    assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) > 0, secs(30)));
    world.tell(node, |engine| engine.recheck(id).unwrap());
    assert!(
        world.run_until(
            |w| w.told(node, |a| matches!(a, Alert::Checked { .. })).is_some(),
            secs(30)
        )
    );
    world.run_for(secs(5));
    start_again(&mut world, node, false);
    let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
    assert_eq!(world.engine(node).params(id).unwrap().trust, Trust::State);
}

#[test]
fn of_the_session_only_what_was_set_is_recorded() {
    use crate::wire::session;
    let mut world = World::new(9);
    let node = world.node(kept());
    let stop = crate::alert::StopAt { ratio_percent: Some(150), seeding: None };
    let limits = Limits { down: None, up: Rate::new(7000) };
    let said = |world: &World| {
        let log = world.disk(node).content(std::path::Path::new("/session/session.ct")).unwrap();
        let mut replay = session::Replay::default();
        let salt = session::read_header(&log[..session::HEADER_LEN]).unwrap();
        session::scan(&mut log.as_slice(), &salt, |record| replay.note(&record)).unwrap();
        replay.finish().1.session
    };
    assert_eq!(said(&world), None);
    world.tell(node, |engine| engine.set_limits(limits));
    world.run_for(secs(1));
    let want =
        session::SessionSettings { limits: Some(limits), ..session::SessionSettings::default() };
    assert_eq!(said(&world), Some(want.clone()));
    start_again(&mut world, node, false);
    world.tell(node, |engine| engine.set_default_stop(stop));
    world.run_for(secs(1));
    assert_eq!(
        said(&world),
        Some(session::SessionSettings { stop: Some((Some(150), None)), ..want })
    );
    start_again(&mut world, node, false);
    assert_eq!(world.engine(node).limits(), limits);
}

#[test]
fn torrent_too_large_for_a_record_is_refused() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(10);
    let node = world.node(kept());
    let huge = || vec![vec![format!("http://{}", "x".repeat(65 << 20))]];
    let params = TorrentParams { trackers: Some(huge()), ..world.params(node, &sample, &[]) };
    let refused = world.tell(node, |engine| engine.add_torrent(params));
    assert!(matches!(refused, Err(AddError::TooLarge { .. })), "{refused:?}");
    let other = Sample::file("other", 200_000, 32 * 1024, 2).unwrap();
    world.seed_with(node, &sample);
    world.seed_with(node, &other);
    assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) == 2, secs(30)));
    start_again(&mut world, node, false);
    assert_eq!(world.engine(node).torrents().len(), 2);
}

#[test]
fn sleeping_torrent_taken_over_by_queue_sends_no_stopped() {
    let sample = file(200_000, 32 * 1024);
    let mut world = World::new(7);
    let tracker = world.tracker();
    let node = world.node(kept());
    let tiers = vec![vec![world.tracker_url(tracker)]];
    let params = TorrentParams { trackers: Some(tiers), ..world.params(node, &sample, &[]) };
    world.put_pieces(node, &sample, &Bitfield::all(sample.geometry().piece_count()));
    world.add_torrent(node, &sample, params);
    assert!(world.run_until(|w| w.is_complete(node) && recorded(w, node) == 1, secs(30)));
    world.run_for(secs(2));
    start_again(&mut world, node, true);
    world.run_for(secs(5));
    let before = world.told_to(tracker).len();
    let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
    world.tell(node, |engine| {
        engine.set_queued(id, false).unwrap();
        engine.set_queued(id, true).unwrap();
    });
    world.run_for(secs(30));
    assert_eq!(world.told_to(tracker).len(), before, "{:?}", world.told_to(tracker));
}

#[test]
fn failed_dial_keeps_peers_that_wait_for_the_opening() {
    // So many that some wait for their turn to be opened, on disks that take their time.
    let samples: Vec<_> =
        (0..6).map(|n| Sample::file(&format!("d{n}"), 400_000, 32 * 1024, n).unwrap()).collect();
    let mut world = World::new(8);
    let (seed, node) = (world.node(loud()), world.node(kept()));
    for sample in &samples {
        world.seed_with(seed, sample);
        world.download(node, sample, &[]);
    }
    assert!(world.run_until(|w| recorded(w, node) >= 6, secs(30)));
    world.set_disk_pace(
        node,
        DiskPace { min: millis(500), max: millis(900), ..DiskPace::default() },
    );
    let then = start_again(&mut world, node, true);
    let addr = world.addr(seed);
    let ids: Vec<_> =
        samples.iter().map(|s| world.engine(node).find(s.metainfo.info_hash()).unwrap()).collect();
    world.tell(node, |engine| {
        for &id in &ids {
            engine.add_peer(id, "10.9.9.9:1".parse().unwrap()).unwrap();
            engine.add_peer(id, addr).unwrap();
        }
    });
    assert!(world.run_until(
        |w| ids.iter().all(|&id| w.engine(node).stats(id).unwrap().wanted_have_bytes == 400_000),
        secs(120)
    ));
    let gone = world
        .alerts(node)
        .iter()
        .filter(|(at, alert)| {
            *at >= then
                && matches!(
                    alert,
                    Alert::PeerGone { addr: gone, reason, .. }
                        if *gone == addr && reason.contains("not active")
                )
        })
        .count();
    assert_eq!(gone, 0);
}

#[test]
fn adopted_files_do_not_inherit_the_saved_state() {
    let sample = file(500_000, 32 * 1024);
    for paused in [false, true] {
        let mut world = World::new(6);
        let node = world.node(kept());
        let id = world.seed_with(node, &sample);
        let saved = |w: &World| w.told(node, |a| matches!(a, Alert::Saved { .. })).is_some();
        assert!(world.run_until(|w| w.is_complete(node) && saved(w), secs(30)));
        world.run_for(secs(1));
        if paused {
            world.tell(node, |engine| engine.pause(id)).unwrap();
            world.run_for(secs(1));
        }
        let before = recorded(&world, node);
        world.allow_folder(node, "/elsewhere");
        world.tell(node, |engine| engine.move_storage(id, "/elsewhere", MoveMode::Adopt)).unwrap();
        assert!(world.run_until(|w| recorded(w, node) > before, secs(5)));
        start_again(&mut world, node, false);
        let id = world.engine(node).find(sample.metainfo.info_hash()).unwrap();
        assert_eq!(world.engine(node).have(id).unwrap().count(), 0);
        // There is nothing there, so it is fetched.
        let other = world.node(loud());
        world.seed_with(other, &sample);
        let addr = world.addr(other);
        world
            .tell(node, |engine| engine.resume(id).and_then(|()| engine.add_peer(id, addr)))
            .unwrap();
        assert!(world.run_until(|w| w.is_complete(node) && w.is_honest(node), secs(60)));
        // From then on it is as any other.
        world.run_for(secs(30));
        assert_eq!(world.engine(node).params(id).unwrap().trust, Trust::State);
        start_again(&mut world, node, false);
        assert!(world.is_complete(node));
    }
}

#[test]
fn sleeping_torrent_whose_files_were_moved_by_hand_is_adopted() {
    let sample = file(500_000, 32 * 1024);
    let mut world = World::new(6);
    let node = world.node(kept());
    world.seed_with(node, &sample);
    let saved = |w: &World| w.told(node, |a| matches!(a, Alert::Saved { .. })).is_some();
    assert!(world.run_until(|w| w.is_complete(node) && saved(w), secs(30)));
    start_again(&mut world, node, true);
    world.allow_folder(node, "/elsewhere");
    let disk = world.disk(node).clone();
    for path in disk.paths().into_iter().filter(|path| path.starts_with("/node0")) {
        let to = std::path::Path::new("/elsewhere").join(path.strip_prefix("/node0").unwrap());
        crate::store::Disk::rename(&*disk, &path, &to).unwrap();
    }
    let (id, since) = (world.torrent(node), world.now());
    // Whatever else was asked for meanwhile is answered, too.
    world.tell(node, |engine| {
        engine.move_storage(id, "/third", MoveMode::FailIfExists).unwrap();
        engine.move_storage(id, "/elsewhere", MoveMode::Adopt).unwrap();
    });
    assert!(world.run_until(|w| w.is_in(node, Phase::Seeding), secs(60)));
    let told = kinds(&world, node, since);
    let count = |word: &str| told.iter().filter(|told| *told == word).count();
    assert_eq!((count("StorageMoved"), count("StorageMoveFailed")), (1, 1), "{told:?}");
    assert_eq!(world.engine(node).dir(id), Some(std::path::Path::new("/elsewhere")));
}
