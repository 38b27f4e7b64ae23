//! A DHT of many nodes in virtual time: are torrents found, how soon, and over how many hops?
//!
//!     cargo run --release --example dht_sim -- [--nodes N] [--lost PER_MILLE] [--nat PERCENT]
//!         [--half-life SECONDS] [--torrents N] [--lookups N] [--seed N] [--width N]
//!
//! The defaults are those of RESEARCH.md: 1,000 nodes of which half are replaced within an hour,
//! 60 % behind routers, every fifth datagram lost, round trips of 20 to 300 ms.

use std::time::Duration;

use cratetorrent::sim::dht::{Lookups, NetConf, measure};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = pico_args::Arguments::from_env();
    let mut number = |name, default| -> Result<u64, pico_args::Error> {
        Ok(args.opt_value_from_str(name)?.unwrap_or(default))
    };
    let mut net = NetConf {
        nodes: number("--nodes", 1000)? as usize,
        seed: number("--seed", 1)?,
        behind_nat: number("--nat", 60)?,
        lost: number("--lost", 200)?,
        half_life: Some(Duration::from_secs(number("--half-life", 3600)?)),
        ..NetConf::default()
    };
    net.dht.lookup_width = number("--width", net.dht.lookup_width as u64)? as usize;
    let plan = Lookups {
        warm_up: Duration::from_secs(number("--warm-up", 600)?),
        torrents: number("--torrents", 100)? as usize,
        pause: Duration::from_secs(number("--pause", 60)?),
        lookups: number("--lookups", 1000)? as usize,
        every: Duration::from_millis(number("--every", 1000)?),
        net,
    };
    println!("{}", measure(&plan));
    Ok(())
}
