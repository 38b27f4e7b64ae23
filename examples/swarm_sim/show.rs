//! A swarm at work: a seed on a thin line, a crowd that comes bit by bit, a few that are slow, and
//! two that send bad data.

use std::{process::ExitCode, time::Duration};

use cratetorrent::{
    Alert, AlertMask, Conf,
    sim::{Answer, Line, Manners, NodeId, Remote, Sample, World},
};

use crate::common::Problem;

const PIECE: u32 = 64 * 1024;
const PIECES: u64 = 256;
/// What the seed can send, in bytes per second; most others can send half of it.
const SEED_LINE: u64 = 2_000_000;
/// How wide the bars are.
const WIDTH: usize = 40;

pub struct Show {
    pub nodes: usize,
    pub seed: u64,
}

pub fn run(options: &Show) -> Result<ExitCode, Problem> {
    let len = PIECES * u64::from(PIECE);
    let sample = Sample::file("data", len, PIECE, options.seed).map_err(Problem::of)?;
    let mut world = World::new(options.seed);
    let conf = Conf::default().with(|conf| conf.alerts.mask = AlertMask::ALL);
    let seed = world.node(conf.clone());
    world.set_line(seed, Line { bandwidth: SEED_LINE, ..Line::default() });
    world.seed_with(seed, &sample);
    // Each eleventh block of theirs is bad.
    let liars: Vec<_> = (0..2)
        .map(|name| {
            let answer = |asked: cratetorrent::sim::Asked| {
                if asked.nth % 11 == 10 { Answer::Bad } else { Answer::Good }
            };
            world.scripted(Remote::seed(
                &sample,
                name,
                Manners { answer: Box::new(answer), ..Manners::default() },
            ))
        })
        .collect();
    let mut leeches: Vec<NodeId> = Vec::new();
    for nth in 0..options.nodes {
        let leech = world.node(conf.clone());
        let (latency, bandwidth) =
            if nth % 5 == 4 { (80, SEED_LINE / 8) } else { (5 + nth as u64 % 20, SEED_LINE / 2) };
        world.set_line(
            leech,
            Line { latency: Duration::from_millis(latency), bandwidth, ..Line::default() },
        );
        let known: Vec<_> =
            leeches.iter().rev().take(20).chain([&seed]).chain(&liars).copied().collect();
        let sample = sample.clone();
        world.after(Duration::from_millis(200 * nth as u64), move |world| {
            _ = world.download(leech, &sample, &known)
        });
        leeches.push(leech);
    }
    let (mib, one) = (len >> 20, SEED_LINE / 1_000_000);
    say!(
        "{} peers want {mib} MiB of one seed that sends {one} MB/s; two of those who offer it \
         lie.\n",
        options.nodes
    );
    say!(
        "{:>6}  {:WIDTH$}  {:>5} {:>9} {:>9}  news",
        "time",
        "pieces had, all together",
        "whole",
        "swarm",
        "seed"
    );
    let (mut told, mut last) = (0, (0, 0));
    loop {
        world.run_for(Duration::from_secs(1));
        let stats = || leeches.iter().map(|&leech| world.stats(leech));
        let have: u64 = stats().map(|s| u64::from(s.have)).sum();
        let whole = leeches
            .iter()
            .filter(|&&leech| world.stats(leech).have > 0 && world.is_complete(leech))
            .count();
        let bytes = (stats().map(|s| s.downloaded).sum::<u64>(), world.stats(seed).uploaded);
        let bar = (have as usize * WIDTH) / (PIECES as usize * options.nodes);
        let bans: usize = leeches.iter().map(|&leech| bans(&world, leech)).sum();
        let news =
            if bans > told { format!("{} caught a liar", bans - told) } else { String::new() };
        told = bans;
        let seconds = world.now().as_micros() / 1_000_000;
        say!(
            "{seconds:>4} s  {:WIDTH$}  {whole:>5} {:>9} {:>9}  {news}",
            "█".repeat(bar),
            rate(bytes.0 - last.0),
            rate(bytes.1 - last.1)
        );
        last = bytes;
        if whole == options.nodes {
            break;
        }
        if seconds > 3600 {
            return Err(Problem::new("they do not get everything within an hour"));
        }
    }
    let copies = world.stats(seed).uploaded as f64 / len as f64;
    let wasted: u64 = leeches.iter().map(|&leech| world.stats(leech).wasted).sum();
    say!(
        "\nThe seed sent {copies:.1} copies of the data for {} peers; {} KiB were fetched in vain.",
        options.nodes,
        wasted >> 10
    );
    say!("{} events, the same each time: transcript {:016x}", world.events(), world.transcript());
    Ok(ExitCode::SUCCESS)
}

fn bans(world: &World, node: NodeId) -> usize {
    world.alerts(node).iter().filter(|(_, alert)| matches!(alert, Alert::PeerBanned { .. })).count()
}

fn rate(bytes: u64) -> String {
    format!("{:.1} MB/s", bytes as f64 / 1e6)
}
