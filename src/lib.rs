//! cratetorrent: a BitTorrent engine that a program embeds.
//!
//! It downloads and serves torrents at close to the speed of the machine, in bounded memory, on one
//! thread of your choosing and a small pool of workers for the disk. There is no async runtime, no
//! global state and no callback: you drive it, or let it drive itself, and fetch what it has to
//! tell.
//!
//! # Three doors, one vocabulary
//!
//! - [`spawn`] runs the engine on a thread of its own. [`EngineHandle::call`] ships a closure to
//!   it, [`Alerts`] brings what happens.
//! - [`Reactor`] lives inside your own loop: a descriptor to watch, a deadline, and
//!   [`Reactor::poll`].
//! - [`Engine`] does no I/O at all: for simulators and odd hosts.
//!
//! The verbs (add a torrent, pause, recheck, …) are methods of [`Verbs`], whichever door you came
//! through; it has the getters of [`Engine`], and none of the methods of a driver.
//!
//! ```no_run
//! use std::sync::Arc;
//!
//! use cratetorrent::{Alert, Conf, TorrentParams, spawn, wire::metainfo::Metainfo};
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let metainfo = Metainfo::from_bytes(&std::fs::read("some.torrent")?)?;
//!     let (engine, alerts) = spawn(Conf::default())?;
//!
//!     let mut params = TorrentParams::new(Arc::new(metainfo), "downloads");
//!     params.peers = vec!["192.0.2.7:6881".parse()?];
//!     engine.call(|engine| engine.add_torrent(params))??;
//!
//!     for alert in alerts {
//!         match alert {
//!             Alert::Finished { stats, .. } => {
//!                 println!("{} bytes verified", stats.have_bytes);
//!                 break;
//!             }
//!             Alert::StorageFailed { error, .. } => eprintln!("{error}"),
//!             Alert::TrackerFailed { tracker, error, .. } => eprintln!("{tracker}: {error}"),
//!             Alert::NoPeers { no_peers, .. } => eprintln!("{no_peers}"),
//!             _ => {}
//!         }
//!     }
//!     Ok(()) // The drop of `engine` waits until the torrent's state is saved.
//! }
//! ```
//!
//! # Where things are
//!
//! | module | what |
//! |---|---|
//! | [`conf`] | every limit and choice, with its default |
//! | [`alert`] | what the engine tells |
//! | [`engine`] | the engine without I/O, and the verbs |
//! | [`driver`] | effects, jobs and answers, for programs that drive an engine themselves |
//! | [`reactor`] | the loop on real sockets |
//! | [`handle`] | the engine on its own thread |
//! | [`dht`] | a node of the DHT without I/O |
//! | [`utp`] | streams over datagrams (BEP 29) without I/O |
//! | [`wire`] | torrent files and messages: bytes to values and back |
//! | [`mod@create`] | making torrents |
//! | [`guide`] | how all of it works, chapter by chapter |
//! | [`store`] | where bytes are, hashing, workers; [`store::Storage`] is the seam for your own |
//!
//! Every public item says where its behaviour comes from: a BEP and its section, a paper, or a
//! measurement in RESEARCH.md.

pub mod alert;
mod base;
pub mod conf;
pub mod create;
pub mod driver;
pub mod engine;
pub mod guide;
pub mod handle;
mod proto;
pub mod reactor;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod store;
mod torrent;
pub mod wire;

pub use alert::{Alert, AlertMask, Phase, StopAt, TorrentStats, TrackerStats};
pub use base::{
    bitfield::Bitfield,
    bucket::{Limits, Rate},
    files::Priority,
    ids::{Identity, InfoHash, InfoHashV2, PeerId, ReadId, TorrentId},
    ip_filter::{IpFilter, IpRange, IpRangeError},
    storage::{Allocation, StoreError, Trust},
    time::Instant,
    totals::Totals,
};
pub use conf::{Conf, ConfError};
pub use create::{CreateParams, create};
pub use engine::{
    ActiveLimits, AddError, ConnectionParams, EarlierRuns, Engine, FileStats, MoveMode,
    NoSuchTorrent, PeerStats, SessionStats, Source, TorrentParams, Verbs,
};
pub use handle::{Alerts, CallError, EngineHandle, spawn};
pub use proto::dht;
pub use proto::metadata::MetadataStatus;
pub use proto::utp;
#[doc(hidden)]
pub use proto::{hashes, lsd, metadata, pex};
#[doc(hidden)]
pub use proto::{
    http::probe as http_probe, mse::probe as mse_probe, port_mapping::probe as port_mapping_probe,
    proxy::probe as proxy_probe, tracker::probe as tracker_probe,
    web_seed::probe as web_seed_probe,
};
pub use reactor::{Reactor, ReactorError};
