//! What a torrent asks of the engine's queues: to be opened, to run. Compared after every input, so
//! it is small.

use crate::torrent::Torrent;

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
    pub(crate) fn queue_request(&self) -> QueueRequest {
        self.lifecycle.queue_request()
    }
}
