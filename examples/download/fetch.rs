//! The download itself: one engine on its own thread, its alerts followed from here.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use cratetorrent::{
    Alert, AlertMask, Alerts, Conf, EngineHandle, NoAlert, Phase, ReactorError, TorrentId, TorrentStats, engine::TorrentParams,
    spawn, wire::metainfo::Metainfo,
};

use crate::{
    Problem,
    args::Options,
    progress::{Progress, pace},
    signals::Interrupt,
};

/// The longest metainfo file worth reading.
const MAX_METAINFO: u64 = 30 << 20;
/// The ports to try for seeding when none is asked for.
const PORTS: std::ops::RangeInclusive<u16> = 6881..=6889;
/// How long an engine may take to save its states and end.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often to look at the clock when no alert comes.
const TICK: Duration = Duration::from_secs(1);

pub fn run(options: Options) -> Result<ExitCode, Problem> {
    let metainfo = Arc::new(read_metainfo(&options.torrent)?);
    let (engine, alerts) = start(&options)?;
    let stop = engine.clone();
    let interrupt = Interrupt::catch(move || stop.shutdown())?;

    let mut params = TorrentParams::new(metainfo.clone(), &options.dir);
    params.peers = options.peers.clone();
    params.sequential = options.sequential;
    params.recheck = options.recheck;
    let added = engine.call(move |engine| engine.add_torrent(params)).map_err(|e| Problem::new(e.to_string()))?;
    let torrent = added.map_err(|e| Problem::new(e.to_string()))?;

    let progress = Progress::new(metainfo.geometry.total_len(), options.quiet);
    let mut fetch = Fetch::new(options, &metainfo, engine, torrent, progress);
    let outcome = fetch.follow(&alerts, &interrupt);
    fetch.end(&alerts, outcome.is_ok());
    match outcome? {
        Outcome::Complete => Ok(ExitCode::SUCCESS),
        Outcome::Stopped(code) => {
            fetch.progress.say("stopped; what was downloaded is kept, and the same command goes on from there");
            Ok(ExitCode::from(code))
        }
    }
}

enum Outcome {
    Complete,
    /// By a signal, before it was complete; with the exit code that tells so.
    Stopped(u8),
}

fn read_metainfo(path: &Path) -> Result<Metainfo, Problem> {
    let cannot = |e: &dyn std::fmt::Display| Problem::new(format!("cannot read {}: {e}", path.display()));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|e| cannot(&e))?;
    file.take(MAX_METAINFO + 1).read_to_end(&mut bytes).map_err(|e| cannot(&e))?;
    Metainfo::from_bytes(&bytes).map_err(|e| cannot(&e))
}

/// Makes the download folder, and finds out whether it can be written to.
fn prepare(dir: &Path) -> Result<(), Problem> {
    use rustix::fs::{Access, access};
    let made = fs::create_dir_all(dir).and_then(|()| Ok(access(dir, Access::WRITE_OK | Access::EXEC_OK)?));
    made.map_err(|e| Problem::new(format!("cannot download to {}: {e}", dir.display())))
}

/// Starts an engine that listens where it should.
fn start(options: &Options) -> Result<(EngineHandle, Alerts), Problem> {
    let conf = Conf {
        alerts: AlertMask::STATUS | AlertMask::PROGRESS | AlertMask::PEERS | AlertMask::BANS,
        // The user named these peers, so they are worth trying until the user's own time-out.
        max_dial_failures: u32::MAX,
        reconnect_max: Duration::from_secs(10),
        limits: options.limits,
        ..Conf::default()
    };
    match options.port {
        Some(port) => start_on(&conf, port).map_err(|e| Problem::new(e.to_string())),
        None if options.seed => {
            let busy =
                |e: &ReactorError| matches!(e, ReactorError::Listen { source, .. } if source.kind() == io::ErrorKind::AddrInUse);
            let mut last = None;
            for port in PORTS {
                match start_on(&conf, port) {
                    Err(e) if busy(&e) => last = Some(e),
                    other => return other.map_err(|e| Problem::new(e.to_string())),
                }
            }
            Err(Problem::new(last.map_or_else(String::new, |e| e.to_string())))
        }
        None => spawn(conf).map_err(|e| Problem::new(e.to_string())),
    }
}

/// On IPv4 in any case, on IPv6 where there is any.
fn start_on(conf: &Conf, port: u16) -> Result<(EngineHandle, Alerts), ReactorError> {
    let v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    let v6 = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let both = spawn(Conf { listen: vec![v4, v6], ..conf.clone() });
    match both {
        Err(ReactorError::Listen { addr, source }) if addr == v6 && source.kind() != io::ErrorKind::AddrInUse => {
            log::info!("not listening on {addr}: {source}");
            spawn(Conf { listen: vec![v4], ..conf.clone() })
        }
        other => other,
    }
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
    /// When a peer was last connected, or had no reason to be.
    last_peer: Instant,
    /// What each peer was last gone for.
    reasons: BTreeMap<SocketAddr, String>,
}

impl Fetch {
    fn new(options: Options, metainfo: &Metainfo, engine: EngineHandle, torrent: TorrentId, progress: Progress) -> Self {
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
            last_peer: now,
            reasons: BTreeMap::new(),
        }
    }

    /// Follows the alerts until there is an outcome.
    fn follow(&mut self, alerts: &Alerts, interrupt: &Interrupt) -> Result<Outcome, Problem> {
        loop {
            let news = alerts.recv_timeout(TICK);
            // What comes after the signal is the engine's own farewell.
            if let Some(code) = interrupt.exit_code() {
                return Ok(if self.complete { Outcome::Complete } else { Outcome::Stopped(code) });
            }
            match news {
                Ok(alert) => self.handle(alert)?,
                Err(NoAlert::Yet) => {
                    let torrent = self.torrent;
                    if let Ok(Some(stats)) = self.engine.call(move |engine| engine.stats(torrent)) {
                        self.handle_stats(&stats);
                    }
                }
                Err(NoAlert::Ended) => return Err(Problem::new("the engine failed; RUST_LOG=error tells why")),
            }
            if self.complete && !self.options.seed {
                return Ok(Outcome::Complete);
            }
            self.give_up_without_peers()?;
        }
    }

    fn handle(&mut self, alert: Alert) -> Result<(), Problem> {
        match alert {
            Alert::Opened { distrust: Some(reason), .. } => {
                self.progress.say(&format!("not relying on the saved state: {reason}"));
            }
            Alert::Checking { done, total, .. } => self.progress.checking(done, total),
            Alert::Checked { have, .. } => self.begin(have)?,
            Alert::Progress { stats, .. } => self.handle_stats(&stats),
            Alert::Finished { stats, .. } => self.finished(stats.downloaded),
            Alert::StorageFailed { error, retry_in: None, .. } => return Err(Problem::new(error.to_string())),
            Alert::StorageFailed { error, .. } if !self.complete => {
                return Err(Problem::new(format!("{error}; verified pieces are kept, and the same command goes on from there")));
            }
            // Others may still have what can be read.
            Alert::StorageFailed { error, .. } => crate::progress::complain(&error.to_string()),
            Alert::PeerConnected { addr, id, .. } => {
                self.last_peer = Instant::now();
                log::info!("peer {addr} is connected: {id}");
            }
            Alert::PeerGone { addr, reason, .. } => self.peer_gone(addr, reason),
            Alert::PeerBanned { addr, .. } => self.progress.say(&format!("peer {addr} sent bad data and is banned")),
            _ => {}
        }
        Ok(())
    }

    /// It is known what is there; now the rest.
    fn begin(&mut self, have: u32) -> Result<(), Problem> {
        self.last_peer = Instant::now();
        if have == self.pieces {
            self.finished(0);
        } else if self.options.peers.is_empty() && self.engine.local_addrs().is_empty() {
            return Err(Problem::new(
                "nobody to download from: trackers are not used yet, so name peers with --peer or let them come with --port",
            ));
        } else if !self.complete {
            // Seeding from a read-only folder is fine; filling one is not, which should not wait for the first piece.
            prepare(&self.options.dir)?;
            self.progress.say(&format!("{}: {have} of {} pieces are there, fetching the others", self.name, self.pieces));
        }
        Ok(())
    }

    fn handle_stats(&mut self, stats: &TorrentStats) {
        if stats.peers > 0 || stats.phase != Phase::Downloading {
            self.last_peer = Instant::now();
        }
        match stats.phase {
            Phase::Downloading => self.progress.downloading(stats),
            Phase::Seeding => self.progress.seeding(stats),
            _ => {}
        }
    }

    fn finished(&mut self, downloaded: u64) {
        if std::mem::replace(&mut self.complete, true) {
            return;
        }
        self.progress.end();
        let place = format!("{} in {}", self.name, self.options.dir.display());
        if downloaded == 0 {
            self.progress.say(&format!("complete already: all {} pieces of {place} are there", self.pieces));
        } else {
            self.progress.say(&format!("complete: {place}, {}", pace(self.total, self.started.elapsed())));
        }
        if self.options.seed {
            let addrs: Vec<String> = self.engine.local_addrs().iter().map(SocketAddr::to_string).collect();
            self.progress.say(&format!("seeding on {}; Ctrl-C ends it", addrs.join(" and ")));
        }
    }

    fn peer_gone(&mut self, addr: SocketAddr, reason: String) {
        // A swarm comes and goes; only the named peers are worth a line, and only news.
        if self.complete || !self.options.peers.contains(&addr) || self.reasons.get(&addr) == Some(&reason) {
            return;
        }
        self.progress.say(&format!("peer {addr}: {reason}"));
        self.reasons.insert(addr, reason);
    }

    fn give_up_without_peers(&self) -> Result<(), Problem> {
        let Some(timeout) = self.options.timeout else { return Ok(()) };
        if self.complete || self.last_peer.elapsed() < timeout {
            return Ok(());
        }
        let why: Vec<String> = self.reasons.iter().map(|(addr, reason)| format!("{addr}: {reason}")).collect();
        let why = if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) };
        let kept = "what was downloaded is kept, and the same command goes on from there";
        Err(Problem::new(format!("no peer was connected for {} s{why}; {kept}", timeout.as_secs())))
    }

    /// Lets the engine save its state. Nobody should have to wait long for that, nor, if one sentence of failure is due
    /// already, read a second.
    fn end(&self, alerts: &Alerts, tell: bool) {
        self.progress.end();
        self.engine.shutdown();
        let deadline = Instant::now() + PATIENCE;
        loop {
            match alerts.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Alert::StorageFailed { error, .. }) if tell => crate::progress::complain(&error.to_string()),
                Ok(_) => {}
                Err(NoAlert::Ended) => break,
                Err(NoAlert::Yet) => {
                    crate::progress::complain("the disk does not answer; the next start checks what is there");
                    return;
                }
            }
        }
        let _ = self.engine.clone().join();
    }
}
