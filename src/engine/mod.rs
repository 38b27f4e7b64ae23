//! All torrents and all connections, and which torrent speaks on which. Inputs `handle_*`, outputs
//! `poll_*`; see the contract in `proto`.
//!
//! It never sees a socket, a file or a clock: a driver (the reactor, the simulator, or a host of
//! its own kind) carries out its effects and tells it what happened.

mod access;
mod addition;
#[cfg(any(test, feature = "sim"))]
mod audit;
mod buffers;
mod calls;
mod changes;
mod checks;
mod connection;
mod content;
mod crowd;
mod crypto;
mod datagrams;
mod dht;
mod dht_record;
mod dial;
mod dialling;
mod discovery;
mod effect;
mod encryption;
mod files;
mod hash_index;
mod hearing;
mod io;
mod labels;
mod limits;
mod lsd;
mod names;
mod network;
mod places;
mod port_mapping;
mod proxy;
mod queue;
mod queueing;
mod rate_limits;
mod reads;
mod session;
mod session_stats;
mod shutdown;
mod streams;
mod throttle;
mod trackers;
mod user_data;
mod utp;
mod verbs;
mod wanting;
mod ways;
mod web_seeds;

use std::path::PathBuf;

use thiserror::Error;

use self::hash_index::HashIndex;
pub use self::{
    access::Refused,
    changes::Changes,
    content::MetainfoRefused,
    effect::{DatagramOwner, Effect, Interface, StreamId},
    files::{FileError, FileStats, MoveMode},
    labels::LabelError,
    proxy::{ProxyStats, RelayStatus},
    queue::ActiveLimits,
    queueing::QueueError,
    reads::ReadError,
    session_stats::SessionStats,
    trackers::TrackersError,
    verbs::{PeerStats, Verbs},
    web_seeds::WebSeedsError,
};
use crate::{
    alert::Alert,
    base::{
        arena::{Arena, Key},
        ids::{PeerId, TorrentId},
        job::{Done, READ_GAP},
        rng::Rng,
        time::Instant,
    },
    conf::{Conf, ConfError},
    torrent::{Torrent, cx::Cx, outbox::Sleeper},
};
pub use crate::{
    base::paths::RenameError,
    torrent::{ConnectionParams, EarlierRuns, Source, TorrentParams, candidates::PeerSource},
};
use access::Access;
use calls::Calls;
use changes::Ledger;
use connection::Connection;
use crowd::Crowd;
use discovery::Discovery;
use encryption::KeyExchanges;
use io::{Io, Owner};
use places::Places;
use queue::Queue;
use queueing::Queueing;
use session_stats::Tally;
use shutdown::Shutdown;
use throttle::Throttle;
use utp::Utp;
use wanting::{Dialing, Wanting};
use ways::Ways;

/// No such torrent in this engine (any more).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no torrent {0} in this engine")]
pub struct NoSuchTorrent(pub TorrentId);

/// Why a torrent cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddError {
    /// The engine has it already. Files that a magnet link chooses can be wanted there, too, by
    /// [`Verbs::want_files`].
    #[error("the torrent is there already, as {0}")]
    Duplicate(TorrentId),
    /// The session has a folder, and a torrent cannot be kept there without the bytes of its
    /// metainfo ([`Metainfo::raw`](crate::wire::metainfo::Metainfo::raw)).
    #[error("the torrent cannot be kept: the bytes of its metainfo are not known")]
    Unkept,
    /// The session has a folder, and what is stored elsewhere than in files
    /// ([`TorrentParams::storage`]) cannot be found again from there.
    #[error("the torrent cannot be kept: it is not stored in files")]
    OwnStorage,
    /// The session has a folder, and the torrent is too large to be kept there.
    #[error(
        "the torrent cannot be kept: its metainfo and settings have {bytes} bytes, where {limit} \
         are the limit"
    )]
    TooLarge {
        /// The bytes of its metainfo and of what is said of it.
        bytes: usize,
        /// The most there may be.
        limit: usize,
    },
    /// The engine is shutting down.
    #[error("the engine is shutting down")]
    ShuttingDown,
    /// A file cannot have the name that [`TorrentParams::renames`] gives it.
    #[error("file {file} cannot be renamed: {error}")]
    Rename {
        /// Its index.
        file: usize,
        /// Why.
        error: RenameError,
    },
    /// It would write to a file of another torrent of the session, which has other bytes there, or
    /// is not done with it.
    #[error("{} belongs to the torrent {owner:?}, and {name:?} would write to it", path.display())]
    PathTaken {
        /// The file.
        path: PathBuf,
        /// What the torrent is called that was to be added.
        name: String,
        /// The other torrent.
        torrent: TorrentId,
        /// What that is called.
        owner: String,
    },
    /// Its labels cannot be.
    #[error(transparent)]
    Labels(#[from] LabelError),
}

/// Why the driver says that a stream is over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CloseCause {
    /// The other side closed it.
    #[error("it closed the connection")]
    Eof,
    /// We had no descriptor or no memory for it, which says nothing about the peer.
    #[error("there are no descriptors left")]
    Exhausted,
    /// None of [`NetworkConf::bind_addrs`](crate::conf::NetworkConf::bind_addrs) is of its family.
    #[error("no address of this family to bind to")]
    NoAddress,
    /// The system refused or broke it.
    #[error("{0}")]
    Io(std::io::ErrorKind),
    /// TLS could not be had, or broke: in words.
    #[error("{0}")]
    Tls(String),
    /// The proxy has failed, which says nothing of what is behind it: in words.
    #[error("{0}")]
    Proxy(String),
}

/// The whole engine without I/O: the first of the three doors.
///
/// A driver feeds it with `handle_*`, then takes what must happen from
/// [`poll_effect`](Self::poll_effect) until that is `None`,
/// and calls [`handle_timeout`](Self::handle_timeout) at [`poll_timeout`](Self::poll_timeout). Most
/// programs want a [`Reactor`](crate::Reactor) or [`spawn`](crate::spawn()) instead, which do this
/// for real sockets.
///
/// ```
/// use cratetorrent::{Conf, Engine, Instant};
///
/// let mut engine = Engine::new(Conf::default(), 1, Instant::ZERO)?;
/// assert!(engine.poll_effect().is_none());
/// assert!(engine.poll_timeout().is_none());
/// # Ok::<(), cratetorrent::ConfError>(())
/// ```
#[derive(Debug)]
pub struct Engine {
    torrents: Arena<Torrent>,
    /// For looking up only: its order never matters.
    by_hash: HashIndex,
    connections: Arena<Connection>,
    dialing: Dialing,
    shutdown: Shutdown,
    /// Who may connect.
    access: Access,
    throttle: Throttle,
    calls: Calls,
    queue: Queue,
    queueing: Queueing,
    ledger: Ledger,
    places: Places,
    tally: Tally,
    /// Which torrents want something, and who waits for one.
    wanting: Wanting,
    crowd: Crowd,
    discovery: Discovery,
    exchanges: KeyExchanges,
    ways: Ways,
    io: Io,
    cx: Cx,
}

impl Engine {
    /// An engine with these settings. `seed` makes its random choices reproducible; `now` is any
    /// point on the driver's clock.
    ///
    /// # Errors
    /// If the settings cannot work together.
    pub fn new(conf: Conf, seed: u64, now: Instant) -> Result<Self, ConfError> {
        conf.validate()?;
        let mut rng = Rng::new(seed);
        let mut peer_id = [0; 20];
        rng.fill(&mut peer_id);
        for (byte, own) in peer_id.iter_mut().zip(conf.network.client.bytes()) {
            *byte = own;
        }
        let throttle = Throttle::new(now, conf.network.limits);
        let queue = Queue::new(ActiveLimits::of(&conf));
        let discovery = Discovery::new(&conf, &mut rng, now);
        let exchanges = KeyExchanges::new(rng.fork(0x6d73_6520));
        let utp = Utp::new(&conf, &rng);
        let mut cx = Cx::new(conf, rng, PeerId(peer_id), now);
        cx.leases.set_up_limited(throttle.up.is_on());
        let mut engine = Self {
            torrents: Arena::new(),
            by_hash: HashIndex::default(),
            connections: Arena::new(),
            dialing: Dialing::default(),
            shutdown: Shutdown::default(),
            access: Access::default(),
            throttle,
            calls: Calls::new(now),
            queue,
            queueing: Queueing::default(),
            ledger: Ledger::default(),
            places: Places::default(),
            tally: Tally::default(),
            wanting: Wanting::default(),
            crowd: Crowd::default(),
            discovery,
            exchanges,
            ways: Ways::new(utp),
            io: Io::new(),
            cx,
        };
        engine.start_relay();
        engine.start_dht();
        Ok(engine)
    }

    /// The engine as its user sees it. The driver tells the time first
    /// ([`handle_tick`](Self::handle_tick)), and takes the effects of the verbs afterwards.
    pub fn verbs(&mut self) -> Verbs<'_> {
        Verbs { engine: self }
    }

    /// The settings.
    pub fn conf(&self) -> &Conf {
        &self.cx.conf
    }

    /// What we call ourselves on the wire.
    pub fn peer_id(&self) -> PeerId {
        self.cx.peer_id
    }

    // Inputs.

    /// Time passes. The verbs that follow happen at `now`.
    pub fn handle_tick(&mut self, now: Instant) {
        if now.since(self.cx.now) >= network::SLEPT {
            self.note_gap(now);
        }
        self.cx.now = self.cx.now.max(now);
    }

    /// A worker answered a [`Job`](crate::driver::Job).
    pub fn handle_done(&mut self, now: Instant, done: Done) {
        self.handle_tick(now);
        let torrent = match &done {
            Done::Opened { torrent, .. }
            | Done::Run { torrent, .. }
            | Done::Read { torrent, .. }
            | Done::Checked { torrent, .. }
            | Done::Extracted { torrent, .. }
            | Done::Digests { torrent, .. }
            | Done::Leaves { torrent, .. }
            | Done::Syncing { torrent, .. }
            | Done::Saved { torrent, .. }
            | Done::Arranged { torrent, .. }
            | Done::Relocated { torrent, .. }
            | Done::Tidied { torrent, .. }
            | Done::Deleted { torrent, .. }
            | Done::Looked { torrent, .. }
            | Done::Computed { torrent, .. }
            | Done::Info { torrent, .. }
            | Done::Closed { torrent } => torrent,
            Done::KeyExchange { link, exchange } => return self.handle_exchange(*link, exchange),
            Done::Recorded { torrent, kind, result } => {
                return self.handle_recorded(*torrent, *kind, result.clone());
            }
        };
        let key = *torrent;
        let Some(torrent) = self.torrents.get_mut(key) else {
            if let Done::Read { buf, .. } = done {
                self.cx.leases.uploads_mut().give(buf);
            }
            return;
        };
        match done {
            Done::Read { link, blocks, buf, result, cold, .. } => {
                let session = self.connections.get(link).and_then(Connection::session);
                let cold =
                    blocks.last().filter(|_| cold && result.is_ok()).map(|block| block.piece);
                torrent.handle_read(session, cold, buf, result, &mut self.cx);
            }
            Done::Computed { task, .. } => return self.handle_computed(key, task),
            done => torrent.handle_done(done, &mut self.cx),
        }
        self.settle(key);
        self.share_memory();
    }

    /// The time that [`poll_timeout`](Self::poll_timeout) told has come. Calling it too early does
    /// nothing.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_tick(now);
        loop {
            // Of those that are due at the same time, torrents' and connections' come first.
            let torrents = self.cx.outbox.next_deadline();
            if torrents.is_some_and(|at| self.io.next_deadline().is_none_or(|own| at <= own)) {
                let Some((at, sleeper)) = self.cx.outbox.poll_due(self.cx.now) else { break };
                self.wake(sleeper, at);
                continue;
            }
            let Some((at, owner)) = self.io.poll_due(self.cx.now) else { break };
            match owner {
                Owner::Limits => self.handle_limits_timeout(at),
                Owner::Call(call) => self.handle_call_timeout(call, at),
                Owner::Calls => self.handle_calls_timeout(at),
                Owner::Queue => self.handle_queue_timeout(at),
                Owner::Crowd => self.handle_crowd_timeout(at),
                Owner::Buffers => self.handle_buffers_timeout(at),
                Owner::Recorder => self.handle_recorder_timeout(at),
                Owner::Dht => self.handle_dht_timeout(at),
                Owner::Lsd => self.handle_lsd_timeout(at),
                Owner::Utp => self.handle_utp_timeout(at),
                Owner::Proxy => self.handle_proxy_timeout(at),
                Owner::PortMapping => self.handle_mapping_timeout(at),
            }
        }
    }

    fn wake(&mut self, sleeper: Sleeper, at: Instant) {
        match sleeper {
            Sleeper::Peer(connection) => self.handle_connection_timeout(connection, at),
            Sleeper::Torrent(key) => {
                self.cx.leases.set_connections(self.connections.len());
                if let Some(torrent) = self.torrents.get_mut(key) {
                    torrent.handle_timeout(at, &mut self.cx);
                    self.settle(key);
                }
            }
        }
    }

    // Outputs.

    /// The next thing that must happen, if there is one.
    #[must_use]
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.hear_proxy();
        self.hear_utp();
        if let Some(effect) = self.io.poll(&mut self.cx.outbox) {
            return Some(effect);
        }
        while let Some(connection) = self.cx.outbox.poll_flush() {
            if !self.flush_utp(connection) {
                return Some(Effect::Flush { stream: StreamId::Peer(connection) });
            }
        }
        if let Some(effect) = self.poll_utp() {
            return Some(effect);
        }
        self.pump_uploads();
        self.pump_session();
        // Whatever else there is to do: uploads may never end.
        self.pump_calls();
        // What trackers said may have to be recorded.
        self.pump_session();
        self.io.poll(&mut self.cx.outbox)
    }

    /// Has blocks read for the connection that is next, as long as there is memory for it. One
    /// batch at a time: its buffer is hot if it has just come back from the connection before.
    fn pump_uploads(&mut self) {
        while self.io.is_empty(&self.cx.outbox)
            && self.has_room_to_read()
            && let Some(key) = self.cx.outbox.poll_reader()
        {
            let Some((session, torrent)) =
                self.connections.get(key).and_then(|l| l.session_and_torrent())
            else {
                continue;
            };
            if let Some(torrent) = self.torrents.get_mut(torrent) {
                torrent.pump_uploads(session, &mut self.cx);
            }
        }
    }

    /// Whether there is memory for a batch of blocks.
    fn has_room_to_read(&self) -> bool {
        let batch = self.cx.conf.uploads.max_request as usize + READ_GAP;
        self.cx.leases.uploads().room() > batch
    }

    /// Whether [`poll_effect`](Self::poll_effect) may have something. Of what trackers are to be
    /// told it says so rather once too often.
    pub(crate) fn may_have_effects(&self) -> bool {
        let outbox = &self.cx.outbox;
        !self.io.is_empty(outbox)
            || outbox.has_flushes()
            || self.ways.utp.has_output()
            || self.ways.proxy.has_news()
            || (outbox.has_readers() && self.has_room_to_read())
            || self.has_records_due()
            || self.has_calls_due()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called at the latest.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let torrents = self.cx.outbox.next_deadline();
        [torrents, self.io.next_deadline()].into_iter().flatten().min()
    }

    /// The next thing to tell the user.
    #[must_use]
    pub fn poll_alert(&mut self) -> Option<Alert> {
        let mut alert = self.cx.alerts.pop();
        match &mut alert {
            Some(Alert::Progress { torrent, stats } | Alert::Finished { torrent, stats }) => {
                self.complete(*torrent, stats);
            }
            Some(Alert::ReadDone { .. }) => self.cx.leases.reads_mut().end(),
            Some(Alert::NoPeers { no_peers, .. }) => self.ways.proxy.explain(no_peers),
            _ => {}
        }
        alert
    }

    /// Whether [`poll_alert`](Self::poll_alert) has something.
    pub fn has_alerts(&self) -> bool {
        !self.cx.alerts.is_empty()
    }

    /// Bytes of piece data in memory or promised to be: never more than
    /// `RequestConf::max_piece_memory`.
    pub fn piece_memory(&self) -> usize {
        self.cx.leases.pieces().used()
    }

    /// Bytes of blocks being read or waiting to be sent: never more than `UploadConf::max_memory`.
    pub fn upload_memory(&self) -> usize {
        self.cx.leases.uploads().used()
    }

    fn effect(&mut self, effect: Effect) {
        self.io.push(effect, &mut self.cx.outbox);
    }

    // The end of every input.

    /// Carries out what a torrent wants of the connections, and lets it dial.
    fn settle(&mut self, key: Key) {
        self.serve_web_seeds(key);
        self.change_place(key);
        self.spread_external_addr();
        self.watch_buffers();
        while let Some(torrent) = self.torrents.get_mut(key) {
            let partings = torrent.take_partings();
            if partings.is_empty() {
                if torrent.is_closed() {
                    self.by_hash.remove(torrent.identity().hashes(), key);
                    let torrent = self.torrents.remove(key);
                    self.throttle.forget_torrent(self.cx.now, key);
                    if let Some(torrent) = torrent {
                        self.forget(key, &torrent);
                        self.leave_place(key, torrent.location().shared().others());
                    }
                }
                self.greet_waiting(key);
                break;
            }
            for parting in partings {
                self.close(parting.link, parting.reason);
            }
        }
        self.review(key);
        self.note_wishes(key);
        self.note_dht(key);
        self.note_lsd(key);
        let again = self.dialing.take_again();
        if again || self.torrents.get(key).is_some_and(Torrent::wanted_dial) {
            self.dial_candidates();
        }
    }

    /// A peer looked for memory and found none: what no peer works on in other torrents is given up
    /// for it.
    fn relieve(&mut self) {
        if self.cx.leases.is_short() {
            for key in self.wanting.busy() {
                if let Some(torrent) = self.torrents.get_mut(key) {
                    torrent.give_up_idle(&mut self.cx);
                }
            }
        }
    }

    /// Memory came back: sessions that went without may ask again.
    fn share_memory(&mut self) {
        if self.cx.leases.take_shortage() {
            // Not all torrents: there may be thousands that rest, and this follows each answer of a
            // worker.
            for key in self.wanting.busy() {
                if let Some(torrent) = self.torrents.get_mut(key) {
                    torrent.handle_room(&mut self.cx);
                    self.settle(key);
                }
            }
        }
    }
}
