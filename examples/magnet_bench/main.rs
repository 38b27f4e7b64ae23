//! How long a magnet link takes until its metadata and its first verified piece are there.
//! `scripts/magnet_bench` runs it beside libtorrent.
//!
//! `magnet_bench LINK FOLDER` adds the link, whose peers are on loopback, to an engine that runs
//! already, prints the milliseconds from the add to the metadata and to the first verified piece,
//! and ends.

#![allow(clippy::disallowed_methods)]

use std::{
    error::Error,
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant},
};

use cratetorrent::{Alert, AlertMask, Conf, TorrentParams, spawn, wire::magnet::Magnet};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = pico_args::Arguments::from_env();
    let link: Magnet = args.free_from_str()?;
    let folder: PathBuf = args.free_from_str()?;
    let (engine, alerts) = spawn(Conf::default().with(|conf| {
        conf.network.listen = vec![(Ipv4Addr::LOCALHOST, 0).into()];
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
