//! What a torrent asks of the engine's queues: to be opened, to run. Compared after every input, so
//! it is small.

use crate::{
    alert::Phase,
    torrent::{Torrent, swarm::Counters},
};

/// Which of the queue's lines a torrent stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Not known to be whole.
    Download,
    Seed,
}

/// Who is opened first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum OpeningTurn {
    /// It is to run at once.
    Now,
    /// When the queue lets it.
    Queued,
    /// When the user does.
    Paused,
}

/// Whether its storage is being opened and looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It is not, and need not be.
    No,
    /// It waits for that.
    Due(OpeningTurn),
    /// It is.
    Going,
}

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueueRequest {
    pub(crate) check: Check,
    /// The queue decides when it runs.
    pub(crate) queued: bool,
    pub(crate) lane: Lane,
    /// It would run if the queue let it.
    pub(crate) could_run: bool,
    /// The queue does not let it, as far as it was told.
    pub(crate) held: bool,
    /// Where it gets in line for the first time; `None`: at the end.
    pub(crate) order: Option<u64>,
}

impl Torrent {
    /// What there is to see of it, and what was seen.
    pub(crate) fn review(&mut self) -> (Phase, &Counters, &mut Seen) {
        (self.phase(), self.swarm.counters(), &mut self.seen)
    }

    pub(crate) fn queue_request(&self) -> QueueRequest {
        self.lifecycle.queue_request()
    }
}

/// What the engine has last seen of a torrent, kept with it so that a look at it costs nothing when
/// there is no news.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) queue_request: Option<QueueRequest>,
    pub(crate) phase: Option<Phase>,
    /// It is in the list of those that a user may have to be told of.
    pub(crate) touched: bool,
    /// A digest of what was told of it, and the number of that change.
    pub(crate) told: Option<u64>,
    pub(crate) change: u64,
    /// Bytes and pieces that the session has counted.
    pub(crate) wasted: u64,
    pub(crate) failed_pieces: u64,
    /// What it wants: to dial, memory, and room to dial.
    pub(crate) wants: (bool, bool, bool),
}
