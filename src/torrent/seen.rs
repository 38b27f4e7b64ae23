//! What the engine has last seen of a torrent, kept with it so that a look at it costs nothing when
//! there is no news. It does not know what the engine does with the news.

use crate::{
    alert::Phase,
    base::time::Instant,
    conf::Conf,
    torrent::{Torrent, queue_request::QueueRequest},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Seen {
    queue_request: Option<QueueRequest>,
    phase: Option<Phase>,
    /// It is in the list of those that a user may have to be told of.
    touched: bool,
    /// A digest of what was told of it, and the number of that change.
    told: Option<u64>,
    change: u64,
    /// Bytes and pieces that the session has counted.
    wasted: u64,
    failed_pieces: u64,
    wants: Wants,
}

/// What a torrent wants of the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wants {
    /// To dial, now or as soon as it wakes.
    pub(crate) dial: bool,
    /// Memory.
    pub(crate) memory: bool,
    /// Room to dial.
    pub(crate) room: bool,
}

impl Torrent {
    /// Something happened that a user may have to be told of. Whether that is news.
    pub(crate) fn touch(&mut self) -> bool {
        !std::mem::replace(&mut self.seen.touched, true)
    }

    /// The user is told how it stands; `digest` is of that. If it stands otherwise than it did, it
    /// has changed under this `number`, and what is returned is the number that it had before.
    pub(crate) fn note_told(&mut self, digest: u64, number: u64) -> Option<u64> {
        if self.seen.told.replace(digest) == Some(digest) {
            return None;
        }
        Some(std::mem::replace(&mut self.seen.change, number))
    }

    /// Whether it is to be looked at again although nothing happens to it: rates rise and sink.
    pub(crate) fn stays_touched(&mut self, now: Instant) -> bool {
        self.seen.touched = self.counters().is_flowing(now);
        self.seen.touched
    }

    /// The number of its last change; 0 if it was never told of.
    pub(crate) fn last_change(&self) -> u64 {
        self.seen.change
    }

    /// What it asks of the queue, if that is news.
    pub(crate) fn poll_queue_request(&mut self) -> Option<QueueRequest> {
        let request = self.queue_request();
        (self.seen.queue_request.replace(request) != Some(request)).then_some(request)
    }

    /// The phase that it was in and the one that it is in, if that is another one.
    pub(crate) fn poll_phase(&mut self) -> Option<(Option<Phase>, Phase)> {
        let phase = self.phase();
        let before = self.seen.phase.replace(phase);
        (before != Some(phase)).then_some((before, phase))
    }

    /// The phase that it was last seen in.
    pub(crate) fn last_phase(&self) -> Option<Phase> {
        self.seen.phase
    }

    /// Bytes that were wasted and pieces that failed since this was asked last.
    pub(crate) fn take_losses(&mut self) -> (u64, u64) {
        let counters = self.swarm.counters();
        let (wasted, failed_pieces) = (counters.wasted(), counters.failed_pieces());
        let wasted_before = std::mem::replace(&mut self.seen.wasted, wasted);
        let failed_before = std::mem::replace(&mut self.seen.failed_pieces, failed_pieces);
        (wasted - wasted_before, failed_pieces - failed_before)
    }

    /// What it wants of the engine, if that is news.
    pub(crate) fn poll_wants(&mut self, now: Instant, conf: &Conf) -> Option<Wants> {
        let (waits, has_room) = (self.has_candidate_due(now), self.peers.has_room(conf));
        let wants =
            Wants { dial: waits && has_room, memory: self.is_busy(), room: waits && !has_room };
        (std::mem::replace(&mut self.seen.wants, wants) != wants).then_some(wants)
    }

    /// Whether it wanted to dial when it was last asked, and could or had no room.
    pub(crate) fn wanted_dial(&self) -> bool {
        self.seen.wants.dial || self.seen.wants.room
    }
}
