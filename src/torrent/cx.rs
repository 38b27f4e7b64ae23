//! The world as a torrent may see it: the time, the settings, randomness, shared memory, and an
//! outbox for what must happen.

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use crate::{
    alert::Alerts,
    base::{
        arena::Key, geometry::BLOCK_LEN, ids::PeerId, ip_filter::IpFilter, job::Job,
        ports::ListenPorts, rate::RateMeter, rng::Rng, time::Instant, timers::Deadlines,
    },
    conf::Conf,
    torrent::{
        announcer::TrackerNo, external::External, keeping::Recorder, piece_memory::Memory,
        upload_memory::UploadMemory,
    },
    wire::tracker::Announce,
};

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
    /// Close the socket of this link. The engine has forgotten it already; a late `handle_closed`
    /// is harmless.
    Close {
        /// The link.
        link: Key,
    },
    /// There are bytes to send on this link: drain `poll_transmit`. At most once a link between two
    /// drains.
    Flush {
        /// The link.
        link: Key,
    },
    /// There may be bytes to read again on this link, whose `read_quota` was zero: read on, if the
    /// socket has any.
    Resume {
        /// The link.
        link: Key,
    },
    /// Hand this to a worker; answer with `handle_done`.
    Job(Job),
    /// Something for a tracker.
    Tracker(TrackerEffect),
}

/// What the driver must do to have a tracker asked. A `call` is one question, or another stream of
/// the same; it has nothing to do with the links of peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TrackerEffect {
    /// Look a host's name up, elsewhere, since that may take long; answer with `handle_resolved`.
    Resolve {
        /// The name, which is no address.
        host: String,
    },
    /// Connect a stream; answer with `handle_tracker_connected` when it is up, TLS included, or
    /// `handle_tracker_ended`.
    Connect {
        /// The call.
        call: Key,
        /// Where to.
        addr: SocketAddr,
        /// With TLS, to a server that can prove to have this name or address.
        tls: Option<String>,
    },
    /// There are bytes to send on this call's stream: drain `tracker_transmit`.
    Flush {
        /// The call.
        call: Key,
    },
    /// Close the call's stream, if it has one. The engine may have forgotten the call already.
    Close {
        /// The call.
        call: Key,
    },
    /// Send a datagram; answers go to `handle_datagram`. `handle_tracker_ended` if that is known to
    /// fail.
    Datagram {
        /// The call.
        call: Key,
        /// Where to.
        to: SocketAddr,
        /// What.
        data: Vec<u8>,
    },
}

/// What a torrent that stops has still to tell a tracker. It owns what it says, since the torrent
/// may be gone before it is said.
#[derive(Clone, Debug)]
pub(crate) struct Farewell {
    pub(crate) torrent: Key,
    /// `None` for a tracker of an earlier run or one that is not in the list any more.
    pub(crate) no: Option<TrackerNo>,
    pub(crate) url: String,
    /// The tracker has acknowledged `started`. Otherwise an announce is on its way that may have
    /// reached it.
    pub(crate) known: bool,
    /// An earlier run's, of which only what was never acknowledged is left.
    pub(crate) old: bool,
    /// In the order in which they are told.
    pub(crate) events: Vec<Announce>,
}

/// Blocks that a peer may have on order however many others there are.
const MIN_SHARE: usize = 4;

/// Whose deadline it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Owner {
    Link(Key),
    Torrent(Key),
    /// Links that wait for tokens.
    Limits,
    /// A question to a tracker.
    Call(Key),
    /// Questions that wait for their turn.
    Calls,
    /// Torrents that wait for their turn.
    Queue,
    /// Candidates that wait for room.
    Crowd,
    /// Buffers that lie idle.
    Buffers,
    /// The session folder, which could not be written.
    Recorder,
}

/// Shared by all torrents of an engine.
#[derive(Debug)]
pub(crate) struct Cx {
    pub(crate) now: Instant,
    pub(crate) conf: Conf,
    pub(crate) rng: Rng,
    pub(crate) peer_id: PeerId,
    pub(crate) effects: VecDeque<Effect>,
    /// Links that have something to send and have not been told so.
    pub(crate) dirty: BTreeSet<Key>,
    pub(crate) alerts: Alerts,
    pub(crate) memory: Memory,
    pub(crate) uploads: UploadMemory,
    /// Links that have blocks to be read for, in the order in which they are served.
    pub(crate) uploads_due: VecDeque<Key>,
    /// A torrent could not get memory since it was last given back.
    pub(crate) memory_short: bool,
    /// Sessions that may ask for blocks, over all torrents.
    pub(crate) fetchers: usize,
    /// Connections in all, as far as was told.
    pub(crate) links: usize,
    pub(crate) deadlines: Deadlines<Owner>,
    /// Torrents with something to record, and those that are to wake.
    pub(crate) recorder: Recorder,
    /// Ports we listen on, as told to peers and trackers.
    pub(crate) ports: ListenPorts,
    /// The addresses that the user wants nothing to do with; each torrent's candidates have it too.
    pub(crate) filter: Arc<IpFilter>,
    /// Our own address, as others see it.
    pub(crate) external: External,
    /// For trackers only, so that having some changes nothing else.
    pub(crate) tracker_rng: Rng,
    /// Torrents that have something to tell a tracker, each once.
    pub(crate) announces: VecDeque<Key>,
    /// Torrents that stopped: what they asked of trackers and is no event does not matter any
    /// more.
    pub(crate) silenced: Vec<Key>,
    /// What they have still to tell; the engine takes it over before the turn ends.
    pub(crate) farewells: Vec<Farewell>,
    /// Some of what we send is limited.
    pub(crate) up_limited: bool,
    /// Bytes of blocks that came and went, over all torrents.
    pub(crate) down: RateMeter,
    pub(crate) up: RateMeter,
}

impl Cx {
    pub(crate) fn new(conf: Conf, rng: Rng, peer_id: PeerId, now: Instant) -> Self {
        let tracker_rng = rng.fork(0x7ac4_e125);
        Self {
            now,
            tracker_rng,
            rng,
            peer_id,
            effects: Default::default(),
            dirty: Default::default(),
            alerts: Alerts::new(conf.alerts, conf.max_alerts),
            memory: Memory::new(conf.max_piece_memory),
            uploads: UploadMemory::new(conf.max_upload_memory),
            uploads_due: Default::default(),
            memory_short: false,
            fetchers: 0,
            links: 0,
            deadlines: Deadlines::new(),
            recorder: Default::default(),
            ports: Default::default(),
            filter: Default::default(),
            external: Default::default(),
            announces: Default::default(),
            silenced: Default::default(),
            farewells: Default::default(),
            up_limited: false,
            down: RateMeter::new(now),
            up: RateMeter::new(now),
            conf,
        }
    }

    /// How many blocks one peer may have on order so that all who fetch find memory. What is on
    /// order begins and ends within a run, so two runs of a peer's part of the memory hold
    /// little, unless there is too little of it for that.
    pub(crate) fn fair_share(&self) -> usize {
        let part = self.conf.max_piece_memory / self.fetchers.max(1);
        let filled = part.saturating_sub(2 * self.conf.run_len as usize).max(part / 4);
        (filled / BLOCK_LEN as usize).max(MIN_SHARE)
    }

    pub(crate) fn job(&mut self, job: Job) {
        self.effects.push_back(Effect::Job(job));
    }
}
