//! How far a torrent is on its way from being added to being closed, and whether it speaks with
//! peers. What makes it go on is its storage's answers (storage.rs) and its owner's verbs
//! (verbs.rs); this only names where it stands.

use crate::{
    alert::Phase,
    base::job::Trust,
    torrent::{Torrent, checker::Checker},
};

/// How far the storage is.
#[derive(Debug)]
pub(super) enum Stage {
    /// Until it is its turn to be opened.
    Waiting,
    /// Known from the session folder and not looked at.
    Asleep,
    /// A worker is looking, or failed to.
    Opening,
    Checking(Checker),
    Open,
    /// None of its files is where they were; see absence.rs.
    Gone,
    /// A worker is closing it.
    Closing,
    /// It is closed, and its removal is being recorded.
    Forgetting,
    Closed,
}

/// What happens when no worker has a job of this torrent any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    Reopen {
        trust: Trust,
    },
    /// Its data is gone.
    Vanish,
    Close {
        told: bool,
        delete: bool,
    },
}

impl Torrent {
    pub(crate) fn phase(&self) -> Phase {
        match &self.stage {
            _ if matches!(self.next, Some(Next::Close { .. })) => Phase::Closing,
            _ if self.is_gone() && self.paused => Phase::Paused,
            _ if self.is_gone() => Phase::Missing,
            // It is opened anew as soon as its workers are done.
            _ if self.next.is_some() => Phase::Opening,
            Stage::Closing | Stage::Forgetting | Stage::Closed => Phase::Closing,
            // What cannot be opened rests as well as what cannot be written.
            _ if self.failing && self.paused => Phase::Paused,
            _ if self.failing => Phase::Stalled,
            Stage::Waiting if self.paused => Phase::Paused,
            Stage::Waiting if self.held => Phase::Queued,
            Stage::Waiting | Stage::Opening => Phase::Opening,
            Stage::Checking(_) => Phase::Checking,
            Stage::Open | Stage::Asleep if self.paused => Phase::Paused,
            Stage::Open | Stage::Asleep if self.held => Phase::Queued,
            Stage::Open | Stage::Asleep if self.swarm.is_finished() => Phase::Seeding,
            // What it lacks shows when it is open.
            Stage::Asleep | Stage::Gone => Phase::Opening,
            Stage::Open => Phase::Downloading,
        }
    }

    /// Whether it speaks with peers now.
    pub(crate) fn is_active(&self) -> bool {
        matches!(self.stage, Stage::Open) && !self.rests() && self.next.is_none()
    }

    /// Whether it speaks with no peer because it was told so.
    pub(super) fn rests(&self) -> bool {
        self.paused || self.held
    }

    /// Whether it is being removed, so that nothing of it is kept.
    pub(super) fn is_forgotten(&self) -> bool {
        matches!(self.next, Some(Next::Close { told: true, .. }))
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.stage, Stage::Closed)
    }
}
