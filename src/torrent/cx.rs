//! The world as a torrent may see it: the time, the settings, randomness, shared memory, and an
//! outbox for what must happen.

use std::{collections::VecDeque, sync::Arc};

use crate::{
    alert::Alerts,
    base::{
        arena::Key, geometry::BLOCK_LEN, ids::PeerId, ip_filter::IpFilter, job::Job,
        ports::ListenPorts, rate::RateMeter, rng::Rng, time::Instant,
    },
    conf::Conf,
    torrent::{
        announcer::TrackerNo, external::External, outbox::Outbox, persistence::Recorder,
        piece_memory::Memory, upload_memory::UploadMemory,
    },
    wire::tracker::Announce,
};

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

/// Shared by all torrents of an engine.
#[derive(Debug)]
pub(crate) struct Cx {
    pub(crate) now: Instant,
    pub(crate) conf: Conf,
    pub(crate) rng: Rng,
    pub(crate) peer_id: PeerId,
    pub(crate) outbox: Outbox,
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
    /// Torrents with something to record, and those that are to wake.
    pub(crate) recorder: Recorder,
    /// Ports we listen on, as told to peers and trackers.
    pub(crate) ports: ListenPorts,
    /// The addresses that the user wants nothing to do with; each torrent's candidates have it
    /// too.
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
            outbox: Outbox::new(),
            alerts: Alerts::new(conf.alerts.mask, conf.alerts.max),
            memory: Memory::new(conf.requests.max_piece_memory),
            uploads: UploadMemory::new(conf.uploads.max_memory),
            uploads_due: Default::default(),
            memory_short: false,
            fetchers: 0,
            links: 0,
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
        let part = self.conf.requests.max_piece_memory / self.fetchers.max(1);
        let filled = part.saturating_sub(2 * self.conf.requests.run_len as usize).max(part / 4);
        (filled / BLOCK_LEN as usize).max(MIN_SHARE)
    }

    pub(crate) fn job(&mut self, job: Job) {
        self.outbox.job(job);
    }
}
