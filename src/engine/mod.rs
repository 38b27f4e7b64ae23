//! All torrents, all links, routing: inputs `handle_*`, outputs `poll_*`. Never sees a socket, a file or a clock.

use std::{io::IoSlice, net::SocketAddr, path::PathBuf, sync::Arc};

use thiserror::Error;

use crate::{
    alert::{Alert, TorrentStats},
    base::{
        arena::Key,
        ids::TorrentId,
        job::{Done, Job},
        time::Instant,
    },
    conf::{Conf, ConfError},
    wire::metainfo::Metainfo,
};

/// What to download or serve, and where.
#[derive(Clone, Debug)]
pub struct TorrentParams {
    /// The torrent.
    pub metainfo: Arc<Metainfo>,
    /// The download folder.
    pub dir: PathBuf,
    /// Where its state is kept; `None` keeps none.
    pub state_file: Option<PathBuf>,
    /// Peers to begin with.
    pub peers: Vec<SocketAddr>,
    /// Fetch pieces in order instead of rarest first.
    pub sequential: bool,
    /// Believe no saved state: hash everything that is there.
    pub recheck: bool,
    /// Begin at rest.
    pub paused: bool,
}

impl TorrentParams {
    /// `metainfo` into `dir`, with its state under `dir/.cratetorrent/`, rarest first, no peers.
    pub fn new(metainfo: Arc<Metainfo>, dir: impl Into<PathBuf>) -> Self {
        let _ = (metainfo, dir.into());
        unimplemented!()
    }
}

/// No such torrent in this engine (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no torrent {0} in this engine")]
pub struct NoSuchTorrent(pub TorrentId);

/// Why a torrent cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddError {
    /// The engine has it already.
    #[error("the torrent is there already, as {0}")]
    Duplicate(TorrentId),
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShuttingDown,
}

/// What the driver must do.
#[derive(Debug)]
pub enum Effect {
    /// Connect to `addr`; answer with `handle_connected` or `handle_closed`.
    Dial {
        /// The link to be.
        link: Key,
        /// Where to.
        addr: SocketAddr,
    },
    /// Close the socket of this link. The engine has forgotten it already: no `handle_closed` is needed (a late one is harmless).
    Close {
        /// The link.
        link: Key,
    },
    /// There are bytes to send on this link: drain `poll_transmit`. Once a turn and link.
    Flush {
        /// The link.
        link: Key,
    },
    /// Hand this to a worker; answer with `handle_done`.
    Job(Job),
}

/// Why the driver says that a link is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseCause {
    /// The other side closed it.
    Eof,
    /// The system refused or broke it.
    Io(std::io::ErrorKind),
}

/// The whole engine without I/O.
#[derive(Debug)]
pub struct Engine {}

#[allow(missing_docs, unused_variables)]
impl Engine {
    pub fn new(conf: Conf, seed: u64, now: Instant) -> Result<Self, ConfError> {
        unimplemented!()
    }
    pub fn conf(&self) -> &Conf {
        unimplemented!()
    }
    // verbs; the driver calls set_now (handle_tick) first
    pub fn add_torrent(&mut self, params: TorrentParams) -> Result<TorrentId, AddError> {
        unimplemented!()
    }
    pub fn remove(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        unimplemented!()
    }
    pub fn pause(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        unimplemented!()
    }
    pub fn resume(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        unimplemented!()
    }
    pub fn recheck(&mut self, id: TorrentId) -> Result<(), NoSuchTorrent> {
        unimplemented!()
    }
    pub fn add_peer(&mut self, id: TorrentId, addr: SocketAddr) -> Result<(), NoSuchTorrent> {
        unimplemented!()
    }
    pub fn torrents(&self) -> Vec<TorrentId> {
        unimplemented!()
    }
    pub fn stats(&self, id: TorrentId) -> Option<TorrentStats> {
        unimplemented!()
    }
    /// Close every link, save every state; `is_drained` tells when all of it is done.
    pub fn shutdown(&mut self) {
        unimplemented!()
    }
    pub fn is_drained(&self) -> bool {
        unimplemented!()
    }
    // inputs
    /// Time passes: verbs that follow happen at `now`.
    pub fn handle_tick(&mut self, now: Instant) {
        unimplemented!()
    }
    /// A peer connected to us. `None`: no room, close the socket at once.
    pub fn handle_accepted(&mut self, now: Instant, addr: SocketAddr) -> Option<Key> {
        unimplemented!()
    }
    pub fn handle_connected(&mut self, now: Instant, link: Key) {
        unimplemented!()
    }
    pub fn handle_data(&mut self, now: Instant, link: Key, data: &[u8]) {
        unimplemented!()
    }
    /// So many bytes of `poll_transmit` are on their way.
    pub fn handle_sent(&mut self, now: Instant, link: Key, bytes: usize) {
        unimplemented!()
    }
    pub fn handle_closed(&mut self, now: Instant, link: Key, cause: CloseCause) {
        unimplemented!()
    }
    pub fn handle_done(&mut self, now: Instant, done: Done) {
        unimplemented!()
    }
    pub fn handle_timeout(&mut self, now: Instant) {
        unimplemented!()
    }
    // outputs
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        unimplemented!()
    }
    /// Fills `out` with what is to be sent next on `link`, returns how many slices; 0 when there is nothing.
    #[must_use]
    pub fn poll_transmit<'a>(&'a self, link: Key, out: &mut [IoSlice<'a>]) -> usize {
        unimplemented!()
    }
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        unimplemented!()
    }
    #[must_use]
    pub fn poll_alert(&mut self) -> Option<Alert> {
        unimplemented!()
    }
}
