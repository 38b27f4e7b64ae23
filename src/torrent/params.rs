//! What a user gives to have a torrent downloaded or served. Its fields are what the session folder
//! remembers of it ([`TorrentSettings`](crate::wire::session::TorrentSettings)). It knows nothing
//! of how the torrent then fares.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use crate::{
    alert::StopAt,
    base::{
        bucket::Limits, files::Priority, job::Trust, totals::Totals, tracker_events::TrackerEvents,
    },
    wire::metainfo::Metainfo,
};

/// What to download or serve, and where.
#[derive(Clone, Debug)]
pub struct TorrentParams {
    /// The torrent.
    pub metainfo: Arc<Metainfo>,
    /// The download folder. It is made when the first piece is written.
    pub dir: PathBuf,
    /// Where the torrent's state is kept between runs; `None` keeps none. Not used in a session
    /// that has a folder ([`SessionConf::dir`](crate::conf::SessionConf::dir)): the state is kept
    /// there.
    pub state_file: Option<PathBuf>,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// Tracker addresses by tier instead of the metainfo's; `None`: the metainfo's.
    pub trackers: Option<Vec<Vec<String>>>,
    /// Fetch pieces in order instead of rarest first.
    pub sequential: bool,
    /// What of the data that is there may go unchecked.
    pub trust: Trust,
    /// Begin at rest: look at what is there and connect to no peer.
    pub paused: bool,
    /// As soon as everything is there, show peers one piece at a time (BEP 16), for the first seed
    /// of a torrent. See [`Verbs::set_super_seeding`](crate::Verbs::set_super_seeding).
    pub super_seed: bool,
    /// How much each file is wanted, in the metainfo's order; those beyond its end are
    /// [`Priority::Normal`].
    pub priorities: Vec<Priority>,
    /// Files that have another name on disk than in the metainfo: the file's index, and its path
    /// below the download folder.
    pub renames: Vec<(usize, PathBuf)>,
    /// Whether the queue decides when it runs; see
    /// [`QueueConf::max_active_downloads`](crate::conf::QueueConf::max_active_downloads). `paused`
    /// holds in any case.
    pub queued: bool,
    /// Where in the queue it begins: behind all downloads whose
    /// [`Engine::queue_order`](crate::Engine::queue_order) is not greater than this. `None`:
    /// at the end.
    pub queue_order: Option<u64>,
    /// When it has served enough; `None`: as [`QueueConf::stop`](crate::conf::QueueConf::stop) has
    /// it.
    pub stop: Option<StopAt>,
    /// What it did in earlier runs. Of these and of what the state file says, the more counts.
    pub totals: Totals,
    /// What its trackers have still to hear of earlier runs. Where it is empty, what the state
    /// file says counts.
    pub tracker_events: TrackerEvents,
    /// Words that the user files it under.
    pub labels: Vec<String>,
    /// How fast its bytes may come and go.
    pub limits: Limits,
}

impl TorrentParams {
    /// `metainfo` into `dir`, with its state in `dir/.cratetorrent/`, rarest first, no peers yet.
    pub fn new(metainfo: Arc<Metainfo>, dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        let state_file =
            Some(dir.join(".cratetorrent").join(format!("{}.resume", metainfo.info_hash())));
        Self {
            metainfo,
            dir,
            state_file,
            peers: Vec::new(),
            sequential: false,
            trust: Trust::State,
            paused: false,
            super_seed: false,
            trackers: None,
            priorities: Vec::new(),
            renames: Vec::new(),
            queued: false,
            queue_order: None,
            stop: None,
            totals: Totals::default(),
            tracker_events: TrackerEvents::default(),
            labels: Vec::new(),
            limits: Limits::default(),
        }
    }
}
