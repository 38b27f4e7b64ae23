//! The serving itself: one engine on its own thread, its alerts followed from here.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use cratetorrent::{
    Alert, AlertMask, Alerts, Conf, EngineHandle, Phase, TorrentId, TorrentParams, TorrentStats,
    Trust, wire::metainfo::Metainfo,
};
use indicatif::HumanBytes;
use serde_json::json;

use crate::{
    args::{Options, What},
    common::{
        self, Problem, complain,
        follow::{self, News},
        make,
        names::{self, Renames},
        printable,
        progress::{Progress, Show},
        read_metainfo, shut_down,
        signals::Interrupt,
        trackers::Trackers,
    },
};

/// How often to look at the torrent, and whether the user wants an end, when no alert comes.
const TICK: Duration = Duration::from_millis(200);

pub fn run(options: Options) -> Result<ExitCode, Problem> {
    let Options { what, peers, mut place, blocklist, limits, show } = options;
    let interrupt = Interrupt::catch(|| {})?;
    let source = Source::find(what, show, &interrupt)?;
    if source.metainfo.private {
        place.switch_off_discovery();
    }

    let alerts = AlertMask::STATUS | AlertMask::PROGRESS | AlertMask::BANS | AlertMask::TRACKERS;
    let mut conf = Conf::default().with(|conf| {
        conf.alerts.mask = alerts;
        conf.network.limits = limits;
    });
    common::limits::use_all_descriptors(&mut conf);
    let (engine, alerts, nodes) = place.start(conf, true, blocklist.as_deref())?;

    let mut seed = Seed::add(source, peers, engine, show)?;
    let outcome = seed.follow(&alerts, &interrupt);
    seed.progress.end();
    // A state that cannot be saved, perhaps since the folder is not ours, costs a check at the next
    // start and no more.
    let _ = shut_down(&seed.engine, &alerts, &nodes, outcome.is_ok());
    outcome
}

/// What to serve, and how far to trust it.
struct Source {
    metainfo: Arc<Metainfo>,
    dir: PathBuf,
    /// Files that have other paths than the metainfo's.
    names: Renames,
    trust: Trust,
    /// Beside the torrent's own.
    trackers: Vec<Vec<String>>,
    /// Where the torrent was written that we made of the data, now or at an earlier start.
    made: Option<PathBuf>,
}

impl Source {
    fn find(what: What, show: Show, interrupt: &Interrupt) -> Result<Self, Problem> {
        match what {
            What::Torrent { torrent, dir, names, trust, trackers } => Ok(Self {
                metainfo: Arc::new(read_metainfo(&torrent)?),
                dir,
                names,
                trust,
                trackers,
                made: None,
            }),
            What::Data { path, mut make } => {
                // A path such as `..` has no name to look for in a folder.
                let path = match path.file_name() {
                    Some(_) => path,
                    None => path.canonicalize().map_err(|e| {
                        Problem::new(format!("cannot read {}: {e}", path.display()))
                    })?,
                };
                let dir = make::parent(&path).to_owned();
                // The second start of the same command.
                if let Some(torrent) = make.made(&path, interrupt)? {
                    tell_torrent(show, &torrent);
                    let trackers = make.take_trackers();
                    let (names, trust) = (Vec::new(), Trust::State);
                    let made = Some(torrent.clone());
                    let what = What::Torrent { torrent, dir, names, trust, trackers };
                    return Ok(Self { made, ..Self::find(what, show, interrupt)? });
                }
                let (created, out) = make.run(path, None, show, interrupt)?;
                out.iter().for_each(|out| tell_torrent(show, out));
                // Every byte was hashed a moment ago.
                let metainfo = Arc::new(created.metainfo);
                Ok(Self {
                    metainfo,
                    dir,
                    names: Vec::new(),
                    trust: Trust::Files,
                    trackers: Vec::new(),
                    made: out,
                })
            }
        }
    }
}

/// Where the torrent is that was made.
fn tell_torrent(show: Show, torrent: &Path) {
    if show == Show::Words {
        common::print(&format!("torrent   {}", torrent.display()));
    }
}

/// One torrent being served.
struct Seed {
    engine: EngineHandle,
    torrent: TorrentId,
    progress: Progress,
    metainfo: Arc<Metainfo>,
    dir: PathBuf,
    /// As in [`Source`].
    made: Option<PathBuf>,
    /// It is known to be whole, or believed to be.
    serving: bool,
    last: TorrentStats,
    /// The last failure told, so that it is not told again and again.
    told: String,
    trackers: Trackers,
}

impl Seed {
    /// Adds it at rest: what turns out not to be whole must not be filled up from others, since it
    /// is the user's own.
    fn add(
        source: Source,
        peers: Vec<SocketAddr>,
        engine: EngineHandle,
        show: Show,
    ) -> Result<Self, Problem> {
        let Source { metainfo, dir, names: renames, trust, trackers, made } = source;
        let trackers = Some([metainfo.trackers.clone(), trackers].concat());
        let params = TorrentParams::new(metainfo.clone(), &dir);
        let params = TorrentParams { peers, trust, trackers, renames, paused: true, ..params };
        let torrent = engine
            .call(|engine| engine.add_torrent(params))
            .map_err(Problem::of)?
            .map_err(names::refused)?;
        let progress = Progress::new(show);
        progress.set_total(metainfo.geometry.total_len());
        let mut last = TorrentStats::default();
        last.total_bytes = metainfo.geometry.total_len();
        Ok(Self {
            engine,
            torrent,
            progress,
            metainfo,
            dir,
            made,
            serving: false,
            last,
            told: String::new(),
            trackers: Trackers::default(),
        })
    }

    /// Follows the alerts until the user wants an end.
    fn follow(&mut self, alerts: &Alerts, interrupt: &Interrupt) -> Result<ExitCode, Problem> {
        loop {
            let news = follow::next(alerts, &self.engine, self.torrent, TICK);
            if let Some(code) = interrupt.exit_code() {
                return Ok(self.stopped(code));
            }
            match news? {
                News::Alert(alert) => self.handle(alert)?,
                News::Stats(stats) => self.handle_stats(stats),
                News::Nothing => {}
            }
        }
    }

    fn handle(&mut self, alert: Alert) -> Result<(), Problem> {
        match alert {
            Alert::Checked { have, .. } => self.begin(have)?,
            Alert::Progress { stats, .. } => self.handle_stats(stats),
            Alert::Distrusted { error, .. } => {
                complain(&format!("{error}; everything is checked now"));
                self.serving = false;
                self.rest()?;
            }
            Alert::StorageFailed { error, retry_in: None, .. } => return Err(Problem::of(error)),
            Alert::DataGone { dir, .. } if !self.serving => {
                return Err(Problem::new(format!("its data is gone from {}", dir.display())));
            }
            Alert::DataGone { dir, .. } => {
                complain(&format!(
                    "its data is gone from {}; waiting for it to come back",
                    dir.display()
                ));
            }
            // The state cannot be saved, perhaps since the folder is not ours: that costs a check
            // at the next start.
            Alert::StorageFailed { error, .. } => {
                let error = error.to_string();
                if self.told != error {
                    complain(&error);
                    self.told = error;
                }
            }
            Alert::FilesTooLong { files, .. } => self.tell_too_long(&files),
            alert => follow::tell(&alert, &mut self.progress, &mut self.trackers),
        }
        Ok(())
    }

    /// Files are longer than the torrent says, and nothing of them is changed.
    fn tell_too_long(&self, files: &[usize]) {
        let Some(file) = files.first().and_then(|&file| self.metainfo.files.get(file)) else {
            return;
        };
        // A single file has no path but the torrent's name.
        let name = Some(&self.metainfo.name).filter(|_| self.metainfo.single_file);
        let path = name.into_iter().chain(&file.path).cloned().collect::<Vec<_>>().join("/");
        let path = printable(&path);
        self.progress.say(&match files.len() - 1 {
            0 => format!("{path} is longer than the torrent says; it is served, and left as it is"),
            others => format!(
                "{path} and {others} more of its files are longer than the torrent says; they are \
                 served, and left as they are"
            ),
        });
    }

    /// It is known what is there.
    fn begin(&mut self, have: u32) -> Result<(), Problem> {
        let (pieces, dir) = (self.metainfo.geometry.piece_count(), self.dir.display());
        // A foreign word: it may not write all over the terminal.
        let name = self.metainfo.name.escape_debug();
        if let Some(torrent) = self.made.as_ref().filter(|_| have < pieces) {
            // To fetch the others would undo what the user has changed.
            let torrent = common::shown(torrent);
            return Err(Problem::new(format!(
                "{name} was changed since {torrent} was made of it; --force makes it anew"
            )));
        }
        match have {
            0 => return Err(Problem::new(format!("nothing of {name} is in {dir}"))),
            _ if have < pieces => {
                let what =
                    format!("{name} in {dir} is not whole: {have} of {pieces} pieces are right");
                return Err(Problem::new(format!(
                    "{what}; the download example fetches the others"
                )));
            }
            _ => {}
        }
        let torrent = self.torrent;
        let _ = self.engine.call(move |engine| engine.resume(torrent)).map_err(Problem::of)?;
        if !std::mem::replace(&mut self.serving, true) {
            let addrs: Vec<String> =
                self.engine.local_addrs().iter().map(ToString::to_string).collect();
            let info_hash = self.metainfo.info_hash().to_string();
            let place = match addrs.as_slice() {
                [] => "to peers that it connects to".to_owned(),
                addrs => format!("on {}", addrs.join(" and ")),
            };
            self.progress.fact(
                &format!("info-hash {info_hash}\nseeding   {name} {place}; Ctrl-C ends it"),
                &json!({
                    "event": "serving",
                    "info_hash": info_hash,
                    "name": self.metainfo.name,
                    "addresses": addrs,
                }),
            );
        }
        Ok(())
    }

    /// Until it is known again what is there.
    fn rest(&self) -> Result<(), Problem> {
        let torrent = self.torrent;
        let _ = self.engine.call(move |engine| engine.pause(torrent)).map_err(Problem::of)?;
        Ok(())
    }

    fn handle_stats(&mut self, stats: TorrentStats) {
        if stats.phase == Phase::Seeding {
            self.progress.seeding(&stats);
        }
        self.last = stats;
    }

    fn stopped(&mut self, code: u8) -> ExitCode {
        self.progress.end();
        if !self.serving {
            return ExitCode::from(code);
        }
        let torrent = self.torrent;
        if let Ok(Some(stats)) = self.engine.call(move |engine| engine.stats(torrent)) {
            self.last = stats;
        }
        let TorrentStats { uploaded, total_bytes, .. } = self.last;
        let ratio = uploaded as f64 / total_bytes.max(1) as f64;
        self.progress.fact(
            &format!("stopped: {} uploaded, ratio {ratio:.2}", HumanBytes(uploaded)),
            &json!({"event": "stopped", "uploaded_bytes": uploaded, "ratio": ratio}),
        );
        ExitCode::SUCCESS
    }
}
