//! The policy as tables: rows in, grants out, alone and over hours of rounds.

use std::fmt::Write;

use super::*;

fn at(s: u64) -> Instant {
    Instant::from_micros(s * 1_000_000)
}

/// The address of the `nth` host.
fn host(nth: u32) -> IpAddr {
    std::net::Ipv4Addr::from_bits(0x0A00_0000 + nth).into()
}

fn row(index: u32) -> Row {
    Row {
        key: Key { index, generation: index + 1 },
        host: host(index),
        host_served: at(0),
        wants: true,
        slot: Slot::None,
        since: at(0),
        newcomer: false,
        snubbed: false,
        stalled: false,
        from: 0,
        to: 0,
        sent: 0,
        progress: 0,
    }
}

fn rules(mode: Mode, slots: usize) -> Rules {
    Rules::new(mode, slots, &Conf::default())
}

/// Grants as text: the index of each, then of those on trial, with a question mark.
fn grants(rows: &[Row], rules: &Rules, now: u64) -> String {
    let mut grants = decide(rows, rules, at(now), &mut Rng::new(1));
    grants.sort_unstable_by_key(|g| (g.optimistic, g.key));
    let text = |g: &Grant| format!("{}{}", g.key.index, if g.optimistic { "?" } else { "" });
    grants.iter().map(text).collect::<Vec<_>>().join(" ")
}

/// Many rounds: who is unchoked changes, and is counted.
struct Rounds {
    rows: Vec<Row>,
    rules: Rules,
    rng: Rng,
    now: u64,
    /// Of each: seconds with a slot, and chokes and unchokes.
    served: Vec<u64>,
    changes: Vec<u32>,
}

impl Rounds {
    fn new(count: u32, rules: Rules) -> Self {
        let rows: Vec<Row> = (0..count).map(row).collect();
        let (served, changes) = (vec![0; rows.len()], vec![0; rows.len()]);
        Self { rows, rules, rng: Rng::new(7), now: 0, served, changes }
    }

    /// Rounds for so many seconds. Before each, `world` says what has happened to a peer in the
    /// last ten.
    fn run(&mut self, secs: u64, mut world: impl FnMut(&mut Row, &mut Rng)) {
        for _ in 0..secs / 10 {
            let grants = decide(&self.rows, &self.rules, at(self.now), &mut self.rng);
            assert!(grants.len() <= self.rules.slots);
            let losing = |row: &&Row| row.is_unchoked() && !grants.iter().any(|g| g.key == row.key);
            let served: Vec<IpAddr> = self.rows.iter().filter(losing).map(|row| row.host).collect();
            for (n, row) in self.rows.iter_mut().enumerate() {
                if served.contains(&row.host) {
                    row.host_served = at(self.now);
                }
                let grant = grants.iter().find(|g| g.key == row.key);
                let slot = Slot::new(grant.is_some(), grant.is_some_and(|g| g.optimistic));
                let was_unchoked = row.is_unchoked();
                row.slot = slot;
                if was_unchoked != row.is_unchoked() {
                    assert!(
                        !was_unchoked || at(self.now).since(row.since) >= self.rules.hold,
                        "choked too soon"
                    );
                    *row = Row { since: at(self.now), sent: 0, newcomer: false, ..*row };
                    self.changes[n] += 1;
                }
                self.served[n] += if row.is_unchoked() { 10 } else { 0 };
                world(row, &mut self.rng);
            }
            self.now += 10;
        }
    }
}

#[test]
fn slots_grow_with_the_root_of_the_limit() {
    let kib = |n: u64| auto_slots(Some(n * 1024));
    assert_eq!(
        [0, 1, 11, 16, 42, 100, 400, 1024, 1 << 40].map(kib),
        [2, 2, 2, 3, 5, 7, 15, 24, 64]
    );
    assert_eq!(auto_slots(None), 64);
    assert_eq!([0, 1, 2, 4, 8, 10, 64].map(optimistic_slots), [0, 1, 1, 1, 1, 2, 12]);
}

#[test]
fn interested_peer_is_unchoked_while_slots_are_free() {
    let rows: Vec<Row> = (0..4).map(|n| Row { snubbed: n == 1, ..row(n) }).collect();
    assert_eq!(grants(&rows, &rules(Mode::TitForTat, 4), 0), "0 1 2 3");
    assert_eq!(grants(&rows, &rules(Mode::TitForTat, 0), 0), "");
}

#[test]
fn best_giver_is_unchoked_and_one_peer_by_lot() {
    let gives = [50, 90, 0, 70, 60, 100, 10, 80];
    let mut rows: Vec<Row> = (0..8).map(|n| Row { from: gives[n as usize], ..row(n) }).collect();
    assert_eq!(grants(&rows, &rules(Mode::TitForTat, 4), 100), "1 5 7 0?");
    rows[5].snubbed = true;
    assert_eq!(
        grants(&rows, &rules(Mode::TitForTat, 4), 100),
        "1 3 7 0?",
        "a snubbing peer has earned nothing"
    );
    rows[1].wants = false;
    rows[1].slot = Slot::Regular;
    assert_eq!(
        grants(&rows, &rules(Mode::TitForTat, 4), 100),
        "3 4 7 0?",
        "a slot is for a peer that wants it"
    );
}

#[test]
fn small_differences_do_not_swap_and_large_ones_do() {
    let rows = |challenger| {
        let mut rows: Vec<Row> =
            (0..4).map(|n| Row { from: 100, slot: Slot::new(n < 2, false), ..row(n) }).collect();
        rows[3].from = challenger;
        rows
    };
    // Two slots: one is earned. 0 and 1 are equals; 2 or 3 may be drawn for the other one.
    assert!(grants(&rows(124), &rules(Mode::TitForTat, 2), 100).starts_with("0 "));
    assert!(grants(&rows(126), &rules(Mode::TitForTat, 2), 100).starts_with("3 "));
}

#[test]
fn peer_keeps_its_slot_for_the_minimum_time() {
    let mut rows: Vec<Row> = (0..5).map(|n| Row { from: 100 * u64::from(n), ..row(n) }).collect();
    rows[0] = Row { slot: Slot::Regular, since: at(95), ..rows[0] };
    assert_eq!(grants(&rows, &rules(Mode::TitForTat, 3), 100), "3 4 0?");
    assert_eq!(grants(&rows, &rules(Mode::TitForTat, 3), 104), "3 4 0?");
    // From then on it is on trial like others, and has had that after half a minute.
    assert_eq!(grants(&rows, &rules(Mode::TitForTat, 3), 124), "3 4 0?");
    assert_eq!(grants(&rows, &rules(Mode::TitForTat, 3), 125), "3 4 1?");
}

#[test]
fn free_slot_is_filled_between_rounds_without_a_choke() {
    let mut rows: Vec<Row> = (0..6)
        .map(|n| Row { from: 100 * u64::from(n), slot: Slot::new(n < 2, false), ..row(n) })
        .collect();
    let filling = rules(Mode::TitForTat, 3).filling();
    assert_eq!(grants(&rows, &filling, 100), "5 0? 1?");
    rows[2] = Row { slot: Slot::Regular, wants: false, ..rows[2] };
    assert_eq!(grants(&rows, &filling, 100), "5 0? 1?", "what no peer wants is free");
}

#[test]
fn unused_slot_is_kept_while_no_peer_waits() {
    let mut rows: Vec<Row> = (0..4).map(row).collect();
    rows[1] = Row { wants: false, slot: Slot::Regular, ..rows[1] };
    rows[2] = Row { wants: false, ..rows[2] };
    rows[3].slot = Slot::Regular;
    assert_eq!(grants(&rows, &rules(Mode::TitForTat, 3), 0), "0 1 3");
    assert_eq!(grants(&rows, &rules(Mode::TitForTat, 2), 0), "0 3");
}

#[test]
fn a_newcomer_is_three_times_as_likely_to_be_tried() {
    let rows: Vec<Row> = (0..10).map(|n| Row { newcomer: n < 2, ..row(n) }).collect();
    let mut rng = Rng::new(1);
    let mut drawn = [0; 10];
    for _ in 0..14_000 {
        for grant in decide(&rows, &rules(Mode::TitForTat, 1), at(0), &mut rng) {
            drawn[grant.key.index as usize] += 1;
        }
    }
    // Fourteen lots: 3000 for each newcomer, 1000 for each of the others.
    assert!(drawn[..2].iter().all(|n| (2850..3150).contains(n)), "{drawn:?}");
    assert!(drawn[2..].iter().all(|n| (900..1100).contains(n)), "{drawn:?}");
}

#[test]
fn a_free_rider_gets_the_optimistic_share_and_no_more() {
    // Nineteen give, one does not; four slots, three of them earned. The fourth goes round among
    // the seventeen that have none.
    let mut rounds = Rounds::new(20, rules(Mode::TitForTat, 4));
    for row in rounds.rows.iter_mut().skip(1) {
        row.from = 1000 + u64::from(row.key.index) * 100;
    }
    rounds.run(100 * 3600, |_, _| {});
    let share = rounds.served[0] as f64 / (4.0 * rounds.now as f64);
    let fair = 1.0 / 4.0 / 17.0;
    assert!(
        (share / fair - 1.0).abs() < 0.1,
        "{share} of the slots, {fair} is the optimistic share"
    );
}

#[test]
fn an_hour_of_noise_makes_few_changes() {
    // Rates as they are in practice: each some steps apart, and each wavering by up to a tenth.
    let mut table = String::new();
    for (name, mode) in
        [("tit for tat", Mode::TitForTat), ("fastest", Mode::Seed(SeedChoking::FastestUpload))]
    {
        let mut rounds = Rounds::new(12, rules(mode, 5));
        rounds.run(3600, |row, rng| {
            let steady = 10_000 + 1_500 * u64::from(row.key.index);
            let now = steady * (90 + rng.below(21)) / 100;
            (row.from, row.to) = (now, if row.is_unchoked() { now } else { 0 });
        });
        writeln!(table, "{name}: {:?}", rounds.changes).unwrap();
    }
    print!("{table}");
    let want = "\
tit for tat: [26, 24, 30, 28, 28, 38, 40, 31, 1, 1, 1, 1]
fastest: [26, 24, 30, 28, 26, 38, 36, 31, 1, 1, 1, 1]
";
    // A trial every half minute makes 240 changes among those who have not earned a slot; the
    // others have theirs for good.
    assert_eq!(table, want);
}

#[test]
fn seed_serves_peers_in_turns() {
    // Ten want what four can have; odd ones take ten times as much, and the last asks for nothing.
    let mut rounds = Rounds::new(10, rules(Mode::Seed(SeedChoking::RoundRobin), 4));
    let mut now = 0;
    rounds.run(3600, |row, _| {
        now += if row.key.index == 0 { 10 } else { 0 };
        row.stalled = row.key.index == 9
            && row.is_unchoked()
            && at(now).since(row.since) >= Duration::from_secs(30);
        if row.is_unchoked() && row.key.index != 9 {
            row.sent += if row.key.index % 2 == 0 { 200_000 } else { 2_000_000 };
        }
    });
    println!("{:?} {:?}", rounds.served, rounds.changes);
    // Slow peers have turns of two minutes, fast ones of one, and a peer that takes nothing of half
    // of one.
    assert_eq!(rounds.served, [1950, 1200, 1920, 1200, 1800, 1200, 1740, 1080, 1740, 570]);
    assert_eq!(rounds.changes.iter().max(), Some(&40));
}

#[test]
fn stalled_peer_has_a_slot_only_if_it_is_left() {
    let mut rows: Vec<Row> =
        (0..4).map(|n| Row { slot: Slot::new(n < 2, false), stalled: n < 2, ..row(n) }).collect();
    for mode in [
        Mode::TitForTat,
        Mode::Seed(SeedChoking::RoundRobin),
        Mode::Seed(SeedChoking::FastestUpload),
    ] {
        assert_eq!(grants(&rows, &rules(mode, 2), 100), "2 3", "{mode:?}");
        assert_eq!(grants(&rows, &rules(mode, 3), 100), "0 2 3", "{mode:?}");
        assert_eq!(grants(&rows, &rules(mode, 9), 100), "0 1 2 3", "{mode:?}");
    }
    // One that gives has paid for it.
    let paid = [Row { from: 9, ..rows[0] }, rows[1], rows[2], rows[3]];
    assert!(grants(&paid, &rules(Mode::TitForTat, 2), 100).starts_with("0 "));
    assert_eq!(grants(&paid, &rules(Mode::Seed(SeedChoking::RoundRobin), 2), 100), "2 3");
    // One that has just been let in has its ten seconds.
    rows[0].since = at(95);
    assert_eq!(grants(&rows, &rules(Mode::Seed(SeedChoking::RoundRobin), 2), 100), "0 2");
}

#[test]
fn anti_leech_serves_peers_near_begin_and_end_first() {
    let progress = [0, 120, 300, 450, 550, 700, 880, 1000, 30];
    let rows: Vec<Row> = (0..9).map(|n| Row { progress: progress[n as usize], ..row(n) }).collect();
    assert_eq!(grants(&rows, &rules(Mode::Seed(SeedChoking::AntiLeech), 4), 100), "0 7 8 4?");
    assert_eq!(grants(&rows, &rules(Mode::Seed(SeedChoking::AntiLeech), 7), 100), "0 1 2 6 7 8 4?");
}

/// Rounds with `many` connections of one host, and `others` of a host each; the seconds that the
/// one has, and the others.
fn crowded(
    many: u32,
    others: u32,
    rules: Rules,
    mut world: impl FnMut(&mut Row, &mut Rng),
) -> (u64, Vec<u64>) {
    let mut rounds = Rounds::new(many + others, rules);
    rounds.rows.iter_mut().take(many as usize).for_each(|row| row.host = host(0));
    rounds.run(4 * 3600, |row, rng| world(row, rng));
    let (one, others) = rounds.served.split_at(many as usize);
    println!("{one:?} {others:?}");
    (one.iter().sum(), others.to_vec())
}

#[test]
fn host_with_many_connections_gets_one_hosts_share() {
    for policy in [SeedChoking::RoundRobin, SeedChoking::FastestUpload, SeedChoking::AntiLeech] {
        let takes = |row: &mut Row, _: &mut Rng| {
            if row.is_unchoked() {
                (row.sent, row.to) = (row.sent + 2_000_000, 200_000);
            } else {
                row.to = 0;
            }
        };
        let (one, others) = crowded(30, 10, rules(Mode::Seed(policy), 4), takes);
        // A fast peer keeps its slot, one of four.
        let most = if policy == SeedChoking::FastestUpload {
            4 * 3600 + 600
        } else {
            others.iter().max().unwrap() * 5 / 4
        };
        assert!(one <= most, "{policy:?}: {one} s for one, {others:?} for others");
        assert!(others.iter().all(|&s| s > 0), "{policy:?}: {others:?}");
    }
}

#[test]
fn peers_of_one_address_are_served_in_turns() {
    let mut rounds = Rounds::new(12, rules(Mode::Seed(SeedChoking::RoundRobin), 3));
    rounds.rows.iter_mut().take(6).for_each(|row| row.host = host(0));
    rounds.run(10 * 3600, |row, _| row.sent += if row.is_unchoked() { 2_000_000 } else { 0 });
    let (one, others) = rounds.served.split_at(6);
    let (least, most) = (one.iter().min().unwrap(), one.iter().max().unwrap());
    assert!(most - least <= 120 && others.iter().all(|s| s > most), "{one:?} {others:?}");
}

#[test]
fn slot_wanted_by_one_host_only_is_not_left_empty() {
    let modes = [SeedChoking::RoundRobin, SeedChoking::FastestUpload, SeedChoking::AntiLeech]
        .map(Mode::Seed);
    for mode in modes.into_iter().chain([Mode::TitForTat]) {
        let mut rows: Vec<Row> = (0..9)
            .map(|n| Row { host: host(u32::from(n == 8)), from: 10, to: 10, ..row(n) })
            .collect();
        let decided = |rows: &[Row]| decide(rows, &rules(mode, 5), at(100), &mut Rng::new(1));
        let all = decided(&rows);
        assert!(all.len() == 5 && all.iter().any(|g| g.key == rows[8].key), "{mode:?}: {all:?}");
        rows.truncate(8);
        assert_eq!(decided(&rows).len(), 5, "{mode:?}");
    }
}

#[test]
fn giving_host_may_have_several_slots_but_not_all() {
    let mut rows: Vec<Row> = (0..12u32)
        .map(|n| Row {
            host: host(n.saturating_sub(7)),
            from: 100,
            slot: Slot::new(n < 5, false),
            ..row(n)
        })
        .collect();
    rows.iter_mut().skip(8).for_each(|row| row.from = 0);
    let granted = decide(&rows, &rules(Mode::TitForTat, 5), at(100), &mut Rng::new(1));
    let of_the_one = granted.iter().filter(|g| g.key.index < 8).count();
    assert_eq!((granted.len(), of_the_one), (5, 2), "{granted:?}");
}

#[test]
fn host_limit_does_not_apply_without_other_waiting_hosts() {
    let modes = [SeedChoking::RoundRobin, SeedChoking::FastestUpload, SeedChoking::AntiLeech]
        .map(Mode::Seed);
    let mut rng = Rng::new(5);
    for n in 0..400 {
        let mode = if n % 2 == 0 { Mode::TitForTat } else { modes[n / 2 % 3] };
        let mut rows: Vec<Row> = (0..12)
            .map(|n| {
                let (from, to, since) = (rng.below(3) * 50, rng.below(3) * 50, at(rng.below(100)));
                let (unchoked, optimistic) = (rng.below(2) == 0, rng.below(3) == 0);
                Row {
                    from,
                    to,
                    since,
                    slot: Slot::new(unchoked, optimistic),
                    progress: rng.below(1000) as u32,
                    ..row(n)
                }
            })
            .collect();
        let among_many = decide(&rows, &rules(mode, 5), at(100), &mut Rng::new(1));
        rows.iter_mut().for_each(|row| row.host = host(0));
        let among_one = decide(&rows, &rules(mode, 5), at(100), &mut Rng::new(1));
        // Who is drawn by lot among one is who has waited longest.
        let earned = |grants: &[Grant]| {
            let mut earned: Vec<Grant> = grants.iter().copied().filter(|g| !g.optimistic).collect();
            earned.sort_unstable();
            earned
        };
        assert_eq!(
            (among_one.len(), earned(&among_one)),
            (among_many.len(), earned(&among_many)),
            "{mode:?} {rows:?}"
        );
    }
}

#[test]
fn one_host_draws_no_more_lots_than_another() {
    let rows: Vec<Row> = (0..30u32)
        .map(|n| Row { host: host(n.saturating_sub(20)), newcomer: n < 21, ..row(n) })
        .collect();
    let mut rng = Rng::new(1);
    let mut drawn = 0;
    for _ in 0..12_000 {
        let granted = decide(&rows, &rules(Mode::TitForTat, 1), at(0), &mut rng);
        drawn += granted.iter().filter(|g| g.key.index < 21).count();
    }
    // Three lots of twelve.
    assert!((2850..3150).contains(&drawn), "{drawn}");
}

#[test]
fn any_rows_give_grants_that_keep_the_rules() {
    let mut rng = Rng::new(3);
    let modes = [SeedChoking::RoundRobin, SeedChoking::FastestUpload, SeedChoking::AntiLeech]
        .map(Mode::Seed);
    for n in 0..3000 {
        let mode = if n % 2 == 0 { Mode::TitForTat } else { modes[n / 2 % 3] };
        let rules = rules(mode, rng.below(12) as usize);
        let rows: Vec<Row> = (0..rng.below(30) as u32)
            .map(|n| {
                let mut flag = || rng.below(2) == 0;
                let (wants, unchoked, optimistic, newcomer, snubbed) =
                    (flag(), flag(), flag(), flag(), flag());
                let since = at(rng.below(200));
                let (from, to, sent) = (rng.below(3) * 50, rng.below(3) * 50, rng.below(2) << 24);
                let progress = rng.below(1200) as u32;
                let (host, host_served) = (host(rng.below(20) as u32), at(rng.below(200)));
                let row = Row { host, host_served, ..row(n) };
                Row {
                    wants,
                    slot: Slot::new(unchoked, optimistic),
                    since,
                    newcomer,
                    snubbed,
                    from,
                    to,
                    sent,
                    progress,
                    ..row
                }
            })
            .collect();
        let mut grants = decide(&rows, &rules, at(200), &mut rng);
        grants.sort_unstable();
        assert!(grants.windows(2).all(|w| w[0].key != w[1].key) && grants.len() <= rules.slots);
        let has = |row: &Row| grants.iter().any(|g| g.key == row.key);
        let wanting = rows.iter().filter(|row| row.wants).count();
        let served = rows.iter().filter(|row| row.wants && has(row)).count();
        assert_eq!(served, wanting.min(rules.slots), "no slot is idle while a peer waits");
        assert!(
            rows.iter().all(|row| row.wants || row.is_unchoked() || !has(row)),
            "no peer gets what it does not want"
        );
        let fresh = rows
            .iter()
            .filter(|r| r.wants && r.is_unchoked() && at(200).since(r.since) < rules.hold);
        assert!(fresh.clone().count() > rules.slots || fresh.clone().all(has), "choked too soon");
    }
}
