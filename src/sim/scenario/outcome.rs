//! What came of a scenario, and what it is held against.

use std::{sync::Arc, time::Duration};

use super::{Cast, Who};
use crate::{
    alert::{Alert, TorrentStats},
    base::time::Instant,
    sim::{Sample, World},
};

/// What came of a [`Scenario`](super::Scenario), to be held against what should have. Those methods
/// panic when it is not so; what went before is printed then.
#[derive(Debug)]
pub struct Outcome {
    /// The world, at the end.
    pub world: World,
    /// Who was there.
    pub cast: Cast,
    /// What they shared.
    pub sample: Arc<Sample>,
    /// Whether all leeches had everything in time.
    pub complete: bool,
    pub(super) limit: Duration,
}

impl Outcome {
    /// Plays on until all leeches have everything, or its time is over once more.
    pub fn go_on(&mut self) {
        let Self { world, cast, limit, .. } = self;
        self.complete = world.run_until(|w| cast.leeches.iter().all(|&n| w.is_complete(n)), *limit);
    }

    /// All leeches got everything.
    pub fn completes(self) -> Self {
        if !self.complete {
            let lacking = self.cast.leeches.iter().filter(|&&n| !self.world.is_complete(n));
            let stats: Vec<_> =
                lacking.map(|&n| (self.world.name(n), self.world.stats(n))).collect();
            panic!("not everybody has everything after {:?}: {stats:#?}", self.limit);
        }
        self
    }

    /// Some leech did not.
    pub fn does_not_complete(self) -> Self {
        assert!(!self.complete, "everybody has everything after {:?}", self.world.now());
        self
    }

    /// It was over before this time.
    pub fn in_less_than(self, time: Duration) -> Self {
        let took = self.took();
        assert!(took < time, "it took {took:?}, {time:?} are allowed");
        self
    }

    /// No node sent another anything wrong, none was banned, and nothing came that was not asked
    /// for.
    pub fn honestly(self) -> Self {
        for node in self.cast.engines() {
            for TorrentStats { failed_pieces, banned, unasked_blocks, .. } in
                self.world.stats_of(node)
            {
                let found = (failed_pieces, banned, unasked_blocks);
                assert_eq!(
                    found,
                    (0, 0, 0),
                    "{}: failed pieces, bans, unasked blocks",
                    self.world.name(node)
                );
            }
        }
        self
    }

    /// Leeches got no more bytes in vain than this, each.
    pub fn wasting_at_most(self, bytes: u64) -> Self {
        for &node in &self.cast.leeches {
            let wasted = self.world.stats(node).wasted;
            assert!(wasted <= bytes, "{} got {wasted} bytes in vain", self.world.name(node));
        }
        self
    }

    /// Anything else that must be.
    pub fn and(self, holds: impl FnOnce(&World, &Cast)) -> Self {
        holds(&self.world, &self.cast);
        self
    }

    /// Everybody shuts down in good order, and nothing is left in memory.
    pub fn then_all_shut_down(mut self) -> Self {
        let engines: Vec<_> = self.cast.engines().filter(|&n| self.world.is_up(n)).collect();
        engines.iter().for_each(|&n| self.world.tell(n, |engine| engine.shutdown()));
        let drained = self.world.run_until(
            |w| engines.iter().all(|&n| w.engine(n).is_drained()),
            Duration::from_secs(300),
        );
        assert!(drained, "a node does not shut down");
        for &node in &engines {
            let engine = self.world.engine(node);
            assert_eq!(
                (engine.piece_memory(), engine.upload_memory()),
                (0, 0),
                "{} has memory left",
                self.world.name(node)
            );
        }
        self
    }

    /// Time since the beginning.
    pub fn took(&self) -> Duration {
        self.world.now().since(Instant::ZERO)
    }

    /// What the seeds sent, in hundredths of a copy of the data.
    pub fn copies_seeded(&self) -> u64 {
        let sent: u64 = self.cast.seeds.iter().map(|&n| self.world.stats(n).uploaded).sum();
        sent * 100 / self.sample.geometry().total_len().max(1)
    }

    /// How often a node told its user something that `is`.
    pub fn times_told(&self, who: Who, is: impl Fn(&Alert) -> bool) -> usize {
        self.world.alerts(self.cast.of(who)).iter().filter(|(_, alert)| is(alert)).count()
    }
}
