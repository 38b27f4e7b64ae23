//! Many torrents in one engine: who runs when, when it is enough, what is counted and told.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::{
    alert::{StopAt, StopReason, TorrentStats},
    base::{ids::TorrentId, totals::Totals},
    engine::{Changes, QueueError},
    torrent::{EarlierRuns, TorrentParams},
};

/// Small torrents, all different.
fn samples(count: u64) -> Vec<Arc<Sample>> {
    (0..count)
        .map(|n| Sample::file(&format!("t{n}"), 100_000 + n, 32 * 1024, 1000 + n).unwrap())
        .collect()
}

fn queued(world: &World, node: NodeId, sample: &Arc<Sample>, peers: &[NodeId]) -> TorrentParams {
    TorrentParams { queued: true, ..world.params(node, sample, peers) }
}

fn phases(world: &World, node: NodeId) -> Vec<Phase> {
    world.stats_of(node).iter().map(|stats| stats.phase).collect()
}

fn count(world: &World, node: NodeId, phase: Phase) -> usize {
    phases(world, node).iter().filter(|&&p| p == phase).count()
}

/// A seed of all samples, and a leech that has them all in its queue.
fn pair(
    world: &mut World,
    samples: &[Arc<Sample>],
    conf: Conf,
) -> (NodeId, NodeId, Vec<TorrentId>) {
    let (seed, leech) =
        (world.node(loud().with(|conf| conf.queue.max_active_checks = 100)), world.node(conf));
    let slow = Line { bandwidth: 100_000, ..Line::default() };
    world.set_line(seed, slow);
    let mut ids = Vec::new();
    for sample in samples {
        world.seed_with(seed, sample);
        let params = queued(world, leech, sample, &[seed]);
        ids.push(world.add_torrent(leech, sample, params));
    }
    (seed, leech, ids)
}

#[test]
fn downloads_run_in_order_and_never_too_many() {
    let samples = samples(8);
    let mut world = World::new(1);
    let conf = loud().with(|conf| {
        conf.queue.max_active_downloads = 2;
        conf.queue.max_active_seeds = 1;
    });
    let (_, leech, ids) = pair(&mut world, &samples, conf);
    let mut most = 0;
    let watch = |w: &World| {
        most = most.max(count(w, leech, Phase::Downloading));
        let seeding = count(w, leech, Phase::Seeding);
        // One that has just become whole is a seed too many until it is told in the same breath.
        assert!(seeding <= 1 && most <= 2, "{:?}", phases(w, leech));
        w.is_complete(leech)
    };
    assert!(world.run_until(watch, secs(120)), "{:?}", phases(&world, leech));
    assert_eq!(most, 2);
    let finished = |alert: &Alert| {
        if let Alert::Finished { torrent, .. } = alert { Some(*torrent) } else { None }
    };
    let order: Vec<_> =
        world.alerts(leech).iter().filter_map(|(_, alert)| finished(alert)).collect();
    let place = |id| ids.iter().position(|&other| other == id).unwrap();
    assert!(order.iter().enumerate().all(|(at, &id)| place(id).abs_diff(at) <= 1), "{order:?}");
    world.run_for(secs(1));
    assert_eq!((count(&world, leech, Phase::Seeding), count(&world, leech, Phase::Queued)), (1, 7));
    assert!(world.engine(leech).queue().is_empty(), "whole torrents have no position");
    assert_eq!(world.engine(leech).session_stats().in_phase(Phase::Queued), 7);
}

#[test]
fn a_pause_a_removal_and_a_move_let_the_next_one_go_at_once() {
    let samples = samples(5);
    let mut world = World::new(2);
    let conf = loud().with(|conf| conf.queue.max_active_downloads = 1);
    let (_, leech, ids) = pair(&mut world, &samples, conf);
    assert!(world.run_until(|w| w.stats(leech).downloaded > 0, secs(10)));
    assert_eq!(phases(&world, leech)[..2], [Phase::Downloading, Phase::Queued]);
    assert_eq!(world.stats_of(leech)[3].queue_position, Some(3));

    world.tell(leech, |e| e.queue_top(ids[3])).unwrap();
    let expected = [Phase::Queued, Phase::Queued, Phase::Queued, Phase::Downloading, Phase::Queued];
    assert_eq!(phases(&world, leech), expected);
    assert_eq!(world.stats(leech).peers, 0, "who waits has no peers");
    assert_eq!(world.engine(leech).queue(), [ids[3], ids[0], ids[1], ids[2], ids[4]]);

    world.tell(leech, |e| e.pause(ids[3])).unwrap();
    assert_eq!(
        (phases(&world, leech)[0], phases(&world, leech)[3]),
        (Phase::Downloading, Phase::Paused)
    );
    assert_eq!(
        world.engine(leech).queue_position(ids[3]),
        Some(0),
        "a pause does not cost the position"
    );
    world.tell(leech, |e| e.remove(ids[0])).unwrap();
    assert!(world.run_until(|w| w.stats_of(leech)[0].phase == Phase::Downloading, secs(5)));
    world.tell(leech, |e| e.resume(ids[3])).unwrap();
    assert_eq!(world.engine(leech).stats(ids[3]).unwrap().phase, Phase::Downloading);
    assert_eq!(world.engine(leech).stats(ids[1]).unwrap().phase, Phase::Queued);

    // A torrent that the queue does not look after runs besides, and has no position.
    world.tell(leech, |e| e.set_queued(ids[4], false)).unwrap();
    assert_eq!(world.engine(leech).stats(ids[4]).unwrap().phase, Phase::Downloading);
    assert_eq!(world.tell(leech, |e| e.queue_up(ids[4])), Err(QueueError::NoPosition(ids[4])));
    world.tell(leech, |e| e.set_queued(ids[4], true)).unwrap();
    assert_eq!(world.engine(leech).stats(ids[4]).unwrap().phase, Phase::Queued);
    assert_eq!(world.engine(leech).queue(), [ids[3], ids[1], ids[2], ids[4]]);
    let done = |w: &World| w.stats_of(leech).iter().all(|stats| stats.phase == Phase::Seeding);
    assert!(world.run_until(done, secs(60)), "{:?}", phases(&world, leech));
}

#[test]
fn torrent_with_failing_disk_yields_its_queue_place() {
    let samples = samples(3);
    let mut world = World::new(3);
    let conf = loud().with(|conf| conf.queue.max_active_downloads = 1);
    let (_, leech, ids) = pair(&mut world, &samples, conf);
    assert!(world.run_until(|w| w.is_in(leech, Phase::Downloading), secs(5)));
    world.disk(leech).set(|troubles| troubles.read_only = true);
    assert!(world.run_until(|w| w.is_in(leech, Phase::Stalled), secs(10)));
    let second = |w: &World| w.engine(leech).stats(ids[1]).unwrap().phase;
    assert!(matches!(second(&world), Phase::Downloading), "{:?}", phases(&world, leech));
    world.run_for(secs(20));
    world.disk(leech).set(|troubles| troubles.read_only = false);
    assert!(
        world.run_until(|w| !w.is_in(leech, Phase::Stalled), secs(90)),
        "{:?}",
        phases(&world, leech)
    );
    assert!(world.run_until(|w| w.is_complete(leech), secs(120)), "{:?}", phases(&world, leech));
}

#[test]
fn a_thousand_torrents_are_opened_a_few_at_a_time() {
    let samples = samples(60);
    let mut world = World::new(4);
    let node = world.node(loud().with(|conf| conf.queue.max_active_checks = 2));
    for sample in &samples {
        world.seed_with(node, sample);
    }
    let mut most = 0;
    let opened = |w: &World| {
        let checking = count(w, node, Phase::Checking);
        let waiting = w.engine(node).session_stats().waiting_checks;
        most = most.max(count(w, node, Phase::Opening) + checking - waiting);
        w.is_complete(node)
    };
    assert!(world.run_until(opened, secs(60)));
    assert_eq!(most, 2);
    // A recheck of all of them too.
    for id in world.engine(node).torrents() {
        world.tell(node, |e| e.recheck(id)).unwrap();
    }
    assert!(world.engine(node).session_stats().waiting_checks > 50);
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
}

#[test]
fn a_recheck_gives_the_place_away_and_back() {
    let samples = samples(2);
    let mut world = World::new(14);
    let (_, leech, ids) =
        pair(&mut world, &samples, loud().with(|conf| conf.queue.max_active_downloads = 1));
    assert!(world.run_until(|w| w.stats(leech).have > 0, secs(10)));
    world.tell(leech, |e| e.recheck(ids[0])).unwrap();
    assert!(world.run_until(|w| phases(w, leech)[1] == Phase::Downloading, secs(5)));
    assert!(
        world.run_until(|w| phases(w, leech)[0] == Phase::Downloading, secs(5)),
        "{:?}",
        phases(&world, leech)
    );
    assert_eq!(phases(&world, leech)[1], Phase::Queued);
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    let stats = world.stats(leech);
    assert!(stats.totals.downloaded <= stats.downloaded, "nothing counts twice: {stats:?}");
}

#[test]
fn ratio_limit_stops_the_torrent_until_told_to_resume() {
    let sample = file(300_000, 32 * 1024);
    let mut world = World::new(5);
    let stop = StopAt { ratio_percent: Some(150), seeding: None };
    let seed = world.node(loud().with(|conf| conf.queue.stop = stop));
    let id = world.seed_with(seed, &sample);
    let leeches: Vec<NodeId> = (0..4).map(|_| world.node(loud())).collect();
    world.download(leeches[0], &sample, &[seed]);
    assert!(world.run_until(|w| w.is_complete(leeches[0]), secs(30)));
    assert!(world.is_in(seed, Phase::Seeding));
    world.download(leeches[1], &sample, &[seed]);
    assert!(world.run_until(|w| w.is_in(seed, Phase::Paused), secs(30)));
    let told = world.told(
        seed,
        |a| matches!(a, Alert::StopReached { why: StopReason::Ratio, torrent } if *torrent == id),
    );
    assert!(told.is_some());
    let sent = world.stats(seed).uploaded;
    assert!((450_000..600_000).contains(&sent) && world.stats(seed).ratio() >= 1.5, "{sent}");
    assert_eq!(world.tell(seed, |e| e.stop_at(id)), Ok(None));

    // A user who resumes it does not want it to stop again.
    world.tell(seed, |e| e.resume(id)).unwrap();
    assert_eq!(world.tell(seed, |e| e.stop_at(id)), Ok(Some(StopAt::default())));
    for leech in &leeches[2..] {
        world.download(*leech, &sample, &[seed]);
    }
    assert!(world.run_until(|w| leeches.iter().all(|&l| w.is_complete(l)), secs(60)));
    assert!(world.is_in(seed, Phase::Seeding));
    // A new wish holds again, at once if it must.
    world.tell(seed, |e| e.set_stop(id, Some(stop))).unwrap();
    assert!(world.is_in(seed, Phase::Paused));
}

#[test]
fn seeding_time_limit_counts_over_all_runs() {
    let sample = file(100_000, 32 * 1024);
    let mut world = World::new(6);
    let seed = world.node(loud());
    world.seed_with(seed, &sample);
    let id = world.torrent(seed);
    world.run_for(secs(1));
    world.tell(seed, |e| e.remove(id)).unwrap();
    world.run_for(secs(1));
    let totals =
        Totals { seeding: secs(3600), active: secs(5000), uploaded: 7, ..Totals::default() };
    let earlier = EarlierRuns { totals, ..EarlierRuns::default() };
    let stop = Some(StopAt { ratio_percent: Some(100), seeding: Some(secs(3600 + 100)) });
    let params = TorrentParams { earlier, stop, ..world.params(seed, &sample, &[]) };
    let id = world.add_torrent(seed, &sample, params);
    world.run_for(secs(60));
    world.tell(seed, |e| e.pause(id)).unwrap();
    // Time at rest is no time served.
    world.run_for(secs(1000));
    world.tell(seed, |e| e.resume(id)).unwrap();
    world.run_for(secs(30));
    assert!(world.is_in(seed, Phase::Seeding));
    world.run_for(secs(12));
    assert!(world.is_in(seed, Phase::Paused));
    assert!(
        world
            .told(seed, |a| matches!(a, Alert::StopReached { why: StopReason::SeedingTime, .. }))
            .is_some()
    );
    let stats = world.stats(seed);
    assert_eq!((stats.totals.seeding, stats.totals.uploaded), (secs(3700), 7));
    assert_eq!(stats.totals.active, secs(5100));
    // What is not reached stays.
    world.tell(seed, |e| e.resume(id)).unwrap();
    assert_eq!(
        world.tell(seed, |e| e.stop_at(id)),
        Ok(Some(StopAt { ratio_percent: Some(100), seeding: None }))
    );
    world.run_for(secs(1000));
    assert!(world.is_in(seed, Phase::Seeding));
    assert_eq!(world.engine(seed).poll_timeout(), None, "nothing is polled");
}

#[test]
fn stopped_torrent_restored_at_rest_resumes_when_told() {
    let sample = file(100_000, 32 * 1024);
    let mut world = World::new(7);
    let seed = world.node(loud());
    let params = world.params(seed, &sample, &[]);
    sample.files_in(&params.dir).for_each(|(path, _, bytes)| world.disk(seed).put(&path, bytes));
    let totals = Totals { uploaded: 1_000_000, ..Totals::default() };
    let earlier = EarlierRuns { totals, ..EarlierRuns::default() };
    let stop = Some(StopAt { ratio_percent: Some(200), seeding: None });
    let params = TorrentParams { earlier, stop, paused: true, ..params };
    let id = world.add_torrent(seed, &sample, params);
    // Before it is known whether it is whole.
    world.tell(seed, |e| e.resume(id)).unwrap();
    world.run_for(secs(10));
    assert!(world.is_in(seed, Phase::Seeding));
    assert_eq!(world.tell(seed, |e| e.stop_at(id)), Ok(Some(StopAt::default())));
}

#[test]
fn wanted_files_decide_between_download_and_seed() {
    use crate::base::files::Priority::{Normal, Skip};
    let two = Sample::folder("two", &[("a", 200_000), ("b", 200_000)], 32 * 1024, 5).unwrap();
    let mut world = World::new(15);
    let (seed, leech) =
        (world.node(loud()), world.node(loud().with(|conf| conf.queue.max_active_downloads = 1)));
    world.set_line(seed, Line { bandwidth: 100_000, ..Line::default() });
    let other = file(600_000, 32 * 1024);
    [&two, &other].into_iter().for_each(|sample| _ = world.seed_with(seed, sample));
    let params =
        TorrentParams { priorities: vec![Normal, Skip], ..queued(&world, leech, &two, &[seed]) };
    let a = world.add_torrent(leech, &two, params);
    let params = queued(&world, leech, &other, &[seed]);
    let b = world.add_torrent(leech, &other, params);
    assert!(world.run_until(|w| w.is_in(leech, Phase::Seeding), secs(20)));
    assert_eq!(
        (world.engine(leech).queue(), phases(&world, leech)[1]),
        (vec![b], Phase::Downloading)
    );
    world.tell(leech, |e| e.set_file_priorities(a, vec![Normal, Normal])).unwrap();
    assert_eq!(
        (world.engine(leech).queue(), phases(&world, leech)),
        (vec![b, a], vec![Phase::Queued, Phase::Downloading])
    );
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
}

/// What a program that only asks for changes believes.
#[derive(Default)]
struct Mirror {
    cursor: u64,
    rows: BTreeMap<TorrentId, TorrentStats>,
    queue: Vec<TorrentId>,
}

impl Mirror {
    /// How many rows were new.
    fn refresh(&mut self, world: &mut World, node: NodeId) -> usize {
        let Changes { cursor, all, changed, removed, queue } =
            world.tell(node, |e| e.changes(self.cursor));
        self.cursor = cursor;
        if all {
            self.rows.clear();
        }
        removed.iter().for_each(|id| _ = self.rows.remove(id));
        let news = changed.len();
        self.rows.extend(changed);
        self.queue = queue.unwrap_or(std::mem::take(&mut self.queue));
        news
    }

    /// It knows what there is to know; times and positions aside, which it knows otherwise.
    fn check(&self, world: &World, node: NodeId) {
        let engine = world.engine(node);
        let plain = |stats: &TorrentStats| {
            let totals = Totals { active: Duration::ZERO, seeding: Duration::ZERO, ..stats.totals };
            TorrentStats { totals, queue_position: None, eta: None, ..stats.clone() }
        };
        let truth: BTreeSet<_> = engine.torrents().into_iter().collect();
        assert_eq!(self.rows.keys().copied().collect::<BTreeSet<_>>(), truth);
        for (&id, row) in &self.rows {
            assert_eq!(plain(row), plain(&engine.stats(id).unwrap()));
        }
        assert_eq!(self.queue, engine.queue());
    }
}

#[test]
fn changes_tell_all_there_is_and_nothing_of_the_idle() {
    let samples = samples(12);
    let mut world = World::new(8);
    let (_, leech, ids) =
        pair(&mut world, &samples, loud().with(|conf| conf.queue.max_active_downloads = 2));
    let (mut often, mut seldom) = (Mirror::default(), Mirror::default());
    assert_eq!(often.refresh(&mut world, leech), 12, "all of them once");
    let mut least = usize::MAX;
    for round in 0..200 {
        world.run_for(millis(250));
        least = least.min(often.refresh(&mut world, leech));
        often.check(&world, leech);
        if round % 17 == 0 {
            seldom.refresh(&mut world, leech);
            seldom.check(&world, leech);
        }
        match round {
            5 => world.tell(leech, |e| e.pause(ids[2])).unwrap(),
            9 => world.tell(leech, |e| e.queue_bottom(ids[7])).unwrap(),
            15 => world.tell(leech, |e| e.remove(ids[0])).unwrap(),
            20 => world.tell(leech, |e| e.remove(ids[2])).unwrap(),
            _ => {}
        }
        if (5..15).contains(&round) {
            assert!(least <= 6, "who waits is not told of");
        }
    }
    // Everything is there, and rates have sunk to zero as the mirrors know.
    assert!(world.stats_of(leech).iter().all(|s| s.download_rate == 0));
    often.check(&world, leech);
    assert_eq!((often.refresh(&mut world, leech), often.rows.len()), (0, 10));
    seldom.refresh(&mut world, leech);
    seldom.check(&world, leech);
    // A cursor from elsewhere gets everything.
    let all = world.tell(leech, |e| e.changes(u64::MAX));
    assert!(all.all && all.changed.len() == 10 && all.removed.is_empty() && all.queue.is_some());
}

#[test]
fn changes_after_too_many_removals_list_all_torrents() {
    let samples = samples(3);
    let mut world = World::new(9);
    let node = world.node(loud());
    let keep = world.download(node, &samples[0], &[]);
    let before = world.tell(node, |e| e.changes(0)).cursor;
    let mut cursor = before;
    for _ in 0..4100 {
        let id = world.download(node, &samples[1], &[]);
        cursor = world.tell(node, |e| e.changes(cursor)).cursor;
        world.tell(node, |e| e.remove(id)).unwrap();
        assert!(world.run_until(|w| w.engine(node).torrents().len() == 1, secs(10)));
    }
    let late = world.tell(node, |e| e.changes(before));
    assert!(late.all && late.removed.is_empty());
    assert_eq!(late.changed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [keep]);
    let early = world.tell(node, |e| e.changes(cursor));
    assert!(!early.all && early.removed.len() == 1 && early.changed.is_empty());
}

#[test]
fn the_sessions_counters_are_the_sum_of_its_torrents() {
    let samples = samples(6);
    let mut world = World::new(10);
    let (seed, leech, ids) = pair(&mut world, &samples, loud());
    world.tell(leech, |e| {
        e.set_earlier_totals(Totals {
            downloaded: 5,
            uploaded: 6,
            active: secs(7),
            seeding: secs(8),
        })
    });
    for _ in 0..60 {
        world.run_for(millis(500));
        for node in [seed, leech] {
            let (stats, torrents) = (world.engine(node).session_stats(), world.stats_of(node));
            let sum = |f: fn(&TorrentStats) -> u64| torrents.iter().map(f).sum::<u64>();
            assert_eq!(stats.downloaded, sum(|t| t.downloaded));
            assert_eq!(stats.uploaded, sum(|t| t.uploaded));
            assert_eq!(stats.wasted, sum(|t| t.wasted));
            assert_eq!(stats.peers as u64, sum(|t| t.peers as u64));
            assert_eq!(stats.torrents, torrents.len());
            for phase in [
                Phase::Opening,
                Phase::Checking,
                Phase::Downloading,
                Phase::Seeding,
                Phase::Paused,
                Phase::Queued,
            ] {
                assert_eq!(
                    stats.in_phase(phase),
                    torrents.iter().filter(|t| t.phase == phase).count(),
                    "{phase:?}"
                );
            }
        }
    }
    let before = world.engine(leech).session_stats();
    assert_eq!(before.totals.downloaded, 5 + before.downloaded);
    assert!(before.totals.seeding > secs(8) && before.totals.active <= secs(7 + 30));
    for id in ids {
        world.tell(leech, |e| e.remove(id)).unwrap();
    }
    world.run_for(secs(5));
    let after = world.engine(leech).session_stats();
    assert_eq!(
        (after.downloaded, after.torrents, after.peers, after.active()),
        (before.downloaded, 0, 0, 0)
    );
}

#[test]
fn labels_are_bounded_and_found() {
    let samples = samples(2);
    let mut world = World::new(11);
    let node = world.node(loud().with(|conf| {
        conf.session.max_labels = 2;
        conf.session.max_label_len = 5;
    }));
    let labels = vec!["films".to_owned()];
    let params = TorrentParams { labels, ..world.params(node, &samples[0], &[]) };
    let a = world.add_torrent(node, &samples[0], params);
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    world.tell(node, |e| {
        assert_eq!(e.labels(a).unwrap(), ["films"]);
        e.set_labels(a, words(&[" new", "films", "new "])).unwrap();
        assert_eq!(e.labels(a).unwrap(), ["new", "films"]);
        assert_eq!(e.torrents_with_label("new"), [a]);
        assert!(e.torrents_with_label("ne").is_empty());
        for (bad, error) in [
            (words(&["a", "b", "c"]), "3 labels, 2 are allowed"),
            (words(&["sechse"]), "a label of 6 bytes, 5 are allowed"),
            (words(&["a", " "]), "\" \" is no label"),
            (words(&["a\n"]), ""),
            (words(&["a\u{7}b"]), "\"a\\u{7}b\" is no label"),
        ] {
            match e.set_labels(a, bad) {
                Err(found) => assert_eq!(found.to_string(), error),
                Ok(()) => assert_eq!((e.labels(a).unwrap(), error), (&words(&["a"])[..], "")),
            }
        }
        let refused = e.add_torrent(TorrentParams {
            labels: words(&["much too long"]),
            ..TorrentParams::new(samples[1].metainfo.clone(), "/x")
        });
        assert_eq!(refused.unwrap_err().to_string(), "a label of 13 bytes, 5 are allowed");
        assert_eq!(e.torrents(), [a]);
    });
}

#[test]
fn sequential_order_starts_at_once_and_skips_missing_pieces() {
    let sample = file(128 * 16 * KIB, 16 * 1024);
    let mut world = World::new(12);
    // The peer lacks every fourth piece.
    let mut some = Bitfield::none(128);
    sample.geometry().pieces().filter(|p| p.get() % 4 != 3).for_each(|p| _ = some.set(p));
    let manners = Manners { has: Some(some), block_time: millis(20), ..Manners::default() };
    let peer = world.scripted(Remote::new(&sample, 1, manners));
    let leech = world.node(loud().with(|conf| {
        conf.requests.initial_pipeline = 2;
        conf.requests.queue_time = millis(200);
    }));
    let id = world.download(leech, &sample, &[peer]);
    assert!(world.run_until(|w| w.stats(leech).have >= 20, secs(60)));
    world.tell(leech, |e| e.set_sequential(id, true)).unwrap();
    let before = world.script::<Remote>(peer).requests().len();
    assert!(world.run_until(|w| w.stats(leech).have >= 96, secs(60)), "{:?}", world.stats(leech));
    let asked: Vec<u32> =
        world.script::<Remote>(peer).requests()[before..].iter().map(|b| b.piece.get()).collect();
    assert!(asked.len() > 40 && asked.is_sorted(), "{asked:?}");
    // A peer with the rest comes.
    let other = world.scripted(Remote::seed(
        &sample,
        2,
        Manners { block_time: millis(20), ..Manners::default() },
    ));
    let addr = world.addr(other);
    world.tell(leech, |e| e.add_peer(id, addr)).unwrap();
    assert!(world.run_until(|w| w.is_complete(leech), secs(60)));
    let rest: Vec<u32> =
        world.script::<Remote>(other).requests().iter().map(|b| b.piece.get()).collect();
    assert!(rest.is_sorted() && rest.iter().all(|p| p % 4 == 3), "{rest:?}");
}

#[test]
fn many_torrents_at_rest_ask_for_nothing() {
    let mut world = World::new(13);
    let node = world.node(Conf::default().with(|conf| {
        conf.queue.max_active_checks = 50;
        conf.alerts.mask = AlertMask::NONE;
    }));
    let samples: Vec<_> =
        (0..500).map(|n| Sample::file(&format!("s{n}"), 16_384, 16_384, n).unwrap()).collect();
    let ids: Vec<_> = samples
        .iter()
        .map(|sample| {
            let params = queued(&world, node, sample, &[]);
            sample
                .files_in(&params.dir)
                .for_each(|(path, _, bytes)| world.disk(node).put(&path, bytes));
            world.add_torrent(node, sample, params)
        })
        .collect();
    assert!(world.run_until(|w| w.is_complete(node), secs(60)));
    world.run_for(secs(60));
    let mut mirror = Mirror::default();
    assert_eq!(mirror.refresh(&mut world, node), 500);
    // The queue looks every ten seconds while a torrent waits, and more seeds run as the slow do
    // not count.
    let mut wakes = BTreeSet::new();
    let _ = world.run_until(
        |w| {
            wakes.extend(w.engine(node).poll_timeout());
            false
        },
        secs(3600),
    );
    assert!(wakes.len() < 1000, "{}", wakes.len());
    assert!(count(&world, node, Phase::Seeding) > 100);
    // When no torrent waits, the queue does not look.
    let limits = world.engine(node).active_limits();
    world.tell(node, |e| e.set_active_limits(crate::engine::ActiveLimits { seeds: 500, ..limits }));
    world.run_for(secs(60));
    assert_eq!(
        (count(&world, node, Phase::Seeding), world.engine(node).poll_timeout()),
        (500, None)
    );
    mirror.refresh(&mut world, node);
    mirror.check(&world, node);
    assert_eq!(ids.len(), 500);
}

#[test]
fn random_verbs_keep_active_limits_and_report_all_changes() {
    let samples = samples(10);
    for round in 0..12 {
        let mut world = World::new(100 + round);
        let (seed, leech) = (
            world.node(loud().with(|conf| conf.queue.max_active_checks = 100)),
            world.node(loud().with(|conf| {
                conf.queue.max_active_downloads = 2;
                conf.queue.max_active_seeds = 2;
                conf.queue.max_active = 3;
                conf.queue.max_active_checks = 2;
                conf.queue.slow_rate = 0;
            })),
        );
        world.set_line(seed, Line { bandwidth: 150_000, ..Line::default() });
        samples.iter().for_each(|sample| _ = world.seed_with(seed, sample));
        let mut rng = crate::base::rng::Rng::new(round);
        let (mut mirror, mut ids) = (Mirror::default(), Vec::new());
        for _ in 0..150 {
            let pick = rng.below(ids.len().max(1) as u64) as usize;
            let (id, to): (Option<TorrentId>, usize) =
                (ids.get(pick).copied(), rng.below(12) as usize);
            // What is gone meanwhile says so, and so does what has no position.
            match (rng.below(12), id) {
                (0..4, _) => {
                    let sample = &samples[rng.below(10) as usize];
                    if world.engine(leech).find(sample.metainfo.info_hash()).is_none() {
                        let paused = rng.below(4) == 0;
                        let params = TorrentParams {
                            paused,
                            queued: rng.below(6) > 0,
                            ..world.params(leech, sample, &[seed])
                        };
                        ids.push(world.add_torrent(leech, sample, params));
                    }
                }
                (4, Some(id)) => _ = world.tell(leech, |e| e.pause(id)),
                (5 | 6, Some(id)) => _ = world.tell(leech, |e| e.resume(id)),
                (7, Some(id)) => _ = world.tell(leech, |e| e.remove(id)),
                (8, Some(id)) => _ = world.tell(leech, |e| e.recheck(id)),
                (9, Some(id)) => _ = world.tell(leech, |e| e.set_queued(id, to > 3)),
                (10, _) => world.disk(leech).set(|troubles| troubles.read_only = to > 8),
                (_, Some(id)) => _ = world.tell(leech, |e| e.set_queue_position(id, to)),
                _ => {}
            }
            world.run_for(millis(rng.below(400)));
            mirror.refresh(&mut world, leech);
            mirror.check(&world, leech);
            let (engine, stats) = (world.engine(leech), world.stats_of(leech));
            let running = |phase| stats.iter().filter(|s| s.queued && s.phase == phase).count();
            let (downloads, seeds) = (running(Phase::Downloading), running(Phase::Seeding));
            assert!(
                downloads <= 2 && seeds <= 2 && downloads + seeds <= 3,
                "round {round}: {:?}",
                phases(&world, leech)
            );
            assert!(stats.iter().all(|s| s.phase != Phase::Queued || s.queued));
            let checks = running(Phase::Checking)
                + stats.iter().filter(|s| !s.queued && s.phase == Phase::Checking).count();
            assert!(checks <= 2, "round {round}: {checks} checks");
            let positions: Vec<usize> =
                engine.queue().iter().filter_map(|&id| engine.queue_position(id)).collect();
            assert!(positions.iter().copied().eq(0..engine.queue().len()), "{positions:?}");
            let waits = engine
                .queue()
                .iter()
                .any(|&id| engine.stats(id).is_some_and(|s| s.phase == Phase::Queued));
            let waiting_download = waits && engine.session_stats().waiting_checks == 0;
            assert!(
                !waiting_download || downloads == 2,
                "round {round}: a slot is free and a torrent waits: {:?}",
                phases(&world, leech)
            );
        }
        world.disk(leech).set(|troubles| troubles.read_only = false);
        for id in world.engine(leech).torrents() {
            let _ = world.tell(leech, |e| e.resume(id));
        }
        let whole = |w: &World| w.stats_of(leech).iter().all(|s| s.have == s.pieces);
        assert!(world.run_until(whole, secs(300)), "round {round}: {:?}", phases(&world, leech));
    }
}

#[test]
fn paused_check_on_a_failing_disk_holds_up_no_other_torrent() {
    let samples =
        [1, 2].map(|nth| Sample::file(&format!("{nth}"), 500_000, 32 * 1024, nth).unwrap());
    let mut world = World::new(1);
    let node = world.node(loud().with(|conf| conf.queue.max_active_checks = 1));
    let first = world.seed_with(node, &samples[0]);
    assert!(world.run_until(|w| w.is_complete(node), secs(30)));
    world.disk(node).set(|t| t.fail_reads = true);
    world.tell(node, |engine| engine.recheck(first)).unwrap();
    let failed = |w: &World| w.told(node, |a| matches!(a, Alert::StorageFailed { .. })).is_some();
    assert!(world.run_until(failed, secs(60)));
    world.tell(node, |engine| engine.pause(first)).unwrap();
    world.disk(node).set(|t| t.fail_reads = false);
    let second = world.seed_with(node, &samples[1]);
    let seeds = |w: &World, id| w.engine(node).stats(id).is_some_and(|s| s.phase == Phase::Seeding);
    assert!(
        world.run_until(|w| seeds(w, second), secs(60)),
        "{:?}",
        world.engine(node).stats(second)
    );
    world.tell(node, |engine| engine.resume(first)).unwrap();
    assert!(world.run_until(|w| seeds(w, first), secs(60)));
}
