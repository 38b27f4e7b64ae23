//! A flash crowd: everybody comes in the same second and wants everything, and one has it. How long it takes is measured against what
//! no way of spreading can beat.
//!
//! With equal lines, N peers and k pieces that each take one time unit to send, no schedule needs fewer than k + ⌊log2 N⌋ units
//! (Mundinger, Weber, Weiss: "Optimal scheduling of peer-to-peer file dissemination", 2008), since a piece can only double its copies.

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use cratetorrent::{
    Alert, AlertMask, Conf, TorrentParams,
    sim::{Line, NodeId, Sample, World},
};

use crate::{
    common::Problem,
    svg::{self, Chart},
};

const PIECE: u32 = 16 * 1024;
/// Whom each knows of those who came before, beside the seed: what a tracker tells.
const KNOWN: usize = 20;
/// Connections of each.
const LINKS: usize = 40;
/// They come within this time.
const ARRIVALS_MS: u64 = 1000;

pub struct Scale {
    pub peers: Vec<usize>,
    pub pieces: u64,
    pub slots: usize,
    /// What each can send, in KiB per second.
    pub line: u64,
    pub seed: u64,
    pub svg: Option<PathBuf>,
}

/// Times in seconds.
struct Row {
    peers: usize,
    bound: f64,
    first: f64,
    median: f64,
    last: f64,
    copies: f64,
    events: u64,
    wall: f64,
    memory: u64,
}

pub fn run(options: &Scale) -> Result<ExitCode, Problem> {
    let Scale { pieces, slots, line, .. } = options;
    println!("{pieces} pieces of 16 KiB, every line {line} KiB/s up, 10 ms from peer to peer, {slots} slots, {KNOWN} known");
    println!("   peers   bound    first   median     last   seed sent     events    wall   memory");
    let mut rows: Vec<Row> = Vec::new();
    for &peers in &options.peers {
        let row = measure(options, peers)?;
        println!(
            "{:>8} {:>6.1}s {:>7.1}s {:>7.1}s {:>7.1}s {:>5.1} copies {:>10} {:>6.1}s {:>5} MiB",
            row.peers, row.bound, row.first, row.median, row.last, row.copies, row.events, row.wall, row.memory
        );
        rows.push(row);
    }
    if let Some(path) = &options.svg {
        fs::write(path, chart(options, &rows).draw()).map_err(|e| Problem::new(format!("{}: {e}", path.display())))?;
        println!("drawn in {}", path.display());
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Scale, peers: usize) -> Result<Row, Problem> {
    let began = Instant::now();
    let sample = Sample::file("data", options.pieces * u64::from(PIECE), PIECE, 1).map_err(Problem::of)?;
    let mut world = World::new(options.seed);
    // Everything is looked at in smaller swarms.
    world.set_scrutiny(0);
    let conf = Conf {
        max_links_per_torrent: LINKS,
        max_links: LINKS + 10,
        max_dials: 20,
        upload_slots: Some(options.slots),
        alerts: AlertMask::STATUS,
        // Ten thousand in one process: none needs more than this for so small a torrent.
        run_len: PIECE,
        max_piece_memory: 64 * PIECE as usize,
        max_upload_memory: 16 * PIECE as usize,
        max_unsent: 2 * PIECE as usize,
        max_request: PIECE,
        ..Conf::default()
    };
    let (up, block) = (options.line << 10, PIECE as usize);
    let line = Line { bandwidth: up, segment: (block, block), window: 4 * block, send_buffer: 2 * block, ..Line::default() };
    let mut chance = options.seed;
    let mut below = |n: usize| {
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as usize % n
    };
    let seed = world.node(conf.clone());
    world.set_line(seed, line.clone());
    world.seed_with(seed, &sample);
    let crowd: Arc<[NodeId]> = (0..peers).map(|_| world.node(conf.clone())).collect();
    for nth in 0..peers {
        world.set_line(crowd[nth], line.clone());
        let mut known: Vec<NodeId> = (0..KNOWN.min(nth)).map(|_| crowd[below(nth)]).collect();
        known.push(seed);
        known.sort_unstable();
        known.dedup();
        let (leech, sample) = (crowd[nth], sample.clone());
        let at = std::time::Duration::from_micros(nth as u64 * ARRIVALS_MS * 1000 / peers as u64);
        world.after(at, move |world| {
            let params = TorrentParams { state_file: None, ..world.params(leech, &sample, &known) };
            world.add_torrent(leech, &sample, params);
        });
    }
    let mut missing: Vec<NodeId> = crowd.to_vec();
    while !missing.is_empty() {
        world.run_for(std::time::Duration::from_millis(500));
        missing.retain(|&node| finished(&world, node).is_none());
        if world.now().as_micros() > 3_600_000_000 {
            return Err(Problem::new(format!("{} of {peers} lack something after an hour", missing.len())));
        }
    }
    let mut ends: Vec<f64> = crowd.iter().filter_map(|&node| finished(&world, node)).collect();
    ends.sort_by(f64::total_cmp);
    let unit = f64::from(PIECE) / up as f64;
    Ok(Row {
        peers,
        bound: (options.pieces as f64 + (peers as f64).log2().floor()) * unit,
        first: ends.first().copied().unwrap_or_default(),
        median: ends.get(ends.len() / 2).copied().unwrap_or_default(),
        last: ends.last().copied().unwrap_or_default(),
        copies: world.stats(seed).uploaded as f64 / (options.pieces * u64::from(PIECE)) as f64,
        events: world.events(),
        wall: began.elapsed().as_secs_f64(),
        memory: memory_mib(),
    })
}

fn finished(world: &World, node: NodeId) -> Option<f64> {
    world.told(node, |alert| matches!(alert, Alert::Finished { .. })).map(|at| at.as_micros() as f64 / 1e6)
}

/// Memory of this process now, where the system tells.
fn memory_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0) >> 10
}

fn chart(options: &Scale, rows: &[Row]) -> Chart {
    let line = |name, colour, dashed, value: fn(&Row) -> f64| {
        let points = rows.iter().map(|row| (row.peers as f64, value(row))).collect();
        svg::Line { name, colour, dashed, points }
    };
    Chart {
        title: format!("A flash crowd: {} pieces, one seed, equal lines", options.pieces),
        x: "peers that come within a second".into(),
        y: "seconds to complete".into(),
        lines: vec![
            line("the last", "#b03030", false, |row| row.last),
            line("half of them", "#3060b0", false, |row| row.median),
            line("k + ⌊log2 N⌋ pieces", "#707070", true, |row| row.bound),
        ],
    }
}
