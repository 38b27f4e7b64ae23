//! What a user gives to have a torrent downloaded or served. Most of its fields are what the
//! session folder remembers of it ([`TorrentSettings`](crate::wire::session::TorrentSettings)). It
//! knows nothing of how the torrent then fares.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use crate::{
    alert::StopAt,
    base::{
        bucket::Limits,
        files::Priority,
        ids::Identity,
        storage::{Storage, Trust},
        totals::Totals,
        tracker_events::TrackerEvents,
    },
    conf::{CryptoMethods, Encryption},
    wire::{magnet::Magnet, metainfo::Metainfo},
};

/// What a torrent is known by when it is added.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Source {
    /// Its metainfo.
    Metainfo(Arc<Metainfo>),
    /// A magnet link. The torrent is announced and connected, and waits for its metainfo
    /// ([`Phase::Metadata`](crate::Phase::Metadata),
    /// [`Verbs::set_metainfo`](crate::Verbs::set_metainfo)).
    Magnet(Box<Magnet>),
}

impl Source {
    /// The metainfo, if it is known.
    pub fn metainfo(&self) -> Option<&Arc<Metainfo>> {
        match self {
            Self::Metainfo(metainfo) => Some(metainfo),
            Self::Magnet(_) => None,
        }
    }

    /// The info-hashes.
    pub fn identity(&self) -> Identity {
        match self {
            Self::Metainfo(metainfo) => metainfo.identity,
            Self::Magnet(magnet) => magnet.identity,
        }
    }

    /// What the torrent calls itself, a foreign word; empty if that is not known.
    pub fn name(&self) -> &str {
        match self {
            Self::Metainfo(metainfo) => &metainfo.name,
            Self::Magnet(magnet) => magnet.name.as_deref().unwrap_or_default(),
        }
    }
}

impl From<Arc<Metainfo>> for Source {
    fn from(metainfo: Arc<Metainfo>) -> Self {
        Self::Metainfo(metainfo)
    }
}

impl From<Magnet> for Source {
    fn from(magnet: Magnet) -> Self {
        Self::Magnet(Box::new(magnet))
    }
}

/// What a torrent did in earlier runs of the program.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EarlierRuns {
    /// Bytes and times. Of these and of what the state file says, the more counts.
    pub totals: Totals,
    /// What its trackers have still to hear. Where it is empty, what the state file says counts.
    pub tracker_events: TrackerEvents,
    /// Web seeds of its metainfo that its user has taken away
    /// ([`Verbs::remove_web_seed`](crate::Verbs::remove_web_seed)).
    pub removed_web_seeds: Vec<String>,
}

/// What holds for a torrent's connections with peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionParams {
    /// How fast its bytes may come and go.
    pub limits: Limits,
    /// Which connections are encrypted, if that is for a torrent to say; `None`: as
    /// [`EncryptionConf::policy`](crate::conf::EncryptionConf::policy) has it. See
    /// [`Verbs::set_encryption`](crate::Verbs::set_encryption).
    pub encryption: Option<Encryption>,
    /// Which methods the encrypted ones may have, if that is for a torrent to say; `None`: as
    /// [`EncryptionConf::methods`](crate::conf::EncryptionConf::methods) has it. See
    /// [`Verbs::set_crypto_methods`](crate::Verbs::set_crypto_methods).
    pub methods: Option<CryptoMethods>,
}

/// What to download or serve, and where.
#[derive(Clone, Debug)]
pub struct TorrentParams {
    /// The torrent.
    pub source: Source,
    /// The download folder. It is made when the first piece is written.
    pub dir: PathBuf,
    /// Where the torrent's state is kept between runs; `None` keeps none. Not used in a session
    /// that has a folder ([`SessionConf::dir`](crate::conf::SessionConf::dir)): the state is kept
    /// there.
    pub state_file: Option<PathBuf>,
    /// Where its bytes are kept; `None`: in files below `dir`. A storage of one's own keeps its
    /// own state, so there is no `state_file` then, and a session with a folder refuses it.
    pub storage: Option<Arc<dyn Storage>>,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// Tracker addresses by tier instead of the metainfo's; `None`: the metainfo's.
    pub trackers: Option<Vec<Vec<String>>>,
    /// Addresses of web seeds (BEP 19) beside those that the metainfo names.
    pub web_seeds: Vec<String>,
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
    /// below the download folder. With a magnet link they wait until its files are known; if one
    /// of them does not fit these, none is used.
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
    /// What there was of it before.
    pub earlier: EarlierRuns,
    /// Words that the user files it under.
    pub labels: Vec<String>,
    /// A number of the user's own, read back by
    /// [`Engine::user_data`](crate::Engine::user_data). It is not kept in the session's folder.
    pub user_data: u64,
    /// What holds for its connections with peers.
    pub connections: ConnectionParams,
}

impl TorrentParams {
    /// `metainfo` into `dir`, with its state in `dir/.cratetorrent/`, rarest first, no peers yet.
    pub fn new(metainfo: Arc<Metainfo>, dir: impl Into<PathBuf>) -> Self {
        Self::with_source(metainfo.into(), dir.into())
    }

    /// The same for the torrent of a magnet link, with the link's peers, trackers and web seeds.
    pub fn from_magnet(magnet: Magnet, dir: impl Into<PathBuf>) -> Self {
        let tiers = magnet.trackers.iter().map(|url| vec![url.clone()]).collect::<Vec<_>>();
        let (peers, trackers) = (magnet.peers.clone(), Some(tiers).filter(|t| !t.is_empty()));
        let web_seeds = magnet.web_seeds.clone();
        Self { peers, trackers, web_seeds, ..Self::with_source(magnet.into(), dir.into()) }
    }

    fn with_source(source: Source, dir: PathBuf) -> Self {
        let name = format!("{}.resume", source.identity().info_hash());
        let state_file = Some(dir.join(".cratetorrent").join(name));
        Self {
            source,
            dir,
            state_file,
            storage: None,
            peers: Vec::new(),
            sequential: false,
            trust: Trust::State,
            paused: false,
            super_seed: false,
            trackers: None,
            web_seeds: Vec::new(),
            priorities: Vec::new(),
            renames: Vec::new(),
            queued: false,
            queue_order: None,
            stop: None,
            earlier: EarlierRuns::default(),
            labels: Vec::new(),
            user_data: 0,
            connections: ConnectionParams::default(),
        }
    }
}
