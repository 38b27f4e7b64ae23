//! The world as a torrent may see it: the time, the settings, randomness, an outbox for what must
//! happen, and what is leased of what others share.

use crate::{
    alert::Alerts,
    base::{ids::PeerId, job::Job, rng::Rng, time::Instant},
    conf::Conf,
    torrent::{leases::Leases, outbox::Outbox, recorder::Recorder, told::Told},
};

/// Of one shard, shared by all torrents of an engine. All but the leases is its own.
#[derive(Debug)]
pub(crate) struct Cx {
    pub(crate) now: Instant,
    pub(crate) conf: Conf,
    pub(crate) rng: Rng,
    pub(crate) peer_id: PeerId,
    pub(crate) outbox: Outbox,
    pub(crate) alerts: Alerts,
    /// Torrents with something to record, and those that are to wake.
    pub(crate) recorder: Recorder,
    /// What trackers are to be told.
    pub(crate) told: Told,
    pub(crate) leases: Leases,
}

impl Cx {
    pub(crate) fn new(conf: Conf, rng: Rng, peer_id: PeerId, now: Instant) -> Self {
        Self {
            now,
            told: Told::new(rng.fork(0x7ac4_e125)),
            rng,
            peer_id,
            outbox: Outbox::new(),
            alerts: Alerts::new(conf.alerts.mask, conf.alerts.max),
            recorder: Default::default(),
            leases: Leases::new(&conf, now),
            conf,
        }
    }

    /// How many blocks one peer may have on order; see [`Leases::fair_share`].
    pub(crate) fn fair_share(&self) -> usize {
        self.leases.fair_share(&self.conf)
    }

    pub(crate) fn job(&mut self, job: Job) {
        self.outbox.job(job);
    }
}
