//! How torrents meet the queues: what each could do is told when it has changed, and what is
//! decided is carried out. And the verbs for positions, limits, and when it is enough.
//!
//! Who runs is decided in `queue`, who is checked in `checks`.

use thiserror::Error;

use crate::{
    alert::StopAt,
    base::{arena::Key, ids::TorrentId, time::Instant},
    conf::Conf,
    engine::{
        Engine, NoSuchTorrent, Verbs, checks::Checks, io::Owner, queue::ActiveLimits, session::Said,
    },
    torrent::{HELD, Torrent, queue_request::Lane},
};

/// What carrying out the queues' decisions needs to remember.
#[derive(Debug, Default)]
pub(super) struct Queueing {
    pub(super) checks: Checks,
    /// Earliest queue deadline already pushed to the heap.
    pushed: Option<Instant>,
    /// The queues' wishes are being carried out.
    arranging: bool,
}

/// Why a torrent cannot be moved in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum QueueError {
    /// There is none.
    #[error(transparent)]
    NoSuchTorrent(#[from] NoSuchTorrent),
    /// It has everything, or the queue does not look after it.
    #[error("torrent {0} has no position in the queue")]
    NoPosition(TorrentId),
}

impl ActiveLimits {
    pub(super) fn of(conf: &Conf) -> Self {
        Self {
            downloads: conf.queue.max_active_downloads,
            seeds: conf.queue.max_active_seeds,
            total: conf.queue.max_active,
            checks: conf.queue.max_active_checks,
        }
    }
}

impl Verbs<'_> {
    /// Changes that, from now on. 0 checks count as 1.
    pub fn set_active_limits(&mut self, limits: ActiveLimits) {
        let limits = ActiveLimits { checks: limits.checks.max(1), ..limits };
        (
            self.engine.cx.conf.queue.max_active_downloads,
            self.engine.cx.conf.queue.max_active_seeds,
        ) = (limits.downloads, limits.seeds);
        (self.engine.cx.conf.queue.max_active, self.engine.cx.conf.queue.max_active_checks) =
            (limits.total, limits.checks);
        self.engine.queue.set_limits(self.engine.cx.now, limits);
        self.engine.session_changed(Said::Active);
        self.engine.arrange();
    }

    /// Whether the queue decides when a torrent runs. One that it did not look after becomes the
    /// last in the queue; one that runs goes on if there is room.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_queued(&mut self, id: TorrentId, queued: bool) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.set_queued(queued, cx))
    }

    /// Gives a download another position; those in between move up or down by one. Beyond the end
    /// is the end. It runs at once if it is among the first now, and a download that no longer
    /// is waits.
    ///
    /// # Errors
    /// If there is no such torrent, or it has no position.
    pub fn set_queue_position(&mut self, id: TorrentId, position: usize) -> Result<(), QueueError> {
        let request = self.engine.torrents.get(id.0).ok_or(NoSuchTorrent(id))?.queue_request();
        if !self.engine.queue.move_to(self.engine.cx.now, id.0, position) {
            return Err(QueueError::NoPosition(id));
        }
        self.engine.queueing.checks.handle_check(id.0, request.check, self.engine.queue.ord(id.0));
        self.engine.torrent_changed(id.0);
        self.engine.arrange();
        Ok(())
    }

    /// One place up.
    ///
    /// # Errors
    /// As [`set_queue_position`](Self::set_queue_position).
    pub fn queue_up(&mut self, id: TorrentId) -> Result<(), QueueError> {
        self.set_queue_position(
            id,
            self.engine.queue_position(id).unwrap_or_default().saturating_sub(1),
        )
    }

    /// One place down.
    ///
    /// # Errors
    /// As [`set_queue_position`](Self::set_queue_position).
    pub fn queue_down(&mut self, id: TorrentId) -> Result<(), QueueError> {
        self.set_queue_position(
            id,
            self.engine.queue_position(id).unwrap_or_default().saturating_add(1),
        )
    }

    /// To the first place.
    ///
    /// # Errors
    /// As [`set_queue_position`](Self::set_queue_position).
    pub fn queue_top(&mut self, id: TorrentId) -> Result<(), QueueError> {
        self.set_queue_position(id, 0)
    }

    /// To the last place.
    ///
    /// # Errors
    /// As [`set_queue_position`](Self::set_queue_position).
    pub fn queue_bottom(&mut self, id: TorrentId) -> Result<(), QueueError> {
        self.set_queue_position(id, usize::MAX)
    }

    /// When a torrent has served enough and is paused; `None`: as
    /// [`set_default_stop`](Self::set_default_stop) has it. At once if it has.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn set_stop(&mut self, id: TorrentId, stop: Option<StopAt>) -> Result<(), NoSuchTorrent> {
        self.engine.with(id, |torrent, cx| torrent.set_stop(stop, cx))
    }

    /// When torrents that have no wish of their own have served enough; see
    /// [`QueueConf::stop`](crate::conf::QueueConf::stop).
    pub fn set_default_stop(&mut self, stop: StopAt) {
        self.engine.cx.conf.queue.stop = stop;
        self.engine.session_changed(Said::Stop);
        for key in self.engine.torrents.keys() {
            if let Some(torrent) = self.engine.torrents.get_mut(key) {
                torrent.check_stop(&mut self.engine.cx);
                torrent.schedule(&mut self.engine.cx);
            }
            self.engine.settle(key);
        }
    }
}

impl Engine {
    /// The end of everything that concerns a torrent: the ledger, the tally and the queues learn
    /// what is new.
    pub(super) fn review(&mut self, key: Key) {
        let Some(torrent) = self.torrents.get_mut(key) else { return };
        self.ledger.touch(key, torrent);
        self.tally.handle_torrent(torrent, self.cx.now);
        let resting_dials = torrent.peers().dials() > 0 && !torrent.is_active();
        if let Some(request) = torrent.poll_queue_request() {
            self.queue.handle_request(self.cx.now, key, request);
            self.queueing.checks.handle_check(key, request.check, self.queue.ord(key));
            self.arrange();
        }
        if resting_dials {
            self.close_connections_of(key, "the torrent is not active");
        }
    }

    /// A torrent is gone.
    pub(super) fn forget(&mut self, key: Key, torrent: &Torrent) {
        self.tally.handle_gone(torrent, self.cx.now);
        self.queue.remove(self.cx.now, key);
        self.queueing.checks.remove(key);
        self.ledger.forget(key, torrent.last_change());
        self.arrange();
    }

    /// Carries out what the queues want.
    fn arrange(&mut self) {
        // What is carried out is news again; the outermost call goes on until there is none.
        if self.shutdown.has_begun() || std::mem::replace(&mut self.queueing.arranging, true) {
            return;
        }
        loop {
            if let Some((key, held)) = self.queue.poll_verdict() {
                let Some(torrent) = self.torrents.get_mut(key) else { continue };
                torrent.set_held(held, &mut self.cx);
                if held {
                    self.close_connections_of(key, HELD);
                }
                self.settle(key);
            } else if let Some(key) = self.queueing.checks.poll(self.queue.limits().checks) {
                if let Some(torrent) = self.torrents.get_mut(key) {
                    torrent.open(&mut self.cx);
                }
                self.settle(key);
            } else {
                break;
            }
        }
        self.queueing.arranging = false;
        if self.queue.take_renumbered() && self.cx.recorder.is_on() {
            for key in self.queue.order().collect::<Vec<_>>() {
                self.torrent_changed(key);
            }
        }
        if let Some(at) = self.queue.look_at()
            && self.queueing.pushed.is_none_or(|pushed| at < pushed)
        {
            self.queueing.pushed = Some(at);
            self.io.wake(at, Owner::Queue);
        }
    }

    pub(super) fn handle_queue_timeout(&mut self, at: Instant) {
        if self.queueing.pushed == Some(at) {
            self.queueing.pushed = None;
        }
        if self.queue.look_at().is_some_and(|look| look <= self.cx.now) {
            let Self { queue, torrents, cx, .. } = self;
            let rate = |key, lane| {
                let counters = torrents.get(key).map(Torrent::counters);
                counters.map_or(0, |c| {
                    if lane == Lane::Download { c.down_rate(cx.now) } else { c.up_rate(cx.now) }
                })
            };
            queue.look(cx.now, cx.conf.queue.slow_rate, cx.conf.queue.seed_turn, rate);
        }
        self.arrange();
    }

    // The verbs.

    /// How many torrents may run at a time, of those that the queue looks after.
    pub fn active_limits(&self) -> ActiveLimits {
        self.queue.limits()
    }

    /// The queued downloads in the order in which they run, paused ones and those that are being
    /// checked included.
    pub fn queue(&self) -> Vec<TorrentId> {
        self.queue.order().map(TorrentId).collect()
    }

    /// Where a torrent stands in [`queue`](Self::queue), from 0; `None` for what is whole, or not
    /// looked after by the queue.
    pub fn queue_position(&self, id: TorrentId) -> Option<usize> {
        self.queue.position(id.0)
    }

    /// A number for where a torrent stands in [`queue`](Self::queue), to be kept and handed in as
    /// [`TorrentParams::queue_order`](crate::TorrentParams::queue_order) in another run, in
    /// whatever order torrents are added then. When one torrent is moved, only its own number
    /// changes, unless there is no room between its neighbours' any more: then all do.
    pub fn queue_order(&self, id: TorrentId) -> Option<u64> {
        self.queue.download_ord(id.0)
    }

    /// What was set for a torrent with [`set_stop`](Verbs::set_stop) or when it was added, less
    /// what [`resume`](Verbs::resume) has lifted since.
    ///
    /// # Errors
    /// If there is no such torrent.
    pub fn stop_at(&self, id: TorrentId) -> Result<Option<StopAt>, NoSuchTorrent> {
        self.torrents.get(id.0).map(Torrent::stop_at).ok_or(NoSuchTorrent(id))
    }
}
