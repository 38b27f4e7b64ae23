//! Which sessions are offered what has become free. It does not know what it is, nor in which order
//! they are served.

use std::collections::BTreeSet;

use super::Swarm;
use crate::base::arena::Key;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Refills {
    /// A session may find something to ask for now that did not before.
    wanted: bool,
    /// The sessions that may be asked for more than is on order with them, by their keys in the
    /// torrent.
    unfilled: BTreeSet<Key>,
}

impl Refills {
    /// Something has become free, or nothing is any more: sessions are to look again.
    pub(super) fn want(&mut self) {
        self.wanted = true;
    }

    /// The same, if `news`.
    pub(super) fn want_if(&mut self, news: bool) {
        self.wanted |= news;
    }
}

impl Swarm {
    /// A session may find something to ask for now that did not before.
    pub(crate) fn want_refill(&mut self) {
        self.refills.want();
    }

    /// Whether sessions are to look again, once.
    pub(crate) fn take_refill(&mut self) -> bool {
        std::mem::take(&mut self.refills.wanted)
    }

    /// Whether siblings must learn something, or are to look again.
    pub(crate) fn has_news(&self) -> bool {
        self.has_notes() || self.refills.wanted
    }

    /// Whether sessions are to look again.
    #[cfg(test)]
    pub(crate) fn wants_refill(&self) -> bool {
        self.refills.wanted
    }

    /// The pipeline of this session has room, or has none any more.
    pub(crate) fn note_room(&mut self, session: Key, has_room: bool) {
        if has_room {
            self.refills.unfilled.insert(session);
        } else {
            self.refills.unfilled.remove(&session);
        }
    }

    /// The sessions whose pipeline has room, ascending.
    pub(crate) fn unfilled(&self) -> impl Iterator<Item = Key> {
        self.refills.unfilled.iter().copied()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn is_unfilled(&self, session: Key) -> bool {
        self.refills.unfilled.contains(&session)
    }
}
