//! The pipeline on a clock of its own: depth, round trips, snubbing, and what comes late.

use super::*;
use crate::base::geometry::Geometry;

fn at(ms: u64) -> Instant {
    Instant::from_micros(ms * 1000)
}

struct Rig {
    conf: Conf,
    pipeline: Pipeline,
    geometry: Geometry,
    next: u32,
}

impl Rig {
    fn new() -> Self {
        let conf = Conf::default();
        Self {
            pipeline: Pipeline::new(at(0), &conf),
            conf,
            geometry: Geometry::new(1 << 40, 1 << 30).unwrap(),
            next: 0,
        }
    }

    fn block(&self, n: u32) -> Block {
        self.geometry.nth_block(self.geometry.piece(0).unwrap(), n).unwrap()
    }

    fn fill(&mut self, now: Instant) -> Vec<Block> {
        let mut out = Vec::new();
        while self.pipeline.room(usize::MAX) > 0 {
            let block = self.block(self.next);
            self.next += 1;
            self.pipeline.ask(now, block);
            out.push(block);
        }
        out
    }

    /// A link with a one-way time and a rate: runs it for `ms` and returns the depth at the end.
    fn run(&mut self, from: u64, ms: u64, rtt_ms: u64, blocks_per_ms: f64) -> usize {
        let mut on_wire: VecDeque<(u64, Block)> =
            self.fill(at(from)).into_iter().map(|b| (from + rtt_ms, b)).collect();
        let mut credit = 0.0;
        for now in from..from + ms {
            credit = (credit + blocks_per_ms).min(blocks_per_ms.max(1.0) * 2.0);
            while credit >= 1.0 && on_wire.front().is_some_and(|(due, _)| *due <= now) {
                let (_, block) = on_wire.pop_front().unwrap();
                credit -= 1.0;
                assert_eq!(self.pipeline.handle_block(at(now), block, &self.conf), Arrival::Asked);
                on_wire.extend(self.fill(at(now)).into_iter().map(|b| (now + rtt_ms, b)));
            }
        }
        self.pipeline.depth
    }
}

#[test]
fn slow_start_doubles_and_then_the_rate_rules() {
    // 100 blocks/s = 1.6 MB/s at 50 ms: two round trips hold 10 blocks, the queue its 144.
    let mut rig = Rig::new();
    let depth = rig.run(0, 20_000, 50, 0.1);
    assert!((145..=160).contains(&depth), "{depth}");
    // A fast peer fills what is allowed.
    let mut rig = Rig::new();
    assert_eq!(rig.run(0, 2_000, 20, 60.0), rig.conf.requests.max_pipeline);
    // A very slow one keeps the minimum.
    let mut rig = Rig::new();
    assert!((MIN_DEPTH..8).contains(&rig.run(0, 60_000, 100, 0.002)));
}

#[test]
fn little_is_on_order_where_a_block_takes_seconds() {
    // 4 KiB/s: what is ordered at first waits for half a minute, and then no more than two or three
    // do.
    let mut rig = Rig::new();
    assert!((MIN_DEPTH..=3).contains(&rig.run(0, 12_000, 20, 0.000_25)), "{}", rig.pipeline.depth);
    let mut rig = Rig::new();
    assert!((MIN_DEPTH..=3).contains(&rig.run(0, 120_000, 20, 0.000_25)), "{}", rig.pipeline.depth);
}

#[test]
fn depth_grows_on_a_long_path() {
    // 50 MB/s at 300 ms: 0.55 s x 3052 blocks/s is beyond the limit, so the limit is reached
    // although we begin with 8.
    let mut rig = Rig::new();
    assert_eq!(rig.run(0, 8_000, 300, 3.05), rig.conf.requests.max_pipeline);
}

#[test]
fn silence_snubs_and_an_answer_revives() {
    let mut rig = Rig::new();
    rig.run(0, 2_000, 20, 1.0);
    let deadline = rig.pipeline.deadline(&rig.conf).unwrap();
    assert!(
        deadline >= at(2_000) + Duration::from_millis(900) && deadline <= at(6_000),
        "{deadline:?}"
    );
    assert_eq!(rig.pipeline.handle_timeout(deadline - Duration::from_micros(1), &rig.conf), None);
    let given_up = rig.pipeline.handle_timeout(deadline, &rig.conf).unwrap();
    assert!(!given_up.is_empty() && rig.pipeline.is_snubbed());
    assert_eq!(rig.pipeline.room(usize::MAX), 1);
    assert_eq!(rig.pipeline.deadline(&rig.conf), None);
    // The late block is still known.
    assert_eq!(
        rig.pipeline.handle_block(deadline + Duration::from_secs(1), given_up[0], &rig.conf),
        Arrival::Late
    );
    assert!(!rig.pipeline.is_snubbed());
    assert_eq!(rig.pipeline.room(usize::MAX), rig.conf.requests.initial_pipeline);
    assert_eq!(rig.pipeline.handle_block(deadline, given_up[0], &rig.conf), Arrival::Unasked);
}

#[test]
fn unread_peer_is_not_late() {
    let mut rig = Rig::new();
    rig.fill(at(100));
    rig.pipeline.hold(at(3_000));
    assert_eq!(rig.pipeline.deadline(&rig.conf), None);
    assert_eq!(rig.pipeline.handle_timeout(at(500_000), &rig.conf), None);
    rig.pipeline.hold(at(400_000));
    assert_eq!(rig.pipeline.go_on(at(503_000)), Duration::from_secs(500));
    assert_eq!(rig.pipeline.deadline(&rig.conf), Some(at(500_100) + FIRST_TIMEOUT));
    assert_eq!(rig.pipeline.go_on(at(600_000)), Duration::ZERO);
    assert!(rig.pipeline.handle_timeout(at(600_000), &rig.conf).is_some());
}

#[test]
fn peer_that_never_answers_is_snubbed_after_first_timeout() {
    let mut rig = Rig::new();
    rig.fill(at(100));
    assert_eq!(rig.pipeline.deadline(&rig.conf), Some(at(100) + FIRST_TIMEOUT));
    let never_asked = rig.block(5_000);
    assert!(!rig.pipeline.handle_reject(at(4_000), never_asked));
    assert_eq!(
        rig.pipeline.deadline(&rig.conf),
        Some(at(100) + FIRST_TIMEOUT),
        "that was no answer"
    );
    rig.pipeline.handle_partial(at(5_000));
    assert_eq!(rig.pipeline.deadline(&rig.conf), Some(at(5_000) + FIRST_TIMEOUT));
    // Parts alone help for as long as a whole block may take.
    rig.pipeline.handle_partial(at(55_000));
    assert_eq!(rig.pipeline.deadline(&rig.conf), Some(at(100) + rig.conf.requests.timeout_max));
}

#[test]
fn rejects_cancels_and_caps() {
    let mut rig = Rig::new();
    let blocks = rig.fill(at(0));
    assert!(
        rig.pipeline.handle_reject(at(1), blocks[0])
            && !rig.pipeline.handle_reject(at(1), blocks[0])
    );
    assert!(
        rig.pipeline.cancel(blocks[1], &rig.conf) && !rig.pipeline.cancel(blocks[1], &rig.conf)
    );
    assert_eq!(rig.pipeline.handle_block(at(2), blocks[0], &rig.conf), Arrival::Unasked);
    assert_eq!(rig.pipeline.handle_block(at(2), blocks[1], &rig.conf), Arrival::Late);
    assert!(
        rig.pipeline.cancel(blocks[2], &rig.conf) && !rig.pipeline.handle_reject(at(2), blocks[2])
    );
    assert!(
        rig.pipeline.handle_late_reject(blocks[2]) && !rig.pipeline.handle_late_reject(blocks[2])
    );
    rig.pipeline.set_cap(1, &rig.conf);
    assert_eq!(rig.pipeline.room(usize::MAX), 0);
    rig.pipeline.set_cap(0, &rig.conf);
    rig.pipeline.give_up(&rig.conf);
    assert_eq!(rig.pipeline.room(usize::MAX), 1);
}

#[test]
fn abandoned_requests_remembered_are_bounded() {
    let mut rig = Rig::new();
    for n in 0..5_000 {
        let block = rig.block(n);
        rig.pipeline.ask(at(0), block);
        assert!(rig.pipeline.cancel(block, &rig.conf));
    }
    assert_eq!(rig.pipeline.late.len(), rig.conf.requests.max_pipeline);
}
