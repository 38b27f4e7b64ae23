//! What it takes to get from magnet links to their metadata. `scripts/magnet_bench` and
//! `scripts/dht_bench` run it beside libtorrent.
//!
//! - `magnet_bench LINK FOLDER [--bootstrap ADDR]` adds the link to an engine that runs already,
//!   prints the milliseconds from the add to the metadata and to the first verified piece, and
//!   ends. The peers are on loopback, those that the link names or those that a DHT knows.
//! - `magnet_bench cloud FOLDER NODES LINKS SEEDED` is a DHT on loopback addresses, with seeds of
//!   the first SEEDED of LINKS magnet links, until its input ends.
//! - `magnet_bench many FOLDER SECONDS --bootstrap ADDR` adds all links of a cloud's FOLDER at once
//!   and tells how many have metadata after how long, what turns took, and the memory.
//! - `magnet_bench idle SECONDS --bootstrap ADDR` is an engine that takes part in the DHT and does
//!   nothing else, and tells what that takes.

// A program may look at the clock; only the library is told the time.
#![allow(clippy::disallowed_methods)]

mod cloud;
mod many;
#[path = "../common/measure.rs"]
mod measure;

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use cratetorrent::{
    Alert, AlertMask, Conf, TorrentParams, conf::Bootstrap, spawn, wire::magnet::Magnet,
};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = pico_args::Arguments::from_env();
    let bootstrap: Option<SocketAddr> = args.opt_value_from_str("--bootstrap")?;
    let first: String = args.free_from_str()?;
    match first.as_str() {
        "cloud" => {
            let folder: PathBuf = args.free_from_str()?;
            cloud::run(&folder, args.free_from_str()?, args.free_from_str()?, args.free_from_str()?)
        }
        "many" => {
            let folder: PathBuf = args.free_from_str()?;
            many::run(&folder, Duration::from_secs(args.free_from_str()?), conf(bootstrap))
        }
        "idle" => many::idle(Duration::from_secs(args.free_from_str()?), conf(bootstrap)),
        link => one(link.parse()?, args.free_from_str()?, conf(bootstrap)),
    }
}

/// An engine on loopback that finds peers by the DHT alone, if it is told where that begins.
fn conf(bootstrap: Option<SocketAddr>) -> Conf {
    Conf::default().with(|conf| {
        conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
        conf.dht.enabled = bootstrap.is_some();
        let at = |addr: SocketAddr| Bootstrap {
            host: addr.ip().to_string(),
            port: addr.port(),
            router: false,
        };
        conf.dht.bootstrap = bootstrap.map(at).into_iter().collect();
    })
}

fn one(link: Magnet, folder: PathBuf, conf: Conf) -> Result<(), Box<dyn Error>> {
    let (engine, alerts) = spawn(conf.with(|conf| {
        conf.alerts.mask = AlertMask::STATUS | AlertMask::PROGRESS | AlertMask::PIECES;
    }))?;
    // It has begun its work.
    engine.call(|engine| engine.torrents())?;

    let params = TorrentParams::from_magnet(link, folder);
    let began = Instant::now();
    let torrent = engine.call(move |engine| engine.add_torrent(params))??;
    let mut metadata = None;
    while let Ok(alert) = alerts.recv_timeout(LIMIT.saturating_sub(began.elapsed())) {
        if metadata.is_none() && engine.call(move |engine| engine.metainfo(torrent))?.is_some() {
            metadata = Some(began.elapsed());
        }
        if let (Alert::PieceDone { .. }, Some(metadata)) = (alert, metadata) {
            let ms = |time: Duration| time.as_secs_f64() * 1e3;
            println!("{:.2} {:.2}", ms(metadata), ms(began.elapsed()));
            return Ok(());
        }
    }
    Err(format!("nothing within {LIMIT:?}; metadata: {metadata:?}").into())
}
