//! cratetorrent: a BitTorrent engine that a program embeds.

pub mod alert;
mod base;
pub mod conf;
pub mod engine;
pub mod handle;
mod proto;
pub mod reactor;
pub mod store;
mod torrent;
pub mod wire;

pub use alert::{Alert, AlertMask, Phase, TorrentStats};
pub use base::{
    arena::Key,
    bitfield::{Bitfield, BitfieldError},
    buf::Buf,
    digest::{Digest, Sha1State},
    files::{FileEntry, FileKind},
    geometry::{BLOCK_LEN, Block, Geometry, GeometryError, PieceIndex},
    ids::{InfoHash, PeerId, TorrentId},
    job::{Allocation, Chain, Done, Job, Opened, Run, RunData, RunDone, SaveState, StoreError, StoreOp, StoreSpec, Verdict},
    time::Instant,
};
pub use conf::{Conf, ConfError};
pub use engine::{AddError, CloseCause, Effect, Engine, NoSuchTorrent, PeerStats, TorrentParams};
pub use handle::{Alerts, EngineGone, EngineHandle, NoAlert, spawn};
pub use reactor::{Reactor, ReactorError, ReactorStats};
