//! What the engine can do, shown on this machine alone: three engines serve a torrent, a fourth
//! downloads it over real sockets and is driven from our own loop (the inline door).

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    net::{Ipv4Addr, SocketAddr},
    ops::ControlFlow,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use cratetorrent::{
    Alert, Alerts, Conf, CreateParams, EngineHandle, Reactor, TorrentId, TorrentParams,
    TorrentStats, create, spawn, wire::metainfo::Metainfo,
};
use indicatif::HumanBytes;
use tempfile::TempDir;

use crate::{
    Problem,
    common::{
        args::variable,
        print,
        progress::{Progress, Show, pace},
        signals::Interrupt,
    },
};

const NAME: &str = "cratetorrent-demo";
const FILES: [(&str, u64); 6] = [
    ("hello.txt", 1234),
    ("music/first.flac", 40 << 20),
    ("music/second.flac", (80 << 20) + 4321),
    ("music/covers/front.png", 300_000),
    ("music/covers/empty.png", 0),
    ("film.mkv", 135 << 20),
];
const PIECE_LEN: u32 = 1 << 20;
const SEEDS: usize = 3;
/// Without a new byte for so long, something is wrong.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run() -> Result<ExitCode, Problem> {
    let mut reactor = Reactor::new(Conf::default()).map_err(problem)?;
    let waker = reactor.waker();
    let interrupt = Interrupt::catch(move || waker.wake())?;
    // Dropping it cleans up, however this ends.
    let scratch = scratch_folder()?;
    print(
        "This is cratetorrent showing itself. Nothing leaves this machine, and everything is \
         cleaned up at the end.",
    );
    let served = scratch.path().join("served");
    let fetched = scratch.path().join("fetched");

    let start = Instant::now();
    make_files(&served.join(NAME), &interrupt)?;
    let metainfo = Arc::new(make_torrent(&served.join(NAME), &interrupt)?);
    let total = metainfo.geometry.total_len();
    let pieces = metainfo.geometry.piece_count();
    print(&format!(
        "made      {} in {} files, {pieces} pieces: {}",
        NAME,
        FILES.len(),
        pace(total, start.elapsed())
    ));

    let seeds: Vec<Seed> =
        (0..SEEDS).map(|_| Seed::start(&metainfo, &served)).collect::<Result<_, _>>()?;
    let addrs: Vec<SocketAddr> =
        seeds.iter().map(|seed| seed.wait_until_ready(&interrupt)).collect::<Result<_, _>>()?;
    print(&format!(
        "serving   from {SEEDS} engines on {}",
        addrs.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(", ")
    ));

    let mut params = TorrentParams::new(metainfo, &fetched);
    params.peers = addrs;
    let start = Instant::now();
    let torrent = reactor.verbs().add_torrent(params).map_err(problem)?;
    let stats = download(&mut reactor, torrent, total, &interrupt)?;
    let took = start.elapsed();
    print(&format!("fetched   {}, hashed and written as it came", pace(total, took)));

    let start = Instant::now();
    compare(&served, &fetched, &interrupt)?;
    print(&format!("compared  {}, every byte is as it was made", pace(total, start.elapsed())));

    let turns = reactor.stats();
    print(&format!(
        "the loop  made {} turns, the longest of {:.2} ms; {} reads, {} writes, {} answers \
         waited for",
        turns.turns,
        turns.longest_turn_us as f64 / 1000.0,
        turns.reads,
        turns.writes,
        turns.wakes
    ));
    print(&format!(
        "the swarm {} of {SEEDS} peers at the end, {} received in vain",
        stats.peers,
        HumanBytes(stats.wasted)
    ));
    seeds.iter().for_each(Seed::stop);
    print(
        "\nNow try: download some.torrent --dir somewhere --peer host:port\n     \
         or: download --help",
    );
    Ok(ExitCode::SUCCESS)
}

/// A folder that vanishes, in the first place that will have it: a bare container has no /tmp.
fn scratch_folder() -> Result<TempDir, Problem> {
    let places = [
        Some(std::env::temp_dir()),
        variable("DOWNLOAD_DIR").map(PathBuf::from),
        Some(PathBuf::from(".")),
    ];
    let mut refused = String::new();
    for place in places.into_iter().flatten() {
        match tempfile::Builder::new().prefix("cratetorrent-").tempdir_in(&place) {
            Ok(dir) => return Ok(dir),
            Err(e) => refused = format!("cannot make a folder in {}: {e}", place.display()),
        }
    }
    Err(Problem::new(refused))
}

/// Files of noise, the same every time.
fn make_files(folder: &Path, interrupt: &Interrupt) -> Result<(), Problem> {
    let mut noise = Noise(0x5eed);
    let mut buf = vec![0; 1 << 20];
    for (name, len) in FILES {
        let path = folder.join(name);
        let cannot = |e: io::Error| Problem::new(format!("cannot write {}: {e}", path.display()));
        fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(cannot)?;
        let mut file = File::create(&path).map_err(cannot)?;
        let mut left = len;
        while left > 0 {
            go_on(interrupt)?;
            let now = left.min(buf.len() as u64);
            noise.fill(&mut buf);
            file.write_all(buf.get(..now as usize).unwrap_or_default()).map_err(cannot)?;
            left -= now;
        }
    }
    Ok(())
}

fn make_torrent(folder: &Path, interrupt: &Interrupt) -> Result<Metainfo, Problem> {
    let mut params = CreateParams::new(folder);
    params.piece_len = Some(PIECE_LEN);
    params.created_by = Some("cratetorrent's demo".into());
    let goes_on = |_| {
        if interrupt.exit_code().is_some() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    };
    let created = create(&params, goes_on);
    go_on(interrupt)?;
    Ok(created.map_err(problem)?.metainfo)
}

/// An engine on its own thread that has everything.
struct Seed {
    engine: EngineHandle,
    alerts: Alerts,
}

impl Seed {
    fn start(metainfo: &Arc<Metainfo>, folder: &Path) -> Result<Self, Problem> {
        let conf = Conf::default()
            .with(|conf| conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()]);
        let (engine, alerts) = spawn(conf).map_err(problem)?;
        let mut params = TorrentParams::new(metainfo.clone(), folder);
        params.state_file = None;
        engine.call(|engine| engine.add_torrent(params)).map_err(problem)?.map_err(problem)?;
        Ok(Self { engine, alerts })
    }

    /// Waits until it has found its data; says where it listens.
    fn wait_until_ready(&self, interrupt: &Interrupt) -> Result<SocketAddr, Problem> {
        loop {
            go_on(interrupt)?;
            match self.alerts.recv() {
                Some(Alert::Checked { .. } | Alert::Finished { .. }) => break,
                Some(Alert::StorageFailed { error, .. }) => return Err(problem(error)),
                Some(_) => {}
                None => return Err(Problem::new("an engine failed; RUST_LOG=error tells why")),
            }
        }
        self.engine
            .local_addrs()
            .first()
            .copied()
            .ok_or_else(|| Problem::new("a seed listens nowhere"))
    }

    fn stop(&self) {
        self.engine.shutdown();
        let _ = self.engine.clone().join();
    }
}

/// Turns the loop until everything is there.
fn download(
    reactor: &mut Reactor,
    torrent: TorrentId,
    total: u64,
    interrupt: &Interrupt,
) -> Result<TorrentStats, Problem> {
    let mut progress = Progress::new(Show::Words);
    progress.set_total(total);
    let mut last = (0, Instant::now());
    loop {
        // A program with a loop of its own would wait for the reactor's descriptor there, and pass
        // zero here.
        reactor.poll(Some(PATIENCE)).map_err(problem)?;
        go_on(interrupt)?;
        while let Some(alert) = reactor.next_alert() {
            match alert {
                Alert::Progress { stats, .. } => {
                    progress.downloading(&stats);
                    if stats.have_bytes > last.0 {
                        last = (stats.have_bytes, Instant::now());
                    }
                }
                Alert::Finished { stats, .. } => {
                    progress.end();
                    return Ok(stats);
                }
                Alert::StorageFailed { error, .. } => return Err(problem(error)),
                _ => {}
            }
        }
        if last.1.elapsed() >= PATIENCE {
            let stats = reactor.verbs().stats(torrent);
            return Err(Problem::new(format!(
                "nothing has come for {} s: {stats:?}",
                PATIENCE.as_secs()
            )));
        }
    }
}

/// Reads both sides and compares every byte.
fn compare(served: &Path, fetched: &Path, interrupt: &Interrupt) -> Result<(), Problem> {
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for (name, len) in FILES {
        let (a, b) = (served.join(NAME).join(name), fetched.join(NAME).join(name));
        let cannot = |path: &Path, e: io::Error| {
            Problem::new(format!("cannot read {}: {e}", path.display()))
        };
        let mut file_a = File::open(&a).map_err(|e| cannot(&a, e))?;
        let mut file_b = File::open(&b).map_err(|e| cannot(&b, e))?;
        let found = file_b.metadata().map_err(|e| cannot(&b, e))?.len();
        if found != len {
            return Err(Problem::new(format!(
                "{} has {found} bytes instead of {len}",
                b.display()
            )));
        }
        let mut left_over = len;
        while left_over > 0 {
            go_on(interrupt)?;
            let now = left_over.min(left.len() as u64) as usize;
            let (Some(x), Some(y)) = (left.get_mut(..now), right.get_mut(..now)) else { break };
            file_a.read_exact(x).map_err(|e| cannot(&a, e))?;
            file_b.read_exact(y).map_err(|e| cannot(&b, e))?;
            if x != y {
                return Err(Problem::new(format!("{} is not what was served", b.display())));
            }
            left_over -= now as u64;
        }
    }
    Ok(())
}

fn go_on(interrupt: &Interrupt) -> Result<(), Problem> {
    match interrupt.exit_code() {
        Some(code) => Err(Problem { sentence: "stopped; everything is cleaned up".into(), code }),
        None => Ok(()),
    }
}

fn problem(e: impl std::fmt::Display) -> Problem {
    Problem::new(e.to_string())
}

/// Splitmix64: fast, and nothing that compresses.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = self.0;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^= word >> 31;
            chunk.copy_from_slice(word.to_le_bytes().get(..chunk.len()).unwrap_or_default());
        }
    }
}
