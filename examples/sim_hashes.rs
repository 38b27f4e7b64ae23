//! Plays a few simulated scenarios and prints a digest of all that happened in each.
//!
//! What it teaches: a scenario in a sentence, and that the same seed gives the same run, event by
//! event, on every machine and with every optimization. `scripts/check` compares what a debug and a
//! release build print.

use std::time::Duration;

use cratetorrent::{
    Conf,
    sim::{DiskPace, Kill, Line, Nat, Outcome, Sample, Scenario, Troubles, When, Who},
};

const S: Duration = Duration::from_secs(1);

fn print(name: &str, outcome: &Outcome) {
    let (world, took) = (&outcome.world, outcome.took().as_secs_f64());
    println!("{name:<24} {:016x}  {:>7} events  {took:>9.3} s", world.transcript(), world.events());
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Sample::folder(
        "folder",
        &[("a", 5), ("b", 0), ("c/d", 400_000), ("", 9_147), ("e", 700_000)],
        32 * 1024,
        1,
    )?;
    let large = Sample::file("large", 5_000_000, 1 << 20, 2)?;
    let small_runs = Conf::default().with(|conf| {
        conf.requests.run_len = 32 * 1024;
        conf.requests.max_piece_memory = 256 * 1024;
    });

    print("a pair", &Scenario::swarm(1).run().completes());
    print(
        "a swarm on dsl",
        &Scenario::swarm(2).seeds(2).leeches(12).sharing(&folder).on(Line::dsl()).run().completes(),
    );
    print("crumbs", &Scenario::swarm(3).leeches(2).on(Line::crumbs()).run().completes());
    print(
        "large pieces, slow disks",
        &Scenario::swarm(4)
            .leeches(4)
            .sharing(&large)
            .with(small_runs)
            .paced(DiskPace { bandwidth: 3_000_000, ..DiskPace::default() })
            .with_disk(Troubles { short: true, ..Troubles::default() })
            .run()
            .completes(),
    );
    print(
        "all that goes wrong",
        &Scenario::swarm(5)
            .seeds(2)
            .leeches(6)
            .sharing(&folder)
            .on(Line { bandwidth: 150_000, ..Line::mobile() })
            .behind(Nat::FullCone)
            .losing_connections(4 * S)
            .doing(When::At(2 * S), |world, cast| world.partition(&[&cast.leeches[..3]]))
            .doing(When::At(9 * S), |world, _| world.mend())
            .doing(When::At(4 * S), |world, cast| world.jump_clock(cast.leeches[1], 3600 * S))
            .killing(Kill::of(Who::Leech(0), When::At(3 * S)).losing_power().back_after(S))
            .killing(Kill::of(Who::Seed(0), When::At(5 * S)).silently().back_after(3 * S))
            .run()
            .completes(),
    );
    Ok(())
}
