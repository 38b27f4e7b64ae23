//! What torrents have to tell trackers and the engine has not begun to: whose turn it is, and what
//! those that stop have still to say. It knows no call and no address.

use std::collections::VecDeque;

use crate::{
    base::{arena::Key, rng::Rng},
    torrent::announcer::TrackerNo,
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
    /// It is the same once more, by the second hash of a hybrid torrent: nothing waits for it.
    pub(crate) also: bool,
    /// In the order in which they are told.
    pub(crate) events: Vec<Announce>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Told {
    /// For trackers only, so that having some changes nothing else.
    rng: Rng,
    /// Torrents that have something to tell a tracker, each once.
    due: VecDeque<Key>,
    /// Torrents that stopped: what they asked of trackers and is no event does not matter any
    /// more.
    silenced: Vec<Key>,
    /// What they have still to tell; the engine takes it over before the turn ends.
    farewells: Vec<Farewell>,
}

impl Told {
    pub(crate) fn new(rng: Rng) -> Self {
        Self { rng, due: VecDeque::new(), silenced: Vec::new(), farewells: Vec::new() }
    }

    pub(crate) fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// A torrent has something to tell a tracker. It sees to it that it is in line once.
    pub(crate) fn line_up(&mut self, torrent: Key) {
        self.due.push_back(torrent);
    }

    #[must_use]
    pub(crate) fn poll_due(&mut self) -> Option<Key> {
        self.due.pop_front()
    }

    pub(crate) fn is_due(&self) -> bool {
        !self.due.is_empty()
    }

    pub(crate) fn forget_due(&mut self) {
        self.due.clear();
    }

    pub(crate) fn silence(&mut self, torrent: Key) {
        self.silenced.push(torrent);
    }

    pub(crate) fn take_silenced(&mut self) -> Vec<Key> {
        std::mem::take(&mut self.silenced)
    }

    pub(crate) fn say_farewell(&mut self, farewell: Farewell) {
        self.farewells.push(farewell);
    }

    pub(crate) fn take_farewells(&mut self) -> Vec<Farewell> {
        std::mem::take(&mut self.farewells)
    }

    pub(crate) fn has_farewells(&self) -> bool {
        !self.farewells.is_empty()
    }

    /// Whether torrents stopped whose questions do not matter any more.
    pub(crate) fn has_silenced(&self) -> bool {
        !self.silenced.is_empty()
    }
}
