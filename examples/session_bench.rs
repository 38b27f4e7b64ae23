//! What thousands of idle torrents cost in a session folder: time until they are restored and the
//! session listens, memory, idle time of the processor. `scripts/session_bench` runs it beside
//! libtorrent.
//!
//! `session_bench make FOLDER COUNT [TRACKER]` makes torrents of 16 pieces with their data (sparse)
//! and a session of them, by adding them one by one. `session_bench run FOLDER [SECONDS]` restores
//! that session and measures.

#![allow(clippy::disallowed_methods)]

#[path = "common/measure.rs"]
mod measure;

use std::{
    error::Error,
    fs,
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use cratetorrent::{
    Alert, Conf, Reactor, TorrentParams,
    wire::metainfo::{Metainfo, MetainfoBuilder},
};

use measure::{cpu_ns, kib, poll_for};

const PIECES: u64 = 16;
const PIECE_LEN: u32 = 16 * 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = pico_args::Arguments::from_env();
    let command = args.subcommand()?.unwrap_or_default();
    let folder: std::path::PathBuf = args.free_from_str()?;
    let usage = "session_bench make FOLDER COUNT [TRACKER] | run FOLDER [SECONDS]";
    match command.as_str() {
        "make" => {
            let (count, tracker) = (args.free_from_str()?, args.opt_free_from_str()?);
            if args.finish().is_empty() { make(&folder, count, tracker) } else { Err(usage.into()) }
        }
        "run" => {
            let seconds = args.opt_free_from_str()?.unwrap_or(10);
            if args.finish().is_empty() { run(&folder, seconds) } else { Err(usage.into()) }
        }
        _ => Err(usage.into()),
    }
}

fn conf(folder: &Path) -> Conf {
    Conf::default().with(|conf| {
        conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        conf.session.dir = Some(folder.join("session"));
        conf.alerts.max = 100_000;
    })
}

fn make(folder: &Path, count: u64, tracker: Option<String>) -> Result<(), Box<dyn Error>> {
    let (torrents, data) = (folder.join("torrents"), folder.join("data"));
    fs::create_dir_all(&torrents)?;
    fs::create_dir_all(&data)?;
    // Of zeroes, so that they take no space.
    let zeroes = cratetorrent::store::sha1(&vec![0; PIECE_LEN as usize]);
    let began = Instant::now();
    let mut reactor = Reactor::new(conf(folder))?;
    let mut told = Told::default();
    for n in 0..count {
        let name = format!("torrent number {n:05}.bin");
        fs::File::create(data.join(&name))?.set_len(PIECES * u64::from(PIECE_LEN))?;
        let mut builder = MetainfoBuilder::new(name.as_str(), PIECE_LEN);
        builder
            .single_file(PIECES * u64::from(PIECE_LEN))
            .comment("made to be idle")
            .created_by("session_bench");
        if let Some(tracker) = &tracker {
            builder.tracker_tier([tracker.as_str()]);
        }
        let bytes = builder.build(&[zeroes; PIECES as usize])?;
        fs::write(torrents.join(format!("{n:05}.torrent")), &bytes)?;
        reactor
            .verbs()
            .add_torrent(TorrentParams::new(Arc::new(Metainfo::from_bytes(&bytes)?), &data))?;
        reactor.poll(Some(Duration::ZERO))?;
        told.fetch(&mut reactor);
    }
    while !told.is_all(count)? {
        reactor.poll(None)?;
        told.fetch(&mut reactor);
    }
    println!("made and added in {:.2} s", began.elapsed().as_secs_f64());
    reactor.verbs().shutdown();
    while !reactor.is_drained() {
        reactor.poll(None)?;
    }
    Ok(())
}

/// Each torrent is recorded when it is added, and saved when it is checked.
#[derive(Default)]
struct Told {
    recorded: u64,
    saved: u64,
    dropped: u64,
}

impl Told {
    fn fetch(&mut self, reactor: &mut Reactor) {
        while let Some(alert) = reactor.next_alert() {
            match alert {
                Alert::Recorded { .. } => self.recorded += 1,
                Alert::Saved { .. } => self.saved += 1,
                Alert::Dropped { count } => self.dropped += count,
                _ => {}
            }
        }
    }

    fn is_all(&self, count: u64) -> Result<bool, String> {
        if self.dropped > 0 {
            Err(format!("{} alerts were dropped", self.dropped))
        } else {
            Ok(self.recorded.min(self.saved) == count)
        }
    }
}

fn run(folder: &Path, seconds: u64) -> Result<(), Box<dyn Error>> {
    let began = Instant::now();
    let mut reactor = Reactor::new(conf(folder))?;
    let took = began.elapsed();
    let addr = *reactor.local_addrs().first().ok_or("not listening")?;
    drop(std::net::TcpStream::connect(addr)?);
    let count = match reactor.next_alert() {
        Some(Alert::Restored { torrents, .. }) => torrents,
        other => return Err(format!("not restored: {other:?}").into()),
    };
    println!("torrents {count}");
    println!("restored_ms {:.1}", took.as_secs_f64() * 1000.0);
    // The first moments belong to the start.
    poll_for(&mut reactor, Duration::from_secs(1))?;
    let before = cpu_ns()?;
    poll_for(&mut reactor, Duration::from_secs(seconds))?;
    let busy = cpu_ns()? - before;
    println!("rss_kib {}", kib("VmRSS")?);
    println!("idle_percent {:.3}", busy as f64 / 1e7 / seconds as f64);
    Ok(())
}
