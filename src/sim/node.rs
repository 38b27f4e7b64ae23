//! What lives at an address of the world: an engine with its disk and workers, a script, or nothing
//! for now.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use super::{
    disk::MemDisk, keepsakes::Keepsakes, net::Line, sample::Sample, script::ScriptNode,
    violation::Verdict,
};
use crate::{
    alert::{Alert, Phase},
    base::{
        bitfield::Bitfield,
        files::{FileEntry, FileKind, Priority},
        geometry::PieceIndex,
        ids::{InfoHash, ReadId, TorrentId},
        job::{Job, RunData},
        rng::Rng,
        storage::{StoreSpec, Trust},
        time::Instant,
    },
    conf::Conf,
    engine::{Engine, StreamId, TorrentParams},
    store::{ReadPart, Reading, Runner, SessionFolder, Slots},
};

/// A node of a world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub(super) usize);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {}", self.0)
    }
}

/// How long a node's workers take: some time before and some after a job, by chance, and more the
/// more bytes it moves.
#[derive(Clone, Debug)]
pub struct DiskPace {
    /// The shortest wait.
    pub min: Duration,
    /// The longest wait.
    pub max: Duration,
    /// Bytes per second, over all jobs.
    pub bandwidth: u64,
    /// Of a hundred batches of blocks for peers, so many are at hand: they are read and sent
    /// within the turn that asks for them, as the reactor does it, and no worker sees them.
    pub hot: u8,
}

impl Default for DiskPace {
    fn default() -> Self {
        Self {
            min: Duration::from_micros(20),
            max: Duration::from_millis(2),
            bandwidth: 500_000_000,
            hot: 0,
        }
    }
}

impl DiskPace {
    pub(super) fn draw(&self, rng: &mut Rng) -> Duration {
        let span = self.max.saturating_sub(self.min).as_micros() as u64;
        self.min + Duration::from_micros(rng.below(span + 1))
    }

    pub(super) fn moving_time(&self, job: &Job) -> Duration {
        let bytes = match job {
            Job::Run { run, .. } => match &run.data {
                RunData::Memory(buf) => buf.0.len() as u64,
                RunData::Stretches(_, stretches) => {
                    stretches.iter().map(|s| u64::from(s.end - s.start)).sum()
                }
                RunData::Disk(len) => u64::from(*len),
            },
            Job::Read { blocks, .. } => blocks.iter().map(|block| u64::from(block.len)).sum(),
            Job::Extract { parts, .. } => parts.iter().map(|part| u64::from(part.range.len)).sum(),
            _ => 0,
        };
        Duration::from_micros(bytes * 1_000_000 / self.bandwidth.max(1))
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) body: Body,
    /// For people.
    pub(super) name: String,
    /// Not killed. What it was is kept: its disk and its user remember.
    pub(super) up: bool,
    pub(super) addr: SocketAddr,
    pub(super) line: Line,
    pub(super) pace: DiskPace,
    pub(super) listening: bool,
    /// Its user tells each of its engines where it is reached.
    pub(super) tells_place: bool,
    pub(super) cut: bool,
    /// Its machine knows that it has no network: dials fail at once.
    pub(super) routeless: bool,
    /// A box on its line resets connections that begin with a handshake in plain.
    pub(super) censored: bool,
    /// Which part of a partition it is in.
    pub(super) part: u32,
    /// Its router, by number, and its port there.
    pub(super) nat: Option<usize>,
    pub(super) outer_port: u16,
    /// Its local network, by number.
    pub(super) lan: Option<u32>,
    /// How long its connections last, on average.
    pub(super) flaky: Option<Duration>,
    /// One job in so many takes so much longer.
    pub(super) spikes: Option<(u64, Duration)>,
    /// How far its clock is ahead of the world's.
    pub(super) skew: Duration,
    /// Counts its starts, so that what was meant for an earlier one does not reach a later one.
    pub(super) life: u32,
    /// When the world will wake it, as its queue knows it.
    pub(super) wake: Option<(Instant, u64)>,
    /// When its line and its disk have nothing more to move.
    pub(super) line_free: Instant,
    pub(super) disk_free: Instant,
}

/// Where all nodes listen.
pub(super) const PORT: u16 = 6881;

/// Where the `nth` node of a world is.
pub(super) fn addr(nth: usize) -> SocketAddr {
    SocketAddr::from(([10, (nth / 200) as u8, (nth % 200) as u8, 1], PORT))
}

#[derive(Debug)]
pub(super) enum Body {
    Engine(Box<Host>),
    Script(ScriptNode),
}

impl Node {
    pub(super) fn new(body: Body, nth: usize) -> Self {
        let addr = addr(nth);
        Self {
            body,
            name: format!("node {nth}"),
            up: true,
            addr,
            line: Line::default(),
            pace: DiskPace::default(),
            listening: true,
            tells_place: false,
            cut: false,
            routeless: false,
            censored: false,
            part: 0,
            nat: None,
            outer_port: PORT,
            lan: None,
            flaky: None,
            spikes: None,
            skew: Duration::ZERO,
            life: 0,
            wake: None,
            line_free: Instant::ZERO,
            disk_free: Instant::ZERO,
        }
    }

    /// What its clock says when the world's says `now`.
    pub(super) fn clock(&self, now: Instant) -> Instant {
        now + self.skew
    }
}

/// An engine, its disk, its worker and its user.
#[derive(Debug)]
pub(super) struct Host {
    pub(super) conf: Conf,
    pub(super) engine: Engine,
    pub(super) runner: Runner,
    pub(super) disk: Arc<MemDisk>,
    /// Connection and side of each link.
    pub(super) streams: BTreeMap<StreamId, (u64, usize)>,
    pub(super) alerts: Vec<(Instant, Alert)>,
    pub(super) held: Vec<Held>,
    pub(super) peak_memory: usize,
    pub(super) peak_upload_memory: usize,
    /// Folders that it may write to beside those of its torrents.
    pub(super) folders: Vec<PathBuf>,
    /// What was verified in this life or an earlier one.
    pub(super) kept: Keepsakes,
    /// A second of its time, and how often it was woken in it.
    pub(super) wakes: (u64, u32),
    checks: u32,
    /// The user fetches no alerts.
    pub(super) deaf: bool,
    /// The reads of its user's that were answered.
    pub(super) answered: BTreeSet<ReadId>,
}

/// A torrent that a node has.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) id: TorrentId,
    pub(super) sample: Arc<Sample>,
    pub(super) params: TorrentParams,
    /// Pieces that the engine says it has and that were compared with the truth.
    pub(super) seen: Bitfield,
    /// Pieces that it had in this run and has lost at some time.
    pub(super) lost: Bitfield,
    /// The eavesdropper has not heard all: a connection was encrypted.
    pub(super) unheard: bool,
    /// Bytes of blocks that passed on the wire, as an eavesdropper counts them.
    pub(super) wire_up: u64,
    pub(super) wire_down: u64,
    /// Some of it with scripts.
    pub(super) met_script: bool,
    /// Bytes that had come when it was last seen to get on, and when that was.
    pub(super) got_on: Option<(u64, Instant)>,
}

impl Host {
    pub(super) fn new(conf: Conf, disk: Arc<MemDisk>, seed: u64, now: Instant) -> Self {
        let engine = match Engine::new(conf.clone(), seed, now) {
            Ok(engine) => engine,
            Err(error) => panic!("these settings cannot work: {error}"),
        };
        let mut engine = engine;
        engine.set_listen_port(Some(PORT));
        let runner = match &conf.session.dir {
            None => Runner::new(disk.clone()),
            Some(dir) => match SessionFolder::open(disk.clone(), dir, [seed as u8; 16]) {
                Ok((folder, restored)) => {
                    engine.restore(restored);
                    Runner::with_folder(disk.clone(), Arc::new(folder))
                }
                Err(error) => panic!("the session folder cannot be used: {error}"),
            },
        };
        Self {
            conf,
            engine,
            runner,
            disk,
            streams: BTreeMap::new(),
            alerts: Vec::new(),
            held: Vec::new(),
            peak_memory: 0,
            peak_upload_memory: 0,
            folders: Vec::new(),
            kept: Keepsakes::default(),
            wakes: (0, 0),
            checks: 0,
            deaf: false,
            answered: BTreeSet::new(),
        }
    }

    pub(super) fn hold(&mut self, id: TorrentId, sample: Arc<Sample>, params: TorrentParams) {
        let seen = Bitfield::none(sample.geometry().piece_count());
        let lost = seen.clone();
        self.held.retain(|held| held.sample.metainfo.info_hash() != sample.metainfo.info_hash());
        self.held.push(Held {
            id,
            sample,
            params,
            seen,
            lost,
            wire_up: 0,
            wire_down: 0,
            unheard: false,
            met_script: false,
            got_on: None,
        });
    }

    /// The torrent of this name, as it was added last.
    pub(super) fn held(&self, hash: InfoHash) -> Option<&Held> {
        self.held.iter().rev().find(|held| held.sample.has_hash(hash))
    }

    pub(super) fn held_mut(&mut self, hash: InfoHash) -> Option<&mut Held> {
        self.held.iter_mut().rev().find(|held| held.sample.has_hash(hash))
    }

    /// A worker is about to delete a torrent's data, as its user wants it.
    pub(super) fn forget_data(&mut self, spec: &StoreSpec) {
        // Not what was kept of it: that may have been forgotten with another that has its files.
        let gone = self.held(spec.identity.info_hash()).map(|held| held.sample.clone());
        let Some(gone) = gone else { return };
        let Self { kept, engine, .. } = self;
        kept.forget(&gone, |other| {
            let id = engine.find(other);
            let is_closing =
                |id| engine.stats(id).is_none_or(|stats| stats.phase == Phase::Closing);
            id.is_some_and(|id| engine.dir(id) == Some(&spec.dir) && !is_closing(id))
        });
    }

    /// Fetches what the engine has to tell its user.
    pub(super) fn fetch_alerts(&mut self, now: Instant) -> Verdict {
        let mut verdict = Ok(());
        while !self.deaf
            && let Some(alert) = self.engine.poll_alert()
        {
            self.take_note(&alert);
            verdict = verdict.and(self.rule_on_read(&alert));
            self.alerts.push((now, alert));
        }
        verdict
    }

    /// The user remembers where things are now.
    fn take_note(&mut self, alert: &Alert) {
        let (Alert::StorageMoved { torrent, .. } | Alert::FileRenamed { torrent, .. }) = alert
        else {
            return;
        };
        let Some(held) = self.held.iter_mut().find(|held| held.id == *torrent) else { return };
        match alert {
            Alert::StorageMoved { dir, .. } => {
                let old = std::mem::replace(&mut held.params.dir, dir.clone());
                let state = held.params.state_file.as_mut();
                state.into_iter().for_each(|state| *state = moved(state, &old, dir));
                // What was there is still to be deleted.
                self.folders.push(old);
            }
            Alert::FileRenamed { file, path, .. } => {
                held.params.renames.retain(|(other, _)| other != file);
                held.params.renames.push((*file, path.clone()));
            }
            _ => {}
        }
    }

    /// Whether it is time to look at everything.
    pub(super) fn is_inspection_due(&mut self, every: u32) -> bool {
        self.checks = self.checks.wrapping_add(1);
        every > 0 && self.checks.is_multiple_of(every)
    }
}

impl Held {
    /// What it is to be added with after a restart: as the user had it at the end.
    pub(super) fn params_now(&self, engine: &Engine) -> TorrentParams {
        let params = TorrentParams { trust: Trust::State, ..self.params.clone() };
        let Some(dir) = engine.dir(self.id).map(ToOwned::to_owned) else { return params };
        let state_file = params.state_file.as_ref().map(|state| moved(state, &params.dir, &dir));
        let (priorities, renames) = (engine.file_priorities(self.id), engine.renames(self.id));
        TorrentParams { dir, state_file, priorities, renames, ..params }
    }

    /// Whether a piece that is stored is what it should be.
    pub(super) fn is_true(&self, disk: &MemDisk, places: &Places, piece: PieceIndex) -> bool {
        let geometry = self.sample.geometry();
        let start = geometry.offset(piece);
        if let Some(storage) = &self.params.storage {
            let truth = self.sample.piece(piece);
            let mut buf = vec![0; truth.len()];
            let mut parts = [ReadPart { offset: start, buf: &mut buf }];
            return storage.read(&mut parts, Reading::Found).is_ok() && buf == truth;
        }
        let end = start + u64::from(geometry.piece_len(piece));
        self.sample.metainfo.files.iter().zip(&places.files).enumerate().all(
            |(file, (entry, path))| {
                let (from, to) = (start.max(entry.offset), end.min(entry.offset + entry.len));
                let Some(path) = path.as_ref().filter(|_| from < to) else { return true };
                let Some(bytes) = self.sample.data.get(from as usize..to as usize) else {
                    return false;
                };
                let at = from - entry.offset;
                let is_parked = || {
                    let place = places.slots.place(file, at, to - from);
                    place.is_some_and(|at| disk.holds(&places.parts, at, bytes))
                };
                // On a drive that is away there may be another state of the same file. One that is
                // skipped may come back with the drive, when the part file stands in for it.
                match disk.holds(path, at, bytes) {
                    true => true,
                    false if disk.sees(path) => places.skips(file) && is_parked(),
                    false => is_parked(),
                }
            },
        )
    }
}

/// Where a file is after a move of the folder that it was in, if it was.
fn moved(path: &Path, from: &Path, to: &Path) -> PathBuf {
    path.strip_prefix(from).map_or_else(|_| path.to_owned(), |below| to.join(below))
}

/// Where the bytes of a torrent are.
pub(super) struct Places {
    files: Vec<Option<PathBuf>>,
    parts: PathBuf,
    slots: Slots,
    priorities: Vec<Priority>,
}

impl Places {
    fn skips(&self, file: usize) -> bool {
        self.priorities.get(file) == Some(&Priority::Skip)
    }

    pub(super) fn of(engine: &Engine, held: &Held) -> Self {
        let metainfo = &held.sample.metainfo;
        let len = |file: &FileEntry| if file.kind == FileKind::Regular { file.len } else { 0 };
        let dir = engine.dir(held.id).unwrap_or(&held.params.dir);
        Self {
            files: engine.files(held.id).into_iter().map(|file| file.path).collect(),
            parts: dir.join(".cratetorrent").join(format!("{}.parts", metainfo.info_hash())),
            slots: Slots::new(
                metainfo.files.iter().map(|f| (f.offset, len(f))),
                &metainfo.geometry,
            ),
            priorities: engine.file_priorities(held.id),
        }
    }
}
