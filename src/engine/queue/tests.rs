//! The queue alone: what it decides is held against what it should decide, worked out from scratch.

use proptest::prelude::*;

use super::*;
use crate::torrent::queue_request::Check;

fn key(n: u32) -> Key {
    Key { index: n, generation: n }
}

fn at(s: u64) -> Instant {
    Instant::from_micros(s * 1_000_000)
}

const TURN: Duration = Duration::from_secs(1800);

/// A torrent as the queue knows it.
#[derive(Clone, Copy, Debug)]
struct Fake {
    queued: bool,
    whole: bool,
    paused: bool,
    failing: bool,
    held: bool,
    rate: u64,
    order: Option<u64>,
}

/// The queue with its torrents, which do as they are told.
struct Bed {
    queue: Queue,
    now: Instant,
    torrents: BTreeMap<Key, Fake>,
}

impl Bed {
    fn new(downloads: usize, seeds: usize, total: usize) -> Self {
        let queue = Queue::new(ActiveLimits { downloads, seeds, total, checks: 1 });
        Self { queue, now: at(0), torrents: BTreeMap::new() }
    }

    fn add(&mut self, n: u32) {
        let fake = Fake {
            queued: true,
            whole: false,
            paused: false,
            failing: false,
            held: true,
            rate: 1_000_000,
            order: None,
        };
        self.torrents.insert(key(n), fake);
        self.tell(key(n));
    }

    fn change(&mut self, n: u32, change: impl FnOnce(&mut Fake)) {
        if let Some(fake) = self.torrents.get_mut(&key(n)) {
            change(fake);
            self.tell(key(n));
        }
    }

    fn tell(&mut self, key: Key) {
        let f = self.torrents[&key];
        let lane = if f.whole { Lane::Seed } else { Lane::Download };
        let could_run = !f.paused && !f.failing;
        self.queue.handle_request(
            self.now,
            key,
            QueueRequest {
                check: Check::No,
                queued: f.queued,
                lane,
                could_run,
                held: f.held,
                order: f.order,
            },
        );
        self.obey();
    }

    fn obey(&mut self) {
        while let Some((key, held)) = self.queue.poll_verdict() {
            self.torrents.get_mut(&key).unwrap().held = held;
        }
    }

    fn remove(&mut self, n: u32) {
        if self.torrents.remove(&key(n)).is_some() {
            self.queue.remove(self.now, key(n));
            self.obey();
        }
    }

    fn pass(&mut self, time: u64) {
        let end = self.now + Duration::from_secs(time);
        while let Some(look) = self.queue.look_at().filter(|&look| look <= end) {
            self.now = look;
            let Self { queue, torrents, .. } = self;
            queue.look(look, 2048, TURN, |key, _| torrents[&key].rate);
            self.obey();
        }
        self.now = end;
    }

    /// Those that run, of those that the queue looks after.
    fn running(&self) -> Vec<u32> {
        let runs = |f: &Fake| f.queued && !f.paused && !f.failing && !f.held;
        self.torrents.iter().filter(|(_, f)| runs(f)).map(|(key, _)| key.index).collect()
    }

    fn order(&self) -> Vec<u32> {
        self.queue.order().map(|key| key.index).collect()
    }

    /// What must hold at any time.
    fn check(&self) {
        let order = self.order();
        let queued =
            |whole| self.torrents.iter().filter(move |(_, f)| f.queued && f.whole == whole);
        // Positions are dense, and each download has one.
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, queued(false).map(|(key, _)| key.index).collect::<Vec<_>>());
        for (position, &n) in order.iter().enumerate() {
            assert_eq!(self.queue.position(key(n)), Some(position));
        }
        assert!(queued(true).all(|(&key, _)| self.queue.position(key).is_none()));
        // Who runs is who should: the first ones, as many as may.
        let limits = self.queue.limits();
        let mut seeds: Vec<(u64, Key)> =
            queued(true).map(|(&key, _)| (self.queue.entries[&key].ord, key)).collect();
        seeds.sort_unstable();
        let mut expected = Vec::new();
        let lanes = [
            (limits.downloads, order.iter().map(|&n| key(n)).collect()),
            (limits.seeds, seeds.into_iter().map(|s| s.1).collect()),
        ];
        for (limit, keys) in lanes {
            let keys: Vec<Key> = keys;
            let mut counted = 0;
            for key in keys {
                let f = self.torrents[&key];
                if f.paused || f.failing || expected.len() >= limits.total {
                    continue;
                }
                if self.queue.entries[&key].place == Place::Slow {
                    expected.push(key.index);
                } else if counted < limit {
                    counted += 1;
                    expected.push(key.index);
                }
            }
        }
        expected.sort_unstable();
        assert_eq!(self.running(), expected, "{:?}", self.queue);
        // Everybody is where its place is, once.
        let lines = [&self.queue.downloads, &self.queue.seeds];
        let placed: usize = lines.iter().map(|line| line.waiting.len() + line.active()).sum();
        assert_eq!(
            placed,
            self.torrents.values().filter(|f| f.queued && !f.paused && !f.failing).count()
        );
    }
}

#[test]
fn first_by_position_run_and_the_next_follows() {
    let mut bed = Bed::new(2, 1, 10);
    (0..5).for_each(|n| bed.add(n));
    assert_eq!(bed.running(), [0, 1]);
    bed.change(0, |f| f.whole = true);
    assert_eq!(
        (bed.running(), bed.order()),
        (vec![0, 1, 2], vec![1, 2, 3, 4]),
        "it goes on as a seed"
    );
    bed.change(1, |f| f.paused = true);
    assert_eq!(bed.running(), [0, 2, 3]);
    bed.change(2, |f| f.failing = true);
    assert_eq!(bed.running(), [0, 3, 4]);
    // It comes back before those who took its place.
    bed.change(2, |f| f.failing = false);
    assert_eq!(bed.running(), [0, 2, 3]);
    bed.remove(3);
    assert_eq!(bed.running(), [0, 2, 4]);
    bed.change(1, |f| (f.paused, f.held) = (false, true));
    assert_eq!((bed.running(), bed.order()), (vec![0, 1, 2], vec![1, 2, 4]));
    bed.change(4, |f| (f.queued, f.held) = (false, false));
    assert_eq!((bed.order(), bed.queue.position(key(4))), (vec![1, 2], None));
    bed.check();
}

#[test]
fn a_position_decides_at_once() {
    let mut bed = Bed::new(1, 1, 10);
    (0..4).for_each(|n| bed.add(n));
    for (n, to, order, running) in [
        (3, 0, [3, 0, 1, 2], 3),
        (3, 1, [0, 3, 1, 2], 0),
        (0, usize::MAX, [3, 1, 2, 0], 3),
        (2, 1, [3, 2, 1, 0], 3),
        (3, 0, [3, 2, 1, 0], 3),
    ] {
        assert!(bed.queue.move_to(at(0), key(n), to));
        bed.obey();
        assert_eq!((bed.order(), bed.running()), (order.to_vec(), vec![running]));
        bed.check();
    }
    assert!(!bed.queue.move_to(at(0), key(9), 0));
}

#[test]
fn queue_order_always_has_room_between_two_neighbours() {
    let mut bed = Bed::new(1, 1, 10);
    (0..4).for_each(|n| bed.add(n));
    for _ in 0..200 {
        // The two last come between the two first, again and again.
        assert!(bed.queue.move_to(at(0), key(2), 1) && bed.queue.move_to(at(0), key(3), 1));
        bed.obey();
        bed.check();
    }
    for _ in 0..200 {
        assert!(bed.queue.move_to(at(0), key(2), 0) && bed.queue.move_to(at(0), key(3), 0));
        bed.obey();
    }
    bed.check();
}

#[test]
fn slow_torrent_does_not_count_after_a_minute() {
    let mut bed = Bed::new(2, 2, 3);
    (0..5).for_each(|n| bed.add(n));
    bed.change(1, |f| f.rate = 2047);
    bed.pass(60);
    assert_eq!(bed.running(), [0, 1]);
    bed.pass(20);
    assert_eq!(bed.running(), [0, 1, 2]);
    // Not even the slow may be more than there is room for.
    bed.change(2, |f| f.rate = 0);
    bed.pass(100);
    assert_eq!(bed.running(), [0, 1, 2]);
    bed.change(1, |f| f.rate = 1_000_000);
    bed.change(2, |f| f.rate = 1_000_000);
    bed.pass(10);
    assert_eq!(bed.running(), [0, 1]);
    bed.check();
}

#[test]
fn seeds_take_turns_while_others_wait() {
    let mut bed = Bed::new(1, 2, 10);
    (0..5).for_each(|n| bed.add(n));
    (0..5).for_each(|n| bed.change(n, |f| f.whole = true));
    assert_eq!(bed.running(), [0, 1]);
    let mut seen = Vec::new();
    for _ in 0..5 {
        bed.pass(TURN.as_secs());
        bed.check();
        seen.push(bed.running());
    }
    assert_eq!(seen, [[2, 3], [0, 4], [1, 2], [3, 4], [0, 1]].map(|pair| pair.to_vec()));
    // No torrent waits: the queue does not look.
    bed.remove(0);
    bed.remove(1);
    bed.remove(2);
    assert_eq!((bed.running(), bed.queue.look_at()), (vec![3, 4], None));
}

#[test]
fn downloads_come_before_seeds_when_there_is_room_for_few() {
    let mut bed = Bed::new(3, 3, 3);
    (0..3).for_each(|n| bed.add(n));
    (0..3).for_each(|n| bed.change(n, |f| f.whole = true));
    bed.add(3);
    assert_eq!(bed.running(), [0, 1, 3]);
    bed.add(4);
    bed.add(5);
    bed.add(6);
    assert_eq!(bed.running(), [3, 4, 5]);
    bed.queue.set_limits(at(1), ActiveLimits { downloads: 1, seeds: 1, total: 1, checks: 1 });
    bed.obey();
    assert_eq!(bed.running(), [3]);
    bed.queue.set_limits(at(1), ActiveLimits { downloads: 0, seeds: 5, total: 5, checks: 1 });
    bed.obey();
    assert_eq!(bed.running(), [0, 1, 2]);
}

#[test]
fn order_of_another_run_is_kept_however_torrents_are_added() {
    let mut bed = Bed::new(1, 1, 10);
    (0..6).for_each(|n| bed.add(n));
    for (n, to) in [(5, 0), (2, 4), (0, 1), (4, 0)] {
        bed.queue.move_to(at(0), key(n), to);
    }
    bed.obey();
    let (order, ords) = (bed.order(), bed.queue.order.clone());
    let mut again = Bed::new(1, 1, 10);
    for n in 0..6 {
        let fake =
            Fake { order: bed.queue.download_ord(key(n)), held: true, ..bed.torrents[&key(n)] };
        again.torrents.insert(key(n), fake);
        again.tell(key(n));
        again.check();
    }
    assert_eq!((again.order(), &again.queue.order), (order, &ords));
    // The same number twice, the greatest and the least: everybody finds a place.
    for (n, ord) in [
        (10, ords[2].0),
        (11, ords[2].0),
        (12, u64::MAX),
        (13, u64::MAX),
        (14, 0),
        (15, 0),
        (16, ords[5].0),
    ] {
        let fake = Fake { order: Some(ord), held: true, ..bed.torrents[&key(0)] };
        again.torrents.insert(key(n), fake);
        again.tell(key(n));
        again.check();
    }
    again.add(20);
    again.check();
    assert_eq!(again.order().last(), Some(&20));
}

#[test]
fn queue_of_ten_thousand_decides_like_a_small_one() {
    let mut bed = Bed::new(3, 5, 500);
    (0..10_000).for_each(|n| bed.add(n));
    (0..9_000).for_each(|n| bed.change(n, |f| f.whole = true));
    assert_eq!(bed.running().len(), 8);
    bed.check();
}

#[derive(Clone, Debug)]
enum Op {
    Add(u32),
    Remove(u32),
    Pause(u32),
    Resume(u32),
    Finish(u32),
    Recheck(u32),
    Fail(u32, bool),
    Queued(u32, bool),
    Rate(u32, u64),
    Move(u32, usize),
    Limits(usize, usize, usize),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let n = 0..12u32;
    prop_oneof![
        4 => n.clone().prop_map(Op::Add),
        1 => n.clone().prop_map(Op::Remove),
        2 => n.clone().prop_map(Op::Pause),
        2 => n.clone().prop_map(Op::Resume),
        3 => n.clone().prop_map(Op::Finish),
        1 => n.clone().prop_map(Op::Recheck),
        2 => (n.clone(), any::<bool>()).prop_map(|(n, on)| Op::Fail(n, on)),
        1 => (n.clone(), any::<bool>()).prop_map(|(n, on)| Op::Queued(n, on)),
        3 => (n.clone(), prop_oneof![Just(0u64), Just(1_000_000u64)])
            .prop_map(|(n, rate)| Op::Rate(n, rate)),
        3 => (n, 0..14usize).prop_map(|(n, to)| Op::Move(n, to)),
        1 => (0..4usize, 0..4usize, 0..6usize).prop_map(|(d, s, t)| Op::Limits(d, s, t)),
        4 => (1..2000u64).prop_map(Op::Pass),
    ]
}

#[test]
fn slow_downloads_fill_the_total_before_seeds_have_a_turn() {
    let mut bed = Bed::new(1, 1, 3);
    for n in 1..=5 {
        bed.add(n);
    }
    for n in [1, 2] {
        bed.change(n, |f| f.whole = true);
    }
    for n in [3, 4] {
        bed.change(n, |f| f.rate = 0);
    }
    bed.pass(300);
    assert_eq!(bed.running(), [3, 4, 5]);
    // One that is fast again makes room: others do not run beside it.
    bed.change(4, |f| f.rate = 1_000_000);
    bed.pass(300);
    assert_eq!(bed.running(), [1, 3, 4]);
    bed.check();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn random_events_leave_the_right_torrents_running(
        ops in proptest::collection::vec(op(), 1..120)
    ) {
        let mut bed = Bed::new(2, 2, 5);
        for op in ops {
            match op {
                Op::Add(n) if !bed.torrents.contains_key(&key(n)) => bed.add(n),
                Op::Add(_) => {}
                Op::Remove(n) => bed.remove(n),
                Op::Pause(n) => bed.change(n, |f| (f.paused, f.held) = (true, f.queued)),
                Op::Resume(n) => bed.change(n, |f| f.paused = false),
                Op::Finish(n) => bed.change(n, |f| f.whole |= !f.held && !f.paused),
                Op::Recheck(n) => bed.change(n, |f| f.whole = false),
                Op::Fail(n, on) => bed.change(n, |f| f.failing = on),
                Op::Queued(n, on) => bed.change(n, |f| {
                    if f.queued != on {
                        (f.queued, f.held) = (on, on && (f.paused || f.failing))
                    }
                }),
                Op::Rate(n, rate) => bed.change(n, |f| f.rate = rate),
                Op::Move(n, to) => {
                    bed.queue.move_to(bed.now, key(n), to);
                    bed.obey();
                }
                Op::Limits(downloads, seeds, total) => {
                    let limits = ActiveLimits { downloads, seeds, total, checks: 1 };
                    bed.queue.set_limits(bed.now, limits);
                    bed.obey();
                }
                Op::Pass(time) => bed.pass(time),
            }
            bed.check();
        }
        // No seed starves: every seed that could run does within one turn of each.
        let limits = bed.queue.limits();
        let seeds: Vec<Key> = bed
            .torrents
            .iter()
            .filter(|(_, f)| f.whole && f.queued && !f.paused && !f.failing)
            .map(|(&k, _)| k)
            .collect();
        let downloads = bed.running().iter().filter(|&&n| !bed.torrents[&key(n)].whole).count();
        // Downloads come first, and each slow one lets another begin: where they can fill the
        // total, seeds may well wait.
        let could_run = |f: &Fake| !f.whole && f.queued && !f.paused && !f.failing;
        let slow = bed.torrents.values().filter(|f| could_run(f) && f.rate < 2048).count();
        if limits.seeds > 0 && limits.total > downloads.max(slow) + limits.downloads {
            let mut ran: BTreeSet<Key> = BTreeSet::new();
            for _ in 0..(seeds.len() as u64 * (TURN.as_secs() + 20) / 10) {
                bed.pass(10);
                bed.check();
                ran.extend(seeds.iter().filter(|key| !bed.torrents[key].held));
            }
            prop_assert_eq!(ran.len(), seeds.len());
        }
    }
}
