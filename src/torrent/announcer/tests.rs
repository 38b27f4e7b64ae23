//! What the announcer promises, as logs of who is told what and when.

use std::time::Duration;

use super::{answers::Failed, *};
use crate::{
    alert::{TrackerError, TrackerErrorKind, TrackerStatus},
    wire::tracker::AnnounceReply,
};

/// A torrent's trackers on a clock of their own.
struct Trial {
    announcer: Announcer,
    theirs: Vec<Vec<String>>,
    conf: Conf,
    rng: Rng,
    now: Instant,
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

fn reply(interval: u64) -> AnnounceReply {
    AnnounceReply { interval: secs(interval), ..AnnounceReply::default() }
}

impl Trial {
    fn new(tiers: &[&[&str]], conf: Conf) -> Self {
        Self::with(tiers, false, conf)
    }

    fn with(tiers: &[&[&str]], private: bool, conf: Conf) -> Self {
        let theirs: Vec<Vec<String>> =
            tiers.iter().map(|t| t.iter().map(|&url| url.into()).collect()).collect();
        let mut rng = Rng::new(1);
        // As a torrent does, for the key of its announces.
        rng.next_u64();
        let announcer = Announcer::new(None, &theirs, private, &mut rng, &conf);
        let mut trial = Self { announcer, theirs, conf, rng, now: Instant::from_micros(1_000_000) };
        trial.announcer.start(trial.now, false, &trial.conf);
        trial
    }

    fn url(&self, no: TrackerNo) -> String {
        self.announcer.url(no, &self.theirs).unwrap().to_owned()
    }

    /// Whose turn it is now.
    fn turn(&mut self) -> Option<(TrackerNo, String)> {
        let Turn { tracker, event } = self.announcer.poll(self.now, &self.conf)?;
        let event = match event {
            AnnounceEvent::None => "again",
            AnnounceEvent::Started => "started",
            AnnounceEvent::Completed => "completed",
            AnnounceEvent::Stopped => "stopped",
        };
        Some((tracker, format!("{} {event}", self.url(tracker))))
    }

    fn answer(&mut self, no: TrackerNo, reply: &AnnounceReply) -> bool {
        self.announcer
            .handle_reply(no, reply, self.now, &mut self.rng, &self.conf)
            .unwrap_or_default()
    }

    fn fail(&mut self, no: TrackerNo, retry: Retry) -> Option<Failed> {
        let failure = Failure { error: error("no"), minor: false, retry };
        self.announcer.handle_failure(no, &failure, self.now, &mut self.rng, &self.conf)
    }

    /// Lets time pass to the next turn; how long that was, in seconds.
    fn wait(&mut self) -> f64 {
        let due = self.announcer.due().unwrap();
        let waited = due.since(self.now);
        self.now = self.now.max(due);
        waited.as_secs_f64()
    }

    /// What is told in `time`, with the second when; trackers whose name begins with `dead` do not
    /// answer, others want to be told again after `interval`.
    fn log(&mut self, time: u64, interval: u64) -> Vec<String> {
        let (start, mut log) = (self.now, Vec::new());
        while let Some(due) = self.announcer.due().filter(|&due| due <= start + secs(time)) {
            self.now = self.now.max(due);
            let (no, what) = self.turn().expect("it said that it was due");
            log.push(format!("{} {what}", self.now.since(start).as_secs()));
            assert_eq!(self.announcer.due().filter(|&due| due <= self.now), None, "one at a time");
            if what.starts_with("dead") {
                assert!(self.fail(no, Retry::Later).is_some());
            } else {
                self.answer(no, &reply(interval));
            }
        }
        log
    }
}

fn error(text: &str) -> TrackerError {
    TrackerError::new(TrackerErrorKind::Unreachable, text)
}

#[test]
fn dead_first_tier_yields_at_once_and_is_retried_each_time() {
    let mut t = Trial::new(&[&["dead1"], &["dead2"], &["good"], &["unused"]], Conf::default());
    let log = t.log(1900, 900);
    assert_eq!(log[..3], ["0 dead1 started", "0 dead2 started", "0 good started"]);
    let at: Vec<&str> = log.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(
        at[3..],
        [
            "dead1 started",
            "dead2 started",
            "good again",
            "dead1 started",
            "dead2 started",
            "good again"
        ]
    );
}

#[test]
fn tracker_that_answers_becomes_first_of_its_tier() {
    let mut t = Trial::new(&[&["dead1", "dead2", "dead3", "good"]], Conf::default());
    let first = t.log(10, 1800);
    assert_eq!(first.last().unwrap(), "0 good started");
    assert_eq!(t.announcer.stats(t.now, &t.theirs)[0].url, "good");
    assert_eq!(t.log(1900, 1800).iter().filter(|line| !line.contains("good")).count(), 0);
}

#[test]
fn tiers_are_shuffled_and_stay_in_order() {
    let urls: Vec<String> = (0..20).map(|n| format!("{n:02}")).collect();
    let names: Vec<&str> = urls.iter().map(String::as_str).collect();
    let t = Trial::new(&[&names[..10], &names[10..]], Conf::default());
    let order: Vec<String> =
        t.announcer.stats(t.now, &t.theirs).into_iter().map(|s| s.url).collect();
    assert_ne!(order, urls);
    let mut first = order[..10].to_vec();
    first.sort();
    assert_eq!(first, urls[..10]);
}

#[test]
fn doubled_addresses_and_those_beyond_the_limit_are_left_out() {
    let t = Trial::new(
        &[&["a", "b", "a"], &["b"], &["c"], &["d"]],
        Conf::default().with(|conf| conf.trackers.max_per_torrent = 3),
    );
    let mut known: Vec<String> =
        t.announcer.stats(t.now, &t.theirs).into_iter().map(|s| s.url).collect();
    known.sort();
    assert_eq!(known, ["a", "b", "c"]);
}

#[test]
fn events_come_in_order_and_once() {
    let mut t = Trial::new(&[&["a"]], Conf::default());
    // It is complete before anybody has heard of us.
    let (no, what) = t.turn().unwrap();
    assert_eq!(what, "a started");
    t.announcer.set_complete(t.now, true, true, &t.conf);
    assert_eq!(t.turn(), None);
    t.answer(no, &reply(1800));
    let (no, what) = t.turn().unwrap();
    assert_eq!(what, "a completed");
    assert!(t.fail(no, Retry::Later).is_some());
    assert_eq!(t.turn(), None);
    t.wait();
    let (no, what) = t.turn().unwrap();
    assert_eq!(what, "a completed");
    t.answer(no, &reply(1800));
    assert_eq!(t.turn(), None);
    assert!(t.wait() >= 1800.0);
    assert_eq!(t.turn().unwrap().1, "a again");
    assert_eq!(t.announcer.stop(), [Leave { tracker: no, known: true, completed: false }]);
    assert_eq!((t.announcer.stop(), t.announcer.due()), (vec![], None));
    // An answer to what was asked before means nothing now.
    assert!(!t.answer(no, &reply(1800)));
    t.announcer.start(t.now, true, &t.conf);
    t.announcer.set_complete(t.now, true, true, &t.conf);
    let (no, what) = t.turn().unwrap();
    assert_eq!(what, "a started");
    t.answer(no, &reply(1800));
    assert_eq!(t.turn(), None, "it was completed once");
}

#[test]
fn torrent_that_was_whole_at_the_start_never_completes() {
    let mut t = Trial::new(&[&["a"]], Conf::default());
    t.announcer = Announcer::new(None, &t.theirs, false, &mut t.rng, &t.conf);
    t.announcer.start(t.now, true, &t.conf);
    t.announcer.set_complete(t.now, true, true, &t.conf);
    let (no, what) = t.turn().unwrap();
    assert_eq!(what, "a started");
    t.answer(no, &reply(1800));
    assert_eq!(t.turn(), None);
    // It turns out that something is missing, is fetched, and that counts.
    t.announcer.set_complete(t.now, false, false, &t.conf);
    t.announcer.set_complete(t.now, true, true, &t.conf);
    assert_eq!(t.turn().unwrap().1, "a completed");
}

#[test]
fn completed_needs_a_download_and_is_announced_once() {
    // What a recheck found, or was copied by hand, is no download.
    let mut t = Trial::new(&[&["a"]], Conf::default());
    let (no, _) = t.turn().unwrap();
    t.announcer.set_complete(t.now, true, false, &t.conf);
    t.answer(no, &reply(1800));
    assert_eq!((t.turn(), t.announcer.completion()), (None, Completion::None));
    // An earlier run was told, or was not.
    for (earlier, events) in [(Completion::Told, vec![]), (Completion::Due, vec!["a completed"])] {
        let mut t = Trial::new(&[&["a"]], Conf::default());
        t.announcer = Announcer::new(None, &t.theirs, false, &mut t.rng, &t.conf);
        t.announcer.restore_completion(earlier);
        t.announcer.start(t.now, false, &t.conf);
        t.announcer.set_complete(t.now, true, true, &t.conf);
        let (no, what) = t.turn().unwrap();
        assert_eq!(what, "a started");
        t.answer(no, &reply(1800));
        let mut told = Vec::new();
        while let Some((no, what)) = t.turn() {
            told.push(what);
            t.answer(no, &reply(1800));
        }
        assert_eq!(
            (told, t.announcer.completion()),
            (events.iter().map(|&e| e.to_owned()).collect(), Completion::Told)
        );
    }
}

#[test]
fn stopped_goes_only_to_trackers_that_know_us() {
    let mut t = Trial::new(&[&["dead"], &["good"], &["unused"]], Conf::default());
    t.log(1, 1800);
    let told: Vec<String> =
        t.announcer.stop().into_iter().map(|leave| t.url(leave.tracker)).collect();
    assert_eq!(told, ["good"]);
}

#[test]
fn failures_back_off_to_an_hour() {
    let mut t = Trial::new(&[&["dead"]], Conf::default());
    let mut longest: f64 = 5.0;
    for n in 0..20 {
        let (no, _) = t.turn().unwrap();
        let failed = t.fail(no, Retry::Later).unwrap();
        let waited = t.wait();
        assert_eq!(failed.retry_in.unwrap().as_secs_f64(), waited);
        longest = (longest * 2.0).min(3600.0);
        assert!(waited >= longest / 2.0 && waited <= longest, "{waited} s after failure {n}");
    }
}

#[test]
fn tracker_interval_holds_even_against_the_user() {
    let mut t = Trial::new(&[&["a"]], Conf::default());
    let (no, _) = t.turn().unwrap();
    assert_eq!(t.fail(no, Retry::In(secs(7200))).unwrap().retry_in, Some(secs(7200)));
    t.announcer.hurry(t.now, &t.conf);
    assert_eq!(t.wait(), 7200.0);
    let (no, _) = t.turn().unwrap();
    assert_eq!(t.fail(no, Retry::Never).unwrap().retry_in, None);
    t.announcer.hurry(t.now, &t.conf);
    assert_eq!(t.announcer.due(), None);
    assert_eq!(t.announcer.stats(t.now, &t.theirs)[0].status, TrackerStatus::Disabled);
}

#[test]
fn tracker_that_wants_no_more_is_asked_when_begun_anew() {
    let mut t = Trial::new(&[&["a"]], Conf::default());
    let is_due = |t: &Trial| t.announcer.due().is_some();
    let (no, _) = t.turn().unwrap();
    _ = t.fail(no, Retry::Never);
    assert!(!is_due(&t));
    t.announcer.stop();
    t.announcer.start(t.now, false, &t.conf);
    assert!(is_due(&t) && t.wait() >= 5.0);
    let (no, _) = t.turn().unwrap();
    _ = t.fail(no, Retry::Never);
    assert!(!is_due(&t));
    t.announcer.lift_never();
    t.announcer.hurry(t.now, &t.conf);
    assert_eq!(t.wait(), 5.0);
    assert_eq!(t.turn().unwrap().1, "a started");
}

#[test]
fn failure_of_a_proxy_is_no_failure_of_the_tracker() {
    let mut t = Trial::new(&[&["a"]], Conf::default());
    for _ in 0..100 {
        let (no, _) = t.turn().unwrap();
        assert_eq!(t.fail(no, Retry::Blameless(secs(60))).unwrap().retry_in, Some(secs(60)));
        assert_eq!(t.wait(), 60.0);
    }
    let stats = t.announcer.stats(t.now, &t.theirs);
    assert_eq!((stats[0].failures, stats[0].status), (1, TrackerStatus::Failing));
    let (no, _) = t.turn().unwrap();
    assert!(t.fail(no, Retry::Later).unwrap().retry_in.unwrap() <= secs(20));
}

#[test]
fn user_may_announce_early_down_to_the_minimum_interval() {
    let mut t = Trial::new(&[&["a"]], Conf::default());
    let (no, _) = t.turn().unwrap();
    t.answer(no, &AnnounceReply { min_interval: Some(secs(300)), ..reply(1800) });
    t.announcer.hurry(t.now, &t.conf);
    assert_eq!(t.wait(), 300.0);
    let (no, _) = t.turn().unwrap();
    // It names none: the setting holds.
    t.answer(no, &reply(1800));
    t.announcer.hurry(t.now, &t.conf);
    assert_eq!(t.wait(), 60.0);
    let (no, _) = t.turn().unwrap();
    t.fail(no, Retry::Later).unwrap();
    t.now = t.now + secs(1);
    t.announcer.hurry(t.now, &t.conf);
    assert!(t.wait() <= 4.0);
}

#[test]
fn intervals_are_bounded_and_a_little_longer_than_asked() {
    for (said, from, to) in [
        (0, 1800.0, 1890.0),
        (1, 60.0, 63.0),
        (1800, 1800.0, 1890.0),
        (u32::MAX.into(), 7200.0, 7560.0),
    ] {
        let mut t = Trial::new(&[&["a"]], Conf::default());
        let (no, _) = t.turn().unwrap();
        t.answer(no, &reply(said));
        let waited = t.wait();
        assert!(waited >= from && waited <= to, "{waited} s where {said} was said");
    }
}

#[test]
fn answer_in_one_family_is_enough_and_longer_interval_counts() {
    let mut t = Trial::new(&[&["a"]], Conf::default());
    let no_v6 = Failure { error: error("no v6"), minor: true, retry: Retry::Later };
    let (no, _) = t.turn().unwrap();
    t.announcer.set_calls(no, 2);
    assert_eq!(t.announcer.handle_failure(no, &no_v6, t.now, &mut t.rng, &t.conf), None);
    assert_eq!(t.announcer.stats(t.now, &t.theirs)[0].error, None);
    t.answer(no, &reply(900));
    assert!(t.wait() >= 900.0);
    // The answer first, then the failure.
    let (no, _) = t.turn().unwrap();
    t.announcer.set_calls(no, 2);
    t.answer(no, &AnnounceReply { seeders: Some(7), ..reply(900) });
    assert_eq!(t.fail(no, Retry::Later), None);
    // Two answers.
    t.wait();
    let (no, _) = t.turn().unwrap();
    t.announcer.set_calls(no, 2);
    t.answer(no, &AnnounceReply { seeders: Some(5), ..reply(1800) });
    t.answer(no, &AnnounceReply { seeders: Some(2), ..reply(900) });
    assert!(t.wait() >= 1800.0);
    assert_eq!(t.announcer.stats(t.now, &t.theirs)[0].seeds, Some(5));
    // One does not want to be asked again, the other does.
    let (no, _) = t.turn().unwrap();
    t.announcer.set_calls(no, 2);
    assert_eq!(t.fail(no, Retry::Never), None);
    t.answer(no, &reply(1800));
    t.wait();
    // Both fail, and the one that says more is told.
    let (no, _) = t.turn().unwrap();
    t.announcer.set_calls(no, 2);
    assert_eq!(t.fail(no, Retry::Later), None);
    let failed = t.announcer.handle_failure(no, &no_v6, t.now, &mut t.rng, &t.conf);
    assert_eq!(failed.unwrap().error, error("no"));
}

#[test]
fn all_tiers_and_all_trackers_if_the_user_wants_it() {
    let tiers: &[&[&str]] = &[&["dead1", "a"], &["b", "c"]];
    let told = |trackers, tiers_too| {
        let conf = Conf::default().with(|conf| {
            conf.trackers.announce_to_all = trackers;
            conf.trackers.announce_to_all_tiers = tiers_too;
        });
        let mut t = Trial::new(tiers, conf);
        let mut told = Vec::new();
        for _ in 0..8 {
            let out: Vec<_> = std::iter::from_fn(|| t.turn()).collect();
            for (no, what) in out {
                told.push(what.split_once(' ').unwrap().0.to_owned());
                if what.starts_with("dead") {
                    t.fail(no, Retry::Later);
                } else {
                    t.answer(no, &reply(1800));
                }
            }
        }
        told.sort();
        told
    };
    // With one tracker of a tier it depends on chance whether the dead one is tried.
    let live = |told: Vec<String>| {
        told.into_iter().filter(|url| !url.starts_with("dead")).collect::<Vec<_>>()
    };
    assert_eq!(live(told(false, false)), ["a"]);
    assert_eq!(live(told(true, false)), ["a"]);
    assert_eq!(told(true, true), ["a", "b", "c", "dead1"]);
    let one_a_tier = live(told(false, true));
    assert!(one_a_tier == ["a", "b"] || one_a_tier == ["a", "c"], "{one_a_tier:?}");
}

#[test]
fn private_torrent_uses_one_tracker_at_a_time() {
    let conf = Conf::default().with(|conf| {
        conf.trackers.announce_to_all = true;
        conf.trackers.announce_to_all_tiers = true;
    });
    let mut t = Trial::with(&[&["a"], &["b"]], true, conf);
    let (a, what) = t.turn().unwrap();
    assert_eq!((what.as_str(), t.turn()), ("a started", None));
    assert!(!t.answer(a, &reply(1800)));
    t.wait();
    let (again, _) = t.turn().unwrap();
    assert!(t.fail(again, Retry::Later).is_some());
    let (b, what) = t.turn().unwrap();
    assert_eq!(what, "b started");
    assert!(t.answer(b, &reply(1800)), "the peers of the first must go");
}

#[test]
fn new_tracker_list_keeps_state_and_names_removed_trackers() {
    let mut t = Trial::new(&[&["a"], &["b"]], Conf::default());
    let (a, _) = t.turn().unwrap();
    t.answer(a, &AnnounceReply { tracker_id: Some(b"id".to_vec()), ..reply(1800) });
    let list = vec![vec!["c".to_owned()], vec!["a".to_owned()]];
    assert_eq!(t.announcer.set(list, &t.theirs, &mut t.rng, &t.conf), []);
    assert_eq!(t.url(a), "a");
    assert_eq!(t.turn(), None, "what works stays in use until its time");
    let gone = t.announcer.set(vec![vec!["c".to_owned()]], &t.theirs, &mut t.rng, &t.conf);
    assert_eq!(
        gone,
        [Gone { url: "a".into(), tracker_id: Some(b"id".to_vec()), completed: false }]
    );
    assert_eq!(t.turn().unwrap().1, "c started");
}

#[test]
fn announcer_is_small() {
    let of_one = std::mem::size_of::<Announcer>() + std::mem::size_of::<Tracker>();
    assert!(of_one <= 200, "{of_one} bytes");
}
