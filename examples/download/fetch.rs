//! The download itself: one engine on its own thread, its alerts followed from here.

use std::{
    fs,
    ops::RangeInclusive,
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use cratetorrent::{
    Alert, AlertMask, Alerts, Conf, EngineHandle, Phase, Priority, TorrentId, TorrentStats, Trust,
    Verbs, engine::TorrentParams, wire::metainfo::Metainfo,
};

use serde_json::{Value, json};

use crate::{
    Problem,
    args::Options,
    common::{
        check_writable, complain,
        follow::{self, News},
        limits, listen, names,
        nodes::Nodes,
        progress::{MetadataProgress, Progress, pace},
        read_magnet, read_metainfo, shut_down,
        signals::Interrupt,
    },
    link::{self, Link},
    patience::Patience,
};

/// How often to look at the clock when no alert comes.
const TICK: Duration = Duration::from_secs(1);

pub fn run(mut options: Options) -> Result<ExitCode, Problem> {
    let mut params = match read_magnet(&options.torrent) {
        Some(magnet) => TorrentParams::from_magnet(magnet?, &options.dir),
        None => TorrentParams::new(Arc::new(read_metainfo(&options.torrent)?), &options.dir),
    };
    let link = Link::of(&params);
    if let Some(metainfo) = link.as_ref().and_then(Link::learned) {
        params.source = metainfo.into();
    }
    let known = params.source.metainfo().cloned();
    if let Some(metainfo) = &known {
        if metainfo.private {
            options.place.switch_off_discovery();
        }
        params.priorities = match (&options.select, &link) {
            (None, Some(link)) => link.priorities(metainfo)?,
            (select, _) => priorities(metainfo, select.as_deref())?,
        };
        // A link names its own, whatever an earlier one named.
        if link.is_none() {
            params.trackers = Some(metainfo.trackers.clone());
        }
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

    let (engine, alerts, nodes) = start(&options)?;
    let (stop, noted) = (engine.clone(), nodes.clone());
    let interrupt = Interrupt::catch(move || {
        noted.note();
        stop.shutdown();
    })?;
    let added = engine.call(move |engine| engine.add_torrent(params)).map_err(Problem::of);
    let added = added.and_then(|added| added.map_err(names::refused));
    // An engine that ends on a signal refuses the torrent.
    if let (Err(_), Some(code)) = (&added, interrupt.exit_code()) {
        return Ok(ExitCode::from(code));
    }
    let torrent = added?;
    if known.is_none() && !has_source && !options.place.has_port() {
        return Err(Problem::new(NO_PEERS));
    }

    let mut fetch = Fetch::new(options, engine, torrent, has_source);
    fetch.link = link;
    match &known {
        Some(metainfo) => fetch.set_subject(metainfo),
        None => fetch.progress.say("asking peers what the torrent is"),
    }
    let outcome = fetch.follow(&alerts, &interrupt);
    let saved = fetch.end(&alerts, &nodes, outcome.is_ok());
    match outcome? {
        Outcome::Complete if !saved => Ok(ExitCode::FAILURE),
        Outcome::Complete => {
            // The end has made it safe, if nothing has before.
            fetch.tell_complete();
            if let Some(state) = state.filter(|_| fetch.is_done_with()) {
                // What a link stands for is not kept beyond the end.
                let file = known.filter(|_| fetch.link.is_none());
                let lacks = file.and_then(|known| Some(!known.trees.as_ref()?.is_complete()));
                forget(&state, lacks == Some(true));
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

/// Removes the state of a download that is whole, and its folder if nothing else is in it. Piece
/// layers that came from peers stay if the torrent's file `lacks` them: the next start, or who
/// serves it, has them from there.
fn forget(state: &Path, lacks: bool) {
    let _ = fs::remove_file(state);
    let _ = fs::remove_file(link::learned_file(state));
    if !lacks {
        let _ = fs::remove_file(state.with_added_extension("layers"));
    }
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
fn start(options: &Options) -> Result<(EngineHandle, Alerts, Nodes), Problem> {
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
    options.place.start(conf, options.seed, options.blocklist.as_deref())
}

/// What is downloaded.
struct Subject {
    name: String,
    pieces: u32,
    total: u64,
}

impl Subject {
    fn of(metainfo: &Metainfo) -> Self {
        Self {
            // A foreign word: it may not write all over the terminal.
            name: metainfo.name.escape_debug().to_string(),
            pieces: metainfo.geometry.piece_count(),
            total: metainfo.geometry.total_len(),
        }
    }
}

/// What is told of a download that is complete: words, and an object.
type Told = (String, Value);

/// One torrent on its way.
struct Fetch {
    options: Options,
    engine: EngineHandle,
    torrent: TorrentId,
    progress: Progress,
    /// `None` until peers have told what a magnet link stands for.
    subject: Option<Subject>,
    link: Option<Link>,
    metadata: MetadataProgress,
    started: Instant,
    /// All that is wanted is there.
    complete: bool,
    /// What is to be told of that when it is safe on disk.
    untold: Option<Told>,
    /// It has served enough.
    served: bool,
    /// Pieces that are there.
    have: u32,
    /// It is known what is there.
    began: bool,
    patience: Patience,
    /// There are trackers, web seeds, peers that the user has named, or a DHT.
    has_source: bool,
}

impl Fetch {
    fn new(options: Options, engine: EngineHandle, torrent: TorrentId, has_source: bool) -> Self {
        Self {
            progress: Progress::new(options.show),
            options,
            engine,
            torrent,
            subject: None,
            link: None,
            metadata: MetadataProgress::default(),
            started: Instant::now(),
            complete: false,
            untold: None,
            served: false,
            have: 0,
            began: false,
            patience: Patience::new(),
            has_source,
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
            if self.is_safe() && (self.served || !self.options.seed) {
                return Ok(Outcome::Complete);
            }
            self.give_up_without_peers()?;
        }
    }

    /// Peers have told what a magnet link stands for.
    fn learn(&mut self) -> Result<(), Problem> {
        let torrent = self.torrent;
        let metainfo =
            self.engine.call(move |engine| engine.metainfo(torrent)).map_err(Problem::of)?;
        if let Some(metainfo) = metainfo {
            if let Some(link) = &self.link {
                link.learn(&metainfo);
                if self.options.select.is_none() {
                    // The engine wants these by itself; they are to be some.
                    link.priorities(&metainfo)?;
                }
            }
            choose(&self.engine, torrent, &metainfo, self.options.select.as_deref())?;
            self.set_subject(&metainfo);
        }
        Ok(())
    }

    fn set_subject(&mut self, metainfo: &Metainfo) {
        let subject = Subject::of(metainfo);
        self.progress.set_total(subject.total);
        self.subject = Some(subject);
    }

    fn handle(&mut self, alert: Alert) -> Result<(), Problem> {
        match alert {
            Alert::Checked { have, .. } => self.begin(have)?,
            Alert::Progress { stats, .. } => self.handle_stats(&stats),
            Alert::Finished { stats, .. } => {
                self.have = stats.have;
                self.finished(stats.downloaded);
            }
            Alert::Saving { done, total, .. } if self.complete && !self.is_safe() => {
                self.progress.writing(done, total);
            }
            Alert::Saved { have, .. } if self.complete && have >= self.have => self.safe(),
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
            Alert::StorageFailed { error, .. } if !self.is_safe() => {
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
            Alert::FetchingMetadata { peers, resting, have, total, .. } => {
                let nodes = self.metadata.nodes;
                self.metadata =
                    MetadataProgress { offer: peers, rest: resting, have, total, nodes };
            }
            Alert::MetadataReceived { .. } => self.learn()?,
            // A name that was asked for does not fit what the link stands for.
            Alert::FileRenameFailed { file, error, .. } => {
                return Err(Problem::usage(format!("file {file}: {error}")));
            }
            Alert::MetadataRefused { error, .. } => return Err(Problem::new(error)),
            Alert::NoPeers { no_peers, .. } => {
                self.progress.say(&no_peers.to_string());
            }
            Alert::PeerConnected { addr, id, .. } => {
                self.patience.renew();
                log::info!("peer {addr} is connected: {id}");
            }
            // A swarm comes and goes; only the named peers are worth a line.
            Alert::PeerGone { addr, reason, .. } => {
                if !self.complete && self.options.peers.contains(&addr) {
                    self.patience.handle_gone(addr, reason, &self.progress);
                }
            }
            alert => follow::tell(&alert, &mut self.progress, &mut self.patience.trackers),
        }
        Ok(())
    }

    /// It is known what is there; now the rest.
    fn begin(&mut self, have: u32) -> Result<(), Problem> {
        self.patience.renew();
        self.have = have;
        self.began = true;
        let Some(Subject { name, pieces, .. }) = &self.subject else { return Ok(()) };
        if have == *pieces {
            self.finished(0);
        } else if !self.has_source && !self.options.place.has_port() {
            return Err(Problem::new(NO_PEERS));
        } else if !self.complete {
            // Seeding from a read-only folder is fine; filling one is not, which should not wait
            // for the first piece.
            prepare(&self.options.dir)?;
            self.progress
                .say(&format!("{name}: {have} of {pieces} pieces are there, fetching the others"));
        }
        Ok(())
    }

    fn handle_stats(&mut self, stats: &TorrentStats) {
        self.patience.handle_stats(stats);
        match stats.phase {
            Phase::Metadata => {
                self.metadata.nodes = self.dht_nodes();
                self.progress.metadata(stats.peers, &self.metadata);
            }
            _ if self.complete && !self.is_safe() => self.progress.writing(0, 0),
            Phase::Downloading => self.progress.downloading(stats),
            Phase::Seeding => self.progress.seeding(stats),
            _ => {}
        }
    }

    /// The nodes of the DHT that are known, if it takes part in it.
    fn dht_nodes(&self) -> Option<usize> {
        let stats = self.engine.call(|engine| engine.dht_stats()).ok()??;
        Some(stats.nodes_v4 + stats.nodes_v6)
    }

    /// Whether nothing is left to do with this torrent, now or at another start.
    fn is_done_with(&self) -> bool {
        let is_whole = self.subject.as_ref().is_some_and(|subject| self.have == subject.pieces);
        self.complete && is_whole && (self.served || !self.options.seed)
    }

    /// Whether all that is wanted is there, and safe on disk.
    fn is_safe(&self) -> bool {
        self.complete && self.untold.is_none()
    }

    fn finished(&mut self, downloaded: u64) {
        if std::mem::replace(&mut self.complete, true) {
            return;
        }
        let Some(Subject { name, pieces, total }) = &self.subject else { return };
        let (dir, took) = (self.options.dir.display(), self.started.elapsed());
        let place = format!("{name} in {dir}");
        let object = json!({
            "event": "complete",
            "name": name,
            "dir": self.options.dir.to_string_lossy(),
            "pieces": self.have,
            "total_pieces": pieces,
            "downloaded_bytes": downloaded,
            "seconds": took.as_secs_f64(),
        });
        let line = match (downloaded, self.have == *pieces) {
            (0, true) => {
                format!("complete already: all {} pieces of {place} are there", pieces)
            }
            (0, false) => format!("complete already: the selected files of {place} are there"),
            (_, true) => format!("complete: {place}, {}", pace(*total, took)),
            (bytes, false) => {
                format!("complete: the selected files of {place}, {}", pace(bytes, took))
            }
        };
        self.untold = Some((line, object));
        if downloaded == 0 {
            // Nothing of it was written.
            self.safe();
        } else if matches!(self.progress, Progress::Bar(_)) {
            // Elsewhere it is told if it takes its time.
            self.progress.writing(0, 0);
        }
    }

    /// It is complete, and safe on disk.
    fn safe(&mut self) {
        if self.untold.is_some() {
            self.tell_complete();
            if self.options.seed && !self.engine.local_addrs().is_empty() {
                self.progress
                    .say(&format!("seeding on {}; Ctrl-C ends it", listen::places(&self.engine)));
            }
        }
    }

    /// Tells that it is complete, if that was not told yet.
    fn tell_complete(&mut self) {
        let Some((line, object)) = self.untold.take() else { return };
        self.progress.end();
        self.progress.fact(&line, &object);
    }

    fn give_up_without_peers(&mut self) -> Result<(), Problem> {
        let timeout = match &self.subject {
            None => self.options.metadata_timeout,
            // The word that the check is over may wait behind others, and the time begins with it.
            Some(_) if self.complete || !self.began => None,
            Some(_) => self.options.timeout,
        };
        let Some(timeout) = timeout.filter(|&timeout| self.patience.is_over(timeout)) else {
            return Ok(());
        };
        // A check may take longer than that, and asks no peer: only a torrent that downloads lacks
        // peers.
        let torrent = self.torrent;
        if let Ok(Some(stats)) = self.engine.call(move |engine| engine.stats(torrent)) {
            self.handle_stats(&stats);
        }
        if self.patience.is_over(timeout) {
            Err(self.patience.problem(timeout, self.dht_nodes()))
        } else {
            Ok(())
        }
    }

    /// Returns whether everything that was to be saved is.
    fn end(&self, alerts: &Alerts, nodes: &Nodes, tell: bool) -> bool {
        self.progress.end();
        shut_down(&self.engine, alerts, nodes, tell)
    }
}
