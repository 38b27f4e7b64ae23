//! uTP over many virtual paths: how much of a path a connection uses, how long a queue it makes,
//! what it leaves to a stream that grows as TCP does, how four of them share, and what one gets
//! that comes late.
//!
//! What it teaches: how to measure the state machine without a network. `scripts/utp_table` runs
//! it over all paths, which takes long even in a release build; `--small` takes a few of them, and
//! `--mbit 100,1000`, `--rtt 50`, `--queue 100` and `--loss 0` those of these rates (Mbit/s), round
//! trips and queues (milliseconds) and losses (of a million).

use std::time::Duration;

use cratetorrent::{
    sim::utp::{Path, UtpWorld},
    utp::UtpLimits,
};

/// Bytes a second of a Mbit/s.
const MBIT: u64 = 125_000;
/// More than any path carries in time.
const ENDLESS: u64 = u64::MAX / 2;

#[derive(Clone, Copy)]
struct Row {
    mbit: u64,
    /// Milliseconds, both ways.
    rtt: u64,
    queue: u64,
    /// Of a million.
    loss: u64,
}

impl Row {
    fn world(&self, seed: u64) -> UtpWorld {
        let there = Path::default().with(|path| {
            path.rate = self.mbit * MBIT;
            path.delay = Duration::from_micros(self.rtt * 500);
            path.queue = Duration::from_millis(self.queue);
            path.loss = self.loss;
        });
        let back = there.clone().with(|path| (path.rate, path.loss) = (0, 0));
        let mut limits = UtpLimits::default();
        (limits.max_window, limits.max_memory) = (48 << 20, 256 << 20);
        UtpWorld::new(seed, there, back, limits)
    }

    /// How long is measured, after a quarter of that.
    fn time(&self) -> Duration {
        Duration::from_secs(if self.mbit >= 1000 { 20 } else { 60 })
    }

    fn part(&self, bytes: u64) -> f64 {
        100.0 * bytes as f64 / (self.mbit * MBIT) as f64 / self.time().as_secs_f64()
    }

    /// Use of the path in percent, and the waits in the queue.
    fn alone(&self) -> (f64, [Duration; 2]) {
        let mut world = self.world(1);
        world.dial(ENDLESS);
        world.run(self.time() / 4);
        _ = world.take_waits();
        let (before, _) = world.bottleneck();
        world.run(self.time());
        let (after, _) = world.bottleneck();
        (self.part(after - before), world.take_waits())
    }

    /// Its share beside a saturating stream in percent, and the use of both.
    fn beside_a_rival(&self) -> (f64, f64) {
        let mut world = self.world(2);
        world.dial(ENDLESS);
        world.run(Duration::from_secs(5));
        world.add_rival();
        world.run(self.time() / 4);
        let (ours, rival) = (world.read(), world.rivals());
        world.run(self.time());
        let (ours, rival) = (world.read() - ours, world.rivals() - rival);
        (100.0 * ours as f64 / (ours + rival).max(1) as f64, self.part(ours + rival))
    }

    /// By how many percent the furthest of four is from their mean.
    fn four(&self) -> f64 {
        let mut world = self.world(3);
        (0..4).for_each(|_| _ = world.dial(ENDLESS));
        world.run(self.time());
        let before = world.read_each();
        world.run(self.time());
        let after = world.read_each().into_iter();
        let got: Vec<f64> =
            after.zip(before).map(|(after, before)| (after - before) as f64).collect();
        let mean = got.iter().sum::<f64>() / 4.0;
        got.iter().map(|got| 100.0 * (got / mean - 1.0).abs()).fold(0.0, f64::max)
    }

    /// What one that begins when another fills the path has of both in percent.
    fn latecomer(&self) -> f64 {
        let mut world = self.world(4);
        world.dial(ENDLESS);
        world.run(self.time() / 4);
        world.dial(ENDLESS);
        world.run(self.time());
        let before = world.read_each();
        world.run(self.time());
        let after = world.read_each();
        let got: Vec<u64> =
            after.iter().zip(&before).map(|(after, before)| after - before).collect();
        let late = got.last().copied().unwrap_or(0);
        100.0 * late as f64 / got.iter().sum::<u64>().max(1) as f64
    }

    fn print(&self) {
        let (used, [half, most]) = self.alone();
        let (share, both) = self.beside_a_rival();
        let (four, late) = (self.four(), self.latecomer());
        println!(
            "{:>6} {:>6} {:>6} {:>6.1} | {used:>6.1} {:>6.1} {:>6.1} | {share:>6.1} {both:>6.1} | {four:>6.1} {late:>6.1}",
            self.mbit,
            self.rtt,
            self.queue,
            self.loss as f64 / 10_000.0,
            half.as_secs_f64() * 1000.0,
            most.as_secs_f64() * 1000.0,
        );
    }
}

/// Which paths are taken.
struct Choice {
    small: bool,
    mbit: Vec<u64>,
    rtt: Vec<u64>,
    queue: Vec<u64>,
    loss: Vec<u64>,
}

impl Choice {
    fn read() -> Result<Self, Box<dyn std::error::Error>> {
        let mut args = pico_args::Arguments::from_env();
        let numbers = |text: &str| text.split(',').map(str::parse).collect::<Result<Vec<u64>, _>>();
        let choice = Self {
            small: args.contains("--small"),
            mbit: args.opt_value_from_fn("--mbit", numbers)?.unwrap_or(vec![1, 10, 100, 1000]),
            rtt: args.opt_value_from_fn("--rtt", numbers)?.unwrap_or(vec![5, 50, 100, 300]),
            queue: args.opt_value_from_fn("--queue", numbers)?.unwrap_or(vec![20, 100, 500, 2000]),
            loss: args.opt_value_from_fn("--loss", numbers)?.unwrap_or(vec![0, 5_000, 20_000]),
        };
        match args.finish().first() {
            Some(word) => Err(format!("unexpected: {}", word.to_string_lossy()).into()),
            None => Ok(choice),
        }
    }

    /// All of these, or the second.
    fn of(&self, values: &[u64]) -> Vec<u64> {
        if self.small { values.get(1..2).unwrap_or(values).to_vec() } else { values.to_vec() }
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let choice = Choice::read()?;
    println!(
        "{:>6} {:>6} {:>6} {:>6} | {:>6} {:>6} {:>6} | {:>6} {:>6} | {:>6} {:>6}",
        "Mbit/s",
        "rtt",
        "queue",
        "loss %",
        "use %",
        "50 %",
        "95 %",
        "share",
        "both",
        "four",
        "late"
    );
    for mbit in choice.of(&choice.mbit) {
        for rtt in choice.of(&choice.rtt) {
            for queue in choice.of(&choice.queue) {
                for loss in choice.of(&choice.loss) {
                    Row { mbit, rtt, queue, loss }.print();
                }
            }
        }
    }
    Ok(())
}
