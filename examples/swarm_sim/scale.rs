//! A flash crowd: everybody comes in the same second and wants everything, and one has it. How long
//! it takes is measured against what no way of spreading can beat.
//!
//! With equal lines, N peers and k pieces that each take one time unit to send, no schedule needs
//! fewer than k + ⌊log2 N⌋ units (Mundinger, Weber, Weiss: "Optimal scheduling of peer-to-peer file
//! dissemination", 2008), since a piece can only double its copies.
//!
//! What that theory knows nothing of must be small here, too: a packet and what waits in a socket
//! are small parts of a piece, and few pieces are on order with one peer. [`Scale::coarse`] is the
//! same crowd without that.

use std::{fs, path::PathBuf, process::ExitCode, sync::Arc, time::Instant};

use cratetorrent::{
    Alert, AlertMask, Conf, TorrentParams,
    sim::{Line, NodeId, Sample, World},
};

use crate::{
    common::Problem,
    svg::{self, Chart},
};

/// What the engine asks for at a time, and counts in.
const BLOCK: usize = 16 * 1024;
/// How many earlier peers each peer knows beside the seed: what a tracker tells.
const KNOWN: usize = 20;
/// Connections of each.
const LINKS: usize = 40;
/// They come within this time.
const ARRIVALS_MS: u64 = 1000;
/// How often it is looked who has what.
const LOOK_MS: u64 = 500;

pub struct Scale {
    pub peers: Vec<Size>,
    /// Runs of each size that says nothing else.
    pub seeds: u64,
    pub pieces: u64,
    /// KiB of a piece.
    pub piece: u32,
    pub slots: usize,
    /// What each can send, in KiB per second.
    pub line: u64,
    pub seed: u64,
    /// The seed shows one piece at a time.
    pub super_seed: bool,
    /// Packets are as long as a piece, two pieces wait in a socket, and eight are on order with a
    /// peer at first.
    pub coarse: bool,
    pub svg: Option<PathBuf>,
}

/// How many come, and how often that is tried.
#[derive(Clone, Copy)]
pub struct Size {
    pub peers: usize,
    pub seeds: Option<u64>,
}

/// One run. Times in seconds.
struct Run {
    /// When every piece was somewhere else than with the seed, and how many copies that had sent
    /// by then.
    first_copy: (f64, f64),
    median: f64,
    mean: f64,
    last: f64,
    /// Part of all lines that carried blocks until half of the crowd was done.
    used: f64,
    /// Part of what came that was of no use.
    wasted: f64,
    events: u64,
}

/// All runs of a size.
struct Row {
    peers: usize,
    bound: f64,
    runs: Vec<Run>,
    wall: f64,
    memory: u64,
}

impl Row {
    fn mean(&self, value: impl Fn(&Run) -> f64) -> f64 {
        self.runs.iter().map(value).sum::<f64>() / self.runs.len().max(1) as f64
    }

    fn least(&self, value: impl Fn(&Run) -> f64) -> f64 {
        self.runs.iter().map(value).fold(f64::MAX, f64::min)
    }

    fn most(&self, value: impl Fn(&Run) -> f64) -> f64 {
        self.runs.iter().map(value).fold(0.0, f64::max)
    }
}

pub fn run(options: &Scale) -> Result<ExitCode, Problem> {
    let Scale { pieces, piece, slots, line, .. } = options;
    let how = if options.super_seed { ", the seed shows one piece at a time" } else { "" };
    say!(
        "{pieces} pieces of {piece} KiB, every line {line} KiB/s up, 10 ms from peer to peer, \
         {slots} slots, {KNOWN} known{how}"
    );
    say!(
        "   peers seeds   bound   first copy of the seed   median     mean     \
         last (from, to)       used wasted     events    wall   memory"
    );
    let mut rows: Vec<Row> = Vec::new();
    for &Size { peers, seeds } in &options.peers {
        let began = Instant::now();
        let seeds = seeds.unwrap_or(options.seeds).max(1);
        let runs = (0..seeds)
            .map(|nth| measure(options, peers, options.seed + nth))
            .collect::<Result<Vec<_>, _>>()?;
        let unit = f64::from(*piece) / *line as f64;
        let bound = (*pieces as f64 + (peers as f64).log2().floor()) * unit;
        let row =
            Row { peers, bound, runs, wall: began.elapsed().as_secs_f64(), memory: peak_mib() };
        say!(
            "{:>8} {:>5} {:>6.1}s {:>9.1}s {:>5.2} copies {:>13.1}s {:>7.1}s {:>7.1}s \
             ({:>6.1}, {:>6.1}) {:>6.1}% {:>5.1}% {:>10} {:>6.1}s {:>5} MiB",
            row.peers,
            row.runs.len(),
            row.bound,
            row.mean(|r| r.first_copy.0),
            row.mean(|r| r.first_copy.1),
            row.mean(|r| r.median),
            row.mean(|r| r.mean),
            row.mean(|r| r.last),
            row.least(|r| r.last),
            row.most(|r| r.last),
            row.mean(|r| r.used) * 100.0,
            row.mean(|r| r.wasted) * 100.0,
            row.runs.iter().map(|r| r.events).sum::<u64>(),
            row.wall,
            row.memory
        );
        rows.push(row);
        // Already: the next size takes longer than all before.
        if let Some(path) = &options.svg {
            fs::write(path, chart(options, &rows).draw())
                .map_err(|e| Problem::new(format!("{}: {e}", path.display())))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(options: &Scale, peers: usize, chance: u64) -> Result<Run, Problem> {
    let piece = options.piece as usize * 1024;
    let total = options.pieces * piece as u64;
    let sample = Sample::file("data", total, piece as u32, 1).map_err(Problem::of)?;
    let mut world = World::new(chance);
    let (seed, crowd) = gather(options, peers, chance, &sample, &mut world)?;
    let mut missing: Vec<NodeId> = crowd.to_vec();
    let sent = |world: &World| {
        crowd.iter().chain([&seed]).map(|&node| world.stats(node).uploaded).sum::<u64>() as f64
    };
    let seconds = |world: &World| world.now().as_micros() as f64 / 1e6;
    let (mut first_copy, mut used) = (None, None);
    while !missing.is_empty() {
        world.run_for(std::time::Duration::from_millis(LOOK_MS));
        missing.retain(|&node| finished(&world, node).is_none());
        if first_copy.is_none() && is_spread(&world, &crowd, options.pieces) {
            first_copy = Some((seconds(&world), world.stats(seed).uploaded as f64 / total as f64));
        }
        if used.is_none() && missing.len() * 2 <= peers {
            let lines = (peers + 1) as f64 * (options.line << 10) as f64;
            used = Some(sent(&world) / (lines * seconds(&world)));
        }
        if world.now().as_micros() > 7_200_000_000 {
            return Err(Problem::new(format!(
                "{} of {peers} lack something after two hours",
                missing.len()
            )));
        }
    }
    let mut ends: Vec<f64> = crowd.iter().filter_map(|&node| finished(&world, node)).collect();
    ends.sort_by(f64::total_cmp);
    let sum = |of: fn(&cratetorrent::TorrentStats) -> u64| {
        crowd.iter().map(|&node| of(&world.stats(node))).sum::<u64>() as f64
    };
    Ok(Run {
        first_copy: first_copy.unwrap_or_default(),
        median: ends.get(ends.len() / 2).copied().unwrap_or_default(),
        mean: ends.iter().sum::<f64>() / ends.len().max(1) as f64,
        last: ends.last().copied().unwrap_or_default(),
        used: used.unwrap_or_default(),
        wasted: sum(|stats| stats.wasted) / sum(|stats| stats.downloaded).max(1.0),
        events: world.events(),
    })
}

/// A seed, and those who come.
fn gather(
    options: &Scale,
    peers: usize,
    chance: u64,
    sample: &Arc<Sample>,
    world: &mut World,
) -> Result<(NodeId, Arc<[NodeId]>), Problem> {
    let piece = options.piece as usize * 1024;
    // Everything is looked at in smaller swarms.
    world.set_scrutiny(0);
    let conf = Conf::default().with(|conf| {
        conf.peers.max_per_torrent = LINKS;
        conf.peers.max_connections = LINKS + 10;
        conf.peers.max_dials = 20;
        conf.uploads.slots = Some(options.slots);
        // A piece is a block, and takes long.
        conf.requests.initial_pipeline = if options.coarse { 8 } else { 2 };
        conf.alerts.mask = AlertMask::STATUS;
        // Ten thousand in one process: none needs more than this for so small a torrent.
        conf.requests.run_len = piece.next_multiple_of(BLOCK) as u32;
        conf.requests.max_piece_memory = (64 * piece).max(2 * piece.next_multiple_of(BLOCK));
        conf.uploads.max_memory = 4 * (piece + BLOCK);
        conf.uploads.max_unsent = piece;
        conf.uploads.max_request = piece as u32;
    });
    let small = (piece / 8).clamp(1, 1400);
    let (segment, send_buffer) =
        if options.coarse { (piece, 2 * piece) } else { (small, piece / 4) };
    let line = Line {
        bandwidth: options.line << 10,
        segment: (segment, segment),
        window: 4 * piece,
        send_buffer: send_buffer.max(1),
        ..Line::default()
    };
    let mut chance = chance;
    let mut below = |n: usize| {
        chance =
            chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (chance >> 33) as usize % n
    };
    let seed = world.node(conf.clone());
    world.set_line(seed, line.clone());
    let torrent = world.seed_with(seed, sample);
    world
        .tell(seed, |engine| engine.set_super_seeding(torrent, options.super_seed))
        .map_err(Problem::of)?;
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
    Ok((seed, crowd))
}

/// Whether the crowd has every piece, all taken together.
fn is_spread(world: &World, crowd: &[NodeId], pieces: u64) -> bool {
    let mut found = vec![false; pieces as usize];
    let mut missing = pieces;
    for &node in crowd.iter().filter(|&&node| !world.stats_of(node).is_empty()) {
        let have = world.engine(node).have(world.torrent(node));
        for piece in have.into_iter().flat_map(|have| have.ones()) {
            if let Some(found) = found.get_mut(piece as usize) {
                missing -= u64::from(!std::mem::replace(found, true));
            }
        }
        if missing == 0 {
            return true;
        }
    }
    false
}

fn finished(world: &World, node: NodeId) -> Option<f64> {
    world
        .told(node, |alert| matches!(alert, Alert::Finished { .. }))
        .map(|at| at.as_micros() as f64 / 1e6)
}

/// The most memory that this process ever had, where the system tells.
fn peak_mib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()).unwrap_or(0)
        >> 10
}

fn chart(options: &Scale, rows: &[Row]) -> Chart {
    let line = |name, colour, value: fn(&Run) -> f64| {
        let point = |row: &Row| svg::Point {
            x: row.peers as f64,
            y: row.mean(value),
            from: row.least(value),
            to: row.most(value),
        };
        svg::Line { name, colour, dashed: false, points: rows.iter().map(point).collect() }
    };
    let bound = |row: &Row| svg::Point {
        x: row.peers as f64,
        y: row.bound,
        from: row.bound,
        to: row.bound,
    };
    let shy = if options.super_seed { " that shows one piece at a time" } else { "" };
    Chart {
        title: format!("A flash crowd: {} pieces, one seed{shy}, equal lines", options.pieces),
        x: "peers that come within a second".into(),
        y: "seconds to complete".into(),
        lines: vec![
            line("the last", "#b03030", |run| run.last),
            line("half of them", "#3060b0", |run| run.median),
            line("the seed's first copy", "#308040", |run| run.first_copy.0),
            svg::Line {
                name: "k + ⌊log2 N⌋ pieces",
                colour: "#707070",
                dashed: true,
                points: rows.iter().map(bound).collect(),
            },
        ],
    }
}
