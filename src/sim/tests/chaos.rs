//! Everything at once: good, bad, slow and fickle peers, small limits, troubled disks, kills, and a
//! user who changes his mind. When the troubles end, everybody must have everything; what the world
//! checks after each event must hold all along.

use crate::sim::explore::{self, Plan};

#[test]
fn everything_at_once_comes_to_a_good_end() {
    for seed in seeds() {
        let plan = Plan::random(seed);
        if let Err(failure) = explore::run(&plan) {
            panic!(
                "{failure}\nseed {seed}: cargo run --release --example swarm_sim -- --plan '{plan}'"
            );
        }
    }
}

/// Sixty seeds, or others: `CHAOS=500-900`.
fn seeds() -> std::ops::Range<u64> {
    let wanted = std::env::var("CHAOS").unwrap_or_default();
    let range =
        wanted.split_once('-').and_then(|(from, to)| Some(from.parse().ok()?..to.parse().ok()?));
    range.unwrap_or(0..60)
}

#[test]
fn chaos_is_repeatable() {
    for seed in 0..5 {
        let plan = Plan::random(seed);
        assert_eq!(explore::run(&plan).unwrap(), explore::run(&plan).unwrap());
    }
}
