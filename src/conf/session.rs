//! The session as a whole: its folder, its end, labels.

use std::{path::PathBuf, time::Duration};

/// Where the session is kept, and how it ends.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SessionConf {
    /// The folder that the session is kept in: its torrents with what
    /// [`TorrentParams`](crate::TorrentParams) says of them and how far they are; and of the
    /// session as a whole what a verb has set: limits, limits of peers by default, active limits,
    /// and when torrents have served enough by default; and the DHT node's ids and nodes. Where no
    /// verb has set anything these settings count. Not kept are a torrent's upload slots and seed
    /// choking, limits of single peers, bans, and which addresses may connect. What was there
    /// is restored at the start. One session at a time may use it. Default `None`: nothing is
    /// kept but the torrents' own state files. It is for [`Reactor`](crate::Reactor) and
    /// [`spawn`](crate::spawn()); another driver does what they do by
    /// [`Engine::restore`](crate::Engine::restore).
    pub dir: Option<PathBuf>,
    /// How long the drop of the last [`EngineHandle`](crate::EngineHandle) waits for the engine's
    /// end: for connections to be closed, trackers told and states saved. More than
    /// `stopped_timeout`, so that only a disk that does not answer can be cut off. An engine that
    /// is given up then has a second more to end its turn. Default 30 s.
    /// [`EngineHandle::close`](crate::EngineHandle::close) takes a time of its own.
    pub close_timeout: Duration,
    /// Labels of a torrent. Default 32.
    pub max_labels: usize,
    /// Bytes of a label. Default 128.
    pub max_label_len: usize,
}

impl Default for SessionConf {
    fn default() -> Self {
        Self {
            dir: None,
            close_timeout: Duration::from_secs(30),
            max_labels: 32,
            max_label_len: 128,
        }
    }
}
