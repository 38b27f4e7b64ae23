//! Following one torrent by its alerts: what comes next, and what every program tells alike.

use std::time::Duration;

use cratetorrent::{Alert, Alerts, EngineHandle, TorrentId, TorrentStats, handle::NoAlert};

use super::{Problem, names, progress::Progress, trackers::Trackers};

/// What comes next.
pub enum News {
    Alert(Alert),
    /// No alert has come in time, and the torrent stands so.
    Stats(TorrentStats),
    /// Nor is there such a torrent.
    Nothing,
}

/// Waits for it, for so long.
pub fn next(
    alerts: &Alerts,
    engine: &EngineHandle,
    torrent: TorrentId,
    time: Duration,
) -> Result<News, Problem> {
    match alerts.recv_timeout(time) {
        Ok(alert) => Ok(News::Alert(alert)),
        Err(NoAlert::Yet) => match engine.call(move |engine| engine.stats(torrent)) {
            Ok(Some(stats)) => Ok(News::Stats(stats)),
            _ => Ok(News::Nothing),
        },
        Err(NoAlert::Ended) => Err(Problem::new("the engine failed; RUST_LOG=error tells why")),
    }
}

/// Tells what needs nothing but telling.
pub fn tell(alert: &Alert, progress: &mut Progress, trackers: &mut Trackers) {
    match alert {
        Alert::Opened { distrust: Some(reason), .. } => {
            progress.say(&format!("not relying on the saved state: {reason}"));
        }
        Alert::Checking { done, total, .. } => progress.checking(*done, *total),
        Alert::PeerBanned { addr, .. } => {
            progress.say(&format!("peer {addr} sent bad data and is banned"));
        }
        Alert::PortMapped { mapping } => progress.say(&format!("the router maps {mapping}")),
        Alert::ProxyFailed { error, .. } => progress.say(&error.to_string()),
        Alert::ProxyRecovered { datagrams } => progress.say(super::proxy_recovered(*datagrams)),
        alert => match names::told(alert) {
            Some(line) => progress.say(&line),
            None => trackers.tell(alert, progress),
        },
    }
}
