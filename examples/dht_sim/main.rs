//! A DHT of many nodes in virtual time: are torrents found, how soon, and over how many hops?
//!
//!     cargo run --release --example dht_sim -- [--nodes N] [--lost PER_MILLE] [--nat PERCENT]
//!         [--half-life SECONDS] [--torrents N] [--lookups N] [--seed N] [--width N]
//!         [--warm-up SECONDS] [--pause SECONDS] [--every MS] [--known N] [--read-only] [--beside]
//!         [--trace]
//!
//! With `--read-only`, nodes behind routers answer nothing (BEP 43). `--beside` looks for the same
//! torrents from the same nodes with libtorrent's algorithm, too. `--known` lets each node begin
//! with so many others, as from a saved state: all at the three nodes that stay take long in a
//! large network. `--trace` prints the look-ups that found nothing and the steps of the slowest.
//! The defaults are those of RESEARCH.md: 1,000 nodes of which half are replaced within an hour,
//! 60 % behind routers, every fifth datagram lost, round trips of 20 to 300 ms.

use std::time::Duration;

use cratetorrent::{
    dht::Step,
    sim::dht::{Lookups, NetConf, measure},
};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = pico_args::Arguments::from_env();
    let trace = args.contains("--trace");
    let beside = args.contains("--beside");
    let read_only = args.contains("--read-only");
    let mut number = |name, default| -> Result<u64, pico_args::Error> {
        Ok(args.opt_value_from_str(name)?.unwrap_or(default))
    };
    let mut net = NetConf {
        nodes: number("--nodes", 1000)? as usize,
        seed: number("--seed", 1)?,
        behind_nat: number("--nat", 60)?,
        read_only,
        lost: number("--lost", 200)?,
        half_life: Some(Duration::from_secs(number("--half-life", 3600)?)),
        known: number("--known", 0)? as usize,
        ..NetConf::default()
    };
    net.dht.lookup_width = number("--width", net.dht.lookup_width as u64)? as usize;
    let plan = Lookups {
        warm_up: Duration::from_secs(number("--warm-up", 600)?),
        torrents: number("--torrents", 100)? as usize,
        pause: Duration::from_secs(number("--pause", 60)?),
        lookups: number("--lookups", 1000)? as usize,
        every: Duration::from_millis(number("--every", 1000)?),
        beside,
        net,
    };
    if let Some(unknown) = args.finish().first() {
        return Err(format!("{} is no option of this program", unknown.display()).into());
    }
    let figures = measure(&plan);
    println!("{figures}");
    if trace {
        for miss in &figures.missed {
            println!("missed: {miss:?}");
        }
        println!("steps to the first peer that came last:");
        for (at, step) in &figures.slowest {
            println!("{}", line(*at, step));
        }
    }
    Ok(())
}

/// A step in words.
fn line(at: Duration, step: &Step) -> String {
    let (what, node, hop) = match step {
        Step::Asked { node, hop } => ("asked".to_owned(), node, Some(*hop)),
        Step::Slow { node, hop } => ("slow".to_owned(), node, Some(*hop)),
        Step::Answered { node, hop, rtt, nodes, peers } => {
            let what = format!("answered in {} ms: {nodes} nodes, {peers} peers", rtt.as_millis());
            (what, node, Some(*hop))
        }
        Step::Stored { node } => ("stored".to_owned(), node, None),
        _ => return String::new(),
    };
    let hop = hop.map_or(String::new(), |hop| format!(", hop {hop}"));
    format!("{:>6} ms  {}{hop}: {what}", at.as_millis(), node.addr)
}
