//! The download itself: one engine on its own thread, its alerts followed from here.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    ops::RangeInclusive,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use cratetorrent::{
    Alert, AlertMask, Alerts, Conf, EngineHandle, Phase, Priority, TorrentId, TorrentStats, Trust,
    Verbs, engine::TorrentParams, handle::NoAlert, wire::metainfo::Metainfo,
};

use serde_json::json;

use crate::{
    Problem,
    args::Options,
    common::{
        block, check_writable, complain,
        follow::{self, News},
        limits, listen,
        progress::{Progress, pace},
        read_magnet, read_metainfo, shut_down,
        signals::Interrupt,
        trackers::Trackers,
    },
};

/// How often to look at the clock when no alert comes.
const TICK: Duration = Duration::from_secs(1);

pub fn run(mut options: Options) -> Result<ExitCode, Problem> {
    let mut params = match read_magnet(&options.torrent) {
        Some(magnet) => TorrentParams::from_magnet(magnet?, &options.dir),
        None => TorrentParams::new(Arc::new(read_metainfo(&options.torrent)?), &options.dir),
    };
    let known = params.source.metainfo().cloned();
    if let Some(metainfo) = &known {
        if metainfo.private {
            options.place.switch_off_discovery();
        }
        params.priorities = priorities(metainfo, options.select.as_deref())?;
        params.trackers = Some(metainfo.trackers.clone());
    }
    let mut trackers = params.trackers.take().unwrap_or_default();
    trackers.extend_from_slice(&options.trackers);
    let is_tracked = trackers.iter().any(|tier| !tier.is_empty());
    params.trackers = Some(trackers);
    params.peers.extend_from_slice(&options.peers);
    params.web_seeds.extend_from_slice(&options.web_seeds);
    let is_on_the_web = options.place.has_web_seeds()
        && known
            .as_ref()
            .is_some_and(|metainfo| !metainfo.web_seeds.is_empty() || !params.web_seeds.is_empty());
    let has_source =
        is_tracked || is_on_the_web || !params.peers.is_empty() || options.place.has_discovery();
    params.sequential = options.sequential;
    params.stop = Some(options.stop);
    params.renames = options.names.clone();
    let state = params.state_file.clone();
    params.trust = if options.recheck { Trust::Nothing } else { Trust::State };

    let (engine, alerts) = start(&options)?;
    let stop = engine.clone();
    let interrupt = Interrupt::catch(move || stop.shutdown())?;
    let added = engine.call(move |engine| engine.add_torrent(params)).map_err(Problem::of)?;
    let torrent = added.map_err(Problem::of)?;
    let (metainfo, news) = match known {
        Some(metainfo) => (metainfo, Vec::new()),
        None if !has_source && !options.place.has_port() => {
            return Err(Problem::new(NO_PEERS));
        }
        None => {
            let Some(come) = await_metainfo(&engine, &alerts, torrent, &interrupt)? else {
                return Ok(ExitCode::from(interrupt.exit_code().unwrap_or(1)));
            };
            choose(&engine, torrent, &come.0, options.select.as_deref())?;
            come
        }
    };

    let progress = Progress::new(metainfo.geometry.total_len(), options.show);
    let mut fetch = Fetch::new(options, &metainfo, engine, torrent, progress);
    fetch.has_source = has_source;
    let outcome = news
        .into_iter()
        .try_for_each(|alert| fetch.handle(alert))
        .and_then(|()| fetch.follow(&alerts, &interrupt));
    let saved = fetch.end(&alerts, outcome.is_ok());
    match outcome? {
        Outcome::Complete if !saved => Ok(ExitCode::FAILURE),
        Outcome::Complete => {
            if let Some(state) = state.filter(|_| fetch.is_done_with()) {
                forget(&state);
            }
            Ok(ExitCode::SUCCESS)
        }
        Outcome::Stopped(code) => {
            fetch.progress.say(
                "stopped; what was downloaded is kept, and the same command goes on from there",
            );
            Ok(ExitCode::from(code))
        }
    }
}

const NO_PEERS: &str = "no peer to download from: the torrent has no trackers, so name some with \
                        --tracker, peers with --peer or servers with --web-seed, let peers come \
                        with --port, or do without --no-dht or --no-lsd (which find no private \
                        torrent)";

/// A metainfo that has come, and alerts that came meanwhile and are for the download.
type Come = (Arc<Metainfo>, Vec<Alert>);

/// Waits until peers have given the metainfo of a magnet link; `None` if a signal has come.
fn await_metainfo(
    engine: &EngineHandle,
    alerts: &Alerts,
    torrent: TorrentId,
    interrupt: &Interrupt,
) -> Result<Option<Come>, Problem> {
    complain("asking peers what the torrent is");
    let mut news = Vec::new();
    loop {
        let alert = alerts.recv_timeout(TICK);
        if interrupt.exit_code().is_some() {
            return Ok(None);
        }
        match alert {
            Ok(Alert::FetchingMetadata { peers, resting, have, total, .. }) => {
                log::info!("{have} of {total} bytes; {peers} peers offer it, {resting} rest");
            }
            Ok(Alert::MetadataRefused { error, .. }) => return Err(Problem::new(error)),
            Ok(Alert::PeerBanned { addr, .. }) => {
                complain(&format!("peer {addr} sent bad data and is banned"));
            }
            Ok(Alert::PeerGone { addr, reason, .. }) => log::info!("peer {addr}: {reason}"),
            Ok(alert) => news.push(alert),
            Err(NoAlert::Yet) => {}
            Err(NoAlert::Ended) => {
                return Err(Problem::new("the engine failed; RUST_LOG=error tells why"));
            }
        }
        let metainfo = engine.call(move |engine| engine.metainfo(torrent)).map_err(Problem::of)?;
        if let Some(metainfo) = metainfo {
            return Ok(Some((metainfo, news)));
        }
    }
}

/// What `--select` says counts more than what the link does.
fn choose(
    engine: &EngineHandle,
    torrent: TorrentId,
    metainfo: &Metainfo,
    select: Option<&[RangeInclusive<usize>]>,
) -> Result<(), Problem> {
    if select.is_none() {
        return Ok(());
    }
    let priorities = priorities(metainfo, select)?;
    let set = move |engine: &mut Verbs<'_>| engine.set_file_priorities(torrent, priorities);
    engine.call(set).map_err(Problem::of)?.map_err(Problem::of)
}

enum Outcome {
    Complete,
    /// By a signal, before it was complete; with the exit code that tells so.
    Stopped(u8),
}

/// How much each file is wanted.
fn priorities(
    metainfo: &Metainfo,
    select: Option<&[RangeInclusive<usize>]>,
) -> Result<Vec<Priority>, Problem> {
    let Some(select) = select else { return Ok(Vec::new()) };
    let count = metainfo.files.len();
    if let Some(range) = select.iter().find(|range| *range.end() >= count) {
        let what = format!(
            "--select: there is no file {}; the torrent's files are 0 to {}",
            range.end(),
            count - 1
        );
        return Err(Problem::usage(what));
    }
    let priority = |at| match select.iter().any(|range| range.contains(&at)) {
        true => Priority::Normal,
        false => Priority::Skip,
    };
    Ok((0..count).map(priority).collect())
}

/// Removes the state of a download that is whole, and its folder if nothing else is in it.
fn forget(state: &Path) {
    let _ = fs::remove_file(state);
    if let Some(folder) = state.parent() {
        let _ = fs::remove_dir(folder);
    }
}

/// Makes the download folder, and finds out whether it can be written to.
fn prepare(dir: &Path) -> Result<(), Problem> {
    let made = fs::create_dir_all(dir).and_then(|()| check_writable(dir));
    made.map_err(|e| Problem::new(format!("cannot download to {}: {e}", dir.display())))
}

/// Starts an engine that listens where it should.
fn start(options: &Options) -> Result<(EngineHandle, Alerts), Problem> {
    let mut conf = Conf::default().with(|conf| {
        conf.alerts.mask = AlertMask::STATUS
            | AlertMask::PROGRESS
            | AlertMask::PEERS
            | AlertMask::BANS
            | AlertMask::TRACKERS;
        // The user named these peers, so they are worth trying until the user's own time-out.
        conf.peers.max_dial_failures = u32::MAX;
        conf.peers.reconnect_max = Duration::from_secs(10);
        conf.network.limits = options.limits;
    });
    limits::use_all_descriptors(&mut conf);
    let (engine, alerts) = options.place.start(conf, options.seed)?;
    if let Some(path) = &options.blocklist {
        block(&engine, path)?;
    }
    Ok((engine, alerts))
}

/// One torrent on its way.
struct Fetch {
    options: Options,
    engine: EngineHandle,
    torrent: TorrentId,
    progress: Progress,
    name: String,
    pieces: u32,
    total: u64,
    started: Instant,
    complete: bool,
    /// It has served enough.
    served: bool,
    /// Pieces that are there.
    have: u32,
    /// It is known what is there.
    began: bool,
    /// When a peer was last connected, or had no reason to be.
    last_peer: Instant,
    /// What each peer was last gone for.
    reasons: BTreeMap<SocketAddr, String>,
    /// There are trackers, web seeds, peers that the user has named, or a DHT.
    has_source: bool,
    trackers: Trackers,
}

impl Fetch {
    fn new(
        options: Options,
        metainfo: &Metainfo,
        engine: EngineHandle,
        torrent: TorrentId,
        progress: Progress,
    ) -> Self {
        let now = Instant::now();
        Self {
            options,
            engine,
            torrent,
            progress,
            // A foreign word: it may not write all over the terminal.
            name: metainfo.name.escape_debug().to_string(),
            pieces: metainfo.geometry.piece_count(),
            total: metainfo.geometry.total_len(),
            started: now,
            complete: false,
            served: false,
            have: 0,
            began: false,
            last_peer: now,
            reasons: BTreeMap::new(),
            has_source: false,
            trackers: Trackers::default(),
        }
    }

    /// Follows the alerts until there is an outcome.
    fn follow(&mut self, alerts: &Alerts, interrupt: &Interrupt) -> Result<Outcome, Problem> {
        loop {
            let news = follow::next(alerts, &self.engine, self.torrent, TICK);
            // What comes after the signal is the engine's own farewell.
            if let Some(code) = interrupt.exit_code() {
                return Ok(if self.complete { Outcome::Complete } else { Outcome::Stopped(code) });
            }
            match news? {
                News::Alert(alert) => self.handle(alert)?,
                News::Stats(stats) => self.handle_stats(&stats),
                News::Nothing => {}
            }
            if self.complete && (self.served || !self.options.seed) {
                return Ok(Outcome::Complete);
            }
            self.give_up_without_peers()?;
        }
    }

    fn handle(&mut self, alert: Alert) -> Result<(), Problem> {
        match alert {
            Alert::Checked { have, .. } => self.begin(have)?,
            Alert::Progress { stats, .. } => self.handle_stats(&stats),
            Alert::Finished { stats, .. } => {
                self.have = stats.have;
                self.finished(stats.downloaded);
            }
            Alert::StopReached { .. } => {
                self.served = true;
                self.progress.say("served as much as was asked for");
            }
            Alert::HashesContradict { piece, .. } => {
                let what = format!(
                    "version 1 and version 2 of the torrent contradict each other in piece {}",
                    piece.get()
                );
                return Err(Problem::new(what));
            }
            Alert::StorageFailed { error, retry_in: None, .. } => {
                return Err(Problem::new(error.to_string()));
            }
            Alert::StorageFailed { error, .. } if !self.complete => {
                return Err(Problem::new(format!(
                    "{error}; verified pieces are kept, and the same command goes on from there"
                )));
            }
            // The user of a download wants the data, unless it went meanwhile.
            Alert::DataGone { torrent, dir } if !self.began => {
                self.progress.say(&format!(
                    "its data is gone from {}; it is downloaded anew",
                    dir.display()
                ));
                let _ = self.engine.call(move |engine| engine.download_anew(torrent));
            }
            Alert::DataGone { dir, .. } => {
                return Err(Problem::new(format!("its data is gone from {}", dir.display())));
            }
            // Others may still have what can be read.
            Alert::StorageFailed { error, .. } => complain(&error.to_string()),
            Alert::PeerConnected { addr, id, .. } => {
                self.last_peer = Instant::now();
                log::info!("peer {addr} is connected: {id}");
            }
            Alert::PeerGone { addr, reason, .. } => self.peer_gone(addr, reason),
            alert => follow::tell(&alert, &mut self.progress, &mut self.trackers),
        }
        Ok(())
    }

    /// It is known what is there; now the rest.
    fn begin(&mut self, have: u32) -> Result<(), Problem> {
        self.last_peer = Instant::now();
        self.have = have;
        self.began = true;
        if have == self.pieces {
            self.finished(0);
        } else if !self.has_source && !self.options.place.has_port() {
            return Err(Problem::new(NO_PEERS));
        } else if !self.complete {
            // Seeding from a read-only folder is fine; filling one is not, which should not wait
            // for the first piece.
            prepare(&self.options.dir)?;
            self.progress.say(&format!(
                "{}: {have} of {} pieces are there, fetching the others",
                self.name, self.pieces
            ));
        }
        Ok(())
    }

    fn handle_stats(&mut self, stats: &TorrentStats) {
        if stats.peers + stats.web_seeds > 0 || stats.phase != Phase::Downloading {
            self.last_peer = Instant::now();
        }
        match stats.phase {
            Phase::Downloading => self.progress.downloading(stats),
            Phase::Seeding => self.progress.seeding(stats),
            _ => {}
        }
    }

    /// Whether nothing is left to do with this torrent, now or at another start.
    fn is_done_with(&self) -> bool {
        self.complete && self.have == self.pieces && (self.served || !self.options.seed)
    }

    fn finished(&mut self, downloaded: u64) {
        if std::mem::replace(&mut self.complete, true) {
            return;
        }
        self.progress.end();
        let (dir, took) = (self.options.dir.display(), self.started.elapsed());
        let place = format!("{} in {dir}", self.name);
        let object = json!({
            "event": "complete",
            "name": self.name,
            "dir": self.options.dir.to_string_lossy(),
            "pieces": self.have,
            "total_pieces": self.pieces,
            "downloaded_bytes": downloaded,
            "seconds": took.as_secs_f64(),
        });
        let line = match (downloaded, self.have == self.pieces) {
            (0, true) => {
                format!("complete already: all {} pieces of {place} are there", self.pieces)
            }
            (0, false) => format!("complete already: the selected files of {place} are there"),
            (_, true) => format!("complete: {place}, {}", pace(self.total, took)),
            (bytes, false) => {
                format!("complete: the selected files of {place}, {}", pace(bytes, took))
            }
        };
        self.progress.fact(&line, &object);
        if self.options.seed && !self.engine.local_addrs().is_empty() {
            self.progress
                .say(&format!("seeding on {}; Ctrl-C ends it", listen::places(&self.engine)));
        }
    }

    fn peer_gone(&mut self, addr: SocketAddr, reason: String) {
        // A swarm comes and goes; only the named peers are worth a line, and only news.
        if self.complete
            || !self.options.peers.contains(&addr)
            || self.reasons.get(&addr) == Some(&reason)
        {
            return;
        }
        self.progress.say(&format!("peer {addr}: {reason}"));
        self.reasons.insert(addr, reason);
    }

    fn give_up_without_peers(&mut self) -> Result<(), Problem> {
        let Some(timeout) = self.options.timeout else { return Ok(()) };
        // The word that the check is over may wait behind others, and the time begins with it.
        if self.complete || !self.began || self.last_peer.elapsed() < timeout {
            return Ok(());
        }
        // A check may take longer than that, and asks no peer: only a torrent that downloads lacks
        // peers.
        let torrent = self.torrent;
        if let Ok(Some(stats)) = self.engine.call(move |engine| engine.stats(torrent)) {
            self.handle_stats(&stats);
            if self.last_peer.elapsed() < timeout {
                return Ok(());
            }
        }
        let mut why: Vec<String> =
            self.reasons.iter().map(|(addr, reason)| format!("{addr}: {reason}")).collect();
        why.extend(self.trackers.failures());
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
        let kept = "what was downloaded is kept, and the same command goes on from there";
        Err(Problem::new(format!("no peer was connected for {} s{why}; {kept}", timeout.as_secs())))
    }

    /// Returns whether everything that was to be saved is.
    fn end(&self, alerts: &Alerts, tell: bool) -> bool {
        self.progress.end();
        shut_down(&self.engine, alerts, tell)
    }
}
