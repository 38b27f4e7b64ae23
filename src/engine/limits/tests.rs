//! Links with and without demand under every kind of limit, on virtual time, without bytes:
//! whatever the rate, it costs the same.

use super::*;
use crate::base::rng::Rng;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const STEP: Duration = Duration::from_millis(1);

fn key(n: u32) -> Key {
    Key { index: n, generation: n }
}

fn rate(bytes_per_s: u64) -> Option<Rate> {
    Rate::new(bytes_per_s)
}

struct Link {
    torrent: Key,
    /// What it has to move; `u64::MAX` has no end.
    demand: u64,
    /// What its line brings in a step, and what of that waits in its socket.
    line: u64,
    socket: u64,
    moved: u64,
    woken: bool,
}

struct Rig {
    way: Way<Key>,
    now: Instant,
    links: BTreeMap<Key, Link>,
    /// What all moved, step by step.
    steps: Vec<u64>,
    smallest: u64,
    most_woken: usize,
    ticks: usize,
}

impl Rig {
    fn new(engine: u64) -> Self {
        let now = Instant::from_micros(12_345_678);
        Self {
            way: Way::new(now, rate(engine)),
            now,
            links: BTreeMap::new(),
            steps: Vec::new(),
            smallest: u64::MAX,
            most_woken: 0,
            ticks: 0,
        }
    }

    fn links(mut self, torrent: u32, links: std::ops::Range<u32>) -> Self {
        for n in links {
            self.links.insert(
                key(n),
                Link {
                    torrent: key(torrent),
                    demand: u64::MAX,
                    line: u64::MAX,
                    socket: 0,
                    moved: 0,
                    woken: true,
                },
            );
        }
        self
    }

    fn run(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while self.now < end {
            self.now = self.now + STEP;
            self.step();
        }
        self
    }

    fn step(&mut self) {
        let Self { way, links, now, .. } = self;
        let mut woken = Vec::new();
        if way.next().is_some_and(|next| next <= *now) {
            way.tick(*now, &mut woken);
            self.ticks += 1;
            assert!(way.next().is_none_or(|next| next > *now));
        }
        self.most_woken = self.most_woken.max(woken.len());
        for key in woken {
            if let Some(link) = links.get_mut(&key) {
                link.woken = true;
            }
        }
        let mut all = 0;
        for (&key, link) in links.iter_mut() {
            link.socket = if link.line == u64::MAX {
                u64::MAX
            } else {
                link.socket.saturating_add(link.line).min(link.line.max(200_000))
            };
            while link.woken && link.demand > 0 && link.socket > 0 {
                let quota = if way.is_on() {
                    way.ask(*now, key, link.torrent)
                } else {
                    Quota::Bytes(usize::MAX)
                };
                match quota {
                    Quota::Wait(_) => {
                        link.woken = false;
                        break;
                    }
                    Quota::Bytes(quota) => {
                        assert!(quota > 0);
                        let bytes = (quota as u64).min(link.demand).min(link.socket);
                        way.spend(*now, key, link.torrent, bytes as usize);
                        self.smallest = self.smallest.min(quota as u64);
                        (link.demand, link.socket) =
                            (link.demand.saturating_sub(bytes), link.socket.saturating_sub(bytes));
                        link.moved += bytes;
                        all += bytes;
                    }
                }
            }
        }
        self.steps.push(all);
        way.is_sound();
    }

    /// The least and the most that ten seconds saw, in bytes per second, after the first second.
    fn windows(&self) -> (f64, f64) {
        let sums: Vec<u64> = self.steps[1_000..]
            .windows(10_000)
            .step_by(50)
            .map(|window| window.iter().sum())
            .collect();
        (*sums.iter().min().unwrap() as f64 / 10.0, *sums.iter().max().unwrap() as f64 / 10.0)
    }

    fn moved(&self, links: std::ops::Range<u32>) -> f64 {
        links.map(|n| self.links[&key(n)].moved).sum::<u64>() as f64
    }
}

impl Way<Key> {
    fn is_sound(&self) {
        let queued: usize = self.groups.values().map(|group| group.queue.len()).sum();
        assert_eq!(queued, self.waiting);
        if queued > 0 || !self.thirsty.is_empty() {
            assert!(self.next.is_some() && self.on);
        }
    }
}

fn close_to(what: f64, should: f64, part: f64) -> bool {
    (what - should).abs() <= should * part
}

#[test]
fn any_rate_holds_within_two_percent_and_is_shared_evenly() {
    for limit in [KIB, 10 * KIB, 64 * KIB, MIB, 100 * MIB, KIB * MIB, 1 << 40] {
        for links in [1, 5, 50] {
            let mut rig = Rig::new(limit).links(1, 0..links);
            let (min, max) = rig.run(Duration::from_secs(25)).windows();
            let limit = limit as f64;
            assert!(
                max <= limit * 1.02 && min >= limit * 0.98,
                "{limit} B/s, {links} links: {min} to {max}"
            );
            if limit >= 64.0 * 1024.0 {
                let mean = rig.moved(0..links) / f64::from(links);
                let even = (0..links).all(|n| close_to(rig.moved(n..n + 1), mean, 0.1));
                assert!(
                    even,
                    "{limit} B/s, {links} links: {:?}",
                    (0..links).map(|n| rig.moved(n..n + 1)).collect::<Vec<_>>()
                );
            }
        }
    }
}

#[test]
fn a_line_that_is_slower_than_the_limit_is_not_held_back() {
    let mut rig = Rig::new(10 * MIB).links(1, 0..4);
    rig.links.values_mut().for_each(|link| link.line = 2 * KIB);
    rig.run(Duration::from_secs(10));
    // Four times 2 KiB a millisecond are 8,000 KiB/s: below the limit.
    assert!(close_to(rig.moved(0..4), 80_000.0 * 1024.0, 0.01), "{}", rig.moved(0..4));
}

#[test]
fn quota_of_slow_connections_goes_to_fast_ones() {
    let mut rig = Rig::new(MIB).links(1, 0..10);
    for n in 0..9 {
        rig.links.get_mut(&key(n)).unwrap().line = 10;
    }
    let (min, max) = rig.run(Duration::from_secs(25)).windows();
    assert!(min >= MIB as f64 * 0.98 && max <= MIB as f64 * 1.02, "{min} {max}");
    assert!(close_to(rig.moved(0..9), 9.0 * 250_000.0, 0.02), "{}", rig.moved(0..9));
}

#[test]
fn a_torrent_with_a_limit_leaves_the_rest_to_the_others() {
    let mut rig = Rig::new(100 * KIB).links(1, 0..30).links(2, 30..31).links(3, 31..33);
    rig.way.set_torrent(rig.now, key(1), rate(10 * KIB));
    rig.way.set_torrent(rig.now, key(3), rate(30 * KIB));
    let (min, max) = rig.run(Duration::from_secs(30)).windows();
    let limit = 100.0 * 1024.0;
    assert!(min >= limit * 0.98 && max <= limit * 1.02, "{min} {max}");
    let per_s = |links| rig.moved(links) / 30.0 / 1024.0;
    let rates = (per_s(0..30), per_s(30..31), per_s(31..33));
    assert!(
        close_to(rates.0, 10.0, 0.02)
            && close_to(rates.1, 60.0, 0.03)
            && close_to(rates.2, 30.0, 0.03),
        "{rates:?}"
    );
}

#[test]
fn peers_with_limits_leave_the_rest_to_the_others() {
    let mut rig = Rig::new(100 * KIB).links(1, 0..5);
    rig.way.set_own(rig.now, key(0), rate(5 * KIB));
    rig.way.set_own(rig.now, key(1), rate(KIB));
    let (min, max) = rig.run(Duration::from_secs(30)).windows();
    let limit = 100.0 * 1024.0;
    assert!(min >= limit * 0.98 && max <= limit * 1.02, "{min} {max}");
    let rates: Vec<f64> = (0..5).map(|n| rig.moved(n..n + 1) / 30.0 / 1024.0).collect();
    assert!(close_to(rates[0], 5.0, 0.02) && close_to(rates[1], 1.0, 0.02), "{rates:?}");
    assert!(rates[2..].iter().all(|&rate| close_to(rate, 94.0 / 3.0, 0.1)), "{rates:?}");
}

#[test]
fn all_three_limits_at_once_hold() {
    let mut rig = Rig::new(64 * KIB).links(1, 0..4).links(2, 4..8);
    rig.way.set_torrent(rig.now, key(1), rate(48 * KIB));
    rig.way.set_torrent(rig.now, key(2), rate(48 * KIB));
    for n in 0..8 {
        rig.way.set_own(rig.now, key(n), rate(20 * KIB));
    }
    let (min, max) = rig.run(Duration::from_secs(25)).windows();
    let limit = 64.0 * 1024.0;
    assert!(min >= limit * 0.98 && max <= limit * 1.02, "{min} {max}");
    for torrent in [0..4, 4..8] {
        assert!(close_to(rig.moved(torrent.clone()), limit * 12.5, 0.1), "{}", rig.moved(torrent));
    }
}

#[test]
fn woken_connection_that_cannot_move_takes_no_tokens() {
    let mut rig = Rig::new(MIB).links(1, 0..50);
    for n in 0..49 {
        // They stand in the queue, as a socket that takes nothing does when its turn comes.
        let link = rig.links.get_mut(&key(n)).unwrap();
        link.woken = false;
        let _ = rig.way.ask(rig.now, key(n), link.torrent);
    }
    for n in 0..49 {
        rig.links.get_mut(&key(n)).unwrap().line = 0;
    }
    rig.run(Duration::from_secs(15));
    assert!(close_to(rig.moved(49..50), 15.0 * MIB as f64, 0.02), "{}", rig.moved(49..50));
    // Now all of them can, at the same moment.
    rig.links.values_mut().for_each(|link| link.line = u64::MAX);
    let (min, max) = rig.run(Duration::from_secs(15)).windows();
    assert!(min >= MIB as f64 * 0.98 && max <= MIB as f64 * 1.02, "{min} {max}");
}

#[test]
fn ten_thousand_waiting_connections_get_useful_shares() {
    let mut rig = Rig::new(10 * KIB).links(1, 0..10_000);
    let (min, max) = rig.run(Duration::from_secs(12)).windows();
    assert!(min >= 10.0 * 1024.0 * 0.98 && max <= 10.0 * 1024.0 * 1.02, "{min} {max}");
    assert!(rig.smallest >= 500, "{}", rig.smallest);
    let mut rig = Rig::new(100 * MIB).links(1, 0..10_000);
    rig.run(Duration::from_secs(2));
    assert!(
        rig.smallest >= 1460 && rig.most_woken <= WOKEN_A_TICK,
        "{} {}",
        rig.smallest,
        rig.most_woken
    );
    let slowest = rig.links.values().map(|link| link.moved).min().unwrap();
    assert!(slowest > 0, "everybody had a turn");
}

#[test]
fn empty_queue_needs_no_wake_ups() {
    let mut rig = Rig::new(10 * KIB).links(1, 0..3);
    rig.links.values_mut().for_each(|link| link.demand = 5_000);
    assert_eq!(rig.way.next(), None);
    rig.run(Duration::from_secs(3));
    assert_eq!(rig.moved(0..3), 15_000.0);
    assert_eq!(rig.way.next(), None);
    let ticks = rig.ticks;
    assert!(ticks <= 60, "{ticks}");
    rig.run(Duration::from_secs(3));
    assert_eq!(rig.ticks, ticks);
}

#[test]
fn a_limit_that_is_raised_or_lifted_wakes_at_once() {
    for (engine, torrent, own) in [(1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)] {
        let mut rig = Rig::new(engine).links(1, 0..1);
        rig.way.set_torrent(rig.now, key(1), rate(torrent));
        rig.way.set_own(rig.now, key(0), rate(own));
        rig.run(Duration::from_secs(10));
        assert!((5.0..=12.0).contains(&rig.moved(0..1)), "{}", rig.moved(0..1));
        let set = |rig: &mut Rig, to: u64| {
            rig.way.set_engine(rig.now, rate(if engine > 0 { to } else { 0 }));
            rig.way.set_torrent(rig.now, key(1), rate(if torrent > 0 { to } else { 0 }));
            rig.way.set_own(rig.now, key(0), rate(if own > 0 { to } else { 0 }));
        };
        set(&mut rig, MIB);
        let before = rig.moved(0..1);
        rig.run(Duration::from_millis(500));
        assert!(
            close_to(rig.moved(0..1) - before, MIB as f64 / 2.0, 0.1),
            "{}",
            rig.moved(0..1) - before
        );
        set(&mut rig, 1);
        rig.run(Duration::from_secs(1));
        rig.links.get_mut(&key(0)).unwrap().line = 100 * MIB;
        set(&mut rig, 0);
        let before = rig.moved(0..1);
        rig.run(Duration::from_millis(2));
        assert!(rig.moved(0..1) - before >= 100.0 * MIB as f64, "{}", rig.moved(0..1) - before);
        assert!(!rig.way.is_on() && rig.way.seats.is_empty() && rig.way.groups.is_empty());
    }
}

#[test]
fn lifted_limit_wakes_all_that_waited_for_it() {
    let mut rig = Rig::new(10 * KIB).links(1, 0..5).links(2, 5..105);
    rig.way.set_torrent(rig.now, key(1), rate(5 * KIB));
    rig.run(Duration::from_secs(2));
    // The torrent's own limit stays, and there is always a link that waits for it.
    rig.links.values_mut().for_each(|link| (link.line, link.moved) = (1000, 0));
    rig.way.set_engine(rig.now, None);
    rig.run(Duration::from_millis(100));
    let free = (5..105).filter(|&n| rig.moved(n..n + 1) > 0.0).count();
    assert_eq!(free, 100);
    assert!(rig.moved(0..5) <= 1100.0, "{}", rig.moved(0..5));
}

#[test]
fn handshakes_pass_and_do_not_count() {
    let now = Instant::ZERO;
    let mut way = Way::<Key>::new(now, rate(1));
    way.pass(key(1), 68);
    assert_eq!(way.ask(now, key(1), key(9)), Quota::Bytes(68));
    way.spend(now, key(1), key(9), 60);
    assert_eq!(way.ask(now, key(1), key(9)), Quota::Bytes(8));
    way.spend(now, key(1), key(9), 8);
    assert_eq!(way.ask(now, key(1), key(9)), Quota::Wait(For::Shared));
    let mut woken = Vec::new();
    way.tick(Instant::from_micros(1_000_000), &mut woken);
    assert_eq!(woken, [key(1)]);
    assert_eq!(way.ask(Instant::from_micros(1_000_000), key(1), key(9)), Quota::Bytes(1));
}

#[test]
fn random_limits_forget_no_connection_and_overspend_nothing() {
    for seed in 0..30 {
        let mut rng = Rng::new(seed);
        let mut rig = Rig::new(0);
        let mut born = 0;
        for _ in 0..200 {
            let now = rig.now;
            let some = rate([0, 1, 1000, 50_000, 10_000_000][rng.below(5) as usize]);
            match rng.below(8) {
                0 => rig.way.set_engine(now, some),
                1 => rig.way.set_torrent(now, key(1_000_000 + rng.below(3) as u32), some),
                2 => rig.way.set_own(
                    now,
                    key(rng.below(born + 1) as u32),
                    some.filter(|_| rng.below(2) > 0),
                ),
                3 => {
                    let gone = key(rng.below(born + 1) as u32);
                    rig.links.remove(&gone);
                    rig.way.forget(gone);
                }
                _ if rig.links.len() < 40 => {
                    let torrent = key(1_000_000 + rng.below(3) as u32);
                    let line = 1 + rng.below(3000);
                    rig.links.insert(
                        key(born as u32),
                        Link { torrent, demand: u64::MAX, line, socket: 0, moved: 0, woken: true },
                    );
                    born += 1;
                }
                _ => {}
            }
            rig.run(Duration::from_millis(rng.below(60)));
        }
        // In the end there is enough for everybody.
        rig.way.set_engine(rig.now, rate(50_000_000));
        (0..3).for_each(|n| rig.way.set_torrent(rig.now, key(1_000_000 + n), None));
        (0..=born as u32).for_each(|n| rig.way.set_own(rig.now, key(n), None));
        rig.links.values_mut().for_each(|link| (link.line, link.moved) = (1000, 0));
        rig.steps.clear();
        rig.run(Duration::from_secs(2));
        assert!(rig.links.values().all(|link| link.moved > 100_000), "seed {seed}");
        let spent: u64 = rig.steps.iter().sum();
        assert!(spent <= 105_000_000, "seed {seed}: {spent}");
    }
}
