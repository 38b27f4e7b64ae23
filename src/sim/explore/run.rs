//! Carries a plan out, and holds what comes of it against what must be true: when the troubles end everybody gets everything, nobody good
//! is banned, and at the end nothing is left over. What the world checks after each event holds all along.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use thiserror::Error;

use super::{Item, Kind, Plan};
use crate::{
    alert::{Alert, AlertMask, Phase},
    base::{
        bitfield::Bitfield,
        bucket::{Limits, Rate},
        ids::TorrentId,
        time::Instant,
    },
    conf::{Conf, SeedChoking},
    engine::{Engine, TorrentParams},
    sim::{Answer, Asked, DiskPace, Hello, Line, Manners, NodeId, Remote, Sample, Troubles, World},
};

/// How long everybody has to get everything once the troubles are over. Whoever was cut off is missed after two minutes only, and turns
/// of peers take their time.
const PATIENCE: Duration = Duration::from_secs(1800);
/// A scenario that keeps busier than this goes in circles.
const MAX_EVENTS: u64 = 20_000_000;

/// What came of a plan that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// See [`World::transcript`].
    pub transcript: u64,
    /// Events in all.
    pub events: u64,
    /// When everybody had everything and had shut down.
    pub end: Instant,
}

/// What was wrong.
#[derive(Clone, Debug, Error)]
#[error("{what}{details}")]
pub struct Failure {
    /// In one line.
    pub what: String,
    /// More, beginning with a line's end, or nothing.
    pub details: String,
}

impl Failure {
    fn new(what: impl fmt::Display) -> Self {
        Self { what: what.to_string(), details: String::new() }
    }

    /// Whether it is of the same kind: numbers do not matter.
    pub fn is_like(&self, other: &Self) -> bool {
        let kind = |text: &str| text.chars().filter(|c| !c.is_ascii_digit()).take(60).collect::<String>();
        kind(&self.what) == kind(&other.what)
    }
}

/// Carries a plan out. The same plan does the same each time.
///
/// # Errors
/// What was wrong: a panic of the engine or of the world's checks, somebody who did not get everything, or anything else that must
/// not be. A plan without a torrent with data fails, too.
pub fn run(plan: &Plan) -> Result<Outcome, Failure> {
    run_with(plan, true)
}

/// The same, and if the engine panics the world's [trace](World::trace) is printed.
///
/// # Errors
/// As [`run`].
pub fn run_aloud(plan: &Plan) -> Result<Outcome, Failure> {
    run_with(plan, false)
}

fn run_with(plan: &Plan, quiet: bool) -> Result<Outcome, Failure> {
    catch_unwind(AssertUnwindSafe(|| Run::new(plan, quiet)?.finish())).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let (what, details) = text.map_or(("a panic", ""), |text| text.split_at(text.find('\n').unwrap_or(text.len())));
        Err(Failure { what: what.to_owned(), details: details.to_owned() })
    })
}

/// What is done to a node: what its event says, or what follows from an earlier one.
#[derive(Clone, Copy)]
enum Act<'a> {
    Join(&'a Item),
    Event(&'a Item),
    Restart,
    Mend,
    AddAll,
}

struct Run<'a> {
    world: World,
    samples: Vec<Arc<Sample>>,
    nodes: BTreeMap<u64, NodeId>,
    peers: BTreeMap<u64, NodeId>,
    /// Nodes that have come.
    joined: BTreeSet<NodeId>,
    /// In order of time, then as they came.
    acts: BTreeMap<(Instant, usize), (u64, Act<'a>)>,
    next_act: usize,
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn line(item: &Item) -> Line {
    let usual = Line::default();
    Line {
        latency: item.get("latency").map_or(usual.latency, |ms| millis(ms.min(60_000))),
        jitter: item.get("jitter").map_or(usual.jitter, |ms| millis(ms.min(60_000))),
        bandwidth: item.get("bandwidth").map_or(usual.bandwidth, |rate| rate.max(1000)),
        segment: (1, item.get("segment").map_or(usual.segment.1, |len| len.clamp(1, 1 << 20) as usize)),
        send_buffer: item.get("sndbuf").map_or(usual.send_buffer, |len| len.clamp(1, 1 << 24) as usize),
        window: item.get("window").map_or(usual.window, |len| len.clamp(1, 1 << 24) as usize),
    }
}

fn conf(item: &Item) -> Conf {
    let usual = Conf {
        alerts: AlertMask::ALL,
        max_alerts: 100_000,
        max_dial_failures: 1000,
        reconnect_max: Duration::from_secs(3),
        disk_retry: millis(500),
        ..Conf::default()
    };
    let rate = |key| item.get(key).and_then(|rate| Rate::new(rate.max(1000)));
    let size = |key, usual: usize, min: u64, max: u64| item.get(key).map_or(usual, |value| value.clamp(min, max) as usize);
    let run_len = size("run", usual.run_len as usize, 16 * 1024, 1 << 24).next_multiple_of(16 * 1024);
    let max_unsent = size("unsent", usual.max_unsent, 16 * 1024, 256 * 1024);
    Conf {
        run_len: run_len as u32,
        max_piece_memory: item.get("memory").map_or(usual.max_piece_memory, |runs| run_len * runs.clamp(2, 1000) as usize),
        max_pipeline: size("pipeline", usual.max_pipeline, 1, 1000),
        initial_pipeline: size("initial", usual.initial_pipeline, 1, 1000),
        max_unsent,
        max_request: 16 * 1024,
        max_upload_memory: size("uploads", usual.max_upload_memory, 2 * max_unsent as u64 + 40_000, 1 << 24),
        max_incoming_requests: size("requests", usual.max_incoming_requests, 1, 1000),
        max_links: size("links", usual.max_links, 1, 1000),
        max_links_per_torrent: size("torrent-links", usual.max_links_per_torrent, 1, 1000),
        max_dials: size("dials", usual.max_dials, 1, 1000),
        endgame_copies: size("copies", usual.endgame_copies.into(), 1, 200) as u8,
        save_interval: item.get("save").map_or(usual.save_interval, |ms| millis(ms.max(1))),
        max_checks: size("checks", usual.max_checks, 1, 1000),
        upload_slots: item.get("slots").map(|slots| slots as usize),
        seed_choking: match item.get("choking") {
            Some(1) => SeedChoking::FastestUpload,
            Some(2) => SeedChoking::AntiLeech,
            _ => usual.seed_choking,
        },
        suggest: item.get("suggest").is_some(),
        allowed_fast: size("allowed", usual.allowed_fast, 0, 100),
        limits: Limits { down: rate("down"), up: rate("up") },
        peer_limits: Limits { down: rate("peer-down"), up: rate("peer-up") },
        ..usual
    }
}

/// Every `n`th of all blocks, by a number that looks random.
fn every(n: u64) -> impl FnMut(Asked) -> bool {
    move |asked: Asked| {
        let number = u64::from(asked.block.piece.get()) * 7919 + u64::from(asked.block.begin) / 16384 * 104_729 + 13;
        number.is_multiple_of(n.max(1))
    }
}

fn manners(item: &Item, sample: &Sample) -> Manners {
    let (bad, mute, reject) = (item.get("bad"), item.get("mute"), item.get("reject"));
    let mut hit = every(bad.or(mute).or(reject).unwrap_or(1));
    let otherwise = item.get("dribble").map_or(Answer::Good, |ms| Answer::Dribble(millis(ms.max(1))));
    let answer = match (bad, mute, reject) {
        (Some(_), _, _) => Answer::Bad,
        (_, Some(_), _) => Answer::Nothing,
        (_, _, Some(_)) => Answer::Reject,
        _ => otherwise,
    };
    let (share, which) = (item.get("share").unwrap_or(16), item.get("which").unwrap_or(0));
    let mut has = Bitfield::none(sample.geometry().piece_count());
    let owned = |piece: u64| (piece + 1 + which).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 60 < share;
    sample.geometry().pieces().filter(|p| owned(p.get().into())).for_each(|p| _ = has.set(p));
    Manners {
        hello: [Hello::Proper, Hello::Silent, Hello::WrongTorrent, Hello::Garbage][item.get("hello").unwrap_or(0) as usize % 4],
        fast: item.get("nofast").is_none(),
        reqq: item.get("reqq").map(|n| n.min(1000) as u32),
        has: Some(has),
        unchoke_after: Some(millis(item.get("unchoke").unwrap_or(0))),
        flap: item.get("flap").map(|ms| millis(ms.max(1))),
        block_time: millis(item.get("block").unwrap_or(0)),
        answer: Box::new(move |asked| if hit(asked) { answer } else { otherwise }),
        keep_alive: item.get("alive").map(|ms| millis(ms.max(10))),
        ..Manners::default()
    }
}

impl<'a> Run<'a> {
    fn new(plan: &'a Plan, quiet: bool) -> Result<Self, Failure> {
        let mut world = World::new(plan.seed);
        world.set_quiet(quiet);
        let samples = plan.of(Kind::Torrent).into_iter().map(|torrent| sample(plan, torrent)).collect::<Result<Vec<_>, _>>()?;
        if samples.is_empty() {
            return Err(Failure::new("a plan without a torrent"));
        }
        let nobody = Item::new(Kind::Node, 0);
        let mut nodes = BTreeMap::new();
        let mut acts = BTreeMap::new();
        let mut items = plan.of(Kind::Node);
        if items.first().is_none_or(|first| first.id > 0) {
            nodes.insert(0, world.node(conf(&nobody)));
        }
        items.dedup_by_key(|item| item.id);
        for item in items {
            let node = world.node(conf(item));
            world.set_line(node, line(item));
            let usual = DiskPace::default();
            let max = item.get("disk").map_or(usual.max, millis);
            let hot = item.get("hot").map_or(usual.hot, |percent| percent.min(100) as _);
            world.set_disk_pace(node, DiskPace { max, hot, ..usual });
            nodes.insert(item.id, node);
            if item.id > 0 {
                let at = Instant::ZERO + millis(item.get("joins").unwrap_or(0));
                acts.insert((at, acts.len()), (item.id, Act::Join(item)));
            }
        }
        for item in plan.of(Kind::At) {
            let at = Instant::ZERO + millis(item.id);
            acts.insert((at, acts.len()), (item.get("node").unwrap_or(0), Act::Event(item)));
        }
        let mut peers = BTreeMap::new();
        for item in plan.of(Kind::Peer) {
            let torrent = item.get("torrent").unwrap_or(0) as usize % samples.len();
            let mask = item.get("dials").unwrap_or(0);
            let dials = nodes.iter().filter(|(id, _)| knows(mask, **id)).map(|(_, &node)| world.addr(node)).collect();
            let manners = Manners { dials, ..manners(item, &samples[torrent]) };
            let peer = world.scripted(Remote::new(&samples[torrent], item.id as u8, manners));
            world.set_line(peer, line(item));
            peers.insert(item.id, peer);
        }
        let seed = plan.of(Kind::Node).into_iter().find(|item| item.id == 0).unwrap_or(&nobody);
        for sample in &samples {
            let id = world.seed_with(nodes[&0], sample);
            if seed.get("super").is_some() {
                let _ = world.tell(nodes[&0], |engine| engine.set_super_seeding(id, true));
            }
        }
        let joined = [nodes[&0]].into();
        let next_act = acts.len();
        Ok(Self { world, samples, nodes, peers, joined, acts, next_act })
    }

    fn finish(mut self) -> Result<Outcome, Failure> {
        while let Some(((at, _), (id, act))) = self.acts.pop_first() {
            self.world.run_for(at.since(self.world.now()));
            if let Some(&node) = self.nodes.get(&id) {
                self.act(node, id, act);
            }
        }
        self.end_troubles();
        let nodes: Vec<_> = self.nodes.values().copied().collect();
        let limit = self.world.now() + PATIENCE;
        let idle = |w: &World| nodes.iter().all(|&node| w.is_complete(node)) || w.events() > MAX_EVENTS;
        let _ = self.world.run_until(idle, PATIENCE);
        if self.world.events() > MAX_EVENTS {
            return Err(Failure { details: self.standing(), ..Failure::new("a swarm that keeps busy without an end") });
        }
        if let Some((id, _)) = self.nodes.iter().find(|(_, node)| !self.world.is_complete(**node)) {
            let what = format!("node {id} does not get everything until {limit:?}");
            return Err(Failure { details: self.standing(), ..Failure::new(what) });
        }
        self.nobody_good_is_banned()?;
        nodes.iter().for_each(|&node| self.world.tell(node, |engine| engine.shutdown()));
        if !self.world.run_until(|w| nodes.iter().all(|&n| w.engine(n).is_drained()), Duration::from_secs(300)) {
            return Err(Failure { details: self.standing(), ..Failure::new("a node that does not shut down") });
        }
        for (id, &node) in &self.nodes {
            let engine = self.world.engine(node);
            let left = (engine.piece_memory(), engine.upload_memory());
            if left != (0, 0) {
                return Err(Failure::new(format!("node {id} has memory left after its end, for pieces and uploads: {left:?}")));
            }
        }
        Ok(Outcome { transcript: self.world.transcript(), events: self.world.events(), end: self.world.now() })
    }

    /// How everybody stands who lacks something.
    fn standing(&self) -> String {
        let mut text = String::new();
        for (id, &node) in self.nodes.iter().filter(|(_, node)| !self.world.is_complete(**node)) {
            text += &format!("\nnode {id}: {:#?}", self.world.stats_of(node));
            let engine = self.world.engine(node);
            for torrent in engine.torrents() {
                text += &format!("\n{:?}\n{:#?}", engine.have(torrent), engine.peers(torrent));
            }
        }
        text
    }

    fn nobody_good_is_banned(&self) -> Result<(), Failure> {
        for (id, &node) in &self.nodes {
            for (other, &good) in &self.nodes {
                let ip = self.world.addr(good).ip();
                if self.world.told(node, |alert| matches!(alert, Alert::PeerBanned { addr, .. } if addr.ip() == ip)).is_some() {
                    return Err(Failure::new(format!("node {id} has banned node {other}, which is good")));
                }
            }
        }
        Ok(())
    }

    fn later(&mut self, after: Duration, id: u64, act: Act<'a>) {
        // Behind whatever was planned for the same time before.
        self.next_act += 1;
        self.acts.insert((self.world.now() + after, self.next_act), (id, act));
    }

    fn is_up(&self, node: NodeId) -> bool {
        self.world.nodes[node.0].up
    }

    fn act(&mut self, node: NodeId, id: u64, act: Act<'a>) {
        match act {
            Act::Join(_) if !self.is_up(node) => self.later(millis(100), id, act),
            Act::Join(item) => {
                self.joined.insert(node);
                self.join(node, item);
            }
            Act::Event(item) => self.event(node, id, item),
            Act::Restart if !self.is_up(node) => self.world.restart(node),
            Act::Mend => self.world.set_cut(node, false),
            Act::AddAll if self.is_up(node) && self.joined.contains(&node) => self.add_all(node, id),
            Act::Restart | Act::AddAll => {}
        }
    }

    fn join(&mut self, node: NodeId, item: &Item) {
        let mask = item.get("knows").unwrap_or(u64::MAX);
        let everybody = self.nodes.iter().chain(&self.peers);
        let known = everybody.filter(|&(id, other)| *other != node && (*id == 0 || knows(mask, *id))).map(|(_, &node)| node);
        let known: Vec<_> = known.collect();
        for sample in self.samples.clone() {
            let params = TorrentParams {
                sequential: item.get("sequential").is_some(),
                super_seed: item.get("super").is_some(),
                ..self.world.params(node, &sample, &known)
            };
            self.world.add_torrent(node, &sample, params);
        }
    }

    /// Adds the torrents that were removed, once they are gone.
    fn add_all(&mut self, node: NodeId, id: u64) {
        let everybody: Vec<_> = self.nodes.values().copied().filter(|&other| other != node).collect();
        for sample in self.samples.clone() {
            let engine = self.world.engine(node);
            match engine.find(sample.metainfo.info_hash) {
                Some(torrent) if engine.stats(torrent).is_some_and(|stats| stats.phase == Phase::Closing) => {
                    return self.later(Duration::from_secs(1), id, Act::AddAll);
                }
                Some(_) => {}
                None => _ = self.world.download(node, &sample, &everybody),
            }
        }
    }

    fn event(&mut self, node: NodeId, id: u64, item: &Item) {
        let disk = self.world.disk(node);
        for &(key, value) in &item.values {
            let rate = Rate::new(value.max(1000));
            match key {
                "full" => disk.set(|t| t.capacity = Some(value)),
                "readonly" => disk.set(|t| t.read_only = true),
                "failsaves" => disk.set(|t| t.fail_saves = true),
                "failsyncs" => disk.set(|t| t.fail_syncs = true),
                "failreads" => disk.set(|t| t.fail_reads = true),
                "short" => disk.set(|t| t.short = true),
                "heal" => disk.set(|t| *t = Troubles::default()),
                "cut" => {
                    self.world.set_cut(node, true);
                    self.later(millis(value), id, Act::Mend);
                }
                _ if !self.is_up(node) => {}
                "kill" => {
                    self.world.kill(node);
                    if item.get("power").is_some() {
                        disk.lose_power();
                    }
                    self.later(millis(value), id, Act::Restart);
                }
                "pause" => self.all(node, |engine, id| engine.pause(id)),
                "resume" => self.all(node, |engine, id| engine.resume(id)),
                "recheck" => self.all(node, |engine, id| engine.recheck(id)),
                "slots" => self.all(node, |engine, id| engine.set_upload_slots(id, Some(value as usize))),
                "sequential" => self.all(node, |engine, id| engine.set_sequential(id, value > 0)),
                "super" => self.all(node, |engine, id| engine.set_super_seeding(id, value > 0)),
                "down" => self.world.tell(node, |engine| engine.set_limits(Limits { down: rate, ..engine.limits() })),
                "up" => self.world.tell(node, |engine| engine.set_limits(Limits { up: rate, ..engine.limits() })),
                "torrent-down" => self.limit(node, |limits| Limits { down: rate, ..limits }),
                "torrent-up" => self.limit(node, |limits| Limits { up: rate, ..limits }),
                "meet" => {
                    let Some(&other) = self.nodes.get(&value) else { continue };
                    let addr = self.world.addr(other);
                    self.all(node, |engine, id| engine.add_peer(id, addr));
                }
                "again" => {
                    self.all(node, |engine, id| engine.remove(id));
                    self.later(millis(100), id, Act::AddAll);
                }
                _ => {}
            }
        }
    }

    fn limit(&mut self, node: NodeId, change: impl Fn(Limits) -> Limits) {
        self.all(node, |engine, id| {
            let limits = engine.torrent_limits(id)?;
            engine.set_torrent_limits(id, change(limits))
        });
    }

    fn all<E>(&mut self, node: NodeId, verb: impl Fn(&mut Engine, TorrentId) -> Result<(), E>) {
        self.world.tell(node, |engine| engine.torrents().into_iter().for_each(|id| _ = verb(engine, id)));
    }

    /// Mends everything, and takes back what the users did that keeps them from their torrents.
    fn end_troubles(&mut self) {
        for node in self.nodes.values().copied().collect::<Vec<_>>() {
            self.world.disk(node).set(|t| *t = Troubles::default());
            self.all(node, |engine, id| engine.resume(id));
            if node == self.nodes[&0] && !self.world.is_complete(node) {
                // What it could not read it may take for missing, and nobody else has it.
                self.all(node, |engine, id| engine.recheck(id));
            }
            self.all(node, |engine, id| engine.set_upload_slots(id, None));
            self.all(node, |engine, id| engine.set_super_seeding(id, false));
            self.limit(node, |_| Limits::default());
            self.world.tell(node, |engine| engine.set_limits(Limits::default()));
            self.world.tell(node, |engine| engine.set_default_peer_limits(Limits::default()));
        }
    }
}

fn knows(mask: u64, id: u64) -> bool {
    mask >> (id % 64) & 1 == 1
}

fn sample(plan: &Plan, torrent: &Item) -> Result<Arc<Sample>, Failure> {
    let files = plan.of(Kind::File).into_iter().filter(|file| file.id == torrent.id).enumerate();
    let name = |nth: usize, file: &Item| match (file.get("pad"), nth % 2) {
        (Some(_), _) => String::new(),
        (None, 0) => format!("{nth}"),
        (None, _) => format!("dir/{nth}"),
    };
    let files: Vec<_> = files.map(|(nth, file)| (name(nth, file), file.get("len").unwrap_or(16 * 1024).min(1 << 26))).collect();
    let files: Vec<_> = files.iter().map(|(name, len)| (&**name, *len)).collect();
    // Nothing but pads cannot be told from nothing at all.
    if !files.iter().any(|(name, len)| !name.is_empty() && *len > 0) {
        return Err(Failure::new(format!("no torrent {}: it has no data", torrent.id)));
    }
    // Pieces of a few bytes would make a swarm that is small to read take hours.
    let piece = torrent.get("piece").unwrap_or(16 * 1024).clamp(4096, 1 << 26) as u32;
    Sample::folder(&format!("torrent-{}", torrent.id), &files, piece, torrent.id)
        .map_err(|error| Failure::new(format!("no torrent {}: {error}", torrent.id)))
}
